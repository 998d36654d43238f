//! The built-in demo answers what clients ask of a workflow that copies and of `VDiff`s.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::Message;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cluster, demo},
    observe::Counts,
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Call, CallOptions, Flow, Reply, Timestamp,
    proto::{
        query::QueryResult,
        vtctldata::{VDiffShowRequest, VDiffShowResponse, WorkflowStatusRequest, WorkflowStatusResponse},
    },
    rpc,
};

const NOW: Timestamp = Timestamp { seconds: 1_795_424_044, nanos: 0 };

struct Demo {
    io: ClusterIo,
    _cluster: Cluster,
}

impl Demo {
    async fn start() -> Self {
        let cluster = Cluster::start(demo(NOW), BTreeMap::new(), Duration::ZERO).await.expect("tablets start");
        let topology = Arc::new(MemoryTopology::new(cluster.topo()));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
        Self { io: ClusterIo { topology, tablets, deadlines: Deadlines::default() }, _cluster: cluster }
    }

    async fn ask(&self, path: &str, request: Vec<u8>) -> Reply {
        let call = Call { path: path.into(), request, options: CallOptions::default() };
        drive(Flow::start(&call, NOW), &self.io, None, &Counts::default()).await
    }

    /// Of each shard: the UUID shown, and its rows by column.
    async fn vdiffs(&self, workflow: &str, arg: &str) -> Result<Vec<(String, Vec<BTreeMap<String, String>>)>, String> {
        let request = VDiffShowRequest { target_keyspace: "customer".into(), workflow: workflow.into(), arg: arg.into() };
        let reply = self.ask(rpc::VDIFF_SHOW, request.encode_to_vec()).await.result.map_err(|status| status.message)?;
        let shards = VDiffShowResponse::decode(reply.as_slice()).expect("a reply").tablet_responses;
        assert_eq!(shards.keys().collect::<Vec<_>>(), ["-40", "40-80", "80-c0", "c0-"]);
        Ok(shards.into_values().map(|shard| (shard.vdiff_uuid, rows(&shard.output.unwrap_or_default()))).collect())
    }
}

fn rows(result: &QueryResult) -> Vec<BTreeMap<String, String>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let row = |row: &vtflow_planner::proto::query::Row| {
        let mut rest = row.values.as_slice();
        let mut named = BTreeMap::new();
        for (field, length) in result.fields.iter().zip(&row.lengths) {
            if let Ok(length) = usize::try_from(*length) {
                let (value, after) = rest.split_at(length);
                named.insert(text(&field.name), text(value));
                rest = after;
            }
        }
        named
    };
    result.rows.iter().map(row).collect()
}

#[tokio::test]
async fn a_workflow_that_copies_says_how_far_it_is() {
    let demo = Demo::start().await;
    let request = WorkflowStatusRequest { keyspace: "customer".into(), workflow: "move_events".into(), shards: vec![] };
    let reply = demo.ask(rpc::WORKFLOW_STATUS, request.encode_to_vec()).await;
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let status = WorkflowStatusResponse::decode(reply.result.expect("a reply").as_slice()).expect("a reply");
    let events = &status.table_copy_state["events"];
    assert!(events.rows_copied > 0 && events.rows_copied < events.rows_total, "{events:?}");
    assert!(events.bytes_copied > 0 && events.bytes_copied < events.bytes_total, "{events:?}");
    for waiting in ["event_tags", "event_notes"] {
        let table = &status.table_copy_state[waiting];
        // One shard has copied everything and is throttled; the others have not begun with these.
        assert!(table.rows_copied > 0 && table.rows_copied < table.rows_total, "{waiting}: {table:?}");
    }
}

#[tokio::test]
async fn one_vdiff_is_finished_and_one_is_running() {
    let demo = Demo::start().await;
    for (workflow, uuid, state, tables) in [
        ("commerce2customer", "b3f59678-5241-41ee-be56-0242ac120002", "completed", vec!["corder", "customer"]),
        ("move_audit", "abb2999c-d8d8-403e-93ab-865e5affb6a3", "started", vec!["audit"]),
    ] {
        for arg in ["last", uuid] {
            for (shown, rows) in demo.vdiffs(workflow, arg).await.expect("a reply") {
                assert_eq!(shown, uuid);
                assert_eq!(rows.iter().map(|row| row["table_name"].as_str()).collect::<Vec<_>>(), tables);
                assert!(rows.iter().all(|row| row["vdiff_state"] == state && row["has_mismatch"] == "0"), "{rows:?}");
                assert!(rows.iter().all(|row| row.contains_key("completed_at") == (state == "completed")), "{rows:?}");
            }
        }
        for (shown, rows) in demo.vdiffs(workflow, "all").await.expect("a reply") {
            assert_eq!((shown.as_str(), rows.len()), ("", 1));
            assert_eq!(rows[0]["vdiff_uuid"], uuid);
        }
    }
    let none = demo.vdiffs("move_big2", "last").await.expect("a reply");
    assert!(none.iter().all(|(uuid, rows)| uuid.is_empty() && rows.is_empty()), "{none:?}");
    let other = demo.vdiffs("move_audit", "b3f59678-5241-41ee-be56-0242ac120002").await.expect_err("another workflow's");
    assert!(other.contains("no vdiff found for UUID b3f59678-5241-41ee-be56-0242ac120002 keyspace customer"), "{other}");
    let refused = demo.vdiffs("move_audit", "first").await.expect_err("no such thing to show");
    assert!(refused.contains("action argument first not supported"), "{refused}");
}
