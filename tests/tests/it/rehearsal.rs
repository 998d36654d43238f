//! Rehearsals of recorded changes of traffic: they do what the change then does, they write nothing to the cluster, and a fault anywhere heals.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{sync::Mutex, time::Duration};

use prost::Message;
use vtflow::{
    drive::drive,
    observe::Observer,
    planner_host::PlannerHost,
    rehearse::{
        Change, Faults, rehearse,
        report::{Fault, FaultEnd, Rehearsal, RehearsalVerdict},
        take,
    },
};
use vtflow_planner::{Ask, Call, CallOptions, Effect, What, proto::vtctldata::WorkflowSwitchTrafficRequest, rpc};

use crate::lifecycle::{Recorded, Running, Seen};

/// The change of a recorded request.
fn change(request: &[u8]) -> Change {
    let wanted = WorkflowSwitchTrafficRequest::decode(request).expect("a request");
    let call = |wanted: &WorkflowSwitchTrafficRequest| Call {
        path: rpc::WORKFLOW_SWITCH_TRAFFIC.into(),
        request: wanted.encode_to_vec(),
        options: CallOptions::default(),
    };
    let back = WorkflowSwitchTrafficRequest { direction: 1 - wanted.direction, ..wanted.clone() };
    let command = if back.direction == 0 { "switch" } else { "reverse" };
    Change {
        keyspace: wanted.keyspace.clone(),
        workflow: wanted.workflow.clone(),
        call: call(&wanted),
        back: Some((command.to_owned(), call(&back))),
    }
}

/// Rehearses a switch on a cluster that is only read.
async fn rehearsed(cluster: &Running, request: &[u8], faults: Option<Duration>) -> Rehearsal {
    rehearsed_change(cluster, change(request), faults).await
}

/// Rehearses any change on a cluster that is only read.
pub(crate) async fn rehearsed_change(cluster: &Running, change: Change, faults: Option<Duration>) -> Rehearsal {
    let perform = async |call: &Call, watcher: &dyn Observer| {
        drive(PlannerHost::Native.start(call, cluster.now), &cluster.io, None, watcher).await
    };
    let taken = take(perform, &change, cluster.now).await.expect("the cluster can be read");
    let faults = faults.map(|limit| Faults { limit, tried: Box::new(|_, _| {}) });
    rehearse(PlannerHost::Native, taken, change, faults).await.expect("a thread")
}

/// Every ask that writes, in the order in which they were handed out: whom it goes to, and what it is.
#[derive(Default)]
struct Writes(Mutex<Vec<String>>);

impl Observer for Writes {
    fn asked(&self, ask: &Ask) {
        let text = match &ask.what {
            What::TopoPut { cell, path, .. } | What::TopoDelete { cell, path, .. } => format!("{cell}  {path}"),
            What::TabletCall { tablet, path, effect: Effect::Write, about, .. } => {
                let method = path.rsplit('/').next().expect("a method");
                format!("{}  {}/{}  {method}", tablet.alias, about.keyspace, about.shard)
            }
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rehearsed_is_what_is_then_done_and_the_cluster_is_only_read() {
    for (step, other) in [
        ("03-mt-switch-reads", ""),
        ("06-mt-switch-writes", ""),
        ("09-mt-reverse", ""),
        ("11-mt-switch-all", ""),
        ("81-rs-switch-writes", "mat2"),
    ] {
        let recorded = Recorded::step(step).without(other);
        let live = Running::start(&recorded.before).await;
        let rehearsal = rehearsed(&live, &recorded.request, None).await;
        assert_eq!(live.writes(), 0, "{step}: calls that change something have come to the cluster");
        live.seen().await.assert_is(&Seen::recorded(&recorded.before), step);
        assert_eq!((rehearsal.verdict, &rehearsal.error), (RehearsalVerdict::Healthy, &None), "{step}: {:?}", rehearsal.after);
        assert_eq!(rehearsal.differs, Vec::<String>::new(), "{step}");
        assert_is_then_done(&live, &change(&recorded.request).call, &rehearsal, step).await;
    }
}

/// Makes the change on the cluster itself: step by step it is what was rehearsed, and nothing besides.
pub(crate) async fn assert_is_then_done(live: &Running, call: &Call, rehearsal: &Rehearsal, place: &str) {
    let writes = Writes::default();
    let reply = drive(PlannerHost::Native.start(call, live.now), &live.io, None, &writes).await;
    reply.result.unwrap_or_else(|status| panic!("{place}: {status}"));
    let mut done = writes.0.into_inner().unwrap().into_iter();
    let of_plan = rehearsal.steps.iter().filter(|it| it.way.is_some());
    for of_step in of_plan {
        // Which of a step's calls is first depends on who answers first.
        let told = of_step.calls.iter().filter(|call| call.writes).map(|call| call.text.clone()).collect::<Vec<_>>();
        let mut same: Vec<String> = done.by_ref().take(told.len()).collect();
        let mut missing = Vec::new();
        for text in &told {
            match same.iter().position(|done| text.starts_with(done.as_str())) {
                Some(at) => drop(same.remove(at)),
                None => missing.push(text),
            }
        }
        assert!(missing.is_empty() && same.is_empty(), "{place}: {}: rehearsed {missing:?}, done {same:?}", of_step.name);
    }
    assert_eq!(done.collect::<Vec<_>>(), Vec::<String>::new(), "{place}: more than was rehearsed");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_refused_from_the_first_closed_shard_to_the_last_rule_and_not_where_only_reads_move() {
    let recorded = Recorded::step("03-mt-switch-reads");
    let reads = rehearsed(&Running::start(&recorded.before).await, &recorded.request, None).await;
    assert_eq!(reads.refused, None);
    let recorded = Recorded::step("06-mt-switch-writes");
    let writes = rehearsed(&Running::start(&recorded.before).await, &recorded.request, None).await;
    let refused = writes.refused.expect("writes move");
    assert_eq!(refused.what, "writes to corder, customer");
    let ends = (refused.from.as_deref(), refused.to.as_deref());
    assert_eq!(ends, (Some("stop writes on the source"), Some("switch writes")));
    let rounds = |name: &str, of: &str| {
        let step = writes.steps.iter().find(|step| step.name == name).expect("a step");
        step.calls.iter().filter(|call| call.text.contains(of)).map(|call| call.round).collect::<Vec<_>>()
    };
    // From when the source's primary reads that it denies the tables.
    let [first] = rounds("stop writes on the source", "zone1-0000000100  commerce/0  RefreshState")[..] else {
        panic!("one call")
    };
    let last = *rounds("switch writes", "").iter().max().unwrap();
    assert_eq!(refused.rounds, last - first + 1, "from the call that closes to the call that opens");
    assert!(refused.pause_us > 0 && refused.estimate_us >= refused.pause_us, "{refused:?}");
    assert!(refused.estimate_us <= writes.estimate_us, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_in_the_rehearsal() {
    let recorded = Recorded::step("16-mt-switch-while-stopped");
    let live = Running::start(&recorded.before).await;
    let rehearsal = rehearsed(&live, &recorded.request, Some(Duration::from_secs(60))).await;
    assert_eq!(rehearsal.verdict, RehearsalVerdict::Refused);
    let text =
        "cannot switch traffic for workflow c2c at this time: stream 14 of customer/-80 is Stopped; start the workflow first";
    assert_eq!(rehearsal.error.as_deref(), Some(text));
    assert_eq!((rehearsal.steps.len(), rehearsal.faults, live.writes()), (0, None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_switch_has_stopped_the_rehearsal_goes_on_from_there() {
    for step in ["20-mt-crash-after-denied", "31-mt-crash-waitpos", "34-mt-crash-journal"] {
        let recorded = Recorded::step(step);
        let live = Running::start(recorded.after.as_ref().expect("half")).await;
        let rehearsal = rehearsed(&live, &recorded.request, None).await;
        assert_eq!((rehearsal.verdict, live.writes()), (RehearsalVerdict::Healthy, 0), "{step}: {:?}", rehearsal.error);
        let refused = rehearsal.refused.expect("writes move");
        assert_eq!((refused.from, refused.to.as_deref()), (None, Some("switch writes")), "{step}: they are refused already");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_is_lost_or_dies_heals_by_the_same_command_and_before_the_journal_by_the_way_back() {
    let recorded = Recorded::step("06-mt-switch-writes");
    let live = Running::start(&recorded.before).await;
    let rehearsal = rehearsed(&live, &recorded.request, Some(Duration::from_secs(600))).await;
    assert_eq!(rehearsal.verdict, RehearsalVerdict::Healthy);
    assert_eq!(live.writes(), 0);
    let faults = rehearsal.faults.expect("faults were tried");
    let writes = rehearsal.steps.iter().flat_map(|step| &step.calls).filter(|call| call.writes).count();
    let of_fault = |fault: Fault| faults.lines.iter().filter(|line| line.fault == fault).count();
    assert_eq!((of_fault(Fault::AnswerLost), of_fault(Fault::Dies)), (writes, writes));
    assert!(of_fault(Fault::Fails) > writes, "what only waits may fail, too");
    assert!(faults.is_whole());
    let journal = faults.lines.iter().position(|line| line.step == "write the journal").expect("a journal");
    for (at, line) in faults.lines.iter().enumerate() {
        assert!(line.heals(), "{line:?}");
        let by = |command: &str| line.ways.iter().any(|way| way.command == command && way.heals);
        match line.end {
            FaultEnd::Done => {}
            FaultEnd::AsBefore => assert!(at <= journal && by("same command"), "{line:?}"),
            FaultEnd::HalfWay => {
                assert!(by("same command"), "{line:?}");
                if at < journal {
                    assert!(by("reverse") && line.phase == "stopped_before_journal", "{line:?}");
                    // Whoever reads the table sees that writes are refused until somebody acts.
                    assert!(line.hurts.iter().any(|text| text.contains("writes to corder and customer are refused")), "{line:?}");
                }
            }
            FaultEnd::NotKnown => panic!("{line:?}"),
        }
    }
    for end in [FaultEnd::Done, FaultEnd::AsBefore, FaultEnd::HalfWay] {
        assert!(faults.lines.iter().any(|line| line.end == end), "{end:?}");
    }
}
