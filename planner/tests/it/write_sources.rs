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

/// Clusters whose source cannot be looked at, by what is wrong, and what is said of each.
fn without_a_source() -> [(&'static str, Cluster, &'static str); 10] {
    let filter = r#"filter:{rules:{match:"t1" filter:"select * from t1"}}"#;
    [
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
    ]
}

#[test]
fn a_source_that_cannot_be_looked_at_is_said_and_can_be_left_alone() {
    for (name, cluster, want) in without_a_source() {
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
    }
}

#[test]
fn a_source_that_cannot_be_looked_at_is_told_alike_in_every_order() {
    for (_, cluster, _) in without_a_source() {
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

/// The keyspace `src` with shard `0` alone, and `wf` with a stream for each of these shards of it.
fn reading_shards(shards: &[&str], message: &'static str) -> Cluster {
    let mut cluster = with_source(reading(OF_SRC, message), &rows(&[], &[]));
    let of = |(id, shard): (i64, &&str)| {
        let source = OF_SRC.replace("\"0\"", &format!("\"{shard}\""));
        StreamOf { source, message, ..stream(id, "wf") }
    };
    cluster.answer(100, "streams", streams(&(7..).zip(shards).map(of).collect::<Vec<_>>()));
    cluster
}

#[test]
fn a_source_is_gone_when_all_of_its_shards_that_were_read_are() {
    let refusal = |shards: &[&str]| {
        let (reply, sent) = writes(&reading_shards(shards, ""), &deletion(false, false, Mode::Perform));
        assert_eq!(sent, 0);
        reply.result.expect_err("a refusal").message
    };
    let text = refusal(&["-40", "40-80"]);
    assert!(text.contains(r#"in the source keyspace "src" shards "-40", "40-80" do not exist"#), "{text}");
    let text = refusal(&["0", "-40"]);
    assert!(text.contains(r#"in the source keyspace "src" shard "-40" does not exist"#), "{text}");
    // Then there is nowhere to switch back to, and what is frozen is a leftover.
    let (reply, sent) = writes(&reading_shards(&["-40", "40-80"], "FROZEN"), &deletion(true, false, Mode::Perform));
    assert!(reply.result.is_ok() && sent == 3, "{reply:?}");
    let (reply, sent) = writes(&reading_shards(&["0", "-40"], "FROZEN"), &deletion(true, false, Mode::Perform));
    assert!(reply.result.expect_err("a refusal").message.contains("is frozen on ks/0") && sent == 0);
}

#[test]
fn one_source_shard_that_does_not_answer_may_have_the_other_direction() {
    let mut cluster = reading_shards(&["0", "1"], "");
    // What the other one has is not all of it.
    cluster.answer(900, "streams", streams(&[stream(1, "wf_reverse")]));
    let record = Shard { primary_alias: Some(alias(901)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/src/shards/1/Shard", &record).tablet(901, "1");
    cluster.answer(901, "streams", silent(901)).answer(901, "copy state", rows(&[], &[]));
    let (reply, sent) = writes(&cluster, &deletion(false, false, Mode::Perform));
    let text = reply.result.expect_err("a refusal").message;
    assert!(
        text.contains("the source keyspace \"src\" cannot be looked at: ") && text.contains("did not answer in 10s"),
        "{text}"
    );
    assert_eq!(sent, 0);
}

#[test]
fn a_source_that_is_there_or_may_be_has_something_left() {
    let planned = |cluster: &Cluster, ignore, force| {
        let plan = cluster.run(&deletion(ignore, force, Mode::Preview)).0.written.expect("a plan").plan;
        (plan.kept[2..].to_vec(), plan.warnings)
    };
    let mut away = with_source(reading(OF_SRC, ""), &rows(&[], &[]));
    away.break_topo("global", "keyspaces/src/shards/", "etcd is away");
    let left =
        r#"whatever there is of the workflow in keyspace "src": streams of "wf_reverse", denied tables, journals"#.to_owned();
    let short = r#"the source keyspace "src" cannot be looked at"#.to_owned();
    assert_eq!(planned(&away, true, false), (vec![left.clone()], vec![short.clone()]));
    let forced = "forced; its traffic: Reads Not Switched. Writes Not Switched".to_owned();
    assert_eq!(planned(&away, false, true), (vec![left], vec![short, forced]));
}

#[test]
fn a_source_that_is_gone_is_the_reason_why_its_traffic_is_not_known() {
    let gone = r#"the source keyspace "src" does not exist"#;
    let unknown = "where its traffic goes is not known";
    let mut no_rules = reading(OF_SRC, "");
    no_rules.break_topo("global", "RoutingRules", "the rules are away");
    // The status of the workflow looks at its streams once more.
    let mut too_late = reading(OF_SRC, "");
    too_late.pages(100, "streams", vec![streams(&[stream(7, "wf")]), refused("too late")]);
    for cluster in [no_rules, too_late] {
        let (reply, sent) = writes(&cluster, &deletion(true, false, Mode::Perform));
        assert!(reply.result.is_ok() && sent == 3, "{reply:?}");
        assert_eq!(reply.written.expect("a request that writes").plan.warnings, [gone, unknown]);
        // One that is there, and is only to be left alone, is none.
        let there = with_source(cluster, &rows(&[], &[]));
        let (reply, sent) = writes(&there, &deletion(true, false, Mode::Perform));
        let text = reply.result.expect_err("a refusal").message;
        assert!(text.starts_with("where traffic goes is not known (") && sent == 0, "{text}");
    }
}
