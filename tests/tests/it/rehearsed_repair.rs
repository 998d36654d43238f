//! Rehearsals of repairs: they do what the repair then does, they write nothing to the cluster, and wherever one stops, the same repair
//! finishes it.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use prost::Message;
use vtflow::rehearse::{
    Change,
    report::{FaultEnd, Rehearsal, RehearsalVerdict},
};
use vtflow_planner::{Call, CallOptions, proto::vtflow::RepairRequest, rpc};

use crate::{
    lifecycle::{Moment, Running, Seen},
    rehearsal::{assert_is_then_done, rehearsed_change},
};

/// A repair of `customer.c2c`, or of all of `customer`.
fn repair(workflow: &str, direction: &str) -> Change {
    let request = RepairRequest {
        keyspace: "customer".into(),
        workflow: workflow.into(),
        direction: direction.into(),
        ..RepairRequest::default()
    };
    let call = Call { path: rpc::REPAIR.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    Change { keyspace: "customer".into(), workflow: workflow.into(), call, back: None }
}

/// Where a vtctld has died in the middle of a switch of writes, before its journal.
const STOPPED: [&str; 2] = ["20-mt-crash-after-denied", "31-mt-crash-waitpos"];

fn told(of: &Rehearsal) -> String {
    format!("{:?} {:?} {:?} {:?}", of.error, of.differs, of.notes, of.after)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rehearsed_is_what_is_then_done_and_the_cluster_is_only_read() {
    for (step, workflow) in [(STOPPED[0], "c2c"), (STOPPED[0], ""), (STOPPED[1], "c2c")] {
        let place = format!("{step} {workflow}");
        let moment = Moment::of(step, "after");
        let live = Running::start(&moment).await;
        let change = repair(workflow, "back");
        let rehearsal = rehearsed_change(&live, change.clone(), None).await;
        assert_eq!(live.writes(), 0, "{place}: calls that change something have come to the cluster");
        live.seen().await.assert_is(&Seen::recorded(&moment), &place);
        assert_eq!((rehearsal.verdict, &rehearsal.error), (RehearsalVerdict::Healthy, &None), "{place}: {}", told(&rehearsal));
        assert!(rehearsal.differs.is_empty(), "{place}: {}", told(&rehearsal));
        assert!(!rehearsal.steps.is_empty(), "{place}");
        assert_is_then_done(&live, &change.call, &rehearsal, &place).await;
    }
}

/// A copy has none of them, and the rest is the same.
#[tokio::test(flavor = "multi_thread")]
async fn locks_whose_holder_is_gone_are_said_and_make_no_difference() {
    let lock = r#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt", "Time": "2026-11-01T00:00:00Z"}"#;
    let path = "internal/named_locks/customer/c2c/locks/7";
    let moment = Moment::of(STOPPED[0], "after").with_record("global", path, |_| lock.into());
    let live = Running::start(&moment).await;
    let rehearsal = rehearsed_change(&live, repair("c2c", "back"), None).await;
    assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::Healthy, 0), "{}", told(&rehearsal));
    assert!(rehearsal.differs.is_empty(), "{}", told(&rehearsal));
    let is_said = |note: &String| note.contains("on the cluster 1 lock without a process must go first");
    assert!(rehearsal.notes.iter().any(is_said), "{}", told(&rehearsal));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_in_the_rehearsal() {
    let live = Running::start(&Moment::of(STOPPED[0], "after")).await;
    let rehearsal = rehearsed_change(&live, repair("c2c", ""), Some(Duration::from_secs(60))).await;
    assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::Refused, 0));
    let said = rehearsal.error.unwrap_or_default();
    assert!(said.contains("two ways are open: say --forward or --back"), "{said}");
    assert_eq!((rehearsal.steps.len(), rehearsal.faults), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_stops_anywhere_is_finished_by_the_same_command() {
    for step in STOPPED {
        let live = Running::start(&Moment::of(step, "after")).await;
        let rehearsal = rehearsed_change(&live, repair("c2c", "back"), Some(Duration::from_secs(600))).await;
        let faults = rehearsal.faults.as_ref().unwrap_or_else(|| panic!("{step}: {}", told(&rehearsal)));
        let unhealed: Vec<_> = faults.lines.iter().filter(|line| !line.heals()).collect();
        assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::Healthy, 0), "{step}: {unhealed:#?}");
        let writes = rehearsal.steps.iter().flat_map(|step| &step.calls).filter(|call| call.writes).count();
        assert_eq!((faults.is_whole(), faults.lines.len()), (true, 3 * writes), "{step}");
        for line in &faults.lines {
            let is_finished = line.ways.iter().any(|way| way.command == "same command" && way.heals);
            assert!(line.end == FaultEnd::Done || is_finished, "{step}: {line:?}");
        }
        // Who dies half-way leaves a half; who dies at the last call has done it.
        assert!(faults.lines.iter().any(|line| line.end == FaultEnd::HalfWay), "{step}");
        assert_eq!(faults.lines.last().map(|line| line.end), Some(FaultEnd::Done), "{step}");
    }
}
