//! Recorded legacy commands, asked again of what the tablets answered then: the same output, byte for byte.
//!
//! `recordings/legacy.jsonl` has one call a line: request bytes, what each tablet answered to what, and the output or the error's
//! text. `now` is the moment of the output.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::Value;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Flow, Record, Timestamp, What,
    proto::{
        logutil::Level,
        query::{Field, QueryResult},
        tabletmanagerdata::VReplicationExecResponse,
        topodata::{Shard, Tablet, TabletAlias},
        vtctldata::ExecuteVtctlCommandResponse,
    },
    rpc,
};

/// Shards and primaries of the recorded cluster, both keyspaces.
const SHARDS: &[(&str, &str, &str, u32)] = &[
    ("commerce", "0", "zone1", 100),
    ("customer", "-80", "zone1", 200),
    ("customer", "80-", "zone2", 300),
    ("customer", "80-c0", "zone1", 400),
    ("customer", "c0-", "zone1", 500),
];

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64")
}

/// What the cluster says to an ask. `workflow` is whose rows were recorded: vtctld did not ask for the name.
fn answer(ask: &Ask, tablets: &Value, workflow: &str) -> Answer {
    match &ask.what {
        What::TopoRange { prefix, .. } | What::TopoList { prefix, .. } => Answer::Range(
            SHARDS
                .iter()
                .map(|(keyspace, shard, cell, uid)| {
                    let primary_alias = Some(TabletAlias { cell: (*cell).to_owned(), uid: *uid });
                    let record = Shard { primary_alias, is_primary_serving: true, ..Shard::default() };
                    let path = format!("keyspaces/{keyspace}/shards/{shard}/Shard");
                    Record { path, value: record.encode_to_vec(), version: 1 }
                })
                .filter(|record| record.path.starts_with(prefix))
                .collect(),
        ),
        What::TopoPut { .. } | What::TopoDelete { .. } | What::TopoLock { .. } | What::TopoUnlock { .. } => {
            panic!("a read locks nothing")
        }
        What::TopoGet { path, .. } => {
            let is_it = |cell: &str, uid: u32| *path == format!("tablets/{cell}-{uid:010}/Tablet");
            let (keyspace, shard, cell, uid) = SHARDS.iter().find(|(_, _, cell, uid)| is_it(cell, *uid)).expect("a tablet");
            let record = Tablet {
                alias: Some(TabletAlias { cell: (*cell).to_owned(), uid: *uid }),
                hostname: "127.0.0.1".into(),
                port_map: BTreeMap::from([("grpc".into(), 1)]),
                keyspace: (*keyspace).into(),
                shard: (*shard).into(),
                r#type: 1,
                ..Tablet::default()
            };
            Answer::Found { value: record.encode_to_vec(), version: 1 }
        }
        What::TabletCall { tablet, about, .. } => {
            let response = bytes(&tablets[&tablet.alias][&*about.subject]);
            if about.subject != "streams" {
                return Answer::Called(response);
            }
            let mut result = VReplicationExecResponse::decode(response.as_slice()).expect("rows").result.unwrap_or_default();
            name(&mut result, workflow);
            Answer::Called(VReplicationExecResponse { result: Some(result) }.encode_to_vec())
        }
        What::TabletPage { .. } => panic!("no command asks for a page"),
    }
}

/// Adds the column `workflow`.
fn name(result: &mut QueryResult, workflow: &str) {
    result.fields.push(Field { name: b"workflow".to_vec(), r#type: 10_262, ..Field::default() });
    for row in &mut result.rows {
        row.lengths.push(i64::try_from(workflow.len()).unwrap());
        row.values.extend_from_slice(workflow.as_bytes());
    }
}

/// The lines of a table of migrations, those of each tablet together: vtctld shows tablets in random order.
fn by_tablet(lines: &[String]) -> Vec<String> {
    let (head, rows) = lines.split_at(3);
    let mut blocks: Vec<Vec<String>> = Vec::new();
    for line in rows {
        if line.starts_with("| zone") {
            blocks.push(Vec::new());
        }
        blocks.last_mut().expect("rows begin with a tablet").push(line.clone());
    }
    blocks.sort_by_key(|block| block[0].chars().take(26).collect::<String>());
    head.iter().cloned().chain(blocks.into_iter().flatten()).collect()
}

#[test]
fn legacy_commands_print_what_vtctld_printed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/legacy.jsonl");
    let text = std::fs::read_to_string(file).expect("recorded calls");
    let mut compared = 0;
    for line in text.lines() {
        let recorded: Value = serde_json::from_str(line).expect("JSON");
        let place = format!("{} {}", recorded["from"], recorded["args"]);
        let workflow = recorded["args"][1].as_str().and_then(|place| place.split_once('.')).map_or("", |(_, name)| name);
        let now = Timestamp {
            seconds: recorded["now"][0].as_i64().unwrap_or(0),
            nanos: recorded["now"][1].as_u64().unwrap_or(0).try_into().unwrap(),
        };
        let path = rpc::EXECUTE_VTCTL_COMMAND.to_owned();
        let call = Call { path, request: bytes(&recorded["request_bytes"]), options: CallOptions::default() };
        let mut flow = Flow::start(&call, now);
        let mut asks = flow.asks();
        while let Some(ask) = asks.pop() {
            flow.answer(ask.id, answer(&ask, &recorded["tablets"], workflow));
            asks.extend(flow.asks());
        }
        let reply = flow.into_reply().expect("nothing is outstanding");
        let printed: Vec<String> = reply
            .stream
            .iter()
            .chain(&reply.result)
            .map(|bytes| {
                let event = ExecuteVtctlCommandResponse::decode(bytes.as_slice()).expect("an event").event.expect("an event");
                assert_eq!(event.level(), Level::Console, "{place}: {}", event.value);
                event.value
            })
            .collect();
        assert_eq!(reply.result.as_ref().err().map(|status| status.message.as_str()), recorded["error"].as_str(), "{place}");
        let theirs: Vec<String> =
            recorded["output"].as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect();
        if theirs.len() > 3 {
            assert_eq!(by_tablet(&printed), by_tablet(&theirs), "{place}");
        } else {
            assert_eq!(printed, theirs, "{place}");
        }
        compared += 1;
    }
    assert_eq!(compared, 7);
}
