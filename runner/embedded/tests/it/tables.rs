//! The tables of a keyspace on an embedded tablet: dropped, renamed and described as a tablet of v24 has answered to a vtctld.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use prost::Message;
use vtflow_embedded::{
    Shape, Snapshot, TableSize, generate,
    in_place::{InPlace, NoAnswer},
};
use vtflow_planner::{
    Timestamp,
    proto::{query::QueryResult, tabletmanagerdata as data},
    rpc,
};

const SOURCE: &str = "zone1-0000000100";

fn size(table: &str, is_view: bool) -> TableSize {
    let (rows, bytes) = if is_view { (0, 0) } else { (3, 16_384) };
    TableSize { database: "vt_commerce".into(), table: table.into(), rows, bytes, is_view }
}

/// A tablet with two tables and a view.
fn tablet() -> InPlace {
    let mut snapshot: Snapshot = generate(Shape { shards: 2, streams: 2, ..Shape::default() }, Timestamp::default());
    snapshot.tablets.get_mut(SOURCE).unwrap().table_sizes =
        vec![size("corder", false), size("customer", false), size("orders", true)];
    InPlace::new(Arc::new(snapshot))
}

/// As a vtctld sends it, and vtflow.
fn fetch(tablet: &mut InPlace, query: &str) -> Result<QueryResult, String> {
    let request = data::ExecuteFetchAsDbaRequest {
        query: query.into(),
        db_name: "vt_commerce".into(),
        max_rows: 100,
        reload_schema: true,
        disable_foreign_key_checks: true,
        ..data::ExecuteFetchAsDbaRequest::default()
    };
    match tablet.answer(SOURCE, rpc::EXECUTE_FETCH_AS_DBA, &request.encode_to_vec()) {
        Ok(bytes) => Ok(data::ExecuteFetchAsDbaResponse::decode(bytes).unwrap().result.expect("a result, if an empty one")),
        Err(NoAnswer::Status(status)) => Err(status.message().to_owned()),
        Err(NoAnswer::Down(why)) => panic!("{why}"),
    }
}

/// As a real vtctld got them from MySQL 9.7: no ORDER BY, and the row of `orders` before the newer one of `big`.
#[test]
fn rows_of_one_table_come_by_their_primary_key() {
    let tablet = &mut tablet();
    let insert = "insert into _vt.copy_state (id, vrepl_id, table_name, lastpk) values \
                  (901, 7, 'big', null), (902, 7, 'orders', null), (910, 7, 'big', 'x')";
    fetch(tablet, insert).unwrap();
    let newest = "select id, table_name from _vt.copy_state where vrepl_id in (7) and id in (select max(id) from _vt.copy_state \
                  where vrepl_id in (7) group by vrepl_id, table_name)";
    let mut read = |sql: &str| {
        let rows = fetch(tablet, sql).unwrap().rows;
        rows.iter().map(|row| String::from_utf8_lossy(&row.values).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(read(newest), ["902orders", "910big"]);
    assert_eq!(read("select id, table_name from _vt.copy_state where vrepl_id = 7"), ["901big", "902orders", "910big"]);
}

#[test]
fn a_tablet_says_which_binary_logs_it_has_no_more() {
    let purged = "65b309ae-eb92-11f1-97ea-02fc00000001:1-7,\n6e3175aa-eb92-11f1-84af-02fc00000001:1-3";
    for (statement, want) in [
        ("select @@global.gtid_purged", Ok(("@@global.gtid_purged", purged))),
        ("SELECT @@GLOBAL.GTID_PURGED as gone", Ok(("gone", purged))),
        ("select @@gtid_purged", Ok(("@@gtid_purged", purged))),
        ("select @@session.gtid_purged", Err("Variable 'gtid_purged' is a GLOBAL variable (errno 1238) (sqlstate HY000)")),
        ("select @@global.gtid_owned", Err("Unknown system variable 'gtid_owned' (errno 1193) (sqlstate HY000)")),
        ("select `@@global`.`gtid_purged`", Err("Unknown column '@@global.gtid_purged' in 'field list' (errno 1054)")),
    ] {
        let mut snapshot: Snapshot = generate(Shape { shards: 2, streams: 2, ..Shape::default() }, Timestamp::default());
        snapshot.tablets.get_mut(SOURCE).unwrap().gtid_purged = purged.into();
        let told = fetch(&mut InPlace::new(Arc::new(snapshot)), statement);
        match (told, want) {
            (Ok(result), Ok((name, value))) => {
                assert_eq!(
                    result.fields.iter().map(|field| (field.name.as_slice(), field.r#type)).collect::<Vec<_>>(),
                    [(name.as_bytes(), 6165)]
                );
                assert_eq!((result.rows.len(), result.rows[0].values.as_slice()), (1, value.as_bytes()), "{statement}");
            }
            (Err(told), Err(want)) => assert!(told.contains(want), "{told}"),
            (told, _) => panic!("{statement}: {told:?}"),
        }
    }
    // One of which nothing is known has all of them.
    let all = fetch(&mut tablet(), "select @@global.gtid_purged").unwrap();
    assert_eq!(all.rows[0].lengths, [0]);
}

fn schema(tablet: &mut InPlace, tables: &[&str], include_views: bool) -> Vec<(String, String, u64, u64)> {
    let tables = tables.iter().map(|&table| table.to_owned()).collect();
    let request = data::GetSchemaRequest { tables, include_views, ..data::GetSchemaRequest::default() };
    let bytes = tablet.answer(SOURCE, "/tabletmanagerservice.TabletManager/GetSchema", &request.encode_to_vec()).unwrap();
    let definition = data::GetSchemaResponse::decode(bytes).unwrap().schema_definition.unwrap();
    let one = |it: data::TableDefinition| (it.name, it.r#type, it.data_length, it.row_count);
    definition.table_definitions.into_iter().map(one).collect()
}

fn names(tablet: &mut InPlace) -> Vec<String> {
    schema(tablet, &[], true).into_iter().map(|(name, ..)| name).collect()
}

#[test]
fn tables_are_dropped_and_renamed_and_what_is_not_there_is_refused_in_the_words_of_mysql() {
    let mut tablet = tablet();
    // Recorded: lifecycle 40-mt-complete and 52-mat-cancel answer a drop with a result without anything in it.
    assert_eq!(fetch(&mut tablet, "drop table `vt_commerce`.`corder`"), Ok(QueryResult::default()));
    assert_eq!(names(&mut tablet), ["customer", "orders"]);
    let renamed = "rename table `vt_commerce`.`customer` TO `vt_commerce`.`_customer_old`";
    assert_eq!(fetch(&mut tablet, renamed), Ok(QueryResult::default()));
    assert_eq!(names(&mut tablet), ["_customer_old", "orders"]);
    let of = |text: &str, query: &str| {
        format!("TabletManager.ExecuteFetchAsDba on {SOURCE}: rpc error: code = Unknown desc = {text} during query: {query}")
    };
    for (query, text) in [
        ("drop table `vt_commerce`.`corder`", "Unknown table 'vt_commerce.corder' (errno 1051) (sqlstate 42S02)"),
        ("drop table corder, _customer_old", "Unknown table 'vt_commerce.corder' (errno 1051) (sqlstate 42S02)"),
        ("drop table `vt_commerce`.`orders`", "Unknown table 'vt_commerce.orders' (errno 1051) (sqlstate 42S02)"),
        ("drop view `vt_commerce`.`_customer_old`", "'vt_commerce._customer_old' is not VIEW (errno 1347) (sqlstate HY000)"),
        (renamed, "Table 'vt_commerce.customer' doesn't exist (errno 1146) (sqlstate 42S02)"),
        ("rename table _customer_old to orders", "Table 'orders' already exists (errno 1050) (sqlstate 42S01)"),
    ] {
        assert_eq!(fetch(&mut tablet, query), Err(of(text, query)));
    }
    assert_eq!(names(&mut tablet), ["_customer_old", "orders"], "what is refused changes nothing");
    assert_eq!(fetch(&mut tablet, "drop table if exists corder, _customer_old"), Ok(QueryResult::default()));
    assert_eq!(fetch(&mut tablet, "drop view `vt_commerce`.`orders`"), Ok(QueryResult::default()));
    assert_eq!(names(&mut tablet), Vec::<String>::new());
}

#[test]
fn the_tables_of_others_are_not_dropped() {
    let mut tablet = tablet();
    for query in [
        "drop table _vt.vreplication",
        "drop table information_schema.tables",
        "rename table corder to _vt.corder",
        "drop database vt_commerce",
        "delete from information_schema.tables",
        "update information_schema.tables set table_name = 'x'",
    ] {
        let refused = fetch(&mut tablet, query).unwrap_err();
        assert!(refused.starts_with("TabletManager.ExecuteFetchAsDba on "), "{query}: {refused}");
    }
    assert_eq!(names(&mut tablet), ["corder", "customer", "orders"]);
    assert!(fetch(&mut tablet, "select id from _vt.vreplication").is_ok());
}

#[test]
fn a_tablet_describes_the_tables_that_are_asked_for() {
    let mut tablet = tablet();
    let of = |name: &str| (name.to_owned(), "BASE TABLE".to_owned(), 16_384, 3);
    // As vtctlds ask, of 41-mt-create, 42-vdiff-create and 60-rs-create.
    for all in [&["/.*/"][..], &[], &["/.*"]] {
        assert_eq!(schema(&mut tablet, all, false), [of("corder"), of("customer")], "{all:?}");
    }
    assert_eq!(schema(&mut tablet, &["customer", "nope"], false), [of("customer")]);
    assert_eq!(schema(&mut tablet, &["orders"], true), [("orders".to_owned(), "VIEW".to_owned(), 0, 0)]);
    let few = data::GetSchemaRequest { tables: vec!["/c.*/".into()], ..data::GetSchemaRequest::default() };
    let refused = tablet.answer(SOURCE, "/tabletmanagerservice.TabletManager/GetSchema", &few.encode_to_vec()).unwrap_err();
    let NoAnswer::Status(status) = refused else { panic!("{refused:?}") };
    assert!(status.message().ends_with("knows no regular expression of tables but /.*/: /c.*/"), "{status}");
    let rows = fetch(
        &mut tablet,
        "select table_name, table_type, table_rows from information_schema.tables where table_schema = 'vt_commerce'",
    );
    let values: Vec<Vec<u8>> = rows.unwrap().rows.into_iter().map(|row| row.values).collect();
    assert_eq!(values, [&b"corderBASE TABLE3"[..], b"customerBASE TABLE3", b"ordersVIEW"]);
}
