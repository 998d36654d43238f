//! A GetWorkflows reply as people read it: one line per workflow, trouble first.
//!
//! Two things show here that the wire does not say: a running stream that has not written its row for more than ten seconds is `Lagging`, and a stopped
//! stream that never started is `waiting`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::words::{count, duration};
use crate::{
    flow::Timestamp,
    proto::vtctldata::{
        GetWorkflowsResponse, Workflow,
        workflow::{ReplicationLocation, Stream},
    },
};

/// Seconds without a sign of life after which a running stream counts as lagging: a live one writes its row about every second.
/// Source: the threshold of `go/vt/vtctl/workflow/workflows.go:getStreamState`.
pub const LAGGING_SECONDS: i64 = 10;

/// Seconds for which a throttle mark counts as "throttled now". Source: VTAdmin, `web/vtadmin/src/components/routes/Workflows.tsx`.
pub const THROTTLED_SECONDS: i64 = 60;

/// One workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkflowLine {
    /// Its name.
    pub name: String,
    /// Its type, with the sub type in parentheses unless it is `None`.
    pub kind: String,
    /// Where it reads: `commerce/0`, or `customer (2)` for two shards; `itself` when it stays in its own shards.
    pub source: String,
    /// Where it writes, likewise.
    pub target: String,
    /// Streams by state, trouble first, such as `1 Error, 3 Running`.
    pub streams: String,
    /// Seconds since the oldest sign of life among the streams that should have one; `None` when none should.
    pub lag_seconds: Option<i64>,
    /// Copy progress: `done`, or the rows copied and how many tables are left.
    pub copied: String,
    /// What there is to say, the worst first. Empty when there is nothing.
    pub note: String,
    /// Whether anything is wrong with it.
    pub has_trouble: bool,
}

/// How a stream is doing, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    Error,
    Unknown,
    Lagging,
    /// The shard gave no answer: whatever runs there is not known. The failures say more than a line could.
    Missing,
    Waiting,
    Copying,
    Init,
    Running,
    Stopped,
    Frozen,
}

impl Health {
    pub(super) fn of(stream: &Stream, now: Timestamp) -> Self {
        let is_silent = now.seconds.saturating_sub(updated(stream)) > LAGGING_SECONDS;
        match stream.state.as_str() {
            "Unknown" if stream.id == 0 => Self::Missing,
            "Error" => Self::Error,
            "Running" | "Copying" if is_silent => Self::Lagging,
            "Running" => Self::Running,
            "Copying" => Self::Copying,
            "Init" => Self::Init,
            "Stopped" if stream.message == "FROZEN" => Self::Frozen,
            "Stopped" if stream.position.is_empty() && stream.message.is_empty() => Self::Waiting,
            "Stopped" => Self::Stopped,
            _ => Self::Unknown,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Unknown | Self::Missing => "Unknown",
            Self::Lagging => "Lagging",
            Self::Waiting => "waiting",
            Self::Copying => "Copying",
            Self::Init => "Init",
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Frozen => "frozen",
        }
    }

    pub(super) fn is_trouble(self) -> bool {
        self <= Self::Missing
    }
}

/// One line per workflow: trouble first, then by name.
pub fn workflows(reply: &GetWorkflowsResponse, now: Timestamp) -> Vec<WorkflowLine> {
    let mut lines: Vec<_> = reply.workflows.iter().map(|workflow| line(workflow, now)).collect();
    lines.sort_by(|(worst_a, a), (worst_b, b)| worst_a.cmp(worst_b).then_with(|| a.name.cmp(&b.name)));
    lines.into_iter().map(|(_, line)| line).collect()
}

pub(super) fn line(workflow: &Workflow, now: Timestamp) -> (Health, WorkflowLine) {
    let streams: Vec<&Stream> = workflow.shard_streams.values().flat_map(|shard| &shard.streams).collect();
    let mut by_health: BTreeMap<Health, usize> = BTreeMap::new();
    for stream in &streams {
        *by_health.entry(Health::of(stream, now)).or_default() += 1;
    }
    let worst = by_health.keys().next().copied().unwrap_or(Health::Stopped);
    let counts: Vec<_> = by_health.iter().map(|(health, n)| format!("{n} {}", health.word())).collect();
    let source = location(workflow.source.as_ref());
    let is_itself =
        workflow.workflow_type == "OnlineDDL" && keyspace(workflow.source.as_ref()) == keyspace(workflow.target.as_ref());
    let line = WorkflowLine {
        name: workflow.name.clone(),
        kind: match workflow.workflow_sub_type.as_str() {
            "" | "None" => workflow.workflow_type.clone(),
            sub_type => format!("{} ({sub_type})", workflow.workflow_type),
        },
        source: if is_itself { "itself".into() } else { source },
        target: location(workflow.target.as_ref()),
        streams: counts.join(", "),
        lag_seconds: streams.iter().filter(|stream| is_live(stream)).map(|s| now.seconds.saturating_sub(updated(s)).max(0)).max(),
        copied: copied(&streams),
        note: note(&streams, now),
        has_trouble: worst.is_trouble(),
    };
    (worst, line)
}

pub(super) fn updated(stream: &Stream) -> i64 {
    stream.time_updated.map_or(0, |time| time.seconds)
}

/// Should write its row about every second.
pub(super) fn is_live(stream: &Stream) -> bool {
    matches!(stream.state.as_str(), "Running" | "Copying" | "Error") && updated(stream) > 0
}

pub(super) fn keyspace(location: Option<&ReplicationLocation>) -> &str {
    location.map_or("", |location| &location.keyspace)
}

fn location(location: Option<&ReplicationLocation>) -> String {
    let keyspace = keyspace(location);
    match location.map_or(&[][..], |location| &location.shards) {
        [] => keyspace.to_owned(),
        [shard] => format!("{keyspace}/{shard}"),
        shards => format!("{keyspace} ({})", shards.len()),
    }
}

/// What is left to copy. GetWorkflows does not know how much there was: `describe` does.
fn copied(streams: &[&Stream]) -> String {
    let tables: BTreeSet<&str> =
        streams.iter().flat_map(|stream| &stream.copy_states).map(|state| state.table.as_str()).collect();
    let rows: i64 = streams.iter().fold(0, |sum, stream| sum.saturating_add(stream.rows_copied));
    let has_begun = streams.iter().any(|stream| !stream.position.is_empty());
    match (tables.len(), has_begun) {
        (0, true) => "done".into(),
        (0, false) => "-".into(),
        (tables, _) => format!("{} rows, {tables} left", count(rows)),
    }
}

fn note(streams: &[&Stream], now: Timestamp) -> String {
    let mut worst: Vec<_> = streams.iter().map(|stream| (Health::of(stream, now), *stream)).collect();
    worst.sort_by_key(|(health, _)| *health);
    let throttled: Vec<_> = streams.iter().filter(|stream| is_throttled(stream, now)).collect();
    match worst.first() {
        Some((Health::Error | Health::Unknown, stream)) => format!("{}: {}", stream.shard, stream.message),
        _ if !throttled.is_empty() => {
            let by: BTreeSet<_> =
                throttled.iter().filter_map(|s| Some(s.throttler_status.as_ref()?.component_throttled.as_str())).collect();
            format!("throttled by {}", by.into_iter().collect::<Vec<_>>().join(", "))
        }
        Some((Health::Lagging, stream)) => match now.seconds.saturating_sub(updated(stream)) {
            _ if updated(stream) == 0 => format!("{}: stream {} never wrote its row", stream.shard, stream.id),
            silent => format!("{}: stream {} silent for {}", stream.shard, stream.id, duration(silent)),
        },
        Some((Health::Missing, stream)) => format!("{}: {}", stream.shard, stream.message),
        Some((Health::Waiting, stream)) => format!("{}: stream {} never started", stream.shard, stream.id),
        Some((Health::Frozen, _)) => "frozen: traffic was switched".into(),
        Some((_, stream)) => stream.message.clone(),
        None => String::new(),
    }
}

pub(super) fn is_throttled(stream: &Stream, now: Timestamp) -> bool {
    let time = stream.throttler_status.as_ref().and_then(|status| status.time_throttled).map_or(0, |time| time.seconds);
    stream.state != "Stopped" && time > now.seconds.saturating_sub(THROTTLED_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        vtctldata::workflow::{ShardStream, stream::CopyState},
        vttime::Time,
    };

    const NOW: Timestamp = Timestamp { seconds: 1000, nanos: 0 };

    fn stream(state: &str, updated: i64, message: &str) -> Stream {
        Stream {
            id: 7,
            shard: "-80".into(),
            state: state.into(),
            position: "uuid:1-3".into(),
            time_updated: Some(Time { seconds: updated, nanoseconds: 0 }),
            message: message.into(),
            ..Stream::default()
        }
    }

    fn workflow(name: &str, streams: Vec<Stream>) -> Workflow {
        let shard = ShardStream { streams, ..ShardStream::default() };
        Workflow { name: name.into(), shard_streams: BTreeMap::from([("-80/zone1-1".into(), shard)]), ..Workflow::default() }
    }

    fn one(streams: Vec<Stream>) -> WorkflowLine {
        workflows(&GetWorkflowsResponse { workflows: vec![workflow("w", streams)] }, NOW).remove(0)
    }

    #[test]
    fn trouble_comes_first_then_names() {
        let reply = GetWorkflowsResponse {
            workflows: vec![
                workflow("b_fine", vec![stream("Running", 999, "")]),
                workflow("a_fine", vec![stream("Running", 999, "")]),
                workflow("silent", vec![stream("Running", 500, "")]),
                workflow("z_broken", vec![stream("Running", 999, ""), stream("Error", 900, "bad\nthing")]),
            ],
        };
        let lines = workflows(&reply, NOW);
        let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["z_broken", "silent", "a_fine", "b_fine"]);
        assert_eq!(lines[0].streams, "1 Error, 1 Running");
        assert_eq!(lines[0].note, "-80: bad\nthing");
        assert_eq!(lines[1].streams, "1 Lagging");
        assert_eq!(lines[1].note, "-80: stream 7 silent for 8m");
        assert!(lines[1].has_trouble && !lines[2].has_trouble);
    }

    #[test]
    fn a_line_says_what_the_wire_does_not() {
        let mut copying = stream("Copying", 998, "");
        copying.rows_copied = 1_234_567;
        copying.copy_states = vec![CopyState { table: "t1".into(), ..CopyState::default() }];
        assert_eq!(one(vec![copying]).copied, "1234k rows, 1 left");
        let mut never = stream("Stopped", 0, "");
        never.position.clear();
        assert_eq!(one(vec![never]).note, "-80: stream 7 never started");
        assert_eq!(one(vec![stream("Stopped", 1, "FROZEN")]).streams, "1 frozen");
        assert_eq!(one(vec![stream("Stopped", 1, "x")]).lag_seconds, None);
        assert_eq!(one(vec![stream("Running", 990, "")]).lag_seconds, Some(10));
        assert_eq!(one(vec![stream("Running", 20_251_123_073_112, "")]).lag_seconds, Some(0), "a date instead of a time");
    }

    #[test]
    fn silence_of_more_than_ten_seconds_is_lagging() {
        assert_eq!(one(vec![stream("Running", 990, "")]).streams, "1 Running");
        assert_eq!(one(vec![stream("Running", 989, "")]).streams, "1 Lagging");
    }
}
