//! INSERT, UPDATE and DELETE on a tablet's tables as MySQL performs them: generated ids, changed rows counted by value, JSON
//! normalised, `now()` as a number in number columns.
//!
//! What a write to `vreplication` causes besides (controllers, logs, dependent rows) is `streams.rs`.

use std::collections::BTreeMap;

use rusqlite::types::Value as SqliteValue;
use sqlparser::{
    ast::{
        Assignment, AssignmentTarget, DoUpdate, Expr, FromTable, Ident, Insert, ObjectName, OnConflict, OnConflictAction,
        OnInsert, SetExpr, Statement, TableFactor, TableObject,
    },
    dialect::MySqlDialect,
    parser::Parser,
};
use vtflow_planner::proto::query::QueryResult;

use super::{
    engine::Engine,
    error::MysqlError,
    fields::{Shape, is_integer, types},
    rewrite::{Translated, translate_write},
    schema::{INFORMATION_SCHEMA, SIDECAR, Table},
    scope::{Scopes, parts},
    sqlite_error::from_sqlite,
    tables,
};

/// Runs a statement that writes.
///
/// # Errors
///
/// MySQL's; 1235 for statements that an embedded tablet does not run.
pub(crate) fn execute(engine: &Engine, statement: Statement, default_database: Option<&str>) -> Result<QueryResult, MysqlError> {
    let mut scopes = Scopes::new(&engine.catalog, default_database);
    match statement {
        Statement::Insert(insert) => {
            let TableObject::TableName(name) = insert.table.clone() else {
                return Err(MysqlError::unsupported("INSERT into this"));
            };
            scopes.enter_table(&name)?;
            let insert = prepare_insert(engine, insert, &name)?;
            if insert.on.is_some() {
                return insert_or_update(engine, insert, &name, scopes);
            }
            let named: Vec<String> = insert.columns.iter().filter_map(|column| parts(column).pop()).collect();
            let rows_affected = run(engine, &translate_write(Statement::Insert(insert), scopes)?).map_err(|error| {
                if named.is_empty() {
                    null_given(error, |_| true)
                } else {
                    null_given(error, |name| named.iter().any(|known| known == name))
                }
            })?;
            let last = engine.connection.last_insert_rowid();
            let counted = table(engine, &name).is_some_and(|table| table.columns.iter().any(|column| column.auto_increment));
            let first =
                if counted && rows_affected > 0 { u64::try_from(last).unwrap_or(0).saturating_sub(rows_affected - 1) } else { 0 };
            Ok(QueryResult {
                rows_affected,
                insert_id: first,
                insert_id_changed: first > 0 && engine.release().reports_insert_id_changed(),
                ..QueryResult::default()
            })
        }
        Statement::Update(mut update) => {
            let TableFactor::Table { name, alias: None, .. } = &update.table.relation else {
                return Err(MysqlError::unsupported("UPDATE of more than a table"));
            };
            if !update.order_by.is_empty() || update.limit.is_some() || !update.table.joins.is_empty() {
                return Err(MysqlError::unsupported("UPDATE with ORDER BY, LIMIT or JOIN"));
            }
            let name = name.clone();
            scopes.enter_table(&name)?;
            if let Some(table) = table(engine, &name) {
                prepare_assignments(table, &mut update.assignments);
            }
            let before = contents(engine, &name)?;
            run(engine, &translate_write(Statement::Update(update), scopes)?).map_err(|error| null_given(error, |_| true))?;
            let after = contents(engine, &name)?;
            let changed = after.iter().filter(|(id, row)| before.get(id) != Some(row)).count();
            Ok(QueryResult { rows_affected: u64::try_from(changed).unwrap_or(0), ..QueryResult::default() })
        }
        Statement::Delete(delete) => {
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            let name = match from.as_slice() {
                [table] if table.joins.is_empty() => match &table.relation {
                    TableFactor::Table { name, alias: None, .. } => name.clone(),
                    _ => return Err(MysqlError::unsupported("DELETE from this")),
                },
                _ => return Err(MysqlError::unsupported("DELETE from more than a table")),
            };
            if !delete.order_by.is_empty() || delete.limit.is_some() || !delete.tables.is_empty() {
                return Err(MysqlError::unsupported("DELETE with ORDER BY or LIMIT"));
            }
            scopes.enter_table(&name)?;
            let rows_affected = run(engine, &translate_write(Statement::Delete(delete), scopes)?)?;
            Ok(QueryResult { rows_affected, ..QueryResult::default() })
        }
        // The connection ends with the statement, and its locks with it; whom they would wait for does not write here.
        Statement::LockTables { .. } | Statement::UnlockTables | Statement::Flush { .. } => Ok(QueryResult::default()),
        Statement::Drop { object_type, if_exists, names, temporary: false, .. } => {
            tables::drop(engine, object_type, if_exists, &names, default_database)
        }
        Statement::RenameTable(renamed) => tables::rename(engine, &renamed, default_database),
        other => {
            let text = other.to_string();
            Err(MysqlError::unsupported(text.split_whitespace().next().unwrap_or("this")))
        }
    }
}

/// What is inserted counts once, what is changed instead twice, and what stays as it is not at all.
fn insert_or_update(engine: &Engine, insert: Insert, name: &ObjectName, scopes: Scopes<'_>) -> Result<QueryResult, MysqlError> {
    let before = contents(engine, name)?;
    run(engine, &translate_write(Statement::Insert(insert), scopes)?).map_err(|error| null_given(error, |_| true))?;
    let after = contents(engine, name)?;
    let count = |(id, row): (&i64, &Vec<SqliteValue>)| match before.get(id) {
        None => 1,
        Some(was) if was != row => 2,
        Some(_) => 0,
    };
    Ok(QueryResult { rows_affected: after.iter().map(count).sum(), ..QueryResult::default() })
}

/// SQLite does not tell a NULL that was given from a value that was not: MySQL has an error for each.
fn null_given(error: MysqlError, was_given: impl Fn(&str) -> bool) -> MysqlError {
    let column = error.text.split('\'').nth(1).unwrap_or("");
    if error.errno != 1364 || !was_given(column) {
        return error;
    }
    MysqlError { errno: 1048, sqlstate: "23000", text: format!("Column '{column}' cannot be null") }
}

fn run(engine: &Engine, statement: &Translated) -> Result<u64, MysqlError> {
    let changed = engine
        .check_stop()
        .and_then(|()| engine.connection.execute(&statement.sql, rusqlite::params_from_iter(&statement.params)))
        .map_err(|error| from_sqlite(&error, None))?;
    Ok(u64::try_from(changed).unwrap_or(0))
}

fn table<'a>(engine: &'a Engine, name: &ObjectName) -> Option<&'a Table> {
    match parts(name).as_slice() {
        [database, table] if ![SIDECAR, INFORMATION_SCHEMA].contains(&database.as_str()) => {
            engine.catalog.get(&format!("{database}.{table}"))
        }
        [.., table] => engine.catalog.get(table),
        [] => None,
    }
}

/// Every row of a table by SQLite's row id.
fn contents(engine: &Engine, name: &ObjectName) -> Result<BTreeMap<i64, Vec<SqliteValue>>, MysqlError> {
    // One that is not there has been refused before.
    let Some(table) = table(engine, name) else { return Ok(BTreeMap::new()) };
    let schema = match parts(name).as_slice() {
        // It is in the catalog, whose names are names.
        [own, _] if own != SIDECAR => format!("`{own}`"),
        _ => SIDECAR.to_owned(),
    };
    let statement = Translated { sql: format!("SELECT rowid, * FROM {schema}.{}", table.name.quoted()), params: Vec::new() };
    let rows = engine.run(&statement).map_err(|error| from_sqlite(&error, None))?;
    let keyed = rows.into_iter().filter_map(|mut row| match row.first() {
        Some(SqliteValue::Integer(id)) => {
            let id = *id;
            row.remove(0);
            Some((id, row))
        }
        _ => None,
    });
    Ok(keyed.collect())
}

/// `INSERT … SET` as VALUES, and every value in its column's form.
fn prepare_insert(engine: &Engine, mut insert: Insert, name: &ObjectName) -> Result<Insert, MysqlError> {
    if insert.replace_into || insert.ignore {
        return Err(MysqlError::unsupported("this form of INSERT"));
    }
    // Of the keys of a table here it can only be the one that there is.
    insert.on = match insert.on.take() {
        Some(OnInsert::DuplicateKeyUpdate(mut assignments)) => {
            if let Some(table) = table(engine, name) {
                prepare_assignments(table, &mut assignments);
            }
            let action = OnConflictAction::DoUpdate(DoUpdate { assignments, selection: None });
            Some(OnInsert::OnConflict(OnConflict { conflict_target: None, action }))
        }
        Some(_) => return Err(MysqlError::unsupported("this form of INSERT")),
        None => None,
    };
    let reparse = |text: &str| match Parser::parse_sql(&MySqlDialect {}, text).ok().and_then(|mut all| all.pop()) {
        Some(Statement::Insert(insert)) => Ok(insert),
        _ => Err(MysqlError::syntax(text)),
    };
    if !insert.assignments.is_empty() {
        let values = std::mem::take(&mut insert.assignments);
        // The list is made from parsed parts; the values are put in afterwards, so that nothing is printed and read again.
        let marks = vec!["NULL"; values.len()].join(", ");
        let mut with_values = reparse(&format!("INSERT INTO t VALUES ({marks})"))?;
        with_values.table = insert.table;
        with_values.columns = values.iter().filter_map(target).collect();
        if let Some(SetExpr::Values(list)) = with_values.source.as_mut().map(|source| &mut *source.body)
            && let Some(row) = list.rows.first_mut()
        {
            for (place, value) in row.iter_mut().zip(values) {
                *place = value.value;
            }
        }
        insert = with_values;
    }
    let Some(table) = table(engine, name) else { return Ok(insert) };
    let kinds: Vec<i32> = if insert.columns.is_empty() {
        table.columns.iter().map(|column| Shape::of(&column.mysql_type).kind).collect()
    } else {
        let kind = |column: &ObjectName| {
            let name = parts(column).pop().unwrap_or_default();
            let known = table.columns.iter().find(|known| known.name.eq_ignore_ascii_case(&name));
            known.map_or(types::TEXT, |known| Shape::of(&known.mysql_type).kind)
        };
        insert.columns.iter().map(kind).collect()
    };
    for column in &mut insert.columns {
        if let Some(last) = parts(column).pop() {
            *column = ObjectName::from(vec![Ident::with_quote('`', last)]);
        }
    }
    insert.into = true;
    if let Some(SetExpr::Values(list)) = insert.source.as_mut().map(|source| &mut *source.body) {
        for row in &mut list.rows {
            for (value, kind) in row.iter_mut().zip(&kinds) {
                fit(value, *kind);
            }
        }
    }
    Ok(insert)
}

fn target(assignment: &Assignment) -> Option<ObjectName> {
    match &assignment.target {
        AssignmentTarget::ColumnName(name) => Some(name.clone()),
        AssignmentTarget::Tuple(_) => None,
    }
}

fn prepare_assignments(table: &Table, assignments: &mut [Assignment]) {
    for assignment in assignments {
        let Some(name) = target(assignment).and_then(|name| parts(&name).pop()) else { continue };
        if let Some(column) = table.columns.iter().find(|column| column.name.eq_ignore_ascii_case(&name)) {
            fit(&mut assignment.value, Shape::of(&column.mysql_type).kind);
        }
        assignment.target = AssignmentTarget::ColumnName(ObjectName::from(vec![Ident::with_quote('`', name)]));
    }
}

/// Puts a value in the form that a column of this type stores.
fn fit(value: &mut Expr, kind: i32) {
    let wrap = |name: &str, args: &str, value: &Expr| {
        let mut call =
            Parser::new(&MySqlDialect {}).try_with_sql(&format!("{name}({args})")).and_then(|mut parser| parser.parse_expr());
        if let (Ok(Expr::Function(function)), false) = (&mut call, args.is_empty())
            && let sqlparser::ast::FunctionArguments::List(list) = &mut function.args
            && let Some(sqlparser::ast::FunctionArg::Unnamed(sqlparser::ast::FunctionArgExpr::Expr(place))) =
                list.args.first_mut()
        {
            *place = value.clone();
        }
        call.ok()
    };
    let new = match &*value {
        Expr::Function(function) if is_integer(kind) && function.name.to_string().eq_ignore_ascii_case("now") => {
            wrap("vt_now_number", "", value)
        }
        other if kind == types::JSON => wrap("vt_json", "NULL", other),
        _ => None,
    };
    if let Some(new) = new {
        *value = new;
    }
}
