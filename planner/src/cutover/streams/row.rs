//! A stream of another workflow, as its row has it: all that its copy has to have as well.

use crate::{
    formats::{binlog_source, position, source_text},
    proto::binlogdata::{BinlogSource, VReplicationWorkflowState as State, VReplicationWorkflowType as Type},
    sidecar::{Row, result::RowSet},
    traffic::evidence::{AT_POSITION, FROZEN, HELD, SYNCHRONIZING},
};

/// Columns that say how a stream works, and that go into its copy as they are. Releases before v20 do not have all of them.
pub(super) const SETTINGS: [&str; 9] = [
    "max_tps",
    "max_replication_lag",
    "cell",
    "tablet_types",
    "tags",
    "workflow_type",
    "workflow_sub_type",
    "defer_secondary_keys",
    "options",
];

/// Columns of [`SETTINGS`] that are numbers.
pub(super) const NUMBERS: [&str; 5] =
    ["max_tps", "max_replication_lag", "workflow_type", "workflow_sub_type", "defer_secondary_keys"];

/// A stream on a primary.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OtherStream {
    /// Whose primary has it.
    pub(crate) shard: String,
    pub(crate) id: i64,
    /// The workflow's name.
    pub(crate) workflow: String,
    pub(crate) source: BinlogSource,
    /// Why its source cannot be read, or not all of it; `None`: it was.
    pub(crate) unread: Option<String>,
    /// With its flavor.
    pub(crate) position: String,
    /// Where it stops; empty: nowhere.
    pub(crate) stop_position: String,
    pub(crate) state: String,
    pub(crate) message: String,
    /// Values of [`SETTINGS`] that the tablet has.
    pub(crate) settings: Vec<(&'static str, String)>,
}

impl OtherStream {
    fn read(shard: &str, row: &Row<'_>) -> Self {
        let id = row.integer("id").ok().flatten().unwrap_or_default();
        let text = row.value("source").flatten().unwrap_or_default();
        let (source, unread) = match binlog_source::parse(text) {
            Ok(source) if source_text::has_unknown(text, &source_text::print(&source)) => {
                (source, Some("it has fields that this build does not know".to_owned()))
            }
            Ok(source) => (source, None),
            Err(error) => (BinlogSource::default(), Some(error.to_string())),
        };
        let settings = SETTINGS.into_iter().filter(|name| row.set().has_column(name));
        Self {
            shard: shard.into(),
            id,
            workflow: row.text("workflow"),
            source,
            unread,
            position: position::as_stored(row.value("pos").flatten().unwrap_or_default()),
            stop_position: row.text("stop_pos"),
            state: row.text("state"),
            message: row.text("message"),
            settings: settings.map(|name| (name, row.text(name))).collect(),
        }
    }

    /// All streams in an answer, in the order of their ids.
    pub(super) fn all(shard: &str, rows: &RowSet) -> Vec<Self> {
        let mut all: Vec<Self> = rows.rows().map(|row| Self::read(shard, &row)).collect();
        all.sort_by_key(|stream| stream.id);
        all
    }

    /// Whether its writes were switched away: it stays as it is.
    pub(crate) fn is_frozen(&self) -> bool {
        self.message == FROZEN
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state == State::Stopped.as_str_name()
    }

    /// Whether a switch has stopped it, or lets it run up to a position only.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.message.as_str(), HELD | SYNCHRONIZING)
    }

    /// Whether it has come to where it was to stop: by a switch, if others of its workflow are held.
    pub(super) fn is_at_position(&self) -> bool {
        self.is_stopped() && !self.stop_position.is_empty() && self.message.starts_with(AT_POSITION)
    }

    /// Whether it was sent to a position, and is on its way there or has come to it. Of one that has come, nothing but a held stream of its
    /// workflow tells that a switch was it.
    pub(super) fn is_sent_on(&self) -> bool {
        self.message == SYNCHRONIZING || self.is_at_position()
    }

    /// Where it stops by whoever made it; `None`: nowhere.
    pub(super) fn own_stop_position(&self) -> Option<&str> {
        Some(self.stop_position.as_str()).filter(|at| !at.is_empty() && !self.is_sent_on())
    }

    /// Whether it is what a switch makes before it runs.
    pub(super) fn is_copy(&self) -> bool {
        self.is_stopped() && (self.message.is_empty() || self.is_frozen())
    }

    /// Whether it changes the definition of a table.
    pub(super) fn is_migration(&self) -> bool {
        let number = i32::from(Type::OnlineDdl).to_string();
        self.settings.iter().any(|(name, value)| *name == "workflow_type" && *value == number)
    }

    /// `commerce:0`
    pub(super) fn reads(&self) -> String {
        format!("{}:{}", self.source.keyspace, self.source.shard)
    }
}

/// Positions in an answer, by id.
///
/// # Errors
/// It is none, or one that has not begun: its stream would begin anew.
pub(crate) fn stream_positions(response: &[u8]) -> Result<Vec<(i64, String)>, String> {
    let rows = RowSet::from_vreplication_exec(response).map_err(|error| error.to_string())?;
    let one = |row: Row<'_>| {
        let id = row.integer("id").map_err(|error| error.to_string())?.unwrap_or_default();
        let at = position::as_stored(row.value("pos").flatten().unwrap_or_default());
        if at.is_empty() { Err(format!("stream {id} has no position")) } else { Ok((id, at)) }
    };
    rows.rows().map(one).collect()
}
