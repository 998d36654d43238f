//! What `VExec` accepts, what it prints for a target, and what it refuses; the cases of vtctld's own planner among them.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, Effect, FailureKind, What,
    proto::{
        query::{Field, QueryResult, Row},
        tabletmanagerdata::{ExecuteFetchAsDbaResponse, VReplicationExecRequest},
        vtflow::{VExecRequest, VExecResponse},
    },
    rpc,
    vexec::{Kind, Refusal, Scope, Statement, Table},
};

use crate::support::{Cluster, refused, rows};

fn parse(sql: &str, workflow: &str) -> Result<Statement, Refusal> {
    Statement::parse(sql, Scope { workflow: workflow.into() })
}

fn printed(sql: &str) -> String {
    parse(sql, "wf").unwrap_or_else(|refusal| panic!("{}", refusal.with_caret(sql))).for_target("vt_ks")
}

fn refusal(sql: &str) -> Refusal {
    match parse(sql, "wf") {
        Ok(statement) => panic!("accepted: {sql}\nas {}", statement.for_target("vt_ks")),
        Err(refusal) => refusal,
    }
}

/// `VX` and `WR` and `MX` are the numbers of the reference's own cases.
#[test]
fn what_the_reference_plans_is_planned() {
    for (case, workflow, sql, want) in [
        ("VX-1", "", "SELECT id FROM _vt.vreplication", "select id from _vt.vreplication where db_name = 'vt_ks'"),
        (
            "VX-5",
            "wf",
            "SELECT id FROM _vt.vreplication WHERE id > 10",
            "select id from _vt.vreplication where id > 10 and db_name = 'vt_ks' and workflow = 'wf'",
        ),
        (
            "VX-6",
            "wf",
            "SELECT id FROM _vt.vreplication WHERE id > 10 AND db_name = 'vt_ks' AND workflow = 'wf'",
            "select id from _vt.vreplication where id > 10 and db_name = 'vt_ks' and workflow = 'wf'",
        ),
        (
            "VX-7",
            "wf",
            "UPDATE _vt.vreplication SET state = 'Running'",
            "update _vt.vreplication set state = 'Running' where db_name = 'vt_ks' and workflow = 'wf'",
        ),
        (
            "VX-10",
            "",
            "DELETE FROM _vt.vreplication WHERE id = 1",
            "delete from _vt.vreplication where id = 1 and db_name = 'vt_ks'",
        ),
        (
            "VX-13: the ids are the tablet's to find",
            "wf",
            "select * from _vt.vreplication_log",
            "select * from _vt.vreplication_log where vrepl_id in (select id from _vt.vreplication where db_name = 'vt_ks' and workflow = 'wf')",
        ),
        (
            "VX-22",
            "",
            "select distinct workflow from _vt.vreplication where state <> 'Stopped'",
            "select distinct workflow from _vt.vreplication where state != 'Stopped' and db_name = 'vt_ks'",
        ),
        (
            "VX-23: the quote is doubled, which every sql_mode reads alike",
            "it's",
            "delete from _vt.vreplication",
            "delete from _vt.vreplication where db_name = 'vt_ks' and workflow = 'it''s'",
        ),
        (
            "WR-2",
            "wf",
            "select id, source, message, cell, tablet_types, workflow_type, workflow_sub_type, defer_secondary_keys from _vt.vreplication",
            "select id, source, message, cell, tablet_types, workflow_type, workflow_sub_type, defer_secondary_keys from _vt.vreplication where db_name = 'vt_ks' and workflow = 'wf'",
        ),
        (
            "WR-3",
            "wf",
            "delete from _vt.vreplication where message != ''",
            "delete from _vt.vreplication where message != '' and db_name = 'vt_ks' and workflow = 'wf'",
        ),
        (
            "MX-18",
            "wf",
            "update _vt.vreplication set state='Stopped', message='for wrangler test'",
            "update _vt.vreplication set state = 'Stopped', message = 'for wrangler test' where db_name = 'vt_ks' and workflow = 'wf'",
        ),
        (
            "MX-13",
            "wf",
            "select * from `_vt`.`vreplication`",
            "select * from _vt.vreplication where db_name = 'vt_ks' and workflow = 'wf'",
        ),
    ] {
        let statement = parse(sql, workflow).unwrap_or_else(|refusal| panic!("{case}: {}", refusal.with_caret(sql)));
        assert_eq!(statement.for_target("vt_ks"), want, "{case}");
        let again = parse(want, workflow).unwrap_or_else(|refusal| panic!("{case}: {}", refusal.with_caret(want)));
        assert_eq!(again.kind(), statement.kind(), "{case}");
        assert_eq!(again.for_target("vt_ks"), again.for_target("vt_ks"), "{case}");
    }
}

#[test]
fn what_the_reference_refuses_is_refused_in_its_words() {
    for (case, sql, text, at) in [
        ("VX-2", "INSERT INTO _vt.vreplication (id) VALUES (1)", "query not supported by vexec: INSERT INTO", "INSERT"),
        (
            "VX-4",
            "CREATE TABLE foo (id INT(11) PRIMARY KEY NOT NULL) ENGINE=InnoDB",
            "query not supported by vexec: CREATE TABLE foo",
            "CREATE",
        ),
        (
            "VX-8",
            "UPDATE _vt.vreplication SET state = 'Running' ORDER BY id DESC",
            "unsupported query construct: UPDATE must not have explicit ordering (have: [id",
            "id",
        ),
        (
            "MX-8",
            "UPDATE _vt.vreplication SET state = 'Running' LIMIT 5",
            "unsupported query construct: UPDATE must not have explicit ordering (have: []) or limit clauses (have: [5])",
            "5",
        ),
        ("VX-9", "UPDATE _vt.vreplication SET id = 5", "cannot update immutable column id: id = 5: UPDATE _vt.vrep", "id"),
        ("VX-9, another case", "update _vt.vreplication set ID = 1", "cannot update immutable column ID: ID = 1: update", "ID"),
        (
            "VX-11",
            "DELETE FROM _vt.vreplication PARTITION (p1)",
            "unsupported query construct: DELETE must not have explicit partitions (have: [p1])",
            "_vt.vreplication",
        ),
        (
            "VX-12",
            "DELETE FROM _vt.vreplication LIMIT 5",
            "unsupported query construct: DELETE must not have explicit ordering (have: []) or limit clauses (have: [5])",
            "5",
        ),
        ("VX-21", "select * from _vt.vreplication v", "table not supported by vexec: _vt.vreplication as v", "v"),
        (
            "WR-4",
            "insert into _vt.vreplication(state, workflow, db_name) values ('Running', 'wk1', 'ks1'), ('Stopped', 'wk1', 'ks1')",
            "query not supported by vexec",
            "insert",
        ),
        ("WR-5", "delete from _vt.copy_state", "table not supported by vexec: _vt.copy_state", "_vt.copy_state"),
        ("WR-13", "bad query", "syntax error at position 4 near 'bad'", "bad"),
        ("WR-14", "select * from _vt.vreplication2", "table not supported by vexec: _vt.vreplication2", "_vt.vreplication2"),
        ("MX-14", "insert into _vt.vreplication_log(id) values (1)", "query not supported by vexec: insert into", "insert"),
        ("MX-17", "describe _vt.vreplication", "query not supported by vexec: describe _vt.vreplication", "describe"),
        ("another case", "select * from _VT.vreplication", "table not supported by vexec: _VT.vreplication", "_VT.vreplication"),
        ("no database", "select * from vreplication", "table not supported by vexec: vreplication", "vreplication"),
        (
            "union",
            "select id from _vt.vreplication union select id from _vt.copy_state",
            "query not supported by vexec: select id",
            "union",
        ),
        (
            "several tables",
            "delete a from _vt.vreplication a, _vt.vreplication b",
            "unsupported query construct: DELETE must not have USING",
            "",
        ),
    ] {
        let refusal = refusal(sql);
        assert!(refusal.message.starts_with(text), "{case}: {}", refusal.message);
        assert!(!refusal.accepted.is_empty() && refusal.with_caret(sql).contains('^'), "{case}");
        if !at.is_empty() {
            assert_eq!(&sql[refusal.span.clone()], at, "{case}: {}", refusal.with_caret(sql));
        }
    }
}

#[test]
fn nothing_may_follow_the_statement() {
    for (sql, at) in [
        ("select * from _vt.vreplication where id = 1 end", "end"),
        ("select * from _vt.vreplication limit 1 end or 1 = 1", "end"),
        ("select * from _vt.vreplication limit 1 nonsense", "nonsense"),
        ("update _vt.vreplication set state = 'Running' where id = 1 nonsense", "nonsense"),
        ("delete from _vt.vreplication where id = 1 end", "end"),
        ("delete from _vt.vreplication where id = 1 or", ""),
    ] {
        let refusal = refusal(sql);
        assert!(refusal.message.starts_with("syntax error at position"), "{sql}: {}", refusal.message);
        assert_eq!(&sql[refusal.span.clone()], at, "{}", refusal.with_caret(sql));
    }
}

#[test]
fn other_statements_are_known_by_their_first_word() {
    for word in ["alter", "Drop", "explain", "GRANT", "set", "show", "truncate"] {
        let refusal = refusal(&format!(" {word} anything at all"));
        assert_eq!(refusal.message, format!("query not supported by vexec:  {word} anything at all"));
        assert_eq!((refusal.span, refusal.accepted.as_str()), (1..1 + word.len(), "select, update or delete"), "{word}");
    }
    for sql in ["5", "nonsense"] {
        let refusal = refusal(sql);
        assert!(refusal.message.starts_with("syntax error at position"), "{sql}: {}", refusal.message);
        assert_eq!(refusal.accepted, "expected an SQL statement", "{sql}");
    }
}

#[test]
fn beyond_the_reference_only_what_stays_within_the_tables_is_accepted() {
    for (sql, text, at) in [
        ("select sleep(9) from _vt.vreplication", "function not supported by vexec: sleep", "sleep"),
        (
            "select * from _vt.vreplication where id = benchmark(1e9, 1)",
            "function not supported by vexec: benchmark",
            "benchmark",
        ),
        ("select load_file('/etc/passwd') from _vt.vreplication", "function not supported by vexec: load_file", "load_file"),
        ("select @a from _vt.vreplication", "variables are not accepted: @a", "@a"),
        ("select @@version from _vt.vreplication", "variables are not accepted: @@version", "@@version"),
        ("select * from _vt.vreplication where id = :id", "variables are not accepted: :id", ":id"),
        ("select * from _vt.vreplication where id = ?", "variables are not accepted: ?", "?"),
        ("select * from _vt.vreplication into outfile '/tmp/x'", "", ""),
        ("select * into outfile '/tmp/x' from _vt.vreplication", "", ""),
        ("select * from _vt.vreplication for update", "locking rows", "for"),
        (
            "select * from _vt.vreplication where id in (select id from mysql.user)",
            "table not supported by vexec: mysql.user",
            "mysql.user",
        ),
        ("select (select 1) from _vt.vreplication", "table not supported by vexec: dual", ""),
        ("select * from _vt.vreplication, _vt.copy_state", "table not supported by vexec: _vt.copy_state", "_vt.copy_state"),
        ("select * from _vt.vreplication join _vt.copy_state on true", "table not supported by vexec", ""),
        ("select * from (select * from _vt.vreplication) as x", "table not supported by vexec", ""),
        ("with x as (select 1) select * from _vt.vreplication", "query not supported by vexec: with", ""),
        ("update _vt.vreplication set workflow = 'x'", "cannot update immutable column workflow", "workflow"),
        ("update _vt.vreplication set db_name = 'x'", "cannot update immutable column db_name", "db_name"),
        ("update _vt.vreplication set _vt.vreplication.`WorkFlow` = 'x'", "cannot update immutable column WorkFlow", ""),
        ("update _vt.vreplication set stete='Stopped'", "_vt.vreplication has no column stete", "stete"),
        ("update _vt.vreplication set state='stopped'", "no such state", "'stopped'"),
        ("update _vt.vreplication set tags = (select workflow from _vt.vreplication)", "a subquery cannot stand here", ""),
        (
            "update _vt.schema_migrations set migration_status = 'cancel'",
            "table not supported by vexec: _vt.schema_migrations",
            "",
        ),
        (
            "update /*vt+ ALLOW_UNSAFE_VREPLICATION_WRITE */ _vt.vreplication set tags = ''",
            "comment directives are not passed on",
            "",
        ),
        ("select * from _vt.vreplication /*!50000 where 1 */", "a comment that MySQL executes", "/*!"),
        ("select * from _vt.vreplication; drop table x", "Expected a single statement", ";"),
        ("select * from _vt.vreplication where a\u{0440}p = 1", "_vt.vreplication has no column a\u{0440}p", "a\u{0440}p"),
        ("select * from _vt.vreplication where st\u{0430}te = 'x'", "_vt.vreplication has no column", "st\u{0430}te"),
        ("select * from _vt.vreplication where state = \u{2019}x\u{2019}", "", ""),
        ("select * from _vt.vreplication where state = 'x", "syntax error at position", ""),
        ("select * from _vt.vreplication where workflow = 'a' || 'b'", "|| means one thing or another", ""),
        ("select row_number() over () from _vt.vreplication", "function not supported by vexec: row_number", "row_number"),
        ("select max(id) over () from _vt.vreplication", "this form of a call is not supported", ""),
        ("select _vt.copy_state.id from _vt.vreplication", "no table _vt.copy_state here", ""),
        ("select * from _vt.vreplication limit id", "a limit is a whole number", "id"),
        ("", "Query was empty", ""),
        (" ; ; ", "Query was empty", ""),
        ("-- nothing", "Query was empty", ""),
    ] {
        let refusal = refusal(sql);
        assert!(refusal.message.starts_with(text), "{sql}: {}", refusal.message);
        assert!(refusal.with_caret(sql).contains('^'), "{sql}");
        if !at.is_empty() {
            assert_eq!(&sql[refusal.span.clone()], at, "{sql}");
        }
    }
}

#[test]
fn a_typing_error_is_shown_in_its_place() {
    let sql = "update _vt.vreplication set stete='Stopped'";
    assert_eq!(
        refusal(sql).with_caret(sql),
        "_vt.vreplication has no column stete\n  update _vt.vreplication set stete='Stopped'\n                              ^^^^^ did you mean state?"
    );
    let sql = "select * from _vt.vreplicaton";
    assert!(refusal(sql).with_caret(sql).ends_with(" ^^^^^^^^^^^^^^^ did you mean _vt.vreplication?"));
}

#[test]
fn a_refusal_is_one_short_line_whatever_the_statement_holds() {
    let long = "x".repeat(60_000);
    for sql in [
        "delete from _vt.vreplication order by a\0b".to_owned(),
        "delete from _vt.vreplication order by a\n, \u{1b}[31m limit 1".to_owned(),
        "delete from _vt.vreplication partition (p\0, q)".to_owned(),
        format!("delete from _vt.vreplication order by {long}"),
        format!("delete from _vt.vreplication where id = 1 limit {long}"),
        format!("delete from _vt.vreplication partition ({long})"),
        "select \0".to_owned(),
        "select '\0".to_owned(),
        "select `\n".to_owned(),
        "select * from _vt.`a\nb`".to_owned(),
        "select * from `a\nb`.vreplication".to_owned(),
        "update _vt.vreplication set `a\nb` = 1".to_owned(),
        "select `f\u{1b}`(1) from _vt.vreplication".to_owned(),
        "select `t\u{1b}`.id from _vt.vreplication".to_owned(),
    ] {
        let refusal = refusal(&sql);
        for text in [&refusal.message, &refusal.accepted] {
            assert!(text.len() < 1_000 && !text.contains(char::is_control), "{sql:.60}: {text:?}");
        }
    }
}

#[test]
fn only_what_can_mean_nothing_else_counts_as_scope() {
    let scope = "db_name = 'vt_ks' and workflow = 'wf'";
    for said in [
        "workflow != 'wf'",
        "workflow like 'wf'",
        "workflow = 'other'",
        "workflow in ('wf', 'other')",
        "'wf' = workflow",
        "workflow = workflow",
        "_vt.vreplication.workflow = 'wf'",
        "workflow <=> 'wf'",
        "workflow = 0",
        "workflow = lower('wf')",
    ] {
        let text = printed(&format!("delete from _vt.vreplication where {said}"));
        assert!(text.ends_with(&format!(" and {scope}")), "{said}: {text}");
    }
    assert_eq!(
        printed("delete from _vt.vreplication where workflow = 'wf' or id = 1"),
        format!("delete from _vt.vreplication where (workflow = 'wf' or id = 1) and {scope}")
    );
    assert_eq!(
        printed("delete from _vt.vreplication where not (workflow = 'wf' and db_name = 'vt_ks')"),
        format!("delete from _vt.vreplication where (not (workflow = 'wf' and db_name = 'vt_ks')) and {scope}")
    );
    assert_eq!(
        printed("delete from _vt.vreplication where (workflow in ('wf', \"wf\") and (DB_NAME = 'vt_ks' and id > 1))"),
        "delete from _vt.vreplication where workflow in ('wf', 'wf') and db_name = 'vt_ks' and id > 1"
    );
}

#[test]
fn the_scope_reaches_into_subqueries() {
    let streams = "db_name = 'vt_ks' and workflow = 'wf'";
    let ids = format!("select id from _vt.vreplication where {streams}");
    assert_eq!(
        printed(
            "select (select max(message) from _vt.vreplication) as m from _vt.vreplication where exists (select 1 from _vt.copy_state where vrepl_id = _vt.vreplication.id or true)"
        ),
        format!(
            "select (select max(message) from _vt.vreplication where {streams}) as m from _vt.vreplication where exists (select 1 from \
             _vt.copy_state where (vrepl_id = _vt.vreplication.id or true) and vrepl_id in ({ids})) and {streams}"
        )
    );
    assert_eq!(
        printed("select * from _vt.schema_migrations where migration_status = 'running' limit 2, 3"),
        "select * from _vt.schema_migrations where migration_status = 'running' and mysql_schema = 'vt_ks' and migration_uuid = 'wf' limit 2, 3"
    );
    let text = printed(
        "select id from _vt.vreplication group by id having id in (select vrepl_id from _vt.copy_state) order by (select max(id) from _vt.vreplication_log)",
    );
    assert_eq!(text.matches(streams).count(), 3, "{text}");
}

#[test]
fn a_write_names_a_workflow_or_streams() {
    for (sql, is_accepted) in [
        ("delete from _vt.vreplication", false),
        ("delete from _vt.vreplication where state = 'Error'", false),
        ("delete from _vt.vreplication where id > 1", false),
        ("delete from _vt.vreplication where id = 1 or id = 2", false),
        ("delete from _vt.vreplication where id != 1", false),
        ("delete from _vt.vreplication where id not in (1)", false),
        ("delete from _vt.vreplication where id = id", false),
        ("delete from _vt.vreplication where id in (select id from _vt.vreplication)", false),
        ("delete from _vt.vreplication where workflow like '%'", false),
        ("delete from _vt.vreplication where workflow = 0", false),
        ("delete from _vt.vreplication where state = 'Error' and id in (1, 2)", true),
        ("delete from _vt.vreplication where workflow = 'a' and id > 1", true),
        ("select * from _vt.vreplication", true),
    ] {
        assert_eq!(parse(sql, "").is_ok(), is_accepted, "{sql}");
        assert!(parse(sql, "wf").is_ok(), "{sql}");
    }
}

#[test]
fn literals_end_where_they_should_in_every_mode() {
    for (given, want) in [
        (r"'a\'b'", "'a''b'"),
        ("'a''b'", "'a''b'"),
        (r"'a\\'", r"'a\\'"),
        ("\"a'b\"", "'a''b'"),
        (r"'\%\_'", r"'\\%\\_'"),
        ("'\u{0}\n\u{1a}'", r"'\0\n\Z'"),
        ("'\u{2019}; drop table x -- '", "'\u{2019}; drop table x -- '"),
        ("x'41'", "x'41'"),
        ("1.5e3", "1.5e3"),
        ("- 5", "-5"),
        ("null", "null"),
    ] {
        let text = printed(&format!("select * from _vt.vreplication where message = {given}"));
        assert!(text.contains(&format!("where message = {want} and db_name")), "{given}: {text}");
        let scoped = parse(&text, "wf").unwrap().scoped("vt_ks");
        assert!(scoped.text == text && scoped.added.is_empty(), "printed is a fixed point: {text}");
    }
    let name = "\\' or 1=1 -- \0\n*/";
    let text = parse("delete from _vt.vreplication", name).unwrap().for_target(name);
    let literal = r"'\\'' or 1=1 -- \0\n*/'";
    assert_eq!(text, format!("delete from _vt.vreplication where db_name = {literal} and workflow = {literal}"));
}

#[test]
fn operations_keep_their_meaning_without_precedence() {
    for (given, want) in [
        ("id = (id = 1)", "(id = (id = 1))"),
        ("id + 1 * 2 > 3", "((id + (1 * 2)) > 3)"),
        ("(id + 1) * 2 > 3", "(((id + 1) * 2) > 3)"),
        ("not state = 'x'", "(not (state = 'x'))"),
        ("id = 1 or id = 2 and id = 3", "(id = 1 or (id = 2 and id = 3))"),
        (
            "time_updated < unix_timestamp(now() - interval 10 minute)",
            "time_updated < unix_timestamp(now() - interval 10 minute)",
        ),
        ("options->>'$.a' = 'b'", "json_unquote(json_extract(`options`, '$.a')) = 'b'"),
        ("message like '%x|_%' escape '|' and id is not null", "message like '%x|_%' escape '|' and id is not null"),
        ("case when id = 1 then 2 else 3 end = 2", "((case when id = 1 then 2 else 3 end) = 2)"),
        ("convert(message using utf8mb4) regexp 'a.*'", "convert(message using utf8mb4) regexp 'a.*'"),
    ] {
        let text = printed(&format!(
            "select count(*), group_concat(distinct id order by id desc separator ';') as `all` from _vt.vreplication where {given}"
        ));
        assert!(
            text.starts_with("select count(*), group_concat(distinct id order by id desc separator ';') as `all` from"),
            "{text}"
        );
        assert!(text.contains(&format!(" where {want} and db_name = ")), "{given}: {text}");
        assert_eq!(printed(&text), text, "printed is a fixed point");
    }
}

/// `sql/sql_yacc.yy` of MySQL: `expr`, `bool_pri`, `predicate`, `bit_expr`.
#[test]
fn operators_bind_as_in_mysql() {
    for (given, same) in [
        ("id = 1 xor id = 2 and id = 3", "(id = 1) xor ((id = 2) and (id = 3))"),
        ("id = 1 or id = 2 xor id = 3", "(id = 1) or ((id = 2) xor (id = 3))"),
        ("0 = id in (1, 2)", "0 = (id in (1, 2))"),
        ("0 = message like 'x'", "0 = (message like 'x')"),
        ("0 = id between 1 and 2 and true", "(0 = (id between 1 and 2)) and true"),
        ("id = 1 = 1", "(id = 1) = 1"),
        ("id = 1 is null", "(id = 1) is null"),
        ("not id = 1 and true", "(not (id = 1)) and true"),
        ("not not id = 1", "not (not (id = 1))"),
        ("- id + 1 = 2", "((- id) + 1) = 2"),
        ("- options -> '$.a' = 2", "(- (options -> '$.a')) = 2"),
        ("id - 1 - 1 = 1", "((id - 1) - 1) = 1"),
        ("id * 2 div 2 mod 2 = 1", "(((id * 2) div 2) % 2) = 1"),
        ("id not in (1) or id not between 1 and 2", "(id not in (1)) or (id not between 1 and 2)"),
        ("message not like 'a' 'b' or message not rlike \"c\"", "(message not like 'ab') or (message not regexp 'c')"),
        ("not exists (select 1 from _vt.copy_state)", "not exists (select 1 from _vt.copy_state)"),
    ] {
        let read = |condition: &str| printed(&format!("select id from _vt.vreplication where {condition}"));
        assert_eq!(read(given), read(same), "{given}");
    }
    for (given, at) in
        [("1 + not id", "not"), ("id = not 1", "not"), ("id in ()", ")"), ("id is 1", "1"), ("id between 1 or 2", "or")]
    {
        let sql = format!("select id from _vt.vreplication where {given}");
        let refusal = refusal(&sql);
        assert!(refusal.message.starts_with("syntax error at position"), "{given}: {}", refusal.message);
        assert_eq!(&sql[refusal.span.clone()], at, "{}", refusal.with_caret(&sql));
    }
}

#[test]
fn what_no_rule_names_is_refused_where_it_stands() {
    for (sql, text, at) in [
        ("select id into @x from _vt.vreplication", "select into is not supported", "into"),
        ("select id from _vt.vreplication limit id", "a limit is a whole number", "id"),
        ("select id from _vt.vreplication group by id with rollup", "this group by is not supported", "with"),
        ("select id from _vt.vreplication use index (x)", "table not supported by vexec: _vt.vreplication use", ""),
        ("select id from _vt.vreplication left join x on 1", "table not supported by vexec: left", "left"),
        ("select count(*) over () from _vt.vreplication", "this form of a call is not supported", "over"),
        ("select cast(id as decimal(3)) from _vt.vreplication", "this conversion is not supported", ""),
        ("select convert(id using klingon) from _vt.vreplication", "unknown character set", "klingon"),
        ("select now() - interval 1 fortnight from _vt.vreplication", "this interval is not supported", ""),
        ("select interval 1 day from _vt.vreplication", "an interval cannot stand here", "interval"),
        ("select (id, id) from _vt.vreplication", "this expression is not supported", ","),
        ("select ! id from _vt.vreplication", "this expression is not supported", "!"),
        ("select id & 1 from _vt.vreplication", "this operator is not supported", "&"),
        ("select b'1' from _vt.vreplication", "this kind of literal is not supported", "b'1'"),
        ("select _vt.sleep(1) from _vt.vreplication", "function not supported by vexec: _vt.sleep", "_vt.sleep"),
        ("select `sleep`(1) from _vt.vreplication", "function not supported by vexec: `sleep`", "`sleep`"),
        (
            "select id from _vt.vreplication where id in (select vrepl from _vt.copy_state)",
            "_vt.copy_state has no column vrepl",
            "vrepl",
        ),
        ("select id id2 id3 from _vt.vreplication", "syntax error", "id3"),
        ("select id, from _vt.vreplication", "syntax error", "from"),
        ("(select id from _vt.vreplication)", "query not supported by vexec", "("),
        ("update _vt.vreplication set (state, message) = ('a', 'b')", "one column at a time is set", "("),
        ("update _vt.vreplication set state = 'Stopped' limit 1", "unsupported query construct: UPDATE", "1"),
        (
            "delete from _vt.vreplication order by id desc limit 2",
            "unsupported query construct: DELETE must not have explicit ordering (have: [id desc]) or limit clauses (have: [2])",
            "id",
        ),
        (
            "delete from _vt.vreplication using _vt.vreplication",
            "unsupported query construct: DELETE must not have USING",
            "using",
        ),
        ("delete", "syntax error at position 7", ""),
    ] {
        let refusal = refusal(sql);
        assert!(refusal.message.starts_with(text), "{sql}: {}", refusal.message);
        assert!(!refusal.accepted.is_empty(), "{sql}");
        if !at.is_empty() {
            assert_eq!(&sql[refusal.span.clone()], at, "{}", refusal.with_caret(sql));
        }
    }
}

#[test]
fn what_the_scope_adds_is_marked() {
    let scoped = parse("update _vt.vreplication set tags = 'x' where id = 1", "wf").unwrap().scoped("vt_ks");
    let added: Vec<&str> = scoped.added.iter().map(|range| &scoped.text[range.clone()]).collect();
    assert_eq!(added, ["and db_name = 'vt_ks'", "and workflow = 'wf'"]);
    let scoped = parse("delete from _vt.vreplication", "wf").unwrap().scoped("vt_ks");
    assert_eq!(&scoped.text[scoped.added[0].clone()], "where db_name = 'vt_ks'");
}

#[test]
fn a_write_comes_with_the_rows_that_it_expects() {
    let write = parse("update _vt.vreplication set message = 'x' where state = 'Error'", "wf").unwrap();
    assert_eq!((write.kind(), write.kind().is_write(), write.table()), (Kind::Update, true, Table::Vreplication));
    assert_eq!(
        write.rows_expected("vt_ks").unwrap(),
        "select * from _vt.vreplication where state = 'Error' and db_name = 'vt_ks' and workflow = 'wf' order by id asc"
    );
    let read = parse("select id from _vt.copy_state", "wf").unwrap();
    assert_eq!((read.kind(), read.table(), read.rows_expected("vt_ks")), (Kind::Select, Table::CopyState, None));
}

#[test]
fn what_is_too_much_is_refused_at_once() {
    let deep = |open: &str, close: &str, n: usize| {
        format!("select * from _vt.vreplication where {}1{}", open.repeat(n), close.repeat(n))
    };
    for sql in [
        deep("(", ")", 500_000),
        deep("(", ")", 400),
        deep("(", ")", 40),
        deep("not ", "", 900),
        deep("- ", "", 900),
        deep("", " + 1", 450),
        deep("", " = 1", 450),
        deep("(select id from _vt.vreplication where id = ", ")", 40),
        deep("abs(", ")", 100),
        deep("case when ", " then 1 end", 90),
        deep("/*", "", 30_000),
        deep("/*!", "", 20_000),
        format!("select * from _vt.vreplication where {}", "id = 1 and ".repeat(5_000)),
        "'".repeat(60_001),
        "\\".repeat(1 << 20),
    ] {
        let refusal = parse(&sql, "wf").expect_err("too much");
        assert!(refusal.with_caret(&sql).len() < 1_500, "{}", refusal.with_caret(&sql));
    }
    let words = format!("select * from _vt.vreplication where {}", "id = 1 and ".repeat(5_000));
    assert!(refusal(&words).message.contains("words and signs, more than the 1000 that are read"));
    // What tablets are sent has more parentheses than what was read. It could not be given back.
    for sql in [deep("- ", "", 20), deep("", " + 1", 40)] {
        assert!(refusal(&sql).message.contains("nests deeper than"), "{}", refusal(&sql).message);
    }
    for sql in [deep("- ", "", 14), deep("", " + 1", 28)] {
        let text = parse(&sql, "wf").unwrap().for_target("vt_ks");
        assert_eq!(parse(&text, "wf").unwrap().for_target("vt_ks"), text);
    }
    let or = format!("select * from _vt.vreplication where {} id = 1", "id = 1 or ".repeat(200));
    assert!(parse(&or, "wf").is_ok(), "a chain is no deeper than its parts");
    let ids: Vec<String> = (0..8_000).map(|id| id.to_string()).collect();
    let sql = format!("select id from _vt.vreplication where id in ({}) and {} id = 1", ids.join(","), "id = 1 and ".repeat(200));
    assert!(parse(&sql, "wf").is_ok(), "long, but not deep");
    assert!(parse("select 1 from _vt.vreplication", &"w".repeat(1_001)).is_err());
}

fn call(sql: &str, dry_run: bool) -> Call {
    let request = VExecRequest { keyspace: "ks".into(), workflow: "wf".into(), sql: sql.into(), shards: Vec::new(), dry_run };
    Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn response(bytes: &[u8]) -> VExecResponse {
    VExecResponse::decode(bytes).expect("a VExecResponse")
}

#[test]
fn each_primary_is_asked_once_in_its_own_database_and_a_failure_leaves_the_rest() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let row = rows(&["#id", "message"], &[vec![Some("7".into()), None]]);
    cluster.answer(100, "vexec", row).answer(200, "vexec", refused("Unknown column 'options' in 'field list' (errno 1054)"));
    let call = call("select id, message from _vt.vreplication", false);
    let (reply, asks) = cluster.run(&call);
    let statements: Vec<_> = asks
        .iter()
        .filter_map(|ask| match &ask.what {
            What::TabletCall { path, request, effect, about, .. } => {
                assert_eq!((&**path, *effect), (rpc::VREPLICATION_EXEC, Effect::Read));
                let sent = VReplicationExecRequest::decode(request.as_slice()).unwrap().query;
                assert_eq!(sent, about.statement);
                Some(sent)
            }
            _ => None,
        })
        .collect();
    assert_eq!(statements, ["select id, message from _vt.vreplication where db_name = 'vt_ks' and workflow = 'wf'"; 2]);
    let targets = response(reply.result.as_ref().unwrap()).targets;
    assert_eq!((targets.len(), targets[0].shard.as_str(), targets[0].tablet.as_str()), (1, "-80", "zone1-0000000100"));
    assert_eq!((reply.failures.len(), reply.failures[0].shard.as_str()), (1, "80-"));
    assert!(reply.failures[0].message.starts_with("Unknown column 'options'"));
    let (backwards, _) = cluster.run_in_order(&call, |waiting| waiting - 1);
    assert_eq!(backwards, reply, "the order of answers does not matter");
    let strict = Call { options: CallOptions { strict: true, ..CallOptions::default() }, ..call };
    assert!(cluster.run(&strict).0.result.unwrap_err().message.contains("ks/80- zone1-0000000200 wf: Unknown column"));
}

#[test]
fn a_dry_run_calls_no_tablet_and_may_be_of_a_write() {
    let cluster = Cluster::new(&["-80", "80-"]);
    let (reply, asks) = cluster.run(&call("delete from _vt.vreplication where id = 7", true));
    assert!(asks.iter().all(|ask| !matches!(ask.what, What::TabletCall { .. })));
    let targets = response(&reply.result.unwrap()).targets;
    assert_eq!(targets.len(), 2);
    assert_eq!(targets[1].statement, "delete from _vt.vreplication where id = 7 and db_name = 'vt_ks' and workflow = 'wf'");
    let added = &targets[1].added[0];
    assert_eq!(&targets[1].statement[added.start as usize..added.end as usize], "and db_name = 'vt_ks'");
    assert!(targets[1].result.is_none());
}

#[test]
fn what_is_refused_asks_nobody() {
    let cluster = Cluster::new(&["-"]);
    for (sql, text) in [
        ("delete from _vt.copy_state", "table not supported by vexec: _vt.copy_state cannot be written"),
        (
            "select slep(1) from _vt.vreplication",
            "function not supported by vexec: slep\n  select slep(1) from _vt.vreplication\n         ^^^^",
        ),
    ] {
        let (reply, asks) = cluster.run(&call(sql, false));
        assert!(asks.is_empty(), "{sql}");
        let message = reply.result.unwrap_err().message;
        assert!(message.starts_with(text), "{message}");
    }
}

#[test]
fn migrations_are_read_as_the_dba_and_answers_that_are_none_are_failures() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let fields = vec![Field { name: b"migration_uuid".to_vec(), r#type: 6165, ..Field::default() }];
    let result = QueryResult { fields, rows: vec![Row { lengths: vec![2], values: b"wf".to_vec() }], ..QueryResult::default() };
    let good = ExecuteFetchAsDbaResponse { result: Some(result.clone()) }.encode_to_vec();
    let bad = QueryResult { rows: vec![Row { lengths: vec![9], values: Vec::new() }], ..result };
    let bad = ExecuteFetchAsDbaResponse { result: Some(bad) }.encode_to_vec();
    cluster.answer(100, "vexec", Answer::Called(good)).answer(200, "vexec", Answer::Called(bad));
    let (reply, asks) = cluster.run(&call("select migration_uuid from _vt.schema_migrations", false));
    assert!(asks.iter().any(|ask| matches!(&ask.what, What::TabletCall { path, .. } if path == rpc::EXECUTE_FETCH_AS_DBA)));
    assert_eq!(response(&reply.result.unwrap()).targets.len(), 1);
    assert!(reply.failures[0].message.starts_with("the tablet's answer cannot be read"), "{:?}", reply.failures);

    let large = Answer::Failed { kind: FailureKind::TooLarge, message: "the answer has 20 MiB".into() };
    cluster.answer(100, "vexec", large);
    let (reply, _) = cluster.run(&call("select migration_uuid from _vt.schema_migrations", false));
    assert!(reply.result.unwrap_err().message.contains("the answer has 20 MiB: select fewer columns"));
}
