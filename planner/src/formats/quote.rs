//! Foreign bytes made printable, for errors: short excerpts, and texts in quotes as Go's `%q` has them.
//!
//! It must not decide what goes into an error, only how it looks.

use std::fmt::Write as _;

use crate::limits::EXCERPT_BYTES;

/// The beginning of a value: at most [`EXCERPT_BYTES`] of its bytes, control characters and invalid UTF-8 escaped, `…` when
/// something was cut.
pub fn excerpt(value: &[u8]) -> String {
    let mut out = String::new();
    let (head, cut) = head(value);
    escape(head, &mut out);
    if cut {
        out.push('…');
    }
    out
}

/// A text in double quotes with Go's escapes, cut like an [`excerpt`].
pub(crate) fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    let (head, cut) = head(value.as_bytes());
    escape(head, &mut out);
    if cut {
        out.push('…');
    }
    out.push('"');
    out
}

/// What is left of a value after the cut, never in the middle of a character, and whether there was one.
fn head(value: &[u8]) -> (&[u8], bool) {
    let Some(mut head) = value.get(..EXCERPT_BYTES) else { return (value, false) };
    if value.len() == EXCERPT_BYTES {
        return (value, false);
    }
    // A character that the cut went through is left out; what is no character at all is not.
    let begun = head.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    if std::str::from_utf8(begun).is_err_and(|error| error.error_len().is_none()) {
        head = head.strip_suffix(begun).unwrap_or(head);
    }
    (head, true)
}

fn escape(value: &[u8], out: &mut String) {
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                '\0'..='\u{1f}' | '\u{7f}' => hex(u32::from(character), out),
                '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}' => {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{:04x}", u32::from(character));
                }
                _ => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            hex(u32::from(*byte), out);
        }
    }
}

fn hex(byte: u32, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_printable_and_short() {
        let long = "é".repeat(100);
        for (name, value, want) in [
            ("empty", &b""[..], String::new()),
            ("plain", b"select 'x'", "select 'x'".to_owned()),
            ("control and quote", b"a\n\x00\x7f\"\\", r#"a\n\x00\x7f\"\\"#.to_owned()),
            ("each with Go's own escape", b"\x07\x08\t\n\x0b\x0c\r\x1b", r"\a\b\t\n\v\f\r\x1b".to_owned()),
            ("not UTF-8", b"a\xffb", r"a\xffb".to_owned()),
            ("exactly the limit", &[b'a'; EXCERPT_BYTES], "a".repeat(EXCERPT_BYTES)),
            ("one more", &[b'a'; EXCERPT_BYTES + 1], "a".repeat(EXCERPT_BYTES) + "…"),
            ("cut at a character", long.as_bytes(), "é".repeat(EXCERPT_BYTES / 2) + "…"),
            ("cut inside a character", &long.as_bytes()[1..], r"\xa9".to_owned() + &"é".repeat(29) + "…"),
            (
                "cut behind what is no character",
                &[&[b'a'; EXCERPT_BYTES - 1][..], b"\xff\xff"].concat(),
                "a".repeat(EXCERPT_BYTES - 1) + r"\xff…",
            ),
            (
                "cut in one of four bytes",
                &[&[b'a'; EXCERPT_BYTES - 3][..], "😀".as_bytes()].concat(),
                "a".repeat(EXCERPT_BYTES - 3) + "…",
            ),
            ("right-to-left override", "\u{202e}x".as_bytes(), r"\u202ex".to_owned()),
        ] {
            assert_eq!(excerpt(value), want, "{name}");
        }
    }
}
