//! A recorded cluster, running: its tablets in this process, its topology in an etcd, and in front of both a vtflow and, if asked
//! for, a real vtctld. A client that asks both asks the same rows at the same moment.

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use vtflow_embedded::{Cluster, Snapshot};

use crate::{
    etcd::Etcd,
    process::{Process, free_port},
};

/// How long a line of the log may come after the answer that it is about.
const LOG_DELAY: Duration = Duration::from_secs(2);
/// Debian's user `nobody`: vtctld refuses to run as root.
const NOBODY: u32 = 65534;

/// The programs under test and beside it.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `vtflow`.
    pub vtflow: PathBuf,
    /// The folder that `.ci/clients` builds into.
    pub clients: PathBuf,
}

/// A server of Vtctld's RPCs.
#[derive(Debug)]
pub struct Served {
    /// Where it listens, `127.0.0.1:PORT`.
    pub address: String,
    process: Process,
}

/// An RPC in vtflow's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Such as `vtctlservice.Vtctld/GetWorkflows`.
    pub method: String,
    /// gRPC's code; 0 is success.
    pub code: u32,
}

impl Served {
    /// Starts vtflow with these arguments, such as `serve --demo`, on a free port.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn vtflow(programs: &Programs, args: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(&programs.vtflow);
        command.args(args).args(["--grpc-port", "0", "--port", "none", "--bind-address", "127.0.0.1"]);
        let mut process = Process::start("vtflow", command)?;
        let address = process
            .wait("it says where it listens", |line| line.strip_prefix("Vtctld on ")?.split(',').next().map(str::to_owned))?;
        Ok(Self { address, process })
    }

    /// Starts a vtctld v24 on a topology in etcd.
    ///
    /// # Errors
    ///
    /// It is not built, or does not start.
    pub fn vtctld(programs: &Programs, etcd: &Etcd, root: &str) -> anyhow::Result<Self> {
        let (process, address) = vtctld(&programs.clients.join("v24/vtctld"), etcd.address(), root)?;
        Ok(Self { address, process })
    }

    /// The RPCs in vtflow's log from a place on, which [`Served::mark`] gave; waits until there are as many as expected, 2 s at most.
    pub fn logged(&self, mark: usize, expected: usize) -> Vec<Logged> {
        let until = Instant::now() + LOG_DELAY;
        loop {
            let lines = self.process.lines();
            let logged: Vec<Logged> = lines.iter().skip(mark).filter_map(|line| parse(line)).collect();
            if logged.len() >= expected || Instant::now() > until {
                return logged;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The place at the end of the log.
    pub fn mark(&self) -> usize {
        self.process.lines().len()
    }
}

/// Starts a vtctld v24 on the topology below `root` in the etcd at `HOST:PORT`, and waits until it listens: the process, and where it
/// listens. Its replies may have any size that gRPC knows.
///
/// # Errors
///
/// It is not built, or does not start.
pub fn vtctld(program: &Path, etcd: &str, root: &str) -> anyhow::Result<(Process, String)> {
    let program = program.canonicalize().context("no vtctld is built: .ci/clients v24")?;
    let [grpc, http] = [free_port()?, free_port()?];
    let root = format!("{root}/global");
    let mut command = Command::new(program);
    command
        .args(["--topo-implementation", "etcd2", "--topo-global-server-address", etcd, "--topo-global-root", &root])
        .args(["--bind-address", "127.0.0.1", "--grpc-bind-address", "127.0.0.1"])
        .args(["--grpc-port", &grpc.to_string(), "--port", &http.to_string()])
        .args(["--service-map", "grpc-vtctl,grpc-vtctld", "--logtostderr"])
        .args(["--grpc-max-message-size", "2147483647"])
        .current_dir(std::env::temp_dir());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut process = Process::start("vtctld", command)?;
    let address = format!("127.0.0.1:{grpc}");
    process.wait_until("it listens", |_| std::net::TcpStream::connect(&address).ok())?;
    Ok((process, address))
}

fn parse(line: &str) -> Option<Logged> {
    let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
    (value("msg=")? == "rpc").then_some(())?;
    Some(Logged { method: value("method=")?.to_owned(), code: value("code=")?.parse().ok()? })
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// A cluster behind a vtflow and a vtctld.
pub struct Live {
    /// vtflow, which may change the cluster.
    pub vtflow: Served,
    /// The real one.
    pub vtctld: Served,
    _cluster: Cluster,
}

impl Live {
    /// Starts the snapshot's tablets, and both servers. `root` is where in etcd its topology is put: a name of its own.
    ///
    /// # Errors
    ///
    /// Something does not start.
    pub fn start(
        programs: &Programs,
        runtime: &tokio::runtime::Runtime,
        etcd: &Etcd,
        root: &str,
        snapshot: Snapshot,
    ) -> anyhow::Result<Self> {
        let cluster = runtime.block_on(Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO))?;
        etcd.put(root, &cluster.topo())?;
        let global = format!("{root}/global");
        let topo =
            ["--topo-implementation", "etcd2", "--topo-global-server-address", etcd.address(), "--topo-global-root", &global];
        let vtflow = Served::vtflow(programs, &[&["serve", "--allow-writes"], &topo[..]].concat())?;
        let vtctld = Served::vtctld(programs, etcd, root)?;
        Ok(Self { vtflow, vtctld, _cluster: cluster })
    }
}

/// The folder of recorded clusters.
pub fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots")
}
