//! The way back from a switch of writes whose process has died: open until the journal is there, and after that only by going on first.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use crate::{
    support::live::{Fault, Live},
    switch::{ALL, COMMERCE, back, call, cluster, done, journal_at, refused, request, seen, writes_of},
};

/// A switch of all traffic that died before its write of this number.
fn dead_at(at: usize) -> Live {
    let mut live = cluster();
    live.faults.insert(at, Fault::Killed);
    assert!(live.run(&call(&request(&ALL))).is_none(), "write {at}");
    live.faults.clear();
    live
}

#[test]
fn until_the_journal_the_way_back_undoes_what_was_begun() {
    let before = cluster();
    let was = seen(&before);
    let mut undone = 0;
    for at in 0..=journal_at(&before, &request(&ALL)) {
        let mut live = dead_at(at);
        let reply = live.run(&call(&back(&ALL))).expect("a reply");
        match &reply.result {
            Ok(_) => undone += 1,
            // Nothing had been begun.
            Err(status) => assert_eq!(status.message, "no streams found in keyspace commerce for c2c_reverse", "dead at {at}"),
        }
        assert_eq!(seen(&live), was, "dead at {at}");
        // And nothing is left that would speak against another switch.
        done(&mut live, &request(&ALL));
    }
    assert!(undone > 10, "{undone}");
}

#[test]
fn whoever_dies_on_the_way_back_the_same_request_finishes() {
    let was = seen(&cluster());
    let half = dead_at(journal_at(&cluster(), &request(&ALL)));
    let wanted = back(&ALL);
    for at in 0..writes_of(&half, &wanted) {
        let mut live = half.clone();
        live.writes = 0;
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call(&wanted)).is_none(), "dead at {at}");
        live.faults.clear();
        // The last steps may have been done: then nothing is left to bring back.
        let reply = live.run(&call(&wanted)).expect("a reply");
        assert!(reply.result.is_ok() || seen(&live) == was, "dead at {at}: {:?}", reply.result);
        assert_eq!(seen(&live), was, "dead at {at}");
    }
}

#[test]
fn after_the_journal_a_switch_is_finished_before_it_goes_back() {
    let before = cluster();
    let (first, count) = (journal_at(&before, &request(&ALL)) + 1, writes_of(&before, &request(&ALL)));
    let mut refusals = 0;
    for at in first..count {
        let mut live = dead_at(at);
        let (half, result) = (seen_unchecked(&live), live.run(&call(&back(&ALL))).expect("a reply").result);
        if let Err(status) = result {
            assert_eq!(seen_unchecked(&live), half, "dead at {at}: {status}");
            refusals += usize::from(status.message.contains("switch its traffic again to finish that, then reverse it"));
            done(&mut live, &request(&ALL));
            done(&mut live, &back(&ALL));
        }
        let now = seen(&live);
        assert_eq!((&now.1, now.2[COMMERCE].len()), (&seen(&before).1, 2), "dead at {at}");
    }
    assert!(refusals > 0);
}

/// Taken back, its journal would be there still, and the next way back would not wait for what was written meanwhile.
#[test]
fn after_its_journal_a_way_back_is_finished_before_writes_go_forward_again() {
    let mut switched = cluster();
    done(&mut switched, &request(&ALL));
    switched.writes = 0;
    let mut whole = switched.clone();
    done(&mut whole, &back(&ALL));
    let was = seen(&whole);
    let (first, count) = (journal_at(&switched, &back(&ALL)) + 1, writes_of(&switched, &back(&ALL)));
    let mut refusals = Vec::new();
    for at in first..count {
        let mut live = switched.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call(&back(&ALL))).is_none(), "dead at {at}");
        live.faults.clear();
        let half = seen_unchecked(&live);
        let Err(status) = live.run(&call(&request(&ALL))).expect("a reply").result else { continue };
        assert_eq!(seen_unchecked(&live), half, "dead at {at}: {status}");
        refusals.extend(status.message.contains("reverse its traffic again to finish that, then switch it").then_some(at));
        // The last steps may have been done: then nothing is left to bring back.
        let reply = live.run(&call(&back(&ALL))).expect("a reply");
        assert!(reply.result.is_ok() || seen(&live) == was, "dead at {at}: {:?}", reply.result);
        assert_eq!(seen(&live).0, was.0, "dead at {at}");
    }
    // Between the journals of two shards, and before the rules lead back.
    assert!(refusals.starts_with(&[first, first + 1]), "{refusals:?}");
}

#[test]
fn a_dry_run_of_it_says_what_it_would_do() {
    let mut live = dead_at(journal_at(&cluster(), &request(&ALL)));
    let half = seen_unchecked(&live);
    let wanted = vtflow_planner::proto::vtctldata::WorkflowSwitchTrafficRequest { dry_run: true, ..back(&ALL) };
    let lines = done(&mut live, &wanted).dry_run_results;
    let own = "Start vreplication streams that were stopped for cutover on: [tablet:200,tablet:300]";
    assert!(lines.contains(&"Enable writes on keyspace commerce for tables [corder,customer]".to_owned()), "{lines:?}");
    assert!(lines.contains(&own.to_owned()), "{lines:?}");
    assert_eq!(seen_unchecked(&live), half);
    assert_eq!(refused(&mut cluster(), &wanted), "no streams found in keyspace commerce for c2c_reverse");
}

fn seen_unchecked(live: &Live) -> String {
    format!("{:?} {:?}", live.topo, live.servers)
}

/// Under the name of the way back, and forward: what the reference does without a look at lag, copy and errors.
// B20.
#[test]
fn a_switch_by_the_name_of_the_way_back_is_looked_at_like_any_other() {
    let mut live = cluster();
    done(&mut live, &request(&ALL));
    let named = vtflow_planner::proto::vtctldata::WorkflowSwitchTrafficRequest {
        keyspace: "commerce".into(),
        workflow: "c2c_reverse".into(),
        ..request(&ALL)
    };
    let mut broken = live.clone();
    broken.servers.get_mut(COMMERCE).expect("a server").streams[0].insert("message", "error in it".into());
    let half = seen_unchecked(&broken);
    let text = refused(&mut broken, &named);
    assert_eq!(text, "cannot switch traffic for workflow c2c_reverse at this time: workflow has errors");
    assert_eq!(seen_unchecked(&broken), half);
    // It is the way back of c2c.
    let mut other = live.clone();
    done(&mut live, &named);
    done(&mut other, &back(&ALL));
    assert_eq!(seen(&live), seen(&other));
}
