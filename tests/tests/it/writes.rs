//! Every recorded write of unmodified clients (v18, v20, v22, v24, VTAdmin) that vtflow offers, performed again on embedded
//! tablets that hold the rows of that moment: the same answer and the same rows afterwards, but for what [`EXPECTED`] names.
//!
//! `recordings/writes.jsonl` has the calls and the rows before and after; what is compared is in `recordings/README.md`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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
use tokio::time::Instant;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cell, Cluster, Snapshot, TabletRows},
    observe::Counts,
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Answer, Call, CallOptions, Effect, Flow, Reply, TabletAddress,
    formats::binlog_source,
    proto::{
        tabletmanagerdata::ExecuteFetchAsDbaRequest,
        vtctldata::{CancelSchemaMigrationResponse, WorkflowDeleteResponse, WorkflowUpdateResponse},
    },
    rpc,
    sidecar::result::RowSet,
};

/// Recorded calls, and how many of them have the same answer and leave the same rows.
const RECORDED: usize = 70;
const EQUAL: usize = 56;

const KEPT_ORDER: &str = "`start`, `stop` (`in_order:`)";
const KEPT_CELLS: &str = "VTAdmin's buttons";
const OLD_TABLETS: &str = "tablets of v18 to v20 (WorkflowUpdate)";
const OLDER_THAN_18: &str = "tablets older than v18 (WorkflowUpdate)";
const LOOK_FIRST: &str = "refused before anything is changed";
const SOME_SHARDS: &str = "a migration that some shards do not know";
const ONE_BY_ONE: &str = "`cleanup all`";
const BY_ITSELF: &str = "a migration went on by itself while it was recorded";

/// Calls whose outcome differs: where recorded, in what, and the row of `docs/compat.md` (or why the recording cannot be met).
const EXPECTED: &[(&str, &[&str], &str)] = &[
    ("vtctldclient 187", &["tablet_types"], KEPT_ORDER),
    ("vtctldclient 280", &["reply"], LOOK_FIRST),
    ("vtctldclient 300", &["cancelled_timestamp", "message", "migration_status", "reply"], BY_ITSELF),
    ("vtctldclient-v18 46", &["tablet_types"], KEPT_ORDER),
    ("vtctldclient-v22 46", &["tablet_types"], KEPT_ORDER),
    ("vtadmin 97", &["cell", "tablet_types"], KEPT_CELLS),
    ("mixed-releases 4", &["reply", "state", "tablet_types"], OLDER_THAN_18),
    ("mixed-releases 9", &["reply", "state"], OLDER_THAN_18),
    // Nor does the stopped stream of v18 and of v20 start.
    ("mixed-releases 10", &["cell", "reply", "state"], OLD_TABLETS),
    ("mixed-releases 11", &["reply", "source"], LOOK_FIRST),
    // On v20 the migration failed by itself before it was cancelled.
    ("mixed-releases 17", &["cancelled_timestamp", "message", "migration_status", "reply"], SOME_SHARDS),
    ("mixed-releases 18", &["reply"], LOOK_FIRST),
    ("mixed-releases 21", &["reply", "retain_artifacts_seconds"], ONE_BY_ONE),
    ("mixed-releases 29", &["source"], OLD_TABLETS),
];

/// Columns that are compared, by table. Times count as given or not.
const COMPARED: [(&str, &[&str]); 2] = [
    ("vreplication", &["workflow", "source", "cell", "tablet_types", "state", "message", "options"]),
    (
        "schema_migrations",
        &[
            "migration_status",
            "retries",
            "tablet",
            "message",
            "retain_artifacts_seconds",
            "postpone_completion",
            "postpone_launch",
            "force_cutover",
            "cancelled_timestamp",
            "completed_timestamp",
            "tablet_failure",
        ],
    ),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

/// What the cluster held before a recorded call.
fn state(call: &Value, bases: &BTreeMap<&str, Snapshot>) -> Snapshot {
    let is_mixed = call["from"].as_str().expect("a place").starts_with("mixed-releases");
    let mut snapshot = bases[if is_mixed { "mixed-releases" } else { "odd-rows" }].clone();
    let newest = snapshot.tablets.get("zone1-0000000200").filter(|_| !is_mixed).cloned();
    for (alias, rows) in &mut snapshot.tablets {
        if let Some(newest) = &newest {
            // Every tablet of that cluster had the newest tables.
            *rows = newest.clone();
        }
        rows.sidecar.values_mut().for_each(|table| table.rows.clear());
        for (table, recorded) in call["before"][alias.as_str()].as_object().into_iter().flatten() {
            for (id, row) in recorded.as_object().expect("rows") {
                fill(rows, table, id, row);
            }
        }
    }
    snapshot
}

fn fill(rows: &mut TabletRows, table: &str, id: &str, row: &Value) {
    let table = rows.sidecar.get_mut(table).expect("a table of the release");
    let cell = |column: &vtflow::embedded::ColumnDecl| {
        let is_number = column.mysql_type.contains("int");
        let value = if column.name == "id" { Some(id) } else { row[&column.name].as_str() };
        let is_null = row.get(&column.name).is_some_and(Value::is_null) || column.mysql_type.contains("timestamp");
        match value {
            Some(text) if is_number => Cell::Int(text.parse().expect("a number")),
            Some(text) => Cell::Text(text.to_owned()),
            None if is_null && column.nullable => Cell::Null,
            None if is_number => Cell::Int(0),
            None if column.mysql_type == "json" => Cell::Text("{}".to_owned()),
            None => Cell::Text(String::new()),
        }
    };
    let row = table.columns.iter().map(cell).collect();
    table.rows.push(row);
}

/// A cluster in which requests are performed: embedded tablets, the topology in memory.
struct Running {
    cluster: Cluster,
    io: ClusterIo,
    now: vtflow_planner::Timestamp,
}

impl Running {
    async fn start(snapshot: Snapshot) -> Self {
        let now = snapshot.taken_at;
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.expect("tablets start");
        assert!(cluster.warnings().is_empty(), "{:?}", cluster.warnings());
        let topology = Arc::new(MemoryTopology::new(cluster.topo()));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
        let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
        Self { cluster, io, now }
    }

    async fn perform(&self, call: &Call) -> Reply {
        let reply = drive(Flow::start(call, self.now), &self.io, None, &Counts::default()).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        let Answer::Range(records) = self.io.topology.range("global", "keyspaces/", deadline).await else { panic!("keyspaces") };
        assert!(records.iter().all(|record| !record.path.contains("/locks/")), "what is locked is unlocked");
        reply
    }

    /// The rows of a tablet's table, by id.
    async fn rows(&self, alias: &str, table: &str) -> BTreeMap<i64, BTreeMap<String, Option<String>>> {
        let tablet = TabletAddress {
            alias: alias.into(),
            cell: "zone1".into(),
            host: "127.0.0.1".into(),
            grpc_port: self.cluster.port(alias).expect("a tablet"),
        };
        let query = format!("select * from _vt.{table}").into_bytes();
        let request = ExecuteFetchAsDbaRequest { query, max_rows: 10_000, ..ExecuteFetchAsDbaRequest::default() };
        let request = request.encode_to_vec();
        let wait = Duration::from_secs(20);
        let answer = self.io.tablets.call(&tablet, rpc::EXECUTE_FETCH_AS_DBA, &request, Effect::Read, wait, None).await;
        let Answer::Called(bytes) = answer else { panic!("{answer:?}") };
        let set = RowSet::from_execute_fetch(&bytes).expect("rows");
        let columns = COMPARED.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, columns)| columns);
        let read = |row: vtflow_planner::sidecar::Row<'_>| {
            let values = columns.iter().filter(|column| set.has_column(column)).map(|column| {
                let value = row.value(column).flatten().map(|value| String::from_utf8_lossy(value).into_owned());
                ((*column).to_owned(), value)
            });
            (row.integer("id").expect("a number").expect("an id"), values.collect())
        };
        set.rows().map(read).collect()
    }
}

/// A value as it is compared: what a tablet does by itself soon afterwards makes no difference.
fn comparable(column: &str, value: Option<&str>) -> String {
    let value = value.unwrap_or_default();
    match column {
        "source" => format!("{:?}", binlog_source::parse(value.as_bytes())),
        "options" => serde_json::from_str::<Value>(value).map_or_else(|_| value.to_owned(), |value| value.to_string()),
        // A stream that starts copies and runs; a migration that is put back waits, is ready and runs.
        "state" if matches!(value, "Copying" | "Running") => "Running or Copying".to_owned(),
        "migration_status" if matches!(value, "queued" | "ready" | "running") => "pending".to_owned(),
        "cancelled_timestamp" | "completed_timestamp" => if value.is_empty() { "not" } else { "given" }.to_owned(),
        _ => value.to_owned(),
    }
}

/// In what the rows differ from the recorded ones: columns, with an example in words.
async fn rows_differ(running: &Running, call: &Value) -> Vec<(String, String)> {
    let mut differences = Vec::new();
    for (alias, tables) in call["before"].as_object().expect("tablets") {
        for (table, before) in tables.as_object().expect("tables") {
            let ours = running.rows(alias, table).await;
            let theirs = &call["changed"][alias][table];
            let completes = call["method"] == "CompleteSchemaMigration";
            for (id, before) in before.as_object().expect("rows") {
                let ours = ours.get(&id.parse().expect("a number")).expect("no row is ever deleted");
                for (column, value) in ours {
                    let recorded = theirs[id].get(column).unwrap_or(&before[column]).as_str();
                    // A migration that may complete does so, where there is a scheduler.
                    let is_later = completes && matches!(column.as_str(), "migration_status" | "completed_timestamp");
                    // Values that are 0 are not recorded.
                    let value = value.as_deref().filter(|value| *value != "0");
                    let recorded = recorded.filter(|value| *value != "0");
                    let (mine, other) = (comparable(column, value), comparable(column, recorded));
                    if mine != other && !is_later {
                        differences.push((column.clone(), format!("{alias} {table} {id} {column}: ours {mine}, theirs {other}")));
                    }
                }
            }
        }
    }
    differences
}

fn reply_differs(call: &Value, reply: &Reply) -> Option<String> {
    let theirs = &call["response"];
    match (&reply.result, theirs.is_null()) {
        (Err(status), true) => {
            let (code, text) = (call["error"]["code"].as_str(), call["error"]["message"].as_str());
            let same = Some(format!("{:?}", status.code).as_str()) == code && Some(status.message.as_str()) == text;
            (!same).then(|| format!("ours {status:?}, theirs {code:?} {text:?}"))
        }
        (Ok(ours), false) => {
            let theirs = bytes(theirs);
            let (ours, theirs) = if call["method"] == "WorkflowUpdate" {
                let read = |bytes: &[u8]| {
                    let mut response = WorkflowUpdateResponse::decode(bytes).expect("a response");
                    response.details.sort_by_key(|info| info.tablet.clone().map(|alias| (alias.cell, alias.uid)));
                    format!("{response:?}")
                };
                (read(ours), read(&theirs))
            } else if call["method"] == "WorkflowDelete" {
                let read = |bytes: &[u8]| {
                    let mut response = WorkflowDeleteResponse::decode(bytes).expect("a response");
                    response.details.sort_by_key(|info| info.tablet.clone().map(|alias| (alias.cell, alias.uid)));
                    format!("{response:?}")
                };
                (read(ours), read(&theirs))
            } else {
                // The six messages are one.
                let read = |bytes: &[u8]| format!("{:?}", CancelSchemaMigrationResponse::decode(bytes).expect("a response"));
                (read(ours), read(&theirs))
            };
            (ours != theirs).then(|| format!("ours {ours}, theirs {theirs}"))
        }
        (ours, _) => Some(format!("ours {ours:?}, theirs {}", call["error"]["message"])),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_write_leaves_the_rows_that_it_left_there() {
    let bases = ["odd-rows", "mixed-releases"]
        .map(|name| (name, Snapshot::load(&folder("snapshots").join(name)).expect("a snapshot")))
        .into();
    let text = fs::read_to_string(folder("recordings/writes.jsonl")).expect("recorded calls");
    let (mut recorded, mut equal, mut wrong, mut met) = (0, 0, Vec::new(), BTreeSet::new());
    for line in text.lines() {
        let call: Value = serde_json::from_str(line).expect("JSON");
        let from = call["from"].as_str().expect("a place");
        recorded += 1;
        let running = Running::start(state(&call, &bases)).await;
        let path = format!("/vtctlservice.Vtctld/{}", call["method"].as_str().expect("a method"));
        let reply = running.perform(&Call { path, request: bytes(&call["request"]), options: CallOptions::default() }).await;
        let mut differences = rows_differ(&running, &call).await;
        differences.extend(reply_differs(&call, &reply).map(|text| ("reply".to_owned(), text)));
        let kinds: BTreeSet<&str> = differences.iter().map(|(kind, _)| kind.as_str()).collect();
        let wanted = EXPECTED.iter().find(|(place, ..)| *place == from);
        met.extend(wanted.map(|(place, ..)| *place));
        let wanted: BTreeSet<&str> = wanted.iter().flat_map(|(_, kinds, _)| kinds.iter().copied()).collect();
        if kinds != wanted {
            let texts: Vec<&str> = differences.iter().map(|(_, text)| text.as_str()).collect();
            wrong.push(format!("{from} {}: {kinds:?} instead of {wanted:?}\n    {}", call["method"], texts.join("\n    ")));
        } else if wanted.is_empty() {
            equal += 1;
        }
    }
    let ledger = fs::read_to_string(folder("../docs/compat.md")).expect("docs/compat.md");
    for (place, _, row) in EXPECTED.iter().filter(|(_, _, row)| *row != BY_ITSELF) {
        assert!(ledger.contains(&format!("\n| {row} |")), "{place}: docs/compat.md has no row {row:?}");
    }
    assert!(wrong.is_empty(), "{} of {recorded} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(met.len(), EXPECTED.len(), "each expected difference is met: {met:?}");
    assert_eq!((recorded, equal), (RECORDED, EQUAL));
}

/// Recorded deletions, and how many of them have the same answer and leave the same rows.
const DELETIONS: usize = 13;
const EQUAL_DELETIONS: usize = 10;

const KEPT: &str = "without `keep_data` and `keep_routing_rules`";
const DELETES_EVERYWHERE: &str = "tablets older than v20 (WorkflowDelete)";

/// Deletions whose outcome differs, as [`EXPECTED`].
const EXPECTED_DELETIONS: &[(&str, &[&str], &str)] = &[
    ("mixed-releases 12", &["reply"], KEPT),
    ("mixed-releases 13", &["reply"], KEPT),
    ("mixed-releases 27", &["reply", "rows"], DELETES_EVERYWHERE),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_deletion_leaves_the_rows_that_it_left_there() {
    let bases = ["odd-rows", "mixed-releases"]
        .map(|name| (name, Snapshot::load(&folder("snapshots").join(name)).expect("a snapshot")))
        .into();
    let text = fs::read_to_string(folder("recordings/deletes.jsonl")).expect("recorded calls");
    let (mut recorded, mut equal, mut wrong) = (0, 0, Vec::new());
    for line in text.lines() {
        let call: Value = serde_json::from_str(line).expect("JSON");
        let from = call["from"].as_str().expect("a place");
        recorded += 1;
        let running = Running::start(state(&call, &bases)).await;
        let path = rpc::WORKFLOW_DELETE.to_owned();
        let reply = running.perform(&Call { path, request: bytes(&call["request"]), options: CallOptions::default() }).await;
        let mut differences: Vec<(String, String)> =
            reply_differs(&call, &reply).map(|text| ("reply".to_owned(), text)).into_iter().collect();
        for (alias, tables) in call["left"].as_object().expect("tablets") {
            for (table, left) in tables.as_object().expect("tables") {
                let ours: BTreeSet<String> = running.rows(alias, table).await.into_keys().map(|id| id.to_string()).collect();
                let theirs: BTreeSet<String> =
                    left.as_array().expect("ids").iter().map(|id| id.as_str().expect("an id").to_owned()).collect();
                if ours != theirs {
                    differences.push(("rows".to_owned(), format!("{alias} {table}: ours {ours:?}, theirs {theirs:?}")));
                }
            }
        }
        let kinds: BTreeSet<&str> = differences.iter().map(|(kind, _)| kind.as_str()).collect();
        let wanted = EXPECTED_DELETIONS.iter().find(|(place, ..)| *place == from);
        let wanted: BTreeSet<&str> = wanted.iter().flat_map(|(_, kinds, _)| kinds.iter().copied()).collect();
        if kinds != wanted {
            let texts: Vec<&str> = differences.iter().map(|(_, text)| text.as_str()).collect();
            wrong.push(format!("{from}: {kinds:?} instead of {wanted:?}\n    {}", texts.join("\n    ")));
        } else if wanted.is_empty() {
            equal += 1;
        }
    }
    let ledger = fs::read_to_string(folder("../docs/compat.md")).expect("docs/compat.md");
    for (place, _, row) in EXPECTED_DELETIONS {
        assert!(ledger.contains(&format!("\n| {row} |")), "{place}: docs/compat.md has no row {row:?}");
    }
    assert!(wrong.is_empty(), "{} of {recorded} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((recorded, equal), (DELETIONS, EQUAL_DELETIONS));
}
