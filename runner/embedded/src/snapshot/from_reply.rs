//! A snapshot from what the planner collected of a live cluster.

use prost::Message;
use vtflow_planner::{
    Timestamp,
    proto::vtflow::{SnapshotResponse, snapshot_response as saved},
    topo::record::CellRecord,
};

use super::{Cell, ColumnDecl, Snapshot, TableRows, TabletRows, Unreadable};

/// What came of a `Snapshot` request, as a snapshot that can be saved.
///
/// # Errors
/// The bytes are no such message: a defect, since our own planner made them.
pub fn from_response(response: &[u8], taken_at: Timestamp) -> Result<Snapshot, prost::DecodeError> {
    let response = SnapshotResponse::decode(response)?;
    let record =
        |record: saved::Record| CellRecord { cell: record.cell, path: record.path, version: record.version, value: record.value };
    let tablet = |tablet: saved::Tablet| {
        let sidecar = tablet.tables.into_iter().map(|table| (table.name.clone(), rows(&table))).collect();
        (tablet.alias, TabletRows { sidecar, ..TabletRows::default() })
    };
    Ok(Snapshot {
        taken_at,
        note: "saved by vtflow from a live cluster".into(),
        topo: response.topo.into_iter().map(record).collect(),
        tablets: response.tablets.into_iter().map(tablet).collect(),
        unreadable: Unreadable::default(),
    })
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
