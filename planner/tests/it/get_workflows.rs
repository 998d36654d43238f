//! GetWorkflows from request bytes to reply bytes, on clusters made of plain data.

use crate::support::{
    Cluster, NOW, THEN, alias, alias_text, all, ask_name, call, copy_states, logs, refused, rows, same_in_every_order, silent,
    stream, streams,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, Code, FailureKind, Flow, Lost, What, limits,
    proto::{
        topodata::{Shard, Tablet, shard::TabletControl},
        vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, Workflow, WorkflowOptions, workflow::ReplicationLocation},
        vttime::Time,
    },
    rpc,
};

/// Two shards: workflow `a` on both, `b` copying on -80 only, with logs.
fn two_shards() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster
        .answer(100, "streams", streams(&[stream(1, "a"), stream(2, "b")]))
        .answer(100, "copy state", copy_states(&[(7, 2, "t1"), (9, 2, "t2")]))
        .answer(100, "logs", logs(&[(5, 2, THEN), (4, 1, THEN), (3, 99, THEN)]))
        .answer(200, "streams", streams(&[stream(1, "a")]))
        .answer(200, "logs", logs(&[(8, 1, THEN)]))
        .answer(100, "names", rows(&["workflow"], &[vec![Some("a".into())], vec![Some("b".into())]]))
        .answer(200, "names", rows(&["workflow"], &[vec![Some("a".into())]]));
    cluster
}

#[test]
fn three_rounds_and_nothing_waits_for_another_shard() {
    let (reply, asks) = two_shards().run(&call(&all()));
    assert!(reply.failures.is_empty());
    let rounds: Vec<_> = asks.iter().map(|ask| (ask.round, ask_name(ask))).collect();
    assert_eq!(rounds[0], (1, "keyspaces/ks/shards/".into()));
    assert_eq!(rounds.iter().filter(|(round, _)| *round == 2).count(), 2);
    assert_eq!(rounds.iter().filter(|(round, _)| *round == 3).count(), 2, "one statement for each primary, with logs");
    assert_eq!(rounds.len(), 5);
    let (_, asks) = two_shards().run(&call(&GetWorkflowsRequest { include_logs: false, ..all() }));
    assert_eq!(asks.iter().filter(|ask| ask.round == 3).count(), 2, "and without");
    assert_eq!(asks.len(), 5);

    // The second shard's tablet record never comes: the first shard's call is out all the same.
    let mut flow = Flow::start(&call(&all()), NOW);
    let range = flow.asks().remove(0);
    let records = two_shards().topo.into_iter().filter(|((_, path), _)| path.starts_with("keyspaces/ks/shards/"));
    let records = records.map(|((_, path), value)| vtflow_planner::Record { path, value, version: 1 }).collect();
    flow.answer(range.id, Answer::Range(records));
    let gets = flow.asks();
    let value = two_shards().topo[&("zone1".into(), format!("tablets/{}/Tablet", alias_text(200)))].clone();
    let get = gets.iter().find(|ask| ask_name(ask).contains("200")).unwrap();
    flow.answer(get.id, Answer::Found { value, version: 1 });
    let subjects: Vec<_> = flow.asks().iter().map(ask_name).collect();
    assert_eq!(subjects, ["zone1-0000000200 streams, copy state and logs"]);
}

#[test]
fn workflows_are_grouped_by_name_over_shards() {
    let (workflows, reply) = two_shards().workflows(&all());
    assert!(reply.failures.is_empty());
    let names: Vec<_> = workflows.iter().map(|workflow| workflow.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let a = &workflows[0];
    assert_eq!(a.target.as_ref().unwrap().shards, ["-80", "80-"]);
    assert_eq!(a.source.as_ref().unwrap().keyspace, "src");
    assert_eq!(a.shard_streams.keys().collect::<Vec<_>>(), ["-80/zone1-0000000100", "80-/zone1-0000000200"]);
    let b = &workflows[1].shard_streams["-80/zone1-0000000100"];
    assert_eq!(b.streams[0].state, "Copying", "Running with copy state");
    let tables: Vec<_> = b.streams[0].copy_states.iter().map(|state| (state.table.as_str(), state.stream_id)).collect();
    assert_eq!(tables, [("t1", 2), ("t2", 2)]);
    assert_eq!((a.workflow_type.as_str(), a.workflow_sub_type.as_str(), a.max_v_replication_lag), ("MoveTables", "None", 1));
    assert!(b.is_primary_serving);
}

#[test]
fn statements_are_scoped_to_the_tablet_and_the_request() {
    let request = GetWorkflowsRequest { workflow: "it's".into(), active_only: true, ..all() };
    let (_, asks) = two_shards().run(&call(&request));
    for ask in asks {
        if let What::TabletCall { about, request, path, .. } = ask.what {
            assert!(
                about.statement.contains(r"db_name = 'vt_ks' and workflow = 'it\'s' and state != 'Stopped'"),
                "{}",
                about.statement
            );
            assert!(String::from_utf8_lossy(&request).contains(&about.statement), "what is shown is what is sent");
            assert_eq!(path, rpc::VREPLICATION_EXEC);
        }
    }
}

#[test]
fn name_only_asks_for_names_only() {
    let request = GetWorkflowsRequest { name_only: true, ..all() };
    let (reply, asks) = two_shards().run(&call(&request));
    let calls: Vec<_> = asks.iter().filter(|ask| ask.round == 3).map(ask_name).collect();
    assert_eq!(calls, ["zone1-0000000100 names", "zone1-0000000200 names"]);
    let reply = GetWorkflowsResponse::decode(reply.result.unwrap().as_slice()).unwrap();
    let names: Vec<_> = reply.workflows.iter().map(|workflow| workflow.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(reply.workflows[0].shard_streams.is_empty());
}

#[test]
fn a_shard_named_twice_is_one_target() {
    let request = GetWorkflowsRequest { shards: vec!["80-".into(), "80-".into()], ..all() };
    let (workflows, _) = two_shards().workflows(&request);
    assert_eq!(workflows.len(), 1);
    assert_eq!(workflows[0].shard_streams["80-/zone1-0000000200"].streams.len(), 1);
}

#[test]
fn the_records_decide_over_names_and_controls() {
    let mut cluster = two_shards();
    let controls = TabletControl { tablet_type: 2, denied_tables: vec!["t1".into()], ..TabletControl::default() };
    let record =
        Shard { primary_alias: Some(crate::support::alias(100)), tablet_controls: vec![controls.clone()], ..Shard::default() };
    cluster.global("keyspaces/ks/shards/-80/Shard", record.encode_to_vec());
    cluster.global("keyspaces/ks/shards/-80/locks/123", b"{}".to_vec());
    let (workflows, _) = cluster.workflows(&all());
    let shard = &workflows[0].shard_streams["-80/zone1-0000000100"];
    assert_eq!(shard.tablet_controls, [controls]);
    assert!(!shard.is_primary_serving);
    assert!(workflows[0].shard_streams["80-/zone1-0000000200"].tablet_controls.is_empty());
}

#[test]
fn a_keyspace_that_cannot_be_asked_is_an_error() {
    let ask = |keyspace: &str| GetWorkflowsRequest { keyspace: keyspace.into(), ..all() };
    assert_eq!(two_shards().error(&ask("nope")), "node doesn't exist: /vitess/global/keyspaces/nope/shards/");
    let mut empty = Cluster::default();
    empty.global("keyspaces/ks/Keyspace", vec![]);
    assert_eq!(empty.error(&all()), "no shards found in keyspace ks");
    let request = GetWorkflowsRequest { shards: vec!["-80".into(), "nope".into(), "no".into()], ..all() };
    assert_eq!(two_shards().error(&request), "shard nope not found in keyspace ks");
    let mut down = two_shards();
    down.broken.insert(0, Answer::Failed { kind: FailureKind::Unreachable, message: "etcd is gone".into() });
    assert_eq!(down.error(&all()), "etcd is gone");
}

#[test]
fn names_that_cannot_exist() {
    for (keyspace, want) in [
        ("../x", "keyspace \"../x\" cannot exist: invalid character . in name ../x".to_owned()),
        ("", "keyspace \"\" cannot exist: empty name".to_owned()),
        (&"x".repeat(65), format!("keyspace \"{0}\" cannot exist: name {0} is too long", "x".repeat(65))),
    ] {
        let (reply, asks) = two_shards().run(&call(&GetWorkflowsRequest { keyspace: keyspace.into(), ..all() }));
        assert!(asks.is_empty(), "nothing is read for {keyspace:?}");
        assert_eq!(reply.result.unwrap_err().message, want);
    }
    let long = GetWorkflowsRequest { workflow: "w".repeat(limits::WORKFLOW_NAME_BYTES + 1), ..all() };
    assert_eq!(two_shards().run(&call(&long)).0.result.unwrap_err().code, Code::InvalidArgument);
    let garbage = Call { path: rpc::GET_WORKFLOWS.into(), request: vec![0xff, 1, 2], options: CallOptions::default() };
    assert_eq!(two_shards().run(&garbage).0.result.unwrap_err().code, Code::InvalidArgument);
    let nobody = Call { path: "/vtctlservice.Vtctld/Nope".into(), request: vec![], options: CallOptions::default() };
    assert_eq!(two_shards().run(&nobody).0.result.unwrap_err().code, Code::Unimplemented);
}

#[test]
fn a_shard_without_primary_adds_nothing_and_is_named() {
    let mut cluster = two_shards();
    cluster.global("keyspaces/ks/shards/c0-/Shard", Shard::default().encode_to_vec());
    cluster.global("keyspaces/ks/shards/d0-/Shard", vec![0x0a, 0x00]);
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!(workflows[0].shard_streams.len(), 2);
    let failures: Vec<_> = reply.failures.iter().map(|f| (f.shard.as_str(), f.lost, f.message.as_str())).collect();
    assert_eq!(
        failures,
        [
            ("c0-", Lost::NoPrimary, "no primary found for shard ks/c0-"),
            ("d0-", Lost::NoPrimary, "no primary found for shard ks/d0-")
        ]
    );
    let request = GetWorkflowsRequest { shards: vec!["c0-".into()], ..all() };
    assert_eq!(cluster.error(&request), "no primary found for shard ks/c0-");
}

#[test]
fn a_shard_that_cannot_be_asked_is_unknown_in_every_workflow() {
    for (name, reason, breaks) in [
        ("silent", "zone1-0000000200 did not answer in 10s", silent(200)),
        ("closed", "vreplication engine is closed", refused("vreplication engine is closed")),
        ("garbage", "the answer of zone1-0000000200 cannot be read", Answer::Called(vec![0xff; 9])),
    ] {
        let mut cluster = two_shards();
        cluster.answer(200, "streams", breaks);
        let (workflows, reply) = cluster.workflows(&all());
        assert_eq!(reply.failures.len(), 1, "{name}");
        assert_eq!((reply.failures[0].lost, reply.failures[0].tablet.as_str()), (Lost::Shard, "zone1-0000000200"));
        for workflow in &workflows {
            let streams = &workflow.shard_streams["80-/zone1-0000000200"].streams;
            assert_eq!((streams.len(), streams[0].id, streams[0].state.as_str()), (1, 0, "Unknown"), "{name}");
            assert!(streams[0].message.contains(reason), "{name}: {}", streams[0].message);
            assert!(
                streams[0].time_updated.is_some() && streams[0].throttler_status.is_some() && streams[0].binlog_source.is_some()
            );
        }
        assert_eq!(workflows[1].target.as_ref().unwrap().shards, ["-80"], "{name}: targets are shards known to have streams");
    }
}

#[test]
fn records_that_name_nobody_are_failures() {
    for (name, path, value, want) in [
        ("corrupt shard", "keyspaces/ks/shards/80-/Shard", vec![0x0a, 0xff], "GetShard(ks,80-): bad shard data: "),
        ("cell outside", "keyspaces/ks/shards/80-/Shard", vec![0x0a, 6, 0x0a, 2, b'.', b'.', 0x10, 1], "impossible cell"),
    ] {
        let mut cluster = two_shards();
        cluster.global(path, value);
        let (workflows, reply) = cluster.workflows(&all());
        assert!(reply.failures[0].message.contains(want), "{name}: {:?}", reply.failures);
        assert!(workflows[0].shard_streams.keys().any(|key| key.starts_with("80-/")), "{name}: shown as unknown");
    }
    let mut cluster = two_shards();
    cluster.global("keyspaces/ks/shards/lk/locks/1", b"{}".to_vec());
    let (_, reply) = cluster.workflows(&all());
    assert_eq!(reply.failures[0].message, "node doesn't exist: /vitess/global/keyspaces/ks/shards/lk/Shard");
    assert_eq!(reply.failures[0].lost, Lost::NoPrimary, "nothing runs where there is no record");

    let path = ("zone1".to_owned(), format!("tablets/{}/Tablet", alias_text(200)));
    for (name, change, want) in [
        ("gone", None, "node doesn't exist: /vitess/zone1/tablets/zone1-0000000200/Tablet"),
        ("corrupt", Some(vec![0xff]), "the record of tablet zone1-0000000200 cannot be read"),
        ("empty", Some(vec![]), "empty tablet hostname"),
        ("shut down", Some(vec![0x40, 1]), "tablet is shutdown"),
    ] {
        let mut cluster = two_shards();
        match change {
            Some(value) => cluster.topo.insert(path.clone(), value),
            None => cluster.topo.remove(&path),
        };
        let (workflows, reply) = cluster.workflows(&all());
        assert!(reply.failures[0].message.contains(want), "{name}: {:?}", reply.failures);
        assert_eq!(workflows[0].shard_streams["80-/zone1-0000000200"].streams[0].state, "Unknown", "{name}");
    }
}

#[test]
fn strict_fails_with_every_place() {
    let mut cluster = two_shards();
    cluster.answer(200, "streams", silent(200));
    cluster.global("keyspaces/ks/shards/c0-/Shard", vec![]);
    let strict = Call { options: CallOptions { strict: true, ..CallOptions::default() }, ..call(&all()) };
    let (reply, _) = cluster.run(&strict);
    assert_eq!(
        reply.result.unwrap_err().message,
        "ks/80- zone1-0000000200: zone1-0000000200 did not answer in 10s\nks/c0-: no primary found for shard ks/c0-"
    );
}

#[test]
fn nothing_known_and_something_failed_is_an_error() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    assert!(cluster.workflows(&all()).0.is_empty(), "no workflows is an answer");
    cluster.answer(200, "streams", silent(200));
    assert_eq!(cluster.error(&all()), "zone1-0000000200 did not answer in 10s");
}

#[test]
fn without_copy_state_running_is_unknown() {
    let mut cluster = two_shards();
    cluster.answer(100, "copy state", refused("boom"));
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!(reply.failures[0].lost, Lost::CopyState);
    let stream = &workflows[0].shard_streams["-80/zone1-0000000100"].streams[0];
    assert_eq!((stream.state.as_str(), stream.message.as_str()), ("Unknown", "copy state could not be read: boom"));
    assert_eq!(workflows[0].shard_streams["80-/zone1-0000000200"].streams[0].state, "Running", "the other tablet's are known");
}

#[test]
fn copy_state_of_old_releases_is_asked_for_in_the_old_form() {
    let mut cluster = two_shards();
    let unknown = refused(
        "TabletManager.VReplicationExec on zone1-0000000100 error: Unknown column 'id' in 'where clause' (errno 1054) (sqlstate 42S22)",
    );
    let old = rows(&["#vrepl_id", "table_name", "lastpk"], &[vec![Some("2".into()), Some("t1".into()), None]]);
    cluster.pages(100, "copy state", vec![unknown, old]);
    let (reply, asks) = cluster.run(&call(&all()));
    assert!(reply.failures.is_empty());
    let deepest = asks.iter().max_by_key(|ask| ask.round).unwrap();
    let What::TabletCall { about, .. } = &deepest.what else { panic!("{deepest:?}") };
    assert_eq!(deepest.round, 5, "behind the statement that has all in one, and the newer form");
    assert!(
        !about.statement.contains("max(id)") && about.statement.contains("order by vrepl_id, table_name"),
        "{}",
        about.statement
    );
    let reply = GetWorkflowsResponse::decode(reply.result.unwrap().as_slice()).unwrap();
    let stream = &reply.workflows[1].shard_streams["-80/zone1-0000000100"].streams[0];
    assert_eq!((stream.state.as_str(), stream.copy_states[0].last_pk.as_str()), ("Copying", ""));
}

#[test]
fn logs_are_the_streams_own_in_ascending_order() {
    let (workflows, _) = two_shards().workflows(&all());
    let ids = |workflow: usize, shard: &str| -> Vec<i64> {
        workflows[workflow].shard_streams[shard].streams[0].logs.iter().map(|log| log.id).collect()
    };
    assert_eq!(ids(0, "-80/zone1-0000000100"), [4], "row 3 is of no stream of this tablet");
    assert_eq!(ids(1, "-80/zone1-0000000100"), [5]);
    assert_eq!(ids(0, "80-/zone1-0000000200"), [8]);
    assert_eq!(workflows[0].shard_streams["80-/zone1-0000000200"].streams[0].logs[0].created_at.unwrap().seconds, 1_136_214_245);
}

#[test]
fn logs_that_cannot_be_read_are_said_where_they_are_missing() {
    let mut cluster = two_shards();
    cluster.answer(200, "streams", streams(&[stream(1, "a"), stream(3, "a")])).answer(200, "logs", refused("no log today"));
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!((reply.failures.len(), reply.failures[0].lost), (1, Lost::Logs));
    for stream in &workflows[0].shard_streams["80-/zone1-0000000200"].streams {
        assert_eq!(stream.log_fetch_error, "no log today");
    }
    let other = &workflows[0].shard_streams["-80/zone1-0000000100"].streams[0];
    assert_eq!(other.log_fetch_error, "", "the other tablet's logs were read");
    assert_eq!(workflows[0].shard_streams["-80/zone1-0000000100"].streams[0].logs.len(), 1, "what came is there");
    assert_eq!(workflows[1].shard_streams["-80/zone1-0000000100"].streams[0].log_fetch_error, "", "b has no stream there");

    let mut cluster = two_shards();
    cluster.answer(100, "logs", logs(&[(5, 2, "never"), (4, 1, THEN)]));
    let (workflows, reply) = cluster.workflows(&all());
    let of = |i: usize| &workflows[i].shard_streams["-80/zone1-0000000100"].streams[0];
    assert!(of(1).log_fetch_error.contains("parsing time \"never\""), "{}", of(1).log_fetch_error);
    assert!(reply.failures[0].message.starts_with("a log row of stream 2 cannot be read"), "{:?}", reply.failures);
    assert_eq!((of(0).log_fetch_error.as_str(), of(0).logs.len()), ("", 1));
}

#[test]
fn logs_of_v10_do_not_exist_and_nothing_is_missing() {
    let mut cluster = two_shards();
    cluster.answer(100, "logs", refused("TabletManager.VReplicationExec on zone1-0000000100 error: invalid table name: _vt.vreplication_log: invalid table name: _vt.vreplication_log"));
    let (workflows, reply) = cluster.workflows(&all());
    assert!(reply.failures.is_empty());
    assert_eq!(workflows[0].shard_streams["-80/zone1-0000000100"].streams[0].log_fetch_error, "");
}

#[test]
fn logs_of_a_noisy_stream_leave_room_for_the_others() {
    let newest = i64::try_from(limits::LOG_PAGE_ROWS).unwrap() + 10;
    let noisy: Vec<_> = (11..=newest).rev().map(|id| (id, 2, THEN)).collect();
    let mut cluster = two_shards();
    cluster.pages(100, "logs", vec![logs(&noisy), logs(&[(3, 1, THEN)])]);
    let (reply, asks) = cluster.run(&call(&all()));
    let second = asks.iter().find(|ask| ask.round == 4).expect("a full page is followed by another");
    let What::TabletCall { about, .. } = &second.what else { panic!("{second:?}") };
    assert!(about.statement.contains("id < 11 and vrepl_id not in (2)"), "{}", about.statement);
    let reply = GetWorkflowsResponse::decode(reply.result.unwrap().as_slice()).unwrap();
    let of = |i: usize| &reply.workflows[i].shard_streams["-80/zone1-0000000100"].streams[0].logs;
    assert_eq!(of(0).len(), 1);
    assert_eq!(of(1).len(), limits::LOG_ROWS_PER_STREAM);
    assert_eq!((of(1).first().unwrap().id, of(1).last().unwrap().id), (newest - 249, newest), "the newest, ascending");
}

#[test]
fn more_streams_than_a_page_are_all_there() {
    let many: Vec<_> = (1..=i64::try_from(limits::STREAM_PAGE_ROWS).unwrap()).map(|id| stream(id, "a")).collect();
    let mut cluster = two_shards();
    cluster.pages(100, "streams", vec![streams(&many), streams(&[stream(5000, "a")])]);
    let (reply, asks) = cluster.run(&call(&all()));
    let second = asks.iter().find(|ask| ask.round == 4).unwrap();
    let What::TabletCall { about, .. } = &second.what else { panic!("{second:?}") };
    assert!(about.statement.contains("and id > 2000 order by id"), "{}", about.statement);
    let reply = GetWorkflowsResponse::decode(reply.result.unwrap().as_slice()).unwrap();
    assert_eq!(reply.workflows[0].shard_streams["-80/zone1-0000000100"].streams.len(), many.len() + 1);
}

#[test]
fn an_answer_that_is_too_large_is_asked_for_in_smaller_pages() {
    let mut cluster = two_shards();
    let large = Answer::Failed { kind: FailureKind::TooLarge, message: "larger than max".into() };
    cluster.pages(100, "streams", vec![large.clone(), large, streams(&[stream(1, "a")])]);
    let (reply, asks) = cluster.run(&call(&all()));
    assert!(reply.failures.is_empty());
    let limits: Vec<_> = asks
        .iter()
        .filter_map(|ask| match &ask.what {
            What::TabletCall { about, .. } if ask_name(ask) == "zone1-0000000100 streams" => about.statement.rsplit(' ').next(),
            _ => None,
        })
        .collect();
    assert_eq!(limits, ["2000", "250", "31"]);
    let never = Answer::Failed { kind: FailureKind::TooLarge, message: "one row is larger than max".into() };
    cluster.answer(100, "streams", never);
    assert_eq!(cluster.workflows(&all()).1.failures[0].message, "one row is larger than max");
}

/// What a command could change is seen, whatever its columns hold.
#[test]
fn a_column_that_cannot_be_read_hides_no_stream() {
    let garbage = crate::support::StreamOf { source: "garbage".into(), ..stream(3, "c") };
    let bad_pos = crate::support::StreamOf { pos: "pos", ..stream(4, "a") };
    let bad_options = crate::support::StreamOf { options: "{", ..stream(5, "d") };
    let mut cluster = two_shards();
    cluster.answer(100, "streams", streams(&[stream(1, "a"), stream(2, "b"), garbage, bad_pos, bad_options]));
    let (workflows, reply) = cluster.workflows(&all());
    let shown: Vec<_> = workflows
        .iter()
        .map(|workflow| {
            let streams = &workflow.shard_streams["-80/zone1-0000000100"].streams;
            (workflow.name.as_str(), streams.iter().map(|stream| (stream.id, stream.state.as_str())).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("a", vec![(1, "Running"), (4, "Running")]),
            ("b", vec![(2, "Copying")]),
            ("c", vec![(3, "Unknown")]),
            ("d", vec![(5, "Running")])
        ]
    );
    let of = |index: usize, place: usize| &workflows[index].shard_streams["-80/zone1-0000000100"].streams[place];
    assert_eq!(of(0, 1).position, "pos", "as it is stored");
    assert!(of(2, 0).message.contains("column source: proto: (line 1:1): unknown field: garbage"), "{}", of(2, 0).message);
    assert!(of(2, 0).binlog_source.is_some(), "present though empty");
    let mut found = reply.failures.clone();
    found.sort_by(|a, b| a.message.cmp(&b.message));
    assert_eq!(found.len(), 3);
    for (failure, (workflow, parts)) in found.iter().zip([
        ("c", &["stream 3", "column source", "garbage"][..]),
        ("a", &["stream 4", "column pos", "unknown GTIDSet flavor \"\""][..]),
        ("d", &["stream 5", "column options"][..]),
    ]) {
        assert_eq!(
            (failure.workflow.as_str(), failure.tablet.as_str(), failure.lost),
            (workflow, "zone1-0000000100", Lost::Stream)
        );
        for part in parts {
            assert!(failure.message.contains(part), "{part}: {}", failure.message);
        }
    }
    // Asked for by name, and strictly: it is the answer.
    let mut cluster = Cluster::new(&["0"]);
    cluster.answer(100, "streams", streams(&[crate::support::StreamOf { source: "garbage".into(), ..stream(3, "c") }]));
    let request = GetWorkflowsRequest { workflow: "c".into(), ..all() };
    assert_eq!(cluster.workflows(&request).0[0].name, "c");
    let strict = Call { options: CallOptions { strict: true, ..CallOptions::default() }, ..call(&request) };
    assert!(cluster.run(&strict).0.result.is_ok(), "nothing is missing");
}

#[test]
fn a_stream_whose_times_cannot_be_read_is_not_taken_for_a_healthy_one() {
    let columns = ["#id", "workflow", "source", "pos", "state", "#time_updated", "#transaction_timestamp"];
    let read = |state: &str, updated: &str| {
        let values = ["1", "w", r#"keyspace:"src""#, "", state, updated, updated].map(|text| Some(text.to_owned())).to_vec();
        let mut cluster = Cluster::new(&["0"]);
        cluster.answer(100, "streams", rows(&columns, &[values]));
        let (workflows, reply) = cluster.workflows(&all());
        let stream = workflows[0].shard_streams["0/zone1-0000000100"].streams[0].clone();
        (stream.state, stream.message, workflows[0].max_v_replication_lag, reply.failures.len())
    };
    let (state, message, lag, failures) = read("Running", "soon");
    assert_eq!((state.as_str(), lag, failures), ("Unknown", 0, 1), "no age since 1970");
    assert!(message.contains("column time_updated: ") && message.contains("column transaction_timestamp: "), "{message}");
    assert_eq!(read("Stopped", "soon").0, "Stopped", "that much is known");
}

#[test]
fn many_columns_that_cannot_be_read_are_counted() {
    let count = i64::try_from(limits::FAULTS_PER_TABLET).unwrap() + 30;
    let many: Vec<_> = (1..=count).map(|id| crate::support::StreamOf { pos: "pos", ..stream(id, "a") }).collect();
    let mut cluster = two_shards();
    cluster.answer(100, "streams", streams(&many));
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!(workflows[0].shard_streams["-80/zone1-0000000100"].streams.len(), many.len());
    assert_eq!(reply.failures.len(), limits::FAULTS_PER_TABLET + 1);
    assert_eq!(reply.failures[0].message, "and 30 more streams with a column that cannot be read");
    assert!(reply.failures.iter().any(|failure| failure.message.starts_with("stream 1: column pos: ")), "the first ones by name");
}

#[test]
fn a_workflow_that_contradicts_itself_is_there_and_named() {
    let other = crate::support::StreamOf { source: r#"keyspace:"b" shard:"0""#.into(), ..stream(1, "a") };
    let mut cluster = two_shards();
    cluster.answer(200, "streams", streams(&[other]));
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!(workflows.len(), 2);
    assert_eq!((workflows[0].source.as_ref().unwrap().keyspace.as_str(), workflows[0].shard_streams.len()), ("src", 2));
    let text = "workflow = a, ks1 = src, ks2 = b: multiple source keyspaces for a single workflow";
    assert_eq!((reply.failures[0].lost, reply.failures[0].message.as_str()), (Lost::Workflow, text));
    let request = GetWorkflowsRequest { workflow: "a".into(), ..all() };
    assert_eq!(cluster.workflows(&request).1.failures[0].message, text);
    let strict = Call { options: CallOptions { strict: true, ..CallOptions::default() }, ..call(&request) };
    assert!(cluster.run(&strict).0.result.unwrap_err().message.ends_with(text), "as vtctld");
    let unset = crate::support::StreamOf { source: r#"shard:"0""#.into(), ..stream(1, "a") };
    cluster.answer(100, "streams", streams(&[unset]));
    assert!(cluster.workflows(&all()).1.failures.is_empty(), "an unset keyspace contradicts none");
}

#[test]
fn streams_are_in_the_order_of_their_ids() {
    let mut cluster = Cluster::new(&["0"]);
    cluster.answer(100, "streams", streams(&[stream(7, "w"), stream(3, "w"), stream(5, "w")]));
    let (workflows, _) = cluster.workflows(&all());
    let ids: Vec<_> = workflows[0].shard_streams["0/zone1-0000000100"].streams.iter().map(|stream| stream.id).collect();
    assert_eq!(ids, [3, 5, 7]);
}

#[test]
fn the_last_shards_row_decides_for_the_workflow() {
    let mut cluster = two_shards();
    let deferred = |value: &str| {
        let values = ["1", "a", r#"keyspace:"src""#, "", "Running", value].map(|text| Some(text.to_owned())).to_vec();
        rows(&["#id", "workflow", "source", "pos", "state", "#defer_secondary_keys"], &[values])
    };
    cluster.answer(100, "streams", deferred("1")).answer(200, "streams", deferred("0"));
    assert!(!cluster.workflows(&all()).0[0].defer_secondary_keys);
    cluster.answer(100, "streams", deferred("0")).answer(200, "streams", deferred("1"));
    assert!(cluster.workflows(&all()).0[0].defer_secondary_keys);
}

#[test]
fn a_tablet_that_was_shut_down_is_not_called() {
    let mut cluster = two_shards();
    let key = ("zone1".to_owned(), format!("tablets/{}/Tablet", alias_text(200)));
    let mut record = Tablet::decode(cluster.topo[&key].as_slice()).unwrap();
    record.tablet_shutdown_time = Some(Time { seconds: 1, nanoseconds: 0 });
    cluster.topo.insert(key.clone(), record.encode_to_vec());
    assert_eq!(cluster.workflows(&all()).1.failures[0].message, "tablet is shutdown");
    record.tablet_shutdown_time = None;
    record.keyspace.clear();
    cluster.topo.insert(key, record.encode_to_vec());
    assert!(cluster.workflows(&all()).1.failures[0].message.contains("names no keyspace"));
}

#[test]
fn limits_are_reached_and_said() {
    let mut cluster = two_shards();
    for shard in 0..limits::TARGETS {
        cluster.global(&format!("keyspaces/ks/shards/x{shard}/Shard"), vec![]);
    }
    assert!(cluster.error(&all()).starts_with("keyspace ks has 4098 shards, more than the 4096 of one request"));

    // A log without end: every page is full, and of ever more streams.
    let page = |at: i64| {
        let rows: Vec<_> =
            (0..i64::try_from(limits::LOG_PAGE_ROWS).unwrap()).map(|i| (at - i, 1 + (at - i) % 100, THEN)).collect();
        logs(&rows)
    };
    let mut cluster = two_shards();
    cluster.pages(100, "logs", (0..200).map(|number| page(1_000_000 - 2_000 * number)).collect());
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!((reply.failures.len(), reply.failures[0].lost), (1, Lost::Logs));
    let text = format!(
        "the logs of zone1-0000000100 have more than {} bytes: ask for one workflow, or for fewer shards",
        limits::READ_BYTES
    );
    assert_eq!(reply.failures[0].message, text);
    let stream = &workflows[0].shard_streams["-80/zone1-0000000100"].streams[0];
    assert_eq!(stream.logs.len(), limits::LOG_ROWS_PER_STREAM, "what came is kept");
    assert_eq!(stream.log_fetch_error, text);
}

#[test]
fn a_copy_state_whose_id_cannot_be_read_is_shown() {
    let mut cluster = two_shards();
    let values = [None, Some("1".to_owned()), Some("t1".into()), None];
    cluster.answer(100, "copy state", rows(&["#id", "#vrepl_id", "table_name", "lastpk"], &[values.to_vec()]));
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!((reply.failures.len(), reply.failures[0].lost), (1, Lost::Stream));
    assert!(
        reply.failures[0].message.starts_with("stream 1: copy state of table t1: column id: "),
        "{}",
        reply.failures[0].message
    );
    let of = |index: usize| &workflows[index].shard_streams["-80/zone1-0000000100"].streams[0];
    assert_eq!((of(0).state.as_str(), of(0).copy_states[0].table.as_str()), ("Copying", "t1"));
    assert_eq!(of(1).state, "Running", "stream 2 has none");
    // Whose row it is cannot be read: any stream may be copying.
    let values = [Some("7".to_owned()), None, Some("t1".into()), None];
    cluster.answer(100, "copy state", rows(&["#id", "#vrepl_id", "table_name", "lastpk"], &[values.to_vec()]));
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!((reply.failures.len(), reply.failures[0].lost), (1, Lost::CopyState));
    assert!(workflows.iter().all(|workflow| workflow.shard_streams["-80/zone1-0000000100"].streams[0].state == "Unknown"));
}

#[test]
fn a_workflow_that_is_not_there_is_no_error_because_a_shard_has_no_primary() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.global("keyspaces/ks/shards/80-/Shard", vec![]);
    let (workflows, reply) = cluster.workflows(&GetWorkflowsRequest { workflow: "nope".into(), ..all() });
    assert_eq!((workflows.len(), reply.failures.len()), (0, 1));
}

#[test]
fn the_wire_never_says_lagging() {
    let mut cluster = two_shards();
    let silent = crate::support::StreamOf { time_updated: 20, ..stream(1, "a") };
    let stored = crate::support::StreamOf { state: "Lagging", ..stream(2, "a") };
    cluster.answer(200, "streams", streams(&[silent, stored]));
    let (workflows, _) = cluster.workflows(&all());
    let states: Vec<_> = workflows[0].shard_streams["80-/zone1-0000000200"].streams.iter().map(|s| s.state.as_str()).collect();
    assert_eq!(states, ["Running", "Running"]);
}

#[test]
fn states_are_derived_as_clients_expect() {
    let cases = [
        ("Running", "Error: gone", "Error"),
        ("Stopped", "no errors seen", "Error"),
        ("Stopped", "FROZEN", "Stopped"),
        ("Init", "", "Init"),
        ("Frobnicate", "", "Unknown"),
        ("Running", "for vdiff", "Running"),
    ];
    for (state, message, want) in cases {
        let mut cluster = Cluster::new(&["0"]);
        cluster.answer(100, "streams", streams(&[crate::support::StreamOf { state, message, ..stream(1, "w") }]));
        assert_eq!(
            cluster.workflows(&all()).0[0].shard_streams["0/zone1-0000000100"].streams[0].state,
            want,
            "{state} {message}"
        );
    }
}

/// A runner whose seed is fixed: the same cases every time, printed with a failure.
const CLOSED: &str = "TabletManager.VReplicationExec on zone1-0000000100: vreplication engine is closed";

/// Tablet 100 was shard -80's primary when the shards were read, tablet 500 is when the shard is read again.
fn moved_primary() -> Cluster {
    let mut cluster = two_shards();
    cluster.tablet(500, "-80");
    for subject in ["streams", "copy state", "logs", "names"] {
        cluster.answer(500, subject, cluster.tablets[&(alias_text(100), subject.to_owned())][0].clone());
        cluster.answer(100, subject, refused(CLOSED));
    }
    let record = Shard { primary_alias: Some(alias(500)), is_primary_serving: true, ..Shard::default() };
    cluster.later.insert("keyspaces/ks/shards/-80/Shard".into(), record.encode_to_vec());
    cluster
}

#[test]
fn a_primary_that_moved_meanwhile_is_found_by_reading_its_shard_again() {
    let (before, _) = two_shards().workflows(&all());
    let cluster = moved_primary();
    let (mut after, reply) = cluster.workflows(&all());
    assert_eq!(reply.failures, []);
    // The same streams, on the new primary.
    for workflow in &mut after {
        if let Some(streams) = workflow.shard_streams.remove(&format!("-80/{}", alias_text(500))) {
            workflow.shard_streams.insert(format!("-80/{}", alias_text(100)), streams);
        }
        for stream in workflow.shard_streams.values_mut().flat_map(|shard| &mut shard.streams) {
            if stream.tablet == Some(alias(500)) {
                stream.tablet = Some(alias(100));
            }
        }
    }
    assert_eq!(before, after);
    let (_, asks) = cluster.run(&call(&all()));
    let again: Vec<_> = asks.iter().filter(|ask| ask.round > 3).map(|ask| (ask.round, crate::support::ask_name(ask))).collect();
    assert_eq!(again[0], (4, "keyspaces/ks/shards/-80/Shard".into()));
    assert_eq!(again[1], (5, format!("tablets/{}/Tablet", alias_text(500))));
    assert_eq!(again.iter().filter(|(round, _)| *round == 6).count(), again.len() - 2);
}

#[test]
fn a_tablet_that_is_still_not_primary_is_asked_twice_and_no_more() {
    let mut cluster = moved_primary();
    cluster.later.clear();
    let (_, reply) = cluster.workflows(&all());
    assert!(reply.failures.iter().all(|failure| failure.message == CLOSED) && !reply.failures.is_empty(), "{reply:?}");
    let (_, asks) = cluster.run(&call(&all()));
    let to_100 = asks.iter().filter(|ask| crate::support::ask_name(ask).starts_with(&alias_text(100))).count();
    assert_eq!(to_100, 2);

    // A moment later its engine is open.
    let rows = cluster.tablets[&(alias_text(500), "streams".to_owned())][0].clone();
    for (subject, second) in
        [("streams", rows), ("copy state", crate::support::rows(&[], &[])), ("logs", crate::support::rows(&[], &[]))]
    {
        cluster.pages(100, subject, vec![refused(CLOSED), second]);
    }
    assert_eq!(cluster.workflows(&all()).1.failures, []);
}

#[test]
fn a_shard_that_lost_its_primary_meanwhile_or_cannot_be_read_again_is_a_failure() {
    let mut cluster = moved_primary();
    cluster.later.insert("keyspaces/ks/shards/-80/Shard".into(), vec![]);
    let (_, reply) = cluster.workflows(&all());
    let said: Vec<_> = reply.failures.iter().map(|failure| (failure.lost, failure.message.as_str())).collect();
    assert_eq!(said, [(Lost::NoPrimary, "no primary found for shard ks/-80")]);

    cluster.later.insert("keyspaces/ks/shards/-80/Shard".into(), vec![0xff]);
    let (_, reply) = cluster.workflows(&all());
    let said: Vec<_> = reply.failures.iter().map(|failure| (failure.lost, failure.message.as_str())).collect();
    assert_eq!(said, [(Lost::Shard, CLOSED)]);
}

fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// Every kind of trouble at once, so that an order could show.
fn troubled() -> Cluster {
    let mut cluster = Cluster::new(&["-40", "40-80", "80-c0", "c0-"]);
    let other = crate::support::StreamOf { source: r#"keyspace:"b" shard:"0""#.into(), ..stream(2, "torn") };
    cluster
        .answer(
            100,
            "streams",
            streams(&[stream(1, "a"), stream(2, "torn"), crate::support::StreamOf { source: "x".into(), ..stream(3, "bad") }]),
        )
        .answer(200, "streams", streams(&[stream(4, "a"), other]))
        .answer(200, "copy state", refused("no copy state"))
        .answer(100, "logs", logs(&[(9, 1, THEN), (8, 2, "bad")]))
        .answer(200, "logs", refused("no logs"))
        .answer(300, "streams", silent(300));
    cluster.global("keyspaces/ks/shards/c0-/Shard", vec![]);
    cluster
}

#[test]
fn replies_do_not_depend_on_the_order_of_answers() {
    let mut half_closed = moved_primary();
    half_closed.answer(100, "streams", streams(&[stream(1, "a")]));
    for cluster in [two_shards(), troubled(), moved_primary(), half_closed] {
        same_in_every_order(&cluster, &call(&all()));
    }
}

#[test]
fn each_failing_answer_is_accounted_for() {
    let failures = [
        Answer::Failed { kind: FailureKind::TimedOut, message: "late".into() },
        Answer::Failed { kind: FailureKind::Status(2), message: "refused".into() },
        Answer::Called(vec![0xff, 0xff, 0xff]),
        Answer::Missing { node: "/gone".into() },
        Answer::Range(Vec::new()),
        Answer::Found { value: vec![0xff], version: 1 },
    ];
    let cluster = two_shards();
    for (index, name) in cluster.ask_names().iter().enumerate() {
        let request = GetWorkflowsRequest { name_only: name.ends_with("names"), ..all() };
        for failure in &failures {
            let mut broken = cluster.clone();
            broken.broken.insert(index, failure.clone());
            let (reply, _) = broken.run(&call(&request));
            let Ok(bytes) = reply.result else {
                assert_eq!(name, "keyspaces/ks/shards/", "only the list of shards is beyond repair");
                continue;
            };
            assert!(!reply.failures.is_empty(), "{name}: {failure:?}");
            let workflows = GetWorkflowsResponse::decode(bytes.as_slice()).unwrap().workflows;
            let a = workflows.iter().find(|workflow| workflow.name == "a").expect("one shard at least knows it");
            let shown = if request.name_only { 1 } else { 2 };
            assert_eq!(a.shard_streams.len(), shown, "{name}: {failure:?}: every target is there, with rows or as unknown");
        }
    }
}

#[test]
fn no_bytes_panic() {
    let bytes = proptest::collection::vec(any::<u8>(), 0..80);
    let text = "[ -~]{0,60}";
    runner(512)
        .run(
            &(bytes.clone(), bytes.clone(), bytes.clone(), bytes, text, text),
            |(shard, tablet, response, request, source, pos)| {
                let mut cluster = two_shards();
                cluster.global("keyspaces/ks/shards/-80/Shard", shard);
                cluster.topo.insert(("zone1".into(), format!("tablets/{}/Tablet", alias_text(200))), tablet);
                cluster.answer(100, "copy state", Answer::Called(response.clone()));
                let pos: &'static str = Box::leak(pos.into_boxed_str());
                cluster.answer(100, "streams", streams(&[crate::support::StreamOf { source, pos, ..stream(1, "a") }]));
                let _ = cluster.run(&call(&all()));
                cluster.answer(100, "streams", Answer::Called(response));
                let _ = cluster.run(&call(&all()));
                let _ = cluster.run(&Call { path: rpc::GET_WORKFLOWS.into(), request, options: CallOptions::default() });
                Ok(())
            },
        )
        .unwrap();
}

#[test]
fn each_stream_of_a_tablet_has_its_own_cells() {
    let mut cluster = two_shards();
    let columns = ["#id", "workflow", "source", "pos", "state", "message", "cell", "tablet_types", "#time_updated"];
    let source = stream(1, "wf").source;
    let of_cell = |id: &str, cell: &str| {
        [id, "wf", &source, "", "Running", "", cell, "primary", "1795000000"].map(|text| Some(text.to_owned())).to_vec()
    };
    cluster.answer(100, "streams", rows(&columns, &[of_cell("1", "zone1"), of_cell("2", "zone2,zone3")]));
    let (workflows, _) = cluster.workflows(&all());
    let shown = workflows.iter().flat_map(|workflow| workflow.shard_streams.values()).flat_map(|shard| &shard.streams);
    let mut cells: Vec<(i64, Vec<String>)> = shown
        .filter(|stream| stream.tablet.as_ref().is_some_and(|tablet| tablet.uid == 100))
        .map(|stream| (stream.id, stream.cells.clone()))
        .collect();
    cells.sort();
    assert_eq!(cells, [(1, vec!["zone1".to_owned()]), (2, vec!["zone2".to_owned(), "zone3".to_owned()])]);
}

/// Every field that the streams of a workflow make together, and of a reply its very bytes.
#[test]
fn a_workflow_is_what_its_streams_say_together() {
    let mut cluster = Cluster::new(&["-40", "40-80", "80-c0", "c0-"]);
    let of = |id: i64, options: &'static str, ago: i64| crate::support::StreamOf {
        options,
        time_updated: NOW.seconds - ago,
        ..stream(id, "a")
    };
    cluster
        .answer(200, "streams", streams(&[of(1, r#"{"tenant_id":"t1","shards":["x"]}"#, 7), stream(2, "b"), of(3, "", 3)]))
        .answer(300, "streams", streams(&[of(1, r#"{"tenant_id":"t2"}"#, 2), of(5, "{}", 1)]));
    // Shards without an answer stand in the order of their keys, before and after those with one.
    cluster.answer(100, "streams", silent(100)).answer(400, "streams", silent(400));
    let (workflows, reply) = cluster.workflows(&all());
    let bytes = reply.result.unwrap();
    assert_eq!(GetWorkflowsResponse { workflows: workflows.clone() }.encode_to_vec(), bytes, "in the order of fields and keys");
    let a = &workflows[0];
    let side = |keyspace: &str, shards: &[&str]| ReplicationLocation {
        keyspace: keyspace.into(),
        shards: shards.iter().map(|&shard| shard.into()).collect(),
    };
    let want = Workflow {
        name: "a".into(),
        source: Some(side("src", &["0"])),
        target: Some(side("ks", &["40-80", "80-c0"])),
        max_v_replication_lag: 7,
        shard_streams: a.shard_streams.clone(),
        workflow_type: "MoveTables".into(),
        workflow_sub_type: "None".into(),
        max_v_replication_transaction_lag: 7,
        defer_secondary_keys: true,
        options: Some(WorkflowOptions { tenant_id: "t2".into(), shards: vec!["x".into()], ..WorkflowOptions::default() }),
    };
    assert_eq!(a, &want);
    let ids: Vec<Vec<i64>> =
        a.shard_streams.values().map(|shard| shard.streams.iter().map(|stream| stream.id).collect()).collect();
    assert_eq!(ids, [vec![0], vec![1, 3], vec![1, 5], vec![0]]);
}

/// Two shards whose records name one tablet, which is a primary of the first: at one look at it, it does not answer.
#[test]
fn streams_stand_where_a_stand_in_of_the_same_tablet_would() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let record = Shard { primary_alias: Some(alias(100)), is_primary_serving: true, ..Shard::default() };
    cluster.global("keyspaces/ks/shards/80-/Shard", record.encode_to_vec());
    cluster.answer(100, "streams", streams(&[stream(1, "a")]));
    let at = format!("get zone1 tablets/{}/Tablet", alias_text(100));
    cluster.faults.insert((at, 0), silent(100));
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!((reply.failures.len(), reply.failures[0].shard.as_str()), (1, "-80"));
    let bytes = reply.result.unwrap();
    assert_eq!(GetWorkflowsResponse { workflows: workflows.clone() }.encode_to_vec(), bytes, "a key is there once");
    assert_eq!(workflows[0].shard_streams.keys().collect::<Vec<_>>(), ["-80/zone1-0000000100"]);
    assert_eq!(workflows[0].shard_streams["-80/zone1-0000000100"].streams[0].id, 1);
}

/// A type that cannot be read is none that contradicts another; two that can be read are.
#[test]
fn only_types_that_can_be_read_contradict_each_other() {
    let typed = |kind: &str, sub_type: &str| {
        let values = ["1", "a", r#"keyspace:"src" shard:"0""#, "pos", "Running", kind, sub_type];
        let columns = ["#id", "workflow", "source", "pos", "state", "#workflow_type", "#workflow_sub_type"];
        rows(&columns, &[values.map(|text| Some(text.to_owned())).to_vec()])
    };
    let contradicted = |kind: &str, sub_type: &str| {
        let mut cluster = Cluster::new(&["-80", "80-"]);
        cluster.answer(100, "streams", typed("1", "1")).answer(200, "streams", typed(kind, sub_type));
        let failures = cluster.workflows(&all()).1.failures;
        failures.into_iter().filter(|failure| failure.lost == Lost::Workflow).map(|failure| failure.message).collect::<Vec<_>>()
    };
    let text = "workflow = a, type1 = MoveTables (Partial), type2 = Reshard (Partial): multiple types for a single workflow";
    assert_eq!(contradicted("4", "1"), [text]);
    assert_eq!(contradicted("1", "1"), [""; 0]);
    assert_eq!(contradicted("x", "1"), [""; 0], "its type is not known");
    assert_eq!(contradicted("4", "x"), [""; 0], "its sub type is not known");
}

/// What the reads of one table may bring in all is shared alike by the shards, so it does not matter which of them says too much first.
#[test]
fn of_many_shards_each_may_say_its_share() {
    let names: Vec<String> = (0..400).map(|at| format!("s{at:03}")).collect();
    let mut cluster = Cluster::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let share = limits::READS_BYTES / 400;
    let large = |bytes: usize| {
        rows(&["#id", "workflow", "message"], &[vec![Some("1".into()), Some("a".into()), Some("x".repeat(bytes))]])
    };
    cluster.answer(100, "streams", large(share - 500)).answer(200, "streams", large(share));
    let (workflows, reply) = cluster.workflows(&GetWorkflowsRequest { include_logs: false, ..all() });
    let want = format!("the streams of zone1-0000000200 have more than {share} bytes: ask for one workflow, or for fewer shards");
    let lost: Vec<&str> =
        reply.failures.iter().filter(|failure| failure.lost == Lost::Shard).map(|failure| failure.message.as_str()).collect();
    assert_eq!(lost, [want]);
    let states = ["s000/zone1-0000000100", "s001/zone1-0000000200"].map(|key| workflows[0].shard_streams[key].streams[0].id);
    assert_eq!(states, [1, 0]);
}
