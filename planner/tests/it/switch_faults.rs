//! Faults of a switch of writes that would lose rows or leave nobody who takes them: each is refused, taken back or said.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, FailureKind, Flow, Reply, What,
    proto::{
        topodata::Shard,
        vschema::{MirrorRule, MirrorRules, RoutingRule, RoutingRules, ShardRoutingRule, ShardRoutingRules, SrvVSchema},
        vtctldata::WorkflowSwitchTrafficRequest,
    },
};

use crate::{
    support::{
        NOW,
        live::{Fault, Live},
    },
    switch::{ALL, COMMERCE, LEFT, RDONLY, REPLICA, RIGHT, call, cluster, done, journal_at, refused, request, seen, switched},
};

const SOURCE: &str = "keyspaces/commerce/shards/0/Shard";

/// Runs a request; `meddle` sees each ask first and may answer it.
pub(crate) fn run(live: &mut Live, call: &Call, mut meddle: impl FnMut(&mut Live, &Ask) -> Option<Answer>) -> Reply {
    let mut flow = Flow::start(call, NOW);
    let mut waiting = flow.asks();
    while !waiting.is_empty() {
        let ask = waiting.remove(0);
        let answer = meddle(live, &ask).unwrap_or_else(|| live.perform(&ask).unwrap());
        flow.answer(ask.id, answer);
        waiting.extend(flow.asks());
    }
    flow.into_reply().unwrap()
}

/// As a creation of Vitess leaves it that has found the journal of an older workflow: streams that have copied nothing.
#[test]
fn an_old_journal_does_not_move_writes_to_streams_that_never_ran() {
    let mut live = cluster();
    live.servers.get_mut(COMMERCE).unwrap().journals = switched().servers[COMMERCE].journals.clone();
    for alias in [LEFT, RIGHT] {
        live.servers.get_mut(alias).unwrap().streams[0].insert("state", "Stopped".into());
    }
    let before = live.clone();
    let text = refused(&mut live, &request(&ALL));
    assert!(text.contains("found an entry from a previous run"), "{text}");
    assert_eq!((live.topo, live.servers), (before.topo, before.servers));
}

#[test]
fn what_another_request_has_finished_while_the_lock_was_lost_is_not_taken_back() {
    let mut live = cluster();
    let at = journal_at(&live, &request(&ALL));
    live.faults.insert(at, Fault::NotSent);
    let mut locks = 0;
    let mut finished = None;
    let reply = run(&mut live, &call(&request(&ALL)), |live, ask| {
        locks += usize::from(matches!(ask.what, What::TopoLock { .. }));
        // The first three were lost; until the fourth is had, another has them.
        if locks == 4 && finished.is_none() {
            live.faults.clear();
            done(live, &request(&ALL));
            finished = Some(seen(live));
        }
        None
    });
    assert_eq!(Some(seen(&live)), finished);
    let text = reply.result.unwrap_err().message;
    assert!(text.contains("nothing was taken back"), "{text}");
}

#[test]
fn a_record_of_which_nobody_knows_whether_it_was_written_is_read_before_it_is_taken_back() {
    let mut live = cluster();
    let before = seen(&live);
    let mut left = 1;
    run(&mut live, &call(&request(&ALL)), |live, ask| match &ask.what {
        What::TopoPut { path, .. } if path == SOURCE && left == 1 => {
            live.faults.insert(live.writes, Fault::LostAfter);
            None
        }
        What::TopoGet { path, .. } if path == SOURCE && left == 1 => {
            left = 0;
            Some(Answer::Failed { kind: FailureKind::Unreachable, message: "etcd is away".into() })
        }
        _ => None,
    });
    assert_eq!((left, seen(&live)), (0, before), "the source takes writes again");
}

#[test]
fn a_source_whose_primary_does_not_know_that_it_is_closed_stops_even_what_is_forced() {
    let mut live = cluster();
    let before = seen(&live);
    live.broken.push((format!("{COMMERCE} RefreshState"), "no topology".into()));
    let text = refused(&mut live, &WorkflowSwitchTrafficRequest { force: true, ..request(&ALL) });
    assert!(text.contains("no topology"), "{text}");
    assert!(text.contains("cancel migration failed"), "it may be closed still, if it was told in between: {text}");
    assert_eq!(seen(&live), before);
}

/// Nobody leads writes there any more; who goes to the shard itself would write what is never copied.
#[test]
fn a_target_whose_primary_does_not_know_that_it_is_closed_again_is_told() {
    let mut live = cluster();
    let target = "zone1-0000000200";
    let mut is_closing = false;
    let reply = run(&mut live, &call(&request(&ALL)), |live, ask| match &ask.what {
        What::TabletCall { path, .. }
            if path.ends_with("/VReplicationWaitForPos") && !std::mem::replace(&mut is_closing, true) =>
        {
            live.broken.push((format!("{target} RefreshState"), "no topology".into()));
            Some(Answer::Failed { kind: FailureKind::Status(2), message: "no such stream".into() })
        }
        _ => None,
    });
    let text = reply.result.unwrap_err().message;
    assert!(is_closing && text.contains("cancel migration failed") && text.contains("no topology"), "{text}");
}

/// As where many streams end on one tablet, which takes so many calls at a time.
#[test]
fn a_stream_that_no_turn_came_for_is_waited_for_again() {
    let mut live = cluster();
    let mut is_busy = true;
    let reply = run(&mut live, &call(&request(&ALL)), |_, ask| match &ask.what {
        What::TabletCall { path, .. } if path.ends_with("/VReplicationWaitForPos") && std::mem::take(&mut is_busy) => {
            Some(Answer::Failed { kind: FailureKind::NotSent, message: "not called in 25ms".into() })
        }
        _ => None,
    });
    assert!(!is_busy && reply.result.is_ok(), "{:?}", reply.result);
}

/// Another workflow's switch writes its rules, and every cell serves them, between the look and what is served here.
#[test]
fn rules_that_others_have_written_and_served_meanwhile_are_served_still() {
    let mut live = cluster();
    let rule = ShardRoutingRule { from_keyspace: "a".into(), to_keyspace: "b".into(), shard: "-80".into() };
    let own = RoutingRule { from_table: "other".into(), to_tables: vec!["commerce.other".into()] };
    let mut is_changed = false;
    run(&mut live, &call(&request(&[REPLICA, RDONLY])), |live, ask| {
        if matches!(&ask.what, What::TopoPut { path, .. } if path == "SrvVSchema") && !std::mem::replace(&mut is_changed, true) {
            let shards = ShardRoutingRules { rules: vec![rule.clone()] };
            live.put("global", "ShardRoutingRules", shards.encode_to_vec());
            let mut rules: RoutingRules = live.record("global", "RoutingRules");
            rules.rules.push(own.clone());
            live.put("global", "RoutingRules", rules.encode_to_vec());
            for cell in ["zone1", "zone2"] {
                let served: SrvVSchema = live.record(cell, "SrvVSchema");
                let (routing_rules, shard_routing_rules) = (Some(rules.clone()), Some(shards.clone()));
                live.put(cell, "SrvVSchema", SrvVSchema { routing_rules, shard_routing_rules, ..served }.encode_to_vec());
            }
        }
        None
    });
    for cell in ["zone1", "zone2"] {
        let served: SrvVSchema = live.record(cell, "SrvVSchema");
        assert_eq!(served.shard_routing_rules.unwrap_or_default().rules, std::slice::from_ref(&rule), "{cell}");
        let rules = served.routing_rules.unwrap_or_default().rules;
        assert!(rules.contains(&own), "{cell}");
        let moved = rules.iter().find(|rule| rule.from_table == "corder@replica").unwrap();
        assert_eq!(moved.to_tables, ["customer.corder"], "{cell}");
    }
}

/// The answer to a write of a record was lost, and before it is read again another workflow has a table denied there.
#[test]
fn a_record_that_was_written_and_then_changed_by_others_is_taken_back_and_theirs_stays() {
    let mut live = cluster();
    live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
    let mut puts = 0;
    let reply = run(&mut live, &call(&request(&ALL)), |live, ask| {
        let is_it = matches!(&ask.what, What::TopoPut { path, .. } if path == SOURCE);
        puts += usize::from(is_it);
        (is_it && puts == 1).then(|| {
            live.perform(ask).unwrap();
            let mut record: Shard = live.record("global", SOURCE);
            record.tablet_controls[0].denied_tables.push("product".into());
            live.put("global", SOURCE, record.encode_to_vec());
            Answer::Failed { kind: FailureKind::TimedOut, message: "no answer".into() }
        })
    });
    let text = reply.result.unwrap_err().message;
    assert!(text.contains("too slow"), "{text}");
    let record: Shard = live.record("global", SOURCE);
    assert_eq!((puts, record.tablet_controls[0].denied_tables.join(" ").as_str()), (2, "product"));
}

/// Mirrored reads that the target refuses fail where nobody sees it: the rules come back when all of it lets them through again.
#[test]
fn what_was_done_one_after_the_other_is_taken_back_one_after_the_other() {
    let mut live = cluster();
    let rule = MirrorRule { from_table: "commerce.corder@replica".into(), to_table: "customer.corder".into(), percent: 10.0 };
    live.put("global", "MirrorRules", MirrorRules { rules: vec![rule] }.encode_to_vec());
    let shards = ["-80", "80-"].map(|shard| format!("keyspaces/customer/shards/{shard}/Shard"));
    for path in &shards {
        let mut record: Shard = live.record("global", path);
        record.tablet_controls[0].allow_reads = true;
        live.put("global", path, record.encode_to_vec());
    }
    live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
    // Whatever is asked last is answered first.
    let reply = live.run_choosing(&call(&request(&ALL)), |count| count - 1).unwrap();
    assert!(reply.result.unwrap_err().message.contains("too slow"));
    let last = |line: &str| live.log.iter().rposition(|it| it == line).unwrap_or_else(|| panic!("{line}: {:#?}", live.log));
    let way = [
        format!("put global {}", shards[1]),
        format!("{RIGHT} RefreshState"),
        format!("put global {}", shards[0]),
        format!("{LEFT} RefreshState"),
        "put global MirrorRules".into(),
    ];
    let places: Vec<usize> = way.iter().map(|line| last(line)).collect();
    assert!(places.is_sorted(), "{places:?}: {:#?}", live.log);
    for path in &shards {
        assert!(live.record::<Shard>("global", path).tablet_controls[0].allow_reads, "{path}");
    }
}
