//! The process of the canned cluster: embedded tablets and an etcd, each behind a stand-in that keeps its answers.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    process::Command,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use prost::Message;
use tonic::transport::Channel;
use vtflow::embedded::{
    Cluster, Release,
    generate::{Shape, generate},
};
use vtflow_clients::{etcd::Etcd, process::Process};
use vtflow_planner::{Timestamp, proto::topodata::Tablet};

use crate::{
    canned::{CONTROL, Canned},
    client::{connect, unary},
};

/// Where the cluster's records are.
pub(crate) const ROOT: &str = "/vitess";
/// When the cluster was made: what is derived from it is the same in every run.
pub(crate) const NOW: Timestamp = Timestamp { seconds: 1_790_000_000, nanos: 0 };

/// Runs the canned cluster until the standard input ends, and its etcd with it. Prints where that is as soon as it can be asked.
pub(crate) async fn run(shards: u32, streams: u32) -> anyhow::Result<()> {
    let shape = Shape { shards, streams, copy_states: 2, log_rows: 3, release: Release::new(24) };
    let cluster = Cluster::start(generate(shape, NOW), BTreeMap::new(), Duration::ZERO).await?;
    let etcd = tokio::task::spawn_blocking(Etcd::start).await??;
    let canned = Canned::new();
    let there: SocketAddr = etcd.address().parse()?;
    let front = canned.stand_in(there).await?;
    let mut topo = cluster.topo();
    for record in &mut topo {
        if !(record.path.starts_with("tablets/") && record.path.ends_with("/Tablet")) {
            continue;
        }
        let mut tablet = Tablet::decode(&record.value[..])?;
        if let Some(port) = tablet.port_map.get_mut("grpc") {
            let there: SocketAddr = format!("{}:{port}", tablet.hostname).parse().context("a tablet's address")?;
            *port = canned.stand_in(there).await?.port().into();
            "127.0.0.1".clone_into(&mut tablet.hostname);
            record.value = tablet.encode_to_vec();
        }
    }
    let front = front.to_string();
    let put = front.clone();
    let _etcd = tokio::task::spawn_blocking(move || etcd.put_at(ROOT, &topo, &put).map(|()| etcd)).await??;
    println!("canned cluster at {front}");
    io::stdout().flush()?;
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    Ok(())
}

/// A canned cluster in a process of its own.
pub(crate) struct Remote {
    pub(crate) etcd: String,
    channel: Channel,
    _process: Process,
}

impl Remote {
    pub(crate) async fn start(shards: u32, streams: u32) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["canned", "--shards", &shards.to_string(), "--streams", &streams.to_string()]);
        let (etcd, process) = tokio::task::spawn_blocking(move || {
            let mut process = Process::start_with_input("the canned cluster", command)?;
            let etcd = process.wait("it is there", |line| line.strip_prefix("canned cluster at ").map(str::to_owned))?;
            anyhow::Ok((etcd, process))
        })
        .await??;
        Ok(Self { channel: connect(&etcd).await?, etcd, _process: process })
    }

    /// How long each of its answers takes from now on.
    pub(crate) async fn set_delay(&self, delay: Duration) -> anyhow::Result<()> {
        let text = delay.as_micros().to_string();
        unary(&self.channel, &format!("{CONTROL}Delay"), text.into()).await.map(drop)
    }

    /// Asks answered, and bytes of the answers, since the last time.
    pub(crate) async fn counts(&self) -> anyhow::Result<(u64, u64)> {
        let said = unary(&self.channel, &format!("{CONTROL}Counts"), Bytes::new()).await?;
        let said = std::str::from_utf8(&said)?;
        let (asks, bytes) = said.split_once(' ').context("two numbers")?;
        Ok((asks.parse()?, bytes.parse()?))
    }
}
