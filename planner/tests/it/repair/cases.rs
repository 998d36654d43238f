//! Clusters on which something is wrong, with what a repair of it is to make of them.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Mode, Reply,
    proto::{
        topodata::{Shard, SrvKeyspace, TabletType, shard::TabletControl},
        vschema::{
            KeyspaceRoutingRule, KeyspaceRoutingRules, MirrorRule, MirrorRules, RoutingRule, RoutingRules, ShardRoutingRule,
            ShardRoutingRules, SrvVSchema,
        },
        vtflow::{DiagnoseRequest, DiagnoseResponse, RepairRequest, RepairResponse},
    },
    rpc,
};

use crate::{
    forward_recorded::{streams, topology},
    support::live::Live,
    switch::{self, COMMERCE, LEFT, RIGHT},
    switch_kinds, switch_shards,
};

pub(super) const TABLES: [&str; 2] = ["corder", "customer"];

/// One cluster.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) broken: Live,
    /// Keyspace, workflow, direction.
    pub(super) of: (&'static str, &'static str, &'static str),
    /// What is wrong.
    pub(super) found: Vec<&'static str>,
    /// What is wrong still afterwards: it was hidden by the other.
    pub(super) left: Vec<&'static str>,
    /// As it is to be afterwards.
    pub(super) mended: Live,
}

impl Case {
    pub(crate) fn request(&self) -> RepairRequest {
        request(self.of)
    }
}

pub(crate) fn request((keyspace, workflow, direction): (&str, &str, &str)) -> RepairRequest {
    let (keyspace, workflow, direction) = (keyspace.into(), workflow.into(), direction.into());
    RepairRequest { keyspace, workflow, direction, ..RepairRequest::default() }
}

pub(super) fn call(request: &RepairRequest, mode: Mode) -> Call {
    let options = CallOptions { mode, ..CallOptions::default() };
    Call { path: rpc::REPAIR.into(), request: request.encode_to_vec(), options }
}

pub(crate) fn repair(live: &mut Live, request: &RepairRequest) -> Option<Reply> {
    live.run(&call(request, Mode::Perform))
}

pub(super) fn response(reply: &Reply) -> RepairResponse {
    let bytes = reply.result.as_ref().unwrap_or_else(|status| panic!("{status}"));
    RepairResponse::decode(bytes.as_slice()).unwrap()
}

pub(crate) fn diagnosis(live: &Live, keyspace: &str, workflow: &str) -> DiagnoseResponse {
    let request = DiagnoseRequest { keyspace: keyspace.into(), workflow: workflow.into(), sequences: false };
    let call = Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let mut live = live.clone();
    live.faults.clear();
    let bytes = live.run(&call).unwrap().result.unwrap();
    DiagnoseResponse::decode(bytes.as_slice()).unwrap()
}

/// The mechanisms of all that is wrong; nothing may be unknown.
pub(crate) fn wrong(live: &Live, keyspace: &str, workflow: &str) -> Vec<String> {
    let found = diagnosis(live, keyspace, workflow);
    let unknown = found.workflows.iter().flat_map(|it| &it.unknown).chain(&found.unknown).collect::<Vec<_>>();
    assert_eq!(unknown, Vec::<&String>::new());
    let all = found.workflows.iter().flat_map(|it| &it.deviations).chain(&found.leftovers);
    all.map(|it| it.mechanism.clone()).collect()
}

/// All that a repair could have changed: records, streams, journals, and which tables tablets deny.
pub(super) fn state(live: &Live) -> BTreeMap<String, String> {
    let mut state = topology(live);
    for ((cell, path), (value, _)) in &live.topo {
        let rules = match path.as_str() {
            "ShardRoutingRules" => format!("{:?}", ShardRoutingRules::decode(value.as_slice()).unwrap()),
            "routing_rules/keyspace/Rules" => format!("{:?}", KeyspaceRoutingRules::decode(value.as_slice()).unwrap()),
            "SrvVSchema" => {
                let served = SrvVSchema::decode(value.as_slice()).unwrap();
                let shards = served.shard_routing_rules.unwrap_or_default();
                format!("{shards:?} {:?}", served.keyspace_routing_rules.unwrap_or_default())
            }
            _ => continue,
        };
        state.insert(format!("{cell}/{path} rules"), rules);
    }
    for (alias, streams) in streams(live) {
        let server = &live.servers[&alias];
        let mut denied = server.denied.clone();
        denied.sort();
        state.insert(alias, format!("{streams:?} {denied:?} {:?}", server.journals));
    }
    state
}

/// What is not as it is to be: each thing as it is, and as it was to be.
pub(super) fn differs(is: &Live, want: &Live) -> Vec<String> {
    let (is, want) = (state(is), state(want));
    let keys: BTreeSet<&String> = is.keys().chain(want.keys()).collect();
    let other = keys.into_iter().filter(|key| is.get(*key) != want.get(*key));
    other.map(|key| format!("{key}\n  is   {:?}\n  want {:?}", is.get(key), want.get(key))).collect()
}

pub(super) fn edit<M: Message + Default>(live: &mut Live, cell: &str, path: &str, change: impl FnOnce(&mut M)) {
    let is_there = live.topo.contains_key(&(cell.to_owned(), path.to_owned()));
    let mut record: M = if is_there { live.record(cell, path) } else { M::default() };
    change(&mut record);
    live.put(cell, path, record.encode_to_vec());
}

pub(super) fn cells(live: &Live) -> Vec<String> {
    let names = live.topo.keys().filter_map(|(_, path)| path.strip_prefix("cells/")?.strip_suffix("/CellInfo"));
    names.map(str::to_owned).collect()
}

/// Every cell serves the vschemas and the rules as they are.
pub(super) fn serve_all(live: &mut Live, cells: &[String]) {
    fn record<M: Message + Default>(live: &Live, path: &str) -> Option<M> {
        let (value, _) = live.topo.get(&("global".to_owned(), path.to_owned()))?;
        Some(M::decode(value.as_slice()).unwrap())
    }
    let names = live.topo.keys().filter_map(|(_, path)| path.strip_prefix("keyspaces/")?.strip_suffix("/Keyspace"));
    let names: Vec<String> = names.map(str::to_owned).collect();
    for cell in cells {
        let vschema = |name: &String| (name.clone(), record(live, &format!("keyspaces/{name}/VSchema")).unwrap_or_default());
        let served = SrvVSchema {
            keyspaces: names.iter().map(vschema).collect(),
            routing_rules: record(live, "RoutingRules").or_else(|| Some(RoutingRules::default())),
            shard_routing_rules: record(live, "ShardRoutingRules").or_else(|| Some(ShardRoutingRules::default())),
            keyspace_routing_rules: record(live, "routing_rules/keyspace/Rules"),
            mirror_rules: record(live, "MirrorRules").or_else(|| Some(MirrorRules::default())),
        };
        live.put(cell, "SrvVSchema", served.encode_to_vec());
    }
}

fn settled(mut live: Live) -> Live {
    let cells = cells(&live);
    serve_all(&mut live, &cells);
    live.log.clear();
    live.writes = 0;
    live
}

/// Tables that a shard's record denies, and that its primary refuses.
pub(super) fn deny(live: &mut Live, alias: &str, tables: &[&str], allow_reads: bool) {
    let server = live.servers.get_mut(alias).unwrap();
    let denied_tables: Vec<String> = tables.iter().map(|&table| table.to_owned()).collect();
    server.denied.clone_from(&denied_tables);
    let path = format!("keyspaces/{}/shards/{}/Shard", server.keyspace, server.shard);
    edit(live, "global", &path, |record: &mut Shard| {
        record.tablet_controls.clear();
        if !denied_tables.is_empty() {
            let control = TabletControl { tablet_type: 1, denied_tables, allow_reads, ..TabletControl::default() };
            record.tablet_controls.push(control);
        }
    });
}

/// State and message of all streams of a workflow on a tablet.
pub(super) fn set(live: &mut Live, alias: &str, workflow: &str, state: &str, message: &str) {
    let rows = live.servers.get_mut(alias).unwrap().streams.iter_mut().filter(|row| row["workflow"] == workflow);
    for row in rows {
        row.insert("state", state.into());
        row.insert("message", message.into());
    }
}

/// Streams of the other direction, as a switch creates them.
fn create_reverse(live: &mut Live, state: &str) {
    for shard in ["-80", "80-"] {
        let filter = r#"filter:{rules:{match:"corder" filter:"select * from corder"} rules:{match:"customer" filter:"select * from customer"}}"#;
        live.stream(COMMERCE, "c2c_reverse", &format!(r#"keyspace:"customer" shard:"{shard}" {filter}"#), 1);
    }
    set(live, COMMERCE, "c2c_reverse", state, "");
}

fn rule(from: &str, to: &str) -> RoutingRule {
    RoutingRule { from_table: from.into(), to_tables: vec![to.into()] }
}

fn put_rules(live: &mut Live, rules: &[RoutingRule]) {
    edit(live, "global", "RoutingRules", |record: &mut RoutingRules| {
        record.rules.retain(|rule| rules.iter().all(|new| new.from_table != rule.from_table));
        record.rules.extend(rules.iter().filter(|rule| !rule.to_tables.is_empty()).cloned());
    });
}

/// The rules of reads of the workflow's tables lead to a keyspace.
fn route_reads(live: &mut Live, keyspace: &str) {
    let rules = TABLES.iter().flat_map(|table| {
        let of = ["replica", "rdonly"].into_iter();
        of.flat_map(move |of| ["", "commerce.", "customer."].map(|from| format!("{from}{table}@{of}")))
            .map(move |from| rule(&from, &format!("{keyspace}.{table}")))
    });
    let rules: Vec<RoutingRule> = rules.collect();
    put_rules(live, &rules);
}

pub(super) fn closed(live: &mut Live) {
    deny(live, COMMERCE, &TABLES, false);
    deny(live, LEFT, &[], false);
    deny(live, RIGHT, &[], false);
}

fn stop(live: &mut Live, message: &str) {
    set(live, LEFT, "c2c", "Stopped", message);
    set(live, RIGHT, "c2c", "Stopped", message);
}

/// Moves tables, not switched.
pub(super) fn unswitched() -> Live {
    settled(switch::cluster())
}

pub(super) fn switched() -> Live {
    settled(switch::switched())
}

fn case(
    name: &'static str,
    of: (&'static str, &'static str, &'static str),
    found: &[&'static str],
    mended: Live,
    change: impl FnOnce(&mut Live),
) -> Case {
    let mut broken = mended.clone();
    change(&mut broken);
    broken.log.clear();
    Case { name, broken, of, found: found.to_vec(), left: Vec::new(), mended }
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    [tables(), finishing(), rules(), leftovers(), shards(), kinds()].into_iter().flatten().collect()
}

const BACK: (&str, &str, &str) = ("customer", "c2c", "back");
const FORTH: (&str, &str, &str) = ("customer", "c2c", "forward");
const PLACE: (&str, &str, &str) = ("customer", "c2c", "");

/// What a switch of writes leaves before its journal.
fn tables() -> Vec<Case> {
    vec![
        case("T1", BACK, &["writes_closed"], unswitched(), closed),
        case("T1 and the names of the other side", ("commerce", "c2c_reverse", "back"), &["writes_closed"], unswitched(), closed),
        case("T2", BACK, &["writes_closed_streams_stopped"], unswitched(), |live| {
            closed(live);
            stop(live, "stopped for cutover");
        }),
        case("T3", BACK, &["writes_closed_reverse_created"], unswitched(), |live| {
            closed(live);
            stop(live, "stopped for cutover");
            create_reverse(live, "Stopped");
        }),
        case("T3 with rules of reads", BACK, &["writes_closed_reverse_created", "read_rules_not_served"], unswitched(), |live| {
            closed(live);
            stop(live, "stopped for cutover");
            create_reverse(live, "Stopped");
            route_reads(live, "customer");
        }),
        case("undone but for the streams", PLACE, &["streams_stopped_for_cutover"], unswitched(), |live| {
            stop(live, "stopped for cutover");
        }),
        case("undone but for the reverse", PLACE, &["reverse_left_by_undo"], unswitched(), |live| {
            create_reverse(live, "Stopped");
        }),
        Case {
            left: vec!["reverse_left_by_undo"],
            ..case(
                "T13 before",
                PLACE,
                &["both_directions_running"],
                with(unswitched(), |live| create_reverse(live, "Stopped")),
                |live| set(live, COMMERCE, "c2c_reverse", "Running", ""),
            )
        },
    ]
}

fn with(mut live: Live, change: impl FnOnce(&mut Live)) -> Live {
    change(&mut live);
    live
}

/// Neither cells nor tablet types, and stopped, as a deletion leaves streams.
pub(super) fn blank(live: &mut Live) {
    stop(live, "");
    for alias in [LEFT, RIGHT] {
        for row in &mut live.servers.get_mut(alias).unwrap().streams {
            row.insert("cell", String::new());
            row.insert("tablet_types", String::new());
        }
    }
}

/// What the end of a switch leaves.
fn finishing() -> Vec<Case> {
    vec![
        case("T7", PLACE, &["forward_not_frozen"], switched(), |live| {
            stop(live, "stopped for cutover");
            set(live, COMMERCE, "c2c_reverse", "Stopped", "");
        }),
        case("T8", PLACE, &["forward_partly_frozen"], switched(), |live| {
            set(live, LEFT, "c2c", "Stopped", "stopped for cutover");
        }),
        case("T9", PLACE, &["target_denied"], switched(), |live| {
            deny(live, LEFT, &["corder"], false);
            deny(live, RIGHT, &["customer"], false);
        }),
        case(
            "T9 among others' tables",
            PLACE,
            &["target_denied"],
            with(switched(), |live| deny(live, LEFT, &["t9"], true)),
            |live| {
                deny(live, LEFT, &["corder", "t9"], true);
            },
        ),
        case("an open source", PLACE, &["source_open"], switched(), |live| deny(live, COMMERCE, &[], false)),
        case("T13 after", PLACE, &["forward_not_frozen", "both_directions_running"], switched(), |live| {
            set(live, LEFT, "c2c", "Running", "");
            set(live, RIGHT, "c2c", "Running", "");
        }),
        case("T20", PLACE, &["reverse_stopped"], switched(), |live| set(live, COMMERCE, "c2c_reverse", "Stopped", "")),
        case("half cancelled", PLACE, &["reverse_left_frozen"], with(unswitched(), no_streams), |live| {
            create_reverse(live, "Stopped");
            set(live, COMMERCE, "c2c_reverse", "Stopped", "FROZEN");
        }),
    ]
}

fn no_streams(live: &mut Live) {
    for server in live.servers.values_mut() {
        server.streams.clear();
    }
}

/// What rules and what cells serve of them.
fn rules() -> Vec<Case> {
    let old = || unswitched().topo[&("zone2".to_owned(), "SrvVSchema".to_owned())].0.clone();
    let forward = with(unswitched(), |live| {
        route_reads(live, "customer");
        serve_all(live, &["zone1".into(), "zone2".into()]);
    });
    vec![
        case("T6", PLACE, &["cell_serves_old_routing", "read_rules_served_in_some_cells"], switched(), |live| {
            live.put("zone2", "SrvVSchema", old());
        }),
        case("T10 back", BACK, &["read_rules_not_served"], unswitched(), |live| route_reads(live, "customer")),
        case("T10 forward", FORTH, &["read_rules_not_served"], forward.clone(), |live| {
            for cell in ["zone1", "zone2"] {
                live.put(cell, "SrvVSchema", old());
            }
        }),
        case("T11", PLACE, &["read_rules_served_in_some_cells"], forward, |live| live.put("zone2", "SrvVSchema", old())),
        case("T14", PLACE, &["frozen_but_routed_to_source"], switched(), |live| {
            let rules: RoutingRules = unswitched().record("global", "RoutingRules");
            live.put("global", "RoutingRules", rules.encode_to_vec());
            route_reads(live, "customer");
            serve_all(live, &["zone1".into(), "zone2".into()]);
        }),
        case("T17 readable", PLACE, &["denied_tables_readable"], unswitched(), |live| deny(live, LEFT, &TABLES, true)),
        case("T17 mirrored", PLACE, &["mirrored_reads_denied"], with(unswitched(), mirrored), |live| {
            deny(live, LEFT, &TABLES, false);
            deny(live, RIGHT, &TABLES, false);
        }),
    ]
}

fn mirrored(live: &mut Live) {
    let rule = |table: &&str| MirrorRule {
        from_table: format!("commerce.{table}@replica"),
        to_table: format!("customer.{table}"),
        percent: 5.0,
    };
    live.put("global", "MirrorRules", MirrorRules { rules: TABLES.iter().map(rule).collect() }.encode_to_vec());
    serve_all(live, &["zone1".into(), "zone2".into()]);
    deny(live, LEFT, &TABLES, true);
    deny(live, RIGHT, &TABLES, true);
}

/// What belongs to no workflow.
fn leftovers() -> Vec<Case> {
    let of = ("customer", "", "");
    let serve = |live: &mut Live| serve_all(live, &["zone1".into(), "zone2".into()]);
    vec![
        case("T12 rules", of, &["leftover_routing_rules"], unswitched(), |live| {
            put_rules(live, &[rule("customer.t9", "commerce.t9"), rule("t9", "commerce.t9")]);
            serve(live);
        }),
        case("T12 rules to nowhere", of, &["leftover_routing_rules"], unswitched(), |live| {
            put_rules(live, &[rule("customer.t9@replica", "gone.t9")]);
            serve(live);
        }),
        case("T12 shards", of, &["leftover_shard_rules"], unswitched(), |live| {
            let (from_keyspace, to_keyspace) = ("customer".to_owned(), "commerce".to_owned());
            let rules = vec![ShardRoutingRule { from_keyspace, to_keyspace, shard: "-80".into() }];
            live.put("global", "ShardRoutingRules", ShardRoutingRules { rules }.encode_to_vec());
            serve(live);
        }),
        case(
            "T12 keyspaces",
            of,
            &["leftover_shard_rules"],
            with(unswitched(), |live| {
                live.put("global", "routing_rules/keyspace/Rules", vec![]);
                serve(live);
            }),
            |live| {
                let (from_keyspace, to_keyspace) = ("commerce@replica".to_owned(), "customer".to_owned());
                let rules = vec![KeyspaceRoutingRule { from_keyspace, to_keyspace }];
                live.put("global", "routing_rules/keyspace/Rules", KeyspaceRoutingRules { rules }.encode_to_vec());
                serve(live);
            },
        ),
        case("T12 denied", of, &["leftover_denied_tables"], with(unswitched(), mirrored), |live| {
            deny(live, RIGHT, &["corder", "customer", "t9"], true);
        }),
        case("T16", of, &["leftover_mirror_rules"], with(unswitched(), mirrored), |live| {
            edit(live, "global", "MirrorRules", |record: &mut MirrorRules| {
                let (from_table, to_table) = ("commerce.t9".to_owned(), "customer.t9".to_owned());
                record.rules.push(MirrorRule { from_table, to_table, percent: 1.0 });
            });
            serve(live);
        }),
        case("T18", PLACE, &["lock_without_process"], unswitched(), |live| {
            let lock =
                r#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt", "Time": "1970-01-12T12:46:40Z"}"#;
            live.put("global", "internal/named_locks/customer/c2c/locks/7", lock.into());
        }),
        case("T1 under a lock without a process", BACK, &["writes_closed", "lock_without_process"], unswitched(), |live| {
            closed(live);
            let lock =
                r#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt", "Time": "1970-01-12T12:46:40Z"}"#;
            live.put("global", "internal/named_locks/customer/c2c/locks/7", lock.into());
        }),
    ]
}

const OLD: &str = "zone1-0000000200";
const NEW: [&str; 2] = ["zone1-0000000400", "zone1-0000000500"];

fn off(live: &mut Live, of: TabletType, is_off: bool) {
    for cell in ["zone1", "zone2"] {
        edit(live, cell, "keyspaces/ks/SrvKeyspace", |served: &mut SrvKeyspace| {
            let part = served.partitions.iter_mut().find(|part| part.served_type() == of).unwrap();
            let shard = part.shard_references.iter().find(|shard| shard.name == "-80").unwrap().clone();
            part.shard_tablet_controls = vec![vtflow_planner::proto::topodata::ShardTabletControl {
                name: shard.name,
                key_range: shard.key_range,
                query_service_disabled: is_off,
            }];
        });
    }
}

/// What a switch of a reshard leaves.
fn shards() -> Vec<Case> {
    let of = ("ks", "r", "");
    let other = r#"keyspace:"src" shard:"0" filter:{rules:{match:"t5" filter:"select * from t5"}}"#;
    let unsplit = || {
        with(settled(switch_shards::cluster()), |live| {
            live.shard("src", "0", "zone1", 600, "uuid600", None);
            live.stream(OLD, "mat2", other, 0);
            live.log.clear();
        })
    };
    let all = [TabletType::Replica, TabletType::Rdonly, TabletType::Primary];
    let split = || {
        let mut live = settled(switch_shards::cluster());
        live.run(&switch_shards::call(&all, 0, false)).unwrap().result.unwrap();
        settled(live)
    };
    let gone =
        || with(split(), |live| drop(live.topo.remove(&("global".to_owned(), "keyspaces/ks/shards/-80/Shard".to_owned()))));
    vec![
        case("S1", ("ks", "r", "back"), &["source_shards_closed"], unsplit(), |live| off(live, TabletType::Primary, true)),
        case("S2", ("ks", "r", "back"), &["source_shards_closed", "source_streams_stopped"], unsplit(), |live| {
            off(live, TabletType::Primary, true);
            set(live, OLD, "mat2", "Stopped", "for cutover");
        }),
        case("S2 alone", of, &["source_streams_stopped"], unsplit(), |live| set(live, OLD, "mat2", "Stopped", "for cutover")),
        case("S3", of, &["stream_copies_left"], unsplit(), |live| {
            for alias in NEW {
                live.stream(alias, "mat2", other, 0);
                set(live, alias, "mat2", "Stopped", "");
            }
        }),
        case(
            "S11",
            of,
            &["source_shards_gone"],
            with(gone(), |live| {
                for alias in NEW {
                    live.servers.get_mut(alias).unwrap().streams.clear();
                }
            }),
            |live| live.servers = gone().servers,
        ),
        case("S8", of, &["forward_partly_frozen"], split(), |live| set(live, NEW[0], "r", "Stopped", "stopped for cutover")),
    ]
}

/// Streams of another workflow that a switch has taken along and not started; the original is there still.
pub(super) fn taken_along() -> Live {
    let other = r#"keyspace:"src" shard:"0" filter:{rules:{match:"t5" filter:"select * from t5"}}"#;
    let mut live = settled(switch_shards::cluster());
    let all = [TabletType::Replica, TabletType::Rdonly, TabletType::Primary];
    live.run(&switch_shards::call(&all, 0, false)).unwrap().result.unwrap();
    live.shard("src", "0", "zone1", 600, "uuid600", None);
    for alias in [OLD, NEW[0], NEW[1]] {
        live.stream(alias, "mat2", other, 0);
        set(&mut live, alias, "mat2", "Stopped", if alias == OLD { "for cutover" } else { "" });
    }
    settled(live)
}

/// Of some shards, and of a tenant.
fn kinds() -> Vec<Case> {
    let deny_source = |live: &mut Live| deny(live, "zone1-0000000100", &["t1"], false);
    vec![
        case("T1 of some shards", ("tgt", "w", "back"), &["writes_closed"], settled(switch_kinds::partial()), deny_source),
        case("T1 of a tenant", ("tgt", "w", "back"), &["writes_closed"], settled(switch_kinds::tenant()), deny_source),
    ]
}
