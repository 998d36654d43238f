//! A real Vitess cluster on this machine: `up` starts one to try things on, `down` ends it, `suite` drives one of its own and ends
//! with it. What is needed is made by `make cluster`; where it is can be named by variables, see `settings.rs`.

mod cluster;
mod compare;
mod mysql;
mod parts;
mod ports;
mod process;
mod reads;
mod relay;
mod report;
mod run;
mod settings;
mod suite;
mod tools;
mod writer;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use report::say;
use settings::Settings;

fn main() -> ExitCode {
    perform().unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "vtflow-cluster: {error:#}");
        ExitCode::FAILURE
    })
}

fn perform() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up"] => {
            let started = Instant::now();
            let cluster = cluster::Cluster::start(Settings::from_environment()?.checked()?, true)?;
            say(&format!("up in {:.0} s, {} MiB of memory", cluster::seconds(started), cluster.memory_mib()));
            say(&cluster.directions()?);
            say("cargo run -p vtflow-cluster -- down ends it");
        }
        ["down"] => {
            let ended = cluster::end(&Settings::from_environment()?)?;
            say(&format!("{ended} processes ended"));
        }
        ["suite", parts @ ..] => {
            if !run::run(parts)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        _ => anyhow::bail!("which? There are: up, down, suite [PART...]"),
    }
    Ok(ExitCode::SUCCESS)
}
