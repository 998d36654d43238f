//! `vtflow snapshot save DIR KEYSPACE...`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::Args;
use prost::Message;
use vtflow_planner::{Call, CallOptions, Failure, Lost, proto::vtflow::SnapshotRequest, rpc};

use super::{cluster::open::OpenCluster, failures};
use crate::{embedded::snapshot::from_reply, output::terminal};

#[derive(Args, Clone, Debug)]
pub(crate) struct SaveArgs {
    /// The directory to make; it must not exist, or be empty
    dir: PathBuf,
    /// The keyspaces to record, their source keyspaces too if you want them
    #[arg(required = true)]
    keyspaces: Vec<String>,
}

pub(crate) async fn save(cluster: &OpenCluster, args: SaveArgs) -> anyhow::Result<ExitCode> {
    // Before the cluster is read, which may take a while.
    match std::fs::read_dir(&args.dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => bail!("{} is not empty: name a new directory", args.dir.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => bail!("{} cannot be written: {error}; name a new directory", args.dir.display()),
    }
    let now = cluster.now();
    let request = SnapshotRequest { keyspaces: args.keyspaces, routing: false };
    let call = Call { path: rpc::SNAPSHOT.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let reply = cluster.perform(&call, now).await;
    let bytes = reply.result.map_err(|status| anyhow::anyhow!("{}", status.message))?;
    let snapshot = from_reply::from_response(&bytes, now)?;
    let left_out = snapshot.save(&args.dir)?;
    terminal::error_line(&format!(
        "{}: {} records, {} tablets. Look at it with --snapshot {0}",
        args.dir.display(),
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
    let failures: Vec<Failure> = reply.failures.into_iter().chain(left_out.into_iter().map(lost)).collect();
    failures::print(&failures);
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
