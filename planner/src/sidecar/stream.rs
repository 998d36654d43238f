//! One row of `_vt.vreplication`: a stream.
//!
//! It reads what is stored. What a client sees of it (derived state, lag, the workflow's fields) is made elsewhere. No column that
//! cannot be read takes the row away: what a command can change must be seen.
//!
//! Facts: `go/vt/sidecardb/schema/vreplication/vreplication.sql` (v16 on), `go/vt/binlog/binlogplayer/binlog_player.go`
//! (before); `go/vt/vttablet/tabletmanager/rpc_vreplication.go:ReadVReplicationWorkflows` for types and errors.

use crate::{
    formats::{RowError, binlog_source, position, tablet_types},
    proto::binlogdata::{BinlogSource, VReplicationWorkflowState, VReplicationWorkflowSubType, VReplicationWorkflowType},
    sidecar::Row,
};

/// A stream as its tablet stores it. A column that the tablet's release lacks has its default: 0, `""`, false. One that cannot be
/// read is named in [`StreamRow::faults`] and shown as it is stored where it is a text, else it has its default, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamRow {
    /// Unique on its tablet, not in the keyspace. Fits 32 bits. 0: it cannot be read.
    pub id: i64,
    /// The workflow's name.
    pub workflow: String,
    /// What it reads.
    pub source: BinlogSource,
    /// The set of applied transactions, without flavor; empty before the copy. As stored, with flavor, if it cannot be read.
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
    /// Name of a `binlogdata.VReplicationWorkflowType`, or the number of one that has no name here. v14 on.
    pub workflow_type: String,
    /// Name of a `binlogdata.VReplicationWorkflowSubType`, or the number of one that has no name here. v15 on.
    pub workflow_sub_type: String,
    /// Whether secondary keys are made after the copy. v16 on.
    pub defer_secondary_keys: bool,
    /// JSON for [`crate::formats::options::apply`]; empty: nothing. v20 on.
    pub options: String,
    /// The columns that cannot be read, and why.
    pub faults: Vec<RowError>,
}

impl StreamRow {
    /// Reads one row of `select * from _vt.vreplication`, of any release.
    pub fn read(row: &Row<'_>) -> Self {
        Self::with_position(row, |pos| position::decode(pos).map_err(|error| (error, position::as_stored(pos))))
    }

    /// The same, its position read by `decode`, which has what to show beside its error.
    pub(crate) fn with_position(row: &Row<'_>, decode: impl FnOnce(&[u8]) -> Result<String, (RowError, String)>) -> Self {
        let mut faults = Faults(Vec::new());
        let mut integer = |column| faults.or_default(row.integer(column)).unwrap_or_default();
        let (max_tps, max_replication_lag) = (integer("max_tps"), integer("max_replication_lag"));
        let (time_updated, transaction_timestamp) = (integer("time_updated"), integer("transaction_timestamp"));
        let (time_heartbeat, time_throttled) = (integer("time_heartbeat"), integer("time_throttled"));
        let rows_copied = integer("rows_copied");
        let (tablet_types, tablet_selection_preference, error) = tablet_types::parse(&row.text("tablet_types"));
        faults.0.extend(error);
        let position = decode(row.value("pos").flatten().unwrap_or_default()).unwrap_or_else(|(error, shown)| {
            faults.0.push(error);
            shown
        });
        let missing = || RowError::new("source", "no such column", b"");
        let source = row.value("source").ok_or_else(missing).and_then(|source| binlog_source::parse(source.unwrap_or_default()));
        let id = if row.value("id").is_some() { small(row, "id") } else { Err(RowError::new("id", "no such column", b"")) };
        let state = faults.or_default(state(row));
        Self {
            id: faults.or_default(id).into(),
            workflow: row.text("workflow"),
            source: faults.or_default(source),
            position,
            stop_position: row.text("stop_pos"),
            max_tps,
            max_replication_lag,
            cells: row.text("cell").split(',').map(|cell| cell.trim().to_owned()).collect(),
            tablet_types,
            tablet_selection_preference,
            time_updated,
            transaction_timestamp,
            time_heartbeat,
            time_throttled,
            component_throttled: row.text("component_throttled"),
            reason_throttled: row.text("reason_throttled"),
            state: state.into(),
            message: row.text("message"),
            db_name: row.text("db_name"),
            rows_copied,
            tags: row.text("tags").split(',').map(str::to_owned).collect(),
            workflow_type: faults.kind(row, "workflow_type", |number| {
                VReplicationWorkflowType::try_from(number).ok().map(|kind| kind.as_str_name())
            }),
            workflow_sub_type: faults.kind(row, "workflow_sub_type", |number| {
                VReplicationWorkflowSubType::try_from(number).ok().map(|kind| kind.as_str_name())
            }),
            defer_secondary_keys: row.text("defer_secondary_keys") == "1",
            options: row.text("options"),
            faults: faults.0,
        }
    }

    /// Whether this column cannot be read.
    pub fn lacks(&self, column: &str) -> bool {
        self.faults.iter().any(|fault| fault.column == column)
    }
}

/// What could not be read so far.
struct Faults(Vec<RowError>);

impl Faults {
    fn or_default<T: Default>(&mut self, read: Result<T, RowError>) -> T {
        read.unwrap_or_else(|error| {
            self.0.push(error);
            T::default()
        })
    }

    /// A number as its name; as stored if it is none.
    fn kind(&mut self, row: &Row<'_>, column: &'static str, name: impl Fn(i32) -> Option<&'static str>) -> String {
        match small(row, column) {
            Ok(number) => name(number).map_or_else(|| number.to_string(), str::to_owned),
            Err(error) => {
                self.0.push(error);
                row.text(column)
            }
        }
    }
}

/// Known by its exact name only.
fn state(row: &Row<'_>) -> Result<VReplicationWorkflowState, RowError> {
    if row.value("state").is_none() {
        return Ok(VReplicationWorkflowState::Unknown);
    }
    let name = row.text("state");
    let none = || RowError::new("state", "no state of a stream has this name", name.as_bytes());
    VReplicationWorkflowState::from_str_name(&name).ok_or_else(none)
}

/// An integer of 32 bits.
fn small(row: &Row<'_>, column: &'static str) -> Result<i32, RowError> {
    let value = row.integer(column)?.unwrap_or_default();
    i32::try_from(value).map_err(|_| {
        let text = row.text(column);
        RowError::new(column, format!("strconv.ParseInt: parsing \"{value}\": value out of range"), text.as_bytes())
    })
}
