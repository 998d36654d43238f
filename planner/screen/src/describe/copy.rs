//! How far the copy of a workflow is: as a whole, and table by table.

use std::collections::BTreeSet;

use serde::Serialize;

use super::streams::StreamLine;
use crate::{
    health::Health,
    words::{count, duration, speed},
};
use vtflow_planner::proto::vtctldata::{TableCopyPhase, WorkflowStatusResponse, workflow::Stream};

/// How far the copy is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// Rows copied, by the statistics.
    pub rows_copied: i64,
    /// Rows there are, by the source's statistics: an estimate. 0 when they are not known.
    pub rows_total: i64,
    /// Rows in a second on all streams together; `None` when the speed of a copying stream is not known.
    pub rows_per_second: Option<f64>,
    /// Whether the speed is that between two readings; otherwise it is the average since the copy began.
    pub is_current: bool,
    /// Estimated seconds until all is copied; `None` when it cannot be estimated.
    pub left_seconds: Option<i64>,
}

/// One table being copied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableLine {
    /// Its name.
    pub table: String,
    /// `waiting`, `copying`, `stopped` when none of the streams that copy it works, `done`; `unknown` when nobody said.
    pub phase: &'static str,
    /// Percent of the rows, 0 to 100; `None` when it is not known.
    pub percent: Option<f32>,
    /// Rows copied.
    pub rows_copied: i64,
    /// Rows there are: an estimate.
    pub rows_total: i64,
    /// Bytes there are on the source: an estimate.
    pub bytes_total: i64,
}

/// Whether a stream does nothing until somebody does something.
fn is_still(health: Health) -> bool {
    matches!(health, Health::Error | Health::Waiting | Health::Stopped(_) | Health::Frozen)
}

pub(super) fn tables(streams: &[(Health, &str, &Stream)], status: Option<&WorkflowStatusResponse>) -> Vec<TableLine> {
    let waiting: BTreeSet<&str> = streams.iter().flat_map(|(_, _, s)| &s.copy_states).map(|state| state.table.as_str()).collect();
    // Of a table that nobody copies on any shard, though it is not done.
    let stands = |table: &str| {
        let mut its = streams.iter().filter(|(_, _, s)| s.copy_states.iter().any(|state| state.table == table)).peekable();
        its.peek().is_some() && its.all(|(health, ..)| is_still(*health))
    };
    let Some(states) = status.map(|status| &status.table_copy_state).filter(|states| !states.is_empty()) else {
        let unknown = |table: &&str| TableLine {
            table: (*table).into(),
            phase: "unknown",
            percent: None,
            rows_copied: 0,
            rows_total: 0,
            bytes_total: 0,
        };
        return waiting.iter().map(unknown).collect();
    };
    let line =
        |(table, state): (&String, &vtflow_planner::proto::vtctldata::workflow_status_response::TableCopyState)| TableLine {
            table: table.clone(),
            phase: match state.phase() {
                TableCopyPhase::NotStarted => "waiting",
                TableCopyPhase::InProgress if stands(table) => "stopped",
                TableCopyPhase::InProgress => "copying",
                TableCopyPhase::Complete => "done",
                TableCopyPhase::Unknown => "unknown",
            },
            // A total that is not known is 0, and its share 0, too; of an empty table everything is copied. Where more is copied than was
            // estimated nobody knows how much there is, and what is not done is not all done.
            percent: ((state.rows_total > 0 || state.rows_percentage >= 100.0) && state.rows_percentage.is_finite())
                .then(|| state.rows_percentage.clamp(0.0, 100.0))
                .filter(|_| state.phase() != TableCopyPhase::InProgress || state.rows_copied <= state.rows_total)
                .map(|percent| if state.phase() == TableCopyPhase::InProgress { percent.min(99.0) } else { percent }),
            rows_copied: state.rows_copied,
            rows_total: state.rows_total,
            bytes_total: state.bytes_total,
        };
    states.iter().map(line).collect()
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate that people read")]
pub(super) fn progress(raw: &[&Stream], lines: &[StreamLine], tables: &[TableLine], is_current: bool) -> Option<Progress> {
    if !raw.iter().any(|stream| !stream.copy_states.is_empty()) {
        return None;
    }
    let sum = |field: fn(&TableLine) -> i64| tables.iter().map(field).fold(0, i64::saturating_add);
    let (rows_copied, rows_total) = (sum(|table| table.rows_copied), sum(|table| table.rows_total));
    // Every stream that still has tables to copy must be copying at a known speed: else the whole has none.
    let speeds: Option<Vec<f64>> = raw
        .iter()
        .zip(lines)
        .filter(|(stream, _)| !stream.copy_states.is_empty())
        .map(|(_, line)| line.rows_per_second)
        .collect();
    let rows_per_second = speeds.map(|speeds| speeds.iter().sum::<f64>());
    let knows_all = !tables.is_empty() && tables.iter().all(|table| table.percent.is_some() || table.phase == "done");
    let left = rows_total.saturating_sub(rows_copied);
    let left_seconds = rows_per_second
        .filter(|speed| *speed > 0.0 && knows_all && left > 0)
        .map(|speed| (left as f64 / speed).ceil().min(1e12) as i64);
    Some(Progress { rows_copied, rows_total, rows_per_second, is_current, left_seconds })
}

/// Rows of an estimate, which may be too small.
fn rows_text(copied: i64, total: i64) -> String {
    if copied > total {
        format!("{} rows, more than the estimate of {}", count(copied), count(total))
    } else {
        format!("{} of about {} rows", count(copied), count(total))
    }
}

impl TableLine {
    /// Such as `32k of about 1,000k`, or `10k, estimate 10`; `None` when nobody said how many there are.
    pub fn rows(&self) -> Option<String> {
        let (copied, total) = (count(self.rows_copied), count(self.rows_total));
        (self.rows_total > 0).then(|| {
            let is_more = self.rows_copied > self.rows_total;
            if is_more { format!("{copied}, estimate {total}") } else { format!("{copied} of about {total}") }
        })
    }
}

impl Progress {
    /// Such as `32k of about 1,000k rows (3%), 5k rows/s on average, about 3m left`.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if self.rows_total > 0 {
            parts.push(rows_text(self.rows_copied, self.rows_total));
        }
        parts.push(match self.rows_per_second {
            Some(rows) => format!("{} rows/s{}", speed(rows), if self.is_current { "" } else { " on average since it began" }),
            None => "speed not known".into(),
        });
        parts.push(
            self.left_seconds.map_or_else(|| "time left not known".into(), |left| format!("about {} left", duration(left))),
        );
        parts.join(", ")
    }
}
