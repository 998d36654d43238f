//! The pump: the asks of a request, sent again by the code that vtflow sends them with, the answers thrown away. What a request takes
//! beyond it is the planner's and the server's; what the pump takes beyond the delays is the wire's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    observe::{Counts, Observer, Sums},
    tablet::{TabletOptions, Tablets},
    topo::{EtcdConfig, EtcdTopology},
};
use vtflow_planner::{Ask, Call, Flow, What};

use crate::{
    cluster::{NOW, ROOT},
    usage::Watched,
};

/// How long an ask may take: nothing is slow here but the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps every ask, to send it again.
#[derive(Default)]
struct Asks(Mutex<Vec<Ask>>);

impl Observer for Asks {
    fn asked(&self, ask: &Ask) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ask.clone());
    }
}

/// What one way of asking took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
}

/// What the pump found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pumped {
    /// With connections that were not there.
    pub(crate) cold: Took,
    /// With connections that were; the median.
    pub(crate) warm: Took,
    pub(crate) sums: Sums,
}

/// Asks what a request asks, with this many warm runs. `etcd` is `HOST:PORT`.
pub(crate) async fn run(etcd: &str, call: &Call, runs: usize) -> anyhow::Result<Pumped> {
    let (asks, counts) = (Asks::default(), Counts::default());
    // Whoever knows the answers is asked before anything is measured.
    let reply = drive(Flow::start(call, NOW), &io(etcd)?, None, &(&asks, &counts)).await;
    anyhow::ensure!(reply.failures.is_empty() && reply.result.is_ok(), "the request fails: {:?}", reply.failures);
    let asks = asks.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    let fresh = io(etcd)?;
    let cold = timed(&fresh, &asks).await?;
    let mut warm = Vec::new();
    for _ in 0..runs {
        warm.push(timed(&fresh, &asks).await?);
    }
    Ok(Pumped { cold, warm: median(warm), sums: counts.sums() })
}

/// The run that took neither longest nor shortest.
pub(crate) fn median(mut runs: Vec<Took>) -> Took {
    runs.sort_by_key(|took| took.time);
    runs.get(runs.len() / 2).copied().unwrap_or_default()
}

async fn timed(io: &ClusterIo, asks: &[Ask]) -> anyhow::Result<Took> {
    let me = Watched(std::process::id());
    let (started, before) = (Instant::now(), me.cpu()?);
    send(io, asks).await;
    Ok(Took { time: started.elapsed(), cpu: me.cpu()?.saturating_sub(before) })
}

fn io(etcd: &str) -> anyhow::Result<ClusterIo> {
    let topology = Arc::new(EtcdTopology::new(&EtcdConfig::new(etcd, format!("{ROOT}/global")))?);
    let options = TabletOptions { concurrency: 2048, concurrency_per_cell: 2048, ..TabletOptions::default() };
    Ok(ClusterIo { topology, tablets: Arc::new(Tablets::new(options)?), deadlines: Deadlines::default() })
}

/// The asks round by round; each ask on a thread that has time, as the answers of vtflow's are read.
async fn send(io: &ClusterIo, asks: &[Ask]) {
    let deadline = || tokio::time::Instant::now() + PATIENCE;
    for round in 1..=asks.iter().map(|ask| ask.round).max().unwrap_or(0) {
        let of_round = || asks.iter().filter(|ask| ask.round == round);
        let mut gets: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ask in of_round() {
            if let What::TopoGet { cell, path } = &ask.what {
                gets.entry(cell).or_default().push(path.clone());
            }
        }
        let gets = join_all(gets.iter().map(|(cell, paths)| io.topology.records(cell, paths, deadline())));
        let rest = join_all(of_round().map(|ask| async move {
            match &ask.what {
                What::TopoList { cell, prefix } => drop(io.topology.list(cell, prefix, deadline()).await),
                What::TopoRange { cell, prefix } => drop(io.topology.range(cell, prefix, deadline()).await),
                What::TabletCall { tablet, path, request, effect, .. } => {
                    drop(io.tablets.call(tablet, path, request, *effect, PATIENCE, None).await);
                }
                What::TopoGet { .. }
                | What::TopoPut { .. }
                | What::TopoDelete { .. }
                | What::TopoLock { .. }
                | What::TopoUnlock { .. }
                | What::TabletPage { .. } => {}
            }
        }));
        tokio::join!(gets, rest);
    }
}
