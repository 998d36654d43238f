//! Any one statement, from its text to its result: read by `parser.rs`, run by `engine.rs` or, if it writes, by `writes.rs`.

use sqlparser::ast::Statement;
use vtflow_planner::proto::query::QueryResult;

use super::{
    engine::{Engine, mysql},
    error::{MysqlError, TabletError},
    parser::parse_one,
    tables, writes,
};
use crate::{bounds, release::Release};

impl Engine {
    /// Runs one statement of any kind that MySQL would be given by a tablet, with `default_database` in use.
    ///
    /// # Errors
    ///
    /// MySQL's, or that more than `max_rows` rows came.
    pub fn execute(&mut self, sql: &str, default_database: Option<&str>, max_rows: u64) -> Result<QueryResult, TabletError> {
        let statement = parse_one(sql, Release::NEWEST).map_err(|error| mysql(syntax(sql, &error), sql))?;
        match statement {
            Statement::Query(query) => self.select(&query, sql, default_database, max_rows),
            Statement::CreateTable(wanted) => tables::create(self, &wanted, default_database).map_err(|error| mysql(error, sql)),
            statement => writes::execute(self, statement, default_database).map_err(|error| mysql(error, sql)),
        }
    }
}

fn syntax(sql: &str, error: &TabletError) -> MysqlError {
    if let Err(error) = bounds::check(sql) {
        return error;
    }
    let text = error.to_string();
    if text == "Query was empty" {
        return MysqlError { errno: 1065, sqlstate: "42000", text };
    }
    let near = text.rsplit_once("near '").map_or("", |(_, near)| near.trim_end_matches('\''));
    MysqlError::syntax(sql.find(near).filter(|_| !near.is_empty()).and_then(|at| sql.get(at..)).unwrap_or(""))
}
