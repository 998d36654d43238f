//! The tables of `VDiff`s: of all, and of the parts of one.

use super::{VDiffLine, VDiffShard, VDiffSummary, VDiffTable};
use crate::{
    table::{Kind, Line, Table},
    words::{count, duration, known},
};

impl Line for VDiffLine {
    fn has_trouble(&self) -> bool {
        self.has_trouble
    }
}

impl Line for VDiffShard {
    fn has_trouble(&self) -> bool {
        self.has_trouble
    }
}

impl Line for VDiffTable {
    fn has_trouble(&self) -> bool {
        self.has_trouble
    }
}

/// The lines as a table.
pub fn vdiff_list_table(lines: &[VDiffLine]) -> Table {
    Table::of(lines)
        .column("VDiff", Kind::Name(16), |line| line.uuid.clone())
        .column("Shard", Kind::Word, |line| line.shard.clone())
        .column("State", Kind::Word, |line| line.state.clone())
        .column("Started", Kind::Word, |line| known(line.age_seconds.map(|age| format!("{} ago", duration(age)))))
        .column("Note", Kind::Note, |line| line.note.clone())
        .table()
}

/// The parts of one: that of each shard, then, if there are any, that of each table.
pub fn vdiff_tables(of: &VDiffSummary) -> Vec<Table> {
    let mut uuids = of.by_shard.iter().map(|part| part.uuid.to_lowercase()).filter(|uuid| !uuid.is_empty());
    let first = uuids.next();
    let shards = Table::of(&of.by_shard);
    let shards =
        if uuids.any(|uuid| Some(uuid) != first) { shards.column("VDiff", Kind::Word, |part| part.uuid.clone()) } else { shards };
    let shards = shards
        .column("Shard", Kind::Word, |part| part.shard.clone())
        .column("State", Kind::Word, |part| part.state.clone())
        .column("Rows", Kind::Word, |part| part.rows.clone())
        .column("Note", Kind::Note, |part| part.note.clone())
        .table();
    if of.tables.is_empty() {
        return vec![shards];
    }
    let tables = Table::of(&of.tables)
        .column("Table", Kind::Text(12), |table| table.table.clone())
        .column("State", Kind::Word, |table| table.state.clone())
        .column("Rows", Kind::Word, |table| count(table.rows_compared))
        .column("Note", Kind::Note, |table| table.note.clone())
        .table();
    vec![shards, tables]
}

impl VDiffSummary {
    /// What there is to say of it as a whole, a line each: the verdict, the notes, its times.
    pub fn lines(&self) -> Vec<String> {
        let ago = self.age_seconds.map_or_else(String::new, |age| format!(", {} ago", duration(age)));
        let times = [("started", &self.started_at, ago.as_str()), ("completed", &self.completed_at, "")];
        let times = times.into_iter().filter(|(_, time, _)| !time.is_empty());
        let said = std::iter::once(&self.verdict).chain(&self.notes).filter(|text| !text.is_empty()).cloned();
        said.chain(times.map(|(what, time, ago)| format!("{what} {time} UTC{ago}"))).collect()
    }
}
