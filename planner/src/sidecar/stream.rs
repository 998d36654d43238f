//! One row of `_vt.vreplication`: a stream.
//!
//! It reads what is stored. What a client sees of it (derived state, lag, the workflow's fields) is made elsewhere. No column that
//! cannot be read takes the row away: what a command can change must be seen.
//!
//! Facts: `go/vt/sidecardb/schema/vreplication/vreplication.sql` (v16 on), `go/vt/binlog/binlogplayer/binlog_player.go`
//! (before); `go/vt/vttablet/tabletmanager/rpc_vreplication.go:ReadVReplicationWorkflows` for types and errors.

use std::borrow::Cow;

use crate::{
    formats::{RowError, position, source::Source, tablet_types},
    proto::binlogdata::{VReplicationWorkflowState, VReplicationWorkflowSubType, VReplicationWorkflowType},
    sidecar::{Row, RowSet, result::Column},
};

/// A stream as its tablet stores it. A column that the tablet's release lacks has its default: 0, `""`, false. One that cannot be
/// read is named in [`StreamRow::faults`] and shown as it is stored where it is a text, else it has its default, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamRow<'a> {
    /// Unique on its tablet, not in the keyspace. Fits 32 bits. 0: it cannot be read.
    pub id: i64,
    /// The workflow's name.
    pub workflow: Cow<'a, str>,
    /// What it reads.
    pub source: Source<'a>,
    /// The set of applied transactions, without flavor; empty before the copy. As stored, with flavor, if it cannot be read.
    pub position: Cow<'a, str>,
    /// Where it stops, as stored, with flavor; empty: nowhere.
    pub stop_position: Cow<'a, str>,
    /// Transactions per second at most; as stored.
    pub max_tps: i64,
    /// As stored.
    pub max_replication_lag: i64,
    /// As stored: [`StreamRow::cells`] are its parts.
    pub cell: Cow<'a, str>,
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
    pub component_throttled: Cow<'a, str>,
    /// Why. v21 on.
    pub reason_throttled: Cow<'a, str>,
    /// Number of `binlogdata.VReplicationWorkflowState`, by exact name; a name that is none is `Unknown`.
    pub state: i32,
    /// What the stream last said.
    pub message: Cow<'a, str>,
    /// The target database.
    pub db_name: Cow<'a, str>,
    /// Rows copied so far. v11 on.
    pub rows_copied: i64,
    /// As stored: [`StreamRow::tags`] are its parts. v12 on.
    pub tag_list: Cow<'a, str>,
    /// Name of a `binlogdata.VReplicationWorkflowType`, or the number of one that has no name here. v14 on.
    pub workflow_type: Cow<'a, str>,
    /// Name of a `binlogdata.VReplicationWorkflowSubType`, or the number of one that has no name here. v15 on.
    pub workflow_sub_type: Cow<'a, str>,
    /// Whether secondary keys are made after the copy. v16 on.
    pub defer_secondary_keys: bool,
    /// JSON for [`crate::formats::options::apply`]; empty: nothing. v20 on.
    pub options: Cow<'a, str>,
    /// The columns that cannot be read, and why.
    pub faults: Vec<RowError>,
}

/// The columns of a result whose rows are streams, each looked up once.
pub(crate) struct Columns {
    id: Column,
    workflow: Column,
    source: Column,
    pos: Column,
    stop_pos: Column,
    max_tps: Column,
    max_replication_lag: Column,
    cell: Column,
    tablet_types: Column,
    time_updated: Column,
    transaction_timestamp: Column,
    time_heartbeat: Column,
    time_throttled: Column,
    component_throttled: Column,
    reason_throttled: Column,
    state: Column,
    message: Column,
    db_name: Column,
    rows_copied: Column,
    tags: Column,
    workflow_type: Column,
    workflow_sub_type: Column,
    defer_secondary_keys: Column,
    options: Column,
}

impl Columns {
    pub(crate) fn of(set: &RowSet) -> Self {
        let column = |name| set.column(name);
        Self {
            id: column("id"),
            workflow: column("workflow"),
            source: column("source"),
            pos: column("pos"),
            stop_pos: column("stop_pos"),
            max_tps: column("max_tps"),
            max_replication_lag: column("max_replication_lag"),
            cell: column("cell"),
            tablet_types: column("tablet_types"),
            time_updated: column("time_updated"),
            transaction_timestamp: column("transaction_timestamp"),
            time_heartbeat: column("time_heartbeat"),
            time_throttled: column("time_throttled"),
            component_throttled: column("component_throttled"),
            reason_throttled: column("reason_throttled"),
            state: column("state"),
            message: column("message"),
            db_name: column("db_name"),
            rows_copied: column("rows_copied"),
            tags: column("tags"),
            workflow_type: column("workflow_type"),
            workflow_sub_type: column("workflow_sub_type"),
            defer_secondary_keys: column("defer_secondary_keys"),
            options: column("options"),
        }
    }

    /// The stored position of a row.
    pub(crate) fn position<'a>(&self, row: &Row<'a>) -> &'a [u8] {
        row.value_of(self.pos).unwrap_or_default()
    }

    /// A row's id, as [`StreamRow::id`].
    pub(crate) fn id(&self, row: &Row<'_>) -> i64 {
        small(row, self.id).unwrap_or_default().into()
    }

    /// A row's id, and when it had its last heartbeat, if both can be read.
    pub(crate) fn heartbeat(&self, row: &Row<'_>) -> Option<(i64, i64)> {
        Some((row.integer_of(self.id).ok()??, row.integer_of(self.time_heartbeat).ok()??))
    }
}

impl<'a> StreamRow<'a> {
    /// Reads one row of `select * from _vt.vreplication`, of any release.
    pub fn read(row: &Row<'a>) -> Self {
        Self::with_position(row, &Columns::of(row.set()), &mut tablet_types::Last::default(), |pos| {
            position::normal(pos).map_err(|error| (error, position::as_stored(pos)))
        })
    }

    /// The same, one of many, its position read by `decode`, which has what to show beside its error.
    pub(crate) fn with_position(
        row: &Row<'a>,
        columns: &Columns,
        last_types: &mut tablet_types::Last<'a>,
        decode: impl FnOnce(&'a [u8]) -> Result<Cow<'a, str>, (RowError, String)>,
    ) -> Self {
        let row = &row.looked_through();
        let mut faults = Faults(Vec::new());
        let mut integer = |column| {
            let plain = row.plain_of(column);
            plain.unwrap_or_else(|| faults.or_default(row.integer_of(column)).unwrap_or_default())
        };
        let (max_tps, max_replication_lag) = (integer(columns.max_tps), integer(columns.max_replication_lag));
        let (time_updated, transaction_timestamp) = (integer(columns.time_updated), integer(columns.transaction_timestamp));
        let (time_heartbeat, time_throttled) = (integer(columns.time_heartbeat), integer(columns.time_throttled));
        let rows_copied = integer(columns.rows_copied);
        let (tablet_types, tablet_selection_preference, error) = last_types.parse(row.text_of(columns.tablet_types));
        faults.0.extend(error);
        let position = decode(columns.position(row)).unwrap_or_else(|(error, shown)| {
            faults.0.push(error);
            shown.into()
        });
        let is_there =
            |column: Column, name| if column.is_there() { Ok(()) } else { Err(RowError::new(name, "no such column", b"")) };
        let source = is_there(columns.source, "source");
        let source = source.and_then(|()| Source::read(row.value_of(columns.source).unwrap_or_default()));
        let id = is_there(columns.id, "id").and_then(|()| small(row, columns.id));
        let state = faults.or_default(state(row, columns.state));
        Self {
            id: faults.or_default(id).into(),
            workflow: row.text_of(columns.workflow),
            source: faults.or_default(source),
            position,
            stop_position: row.text_of(columns.stop_pos),
            max_tps,
            max_replication_lag,
            cell: row.text_of(columns.cell),
            tablet_types,
            tablet_selection_preference,
            time_updated,
            transaction_timestamp,
            time_heartbeat,
            time_throttled,
            component_throttled: row.text_of(columns.component_throttled),
            reason_throttled: row.text_of(columns.reason_throttled),
            state: state.into(),
            message: row.text_of(columns.message),
            db_name: row.text_of(columns.db_name),
            rows_copied,
            tag_list: row.text_of(columns.tags),
            workflow_type: faults.kind(row, columns.workflow_type, |number| {
                VReplicationWorkflowType::try_from(number).ok().map(|kind| kind.as_str_name())
            }),
            workflow_sub_type: faults.kind(row, columns.workflow_sub_type, |number| {
                VReplicationWorkflowSubType::try_from(number).ok().map(|kind| kind.as_str_name())
            }),
            defer_secondary_keys: row.value_of(columns.defer_secondary_keys) == Some(b"1"),
            options: row.text_of(columns.options),
            faults: faults.0,
        }
    }

    /// Cells to read from, trimmed; one that is empty: the tablet's own.
    pub fn cells(&self) -> impl Iterator<Item = &str> {
        self.cell.split(',').map(str::trim)
    }

    /// Tags, not trimmed; one that is empty: none.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tag_list.split(',')
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
    fn kind<'a>(&mut self, row: &Row<'a>, column: Column, name: impl Fn(i32) -> Option<&'static str>) -> Cow<'a, str> {
        match small(row, column) {
            Ok(number) => name(number).map_or_else(|| number.to_string().into(), Cow::Borrowed),
            Err(error) => {
                self.0.push(error);
                row.text_of(column)
            }
        }
    }
}

/// Known by its exact name only.
fn state(row: &Row<'_>, column: Column) -> Result<VReplicationWorkflowState, RowError> {
    if !column.is_there() {
        return Ok(VReplicationWorkflowState::Unknown);
    }
    let name = row.text_of(column);
    let none = || RowError::new("state", "no state of a stream has this name", name.as_bytes());
    VReplicationWorkflowState::from_str_name(&name).ok_or_else(none)
}

/// An integer of 32 bits.
fn small(row: &Row<'_>, column: Column) -> Result<i32, RowError> {
    let value = match row.plain_of(column) {
        Some(value) => value,
        None => row.integer_of(column)?.unwrap_or_default(),
    };
    i32::try_from(value).map_err(|_| {
        let text = row.text_of(column);
        let reason = format!("strconv.ParseInt: parsing \"{value}\": value out of range");
        RowError::new(column.name(), reason, text.as_bytes())
    })
}
