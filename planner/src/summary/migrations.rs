//! A `GetSchemaMigrations` reply as people read it: one line per migration, its shards folded; trouble first, then what is under way.
//!
//! The reply has one row per shard. Shards that gave no answer are counted as unknown, so that a migration never looks complete
//! because somebody was silent; and when a filter may have left shards out, the number of all shards is not claimed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    health::{THROTTLED_SECONDS, Whole},
    words::{duration, plural},
    workflows::{self, WorkflowLine},
};
use crate::{
    error::{Failure, Lost},
    flow::Timestamp,
    proto::{
        vtctldata::{GetSchemaMigrationsResponse, GetWorkflowsResponse, SchemaMigration, schema_migration::Status},
        vttime::Time,
    },
};

/// One migration on all its shards.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MigrationLine {
    /// Its UUID.
    pub uuid: String,
    /// The table, or view.
    pub table: String,
    /// What is done to it: `alter`, `create`, `drop`.
    pub action: String,
    /// The worst of its shards' states, as [`ShardState::status`].
    pub status: String,
    /// Percent done of the shard that is furthest behind, 0 to 100; `None` when no shard copies rows.
    pub progress: Option<u8>,
    /// How many shards have completed it.
    pub complete: usize,
    /// How many shards have it or gave no answer; `None` when the request left out some.
    pub total: Option<usize>,
    /// Seconds since it was requested; `None` when no shard says.
    pub age_seconds: Option<i64>,
    /// What there is to say, the worst first. Empty when there is nothing.
    pub note: String,
    /// Its streams, while it is under way or where it failed: the workflow of its name. `None` when it has none, or they are not
    /// known. Only vitess migrations that alter a table have streams.
    pub streams: Option<WorkflowLine>,
    /// Each shard's own state when they differ, the worst first; empty when they are all alike.
    pub shards: Vec<ShardState>,
    /// Whether it failed somewhere, or is not known somewhere.
    pub has_trouble: bool,
}

/// One migration on one shard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardState {
    /// The shard.
    pub shard: String,
    /// In lower case, as in the tablet's row: `running`; `unknown` when the shard gave no answer.
    pub status: String,
    /// As [`MigrationLine::progress`].
    pub progress: Option<u8>,
    /// What there is to say of this shard. Empty when there is nothing.
    pub note: String,
}

/// One line per migration: failed and unknown ones first, then those under way, then the rest; the newest first within each.
///
/// `workflows`: those of the same keyspace, `None` if they are not known; a migration's streams are a workflow of its name
/// (`go/vt/vttablet/onlineddl/executor.go`, `vrepl.go`). `failures`: those of the same reply. `is_whole`: the request named no status and no limit, so every shard that has a migration is in
/// the reply unless a failure says otherwise.
pub fn migrations(
    reply: &GetSchemaMigrationsResponse,
    workflows: Option<&GetWorkflowsResponse>,
    failures: &[Failure],
    is_whole: bool,
    now: Timestamp,
) -> Vec<MigrationLine> {
    let silent: BTreeSet<&str> = failures.iter().filter(|f| f.lost == Lost::Shard).map(|f| f.shard.as_str()).collect();
    let mut by_uuid: BTreeMap<&str, Vec<&SchemaMigration>> = BTreeMap::new();
    for migration in &reply.migrations {
        by_uuid.entry(&migration.uuid).or_default().push(migration);
    }
    let mut lines: Vec<_> = by_uuid.values().map(|rows| line(rows, &silent, is_whole, now)).collect();
    for (_, line) in &mut lines {
        let workflow = workflows.and_then(|all| all.workflows.iter().find(|workflow| workflow.name == line.uuid));
        // Of one that has ended the streams are left over until its artifacts go.
        line.streams =
            workflow.filter(|_| is_under_way(line)).map(|workflow| workflows::line(workflow, &Whole::new(workflow, true, now)));
        line.has_trouble |= line.status == "running" && line.streams.as_ref().is_some_and(|streams| streams.has_trouble);
    }
    lines.sort_by(|(rank_a, a), (rank_b, b)| {
        let newest = a.age_seconds.unwrap_or(i64::MAX).cmp(&b.age_seconds.unwrap_or(i64::MAX));
        rank_a.cmp(rank_b).then(newest).then_with(|| a.uuid.cmp(&b.uuid))
    });
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Whether what its streams do matters still.
fn is_under_way(line: &MigrationLine) -> bool {
    !matches!(line.status.as_str(), "complete" | "cancelled")
}

/// The worst first. What is under way comes before what is done.
fn rank(status: Status) -> u8 {
    match status {
        Status::Failed => 0,
        Status::Unknown => 1,
        Status::Running => 2,
        Status::Ready => 3,
        Status::Queued => 4,
        Status::Requested => 5,
        Status::Cancelled => 6,
        Status::Complete => 7,
    }
}

fn word(status: Status) -> String {
    status.as_str_name().to_lowercase()
}

fn line(rows: &[&SchemaMigration], silent: &BTreeSet<&str>, is_whole: bool, now: Timestamp) -> (u8, MigrationLine) {
    let mut rows: Vec<&SchemaMigration> = rows.to_vec();
    rows.sort_by_key(|row| (rank(row.status()), row.shard.clone()));
    let statuses: BTreeSet<u8> = rows.iter().map(|row| rank(row.status())).collect();
    let worst = rows.first().map_or(Status::Unknown, |row| row.status());
    let differ = statuses.len() > 1 || !silent.is_empty();
    // A shard that gave no answer is worse than one that works, and not as bad as one that failed.
    let worst_known = if silent.is_empty() || worst == Status::Failed { worst } else { Status::Unknown };
    let mut shards: Vec<ShardState> = Vec::new();
    if differ {
        shards.extend(rows.iter().map(|row| shard_state(row, now)));
        let failed = shards.iter().take_while(|state| state.status == "failed").count();
        let unknown = silent.iter().map(|shard| ShardState {
            shard: (*shard).to_owned(),
            status: word(Status::Unknown),
            progress: None,
            note: String::new(),
        });
        shards.splice(failed..failed, unknown);
    }
    let text = |field: fn(&SchemaMigration) -> &String| {
        rows.iter().map(|row| field(row)).find(|text| !text.is_empty()).cloned().unwrap_or_default()
    };
    let requested = rows.iter().filter_map(|row| seconds(row.requested_at).or_else(|| seconds(row.added_at))).min();
    let line = MigrationLine {
        uuid: text(|row| &row.uuid),
        table: text(|row| &row.table),
        action: text(|row| &row.ddl_action),
        status: word(worst_known),
        progress: rows.iter().filter_map(|row| progress(row)).min(),
        complete: rows.iter().filter(|row| row.status() == Status::Complete).count(),
        total: is_whole.then_some(rows.len() + silent.len()),
        age_seconds: requested.map(|then| now.seconds.saturating_sub(then).max(0)),
        note: note(&rows, now),
        streams: None,
        shards,
        has_trouble: matches!(worst_known, Status::Failed | Status::Unknown),
    };
    (rank(worst_known), line)
}

fn shard_state(row: &SchemaMigration, now: Timestamp) -> ShardState {
    let note = if row.status() == Status::Complete { String::new() } else { row_note(row, now) };
    ShardState { shard: row.shard.clone(), status: word(row.status()), progress: progress(row), note }
}

/// Rows are copied while a migration runs; before and after that the number says nothing that the status does not.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
fn progress(row: &SchemaMigration) -> Option<u8> {
    let shows =
        matches!(row.status(), Status::Running | Status::Failed) && !row.is_immediate_operation && row.progress.is_finite();
    shows.then(|| row.progress.clamp(0.0, 100.0).floor() as u8)
}

/// What the worst rows say, and on which shard, unless all say the same.
fn note(rows: &[&SchemaMigration], now: Timestamp) -> String {
    let Some(worst) = rows.first() else { return String::new() };
    let alike: Vec<&&SchemaMigration> = rows.iter().filter(|row| row.status() == worst.status()).collect();
    let said: Vec<(String, &str)> =
        alike.iter().map(|row| (row_note(row, now), row.shard.as_str())).filter(|(note, _)| !note.is_empty()).collect();
    let Some((first, shard)) = said.first() else { return String::new() };
    let are_all_the_same = said.len() == rows.len() && said.iter().all(|(note, _)| note == first);
    if are_all_the_same || rows.len() == 1 { first.clone() } else { format!("{shard}: {first}") }
}

/// What one shard's row says besides its status.
fn row_note(row: &SchemaMigration, now: Timestamp) -> String {
    let mut parts: Vec<String> = Vec::new();
    let throttled = seconds(row.last_throttled_at).is_some_and(|time| time > now.seconds.saturating_sub(THROTTLED_SECONDS));
    let ago = |time: Option<Time>| seconds(time).map(|time| duration(now.seconds.saturating_sub(time).max(0)));
    match row.status() {
        Status::Running if row.ready_to_complete && row.postpone_completion => {
            parts.push("ready, completion postponed".into());
        }
        Status::Running if row.ready_to_complete => parts.push("ready to cut over".into()),
        Status::Running if row.eta_seconds > 0 => parts.push(format!("about {} left", duration(row.eta_seconds))),
        Status::Queued | Status::Ready | Status::Requested if row.postpone_launch => parts.push("launch postponed".into()),
        Status::Queued | Status::Ready if row.in_order_completion_pending_count > 0 => {
            let before = usize::try_from(row.in_order_completion_pending_count).unwrap_or(usize::MAX);
            parts.push(format!("waits for {} before it", plural(before, "migration")));
        }
        Status::Complete => parts.extend(ago(row.completed_at).map(|ago| format!("completed {ago} ago"))),
        _ => {}
    }
    if throttled && row.status() == Status::Running {
        parts.push(format!("throttled by {}", row.component_throttled));
    }
    if row.status() == Status::Running && row.cutover_attempts > 1 {
        parts.push(format!("{} cut-over attempts", row.cutover_attempts));
    }
    // The message of a completed migration is that of an attempt that no longer matters.
    if !row.message.is_empty() && row.status() != Status::Complete {
        parts.push(row.message.clone());
    }
    parts.join("; ")
}

fn seconds(time: Option<Time>) -> Option<i64> {
    time.map(|time| time.seconds).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::vtctldata::{
        Workflow,
        workflow::{ShardStream, Stream},
    };

    const NOW: Timestamp = Timestamp { seconds: 10_000, nanos: 0 };

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
            progress: 40.9,
            eta_seconds: -1,
            ..SchemaMigration::default()
        }
    }

    fn lines(rows: Vec<SchemaMigration>) -> Vec<MigrationLine> {
        migrations(&GetSchemaMigrationsResponse { migrations: rows }, None, &[], true, NOW)
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
        let lines = migrations(&reply, Some(&workflows), &[], true, NOW);
        let of = |uuid: &str| lines.iter().find(|line| line.uuid == uuid).unwrap();
        assert_eq!(of("ran").streams.as_ref().unwrap().lag_seconds, Some(2));
        assert!(!of("ran").has_trouble);
        assert_eq!(of("slow").streams.as_ref().unwrap().streams, "1 Lagging");
        assert!(of("slow").has_trouble, "a migration whose stream is in trouble is");
        assert_eq!((&of("none").streams, &of("over").streams), (&None, &None), "left over until its artifacts go");
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
        let [line] = migrations(&reply, None, &[silent("80-")], true, NOW).try_into().unwrap();
        assert_eq!((line.complete, line.total, line.status.as_str()), (1, Some(2), "unknown"));
        assert_eq!(line.shards[0].shard, "80-");
        assert!(line.has_trouble);
    }

    #[test]
    fn a_filter_may_have_left_shards_out() {
        let reply = GetSchemaMigrationsResponse { migrations: vec![row("a", "-80", Status::Complete)] };
        assert_eq!(migrations(&reply, None, &[], false, NOW)[0].total, None);
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
        let base = |status| row("a", "0", status);
        let ready = SchemaMigration { ready_to_complete: true, postpone_completion: true, ..base(Status::Running) };
        let throttled = SchemaMigration {
            last_throttled_at: at(9_990),
            component_throttled: "vcopier".into(),
            eta_seconds: 600,
            ..base(Status::Running)
        };
        let waiting = SchemaMigration { in_order_completion_pending_count: 2, ..base(Status::Ready) };
        let done = SchemaMigration { completed_at: at(9_400), message: "retried".into(), ..base(Status::Complete) };
        for (row, want) in [
            (ready, "ready, completion postponed"),
            (throttled, "about 10m left; throttled by vcopier"),
            (waiting, "waits for 2 migrations before it"),
            (SchemaMigration { postpone_launch: true, ..base(Status::Queued) }, "launch postponed"),
            (done, "completed 10m ago"),
        ] {
            assert_eq!(lines(vec![row])[0].note, want);
        }
    }
}
