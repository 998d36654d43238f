//! What the page asks of the server: which planner it has, and the trace of a read. Nothing else, and of nobody who may not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, net::SocketAddr, time::Duration};

use crate::support::{process::Process, program::recorded};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use vtflow_planner::{
    CallOptions, DIGEST, Effect, Flow, Mode, What,
    request::{Request, TrafficChange, Whose},
    trace::{Trace, replay},
};

const GET_KEYSPACES: &str = "/vtctlservice.Vtctld/GetKeyspaces";

/// A request as it stands on the wire; status, headers and body of the answer.
async fn http(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String, String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{head}\r\nHost: {address}\r\nConnection: close\r\n{length}\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    // Whoever refuses a body need not read it.
    connection.write_all(body).await.ok();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(30), connection.read_to_end(&mut answer)).await.expect("an answer").ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

const POST: &str = "POST /api/trace HTTP/1.1\r\nContent-Type: application/json";

fn call(path: &str) -> Vec<u8> {
    json!({ "path": path, "request": { "text": "" }, "options": {} }).to_string().into_bytes()
}

fn start(more: &[&str]) -> Process {
    let flags = ["demo", "--serve", "--bind-address", "127.0.0.1", "--grpc-port", "0", "--port", "0"];
    Process::start(&[&flags[..], more].concat())
}

#[tokio::test]
async fn a_read_comes_back_as_a_trace_that_replays() {
    let server = start(&["--allow-writes"]);
    let (status, head, body) = http(server.http, "GET /api/planner HTTP/1.1", b"").await;
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()["digest"].as_str().unwrap()), (200, DIGEST));
    assert!(head.contains("application/json") && head.contains("no-store") && !head.contains("access-control"), "{head}");

    let (status, _, body) = http(server.http, POST, &call(GET_KEYSPACES)).await;
    assert_eq!(status, 200, "{body}");
    let trace: Trace = serde_json::from_str(&body).unwrap();
    let replayed = replay(&mut Flow::start(&trace.call, trace.now), &trace);
    assert_eq!(replayed.differences, Vec::<String>::new());
    assert!(replayed.reply.unwrap().result.is_ok());

    for (head, body, status, wanted) in [
        (POST, call("/vtctlservice.Vtctld/WorkflowDelete"), 403, "the page only reads"),
        (POST, call("/vtflow.Snapshot/Read"), 404, "vtflow does not serve"),
        (POST, call("/nothing"), 404, "vtflow does not serve"),
        (POST, b"{".to_vec(), 400, "the body is no call"),
        (POST, vec![b' '; (1 << 20) + 1], 413, "larger than 1 MiB"),
        ("POST /api/trace HTTP/1.1\r\nContent-Type: text/plain", call(GET_KEYSPACES), 415, "application/json"),
        ("POST /api/trace HTTP/1.1", call(GET_KEYSPACES), 415, "application/json"),
        ("GET /api/trace HTTP/1.1", Vec::new(), 405, "POST only"),
        ("OPTIONS /api/trace HTTP/1.1", Vec::new(), 405, "POST only"),
        ("GET /api/else HTTP/1.1", Vec::new(), 404, "there are /api/planner and /api/trace"),
        ("GET /../Cargo.toml HTTP/1.1", Vec::new(), 404, "not here"),
    ] {
        let got = http(server.http, head, &body).await;
        assert!(got.0 == status && got.2.contains(wanted), "{head}: {got:?}");
    }
    assert_eq!(http(server.http, "GET /healthz HTTP/1.1", b"").await.0, 200, "and it is still up");
}

/// Of a change the page gets the preview, and nothing of it writes or locks; the change itself is refused, also by what only looks like a preview.
#[tokio::test]
async fn of_a_change_only_the_preview_is_performed() {
    let snapshot = recorded("movetables-reads-switched");
    let flags = ["serve", "--snapshot", snapshot.to_str().unwrap(), "--allow-writes"];
    let server = Process::start(&[&flags[..], &["--bind-address", "127.0.0.1", "--grpc-port", "0", "--port", "0"]].concat());
    let switch = |change: TrafficChange, mode: Mode| {
        let (keyspace, workflow) = ("customer".into(), "move1".into());
        let request = Request::Traffic { keyspace, workflow, change, whose: Whose::All };
        serde_json::to_vec(&request.call(CallOptions { mode, ..CallOptions::default() })).unwrap()
    };
    let stands = async || http(server.http, POST, &diagnosis()).await.2;
    let reply = |text: &str| serde_json::from_str::<Trace>(text).unwrap().reply.unwrap();
    let before = reply(&stands().await);
    for change in [TrafficChange::Switch, TrafficChange::Reverse, TrafficChange::Complete, TrafficChange::Cancel] {
        let (status, _, body) = http(server.http, POST, &switch(change, Mode::Preview)).await;
        assert_eq!(status, 200, "{body}");
        let trace: Trace = serde_json::from_str(&body).unwrap();
        assert!(trace.asks.len() > 10, "{change:?}: it looks before it says anything");
        for traced in &trace.asks {
            let reads = match &traced.ask.what {
                What::TabletCall { effect, .. } => *effect == Effect::Read,
                What::TopoGet { .. } | What::TopoRange { .. } | What::TopoList { .. } => true,
                _ => false,
            };
            assert!(reads, "{change:?}: {:?}", traced.ask.what);
        }
        let replayed = replay(&mut Flow::start(&trace.call, trace.now), &trace);
        assert_eq!(replayed.differences, Vec::<String>::new(), "{change:?}");
        if change == TrafficChange::Switch {
            let plan = trace.reply.unwrap().written.unwrap().plan;
            assert_eq!(plan.summary, "This moves replica, rdonly reads and writes of customer.move1 to customer, in 13 steps");
            let planned = switch(change, Mode::Planned(plan.digest));
            assert_eq!(http(server.http, POST, &planned).await.0, 403, "what was previewed is not performed either");
        }
        let (status, _, body) = http(server.http, POST, &switch(change, Mode::Perform)).await;
        assert!(status == 403 && body.contains("the page only reads, and previews"), "{change:?}: {status} {body}");
    }
    assert_eq!(reply(&stands().await), before, "nothing has moved");
}

/// What is wrong with all workflows, and how far each is.
fn diagnosis() -> Vec<u8> {
    let request = Request::Diagnosis { keyspace: String::new(), workflow: String::new() };
    serde_json::to_vec(&request.call(CallOptions::default())).unwrap()
}

#[tokio::test]
async fn who_may_not_call_may_not_look() {
    let directory = TempDir::new().unwrap();
    let passwords = directory.path().join("passwords");
    fs::write(&passwords, r#"[{"Username": "ann", "Password": "secret:1"}]"#).unwrap();
    let flags = ["--grpc-auth-mode", "static", "--grpc-auth-static-password-file", passwords.to_str().unwrap()];
    let server = start(&flags);
    let (status, head, _) = http(server.http, POST, &call(GET_KEYSPACES)).await;
    assert!(status == 401 && head.contains("www-authenticate: basic"), "{status} {head}");
    for (pair, status) in [("ann:secret:1", 200), ("ann:secret", 401), ("bob:secret:1", 401), ("ann", 401), ("", 401)] {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let head = format!("{POST}\r\nAuthorization: Basic {}", BASE64_STANDARD.encode(pair));
        assert_eq!(http(server.http, &head, &call(GET_KEYSPACES)).await.0, status, "{pair}");
    }
    // The page itself and the planner's name are no secret.
    assert_eq!(http(server.http, "GET / HTTP/1.1", b"").await.0, 200);
    assert_eq!(http(server.http, "GET /api/planner HTTP/1.1", b"").await.0, 200);
}
