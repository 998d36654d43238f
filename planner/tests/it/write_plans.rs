//! What each write asks and plans: the statements and messages to the letter, what is kept, and what people are warned of.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Flow, Mode, What,
    contract::WritePlan,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{
            DeleteVReplicationWorkflowRequest, UpdateVReplicationWorkflowRequest, UpdateVReplicationWorkflowResponse,
            VDiffRequest, VReplicationExecRequest,
        },
        topodata::Shard,
        vschema::{RoutingRule, RoutingRules},
        vtctldata::{CancelSchemaMigrationResponse, WorkflowDeleteResponse, WorkflowUpdateResponse},
        vtflow::VExecRequest,
    },
    rpc,
};

use crate::{
    support::{Cluster, NOW, alias, refused, rows, silent, stream, streams},
    writes::{
        RUNNING, STOPPED, UUID, cells, changed, deletable, deletion, error, migration, performed, plan, running, sent, state,
        statements, unknown_method, update, vexec, writes,
    },
};

#[expect(clippy::unnecessary_wraps, reason = "what a cell is, which may be NULL")]
fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn planned(cluster: &Cluster, call: &Call) -> WritePlan {
    let options = CallOptions { mode: Mode::Preview, ..call.options.clone() };
    plan(&cluster.run(&Call { options, ..call.clone() }).0).clone()
}

/// The statements by which tablets are looked at for this, each once.
fn looks(asks: &[Ask], subject: &str) -> Vec<String> {
    let statement = |ask: &Ask| match &ask.what {
        What::TabletCall { about, .. } if about.subject == subject => Some(about.statement.clone()),
        _ => None,
    };
    let mut statements: Vec<String> = asks.iter().filter_map(statement).collect();
    statements.dedup();
    statements
}

fn tablets_called(asks: &[Ask]) -> Vec<&str> {
    let called = asks.iter().filter_map(|ask| if let What::TabletCall { tablet, .. } = &ask.what { Some(tablet) } else { None });
    let mut aliases: Vec<&str> = called.map(|tablet| tablet.alias.as_str()).collect();
    aliases.sort_unstable();
    aliases.dedup();
    aliases
}

// Migrations.

/// One shard with a migration of each status, all of them postponed.
fn migrating(columns: &[&str], list: &[[&str; 3]]) -> Cluster {
    let mut cluster = Cluster::new(&["0"]);
    let value = |[uuid, status, force]: &[&str; 3]| {
        let all = ["1", uuid, status, "alter", "vt_ks", "t1", "1", "1", "86400", "2", force];
        columns.iter().zip(all).map(|(_, value)| text(value)).collect()
    };
    let values: Vec<Vec<Option<String>>> = list.iter().map(value).collect();
    cluster.answer(100, "migrations", rows(columns, &values)).answer(100, "migration", changed(1));
    cluster
}

const COLUMNS: [&str; 11] = [
    "#id",
    "migration_uuid",
    "migration_status",
    "ddl_action",
    "mysql_schema",
    "mysql_table",
    "#postpone_launch",
    "#postpone_completion",
    "#retain_artifacts_seconds",
    "#retries",
    "#force_cutover",
];

const CANCEL: &str = rpc::CANCEL_SCHEMA_MIGRATION;
const CLEANUP: &str = rpc::CLEANUP_SCHEMA_MIGRATION;
const COMPLETE: &str = rpc::COMPLETE_SCHEMA_MIGRATION;
const FORCE: &str = rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION;
const LAUNCH: &str = rpc::LAUNCH_SCHEMA_MIGRATION;
const RETRY: &str = rpc::RETRY_SCHEMA_MIGRATION;

#[test]
fn all_migrations_are_those_on_which_the_verb_has_something_to_do() {
    let pending = "migration_status in ('queued', 'ready', 'running')";
    for (path, want) in [
        (CANCEL, pending),
        (COMPLETE, pending),
        (FORCE, pending),
        (LAUNCH, "migration_status = 'queued' and reviewed_timestamp is not null"),
        (
            CLEANUP,
            "migration_status in ('complete', 'cancelled', 'failed') and cleanup_timestamp is null and retain_artifacts_seconds > 0",
        ),
    ] {
        let (reply, asks) = migrating(&COLUMNS, &[]).run(&migration(path, "all"));
        let want = format!("select * from _vt.schema_migrations where {want} order by id");
        assert_eq!((reply.result.is_ok(), looks(&asks, "migrations")), (true, vec![want]), "{path}");
        assert_eq!(plan(&reply).warnings, [""; 0], "{path}: that there are none is no news");
    }
}

#[test]
fn a_plan_rests_on_what_matters_to_the_verb() {
    let basis = |status: &str, forced: &str| {
        format!(
            "migration_status={status} postpone_launch=1 postpone_completion=1 force_cutover={forced} retain_artifacts_seconds=86400 \
             retries=2"
        )
    };
    // The scheduler moves pending ones on while somebody reads the plan.
    for (path, status, want) in [
        (CANCEL, "queued", "pending"),
        (CANCEL, "ready", "pending"),
        (CANCEL, "running", "pending"),
        (COMPLETE, "running", "pending"),
        (COMPLETE, "complete", "complete"),
        (FORCE, "ready", "pending"),
        (FORCE, "failed", "failed"),
        (LAUNCH, "queued", "pending"),
        (LAUNCH, "cancelled", "cancelled"),
        (CLEANUP, "queued", "queued"),
        (CLEANUP, "complete", "complete"),
        (RETRY, "failed", "failed"),
    ] {
        let plan = planned(&migrating(&COLUMNS, &[[UUID, status, "0"]]), &migration(path, UUID));
        let rows = &plan.writes[0].rows;
        assert_eq!(rows[0].basis, basis(want, "0"), "{path} {status}");
        assert_eq!(rows[0].about, format!("{status}, alter vt_ks.t1"), "{path} {status}");
        assert_eq!((rows.len(), plan.kept.len(), plan.warnings.len()), (1, 0, 0), "{path} {status}");
    }
}

#[test]
fn migrations_without_anything_to_do_are_named_and_left_alone() {
    let other = UUID.replace('8', "9");
    let cluster = migrating(&COLUMNS, &[[UUID, "complete", "0"], [&other, "running", "0"]]);
    let plan = planned(&cluster, &migration(CANCEL, "all"));
    assert_eq!(plan.kept, [format!("ks/0: migration {UUID} is complete, nothing to cancel")]);
    assert_eq!(plan.summary, "This cancels 1 migration on 1 shard:");
    let cluster = migrating(&COLUMNS, &[[UUID, "running", "1"]]);
    let plan = planned(&cluster, &migration(FORCE, UUID));
    assert_eq!(plan.kept, [format!("ks/0: migration {UUID} is running, nothing to force_cutover")]);
    assert_eq!((plan.writes.len(), plan.warnings.len()), (0, 0));
    let plan = planned(&migrating(&COLUMNS, &[]), &migration(COMPLETE, UUID));
    assert_eq!(plan.warnings, [format!("no shard of ks knows migration {UUID}")]);
}

#[test]
fn only_a_forced_cut_over_needs_a_tablet_of_v19() {
    let old = &COLUMNS[..10];
    let known = migrating(old, &[[UUID, "running", ""]]);
    let (reply, asks) = known.run(&migration(FORCE, UUID));
    let want = "tablet zone1-0000000100 is older than v19 and cannot force a cut-over; nothing was changed";
    assert_eq!((error(&reply), writes(&asks).len()), (want, 0));
    assert_eq!(statements(&known.run(&migration(CANCEL, UUID)).1).len(), 1);
    let (reply, asks) = migrating(old, &[]).run(&migration(FORCE, UUID));
    assert!(reply.result.is_ok() && writes(&asks).is_empty(), "it has none to force: {reply:?}");
}

#[test]
fn a_verb_that_fails_on_one_shard_is_told_in_vtctlds_form() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let row = |uuid: &str| vec![text("1"), text(uuid), text("running")];
    for uid in [100, 200] {
        cluster.answer(uid, "migrations", rows(&["#id", "migration_uuid", "migration_status"], &[row(UUID)]));
        cluster.answer(uid, "migration", changed(2));
    }
    let (reply, _) = cluster.run(&migration(CANCEL, UUID));
    let reply = CancelSchemaMigrationResponse::decode(reply.result.expect("a reply").as_slice()).expect("such a message");
    assert_eq!(reply.rows_affected_by_shard, BTreeMap::from([("-80".to_owned(), 2), ("80-".to_owned(), 2)]));
    cluster.answer(200, "migration", refused("lost"));
    let (reply, _) = cluster.run(&migration(CANCEL, UUID));
    let (json, lines) = error(&reply)
        .strip_prefix("schema change failed, ExecuteResult: ")
        .and_then(|text| text.rsplit_once("}\n"))
        .expect("JSON, then lines");
    let json: serde_json::Value = serde_json::from_str(&format!("{json}}}")).expect("JSON");
    let want = serde_json::json!({
        "FailedShards": [{"Shard": "80-", "Err": "lost"}],
        "SuccessShards": [{"Shard": "-80"}],
        "CurSqlIndex": 0,
        "Sqls": [format!("alter vitess_migration '{UUID}' cancel")],
        "UUIDs": null,
        "ExecutorErr": "",
        "TotalTimeSpent": 0,
    });
    assert_eq!((json, lines.lines().count()), (want, 2));
}

// All kinds.

#[test]
fn only_the_shards_that_were_named_are_looked_at_and_changed() {
    let on_first = CallOptions { shards: vec!["-80".into()], ..CallOptions::default() };
    let request = VExecRequest {
        keyspace: "ks".into(),
        workflow: "wf".into(),
        sql: "delete from _vt.vreplication".into(),
        shards: vec!["-80".into()],
        ..VExecRequest::default()
    };
    let by_request = UpdateVReplicationWorkflowRequest { shards: vec!["-80".into()], ..state(STOPPED) };
    let mut cluster = running();
    for uid in [100, 200] {
        let row = vec![text("1"), text(UUID), text("running")];
        cluster.answer(uid, "migrations", rows(&["#id", "migration_uuid", "migration_status"], &[row]));
        cluster.answer(uid, "migration", changed(1)).answer(uid, "vexec", changed(1));
    }
    for call in [
        performed(by_request),
        update(state(STOPPED), on_first.clone()),
        Call { options: on_first.clone(), ..migration(CANCEL, UUID) },
        Call { request: request.encode_to_vec(), ..vexec("", Mode::Perform) },
    ] {
        let (reply, asks) = cluster.run(&call);
        assert!(reply.result.is_ok(), "{}: {reply:?}", call.path);
        assert_eq!((tablets_called(&asks), writes(&asks).len()), (vec!["zone1-0000000100"], 1), "{}", call.path);
        if call.path == rpc::WORKFLOW_UPDATE {
            assert_eq!(sent(&asks)[0].shards, [""; 0], "the tablet has one only");
        }
    }
    // Where traffic goes is a matter of the whole workflow.
    for call in
        [deletion(|request| request.shards = vec!["-80".into()], false), Call { options: on_first, ..deletion(|_| {}, false) }]
    {
        let plan = planned(&deletable(), &call);
        assert!(plan.writes.iter().all(|write| write.shard == "-80"), "{:?}", plan.writes);
        assert_eq!(plan.summary, "This deletes 1 stream on 1 tablet:");
        assert_eq!(plan.warnings, ["the workflow's streams on other shards stay"]);
    }
}

#[test]
fn a_look_that_a_tablet_refuses_is_told_in_its_words() {
    let no = |subject: &str| running().answer(200, subject, refused("no")).clone();
    for (cluster, call, want) in [
        (
            no("migrations").answer(100, "migrations", rows(&["migration_uuid"], &[])).clone(),
            migration(COMPLETE, UUID),
            "ks/80-: no\nnothing was changed",
        ),
        (no("streams"), vexec("delete from _vt.vreplication", Mode::Perform), "ks/80-: no; nothing was changed"),
        (no("other databases"), performed(state(STOPPED)), "no; nothing was changed"),
        (no("copy state"), performed(state(STOPPED)), "no\nnothing was changed; name the other shards to leave 80- out"),
    ] {
        let (reply, asks) = cluster.run(&call);
        assert_eq!((error(&reply), writes(&asks).len()), (want, 0), "{}", call.path);
    }
    let both = no("streams").answer(100, "streams", silent(100)).clone();
    let want = "ks/-80 zone1-0000000100: zone1-0000000100 did not answer in 10s\nks/80- zone1-0000000200: no\n\
                nothing was changed; name the other shards to leave -80, 80- out";
    assert_eq!(error(&both.run(&performed(state(STOPPED))).0), want);
}

#[test]
fn of_several_shards_that_are_not_there_the_first_that_was_named_is_told() {
    let shards = ["-80", "e0-", "c0-"].map(str::to_owned).to_vec();
    let call = performed(UpdateVReplicationWorkflowRequest { shards, ..state(STOPPED) });
    assert_eq!(error(&running().run(&call).0), "shard e0- not found in keyspace ks");
}

#[test]
fn what_has_nobody_to_ask_is_known_before_anybody_is_asked() {
    let mut cluster = running();
    cluster.put("global", "keyspaces/ks/shards/80-/Shard", &Shard::default());
    let mut flow = Flow::start(&update(state(STOPPED), CallOptions { mode: Mode::Preview, ..CallOptions::default() }), NOW);
    let mut waiting = flow.asks();
    while let Some(ask) = waiting.pop() {
        if !matches!(ask.what, What::TabletCall { .. }) {
            flow.answer(ask.id, cluster.perform(&ask, 0));
            waiting.extend(flow.asks());
        }
    }
    let failures: Vec<String> =
        flow.failures().into_iter().map(|failure| format!("{}: {}", failure.shard, failure.message)).collect();
    assert_eq!(failures, ["80-: no primary found for shard ks/80-"]);
    assert!(flow.outstanding() > 0);
}

// Updates.

/// One tablet of before v18 with these streams: id and tablet types.
fn old_tablet(list: &[(&str, &str)]) -> Cluster {
    let columns = ["#id", "workflow", "source", "state", "message", "tablet_types"];
    let value = |(id, types): &(&str, &str)| {
        vec![text(id), text("wf"), Some(stream(7, "wf").source), text("Running"), text(""), text(types)]
    };
    let mut cluster = Cluster::new(&["0"]);
    cluster.answer(100, "streams", rows(&columns, &list.iter().map(value).collect::<Vec<_>>()));
    cluster.answer(100, "v18", unknown_method()).answer(100, "other databases", rows(&["#id"], &[]));
    cluster
}

#[test]
fn each_part_of_an_update_becomes_a_part_of_the_statement() {
    let types = |types: &[i32], preference: i32| UpdateVReplicationWorkflowRequest {
        tablet_types: types.to_vec(),
        tablet_selection_preference: Some(preference),
        ..cells(&["NULL"])
    };
    let (any, in_order, unchanged) = (0, 1, 3);
    for (stored, request, want) in [
        ("replica", types(&[3, 2], in_order), "tablet_types = 'in_order:rdonly,replica'"),
        ("in_order:replica", types(&[3], any), "tablet_types = 'rdonly'"),
        ("in_order:replica", types(&[3], unchanged), "tablet_types = 'in_order:rdonly'"),
        ("replica", types(&[3], unchanged), "tablet_types = 'rdonly'"),
        ("REPLICA,PRIMARY", types(&[-1], in_order), "tablet_types = 'in_order:replica,primary'"),
        ("in_order:REPLICA", types(&[-1], any), "tablet_types = 'replica'"),
        ("replica", cells(&["zone1", "zone2"]), "cell = 'zone1,zone2'"),
        // What a client of a state leaves out stays, unless it says anything else: then it is meant.
        (
            "replica",
            UpdateVReplicationWorkflowRequest { cells: vec![], tablet_types: vec![], ..state(STOPPED) },
            "state = 'Stopped'",
        ),
        (
            "replica",
            UpdateVReplicationWorkflowRequest { cells: vec!["zone1".into()], tablet_types: vec![], ..state(STOPPED) },
            "state = 'Stopped', cell = 'zone1', tablet_types = ''",
        ),
        (
            "replica",
            UpdateVReplicationWorkflowRequest { cells: vec![], tablet_types: vec![3], ..state(STOPPED) },
            "state = 'Stopped', cell = '', tablet_types = 'rdonly'",
        ),
        (
            "replica",
            UpdateVReplicationWorkflowRequest {
                cells: vec![],
                tablet_types: vec![],
                tablet_selection_preference: Some(any),
                ..state(STOPPED)
            },
            "state = 'Stopped', cell = '', tablet_types = ''",
        ),
        (
            "replica",
            UpdateVReplicationWorkflowRequest { state: None, cells: vec![], tablet_types: vec![], ..state(0) },
            "cell = '', tablet_types = ''",
        ),
    ] {
        let plan = planned(&old_tablet(&[("7", stored)]), &performed(request));
        let scope = "db_name = 'vt_ks' and workflow = 'wf'";
        assert_eq!(
            plan.writes[0].statement,
            format!("update _vt.vreplication set {want} where id in (7) and {scope}"),
            "{stored}"
        );
    }
    // Those that only tablets of later releases take; what is left out with them is meant, too.
    let source = stream(7, "wf").source;
    let overrides = |list: &[(&str, &str)]| UpdateVReplicationWorkflowRequest {
        config_overrides: list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..cells(&["NULL"])
    };
    let bare =
        |request| UpdateVReplicationWorkflowRequest { cells: vec![], tablet_types: vec![], state: Some(STOPPED), ..request };
    for (request, want) in [
        (
            UpdateVReplicationWorkflowRequest { on_ddl: Some(2), ..cells(&["NULL"]) },
            format!("source = '{source}' /* with on_ddl EXEC */"),
        ),
        (
            bare(UpdateVReplicationWorkflowRequest { on_ddl: Some(2), ..cells(&[]) }),
            format!("state = 'Stopped', source = '{source}' /* with on_ddl EXEC */, cell = '', tablet_types = ''"),
        ),
        (
            overrides(&[("k", "v"), ("l", "w")]),
            r#"options = json_set(options, '$.config', json_object(), '$.config."k"', 'v', '$.config."l"', 'w')"#.into(),
        ),
        (overrides(&[("k", ""), ("l", " ")]), r#"options = json_remove(options, '$.config."k"', '$.config."l"')"#.into()),
        (
            overrides(&[("k", ""), ("l", "w")]),
            r#"options = json_set(json_remove(options, '$.config."k"'), '$.config', json_object(), '$.config."l"', 'w')"#.into(),
        ),
        (
            bare(overrides(&[("k", "")])),
            r#"state = 'Stopped', cell = '', tablet_types = '', options = json_remove(options, '$.config."k"')"#.into(),
        ),
    ] {
        let plan = planned(&running(), &performed(request));
        let statement = plan.writes[0].statement.as_str();
        assert_eq!(
            statement.strip_prefix("update _vt.vreplication set ").and_then(|text| text.split(" where id in (7)").next()),
            Some(want.as_str())
        );
    }
}

#[test]
fn a_plan_says_what_becomes_of_the_streams() {
    let plain = |kind: &str| {
        let columns = ["#id", "workflow", "source", "state", "message", "#workflow_type"];
        let row = vec![text("7"), text("wf"), Some(stream(7, "wf").source), text("Stopped"), text(""), text(kind)];
        running().answer(100, "streams", rows(&columns, &[row])).answer(200, "streams", streams(&[])).clone()
    };
    let summary = |request| planned(&plain("0"), &performed(request)).summary;
    assert_eq!(summary(state(RUNNING)), "This starts 1 stream on 1 tablet:");
    assert_eq!(summary(state(STOPPED)), "This stops 1 stream on 1 tablet:");
    assert_eq!(summary(cells(&["zone2"])), "This changes and restarts 1 stream on 1 tablet:");
    // Where traffic goes is asked for where streams of a move start, and nowhere else.
    let asks_for_traffic = |cluster: &Cluster, request| {
        let (_, asks) = cluster.run(&performed(request));
        asks.iter().any(|ask| matches!(&ask.what, What::TopoGet { path, .. } if path == "RoutingRules"))
    };
    assert!(asks_for_traffic(&plain("1"), state(RUNNING)));
    assert!(!asks_for_traffic(&plain("0"), state(RUNNING)));
    assert!(!asks_for_traffic(&plain("1"), state(STOPPED)));
    let mut frozen = plain("1");
    let of = crate::support::StreamOf { message: "FROZEN", ..stream(8, "wf") };
    frozen.answer(200, "streams", streams(&[of]));
    assert!(!asks_for_traffic(&frozen, state(RUNNING)), "it is refused anyway");
}

#[test]
fn config_overrides_are_for_tablets_that_know_them() {
    let overrides = UpdateVReplicationWorkflowRequest {
        config_overrides: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        ..cells(&["NULL"])
    };
    let (reply, asks) = running().run(&performed(overrides));
    assert!(reply.result.is_ok(), "{reply:?}");
    assert_eq!(sent(&asks)[0].config_overrides, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    // Nobody asks for them where none are changed.
    let (_, asks) = running().run(&performed(state(STOPPED)));
    assert_eq!(looks(&asks, "v21"), [""; 0]);
}

#[test]
fn a_tablet_is_changed_if_one_of_its_statements_changed_a_row() {
    let done = |rows: u64| {
        let result = Some(QueryResult { rows_affected: rows, ..QueryResult::default() });
        Answer::Called(UpdateVReplicationWorkflowResponse { result }.encode_to_vec())
    };
    let request =
        UpdateVReplicationWorkflowRequest { tablet_types: vec![3], tablet_selection_preference: Some(3), ..cells(&["NULL"]) };
    // Two streams that become different ones: two statements.
    for (first, second, want) in [(0, 1, true), (1, 0, true), (1, 1, true), (0, 0, false)] {
        let mut cluster = old_tablet(&[("7", "replica"), ("8", "in_order:replica")]);
        cluster.pages(100, "update", vec![done(first), done(second)]);
        let (reply, asks) = cluster.run(&performed(request.clone()));
        let queries: Vec<String> = writes(&asks)
            .iter()
            .map(|(_, _, request)| VReplicationExecRequest::decode(request.as_slice()).expect("such a message").query)
            .collect();
        assert_eq!(queries, statements(&asks));
        assert_eq!(queries.len(), 2, "{queries:?}");
        let bytes = reply.result.expect("a reply");
        let details = WorkflowUpdateResponse::decode(bytes.as_slice()).expect("such a message").details;
        let changed: Vec<bool> = details.iter().map(|info| info.changed).collect();
        assert_eq!(changed, [want], "{first} {second}");
        assert_eq!(plan(&cluster.run(&performed(request.clone())).0).summary, "This changes and restarts 2 streams on 1 tablet:");
    }
}

#[test]
fn columns_that_a_release_lacks_are_no_reason_to_refuse() {
    let columns = ["#id", "workflow", "source", "state", "message"];
    let row = |id: &str| vec![text(id), text("wf"), Some(stream(7, "wf").source), text("Stopped"), text("")];
    let mut cluster = deletable();
    cluster.answer(100, "streams", rows(&columns, &[row("7")])).answer(200, "streams", rows(&columns, &[row("8")]));
    for call in [performed(state(RUNNING)), performed(state(STOPPED)), deletion(|_| {}, false)] {
        let (reply, asks) = cluster.run(&call);
        assert!(reply.result.is_ok() && writes(&asks).len() >= 2, "{}: {reply:?}", call.path);
        assert!(!plan(&reply).warnings.iter().any(|text| text.contains("schema migration")), "{:?}", plan(&reply).warnings);
    }
}

// Deletions.

#[test]
fn a_deletion_is_of_this_workflow_and_nothing_else() {
    let (reply, asks) = deletable().run(&deletion(|_| {}, false));
    let (delete, vdiff, log) = (rpc::DELETE_VREPLICATION_WORKFLOW, rpc::VDIFF, rpc::EXECUTE_FETCH_AS_DBA);
    let of = |rpc: &str| writes(&asks).into_iter().find(|(_, path, _)| path == rpc).expect("such a call").2;
    let request = DeleteVReplicationWorkflowRequest::decode(of(delete).as_slice()).expect("such a message");
    assert_eq!(request, DeleteVReplicationWorkflowRequest { workflow: "wf".into() });
    let request = VDiffRequest::decode(of(vdiff).as_slice()).expect("such a message");
    let want = VDiffRequest {
        keyspace: "ks".into(),
        workflow: "wf".into(),
        action: "delete".into(),
        action_arg: "all".into(),
        ..VDiffRequest::default()
    };
    assert_eq!(request, want);
    assert!(!of(log).is_empty());
    // People see of each call what it does.
    let plan = plan(&reply);
    let first: Vec<&str> = plan.writes[..3].iter().map(|write| write.statement.as_str()).collect();
    assert_eq!(
        first,
        [
            "delete from _vt.vreplication where db_name = 'vt_ks' and workflow = 'wf'",
            "/* the workflow's comparisons */ VDiff delete all of 'wf'",
            "delete from _vt.vreplication_log where vrepl_id in (7) and vrepl_id not in (select id from _vt.vreplication)",
        ]
    );
    assert_eq!(plan.summary, "This deletes 2 streams on 2 tablets:");
    let left = r#"whatever there is of the workflow in keyspace "src": denied tables, journals"#;
    assert_eq!(plan.kept, ["the copied tables", "the routing rules", left]);
    assert_eq!(plan.warnings, [""; 0]);
    // The other direction is looked for by its name, where this one reads.
    let mut cluster = deletable();
    let record = Shard { primary_alias: Some(alias(901)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/src/shards/1/Shard", &record);
    let (reply, asks) = cluster.run(&deletion(|_| {}, false));
    assert!(reply.result.is_ok(), "nobody asks the shard that is not read: {reply:?}");
    let look = asks.iter().find_map(|ask| match &ask.what {
        What::TabletCall { tablet, about, .. }
            if tablet.alias == "zone1-0000000900" && about.subject == "streams and copy state" =>
        {
            Some(&about.statement)
        }
        _ => None,
    });
    assert!(look.is_some_and(|statement| statement.contains("workflow = 'wf_reverse'")), "{look:?}");
}

#[test]
fn where_streams_stay_their_comparisons_and_logs_stay() {
    let mut cluster = deletable();
    cluster.answer(200, "delete", refused("lost"));
    let (reply, asks) = cluster.run(&deletion(|_| {}, false));
    assert!(reply.result.is_err());
    let paths = |uid: &str| -> Vec<String> {
        writes(&asks).into_iter().filter(|(alias, ..)| alias.ends_with(uid)).map(|(_, path, _)| path).collect()
    };
    assert_eq!(paths("100"), [rpc::DELETE_VREPLICATION_WORKFLOW, rpc::VDIFF, rpc::EXECUTE_FETCH_AS_DBA]);
    assert_eq!(paths("200"), [rpc::DELETE_VREPLICATION_WORKFLOW]);
}

#[test]
fn a_deletion_with_nothing_to_do_asks_nothing_more() {
    let mut nowhere = deletable();
    for uid in [100, 200] {
        nowhere.answer(uid, "streams", streams(&[]));
    }
    let (reply, asks) = nowhere.run(&deletion(|_| {}, false));
    assert!(reply.result.is_err());
    assert!(!asks.iter().any(|ask| matches!(&ask.what, What::TopoGet { path, .. } if path == "RoutingRules")), "{asks:?}");
}

#[test]
fn a_tablet_that_deleted_nothing_is_said_not_to_have() {
    let deleted = |cluster: &Cluster| -> Vec<bool> {
        let bytes = cluster.run(&deletion(|_| {}, false)).0.result.expect("a reply");
        let details = WorkflowDeleteResponse::decode(bytes.as_slice()).expect("such a message").details;
        details.iter().map(|info| info.deleted).collect()
    };
    let mut cluster = deletable();
    cluster.answer(200, "delete", changed(0));
    assert_eq!(deleted(&cluster), [true, false]);
    cluster.answer(200, "streams", streams(&[]));
    assert_eq!(deleted(&cluster), [true, false], "nor one that had nothing to delete");
    // One whose answer was lost has, if the rows are gone.
    let mut cluster = deletable();
    cluster.answer(200, "delete", refused("lost"));
    cluster.pages(200, "streams", vec![streams(&[stream(8, "wf")]), streams(&[stream(8, "wf")]), streams(&[])]);
    assert_eq!(deleted(&cluster), [true, true]);
}

#[test]
fn a_forced_deletion_says_where_its_traffic_goes() {
    let mut switched = deletable();
    let rule = RoutingRule { from_table: "src.t1".into(), to_tables: vec!["ks.t1".into()] };
    switched.put("global", "RoutingRules", &RoutingRules { rules: vec![rule] });
    let warnings = |cluster: &Cluster| planned(cluster, &deletion(|_| {}, true)).warnings;
    assert_eq!(warnings(&switched), ["forced; its traffic: Reads Not Switched. Writes Switched"]);
    let mut unknown = deletable();
    unknown.break_topo("global", "RoutingRules", "the rules are away");
    let warned = warnings(&unknown);
    assert!(warned.len() == 1 && warned[0].starts_with("forced; its traffic: Unknown: "), "{warned:?}");
    let (reply, asks) = unknown.run(&deletion(|_| {}, false));
    let text = error(&reply);
    assert!(text.starts_with("where traffic goes is not known (Unknown: ") && text.ends_with("; nothing was changed"), "{text}");
    assert_eq!(writes(&asks).len(), 0);
    // The status looks at the streams once more: nobody answers by then.
    let mut gone = deletable();
    for (uid, id) in [(100, 7), (200, 8)] {
        gone.pages(uid, "streams", vec![streams(&[stream(id, "wf")]), refused("too late")]);
    }
    assert_eq!(warnings(&gone), ["forced; its traffic: not known"]);
    let (reply, _) = gone.run(&deletion(|_| {}, false));
    let text = error(&reply);
    let want = "where traffic goes is not known (failed to get workflow state for ks.wf workflow: ";
    assert!(text.starts_with(want) && text.ends_with("; nothing was changed"), "{text}");
}
