//! Texts from outside on their way to a person: what may not be obeyed is escaped.
//!
//! Names and messages come from rows and records that anybody may have written. [`printable`] is the one function for all that is
//! shown, on a terminal and on the page.

use vtflow_planner::shell::is_hidden;
pub use vtflow_planner::shell::{Command, quoted};

/// A text that cannot move the cursor, break or reverse a line, hide a part of itself or look like another: control characters, format
/// characters, blanks other than the space and what leaves no trace on a screen are shown escaped, as `\n` or `\u{202e}`.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\r' => out.extend(c.escape_default()),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_screen_obeys_comes_through() {
        assert_eq!(printable("a\n\u{1b}[31mb\tü"), r"a\n\u{1b}[31mb\tü");
        assert_eq!(printable("日本 naïve 🦀"), "日本 naïve 🦀");
        let hidden = (0x200b..=0x200f).chain(0x202a..=0x202e).chain(0x2066..=0x2069).chain([0x2028, 0x2029, 0xfeff, 0xad, 0x7f]);
        let hidden = hidden.chain([0x9b, 0x61c, 0xa0, 0x3000, 0x3164, 0xfe0f, 0xe0041, 0xe0101, 0]);
        for c in hidden.filter_map(char::from_u32) {
            let shown = printable(&format!("a{c}b"));
            assert_eq!(shown, format!("a{}b", c.escape_unicode()), "{:x}", u32::from(c));
            assert!(vtflow_planner::shell::quoted(&c.to_string()).chars().all(|c| c.is_ascii_graphic()), "{:x}", u32::from(c));
        }
    }
}
