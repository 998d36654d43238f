//! From the text of a statement to its parts, within bounds: words, values and signs, each with its place.
//!
//! What is too long or has too many parts is refused before it can cost anything. What the statement means is not known here. Facts:
//! the texts of syntax errors are Vitess's, `go/vt/sqlparser/token.go:Tokenizer.Error`.

use std::{any::TypeId, ops::Range};

use sqlparser::{
    dialect::{Dialect, MySqlDialect},
    tokenizer::{Location, Token, Tokenizer, Whitespace},
};

use super::refusal::Refusal;
use crate::limits;

/// A word, a value or a sign.
pub(super) struct Part {
    pub(super) token: Token,
    /// Its bytes in the text.
    pub(super) range: Range<usize>,
}

/// The parts of a statement, comments and a semicolon at the end left out: at least one.
pub(super) fn parts(sql: &str) -> Result<Vec<Part>, Refusal> {
    if let Some(at) = sql.find("/*!") {
        let message = "a comment that MySQL executes is not accepted";
        return Err(Refusal::new(at..at + 3, message, "write what is in it as part of the statement"));
    }
    let mut places = Places { rest: sql.chars(), at: Location { line: 1, column: 1 } };
    let tokens = Tokenizer::new(&Words(MySqlDialect {}), sql).tokenize_with_location().map_err(|error| {
        let at = places.byte(sql, error.location);
        let Refusal { span, message, .. } = syntax_error(sql, at..sql.trim_end().len().max(at));
        Refusal::new(span, message, excerpt(&error.message))
    })?;
    let parts = tokens.into_iter().map(|token| {
        let start = places.byte(sql, token.span.start);
        Part { token: token.token, range: start..places.byte(sql, token.span.end) }
    });
    let mut parts: Vec<Part> = parts.filter(|part| !is_ignored(&part.token)).collect();
    while parts.last().is_some_and(|part| part.token == Token::SemiColon) {
        parts.pop();
    }
    if parts.is_empty() {
        return Err(Refusal::new(0..0, "Query was empty", "a select, update or delete on a sidecar table"));
    }
    for part in &parts {
        match part.token {
            Token::SemiColon => {
                return Err(Refusal::new(
                    part.range.clone(),
                    "Expected a single statement",
                    "one statement, and nothing after it",
                ));
            }
            Token::Whitespace(_) => {
                let message = "comment directives are not passed on";
                return Err(Refusal::new(part.range.clone(), message, "no comment: vexec has no unsafe writes"));
            }
            _ => {}
        }
    }
    Ok(parts)
}

/// The same of what somebody has sent: no longer than what is read.
pub(super) fn bounded_parts(sql: &str) -> Result<Vec<Part>, Refusal> {
    if sql.len() > limits::STATEMENT_BYTES {
        let message = format!("the statement has {} bytes, more than the {} that are read", sql.len(), limits::STATEMENT_BYTES);
        return Err(Refusal::new(0..0, message, "a shorter one"));
    }
    let parts = parts(sql)?;
    // Values and commas make long lists, not deep trees.
    let is_simple = |token: &Token| matches!(token, Token::Comma | Token::Number(..) | Token::SingleQuotedString(_));
    let mut counted = parts.iter().filter(|part| !is_simple(&part.token));
    if let Some(first_too_many) = counted.nth(limits::STATEMENT_PARTS) {
        let count = limits::STATEMENT_PARTS + 1 + counted.count();
        let message =
            format!("the statement has {count} words and signs, more than the {} that are read", limits::STATEMENT_PARTS);
        return Err(Refusal::new(first_too_many.range.clone(), message, "a simpler one"));
    }
    Ok(parts)
}

/// A part that does not belong where it is; an empty one is where something is missing. Vitess counts to the end of the part that it
/// could not use.
pub(super) fn syntax_error(sql: &str, at: Range<usize>) -> Refusal {
    if at.is_empty() {
        let message = format!("syntax error at position {}", at.end + 1);
        return Refusal::new(at, message, "something is missing here");
    }
    let message = format!("syntax error at position {} near '{}'", at.end + 1, excerpt(sql.get(at.clone()).unwrap_or("")));
    Refusal::new(at, message, "this is where it stops being a statement of MySQL")
}

/// The front of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    const CHARACTERS: usize = 200;
    let cut: String = text.chars().take(CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARACTERS).is_some() { cut + "…" } else { cut }
}

/// Comments go, but for those that are meant for somebody (`/*+ … */`, `/*vt+ … */`): they are refused by name.
fn is_ignored(token: &Token) -> bool {
    match token {
        Token::Whitespace(Whitespace::MultiLineComment(text)) => !text.contains('+'),
        Token::Whitespace(_) | Token::EOF => true,
        _ => false,
    }
}

/// MySQL's words and signs, as the library's dialect has them: a test compares the two. That one has the grammar in it, too, of
/// every statement there is: a third of the planner in a browser.
#[derive(Debug)]
struct Words(MySqlDialect);

impl Dialect for Words {
    fn dialect(&self) -> TypeId {
        self.0.dialect()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.0.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.0.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.0.is_delimited_identifier_start(ch)
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn ignores_wildcard_escapes(&self) -> bool {
        true
    }

    fn supports_numeric_prefix(&self) -> bool {
        true
    }

    fn supports_multiline_comment_hints(&self) -> bool {
        true
    }

    fn requires_single_line_comment_whitespace(&self) -> bool {
        true
    }
}

/// From the tokenizer's places (lines and columns from 1, in characters) to bytes, walking the text once.
struct Places<'a> {
    rest: std::str::Chars<'a>,
    at: Location,
}

impl Places<'_> {
    /// The byte of a place that is not before the last one.
    fn byte(&mut self, sql: &str, place: Location) -> usize {
        while self.at < place {
            match self.rest.next() {
                None => break,
                Some('\n') => self.at = Location { line: self.at.line + 1, column: 1 },
                Some(_) => self.at.column += 1,
            }
        }
        sql.len() - self.rest.as_str().len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_tell_dialects_apart_fall_into_the_parts_of_the_librarys() {
        for sql in
            [r"'a\'b'", r"'\%\_'", "1a.2b", "/*!50000 a */ b", "/*! a */", "/* a */", "a--b", "a -- b\nc", "a --\tb", "a #b"]
        {
            let ours = Tokenizer::new(&Words(MySqlDialect {}), sql).tokenize_with_location();
            assert_eq!(ours, Tokenizer::new(&MySqlDialect {}, sql).tokenize_with_location(), "{sql}");
        }
    }

    proptest! {
        #[test]
        fn texts_fall_into_the_parts_of_the_librarys_dialect(
            sql in r#"([a-z_@$0-9.]{1,3}|0x|[xnbe]?'|"|`|\\|--|-- |#|/\*|\*/|[ -~\n]|[<>=!|&:?%é])*"#,
        ) {
            let ours = Tokenizer::new(&Words(MySqlDialect {}), &sql).tokenize_with_location();
            prop_assert_eq!(ours, Tokenizer::new(&MySqlDialect {}, &sql).tokenize_with_location());
        }

        #[test]
        fn places_are_those_of_the_text(sql in r"([a-z]{1,4}|[ \n]|'[a-zé\n]*'|=|,|\(){1,40}") {
            for part in parts(&sql).unwrap_or_default() {
                let text = sql.get(part.range).unwrap();
                let whole = Tokenizer::new(&MySqlDialect {}, text).tokenize().unwrap();
                prop_assert_eq!(whole, [part.token]);
            }
        }
    }
}
