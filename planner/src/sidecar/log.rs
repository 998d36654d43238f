//! Rows of `_vt.vreplication_log`: what happened to a stream.
//!
//! It does not decide to which stream a row, or its error, is attached.
//!
//! Facts: `go/vt/sidecardb/schema/vreplication/vreplication_log.sql`;
//! `go/vt/vtctl/workflow/workflow_fetcher.go:fetchStreamLogs` for the order of the checks and the texts, v11 to v24.

use std::borrow::Cow;

use crate::{
    formats::{number::cast, time::parse_datetime},
    sidecar::{Row, RowSet, result::Column},
};

/// One entry of the log. What cannot be read of it is 0, and named in [`LogRow::fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow<'a> {
    /// Grows with every entry of the tablet.
    pub id: i64,
    /// The stream's id on its tablet; the stream may be gone. `None`: it cannot be read.
    pub stream: Option<i64>,
    /// Column `type`, such as `State Changed`.
    pub kind: Cow<'a, str>,
    /// The stream's state at that time, any text.
    pub state: Cow<'a, str>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; later than `created_at` when the same message came again.
    pub updated_at: i64,
    /// What happened.
    pub message: Cow<'a, str>,
    /// How often the message came, one after the other.
    pub count: i64,
    /// The first thing that is wrong, in vtctld's words, as clients see it in `log_fetch_error`; empty: nothing.
    pub fault: String,
}

/// The columns of a result whose rows are log entries, each looked up once.
pub(crate) struct Columns {
    id: Column,
    stream: Column,
    kind: Column,
    state: Column,
    created_at: Column,
    updated_at: Column,
    message: Column,
    count: Column,
}

impl Columns {
    pub(crate) fn of(set: &RowSet) -> Self {
        let column = |name| set.column(name);
        Self {
            id: column("id"),
            stream: column("vrepl_id"),
            kind: column("type"),
            state: column("state"),
            created_at: column("created_at"),
            updated_at: column("updated_at"),
            message: column("message"),
            count: column("count"),
        }
    }
}

impl<'a> LogRow<'a> {
    /// Reads one row of `select * from _vt.vreplication_log`. Values are read as text, whatever the columns' types.
    ///
    /// What is wrong is looked for in vtctld's order: `id`, `vrepl_id`, `created_at`, `updated_at`, `count`. A missing column is
    /// an empty text.
    pub fn read(row: &Row<'a>) -> Self {
        Self::read_at(row, &Columns::of(row.set()))
    }

    /// The same, of one of many rows of a result.
    pub(crate) fn read_at(row: &Row<'a>, columns: &Columns) -> Self {
        let row = &row.looked_through();
        let mut fault = String::new();
        let mut noted = |read: Result<i64, String>| {
            let value = read.as_ref().ok().copied();
            if let Some(text) = read.err().filter(|_| fault.is_empty()) {
                fault = text;
            }
            value
        };
        let id = noted(cast(&row.text_of(columns.id))).unwrap_or_default();
        let stream = noted(cast(&row.text_of(columns.stream)));
        let created_at = noted(parse_datetime(&row.text_of(columns.created_at))).unwrap_or_default();
        let updated_at = noted(parse_datetime(&row.text_of(columns.updated_at))).unwrap_or_default();
        let count = noted(cast(&row.text_of(columns.count))).unwrap_or_default();
        let (kind, state, message) = (row.text_of(columns.kind), row.text_of(columns.state), row.text_of(columns.message));
        Self { id, stream, kind, state, created_at, updated_at, message, count, fault }
    }
}
