//! What one shard's row of a schema migration says, weighed against its stream and against the clock.
//!
//! A row alone is not believed: it says "ready" for as long as nobody writes it. A migration is ready, or so many minutes from its end, only if
//! nothing keeps it: no other one before it, no postponement, no throttling, a stream that works, a row that is still written.
//!
//! Facts: `go/vt/vttablet/onlineddl/executor.go` (review of running migrations, cut-over, completion in order).

use super::{
    health::{Health, THROTTLED_SECONDS, updated},
    words::{duration, some},
};
use crate::{
    flow::Timestamp,
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
    /// This one.
    Is(&'a Stream),
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
    match (seconds(row.cancelled_at), row.status()) {
        (Some(then), Status::Cancelled) => parts.push(format!("cancelled {} ago", age(then, now))),
        (Some(then), _) if !is_ended => parts.push(format!("cancelled {} ago, not ended yet", age(then, now))),
        _ => {}
    }
    match row.status() {
        Status::Running => {
            trouble.extend(stream_trouble(row, stream, now));
            trouble.extend(silence(row, now));
            parts.extend(waits(row, before));
            if row.postpone_completion {
                parts.push(if row.ready_to_complete { "ready, completion postponed" } else { "completion postponed" }.into());
            }
            if is_throttled(row, now) {
                parts.push(match row.component_throttled.as_str() {
                    "" => "throttled".into(),
                    component => format!("throttled by {component}"),
                });
            }
            let is_kept = !trouble.is_empty() || seconds(row.cancelled_at).is_some() || is_throttled(row, now);
            // What the row says of an end is as good as the stream is.
            let unsure = if has_stream(row) && matches!(stream, ItsStream::NotRead) { " (its stream was not read)" } else { "" };
            if !is_kept && !row.ready_to_complete && (1..LONGEST_ESTIMATE).contains(&row.eta_seconds) {
                let of = if row.postpone_completion || waits(row, before).is_some() { " of copying" } else { "" };
                parts.insert(0, format!("about {}{of} left{unsure}", duration(row.eta_seconds)));
            }
            if !is_kept && parts.is_empty() && row.ready_to_complete {
                parts.push(format!("ready to cut over{unsure}"));
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
        Status::Complete => parts.extend(seconds(row.completed_at).map(|then| format!("completed {} ago", age(then, now)))),
        Status::Unknown => trouble.push("a state that is not known".into()),
        Status::Failed | Status::Cancelled => {}
    }
    // The message of a completed migration is that of an attempt that no longer matters.
    if !row.message.is_empty() && row.status() != Status::Complete {
        parts.push(row.message.clone());
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
        ItsStream::Is(stream) => stream,
        ItsStream::NotRead => return None,
        ItsStream::None => {
            let has_begun = seconds(row.started_at).is_none_or(|then| now.seconds.saturating_sub(then) > PASSING_SECONDS);
            return (has_stream(row) && has_begun).then(|| "its stream is gone".to_owned());
        }
    };
    let silent = (updated(stream) > 0).then(|| now.seconds.saturating_sub(updated(stream)).max(0));
    let because = if stream.message.is_empty() { String::new() } else { format!(": {}", stream.message) };
    let said = |what: &str| Some(format!("its stream {what}{because}"));
    match Health::of(stream, now) {
        Health::Error => said("is in error"),
        Health::Unknown => said("is in a state that is not known"),
        Health::Missing => Some("its stream is not known".into()),
        Health::Lagging => Some(match silent {
            Some(silent) => format!("its stream is silent for {}", duration(silent)),
            None => "its stream never wrote its row".into(),
        }),
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
fn silence(row: &SchemaMigration, now: Timestamp) -> Option<String> {
    if matches!(row.strategy(), Strategy::Mysql | Strategy::Direct) {
        return None;
    }
    let (then, is_start) = match (seconds(row.liveness_timestamp), seconds(row.started_at)) {
        (Some(then), _) => (then, false),
        (None, started) => (started?, true),
    };
    let age = now.seconds.saturating_sub(then);
    let since = if is_start { "since it started, " } else { "for " };
    let ago = if is_start { " ago" } else { "" };
    (age > SILENT_SECONDS).then(|| format!("no sign of life {since}{}{ago}", duration(age)))
}

fn is_throttled(row: &SchemaMigration, now: Timestamp) -> bool {
    seconds(row.last_throttled_at).is_some_and(|time| time > now.seconds.saturating_sub(THROTTLED_SECONDS))
}

/// A time that is one: the zero date is none, however it came here.
pub(super) fn seconds(time: Option<Time>) -> Option<i64> {
    time.map(|time| time.seconds).filter(|seconds| *seconds > 0)
}

fn age(then: i64, now: Timestamp) -> String {
    duration(now.seconds.saturating_sub(then).max(0))
}
