//! A checked statement as text, in the manner of Vitess: lower-case keywords, one blank, nothing that depends on `sql_mode`.
//!
//! Literals end where they should in every mode: a quote is doubled (`''`), never escaped by a backslash, and a backslash is
//! doubled; double quotes are never printed as delimiters (`ANSI_QUOTES`), and operands that are operations themselves are put in
//! parentheses, so that no precedence decides (`HIGH_NOT_PRECEDENCE`, `PIPES_AS_CONCAT`). In `NO_BACKSLASH_ESCAPES`, which no tablet sets,
//! a literal with a backslash or a control character would match nothing; it would still be one literal.
//!
//! Facts: MySQL's reference manual, String Literals; `go/sqltypes/value.go:encodeBytesSQL`.

use std::ops::Range;

use sqlparser::keywords::ALL_KEYWORDS;

use super::tables::Table;
use super::tree::{Call, Expr, Item, Order, Select, Tree};

/// Text under way, and which parts of it the scope added.
#[derive(Default)]
pub(super) struct Printer {
    pub(super) text: String,
    pub(super) added: Vec<Range<usize>>,
}

impl Printer {
    pub(super) fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Select(select) => self.select(select),
            Tree::Update { assignments, condition } => {
                self.push("update _vt.vreplication set ");
                self.list(assignments, |printer, (column, value)| {
                    printer.name(column);
                    printer.push(" = ");
                    printer.expr(value);
                });
                self.condition(" where ", condition.as_ref());
            }
            Tree::Delete { condition } => {
                self.push("delete from _vt.vreplication");
                self.condition(" where ", condition.as_ref());
            }
        }
    }

    fn select(&mut self, select: &Select) {
        self.push(if select.distinct { "select distinct " } else { "select " });
        self.list(&select.items, |printer, item| match item {
            Item::All(None) => printer.push("*"),
            Item::All(Some(table)) => {
                printer.table(*table);
                printer.push(".*");
            }
            Item::Expr(expr, alias) => {
                printer.expr(expr);
                if let Some(alias) = alias {
                    printer.push(" as ");
                    printer.name(alias);
                }
            }
        });
        self.push(" from ");
        self.table(select.table);
        self.condition(" where ", select.condition.as_ref());
        if !select.group_by.is_empty() {
            self.push(" group by ");
            self.list(&select.group_by, Self::expr);
        }
        self.condition(" having ", select.having.as_ref());
        self.order_by(&select.order_by);
        if let Some((offset, rows)) = select.limit {
            self.push(" limit ");
            if let Some(offset) = offset {
                self.push(&format!("{offset}, "));
            }
            self.push(&rows.to_string());
        }
    }

    fn order_by(&mut self, orders: &[Order]) {
        if !orders.is_empty() {
            self.push(" order by ");
            self.list(orders, |printer, order| {
                printer.expr(&order.expr);
                printer.push(if order.is_descending { " desc" } else { " asc" });
            });
        }
    }

    /// A condition behind its keyword; what the scope alone made of it includes the keyword.
    fn condition(&mut self, keyword: &str, condition: Option<&Expr>) {
        let Some(condition) = condition else { return };
        let parts = if let Expr::And(parts) = condition { parts.as_slice() } else { std::slice::from_ref(condition) };
        let mut joint = keyword;
        for part in parts {
            let start = self.text.len();
            self.push(joint);
            if let Expr::Added(added) = part {
                self.expr(added);
                // From the keyword on, without the blank in front.
                self.added.push(start + 1..self.text.len());
            } else if parts.len() > 1 {
                self.joint_operand(part);
            } else {
                self.expr(part);
            }
            joint = " and ";
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Column { table, name } => {
                if let Some(table) = table {
                    self.table(*table);
                    self.push(".");
                }
                self.name(name);
            }
            Expr::Alias(name) => self.name(name),
            Expr::Text(text) => self.literal(text),
            Expr::Number(digits) => self.push(digits),
            Expr::Hex(digits) => self.push(&format!("x'{digits}'")),
            Expr::Word(word) => self.push(word),
            Expr::And(parts) => self.joined(parts, " and "),
            Expr::Or(parts) => self.joined(parts, " or "),
            Expr::Binary { left, op, right } => {
                self.operand(left);
                self.push(&format!(" {op} "));
                self.operand(right);
            }
            Expr::Unary { op: "-", expr } if matches!(**expr, Expr::Number(_)) => {
                self.push("-");
                self.expr(expr);
            }
            Expr::Unary { op, expr } => {
                self.push(op);
                self.push("(");
                self.expr(expr);
                self.push(")");
            }
            Expr::Is { expr, what } => {
                self.operand(expr);
                self.push(&format!(" is {what}"));
            }
            Expr::InList { expr, negated, list } => {
                self.operand(expr);
                self.push(if *negated { " not in (" } else { " in (" });
                self.list(list, Self::expr);
                self.push(")");
            }
            Expr::InSelect { expr, negated, select } => {
                self.operand(expr);
                self.push(if *negated { " not in " } else { " in " });
                self.subquery(select);
            }
            Expr::Between { expr, negated, low, high } => {
                self.operand(expr);
                self.push(if *negated { " not between " } else { " between " });
                self.operand(low);
                self.push(" and ");
                self.operand(high);
            }
            Expr::Match { expr, negated, op, pattern, escape } => {
                self.operand(expr);
                self.push(if *negated { " not " } else { " " });
                self.push(op);
                self.push(" ");
                self.operand(pattern);
                if let Some(escape) = escape {
                    self.push(" escape ");
                    self.literal(escape);
                }
            }
            Expr::Exists { negated, select } => {
                self.push(if *negated { "not exists " } else { "exists " });
                self.subquery(select);
            }
            Expr::Subquery(select) => self.subquery(select),
            Expr::Call(call) => self.call(call),
            Expr::Case { operand, arms, otherwise } => {
                self.push("case");
                if let Some(operand) = operand {
                    self.push(" ");
                    self.operand(operand);
                }
                for (when, then) in arms {
                    self.push(" when ");
                    self.expr(when);
                    self.push(" then ");
                    self.expr(then);
                }
                if let Some(otherwise) = otherwise {
                    self.push(" else ");
                    self.expr(otherwise);
                }
                self.push(" end");
            }
            Expr::Cast { expr, to } => {
                self.push("cast(");
                self.expr(expr);
                self.push(&format!(" as {to})"));
            }
            Expr::Using { expr, charset } => {
                self.push("convert(");
                self.expr(expr);
                self.push(&format!(" using {charset})"));
            }
            Expr::Interval { value, unit } => {
                self.push("interval ");
                self.operand(value);
                self.push(&format!(" {unit}"));
            }
            Expr::Added(added) => self.expr(added),
        }
    }

    fn call(&mut self, call: &Call) {
        self.push(call.name);
        self.push(if call.distinct { "(distinct " } else { "(" });
        if call.star {
            self.push("*");
        }
        self.list(&call.args, Self::expr);
        self.order_by(&call.order_by);
        if let Some(separator) = &call.separator {
            self.push(" separator ");
            self.literal(separator);
        }
        self.push(")");
    }

    fn subquery(&mut self, select: &Select) {
        self.push("(");
        self.select(select);
        self.push(")");
    }

    fn joined(&mut self, parts: &[Expr], joint: &str) {
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.push(joint);
            }
            self.joint_operand(part);
        }
    }

    /// An operand of `and` and `or`: a comparison of two plain things stands alone, which every `sql_mode` reads alike.
    fn joint_operand(&mut self, expr: &Expr) {
        let stands_alone = match expr {
            Expr::Binary { left, op, right } => COMPARISONS.contains(op) && is_atom(left) && is_atom(right),
            Expr::Is { expr, .. } | Expr::InList { expr, .. } | Expr::InSelect { expr, .. } => is_atom(expr),
            Expr::Match { expr, pattern, .. } => is_atom(expr) && is_atom(pattern),
            Expr::Exists { negated, .. } => !negated,
            expr => is_atom(expr),
        };
        self.parenthesised(expr, !stands_alone);
    }

    /// An expression as part of another: in parentheses unless it is one thing.
    fn operand(&mut self, expr: &Expr) {
        self.parenthesised(expr, !is_atom(expr));
    }

    fn parenthesised(&mut self, expr: &Expr, is_in_parentheses: bool) {
        self.push(if is_in_parentheses { "(" } else { "" });
        self.expr(expr);
        self.push(if is_in_parentheses { ")" } else { "" });
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            each(self, item);
        }
    }

    fn table(&mut self, table: Table) {
        self.push("_vt.");
        self.push(table.name());
    }

    /// Back-quoted where it is a keyword of any dialect: that is never wrong.
    fn name(&mut self, name: &str) {
        let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && (COMMON.contains(&name) || ALL_KEYWORDS.binary_search(&name.to_ascii_uppercase().as_str()).is_err());
        if is_plain {
            self.push(name);
        } else {
            self.push("`");
            self.push(&name.replace('`', "``"));
            self.push("`");
        }
    }

    fn literal(&mut self, text: &str) {
        self.text.push('\'');
        for c in text.chars() {
            match c {
                '\0' => self.push("\\0"),
                '\'' => self.push("''"),
                '\u{8}' => self.push("\\b"),
                '\n' => self.push("\\n"),
                '\r' => self.push("\\r"),
                '\t' => self.push("\\t"),
                '\u{1a}' => self.push("\\Z"),
                '\\' => self.push("\\\\"),
                c => self.text.push(c),
            }
        }
        self.text.push('\'');
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// Whether an expression is one thing for every reader.
fn is_atom(expr: &Expr) -> bool {
    if let Expr::Unary { op: "-", expr } = expr {
        return matches!(**expr, Expr::Number(_));
    }
    matches!(
        expr,
        Expr::Column { .. }
            | Expr::Alias(_)
            | Expr::Text(_)
            | Expr::Number(_)
            | Expr::Hex(_)
            | Expr::Word(_)
            | Expr::Call(_)
            | Expr::Cast { .. }
            | Expr::Using { .. }
            | Expr::Subquery(_)
            // Only ever an operand of + and -, where nothing else than an interval may stand.
            | Expr::Interval { .. }
    )
}

const COMPARISONS: &[&str] = &["=", "!=", "<", "<=", ">", ">=", "<=>"];

/// Columns that some dialect has for a keyword and MySQL and Vitess do not reserve.
const COMMON: &[&str] = &["id", "state", "source", "message", "workflow", "tags", "cell", "pos"];
