//! Faces of what is private, for the targets of `tests/fuzz` alone. No host may call them: they are not part of the interface.

use crate::{
    formats::{RowError, number, source::Source, time},
    proto::binlogdata::BinlogSource,
};

/// A stream's source as a reply has it: read where it stands, if it is plain.
///
/// # Errors
/// As [`crate::formats::binlog_source::parse`].
pub fn source(text: &[u8]) -> Result<BinlogSource, RowError> {
    Source::read(text).map(|source| source.message())
}

/// Go's `strconv.ParseInt(text, 10, 64)`.
///
/// # Errors
/// Go's text.
pub fn signed(text: &str) -> Result<i64, String> {
    number::signed(text)
}

/// Go's `strconv.ParseUint(text, 10, 64)` with the largest value allowed.
///
/// # Errors
/// Go's text.
pub fn unsigned(text: &str, largest: u64) -> Result<u64, String> {
    number::unsigned(text, largest)
}

/// The integer of a log row, whatever the column's type.
///
/// # Errors
/// Vitess's text.
pub fn cast(text: &str) -> Result<i64, String> {
    number::cast(text)
}

/// Unix seconds as Go's `time.ANSIC`, UTC.
pub fn ansic(seconds: i64) -> String {
    time::ansic(seconds)
}
