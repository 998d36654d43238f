//! Every recorded read of unmodified clients (v16, v18, v20, v22, v24, VTAdmin), sent again over a socket: same answer, field for
//! field, but for the rows of `docs/compat.md` that are named here.
//!
//! `recordings/replay.jsonl` has the calls, `recordings/states.json` what the topology and the tablets held at each of them: what
//! the tablets answered to vtctld is put into embedded tablets, and a server in this process is asked. How both were made is in
//! `recordings/README.md`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use tonic::{Code, Request, Status, metadata::AsciiMetadataKey, transport::Channel};
use vtflow::{
    deadline::Deadlines,
    drive::ClusterIo,
    embedded::{Cell, Cluster, Snapshot, TableRows, TabletRows},
    raw::RawCodec,
    server::{Server, ServerOptions},
    tablet::{TabletOptions, Tablets},
    topo::{CellRecord, MemoryTopology},
};
use vtflow_planner::{
    Timestamp,
    proto::{
        topodata::TabletType,
        vtctldata::{
            GetSchemaMigrationsResponse, GetTabletsResponse, GetTopologyPathResponse, GetWorkflowsResponse,
            WorkflowStatusResponse,
        },
    },
    rpc, serve,
};

/// Calls in the recordings; how many different ones of them are sent, told apart by client, request, answer and state; how many
/// answers have not one field that differs.
const RECORDED: usize = 311;
const REPLAYED: usize = 286;
const EQUAL: usize = 251;

/// What cannot be asked again, and why.
const NOT_REPLAYED: &[(&str, &str)] = &[
    ("vtctldclient 173", "its client gave up after 20 ms: which tablets had answered by then is chance"),
    ("vtctldclient-v16 45", "its client gave up after 5 ms, before connections to tablets were made"),
    ("vtctldclient-v18 70", "its client gave up after 5 ms, before any tablet answered"),
];

/// Reads without a call here, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("/vtctlservice.Vtctl/ExecuteVtctlCommand", "a stream of texts, whose recorded calls `legacy.rs` compares"),
    ("/vtctlservice.Vtctld/GetVersion", "no client was recorded with it"),
    ("/vtflow.Vtflow/Diagnose", "our own: recorded moments are in the planner's tests, `diagnose.rs`"),
];

/// Rows of `docs/compat.md` that calls meet, and how many do.
const DIFFERING: &[(&str, usize)] =
    &[("`GetTablets` by alias", 1), ("`VStream Lag` in `info`", 8), ("`cancelled_at`", 19), ("tablets older than v20", 7)];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

/// One recorded call, with everybody who got the same answer to it.
struct Recorded {
    from: Vec<String>,
    path: String,
    request: Vec<u8>,
    answer: Result<Vec<u8>, (Code, String)>,
    value: Value,
}

fn recorded() -> Vec<Recorded> {
    let text = std::fs::read_to_string(folder("recordings/replay.jsonl")).expect("recorded calls");
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let error = &value["error"];
        Recorded {
            from: value["from"].as_array().expect("places").iter().map(text).collect(),
            path: format!("/vtctlservice.Vtctld/{}", text(&value["method"])),
            request: bytes(&value["request"]),
            answer: if error.is_null() {
                Ok(bytes(&value["response"]))
            } else {
                let codes = (0..17).map(Code::from_i32);
                let code =
                    codes.into_iter().find(|code| format!("{code:?}") == text(&error["code"]).replace("Canceled", "Cancelled"));
                Err((code.expect("a code"), text(&error["message"])))
            },
            value,
        }
    };
    text.lines().map(read).collect()
}

/// What the topology and the tablets held.
struct States {
    value: Value,
    bases: BTreeMap<String, Snapshot>,
}

impl States {
    fn load() -> Self {
        let text = std::fs::read_to_string(folder("recordings/states.json")).expect("recorded states");
        let bases = ["odd-rows", "mixed-releases"].map(|name| {
            let snapshot = Snapshot::load(&folder("snapshots").join(name)).expect("a snapshot");
            (name.to_owned(), snapshot)
        });
        Self { value: serde_json::from_str(&text).expect("JSON"), bases: bases.into() }
    }

    /// The state in which a call was answered.
    fn of(&self, call: &Recorded) -> Snapshot {
        let topo = &self.value["topo"][call.value["topo"].as_str().expect("a state")];
        let mut snapshot = self.bases[topo[0].as_str().expect("a snapshot")].clone();
        for change in topo[1].as_array().expect("changes") {
            let [cell, path] = [0, 1].map(|index| change[index].as_str().expect("a text"));
            let old = snapshot.topo.iter().find(|record| record.cell == cell && record.path == path);
            let version = old.map_or(1, |record| record.version);
            snapshot.topo.retain(|record| record.cell != cell || record.path != path);
            if !change[2].is_null() {
                let value = bytes(&change[2]);
                snapshot.topo.push(CellRecord { cell: cell.into(), path: path.into(), version, value });
            }
        }
        if let Some(now) = call.value["now"].as_i64() {
            snapshot.taken_at = Timestamp { seconds: now, nanos: 0 };
        }
        if let Some(tablets) = call.value["tablets"].as_object() {
            // Every tablet of that cluster had the newest tables.
            let newest = self.bases["odd-rows"].tablets["zone1-0000000200"].clone();
            snapshot.tablets = self.bases["odd-rows"].tablets.keys().map(|alias| (alias.clone(), emptied(&newest))).collect();
            for (alias, tables) in tablets {
                let rows = snapshot.tablets.entry(alias.clone()).or_insert_with(|| emptied(&newest));
                for (name, index) in tables.as_object().expect("tables") {
                    let index = usize::try_from(index.as_u64().expect("a number")).expect("small");
                    self.fill(rows.sidecar.get_mut(name).expect("a table of v24"), name, index);
                }
            }
        }
        snapshot
    }

    fn fill(&self, table: &mut TableRows, name: &str, index: usize) {
        let columns = self.value["columns"][name].as_array().expect("columns");
        let rows = &self.value["tables"][index];
        assert_eq!(rows[0], name);
        for id in rows[1].as_array().expect("rows") {
            let row = &self.value["rows"][name][usize::try_from(id.as_u64().expect("a number")).expect("small")];
            let cell = |declared: &vtflow::embedded::ColumnDecl| {
                let given = columns.iter().position(|column| column == &Value::from(declared.name.as_str()));
                match given.map(|at| &row[at]) {
                    Some(Value::Number(number)) => Cell::Int(number.as_i64().expect("an i64")),
                    Some(Value::String(text)) => Cell::Text(text.clone()),
                    Some(Value::Null) | None if declared.nullable => Cell::Null,
                    _ if declared.mysql_type.contains("int") => Cell::Int(0),
                    _ => Cell::Text(String::new()),
                }
            };
            let row = table.columns.iter().map(cell).collect();
            table.rows.push(row);
        }
    }
}

fn emptied(rows: &TabletRows) -> TabletRows {
    let mut rows = rows.clone();
    rows.sidecar.values_mut().for_each(|table| table.rows.clear());
    rows
}

/// A server with a recorded state behind it.
struct Serving {
    server: Server,
    _cluster: Option<Cluster>,
}

impl Serving {
    async fn start(snapshot: Snapshot, asks_tablets: bool) -> Self {
        let now = snapshot.taken_at;
        let (cluster, topo) = if asks_tablets {
            let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.expect("tablets start");
            assert!(cluster.warnings().is_empty(), "{:?}", cluster.warnings());
            let topo = cluster.topo();
            (Some(cluster), topo)
        } else {
            (None, snapshot.topo)
        };
        let topology = Arc::new(MemoryTopology::new(topo));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
        let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
        let options = ServerOptions {
            bind_address: "127.0.0.1".into(),
            grpc_port: 0,
            http_port: Some(0),
            has_log: false,
            ..ServerOptions::default()
        };
        let server = Server::start(options, io, Arc::new(move || now), None).await.expect("a server");
        Self { server, _cluster: cluster }
    }

    /// Sends what the client sent: its name, its headers, its deadline, its bytes.
    async fn ask(&self, call: &Recorded) -> Result<Vec<u8>, Status> {
        let mut request = Request::new(Bytes::from(call.request.clone()));
        let mut endpoint = Channel::from_shared(format!("http://{}", self.server.grpc_address())).expect("an address");
        for (key, value) in call.value["metadata"].as_object().expect("headers") {
            let value = value.as_str().expect("a text");
            if key == "user-agent" {
                endpoint = endpoint.user_agent(value).expect("a name");
            } else {
                let key: AsciiMetadataKey = key.parse().expect("a key");
                request.metadata_mut().insert(key, value.parse().expect("a value"));
            }
        }
        if let Some(seconds) = call.value["deadline_s"].as_f64() {
            request.set_timeout(Duration::from_secs_f64(seconds));
        }
        let mut grpc =
            tonic::client::Grpc::new(endpoint.connect().await.expect("it listens")).max_decoding_message_size(64 << 20);
        grpc.ready().await.expect("it listens");
        let reply = grpc.unary(request, call.path.parse().expect("a path"), RawCodec).await?;
        Ok(reply.into_inner().to_vec())
    }
}

/// Both sides without what may differ, and the rows of `docs/compat.md` that this took.
struct Compared {
    pool: DescriptorPool,
    rows: BTreeMap<&'static str, usize>,
}

impl Compared {
    fn met(&mut self, row: &'static str) {
        *self.rows.entry(row).or_default() += 1;
    }

    /// What differs; empty when nothing does.
    fn compare(&mut self, call: &Recorded, ours: Result<Vec<u8>, Status>) -> Option<String> {
        match (ours, &call.answer) {
            (Ok(ours), Ok(theirs)) => self.replies(&call.path, &ours, theirs),
            (Err(ours), Err((code, text))) => {
                let same = ours.code() == *code && ours.message() == text;
                (!same).then(|| format!("ours {:?} {:?}, theirs {code:?} {text:?}", ours.code(), ours.message()))
            }
            (Ok(_), Err((Code::Unknown, text))) if text.contains("unknown method ReadVReplicationWorkflows") => {
                self.met("tablets older than v20");
                None
            }
            (ours, theirs) => Some(format!("ours {ours:?}, theirs {theirs:?}")),
        }
    }

    fn replies(&mut self, path: &str, ours: &[u8], theirs: &[u8]) -> Option<String> {
        let (ours, theirs) = match path {
            rpc::GET_WORKFLOWS => self.workflows(ours, theirs),
            rpc::GET_SCHEMA_MIGRATIONS => self.migrations(ours, theirs),
            rpc::WORKFLOW_STATUS => self.status(ours, theirs),
            "/vtctlservice.Vtctld/GetTablets" => self.tablets(ours, theirs),
            "/vtctlservice.Vtctld/GetTopologyPath" => (without_version(ours), without_version(theirs)),
            _ => (ours.to_vec(), theirs.to_vec()),
        };
        let name = format!("vtctldata.{}Response", path.rsplit('/').next().expect("a method"));
        let descriptor = self.pool.get_message_by_name(&name).unwrap_or_else(|| panic!("no message {name}"));
        let decode = |bytes: &[u8]| DynamicMessage::decode(descriptor.clone(), bytes).expect("such a message");
        let (ours, theirs) = (decode(&ours), decode(&theirs));
        (ours != theirs).then(|| format!("\n  ours   {ours}\n  theirs {theirs}"))
    }

    /// By name; lags depend on the moment.
    fn workflows(&mut self, ours: &[u8], theirs: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let [mut ours, mut theirs] = [ours, theirs].map(|reply| GetWorkflowsResponse::decode(reply).expect("workflows"));
        theirs.workflows.sort_by(|a, b| a.name.cmp(&b.name));
        for workflow in &mut theirs.workflows {
            if workflow.max_v_replication_transaction_lag == i64::MIN {
                self.met("`max_v_replication_transaction_lag`");
            }
            for location in workflow.source.iter_mut().chain(&mut workflow.target) {
                location.shards.sort();
            }
        }
        for workflow in ours.workflows.iter_mut().chain(&mut theirs.workflows) {
            workflow.max_v_replication_lag = 0;
            workflow.max_v_replication_transaction_lag = 0;
        }
        (ours.encode_to_vec(), theirs.encode_to_vec())
    }

    /// Tablets in any order.
    fn migrations(&mut self, ours: &[u8], theirs: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let [mut ours, mut theirs] = [ours, theirs].map(|reply| GetSchemaMigrationsResponse::decode(reply).expect("migrations"));
        if ours.migrations.iter().any(|migration| migration.cancelled_at.is_some()) {
            self.met("`cancelled_at`");
        }
        for reply in [&mut ours, &mut theirs] {
            reply.migrations.sort_by(|a, b| a.shard.cmp(&b.shard));
            reply.migrations.iter_mut().for_each(|migration| migration.cancelled_at = None);
        }
        (ours.encode_to_vec(), theirs.encode_to_vec())
    }

    fn status(&mut self, ours: &[u8], theirs: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let [mut ours, mut theirs] = [ours, theirs].map(|reply| WorkflowStatusResponse::decode(reply).expect("a status"));
        if ours != theirs {
            self.met("`VStream Lag` in `info`");
        }
        for status in [&mut ours, &mut theirs] {
            for stream in status.shard_streams.values_mut().flat_map(|shard| &mut shard.streams) {
                let parts = stream.info.split("; ").filter(|part| !part.is_empty() && !part.starts_with("VStream Lag: "));
                stream.info = parts.collect::<Vec<_>>().join("; ");
            }
        }
        (ours.encode_to_vec(), theirs.encode_to_vec())
    }

    /// Cells in any order.
    fn tablets(&mut self, ours: &[u8], theirs: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let [mut ours, mut theirs] = [ours, theirs].map(|reply| GetTabletsResponse::decode(reply).expect("tablets"));
        for reply in [&mut ours, &mut theirs] {
            reply.tablets.sort_by_key(|tablet| tablet.alias.clone().map(|alias| (alias.cell, alias.uid)));
        }
        let mut is_outdated = false;
        for (ours, theirs) in ours.tablets.iter().zip(&mut theirs.tablets) {
            if theirs.r#type() == TabletType::Unknown && ours.r#type() == TabletType::Primary {
                is_outdated = true;
                theirs.r#type = ours.r#type;
            }
        }
        if is_outdated {
            self.met("`GetTablets` by alias");
        }
        (ours.encode_to_vec(), theirs.encode_to_vec())
    }
}

/// The same record, written at another time.
fn without_version(reply: &[u8]) -> Vec<u8> {
    let mut reply = GetTopologyPathResponse::decode(reply).expect("a place");
    reply.cell.as_mut().expect("a place").version = 0;
    reply.encode_to_vec()
}

#[tokio::test]
async fn every_recorded_read_is_answered_as_vtctld_did() {
    let states = States::load();
    // One pool for both sides: messages of two pools are never equal.
    let pool = DescriptorPool::decode(vtflow_planner::DESCRIPTORS).expect("descriptors");
    let mut compared = Compared { pool, rows: BTreeMap::new() };
    let calls = recorded();
    assert_eq!(calls.iter().map(|call| call.from.len()).sum::<usize>(), RECORDED);
    let methods: BTreeSet<&str> = calls.iter().map(|call| call.path.as_str()).collect();
    let reads = serve::SERVED.iter().filter(|served| served.effect == vtflow_planner::Effect::Read).map(|served| served.path);
    let missing: BTreeSet<&str> = reads.filter(|path| !methods.contains(path)).collect();
    assert_eq!(missing, ELSEWHERE.iter().map(|(path, _)| *path).collect(), "reads without a recorded call");
    let mut running: Option<(Snapshot, bool, Serving)> = None;
    let (mut wrong, mut replayed) = (Vec::new(), 0);
    for call in &calls {
        if NOT_REPLAYED.iter().any(|(place, _)| call.from.iter().any(|from| from == place)) {
            continue;
        }
        let snapshot = states.of(call);
        let asks_tablets =
            [rpc::GET_WORKFLOWS, rpc::GET_SCHEMA_MIGRATIONS, rpc::WORKFLOW_STATUS, rpc::VDIFF_SHOW].contains(&call.path.as_str());
        if running.as_ref().is_none_or(|(state, with_tablets, _)| *state != snapshot || *with_tablets != asks_tablets) {
            running = Some((snapshot.clone(), asks_tablets, Serving::start(snapshot, asks_tablets).await));
        }
        let (_, _, serving) = running.as_ref().expect("started");
        let ours = serving.ask(call).await;
        replayed += 1;
        if let Some(difference) = compared.compare(call, ours) {
            wrong.push(format!("{} {}: {difference}", call.from.join(", "), call.path));
        }
    }
    let differing: usize = compared.rows.values().sum();
    let equal = replayed - differing - wrong.len();
    println!(
        "{RECORDED} recorded calls: {replayed} different ones replayed, {equal} equal, {differing} differ as in {:?}",
        compared.rows
    );
    assert!(wrong.is_empty(), "{} of {replayed} are answered otherwise:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((replayed, equal), (REPLAYED, EQUAL));
    assert_eq!(calls.len(), REPLAYED + NOT_REPLAYED.len(), "every other call is replayed");
    assert_eq!(compared.rows.into_iter().collect::<Vec<_>>(), DIFFERING);
}
