//! The rows of one target, read: its streams, their copy states and logs, and what could not be read of them.

use std::collections::BTreeMap;

use crate::{
    formats::{RowError, position},
    limits,
    sidecar::{
        copy_state::{self, CopyStateRow},
        log::LogRow,
        result::{Row, RowSet},
        stream::StreamRow,
    },
};

/// What one target's reads brought.
pub(crate) struct TabletPages {
    pub(crate) streams: Vec<RowSet>,
    /// The error: why there are none.
    pub(crate) copy_states: Result<Vec<RowSet>, String>,
    /// What came before the error, if there was one, is kept.
    pub(crate) logs: (Vec<RowSet>, Option<String>),
}

/// One target's rows, by stream.
pub(crate) struct TabletRows {
    /// Ascending by id.
    pub(crate) streams: Vec<StreamRow>,
    /// In the order that the tablet sent. The error: why they could not be read.
    pub(crate) copy_states: Result<CopyStates, String>,
    /// Ascending by id, the newest [`limits::LOG_ROWS_PER_STREAM`].
    pub(crate) logs: BTreeMap<i64, Logs>,
    /// Why log rows are missing that nobody has seen.
    pub(crate) log_error: Option<String>,
    /// Log rows of which a part cannot be read: one text each.
    pub(crate) bad_logs: Vec<String>,
}

/// The copy states of a tablet's streams.
#[derive(Default)]
pub(crate) struct CopyStates {
    pub(crate) rows: BTreeMap<i64, Vec<CopyStateRow>>,
    /// Streams of which a part of a row cannot be read, and what is wrong with the first one.
    pub(crate) bad: BTreeMap<i64, String>,
}

/// The log of one stream.
#[derive(Default)]
pub(crate) struct Logs {
    pub(crate) rows: Vec<LogRow>,
    /// What is wrong with the first row of which a part cannot be read; empty if there is none.
    pub(crate) error: String,
}

/// The bytes that compressed positions may still inflate to.
pub(crate) struct PositionBudget(usize);

impl PositionBudget {
    pub(crate) fn new() -> Self {
        Self(limits::POSITIONS_BYTES)
    }

    /// Reads a stream; its position, if that fits what is left.
    fn read(&mut self, row: &Row<'_>) -> StreamRow {
        StreamRow::with_position(row, |pos| {
            let claimed = position::inflated_bytes(pos);
            let Some(left) = self.0.checked_sub(claimed) else {
                let limit = limits::POSITIONS_BYTES;
                let reason =
                    format!("compressed position of {claimed} bytes: the positions of one request may have {limit} together");
                let error = RowError::new("pos", reason, pos);
                let shown = error.excerpt.clone();
                return Err((error, shown));
            };
            self.0 = left;
            position::decode(pos).map_err(|error| (error, position::as_stored(pos)))
        })
    }
}

/// Reads the pages.
pub(crate) fn read(pages: TabletPages, budget: &mut PositionBudget) -> TabletRows {
    let mut bad_logs = Vec::new();
    let mut streams: Vec<StreamRow> = pages.streams.iter().flat_map(RowSet::rows).map(|row| budget.read(&row)).collect();
    streams.sort_by_key(|stream| stream.id);
    let (logs, log_error) = pages.logs;
    TabletRows {
        streams,
        copy_states: pages.copy_states.and_then(|pages| copy_states(&pages)),
        logs: by_stream(&logs, &mut bad_logs),
        log_error,
        bad_logs,
    }
}

/// A row of which nobody can say whose it is costs every stream its copy state.
fn copy_states(pages: &[RowSet]) -> Result<CopyStates, String> {
    let mut states = CopyStates::default();
    let mut all = Vec::new();
    for row in pages.iter().flat_map(RowSet::rows) {
        let row = CopyStateRow::read(&row).map_err(|error| format!("a row of copy_state cannot be read: {error}"))?;
        if let Some(fault) = &row.fault {
            states.bad.entry(row.stream).or_insert_with(|| format!("copy state of table {}: {fault}", row.table));
        }
        all.push(row);
    }
    for row in copy_state::newest(all) {
        states.rows.entry(row.stream).or_default().push(row);
    }
    Ok(states)
}

/// Log rows come newest first, over several pages. One of which nobody can say whose it is stands nowhere.
fn by_stream(pages: &[RowSet], bad_logs: &mut Vec<String>) -> BTreeMap<i64, Logs> {
    let mut by_stream: BTreeMap<i64, Logs> = BTreeMap::new();
    for row in pages.iter().flat_map(RowSet::rows).map(|row| LogRow::read(&row)) {
        if !row.fault.is_empty() {
            let stream = row.stream.map_or_else(|| "a stream".to_owned(), |stream| format!("stream {stream}"));
            bad_logs.push(format!("a log row of {stream} cannot be read: {}", row.fault));
        }
        let Some(stream) = row.stream else { continue };
        let logs = by_stream.entry(stream).or_default();
        if logs.error.is_empty() {
            logs.error.clone_from(&row.fault);
        }
        if logs.rows.len() < limits::LOG_ROWS_PER_STREAM {
            logs.rows.push(row);
        }
    }
    for logs in by_stream.values_mut() {
        logs.rows.sort_by_key(|row| row.id);
    }
    by_stream
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::{
        query::{Field, QueryResult, Row as WireRow},
        tabletmanagerdata::VReplicationExecResponse,
    };

    #[test]
    fn positions_share_what_they_may_inflate_to() {
        let mut pos = u32::try_from(limits::POSITION_BYTES).unwrap().to_le_bytes().to_vec();
        pos.extend([0x78, 0x9c, 1, 2, 3]);
        let fields = vec![Field { name: b"pos".to_vec(), r#type: 10_260, ..Field::default() }];
        let fit = limits::POSITIONS_BYTES / limits::POSITION_BYTES;
        let row = WireRow { lengths: vec![9], values: pos };
        let result = QueryResult { fields, rows: vec![row; fit + 1], ..QueryResult::default() };
        let response = VReplicationExecResponse { result: Some(result) }.encode_to_vec();
        let pages = TabletPages {
            streams: vec![RowSet::from_vreplication_exec(&response).unwrap()],
            copy_states: Ok(Vec::new()),
            logs: (Vec::new(), None),
        };
        let rows = read(pages, &mut PositionBudget::new());
        let faults: Vec<_> = rows.streams.iter().flat_map(|row| &row.faults).filter(|fault| fault.column == "pos").collect();
        let refused = faults.iter().filter(|fault| fault.reason.contains("may have 67108864 together")).count();
        assert_eq!((rows.streams.len(), faults.len(), refused), (fit + 1, fit + 1, 1), "the last one only");
        assert!(rows.streams.iter().all(|row| row.position.len() < 100), "what is not inflated is shown cut");
    }
}
