//! What GetWorkflows costs on a large generated cluster, counted: rounds, asks, and that every stream arrives.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::Message;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cluster, Release, Shape, generate},
    observe::Counts,
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Call, CallOptions, Flow, Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse},
    rpc,
};

const DELAY: Duration = Duration::from_millis(20);

#[tokio::test]
async fn three_dependent_rounds_for_256_shards_with_logs() {
    let now = Timestamp { seconds: 1_790_000_000, nanos: 0 };
    let shape = Shape { shards: 256, streams: 55, copy_states: 2, log_rows: 3, release: Release::new(18) };
    let cluster = Cluster::start(generate(shape, now), BTreeMap::new(), DELAY).await.expect("the cluster starts");
    let topology = Arc::new(MemoryTopology::new(cluster.topo()).with_delay(DELAY));
    let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
    let deadlines = Deadlines { topology: Duration::from_secs(60), tablet: Duration::from_secs(60), ..Deadlines::default() };
    let io = ClusterIo { topology, tablets, deadlines };
    let request = GetWorkflowsRequest { keyspace: "customer".into(), include_logs: true, ..GetWorkflowsRequest::default() };
    let call = Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let counts = Counts::default();
    let reply = drive(Flow::start(&call, now), &io, None, &counts).await;
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let sums = counts.sums();
    assert_eq!((sums.rounds, sums.topology_ranges, sums.topology_gets, sums.tablet_calls), (3, 1, 256, 256));
    let result = reply.result.expect("a reply");
    // Of a cluster that is made by its shape and the time alone: what changes here, changes on the wire.
    assert_eq!((sums.request_bytes, sums.answer_bytes, result.len()), (261_376, 12_770_730, 8_380_235));
    let workflows = GetWorkflowsResponse::decode(result.as_slice()).expect("a reply").workflows;
    let streams: Vec<_> = workflows.iter().flat_map(|w| w.shard_streams.values()).flat_map(|shard| &shard.streams).collect();
    assert_eq!(streams.len(), 256 * 55);
    assert!(streams.iter().all(|stream| stream.logs.len() == 3), "every stream has its log");
    assert!(streams.iter().any(|stream| stream.copy_states.len() == 2), "copying streams have their copy state");
}
