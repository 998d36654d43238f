//! Rows of `_vt.copy_state`: how far the copy of each table has come.
//!
//! It does not know to which workflow a stream belongs.
//!
//! Facts: `go/vt/sidecardb/schema/vreplication/copy_state.sql`; from v16 on the table is a history of which the row with the
//! highest id counts (`go/vt/vttablet/tabletmanager/vreplication/vcopier.go`), before it had one row for each table and no id.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    formats::RowError,
    sidecar::{Row, RowSet, result::Column},
};

/// One row: a table that is not copied yet, or not to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStateRow<'a> {
    /// Grows with every row written; v16 on.
    pub id: Option<i64>,
    /// The stream's id on its tablet.
    pub stream: i64,
    /// The table's name.
    pub table: Cow<'a, str>,
    /// The last copied row's primary key, a `query.QueryResult` in text format; empty: nothing copied yet.
    pub last_pk: Cow<'a, str>,
    /// Why there is no id though there is a column for it.
    pub fault: Option<RowError>,
}

/// The columns of a result whose rows are copy states, each looked up once.
pub(crate) struct Columns {
    id: Column,
    stream: Column,
    table: Column,
    last_pk: Column,
}

impl Columns {
    pub(crate) fn of(set: &RowSet) -> Self {
        let column = |name| set.column(name);
        Self { id: column("id"), stream: column("vrepl_id"), table: column("table_name"), last_pk: column("lastpk") }
    }
}

impl<'a> CopyStateRow<'a> {
    /// Reads one row of `select * from _vt.copy_state`, of any release.
    ///
    /// # Errors
    /// `vrepl_id` is missing or no integer: nobody can say whose row it is.
    pub fn read(row: &Row<'a>) -> Result<Self, RowError> {
        Self::read_at(row, &Columns::of(row.set()))
    }

    /// The same, of one of many rows of a result.
    ///
    /// # Errors
    /// As [`CopyStateRow::read`].
    pub(crate) fn read_at(row: &Row<'a>, columns: &Columns) -> Result<Self, RowError> {
        let stream = row.integer_of(columns.stream)?.ok_or_else(|| RowError::new("vrepl_id", "no such column", b""))?;
        let id = row.integer_of(columns.id);
        Ok(Self {
            id: id.as_ref().ok().copied().flatten(),
            stream,
            table: row.text_of(columns.table),
            last_pk: row.text_of(columns.last_pk),
            fault: id.err(),
        })
    }
}

/// The newest row for each table of each stream, in the order in which the tables first appear. Rows without an id are kept as
/// they are.
pub fn newest(rows: Vec<CopyStateRow<'_>>) -> Vec<CopyStateRow<'_>> {
    let mut places: BTreeMap<(i64, Cow<'_, str>), usize> = BTreeMap::new();
    let mut out: Vec<CopyStateRow<'_>> = Vec::with_capacity(rows.len());
    for row in rows {
        if row.id.is_none() {
            out.push(row);
            continue;
        }
        let next = out.len();
        let place = *places.entry((row.stream, row.table.clone())).or_insert(next);
        match out.get_mut(place) {
            Some(kept) if kept.id < row.id => *kept = row,
            Some(_) => {}
            None => out.push(row),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(id: Option<i64>, stream: i64, table: &'a str, last_pk: &'a str) -> CopyStateRow<'a> {
        CopyStateRow { id, stream, table: table.into(), last_pk: last_pk.into(), fault: None }
    }

    #[test]
    fn the_highest_id_of_a_stream_and_table_counts() {
        let rows = vec![
            row(Some(1), 7, "b", ""),
            row(Some(4), 7, "a", "4"),
            row(Some(9), 7, "b", "9"),
            row(Some(3), 7, "a", "3"),
            row(Some(5), 8, "b", "5"),
            row(Some(5), 8, "b", "again"),
        ];
        assert_eq!(newest(rows), [row(Some(9), 7, "b", "9"), row(Some(4), 7, "a", "4"), row(Some(5), 8, "b", "5")]);
    }

    #[test]
    fn rows_of_old_releases_are_kept() {
        let rows = vec![row(None, 1, "t", "2"), row(None, 1, "s", ""), row(None, 2, "t", "")];
        assert_eq!(newest(rows.clone()), rows);
    }
}
