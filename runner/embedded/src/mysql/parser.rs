//! One statement, parsed as the parser of a tablet's release does, and that parser's words for what it cannot read.
//!
//! What may be run is decided elsewhere (`controller_plan.rs`). Texts measured on v16, v18, v20, v22 and v24.

use sqlparser::{
    ast::Statement,
    dialect::MySqlDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};
use tonic::Code;

use super::error::TabletError;
use crate::{bounds, release::Release};

/// Parses one statement as a tablet of the release does.
///
/// # Errors
///
/// The tablet's text for an empty, unreadable or second statement; one that is longer or deeper than is read.
pub(crate) fn parse_one(sql: &str, release: Release) -> Result<Statement, TabletError> {
    let refused = |text: String| TabletError::coded(Code::InvalidArgument, text);
    bounds::check(sql).map_err(|error| refused(error.to_string()))?;
    let mut tokens = Tokenizer::new(&MySqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| refused(syntax_error(sql, offset(sql, error.location.line, error.location.column), "")))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    if tokens.iter().all(|token| token.token == Token::SemiColon) {
        return Err(refused("Query was empty".to_owned()));
    }
    let end = tokens.iter().position(|token| token.token == Token::SemiColon);
    if let Some(second) = end.and_then(|end| tokens.get(end + 1)) {
        if release.counts_statements() {
            return Err(refused("Expected a single statement".to_owned()));
        }
        let start = second.span.start;
        return Err(refused(syntax_error(sql, offset(sql, start.line, start.column), &second.token.to_string())));
    }
    let mut statements =
        Parser::parse_sql(&MySqlDialect {}, sql).map_err(|error| refused(parser_error(sql, &error.to_string())))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err(refused("Expected a single statement".to_owned())),
    }
}

/// The byte offset of a line and column (both from 1).
fn offset(sql: &str, line: u64, column: u64) -> usize {
    let skipped: usize = sql.split_inclusive('\n').take(usize::try_from(line).unwrap_or(1).saturating_sub(1)).map(str::len).sum();
    let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let rest = sql.get(skipped..).unwrap_or("");
    skipped + rest.chars().take(column).map(char::len_utf8).sum::<usize>()
}

/// Vitess counts to the end of the token that it could not use.
fn syntax_error(sql: &str, at: usize, token: &str) -> String {
    if at >= sql.len() || token.is_empty() {
        return format!("syntax error at position {}", sql.len() + 1);
    }
    format!("syntax error at position {} near '{token}'", at + token.len() + 1)
}

/// From the parser's `…, found: TOKEN at Line: 1, Column: 8`.
fn parser_error(sql: &str, text: &str) -> String {
    let located = || {
        let (front, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let token = front.rsplit_once("found: ").map_or("", |(_, token)| token);
        let at = offset(sql, line.trim().parse().ok()?, column.trim().parse().ok()?);
        Some(syntax_error(sql, at, if token == "EOF" { "" } else { token.trim_matches(['\'', '"', '`']) }))
    };
    located().unwrap_or_else(|| syntax_error(sql, sql.len(), ""))
}
