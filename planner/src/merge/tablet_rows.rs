//! The rows of one target, read: its streams, their copy states and logs, and what could not be read of them.

use std::collections::BTreeMap;

use crate::{
    limits,
    rows::{
        RowError,
        copy_state::{self, CopyStateRow},
        log::LogRow,
        position,
        result::{Row, RowSet},
        stream::{BadStream, StreamRow},
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
    pub(crate) bad_streams: Vec<BadStream>,
    /// In the order that the tablet sent. The error: why they could not be read.
    pub(crate) copy_states: Result<CopyStates, String>,
    /// Ascending by id, the newest [`limits::LOG_ROWS_PER_STREAM`].
    pub(crate) logs: BTreeMap<i64, Logs>,
    /// Why log rows are missing that nobody has seen.
    pub(crate) log_error: Option<String>,
    /// Log rows that cannot be read: one text each.
    pub(crate) bad_logs: Vec<String>,
}

/// The copy states of a tablet's streams.
#[derive(Default)]
pub(crate) struct CopyStates {
    pub(crate) rows: BTreeMap<i64, Vec<CopyStateRow>>,
    /// Streams of which a row cannot be read, and why.
    pub(crate) bad: BTreeMap<i64, String>,
}

/// The log of one stream.
#[derive(Default)]
pub(crate) struct Logs {
    pub(crate) rows: Vec<LogRow>,
    /// What was wrong with the first row that is left out; empty if none is.
    pub(crate) error: String,
}

/// The bytes that compressed positions may still inflate to.
pub(crate) struct PositionBudget(usize);

impl PositionBudget {
    pub(crate) fn new() -> Self {
        Self(limits::POSITIONS_BYTES)
    }

    /// Reads a stream, if its position fits what is left.
    fn read(&mut self, row: &Row<'_>) -> Result<StreamRow, BadStream> {
        let pos = row.value("pos").flatten().unwrap_or_default();
        let claimed = position::inflated_bytes(pos);
        let Some(left) = self.0.checked_sub(claimed) else {
            let limit = limits::POSITIONS_BYTES;
            let reason =
                format!("compressed position of {claimed} bytes: the positions of one request may have {limit} together");
            let error = RowError::new("pos", reason, pos);
            return Err(BadStream { id: row.integer("id").ok().flatten(), workflow: row.text("workflow"), error });
        };
        self.0 = left;
        StreamRow::read(row)
    }
}

/// Reads the pages.
pub(crate) fn read(pages: TabletPages, budget: &mut PositionBudget) -> TabletRows {
    let (mut streams, mut bad_streams, mut bad_logs) = (Vec::new(), Vec::new(), Vec::new());
    for row in pages.streams.iter().flat_map(RowSet::rows) {
        match budget.read(&row) {
            Ok(stream) => streams.push(stream),
            Err(bad) => bad_streams.push(bad),
        }
    }
    streams.sort_by_key(|stream| stream.id);
    let (logs, log_error) = pages.logs;
    TabletRows {
        streams,
        bad_streams,
        copy_states: pages.copy_states.and_then(|pages| copy_states(&pages)),
        logs: by_stream(&logs, &mut bad_logs),
        log_error,
        bad_logs,
    }
}

/// A row that cannot be read costs its stream; if even that cannot be told, every stream.
fn copy_states(pages: &[RowSet]) -> Result<CopyStates, String> {
    let mut states = CopyStates::default();
    let mut all = Vec::new();
    for row in pages.iter().flat_map(RowSet::rows) {
        match (CopyStateRow::read(&row), row.integer("vrepl_id")) {
            (Ok(row), _) => all.push(row),
            (Err(error), Ok(Some(stream))) => {
                states.bad.entry(stream).or_insert_with(|| format!("a row of copy_state cannot be read: {error}"));
            }
            (Err(error), _) => return Err(format!("a row of copy_state cannot be read: {error}")),
        }
    }
    for row in copy_state::newest(all) {
        states.rows.entry(row.stream).or_default().push(row);
    }
    Ok(states)
}

/// Log rows come newest first, over several pages.
fn by_stream(pages: &[RowSet], bad_logs: &mut Vec<String>) -> BTreeMap<i64, Logs> {
    let mut by_stream: BTreeMap<i64, Logs> = BTreeMap::new();
    for row in pages.iter().flat_map(RowSet::rows) {
        match LogRow::read(&row) {
            Ok(row) => {
                let logs = by_stream.entry(row.stream).or_default();
                if logs.rows.len() < limits::LOG_ROWS_PER_STREAM {
                    logs.rows.push(row);
                }
            }
            Err(bad) => {
                let stream = bad.stream.map_or_else(|| "a stream".to_owned(), |stream| format!("stream {stream}"));
                bad_logs.push(format!("a log row of {stream} cannot be read: {}", bad.text));
                if let Some(logs) = bad.stream.map(|stream| by_stream.entry(stream).or_default())
                    && logs.error.is_empty()
                {
                    logs.error = bad.text;
                }
            }
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
        let refused = rows.bad_streams.iter().filter(|bad| bad.error.reason.contains("may have 67108864 together")).count();
        assert_eq!((rows.bad_streams.len(), refused), (fit + 1, 1), "the last one only");
    }
}
