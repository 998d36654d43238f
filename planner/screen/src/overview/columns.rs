//! The table of all keyspaces: a row for each, and rows of what is in trouble there beneath.

use super::{OverviewLine, Troubled};
use crate::{
    table::{Extent, Kind, Line, Table},
    words::known,
};

/// What an overview counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Workflows.
    Workflows,
    /// Schema migrations.
    Migrations,
}

/// How much of what is in trouble is shown of a keyspace, unless all is wanted.
const TROUBLED_SHOWN: usize = 5;

/// What has a row.
enum Entry<'a> {
    Keyspace(&'a OverviewLine),
    Troubled(&'a Troubled),
    /// So many more are in trouble.
    More(usize),
}

impl Line for Entry<'_> {
    fn has_trouble(&self) -> bool {
        match self {
            Self::Keyspace(line) => line.has_trouble,
            Self::Troubled(_) | Self::More(_) => true,
        }
    }

    fn is_beneath(&self) -> bool {
        !matches!(self, Self::Keyspace(_))
    }

    fn keyspace(&self) -> Option<&str> {
        match self {
            Self::Keyspace(line) => Some(&line.keyspace),
            Self::Troubled(_) | Self::More(_) => None,
        }
    }
}

/// The lines as a table: a row for each keyspace, and beneath it one for each thing in trouble. `troubled`: how many of them.
pub fn overview_table(lines: &[OverviewLine], counted: Counted, troubled: Extent) -> Table {
    let heading = match counted {
        Counted::Workflows => "Workflows",
        Counted::Migrations => "Migrations",
    };
    let entries: Vec<Entry<'_>> = lines.iter().flat_map(|line| entries(line, troubled)).collect();
    Table::of(&entries)
        .column("Keyspace", Kind::Name(16), |entry| match entry {
            Entry::Keyspace(line) => line.keyspace.clone(),
            Entry::Troubled(it) => it.name.clone(),
            Entry::More(more) => format!("and {more} more"),
        })
        .column(heading, Kind::Text(11), |entry| match entry {
            Entry::Keyspace(line) => known(line.count.map(|count| count.to_string())),
            Entry::Troubled(it) => it.kind.clone(),
            Entry::More(_) => String::new(),
        })
        .column("State", Kind::Word, |entry| match entry {
            Entry::Keyspace(line) => line.state.clone(),
            Entry::Troubled(it) => it.state.clone(),
            Entry::More(_) => String::new(),
        })
        .column("Note", Kind::Note, |entry| match entry {
            Entry::Keyspace(line) => {
                [line.note.as_str(), &line.kinds].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
            }
            Entry::Troubled(it) => it.note.clone(),
            Entry::More(_) => String::new(),
        })
        .table()
}

/// The keyspace itself, and what is in trouble there.
fn entries(line: &OverviewLine, troubled: Extent) -> impl Iterator<Item = Entry<'_>> {
    let shown = troubled.of(TROUBLED_SHOWN);
    let more = line.troubled.len().saturating_sub(shown);
    let beneath = line.troubled.iter().take(shown).map(Entry::Troubled).chain((more > 0).then_some(Entry::More(more)));
    std::iter::once(Entry::Keyspace(line)).chain(beneath)
}
