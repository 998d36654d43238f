//! The tables of a primary's database, as far as they are dropped, renamed and looked for.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

/// Columns and rows of an answer.
type Rows = Option<(Vec<&'static str>, Vec<Vec<String>>)>;

/// Performs one statement on tables, each with whether it is a view.
///
/// # Errors
/// What MySQL says, with its number.
pub(super) fn execute(tables: &mut BTreeMap<String, bool>, query: &str) -> Result<Rows, String> {
    let unknown = |table: &str| format!("Unknown table '{table}' (errno 1051) (sqlstate 42S02) during query: {query}");
    if let Some(rest) = query.strip_prefix("drop ") {
        let (kind, name) = rest.split_once(' ').expect("a name");
        let table = unqualified(name);
        return match tables.get(&table) {
            Some(is_view) if *is_view == (kind == "view") => {
                tables.remove(&table);
                Ok(None)
            }
            _ => Err(unknown(&table)),
        };
    }
    if let Some(rest) = query.strip_prefix("rename table ") {
        let (from, to) = rest.split_once(" TO ").expect("two names");
        let (from, to) = (unqualified(from), unqualified(to));
        if tables.contains_key(&to) {
            return Err(format!("Table '{to}' already exists (errno 1050) (sqlstate 42S01) during query: {query}"));
        }
        let Some(is_view) = tables.remove(&from) else {
            return Err(format!("Table '{from}' doesn't exist (errno 1146) (sqlstate 42S02) during query: {query}"));
        };
        tables.insert(to, is_view);
        return Ok(None);
    }
    if query.starts_with("select table_name, table_type from information_schema.tables where table_schema = ") {
        let of_type = |is_view: bool| if is_view { "VIEW" } else { "BASE TABLE" };
        let rows = tables.iter().map(|(table, is_view)| vec![table.clone(), of_type(*is_view).to_owned()]);
        return Ok(Some((vec!["table_name", "table_type"], rows.collect())));
    }
    if let Some((_, table)) = query.split_once(" and table_name = '") {
        let table = table.trim_end_matches('\'');
        let rows = tables.keys().filter(|it| *it == table).map(|it| vec![it.clone()]).collect();
        return Ok(Some((vec!["table_name"], rows)));
    }
    Ok(None)
}

/// `` `db`.`table` `` without its database.
fn unqualified(name: &str) -> String {
    name.split_once("`.`").expect("a database").1.trim_end_matches('`').to_owned()
}
