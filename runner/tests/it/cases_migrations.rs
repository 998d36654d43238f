//! Schema migrations and `VDiff`s of clusters on which an answer was wrong (`tests/cases`): what people see of them.

use serde_json::Value;

use crate::support::program::{self, Ran, vtflow};

fn case(name: &str, args: &[&str]) -> Ran {
    vtflow(&[&["--snapshot", program::case(name).to_str().unwrap()], args].concat())
}

/// The lines of one migration in a table: its own, and those below it up to the next one.
fn block(table: &str, start: &str) -> String {
    let lines = table.lines().skip_while(|line| !line.starts_with(start));
    let rest = lines.clone().skip(1).take_while(|line| line.starts_with(' '));
    lines.take(1).chain(rest).collect::<Vec<_>>().join("\n")
}

/// A table, and the same with everything in full.
fn tables(name: &str, args: &[&str]) -> [String; 2] {
    [case(name, args).stdout, case(name, &[args, &["-o", "wide"]].concat()).stdout]
}

#[test]
fn zero_dates_are_no_times() {
    for table in tables("04-zero-dates", &["get", "migrations", "customer"]) {
        assert!(!table.contains("0000-00") && !table.contains("-00-00"), "{table}");
        let failed = block(&table, "bbbb393e");
        assert!(failed.contains("failed") && failed.contains("–") && failed.contains("exit status 1"), "no age: {failed}");
        let running = block(&table, "aaaa393e");
        assert!(running.contains("no sign of life for 2d") && !running.contains("left"), "{running}");
        assert!(table.find("aaaa393e") < table.find("9f61393e"), "trouble first: {table}");
    }
    let json: Value =
        serde_json::from_str(&case("04-zero-dates", &["get", "migrations", "customer", "-o", "json"]).stdout).unwrap();
    assert!(!json.to_string().contains("0000-00-00"), "{json}");
    for args in [["get", "vdiff", "customer", "mixed"], ["get", "vdiff", "customer", "stuck"]] {
        assert!(!case("09-vdiff", &args).stdout.contains("0000"), "{args:?}");
        assert!(!case("09-vdiff", &[&args[..], &["-o", "json"]].concat()).stdout.contains("0000-00"), "{args:?}");
    }
}

#[test]
fn a_migration_whose_stream_was_stopped_is_not_ready() {
    for table in tables("11-ddl-stream-stopped", &["get", "migrations", "customer"]) {
        let line = block(&table, "c0ffee00");
        assert!(!line.contains("ready to cut over") && !line.contains("behind"), "{line}");
        for text in
            ["its stream stopped 90m ago: stopped for online DDL cutover", "no sign of life for 93m", "no sign of life for 8m"]
        {
            assert!(line.contains(text), "{text}: {line}");
        }
        assert!(line.contains("streams: 1 Running, 1 Stopped"), "{line}");
    }
    let json: Value =
        serde_json::from_str(&case("11-ddl-stream-stopped", &["get", "migrations", "customer", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["migrations"][0]["status"], "RUNNING", "the wire says what the rows say");
}

#[test]
fn a_migration_that_waits_for_another_is_not_ready() {
    let first = "00000001_e71b_11f1_8dda_0a4aad2ccf4f";
    for table in tables("25-in-order-completion", &["get", "migrations", "customer"]) {
        let of = |start: &str| block(&table, start);
        assert!(of("00000002").contains(&format!("waits for 1 before it ({first})")), "{table}");
        assert!(of("00000003").contains("waits for 2 before it") && of("00000003").contains("completion postponed"), "{table}");
        assert!(of("00000004").contains("waits for 3 before it"), "{table}");
        assert!(!table.contains("ready to cut over"), "{table}");
        // Streams that are not there.
        assert!(of("00000001").contains("its stream is gone") && !of("00000001").contains("left"), "{table}");
    }
    let newest = case("25-in-order-completion", &["get", "migrations", "customer", "--order", "desc"]).stdout;
    assert!(block(&newest, "00000002").contains(&format!("before it ({first})")), "whatever the order: {newest}");
    let few = case("25-in-order-completion", &["get", "migrations", "customer", "--status", "ready"]).stdout;
    assert!(block(&few, "00000004").contains("waits for 3 before it"), "{few}");
    assert!(!block(&few, "00000004").contains('('), "which ones is not in the reply: {few}");
}

#[test]
fn a_filter_says_how_many_shards_match() {
    let failed = ["--snapshot", concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/snapshots/mixed-releases"), "get", "migrations"];
    let table = vtflow(&[&failed[..], &["mixed", "--status", "failed"]].concat()).stdout;
    assert!(table.contains("1 of 5 shards match") && !table.contains("/?"), "{table}");
}

#[test]
fn shards_that_speak_of_different_vdiffs_have_no_common_verdict() {
    for table in tables("09-vdiff", &["get", "vdiff", "customer", "differ"]) {
        assert!(table.contains("no common verdict: the shards' VDiffs are different ones"), "{table}");
        assert!(!table.contains("no rows differ") && !table.contains("2,000 rows compared"), "{table}");
        for uuid in ["55555555-02d4-11ed-b76d-920702940ee0", "66666666-02d4-11ed-b76d-920702940ee0"] {
            assert!(table.contains(uuid), "{uuid}: {table}");
        }
    }
    let json = |workflow: &str| -> Value {
        serde_json::from_str(&case("09-vdiff", &["get", "vdiff", "customer", workflow, "-o", "json"]).stdout).unwrap()
    };
    let differ = json("differ");
    assert_eq!((&differ["State"], &differ["UUID"]), (&"unknown".into(), &"".into()), "{differ}");
    assert!(differ["Notes"][0].as_str().unwrap().starts_with("no common verdict"), "{differ}");

    for table in tables("09-vdiff", &["get", "vdiff", "customer", "fresh"]) {
        assert!(table.contains("completed on 1 of 2 shards"), "{table}");
        assert!(table.contains("no VDiff of this workflow on 80-"), "{table}");
        assert!(table.lines().any(|line| line.starts_with("80-") && line.contains("none")), "{table}");
    }
    assert_eq!(json("fresh")["State"], "unknown");
    let error = case("09-vdiff", &["get", "vdiff", "customer", "emptyuuid"]).stdout;
    assert!(error.contains("have no UUID, so that they may be different ones") && error.contains("boom"), "{error}");
    let one = case("09-vdiff", &["get", "vdiff", "customer", "oneerr"]).stdout;
    assert!(one.contains("error, 1,105 rows compared, rows differ") && one.contains("Deadlock found"), "{one}");
}

#[test]
fn a_vdiff_that_does_not_get_on_says_for_how_long() {
    for table in tables("09-vdiff", &["get", "vdiff", "customer", "stuck"]) {
        assert!(table.contains("no progress for 30h"), "{table}");
        assert!(table.contains("UTC, 30h ago"), "{table}");
    }
    let json = case("09-vdiff", &["get", "vdiff", "customer", "stuck", "-o", "json"]).stdout;
    assert!(json.contains("no progress for 30h"), "{json}");
    let all = case("09-vdiff", &["get", "vdiff", "customer", "stuck", "all"]).stdout;
    assert!(all.contains("30h ago") && all.contains("no progress for 30h"), "{all}");
    let pending = case("09-vdiff", &["get", "vdiff", "customer", "mixed"]).stdout;
    assert!(pending.contains("pending, 0 rows compared\n") && !pending.contains("about 0"), "no estimate: {pending}");
}
