//! Lines of text of a given width: cut, or wrapped.
//!
//! A width is the number of columns that a text takes on a terminal: an ideograph or an emoji takes two, a combining mark none.
//! Texts are printable by then ([`super::terminal::printable`]).

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text with blanks behind it, so that it takes so many columns. A longer one is left as it is.
pub fn padded(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(blanks))
}

/// As much of the text's head as fits into so many columns.
pub fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > columns
    });
    end.map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// As much of the text's tail as fits into so many columns.
pub fn tail(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let start = text.char_indices().rev().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > columns
    });
    start.map_or(text, |(start, c)| text.get(start + c.len_utf8()..).unwrap_or(text))
}

/// The text, cut at its end where it takes more columns.
pub fn cut(text: &str, columns: Option<usize>) -> String {
    match columns {
        Some(columns) if width(text) > columns => format!("{}…", head(text, columns.saturating_sub(1))),
        _ => text.to_owned(),
    }
}

/// Fewer columns than these are not worth wrapping for.
const NARROWEST: usize = 20;

/// The text to its end, in lines of at most so many columns, each with a newline at its end. `first` stands before the first line, as many
/// blanks before the others.
pub fn wrapped(first: &str, text: &str, columns: Option<usize>) -> String {
    let indent = " ".repeat(width(first));
    let room = columns.unwrap_or(usize::MAX).saturating_sub(indent.len()).max(NARROWEST);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').flat_map(|word| pieces(word, room)) {
        let columns = width(word);
        match lines.last_mut() {
            Some(line) if used == 0 => line.push_str(word),
            Some(line) if used + 1 + columns <= room => {
                line.push(' ');
                line.push_str(word);
                used += 1;
            }
            _ => {
                lines.push(word.to_owned());
                used = 0;
            }
        }
        used += columns;
    }
    let before = std::iter::once(first).chain(std::iter::repeat(indent.as_str()));
    let whole = lines.iter().zip(before).map(|(line, before)| format!("{before}{line}").trim_end().to_owned() + "\n");
    whole.collect::<Vec<_>>().concat()
}

/// A word in pieces that fit a line: itself, unless it is longer than one.
fn pieces(word: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = word;
    while width(rest) > room {
        let piece = head(rest, room);
        if piece.is_empty() {
            break;
        }
        pieces.push(piece);
        rest = rest.get(piece.len()..).unwrap_or("");
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ideographs_and_emoji_take_two_columns() {
        assert_eq!([width("abc"), width("日本"), width("🦀"), width("e\u{301}")], [3, 4, 2, 1]);
        assert_eq!((head("日本語", 5), tail("日本語", 3)), ("日本", "語"));
        assert_eq!(cut("日本語", Some(5)), "日本…");
        assert_eq!(padded("日本", 6), "日本  ");
    }

    #[test]
    fn a_text_is_wrapped_to_its_end() {
        assert_eq!(wrapped("  x  ", "one two three four five six", Some(25)), "  x  one two three four\n     five six\n");
        assert_eq!(wrapped("", &"x".repeat(45), Some(20)), format!("{0}\n{0}\nxxxxx\n", "x".repeat(20)));
        assert_eq!(wrapped("  ", "as wide as it needs to be", None), "  as wide as it needs to be\n");
        assert!(wrapped("", &"日本語 ".repeat(20), Some(20)).lines().all(|line| width(line) <= 20));
    }
}
