//! One tablet's MySQL: an SQLite database with the sidecar tables in a schema called `_vt`, and the execution of queries.
//!
//! It runs what it is given and answers as MySQL does. Statements of any kind come by `execute.rs`; what may be run is decided by
//! `controller_plan.rs`, the wording of failures on the wire by `service.rs`.

use std::{collections::BTreeSet, fmt::Write as _};

use rusqlite::{
    Connection, ffi, params_from_iter,
    types::{Value as SqliteValue, ValueRef},
};
use sqlparser::ast::{Expr, ObjectName, Query, Value, Visit, Visitor};
use tonic::Code;
use vtflow_planner::{
    proto::query::{Field, QueryResult, Row},
    sidecar::name::{BadSqlName, SqlName},
};

use super::{
    clock::Clock,
    error::{MysqlError, TabletError},
    fence::{self, Gate, Stop},
    fields::types,
    functions,
    rewrite::{Translated, translate_query},
    schema::{self, BASE_TABLE, INFORMATION_SCHEMA, SIDECAR, Table, VIEW},
    scope::{Catalog, Scopes},
    sqlite_error::from_sqlite,
    variables,
};
use crate::{
    bounds,
    release::Release,
    snapshot::{Cell, TableRows, TabletRows},
};

/// The rows that `VReplicationExec` and its like answer at most.
pub const MAX_ROWS: u64 = 10_000;

/// One tablet's database.
pub struct Engine {
    pub(crate) connection: Connection,
    pub(crate) catalog: Catalog,
    /// The database of its keyspace; `None`: no rows are known of that.
    pub(super) own: Option<SqlName>,
    pub(crate) release: Release,
    /// The `VDiff`s that compare, by id.
    pub(crate) comparing: BTreeSet<i64>,
    stop: Stop,
    /// By which the description of its tables is changed.
    pub(super) description: Gate,
}

/// Why the rows of a snapshot are no tablet's.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A table or a column has a name that none can have.
    #[error("table {table:?}: {error}")]
    Name {
        /// The table.
        table: String,
        /// The name, and what is wrong with it.
        error: BadSqlName,
    },
    /// A table cannot be made or filled: two columns of one name, a row that breaks a key.
    #[error("table {table}: {error}")]
    Table {
        /// The table.
        table: String,
        /// What SQLite said.
        error: rusqlite::Error,
    },
    /// There are more tables than any release has.
    #[error("it has {0} tables, more than the {most} that are loaded", most = bounds::TABLES)]
    TooManyTables(usize),
    /// What SQLite said of anything else.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Engine {
    /// A database with the rows of a snapshot. Tables that the snapshot lacks are not there.
    ///
    /// # Errors
    ///
    /// A name that is none, a row that breaks a key, a table that cannot be made. Names and rows are a stranger's: nothing of them is run.
    pub fn new(rows: &TabletRows, clock: Clock) -> Result<Self, LoadError> {
        let release = Release::of(rows);
        if rows.sidecar.len() > bounds::TABLES {
            return Err(LoadError::TooManyTables(rows.sidecar.len()));
        }
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(&format!("ATTACH ':memory:' AS {SIDECAR}; ATTACH ':memory:' AS {INFORMATION_SCHEMA}"))?;
        let named = |name: &str| SqlName::parse(name).map_err(|error| LoadError::Name { table: name.to_owned(), error });
        let own = rows.own.as_ref().map(|own| named(&own.database)).transpose()?;
        if let Some(own) = &own {
            connection.execute_batch(&format!("ATTACH ':memory:' AS {}", own.quoted()))?;
        }
        functions::register(&connection, clock)?;
        variables::register(&connection, rows)?;
        fence::for_loading(&mut connection, own.as_deref())?;
        let mut catalog = Catalog::new();
        connection.execute_batch("BEGIN")?;
        for (name, content) in &rows.sidecar {
            let table = schema::table_of_snapshot(release, name, content)
                .map_err(|error| LoadError::Name { table: name.clone(), error })?;
            make(&connection, SIDECAR, &table, content)?;
            catalog.insert(name.clone(), table);
        }
        for (database, name, content) in own
            .iter()
            .flat_map(|database| rows.own.iter().flat_map(|own| &own.tables).map(move |(name, it)| (database, name, it)))
        {
            let table = schema::own_table(name, content).map_err(|error| LoadError::Name { table: name.clone(), error })?;
            make(&connection, &database.quoted(), &table, content)?;
            catalog.insert(format!("{}.{name}", &**database), table);
        }
        catalog.insert(format!("{INFORMATION_SCHEMA}.tables"), describe_tables(&connection, rows)?);
        connection.execute_batch("COMMIT")?;
        let (stop, description) = fence::for_statements(&mut connection, own.as_deref())?;
        Ok(Self { connection, catalog, own, release, comparing: BTreeSet::new(), stop, description })
    }

    /// What ends the statements of a call, from another thread.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// An error, once the call under way is to end: SQLite itself does not look in statements of a few steps.
    pub(crate) fn check_stop(&self) -> rusqlite::Result<()> {
        let interrupted = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), Some("interrupted".into()));
        if self.stop.is_set() { Err(interrupted()) } else { Ok(()) }
    }

    /// The tablet's release.
    pub fn release(&self) -> Release {
        self.release
    }

    /// Runs a query.
    ///
    /// # Errors
    ///
    /// MySQL's, or that more than `max_rows` rows came.
    pub fn select(
        &self,
        query: &Query,
        sql: &str,
        default_database: Option<&str>,
        max_rows: u64,
    ) -> Result<QueryResult, TabletError> {
        let (fields, rows) = self.rows(query, sql, default_database).map_err(|error| mysql(error, sql))?;
        if u64::try_from(rows.len()).unwrap_or(u64::MAX) > max_rows {
            return Err(self.too_many(max_rows));
        }
        let rows = rows.iter().map(|row| text_row(&fields, row)).collect();
        Ok(QueryResult { fields, rows, ..QueryResult::default() })
    }

    /// The error of a result that is too long.
    pub fn too_many(&self, max_rows: u64) -> TabletError {
        let text = format!("Row count exceeded {max_rows}");
        if self.release.row_limit_is_sql_error() {
            TabletError::Plain(format!("{text} (errno 10001) (sqlstate HY000)"))
        } else {
            TabletError::coded(Code::Aborted, text)
        }
    }

    /// The fields and raw rows of a query.
    pub(crate) fn rows(
        &self,
        query: &Query,
        sql: &str,
        default_database: Option<&str>,
    ) -> Result<(Vec<Field>, Vec<Vec<SqliteValue>>), MysqlError> {
        if let Some(placeholder) = placeholder(query) {
            return Err(MysqlError::syntax(sql.find(&placeholder).and_then(|at| sql.get(at..)).unwrap_or(&placeholder)));
        }
        let scopes = Scopes::new(&self.catalog, default_database);
        let fields = scopes.clone().output(query)?;
        let translated = translate_query(query.clone(), scopes)?;
        let rows = self.run(&translated).map_err(|error| from_sqlite(&error, Some(query)))?;
        Ok((fields, rows))
    }

    /// The rows of a statement in SQLite's own SQL.
    pub(crate) fn run(&self, statement: &Translated) -> rusqlite::Result<Vec<Vec<SqliteValue>>> {
        self.check_stop()?;
        let mut prepared = self.connection.prepare(&statement.sql)?;
        let columns = prepared.column_count();
        let mut found = prepared.query(params_from_iter(&statement.params))?;
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        while let Some(row) = found.next()? {
            let row = (0..columns).map(|index| row.get_ref(index).map(owned)).collect::<rusqlite::Result<Vec<_>>>()?;
            bytes += row.iter().map(size).sum::<usize>();
            if bytes > bounds::RESULT_BYTES {
                let text = format!("the rows of the result have more than {} bytes", bounds::RESULT_BYTES);
                return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_TOOBIG), Some(text)));
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Bytes of a value in memory.
fn size(value: &SqliteValue) -> usize {
    let content = match value {
        SqliteValue::Text(text) => text.len(),
        SqliteValue::Blob(raw) => raw.len(),
        _ => 0,
    };
    size_of::<SqliteValue>() + content
}

fn owned(value: ValueRef<'_>) -> SqliteValue {
    match value {
        ValueRef::Null => SqliteValue::Null,
        ValueRef::Integer(number) => SqliteValue::Integer(number),
        ValueRef::Real(number) => SqliteValue::Real(number),
        ValueRef::Text(raw) => functions::text_or_blob(raw.to_vec()),
        ValueRef::Blob(raw) => SqliteValue::Blob(raw.to_vec()),
    }
}

/// A MySQL error with the statement it came of.
pub fn mysql(error: MysqlError, sql: &str) -> TabletError {
    TabletError::Mysql { error, query: sql.to_owned() }
}

/// The first bind variable of a statement: tablets supply none.
fn placeholder(query: &Query) -> Option<String> {
    struct Finder(Option<String>);
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<()> {
            if let Expr::Value(value) = expr
                && let Value::Placeholder(name) = &value.value
            {
                self.0 = Some(name.clone());
                return std::ops::ControlFlow::Break(());
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut finder = Finder(None);
    let _ = query.visit(&mut finder);
    finder.0
}

/// A row as MySQL's text protocol sends it.
pub fn text_row(fields: &[Field], row: &[SqliteValue]) -> Row {
    let mut out = Row::default();
    for (index, value) in row.iter().enumerate() {
        let kind = fields.get(index).map_or(types::TEXT, |field| field.r#type);
        let before = out.values.len();
        match value {
            SqliteValue::Null => {
                out.lengths.push(-1);
                continue;
            }
            SqliteValue::Integer(number) => out.values.extend_from_slice(number.to_string().as_bytes()),
            SqliteValue::Real(number) => {
                let decimals = fields.get(index).map_or(0, |field| field.decimals);
                out.values.extend_from_slice(float_text(*number, kind, decimals).as_bytes());
            }
            SqliteValue::Text(text) => out.values.extend_from_slice(text.as_bytes()),
            SqliteValue::Blob(raw) => out.values.extend_from_slice(raw),
        }
        out.lengths.push(i64::try_from(out.values.len() - before).unwrap_or(i64::MAX));
    }
    out
}

/// MySQL prints a FLOAT with six digits that matter, and a DECIMAL with all that it has.
#[allow(clippy::cast_possible_truncation, reason = "a FLOAT column holds no more than that")]
fn float_text(number: f64, kind: i32, decimals: u32) -> String {
    if kind == types::DECIMAL {
        return format!("{number:.*}", decimals as usize);
    }
    if kind != types::FLOAT32 {
        return number.to_string();
    }
    let rounded: f64 = format!("{number:.5e}").parse().unwrap_or(number);
    (rounded as f32).to_string()
}

/// Makes a table, with its rows. `schema`: as it stands in a statement.
fn make(connection: &Connection, schema: &str, table: &Table, content: &TableRows) -> Result<(), LoadError> {
    let made = connection.execute_batch(&sqlite_ddl(schema, table)).and_then(|()| load(connection, schema, table, content));
    made.map_err(|error| LoadError::Table { table: table.name.to_string(), error })
}

fn load(connection: &Connection, schema: &str, table: &Table, content: &TableRows) -> rusqlite::Result<()> {
    let marks: Vec<String> = (1..=table.columns.len()).map(|index| format!("?{index}")).collect();
    let mut insert =
        connection.prepare(&format!("INSERT INTO {schema}.{} VALUES ({})", table.name.quoted(), marks.join(", ")))?;
    for row in &content.rows {
        insert.execute(params_from_iter(row.iter().map(sqlite_value)))?;
    }
    Ok(())
}

/// Fills `information_schema.tables`.
fn describe_tables(connection: &Connection, rows: &TabletRows) -> rusqlite::Result<Table> {
    let table = schema::table_statistics();
    let columns: Vec<String> = table.columns.iter().map(|column| format!("{} COLLATE NOCASE", column.name.quoted())).collect();
    // Without row ids: what is counted up by INSERT is told from the last row id.
    connection.execute_batch(&format!(
        "CREATE TABLE {INFORMATION_SCHEMA}.tables ({}, PRIMARY KEY (TABLE_SCHEMA, TABLE_NAME)) WITHOUT ROWID",
        columns.join(", ")
    ))?;
    let mut insert =
        connection.prepare(&format!("INSERT OR REPLACE INTO {INFORMATION_SCHEMA}.tables VALUES (?1, ?2, ?3, ?4, ?5)"))?;
    for size in &rows.table_sizes {
        // A view has no rows of its own.
        let (rows, bytes) = if size.is_view { (None, None) } else { (Some(size.rows), Some(size.bytes)) };
        let kind = if size.is_view { VIEW } else { BASE_TABLE };
        insert.execute((&size.database, &size.table, kind, rows, bytes))?;
    }
    Ok(table)
}

fn sqlite_value(cell: &Cell) -> SqliteValue {
    match cell {
        Cell::Null => SqliteValue::Null,
        Cell::Int(number) => SqliteValue::Integer(*number),
        Cell::Uint(number) => SqliteValue::Text(number.to_string()),
        Cell::Text(text) => SqliteValue::Text(text.clone()),
        Cell::Bytes(raw) => SqliteValue::Blob(raw.clone()),
    }
}

/// A table in SQLite's own SQL. `schema`: as it stands in a statement.
pub(super) fn sqlite_ddl(schema: &str, table: &Table) -> String {
    let mut sql = format!("CREATE TABLE {schema}.{} (", table.name.quoted());
    for (index, column) in table.columns.iter().enumerate() {
        let shape = super::fields::Shape::of(&column.mysql_type);
        let affinity = match shape.kind {
            kind if super::fields::is_integer(kind) => "INTEGER",
            types::FLOAT32 => "REAL",
            // Texts compare without regard to case, byte strings with it.
            types::VARCHAR | types::TEXT => "TEXT COLLATE NOCASE",
            _ => "TEXT",
        };
        let comma = if index > 0 { ", " } else { "" };
        let _ = write!(sql, "{comma}{} {affinity}", column.name.quoted());
        if column.auto_increment && table.primary_key.len() == 1 {
            sql.push_str(" PRIMARY KEY AUTOINCREMENT");
            continue;
        }
        if !column.nullable {
            sql.push_str(" NOT NULL");
        }
        match column.default.as_deref() {
            Some("CURRENT_TIMESTAMP") => sql.push_str(" DEFAULT (vt_now(0))"),
            Some(default) => {
                let _ = write!(sql, " DEFAULT {default}");
            }
            None => {}
        }
        if column.key.unique {
            sql.push_str(" UNIQUE");
        }
    }
    let counted = table.columns.iter().any(|column| column.auto_increment);
    if !counted && !table.primary_key.is_empty() {
        let key: Vec<String> = table.primary_key.iter().map(SqlName::quoted).collect();
        let _ = write!(sql, ", PRIMARY KEY ({})", key.join(", "));
    }
    // The index by which a stream's rows are found; its last column makes it one that no row can break.
    let has = |name: &str| table.columns.iter().any(|column| column.name == *name);
    if table.name == *"copy_state" && counted && ["id", "vrepl_id", "table_name"].into_iter().all(has) {
        sql.push_str(", UNIQUE (vrepl_id, table_name, id)");
    }
    sql.push(')');
    sql
}

/// A table's name in a statement, for [`Scopes::enter_table`].
pub(crate) fn sidecar_name(table: &str) -> ObjectName {
    ObjectName::from(vec![sqlparser::ast::Ident::new(SIDECAR), sqlparser::ast::Ident::new(table)])
}
