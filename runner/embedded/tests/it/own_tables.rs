//! Tables of a keyspace whose rows a snapshot has: read and written as on any MySQL, and nothing besides them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc};

use prost::Message;
use vtflow_embedded::{
    Cell, ColumnDecl, OwnTables, Shape, Snapshot, TableRows, generate,
    in_place::{InPlace, NoAnswer},
};
use vtflow_planner::{
    Timestamp,
    proto::{query::QueryResult, tabletmanagerdata as data},
    rpc,
};

const SOURCE: &str = "zone1-0000000100";

fn table(columns: &[(&str, &str)], rows: &[&[i64]]) -> TableRows {
    let column =
        |(name, of): &(&str, &str)| ColumnDecl { name: (*name).into(), mysql_type: (*of).into(), nullable: *name != "id" };
    let rows = rows.iter().map(|row| row.iter().map(|value| Cell::Int(*value)).collect());
    TableRows { columns: columns.iter().map(column).collect(), rows: rows.collect() }
}

const SEQUENCE: [(&str, &str); 3] = [("id", "int"), ("next_id", "bigint"), ("cache", "bigint")];

fn with(database: &str) -> Snapshot {
    let mut snapshot: Snapshot = generate(Shape { shards: 2, streams: 2, ..Shape::default() }, Timestamp::default());
    let tables = BTreeMap::from([
        ("corder".to_owned(), table(&[("order_id", "bigint"), ("sku", "int unsigned")], &[&[41, 9], &[-3, 7]])),
        ("customer".to_owned(), table(&[("id", "bigint")], &[])),
        ("seq".to_owned(), table(&SEQUENCE, &[&[0, 10, 1000]])),
        ("empty_seq".to_owned(), table(&SEQUENCE, &[])),
    ]);
    snapshot.tablets.get_mut(SOURCE).unwrap().own = Some(OwnTables { database: database.into(), tables });
    snapshot
}

fn fetch(tablet: &mut InPlace, query: &str) -> Result<QueryResult, String> {
    let db_name = "vt_commerce".into();
    let request = data::ExecuteFetchAsDbaRequest { query: query.into(), db_name, max_rows: 1, ..Default::default() };
    match tablet.answer(SOURCE, rpc::EXECUTE_FETCH_AS_DBA, &request.encode_to_vec()) {
        Ok(bytes) => Ok(data::ExecuteFetchAsDbaResponse::decode(bytes).unwrap().result.expect("a result, if an empty one")),
        Err(NoAnswer::Status(status)) => Err(status.message().to_owned()),
        Err(NoAnswer::Down(why)) => panic!("{why}"),
    }
}

/// The only value of the only row: `None` for NULL.
fn value(result: &QueryResult) -> Option<String> {
    let row = &result.rows[0];
    (row.lengths[0] >= 0).then(|| String::from_utf8(row.values.clone()).unwrap())
}

#[test]
fn the_largest_value_is_mysqls() {
    let mut tablet = InPlace::new(Arc::new(with("vt_commerce")));
    for (column, table, of, want) in [
        ("order_id", "corder", 265, Some("41")),
        ("sku", "corder", 776, Some("9")),
        ("id", "customer", 265, None),
        ("next_id", "empty_seq", 265, None),
    ] {
        let told = fetch(&mut tablet, &format!("select max(`{column}`) as maxval from `vt_commerce`.`{table}`")).unwrap();
        assert_eq!(
            told.fields.iter().map(|field| (field.name.as_slice(), field.r#type)).collect::<Vec<_>>(),
            [(&b"maxval"[..], of)]
        );
        assert_eq!(value(&told).as_deref(), want, "{table}.{column}");
    }
    for (statement, want) in [
        ("select max(`id`) as maxval from `vt_commerce`.`nosuch`", "Table 'vt_commerce.nosuch' doesn't exist (errno 1146)"),
        ("select max(`id`) as maxval from `vt_other`.`customer`", "Table 'vt_other.customer' doesn't exist (errno 1146)"),
        ("select nosuch from `vt_commerce`.`customer`", "Unknown column 'nosuch' in 'field list' (errno 1054)"),
    ] {
        let said = fetch(&mut tablet, statement).unwrap_err();
        assert!(said.contains(want), "{statement}: {said}");
    }
    let field = &fetch(&mut tablet, "select order_id from `vt_commerce`.`corder` where sku = 9").unwrap().fields[0];
    assert_eq!((field.database.as_slice(), field.table.as_slice()), (&b"vt_commerce"[..], &b"corder"[..]));
}

#[test]
fn a_sequence_is_raised_and_never_lowered() {
    let mut tablet = InPlace::new(Arc::new(with("vt_commerce")));
    let raise = |tablet: &mut InPlace, table: &str, next: i64| {
        let statement = format!(
            "insert into `vt_commerce`.`{table}` (id, next_id, cache) values (0, {next}, 1000) on duplicate key update next_id = \
             if(next_id < {next}, {next}, next_id)"
        );
        let done = fetch(tablet, &statement).unwrap();
        let next = fetch(tablet, &format!("select next_id from `vt_commerce`.`{table}` where id = 0")).unwrap();
        (done.rows_affected, value(&next).unwrap())
    };
    // One for a row that is new, two for one that is changed.
    for (table, next, want) in [
        ("seq", 56, (2, "56")),
        ("seq", 56, (0, "56")),
        ("seq", 7, (0, "56")),
        ("empty_seq", 3, (1, "3")),
        ("empty_seq", 4, (2, "4")),
    ] {
        let (affected, value) = raise(&mut tablet, table, next);
        assert_eq!((affected, value.as_str()), want, "{table} {next}");
    }
    let above = fetch(&mut tablet, "select next_id from `vt_commerce`.`seq` where id = 0 and next_id >= 57").unwrap();
    assert!(above.rows.is_empty());
    let path = "/tabletmanagerservice.TabletManager/ResetSequences";
    let request = data::ResetSequencesRequest { tables: vec!["seq".into()] };
    assert_eq!(tablet.answer(SOURCE, path, &request.encode_to_vec()).unwrap().len(), 0);
}

#[test]
fn a_database_that_is_the_tablets_own_is_none_of_a_keyspace() {
    for name in ["_vt", "information_schema", "main", "a`; detach `_vt"] {
        let request = data::ExecuteFetchAsDbaRequest { query: "select 1".into(), max_rows: 1, ..Default::default() };
        let answer = InPlace::new(Arc::new(with(name))).answer(SOURCE, rpc::EXECUTE_FETCH_AS_DBA, &request.encode_to_vec());
        assert!(matches!(answer, Err(NoAnswer::Down(_))), "{name}");
    }
}

const CREATE: &str = "(id int, next_id bigint, cache bigint, primary key(id)) comment 'vitess_sequence'";

#[test]
fn a_sequence_is_made_once_and_no_other_table_is() {
    let mut tablet = InPlace::new(Arc::new(with("vt_commerce")));
    let next = "select next_id from `vt_commerce`.`new_seq` where id = 0";
    let there = "select table_type from information_schema.tables where table_schema = 'vt_commerce' and table_name = 'new_seq'";
    assert!(fetch(&mut tablet, next).unwrap_err().contains("(errno 1146)"));
    assert!(fetch(&mut tablet, there).unwrap().rows.is_empty());
    for _ in 0..2 {
        fetch(&mut tablet, &format!("create table if not exists `new_seq` {CREATE}")).unwrap();
        assert_eq!(value(&fetch(&mut tablet, there).unwrap()).as_deref(), Some("BASE TABLE"));
    }
    assert!(fetch(&mut tablet, next).unwrap().rows.is_empty(), "it has no row yet");
    let raise = "insert into `vt_commerce`.`new_seq` (id, next_id, cache) values (0, 8, 1000) on duplicate key update next_id = \
                 if(next_id < 8, 8, next_id)";
    for affected in [1, 0] {
        assert_eq!(fetch(&mut tablet, raise).unwrap().rows_affected, affected);
        assert_eq!(value(&fetch(&mut tablet, next).unwrap()).as_deref(), Some("8"));
    }
    fetch(&mut tablet, &format!("create table if not exists `seq` {CREATE}")).unwrap();
    let kept = fetch(&mut tablet, "select next_id from `vt_commerce`.`seq` where id = 0").unwrap();
    assert_eq!(value(&kept).as_deref(), Some("10"), "what is there stays");

    let other = |name: &str| format!("create table {name} {CREATE}");
    for (statement, want) in [
        (other("`new_seq`"), "Table 'new_seq' already exists (errno 1050)"),
        (other("`vt_other`.`s`"), "doesn't yet support 'CREATE TABLE' (errno 1235)"),
        (other("`_vt`.`s`"), "(errno 1235)"),
        (other("`a``; detach _vt`"), "(errno 1235)"),
        ("create table t (id int primary key)".into(), "doesn't yet support 'CREATE TABLE' (errno 1235)"),
        ("create table t as select 1".into(), "(errno 1235)"),
    ] {
        let said = fetch(&mut tablet, &statement).unwrap_err();
        assert!(said.contains(want), "{statement}: {said}");
    }
    let rest = "select count(*) from information_schema.tables where table_schema = 'vt_commerce' and table_name = 't'";
    assert_eq!(value(&fetch(&mut tablet, rest).unwrap()).as_deref(), Some("0"));
}

/// Without rows of any of its tables nothing is known of its database but names.
#[test]
fn no_sequence_is_made_where_no_rows_are_known() {
    let mut snapshot = with("vt_commerce");
    snapshot.tablets.get_mut(SOURCE).unwrap().own = None;
    let said = fetch(&mut InPlace::new(Arc::new(snapshot)), &format!("create table if not exists `new_seq` {CREATE}"));
    assert!(said.unwrap_err().contains("(errno 1235)"));
}
