//! The rows of one target, read: its streams, their copy states and logs, and what could not be read of them.

use std::collections::BTreeMap;

use crate::{
    limits,
    rows::{
        copy_state::{self, CopyStateRow},
        log::LogRow,
        result::RowSet,
        stream::{BadStream, StreamRow},
    },
};

/// What one target's reads brought, each a list of pages or the reason why there are none.
pub(crate) struct TabletPages {
    pub(crate) streams: Vec<RowSet>,
    pub(crate) copy_states: Result<Vec<RowSet>, String>,
    pub(crate) logs: Result<Vec<RowSet>, String>,
}

/// One target's rows, by stream.
pub(crate) struct TabletRows {
    /// Ascending by id.
    pub(crate) streams: Vec<StreamRow>,
    pub(crate) bad_streams: Vec<BadStream>,
    /// In the order that the tablet sent. The error: why they could not be read.
    pub(crate) copy_states: Result<BTreeMap<i64, Vec<CopyStateRow>>, String>,
    /// Ascending by id, the newest [`limits::LOG_ROWS_PER_STREAM`]. The error: why they could not be read.
    pub(crate) logs: Result<BTreeMap<i64, Logs>, String>,
    /// Log rows whose stream cannot be told: one text each.
    pub(crate) lost_logs: Vec<String>,
}

/// The log of one stream.
#[derive(Default)]
pub(crate) struct Logs {
    pub(crate) rows: Vec<LogRow>,
    /// What was wrong with a row that is left out; empty if none is.
    pub(crate) error: String,
}

/// Reads the pages.
pub(crate) fn read(pages: TabletPages) -> TabletRows {
    let mut rows = TabletRows {
        streams: Vec::new(),
        bad_streams: Vec::new(),
        copy_states: pages.copy_states.and_then(|pages| copy_states(&pages)),
        logs: Ok(BTreeMap::new()),
        lost_logs: Vec::new(),
    };
    for row in pages.streams.iter().flat_map(RowSet::rows) {
        match StreamRow::read(&row) {
            Ok(stream) => rows.streams.push(stream),
            Err(bad) => rows.bad_streams.push(bad),
        }
    }
    rows.streams.sort_by_key(|stream| stream.id);
    rows.logs = pages.logs.map(|pages| logs(&pages, &mut rows.lost_logs));
    rows
}

fn copy_states(pages: &[RowSet]) -> Result<BTreeMap<i64, Vec<CopyStateRow>>, String> {
    let mut all = Vec::new();
    for row in pages.iter().flat_map(RowSet::rows) {
        all.push(CopyStateRow::read(&row).map_err(|error| format!("a row of copy_state cannot be read: {error}"))?);
    }
    let mut by_stream: BTreeMap<i64, Vec<CopyStateRow>> = BTreeMap::new();
    for row in copy_state::newest(all) {
        by_stream.entry(row.stream).or_default().push(row);
    }
    Ok(by_stream)
}

/// Rows come newest first, over several pages.
fn logs(pages: &[RowSet], lost: &mut Vec<String>) -> BTreeMap<i64, Logs> {
    let mut by_stream: BTreeMap<i64, Logs> = BTreeMap::new();
    for row in pages.iter().flat_map(RowSet::rows) {
        match LogRow::read(&row) {
            Ok(row) => {
                let logs = by_stream.entry(row.stream).or_default();
                if logs.rows.len() < limits::LOG_ROWS_PER_STREAM {
                    logs.rows.push(row);
                }
            }
            Err(bad) => match bad.stream {
                Some(stream) => by_stream.entry(stream).or_default().error = bad.text,
                None => lost.push(bad.text),
            },
        }
    }
    for logs in by_stream.values_mut() {
        logs.rows.sort_by_key(|row| row.id);
    }
    by_stream
}
