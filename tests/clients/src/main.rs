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
    /// Only this part: rpcs, recorded, reads, writes or vtadmin
    #[arg(long)]
    only: Option<String>,
    /// Tell every comparison
    #[arg(long)]
    verbose: bool,
    /// Client versions; all without any
    versions: Vec<String>,
}

/// All client versions.
const VERSIONS: &[&str] = &["v24", "v22", "v20"];

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let programs = Programs { vtflow: args.vtflow, clients: args.clients };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let is_whole = args.versions.is_empty() && args.only.is_none();
    let versions = if args.versions.is_empty() { VERSIONS.iter().map(|v| (*v).to_owned()).collect() } else { args.versions };
    let clients = versions.iter().map(|v| Client::built(&programs.clients, v)).collect::<anyhow::Result<Vec<_>>>()?;
    let has = |part: &str| args.only.as_deref().is_none_or(|only| only == part);
    let mut report = Report::new(args.verbose);
    let states = States::load(&tests)?;
    let mut wrong = Vec::new();
    if has("rpcs")
        && let Some(v24) = clients.iter().find(|client| client.version == "v24")
    {
        wrong = rpcs::table(&programs, &tests, v24)?;
    }
    if has("recorded") {
        for client in &clients {
            recorded::compare(&programs, &tests, &states, client, &mut report)?;
            for name in reads::names(&tests)?.iter().filter(|_| client.version == "v24") {
                reads::compare_recorded(&programs, &tests, name, client, &mut report)?;
            }
        }
    }
    if has("vtadmin") {
        vtadmin::compare_recorded(&programs, &tests, &states, &mut report)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let etcd = Etcd::start()?;
    for name in reads::names(&tests)?.iter().filter(|_| has("reads") || has("vtadmin")) {
        let subject = Subject::start(&programs, &tests, &runtime, &etcd, name, &clients[0])?;
        for client in clients.iter().filter(|_| has("reads")) {
            subject.compare(client, &mut report)?;
        }
        if has("vtadmin") {
            let servers = (subject.live.vtflow.address.as_str(), subject.live.vtctld.address.as_str());
            let place = format!("vtctld, {name}");
            vtadmin::compare_live(&programs, servers, &place, &subject.keyspaces, &subject.workflows, &mut report)?;
        }
    }
    if has("writes") {
        for client in &clients {
            writes::compare(&programs, &runtime, &etcd, (client, &clients[0]), &mut report)?;
        }
    }
    let is_well = report.finish(is_whole);
    rpcs::print(&wrong);
    Ok(if is_well && wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
