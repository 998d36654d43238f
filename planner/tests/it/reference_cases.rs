//! The reference's own cases of `VExec` and of the legacy workflow commands that are not in `vexec.rs`, each under its number.
//!
//! `VX`: `go/vt/vtctl/workflow/vexec/query_planner_test.go`, `query_plan_test.go`. `WR`: `go/vt/wrangler/vexec_test.go`,
//! `workflow_test.go`, `traffic_switcher_test.go`. Where the meaning differs on purpose, docs/compat.md has the row.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, StreamOf, alias, alias_text, copy_states, refused, rows, stream, streams};
use prost::Message;
use serde_json::{Value, json};
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Effect, Mode, Reply, What,
    proto::{
        logutil::Level,
        query::QueryResult,
        tabletmanagerdata::{UpdateVReplicationWorkflowRequest, VReplicationExecRequest, VReplicationExecResponse},
        topodata::{Shard, Tablet},
        vtctldata::{
            ExecuteVtctlCommandRequest, ExecuteVtctlCommandResponse, WorkflowStatusRequest, WorkflowStatusResponse,
            WorkflowUpdateRequest, WorkflowUpdateResponse,
        },
        vtflow::{VExecRequest, VExecResponse},
    },
    rpc, serve,
    vexec::{Scope, Statement},
};

const SCOPE: &str = "db_name = 'vt_ks' and workflow = 'wf'";

/// Two shards with a stream of `wf` each, in the middle of its copy.
fn environment() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let source = r#"keyspace:"source" shard:"0" filter:{rules:{match:"t1"} rules:{match:"t2"}}"#;
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[StreamOf { source: source.into(), ..stream(1, "wf") }]));
        cluster.answer(uid, "copy state", copy_states(&[(1, 1, "t1"), (2, 1, "t2")]));
        cluster.answer(uid, "vexec", affected(1)).answer(uid, "update", affected(1));
        cluster.answer(uid, "v18", Answer::Called(Vec::new())).answer(uid, "v21", Answer::Called(Vec::new()));
        cluster.answer(uid, "other databases", rows(&["#id"], &[]));
    }
    cluster
}

/// The answer of a tablet to a statement that changed so many rows.
fn affected(rows: u64) -> Answer {
    let result = Some(QueryResult { rows_affected: rows, ..QueryResult::default() });
    Answer::Called(VReplicationExecResponse { result }.encode_to_vec())
}

fn vexec(sql: &str, dry_run: bool) -> Call {
    let request = VExecRequest { keyspace: "ks".into(), workflow: "wf".into(), sql: sql.into(), shards: Vec::new(), dry_run };
    Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

/// What each tablet answered: rows affected, by alias.
fn by_tablet(reply: &Reply) -> Vec<(String, u64)> {
    let response = VExecResponse::decode(reply.result.as_ref().expect("a reply").as_slice()).expect("a VExecResponse");
    response.targets.into_iter().map(|target| (target.tablet, target.result.expect("a result").rows_affected)).collect()
}

/// The statements that were sent, by alias.
fn sent(asks: &[Ask], effect: Effect) -> Vec<(String, String)> {
    let statement = |ask: &Ask| match &ask.what {
        What::TabletCall { tablet, about, effect: made, request, .. } if about.subject == "vexec" && *made == effect => {
            let query = VReplicationExecRequest::decode(request.as_slice()).expect("such a message").query;
            assert_eq!(query, about.statement, "people read what is sent");
            Some((tablet.alias.clone(), query))
        }
        _ => None,
    };
    asks.iter().filter_map(statement).collect()
}

fn command(line: &str) -> Call {
    let args = line.split_whitespace().map(str::to_owned).collect();
    let request = ExecuteVtctlCommandRequest { args, action_timeout: 0 }.encode_to_vec();
    Call { path: rpc::EXECUTE_VTCTL_COMMAND.into(), request, options: CallOptions::default() }
}

fn printed(cluster: &Cluster, line: &str) -> String {
    let (reply, _) = cluster.run(&command(line));
    let events = reply.stream.iter().chain(&reply.result);
    let events = events.map(|bytes| ExecuteVtctlCommandResponse::decode(bytes.as_slice()).unwrap().event.unwrap());
    events.filter(|event| event.level() == Level::Console).map(|event| event.value).collect()
}

#[test]
fn statements_that_are_planned_in_another_way_on_purpose_mean_what_the_ledger_says() {
    let ids = format!("vrepl_id in (select id from _vt.vreplication where {SCOPE})");
    for (case, workflow, sql, want) in [
        (
            "VX-3: moves streams out of sight",
            "",
            "UPDATE _vt.vreplication SET workflow = 'my workflow'",
            Err("cannot update immutable column workflow"),
        ),
        (
            "VX-14: one id or several, the tablet finds them",
            "wf",
            "select * from _vt.vreplication_log",
            Ok(format!("select * from _vt.vreplication_log where {ids}")),
        ),
        (
            "VX-15: an id does not leave the workflow",
            "wf",
            "select * from _vt.vreplication_log where vrepl_id = 1",
            Ok(format!("select * from _vt.vreplication_log where vrepl_id = 1 and {ids}")),
        ),
        (
            "VX-20: another database is no scope",
            "wf",
            "select * from _vt.vreplication where db_name in ('a')",
            Ok(format!("select * from _vt.vreplication where db_name in ('a') and {SCOPE}")),
        ),
        ("VX-18: nothing to execute", "wf", "", Err("Query was empty")),
    ] {
        let parsed = Statement::parse(sql, Scope { workflow: workflow.into() });
        match (parsed.map(|statement| statement.for_target("vt_ks")), want) {
            (Ok(text), Ok(want)) => assert_eq!(text, want, "{case}"),
            (Err(refusal), Err(want)) => assert!(refusal.message.starts_with(want), "{case}: {}", refusal.message),
            (got, want) => panic!("{case}: {got:?} instead of {want:?}"),
        }
    }
    // VX-18: it is said once, and nobody is asked.
    let (reply, asks) = environment().run(&vexec("", false));
    assert!(asks.is_empty() && reply.failures.is_empty());
    assert_eq!(reply.result.unwrap_err().message.matches("Query was empty").count(), 1);
}

#[test]
fn what_tablets_answer_is_passed_through_by_tablet() {
    let select = "SELECT id FROM _vt.vreplication";
    for (case, first, second) in [("VX-16", 1, 0), ("VX-19", 10, 5)] {
        let mut cluster = environment();
        cluster.answer(100, "vexec", affected(first)).answer(200, "vexec", affected(second));
        let want = vec![(alias_text(100), first), (alias_text(200), second)];
        let (reply, asks) = cluster.run(&vexec(select, false));
        assert_eq!(by_tablet(&reply), want, "{case}");
        let text = format!("select id from _vt.vreplication where {SCOPE}");
        assert_eq!(sent(&asks, Effect::Read), [(alias_text(100), text.clone()), (alias_text(200), text)], "{case}");
        // So are the counts of a change.
        let (reply, asks) = cluster.run(&vexec("delete from _vt.vreplication", false));
        assert_eq!((by_tablet(&reply), sent(&asks, Effect::Write).len()), (want, 2), "{case}");
    }
    let mut cluster = environment();
    cluster.answer(100, "vexec", refused("no")).answer(200, "vexec", refused("nor I"));
    let (reply, _) = cluster.run(&vexec(select, false));
    let message = reply.result.expect_err("VX-17").message;
    assert!(message.contains("no") && message.contains("nor I"), "VX-17: {message}");
}

#[test]
fn changes_are_planned_for_both_primaries_and_their_rows_counted() {
    let cluster = environment();
    // WR-1, WR-6, WR-21 (one layout for all releases), WR-15: the statements of start and delete.
    for (case, sql, want) in [
        (
            "WR-1, WR-15",
            "update _vt.vreplication set state = 'Running'",
            format!("update _vt.vreplication set state = 'Running' where {SCOPE}"),
        ),
        ("WR-6, WR-21, WR-15", "delete from _vt.vreplication", format!("delete from _vt.vreplication where {SCOPE}")),
    ] {
        let (reply, asks) = cluster.run(&vexec(sql, true));
        assert!(asks.iter().all(|ask| !matches!(ask.what, What::TabletCall { .. })), "{case}: nobody is called");
        let response = VExecResponse::decode(reply.result.unwrap().as_slice()).unwrap();
        let planned: Vec<_> =
            response.targets.iter().map(|target| (target.shard.as_str(), target.tablet.clone(), &target.statement)).collect();
        assert_eq!(planned, [("-80", alias_text(100), &want), ("80-", alias_text(200), &want)], "{case}");
        // With the rows: what the reference prints as a table of streams.
        let options = CallOptions { mode: Mode::Preview, ..CallOptions::default() };
        let (reply, asks) = cluster.run(&Call { options, ..vexec(sql, false) });
        let plan = reply.written.expect("a plan").plan;
        let streams: Vec<_> = plan.writes.iter().map(|write| (write.tablet.as_str(), write.rows[0].name.as_str())).collect();
        assert_eq!(streams, [("zone1-0000000100", "stream 1"), ("zone1-0000000200", "stream 1")], "{case}");
        assert!(sent(&asks, Effect::Write).is_empty(), "{case}");
    }
    let (reply, asks) = cluster.run(&vexec("delete from _vt.vreplication where message != ''", false));
    assert_eq!(by_tablet(&reply), [(alias_text(100), 1), (alias_text(200), 1)], "WR-3");
    for (_, statement) in sent(&asks, Effect::Write) {
        let want = format!("delete from _vt.vreplication where message != '' and {SCOPE} and id in (1)");
        assert_eq!(statement, want, "WR-3: held to the rows that it was planned for");
    }
}

#[test]
fn a_workflow_is_shown_whole_or_on_one_shard() {
    let cluster = environment();
    let shown: Value = serde_json::from_str(&printed(&cluster, "Workflow ks.wf show")).expect("WR-7");
    let place = |uid: u32, shard: &str| format!("{shard}/{}", alias_text(uid));
    assert_eq!(shown["SourceLocation"], json!({"Keyspace": "source", "Shards": ["0"]}), "WR-7");
    assert_eq!(shown["TargetLocation"], json!({"Keyspace": "ks", "Shards": ["-80", "80-"]}), "WR-7");
    assert_eq!((&shown["SourceTimeZone"], &shown["TargetTimeZone"]), (&json!(""), &json!("")), "WR-7");
    assert_eq!((shown.get("OnDDL"), &shown["Frozen"]), (None, &json!(false)), "WR-7");
    for place in [place(100, "-80"), place(200, "80-")] {
        let shard = &shown["ShardStatuses"][&place];
        assert_eq!((&shard["TabletControls"], &shard["PrimaryIsServing"]), (&Value::Null, &json!(true)), "WR-7 {place}");
        let first = &shard["PrimaryReplicationStatuses"][0];
        for (key, want) in [
            ("ID", json!(1)),
            ("State", json!("Copying")),
            ("Pos", json!("14b68925-696a-11ea-aee7-fec597a91f5e:1-3")),
            ("DBName", json!("vt_ks")),
            ("RowsCopied", json!(5)),
            ("TimeUpdated", json!(crate::support::NOW.seconds - 1)),
            ("WorkflowType", json!("MoveTables")),
            ("CopyState", json!([{"Table": "t1", "LastPK": "pk"}, {"Table": "t2", "LastPK": "pk"}])),
        ] {
            assert_eq!(first[key], want, "WR-7 {place} {key}");
        }
    }
    // WR-8; WR-20: the layout of v10 is nobody's any more.
    let shown: Value = serde_json::from_str(&printed(&cluster, "Workflow --shards -80 ks.wf show")).expect("WR-8");
    let places: Vec<&String> = shown["ShardStatuses"].as_object().unwrap().keys().collect();
    assert_eq!((places, &shown["TargetLocation"]["Shards"]), (vec![&place(100, "-80")], &json!(["-80"])), "WR-8");
    for (case, line, want) in [
        ("WR-9", "Workflow badks.wf show", "node doesn't exist: /vitess/global/keyspaces/badks/shards"),
        ("WR-10", "Workflow ks.badwf show", "no streams found for workflow badwf in keyspace ks"),
    ] {
        let mut cluster = cluster.clone();
        if case == "WR-10" {
            for uid in [100, 200] {
                cluster.answer(uid, "streams", streams(&[])).answer(uid, "copy state", copy_states(&[]));
            }
        }
        let message = cluster.run(&command(line)).0.result.expect_err(case).message;
        assert!(message.trim_end_matches('/').ends_with(want), "{case}: {message}");
    }
}

#[test]
fn workflows_are_listed_once_and_sorted() {
    let names = |list: &[&str]| {
        let values: Vec<_> = list.iter().map(|name| vec![Some((*name).to_owned())]).collect();
        rows(&["workflow"], &values)
    };
    for (lists, want) in [([&["wr"][..], &["wr"][..]], "wr"), ([&["wr2", "wr"][..], &["wr"][..]], "wr, wr2")] {
        let mut cluster = environment();
        cluster.answer(100, "names", names(lists[0])).answer(200, "names", names(lists[1]));
        let text = printed(&cluster, "Workflow ks listall");
        assert_eq!(text, format!("Following workflow(s) found in keyspace ks: {want}\n"), "WR-12");
    }
}

/// The legacy commands that change something are a vtctld's; the same is done by `WorkflowUpdate`.
#[test]
fn workflows_are_stopped_and_updated_on_both_primaries() {
    for action in ["start", "stop", "delete", "update"] {
        let call = command(&format!("Workflow ks.wf {action}"));
        assert!(!serve::serves(&call.path, &call.request), "WR-15, WR-24: {action}");
    }
    let (reply, asks) = environment().run(&command("Workflow ks.wf other"));
    let message = reply.result.expect_err("WR-16").message;
    assert!(message.contains("invalid action found: other") && asks.is_empty(), "WR-16: {message}");
    let unchanged = || UpdateVReplicationWorkflowRequest {
        workflow: "wf".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        tablet_selection_preference: Some(3),
        ..UpdateVReplicationWorkflowRequest::default()
    };
    let update = |wanted, mode| {
        let request = WorkflowUpdateRequest { keyspace: "ks".into(), tablet_request: Some(wanted) }.encode_to_vec();
        let options = CallOptions { mode, ..CallOptions::default() };
        Call { path: rpc::WORKFLOW_UPDATE.into(), request, options }
    };
    let cluster = environment();
    let stop = UpdateVReplicationWorkflowRequest { state: Some(2), ..unchanged() };
    let (reply, _) = cluster.run(&update(stop, Mode::Perform));
    let response = WorkflowUpdateResponse::decode(reply.result.unwrap().as_slice()).unwrap();
    assert_eq!(response.details.iter().map(|info| info.changed).collect::<Vec<_>>(), [true, true], "WR-11");
    let outcomes = reply.written.expect("a report").outcomes;
    assert_eq!(outcomes.iter().map(|outcome| outcome.rows).collect::<Vec<_>>(), [1, 1], "WR-11");

    // WR-17: as an RPC it is passed on, since clients of v18 and v20 send it; the command line refuses it (`cli_writes.rs`).
    for (case, wanted, about) in [
        ("WR-18", UpdateVReplicationWorkflowRequest { cells: vec!["zone1".into()], ..unchanged() }, "zone1"),
        ("WR-19", UpdateVReplicationWorkflowRequest { on_ddl: Some(3), ..unchanged() }, "EXEC_IGNORE"),
    ] {
        let (reply, _) = cluster.run(&update(wanted, Mode::Preview));
        let plan = reply.written.unwrap_or_else(|| panic!("{case}: {:?}", reply.result)).plan;
        let places: Vec<_> = plan.writes.iter().map(|write| (write.tablet.as_str(), write.shard.as_str())).collect();
        assert_eq!(places, [("zone1-0000000100", "-80"), ("zone1-0000000200", "80-")], "{case}");
        assert!(vtflow_screen::plans::text(&plan).contains(about), "{case}: {}", vtflow_screen::plans::text(&plan));
    }
}

/// WR-23. (WR-22 is about switching traffic, which is a vtctld's.)
#[test]
fn copy_progress_is_that_of_the_reference() {
    let sizes = |list: &[(&str, i64, i64)]| {
        let row = |(table, rows, bytes): &(&str, i64, i64)| {
            vec![Some((*table).to_owned()), Some(rows.to_string()), Some(bytes.to_string())]
        };
        rows(&["table_name", "#table_rows", "#data_length"], &list.iter().map(row).collect::<Vec<_>>())
    };
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.cell("zone1");
    let of = |shard: &str| {
        let rules = r#"rules:{match:"t1" filter:"select * from t1"} rules:{match:"t2" filter:"select * from t2"}"#;
        format!(r#"keyspace:"src" shard:"{shard}" filter:{{{rules}}}"#)
    };
    for (uid, shard) in [(800, "-40"), (900, "40-")] {
        let record = Shard { primary_alias: Some(alias(uid)), is_primary_serving: true, ..Shard::default() };
        cluster.put("global", &format!("keyspaces/src/shards/{shard}/Shard"), &record);
        cluster.tablet(uid, shard);
        let path = format!("tablets/{}/Tablet", alias_text(uid));
        let tablet = Tablet::decode(cluster.topo[&("zone1".to_owned(), path.clone())].as_slice()).unwrap();
        cluster.put("zone1", &path, &Tablet { keyspace: "src".into(), ..tablet });
        cluster.answer(uid, "table sizes", sizes(&[("t1", 400, 2000), ("t2", 1000, 2000)]));
    }
    for uid in [100, 200] {
        let both = [(1, "-40"), (2, "40-")].map(|(id, shard)| StreamOf { source: of(shard), ..stream(id, "wf") });
        cluster.answer(uid, "streams", streams(&both));
        cluster.answer(uid, "copy state", copy_states(&[(1, 1, "t1"), (2, 1, "t2"), (3, 2, "t1"), (4, 2, "t2")]));
        cluster.answer(uid, "table sizes", sizes(&[("t1", 100, 1000), ("t2", 200, 500)]));
    }
    let request = WorkflowStatusRequest { keyspace: "ks".into(), workflow: "wf".into(), shards: Vec::new() };
    let call = Call { path: rpc::WORKFLOW_STATUS.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let (reply, _) = cluster.run(&call);
    let status = WorkflowStatusResponse::decode(reply.result.expect("a status").as_slice()).unwrap();
    for (table, source, target) in [("t1", (800, 4000), (200, 2000)), ("t2", (2000, 4000), (400, 1000))] {
        let state = &status.table_copy_state[table];
        assert_eq!((state.rows_total, state.bytes_total), source, "WR-23 {table}");
        assert_eq!((state.rows_copied, state.bytes_copied), target, "WR-23 {table}");
    }
}
