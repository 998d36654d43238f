//! Why a statement is refused, and where in its text: a message, a place, and what would be accepted instead.
//!
//! Texts keep the front of those that vtctld's planner gives, because scripts match them. Source of those:
//! `go/vt/vtctl/workflow/vexec/query_planner.go`, `query_plan.go`, v19 to v24.

use std::{fmt::Write, ops::Range};

use crate::limits;

/// A statement that is not planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong, in one line.
    pub message: String,
    /// Where: a range of bytes of the statement, on character boundaries. Empty at the end of the text when something is missing.
    pub span: Range<usize>,
    /// What would be accepted there; empty when the message says it.
    pub accepted: String,
}

impl Refusal {
    /// What the texts have of the statement is an [`excerpt`](super::parts::excerpt) of it: on one line, without control characters.
    pub(super) fn new(span: Range<usize>, message: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { message: message.into(), span, accepted: accepted.into() }
    }

    /// The message; below it the line of the statement that it is about, with carets under the place and what would be accepted
    /// behind them. Of a long line only the neighbourhood is shown; control characters are shown as blanks.
    pub fn with_caret(&self, sql: &str) -> String {
        let start = floor(sql, self.span.start);
        let end = floor(sql, self.span.end.max(start));
        let line_start = sql.get(..start).and_then(|front| front.rfind('\n')).map_or(0, |newline| newline + 1);
        let line_end = sql.get(start..).and_then(|rest| rest.find('\n')).map_or(sql.len(), |newline| start + newline);
        let before: Vec<char> = sql.get(line_start..start).unwrap_or("").chars().collect();
        let marked: Vec<char> = sql.get(start..end.min(line_end)).unwrap_or("").chars().collect();
        let after = sql.get(end.min(line_end).max(start)..line_end).unwrap_or("").chars();
        let skipped = before.len().saturating_sub(limits::EXCERPT_BYTES);
        let mut line = String::from(if skipped > 0 { "…" } else { "" });
        line.extend(before.iter().skip(skipped).chain(marked.iter().take(limits::EXCERPT_BYTES)));
        let column = line.chars().count() - marked.len().min(limits::EXCERPT_BYTES);
        if marked.len() > limits::EXCERPT_BYTES {
            line.push('…');
        } else {
            line.extend(after.take(limits::EXCERPT_BYTES));
        }
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let carets = "^".repeat(marked.len().clamp(1, limits::EXCERPT_BYTES));
        let mut text = format!("{}\n  {}\n  {}{carets}", self.message, line.trim_end(), " ".repeat(column));
        if !self.accepted.is_empty() {
            let _ = write!(text, " {}", self.accepted);
        }
        text
    }
}

/// The nearest character boundary at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let sql = "update _vt.vreplication\nset stete='ü\tx' where id = 1";
        let at = sql.find("stete").unwrap();
        let text = Refusal::new(at..at + 5, "no column stete", "did you mean state?").with_caret(sql);
        assert_eq!(text, "no column stete\n  set stete='ü x' where id = 1\n      ^^^^^ did you mean state?");
    }

    #[test]
    fn the_line_of_the_place_is_shown_and_not_those_around_it() {
        let sql = "select id\nfrom x\nwhere id = 1";
        let at = sql.find('x').unwrap();
        assert_eq!(Refusal::new(at..at + 1, "m", "").with_caret(sql), "m\n  from x\n       ^");
        // A place that goes on in the next line is marked up to the end of its own.
        assert_eq!(Refusal::new(at..at + 5, "m", "").with_caret(sql), "m\n  from x\n       ^");
        assert_eq!(Refusal::new(at..at, "m", "").with_caret(sql), "m\n  from x\n       ^");
    }

    #[test]
    fn a_long_place_is_shown_up_to_a_bound() {
        let most = limits::EXCERPT_BYTES;
        let shown = |length: usize| Refusal::new(2..2 + length, "m", "").with_caret(&format!("a {} b", "x".repeat(length)));
        let (x, carets) = ("x".repeat(most), "^".repeat(most));
        assert_eq!(shown(most), format!("m\n  a {x} b\n    {carets}"));
        assert_eq!(shown(most + 1), format!("m\n  a {x}…\n    {carets}"));
    }

    #[test]
    fn long_lines_and_places_outside_of_the_text_are_shown_in_part() {
        let sql = format!("{}bad{}", "ü".repeat(500), "x".repeat(500));
        let text = Refusal::new(1000..1003, "m", "").with_caret(&sql);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("  …ü") && lines[1].chars().count() < 140, "{text}");
        let caret = lines[2].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[1].chars().skip(caret).take(3).collect::<String>(), "bad");
        for span in [0..99_999, 99_999..99_999, 1..1, 0..0] {
            assert!(Refusal::new(span, "m", "").with_caret(&sql).contains('^'));
        }
        assert_eq!(Refusal::new(0..0, "m", "a statement").with_caret(""), "m\n  \n  ^ a statement");
    }
}
