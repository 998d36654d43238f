//! Reading a statement part by part into a [`Tree`]: the cursor, and which statement it is.
//!
//! A grammar of our own, because it accepts so little of MySQL's: what a rule does not name is refused where it stands, so nothing
//! has to be looked for in a larger tree afterwards. The rules are in `select.rs`, `changes.rs`, `expr.rs` and `calls.rs`.

use std::ops::Range;

use sqlparser::{keywords::Keyword, tokenizer::Token};

use super::{
    parts::{Part, bounded_parts, excerpt, parts, syntax_error},
    refusal::Refusal,
    tables::Table,
    tree::Tree,
};

/// Reads one statement from its first part to its last.
pub(super) struct Parser<'a> {
    pub(super) sql: &'a str,
    parts: Vec<Part>,
    /// Which part is next.
    pub(super) at: usize,
    /// The tables whose columns can be named, the innermost last.
    pub(super) tables: Vec<Table>,
    /// Names of result columns that can be named, where they can.
    pub(super) aliases: Vec<String>,
    /// Why a subquery cannot stand here; empty when it can.
    pub(super) no_subquery: &'static str,
    /// How deep the expression under way is.
    pub(super) depth: usize,
    /// How high the tree is of what has been read at this depth.
    pub(super) height: usize,
    /// It was refused because it nests too deep.
    pub(super) is_too_deep: bool,
}

/// Words that are no names unless they are quoted: after a table or a result column, something else begins with them.
const RESERVED: &[&str] = &[
    "and",
    "as",
    "between",
    "by",
    "case",
    "div",
    "else",
    "end",
    "except",
    "for",
    "from",
    "group",
    "having",
    "in",
    "intersect",
    "into",
    "is",
    "join",
    "like",
    "limit",
    "lock",
    "mod",
    "not",
    "offset",
    "on",
    "or",
    "order",
    "regexp",
    "rlike",
    "select",
    "separator",
    "set",
    "then",
    "union",
    "using",
    "when",
    "where",
    "with",
    "xor",
];

/// Parses and checks a statement.
pub(super) fn parse(sql: &str) -> Result<Tree, Refusal> {
    let mut parser = Parser::new(sql, bounded_parts(sql)?);
    let tree = parser.statement()?;
    if parser.peek().is_some() {
        return Err(parser.expected("end of statement"));
    }
    Ok(tree)
}

/// Refuses what nests too deep in a form that was printed, and may have got longer by it.
pub(super) fn check_depth(printed: &str) -> Result<(), Refusal> {
    let mut parser = Parser::new(printed, parts(printed)?);
    match parser.statement() {
        Err(refusal) if parser.is_too_deep => Err(refusal),
        _ => Ok(()),
    }
}

impl<'a> Parser<'a> {
    fn new(sql: &'a str, parts: Vec<Part>) -> Self {
        let (tables, aliases) = (Vec::new(), Vec::new());
        Self { sql, parts, at: 0, tables, aliases, no_subquery: "", depth: 0, height: 0, is_too_deep: false }
    }

    fn statement(&mut self) -> Result<Tree, Refusal> {
        let Some(Token::Word(word)) = self.peek() else {
            // A query in parentheses is one, but none of ours.
            return if self.is_sign(&Token::LParen) {
                self.query().map(Tree::Select)
            } else {
                Err(self.expected("an SQL statement"))
            };
        };
        match word.keyword {
            Keyword::SELECT | Keyword::WITH => self.query().map(Tree::Select),
            Keyword::UPDATE => self.update(),
            Keyword::DELETE => self.delete(),
            Keyword::NoKeyword => Err(self.expected("an SQL statement")),
            // A statement of another kind, told by its first word.
            keyword => {
                let accepted = match keyword {
                    Keyword::INSERT | Keyword::REPLACE => {
                        "select, update or delete; streams are made by the commands that make workflows"
                    }
                    _ => "select, update or delete",
                };
                let message = format!("query not supported by vexec: {}", excerpt(self.sql));
                Err(Refusal::new(self.range(), message, accepted))
            }
        }
    }

    /// The next part; `None` at the end.
    pub(super) fn peek(&self) -> Option<&Token> {
        self.ahead(0)
    }

    /// The part that comes after so many others.
    pub(super) fn ahead(&self, parts: usize) -> Option<&Token> {
        self.parts.get(self.at + parts).map(|part| &part.token)
    }

    /// The bytes of the next part: none, at the end of the text, if there is none.
    pub(super) fn range(&self) -> Range<usize> {
        self.parts.get(self.at).map_or(self.sql.len()..self.sql.len(), |part| part.range.clone())
    }

    /// The bytes from a part to the last one that has been read.
    pub(super) fn since(&self, part: usize) -> Range<usize> {
        self.between(part, self.at)
    }

    /// The bytes from a part up to another one.
    pub(super) fn between(&self, from: usize, to: usize) -> Range<usize> {
        match (self.parts.get(from), to.checked_sub(1).and_then(|last| self.parts.get(last))) {
            (Some(first), Some(last)) => first.range.start..last.range.end.max(first.range.start),
            _ => self.range(),
        }
    }

    pub(super) fn text(&self, range: Range<usize>) -> &'a str {
        self.sql.get(range).unwrap_or("")
    }

    pub(super) fn excerpt(&self, range: Range<usize>) -> String {
        excerpt(self.text(range))
    }

    /// The word, not quoted, that comes after so many other parts.
    pub(super) fn word(&self, parts: usize) -> Option<&str> {
        match self.ahead(parts) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    /// Whether the next part is this word.
    pub(super) fn is(&self, word: &str) -> bool {
        self.word(0).is_some_and(|next| next.eq_ignore_ascii_case(word))
    }

    /// Which of these words the next part is.
    pub(super) fn one_of(&self, words: &'static [&'static str]) -> Option<&'static str> {
        words.iter().find(|word| self.is(word)).copied()
    }

    pub(super) fn is_sign(&self, sign: &Token) -> bool {
        self.peek() == Some(sign)
    }

    /// Whether the next part is a name: a word that is quoted or not reserved.
    pub(super) fn is_name(&self) -> bool {
        matches!(self.peek(), Some(Token::Word(_))) && self.one_of(RESERVED).is_none()
    }

    /// Reads this word, if it is the next part.
    pub(super) fn accept(&mut self, word: &str) -> bool {
        let is_next = self.is(word);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn accept_sign(&mut self, sign: &Token) -> bool {
        let is_next = self.is_sign(sign);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<(), Refusal> {
        if self.accept(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub(super) fn expect_sign(&mut self, sign: &Token, text: &str) -> Result<(), Refusal> {
        if self.accept_sign(sign) { Ok(()) } else { Err(self.expected(text)) }
    }

    /// The next part is something else than this.
    pub(super) fn expected(&self, what: &str) -> Refusal {
        Refusal { accepted: format!("expected {what}"), ..syntax_error(self.sql, self.range()) }
    }

    /// The part behind the end of what is in parentheses here, or of the statement; on the way, the first part at the same level
    /// that is this word.
    pub(super) fn find(&self, word: &str) -> (usize, Option<usize>) {
        let mut depth = 0_usize;
        let mut found = None;
        for (at, part) in self.parts.iter().enumerate().skip(self.at) {
            match &part.token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return (at, found),
                Token::RParen => depth -= 1,
                Token::Word(next) if depth == 0 && next.quote_style.is_none() && next.value.eq_ignore_ascii_case(word) => {
                    found = found.or(Some(at));
                }
                _ => {}
            }
        }
        (self.parts.len(), found)
    }

    /// A name, its qualifiers in front: at least one word.
    pub(super) fn name(&mut self) -> Result<(Vec<String>, String), Refusal> {
        let mut qualifiers = Vec::new();
        loop {
            let Some(Token::Word(word)) = self.peek() else { return Err(self.expected("a name")) };
            let name = word.value.clone();
            self.at += 1;
            if !(self.is_sign(&Token::Period) && matches!(self.ahead(1), Some(Token::Word(_)))) {
                return Ok((qualifiers, name));
            }
            self.at += 1;
            qualifiers.push(name);
        }
    }
}
