//! A server under measurement, in a process of its own.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use vtflow_clients::{
    live::vtctld,
    process::{Process, free_port},
};
use vtflow_planner::rpc;

use crate::{
    client::{connect, unary},
    cluster::ROOT,
    pump::{Took, median},
    usage::Watched,
};

/// Which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A vtflow, of any release.
    Vtflow(String),
    /// Vitess's own.
    Vtctld(String),
}

/// What a server took for a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// The first request of the process.
    pub(crate) cold: Took,
    /// The same of a process that was told of the keyspace before.
    pub(crate) warm: Option<Took>,
    /// The median of those after it, if there were any.
    pub(crate) repeated: Option<Took>,
    pub(crate) reply_bytes: usize,
}

pub(crate) struct Server {
    process: Process,
    pub(crate) address: String,
}

impl Server {
    /// Starts it on the topology of an etcd at `HOST:PORT`, and waits until it listens.
    pub(crate) async fn start(program: &Program, etcd: &str) -> anyhow::Result<Self> {
        let (program, etcd) = (program.clone(), etcd.to_owned());
        tokio::task::spawn_blocking(move || Self::started(&program, &etcd, None, false)).await?
    }

    /// The same of one whose allocator gives back at once what is freed, so that what it uses is not what it once used.
    pub(crate) async fn start_thrifty(program: &Program, etcd: &str) -> anyhow::Result<Self> {
        let (program, etcd) = (program.clone(), etcd.to_owned());
        tokio::task::spawn_blocking(move || Self::started(&program, &etcd, None, true)).await?
    }

    /// The same of a vtflow that is told of a keyspace before; waits until it is connected to its primaries.
    pub(crate) async fn start_warm(program: &Program, etcd: &str, keyspace: &'static str) -> anyhow::Result<Self> {
        let (program, etcd) = (program.clone(), etcd.to_owned());
        tokio::task::spawn_blocking(move || Self::started(&program, &etcd, Some(keyspace), false)).await?
    }

    fn started(program: &Program, etcd: &str, warm: Option<&str>, is_thrifty: bool) -> anyhow::Result<Self> {
        let path = match program {
            Program::Vtflow(path) => path,
            Program::Vtctld(path) => {
                let (process, address) = vtctld(Path::new(path), etcd, ROOT)?;
                return Ok(Self { process, address });
            }
        };
        let global = format!("{ROOT}/global");
        // Flags that older releases have, too.
        let [grpc, http] = [free_port()?, free_port()?].map(|port| port.to_string());
        let mut command = Command::new(path);
        command.args(["serve", "--bind-address", "127.0.0.1", "--grpc-port", &grpc, "--port", &http]).args([
            "--topo-implementation",
            "etcd2",
            "--topo-global-server-address",
            etcd,
            "--topo-global-root",
            &global,
        ]);
        // The reply of 1,024 shards has more than what a message may have by itself.
        command.args(["--grpc-max-message-size", "268435456"]);
        command.args(warm.iter().flat_map(|keyspace| ["--warm", keyspace]));
        if is_thrifty {
            command.env("MIMALLOC_PURGE_DELAY", "0");
        }
        let mut process = Process::start("vtflow", command)?;
        let address = format!("127.0.0.1:{grpc}");
        process.wait_until("it listens", |_| std::net::TcpStream::connect(&address).ok())?;
        if warm.is_some() {
            process.wait("it is connected", |line| line.contains("connected to its primaries").then_some(()))?;
        }
        Ok(Self { process, address })
    }

    pub(crate) fn watched(&self) -> Watched {
        Watched(self.process.id())
    }

    /// One GetWorkflows as the first, and so many more.
    pub(crate) async fn measure(&self, request: &[u8], runs: usize) -> anyhow::Result<Measured> {
        let channel = connect(&self.address).await?;
        let (watched, request) = (self.watched(), Bytes::copy_from_slice(request));
        let mut took = Vec::new();
        let mut reply_bytes = 0;
        for _ in 0..=runs {
            let (started, before) = (Instant::now(), watched.cpu()?);
            reply_bytes = unary(&channel, rpc::GET_WORKFLOWS, request.clone()).await.context("a request")?.len();
            let time = started.elapsed();
            // What the process does behind the reply is its cost, too.
            tokio::time::sleep(Duration::from_millis(20)).await;
            took.push(Took { time, cpu: watched.cpu()?.saturating_sub(before) });
        }
        let others = took.split_off(1);
        let repeated = (!others.is_empty()).then(|| median(others));
        Ok(Measured { cold: took.first().copied().unwrap_or_default(), warm: None, repeated, reply_bytes })
    }

    /// How much more memory the request takes at most, in bytes, when the connections that it needs are there, with their buffers.
    pub(crate) async fn peak(&self, request: &[u8]) -> anyhow::Result<u64> {
        let channel = connect(&self.address).await?;
        unary(&channel, rpc::GET_WORKFLOWS, Bytes::copy_from_slice(request)).await?;
        // What the server does behind the reply ends first.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.watched().forget_peak()?;
        let (_, resident) = self.watched().memory()?;
        unary(&channel, rpc::GET_WORKFLOWS, Bytes::copy_from_slice(request)).await?;
        Ok(self.watched().memory()?.0.saturating_sub(resident))
    }
}
