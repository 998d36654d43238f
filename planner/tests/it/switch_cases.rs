//! Cases of the reference's tests, and of its defects, that no other test of a switch is about. `traffic_cases.txt` has all of them.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Answer, Call, What,
    proto::{
        query::Type,
        tabletmanagerdata::ValidateVReplicationPermissionsResponse,
        topodata::{CellsAlias, TabletType},
        vschema::{Keyspace, MultiTenantSpec, SrvVSchema},
        vtctldata::WorkflowSwitchTrafficRequest,
    },
    rpc,
};

use crate::{
    support::live::{Fault, Live},
    switch::{
        ALL, COMMERCE, LEFT, PRIMARY, RDONLY, REPLICA, RIGHT, back, call, cluster, done, journal_at, lines, refused, request,
        rules, seen, switched, writes_of,
    },
    switch_faults::run,
    switch_kinds, switch_shards,
};

fn set(live: &mut Live, alias: &str, column: &'static str, value: &str) {
    for row in &mut live.servers.get_mut(alias).unwrap().streams {
        row.insert(column, value.into());
    }
}

/// What is refused changes nothing.
fn is_refused(live: &mut Live, wanted: &WorkflowSwitchTrafficRequest) -> String {
    let before = live.clone();
    let text = refused(live, wanted);
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "{text}");
    text
}

/// A switch that died before its write of this number.
fn dead_at(before: &Live, wanted: &WorkflowSwitchTrafficRequest, at: usize) -> Live {
    let mut live = before.clone();
    live.writes = 0;
    live.faults.insert(at, Fault::Killed);
    assert!(live.run(&call(wanted)).is_none(), "write {at}");
    live.faults.clear();
    live
}

/// Past its journal, before the rules have changed.
fn journaled() -> Live {
    let before = cluster();
    dead_at(&before, &request(&ALL), journal_at(&before, &request(&ALL)) + 1)
}

// TR-2, TR-3, TR-4.
#[test]
fn a_journal_that_cannot_be_read_is_no_reason_to_go_on() {
    let mut live = cluster();
    live.broken.push(("_vt.resharding_journal".into(), "no such tablet".into()));
    let text = is_refused(&mut live, &request(&ALL));
    assert!(text.contains("no such tablet"), "{text}");

    // A row with something else in it is a journal of nobody knows what.
    let mut live = cluster();
    let id = *switched().servers[COMMERCE].journals.keys().next().unwrap();
    live.servers.get_mut(COMMERCE).unwrap().journals.insert(id, r#"alias:{cell:"zone1" uid:100}"#.into());
    let text = is_refused(&mut live, &request(&ALL));
    assert!(text.contains("found an entry from a previous run"), "{text}");
}

// TR-14, TR-177.
#[test]
fn rules_that_were_not_there_are_those_of_the_moved_tables_alone() {
    let mut live = cluster();
    live.topo.remove(&("global".into(), "RoutingRules".into()));
    for cell in ["zone1", "zone2"] {
        live.put(cell, "SrvVSchema", SrvVSchema::default().encode_to_vec());
    }
    done(&mut live, &request(&[PRIMARY]));
    let want = ["corder", "customer"].map(|table| {
        let to = format!("customer.{table}");
        [(table.to_owned(), to.clone()), (format!("commerce.{table}"), to)]
    });
    assert_eq!(rules(&live), want.concat().into_iter().collect::<BTreeMap<_, _>>());
}

// TR-20.
#[test]
fn tables_do_not_move_within_their_keyspace() {
    let mut live = cluster();
    for alias in [LEFT, RIGHT] {
        set(&mut live, alias, "source", r#"keyspace:"customer" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1"}}"#);
    }
    let want = "workflow customer.c2c is invalid: MoveTables source keyspace matches target keyspace (customer)";
    assert_eq!(is_refused(&mut live, &request(&[PRIMARY])), want);
    assert!(live.log.is_empty(), "nothing was locked: {:?}", live.log);
}

// TR-22.
#[test]
fn a_request_for_no_type_changes_nothing() {
    let mut live = cluster();
    let before = live.clone();
    let reply = done(&mut live, &request(&[]));
    assert_eq!(reply.summary, "SwitchTraffic was successful for workflow customer.c2c");
    assert_eq!(reply.current_state, "Reads Not Switched. Writes Not Switched");
    assert_eq!((live.topo, live.servers), (before.topo, before.servers));
}

// TR-27, TR-109.
#[test]
fn a_type_that_has_moved_alone_is_said() {
    let mut live = cluster();
    live.tablet("elsewhere", "0", "zone2", 900, RDONLY);
    let mut other = live.clone();
    let state = done(&mut live, &request(&[REPLICA])).current_state;
    assert_eq!(state, "Reads partially switched. All Replica Reads Switched. Rdonly not switched. Writes Not Switched");
    let state = done(&mut other, &request(&[RDONLY])).current_state;
    assert_eq!(state, "Reads partially switched. Replica not switched. All Rdonly Reads Switched. Writes Not Switched");
}

// TR-29.
#[test]
fn rows_that_are_still_copied_are_a_reason_to_wait() {
    let mut live = cluster();
    set(&mut live, LEFT, "state", "Copying");
    let want = "cannot switch traffic for workflow c2c at this time: copy is still in progress";
    assert_eq!(is_refused(&mut live, &request(&ALL)), want);
}

// TR-32, B30, B37.
// TR-1.
#[test]
fn lag_does_not_keep_a_switch_from_its_end() {
    let before = cluster();
    let (journal, count) = (journal_at(&before, &request(&ALL)), writes_of(&before, &request(&ALL)));
    for at in journal + 1..count {
        let mut live = dead_at(&before, &request(&ALL), at);
        for alias in [LEFT, RIGHT] {
            for column in ["transaction_timestamp", "time_updated", "time_heartbeat"] {
                set(&mut live, alias, column, "900000");
            }
        }
        done(&mut live, &request(&ALL));
        for alias in [LEFT, RIGHT] {
            assert_eq!(live.rows(alias, "c2c", &["state", "message"]), [["Stopped", "FROZEN"]], "dead at {at}");
        }
    }
}

// TR-35.
#[test]
fn a_dry_run_of_reads_that_come_back_has_the_lines_of_the_reference() {
    let mut live = cluster();
    done(&mut live, &request(&[REPLICA, RDONLY]));
    let want = [
        "Lock keyspace commerce",
        "Lock keyspace customer",
        "Switch reads for tables [corder,customer] to keyspace commerce for tablet types [REPLICA,RDONLY]",
        "Routing rules for tables [corder,customer] will be updated",
        "Serving VSchema will be rebuilt for the commerce keyspace",
        "Unlock keyspace customer",
        "Unlock keyspace commerce",
    ];
    live.log.clear();
    assert_eq!(lines(&mut live, back(&[REPLICA, RDONLY])), want);
}

// TR-40.
#[test]
fn a_dry_run_of_what_is_left_after_the_journal_has_the_lines_of_the_reference() {
    let mut live = journaled();
    live.log.clear();
    let wanted = WorkflowSwitchTrafficRequest { enable_reverse_replication: false, ..request(&[PRIMARY]) };
    let want = [
        "Lock keyspace commerce",
        "Lock keyspace customer",
        "Create journal entries on source databases",
        "Enable writes on keyspace customer for tables [corder,customer]",
        "Switch routing from keyspace commerce to keyspace customer",
        "Routing rules for tables [corder,customer] will be updated",
        "Switch writes completed, freeze and delete vreplication streams on: [tablet:200,tablet:300]",
        "Mark vreplication streams frozen on: [keyspace:customer;shard:-80;tablet:200;workflow:c2c;dbname:vt_customer,keyspace:customer;shard:80-;tablet:300;workflow:c2c;dbname:vt_customer]",
        "Unlock keyspace customer",
        "Unlock keyspace commerce",
    ];
    assert_eq!(lines(&mut live, wanted), want);
}

// TR-79, TR-80.
#[test]
fn a_source_whose_user_may_not_manage_streams_keeps_its_writes() {
    let mut live = cluster();
    let before = seen(&live);
    live.broken.push(("ValidateVReplicationPermissions".into(), "tmc throws error".into()));
    let want = "primary tablets are not able to fully manage the reverse vreplication workflow in the commerce keyspace: failed to \
                validate required vreplication metadata permissions on tablet zone1-0000000100: tmc throws error";
    assert_eq!(refused(&mut live, &request(&ALL)), want);
    assert_eq!(seen(&live), before);
    live.broken.clear();
    let error = "vt does not have the required set of permissions".to_owned();
    let reply = run(&mut live, &call(&request(&ALL)), |_, ask| match &ask.what {
        What::TabletCall { path, .. } if path == rpc::VALIDATE_VREPLICATION_PERMISSIONS => {
            let said = ValidateVReplicationPermissionsResponse { user: "vt".into(), ok: false, error: error.clone() };
            Some(Answer::Called(said.encode_to_vec()))
        }
        _ => None,
    });
    let want = "primary tablets are not able to fully manage the reverse vreplication workflow in the commerce keyspace: failed to \
                validate required vreplication metadata permissions: vt does not have the required set of permissions";
    assert_eq!(reply.result.unwrap_err().message, want);
    assert_eq!(seen(&live), before);
    // Nobody streams back.
    live.broken.push(("ValidateVReplicationPermissions".into(), "tmc throws error".into()));
    done(&mut live, &WorkflowSwitchTrafficRequest { enable_reverse_replication: false, ..request(&ALL) });
}

// TR-92.
#[test]
fn what_cannot_be_taken_back_is_said_with_why_it_had_to_be() {
    let mut live = cluster();
    live.broken.push(("zone2-0000000300 VReplicationWaitForPos".into(), "x".into()));
    live.broken.push(("set state='Running', message='' where id=1".into(), "boom".into()));
    assert_eq!(
        refused(&mut live, &request(&ALL)),
        "failed to sync up replication between the source and target: x\n\ncancel migration failed, manual cleanup work may be necessary: \
         boom"
    );
}

// TR-102.
#[test]
fn a_dry_run_of_shards_whose_reads_come_back_has_the_lines_of_the_reference() {
    let mut live = switch_shards::cluster();
    let reads = [TabletType::Replica, TabletType::Rdonly];
    live.run(&switch_shards::call(&reads, 0, false)).unwrap().result.unwrap();
    let bytes = live.run(&switch_shards::call(&reads, 1, true)).unwrap().result.unwrap();
    let said = vtflow_planner::proto::vtctldata::WorkflowSwitchTrafficResponse::decode(bytes.as_slice()).unwrap();
    let line = "Switch reads from keyspace ks to keyspace ks for shards [-40,40-80] to shards [-80]";
    assert_eq!(said.dry_run_results, ["Lock keyspace ks", line, "Unlock keyspace ks"]);
}

fn tenant(id: &str, column: &str) -> Live {
    let mut live = switch_kinds::tenant();
    let spec = MultiTenantSpec { tenant_id_column_name: column.into(), tenant_id_column_type: Type::Varchar.into() };
    let record: Keyspace = live.record("global", "keyspaces/tgt/VSchema");
    live.put("global", "keyspaces/tgt/VSchema", Keyspace { multi_tenant_spec: Some(spec), ..record }.encode_to_vec());
    set(&mut live, "zone1-0000000200", "options", &format!(r#"{{"tenant_id":"{id}"}}"#));
    live
}

// TR-86, TR-133, TR-134.
#[test]
fn a_tenants_name_is_one_text_and_its_column_one_name() {
    for (id, column, want) in [
        ("acme' or '1'='1", "tenant_id", r"tenant_id = 'acme\\' or \\'1\\'=\\'1'"),
        ("acme", "tenant`id", "`tenant``id` = 'acme'"),
    ] {
        let mut live = tenant(id, column);
        live.run(&switch_kinds::call(&ALL, 0, false)).unwrap().result.unwrap();
        let rows = live.rows("zone1-0000000100", "w_reverse", &["source"]);
        let filter = format!(r#"filter:"select * from t1 where {want}""#);
        assert!(rows[0][0].contains(&filter), "{filter}: {rows:?}");
    }
}

// TR-169.
#[test]
fn records_that_cannot_be_read_are_a_reason_to_stop() {
    for path in ["RoutingRules", "MirrorRules"] {
        let mut live = cluster();
        live.put("global", path, vec![0xff]);
        let text = is_refused(&mut live, &request(&ALL));
        assert!(!text.is_empty(), "{path}");
    }
}

// TR-180, TR-181, B9.
// TR-163, TR-164.
#[test]
fn reads_of_shards_move_in_the_cells_that_an_alias_stands_for() {
    let mut live = switch_shards::cluster();
    live.put("global", "cells_aliases/near/CellsAlias", CellsAlias { cells: vec!["zone1".into()] }.encode_to_vec());
    let before = [TabletType::Replica, TabletType::Rdonly].map(|of| switch_shards::served(&live, of)[1].clone());
    let plain = switch_shards::call(&[TabletType::Replica], 0, false);
    let wanted = WorkflowSwitchTrafficRequest::decode(plain.request.as_slice()).unwrap();
    let request = WorkflowSwitchTrafficRequest { cells: vec!["near".into()], ..wanted }.encode_to_vec();
    live.run(&Call { request, ..plain }).unwrap().result.unwrap();
    assert_eq!(switch_shards::served(&live, TabletType::Replica)[0], "-40,40-80,80- [-40 false,40-80 false,-80 true]");
    let other = [TabletType::Replica, TabletType::Rdonly].map(|of| switch_shards::served(&live, of)[1].clone());
    assert_eq!(other, before);
    live.run(&switch_shards::call(&[TabletType::Primary], 0, false)).unwrap().result.unwrap();
    assert_eq!(switch_shards::served(&live, TabletType::Primary), ["-40,40-80,80- []"; 2]);
    assert_eq!(switch_shards::served(&live, TabletType::Replica), ["-40,40-80,80- []", "-80,80- []"]);
}

// TR-185.
#[test]
fn a_table_that_nobody_knows_how_to_divide_is_found_before_a_write_is_refused() {
    let mut live = switched();
    let mut record: Keyspace = live.record("global", "keyspaces/customer/VSchema");
    record.tables.get_mut("corder").unwrap().column_vindexes.clear();
    live.put("global", "keyspaces/customer/VSchema", record.encode_to_vec());
    let want = "failed to create the reverse vreplication streams: no primary vindex found for the corder table in the customer keyspace";
    assert_eq!(is_refused(&mut live, &back(&ALL)), want);
}

// B11.
#[test]
fn a_source_whose_position_is_not_known_takes_writes_again() {
    let mut live = cluster();
    let before = seen(&live);
    live.broken.push(("zone1-0000000100 PrimaryPosition".into(), "too many connections".into()));
    let want = "failed to gather replication positions on migration sources: failed to get position on migration source \
                zone1-0000000100: too many connections";
    assert_eq!(refused(&mut live, &request(&ALL)), want);
    assert_eq!(seen(&live), before);
}

// B23.
#[test]
fn rows_go_back_by_all_columns_of_their_vindex() {
    let mut live = switched();
    let mut record: Keyspace = live.record("global", "keyspaces/customer/VSchema");
    let vindex = &mut record.tables.get_mut("corder").unwrap().column_vindexes[0];
    (vindex.column, vindex.columns) = (String::new(), vec!["shop_id".into(), "customer_id".into()]);
    live.put("global", "keyspaces/customer/VSchema", record.encode_to_vec());
    done(&mut live, &back(&ALL));
    let source = live.rows(LEFT, "c2c", &["source"])[0][0].clone();
    assert!(source.contains("in_keyrange(shop_id, customer_id, 'customer.hash', '-80')"), "{source}");
}

// B26.
#[test]
fn all_journals_of_a_switch_say_the_same_of_its_target() {
    let before = switched();
    let at = journal_at(&before, &back(&ALL));
    let mut live = dead_at(&before, &back(&ALL), at + 1);
    let journals = |live: &Live| [LEFT, RIGHT].map(|alias| live.servers[alias].journals.values().next().cloned());
    assert_eq!(journals(&live).iter().flatten().count(), 1, "one of two");
    live.servers.get_mut(COMMERCE).unwrap().position = "MySQL56/65b309ae-eb92-11f1-97ea-02fc00000001:1-900".into();
    done(&mut live, &back(&ALL));
    for journal in journals(&live) {
        let journal = journal.unwrap();
        let shards = journal.split_once("shard_gtids").unwrap().1;
        assert!(shards.contains("65b309ae-eb92-11f1-97ea-02fc00000001:1-100"), "{journal}");
    }
}

// B28.
#[test]
fn tablets_of_shards_that_lose_their_reads_are_told() {
    let mut live = switch_shards::cluster();
    live.run(&switch_shards::call(&[TabletType::Replica, TabletType::Rdonly], 0, false)).unwrap().result.unwrap();
    let served = live.log.iter().rposition(|line| line.ends_with("keyspaces/ks/SrvKeyspace")).unwrap();
    for alias in ["zone1-0000000200", "zone1-0000000201"] {
        assert!(live.log[served..].contains(&format!("{alias} RefreshState")), "{alias}: {:#?}", live.log);
    }
}

/// Its other half is Vitess's own: with anything there vtgates take no failover for ended, and denied tables would stay after a vtctld's way
/// back.
// B28.
#[test]
fn once_writes_have_moved_nothing_is_said_of_a_primarys_query_service_and_no_table_is_denied() {
    let mut live = switch_shards::cluster();
    for direction in [0, 1] {
        live.run(&switch_shards::call(&switch_shards::ALL, direction, false)).unwrap().result.unwrap();
        for served in switch_shards::served(&live, TabletType::Primary) {
            assert!(served.ends_with(" []"), "{served}");
        }
        assert!(live.servers.values().all(|server| server.denied.is_empty()));
    }
}
