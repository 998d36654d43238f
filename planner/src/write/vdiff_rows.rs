//! The rows that tablets have of `VDiff`s, as a write looks at them.
//!
//! By `ExecuteFetchAsDba`: `VReplicationExec` knows no table of theirs. Facts: `go/vt/vttablet/tabletmanager/vdiff/schema.go`, v14 to v24.

use crate::{
    sidecar::{
        query::Query,
        result::{Row, RowSet},
        survey::Looked,
    },
    write::seen::Seen,
};

/// Rows of `_vt.vdiff` that are looked at, the newest: one cannot say of more than that, and no tablet keeps as many.
const ROWS: usize = 1_000;

/// Columns that every release has.
const COLUMNS: [&str; 6] = ["vdiff_uuid", "keyspace", "workflow", "state", "started_at", "completed_at"];

/// One row of `_vt.vdiff`.
pub(super) struct VDiff {
    pub(super) uuid: String,
    pub(super) keyspace: String,
    pub(super) workflow: String,
    pub(super) state: String,
    pub(super) started_at: String,
    pub(super) completed_at: String,
}

/// Asks for the newest of those that a condition selects.
pub(super) fn query(condition: &str, db_name: &str) -> Query {
    let columns = COLUMNS.join(", ");
    let statement = format!("select {columns} from _vt.vdiff where {condition} order by id desc limit {ROWS}");
    Query::dba("vdiffs", statement, db_name)
}

/// Asks for the states of their tables, each once.
pub(super) fn tables_query(condition: &str, db_name: &str) -> Query {
    let ids = format!("select id from _vt.vdiff where {condition}");
    let statement = format!("select distinct state from _vt.vdiff_table where vdiff_id in ({ids}) limit {ROWS}");
    Query::dba("vdiff tables", statement, db_name)
}

/// The rows that one question brought.
fn answered(seen: &Seen, look: usize) -> Result<RowSet, String> {
    let alias = &seen.target.address.alias;
    match seen.looked.get(look) {
        Some(Looked::Called(bytes)) => {
            RowSet::from_execute_fetch(bytes).map_err(|error| format!("the answer of {alias} cannot be read: {error}"))
        }
        Some(Looked::Refused(_, text)) => Err(text.clone()),
        _ => Err(format!("{alias} was not asked for its VDiffs")),
    }
}

/// The `VDiff`s of a target, as far as they were looked for; the oldest first.
pub(super) fn vdiffs(seen: &Seen, look: usize) -> Result<Vec<VDiff>, String> {
    let set = answered(seen, look)?;
    if let Some(column) = COLUMNS.iter().find(|column| !set.has_column(column)) {
        return Err(format!("the VDiffs of {} have no column {column}", seen.target.address.alias));
    }
    let read = |row: Row<'_>| VDiff {
        uuid: row.text("vdiff_uuid"),
        keyspace: row.text("keyspace"),
        workflow: row.text("workflow"),
        state: row.text("state"),
        started_at: row.text("started_at"),
        completed_at: row.text("completed_at"),
    };
    Ok(set.rows().rev().map(read).collect())
}

/// The states of a `VDiff`'s tables, each once.
pub(super) fn tables(seen: &Seen, look: usize) -> Result<Vec<String>, String> {
    Ok(answered(seen, look)?.rows().map(|row| row.text("state")).collect())
}
