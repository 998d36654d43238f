//! Topology reads from request bytes to reply bytes, on clusters made of plain data.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use crate::support::{Cluster, NOW, alias, alias_text};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, Flow, Reply,
    proto::{
        topodata::{CellInfo, CellsAlias, Keyspace, Shard, ShardReplication, SrvKeyspace, Tablet, shard_replication::Node},
        vschema,
        vtctldata::*,
        vttime::Time,
    },
    serve,
};

fn call(name: &str, request: &impl Message) -> Call {
    Call { path: format!("/vtctlservice.Vtctld/{name}"), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn reply<M: Message + Default>(cluster: &Cluster, name: &str, request: &impl Message) -> (M, Reply) {
    let (reply, _) = cluster.run(&call(name, request));
    let bytes = reply.result.as_ref().unwrap_or_else(|status| panic!("{name}: {status}"));
    (M::decode(bytes.as_slice()).expect("such a message"), reply)
}

fn ok<M: Message + Default>(cluster: &Cluster, name: &str, request: &impl Message) -> M {
    let (message, reply) = reply(cluster, name, request);
    assert!(reply.failures.is_empty(), "{name}: {:?}", reply.failures);
    message
}

fn error(cluster: &Cluster, name: &str, request: &impl Message) -> String {
    cluster.run(&call(name, request)).0.result.expect_err("an error").message
}

fn strict_error(cluster: &Cluster, name: &str, request: &impl Message) -> String {
    let call = Call { options: CallOptions { strict: true, ..CallOptions::default() }, ..call(name, request) };
    cluster.run(&call).0.result.expect_err("an error").message
}

fn tablet(cell: &str, uid: u32, shard: &str, kind: i32, term: Option<i64>) -> Tablet {
    let mut tablet = Tablet { keyspace: "ks".into(), shard: shard.into(), r#type: kind, ..Tablet::default() };
    tablet.alias = Some(vtflow_planner::proto::topodata::TabletAlias { cell: cell.into(), uid });
    tablet.primary_term_start_time = term.map(|seconds| Time { seconds, nanoseconds: 0 });
    tablet
}

/// Two cells; keyspaces `ks` (-80, 80-) and `other`; tablets 100 (stale primary), 101, 200 in zone1, 300 in zone2.
fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.cell("zone1").cell("zone2");
    let keyspace = Keyspace { sidecar_db_name: "_vt".into(), ..Keyspace::default() };
    cluster.put("global", "keyspaces/ks/Keyspace", &keyspace).put("global", "keyspaces/other/Keyspace", &Keyspace::default());
    cluster.put("global", "keyspaces/ks/VSchema", &vschema::Keyspace { sharded: true, ..vschema::Keyspace::default() });
    for (shard, uid) in [("-80", 101), ("80-", 200)] {
        let record = Shard { primary_alias: Some(alias(uid)), is_primary_serving: true, ..Shard::default() };
        cluster.put("global", &format!("keyspaces/ks/shards/{shard}/Shard"), &record);
        cluster.global(&format!("keyspaces/ks/shards/{shard}/locks/7"), b"{}".to_vec());
    }
    for tablet in [
        tablet("zone1", 100, "-80", 1, Some(10)),
        tablet("zone1", 101, "-80", 1, Some(20)),
        tablet("zone1", 200, "80-", 1, Some(5)),
        tablet("zone2", 300, "80-", 2, None),
    ] {
        let alias = tablet.alias.clone().unwrap();
        cluster.put(&alias.cell, &format!("tablets/{}-{:010}/Tablet", alias.cell, alias.uid), &tablet);
    }
    let nodes = |cell: &str, uids: &[u32]| ShardReplication {
        nodes: uids
            .iter()
            .map(|&uid| Node { tablet_alias: Some(vtflow_planner::proto::topodata::TabletAlias { cell: cell.into(), uid }) })
            .collect(),
    };
    cluster.put("zone1", "keyspaces/ks/shards/-80/ShardReplication", &nodes("zone1", &[100, 101]));
    cluster.put("zone1", "keyspaces/ks/shards/80-/ShardReplication", &nodes("zone1", &[200, 999]));
    cluster.put("zone2", "keyspaces/ks/shards/80-/ShardReplication", &nodes("zone2", &[300]));
    let throttler = vtflow_planner::proto::topodata::ThrottlerConfig { enabled: true, ..Default::default() };
    cluster.put("zone1", "keyspaces/ks/SrvKeyspace", &SrvKeyspace { throttler_config: Some(throttler), ..Default::default() });
    let served =
        vschema::SrvVSchema { keyspaces: BTreeMap::from([("ks".into(), vschema::Keyspace::default())]), ..Default::default() };
    cluster.put("zone1", "SrvVSchema", &served);
    cluster
}

fn types(tablets: &[Tablet]) -> Vec<(String, i32)> {
    tablets.iter().map(|t| (vtflow_planner::topo::names::alias_text(t.alias.as_ref()), t.r#type)).collect()
}

#[test]
fn one_record_is_the_reply() {
    let cluster = cluster();
    let keyspace: GetKeyspaceResponse = ok(&cluster, "GetKeyspace", &GetKeyspaceRequest { keyspace: "ks".into() });
    let keyspace = keyspace.keyspace.unwrap();
    assert_eq!((keyspace.name.as_str(), keyspace.keyspace.unwrap().sidecar_db_name.as_str()), ("ks", "_vt"));
    let shard = GetShardRequest { keyspace: "ks".into(), shard_name: "-80".into() };
    let shard = ok::<GetShardResponse>(&cluster, "GetShard", &shard).shard.unwrap();
    assert_eq!((shard.keyspace.as_str(), shard.name.as_str()), ("ks", "-80"));
    assert_eq!(shard.shard.unwrap().primary_alias, Some(alias(101)));
    let info: GetCellInfoResponse = ok(&cluster, "GetCellInfo", &GetCellInfoRequest { cell: "zone2".into() });
    assert_eq!(info.cell_info, Some(CellInfo { server_address: "etcd:2379".into(), root: "/vitess/zone2".into() }));
    let tablet: GetTabletResponse = ok(&cluster, "GetTablet", &GetTabletRequest { tablet_alias: Some(alias(100)) });
    assert_eq!(tablet.tablet.unwrap().r#type, 1, "a single record is shown as it is");
    let vschema: GetVSchemaResponse = ok(&cluster, "GetVSchema", &GetVSchemaRequest { keyspace: "ks".into() });
    assert!(vschema.v_schema.unwrap().sharded);
    let served: GetSrvVSchemaResponse = ok(&cluster, "GetSrvVSchema", &GetSrvVSchemaRequest { cell: "zone1".into() });
    assert!(served.srv_v_schema.unwrap().keyspaces.contains_key("ks"));
}

#[test]
fn rules_that_are_not_there_are_empty() {
    let mut cluster = cluster();
    assert_eq!(
        ok::<GetRoutingRulesResponse>(&cluster, "GetRoutingRules", &GetRoutingRulesRequest {}).routing_rules,
        Some(vschema::RoutingRules::default())
    );
    let shards: GetShardRoutingRulesResponse = ok(&cluster, "GetShardRoutingRules", &GetShardRoutingRulesRequest {});
    assert_eq!(shards.shard_routing_rules, Some(vschema::ShardRoutingRules::default()));
    let mirror: GetMirrorRulesResponse = ok(&cluster, "GetMirrorRules", &GetMirrorRulesRequest {});
    assert_eq!(mirror.mirror_rules, Some(vschema::MirrorRules::default()));
    let request = GetKeyspaceRoutingRulesRequest {};
    let rules: GetKeyspaceRoutingRulesResponse = ok(&cluster, "GetKeyspaceRoutingRules", &request);
    assert_eq!(rules.keyspace_routing_rules, None);
    cluster.put("global", "routing_rules/keyspace/Rules", &vschema::KeyspaceRoutingRules::default());
    let rules: GetKeyspaceRoutingRulesResponse = ok(&cluster, "GetKeyspaceRoutingRules", &request);
    assert_eq!(rules.keyspace_routing_rules, Some(vschema::KeyspaceRoutingRules::default()), "kept when empty");
    cluster.break_topo("global", "RoutingRules", "deadline exceeded: x");
    assert_eq!(error(&cluster, "GetRoutingRules", &GetRoutingRulesRequest {}), "deadline exceeded: x");
}

#[test]
fn what_does_not_exist_is_named_as_vitess_names_it() {
    let cluster = cluster();
    let shard = |keyspace: &str, shard: &str| GetShardRequest { keyspace: keyspace.into(), shard_name: shard.into() };
    let keyspace = |keyspace: &str| GetKeyspaceRequest { keyspace: keyspace.into() };
    for (got, want) in [
        (error(&cluster, "GetKeyspace", &keyspace("no")), "node doesn't exist: /vitess/global/keyspaces/no/Keyspace"),
        (error(&cluster, "GetKeyspace", &keyspace("")), "GetKeyspace: empty name: empty name"),
        (
            error(&cluster, "GetShard", &shard("ks", "40-60")),
            "node doesn't exist: /vitess/global/keyspaces/ks/shards/40-60/Shard",
        ),
        (error(&cluster, "GetShard", &shard("ks", "-7")), "encoding/hex: odd length hex string"),
        (error(&cluster, "GetShard", &shard("../x", "0")), "invalid character . in name ../x"),
        (
            error(&cluster, "GetCellInfo", &GetCellInfoRequest { cell: "no".into() }),
            "node doesn't exist: /vitess/global/cells/no/CellInfo",
        ),
        (error(&cluster, "GetCellInfo", &GetCellInfoRequest::default()), "cell field is required"),
        (
            error(&cluster, "GetTablet", &GetTabletRequest { tablet_alias: Some(alias(999)) }),
            "node doesn't exist: /vitess/zone1/tablets/zone1-0000000999/Tablet",
        ),
        (error(&cluster, "GetTablet", &GetTabletRequest::default()), "tablet_alias is required"),
        (
            error(&cluster, "GetSrvVSchema", &GetSrvVSchemaRequest { cell: "no".into() }),
            "node doesn't exist: /vitess/global/cells/no/CellInfo",
        ),
        (
            error(&cluster, "GetVSchema", &GetVSchemaRequest { keyspace: "other".into() }),
            "node doesn't exist: /vitess/global/keyspaces/other/VSchema",
        ),
        (
            error(&cluster, "FindAllShardsInKeyspace", &FindAllShardsInKeyspaceRequest { keyspace: "no".into() }),
            "FindAllShardsInKeyspace(no): List: node doesn't exist: /vitess/global/keyspaces/no/shards",
        ),
        (
            error(&cluster, "GetTablets", &GetTabletsRequest { keyspace: "no".into(), shard: "0".into(), ..Default::default() }),
            "GetTabletMapForShard(no, 0) failed: node doesn't exist: /vitess/global/keyspaces/no/shards/0/Shard",
        ),
    ] {
        assert_eq!(got, want);
    }
}

#[test]
fn names_that_leave_their_directory_are_never_read() {
    let cluster = cluster();
    let bad = "../x".to_owned();
    for call in [
        call("GetKeyspace", &GetKeyspaceRequest { keyspace: bad.clone() }),
        call("GetVSchema", &GetVSchemaRequest { keyspace: bad.clone() }),
        call("FindAllShardsInKeyspace", &FindAllShardsInKeyspaceRequest { keyspace: bad.clone() }),
        call("FindAllShardsInKeyspace", &FindAllShardsInKeyspaceRequest { keyspace: "`../x`".into() }),
        call("GetSrvKeyspaces", &GetSrvKeyspacesRequest { keyspace: bad.clone(), cells: vec![] }),
        call("GetSrvKeyspaces", &GetSrvKeyspacesRequest { keyspace: "ks".into(), cells: vec![bad.clone()] }),
        call("GetSrvKeyspaceNames", &GetSrvKeyspaceNamesRequest { cells: vec![bad.clone()] }),
        call("GetSrvVSchema", &GetSrvVSchemaRequest { cell: bad.clone() }),
        call("GetSrvVSchemas", &GetSrvVSchemasRequest { cells: vec![bad.clone()] }),
        call("GetCellInfo", &GetCellInfoRequest { cell: "..".into() }),
        call("GetTablets", &GetTabletsRequest { cells: vec![bad.clone()], ..Default::default() }),
        call("GetTablets", &GetTabletsRequest { keyspace: bad.clone(), shard: "0".into(), ..Default::default() }),
        call("GetTablets", &GetTabletsRequest { keyspace: "ks".into(), shard: bad, ..Default::default() }),
    ] {
        let (reply, asks) = cluster.run(&call);
        assert!(asks.is_empty() && reply.result.is_err(), "{}", call.path);
    }
}

#[test]
fn fields_of_later_releases_reach_the_client() {
    let mut cluster = cluster();
    // Field 99, a string.
    let future = [&[0x9a, 0x06, 3][..], b"new"].concat();
    let mut stored = cluster.topo[&("zone1".into(), format!("tablets/{}/Tablet", alias_text(100)))].clone();
    stored.extend_from_slice(&future);
    cluster.topo.insert(("zone1".into(), format!("tablets/{}/Tablet", alias_text(100))), stored.clone());
    cluster.global("keyspaces/ks/Keyspace", future.clone());
    cluster.global("keyspaces/ks/shards/-80/Shard", future.clone());
    cluster.topo.insert(("zone2".into(), "SrvVSchema".into()), future.clone());
    for call in [
        call("GetKeyspace", &GetKeyspaceRequest { keyspace: "ks".into() }),
        call("GetKeyspaces", &GetKeyspacesRequest {}),
        call("FindAllShardsInKeyspace", &FindAllShardsInKeyspaceRequest { keyspace: "ks".into() }),
        call("GetTablets", &GetTabletsRequest::default()),
        call("GetTablet", &GetTabletRequest { tablet_alias: Some(alias(100)) }),
        call("GetSrvVSchemas", &GetSrvVSchemasRequest::default()),
    ] {
        let bytes = cluster.run(&call).0.result.unwrap();
        assert!(bytes.windows(future.len()).any(|window| window == future), "{}", call.path);
    }
}

#[test]
fn shards_and_keyspaces_are_those_with_records() {
    let mut cluster = cluster();
    let request = FindAllShardsInKeyspaceRequest { keyspace: "ks".into() };
    cluster.global("keyspaces/ks/shards/c0-/locks/7", b"{}".to_vec());
    let shards: FindAllShardsInKeyspaceResponse = ok(&cluster, "FindAllShardsInKeyspace", &request);
    assert_eq!(shards.shards.keys().collect::<Vec<_>>(), ["-80", "80-"], "c0- has a lock only");
    assert_eq!(shards.shards["80-"].shard.as_ref().unwrap().primary_alias, Some(alias(200)));
    let quoted = FindAllShardsInKeyspaceRequest { keyspace: "`ks`".into() };
    assert_eq!(ok::<FindAllShardsInKeyspaceResponse>(&cluster, "FindAllShardsInKeyspace", &quoted).shards, shards.shards);
    let empty = FindAllShardsInKeyspaceRequest { keyspace: "other".into() };
    assert!(ok::<FindAllShardsInKeyspaceResponse>(&cluster, "FindAllShardsInKeyspace", &empty).shards.is_empty());
    cluster.global("keyspaces/ks/shards/80-/Shard", vec![0xff]);
    let text = error(&cluster, "FindAllShardsInKeyspace", &request);
    assert!(
        text.starts_with(
            "FindAllShardsInKeyspace(ks): invalid data found for shard \"80-\" in \"keyspaces/ks/shards/80-/Shard\": "
        ),
        "{text}"
    );

    cluster.put("global", "keyspaces/ks-1/Keyspace", &Keyspace::default());
    let keyspaces: GetKeyspacesResponse = ok(&cluster, "GetKeyspaces", &GetKeyspacesRequest {});
    let names = |reply: &GetKeyspacesResponse| reply.keyspaces.iter().map(|k| k.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&keyspaces), ["ks-1", "ks", "other"], "as etcd and consul list them");
    // A lock on a keyspace that was never made, and a record that is none.
    cluster.global("keyspaces/ghost/locks/1", b"{}".to_vec());
    cluster.global("keyspaces/broken/Keyspace", vec![0xff]);
    let (rest, with_ghost) = reply::<GetKeyspacesResponse>(&cluster, "GetKeyspaces", &GetKeyspacesRequest {});
    assert_eq!(names(&rest), ["ks-1", "ks", "other"]);
    let messages: Vec<_> = with_ghost.failures.iter().map(|f| f.message.as_str()).collect();
    assert!(messages[0].starts_with("bad keyspace data: ") && messages[1] == "node doesn't exist: keyspaces/ghost/Keyspace");
    assert!(strict_error(&cluster, "GetKeyspaces", &GetKeyspacesRequest {}).contains("ghost: node doesn't exist"));
    // One that is listed and cannot be read costs itself only.
    cluster.break_topo("global", "keyspaces/ks/Keyspace", "deadline exceeded: keyspaces/ks/Keyspace");
    let (rest, lacking) = reply::<GetKeyspacesResponse>(&cluster, "GetKeyspaces", &GetKeyspacesRequest {});
    assert_eq!(names(&rest), ["ks-1", "other"]);
    let of_ks = lacking.failures.iter().find(|failure| failure.keyspace == "ks").unwrap();
    assert_eq!(of_ks.message, "deadline exceeded: keyspaces/ks/Keyspace");
}

#[test]
fn cells_and_aliases() {
    let mut cluster = cluster();
    let names: GetCellInfoNamesResponse = ok(&cluster, "GetCellInfoNames", &GetCellInfoNamesRequest {});
    assert_eq!(names.names, ["zone1", "zone2"]);
    assert!(ok::<GetCellsAliasesResponse>(&cluster, "GetCellsAliases", &GetCellsAliasesRequest {}).aliases.is_empty());
    let alias = CellsAlias { cells: vec!["zone1".into(), "zone2".into()] };
    cluster.put("global", "cells_aliases/all/CellsAlias", &alias);
    let aliases: GetCellsAliasesResponse = ok(&cluster, "GetCellsAliases", &GetCellsAliasesRequest {});
    assert_eq!(aliases.aliases, BTreeMap::from([("all".into(), alias)]));
    let none = Cluster::default();
    assert!(ok::<GetCellInfoNamesResponse>(&none, "GetCellInfoNames", &GetCellInfoNamesRequest {}).names.is_empty());
    assert!(ok::<GetKeyspacesResponse>(&none, "GetKeyspaces", &GetKeyspacesRequest {}).keyspaces.is_empty());
}

#[test]
fn what_each_cell_serves() {
    let mut cluster = cluster();
    let served =
        |cells: &[&str]| GetSrvKeyspacesRequest { keyspace: "ks".into(), cells: cells.iter().map(|&cell| cell.into()).collect() };
    let all: GetSrvKeyspacesResponse = ok(&cluster, "GetSrvKeyspaces", &served(&[]));
    assert!(all.srv_keyspaces["zone1"].throttler_config.is_some());
    assert_eq!(all.srv_keyspaces["zone2"], SrvKeyspace::default(), "a cell without the record has an empty one");
    let some: GetSrvKeyspacesResponse = ok(&cluster, "GetSrvKeyspaces", &served(&["zone1", "nosuch", "zone1"]));
    assert_eq!(some.srv_keyspaces.keys().collect::<Vec<_>>(), ["nosuch", "zone1"]);

    let names: GetSrvKeyspaceNamesResponse = ok(&cluster, "GetSrvKeyspaceNames", &GetSrvKeyspaceNamesRequest::default());
    assert_eq!(names.names["zone1"].names, ["ks"]);
    let no_such = GetSrvKeyspaceNamesRequest { cells: vec!["nosuch".into()] };
    assert_eq!(error(&cluster, "GetSrvKeyspaceNames", &no_such), "node doesn't exist: /vitess/global/cells/nosuch/CellInfo");
    assert_eq!(
        error(&Cluster::default(), "GetSrvKeyspaceNames", &GetSrvKeyspaceNamesRequest::default()),
        "node doesn't exist: /vitess/global/cells/"
    );

    let request = GetSrvVSchemasRequest { cells: vec!["zone1".into(), "nosuch".into()] };
    let schemas: GetSrvVSchemasResponse = ok(&cluster, "GetSrvVSchemas", &request);
    assert_eq!(schemas.srv_v_schemas.keys().collect::<Vec<_>>(), ["zone1"], "cells that do not exist are left out");

    // One cell of two is down: the other's part is still there.
    cluster.break_topo("zone2", "keyspaces/ks/SrvKeyspace", "deadline exceeded: /vitess/zone2/keyspaces/ks/SrvKeyspace");
    let (rest, with_failure) = reply::<GetSrvKeyspacesResponse>(&cluster, "GetSrvKeyspaces", &served(&[]));
    assert_eq!(rest.srv_keyspaces.keys().collect::<Vec<_>>(), ["zone1"]);
    assert_eq!(with_failure.failures[0].message, "deadline exceeded: /vitess/zone2/keyspaces/ks/SrvKeyspace");
    assert!(error(&cluster, "GetSrvKeyspaces", &served(&["zone2"])).starts_with("deadline exceeded"), "nothing is known");
    assert!(strict_error(&cluster, "GetSrvKeyspaces", &served(&[])).contains("deadline exceeded"));
}

#[test]
fn tablets_of_cells_are_filtered_and_sorted() {
    let cluster = cluster();
    let ask = |request: &GetTabletsRequest| types(&ok::<GetTabletsResponse>(&cluster, "GetTablets", request).tablets);
    let all = ask(&GetTabletsRequest::default());
    let want = [("zone1-0000000100", 0), ("zone1-0000000101", 1), ("zone1-0000000200", 1), ("zone2-0000000300", 2)];
    assert_eq!(all, want.map(|(alias, kind)| (alias.to_owned(), kind)), "the older primary of -80 is UNKNOWN");
    let aliases = |list: Vec<(String, i32)>| list.into_iter().map(|(alias, _)| alias).collect::<Vec<_>>();
    let primaries = GetTabletsRequest { tablet_type: 1, ..Default::default() };
    assert_eq!(aliases(ask(&primaries)), ["zone1-0000000100", "zone1-0000000101", "zone1-0000000200"], "by the recorded type");
    let zone2 = GetTabletsRequest { cells: vec!["zone2".into()], ..Default::default() };
    assert_eq!(aliases(ask(&zone2)), ["zone2-0000000300"]);
    assert!(ask(&GetTabletsRequest { keyspace: "other".into(), ..Default::default() }).is_empty());
    assert_eq!(ask(&GetTabletsRequest { keyspace: "ks".into(), ..Default::default() }).len(), 4);
}

#[test]
fn tablets_of_a_shard_are_those_of_its_replication_records() {
    let mut cluster = cluster();
    let request = GetTabletsRequest { keyspace: "ks".into(), shard: "80-".into(), ..Default::default() };
    let tablets = types(&ok::<GetTabletsResponse>(&cluster, "GetTablets", &request).tablets);
    assert_eq!(tablets, [("zone1-0000000200".into(), 1), ("zone2-0000000300".into(), 2)], "999 has no record");
    cluster.break_topo("zone2", "keyspaces/ks/shards/80-/ShardReplication", "etcd is gone");
    let (rest, with_failure) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &request);
    assert_eq!(rest.tablets.len(), 1);
    assert_eq!(with_failure.failures[0].message, "GetShardReplication(zone2, ks, 80-) failed: etcd is gone");
}

#[test]
fn tablets_by_alias() {
    let mut cluster = cluster();
    let by_alias = |uids: &[u32], strict| GetTabletsRequest {
        tablet_aliases: uids.iter().map(|&uid| alias(uid)).collect(),
        strict,
        ..Default::default()
    };
    let found: GetTabletsResponse = ok(&cluster, "GetTablets", &by_alias(&[101, 200, 999, 101], true));
    // vtctld says that 200 is UNKNOWN: it compares it with the primary of another shard.
    assert_eq!(types(&found.tablets), [("zone1-0000000101".into(), 1), ("zone1-0000000200".into(), 1)]);
    cluster.break_topo("zone1", &format!("tablets/{}/Tablet", alias_text(200)), "etcd is gone");
    let (rest, with_failure) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &by_alias(&[101, 200], false));
    assert_eq!((rest.tablets.len(), with_failure.failures[0].tablet.as_str()), (1, "zone1-0000000200"));
    assert_eq!(error(&cluster, "GetTablets", &by_alias(&[101, 200], true)), "zone1-0000000200: etcd is gone");
    assert_eq!(error(&cluster, "GetTablets", &by_alias(&[200], false)), "etcd is gone", "not an empty list");
}

/// A record that says PRIMARY is taken at its word only if its shard's record does not name another one.
#[test]
fn a_primary_that_its_shard_does_not_name_is_unknown() {
    let mut cluster = cluster();
    let since = |seconds| Some(Time { seconds, nanoseconds: 0 });
    for (shard, uid, at) in [("-80", 101, 20), ("80-", 200, 5)] {
        let record = Shard { primary_alias: Some(alias(uid)), primary_term_start_time: since(at), ..Shard::default() };
        cluster.put("global", &format!("keyspaces/ks/shards/{shard}/Shard"), &record);
    }
    // The shard's primary is in another cell than the one that is looked at.
    cluster.put("zone2", "tablets/zone2-0000000301/Tablet", &tablet("zone2", 301, "80-", 1, Some(3)));
    let by_alias = |cell: &str, uid| GetTabletsRequest {
        tablet_aliases: vec![vtflow_planner::proto::topodata::TabletAlias { cell: cell.into(), uid }],
        ..Default::default()
    };
    let kind = |cluster: &Cluster, cell: &str, uid| {
        ok::<GetTabletsResponse>(cluster, "GetTablets", &by_alias(cell, uid)).tablets[0].r#type
    };
    assert_eq!((kind(&cluster, "zone1", 100), kind(&cluster, "zone1", 101)), (0, 1), "by alias alone");
    assert_eq!((kind(&cluster, "zone2", 301), kind(&cluster, "zone2", 300)), (0, 2));
    let in_cell = GetTabletsRequest { cells: vec!["zone2".into()], ..Default::default() };
    let listed: GetTabletsResponse = ok(&cluster, "GetTablets", &in_cell);
    assert_eq!(types(&listed.tablets), [("zone2-0000000300".into(), 2), ("zone2-0000000301".into(), 0)], "by cell");
    // A reparent under way: the tablet says so before its shard's record does.
    cluster.put("zone2", "tablets/zone2-0000000301/Tablet", &tablet("zone2", 301, "80-", 1, Some(9)));
    assert_eq!(kind(&cluster, "zone2", 301), 1);
    // Nobody can tell.
    cluster.break_topo("global", "keyspaces/ks/shards/-80/Shard", "etcd is gone");
    let (found, said) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &by_alias("zone1", 101));
    assert_eq!((found.tablets[0].r#type, said.failures.len()), (0, 1));
    let failure = &said.failures[0];
    let text = "which tablet is its primary is not known: etcd is gone";
    assert_eq!((failure.keyspace.as_str(), failure.shard.as_str(), failure.message.as_str()), ("ks", "-80", text));
    crate::support::same_in_every_order(&cluster, &call("GetTablets", &by_alias("zone1", 101)));
    crate::support::same_in_every_order(&cluster, &call("GetTablets", &in_cell));
}

#[test]
fn a_cell_that_does_not_answer_is_named() {
    let mut cluster = cluster();
    let request = GetTabletsRequest { cells: vec!["zone1".into(), "nosuch".into()], ..Default::default() };
    let (rest, with_failure) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &request);
    assert_eq!(rest.tablets.len(), 3);
    let text = "GetTabletsByCell(nosuch) failed: node doesn't exist: /vitess/global/cells/nosuch/CellInfo";
    assert_eq!(with_failure.failures[0].message, text);
    let none = GetTabletsRequest { cells: vec!["nosuch".into()], ..Default::default() };
    assert_eq!(error(&cluster, "GetTablets", &none), text);
    let strict = GetTabletsRequest { strict: true, ..request };
    assert_eq!(error(&cluster, "GetTablets", &strict), text);
    // One bad record does not hide its cell.
    cluster.topo.insert(("zone1".into(), format!("tablets/{}/Tablet", alias_text(100))), vec![0xff]);
    let (rest, with_failure) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &GetTabletsRequest::default());
    assert_eq!(rest.tablets.len(), 3);
    assert_eq!(with_failure.failures[0].tablet, alias_text(100));
}

#[test]
fn a_path_is_a_record_or_a_directory() {
    let mut cluster = cluster();
    let ask = |path: &str| GetTopologyPathRequest { path: path.into(), ..Default::default() };
    let cell =
        |cluster: &Cluster, path: &str| ok::<GetTopologyPathResponse>(cluster, "GetTopologyPath", &ask(path)).cell.unwrap();
    for (path, name, children) in [
        ("/", "", vec!["global", "zone1", "zone2"]),
        ("/global", "global", vec!["cells", "keyspaces"]),
        ("/zone1", "zone1", vec!["SrvVSchema", "keyspaces", "tablets"]),
        ("/global/keyspaces/ks", "ks", vec!["Keyspace", "VSchema", "shards"]),
        ("/zone2/tablets", "tablets", vec!["zone2-0000000300"]),
        ("/zone2/tablets/", "", vec!["zone2-0000000300"]),
    ] {
        let shown = cell(&cluster, path);
        assert_eq!((shown.name.as_str(), shown.path.as_str(), shown.data.as_str()), (name, path, ""));
        assert_eq!(shown.children, children, "{path}");
    }
    let record = cell(&cluster, "/global/keyspaces/ks/Keyspace");
    assert_eq!((record.data.as_str(), record.version), ("sidecar_db_name:\"_vt\"", 1));
    let as_json = GetTopologyPathRequest { as_json: true, ..ask("/global/keyspaces/ks/Keyspace") };
    let record = ok::<GetTopologyPathResponse>(&cluster, "GetTopologyPath", &as_json).cell.unwrap();
    assert_eq!(record.data, "{\n  \"sidecar_db_name\": \"_vt\"\n}");

    let old = GetTopologyPathRequest { version: 7, ..ask("/global/keyspaces/ks/Keyspace") };
    cluster.global("keyspaces/bad/Keyspace", vec![0xff]);
    cluster.break_topo("zone2", "SrvVSchema", "deadline exceeded: x");
    for (request, want) in [
        (
            ask("/global/nosuch"),
            "cell global with path /global/nosuch has no file contents and no children: node doesn't exist: /vitess/global/nosuch/",
        ),
        (ask("/nosuch/x"), "error fetching connection to cell nosuch: node doesn't exist: /vitess/global/cells/nosuch/CellInfo"),
        (ask("/nosuch"), "error fetching connection to cell nosuch: node doesn't exist: /vitess/global/cells/nosuch/CellInfo"),
        (ask("/zone2/SrvVSchema"), "deadline exceeded: x"),
        (ask("/zone2"), "deadline exceeded: x"),
        (ask("global"), "invalid path: global"),
        (ask("/global/../x"), "invalid path: /global/../x"),
        (ask("/../x"), "cell \"..\" cannot exist: invalid character . in name .."),
        (
            ask("/global/keyspaces/bad/Keyspace"),
            "error decoding file content for cell /global/keyspaces/bad/Keyspace: unexpected EOF",
        ),
        (old, "version 7 of /global/keyspaces/ks/Keyspace cannot be read, only the current one, 1"),
    ] {
        assert_eq!(error(&cluster, "GetTopologyPath", &request), want);
    }
}

/// One request of every kind.
fn every_call() -> Vec<Call> {
    let keyspace = "ks".to_owned();
    let shard = "80-".to_owned();
    vec![
        call("FindAllShardsInKeyspace", &FindAllShardsInKeyspaceRequest { keyspace: keyspace.clone() }),
        call("FindAllShardsInKeyspace", &FindAllShardsInKeyspaceRequest { keyspace: "other".into() }),
        call("GetCellInfo", &GetCellInfoRequest { cell: "zone1".into() }),
        call("GetCellInfoNames", &GetCellInfoNamesRequest {}),
        call("GetCellsAliases", &GetCellsAliasesRequest {}),
        call("GetKeyspace", &GetKeyspaceRequest { keyspace: keyspace.clone() }),
        call("GetKeyspaceRoutingRules", &GetKeyspaceRoutingRulesRequest {}),
        call("GetKeyspaces", &GetKeyspacesRequest {}),
        call("GetMirrorRules", &GetMirrorRulesRequest {}),
        call("GetRoutingRules", &GetRoutingRulesRequest {}),
        call("GetShard", &GetShardRequest { keyspace: keyspace.clone(), shard_name: shard.clone() }),
        call("GetShardRoutingRules", &GetShardRoutingRulesRequest {}),
        call("GetSrvKeyspaceNames", &GetSrvKeyspaceNamesRequest::default()),
        call("GetSrvKeyspaces", &GetSrvKeyspacesRequest { keyspace: keyspace.clone(), cells: vec![] }),
        call("GetSrvVSchema", &GetSrvVSchemaRequest { cell: "zone1".into() }),
        call("GetSrvVSchemas", &GetSrvVSchemasRequest::default()),
        call("GetTablet", &GetTabletRequest { tablet_alias: Some(alias(100)) }),
        call("GetTablets", &GetTabletsRequest { tablet_aliases: vec![alias(100), alias(200)], ..Default::default() }),
        call("GetTablets", &GetTabletsRequest { keyspace: keyspace.clone(), shard, ..Default::default() }),
        call("GetTablets", &GetTabletsRequest::default()),
        call("GetTopologyPath", &GetTopologyPathRequest { path: "/global/keyspaces/ks/Keyspace".into(), ..Default::default() }),
        call("GetTopologyPath", &GetTopologyPathRequest { path: "/zone2".into(), ..Default::default() }),
        call("GetVSchema", &GetVSchemaRequest { keyspace }),
    ]
}

#[test]
fn every_topology_read_is_served() {
    let cluster = cluster();
    let calls = every_call();
    for call in &calls {
        let (reply, asks) = cluster.run(call);
        assert!(reply.result.is_ok() && !asks.is_empty(), "{}: {:?}", call.path, reply.result);
        assert!(asks.iter().all(|ask| ask.round <= 3), "{}", call.path);
        assert!(serve::SERVED.iter().any(|served| served.path == call.path), "{}", call.path);
        let bad = Call { request: vec![0x0a, 0xff], ..call.clone() };
        let text = cluster.run(&bad).0.result.expect_err("no such message").message;
        assert!(text.contains("cannot be decoded"), "{}: {text}", call.path);
    }
}

#[test]
fn replies_do_not_depend_on_the_order_of_answers() {
    let mut runner = TestRunner::new_with_rng(Config::with_cases(256), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut broken = cluster();
    broken.break_topo("zone2", "tablets/", "down").break_topo("zone2", "keyspaces/ks/SrvKeyspace", "down");
    broken.break_topo("global", "cells/", "gone").break_topo("global", "keyspaces/ks/shards/80-/Shard", "gone");
    let whole = cluster();
    for cluster in [&whole, &broken] {
        for call in every_call() {
            let first = cluster.run(&call).0;
            let strategy = prop::collection::vec(0_usize..16, 1..24);
            let outcome = runner.run(&strategy, |picks| {
                let mut picks = picks.into_iter().cycle();
                let reply = cluster.run_in_order(&call, |count| picks.next().unwrap_or(0) % count).0;
                prop_assert_eq!(&reply, &first);
                Ok(())
            });
            outcome.unwrap_or_else(|error| panic!("{}: {error}", call.path));
        }
    }
}

#[test]
fn no_answer_panics() {
    let mut runner = TestRunner::new_with_rng(Config::with_cases(2_000), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let answer = prop_oneof![
        bytes().prop_map(|value| Answer::Found { value, version: 1 }),
        bytes().prop_map(Answer::Called),
        "[a-z/]{0,12}".prop_map(|node| Answer::Missing { node }),
        prop::collection::vec(("(cells|tablets|keyspaces)/[a-z0-9-]{0,4}/(Tablet|Keyspace|CellInfo|x)?", bytes()), 0..4)
            .prop_map(|list| Answer::Range(
                list.into_iter().map(|(path, value)| vtflow_planner::Record { path, value, version: 1 }).collect()
            )),
        Just(crate::support::refused("no")),
    ];
    let calls = every_call();
    let strategy = (0..calls.len(), prop::collection::vec(answer, 1..8), bytes());
    runner
        .run(&strategy, |(index, answers, request)| {
            for request in [calls[index].request.clone(), request] {
                let call = Call { request, ..calls[index].clone() };
                let mut flow = Flow::start(&call, NOW);
                let mut answers = answers.iter().cycle();
                let mut given = 0;
                while flow.reply().is_none() {
                    for ask in flow.asks() {
                        flow.answer(ask.id, answers.next().cloned().unwrap_or(Answer::Called(vec![])));
                        given += 1;
                        prop_assert!(given < 10_000, "no end");
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn names_that_cannot_exist_are_left_out_and_named() {
    let mut cluster = cluster();
    cluster.global("cells/no cell/CellInfo", vec![]);
    let alias = |cell: &str, uid| Some(vtflow_planner::proto::topodata::TabletAlias { cell: cell.into(), uid });
    let nodes =
        ShardReplication { nodes: vec![Node { tablet_alias: alias("../x", 1) }, Node { tablet_alias: alias("zone1", 100) }] };
    cluster.put("zone1", "keyspaces/ks/shards/-80/ShardReplication", &nodes);
    let by_shard = GetTabletsRequest { keyspace: "ks".into(), shard: "-80".into(), ..Default::default() };
    let (found, said) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &by_shard);
    let texts: Vec<&str> = said.failures.iter().map(|failure| failure.message.as_str()).collect();
    assert_eq!(found.tablets.len(), 2);
    assert!(texts[0].starts_with("cell \"no cell\" cannot exist: "), "{texts:?}");
    assert!(texts[1].starts_with("tablet \"../x-0000000001\", which a record of the shard names"), "{texts:?}");
    assert!(strict_error(&cluster, "GetTablets", &by_shard).contains("is in an impossible cell"));
    let (_, said) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &GetTabletsRequest::default());
    assert_eq!(said.failures.len(), 1);
    let (served, said) = reply::<GetSrvKeyspacesResponse>(
        &cluster,
        "GetSrvKeyspaces",
        &GetSrvKeyspacesRequest { keyspace: "ks".into(), cells: vec![] },
    );
    assert_eq!((served.srv_keyspaces.len(), said.failures.len()), (2, 1));
    assert!(said.failures[0].message.starts_with("cell \"no cell\" cannot exist: "));
    // A shard without primary names none.
    cluster.put("global", "keyspaces/ks/shards/-80/Shard", &Shard { primary_alias: alias("", 0), ..Shard::default() });
    let (_, said) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &by_shard);
    assert_eq!(said.failures.len(), 2, "{:?}", said.failures);
}

/// A topology that names cells without end: so many are read, and the others are counted, by name of nobody.
#[test]
fn a_topology_with_very_many_cells_is_read_in_a_thousand_of_them() {
    let mut cluster = cluster();
    for number in 0..3_000 {
        cluster.cell(&format!("zz{number:04}"));
    }
    for (name, request) in [
        ("GetTablets", GetTabletsRequest::default().encode_to_vec()),
        ("GetSrvVSchemas", GetSrvVSchemasRequest::default().encode_to_vec()),
        ("GetSrvKeyspaces", GetSrvKeyspacesRequest { keyspace: "ks".into(), ..Default::default() }.encode_to_vec()),
    ] {
        let path = format!("/vtctlservice.Vtctld/{name}");
        let (reply, asks) = cluster.run(&Call { path, request, options: CallOptions::default() });
        assert!(reply.result.is_ok() && asks.len() < 1_100, "{name}: {} asks", asks.len());
        let told =
            reply.failures.iter().filter(|failure| failure.message.contains("2002 more cells than the 1000 that are read"));
        assert_eq!(told.count(), 1, "{name}: {:?}", reply.failures.first());
    }
    // Who names cells gets those.
    let named = GetSrvVSchemasRequest { cells: vec!["zz2999".into(), "zone1".into()] };
    assert!(reply::<GetSrvVSchemasResponse>(&cluster, "GetSrvVSchemas", &named).1.failures.is_empty());
}

#[test]
fn a_record_that_cannot_be_read_is_named_as_vitess_names_it() {
    let mut cluster = cluster();
    for path in ["keyspaces/ks/Keyspace", "keyspaces/ks/shards/-80/Shard", "keyspaces/ks/VSchema", "cells/zone2/CellInfo"] {
        cluster.global(path, vec![0xff]);
    }
    let keyspace = "ks".to_owned();
    for (got, want) in [
        (error(&cluster, "GetKeyspace", &GetKeyspaceRequest { keyspace: keyspace.clone() }), "bad keyspace data: "),
        (
            error(&cluster, "GetShard", &GetShardRequest { keyspace: keyspace.clone(), shard_name: "-80".into() }),
            "GetShard(ks,-80): bad shard data: ",
        ),
        (error(&cluster, "GetVSchema", &GetVSchemaRequest { keyspace }), "bad vschema data: keyspaces/ks/VSchema: "),
        (
            error(&cluster, "GetCellInfo", &GetCellInfoRequest { cell: "zone2".into() }),
            "the record cells/zone2/CellInfo cannot be read: ",
        ),
    ] {
        let cause = got.strip_prefix(want).unwrap_or_else(|| panic!("{got}"));
        assert!(cause.starts_with("failed to decode Protobuf message: "), "{got}");
    }
}

#[test]
fn a_topology_without_cells_serves_nothing() {
    let cluster = Cluster::default();
    let served = ok::<GetSrvVSchemasResponse>(&cluster, "GetSrvVSchemas", &GetSrvVSchemasRequest::default());
    assert!(served.srv_v_schemas.is_empty());
    let request = GetSrvKeyspacesRequest { keyspace: "ks".into(), cells: vec![] };
    assert!(ok::<GetSrvKeyspacesResponse>(&cluster, "GetSrvKeyspaces", &request).srv_keyspaces.is_empty());
    let text = "node doesn't exist: /vitess/global/cells/";
    assert_eq!(error(&cluster, "GetSrvKeyspaceNames", &GetSrvKeyspaceNamesRequest::default()), text, "as vtctld");
}

/// etcd says of a directory without keys that it has none; another back end may give an empty list.
#[test]
fn an_empty_list_is_no_directory() {
    let mut cluster = cluster();
    cluster.broken_topo.insert(("zone1".into(), "tablets/".into()), Answer::Range(Vec::new()));
    let request = GetTopologyPathRequest { path: "/zone1".into(), ..Default::default() };
    let shown = ok::<GetTopologyPathResponse>(&cluster, "GetTopologyPath", &request).cell.unwrap();
    assert_eq!(shown.children, ["SrvVSchema", "keyspaces"]);
}

#[test]
fn of_two_reasons_the_same_one_is_told_whichever_came_first() {
    let mut cluster = cluster();
    cluster.break_topo("global", "cells/", "gone").break_topo("global", "keyspaces/ks/shards/80-/Shard", "gone");
    let request = GetTabletsRequest { keyspace: "ks".into(), shard: "80-".into(), ..Default::default() };
    let call = call("GetTablets", &request);
    for last_first in [false, true] {
        let (reply, _) = cluster.run_in_order(&call, |waiting| if last_first { waiting - 1 } else { 0 });
        assert_eq!(reply.result.unwrap_err().message, "GetTabletMapForShard(ks, 80-) failed: gone");
    }
}

#[test]
fn what_is_missing_of_a_shard_names_the_shard() {
    let mut cluster = cluster();
    cluster.break_topo("zone2", "keyspaces/ks/shards/80-/ShardReplication", "down");
    let request = GetTabletsRequest { keyspace: "ks".into(), shard: "80-".into(), ..Default::default() };
    let (found, said) = reply::<GetTabletsResponse>(&cluster, "GetTablets", &request);
    assert_eq!(types(&found.tablets), [(alias_text(200), 1)]);
    let failure = &said.failures[0];
    let text = "GetShardReplication(zone2, ks, 80-) failed: down";
    assert_eq!((failure.keyspace.as_str(), failure.shard.as_str(), failure.message.as_str()), ("ks", "80-", text));
}

#[test]
fn tablets_that_are_named_are_shown_whatever_they_belong_to() {
    let mut cluster = cluster();
    let mut other = tablet("zone1", 0, "0", 2, None);
    other.keyspace = "other".into();
    cluster.put("zone1", &format!("tablets/{}/Tablet", alias_text(0)), &other);
    let by_alias = GetTabletsRequest { keyspace: "ks".into(), tablet_aliases: vec![alias(0), alias(0)], ..Default::default() };
    assert_eq!(types(&ok::<GetTabletsResponse>(&cluster, "GetTablets", &by_alias).tablets), [(alias_text(0), 2)]);
    let scan = GetTabletsRequest { keyspace: "other".into(), ..Default::default() };
    assert_eq!(types(&ok::<GetTabletsResponse>(&cluster, "GetTablets", &scan).tablets), [(alias_text(0), 2)]);
}

/// Its shard's record names another primary since the very same moment: a tablet's own word is no newer than that.
#[test]
fn a_term_that_began_with_the_shards_primary_is_no_newer() {
    let mut cluster = cluster();
    let since = |seconds| Some(Time { seconds, nanoseconds: 0 });
    let record = Shard { primary_alias: Some(alias(200)), primary_term_start_time: since(5), ..Shard::default() };
    cluster.put("global", "keyspaces/ks/shards/80-/Shard", &record);
    let request = GetTabletsRequest { cells: vec!["zone2".into()], ..Default::default() };
    for (term, want) in [(4, 0), (5, 0), (6, 1)] {
        cluster.put("zone2", "tablets/zone2-0000000300/Tablet", &tablet("zone2", 300, "80-", 1, Some(term)));
        let found: GetTabletsResponse = ok(&cluster, "GetTablets", &request);
        assert_eq!(types(&found.tablets), [("zone2-0000000300".to_owned(), want)], "{term}");
    }
}
