use super::*;
use vtflow_planner::proto::vtflow::{Deviation, RepairAction, repair_action as wire};

const NOW: Timestamp = Timestamp { seconds: 1_795_973_308, nanos: 0 };

fn closed() -> DiagnosedWorkflow {
    let deny = |keyspace: &str, shard: &str, deny| RepairAction {
        action: Some(wire::Action::DenyTables(wire::DenyTables {
            keyspace: keyspace.into(),
            shard: shard.into(),
            tables: vec!["corder".into(), "customer".into()],
            deny,
            allow_reads: false,
        })),
    };
    let again = RepairAction { action: Some(wire::Action::RunAgain(wire::RunAgain { at_any_lag: false })) };
    DiagnosedWorkflow {
        keyspace: "customer".into(),
        workflow: "c2c".into(),
        source_keyspace: "commerce".into(),
        kind: "standard".into(),
        phase: "stopped_before_journal".into(),
        source_shards: vec!["0".into()],
        target_shards: vec!["-80".into(), "80-".into()],
        deviations: vec![Deviation {
            mechanism: "writes_closed".into(),
            cause: "a switch of writes ended".into(),
            hurts: "writes to corder and customer are refused".into(),
            since: 1_795_919_308,
            rerun: "heals".into(),
            places: vec!["commerce/0".into()],
            repairs: vec![
                Repair { direction: "back".into(), actions: vec![deny("commerce", "0", false), deny("customer", "-80", true)] },
                Repair { direction: "forward".into(), actions: vec![again] },
            ],
        }],
        locks: vec![HeldLock {
            path: "internal/named_locks/customer/c2c/locks/1".into(),
            action: "WorkflowSwitchTraffic".into(),
            holder: "vt@vm".into(),
            since: 1_795_919_308,
            process: "gone".into(),
            until: 1_796_005_708,
        }],
        ..DiagnosedWorkflow::default()
    }
}

#[test]
fn trouble_comes_first_with_whom_it_hurts_and_the_ways_out() {
    let well = DiagnosedWorkflow {
        keyspace: "customer".into(),
        workflow: "m2".into(),
        kind: "standard".into(),
        phase: "not_switched".into(),
        source_keyspace: "commerce".into(),
        ..DiagnosedWorkflow::default()
    };
    let found = DiagnoseResponse { workflows: vec![well, closed()], ..DiagnoseResponse::default() };
    let screen = diagnosis(&found, &[], NOW);
    assert_eq!(screen.verdict, Verdict::Deviations);
    assert_eq!(screen.summary, "1 deviation, 1 of 2 workflows affected");
    assert_eq!(screen.well, ["customer.m2  standard  commerce (0 shards) -> customer (0 shards)  not switched"]);
    let [part] = screen.parts.as_slice() else { panic!("{:?}", screen.parts) };
    assert!(
        part.heading
            .starts_with("customer.c2c  standard  commerce/0 -> customer (2 shards)  a switch of writes stopped half-way")
    );
    let [deviation] = part.deviations.as_slice() else { panic!("{part:?}") };
    assert_eq!(deviation.heading, "writes to corder and customer are refused, since 02:28:28 UTC (15h ago)");
    let lines: Vec<String> = deviation.lines.iter().map(|(label, text)| format!("{label}: {text}")).collect();
    assert_eq!(
        lines,
        [
            "what: writes closed",
            "where: commerce/0",
            "cause: a switch of writes ended",
            "again: running the command again puts it right",
            "back: 1. commerce/0 no longer denies corder, customer; its tablets read that",
            "back: 2. customer/-80 denies corder, customer; its tablets read that",
            "forward: run the command again",
        ]
    );
    let commands: Vec<(&str, &str)> = deviation.commands.iter().map(|it| (it.why.as_str(), it.command.as_str())).collect();
    assert_eq!(
        commands,
        [
            ("back", "vtflow repair customer c2c --back --only=writes_closed"),
            ("forward", "vtflow workflow switch customer c2c --tablet-types=primary"),
        ]
    );
    assert_eq!((part.keyspace.as_str(), part.workflow.as_str()), ("customer", "c2c"));
    let locked = "internal/named_locks/customer/c2c/locks/1 by vt@vm for WorkflowSwitchTraffic since 02:28:28 UTC (15h ago): \
                  its process is gone, its lease ends in 9h at the latest";
    assert_eq!(part.lines, [("locked".to_owned(), locked.to_owned())]);
}

#[test]
fn a_lock_whose_process_may_be_gone_says_what_takes_it_away() {
    let lock = |process: &str| HeldLock {
        path: "internal/named_locks/customer/it's/locks/1".into(),
        holder: "vt@vm".into(),
        process: process.into(),
        ..HeldLock::default()
    };
    let told = |process: &str| {
        let of = DiagnosedWorkflow { locks: vec![lock(process)], unknown: vec!["down".into()], ..DiagnosedWorkflow::default() };
        let found = DiagnoseResponse { workflows: vec![of], ..DiagnoseResponse::default() };
        diagnosis(&found, &[], NOW).parts[0].lines[0].1.clone()
    };
    assert!(
        told("may_be_alive").ends_with(r"; if it is not: vtflow workflow unlock customer 'it'\''s'"),
        "{}",
        told("may_be_alive")
    );
    assert!(told("alive").ends_with("its process is alive"), "{}", told("alive"));
}

#[test]
fn what_could_not_be_read_is_never_healthy() {
    let none = DiagnoseResponse::default();
    assert_eq!(diagnosis(&none, &[], NOW).verdict, Verdict::Healthy);
    let unknown = DiagnoseResponse { unknown: vec!["down".into()], ..DiagnoseResponse::default() };
    assert_eq!(diagnosis(&unknown, &[], NOW).verdict, Verdict::CouldNotLook);
    let doubtful = DiagnosedWorkflow { unknown: vec!["down".into()], ..DiagnosedWorkflow::default() };
    let found = DiagnoseResponse { workflows: vec![doubtful], ..DiagnoseResponse::default() };
    assert_eq!(diagnosis(&found, &[], NOW).verdict, Verdict::CouldNotLook);
    let failure = Failure {
        keyspace: "ks".into(),
        shard: String::new(),
        tablet: String::new(),
        workflow: String::new(),
        lost: vtflow_planner::Lost::Record,
        message: "down".into(),
    };
    assert_eq!(diagnosis(&none, &[failure], NOW).verdict, Verdict::CouldNotLook);
}

#[test]
fn a_sequence_that_is_raised_is_told_with_its_place() {
    let (keyspace, shard, tablet) = ("commerce".into(), "0".into(), "zone1-0000000100".into());
    let raise = wire::RaiseSequence { keyspace, shard, tablet, table: "corder_seq".into(), next: 56 };
    let actions = vec![RepairAction { action: Some(wire::Action::RaiseSequence(raise)) }];
    let repairs = vec![Repair { direction: "in_place".into(), actions }];
    let leftover = Deviation { mechanism: "sequence_behind".into(), repairs, ..Deviation::default() };
    let found = DiagnoseResponse { leftovers: vec![leftover], ..DiagnoseResponse::default() };
    let lines = &diagnosis(&found, &[], NOW).parts[0].deviations[0].lines;
    let text =
        "commerce/0 zone1-0000000100: sequence corder_seq goes on with 56 at least; the tablet forgets what it took in advance";
    assert!(lines.contains(&("what".into(), "sequence behind".into())), "{lines:?}");
    assert!(lines.contains(&("repair".into(), text.into())), "{lines:?}");
}

#[test]
fn another_day_is_told() {
    assert_eq!(since(NOW.seconds - 90_000, NOW), "Sat Nov 28 16:28:28 2026 UTC (25h ago)");
}

/// The commands of one deviation, of a workflow with a name that a shell would obey.
fn commands(mechanism: &str, direction: &str, action: wire::Action) -> Vec<String> {
    let actions = vec![RepairAction { action: Some(action) }];
    let repairs = vec![Repair { direction: direction.into(), actions }];
    let deviations = vec![Deviation { mechanism: mechanism.into(), repairs, ..Deviation::default() }];
    let of = DiagnosedWorkflow { keyspace: "ks".into(), workflow: "$(id)".into(), deviations, ..DiagnosedWorkflow::default() };
    let found = DiagnoseResponse { workflows: vec![of], ..DiagnoseResponse::default() };
    diagnosis(&found, &[], NOW).parts[0].deviations[0].commands.iter().map(|it| it.command.clone()).collect()
}

#[test]
fn a_way_out_is_a_command_where_there_is_one() {
    let unlock = || wire::Action::Unlock(wire::Unlock { path: "p".into() });
    let again = |at_any_lag| wire::Action::RunAgain(wire::RunAgain { at_any_lag });
    let stream = || wire::Action::CreateReverseStream(wire::CreateReverseStream::default());
    let name = "'$(id)'";
    for (mechanism, direction, action, want) in [
        ("writes_closed", "in_place", unlock(), Some(format!("vtflow repair ks {name} --only=writes_closed"))),
        ("writes_closed", "forward", unlock(), Some(format!("vtflow repair ks {name} --forward --only=writes_closed"))),
        (
            "writes_closed",
            "forward",
            again(true),
            Some(format!("vtflow workflow switch ks {name} --tablet-types=primary --max-replication-lag-allowed=24h")),
        ),
        ("deletion_interrupted", "forward", again(false), Some(format!("vtflow workflow cancel ks {name}"))),
        ("deletion_interrupted", "back", unlock(), Some(format!("vtflow workflow start ks {name}"))),
        ("writes_closed", "in_place", stream(), None),
        ("of a later release", "in_place", unlock(), None),
    ] {
        assert_eq!(commands(mechanism, direction, action), want.into_iter().collect::<Vec<_>>(), "{mechanism} {direction}");
    }
}

#[test]
fn what_goes_on_with_a_way_back_is_the_way_back() {
    let of = DiagnosedWorkflow { phase: "back_stopped_after_journal".into(), ..closed() };
    let found = DiagnoseResponse { workflows: vec![of], ..DiagnoseResponse::default() };
    let part = diagnosis(&found, &[], NOW).parts.remove(0);
    assert!(part.heading.ends_with("a switch back of writes stopped half-way, after its journal: it can only go on"), "{part:?}");
    let lines: Vec<&str> = part.deviations[0].lines.iter().map(|(_, text)| text.as_str()).collect();
    assert!(
        lines.contains(&"reverse the traffic again") && lines.contains(&"reversing the traffic again puts it right"),
        "{lines:?}"
    );
    assert!(
        lines.iter().all(|line| !line.contains("run the command again") && !line.contains("running the command")),
        "{lines:?}"
    );
}
