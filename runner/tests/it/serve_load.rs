//! A server whose clients are too many, silent, or do not read: it stays within its bounds, and `/healthz` goes on answering.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::{Message, encoding};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle, time::timeout};
use tonic::{Code, Request};
use vtflow::{deadline::Deadlines, server::ServerOptions};
use vtflow_planner::proto::vtctldata::{GetTabletsRequest, GetTabletsResponse, GetWorkflowsResponse};

use crate::support::{
    process::Process,
    program::{case, copied},
    serving::{GET_WORKFLOWS, Serving, channel, http_get, options, small, unary, workflows_of},
};

const BACKUP: &str = "/vtctlservice.Vtctld/Backup";

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["demo", "--serve", "--grpc-port", "0", "--port", "0"][..], more].concat()
}

/// Asks `/healthz` again and again.
struct Watch {
    is_over: Arc<AtomicBool>,
    /// How long each answer took.
    task: JoinHandle<Vec<Duration>>,
}

impl Watch {
    fn begin(http: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let mut took = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = timeout(Duration::from_secs(5), http_get(http, "/healthz")).await;
                assert_eq!(answer.expect("/healthz answers"), (200, "ok\n".to_owned()));
                took.push(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            took
        });
        Self { is_over, task }
    }

    /// It has always answered, and as a rule within a second. One answer alone may be late: other tests have the cores, too.
    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut took = self.task.await.unwrap();
        took.sort_unstable();
        assert!(took[took.len() / 2] < Duration::from_secs(1), "/healthz took {took:?}");
    }
}

/// Requests for the same workflows that no two clients send alike.
fn different(number: u64) -> Bytes {
    let mut request = workflows_of("customer").to_vec();
    encoding::uint64::encode(1000, &number, &mut request);
    request.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    // The process's stderr is a pipe that is full after some hundred lines.
    let server = Process::start(&arguments(&[]));
    let channel = channel(server.grpc).await;
    let calls = stream::iter(0..4000).map(|_| unary(channel.clone(), BACKUP, Request::new(Bytes::new()))).buffer_unordered(50);
    let all = calls.for_each(|answer| async move { assert_eq!(answer.unwrap_err().code(), Code::Unimplemented) });
    timeout(Duration::from_secs(30), all).await.expect("nobody waits for the log");
    assert_eq!(timeout(Duration::from_secs(1), http_get(server.http, "/healthz")).await.unwrap().0, 200);
    let (_, metrics) = http_get(server.http, "/metrics").await;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("vtflow_log_lines_dropped_total ")).expect("a count");
    assert!(dropped.parse::<u64>().unwrap() > 1000, "{dropped}");
    let (code, log) = tokio::task::spawn_blocking(move || server.end("-TERM")).await.unwrap();
    assert_eq!(code, 0);
    // What was dropped after the metrics were read counts, too.
    let told = log
        .lines()
        .filter(|line| line.contains("log lines were dropped"))
        .filter_map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("dropped=")?.parse::<u64>().ok()));
    let told: u64 = told.sum();
    assert!(told >= dropped.parse().unwrap(), "the log says how many: {told} of {dropped}");
}

/// Connections of a process to others on this machine, by the kernel's table.
fn connections_to(ports: &[u16]) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = |line: &str| u16::from_str_radix(line.split_whitespace().nth(2)?.rsplit(':').next()?, 16).ok();
    let is_established = |line: &&str| line.split_whitespace().nth(3) == Some("01");
    table.lines().filter(is_established).filter(|line| peer(line).is_some_and(|port| ports.contains(&port))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_warm_has_its_connections_before_anybody_asks() {
    let flags = ["--shards", "4", "--down", "zone2-0000000300", "--warm", "nope", "--warm", "customer"];
    let mut server = Process::start(&arguments(&flags));
    assert!(server.line_with("--warm").contains("--warm nope: node doesn't exist: /vitess/global/keyspaces/nope/"));
    assert!(server.line_with("--warm").contains("--warm customer: customer/40-80 zone2-0000000300"));
    server.line_with("--warm customer: connected to the others of its primaries");
    let request =
        Request::new(GetTabletsRequest { keyspace: "customer".into(), ..GetTabletsRequest::default() }.encode_to_vec().into());
    let reply = unary(channel(server.grpc).await, "/vtctlservice.Vtctld/GetTablets", request).await.unwrap();
    let reply = GetTabletsResponse::decode(reply.into_inner()).unwrap();
    let ports: Vec<u16> = reply.tablets.iter().map(|tablet| u16::try_from(tablet.port_map["grpc"]).unwrap()).collect();
    assert_eq!((ports.len(), connections_to(&ports)), (4, 3), "one tablet is down");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_nobody_out() {
    let server = Process::start_with_files(256, &arguments(&[]));
    let watch = Watch::begin(server.http);
    let mut silent = Vec::new();
    for _ in 0..300 {
        for address in [server.grpc, server.http] {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
    }
    for _ in 0..3 {
        let call = async { unary(channel(server.grpc).await, GET_WORKFLOWS, Request::new(workflows_of("customer"))).await };
        timeout(Duration::from_secs(5), call).await.expect("in time").unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    watch.end().await;
    let (_, metrics) = http_get(server.http, "/metrics").await;
    let closed = r#"vtflow_connections_closed_total{port="grpc",reason="idle"}"#;
    assert!(metrics.contains(closed), "{metrics}");
}

/// A reply that never ends, and a request whose message never comes: whoever has only those gives way.
#[tokio::test(flavor = "multi_thread")]
async fn watchers_keep_nobody_out() {
    let server = Process::start_with_files(256, &arguments(&[]));
    let watch = Watch::begin(server.http);
    let mut kept = Vec::new();
    for number in 0..200 {
        let stream = TcpStream::connect(server.grpc).await.unwrap();
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let bytes = |bytes: &'static [u8]| stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(bytes)))]);
        let (path, body) = if number % 2 == 0 {
            ("/grpc.health.v1.Health/Watch", bytes(&[0; 5]).boxed())
        } else {
            (GET_WORKFLOWS, bytes(&[0; 3]).chain(stream::pending()).boxed())
        };
        let request = http::Request::post(format!("http://server{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(StreamBody::new(body))
            .unwrap();
        let response = tokio::spawn(sender.send_request(request));
        kept.push((response, sender));
    }
    for _ in 0..3 {
        let call = async { unary(channel(server.grpc).await, GET_WORKFLOWS, Request::new(workflows_of("customer"))).await };
        timeout(Duration::from_secs(5), call).await.expect("in time").unwrap();
    }
    watch.end().await;
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_clients_that_never_read_keep_nobody_out() {
    let server = Process::start_with_files(256, &arguments(&[]));
    let watch = Watch::begin(server.http);
    let asks = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", server.http).repeat(500);
    let mut deaf = Vec::new();
    for _ in 0..300 {
        let mut connection = TcpStream::connect(server.http).await.unwrap();
        // What the server does not take need not be sent.
        timeout(Duration::from_millis(5), connection.write_all(asks.as_bytes())).await.ok();
        deaf.push(connection);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    watch.end().await;
    assert!(server.most_memory() < 400, "{} MB", server.most_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_at_once_are_answered_or_refused_at_once() {
    let server = Process::start(&arguments(&["--shards", "8", "--streams", "24", "--no-log"]));
    let watch = Watch::begin(server.http);
    let (want, _) = workflows(server.grpc, 0).await.unwrap();
    let results = join_all((1..=300).map(|number| workflows(server.grpc, number))).await;
    let (mut answered, mut refused) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok((got, took)) => {
                assert_eq!(got, want, "all of it");
                answered.push(took);
            }
            Err((status, took)) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                assert!(status.message().contains("nothing was asked of any tablet, try again"), "{status:?}");
                refused.push(took);
            }
        }
    }
    watch.end().await;
    answered.sort_unstable();
    assert!(
        refused.iter().all(|took| *took < answered[answered.len() / 2]),
        "refused after {refused:?}, answered after {answered:?}"
    );
    // 32 at once and 256 that wait: whether the last ones are too many depends on how fast the first ones are.
    assert!(answered.len() >= 288 && answered.len() + refused.len() == 300, "{} {}", answered.len(), refused.len());
    // The embedded tablets are in it.
    assert!(server.most_memory() < 600, "{} MB", server.most_memory());
}

type Took = Duration;

/// How many streams there are in each workflow.
async fn workflows(address: SocketAddr, number: u64) -> Result<(Vec<usize>, Took), (tonic::Status, Took)> {
    let channel = channel(address).await;
    let mut request = Request::new(different(number));
    request.set_timeout(Duration::from_secs(120));
    let begun = Instant::now();
    let response = unary(channel, GET_WORKFLOWS, request).await.map_err(|status| (status, begun.elapsed()))?;
    assert!(!response.metadata().contains_key("vtflow-failures"), "{:?}", response.metadata());
    let reply = GetWorkflowsResponse::decode(response.into_inner()).unwrap();
    let streams = |workflow: &vtflow_planner::proto::vtctldata::Workflow| {
        workflow.shard_streams.values().map(|shard| shard.streams.len()).sum()
    };
    Ok((reply.workflows.iter().map(streams).collect(), begun.elapsed()))
}

/// Tablets that are asked eight things at once and take 20 ms for each are busy with these for three seconds. Were all begun at once,
/// most would wait for longer than an ask may, and fail after half of their work was done.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_does_not_fail_because_others_come() {
    let deadlines = Deadlines { tablet: Duration::from_millis(1500), ..Deadlines::default() };
    let serving = Serving::slow(options(), Duration::from_millis(20), 8, deadlines).await;
    let results = join_all((1..=280).map(|number| workflows(serving.address(), number))).await;
    for result in results {
        let (streams, _) = result.expect("within the 32 that work and the 256 that wait");
        assert!(streams.iter().sum::<usize>() >= 24, "{streams:?}");
    }
}

/// A recorded cluster whose GetWorkflows reply has two megabytes, for next to no work.
fn wordy() -> (TempDir, PathBuf) {
    let (directory, to) = copied(&case("01-filepos-large"));
    for entry in fs::read_dir(to.join("tablets")).unwrap() {
        let file = entry.unwrap().path();
        let mut tablet: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let streams = &mut tablet["sidecar"]["vreplication"];
        let message = streams["columns"].as_array().unwrap().iter().position(|column| column["name"] == "message").unwrap();
        for row in streams["rows"].as_array_mut().unwrap() {
            row[message] = "far too many words ".repeat(25_000).into();
        }
        fs::write(file, tablet.to_string()).unwrap();
    }
    (directory, to)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_their_replies_are_bounded() {
    let (_directory, snapshot) = wordy();
    let snapshot = snapshot.to_str().unwrap();
    // Few work at once, so that what waits to be read is what takes memory.
    let flags = ["--snapshot", snapshot, "serve", "--grpc-port", "0", "--port", "0", "--no-log", "--max-flows", "4"];
    let server = Process::start(&flags);
    let watch = Watch::begin(server.http);
    let mut kept = Vec::new();
    for client in 0..8_u64 {
        let stream = TcpStream::connect(server.grpc).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1).initial_connection_window_size(65_535);
        let (sender, connection) = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let asks = (0..50).map(|number| {
            let mut sender = sender.clone();
            let message = different(1000 * (client + 1) + number);
            let mut frame = vec![0];
            frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(&message);
            let request = http::Request::post(format!("http://server{GET_WORKFLOWS}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(Bytes::from(frame)))
                .unwrap();
            async move { sender.send_request(request).await }
        });
        // Where there is a response its body is not read.
        let responses = timeout(Duration::from_secs(30), join_all(asks)).await.expect("an answer, a refusal or an end");
        kept.push((responses, sender));
    }
    // Each has a reply, a refusal by what there is no more room for, or the end of a connection that was closed.
    let responses: Vec<_> = kept.iter().flat_map(|(responses, _)| responses).collect();
    let replies = responses.iter().filter(|response| is_reply(response.as_ref())).count();
    assert!(replies >= 36, "{replies}");
    for refused in
        responses.iter().filter_map(|response| response.as_ref().ok()).filter(|response| !is_reply(Ok::<_, &()>(response)))
    {
        assert_eq!((refused.status().as_u16(), refused.headers()["grpc-status"].to_str().unwrap()), (200, "8"));
    }
    let (streams, _) = workflows(server.grpc, 1).await.expect("others are answered");
    assert_eq!(streams.iter().sum::<usize>(), 5);
    watch.end().await;
    // 36 replies for each of eight clients would have 600 MB; those that wait are held to 128.
    assert!(server.most_memory() < 400, "{} MB", server.most_memory());
}

/// A reply's beginning, neither a refusal nor a connection's end.
fn is_reply<B, E>(response: Result<&http::Response<B>, &E>) -> bool {
    response.is_ok_and(|response| response.status() == 200 && !response.headers().contains_key("grpc-status"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_in_time_also_if_its_caller_would_wait_for_ever() {
    let flags = ["--shards", "2", "--hang", "zone1-0000000200", "--request-timeout", "2s", "--no-log"];
    let server = Process::start(&arguments(&flags));
    let watch = Watch::begin(server.http);
    let begun = Instant::now();
    let answers =
        join_all((0..40).map(|number| async move {
            unary(channel(server.grpc).await, GET_WORKFLOWS, Request::new(different(number))).await
        }))
        .await;
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    let named = answers.iter().filter(|answer| {
        let metadata = match answer {
            Ok(response) => response.metadata(),
            Err(status) => status.metadata(),
        };
        metadata.get("vtflow-failures").is_some_and(|text| text.to_str().unwrap().contains("zone1-0000000200"))
    });
    assert!(named.count() >= 32, "what is missing is named: {:?}", answers.first());
    watch.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_tablets_have_a_bound_for_all_requests_together() {
    let of = |answer_bytes: usize| ServerOptions { answer_bytes, ..options() };
    let serving = Serving::with(of(1_000), small(), &[]).await;
    let status = serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap_err();
    assert!(status.message().contains("this server has no room for more of its answer"), "{}", status.message());
    let (_, metrics) = http_get(serving.http(), "/metrics").await;
    assert!(metrics.contains(r#"vtflow_requests_refused_total{bound="answers"}"#), "{metrics}");

    // Room for a few requests at once, and for any number of them one after the other: each gives back what it took.
    let serving = Serving::with(of(200_000), small(), &[]).await;
    for number in 0..60 {
        let reply = serving.call(GET_WORKFLOWS, different(number)).await.unwrap();
        assert!(!reply.metadata().contains_key("vtflow-failures"), "request {number}: {:?}", reply.metadata());
        let workflows = GetWorkflowsResponse::decode(reply.into_inner()).unwrap().workflows;
        let streams = workflows.iter().flat_map(|workflow| workflow.shard_streams.values()).flat_map(|shard| &shard.streams);
        assert!(streams.clone().count() == 24 && streams.clone().all(|stream| stream.state != "Unknown"), "request {number}");
    }
}
