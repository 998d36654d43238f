//! `vtflow snapshot save DIR KEYSPACE...`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;
use prost::Message;
use vtflow_planner::{Call, CallOptions, Failure, Lost, proto::vtflow::SnapshotRequest, rpc};

use super::{cluster::open::OpenCluster, failures};
use crate::{
    embedded::{Snapshot, snapshot::from_reply},
    output::terminal,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct SaveArgs {
    /// The directory to make; it must not exist, or be empty
    dir: PathBuf,
    /// The keyspaces to record, their source keyspaces too if you want them
    #[arg(required = true)]
    keyspaces: Vec<String>,
}

pub(crate) async fn save(cluster: &OpenCluster, args: SaveArgs) -> anyhow::Result<ExitCode> {
    check_new(&args.dir)?;
    let now = cluster.now();
    let request = SnapshotRequest { keyspaces: args.keyspaces, routing: false };
    let call = Call { path: rpc::SNAPSHOT.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let reply = cluster.perform(&call, now).await;
    let bytes = reply.result.map_err(|status| anyhow::anyhow!("{}", status.message))?;
    let snapshot = from_reply::from_response(&bytes, now)?;
    let left_out = write(&snapshot, &args.dir)?;
    let failures: Vec<Failure> = reply.failures.into_iter().chain(left_out).collect();
    failures::print(&failures);
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether a snapshot may be made there, asked before the cluster is read, which may take a while.
pub(super) fn check_new(dir: &Path) -> anyhow::Result<()> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => bail!("{} is not empty: name a new directory", dir.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => bail!("{} cannot be written: {error}; name a new directory", dir.display()),
    }
}

/// Makes it, and says so. What is left out comes back.
pub(super) fn write(snapshot: &Snapshot, dir: &Path) -> anyhow::Result<Vec<Failure>> {
    let left_out = snapshot.save(dir)?;
    terminal::error_line(&format!(
        "{}: {} records, {} tablets. Look at it with --snapshot {0}",
        dir.display(),
        snapshot.topo.len(),
        snapshot.tablets.len() - left_out.len()
    ));
    let lost = |(tablet, why): (String, String)| Failure {
        keyspace: String::new(),
        shard: String::new(),
        tablet,
        workflow: String::new(),
        lost: Lost::Shard,
        message: format!("its rows are left out: {why}"),
    };
    Ok(left_out.into_iter().map(lost).collect())
}
