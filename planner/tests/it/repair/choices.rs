//! Which way is taken, and what is refused.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::{
    Answer, Ask, Code, Effect, FailureKind, Mode, Reply, What,
    proto::vtflow::{DiagnoseResponse, RepairRequest},
};

use super::cases::{
    blank, call, cases, closed, deny, differs, edit, repair, request, response, set, switched, unswitched, wrong,
};
use crate::{
    support::live::Live,
    switch::{COMMERCE, LEFT},
    switch_faults,
};

const PLACE: (&str, &str, &str) = ("customer", "c2c", "");

fn refused(live: &mut Live, request: &RepairRequest) -> (Code, String) {
    let before = live.clone();
    let status = repair(live, request).unwrap().result.unwrap_err();
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "{}", status.message);
    (status.code, status.message)
}

/// Runs a repair; `meddle` sees each ask first and may answer it.
fn run(live: &mut Live, mode: Mode, of: &RepairRequest, meddle: impl FnMut(&mut Live, &Ask) -> Option<Answer>) -> Reply {
    switch_faults::run(live, &call(of, mode), meddle)
}

#[test]
fn where_two_ways_are_open_both_are_shown_and_none_is_taken() {
    let mut live = unswitched();
    closed(&mut live);
    let (code, text) = refused(&mut live, &request(PLACE));
    assert_eq!(code, Code::FailedPrecondition);
    let want = [
        "customer.c2c: writes_closed: writes to corder and customer are refused: commerce denies them, and nothing leads them to customer",
        "  --back:",
        "    commerce/0: allow tables corder, customer",
        "    customer/-80: deny tables corder, customer",
        "    customer/80-: deny tables corder, customer",
        "  --forward:",
        "    vtflow workflow switch customer c2c --tablet-types=primary",
        "two ways are open: say --forward or --back; nothing was changed",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), want);
    let (_, text) = refused(&mut live, &request(("customer", "c2c", "forward")));
    assert!(text.contains("the way is the command itself: vtflow workflow switch customer c2c"), "{text}");
}

#[test]
fn only_what_is_named_is_repaired() {
    let mut live = switched();
    set(&mut live, COMMERCE, "c2c_reverse", "Stopped", "");
    deny(&mut live, LEFT, &["corder"], false);
    let only = |names: &[&str]| RepairRequest { only: names.iter().map(|&it| it.into()).collect(), ..request(PLACE) };
    let said = response(&repair(&mut live, &only(&["target_denied"])).unwrap());
    let left: DiagnoseResponse = said.diagnosis.unwrap();
    assert_eq!(left.workflows[0].deviations[0].mechanism, "reverse_stopped", "what is left is said");
    assert_eq!(wrong(&live, "customer", "c2c"), ["reverse_stopped"]);
    let (code, text) = refused(&mut live, &only(&["reverse_stoped"]));
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("no mechanism \"reverse_stoped\"; there are writes_closed, "), "{text}");
    response(&repair(&mut live, &only(&["reverse_stopped", "writes_closed"])).unwrap());
    assert_eq!(differs(&live, &switched()), Vec::<String>::new());
}

#[test]
fn what_somebody_has_to_decide_is_said_and_not_done() {
    let mut live = switched();
    set(&mut live, COMMERCE, "c2c_reverse", "Stopped", "FROZEN");
    let (_, text) = refused(&mut live, &request(PLACE));
    assert!(text.starts_with("customer.c2c: both_directions_frozen: somebody has to decide: "), "{text}");
    let mut live = unswitched();
    blank(&mut live);
    for way in ["", "forward", "back"] {
        let (_, text) = refused(&mut live, &request(("customer", "c2c", way)));
        let want = "to its end vtflow workflow cancel customer c2c; back vtflow workflow start customer c2c";
        assert!(text.contains(want), "{text}");
    }
    // A stream whose beginning nobody knows.
    let mut live = switched();
    live.servers.get_mut(COMMERCE).unwrap().streams.pop();
    let (_, text) = refused(&mut live, &request(PLACE));
    assert!(text.starts_with("customer.c2c: reverse_incomplete: a repair does not create streams: commerce/0: "), "{text}");
    // What can be done beside it is done.
    deny(&mut live, LEFT, &["corder"], false);
    let said = response(&repair(&mut live, &request(PLACE)).unwrap());
    assert!(said.left_alone.iter().any(|it| it.contains("reverse_incomplete")), "{said:?}");
    assert_eq!(wrong(&live, "customer", "c2c"), ["reverse_incomplete"]);
}

#[test]
fn what_is_not_all_known_is_not_repaired() {
    let mut live = unswitched();
    closed(&mut live);
    live.broken.push((format!("{COMMERCE} VReplicationExec"), "the tablet is away".into()));
    let mut wanted = request(("customer", "c2c", "back"));
    let (_, text) = refused(&mut live, &wanted);
    assert!(text.contains("the tablet is away"), "{text}");
    wanted.keyspace = String::new();
    assert_eq!(refused(&mut live, &wanted).0, Code::InvalidArgument);
    wanted.keyspace = "nosuch".into();
    assert!(refused(&mut live, &wanted).1.contains("keyspaces/nosuch"));
    wanted.direction = "sideways".into();
    assert_eq!(refused(&mut live, &wanted).0, Code::InvalidArgument);
}

/// Between the plan that was read and the locks.
#[test]
fn what_has_changed_since_it_was_read_is_refused() {
    let mut live = unswitched();
    closed(&mut live);
    let wanted = request(("customer", "c2c", "back"));
    let plan = live.clone().run(&call(&wanted, Mode::Preview)).unwrap().written.unwrap().plan;
    let meddled = |live: &mut Live| {
        edit(live, "global", "keyspaces/commerce/shards/0/Shard", |_: &mut vtflow_planner::proto::topodata::Shard| ());
    };
    for when in ["before", "while it is locked"] {
        let mut live = live.clone();
        if when == "before" {
            meddled(&mut live);
        }
        let mut is_done = when == "before";
        let reply = run(&mut live, Mode::Planned(plan.digest.clone()), &wanted, |live, ask| {
            if matches!(ask.what, What::TopoLock { .. }) && !std::mem::replace(&mut is_done, true) {
                meddled(live);
            }
            None
        });
        assert!(reply.result.unwrap_err().message.contains("the plan is not the one any more: nothing was changed"), "{when}");
        assert_eq!(live.writes, 0, "{when}");
    }
}

#[test]
fn what_another_has_done_while_the_locks_were_waited_for_is_not_done_again() {
    let mut live = unswitched();
    closed(&mut live);
    let mut is_done = false;
    let reply = run(&mut live, Mode::Perform, &request(("customer", "c2c", "back")), |live, ask| {
        if matches!(ask.what, What::TopoLock { .. }) && !std::mem::replace(&mut is_done, true) {
            *live = unswitched();
        }
        None
    });
    assert!(reply.result.is_ok(), "{reply:?}");
    assert_eq!((live.writes, differs(&live, &unswitched())), (0, vec![]));
}

#[test]
fn a_lock_that_is_anothers_by_now_stays() {
    let lock = "internal/named_locks/customer/c2c/locks/7";
    let mut case = cases().into_iter().find(|case| case.name == "T18").unwrap();
    let reply = run(&mut case.broken, Mode::Perform, &request(PLACE), |live, ask| {
        if matches!(ask.what, What::TopoDelete { .. }) {
            live.put("global", lock, b"{}".to_vec());
        }
        None
    });
    assert!(reply.result.unwrap_err().message.contains("it is another's by now"));
    assert!(case.broken.topo.contains_key(&("global".to_owned(), lock.to_owned())));
    // One that may be held is waited for, and never taken away.
    let young = r#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt", "Time": "1970-01-12T13:46:00Z"}"#;
    closed(&mut case.broken);
    case.broken.put("global", lock, young.into());
    let reply = run(&mut case.broken, Mode::Perform, &request(("customer", "c2c", "back")), |_, ask| {
        let message = "deadline exceeded: it is held".to_owned();
        matches!(ask.what, What::TopoLock { .. }).then_some(Answer::Failed { kind: FailureKind::TimedOut, message })
    });
    assert_eq!(reply.result.unwrap_err().message, "failed to lock the customer/c2c workflow: deadline exceeded: it is held");
    assert!(case.broken.topo.contains_key(&("global".to_owned(), lock.to_owned())));
}

#[test]
fn a_primary_that_cannot_be_told_leaves_its_record_as_it_was_and_others_are_repaired() {
    let mut live = switched();
    for alias in [LEFT, crate::switch::RIGHT] {
        deny(&mut live, alias, &["corder"], false);
    }
    live.broken.push((format!("{LEFT} RefreshState"), "no topology".into()));
    let reply = repair(&mut live, &request(PLACE)).unwrap();
    let text = reply.result.unwrap_err().message;
    assert!(text.starts_with("failed to allow tables: failed to refresh tablet zone1-0000000200: no topology"), "{text}");
    assert!(text.contains("repair it with --refresh once they can be told"), "for taking back needs the tablet, too: {text}");
    let denied = |live: &Live, shard: &str| {
        let record: vtflow_planner::proto::topodata::Shard =
            live.record("global", &format!("keyspaces/customer/shards/{shard}/Shard"));
        record.tablet_controls.len()
    };
    assert_eq!((denied(&live, "-80"), denied(&live, "80-")), (1, 0));
    live.broken.clear();
    response(&repair(&mut live, &request(PLACE)).unwrap());
    assert_eq!(differs(&live, &switched()), Vec::<String>::new());
    // A replica that cannot be told is no reason to stop.
    deny(&mut live, COMMERCE, &[], false);
    live.broken.push(("zone1-0000000101 RefreshState".into(), "away".into()));
    let reply = repair(&mut live, &request(PLACE)).unwrap();
    let notes = reply.written.as_ref().unwrap().notes.clone();
    assert!(reply.result.is_ok() && notes.iter().any(|note| note.ends_with("away")), "{notes:?}");
    assert_eq!(differs(&live, &switched()), Vec::<String>::new());
}

/// It would go on taking the writes that nobody copies.
#[test]
fn a_primary_that_is_to_deny_tables_again_and_cannot_be_told_is_a_failure() {
    let mut case = cases().into_iter().find(|case| case.name == "T3").unwrap();
    let request = case.request();
    case.broken.broken.push((format!("{LEFT} RefreshState"), "no topology".into()));
    let text = repair(&mut case.broken, &request).unwrap().result.unwrap_err().message;
    assert!(text.contains("failed to refresh tablet zone1-0000000200: no topology") && text.contains("--refresh"), "{text}");
    case.broken.broken.clear();
    response(&repair(&mut case.broken, &RepairRequest { refresh: true, ..request }).unwrap());
    assert_eq!(differs(&case.broken, &case.mended), Vec::<String>::new());
}

#[test]
fn a_cell_that_is_made_anew_serves_what_others_have_written_and_that_is_said_before() {
    let mut live = switched();
    let own = live.topo[&("zone2".to_owned(), "SrvVSchema".to_owned())].0.clone();
    let mut served = vtflow_planner::proto::vschema::SrvVSchema::decode(own.as_slice()).unwrap();
    let rule = |from: &str, to: &str| vtflow_planner::proto::vschema::RoutingRule {
        from_table: from.into(),
        to_tables: vec![to.into()],
    };
    let rules = served.routing_rules.as_mut().unwrap();
    rules.rules.retain(|rule| rule.from_table != "corder");
    edit(&mut live, "global", "RoutingRules", |record: &mut vtflow_planner::proto::vschema::RoutingRules| {
        record.rules.push(rule("x", "other.x"));
    });
    live.put("zone2", "SrvVSchema", served.encode_to_vec());
    let plan = live.clone().run(&call(&request(PLACE), Mode::Preview)).unwrap().written.unwrap().plan;
    assert_eq!(plan.warnings, ["cell zone2 then also serves what others have written: x -> other.x"]);
}

#[test]
fn statements_are_narrowed_to_the_streams_that_were_seen() {
    for case in cases() {
        let mut live = case.broken.clone();
        let ids = |live: &Live| live.servers.values().map(|server| server.streams.len()).sum::<usize>();
        let before = ids(&live);
        let reply = run(&mut live, Mode::Perform, &case.request(), |_, ask| {
            if let What::TabletCall { effect: Effect::Write, about, .. } = &ask.what {
                let text = &about.statement;
                assert!(text.is_empty() || text.contains(" where id in (") && text.contains(" and workflow = '"), "{text}");
            }
            None
        });
        assert!(reply.result.is_ok() && ids(&live) <= before, "{}", case.name);
    }
}
