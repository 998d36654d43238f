//! Rows of `_vt.copy_state`: how far the copy of each table has come.
//!
//! It does not know to which workflow a stream belongs.
//!
//! Facts: `go/vt/sidecardb/schema/vreplication/copy_state.sql`; from v16 on the table is a history of which the row with the
//! highest id counts (`go/vt/vttablet/tabletmanager/vreplication/vcopier.go`), before it had one row for each table and no id.

use std::collections::BTreeMap;

use crate::{formats::RowError, sidecar::Row};

/// One row: a table that is not copied yet, or not to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStateRow {
    /// Grows with every row written; v16 on.
    pub id: Option<i64>,
    /// The stream's id on its tablet.
    pub stream: i64,
    /// The table's name.
    pub table: String,
    /// The last copied row's primary key, a `query.QueryResult` in text format; empty: nothing copied yet.
    pub last_pk: String,
    /// Why there is no id though there is a column for it.
    pub fault: Option<RowError>,
}

impl CopyStateRow {
    /// Reads one row of `select * from _vt.copy_state`, of any release.
    ///
    /// # Errors
    /// `vrepl_id` is missing or no integer: nobody can say whose row it is.
    pub fn read(row: &Row<'_>) -> Result<Self, RowError> {
        let stream = row.integer("vrepl_id")?.ok_or_else(|| RowError::new("vrepl_id", "no such column", b""))?;
        let id = row.integer("id");
        Ok(Self {
            id: id.as_ref().ok().copied().flatten(),
            stream,
            table: row.text("table_name"),
            last_pk: row.text("lastpk"),
            fault: id.err(),
        })
    }
}

/// The newest row for each table of each stream, in the order in which the tables first appear. Rows without an id are kept as
/// they are.
pub fn newest(rows: Vec<CopyStateRow>) -> Vec<CopyStateRow> {
    let mut places: BTreeMap<(i64, String), usize> = BTreeMap::new();
    let mut out: Vec<CopyStateRow> = Vec::with_capacity(rows.len());
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

    fn row(id: Option<i64>, stream: i64, table: &str, last_pk: &str) -> CopyStateRow {
        CopyStateRow { id, stream, table: table.to_owned(), last_pk: last_pk.to_owned(), fault: None }
    }

    #[test]
    fn the_highest_id_of_a_stream_and_table_counts() {
        let rows = vec![
            row(Some(1), 7, "b", ""),
            row(Some(4), 7, "a", "4"),
            row(Some(9), 7, "b", "9"),
            row(Some(3), 7, "a", "3"),
            row(Some(5), 8, "b", "5"),
        ];
        assert_eq!(newest(rows), [row(Some(9), 7, "b", "9"), row(Some(4), 7, "a", "4"), row(Some(5), 8, "b", "5")]);
    }

    #[test]
    fn rows_of_old_releases_are_kept() {
        let rows = vec![row(None, 1, "t", "2"), row(None, 1, "s", ""), row(None, 2, "t", "")];
        assert_eq!(newest(rows.clone()), rows);
    }
}
