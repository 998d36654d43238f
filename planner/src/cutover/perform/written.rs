//! Records by the time a step writes them: as this run has left them, and what is said of one, and of tablets that do not know it.

use crate::{
    contract::Answer,
    cutover::{
        act::{RecordEdit, Run},
        edit::{KEYSPACE_RULES, RULE_PATHS},
        stored::Stored,
    },
    topo::{names::GLOBAL, targets::unexpected},
};

/// Beside tablets that could not be told.
pub(super) const UNTOLD: &str = "some tablets have not read their shard's record: repair with --refresh once they can be told";

/// Whether the record is no more when nothing is left in it. Source: `go/vt/topo/vschema.go`; that of keyspaces' rules stays.
pub(super) fn is_deleted_when_empty(edit: &RecordEdit) -> bool {
    edit.cell == GLOBAL && edit.path != KEYSPACE_RULES && RULE_PATHS.contains(&edit.path.as_str())
}

pub(super) fn place(edit: &RecordEdit) -> (String, String, String) {
    (edit.keyspace.clone(), edit.shard.clone(), edit.cell.clone())
}

/// What an answer says that is not the one that was wanted.
pub(super) fn said(path: &str, answer: Answer) -> String {
    match answer {
        Answer::Failed { message, .. } => message,
        Answer::Missing { node } => format!("node doesn't exist: {node}"),
        other => unexpected(&format!("the write of {path}"), &other),
    }
}

impl Run {
    /// A record as it is known to be.
    pub(super) fn record(&self, edit: &RecordEdit) -> Stored {
        let written = self.records.get(&(edit.cell.clone(), edit.path.clone()));
        written.cloned().unwrap_or_else(|| edit.base.clone())
    }

    /// What a cell serves, if others have made it.
    pub(super) fn remade_copy(&self, cell: &str) -> Option<&[u8]> {
        self.served.get(cell).filter(|_| self.remade.contains(cell)).map(|stored| stored.value.as_slice())
    }

    pub(super) fn keep(&mut self, edit: &RecordEdit, stored: Stored) {
        if let Some(path) = RULE_PATHS.into_iter().find(|path| edit.cell == GLOBAL && edit.path == *path) {
            self.rule_edits.entry(path).or_default().push(edit.edit.clone());
            match stored.version {
                0 => drop(self.rules.remove(path)),
                _ => drop(self.rules.insert(path, stored.value.clone())),
            }
        }
        self.records.insert((edit.cell.clone(), edit.path.clone()), stored);
    }
}
