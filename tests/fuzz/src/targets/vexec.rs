//! Statements of `VExec`: what comes out touches the rows of its scope alone, read by another parser than ours; and printed, it is what
//! it was.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{BinaryOperator, Expr, Query, Select, SetExpr, Statement as Sql, TableFactor, Value, Visit, Visitor},
    dialect::MySqlDialect,
    parser::Parser,
};
use vtflow_planner::{
    limits,
    vexec::{Scope, Statement},
};

use crate::input::{Input, Output};

/// The workflow, the database, and the statement.
pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (workflow, db_name) = (input.text(), input.text());
    let sql = String::from_utf8_lossy(input.rest());
    let scope = || Scope { workflow: workflow.clone() };
    let statement = match Statement::parse(&sql, scope()) {
        Ok(statement) => statement,
        Err(refusal) => {
            let text = refusal.with_caret(&sql);
            assert!(text.contains('^') && text.len() < 4_000, "{text}");
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
            assert!(!refusal.message.is_empty());
            return;
        }
    };
    assert!(sql.len() <= limits::STATEMENT_BYTES);
    let scoped = statement.scoped(&db_name);
    let text = &scoped.text;
    for added in &scoped.added {
        let added = text.get(added.clone()).expect("a part of the text");
        assert!(added.trim_start().starts_with("where ") || added.trim_start().starts_with("and "), "{added:?} in {text}");
    }
    assert_eq!(statement.for_target(&db_name), *text);
    check_scope(text, &workflow, &db_name);
    match Statement::parse(text, scope()) {
        Ok(again) => {
            let twice = again.scoped(&db_name);
            assert_eq!(twice.text, *text, "printed is a fixed point");
            assert_eq!(twice.added, [], "what is scoped needs no scope: {text}");
            assert_eq!((again.kind(), again.table()), (statement.kind(), statement.table()));
        }
        // What was added may be the part that is too much.
        Err(refusal) => {
            let is_bound = refusal.message.contains("more than") || refusal.message.contains("too ");
            assert!(is_bound, "{refusal}: {text}");
        }
    }
    if let Some(select) = statement.rows_expected(&db_name) {
        check_scope(&select, &workflow, &db_name);
        assert!(statement.kind().is_write() && select.starts_with("select "), "{select}");
    } else {
        assert!(!statement.kind().is_write());
    }
}

/// Every table at every level is restricted to the workflow and the database, as sqlparser reads the text. What that cannot read is left.
fn check_scope(text: &str, workflow: &str, db_name: &str) {
    let Ok(statements) =
        Parser::new(&MySqlDialect {}).with_recursion_limit(100).try_with_sql(text).and_then(|mut p| p.parse_statements())
    else {
        return;
    };
    assert_eq!(statements.len(), 1, "{text}");
    let mut check = Check { workflow, db_name, text };
    match &statements[0] {
        Sql::Query(_) => {}
        Sql::Update(update) => check.table("vreplication", update.selection.as_ref()),
        Sql::Delete(delete) => check.table("vreplication", delete.selection.as_ref()),
        other => panic!("{other}: {text}"),
    }
    let _ = statements.visit(&mut check);
}

struct Check<'a> {
    workflow: &'a str,
    db_name: &'a str,
    text: &'a str,
}

impl Visitor for Check<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = &*query.body else { panic!("{query}: {}", self.text) };
        let Select { from, selection, .. } = &**select;
        let [from] = &from[..] else { panic!("not one table: {}", self.text) };
        assert!(from.joins.is_empty(), "{}", self.text);
        let TableFactor::Table { name, .. } = &from.relation else { panic!("no table: {}", self.text) };
        let name = name.to_string();
        let name = name.strip_prefix("_vt.").expect("a sidecar table");
        self.table(name, selection.as_ref());
        ControlFlow::Continue(())
    }
}

impl Check<'_> {
    fn table(&mut self, table: &str, selection: Option<&Expr>) {
        let mut parts = Vec::new();
        if let Some(selection) = selection {
            conjuncts(selection, &mut parts);
        }
        let (database, workflow) = match table {
            "vreplication" => ("db_name", "workflow"),
            "schema_migrations" => ("mysql_schema", "migration_uuid"),
            "copy_state" | "vreplication_log" => {
                let is_restricted = parts.iter().any(|part| match part {
                    // The streams themselves are restricted where the visitor comes to them.
                    Expr::InSubquery { expr, subquery, negated: false } => {
                        expr.to_string() == "vrepl_id"
                            && subquery.to_string().starts_with("SELECT id FROM _vt.vreplication WHERE ")
                    }
                    _ => false,
                });
                assert!(is_restricted, "{table} is not restricted: {}", self.text);
                return;
            }
            other => panic!("the table {other}: {}", self.text),
        };
        assert!(parts.iter().any(|part| is_only(part, database, self.db_name)), "no {database} in {}", self.text);
        let has_workflow = self.workflow.is_empty() || parts.iter().any(|part| is_only(part, workflow, self.workflow));
        assert!(has_workflow, "no {workflow} in {}", self.text);
    }
}

fn conjuncts<'a>(expr: &'a Expr, out: &mut Vec<&'a Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, out);
            conjuncts(right, out);
        }
        Expr::Nested(inner) => conjuncts(inner, out),
        other => out.push(other),
    }
}

/// Whether a condition is that a column is this text and no other.
fn is_only(part: &Expr, column: &str, text: &str) -> bool {
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(name) if name.value == column);
    let is_text =
        |expr: &Expr| matches!(expr, Expr::Value(value) if matches!(&value.value, Value::SingleQuotedString(of) if of == text));
    match part {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => is_column(left) && is_text(right),
        Expr::InList { expr, list, negated: false } => is_column(expr) && list.iter().all(is_text),
        _ => false,
    }
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let statements = [
        "select * from _vt.vreplication",
        "select id, workflow, concat(state, ' ', message) as x from _vt.vreplication where id in (1, 2) and state != 'Running' order by id desc limit 1, 5",
        "select count(*) from _vt.copy_state where vrepl_id = 1",
        "select distinct l.id from _vt.vreplication_log where message like '%error%' escape '|' or not (id = 1)",
        "select v.id from _vt.vreplication where exists (select id from _vt.copy_state where table_name regexp 't1')",
        "select group_concat(distinct workflow order by id separator ', ') from _vt.vreplication group by state having count(*) > 1",
        "select migration_uuid from _vt.schema_migrations where migration_status = 'running' and added_timestamp > now() - interval 1 day",
        "select case state when 'Stopped' then 1 else (select max(id) from _vt.vreplication) end from _vt.vreplication",
        "select options->'$.a', cast(id as char), convert(message using utf8mb4), x'7766', -1, true from _vt.vreplication",
        "select id from _vt.vreplication where workflow = 'wf' and db_name = 'vt_ks' and id between 1 and 2",
        "update _vt.vreplication set state = 'Stopped', message = 'it''s' where id = 1",
        "update _vt.vreplication set message = lower('A\\\\') where workflow in ('wf')",
        "delete from _vt.vreplication where id in (select id from _vt.vreplication where cell = 'zone1')",
        "select id from _vt.vreplication -- comment\n where /* x */ id <=> null xor id & 1",
        "insert into _vt.vreplication values (1)",
        "select `id`, `Workflow` from `_vt`.`vreplication` where `db_name` in ('vt_ks', 'vt_ks')",
    ];
    let names = [("wf", "vt_ks"), ("", "vt_ks"), ("it's\\", "a'b\n")];
    let seed = |(at, sql): (usize, &&str)| {
        let (workflow, db_name) = names[at % names.len()];
        let Output(mut seed) = Output::default().bytes(workflow.as_bytes()).bytes(db_name.as_bytes());
        seed.extend(sql.as_bytes());
        (format!("{at:02}"), seed)
    };
    statements.iter().enumerate().map(seed).collect()
}
