//! Names that are more than names, in every request that writes: refused or looked for as they are, never executed.
//!
//! Embedded tablets of five releases run every statement that is sent; no row of anybody may be another one afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests, and what they share")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use prost::Message;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cluster, Snapshot},
    observe::Nobody,
    tablet::{TabletOptions, Tablets},
    topo::{CellRecord, MemoryTopology},
};
use vtflow_planner::{
    Answer, Call, CallOptions, Effect, Flow, TabletAddress,
    proto::{
        tabletmanagerdata::{ExecuteFetchAsDbaRequest, UpdateVReplicationWorkflowRequest},
        topodata::ThrottledAppRule,
        vtctldata::{CancelSchemaMigrationRequest, UpdateThrottlerConfigRequest, WorkflowDeleteRequest, WorkflowUpdateRequest},
        vtflow::VExecRequest,
        vttime::Time,
    },
    rpc,
};

const TABLETS: [&str; 5] = ["zone1-0000000600", "zone1-0000000610", "zone1-0000000620", "zone1-0000000630", "zone1-0000000650"];

/// What is tried as a name. `mix_mt` is a workflow that is there.
fn names() -> Vec<String> {
    let short = [
        "' or '1' = '1",
        "mix_mt' or workflow != '",
        "mix_mt'; delete from _vt.vreplication; -- ",
        "mix_mt\\",
        "mix_mt\\' or 1 = 1 -- ",
        "\\'; delete from _vt.vreplication; -- ",
        "mix_mt' /*",
        "mix_mt */ '",
        "mix_mt'#",
        "mix_mt\0",
        "mix_mt\u{1a}'",
        "\u{ff07} or 1 = 1 -- ",
        "mix_mt\u{2019} or 1 = 1",
        "m\u{456}x_mt",
        "mix%",
        "mix_m_",
        "MIX_MT",
        "mix_mt ",
        "`mix_mt`",
        "\"mix_mt\"",
        "../mixed",
        "mixed/../../commerce",
        "all' or '1' = '1",
        "",
    ];
    let mut names: Vec<String> = short.map(str::to_owned).to_vec();
    names.push("(".repeat(1 << 20));
    names.push(format!("{}mix_mt", "'".repeat(1 << 16)));
    names
}

/// Every request that writes, with the name in each of its places.
fn calls(name: &str) -> Vec<Call> {
    let call = |path: &str, request: Vec<u8>| Call { path: path.into(), request, options: CallOptions::default() };
    let mut calls = Vec::new();
    let update = |keyspace: &str, workflow: &str, cells: Vec<String>, shards: Vec<String>| {
        let tablet_request = UpdateVReplicationWorkflowRequest {
            workflow: workflow.into(),
            cells,
            shards,
            state: Some(2),
            ..UpdateVReplicationWorkflowRequest::default()
        };
        WorkflowUpdateRequest { keyspace: keyspace.into(), tablet_request: Some(tablet_request) }.encode_to_vec()
    };
    calls.push(call(rpc::WORKFLOW_UPDATE, update("mixed", name, Vec::new(), Vec::new())));
    calls.push(call(rpc::WORKFLOW_UPDATE, update(name, "mix_mt", Vec::new(), Vec::new())));
    calls.push(call(rpc::WORKFLOW_UPDATE, update("mixed", "none", vec![name.to_owned()], Vec::new())));
    calls.push(call(rpc::WORKFLOW_UPDATE, update("mixed", "none", Vec::new(), vec![name.to_owned()])));
    for (keyspace, workflow) in [("mixed", name), (name, "mix_mt")] {
        let (keyspace, workflow) = (keyspace.to_owned(), workflow.to_owned());
        let delete = WorkflowDeleteRequest {
            keyspace: keyspace.clone(),
            workflow: workflow.clone(),
            keep_data: true,
            keep_routing_rules: true,
            ..WorkflowDeleteRequest::default()
        };
        calls.push(call(rpc::WORKFLOW_DELETE, delete.encode_to_vec()));
        for sql in ["delete from _vt.vreplication", "update _vt.vreplication set state = 'Stopped' where id > 0"] {
            let request = VExecRequest {
                keyspace: keyspace.clone(),
                workflow: workflow.clone(),
                sql: sql.to_owned(),
                ..VExecRequest::default()
            };
            // Without a workflow these name nothing, and are refused for it.
            calls.push(call(rpc::VEXEC, request.encode_to_vec()));
        }
    }
    let quoted = VExecRequest { keyspace: "mixed".into(), workflow: "none".into(), sql: name.into(), ..VExecRequest::default() };
    calls.push(call(rpc::VEXEC, quoted.encode_to_vec()));
    let literal = VExecRequest { sql: format!("delete from _vt.vreplication where message = '{name}'"), ..quoted };
    calls.push(call(rpc::VEXEC, literal.encode_to_vec()));
    for path in [
        rpc::CANCEL_SCHEMA_MIGRATION,
        rpc::CLEANUP_SCHEMA_MIGRATION,
        rpc::COMPLETE_SCHEMA_MIGRATION,
        rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION,
        rpc::LAUNCH_SCHEMA_MIGRATION,
        rpc::RETRY_SCHEMA_MIGRATION,
    ] {
        for (keyspace, uuid) in [("mixed", name), (name, "all")] {
            let request = CancelSchemaMigrationRequest { keyspace: keyspace.into(), uuid: uuid.into(), caller_id: None };
            calls.push(call(path, request.encode_to_vec()));
        }
    }
    let rule = ThrottledAppRule {
        name: "online-ddl".into(),
        ratio: 1.0,
        expires_at: Some(Time { seconds: i64::MAX, nanoseconds: 0 }),
        exempt: false,
    };
    let throttle = UpdateThrottlerConfigRequest {
        keyspace: name.into(),
        throttled_app: Some(rule),
        ..UpdateThrottlerConfigRequest::default()
    };
    calls.push(call(rpc::UPDATE_THROTTLER_CONFIG, throttle.encode_to_vec()));
    calls
}

/// All rows of the tables that are written, and all records.
async fn everything(cluster: &Cluster, io: &ClusterIo) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for alias in TABLETS {
        let tablet = TabletAddress {
            alias: alias.into(),
            cell: "zone1".into(),
            host: "127.0.0.1".into(),
            grpc_port: cluster.port(alias).unwrap(),
        };
        for table in ["vreplication", "schema_migrations"] {
            let query = format!("select * from _vt.{table} order by id").into_bytes();
            let request = ExecuteFetchAsDbaRequest { query, max_rows: 1000, ..ExecuteFetchAsDbaRequest::default() };
            let (request, wait) = (request.encode_to_vec(), Duration::from_secs(20));
            let answer = io.tablets.call(&tablet, rpc::EXECUTE_FETCH_AS_DBA, &request, Effect::Read, wait, None).await;
            let Answer::Called(bytes) = answer else { panic!("{alias} {table}: {answer:?}") };
            all.insert(format!("{alias} {table}"), bytes);
        }
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let Answer::Range(records) = io.topology.range("global", "keyspaces/", deadline).await else { panic!("keyspaces") };
    all.extend(records.into_iter().map(|record| (record.path, record.value)));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_more_than_names_change_nothing() {
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots/mixed-releases");
    let snapshot = Snapshot::load(&snapshot).unwrap();
    let now = snapshot.taken_at;
    let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.unwrap();
    let records = cluster.topo().into_iter().map(|record| CellRecord { ..record });
    let io = ClusterIo {
        topology: Arc::new(MemoryTopology::new(records)),
        tablets: Arc::new(Tablets::new(TabletOptions::default()).unwrap()),
        deadlines: Deadlines::default(),
    };
    let before = everything(&cluster, &io).await;
    let (mut performed, mut refused) = (0, 0);
    for name in names() {
        let start: String = name.chars().take(40).collect();
        for call in calls(&name) {
            let reply = drive(Flow::start(&call, now), &io, None, &Nobody).await;
            performed += 1;
            refused += usize::from(reply.result.is_err());
            let touched: Vec<String> = reply.written.iter().flat_map(|w| &w.outcomes).map(ToString::to_string).collect();
            assert!(touched.iter().all(|outcome| outcome.contains(", 0 rows")), "{} {start:?}: {touched:?}", call.path);
            if let Err(status) = &reply.result {
                assert!(
                    status.message.len() < 66_000,
                    "{} {start:?}: {} bytes: {}",
                    call.path,
                    status.message.len(),
                    status.message.chars().take(300).collect::<String>()
                );
            }
        }
        let after = everything(&cluster, &io).await;
        for (what, bytes) in &before {
            assert!(after.get(what) == Some(bytes), "{start:?} has changed {what}");
        }
        assert_eq!(after.len(), before.len(), "{start:?}");
    }
    assert!(refused > performed / 2, "{refused} of {performed}");
}
