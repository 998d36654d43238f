//! `vtflow snapshot save DIR KEYSPACE...`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::Args;
use prost::Message;
use vtflow_planner::{Call, CallOptions, proto::vtflow::SnapshotRequest, rpc};

use super::{connect::Connected, failures};
use crate::{embedded::saved, output::terminal};

#[derive(Args, Clone, Debug)]
pub(crate) struct SaveArgs {
    /// The directory to make; it must not exist, or be empty
    dir: PathBuf,
    /// The keyspaces to record, their source keyspaces too if you want them
    #[arg(required = true)]
    keyspaces: Vec<String>,
}

pub(crate) async fn save(cluster: &Connected, args: SaveArgs) -> anyhow::Result<ExitCode> {
    if std::fs::read_dir(&args.dir).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: name a new directory", args.dir.display());
    }
    let now = cluster.now();
    let request = SnapshotRequest { keyspaces: args.keyspaces };
    let call = Call { path: rpc::SNAPSHOT.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let reply = cluster.perform(&call, now).await;
    let bytes = reply.result.map_err(|status| anyhow::anyhow!("{}", status.message))?;
    let snapshot = saved::from_response(&bytes, now)?;
    snapshot.save(&args.dir)?;
    terminal::error_line(&format!(
        "{}: {} records, {} tablets. Look at it with --snapshot {0}",
        args.dir.display(),
        snapshot.topo.len(),
        snapshot.tablets.len()
    ));
    failures::print(&reply.failures);
    Ok(if reply.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
