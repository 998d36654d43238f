//! Sequences of a primary, and the largest values of its tables' columns.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use vtflow_planner::proto::query::{Field, QueryResult, Row};

use super::live::Server;

/// Performs one statement that is about them; `None`: it is not.
pub(super) fn execute(server: &mut Server, query: &str) -> Option<Result<QueryResult, String>> {
    if let Some(rest) = query.strip_prefix("select max(") {
        let (column, rest) = rest.split_once(") as maxval from ").expect("a table");
        let (_, table) = rest.split_once('.').expect("a database");
        let value = server.highest.get(&format!("{}.{}", bare(table), bare(column)));
        return Some(Ok(rows("maxval", vec![value.cloned()])));
    }
    if let Some(rest) = query.strip_prefix("select next_id from ") {
        let (table, condition) = rest.split_once(" where id = 0").expect("a row");
        let least: i64 = condition.strip_prefix(" and next_id >= ").map_or(0, |least| least.parse().expect("a number"));
        return Some(match server.sequences.get(&name(table)) {
            None => Err(no_table(table)),
            Some(value) => {
                Ok(rows("next_id", value.filter(|it| *it >= least).map(|it| Some(it.to_string())).into_iter().collect()))
            }
        });
    }
    if let Some(rest) = query.strip_prefix("insert into `") {
        let (table, rest) = rest.split_once(" (id, next_id, cache) values (0, ").expect("a sequence");
        let (value, rest) = rest.split_once(", 1000) on duplicate key update next_id = ").expect("a row");
        assert_eq!(rest, format!("if(next_id < {value}, {value}, next_id)"), "it is never lowered");
        let value: i64 = value.parse().expect("a number");
        let table = format!("`{table}");
        return Some(match server.sequences.get_mut(&name(&table)) {
            None => Err(no_table(&table)),
            Some(now) => {
                *now = Some(now.map_or(value, |now| now.max(value)));
                Ok(QueryResult::default())
            }
        });
    }
    if let Some(rest) = query.strip_prefix("create table if not exists ") {
        let (table, rest) = rest.split_once(' ').expect("columns");
        assert_eq!(rest, "(id int, next_id bigint, cache bigint, primary key(id)) comment 'vitess_sequence'");
        server.sequences.entry(bare(table)).or_default();
        return Some(Ok(QueryResult::default()));
    }
    let (_, table) = query.split_once(" and table_name = '")?;
    let table = table.trim_end_matches('\'');
    server.sequences.contains_key(table).then(|| Ok(rows("table_name", vec![Some(table.to_owned())])))
}

fn no_table(table: &str) -> String {
    format!("Table '{table}' doesn't exist (errno 1146) (sqlstate 42S02) during query: select")
}

/// `` `db`.`table` `` without its database.
fn name(table: &str) -> String {
    bare(table.split_once("`.`").expect("a database").1)
}

fn bare(name: &str) -> String {
    name.trim_matches('`').to_owned()
}

fn rows(column: &str, values: Vec<Option<String>>) -> QueryResult {
    let row = |value: Option<String>| Row {
        lengths: vec![value.as_ref().map_or(-1, |value| i64::try_from(value.len()).expect("short"))],
        values: value.unwrap_or_default().into_bytes(),
    };
    QueryResult {
        fields: vec![Field { name: column.as_bytes().to_vec(), r#type: 265, ..Field::default() }],
        rows: values.into_iter().map(row).collect(),
        ..QueryResult::default()
    }
}
