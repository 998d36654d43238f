//! A list as a table: headings, cells, and what is in trouble.
//!
//! How wide a column is, what gives way where there is no room and how trouble looks is the host's matter. Each list has one function that makes
//! its table, beside its lines; a column is one entry there, its heading and its cell together.

use serde::Serialize;

/// Rows under headings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The columns, in their order.
    pub columns: Vec<Column>,
    /// The rows, in their order.
    pub rows: Vec<Row>,
}

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its heading, such as `Denied tables`.
    pub heading: &'static str,
    /// What its cells are.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What the cells of a column are, which says what may become of them where there is no room. Where a kind has a number, so many characters at
/// least tell one cell from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "least", rename_all = "snake_case")]
pub enum Kind {
    /// A number, a state or another short word: a part of it would say something else.
    Word,
    /// A text that its head and its tail tell from others.
    Text(usize),
    /// The same, and people copy it: the last to be shortened.
    Name(usize),
    /// Prose, of any length. At most one column, the last.
    Note,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// A cell for each column.
    pub cells: Vec<String>,
    /// Whether what it is about is in trouble.
    pub has_trouble: bool,
    /// Whether it says more of the row above.
    pub is_beneath: bool,
    /// The keyspace of which there is more to see; `None` when it is seen already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
}

/// How much of a long list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The first few, and how many more there are.
    Some,
    /// All of it.
    All,
}

impl Extent {
    /// How many are shown, of a list that is cut to so many.
    pub(crate) fn of(self, few: usize) -> usize {
        match self {
            Self::Some => few,
            Self::All => usize::MAX,
        }
    }
}

/// What has a row in a table.
pub(crate) trait Line {
    /// As [`Row::has_trouble`].
    fn has_trouble(&self) -> bool;

    /// As [`Row::is_beneath`].
    fn is_beneath(&self) -> bool {
        false
    }

    /// As [`Row::keyspace`].
    fn keyspace(&self) -> Option<&str> {
        None
    }
}

/// A table that is being made: its rows are there, columns are added one by one.
pub(crate) struct Listed<'a, L> {
    lines: &'a [L],
    table: Table,
}

impl Table {
    /// A row for each line, without columns yet.
    pub(crate) fn of<L: Line>(lines: &[L]) -> Listed<'_, L> {
        let row = |line: &L| Row {
            cells: Vec::new(),
            has_trouble: line.has_trouble(),
            is_beneath: line.is_beneath(),
            keyspace: line.keyspace().map(str::to_owned),
        };
        Listed { lines, table: Self { columns: Vec::new(), rows: lines.iter().map(row).collect() } }
    }
}

impl<L> Listed<'_, L> {
    /// With one more column, the last: its heading, what its cells are, and how that of a line reads.
    pub(crate) fn column(mut self, heading: &'static str, kind: Kind, cell: impl Fn(&L) -> String) -> Self {
        self.table.columns.push(Column { heading, kind });
        for (row, line) in self.table.rows.iter_mut().zip(self.lines) {
            row.cells.push(cell(line));
        }
        self
    }

    /// With all its columns.
    pub(crate) fn table(self) -> Table {
        self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Line for (&str, u8) {
        fn has_trouble(&self) -> bool {
            self.1 > 1
        }
    }

    #[test]
    fn a_host_gets_headings_kinds_and_cells() {
        let table = Table::of(&[("a", 0), ("b", 2)])
            .column("Name", Kind::Name(8), |(name, _)| (*name).to_owned())
            .column("Faults", Kind::Word, |(_, n)| n.to_string())
            .table();
        let row = |cells: [&str; 2], has_trouble| serde_json::json!({ "cells": cells, "has_trouble": has_trouble, "is_beneath": false });
        let want = serde_json::json!({
            "columns": [{ "heading": "Name", "kind": "name", "least": 8 }, { "heading": "Faults", "kind": "word" }],
            "rows": [row(["a", "0"], false), row(["b", "2"], true)],
        });
        assert_eq!(serde_json::to_value(&table).unwrap(), want);
    }
}
