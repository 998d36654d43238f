//! Clusters on which an answer was wrong once (`tests/cases`): what rows, rules and records say there, and what they leave open.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use prost::Message;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cluster, Snapshot},
    observe::Counts,
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Call, CallOptions, Flow, Lost, Reply,
    proto::{
        topodata::TabletAlias,
        vtctldata::{
            GetTabletsRequest, GetTabletsResponse, GetWorkflowsRequest, GetWorkflowsResponse, WorkflowStatusRequest,
            WorkflowStatusResponse,
        },
    },
    rpc,
};

/// What the cluster of a case answers.
async fn ask(case: &str, path: &str, request: &impl Message) -> Reply {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(case);
    let snapshot = Snapshot::load(&folder).expect("a case");
    let taken_at = snapshot.taken_at;
    let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.expect("tablets start");
    let topology = Arc::new(MemoryTopology::new(cluster.topo()));
    let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read"));
    let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
    let call = Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    drive(Flow::start(&call, taken_at), &io, None, &Counts::default()).await
}

fn decoded<M: Message + Default>(reply: &Reply) -> M {
    M::decode(reply.result.as_ref().expect("a reply").as_slice()).expect("such a message")
}

/// Workflow, id, state and position of every stream.
fn positions(reply: &Reply) -> Vec<(String, i64, String, String)> {
    let workflows = decoded::<GetWorkflowsResponse>(reply).workflows.into_iter();
    let streams = workflows.flat_map(|workflow| {
        let streams: Vec<_> = workflow.shard_streams.into_values().flat_map(|shard| shard.streams).collect();
        streams.into_iter().map(move |stream| (workflow.name.clone(), stream.id, stream.state, stream.position))
    });
    streams.collect()
}

fn of_customer() -> GetWorkflowsRequest {
    GetWorkflowsRequest { keyspace: "customer".into(), ..GetWorkflowsRequest::default() }
}

#[tokio::test]
async fn a_file_position_past_32_bits_is_one() {
    let reply = ask("01-filepos-large", rpc::GET_WORKFLOWS, &of_customer()).await;
    let want = [
        ("import_big", 1, "Running", "vt-1448040107-bin.003222:4663881395"),
        ("import_big", 2, "Running", "vt-1448040107-bin.003222:4663881395"),
        ("import_edge", 4, "Running", "mysql-bin.000001:4294967295"),
        ("import_edge1", 5, "Running", "mysql-bin.000001:4294967296"),
        ("import_small", 3, "Running", "mysql-bin-changelog.123456:326452"),
    ];
    let want = want.map(|(name, id, state, position)| (name.to_owned(), id, state.to_owned(), position.to_owned()));
    let found: Vec<_> = positions(&reply).into_iter().filter(|(name, ..)| name.starts_with("import_")).collect();
    assert_eq!(found, want);
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
}

#[tokio::test]
async fn a_position_with_a_tag_is_shown_as_it_is_stored() {
    let reply = ask("02-tagged-gtid", rpc::GET_WORKFLOWS, &of_customer()).await;
    let tagged: Vec<_> = positions(&reply).into_iter().filter(|(.., position)| position.contains(":mysqlsh:")).collect();
    assert!(!tagged.is_empty(), "{:?}", positions(&reply));
    for (workflow, id, state, position) in tagged {
        assert!(position.starts_with("MySQL56/") && state == "Running", "{workflow}: {state} {position}");
        let start = format!("stream {id}: column pos: ");
        let named = reply.failures.iter().find(|failure| failure.workflow == workflow && failure.message.starts_with(&start));
        let named = named.expect("a failure beside it");
        assert!(named.lost == Lost::Stream && !named.tablet.is_empty(), "{named:?}");
        // Asked for alone, too.
        let one = GetWorkflowsRequest { workflow: workflow.clone(), ..of_customer() };
        let alone = ask("02-tagged-gtid", rpc::GET_WORKFLOWS, &one).await;
        assert!(positions(&alone).iter().any(|(.., found)| *found == position), "{workflow}");
        let status = WorkflowStatusRequest { keyspace: "customer".into(), workflow, shards: vec![] };
        let status = ask("02-tagged-gtid", rpc::WORKFLOW_STATUS, &status).await;
        assert_eq!(decoded::<WorkflowStatusResponse>(&status).traffic_state, "Reads Not Switched. Writes Not Switched");
    }
}

#[tokio::test]
async fn a_record_that_says_primary_is_not_believed_against_its_shards() {
    for uid in [401, 402] {
        let tablet_aliases = vec![TabletAlias { cell: "zone1".into(), uid }];
        let request = GetTabletsRequest { tablet_aliases, ..GetTabletsRequest::default() };
        let reply = ask("19-stale-primary", "/vtctlservice.Vtctld/GetTablets", &request).await;
        assert_eq!(decoded::<GetTabletsResponse>(&reply).tablets[0].r#type, 0, "{uid} by alias");
    }
    let all = ask("19-stale-primary", "/vtctlservice.Vtctld/GetTablets", &GetTabletsRequest::default()).await;
    let types: Vec<_> = decoded::<GetTabletsResponse>(&all).tablets.iter().map(|tablet| tablet.r#type).collect();
    assert_eq!(types.iter().filter(|&&kind| kind == 0).count(), 2, "as the listing has them: {types:?}");
}

#[tokio::test]
async fn shard_routing_rules_of_another_source_are_not_counted() {
    let request = WorkflowStatusRequest { keyspace: "customer".into(), workflow: "p1".into(), shards: vec![] };
    let reply = ask("27-partial-unrelated", rpc::WORKFLOW_STATUS, &request).await;
    assert_eq!(decoded::<WorkflowStatusResponse>(&reply).traffic_state, "Reads Not Switched. Writes Not Switched");
}
