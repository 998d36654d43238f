//! `vtflow demo`: the built-in cluster, or a generated one of any size, to look at, to measure, and to point other tools at.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use anyhow::bail;
use clap::Args;

use super::{
    cluster::{
        embed::Embedding,
        flags::ConnectArgs,
        open::{self, OpenCluster},
    },
    command::{ClusterCommand, run_on},
    duration,
    read::workflows::{self, GetWorkflowsArgs},
    serve::{self, ListenArgs},
};
use crate::{
    embedded::{
        Fault,
        generate::{self, Shape},
        release::Release,
    },
    output::terminal,
};

/// How long the records of a cluster may take to write into an etcd.
const REGISTER_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// Generate keyspace customer with so many shards, instead of the built-in cluster (a power of two)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: Option<u32>,
    /// Streams on each shard
    #[arg(long, value_name = "N", default_value_t = 6, requires = "shards")]
    streams: u32,
    /// Copy-state rows of each copying stream
    #[arg(long, value_name = "N", default_value_t = 2, requires = "shards")]
    copy_states: u32,
    /// Log rows of each stream
    #[arg(long, value_name = "N", default_value_t = 3, requires = "shards")]
    log_rows: u32,
    /// The release that the tablets behave like, 10 to 24
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u8).range(10..=24), requires = "shards")]
    vitess_release: u8,
    /// How long every tablet call takes at least
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse)]
    tablet_delay: Duration,
    /// How long every read of the topology takes at least (not with a topology server)
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse)]
    topo_delay: Duration,
    /// This tablet refuses connections (may be given several times)
    #[arg(long, value_name = "ALIAS")]
    down: Vec<String>,
    /// This tablet accepts calls and never answers them (may be given several times)
    #[arg(long, value_name = "ALIAS")]
    hang: Vec<String>,
    /// With a topology server: replace keyspaces of the same name that are there already
    #[arg(long)]
    overwrite: bool,
    /// Serve the cluster as vtctld would, on this machine's own address unless --bind-address says more
    #[arg(long)]
    serve: bool,
    #[command(flatten)]
    listen: ListenArgs,
    /// What to look at, such as `get workflows customer`. Without it: the workflows of keyspace customer, and the cluster runs on
    #[command(subcommand)]
    command: Option<ClusterCommand>,
}

pub(crate) async fn run(connect: &ConnectArgs, args: DemoArgs) -> anyhow::Result<ExitCode> {
    let now = open::now();
    let snapshot = match args.shards {
        None => generate::demo(now),
        Some(shards) if shards.is_power_of_two() => generate::generate(
            Shape {
                shards,
                streams: args.streams,
                copy_states: args.copy_states,
                log_rows: args.log_rows,
                release: Release::new(args.vitess_release),
            },
            now,
        ),
        Some(shards) => bail!("{shards} shards cannot have equal key ranges: give a power of two, up to 256"),
    };
    let mut faults: BTreeMap<String, Fault> = args.down.into_iter().map(|alias| (alias, Fault::Down)).collect();
    faults.extend(args.hang.into_iter().map(|alias| (alias, Fault::Hang)));
    let embedding = Embedding { faults, tablet_delay: args.tablet_delay, topo_delay: args.topo_delay };
    let cluster = connect.embed(snapshot, embedding).await?;
    if connect.has_topology_server() {
        register(connect, &cluster, args.overwrite).await?;
    }
    if args.serve {
        if args.command.is_some() {
            bail!("--serve runs until it is stopped: leave out the command, or leave out --serve");
        }
        return serve::serve(connect, &Arc::new(cluster), &args.listen, "127.0.0.1").await;
    }
    if let Some(command) = args.command {
        return run_on(&cluster, command).await;
    }
    if !connect.has_topology_server() {
        workflows::run(&cluster, GetWorkflowsArgs::all_of("customer")).await?;
        terminal::error_line(
            "\nThe tablets listen on ports of 127.0.0.1, but only this process knows the topology.\n\
             Look closer:           vtflow demo get workflows customer -o json\n\
             See what is asked:     vtflow demo plan workflows customer --logs\n\
             Point other tools at it: vtflow demo --topo-implementation etcd2 --topo-global-server-address HOST:PORT --topo-global-root /vitess/global",
        );
    }
    terminal::error_line("Running until Ctrl-C.");
    serve::stopped().await;
    Ok(ExitCode::SUCCESS)
}

/// Writes the cluster's records into the topology server that the flags name.
async fn register(connect: &ConnectArgs, cluster: &OpenCluster, overwrite: bool) -> anyhow::Result<()> {
    let Some(embedded) = cluster.embedded() else { return Ok(()) };
    let records = connect.etcd_records(embedded.topo());
    connect.etcd()?.put_all(&records, overwrite, tokio::time::Instant::now() + REGISTER_DEADLINE).await?;
    terminal::error_line(&format!("Registered {} records; the tablets listen on ports of 127.0.0.1.", records.len()));
    Ok(())
}
