//! `make clients`: Vitess's own programs, unmodified, against vtflow.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use vtflow_clients::{
    client::Client, etcd::Etcd, live::Programs, reads, reads::Subject, recorded, report::Report, rpcs, states::States, vtadmin,
    writes,
};

/// Compares what Vitess's clients print of vtflow with what they printed of a vtctld, and with what they print of a real one.
#[derive(Parser)]
struct Args {
    /// The vtflow under test
    #[arg(long, default_value = "target/debug/vtflow")]
    vtflow: PathBuf,
    /// Where `.ci/clients` has built Vitess's programs
    #[arg(long, default_value = "target/clients")]
    clients: PathBuf,
    /// Only this part
    #[arg(long, value_parser = ["rpcs", "recorded", "reads", "writes", "vtadmin"])]
    only: Option<String>,
    /// Tell every comparison
    #[arg(long)]
    verbose: bool,
    /// Client versions; all without any
    versions: Vec<String>,
}

/// All client versions. The first is the one that other things are read with, too.
const VERSIONS: &[&str] = &["v24", "v22", "v20"];

/// What all parts need.
struct Bench {
    programs: Programs,
    tests: PathBuf,
    clients: Vec<Client>,
    reader: Client,
    only: Option<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let Args { vtflow, clients, only, verbose, versions } = Args::parse();
    let is_whole = versions.is_empty() && only.is_none();
    let versions = if versions.is_empty() { VERSIONS.iter().map(|v| (*v).to_owned()).collect() } else { versions };
    let bench = Bench {
        clients: versions.iter().map(|version| Client::built(&clients, version)).collect::<anyhow::Result<_>>()?,
        reader: Client::built(&clients, VERSIONS[0])?,
        tests: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        programs: Programs { vtflow, clients },
        only,
    };
    let mut report = Report::new(verbose);
    // What was compared before something went wrong is told all the same.
    let ran = bench.run(&mut report);
    let is_well = report.finish(is_whole && ran.is_ok());
    let wrong = ran?;
    rpcs::print(&wrong);
    Ok(if is_well && wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Bench {
    /// Whether a part is wanted.
    fn has(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }

    /// Runs all parts that are wanted. Returns what is wrong with the RPCs.
    fn run(&self, report: &mut Report) -> anyhow::Result<Vec<String>> {
        let Self { programs, tests, clients, reader, .. } = self;
        let mut wrong = Vec::new();
        if self.has("rpcs") {
            wrong = rpcs::table(programs, tests, reader)?;
        }
        let states = States::load(tests)?;
        let snapshots = reads::names(tests)?;
        for client in clients.iter().filter(|_| self.has("recorded")) {
            report.begin(&format!("recorded commands, {}", client.version));
            recorded::compare(programs, tests, &states, client, report)?;
            // Snapshots were asked by v24 alone.
            for name in snapshots.iter().filter(|_| client.version == reader.version) {
                reads::compare_recorded(programs, tests, name, client, report)?;
            }
        }
        if self.has("vtadmin") {
            report.begin("recorded requests of VTAdmin");
            vtadmin::compare_recorded(programs, tests, &states, report)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let etcd = Etcd::start()?;
        for name in snapshots.iter().filter(|_| self.has("reads") || self.has("vtadmin")) {
            let subject = Subject::start(programs, tests, &runtime, &etcd, name, reader)?;
            for client in clients.iter().filter(|_| self.has("reads")) {
                report.begin(&format!("beside vtctld, {name}, {}", client.version));
                subject.compare(client, report)?;
            }
            if self.has("vtadmin") {
                report.begin(&format!("beside vtctld, {name}, VTAdmin"));
                let servers = (subject.live.vtflow.address.as_str(), subject.live.vtctld.address.as_str());
                let place = format!("vtctld, {name}");
                vtadmin::compare_live(programs, servers, &place, &subject.keyspaces, &subject.workflows, report)?;
            }
        }
        for client in clients.iter().filter(|_| self.has("writes")) {
            report.begin(&format!("writes beside vtctld's, {}", client.version));
            writes::compare(programs, &runtime, &etcd, (client, reader), report)?;
        }
        Ok(wrong)
    }
}
