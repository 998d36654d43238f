//! Faces of what is private, for the targets of `tests/fuzz` alone. No program may call them: they are not part of the interface.

use vtflow_planner::{proto::binlogdata::BinlogSource, sidecar::name::SqlName};

use crate::{engine::Engine, mysql::schema::SIDECAR, tablet::source_text};

/// A stream's source as tablets write it.
pub fn source_text(source: &BinlogSource) -> String {
    source_text::print(source)
}

/// The tables that a tablet's database knows, each with its rows; and how many rows have been put into all of them, changed or taken
/// away since it was made.
pub fn contents(engine: &Engine) -> (Vec<(String, u64)>, u64) {
    let rows = |table: &String| {
        let (schema, name) = table.split_once('.').unwrap_or((SIDECAR, table));
        let count = SqlName::parse(name).ok().and_then(|name| {
            let query = format!("SELECT count(*) FROM {schema}.{}", name.quoted());
            engine.connection.query_row(&query, [], |row| row.get::<_, i64>(0)).ok()
        });
        (table.clone(), count.and_then(|count| u64::try_from(count).ok()).unwrap_or(u64::MAX))
    };
    (engine.catalog.keys().map(rows).collect(), engine.connection.total_changes())
}
