//! Tests of where traffic goes by the rules.

use super::*;
use crate::proto::{
    topodata::{ShardReference, ShardTabletControl, srv_keyspace::KeyspacePartition},
    vschema::{KeyspaceRoutingRule, RoutingRule, ShardRoutingRule},
    vtctldata::{
        WorkflowOptions,
        workflow::{ReplicationLocation, ShardStream, Stream},
    },
};

fn workflow(name: &str, source: (&str, &[&str]), target: (&str, &[&str])) -> Workflow {
    let side = |(keyspace, shards): (&str, &[&str])| ReplicationLocation {
        keyspace: keyspace.into(),
        shards: shards.iter().map(|&shard| shard.into()).collect(),
    };
    Workflow { name: name.into(), source: Some(side(source)), target: Some(side(target)), ..Workflow::default() }
}

fn moved(workflow: &Workflow) -> TrafficSwitch {
    TrafficSwitch::new(workflow, &BTreeSet::from(["t1".to_owned(), "t2".to_owned()]))
}

fn rules(list: &[(&str, &str)]) -> RoutingRules {
    let rule = |&(from, to): &(&str, &str)| RoutingRule { from_table: from.into(), to_tables: vec![to.into()] };
    RoutingRules { rules: list.iter().map(rule).collect() }
}

/// The same rules everywhere, in two cells.
fn routing(list: &[(&str, &str)]) -> Routing {
    let vschema = SrvVSchema { routing_rules: Some(rules(list)), ..SrvVSchema::default() };
    let serving = Serving { vschema: Ok(vschema), ..Serving::default() };
    let cells = ["zone1", "zone2"].map(|cell| (cell.to_owned(), serving.clone()));
    Routing { tables: Ok(rules(list)), cells: Ok(cells.into()), ..Routing::default() }
}

fn state(moved: &TrafficSwitch, routing: &Routing) -> String {
    moved.state(routing).unwrap_or_else(|unknown| panic!("{unknown:?}"))
}

/// What is not known, a line each.
fn unknown(moved: &TrafficSwitch, routing: &Routing) -> String {
    moved.state(routing).expect_err("not known").into_iter().collect::<Vec<_>>().join("\n")
}

#[test]
fn only_what_decides_has_to_be_known() {
    let down = || "down".to_owned();
    let unserved = Serving { vschema: Err("no SrvVSchema".into()), keyspace: Err("no SrvKeyspace".into()) };
    let of_cells = |serving: &Serving| Routing {
        cells: Ok([("zone1", Serving::default()), ("zone2", serving.clone())].map(|(cell, s)| (cell.to_owned(), s)).into()),
        is_representative_serving: Ok(true),
        ..Routing::default()
    };
    let tables = moved(&workflow("wf1", ("src", &["0"]), ("dst", &["0"])));
    let partial = moved(&workflow("wf1", ("src", &["-80"]), ("dst", &["-80"])));
    let shards = moved(&workflow("wf1", ("ks", &["80-"]), ("ks", &["80-c0", "c0-"])));
    assert_eq!(unknown(&tables, &of_cells(&unserved)), "no SrvVSchema", "one cell of two");
    assert_eq!(unknown(&shards, &of_cells(&unserved)), "no SrvKeyspace");
    assert_eq!(state(&partial, &of_cells(&unserved)), "Reads Not Switched. Writes Not Switched", "cells do not decide");
    assert_eq!(unknown(&partial, &Routing { shards: Err(down()), ..Routing::default() }), "down");
    assert_eq!(
        unknown(&tables, &Routing { tables: Err(down()), cells: Err("no cells".into()), ..Routing::default() }),
        "down\nno cells"
    );
    let others = Routing { shards: Err(down()), keyspaces: Err(down()), ..routing(&[]) };
    assert_eq!(state(&tables, &others), "Reads Not Switched. Writes Not Switched", "rules of other kinds do not decide");
    let unread = Routing { is_representative_serving: Err("no record".into()), ..of_cells(&Serving::default()) };
    assert_eq!(unknown(&shards, &unread), "no record");
    let nothing = moved(&workflow("wf1", ("ks", &[]), ("ks", &["80-c0", "c0-"])));
    assert!(unknown(&nothing, &of_cells(&Serving::default())).contains("are not known"), "no shard is not a switched one");
    assert_eq!((nothing.representative(), shards.representative()), (None, Some(("ks", "80-"))));
    let empty = TrafficSwitch::new(&workflow("wf1", ("src", &["0"]), ("dst", &["0"])), &BTreeSet::new());
    assert_eq!(unknown(&empty, &of_cells(&Serving::default())), "its streams name no tables");
}

#[test]
fn another_sources_shard_rules_are_not_this_workflows() {
    let moves = moved(&workflow("p1", ("src", &["-80"]), ("customer", &["-80"])));
    let rule = |(from, to, shard): (&str, &str, &str)| ShardRoutingRule {
        from_keyspace: from.into(),
        to_keyspace: to.into(),
        shard: shard.into(),
    };
    let state = |list: &[(&str, &str, &str)]| {
        let shards = Ok(ShardRoutingRules { rules: list.iter().copied().map(rule).collect() });
        super::tests::state(&moves, &Routing { shards, ..Routing::default() })
    };
    let (own, other) = (("customer", "src", "-80"), ("src3", "customer", "80-"));
    assert_eq!(state(&[own, other]), "Reads Not Switched. Writes Not Switched");
    assert_eq!(state(&[("src", "customer", "-80"), ("customer", "src3", "80-")]), "All Reads Switched. All Writes Switched");
    assert_eq!(state(&[("src", "elsewhere", "-80")]), "Reads Not Switched. Writes Not Switched");
}

// TR-105, TR-106, TR-107, TR-108, TR-110.
// TR-113.
#[test]
fn tables_by_routing_rules() {
    let moves = moved(&workflow("wf1", ("src", &["0"]), ("dst", &["0"])));
    let back = moved(&workflow("wf1_reverse", ("dst", &["0"]), ("src", &["0"])));
    let replica = ("src.t1@replica", "dst.t1");
    let rdonly = ("src.t1@rdonly", "dst.t1");
    let write = ("src.t1", "dst.t1");
    for (list, want) in [
        (vec![], "Reads Not Switched. Writes Not Switched"),
        (vec![("src.t1@replica", "src.t1"), ("src.t1", "src.t1")], "Reads Not Switched. Writes Not Switched"),
        (vec![replica, rdonly], "All Reads Switched. Writes Not Switched"),
        (vec![write], "Reads Not Switched. Writes Switched"),
        (vec![("src.t2", "dst.t2")], "Reads Not Switched. Writes Switched"),
        (vec![replica, rdonly, write], "All Reads Switched. Writes Switched"),
        (vec![rdonly], "Reads partially switched. Replica not switched. All Rdonly Reads Switched. Writes Not Switched"),
        (vec![("src2.t1", "dst2.t1"), ("src2.t1@replica", "dst2.t1")], "Reads Not Switched. Writes Not Switched"),
    ] {
        assert_eq!(state(&moves, &routing(&list)), want, "{list:?}");
        assert_eq!(state(&back, &routing(&list)), want, "a reverse workflow says the same of {list:?}");
    }
    let mut one_cell = routing(&[replica, rdonly]);
    one_cell.cells.as_mut().unwrap().insert("zone3".into(), Serving::default());
    assert_eq!(
        state(&moves, &one_cell),
        "Reads partially switched. Replica switched in cells: zone1,zone2. Rdonly switched in cells: zone1,zone2. \
         Writes Not Switched"
    );
    assert_eq!(state(&moves, &Routing::default()), "Reads Not Switched. Writes Not Switched", "no cells");
    let lookup = Workflow { workflow_type: "CreateLookupIndex".into(), ..workflow("l", ("src", &["0"]), ("dst", &["0"])) };
    assert_eq!(state(&moved(&lookup), &routing(&[write])), "Reads Not Switched. Writes Not Switched");
}

#[test]
fn tables_that_go_different_ways_are_named() {
    let moves = moved(&workflow("wf1", ("src", &["0"]), ("dst", &["0"])));
    let back = moved(&workflow("wf1_reverse", ("dst", &["0"]), ("src", &["0"])));
    for (list, want) in [
        (vec![], vec![]),
        (vec![("src.t1", "dst.t1"), ("src.t2", "dst.t2")], vec![]),
        (vec![("src.t1", "src.t1"), ("t2", "src.t2")], vec![]),
        (
            vec![("src.t1", "dst.t1"), ("src.t2", "src.t2")],
            vec!["writes go different ways: those of t1 to dst, those of t2 to src"],
        ),
        (vec![("src.t2", "dst.t2")], vec!["writes go different ways: those of t2 to dst, those of t1 to src"]),
        (
            vec![("src.t1@replica", "dst.t1")],
            vec!["reads of replicas go different ways: those of t1 to dst, those of t2 to src (in zone1, zone2)"],
        ),
    ] {
        assert_eq!(moves.splits(&routing(&list)), want, "{list:?}");
        assert_eq!(back.splits(&routing(&list)), want, "{list:?}");
    }
    assert!(moves.splits(&Routing { tables: Err("down".into()), ..routing(&[("src.t1", "dst.t1")]) }).is_empty());
}

// TR-111, TR-112.
#[test]
fn some_shards_by_shard_routing_rules() {
    let moves = moved(&workflow("wf1", ("src", &["-80"]), ("dst", &["-80"])));
    let state = |list: &[(&str, &str)]| {
        let rule = |&(to, shard): &(&str, &str)| ShardRoutingRule {
            from_keyspace: "src".into(),
            to_keyspace: to.into(),
            shard: shard.into(),
        };
        let shards = ShardRoutingRules { rules: list.iter().map(rule).collect() };
        super::tests::state(&moves, &Routing { shards: Ok(shards), ..routing(&[]) })
    };
    assert_eq!(state(&[("src", "-80"), ("src", "80-")]), "Reads Not Switched. Writes Not Switched");
    assert_eq!(state(&[("dst", "-80"), ("dst", "80-")]), "All Reads Switched. All Writes Switched");
    assert_eq!(
        state(&[("dst", "-80"), ("src", "80-")]),
        "Reads partially switched, for shards: -80. Writes partially switched, for shards: -80"
    );
    // The other shard did not answer: the half that did is not the whole move.
    let mut half = workflow("wf1", ("src", &["-80"]), ("dst", &["-80"]));
    half.shard_streams.insert("80-/x".into(), ShardStream { streams: vec![Stream::default()], ..ShardStream::default() });
    assert_eq!(moved(&half).kind, MigrationKind::Tables);
    half.workflow_sub_type = "Partial".into();
    assert_eq!(moved(&half).kind, MigrationKind::Partial);
    for (source, target, want) in [
        (vec!["-80"], vec!["-80"], true),
        (vec!["-80", "80-"], vec!["-80", "80-"], false),
        (vec!["0"], vec!["-80", "80-"], false),
        (vec!["-"], vec!["-"], false),
        (vec!["-40", "40-80"], vec!["-80"], false),
        (vec!["80-c0", "c0-"], vec!["c0-", "80-c0"], true),
    ] {
        let owned = |shards: &[&str]| shards.iter().map(|&shard| shard.to_owned()).collect::<Vec<_>>();
        assert_eq!(is_partial(&owned(&source), &owned(&target)), want, "{source:?} {target:?}");
    }
}

#[test]
fn tenants_by_keyspace_routing_rules() {
    let options = Some(WorkflowOptions { tenant_id: "1".into(), ..WorkflowOptions::default() });
    let moves = moved(&Workflow { options, ..workflow("wf1", ("src", &["0"]), ("dst", &["0"])) });
    let state = |list: &[&str]| {
        let rule = |&from: &&str| KeyspaceRoutingRule { from_keyspace: from.into(), to_keyspace: "dst".into() };
        let keyspaces = KeyspaceRoutingRules { rules: list.iter().map(rule).collect() };
        super::tests::state(&moves, &Routing { keyspaces: Ok(keyspaces), ..routing(&[]) })
    };
    assert_eq!(state(&[]), "Reads Not Switched. Writes Not Switched");
    assert_eq!(state(&["src@rdonly", "src@replica", "src"]), "All Reads Switched. Writes Switched");
    assert_eq!(
        state(&["src@replica"]),
        "Reads partially switched. All Replica Reads Switched. Rdonly not switched. Writes Not Switched"
    );
}

// TR-114.
#[test]
fn shards_by_the_serving_graph() {
    let reshard = moved(&workflow("wf1", ("ks", &["80-"]), ("ks", &["80-c0", "c0-"])));
    assert_eq!(reshard.representative(), Some(("ks", "80-")));
    let reverse = moved(&workflow("wf1_reverse", ("ks", &["80-c0", "c0-"]), ("ks", &["80-"])));
    assert_eq!(reverse.representative(), Some(("ks", "80-")));
    let state = |shards: &[&str], disabled: Option<bool>, is_representative_serving| {
        let partition = |served: TabletType| KeyspacePartition {
            served_type: served.into(),
            shard_references: shards.iter().map(|&name| ShardReference { name: name.into(), key_range: None }).collect(),
            shard_tablet_controls: disabled
                .map(|off| ShardTabletControl { name: "80-".into(), key_range: None, query_service_disabled: off })
                .into_iter()
                .collect(),
        };
        let partitions = vec![partition(TabletType::Replica), partition(TabletType::Rdonly)];
        let keyspace = SrvKeyspace { partitions, ..SrvKeyspace::default() };
        let cells = Ok(BTreeMap::from([("zone1".to_owned(), Serving { keyspace: Ok(keyspace), ..Serving::default() })]));
        let is_representative_serving = Ok(is_representative_serving);
        super::tests::state(&reshard, &Routing { cells, is_representative_serving, ..Routing::default() })
    };
    assert_eq!(state(&["-80", "80-"], None, true), "Reads Not Switched. Writes Not Switched");
    assert_eq!(state(&["-80", "80-"], Some(false), true), "Reads Not Switched. Writes Not Switched");
    assert_eq!(state(&["-80", "80-"], Some(true), true), "All Reads Switched. Writes Not Switched");
    assert_eq!(state(&["-80", "80-c0", "c0-"], None, false), "All Reads Switched. Writes Switched");
    // A keyspace into itself, shard by shard, is no reshard.
    assert_eq!(moved(&workflow("wf1", ("ks", &["0"]), ("ks", &["0"]))).representative(), None);
}

/// Rules of its own tables are another workflow's.
#[test]
fn a_lookup_index_moves_no_traffic() {
    let index = Workflow {
        workflow_type: VReplicationWorkflowType::CreateLookupIndex.as_str_name().into(),
        ..workflow("idx", ("src", &["0"]), ("dst", &["0"]))
    };
    let switched = routing(&[("src.t1", "dst.t1"), ("src.t1@replica", "dst.t1"), ("src.t1@rdonly", "dst.t1")]);
    assert_eq!(state(&moved(&index), &switched), "Reads Not Switched. Writes Not Switched");
    let tables = moved(&workflow("wf", ("src", &["0"]), ("dst", &["0"])));
    assert_eq!(state(&tables, &switched), "All Reads Switched. Writes Switched");
}

/// Of a shard whose queries are off it is not served; a control of another shard says nothing of it.
#[test]
fn a_shard_that_is_served_with_its_queries_off_is_switched() {
    let shards = moved(&workflow("wf1", ("ks", &["80-"]), ("ks", &["80-c0", "c0-"])));
    let control =
        |name: &str, query_service_disabled| ShardTabletControl { name: name.into(), key_range: None, query_service_disabled };
    let state = |controls: &[ShardTabletControl]| {
        let partition = |served: TabletType| KeyspacePartition {
            served_type: served.into(),
            shard_references: vec![ShardReference { name: "80-".into(), key_range: None }],
            shard_tablet_controls: controls.to_vec(),
        };
        let partitions = vec![partition(TabletType::Replica), partition(TabletType::Rdonly)];
        let keyspace = Ok(SrvKeyspace { partitions, ..SrvKeyspace::default() });
        let cells = Ok(BTreeMap::from([("zone1".to_owned(), Serving { keyspace, ..Serving::default() })]));
        super::tests::state(&shards, &Routing { cells, is_representative_serving: Ok(true), ..Routing::default() })
    };
    let (on, off) = ("Reads Not Switched. Writes Not Switched", "All Reads Switched. Writes Not Switched");
    for (controls, want) in [
        (&[][..], on),
        (&[control("80-", false), control("80-c0", true)], on),
        (&[control("80-c0", false), control("80-", true)], off),
        (&[control("80-c0", false)], off),
    ] {
        assert_eq!(state(controls), want, "{controls:?}");
    }
}

#[test]
fn each_type_of_tablet_is_read_where_its_own_partition_says() {
    let shards = moved(&workflow("wf1", ("ks", &["80-"]), ("ks", &["80-c0", "c0-"])));
    let partition = |served: TabletType, shard: &str| KeyspacePartition {
        served_type: served.into(),
        shard_references: vec![ShardReference { name: shard.into(), key_range: None }],
        shard_tablet_controls: vec![],
    };
    let partitions = vec![partition(TabletType::Rdonly, "80-c0"), partition(TabletType::Replica, "80-")];
    let keyspace = Ok(SrvKeyspace { partitions, ..SrvKeyspace::default() });
    let cells = Ok(BTreeMap::from([("zone1".to_owned(), Serving { keyspace, ..Serving::default() })]));
    let routing = Routing { cells, is_representative_serving: Ok(true), ..Routing::default() };
    let want = "Reads partially switched. Replica not switched. All Rdonly Reads Switched. Writes Not Switched";
    assert_eq!(state(&shards, &routing), want);
}
