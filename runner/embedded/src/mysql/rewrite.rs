//! Rewrites a parsed MySQL statement so that SQLite executes it with MySQL's meaning.
//!
//! Literals become bound parameters (SQLite knows no backslash escapes), wildcards become lists of columns, functions that
//! SQLite lacks become those of `functions.rs`. It neither parses nor executes, and it does not judge what a tablet accepts:
//! that is `controller_plan.rs`.

use std::ops::ControlFlow;

use rusqlite::types::Value as SqliteValue;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, Interval, ObjectName, OrderBy, OrderByKind, Query, Select,
    SelectItem, SetExpr, Statement, TableFactor, TableWithJoins, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::{
    error::MysqlError,
    fields::types,
    functions::{Kind, text_or_blob},
    scope::{Scopes, arguments, is_dual},
    variables,
};

/// A statement ready for SQLite.
#[derive(Debug)]
pub(crate) struct Translated {
    /// The text, with `?1`, `?2` … for the literals.
    pub sql: String,
    /// The literals.
    pub params: Vec<SqliteValue>,
}

/// Rewrites a query in place of `query` and renders it.
///
/// # Errors
///
/// What MySQL says of unknown tables and functions, or 1235 for what SQLite cannot be made to do.
pub(crate) fn translate_query(mut query: Query, scopes: Scopes<'_>) -> Result<Translated, MysqlError> {
    let mut rewriter = Rewriter { scopes, params: Vec::new() };
    match VisitMut::visit(&mut query, &mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => {
            if is_of_one_sidecar_table(&query, &rewriter.scopes) {
                let by_row = OrderByKind::Expressions(vec![Ident::new("_rowid_").into()]);
                query.order_by = Some(OrderBy { kind: by_row, interpolate: None });
            }
            Ok(Translated { sql: query.to_string(), params: rewriter.params })
        }
    }
}

/// Whether its rows come as they lie in one sidecar table: by their primary key, as `InnoDB` keeps them, whichever index SQLite would
/// follow. So came the copy states that a real vtctld was recorded with.
fn is_of_one_sidecar_table(query: &Query, scopes: &Scopes<'_>) -> bool {
    let SetExpr::Select(select) = &*query.body else { return false };
    let [TableWithJoins { relation: TableFactor::Table { name, .. }, joins }] = select.from.as_slice() else { return false };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    query.with.is_none()
        && query.order_by.is_none()
        && joins.is_empty()
        && select.distinct.is_none()
        && !is_grouped
        && scopes.is_sidecar_table(name)
}

/// Rewrites a statement that writes. `scopes` must hold the table written to.
///
/// # Errors
///
/// As [`translate_query`].
pub(crate) fn translate_write(mut statement: Statement, scopes: Scopes<'_>) -> Result<Translated, MysqlError> {
    let mut rewriter = Rewriter { scopes, params: Vec::new() };
    match VisitMut::visit(&mut statement, &mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(Translated { sql: statement.to_string(), params: rewriter.params }),
    }
}

struct Rewriter<'a> {
    scopes: Scopes<'a>,
    params: Vec<SqliteValue>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = MysqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<MysqlError> {
        query.locks.clear();
        flow(self.scopes.enter_query(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<MysqlError> {
        self.scopes.leave_query(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<MysqlError> {
        if let Err(error) = self.scopes.enter_select(select) {
            return ControlFlow::Break(error);
        }
        select.from.retain(|from| !is_dual(&from.relation));
        match self.scopes.expand(&select.projection) {
            Ok(projection) => select.projection = projection,
            Err(error) => return ControlFlow::Break(error),
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
            {
                let alias =
                    Ident::with_quote('`', expr.to_string().replace(|c: char| matches!(c, '`' | '\\') || c.is_control(), ""));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<MysqlError> {
        self.scopes.leave_select();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<MysqlError> {
        flow(self.rewrite(expr))
    }

    fn pre_visit_ident(&mut self, ident: &mut Ident) -> ControlFlow<MysqlError> {
        // The printer leaves quotes alone that it takes for escaped ones: then the rest of the name would be read as SQL.
        if ident.value.contains(['`', '\\']) || ident.value.contains(char::is_control) {
            let text = format!("Incorrect column name '{}'", ident.value.escape_debug());
            return ControlFlow::Break(MysqlError { errno: 1166, sqlstate: "42000", text });
        }
        if ident.quote_style.is_some() {
            quote(ident);
        }
        ControlFlow::Continue(())
    }
}

fn flow(result: Result<(), MysqlError>) -> ControlFlow<MysqlError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl Rewriter<'_> {
    fn bind(&mut self, value: SqliteValue) -> Expr {
        self.params.push(value);
        Expr::Value(Value::Placeholder(format!("?{}", self.params.len())).into())
    }

    fn rewrite(&mut self, expr: &mut Expr) -> Result<(), MysqlError> {
        if let Some(function) = variables::function(expr)? {
            *expr = call(function, Vec::new());
            return Ok(());
        }
        match expr {
            Expr::Value(value) => {
                if let Some(bound) = self.literal(value)? {
                    *expr = bound;
                }
            }
            Expr::Identifier(ident) => quote(ident),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(quote),
            Expr::Prefixed { value, .. } => {
                *expr = (**value).clone();
                self.rewrite(expr)?;
            }
            Expr::Convert { expr: inner, data_type, charset, .. } => {
                let data_type = if charset.is_some() { Some(DataType::Text) } else { data_type.clone() };
                *expr = cast((**inner).clone(), &data_type.unwrap_or(DataType::Text));
            }
            Expr::Cast { expr: inner, data_type, .. } => *expr = cast((**inner).clone(), data_type),
            Expr::BinaryOp { left, op, right } => {
                if let Some(new) = binary(left, op, right)? {
                    *expr = new;
                    // What it became has to be rewritten too, unless it is one of ours.
                    if !matches!(expr, Expr::Function(_)) {
                        self.rewrite(expr)?;
                    }
                }
            }
            Expr::Like { negated, expr: value, pattern, escape_char: None, .. } => {
                let field = self.scopes.field_of(value);
                let folds = field.charset == super::fields::CHARSET_CONNECTION && !field.org_name.is_empty();
                let like = call("vt_like", vec![(**value).clone(), (**pattern).clone(), number(i64::from(folds))]);
                *expr =
                    if *negated { Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr: Box::new(like) } } else { like };
            }
            Expr::RLike { .. } | Expr::Like { .. } => return Err(MysqlError::unsupported("regular expressions and ESCAPE here")),
            Expr::Interval(_) => return Err(MysqlError::unsupported("an INTERVAL outside of + and -")),
            Expr::Substring { expr: value, substring_from, substring_for, .. } => {
                let mut args = vec![(**value).clone()];
                args.extend(substring_from.iter().chain(substring_for.iter()).map(|arg| (**arg).clone()));
                *expr = call("substr", args);
            }
            Expr::Position { expr: needle, r#in } => *expr = call("instr", vec![(**r#in).clone(), (**needle).clone()]),
            Expr::Function(function) => {
                if let Some(new) = self.function(function)? {
                    *expr = new;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn literal(&mut self, value: &ValueWithSpan) -> Result<Option<Expr>, MysqlError> {
        Ok(match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::NationalStringLiteral(text) => {
                Some(self.bind(SqliteValue::Text(text.clone())))
            }
            Value::HexStringLiteral(digits) => {
                let bytes = (0..digits.len())
                    .step_by(2)
                    .map(|at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                    .collect::<Option<Vec<u8>>>()
                    .ok_or_else(|| MysqlError::syntax(&format!("x'{digits}'")))?;
                Some(self.bind(text_or_blob(bytes)))
            }
            Value::Boolean(value) => Some(number(i64::from(*value))),
            Value::Number(..) | Value::Null | Value::Placeholder(_) => None,
            other => return Err(MysqlError::syntax(&other.to_string())),
        })
    }

    fn function(&mut self, function: &mut Function) -> Result<Option<Expr>, MysqlError> {
        let name = function.name.to_string().to_ascii_lowercase();
        if name.starts_with("vt_") || function.over.is_some() {
            return if name.starts_with("vt_") { Ok(None) } else { Err(MysqlError::unsupported("window functions here")) };
        }
        let args = arguments(function);
        let renamed = |to: &str| Ok(Some(call(to, args.clone())));
        match name.as_str() {
            "now" | "current_timestamp" | "localtimestamp" | "localtime" | "sysdate" | "utc_timestamp" => {
                Ok(Some(call("vt_now", vec![args.first().cloned().unwrap_or_else(|| number(0))])))
            }
            "date_add" | "adddate" | "date_sub" | "subdate" => {
                let [time, Expr::Interval(interval)] = args.as_slice() else {
                    return Err(MysqlError::unsupported(&format!("{name} without INTERVAL")));
                };
                shift(time.clone(), interval, name.ends_with("sub") || name.starts_with("sub")).map(Some)
            }
            "unix_timestamp" | "from_unixtime" | "left" | "concat" | "compress" | "uncompress" | "hex" | "sleep" => {
                renamed(&format!("vt_{name}"))
            }
            "if" => renamed("iif"),
            "length" | "octet_length" => renamed("octet_length"),
            "char_length" | "character_length" => renamed("length"),
            "ucase" => renamed("upper"),
            "lcase" => renamed("lower"),
            "substring" | "mid" => renamed("substr"),
            "greatest" if args.len() > 1 => renamed("max"),
            "least" if args.len() > 1 => renamed("min"),
            "database" | "schema" => {
                let database = self.scopes.default_database().map(|name| SqliteValue::Text(name.to_owned()));
                Ok(Some(self.bind(database.unwrap_or(SqliteValue::Null))))
            }
            "json_array" | "json_object" | "json_set" | "json_remove" | "json_extract" | "json_unquote" | "json_arrayagg" => {
                let pairs = args.iter().flat_map(|arg| [number(self.kind_of(arg).to_argument()), arg.clone()]);
                Ok(Some(call(&format!("vt_{name}"), pairs.collect())))
            }
            "group_concat" => {
                let FunctionArguments::List(list) = &mut function.args else { return Ok(None) };
                let separator = list.clauses.iter().position(|clause| matches!(clause, FunctionArgumentClause::Separator(_)));
                if let Some(at) = separator
                    && let FunctionArgumentClause::Separator(value) = list.clauses.remove(at)
                {
                    list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))));
                }
                Ok(None)
            }
            _ if AS_THEY_ARE.contains(&name.as_str()) => Ok(None),
            _ => {
                let database = self.scopes.default_database().map_or_else(String::new, |name| format!("{name}."));
                Err(MysqlError::no_function(&format!("{database}{name}")))
            }
        }
    }

    fn kind_of(&self, expr: &Expr) -> Kind {
        match self.scopes.field_of(expr).r#type {
            types::JSON => Kind::Json,
            types::VARBINARY => Kind::Binary(15),
            types::BLOB => Kind::Binary(252),
            _ => Kind::Plain,
        }
    }
}

/// Functions that mean the same to both.
const AS_THEY_ARE: &[&str] = &[
    "count",
    "max",
    "min",
    "sum",
    "avg",
    "coalesce",
    "ifnull",
    "nullif",
    "abs",
    "round",
    "lower",
    "upper",
    "trim",
    "ltrim",
    "rtrim",
    "replace",
    "substr",
    "instr",
    "unhex",
    "concat_ws",
    "date",
    "iif",
    "octet_length",
    "exists",
];

fn quote(ident: &mut Ident) {
    // Backticks, never double quotes: SQLite takes an unknown name in double quotes for a text.
    ident.quote_style = Some('`');
}

fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn cast(inner: Expr, data_type: &DataType) -> Expr {
    let data_type = match data_type {
        DataType::JSON => return call("vt_json", vec![inner]),
        DataType::Binary(_) | DataType::Datetime(_) | DataType::Date | DataType::Timestamp(..) => {
            return Expr::Nested(Box::new(inner));
        }
        DataType::Decimal(_) | DataType::Float(_) | DataType::Double(_) | DataType::Real => DataType::Real,
        DataType::Char(_) | DataType::Varchar(_) | DataType::Text => DataType::Text,
        _ => DataType::Integer(None),
    };
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(inner), data_type, format: None }
}

fn binary(left: &mut Expr, op: &BinaryOperator, right: &mut Expr) -> Result<Option<Expr>, MysqlError> {
    let same = |op| Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right.clone()) };
    Ok(match op {
        BinaryOperator::Spaceship => Some(Expr::IsNotDistinctFrom(Box::new(left.clone()), Box::new(right.clone()))),
        BinaryOperator::PGOverlap => Some(same(BinaryOperator::And)),
        BinaryOperator::StringConcat => Some(same(BinaryOperator::Or)),
        BinaryOperator::MyIntegerDivide => Some(same(BinaryOperator::Divide)),
        BinaryOperator::Xor => return Err(MysqlError::unsupported("XOR here")),
        BinaryOperator::Plus | BinaryOperator::Minus => match (&*left, &*right) {
            (time, Expr::Interval(interval)) => Some(shift(time.clone(), interval, *op == BinaryOperator::Minus)?),
            (Expr::Interval(interval), time) => Some(shift(time.clone(), interval, false)?),
            _ => None,
        },
        _ => None,
    })
}

/// `time ± interval` as a call.
fn shift(time: Expr, interval: &Interval, back: bool) -> Result<Expr, MysqlError> {
    let Some(unit) = &interval.leading_field else {
        return Err(MysqlError::unsupported("an INTERVAL without a unit"));
    };
    let mut count = (*interval.value).clone();
    if back {
        count = Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Minus, expr: Box::new(Expr::Nested(Box::new(count))) };
    }
    Ok(call("vt_date_add", vec![time, count, text(&unit.to_string())]))
}
