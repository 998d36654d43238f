//! A snapshot from what the planner collected of a live cluster.

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Timestamp,
    proto::vtflow::{SnapshotResponse, snapshot_response as saved},
    topo::record::CellRecord,
};

use super::{Cell, ColumnDecl, Snapshot, TableRows, TableSize, TabletRows, Unreadable};
use crate::records::{db_name, tablet_records};

/// The table in which a server describes the tables of its databases.
const DESCRIPTION: &str = "information_schema.tables";

/// What came of a `Snapshot` request, as a snapshot that can be saved.
///
/// # Errors
/// The bytes are no such message: a defect, since our own planner made them.
pub fn from_response(response: &[u8], taken_at: Timestamp) -> Result<Snapshot, prost::DecodeError> {
    let response = SnapshotResponse::decode(response)?;
    let record =
        |record: saved::Record| CellRecord { cell: record.cell, path: record.path, version: record.version, value: record.value };
    let topo: Vec<CellRecord> = response.topo.into_iter().map(record).collect();
    let databases: BTreeMap<String, String> =
        tablet_records(topo.iter(), &mut Vec::new()).into_iter().map(|(alias, record)| (alias, db_name(&record))).collect();
    let tablet = |tablet: saved::Tablet| {
        let (own, sidecar): (Vec<_>, Vec<_>) = tablet.tables.into_iter().partition(|table| table.name == DESCRIPTION);
        let database = databases.get(&tablet.alias).map_or("", String::as_str);
        let table_sizes = own.iter().flat_map(|table| sizes(&rows(table), database)).collect();
        let sidecar = sidecar.into_iter().map(|table| (table.name.clone(), rows(&table))).collect();
        (tablet.alias, TabletRows { sidecar, table_sizes, ..TabletRows::default() })
    };
    Ok(Snapshot {
        taken_at,
        note: "saved by vtflow from a live cluster".into(),
        topo,
        tablets: response.tablets.into_iter().map(tablet).collect(),
        unreadable: Unreadable::default(),
    })
}

/// What a server says of the tables of one database.
fn sizes(described: &TableRows, database: &str) -> Vec<TableSize> {
    // MySQL 8 names them in capitals.
    let at = |name: &str| described.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let (name, kind, rows, bytes) = (at("table_name"), at("table_type"), at("table_rows"), at("data_length"));
    let size = |row: &Vec<Cell>| {
        let value = |at: Option<usize>| at.and_then(|at| row.get(at));
        let text = |at| match value(at) {
            Some(Cell::Text(text)) => Some(text.clone()),
            Some(Cell::Int(number)) => Some(number.to_string()),
            _ => None,
        };
        let number = |at| match value(at) {
            Some(Cell::Int(number)) => *number,
            _ => 0,
        };
        let (database, table, is_view) = (database.to_owned(), text(name)?, text(kind).is_some_and(|kind| kind == "VIEW"));
        Some(TableSize { database, table, rows: number(rows), bytes: number(bytes), is_view })
    };
    described.rows.iter().filter_map(size).collect()
}

fn rows(table: &saved::Table) -> TableRows {
    let columns = table.columns.iter().map(|column| ColumnDecl {
        name: column.name.clone(),
        mysql_type: column.r#type.clone(),
        nullable: column.nullable,
    });
    let rows = table.rows.iter().map(|row| {
        let mut rest = row.values.as_slice();
        let values = table.columns.iter().zip(&row.lengths).map(|(column, &length)| {
            let Ok(length) = usize::try_from(length) else { return Cell::Null };
            let (value, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = tail;
            cell(value, column.integral)
        });
        values.collect()
    });
    TableRows { columns: columns.collect(), rows: rows.collect() }
}

fn cell(value: &[u8], is_integral: bool) -> Cell {
    match std::str::from_utf8(value) {
        Ok(text) if is_integral => {
            text.parse().map(Cell::Int).or_else(|_| text.parse().map(Cell::Uint)).unwrap_or_else(|_| Cell::Text(text.to_owned()))
        }
        Ok(text) => Cell::Text(text.to_owned()),
        Err(_) => Cell::Bytes(value.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_kind() {
        for (value, is_integral, want) in [
            (&b"7"[..], true, Cell::Int(7)),
            (b"18446744073709551615", true, Cell::Uint(u64::MAX)),
            (b"7", false, Cell::Text("7".into())),
            (b"", false, Cell::Text(String::new())),
            (b"\xff", false, Cell::Bytes(vec![0xff])),
        ] {
            assert_eq!(cell(value, is_integral), want);
        }
    }
}
