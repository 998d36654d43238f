//! Sequences that are not ahead of the columns that take their values from them.

use super::{
    deviation::{Deviation, Mechanism as M},
    repair::{self, Action},
    text::listed,
};

/// A sequence as it was seen after its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Its keyspace.
    pub keyspace: String,
    /// The only shard of that.
    pub shard: String,
    /// The primary's alias.
    pub tablet: String,
    /// Its backing table.
    pub table: String,
    /// Its next value; 0: there is no row; `None`: there is no such table.
    pub next: Option<i64>,
    /// What takes its values. All that could be read.
    pub columns: Vec<Column>,
}

/// A column that takes its values from a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// `customer.corder`.
    pub table: String,
    /// Its name.
    pub column: String,
    /// The value after its largest one; of an empty table 1.
    pub next: i64,
}

impl Sequence {
    /// What is wrong with it; `None`: nothing. It was read after its columns, and a column has no value that its sequence has not
    /// given away before: so one that is ahead is never taken for one that is behind.
    pub fn deviation(&self) -> Option<Deviation> {
        let name = format!("{}.{}", self.keyspace, self.table);
        let behind: Vec<&Column> = self.columns.iter().filter(|it| self.next.is_none_or(|next| next < it.next)).collect();
        let next = behind.iter().map(|it| it.next).max()?;
        let tables: Vec<String> = behind.iter().map(|it| it.table.clone()).collect();
        let tables = listed(&tables);
        let Self { keyspace, shard, tablet, table, .. } = self.clone();
        let seen = match self.next {
            None => "is not there".into(),
            Some(0) => "has no row".into(),
            Some(next) => format!("goes on with {next}"),
        };
        let hurts = match self.next {
            None | Some(0) => format!("inserts into {tables} that take a value from {name} fail: it {seen}"),
            Some(_) => format!("inserts into {tables} fail as duplicates, or give a row the value of another: {name} {seen}"),
        };
        let column = |it: &&Column| {
            let Column { table, column, next } = it;
            if *next > 1 {
                format!("{table} has {column} up to {}", next - 1)
            } else {
                format!("{table} has no {column} above 0")
            }
        };
        let places = [format!("{keyspace}/{shard} {tablet} {table} {seen}")].into_iter().chain(behind.iter().map(column));
        let deviation = Deviation::new(M::SequenceBehind, hurts).at(places.collect::<Vec<_>>());
        // One that is not there is not raised: what should have been there somebody has to say.
        let raise = Action::RaiseSequence { keyspace, shard, tablet, table, next };
        Some(if self.next.is_some() { deviation.by(repair::in_place(vec![raise])) } else { deviation })
    }
}
