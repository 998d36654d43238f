//! What a tablet's `VReplicationExec` accepts, and how it words what it does not: Vitess's controller plan, by release.
//!
//! It judges a parsed statement and executes nothing. Facts: `go/vt/vttablet/tabletmanager/vreplication/controller_plan.go`,
//! texts measured on v16, v18, v20, v22 and v24.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{
        AssignmentTarget, BinaryOperator, Delete, Expr, FromTable, Insert, OptimizerHint, Query, SetExpr, Statement, TableFactor,
        TableObject, TableWithJoins, Update, Value, Visit, VisitMut, Visitor, VisitorMut,
    },
    dialect::MySqlDialect,
    keywords::Keyword,
    tokenizer::{Token, Tokenizer},
};

use crate::{
    mysql::{error::TabletError, parser::parse_one, schema::SIDECAR, scope::parts},
    release::Release,
};

/// A statement that a tablet's vreplication engine takes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Run as it is.
    Select(Box<Query>),
    /// A new stream or several; each row gets an id of its own.
    InsertStreams(Box<Insert>),
    /// Change the streams that the condition selects, then start them again.
    UpdateStreams(Box<Update>),
    /// Stop and delete the streams that the condition selects.
    DeleteStreams(Box<Delete>),
    /// A write to `resharding_journal`: run as it is.
    Journal(Box<Statement>),
}

/// Judges a statement.
///
/// # Errors
///
/// The tablet's text for what its release does not accept.
pub fn plan(sql: &str, release: Release) -> Result<Plan, TabletError> {
    let statement = parse_one(sql, release)?;
    match &statement {
        Statement::Query(query) => match &*query.body {
            SetExpr::Select(select) => {
                check_from(&select.from, release, SELECTABLE)?;
                Ok(Plan::Select(query.clone()))
            }
            _ => Err(unsupported(&statement)),
        },
        Statement::Insert(insert) => plan_insert(insert, &statement, release),
        Statement::Update(update) => plan_update(update, &statement, release),
        Statement::Delete(delete) => plan_delete(delete, &statement, release),
        _ => Err(unsupported(&statement)),
    }
}

const SELECTABLE: &[&str] = &["vreplication", "resharding_journal", "copy_state", "vreplication_log"];
const WRITABLE: &[&str] = &["vreplication", "resharding_journal"];

fn unsupported(statement: &Statement) -> TabletError {
    TabletError::plain(format!("unsupported construct: {}", render(statement)))
}

/// Checks the tables and gives the first one's name.
fn check_from<'a>(from: &'a [TableWithJoins], release: Release, allowed: &[&str]) -> Result<&'a str, TabletError> {
    let whole = || from.iter().map(render).collect::<Vec<_>>().join(", ");
    let allowed = |name: &str| allowed.contains(&name) && (name != "vreplication_log" || release.has_log());
    let first = from.first();
    let plain = match first {
        Some(TableWithJoins { relation: TableFactor::Table { name, alias: None, .. }, joins }) if joins.is_empty() => Some(name),
        _ => None,
    };
    if !release.checks_first_table_only() {
        let name = plain.filter(|_| from.len() == 1).map(parts).unwrap_or_default();
        return match (name.as_slice(), plain.and_then(|name| name.0.last()).and_then(|part| part.as_ident())) {
            ([database, table], Some(ident)) if database == SIDECAR && allowed(table) => Ok(&ident.value),
            _ => Err(TabletError::plain(format!(
                "invalid table name: {}",
                if first.is_some() { whole() } else { "dual".to_owned() }
            ))),
        };
    }
    match first {
        None => Err(TabletError::plain("invalid database name: ")),
        Some(TableWithJoins { relation: TableFactor::NestedJoin { .. }, .. }) => {
            Err(TabletError::plain(format!("invalid FROM construct: {}", whole())))
        }
        Some(table) if !table.joins.is_empty() => Err(TabletError::plain(format!("invalid FROM construct: {}", render(table)))),
        Some(_) => {
            let name = plain.map(parts).unwrap_or_default();
            let (database, table) = match name.as_slice() {
                [database, table] => (database.as_str(), table.as_str()),
                _ => ("", ""),
            };
            if database != SIDECAR {
                return Err(TabletError::plain(format!("invalid database name: {database}")));
            }
            if !allowed(table) {
                return Err(TabletError::plain(format!("invalid table name: {table}")));
            }
            plain
                .and_then(|name| name.0.last())
                .and_then(|part| part.as_ident())
                .map(|ident| ident.value.as_str())
                .ok_or_else(|| TabletError::plain("invalid database name: "))
        }
    }
}

fn plan_insert(insert: &Insert, statement: &Statement, release: Release) -> Result<Plan, TabletError> {
    let refused = || TabletError::plain(format!("unsupported construct: {}", render_insert(insert)));
    let TableObject::TableName(name) = &insert.table else { return Err(refused()) };
    let name = parts(name);
    let (database, table) = match name.as_slice() {
        [database, table] => (database.as_str(), table.as_str()),
        [table] => ("", table.as_str()),
        _ => ("", ""),
    };
    if release.checks_first_table_only() {
        if database != SIDECAR {
            return Err(TabletError::plain(format!("invalid database name: {database}")));
        }
        if !WRITABLE.contains(&table) {
            return Err(TabletError::plain(format!("invalid table name: {table}")));
        }
    } else if database != SIDECAR || !WRITABLE.contains(&table) {
        return Err(TabletError::plain(format!("invalid table name: {}", name.join("."))));
    }
    if table == "resharding_journal" {
        return Ok(Plan::Journal(Box::new(statement.clone())));
    }
    if insert.replace_into || insert.ignore || insert.partitioned.is_some() || insert.on.is_some() {
        return Err(refused());
    }
    if !insert.assignments.is_empty() {
        let id = insert.assignments.iter().find(|assignment| assignment.target.to_string().eq_ignore_ascii_case("id"));
        return match id {
            Some(assignment) if !is_null(&assignment.value) => Err(should_not_have_id(insert)),
            _ => Ok(Plan::InsertStreams(Box::new(insert.clone()))),
        };
    }
    let Some(SetExpr::Values(values)) = insert.source.as_deref().map(|query| &*query.body) else { return Err(refused()) };
    let id = if insert.columns.is_empty() {
        Some(0)
    } else {
        insert.columns.iter().position(|column| column.to_string().trim_matches('`').eq_ignore_ascii_case("id"))
    };
    if let Some(id) = id {
        for row in &values.rows {
            match row.get(id) {
                None => return Err(TabletError::plain(format!("malformed statement: {}", render_insert(insert)))),
                Some(value) if !is_null(value) => return Err(should_not_have_id(insert)),
                Some(_) => {}
            }
        }
    }
    Ok(Plan::InsertStreams(Box::new(insert.clone())))
}

fn should_not_have_id(insert: &Insert) -> TabletError {
    TabletError::plain(format!("id should not have a value: {}", render_insert(insert)))
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

fn plan_update(update: &Update, statement: &Statement, release: Release) -> Result<Plan, TabletError> {
    let table = check_from(std::slice::from_ref(&update.table), release, WRITABLE)?;
    if table == "resharding_journal" {
        return Ok(Plan::Journal(Box::new(statement.clone())));
    }
    check_selective("update", &update.optimizer_hints, update.selection.as_ref(), release)?;
    if !update.order_by.is_empty() || update.limit.is_some() || update.from.is_some() {
        return Err(unsupported(statement));
    }
    for assignment in &update.assignments {
        let column = match &assignment.target {
            AssignmentTarget::ColumnName(name) => parts(name).pop(),
            AssignmentTarget::Tuple(_) => return Err(unsupported(statement)),
        };
        if column.is_some_and(|column| column.eq_ignore_ascii_case("id")) {
            return Err(TabletError::plain(format!("id cannot be changed: {}", render(assignment))));
        }
    }
    Ok(Plan::UpdateStreams(Box::new(update.clone())))
}

fn plan_delete(delete: &Delete, statement: &Statement, release: Release) -> Result<Plan, TabletError> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let table = check_from(from, release, WRITABLE)?;
    if table == "resharding_journal" {
        return Ok(Plan::Journal(Box::new(statement.clone())));
    }
    check_selective("delete", &delete.optimizer_hints, delete.selection.as_ref(), release)?;
    let is_plain = delete.tables.is_empty() && delete.using.is_none() && from.len() == 1;
    if !is_plain || !delete.order_by.is_empty() || delete.limit.is_some() {
        return Err(unsupported(statement));
    }
    Ok(Plan::DeleteStreams(Box::new(delete.clone())))
}

fn check_selective(verb: &str, hints: &[OptimizerHint], selection: Option<&Expr>, release: Release) -> Result<(), TabletError> {
    let allowed = hints.iter().any(|hint| hint.prefix == "vt" && hint.text.contains("ALLOW_UNSAFE_VREPLICATION_WRITE"));
    if !release.selective_where() || allowed || selection.is_some_and(is_selective) {
        return Ok(());
    }
    let condition = selection.map_or_else(String::new, |condition| format!(" where {}", render(condition)));
    Err(TabletError::plain(format!(
        "unsafe WHERE clause in {verb} without the /*vt+ ALLOW_UNSAFE_VREPLICATION_WRITE */ comment directive: {condition}; should \
         be using = or in with at least one of the following columns: id, workflow"
    )))
}

/// Whether `id` or `workflow`, bare and on the left, is compared by `=` or IN anywhere in the condition.
fn is_selective(condition: &Expr) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let left = match expr {
                Expr::BinaryOp { left, op: BinaryOperator::Eq, .. } => left,
                Expr::InList { expr, negated: false, .. } | Expr::InSubquery { expr, negated: false, .. } => expr,
                _ => return ControlFlow::Continue(()),
            };
            match &**left {
                Expr::Identifier(name)
                    if name.value.eq_ignore_ascii_case("id") || name.value.eq_ignore_ascii_case("workflow") =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    condition.visit(&mut Finder).is_break()
}

/// A piece of a statement as Vitess prints it: lower-case keywords, `as` in front of every alias, unquoted names.
fn render<T: std::fmt::Display + Clone + VisitMut>(piece: &T) -> String {
    struct Normal;
    impl VisitorMut for Normal {
        type Break = ();
        fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } = table {
                alias.explicit = true;
            }
            ControlFlow::Continue(())
        }
    }
    let mut piece = piece.clone();
    let _ = VisitMut::visit(&mut piece, &mut Normal);
    let text = piece.to_string();
    let Ok(tokens) = Tokenizer::new(&MySqlDialect {}, &text).with_unescape(false).tokenize() else { return text };
    tokens
        .into_iter()
        .map(|token| match token {
            Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword => {
                if word.value.chars().all(|character| character.is_ascii_uppercase() || character == '_') {
                    word.value.to_ascii_lowercase()
                } else {
                    word.value
                }
            }
            Token::Word(word) if word.quote_style.is_some() && is_plain_name(&word.value) => word.value,
            Token::Neq => "!=".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

fn is_plain_name(name: &str) -> bool {
    let plain = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    plain && sqlparser::keywords::ALL_KEYWORDS.binary_search(&name.to_ascii_uppercase().as_str()).is_err()
}

fn render_insert(insert: &Insert) -> String {
    let verb = if insert.replace_into { "replace" } else { "insert" };
    let ignore = if insert.ignore { " ignore" } else { "" };
    let table = match &insert.table {
        TableObject::TableName(name) => parts(name).join("."),
        other => other.to_string(),
    };
    let mut columns: Vec<String> = insert.columns.iter().map(|column| parts(column).join(".")).collect();
    let source = if insert.assignments.is_empty() {
        insert.source.as_ref().map_or_else(String::new, |source| match &*source.body {
            SetExpr::Values(values) => {
                let row = |row: &[Expr]| format!("({})", row.iter().map(render).collect::<Vec<_>>().join(", "));
                format!("values {}", values.rows.iter().map(|values| row(values)).collect::<Vec<_>>().join(", "))
            }
            _ => render(&**source),
        })
    } else {
        columns = insert.assignments.iter().map(|assignment| assignment.target.to_string()).collect();
        let values: Vec<String> = insert.assignments.iter().map(|assignment| render(&assignment.value)).collect();
        format!("values ({})", values.join(", "))
    };
    let columns = if columns.is_empty() { String::new() } else { format!("({})", columns.join(", ")) };
    format!("{verb}{ignore} into {table}{columns} {source}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sql: &str, major: u8) -> String {
        plan(sql, Release::new(major)).expect_err(sql).to_string()
    }

    #[test]
    fn selectivity_needs_a_bare_column_on_the_left() {
        for (sql, safe) in [
            ("update _vt.vreplication set tags = 'x' where id = 1", true),
            ("update _vt.vreplication set tags = 'x' where WORKFLOW in ('a')", true),
            ("update _vt.vreplication set tags = 'x' where not (id = 1) or 1", true),
            ("update _vt.vreplication set tags = 'x' where state = 'x' and id in (select id from _vt.vreplication)", true),
            ("update _vt.vreplication set tags = 'x' where 1 = id", false),
            ("update _vt.vreplication set tags = 'x' where _vt.vreplication.id = 1", false),
            ("update _vt.vreplication set tags = 'x' where id != 1", false),
            ("update _vt.vreplication set tags = 'x' where id not in (1)", false),
            ("update _vt.vreplication set tags = 'x'", false),
            ("update /*vt+ ALLOW_UNSAFE_VREPLICATION_WRITE */ _vt.vreplication set tags = 'x'", true),
        ] {
            assert_eq!(plan(sql, Release::new(20)).is_ok(), safe, "{sql}");
            assert!(plan(sql, Release::new(18)).is_ok(), "{sql}: v18 does not look");
        }
    }

    #[test]
    fn refusals_are_worded_by_release() {
        let sql = "select vr.id from _vt.vreplication vr, _vt.copy_state cs where cs.vrepl_id = vr.id";
        assert_eq!(refusal(sql, 16), "invalid table name: _vt.vreplication as vr, _vt.copy_state as cs");
        assert_eq!(refusal(sql, 17), "invalid database name: ");
        assert_eq!(refusal("select id from _vt.vreplication limit", 20), "syntax error at position 38");
        assert_eq!(refusal("select * from _vt.vreplication_log", 10), "invalid table name: _vt.vreplication_log");
        assert_eq!(
            refusal("update _vt.vreplication set tags = 'x' order by id", 16),
            "unsupported construct: update _vt.vreplication set tags = 'x' order by id"
        );
        assert_eq!(refusal("set @a = 1", 24), "unsupported construct: set @a = 1");
    }
}
