//! Redacted traces of every request over every recorded cluster: they come to the outcome that was recorded, and nothing of a row or a page
//! is in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::Value;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cell, Cluster, Snapshot},
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
    trace_file::Recorder,
};
use vtflow_planner::{
    Answer, Call, CallOptions, Flow, Mode, Reply, Timestamp, What,
    proto::{
        binlogdata::VReplicationWorkflowState,
        tabletmanagerdata::UpdateVReplicationWorkflowRequest,
        topodata::{TabletAlias, ThrottledAppRule},
        vtctldata::{
            CancelSchemaMigrationRequest, ExecuteVtctlCommandRequest, GetKeyspaceRequest, GetSchemaMigrationsRequest,
            GetTabletsRequest, GetVersionRequest, GetWorkflowsRequest, RetrySchemaMigrationRequest, UpdateThrottlerConfigRequest,
            VDiffShowRequest, WorkflowDeleteRequest, WorkflowStatusRequest, WorkflowUpdateRequest,
        },
        vtflow::{SnapshotRequest, VExecRequest},
        vttime::Time,
    },
    rpc,
    trace::{Planner, Trace, replay},
};

/// Shorter ones are in everything.
const LETTERS: usize = 6;

/// Columns whose values are names of things, states, times and positions, which stay (`docs/traces.md`): keyspaces, shards, tablets, cells,
/// workflows, databases, tables and migrations are named by requests, statements and topology records, too. A journal (`val`) has nothing else.
const KEPT: &[&str] = &[
    "action",
    "cell",
    "component_throttled",
    "db_name",
    "ddl_action",
    "keyspace",
    "migration_context",
    "migration_status",
    "migration_uuid",
    "mysql_schema",
    "mysql_table",
    "pos",
    "reverted_uuid",
    "shard",
    "state",
    "stop_pos",
    "strategy",
    "table_name",
    "tablet",
    "tablet_types",
    "type",
    "val",
    "vdiff_uuid",
    "workflow",
];

/// Keys of JSON whose texts are names.
const KEPT_IN_JSON: &[&str] = &["shards", "lookup_vindexes", "global_keyspace", "TableName"];

/// Words that the planner itself says, whatever rows say; and the one of filters for what is not copied.
const WORDS: &[&str] = &["exclude", "frozen", "running", "stopped", "copying", "complete", "failed", "vitess", "online"];

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let mut all = Vec::new();
    for group in ["snapshots", "cases"] {
        let entries = fs::read_dir(root.join(group)).unwrap().map(|entry| entry.unwrap().path());
        all.extend(entries.filter(|path| path.join("snapshot.json").exists()));
    }
    all.sort();
    assert!(all.len() > 15, "{all:?}");
    all
}

/// Numbers and times stay.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b":-. T+".contains(&byte))
}

/// What of a value of a row must not be seen: all of it, or of a source its filters and of JSON its texts.
fn secrets(column: &str, text: &str, into: &mut BTreeSet<String>) {
    if KEPT.contains(&column) || is_number(text) {
        return;
    }
    if column == "source" && text.contains("filter:") {
        for (at, _) in text.match_indices("filter:") {
            let rest = text[at + 7..].trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            if let Some(inside) = quote.and_then(|quote| rest[1..].split(quote).next()) {
                into.insert(inside.to_owned());
            }
        }
        return;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => in_json("", &value, into),
        _ => drop(into.insert(text.to_owned())),
    }
}

fn in_json(key: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        // Some have a source within.
        Value::String(text) if text.contains("filter:") => secrets("source", text, into),
        // A position, which stays in the columns of streams and in journals.
        Value::String(text) if text.starts_with("MySQL56/") => {}
        Value::String(text) if !KEPT_IN_JSON.contains(&key) => drop(into.insert(text.clone())),
        Value::Array(values) => values.iter().for_each(|value| in_json(key, value, into)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| in_json(key, value, into)),
        _ => {}
    }
}

/// Everything in a trace as text: its JSON, and what is in base64 there.
fn texts(trace: &Trace) -> String {
    fn collect(value: &Value, into: &mut String) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
                Value::String(text) if name == "base64" => {
                    into.push_str(&String::from_utf8_lossy(&BASE64_STANDARD.decode(text).unwrap()));
                }
                value => collect(value, into),
            }),
            Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            Value::String(text) => into.push_str(text),
            _ => {}
        }
        into.push('\n');
    }
    let mut all = String::new();
    collect(&serde_json::to_value(trace).unwrap(), &mut all);
    all
}

/// What came of a request, without texts.
fn outcome(reply: &Reply) -> String {
    let result = reply.result.as_ref().map(|_| ()).map_err(|status| status.code);
    let failures: Vec<_> = reply.failures.iter().map(|failure| (failure.place(), failure.lost)).collect();
    let written = reply.written.as_ref().map(|written| {
        let plan: Vec<_> = written.plan.writes.iter().map(|write| (&write.shard, &write.tablet, &write.rpc)).collect();
        let outcomes: Vec<_> = written.outcomes.iter().map(|o| (&o.shard, &o.tablet, o.verdict, o.rows)).collect();
        format!("{plan:?} {outcomes:?} {}", written.notes.len())
    });
    // How many lines a table has is a matter of its texts.
    format!("{result:?} {failures:?} {} {written:?}", reply.stream.is_empty())
}

fn call(path: &str, request: &impl Message) -> Call {
    Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn previewed(mut call: Call) -> Call {
    call.options.mode = Mode::Preview;
    call
}

fn command(args: &[&str]) -> Call {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    call(rpc::EXECUTE_VTCTL_COMMAND, &ExecuteVtctlCommandRequest { args, ..ExecuteVtctlCommandRequest::default() })
}

fn vexec(keyspace: &str, workflow: &str, sql: &str) -> Call {
    let (keyspace, workflow, sql) = (keyspace.into(), workflow.into(), sql.into());
    call(rpc::VEXEC, &VExecRequest { keyspace, workflow, sql, ..VExecRequest::default() })
}

/// A migration that no cluster has.
const NO_MIGRATION: &str = "82fa54ac_e83e_11ea_96b7_f875a4d24e90";

/// Requests about one keyspace: the reads.
fn reads(keyspace: &str, workflows: &BTreeSet<String>) -> Vec<Call> {
    let name = || keyspace.to_owned();
    let mut all = vec![
        call(rpc::GET_WORKFLOWS, &GetWorkflowsRequest { keyspace: name(), include_logs: true, ..GetWorkflowsRequest::default() }),
        call(
            rpc::GET_SCHEMA_MIGRATIONS,
            &GetSchemaMigrationsRequest { keyspace: name(), ..GetSchemaMigrationsRequest::default() },
        ),
        call("/vtctlservice.Vtctld/GetKeyspace", &GetKeyspaceRequest { keyspace: name() }),
        call("/vtctlservice.Vtctld/GetTablets", &GetTabletsRequest { keyspace: name(), ..GetTabletsRequest::default() }),
        call(rpc::SNAPSHOT, &SnapshotRequest { keyspaces: vec![name()], routing: true }),
        command(&["Workflow", keyspace, "listall"]),
        command(&["OnlineDDL", keyspace, "show", "all"]),
        vexec(keyspace, "", "select * from _vt.vreplication"),
    ];
    for workflow in workflows {
        let status = WorkflowStatusRequest { keyspace: name(), workflow: workflow.clone(), shards: Vec::new() };
        let vdiff = VDiffShowRequest { workflow: workflow.clone(), target_keyspace: name(), arg: "all".into() };
        all.extend([
            call(rpc::WORKFLOW_STATUS, &status),
            call(rpc::VDIFF_SHOW, &vdiff),
            command(&["Workflow", &format!("{keyspace}.{workflow}"), "show"]),
            vexec(keyspace, workflow, "select id, message, source from _vt.vreplication"),
        ]);
    }
    all
}

/// The changes; what is deleted comes last.
fn writes(keyspace: &str, workflows: &BTreeSet<String>) -> Vec<Call> {
    let name = || keyspace.to_owned();
    let rule = ThrottledAppRule {
        name: "online-ddl".into(),
        ratio: 0.5,
        expires_at: Some(Time { seconds: i64::MAX, nanoseconds: 0 }),
        ..ThrottledAppRule::default()
    };
    let throttle =
        UpdateThrottlerConfigRequest { keyspace: name(), throttled_app: Some(rule), ..UpdateThrottlerConfigRequest::default() };
    let cancel = |uuid: &str| {
        let request = CancelSchemaMigrationRequest { keyspace: name(), uuid: uuid.into(), caller_id: None };
        call(rpc::CANCEL_SCHEMA_MIGRATION, &request)
    };
    let retry = RetrySchemaMigrationRequest { keyspace: name(), uuid: NO_MIGRATION.into(), caller_id: None };
    let mut all = vec![
        call(rpc::UPDATE_THROTTLER_CONFIG, &throttle),
        call(rpc::RETRY_SCHEMA_MIGRATION, &retry),
        previewed(cancel("all")),
        cancel("all"),
    ];
    for workflow in workflows {
        let state = |state: i32| {
            let tablet_request = Some(UpdateVReplicationWorkflowRequest {
                workflow: workflow.clone(),
                cells: vec!["NULL".into()],
                tablet_types: vec![-1],
                state: Some(state),
                ..UpdateVReplicationWorkflowRequest::default()
            });
            call(rpc::WORKFLOW_UPDATE, &WorkflowUpdateRequest { keyspace: name(), tablet_request })
        };
        let delete = WorkflowDeleteRequest {
            keyspace: name(),
            workflow: workflow.clone(),
            keep_data: true,
            keep_routing_rules: true,
            ..WorkflowDeleteRequest::default()
        };
        all.extend([
            previewed(state(2)),
            state(2),
            state(VReplicationWorkflowState::Running.into()),
            vexec(keyspace, workflow, "update _vt.vreplication set message = 'ours' where state = 'Running'"),
            previewed(call(rpc::WORKFLOW_DELETE, &delete)),
            call(rpc::WORKFLOW_DELETE, &delete),
        ]);
    }
    all
}

struct Stage {
    io: ClusterIo,
    now: Timestamp,
    _cluster: Cluster,
}

impl Stage {
    async fn start(snapshot: Snapshot) -> Self {
        let now = snapshot.taken_at;
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.unwrap();
        let topology = Arc::new(MemoryTopology::new(cluster.topo()));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).unwrap());
        Self { io: ClusterIo { topology, tablets, deadlines: Deadlines::default() }, now, _cluster: cluster }
    }

    async fn recorded(&self, call: &Call) -> Trace {
        let recorder = Recorder::new();
        let reply = drive(Flow::start(call, self.now), &self.io, None, &recorder).await;
        recorder.ended(Planner::this(), call, self.now, &reply)
    }
}

/// Checks one request: what is wrong with it, how many values of rows were in its trace, and whether it has changed something.
async fn redacts(stage: &Stage, call: &Call, values: &BTreeSet<String>, folder: &str, wrong: &mut Vec<String>) -> (usize, bool) {
    let case = format!("{folder}: {} {:?}", call.path, String::from_utf8_lossy(&call.request));
    let trace = stage.recorded(call).await;
    let mut values = values.clone();
    for traced in &trace.asks {
        if let (What::TabletPage { .. }, Some(Answer::Called(page))) = (&traced.ask.what, &traced.answer) {
            let Ok(Value::Object(variables)) = serde_json::from_slice(page) else { continue };
            // Which build it is stays.
            let others = variables.iter().filter(|(name, _)| !matches!(name.as_str(), "BuildGitRev" | "BuildVersion"));
            others.for_each(|(name, value)| in_json(name, value, &mut values));
        }
    }
    let open = texts(&trace);
    let after = trace.clone().redacted(|call, now| Box::new(Flow::start(call, now)));
    let mut must = |holds: bool, what: &dyn Fn() -> String| {
        if !holds {
            wrong.push(format!("{case}: {}", what()));
        }
    };
    must(after.redacted, &|| "it does not say that it is redacted".to_owned());
    let (then, now) = (trace.reply.as_ref().unwrap(), after.reply.as_ref().unwrap());
    must(outcome(now) == outcome(then), &|| format!("another outcome:\n  {}\n  {}", outcome(then), outcome(now)));
    must(after.asks.len() == trace.asks.len(), &|| format!("{} asks became {}", trace.asks.len(), after.asks.len()));
    // As it is read from its file.
    let read: Trace = serde_json::from_str(&serde_json::to_string(&after).unwrap()).unwrap();
    let replayed = replay(&mut Flow::start(&read.call, read.now), &read);
    must(replayed.differences.is_empty(), &|| format!("its replay differs: {:?}", replayed.differences));
    must(replayed.reply == after.reply, &|| "its replay comes to another reply".to_owned());
    let hidden = texts(&after);
    let mut found = 0;
    for value in &values {
        let near = || {
            let at = hidden.find(value.as_str()).unwrap_or_default();
            String::from_utf8_lossy(&hidden.as_bytes()[at.saturating_sub(80)..(at + 80).min(hidden.len())]).into_owned()
        };
        must(!hidden.contains(value.as_str()), &|| format!("{value:?} is left: {}", near()));
        found += usize::from(open.contains(value.as_str()));
    }
    (found, then.written.as_ref().is_some_and(|written| !written.outcomes.is_empty()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_trace_of_a_recorded_cluster_has_nothing_of_a_row_and_comes_to_the_same_outcome() {
    let (mut found, mut written, mut wrong) = (0, 0, Vec::new());
    for folder in folders() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let snapshot = Snapshot::load(&folder).unwrap();
        // Topology records and the names of things stay.
        let mut topology = String::new();
        for record in &snapshot.topo {
            topology.extend([&record.path, "\n", &String::from_utf8_lossy(&record.value), "\n"]);
        }
        let (mut values, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut workflows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (alias, tablet) in &snapshot.tablets {
            names.insert(alias.clone());
            for table in tablet.sidecar.values() {
                let place = |column: &str| table.columns.iter().position(|known| known.name == column);
                for row in &table.rows {
                    for (column, cell) in table.columns.iter().zip(row) {
                        let Cell::Text(text) = cell else { continue };
                        if KEPT.contains(&column.name.as_str()) {
                            names.insert(text.to_lowercase());
                        }
                        secrets(&column.name, text, &mut values);
                    }
                    let text = |column| place(column).and_then(|at| row.get(at));
                    if let (Some(Cell::Text(workflow)), Some(Cell::Text(database)), Some(_)) =
                        (text("workflow"), text("db_name"), text("tablet_types"))
                    {
                        let keyspace = database.strip_prefix("vt_").unwrap_or(database);
                        workflows.entry(keyspace.to_owned()).or_default().insert(workflow.clone());
                    }
                }
            }
        }
        let is_secret = |value: &String| {
            value.len() >= LETTERS
                && !is_number(value)
                && !names.iter().any(|name| name.contains(&value.to_lowercase()))
                && !topology.contains(value.as_str())
                && !WORDS.contains(&value.to_lowercase().as_str())
        };
        values.retain(is_secret);
        let keyspaces: Vec<String> = snapshot
            .topo
            .iter()
            .filter_map(|record| record.path.strip_prefix("keyspaces/")?.strip_suffix("/Keyspace").map(str::to_owned))
            .collect();
        let tablets: Vec<String> = snapshot.tablets.keys().cloned().collect();
        let stage = Stage::start(snapshot).await;
        let none = BTreeSet::new();
        let of = |keyspace: &String| workflows.get(keyspace).unwrap_or(&none).clone();
        let mut calls = Vec::new();
        for alias in tablets.iter().take(2) {
            let Some((cell, uid)) = alias.rsplit_once('-') else { continue };
            let Ok(uid) = uid.parse() else { continue };
            let tablet_alias = Some(TabletAlias { cell: cell.into(), uid });
            calls.push(call(rpc::GET_VERSION, &GetVersionRequest { tablet_alias }));
        }
        calls.extend(keyspaces.iter().flat_map(|keyspace| reads(keyspace, &of(keyspace))));
        calls.extend(keyspaces.iter().flat_map(|keyspace| writes(keyspace, &of(keyspace))));
        for call in &calls {
            let (values_found, has_written) = redacts(&stage, call, &values, &name, &mut wrong).await;
            found += values_found;
            written += usize::from(has_written);
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.iter().take(60).cloned().collect::<Vec<_>>().join("\n"));
    assert!(found > 1000 && written > 100, "or this shows little: {found} values, {written} changes");
}
