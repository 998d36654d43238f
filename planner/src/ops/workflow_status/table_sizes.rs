//! The statement on table statistics: how many rows and bytes MySQL believes that tables have.

use crate::sidecar::literal::quote;

/// Rows and bytes of these tables of this database. Source: `go/vt/vtctl/workflow/server.go:getTableMetrics`.
pub(crate) fn statement<'a>(db_name: &str, tables: impl Iterator<Item = &'a String>) -> String {
    let tables: Vec<String> = tables.map(|table| quote(table)).collect();
    format!(
        "select table_name, table_rows, data_length from information_schema.tables where table_schema = {} and table_name in ({})",
        quote(db_name),
        tables.join(",")
    )
}
