//! The planner alone, natively and in wasmtime: what a GetWorkflows costs of 1, 14,080 and 100,096 streams with copy state, and with
//! logs. Run by `make bench`, which builds the component before.
//!
//! No network, no topology, no tablet: a recorded flow's answers are given to a new one. *plan* is from the start to the asks of the
//! tablets, *merge* from their first answer to the encoded reply. In wasmtime what a store costs is in *plan*, and copying each
//! answer into it in *merge*. Instructions are counted natively by callgrind, which no other load of the machine changes.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    process::Command,
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
    trace_file::{self, Recorder, TraceFile},
};
use vtflow_planner::{
    Answer, AskId, Call, CallOptions, FlowHandle, Reply, Timestamp, What, proto::vtctldata::GetWorkflowsRequest, rpc,
    trace::Trace,
};

const NOW: Timestamp = Timestamp { seconds: 1_790_000_000, nanos: 0 };

/// Shards, streams of each, and how often each is measured.
const SIZES: [(u32, u32, usize); 3] = [(1, 1, 201), (256, 55, 15), (256, 391, 5)];

/// So many streams may be run by callgrind, which takes fifty times as long.
const COUNTED_STREAMS: u32 = 20_000;

/// The argument with which callgrind runs this program: a file with a trace follows.
const COUNT: &str = "--count";

#[tokio::main]
async fn main() {
    let args: Vec<String> = env::args().collect();
    // `cargo test --benches` runs benches too: nothing is measured there.
    if args.iter().any(|arg| arg == "--test") {
        return;
    }
    if let Some([_, file]) = args.windows(2).find(|pair| pair.first().is_some_and(|arg| arg == COUNT)) {
        let trace = trace_file::read(Path::new(file)).expect("a trace").remove(0);
        let answers = answers(&trace);
        counted(&mut *PlannerHost::Native.start(&trace.call, trace.now), answers);
        return;
    }
    let started = Instant::now();
    let wasm = PlannerHost::load(&PlannerChoice::Embedded).expect("make component, then build this again");
    println!("\nThe planner alone; the component is compiled in {:.1?}", started.elapsed());
    println!(
        "| streams | logs | asks | MB answered | native plan ms | merge ms | ns a stream | instructions a stream | wasmtime plan ms | merge ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (shards, streams, runs) in SIZES {
        for include_logs in [false, true] {
            let trace = recorded(shards, streams, include_logs).await;
            let all = shards * streams;
            let (native, component) = (median(&PlannerHost::Native, &trace, runs), median(&wasm, &trace, runs));
            let counted = (all <= COUNTED_STREAMS).then(|| instructions(trace.clone())).flatten();
            let counted = counted.map_or_else(|| "-".to_owned(), |counted| (counted / u64::from(all)).to_string());
            let answered: usize = trace.asks.iter().filter_map(|traced| traced.answer.as_ref()).map(bytes).sum();
            let per_stream = (native.plan + native.merge).as_nanos() / u128::from(all);
            println!(
                "| {all} | {} | {} | {:.1} | {:.2} | {:.2} | {per_stream} | {counted} | {:.2} | {:.2} |",
                if include_logs { "yes" } else { "no" },
                trace.asks.len(),
                answered as f64 / 1e6,
                millis(native.plan),
                millis(native.merge),
                millis(component.plan),
                millis(component.merge),
            );
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn bytes(answer: &Answer) -> usize {
    if let Answer::Called(bytes) = answer { bytes.len() } else { 0 }
}

async fn recorded(shards: u32, streams: u32, include_logs: bool) -> Trace {
    let shape = Shape { shards, streams, copy_states: 2, log_rows: 3, release: Release::new(24) };
    let cluster = Cluster::start(generate(shape, NOW), BTreeMap::new(), Duration::ZERO).await.expect("the cluster starts");
    let topology = Arc::new(MemoryTopology::new(cluster.topo()));
    let tablets = Arc::new(Tablets::new(TabletOptions::default()).expect("no files"));
    let io = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
    let request = GetWorkflowsRequest { keyspace: "customer".into(), include_logs, ..GetWorkflowsRequest::default() };
    let call = Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let recorder = Recorder::new();
    let reply = drive(PlannerHost::Native.start(&call, NOW), &io, None, &recorder).await;
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    recorder.ended(PlannerHost::Native.build(), &call, NOW, &reply)
}

/// The answers of a trace, by the numbers that the same asks have when each round is answered in its order: as they came in then,
/// the next round's asks were numbered otherwise.
fn answers(trace: &Trace) -> BTreeMap<AskId, Answer> {
    let mut flow = PlannerHost::Native.start(&trace.call, trace.now);
    let mut answers = BTreeMap::new();
    loop {
        let asks = flow.asks();
        if asks.is_empty() {
            break;
        }
        for ask in asks {
            let traced = trace.asks.iter().find(|traced| traced.ask.what == ask.what).expect("it was asked then");
            let answer = traced.answer.clone().expect("all were answered");
            answers.insert(ask.id, answer.clone());
            flow.answer(ask.id, answer);
        }
    }
    answers
}

#[derive(Clone, Copy)]
struct Took {
    plan: Duration,
    merge: Duration,
}

/// A flow from its start to its reply, given these answers round by round.
fn run(flow: &mut dyn FlowHandle, mut answers: BTreeMap<AskId, Answer>, mut merging: impl FnMut()) -> Reply {
    loop {
        let asks = flow.asks();
        if asks.is_empty() {
            break;
        }
        if asks.iter().any(|ask| matches!(ask.what, What::TabletCall { .. })) {
            merging();
        }
        for ask in asks {
            flow.answer(ask.id, answers.remove(&ask.id).expect("the same asks as then"));
        }
    }
    flow.end().expect("a reply")
}

/// The medians of so many runs.
fn median(host: &PlannerHost, trace: &Trace, runs: usize) -> Took {
    let (mut plans, mut merges) = (Vec::new(), Vec::new());
    let all = answers(trace);
    for _ in 0..runs {
        let answers = all.clone();
        let started = Instant::now();
        let mut merging = None;
        let reply = run(&mut *host.start(&trace.call, trace.now), answers, || {
            merging.get_or_insert_with(Instant::now);
        });
        let ended = Instant::now();
        assert!(Some(&reply) == trace.reply.as_ref(), "another reply than then");
        let merging = merging.expect("tablets were asked");
        plans.push(merging - started);
        merges.push(ended - merging);
    }
    plans.sort();
    merges.sort();
    Took { plan: plans[runs / 2], merge: merges[runs / 2] }
}

/// What callgrind counts: a flow with its answers at hand.
#[inline(never)]
fn counted(flow: &mut dyn FlowHandle, answers: BTreeMap<AskId, Answer>) {
    std::hint::black_box(run(flow, answers, || {}));
}

/// Instructions of a whole flow, natively; `None`, and a line that says why, where callgrind is not there.
fn instructions(trace: Trace) -> Option<u64> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("trace.jsonl");
    let traces = TraceFile::create(&file, false, PlannerHost::Native).expect("a file");
    traces.add(trace).expect("the trace is written");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=planner_alone::counted"]);
    let output = valgrind.arg(env::current_exe().expect("this program")).arg(COUNT).arg(&file).output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            println!("no instructions are counted: valgrind: {error}");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let counted = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    assert!(counted.is_some_and(|counted: u64| counted > 0), "callgrind counted nothing: {said}");
    counted
}
