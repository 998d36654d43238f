//! A checked statement: exactly what `VExec` accepts, and nothing that it does not.
//!
//! Whatever else MySQL knows has no place here, so it cannot be printed. Names of tables, columns and functions
//! are our own constants; from the input come only literals and the names of result columns.

use super::tables::Table;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Select(Select),
    Update { assignments: Vec<(&'static str, Expr)>, condition: Option<Expr> },
    Delete { condition: Option<Expr> },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Select {
    pub(super) distinct: bool,
    pub(super) items: Vec<Item>,
    pub(super) table: Table,
    pub(super) condition: Option<Expr>,
    pub(super) group_by: Vec<Expr>,
    pub(super) having: Option<Expr>,
    pub(super) order_by: Vec<Order>,
    pub(super) limit: Option<(Option<u64>, u64)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// `*`, or all columns of the table.
    All(Option<Table>),
    Expr(Expr, Option<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) expr: Expr,
    pub(super) is_descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Column {
        table: Option<Table>,
        name: &'static str,
    },
    /// A result column's own name, where MySQL allows it: in GROUP BY, HAVING, ORDER BY.
    Alias(String),
    Text(String),
    /// Digits, a point, an exponent.
    Number(String),
    /// Pairs of hexadecimal digits.
    Hex(String),
    /// `null`, `true`, `false`.
    Word(&'static str),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Binary {
        left: Box<Expr>,
        op: &'static str,
        right: Box<Expr>,
    },
    /// `not`, `-`, `+`.
    Unary {
        op: &'static str,
        expr: Box<Expr>,
    },
    /// `is null` and the like.
    Is {
        expr: Box<Expr>,
        what: &'static str,
    },
    InList {
        expr: Box<Expr>,
        negated: bool,
        /// At least one: `in ()` is none.
        list: Vec<Expr>,
    },
    InSelect {
        expr: Box<Expr>,
        negated: bool,
        select: Box<Select>,
    },
    Between {
        expr: Box<Expr>,
        negated: bool,
        low: Box<Expr>,
        high: Box<Expr>,
    },
    /// `like` with its escape character, or `regexp`.
    Match {
        expr: Box<Expr>,
        negated: bool,
        op: &'static str,
        pattern: Box<Expr>,
        escape: Option<String>,
    },
    Exists {
        negated: bool,
        select: Box<Select>,
    },
    Subquery(Box<Select>),
    Call(Call),
    Case {
        operand: Option<Box<Expr>>,
        arms: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast {
        expr: Box<Expr>,
        to: &'static str,
    },
    /// `convert(… using …)`.
    Using {
        expr: Box<Expr>,
        charset: &'static str,
    },
    Interval {
        value: Box<Expr>,
        unit: &'static str,
    },
    /// Added by the scope.
    Added(Box<Expr>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) distinct: bool,
    /// `count(*)`.
    pub(super) star: bool,
    pub(super) args: Vec<Expr>,
    pub(super) order_by: Vec<Order>,
    pub(super) separator: Option<String>,
}

impl Expr {
    pub(super) fn call(name: &'static str, args: Vec<Expr>) -> Self {
        Self::Call(Call { name, distinct: false, star: false, args, order_by: Vec::new(), separator: None })
    }

    pub(super) fn column(name: &'static str) -> Self {
        Self::Column { table: None, name }
    }

    pub(super) fn equals(name: &'static str, text: &str) -> Self {
        Self::Binary { left: Box::new(Self::column(name)), op: "=", right: Box::new(Self::Text(text.to_owned())) }
    }
}
