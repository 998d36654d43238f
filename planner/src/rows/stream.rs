//! One row of `_vt.vreplication`: a stream.
//!
//! It reads what is stored. What a client sees of it (derived state, lag, the workflow's fields) is made elsewhere.
//!
//! Facts: `go/vt/sidecardb/schema/vreplication/vreplication.sql` (v16 on), `go/vt/binlog/binlogplayer/binlog_player.go`
//! (before); `go/vt/vttablet/tabletmanager/rpc_vreplication.go:ReadVReplicationWorkflows` for types and errors.

use super::{Row, RowError, binlog_source, position, tablet_types};
use crate::proto::binlogdata::{BinlogSource, VReplicationWorkflowState};

/// A stream as its tablet stores it. A column that the tablet's release lacks has its default: 0, `""`, false.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamRow {
    /// Unique on its tablet, not in the keyspace. Fits 32 bits.
    pub id: i64,
    /// The workflow's name.
    pub workflow: String,
    /// What it reads.
    pub source: BinlogSource,
    /// The set of applied transactions, without flavor; empty before the copy.
    pub position: String,
    /// Where it stops, as stored, with flavor; empty: nowhere.
    pub stop_position: String,
    /// Transactions per second at most; as stored.
    pub max_tps: i64,
    /// As stored.
    pub max_replication_lag: i64,
    /// Cells to read from, trimmed; `[""]`: the tablet's own.
    pub cells: Vec<String>,
    /// Numbers of `topodata.TabletType`; empty: the tablet's default.
    pub tablet_types: Vec<i32>,
    /// Number of `tabletmanagerdata.TabletSelectionPreference`.
    pub tablet_selection_preference: i32,
    /// Unix seconds of the last write to the row. A stream that never wrote has a `YYYYMMDDhhmmss` number here.
    pub time_updated: i64,
    /// Unix seconds at which the source committed the last applied transaction; 0: none yet.
    pub transaction_timestamp: i64,
    /// Unix seconds of the last heartbeat; 0: none. v13 on.
    pub time_heartbeat: i64,
    /// Unix seconds of the last throttling, never reset; 0: none. v15 on.
    pub time_throttled: i64,
    /// Who was throttled then. v15 on.
    pub component_throttled: String,
    /// Why. v21 on.
    pub reason_throttled: String,
    /// Number of `binlogdata.VReplicationWorkflowState`, by exact name; a name that is none is `Unknown`.
    pub state: i32,
    /// What the stream last said.
    pub message: String,
    /// The target database.
    pub db_name: String,
    /// Rows copied so far. v11 on.
    pub rows_copied: i64,
    /// Tags, not trimmed; `[""]`: none. v12 on.
    pub tags: Vec<String>,
    /// Number of `binlogdata.VReplicationWorkflowType`; unknown ones are possible. v14 on.
    pub workflow_type: i32,
    /// Number of `binlogdata.VReplicationWorkflowSubType`; unknown ones are possible. v15 on.
    pub workflow_sub_type: i32,
    /// Whether secondary keys are made after the copy. v16 on.
    pub defer_secondary_keys: bool,
    /// JSON for [`super::options::apply`]; empty: nothing. v20 on.
    pub options: String,
}

/// A stream whose row cannot be read, with what can be known of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stream {}: {error}", id.map_or_else(|| "?".to_owned(), |id| id.to_string()))]
pub struct BadStream {
    /// The stream's id, if that can be read.
    pub id: Option<i64>,
    /// The workflow's name; empty if the row has none.
    pub workflow: String,
    /// What is wrong: the first thing.
    pub error: RowError,
}

impl StreamRow {
    /// Reads one row of `select * from _vt.vreplication`, of any release.
    ///
    /// # Errors
    /// A column that is there but does not hold what it should; `id` or `source` missing.
    pub fn read(row: &Row<'_>) -> Result<Self, BadStream> {
        Self::read_columns(row).map_err(|error| BadStream { id: id(row).ok(), workflow: row.text("workflow"), error })
    }

    fn read_columns(row: &Row<'_>) -> Result<Self, RowError> {
        let integer = |column| Ok(row.integer(column)?.unwrap_or_default());
        let types = row.text("tablet_types");
        let (tablet_types, tablet_selection_preference) = tablet_types::parse(&types)?;
        Ok(Self {
            id: id(row)?,
            workflow: row.text("workflow"),
            source: match row.value("source") {
                Some(source) => binlog_source::parse(source.unwrap_or_default())?,
                None => return Err(RowError::new("source", "no such column", b"")),
            },
            position: position::decode(row.value("pos").flatten().unwrap_or_default())?,
            stop_position: row.text("stop_pos"),
            max_tps: integer("max_tps")?,
            max_replication_lag: integer("max_replication_lag")?,
            cells: row.text("cell").split(',').map(|cell| cell.trim().to_owned()).collect(),
            tablet_types,
            tablet_selection_preference,
            time_updated: integer("time_updated")?,
            transaction_timestamp: integer("transaction_timestamp")?,
            time_heartbeat: integer("time_heartbeat")?,
            time_throttled: integer("time_throttled")?,
            component_throttled: row.text("component_throttled"),
            reason_throttled: row.text("reason_throttled"),
            state: VReplicationWorkflowState::from_str_name(&row.text("state")).map_or(0, i32::from),
            message: row.text("message"),
            db_name: row.text("db_name"),
            rows_copied: integer("rows_copied")?,
            tags: row.text("tags").split(',').map(str::to_owned).collect(),
            workflow_type: small(row, "workflow_type")?,
            workflow_sub_type: small(row, "workflow_sub_type")?,
            defer_secondary_keys: row.text("defer_secondary_keys") == "1",
            options: row.text("options"),
        })
    }
}

fn id(row: &Row<'_>) -> Result<i64, RowError> {
    match row.value("id") {
        Some(_) => Ok(i64::from(small(row, "id")?)),
        None => Err(RowError::new("id", "no such column", b"")),
    }
}

/// An integer of 32 bits.
fn small(row: &Row<'_>, column: &'static str) -> Result<i32, RowError> {
    let value = row.integer(column)?.unwrap_or_default();
    i32::try_from(value).map_err(|_| {
        let text = row.text(column);
        RowError::new(column, format!("strconv.ParseInt: parsing \"{value}\": value out of range"), text.as_bytes())
    })
}
