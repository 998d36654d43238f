//! `WorkflowStatus` from request bytes to reply bytes, on clusters made of plain data.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, NOW, StreamOf, alias, ask_name, copy_states, refused, rows, silent, stream, streams};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, Flow, Lost, Reply, What,
    proto::{
        topodata::{Shard, ShardReference, SrvKeyspace, Tablet, TabletType, srv_keyspace::KeyspacePartition},
        vschema::{RoutingRule, RoutingRules, SrvVSchema},
        vtctldata::{WorkflowStatusRequest, WorkflowStatusResponse},
    },
    rpc,
};

fn wf(name: &str) -> WorkflowStatusRequest {
    WorkflowStatusRequest { keyspace: "ks".into(), workflow: name.into(), shards: vec![] }
}

fn call(request: &WorkflowStatusRequest) -> Call {
    Call { path: rpc::WORKFLOW_STATUS.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn status(reply: &Reply) -> WorkflowStatusResponse {
    let bytes = reply.result.as_ref().unwrap_or_else(|status| panic!("{status}"));
    WorkflowStatusResponse::decode(bytes.as_slice()).unwrap()
}

fn ok(cluster: &Cluster, request: &WorkflowStatusRequest) -> WorkflowStatusResponse {
    let reply = cluster.run(&call(request)).0;
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    status(&reply)
}

fn error(cluster: &Cluster, request: &WorkflowStatusRequest) -> String {
    cluster.run(&call(request)).0.result.expect_err("an error").message
}

fn sizes(list: &[(&str, i64, i64)]) -> Answer {
    let list: Vec<_> = list
        .iter()
        .map(|(table, rows, bytes)| vec![Some((*table).to_owned()), Some(rows.to_string()), Some(bytes.to_string())])
        .collect();
    rows(&["TABLE_NAME", "#TABLE_ROWS", "#DATA_LENGTH"], &list)
}

/// Two shards move `t1` from src/0, whose primary is 900. Cell zone1.
fn moving() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.cell("zone1").put("zone1", "SrvVSchema", &SrvVSchema::default());
    let source = Shard { primary_alias: Some(alias(900)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/src/shards/0/Shard", &source);
    cluster.tablet(900, "0");
    let path = "tablets/zone1-0000000900/Tablet";
    let record = &cluster.topo[&("zone1".to_owned(), path.to_owned())];
    let tablet = Tablet { keyspace: "src".into(), ..Tablet::decode(record.as_slice()).unwrap() };
    cluster.put("zone1", path, &tablet);
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[stream(1, "wf")])).answer(uid, "table sizes", sizes(&[("t1", 10, 100)]));
    }
    cluster.answer(900, "table sizes", sizes(&[("t1", 50, 1000)]));
    cluster
}

/// The same in the middle of the copy.
fn copying() -> Cluster {
    let mut cluster = moving();
    for uid in [100, 200] {
        cluster.answer(uid, "copy state", copy_states(&[(1, 1, "t1")]));
    }
    cluster
}

fn rules(list: &[(&str, &str)]) -> RoutingRules {
    let rule = |&(from, to): &(&str, &str)| RoutingRule { from_table: from.into(), to_tables: vec![to.into()] };
    RoutingRules { rules: list.iter().map(rule).collect() }
}

#[test]
fn a_running_workflow_has_streams_and_traffic_but_no_tables() {
    let (reply, asks) = moving().run(&call(&wf("wf")));
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let status = status(&reply);
    assert!(status.table_copy_state.is_empty());
    assert_eq!(status.traffic_state, "Reads Not Switched. Writes Not Switched");
    assert_eq!(status.shard_streams.keys().collect::<Vec<_>>(), ["ks/-80", "ks/80-"]);
    let stream = &status.shard_streams["ks/80-"].streams[0];
    assert_eq!((stream.id, stream.status.as_str(), stream.source_shard.as_str()), (1, "Running", "src/0"));
    assert_eq!(stream.tablet, Some(alias(200)));
    assert_eq!(stream.info, "VStream Lag: 1s; Tx time: Mon Jan 12 13:46:39 1970.");
    assert_eq!(asks.iter().map(|ask| ask.round).max(), Some(3), "nothing more is asked when nothing is copied");
    assert!(asks.iter().all(|ask| !ask_name(ask).contains("sizes")));
}

#[test]
fn where_traffic_goes_is_read_from_the_rules_and_the_cells() {
    let mut cluster = moving();
    cluster.put("global", "RoutingRules", &rules(&[("src.t1", "ks.t1")]));
    assert_eq!(ok(&cluster, &wf("wf")).traffic_state, "Reads Not Switched. Writes Switched");
    let served = rules(&[("src.t1@replica", "ks.t1"), ("src.t1@rdonly", "ks.t1")]);
    cluster.put("zone1", "SrvVSchema", &SrvVSchema { routing_rules: Some(served), ..SrvVSchema::default() });
    assert_eq!(ok(&cluster, &wf("wf")).traffic_state, "All Reads Switched. Writes Switched");
    // What cannot be known is not guessed.
    cluster.break_topo("zone1", "SrvVSchema", "deadline exceeded: /vitess/zone1/SrvVSchema");
    let (reply, _) = cluster.run(&call(&wf("wf")));
    assert_eq!(status(&reply).traffic_state, "Unknown: deadline exceeded: /vitess/zone1/SrvVSchema");
    assert_eq!((reply.failures.len(), reply.failures[0].lost), (1, Lost::Record));
    assert_eq!(status(&reply).shard_streams.len(), 2, "the rest is there");
}

/// vtctld fails where a cell serves nothing that it could read.
#[test]
fn a_cell_that_serves_nothing_is_not_one_where_nothing_is_switched() {
    let mut cluster = moving();
    cluster.cell("zone2");
    let (reply, _) = cluster.run(&call(&wf("wf")));
    assert_eq!(status(&reply).traffic_state, "Unknown: node doesn't exist: /vitess/zone2/SrvVSchema");
    assert_eq!((reply.failures.len(), reply.failures[0].lost), (1, Lost::Record), "{:?}", reply.failures);
    // Which keyspaces a cell serves does not decide where tables are read.
    cluster.put("zone2", "SrvVSchema", &SrvVSchema::default());
    cluster.break_topo("zone2", "keyspaces/ks/SrvKeyspace", "down");
    assert_eq!(ok(&cluster, &wf("wf")).traffic_state, "Reads Not Switched. Writes Not Switched");
    cluster.break_topo("global", "cells/", "no cells today");
    assert_eq!(status(&cluster.run(&call(&wf("wf"))).0).traffic_state, "Unknown: no cells today");
}

/// What says what is moved cannot be read: its traffic is not guessed, and the stream is there.
#[test]
fn traffic_of_what_cannot_be_read_is_unknown() {
    for (name, bad, part) in [
        ("source", StreamOf { source: "garbage".into(), ..stream(1, "wf") }, "stream 1: column source: "),
        ("options", StreamOf { options: "{", ..stream(1, "wf") }, "stream 1: column options: "),
        ("two sources", StreamOf { source: r#"keyspace:"b" shard:"0""#.into(), ..stream(1, "wf") }, "multiple source keyspaces"),
    ] {
        let mut cluster = copying();
        cluster.answer(200, "streams", streams(&[bad]));
        let (reply, _) = cluster.run(&call(&wf("wf")));
        let status = status(&reply);
        assert!(status.traffic_state.starts_with("Unknown: ") && status.traffic_state.contains(part), "{}", status.traffic_state);
        assert_eq!(status.shard_streams["ks/80-"].streams[0].id, 1, "{name}");
        assert!(reply.failures.iter().any(|failure| failure.message.contains(part)), "{name}: {:?}", reply.failures);
        assert_eq!(status.table_copy_state["t1"].rows_percentage.to_bits(), 0, "{name}");
    }
    let mut cluster = moving();
    cluster.answer(200, "streams", streams(&[StreamOf { pos: "pos", ..stream(1, "wf") }]));
    let (reply, _) = cluster.run(&call(&wf("wf")));
    assert_eq!(status(&reply).traffic_state, "Reads Not Switched. Writes Not Switched", "a position moves nothing");
    assert_eq!(status(&reply).shard_streams["ks/80-"].streams[0].position, "pos");
}

#[test]
fn a_reshard_is_switched_when_the_old_shard_does_not_serve() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.cell("zone1");
    let source = r#"keyspace:"ks" shard:"-" filter:{rules:{match:"/.*" filter:"-80"}}"#;
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[StreamOf { source: source.into(), ..stream(1, "wf") }]));
    }
    let shard = |is_primary_serving| Shard { is_primary_serving, primary_alias: Some(alias(900)), ..Shard::default() };
    let reference = ShardReference { name: "-".into(), key_range: None };
    let partition = |kind: TabletType| KeyspacePartition {
        served_type: kind.into(),
        shard_references: vec![reference.clone()],
        shard_tablet_controls: vec![],
    };
    let partitions = vec![partition(TabletType::Replica), partition(TabletType::Rdonly)];
    cluster.put("zone1", "keyspaces/ks/SrvKeyspace", &SrvKeyspace { partitions, ..SrvKeyspace::default() });
    cluster.put("global", "keyspaces/ks/shards/-/Shard", &shard(true));
    cluster.tablet(900, "-");
    for subject in ["streams", "copy state"] {
        cluster.answer(900, subject, rows(&[], &[]));
    }
    assert_eq!(ok(&cluster, &wf("wf")).traffic_state, "Reads Not Switched. Writes Not Switched");
    cluster.put("global", "keyspaces/ks/shards/-/Shard", &shard(false));
    cluster.put("zone1", "keyspaces/ks/SrvKeyspace", &SrvKeyspace::default());
    assert_eq!(ok(&cluster, &wf("wf")).traffic_state, "All Reads Switched. Writes Switched");
}

#[test]
fn copy_progress_sums_targets_and_sources() {
    let (reply, asks) = copying().run(&call(&wf("wf")));
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let table = status(&reply).table_copy_state.remove("t1").unwrap();
    assert_eq!((table.rows_copied, table.rows_total, table.bytes_copied, table.bytes_total), (20, 50, 200, 1000));
    assert_eq!((table.rows_percentage, table.bytes_percentage, table.phase), (40.0, 20.0, 2));
    let statements: Vec<_> = asks
        .iter()
        .filter_map(|ask| match &ask.what {
            What::TabletCall { about, .. } if about.subject == "table sizes" => Some(about.statement.as_str()),
            _ => None,
        })
        .collect();
    let select = |db: &str| {
        format!(
            "select table_name, table_rows, data_length from information_schema.tables where table_schema = '{db}' and table_name in ('t1')"
        )
    };
    assert_eq!(statements, [select("vt_ks"), select("vt_ks"), select("vt_src")], "each tablet its own database");

    // The statistics lag behind: each stream says that it has copied 5 rows.
    let mut cluster = copying();
    for uid in [100, 200] {
        cluster.answer(uid, "table sizes", sizes(&[("t1", 0, 16_384)]));
    }
    let table = ok(&cluster, &wf("wf")).table_copy_state.remove("t1").unwrap();
    assert_eq!((table.rows_copied, table.phase), (10, 2));
}

#[test]
fn a_part_that_is_not_known_does_not_hide_the_rest() {
    // No statistics anywhere: what the streams have counted is still there.
    let mut cluster = copying();
    for uid in [100, 200, 900] {
        cluster.answer(uid, "table sizes", refused("no such table"));
    }
    let (reply, _) = cluster.run(&call(&wf("wf")));
    assert_eq!(status(&reply).table_copy_state["t1"].rows_copied, 10);
    assert_eq!(reply.failures.len(), 3);
    assert_eq!(reply.failures[0].message, "table statistics: no such table");
    let table = status(&reply).table_copy_state.remove("t1").unwrap();
    assert_eq!((table.rows_total, table.rows_percentage, table.bytes_percentage), (0, 0.0, 0.0), "not known is not 100 %");
    // The source keyspace is gone.
    let mut cluster = copying();
    cluster.topo.remove(&("global".into(), "keyspaces/src/shards/0/Shard".into()));
    let (reply, _) = cluster.run(&call(&wf("wf")));
    assert_eq!(status(&reply).table_copy_state["t1"].rows_copied, 20);
    assert!(reply.failures[0].message.starts_with("table statistics of the source: node doesn't exist: "));
    let table = status(&reply).table_copy_state.remove("t1").unwrap();
    assert_eq!((table.rows_total, table.rows_percentage, table.phase), (0, 0.0, 2), "not known is not 100 %");
    // A target does not say: what is copied is not known, nor is how much that is of all.
    let mut cluster = copying();
    cluster.answer(200, "table sizes", silent(200));
    let table = status(&cluster.run(&call(&wf("wf"))).0).table_copy_state.remove("t1").unwrap();
    assert_eq!((table.rows_copied, table.rows_total, table.rows_percentage), (15, 0, 0.0));
    // Nor is it while a shard's streams are not known.
    let mut cluster = copying();
    cluster.answer(200, "streams", silent(200));
    let table = status(&cluster.run(&call(&wf("wf"))).0).table_copy_state.remove("t1").unwrap();
    assert_eq!((table.rows_copied, table.rows_total, table.rows_percentage, table.phase), (20, 0, 0.0, 2));
    // A shard that does not answer.
    let mut cluster = moving();
    cluster.answer(200, "streams", silent(200));
    let (reply, _) = cluster.run(&call(&wf("wf")));
    let streams = status(&reply).shard_streams;
    let stream = &streams["ks/80-"].streams[0];
    assert_eq!((stream.status.as_str(), stream.info.as_str()), ("Unknown", "zone1-0000000200 did not answer in 10s"));
    assert_eq!(streams["ks/-80"].streams[0].status, "Running");
    let strict = Call { options: CallOptions { strict: true, ..CallOptions::default() }, ..call(&wf("wf")) };
    assert!(cluster.run(&strict).0.result.is_err());
}

#[test]
fn what_a_stream_says_of_itself() {
    let of = |change: fn(&mut StreamOf)| {
        let mut one = stream(1, "wf");
        change(&mut one);
        let mut cluster = moving();
        cluster.answer(100, "streams", streams(&[one]));
        ok(&cluster, &wf("wf")).shard_streams["ks/-80"].streams[0].info.clone()
    };
    assert_eq!(of(|stream| stream.message = "terminal error: x"), "terminal error: x");
    assert_eq!(of(|stream| stream.pos = ""), "VStream has not started");
    assert_eq!(
        of(|stream| stream.time_updated = NOW.seconds - 90),
        "VStream may not be running; VStream Lag: 90s; Tx time: Mon Jan 12 13:45:10 1970."
    );
    assert_eq!(of(|stream| stream.time_updated = NOW.seconds + 5).split(';').next(), Some("VStream Lag: 0s"), "a fast clock");
}

#[test]
fn only_the_shards_asked_for_are_shown() {
    let request = WorkflowStatusRequest { shards: vec!["80-".into()], ..wf("wf") };
    assert_eq!(ok(&moving(), &request).shard_streams.keys().collect::<Vec<_>>(), ["ks/80-"]);
    let request = WorkflowStatusRequest { shards: vec!["80-".into(), "nope".into()], ..wf("wf") };
    assert_eq!(error(&moving(), &request), "shard nope not found in keyspace ks");
}

#[test]
fn what_does_not_exist_is_named_as_vitess_names_it() {
    let cluster = moving();
    let of = |keyspace: &str| WorkflowStatusRequest { keyspace: keyspace.into(), ..wf("wf") };
    assert_eq!(
        error(&cluster, &wf("nope")),
        "failed to get workflow state for ks.nope workflow: no streams found in keyspace ks for nope"
    );
    assert_eq!(
        error(&cluster, &of("nope")),
        "failed to get workflow state for nope.wf workflow: FindAllShardsInKeyspace(nope): List: \
         node doesn't exist: /vitess/global/keyspaces/nope/shards"
    );
    assert!(error(&cluster, &of("../x")).contains("cannot exist"));
    assert!(error(&cluster, &wf("")).ends_with("no workflow is named"));
}

#[test]
fn replies_do_not_depend_on_the_order_of_answers() {
    let mut runner = TestRunner::new_with_rng(Config::with_cases(256), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut broken = copying();
    broken.answer(100, "table sizes", refused("no")).answer(200, "copy state", silent(200));
    broken.break_topo("zone1", "SrvVSchema", "down").break_topo("global", "ShardRoutingRules", "down, too");
    for cluster in [copying(), broken] {
        let first = cluster.run(&call(&wf("wf"))).0;
        let strategy = prop::collection::vec(0_usize..16, 1..24);
        runner
            .run(&strategy, |picks| {
                let mut picks = picks.into_iter().cycle();
                let reply = cluster.run_in_order(&call(&wf("wf")), |count| picks.next().unwrap_or(0) % count).0;
                prop_assert_eq!(&reply, &first);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn no_answer_panics() {
    let mut runner = TestRunner::new_with_rng(Config::with_cases(1_000), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let bad = prop_oneof![
        bytes().prop_map(|value| Answer::Found { value, version: 1 }),
        bytes().prop_map(Answer::Called),
        Just(Answer::Missing { node: "x".into() }),
        Just(Answer::Range(vec![])),
        Just(refused("no")),
    ];
    // Right answers, but for one.
    runner
        .run(&(bad, 0_usize..24), |(bad, place)| {
            let cluster = copying();
            let (_, asks) = cluster.run(&call(&wf("wf")));
            let mut flow = Flow::start(&call(&wf("wf")), NOW);
            let mut given = 0;
            while flow.reply().is_none() {
                for ask in flow.asks() {
                    let answer = if given == place { bad.clone() } else { cluster.perform(&ask, 0) };
                    flow.answer(ask.id, answer);
                    given += 1;
                }
            }
            prop_assert!(given <= asks.len() + 4);
            Ok(())
        })
        .unwrap();
}
