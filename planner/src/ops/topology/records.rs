//! What the reads of topology records share: the ways in which a read ends, the names in a directory, the cells to read in.

use std::collections::BTreeMap;

use prost::{DecodeError, Message};

use crate::{
    contract::{Answer, Failure, FailureKind, Lost, Record, Status},
    limits,
    topo::{names, targets},
};

/// What came of reading one record.
pub(super) enum Read {
    Found(Vec<u8>),
    /// There is no such record, or no such cell. The text says which node.
    Missing(String),
    /// It cannot be known whether there is one.
    Failed(String),
}

impl From<Answer> for Read {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Found { value, .. } => Self::Found(value),
            Answer::Missing { node } => Self::Missing(no_node(&node)),
            Answer::Failed { kind: NOT_FOUND, message } => Self::Missing(message),
            Answer::Failed { message, .. } => Self::Failed(message),
            other => Self::Failed(targets::unexpected("a read of one record", &other)),
        }
    }
}

/// Why a range has no records.
pub(super) enum NoRecords {
    /// The directory does not exist, or is empty.
    Directory(String),
    /// The cell does not exist.
    Cell(String),
    /// It cannot be known.
    Failed(String),
}

/// What came of reading a range.
pub(super) fn records(answer: Answer) -> Result<Vec<Record>, NoRecords> {
    match answer {
        Answer::Range(records) => Ok(records),
        Answer::Missing { node } => Err(NoRecords::Directory(no_node(&node))),
        Answer::Failed { kind: NOT_FOUND, message } => Err(NoRecords::Cell(message)),
        Answer::Failed { message, .. } => Err(NoRecords::Failed(message)),
        other => Err(NoRecords::Failed(targets::unexpected("a read of a range", &other))),
    }
}

/// The names of what stands in a directory, in the order of etcd and consul: `ks-1` before `ks`, because they compare the whole
/// keys, in which a slash follows. With each name the record of the given file name in it, if there is one.
pub(super) fn children(prefix: &str, file: &str, records: Vec<Record>) -> Vec<(String, Option<Vec<u8>>)> {
    let mut by_key: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    for record in records {
        let Some((name, rest)) = record.path.strip_prefix(prefix).and_then(|path| path.split_once('/')) else { continue };
        let value = by_key.entry(format!("{name}/")).or_default();
        if rest == file {
            *value = Some(record.value);
        }
    }
    by_key.into_iter().map(|(key, value)| (key.trim_end_matches('/').to_owned(), value)).collect()
}

/// Whether the bytes are such a record, as far as this build knows it.
pub(super) fn check<M: Message + Default>(value: &[u8]) -> Result<(), DecodeError> {
    M::decode(value).map(drop)
}

/// Names a cell from a request.
pub(super) fn check_cell(cell: &str) -> Result<(), Status> {
    names::check_cell(cell).map_err(|bad| Status::unknown(format!("cell {cell:?} cannot exist: {bad}")))
}

/// The cells to read in where all of them are wanted, and what names the rest if there are too many.
pub(super) fn all_cells(keyspace: &str, records: Vec<Record>) -> (Vec<String>, Vec<Failure>) {
    let (mut cells, mut failures) = (Vec::new(), Vec::new());
    for (cell, _) in children(names::CELLS_PREFIX, "CellInfo", records) {
        match names::check_cell(&cell) {
            Ok(()) => cells.push(cell),
            Err(bad) => failures.push(lost(keyspace, format!("cell {cell:?} cannot exist: {bad}"))),
        }
    }
    let more = cells.len().saturating_sub(limits::CELLS);
    cells.truncate(limits::CELLS);
    if more > 0 {
        let text = format!("the topology has {more} more cells than the {} that are read: name those that matter", limits::CELLS);
        failures.push(lost(keyspace, text));
    }
    (cells, failures)
}

/// A record that is missing in the reply.
pub(super) fn lost(keyspace: &str, message: String) -> Failure {
    Failure {
        keyspace: keyspace.into(),
        shard: String::new(),
        tablet: String::new(),
        workflow: String::new(),
        lost: Lost::Record,
        message,
    }
}

/// Vitess's text. Source: `go/vt/topo/errors.go:NewError`.
pub(super) fn no_node(node: &str) -> String {
    format!("{NO_NODE}{node}")
}

/// How it begins.
pub(super) const NO_NODE: &str = "node doesn't exist: ";

/// The kind of an answer that a topology gives for a cell that has no record.
pub(super) const NOT_FOUND: FailureKind = FailureKind::Status(5);
