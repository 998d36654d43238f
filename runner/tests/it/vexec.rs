//! `vtflow vexec` as a program, on the built-in cluster.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

fn vexec(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vtflow")).args(["--demo", "vexec"]).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn rows_of_all_shards_are_one_table() {
    let (code, stdout, stderr) = vexec(&["customer.move_big2", "select id, workflow, state from _vt.vreplication"]);
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["tablet", "id", "workflow", "state"]);
    assert_eq!(lines.len(), 5, "a heading and a stream on each shard: {stdout}");
    assert!(lines[1..].iter().all(|line| line[2] == "move_big2"), "{stdout}");
}

#[test]
fn scripts_get_json() {
    let sql = "select id, message, max_tps from _vt.vreplication";
    let (code, stdout, stderr) = vexec(&["customer.move_big2", sql, "--shards", "-40", "-o", "json"]);
    assert_eq!(code, 0, "{stderr}");
    let reply: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(reply["columns"], serde_json::json!(["id", "message", "max_tps"]));
    assert_eq!(reply["rows"].as_array().unwrap().len(), 1);
    assert!(reply["rows"][0]["values"]["id"].is_i64() && reply["rows"][0]["shard"] == "-40", "{reply}");
    let statement = format!("{sql} where db_name = 'vt_customer' and workflow = 'move_big2'");
    assert_eq!(reply["statements"][0]["statement"], statement);
}

#[test]
fn migrations_are_read_too() {
    let (code, stdout, stderr) = vexec(&["customer", "select count(*) as n from _vt.schema_migrations", "--shards", "-40"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("tablet") && stdout.lines().count() == 2, "{stdout}");
}

#[test]
fn a_refusal_points_into_the_statement_and_nothing_is_printed() {
    let (code, stdout, stderr) = vexec(&["customer.move_big2", "update _vt.vreplication set stete='Stopped'", "--dry-run"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    let want = "error: _vt.vreplication has no column stete\n  update _vt.vreplication set stete='Stopped'\n                              ^^^^^ did you mean state?\n";
    assert_eq!(stderr, want);
}

#[test]
fn writes_are_shown_and_not_sent() {
    let sql = "update _vt.vreplication set state='Stopped'";
    let (code, stdout, _) = vexec(&["customer.move_big2", sql, "--dry-run"]);
    assert_eq!(code, 0);
    let statement = "update _vt.vreplication set state = 'Stopped' where db_name = 'vt_customer' and workflow = 'move_big2'";
    assert!(stdout.starts_with("This changes and restarts 4 streams on 4 tablets:\n"), "{stdout}");
    assert_eq!((stdout.matches(statement).count(), stdout.matches("same statement").count()), (1, 3), "{stdout}");
    assert_eq!(stdout.matches("\n    stream 2 ").count(), 4, "the rows that it would touch: {stdout}");
    // Without a terminal somebody has to have said yes.
    let (code, _, stderr) = vexec(&["customer.move_big2", sql]);
    assert_eq!(code, 2);
    assert!(stderr.contains("nothing was changed; say --yes"), "{stderr}");
}

#[test]
fn a_write_is_performed_and_accounted_for() {
    let sql = "update _vt.vreplication set state='Stopped'";
    let (code, stdout, stderr) = vexec(&["customer.move_big2", sql, "--yes", "--shards", "-40,40-80"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.ends_with("customer/-40 zone1-0000000200: applied, 1 row\ncustomer/40-80 zone2-0000000300: applied, 1 row\n"),
        "{stdout}"
    );
}
