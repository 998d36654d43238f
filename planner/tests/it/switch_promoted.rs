//! Tablets that are started or promoted while a shard is closed, and read that: whatever opens it again tells them, too.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use vtflow_planner::{
    Ask, Call, CallOptions, Flow, Mode, Reply, What,
    contract::PlannedStep,
    proto::topodata::{Shard, ShardTabletControl, SrvKeyspace, TabletAlias, TabletType},
    rpc,
};

use prost::Message;

use crate::{
    forward::{cancelled, completed, stocked},
    repair::cases::{repair, request as repaired},
    support::{
        NOW,
        live::{Live, Server},
    },
    switch::{self, COMMERCE, LEFT, request},
    switch_shards::{ALL, call, closed, cluster},
};

const PRIMARY: TabletType = TabletType::Primary;
const REPLICA: i32 = TabletType::Replica as i32;

/// The old shard of the reshard, its primary, its replica, and a tablet that comes later.
const OLD: &str = "zone1-0000000200";
const REPLICA_OF_OLD: &str = "zone1-0000000201";
const NEW_ONE: &str = "zone1-0000000209";

/// Runs a request to its end. `meanwhile` may change the cluster before each ask is performed. All asks, in their order.
fn run(live: &mut Live, call: &Call, mut meanwhile: impl FnMut(&mut Live, &Ask)) -> (Vec<Ask>, Reply) {
    let mut flow = Flow::start(call, NOW);
    let (mut all, mut at) = (flow.asks(), 0);
    while let Some(ask) = all.get(at).cloned() {
        meanwhile(live, &ask);
        let answer = live.perform(&ask).expect("nobody dies");
        assert!(flow.answer(ask.id, answer));
        all.extend(flow.asks());
        at += 1;
    }
    (all, flow.into_reply().unwrap())
}

fn is_call(ask: &Ask, path: &str, alias: &str) -> bool {
    matches!(&ask.what, What::TabletCall { tablet, path: of, .. } if of == path && (alias.is_empty() || tablet.alias == alias))
}

fn is_wait(ask: &Ask) -> bool {
    is_call(ask, rpc::VREPLICATION_WAIT_FOR_POS, "")
}

/// A tablet that knows of its shard what another one knows.
fn like(live: &mut Live, alias: &str, other: &str) {
    let server = live.servers[other].clone();
    live.servers.insert(alias.to_owned(), server);
}

/// It is in the topology, and primary of a shard as that says by now.
fn takes_over(live: &mut Live, alias: &str) {
    let Server { keyspace, shard, .. } = live.servers[alias].clone();
    let (cell, uid) = alias.rsplit_once('-').unwrap();
    let uid = uid.parse().unwrap();
    live.tablet(&keyspace, &shard, cell, uid, PRIMARY.into());
    let path = format!("keyspaces/{keyspace}/shards/{shard}/Shard");
    let record: Shard = live.record("global", &path);
    let primary_alias = Some(TabletAlias { cell: cell.into(), uid });
    live.put("global", &path, Shard { primary_alias, ..record }.encode_to_vec());
}

fn notes(reply: &Reply) -> &[String] {
    &reply.written.as_ref().unwrap().notes
}

fn failure(reply: &Reply) -> &str {
    &reply.result.as_ref().unwrap_err().message
}

const TOO_SLOW: &str = "failed to sync up replication between the source and target: too slow\ntoo slow";
const UNTOLD: &str = "some tablets have not read their shard's record: repair with --refresh once they can be told";

/// A switch of the reshard that fails while its source is closed; `promoted` happens just then.
fn taken_back(mut promoted: impl FnMut(&mut Live)) -> (Live, Vec<Ask>, Reply) {
    let mut live = cluster();
    let (asks, reply) = run(&mut live, &call(&[PRIMARY], 0, false), |live, ask| {
        if is_wait(ask) && live.broken.is_empty() {
            assert!(live.servers[OLD].is_off, "its primary has closed");
            live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
            promoted(live);
        }
    });
    assert!(!live.servers[OLD].is_off, "its primary has opened");
    (live, asks, reply)
}

/// The shard's record does not say yet that it is primary.
#[test]
fn a_replica_that_is_promoted_while_its_shard_is_closed_is_told_when_that_is_taken_back() {
    let (live, asks, reply) = taken_back(|live| like(live, REPLICA_OF_OLD, OLD));
    assert!(!live.servers[REPLICA_OF_OLD].is_off, "{:#?}", live.log);
    assert_eq!(failure(&reply), TOO_SLOW);
    assert_eq!(notes(&reply), ["what had been done was taken back"]);
    // Nobody who cannot write waits for it, and it waits for nobody: all of them are told at once, in one round more.
    let opened = asks.iter().filter(|ask| ask.gate.is_some()).map(|ask| ask.round).max().unwrap();
    let told = asks.iter().rfind(|ask| is_call(ask, rpc::REFRESH_STATE, REPLICA_OF_OLD)).unwrap();
    assert!(told.round > opened, "{told:?}");
    assert!(matches!(told.what, What::TabletCall { limit_ms: 5_000, .. }), "{told:?}");
    let after: Vec<&Ask> = asks.iter().filter(|ask| ask.round > told.round).collect();
    assert!(after.iter().all(|ask| matches!(ask.what, What::TopoUnlock { .. })), "{after:#?}");
}

#[test]
fn a_primary_that_is_new_since_the_shard_was_closed_is_told_as_one_when_that_is_taken_back() {
    let seen = format!("{NEW_ONE} is the primary of ks/-80 now, no more {OLD}: it is to be told, too");
    let (live, _, reply) = taken_back(|live| {
        like(live, NEW_ONE, OLD);
        takes_over(live, NEW_ONE);
    });
    assert!(!live.servers[NEW_ONE].is_off, "{:#?}", live.log);
    assert_eq!(failure(&reply), TOO_SLOW);
    assert_eq!(notes(&reply), [seen.clone(), "what had been done was taken back".to_owned()]);

    // Of a replica that has taken over by now, it is not enough that it was told as one.
    let (live, asks, reply) = taken_back(|live| {
        like(live, REPLICA_OF_OLD, OLD);
        takes_over(live, REPLICA_OF_OLD);
    });
    assert!(!live.servers[REPLICA_OF_OLD].is_off);
    assert_eq!(notes(&reply)[0], seen.replace(NEW_ONE, REPLICA_OF_OLD));
    let last = asks.iter().rfind(|ask| is_call(ask, rpc::REFRESH_STATE, REPLICA_OF_OLD)).unwrap();
    assert!(matches!(last.what, What::TabletCall { limit_ms: 0, .. }), "{last:?}");

    let (live, _, reply) = taken_back(|live| {
        like(live, NEW_ONE, OLD);
        takes_over(live, NEW_ONE);
        live.broken.push((format!("{NEW_ONE} RefreshState"), "connection refused".into()));
    });
    assert!(live.servers[NEW_ONE].is_off);
    let more = format!("failed to refresh tablet {NEW_ONE}: connection refused");
    let text = format!("{TOO_SLOW}\n\ncancel migration failed, manual cleanup work may be necessary: {more}");
    assert_eq!(failure(&reply), text);
    assert_eq!(reply.written.unwrap().refused, ["-80"], "it takes no writes");
}

#[test]
fn a_tablet_that_cannot_be_told_that_its_shard_is_open_is_named_and_stops_nothing() {
    let (_, _, reply) = taken_back(|live| {
        live.tablet("ks", "-80", "zone2", 208, REPLICA);
        for alias in [REPLICA_OF_OLD, "zone2-0000000208"] {
            live.broken.push((format!("{alias} RefreshState"), "connection refused".into()));
        }
    });
    assert_eq!(failure(&reply), TOO_SLOW);
    let named = |alias: &str| format!("failed to refresh tablet {alias}: connection refused");
    let all = [named(REPLICA_OF_OLD), named("zone2-0000000208"), UNTOLD.into(), "what had been done was taken back".into()];
    assert_eq!(notes(&reply), all);
}

#[test]
fn tables_that_are_allowed_again_are_allowed_on_tablets_that_came_meanwhile() {
    let mut live = switch::cluster();
    let new = "zone1-0000000109";
    let (_, reply) = run(&mut live, &switch::call(&request(&switch::ALL)), |live, ask| {
        if is_wait(ask) && live.broken.is_empty() {
            live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
            like(live, new, COMMERCE);
            assert_eq!(live.servers[new].denied, ["corder", "customer"]);
            takes_over(live, new);
        }
    });
    assert_eq!(failure(&reply), TOO_SLOW);
    assert_eq!(live.servers[new].denied, Vec::<String>::new(), "{:#?}", live.log);
    assert_eq!(notes(&reply)[0], format!("{new} is the primary of commerce/0 now, no more {COMMERCE}: it is to be told, too"));
}

/// It had read that its tables are denied before they were allowed.
#[test]
fn a_primary_of_the_target_that_came_while_writes_moved_is_told_that_its_tables_are_allowed() {
    let move_writes = |is_broken: bool| {
        let mut live = switch::cluster();
        let old = live.servers[LEFT].clone();
        let (_, reply) = run(&mut live, &switch::call(&request(&switch::ALL)), |live, ask| {
            if is_wait(ask) && !live.servers.contains_key(NEW_ONE) {
                live.servers.insert(NEW_ONE.into(), old.clone());
                takes_over(live, NEW_ONE);
                let refuses = is_broken.then(|| (format!("{NEW_ONE} RefreshState"), "connection refused".to_owned()));
                live.broken.extend(refuses);
            }
        });
        (live, reply)
    };
    let (live, reply) = move_writes(false);
    assert!(reply.result.is_ok(), "{reply:?}");
    assert_eq!(live.servers[NEW_ONE].denied, Vec::<String>::new(), "{:#?}", live.log);
    assert_eq!(notes(&reply), [format!("{NEW_ONE} is the primary of customer/-80 now, no more {LEFT}: it is to be told, too")]);

    let (_, reply) = move_writes(true);
    let text = failure(&reply);
    assert!(text.contains(&format!("failed to refresh tablet {NEW_ONE}: connection refused")), "{text}");
    assert!(text.contains("repair it with --refresh once they can be told"), "{text}");
    assert!(!text.contains("make the same request again"), "it would find nothing left to do: {text}");
}

/// The way back of a switch that died with the shard closed.
#[test]
fn a_shard_whose_new_primary_cannot_be_told_by_the_way_back_is_said_to_be_refused_still() {
    let mut live = closed();
    let (_, reply) = run(&mut live, &call(&[PRIMARY], 1, false), |live, ask| {
        if is_call(ask, rpc::REFRESH_STATE, OLD) && live.broken.is_empty() {
            like(live, NEW_ONE, OLD);
            takes_over(live, NEW_ONE);
            live.broken.push((format!("{NEW_ONE} RefreshState"), "connection refused".into()));
        }
    });
    let text = failure(&reply);
    assert!(text.contains(&format!("failed to refresh tablet {NEW_ONE}: connection refused")), "{text}");
    assert!(!text.contains("make the same request again"), "{text}");
    assert!(live.servers[NEW_ONE].is_off);
    assert_eq!(reply.written.unwrap().refused, ["-80"], "it takes no writes");
}

/// What the cells say of a new shard's primary: as a way back leaves it that died behind its journal.
fn off(live: &mut Live, shard: &str) {
    for cell in ["zone1", "zone2"] {
        let mut served: SrvKeyspace = live.record(cell, "keyspaces/ks/SrvKeyspace");
        let part = served.partitions.iter_mut().find(|part| part.served_type() == PRIMARY).unwrap();
        let record: Shard = live.record("global", &format!("keyspaces/ks/shards/{shard}/Shard"));
        part.shard_tablet_controls =
            vec![ShardTabletControl { name: shard.into(), key_range: record.key_range, query_service_disabled: true }];
        live.put(cell, "keyspaces/ks/SrvKeyspace", served.encode_to_vec());
    }
}

#[test]
fn a_replica_of_a_new_shard_is_told_that_it_is_open_when_the_writes_have_come() {
    let mut live = cluster();
    off(&mut live, "-40");
    let (new, replica) = ("zone1-0000000400", "zone1-0000000401");
    let (asks, reply) = run(&mut live, &call(&ALL, 0, false), |live, ask| {
        if is_wait(ask) && !live.servers.contains_key(replica) {
            let server = Server { is_off: true, ..live.servers[new].clone() };
            live.servers.insert(replica.into(), server);
        }
    });
    assert!(reply.result.is_ok(), "{reply:?}");
    assert!(!live.servers[replica].is_off, "{:#?}", live.log);
    let told = asks.iter().rfind(|ask| is_call(ask, rpc::REFRESH_STATE, replica)).unwrap().round;
    assert!(asks.iter().filter(|ask| ask.gate.is_some()).all(|ask| ask.round < told));
    // The other new shard was open, and those that are left stay as they are: nobody is told without need.
    for alias in ["zone1-0000000501", REPLICA_OF_OLD] {
        let count = asks.iter().filter(|ask| is_call(ask, rpc::REFRESH_STATE, alias)).count();
        assert_eq!(count, 2, "{alias}: before, and when reads had moved");
    }
}

#[test]
fn whatever_takes_back_a_switch_that_died_tells_the_replicas_of_its_source() {
    let promoted = || {
        let mut live = closed();
        like(&mut live, REPLICA_OF_OLD, OLD);
        assert!(live.servers[REPLICA_OF_OLD].is_off);
        live
    };
    let mut live = promoted();
    live.run(&call(&[PRIMARY], 1, false)).unwrap().result.unwrap();
    assert!(!live.servers[REPLICA_OF_OLD].is_off, "the way back: {:#?}", live.log);
    let mut live = promoted();
    live.broken.push((format!("{REPLICA_OF_OLD} RefreshState"), "connection refused".into()));
    let reply = live.run(&call(&[PRIMARY], 1, false)).unwrap();
    assert!(reply.result.is_ok(), "{reply:?}");
    assert_eq!(notes(&reply), [format!("failed to refresh tablet {REPLICA_OF_OLD}: connection refused"), UNTOLD.into()]);
    let mut live = promoted();
    repair(&mut live, &repaired(("ks", "r", "back"))).unwrap().result.unwrap();
    assert!(!live.servers[REPLICA_OF_OLD].is_off, "a repair: {:#?}", live.log);
}

#[test]
fn completing_and_cancelling_allow_tables_on_tablets_that_came_meanwhile() {
    let mut switched = switch::cluster();
    switch::done(&mut switched, &request(&switch::ALL));
    let requests = [
        (completed("customer", "c2c", |_| {}), stocked(switched), COMMERCE),
        (cancelled("customer", "c2c", |_| {}), stocked(switch::cluster()), LEFT),
    ];
    for (wanted, mut live, old) in requests {
        let as_it_was = live.servers[old].clone();
        assert_eq!(as_it_was.denied, ["corder", "customer"]);
        let (_, reply) = run(&mut live, &wanted.call(), |live, ask| {
            let is_edit = matches!(&ask.what, What::TopoPut { path, .. } if path.ends_with("/Shard"));
            if is_edit && !live.servers.contains_key(NEW_ONE) {
                live.servers.insert(NEW_ONE.into(), as_it_was.clone());
                live.tablet(&as_it_was.keyspace, &as_it_was.shard, "zone1", 209, REPLICA);
            }
        });
        assert!(reply.result.is_ok(), "{reply:?}");
        assert_eq!(live.servers[NEW_ONE].denied, Vec::<String>::new(), "{}: {:#?}", wanted.path, live.log);
    }
}

fn steps(live: &mut Live, call: &Call) -> Vec<PlannedStep> {
    let preview = Call { options: CallOptions { mode: Mode::Preview, ..CallOptions::default() }, ..call.clone() };
    live.run(&preview).unwrap().written.unwrap().plan.steps
}

#[test]
fn a_plan_has_those_that_are_told_in_the_end() {
    let reads = |keyspace: &str| {
        let lines = [
            format!("global  range keyspaces/{keyspace}/shards/"),
            "zone1  range tablets/".into(),
            "zone2  range tablets/".into(),
        ];
        lines.to_vec()
    };
    let of = |steps: Vec<PlannedStep>| {
        let told = steps.into_iter().filter(|step| step.name == "tell the other tablets");
        told.map(|step| (step.writes, step.reads)).collect::<Vec<_>>()
    };
    // Where tables are allowed, all that are there have been told.
    assert_eq!(of(steps(&mut switch::cluster(), &switch::call(&request(&switch::ALL)))), [(0, reads("customer"))]);
    assert_eq!(of(steps(&mut closed(), &call(&ALL, 1, false))), [(1, reads("ks"))]);
    // Nothing is opened: nobody is told.
    assert_eq!(of(steps(&mut cluster(), &call(&ALL, 0, false))), []);
    assert_eq!(of(steps(&mut switch::cluster(), &switch::call(&request(&[switch::REPLICA])))), []);
    let mut switched = switch::cluster();
    switch::done(&mut switched, &request(&switch::ALL));
    let complete = completed("customer", "c2c", |_| {}).call();
    assert_eq!(of(steps(&mut stocked(switched), &complete)), [(0, reads("commerce"))]);
}
