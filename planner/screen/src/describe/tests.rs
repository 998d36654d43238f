//! What is said of a workflow, of the copies, streams and traffic that there may be.

use std::collections::{BTreeMap, BTreeSet};

use super::{streams::short_position, *};
use crate::around::SourceShards;
use vtflow_planner::proto::{
    binlogdata::BinlogSource,
    vtctldata::{
        workflow::{
            ReplicationLocation, ShardStream,
            stream::{CopyState, Log},
        },
        workflow_status_response::TableCopyState,
    },
    vttime::Time,
};

const NOW: Timestamp = Timestamp { seconds: 1_000, nanos: 0 };

#[allow(clippy::unnecessary_wraps, reason = "as the messages have it")]
fn at(seconds: i64) -> Option<Time> {
    Some(Time { seconds, nanoseconds: 0 })
}

fn log(id: i64, kind: &str, seconds: i64, message: &str) -> Log {
    let (created_at, updated_at) = (at(seconds), at(seconds));
    Log { id, r#type: kind.into(), created_at, updated_at, message: message.into(), count: 1, ..Log::default() }
}

fn copying(rows_copied: i64, updated: i64, logs: Vec<Log>) -> Stream {
    Stream {
        id: 7,
        shard: "-80".into(),
        state: "Copying".into(),
        position: "MySQL56/6ca9b5b3-e710-11f1-ac9e-02fc00000001:1-86".into(),
        time_updated: at(updated),
        rows_copied,
        copy_states: vec![CopyState { table: "big".into(), last_pk: "pk".into(), stream_id: 7 }],
        logs,
        ..Stream::default()
    }
}

fn workflow(kind: &str, streams: Vec<Stream>) -> Workflow {
    Workflow {
        name: "w".into(),
        workflow_type: kind.into(),
        target: Some(ReplicationLocation { keyspace: "ks".into(), shards: vec!["-80".into()] }),
        shard_streams: BTreeMap::from([("-80/z-1".into(), ShardStream { streams, ..ShardStream::default() })]),
        ..Workflow::default()
    }
}

/// The source is there.
fn here() -> Surroundings {
    around("from", SourceShards::Known(BTreeSet::from(["0".to_owned()])))
}

fn around(keyspace: &str, shards: SourceShards) -> Surroundings {
    Surroundings { sources: BTreeMap::from([(keyspace.to_owned(), shards)]), ..Surroundings::default() }
}

fn status(rows_copied: i64, rows_total: i64) -> WorkflowStatusResponse {
    let state = TableCopyState { rows_copied, rows_total, rows_percentage: 25.0, phase: 2, ..TableCopyState::default() };
    let traffic_state = "Reads Not Switched. Writes Not Switched".into();
    WorkflowStatusResponse { table_copy_state: BTreeMap::from([("big".into(), state)]), traffic_state, ..Default::default() }
}

#[test]
fn one_reading_gives_the_average_if_the_log_goes_back_to_the_begin() {
    let whole = vec![log(1, "Stream Created", 880, "{}"), log(2, "Started Copy Phase", 890, "x")];
    let of = describe(&workflow("MoveTables", vec![copying(1_000, 990, whole)]), Some(&status(1_000, 4_000)), &here(), None, NOW);
    assert_eq!(of.streams[0].rows_per_second, Some(10.0));
    let copy = of.copy.unwrap();
    assert_eq!(copy.left_seconds, Some(300));
    assert_eq!(copy.text(), "1,000 of about 4,000 rows, 10 rows/s on average since it began, about 5m left");
    // The oldest entries are cut off: nobody knows when it began.
    let cut = vec![log(2, "Started Copy Phase", 890, "x")];
    let of = describe(&workflow("MoveTables", vec![copying(1_000, 990, cut)]), Some(&status(1_000, 4_000)), &here(), None, NOW);
    assert_eq!((of.streams[0].rows_per_second, of.copy.unwrap().left_seconds), (None, None));
}

#[test]
fn two_readings_give_the_speed_of_now() {
    let before = workflow("MoveTables", vec![copying(1_000, 990, vec![])]);
    let after = workflow("MoveTables", vec![copying(1_500, 995, vec![])]);
    let of = describe(&after, Some(&status(1_500, 4_000)), &here(), Some(Reading { workflow: &before }), NOW);
    assert_eq!(of.streams[0].rows_per_second, Some(100.0));
    assert_eq!(of.copy.unwrap().text(), "1,500 of about 4,000 rows, 100 rows/s, about 25s left");
    // A row that was not written in between says nothing.
    let of = describe(&before, None, &here(), Some(Reading { workflow: &before }), NOW);
    assert_eq!(of.streams[0].rows_per_second, None);
}

#[test]
fn without_a_status_nothing_is_invented() {
    let of = describe(&workflow("MoveTables", vec![copying(1_000, 990, vec![])]), None, &here(), None, NOW);
    assert_eq!((of.traffic, of.tables[0].percent, of.tables[0].phase), (None, None, "unknown"));
    assert_eq!(of.copy.unwrap().text(), "speed not known, time left not known");
    assert_eq!(of.streams[0].position, "…00001:1-86");
}

#[test]
fn what_is_copied_is_not_all_done_before_it_is() {
    let of = |stream: Stream, copied, total, percentage| {
        let mut status = status(copied, total);
        status.table_copy_state.get_mut("big").unwrap().rows_percentage = percentage;
        let of = describe(&workflow("MoveTables", vec![stream]), Some(&status), &here(), None, NOW);
        let table = &of.tables[0];
        (table.percent, table.rows().unwrap(), table.phase, of.copy.unwrap().text())
    };
    let (percent, rows, phase, text) = of(copying(10_000, 999, vec![]), 10_000, 10, 100.0);
    assert_eq!((percent, rows.as_str(), phase), (None, "10k, estimate 10", "copying"));
    assert!(text.starts_with("10k rows, more than the estimate of 10, "), "{text}");
    assert_eq!(of(copying(10, 999, vec![]), 10, 10, 100.0).0, Some(99.0));
    let stopped =
        |state: &str, message: &str| Stream { state: state.into(), message: message.into(), ..copying(1_000, 999, vec![]) };
    for stream in [stopped("Stopped", ""), stopped("Error", "bad")] {
        assert_eq!(of(stream, 1_000, 4_000, 25.0).2, "stopped");
    }
}

#[test]
fn a_position_shows_the_interval_that_moves() {
    let server = "8c3a7f10-1111-11ef-9a1a-0242ac110002";
    for (intervals, want) in
        [("1-12045", "1-12045"), ("1-5:7-9", "7-9"), ("1-12045:mysqlsh:1-3", "1-12045"), ("mysqlsh:1-3", "mysqlsh:1-3")]
    {
        assert_eq!(short_position(&format!("MySQL56/{server}:{intervals}")), format!("…10002:{want}"));
    }
}

#[test]
fn equal_log_entries_are_one_line() {
    let logs: Vec<Log> = (0..17).map(|i| log(i, "Message", 800 + i, "no such table")).collect();
    let of = describe(&workflow("MoveTables", vec![copying(0, 990, logs)]), None, &here(), None, NOW);
    assert_eq!(of.logs.len(), 1);
    assert_eq!((of.logs[0].times().as_str(), of.logs[0].message.as_str()), ("×17, last 3m ago", "no such table"));
}

#[test]
fn the_next_step_follows_from_kind_state_traffic_and_source() {
    let with = |kind: &str, state: &str, message: &str, traffic: &str, sources: &Surroundings| {
        let mut stream = copying(0, 999, vec![]);
        (stream.state, stream.message) = (state.into(), message.into());
        stream.copy_states.clear();
        stream.binlog_source = Some(BinlogSource { keyspace: "from".into(), shard: "0".into(), ..BinlogSource::default() });
        let workflow = Workflow {
            source: Some(ReplicationLocation { keyspace: "from".into(), shards: vec!["0".into()] }),
            ..workflow(kind, vec![stream])
        };
        let status = WorkflowStatusResponse { traffic_state: traffic.into(), ..WorkflowStatusResponse::default() };
        let next = describe(&workflow, Some(&status), sources, None, NOW).next;
        assert!(next.iter().all(|step| !step.why.is_empty()));
        next.into_iter().map(|step| step.command).collect::<Vec<_>>().join(" | ")
    };
    let (not, all) = ("Reads Not Switched. Writes Not Switched", "All Reads Switched. Writes Switched");
    let ours = |verb: &str| format!("vtflow workflow {verb} ks w --dry-run");
    let lookup = |verb: &str| format!("vtctldclient LookupVindex --name w --table-keyspace ks {verb} --keyspace from");
    let stopped = "Stopped after copy.";
    for (kind, state, message, traffic, want) in [
        ("MoveTables", "Error", "bad", not, "vtflow workflow start ks w".to_owned()),
        ("MoveTables", "Stopped", "", not, "vtflow workflow start ks w".into()),
        ("MoveTables", "Stopped", stopped, not, String::new()),
        ("MoveTables", "Stopped", "FROZEN", all, ours("complete") + " | " + &ours("reverse")),
        ("MoveTables", "Stopped", "FROZEN", not, String::new()),
        ("Reshard", "Running", "", not, "vtflow vdiff create ks w | ".to_owned() + &ours("switch")),
        ("Migrate", "Running", "", not, "vtflow vdiff create ks w | ".to_owned() + &ours("complete")),
        ("OnlineDDL", "Running", "", not, "vtflow get migrations --uuid w ks".into()),
        ("Materialize", "Running", "", not, String::new()),
        ("CreateLookupIndex", "Stopped", stopped, not, lookup("externalize")),
        ("CreateLookupIndex", "Stopped", "FROZEN", not, lookup("complete") + " | " + &lookup("internalize")),
    ] {
        assert_eq!(with(kind, state, message, traffic, &here()), want, "{kind} {state} {message} {traffic}");
        if kind != "OnlineDDL" {
            let gone = with(kind, state, message, traffic, &around("from", SourceShards::Gone));
            assert_eq!(gone, "vtflow workflow delete ks w --ignore-source", "{kind} {state} {message}");
            // Nobody looked: nothing is offered that needs the source.
            let unknown = with(kind, state, message, traffic, &Surroundings::default());
            assert_eq!(unknown, "vtflow describe workflow ks w", "{kind} {state} {message}");
        }
    }
}

const NOT: &str = "Reads Not Switched. Writes Not Switched";
const READS: &str = "All Reads Switched. Writes Not Switched";
const ALL: &str = "All Reads Switched. Writes Switched";

/// A move from `from` to `ks`, of a stream for each state, message and stop position.
fn moving(name: &str, streams: &[(&str, &str, &str)], traffic: &str) -> Description {
    moving_with(name, streams, traffic, &here(), "0")
}

/// The same; `shard`: what its streams read of `from`.
fn moving_with(name: &str, streams: &[(&str, &str, &str)], traffic: &str, around: &Surroundings, shard: &str) -> Description {
    let stream = |(id, &(state, message, stop_position)): (i64, &(&str, &str, &str))| {
        let mut stream = copying(0, 999, vec![]);
        (stream.id, stream.state, stream.message, stream.stop_position) =
            (id, state.into(), message.into(), stop_position.into());
        stream.copy_states.clear();
        stream.binlog_source = Some(BinlogSource { keyspace: "from".into(), shard: shard.into(), ..BinlogSource::default() });
        stream
    };
    let workflow = Workflow {
        name: name.into(),
        source: Some(ReplicationLocation { keyspace: "from".into(), shards: vec!["0".into()] }),
        ..workflow("MoveTables", (1..).zip(streams).map(stream).collect())
    };
    let status = WorkflowStatusResponse { traffic_state: traffic.into(), ..WorkflowStatusResponse::default() };
    describe(&workflow, Some(&status), around, None, NOW)
}

/// What is advised for it: the commands, and what they are for.
fn advised(name: &str, streams: &[(&str, &str, &str)], traffic: &str) -> (String, String) {
    let next = moving(name, streams, traffic).next;
    let join = |of: fn(&Step) -> &str| next.iter().map(of).collect::<Vec<_>>().join(" | ");
    (join(|step| &step.command), join(|step| &step.why))
}

#[test]
fn a_move_that_is_far_behind_is_not_to_be_switched() {
    let next = |largest| {
        let mut stream = Stream { transaction_timestamp: at(1_000 - largest), ..copying(0, 999, vec![]) };
        stream.state = "Running".into();
        stream.copy_states.clear();
        stream.binlog_source = Some(BinlogSource { keyspace: "from".into(), shard: "0".into(), ..BinlogSource::default() });
        let workflow = Workflow { max_v_replication_transaction_lag: largest, ..workflow("MoveTables", vec![stream]) };
        let status = WorkflowStatusResponse { traffic_state: NOT.into(), ..WorkflowStatusResponse::default() };
        let of = describe(&workflow, Some(&status), &here(), None, NOW);
        assert_eq!(of.streams[0].lag_seconds, Some(largest));
        of.next.into_iter().map(|step| format!("{} {}", step.why, step.command)).collect::<Vec<_>>().join("; ")
    };
    assert!(next(30).contains(" vtflow workflow switch ks "));
    let far = next(900);
    assert!(far.contains("it is 15m behind: its traffic cannot be switched until it has caught up"), "{far}");
    assert!(!far.contains("workflow switch"), "{far}");
}

#[test]
fn a_move_that_cannot_catch_up_is_not_told_to() {
    let now = Timestamp { seconds: 10_000, nanos: 0 };
    let next = |state: &str, traffic: &str| {
        let mut stream = Stream { state: state.into(), message: "no such table".into(), ..copying(0, 10_000 - 3_600, vec![]) };
        stream.copy_states.clear();
        stream.binlog_source = Some(BinlogSource { keyspace: "from".into(), shard: "0".into(), ..BinlogSource::default() });
        let status = WorkflowStatusResponse { traffic_state: traffic.into(), ..WorkflowStatusResponse::default() };
        let of = describe(&workflow("MoveTables", vec![stream]), Some(&status), &here(), None, now);
        of.next.into_iter().map(|step| format!("{} {}", step.why, step.command)).collect::<Vec<_>>().join("; ")
    };
    for traffic in [ALL, "Reads Not Switched. Writes Switched"] {
        let said = next("Error", traffic);
        assert!(said.contains("it must not be started: it would write old rows over new ones"), "{said}");
        assert!(said.ends_with("vtflow workflow switch ks w --dry-run") && !said.contains("caught up"), "{said}");
    }
    // Its writes are switched: vtctld does not ask how far behind it is.
    let of = |traffic: &str| {
        let mut stream = Stream { transaction_timestamp: at(100), ..copying(0, 999, vec![]) };
        stream.state = "Running".into();
        stream.copy_states.clear();
        stream.binlog_source = Some(BinlogSource { keyspace: "from".into(), shard: "0".into(), ..BinlogSource::default() });
        let workflow = Workflow { max_v_replication_transaction_lag: 900, ..workflow("MoveTables", vec![stream]) };
        let status = WorkflowStatusResponse { traffic_state: traffic.into(), ..WorkflowStatusResponse::default() };
        let next = describe(&workflow, Some(&status), &here(), None, NOW).next;
        next.into_iter().map(|step| step.why).collect::<Vec<_>>().join("; ")
    };
    assert!(of(ALL).contains("its writes are switched, and yet its streams run"), "{}", of(ALL));
    assert!(of(READS).contains("15m behind"), "{}", of(READS));
}

#[test]
fn a_workflow_that_contradicts_itself_is_not_said_to_go_different_ways() {
    let said = "workflow = w, type1 = MoveTables (None), type2 = Reshard (None): multiple types for a single workflow";
    let around = Surroundings { contradictions: vec![said.into()], ..here() };
    for stream in [("Stopped", "FROZEN", ""), ("Stopped", "", ""), ("Running", "", "")] {
        for traffic in [ALL, NOT, "Unknown: multiple types for a single workflow"] {
            let of = moving_with("w", &[stream], traffic, &around, "0");
            assert!(of.has_trouble && of.troubles.iter().any(|text| text == said), "{:?}", of.troubles);
            assert!(!of.troubles.iter().any(|text| text.starts_with("it ")), "{:?}", of.troubles);
            let [Step { why, command }] = of.next.as_slice() else { panic!("{:?}", of.next) };
            assert!(why.starts_with("its streams contradict each other") && command.is_empty(), "{why} {command}");
        }
    }
    // Nor is one that moves nothing, whatever others have done with the tables it reads.
    let around = Surroundings { splits: vec!["writes go different ways: those of t1 to x, those of t2 to y".into()], ..here() };
    let of = describe(&workflow("Materialize", vec![copying(0, 999, vec![])]), None, &around, None, NOW);
    assert!(of.troubles.iter().all(|text| !text.contains("different ways")), "{:?}", of.troubles);
}

#[test]
fn a_reverse_workflow_is_put_away_because_its_traffic_was_switched_back() {
    let frozen = ("Stopped", "FROZEN", "");
    for (other, can_freeze) in [(("Stopped", "stopped for cutover", ""), true), (("Copying", "", ""), false)] {
        let (commands, why) = advised("w_reverse", &[frozen, other], NOT);
        assert!(why.starts_with("its traffic was switched back, and "), "{why}");
        assert_eq!(commands.starts_with("vtflow vexec ks.w_reverse "), can_freeze, "{commands}");
        assert!(advised("w", &[frozen, other], ALL).1.starts_with("its traffic was switched, and "));
    }
}

#[test]
fn a_move_whose_writes_are_switched_is_never_started() {
    let stands = [
        ("Stopped", "", ""),
        ("Stopped", "stopped for cutover", ""),
        ("Stopped", "Stopped at DDL alter table t1 add c int", ""),
        ("Stopped", "Stopped at position MySQL56/a:1-9", "MySQL56/a:1-9"),
        ("Error", "no such table", ""),
    ];
    for stream in stands {
        for traffic in [ALL, "Reads Not Switched. Writes Switched"] {
            for streams in [vec![stream], vec![stream, ("Running", "", "")]] {
                let (commands, why) = advised("w", &streams, traffic);
                assert_eq!(commands, "vtflow workflow switch ks w --dry-run", "{streams:?}");
                assert!(why.contains("its writes are switched"), "{streams:?}: {why}");
            }
        }
        let (commands, why) = advised("w", &[stream], "Unknown: no SrvVSchema in zone2");
        assert!(commands.is_empty() && why.contains("is not known"), "{stream:?}: {commands} {why}");
    }
    // Only reads are: it goes on.
    assert_eq!(advised("w", &[("Stopped", "", "")], READS).0, "vtflow workflow start ks w");
    // The writes of another move's shard are.
    let other = "Reads partially switched, for shards: 80-. Writes partially switched, for shards: 80-";
    assert_eq!(advised("w", &[("Stopped", "", "")], other).0, "vtflow workflow start ks w");
    let own = "Reads partially switched, for shards: -80. Writes partially switched, for shards: -80";
    assert!(advised("w", &[("Stopped", "", "")], own).0.ends_with("vtflow workflow switch ks w --dry-run"));
}

#[test]
fn a_reverse_workflow_runs_only_while_writes_are_switched() {
    for stream in [("Stopped", "", ""), ("Error", "no such table", ""), ("Stopped", "Stopped at position x", "x")] {
        for traffic in [NOT, READS, "Unknown: no cells"] {
            let (commands, why) = advised("w_reverse", &[stream], traffic);
            assert_eq!(commands, "vtflow describe workflow from w", "{stream:?} {traffic}");
            assert!(why.contains("must not be started") || why.contains("the side that is live"), "{why}");
        }
    }
    assert_eq!(advised("w_reverse", &[("Stopped", "", "")], ALL).0, "vtflow workflow start ks w_reverse");
    assert!(advised("w_reverse", &[("Running", "", "")], NOT).1.contains("and yet it runs"));
    assert!(advised("w_reverse", &[("Running", "", "")], ALL).1.contains("keeps the former source current"));
}

#[test]
fn a_reverse_workflow_that_was_put_away_is_no_alarm() {
    let (commands, why) = advised("w_reverse", &[("Stopped", "FROZEN", "")], NOT);
    assert_eq!(commands, "vtflow describe workflow from w");
    assert!(why.contains("switched back"), "{why}");
    assert!(advised("w", &[("Stopped", "FROZEN", "")], NOT).1.contains("and yet its writes are not switched"));
}

#[test]
fn a_reverse_workflow_is_neither_completed_nor_reversed() {
    let states = [("Stopped", "FROZEN", ""), ("Stopped", "", ""), ("Running", "", ""), ("Stopped", "stopped for cutover", "")];
    for stream in states {
        for traffic in [NOT, READS, ALL, "Reads Not Switched. Writes Switched", ""] {
            let (commands, _) = advised("w_reverse", &[stream], traffic);
            let moved = ["workflow complete", "workflow reverse", "workflow switch"];
            assert!(!moved.iter().any(|verb| commands.contains(verb)), "{stream:?} {traffic}: {commands}");
        }
    }
    let (commands, why) = advised("w", &[("Stopped", "FROZEN", "")], ALL);
    assert!(
        commands.contains("vtflow workflow complete ks w --dry-run") && why.contains("drops the tables on the source"),
        "{commands} {why}"
    );
}

#[test]
fn only_streams_that_are_at_their_end_are_frozen() {
    let frozen = ("Stopped", "FROZEN", "");
    for other in [("Stopped", "stopped for cutover", ""), ("Running", "", "")] {
        let (commands, _) = advised("w", &[frozen, other], ALL);
        let plain = commands.replace("'\\''", "'");
        assert!(plain.starts_with("vtflow vexec ks.w ") && plain.contains("where message != 'FROZEN'"), "{commands}");
    }
    for other in [("Error", "bad", ""), ("Copying", "", ""), ("Stopped", "Stopped at DDL x", ""), ("Stopped", "for vdiff", "")] {
        assert!(advised("w", &[frozen, other], ALL).0.is_empty(), "{other:?}");
    }
}

#[test]
fn tables_that_go_different_ways_are_trouble_and_nothing_is_completed() {
    let said = "writes go different ways: those of t1 to ks, those of t2 to from";
    let around = Surroundings { splits: vec![said.into()], ..here() };
    for stream in [("Stopped", "FROZEN", ""), ("Stopped", "", ""), ("Running", "", "")] {
        for name in ["w", "w_reverse"] {
            let of = moving_with(name, &[stream], ALL, &around, "0");
            assert!(of.has_trouble && of.troubles.iter().any(|text| text == said), "{:?}", of.troubles);
            assert!(of.next.iter().all(|step| step.command.is_empty()), "{:?}", of.next);
        }
    }
}

#[test]
fn a_source_that_could_not_be_looked_at_is_not_described_again_and_again() {
    for (shards, keyspace, want) in [
        (SourceShards::Unknown, "from", "vtflow get shards from"),
        (SourceShards::Gone, "from", "vtflow workflow delete ks w --ignore-source"),
    ] {
        let of = moving_with("w", &[("Stopped", "", "")], NOT, &around(keyspace, shards), "0");
        assert_eq!(of.next[0].command, want);
    }
    // A shard without a name is none that is there.
    let of = moving_with("w", &[("Running", "", "")], NOT, &here(), "");
    assert!(of.troubles.contains(&"its source is gone: from, of which no shard is named".into()), "{:?}", of.troubles);
    assert!(!of.next.iter().any(|step| step.command.contains("workflow switch")), "{:?}", of.next);
}

#[test]
fn a_stream_that_reads_another_keyspace_is_looked_at_there() {
    let mut around = here();
    around.sources.insert("gone".into(), SourceShards::Gone);
    let stream = |id, keyspace: &str| {
        let source = BinlogSource { keyspace: keyspace.into(), shard: "0".into(), ..BinlogSource::default() };
        Stream { id, binlog_source: Some(source), copy_states: Vec::new(), ..copying(0, 999, vec![]) }
    };
    let two = workflow("MoveTables", vec![stream(1, "from"), stream(2, "gone")]);
    assert!(describe(&two, None, &around, None, NOW).troubles.contains(&"its source is gone: gone/0".into()));
}

#[test]
fn a_workflow_that_is_not_there_is_not_to_be_described() {
    let frozen = [("Stopped", "FROZEN", "")];
    let next = |has_forward| moving_with("w_reverse", &frozen, NOT, &Surroundings { has_forward, ..here() }, "0").next;
    assert_eq!(next(Some(true))[0].command, "vtflow describe workflow from w");
    assert_eq!(next(Some(false))[0].command, "vtflow get workflows from");
    assert!(next(Some(false))[0].why.ends_with("(there is none of that name)"));
}

#[test]
fn streams_that_do_not_go_with_their_traffic_are_trouble() {
    let (frozen, running) = (("Stopped", "FROZEN", ""), ("Running", "", ""));
    for (name, stream, traffic, want) in [
        ("w", frozen, NOT, "it is frozen, and yet its writes are not switched"),
        ("w", running, ALL, "it runs, and yet its writes are switched"),
        ("w_reverse", running, NOT, "it runs, and yet writes are not switched: it writes to the side that is live"),
        ("w_reverse", frozen, ALL, "it is frozen, and yet writes are switched: the former source is not kept current"),
        ("w", frozen, ALL, ""),
        ("w", running, READS, ""),
        ("w", frozen, "Unknown: no cells", ""),
        ("w_reverse", frozen, NOT, ""),
        ("w_reverse", running, ALL, ""),
    ] {
        let of = moving(name, &[stream], traffic);
        let said: Vec<_> = of.troubles.iter().filter(|text| text.starts_with("it ")).map(String::as_str).collect();
        assert_eq!(said.concat(), want, "{name} {stream:?} {traffic}");
    }
}

#[test]
fn a_running_stream_that_will_stop_says_where() {
    let of = moving("w", &[("Running", "", "MySQL56/6ca9b5b3-e710-11f1-ac9e-02fc00000001:1-86")], NOT);
    assert_eq!(of.streams[0].stops_at, "…00001:1-86");
    assert_eq!(moving("w", &[("Stopped", "", "MySQL56/a:1-86")], NOT).streams[0].stops_at, "");
}

#[test]
fn only_streams_with_a_stop_position_lose_it() {
    let at_position = ("Stopped", "Stopped at position x", "x");
    let (commands, _) = advised("w", &[at_position, ("Stopped", "", "")], NOT);
    assert!(commands.ends_with(" where stop_pos is not null'"), "{commands}");
    // What a switch has stopped, or has nothing to read, does not go on with it.
    let (commands, _) = advised("w", &[at_position, ("Stopped", "stopped for cutover", "")], NOT);
    assert!(commands.ends_with("vtflow workflow switch ks w --dry-run"), "{commands}");
    let (commands, _) = advised("w", &[at_position, ("Stopped", "There is nothing to replicate", "")], NOT);
    assert!(commands.is_empty(), "{commands}");
}

#[test]
fn what_moves_no_traffic_does_not_say_that_it_is_not_switched() {
    for (kind, want) in [
        ("MoveTables", Some("Reads Not Switched. Writes Not Switched")),
        ("Materialize", Some("moves none")),
        ("CreateLookupIndex", Some("moves none")),
        ("OnlineDDL", Some("moves none")),
    ] {
        let of = describe(&workflow(kind, vec![copying(0, 999, vec![])]), Some(&status(0, 0)), &here(), None, NOW);
        assert_eq!(of.traffic.as_deref(), want, "{kind}");
    }
}
