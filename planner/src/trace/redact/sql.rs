//! A statement of a person's without the values in it.

use super::hidden::Hidden;
use crate::limits;

/// The statement with every text in it replaced, and what a comment says gone. Words, names, numbers and signs stay, so it means as much or
/// as little as before.
pub(super) fn without_values(sql: &str, hidden: &mut Hidden) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => {
                let quote = closing_quote(rest, first);
                let inside = rest.get(1..quote.unwrap_or(rest.len())).unwrap_or("");
                let is_hex = out.ends_with(['x', 'X'])
                    && !out.trim_end_matches(['x', 'X']).ends_with(|c: char| c.is_alphanumeric() || c == '_');
                let shown = if is_hex { hidden.hex(inside) } else { hidden.text(inside.as_bytes()) };
                out.push(first);
                out.push_str(&shown);
                // One without an end stays without.
                out.extend(quote.map(|_| first));
                quote.map_or(rest.len(), |at| at + 1)
            }
            '`' => {
                let end = rest.get(1..).and_then(|inside| inside.find('`')).map_or(rest.len(), |at| at + 2);
                out.push_str(rest.get(..end).unwrap_or(rest));
                end
            }
            '/' if rest.starts_with("/*") => {
                let end = rest.get(2..).and_then(|inside| inside.find("*/")).map_or(rest.len(), |at| at + 4);
                let comment = rest.get(..end).unwrap_or(rest);
                // Whether it was meant for somebody is what it is refused for.
                let kind = if comment.starts_with("/*!") {
                    "/*!*/"
                } else if comment.contains('+') {
                    "/*+*/"
                } else {
                    "/* */"
                };
                out.push_str(if comment.ends_with("*/") { kind } else { kind.trim_end_matches("*/") });
                end
            }
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '-' if rest.starts_with("-- ") || rest.starts_with("--\t") || rest.starts_with("--\n") => {
                rest.get(2..).and_then(|inside| inside.find('\n')).map_or(rest.len(), |at| at + 2)
            }
            '0' if rest.starts_with("0x") && !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') => {
                let digits = rest.get(2..).unwrap_or("");
                let end = digits.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(digits.len());
                out.push_str("0x");
                out.push_str(&hidden.hex(digits.get(..end).unwrap_or("")));
                end + 2
            }
            other => {
                out.push(other);
                other.len_utf8()
            }
        };
        rest = rest.get(length.max(1)..).unwrap_or("");
    }
    if sql.len() > limits::STATEMENT_BYTES && out.len() <= limits::STATEMENT_BYTES {
        // It was refused for its length, and has to be.
        out.push_str(&" ".repeat(limits::STATEMENT_BYTES + 1 - out.len()));
    }
    out
}

/// Where the quote stands that ends the text that begins here. Two quotes and a backslash with a quote are within. `None`: it has no end.
fn closing_quote(from: &str, quote: char) -> Option<usize> {
    let mut chars = from.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return Some(at);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_the_statement_stays() {
        for (sql, want) in [
            ("select id from t where a = 'bob'", "select id from t where a = '(redacted 1)'"),
            ("a = 'b' or c = 'b' or d = \"e\"", "a = '(redacted 1)' or c = '(redacted 1)' or d = \"(redacted 2)\""),
            (r"a = 'it''s \' bob' and 7", "a = '(redacted 1)' and 7"),
            ("a = x'626f62' and b = 0x626f62", "a = x'0000000000000001' and b = 0x0000000000000001"),
            ("`bob` = ''", "`bob` = ''"),
            ("select /* bob */ 1 -- bob\n, 2 # bob\n", "select /* */ 1 \n, 2 \n"),
            ("/*vt+ bob */ /*! bob */", "/*+*/ /*!*/"),
            ("a = 'bob", "a = '(redacted 1)"),
            (r"a = 'bob\'", "a = '(redacted 1)"),
            ("a = 'bob''", "a = '(redacted 1)"),
            (r"a = 'bob\", "a = '(redacted 1)"),
            ("a = 'bob' or b = 'bob", "a = '(redacted 1)' or b = '(redacted 1)"),
            ("a = 'bo' or b = 'bob", "a = '(redacted 1)' or b = '(redacted 2)"),
            ("ks's", "ks'(redacted 1)"),
            ("a = 'é", "a = '(redacted 1)"),
            ("a = '", "a = '"),
            ("a = ''", "a = ''"),
            ("x - -- bob", "x - "),
            ("é = 'é'", "é = '(redacted 1)'"),
            ("`b` = 'bob' and `bob` = 'bob'", "`b` = '(redacted 1)' and `bob` = '(redacted 1)'"),
            ("`bob = 'bob'", "`bob = 'bob'"),
            ("a = ax'bob' or b = _X\"bob\"", "a = ax'(redacted 1)' or b = _X\"(redacted 1)\""),
            ("a / 2 * 10 + 0 + 0.5", "a / 2 * 10 + 0 + 0.5"),
            ("a0xbob + _0xbob", "a0xbob + _0xbob"),
            ("a = 0x626f62 and b = 'bob'", "a = 0x0000000000000001 and b = '(redacted 2)'"),
        ] {
            assert_eq!(without_values(sql, &mut Hidden::default()), want);
        }
    }

    #[test]
    fn a_statement_is_too_long_afterwards_if_it_was() {
        let length = |length: usize| {
            let sql = format!("'{}'", "x".repeat(length - 2));
            without_values(&sql, &mut Hidden::default()).len()
        };
        assert_eq!(length(limits::STATEMENT_BYTES), "'(redacted 1)'".len());
        assert_eq!(length(limits::STATEMENT_BYTES + 1), limits::STATEMENT_BYTES + 1);
        assert_eq!(length(2 * limits::STATEMENT_BYTES), limits::STATEMENT_BYTES + 1);
        let words = "x".repeat(limits::STATEMENT_BYTES + 3);
        assert_eq!(without_values(&words, &mut Hidden::default()), words);
    }
}
