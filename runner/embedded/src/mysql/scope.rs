//! Which columns a name in a statement may mean, and what MySQL would say about each column of a result.
//!
//! It walks the parsed statement beside the rewriting (`rewrite.rs`), asks the catalog, and executes nothing.

use std::collections::BTreeMap;

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator, ObjectName,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, Value,
};
use vtflow_planner::proto::query::Field;

use super::{
    error::MysqlError,
    fields::{self, DECIMALS_NOT_FIXED, flags, types},
    schema::{INFORMATION_SCHEMA, SIDECAR, Table},
    variables,
};
use crate::bounds;

/// The sidecar tables of a tablet, by name.
pub(crate) type Catalog = BTreeMap<String, Table>;

/// The names in force at one place of a statement, innermost last.
#[derive(Clone)]
pub(crate) struct Scopes<'a> {
    catalog: &'a Catalog,
    default_database: Option<&'a str>,
    selects: Vec<Vec<Source>>,
    common: Vec<(String, Vec<Field>)>,
    /// How many common tables were known when each open query began.
    marks: Vec<usize>,
}

/// One table of a FROM clause.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    /// Whether it may also be called by the sidecar database's name.
    qualified: bool,
    columns: Vec<Field>,
}

impl<'a> Scopes<'a> {
    /// No names yet. `default_database`: what an unqualified table belongs to.
    pub(crate) fn new(catalog: &'a Catalog, default_database: Option<&'a str>) -> Self {
        Self { catalog, default_database, selects: Vec::new(), common: Vec::new(), marks: Vec::new() }
    }

    /// The database of unqualified tables.
    pub(crate) fn default_database(&self) -> Option<&'a str> {
        self.default_database
    }

    /// Puts a table that is written to in force.
    ///
    /// # Errors
    ///
    /// 1146 and its like.
    pub(crate) fn enter_table(&mut self, name: &ObjectName) -> Result<(), MysqlError> {
        let source = self.table(name, None)?;
        self.selects.push(vec![source]);
        Ok(())
    }

    /// Puts a query's common table expressions in force.
    ///
    /// # Errors
    ///
    /// Those of the tables and columns within.
    pub(crate) fn enter_query(&mut self, query: &Query) -> Result<(), MysqlError> {
        self.marks.push(self.common.len());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let mut fields = self.clone().output(&cte.query)?;
            for (field, column) in fields.iter_mut().zip(&cte.alias.columns) {
                field.name = column.name.value.clone().into_bytes();
            }
            self.common.push((cte.alias.name.value.clone(), fields));
        }
        Ok(())
    }

    /// Forgets what [`Self::enter_query`] put in force.
    pub(crate) fn leave_query(&mut self, _: &Query) {
        if let Some(mark) = self.marks.pop() {
            self.common.truncate(mark);
        }
    }

    /// Puts a SELECT's tables in force.
    ///
    /// # Errors
    ///
    /// 1146 and its like.
    pub(crate) fn enter_select(&mut self, select: &Select) -> Result<(), MysqlError> {
        let sources = self.sources(&select.from)?;
        self.selects.push(sources);
        Ok(())
    }

    /// Forgets them.
    pub(crate) fn leave_select(&mut self) {
        self.selects.pop();
    }

    /// The select list with every wildcard replaced by its columns.
    ///
    /// # Errors
    ///
    /// 1051 for a wildcard of a table that is not there, 1096 for one without tables.
    pub(crate) fn expand(&self, projection: &[SelectItem]) -> Result<Vec<SelectItem>, MysqlError> {
        let mut items = Vec::new();
        for item in projection {
            match item {
                SelectItem::Wildcard(_) => {
                    let sources = self.selects.last().map_or(&[][..], Vec::as_slice);
                    if sources.is_empty() {
                        return Err(MysqlError { errno: 1096, sqlstate: "HY000", text: "No tables used".to_owned() });
                    }
                    items.extend(sources.iter().flat_map(Source::items));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let parts = parts(name);
                    let found = self.selects.last().and_then(|sources| sources.iter().find(|source| source.is_named(&parts)));
                    let Some(source) = found else {
                        let text = format!("Unknown table '{}'", parts.join("."));
                        return Err(MysqlError { errno: 1051, sqlstate: "42S02", text });
                    };
                    items.extend(source.items());
                }
                other => items.push(other.clone()),
            }
        }
        check_columns(items.len())?;
        Ok(items)
    }

    /// The fields of a query's result, as MySQL sends them.
    ///
    /// # Errors
    ///
    /// 1054 for an unknown column in the select list, and those of [`Self::enter_select`].
    pub(crate) fn output(&mut self, query: &Query) -> Result<Vec<Field>, MysqlError> {
        self.enter_query(query)?;
        let fields = self.output_of(&query.body, query);
        self.leave_query(query);
        fields
    }

    fn output_of(&mut self, body: &SetExpr, query: &Query) -> Result<Vec<Field>, MysqlError> {
        match body {
            SetExpr::Select(select) => {
                self.enter_select(select)?;
                let fields = self.output_of_select(select, query);
                self.leave_select();
                fields
            }
            SetExpr::Query(query) => self.output(query),
            SetExpr::SetOperation { left, .. } => {
                let mut fields = self.output_of(left, query)?;
                for field in &mut fields {
                    forget_table(field);
                }
                Ok(fields)
            }
            _ => Err(MysqlError::unsupported("this kind of query here")),
        }
    }

    fn output_of_select(&self, select: &Select, query: &Query) -> Result<Vec<Field>, MysqlError> {
        let mut fields = Vec::new();
        let mut has_subquery = false;
        for item in self.expand(&select.projection)? {
            let (expr, alias) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.value)),
                other => return Err(MysqlError::syntax(&other.to_string())),
            };
            let mut field = match &expr {
                variable if variables::function(variable)?.is_some() => text(0),
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self
                    .column(&expr)
                    .ok_or_else(|| MysqlError::unknown_column(&expr.to_string().replace('`', ""), "field list"))?,
                _ => self.field_of(&expr),
            };
            has_subquery |= matches!(expr, Expr::Subquery(_));
            let written = match &expr {
                variable if variables::function(variable)?.is_some() => expr.to_string(),
                Expr::Identifier(ident) => ident.value.clone(),
                Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |part| part.value.clone()),
                Expr::Value(value) if matches!(value.value, Value::Null) => "NULL".to_owned(),
                _ => expr.to_string(),
            };
            let is_described = field.database == INFORMATION_SCHEMA.as_bytes();
            let written = if is_described { field.org_name.clone() } else { written.into_bytes() };
            field.name = alias.map_or(written, String::into_bytes);
            fields.push(field);
        }
        let joins = select.from.len() > 1 || select.from.iter().any(|from| !from.joins.is_empty());
        let semijoin = select.selection.as_ref().is_some_and(has_in_subquery);
        let uses_temporary = select.distinct.is_some() || query.order_by.is_some() && (joins || semijoin);
        for field in &mut fields {
            if uses_temporary {
                field.flags &= !flags::LOST_IN_TEMPORARY_TABLE;
            }
            if has_subquery {
                field.flags &= !flags::NOT_NULL;
            }
        }
        Ok(fields)
    }

    fn sources(&self, from: &[TableWithJoins]) -> Result<Vec<Source>, MysqlError> {
        let mut sources = Vec::new();
        for table in from {
            if !is_dual(&table.relation) {
                self.source(&table.relation, &mut sources)?;
            }
            for join in &table.joins {
                let before = sources.len();
                if !is_dual(&join.relation) {
                    self.source(&join.relation, &mut sources)?;
                }
                // What may have no partner may be NULL.
                if matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_)) {
                    for field in sources.iter_mut().skip(before).flat_map(|source| &mut source.columns) {
                        field.flags &= !flags::NOT_NULL;
                    }
                }
            }
        }
        Ok(sources)
    }

    fn source(&self, factor: &TableFactor, sources: &mut Vec<Source>) -> Result<(), MysqlError> {
        match factor {
            TableFactor::Table { name, alias, .. } => {
                sources.push(self.table(name, alias.as_ref().map(|alias| alias.name.value.clone()))?);
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let mut columns = self.clone().output(subquery)?;
                let name = alias.as_ref().map_or_else(String::new, |alias| alias.name.value.clone());
                for field in &mut columns {
                    forget_keys(field);
                    field.table = name.clone().into_bytes();
                }
                check_columns(sources.iter().map(|source| source.columns.len()).sum::<usize>() + columns.len())?;
                sources.push(Source { name, qualified: false, columns });
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                sources.extend(self.sources(std::slice::from_ref(&**table_with_joins))?);
            }
            other => return Err(MysqlError::syntax(&other.to_string())),
        }
        Ok(())
    }

    fn table(&self, name: &ObjectName, alias: Option<String>) -> Result<Source, MysqlError> {
        let parts = parts(name);
        let (database, table) = match parts.as_slice() {
            [table] => (None, table),
            [database, table] => (Some(database.as_str()), table),
            _ => return Err(MysqlError::syntax(&name.to_string())),
        };
        if database.is_none()
            && let Some((_, columns)) = self.common.iter().rev().find(|(common, _)| common == table)
        {
            return Ok(Source { name: alias.unwrap_or_else(|| table.clone()), qualified: false, columns: columns.clone() });
        }
        let database = database.or(self.default_database).ok_or_else(MysqlError::no_database)?;
        let is_description = database.eq_ignore_ascii_case(INFORMATION_SCHEMA);
        let found = match database {
            SIDECAR => self.catalog.get(table),
            _ if is_description => self.catalog.get(&format!("{INFORMATION_SCHEMA}.{}", table.to_ascii_lowercase())),
            // Names of a keyspace's own tables differ by case.
            own => self.catalog.get(&format!("{own}.{table}")),
        };
        let Some(found) = found else { return Err(MysqlError::no_table(&format!("{database}.{table}"))) };
        let qualified = alias.is_none();
        let shown = alias.unwrap_or_else(|| table.clone());
        let mut columns: Vec<Field> =
            found.columns.iter().map(|column| fields::of_column(column, table, &shown, &column.name)).collect();
        if database != SIDECAR {
            let database = if is_description { INFORMATION_SCHEMA } else { database };
            for field in &mut columns {
                field.database = database.into();
            }
        }
        Ok(Source { name: shown, qualified, columns })
    }

    /// Whether a name is that of a sidecar table, and of no common table expression.
    pub(crate) fn is_sidecar_table(&self, name: &ObjectName) -> bool {
        match parts(name).as_slice() {
            [table] => {
                self.default_database == Some(SIDECAR)
                    && self.catalog.get(table).is_some()
                    && self.common.iter().all(|(common, _)| common != table)
            }
            [database, table] => database == SIDECAR && self.catalog.get(table).is_some(),
            _ => false,
        }
    }

    /// The field of a plain column; `None` when there is no such column.
    fn column(&self, expr: &Expr) -> Option<Field> {
        let parts: Vec<String> = match expr {
            Expr::Identifier(ident) => vec![ident.value.clone()],
            Expr::CompoundIdentifier(parts) => parts.iter().map(|part| part.value.clone()).collect(),
            _ => return None,
        };
        let (column, table) = parts.split_last()?;
        self.selects.iter().rev().flatten().find_map(|source| {
            if !table.is_empty() && !source.is_named(table) {
                return None;
            }
            source.columns.iter().find(|field| field.name.eq_ignore_ascii_case(column.as_bytes())).cloned()
        })
    }

    /// What MySQL would say of an expression's type. Nothing is reported as unknown: what cannot be told is a text.
    pub(crate) fn field_of(&self, expr: &Expr) -> Field {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.column(expr).unwrap_or_else(|| text(0)),
            Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => self.field_of(inner),
            Expr::Value(value) => of_value(&value.value),
            Expr::Prefixed { value, .. } => Field { r#type: types::VARBINARY, charset: 63, ..self.field_of(value) },
            Expr::Function(function) => self.of_function(function),
            Expr::Subquery(query) => {
                let field = self.clone().output(query).ok().and_then(|fields| fields.into_iter().next());
                let mut field = field.unwrap_or_else(|| text(0));
                forget_table(&mut field);
                field.flags &= !flags::NOT_NULL;
                field
            }
            Expr::Convert { charset: Some(_), expr, .. } => text(self.field_of(expr).column_length),
            Expr::Convert { data_type: Some(data_type), .. } | Expr::Cast { data_type, .. } => match data_type {
                DataType::JSON => json(),
                DataType::Char(_) | DataType::Varchar(_) | DataType::Text => text(0),
                DataType::Binary(_) => fields::of_expression(types::VARBINARY, 0, flags::BINARY, DECIMALS_NOT_FIXED),
                _ => integer(20),
            },
            Expr::BinaryOp { op: BinaryOperator::Plus | BinaryOperator::Minus, right, left }
                if matches!(**right, Expr::Interval(_)) || matches!(**left, Expr::Interval(_)) =>
            {
                fields::of_expression(types::DATETIME, 19, flags::BINARY, 0)
            }
            Expr::BinaryOp { op: BinaryOperator::Divide, .. } => {
                fields::of_expression(types::DECIMAL, 25, flags::NUM | flags::BINARY, 4)
            }
            Expr::BinaryOp { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Exists { .. }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::Like { .. }
            | Expr::Between { .. }
            | Expr::UnaryOp { .. } => integer(21),
            Expr::Case { conditions, .. } => conditions.first().map_or_else(|| text(0), |when| self.merged(&[&when.result])),
            _ => text(0),
        }
    }

    fn of_function(&self, function: &Function) -> Field {
        let name = function.name.to_string().to_ascii_lowercase();
        let args = arguments(function);
        match name.as_str() {
            "count" | "sleep" => integer(21),
            "max" | "min" | "ifnull" | "coalesce" | "nullif" => self.merged(&args.iter().collect::<Vec<_>>()),
            "if" => self.merged(&args.iter().skip(1).collect::<Vec<_>>()),
            "sum" | "avg" => fields::of_expression(types::DECIMAL, 41, flags::NUM | flags::BINARY, 0),
            "group_concat" => Field { column_length: 65_536, ..fields::of_expression(types::TEXT, 0, 0, DECIMALS_NOT_FIXED) },
            "json_array" | "json_object" | "json_set" | "json_remove" | "json_extract" | "json_arrayagg" | "vt_json" => json(),
            "compress" | "uncompress" | "unhex" => {
                fields::of_expression(types::VARBINARY, u32::MAX, flags::BINARY, DECIMALS_NOT_FIXED)
            }
            "now" | "current_timestamp" | "localtimestamp" | "localtime" | "sysdate" | "utc_timestamp" => {
                let digits = args.first().and_then(|digits| digits.to_string().parse().ok()).unwrap_or(0);
                let length = if digits > 0 { 20 + digits } else { 19 };
                fields::of_expression(types::DATETIME, length, flags::BINARY | flags::NOT_NULL, digits)
            }
            "from_unixtime" | "date_add" | "date_sub" => fields::of_expression(types::DATETIME, 19, flags::BINARY, 0),
            "unix_timestamp" | "length" | "char_length" | "instr" | "octet_length" => integer(12),
            "concat" | "left" if args.iter().any(|arg| self.field_of(arg).r#type == types::VARBINARY) => {
                fields::of_expression(types::VARBINARY, 0, flags::BINARY, DECIMALS_NOT_FIXED)
            }
            _ => text(0),
        }
    }

    /// The type that holds all of these values.
    fn merged(&self, exprs: &[&Expr]) -> Field {
        let all: Vec<Field> = exprs.iter().map(|expr| self.field_of(expr)).filter(|field| field.r#type != 0).collect();
        let Some(first) = all.first() else { return of_value(&Value::Null) };
        let not_null =
            if exprs.len() > 1 && all.iter().all(|field| field.flags & flags::NOT_NULL != 0) { flags::NOT_NULL } else { 0 };
        let mut field = first.clone();
        forget_table(&mut field);
        field.name = Vec::new();
        field.column_length = all.iter().map(|field| field.column_length).max().unwrap_or(0);
        if fields::is_integer(field.r#type) {
            if all.iter().any(|other| other.r#type != field.r#type) {
                field.r#type = types::INT64;
            }
            field.flags = flags::NUM | flags::BINARY | field.flags & flags::UNSIGNED;
        } else {
            field.flags &= flags::NUM | flags::BINARY;
        }
        field.flags |= not_null;
        field
    }
}

impl Source {
    fn is_named(&self, parts: &[String]) -> bool {
        match parts {
            [table] => *table == self.name,
            [database, table] => self.qualified && database == SIDECAR && *table == self.name,
            _ => false,
        }
    }

    fn items(&self) -> Vec<SelectItem> {
        let item = |field: &Field| {
            let column = Ident::new(String::from_utf8_lossy(&field.name));
            let parts = if self.name.is_empty() { vec![column] } else { vec![Ident::new(self.name.clone()), column] };
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
        };
        self.columns.iter().map(item).collect()
    }
}

/// MySQL's error of a result with more columns than one may have.
fn check_columns(count: usize) -> Result<(), MysqlError> {
    if count <= bounds::RESULT_COLUMNS {
        return Ok(());
    }
    Err(MysqlError { errno: 1117, sqlstate: "HY000", text: "Too many columns".to_owned() })
}

/// The parts of a name, unquoted.
pub(crate) fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(|part| part.as_ident().map(|ident| ident.value.clone())).collect()
}

/// Whether this is MySQL's table of one row.
pub(crate) fn is_dual(table: &TableFactor) -> bool {
    matches!(table, TableFactor::Table { name, .. } if name.to_string().eq_ignore_ascii_case("dual"))
}

/// The plain arguments of a call. What is not an expression (`count(*)`) is left out.
pub(crate) fn arguments(function: &Function) -> Vec<Expr> {
    match &function.args {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            })
            .collect(),
        FunctionArguments::Subquery(query) => vec![Expr::Subquery(query.clone())],
        FunctionArguments::None => Vec::new(),
    }
}

/// Whether somewhere in the condition stands `… in (select …)`, outside of deeper subqueries.
fn has_in_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::InSubquery { negated, .. } => !negated,
        Expr::BinaryOp { left, right, .. } => has_in_subquery(left) || has_in_subquery(right),
        Expr::Nested(inner) => has_in_subquery(inner),
        _ => false,
    }
}

fn forget_table(field: &mut Field) {
    field.table = Vec::new();
    field.org_table = Vec::new();
    field.database = Vec::new();
    field.org_name = Vec::new();
    forget_keys(field);
}

fn forget_keys(field: &mut Field) {
    field.flags &= !(flags::LOST_IN_TEMPORARY_TABLE | flags::NO_DEFAULT);
}

fn integer(length: u32) -> Field {
    fields::of_expression(types::INT64, length, flags::NUM | flags::BINARY | flags::NOT_NULL, 0)
}

fn text(length: u32) -> Field {
    fields::of_expression(types::VARCHAR, length, 0, DECIMALS_NOT_FIXED)
}

fn json() -> Field {
    fields::of_expression(types::JSON, 4_294_967_292, flags::BINARY, DECIMALS_NOT_FIXED)
}

fn of_value(value: &Value) -> Field {
    let length = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    match value {
        Value::Number(digits, _) => match digits.split_once('.') {
            Some((_, fraction)) => {
                let flags = flags::NUM | flags::BINARY | flags::NOT_NULL;
                fields::of_expression(types::DECIMAL, length(digits) + 1, flags, length(fraction))
            }
            None => integer(length(digits) + 1),
        },
        Value::Boolean(_) => integer(1),
        Value::Null => fields::of_expression(types::NULL_TYPE, 0, flags::NUM | flags::BINARY, 0),
        Value::HexStringLiteral(digits) => {
            let flags = flags::BINARY | flags::UNSIGNED | flags::NOT_NULL;
            fields::of_expression(types::VARBINARY, length(digits) / 2, flags, 0)
        }
        Value::SingleQuotedString(value) | Value::DoubleQuotedString(value) => {
            Field { flags: flags::NOT_NULL, ..text(length(value).saturating_mul(4)) }
        }
        _ => text(0),
    }
}
