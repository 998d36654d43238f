//! `vtflow repair` as people run it, on recorded clusters.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

use std::fs;

use crate::support::program::{Ran, recorded, snapshot_flag, vtflow};

fn on(snapshot: &str, command: &str) -> Ran {
    let mut args = snapshot_flag(&recorded(snapshot)).to_vec();
    args.extend(command.split(' ').map(str::to_owned));
    vtflow(&args)
}

const LEFT: &str = "movetables-running";

#[test]
fn a_preview_has_every_step_with_its_calls_and_changes_nothing() {
    let told = on(LEFT, "diagnose");
    assert!(told.stdout.contains("leftover denied tables"), "{told:?}");
    let ran = on(LEFT, "repair commerce --dry-run");
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in ["keyspaces/commerce/shards/0/Shard allow tables", "RefreshState", "Locked meanwhile: keyspaces/commerce"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    assert!(ran.stdout.contains("  1. allow tables\n"), "{}", ran.stdout);
}

#[test]
fn what_was_shown_is_done_and_what_is_left_is_said() {
    let done = on(LEFT, "repair commerce --only leftover_denied_tables --yes -o json");
    assert_eq!(done.code, 0, "{done:?}");
    let document = done.json();
    let outcomes = document["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), document["plan"]["writes"].as_array().unwrap().len());
    assert!(!outcomes.is_empty() && outcomes.iter().all(|outcome| outcome["verdict"] == "applied"), "{document}");
    let notes = document["notes"].to_string();
    assert!(!notes.contains("leftover_denied_tables"), "it is not there any more: {notes}");
    // The plan of another cluster: each embedded one has addresses of its own.
    let plan = on(LEFT, "repair commerce --only leftover_denied_tables --dry-run -o json");
    let file = std::env::temp_dir().join(format!("vtflow-repair-{}.json", std::process::id()));
    fs::write(&file, &plan.stdout).unwrap();
    let applied = on(LEFT, &format!("apply {} --yes", file.display()));
    fs::remove_file(&file).unwrap();
    assert_eq!(applied.code, 2, "{applied:?}");
    assert!(applied.stderr.contains("the plan is not the one any more: nothing was changed"), "{applied:?}");
}

#[test]
fn nothing_is_done_where_nothing_is_wrong_or_nobody_said_yes() {
    let well = on("movetables-switched", "repair customer move1 --yes");
    assert_eq!(well.code, 0, "{well:?}");
    assert!(well.stderr.contains("Nothing to do: nothing was changed."), "{well:?}");
    let asked = on(LEFT, "repair commerce");
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(asked.stderr.contains("say --yes, or look with --dry-run"), "{asked:?}");
    let none = on(LEFT, "repair nosuch --yes");
    assert_eq!(none.code, 2, "{none:?}");
}
