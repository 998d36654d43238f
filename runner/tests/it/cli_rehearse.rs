//! `vtflow workflow switch|reverse|complete|cancel|mirror --rehearse` and `vtflow repair --rehearse` as people run it, on recorded clusters and on one that is partly down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use crate::support::program::{Ran, vtflow};

const SWITCH: &str = "workflow switch customer move1 --tablet-types primary";

fn on(snapshot: &str, command: &str) -> Ran {
    let folder = format!("{}/../tests/snapshots/{snapshot}", env!("CARGO_MANIFEST_DIR"));
    let args: Vec<&str> = ["--snapshot", &folder].into_iter().chain(command.split(' ')).collect();
    vtflow(&args)
}

#[test]
fn a_rehearsal_shows_each_step_what_is_refused_meanwhile_and_where_it_ends() {
    let ran = on("movetables-reads-switched", &format!("{SWITCH} --rehearse"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let at =
        |begin: &str| lines.iter().position(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}\n{}", ran.stdout));
    let places = [
        "Rehearsed on a copy of commerce, customer, taken ",
        "This moves writes of customer.move1 to customer, in 13 steps",
        "  1. refresh tablets: 4 calls in 1 round, ",
        "  ---- from here writes to corder, customer are refused",
        "  3. stop writes on the source: ",
        "     global  keyspaces/commerce/shards/0/Shard deny tables corder, customer",
        "  ---- up to here a failure takes back what was done; from here it goes on, or is finished by the same command",
        "  8. write the journal: 1 call in 1 round, ",
        "  9. switch writes: 3 calls in 2 rounds, ",
        "  ---- from here they are taken again",
        "  12. freeze the streams: ",
        "  13. tell the other tablets: ",
        "Writes to corder, customer are refused from \"stop writes on the source\" to \"switch writes\": ",
        "All of it: ",
        "A copy does not know:",
        "After it: healthy: 1 workflow, nothing wrong: customer.move1  standard  commerce/0 -> customer (2 shards)  writes switched",
    ]
    .map(at);
    assert!(places.is_sorted(), "{places:?}\n{}", ran.stdout);
    assert!(ran.stdout.contains("estimate"), "{}", ran.stdout);
}

#[test]
fn a_script_gets_the_steps_as_a_document_and_the_exit_code_tells_how_it_went() {
    let ran = on("movetables-reads-switched", &format!("{SWITCH} --rehearse -o json"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = ran.json();
    assert_eq!(document["verdict"], "healthy");
    assert_eq!(document["after"]["verdict"], "healthy");
    assert!(document["refused"]["rounds"].as_u64().unwrap() > 1, "{document}");
    // Ports are other ones each time.
    let plan = on("movetables-reads-switched", &format!("{SWITCH} --dry-run -o json")).json();
    for part in ["summary", "steps", "locks", "request"] {
        assert_eq!(document["plan"][part], plan[part], "what is rehearsed is what --dry-run shows: {part}");
    }
    // Refused: nothing is rehearsed, and the reason is there.
    let refused = on("movetables-reads-switched", "workflow reverse customer move1 --tablet-types primary --rehearse");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stdout.contains("It is refused: no streams found in keyspace commerce for move1_reverse"), "{refused:?}");
    assert_eq!(on("movetables-reads-switched", &format!("{SWITCH} --rehearse --dry-run")).code, 2);
}

#[test]
fn what_could_not_be_read_is_named_and_nothing_is_made_of_the_rest() {
    let args = "demo --shards 2 --down zone1-0000000200 workflow switch customer move_orders_1 --rehearse";
    let ran = vtflow(&args.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.contains("Not read: customer/-80 zone1-0000000200: zone1-0000000200 at 127.0.0.1:"), "{ran:?}");
    assert!(ran.stdout.contains("Nobody can tell: "), "{ran:?}");
    assert!(!ran.stdout.contains("healthy"), "{ran:?}");
}

#[test]
fn faults_that_there_was_no_time_for_are_counted_and_are_not_taken_for_healed() {
    let ran = on("movetables-reads-switched", &format!("{SWITCH} --rehearse=faults --rehearse-limit 1ms"));
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.contains("faults were not tried: the time was over"), "{}", ran.stdout);
    assert!(ran.stdout.lines().any(|line| line.starts_with("STEP ") && line.contains("HEALED BY")), "{}", ran.stdout);
}

#[test]
fn an_estimate_rests_on_how_long_the_tablets_of_the_cluster_took() {
    let args = "demo --shards 2 --tablet-delay 20ms workflow switch customer move_orders_1 --rehearse -o json";
    let ran = vtflow(&args.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = ran.json();
    let number = |text: &str| document.pointer(text).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{text}"));
    assert!(number("/round_trips/middle_us") >= 20_000, "{}", document["round_trips"]);
    // Locks of tables, positions, streams and the journal alone are six calls that follow each other.
    let refused = number("/refused/estimate_us");
    assert!(refused >= 6 * 20_000 && refused <= number("/estimate_us"), "{}", document["refused"]);
}

#[test]
fn what_ends_a_workflow_is_rehearsed_and_what_is_gone_for_good_stands_near_the_end() {
    let ran = on("movetables-switched", "workflow complete customer move1 --rehearse");
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let at =
        |begin: &str| lines.iter().position(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}\n{}", ran.stdout));
    let places = [
        "Rehearsed on a copy of commerce, customer, taken ",
        "This completes customer.move1, in 8 steps",
        "  look, lock, and look again under the locks: ",
        "  ---- nothing of this is taken back: what a failure leaves is finished by the same command",
        "  1. drop the source's tables: 2 calls in 2 rounds, ",
        "     zone1-0000000100  commerce/0  ExecuteFetchAsDba drop table `vt_commerce`.`corder`",
        "  8. delete the streams: ",
        "No write is refused that was not before.",
        "  tables: the copy has their names; ",
        "Gone for good afterwards:",
        "  tables corder, customer, dropped on the source, commerce/0",
        "After it: healthy: 1 workflow, nothing wrong: customer.move1  no streams: completed, cancelled, or never created",
    ]
    .map(at);
    assert!(places.is_sorted(), "{places:?}\n{}", ran.stdout);
    assert!(!ran.stdout.contains("nothing to do"), "{}", ran.stdout);

    let renamed = on("movetables-switched", "workflow complete customer move1 --rename-tables --rehearse -o json");
    assert_eq!(renamed.code, 0, "{renamed:?}");
    let document = renamed.json();
    assert_eq!((&document["verdict"], &document["plan"]["gone"]), (&"healthy".into(), &serde_json::Value::Null));
    let plan = on("movetables-switched", "workflow complete customer move1 --rename-tables --dry-run -o json").json();
    for part in ["summary", "steps", "locks", "request"] {
        assert_eq!(document["plan"][part], plan[part], "what is rehearsed is what --dry-run shows: {part}");
    }

    let mirrored = on("movetables-running", "workflow mirror customer move_big2 --percent 5 --rehearse");
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    assert!(mirrored.stdout.contains("\n  1. write the mirror rules: 1 call in 1 round, "), "{}", mirrored.stdout);

    let refused = on("movetables-reads-switched", "workflow complete customer move1 --rehearse");
    assert_eq!(refused.code, 1, "{refused:?}");
    let text = "It is refused: cannot complete workflow because you have not yet switched all read and write traffic";
    assert!(refused.stdout.contains(text), "{refused:?}");
    for both in ["complete customer move1 --rehearse --dry-run", "cancel customer move1 --rehearse --yes"] {
        assert_eq!(on("movetables-switched", &format!("workflow {both}")).code, 2, "{both}");
    }
}

#[test]
fn faults_of_a_cancellation_are_healed_by_the_same_command() {
    let ran = on("movetables-reads-switched", "workflow cancel customer move1 --rehearse=faults");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.lines().any(|line| line.starts_with("STEP ") && line.ends_with("HEALED BY")), "{}", ran.stdout);
    let has = |parts: &[&str]| ran.stdout.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has(&["drop the target's tables", "process dies", "half done, reads switched", "same command"]), "{}", ran.stdout);
    assert!(has(&["delete the streams", "answer lost", "done", "not needed"]), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("\neach of them heals; of those half-way 0 in both directions, the others in one\n"),
        "{}",
        ran.stdout
    );

    // Nothing is dropped, and some shards alone: no steps, and all of it is there.
    let args = "workflow cancel customer move_big2 --keep-data --keep-routing-rules --shards -80 --rehearse";
    let some = on("movetables-running", args);
    assert_eq!(some.code, 1, "the other shard's streams are left: {some:?}");
    assert!(some.stdout.contains("  1. all at once: "), "{}", some.stdout);
}

#[test]
fn a_repair_is_rehearsed_and_says_where_it_ends() {
    let only = "repair commerce --only leftover_denied_tables";
    let ran = on("movetables-running", &format!("{only} --rehearse=faults -o json"));
    let document = ran.json();
    let tried = document["faults"]["lines"].as_array().unwrap().len();
    assert_eq!(tried.to_string(), document["faults"]["all"].to_string());
    let plan = on("movetables-running", &format!("{only} --dry-run -o json")).json();
    for part in ["summary", "steps", "locks", "request"] {
        assert_eq!(document["plan"][part], plan[part], "what is rehearsed is what --dry-run shows: {part}");
    }
    // What it leaves is wrong afterwards, and is said.
    let well = document["after"]["parts"].as_array().unwrap().is_empty();
    assert_eq!((ran.code == 0, &document["verdict"] == "healthy"), (well, well), "{document}");
    let nothing = on("movetables-switched", "repair customer move1 --rehearse");
    assert_eq!(nothing.code, 0, "{nothing:?}");
    assert!(nothing.stdout.contains("Nothing is wrong with customer.move1"), "{}", nothing.stdout);
    assert_eq!(on("movetables-running", "repair commerce --rehearse --yes").code, 2);
}
