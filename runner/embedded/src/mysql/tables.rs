//! DROP TABLE, DROP VIEW and RENAME TABLE: they change what the server says of its tables, which is all that is known of most of them here;
//! and CREATE TABLE of a sequence.
//!
//! A snapshot has rows of few of a keyspace's own tables, and no definitions. Numbers and texts are MySQL's of 8.0 and later, which drops all
//! tables of a statement or none.

use rusqlite::types::Value as SqliteValue;
use sqlparser::ast::{CreateTable, ObjectName, ObjectType, RenameTable};
use vtflow_planner::proto::query::QueryResult;

use super::{
    engine::{Engine, sqlite_ddl},
    error::MysqlError,
    rewrite::Translated,
    schema::{BASE_TABLE, INFORMATION_SCHEMA, SIDECAR, VIEW, own_table},
    scope::parts,
    sqlite_error::from_sqlite,
};
use crate::{
    bounds,
    snapshot::{ColumnDecl, TableRows},
};

/// A table of a database.
struct Named {
    database: String,
    table: String,
}

impl Named {
    /// # Errors
    /// It is no name of a table, or one of a database whose tables are not dropped.
    fn of(name: &ObjectName, default_database: Option<&str>) -> Result<Self, MysqlError> {
        let mut parts = parts(name);
        let table = parts.pop().unwrap_or_default();
        let database = match (parts.pop(), parts.is_empty()) {
            (Some(database), true) => database,
            (None, _) => default_database.ok_or_else(MysqlError::no_database)?.to_owned(),
            (Some(_), false) => return Err(MysqlError::syntax(&name.to_string())),
        };
        if [SIDECAR, INFORMATION_SCHEMA].iter().any(|own| database.eq_ignore_ascii_case(own)) {
            return Err(MysqlError::unsupported(&format!("another {database}")));
        }
        Ok(Self { database, table })
    }

    fn text(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }

    fn values(&self) -> Vec<SqliteValue> {
        vec![SqliteValue::Text(self.database.clone()), SqliteValue::Text(self.table.clone())]
    }

    /// What it is; `None`: it is not there.
    fn kind(&self, engine: &Engine) -> Result<Option<String>, MysqlError> {
        let sql = format!("SELECT TABLE_TYPE FROM {INFORMATION_SCHEMA}.tables WHERE {THIS}");
        let rows = engine.run(&Translated { sql, params: self.values() }).map_err(|error| from_sqlite(&error, None))?;
        Ok(rows.into_iter().flatten().find_map(|value| if let SqliteValue::Text(kind) = value { Some(kind) } else { None }))
    }
}

/// One table. Names of tables differ by case, as on every system that Vitess runs on.
const THIS: &str = "TABLE_SCHEMA = ?1 COLLATE BINARY AND TABLE_NAME = ?2 COLLATE BINARY";

/// Makes the table of a sequence, where tables of the keyspace have rows at all.
///
/// # Errors
/// It is there, or is anything else.
pub(super) fn create(
    engine: &mut Engine,
    wanted: &CreateTable,
    default_database: Option<&str>,
) -> Result<QueryResult, MysqlError> {
    let name = Named::of(&wanted.name, default_database)?;
    if engine.catalog.contains_key(&name.text()) || name.kind(engine)?.is_some() {
        return if wanted.if_not_exists { Ok(QueryResult::default()) } else { Err(already_there(&name)) };
    }
    // As many as a snapshot may have in both databases.
    let is_full = engine.catalog.len() > bounds::TABLES + bounds::OWN_TABLES;
    let is_plain = !wanted.temporary && !wanted.or_replace && wanted.query.is_none();
    let own = engine.own.clone().filter(|own| **own == *name.database && is_plain && !is_full);
    let columns = wanted.columns.iter().map(|column| ColumnDecl {
        name: column.name.value.clone(),
        mysql_type: column.data_type.to_string().to_ascii_lowercase(),
        nullable: true,
    });
    let table = own_table(&name.table, &TableRows { columns: columns.collect(), rows: Vec::new() });
    let (Some(own), Some(table)) = (own, table.ok().filter(|table| !table.primary_key.is_empty())) else {
        return Err(MysqlError::unsupported("CREATE TABLE"));
    };
    let make = || engine.connection.execute_batch(&sqlite_ddl(&own.quoted(), &table));
    engine.check_stop().and_then(|()| engine.description.opened(make)).map_err(|error| from_sqlite(&error, None))?;
    let described = format!("INSERT INTO {INFORMATION_SCHEMA}.tables VALUES (?1, ?2, '{BASE_TABLE}', 0, 0)");
    change(engine, &described, name.values())?;
    engine.catalog.insert(name.text(), table);
    Ok(QueryResult::default())
}

fn already_there(name: &Named) -> MysqlError {
    MysqlError { errno: 1050, sqlstate: "42S01", text: format!("Table '{}' already exists", name.table) }
}

/// Drops tables or views: all of them, or none.
///
/// # Errors
/// One is not there, or is not of that kind; something else is to be dropped.
pub(super) fn drop(
    engine: &Engine,
    what: ObjectType,
    if_exists: bool,
    names: &[ObjectName],
    default_database: Option<&str>,
) -> Result<QueryResult, MysqlError> {
    let wanted = match what {
        ObjectType::Table => BASE_TABLE,
        ObjectType::View => VIEW,
        other => return Err(MysqlError::unsupported(&format!("DROP {other}"))),
    };
    let names = names.iter().map(|name| Named::of(name, default_database)).collect::<Result<Vec<_>, _>>()?;
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for name in &names {
        match name.kind(engine)? {
            Some(kind) if kind == wanted => there.push(name),
            Some(_) if wanted == VIEW => {
                let text = format!("'{}' is not VIEW", name.text());
                return Err(MysqlError { errno: 1347, sqlstate: "HY000", text });
            }
            Some(_) | None => missing.push(name.text()),
        }
    }
    if !missing.is_empty() && !if_exists {
        let text = format!("Unknown table '{}'", missing.join(","));
        return Err(MysqlError { errno: 1051, sqlstate: "42S02", text });
    }
    for name in there {
        change(engine, &format!("DELETE FROM {INFORMATION_SCHEMA}.tables WHERE {THIS}"), name.values())?;
    }
    Ok(QueryResult::default())
}

/// Renames a table.
///
/// # Errors
/// It is not there, or there is one of the new name; several are to be renamed.
pub(super) fn rename(
    engine: &Engine,
    renamed: &[RenameTable],
    default_database: Option<&str>,
) -> Result<QueryResult, MysqlError> {
    let [one] = renamed else { return Err(MysqlError::unsupported("RENAME of several tables")) };
    let (from, to) = (Named::of(&one.old_name, default_database)?, Named::of(&one.new_name, default_database)?);
    if from.kind(engine)?.is_none() {
        return Err(MysqlError::no_table(&from.text()));
    }
    if to.kind(engine)?.is_some() {
        return Err(already_there(&to));
    }
    let sql = format!("UPDATE {INFORMATION_SCHEMA}.tables SET TABLE_SCHEMA = ?3, TABLE_NAME = ?4 WHERE {THIS}");
    change(engine, &sql, from.values().into_iter().chain(to.values()).collect())?;
    Ok(QueryResult::default())
}

fn change(engine: &Engine, sql: &str, values: Vec<SqliteValue>) -> Result<(), MysqlError> {
    let change = || engine.connection.execute(sql, rusqlite::params_from_iter(values));
    let changed = engine.check_stop().and_then(|()| engine.description.opened(change));
    changed.map(|_| ()).map_err(|error| from_sqlite(&error, None))
}
