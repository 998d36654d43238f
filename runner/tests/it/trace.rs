//! `--trace`, `--redact` and `vtflow replay`: what was recorded of real runs comes to the same replies, without a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use crate::support::program::{Ran, recorded, vtflow};
use serde_json::Value;
use tempfile::TempDir;

fn run(command: &str, file: &Path, more: &[&str]) -> Ran {
    let mut args: Vec<&str> = command.split(' ').collect();
    args.extend(["--trace", file.to_str().unwrap()]);
    args.extend(more);
    vtflow(&args)
}

fn replay(file: &Path) -> Ran {
    vtflow(&["replay", file.to_str().unwrap()])
}

fn traces(file: &Path) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_command_is_written_down_and_comes_to_the_same_replies() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("trace");
    // What is asked beside the rows themselves (what is gone on with, where the sources are) is a flow of its own each.
    for (command, flows) in [
        ("--demo get workflows customer --logs", 4),
        ("--demo get migrations customer", 3),
        ("--demo get keyspaces", 3),
        ("--demo get tablets", 1),
        ("--demo describe workflow customer sales_mat", 4),
        ("--demo vexec customer.sales_mat select+*+from+_vt.vreplication", 1),
        ("demo --down zone1-0000000200 get workflows customer", 3),
        ("demo --hang zone1-0000000200 --tablet-deadline 300ms get workflows customer", 3),
        // A plan and what was done by it.
        ("--demo workflow stop customer sales_mat --yes", 2),
        ("--demo migration throttle customer all --yes", 2),
        ("--demo get workflows nope", 1),
    ] {
        let args: Vec<String> = command.split(' ').map(|word| word.replace('+', " ")).collect();
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["--trace", file.to_str().unwrap()]);
        let ran = vtflow(&args);
        let found = traces(&file);
        assert_eq!(found.len(), flows, "{command}: {}", ran.stderr);
        for trace in &found {
            for ask in trace["asks"].as_array().unwrap() {
                let at = |what: &str| ask[what].as_u64();
                assert!(!ask["answer"].is_null() && at("answered_us") >= at("asked_us"), "{command}: {ask}");
                let was_sent = at("sent_us").is_some_and(|sent| Some(sent) >= at("asked_us") && Some(sent) <= at("answered_us"));
                assert_eq!(was_sent, ask["what"]["kind"] == "tablet_call", "{command}: {ask}");
            }
        }
        let again = replay(&file);
        assert_eq!(again.code, 0, "{command}: {}{}", again.stdout, again.stderr);
        assert_eq!(again.stdout.matches("the reply is the same").count(), found.len(), "{command}: {}", again.stdout);
    }
}

#[test]
fn recorded_clusters_come_to_the_same_bytes_in_a_later_process() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("trace");
    for (snapshot, keyspace) in [
        ("mixed-releases", "mixed"),
        ("odd-rows", "customer"),
        ("onlineddl-mixed", "customer"),
        ("shards-without-primary", "customer"),
    ] {
        let at = recorded(snapshot);
        let ran = vtflow(&[
            "--snapshot",
            at.to_str().unwrap(),
            "get",
            "workflows",
            keyspace,
            "--logs",
            "-o",
            "json",
            "--trace",
            file.to_str().unwrap(),
        ]);
        assert!(ran.code < 2, "{snapshot}: {}", ran.stderr);
        let again = vtflow(&["replay", file.to_str().unwrap(), "-o", "json"]);
        assert_eq!(again.code, 0, "{snapshot}: {}", again.stderr);
        assert_eq!(again.json()[0]["reply"], traces(&file)[0]["reply"], "{snapshot}");
    }
}

#[test]
fn what_rows_say_is_left_out_on_demand() {
    let directory = TempDir::new().unwrap();
    let (file, open) = (directory.path().join("trace"), directory.path().join("open"));
    let commands =
        ["--demo get workflows customer --logs", "--demo get migrations customer", "--demo describe workflow customer sales_mat"];
    for command in commands {
        run(command, &file, &["--redact"]);
        run(command, &open, &[]);
        let again = replay(&file);
        assert_eq!(again.code, 0, "{command}: {}", again.stdout);
        assert!(again.stdout.contains(", redacted"), "{}", again.stdout);
        // As text and within base64: what a filter, a message, a statement says.
        let texts = |file: &Path| {
            let mut all = String::new();
            for trace in traces(file) {
                collect(&trace, &mut all);
            }
            all
        };
        let (hidden, shown) = (texts(&file), texts(&open));
        for secret in ["select * from", "Unknown column", "alter table"] {
            let statement = |text: &str| text.matches(secret).count();
            // Statements that were sent are no rows.
            assert!(statement(&hidden) <= statement(&shown), "{command} {secret}");
        }
        assert!(!hidden.contains("Unknown column 'price'"), "{command}");
        assert!(hidden.contains("(redacted 1)"), "{command}");
    }
    run(commands[0], &open, &[]);
    let mut shown = String::new();
    for trace in traces(&open) {
        collect(&trace, &mut shown);
    }
    assert!(shown.contains("Unknown column 'price'"), "the demo has it, or this test shows nothing");
}

/// All text within a document, decoded where it is base64.
fn collect(value: &Value, into: &mut String) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name == "base64").map(|text| BASE64_STANDARD.decode(text).unwrap()) {
                    Some(bytes) => into.push_str(&String::from_utf8_lossy(&bytes)),
                    None => collect(value, into),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
        Value::String(text) => into.push_str(text),
        _ => {}
    }
}

#[test]
fn a_file_that_is_no_trace_is_said_to_be_none() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("trace");
    // As JSON, which takes one flow.
    run("--demo get workflows customer -o json", &file, &[]);
    let good = fs::read_to_string(&file).unwrap();
    for (text, want) in [
        (String::new(), "has no trace: make one with --trace"),
        ("{}".to_owned(), "line 1: no trace: it has no vtflow_trace"),
        (good[..good.len() / 2].to_owned(), "line 1: no trace: EOF while parsing"),
        (good.replacen("\"vtflow_trace\":1", "\"vtflow_trace\":2", 1), "a trace of form 2, which a later vtflow reads"),
        (good.replacen("\"now\"", "\"then\"", 1), "line 1: a damaged trace: missing field `now`"),
        (format!("{good}\u{0}"), "line 2: no trace: "),
    ] {
        fs::write(&file, text).unwrap();
        let ran = replay(&file);
        assert!(ran.code == 2 && ran.stderr.contains(want), "{want}: {} {}", ran.code, ran.stderr);
    }
    assert_eq!(replay(&directory.path().join("nowhere")).code, 2);
    // Another reply than the recorded one.
    fs::write(&file, good.replacen("\"ok\":{", "\"ok\":{\"text\":\"other\"},\"was\":{", 1)).unwrap();
    let ran = replay(&file);
    assert!(ran.code == 2 || ran.stdout.contains("DIFFERS: the reply is another one than then"), "{}{}", ran.stdout, ran.stderr);
    let ran = run("--demo get keyspaces", &directory.path().join("no/such/directory"), &[]);
    assert!(ran.code == 2 && ran.stderr.contains("cannot be written"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_a_trace() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("trace");
    run("--demo get keyspaces", &file, &[]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}
