//! Rows of `_vt.vreplication_log`: what happened to a stream.
//!
//! It does not decide to which stream a row, or its error, is attached.
//!
//! Facts: `go/vt/sidecardb/schema/vreplication/vreplication_log.sql`;
//! `go/vt/vtctl/workflow/workflow_fetcher.go:fetchStreamLogs` for the order of the checks and the texts, v11 to v24.

use crate::{
    formats::{number::cast, time::parse_datetime},
    sidecar::Row,
};

/// One entry of the log. What cannot be read of it is 0, and named in [`LogRow::fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Grows with every entry of the tablet.
    pub id: i64,
    /// The stream's id on its tablet; the stream may be gone. `None`: it cannot be read.
    pub stream: Option<i64>,
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
    /// The first thing that is wrong, in vtctld's words, as clients see it in `log_fetch_error`; empty: nothing.
    pub fault: String,
}

impl LogRow {
    /// Reads one row of `select * from _vt.vreplication_log`. Values are read as text, whatever the columns' types.
    ///
    /// What is wrong is looked for in vtctld's order: `id`, `vrepl_id`, `created_at`, `updated_at`, `count`. A missing column is
    /// an empty text.
    pub fn read(row: &Row<'_>) -> Self {
        let mut fault = String::new();
        let mut noted = |read: Result<i64, String>| {
            let value = read.as_ref().ok().copied();
            if let Some(text) = read.err().filter(|_| fault.is_empty()) {
                fault = text;
            }
            value
        };
        let id = noted(cast(&row.text("id"))).unwrap_or_default();
        let stream = noted(cast(&row.text("vrepl_id")));
        let created_at = noted(parse_datetime(&row.text("created_at"))).unwrap_or_default();
        let updated_at = noted(parse_datetime(&row.text("updated_at"))).unwrap_or_default();
        let count = noted(cast(&row.text("count"))).unwrap_or_default();
        let (kind, state, message) = (row.text("type"), row.text("state"), row.text("message"));
        Self { id, stream, kind, state, created_at, updated_at, message, count, fault }
    }
}
