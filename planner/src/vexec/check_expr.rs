//! From the SQL parser's expressions to checked ones: literals, columns of the tables around, operators, functions on the list.
//!
//! What is not known here is refused. Facts: MySQL's reference manual, Expressions; `tablet.md`: what the parsers of v10 on take.

use sqlparser::{
    ast::{
        BinaryOperator, CaseWhen, CastKind, CeilFloorKind, CharacterLength, DataType, DateTimeField, DuplicateTreatment,
        Expr as Sql, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Interval, Spanned,
        TrimWhereField, UnaryOperator, Value, ValueWithSpan,
    },
    tokenizer::Span,
};

use super::{
    check::Checker,
    functions,
    parse::excerpt,
    refusal::Refusal,
    tables::nearest,
    tree::{Call, Expr},
};
use crate::limits;

impl Checker<'_> {
    pub(super) fn expr(&mut self, expr: &Sql) -> Result<Expr, Refusal> {
        if self.depth >= 2 * limits::STATEMENT_DEPTH {
            let message = format!("the expression nests deeper than {} levels", 2 * limits::STATEMENT_DEPTH);
            return Err(self.refuse(Span::empty(), message, "fewer operations in one"));
        }
        self.depth += 1;
        let checked = self.expr_within_depth(expr);
        self.depth -= 1;
        checked
    }

    fn boxed(&mut self, expr: &Sql) -> Result<Box<Expr>, Refusal> {
        self.expr(expr).map(Box::new)
    }

    fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Sql>) -> Result<Vec<Expr>, Refusal> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    fn expr_within_depth(&mut self, expr: &Sql) -> Result<Expr, Refusal> {
        let is = |this: &mut Self, expr: &Sql, what| Ok(Expr::Is { expr: this.boxed(expr)?, what });
        match expr {
            Sql::Identifier(ident) => {
                // Where a result column can be named, MySQL finds out which of the two is meant.
                if self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(&ident.value)) {
                    return Ok(Expr::Alias(ident.value.clone()));
                }
                let tables = self.tables.clone();
                Ok(Expr::column(self.column_of(&tables, &ident.value, ident.span)?))
            }
            Sql::CompoundIdentifier(parts) => {
                let mut names: Vec<String> = parts.iter().map(|part| part.value.clone()).collect();
                let last = names.pop().unwrap_or_default();
                let table = self.named_table(&names, expr.span())?;
                Ok(Expr::Column { table: Some(table), name: self.column_of(&[table], &last, expr.span())? })
            }
            Sql::Value(value) => self.value(value),
            Sql::Nested(inner) => self.expr(inner),
            Sql::IsNull(inner) => is(self, inner, "null"),
            Sql::IsNotNull(inner) => is(self, inner, "not null"),
            Sql::IsTrue(inner) => is(self, inner, "true"),
            Sql::IsNotTrue(inner) => is(self, inner, "not true"),
            Sql::IsFalse(inner) => is(self, inner, "false"),
            Sql::IsNotFalse(inner) => is(self, inner, "not false"),
            Sql::InList { expr, list, negated } => {
                Ok(Expr::InList { expr: self.boxed(expr)?, negated: *negated, list: self.exprs(list)? })
            }
            Sql::InSubquery { expr, subquery, negated } => {
                Ok(Expr::InSelect { expr: self.boxed(expr)?, negated: *negated, select: Box::new(self.subquery(subquery)?) })
            }
            Sql::Exists { subquery, negated } => {
                Ok(Expr::Exists { negated: *negated, select: Box::new(self.subquery(subquery)?) })
            }
            Sql::Subquery(subquery) => Ok(Expr::Subquery(Box::new(self.subquery(subquery)?))),
            Sql::Between { expr, negated, low, high } => {
                Ok(Expr::Between { expr: self.boxed(expr)?, negated: *negated, low: self.boxed(low)?, high: self.boxed(high)? })
            }
            Sql::BinaryOp { left, op, right } => self.binary(expr, left, op, right),
            Sql::Like { negated, any: false, expr, pattern, escape_char } => {
                let escape = escape_char.as_ref().map(|escape| match self.expr(escape)? {
                    Expr::Text(text) if text.chars().count() == 1 => Ok(text),
                    _ => Err(self.refuse(escape.span(), "an escape is one character", "escape '|'")),
                });
                let escape = escape.transpose()?;
                Ok(Expr::Match { expr: self.boxed(expr)?, negated: *negated, op: "like", pattern: self.boxed(pattern)?, escape })
            }
            Sql::RLike { negated, expr, pattern, .. } => Ok(Expr::Match {
                expr: self.boxed(expr)?,
                negated: *negated,
                op: "regexp",
                pattern: self.boxed(pattern)?,
                escape: None,
            }),
            Sql::UnaryOp { op: UnaryOperator::Not, expr } => Ok(Expr::Unary { op: "not ", expr: self.boxed(expr)? }),
            Sql::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(Expr::Unary { op: "-", expr: self.boxed(expr)? }),
            Sql::UnaryOp { op: UnaryOperator::Plus, expr } => self.expr(expr),
            Sql::Function(function) => self.function(function),
            Sql::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_ref().map(|operand| self.boxed(operand)).transpose()?;
                let arms =
                    conditions.iter().map(|CaseWhen { condition, result }| Ok((self.expr(condition)?, self.expr(result)?)));
                let arms = arms.collect::<Result<Vec<_>, Refusal>>()?;
                let otherwise = else_result.as_ref().map(|otherwise| self.boxed(otherwise)).transpose()?;
                Ok(Expr::Case { operand, arms, otherwise })
            }
            Sql::Cast { kind: CastKind::Cast, expr: inner, data_type, format: None } => {
                let to = cast_type(data_type).ok_or_else(|| self.no_type(expr.span()))?;
                Ok(Expr::Cast { expr: self.boxed(inner)?, to })
            }
            Sql::Convert { is_try: false, expr: inner, data_type, charset, target_before_value: false, styles }
                if styles.is_empty() =>
            {
                match (data_type, charset) {
                    (Some(data_type), None) => {
                        let to = cast_type(data_type).ok_or_else(|| self.no_type(expr.span()))?;
                        Ok(Expr::Cast { expr: self.boxed(inner)?, to })
                    }
                    (None, Some(charset)) => {
                        // As typed: printing the parser's nodes would bring in the printing of every statement there is.
                        let charset = self.source.text(self.source.range(charset.span()));
                        let known =
                            ["utf8mb4", "utf8", "latin1", "binary"].into_iter().find(|known| charset.eq_ignore_ascii_case(known));
                        let charset = known.ok_or_else(|| self.refuse(expr.span(), "unknown character set", "utf8mb4"))?;
                        Ok(Expr::Using { expr: self.boxed(inner)?, charset })
                    }
                    _ => Err(self.no_type(expr.span())),
                }
            }
            Sql::Substring { expr, substring_from, substring_for, .. } => {
                let args = std::iter::once(expr).chain(substring_from).chain(substring_for).map(|arg| &**arg);
                Ok(call("substring", self.exprs(args)?))
            }
            Sql::Trim { trim_where, trim_what: None, expr, trim_characters: None } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "trim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                Ok(call(name, self.exprs([&**expr])?))
            }
            Sql::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                Ok(call("ceil", self.exprs([&**expr])?))
            }
            Sql::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                Ok(call("floor", self.exprs([&**expr])?))
            }
            Sql::Position { expr, r#in } => Ok(call("locate", self.exprs([&**expr, &**r#in])?)),
            other => {
                let accepted = "values, columns, comparisons, and, or, not, in, like, between, case, functions, subqueries";
                Err(self.refuse(other.span(), "this expression is not supported by vexec", accepted))
            }
        }
    }

    fn no_type(&self, span: Span) -> Refusal {
        self.refuse(span, "this conversion is not supported by vexec", "char, binary, signed, unsigned, json, or using utf8mb4")
    }

    fn subquery(&mut self, query: &sqlparser::ast::Query) -> Result<super::tree::Select, Refusal> {
        if !self.no_subquery.is_empty() {
            return Err(self.refuse(query.span(), "a subquery cannot stand here", self.no_subquery));
        }
        self.query(query)
    }

    fn value(&self, value: &ValueWithSpan) -> Result<Expr, Refusal> {
        match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Ok(Expr::Text(text.clone())),
            Value::Number(digits, false) if is_number(digits) => Ok(Expr::Number(digits.clone())),
            Value::HexStringLiteral(digits) if digits.len() % 2 == 0 && digits.bytes().all(|c| c.is_ascii_hexdigit()) => {
                Ok(Expr::Hex(digits.clone()))
            }
            Value::Null => Ok(Expr::Word("null")),
            Value::Boolean(value) => Ok(Expr::Word(if *value { "true" } else { "false" })),
            Value::Placeholder(name) => {
                let message = format!("variables are not accepted: {}", excerpt(name));
                Err(self.refuse(value.span, message, "the value itself: nobody fills it in"))
            }
            _ => Err(self.refuse(value.span, "this kind of literal is not supported by vexec", "'text', 12, x'ff', null")),
        }
    }

    fn binary(&mut self, whole: &Sql, left: &Sql, op: &BinaryOperator, right: &Sql) -> Result<Expr, Refusal> {
        let op = match op {
            BinaryOperator::And | BinaryOperator::Or => return self.chain(whole, op),
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "!=",
            BinaryOperator::Lt => "<",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::Gt => ">",
            BinaryOperator::GtEq => ">=",
            BinaryOperator::Spaceship => "<=>",
            BinaryOperator::Xor => "xor",
            BinaryOperator::Minus | BinaryOperator::Plus => {
                let op = if *op == BinaryOperator::Minus { "-" } else { "+" };
                let right = match right {
                    Sql::Interval(interval) => self.interval(interval, right.span())?,
                    right => self.expr(right)?,
                };
                return Ok(Expr::Binary { left: self.boxed(left)?, op, right: Box::new(right) });
            }
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::MyIntegerDivide => "div",
            BinaryOperator::Modulo => "%",
            BinaryOperator::Arrow => return Ok(call("json_extract", self.exprs([left, right])?)),
            BinaryOperator::LongArrow => {
                return Ok(call("json_unquote", vec![call("json_extract", self.exprs([left, right])?)]));
            }
            BinaryOperator::PGOverlap => return Err(self.refuse(whole.span(), "&& is not accepted", "and")),
            BinaryOperator::StringConcat => {
                return Err(self.refuse(whole.span(), "|| means one thing or another, by sql_mode", "or, or concat(…)"));
            }
            _ => {
                return Err(self.refuse(
                    whole.span(),
                    "this operator is not supported by vexec",
                    "=, !=, <, >, <=>, +, -, *, /, div, %",
                ));
            }
        };
        Ok(Expr::Binary { left: self.boxed(left)?, op, right: self.boxed(right)? })
    }

    /// A chain of `and` or of `or`, however long, as one list. Parentheses around a part of the same chain change nothing.
    fn chain(&mut self, whole: &Sql, joint: &BinaryOperator) -> Result<Expr, Refusal> {
        let mut waiting = vec![whole];
        let mut parts = Vec::new();
        while let Some(part) = waiting.pop() {
            match part {
                Sql::BinaryOp { left, op, right } if op == joint => waiting.extend([&**right, &**left]),
                Sql::Nested(inner) if matches!(&**inner, Sql::BinaryOp { op, .. } if op == joint) => waiting.push(inner),
                part => parts.push(self.expr(part)?),
            }
        }
        Ok(if *joint == BinaryOperator::And { Expr::And(parts) } else { Expr::Or(parts) })
    }

    fn interval(&mut self, interval: &Interval, span: Span) -> Result<Expr, Refusal> {
        let unit = match (
            &interval.leading_field,
            interval.leading_precision,
            &interval.last_field,
            interval.fractional_seconds_precision,
        ) {
            (Some(unit), None, None, None) => match unit {
                DateTimeField::Microsecond => Some("microsecond"),
                DateTimeField::Second => Some("second"),
                DateTimeField::Minute => Some("minute"),
                DateTimeField::Hour => Some("hour"),
                DateTimeField::Day => Some("day"),
                DateTimeField::Week(None) => Some("week"),
                DateTimeField::Month => Some("month"),
                DateTimeField::Year => Some("year"),
                _ => None,
            },
            _ => None,
        };
        let unit = unit.ok_or_else(|| self.refuse(span, "this interval is not supported by vexec", "interval 10 second"))?;
        Ok(Expr::Interval { value: self.boxed(&interval.value)?, unit })
    }

    fn function(&mut self, function: &Function) -> Result<Expr, Refusal> {
        let span = function.name.span();
        let written = self.source.text(self.source.range(span));
        let name = functions::allowed(written).ok_or_else(|| {
            let near = nearest(written, functions::names());
            let accepted = near.map_or_else(
                || format!("functions of the row: {}", functions::names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean {near}?"),
            );
            self.refuse(span, format!("function not supported by vexec: {}", excerpt(written)), accepted)
        })?;
        let is_plain = !function.uses_odbc_syntax
            && matches!(function.parameters, FunctionArguments::None)
            && function.within_group.is_empty()
            && function.filter.is_none()
            && function.null_treatment.is_none()
            && function.over.is_none();
        if !is_plain {
            return Err(self.refuse(function.span(), "this form of a call is not supported by vexec", format!("{name}(…)")));
        }
        let mut checked = Call { name, distinct: false, star: false, args: Vec::new(), order_by: Vec::new(), separator: None };
        let list = match &function.args {
            FunctionArguments::List(list) => list,
            // `current_timestamp` without parentheses.
            FunctionArguments::None => return Ok(Expr::Call(checked)),
            FunctionArguments::Subquery(query) => {
                checked.args.push(Expr::Subquery(Box::new(self.subquery(query)?)));
                return Ok(Expr::Call(checked));
            }
        };
        checked.distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Sql::Interval(interval))) if name.starts_with("date_") => {
                    let interval = self.interval(interval, arg.span())?;
                    checked.args.push(interval);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => checked.args.push(self.expr(expr)?),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard)
                    if name == "count" && list.args.len() == 1 && !checked.distinct =>
                {
                    checked.star = true;
                }
                other => return Err(self.refuse(other.span(), "this argument is not supported by vexec", "an expression")),
            }
        }
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::OrderBy(orders) if name == "group_concat" => checked.order_by = self.orders(orders)?,
                FunctionArgumentClause::Separator(value) if name == "group_concat" => match self.value(value)? {
                    Expr::Text(text) => checked.separator = Some(text),
                    _ => return Err(self.refuse(value.span, "a separator is a text", "separator ','")),
                },
                other => {
                    return Err(self.refuse(other.span(), "this form of a call is not supported by vexec", format!("{name}(…)")));
                }
            }
        }
        Ok(Expr::Call(checked))
    }
}

fn call(name: &'static str, args: Vec<Expr>) -> Expr {
    Expr::Call(Call { name, distinct: false, star: false, args, order_by: Vec::new(), separator: None })
}

/// Digits, one point, an exponent: what every parser reads as one number.
fn is_number(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E' | b'+' | b'-'))
        && text.parse::<f64>().is_ok()
}

fn cast_type(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Char(None | Some(CharacterLength::Max)) => "char",
        DataType::Binary(None) => "binary",
        DataType::Signed | DataType::SignedInteger => "signed",
        DataType::Unsigned | DataType::UnsignedInteger => "unsigned",
        DataType::JSON => "json",
        DataType::Date => "date",
        DataType::Datetime(None) => "datetime",
        _ => return None,
    })
}
