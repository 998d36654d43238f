//! `GetSchema`: the tables of a tablet's database, by name, kind and size. A snapshot has neither columns nor statements that would make them.
//!
//! Facts: `go/vt/mysqlctl/schema.go:GetSchema`, `go/vt/mysqlctl/tmutils/schema.go:TableFilter`.

use rusqlite::types::Value as SqliteValue;
use tonic::Code;
use vtflow_planner::proto::tabletmanagerdata::{GetSchemaRequest, SchemaDefinition, TableDefinition};

use crate::mysql::{
    engine::Engine,
    error::TabletError,
    rewrite::Translated,
    schema::{INFORMATION_SCHEMA, VIEW},
};

/// The tables that are wanted, by name.
///
/// # Errors
///
/// A regular expression that is not "everything"; the rows cannot be read.
pub(super) fn of(engine: &Engine, db_name: &str, wanted: &GetSchemaRequest) -> Result<SchemaDefinition, TabletError> {
    let (tables, excluded) = (patterns(&wanted.tables)?, patterns(&wanted.exclude_tables)?);
    let sql = format!(
        "SELECT TABLE_NAME, TABLE_TYPE, DATA_LENGTH, TABLE_ROWS FROM {INFORMATION_SCHEMA}.tables WHERE TABLE_SCHEMA = ?1 COLLATE \
         BINARY ORDER BY TABLE_NAME COLLATE BINARY"
    );
    let rows = engine.run(&Translated { sql, params: vec![SqliteValue::Text(db_name.to_owned())] });
    let rows = rows.map_err(|error| TabletError::plain(error.to_string()))?;
    let is_wanted = |table: &TableDefinition| {
        let is_any = |patterns: &[Pattern<'_>]| patterns.iter().any(|pattern| pattern.is_of(&table.name));
        (wanted.include_views || table.r#type != VIEW) && (tables.is_empty() || is_any(&tables)) && !is_any(&excluded)
    };
    let table_definitions = rows.iter().filter_map(|row| definition(row)).filter(is_wanted).collect();
    Ok(SchemaDefinition { table_definitions, ..SchemaDefinition::default() })
}

fn definition(row: &[SqliteValue]) -> Option<TableDefinition> {
    let number = |value: &SqliteValue| match value {
        SqliteValue::Integer(number) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    };
    match row {
        [SqliteValue::Text(name), SqliteValue::Text(kind), bytes, rows] => Some(TableDefinition {
            name: name.clone(),
            r#type: kind.clone(),
            data_length: number(bytes),
            row_count: number(rows),
        }),
        _ => None,
    }
}

/// Which tables a request means.
enum Pattern<'a> {
    All,
    One(&'a str),
}

impl Pattern<'_> {
    fn is_of(&self, table: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(name) => *name == table,
        }
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern<'_>>, TabletError> {
    let pattern = |text| match text {
        "/.*/" | "/.*" => Ok(Pattern::All),
        expression if expression.starts_with('/') => {
            let text = format!("an embedded tablet knows no regular expression of tables but /.*/: {expression}");
            Err(TabletError::coded(Code::Unimplemented, text))
        }
        name => Ok(Pattern::One(name)),
    };
    texts.iter().map(|text| pattern(text.as_str())).collect()
}
