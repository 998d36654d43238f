//! `Snapshot` from request bytes to reply bytes, on clusters made of plain data: what is kept, and what is left out and named.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use crate::support::{Cluster, NOW, SNAPSHOT_TABLES, alias_text, refused, rows, same_in_every_order, silent};
use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, FailureKind, Flow, Record, Reply, What, limits,
    proto::{
        query::{Field, QueryResult, Row},
        tabletmanagerdata::ExecuteFetchAsDbaResponse,
        topodata::{CellInfo, Tablet, TabletAlias},
        vtflow::{SnapshotRequest, SnapshotResponse},
    },
    rpc,
};

/// What the server says of the tables of its keyspace.
const DESCRIPTION: &str = "information_schema.tables";

fn call(keyspaces: &[&str]) -> Call {
    let request = SnapshotRequest { keyspaces: keyspaces.iter().map(|&name| name.to_owned()).collect(), routing: false };
    Call { path: rpc::SNAPSHOT.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn record(uid: u32, keyspace: &str) -> Tablet {
    Tablet {
        alias: Some(TabletAlias { cell: "zone1".into(), uid }),
        hostname: "127.0.0.1".into(),
        port_map: BTreeMap::from([("grpc".into(), 16_000)]),
        keyspace: keyspace.into(),
        shard: "0".into(),
        ..Tablet::default()
    }
}

fn one_row(columns: &[&str]) -> Answer {
    rows(columns, &[columns.iter().map(|name| Some(format!("of {name}"))).collect()])
}

/// Two tablets with a row in each table, in cell zone1.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.cell("zone1");
    for uid in [100, 200] {
        for table in SNAPSHOT_TABLES {
            cluster.answer(uid, table, one_row(&["id", "message"]));
        }
    }
    cluster
}

fn failures(reply: &Reply) -> Vec<String> {
    reply.failures.iter().map(|failure| format!("{}: {}", failure.place(), failure.message)).collect()
}

fn saved(reply: &Reply) -> SnapshotResponse {
    SnapshotResponse::decode(reply.result.as_ref().unwrap().as_slice()).unwrap()
}

#[test]
fn replies_do_not_depend_on_the_order_of_answers() {
    let mut troubled = cluster();
    troubled.cell("zone2").cell("zone3");
    troubled.break_topo("zone2", "tablets/", "no answer in 5s").break_topo("zone3", "keyspaces/ks/", "another reason");
    troubled.break_topo("global", "RoutingRules", "refused");
    troubled
        .answer(100, "copy_state", refused("one reason"))
        .answer(100, "vdiff", refused("another reason"))
        .answer(100, "vdiff_log", refused("one reason"))
        .answer(100, "vreplication_log", refused("Table doesn't exist (errno 1146)"));
    for table in SNAPSHOT_TABLES {
        troubled.answer(200, table, silent(200));
    }
    // Whichever cell is read first: a tablet that is kept in another cell than its own.
    troubled.put("zone3", &format!("tablets/{}/Tablet", alias_text(100)), &record(100, "ks"));
    let reply = same_in_every_order(&troubled, &call(&["ks"]));
    assert_eq!(
        failures(&reply),
        [
            ": RoutingRules of global: refused",
            ": tablets of cell zone2: no answer in 5s",
            "ks: another reason",
            "ks/-80 zone1-0000000100: _vt.copy_state, _vt.vdiff_log: one reason",
            "ks/-80 zone1-0000000100: _vt.vdiff: another reason",
            "ks/0 zone1-0000000100: the record \"tablets/zone1-0000000100/Tablet\" of cell zone3 is left out: it is kept in cell zone3, \
             which is not the tablet's",
            "ks/80- zone1-0000000200: zone1-0000000200 did not answer in 10s",
        ]
    );
    assert_eq!(saved(&reply).tablets.len(), 1);
    // Pages of which some are too large: the tables of a tablet do not shrink each other's.
    let mut large = cluster();
    let too_large = Answer::Failed { kind: FailureKind::TooLarge, message: "16 MiB".into() };
    large.pages(100, "vreplication", vec![too_large.clone(), one_row(&["id", "message"])]);
    large.pages(100, "vdiff", vec![too_large.clone(), too_large, one_row(&["id", "message"])]);
    let reply = same_in_every_order(&large, &call(&["ks"]));
    assert_eq!((failures(&reply).len(), saved(&reply).tablets.len()), (0, 2));
}

#[test]
fn of_several_reasons_all_are_told_whichever_came_last() {
    let mut cluster = cluster();
    cluster.break_topo("global", "cells/", "no answer in 5s");
    let reply = same_in_every_order(&cluster, &call(&["ks", "gone", "lost"]));
    assert_eq!(
        reply.result.unwrap_err().message,
        "no answer in 5s\nnode doesn't exist: /vitess/global/keyspaces/gone/\nnode doesn't exist: /vitess/global/keyspaces/lost/"
    );
}

#[test]
fn what_has_no_name_of_a_tablet_or_a_cell_is_left_out_and_named() {
    let mut cluster = cluster();
    let hostile = [
        "../../x",
        "..",
        "/etc/passwd-0000000001",
        "zone1-0000000100/../zone1-0000000300",
        "zone1-100",
        "ZONE1-0000000100",
        "zone1\\-0000000100",
        "zone1'-0000000100",
        "zone1\0-0000000100",
        "topo",
        &format!("{}-0000000100", "z".repeat(5_000)),
    ];
    for key in hostile {
        cluster.put("zone1", &format!("tablets/{key}/Tablet"), &record(1, "ks"));
    }
    // Of other keyspaces nobody is told.
    cluster.put("zone1", "tablets/../other/Tablet", &record(1, "other"));
    let cell = CellInfo { server_address: "etcd".into(), root: "/".into() };
    for name in ["../x", "a b", "global", "`"] {
        cluster.put("global", &format!("cells/{name}/CellInfo"), &cell);
    }
    let reply = cluster.run(&call(&["ks"])).0;
    let snapshot = saved(&reply);
    let aliases: Vec<&str> = snapshot.tablets.iter().map(|tablet| tablet.alias.as_str()).collect();
    assert_eq!(aliases, [alias_text(100), alias_text(200)]);
    let failures = failures(&reply);
    assert_eq!(failures.len(), hostile.len() + 4, "{failures:#?}");
    for want in [
        "the record \"tablets/../../x/Tablet\" of cell zone1 is left out: invalid tablet alias: '../../x'",
        "the record \"tablets/zone1-100/Tablet\" of cell zone1 is left out: the tablet alias \"zone1-100\" is not written as Vitess does",
        "\"tablets/ZONE1-0000000100/Tablet\" of cell zone1 is left out: it is kept in cell zone1, which is not the tablet's",
        "is left out: the tablet alias \"zzzz",
        "the cell of the record \"cells/../x/CellInfo\" is left out: invalid character",
        "the cell of the record \"cells/global/CellInfo\" is left out: no cell can be called global",
    ] {
        assert!(failures.iter().any(|failure| failure.contains(want)), "{want}: {failures:#?}");
    }
    assert!(failures.iter().all(|failure| failure.len() < 400), "{failures:#?}");
    let kept = snapshot.topo.iter().filter(|record| record.cell == "zone1" && record.path.starts_with("tablets/")).count();
    assert_eq!(kept, 2, "their records too");
}

#[test]
fn a_column_that_has_no_name_of_a_column_is_left_out_and_named() {
    let hostile = "id`, x TEXT); ATTACH '/tmp/x' AS y; --";
    let mut cluster = cluster();
    cluster.answer(100, "vreplication", one_row(&[hostile, "id", "me ssage", "Message", "message", "state"]));
    cluster.answer(100, "vdiff", one_row(&["`", "'"]));
    cluster.answer(100, "vdiff_log", Answer::Called(Vec::new())); // Not what a tablet without rows answers.
    let many: Vec<String> = (0..=limits::SNAPSHOT_COLUMNS).map(|number| format!("c{number}")).collect();
    cluster.answer(100, "copy_state", one_row(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let reply = cluster.run(&call(&["ks"])).0;
    let tablet = saved(&reply).tablets.into_iter().find(|tablet| tablet.alias == alias_text(100)).unwrap();
    let names: Vec<_> = tablet.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(
        names,
        SNAPSHOT_TABLES.into_iter().filter(|name| !["copy_state", "vdiff", "vdiff_log"].contains(name)).collect::<Vec<_>>()
    );
    let columns: Vec<_> = tablet.tables[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["id", "message", "state"], "of two names that differ in case the last one counts");
    assert_eq!(tablet.tables[0].rows[0].values, b"of idof messageof state");
    let failures = failures(&reply);
    for want in [
        "_vt.vreplication: a column is left out: \"id`, x TEXT); ATTACH '/tmp/x' AS y; --\" is no name of a table or column",
        "_vt.vreplication: a column is left out: \"me ssage\" is no name",
        "_vt.vreplication: of the columns Message only the last one is kept",
        "_vt.vdiff: the tablet's answer has no column that can be kept",
        "_vt.vdiff_log: column (result): the answer has no result: not even that there are no rows",
        "_vt.copy_state: it has 201 columns, more than the 200 that a snapshot takes",
    ] {
        assert!(failures.iter().any(|failure| failure.contains(want)), "{want}: {failures:#?}");
    }
}

#[test]
fn a_tablet_that_never_ends_is_cut() {
    // Every page is full.
    let field = Field { name: b"id".to_vec(), r#type: 265, ..Field::default() };
    let page = |rows: usize, bytes: usize| {
        let row = |bytes: usize| Row { lengths: vec![i64::try_from(bytes).unwrap()], values: vec![b'7'; bytes] };
        // The last row has what the others leave over.
        let mut list = vec![row(bytes / rows); rows - 1];
        list.push(row(bytes / rows + bytes % rows));
        let result = QueryResult { fields: vec![field.clone()], rows: list, ..QueryResult::default() };
        Answer::Called(ExecuteFetchAsDbaResponse { result: Some(result) }.encode_to_vec())
    };
    let too_large = Answer::Failed { kind: FailureKind::TooLarge, message: "16 MiB".into() };
    for (pages, statements) in [
        (
            vec![page(limits::SNAPSHOT_PAGE_ROWS, limits::SNAPSHOT_PAGE_ROWS)],
            limits::SNAPSHOT_TABLE_ROWS / limits::SNAPSHOT_PAGE_ROWS,
        ),
        (vec![page(limits::SNAPSHOT_PAGE_ROWS, limits::SNAPSHOT_TABLE_BYTES / 8)], 8),
        ([vec![too_large; 4], vec![page(1, 1)]].concat(), limits::SNAPSHOT_TABLE_STATEMENTS),
    ] {
        let mut cluster = cluster();
        cluster.pages(100, "vreplication_log", pages);
        let (reply, asks) = cluster.run(&call(&["ks"]));
        let sent =
            asks.iter().filter(|ask| crate::support::ask_name(ask) == format!("{} vreplication_log", alias_text(100))).count();
        assert_eq!(sent, statements);
        assert_eq!(failures(&reply).len(), 1);
        assert!(failures(&reply)[0].contains("_vt.vreplication_log: only the first "), "{:?}", failures(&reply));
        let tables = saved(&reply).tablets.remove(0).tables;
        assert!(tables.iter().any(|table| table.name == "vreplication_log" && !table.rows.is_empty()), "the front is kept");
    }
}

fn statements(asks: &[vtflow_planner::Ask], uid: u32, table: &str) -> Vec<String> {
    let statement = |ask: &vtflow_planner::Ask| match &ask.what {
        What::TabletCall { tablet, about, .. } if tablet.alias == alias_text(uid) && about.subject == table => {
            Some(about.statement.clone())
        }
        _ => None,
    };
    asks.iter().filter_map(statement).collect()
}

fn ids(range: std::ops::Range<usize>) -> Answer {
    rows(&["#id", "message"], &range.map(|id| vec![Some(id.to_string()), None]).collect::<Vec<_>>())
}

#[test]
fn a_table_is_read_page_after_page_and_a_null_stays_one() {
    let size = limits::SNAPSHOT_PAGE_ROWS;
    let mut cluster = cluster();
    let too_large = Answer::Failed { kind: FailureKind::TooLarge, message: "16 MiB".into() };
    cluster.pages(100, "vreplication", vec![ids(0..size), ids(size..2 * size), ids(0..1)]);
    cluster.pages(100, "vdiff", vec![ids(0..size), too_large, ids(0..3)]);
    let (reply, asks) = cluster.run(&call(&["ks"]));
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let page = |table: &str, from: usize, rows: usize| format!("select * from _vt.{table} order by 1, 2 limit {from}, {rows}");
    assert_eq!(
        statements(&asks, 100, "vreplication"),
        [page("vreplication", 0, size), page("vreplication", size, size), page("vreplication", 2 * size, size)]
    );
    assert_eq!(
        statements(&asks, 100, "vdiff"),
        [page("vdiff", 0, size), page("vdiff", size, size), page("vdiff", size, size / 8)]
    );
    let tables = saved(&reply).tablets.remove(0).tables;
    let of = |name: &str| tables.iter().find(|table| table.name == name).unwrap();
    let rows = &of("vreplication").rows;
    assert_eq!((rows.len(), of("vdiff").rows.len()), (2 * size + 1, size + 3));
    assert_eq!((rows[size + 7].values.as_slice(), rows[size + 7].lengths.as_slice()), (&b"2007"[..], &[4, -1][..]));
    let kinds: Vec<_> =
        of("vreplication").columns.iter().map(|c| (c.name.as_str(), c.r#type.as_str(), c.nullable, c.integral)).collect();
    assert_eq!(kinds, [("id", "bigint", true, true), ("message", "varbinary(0)", true, false)]);
}

#[test]
fn what_does_not_go_on_as_it_began_is_cut_and_named() {
    let size = limits::SNAPSHOT_PAGE_ROWS;
    let mut cluster = cluster();
    let other: Vec<_> = (0..size).map(|id| vec![Some(id.to_string()), None, None]).collect();
    cluster.pages(100, "vreplication", vec![ids(0..size), rows(&["#id", "message", "more"], &other)]);
    // Its pages shrink to 31 rows, and the last of its 500 statements is answered with one that is too large.
    let too_large = Answer::Failed { kind: FailureKind::TooLarge, message: "16 MiB".into() };
    let pages = [vec![too_large.clone(); 2], vec![ids(0..31); limits::SNAPSHOT_TABLE_STATEMENTS - 3], vec![too_large]].concat();
    cluster.pages(100, "vdiff", pages);
    // As many columns as a snapshot takes.
    let many: Vec<String> = (0..limits::SNAPSHOT_COLUMNS).map(|number| format!("c{number}")).collect();
    cluster.answer(100, "copy_state", one_row(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let (reply, asks) = cluster.run(&call(&["ks"]));
    assert_eq!(statements(&asks, 100, "vdiff").len(), limits::SNAPSHOT_TABLE_STATEMENTS);
    assert_eq!(
        failures(&reply),
        [
            "ks/-80 zone1-0000000100: _vt.vdiff: only the first 15407 rows are kept: 16 MiB",
            "ks/-80 zone1-0000000100: _vt.vreplication: only the first 2000 rows are kept: a later page has other columns than the \
             first one",
        ]
    );
    let tables = saved(&reply).tablets.remove(0).tables;
    let rows = |name: &str| tables.iter().find(|table| table.name == name).map(|table| (table.columns.len(), table.rows.len()));
    assert_eq!((rows("vreplication"), rows("vdiff")), (Some((2, size)), Some((2, 15_407))));
    assert_eq!(rows("copy_state"), Some((limits::SNAPSHOT_COLUMNS, 1)));
}

#[test]
fn records_of_the_keyspaces_and_rules_are_kept_and_locks_are_not() {
    let mut cluster = cluster();
    let record = || CellInfo { server_address: "x".into(), root: String::new() };
    for (cell, path) in [
        ("global", "RoutingRules"),
        ("global", "keyspaces/ks/VSchema"),
        ("global", "keyspaces/ks/locks/1"),
        ("global", "keyspaces/other/Keyspace"),
        ("zone1", "SrvVSchema"),
        ("zone1", "keyspaces/ks/SrvKeyspace"),
    ] {
        cluster.put(cell, path, &record());
    }
    let snapshot = saved(&cluster.run(&call(&["ks"])).0);
    let places: Vec<_> = snapshot.topo.iter().map(|record| (record.cell.as_str(), record.path.as_str())).collect();
    assert_eq!(
        places,
        [
            ("global", "RoutingRules"),
            ("global", "cells/zone1/CellInfo"),
            ("global", "keyspaces/ks/Keyspace"),
            ("global", "keyspaces/ks/VSchema"),
            ("global", "keyspaces/ks/shards/-80/Shard"),
            ("global", "keyspaces/ks/shards/80-/Shard"),
            ("zone1", "SrvVSchema"),
            ("zone1", "keyspaces/ks/SrvKeyspace"),
            ("zone1", "tablets/zone1-0000000100/Tablet"),
            ("zone1", "tablets/zone1-0000000200/Tablet"),
        ]
    );
    let rules = &snapshot.topo[0];
    assert_eq!((rules.version, rules.value.as_slice()), (1, record().encode_to_vec().as_slice()));
}

#[test]
fn a_thousand_cells_are_read_and_the_others_are_counted() {
    for (cells, want) in [(limits::CELLS, None), (limits::CELLS + 3, Some("3 cells are left out: no more than 1000 are read"))] {
        let mut flow = Flow::start(&call(&["ks"]), NOW);
        let listed = flow.asks().into_iter().find(|ask| crate::support::ask_name(ask) == "cells/").unwrap();
        let record = |cell: usize| Record { path: format!("cells/c{cell:04}/CellInfo"), value: vec![], version: 1 };
        flow.answer(listed.id, Answer::Range((0..cells).map(record).collect()));
        let read = flow.asks().iter().filter(|ask| crate::support::ask_name(ask) == "tablets/").count();
        let texts: Vec<String> = flow.failures().into_iter().map(|failure| failure.message).collect();
        assert_eq!((read, texts.first().map(String::as_str), texts.len()), (limits::CELLS, want, want.iter().count()));
    }
}

/// Whoever tries a change of routing on the snapshot makes the cells' routing anew, of all keyspaces.
#[test]
fn where_the_routing_is_wanted_vschemas_and_tablets_of_other_keyspaces_are_kept_and_aliases_of_cells_always() {
    let mut cluster = cluster();
    for place in ["keyspaces/ks/VSchema", "keyspaces/other/VSchema", "keyspaces/other/Keyspace", "cells_aliases/all/CellsAlias"] {
        cluster.put("global", place, &CellInfo { server_address: place.into(), root: String::new() });
    }
    cluster.put("zone1", &format!("tablets/{}/Tablet", alias_text(300)), &record(300, "other"));
    let kept = |routing: bool| -> Vec<String> {
        let request = SnapshotRequest { keyspaces: vec!["ks".into()], routing };
        let call = Call { request: request.encode_to_vec(), ..call(&["ks"]) };
        let reply = same_in_every_order(&cluster, &call);
        assert_eq!(failures(&reply), Vec::<String>::new());
        let own = |ask: &Ask| matches!(&ask.what, What::TopoGet { path, .. } if path == "keyspaces/ks/VSchema");
        assert!(!cluster.run(&call).1.iter().any(own), "it comes with all of its keyspace");
        let of_routing = |path: &String| {
            path.ends_with("VSchema") || path.contains("other") || path.contains("300") || path.ends_with("CellsAlias")
        };
        assert!(saved(&reply).tablets.iter().all(|tablet| !tablet.alias.contains("300")), "nobody asks it for rows");
        saved(&reply).topo.into_iter().map(|record| record.path).filter(of_routing).collect()
    };
    assert_eq!(kept(false), ["cells_aliases/all/CellsAlias", "keyspaces/ks/VSchema"]);
    let other = "tablets/zone1-0000000300/Tablet";
    assert_eq!(kept(true), ["cells_aliases/all/CellsAlias", "keyspaces/ks/VSchema", "keyspaces/other/VSchema", other]);
    cluster.break_topo("global", "keyspaces/other/VSchema", "no answer in 5s");
    let request = SnapshotRequest { keyspaces: vec!["ks".into()], routing: true };
    let reply = same_in_every_order(&cluster, &Call { request: request.encode_to_vec(), ..call(&["ks"]) });
    assert_eq!(failures(&reply), [": keyspaces/other/VSchema of global: no answer in 5s"]);
}

/// Its own records are there without them.
#[test]
fn names_of_keyspaces_and_aliases_that_cannot_be_had_are_named_and_no_reason_to_keep_nothing() {
    let request = SnapshotRequest { keyspaces: vec!["ks".into()], routing: true };
    let call = Call { request: request.encode_to_vec(), ..call(&["ks"]) };
    let mut unread = cluster();
    unread.break_topo("global", "keyspaces/", "no answer in 5s").break_topo("global", "cells_aliases/", "no answer in 6s");
    let reply = same_in_every_order(&unread, &call);
    assert_eq!(failures(&reply), [": aliases of cells: no answer in 6s", ": names of all keyspaces: no answer in 5s"]);
    assert_eq!(saved(&reply).tablets.len(), 2);
    // Of what has no name of a keyspace or of a tablet nothing is kept.
    let mut misnamed = cluster();
    for place in ["keyspaces/../Keyspace", "keyspaces/../VSchema"] {
        misnamed.put("global", place, &CellInfo::default());
    }
    misnamed.put("zone1", "tablets/../other/Tablet", &record(1, "other"));
    let reply = same_in_every_order(&misnamed, &call);
    assert_eq!(failures(&reply).len(), 1, "{:?}", failures(&reply));
    assert!(failures(&reply)[0].starts_with(": the vschema of keyspace \"..\" is left out: "), "{:?}", failures(&reply));
    assert!(saved(&reply).topo.iter().all(|record| !record.path.contains("..")));
}

/// Whoever tries on the snapshot what ends a workflow has to know which tables there are.
#[test]
fn the_names_of_the_keyspaces_tables_are_kept() {
    let columns = ["TABLE_NAME", "TABLE_TYPE", "#TABLE_ROWS", "#DATA_LENGTH"];
    let row = |values: [Option<&str>; 4]| values.map(|value| value.map(str::to_owned)).to_vec();
    let described = rows(
        &columns,
        &[row([Some("corder"), Some("BASE TABLE"), Some("5"), Some("16384")]), row([Some("orders"), Some("VIEW"), None, None])],
    );
    let mut cluster = cluster();
    cluster.answer(100, DESCRIPTION, described).answer(200, DESCRIPTION, refused("no"));
    let (reply, asks) = cluster.run(&call(&["ks"]));
    let size = limits::SNAPSHOT_PAGE_ROWS;
    let statement = format!(
        "select table_name, table_type, table_rows, data_length from information_schema.tables where table_schema = 'vt_ks' order by 1 \
         limit 0, {size}"
    );
    assert_eq!(statements(&asks, 100, DESCRIPTION), [statement]);
    assert_eq!(failures(&reply), ["ks/80- zone1-0000000200: information_schema.tables: no"]);
    let tablets = saved(&reply).tablets;
    let kept = tablets[0].tables.iter().find(|table| table.name == DESCRIPTION).unwrap();
    assert_eq!(
        kept.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        columns.map(|name| name.trim_start_matches('#'))
    );
    let values: Vec<&[u8]> = kept.rows.iter().map(|row| row.values.as_slice()).collect();
    assert_eq!(values, [&b"corderBASE TABLE516384"[..], b"ordersVIEW"]);
    // Without its sidecar tables it is a tablet that has told nothing.
    for table in SNAPSHOT_TABLES.into_iter().filter(|table| *table != DESCRIPTION) {
        cluster.answer(100, table, refused("Table doesn't exist (errno 1146)"));
    }
    assert_eq!(
        saved(&cluster.run(&call(&["ks"])).0).tablets.iter().map(|it| it.alias.clone()).collect::<Vec<_>>(),
        [alias_text(200)]
    );
}
