//! The table of schema migrations: a row for each and, where they differ, rows of its shards beneath.

use super::{MigrationLine, ShardState};
use crate::{
    table::{Kind, Line, Table},
    words::{known, seconds, some},
};

/// Names of shards in a cell.
const NAMES_SHOWN: usize = 3;

/// What has a row.
enum Entry<'a> {
    Migration(&'a MigrationLine),
    /// Shards of one that are alike.
    Shards(&'a MigrationLine, &'a ShardState, &'a [ShardState]),
}

impl Line for Entry<'_> {
    fn has_trouble(&self) -> bool {
        match self {
            Self::Migration(line) => line.has_trouble,
            Self::Shards(_, state, _) => state.has_trouble,
        }
    }

    fn is_beneath(&self) -> bool {
        matches!(self, Self::Shards(..))
    }
}

/// The lines as a table.
pub fn migration_table(lines: &[MigrationLine]) -> Table {
    let percent = |progress: Option<u8>| known(progress.map(|percent| format!("{percent}%")));
    let entries: Vec<Entry<'_>> = lines.iter().flat_map(entries).collect();
    Table::of(&entries)
        .column("Migration", Kind::Name(16), |entry| match entry {
            Entry::Migration(line) => line.uuid.clone(),
            Entry::Shards(_, _, alike) => {
                let names: Vec<&str> = alike.iter().map(|state| state.shard.as_str()).collect();
                some(&names, NAMES_SHOWN)
            }
        })
        .column("Table", Kind::Text(8), own(|line| line.table.clone()))
        .column("Action", Kind::Word, own(|line| line.action.clone()))
        .column("Status", Kind::Word, |entry| match entry {
            Entry::Migration(line) => line.status.clone(),
            Entry::Shards(_, state, _) => state.status.clone(),
        })
        .column("Done", Kind::Word, |entry| match entry {
            Entry::Migration(line) => percent(line.progress),
            Entry::Shards(_, state, _) => percent(state.progress),
        })
        .column("Shards", Kind::Word, own(|line| line.counted.clone()))
        .column("Age", Kind::Word, own(|line| seconds(line.age_seconds)))
        .column("Message", Kind::Note, |entry| match entry {
            Entry::Migration(line) => line.note.clone(),
            // What the migration's own line says already is not said again.
            Entry::Shards(line, state, _) if line.note.contains(&state.note) => String::new(),
            Entry::Shards(_, state, _) => state.note.clone(),
        })
        .table()
}

/// A cell in which its shards' rows have nothing.
fn own(cell: impl Fn(&MigrationLine) -> String) -> impl Fn(&Entry<'_>) -> String {
    move |entry| match entry {
        Entry::Migration(line) => cell(line),
        Entry::Shards(..) => String::new(),
    }
}

/// The migration itself and, when they differ, its shards.
fn entries(line: &MigrationLine) -> impl Iterator<Item = Entry<'_>> {
    let alike = line.shards.chunk_by(|a, b| (&a.status, a.progress, &a.note) == (&b.status, b.progress, &b.note));
    let shards = alike.filter_map(move |alike| Some(Entry::Shards(line, alike.first()?, alike)));
    std::iter::once(Entry::Migration(line)).chain(shards)
}
