//! `vtflow workflow switch … --initialize-target-sequences --rehearse` and `vtflow repair … --sequences --rehearse` as people run them, on a
//! recorded cluster whose files have rows of tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, path::Path, time::Duration};

use prost::Message;
use tempfile::TempDir;
use vtflow::embedded::{Cell, ColumnDecl, OwnTables, Snapshot, TableRows};
use vtflow_planner::proto::vschema::{AutoIncrement, Keyspace, SrvVSchema};

use crate::support::program::{Ran, vtflow_within};

const SWITCH: &str = "workflow switch customer move1 --tablet-types primary --initialize-target-sequences";

fn table(columns: &[(&str, &str)], rows: Vec<Vec<Cell>>) -> TableRows {
    let column = |(name, of): &(&str, &str)| ColumnDecl { name: (*name).into(), mysql_type: (*of).into(), nullable: true };
    TableRows { columns: columns.iter().map(column).collect(), rows }
}

fn declare(keyspaces: &mut BTreeMap<&str, &mut Keyspace>) {
    let source = keyspaces.get_mut("commerce").unwrap();
    source.tables.entry("corder_seq".into()).or_default().r#type = "sequence".into();
    let target = keyspaces.get_mut("customer").unwrap();
    let auto_increment = AutoIncrement { column: "order_id".into(), sequence: "corder_seq".into() };
    target.tables.entry("corder".into()).or_default().auto_increment = Some(auto_increment);
}

/// A recorded cluster as files, with orders up to 55 and a sequence that goes on with `next`.
fn saved(name: &str, next: Cell) -> TempDir {
    let recorded = format!("{}/../tests/snapshots/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut snapshot = Snapshot::load(Path::new(&recorded)).unwrap();
    for record in &mut snapshot.topo {
        let change = |record: &mut Vec<u8>, of: &str| {
            let mut vschema = Keyspace::decode(record.as_slice()).unwrap();
            let mut other = Keyspace::default();
            let rest = if of == "commerce" { "customer" } else { "commerce" };
            declare(&mut BTreeMap::from([(of, &mut vschema), (rest, &mut other)]));
            *record = vschema.encode_to_vec();
        };
        match record.path.as_str() {
            "keyspaces/commerce/VSchema" => change(&mut record.value, "commerce"),
            "keyspaces/customer/VSchema" => change(&mut record.value, "customer"),
            "SrvVSchema" => {
                let mut served = SrvVSchema::decode(record.value.as_slice()).unwrap();
                declare(&mut served.keyspaces.iter_mut().map(|(name, it)| (name.as_str(), it)).collect());
                record.value = served.encode_to_vec();
            }
            _ => {}
        }
    }
    let orders = |ids: &[i64]| table(&[("order_id", "bigint")], ids.iter().map(|id| vec![Cell::Int(*id)]).collect());
    let sequence =
        table(&[("id", "int"), ("next_id", "bigint"), ("cache", "bigint")], vec![vec![Cell::Int(0), next, Cell::Int(1000)]]);
    for (alias, database, name, content) in [
        ("zone1-0000000100", "vt_commerce", "corder_seq", sequence),
        ("zone1-0000000200", "vt_customer", "corder", orders(&[41, 7])),
        ("zone2-0000000300", "vt_customer", "corder", orders(&[55])),
    ] {
        let tables = BTreeMap::from([(name.to_owned(), content)]);
        snapshot.tablets.get_mut(alias).unwrap().own = Some(OwnTables { database: database.into(), tables });
    }
    let folder = TempDir::new().unwrap();
    assert!(snapshot.save(&folder.path().join("it")).unwrap().is_empty());
    folder
}

/// Far longer than any of this takes.
const LIMIT: Duration = Duration::from_secs(600);

fn on(folder: &TempDir, command: &str) -> Ran {
    let folder = folder.path().join("it").display().to_string();
    let args: Vec<&str> = ["--snapshot", &folder].into_iter().chain(command.split(' ')).collect();
    vtflow_within(LIMIT, &args)
}

#[test]
fn a_switch_that_raises_a_sequence_is_rehearsed_with_what_the_tables_hold() {
    let folder = saved("movetables-reads-switched", Cell::Int(10));
    let ran = on(&folder, &format!("{SWITCH} --rehearse"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}\n{}", ran.stdout));
    let places = [
        "prepare the sequences: ",
        "stop writes on the source: ",
        "raise the sequences: ",
        "write the journal: ",
        "Note: sequence commerce.corder_seq goes from 10 to 56",
        "After it: healthy: ",
    ]
    .map(at);
    assert!(places.is_sorted(), "{places:?}\n{}", ran.stdout);

    let document = on(&folder, &format!("{SWITCH} --rehearse=faults --rehearse-limit 600s -o json")).json();
    assert_eq!(document["verdict"], "healthy", "{}", document["error"]);
    assert_eq!(document["sequences"], serde_json::json!([{ "name": "commerce.corder_seq", "before": 10, "after": 56 }]));
    let of_step = |line: &&serde_json::Value| line["step"] == "raise the sequences";
    assert!(document["faults"]["lines"].as_array().unwrap().iter().filter(of_step).count() >= 6, "{document}");
    let plan = on(&folder, &format!("{SWITCH} --dry-run -o json")).json();
    assert_eq!(document["plan"]["steps"], plan["steps"], "what is rehearsed is what --dry-run shows");

    let ahead = on(&saved("movetables-reads-switched", Cell::Int(3000)), &format!("{SWITCH} --rehearse"));
    assert_eq!(ahead.code, 0, "{ahead:?}");
    assert!(ahead.stdout.contains("Note: sequence commerce.corder_seq stays at 3000\n"), "{}", ahead.stdout);
}

#[test]
fn what_is_no_number_in_somebodys_files_is_refused_and_is_never_a_statement() {
    let hostile = "1); drop table corder; --";
    let ran = on(&saved("movetables-reads-switched", Cell::Text(hostile.into())), &format!("{SWITCH} --rehearse"));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains(&format!("next_id is no whole number: {hostile:?}")), "{}", ran.stdout);
}

#[test]
fn a_repair_of_sequences_is_rehearsed() {
    let folder = saved("movetables-switched", Cell::Int(10));
    let ran = on(&folder, "repair customer --sequences --rehearse");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("Note: sequence commerce.corder_seq goes from 10 to 56\n"), "{}", ran.stdout);
    let document = on(&folder, "repair customer --sequences --rehearse=faults --rehearse-limit 600s -o json").json();
    assert_eq!((&document["verdict"], document["faults"]["all"].as_u64()), (&"healthy".into(), Some(9)), "{document}");
}
