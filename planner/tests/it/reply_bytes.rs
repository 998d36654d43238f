//! Workflows in a reply that may have so many bytes and no more: which shards are left out, and at how many bytes each has room.
//!
//! What a reply takes is reckoned from above before it is written, so each number is a little more than the reply's own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, NOW, StreamOf, alias, all, call, refused, rows, stream, streams};
use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Failure, Flow, Lost, Reply,
    proto::{
        topodata::Shard,
        vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, Workflow},
    },
};

fn within(cluster: &Cluster, call: &Call, reply_bytes: usize) -> Reply {
    let options = CallOptions { reply_bytes: u64::try_from(reply_bytes).unwrap(), ..CallOptions::default() };
    cluster.run(&Call { options, ..call.clone() }).0
}

fn bytes_of(reply: &Reply) -> usize {
    reply.result.as_ref().map_or(0, Vec::len)
}

fn workflows(reply: &Reply) -> Vec<Workflow> {
    GetWorkflowsResponse::decode(reply.result.as_ref().unwrap().as_slice()).unwrap().workflows
}

fn names(reply: &Reply) -> Vec<String> {
    workflows(reply).into_iter().map(|workflow| workflow.name).collect()
}

/// The shards that are left out, each with its bytes in the reply.
fn left_out(reply: &Reply) -> Vec<(&str, usize)> {
    let left_out = |failure: &'_ Failure| {
        let rest = failure.message.strip_prefix("left out: it makes ")?;
        let (bytes, rest) = rest.split_once(" bytes of a reply that may have ")?;
        assert!(
            rest.ends_with(" in all; ask for one workflow, or for fewer shards") && failure.lost == Lost::Shard,
            "{failure:?}"
        );
        bytes.parse().ok()
    };
    reply.failures.iter().filter_map(|failure| Some((failure.shard.as_str(), left_out(failure)?))).collect()
}

/// The texts of the stand-ins in a workflow, by shard.
fn stand_ins(workflow: &Workflow) -> Vec<(&str, &str)> {
    let streams = workflow.shard_streams.values().flat_map(|shard| &shard.streams);
    streams.filter(|stream| stream.id == 0).map(|stream| (stream.shard.as_str(), stream.message.as_str())).collect()
}

/// Three shards. Workflow `a`, with options, is on all of them, `b` only on the largest, `c` only on the third one. By names alone `a1`
/// is on two, and every other one on one.
fn three() -> Cluster {
    let mut cluster = Cluster::new(&["-40", "40-80", "80-"]);
    let of = |id: i64, workflow: &'static str, bytes: usize| StreamOf {
        message: Box::leak("x".repeat(bytes).into_boxed_str()),
        options: if workflow == "a" { r#"{"tenant_id":"tenant","shards":["-40","40-80"]}"# } else { "{}" },
        ..stream(id, workflow)
    };
    cluster.answer(100, "streams", streams(&[of(1, "a", 10)]));
    cluster.answer(200, "streams", streams(&[of(1, "a", 700), of(2, "b", 900), of(3, "a", 50)]));
    cluster.answer(300, "streams", streams(&[of(4, "a", 20), of(5, "c", 400)]));
    for (uid, names) in [(100, &["n1", "z"][..]), (200, &["a1", "nn2", "nn3", "nn4"]), (300, &["a1", "nn5"])] {
        let names: Vec<_> = names.iter().map(|name| vec![Some((*name).to_owned())]).collect();
        cluster.answer(uid, "names", rows(&["workflow"], &names));
    }
    cluster
}

#[test]
fn the_largest_shard_is_left_out_first_and_only_as_many_as_must_be() {
    let cluster = three();
    assert_eq!(bytes_of(&within(&cluster, &call(&all()), 0)), 3371);
    let (largest, next) = (("40-80", 2206), ("80-", 809));
    for (limit, want, left) in [
        (3880, vec![], vec!["a", "b", "c"]),
        (3879, vec![largest], vec!["a", "c"]),
        (1963, vec![largest], vec!["a", "c"]),
        (1962, vec![largest, next], vec!["a"]),
        (679, vec![largest, next], vec!["a"]),
    ] {
        let reply = within(&cluster, &call(&all()), limit);
        assert_eq!((left_out(&reply), names(&reply)), (want.clone(), left.into_iter().map(str::to_owned).collect()), "{limit}");
        assert!(bytes_of(&reply) <= limit, "{} bytes of {limit}", bytes_of(&reply));
        let a = &workflows(&reply)[0];
        let mut shards: Vec<&str> = vec!["-40", "40-80", "80-"];
        shards.retain(|shard| want.iter().all(|(gone, _)| gone != shard));
        assert_eq!(a.target.as_ref().unwrap().shards, shards, "{limit}: targets are shards known to have streams");
        let states: Vec<&str> = a.shard_streams.values().map(|shard| shard.streams[0].state.as_str()).collect();
        assert!(states.iter().filter(|state| **state == "Running").count() == shards.len(), "{limit}: {states:?}");
    }
    let reply = within(&cluster, &call(&all()), 678);
    assert_eq!((left_out(&reply).len(), reply.result.is_err()), (3, true), "an empty list would look as if there were none");
}

/// A stand-in of the shard that does not answer is reckoned with in every workflow, and has what room there is.
#[test]
fn a_shard_without_an_answer_takes_room_too() {
    let mut cluster = three();
    cluster.put("global", "keyspaces/ks/shards/zz/Shard", &Shard { primary_alias: Some(alias(400)), ..Shard::default() });
    cluster.tablet(400, "zz");
    let text = "y".repeat(150);
    for subject in ["streams", "copy state", "logs"] {
        cluster.answer(400, subject, refused(&text));
    }
    let whole = within(&cluster, &call(&all()), 4648);
    assert_eq!((left_out(&whole), bytes_of(&whole)), (vec![], 4028));
    for workflow in workflows(&whole) {
        assert_eq!(stand_ins(&workflow), [("zz", text.as_str())], "{}", workflow.name);
    }
    let one_less = within(&cluster, &call(&all()), 4647);
    assert_eq!((left_out(&one_less), names(&one_less)), (vec![("40-80", 2206)], vec!["a".to_owned(), "c".to_owned()]));
    let least = within(&cluster, &call(&all()), 1963);
    assert_eq!(left_out(&least), [("40-80", 2206)]);
    for workflow in workflows(&least) {
        assert_eq!(stand_ins(&workflow), [("zz", "and 1 more shards gave no answer: see the failures")], "{}", workflow.name);
    }
    assert_eq!(left_out(&within(&cluster, &call(&all()), 1962)), [("40-80", 2206), ("80-", 809)]);
}

/// A name that two shards have is not lost with the one of them that is left out.
#[test]
fn names_that_only_a_left_out_shard_has_are_left_out() {
    let cluster = three();
    let only_names = call(&GetWorkflowsRequest { name_only: true, ..all() });
    for (limit, want, left) in [
        (1025, vec![], vec!["a1", "n1", "nn2", "nn3", "nn4", "nn5", "z"]),
        (1024, vec![("-40", 291), ("40-80", 441)], vec!["a1", "nn5"]),
        (805, vec![("-40", 291), ("40-80", 441)], vec!["a1", "nn5"]),
        (804, vec![("-40", 291), ("40-80", 441), ("80-", 147)], vec!["a1"]),
    ] {
        let reply = within(&cluster, &only_names, limit);
        assert_eq!((left_out(&reply), names(&reply)), (want, left.into_iter().map(str::to_owned).collect()), "{limit}");
        assert!(bytes_of(&reply) <= limit, "{} bytes of {limit}", bytes_of(&reply));
    }
}

/// Two shards whose records name one tablet: its names are one tablet's, and the last of the shards is told of.
#[test]
fn names_that_one_tablet_gives_twice_are_left_out_with_it() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.put("global", "keyspaces/ks/shards/80-/Shard", &Shard { primary_alias: Some(alias(100)), ..Shard::default() });
    let names = ["n1", "n2", "n3"].map(|name| vec![Some(name.to_owned())]);
    cluster.answer(100, "names", rows(&["workflow"], &names));
    let only_names = call(&GetWorkflowsRequest { name_only: true, ..all() });
    let reply = within(&cluster, &only_names, 100);
    assert_eq!((left_out(&reply), reply.result.is_err()), (vec![("80-", 438)], true));
    assert_eq!(self::names(&within(&cluster, &only_names, 438)), ["n1", "n2", "n3"]);
}

/// What was wrong with the rows of a shard that is left out is no news any more.
#[test]
fn of_a_shard_that_is_left_out_nothing_else_is_told() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let bad = |bytes: usize| StreamOf { options: "{", message: Box::leak("x".repeat(bytes).into_boxed_str()), ..stream(1, "a") };
    cluster.answer(100, "streams", streams(&[bad(10)])).answer(200, "streams", streams(&[bad(2_000)]));
    let told = |reply: &Reply| {
        let text = |failure: &Failure| failure.message.split([':', ',']).take(2).collect::<Vec<_>>().join(":");
        reply.failures.iter().map(|failure| format!("{} {}", failure.shard, text(failure))).collect::<Vec<_>>()
    };
    let fault = |shard: &str| format!("{shard} stream 1: column options");
    assert_eq!(told(&within(&cluster, &call(&all()), 0)), [fault("-80"), fault("80-")]);
    let told = told(&within(&cluster, &call(&all()), 2_000));
    assert_eq!((told.len(), &told[0]), (2, &fault("-80")));
    assert!(told[1].starts_with("80- left out: it makes "), "{told:?}");
}

/// A reply in parts may wait for its client for long: it keeps the rows that it has, and no others.
#[test]
fn a_reply_in_parts_does_not_keep_a_shard_that_is_left_out() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let long = |bytes: usize| StreamOf { message: Box::leak("x".repeat(bytes).into_boxed_str()), ..stream(1, "a") };
    cluster.answer(100, "streams", streams(&[long(500)])).answer(200, "streams", streams(&[long(100_000)]));
    let options = CallOptions { reply_bytes: 5_000, ..CallOptions::default() };
    let call = Call { options, ..call(&all()) };
    let mut flow = Flow::start(&call, NOW);
    flow.in_parts();
    let mut asks = flow.asks();
    while let Some(ask) = asks.pop() {
        flow.answer(ask.id, cluster.perform(&ask, 0));
        asks.extend(flow.asks());
    }
    let mut reply = flow.into_reply().expect("all is answered");
    assert_eq!(left_out(&reply).len(), 1, "{:?}", reply.failures);
    let held = reply.rest.held_bytes();
    assert!(reply.rest.len() > 500 && held < 5_000, "{held} bytes for {}", reply.rest.len());
    reply.join();
    assert_eq!(reply.result, cluster.run(&call).0.result);
}
