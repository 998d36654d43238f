//! Clusters whose traffic is switched, in part or whole: what vtflow says of them beside what vtctldclient printed there of vtctld.
//!
//! `make cluster` saves such a snapshot at each stage, with the client's output beside it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

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
    Call, CallOptions, Flow,
    proto::vtctldata::{GetWorkflowsRequest, WorkflowStatusRequest},
    rpc,
};

/// Snapshots, and where the traffic goes in each, as vtctld says of its workflows.
const SWITCHED: &[(&str, &[(&str, &str)])] = &[
    ("movetables-reads-switched", &[("move1", "All Reads Switched. Writes Not Switched")]),
    (
        "movetables-switched",
        &[("move1", "All Reads Switched. Writes Switched"), ("move1_reverse", "All Reads Switched. Writes Switched")],
    ),
    (
        "reshard-switched",
        &[("split1", "All Reads Switched. Writes Switched"), ("split1_reverse", "All Reads Switched. Writes Switched")],
    ),
];

/// What depends on the moment: each was asked for some seconds before the snapshot was taken.
const MOMENTARY: [&str; 6] =
    ["info", "max_v_replication_lag", "max_v_replication_transaction_lag", "position", "time_updated", "transaction_timestamp"];

fn settled(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| !MOMENTARY.contains(&name.as_str()));
            fields.values_mut().for_each(|field| *field = settled(field.take()));
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                *item = settled(item.take());
            }
            items.sort_by_cached_key(Value::to_string);
        }
        _ => {}
    }
    value
}

/// The call that a command of vtctldclient makes, and the name of its answer.
fn call(args: &[&str]) -> (&'static str, Vec<u8>, &'static str) {
    match args {
        ["GetWorkflows", keyspace, "--show-all", "--include-logs=false"] => {
            let request = GetWorkflowsRequest { keyspace: (*keyspace).into(), ..GetWorkflowsRequest::default() };
            (rpc::GET_WORKFLOWS, request.encode_to_vec(), "vtctldata.GetWorkflowsResponse")
        }
        [_, "--workflow", workflow, "--target-keyspace", keyspace, "status", ..] => {
            let (workflow, keyspace) = ((*workflow).into(), (*keyspace).into());
            let request = WorkflowStatusRequest { keyspace, workflow, ..WorkflowStatusRequest::default() };
            (rpc::WORKFLOW_STATUS, request.encode_to_vec(), "vtctldata.WorkflowStatusResponse")
        }
        other => panic!("no such command: {other:?}"),
    }
}

#[tokio::test]
async fn where_traffic_is_switched_vtflow_says_what_vtctld_says() {
    for (name, traffic) in SWITCHED {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(name);
        let snapshot = Snapshot::load(&folder).expect("a snapshot");
        let taken_at = snapshot.taken_at;
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.expect("tablets start");
        let topology = Arc::new(MemoryTopology::new(cluster.topo()));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
        let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
        let printed = std::fs::read(folder.join("expect/vtctldclient.json")).expect("recorded");
        let printed: Vec<Value> = serde_json::from_slice(&printed).expect("JSON");
        let mut said = BTreeMap::new();
        for command in &printed {
            let args: Vec<&str> = command["args"].as_array().expect("args").iter().filter_map(Value::as_str).collect();
            let (path, request, message) = call(&args);
            let call = Call { path: path.into(), request, options: CallOptions::default() };
            let reply = drive(Flow::start(&call, taken_at), &io, None, &Counts::default()).await;
            assert!(reply.failures.is_empty(), "{name}: {args:?}: {:?}", reply.failures);
            let ours = vtflow::output::json::json(message, &reply.result.expect("a reply")).expect("JSON");
            let [ours, theirs] = [&ours, command["stdout"].as_str().expect("printed")].map(|text| {
                let value: Value = serde_json::from_str(text).expect("JSON");
                settled(value)
            });
            if let Some(state) = ours["traffic_state"].as_str() {
                said.insert(args[2].to_owned(), state.to_owned());
            }
            assert_eq!(ours, theirs, "{name}: {args:?}");
        }
        let wanted = traffic.iter().map(|(workflow, state)| ((*workflow).to_owned(), (*state).to_owned())).collect();
        assert_eq!(said, wanted, "{name}");
    }
}
