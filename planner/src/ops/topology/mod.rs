//! Topology reads: records of the topology server, as they are, in the replies that clients know.
//!
//! Each reply carries the records' own bytes ([`crate::wire`]): a field that this build does not know reaches the client all
//! the same. A record is decoded only to see that it can be. What cannot be read is left out and named; what was asked for by
//! name and cannot be read is the request's error.
//!
//! Facts: `go/vt/vtctl/grpcvtctldserver/server.go`, v24, and the texts of `go/vt/topo`. `docs/compat.md` lists what differs.

mod cells;
mod contents;
mod one;
mod path;
mod range;
mod tablets;

pub(crate) use range::{NoShards, Shards, says_no_keyspace};

use std::collections::BTreeMap;

use prost::{DecodeError, Message};

use crate::{
    contract::{Answer, Call, Failure, FailureKind, Lost, Record, Status, Timestamp},
    limits,
    operation::{Asks, Operation},
    topo::{names, targets},
};

type Begun = Result<Box<dyn Operation>, Status>;

fn boxed(operation: Result<impl Operation + 'static, Status>) -> Begun {
    Ok(Box::new(operation?))
}

/// Declares how the reads of a kind begin: each a function of the RPC's name.
macro_rules! begin {
    ($($name:ident: $start:path, $what:expr;)*) => {$(
        pub(crate) fn $name(call: &Call, _: Timestamp, asks: &mut Asks) -> Begun {
            boxed($start($what, call, asks))
        }
    )*};
}

begin! {
    find_all_shards_in_keyspace: range::Listing::start, range::shards;
    get_cells_aliases: range::Listing::start, range::cells_aliases;
    get_cell_info_names: range::Listing::start, range::cells;
    get_keyspaces: range::Listing::start, range::keyspaces;
    get_srv_keyspaces: cells::PerCell::start, cells::srv_keyspaces;
    get_srv_vschemas: cells::PerCell::start, cells::srv_vschemas;
    get_srv_keyspace_names: cells::PerCell::start, cells::srv_keyspace_names;
    get_keyspace: one::One::start, one::keyspace;
    get_shard: one::One::start, one::shard;
    get_cell_info: one::One::start, one::cell_info;
    get_tablet: one::One::start, one::tablet;
    get_vschema: one::One::start, one::vschema;
    get_srv_vschema: one::One::start, one::srv_vschema;
    get_routing_rules: one::One::start, one::routing_rules;
    get_shard_routing_rules: one::One::start, one::shard_routing_rules;
    get_keyspace_routing_rules: one::One::start, one::keyspace_routing_rules;
    get_mirror_rules: one::One::start, one::mirror_rules;
}

pub(crate) fn get_topology_path(call: &Call, _: Timestamp, asks: &mut Asks) -> Begun {
    boxed(path::Place::start(call, asks))
}

pub(crate) fn get_tablets(call: &Call, _: Timestamp, asks: &mut Asks) -> Begun {
    boxed(tablets::Tablets::start(call, asks))
}

/// What came of reading one record.
enum Read {
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
enum Lack {
    /// The directory does not exist, or is empty.
    Directory(String),
    /// The cell does not exist.
    Cell(String),
    /// It cannot be known.
    Failed(String),
}

/// What came of reading a range.
fn records(answer: Answer) -> Result<Vec<Record>, Lack> {
    match answer {
        Answer::Range(records) => Ok(records),
        Answer::Missing { node } => Err(Lack::Directory(no_node(&node))),
        Answer::Failed { kind: NOT_FOUND, message } => Err(Lack::Cell(message)),
        Answer::Failed { message, .. } => Err(Lack::Failed(message)),
        other => Err(Lack::Failed(targets::unexpected("a read of a range", &other))),
    }
}

/// The names of what stands in a directory, in the order of etcd and consul: `ks-1` before `ks`, because they compare the whole
/// keys, in which a slash follows. With each name the record of the given file name in it, if there is one.
fn children(prefix: &str, file: &str, records: Vec<Record>) -> Vec<(String, Option<Vec<u8>>)> {
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
fn check<M: Message + Default>(value: &[u8]) -> Result<(), DecodeError> {
    M::decode(value).map(drop)
}

/// Names a cell from a request.
fn check_cell(cell: &str) -> Result<(), Status> {
    names::check_cell(cell).map_err(|bad| Status::unknown(format!("cell {cell:?} cannot exist: {bad}")))
}

/// The cells to read in where all of them are wanted, and what names the rest if there are too many.
fn all_cells(keyspace: &str, records: Vec<Record>) -> (Vec<String>, Vec<Failure>) {
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
fn lost(keyspace: &str, message: String) -> Failure {
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
fn no_node(node: &str) -> String {
    format!("{NO_NODE}{node}")
}

/// How it begins.
const NO_NODE: &str = "node doesn't exist: ";

/// The kind of an answer that a topology gives for a cell that has no record.
const NOT_FOUND: FailureKind = FailureKind::Status(5);
