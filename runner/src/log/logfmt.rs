//! How a line of the log is written: `key=value` pairs, the time first.

use std::{
    borrow::Cow,
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes of a value in a line, unless it is an audit line's.
pub(crate) const VALUE_BYTES: usize = 200;
/// Bytes of a value in an audit line: a change's request and its targets.
pub(crate) const AUDIT_VALUE_BYTES: usize = 8192;
/// The same of a change that was refused before it began.
pub(crate) const REFUSED_VALUE_BYTES: usize = 1024;

/// A line: when, how grave, what, and whatever belongs to it, each value of at most `value_bytes`.
pub(super) fn text(level: &str, message: &str, fields: &[(&str, String)], value_bytes: usize) -> String {
    let mut text = format!("time={} level={level} msg={}", timestamp(), quoted(message, value_bytes));
    for (key, value) in fields {
        // Writing to a String does not fail.
        let _ = write!(text, " {key}={}", quoted(value, value_bytes));
    }
    text
}

/// Seconds since 1970 with milliseconds: unambiguous, and sorted as text.
pub(crate) fn timestamp() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", since.as_secs(), since.subsec_millis())
}

/// A value as logfmt has it: in quotes if it is more than one word, and cut if it is long. Callers choose paths, so lines cannot
/// be forged by them.
pub(crate) fn quoted(value: &str, bytes: usize) -> String {
    let value = &*cut(value, bytes);
    let is_word = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\'));
    if is_word { value.to_owned() } else { format!("{value:?}") }
}

/// A value as a line has it: no longer than `bytes`, cut where a character ends, and said to be cut.
fn cut(value: &str, bytes: usize) -> Cow<'_, str> {
    if value.len() <= bytes {
        return value.into();
    }
    let end = (0..=bytes).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
    let kept = value.get(..end).unwrap_or_default();
    format!("{kept}… ({} bytes)", value.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_line_cannot_pretend_to_be_more() {
        for (value, want) in [
            ("vtctlservice.Vtctld/GetWorkflows", "vtctlservice.Vtctld/GetWorkflows"),
            ("", "\"\""),
            ("a code=0", "\"a code=0\""),
            ("a\nlevel=info", "\"a\\nlevel=info\""),
            ("caf\u{e9}", "\"café\""),
        ] {
            assert_eq!(quoted(value, VALUE_BYTES), want);
        }
    }

    #[test]
    fn long_values_are_cut_where_a_character_ends() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "longe… (6 bytes)");
        assert_eq!(cut("aé", 2), "a… (3 bytes)");
        assert!(cut(&"€".repeat(1 << 20), VALUE_BYTES).len() < VALUE_BYTES + 30);
    }
}
