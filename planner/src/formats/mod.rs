//! The texts and bytes that cells of sidecar rows hold: a stream's source, positions, options, times, numbers. Each file reads one.
//!
//! Nothing here knows which table a value is of, and nothing panics on any input: what is not valid says which column, why, and
//! shows the beginning of the value.

pub mod binlog_source;
pub(crate) mod gtids;
pub(crate) mod number;
pub mod options;
mod plain_bytes;
pub mod position;
pub mod quote;
pub mod source;
pub(crate) mod source_text;
pub mod tablet_types;
pub mod text_format;
pub mod time;
pub mod uuid;

pub(crate) use plain_bytes::plain_bytes;

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
