//! `GetSchemaMigrations` and `WorkflowStatus` on every recorded cluster, compared field for field with what vtctld answered there.
//!
//! What differs on purpose is a row of `docs/compat.md` and named here. Single recorded calls are in `replay.rs`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
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
    embedded::{Cluster, Snapshot, TableSize},
    observe::Counts,
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Call, CallOptions, Flow, Reply, Timestamp,
    proto::vtctldata::{
        GetSchemaMigrationsRequest, GetSchemaMigrationsResponse, SchemaMigration, WorkflowStatusRequest, WorkflowStatusResponse,
    },
    rpc,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A recorded cluster, running.
struct Recorded {
    io: ClusterIo,
    taken_at: Timestamp,
    _cluster: Cluster,
}

impl Recorded {
    async fn start(name: &str) -> Self {
        Self::with(Snapshot::load(&folder("snapshots").join(name)).expect("a snapshot")).await
    }

    async fn with(snapshot: Snapshot) -> Self {
        let taken_at = snapshot.taken_at;
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.expect("tablets start");
        let topology = Arc::new(MemoryTopology::new(cluster.topo()));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
        let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
        Self { io, taken_at, _cluster: cluster }
    }

    async fn ask(&self, path: &str, request: Vec<u8>) -> Reply {
        let call = Call { path: path.into(), request, options: CallOptions::default() };
        drive(Flow::start(&call, self.taken_at), &self.io, None, &Counts::default()).await
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

/// vtctld lists tablets in random order and never says when a migration was cancelled.
fn in_order(mut migrations: Vec<SchemaMigration>) -> Vec<SchemaMigration> {
    migrations.sort_by_key(|migration| migration.shard.clone());
    for migration in &mut migrations {
        migration.cancelled_at = None;
    }
    migrations
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

/// What vtctld answered for the snapshot itself, but for the lag in `info`. Statistics are no part of a snapshot: the servers are
/// given those that the answer tells of.
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
        let mut theirs = WorkflowStatusResponse::decode(bytes(&expected["response_bytes"]).as_slice()).expect("a reply");
        assert_eq!(theirs.table_copy_state.keys().collect::<Vec<_>>(), tables, "{name}");
        let mut snapshot = Snapshot::load(&folder("snapshots").join(name)).expect("a snapshot");
        for (table, copied) in &theirs.table_copy_state {
            for (alias, database, rows, bytes) in [
                ("zone1-0000000100", "vt_commerce", copied.rows_total, copied.bytes_total),
                ("zone1-0000000200", "vt_customer", copied.rows_copied, copied.bytes_copied - copied.bytes_copied / 2),
                ("zone2-0000000300", "vt_customer", 0, copied.bytes_copied / 2),
                // Tables of the same name elsewhere count for nothing.
                ("zone2-0000000300", "other", 7, 7),
            ] {
                let sizes = &mut snapshot.tablets.get_mut(alias).expect("a tablet").table_sizes;
                sizes.push(TableSize { database: database.into(), table: table.clone(), rows, bytes, is_view: false });
            }
        }
        let recorded = Recorded::with(snapshot).await;
        let reply = recorded.ask(rpc::WORKFLOW_STATUS, bytes(&expected["request_bytes"])).await;
        let mut ours = WorkflowStatusResponse::decode(reply.result.expect("a reply").as_slice()).expect("a reply");
        assert!(reply.failures.is_empty(), "{name}: {:?}", reply.failures);
        for (table, copied) in &mut ours.table_copy_state {
            let recorded = &theirs.table_copy_state[table];
            // The streams know of rows that the statistics do not show yet.
            assert!(copied.rows_copied >= recorded.rows_copied, "{name}: {table}: {copied:?}");
            copied.rows_copied = recorded.rows_copied;
            copied.rows_percentage = recorded.rows_percentage;
            copied.phase = recorded.phase;
        }
        for status in [&mut ours, &mut theirs] {
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
