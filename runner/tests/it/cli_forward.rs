//! `vtflow workflow complete`, `cancel` and `mirror` as people run them, on recorded clusters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, io::Write};

use crate::support::{
    live::Live,
    program::{self, Ran, recorded, snapshot_flag, vtflow},
};
use vtflow::embedded::Snapshot;

fn args(snapshot: &str, command: &str) -> Vec<String> {
    let command = command.split(' ').map(str::to_owned);
    snapshot_flag(&recorded(snapshot)).into_iter().chain(command).collect()
}

fn on(snapshot: &str, command: &str) -> Ran {
    vtflow(&args(snapshot, command))
}

/// The steps of a preview, without their calls, and what is behind them.
fn outline(printed: &str) -> Vec<&str> {
    printed.lines().filter(|line| !line.starts_with("     ")).collect()
}

const SWITCHED: &str = "movetables-switched";
const READS: &str = "movetables-reads-switched";

#[test]
fn a_preview_of_a_completion_ends_with_what_is_gone_for_good_by_name_and_side() {
    let ran = on(SWITCHED, "workflow complete customer move1 --dry-run");
    assert_eq!(ran.code, 0, "{ran:?}");
    let want = [
        "This completes customer.move1, in 8 steps",
        "  ---- nothing of this is taken back: what a failure leaves is finished by the same command",
        "  1. drop the source's tables",
        "  2. edit the source's vschema",
        "  3. allow the tables on the source",
        "  4. allow the tables on the target",
        "  5. tell the other tablets",
        "  6. delete the reverse streams",
        "  7. delete the routing rules",
        "  8. delete the streams",
        "Locked meanwhile: internal/named_locks/customer/move1",
        "Locked meanwhile: keyspaces/commerce",
        "Locked meanwhile: keyspaces/customer",
        "Gone for good afterwards:",
        "  tables corder, customer, dropped on the source, commerce/0",
    ];
    assert_eq!(outline(&ran.stdout), want, "{}", ran.stdout);
    let call = "     zone1-0000000100  commerce/0  ExecuteFetchAsDba drop table `vt_commerce`.`corder`";
    assert!(ran.stdout.lines().any(|line| line == call), "{}", ran.stdout);

    let renamed = on(SWITCHED, "workflow complete customer move1 --rename-tables --dry-run").stdout;
    let kept = "Kept: the tables of the source, commerce/0, under other names: corder as _corder_old, customer as _customer_old";
    assert!(renamed.ends_with(&format!("{kept}\n")) && !renamed.contains("Gone for good"), "{renamed}");

    let split = on("reshard-switched", "workflow complete customer split1 --dry-run").stdout;
    let gone = "  shard customer/80- of the source: its record, and those of 1 tablet, whose databases stay as they are\n";
    assert!(split.ends_with(&format!("Gone for good afterwards:\n{gone}")), "{split}");
}

#[test]
fn who_completes_a_workflow_types_its_name_and_what_was_shown_is_done() {
    let asked = on(SWITCHED, "workflow complete customer move1");
    assert_eq!(asked.code, 2);
    assert!(asked.stderr.contains("there is no terminal to ask at: nothing was changed"), "{asked:?}");
    for (typed, code, said) in [("yes\n", 2, "Nothing was changed."), ("move1\n", 0, "applied, 1 record")] {
        let mut script = program::at_terminal(&args(SWITCHED, "workflow complete customer move1"));
        script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let done = script.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&done.stdout).replace('\r', "");
        assert_eq!(done.status.code(), Some(code), "{printed}");
        let question = "  tables corder, customer, dropped on the source, commerce/0\nType the workflow's name (move1) to go on:";
        assert!(printed.contains(question) && printed.contains(said), "{printed}");
    }

    // Kept: nothing is gone.
    let kept = on(SWITCHED, "workflow complete customer move1 --keep-data --keep-routing-rules --yes -o json");
    assert_eq!(kept.code, 0, "{kept:?}");
    let document = kept.json();
    assert_eq!(document["plan"]["kept"], serde_json::json!(["the tables", "the routing rules"]));
    assert_eq!((&document["plan"]["gone"], &document["error"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert!(document["outcomes"].as_array().unwrap().iter().all(|outcome| outcome["verdict"] == "applied"), "{document}");
    let drops = |write: &serde_json::Value| write["statement"].as_str().unwrap().starts_with("drop");
    assert!(!document["plan"]["writes"].as_array().unwrap().iter().any(drops), "{document}");
}

#[test]
fn a_cancellation_says_what_goes_on_the_target_and_does_it() {
    let ran = on(READS, "workflow cancel customer move1 --yes");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("This cancels customer.move1, in 7 steps\n"), "{}", ran.stdout);
    let gone = "Gone for good afterwards:\n  tables corder, customer, dropped on the target, customer/-80, customer/80-\n";
    assert!(ran.stdout.contains(gone), "{}", ran.stdout);
    let outcomes: Vec<&str> = ran.stdout.split(gone).nth(1).unwrap().lines().collect();
    assert!(outcomes.len() > 10 && outcomes.iter().all(|line| line.contains(": applied, 1 ")), "{outcomes:?}");

    // Some shards alone: only where nothing is dropped.
    let some = on(READS, "workflow cancel customer move1 --keep-data --keep-routing-rules --shards -80 --dry-run");
    assert!(some.code == 0 && some.stdout.contains("zone1-0000000200  customer/-80  1 row"), "{some:?}");
    assert!(!some.stdout.contains("customer/80-"), "{some:?}");
    let dropped = on(READS, "workflow cancel customer move1 --shards -80 --dry-run");
    assert_eq!((dropped.code, dropped.stdout.as_str()), (2, ""));
    assert!(dropped.stderr.contains("deleting some shards of a workflow with its tables"), "{dropped:?}");
}

#[test]
fn what_speaks_against_it_is_said_and_nothing_is_touched() {
    for (snapshot, command, said) in [
        (READS, "complete customer move1 --yes", "you have not yet switched all read and write traffic"),
        (SWITCHED, "cancel customer move1 --yes", "you have already switched write traffic"),
        (SWITCHED, "mirror customer move1 --yes", "cannot mirror [primary,replica,rdonly] traffic for workflow move1"),
        ("reshard-running", "mirror customer cust2cust --yes", "invalid action for Reshard workflow: MirrorTraffic"),
        (SWITCHED, "complete customer nope --yes", "no streams found in keyspace customer for nope"),
    ] {
        let ran = on(snapshot, &format!("workflow {command}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{command}: {ran:?}");
        assert!(ran.stderr.contains(said), "{command}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_mirrored_by_the_percent_and_a_plan_of_it_is_applied_once() {
    let live = Live::start(Snapshot::load(&recorded("movetables-running")).unwrap()).await;
    let on = |command: &str| vtflow(&[live.flags(), command.split(' ').map(str::to_owned).collect()].concat());
    let command = "workflow mirror customer move_big2 --percent 12.5 --tablet-types replica";
    let plan = on(&format!("{command} --dry-run -o json"));
    assert_eq!(plan.code, 0, "{plan:?}");
    let rules = "mirror commerce.big2@replica -> customer.big2 12.5%; commerce.orders2@replica -> customer.orders2 12.5%";
    assert_eq!(plan.json()["writes"][0]["statement"], rules);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("plan.json");
    fs::write(&file, &plan.stdout).unwrap();
    let apply = format!("apply {} --yes", file.display());
    let applied = on(&apply);
    assert_eq!(applied.code, 0, "{applied:?}");
    assert!(applied.stdout.starts_with("This mirrors traffic of customer.move_big2, in 3 steps\n"), "{}", applied.stdout);
    assert!(applied.stdout.contains("deny tables big2, orders2, and let reads of them through\n"), "{}", applied.stdout);
    assert!(applied.stdout.ends_with("\ncustomer zone2: applied, 1 record\n"), "{}", applied.stdout);
    let again = on(&apply);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("the plan is not the one any more: nothing was changed"), "{again:?}");

    let ended = on("workflow mirror customer move_big2 --percent 0 --tablet-types replica --yes");
    assert!(ended.code == 0 && ended.stdout.starts_with("This ends mirroring of customer.move_big2, in 3 steps\n"), "{ended:?}");
}
