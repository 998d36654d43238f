//! Completing, cancelling and mirroring: what goes and what stays, of every kind of workflow, and what is refused before anything is
//! touched.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Code, Mode, Reply,
    contract::{Status, Verdict},
    proto::{
        topodata::{Shard, TabletType, shard::TabletControl},
        vschema::{
            Keyspace, KeyspaceRoutingRules, MirrorRule, MirrorRules, RoutingRule, RoutingRules, ShardRoutingRules, SrvVSchema,
        },
        vtctldata::{
            MoveTablesCompleteRequest, MoveTablesCompleteResponse, WorkflowDeleteRequest, WorkflowDeleteResponse,
            WorkflowMirrorTrafficRequest,
        },
    },
    rpc,
};

use crate::{
    forward_recorded::topology,
    support::live::{Fault, Live},
    switch, switch_kinds, switch_shards,
};

const PRIMARY: i32 = TabletType::Primary as i32;
const REPLICA: i32 = TabletType::Replica as i32;
const RDONLY: i32 = TabletType::Rdonly as i32;
const ALL: [i32; 3] = [PRIMARY, REPLICA, RDONLY];

const COMMERCE: &str = "zone1-0000000100";
const LEFT: &str = "zone1-0000000200";
const RIGHT: &str = "zone2-0000000300";

/// A request of one of the three kinds.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) path: &'static str,
    pub(crate) request: Vec<u8>,
}

impl Wanted {
    pub(crate) fn call(&self) -> Call {
        Call { path: self.path.into(), request: self.request.clone(), options: CallOptions::default() }
    }

    fn forced(&self) -> Call {
        Call { options: CallOptions { force: true, ..CallOptions::default() }, ..self.call() }
    }
}

pub(crate) fn completed(keyspace: &str, workflow: &str, change: impl FnOnce(&mut MoveTablesCompleteRequest)) -> Wanted {
    let mut request = MoveTablesCompleteRequest {
        target_keyspace: keyspace.into(),
        workflow: workflow.into(),
        ..MoveTablesCompleteRequest::default()
    };
    change(&mut request);
    Wanted { path: rpc::MOVE_TABLES_COMPLETE, request: request.encode_to_vec() }
}

pub(crate) fn cancelled(keyspace: &str, workflow: &str, change: impl FnOnce(&mut WorkflowDeleteRequest)) -> Wanted {
    let mut request = WorkflowDeleteRequest { keyspace: keyspace.into(), workflow: workflow.into(), ..Default::default() };
    change(&mut request);
    Wanted { path: rpc::WORKFLOW_DELETE, request: request.encode_to_vec() }
}

pub(crate) fn mirrored(types: &[i32], percent: f32) -> Wanted {
    let (keyspace, workflow) = ("customer".into(), "c2c".into());
    let request = WorkflowMirrorTrafficRequest { keyspace, workflow, tablet_types: types.to_vec(), percent };
    Wanted { path: rpc::WORKFLOW_MIRROR_TRAFFIC, request: request.encode_to_vec() }
}

pub(crate) fn with_tables(live: &mut Live, aliases: &[&str], tables: &[&str]) {
    for alias in aliases {
        live.servers.get_mut(*alias).unwrap().tables = tables.iter().map(|&table| (table.to_owned(), false)).collect();
    }
}

/// `corder` and `customer` on both sides of a MoveTables whose traffic is where `live` has it.
pub(crate) fn stocked(mut live: Live) -> Live {
    with_tables(&mut live, &[COMMERCE], &["corder", "customer", "product"]);
    with_tables(&mut live, &[LEFT, RIGHT], &["corder", "customer"]);
    live
}

fn run(live: &mut Live, wanted: &Wanted) -> Reply {
    live.run(&wanted.call()).unwrap()
}

fn done(live: &mut Live, wanted: &Wanted) -> Vec<u8> {
    run(live, wanted).result.unwrap_or_else(|status| panic!("{status}\n{:#?}", live.log))
}

fn refused(live: &mut Live, wanted: &Wanted) -> String {
    let before = live.clone();
    let Status { code, message } = run(live, wanted).result.unwrap_err();
    let texts = [
        "cannot complete workflow because you have not yet switched all read and write traffic",
        "cannot delete workflow because you have already switched write traffic",
    ];
    // Clients print the code, too.
    assert!(!texts.contains(&message.as_str()) || code == Code::Unknown, "{message}: {code:?}");
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "{message}");
    message
}

fn tables(live: &Live, alias: &str) -> Vec<String> {
    live.servers[alias].tables.keys().cloned().collect()
}

fn denied(live: &Live, keyspace: &str, shard: &str) -> Vec<String> {
    let record: Shard = live.record("global", &format!("keyspaces/{keyspace}/shards/{shard}/Shard"));
    record.tablet_controls.into_iter().flat_map(|control| control.denied_tables).collect()
}

fn has(live: &Live, cell: &str, path: &str) -> bool {
    live.topo.contains_key(&(cell.to_owned(), path.to_owned()))
}

fn vschema(live: &Live, keyspace: &str) -> Vec<String> {
    live.record::<Keyspace>("global", &format!("keyspaces/{keyspace}/VSchema")).tables.into_keys().collect()
}

fn set(live: &mut Live, alias: &str, column: &'static str, value: &str) {
    for row in &mut live.servers.get_mut(alias).unwrap().streams {
        row.insert(column, value.into());
    }
}

// TR-56.
#[test]
fn a_completed_workflow_leaves_nothing_behind() {
    let mut live = stocked(switch::switched());
    done(&mut live, &completed("customer", "c2c", |_| ()));
    assert_eq!(tables(&live, COMMERCE), ["product"]);
    assert_eq!(tables(&live, LEFT), ["corder", "customer"]);
    assert_eq!(vschema(&live, "commerce"), ["product"]);
    assert_eq!((denied(&live, "commerce", "0"), denied(&live, "customer", "-80")), (vec![], vec![]));
    assert!(live.servers.values().all(|server| server.streams.is_empty() && server.denied.is_empty()));
    assert!(!has(&live, "global", "RoutingRules"));
    for cell in ["zone1", "zone2"] {
        let served: SrvVSchema = live.record(cell, "SrvVSchema");
        assert_eq!(served.routing_rules, Some(RoutingRules::default()));
        assert_eq!(served.keyspaces["commerce"].tables.keys().collect::<Vec<_>>(), ["product"]);
    }
}

// TR-57, TR-95.
#[test]
fn tables_are_renamed_where_that_is_asked_for() {
    let mut live = stocked(switch::switched());
    let wanted = completed("customer", "c2c", |it| (it.rename_tables, it.dry_run) = (true, true));
    let lines = MoveTablesCompleteResponse::decode(done(&mut live, &wanted).as_slice()).unwrap().dry_run_results;
    let text = "Renaming these tables from the database and removing them from the vschema for keyspace commerce: \
                [keyspace:commerce;shard:0;dbname:vt_commerce;tablet:100;table:corder,\
                keyspace:commerce;shard:0;dbname:vt_commerce;tablet:100;table:customer]";
    assert_eq!(lines[2], text);
    done(&mut live, &completed("customer", "c2c", |it| it.rename_tables = true));
    assert_eq!(tables(&live, COMMERCE), ["_corder_old", "_customer_old", "product"]);
    let call = "zone1-0000000100 ExecuteFetchAsDba rename table `vt_commerce`.`corder` TO `vt_commerce`.`_corder_old`";
    assert!(live.log.contains(&call.to_owned()), "{:#?}", live.log);
}

/// Denied tables that stay denied are nobody's to allow again.
// TR-66, TR-72, B24.
#[test]
fn kept_tables_are_allowed_again() {
    let mut live = stocked(switch::switched());
    done(&mut live, &completed("customer", "c2c", |it| it.keep_data = true));
    assert_eq!(tables(&live, COMMERCE), ["corder", "customer", "product"]);
    assert_eq!(vschema(&live, "commerce").len(), 3);
    assert!(denied(&live, "commerce", "0").is_empty());
    assert!(live.servers[COMMERCE].streams.is_empty() && live.servers[LEFT].streams.is_empty());

    let mut live = stocked(switch::cluster());
    done(&mut live, &cancelled("customer", "c2c", |it| it.keep_data = true));
    assert_eq!(tables(&live, LEFT), ["corder", "customer"]);
    assert!(denied(&live, "customer", "-80").is_empty() && live.servers[LEFT].denied.is_empty());
}

// TR-62, B35.
#[test]
fn kept_rules_stay_and_are_no_reason_to_refuse() {
    let mut live = stocked(switch::switched());
    let rule = RoutingRule { from_table: "foo".into(), to_tables: vec!["commerce.corder".into()] };
    let mut rules: RoutingRules = live.record("global", "RoutingRules");
    rules.rules.push(rule);
    live.put("global", "RoutingRules", rules.encode_to_vec());
    set(&mut live, RIGHT, "message", "");
    let text =
        "routing still exists from keyspace commerce table corder to foo\nvreplication streams are not frozen on tablet 300";
    assert_eq!(refused(&mut live, &completed("customer", "c2c", |_| ())), text);
    set(&mut live, RIGHT, "message", "FROZEN");
    done(&mut live, &completed("customer", "c2c", |it| it.keep_routing_rules = true));
    assert_eq!(live.record::<RoutingRules>("global", "RoutingRules"), rules);
    assert_eq!(tables(&live, COMMERCE), ["product"]);
}

// TR-90, B29.
#[test]
fn rules_and_mirror_rules_of_others_stay() {
    let mut live = stocked(switch::switched());
    let mut rules: RoutingRules = live.record("global", "RoutingRules");
    let others = [("corder@rdonly", "elsewhere.corder"), ("product", "commerce.product")];
    rules.rules.retain(|rule| rule.from_table != "corder@rdonly");
    rules.rules.extend(others.map(|(from, to)| RoutingRule { from_table: from.into(), to_tables: vec![to.into()] }));
    live.put("global", "RoutingRules", rules.encode_to_vec());
    let mirror = |from: &str, to: &str| MirrorRule { from_table: from.into(), to_table: to.into(), percent: 5.0 };
    let stays = mirror("commerce.corder", "elsewhere.corder");
    let mirrors = MirrorRules { rules: vec![mirror("commerce.corder@replica", "customer.corder"), stays.clone()] };
    live.put("global", "MirrorRules", mirrors.encode_to_vec());
    for cell in ["zone1", "zone2"] {
        let mut served: SrvVSchema = live.record(cell, "SrvVSchema");
        let own = RoutingRule { from_table: "corder@rdonly".into(), to_tables: vec!["customer.corder".into()] };
        served.routing_rules.as_mut().unwrap().rules.push(own);
        live.put(cell, "SrvVSchema", served.encode_to_vec());
    }
    done(&mut live, &completed("customer", "c2c", |_| ()));
    let left: Vec<(String, String)> = live
        .record::<RoutingRules>("global", "RoutingRules")
        .rules
        .into_iter()
        .map(|it| (it.from_table, it.to_tables.concat()))
        .collect();
    assert_eq!(left, others.map(|(from, to)| (from.to_owned(), to.to_owned())));
    assert_eq!(live.record::<MirrorRules>("global", "MirrorRules").rules, [stays]);
}

#[test]
fn what_is_not_wholly_switched_is_not_completed() {
    let text = "cannot complete workflow because you have not yet switched all read and write traffic";
    let wanted = completed("customer", "c2c", |_| ());
    assert_eq!(refused(&mut stocked(switch::cluster()), &wanted), text);
    // One cell is behind.
    let mut live = stocked(switch::switched());
    let mut served: SrvVSchema = live.record("zone2", "SrvVSchema");
    served.routing_rules.as_mut().unwrap().rules.retain(|rule| rule.from_table != "corder@replica");
    live.put("zone2", "SrvVSchema", served.encode_to_vec());
    assert_eq!(refused(&mut live, &wanted), text);
    assert_eq!(refused(&mut live, &completed("customer", "c2c", |it| it.dry_run = true)), text);
    assert_eq!(refused(&mut live, &completed("customer", "nope", |_| ())), "no streams found in keyspace customer for nope");
}

/// The keyspace of the source may be gone.
// TR-58.
#[test]
fn a_source_that_is_ignored_is_not_looked_at() {
    let mut live = stocked(switch::switched());
    live.topo.retain(|(_, path), _| !path.starts_with("keyspaces/commerce/"));
    live.servers.remove(COMMERCE);
    live.broken.push((COMMERCE.into(), "is not there".into()));
    let wanted = completed("customer", "c2c", |it| (it.ignore_source_keyspace, it.dry_run) = (true, true));
    let lines = MoveTablesCompleteResponse::decode(done(&mut live, &wanted).as_slice()).unwrap().dry_run_results;
    let want = [
        "Lock keyspace customer",
        "Denied tables records on [corder,customer] will be removed from: [keyspace:customer;shard:-80;tablet:200,keyspace:customer;shard:80-;tablet:300]",
        "Delete reverse vreplication streams on sources: []",
        "Delete vreplication streams on targets: [keyspace:customer;shard:-80;workflow:c2c;dbname:vt_customer;tablet:200,keyspace:customer;shard:80-;workflow:c2c;dbname:vt_customer;tablet:300]",
        "Routing rules for participating tables will be deleted",
        "Unlock keyspace customer",
    ];
    assert_eq!(lines, want);
    done(&mut live, &completed("customer", "c2c", |it| it.ignore_source_keyspace = true));
    assert!(!has(&live, "global", "RoutingRules") && live.servers[LEFT].streams.is_empty());
    assert!(live.log.iter().all(|line| !line.contains("commerce")), "{:#?}", live.log);
}

// TR-67.
#[test]
fn a_cancelled_workflow_leaves_the_source_as_it_was() {
    let mut live = stocked(switch::cluster());
    let before = live.clone();
    let reply = WorkflowDeleteResponse::decode(done(&mut live, &cancelled("customer", "c2c", |_| ())).as_slice()).unwrap();
    assert_eq!(reply.summary, "Successfully cancelled the c2c workflow in the customer keyspace");
    assert!(reply.details.iter().all(|info| info.deleted) && reply.details.len() == 2);
    assert_eq!((tables(&live, LEFT), tables(&live, RIGHT)), (vec![], vec![]));
    assert_eq!(live.servers[COMMERCE], before.servers[COMMERCE]);
    assert_eq!(vschema(&live, "customer").len(), 2, "that of a sharded keyspace is its owner's");
    assert!(denied(&live, "customer", "80-").is_empty() && !has(&live, "global", "RoutingRules"));
    assert!(live.servers[LEFT].streams.is_empty() && live.servers[RIGHT].streams.is_empty());
    // Nothing is written into tables that go.
    let at = |part: &str| live.log.iter().position(|line| line.contains(part)).unwrap();
    assert!(at("set state = 'Stopped'") < at("drop table") && at("drop table") < at("delete from _vt.vreplication"));
}

/// A switch that died with the source's tables denied is given up like any other workflow.
#[test]
fn a_switch_that_was_left_half_is_cancelled_with_its_source_open() {
    let mut live = stocked(switch::cluster());
    let path = "keyspaces/commerce/shards/0/Shard";
    let denied_tables = ["corder", "customer"].map(str::to_owned).to_vec();
    let control = TabletControl { tablet_type: PRIMARY, denied_tables: denied_tables.clone(), ..TabletControl::default() };
    let record: Shard = live.record("global", path);
    live.put("global", path, Shard { tablet_controls: vec![control], ..record }.encode_to_vec());
    live.servers.get_mut(COMMERCE).unwrap().denied = denied_tables;
    done(&mut live, &cancelled("customer", "c2c", |_| ()));
    assert!(denied(&live, "commerce", "0").is_empty() && live.servers[COMMERCE].denied.is_empty());
}

#[test]
fn both_directions_go_whatever_is_kept() {
    let mut live = stocked(switch::switched());
    let back = vtflow_planner::proto::vtctldata::WorkflowSwitchTrafficRequest {
        keyspace: "customer".into(),
        workflow: "c2c".into(),
        tablet_types: ALL.to_vec(),
        enable_reverse_replication: true,
        direction: 1,
        ..Default::default()
    };
    live.run(&Call { path: rpc::WORKFLOW_SWITCH_TRAFFIC.into(), request: back.encode_to_vec(), options: CallOptions::default() })
        .unwrap()
        .result
        .unwrap();
    assert_eq!(live.rows(COMMERCE, "c2c_reverse", &["message"]).len(), 2);
    let before = live.clone();
    done(&mut live, &cancelled("customer", "c2c", |it| (it.keep_data, it.keep_routing_rules) = (true, true)));
    assert!(live.servers.values().all(|server| server.streams.is_empty()));
    assert_eq!(tables(&live, LEFT), ["corder", "customer"]);
    assert_eq!(live.record::<RoutingRules>("global", "RoutingRules"), before.record("global", "RoutingRules"));
}

// TR-69, B2.
#[test]
fn what_serves_is_not_cancelled() {
    let text = "cannot delete workflow because you have already switched write traffic";
    let wanted = cancelled("customer", "c2c", |_| ());
    let mut live = stocked(switch::switched());
    assert_eq!(refused(&mut live, &wanted), text);
    let status = live.run(&wanted.forced()).unwrap().result.unwrap_err();
    assert_eq!(status.message, text, "not even if it is forced");
    // Of some shards, too, which the reference does not see.
    let mut partial = switch_kinds::partial();
    partial.run(&switch_kinds::call(&ALL, 0, false)).unwrap().result.unwrap();
    assert_eq!(refused(&mut partial, &cancelled("tgt", "w", |_| ())), text);
    let mut tenant = switch_kinds::tenant();
    tenant.run(&switch_kinds::call(&ALL, 0, false)).unwrap().result.unwrap();
    assert_eq!(refused(&mut tenant, &cancelled("tgt", "w", |_| ())), text);
    // One table alone.
    let mut live = stocked(switch::cluster());
    let mut rules: RoutingRules = live.record("global", "RoutingRules");
    for rule in rules.rules.iter_mut().filter(|rule| rule.from_table == "corder") {
        rule.to_tables = vec!["customer.corder".into()];
    }
    live.put("global", "RoutingRules", rules.encode_to_vec());
    let message = refused(&mut live, &wanted);
    assert!(message.contains("write traffic of some of its tables"), "{message}");
    // Streams that were switched away once, whatever the rules say now.
    let mut live = stocked(switch::cluster());
    set(&mut live, LEFT, "message", "FROZEN");
    let message = refused(&mut live, &wanted);
    assert!(message.contains("is frozen on customer/-80"), "{message}");
    live.run(&wanted.forced()).unwrap().result.unwrap();
    assert!(live.servers[LEFT].streams.is_empty());
}

/// Past its journal a switch is only finished: others have followed it by then.
#[test]
fn a_switch_past_its_journal_is_not_cancelled() {
    let before = stocked(switch::cluster());
    let switch = vtflow_planner::proto::vtctldata::WorkflowSwitchTrafficRequest {
        keyspace: "customer".into(),
        workflow: "c2c".into(),
        tablet_types: vec![PRIMARY],
        ..Default::default()
    };
    let call =
        Call { path: rpc::WORKFLOW_SWITCH_TRAFFIC.into(), request: switch.encode_to_vec(), options: CallOptions::default() };
    let mut at = 0;
    let mut live = loop {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call).is_none(), "it dies before its end");
        if !live.servers[COMMERCE].journals.is_empty() {
            live.faults.clear();
            break live;
        }
        at += 1;
    };
    let message = refused(&mut live, &cancelled("customer", "c2c", |_| ()));
    assert!(message.contains("has written its journal"), "{message}");
}

#[test]
fn some_shards_are_completed_alone_only_with_their_rules() {
    let mut live = switch_kinds::partial();
    with_tables(&mut live, &["zone1-0000000100", "zone1-0000000110", "zone1-0000000200"], &["t1"]);
    let text = "cannot complete workflow because you have not yet switched all read and write traffic";
    assert_eq!(refused(&mut live, &completed("tgt", "w", |_| ())), text);
    live.run(&switch_kinds::call(&ALL, 0, false)).unwrap().result.unwrap();
    let message = refused(&mut live, &completed("tgt", "w", |_| ()));
    assert!(message.contains("while traffic of shard 80- of keyspace src goes by them"), "{message}");
    done(&mut live, &completed("tgt", "w", |it| it.keep_routing_rules = true));
    assert_eq!((tables(&live, "zone1-0000000100"), tables(&live, "zone1-0000000110")), (vec![], vec!["t1".to_owned()]));
    assert_eq!(vschema(&live, "src"), ["t1"], "the other shard has it still");
    let rules: ShardRoutingRules = live.record("global", "ShardRoutingRules");
    assert!(rules.rules.iter().any(|rule| rule.from_keyspace == "src" && rule.shard == "-80" && rule.to_keyspace == "tgt"));
    assert!(denied(&live, "src", "-80").is_empty() && live.servers["zone1-0000000200"].streams.is_empty());
}

// TR-91.
#[test]
fn some_shards_are_cancelled_with_their_rules_and_not_those_of_others() {
    let mut live = switch_kinds::partial();
    with_tables(&mut live, &["zone1-0000000100", "zone1-0000000200"], &["t1"]);
    done(&mut live, &cancelled("tgt", "w", |_| ()));
    let rules: ShardRoutingRules = live.record("global", "ShardRoutingRules");
    let left: Vec<&str> = rules.rules.iter().map(|rule| rule.shard.as_str()).collect();
    assert_eq!(left, ["80-"]);
    assert_eq!((tables(&live, "zone1-0000000100"), tables(&live, "zone1-0000000200")), (vec!["t1".to_owned()], vec![]));
}

// TR-71.
#[test]
fn a_tenant_goes_with_its_rows_and_rules() {
    let mut live = switch_kinds::tenant();
    with_tables(&mut live, &["zone1-0000000100", "zone1-0000000200"], &["t1"]);
    let before = live.clone();
    done(&mut live, &cancelled("tgt", "w", |_| ()));
    assert_eq!(tables(&live, "zone1-0000000200"), ["t1"], "the others' rows are in it");
    let call = "zone1-0000000200 DeleteTableData delete from t1 where tenant_id = 7, in batches";
    assert!(live.log.contains(&call.to_owned()), "{:#?}", live.log);
    assert!(live.log.contains(&"lock routing_rules".to_owned()));
    let rules = |live: &Live| live.record::<KeyspaceRoutingRules>("global", "routing_rules/keyspace/Rules").rules.len();
    assert_eq!(rules(&live), 0, "the record stays, empty");

    let mut live = before;
    live.run(&switch_kinds::call(&ALL, 0, false)).unwrap().result.unwrap();
    let wanted = completed("tgt", "w", |it| it.dry_run = true);
    let lines = MoveTablesCompleteResponse::decode(done(&mut live, &wanted).as_slice()).unwrap().dry_run_results;
    assert_eq!(lines[lines.len() - 3], "Keyspace routing rules will be deleted");
    done(&mut live, &completed("tgt", "w", |_| ()));
    assert_eq!((tables(&live, "zone1-0000000100"), rules(&live)), (vec![], 0));
    assert!(denied(&live, "src", "0").is_empty());
}

fn resharded() -> Live {
    let mut live = switch_shards::cluster();
    with_tables(&mut live, &["zone1-0000000200", "zone1-0000000400", "zone1-0000000500"], &["t1", "_t1_gho"]);
    for alias in ["zone1-0000000200", "zone1-0000000400", "zone1-0000000500"] {
        live.servers.get_mut(alias).unwrap().tables.insert("v1".into(), true);
    }
    for cell in ["zone1", "zone2"] {
        for shard in ["-80", "80-", "-40", "40-80"] {
            live.put(cell, &format!("keyspaces/ks/shards/{shard}/ShardReplication"), vec![]);
        }
    }
    live
}

// TR-64, B8.
#[test]
fn the_shards_that_were_split_go_with_their_tablets() {
    let mut live = resharded();
    let text = "cannot complete workflow because you have not yet switched all read and write traffic";
    assert_eq!(refused(&mut live, &completed("ks", "r", |_| ())), text);
    let all = [TabletType::Replica, TabletType::Rdonly, TabletType::Primary];
    live.run(&switch_shards::call(&all, 0, false)).unwrap().result.unwrap();
    let wanted = completed("ks", "r", |it| it.dry_run = true);
    let lines = MoveTablesCompleteResponse::decode(done(&mut live, &wanted).as_slice()).unwrap().dry_run_results;
    assert_eq!(lines[1], "Delete shards (and all related tablets): [cell:zone1;keyspace:ks;shards:[-80],200,201]");
    let mut kept = live.clone();
    done(&mut live, &completed("ks", "r", |_| ()));
    let left: Vec<&(String, String)> = live
        .topo
        .keys()
        .filter(|(_, path)| path.contains("shards/-80/") || path.contains("0000000200") || path.contains("0000000201"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        has(&live, "zone2", "keyspaces/ks/shards/80-/ShardReplication") && has(&live, "zone1", "tablets/zone1-0000000300/Tablet")
    );
    assert!(live.servers.values().all(|server| server.streams.is_empty()));
    // Nothing can be ignored of a keyspace that is both.
    let message = refused(&mut kept, &completed("ks", "r", |it| it.ignore_source_keyspace = true));
    assert!(message.contains("cannot be ignored"), "{message}");
    done(&mut kept, &completed("ks", "r", |it| it.keep_data = true));
    assert!(has(&kept, "global", "keyspaces/ks/shards/-80/Shard") && kept.servers["zone1-0000000200"].streams.is_empty());
}

/// What is on them goes with them.
// B38.
#[test]
fn shards_whose_reverse_streams_cannot_be_deleted_go_all_the_same() {
    let mut live = resharded();
    let all = [TabletType::Replica, TabletType::Rdonly, TabletType::Primary];
    live.run(&switch_shards::call(&all, 0, false)).unwrap().result.unwrap();
    live.broken.push(("zone1-0000000200 VReplicationExec delete".into(), "connection refused".into()));
    let reply = run(&mut live, &completed("ks", "r", |_| ()));
    assert!(reply.result.is_ok(), "{:?}", reply.result);
    let notes = reply.written.unwrap().notes;
    assert_eq!(notes, ["delete streams was not done, and does not matter to the rest: connection refused"]);
    assert!(!has(&live, "global", "keyspaces/ks/shards/-80/Shard"));
}

// TR-78, TR-162.
#[test]
fn a_shard_that_is_served_anywhere_is_not_deleted() {
    let mut live = resharded();
    let all = [TabletType::Replica, TabletType::Rdonly, TabletType::Primary];
    let before: vtflow_planner::proto::topodata::SrvKeyspace = live.record("zone2", "keyspaces/ks/SrvKeyspace");
    live.run(&switch_shards::call(&all, 0, false)).unwrap().result.unwrap();
    let mut served: vtflow_planner::proto::topodata::SrvKeyspace = live.record("zone2", "keyspaces/ks/SrvKeyspace");
    // Of a type that nobody switches.
    let other =
        vtflow_planner::proto::topodata::srv_keyspace::KeyspacePartition { served_type: 7, ..before.partitions[0].clone() };
    served.partitions.push(other);
    live.put("zone2", "keyspaces/ks/SrvKeyspace", served.encode_to_vec());
    let text = "shard ks/-80 is still serving, cannot delete it, use the even-if-serving flag if needed";
    assert_eq!(refused(&mut live, &completed("ks", "r", |_| ())), text);
}

#[test]
fn a_reshard_is_cancelled_with_what_it_has_copied() {
    let mut live = resharded();
    let mut reads = live.clone();
    done(&mut live, &cancelled("ks", "r", |_| ()));
    assert_eq!(tables(&live, "zone1-0000000200"), ["_t1_gho", "t1", "v1"]);
    for alias in ["zone1-0000000400", "zone1-0000000500"] {
        assert_eq!(tables(&live, alias), ["_t1_gho"], "what a tool made for itself is the tool's");
        assert!(live.servers[alias].streams.is_empty());
    }
    assert!(live.log.contains(&"zone1-0000000400 ExecuteFetchAsDba drop view `vt_ks`.`v1`".to_owned()), "{:#?}", live.log);
    // Reads would find nothing.
    reads.run(&switch_shards::call(&[TabletType::Replica], 0, false)).unwrap().result.unwrap();
    let message = refused(&mut reads, &cancelled("ks", "r", |_| ()));
    assert!(message.starts_with("REPLICA reads go to the shards that would lose their tables"), "{message}");
}

/// Its source would stay closed, and nobody would know for whom.
#[test]
fn a_reshard_whose_switch_has_stopped_half_way_is_not_cancelled() {
    let mut live = switch_shards::closed();
    done_with_switch(&mut live, &[TabletType::Replica, TabletType::Rdonly], 1);
    let message = refused(&mut live, &cancelled("ks", "r", |_| ()));
    assert!(message.contains("has stopped half-way, and its source takes no writes: reverse the traffic first"), "{message}");
    done_with_switch(&mut live, &[TabletType::Replica, TabletType::Rdonly, TabletType::Primary], 1);
    done(&mut live, &cancelled("ks", "r", |_| ()));
}

fn done_with_switch(live: &mut Live, types: &[TabletType], direction: i32) {
    live.run(&switch_shards::call(types, direction, false)).unwrap().result.unwrap();
}

// TR-52, B34.
#[test]
fn mirrored_traffic_is_let_through_and_ends_with_the_workflow() {
    let mut live = stocked(switch::cluster());
    let before = topology(&live);
    done(&mut live, &mirrored(&[RDONLY], 50.0));
    let rules = |live: &Live| -> Vec<(String, String, f32)> {
        let rules = live.record::<MirrorRules>("global", "MirrorRules").rules;
        rules.into_iter().map(|it| (it.from_table, it.to_table, it.percent)).collect()
    };
    let rule = |table: &str, percent| (format!("commerce.{table}@rdonly"), format!("customer.{table}"), percent);
    assert_eq!(rules(&live), [rule("corder", 50.0), rule("customer", 50.0)]);
    let allows = |live: &Live| {
        let record: Shard = live.record("global", "keyspaces/customer/shards/80-/Shard");
        record.tablet_controls[0].allow_reads
    };
    assert!(allows(&live));
    done(&mut live, &mirrored(&[RDONLY], 2.5));
    assert_eq!(rules(&live), [rule("corder", 2.5), rule("customer", 2.5)]);
    done(&mut live, &mirrored(&[REPLICA], 1.0));
    // One type of two, which the reference takes for the wrong number.
    done(&mut live, &mirrored(&[RDONLY, PRIMARY], 0.0));
    assert_eq!(rules(&live).len(), 2);
    assert!(allows(&live), "the other type is mirrored still");
    let mut ended = live.clone();
    done(&mut ended, &mirrored(&[REPLICA], 0.0));
    // Nothing was known of the vschemas in what the cells served at first.
    let records =
        |live: &Live| topology(live).into_iter().filter(|(path, _)| !path.ends_with("SrvVSchema")).collect::<BTreeMap<_, _>>();
    assert_eq!(records(&ended), before.into_iter().filter(|(path, _)| !path.ends_with("SrvVSchema")).collect());
    done(&mut live, &cancelled("customer", "c2c", |_| ()));
    assert!(!has(&live, "global", "MirrorRules"));
}

// TR-42, TR-43, TR-46, TR-47, TR-53, TR-54.
#[test]
fn what_cannot_be_mirrored_is_refused() {
    let mut live = stocked(switch::cluster());
    assert_eq!(refused(&mut live, &mirrored(&[PRIMARY], 101.0)), "percent 101 is not between 0 and 100; nothing was changed");
    assert_eq!(refused(&mut live, &mirrored(&[7], 1.0)), "invalid tablet type passed RESTORE");
    let half = MirrorRule { from_table: "commerce.corder".into(), to_table: "customer.corder".into(), percent: 25.0 };
    live.put("global", "MirrorRules", MirrorRules { rules: vec![half] }.encode_to_vec());
    assert_eq!(refused(&mut live, &mirrored(&ALL, 50.0)), "wrong number of pre-existing mirror rules");
    let mut live = stocked(switch::switched());
    let text = "cannot mirror [rdonly,replica,primary] traffic for workflow c2c at this time: traffic for those tablet types is switched";
    assert_eq!(refused(&mut live, &mirrored(&[RDONLY, REPLICA, PRIMARY], 1.0)), text);
    for (of, text) in [
        ("3", "invalid action for Migrate workflow: MirrorTraffic"),
        ("0", "invalid action for Materialize workflow: MirrorTraffic"),
    ] {
        let mut live = stocked(switch::cluster());
        set(&mut live, LEFT, "workflow_type", of);
        set(&mut live, RIGHT, "workflow_type", of);
        assert_eq!(refused(&mut live, &mirrored(&[PRIMARY], 1.0)), text);
    }
    let of = |live: &mut Live, keyspace: &str, workflow: &str| {
        let request = WorkflowMirrorTrafficRequest {
            keyspace: keyspace.into(),
            workflow: workflow.into(),
            tablet_types: vec![PRIMARY],
            percent: 1.0,
        };
        refused(live, &Wanted { path: rpc::WORKFLOW_MIRROR_TRAFFIC, request: request.encode_to_vec() })
    };
    let mut switched = stocked(switch::switched());
    assert_eq!(of(&mut switched, "commerce", "c2c_reverse"), "invalid action for reverse workflow: MirrorTraffic");
    assert_eq!(of(&mut switch_kinds::partial(), "tgt", "w"), "invalid action for partial migration: MirrorTraffic");
    assert_eq!(of(&mut switch_kinds::tenant(), "tgt", "w"), "invalid action for multi-tenant migration: MirrorTraffic");
    assert_eq!(of(&mut switch_shards::cluster(), "ks", "r"), "invalid action for Reshard workflow: MirrorTraffic");
}

/// A Migrate: tables of another cluster, which become the target's own or go again.
// TR-59, TR-60, TR-65, TR-83, TR-87, B39.
#[test]
fn tables_of_another_cluster_stay_or_go() {
    let mut live = stocked(switch::cluster());
    let sources = r#"keyspace:"far" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1"}} external_cluster:"ext""#;
    for alias in [LEFT, RIGHT] {
        set(&mut live, alias, "workflow_type", "3");
        set(&mut live, alias, "source", sources);
    }
    with_tables(&mut live, &[LEFT, RIGHT], &["t1", "other"]);
    let text = "failed to finalize the c2c workflow in the customer keyspace: no sharded vschema was provided, so you will need to update \
                the vschema of the target manually for the moved tables";
    assert_eq!(refused(&mut live, &completed("customer", "c2c", |_| ())), text);
    live.put("global", "keyspaces/customer/VSchema", Keyspace::default().encode_to_vec());
    let mut cancel = live.clone();
    let wanted = completed("customer", "c2c", |it| it.dry_run = true);
    let lines = MoveTablesCompleteResponse::decode(done(&mut live, &wanted).as_slice()).unwrap().dry_run_results;
    let want = [
        "Lock keyspace customer",
        "Delete vreplication streams on targets: [keyspace:customer;shard:-80;workflow:c2c;dbname:vt_customer;tablet:200,keyspace:customer;shard:80-;workflow:c2c;dbname:vt_customer;tablet:300]",
        "All source tables will be added to the target keyspace vschema",
        "Unlock keyspace customer",
    ];
    assert_eq!(lines, want);
    done(&mut live, &completed("customer", "c2c", |_| ()));
    assert_eq!((vschema(&live, "customer"), tables(&live, LEFT)), (vec!["t1".to_owned()], vec!["other".into(), "t1".into()]));
    assert!(live.servers[LEFT].streams.is_empty());

    let reply = WorkflowDeleteResponse::decode(done(&mut cancel, &cancelled("customer", "c2c", |_| ())).as_slice()).unwrap();
    assert_eq!(reply, WorkflowDeleteResponse::default());
    assert_eq!((tables(&cancel, LEFT), cancel.servers[RIGHT].streams.len()), (vec!["other".to_owned()], 0));
}

#[test]
fn a_plan_says_what_goes_and_holds_it_to_that() {
    let mut live = stocked(switch::switched());
    let wanted = completed("customer", "c2c", |_| ());
    let with = |mode| Call { options: CallOptions { mode, ..CallOptions::default() }, ..wanted.call() };
    let before = live.clone();
    let reply = live.run(&with(Mode::Preview)).unwrap();
    assert_eq!((&live.topo, reply.result), (&before.topo, Ok(vec![])));
    let plan = reply.written.unwrap().plan;
    let writes: Vec<String> = plan.writes.iter().map(|write| format!("{}: {}", write.rows[0].name, write.statement)).collect();
    assert_eq!(writes[0], "drop the source's tables: drop table `vt_commerce`.`corder`");
    assert!(
        writes.iter().any(|write| write.contains("edit the source's vschema: without tables corder, customer")),
        "{writes:#?}"
    );
    assert_eq!(plan.locks, ["internal/named_locks/customer/c2c", "keyspaces/commerce", "keyspaces/customer"]);
    let mut other = live.clone();
    set(&mut other, LEFT, "message", "FROZEN");
    other.put("global", "keyspaces/commerce/VSchema", Keyspace::default().encode_to_vec());
    let message = other.run(&with(Mode::Planned(plan.digest.clone()))).unwrap().result.unwrap_err().message;
    assert_eq!(message, "the plan is not the one any more: nothing was changed");
    let reply = live.run(&with(Mode::Planned(plan.digest))).unwrap();
    let written = reply.written.unwrap();
    assert!(written.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied), "{:#?}", written.outcomes);
}

#[test]
fn tables_of_some_shards_are_not_dropped() {
    let mut live = stocked(switch::cluster());
    let wanted = cancelled("customer", "c2c", |it| it.shards = vec!["-80".into()]);
    let status = run(&mut live, &wanted).result.unwrap_err();
    assert_eq!(status.code, Code::Unimplemented);
    assert!(live.log.is_empty());
}
