//! 200 clients at once on a served cluster: are there errors, how long do answers take, does memory stay. Run by
//! `make bench-serve`; `SECONDS` says for how long.
//!
//! Server, tablets and clients share this process and its processors. Every other client waits for half a minute only, so
//! that its reads are its own; the others' equal reads are shared, as those of a page that many have open.

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
use tonic::{Request, client::Grpc, transport::Channel};
use vtflow::{
    deadline::Deadlines,
    drive::ClusterIo,
    embedded::{Cluster, Shape, generate},
    server::{Server, ServerOptions},
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse},
    rpc,
};

const CLIENTS: u32 = 200;

/// What one client saw.
#[derive(Default)]
struct Seen {
    micros: Vec<u32>,
    errors: Vec<String>,
    workflows: BTreeMap<usize, usize>,
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs benches too: nothing is measured there.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let seconds = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let now = Timestamp { seconds: 1_790_000_000, nanos: 0 };
    let cluster = Cluster::start(generate(Shape::default(), now), BTreeMap::new(), Duration::ZERO).await.expect("tablets");
    let topology = Arc::new(MemoryTopology::new(cluster.topo()));
    let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files"));
    let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
    let options = ServerOptions {
        bind_address: "127.0.0.1".into(),
        grpc_port: 0,
        http_port: Some(0),
        has_log: false,
        ..ServerOptions::default()
    };
    let server = Server::start(options, io, Arc::new(move || now), None).await.expect("a free port");
    let address = format!("http://{}", server.grpc_address());

    // What connections, buffers and caches take is there after this.
    run(&address, Duration::from_secs(5).min(Duration::from_secs(seconds))).await;
    let started = Instant::now();
    let samples = tokio::spawn(memory(Duration::from_secs(seconds)));
    let seen = run(&address, Duration::from_secs(seconds)).await;
    let took = started.elapsed();
    let samples = samples.await.expect("reading a file does not panic");

    let mut micros: Vec<u32> = seen.iter().flat_map(|seen| seen.micros.iter().copied()).collect();
    micros.sort_unstable();
    let at =
        |percent: usize| micros.get((micros.len() * percent / 100).min(micros.len().saturating_sub(1))).copied().unwrap_or(0);
    let errors: Vec<&String> = seen.iter().flat_map(|seen| &seen.errors).collect();
    let mut counts = BTreeMap::<usize, usize>::new();
    for (workflows, answers) in seen.iter().flat_map(|seen| &seen.workflows) {
        *counts.entry(*workflows).or_default() += answers;
    }
    println!("{CLIENTS} clients, {:.0?}, {} shards of {} streams", took, Shape::default().shards, Shape::default().streams);
    println!("  {} answers, {:.0} a second, {} errors", micros.len(), micros.len() as f64 / took.as_secs_f64(), errors.len());
    println!(
        "  {:.1} ms half of them, {:.1} ms 95 %, {:.1} ms 99 %, {:.1} ms the slowest",
        f64::from(at(50)) / 1e3,
        f64::from(at(95)) / 1e3,
        f64::from(at(99)) / 1e3,
        f64::from(at(100)) / 1e3
    );
    println!("  workflows in an answer, and how many answers: {counts:?}");
    println!("  resident memory over that time, MB: {samples}");
    assert!(errors.is_empty(), "the first error: {:?}", errors.first());
    assert!(server.shut_down().await, "all calls have ended");
}

async fn run(address: &str, how_long: Duration) -> Vec<Seen> {
    let until = Instant::now() + how_long;
    let clients: Vec<_> = (0..CLIENTS).map(|client| tokio::spawn(one(address.to_owned(), client, until))).collect();
    let mut all = Vec::new();
    for client in clients {
        all.push(client.await.expect("a client does not panic"));
    }
    all
}

async fn one(address: String, client: u32, until: Instant) -> Seen {
    let mut seen = Seen::default();
    let channel = Channel::from_shared(address).expect("an address").connect().await.expect("the server listens");
    let request = GetWorkflowsRequest { keyspace: "customer".into(), ..GetWorkflowsRequest::default() };
    while Instant::now() < until {
        let mut request = Request::new(request.clone());
        if client.is_multiple_of(2) {
            request.set_timeout(Duration::from_secs(30));
        }
        let started = Instant::now();
        match call(channel.clone(), request).await {
            Ok(response) => {
                seen.micros.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
                *seen.workflows.entry(response.workflows.len()).or_default() += 1;
            }
            Err(status) => seen.errors.push(status.to_string()),
        }
    }
    seen
}

async fn call(channel: Channel, request: Request<GetWorkflowsRequest>) -> Result<GetWorkflowsResponse, tonic::Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(16 << 20);
    grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(rpc::GET_WORKFLOWS);
    let request = request.map(|message| bytes::Bytes::from(message.encode_to_vec()));
    let response = grpc.unary(request, path, vtflow::raw::RawCodec).await?.into_inner();
    GetWorkflowsResponse::decode(response).map_err(|error| tonic::Status::internal(error.to_string()))
}

/// The memory of this process at the beginning, at each tenth of the time, and at the end.
async fn memory(how_long: Duration) -> String {
    let mut samples = vec![format!("{:.1}", resident_bytes() as f64 / 1e6)];
    for _ in 0..10 {
        tokio::time::sleep(how_long / 10).await;
        samples.push(format!("{:.1}", resident_bytes() as f64 / 1e6));
    }
    samples.join(" ")
}

/// Bytes of this process in memory; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes * 1024)
}
