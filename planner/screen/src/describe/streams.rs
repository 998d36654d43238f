//! One line per stream of a workflow: where it is, and how fast it copies.

use serde::Serialize;

use crate::{
    health::{Health, is_throttled, lag, updated, will_stop},
    words::message,
};
use vtflow_planner::{
    contract::Timestamp,
    proto::vtctldata::{Workflow, workflow::Stream},
    topo::names::alias_text,
};

/// One stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamLine {
    /// The shard it writes to.
    pub shard: String,
    /// Its id on its tablet; 0 stands for all streams of a shard that gave no answer.
    pub id: i64,
    /// The tablet's alias.
    pub tablet: String,
    /// Where it reads: `commerce/0`.
    pub source: String,
    /// Its state; `Lagging` and `waiting` as in a workflow's line.
    pub state: String,
    /// Seconds that it is behind what it reads; `None` when it has no lag, or it is not known.
    pub lag_seconds: Option<i64>,
    /// The end of the position: the last transaction of the newest server, such as `…00001:1-86`. Empty before the first.
    pub position: String,
    /// Rows copied since it was created.
    pub rows_copied: i64,
    /// Rows copied in a second; `None` when it is not copying or that cannot be known.
    pub rows_per_second: Option<f64>,
    /// What holds it back now; empty when nothing does.
    pub throttled_by: String,
    /// Its message. Empty when there is none.
    pub message: String,
    /// Where it will stop, though it goes on now: the end of the position; empty when it will not.
    pub stops_at: String,
    /// Whether anything is wrong with it.
    pub has_trouble: bool,
}

impl StreamLine {
    /// What is wrong with it, and whose trouble it is: `-80 stream 7: text`. `None` when nothing is, or nobody says what.
    pub fn trouble(&self) -> Option<String> {
        // One that stands for a shard's streams, of which nobody knows, has no number.
        let number = if self.id == 0 { String::new() } else { format!(" stream {}", self.id) };
        let has_said = self.has_trouble && !self.message.is_empty();
        has_said.then(|| format!("{}{number}: {}", self.shard, self.message))
    }
}

/// An earlier look at the same workflow, so that its speed can be told.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What was read.
    pub workflow: &'a Workflow,
}

/// The line, and whether its speed is that between two readings.
pub(super) fn stream_line(
    workflow: &Workflow,
    (health, tablet, stream): (Health, &str, &Stream),
    before: Option<Reading<'_>>,
    now: Timestamp,
) -> (StreamLine, bool) {
    let current = before.and_then(|before| speed_between(before.workflow, tablet, stream));
    let speed = current.or_else(|| speed_since_begin(stream, now)).filter(|_| is_copying(stream));
    let source = stream.binlog_source.as_ref();
    let throttler = stream.throttler_status.as_ref().filter(|_| is_throttled(stream, now));
    let line = StreamLine {
        shard: stream.shard.clone(),
        id: stream.id,
        tablet: stream.tablet.as_ref().map_or_else(|| tablet.to_owned(), |alias| alias_text(Some(alias))),
        source: source.map_or_else(String::new, |source| format!("{}/{}", source.keyspace, source.shard)),
        state: health.word().into(),
        lag_seconds: lag(workflow, stream, now),
        position: short_position(&stream.position),
        rows_copied: stream.rows_copied,
        rows_per_second: speed,
        throttled_by: throttler.map_or_else(String::new, |status| match status.component_throttled.as_str() {
            "" => "something that is not named".into(),
            component => component.to_owned(),
        }),
        message: message(&stream.message),
        stops_at: if will_stop(health, stream) { short_position(&stream.stop_position) } else { String::new() },
        has_trouble: health.is_trouble(),
    };
    (line, current.is_some())
}

fn is_copying(stream: &Stream) -> bool {
    stream.state == "Copying"
}

/// The same stream, a moment ago: `None` unless its row was written in between.
#[allow(clippy::cast_precision_loss, reason = "a speed that people read")]
fn speed_between(before: &Workflow, tablet: &str, stream: &Stream) -> Option<f64> {
    let key = format!("{}/{tablet}", stream.shard);
    let old = before.shard_streams.get(&key)?.streams.iter().find(|old| old.id == stream.id && stream.id != 0)?;
    let seconds = updated(stream).checked_sub(updated(old)).filter(|seconds| *seconds > 0)?;
    let rows = stream.rows_copied.checked_sub(old.rows_copied).filter(|rows| *rows >= 0)?;
    Some(rows as f64 / seconds as f64)
}

/// The average since the copy began: only if the log goes back to the stream's creation, so that the first copy phase in it was
/// the first.
#[allow(clippy::cast_precision_loss, reason = "a speed that people read")]
fn speed_since_begin(stream: &Stream, now: Timestamp) -> Option<f64> {
    let of_kind = |kind: &'static str| stream.logs.iter().filter(move |log| log.r#type == kind);
    of_kind("Stream Created").next()?;
    let began = of_kind("Started Copy Phase").filter_map(|log| Some(log.created_at?.seconds)).min()?;
    let until = updated(stream);
    let seconds = until.checked_sub(began).filter(|seconds| *seconds > 0 && until <= now.seconds.saturating_add(60))?;
    Some(stream.rows_copied as f64 / seconds as f64)
}

/// The last server's last part: enough to see whether it moves.
pub(super) fn short_position(position: &str) -> String {
    let last = position.rsplit(',').next().unwrap_or("").trim();
    let last = last.rsplit_once('/').map_or(last, |(_, set)| set);
    match last.split_once(':') {
        Some((server, intervals)) => {
            // A tag and its intervals follow those that have none, which are the ones that move.
            let is_number = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
            let untagged = intervals.split(':').take_while(is_number).last();
            let interval = untagged.unwrap_or(intervals);
            let skip = server.chars().count().saturating_sub(5);
            let tail: String = server.chars().skip(skip).collect();
            format!("{}{tail}:{interval}", if skip > 0 { "…" } else { "" })
        }
        None => last.chars().take(24).collect(),
    }
}
