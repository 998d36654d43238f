use std::{
    process::{Command, Stdio},
    time::Duration,
};

use vtflow_simulation::{Settings, journal::Record, sabotage::Sabotage, simulate};

/// Few requests each: many seeds find more than long ones.
const REQUESTS: u64 = 5;
const SEEDS: u64 = 150;

/// One run on a runtime of its own: one thread, and a clock that jumps to the next thing that is waited for.
fn run(seed: u64, requests: u64, sabotage: Sabotage) -> Record {
    // Deep statements are read on this thread.
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let record = runtime.block_on(simulate(seed, Settings { requests, keeps_lines: true, sabotage }));
        runtime.shutdown_timeout(Duration::from_secs(1));
        record
    });
    thread.unwrap().join().unwrap()
}

/// In a process of its own, since the server writes a line about each change to stderr, which nobody would read here.
#[test]
fn no_seed_finds_anything() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "seeds::seeds_in_this_process", "--ignored", "--nocapture"]).stderr(Stdio::null());
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{SEEDS} seeds")), "{text}");
}

#[test]
#[ignore = "run by the test above"]
fn seeds_in_this_process() {
    let mut failed = Vec::new();
    let mut events = 0;
    for seed in 0..SEEDS {
        let record = run(seed, REQUESTS, Sabotage::None);
        events += record.events;
        if !record.violations.is_empty() {
            println!("seed {seed}: make simulate SEEDS=1 FROM={seed} REQUESTS={REQUESTS} LOG=1 shows all of it");
            println!("    {}", record.violations.join("\n    "));
            failed.push(seed);
        }
    }
    println!("{SEEDS} seeds, {events} events");
    assert_eq!(failed, Vec::<u64>::new());
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 0..5 {
        let (one, other) = (run(seed, REQUESTS, Sabotage::None), run(seed, REQUESTS, Sabotage::None));
        if one == other {
            continue;
        }
        // h2 forgets streams by the system's clock: on a machine that was busy elsewhere one of them may be another.
        let third = run(seed, REQUESTS, Sabotage::None);
        let difference = one.lines.iter().zip(&other.lines).enumerate().find(|(_, (one, other))| one != other);
        assert!(third == one || third == other, "seed {seed}: {difference:?}");
    }
}

#[test]
fn a_lock_that_is_not_held_is_noticed() {
    let found = (0..20).any(|seed| {
        let record = run(seed, 20, Sabotage::DropsLocks);
        record.violations.iter().any(|text| text.contains("nothing is written without its lock"))
    });
    assert!(found);
}

#[test]
fn a_record_that_is_written_again_is_noticed() {
    // The answer to a write of a record has to get lost: one seed in some twenty has that.
    let found = (0..100).any(|seed| {
        let record = run(seed, 20, Sabotage::RetriesWrites);
        record.violations.iter().any(|text| text.contains("no write is sent twice"))
    });
    assert!(found);
}
