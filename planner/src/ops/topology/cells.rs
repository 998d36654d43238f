//! Reads of the same record in every cell: what each cell serves. A cell that does not answer is left out and named.

use std::collections::{BTreeMap, BTreeSet};

use super::records::{NoRecords, Read, all_cells, check, check_cell, children, lost, records};
use crate::{
    contract::{Answer, AskId, Call, Failure, Record, Reply, Status, What},
    limits,
    operation::{Asks, Operation, conclude, decode},
    proto::{topodata, vschema, vtctldata as rpcs},
    topo::names::{self, GLOBAL, KeyspaceName},
    wire::Message,
};

/// A record of several cells on its way into a reply.
pub(super) struct PerCell {
    what: Wanted,
    keyspace: String,
    strict: bool,
    /// The cells of the request; empty means all.
    cells: BTreeSet<String>,
    waiting: BTreeMap<AskId, Waiting>,
    /// By cell: what stands in the reply for it.
    found: BTreeMap<String, Vec<u8>>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
}

#[derive(Clone, PartialEq)]
enum Wanted {
    /// The record under this path.
    Keyspace {
        path: String,
    },
    KeyspaceNames,
    VSchema,
}

enum Waiting {
    Cells,
    Cell(String),
}

/// What a request names.
pub(super) struct Request {
    what: Wanted,
    keyspace: String,
    /// Empty means all.
    cells: Vec<String>,
}

/// `GetSrvKeyspaces`.
pub(super) fn srv_keyspaces(call: &Call) -> Result<Request, Status> {
    let rpcs::GetSrvKeyspacesRequest { keyspace, cells } = decode(call)?;
    let path = KeyspaceName::of_request(&keyspace)?.srv_keyspace_path();
    Ok(Request { what: Wanted::Keyspace { path }, keyspace, cells })
}

/// `GetSrvVSchemas`.
pub(super) fn srv_vschemas(call: &Call) -> Result<Request, Status> {
    let cells = decode::<rpcs::GetSrvVSchemasRequest>(call)?.cells;
    Ok(Request { what: Wanted::VSchema, keyspace: String::new(), cells })
}

/// `GetSrvKeyspaceNames`.
pub(super) fn srv_keyspace_names(call: &Call) -> Result<Request, Status> {
    let cells = decode::<rpcs::GetSrvKeyspaceNamesRequest>(call)?.cells;
    Ok(Request { what: Wanted::KeyspaceNames, keyspace: String::new(), cells })
}

impl PerCell {
    pub(super) fn start(read: fn(&Call) -> Result<Request, Status>, call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let Request { what, keyspace, cells } = read(call)?;
        let mut this = Self {
            what,
            keyspace,
            strict: call.options.strict,
            cells: cells.into_iter().collect(),
            waiting: BTreeMap::new(),
            found: BTreeMap::new(),
            failures: Vec::new(),
            fatal: None,
        };
        if this.cells.len() > limits::TARGETS {
            let (cells, limit) = (this.cells.len(), limits::TARGETS);
            return Err(Status::unknown(format!("{cells} cells are more than the {limit} of one request")));
        }
        for cell in &this.cells {
            check_cell(cell)?;
        }
        // Cells of GetSrvVSchemas that do not exist are left out, so the list is wanted in any case.
        if this.cells.is_empty() || this.what == Wanted::VSchema {
            let id = asks.release(What::TopoRange { cell: GLOBAL.into(), prefix: names::CELLS_PREFIX.into() });
            this.waiting.insert(id, Waiting::Cells);
        } else {
            for cell in this.cells.clone() {
                this.ask(cell, asks);
            }
        }
        Ok(this)
    }

    fn ask(&mut self, cell: String, asks: &mut Asks) {
        let of = cell.clone();
        let id = asks.release(match &self.what {
            Wanted::Keyspace { path } => What::TopoGet { cell: of, path: path.clone() },
            Wanted::VSchema => What::TopoGet { cell: of, path: "SrvVSchema".into() },
            Wanted::KeyspaceNames => What::TopoList { cell: of, prefix: "keyspaces/".into() },
        });
        self.waiting.insert(id, Waiting::Cell(cell));
    }

    fn all_cells(&mut self, answer: Answer, asks: &mut Asks) {
        match records(answer) {
            Ok(records) => {
                let is_wanted = |cell: &str| self.cells.is_empty() || self.cells.contains(cell);
                let named = |record: &Record| {
                    record
                        .path
                        .strip_prefix(names::CELLS_PREFIX)
                        .and_then(|path| path.split_once('/'))
                        .is_some_and(|(cell, _)| is_wanted(cell))
                };
                let (cells, more) = all_cells(&self.keyspace, records.into_iter().filter(named).collect());
                for cell in cells {
                    self.ask(cell, asks);
                }
                self.failures.extend(more);
            }
            Err(NoRecords::Directory(_)) if self.what != Wanted::KeyspaceNames => {}
            Err(NoRecords::Directory(text) | NoRecords::Cell(text) | NoRecords::Failed(text)) => {
                self.fatal = Some(Status::unknown(text));
            }
        }
    }

    /// What the cell says, as it stands in the reply; `Err` if that cannot be known.
    fn cell(&self, answer: Answer) -> Result<Vec<u8>, String> {
        if self.what == Wanted::KeyspaceNames {
            return match records(answer) {
                Ok(records) => {
                    let names = children("keyspaces/", "SrvKeyspace", records);
                    Ok(names.iter().fold(Message::new(), |list, (name, _)| list.string(1, name)).into_bytes())
                }
                // No keyspace is served there; but a cell that does not exist is an error.
                Err(NoRecords::Directory(_)) => Ok(Vec::new()),
                Err(NoRecords::Cell(text) | NoRecords::Failed(text)) => Err(text),
            };
        }
        let checked = |value: Vec<u8>| {
            let checked = match self.what {
                Wanted::VSchema => check::<vschema::SrvVSchema>(&value),
                _ => check::<topodata::SrvKeyspace>(&value),
            };
            checked.map(|()| value).map_err(|error| format!("the record cannot be read: {error}"))
        };
        match Read::from(answer) {
            Read::Found(value) => checked(value),
            Read::Missing(_) => Ok(Vec::new()),
            Read::Failed(text) => Err(text),
        }
    }
}

impl Operation for PerCell {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self.waiting.remove(&id) {
            Some(Waiting::Cells) => self.all_cells(answer, asks),
            Some(Waiting::Cell(cell)) => match self.cell(answer) {
                Ok(value) => {
                    self.found.insert(cell, value);
                }
                // A text that names its node names the cell.
                Err(text) if text.contains(&cell) => self.failures.push(lost(&self.keyspace, text)),
                Err(text) => self.failures.push(lost(&self.keyspace, format!("cell {cell}: {text}"))),
            },
            None => {}
        }
    }

    fn failures(&self) -> Vec<Failure> {
        self.failures.clone()
    }

    fn finish(&mut self) -> Reply {
        if let Some(status) = self.fatal.take() {
            return Reply::new(Err(status), Vec::new());
        }
        let reply = self.found.iter().fold(Message::new(), |reply, (cell, value)| reply.entry(1, cell, value));
        conclude(reply.into_bytes(), self.found.is_empty(), self.strict, std::mem::take(&mut self.failures))
    }
}
