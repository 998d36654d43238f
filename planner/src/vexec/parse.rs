//! From text to the SQL parser's tree, within bounds, and from the parser's places to bytes of the text.
//!
//! What is too long, has too many parts or nests too deeply is refused before it can cost anything. What the statement means is not
//! known here. Facts: the texts of syntax errors are Vitess's, `go/vt/sqlparser/token.go:Tokenizer.Error`.

use std::ops::Range;

use sqlparser::{
    ast::Statement,
    dialect::MySqlDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Span, Token, TokenWithSpan, Tokenizer},
};

use super::refusal::Refusal;
use crate::limits;

/// The text of a statement.
#[derive(Clone, Copy)]
pub(super) struct Source<'a>(pub(super) &'a str);

impl<'a> Source<'a> {
    /// The bytes of a place. A place that the parser does not know is the whole text.
    pub(super) fn range(self, span: Span) -> Range<usize> {
        if span.start.line == 0 || span.end.line == 0 {
            return 0..self.0.len();
        }
        let start = self.offset(span.start.line, span.start.column);
        start..self.offset(span.end.line, span.end.column).max(start)
    }

    pub(super) fn text(self, range: Range<usize>) -> &'a str {
        self.0.get(range).unwrap_or("")
    }

    /// Line and column count from 1, columns in characters.
    fn offset(self, line: u64, column: u64) -> usize {
        let lines = usize::try_from(line).unwrap_or(1).saturating_sub(1);
        let skipped: usize = self.0.split_inclusive('\n').take(lines).map(str::len).sum();
        let columns = usize::try_from(column).unwrap_or(1).saturating_sub(1);
        skipped + self.0.get(skipped..).unwrap_or("").chars().take(columns).map(char::len_utf8).sum::<usize>()
    }

    /// Vitess counts to the end of the part that it could not use.
    fn syntax_error(self, at: usize, token: &str) -> Refusal {
        let rest = self.0.get(at..).unwrap_or("");
        if rest.trim().is_empty() || token.is_empty() {
            let end = self.0.len();
            return Refusal::new(end..end, format!("syntax error at position {}", end + 1), "something is missing here");
        }
        let end = if rest.starts_with(token) { at + token.len() } else { at + rest.chars().next().map_or(0, char::len_utf8) };
        let message = format!("syntax error at position {} near '{}'", end + 1, excerpt(self.text(at..end)));
        Refusal::new(at..end, message, "this is where it stops being a statement of MySQL")
    }
}

/// The front of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    const CHARACTERS: usize = 200;
    let cut: String = text.chars().take(CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARACTERS).is_some() { cut + "…" } else { cut }
}

/// Parses one statement.
pub(super) fn parse(sql: &str) -> Result<Statement, Refusal> {
    let source = Source(sql);
    if sql.len() > limits::STATEMENT_BYTES {
        let message = format!("the statement has {} bytes, more than the {} that are read", sql.len(), limits::STATEMENT_BYTES);
        return Err(Refusal::new(0..0, message, "a shorter one"));
    }
    if let Some(at) = sql.find("/*!") {
        let message = "a comment that MySQL executes is not accepted";
        return Err(Refusal::new(at..at + 3, message, "write what is in it as part of the statement"));
    }
    let tokens = tokens(source)?;
    let first = tokens.first().map(|token| token.token.clone());
    let mut parser =
        Parser::new(&MySqlDialect {}).with_recursion_limit(limits::STATEMENT_DEPTH).with_tokens_with_locations(tokens);
    // Not the parser's own entrance, which knows every statement there is: more than half of the planner in a browser.
    let parsed = match first {
        Some(Token::Word(word)) => match word.keyword {
            Keyword::SELECT | Keyword::WITH => parser.parse_query().map(Statement::Query),
            Keyword::UPDATE => {
                let token = parser.next_token();
                parser.parse_update(token)
            }
            Keyword::DELETE => {
                let token = parser.next_token();
                parser.parse_delete(token)
            }
            Keyword::NoKeyword => parser.expected("an SQL statement", parser.peek_token()),
            keyword => return Err(unsupported(source, keyword)),
        },
        Some(Token::LParen) => parser.parse_query().map(Statement::Query),
        _ => parser.expected("an SQL statement", parser.peek_token()),
    };
    let ended = parsed.and_then(|statement| match parser.peek_token() {
        token if token.token == Token::EOF => Ok(statement),
        token => parser.expected("end of statement", token),
    });
    ended.map_err(|error| parser_error(source, &error))
}

/// A statement of another kind, told by its first word.
fn unsupported(source: Source<'_>, keyword: Keyword) -> Refusal {
    let message = format!("query not supported by vexec: {}", excerpt(source.0));
    let word = source.0.trim_start();
    let start = source.0.len() - word.len();
    let end = start + word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
    let accepted = match keyword {
        Keyword::INSERT | Keyword::REPLACE => "select, update or delete; streams are made by the commands that make workflows",
        _ => "select, update or delete",
    };
    Refusal::new(start..end, message, accepted)
}

/// The parts of the text, comments and a semicolon at the end left out.
fn tokens(source: Source<'_>) -> Result<Vec<TokenWithSpan>, Refusal> {
    let mut tokens = Tokenizer::new(&MySqlDialect {}, source.0).tokenize_with_location().map_err(|error| {
        let at = source.offset(error.location.line, error.location.column);
        Refusal { accepted: error.message, ..source.syntax_error(at, source.0.get(at..).unwrap_or("").trim_end()) }
    })?;
    tokens.retain(|token| !is_ignored(&token.token));
    while tokens.last().is_some_and(|token| token.token == Token::SemiColon) {
        tokens.pop();
    }
    if tokens.is_empty() {
        return Err(Refusal::new(0..0, "Query was empty", "a select, update or delete on a sidecar table"));
    }
    if let Some(at) = tokens.iter().position(|token| token.token == Token::SemiColon) {
        let range = source.range(tokens.get(at).map_or(Span::empty(), |token| token.span));
        return Err(Refusal::new(range, "Expected a single statement", "one statement, and nothing after it"));
    }
    // Values and commas make long lists, not deep trees.
    let is_simple = |token: &Token| matches!(token, Token::Comma | Token::Number(..) | Token::SingleQuotedString(_));
    let parts = tokens.iter().filter(|token| !is_simple(&token.token));
    if let Some(first_too_many) = parts.clone().nth(limits::STATEMENT_PARTS) {
        let message = format!(
            "the statement has {} words and signs, more than the {} that are read",
            parts.count(),
            limits::STATEMENT_PARTS
        );
        return Err(Refusal::new(source.range(first_too_many.span), message, "a simpler one"));
    }
    Ok(tokens)
}

/// Comments go, but for those that are meant for somebody: they are refused by name.
fn is_ignored(token: &Token) -> bool {
    match token {
        Token::Whitespace(sqlparser::tokenizer::Whitespace::MultiLineComment(text)) => !text.contains('+'),
        Token::Whitespace(sqlparser::tokenizer::Whitespace::SingleLineComment { comment, .. }) => !comment.starts_with('+'),
        Token::Whitespace(_) | Token::EOF => true,
        _ => false,
    }
}

/// From the parser's `…, found: TOKEN at Line: 1, Column: 8`.
fn parser_error(source: Source<'_>, error: &ParserError) -> Refusal {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            let message = format!("the statement nests deeper than {} levels", limits::STATEMENT_DEPTH);
            return Refusal::new(0..0, message, "fewer parentheses");
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let located = || {
        let (front, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let (expected, token) = front.rsplit_once(", found: ").unwrap_or(("", ""));
        let at = source.offset(line.trim().parse().ok()?, column.trim().parse().ok()?);
        let refusal = source.syntax_error(at, if token == "EOF" { "" } else { token });
        let expected = expected.strip_prefix("Expected: ").filter(|expected| expected.len() <= limits::EXCERPT_BYTES);
        Some(Refusal { accepted: expected.map_or(refusal.accepted, |expected| format!("expected {expected}")), ..refusal })
    };
    located().unwrap_or_else(|| source.syntax_error(source.0.len(), ""))
}
