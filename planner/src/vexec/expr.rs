//! Expressions: literals, columns of the tables around, operators, subqueries. Calls are in `calls.rs`.
//!
//! Facts: MySQL's reference manual, Expressions, and its grammar (`sql/sql_yacc.yy`: `expr`, `bool_pri`, `predicate`, `bit_expr`);
//! `tablet.md`: what the parsers of v10 on take.

use sqlparser::tokenizer::Token;

use super::{
    parser::Parser,
    parts::excerpt,
    refusal::Refusal,
    tree::{Expr, Select},
};
use crate::limits;

/// How strongly operators bind, the weakest first.
const OR: u8 = 1;
const XOR: u8 = 2;
const AND: u8 = 3;
const NOT: u8 = 4;
const COMPARISON: u8 = 5;
pub(super) const PREDICATE: u8 = 6;
pub(super) const SUM: u8 = 7;
const PRODUCT: u8 = 8;
const SIGN: u8 = 9;
const PATH: u8 = 10;

/// How high the tree of an expression may be: each level costs stack wherever it is walked.
const HEIGHT: usize = 2 * limits::STATEMENT_DEPTH;

/// What stands between two operands, or behind one.
#[derive(Clone, Copy)]
enum Infix {
    And,
    Or,
    /// Printed as it is read.
    Binary(&'static str),
    /// `+` and `-`, which may have an interval on their right.
    Sum(&'static str),
    /// `->`, or `->>`, which takes the quotes off.
    Path {
        is_unquoted: bool,
    },
    Is,
    In,
    Between,
    Like,
    Regexp,
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr, Refusal> {
        self.operand(OR)
    }

    /// An expression whose operators bind at least so strongly.
    pub(super) fn operand(&mut self, weakest: u8) -> Result<Expr, Refusal> {
        if self.depth >= limits::STATEMENT_DEPTH {
            self.is_too_deep = true;
            let message = format!("the statement nests deeper than {} levels", limits::STATEMENT_DEPTH);
            return Err(Refusal::new(0..0, message, "fewer parentheses"));
        }
        self.depth += 1;
        let outer = std::mem::take(&mut self.height);
        let expr = self.operation(weakest);
        self.depth -= 1;
        self.grow()?;
        self.height = self.height.max(outer);
        expr
    }

    /// One level more on top of what has been read here.
    fn grow(&mut self) -> Result<(), Refusal> {
        self.height += 1;
        if self.height <= HEIGHT {
            return Ok(());
        }
        self.is_too_deep = true;
        let message = format!("the expression nests deeper than {HEIGHT} levels");
        Err(Refusal::new(0..0, message, "fewer operations in one"))
    }

    fn operation(&mut self, weakest: u8) -> Result<Expr, Refusal> {
        let mut left = self.prefix(weakest)?;
        while let Some((binds, parts, infix)) = self.infix()? {
            if binds < weakest {
                break;
            }
            let negated = parts == 2;
            self.at += parts;
            // A chain of `and` or of `or` is one list, however long.
            if !matches!((&left, infix), (Expr::And(_), Infix::And) | (Expr::Or(_), Infix::Or)) {
                self.grow()?;
            }
            left = match infix {
                Infix::And => {
                    let right = self.operand(binds + 1)?;
                    Expr::And(chained(left, right, |expr| if let Expr::And(parts) = expr { Ok(parts) } else { Err(expr) }))
                }
                Infix::Or => {
                    let right = self.operand(binds + 1)?;
                    Expr::Or(chained(left, right, |expr| if let Expr::Or(parts) = expr { Ok(parts) } else { Err(expr) }))
                }
                Infix::Sum(op) if self.is("interval") => {
                    Expr::Binary { left: Box::new(left), op, right: Box::new(self.interval()?) }
                }
                Infix::Binary(op) | Infix::Sum(op) => {
                    Expr::Binary { left: Box::new(left), op, right: Box::new(self.operand(binds + 1)?) }
                }
                Infix::Path { is_unquoted } => {
                    let path = Expr::call("json_extract", vec![left, self.operand(binds + 1)?]);
                    if is_unquoted { Expr::call("json_unquote", vec![path]) } else { path }
                }
                Infix::Is => Expr::Is { expr: Box::new(left), what: self.is_what()? },
                Infix::In => self.is_in(left, negated)?,
                Infix::Between => {
                    let low = Box::new(self.operand(SUM)?);
                    self.expect("and")?;
                    Expr::Between { expr: Box::new(left), negated, low, high: Box::new(self.operand(PREDICATE)?) }
                }
                Infix::Like => {
                    let pattern = Box::new(self.operand(SUM)?);
                    let escape = if self.accept("escape") { Some(self.escape()?) } else { None };
                    Expr::Match { expr: Box::new(left), negated, op: "like", pattern, escape }
                }
                Infix::Regexp => {
                    let pattern = Box::new(self.operand(SUM)?);
                    Expr::Match { expr: Box::new(left), negated, op: "regexp", pattern, escape: None }
                }
            };
        }
        Ok(left)
    }

    /// The operator that is next, how strongly it binds and how many parts it has (two: it is negated). `None`: there is none.
    fn infix(&self) -> Result<Option<(u8, usize, Infix)>, Refusal> {
        let predicate = |at: usize| {
            let word = self.word(at)?.to_ascii_lowercase();
            Some(match word.as_str() {
                "in" => Infix::In,
                "between" => Infix::Between,
                "like" => Infix::Like,
                "regexp" | "rlike" => Infix::Regexp,
                _ => return None,
            })
        };
        let (binds, infix) = match self.peek() {
            Some(Token::Eq) => (COMPARISON, Infix::Binary("=")),
            Some(Token::Neq) => (COMPARISON, Infix::Binary("!=")),
            Some(Token::Lt) => (COMPARISON, Infix::Binary("<")),
            Some(Token::LtEq) => (COMPARISON, Infix::Binary("<=")),
            Some(Token::Gt) => (COMPARISON, Infix::Binary(">")),
            Some(Token::GtEq) => (COMPARISON, Infix::Binary(">=")),
            Some(Token::Spaceship) => (COMPARISON, Infix::Binary("<=>")),
            Some(Token::Plus) => (SUM, Infix::Sum("+")),
            Some(Token::Minus) => (SUM, Infix::Sum("-")),
            Some(Token::Mul) => (PRODUCT, Infix::Binary("*")),
            Some(Token::Div) => (PRODUCT, Infix::Binary("/")),
            Some(Token::Mod) => (PRODUCT, Infix::Binary("%")),
            Some(Token::Arrow) => (PATH, Infix::Path { is_unquoted: false }),
            Some(Token::LongArrow) => (PATH, Infix::Path { is_unquoted: true }),
            Some(Token::Overlap) => return Err(Refusal::new(self.range(), "&& is not accepted", "and")),
            Some(Token::StringConcat) => {
                return Err(Refusal::new(self.range(), "|| means one thing or another, by sql_mode", "or, or concat(…)"));
            }
            Some(Token::Ampersand | Token::Pipe | Token::Caret | Token::ShiftLeft | Token::ShiftRight) => {
                let accepted = "=, !=, <, >, <=>, +, -, *, /, div, %";
                return Err(Refusal::new(self.range(), "this operator is not supported by vexec", accepted));
            }
            Some(Token::Word(word)) if word.quote_style.is_none() => match word.value.to_ascii_lowercase().as_str() {
                "and" => (AND, Infix::And),
                "or" => (OR, Infix::Or),
                "xor" => (XOR, Infix::Binary("xor")),
                "is" => (COMPARISON, Infix::Is),
                "div" => (PRODUCT, Infix::Binary("div")),
                "mod" => (PRODUCT, Infix::Binary("%")),
                "not" => return Ok(predicate(1).map(|infix| (PREDICATE, 2, infix))),
                _ => return Ok(predicate(0).map(|infix| (PREDICATE, 1, infix))),
            },
            _ => return Ok(None),
        };
        Ok(Some((binds, 1, infix)))
    }

    /// What comes after IS.
    fn is_what(&mut self) -> Result<&'static str, Refusal> {
        let negated = self.accept("not");
        let what = match (self.one_of(&["null", "true", "false"]), negated) {
            (Some("null"), true) => "not null",
            (Some("true"), true) => "not true",
            (Some("false"), true) => "not false",
            (Some(what), _) => what,
            (None, _) => return Err(self.expected("null, true or false")),
        };
        self.at += 1;
        Ok(what)
    }

    /// What comes after IN.
    fn is_in(&mut self, expr: Expr, negated: bool) -> Result<Expr, Refusal> {
        self.expect_sign(&Token::LParen, "(")?;
        let expr = Box::new(expr);
        if self.one_of(&["select", "with"]).is_some() {
            let select = Box::new(self.subquery()?);
            return Ok(Expr::InSelect { expr, negated, select });
        }
        let list = self.exprs()?;
        Ok(Expr::InList { expr, negated, list })
    }

    /// Expressions with commas between them, and the parenthesis that ends them.
    pub(super) fn exprs(&mut self) -> Result<Vec<Expr>, Refusal> {
        let mut list = vec![self.expr()?];
        while self.accept_sign(&Token::Comma) {
            list.push(self.expr()?);
        }
        self.expect_sign(&Token::RParen, "a comma or )")?;
        Ok(list)
    }

    fn escape(&mut self) -> Result<String, Refusal> {
        let start = self.at;
        match self.operand(SIGN)? {
            Expr::Text(text) if text.chars().count() == 1 => Ok(text),
            _ => Err(Refusal::new(self.since(start), "an escape is one character", "escape '|'")),
        }
    }

    /// A query in parentheses, the first of which has been read.
    fn subquery(&mut self) -> Result<Select, Refusal> {
        if !self.no_subquery.is_empty() {
            return Err(Refusal::new(self.range(), "a subquery cannot stand here", self.no_subquery));
        }
        let select = self.query()?;
        self.expect_sign(&Token::RParen, ")")?;
        Ok(select)
    }

    /// What an expression begins with.
    fn prefix(&mut self, weakest: u8) -> Result<Expr, Refusal> {
        let literal = "'text', 12, x'ff', null";
        let expr = match self.peek() {
            Some(Token::Word(_)) => return self.named(weakest),
            Some(Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)) => {
                let mut whole = String::new();
                // As in MySQL, texts side by side are one.
                while let Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) = self.peek() {
                    whole.push_str(text);
                    self.at += 1;
                }
                return Ok(Expr::Text(whole));
            }
            Some(Token::Number(digits, false)) if is_number(digits) => Expr::Number(digits.clone()),
            Some(Token::HexStringLiteral(digits)) if digits.len() % 2 == 0 && digits.bytes().all(|c| c.is_ascii_hexdigit()) => {
                Expr::Hex(digits.clone())
            }
            Some(
                Token::Number(..)
                | Token::HexStringLiteral(_)
                | Token::NationalStringLiteral(_)
                | Token::SingleQuotedByteStringLiteral(_)
                | Token::DoubleQuotedByteStringLiteral(_)
                | Token::SingleQuotedRawStringLiteral(_)
                | Token::DoubleQuotedRawStringLiteral(_),
            ) => return Err(Refusal::new(self.range(), "this kind of literal is not supported by vexec", literal)),
            Some(Token::Minus) => {
                self.at += 1;
                return Ok(Expr::Unary { op: "-", expr: Box::new(self.operand(SIGN)?) });
            }
            Some(Token::Plus) => {
                self.at += 1;
                return self.operand(SIGN);
            }
            Some(Token::LParen) => {
                self.at += 1;
                if self.one_of(&["select", "with"]).is_some() {
                    return Ok(Expr::Subquery(Box::new(self.subquery()?)));
                }
                let expr = self.expr()?;
                if self.is_sign(&Token::Comma) {
                    return Err(self.unsupported(self.range()));
                }
                self.expect_sign(&Token::RParen, ")")?;
                return Ok(expr);
            }
            Some(Token::Placeholder(_) | Token::Colon | Token::AtSign) => {
                let start = self.at;
                self.at += usize::from(!matches!(self.peek(), Some(Token::Placeholder(_))));
                self.at += 1;
                let range = self.since(start);
                let message = format!("variables are not accepted: {}", self.excerpt(range.clone()));
                return Err(Refusal::new(range, message, "the value itself: nobody fills it in"));
            }
            Some(Token::ExclamationMark | Token::Tilde) => return Err(self.unsupported(self.range())),
            _ => return Err(self.expected("an expression")),
        };
        self.at += 1;
        Ok(expr)
    }

    /// What begins with a word: a constant, an operator, a call or a column.
    fn named(&mut self, weakest: u8) -> Result<Expr, Refusal> {
        let is_call = self.ahead(1) == Some(&Token::LParen);
        match self.one_of(&["null", "true", "false", "not", "exists", "case", "current_timestamp", "interval"]) {
            Some(word @ ("null" | "true" | "false")) => {
                self.at += 1;
                return Ok(Expr::Word(word));
            }
            // As in MySQL: `1 + not x` is none.
            Some("not") if weakest <= NOT => {
                self.at += 1;
                if self.is("exists") {
                    return self.exists(true);
                }
                return Ok(Expr::Unary { op: "not ", expr: Box::new(self.operand(NOT)?) });
            }
            Some("exists") => return self.exists(false),
            Some("case") => return self.case(),
            Some("current_timestamp") if !is_call => {
                self.at += 1;
                return Ok(Expr::call("current_timestamp", Vec::new()));
            }
            Some("interval") => {
                return Err(Refusal::new(self.range(), "an interval cannot stand here", "now() - interval 10 minute"));
            }
            _ => {}
        }
        // Some functions have reserved names.
        if !is_call && !self.is_name() {
            return Err(self.expected("an expression"));
        }
        let start = self.at;
        let (qualifiers, name) = self.name()?;
        let range = self.since(start);
        if self.is_sign(&Token::LParen) {
            return self.call(start);
        }
        if !qualifiers.is_empty() {
            let table = self.named_table(&qualifiers, range.clone())?;
            return Ok(Expr::Column { table: Some(table), name: Self::column_of(&[table], &name, range)? });
        }
        // Where a result column can be named, MySQL finds out which of the two is meant.
        if self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(&name)) {
            return Ok(Expr::Alias(name));
        }
        Ok(Expr::column(Self::column_of(&self.tables, &name, range)?))
    }

    fn exists(&mut self, negated: bool) -> Result<Expr, Refusal> {
        self.at += 1;
        self.expect_sign(&Token::LParen, "(")?;
        Ok(Expr::Exists { negated, select: Box::new(self.subquery()?) })
    }

    fn case(&mut self) -> Result<Expr, Refusal> {
        self.at += 1;
        let operand = if self.is("when") { None } else { Some(Box::new(self.expr()?)) };
        let mut arms = Vec::new();
        self.expect("when")?;
        loop {
            let condition = self.expr()?;
            self.expect("then")?;
            arms.push((condition, self.expr()?));
            if !self.accept("when") {
                break;
            }
        }
        let otherwise = if self.accept("else") { Some(Box::new(self.expr()?)) } else { None };
        self.expect("end")?;
        Ok(Expr::Case { operand, arms, otherwise })
    }

    pub(super) fn unsupported(&self, range: std::ops::Range<usize>) -> Refusal {
        let accepted = "values, columns, comparisons, and, or, not, in, like, between, case, functions, subqueries";
        let message = format!("this expression is not supported by vexec: {}", excerpt(self.text(range.clone())));
        Refusal::new(range, message, accepted)
    }
}

/// Two operands of one list. Parentheses around a part of the same chain change nothing.
fn chained(left: Expr, right: Expr, list: impl Fn(Expr) -> Result<Vec<Expr>, Expr>) -> Vec<Expr> {
    let mut parts = list(left).unwrap_or_else(|single| vec![single]);
    match list(right) {
        Ok(more) => parts.extend(more),
        Err(single) => parts.push(single),
    }
    parts
}

/// Digits, one point, an exponent: what every parser reads as one number.
fn is_number(text: &str) -> bool {
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_every_parser_reads_as_one() {
        for text in ["0", "12", "1.", ".5", "1.5", "1e3", "1E3", "1.5e+3", "1e-3", &"9".repeat(64)] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", ".", "e", "+1", "-1", "1.2.3", "1e", "0x1", "1_000", "1 2", "inf", "NaN", &"9".repeat(65)] {
            assert!(!is_number(text), "{text}");
        }
    }
}
