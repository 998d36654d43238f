//! Recorded reads of unmodified clients, asked again of the snapshot whose state was the same: same reply, field for field.
//!
//! `recordings/reads.jsonl` has one call a line: where it was recorded, the snapshot that it fits, request and response bytes or
//! the error's text. What differs on purpose is a row of `docs/compat.md` and named here.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cluster, Snapshot},
    observe::Counts,
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Flow, Reply, Timestamp, What,
    proto::{
        query::{Field, QueryResult, Row},
        tabletmanagerdata::VReplicationExecResponse,
        topodata::TabletType,
        vtctldata::{
            GetSchemaMigrationsRequest, GetSchemaMigrationsResponse, GetTabletsResponse, GetTopologyPathResponse,
            SchemaMigration, VDiffShowResponse, WorkflowStatusRequest, WorkflowStatusResponse,
        },
    },
    rpc,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A recorded cluster, running.
struct Recorded {
    /// The topology with the embedded tablets' own ports.
    running: Arc<MemoryTopology>,
    /// The topology as it was recorded.
    stored: Arc<MemoryTopology>,
    tablets: Arc<Tablets>,
    taken_at: Timestamp,
    _cluster: Cluster,
}

impl Recorded {
    async fn start(name: &str) -> Self {
        let snapshot = Snapshot::load(&folder("snapshots").join(name)).expect("a snapshot");
        let taken_at = snapshot.taken_at;
        let stored = Arc::new(MemoryTopology::new(snapshot.topo.clone()));
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.expect("tablets start");
        let running = Arc::new(MemoryTopology::new(cluster.topo()));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
        Self { running, stored, tablets, taken_at, _cluster: cluster }
    }

    async fn ask(&self, path: &str, request: Vec<u8>) -> Reply {
        let asks_tablets = path == rpc::GET_SCHEMA_MIGRATIONS || path == rpc::WORKFLOW_STATUS;
        let topology = if asks_tablets { &self.running } else { &self.stored };
        let io = ClusterIo { topology: topology.clone(), tablets: self.tablets.clone(), deadlines: Deadlines::default() };
        let call = Call { path: path.into(), request, options: CallOptions::default() };
        drive(Flow::start(&call, self.taken_at), &io, None, &Counts::default()).await
    }
}

/// One recorded call.
struct Read {
    place: String,
    snapshot: String,
    path: String,
    request: Vec<u8>,
    answer: Result<Vec<u8>, String>,
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

fn reads() -> Vec<Read> {
    let text = std::fs::read_to_string(folder("recordings/reads.jsonl")).expect("recorded calls");
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| value[key].as_str().expect("a text").to_owned();
        Read {
            place: format!("{} {}", text("from"), text("method")),
            snapshot: text("snapshot"),
            path: text("method"),
            request: bytes(&value["request_bytes"]),
            answer: match value["error"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(bytes(&value["response_bytes"])),
            },
        }
    };
    text.lines().map(read).collect()
}

/// The reply as a message of its RPC; of migrations without their order and what `docs/compat.md` lists.
fn message(pool: &DescriptorPool, path: &str, reply: &[u8]) -> DynamicMessage {
    let method = path.rsplit('/').next().expect("a method");
    let name = format!("vtctldata.{method}Response");
    let descriptor = pool.get_message_by_name(&name).unwrap_or_else(|| panic!("no message {name}"));
    let decode = |bytes: &[u8]| DynamicMessage::decode(descriptor.clone(), bytes).expect("such a message");
    if method == "GetTopologyPath" {
        // The same record, written at another time.
        let mut reply = GetTopologyPathResponse::decode(reply).expect("a place");
        reply.cell.as_mut().expect("a place").version = 0;
        return decode(&reply.encode_to_vec());
    }
    if path == rpc::GET_SCHEMA_MIGRATIONS {
        let migrations = in_order(GetSchemaMigrationsResponse::decode(reply).expect("migrations").migrations);
        return decode(&GetSchemaMigrationsResponse { migrations }.encode_to_vec());
    }
    decode(reply)
}

/// vtctld lists tablets in random order and never says when a migration was cancelled.
fn in_order(mut migrations: Vec<SchemaMigration>) -> Vec<SchemaMigration> {
    migrations.sort_by_key(|migration| migration.shard.clone());
    for migration in &mut migrations {
        migration.cancelled_at = None;
    }
    migrations
}

#[tokio::test]
async fn recorded_reads_are_answered_as_vtctld_did() {
    // One for both sides: messages of two pools are never equal.
    let pool = DescriptorPool::decode(vtflow_planner::DESCRIPTORS).expect("descriptors");
    let mut clusters: BTreeMap<String, Recorded> = BTreeMap::new();
    let mut compared: BTreeMap<String, usize> = BTreeMap::new();
    for read in reads() {
        if !clusters.contains_key(&read.snapshot) {
            clusters.insert(read.snapshot.clone(), Recorded::start(&read.snapshot).await);
        }
        let reply = clusters[&read.snapshot].ask(&read.path, read.request).await;
        match (reply.result, read.answer) {
            (Ok(ours), Ok(theirs)) if read.path.ends_with("/GetTablets") => {
                let decode = |reply: &[u8]| GetTabletsResponse::decode(reply).expect("tablets").tablets;
                let (ours, mut theirs) = (decode(&ours), decode(&theirs));
                // By alias, vtctld compares primaries of different shards and calls the older one UNKNOWN.
                for (ours, theirs) in ours.iter().zip(&mut theirs) {
                    if read.place.contains(" by alias") && theirs.r#type() == TabletType::Unknown {
                        theirs.r#type = ours.r#type;
                    }
                }
                assert_eq!(ours, theirs, "{}", read.place);
            }
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(message(&pool, &read.path, &ours), message(&pool, &read.path, &theirs), "{}", read.place);
            }
            (Err(ours), Err(theirs)) => assert_eq!(ours.message, theirs, "{}", read.place),
            (ours, theirs) => panic!("{}: ours {ours:?}, theirs {theirs:?}", read.place),
        }
        *compared.entry(read.path).or_default() += 1;
    }
    let missing: Vec<_> = rpc::SERVED.iter().map(|served| served.path).filter(|path| !compared.contains_key(*path)).collect();
    // GetWorkflows is compared in snapshots.rs, the other two below.
    assert_eq!(
        missing,
        [rpc::GET_WORKFLOWS, rpc::VDIFF_SHOW, rpc::WORKFLOW_STATUS],
        "every other read that is served has a recorded call"
    );
}

/// What the tablets said when it was recorded is given to the flow again: the reply is vtctld's.
#[test]
fn vdiffs_are_what_the_tablets_say() {
    let text = std::fs::read_to_string(folder("recordings/vdiff.jsonl")).expect("recorded calls");
    let calls: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(calls.len(), 5);
    for recorded in calls {
        let place = &recorded["from"];
        let snapshot = Snapshot::load(&folder("snapshots").join(recorded["snapshot"].as_str().expect("a name"))).expect("one");
        let call =
            Call { path: rpc::VDIFF_SHOW.into(), request: bytes(&recorded["request_bytes"]), options: CallOptions::default() };
        let mut flow = Flow::start(&call, snapshot.taken_at);
        let mut asks = flow.asks();
        while let Some(ask) = asks.pop() {
            flow.answer(ask.id, tablet_answer(&snapshot, &recorded["tablets"], &ask));
            asks.extend(flow.asks());
        }
        let ours = flow.into_reply().expect("nothing is outstanding").result;
        match (ours, recorded["error"].as_str()) {
            (Ok(ours), None) => {
                let theirs = bytes(&recorded["response_bytes"]);
                let decode = |reply: &[u8]| VDiffShowResponse::decode(reply).expect("a reply");
                assert_eq!(decode(&ours), decode(&theirs), "{place}");
            }
            (Err(ours), Some(theirs)) => assert_eq!(ours.message, theirs, "{place}"),
            (ours, theirs) => panic!("{place}: ours {ours:?}, theirs {theirs:?}"),
        }
    }
}

/// The snapshot's topology; of tablets, those in `tablets` have the workflow and answer what was recorded.
fn tablet_answer(snapshot: &Snapshot, tablets: &Value, ask: &Ask) -> Answer {
    let records = |cell: &str| snapshot.topo.iter().filter(move |record| record.cell == cell).collect::<Vec<_>>();
    match &ask.what {
        What::TopoGet { cell, path } => {
            let records = records(cell);
            let record = records.iter().find(|record| record.path == *path).expect("a record that exists");
            Answer::Found { value: record.value.clone(), version: record.version }
        }
        What::TopoRange { cell, prefix } | What::TopoList { cell, prefix } => {
            let found = records(cell).into_iter().filter(|record| record.path.starts_with(prefix));
            let found =
                found.map(|r| vtflow_planner::Record { path: r.path.clone(), value: r.value.clone(), version: r.version });
            Answer::Range(found.collect())
        }
        What::TabletCall { tablet, path, .. } if *path == rpc::VDIFF => Answer::Called(bytes(&tablets[&tablet.alias])),
        What::TabletCall { tablet, .. } => {
            let row = Row { lengths: vec![1], values: b"w".to_vec() };
            let rows = if tablets[&tablet.alias].is_null() { vec![] } else { vec![row] };
            let field = Field { name: b"workflow".to_vec(), r#type: 10_262, ..Field::default() };
            let result = QueryResult { fields: vec![field], rows, ..QueryResult::default() };
            Answer::Called(VReplicationExecResponse { result: Some(result) }.encode_to_vec())
        }
    }
}

/// What vtctld answered for the snapshot itself.
#[tokio::test]
async fn migrations_of_every_snapshot() {
    for (name, count) in [
        ("movetables-copying", 4),
        ("movetables-running", 4),
        ("odd-rows", 18),
        ("onlineddl-mixed", 10),
        ("reshard-running", 4),
        ("shards-without-primary", 10),
        ("stream-error", 10),
    ] {
        let file = folder("snapshots").join(name).join("expect/GetSchemaMigrations.json");
        let expected: Value = serde_json::from_slice(&std::fs::read(file).expect("recorded")).expect("JSON");
        let recorded = Recorded::start(name).await;
        let reply = recorded.ask(rpc::GET_SCHEMA_MIGRATIONS, bytes(&expected["request_bytes"])).await;
        let ours = GetSchemaMigrationsResponse::decode(reply.result.expect("a reply").as_slice()).expect("a reply").migrations;
        let theirs =
            GetSchemaMigrationsResponse::decode(bytes(&expected["response_bytes"]).as_slice()).expect("a reply").migrations;
        assert_eq!(ours.len(), count, "{name}");
        for ours in &ours {
            assert_eq!(ours.cancelled_at.is_some(), ours.status == 2, "{name}: {} says when it was cancelled", ours.uuid);
        }
        assert_eq!(in_order(ours), in_order(theirs), "{name}");
    }
}

/// Tablets of five releases, of which vtctld reads the status of no workflow: the newest statement is not known to the oldest.
#[tokio::test]
async fn status_on_mixed_releases() {
    let recorded = Recorded::start("mixed-releases").await;
    for (workflow, is_copying) in [("mix_mt", false), ("mix_copy", true)] {
        let request = WorkflowStatusRequest { keyspace: "mixed".into(), workflow: workflow.into(), shards: vec![] };
        let reply = recorded.ask(rpc::WORKFLOW_STATUS, request.encode_to_vec()).await;
        let status = WorkflowStatusResponse::decode(reply.result.expect("a reply").as_slice()).expect("a reply");
        let shards: Vec<_> = status.shard_streams.keys().map(String::as_str).collect();
        assert!(shards.len() >= 4 && shards.contains(&"mixed/-40") && shards.contains(&"mixed/c0-"), "{workflow}: {shards:?}");
        assert_eq!(status.traffic_state, "Reads Not Switched. Writes Not Switched", "{workflow}");
        assert_eq!(!status.table_copy_state.is_empty(), is_copying, "{workflow}");
    }
}

/// What vtctld answered for the snapshot itself, but for the lag in `info`, and for tables: embedded tablets have no statistics.
#[tokio::test]
async fn status_of_every_snapshot() {
    for (name, tables) in [
        ("movetables-copying", vec!["big2", "orders2"]),
        ("movetables-running", vec![]),
        ("stream-error", vec![]),
        ("reshard-running", vec![]),
    ] {
        let file = folder("snapshots").join(name).join("expect/WorkflowStatus.json");
        let expected: Value = serde_json::from_slice(&std::fs::read(file).expect("recorded")).expect("JSON");
        let recorded = Recorded::start(name).await;
        let reply = recorded.ask(rpc::WORKFLOW_STATUS, bytes(&expected["request_bytes"])).await;
        let mut ours = WorkflowStatusResponse::decode(reply.result.expect("a reply").as_slice()).expect("a reply");
        let mut theirs = WorkflowStatusResponse::decode(bytes(&expected["response_bytes"]).as_slice()).expect("a reply");
        assert_eq!(ours.table_copy_state.keys().collect::<Vec<_>>(), tables, "{name}");
        assert_eq!(theirs.table_copy_state.keys().collect::<Vec<_>>(), tables, "{name}");
        assert_eq!(reply.failures.is_empty(), tables.is_empty(), "{name}: {:?}", reply.failures);
        for status in [&mut ours, &mut theirs] {
            status.table_copy_state.clear();
            for stream in status.shard_streams.values_mut().flat_map(|shard| &mut shard.streams) {
                stream.info = without_lag(&stream.info);
            }
        }
        assert_eq!(ours, theirs, "{name}");
    }
}

/// A stream's `info` without the words whose number is the lag; vtctld has an empty part behind it.
fn without_lag(info: &str) -> String {
    let parts = info.split("; ").filter(|part| !part.is_empty() && !part.starts_with("VStream Lag: "));
    parts.collect::<Vec<_>>().join("; ")
}

/// Tablets of five releases, whose rows vtctld reads under the column names of whichever answered first.
#[tokio::test]
async fn migrations_of_mixed_releases() {
    let recorded = Recorded::start("mixed-releases").await;
    let request = GetSchemaMigrationsRequest { keyspace: "mixed".into(), ..GetSchemaMigrationsRequest::default() };
    let reply = recorded.ask(rpc::GET_SCHEMA_MIGRATIONS, request.encode_to_vec()).await;
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let ours = GetSchemaMigrationsResponse::decode(reply.result.expect("a reply").as_slice()).expect("a reply").migrations;
    let mut rows = Vec::new();
    for (shard, uid) in [("-40", 600), ("40-80", 610), ("80-c0", 620), ("c0-", 630), ("c0-e0", 650)] {
        let file = folder("snapshots").join(format!("mixed-releases/tablets/zone1-{uid:010}.json"));
        let dump: Value = serde_json::from_slice(&std::fs::read(file).expect("readable")).expect("JSON");
        let table = &dump["sidecar"]["schema_migrations"];
        let columns: Vec<_> = table["columns"].as_array().expect("columns").iter().map(|column| &column["name"]).collect();
        for row in table["rows"].as_array().expect("rows") {
            let at = |name: &str| &row[columns.iter().position(|column| *column == name).expect("a column")];
            let text = |name: &str| at(name).as_str().unwrap_or_default().to_owned();
            rows.push((
                shard.to_owned(),
                text("migration_uuid"),
                text("migration_status"),
                text("mysql_table"),
                text("ddl_action"),
                text("stage"),
                text("message"),
                at("table_rows").as_i64().unwrap_or_default(),
                !text("started_timestamp").is_empty(),
            ));
        }
    }
    let read: Vec<_> = ours
        .into_iter()
        .map(|m| {
            let status = m.status().as_str_name().to_lowercase();
            (m.shard, m.uuid, status, m.table, m.ddl_action, m.stage, m.message, m.table_rows, m.started_at.is_some())
        })
        .collect();
    assert_eq!(read, rows);
    assert!(rows.len() >= 13, "three migrations on four shards, one on the fifth");
}
