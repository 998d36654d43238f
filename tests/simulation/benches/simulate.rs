//! `make simulate`: seed after seed, and what came of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for people who build vtflow")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use vtflow_simulation::{
    Settings,
    journal::Record,
    sabotage::{NAMES, Sabotage},
    simulate, traffic,
};

const USAGE: &str = "simulate [--traffic [--only CHANGE]] [--seeds N] [--from SEED] [--requests N] [--log] [--break locks|writes|shards|closed|answers]";

fn run(seed: u64, is_traffic: bool, settings: Settings) -> Record {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let record = runtime.block_on(async move {
            if is_traffic { traffic::simulate(seed, settings).await } else { simulate(seed, settings).await }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        record
    });
    thread
        .expect("a thread")
        .join()
        .unwrap_or_else(|_| Record { violations: vec!["the run panicked".to_owned()], ..Record::default() })
}

fn main() {
    let (mut seeds, mut from, mut requests, mut log, mut sabotage) = (100, 0, 60, false, Sabotage::None);
    let (mut is_traffic, mut only) = (false, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).expect(USAGE);
        match argument.as_str() {
            "--seeds" => seeds = number(),
            "--from" => from = number(),
            "--requests" => requests = number(),
            "--log" => log = true,
            "--traffic" => is_traffic = true,
            // The beginning of a kind of change's name: of the seeds, those that aim at such a one.
            "--only" => only = arguments.next().expect(USAGE),
            "--break" => {
                let name = arguments.next().unwrap_or_default();
                sabotage = NAMES.iter().find(|(known, _)| *known == name).map(|(_, of)| *of).expect(USAGE);
            }
            // Cargo's own.
            "--bench" => {}
            other => panic!("{other}? {USAGE}"),
        }
    }
    let begun = Instant::now();
    let mut counts: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    let (mut simulated, mut events, mut failed) = (Duration::ZERO, 0, Vec::new());
    let mut ran = 0_u64;
    for seed in (from..from + seeds).filter(|seed| !is_traffic || traffic::aim_of(*seed).0.starts_with(&only)) {
        ran += 1;
        let record = run(seed, is_traffic, Settings { requests, keeps_lines: log, sabotage });
        for line in &record.lines {
            println!("{line}");
        }
        if !record.violations.is_empty() {
            failed.push(seed);
            println!(
                "seed {seed} fails after {:.1} s; again with the log of events: make simulate SEEDS=1 FROM={seed} LOG=1{}",
                begun.elapsed().as_secs_f64(),
                if is_traffic { " TRAFFIC=1" } else { "" }
            );
            for violation in &record.violations {
                println!("    {violation}");
            }
        }
        if log {
            println!("seed {seed}: hash {:016x} of {} events", record.hash, record.events);
        }
        simulated += record.simulated;
        events += record.events;
        for (name, count) in record.counts {
            *counts.entry(name).or_default() += count;
        }
    }
    let took = begun.elapsed();
    println!(
        "{ran} seeds from {from} on: {:.1} h simulated in {:.1} s, {:.2} days a minute, {events} events",
        simulated.as_secs_f64() / 3_600.0,
        took.as_secs_f64(),
        simulated.as_secs_f64() / 86_400.0 / (took.as_secs_f64() / 60.0)
    );
    for kind in
        ["fault", "case", "request", "reply", "verdict", "write", "switch", "phase", "mend", "mended by", "limit", "violation"]
    {
        let of_kind: Vec<_> = counts.iter().filter(|((of, _), _)| *of == kind).collect();
        if of_kind.is_empty() && kind != "violation" {
            continue;
        }
        println!("{kind}: {}", of_kind.iter().map(|(_, count)| **count).sum::<u64>());
        for ((_, name), count) in of_kind {
            println!("    {count:>9}  {name}");
        }
    }
    if is_traffic {
        for line in traffic::Coverage(&counts).lines() {
            println!("{line}");
        }
    }
    if !failed.is_empty() {
        println!("seeds that failed: {failed:?}");
        std::process::exit(1);
    }
}
