//! From each broken state to the mended one.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use vtflow_planner::{Mode, contract::Verdict, proto::vtflow::RepairRequest};

use super::cases::{call, cases, differs, repair, request, response, switched, taken_along, unswitched, wrong};

#[test]
fn what_is_broken_is_told_and_repaired_and_nothing_else_is_changed() {
    for case in cases() {
        let mut live = case.broken.clone();
        let (keyspace, workflow, _) = case.of;
        assert_eq!(wrong(&case.broken, keyspace, workflow), case.found, "{}", case.name);
        let reply = repair(&mut live, &case.request()).unwrap();
        let said = response(&reply);
        let log = format!("{}: {said:#?}\n{:#?}", case.name, live.log);
        assert_eq!(differs(&live, &case.mended), Vec::<String>::new(), "{log}");
        assert_eq!(wrong(&live, keyspace, workflow), case.left, "{log}");
        // It has looked itself.
        let after = said.diagnosis.unwrap();
        let told = after.workflows.iter().flat_map(|it| &it.deviations).chain(&after.leftovers).map(|it| it.mechanism.as_str());
        assert_eq!(told.collect::<Vec<_>>(), case.left, "{log}");
        let written = reply.written.unwrap();
        assert!(written.outcomes.iter().all(|it| it.verdict == Verdict::Applied), "{log}");
        assert_eq!(written.outcomes.len(), written.plan.writes.len(), "{log}");
        let is_told = |note: &String| note.starts_with(if case.left.is_empty() { "nothing is wrong with " } else { "left: " });
        assert!(written.notes.iter().any(is_told), "{log}: {:?}", written.notes);
    }
}

#[test]
fn a_preview_says_every_step_and_writes_nothing() {
    for case in cases() {
        let dry = RepairRequest { dry_run: true, ..case.request() };
        let mut plans = Vec::new();
        for (request, mode) in [(dry, Mode::Perform), (case.request(), Mode::Preview)] {
            let mut live = case.broken.clone();
            let reply = live.run(&call(&request, mode)).unwrap();
            assert!(reply.result.is_ok(), "{}: {reply:?}", case.name);
            assert_eq!((&live.topo, &live.servers, live.writes), (&case.broken.topo, &case.broken.servers, 0), "{}", case.name);
            assert_eq!(live.log, Vec::<String>::new(), "{}: nothing is locked or called", case.name);
            let written = reply.written.unwrap();
            assert!(written.outcomes.is_empty(), "{}", case.name);
            plans.push(written.plan.writes);
        }
        assert_eq!(plans[0], plans[1], "{}", case.name);
        // What is done is what was shown.
        let mut live = case.broken.clone();
        let done = repair(&mut live, &case.request()).unwrap().written.unwrap().plan.writes;
        assert_eq!(done, plans[0], "{}", case.name);
        assert!(!done.is_empty(), "{}", case.name);
    }
}

#[test]
fn what_is_done_is_held_to_the_plan_that_was_read() {
    for case in cases() {
        let plan = case.broken.clone().run(&call(&case.request(), Mode::Preview)).unwrap().written.unwrap().plan;
        let planned = call(&case.request(), Mode::Planned(plan.digest.clone()));
        let mut live = case.broken.clone();
        let reply = live.run(&planned).unwrap();
        assert!(reply.result.is_ok(), "{}: {reply:?}", case.name);
        assert_eq!(differs(&live, &case.mended), Vec::<String>::new(), "{}", case.name);
        // By now there is nothing to do, which is another plan.
        let before = live.clone();
        let reply = live.run(&planned).unwrap();
        assert!(reply.result.unwrap_err().message.contains("not the one any more"), "{}", case.name);
        assert_eq!((live.topo, live.servers), (before.topo, before.servers), "{}", case.name);
    }
}

#[test]
fn all_is_done_under_the_locks_of_a_switch() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        let mut live = case.broken.clone();
        repair(&mut live, &case.request()).unwrap();
        let locks: Vec<&str> = live.log.iter().filter_map(|line| line.strip_prefix("lock ")).collect();
        let is_write = |line: &String| !line.starts_with("lock ") && line != "unlock" && !line.contains("named_locks");
        let first = live.log.iter().position(is_write).unwrap_or(usize::MAX);
        let last_lock = live.log.iter().rposition(|line| line.starts_with("lock ")).unwrap_or_default();
        let unlock = live.log.iter().position(|line| line == "unlock").unwrap_or(usize::MAX);
        let last = live.log.iter().rposition(is_write).unwrap_or_default();
        assert!(last_lock < first && last < unlock, "{}: {:#?}", case.name, live.log);
        seen.insert((case.name, locks.join(" ")));
    }
    let of = |name: &str| seen.iter().find(|(of, _)| *of == name).unwrap().1.clone();
    let named = "internal/named_locks/customer/c2c internal/named_locks/commerce/c2c_reverse";
    assert_eq!(of("T1"), format!("{named} keyspaces/commerce keyspaces/customer"));
    assert_eq!(of("S1"), "internal/named_locks/ks/r internal/named_locks/ks/r_reverse keyspaces/ks");
    assert_eq!(of("T12 denied"), "keyspaces/customer");
    assert_eq!(of("T12 rules"), "keyspaces/commerce keyspaces/customer");
    assert_eq!(of("T12 rules to nowhere"), "keyspaces/customer");
    assert_eq!(of("T12 keyspaces"), "keyspaces/commerce keyspaces/customer routing_rules");
    assert_eq!(of("T18"), "", "a lock that nobody holds");
}

#[test]
fn what_is_well_is_left_alone() {
    for live in [unswitched(), switched()] {
        let mut after = live.clone();
        let reply = repair(&mut after, &request(("customer", "c2c", ""))).unwrap();
        assert_eq!(response(&reply).summary, "Nothing is wrong with customer.c2c");
        assert_eq!((after.writes, after.log), (0, vec![]));
    }
}

#[test]
fn streams_that_were_taken_along_are_started_and_their_originals_go() {
    let mut live = taken_along();
    assert_eq!(wrong(&live, "ks", "r"), ["stream_copies_stopped"]);
    let said = response(&repair(&mut live, &request(("ks", "r", "forward"))).unwrap());
    assert_eq!(wrong(&live, "ks", "r"), Vec::<String>::new());
    let steps: Vec<&str> = said.steps.iter().filter_map(|step| step.split(':').next()).collect();
    assert_eq!(steps, ["start streams", "start streams", "delete streams"], "the copies are told by their originals");
    for (alias, want) in
        [("zone1-0000000200", vec![]), ("zone1-0000000400", vec![["Running"]]), ("zone1-0000000500", vec![["Running"]])]
    {
        assert_eq!(live.rows(alias, "mat2", &["state"]), want, "{alias}");
    }
}

/// A primary that was told is asked for nothing else.
#[test]
fn tablets_read_their_records_again_also_where_nothing_is_wrong() {
    let mut live = unswitched();
    live.servers.get_mut("zone1-0000000100").unwrap().denied = vec!["corder".into()];
    let wanted = RepairRequest { refresh: true, ..request(("customer", "c2c", "")) };
    let said = response(&repair(&mut live, &wanted).unwrap());
    assert_eq!(said.steps.len(), 4, "{said:?}");
    assert!(said.steps.iter().all(|step| step.starts_with("refresh tablets: ") && step.ends_with(" RefreshState")), "{said:?}");
    assert_eq!(differs(&live, &unswitched()), Vec::<String>::new());
}
