//! Bytes of result rows to typed rows: what a tablet answered about its sidecar tables, column by column.
//!
//! Its one job is to read. It decides nothing about workflows (that is [`crate::ops`] and the merge) and does no IO.
//! Rows are read by column *name*: the order and the number of columns differ between releases, and a release that lacks a
//! column has the column's default. Nothing here panics on any input, and what is not valid says which column, why, and shows
//! the beginning of the value. A column that cannot be read never takes its row away: the row has it as it is stored, or empty.
//!
//! Facts: the sidecar schema `go/vt/sidecardb/schema/vreplication/*.sql`, the reader of the rows
//! `go/vt/vttablet/tabletmanager/rpc_vreplication.go:ReadVReplicationWorkflows`, and vtctld's
//! `go/vt/vtctl/workflow/workflow_fetcher.go`, of Vitess.

pub mod binlog_source;
pub mod copy_state;
pub(crate) mod declared;
pub mod log;
pub mod migration;
mod number;
pub mod options;
pub mod position;
pub(crate) mod quote;
pub mod result;
mod result_layout;
pub mod source;
pub mod stream;
pub mod tablet_types;
pub mod text_format;
pub mod time;

pub use copy_state::CopyStateRow;
pub use log::LogRow;
pub use result::{Row, RowSet};
pub use stream::StreamRow;

/// Why a row, or a whole result, cannot be read. One line when displayed: the column, what was wrong, how the value begins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {reason}{}", in_quotes(excerpt))]
pub struct RowError {
    /// The column's name; [`RowError::RESULT`] when it is the result as a whole.
    pub column: &'static str,
    /// What was wrong with it, in the words of Vitess's reader where clients may know them.
    pub reason: String,
    /// The beginning of the value: printable, at most [`crate::limits::EXCERPT_BYTES`] bytes of it, then `…` if there was
    /// more. Empty: there is nothing to show.
    pub excerpt: String,
}

impl RowError {
    /// The `column` of an error in the result as a whole.
    pub const RESULT: &'static str = "(result)";

    pub(crate) fn new(column: &'static str, reason: impl Into<String>, value: &[u8]) -> Self {
        Self { column, reason: reason.into(), excerpt: quote::excerpt(value) }
    }
}

fn in_quotes(excerpt: &str) -> String {
    if excerpt.is_empty() { String::new() } else { format!(" in \"{excerpt}\"") }
}
