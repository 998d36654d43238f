//! One corpus, three planners: linked in, in wasmtime and in a browser they come to the same bytes.
//!
//! The corpus: every recorded request of every recorded cluster, previews of writes, statements for `VExec`, requests that are
//! none. Each is performed once, natively, on the recorded cluster's tablets; what was asked and answered is then replayed.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use crate::support::{
    browser::Browser,
    program::{recorded, vtflow},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::Value;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cluster, Snapshot},
    planner_host::{PlannerChoice, PlannerHost},
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
    trace_file::Recorder,
};
use vtflow_planner::{
    Call, CallOptions, Mode,
    proto::{
        tabletmanagerdata::UpdateVReplicationWorkflowRequest,
        vtctldata::{
            CancelSchemaMigrationRequest, GetWorkflowsRequest, GetWorkflowsResponse, WorkflowDeleteRequest, WorkflowUpdateRequest,
        },
        vtflow::{DiagnoseRequest, VExecRequest},
    },
    rpc,
    trace::{Trace, replay},
};

/// The recorded requests of a cluster, and those made up from them.
fn calls(snapshot: &Path) -> Vec<(String, Call)> {
    let call = |path: &str, request: Vec<u8>, mode| Call {
        path: path.to_owned(),
        request,
        options: CallOptions { mode, ..CallOptions::default() },
    };
    let mut files: Vec<_> = fs::read_dir(snapshot.join("expect")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    let topo: Value = serde_json::from_slice(&fs::read(snapshot.join("topo.json")).unwrap()).unwrap();
    let paths = topo.as_array().unwrap().iter().filter_map(|record| record["path"].as_str());
    let names = paths.filter_map(|path| path.strip_prefix("keyspaces/")?.strip_suffix("/Keyspace"));
    let mut keyspaces: BTreeSet<String> = names.map(str::to_owned).collect();
    for keyspace in &keyspaces {
        let diagnose = DiagnoseRequest { keyspace: keyspace.clone(), ..DiagnoseRequest::default() };
        all.push((format!("diagnose {keyspace}"), call(rpc::DIAGNOSE, diagnose.encode_to_vec(), Mode::Perform)));
    }
    let mut workflows = BTreeSet::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "json")) {
        let value: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let (Some(method), Some(request)) = (value["method"].as_str(), value["request_bytes"].as_str()) else { continue };
        let request = BASE64_STANDARD.decode(request).unwrap();
        let keyspace = value["request"]["keyspace"].as_str().unwrap_or_default().to_owned();
        if method == rpc::GET_WORKFLOWS {
            let reply = BASE64_STANDARD.decode(value["response_bytes"].as_str().unwrap_or_default()).unwrap();
            let reply = GetWorkflowsResponse::decode(reply.as_slice()).unwrap();
            workflows.extend(reply.workflows.into_iter().map(|workflow| (keyspace.clone(), workflow.name)));
        }
        keyspaces.insert(keyspace);
        all.push((file.file_name().unwrap().to_string_lossy().into_owned(), call(method, request, Mode::Perform)));
    }
    for keyspace in &keyspaces {
        let request = CancelSchemaMigrationRequest { keyspace: keyspace.clone(), uuid: "all".to_owned(), caller_id: None };
        all.push((
            format!("cancel all of {keyspace}"),
            call(rpc::CANCEL_SCHEMA_MIGRATION, request.encode_to_vec(), Mode::Preview),
        ));
        for sql in [
            "select * from _vt.vreplication",
            "update _vt.vreplication set state = 'Stopped', message = 'a''b\\n' where id > 1 or not (id in (3, 4))",
            "delete from _vt.vreplication",
            "update _vt.vreplication set workflow = 'x'",
            "select (((",
        ] {
            let (keyspace, sql) = (keyspace.clone(), sql.to_owned());
            let request = VExecRequest { keyspace, sql, dry_run: true, ..VExecRequest::default() };
            all.push((
                format!("{}: {}", request.keyspace, request.sql),
                call(rpc::VEXEC, request.encode_to_vec(), Mode::Perform),
            ));
        }
    }
    for (keyspace, workflow) in workflows {
        let name = format!("{keyspace}.{workflow}");
        let stop = UpdateVReplicationWorkflowRequest {
            workflow: workflow.clone(),
            cells: vec!["NULL".into()],
            tablet_types: vec![-1],
            state: Some(2),
            ..UpdateVReplicationWorkflowRequest::default()
        };
        let stop = WorkflowUpdateRequest { keyspace: keyspace.clone(), tablet_request: Some(stop) };
        all.push((format!("stop {name}"), call(rpc::WORKFLOW_UPDATE, stop.encode_to_vec(), Mode::Preview)));
        let delete = WorkflowDeleteRequest {
            keyspace,
            workflow,
            keep_data: true,
            keep_routing_rules: true,
            ..WorkflowDeleteRequest::default()
        };
        all.push((format!("delete {name}"), call(rpc::WORKFLOW_DELETE, delete.encode_to_vec(), Mode::Preview)));
    }
    all.push(("no such RPC".to_owned(), call("/vtctlservice.Vtctld/Nope", Vec::new(), Mode::Perform)));
    all.push(("no message".to_owned(), call(rpc::GET_WORKFLOWS, vec![0xff; 40], Mode::Perform)));
    let strict = CallOptions { strict: true, ..CallOptions::default() };
    let request = GetWorkflowsRequest { keyspace: keyspaces.first().unwrap().clone(), ..GetWorkflowsRequest::default() };
    all.push(("strict".to_owned(), Call { options: strict, ..call(rpc::GET_WORKFLOWS, request.encode_to_vec(), Mode::Perform) }));
    all
}

/// What a cluster was asked and answered.
async fn traces(name: &str) -> Vec<(String, Trace)> {
    let path = recorded(name);
    let snapshot = Snapshot::load(&path).unwrap();
    let now = snapshot.taken_at;
    let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.unwrap();
    let topology = Arc::new(MemoryTopology::new(cluster.topo()));
    let tablets = Arc::new(Tablets::new(TabletOptions::default()).unwrap());
    let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
    let mut all = Vec::new();
    for (case, call) in calls(&path) {
        let recorder = Recorder::new();
        let reply = drive(PlannerHost::Native.start(&call, now), &io, None, &recorder).await;
        all.push((format!("{name}, {case}"), recorder.ended(PlannerHost::Native.build(), &call, now, &reply)));
    }
    all
}

async fn corpus() -> Vec<(String, Trace)> {
    let mut names: Vec<_> = fs::read_dir(recorded("odd-rows").parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("expect").is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut all = Vec::new();
    for name in names {
        all.extend(traces(&name).await);
    }
    all
}

fn wasm() -> PlannerHost {
    PlannerHost::load(&PlannerChoice::Embedded).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_planners_come_to_the_same_bytes() {
    let corpus = corpus().await;
    let (native, wasm) = (PlannerHost::Native, wasm());
    let browser = Browser::open("", 1280, false).await;
    let (mut replies, mut asks) = (0, 0);
    for (name, trace) in &corpus {
        let first = replay(&mut *native.start(&trace.call, trace.now), trace);
        assert_eq!(first.differences, Vec::<String>::new(), "{name}");
        assert_eq!(first.reply, trace.reply, "{name}");
        let second = replay(&mut *wasm.start(&trace.call, trace.now), trace);
        assert_eq!(second, first, "{name}, in wasmtime");
        let third = browser.planner("replay", vec![serde_json::to_value(trace).unwrap()]).await;
        assert_eq!(third, serde_json::to_value(&first).unwrap(), "{name}, in the browser");

        let failures = first.reply.as_ref().unwrap().failures.clone();
        let asked: Vec<_> = trace.asks.iter().map(|traced| traced.ask.clone()).collect();
        let plan = native.explain(&trace.call.path, &asked, failures.clone()).unwrap();
        assert_eq!(wasm.explain(&trace.call.path, &asked, failures).unwrap(), plan, "{name}, explained");
        replies += usize::from(first.reply.is_some_and(|reply| reply.result.is_ok()));
        asks += trace.asks.len();
    }
    // The corpus is not empty, nor are all of its replies errors.
    println!("{} requests, {asks} asks, {replies} replies that are no errors", corpus.len());
    assert!(corpus.len() > 200 && replies > 100 && asks > 1000, "{} {replies} {asks}", corpus.len());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_planners_are_of_one_source() {
    let native = serde_json::to_value(PlannerHost::Native.build()).unwrap();
    assert_eq!(native["digest"].as_str().unwrap().len(), 64);
    assert_eq!(serde_json::to_value(wasm().build()).unwrap(), native, "dist/planner.wasm is of another source: make component");
    let browser = Browser::open("", 1280, false).await;
    assert_eq!(browser.planner("planner", Vec::new()).await, native, "dist/page is of another source: make web");
    browser.close().await;
}

/// Every field of every trace is one that the package's TypeScript knows.
#[tokio::test(flavor = "multi_thread")]
async fn the_types_of_the_package_name_every_field() {
    let types = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/npm/vtflow_web.d.ts")).expect("make web");
    assert!(types.contains("constructor(call: Call, now: Timestamp)") && !types.contains("asks(): any"), "{types}");
    let mut names = BTreeSet::new();
    for (_, trace) in corpus().await {
        fields(&serde_json::to_value(&trace).unwrap(), &mut names);
    }
    assert!(names.len() > 50, "{names:?}");
    let words: BTreeSet<&str> = types.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let unknown: Vec<_> = names.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Names of fields, and the texts that say which kind of a thing it is.
fn fields(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                into.insert(name.clone());
                if let ("kind" | "mode" | "effect" | "verdict", Some(text)) = (name.as_str(), value.as_str()) {
                    into.insert(text.to_owned());
                }
                fields(value, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, into)),
        _ => {}
    }
}

#[test]
fn commands_print_the_same_with_either() {
    for command in [
        "--demo get workflows customer",
        "--demo plan workflows customer",
        "--demo describe workflow customer sales_mat",
        "--demo get migrations customer",
        "--demo get workflows nope",
    ] {
        let mut args: Vec<&str> = command.split(' ').collect();
        let native = vtflow(&args);
        args.extend(["--planner", "wasm"]);
        let wasm = vtflow(&args);
        let ports = |text: &str| {
            // Each run's tablets listen elsewhere.
            let mut out = String::new();
            for (at, part) in text.split("127.0.0.1:").enumerate() {
                out.push_str(if at == 0 { part } else { part.trim_start_matches(|digit: char| digit.is_ascii_digit()) });
            }
            out
        };
        assert_eq!((wasm.code, ports(&wasm.stdout)), (native.code, ports(&native.stdout)), "{command}: {}", wasm.stderr);
        assert!(native.code == 2 || !native.stdout.is_empty(), "{command}");
    }
}

#[test]
fn a_trace_made_with_one_is_replayed_by_the_other() {
    let directory = tempfile::TempDir::new().unwrap();
    for (made, again) in [("native", "wasm"), ("wasm", "native")] {
        let file = directory.path().join(made);
        let file = file.to_str().unwrap();
        vtflow(&["--demo", "get", "workflows", "customer", "--logs", "--planner", made, "--trace", file]);
        let ran = vtflow(&["replay", file, "--planner", again]);
        assert!(ran.code == 0 && ran.stdout.contains("the reply is the same"), "{made}, {again}: {}{}", ran.stdout, ran.stderr);
        let raw = |planner| vtflow(&["replay", file, "--planner", planner, "-o", "json"]).json();
        assert_eq!(raw("native"), raw("wasm"), "{made}");
    }
}
