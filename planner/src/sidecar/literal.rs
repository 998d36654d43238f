//! String literals in statements: the only place where a name from a request or a record becomes SQL.

/// A MySQL string literal: single quotes around, backslash escapes inside, as Vitess prints them.
///
/// Source: `go/sqltypes/value.go:encodeBytesSQL` (v21 on, where `"` is left alone): NUL, `'`, backspace, line feed, carriage
/// return, tab, 0x1A and backslash are escaped. `\%` and `\_` do not arise: their backslash is escaped like any other.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\0' => out.push_str("\\0"),
            '\'' => out.push_str("\\'"),
            '\u{8}' => out.push_str("\\b"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{1a}' => out.push_str("\\Z"),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// The literal of a name as a tablet stores it; one that is not UTF-8 in hexadecimal digits, for a statement is a text.
pub(crate) fn quote_bytes(name: &[u8]) -> String {
    let hex = || name.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).filter_map(|digit| char::from_digit(digit.into(), 16));
    std::str::from_utf8(name).map_or_else(|_| format!("x'{}'", hex().collect::<String>()), quote)
}

#[cfg(test)]
mod tests {
    use super::{quote, quote_bytes};

    #[test]
    fn a_name_that_is_no_text_is_a_literal_too() {
        assert_eq!([quote_bytes(b"it's"), quote_bytes(b"a\xff\x00")], [r"'it\'s'", "x'61ff00'"]);
    }

    #[test]
    fn everything_that_could_end_a_literal_is_escaped() {
        for (text, want) in [
            ("vt_customer", "'vt_customer'"),
            ("it's", r"'it\'s'"),
            (r"\'; drop table x; --", r"'\\\'; drop table x; --'"),
            ("a\0b\u{8}c\nd\re\tf\u{1a}g\"h", "'a\\0b\\bc\\nd\\re\\tf\\Zg\"h'"),
            ("ü日本", "'ü日本'"),
            ("", "''"),
        ] {
            assert_eq!(quote(text), want);
        }
    }
}
