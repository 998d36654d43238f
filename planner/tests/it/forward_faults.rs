//! Whatever fails on the way of a completion, a cancellation or a mirroring, and whoever dies: the same request ends in the same records,
//! rows and tables.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use vtflow_planner::proto::topodata::TabletType;

use crate::{
    forward::{Wanted, cancelled, completed, mirrored, stocked, with_tables},
    forward_recorded::{streams, topology},
    support::live::{Fault, Live},
    switch, switch_kinds, switch_shards,
};

const ALL: [i32; 3] = [1, 2, 3];

type End = (BTreeMap<String, String>, BTreeMap<String, Vec<String>>, BTreeMap<String, (BTreeMap<String, bool>, Vec<String>)>);

/// What is left on tablets that have no record any more counts for nobody.
fn end(live: &Live) -> End {
    let mut live = live.clone();
    let topo = &live.topo;
    live.servers.retain(|alias, _| topo.keys().any(|(_, path)| *path == format!("tablets/{alias}/Tablet")));
    let live = &live;
    let server = |(alias, server): (&String, &crate::support::live::Server)| {
        (alias.clone(), (server.tables.clone(), server.denied.clone()))
    };
    (topology(live), streams(live), live.servers.iter().map(server).collect())
}

fn cases() -> Vec<(&'static str, Live, Wanted)> {
    let switched = stocked(switch::switched());
    let mut tenant = switch_kinds::tenant();
    with_tables(&mut tenant, &["zone1-0000000100", "zone1-0000000200"], &["t1"]);
    let mut moved = tenant.clone();
    moved.run(&switch_kinds::call(&ALL, 0, false)).unwrap().result.unwrap();
    let mut partial = switch_kinds::partial();
    with_tables(&mut partial, &["zone1-0000000100", "zone1-0000000200"], &["t1"]);
    let mut split = switch_shards::cluster();
    with_tables(&mut split, &["zone1-0000000200", "zone1-0000000400", "zone1-0000000500"], &["t1"]);
    split.put("zone1", "keyspaces/ks/shards/-80/ShardReplication", vec![]);
    let mut resharded = split.clone();
    let all = [TabletType::Replica, TabletType::Rdonly, TabletType::Primary];
    resharded.run(&switch_shards::call(&all, 0, false)).unwrap().result.unwrap();
    vec![
        ("completion", switched.clone(), completed("customer", "c2c", |_| ())),
        ("completion with new names", switched.clone(), completed("customer", "c2c", |it| it.rename_tables = true)),
        (
            "completion that keeps all",
            switched,
            completed("customer", "c2c", |it| (it.keep_data, it.keep_routing_rules) = (true, true)),
        ),
        ("completion of a tenant", moved, completed("tgt", "w", |_| ())),
        ("completion of a reshard", resharded, completed("ks", "r", |_| ())),
        ("cancellation", stocked(switch::cluster()), cancelled("customer", "c2c", |_| ())),
        ("cancellation of some shards", partial, cancelled("tgt", "w", |_| ())),
        ("cancellation of a tenant", tenant, cancelled("tgt", "w", |_| ())),
        ("cancellation of a reshard", split, cancelled("ks", "r", |_| ())),
        ("mirroring", stocked(switch::cluster()), mirrored(&ALL, 5.0)),
    ]
}

#[test]
fn the_same_request_finishes_what_was_left_half() {
    for (name, mut before, wanted) in cases() {
        before.writes = 0;
        before.log.clear();
        let mut whole = before.clone();
        whole.run(&wanted.call()).unwrap().result.unwrap();
        let (after, count) = (end(&whole), whole.writes);
        assert!(count > 4, "{name}: {count}");
        for at in 0..count {
            for fault in [Fault::Refused, Fault::NotSent, Fault::LostBefore, Fault::LostAfter, Fault::Killed] {
                let mut live = before.clone();
                live.faults.insert(at, fault);
                let first = live.run(&wanted.call());
                let context = |live: &Live| format!("{name}: write {at} of {count} {fault:?}: {first:?}\n{:#?}", live.log);
                assert_eq!(first.is_none(), fault == Fault::Killed, "{}", context(&live));
                live.faults.clear();
                match first.as_ref().map(|reply| &reply.result) {
                    Some(Ok(_)) => {}
                    Some(Err(status)) => {
                        assert!(status.message.contains("make the same request again"), "{}", context(&live));
                        assert!(live.run(&wanted.call()).unwrap().result.is_ok(), "again: {}", context(&live));
                    }
                    // Whoever died may have finished all but what nobody waits for.
                    None => {
                        let reply = live.run(&wanted.call()).unwrap();
                        let is_gone = |message: &str| message.starts_with("no streams found") && end(&live) == after;
                        assert!(reply.result.is_ok() || is_gone(&reply.result.unwrap_err().message), "again: {}", context(&live));
                    }
                }
                assert_eq!(end(&live), after, "{}", context(&live));
            }
        }
    }
}

/// Whatever answer comes first, also where tablets fail: the same reply and the same end.
#[test]
fn answers_may_come_in_any_order() {
    for (name, before, wanted) in cases() {
        for broken in ["", "drop table", "RefreshState", "delete from _vt.vreplication"] {
            let mut first = before.clone();
            if !broken.is_empty() {
                first.broken.push((broken.into(), "broken".into()));
            }
            let run = |pick: &mut dyn FnMut(usize) -> usize| {
                let mut live = first.clone();
                let reply = live.run_choosing(&wanted.call(), pick).unwrap();
                (reply, end(&live))
            };
            let want = run(&mut |_| 0);
            for seed in 0..8 {
                let mut state = seed;
                let mut pick = |count: usize| usize::try_from(crate::support::scattered(&mut state) % count as u64).unwrap();
                assert_eq!(run(&mut pick), want, "{name}, {broken}, seed {seed}");
            }
        }
    }
}
