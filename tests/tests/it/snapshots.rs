//! GetWorkflows on every recorded cluster, compared field for field with what vtctld answered there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
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
    Call, CallOptions, Flow, Lost, Reply, Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, Workflow},
    rpc,
};

fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots")
}

/// A recorded cluster, running.
struct Recorded {
    io: ClusterIo,
    taken_at: Timestamp,
    _cluster: Cluster,
}

impl Recorded {
    async fn start(name: &str) -> Self {
        let snapshot = Snapshot::load(&snapshots().join(name)).expect("a snapshot");
        let taken_at = snapshot.taken_at;
        let cluster = Cluster::start(snapshot, BTreeMap::new(), std::time::Duration::ZERO).await.expect("tablets start");
        let topology = Arc::new(MemoryTopology::new(cluster.topo()));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
        Self { io: ClusterIo { topology, tablets, deadlines: Deadlines::default() }, taken_at, _cluster: cluster }
    }

    async fn ask(&self, request: &[u8]) -> (Reply, Counts) {
        let call = Call { path: rpc::GET_WORKFLOWS.into(), request: request.to_vec(), options: CallOptions::default() };
        let counts = Counts::default();
        let reply = drive(Flow::start(&call, self.taken_at), &self.io, None, &counts).await;
        (reply, counts)
    }
}

/// One recorded request and what came of it.
struct Expected {
    file: String,
    request: Vec<u8>,
    asked_at: i64,
    answer: Result<Vec<Workflow>, String>,
}

fn expected(name: &str) -> Vec<Expected> {
    let dir = snapshots().join(name).join("expect");
    let mut all: Vec<_> = std::fs::read_dir(&dir)
        .expect("recorded replies")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("a plain name"))
        .filter(|file| file.starts_with("GetWorkflows") && Path::new(file).extension().is_some_and(|kind| kind == "json"))
        .collect();
    all.sort();
    assert!(all.len() > 5, "{name} has recorded requests");
    all.into_iter()
        .map(|file| {
            let value: Value = serde_json::from_slice(&std::fs::read(dir.join(&file)).expect("readable")).expect("JSON");
            let bytes = |key: &str| BASE64_STANDARD.decode(value[key].as_str().unwrap_or_default()).expect("base64");
            let answer = match value["error"].as_str() {
                Some(error) => Err(error.strip_prefix("rpc error: code = Unknown desc = ").unwrap_or(error).to_owned()),
                None => Ok(GetWorkflowsResponse::decode(bytes("response_bytes").as_slice()).expect("a reply").workflows),
            };
            Expected {
                file,
                request: bytes("request_bytes"),
                asked_at: value["asked_at_unix_ns"].as_i64().expect("a time"),
                answer,
            }
        })
        .collect()
}

/// The reply as vtctld would have sent it at the same moment, but for what `docs/compat.md` lists.
fn assert_same(place: &str, mut ours: Vec<Workflow>, mut theirs: Vec<Workflow>, later_ns: i64) {
    theirs.sort_by(|a, b| a.name.cmp(&b.name));
    let later_seconds = later_ns.div_euclid(1_000_000_000) + 1;
    for (ours, theirs) in ours.iter_mut().zip(&mut theirs) {
        for (what, ours, theirs) in [
            ("max_v_replication_lag", &mut ours.max_v_replication_lag, &mut theirs.max_v_replication_lag),
            (
                "max_v_replication_transaction_lag",
                &mut ours.max_v_replication_transaction_lag,
                &mut theirs.max_v_replication_transaction_lag,
            ),
        ] {
            if *theirs == i64::MIN {
                assert_eq!(*ours, i64::MAX, "{place}: {ours} {what} while copying");
                *theirs = i64::MAX;
            }
            // They asked a moment after the rows were written down.
            let difference = i128::from(*theirs) - i128::from(*ours);
            assert!((0..=i128::from(later_seconds)).contains(&difference), "{place}: {what}: ours {ours}, theirs {theirs}");
            *theirs = *ours;
        }
    }
    let names = |workflows: &[Workflow]| workflows.iter().map(|w| w.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "{place}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{place}: workflow {}", ours.name);
    }
}

/// Compares every recorded reply of a cluster; returns how many there were.
async fn compare(name: &str) -> usize {
    let recorded = Recorded::start(name).await;
    let taken_ns = recorded.taken_at.seconds * 1_000_000_000 + i64::from(recorded.taken_at.nanos);
    let mut compared = 0;
    for expected in expected(name) {
        let place = format!("{name}/{}", expected.file);
        let request = GetWorkflowsRequest::decode(expected.request.as_slice()).expect("a request");
        let (reply, counts) = recorded.ask(&expected.request).await;
        match expected.answer {
            Ok(theirs) => {
                let bytes = reply.result.unwrap_or_else(|status| panic!("{place}: {status}"));
                let ours = GetWorkflowsResponse::decode(bytes.as_slice()).expect("a reply").workflows;
                // What vtflow says beside the same reply: a stored state that is none, which both send as Unknown.
                let has_odd_state = !request.name_only
                    && ours.iter().any(|w| w.name == "states" && w.shard_streams.contains_key("c0-/zone1-0000000500"));
                let said: Vec<_> = reply.failures.iter().map(|f| (f.lost, f.message.as_str())).collect();
                let odd_state = (Lost::Stream, r#"stream 8: column state: no state of a stream has this name in "Weird""#);
                assert_eq!(said, if has_odd_state { vec![odd_state] } else { vec![] }, "{place}");
                if request.name_only {
                    let names: BTreeSet<_> = theirs.into_iter().map(|workflow| workflow.name).collect();
                    assert_eq!(ours.into_iter().map(|workflow| workflow.name).collect::<BTreeSet<_>>(), names, "{place}");
                } else {
                    assert_same(&place, ours, theirs, expected.asked_at - taken_ns);
                }
                assert!(counts.sums().rounds <= 3, "{place}: {:?}", counts.sums());
                compared += 1;
            }
            Err(theirs) if theirs.contains("node doesn't exist") => {
                assert_eq!(reply.result.expect_err("no such keyspace").message, theirs, "{place}");
                compared += 1;
            }
            Err(_) => {} // vtctld gave up where vtflow does not: the tests below.
        }
    }
    compared
}

macro_rules! same_as_vtctld {
    ($($test:ident: $folder:literal, $at_least:literal;)*) => {$(
        #[tokio::test]
        async fn $test() {
            assert!(compare($folder).await >= $at_least, "fewer recorded replies than there were");
        }
    )*};
}

same_as_vtctld! {
    movetables_copying: "movetables-copying", 9;
    movetables_running: "movetables-running", 9;
    stream_error: "stream-error", 9;
    onlineddl_mixed: "onlineddl-mixed", 8;
    reshard_running: "reshard-running", 9;
    odd_rows: "odd-rows", 8;
    mixed_releases_by_shard: "mixed-releases", 5;
    shards_without_primary_by_shard: "shards-without-primary", 3;
}

/// Tablets of five releases in one keyspace, where vtctld v24 fails the whole request.
#[tokio::test]
async fn mixed_releases() {
    let recorded = Recorded::start("mixed-releases").await;
    let request = GetWorkflowsRequest { keyspace: "mixed".into(), include_logs: true, ..GetWorkflowsRequest::default() };
    let (reply, counts) = recorded.ask(&request.encode_to_vec()).await;
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    assert_eq!(counts.sums().rounds, 3);
    let workflows = GetWorkflowsResponse::decode(reply.result.expect("a reply").as_slice()).expect("a reply").workflows;

    // Each shard's part is what its tablet's rows say, whichever release wrote them.
    for (shard, alias) in [("-40", 600), ("40-80", 610), ("80-c0", 620), ("c0-", 630), ("c0-e0", 650)] {
        let alias = format!("zone1-{alias:010}");
        let dump: Value = serde_json::from_slice(
            &std::fs::read(snapshots().join(format!("mixed-releases/tablets/{alias}.json"))).expect("readable"),
        )
        .expect("JSON");
        let table = &dump["sidecar"]["vreplication"];
        let at =
            |name: &str| table["columns"].as_array().expect("columns").iter().position(|c| c["name"] == name).expect("a column");
        let (id, workflow, db_name) = (at("id"), at("workflow"), at("db_name"));
        let rows = table["rows"].as_array().expect("rows").iter().filter(|row| row[db_name] == "vt_mixed");
        let want: BTreeSet<(String, i64)> =
            rows.map(|row| (row[workflow].as_str().expect("text").to_owned(), row[id].as_i64().expect("a number"))).collect();
        assert!(want.len() >= 4, "{alias} has streams");
        let key = format!("{shard}/{alias}");
        let have: BTreeSet<(String, i64)> = workflows
            .iter()
            .filter_map(|w| Some((w, w.shard_streams.get(&key)?)))
            .flat_map(|(w, shard)| shard.streams.iter().map(|stream| (w.name.clone(), stream.id)))
            .collect();
        assert_eq!(have, want, "{key}");
    }
    let copying = workflows.iter().find(|w| w.name == "mix_copy").expect("mix_copy");
    for (shard, streams) in &copying.shard_streams {
        assert!(!streams.streams[0].copy_states.is_empty(), "{shard}: the copy state of every release is read");
        assert!(!streams.streams[0].logs.is_empty(), "{shard}: and the log");
    }
}

/// Two of four shards have no primary, where vtctld fails the whole request.
#[tokio::test]
async fn shards_without_primary() {
    let recorded = Recorded::start("shards-without-primary").await;
    let request = GetWorkflowsRequest { keyspace: "customer".into(), ..GetWorkflowsRequest::default() };
    let (reply, _) = recorded.ask(&request.encode_to_vec()).await;
    let workflows = GetWorkflowsResponse::decode(reply.result.expect("the rest").as_slice()).expect("a reply").workflows;
    let shards: BTreeSet<_> = workflows.iter().flat_map(|w| w.shard_streams.keys()).cloned().collect();
    assert_eq!(shards.into_iter().collect::<Vec<_>>(), ["-80/zone1-0000000200", "80-/zone2-0000000300"]);
    let failures: Vec<_> = reply.failures.iter().map(|f| (f.shard.as_str(), f.lost, f.message.as_str())).collect();
    assert_eq!(
        failures,
        [
            ("80-c0", Lost::NoPrimary, "no primary found for shard customer/80-c0"),
            ("c0-", Lost::NoPrimary, "no primary found for shard customer/c0-"),
        ]
    );
    // What the two good shards say is what vtctld says when asked for one of them alone.
    let one = expected("shards-without-primary").into_iter().find(|e| e.file == "GetWorkflows.shard.json").expect("recorded");
    let theirs = one.answer.expect("vtctld answers for a good shard");
    assert_eq!(
        workflows.iter().map(|w| &w.name).collect::<BTreeSet<_>>(),
        theirs.iter().map(|w| &w.name).collect::<BTreeSet<_>>()
    );
}

/// `-o json` is what `vtctldclient GetWorkflows` printed: same keys in the same order, same values.
#[tokio::test]
async fn json_is_what_vtctldclient_prints() {
    let mut compared = 0;
    for name in ["movetables-copying", "movetables-running", "stream-error", "onlineddl-mixed", "reshard-running", "odd-rows"] {
        let recorded = Recorded::start(name).await;
        let file = std::fs::read(snapshots().join(name).join("expect/vtctldclient.json")).expect("recorded");
        let commands: Vec<Value> = serde_json::from_slice(&file).expect("JSON");
        for command in commands {
            let args: Vec<&str> = command["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
            if args.first() != Some(&"GetWorkflows") || args.contains(&"--compact") || args.get(1) != Some(&"customer") {
                continue;
            }
            let request = GetWorkflowsRequest {
                keyspace: "customer".into(),
                active_only: !args.contains(&"--show-all"),
                include_logs: !args.contains(&"--include-logs=false"),
                ..GetWorkflowsRequest::default()
            };
            let reply = recorded.ask(&request.encode_to_vec()).await.0.result.expect("a reply");
            let ours = vtflow::output::json::json("vtctldata.GetWorkflowsResponse", &reply).expect("JSON");
            let theirs = command["stdout"].as_str().expect("printed");
            assert_eq!(lines(&ours, name), lines(theirs, name), "{name}: {args:?}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "only {compared} printed replies were recorded");
}

/// The lines of each workflow, by its name, without lags and without the client's random second space.
fn lines(json: &str, place: &str) -> BTreeMap<String, Vec<String>> {
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{place}: {error}"));
    let count = value["workflows"].as_array().map_or(0, Vec::len);
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in json.lines().map(|line| line.replacen("\":  ", "\": ", 1)) {
        if let Some(rest) = line.strip_prefix("      \"name\": \"") {
            rest.trim_end_matches("\",").clone_into(&mut name);
        }
        let is_brace =
            matches!(line.as_str(), "    }" | "    }," | "    {" | "  ]" | "}" | "{") || line.starts_with("  \"workflows");
        if !name.is_empty() && !is_brace && !line.contains("\"max_v_replication_") {
            by_name.entry(name.clone()).or_default().push(line);
        }
    }
    assert_eq!(by_name.len(), count, "{place}: a workflow's name begins its lines");
    by_name
}
