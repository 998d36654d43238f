//! A `GetSchemaMigrations` reply as people read it: one line per migration, its shards folded; trouble first, then what is under way.
//!
//! The reply has one row per shard. Shards that gave no answer are counted as unknown, so that a migration never looks complete
//! because somebody was silent; and when a filter may have left shards out, the number of all shards is not claimed. What one row says is
//! [`super::migration_row`]'s.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;

use super::{
    health::{self, Whole, age},
    migration_row::{self, ItsStream, Said},
    words::{duration, plural, some},
    workflows::{self, WorkflowLine},
};
use vtflow_planner::{
    contract::{Failure, Lost, Timestamp},
    proto::vtctldata::{GetSchemaMigrationsResponse, GetWorkflowsResponse, SchemaMigration, Workflow, schema_migration::Status},
};

/// What is known beside the reply. What is not known leaves things unsaid, or says that they are not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// The failures of the same request.
    pub failures: &'a [Failure],
    /// The keyspace's workflows and what is missing of them; `None` if nobody asked. A migration's streams are a workflow of its name
    /// (`go/vt/vttablet/onlineddl/executor.go`, `vrepl.go`).
    pub workflows: Option<(&'a GetWorkflowsResponse, &'a [Failure])>,
    /// The keyspace's shards; `None` if they are not known.
    pub shards: Option<&'a [String]>,
    /// Whether the request named no state, no time and no limit, so that every shard that has a migration is in the reply unless a failure says otherwise.
    pub is_whole: bool,
    /// Whether each shard's rows are in the reverse order of their submission.
    pub is_newest_first: bool,
}

/// Names of shards in a note.
const NAMES_SHOWN: usize = 3;

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
    /// How many shards have it or gave no answer; `None` when the request may have left out some.
    pub total: Option<usize>,
    /// Its shards in words: `2/4 complete`, or `2 of 4 shards match` of a request that may have left out some.
    pub counted: String,
    /// Seconds since it was requested; `None` when no shard says.
    pub age_seconds: Option<i64>,
    /// What there is to say, the worst first. Empty when there is nothing.
    pub note: String,
    /// Its streams, while it is under way or where it failed: the workflow of its name. `None` when it has none, or they are not
    /// known. Only vitess migrations that alter a table have streams.
    pub streams: Option<WorkflowLine>,
    /// Each shard's own state when they, or their troubles, differ, the worst first; empty when they are all alike.
    pub shards: Vec<ShardState>,
    /// Whether it failed somewhere, is not known somewhere, or will not end by itself.
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
    /// Whether this shard has trouble with it.
    pub has_trouble: bool,
}

/// One line per migration: those in trouble first (failed, unknown, stuck), then those under way, then the rest; the newest first within each.
pub fn migrations(reply: &GetSchemaMigrationsResponse, beside: Beside<'_>, now: Timestamp) -> Vec<MigrationLine> {
    let mut by_uuid: BTreeMap<&str, Vec<&SchemaMigration>> = BTreeMap::new();
    for migration in &reply.migrations {
        by_uuid.entry(&migration.uuid).or_default().push(migration);
    }
    let workflows: BTreeMap<&str, &Workflow> = beside
        .workflows
        .iter()
        .flat_map(|(reply, _)| &reply.workflows)
        .map(|workflow| (workflow.name.as_str(), workflow))
        .collect();
    let pending = Pending::of(reply, beside.is_newest_first);
    let mut lines: Vec<_> =
        by_uuid.iter().map(|(uuid, rows)| line(rows, workflows.get(uuid).copied(), &pending, &beside, now)).collect();
    lines.sort_by(|(rank_a, a), (rank_b, b)| {
        let trouble = b.has_trouble.cmp(&a.has_trouble);
        let newest = a.age_seconds.unwrap_or(i64::MAX).cmp(&b.age_seconds.unwrap_or(i64::MAX));
        trouble.then(rank_a.cmp(rank_b)).then(newest).then_with(|| a.uuid.cmp(&b.uuid))
    });
    lines.into_iter().map(|(_, line)| line).collect()
}

/// By shard, the migrations that have not ended, in the order of their submission.
struct Pending<'a>(BTreeMap<&'a str, Vec<&'a SchemaMigration>>);

impl<'a> Pending<'a> {
    fn of(reply: &'a GetSchemaMigrationsResponse, is_newest_first: bool) -> Self {
        let mut by_shard: BTreeMap<&str, Vec<&SchemaMigration>> = BTreeMap::new();
        for row in &reply.migrations {
            if matches!(row.status(), Status::Queued | Status::Ready | Status::Running) {
                by_shard.entry(&row.shard).or_default().push(row);
            }
        }
        if is_newest_first {
            for rows in by_shard.values_mut() {
                rows.reverse();
            }
        }
        Self(by_shard)
    }

    /// Those that a migration waits for to complete in order, if exactly as many are in the reply as its row counts. Releases count those of
    /// the same migration context, or all. Source: `executor.go:getInOrderCompletionPendingCount`.
    fn before(&self, row: &SchemaMigration) -> Vec<&'a str> {
        let count = usize::try_from(row.in_order_completion_pending_count).unwrap_or(usize::MAX);
        // Nearly always: there may be thousands of rows, of which none waits.
        if count == 0 {
            return Vec::new();
        }
        let rows = self.0.get(row.shard.as_str()).map_or(&[][..], Vec::as_slice);
        let all = || rows.iter().take_while(|other| other.uuid != row.uuid);
        let same: Vec<&str> =
            all().filter(|other| other.migration_context == row.migration_context).map(|other| other.uuid.as_str()).collect();
        let all: Vec<&str> = all().map(|other| other.uuid.as_str()).collect();
        [same, all].into_iter().find(|names| names.len() == count).unwrap_or_default()
    }
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

/// A migration's row on one shard, and what it says.
struct ShardRow<'a> {
    row: &'a SchemaMigration,
    said: Said,
}

impl ShardRow<'_> {
    fn state(&self) -> ShardState {
        let note = if self.row.status() == Status::Complete { String::new() } else { self.said.text.clone() };
        ShardState {
            shard: self.row.shard.clone(),
            status: word(self.row.status()),
            progress: progress(self.row),
            note,
            has_trouble: self.said.is_trouble,
        }
    }
}

fn line(
    rows: &[&SchemaMigration],
    workflow: Option<&Workflow>,
    pending: &Pending<'_>,
    beside: &Beside<'_>,
    now: Timestamp,
) -> ((u8, bool), MigrationLine) {
    let mut rows: Vec<ShardRow<'_>> = rows
        .iter()
        .map(|row| {
            let stream = its_stream(row, workflow, beside, now);
            ShardRow { row, said: migration_row::said(row, stream, &pending.before(row), now) }
        })
        .collect();
    // The one that takes longest speaks for those that work.
    rows.sort_by_key(|it| (rank(it.row.status()), !it.said.is_trouble, Reverse(it.row.eta_seconds), it.row.shard.clone()));
    // A shard that failed after it had sent this row is known.
    let known: BTreeSet<&str> = rows.iter().map(|it| it.row.shard.as_str()).collect();
    let lost = beside.failures.iter().filter(|failure| failure.lost == Lost::Shard).map(|failure| failure.shard.as_str());
    let silent: BTreeSet<&str> = lost.filter(|shard| !known.contains(shard)).collect();
    let worst = rows.first().map_or(Status::Unknown, |it| it.row.status());
    // A shard that gave no answer is worse than one that works, and not as bad as one that failed.
    let worst_known = if silent.is_empty() || worst == Status::Failed { worst } else { Status::Unknown };
    let ends = disagreement(&rows);
    let said: Vec<&str> = rows.iter().map(|it| it.said.text.as_str()).collect();
    let statuses: BTreeSet<u8> = rows.iter().map(|it| rank(it.row.status())).collect();
    let is_stuck = rows.iter().any(|it| it.said.is_trouble);
    let differ = statuses.len() > 1 || !silent.is_empty() || (is_stuck && said.windows(2).any(|two| two.first() != two.last()));
    let mut shards: Vec<ShardState> = Vec::new();
    if differ {
        shards.extend(rows.iter().map(ShardRow::state));
        let failed = shards.iter().take_while(|state| state.status == "failed").count();
        let unknown = silent.iter().map(|shard| ShardState {
            shard: (*shard).to_owned(),
            status: word(Status::Unknown),
            progress: None,
            note: String::new(),
            has_trouble: true,
        });
        shards.splice(failed..failed, unknown);
    }
    let text = |field: fn(&SchemaMigration) -> &String| {
        rows.iter().map(|it| field(it.row)).find(|text| !text.is_empty()).cloned().unwrap_or_default()
    };
    let requested = rows.iter().filter_map(|it| age(it.row.requested_at, now).or_else(|| age(it.row.added_at, now))).max();
    let complete = rows.iter().filter(|it| it.row.status() == Status::Complete).count();
    let have = rows.len() + silent.len();
    let is_all = beside.is_whole || beside.shards.is_some_and(|shards| shards.len() <= have);
    // Of one that has ended the streams are left over until its artifacts go.
    let is_open = rows.iter().any(|it| !matches!(it.row.status(), Status::Complete | Status::Cancelled));
    let streams = workflow.filter(|_| is_open).map(|workflow| workflows::line(workflow, &Whole::new(workflow, false, now)));
    let absent = absent(beside, &known, &silent).filter(|_| is_open);
    let has_trouble = matches!(worst_known, Status::Failed | Status::Unknown) || is_stuck || ends.is_some() || absent.is_some();
    let line = MigrationLine {
        uuid: text(|row| &row.uuid),
        table: text(|row| &row.table),
        action: text(|row| &row.ddl_action),
        status: word(worst_known),
        progress: rows.iter().filter_map(|it| progress(it.row)).min(),
        complete,
        total: is_all.then_some(have),
        counted: match (is_all, beside.shards) {
            (true, _) => format!("{complete}/{have} complete"),
            (false, Some(shards)) => format!("{} of {} match", rows.len(), plural(shards.len(), "shard")),
            (false, None) => format!("{} {}", plural(rows.len(), "shard"), if rows.len() == 1 { "matches" } else { "match" }),
        },
        age_seconds: requested,
        note: [ends, absent, note(&rows, &silent, streams.as_ref())].into_iter().flatten().collect::<Vec<_>>().join("; "),
        streams,
        shards,
        has_trouble,
    };
    // Of those that are not known, what is known to be wrong comes first.
    ((rank(worst_known), !is_stuck), line)
}

/// What is known of the stream of one row.
fn its_stream<'a>(row: &SchemaMigration, workflow: Option<&'a Workflow>, beside: &Beside<'_>, now: Timestamp) -> ItsStream<'a> {
    let Some((_, failures)) = beside.workflows else { return ItsStream::NotRead };
    let streams = workflow.into_iter().flat_map(|workflow| workflow.shard_streams.values()).flat_map(|shard| &shard.streams);
    // One that the shard does not say is not known, whatever stands for it.
    match streams.filter(|stream| stream.id != 0).find(|stream| stream.shard == row.shard) {
        Some(stream) => ItsStream::Is(stream, workflow.and_then(|workflow| health::lag(workflow, stream, now))),
        // A failure that names no shard is of all of them.
        None if failures.iter().any(|failure| failure.shard.is_empty() || failure.shard == row.shard) => ItsStream::NotRead,
        None => ItsStream::None,
    }
}

/// Ends that contradict each other, which no shard will mend: cancelled here, and not there.
fn disagreement(rows: &[ShardRow<'_>]) -> Option<String> {
    let cancelled = rows.iter().filter(|it| it.row.status() == Status::Cancelled).count();
    (cancelled > 0 && cancelled < rows.len()).then(|| format!("cancelled on {cancelled} of {}", plural(rows.len(), "shard")))
}

/// Shards of the keyspace that have no such migration, though the request left none out.
fn absent(beside: &Beside<'_>, known: &BTreeSet<&str>, silent: &BTreeSet<&str>) -> Option<String> {
    let shards = beside.shards.filter(|_| beside.is_whole)?;
    let lost: BTreeSet<&str> = beside.failures.iter().map(|failure| failure.shard.as_str()).collect();
    let absent: Vec<&str> = shards
        .iter()
        .map(String::as_str)
        .filter(|shard| !known.contains(shard) && !silent.contains(shard) && !lost.contains(shard))
        .collect();
    (!absent.is_empty()).then(|| format!("not on {}", some(&absent, 3)))
}

/// Rows are copied while a migration runs; before and after that the number says nothing that the status does not.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
fn progress(row: &SchemaMigration) -> Option<u8> {
    let shows =
        matches!(row.status(), Status::Running | Status::Failed) && !row.is_immediate_operation && row.progress.is_finite();
    shows.then(|| row.progress.clamp(0.0, 100.0).floor() as u8)
}

/// What the worst rows say, and on which shard, unless all say the same; and what the streams do: first while all is well, else last. Shards
/// that are silent may say anything else: what the others say is theirs.
fn note(rows: &[ShardRow<'_>], silent: &BTreeSet<&str>, streams: Option<&WorkflowLine>) -> Option<String> {
    let worst = rows.first()?;
    let alike = rows.iter().filter(|it| it.row.status() == worst.row.status());
    let said: Vec<(&str, &str)> =
        alike.map(|it| (it.said.text.as_str(), it.row.shard.as_str())).filter(|(text, _)| !text.is_empty()).collect();
    let own = said.first().map(|(first, shard)| {
        let are_all_the_same = said.len() == rows.len() && said.iter().all(|(text, _)| text == first);
        match (are_all_the_same, silent.is_empty()) {
            (true, true) => (*first).to_owned(),
            (true, false) => {
                format!("{}: {first}", some(&said.iter().map(|(_, shard)| *shard).collect::<Vec<_>>(), NAMES_SHOWN))
            }
            (false, _) => format!("{shard}: {first}"),
        }
    });
    let is_well = worst.row.status() == Status::Running && silent.is_empty() && !rows.iter().any(|it| it.said.is_trouble);
    let does = streams.map(|line| {
        // How far behind they are is a number of streams that all work.
        let lag = line.lag_seconds.filter(|_| is_well && !line.has_trouble).map(|lag| format!("{} behind", duration(lag)));
        let is_said = own.as_ref().is_some_and(|own| own.contains(&line.note));
        let note = if is_well && !is_said { line.note.clone() } else { String::new() };
        let said = [Some(format!("streams: {}", line.streams)), lag, Some(note)];
        said.into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    });
    let parts = if is_well { [does, own] } else { [own, does] };
    let said = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    (!said.is_empty()).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtflow_planner::proto::{
        vtctldata::workflow::{ShardStream, Stream, stream::ThrottlerStatus},
        vttime::Time,
    };

    const NOW: Timestamp = Timestamp { seconds: 10_000, nanos: 0 };
    const WHOLE: Beside<'static> =
        Beside { failures: &[], workflows: None, shards: None, is_whole: true, is_newest_first: false };

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
        let stream =
            |transaction| Stream { time_updated: at(9_999), transaction_timestamp: at(transaction), ..Stream::default() };
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
            (
                SchemaMigration { postpone_completion: true, ..running() },
                "about 10m of copying left; completion postponed",
                false,
            ),
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
}
