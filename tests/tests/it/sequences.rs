//! Sequences of a recorded cluster whose tables have rows: found behind, raised by a repair, and well from then on.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow::embedded::{Cell, ColumnDecl, OwnTables, TableRows};
use vtflow_planner::{
    Call, CallOptions,
    proto::{
        vschema::{AutoIncrement, SrvVSchema},
        vtflow::{DiagnoseRequest, DiagnoseResponse, RepairRequest},
    },
    rpc,
};

use crate::lifecycle::{Moment, Running};

pub(crate) const SOURCE: &str = "zone1-0000000100";
pub(crate) const LEFT: &str = "zone1-0000000200";
pub(crate) const RIGHT: &str = "zone2-0000000300";

/// Columns of a sequence.
pub(crate) const SEQUENCE: [(&str, &str); 3] = [("id", "int"), ("next_id", "bigint"), ("cache", "bigint")];

pub(crate) fn table(columns: &[(&str, &str)], rows: &[&[i64]]) -> TableRows {
    let column =
        |(name, of): &(&str, &str)| ColumnDecl { name: (*name).into(), mysql_type: (*of).into(), nullable: *name != "id" };
    let rows = rows.iter().map(|row| row.iter().map(|value| Cell::Int(*value)).collect());
    TableRows { columns: columns.iter().map(column).collect(), rows: rows.collect() }
}

pub(crate) fn own(database: &str, tables: &[(&str, TableRows)]) -> OwnTables {
    let tables = tables.iter().map(|(name, table)| ((*name).to_owned(), table.clone())).collect();
    OwnTables { database: database.into(), tables }
}

/// After a switch that raised no sequence: orders go up to 55, and their sequence goes on with this.
pub(crate) fn switched(next: i64) -> Moment {
    let serve = |record: Vec<u8>| {
        let mut served = SrvVSchema::decode(record.as_slice()).unwrap();
        let source = served.keyspaces.entry("commerce".into()).or_default();
        source.tables.entry("corder_seq".into()).or_default().r#type = "sequence".into();
        let target = served.keyspaces.entry("customer".into()).or_default();
        let auto_increment = AutoIncrement { column: "order_id".into(), sequence: "corder_seq".into() };
        target.tables.entry("corder".into()).or_default().auto_increment = Some(auto_increment);
        served.encode_to_vec()
    };
    let sequence = table(&SEQUENCE, &[&[0, next, 1000]]);
    let orders = |rows: &[&[i64]]| own("vt_customer", &[("corder", table(&[("order_id", "bigint"), ("sku", "bigint")], rows))]);
    let mut moment = Moment::of("06-mt-switch-writes", "after")
        .with_own(SOURCE, own("vt_commerce", &[("corder_seq", sequence)]))
        .with_own(LEFT, orders(&[&[41, 1], &[7, 2]]))
        .with_own(RIGHT, orders(&[&[55, 1]]));
    for cell in ["zone1", "zone2"] {
        moment = moment.with_record(cell, "SrvVSchema", serve);
    }
    moment
}

async fn diagnose(live: &Running) -> DiagnoseResponse {
    let request = DiagnoseRequest { keyspace: "customer".into(), sequences: true, ..DiagnoseRequest::default() };
    let call = Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let reply = live.ask(&call).await;
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let found = DiagnoseResponse::decode(reply.result.unwrap().as_slice()).unwrap();
    assert!(found.unknown.is_empty(), "{:?}", found.unknown);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_is_behind_is_raised_and_never_lowered() {
    for (next, is_behind) in [(10, true), (55, true), (56, false), (1000, false)] {
        let live = Running::start(&switched(next)).await;
        let found = diagnose(&live).await;
        let told: Vec<&str> = found.leftovers.iter().map(|it| it.mechanism.as_str()).collect();
        assert_eq!((told.contains(&"sequence_behind"), live.writes()), (is_behind, 0), "{next}: {found:?}");

        let only = vec!["sequence_behind".to_owned()];
        let request = RepairRequest { keyspace: "customer".into(), sequences: true, only, ..RepairRequest::default() };
        let call = Call { path: rpc::REPAIR.into(), request: request.encode_to_vec(), options: CallOptions::default() };
        live.ask(&call).await.result.unwrap();
        // It forgets, is raised, and forgets.
        assert_eq!(live.writes(), if is_behind { 3 } else { 0 }, "{next}");
        let value = live.rows(SOURCE, "select next_id from `vt_commerce`.`corder_seq` where id = 0").await;
        assert_eq!(value.rows().next().unwrap().text("next_id"), next.max(56).to_string());
        assert_eq!(diagnose(&live).await.leftovers.len(), found.leftovers.len() - usize::from(is_behind));
    }
}
