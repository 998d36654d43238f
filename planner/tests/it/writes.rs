//! Requests that write, on plain data: what is asked in which order, what is refused before anything is changed, and what is
//! said of each target afterwards.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{
    Cluster, StreamOf, alias, alias_text, copy_states, refused, rows, same_in_every_order, silent, stream, streams,
};
use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Effect, FailureKind, Mode, Reply, What,
    contract::{Verdict, WritePlan},
    proto::{
        query::QueryResult,
        tabletmanagerdata::{
            ExecuteFetchAsDbaRequest, ExecuteFetchAsDbaResponse, UpdateVReplicationWorkflowRequest,
            UpdateVReplicationWorkflowResponse, VDiffResponse, VReplicationExecRequest, VReplicationExecResponse,
        },
        topodata::Shard,
        vschema::{RoutingRule, RoutingRules, ShardRoutingRule, ShardRoutingRules, SrvVSchema},
        vtctldata::{
            CancelSchemaMigrationRequest, CancelSchemaMigrationResponse, WorkflowDeleteRequest, WorkflowDeleteResponse,
            WorkflowUpdateRequest, WorkflowUpdateResponse,
        },
        vtflow::{VExecRequest, VExecResponse},
    },
    rpc,
};

pub(crate) const STOPPED: i32 = 2;
pub(crate) const RUNNING: i32 = 4;
pub(crate) const UUID: &str = "82fa54ac_e83e_11ea_96b7_f875a4d24e90";

pub(crate) fn changed(rows: u64) -> Answer {
    let result = Some(QueryResult { rows_affected: rows, ..QueryResult::default() });
    Answer::Called(UpdateVReplicationWorkflowResponse { result }.encode_to_vec())
}

pub(crate) fn unknown_method() -> Answer {
    let message = "unknown method ReadVReplicationWorkflow for service tabletmanagerservice.TabletManager".into();
    Answer::Failed { kind: FailureKind::Status(12), message }
}

/// A call whose end nobody has seen.
fn cut_off(kind: FailureKind) -> Answer {
    Answer::Failed { kind, message: "Timeout expired".into() }
}

/// Two shards with a stream of `wf` each.
fn cluster(first: StreamOf, second: StreamOf) -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    for (uid, stream) in [(100, first), (200, second)] {
        cluster.answer(uid, "streams", streams(&[stream]));
        for subject in ["v18", "v21"] {
            cluster.answer(uid, subject, Answer::Called(Vec::new()));
        }
        cluster.answer(uid, "update", changed(1)).answer(uid, "other databases", rows(&["#id"], &[]));
    }
    cluster
}

pub(crate) fn running() -> Cluster {
    cluster(stream(7, "wf"), stream(8, "wf"))
}

/// As the buttons and `stop` send it.
pub(crate) fn state(state: i32) -> UpdateVReplicationWorkflowRequest {
    UpdateVReplicationWorkflowRequest {
        workflow: "wf".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        state: Some(state),
        ..UpdateVReplicationWorkflowRequest::default()
    }
}

pub(crate) fn cells(cells: &[&str]) -> UpdateVReplicationWorkflowRequest {
    UpdateVReplicationWorkflowRequest {
        workflow: "wf".into(),
        cells: cells.iter().map(|&cell| cell.to_owned()).collect(),
        tablet_types: vec![-1],
        ..UpdateVReplicationWorkflowRequest::default()
    }
}

pub(crate) fn update(request: UpdateVReplicationWorkflowRequest, options: CallOptions) -> Call {
    let request = WorkflowUpdateRequest { keyspace: "ks".into(), tablet_request: Some(request) };
    Call { path: rpc::WORKFLOW_UPDATE.into(), request: request.encode_to_vec(), options }
}

pub(crate) fn performed(request: UpdateVReplicationWorkflowRequest) -> Call {
    update(request, CallOptions::default())
}

/// The calls that write, by tablet: path and request.
pub(crate) fn writes(asks: &[Ask]) -> Vec<(String, String, Vec<u8>)> {
    asks.iter()
        .filter_map(|ask| match &ask.what {
            What::TabletCall { tablet, path, request, effect: Effect::Write, .. } => {
                Some((tablet.alias.clone(), path.to_string(), request.clone()))
            }
            _ => None,
        })
        .collect()
}

pub(crate) fn sent(asks: &[Ask]) -> Vec<UpdateVReplicationWorkflowRequest> {
    writes(asks)
        .iter()
        .map(|(_, path, request)| {
            assert_eq!(*path, rpc::UPDATE_VREPLICATION_WORKFLOW);
            UpdateVReplicationWorkflowRequest::decode(request.as_slice()).expect("such a message")
        })
        .collect()
}

pub(crate) fn error(reply: &Reply) -> &str {
    &reply.result.as_ref().expect_err("an error").message
}

pub(crate) fn plan(reply: &Reply) -> &WritePlan {
    &reply.written.as_ref().expect("a request that writes").plan
}

#[test]
fn a_workflow_is_stopped_on_every_target() {
    let (reply, asks) = running().run(&performed(state(STOPPED)));
    let response = WorkflowUpdateResponse::decode(reply.result.expect("a reply").as_slice()).expect("such a message");
    assert_eq!(response.summary, "Successfully updated the wf workflow on (2) target primary tablets in the ks keyspace");
    let details: Vec<_> = response.details.into_iter().map(|info| (info.tablet, info.changed)).collect();
    assert_eq!(details, [(Some(alias(100)), true), (Some(alias(200)), true)]);
    for request in sent(&asks) {
        let want = UpdateVReplicationWorkflowRequest { tablet_selection_preference: Some(3), on_ddl: Some(-1), ..state(STOPPED) };
        assert_eq!(request, want, "what is left out is said, so that every release reads it alike");
    }
    let last_look = asks.iter().rposition(|ask| !matches!(&ask.what, What::TabletCall { effect: Effect::Write, .. }));
    assert_eq!(last_look, Some(asks.len() - 1), "locks are given back");
    let changes = writes(&asks[asks.len() - 4..]).len();
    assert_eq!(
        (changes, writes(&asks).len()),
        (2, 2),
        "every look comes before every change, and two locks are given back after"
    );
    let written = reply.written.expect("a request that writes");
    assert!(written.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied && outcome.rows == 1));
    assert_eq!(
        vtflow_screen::plans::text(&written.plan),
        "This stops 2 streams on 2 tablets:\n\
         \x20 zone1-0000000100  ks/-80  1 row\n\
         \x20   stream 7      Running, 5 rows copied\n\
         \x20   update _vt.vreplication set state = 'Stopped' where id in (7) and db_name = 'vt_ks' and workflow = 'wf'\n\
         \x20 zone1-0000000200  ks/80-  1 row\n\
         \x20   stream 8      Running, 5 rows copied\n\
         \x20   update _vt.vreplication set state = 'Stopped' where id in (8) and db_name = 'vt_ks' and workflow = 'wf'\n\
         Locked meanwhile: internal/named_locks/ks/wf\n\
         Locked meanwhile: keyspaces/ks\n"
    );
}

#[test]
fn what_the_request_leaves_out_stays() {
    let (_, asks) = running().run(&performed(cells(&["zone1", "zone2"])));
    for request in sent(&asks) {
        assert_eq!(request.state, Some(-1), "a stopped workflow does not start because its cells were named");
        assert_eq!((request.on_ddl, request.tablet_selection_preference), (Some(-1), Some(3)));
    }
    // VTAdmin's buttons send a state and nothing else.
    let button = UpdateVReplicationWorkflowRequest { cells: Vec::new(), tablet_types: Vec::new(), ..state(STOPPED) };
    let (_, asks) = running().run(&performed(button));
    for request in sent(&asks) {
        assert_eq!((request.cells, request.tablet_types), (vec!["NULL".to_owned()], vec![-1]));
        assert_eq!(request.tablet_selection_preference, Some(3), "in_order: stays");
    }
    // Cells can be cleared on purpose, and types be given without an order.
    let types = UpdateVReplicationWorkflowRequest { tablet_types: vec![2], ..cells(&[]) };
    let (_, asks) = running().run(&performed(types));
    for request in sent(&asks) {
        assert_eq!((request.cells.len(), request.tablet_selection_preference, request.state), (0, Some(0), Some(-1)));
    }
}

#[test]
fn tablets_before_v18_get_statements() {
    let mut cluster = running();
    cluster.answer(100, "v18", unknown_method());
    let request =
        UpdateVReplicationWorkflowRequest { tablet_selection_preference: Some(3), tablet_types: vec![3], ..cells(&["a"]) };
    let (reply, asks) = cluster.run(&performed(request));
    assert!(reply.result.is_ok(), "{reply:?}");
    let writes = writes(&asks);
    assert_eq!(writes[0].1, rpc::VREPLICATION_EXEC);
    assert_eq!(
        VReplicationExecRequest::decode(writes[0].2.as_slice()).expect("such a message").query,
        "update _vt.vreplication set cell = 'a', tablet_types = 'in_order:rdonly' where id in (7) and db_name = 'vt_ks' and workflow = 'wf'"
    );
    assert_eq!(writes[1].1, rpc::UPDATE_VREPLICATION_WORKFLOW);
    // A tablet that knows the RPC and refuses this use of it is none of them.
    cluster.answer(100, "v18", refused("no such workflow"));
    let (_, asks) = cluster.run(&performed(state(STOPPED)));
    assert_eq!(sent(&asks).len(), 2);
}

#[test]
fn what_one_target_cannot_take_no_target_gets() {
    let overrides = UpdateVReplicationWorkflowRequest {
        config_overrides: BTreeMap::from([("vreplication-max-time-to-retry-on-error".into(), "1m".into())]),
        ..cells(&["NULL"])
    };
    let on_ddl = UpdateVReplicationWorkflowRequest { on_ddl: Some(2), ..cells(&["NULL"]) };
    let atomic = StreamOf { id: 8, ..stream(8, "wf") };
    let cases: Vec<(Cluster, UpdateVReplicationWorkflowRequest, &str)> = vec![
        (
            cluster(stream(7, "wf"), StreamOf { message: "frozen", ..stream(8, "wf") }),
            state(RUNNING),
            "cannot start a workflow when it is frozen",
        ),
        (
            running().answer(200, "streams", refused("no")).clone(),
            state(STOPPED),
            "no\nnothing was changed; name the other shards to leave 80- out",
        ),
        (
            running().break_topo("zone1", "tablets/zone1-0000000200/Tablet", "no such host").clone(),
            state(STOPPED),
            "no such host\nnothing was changed; name the other shards to leave 80- out",
        ),
        (running().answer(200, "v18", silent(200)).clone(), state(STOPPED), "did not answer in 10s"),
        (running().answer(200, "v21", unknown_method()).clone(), overrides, "is older than v21"),
        (running().answer(200, "v18", unknown_method()).clone(), on_ddl, "is older than v18"),
        (
            running().put("global", "keyspaces/ks/shards/80-/Shard", &Shard::default()).clone(),
            state(STOPPED),
            "no primary found for shard ks/80-",
        ),
        (
            cluster(stream(7, "wf"), atomic),
            UpdateVReplicationWorkflowRequest { workflow: "other".into(), ..state(0) },
            "state Unknown",
        ),
        (running(), UpdateVReplicationWorkflowRequest { message: Some("x".into()), ..state(STOPPED) }, "not changed by vtflow"),
        (running(), UpdateVReplicationWorkflowRequest { tablet_types: vec![78, 85, 76, 76], ..state(STOPPED) }, "v17 client"),
        (
            running(),
            UpdateVReplicationWorkflowRequest { shards: vec!["c0-".into()], ..state(STOPPED) },
            "shard c0- not found in keyspace ks",
        ),
    ];
    for (cluster, request, want) in cases {
        let (reply, asks) = cluster.run(&performed(request));
        assert!(error(&reply).contains(want), "{want}: {}", error(&reply));
        assert!(writes(&asks).is_empty(), "{want}");
    }
}

#[test]
fn a_workflow_that_is_nowhere_is_said_as_vtctld_says_it() {
    let mut cluster = running();
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[]));
    }
    let (reply, _) = cluster.run(&performed(state(STOPPED)));
    assert_eq!(error(&reply), "the wf workflow does not exist in the ks keyspace");
    // On one shard only: the other one is not counted.
    cluster.answer(100, "streams", streams(&[stream(7, "wf")]));
    let (reply, asks) = cluster.run(&performed(state(STOPPED)));
    assert_eq!(writes(&asks).len(), 1);
    assert!(reply.result.is_ok());
    let (reply, _) = Cluster::default().run(&performed(state(STOPPED)));
    assert!(error(&reply).starts_with("ks keyspace does not exist: node doesn't exist: "), "{}", error(&reply));
}

#[test]
fn atomic_copies_do_not_start_half_way() {
    let columns = ["#id", "workflow", "source", "state", "message", "cell", "tablet_types", "#workflow_sub_type"];
    let row = ["7", "wf", "", "Stopped", "", "", "", "2"].map(|text| Some(text.to_owned())).to_vec();
    let mut cluster = running();
    cluster.answer(100, "streams", rows(&columns, &[row]));
    cluster.answer(100, "copy state", copy_states(&[(1, 7, "t1")]));
    let (reply, asks) = cluster.run(&performed(state(RUNNING)));
    assert!(error(&reply).contains("stream 7 is still in the copy phase"), "{}", error(&reply));
    assert!(writes(&asks).is_empty());
}

/// One stream of a move of `t1` from `src`: its name, its position and where it stops.
fn moving(name: &str, stop_after_copy: bool, stop_pos: &str) -> Cluster {
    let stops = if stop_after_copy { " stop_after_copy:true" } else { "" };
    moving_from(name, &format!("{}{stops}", stream(7, "wf").source), "0", stop_pos)
}

/// One stream of a move from elsewhere; `sub_type`: 1 is that of single shards.
fn moving_from(name: &str, source: &str, sub_type: &str, stop_pos: &str) -> Cluster {
    let kinds = ["#workflow_type", "#workflow_sub_type"];
    let columns = ["#id", "workflow", "source", "pos", "stop_pos", "state", "message", kinds[0], kinds[1], "db_name"];
    let pos = "MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-3";
    let row = ["7", name, source, pos, stop_pos, "Stopped", "", "1", sub_type, "vt_ks"];
    let mut cluster = running();
    cluster.cell("zone1").put("zone1", "SrvVSchema", &SrvVSchema::default());
    cluster.answer(100, "streams", rows(&columns, &[row.map(|text| Some(text.to_owned())).to_vec()]));
    cluster.answer(200, "streams", streams(&[]));
    cluster
}

/// What the plan to start it warns of.
fn warned(cluster: &Cluster, name: &str) -> String {
    let request = UpdateVReplicationWorkflowRequest { workflow: name.into(), ..state(RUNNING) };
    let options = CallOptions { mode: Mode::Preview, ..CallOptions::default() };
    let (reply, _) = cluster.run(&update(request, options));
    vtflow_screen::plans::text(plan(&reply)).lines().filter(|line| line.starts_with("Note: ")).collect::<Vec<_>>().join("|")
}

#[test]
fn whoever_starts_a_move_is_told_where_its_traffic_goes() {
    let switched = |mut cluster: Cluster| {
        let (from_table, to_tables) = ("src.t1".into(), vec!["ks.t1".into()]);
        cluster.put("global", "RoutingRules", &RoutingRules { rules: vec![RoutingRule { from_table, to_tables }] });
        cluster
    };
    let forward = moving("wf", false, "");
    assert_eq!(warned(&forward, "wf"), "");
    assert!(warned(&switched(forward), "wf").contains("its traffic is switched (Reads Not Switched. Writes Switched)"));
    let reverse = moving("wf_reverse", false, "");
    assert!(warned(&reverse, "wf_reverse").contains("its writes are not switched"));
    let mut unknown = moving("wf", false, "");
    unknown.cell("zone2");
    assert!(warned(&unknown, "wf").contains("where its traffic goes is not known: "), "{}", warned(&unknown, "wf"));
}

/// A move of `t1` and `t2`, of which the rules route only `t2` anew.
fn half_switched(name: &str, from: &str, to: &str) -> Cluster {
    let rule = |table: &str| format!(r#"rules:{{match:"{table}" filter:"select * from {table}"}}"#);
    let source = format!(r#"keyspace:"src" shard:"0" filter:{{{} {}}}"#, rule("t1"), rule("t2"));
    let mut cluster = moving_from(name, &source, "0", "");
    let rule = RoutingRule { from_table: format!("{from}.t2"), to_tables: vec![format!("{to}.t2")] };
    cluster.put("global", "RoutingRules", &RoutingRules { rules: vec![rule] });
    cluster
}

#[test]
fn whoever_starts_a_move_whose_tables_go_different_ways_is_told_so() {
    for (name, from, to) in [("wf", "src", "ks"), ("wf_reverse", "ks", "src")] {
        let said = warned(&half_switched(name, from, to), name);
        assert!(said.contains("the traffic of its tables goes different ways (writes go different ways: "), "{name}: {said}");
        assert!(said.contains(&format!("those of t2 to {to}")) && said.contains("old rows over new ones"), "{name}: {said}");
    }
}

#[test]
fn a_move_of_another_shard_says_nothing_of_this_one() {
    let source = r#"keyspace:"src" shard:"-80" filter:{rules:{match:"t1" filter:"select * from t1"}}"#;
    let of = |name: &str, list: [(&str, &str, &str); 2]| {
        let mut cluster = moving_from(name, source, "1", "");
        let rule = |(from_keyspace, to_keyspace, shard): (&str, &str, &str)| ShardRoutingRule {
            from_keyspace: from_keyspace.into(),
            to_keyspace: to_keyspace.into(),
            shard: shard.into(),
        };
        cluster.put("global", "ShardRoutingRules", &ShardRoutingRules { rules: list.map(rule).into() });
        warned(&cluster, name)
    };
    let (own, other) = ([("src", "ks", "-80"), ("ks", "src", "80-")], [("src", "ks", "80-"), ("ks", "src", "-80")]);
    assert_eq!(of("wf", other), "");
    assert!(of("wf", own).contains("its traffic is switched (Reads partially switched, for shards: -80."), "{}", of("wf", own));
    // The other direction, whose target is what the rules lead away from.
    assert_eq!(of("wf_reverse", other), "");
    assert!(of("wf_reverse", own).contains("its writes are not switched"), "{}", of("wf_reverse", own));
}

#[test]
fn whoever_starts_a_stream_is_told_that_it_would_stop_again() {
    let position = warned(&moving("wf", false, "MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-3"), "wf");
    assert!(position.contains("zone1-0000000100 stream 7 has a stop position"), "{position}");
    let copied = moving("wf", true, "");
    assert!(warned(&copied, "wf").contains("it would stop again at once"));
    let mut copying = copied;
    copying.answer(100, "copy state", copy_states(&[(1, 7, "t1")]));
    assert_eq!(warned(&copying, "wf"), "");
    // Nor is its copy done because nobody can read which stream copies.
    let unread = [["1", "seven", "t1"].map(|text| Some(text.to_owned())).to_vec()];
    copying.answer(100, "copy state", rows(&["#id", "vrepl_id", "table_name"], &unread));
    let unclear = warned(&copying, "wf");
    assert!(
        unclear.contains("zone1-0000000100 stream 7 was made to stop after its copy: whether that is done is not known"),
        "{unclear}"
    );
}

#[test]
fn a_locked_keyspace_is_left_alone_unless_forced() {
    let mut cluster = running();
    cluster.global("keyspaces/ks/locks/42", b"{\n  \"Action\": \"SwitchWrites\"\n}".to_vec());
    let (reply, asks) = cluster.run(&performed(state(STOPPED)));
    assert!(error(&reply).contains(r#"keyspaces/ks/locks/42 is locked by { "Action": "SwitchWrites" }"#), "{}", error(&reply));
    assert!(writes(&asks).is_empty());
    let (reply, asks) = cluster.run(&update(state(STOPPED), CallOptions { force: true, ..CallOptions::default() }));
    assert!(reply.result.is_ok() && writes(&asks).len() == 2);
}

#[test]
fn each_failed_write_is_looked_at_again_and_never_sent_twice() {
    let stopped = || StreamOf { state: "Stopped", ..stream(8, "wf") };
    for (answer, second_look, verdict, says) in [
        (refused("disk full"), streams(&[stream(8, "wf")]), Verdict::NotApplied, "rows as they were"),
        (refused("broken"), streams(&[stopped()]), Verdict::Applied, "shows the change"),
        (silent(200), streams(&[stopped()]), Verdict::Applied, "shows the change"),
        (silent(200), streams(&[stream(8, "wf")]), Verdict::Unknown, "may still be at work"),
        (cut_off(FailureKind::Unreachable), streams(&[stream(8, "wf")]), Verdict::Unknown, "may still be at work"),
        (cut_off(FailureKind::Status(1)), streams(&[stream(8, "wf")]), Verdict::Unknown, "may still be at work"),
        (cut_off(FailureKind::Status(4)), streams(&[stream(8, "wf")]), Verdict::Unknown, "may still be at work"),
        (cut_off(FailureKind::Unreachable), streams(&[stopped()]), Verdict::Applied, "shows the change"),
        (silent(200), silent(200), Verdict::Unknown, "looking again: "),
        (refused("x"), streams(&[]), Verdict::Unknown, "0 of 1 stream as asked for"),
    ] {
        let mut cluster = running();
        cluster.answer(200, "update", answer);
        cluster.pages(200, "streams", vec![streams(&[stream(8, "wf")]), second_look]);
        let (reply, asks) = cluster.run(&performed(state(STOPPED)));
        assert_eq!(writes(&asks).len(), 2, "one for each target");
        let outcomes = &reply.written.as_ref().expect("a request that writes").outcomes;
        assert_eq!(outcomes[0].verdict, Verdict::Applied);
        assert_eq!(outcomes[1].verdict, verdict, "{outcomes:?}");
        assert!(outcomes[1].message.contains(says), "{says}: {outcomes:?}");
        if verdict == Verdict::Applied {
            assert!(reply.result.is_ok());
        } else {
            let lines: Vec<&str> = error(&reply).lines().collect();
            assert_eq!(lines[0], "ks/-80 zone1-0000000100: applied, 1 row");
            assert!(lines[1].starts_with(&format!("ks/80- zone1-0000000200: {verdict}: ")), "{lines:?}");
        }
        // The order in which answers come decides nothing.
        let (other, _) = cluster.run_in_order(&performed(state(STOPPED)), |n| n - 1);
        assert_eq!(other, reply);
    }
}

#[test]
fn a_primary_that_moved_is_followed_before_anything_is_changed() {
    let mut cluster = running();
    cluster.answer(100, "streams", refused("vreplication engine is closed"));
    cluster.tablet(101, "-80");
    for (subject, answer) in [
        ("streams", streams(&[stream(7, "wf")])),
        ("copy state", rows(&[], &[])),
        ("v18", changed(0)),
        ("other databases", rows(&[], &[])),
        ("update", changed(1)),
    ] {
        cluster.answer(101, subject, answer);
    }
    let record = Shard { primary_alias: Some(alias(101)), is_primary_serving: true, ..Shard::default() };
    cluster.later.insert("keyspaces/ks/shards/-80/Shard".into(), record.encode_to_vec());
    let (reply, asks) = cluster.run(&performed(state(STOPPED)));
    assert!(reply.result.is_ok(), "{reply:?}");
    let mut tablets: Vec<String> = writes(&asks).into_iter().map(|(alias, ..)| alias).collect();
    tablets.sort();
    assert_eq!(tablets, [alias_text(101), alias_text(200)]);
}

#[test]
fn a_tablet_that_is_no_primary_changes_nothing_where_nobody_can_tell_who_is() {
    for subject in ["streams", "v18"] {
        let mut cluster = running();
        cluster.answer(100, subject, refused("vreplication engine is closed"));
        cluster.later.insert("keyspaces/ks/shards/-80/Shard".into(), vec![0xff]);
        let (reply, asks) = cluster.run(&performed(state(STOPPED)));
        let status = reply.result.expect_err(subject);
        assert!(
            status.message.contains("bad shard data") && status.message.contains("nothing was changed"),
            "{subject}: {status}"
        );
        assert_eq!(writes(&asks), [], "{subject}");
    }
}

#[test]
fn a_plan_changes_nothing_and_is_held_to() {
    let mode = |mode: Mode| update(state(STOPPED), CallOptions { mode, ..CallOptions::default() });
    let (preview, asks) = running().run(&mode(Mode::Preview));
    assert!(preview.result.is_ok() && writes(&asks).is_empty());
    let earlier = plan(&preview).clone();
    assert_eq!(earlier.digest.len(), 64);
    let text = serde_json::to_string(&earlier).expect("JSON");
    assert_eq!(serde_json::from_str::<WritePlan>(&text).expect("a plan"), earlier, "a plan can be kept in a file");
    let (reply, asks) = running().run(&mode(Mode::Planned(earlier.digest.clone())));
    assert!(reply.result.is_ok());
    let sent = writes(&asks);
    let planned: Vec<_> =
        earlier.writes.iter().map(|write| (write.tablet.clone(), write.rpc.clone(), write.request.clone())).collect();
    assert_eq!(sent, planned, "exactly those");
    // What changes by itself does not matter; what the plan rests on does.
    let later = StreamOf { time_updated: 5, pos: "", ..stream(8, "wf") };
    let (reply, _) = cluster(stream(7, "wf"), later).run(&mode(Mode::Planned(earlier.digest.clone())));
    assert!(reply.result.is_ok());
    let stopped = StreamOf { state: "Stopped", ..stream(8, "wf") };
    let mut moved = running();
    moved.tablet(300, "-80");
    let mut cases = vec![
        (cluster(stream(7, "wf"), stopped), "stream 8 was Running"),
        (cluster(stream(7, "wf"), stream(9, "wf")), "stream 8 is gone"),
    ];
    let mut gone = running();
    gone.answer(200, "streams", streams(&[]));
    cases.push((gone, "ks/80- zone1-0000000200 would not be changed any more"));
    for (cluster, change) in cases {
        let (reply, asks) = cluster.run(&mode(Mode::Planned(earlier.digest.clone())));
        assert!(error(&reply).contains("nothing was changed"), "{}", error(&reply));
        assert!(writes(&asks).is_empty());
        let changes = vtflow_screen::plans::changes_since(plan(&reply), &earlier);
        assert!(changes.iter().any(|line| line.contains(change)), "{change}: {changes:?}");
    }
}

fn migrations(list: &[(&str, &str)]) -> Answer {
    let columns = [
        "#id",
        "migration_uuid",
        "migration_status",
        "#postpone_launch",
        "#postpone_completion",
        "#force_cutover",
        "#retain_artifacts_seconds",
    ];
    let values: Vec<Vec<Option<String>>> = list
        .iter()
        .zip(1..)
        .map(|((uuid, status), id)| {
            [&id.to_string(), *uuid, *status, "0", "1", "0", "86400"].map(|text| Some(text.to_owned())).to_vec()
        })
        .collect();
    let Answer::Called(bytes) = rows(&columns, &values) else { unreachable!("rows are an answer") };
    let result = VReplicationExecResponse::decode(bytes.as_slice()).expect("such a message").result;
    Answer::Called(ExecuteFetchAsDbaResponse { result }.encode_to_vec())
}

/// Two shards; the migration is known on the first.
fn migrating(second: Answer) -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.answer(100, "migrations", migrations(&[(UUID, "running")]));
    cluster.answer(200, "migrations", second);
    for uid in [100, 200] {
        cluster.answer(uid, "migration", changed(1));
    }
    cluster
}

pub(crate) fn migration(path: &str, uuid: &str) -> Call {
    let request = CancelSchemaMigrationRequest { keyspace: "ks".into(), uuid: uuid.into(), caller_id: None };
    Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

pub(crate) fn statements(asks: &[Ask]) -> Vec<String> {
    asks.iter()
        .filter_map(|ask| match &ask.what {
            What::TabletCall { effect: Effect::Write, about, .. } => Some(about.statement.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn migrations_are_changed_under_the_keyspaces_lock_where_there_is_something_to_do() {
    let cluster = migrating(migrations(&[]));
    let (reply, asks) = cluster.run(&migration(rpc::CANCEL_SCHEMA_MIGRATION, UUID));
    let bytes = reply.result.expect("a reply");
    let by_shard = CancelSchemaMigrationResponse::decode(bytes.as_slice()).expect("such a message").rows_affected_by_shard;
    assert_eq!(by_shard, BTreeMap::from([("-80".to_owned(), 1), ("80-".to_owned(), 0)]), "a shard without it is no error");
    assert_eq!(statements(&asks), [format!("alter vitess_migration '{UUID}' cancel")]);
    assert!(
        matches!(&asks[0].what, What::TopoLock { path, action, .. } if path == "keyspaces/ks" && action == "ApplySchemaKeyspace")
    );
    assert!(matches!(&asks[asks.len() - 1].what, What::TopoUnlock { lock } if *lock == asks[0].id));
    // The lock is given back, too, when there is nothing to do, when it is refused, and when a target fails.
    for cluster in [migrating(refused("no")), migrating(migrations(&[(UUID, "complete")]))] {
        let (_, asks) = cluster.run(&migration(rpc::CANCEL_SCHEMA_MIGRATION, UUID));
        assert!(matches!(&asks[asks.len() - 1].what, What::TopoUnlock { .. }));
    }
    let mut held = cluster.clone();
    held.break_topo("lock", "keyspaces/ks", "deadline exceeded: keyspaces/ks/locks");
    let (reply, asks) = held.run(&migration(rpc::CANCEL_SCHEMA_MIGRATION, UUID));
    assert_eq!(error(&reply), "lockErr in ApplySchemaKeyspace ks: deadline exceeded: keyspaces/ks/locks");
    assert_eq!(asks.len(), 1);
    // A plan locks nothing.
    let mut preview = migration(rpc::CANCEL_SCHEMA_MIGRATION, UUID);
    preview.options.mode = Mode::Preview;
    let (reply, asks) = cluster.run(&preview);
    assert!(asks.iter().all(|ask| !matches!(ask.what, What::TopoLock { .. })));
    assert_eq!(plan(&reply).locks, ["keyspaces/ks"]);
}

#[test]
fn a_target_with_several_failed_changes_is_looked_at_once_more() {
    let other = UUID.replace('8', "9");
    let mut cluster = migrating(migrations(&[(UUID, "failed"), (&other, "failed")]));
    cluster.answer(200, "migration", silent(200));
    let (reply, asks) = cluster.run(&migration(rpc::CLEANUP_SCHEMA_MIGRATION, "all"));
    let looks = |ask: &&Ask| matches!(&ask.what, What::TabletCall { tablet, about, .. } if tablet.alias == alias_text(200) && about.subject == "migrations");
    assert_eq!(asks.iter().filter(looks).count(), 2, "before and after");
    let verdicts: Vec<Verdict> =
        reply.written.expect("a request that writes").outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Unknown, Verdict::Unknown]);
}

#[test]
fn verbs_of_migrations_have_their_own_words_and_conditions() {
    let other = UUID.replace('8', "9");
    let second = migrations(&[(UUID, "failed"), (&other, "queued")]);
    for (path, uuid, want) in [
        (rpc::COMPLETE_SCHEMA_MIGRATION, "ALL", vec!["alter vitess_migration complete all".to_owned(); 2]),
        (rpc::LAUNCH_SCHEMA_MIGRATION, UUID, vec![]),
        (rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION, "all", vec!["alter vitess_migration force_cutover all".to_owned(); 2]),
        (rpc::RETRY_SCHEMA_MIGRATION, UUID, vec![format!("alter vitess_migration '{UUID}' retry")]),
        (
            rpc::CLEANUP_SCHEMA_MIGRATION,
            "all",
            vec![
                format!("alter vitess_migration '{UUID}' cleanup"),
                format!("alter vitess_migration '{UUID}' cleanup"),
                format!("alter vitess_migration '{other}' cleanup"),
            ],
        ),
    ] {
        let (reply, asks) = migrating(second.clone()).run(&migration(path, uuid));
        assert!(reply.result.is_ok(), "{path}: {reply:?}");
        assert_eq!(statements(&asks), want, "{path}");
    }
    for (path, uuid, want) in [
        (rpc::RETRY_SCHEMA_MIGRATION, "all", "there is no retry of all migrations"),
        (rpc::CANCEL_SCHEMA_MIGRATION, "", " is not a valid UUID"),
        (rpc::CANCEL_SCHEMA_MIGRATION, "x' or '1'='1", "is not a valid UUID"),
        (rpc::CANCEL_SCHEMA_MIGRATION, &UUID.replace('8', "7"), "migration not found"),
    ] {
        let mut cluster = migrating(migrations(&[]));
        if want == "migration not found" {
            cluster.answer(100, "migrations", migrations(&[]));
        }
        let (reply, asks) = cluster.run(&migration(path, uuid));
        assert!(error(&reply).contains(want), "{want}: {}", error(&reply));
        assert!(writes(&asks).is_empty());
    }
}

#[test]
fn a_failed_migration_verb_is_said_as_vtctld_says_it_and_by_target() {
    let mut cluster = migrating(migrations(&[(UUID, "running")]));
    cluster.answer(200, "migration", refused("online DDL is disabled"));
    let (reply, asks) = cluster.run(&migration(rpc::CANCEL_SCHEMA_MIGRATION, UUID));
    let text = error(&reply);
    assert!(text.starts_with("schema change failed, ExecuteResult: {\n  \"FailedShards\": [\n    {\n      \"Shard\": \"80-\",\n      \"Err\": \"online DDL is disabled\"\n"), "{text}");
    assert!(text.ends_with("ks/-80 zone1-0000000100: applied, 1 row\nks/80- zone1-0000000200: not applied: online DDL is disabled (a second look shows the rows as they were)"), "{text}");
    assert_eq!(statements(&asks).len(), 2);
    assert!(matches!(&asks[asks.len() - 1].what, What::TopoUnlock { .. }));
}

/// `wf` of two shards, whose tablets know the typed RPC and whose traffic goes to the source.
pub(crate) fn deletable() -> Cluster {
    let mut cluster = running();
    cluster.cell("zone1").put("zone1", "SrvVSchema", &vtflow_planner::proto::vschema::SrvVSchema::default());
    for uid in [100, 200] {
        cluster.answer(uid, "delete", changed(1)).answer(uid, "vdiff", Answer::Called(Vec::new())).answer(uid, "log", changed(3));
        cluster.answer(uid, "table sizes", rows(&[], &[]));
    }
    // Its source: one shard.
    cluster.global("keyspaces/src/Keyspace", vec![]);
    let record = Shard { primary_alias: Some(alias(900)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/src/shards/0/Shard", &record);
    cluster.tablet(900, "0");
    for subject in ["streams", "copy state", "names", "logs", "table sizes"] {
        cluster.answer(900, subject, rows(&[], &[]));
    }
    cluster
}

pub(crate) fn deletion(change: impl FnOnce(&mut WorkflowDeleteRequest), force: bool) -> Call {
    let mut request = WorkflowDeleteRequest {
        keyspace: "ks".into(),
        workflow: "wf".into(),
        keep_data: true,
        keep_routing_rules: true,
        ..WorkflowDeleteRequest::default()
    };
    change(&mut request);
    let options = CallOptions { force, ..CallOptions::default() };
    Call { path: rpc::WORKFLOW_DELETE.into(), request: request.encode_to_vec(), options }
}

#[test]
fn a_workflow_is_deleted_under_its_lock() {
    let (reply, asks) = deletable().run(&deletion(|_| {}, false));
    let bytes = reply.result.expect("a reply");
    let response = WorkflowDeleteResponse::decode(bytes.as_slice()).expect("such a message");
    assert_eq!(response.summary, "Successfully cancelled the wf workflow in the ks keyspace");
    assert_eq!(response.details.iter().map(|info| info.deleted).collect::<Vec<_>>(), [true, true]);
    let locked: Vec<&str> = asks
        .iter()
        .filter_map(|ask| match &ask.what {
            What::TopoLock { path, action, .. } if action == "WorkflowDelete" => Some(path.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(locked, ["internal/named_locks/ks/wf", "keyspaces/ks"]);
    let first_call = asks.iter().position(|ask| matches!(ask.what, What::TabletCall { .. }));
    let last_lock = asks.iter().rposition(|ask| matches!(ask.what, What::TopoLock { .. }));
    assert!(last_lock < first_call, "what is looked at is looked at under the locks");
    assert!(matches!(&asks[asks.len() - 1].what, What::TopoUnlock { .. }));
    let done = writes(&asks);
    let paths: Vec<&str> = done.iter().map(|(_, path, _)| path.as_str()).collect();
    let delete = rpc::DELETE_VREPLICATION_WORKFLOW;
    let extras = [rpc::VDIFF, rpc::EXECUTE_FETCH_AS_DBA];
    assert_eq!(paths[..2], [delete, delete]);
    assert_eq!(paths[2..], [extras, extras].concat(), "comparisons and logs go when the streams are gone");
    let log = ExecuteFetchAsDbaRequest::decode(done[3].2.as_slice()).expect("such a message");
    let of_gone = "vrepl_id in (7) and vrepl_id not in (select id from _vt.vreplication)";
    assert_eq!(String::from_utf8_lossy(&log.query), format!("delete from _vt.vreplication_log where {of_gone}"));
    // Whatever a tablet says of a comparison, the streams are gone.
    let mut cluster = deletable();
    cluster.answer(200, "vdiff", Answer::Called(VDiffResponse { id: 7, ..VDiffResponse::default() }.encode_to_vec()));
    let (reply, _) = cluster.run(&deletion(|_| {}, false));
    assert!(reply.result.is_ok(), "{reply:?}");
    assert_eq!(reply.written.expect("a request that writes").outcomes.len(), 2, "one for each target");
    // A comparison that cannot be deleted is a note, not a failure.
    let mut cluster = deletable();
    cluster.answer(200, "vdiff", refused("vdiff engine is closed"));
    let (reply, _) = cluster.run(&deletion(|_| {}, false));
    assert!(reply.result.is_ok());
    assert!(reply.written.expect("a request that writes").notes[0].contains("vdiff engine is closed"));
    // A tablet before v18 gets the statement.
    let mut cluster = deletable();
    cluster.answer(100, "v18", unknown_method());
    let (_, asks) = cluster.run(&deletion(|_| {}, false));
    let (_, path, request) = &writes(&asks)[0];
    assert_eq!(*path, rpc::VREPLICATION_EXEC);
    let query = VReplicationExecRequest::decode(request.as_slice()).expect("such a message").query;
    assert_eq!(query, "delete from _vt.vreplication where db_name = 'vt_ks' and workflow = 'wf'");
}

#[test]
fn what_must_not_be_deleted_is_refused_before_anything_is_touched() {
    let of_type = |kind: &str, message: &str| {
        let mut cluster = deletable();
        let columns =
            ["#id", "workflow", "source", "pos", "state", "message", "cell", "tablet_types", "#workflow_type", "db_name"];
        let source = stream(7, "wf").source;
        let row = ["7", "wf", &source, "", "Running", message, "", "", kind, "vt_ks"].map(|text| Some(text.to_owned())).to_vec();
        cluster.answer(100, "streams", rows(&columns, &[row])).answer(200, "streams", streams(&[]));
        cluster
    };
    let mut frozen = deletable();
    frozen.answer(200, "streams", streams(&[StreamOf { message: "FROZEN", ..stream(8, "wf") }]));
    let mut switched = deletable();
    let rule = RoutingRule { from_table: "src.t1".into(), to_tables: vec!["ks.t1".into()] };
    switched.put("global", "RoutingRules", &RoutingRules { rules: vec![rule] });
    // Of two tables one: what the streams of the second shard read is left as it is.
    let two = r#"keyspace:"src" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1"} rules:{match:"t2" filter:"select * from t2"}}"#;
    let with_rule = |kind: &str, from_table: &str, to: &str| {
        let mut cluster = of_type(kind, "");
        let columns =
            ["#id", "workflow", "source", "pos", "state", "message", "cell", "tablet_types", "#workflow_type", "db_name"];
        let row = ["7", "wf", two, "", "Running", "", "", "", kind, "vt_ks"].map(|text| Some(text.to_owned())).to_vec();
        cluster.answer(100, "streams", rows(&columns, &[row]));
        let rules = RoutingRules { rules: vec![RoutingRule { from_table: from_table.into(), to_tables: vec![to.into()] }] };
        let vschema = SrvVSchema { routing_rules: Some(rules.clone()), ..SrvVSchema::default() };
        cluster.put("global", "RoutingRules", &rules).put("zone1", "SrvVSchema", &vschema);
        cluster
    };
    let mut reversed = deletable();
    reversed.answer(900, "streams", streams(&[stream(1, "wf_reverse")]));
    let mut nowhere = deletable();
    for uid in [100, 200] {
        nowhere.answer(uid, "streams", streams(&[]));
    }
    let cases: Vec<(Cluster, Call, &str)> = vec![
        (deletable(), deletion(|request| request.workflow.clear(), false), "no workflow provided"),
        (
            of_type("2", "FROZEN"),
            deletion(|_| {}, false),
            "its vindex was externalized; nothing was changed. To delete its streams, whatever its source says: vtflow workflow delete ks wf --ignore-source",
        ),
        (
            of_type("5", ""),
            deletion(|_| {}, true),
            "Use: vtflow migration cancel ks wf, or, if it has ended: vtflow migration cleanup ks wf",
        ),
        (
            frozen.clone(),
            deletion(|_| {}, false),
            "is frozen on ks/80-: its traffic has been switched at some time (now: Reads Not Switched. Writes Not Switched)",
        ),
        (switched, deletion(|_| {}, false), "cannot delete workflow because you have already switched write traffic"),
        (
            with_rule("1", "src.t2", "ks.t2"),
            deletion(|_| {}, false),
            "you have already switched write traffic of some of its tables: writes go different ways: those of t2 to ks, those of t1 to src",
        ),
        (
            with_rule("1", "src.t2@replica", "ks.t2"),
            deletion(|_| {}, false),
            "the traffic of its tables goes different ways: reads of replicas go different ways: those of t2 to ks, those of t1 to src (in zone1)",
        ),
        // Of some shards the other direction is a vtctld's.
        (reversed, deletion(|request| request.shards = vec!["-80".into()], true), "workflow src.wf_reverse is there, too"),
        (nowhere, deletion(|_| {}, false), "no streams found in keyspace ks for wf"),
    ];
    for (cluster, call, want) in cases {
        let (reply, asks) = cluster.run(&call);
        assert!(error(&reply).contains(want), "{want}: {}", error(&reply));
        assert!(writes(&asks).is_empty(), "{want}");
        let has_lock = asks.iter().any(|ask| matches!(ask.what, What::TopoLock { .. }));
        assert_eq!(has_lock, asks.iter().any(|ask| matches!(ask.what, What::TopoUnlock { .. })), "{want}: given back");
    }
    let (reply, _) = frozen.run(&deletion(|_| {}, true));
    assert!(reply.result.is_ok(), "{reply:?}");
    let (reply, _) = with_rule("1", "src.t2", "ks.t2").run(&deletion(|_| {}, true));
    assert!(reply.result.is_ok(), "{reply:?}");
    // What others have moved is not this one's.
    let (reply, _) = with_rule("0", "src.t2@replica", "ks.t2").run(&deletion(|_| {}, false));
    assert!(reply.result.is_ok(), "{reply:?}");
    // An externalized vindex has switched nothing, and works without its streams.
    let (reply, _) = of_type("2", "FROZEN").run(&deletion(|request| request.ignore_source_keyspace = true, false));
    assert!(reply.result.is_ok(), "{reply:?}");
}

pub(crate) fn vexec(sql: &str, mode: Mode) -> Call {
    let request = VExecRequest { keyspace: "ks".into(), workflow: "wf".into(), sql: sql.into(), ..VExecRequest::default() };
    Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options: CallOptions { mode, ..CallOptions::default() } }
}

#[test]
fn a_persons_statement_is_held_to_the_rows_it_was_planned_for() {
    let mut cluster = running();
    for uid in [100, 200] {
        cluster.answer(uid, "vexec", changed(1));
    }
    let update = "update _vt.vreplication set state = 'Stopped' where id > 0";
    let (preview, asks) = cluster.run(&vexec(update, Mode::Preview));
    assert!(writes(&asks).is_empty());
    let earlier = plan(&preview).clone();
    assert_eq!(earlier.summary, "This changes and restarts 2 streams on 2 tablets:");
    assert!(earlier.writes[0].statement.contains("db_name = 'vt_ks'") && earlier.writes[0].statement.contains("workflow = 'wf'"));
    let (reply, asks) = cluster.run(&vexec(update, Mode::Planned(earlier.digest.clone())));
    let response = VExecResponse::decode(reply.result.expect("a reply").as_slice()).expect("such a message");
    let rows: Vec<u64> = response.targets.iter().filter_map(|target| Some(target.result.as_ref()?.rows_affected)).collect();
    assert_eq!((rows, writes(&asks).len()), (vec![1, 1], 2));
    // Another row by now: nothing is changed.
    cluster.answer(200, "streams", streams(&[stream(8, "wf"), stream(9, "wf")]));
    let (reply, asks) = cluster.run(&vexec(update, Mode::Planned(earlier.digest.clone())));
    assert!(writes(&asks).is_empty());
    assert_eq!(vtflow_screen::plans::changes_since(plan(&reply), &earlier), ["ks/80- zone1-0000000200: stream 9 is new"]);
    // Nothing is meant: nothing is sent, and that is no error.
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[]));
    }
    let (reply, asks) = cluster.run(&vexec("delete from _vt.vreplication where id = 77", Mode::Perform));
    assert!(reply.result.is_ok() && writes(&asks).is_empty());
    // A frozen stream stays.
    cluster.answer(200, "streams", streams(&[StreamOf { message: "FROZEN", ..stream(8, "wf") }]));
    let (reply, asks) = cluster.run(&vexec(update, Mode::Perform));
    assert!(error(&reply).contains("is frozen") && writes(&asks).is_empty(), "{}", error(&reply));
    // What is refused is refused before anybody is asked.
    let (reply, asks) = cluster.run(&vexec("update _vt.vreplication set db_name = 'x'", Mode::Perform));
    assert!(reply.result.is_err() && asks.is_empty());
}

#[test]
fn a_persons_statement_that_fails_is_looked_at_again() {
    for (second, verdict) in
        [(streams(&[]), Verdict::Applied), (streams(&[stream(8, "wf")]), Verdict::NotApplied), (silent(200), Verdict::Unknown)]
    {
        let mut cluster = running();
        cluster.answer(100, "vexec", changed(1)).answer(200, "vexec", refused("connection lost"));
        cluster.pages(200, "streams", vec![streams(&[stream(8, "wf")]), second]);
        let (reply, asks) = cluster.run(&vexec("delete from _vt.vreplication", Mode::Perform));
        assert_eq!(writes(&asks).len(), 2);
        assert_eq!(reply.written.expect("a request that writes").outcomes[1].verdict, verdict);
    }
}

#[test]
fn what_was_never_sent_is_not_applied_and_not_looked_at_again() {
    let mut cluster = running();
    let unsent = Answer::Failed { kind: FailureKind::NotSent, message: "its turn did not come".into() };
    cluster.answer(100, "vexec", changed(1)).answer(200, "vexec", unsent);
    let (reply, asks) = cluster.run(&vexec("update _vt.vreplication set state = 'Stopped'", Mode::Perform));
    let outcomes = reply.written.expect("a request that writes").outcomes;
    assert_eq!(outcomes[1].to_string(), "ks/80- zone1-0000000200: not applied: its turn did not come");
    assert_eq!(asks.iter().filter(|ask| matches!(&ask.what, What::TabletCall { .. })).count(), 4, "two looks, two writes");
}

#[test]
fn a_workflow_of_the_same_name_in_another_database_is_left_alone() {
    let mut cluster = running();
    cluster.answer(200, "other databases", rows(&["#id"], &[vec![Some("9".into())]]));
    let (reply, asks) = cluster.run(&performed(state(STOPPED)));
    assert!(reply.result.is_ok(), "{reply:?}");
    let done = writes(&asks);
    let paths: Vec<&str> = done.iter().map(|(_, path, _)| path.as_str()).collect();
    assert_eq!(paths, [rpc::UPDATE_VREPLICATION_WORKFLOW, rpc::VREPLICATION_EXEC], "up to v22 the RPC would change it, too");
    let on_ddl = UpdateVReplicationWorkflowRequest { on_ddl: Some(2), ..cells(&["NULL"]) };
    let (reply, asks) = cluster.run(&performed(on_ddl));
    assert!(error(&reply).contains("in another database") && writes(&asks).is_empty(), "{}", error(&reply));
}

#[test]
fn requests_that_mean_nothing_or_harm_are_refused_at_once() {
    let overrides = |value: &str| UpdateVReplicationWorkflowRequest {
        config_overrides: BTreeMap::from([("k".to_owned(), value.to_owned())]),
        ..cells(&["NULL"])
    };
    let mut old = running();
    old.answer(100, "v18", unknown_method()).answer(200, "v18", unknown_method());
    let (reply, asks) = old.run(&performed(cells(&["NULL"])));
    assert!(error(&reply).contains("no configuration options specified to update") && writes(&asks).is_empty());
    for (request, want) in [
        (state(3), "Running and Stopped only"),
        (state(99), "Running and Stopped only"),
        (UpdateVReplicationWorkflowRequest { on_ddl: Some(77), ..cells(&["NULL"]) }, "invalid on-ddl value: 77"),
        (overrides("1', state = 'Running"), "which tablets do not escape"),
    ] {
        let (reply, asks) = running().run(&performed(request));
        assert!(error(&reply).contains(want), "{want}: {}", error(&reply));
        assert!(asks.is_empty(), "{want}");
    }
    let bad = |keyspace: &str| {
        let request = CancelSchemaMigrationRequest { keyspace: keyspace.into(), uuid: UUID.into(), caller_id: None };
        let path = rpc::CANCEL_SCHEMA_MIGRATION.into();
        running().run(&Call { path, request: request.encode_to_vec(), options: CallOptions::default() })
    };
    let (reply, asks) = bad("ks/shards/-80");
    assert!(error(&reply).contains("cannot exist") && asks.is_empty(), "no lock of another directory");
}

#[test]
fn a_tablet_that_has_lost_the_workflow_in_between_is_looked_at_again() {
    let mut cluster = running();
    cluster.answer(200, "update", Answer::Called(UpdateVReplicationWorkflowResponse { result: None }.encode_to_vec()));
    cluster.pages(200, "streams", vec![streams(&[stream(8, "wf")]), streams(&[])]);
    let (reply, _) = cluster.run(&performed(state(STOPPED)));
    let outcomes = &reply.written.as_ref().expect("a request that writes").outcomes;
    assert_eq!((outcomes[0].verdict, outcomes[1].verdict), (Verdict::Applied, Verdict::Unknown), "{outcomes:?}");
}

#[test]
fn all_migrations_are_counted_before_anything_is_done() {
    let other = UUID.replace('8', "9");
    let cluster = migrating(migrations(&[(UUID, "complete"), (&other, "failed")]));
    let (reply, asks) = cluster.run(&migration(rpc::CANCEL_SCHEMA_MIGRATION, "all"));
    assert_eq!(statements(&asks), ["alter vitess_migration cancel all"], "a shard with nothing to do gets nothing");
    let plan = plan(&reply);
    assert_eq!(plan.summary, "This cancels 1 migration on 1 shard:");
    let rows: Vec<&str> = plan.writes[0].rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(rows, [format!("migration {UUID}")]);
}

#[test]
fn a_persons_statement_names_the_rows_of_its_plan() {
    let mut cluster = running();
    for uid in [100, 200] {
        cluster.answer(uid, "vexec", changed(1));
    }
    let (_, asks) = cluster.run(&vexec("delete from _vt.vreplication where state = 'Error'", Mode::Perform));
    let ends: Vec<String> = statements(&asks).iter().map(|text| text.chars().skip(text.len() - 14).collect()).collect();
    assert_eq!(ends, [" and id in (7)", " and id in (8)"], "one that fails in between is not deleted with them");
}

#[test]
fn one_tablet_is_not_the_primary_of_two_shards() {
    let mut cluster = running();
    let record = Shard { primary_alias: Some(alias(100)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/ks/shards/80-/Shard", &record);
    let (reply, asks) = cluster.run(&performed(state(STOPPED)));
    assert!(error(&reply).contains("two shards name zone1-0000000100 as their primary"), "{}", error(&reply));
    assert!(writes(&asks).is_empty());
}

#[test]
fn failures_of_several_kinds_at_once_are_told_alike_in_every_order() {
    let mut blind = running();
    blind.answer(100, "streams", refused("b")).answer(100, "copy state", refused("a")).answer(200, "copy state", silent(200));
    let reply = same_in_every_order(&blind, &performed(state(STOPPED)));
    assert!(error(&reply).contains("zone1-0000000100: b\n"), "of one target that of its first look: {}", error(&reply));
    let mut lost = running();
    lost.answer(100, "update", refused("disk full")).answer(200, "update", silent(200));
    lost.pages(200, "streams", vec![streams(&[stream(8, "wf")]), refused("d")]);
    lost.pages(200, "copy state", vec![rows(&[], &[]), refused("c")]);
    let reply = same_in_every_order(&lost, &performed(state(STOPPED)));
    assert!(error(&reply).contains("looking again: d"), "{}", error(&reply));
    let mut dirty = deletable();
    for uid in [100, 200] {
        dirty.answer(uid, "vdiff", refused("z")).answer(uid, "log", refused("y"));
    }
    let notes = same_in_every_order(&dirty, &deletion(|_| {}, false)).written.expect("a request that writes").notes;
    let starts: Vec<&str> = notes.iter().map(|note| note.split(": ").next().unwrap_or_default()).collect();
    let (first, second) = ("ks/-80 zone1-0000000100", "ks/80- zone1-0000000200");
    assert_eq!(starts, [first, first, second, second], "in the order of targets: {notes:?}");
    let mut migrations_fail = migrating(migrations(&[(UUID, "running")]));
    migrations_fail.answer(100, "migration", silent(100)).answer(200, "migration", refused("no"));
    same_in_every_order(&migrations_fail, &migration(rpc::CANCEL_SCHEMA_MIGRATION, "all"));
    let mut statement = running();
    statement.answer(100, "vexec", refused("x")).answer(200, "vexec", silent(200));
    same_in_every_order(&statement, &vexec("delete from _vt.vreplication", Mode::Perform));
    let mut unseen = running();
    unseen.answer(100, "streams", refused("x")).answer(200, "streams", silent(200));
    same_in_every_order(&unseen, &vexec("delete from _vt.vreplication", Mode::Perform));
}

#[test]
fn a_lock_that_is_taken_after_the_look_for_others_stops_the_write() {
    let mut cluster = running();
    cluster.break_topo("lock", "keyspaces/ks", "deadline exceeded: keyspaces/ks/locks");
    for call in [performed(state(STOPPED)), vexec("delete from _vt.vreplication", Mode::Perform), deletion(|_| {}, false)] {
        let (reply, asks) = cluster.run(&call);
        let want = "failed to lock the ks keyspace: deadline exceeded: keyspaces/ks/locks\nnothing was changed";
        assert!(error(&reply).starts_with(want), "{}", error(&reply));
        assert!(!asks.iter().any(|ask| matches!(ask.what, What::TabletCall { .. })), "nobody was called: {asks:?}");
        assert!(matches!(&asks[asks.len() - 1].what, What::TopoUnlock { .. }), "the first lock is given back");
    }
    let (reply, asks) = cluster.run(&update(state(STOPPED), CallOptions { force: true, ..CallOptions::default() }));
    assert!(reply.result.is_ok() && writes(&asks).len() == 2);
    let notes = reply.written.expect("a request that writes").notes;
    assert_eq!(notes, ["forced although keyspaces/ks could not be locked: deadline exceeded: keyspaces/ks/locks"]);
}

#[test]
fn what_a_plan_says_is_kept_no_statement_of_it_touches() {
    // Each claim, and what a statement that belies it has in it.
    let touched = |claim: &str| -> &[&str] {
        match claim {
            "the copied tables" => &["drop ", "truncate ", "vt_ks."],
            "the routing rules" => &["routing"],
            "tables, routing rules, log rows" => &["drop ", "truncate ", "routing", "_log"],
            "the streams' log rows" => &["_log"],
            claim if claim.starts_with("whatever there is of the workflow in keyspace \"src\"") => &["src"],
            claim if claim.contains("nothing to cancel") => &["96_b7f875a4d24e90"],
            claim => panic!("nobody checks the claim {claim:?}"),
        }
    };
    let complete = migrating(migrations(&[(UUID, "complete"), ("0a4aad2c_e83e_11ea_96b7_000000000000", "running")]));
    let mut checked = BTreeSet::new();
    for (cluster, call) in [
        (deletable(), deletion(|_| {}, false)),
        (deletable(), deletion(|_| {}, true)),
        (deletable(), deletion(|request| request.ignore_source_keyspace = true, false)),
        (running(), vexec("delete from _vt.vreplication", Mode::Preview)),
        (running(), vexec("update _vt.vreplication set state = 'Stopped'", Mode::Preview)),
        (complete, migration(rpc::CANCEL_SCHEMA_MIGRATION, "all")),
        (running(), performed(state(STOPPED))),
    ] {
        let call = Call { options: CallOptions { mode: Mode::Preview, ..call.options.clone() }, ..call };
        let (reply, _) = cluster.run(&call);
        let plan = plan(&reply);
        for claim in &plan.kept {
            for statement in plan.writes.iter().map(|write| &write.statement) {
                let liar = touched(claim).iter().find(|part| statement.contains(**part));
                assert_eq!(liar, None, "{claim:?} is kept, and {statement}");
                checked.insert(touched(claim));
            }
        }
    }
    assert!(checked.len() >= 4, "of these only there were statements beside the claim: {checked:?}");
}

/// An answer of rows that is none: garbage, no result, no columns.
fn unreadable() -> Vec<Answer> {
    let called = |result| Answer::Called(VReplicationExecResponse { result }.encode_to_vec());
    vec![Answer::Called(vec![0xff]), called(None), called(Some(QueryResult::default()))]
}

#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    let on_ddl = UpdateVReplicationWorkflowRequest { on_ddl: Some(2), ..cells(&["NULL"]) };
    for answer in unreadable() {
        let mut cluster = running();
        cluster.answer(200, "other databases", answer);
        for request in [state(STOPPED), on_ddl.clone(), cells(&["zone2"])] {
            let (reply, asks) = cluster.run(&performed(request));
            let text = error(&reply);
            assert!(text.contains("whether other databases have a workflow of this name is not known"), "{text}");
            assert!(text.contains("zone1-0000000200") && text.ends_with("nothing was changed"), "{text}");
            assert!(writes(&asks).is_empty());
        }
    }
    // An atomic copy of which nobody can say whether it still copies does not start; stopping it is no risk.
    let columns = ["#id", "workflow", "source", "state", "message", "cell", "tablet_types", "#workflow_sub_type"];
    let of_sub_type = |sub_type: &str| {
        let row = ["7", "wf", "", "Stopped", "", "", "", sub_type].map(|text| Some(text.to_owned())).to_vec();
        rows(&columns, &[row])
    };
    let unread = rows(&["#id", "vrepl_id", "table_name"], &[["1", "seven", "t1"].map(|text| Some(text.to_owned())).to_vec()]);
    for (sub_type, copy_state) in [("2", unread.clone()), ("two", copy_states(&[(1, 7, "t1")]))] {
        let mut cluster = running();
        cluster.answer(100, "streams", of_sub_type(sub_type)).answer(100, "copy state", copy_state);
        let (reply, asks) = cluster.run(&performed(state(RUNNING)));
        assert!(error(&reply).contains("ks/-80: whether it may be started is not known: "), "{}", error(&reply));
        assert!(writes(&asks).is_empty());
        assert!(cluster.run(&performed(state(STOPPED))).0.result.is_ok());
    }
    let mut cluster = running();
    cluster.answer(100, "streams", of_sub_type("0")).answer(100, "copy state", unread);
    assert!(cluster.run(&performed(state(RUNNING))).0.result.is_ok(), "it is none of those");
}

#[test]
fn a_stream_that_does_not_say_its_type_may_be_a_schema_migrations() {
    let columns = ["#id", "workflow", "source", "pos", "state", "message", "cell", "tablet_types", "workflow_type", "db_name"];
    let source = stream(7, "wf").source;
    let row = ["7", "wf", &source, "", "Running", "", "", "", "five", "vt_ks"].map(|text| Some(text.to_owned())).to_vec();
    let mut cluster = deletable();
    cluster.answer(100, "streams", rows(&columns, &[row]));
    let (reply, asks) = cluster.run(&deletion(|_| {}, false));
    let want =
        "whether the wf workflow belongs to a schema migration is not known: workflow_type of stream 7 cannot be read: five";
    assert!(error(&reply).contains(want) && error(&reply).ends_with("force it"), "{}", error(&reply));
    assert!(writes(&asks).is_empty());
    assert!(cluster.run(&deletion(|_| {}, true)).0.result.is_ok());
    let (reply, _) = cluster.run(&update(state(STOPPED), CallOptions { mode: Mode::Preview, ..CallOptions::default() }));
    assert!(plan(&reply).warnings[0].contains("scheduler starts and stops it is not known"), "{:?}", plan(&reply).warnings);
}

#[test]
fn a_migration_without_a_state_is_left_alone() {
    let nameless =
        |columns: &[&str], row: &[Option<&str>]| rows(columns, &[row.iter().map(|value| value.map(str::to_owned)).collect()]);
    let columns = ["#id", "migration_uuid", "migration_status"];
    for broken in [
        nameless(&columns, &[Some("1"), Some(UUID), None]),
        nameless(&columns, &[Some("1"), None, Some("running")]),
        nameless(&columns[..2], &[Some("1"), Some(UUID)]),
    ] {
        for path in [rpc::CANCEL_SCHEMA_MIGRATION, rpc::RETRY_SCHEMA_MIGRATION, rpc::CLEANUP_SCHEMA_MIGRATION] {
            let (reply, asks) = migrating(broken.clone()).run(&migration(path, UUID));
            assert!(error(&reply).contains("ks/80-: a migration without migration_"), "{}", error(&reply));
            assert!(error(&reply).ends_with("nothing was changed") && writes(&asks).is_empty(), "{}", error(&reply));
        }
    }
    // A second look at such a row shows nothing, least of all that it was done.
    let mut cluster = Cluster::new(&["0"]);
    let second = nameless(&columns, &[Some("1"), Some(UUID), None]);
    cluster.pages(100, "migrations", vec![migrations(&[(UUID, "failed")]), second]).answer(100, "migration", refused("lost"));
    let (reply, _) = cluster.run(&migration(rpc::RETRY_SCHEMA_MIGRATION, UUID));
    assert_eq!(reply.written.expect("a request that writes").outcomes[0].verdict, Verdict::Unknown);
}

#[test]
fn a_row_that_a_tablet_shows_twice_is_not_changed_twice() {
    let twice = migrations(&[(UUID, "complete"), (UUID, "complete")]);
    for path in [rpc::CLEANUP_SCHEMA_MIGRATION, rpc::RETRY_SCHEMA_MIGRATION, rpc::CANCEL_SCHEMA_MIGRATION] {
        for uuid in [UUID, "all"].iter().take(if path == rpc::RETRY_SCHEMA_MIGRATION { 1 } else { 2 }) {
            let (reply, asks) = migrating(twice.clone()).run(&migration(path, uuid));
            let want = format!("ks/80-: migration {UUID} is in the rows twice\nnothing was changed");
            assert!(error(&reply).ends_with(&want), "{}", error(&reply));
            assert!(writes(&asks).is_empty());
        }
    }
    let mut cluster = deletable();
    cluster.answer(100, "streams", streams(&[stream(7, "wf"), stream(8, "wf"), stream(7, "wf")]));
    for call in [deletion(|_| {}, true), update(state(STOPPED), CallOptions::default())] {
        let (reply, asks) = cluster.run(&call);
        assert!(error(&reply).contains("stream 7 is in the rows twice"), "{}", error(&reply));
        assert!(writes(&asks).is_empty());
    }
}

#[test]
fn only_mysqls_own_number_says_that_no_migration_ever_ran() {
    let none = refused("Table '_vt.schema_migrations' doesn't exist (errno 1146) (sqlstate 42S02) during query: select 1");
    let (reply, asks) = migrating(none).run(&migration(rpc::CANCEL_SCHEMA_MIGRATION, UUID));
    assert!(reply.result.is_ok() && writes(&asks).len() == 1, "{reply:?}");
    let text = "Lost connection (errno 2013) (sqlstate HY000) during query: select '(errno 1146)'";
    let cut = Answer::Failed { kind: FailureKind::Unreachable, message: "a proxy says (errno 1146)".into() };
    for answer in [refused(text), cut] {
        let (reply, asks) = migrating(answer).run(&migration(rpc::CANCEL_SCHEMA_MIGRATION, UUID));
        assert!(error(&reply).contains("nothing was changed") && writes(&asks).is_empty(), "{}", error(&reply));
    }
}

/// What is not there is told by the kind of an answer, whatever the text of a failure says.
#[test]
fn a_topology_that_fails_is_no_keyspace_that_is_gone() {
    let mut cluster = deletable();
    let text = "dial etcd-1: node doesn't exist: /vitess/global/keyspaces/src/shards/";
    cluster.break_topo("global", "keyspaces/src/shards/", text);
    let (reply, asks) = cluster.run(&deletion(|_| {}, false));
    assert!(error(&reply).contains("the source keyspace \"src\" cannot be looked at: dial etcd-1"), "{}", error(&reply));
    assert!(!error(&reply).contains("does not exist\n") && writes(&asks).is_empty());
    cluster.answer(200, "streams", streams(&[StreamOf { message: "FROZEN", ..stream(8, "wf") }]));
    let ignoring = deletion(|request| request.ignore_source_keyspace = true, false);
    let (reply, asks) = cluster.run(&ignoring);
    assert!(error(&reply).contains("is frozen") && writes(&asks).is_empty(), "its traffic may be there: {}", error(&reply));
    // The same of the targets' own keyspace: the failure is told as it is.
    let mut cluster = running();
    cluster.break_topo("global", "keyspaces/ks/shards/", "node doesn't exist: etcd-1");
    for call in [
        performed(state(STOPPED)),
        deletion(|_| {}, false),
        migration(rpc::CANCEL_SCHEMA_MIGRATION, UUID),
        vexec("delete from _vt.vreplication", Mode::Perform),
    ] {
        let (reply, _) = cluster.run(&call);
        assert_eq!(error(&reply), "node doesn't exist: etcd-1", "{}", call.path);
    }
}

#[test]
fn a_name_that_is_empty_means_nothing_and_not_everything() {
    let cluster = running();
    let nameless = |sql: &str| {
        let request = VExecRequest { keyspace: "ks".into(), sql: sql.into(), ..VExecRequest::default() };
        Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options: CallOptions::default() }
    };
    let no_request = WorkflowUpdateRequest { keyspace: "ks".into(), tablet_request: None };
    let no_request = Call { request: no_request.encode_to_vec(), ..performed(state(STOPPED)) };
    let of = |state| performed(UpdateVReplicationWorkflowRequest { workflow: String::new(), ..state });
    let no_workflow = "invalid request, no workflow provided";
    for (call, want) in [
        (of(state(STOPPED)), no_workflow),
        (of(state(RUNNING)), no_workflow),
        (of(cells(&["zone1"])), no_workflow),
        (no_request, no_workflow),
        (deletion(|request| request.workflow.clear(), false), no_workflow),
        (deletion(|request| request.workflow.clear(), true), no_workflow),
        (nameless("update _vt.vreplication set state = 'Stopped'"), "names neither a workflow nor a stream"),
        (nameless("delete from _vt.vreplication"), "names neither a workflow nor a stream"),
        (nameless("delete from _vt.vreplication where id > 0"), "names neither a workflow nor a stream"),
        (nameless("delete from _vt.vreplication where workflow != ''"), "names neither a workflow nor a stream"),
        (migration(rpc::CANCEL_SCHEMA_MIGRATION, ""), " is not a valid UUID"),
        (migration(rpc::CLEANUP_SCHEMA_MIGRATION, ""), " is not a valid UUID"),
        (migration(rpc::COMPLETE_SCHEMA_MIGRATION, ""), " is not a valid UUID"),
        (migration(rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION, ""), " is not a valid UUID"),
        (migration(rpc::LAUNCH_SCHEMA_MIGRATION, ""), " is not a valid UUID"),
        (migration(rpc::RETRY_SCHEMA_MIGRATION, ""), " is not a valid UUID"),
    ] {
        for mode in [Mode::Perform, Mode::Preview] {
            let options = CallOptions { mode, ..call.options.clone() };
            let (reply, asks) = cluster.run(&Call { options, ..call.clone() });
            assert!(error(&reply).contains(want), "{}: {}", call.path, error(&reply));
            assert!(asks.is_empty(), "{}: nobody is asked", call.path);
        }
    }
}

#[test]
fn rows_without_a_column_of_every_release_are_not_changed() {
    for lacking in ["state", "message", "source"] {
        let columns: Vec<&str> =
            ["#id", "workflow", "state", "message", "source"].into_iter().filter(|it| *it != lacking).collect();
        let row = columns.iter().map(|column| Some(if *column == "#id" { "7" } else { "x" }.to_owned())).collect();
        let mut cluster = deletable();
        cluster.answer(100, "streams", rows(&columns, &[row])).answer(100, "vexec", changed(1));
        for call in
            [performed(state(RUNNING)), deletion(|_| {}, false), vexec("update _vt.vreplication set message = ''", Mode::Perform)]
        {
            let (reply, asks) = cluster.run(&call);
            assert!(error(&reply).contains(&format!("the rows have no column {lacking}")), "{}", error(&reply));
            assert!(writes(&asks).is_empty(), "{}", call.path);
        }
    }
}

#[test]
fn a_statement_that_is_answered_with_nothing_is_looked_at_again() {
    let mut cluster = running();
    cluster.answer(100, "vexec", changed(1)).answer(200, "vexec", Answer::Called(Vec::new()));
    cluster.pages(200, "streams", vec![streams(&[stream(8, "wf")]), streams(&[])]);
    let (reply, _) = cluster.run(&vexec("delete from _vt.vreplication", Mode::Perform));
    let outcomes = reply.written.expect("a request that writes").outcomes;
    assert_eq!(outcomes[1].verdict, Verdict::Applied);
    assert!(outcomes[1].message.contains("the tablet's answer has no result (a second look shows the change)"), "{outcomes:?}");
}
