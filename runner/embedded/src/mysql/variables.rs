//! The system variables that are read: `@@global.gtid_purged`. The others are not known here.
//!
//! A variable is what a snapshot says of it, and no statement changes it. Texts are MySQL's of 8.0 and later.

use rusqlite::{Connection, functions::FunctionFlags};
use sqlparser::ast::{Expr, Ident};

use super::error::MysqlError;
use crate::snapshot::TabletRows;

/// What answers for the variable in SQLite's SQL.
const FUNCTION: &str = "vt_gtid_purged";

/// Makes the variables known to a connection.
///
/// # Errors
/// Those of `SQLite`; none is expected.
pub(super) fn register(connection: &Connection, rows: &TabletRows) -> rusqlite::Result<()> {
    let purged = rows.gtid_purged.clone();
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function(FUNCTION, 0, flags, move |_| Ok(purged.clone()))
}

/// What a variable is called in SQLite's SQL; `None`: the expression is no variable.
///
/// # Errors
/// There is no such variable, or not in that scope.
pub(super) fn function(expr: &Expr) -> Result<Option<&'static str>, MysqlError> {
    let parts: &[Ident] = match expr {
        Expr::Identifier(ident) => std::slice::from_ref(ident),
        Expr::CompoundIdentifier(parts) => parts,
        _ => return Ok(None),
    };
    let is_variable = |ident: &Ident| ident.quote_style.is_none() && ident.value.starts_with("@@");
    if !parts.first().is_some_and(is_variable) {
        return Ok(None);
    }
    let parts: Vec<String> = parts.iter().map(|part| part.value.trim_start_matches("@@").to_ascii_lowercase()).collect();
    let (scope, name) = match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [name] => ("global", (*name).to_owned()),
        [scope, name] => (if *scope == "global" { "global" } else { "session" }, (*name).to_owned()),
        _ => ("global", parts.join(".")),
    };
    if name != "gtid_purged" {
        return Err(MysqlError { errno: 1193, sqlstate: "HY000", text: format!("Unknown system variable '{name}'") });
    }
    if scope != "global" {
        let text = "Variable 'gtid_purged' is a GLOBAL variable".to_owned();
        return Err(MysqlError { errno: 1238, sqlstate: "HY000", text });
    }
    Ok(Some(FUNCTION))
}
