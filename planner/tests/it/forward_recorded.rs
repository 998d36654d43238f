//! Completing, cancelling and mirroring on recorded moments of a real cluster: the lines, the calls and the records and rows afterwards
//! are those that a vtctld of v24 left, but for what `docs/compat.md` lists.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use vtflow_planner::{
    Call, CallOptions,
    proto::{
        topodata::{Shard, SrvKeyspace},
        vschema::{Keyspace, MirrorRules, RoutingRules, SrvVSchema},
        vtctldata::{
            MoveTablesCompleteRequest, MoveTablesCompleteResponse, WorkflowDeleteRequest, WorkflowDeleteResponse,
            WorkflowMirrorTrafficRequest, WorkflowMirrorTrafficResponse,
        },
    },
    rpc,
};

use crate::support::{live::Live, recorded::moment};

const COMMERCE: &str = "zone1-0000000100";
const LEFT: &str = "zone1-0000000200";
const RIGHT: &str = "zone2-0000000300";

fn with_tables(live: &mut Live, alias: &str, tables: &[&str]) {
    live.servers.get_mut(alias).unwrap().tables = tables.iter().map(|&table| (table.to_owned(), false)).collect();
}

fn tables(live: &Live, alias: &str) -> Vec<String> {
    live.servers[alias].tables.keys().cloned().collect()
}

fn done<M: Message + Default>(live: &mut Live, path: &str, request: &impl Message) -> M {
    let call = Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let reply = live.run(&call).unwrap();
    let bytes = reply.result.unwrap_or_else(|status| panic!("{status}\n{:#?}", live.log));
    M::decode(bytes.as_slice()).unwrap()
}

fn refused(live: &mut Live, path: &str, request: &impl Message) -> String {
    let call = Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    live.run(&call).unwrap().result.unwrap_err().message
}

fn complete(keyspace: &str, workflow: &str) -> MoveTablesCompleteRequest {
    MoveTablesCompleteRequest {
        target_keyspace: keyspace.into(),
        workflow: workflow.into(),
        ..MoveTablesCompleteRequest::default()
    }
}

/// The topology in a form in which the order of rules does not count and a vschema without anything is none.
pub(crate) fn topology(live: &Live) -> BTreeMap<String, String> {
    let rules = |mut rules: RoutingRules| {
        rules.rules.sort_by(|a, b| a.from_table.cmp(&b.from_table));
        rules
    };
    let mirrors = |mut rules: MirrorRules| {
        rules.rules.sort_by(|a, b| a.from_table.cmp(&b.from_table));
        rules
    };
    let text = |path: &str, value: &[u8]| match path.rsplit('/').next().unwrap() {
        "RoutingRules" => format!("{:?}", rules(RoutingRules::decode(value).unwrap())),
        "MirrorRules" => format!("{:?}", mirrors(MirrorRules::decode(value).unwrap())),
        "SrvVSchema" => {
            let served = SrvVSchema::decode(value).unwrap();
            let own = rules(served.routing_rules.unwrap_or_default());
            let mirrored = mirrors(served.mirror_rules.unwrap_or_default());
            format!("{own:?} {mirrored:?} {:?}", served.keyspaces)
        }
        "VSchema" => format!("{:?}", Keyspace::decode(value).unwrap()),
        "Shard" => format!("{:?}", Shard::decode(value).unwrap()),
        "SrvKeyspace" => format!("{:?}", SrvKeyspace::decode(value).unwrap()),
        _ => String::new(),
    };
    live.topo.iter().map(|((cell, path), (value, _))| (format!("{cell}/{path}"), text(path, value))).collect()
}

/// Workflows, states and messages of streams by tablet.
pub(crate) fn streams(live: &Live) -> BTreeMap<String, Vec<String>> {
    let row =
        |row: &BTreeMap<&'static str, String>| format!("{} {} {} {}", row["id"], row["workflow"], row["state"], row["message"]);
    live.servers.iter().map(|(alias, server)| (alias.clone(), server.streams.iter().map(row).collect())).collect()
}

/// What was called and written, without the reads.
fn log(live: &Live) -> Vec<&str> {
    live.log.iter().map(String::as_str).collect()
}

// TR-94, TR-96, TR-98, TR-99.
#[test]
fn a_preview_of_a_completion_has_the_recorded_lines_and_touches_nothing() {
    let mut live = moment("12-mt-complete-dry", "before");
    let before = live.clone();
    let wanted = MoveTablesCompleteRequest { dry_run: true, ..complete("customer", "c2c") };
    let reply: MoveTablesCompleteResponse = done(&mut live, rpc::MOVE_TABLES_COMPLETE, &wanted);
    assert!(reply.summary.starts_with("Complete dry run results for workflow customer.c2c at "), "{}", reply.summary);
    let want = [
        "Lock keyspace commerce",
        "Lock keyspace customer",
        "Dropping these tables from the database and removing them from the vschema for keyspace commerce: [keyspace:commerce;shard:0;dbname:vt_commerce;tablet:100;table:corder,keyspace:commerce;shard:0;dbname:vt_commerce;tablet:100;table:customer]",
        "Denied tables records on [corder,customer] will be removed from: [keyspace:commerce;shard:0;tablet:100]",
        "Denied tables records on [corder,customer] will be removed from: [keyspace:customer;shard:-80;tablet:200,keyspace:customer;shard:80-;tablet:300]",
        "Delete reverse vreplication streams on sources: [keyspace:commerce;shard:0;workflow:c2c_reverse;dbname:vt_commerce;tablet:100]",
        "Delete vreplication streams on targets: [keyspace:customer;shard:-80;workflow:c2c;dbname:vt_customer;tablet:200,keyspace:customer;shard:80-;workflow:c2c;dbname:vt_customer;tablet:300]",
        "Routing rules for participating tables will be deleted",
        "Unlock keyspace customer",
        "Unlock keyspace commerce",
    ];
    assert_eq!(reply.dry_run_results, want);
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers));
    assert_eq!(log(&live), Vec::<&str>::new(), "nothing is locked or called");
}

#[test]
fn a_completion_ends_in_the_recorded_records_and_rows() {
    let (mut live, after) = (moment("40-mt-complete", "before"), moment("40-mt-complete", "after"));
    with_tables(&mut live, COMMERCE, &["corder", "customer", "product"]);
    let reply: MoveTablesCompleteResponse = done(&mut live, rpc::MOVE_TABLES_COMPLETE, &complete("customer", "c2c"));
    assert_eq!(reply.summary, "Successfully completed the c2c workflow in the customer keyspace");
    assert_eq!(tables(&live, COMMERCE), ["product"]);
    assert_eq!(topology(&live), topology(&after));
    assert_eq!(streams(&live), streams(&after));
    // The order of the recording, but that the streams by which the workflow is found go last.
    let want = [
        "lock internal/named_locks/customer/c2c",
        "lock keyspaces/commerce",
        "lock keyspaces/customer",
        "zone1-0000000100 ExecuteFetchAsDba drop table `vt_commerce`.`corder`",
        "zone1-0000000100 ExecuteFetchAsDba drop table `vt_commerce`.`customer`",
        "put global keyspaces/commerce/VSchema",
        "put global keyspaces/commerce/shards/0/Shard",
        "zone1-0000000100 RefreshState",
        "zone1-0000000101 RefreshState",
        "zone1-0000000200 RefreshState",
        "zone2-0000000300 RefreshState",
        "zone1-0000000100 VReplicationExec delete from _vt.vreplication where db_name = 'vt_commerce' and workflow = 'c2c_reverse'",
        "zone1-0000000100 VDiff",
        "zone1-0000000100 ExecuteFetchAsDba delete from _vt.vreplication_log where vrepl_id in (23, 24) and vrepl_id not in (select id from _vt.vreplication)",
        "delete global RoutingRules",
        "put zone1 SrvVSchema",
        "put zone2 SrvVSchema",
        "zone1-0000000200 VReplicationExec delete from _vt.vreplication where db_name = 'vt_customer' and workflow = 'c2c'",
        "zone2-0000000300 VReplicationExec delete from _vt.vreplication where db_name = 'vt_customer' and workflow = 'c2c'",
        "zone1-0000000200 VDiff",
        "zone2-0000000300 VDiff",
        "zone1-0000000200 ExecuteFetchAsDba delete from _vt.vreplication_log where vrepl_id in (19) and vrepl_id not in (select id from _vt.vreplication)",
        "zone2-0000000300 ExecuteFetchAsDba delete from _vt.vreplication_log where vrepl_id in (19) and vrepl_id not in (select id from _vt.vreplication)",
        "unlock",
        "unlock",
        "unlock",
    ];
    assert_eq!(log(&live), want);
}

#[test]
fn a_switched_workflow_is_not_cancelled() {
    let mut live = moment("13-mt-cancel-refused", "before");
    let before = live.clone();
    let wanted = WorkflowDeleteRequest {
        keyspace: "customer".into(),
        workflow: "c2c".into(),
        delete_batch_size: 1000,
        ..WorkflowDeleteRequest::default()
    };
    let text = "cannot delete workflow because you have already switched write traffic";
    assert_eq!(refused(&mut live, rpc::WORKFLOW_DELETE, &wanted), text);
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers));
}

#[test]
fn mirroring_ends_in_the_recorded_records() {
    let (mut live, after) = (moment("47-mt-mirror", "before"), moment("47-mt-mirror", "after"));
    let wanted = WorkflowMirrorTrafficRequest {
        keyspace: "customer".into(),
        workflow: "m2".into(),
        tablet_types: vec![1, 2, 3],
        percent: 5.0,
    };
    let reply: WorkflowMirrorTrafficResponse = done(&mut live, rpc::WORKFLOW_MIRROR_TRAFFIC, &wanted);
    assert_eq!(reply.summary, "MirrorTraffic was successful for workflow customer.m2");
    let state = "Reads Not Switched. Writes Not Switched";
    assert_eq!((reply.start_state.as_str(), reply.current_state.as_str()), (state, state));
    assert_eq!(topology(&live), topology(&after));
    let order: Vec<&str> = log(&live).into_iter().filter(|line| line.starts_with("lock") || line.starts_with("put")).collect();
    let want = [
        "lock internal/named_locks/customer/m2",
        "lock keyspaces/customer",
        "put global MirrorRules",
        "put global keyspaces/customer/shards/-80/Shard",
        "put global keyspaces/customer/shards/80-/Shard",
        "put zone1 SrvVSchema",
        "put zone2 SrvVSchema",
    ];
    assert_eq!(order, want);
    // Done again it changes nothing.
    live.log.clear();
    let _: WorkflowMirrorTrafficResponse = done(&mut live, rpc::WORKFLOW_MIRROR_TRAFFIC, &wanted);
    assert!(log(&live).iter().all(|line| !line.starts_with("put")), "{:?}", live.log);
    // And ends as it began.
    let _: WorkflowMirrorTrafficResponse =
        done(&mut live, rpc::WORKFLOW_MIRROR_TRAFFIC, &WorkflowMirrorTrafficRequest { percent: 0.0, ..wanted });
    assert_eq!(topology(&live), topology(&moment("47-mt-mirror", "before")));
}

#[test]
fn a_materialization_is_cancelled_to_the_recorded_records_and_rows() {
    let (mut live, after) = (moment("52-mat-cancel", "before"), moment("52-mat-cancel", "after"));
    for alias in [LEFT, RIGHT] {
        with_tables(&mut live, alias, &["corder", "sales"]);
    }
    let wanted = WorkflowDeleteRequest {
        keyspace: "customer".into(),
        workflow: "sales_mat".into(),
        delete_batch_size: 1000,
        ..WorkflowDeleteRequest::default()
    };
    let reply: WorkflowDeleteResponse = done(&mut live, rpc::WORKFLOW_DELETE, &wanted);
    assert_eq!(reply.summary, "Successfully cancelled the sales_mat workflow in the customer keyspace");
    let details: Vec<(u32, bool)> = reply.details.iter().map(|it| (it.tablet.as_ref().unwrap().uid, it.deleted)).collect();
    assert_eq!(details, [(200, true), (300, true)]);
    assert_eq!((tables(&live, LEFT), tables(&live, RIGHT)), (vec!["corder".into()], vec!["corder".into()]));
    assert_eq!(topology(&live), topology(&after));
    assert_eq!(streams(&live), streams(&after));
    let order: BTreeSet<&str> = log(&live).into_iter().filter(|line| line.starts_with(LEFT) && !line.contains("VDiff")).collect();
    assert!(order.iter().any(|line| line.ends_with("drop table `vt_customer`.`sales`")), "{order:?}");
}

#[test]
fn a_lookup_vindex_loses_its_streams_alone_whatever_is_asked_for() {
    let (mut live, after) = (moment("57-lookup-complete", "before"), moment("57-lookup-complete", "after"));
    for alias in [LEFT, RIGHT] {
        with_tables(&mut live, alias, &["corder", "corder_lookup"]);
        live.servers.get_mut(alias).unwrap().streams.iter_mut().filter(|row| row["workflow"] == "v_lookup").for_each(|row| {
            row.insert("message", String::new());
        });
    }
    let wanted = WorkflowDeleteRequest { keyspace: "customer".into(), workflow: "v_lookup".into(), ..Default::default() };
    let reply: WorkflowDeleteResponse = done(&mut live, rpc::WORKFLOW_DELETE, &wanted);
    assert_eq!(reply.summary, "Successfully cancelled the v_lookup workflow in the customer keyspace");
    assert_eq!(tables(&live, LEFT), ["corder", "corder_lookup"]);
    assert_eq!(topology(&live), topology(&after));
    assert_eq!(streams(&live), streams(&after));
}

#[test]
fn a_reshard_is_completed_to_the_recorded_records_and_rows() {
    let (mut live, after) = (moment("85-rs-complete", "before"), moment("85-rs-complete", "after"));
    live.put("zone1", "keyspaces/customer/shards/-80/ShardReplication", b"\x0a\x00".to_vec());
    let lines: MoveTablesCompleteResponse =
        done(&mut live, rpc::MOVE_TABLES_COMPLETE, &MoveTablesCompleteRequest { dry_run: true, ..complete("customer", "r1") });
    let want = [
        "Lock keyspace customer",
        "Delete shards (and all related tablets): [cell:zone1;keyspace:customer;shards:[-80],200]",
        "Delete reverse vreplication streams on sources: [keyspace:customer;shard:-80;workflow:r1_reverse;dbname:vt_customer;tablet:200]",
        "Delete vreplication streams on targets: [keyspace:customer;shard:-40;workflow:r1;dbname:vt_customer;tablet:400,keyspace:customer;shard:40-80;workflow:r1;dbname:vt_customer;tablet:500]",
        "Routing rules for participating tables will be deleted",
        "Unlock keyspace customer",
    ];
    assert_eq!(lines.dry_run_results, want);
    live.log.clear();
    let reply: MoveTablesCompleteResponse = done(&mut live, rpc::MOVE_TABLES_COMPLETE, &complete("customer", "r1"));
    assert_eq!(reply.summary, "Successfully completed the r1 workflow in the customer keyspace");
    let own: BTreeMap<_, _> = streams(&live).into_iter().filter(|(alias, _)| alias != LEFT).collect();
    let recorded: BTreeMap<_, _> = streams(&after).into_iter().filter(|(alias, _)| alias != LEFT).collect();
    assert_eq!(own, recorded);
    assert_eq!(topology(&live), topology(&after));
    // The reverse streams go while their tablet is still there to be called.
    let want = [
        "lock internal/named_locks/customer/r1",
        "lock keyspaces/customer",
        "zone1-0000000200 VReplicationExec delete from _vt.vreplication where db_name = 'vt_customer' and workflow = 'r1_reverse'",
        "zone1-0000000200 VDiff",
        "zone1-0000000200 ExecuteFetchAsDba delete from _vt.vreplication_log where vrepl_id in (40, 41) and vrepl_id not in (select id from _vt.vreplication)",
        "delete zone1 keyspaces/customer/shards/-80/ShardReplication",
        "delete global keyspaces/customer/shards/-80/Shard",
        "delete zone1 tablets/zone1-0000000200/Tablet",
    ];
    assert_eq!(log(&live)[..want.len()], want);
}
