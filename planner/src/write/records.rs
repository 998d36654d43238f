//! The targets of a write of records: a keyspace's own record and the `SrvKeyspace` record that each cell has of it.
//!
//! All are read before the first is written, and each is written over the very version that was read. The keyspace's own comes
//! first, alone: the others are made from it.

use std::collections::BTreeMap;

use crate::{
    contract::{Answer, AskId, Failure, FailureKind, Lost, PlannedRow, PlannedWrite, Status, What},
    limits,
    operation::Asks,
    topo::{
        names::{self, CELLS_PREFIX, GLOBAL},
        targets::unexpected,
    },
    write::{
        change::{Change, Prepared, Stage},
        judge::{Done, Shown},
        kind::{Lock, NoTargets, RecordWrite},
        targets::{TargetSet, refused},
    },
};

enum Waiting {
    Cells,
    /// A cell's record.
    Record(String),
    /// A second look, by place.
    Again(usize),
}

/// A record that is to become another.
struct Edit {
    cell: String,
    path: String,
    version: i64,
    after: Vec<u8>,
}

/// The records of one write.
pub(super) struct Records {
    kind: Box<dyn RecordWrite>,
    waiting: BTreeMap<AskId, Waiting>,
    /// By place, once all are read: the keyspace's own record first, then by cell.
    edits: Vec<Edit>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
    again: BTreeMap<usize, Answer>,
}

impl Records {
    pub(super) fn new(kind: Box<dyn RecordWrite>) -> Self {
        Self { kind, waiting: BTreeMap::new(), edits: Vec::new(), failures: Vec::new(), fatal: None, again: BTreeMap::new() }
    }

    fn path(&self, cell: &str) -> String {
        let keyspace = self.kind.keyspace();
        if cell == GLOBAL { keyspace.record_path() } else { keyspace.srv_keyspace_path() }
    }

    fn read(&mut self, cell: &str, asks: &mut Asks) {
        let what = What::TopoGet { cell: cell.into(), path: self.path(cell) };
        self.waiting.insert(asks.release(what), Waiting::Record(cell.into()));
    }

    fn lost(&mut self, cell: &str, message: &str) {
        let (keyspace, empty) = (self.kind.keyspace().to_string(), String::new);
        let message = format!("{cell}: {message}");
        self.failures.push(Failure { keyspace, shard: empty(), tablet: empty(), workflow: empty(), lost: Lost::Record, message });
    }

    fn cells(&mut self, answer: Answer, asks: &mut Asks) {
        let records = match answer {
            Answer::Range(records) => records,
            Answer::Missing { .. } => return,
            Answer::Failed { message, .. } => return self.lost(GLOBAL, &message),
            other => return self.lost(GLOBAL, &unexpected("a list", &other)),
        };
        let cell_of = |path: &'_ str| path.strip_prefix(CELLS_PREFIX)?.strip_suffix("/CellInfo").map(str::to_owned);
        let cells: Vec<String> = records.iter().filter_map(|record| cell_of(&record.path)).collect();
        if cells.len() > limits::CELLS {
            // A change of some of them would be half of one.
            let text = format!("the topology has {} cells, more than the {} that are read", cells.len(), limits::CELLS);
            self.lost(GLOBAL, &text);
        }
        for cell in cells.iter().take(limits::CELLS) {
            match names::check_cell(cell) {
                Ok(()) => self.read(cell, asks),
                Err(bad) => self.lost(GLOBAL, &format!("cell {cell:?} cannot exist: {bad}")),
            }
        }
    }

    fn record(&mut self, cell: String, answer: Answer) {
        match answer {
            Answer::Found { value, version } => match self.kind.edited(&cell, &value) {
                Ok(after) if after == value => {}
                Ok(after) => self.edits.push(Edit { path: self.path(&cell), cell, version, after }),
                Err(error) => self.lost(&cell, &format!("the record cannot be read: {error}")),
            },
            // A cell that does not serve the keyspace.
            Answer::Missing { .. } if cell != GLOBAL => {}
            Answer::Missing { node } => self.fatal = Some(NoTargets::NoKeyspace { node }.status()),
            Answer::Failed { message, .. } => self.lost(&cell, &message),
            other => self.lost(&cell, &unexpected("a record", &other)),
        }
    }

    fn change(&self, target: usize, edit: &Edit) -> Change {
        let Edit { cell, path, version, after } = edit;
        let row = PlannedRow { name: "record".into(), about: path.clone(), basis: format!("version {version}") };
        Change {
            target,
            stage: if cell == GLOBAL { Stage::First } else { Stage::Derived },
            undo: None,
            planned: PlannedWrite {
                keyspace: self.kind.keyspace().to_string(),
                shard: String::new(),
                tablet: cell.clone(),
                address: path.clone(),
                db_name: String::new(),
                rpc: String::new(),
                request: after.clone(),
                statement: self.kind.statement(),
                rows: vec![row],
            },
            ask: What::TopoPut { cell: cell.clone(), path: path.clone(), value: after.clone(), version: *version },
        }
    }
}

impl TargetSet for Records {
    fn locks(&self) -> Vec<Lock> {
        self.kind.locks()
    }

    fn no_directory(&self, node: String) -> Status {
        NoTargets::NoKeyspace { node }.status()
    }

    fn look(&mut self, asks: &mut Asks) -> Result<(), Status> {
        self.read(GLOBAL, asks);
        let what = What::TopoList { cell: GLOBAL.into(), prefix: CELLS_PREFIX.into() };
        self.waiting.insert(asks.release(what), Waiting::Cells);
        Ok(())
    }

    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self.waiting.remove(&id) {
            Some(Waiting::Cells) => self.cells(answer, asks),
            Some(Waiting::Record(cell)) => self.record(cell, answer),
            Some(Waiting::Again(target)) => drop(self.again.insert(target, answer)),
            None => {}
        }
    }

    fn failures(&self) -> Vec<Failure> {
        let mut failures = self.failures.clone();
        failures.sort();
        failures
    }

    fn look_on(&mut self, _asks: &mut Asks) -> Result<bool, Status> {
        if let Some(status) = self.fatal.take() {
            return Err(status);
        }
        if !self.failures.is_empty() {
            return Err(refused(&self.failures(), false, ""));
        }
        self.edits.sort_by(|a, b| (a.cell != GLOBAL, &a.cell).cmp(&(b.cell != GLOBAL, &b.cell)));
        Ok(false)
    }

    fn prepare(&self, _force: bool) -> Result<Prepared, Status> {
        let changes = self.edits.iter().enumerate().map(|(place, edit)| self.change(place, edit)).collect();
        Ok(Prepared { summary: self.kind.summary(self.edits.len()), kept: Vec::new(), warnings: Vec::new(), changes })
    }

    fn look_again(&mut self, target: usize, asks: &mut Asks) {
        let Some(Edit { cell, path, .. }) = self.edits.get(target) else { return };
        let id = asks.release(What::TopoGet { cell: cell.clone(), path: path.clone() });
        self.waiting.insert(id, Waiting::Again(target));
    }

    fn shown(&self, change: &Change) -> Option<Shown> {
        let (edit, answer) = (self.edits.get(change.target)?, self.again.get(&change.target)?);
        Some(match answer {
            Answer::Found { value, .. } if *value == edit.after => Shown::All,
            Answer::Found { version, .. } if *version == edit.version => Shown::Nothing,
            Answer::Found { .. } => Shown::Overwritten,
            Answer::Missing { .. } => Shown::Unclear("the record is gone".into()),
            Answer::Failed { kind: FailureKind::Status(_) | FailureKind::Unreachable, message } => Shown::Unseen(message.clone()),
            other => Shown::Unclear(unexpected("looking again", other)),
        })
    }

    fn reply(&self, _done: &[Done]) -> Result<Vec<u8>, Status> {
        Ok(self.kind.reply())
    }
}
