//! A `GetSchemaMigrations` reply as people read it: one line per migration, its shards folded; trouble first, then what is under way.
//!
//! The reply has one row per shard. Shards that gave no answer are counted as unknown, so that a migration never looks complete
//! because somebody was silent; and when a filter may have left shards out, the number of all shards is not claimed. What one row says is
//! `row.rs`'s.

mod columns;
mod row;
#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;

pub use self::columns::migration_table;
use self::row::{ItsStream, Said};
use crate::{
    health::{self, Whole, age},
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
            ShardRow { row, said: row::said(row, stream, &pending.before(row), now) }
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
