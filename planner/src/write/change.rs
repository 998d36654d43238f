//! One change of one target: what a plan says of it, the ask that makes it, and when it is sent.

use crate::{
    contract::{PlannedRow, PlannedWrite, What},
    sidecar::query::Query,
    write::seen::Seen,
};

/// What is to be done.
pub(crate) struct Prepared {
    pub(crate) summary: String,
    pub(crate) kept: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// In the order of targets.
    pub(crate) changes: Vec<Change>,
}

/// One call that writes, or one record that is written.
#[derive(Clone)]
pub(crate) struct Change {
    /// Whose: a place in what was seen.
    pub(crate) target: usize,
    pub(super) stage: Stage,
    /// What the plan says.
    pub(crate) planned: PlannedWrite,
    pub(super) ask: What,
    /// What takes it back.
    pub(super) undo: Option<What>,
}

/// When a change is sent, and what has to have been made before. Each stage waits for the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// At once.
    First,
    /// It is made from the first ones: if one of those has not been made, this is not made either.
    Derived,
    /// It only cleans up, and nobody waits for it: it is made where all others of its target have been, and the request succeeds
    /// without it.
    BestEffort,
}

impl Change {
    /// A call to a tablet; of one that carries no statement, the query has one that does the same.
    pub(crate) fn call(target: usize, seen: &Seen, query: Query, rows: Vec<PlannedRow>) -> Self {
        let query = query.that_writes();
        let tablet = &seen.target;
        let planned = PlannedWrite {
            keyspace: tablet.keyspace.clone(),
            shard: tablet.place.shard.clone(),
            tablet: tablet.address.alias.clone(),
            address: tablet.address.address(),
            db_name: tablet.db_name.clone(),
            rpc: query.path().into(),
            request: query.request(),
            statement: query.statement.clone(),
            rows,
        };
        Self { target, stage: Stage::First, planned, ask: query.ask(tablet), undo: None }
    }

    /// The same, but the request succeeds without it.
    #[must_use]
    pub(crate) fn that_is_best_effort(self) -> Self {
        Self { stage: Stage::BestEffort, ..self }
    }

    /// The same, but it is taken back if it is certain that another change was not made.
    #[must_use]
    pub(crate) fn that_is_undone_by(self, seen: &Seen, query: Query) -> Self {
        Self { undo: Some(query.that_writes().ask(&seen.target)), ..self }
    }

    /// Whether a record of the topology is written or deleted.
    pub(super) fn is_of_record(&self) -> bool {
        matches!(self.ask, What::TopoPut { .. }) || self.is_deletion()
    }

    /// Whether a record of the topology is deleted.
    pub(super) fn is_deletion(&self) -> bool {
        matches!(self.ask, What::TopoDelete { .. })
    }
}
