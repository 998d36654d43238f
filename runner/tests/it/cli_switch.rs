//! `vtflow workflow switch` and `reverse` as people run them, on recorded clusters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use crate::support::program::{Ran, vtflow};

fn on(snapshot: &str, command: &str) -> Ran {
    let folder = format!("{}/../tests/snapshots/{snapshot}", env!("CARGO_MANIFEST_DIR"));
    let args: Vec<&str> = ["--snapshot", &folder].into_iter().chain(command.split(' ')).collect();
    vtflow(&args)
}

const READS: &str = "movetables-reads-switched";
const SWITCHED: &str = "movetables-switched";

#[test]
fn a_preview_has_every_step_with_its_calls_and_where_the_way_back_ends() {
    let ran = on(READS, "workflow switch customer move1 --tablet-types primary --dry-run");
    assert_eq!(ran.code, 0, "{ran:?}");
    let steps: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")).collect();
    let want = [
        "  1. refresh tablets",
        "  2. check permissions",
        "  ---- from here writes to corder, customer on commerce/0 are refused",
        "  3. stop writes on the source",
        "  4. wait for running statements",
        "  5. wait for the streams and stop them",
        "  6. read the target's positions",
        "  7. create the reverse streams",
        "  ---- up to here a failure takes back what was done; from here it goes on, or is finished by the same command",
        "  8. write the journal",
        "  9. switch writes",
        "  ---- from here they are taken again",
        "  10. delete old reverse streams",
        "  11. start the reverse streams",
        "  12. freeze the streams",
        "  13. tell the other tablets",
    ];
    assert_eq!(steps, want, "{}", ran.stdout);
    for line in [
        "This moves writes of customer.move1 to customer, in 13 steps",
        "     global  keyspaces/commerce/shards/0/Shard deny tables corder, customer",
        "     zone1-0000000100  commerce/0  ExecuteFetchAsDba LOCK TABLES `corder` READ,`customer` READ",
        "     zone1-0000000200  customer/-80  VReplicationWaitForPos of stream 1 for <position of commerce/0>, 30 seconds at most",
        "     zone1  SrvVSchema made anew from the vschemas and the rules",
        "Locked meanwhile: internal/named_locks/customer/move1",
    ] {
        assert!(ran.stdout.lines().any(|printed| printed == line), "{line}\n{}", ran.stdout);
    }
}

#[test]
fn what_was_shown_is_done_and_only_that() {
    let command = "workflow switch customer move1 --tablet-types primary";
    let done = on(READS, &format!("{command} --yes -o json"));
    assert_eq!(done.code, 0, "{done:?}");
    let document = done.json();
    let (writes, outcomes) = (&document["plan"]["writes"], document["outcomes"].as_array().unwrap());
    assert_eq!((outcomes.len(), &document["error"]), (writes.as_array().unwrap().len(), &serde_json::Value::Null));
    assert!(outcomes.iter().all(|outcome| outcome["verdict"] == "applied"), "{outcomes:?}");
    let [outage] = document["outages"].as_array().unwrap().as_slice() else { panic!("{document:?}") };
    assert_eq!((&outage["keyspace"], &outage["shard"]), (&"commerce".into(), &"0".into()));
    assert_eq!(outage["tables"], serde_json::json!(["corder", "customer"]));
    let ms = |field: &str| outage[field].as_u64().unwrap();
    assert!(ms("duration_ms") >= 100, "it waits for statements that had begun: {outage}");
    assert!(ms("from_unix_ms") + 100 <= ms("until_unix_ms"), "{outage}");
    // The plan of another cluster, and one that somebody has changed.
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("plan.json");
    let plan = on(READS, &format!("{command} --dry-run -o json"));
    fs::write(&file, &plan.stdout).unwrap();
    let elsewhere = on(SWITCHED, &format!("apply {} --yes", file.display()));
    assert_eq!(elsewhere.code, 2, "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("the plan is not the one any more: nothing was changed"), "{elsewhere:?}");
}

#[test]
fn traffic_comes_back() {
    let ran = on(SWITCHED, "workflow reverse customer move1 --max-replication-lag-allowed 5m --yes");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("This moves replica, rdonly reads and writes of customer.move1 back to commerce"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("Writes refused meanwhile: to corder, customer on customer/-80, customer/80-\n"), "{ran:?}");
    let told = ran.stdout.lines().last().unwrap();
    assert!(told.starts_with("Writes to corder, customer on customer/-80, customer/80- were refused for at most "), "{told}");
    assert!(told.contains(" ms, from ") && told.ends_with(" UTC"), "{told}");
    let nothing = on(READS, "workflow reverse customer move1 --tablet-types primary --yes");
    assert_eq!(nothing.code, 2);
    assert!(nothing.stderr.contains("no streams found in keyspace commerce for move1_reverse"), "{nothing:?}");
}

#[test]
fn what_cannot_be_is_said_before_anything_is_touched() {
    let short = on(READS, "workflow switch customer move1 --timeout 500ms --dry-run");
    assert_eq!((short.code, short.stdout.as_str()), (2, ""));
    assert!(short.stderr.contains("timeout must be at least 1 second"), "{short:?}");
}

/// A tablet looks for a position when it is asked, and then once a second: it is let wait shortly at first, and asked anew.
#[test]
fn a_tablet_that_answers_late_is_asked_anew_when_its_time_is_over() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("trace");
    let command =
        "demo --shards 2 --streams 4 --tablet-delay 60ms workflow switch customer move_orders_1 --tablet-types primary --yes";
    let mut args: Vec<&str> = command.split(' ').collect();
    args.extend(["--trace", file.to_str().unwrap()]);
    let ran = vtflow(&args);
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = fs::read_to_string(&file).unwrap();
    let traces: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asks = traces.iter().flat_map(|trace| trace["asks"].as_array().unwrap());
    let waits: Vec<_> =
        asks.filter(|ask| ask["what"]["path"].as_str().is_some_and(|path| path.ends_with("/VReplicationWaitForPos"))).collect();
    for tablet in ["zone1-0000000200", "zone2-0000000300"] {
        let own: Vec<_> = waits.iter().filter(|ask| ask["what"]["tablet"]["alias"] == tablet).collect();
        let limits: Vec<u64> = own.iter().map(|ask| ask["what"]["limit_ms"].as_u64().unwrap()).collect();
        assert!(limits.starts_with(&[25, 25, 50, 50, 100]), "no answer comes within 60 ms: {limits:?}");
        let (last, earlier) = own.split_last().unwrap();
        assert!(earlier.iter().all(|ask| !ask["answer"]["failed"].is_null()), "{earlier:?}");
        assert!(last["answer"]["called"].is_object(), "{last}");
    }
}
