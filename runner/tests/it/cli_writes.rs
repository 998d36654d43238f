//! The commands that change a cluster, against one that is alive: what they show, what they ask, what they did.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, io::Write};

use crate::support::{
    live::Live,
    program::{self, Ran, recorded, snapshot_flag, vtflow},
};
use serde_json::Value;
use vtflow::embedded::{Release, Shape, generate};
use vtflow_planner::Timestamp;

const NOW: Timestamp = Timestamp { seconds: 1_795_424_044, nanos: 0 };

/// Two shards of tablets that take statements.
async fn live() -> Live {
    Live::start(generate(Shape { shards: 2, streams: 12, release: Release::new(16), ..Shape::default() }, NOW)).await
}

fn on(live: &Live, command: &str) -> Ran {
    let mut args = live.flags();
    args.extend(command.split(' ').map(str::to_owned));
    vtflow(&args)
}

/// The states of every stream, by workflow and shard.
fn states(live: &Live) -> BTreeMap<String, String> {
    let ran = on(live, "get workflows customer -o json");
    let mut states = BTreeMap::new();
    for workflow in ran.json()["workflows"].as_array().unwrap() {
        for (place, shard) in workflow["shard_streams"].as_object().unwrap() {
            for stream in shard["streams"].as_array().unwrap() {
                let name = format!("{} {place}", workflow["name"].as_str().unwrap());
                states.insert(name, stream["state"].as_str().unwrap().to_owned());
            }
        }
    }
    assert!(states.len() > 8, "{states:?}");
    states
}

/// The places whose state differs.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    assert_eq!(before.len(), after.len());
    before.iter().filter(|(name, state)| after.get(*name) != Some(*state)).map(|(name, _)| name.clone()).collect()
}

const WORKFLOW: &str = "move_orders_1";

/// Runs a command at a terminal at which somebody types. Gives the exit code and all that was printed.
fn at_terminal(live: &Live, command: &str, typed: &str) -> (i32, String) {
    let args: Vec<String> = live.flags().into_iter().chain(command.split(' ').map(str::to_owned)).collect();
    let mut script = program::at_terminal(&args);
    script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let done = script.wait_with_output().unwrap();
    (done.status.code().unwrap(), String::from_utf8_lossy(&done.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_at_a_terminal_is_asked_and_the_answer_counts() {
    let live = live().await;
    let before = states(&live);
    let delete = format!("workflow delete customer {WORKFLOW}");
    let stop = format!("workflow stop customer {WORKFLOW}");
    // Wrong answers, and none: the end of the input.
    for (command, typed) in [(&stop, "no\n"), (&stop, "\n"), (&stop, "\u{4}"), (&delete, "yes\n"), (&delete, "move_orders_\n")] {
        let (code, printed) = at_terminal(&live, command, typed);
        assert_eq!(code, 2, "{command} {typed:?}: {printed}");
        assert!(printed.contains("Nothing was changed."), "{command} {typed:?}: {printed}");
        assert_eq!(states(&live), before, "{command} {typed:?}");
    }
    let (code, printed) = at_terminal(&live, &stop, "yes\n");
    assert!(code == 0 && printed.contains("Type yes to go on:") && printed.contains("applied, 1 row"), "{code} {printed}");
    assert_eq!(changed(&before, &states(&live)).len(), 2);
    let (code, printed) = at_terminal(&live, &delete, "move_orders_1\n");
    assert!(code == 0 && printed.contains("Type the workflow's name (move_orders_1) to go on:"), "{code} {printed}");
    assert!(!states(&live).keys().any(|name| name.starts_with(WORKFLOW)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_and_asked_for_and_then_made_on_just_these_rows() {
    let live = live().await;
    let before = states(&live);
    let dry = on(&live, &format!("workflow stop customer {WORKFLOW} --dry-run"));
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stdout.starts_with("This stops 2 streams on 2 tablets:\n"), "{}", dry.stdout);
    assert!(dry.stdout.contains("update _vt.vreplication set state = 'Stopped' where id in ("), "{}", dry.stdout);
    let asked = on(&live, &format!("workflow stop customer {WORKFLOW}"));
    assert_eq!((asked.code, &asked.stdout), (2, &dry.stdout), "without a terminal nobody can say yes");
    assert!(asked.stderr.contains("say --yes"), "{}", asked.stderr);
    assert_eq!(states(&live), before, "neither has changed anything");

    let one = on(&live, &format!("workflow stop customer {WORKFLOW} --shards -80 --yes"));
    assert_eq!(one.code, 0, "{}", one.stderr);
    assert!(one.stdout.ends_with("customer/-80 zone1-0000000200: applied, 1 row\n"), "{}", one.stdout);
    let after = states(&live);
    let place = format!("{WORKFLOW} -80/zone1-0000000200");
    assert_eq!((changed(&before, &after), after[&place].as_str()), (vec![place.clone()], "Stopped"));

    let all = on(&live, &format!("workflow stop customer {WORKFLOW} --yes -o json"));
    assert_eq!(all.code, 0, "{}", all.stderr);
    let said: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!((&said["error"], said["outcomes"].as_array().unwrap().len()), (&Value::Null, 2));
    assert!(said["outcomes"].as_array().unwrap().iter().all(|outcome| outcome["verdict"] == "applied"), "{said}");
    let after = states(&live);
    assert!(changed(&before, &after).iter().all(|name| name.starts_with(WORKFLOW)) && changed(&before, &after).len() == 2);

    let started = on(&live, &format!("workflow start customer {WORKFLOW} --yes"));
    assert_eq!(started.code, 0, "{}", started.stderr);
    assert_eq!(states(&live)[&place], "Running");

    let cells = on(&live, &format!("workflow update customer {WORKFLOW} --cells zone2 --yes"));
    assert_eq!(cells.code, 0, "{}", cells.stderr);
    assert!(cells.stdout.contains("set cell = 'zone2' where"), "nothing else is touched: {}", cells.stdout);
    assert_eq!(states(&live)[&place], "Running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_applied_as_it_was_or_not_at_all() {
    let live = live().await;
    let before = states(&live);
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("plan.json");
    let apply = format!("apply {} --yes", file.display());
    let plan = on(&live, &format!("workflow stop customer {WORKFLOW} --dry-run -o json"));
    assert_eq!((plan.code, plan.stderr.as_str()), (0, ""));

    let edited = plan.stdout.replace("'Stopped'", "'Running'");
    assert_ne!(edited, plan.stdout);
    fs::write(&file, edited).unwrap();
    let ran = on(&live, &apply);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("the plan was edited"), "{}", ran.stderr);

    let mut forged: Value = serde_json::from_str(&plan.stdout).unwrap();
    forged["shards"] = serde_json::json!(["-80"]);
    fs::write(&file, forged.to_string()).unwrap();
    let ran = on(&live, &apply);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("customer/80- zone2-0000000300 would not be changed any more"), "{}", ran.stderr);
    assert_eq!(states(&live), before, "neither has changed anything");

    fs::write(&file, &plan.stdout).unwrap();
    let ran = on(&live, &apply);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("customer/80- zone2-0000000300: applied, 1 row"), "{}", ran.stdout);
    let after = states(&live);
    assert_eq!(changed(&before, &after).len(), 2);

    // The same plan again: the rows are not those that it was based on.
    let ran = on(&live, &apply);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("the plan is not the one any more: nothing was changed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("was ") && ran.stderr.contains("Stopped"), "it says what differs: {}", ran.stderr);
    assert_eq!(states(&live), after);
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is() {
    let demo = |command: &str| {
        let ran = vtflow(&[&["--demo"], command.split(' ').collect::<Vec<_>>().as_slice()].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{command}: {}", ran.stderr);
        ran.stderr
    };
    for (command, part) in [
        ("workflow stop customer nope --yes", "the nope workflow does not exist in the customer keyspace"),
        ("workflow start customer commerce2customer --yes", "cannot start a workflow when it is frozen"),
        ("workflow stop nosuch move_big2 --yes", "nosuch"),
        ("workflow stop customer move_big2 --shards 40-60 --yes", "shard 40-60 not found in keyspace customer"),
        ("workflow update customer move_big2 --yes", "no configuration options specified to update"),
        ("workflow update customer move_big2 --on-ddl maybe --yes", "invalid on-ddl value: maybe"),
        ("migration retry customer all --yes", "there is no retry of all migrations"),
        ("migration cancel customer nope --yes", "nope is not a valid UUID"),
        ("apply /does/not/exist.json --yes", "/does/not/exist.json cannot be read"),
        ("apply Cargo.toml --yes", "Cargo.toml is not a plan"),
    ] {
        let said = demo(command);
        assert!(said.contains(part), "{command}: {said}");
    }
}

#[test]
fn migrations_are_counted_before_they_are_touched() {
    let directory = recorded("onlineddl-mixed");
    let run = |command: &str| {
        let mut args = snapshot_flag(&directory).to_vec();
        args.extend(command.split(' ').map(str::to_owned));
        vtflow(&args)
    };
    let ran = run("migration cancel customer all --dry-run");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("This cancels 3 migrations on 2 shards:\n"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("    alter vitess_migration cancel all\n").count(), 1, "{}", ran.stdout);
    assert!(ran.stdout.ends_with("Locked meanwhile: keyspaces/customer\n"), "{}", ran.stdout);
    let one = run("migration cancel customer all --dry-run --shards -80");
    assert!(one.stdout.starts_with("This cancels 3 migrations on 1 shard:\n"), "{}", one.stdout);
    // Nothing to do is done, and needs no yes.
    let idle = run("migration retry customer af907eb0_e71a_11f1_8dda_0a4aad2ccf4f");
    assert_eq!((idle.code, idle.stdout.as_str()), (0, ""), "{}", idle.stderr);
    assert!(idle.stderr.contains("Nothing to do"), "{}", idle.stderr);
}
