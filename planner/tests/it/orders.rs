//! Every request that the planner serves, its answers in many orders: with a healthy cluster, and with several asks of it failing
//! in several ways at once. Whatever came first or last, the reply and what is asked are the same.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, FailureKind, Mode, What,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{UpdateVReplicationWorkflowRequest, UpdateVReplicationWorkflowResponse, VDiffResponse},
        topodata::{
            CellsAlias, Keyspace, Shard, ShardReplication, SrvKeyspace, Tablet, TabletAlias, ThrottledAppRule,
            shard_replication::Node,
        },
        vschema,
        vtctldata::*,
        vtflow::{DiagnoseRequest, RepairRequest, SnapshotRequest, VExecRequest},
        vttime::Time,
    },
    rpc, serve,
};

use crate::support::{
    Cluster, SNAPSHOT_TABLES, THEN, VDIFF_COLUMNS, alias, alias_text, copy_states, logs, place, refused, rows,
    same_in_every_order, same_in_some_orders, scattered, silent, stream, streams, vdiff_row,
};

const UUID: &str = "82fa54ac_e83e_11ea_96b7_f875a4d24e90";
/// Of a `VDiff` that compares.
const OTHER_UUID: &str = "b3f59678-5241-41ee-be56-0242ac120002";

/// Sets of faults by chance for each request.
const FAULTS: u64 = 24;

fn rpc(name: &str, request: &impl Message) -> Call {
    Call { path: format!("/vtctlservice.Vtctld/{name}"), request: request.encode_to_vec(), options: CallOptions::default() }
}

/// Two shards of `ks` move `t1` from `src/0` and are in the middle of the copy; two cells; a migration; a replica in each cell.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.cell("zone1").cell("zone2").cell("zone3");
    let source = Shard { primary_alias: Some(alias(900)), is_primary_serving: true, ..Shard::default() };
    cluster.put("global", "keyspaces/src/Keyspace", &Keyspace::default()).put("global", "keyspaces/src/shards/0/Shard", &source);
    cluster.put("global", "keyspaces/ks/VSchema", &vschema::Keyspace { sharded: true, ..vschema::Keyspace::default() });
    cluster.put("global", "cells_aliases/west/CellsAlias", &CellsAlias { cells: vec!["zone1".into()] });
    cluster.put("global", "cells_aliases/east/CellsAlias", &CellsAlias { cells: vec!["zone2".into()] });
    for cell in ["zone1", "zone2", "zone3"] {
        cluster.put(cell, "SrvVSchema", &vschema::SrvVSchema::default());
        cluster.put(cell, "keyspaces/ks/SrvKeyspace", &SrvKeyspace::default());
        cluster.put(cell, "keyspaces/src/SrvKeyspace", &SrvKeyspace::default());
    }
    cluster.tablet(900, "0");
    let record = cluster.topo[&("zone1".to_owned(), "tablets/zone1-0000000900/Tablet".to_owned())].clone();
    let tablet = Tablet { keyspace: "src".into(), ..Tablet::decode(record.as_slice()).unwrap() };
    cluster.put("zone1", "tablets/zone1-0000000900/Tablet", &tablet);
    let record = cluster.topo[&("zone1".to_owned(), "tablets/zone1-0000000100/Tablet".to_owned())].clone();
    let tablet = Tablet::decode(record.as_slice()).unwrap();
    let tablet = Tablet { port_map: [("grpc".to_owned(), 16_100), ("vt".to_owned(), 15_100)].into(), ..tablet };
    cluster.put("zone1", "tablets/zone1-0000000100/Tablet", &tablet);
    let nodes = |cell: &str, uids: &[u32]| ShardReplication {
        nodes: uids.iter().map(|&uid| Node { tablet_alias: Some(TabletAlias { cell: cell.into(), uid }) }).collect(),
    };
    cluster.put("zone1", "keyspaces/ks/shards/-80/ShardReplication", &nodes("zone1", &[100]));
    cluster.put("zone2", "keyspaces/ks/shards/-80/ShardReplication", &nodes("zone2", &[301, 302]));
    for uid in [301, 302] {
        let alias = Some(TabletAlias { cell: "zone2".into(), uid });
        let replica = Tablet { alias, keyspace: "ks".into(), shard: "-80".into(), r#type: 2, ..Tablet::default() };
        cluster.put("zone2", &format!("tablets/zone2-{uid:010}/Tablet"), &replica);
    }
    let text = |list: &[&str]| list.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
    let sizes = || rows(&["TABLE_NAME", "#TABLE_ROWS", "#DATA_LENGTH"], &[text(&["t1", "10", "100"])]);
    let vdiff = VDiffResponse { id: 7, output: Some(QueryResult::default()), vdiff_uuid: UUID.into() };
    let columns = [
        "#id",
        "migration_uuid",
        "migration_status",
        "#postpone_launch",
        "#postpone_completion",
        "#force_cutover",
        "#retain_artifacts_seconds",
        "reviewed_timestamp",
    ];
    let changed = || {
        let result = Some(QueryResult { rows_affected: 1, ..QueryResult::default() });
        Answer::Called(UpdateVReplicationWorkflowResponse { result }.encode_to_vec())
    };
    let variables = br#"{"BuildHost":"h","BuildUser":"u","BuildTimestamp":17,"BuildGitRev":"abc"}"#;
    cluster.answer(100, "/debug/vars", Answer::Called(variables.to_vec()));
    for uid in [100, 200] {
        cluster
            .answer(uid, "streams", streams(&[stream(1, "wf"), stream(2, "other")]))
            .answer(uid, "copy state", copy_states(&[(1, 1, "t1")]))
            .answer(uid, "logs", logs(&[(1, 1, THEN), (2, 2, THEN)]))
            .answer(uid, "names", rows(&["workflow"], &[text(&["wf"])]))
            .answer(uid, "table sizes", sizes())
            .answer(uid, "vdiff", Answer::Called(vdiff.encode_to_vec()))
            .answer(uid, "migrations", rows(&columns, &[text(&["1", UUID, "running", "1", "1", "0", "86400", THEN])]))
            .answer(uid, "migration", changed());
        cluster
            .answer(uid, "vdiffs", rows(&VDIFF_COLUMNS, &[vdiff_row(UUID, "stopped"), vdiff_row(OTHER_UUID, "started")]))
            .answer(uid, "vdiff tables", rows(&["state"], &[text(&["stopped"])]))
            .answer(uid, "vdiff undone", Answer::Called(Vec::new()));
        cluster.answer(uid, "v18", Answer::Called(vec![])).answer(uid, "other databases", rows(&["#id"], &[]));
        for subject in ["update", "delete", "log"] {
            cluster.answer(uid, subject, changed());
        }
        cluster.answer(uid, "vexec", rows(&["#id", "workflow"], &[text(&["1", "wf"])]));
    }
    for subject in ["streams", "copy state", "names", "logs"] {
        cluster.answer(900, subject, rows(&[], &[]));
    }
    cluster.answer(900, "table sizes", sizes()).answer(900, "journal", rows(&["val"], &[]));
    for uid in [100, 200, 900] {
        cluster.answer(uid, "journals", rows(&["#id", "val"], &[]));
        cluster.answer(uid, "refresh", Answer::Called(Vec::new()));
    }
    cluster
}

/// The same as this request sees it: the tables of a snapshot have the names of other reads.
fn cluster_for(call: &Call) -> Cluster {
    let mut cluster = cluster();
    if call.path == rpc::SNAPSHOT {
        for (uid, table) in [100, 200, 900].into_iter().flat_map(|uid| SNAPSHOT_TABLES.map(|table| (uid, table))) {
            cluster.answer(uid, table, rows(&["id", "message"], &[vec![Some("1".into()), Some("m".into())]]));
        }
    }
    cluster
}

/// A request of every kind.
fn calls() -> Vec<Call> {
    let (keyspace, workflow) = (|| "ks".to_owned(), || "wf".to_owned());
    let legacy = |line: &str| Call {
        path: rpc::EXECUTE_VTCTL_COMMAND.into(),
        ..rpc("", &ExecuteVtctlCommandRequest { args: line.split(' ').map(str::to_owned).collect(), action_timeout: 0 })
    };
    let diagnose = |keyspace: &str, workflow: &str| {
        let request = DiagnoseRequest { keyspace: keyspace.into(), workflow: workflow.into(), sequences: false };
        Call { path: rpc::DIAGNOSE.into(), ..rpc("", &request) }
    };
    let repair = Call {
        path: rpc::REPAIR.into(),
        ..rpc("", &RepairRequest { keyspace: keyspace(), direction: "back".into(), refresh: true, ..Default::default() })
    };
    let vexec = |sql: &str, dry_run| {
        let request = VExecRequest { keyspace: keyspace(), workflow: workflow(), sql: sql.into(), dry_run, shards: vec![] };
        Call { path: rpc::VEXEC.into(), ..rpc("", &request) }
    };
    let update = |state, cells: &[&str]| {
        let wanted = UpdateVReplicationWorkflowRequest {
            workflow: workflow(),
            cells: cells.iter().map(|&cell| cell.to_owned()).collect(),
            tablet_types: vec![-1],
            state,
            ..UpdateVReplicationWorkflowRequest::default()
        };
        rpc("WorkflowUpdate", &WorkflowUpdateRequest { keyspace: keyspace(), tablet_request: Some(wanted) })
    };
    let deletion = |ignore_source_keyspace| WorkflowDeleteRequest {
        keyspace: keyspace(),
        workflow: workflow(),
        keep_data: true,
        keep_routing_rules: true,
        ignore_source_keyspace,
        ..WorkflowDeleteRequest::default()
    };
    let migration = |path: &str, uuid: &str| {
        let request = CancelSchemaMigrationRequest { keyspace: keyspace(), uuid: uuid.into(), caller_id: None };
        Call { path: path.into(), ..rpc("", &request) }
    };
    let rule = |until| ThrottledAppRule {
        name: "online-ddl".into(),
        ratio: 0.5,
        expires_at: Some(Time { seconds: until, nanoseconds: 0 }),
        exempt: false,
    };
    let throttled = |until| {
        let throttled_app = Some(rule(until));
        rpc("UpdateThrottlerConfig", &UpdateThrottlerConfigRequest { keyspace: keyspace(), throttled_app, ..Default::default() })
    };
    let vdiff = |uuid: &str| VDiffStopRequest {
        target_keyspace: keyspace(),
        workflow: workflow(),
        uuid: uuid.into(),
        ..VDiffStopRequest::default()
    };
    let workflows = GetWorkflowsRequest { keyspace: keyspace(), include_logs: true, ..Default::default() };
    // Refused once everything is seen, for it is in the middle of the copy; `switch` has those that are not.
    let switch = WorkflowSwitchTrafficRequest {
        keyspace: keyspace(),
        workflow: workflow(),
        tablet_types: vec![1, 2, 3],
        ..WorkflowSwitchTrafficRequest::default()
    };
    // As the switch; `forward` has those that are not refused.
    let complete = vtflow_planner::proto::vtctldata::MoveTablesCompleteRequest {
        target_keyspace: keyspace(),
        workflow: workflow(),
        ..Default::default()
    };
    let mirror = vtflow_planner::proto::vtctldata::WorkflowMirrorTrafficRequest {
        keyspace: keyspace(),
        workflow: workflow(),
        tablet_types: vec![1],
        percent: 500.0,
    };
    let far = i64::from(u32::MAX);
    vec![
        diagnose("", ""),
        diagnose("src", "wf"),
        repair,
        legacy("Workflow ks listall"),
        legacy("Workflow ks.wf show"),
        legacy("OnlineDDL ks show"),
        legacy("OnlineDDL -json ks show"),
        rpc("FindAllShardsInKeyspace", &FindAllShardsInKeyspaceRequest { keyspace: keyspace() }),
        rpc("GetCellInfo", &GetCellInfoRequest { cell: "zone1".into() }),
        rpc("GetCellInfoNames", &GetCellInfoNamesRequest {}),
        rpc("GetCellsAliases", &GetCellsAliasesRequest {}),
        rpc("GetKeyspace", &GetKeyspaceRequest { keyspace: keyspace() }),
        rpc("GetKeyspaceRoutingRules", &GetKeyspaceRoutingRulesRequest {}),
        rpc("GetKeyspaces", &GetKeyspacesRequest {}),
        rpc("GetMirrorRules", &GetMirrorRulesRequest {}),
        rpc("GetRoutingRules", &GetRoutingRulesRequest {}),
        rpc("GetSchemaMigrations", &GetSchemaMigrationsRequest { keyspace: keyspace(), ..Default::default() }),
        rpc("GetShard", &GetShardRequest { keyspace: keyspace(), shard_name: "-80".into() }),
        rpc("GetShardRoutingRules", &GetShardRoutingRulesRequest {}),
        rpc("GetSrvKeyspaceNames", &GetSrvKeyspaceNamesRequest { cells: vec![] }),
        rpc("GetSrvKeyspaceNames", &GetSrvKeyspaceNamesRequest { cells: vec!["zone2".into(), "nosuch".into(), "zone1".into()] }),
        rpc("GetSrvKeyspaces", &GetSrvKeyspacesRequest { keyspace: keyspace(), cells: vec![] }),
        rpc("GetSrvKeyspaces", &GetSrvKeyspacesRequest { keyspace: keyspace(), cells: vec!["zone2".into(), "nosuch".into()] }),
        rpc("GetSrvVSchema", &GetSrvVSchemaRequest { cell: "zone1".into() }),
        rpc("GetSrvVSchemas", &GetSrvVSchemasRequest { cells: vec![] }),
        rpc("GetSrvVSchemas", &GetSrvVSchemasRequest { cells: vec!["zone3".into(), "zone1".into()] }),
        rpc("GetTablet", &GetTabletRequest { tablet_alias: Some(alias(100)) }),
        rpc("GetTablets", &GetTabletsRequest::default()),
        rpc("GetTablets", &GetTabletsRequest { cells: vec!["zone2".into(), "zone1".into()], ..Default::default() }),
        rpc("GetTablets", &GetTabletsRequest { keyspace: keyspace(), shard: "-80".into(), ..Default::default() }),
        rpc("GetTablets", &GetTabletsRequest { tablet_aliases: vec![alias(200), alias(100), alias(77)], ..Default::default() }),
        rpc("GetTopologyPath", &GetTopologyPathRequest { path: "/".into(), ..Default::default() }),
        rpc("GetTopologyPath", &GetTopologyPathRequest { path: "/global".into(), ..Default::default() }),
        rpc("GetTopologyPath", &GetTopologyPathRequest { path: "/zone1".into(), ..Default::default() }),
        rpc("GetTopologyPath", &GetTopologyPathRequest { path: "/global/keyspaces/ks".into(), ..Default::default() }),
        rpc("GetTopologyPath", &GetTopologyPathRequest { path: "/global/keyspaces/ks/VSchema".into(), ..Default::default() }),
        rpc("GetVSchema", &GetVSchemaRequest { keyspace: keyspace() }),
        rpc("GetVersion", &GetVersionRequest { tablet_alias: Some(alias(100)) }),
        rpc("GetWorkflows", &workflows),
        rpc("GetWorkflows", &GetWorkflowsRequest { name_only: true, ..workflows }),
        rpc("VDiffCreate", &VDiffCreateRequest { target_keyspace: keyspace(), workflow: "other".into(), ..Default::default() }),
        rpc("VDiffDelete", &VDiffDeleteRequest { target_keyspace: keyspace(), workflow: workflow(), arg: "all".into() }),
        rpc("VDiffResume", &vdiff(UUID)),
        rpc("VDiffStop", &vdiff(OTHER_UUID)),
        rpc("VDiffShow", &VDiffShowRequest { target_keyspace: keyspace(), workflow: workflow(), arg: "last".into() }),
        rpc("WorkflowStatus", &WorkflowStatusRequest { keyspace: keyspace(), workflow: workflow(), shards: vec![] }),
        migration(rpc::CANCEL_SCHEMA_MIGRATION, "all"),
        migration(rpc::CLEANUP_SCHEMA_MIGRATION, "all"),
        migration(rpc::COMPLETE_SCHEMA_MIGRATION, UUID),
        migration(rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION, UUID),
        migration(rpc::LAUNCH_SCHEMA_MIGRATION, "all"),
        migration(rpc::RETRY_SCHEMA_MIGRATION, UUID),
        throttled(far),
        throttled(0),
        rpc("WorkflowDelete", &deletion(false)),
        rpc("WorkflowDelete", &deletion(true)),
        update(Some(2), &["NULL"]),
        update(None, &["zone1", "zone2"]),
        rpc("WorkflowSwitchTraffic", &switch),
        rpc("MoveTablesComplete", &complete),
        rpc("WorkflowMirrorTraffic", &mirror),
        vexec("select id, workflow from _vt.vreplication", false),
        vexec("select * from _vt.schema_migrations", false),
        vexec("update _vt.vreplication set state = 'Stopped'", false),
        vexec("delete from _vt.vreplication", false),
        vexec("delete from _vt.vreplication", true),
        Call {
            path: rpc::SNAPSHOT.into(),
            ..rpc("", &SnapshotRequest { keyspaces: vec!["ks".into(), "src".into()], routing: true })
        },
    ]
}

/// One of the ways in which an ask fails, or is answered with something else.
fn fault(what: &What, number: u64) -> Answer {
    let failed = |kind, text: &str| Answer::Failed { kind, message: format!("{text} {}", number % 97) };
    match number % 11 {
        0 | 1 => failed(FailureKind::Status(2), "refused"),
        2 => failed(FailureKind::TimedOut, "no answer"),
        3 => failed(FailureKind::Unreachable, "connection refused"),
        4 => failed(FailureKind::NotSent, "its turn did not come"),
        5 => failed(FailureKind::TooLarge, "too large"),
        6 => failed(FailureKind::Status(5), "node doesn't exist"),
        7 => match what {
            What::TabletCall { .. } => failed(FailureKind::Status(2), "vreplication engine is closed"),
            _ => failed(FailureKind::Status(14), "etcd is gone"),
        },
        8 => match what {
            What::TabletCall { .. } | What::TabletPage { .. } => Answer::Called(Vec::new()),
            _ => Answer::Missing { node: format!("/vitess/{}", number % 97) },
        },
        9 => match what {
            What::TopoGet { .. } => Answer::Found { value: vec![0xff, 0xff], version: 3 },
            What::TabletCall { .. } | What::TabletPage { .. } => Answer::Called(vec![0xff, 0xff]),
            _ => Answer::Range(Vec::new()),
        },
        _ => Answer::Locked,
    }
}

#[test]
fn every_request_that_is_served_is_here() {
    let tried: BTreeSet<String> = calls().into_iter().map(|call| call.path).collect();
    let served: BTreeSet<String> =
        serve::SERVED.iter().map(|served| served.path).chain([rpc::SNAPSHOT, rpc::VEXEC]).map(str::to_owned).collect();
    assert_eq!(tried, served);
}

#[test]
fn healthy_answers_in_every_order() {
    for call in calls() {
        for mode in [Mode::Perform, Mode::Preview] {
            for force in [false, true] {
                let options = CallOptions { mode: mode.clone(), force, ..CallOptions::default() };
                let reply = same_in_every_order(&cluster_for(&call), &Call { options, ..call.clone() });
                let expects_refusal = [
                    rpc::RETRY_SCHEMA_MIGRATION,
                    rpc::WORKFLOW_SWITCH_TRAFFIC,
                    rpc::MOVE_TABLES_COMPLETE,
                    rpc::WORKFLOW_MIRROR_TRAFFIC,
                    rpc::REPAIR,
                ]
                .contains(&call.path.as_str());
                assert!(reply.result.is_ok() || expects_refusal, "{}: {reply:?}", call.path);
            }
        }
    }
}

/// A primary has moved: its tablet refuses, and the shard's record names another one when it is read again.
#[test]
fn a_primary_that_moves_meanwhile_in_every_order() {
    for call in calls() {
        let mut moved = cluster_for(&call);
        for (shard, from, to) in [("-80", 100, 102), ("80-", 200, 202)] {
            moved.tablet(to, shard);
            let answers: Vec<_> = moved
                .tablets
                .iter()
                .filter(|((alias, _), _)| *alias == alias_text(from))
                .map(|(key, of)| (key.1.clone(), of.clone()))
                .collect();
            for (subject, answers) in answers {
                moved.pages(to, &subject, answers);
            }
            for subject in ["streams", "copy state", "logs", "names", "v18", "other databases"] {
                moved.answer(from, subject, refused("vreplication engine is closed"));
            }
            // Reads of one record see it as it is later.
            let record = Shard { primary_alias: Some(alias(to)), is_primary_serving: true, ..Shard::default() };
            moved.later.insert(format!("keyspaces/ks/shards/{shard}/Shard"), record.encode_to_vec());
        }
        same_in_every_order(&moved, &call);
        // One of them does not answer either.
        moved.answer(202, "streams", silent(202)).answer(202, "names", refused("no"));
        moved.answer(100, "copy state", silent(100)).answer(200, "streams", silent(200));
        same_in_every_order(&moved, &call);
    }
}

#[test]
fn several_faults_at_once_in_every_order() {
    for (number, call) in calls().into_iter().enumerate() {
        for seed in 0..FAULTS {
            let mut state = seed * 1_000 + number as u64;
            // One early ask of so many fails.
            let early = [9, 2, 5][usize::try_from(seed % 3).unwrap()];
            let options = CallOptions {
                strict: scattered(&mut state).is_multiple_of(4),
                force: scattered(&mut state).is_multiple_of(3),
                mode: if scattered(&mut state).is_multiple_of(5) { Mode::Preview } else { Mode::Perform },
                ..CallOptions::default()
            };
            let call = Call { options, ..call.clone() };
            let mut broken = cluster_for(&call);
            // The asks that a fault brings about can fail, too: each round of faults is put on what the one before left.
            for _ in 0..2 {
                let (_, asks) = broken.run(&call);
                let mut seen: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
                for ask in asks {
                    let times = seen.entry(place(&ask)).or_default();
                    let key = (place(&ask), *times);
                    *times += 1;
                    // What fails early hides what could fail later; several failures at once are wanted of both.
                    let chance = if ask.round > 2 { 3 } else { early };
                    if scattered(&mut state).is_multiple_of(chance) && !broken.faults.contains_key(&key) {
                        broken.faults.insert(key, fault(&ask.what, scattered(&mut state)));
                    }
                }
            }
            let faults: Vec<String> = broken.faults.iter().map(|(key, answer)| format!("{key:?}: {answer:?}")).collect();
            let told = std::panic::catch_unwind(|| same_in_some_orders(&broken, &call, 6));
            assert!(told.is_ok(), "seed {seed} of request {number}, {} {:?}:\n{}", call.path, call.options, faults.join("\n"));
        }
    }
}
