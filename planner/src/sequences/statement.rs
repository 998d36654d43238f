//! What is asked of tablets about sequences, and what the answers say.

use super::name::escaped;
use crate::sidecar::{query::Query, result::RowSet};

/// MySQL's number for a table that does not exist.
pub(crate) const NO_TABLE: u16 = 1146;

/// `` `vt_customer`.`corder` ``.
fn full(db_name: &str, table: &str) -> String {
    format!("{}.{}", escaped(db_name), escaped(table))
}

/// The largest value that a column has there.
pub(crate) fn highest(db_name: &str, table: &str, column: &str) -> Query {
    let statement = format!("select max({}) as maxval from {}", escaped(column), full(db_name, table));
    Query::dba_row("largest value", statement, db_name)
}

/// The next value of a sequence, by its backing table.
pub(crate) fn value(db_name: &str, table: &str) -> Query {
    Query::dba_row("sequence", format!("select next_id from {} where id = 0", full(db_name, table)), db_name)
}

/// The statement that raises a sequence to a next value if it is below, and the one that has a row once it is not.
pub(crate) fn raise(db_name: &str, table: &str, next: &str) -> (Query, Query) {
    let full = full(db_name, table);
    let statement = format!(
        "insert into {full} (id, next_id, cache) values (0, {next}, 1000) on duplicate key update next_id = if(next_id < {next}, {next}, \
         next_id)"
    );
    let look = format!("select next_id from {full} where id = 0 and next_id >= {next}");
    let raise = Query::dba_row("raise sequence", statement, db_name).that_writes();
    (raise, Query::dba_row("look again", look, db_name))
}

/// The value after the largest one: of an answer to [`highest`].
///
/// # Errors
/// There is none after it, or the column holds no whole numbers.
pub(crate) fn next_value(response: &[u8]) -> Result<i64, String> {
    let rows = RowSet::from_execute_fetch(response).map_err(|error| error.to_string())?;
    let Some(largest) = rows.rows().next().and_then(|row| row.at(0)) else { return Ok(1) };
    let text = String::from_utf8_lossy(largest);
    let largest: i128 = text.parse().map_err(|_| format!("the largest value is no whole number: {text:?}"))?;
    i64::try_from(largest.max(0) + 1).map_err(|_| format!("no sequence can go on after {largest}"))
}

/// The next value in a sequence's row, of the answer to the statement that reads it ([`super::Read`]); 0: it has none.
///
/// # Errors
/// It is no whole number.
pub fn current(response: &[u8]) -> Result<i64, String> {
    let rows = RowSet::from_execute_fetch(response).map_err(|error| error.to_string())?;
    let Some(value) = rows.rows().next().and_then(|row| row.at(0)) else { return Ok(0) };
    let text = String::from_utf8_lossy(value);
    text.parse().map_err(|_| format!("next_id is no whole number: {text:?}"))
}
