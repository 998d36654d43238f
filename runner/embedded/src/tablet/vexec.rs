//! `VExec` of tablets up to v16: it reads schema migrations, and refuses in its own words what it does not.

use sqlparser::ast::{FromTable, SetExpr, Statement};
use vtflow_planner::proto::query::QueryResult;

use crate::{
    mysql::{
        engine::{Engine, MAX_ROWS},
        error::TabletError,
        parser::parse_one,
        schema::SIDECAR,
    },
    release::Release,
};

/// Runs its statement.
///
/// # Errors
///
/// It is about another table, or changes something.
pub(super) fn execute(engine: &mut Engine, query: &str, db_name: &str, release: Release) -> Result<QueryResult, TabletError> {
    let statement = parse_one(query, release)?;
    let (table, allowed) = match &statement {
        Statement::Query(select) => match &*select.body {
            SetExpr::Select(select) => (select.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), true),
            _ => (query.to_owned(), false),
        },
        Statement::Update(update) => (update.table.to_string(), true),
        Statement::Delete(delete) => match &delete.from {
            FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from) => {
                (from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), true)
            }
        },
        other => (other.to_string(), false),
    };
    if !allowed || table != format!("{SIDECAR}.schema_migrations") {
        return Err(TabletError::plain(format!("table not supported by vexec: {table}")));
    }
    match &statement {
        Statement::Query(_) => engine.execute(query, (!db_name.is_empty()).then_some(db_name), MAX_ROWS),
        Statement::Delete(_) => Err(TabletError::plain(format!("DELETE statements not supported for this table. query={query}"))),
        Statement::Update(update) => {
            let verb = update.assignments.iter().find(|assignment| assignment.target.to_string() == "migration_status");
            let verb = verb.map_or_else(String::new, |assignment| assignment.value.to_string());
            let verb = verb.trim_matches('\'');
            if !matches!(verb, "retry" | "cancel" | "cancel-all" | "complete") {
                return Err(TabletError::plain(format!(
                    "Unexpected value for migration_status: {verb}. Supported values are: retry, cancel"
                )));
            }
            Err(TabletError::plain("an embedded tablet does not control migrations by VExec; read them with a SELECT"))
        }
        _ => Err(TabletError::plain(format!("table not supported by vexec: {table}"))),
    }
}
