//! The log on stderr: lines of `key=value` pairs, which nobody who works ever waits for.

pub(crate) mod logfmt;
pub(crate) mod queue;
pub(crate) mod sparing;

use self::{
    logfmt::{AUDIT_VALUE_BYTES, REFUSED_VALUE_BYTES, VALUE_BYTES, text},
    queue::Room,
};

/// A line of the same form about anything.
pub(crate) fn line(level: &str, message: &str, fields: &[(&str, String)]) {
    queue::put(text(level, message, fields, VALUE_BYTES), Room::Common);
}

/// A line about a change. Those of changes that were made have room of their own in the queue, and their values may be longer.
pub(crate) fn audit(level: &str, fields: &[(&str, String)], room: Room) {
    let value_bytes = match room {
        Room::Audit => AUDIT_VALUE_BYTES,
        Room::Common => REFUSED_VALUE_BYTES,
    };
    queue::put(text(level, "audit", fields, value_bytes), room);
}

/// A line of the same form about the server itself.
pub(crate) fn message(level: &str, message: &str) {
    line(level, message, &[]);
}
