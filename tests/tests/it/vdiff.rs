//! `VDiff`s under vtflow on a recorded cluster: the same answers and the same rows afterwards as under vtctld, and what is there when a
//! tablet goes wrong.
//!
//! Not compared: ids, times but for whether they are given, and how far a comparison had got (`recordings/README.md`).

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::Value;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cell, Cluster, Fault, OnWrite, Snapshot},
    observe::Nobody,
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Answer, Call, CallOptions, Effect, Flow, Reply, TabletAddress, Timestamp,
    contract::Verdict,
    proto::{
        tabletmanagerdata::ExecuteFetchAsDbaRequest,
        vtctldata::{VDiffCreateRequest, VDiffShowResponse, VDiffStopRequest},
    },
    rpc,
    sidecar::result::RowSet,
};

const FIRST: &str = "zone1-0000000200";
const SECOND: &str = "zone2-0000000300";
const UUID: &str = "11111111-1111-1111-1111-111111111111";

/// Rows as they are compared, by table.
type Rows = BTreeMap<&'static str, Vec<String>>;

/// What is compared of a table, and of which columns only whether there is a value.
const COMPARED: [(&str, &[&str], &[&str]); 3] = [
    (
        "vdiff",
        &["vdiff_uuid", "workflow", "keyspace", "shard", "db_name", "state", "options", "last_error"],
        &["started_at", "completed_at"],
    ),
    ("vdiff_table", &["table_name", "state"], &[]),
    ("vdiff_log", &["message"], &[]),
];

fn recorded(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings/vdiff").join(name)
}

fn step(name: &str) -> Value {
    let text = fs::read_to_string(recorded("steps.json")).expect("recorded steps");
    let steps: Value = serde_json::from_str(&text).expect("JSON");
    steps.as_array().expect("steps").iter().find(|step| step["step"] == name).expect("a step").clone()
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

/// The columns of a table, in their order.
fn columns(table: &str) -> Vec<String> {
    let snapshot = Snapshot::load(&recorded("before")).expect("a snapshot");
    snapshot.tablets[FIRST].sidecar[table].columns.iter().map(|column| column.name.clone()).collect()
}

fn theirs(state: &Value, alias: &str) -> Rows {
    let read = |(table, texts, given): (&'static str, &[&str], &[&str])| {
        let columns = columns(table);
        let row = |row: &Value| {
            let value = |name: &str| match &row[columns.iter().position(|column| column == name).expect("a column")] {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            comparable(texts, given, value)
        };
        (table, state[alias][table].as_array().expect("rows").iter().map(row).collect())
    };
    COMPARED.map(read).into()
}

fn comparable(texts: &[&str], given: &[&str], value: impl Fn(&str) -> Option<String>) -> String {
    let texts = texts.iter().map(|name| value(name).unwrap_or_else(|| "NULL".into()));
    let given = given.iter().map(|name| format!("{name} {}", if value(name).is_some() { "given" } else { "not given" }));
    texts.chain(given).collect::<Vec<_>>().join(" | ")
}

struct Running {
    cluster: Cluster,
    io: ClusterIo,
    now: Timestamp,
}

impl Running {
    /// The recorded cluster with these rows.
    async fn start(state: &Value, faults: &[(&str, Fault)]) -> Self {
        let mut snapshot = Snapshot::load(&recorded("before")).expect("a snapshot");
        let cell = |value: &Value| match value {
            Value::Null => Cell::Null,
            Value::Number(number) => Cell::Int(number.as_i64().expect("a number")),
            other => Cell::Text(other.as_str().expect("a text").to_owned()),
        };
        for (alias, tables) in state.as_object().expect("tablets") {
            for (table, rows) in tables.as_object().expect("tables") {
                let rows = rows.as_array().expect("rows").iter();
                let rows = rows.map(|row| row.as_array().expect("a row").iter().map(cell).collect()).collect();
                let tablet = snapshot.tablets.get_mut(alias).expect("a tablet");
                tablet.sidecar.get_mut(table).expect("a table").rows = rows;
            }
        }
        let now = snapshot.taken_at;
        let faults = faults.iter().map(|(alias, fault)| ((*alias).to_owned(), *fault)).collect();
        let cluster = Cluster::start(snapshot, faults, Duration::ZERO).await.expect("tablets start");
        let io = ClusterIo {
            topology: Arc::new(MemoryTopology::new(cluster.topo())),
            tablets: Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read")),
            deadlines: Deadlines { tablet: Duration::from_secs(3), ..Deadlines::default() },
        };
        Self { cluster, io, now }
    }

    async fn perform(&self, path: &str, request: Vec<u8>) -> Reply {
        let call = Call { path: path.into(), request, options: CallOptions::default() };
        drive(Flow::start(&call, self.now), &self.io, None, &Nobody).await
    }

    async fn rows(&self, alias: &str) -> Rows {
        let tablet = TabletAddress {
            alias: alias.into(),
            cell: "zone1".into(),
            host: "127.0.0.1".into(),
            grpc_port: self.cluster.port(alias).expect("a tablet"),
        };
        let mut rows = Rows::new();
        for (table, texts, given) in COMPARED {
            let query = format!("select * from _vt.{table}").into_bytes();
            let request = ExecuteFetchAsDbaRequest { query, max_rows: 100, ..ExecuteFetchAsDbaRequest::default() };
            let (request, wait) = (request.encode_to_vec(), Duration::from_secs(20));
            let answer = self.io.tablets.call(&tablet, rpc::EXECUTE_FETCH_AS_DBA, &request, Effect::Read, wait, None).await;
            let Answer::Called(bytes) = answer else { panic!("{answer:?}") };
            let set = RowSet::from_execute_fetch(&bytes).expect("rows");
            let row = |row: vtflow_planner::sidecar::Row<'_>| {
                let value = |name: &str| row.value(name).flatten().map(|value| String::from_utf8_lossy(value).into_owned());
                comparable(texts, given, value)
            };
            rows.insert(table, set.rows().map(row).collect());
        }
        rows
    }
}

fn create() -> Vec<u8> {
    let request = VDiffCreateRequest {
        workflow: "m2".into(),
        target_keyspace: "customer".into(),
        uuid: UUID.into(),
        ..VDiffCreateRequest::default()
    };
    request.encode_to_vec()
}

fn one() -> Vec<u8> {
    let request = VDiffStopRequest {
        workflow: "m2".into(),
        target_keyspace: "customer".into(),
        uuid: UUID.into(),
        ..VDiffStopRequest::default()
    };
    request.encode_to_vec()
}

/// The recorded calls, with the recorded requests and replies.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_leaves_the_rows_that_it_left_there() {
    for name in ["create", "show", "stop", "delete"] {
        let step = step(name);
        let running = Running::start(&step["before"], &[]).await;
        let path = format!("/vtctlservice.Vtctld/{}", step["rpc"]["method"].as_str().expect("a method"));
        let reply = running.perform(&path, bytes(&step["rpc"]["request"])).await;
        let (ours, want) = (reply.result.expect("a reply"), bytes(&step["rpc"]["response"]));
        if name == "show" {
            let read = |bytes: &[u8]| VDiffShowResponse::decode(bytes).expect("such a message");
            assert_eq!(read(&ours), read(&want));
        } else {
            assert_eq!(ours, want, "{name}");
        }
        for alias in [FIRST, SECOND] {
            let (mine, other) = (running.rows(alias).await, theirs(&step["after"], alias));
            if name == "create" && alias == FIRST {
                // It was recorded a second later, when a table had been compared.
                assert_eq!(mine["vdiff"], other["vdiff"]);
                assert_eq!(mine["vdiff_table"].len(), other["vdiff_table"].len());
                assert!(other["vdiff_log"].starts_with(&mine["vdiff_log"]), "{mine:?} {other:?}");
            } else {
                assert_eq!(mine, other, "{name} on {alias}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_resumed_ends_as_it_did_there() {
    let step = step("resume");
    let running = Running::start(&step["before"], &[]).await;
    assert_eq!(running.perform(rpc::VDIFF_RESUME, one()).await.result, Ok(Vec::new()));
    // Again, while it compares: nothing is left to resume.
    let again = running.perform(rpc::VDIFF_RESUME, one()).await.result.expect_err("refused").message;
    assert!(again.contains(&format!("no completed or stopped vdiff found for UUID {UUID} on tablet {FIRST}")), "{again}");
    // An embedded tablet gets on by a table each time it is asked.
    let request = bytes(&self::step("show")["rpc"]["request"]);
    for _ in 0..2 {
        running.perform(rpc::VDIFF_SHOW, request.clone()).await.result.expect("a reply");
    }
    for alias in [FIRST, SECOND] {
        let (mut mine, mut other) = (running.rows(alias).await, theirs(&step["after"], alias));
        // Tables are compared in no order there.
        for rows in [&mut mine, &mut other] {
            rows.get_mut("vdiff_log").expect("a log").sort();
        }
        assert_eq!(mine, other, "{alias}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_is_taken_back_or_told() {
    let nothing = &step("create")["before"];
    let is_there = async |running: &Running, alias: &str| !running.rows(alias).await["vdiff"].is_empty();
    // What goes wrong at one tablet; what becomes of each; the calls that write; where it is afterwards.
    for (fault, verdicts, writes, there) in [
        (OnWrite::Refuse, [Verdict::NotApplied, Verdict::NotApplied], [2, 1], [false, false]),
        (OnWrite::Hang, [Verdict::Applied, Verdict::Unknown], [1, 1], [true, false]),
        (OnWrite::LoseAnswer, [Verdict::Applied, Verdict::Applied], [1, 1], [true, true]),
    ] {
        let running = Running::start(nothing, &[(SECOND, Fault::OnWrite(fault))]).await;
        let reply = running.perform(rpc::VDIFF_CREATE, create()).await;
        let written = reply.written.expect("a request that writes");
        let ours: Vec<Verdict> = written.outcomes.iter().map(|outcome| outcome.verdict).collect();
        assert_eq!(ours, verdicts, "{fault:?}: {written:?}");
        assert_eq!([running.cluster.writes(FIRST), running.cluster.writes(SECOND)], writes, "{fault:?}");
        assert_eq!([is_there(&running, FIRST).await, is_there(&running, SECOND).await], there, "{fault:?}");
        match reply.result {
            Ok(_) => assert_eq!(fault, OnWrite::LoseAnswer),
            Err(status) => assert!(status.message.contains(SECOND), "{fault:?}: {}", status.message),
        }
    }
    let running = Running::start(nothing, &[(SECOND, Fault::OnWrite(OnWrite::Die))]).await;
    let written = running.perform(rpc::VDIFF_CREATE, create()).await.written.expect("a request that writes");
    assert_eq!(written.outcomes[1].verdict, Verdict::Unknown, "{written:?}");
    assert!(is_there(&running, FIRST).await, "it may be there, too");
    // A tablet that is down before anything is changed.
    for fault in [Fault::Down, Fault::Hang, Fault::CloseConnection, Fault::Garbage] {
        let running = Running::start(nothing, &[(SECOND, fault)]).await;
        let status = running.perform(rpc::VDIFF_CREATE, create()).await.result.expect_err("refused");
        assert!(status.message.contains("nothing was changed"), "{fault:?}: {}", status.message);
        assert_eq!((running.cluster.writes(FIRST), is_there(&running, FIRST).await), (0, false), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_one_tablet_refuses_is_told_and_repeated() {
    let state = &step("create")["after"];
    let running = Running::start(state, &[(SECOND, Fault::OnWrite(OnWrite::Refuse))]).await;
    let reply = running.perform(rpc::VDIFF_STOP, one()).await;
    let written = reply.written.expect("a request that writes");
    let ours: Vec<Verdict> = written.outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(ours, [Verdict::Applied, Verdict::NotApplied], "{written:?}");
    let state_of = async |alias: &str| running.rows(alias).await["vdiff"][0].split(" | ").nth(5).map(str::to_owned);
    assert_eq!((state_of(FIRST).await.as_deref(), state_of(SECOND).await.as_deref()), (Some("stopped"), Some("started")));
    // What is stopped already is left alone.
    running.perform(rpc::VDIFF_STOP, one()).await;
    assert_eq!((running.cluster.writes(FIRST), running.cluster.writes(SECOND)), (1, 2));
}
