//! Rehearsals of what ends or mirrors a workflow: they do what is then done, and wherever it stops, the same command brings it to the very
//! same records, streams and tables.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use vtflow::rehearse::{
    Change,
    report::{Fault, FaultEnd, FaultTable, Rehearsal, RehearsalVerdict},
};
use vtflow_planner::{Call, proto::vtctldata::MoveTablesCompleteRequest};

use crate::{
    ending::{MOVED, cancellation, complete, completion, mirroring},
    lifecycle::{Moment, Running, Seen, Tables},
    rehearsal::{assert_is_then_done, rehearsed_change},
};

const LEFT: &str = "zone1-0000000200";
const RIGHT: &str = "zone2-0000000300";

/// Tables of `m2`, which copies, and one of somebody else.
const COPIED: Tables<'static> = &[(LEFT, &["corder", "t1", "t2"]), (RIGHT, &["corder", "t1", "t2"])];

fn change(workflow: &str, call: Call) -> Change {
    Change { keyspace: "customer".into(), workflow: workflow.into(), call, back: None }
}

fn switched() -> Moment {
    Moment::of("40-mt-complete", "before").with_tables(MOVED)
}

fn mirrored() -> Moment {
    Moment::of("47-mt-mirror", "after").with_tables(COPIED)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rehearsed_is_what_is_then_done_and_the_cluster_is_only_read() {
    let renames = completion(&MoveTablesCompleteRequest { rename_tables: true, ..complete("c2c") });
    let keeps = completion(&MoveTablesCompleteRequest { keep_data: true, keep_routing_rules: true, ..complete("c2c") });
    for (place, moment, workflow, call, phase) in [
        ("complete", switched(), "c2c", completion(&complete("c2c")), "ended"),
        ("complete, renaming", switched(), "c2c", renames, "ended"),
        ("complete, keeping", switched(), "c2c", keeps, "ended"),
        ("cancel", mirrored(), "m2", cancellation("m2", false), "ended"),
        ("cancel, keeping", mirrored(), "m2", cancellation("m2", true), "ended"),
        ("mirror", Moment::of("47-mt-mirror", "before"), "m2", mirroring("m2", 5.0), "not_switched"),
        ("mirror no more", mirrored(), "m2", mirroring("m2", 0.0), "not_switched"),
    ] {
        let live = Running::start(&moment).await;
        let tables = live.tables().await;
        let rehearsal = rehearsed_change(&live, change(workflow, call.clone()), None).await;
        assert_eq!(live.writes(), 0, "{place}: calls that change something have come to the cluster");
        live.seen().await.assert_is(&Seen::recorded(&moment), place);
        assert_eq!(live.tables().await, tables, "{place}");
        assert_eq!((rehearsal.verdict, &rehearsal.error), (RehearsalVerdict::Healthy, &None), "{place}: {:?}", rehearsal.after);
        assert_eq!((&rehearsal.differs, &rehearsal.refused), (&Vec::new(), &None), "{place}");
        assert_eq!(rehearsal.copy.keyspaces, ["commerce", "customer"], "{place}");
        let is_named = |text: &String| text.starts_with("tables: ");
        let drops = rehearsal.plan.as_ref().is_some_and(|plan| !plan.gone.is_empty());
        assert_eq!(
            (rehearsal.not_known.iter().any(is_named), place == "complete" || place == "cancel"),
            (drops, drops),
            "{place}"
        );
        assert!(rehearsal.steps.iter().all(|step| !step.calls.is_empty()), "{place}: {:?}", rehearsal.steps);
        let found = rehearsal.after.as_ref().unwrap_or_else(|| panic!("{place}: a diagnosis"));
        assert_eq!(found.parts.len() + found.well.len(), 1, "{place}: {phase} {found:?}");
        assert_is_then_done(&live, &call, &rehearsal, place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_in_the_rehearsal() {
    for (moment, workflow, call, text) in [
        (mirrored(), "m2", completion(&complete("m2")), "you have not yet switched all read and write traffic"),
        (switched(), "c2c", cancellation("c2c", false), "you have already switched write traffic"),
        (switched(), "c2c", mirroring("c2c", 5.0), "cannot mirror [primary,replica,rdonly] traffic for workflow c2c"),
    ] {
        let live = Running::start(&moment).await;
        let rehearsal = rehearsed_change(&live, change(workflow, call), Some(Duration::from_secs(60))).await;
        assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::Refused, 0));
        let said = rehearsal.error.unwrap_or_default();
        assert!(said.contains(text), "{said}");
        assert_eq!((rehearsal.steps.len(), rehearsal.faults), (0, None));
    }
}

/// All faults of a change: each was tried, and after each of them all is well or the same command finishes it.
async fn with_faults(moment: &Moment, change: Change, place: &str) -> (Rehearsal, FaultTable) {
    let live = Running::start(moment).await;
    let mut rehearsal = rehearsed_change(&live, change, Some(Duration::from_secs(600))).await;
    assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::Healthy, 0), "{place}: {:#?}", unhealed(&rehearsal));
    let faults = rehearsal.faults.take().expect("faults were tried");
    let writes = rehearsal.steps.iter().flat_map(|step| &step.calls).filter(|call| call.writes).count();
    let of_fault = |fault: Fault| faults.lines.iter().filter(|line| line.fault == fault).count();
    assert_eq!((of_fault(Fault::Fails), of_fault(Fault::AnswerLost), of_fault(Fault::Dies)), (writes, writes, writes), "{place}");
    assert!(faults.is_whole());
    for line in &faults.lines {
        let is_finished = line.ways.iter().any(|way| way.command == "same command" && way.heals);
        match line.end {
            FaultEnd::Done => assert!(line.ways.is_empty(), "{place}: {line:?}"),
            FaultEnd::AsBefore | FaultEnd::HalfWay => assert!(is_finished, "{place}: {line:?}"),
            FaultEnd::NotKnown => panic!("{place}: {line:?}"),
        }
        assert!(line.end == FaultEnd::Done || !line.said.is_empty() || line.fault == Fault::Dies, "{place}: {line:?}");
    }
    (rehearsal, faults)
}

fn unhealed(of: &Rehearsal) -> Vec<String> {
    let lines = of.faults.iter().flat_map(|faults| &faults.lines);
    lines.filter(|line| !line.heals()).map(|line| format!("{line:?}")).collect()
}

fn ends(faults: &FaultTable, fault: Fault) -> [usize; 3] {
    [FaultEnd::Done, FaultEnd::AsBefore, FaultEnd::HalfWay]
        .map(|end| faults.lines.iter().filter(|line| line.fault == fault && line.end == end).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_stops_anywhere_is_finished_by_the_same_command() {
    let (rehearsal, faults) = with_faults(&switched(), change("c2c", completion(&complete("c2c"))), "complete").await;
    assert_eq!(rehearsal.plan.unwrap().gone.len(), 1);
    // Nothing is taken back: only what fails at the very first call leaves all as it was.
    let first = faults.lines.first().unwrap();
    assert!(first.step == "drop the source's tables" && first.call.contains("drop table `vt_commerce`.`corder`"), "{first:?}");
    assert_eq!((first.fault, first.end), (Fault::Fails, FaultEnd::AsBefore));
    assert_eq!(faults.lines.iter().filter(|line| line.end == FaultEnd::AsBefore).count(), 1);
    // Done: who dies with the last stream, and behind it with two comparisons and two logs. Before that, half of it is.
    assert_eq!(ends(&faults, Fault::Dies), [5, 0, 15]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_stops_anywhere_is_finished_by_the_same_command() {
    let (_, faults) = with_faults(&mirrored(), change("m2", cancellation("m2", false)), "cancel").await;
    let dropped = |line: &&vtflow::rehearse::report::FaultLine| line.call.contains("drop table");
    assert_eq!(faults.lines.iter().filter(dropped).count(), 2 * 2 * 3, "two tables on two shards, each with three faults");
    assert_eq!(ends(&faults, Fault::Dies), [5, 0, 17], "done with the last stream, and behind it");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirroring_that_stops_anywhere_goes_both_ways() {
    let back = Some(("mirror --percent 0".to_owned(), mirroring("m2", 0.0)));
    let change = Change { back, ..change("m2", mirroring("m2", 5.0)) };
    let (_, faults) = with_faults(&Moment::of("47-mt-mirror", "before"), change, "mirror").await;
    let half = || faults.lines.iter().filter(|line| line.end == FaultEnd::HalfWay);
    assert!(half().count() > 0);
    for line in half() {
        assert!(line.ways.iter().all(|way| way.heals) && line.ways.len() == 2, "{line:?}");
    }
}
