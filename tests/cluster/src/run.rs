//! The parts of the suite, one after the other.

use std::time::Instant;

use anyhow::bail;

use crate::{
    cluster::{Cluster, seconds},
    parts::{PARTS, Part},
    report::Report,
    settings::Settings,
    suite::Suite,
};

/// Runs parts, all of them if none is named, on a cluster of their own; whether all is well.
///
/// # Errors
///
/// There is no such part, or no cluster could be started.
pub(crate) fn run(names: &[&str]) -> anyhow::Result<bool> {
    if let Some(unknown) = names.iter().find(|name| !PARTS.iter().any(|part| part.name == **name)) {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!("no part is called {unknown}. There are: {}", known.join(", "));
    }
    let settings = Settings::from_environment()?.checked()?;
    let snapshots = settings.run.join("snapshots");
    let mut report = Report::new();
    report.begin("up");
    let started = Instant::now();
    let cluster = Cluster::start(settings, false)?;
    report.check("the cluster is up", None);
    report.note(&format!("{:.1} s, {} MiB of memory", seconds(started), cluster.memory_mib()));
    let mut suite = Suite { cluster, report, workflows: Vec::new(), snapshots };
    for Part { name, run, is_first, .. } in PARTS {
        if *is_first || names.is_empty() || names.contains(name) {
            suite.report.begin(name);
            if let Err(error) = run(&mut suite) {
                suite.report.check("the part goes on to its end", Some(format!("{error:#}")));
            }
        }
    }
    let memory = suite.cluster.memory_mib();
    suite.report.note(&format!("{memory} MiB of memory at the end"));
    drop(suite.cluster);
    Ok(suite.report.finish())
}
