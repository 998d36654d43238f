//! MySQL's errors in place of SQLite's.

use sqlparser::ast::{Expr, Query, SelectItem, SetExpr};

use super::error::MysqlError;

/// What MySQL would say where SQLite says this.
pub(crate) fn from_sqlite(error: &rusqlite::Error, query: Option<&Query>) -> MysqlError {
    let text = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    };
    let after = |prefix: &str| text.strip_prefix(prefix).map(|rest| rest.trim_matches('`').to_owned());
    if let Some(name) = after("no such column: ") {
        return MysqlError::unknown_column(&name, clause_of(&name, query));
    }
    if let Some(name) = text.split_once(" has no column named ").map(|(_, name)| name) {
        return MysqlError::unknown_column(name.trim_matches('`'), "field list");
    }
    if let Some(name) = after("ambiguous column name: ") {
        let text = format!("Column '{name}' in {} is ambiguous", clause_of(&name, query));
        return MysqlError { errno: 1052, sqlstate: "23000", text };
    }
    if let Some(column) = after("NOT NULL constraint failed: ") {
        let column = column.rsplit('.').next().unwrap_or(&column);
        let text = format!("Field '{column}' doesn't have a default value");
        return MysqlError { errno: 1364, sqlstate: "HY000", text };
    }
    if let Some(columns) = after("UNIQUE constraint failed: ") {
        let text = format!("Duplicate entry for key '{columns}'");
        return MysqlError { errno: 1062, sqlstate: "23000", text };
    }
    if text == "interrupted" {
        let text = "Query execution was interrupted, maximum statement execution time exceeded".to_owned();
        return MysqlError { errno: 3024, sqlstate: "HY000", text };
    }
    if text.starts_with("misuse of aggregate") {
        return MysqlError { errno: 1111, sqlstate: "HY000", text: "Invalid use of group function".to_owned() };
    }
    if text.starts_with("Invalid JSON text") {
        return MysqlError { errno: 3140, sqlstate: "22032", text };
    }
    MysqlError { errno: 1105, sqlstate: "HY000", text }
}

fn clause_of(name: &str, query: Option<&Query>) -> &'static str {
    let Some(query) = query else { return "field list" };
    let is_named = |expr: &Expr| expr.to_string().replace('`', "") == name;
    let in_list = match &*query.body {
        SetExpr::Select(select) => select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                expr.to_string().replace('`', "").contains(name)
            }
            _ => false,
        }),
        _ => false,
    };
    let in_order = query.order_by.as_ref().is_some_and(|order| match &order.kind {
        sqlparser::ast::OrderByKind::Expressions(items) => items.iter().any(|item| is_named(&item.expr)),
        sqlparser::ast::OrderByKind::All(_) => false,
    });
    if in_list {
        "field list"
    } else if in_order {
        "order clause"
    } else {
        "where clause"
    }
}
