//! The planner in wasmtime beside the one that is linked in: a recorded flow of 14,080 streams, and a small one, replayed by
//! both. Run by `make bench`, which builds the component before.
//!
//! Nothing but the planner is measured: no network, no topology. What a store costs is in it.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{
        Cluster, Release,
        generate::{Shape, generate},
    },
    planner_host::{PlannerChoice, PlannerHost},
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
    trace_file::Recorder,
};
use vtflow_planner::{
    Call, CallOptions, Timestamp,
    proto::vtctldata::GetWorkflowsRequest,
    rpc,
    trace::{Trace, replay},
};

const NOW: Timestamp = Timestamp { seconds: 1_790_000_000, nanos: 0 };

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs benches too: nothing is measured there.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let started = Instant::now();
    let wasm = PlannerHost::load(&PlannerChoice::Embedded).expect("make component, then build this again");
    println!("\nthe component is compiled in {:.1?}", started.elapsed());
    for (shards, streams, runs) in [(1, 1, 201), (256, 55, 11)] {
        let trace = recorded(shards, streams).await;
        let native = median(&PlannerHost::Native, &trace, runs);
        let component = median(&wasm, &trace, runs);
        println!(
            "  {:>6} streams, {:>3} asks: native {native:>8.2?}, in wasmtime {component:>8.2?}, {:.2} times",
            shards * streams,
            trace.asks.len(),
            component.as_secs_f64() / native.as_secs_f64()
        );
    }
}

async fn recorded(shards: u32, streams: u32) -> Trace {
    let shape = Shape { shards, streams, copy_states: 2, log_rows: 3, release: Release::new(24) };
    let cluster = Cluster::start(generate(shape, NOW), BTreeMap::new(), Duration::ZERO).await.expect("the cluster starts");
    let topology = Arc::new(MemoryTopology::new(cluster.topo()));
    let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files"));
    let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
    let request = GetWorkflowsRequest { keyspace: "customer".into(), ..GetWorkflowsRequest::default() };
    let call = Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let recorder = Recorder::new();
    let reply = drive(PlannerHost::Native.start(&call, NOW), &io, None, &recorder).await;
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    recorder.ended(PlannerHost::Native.build(), &call, NOW, &reply)
}

/// The median of a whole replay, the start of its flow included.
fn median(host: &PlannerHost, trace: &Trace, runs: usize) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            let replayed = replay(&mut *host.start(&trace.call, trace.now), trace);
            let took = started.elapsed();
            assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
            took
        })
        .collect();
    times.sort();
    times[runs / 2]
}
