//! What is said of schema migrations: lines, shards that differ, what they wait for.

use super::*;
use vtflow_planner::proto::{
    vtctldata::workflow::{ShardStream, Stream, stream::ThrottlerStatus},
    vttime::Time,
};

const NOW: Timestamp = Timestamp { seconds: 10_000, nanos: 0 };
const WHOLE: Beside<'static> = Beside { failures: &[], workflows: None, shards: None, is_whole: true, is_newest_first: false };

#[allow(clippy::unnecessary_wraps, reason = "as the messages have it")]
fn at(seconds: i64) -> Option<Time> {
    Some(Time { seconds, nanoseconds: 0 })
}

fn row(uuid: &str, shard: &str, status: Status) -> SchemaMigration {
    SchemaMigration {
        uuid: uuid.into(),
        shard: shard.into(),
        table: "t".into(),
        ddl_action: "alter".into(),
        status: status.into(),
        requested_at: at(9_000),
        started_at: at(9_001),
        liveness_timestamp: at(9_990),
        progress: 40.9,
        eta_seconds: -1,
        ..SchemaMigration::default()
    }
}

fn lines(rows: Vec<SchemaMigration>) -> Vec<MigrationLine> {
    migrations(&GetSchemaMigrationsResponse { migrations: rows }, WHOLE, NOW)
}

fn silent(shard: &str) -> Failure {
    Failure {
        keyspace: "ks".into(),
        shard: shard.into(),
        tablet: "z-1".into(),
        workflow: String::new(),
        lost: Lost::Shard,
        message: "timed out".into(),
    }
}

#[test]
fn the_streams_of_what_is_under_way_are_beside_it() {
    let stream = |state: &str, updated| Stream {
        id: 1,
        shard: "-80".into(),
        state: state.into(),
        position: "p".into(),
        time_updated: at(updated),
        ..Stream::default()
    };
    let workflow = |name: &str, stream| Workflow {
        name: name.into(),
        shard_streams: BTreeMap::from([("-80/z-1".into(), ShardStream { streams: vec![stream], ..ShardStream::default() })]),
        ..Workflow::default()
    };
    let workflows = GetWorkflowsResponse {
        workflows: vec![
            workflow("ran", stream("Running", 9_998)),
            workflow("slow", stream("Running", 9_000)),
            workflow("over", stream("Stopped", 9_000)),
        ],
    };
    let rows = ["ran", "slow", "none"].map(|uuid| row(uuid, "-80", Status::Running)).to_vec();
    let rows = [rows, vec![row("over", "-80", Status::Complete)]].concat();
    let reply = GetSchemaMigrationsResponse { migrations: rows };
    let lines = migrations(&reply, Beside { workflows: Some((&workflows, &[])), ..WHOLE }, NOW);
    let of = |uuid: &str| lines.iter().find(|line| line.uuid == uuid).unwrap();
    assert_eq!(of("ran").streams.as_ref().unwrap().lag_seconds, Some(2));
    assert!(!of("ran").has_trouble);
    assert_eq!(of("slow").streams.as_ref().unwrap().streams, "1 Lagging");
    assert!(of("slow").has_trouble, "a migration whose stream is in trouble is");
    assert_eq!((&of("none").streams, &of("over").streams), (&None, &None), "left over until its artifacts go");
    assert_eq!((of("none").note.as_str(), of("none").has_trouble), ("its stream is gone", true));
    assert_eq!(of("ran").note, "streams: 1 Running, 2s behind");
    assert_eq!(of("slow").note, "its stream is silent for 16m; streams: 1 Lagging");
}

#[test]
fn shards_that_agree_are_one_line() {
    let [line] = lines(vec![row("a", "80-", Status::Complete), row("a", "-80", Status::Complete)]).try_into().unwrap();
    assert_eq!((line.complete, line.total, line.status.as_str()), (2, Some(2), "complete"));
    assert!(line.shards.is_empty() && !line.has_trouble);
    assert_eq!((line.progress, line.age_seconds), (None, Some(1_000)));
}

#[test]
fn shards_that_differ_are_listed_the_worst_first() {
    let mut failed = row("a", "c0-", Status::Failed);
    failed.message = "Duplicate entry".into();
    let [line] = lines(vec![row("a", "-80", Status::Complete), failed, row("a", "80-", Status::Running)]).try_into().unwrap();
    let shards: Vec<_> = line.shards.iter().map(|s| (s.shard.as_str(), s.status.as_str())).collect();
    assert_eq!(shards, [("c0-", "failed"), ("80-", "running"), ("-80", "complete")]);
    assert_eq!((line.complete, line.total, line.progress), (1, Some(3), Some(40)));
    assert_eq!(line.note, "c0-: Duplicate entry");
    assert!(line.has_trouble);
}

#[test]
fn a_silent_shard_is_unknown_and_not_complete() {
    let reply = GetSchemaMigrationsResponse { migrations: vec![row("a", "-80", Status::Complete)] };
    let [line] = migrations(&reply, Beside { failures: &[silent("80-")], ..WHOLE }, NOW).try_into().unwrap();
    assert_eq!((line.complete, line.total, line.status.as_str()), (1, Some(2), "unknown"));
    assert_eq!(line.shards[0].shard, "80-");
    assert!(line.has_trouble);
}

#[test]
fn what_is_said_beside_a_silent_shard_is_said_of_the_others() {
    let ready = |shard: &str| SchemaMigration {
        ready_to_complete: true,
        special_plan: "in place".into(),
        ..row("a", shard, Status::Running)
    };
    let done = SchemaMigration { completed_at: at(9_400), ..row("a", "-80", Status::Complete) };
    let of = |rows| {
        let reply = GetSchemaMigrationsResponse { migrations: rows };
        migrations(&reply, Beside { failures: &[silent("80-")], ..WHOLE }, NOW).remove(0).note
    };
    assert_eq!(of(vec![done]), "-80: completed 10m ago");
    assert_eq!(of(vec![ready("-40"), ready("40-80")]), "-40, 40-80: ready to cut over");
}

#[test]
fn of_what_is_not_known_that_which_is_wrong_comes_first() {
    let stuck = SchemaMigration { liveness_timestamp: at(100), requested_at: at(50), ..row("old", "-80", Status::Running) };
    let reply = GetSchemaMigrationsResponse { migrations: vec![row("new", "-80", Status::Running), stuck] };
    let lines = migrations(&reply, Beside { failures: &[silent("80-")], ..WHOLE }, NOW);
    let order: Vec<_> = lines.iter().map(|line| (line.uuid.as_str(), line.status.as_str())).collect();
    assert_eq!(order, [("old", "unknown"), ("new", "unknown")]);
}

/// What is said of a migration that runs, with this stream, by which its workflow is so many seconds behind.
fn with_stream(row: SchemaMigration, stream: Stream, largest: i64) -> String {
    let stream = Stream { id: 1, shard: "0".into(), state: "Running".into(), position: "p".into(), ..stream };
    let shard = ShardStream { streams: vec![stream], ..ShardStream::default() };
    let workflow = Workflow {
        name: row.uuid.clone(),
        workflow_type: "OnlineDDL".into(),
        max_v_replication_transaction_lag: largest,
        shard_streams: BTreeMap::from([("0/z-1".into(), shard)]),
        ..Workflow::default()
    };
    let workflows = GetWorkflowsResponse { workflows: vec![workflow] };
    let reply = GetSchemaMigrationsResponse { migrations: vec![row] };
    migrations(&reply, Beside { workflows: Some((&workflows, &[])), ..WHOLE }, NOW).remove(0).note
}

#[test]
fn a_migration_is_as_far_behind_as_its_stream_has_applied() {
    let ready = || SchemaMigration { ready_to_complete: true, ..row("a", "0", Status::Running) };
    let stream = |transaction| Stream { time_updated: at(9_999), transaction_timestamp: at(transaction), ..Stream::default() };
    assert_eq!(
        with_stream(ready(), stream(2_800), 7_200),
        "streams: 1 Running, 2h behind; cuts over once its stream has caught up"
    );
    assert_eq!(with_stream(ready(), stream(2_800), 1), "streams: 1 Running, 1s behind; ready to cut over", "it is idle");
}

#[test]
fn a_stream_that_is_kept_back_keeps_its_migration_back() {
    let status = |time| ThrottlerStatus { component_throttled: "vplayer".into(), time_throttled: at(time) };
    let stream = |time| Stream { time_updated: at(9_999), throttler_status: Some(status(time)), ..Stream::default() };
    let ready = || SchemaMigration { ready_to_complete: true, ..row("a", "0", Status::Running) };
    assert_eq!(with_stream(ready(), stream(9_990), 1), "streams: 1 Running, 1s behind; its stream is throttled by vplayer");
    assert_eq!(with_stream(ready(), stream(9_000_000), 1), "streams: 1 Running, 1s behind; ready to cut over");
}

#[test]
fn without_a_time_there_is_no_sign_of_life() {
    let of = |liveness, started| {
        let running = SchemaMigration { eta_seconds: 600, ..row("a", "0", Status::Running) };
        let line = lines(vec![SchemaMigration {
            special_plan: "in place".into(),
            liveness_timestamp: at(liveness),
            started_at: at(started),
            ..running
        }]);
        (line[0].note.clone(), line[0].has_trouble)
    };
    assert_eq!(of(0, 0), ("no sign of life known, nor when it started".into(), true));
    let ahead = "its last sign of life is of a time to come: whether it works is not known";
    assert_eq!(of(1_000_000, 9_000), (ahead.into(), true));
    assert_eq!(of(9_999, 0), ("about 10m left".into(), false));
}

#[test]
fn a_filter_may_have_left_shards_out() {
    let reply = GetSchemaMigrationsResponse { migrations: vec![row("a", "-80", Status::Complete)] };
    let shown = |shards: Option<&[String]>| migrations(&reply, Beside { shards, ..Beside::default() }, NOW).remove(0);
    let four = ["-40", "40-80", "80-c0", "c0-"].map(String::from);
    assert_eq!((shown(None).total, shown(None).counted.as_str()), (None, "1 shard matches"));
    assert_eq!((shown(Some(&four)).total, shown(Some(&four)).counted.as_str()), (None, "1 of 4 shards match"));
    assert_eq!(shown(Some(&four[..1])).counted, "1/1 complete", "there are no others");
}

#[test]
fn trouble_then_what_is_under_way_then_the_newest() {
    let mut old = row("old", "0", Status::Complete);
    old.requested_at = at(1);
    let rows = [
        old,
        row("new", "0", Status::Complete),
        row("q", "0", Status::Queued),
        row("r", "0", Status::Running),
        row("f", "0", Status::Failed),
    ];
    let order: Vec<_> = lines(rows.into()).into_iter().map(|line| line.uuid).collect();
    assert_eq!(order, ["f", "r", "q", "new", "old"]);
}

#[test]
fn a_line_says_what_it_waits_for() {
    let base = |status| SchemaMigration { special_plan: "in place".into(), ..row("a", "0", status) };
    let running = || SchemaMigration { eta_seconds: 600, ..base(Status::Running) };
    let ready = || SchemaMigration { ready_to_complete: true, ..base(Status::Running) };
    let throttled = |row| SchemaMigration { last_throttled_at: at(9_990), component_throttled: "vcopier".into(), ..row };
    let old = |row| SchemaMigration { liveness_timestamp: at(4_400), ..row };
    let cancelled = |row| SchemaMigration { cancelled_at: at(9_700), ..row };
    let second = |row| SchemaMigration { in_order_completion_pending_count: 2, ..row };
    let done = SchemaMigration { completed_at: at(9_400), message: "retried".into(), ..base(Status::Complete) };
    for (row, want, is_trouble) in [
        (ready(), "ready to cut over", false),
        (running(), "about 10m left", false),
        (SchemaMigration { postpone_completion: true, ..ready() }, "ready, completion postponed", false),
        (SchemaMigration { postpone_completion: true, ..running() }, "about 10m of copying left; completion postponed", false),
        (throttled(running()), "throttled by vcopier", false),
        (throttled(ready()), "throttled by vcopier", false),
        (second(ready()), "waits for 2 before it", false),
        (second(base(Status::Ready)), "waits for 2 before it", false),
        (old(ready()), "no sign of life for 93m", true),
        (old(running()), "no sign of life for 93m", true),
        (
            SchemaMigration { liveness_timestamp: at(0), started_at: at(4_400), ..ready() },
            "no sign of life since it started, 93m ago",
            true,
        ),
        (cancelled(ready()), "cancelled 5m ago, not ended yet", false),
        (cancelled(running()), "cancelled 5m ago, not ended yet", false),
        (cancelled(base(Status::Cancelled)), "cancelled 5m ago", false),
        (SchemaMigration { postpone_launch: true, ..base(Status::Queued) }, "launch postponed", false),
        (SchemaMigration { eta_seconds: i64::MAX, ..base(Status::Running) }, "", false),
        (done, "completed 10m ago", false),
    ] {
        let line = lines(vec![row]).remove(0);
        assert_eq!((line.note.as_str(), line.has_trouble), (want, is_trouble));
    }
    let unread = SchemaMigration { special_plan: String::new(), ..ready() };
    assert_eq!(lines(vec![unread])[0].note, "ready to cut over (its stream was not read)");
}

#[test]
fn those_before_it_are_named_if_they_are_known() {
    let waits = |uuid: &str, context: &str, count| SchemaMigration {
        in_order_completion_pending_count: count,
        migration_context: context.into(),
        ..row(uuid, "0", Status::Ready)
    };
    let of = |rows: Vec<SchemaMigration>, is_newest_first| {
        let reply = GetSchemaMigrationsResponse { migrations: rows };
        let lines = migrations(&reply, Beside { is_newest_first, ..WHOLE }, NOW);
        lines.into_iter().find(|line| line.uuid == "c").unwrap().note
    };
    let rows = vec![waits("a", "x", 0), waits("b", "y", 0), waits("c", "x", 1)];
    assert_eq!(of(rows.clone(), false), "waits for 1 before it (a)", "of the same context");
    let rows: Vec<_> = rows.into_iter().rev().collect();
    assert_eq!(of(rows, true), "waits for 1 before it (a)");
    let all = vec![waits("a", "x", 0), waits("b", "y", 0), waits("c", "x", 2)];
    assert_eq!(of(all, false), "waits for 2 before it (a, b)");
    assert_eq!(of(vec![waits("c", "x", 1)], false), "waits for 1 before it", "it is not in the reply");
}

#[test]
fn a_shard_that_failed_later_is_counted_once() {
    let reply = GetSchemaMigrationsResponse { migrations: vec![row("a", "-80", Status::Complete)] };
    let [line] = migrations(&reply, Beside { failures: &[silent("-80")], ..WHOLE }, NOW).try_into().unwrap();
    assert_eq!((line.counted.as_str(), line.status.as_str()), ("1/1 complete", "complete"));
}

#[test]
fn shards_that_contradict_each_other_are_trouble() {
    let both = |a, b| lines(vec![row("a", "-80", a), row("a", "80-", b)]).remove(0);
    let line = both(Status::Complete, Status::Cancelled);
    assert_eq!((line.note.as_str(), line.has_trouble), ("cancelled on 1 of 2 shards", true));
    assert!(!both(Status::Complete, Status::Running).has_trouble, "one is done earlier");
    let two = ["-80", "80-"].map(String::from);
    let reply = |status| GetSchemaMigrationsResponse { migrations: vec![row("a", "-80", status)] };
    let shown = |status| migrations(&reply(status), Beside { shards: Some(&two), ..WHOLE }, NOW).remove(0);
    assert_eq!((shown(Status::Queued).note.as_str(), shown(Status::Queued).has_trouble), ("not on 80-", true));
    assert!(!shown(Status::Complete).has_trouble, "as after a reshard");
}
