//! What one shard's row of a schema migration says, weighed against its stream and against the clock.
//!
//! A row alone is not believed: it says "ready" for as long as nobody writes it. A migration is ready, or so many minutes from its end, only if
//! nothing keeps it: no other one before it, no postponement, no throttling, a stream that works, a row that is still written.
//!
//! Facts: `go/vt/vttablet/onlineddl/executor.go` (review of running migrations, cut-over, completion in order).

use crate::{
    health::{self, Health, age, is_recent, silence, silent_for},
    words::{duration, message, some},
};
use vtflow_planner::{
    contract::Timestamp,
    proto::{
        vtctldata::{
            SchemaMigration,
            schema_migration::{Status, Strategy},
            workflow::Stream,
        },
        vttime::Time,
    },
};

/// Seconds without a sign of life after which a running migration is in trouble. The tablet writes it at every review, once a minute, as long
/// as the stream moves; it warns after as long.
pub(super) const SILENT_SECONDS: i64 = 300;

/// Seconds for which a stream may be stopped, or not be there, while its migration begins or cuts over.
const PASSING_SECONDS: i64 = 60;

/// A stream that is further behind does not cut over. Source: the default of `--migration-cut-over-threshold` of
/// `go/vt/vttablet/onlineddl/executor.go`.
const CUT_OVER_SECONDS: i64 = 10;

/// An estimate further ahead than this is none.
const LONGEST_ESTIMATE: i64 = 365 * 86_400;

/// Names of migrations that are waited for, in a line.
const NAMES_SHOWN: usize = 2;

/// What is known of a migration's stream on one shard.
#[derive(Clone, Copy, Debug)]
pub(super) enum ItsStream<'a> {
    /// Nobody looked, or the shard gave no answer.
    NotRead,
    /// There is none.
    None,
    /// This one; and the seconds that it is behind, if they are known.
    Is(&'a Stream, Option<i64>),
}

/// What there is to say of one shard's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// What there is to say, the worst first. Empty when there is nothing.
    pub(super) text: String,
    /// Whether it will not end by itself.
    pub(super) is_trouble: bool,
}

/// What one row says. `before`: the UUIDs of those that it waits for, if they are known.
pub(super) fn said(row: &SchemaMigration, stream: ItsStream<'_>, before: &[&str], now: Timestamp) -> Said {
    let mut trouble: Vec<String> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    let is_ended = matches!(row.status(), Status::Complete | Status::Cancelled | Status::Failed);
    let cancelled = seconds(row.cancelled_at).map(|_| match ago(row.cancelled_at, now) {
        Some(ago) => format!("cancelled {ago}"),
        None => "cancelled".into(),
    });
    match (cancelled, row.status()) {
        (Some(said), Status::Cancelled) => parts.push(said),
        (Some(said), _) if !is_ended => parts.push(format!("{said}, not ended yet")),
        _ => {}
    }
    match row.status() {
        Status::Running => {
            trouble.extend(stream_trouble(row, stream, now));
            trouble.extend(row_trouble(row, now));
            parts.extend(waits(row, before));
            if row.postpone_completion {
                parts.push(if row.ready_to_complete { "ready, completion postponed" } else { "completion postponed" }.into());
            }
            let throttled = throttled(row, stream, now);
            let is_kept = !trouble.is_empty() || seconds(row.cancelled_at).is_some() || throttled.is_some();
            parts.extend(throttled);
            // What the row says of an end is as good as the stream is.
            let unsure = if has_stream(row) && matches!(stream, ItsStream::NotRead) { " (its stream was not read)" } else { "" };
            if !is_kept && !row.ready_to_complete && (1..LONGEST_ESTIMATE).contains(&row.eta_seconds) {
                let of = if row.postpone_completion || waits(row, before).is_some() { " of copying" } else { "" };
                parts.insert(0, format!("about {}{of} left{unsure}", duration(row.eta_seconds)));
            }
            if !is_kept && parts.is_empty() && row.ready_to_complete {
                let is_behind = matches!(stream, ItsStream::Is(_, Some(lag)) if lag > CUT_OVER_SECONDS);
                parts.push(if is_behind {
                    "cuts over once its stream has caught up".into()
                } else {
                    format!("ready to cut over{unsure}")
                });
            }
            if row.cutover_attempts > 1 {
                parts.push(format!("{} cut-over attempts", row.cutover_attempts));
            }
        }
        Status::Queued | Status::Ready | Status::Requested => {
            parts.extend(waits(row, before));
            if row.postpone_launch {
                parts.push("launch postponed".into());
            }
        }
        Status::Complete => parts.extend(ago(row.completed_at, now).map(|ago| format!("completed {ago}"))),
        Status::Unknown => trouble.push("a state that is not known".into()),
        Status::Failed | Status::Cancelled => {}
    }
    // The message of a completed migration is that of an attempt that no longer matters.
    if !row.message.is_empty() && row.status() != Status::Complete {
        parts.push(message(&row.message));
    }
    let is_trouble = !trouble.is_empty() || row.status() == Status::Failed;
    trouble.extend(parts);
    Said { text: trouble.join("; "), is_trouble }
}

fn waits(row: &SchemaMigration, before: &[&str]) -> Option<String> {
    let count = usize::try_from(row.in_order_completion_pending_count).unwrap_or(usize::MAX);
    match (count, before) {
        (0, _) => None,
        (_, []) => Some(format!("waits for {count} before it")),
        (_, names) => Some(format!("waits for {count} before it ({})", some(names, NAMES_SHOWN))),
    }
}

/// Whether the migration copies rows by a stream of its own. Source: `executor.go:executeAlterDDLActionMigration`; special plans are done in place.
fn has_stream(row: &SchemaMigration) -> bool {
    row.strategy() == Strategy::Vitess
        && row.ddl_action == "alter"
        && !row.is_view
        && !row.is_immediate_operation
        && row.special_plan.is_empty()
}

fn stream_trouble(row: &SchemaMigration, stream: ItsStream<'_>, now: Timestamp) -> Option<String> {
    let stream = match stream {
        ItsStream::Is(stream, _) => stream,
        ItsStream::NotRead => return None,
        ItsStream::None => {
            let has_begun = age(row.started_at, now).is_none_or(|age| age > PASSING_SECONDS);
            return (has_stream(row) && has_begun).then(|| "its stream is gone".to_owned());
        }
    };
    let silent = silent_for(stream, now);
    let because = if stream.message.is_empty() { String::new() } else { format!(": {}", message(&stream.message)) };
    let said = |what: &str| Some(format!("its stream {what}{because}"));
    match Health::of(stream, now) {
        Health::Error => said("is in error"),
        Health::Unknown => said("is in a state that is not known"),
        Health::Missing => Some("its stream is not known".into()),
        Health::Lagging => {
            let is = if silent.is_some() { "is " } else { "" };
            Some(format!("its stream {is}{}", silence(stream, now)))
        }
        // It is stopped for a moment while tables are swapped.
        _ if stream.state == "Stopped" && silent.is_some_and(|silent| silent <= PASSING_SECONDS) => None,
        _ if stream.state == "Stopped" => match silent {
            Some(silent) => said(&format!("stopped {} ago", duration(silent))),
            None => said("is stopped"),
        },
        _ => None,
    }
}

/// Whether its row is written still. Strategies other than vitess' leave it alone while MySQL works.
fn row_trouble(row: &SchemaMigration, now: Timestamp) -> Option<String> {
    if matches!(row.strategy(), Strategy::Mysql | Strategy::Direct) {
        return None;
    }
    if seconds(row.liveness_timestamp).is_some() && age(row.liveness_timestamp, now).is_none() {
        return Some("its last sign of life is of a time to come: whether it works is not known".into());
    }
    let (age, since, ago) = match (age(row.liveness_timestamp, now), age(row.started_at, now)) {
        (Some(age), _) => (age, "for ", ""),
        (None, Some(age)) => (age, "since it started, ", " ago"),
        (None, None) => return Some("no sign of life known, nor when it started".into()),
    };
    (age > SILENT_SECONDS).then(|| format!("no sign of life {since}{}{ago}", duration(age)))
}

/// What keeps the migration back now: its own row says so, or its stream's.
fn throttled(row: &SchemaMigration, stream: ItsStream<'_>, now: Timestamp) -> Option<String> {
    let by = |what: &str, component: &str| match component {
        "" => format!("{what}throttled"),
        component => format!("{what}throttled by {component}"),
    };
    if is_recent(row.last_throttled_at, now) {
        return Some(by("", &row.component_throttled));
    }
    match stream {
        ItsStream::Is(stream, _) if health::is_throttled(stream, now) => {
            let component = stream.throttler_status.as_ref().map_or("", |status| status.component_throttled.as_str());
            Some(by("its stream is ", component))
        }
        _ => None,
    }
}

/// A time that is one: the zero date is none, however it came here.
pub(super) fn seconds(time: Option<Time>) -> Option<i64> {
    time.map(|time| time.seconds).filter(|seconds| *seconds > 0)
}

/// Such as `5m ago`; `None` of a time that is none.
fn ago(time: Option<Time>, now: Timestamp) -> Option<String> {
    age(time, now).map(|age| format!("{} ago", duration(age)))
}
