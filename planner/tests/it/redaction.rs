//! Redacted traces of every operation: nothing of a row or a page is in them, and they come to the outcome that was recorded.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use crate::support::{
    Cluster, NOW, SNAPSHOT_TABLES, StreamOf, THEN, VDIFF_COLUMNS, alias, logs, refused, rows, silent, stream, streams, vdiff_row,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, Effect, Flow, Mode, Reply, What,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{UpdateVReplicationWorkflowRequest, UpdateVReplicationWorkflowResponse, VDiffResponse},
        topodata::{Keyspace, Shard, Tablet, ThrottledAppRule},
        vtctldata::{
            CancelSchemaMigrationRequest, ExecuteVtctlCommandRequest, GetSchemaMigrationsRequest, GetTabletsRequest,
            GetVersionRequest, UpdateThrottlerConfigRequest, VDiffCreateRequest, VDiffDeleteRequest, VDiffShowRequest,
            VDiffStopRequest, WorkflowDeleteRequest, WorkflowStatusRequest, WorkflowUpdateRequest,
        },
        vtflow::{SnapshotRequest, VExecRequest},
        vttime::Time,
    },
    rpc,
    trace::{FORMAT, Planner, Trace, Traced, replay},
};

/// In every value of a row, every page and every failure of a tablet that is no name, state, position, number or time.
const PLANTED: &str = "pl4nt3d";
const UUID: &str = "82fa54ac_e83e_11ea_96b7_f875a4d24e90";

/// Runs a request over a cluster and writes it down.
fn recorded(cluster: &Cluster, call: &Call) -> Trace {
    let mut flow = Flow::start(call, NOW);
    let (mut asks, mut waiting, mut order) = (Vec::new(), Vec::new(), 0);
    let mut sent: BTreeMap<(String, String), usize> = BTreeMap::new();
    loop {
        for ask in flow.asks() {
            waiting.push(asks.len());
            asks.push(Traced { ask, asked_us: 0, sent_us: None, answered_us: None, order: None, answer: None });
        }
        // The last one first: ids and the order of answers are two things.
        let Some(next) = waiting.pop() else { break };
        let traced: &mut Traced = &mut asks[next];
        let page = match &traced.ask.what {
            What::TabletCall { tablet, about, .. } => {
                let page = sent.entry((tablet.alias.clone(), about.subject.to_string())).or_default();
                *page += 1;
                *page - 1
            }
            _ => 0,
        };
        let answer = cluster.perform(&traced.ask, page);
        flow.answer(traced.ask.id, answer.clone());
        (traced.answered_us, traced.order, traced.answer) = (Some(1), Some(order), Some(answer));
        order += 1;
    }
    let (planner, call) = (Planner::this(), call.clone());
    Trace { vtflow_trace: FORMAT, planner, call, now: NOW, redacted: false, asks, reply: flow.into_reply(), took_us: 9 }
}

fn redacted(trace: &Trace) -> Trace {
    trace.clone().redacted(|call, now| Box::new(Flow::start(call, now)))
}

/// Everything that is in a trace as text: its JSON, and what is in base64 there, at any depth.
fn texts(trace: &Trace) -> String {
    fn collect(value: &serde_json::Value, into: &mut String) {
        match value {
            serde_json::Value::Object(fields) => fields.values().for_each(|value| collect(value, into)),
            serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            serde_json::Value::String(text) => {
                if let Ok(bytes) = BASE64_STANDARD.decode(text) {
                    into.push_str(&String::from_utf8_lossy(&bytes));
                }
                into.push_str(text);
            }
            _ => {}
        }
        into.push('\n');
    }
    let json = serde_json::to_value(trace).unwrap();
    let mut all = json.to_string();
    collect(&json, &mut all);
    all
}

/// What came of a request, without texts: whether it succeeded, what is missing of whom, what was planned and what became of it.
fn outcome(reply: &Reply) -> String {
    let result = reply.result.as_ref().map(|_| ()).map_err(|status| status.code);
    let failures: Vec<_> = reply.failures.iter().map(|failure| (failure.place(), failure.lost)).collect();
    let written = reply.written.as_ref().map(|written| {
        let rows = |rows: &[vtflow_planner::contract::PlannedRow]| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        let plan: Vec<_> =
            written.plan.writes.iter().map(|write| (&write.shard, &write.tablet, &write.rpc, rows(&write.rows))).collect();
        let outcomes: Vec<_> = written.outcomes.iter().map(|o| (&o.shard, &o.tablet, o.verdict, o.rows)).collect();
        format!("{plan:?} {outcomes:?} {}", written.notes.len())
    });
    format!("{result:?} {failures:?} {} {written:?}", reply.stream.is_empty())
}

/// A stream with a value in each of its texts.
fn planted(id: i64, state: &'static str, message: &'static str) -> StreamOf {
    let source = format!(
        r#"keyspace:"src" shard:"0" filter:{{rules:{{match:"t1" filter:"select * from t1 where name = '{PLANTED}'"}} rules:{{match:"t2" convert_charset:{{key:"c" value:{{from_charset:"{PLANTED}"}}}}}}}}"#
    );
    StreamOf { source, state, message, options: r#"{"tenant_id":"pl4nt3d","config":{"user":"pl4nt3d"}}"#, ..stream(id, "wf") }
}

fn changed() -> Answer {
    let result = QueryResult { rows_affected: 1, info: PLANTED.into(), ..QueryResult::default() };
    Answer::Called(UpdateVReplicationWorkflowResponse { result: Some(result) }.encode_to_vec())
}

/// Two shards with a workflow whose rows are full of values, one of whose tablets says them in its failures, too; its source is there.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.cell("zone1");
    cluster.put("global", "keyspaces/src/Keyspace", &Keyspace::default());
    let source = Shard { primary_alias: Some(alias(900)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/src/shards/0/Shard", &source);
    cluster.tablet(900, "0");
    let place = ("zone1".to_owned(), "tablets/zone1-0000000900/Tablet".to_owned());
    let mut record = Tablet::decode(cluster.topo[&place].as_slice()).unwrap();
    record.keyspace = "src".into();
    cluster.put("zone1", &place.1, &record);
    let failed =
        refused(&format!("TabletManager.X on zone1-0000000200: Duplicate entry '{PLANTED}' (errno 1062) (sqlstate 23000)"));
    let migration = |uuid: &str| {
        let columns =
            ["#id", "migration_uuid", "migration_statement", "migration_status", "message", "artifacts", "strategy", "tablet"];
        let row =
            ["1", uuid, "alter table t add pl4nt3d int", "running", "pl4nt3d error", "pl4nt3d", "online", "zone1-0000000100"];
        rows(&columns, &[row.map(|text| Some(text.to_owned())).to_vec()])
    };
    let sizes =
        rows(&["TABLE_NAME", "#TABLE_ROWS", "#DATA_LENGTH"], &[["t1", "5", "7"].map(|text| Some(text.to_owned())).to_vec()]);
    for uid in [100, 200, 900] {
        let mut log = logs(&[(5, i64::from(uid), THEN)]);
        if let Answer::Called(bytes) = &mut log {
            // In the place of "entry 5".
            let at = bytes.windows(7).position(|window| window == b"entry 5").unwrap();
            bytes[at..at + 7].copy_from_slice(PLANTED.as_bytes());
        }
        let copying = ["1", &uid.to_string(), "t1", PLANTED].map(|text| Some(text.to_owned())).to_vec();
        let copying = rows(&["#id", "#vrepl_id", "table_name", "lastpk"], &[copying]);
        cluster
            .answer(uid, "logs", log)
            .answer(uid, "copy state", copying)
            .answer(uid, "names", rows(&["workflow"], &[vec![Some("wf".into())]]))
            .answer(uid, "migrations", migration(UUID))
            .answer(uid, "migration", changed())
            .answer(uid, "update", changed())
            .answer(uid, "delete", changed())
            .answer(uid, "log", changed())
            .answer(uid, "v18", Answer::Called(PLANTED.into()))
            .answer(uid, "v21", Answer::Called(PLANTED.into()))
            .answer(uid, "other databases", rows(&["id"], &[]))
            .answer(uid, "table sizes", sizes.clone());
        let output = rows(
            &["vdiff_state", "last_error", "table_name", "uuid", "report"],
            &[[
                "completed",
                "pl4nt3d",
                "t1",
                UUID,
                r#"{"TableName":"t1","MismatchedRows":1,"Diffs":[{"Row":{"name":"pl4nt3d"}}]}"#,
            ]
            .map(|text| Some(text.to_owned()))
            .to_vec()],
        );
        let Answer::Called(output) = output else { panic!("rows") };
        let output = UpdateVReplicationWorkflowResponse::decode(output.as_slice()).unwrap().result;
        let response = VDiffResponse { id: 7, output, vdiff_uuid: UUID.into() };
        cluster.answer(uid, "vdiff", Answer::Called(response.encode_to_vec()));
        cluster
            .answer(uid, "vdiffs", rows(&VDIFF_COLUMNS, &[vdiff_row(UUID, "started")]))
            .answer(uid, "vdiff tables", rows(&["state"], &[vec![Some("started".into())]]))
            .answer(uid, "vdiff undone", Answer::Called(Vec::new()));
        let row = ["pl4nt3d", "pl4nt3d", "7"].map(|text| Some(text.to_owned())).to_vec();
        cluster.answer(uid, "vexec", rows(&["workflow", "concat('pl4nt3d', 1)", "#id"], &[row]));
        for table in SNAPSHOT_TABLES.into_iter().filter(|table| !table.starts_with("vdiff")) {
            cluster.answer(uid, table, migration(PLANTED_NAME));
        }
        for table in ["vdiff", "vdiff_table", "vdiff_log"] {
            let _ = cluster.tablets.entry((format!("zone1-{uid:010}"), table.into())).or_insert_with(|| vec![failed.clone()]);
        }
    }
    cluster
        .answer(100, "streams", streams(&[planted(100, "Running", "pl4nt3d"), planted(101, "Stopped", "an Error of pl4nt3d")]))
        .answer(200, "streams", streams(&[planted(200, "Running", "")]))
        .answer(900, "streams", streams(&[]));
    let vars =
        br#"{"cmdline":["vttablet","--db_password=pl4nt3d"],"BuildHost":"pl4nt3d","BuildGitRev":"abc1","BuildTimestamp":17}"#;
    cluster.answer(100, "/debug/vars", Answer::Called(vars.to_vec()));
    let place = ("zone1".to_owned(), "tablets/zone1-0000000100/Tablet".to_owned());
    let mut record = Tablet::decode(cluster.topo[&place].as_slice()).unwrap();
    record.port_map.insert("vt".into(), 15_100);
    cluster.put("zone1", &place.1, &record);
    cluster
}

/// A name of a thing, which stays.
const PLANTED_NAME: &str = "a_migration";

fn vexec(sql: &str, mode: Mode) -> Call {
    let request = VExecRequest { keyspace: "ks".into(), workflow: "wf".into(), sql: sql.into(), ..VExecRequest::default() };
    call_with(rpc::VEXEC, &request, CallOptions { mode, ..CallOptions::default() })
}

fn call_with(path: &str, request: &impl Message, options: CallOptions) -> Call {
    Call { path: path.into(), request: request.encode_to_vec(), options }
}

fn call(path: &str, request: &impl Message) -> Call {
    call_with(path, request, CallOptions::default())
}

fn update(change: impl FnOnce(&mut UpdateVReplicationWorkflowRequest)) -> Call {
    let mut wanted = UpdateVReplicationWorkflowRequest {
        workflow: "wf".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        state: Some(2),
        ..UpdateVReplicationWorkflowRequest::default()
    };
    change(&mut wanted);
    call(rpc::WORKFLOW_UPDATE, &WorkflowUpdateRequest { keyspace: "ks".into(), tablet_request: Some(wanted) })
}

fn command(args: &[&str]) -> Call {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    call(rpc::EXECUTE_VTCTL_COMMAND, &ExecuteVtctlCommandRequest { args, ..ExecuteVtctlCommandRequest::default() })
}

/// Requests of every operation, reads and writes.
fn calls() -> Vec<Call> {
    let migrations = GetSchemaMigrationsRequest { keyspace: "ks".into(), ..GetSchemaMigrationsRequest::default() };
    let vdiff = VDiffShowRequest { workflow: "wf".into(), target_keyspace: "ks".into(), arg: "last".into() };
    let stop = VDiffStopRequest {
        workflow: "wf".into(),
        target_keyspace: "ks".into(),
        uuid: UUID.into(),
        ..VDiffStopRequest::default()
    };
    let status = WorkflowStatusRequest { keyspace: "ks".into(), workflow: "wf".into(), shards: Vec::new() };
    let delete = WorkflowDeleteRequest {
        keyspace: "ks".into(),
        workflow: "wf".into(),
        keep_data: true,
        // For a vtctld: whatever else is to go, `forward` has.
        shards: vec!["-80".into()],
        ..WorkflowDeleteRequest::default()
    };
    let cancel =
        CancelSchemaMigrationRequest { keyspace: "ks".into(), uuid: UUID.into(), ..CancelSchemaMigrationRequest::default() };
    let rule = ThrottledAppRule {
        name: "online-ddl".into(),
        ratio: 0.5,
        expires_at: Some(Time { seconds: i64::MAX, nanoseconds: 0 }),
        ..ThrottledAppRule::default()
    };
    let throttle = UpdateThrottlerConfigRequest {
        keyspace: "ks".into(),
        throttled_app: Some(rule),
        ..UpdateThrottlerConfigRequest::default()
    };
    let query = UpdateThrottlerConfigRequest {
        keyspace: "ks".into(),
        custom_query: PLANTED.into(),
        ..UpdateThrottlerConfigRequest::default()
    };
    vec![
        crate::support::call(&crate::support::all()),
        call(rpc::GET_SCHEMA_MIGRATIONS, &migrations),
        call(rpc::VDIFF_SHOW, &vdiff),
        call(
            rpc::VDIFF_CREATE,
            &VDiffCreateRequest { workflow: "wf".into(), target_keyspace: "ks".into(), ..Default::default() },
        ),
        call(rpc::VDIFF_STOP, &stop),
        call(rpc::VDIFF_DELETE, &VDiffDeleteRequest { workflow: "wf".into(), target_keyspace: "ks".into(), arg: "all".into() }),
        call(rpc::WORKFLOW_STATUS, &status),
        call(rpc::GET_VERSION, &GetVersionRequest { tablet_alias: Some(alias(100)) }),
        call("/vtctlservice.Vtctld/GetTablets", &GetTabletsRequest::default()),
        call(rpc::SNAPSHOT, &SnapshotRequest { keyspaces: vec!["ks".into(), "src".into()], routing: true }),
        command(&["Workflow", "ks.wf", "show"]),
        command(&["OnlineDDL", "ks", "show", "all"]),
        command(&["ApplySchema", "--sql", "alter table t add x varchar(9) default 'pl4nt3d'", "ks"]),
        call("/vtctlservice.Vtctld/ApplySchema", &VExecRequest { sql: PLANTED.into(), ..VExecRequest::default() }),
        vexec("select workflow, concat('pl4nt3d', 1), id from _vt.vreplication where message != 'pl4nt3d'", Mode::Perform),
        vexec("select id from _vt.vreplication where message = x'706c346e743364' /* pl4nt3d */", Mode::Perform),
        vexec("select 'pl4nt3d from", Mode::Perform),
        vexec("update _vt.vreplication set message = 'pl4nt3d' where id > 0", Mode::Perform),
        vexec("delete from _vt.vreplication where message = 'pl4nt3d'", Mode::Preview),
        update(|_| {}),
        update(|wanted| drop(wanted.config_overrides.insert("a-b".into(), PLANTED.into()))),
        update(|wanted| wanted.message = Some(PLANTED.into())),
        call(rpc::WORKFLOW_DELETE, &delete),
        call(rpc::CANCEL_SCHEMA_MIGRATION, &cancel),
        call(rpc::UPDATE_THROTTLER_CONFIG, &throttle),
        call(rpc::UPDATE_THROTTLER_CONFIG, &query),
    ]
}

/// What may be wrong with a cluster, by what a person sees of it.
fn troubles() -> Vec<(&'static str, Cluster)> {
    let failed = || refused("TabletManager.X on zone1-0000000200: Duplicate entry 'pl4nt3d' (errno 1062) (sqlstate 23000)");
    let subjects = ["streams", "copy state", "logs", "migrations", "migration", "update", "delete", "vexec", "vdiff", "v18"];
    let with = |name: &str, answer: &Answer| {
        let mut cluster = cluster();
        cluster.answer(200, name, answer.clone());
        cluster
    };
    let mut all = vec![("nothing", cluster())];
    for subject in subjects {
        all.push((subject, with(subject, &failed())));
        all.push((subject, with(subject, &silent(200))));
        all.push((subject, with(subject, &Answer::Called(vec![0xff; 9]))));
        all.push((subject, with(subject, &Answer::Called(Vec::new()))));
    }
    all.push((
        "an old release",
        with("v18", &refused("unknown method ReadVReplicationWorkflow for service tabletmanagerservice.TabletManager")),
    ));
    all.push(("closed", with("streams", &refused("vreplication engine is closed: pl4nt3d"))));
    all.push(("no id", with("copy state", &refused("Unknown column 'id' in 'pl4nt3d'"))));
    all.push(("no logs", with("logs", &refused("Table '_vt.pl4nt3d' doesn't exist (errno 1146) (sqlstate 42S02)"))));
    all.push(("frozen", with("streams", &streams(&[planted(200, "Stopped", "FROZEN")]))));
    all.push((
        "damaged",
        with("streams", &streams(&[StreamOf { source: format!("{PLANTED} {{"), ..planted(200, "Running", "") }])),
    ));
    all.push((
        "odd",
        with("streams", &streams(&[StreamOf { pos: "pl4nt3d", options: "pl4nt3d", ..planted(200, "pl4nt3d", "") }])),
    ));
    // A write that failed, and what a second look shows of it.
    for second in [streams(&[planted(200, "Stopped", "")]), streams(&[planted(200, "Running", "")]), streams(&[])] {
        for write in ["update", "delete", "vexec"] {
            let mut cluster = with(write, &failed());
            cluster.pages(200, "streams", vec![streams(&[planted(200, "Running", "")]), second.clone()]);
            all.push(("a write that failed", cluster));
        }
    }
    let mut moved = cluster();
    moved.put("global", "keyspaces/ks/shards/80-/Shard", &Shard::default());
    all.push(("no primary", moved));
    all
}

#[test]
fn a_redacted_trace_has_no_value_of_a_row_or_a_page_and_comes_to_the_same_outcome() {
    let mut writes = 0;
    for (trouble, cluster) in troubles() {
        for call in calls() {
            let case = format!("{trouble}: {} {:?}", call.path, String::from_utf8_lossy(&call.request));
            let trace = recorded(&cluster, &call);
            let after = redacted(&trace);
            let text = texts(&after);
            if let Some(at) = text.find(PLANTED) {
                let near =
                    |from: usize, to: usize| String::from_utf8_lossy(&text.as_bytes()[from..to.min(text.len())]).into_owned();
                panic!("{case}: a value is left: {}", near(at.saturating_sub(200), at + 100));
            }
            assert!(after.redacted && !text.contains(&BASE64_STANDARD.encode(PLANTED)), "{case}");
            assert!(!text.contains("706C346E743364"), "{case}: it is in rows that stand as JSON in a value");
            let then = outcome(trace.reply.as_ref().expect("a reply"));
            assert_eq!(outcome(after.reply.as_ref().expect("a reply")), then, "{case}");
            let read: Trace = serde_json::from_str(&serde_json::to_string(&after).unwrap()).unwrap();
            let replayed = replay(&mut Flow::start(&read.call, read.now), &read);
            assert_eq!(replayed.differences, Vec::<String>::new(), "{case}");
            assert_eq!(replayed.reply, after.reply, "{case}");
            assert_eq!(after.asks.len(), trace.asks.len(), "{case}: as many asks");
            let count = |trace: &Trace| {
                let is_write = |traced: &&Traced| matches!(traced.ask.what, What::TabletCall { effect: Effect::Write, .. });
                trace.asks.iter().filter(is_write).count()
            };
            assert_eq!(count(&after), count(&trace), "{case}");
            writes += count(&after);
        }
    }
    assert!(writes > 100, "or this test shows little: {writes}");
}

/// An ask that was lost makes the ids of all that follow it others; each still has its own answer.
#[test]
fn a_trace_without_an_ask_is_redacted_to_what_its_replay_comes_to() {
    let trace = recorded(&cluster(), &calls()[0]);
    for at in 0..trace.asks.len() {
        let mut lost = trace.clone();
        let gone = lost.asks.remove(at);
        let after = redacted(&lost);
        let replayed = replay(&mut Flow::start(&lost.call, lost.now), &lost);
        assert!(replayed.differences[0].ends_with(" is not in the trace"), "{:?}", replayed.differences);
        assert!(after.redacted && !texts(&after).contains(PLANTED), "{gone:?}");
        assert_eq!(outcome(after.reply.as_ref().unwrap()), outcome(replayed.reply.as_ref().unwrap()), "{gone:?}");
    }
}

#[test]
fn what_a_request_was_held_to_is_the_plan_of_what_is_left() {
    let sql = "update _vt.vreplication set message = 'pl4nt3d' where id > 0";
    for cluster in [cluster(), troubles().pop().expect("one").1] {
        let preview = recorded(&cluster, &vexec(sql, Mode::Preview));
        let Some(written) = &preview.reply.as_ref().expect("a reply").written else { continue };
        let call = vexec(sql, Mode::Planned(written.plan.digest.clone()));
        let trace = recorded(&cluster, &call);
        let after = redacted(&trace);
        assert!(trace.reply.as_ref().unwrap().result.is_ok(), "{:?}", trace.reply);
        assert_eq!(outcome(after.reply.as_ref().unwrap()), outcome(trace.reply.as_ref().unwrap()));
        assert!(!texts(&after).contains(&written.plan.digest), "it is made of what rows say");
        assert!(!texts(&after).contains(PLANTED));
        // And to another plan: refused, then and now.
        let trace = recorded(&cluster, &vexec(sql, Mode::Planned("another".into())));
        let after = redacted(&trace);
        assert_eq!(outcome(after.reply.as_ref().unwrap()), outcome(trace.reply.as_ref().unwrap()));
        assert!(after.reply.unwrap().result.unwrap_err().message.contains("the plan is not the one any more"));
    }
}
