//! `vtflow get workflows` and `get migrations` without a keyspace: all keyspaces at a glance.

use std::{fs, path::PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use vtflow_planner::proto::topodata::{Shard, TabletAlias};

use crate::support::program::{case, copied, recorded, vtflow};

/// A copy of a recorded cluster with another keyspace beside its own, whose shard has nobody to ask.
fn with_a_keyspace_that_cannot_be_read() -> (TempDir, PathBuf) {
    let (directory, copy) = copied(&recorded("movetables-running"));
    let path = copy.join("topo.json");
    let mut topo: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let records = topo.as_array_mut().unwrap();
    let keyspace = records.iter().find(|record| record["path"] == "keyspaces/customer/Keyspace").unwrap().clone();
    // Its primary is a tablet that has no record.
    let shard = Shard { primary_alias: Some(TabletAlias { cell: "zone1".into(), uid: 999 }), ..Shard::default() };
    for (path, value) in [
        ("keyspaces/broken/Keyspace", keyspace["value"].clone()),
        ("keyspaces/broken/shards/0/Shard", BASE64_STANDARD.encode(shard.encode_to_vec()).into()),
        ("keyspaces/empty/Keyspace", keyspace["value"].clone()),
    ] {
        let mut record = keyspace.clone();
        (record["path"], record["value"]) = (path.into(), value);
        records.push(record);
    }
    fs::write(&path, topo.to_string()).unwrap();
    (directory, copy)
}

#[test]
fn all_keyspaces_are_there_with_trouble_first() {
    for command in ["workflows", "migrations"] {
        let ran = vtflow(&["--demo", "get", command]);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        let heading = command.to_uppercase();
        assert!(lines[0].starts_with("KEYSPACE") && lines[0].contains(&heading), "{}", ran.stdout);
        let state = if command == "workflows" { "in trouble" } else { "well" };
        assert!(lines[1].starts_with("customer") && lines[1].contains(state), "{}", ran.stdout);
        let commerce = lines.iter().find(|line| line.starts_with("commerce")).unwrap();
        assert!(commerce.contains("none"), "{}", ran.stdout);
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{}", ran.stdout);
    }
    let table = vtflow(&["--demo", "get", "workflows"]).stdout;
    let (_, broken) = table.split_once("\n  move_big2").unwrap();
    let (state, note) = broken.split_once('\n').unwrap();
    assert!(state.contains("1 Error") && note.trim_start().starts_with("-40: terminal error: Unknown column"), "{table}");
    let one = vtflow(&["--demo", "get", "workflows", "customer"]);
    assert_eq!(vtflow(&["--demo", "get", "workflows"]).code, one.code, "as much is missing");
}

#[test]
fn a_keyspace_that_cannot_be_read_is_named_and_hides_no_other() {
    let (_directory, copy) = with_a_keyspace_that_cannot_be_read();
    let run = |args: &[&str]| vtflow(&[&["--snapshot", copy.to_str().unwrap(), "get"], args].concat());
    let ran = run(&["workflows"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let line = |keyspace: &str| {
        ran.stdout.lines().find(|line| line.starts_with(keyspace)).unwrap_or_else(|| panic!("{ran:?}")).to_owned()
    };
    assert!(line("broken").contains("unknown") && line("broken").contains('–'), "{ran:?}");
    assert!(line("empty").contains("none"), "no shards, no workflows: {ran:?}");
    assert!(line("customer").contains("MoveTables"), "{ran:?}");
    assert!(ran.stdout.find("broken") < ran.stdout.find("empty"), "{ran:?}");
    assert!(ran.stderr.contains("broken/0"), "what is missing, and why: {ran:?}");

    let json: Value = serde_json::from_str(&run(&["workflows", "-o", "json"]).stdout).unwrap();
    let of = |keyspace: &str| json.as_array().unwrap().iter().find(|it| it["keyspace"] == keyspace).unwrap();
    assert!(of("broken").get("reply").is_none() && !of("broken")["error"].as_str().unwrap().is_empty(), "{json}");
    let own: Value = serde_json::from_str(&run(&["workflows", "customer", "-o", "json"]).stdout).unwrap();
    assert_eq!(of("customer")["reply"], own, "what the keyspace's own command prints");
    let names = run(&["workflows", "-o", "name"]).stdout;
    assert!(!names.is_empty() && names.lines().all(|line| line.contains('/')), "{names}");
    assert!(run(&["workflows", "--shards", "-80"]).stderr.contains("--shards are those of a keyspace"));
}

#[test]
fn an_empty_keyspace_is_said_to_be() {
    assert_eq!(vtflow(&["--demo", "get", "workflows", "commerce"]).stdout, "No workflows in keyspace commerce.\n");
    assert_eq!(vtflow(&["--demo", "get", "migrations", "commerce"]).stdout, "No schema migrations in keyspace commerce.\n");
    let named = vtflow(&["--demo", "get", "workflows", "commerce", "-w", "x"]).stdout;
    assert_eq!(named, "No workflows called x in keyspace commerce.\n");
}

#[test]
fn a_keyspace_whose_record_is_damaged_is_read_all_the_same() {
    let (_directory, copy) = with_a_keyspace_that_cannot_be_read();
    let path = copy.join("topo.json");
    let mut topo: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for record in topo.as_array_mut().unwrap().iter_mut().filter(|record| record["path"] == "keyspaces/customer/Keyspace") {
        record["value"] = BASE64_STANDARD.encode([0xff]).into();
    }
    fs::write(&path, topo.to_string()).unwrap();
    let ran = vtflow(&["--snapshot", copy.to_str().unwrap(), "get", "workflows"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.lines().any(|line| line.starts_with("customer") && line.contains("MoveTables")), "{ran:?}");
    assert!(ran.stderr.contains("bad keyspace data"), "{ran:?}");
}

#[test]
fn names_are_whole_where_nobody_looks_at_a_screen() {
    let (snapshot, name) = (case("11-ddl-stream-stopped"), "c0ffee00_5b5b_11f0_9a1a_0a4aad2ccf4f ");
    let table = vtflow(&["--snapshot", snapshot.to_str().unwrap(), "get", "workflows", "customer"]).stdout;
    assert!(table.contains(name) && !table.contains('…'), "{table}");
}
