//! A stream's row as a write looks at it: the columns as they are stored, so that what is kept is kept to the letter.

use std::fmt::Write as _;

use crate::{
    contract::PlannedRow,
    formats::{binlog_source, quote::excerpt},
    proto::binlogdata::VReplicationWorkflowType,
    sidecar::result::{Row, RowSet},
};

/// One row of `_vt.vreplication`. A column that the release lacks is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) id: i64,
    pub(crate) state: String,
    pub(crate) message: String,
    pub(crate) source: String,
    pub(crate) pos: String,
    pub(crate) stop_pos: String,
    pub(crate) cell: String,
    pub(crate) tablet_types: String,
    pub(crate) options: String,
    workflow_type: String,
    workflow_sub_type: String,
    rows_copied: String,
}

/// The streams in the rows, ascending by id.
///
/// # Errors
/// A row without an id that can be read: nobody could say which stream would be changed. Or one without a column that every release
/// has. Or two with one id, which is the table's key: one change would become two.
pub(crate) fn streams(pages: &[RowSet]) -> Result<Vec<Stream>, String> {
    let mut streams = pages.iter().flat_map(RowSet::rows).map(|row| Stream::read(&row)).collect::<Result<Vec<_>, _>>()?;
    streams.sort_by_key(|stream| stream.id);
    match streams.windows(2).find(|pair| matches!(pair, [one, next] if one.id == next.id)) {
        Some([twice, ..]) => Err(format!("stream {} is in the rows twice", twice.id)),
        _ => Ok(streams),
    }
}

impl Stream {
    fn read(row: &Row<'_>) -> Result<Self, String> {
        let id = row.integer("id").map_err(|error| error.to_string())?.ok_or("a stream without id")?;
        // Of every release: without them nobody could say whether it is frozen, or what it reads.
        if let Some(column) = ["state", "message", "source"].into_iter().find(|column| row.value(column).is_none()) {
            return Err(format!("the rows have no column {column}"));
        }
        Ok(Self {
            id,
            state: row.text("state"),
            message: row.text("message"),
            source: row.text("source"),
            pos: row.text("pos"),
            stop_pos: row.text("stop_pos"),
            cell: row.text("cell"),
            tablet_types: row.text("tablet_types"),
            options: row.text("options"),
            workflow_type: row.text("workflow_type"),
            workflow_sub_type: row.text("workflow_sub_type"),
            rows_copied: row.text("rows_copied"),
        })
    }

    /// Whether the workflow's traffic has been switched and its streams put away for good. Source:
    /// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:UpdateVReplicationWorkflow`.
    pub(crate) fn is_frozen(&self) -> bool {
        self.message.to_uppercase() == "FROZEN"
    }

    /// Whether it is of a workflow of this type. A column that the release lacks, or NULL, is of none.
    ///
    /// # Errors
    /// What is stored is no number: nobody can tell.
    pub(crate) fn is_of_type(&self, number: i32) -> Result<bool, String> {
        self.is_number("workflow_type", &self.workflow_type, number)
    }

    /// Whether it is of a schema migration.
    ///
    /// # Errors
    /// As for the type.
    pub(crate) fn is_of_migration(&self) -> Result<bool, String> {
        self.is_of_type(VReplicationWorkflowType::OnlineDdl as i32)
    }

    /// Whether it is of a workflow that moves traffic. One that does not say what it is may be.
    pub(crate) fn moves_traffic(&self) -> bool {
        let kinds = [VReplicationWorkflowType::MoveTables, VReplicationWorkflowType::Reshard];
        kinds.into_iter().any(|kind| self.is_of_type(kind as i32) != Ok(false))
    }

    /// Whether it is of a workflow of this sub-type.
    ///
    /// # Errors
    /// As for the type.
    pub(crate) fn is_of_sub_type(&self, number: i32) -> Result<bool, String> {
        self.is_number("workflow_sub_type", &self.workflow_sub_type, number)
    }

    fn is_number(&self, column: &str, stored: &str, number: i32) -> Result<bool, String> {
        match stored.parse::<i64>() {
            Ok(stored) => Ok(stored == i64::from(number)),
            Err(_) if stored.is_empty() => Ok(false),
            Err(_) => Err(format!("{column} of stream {} cannot be read: {}", self.id, excerpt(stored.as_bytes()))),
        }
    }

    /// As a plan has it.
    pub(crate) fn planned(&self) -> PlannedRow {
        PlannedRow { name: format!("stream {}", self.id), about: self.about(), basis: self.basis() }
    }

    /// What people want to know before it is changed.
    fn about(&self) -> String {
        let mut frozen = if self.is_frozen() { ", frozen".to_owned() } else { String::new() };
        // What cannot be read is shown as it is stored: whoever says yes to the plan sees which row it is.
        if binlog_source::parse(self.source.as_bytes()).is_err() {
            let _ = write!(frozen, ", source cannot be read: {}", excerpt(self.source.as_bytes()));
        }
        match self.rows_copied.as_str() {
            "" | "0" => format!("{}{frozen}", self.state),
            rows => format!("{}{frozen}, {rows} rows copied", self.state),
        }
    }

    /// What a plan for this stream rests on. `Copying` turns into `Running` by itself, and a message comes and goes.
    pub(crate) fn basis(&self) -> String {
        let state = if self.state == "Copying" { "Running" } else { &self.state };
        let frozen = if self.is_frozen() { " frozen" } else { "" };
        let Self { source, cell, tablet_types, options, .. } = self;
        format!("{state}{frozen} cell={cell:?} tablet_types={tablet_types:?} options={options:?} source={source:?}")
    }
}
