//! What GetWorkflows costs on large clusters, beside what it must: `make bench`.
//!
//! A canned cluster (see `canned.rs`) answers at no cost to speak of, after a delay. Beside vtflow stand the *pump*, which sends the same
//! asks and throws the answers away, the *floor*, which is the rounds times the delay, and whatever other servers are named.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod canned;
mod client;
mod cluster;
mod many;
mod pump;
mod server;
mod usage;

use std::time::Duration;

use clap::{Parser, Subcommand};
use prost::Message;
use vtflow_planner::{Call, CallOptions, proto::vtctldata::GetWorkflowsRequest, rpc};

use crate::{
    cluster::Remote,
    many::Asked,
    pump::{Pumped, Took},
    server::{Measured, Program, Server},
};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// The vtflow under measurement
    #[arg(long, default_value = "target/release/vtflow")]
    vtflow: String,
    /// An older vtflow, to compare with
    #[arg(long)]
    old: Option<String>,
    /// Vitess's vtctld, to compare with
    #[arg(long)]
    vtctld: Option<String>,
    /// Shards, several numbers
    #[arg(long, value_delimiter = ',', default_values_t = [16, 256, 1024])]
    shards: Vec<u32>,
    /// Streams of each shard
    #[arg(long, default_value_t = 55)]
    streams: u32,
    /// Milliseconds that everything takes at least, several numbers
    #[arg(long, value_delimiter = ',', default_values_t = [0, 20])]
    delays: Vec<u64>,
    /// Requests after the first
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

#[derive(Subcommand)]
enum Part {
    /// The canned cluster alone, until its input ends
    Canned {
        #[arg(long)]
        shards: u32,
        #[arg(long)]
        streams: u32,
    },
    /// 200 clients at once on a small cluster
    Many {
        /// For so many seconds
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.part {
        Some(Part::Canned { shards, streams }) => cluster::run(shards, streams).await,
        Some(Part::Many { seconds }) => many(&args, Duration::from_secs(seconds)).await,
        None => one(&args).await,
    }
}

impl Args {
    /// The servers to measure, by the names that people see.
    fn programs(&self) -> Vec<(&'static str, Program)> {
        let programs = [
            Some((THIS, Program::Vtflow(self.vtflow.clone()))),
            self.old.clone().map(|path| ("old vtflow", Program::Vtflow(path))),
            self.vtctld.clone().map(|path| ("vtctld", Program::Vtctld(path))),
        ];
        programs.into_iter().flatten().collect()
    }
}

/// The vtflow under measurement, as people see it.
const THIS: &str = "vtflow";

/// vtctld asks one after the other: 15,361 asks for 256 shards x 55 streams, five times as many with logs. It is measured once, on clusters
/// of so many shards at most without a delay, and with one.
const SHARDS_OF_VTCTLD: [u32; 2] = [256, 16];

/// The keyspace of the canned cluster.
const KEYSPACE: &str = "customer";

fn get_workflows(include_logs: bool) -> Vec<u8> {
    GetWorkflowsRequest { keyspace: KEYSPACE.into(), include_logs, ..GetWorkflowsRequest::default() }.encode_to_vec()
}

/// 200 clients: how many answers for the server's processor time, and how long each takes.
async fn many(args: &Args, how_long: Duration) -> anyhow::Result<()> {
    const SHARDS: u32 = 4;
    const STREAMS: u32 = 12;
    let cluster = Remote::start(SHARDS, STREAMS).await?;
    println!("200 clients, {how_long:?}, {SHARDS} shards x {STREAMS} streams, no delay");
    println!("| what they ask | who | answers | a second of a core | p50 ms | p99 ms | errors | MB before | after |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, program) in args.programs() {
        let server = Server::start(&program, &cluster.etcd).await?;
        let request = get_workflows(false).into();
        for (what, asked) in [("the same", Asked::TheSame), ("each its own read", Asked::EachItsOwn)] {
            // What connections, buffers and caches take is there after this.
            many::ask(&server, &request, asked, Duration::from_secs(5).min(how_long)).await?;
            let seen = many::ask(&server, &request, asked, how_long).await?;
            println!(
                "| {what} | {name} | {} | {:.0} | {} | {} | {} | {:.1} | {:.1} |",
                seen.times.len(),
                seen.per_core_second(),
                ms(seen.percentile(50)),
                ms(seen.percentile(99)),
                seen.errors.len(),
                seen.memory.0 as f64 / 1e6,
                seen.memory.1 as f64 / 1e6,
            );
            if let Some(error) = seen.errors.first() {
                println!("the first error: {error}");
            }
        }
    }
    Ok(())
}

/// One client: what one request costs.
async fn one(args: &Args) -> anyhow::Result<()> {
    println!(
        "| shards x streams, logs, delay | who | cold ms | of the pump | warm ms | repeated ms | of the floor | of the pump | CPU ms cold | repeated | MB above idle | MB reply | asks | MB answered |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for &shards in &args.shards {
        let cluster = Remote::start(shards, args.streams).await?;
        for logs in [false, true] {
            let options = CallOptions { reply_bytes: 1 << 30, ..CallOptions::default() };
            let call = Call { path: rpc::GET_WORKFLOWS.into(), request: get_workflows(logs), options };
            for &delay in &args.delays {
                let delay = Duration::from_millis(delay);
                cluster.set_delay(delay).await?;
                let case = format!("{shards} x {}{}, {} ms", args.streams, if logs { ", logs" } else { "" }, delay.as_millis());
                let pumped = pump::run(&cluster.etcd, &call, args.runs).await?;
                let floor = delay * pumped.sums.rounds;
                print_pump(&case, &pumped, floor);
                for (name, program) in args.programs() {
                    let is_slow = matches!(program, Program::Vtctld(_));
                    let [at_once, with_delay] = SHARDS_OF_VTCTLD;
                    if is_slow && shards > if delay.is_zero() { at_once } else { with_delay } {
                        continue;
                    }
                    // Answers that nobody has asked for yet are learnt before anything else is measured.
                    let peak = if is_slow {
                        None
                    } else {
                        Some(Server::start_thrifty(&program, &cluster.etcd).await?.peak(&call.request).await?)
                    };
                    let runs = if is_slow { 0 } else { args.runs };
                    let server = Server::start(&program, &cluster.etcd).await?;
                    cluster.counts().await?;
                    let mut measured = server.measure(&call.request, runs).await?;
                    let (asks, bytes) = cluster.counts().await?;
                    drop(server);
                    if name == THIS {
                        let server = Server::start_warm(&program, &cluster.etcd, KEYSPACE).await?;
                        measured.warm = Some(server.measure(&call.request, 0).await?.cold);
                    }
                    let requests = runs as u64 + 1;
                    print_server(&case, name, &measured, floor, &pumped, (asks / requests, bytes / requests, peak));
                }
            }
        }
    }
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

fn ratio(time: Duration, floor: Duration) -> String {
    if floor.is_zero() { "-".to_owned() } else { format!("{:.2}", time.as_secs_f64() / floor.as_secs_f64()) }
}

fn print_pump(case: &str, pumped: &Pumped, floor: Duration) {
    let Pumped { cold, warm, sums } = pumped;
    let asks = sums.tablet_calls + sums.topology_gets + sums.topology_ranges;
    let none = || "-".to_owned();
    row(case, "pump", (cold, Some(warm)), floor, [none(), none(), none()], [none(), none()], (asks, sums.answer_bytes));
    println!("| {case} | floor: {} rounds | {} | | | {} | | | | | | | | |", sums.rounds, ms(floor), ms(floor));
}

fn print_server(
    case: &str,
    name: &str,
    measured: &Measured,
    floor: Duration,
    pumped: &Pumped,
    (asks, bytes, peak): (u64, u64, Option<u64>),
) {
    let Measured { cold, warm, repeated, reply_bytes } = measured;
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let of_pump = known(repeated.map(|repeated| ratio(repeated.time, pumped.warm.time)));
    let between = [ratio(cold.time, pumped.cold.time), known(warm.map(|warm| ms(warm.time))), of_pump];
    let memory = [peak, Some(*reply_bytes as u64)].map(|bytes| known(bytes.map(|bytes| format!("{:.2}", bytes as f64 / 1e6))));
    row(case, name, (cold, repeated.as_ref()), floor, between, memory, (asks, bytes));
}

/// A line of the table. `between`: the first request's time of the pump's, that of a server that is warm, and the repeated one's of the
/// pump's. `memory`: above idle, and the reply.
fn row(
    case: &str,
    who: &str,
    (cold, repeated): (&Took, Option<&Took>),
    floor: Duration,
    between: [String; 3],
    memory: [String; 2],
    (asks, bytes): (u64, u64),
) {
    let ([cold_of_pump, warm, of_pump], [peak, reply]) = (between, memory);
    let of_repeated = |show: &dyn Fn(&Took) -> String| repeated.map_or_else(|| "-".to_owned(), show);
    println!(
        "| {case} | {who} | {} | {cold_of_pump} | {warm} | {} | {} | {of_pump} | {} | {} | {peak} | {reply} | {asks} | {:.2} |",
        ms(cold.time),
        of_repeated(&|took| ms(took.time)),
        of_repeated(&|took| ratio(took.time, floor)),
        ms(cold.cpu),
        of_repeated(&|took| ms(took.cpu)),
        bytes as f64 / 1e6,
    );
}
