//! The rows of one target, read once and put into the form of the reply: its streams as bytes, what is to be known of each to put
//! the targets together, and what could not be read.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use crate::{
    contract::{Failure, Lost, Timestamp},
    formats::{RowError, options, position, tablet_types},
    limits,
    ops::get_workflows::{
        lag,
        stream_message::{Shown, StreamWriter},
    },
    sidecar::{
        copy_state::{self, CopyStateRow},
        log::{self, LogRow},
        result::{Row, RowSet},
        stream::{self, StreamRow},
    },
    topo::targets::Target,
    words::cut,
};

/// What one target's reads brought.
pub(crate) struct TabletPages {
    streams: Vec<(stream::Columns, RowSet)>,
    /// The error: why there are none.
    copy_states: Result<Vec<RowSet>, String>,
    /// What came before the error, if there was one, is kept.
    logs: (Vec<RowSet>, Option<String>),
}

/// One target's streams, ascending by id.
pub(crate) struct TabletStreams {
    /// The streams, each as one of the `streams` of a `ShardStream`.
    pub(crate) bytes: Vec<u8>,
    streams: Vec<StreamFacts>,
    /// What many of them have alike, each once in a row.
    kinds: Vec<Kind>,
    /// The texts that these have parts of.
    texts: String,
    /// By the place of a stream: what is wrong with its columns that say what its workflow is.
    unread: BTreeMap<usize, Vec<String>>,
    /// What is missing, and what cannot be read.
    pub(crate) failures: Vec<Failure>,
}

/// What is to be known of a stream besides its bytes. Those of all targets are there at once: they are small.
struct StreamFacts {
    /// Where its bytes end; they begin where those before it end.
    end: usize,
    workflow: Part,
    /// Its place among the kinds.
    kind: u32,
    lag_nanos: i64,
    transaction_lag: i64,
}

/// What a stream is.
#[derive(Clone, PartialEq)]
struct Kind {
    /// Keyspace and shard, if the column can be read.
    source: Option<(Part, Part)>,
    workflow_type: Part,
    workflow_sub_type: Part,
    has_type: bool,
    defer_secondary_keys: bool,
    options: Part,
}

/// A part of the texts, from one byte to another. No tablet answers more than 32 bits count.
type Part = (u32, u32);

/// One stream, as [`TabletStreams`] knows it.
pub(crate) struct StreamView<'a> {
    /// Where its bytes are.
    pub(crate) bytes: Range<usize>,
    pub(crate) workflow: &'a str,
    /// Keyspace and shard, if the column can be read.
    pub(crate) source: Option<(&'a str, &'a str)>,
    pub(crate) workflow_type: &'a str,
    pub(crate) workflow_sub_type: &'a str,
    /// Whether both can be read.
    pub(crate) has_type: bool,
    pub(crate) defer_secondary_keys: bool,
    /// JSON for [`options::apply`].
    pub(crate) options: &'a str,
    /// As [`lag::grow_lag`] has it; 0 if it cannot be known.
    pub(crate) lag_nanos: i64,
    /// As [`lag::transaction_lag`]; 0 if it cannot be known.
    pub(crate) transaction_lag: i64,
    /// The columns that say what its workflow is, of which one cannot be read: what is wrong with each.
    pub(crate) unread: &'a [String],
}

/// The columns that say what a workflow is: what it moves, from where, and how.
const IDENTITY: [&str; 4] = ["source", "workflow_type", "workflow_sub_type", "options"];

/// The bytes that compressed positions may still inflate to.
pub(crate) struct PositionBudget(usize);

impl PositionBudget {
    pub(crate) fn new() -> Self {
        Self(limits::POSITIONS_BYTES)
    }

    /// Reads a stream; its position, if that fits what is left.
    fn read<'a>(&mut self, row: &Row<'a>, columns: &stream::Columns, last_types: &mut tablet_types::Last<'a>) -> StreamRow<'a> {
        StreamRow::with_position(row, columns, last_types, |pos| {
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
            position::normal(pos).map_err(|error| (error, position::as_stored(pos)))
        })
    }
}

impl TabletPages {
    /// `streams` as they came, and what the other reads brought.
    pub(crate) fn new(
        streams: Vec<RowSet>,
        copy_states: Result<Vec<RowSet>, String>,
        logs: (Vec<RowSet>, Option<String>),
    ) -> Self {
        let streams = streams.into_iter().map(|page| (stream::Columns::of(&page), page)).collect();
        Self { streams, copy_states, logs }
    }

    /// Whether any position takes from the [`PositionBudget`]: then what is read depends on the targets before this one.
    pub(crate) fn has_compressed_positions(&self) -> bool {
        let mut pages = self.streams.iter();
        pages.any(|(columns, page)| page.rows().any(|row| position::inflated_bytes(columns.position(&row)) > 0))
    }

    /// When streams had their last heartbeat, in Unix seconds, by id.
    pub(crate) fn heartbeats(&self) -> Vec<(i64, i64)> {
        let rows = self.streams.iter().flat_map(|(columns, page)| page.rows().filter_map(|row| columns.heartbeat(&row)));
        rows.collect()
    }
}

impl TabletStreams {
    /// Reads the pages. `keyspace` is the request's.
    pub(crate) fn read(
        pages: &TabletPages,
        target: &Target,
        keyspace: &str,
        now: Timestamp,
        budget: &mut PositionBudget,
    ) -> Self {
        let mut this = Self {
            bytes: Vec::with_capacity(STREAM_BYTES),
            streams: Vec::new(),
            kinds: Vec::new(),
            texts: String::new(),
            unread: BTreeMap::new(),
            failures: Vec::new(),
        };
        let mut rows = Vec::with_capacity(pages.streams.iter().map(|(_, page)| page.len()).sum());
        for (columns, page) in &pages.streams {
            rows.extend(page.rows().map(|row| (columns.id(&row), columns, row)));
        }
        rows.sort_by_key(|(id, ..)| *id);
        let (mut copy_states, copy_error) = match &pages.copy_states {
            Ok(pages) => copy_states(pages).map_or_else(|error| (CopyStates::default(), Some(error)), |states| (states, None)),
            Err(error) => (CopyStates::default(), Some(error.clone())),
        };
        let (log_pages, log_error) = &pages.logs;
        let (mut logs, bad_logs) = by_stream(log_pages);
        for (lost, error) in [(Lost::CopyState, &copy_error), (Lost::Logs, log_error)] {
            if let (Some(error), false) = (error, rows.is_empty()) {
                this.failures.push(target.place.failure(keyspace, lost, error.as_str()));
            }
        }
        let bad_logs = bad_logs.into_iter().map(|text| (String::new(), text));
        this.list(target, keyspace, Lost::Logs, "log rows", bad_logs);
        let (copy_error, log_error) = (copy_error.as_deref().map(repeated), log_error.as_deref().map(repeated));

        let writer = StreamWriter::new(target);
        let place = || format!("{keyspace}/{} {}", target.place.shard, target.place.alias_text());
        let mut last_types = tablet_types::Last::default();
        let (mut faults, mut valid_options) = (Vec::new(), Cow::Borrowed(""));
        this.streams.reserve_exact(rows.len());
        let count = rows.len();
        // A row that is read is large: it is read where it is used.
        for (_, columns, row) in rows {
            let mut row = budget.read(&row, columns, &mut last_types);
            // Nearly always the text of the stream before.
            if row.options != valid_options {
                match options::apply(&mut None, &row.options) {
                    Ok(()) => valid_options.clone_from(&row.options),
                    Err(error) => row.faults.push(error),
                }
            }
            let bad_copy_state = copy_states.bad.remove(&row.id);
            if !row.faults.is_empty() || bad_copy_state.is_some() {
                let mut texts: Vec<String> = row.faults.iter().map(ToString::to_string).collect();
                texts.extend(bad_copy_state);
                let stream = if row.lacks("id") { "a stream".to_owned() } else { format!("stream {}", row.id) };
                faults.push((row.workflow.to_string(), format!("{stream}: {}", texts.join("; "))));
            }
            let logs = logs.remove(&row.id).unwrap_or_default();
            let begin = this.bytes.len();
            let shown = Shown {
                row: &row,
                copy_states: copy_states.take(row.id),
                copy_error: copy_error.as_deref(),
                logs: &logs.rows,
                log_error: log_error.as_deref().unwrap_or(&logs.error),
            };
            writer.put(&mut this.bytes, &shown);
            let identity = row.faults.iter().filter(|fault| IDENTITY.contains(&fault.column));
            let unread: Vec<String> = identity.map(|fault| format!("{} stream {}: {fault}", place(), row.id)).collect();
            if !unread.is_empty() {
                this.unread.insert(this.streams.len(), unread);
            }
            this.keep(&row, now);
            if begin == 0 {
                // Those of one tablet are much alike; a first one that is large says nothing of the others.
                this.bytes.reserve(this.bytes.len().saturating_mul(count - 1).min(RESERVED_BYTES));
            }
        }
        this.list(target, keyspace, Lost::Stream, "streams", faults.into_iter());
        this.bytes.shrink_to_fit();
        this
    }

    /// The streams, ascending by id.
    pub(crate) fn streams(&self) -> impl Iterator<Item = StreamView<'_>> {
        let text = |part| part_of(&self.texts, part);
        let mut begin = 0;
        self.streams.iter().enumerate().filter_map(move |(place, facts)| {
            let kind = self.kinds.get(facts.kind as usize)?;
            Some(StreamView {
                bytes: std::mem::replace(&mut begin, facts.end)..facts.end,
                workflow: text(facts.workflow),
                source: kind.source.map(|(keyspace, shard)| (text(keyspace), text(shard))),
                workflow_type: text(kind.workflow_type),
                workflow_sub_type: text(kind.workflow_sub_type),
                has_type: kind.has_type,
                defer_secondary_keys: kind.defer_secondary_keys,
                options: text(kind.options),
                lag_nanos: facts.lag_nanos,
                transaction_lag: facts.transaction_lag,
                unread: self.unread.get(&place).map_or(&[], Vec::as_slice),
            })
        })
    }

    /// Keeps what is to be known of the stream whose bytes were written last.
    fn keep(&mut self, row: &StreamRow<'_>, now: Timestamp) {
        let (texts, before) = (&mut self.texts, self.kinds.last());
        // Most texts are those of the stream before.
        let mut kept = |text: &str, before: Option<Part>| {
            if let Some(before) = before.filter(|before| part_of(texts, *before) == text) {
                return before;
            }
            let begin = offset(texts.len());
            texts.push_str(text);
            (begin, offset(texts.len()))
        };
        let (mut lag_nanos, mut transaction_lag) = (0, 0);
        if !row.lacks("time_updated") {
            lag::grow_lag(&mut lag_nanos, now, row);
            if !row.lacks("transaction_timestamp") {
                transaction_lag = lag::transaction_lag(now, row);
            }
        }
        let source_before = before.and_then(|before| before.source);
        let workflow = kept(&row.workflow, self.streams.last().map(|before| before.workflow));
        let kind = Kind {
            source: (!row.lacks("source")).then(|| {
                let keyspace = kept(row.source.keyspace(), source_before.map(|(keyspace, _)| keyspace));
                (keyspace, kept(row.source.shard(), source_before.map(|(_, shard)| shard)))
            }),
            workflow_type: kept(&row.workflow_type, before.map(|before| before.workflow_type)),
            workflow_sub_type: kept(&row.workflow_sub_type, before.map(|before| before.workflow_sub_type)),
            has_type: !row.lacks("workflow_type") && !row.lacks("workflow_sub_type"),
            defer_secondary_keys: row.defer_secondary_keys,
            options: kept(&row.options, before.map(|before| before.options)),
        };
        if before != Some(&kind) {
            self.kinds.push(kind);
        }
        let kind = offset(self.kinds.len().saturating_sub(1));
        self.streams.push(StreamFacts { end: self.bytes.len(), workflow, kind, lag_nanos, transaction_lag });
    }

    /// Names a few of the tablet's rows, each with its workflow, and counts the rest.
    fn list(
        &mut self,
        target: &Target,
        keyspace: &str,
        lost: Lost,
        what: &str,
        texts: impl ExactSizeIterator<Item = (String, String)>,
    ) {
        let mut fail = |workflow, text| {
            self.failures.push(Failure { workflow, ..target.place.failure(keyspace, lost, text) });
        };
        let more = texts.len().saturating_sub(limits::FAULTS_PER_TABLET);
        for (workflow, text) in texts.take(limits::FAULTS_PER_TABLET) {
            fail(workflow, text);
        }
        if more > 0 {
            fail(String::new(), format!("and {more} more {what} with a column that cannot be read"));
        }
    }
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn part_of(texts: &str, (begin, end): Part) -> &str {
    texts.get(begin as usize..end as usize).unwrap_or_default()
}

/// Most streams have fewer bytes, without their logs.
const STREAM_BYTES: usize = 1 << 9;
/// As many bytes are made room for at once, at most.
const RESERVED_BYTES: usize = 1 << 20;

/// A failure's text, for a place of which there may be very many.
fn repeated(text: &str) -> String {
    cut(text.to_owned(), limits::REPEATED_BYTES)
}

/// The copy states of a tablet's streams.
#[derive(Default)]
struct CopyStates<'a> {
    /// By stream; of one stream in the order that the tablet sent.
    rows: Vec<CopyStateRow<'a>>,
    /// Streams of which a part of a row cannot be read, and what is wrong with the first one.
    bad: BTreeMap<i64, String>,
    /// The stream that had its rows last: a second one of the same id has none.
    taken: Option<i64>,
}

impl<'a> CopyStates<'a> {
    /// The rows of a stream. Streams come in the order of their ids.
    fn take(&mut self, stream: i64) -> &[CopyStateRow<'a>] {
        if self.taken.replace(stream) == Some(stream) {
            return &[];
        }
        let begin = self.rows.partition_point(|row| row.stream < stream);
        let end = self.rows.partition_point(|row| row.stream <= stream);
        self.rows.get(begin..end).unwrap_or_default()
    }
}

/// A row of which nobody can say whose it is costs every stream its copy state.
fn copy_states(pages: &[RowSet]) -> Result<CopyStates<'_>, String> {
    let mut bad = BTreeMap::new();
    let mut rows = Vec::with_capacity(pages.iter().map(RowSet::len).sum());
    for page in pages {
        let columns = copy_state::Columns::of(page);
        for row in page.rows() {
            let row = CopyStateRow::read_at(&row, &columns);
            let row = row.map_err(|error| format!("a row of copy_state cannot be read: {error}"))?;
            if let Some(fault) = &row.fault {
                bad.entry(row.stream).or_insert_with(|| format!("copy state of table {}: {fault}", row.table));
            }
            rows.push(row);
        }
    }
    let mut rows = copy_state::newest(rows);
    rows.sort_by_key(|row| row.stream);
    Ok(CopyStates { rows, bad, taken: None })
}

/// The log of one stream, ascending by id, the newest [`limits::LOG_ROWS_PER_STREAM`].
#[derive(Default)]
struct Logs<'a> {
    rows: Vec<LogRow<'a>>,
    /// What is wrong with the first row of which a part cannot be read; empty if there is none.
    error: String,
}

/// The logs by stream, and what is wrong with rows of which a part cannot be read. Log rows come newest first, over several pages.
/// One of which nobody can say whose it is stands nowhere.
fn by_stream(pages: &[RowSet]) -> (BTreeMap<i64, Logs<'_>>, Vec<String>) {
    let (mut by_stream, mut bad): (BTreeMap<i64, Logs<'_>>, Vec<String>) = (BTreeMap::new(), Vec::new());
    for page in pages {
        let columns = log::Columns::of(page);
        for row in page.rows().map(|row| LogRow::read_at(&row, &columns)) {
            if !row.fault.is_empty() {
                let stream = row.stream.map_or_else(|| "a stream".to_owned(), |stream| format!("stream {stream}"));
                bad.push(format!("a log row of {stream} cannot be read: {}", row.fault));
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
    }
    for logs in by_stream.values_mut() {
        logs.rows.sort_by_key(|row| row.id);
    }
    (by_stream, bad)
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
        let streams = vec![RowSet::from_vreplication_exec(&response).unwrap()];
        let pages = TabletPages::new(streams, Ok(Vec::new()), (Vec::new(), None));
        assert!(pages.has_compressed_positions());
        let ((columns, page), mut budget) = (&pages.streams[0], PositionBudget::new());
        let rows: Vec<_> = page.rows().map(|row| budget.read(&row, columns, &mut tablet_types::Last::default())).collect();
        let faults: Vec<_> = rows.iter().flat_map(|row| &row.faults).filter(|fault| fault.column == "pos").collect();
        let refused = faults.iter().filter(|fault| fault.reason.contains("may have 67108864 together")).count();
        assert_eq!((rows.len(), faults.len(), refused), (fit + 1, fit + 1, 1), "the last one only");
        assert!(rows.iter().all(|row| row.position.len() < 100), "what is not inflated is shown cut");
    }
}
