//! How long GetWorkflows takes on a large cluster, beside the same asks sent with the answers thrown away: what is left is the
//! planner's and the drive loop's share. Run by `make bench`.
//!
//! The cluster runs in this process and shares its processors: the second figure is a floor for this machine, not for a network.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use prost::Message;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{
        Cluster, Release,
        generate::{Shape, generate},
    },
    observe::{Counts, Observer},
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{Ask, Call, CallOptions, Flow, Timestamp, What, proto::vtctldata::GetWorkflowsRequest, rpc};

const DELAY: Duration = Duration::from_millis(20);
const RUNS: usize = 5;

/// Keeps every ask, to send it again.
#[derive(Default)]
struct Asks(Mutex<Vec<Ask>>);

impl Observer for Asks {
    fn asked(&self, ask: &Ask) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ask.clone());
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs benches too: nothing is measured there.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let taken_at = Timestamp { seconds: 1_790_000_000, nanos: 0 };
    for (shards, streams) in [(1, 1), (256, 1), (256, 55)] {
        let shape = Shape { shards, streams, copy_states: 2, log_rows: 3, release: Release::new(24) };
        let started = Instant::now();
        let cluster = Cluster::start(generate(shape, taken_at), BTreeMap::new(), DELAY).await.expect("the cluster starts");
        println!("\n{shards} shards, {streams} streams each, {DELAY:?} delays (started in {:.1?})", started.elapsed());
        let topology = Arc::new(MemoryTopology::new(cluster.topo()).with_delay(DELAY));
        let options = TabletOptions { concurrency: 2048, concurrency_per_cell: 2048, ..TabletOptions::default() };
        let io =
            ClusterIo { topology, tablets: Arc::new(Tablets::new(options).expect("no files")), deadlines: Deadlines::default() };
        for include_logs in [false, true] {
            measure(&io, include_logs, taken_at).await;
        }
    }
}

async fn measure(io: &ClusterIo, include_logs: bool, now: Timestamp) {
    let request = GetWorkflowsRequest { keyspace: "customer".into(), include_logs, ..GetWorkflowsRequest::default() };
    // As a server has it: a reply has a bound.
    let options = CallOptions { reply_bytes: 16 << 20, ..CallOptions::default() };
    let call = Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options };
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    let mut reply_bytes = 0;
    let counts = Counts::default();
    for run in 0..=RUNS {
        let asks = Asks::default();
        let started = Instant::now();
        let reply = if run == 0 {
            // The first run dials every tablet; it is counted, not timed.
            drive(Flow::start(&call, now), io, None, &(&asks, &counts)).await
        } else {
            drive(Flow::start(&call, now), io, None, &asks).await
        };
        let took = started.elapsed();
        assert!(reply.failures.is_empty(), "{:?}", reply.failures);
        reply_bytes = reply.result.expect("a reply").len();
        let asks = asks.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        send_and_throw_away(io, &asks).await;
        if run > 0 {
            whole.push(took);
            bare.push(started.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let sums = counts.sums();
    println!(
        "  logs {:<5} {:>7.1?}   asks alone {:>7.1?}   {} rounds, {} topology asks, {} tablet calls, {:.1} MB answered, {:.1} MB reply",
        include_logs,
        median(&mut whole),
        median(&mut bare),
        sums.rounds,
        sums.topology_gets + sums.topology_ranges,
        sums.tablet_calls,
        sums.answer_bytes as f64 / 1e6,
        reply_bytes as f64 / 1e6,
    );
}

/// The same asks, round by round, without anybody who looks at the answers.
async fn send_and_throw_away(io: &ClusterIo, asks: &[Ask]) {
    let deadline = || tokio::time::Instant::now() + Duration::from_secs(10);
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
                    drop(io.tablets.call(tablet, path, request, *effect, Duration::from_secs(10), None).await);
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
