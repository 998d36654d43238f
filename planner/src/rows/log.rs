//! Rows of `_vt.vreplication_log`: what happened to a stream.
//!
//! It does not decide to which stream a row, or its error, is attached.
//!
//! Facts: `go/vt/sidecardb/schema/vreplication/vreplication_log.sql`;
//! `go/vt/vtctl/workflow/workflow_fetcher.go:fetchStreamLogs` for the order of the checks and the texts, v11 to v24.

use super::Row;
use super::number::cast;
use super::time::parse_datetime;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Grows with every entry of the tablet.
    pub id: i64,
    /// The stream's id on its tablet; the stream may be gone.
    pub stream: i64,
    /// Column `type`, such as `State Changed`.
    pub kind: String,
    /// The stream's state at that time, any text.
    pub state: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; later than `created_at` when the same message came again.
    pub updated_at: i64,
    /// What happened.
    pub message: String,
    /// How often the message came, one after the other.
    pub count: i64,
}

/// An entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BadLog {
    /// The stream's id, if that can be read.
    pub stream: Option<i64>,
    /// What is wrong, in vtctld's words, as clients see it in `log_fetch_error`.
    pub text: String,
}

impl LogRow {
    /// Reads one row of `select * from _vt.vreplication_log`. Values are read as text, whatever the columns' types.
    ///
    /// # Errors
    /// The first that is wrong of `id`, `vrepl_id`, `created_at`, `updated_at` and `count`. A missing column is an empty text.
    pub fn read(row: &Row<'_>) -> Result<Self, BadLog> {
        let stream = cast(&row.text("vrepl_id"));
        let known = stream.as_ref().ok().copied();
        let failed = |text: String| BadLog { stream: known, text };
        Ok(Self {
            id: cast(&row.text("id")).map_err(failed)?,
            stream: stream.map_err(failed)?,
            created_at: parse_datetime(&row.text("created_at")).map_err(failed)?,
            updated_at: parse_datetime(&row.text("updated_at")).map_err(failed)?,
            count: cast(&row.text("count")).map_err(failed)?,
            kind: row.text("type"),
            state: row.text("state"),
            message: row.text("message"),
        })
    }
}
