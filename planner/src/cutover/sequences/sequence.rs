//! A sequence, what is asked of it, and what it has to go on with.

use std::collections::BTreeMap;

use crate::{
    cutover::member::Member,
    sequences::{highest, value},
    sidecar::query::Query,
};

/// A sequence, and what takes values from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) keyspace: String,
    /// Of its backing table.
    pub(crate) name: String,
    /// No vschema has it: it is created in the keyspace for such.
    pub(super) is_new: bool,
    pub(super) users: Vec<User>,
    /// The only shard of its keyspace; `None` before it was looked at.
    pub(super) on: Option<Member>,
    pub(super) is_table_there: bool,
    /// Its next value; 0: it has no row.
    pub(crate) current: i64,
    /// What it has to be at least, as of the look.
    pub(crate) next: i64,
}

/// A column that is filled from a sequence.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) table: String,
    pub(super) column: String,
}

impl Sequence {
    pub(super) fn key(&self) -> String {
        format!("{}.{}", self.keyspace, self.name)
    }

    /// The largest value that a shard of the target has.
    pub(super) fn highest(user: &User, on: &Member) -> Query {
        highest(&on.db_name, &user.table, &user.column)
    }

    pub(super) fn value(&self, on: &Member) -> Query {
        value(&on.db_name, &self.name)
    }
}

pub(super) fn initialize_failure(on: &Member) -> String {
    format!("failed to initialize the backing sequence tables on tablet {}: ", on.primary.alias)
}

pub(super) fn highest_failure(on: &Member) -> String {
    let alias = &on.primary.alias;
    format!("failed to get the max used sequence values on tablet {alias} in order to initialize the backing sequence table: ")
}

/// What stands for each sequence's next value in a plan.
pub(crate) fn planned_values(sequences: &[Sequence]) -> BTreeMap<String, String> {
    sequences.iter().map(|it| (it.key(), format!("<next value of {}>", it.key()))).collect()
}

/// The lines of a dry run. Source: `switcher_dry_run.go:initializeTargetSequences`, v22 on.
pub(crate) fn lines(sequences: &[Sequence]) -> Vec<String> {
    let mut sequences: Vec<&Sequence> = sequences.iter().collect();
    sequences.sort_by(|a, b| (&a.name, &a.keyspace).cmp(&(&b.name, &b.keyspace)));
    let line = |it: &Sequence| format!("\tBacking table: {}, current value {}, new value {}", it.name, it.current, it.next);
    let head = "The following sequence backing tables used by tables being moved will be initialized:".to_owned();
    if sequences.is_empty() {
        return Vec::new();
    }
    std::iter::once(head).chain(sequences.into_iter().map(line)).collect()
}
