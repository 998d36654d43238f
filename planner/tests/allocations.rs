//! How often GetWorkflows asks for memory: a program of its own, since whoever counts is the allocator of the whole program.
//!
//! What is counted does not depend on the machine: two sizes of one cluster tell what each stream more costs. Rows are to stay
//! slices of the tablet's answer from the first byte to the reply; a `String` for each column would be seen here at once. The reply is
//! taken in parts, as a server does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use allocation_counter::{AllocationInfo, measure};
use prost::Message;
use vtflow_planner::{
    Answer, AskId, Call, CallOptions, Flow, Record, Timestamp, What,
    proto::{
        query::{Field, QueryResult, Row},
        tabletmanagerdata::VReplicationExecResponse,
        topodata::{Shard, Tablet, TabletAlias},
        vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse},
    },
    rpc,
};

const NOW: Timestamp = Timestamp { seconds: 1_790_000_000, nanos: 0 };
const SHARDS: usize = 8;
/// What one tablet's answer takes while it is read is little beside the reply.
const MANY_SHARDS: usize = 96;
const FEW: usize = 24;
const MANY: usize = 96;

/// Allocations for 576 streams more, in 72 workflows on 8 shards: those of a stream are its tablet types and, with logs, its list of rows;
/// the others are what a workflow costs, and lists that grow.
const MORE: u64 = 3_446;
/// The same with three log rows of each stream.
const MORE_WITH_LOGS: u64 = 4_174;
/// Bytes at the most at one time, for each byte of the reply: the streams as the reply has them and what tells where they stand in it.
/// A copy of the reply would be one more.
const BYTES_PER_BYTE: f64 = 1.5;

#[test]
fn a_stream_more_costs_few_allocations() {
    for (include_logs, want) in [(false, MORE), (true, MORE_WITH_LOGS)] {
        let (few, many) = (run(SHARDS, FEW, include_logs), run(SHARDS, MANY, include_logs));
        assert_eq!(many.info.count_total - few.info.count_total, want, "allocations, logs: {include_logs}");
    }
}

#[test]
fn a_reply_is_there_once() {
    for include_logs in [false, true] {
        let counted = run(MANY_SHARDS, FEW, include_logs);
        let float = |bytes: u64| f64::from(u32::try_from(bytes).unwrap());
        let bytes = float(counted.info.bytes_max) / float(counted.replied);
        assert!(bytes <= BYTES_PER_BYTE, "{bytes:.2} bytes at one time for each byte of the reply, logs: {include_logs}");
    }
}

struct Counted {
    info: AllocationInfo,
    /// Bytes of the reply.
    replied: u64,
}

/// Runs the request once to know its asks, and once more with the answers ready.
fn run(shards: usize, streams: usize, include_logs: bool) -> Counted {
    let request = GetWorkflowsRequest { keyspace: "customer".into(), include_logs, ..GetWorkflowsRequest::default() };
    let call = Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let mut answers: BTreeMap<AskId, Answer> = BTreeMap::new();
    let mut flow = Flow::start(&call, NOW);
    loop {
        let asks = flow.asks();
        if asks.is_empty() {
            break;
        }
        for ask in asks {
            let answer = answer(&ask.what, shards, streams);
            answers.insert(ask.id, answer.clone());
            flow.answer(ask.id, answer);
        }
    }
    let want = flow.into_reply().unwrap();
    assert!(want.failures.is_empty(), "{:?}", want.failures);
    let reply = GetWorkflowsResponse::decode(want.result.as_ref().unwrap().as_slice()).unwrap();
    let of_shards = reply.workflows.iter().flat_map(|workflow| workflow.shard_streams.values());
    assert_eq!(of_shards.map(|shard| shard.streams.len()).sum::<usize>(), shards * streams);
    let replied = want.result.as_ref().unwrap().len() as u64;

    let mut reply = None;
    let info = measure(|| {
        let mut flow = Flow::start(&call, NOW);
        flow.in_parts();
        loop {
            let asks = flow.asks();
            if asks.is_empty() {
                break;
            }
            for ask in asks {
                flow.answer(ask.id, answers[&ask.id].clone());
            }
        }
        reply = flow.into_reply();
    });
    let mut reply = reply.unwrap();
    assert_eq!((reply.rest.len() as u64, reply.result.as_deref()), (replied, Ok(&[][..])));
    reply.join();
    assert_eq!(reply, want);
    Counted { info, replied }
}

fn answer(what: &What, shards: usize, streams: usize) -> Answer {
    match what {
        What::TopoRange { .. } => {
            let shard = |n: usize| {
                let alias = TabletAlias { cell: "zone1".into(), uid: u32::try_from(n).unwrap() };
                let record = Shard { primary_alias: Some(alias), is_primary_serving: true, ..Shard::default() };
                let path = format!("keyspaces/customer/shards/{}/Shard", shard_name(n));
                Record { path, value: record.encode_to_vec(), version: 1 }
            };
            Answer::Range((1..=shards).map(shard).collect())
        }
        What::TopoGet { path, .. } => {
            let n = path.trim_start_matches("tablets/zone1-").trim_end_matches("/Tablet").parse().unwrap();
            let record = Tablet {
                hostname: "tablet".into(),
                port_map: BTreeMap::from([("grpc".into(), 15_999)]),
                keyspace: "customer".into(),
                shard: shard_name(n),
                ..Tablet::default()
            };
            Answer::Found { value: record.encode_to_vec(), version: 1 }
        }
        What::TabletCall { about, .. } => Answer::Called(match &*about.subject {
            "streams and copy state" => {
                response(&STREAM_COLUMNS, &["copy_states"], (1..=streams).map(|id| fused(id, &about.shard)).collect())
            }
            "streams, copy state and logs" => {
                let logs = array(&(1..=3 * streams).rev().map(|id| log(id, 1 + id % streams)).collect::<Vec<_>>());
                let row = |id| fused(id, &about.shard).into_iter().chain([(id == 1).then(|| logs.clone())]).collect();
                response(&STREAM_COLUMNS, &["copy_states", "logs"], (1..=streams).map(row).collect())
            }
            other => panic!("{other}"),
        }),
        other => panic!("{other:?}"),
    }
}

fn shard_name(n: usize) -> String {
    format!("{n:02x}-{:02x}", n + 1)
}

/// Integers have a `#` in front.
const STREAM_COLUMNS: [&str; 25] = [
    "#id",
    "workflow",
    "source",
    "pos",
    "stop_pos",
    "#max_tps",
    "#max_replication_lag",
    "cell",
    "tablet_types",
    "#time_updated",
    "#transaction_timestamp",
    "state",
    "message",
    "db_name",
    "#rows_copied",
    "tags",
    "#time_heartbeat",
    "#workflow_type",
    "#time_throttled",
    "component_throttled",
    "reason_throttled",
    "#workflow_sub_type",
    "#defer_secondary_keys",
    "options",
    "from_the_future",
];

fn stream(id: usize, shard: &str) -> Vec<String> {
    let query = format!("select * from orders_{id} where in_keyrange(id, 'customer.hash', '{shard}')");
    let source =
        format!(r#"keyspace:"commerce" shard:"0" filter:{{rules:{{match:"orders_{id}" filter:"{query}"}}}} on_ddl:EXEC"#);
    let pos = format!("MySQL56/6ca9b5b3-e710-11f1-ac9e-02fc00000001:1-{}", 1000 + id);
    let message = if id % 12 == 1 { "stopped by hand" } else { "" };
    let [workflow, id] = [format!("move_orders_{id}"), id.to_string()];
    let texts = [
        &id,
        &workflow,
        &source,
        &pos,
        "",
        "0",
        "0",
        "zone1",
        "in_order:REPLICA,PRIMARY",
        "1789999999",
        "1789999998",
        "Running",
        message,
        "vt_customer",
        "800516",
        "blue,green",
        "1789999999",
        "1",
        "0",
        "",
        "",
        "0",
        "0",
        r#"{"tenant_id":"7","config":{"a":"b"}}"#,
        "x",
    ];
    texts.map(str::to_owned).to_vec()
}

/// A stream with its copy states, of which one in twelve has two.
fn fused(id: usize, shard: &str) -> Vec<Option<String>> {
    let copy_states = if id.is_multiple_of(12) { copy_states(id).to_vec() } else { Vec::new() };
    stream(id, shard).into_iter().chain([array(&copy_states)]).map(Some).collect()
}

fn copy_states(stream: usize) -> [String; 2] {
    [0, 1].map(|n| {
        let last_pk = r#"fields:{name:"id" type:INT64} rows:{lengths:1 values:"7"}"#;
        format!("[{}, \"{}\", \"{}\"]", 2 * stream + n, hex(&format!("orders_{n}")), hex(last_pk))
    })
}

fn log(id: usize, stream: usize) -> String {
    let at = "2026-11-23 08:53:42";
    let (kind, state) = (hex("State Changed"), hex("Running"));
    format!(r#"[{id}, {stream}, "{kind}", "{state}", "{at}", "{at}", "Copy phase completed", 1]"#)
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02X}"))
}

fn array(rows: &[String]) -> String {
    if rows.is_empty() { "[0, null]".into() } else { format!("[{}, [{}]]", rows.len(), rows.join(",")) }
}

fn response(columns: &[&str], more: &[&str], rows: Vec<Vec<Option<String>>>) -> Vec<u8> {
    let field = |name: &&str| {
        let (name, kind) = name.strip_prefix('#').map_or((*name, 10_262), |name| (name, 265));
        Field { name: name.into(), r#type: kind, table: b"vreplication".to_vec(), ..Field::default() }
    };
    let length = |value: &Option<String>| value.as_ref().map_or(-1, |value| i64::try_from(value.len()).unwrap());
    let row = |values: Vec<Option<String>>| Row {
        lengths: values.iter().map(length).collect(),
        values: values.into_iter().flatten().collect::<String>().into_bytes(),
    };
    let result = QueryResult {
        fields: columns.iter().chain(more).map(field).collect(),
        rows: rows.into_iter().map(row).collect(),
        ..QueryResult::default()
    };
    VReplicationExecResponse { result: Some(result) }.encode_to_vec()
}
