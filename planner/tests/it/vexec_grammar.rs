//! Each form of the grammar of `VExec`: how it is printed, and how what stands just outside of it is refused.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use vtflow_planner::{
    limits,
    vexec::{Refusal, Scope, Statement},
};

fn parse(sql: &str) -> Result<Statement, Refusal> {
    Statement::parse(sql, Scope { workflow: "wf".into() })
}

fn printed(sql: &str) -> String {
    parse(sql).unwrap_or_else(|refusal| panic!("{}", refusal.with_caret(sql))).for_target("vt_ks")
}

fn refusal(sql: &str) -> Refusal {
    match parse(sql) {
        Ok(statement) => panic!("accepted: {sql}\nas {}", statement.for_target("vt_ks")),
        Err(refusal) => refusal,
    }
}

const SCOPE: &str = "db_name = 'vt_ks' and workflow = 'wf'";

#[test]
fn every_form_of_an_expression_is_printed_so() {
    for (given, want) in [
        ("substring(message, 2)", "substring(message, 2)"),
        ("substring(message from 2)", "substring(message, 2)"),
        ("substring(message, 2, 3)", "substring(message, 2, 3)"),
        ("substr(message from 2 for 3)", "substring(message, 2, 3)"),
        ("trim(message)", "trim(message)"),
        ("trim(both from message)", "trim(message)"),
        ("trim(LEADING from message)", "ltrim(message)"),
        ("trim(trailing from message)", "rtrim(message)"),
        ("position('a' in message)", "locate('a', message)"),
        ("date_sub(now(), interval 1 day)", "date_sub(now(), interval 1 day)"),
        ("date_format(now(), '%Y')", "date_format(now(), '%Y')"),
        ("cast(message as char)", "cast(message as char)"),
        ("cast(message as signed integer)", "cast(message as signed)"),
        ("convert(message, unsigned)", "cast(message as unsigned)"),
        ("convert(message using latin1)", "convert(message using latin1)"),
        ("current_timestamp", "current_timestamp()"),
        ("current_timestamp()", "current_timestamp()"),
        ("id <= 1", "id <= 1"),
        ("id >= 1", "id >= 1"),
        ("id / 2", "id / 2"),
        ("+ id", "id"),
        ("+ id + 1", "id + 1"),
        ("- id", "-(id)"),
        ("- 1", "-1"),
        ("0x41", "x'41'"),
        ("vreplication.id", "_vt.vreplication.id"),
        ("_vt.vreplication.id", "_vt.vreplication.id"),
        ("message like (1 = 1) and true", "(message like (1 = 1)) and true"),
        ("(1 = 1) like message and true", "((1 = 1) like message) and true"),
    ] {
        let text = printed(&format!("select {given} from _vt.vreplication"));
        assert_eq!(text, format!("select {want} from _vt.vreplication where {SCOPE}"), "{given}");
        assert_eq!(printed(&text), text, "printed is a fixed point");
    }
}

#[test]
fn every_clause_is_printed_so() {
    for (given, want) in [
        ("select all id from _vt.vreplication", format!("select id from _vt.vreplication where {SCOPE}")),
        ("select distinct id from _vt.vreplication", format!("select distinct id from _vt.vreplication where {SCOPE}")),
        (
            "select id from _vt.vreplication order by id desc, state asc, pos",
            format!("select id from _vt.vreplication where {SCOPE} order by id desc, state asc, pos asc"),
        ),
        (
            "select id from _vt.vreplication group by id having id + 1",
            format!("select id from _vt.vreplication where {SCOPE} group by id having id + 1"),
        ),
        (
            "select id from _vt.vreplication group by id having id + 1 and id",
            format!("select id from _vt.vreplication where {SCOPE} group by id having (id + 1) and id"),
        ),
        ("select id from _vt.vreplication limit 5 offset 2", format!("select id from _vt.vreplication where {SCOPE} limit 2, 5")),
    ] {
        assert_eq!(printed(given), want, "{given}");
    }
}

#[test]
fn a_result_column_has_the_name_that_was_given() {
    let long = "x".repeat(64);
    for (given, want) in [
        ("as a1", "a1"),
        ("a1", "a1"),
        ("_a", "_a"),
        ("as state", "state"),
        ("'a text'", "`a text`"),
        ("as \"a text\"", "`a text`"),
        ("as `1a`", "`1a`"),
        ("as `1`", "`1`"),
        ("as `a-b`", "`a-b`"),
        ("as `a``b`", "`a``b`"),
        ("as `é`", "`é`"),
        ("`and`", "`and`"),
        ("`like`", "`like`"),
        ("`from`", "`from`"),
        ("as select", "`select`"),
        (&long, &long),
    ] {
        let text = printed(&format!("select id {given} from _vt.vreplication"));
        assert_eq!(text, format!("select id as {want} from _vt.vreplication where {SCOPE}"), "{given}");
        assert_eq!(printed(&text), text, "printed is a fixed point");
    }
    let long = format!("`{}`", "x".repeat(65));
    for name in ["''", "``", "'a\nb'", "`a\u{1b}`", &long] {
        let sql = format!("select id as {name} from _vt.vreplication");
        let refusal = refusal(&sql);
        assert_eq!(refusal.message, "a result column cannot have this name", "{name}");
        assert_eq!(&sql[refusal.span.clone()], name, "{}", refusal.with_caret(&sql));
    }
}

#[test]
fn what_is_refused_is_shown_with_what_would_be_accepted() {
    for (sql, message, at, accepted) in [
        (
            "insert into _vt.vreplication (id) values (1)",
            "query not supported by vexec: insert into _vt.vreplication (id) values (1)",
            "insert",
            "select, update or delete; streams are made by the commands that make workflows",
        ),
        (
            "delete from _vt.schema_migrations",
            "table not supported by vexec: _vt.schema_migrations cannot be written",
            "_vt.schema_migrations",
            "_vt.vreplication; migrations are changed by their own commands",
        ),
        (
            "delete from _vt.copy_state",
            "table not supported by vexec: _vt.copy_state cannot be written",
            "_vt.copy_state",
            "_vt.vreplication: its rows go when their stream is deleted",
        ),
        (
            "delete from _vt.vreplication, _vt.copy_state",
            "table not supported by vexec: _vt.copy_state",
            "_vt.copy_state",
            "one table; another one in a subquery: … in (select … from …)",
        ),
        (
            "delete from _vt.vreplication, x using _vt.vreplication",
            "unsupported query construct: DELETE must not have USING clause or several tables",
            ",",
            "delete from _vt.vreplication where …",
        ),
        ("select id && id from _vt.vreplication", "&& is not accepted", "&&", "and"),
        (
            "select abs(interval 1 day) from _vt.vreplication",
            "an interval cannot stand here",
            "interval",
            "now() - interval 10 minute",
        ),
        (
            "select id from _vt.vreplication where message like 'a' escape 'xy'",
            "an escape is one character",
            "'xy'",
            "escape '|'",
        ),
        ("select id from _vt.vreplication where message like 'a' escape 1", "an escape is one character", "1", "escape '|'"),
        (
            "select x'4' from _vt.vreplication",
            "this kind of literal is not supported by vexec",
            "x'4'",
            "'text', 12, x'ff', null",
        ),
        (
            "select x'zz' from _vt.vreplication",
            "this kind of literal is not supported by vexec",
            "x'zz'",
            "'text', 12, x'ff', null",
        ),
        ("select id as 5 from _vt.vreplication", "syntax error at position 15 near '5'", "5", "expected a name"),
        (
            "select id from (select id from _vt.vreplication) where id = 1",
            "table not supported by vexec: (select id from _vt.vreplication)",
            "(select id from _vt.vreplication)",
            "_vt.vreplication, _vt.vreplication_log, _vt.copy_state, _vt.schema_migrations",
        ),
        (
            "select vt.vreplication.id from _vt.vreplication",
            "no table vt.vreplication here",
            "vt.vreplication.id",
            "_vt.vreplication",
        ),
        ("select copy_state.id from _vt.vreplication", "no table copy_state here", "copy_state.id", "_vt.vreplication"),
        (
            "select id from _vt.vreplication `where` id = 1",
            "table not supported by vexec: _vt.vreplication as `where`",
            "`where`",
            "no alias: tablets refuse it",
        ),
        (
            "select id from _vt.vreplication where id `and` id",
            "syntax error at position 47 near '`and`'",
            "`and`",
            "expected end of statement",
        ),
        ("select distinct all id from _vt.vreplication", "_vt.vreplication has no column all", "all", ""),
        (
            "select id from _vt.vreplication order by id desc asc",
            "syntax error at position 53 near 'asc'",
            "asc",
            "expected end of statement",
        ),
        (
            "select id /*+ MAX_EXECUTION_TIME(1) */ from _vt.vreplication",
            "comment directives are not passed on",
            "/*+ MAX_EXECUTION_TIME(1) */",
            "no comment: vexec has no unsafe writes",
        ),
    ] {
        let refusal = refusal(sql);
        assert_eq!(refusal.message, message, "{sql}");
        assert_eq!(&sql[refusal.span.clone()], at, "{}", refusal.with_caret(sql));
        if !accepted.is_empty() {
            assert_eq!(refusal.accepted, accepted, "{sql}");
        }
    }
}

#[test]
fn a_number_has_64_digits_at_most() {
    let select = |digits: usize| format!("select {} from _vt.vreplication", "9".repeat(digits));
    assert!(parse(&select(64)).is_ok());
    assert_eq!(refusal(&select(65)).message, "this kind of literal is not supported by vexec");
}

#[test]
fn comments_for_nobody_are_left_out() {
    let want = format!("select id from _vt.vreplication where {SCOPE}");
    for sql in [
        "select /* a */ id from _vt.vreplication",
        "select id -- a\nfrom _vt.vreplication",
        "select id # + a\n from _vt.vreplication",
    ] {
        assert_eq!(printed(sql), want, "{sql}");
    }
}

#[test]
fn only_lists_of_the_scopes_own_columns_count_as_scope() {
    for said in ["state in ('wf')", "message in ('wf', 'wf')", "lower(workflow) in ('wf')", "workflow not in ('wf')"] {
        let text = printed(&format!("delete from _vt.vreplication where {said}"));
        assert_eq!(text, format!("delete from _vt.vreplication where {said} and {SCOPE}"));
    }
}

#[test]
fn what_is_too_much_by_one_is_refused_and_what_is_not_is_read() {
    let sql = "select id from _vt.vreplication";
    let padded = |bytes: usize| format!("{sql}{}", " ".repeat(bytes - sql.len()));
    assert!(parse(&padded(limits::STATEMENT_BYTES)).is_ok());
    let refused = refusal(&padded(limits::STATEMENT_BYTES + 1));
    assert_eq!(refused.message, "the statement has 65537 bytes, more than the 65536 that are read");

    // Seven words and signs, and two for each further column: its name counts, its comma does not.
    let words = |count: usize| format!("select id{} from _vt.vreplication", ", id".repeat(count - 6));
    assert!(parse(&words(limits::STATEMENT_PARTS)).is_ok());
    for more in [1, 3] {
        let sql = words(limits::STATEMENT_PARTS + more);
        let refused = refusal(&sql);
        let count = limits::STATEMENT_PARTS + more;
        assert_eq!(refused.message, format!("the statement has {count} words and signs, more than the 1000 that are read"));
    }

    let named = |bytes: usize| Statement::parse(sql, Scope { workflow: "w".repeat(bytes) });
    assert!(named(limits::WORKFLOW_NAME_BYTES).is_ok());
    assert_eq!(named(limits::WORKFLOW_NAME_BYTES + 1).expect_err("too long").message, "a workflow's name has at most 1000 bytes");
}
