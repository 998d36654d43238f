//! A planner in wasmtime that uses up too much, traps, or is none: an error that says so, and nothing else is touched.
//!
//! The planner has to have been built (`make component`): `make test` does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use crate::support::{
    program::vtflow,
    serving::{GET_WORKFLOWS, NOW, Serving, options, workflows_of},
};
use bytes::Bytes;
use prost::Message;
use tempfile::TempDir;
use vtflow::{
    drive::drive,
    embedded::{Shape, generate},
    planner_host::PlannerHost,
    server::ServerOptions,
    trace_file::Recorder,
};
use vtflow_component::{Limits, Planner};
use vtflow_planner::{
    Answer, Call, CallOptions, Code, Effect, FlowHandle, What,
    proto::vtflow::VExecRequest,
    rpc,
    trace::{Planner as Build, Trace, replay},
};

fn component() -> Vec<u8> {
    fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/planner.wasm")).expect("make component")
}

fn planner(limits: Limits) -> PlannerHost {
    PlannerHost::Wasm(Box::new(Planner::new("planner.wasm", &component(), limits).unwrap()))
}

fn workflows() -> Call {
    let request = workflows_of("customer").to_vec();
    Call { path: GET_WORKFLOWS.to_owned(), request, options: CallOptions::default() }
}

/// Answers every ask of a flow with this much, and gives the status that it ends with.
fn ended(mut flow: Box<dyn FlowHandle>, bytes: usize) -> vtflow_planner::Status {
    for _ in 0..100 {
        for ask in flow.asks() {
            let answer = match ask.what {
                What::TabletCall { .. } => Answer::Called(vec![b'x'; bytes]),
                _ => Answer::Found { value: vec![b'x'; bytes], version: 1 },
            };
            flow.answer(ask.id, answer);
        }
        if let Some(reply) = flow.end() {
            return reply.result.unwrap_err();
        }
    }
    panic!("it has no end");
}

#[test]
fn what_takes_too_many_steps_is_stopped() {
    let host = planner(Limits { fuel: 1_000_000, ..Limits::default() });
    let sql = format!("select * from _vt.vreplication where id in ({}1)", "1,".repeat(30_000));
    let request = VExecRequest { keyspace: "customer".to_owned(), sql, dry_run: true, ..VExecRequest::default() };
    let call = Call { path: rpc::VEXEC.to_owned(), request: request.encode_to_vec(), options: CallOptions::default() };
    let status = ended(host.start(&call, NOW), 10);
    assert_eq!(status.code, Code::Internal);
    assert!(
        status.message.starts_with("the planner planner.wasm stopped: ") && status.message.contains("all fuel consumed"),
        "{}",
        status.message
    );
    assert!(status.message.ends_with("(a request has 1000000 steps)"), "{}", status.message);
    // Each request has its own: the planner goes on.
    assert_ne!(ended(host.start(&workflows(), NOW), 10).code, Code::Internal);
    assert_eq!(ended(host.start(&call, NOW), 10).message, status.message);
}

#[test]
fn what_takes_too_much_memory_is_stopped() {
    let memory = 8 << 20;
    let host = planner(Limits { memory, ..Limits::default() });
    let small = ended(host.start(&workflows(), NOW), 10);
    assert_ne!(small.code, Code::Internal, "{}", small.message);
    let status = ended(host.start(&workflows(), NOW), 16 << 20);
    assert_eq!(status.code, Code::Internal, "{}", status.message);
    assert!(status.message.ends_with("(a request has 8388608 bytes of memory)"), "{}", status.message);
}

/// What had been asked for by then is not known: whoever reads the error is told.
#[tokio::test]
async fn a_change_that_is_stopped_says_that_it_had_begun() {
    let serving = Serving::small().await;
    let request = VExecRequest {
        keyspace: "customer".to_owned(),
        sql: "update _vt.vreplication set message = 'x' where id = 1".to_owned(),
        ..VExecRequest::default()
    };
    let call = Call { path: rpc::VEXEC.to_owned(), request: request.encode_to_vec(), options: CallOptions::default() };
    let recorder = Recorder::new();
    let reply = drive(PlannerHost::Native.start(&call, NOW), &serving.io, None, &recorder).await;
    let mut trace = recorder.ended(Build::this(), &call, NOW, &reply);
    let is_write = |what: &What| matches!(what, What::TabletCall { effect: Effect::Write, .. });
    assert!(trace.asks.iter().any(|traced| is_write(&traced.ask.what)), "{reply:?}");
    for traced in trace.asks.iter_mut().filter(|traced| is_write(&traced.ask.what)) {
        traced.answer = Some(Answer::Called(vec![0; 16 << 20]));
    }
    let host = planner(Limits { memory: 8 << 20, ..Limits::default() });
    let status = replay(&mut *host.start(&call, NOW), &trace).reply.unwrap().result.unwrap_err();
    assert_eq!(status.code, Code::Internal, "{}", status.message);
    assert!(status.message.contains("changes had been asked for before: look at what became of them"), "{}", status.message);
}

#[test]
fn hostile_statements_have_the_same_error_as_natively() {
    let wasm = planner(Limits::default());
    let nested = |open: &str, close: &str, times| {
        format!("select * from _vt.vreplication where {}1{}", open.repeat(times), close.repeat(times))
    };
    let mut statements = vec![
        "(".repeat(65_000),
        "(".repeat(1 << 20),
        "select ".repeat(9_000),
        "\u{0}".repeat(60_000),
        format!("select * from _vt.vreplication where id in ({})", "1,".repeat(30_000)),
        format!("select * from _vt.vreplication where {}", "id = 1 or ".repeat(240)) + "id = 2",
        "select 'x".to_owned(),
    ];
    for times in [1, 8, 14, 15, 16, 29, 30, 31, 32, 33, 200, 490] {
        statements.push(nested("(", ")", times));
        statements.push(nested("not ", "", times));
        statements.push(nested("- ", "", times));
        statements.push(nested("~", "", times));
        statements.push(nested("lower(", ")", times));
        statements.push(nested("case when 1 then ", " end", times));
        statements.push(nested("id in (select id from _vt.copy_state where ", ")", times));
    }
    let mut refused = 0;
    for sql in statements {
        let request =
            VExecRequest { keyspace: "customer".to_owned(), sql: sql.clone(), dry_run: true, ..VExecRequest::default() };
        let call = Call { path: rpc::VEXEC.to_owned(), request: request.encode_to_vec(), options: CallOptions::default() };
        let empty = Trace {
            vtflow_trace: 1,
            planner: Build::this(),
            call: call.clone(),
            now: NOW,
            redacted: false,
            asks: Vec::new(),
            reply: None,
            took_us: 0,
        };
        let start: String = sql.chars().take(90).collect();
        let native = replay(&mut *PlannerHost::Native.start(&call, NOW), &empty);
        assert_eq!(replay(&mut *wasm.start(&call, NOW), &empty), native, "{start}");
        let status = native.reply.unwrap().result.unwrap_err();
        assert_ne!(status.code, Code::Internal, "{start}: {}", status.message);
        refused += usize::from(status.code == Code::InvalidArgument);
    }
    assert!(refused > 20, "{refused} were refused for what they are");
}

#[test]
fn what_is_no_planner_is_refused_with_the_reason() {
    let whole = component();
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 64].fill(0xff);
    let cases: [(&str, &[u8], &str); 6] = [
        ("text", b"not wasm at all", "is no planner that can be run here: "),
        ("empty", b"", "is no planner that can be run here: "),
        ("half", &whole[..whole.len() / 2], "out of bounds"),
        ("broken", &broken, "is no planner that can be run here: "),
        ("a core module", b"\0asm\x01\0\0\0", "is no planner that can be run here: "),
        ("a component of nothing", b"\0asm\x0d\0\x01\0", "no exported instance named `vtflow:planner/planning"),
    ];
    for (name, bytes, wanted) in cases {
        let error = Planner::new(name, bytes, Limits::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} is no planner")) && error.contains(wanted), "{name}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    // A component that imports a function `x`.
    let importing = b"\0asm\x0d\0\x01\0\x07\x05\x01\x40\0\x01\0\x0a\x06\x01\0\x01x\x01\0";
    let error = Planner::new("importing", importing, Limits::default()).unwrap_err().to_string();
    assert!(error.ends_with("it imports x, and a planner imports nothing"), "{error}");
    Planner::new("whole", &whole, Limits::default()).unwrap();
}

#[test]
fn the_command_says_which_planner_it_cannot_run() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("garbage.wasm");
    fs::write(&file, "garbage").unwrap();
    let ran = vtflow(&["--demo", "get", "workflows", "customer", "--planner", &format!("wasm={}", file.display())]);
    assert!(ran.code == 2 && ran.stderr.contains("garbage.wasm is no planner that can be run here"), "{}", ran.stderr);
    let ran = vtflow(&["--demo", "get", "workflows", "customer", "--planner", "wasm=/no/such/file"]);
    assert!(ran.code == 2 && ran.stderr.contains("the planner /no/such/file cannot be read: "), "{}", ran.stderr);
    let ran = vtflow(&["--demo", "get", "workflows", "customer", "--planner", "fast"]);
    assert!(ran.code == 2 && ran.stderr.contains("there are native, wasm and wasm=FILE"), "{}", ran.stderr);
    let good = concat!("wasm=", env!("CARGO_MANIFEST_DIR"), "/../dist/planner.wasm");
    let ran = vtflow(&["--demo", "get", "workflows", "customer", "--planner", good]);
    assert!(ran.code < 2 && ran.stdout.contains("sales_mat"), "{}", ran.stderr);
}

/// One request is too much for the planner: it fails, others do not, and the server stays.
#[tokio::test]
async fn a_server_stays_up() {
    let planner = planner(Limits { fuel: 20_000_000, ..Limits::default() });
    let large = generate(Shape { shards: 2, streams: 2_000, ..Shape::default() }, NOW);
    let serving = Serving::with(ServerOptions { planner, ..options() }, large, &[]).await;
    for _ in 0..3 {
        let status = serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal, "{status}");
        assert!(status.message().contains("the planner planner.wasm stopped: "), "{status}");
        serving.call("/vtctlservice.Vtctld/GetKeyspaces", Bytes::new()).await.unwrap();
    }
}
