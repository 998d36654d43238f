//! Deleting a workflow whose source is gone, down, in another cluster, or written so that nobody can read it.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, StreamOf, alias, refused, rows, same_in_every_order, silent, stream, streams};
use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, Effect, Mode, Reply, What,
    proto::{
        tabletmanagerdata::UpdateVReplicationWorkflowResponse,
        topodata::Shard,
        vtctldata::{WorkflowDeleteRequest, WorkflowDeleteResponse},
    },
    rpc,
};

/// One shard with a stream of `wf` that reads this.
fn reading(source: &str, message: &'static str) -> Cluster {
    let mut cluster = Cluster::new(&["0"]);
    cluster.cell("zone1").put("zone1", "SrvVSchema", &vtflow_planner::proto::vschema::SrvVSchema::default());
    let stream = StreamOf { source: source.into(), message, ..stream(7, "wf") };
    cluster.answer(100, "streams", streams(&[stream]));
    let done = Answer::Called(UpdateVReplicationWorkflowResponse::default().encode_to_vec());
    for subject in ["v18", "delete", "vdiff", "log"] {
        cluster.answer(100, subject, done.clone());
    }
    cluster.answer(100, "table sizes", rows(&[], &[]));
    cluster
}

/// The keyspace `src` with shard `0`, whose primary answers this to a look for the other direction.
fn with_source(mut cluster: Cluster, answer: &Answer) -> Cluster {
    cluster.global("keyspaces/src/Keyspace", vec![]);
    let record = Shard { primary_alias: Some(alias(900)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/src/shards/0/Shard", &record);
    cluster.tablet(900, "0");
    cluster.answer(900, "streams", answer.clone()).answer(900, "copy state", rows(&[], &[]));
    cluster
}

fn deletion(ignore_source: bool, force: bool, mode: Mode) -> Call {
    let request = WorkflowDeleteRequest {
        keyspace: "ks".into(),
        workflow: "wf".into(),
        keep_data: true,
        keep_routing_rules: true,
        ignore_source_keyspace: ignore_source,
        ..WorkflowDeleteRequest::default()
    };
    let options = CallOptions { force, mode, ..CallOptions::default() };
    Call { path: rpc::WORKFLOW_DELETE.into(), request: request.encode_to_vec(), options }
}

fn writes(cluster: &Cluster, call: &Call) -> (Reply, usize) {
    let (reply, asks) = cluster.run(call);
    let is_write = |what: &What| matches!(what, What::TabletCall { effect: Effect::Write, .. });
    let writes = asks.iter().filter(|ask| is_write(&ask.what)).count();
    (reply, writes)
}

const OF_SRC: &str = r#"keyspace:"src" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1"}}"#;

#[test]
fn a_source_that_cannot_be_looked_at_is_said_and_can_be_left_alone() {
    let filter = r#"filter:{rules:{match:"t1" filter:"select * from t1"}}"#;
    let cases = [
        ("gone", reading(OF_SRC, ""), r#"the source keyspace "src" does not exist"#),
        (
            "shard gone",
            with_source(reading(&OF_SRC.replace("\"0\"", "\"-40\""), ""), &rows(&[], &[])),
            r#"in the source keyspace "src" shard "-40" does not exist"#,
        ),
        ("down", with_source(reading(OF_SRC, ""), &silent(900)), "did not answer in 10s"),
        ("refusing", with_source(reading(OF_SRC, ""), &refused("too many connections")), "too many connections"),
        (
            "no primary",
            with_source(reading(OF_SRC, ""), &rows(&[], &[]))
                .put("global", "keyspaces/src/shards/0/Shard", &Shard::default())
                .clone(),
            "no primary found for shard src/0",
        ),
        (
            "another cluster",
            reading(&format!(r#"keyspace:"far" shard:"0" {filter} external_cluster:"ext1""#), ""),
            r#"keyspace "far" of the external cluster "ext1" is not in this cluster"#,
        ),
        (
            "a MySQL",
            reading(&format!(r#"keyspace:"legacy" shard:"0" {filter} external_mysql:"old1""#), ""),
            r#"the external MySQL "old1" is not in this cluster"#,
        ),
        ("nothing", reading("", ""), r#"stream 7 of ks/0 reads keyspace "", which cannot exist"#),
        ("a path", reading(&format!(r#"keyspace:"../x" shard:"0" {filter}"#), ""), "which cannot exist"),
        ("garbage", reading("keyspace:{{", ""), "stream 7 of ks/0 does not say what it reads"),
    ];
    for (name, cluster, want) in cases {
        let (reply, sent) = writes(&cluster, &deletion(false, false, Mode::Perform));
        let text = reply.result.expect_err("a refusal").message;
        assert!(text.contains(want) && text.contains("nothing was changed") && sent == 0, "{name}: {text}");
        assert!(text.contains("vtflow workflow delete ks wf --ignore-source (in a request: ignore_source_keyspace)"), "{text}");
        for (ignore, force) in [(true, false), (false, true), (true, true)] {
            let (reply, sent) = writes(&cluster, &deletion(ignore, force, Mode::Perform));
            let bytes = reply.result.unwrap_or_else(|status| panic!("{name} {ignore} {force}: {}", status.message));
            let response = WorkflowDeleteResponse::decode(bytes.as_slice()).expect("such a message");
            assert_eq!(response.summary, "Successfully cancelled the wf workflow in the ks keyspace", "{name}");
            assert_eq!(sent, 3, "{name}: streams, comparisons, log");
            let plan = reply.written.expect("a request that writes").plan;
            assert!(vtflow_screen::plans::text(&plan).contains("stream 7"), "{name}: {}", vtflow_screen::plans::text(&plan));
            assert!(!plan.kept.iter().any(|text| text.contains("log rows")), "{name}: they are deleted");
        }
        for (ignore, force) in [(false, false), (true, false), (false, true)] {
            same_in_every_order(&cluster, &deletion(ignore, force, Mode::Perform));
        }
    }
}

#[test]
fn the_plan_says_what_is_left_alone() {
    let kept = |cluster: &Cluster| {
        let (reply, _) = cluster.run(&deletion(true, false, Mode::Preview));
        let plan = reply.written.expect("a plan").plan;
        (plan.kept[2..].to_vec(), plan.warnings)
    };
    let there = with_source(reading(OF_SRC, ""), &streams(&[stream(1, "wf_reverse")]));
    let left = r#"whatever there is of the workflow in keyspace "src": streams of "wf_reverse", denied tables, journals"#;
    assert_eq!(kept(&there), (vec![left.to_owned()], vec![]));
    let gone = r#"the source keyspace "src" does not exist"#;
    assert_eq!(kept(&reading(OF_SRC, "")), (vec![], vec![gone.to_owned()]), "nothing can be left where nothing is");
}

#[test]
fn a_frozen_workflow_without_a_source_is_a_leftover() {
    let (reply, sent) = writes(&reading(OF_SRC, "FROZEN"), &deletion(true, false, Mode::Perform));
    assert!(reply.result.is_ok() && sent == 3, "{reply:?}");
    // One whose source is only down may be switched back.
    let down = with_source(reading(OF_SRC, "FROZEN"), &silent(900));
    let (reply, sent) = writes(&down, &deletion(true, false, Mode::Perform));
    assert!(reply.result.expect_err("a refusal").message.contains("is frozen on ks/0") && sent == 0);
}
