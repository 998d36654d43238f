//! Moving the traffic of workflows that are not whole keyspaces: of some shards, and of one tenant.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Call, CallOptions,
    proto::{
        query::Type,
        topodata::{KeyRange, Shard, TabletType},
        vschema::{
            ColumnVindex, Keyspace, KeyspaceRoutingRule, KeyspaceRoutingRules, MultiTenantSpec, RoutingRules, ShardRoutingRule,
            ShardRoutingRules, SrvVSchema, Table, Vindex,
        },
        vtctldata::{WorkflowSwitchTrafficRequest, WorkflowSwitchTrafficResponse},
    },
    rpc,
};

use crate::support::live::{Fault, Live};

const ALL: [i32; 3] = [TabletType::Primary as i32, TabletType::Replica as i32, TabletType::Rdonly as i32];
const READS: [i32; 2] = [TabletType::Replica as i32, TabletType::Rdonly as i32];

pub(crate) fn call(types: &[i32], direction: i32, dry_run: bool) -> Call {
    let request = WorkflowSwitchTrafficRequest {
        keyspace: "tgt".into(),
        workflow: "w".into(),
        tablet_types: types.to_vec(),
        enable_reverse_replication: true,
        direction,
        dry_run,
        ..WorkflowSwitchTrafficRequest::default()
    };
    Call { path: rpc::WORKFLOW_SWITCH_TRAFFIC.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn done(live: &mut Live, types: &[i32], direction: i32, dry_run: bool) -> WorkflowSwitchTrafficResponse {
    let reply = live.run(&call(types, direction, dry_run)).unwrap();
    let bytes = reply.result.unwrap_or_else(|status| panic!("{status}\n{:#?}", live.log));
    WorkflowSwitchTrafficResponse::decode(bytes.as_slice()).unwrap()
}

fn refused(live: &mut Live, types: &[i32], direction: i32) -> String {
    live.run(&call(types, direction, false)).unwrap().result.unwrap_err().message
}

fn denied(live: &Live, keyspace: &str, shard: &str) -> Vec<String> {
    let record: Shard = live.record("global", &format!("keyspaces/{keyspace}/shards/{shard}/Shard"));
    record.tablet_controls.into_iter().flat_map(|control| control.denied_tables).collect()
}

fn range(start: &[u8], end: &[u8]) -> KeyRange {
    KeyRange { start: start.to_vec(), end: end.to_vec() }
}

fn sharded() -> Keyspace {
    let vindex = ColumnVindex { column: "id".into(), name: "xxhash".into(), columns: vec![] };
    Keyspace {
        sharded: true,
        vindexes: BTreeMap::from([("xxhash".into(), Vindex { r#type: "xxhash".into(), ..Vindex::default() })]),
        tables: BTreeMap::from([("t1".into(), Table { column_vindexes: vec![vindex], ..Table::default() })]),
        ..Keyspace::default()
    }
}

/// src/-80 moves to tgt/-80; the other half stays.
pub(crate) fn partial() -> Live {
    let mut live = Live::default();
    live.cell("zone1");
    live.shard("src", "-80", "zone1", 100, "a", Some(range(&[], &[0x80])));
    live.shard("src", "80-", "zone1", 110, "b", Some(range(&[0x80], &[])));
    live.shard("tgt", "-80", "zone1", 200, "c", Some(range(&[], &[0x80])));
    live.shard("tgt", "80-", "zone1", 210, "d", Some(range(&[0x80], &[])));
    for keyspace in ["src", "tgt"] {
        live.put("global", &format!("keyspaces/{keyspace}/VSchema"), sharded().encode_to_vec());
    }
    let source = r#"keyspace:"src" shard:"-80" filter:{rules:{match:"t1" filter:"select * from t1"}}"#;
    live.stream("zone1-0000000200", "w", source, 1);
    let row = &mut live.servers.get_mut("zone1-0000000200").unwrap().streams[0];
    row.insert("workflow_sub_type", "1".into());
    let rule = |shard: &str| ShardRoutingRule { from_keyspace: "tgt".into(), to_keyspace: "src".into(), shard: shard.into() };
    let rules = ShardRoutingRules { rules: vec![rule("-80"), rule("80-")] };
    live.put("global", "ShardRoutingRules", rules.encode_to_vec());
    let served = SrvVSchema { shard_routing_rules: Some(rules), ..SrvVSchema::default() };
    live.put("zone1", "SrvVSchema", served.encode_to_vec());
    live
}

fn shard_rules(live: &Live) -> Vec<String> {
    let text = |rules: ShardRoutingRules| {
        let text = |it: &ShardRoutingRule| format!("{}.{} -> {}", it.from_keyspace, it.shard, it.to_keyspace);
        let mut rules: Vec<String> = rules.rules.iter().map(text).collect();
        rules.sort();
        rules
    };
    let global = text(live.record("global", "ShardRoutingRules"));
    assert_eq!(text(live.record::<SrvVSchema>("zone1", "SrvVSchema").shard_routing_rules.unwrap()), global);
    global
}

// TR-39, TR-178, TR-179, TR-182.
#[test]
fn some_shards_move_and_come_back() {
    let mut live = partial();
    let lines = done(&mut live, &ALL, 0, true).dry_run_results;
    let locks = ["Lock keyspace src", "Lock keyspace tgt"];
    let unlocks = ["Unlock keyspace tgt", "Unlock keyspace src"];
    assert_eq!(lines[..4], [locks, unlocks].concat());
    assert!(lines.contains(&"Routing rules for tables [t1] will be updated".to_owned()), "{lines:?}");

    done(&mut live, &ALL, 0, false);
    assert_eq!(shard_rules(&live), ["src.-80 -> tgt", "tgt.80- -> src"]);
    assert_eq!((denied(&live, "src", "-80"), denied(&live, "src", "80-")), (vec!["t1".to_owned()], vec![]));
    assert!(denied(&live, "tgt", "-80").is_empty());
    let filter = "select * from `t1` where in_keyrange(id, 'src.xxhash', '-80')";
    let source = format!(r#"keyspace:"tgt" shard:"-80" filter:{{rules:{{match:"t1" filter:"{filter}"}}}}"#);
    assert_eq!(live.rows("zone1-0000000100", "w_reverse", &["source", "state"]), [[source.as_str(), "Running"]]);

    let again = done(&mut live, &ALL, 0, false);
    assert_eq!(again.summary, "SwitchTraffic was successful for workflow tgt.w");

    done(&mut live, &ALL, 1, false);
    assert_eq!(shard_rules(&live), ["tgt.-80 -> src", "tgt.80- -> src"]);
    assert!(denied(&live, "src", "-80").is_empty());
    assert_eq!(denied(&live, "tgt", "-80"), ["t1"]);
    assert_eq!(live.rows("zone1-0000000200", "w", &["state", "message"]), [["Running", ""]]);
}

// B19.
#[test]
fn a_failure_of_some_shards_denies_nothing_that_was_not_denied() {
    let mut live = partial();
    live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
    let text = refused(&mut live, &ALL, 0);
    assert_eq!(text, "failed to sync up replication between the source and target: too slow");
    for keyspace in ["src", "tgt"] {
        assert!(denied(&live, keyspace, "-80").is_empty(), "{keyspace}");
    }
    assert_eq!(shard_rules(&live), ["tgt.-80 -> src", "tgt.80- -> src"]);
}

/// Tenant 7 of `src` moves into `tgt`, which has many.
pub(crate) fn tenant() -> Live {
    let mut live = Live::default();
    live.cell("zone1");
    live.cell("zone2");
    live.shard("src", "0", "zone1", 100, "a", None);
    live.shard("tgt", "0", "zone1", 200, "b", None);
    let tables = BTreeMap::from([("t1".into(), Table::default())]);
    let spec = MultiTenantSpec { tenant_id_column_name: "tenant_id".into(), tenant_id_column_type: Type::Int64.into() };
    let plain = Keyspace { tables, ..Keyspace::default() };
    live.put("global", "keyspaces/src/VSchema", plain.encode_to_vec());
    live.put("global", "keyspaces/tgt/VSchema", Keyspace { multi_tenant_spec: Some(spec), ..plain }.encode_to_vec());
    let source = r#"keyspace:"src" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1 where tenant_id = 7"}}"#;
    live.stream("zone1-0000000200", "w", source, 1);
    let row = &mut live.servers.get_mut("zone1-0000000200").unwrap().streams[0];
    row.insert("options", r#"{"tenant_id":"7"}"#.into());
    let rule = |of: &str| KeyspaceRoutingRule { from_keyspace: format!("src{of}"), to_keyspace: "src".into() };
    let rules = KeyspaceRoutingRules { rules: ["", "@replica", "@rdonly"].map(rule).to_vec() };
    live.put("global", "routing_rules/keyspace/Rules", rules.encode_to_vec());
    let served =
        SrvVSchema { keyspace_routing_rules: Some(rules), routing_rules: Some(RoutingRules::default()), ..SrvVSchema::default() };
    for cell in ["zone1", "zone2"] {
        live.put(cell, "SrvVSchema", served.encode_to_vec());
    }
    live
}

fn tenant_rules(live: &Live) -> Vec<String> {
    let text = |rules: KeyspaceRoutingRules| {
        rules.rules.iter().map(|it| format!("{} -> {}", it.from_keyspace, it.to_keyspace)).collect::<Vec<_>>()
    };
    let global = text(live.record("global", "routing_rules/keyspace/Rules"));
    for cell in ["zone1", "zone2"] {
        assert_eq!(text(live.record::<SrvVSchema>(cell, "SrvVSchema").keyspace_routing_rules.unwrap()), global);
    }
    global
}

// TR-17, TR-101, B5.
#[test]
fn a_tenants_reads_move_and_come_back_and_its_writes_stay() {
    let mut live = tenant();
    let lines = done(&mut live, &READS, 0, true).dry_run_results;
    assert_eq!(lines[2], "Switch reads from keyspace src to keyspace tgt for tablet types [REPLICA,RDONLY]");
    let reply = done(&mut live, &READS, 0, false);
    assert_eq!(reply.current_state, "All Reads Switched. Writes Not Switched");
    assert_eq!(tenant_rules(&live), ["src -> src", "src@replica -> tgt", "src@rdonly -> tgt"]);
    assert!(live.log.contains(&"lock routing_rules".to_owned()));
    // The reference writes the same rules again and says that it went well.
    done(&mut live, &READS, 1, false);
    assert_eq!(tenant_rules(&live), ["src -> src", "src@replica -> src", "src@rdonly -> src"]);
    assert_eq!(refused(&mut live, &ALL, 1), "cannot reverse write traffic for multi-tenant migrations");

    let reply = done(&mut live, &ALL, 0, false);
    assert_eq!(reply.current_state, "All Reads Switched. Writes Switched");
    assert_eq!(tenant_rules(&live), ["src -> tgt", "src@replica -> tgt", "src@rdonly -> tgt"]);
    assert_eq!(denied(&live, "src", "0"), ["t1"]);
    let source = r#"keyspace:"tgt" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1 where tenant_id = 7"}}"#;
    assert_eq!(live.rows("zone1-0000000100", "w_reverse", &["source", "state"]), [[source, "Running"]]);
    assert_eq!(refused(&mut live, &ALL, 1), "cannot reverse write traffic for multi-tenant migrations");
    assert_eq!(refused(&mut live, &READS, 1), "cannot reverse write traffic for multi-tenant migrations");
}

// TR-93, B12.
#[test]
fn a_tenants_source_is_open_again_after_a_failure() {
    let mut live = tenant();
    live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
    refused(&mut live, &ALL, 0);
    assert!(denied(&live, "src", "0").is_empty());
    assert_eq!(tenant_rules(&live), ["src -> src", "src@replica -> src", "src@rdonly -> src"]);
}

#[test]
fn a_tenants_reads_move_in_all_cells_or_none() {
    let mut live = tenant();
    let mut wanted = WorkflowSwitchTrafficRequest::decode(call(&READS, 0, false).request.as_slice()).unwrap();
    wanted.cells = vec!["zone1".into()];
    let status = live.run(&Call { request: wanted.encode_to_vec(), ..call(&READS, 0, false) }).unwrap().result.unwrap_err();
    let text = "invalid request: requesting switch of read traffic for multi-tenant migrations must include all cells; \
                all cells: zone1,zone2, requested cells: zone1";
    assert_eq!(status.message, text);
}

#[test]
fn whoever_dies_the_same_request_finishes_these_too() {
    for (name, before) in [("partial", partial()), ("tenant", tenant())] {
        let mut whole = before.clone();
        done(&mut whole, &ALL, 0, false);
        for at in 0..whole.writes {
            let mut live = before.clone();
            live.faults.insert(at, Fault::Killed);
            assert!(live.run(&call(&ALL, 0, false)).is_none(), "{name} {at}");
            live.faults.clear();
            done(&mut live, &ALL, 0, false);
            let records = |live: &Live| -> BTreeMap<_, _> {
                live.topo.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
            };
            assert_eq!(records(&live), records(&whole), "{name}: dead at {at}");
            let states = |live: &Live| {
                ["zone1-0000000100", "zone1-0000000200"]
                    .map(|alias| ["w", "w_reverse"].map(|workflow| live.rows(alias, workflow, &["source", "state", "message"])))
            };
            assert_eq!(states(&live), states(&whole), "{name}: dead at {at}");
        }
    }
}
