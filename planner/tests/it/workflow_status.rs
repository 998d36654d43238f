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

/// One stream's row; what is not changed is that of a move of `t1` that runs.
fn one_stream(changes: &[(&str, &str)]) -> Answer {
    let source = r#"keyspace:"src" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1"}}"#;
    let (now, second) = (NOW.seconds.to_string(), (NOW.seconds - 1).to_string());
    let mut row = vec![
        ("#id", "1"),
        ("workflow", "wf"),
        ("source", source),
        ("pos", "MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-3"),
        ("state", "Running"),
        ("message", ""),
        ("#time_updated", &now),
        ("#transaction_timestamp", &second),
        ("#time_heartbeat", "0"),
        ("#workflow_type", "1"),
        ("#rows_copied", "5"),
    ];
    for &(name, value) in changes {
        let cell = row.iter_mut().find(|(column, _)| column.trim_start_matches('#') == name).unwrap();
        cell.1 = value;
    }
    let columns: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
    rows(&columns, &[row.iter().map(|(_, value)| Some((*value).to_owned())).collect()])
}

/// Silence begins after ten seconds; the lag is that of the last transaction, and without one that of the row.
#[test]
fn how_far_behind_a_stream_is() {
    let info = |updated: i64, transaction: i64| {
        let (updated, transaction) = ((NOW.seconds - updated).to_string(), transaction.to_string());
        let row = one_stream(&[("time_updated", &updated), ("transaction_timestamp", &transaction)]);
        let mut cluster = moving();
        // Another stream is far behind.
        let last = (NOW.seconds - 500).to_string();
        cluster.answer(100, "streams", row).answer(200, "streams", one_stream(&[("transaction_timestamp", &last)]));
        ok(&cluster, &wf("wf")).shard_streams["ks/-80"].streams[0].info.clone()
    };
    let at = |ago: i64| NOW.seconds - ago;
    assert_eq!(info(10, at(4)), "VStream Lag: 4s; Tx time: Mon Jan 12 13:46:36 1970.");
    assert_eq!(info(11, at(4)), "VStream may not be running; VStream Lag: 4s; Tx time: Mon Jan 12 13:46:36 1970.");
    assert_eq!(info(3, at(4)), "VStream Lag: 4s; Tx time: Mon Jan 12 13:46:36 1970.");
    assert_eq!(info(3, 0), "VStream Lag: 3s", "no transaction yet");
    assert_eq!(info(3, -7), "VStream Lag: 3s", "a moment that is none");
}

#[test]
fn only_the_workflow_is_read() {
    let (_, asks) = moving().run(&call(&wf("wf")));
    let statements = asks.iter().filter_map(|ask| match &ask.what {
        What::TabletCall { about, .. } => Some(about.statement.as_str()),
        _ => None,
    });
    assert!(statements.clone().count() == 2 && statements.clone().all(|text| text.contains("workflow = 'wf'")), "{asks:?}");
}

#[test]
fn a_keyspace_without_shards_has_no_streams() {
    let mut cluster = moving();
    cluster.global("keyspaces/empty/Keyspace", vec![]);
    let request = WorkflowStatusRequest { keyspace: "empty".into(), ..wf("wf") };
    let text = "failed to get workflow state for empty.wf workflow: no streams found in keyspace empty for wf";
    assert_eq!(error(&cluster, &request), text);
}

/// Which record cannot be read is said, by its name.
#[test]
fn a_record_that_cannot_be_read_is_named() {
    let reshard = r#"keyspace:"ks" shard:"-" filter:{rules:{match:"/.*" filter:"-80"}}"#;
    let partial = r#"keyspace:"src" shard:"-80" filter:{rules:{match:"t1" filter:"select * from t1"}}"#;
    let tables = r#"keyspace:"src" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1"}}"#;
    for (cell, path, source, options, want) in [
        ("global", "RoutingRules", tables, "", "the routing rules"),
        ("global", "ShardRoutingRules", partial, "", "the shard routing rules"),
        ("global", "routing_rules/keyspace/Rules", tables, r#"{"tenant_id":"7"}"#, "the keyspace routing rules"),
        ("zone1", "SrvVSchema", tables, "", "the SrvVSchema of cell zone1"),
        ("zone1", "keyspaces/ks/SrvKeyspace", reshard, "", "the SrvKeyspace of ks in cell zone1"),
        ("global", "keyspaces/ks/shards/-/Shard", reshard, "", "the record of a source shard"),
    ] {
        let mut cluster = moving();
        cluster.put("zone1", "keyspaces/ks/SrvKeyspace", &SrvKeyspace::default());
        for uid in [100, 200] {
            let source = if uid == 200 { source.replace(r#"shard:"-80""#, r#"shard:"80-""#) } else { source.to_owned() };
            let of = StreamOf { source, options: if options.is_empty() { "{}" } else { options }, ..stream(1, "wf") };
            cluster.answer(uid, "streams", streams(&[of]));
        }
        let shard = Shard { primary_alias: Some(alias(900)), ..Shard::default() };
        cluster.answer(900, "streams", rows(&[], &[])).answer(900, "copy state", rows(&[], &[]));
        if source == partial {
            // On one shard of two.
            cluster.answer(200, "streams", streams(&[]));
        }
        if source == reshard && !path.ends_with("/Shard") {
            cluster.put("global", "keyspaces/ks/shards/-/Shard", &shard);
        }
        cluster.topo.insert((cell.into(), path.into()), vec![0xff]);
        if path.ends_with("/Shard") {
            // It can be read as long as the shards are listed, and not when it is read alone.
            cluster.put("global", path, &shard);
            cluster.later.insert(path.into(), vec![0xff]);
        }
        let state = status(&cluster.run(&call(&wf("wf"))).0).traffic_state;
        assert!(state.starts_with(&format!("Unknown: {want} cannot be read: ")), "{path}: {state}");
    }
}

/// What is copied from elsewhere: no source is asked, and of a migration nothing is shown.
#[test]
fn sources_that_are_no_tablets_are_not_asked() {
    for far in [r#"external_cluster:"c2""#, r#"external_mysql:"m""#] {
        let source = format!(r#"keyspace:"src" shard:"0" filter:{{rules:{{match:"t1" filter:"select * from t1"}}}} {far}"#);
        let mut cluster = copying();
        for uid in [100, 200] {
            cluster.answer(uid, "streams", one_stream(&[("source", &source)]));
        }
        let (reply, asks) = cluster.run(&call(&wf("wf")));
        assert!(
            asks.iter().all(|ask| !ask_name(ask).contains("keyspaces/src/") && !ask_name(ask).contains("0000000900")),
            "{far}"
        );
        let table = status(&reply).table_copy_state.remove("t1").unwrap();
        assert_eq!((table.rows_copied, table.rows_total, table.rows_percentage), (20, 0, 0.0), "{far}");
    }
    let mut migrate = copying();
    for uid in [100, 200] {
        migrate.answer(uid, "streams", one_stream(&[("workflow_type", "3")]));
    }
    let (reply, asks) = migrate.run(&call(&wf("wf")));
    assert!(status(&reply).table_copy_state.is_empty() && asks.iter().all(|ask| !ask_name(ask).contains("sizes")));
}

/// Of two source shards one does not say: what the other one has is not all.
#[test]
fn what_one_source_of_two_says_is_not_the_total() {
    let mut cluster = copying();
    cluster.put("global", "keyspaces/src/shards/1/Shard", &Shard { primary_alias: Some(alias(950)), ..Shard::default() });
    cluster.tablet(950, "1");
    for uid in [100, 200] {
        let source = if uid == 100 { "0" } else { "1" };
        let source = format!(r#"keyspace:"src" shard:"{source}" filter:{{rules:{{match:"t1" filter:"select * from t1"}}}}"#);
        cluster.answer(uid, "streams", one_stream(&[("source", &source)]));
    }
    let total = |cluster: &Cluster| {
        let (reply, _) = cluster.run(&call(&wf("wf")));
        let table = status(&reply).table_copy_state.remove("t1").unwrap();
        (table.rows_total, table.rows_percentage, reply.failures.len())
    };
    cluster.answer(950, "table sizes", sizes(&[("t1", 30, 100)]));
    assert_eq!(total(&cluster), (80, 25.0, 0));
    cluster.answer(950, "table sizes", refused("no"));
    assert_eq!(total(&cluster), (0, 0.0, 1));
    // And a target that does not say does not make a source say.
    cluster.answer(100, "table sizes", refused("no"));
    assert_eq!(total(&cluster), (0, 0.0, 2));
}
