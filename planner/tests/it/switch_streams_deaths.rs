//! Wherever a reshard beside streams of other workflows dies: the same request finishes it, and until its journal the other request, or a
//! repair, starts them where they were; also where these die in their turn.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::{
    Flow, What,
    proto::topodata::{Shard, SrvKeyspace},
};

use crate::{
    repair::cases::{repair, request, wrong},
    support::{
        NOW,
        live::{Fault, Live},
    },
    switch_shards::{ALL, call, cluster, done},
    switch_streams::{LEFT, OLD, RIGHT, Seen, UUID, beside, reads, seen, set, switched, with_references},
};

/// A reshard, and the direction in which it is going to be moved.
struct Case {
    before: Live,
    direction: i32,
    /// What is tried.
    ways: &'static [Way],
}

/// What puts a half right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Again,
    Other,
    Repair,
}

const WAYS: [Way; 3] = [Way::Again, Way::Other, Way::Repair];

fn settled(mut live: Live) -> Live {
    live.log.clear();
    live.writes = 0;
    live
}

/// Two shards become one: of a stream on each of them, one is behind.
fn joining() -> Live {
    let mut live = with_references(cluster());
    for (shard, is_serving) in [("-80", false), ("-40", true), ("40-80", true)] {
        let path = format!("keyspaces/ks/shards/{shard}/Shard");
        let record: Shard = live.record("global", &path);
        live.put("global", &path, Shard { is_primary_serving: is_serving, ..record }.encode_to_vec());
    }
    let halves = ["-40", "40-80"].map(|shard| {
        let record: Shard = live.record("global", &format!("keyspaces/ks/shards/{shard}/Shard"));
        vtflow_planner::proto::topodata::ShardReference { name: shard.into(), key_range: record.key_range }
    });
    for cell in ["zone1", "zone2"] {
        let mut served: SrvKeyspace = live.record(cell, "keyspaces/ks/SrvKeyspace");
        for part in &mut served.partitions {
            part.shard_references.splice(0..1, halves.clone());
        }
        live.put(cell, "keyspaces/ks/SrvKeyspace", served.encode_to_vec());
    }
    for (alias, range) in [(LEFT, "-40"), (RIGHT, "40-80")] {
        live.servers.get_mut(alias).unwrap().streams.clear();
        let source = format!(r#"keyspace:"ks" shard:"{range}" filter:{{rules:{{match:"/.*" filter:"-80"}}}}"#);
        live.stream(OLD, "r", &source, 4);
        let filter = format!("select * from t1 where in_keyrange(id, 'hash', '{range}')");
        live.stream(alias, "m", &reads("commerce", "0", "t1", &filter), 0);
    }
    // Somebody wants it to stop later on. Of the one that is behind, nobody could tell once it was sent elsewhere.
    set(&mut live, LEFT, "m", &[("stop_pos", &format!("MySQL56/{UUID}:1-5000"))]);
    behind(live)
}

fn behind(mut live: Live) -> Live {
    set(&mut live, RIGHT, "m", &[("pos", &format!("MySQL56/{UUID}:1-98"))]);
    settled(live)
}

fn split() -> Case {
    Case { before: beside(), direction: 0, ways: &WAYS }
}

fn join() -> Case {
    Case { before: joining(), direction: 0, ways: &WAYS }
}

fn join_back() -> Case {
    Case { before: behind(switched()), direction: 1, ways: &WAYS }
}

/// All streams but those of the reshard, which are made anew.
fn others(live: &Live) -> Vec<Vec<String>> {
    seen(live).0.into_iter().flatten().filter(|row| !row[0].starts_with('r')).collect()
}

fn is_journaled(live: &Live, before: &Live) -> bool {
    live.servers.iter().any(|(alias, server)| server.journals != before.servers[alias].journals)
}

fn is_sent_on(live: &Live) -> bool {
    let mut streams = live.servers.values().flat_map(|server| &server.streams);
    streams.any(|row| row["message"].starts_with("Stopped at position") || row["message"] == "synchronizing for cutover")
}

/// What was sent to a position comes there when nobody waits for it any more.
fn arrived(live: &Live) -> Live {
    let mut live = live.clone();
    for row in live.servers.values_mut().flat_map(|server| &mut server.streams) {
        if row["message"] == "synchronizing for cutover" {
            let at = row["stop_pos"].clone();
            row.extend([("state", "Stopped".into()), ("message", format!("Stopped at position {at}")), ("pos", at)]);
        }
    }
    live
}

/// What is left wherever it dies: before each call, each way in which that can look, once.
fn halves(case: &Case) -> Vec<Live> {
    let mut halves: Vec<Live> = Vec::new();
    let wanted = call(&ALL, case.direction, false);
    let mut live = case.before.clone();
    let mut flow = Flow::start(&wanted, NOW);
    let mut waiting = flow.asks();
    while !waiting.is_empty() {
        let ask = waiting.remove(0);
        if matches!(ask.what, What::TopoPut { .. } | What::TabletCall { .. }) {
            for half in [settled(live.clone()), arrived(&settled(live.clone()))] {
                let is_new = halves.iter().rev().take(2).all(|it| (&it.topo, &it.servers) != (&half.topo, &half.servers));
                halves.extend(is_new.then_some(half));
            }
        }
        let answer = live.perform(&ask).unwrap();
        flow.answer(ask.id, answer);
        waiting.extend(flow.asks());
    }
    flow.into_reply().unwrap().result.unwrap();
    halves
}

impl Case {
    /// `None`: it died.
    fn goes(&self, live: &mut Live, way: Way) -> Option<Result<(), String>> {
        let result = match way {
            Way::Again => live.run(&call(&ALL, self.direction, false))?.result.map(drop),
            Way::Other => live.run(&call(&ALL, 1 - self.direction, false))?.result.map(drop),
            Way::Repair => repair(live, &request(("ks", "r", "back")))?.result.map(drop),
        };
        Some(result.map_err(|status| status.message))
    }

    /// Each way leads where it is to.
    fn ends(&self, half: &Live, whole: &Seen, context: &str) {
        let is_journaled = is_journaled(half, &self.before);
        for &way in self.ways.iter().filter(|way| **way == Way::Again || !is_journaled) {
            let mut live = half.clone();
            let result = self.goes(&mut live, way).unwrap();
            let context = format!("{context}, {way:?}: {result:?}");
            if way == Way::Again {
                // Nothing is left to be brought back.
                let is_done = seen(half) == *whole;
                assert!(result.is_ok() || is_done && self.direction == 1, "{context}\n{:#?}", live.log);
                assert_eq!(seen(&live), *whole, "{context}");
                continue;
            }
            // What had not been begun is refused.
            let is_untouched = others(half) == others(&self.before);
            assert!(result.is_ok() || is_untouched, "{context}\n{:#?}", live.log);
            assert_eq!(others(&live), others(&self.before), "{context}\n{:#?}", live.log);
            assert_eq!(seen(&live).2, seen(&self.before).2, "{context}");
            assert_eq!(wrong(&live, "ks", "r"), Vec::<String>::new(), "{context}");
        }
    }
}

/// Each way out leaves no stream of others standing, wherever it dies; so often were some of them sent to a position then.
fn sent_on_in(case: &Case) -> usize {
    assert_eq!(wrong(&case.before, "ks", "r"), Vec::<String>::new());
    let mut whole = case.before.clone();
    done(&mut whole, &ALL, case.direction, false);
    let whole = seen(&whole);
    let (mut sent, halves) = (0, halves(case));
    for (at, half) in halves.iter().enumerate() {
        case.ends(half, &whole, &format!("half {at} of {}", halves.len()));
        if !is_sent_on(half) {
            continue;
        }
        sent += 1;
        // Only others of its workflow tell why one stands still that has come to its position.
        for way in WAYS {
            for write in 0.. {
                let mut live = half.clone();
                live.faults.insert(write, Fault::Killed);
                if case.goes(&mut live, way).is_some() {
                    break;
                }
                live.faults.clear();
                // From when it runs again all is as after any first death.
                if !is_sent_on(&live) {
                    break;
                }
                for live in [settled(live.clone()), arrived(&settled(live))] {
                    case.ends(&live, &whole, &format!("half {at}, then {way:?} dead at {write}"));
                }
            }
        }
    }
    sent
}

#[test]
fn wherever_a_split_dies_each_way_out_leaves_no_stream_of_others_standing() {
    assert_eq!(sent_on_in(&split()), 0);
}

/// The frozen streams of a way back that was finished do not hide that the next switch was begun.
#[test]
fn a_second_switch_is_taken_back_too_until_its_journal() {
    let mut before = switched();
    done(&mut before, &ALL, 1, false);
    assert_eq!(sent_on_in(&Case { before: settled(before), direction: 0, ways: &[Way::Other] }), 0);
}

/// On its way, and there.
#[test]
fn wherever_a_join_dies_each_way_out_leaves_no_stream_of_others_standing() {
    assert_eq!(sent_on_in(&join()), 2);
}

#[test]
fn wherever_a_way_back_that_joins_dies_each_way_out_leaves_no_stream_of_others_standing() {
    assert_eq!(sent_on_in(&join_back()), 2);
}

/// Were the others started all the same, nothing would tell why this one stands still.
#[test]
fn where_one_cannot_be_called_back_the_others_of_its_workflow_stay_as_they_are() {
    for case in [join(), join_back()] {
        let mut live = case.before.clone();
        for part in ["VReplicationWaitForPos", "VReplicationExec update _vt.vreplication set state='Stopped', stop_pos="] {
            live.broken.push((format!("{RIGHT} {part}"), "no answer".into()));
        }
        let reply = live.run(&call(&ALL, case.direction, false)).unwrap();
        let text = reply.result.unwrap_err().message;
        assert!(text.contains("manual cleanup work may be necessary"), "{text}");
        let notes = reply.written.unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("stand still: diagnose says which")), "{notes:?}");
        live.broken.clear();
        assert_eq!(wrong(&live, "ks", "r"), ["source_streams_stopped"], "{}", case.direction);
        let mut whole = case.before.clone();
        done(&mut whole, &ALL, case.direction, false);
        for half in [settled(live.clone()), arrived(&settled(live))] {
            case.ends(&half, &seen(&whole), "not called back");
        }
    }
}
