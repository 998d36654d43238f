//! What `Diagnose` takes into account, and of which workflow: keyspaces that belong together, streams of one name, records that change.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use crate::support::{Cluster, NOW, StreamOf, alias, rows, silent, stream, streams};
use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Flow, Record, Reply, What, limits,
    proto::{
        topodata::Shard,
        vschema::{
            KeyspaceRoutingRule, KeyspaceRoutingRules, MirrorRule, MirrorRules, RoutingRule, RoutingRules, ShardRoutingRule,
            ShardRoutingRules,
        },
        vtflow::{DiagnoseRequest, DiagnoseResponse, DiagnosedWorkflow},
    },
    rpc,
};

pub(crate) fn call(keyspace: &str, workflow: &str) -> Call {
    let request = DiagnoseRequest { keyspace: keyspace.into(), workflow: workflow.into(), sequences: false };
    Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

pub(crate) fn diagnose(cluster: &Cluster, keyspace: &str) -> (DiagnoseResponse, Vec<Ask>) {
    let (reply, asks) = cluster.run(&call(keyspace, ""));
    (response(&reply), asks)
}

fn response(reply: &Reply) -> DiagnoseResponse {
    DiagnoseResponse::decode(reply.result.as_ref().expect("a reply").as_slice()).expect("a DiagnoseResponse")
}

pub(crate) fn of_source(id: i64, source: &str) -> StreamOf {
    StreamOf { source: format!("{source} filter:{{rules:{{match:\"t1\" filter:\"select * from t1\"}}}}"), ..stream(id, "wf") }
}

/// A keyspace of these shards, primaries of which have journals that say nothing.
pub(crate) fn cluster(shards: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(shards);
    for (uid, _) in (100..).step_by(100).zip(shards) {
        cluster.answer(uid, "journals", rows(&["#id", "val"], &[]));
    }
    cluster
}

pub(crate) fn keyspace(cluster: &mut Cluster, name: &str) {
    cluster.global(&format!("keyspaces/{name}/Keyspace"), vec![]);
}

/// A source shard that has no streams, and the only one of its keyspace.
pub(crate) fn source(cluster: &mut Cluster, name: &str, shard: &str, uid: u32) {
    keyspace(cluster, name);
    let record = Shard { primary_alias: Some(alias(uid)), is_primary_serving: true, ..Shard::default() };
    cluster.global(&format!("keyspaces/{name}/shards/{shard}/Shard"), record.encode_to_vec());
    cluster.tablet(uid, shard);
    cluster.answer(uid, "streams", rows(&[], &[])).answer(uid, "journals", rows(&["#id", "val"], &[]));
}

fn route(cluster: &mut Cluster, rules: &[(&str, &str)]) {
    let rule = |(from, to): &(&str, &str)| RoutingRule { from_table: (*from).into(), to_tables: vec![(*to).into()] };
    cluster.put("global", "RoutingRules", &RoutingRules { rules: rules.iter().map(rule).collect() });
}

/// The keyspaces whose shards are asked for.
fn read(asks: &[Ask]) -> BTreeSet<String> {
    let name = |ask: &Ask| match &ask.what {
        What::TopoRange { prefix, .. } => Some(prefix.strip_prefix("keyspaces/")?.strip_suffix("/shards/")?.to_owned()),
        _ => None,
    };
    asks.iter().filter_map(name).collect()
}

fn phases(found: &DiagnoseResponse) -> Vec<(&str, &str)> {
    found.workflows.iter().map(|it| (it.source_keyspace.as_str(), it.phase.as_str())).collect()
}

#[test]
fn keyspaces_that_rules_connect_are_read_together() {
    let mut cluster = Cluster::default();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        keyspace(&mut cluster, name);
    }
    route(&mut cluster, &[("a.t1@replica", "b.t1"), ("c.t1", "d.t1"), ("t9", "h.t9")]);
    let (from_keyspace, to_keyspace) = ("a".to_owned(), "e".to_owned());
    let rules = vec![ShardRoutingRule { from_keyspace, to_keyspace, shard: "-80".into() }];
    cluster.put("global", "ShardRoutingRules", &ShardRoutingRules { rules });
    let rules = vec![KeyspaceRoutingRule { from_keyspace: "a@rdonly".into(), to_keyspace: "f".into() }];
    cluster.put("global", "routing_rules/keyspace/Rules", &KeyspaceRoutingRules { rules });
    let rules = vec![MirrorRule { from_table: "g.t1".into(), to_table: "a.t1".into(), percent: 10.0 }];
    cluster.put("global", "MirrorRules", &MirrorRules { rules });
    for (of, want) in [
        ("a", &["a", "b", "e", "f", "g"][..]),
        ("b", &["a", "b"]),
        ("d", &["c", "d"]),
        ("e", &["a", "e"]),
        ("f", &["a", "f"]),
        ("g", &["a", "g"]),
        ("h", &["h"]),
    ] {
        let (_, asks) = diagnose(&cluster, of);
        assert_eq!(read(&asks), want.iter().map(|name| (*name).to_owned()).collect(), "{of}");
    }
    // What leads from one shard or keyspace to another is nobody's here.
    let (found, _) = diagnose(&cluster, "");
    let shard_rules = found.leftovers.iter().filter(|it| it.mechanism == "leftover_shard_rules");
    assert_eq!(shard_rules.flat_map(|it| &it.places).collect::<Vec<_>>(), ["a.-80 -> e", "a@rdonly -> f"]);
}

#[test]
fn rules_that_lead_to_no_keyspace_are_told_as_that() {
    let mut cluster = Cluster::new(&["-80"]);
    route(&mut cluster, &[("ks.t9", "gone.t9")]);
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(found.leftovers.len(), 1, "{found:?}");
    assert!(found.leftovers[0].hurts.ends_with("lead to gone: there is no such keyspace"), "{}", found.leftovers[0].hurts);
}

#[test]
fn streams_that_cannot_go_on_are_told_with_their_keyspace() {
    let mut cluster = cluster(&["-80"]);
    source(&mut cluster, "src", "0", 500);
    let message = "Cannot replicate because the source purged required binary logs (errno 1236)";
    cluster.answer(100, "streams", streams(&[StreamOf { state: "Error", message, ..stream(7, "wf") }]));
    for of in ["", "ks"] {
        let (found, _) = diagnose(&cluster, of);
        let [of_workflow] = &found.workflows[..] else { panic!("{found:?}") };
        let told = of_workflow.deviations.iter().find(|it| it.mechanism == "binlogs_gone").expect("it");
        assert_eq!(told.places, ["ks/-80 zone1-0000000100 stream 7"], "{of}");
    }
    let other = "Duplicate entry '1' for key 'PRIMARY' (errno 1062)";
    cluster.answer(100, "streams", streams(&[StreamOf { state: "Error", message: other, ..stream(7, "wf") }]));
    let (found, _) = diagnose(&cluster, "");
    let told = found.workflows.iter().flat_map(|it| &it.deviations);
    let told: Vec<_> = told.map(|it| (it.mechanism.as_str(), it.hurts.contains(other))).collect();
    assert_eq!(told, [("stream_failed", true)], "its binary logs are there");
    assert!(found.leftovers.is_empty(), "it is told of once: {found:?}");
}

#[test]
fn a_migration_from_another_cluster_does_not_need_its_source_here() {
    let mut cluster = cluster(&["-80", "80-"]);
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[of_source(7, r#"keyspace:"ext" shard:"0" external_cluster:"far""#)]));
    }
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(phases(&found), [("ext", "not_switched")], "{found:?}");
    assert_eq!(found.workflows[0].kind, "migrate");
    // Its target is looked at as any other.
    cluster.answer(200, "streams", silent(200));
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(phases(&found), [("ext", "unknown")], "{found:?}");
}

/// A reshard of `-80` into two, whose streams are called `wf`.
fn reshard() -> Cluster {
    let mut cluster = cluster(&["-80", "-40", "40-80", "80-"]);
    for (uid, shard) in [(200, "-40"), (300, "40-80")] {
        let record = Shard { primary_alias: Some(alias(uid)), ..Shard::default() };
        cluster.global(&format!("keyspaces/ks/shards/{shard}/Shard"), record.encode_to_vec());
        cluster.answer(uid, "streams", streams(&[of_source(7, r#"keyspace:"ks" shard:"-80""#)]));
    }
    cluster
}

#[test]
fn of_a_reshard_only_shards_of_its_key_range_matter() {
    let (found, _) = diagnose(&reshard(), "");
    assert_eq!((phases(&found), found.workflows[0].kind.as_str()), (vec![("ks", "not_switched")], "reshard"), "{found:?}");
    assert_eq!(deviations(&found), [], "of its target, `80-` is no shard");
    for (uid, phase) in [(400, "not_switched"), (200, "unknown"), (100, "unknown")] {
        let mut cluster = reshard();
        cluster.answer(uid, "streams", silent(uid));
        let (found, _) = diagnose(&cluster, "");
        assert_eq!(phases(&found), [("ks", phase)], "without {uid}: {found:?}");
    }
}

#[test]
fn of_a_move_of_tables_every_shard_of_its_keyspaces_matters() {
    let mut cluster = cluster(&["-80", "80-", "80-c0"]);
    source(&mut cluster, "src", "-", 500);
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[of_source(7, r#"keyspace:"src" shard:"-""#)]));
    }
    let without = Shard { primary_alias: Some(alias(300)), ..Shard::default() };
    cluster.global("keyspaces/ks/shards/80-c0/Shard", without.encode_to_vec());
    assert_eq!(phases(&diagnose(&cluster, "").0), [("src", "not_switched")]);
    cluster.answer(300, "streams", silent(300));
    assert_eq!(phases(&diagnose(&cluster, "").0), [("src", "unknown")]);
}

#[test]
fn streams_of_other_workflows_matter_to_a_reshard() {
    let mut cluster = reshard();
    let held = StreamOf { workflow: "mat2", state: "Stopped", message: "for cutover", ..stream(9, "mat2") };
    cluster.answer(100, "streams", streams(&[held]));
    let (found, _) = diagnose(&cluster, "ks");
    let of_reshard: Vec<&DiagnosedWorkflow> = found.workflows.iter().filter(|it| it.kind == "reshard").collect();
    let told: Vec<&str> = of_reshard[0].deviations.iter().map(|it| it.mechanism.as_str()).collect();
    assert_eq!(told, ["source_streams_stopped"], "{found:?}");
}

#[test]
fn workflows_of_one_name_with_two_sources_are_two() {
    let mut cluster = cluster(&["-80"]);
    source(&mut cluster, "src", "0", 500);
    source(&mut cluster, "src2", "0", 600);
    let frozen = StreamOf { state: "Stopped", message: "FROZEN", ..of_source(8, r#"keyspace:"src2" shard:"0""#) };
    cluster.answer(100, "streams", streams(&[of_source(7, r#"keyspace:"src" shard:"0""#), frozen]));
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(phases(&found), [("src", "not_switched"), ("src2", "ending")], "{found:?}");
}

#[test]
fn a_workflows_name_is_as_long_as_one_can_be() {
    let cluster = Cluster::new(&["-80"]);
    let of = |length: usize| cluster.run(&call("ks", &"w".repeat(length)));
    assert!(of(1000).0.result.is_ok());
    let (reply, asks) = of(1001);
    assert!(reply.result.is_err_and(|status| status.message.contains("1001 bytes")));
    assert_eq!(asks.len(), 0);
}

#[test]
fn what_streams_lead_to_is_read_with_them_but_not_for_ever() {
    let mut cluster = cluster(&["-80"]);
    for (name, uid) in [("k1", 500), ("k2", 600), ("k3", 700), ("k4", 800), ("k5", 900)] {
        source(&mut cluster, name, "0", uid);
    }
    let lead_to = |name: &str| streams(&[of_source(7, &format!("keyspace:\"{name}\" shard:\"0\""))]);
    let readings = |cluster: &Cluster| {
        let (_, asks) = diagnose(cluster, "ks");
        let is_it = |ask: &&Ask| matches!(&ask.what, What::TopoRange { prefix, .. } if prefix == "keyspaces/ks/shards/");
        asks.iter().filter(is_it).count()
    };
    // How often one reading asks for the shards.
    cluster.answer(100, "streams", rows(&[], &[]));
    let once = readings(&cluster);
    cluster.answer(100, "streams", lead_to("k1"));
    assert_eq!(readings(&cluster), 2 * once, "again, with the other keyspace");
    cluster.pages(100, "streams", ["k1", "k2", "k3", "k4", "k5"].map(lead_to).to_vec());
    assert_eq!(readings(&cluster), 3 * once, "and once more where they lead elsewhere meanwhile");
}

/// What is wrong with the only workflow.
fn deviations(found: &DiagnoseResponse) -> Vec<(&str, Vec<&str>)> {
    assert_eq!(found.workflows.len(), 1, "{found:?}");
    let of_all = found.workflows.iter().flat_map(|it| &it.deviations);
    of_all.map(|it| (it.mechanism.as_str(), it.places.iter().map(String::as_str).collect())).collect()
}

#[test]
fn a_shard_lacks_streams_only_if_its_primary_was_asked() {
    let mut cluster = cluster(&["-80", "80-"]);
    source(&mut cluster, "src", "-", 500);
    cluster.answer(100, "streams", streams(&[of_source(7, r#"keyspace:"src" shard:"-""#)]));
    cluster.answer(200, "streams", streams(&[]));
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(deviations(&found), [("streams_on_some_shards", vec!["ks/80-"])]);

    cluster.answer(200, "streams", silent(200));
    let (found, _) = diagnose(&cluster, "");
    assert_eq!((deviations(&found), phases(&found)), (vec![], vec![("src", "unknown")]));
}

#[test]
fn a_shard_without_primary_matters_if_it_serves() {
    for (serves, phase) in [(false, "not_switched"), (true, "unknown")] {
        let mut cluster = cluster(&["-80", "80-"]);
        source(&mut cluster, "src", "-", 500);
        for uid in [100, 200] {
            cluster.answer(uid, "streams", streams(&[of_source(7, r#"keyspace:"src" shard:"-""#)]));
        }
        let record = Shard { is_primary_serving: serves, ..Shard::default() };
        cluster.global("keyspaces/ks/shards/80-c0/Shard", record.encode_to_vec());
        assert_eq!(phases(&diagnose(&cluster, "").0), [("src", phase)]);
    }
}

#[test]
fn a_copy_that_cannot_be_read_is_no_workflow_that_moves_traffic() {
    let mut cluster = cluster(&["-80"]);
    source(&mut cluster, "src", "0", 500);
    let unreadable = StreamOf { options: "{", ..stream(7, "wf") };
    cluster.answer(100, "streams", streams(std::slice::from_ref(&unreadable)));
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(phases(&found), [("src", "unknown")], "{found:?}");
    assert!(found.workflows[0].unknown[0].starts_with("stream 7 of ks/-80: "), "{:?}", found.workflows[0].unknown);

    cluster.answer(100, "streams", streams(&[StreamOf { workflow_type: "0", ..unreadable.clone() }]));
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(phases(&found), [], "a Materialize");
    cluster.answer(100, "streams", streams(&[StreamOf { workflow_type: "99", ..unreadable }]));
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(phases(&found), [("src", "unknown")], "nobody knows what it is");
}

#[test]
fn keyspaces_that_are_too_many_are_told() {
    let mut cluster = Cluster::default();
    for number in 0..=limits::DIAGNOSED_KEYSPACES {
        keyspace(&mut cluster, &format!("k{number:04}"));
    }
    let (reply, asks) = cluster.run(&call("", ""));
    let told: Vec<&str> = reply.failures.iter().map(|failure| failure.message.as_str()).collect();
    assert_eq!(told, ["1 keyspaces are left out: name one"]);
    assert_eq!(read(&asks).len(), limits::DIAGNOSED_KEYSPACES);
    let (reply, _) = cluster.run(&call("k0001", ""));
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
}

#[test]
fn what_is_missing_is_known_before_the_end() {
    let mut cluster = cluster(&["-80", "80-"]);
    let record = Shard { is_primary_serving: true, ..Shard::default() };
    cluster.global("keyspaces/ks/shards/80-/Shard", record.encode_to_vec());
    let mut flow = Flow::start(&call("", ""), NOW);
    let (mut waiting, mut known) = (flow.asks(), Vec::new());
    while let Some(ask) = waiting.pop() {
        known = flow.failures();
        flow.answer(ask.id, cluster.perform(&ask, 0));
        waiting.extend(flow.asks());
    }
    let texts: Vec<&str> = known.iter().map(|failure| failure.message.as_str()).collect();
    assert_eq!(texts, ["no primary found for shard ks/80-"]);
    assert_eq!(flow.failures(), known);
}

/// What streams may bring in all is shared alike by the shards of all keyspaces that are read.
#[test]
fn of_many_shards_each_may_say_its_share() {
    let names: Vec<String> = (0..100).map(|at| format!("s{at:03}")).collect();
    let mut cluster = cluster(&names.iter().map(String::as_str).collect::<Vec<_>>());
    source(&mut cluster, "src", "0", 90_000);
    let share = limits::READS_BYTES / (2 * 100);
    let large = |bytes: usize| {
        rows(&["#id", "workflow", "message"], &[vec![Some("1".into()), Some("a".into()), Some("x".repeat(bytes))]])
    };
    cluster.answer(100, "streams", large(share - 500)).answer(200, "streams", large(share));
    let (reply, _) = cluster.run(&call("", ""));
    let told: Vec<&str> = reply.failures.iter().map(|failure| failure.message.as_str()).collect();
    let want = format!("the streams of zone1-0000000200 have more than {share} bytes: ask for one workflow, or for fewer shards");
    assert_eq!(told.iter().filter(|text| text.contains("have more than")).collect::<Vec<_>>(), [&want], "{told:?}");
}

#[test]
fn of_very_many_keyspaces_fewer_cells_are_looked_at_which_is_told() {
    let most = limits::DIAGNOSED_RECORDS / limits::DIAGNOSED_KEYSPACES;
    for (cells, want) in [(most, &[][..]), (most + 3, &["3 cells are left out: name a keyspace"])] {
        let mut flow = Flow::start(&call("", ""), NOW);
        let record = |path: String| Record { path, value: Vec::new(), version: 1 };
        for ask in flow.asks() {
            let answer = match &ask.what {
                What::TopoRange { prefix, .. } if prefix == "cells/" => {
                    Answer::Range((0..cells).map(|at| record(format!("cells/c{at:04}/CellInfo"))).collect())
                }
                What::TopoList { prefix, .. } if prefix == "keyspaces/" => {
                    let names = 0..limits::DIAGNOSED_KEYSPACES;
                    Answer::Range(names.map(|at| record(format!("keyspaces/k{at:04}/Keyspace"))).collect())
                }
                _ => Answer::Missing { node: "nothing".into() },
            };
            flow.answer(ask.id, answer);
        }
        let is_served = |ask: &&Ask| matches!(&ask.what, What::TopoGet { path, .. } if path.ends_with("/SrvKeyspace"));
        assert_eq!(flow.asks().iter().filter(is_served).count(), limits::DIAGNOSED_RECORDS);
        assert_eq!(flow.failures().iter().map(|failure| failure.message.as_str()).collect::<Vec<_>>(), want);
    }
}
