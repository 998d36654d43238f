//! RPCs that vtflow does not serve, forwarded to another real server: unary and streaming, metadata, trailers, errors,
//! deadlines, and who goes away first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::support::serving::{GET_WORKFLOWS, Serving, channel, eventually, http_get, options, small, unary, workflows_of};
use crate::support::{process::Process, relay::Relay};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::{runtime::Runtime, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    client::Grpc as Client,
    metadata::{MetadataMap, MetadataValue},
    server::{Grpc, StreamingService, UnaryService},
    transport::server::TcpIncoming,
};
use vtflow::{
    raw::RawCodec as Raw,
    server::{AuthOptions, ForwardTo, Server, ServerOptions},
    tls::TlsFiles,
};
use vtflow_planner::{
    proto::{
        tabletmanagerdata::UpdateVReplicationWorkflowRequest,
        vtctldata::{UpdateThrottlerConfigRequest, WorkflowDeleteRequest, WorkflowUpdateRequest},
    },
    rpc,
};

/// The other server: tonic's own, so that both ends of what is forwarded are proper gRPC.
struct Vtctld {
    runtime: Option<Runtime>,
    address: SocketAddr,
    under_way: Arc<AtomicUsize>,
}

impl Vtctld {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let under_way = Arc::new(AtomicUsize::new(0));
        let entered = runtime.enter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = Service { under_way: Arc::clone(&under_way) };
        runtime.spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
        drop(entered);
        Self { runtime: Some(runtime), address, under_way }
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }
}

impl Drop for Vtctld {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Service {
    under_way: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Method { path: request.uri().path().to_owned(), under_way: Arc::clone(&self.under_way) };
        let mut grpc = Grpc::new(Raw).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
        Box::pin(async move {
            Ok(if method.path.ends_with("/Chat") || method.path.ends_with("/Ticks") {
                grpc.streaming(method, request).await
            } else {
                grpc.unary(method, request).await
            })
        })
    }
}

struct Method {
    path: String,
    under_way: Arc<AtomicUsize>,
}

impl UnaryService<Bytes> for Method {
    type Response = Bytes;
    type Future = Answer<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (path, under_way) = (self.path.clone(), UnderWay::begin(&self.under_way));
        Box::pin(async move {
            let _under_way = under_way;
            if path.ends_with("/Hang") {
                std::future::pending::<()>().await;
            }
            if path.ends_with("/Fail") {
                let mut trailers = MetadataMap::new();
                trailers.insert("x-why", "because".parse().unwrap());
                trailers.insert_bin("x-why-bin", MetadataValue::from_bytes(b"\x00\xff"));
                let status = Status::with_metadata(Code::FailedPrecondition, "it's 100% not\nready: é", trailers);
                return Err(status);
            }
            // The answer is the request's metadata, and its message.
            let metadata = request.metadata();
            let text = |key: &str| metadata.get(key).map_or("-", |value| value.to_str().unwrap()).to_owned();
            let bin = metadata.get_bin("x-bin").map(|value| value.to_bytes().unwrap().to_vec());
            let (name, agent, timeout) = (text("username"), text("user-agent"), text("grpc-timeout"));
            let mut answer = format!("{name}|{bin:?}|{agent}|{timeout}|").into_bytes();
            answer.extend_from_slice(request.get_ref());
            let mut response = Response::new(Bytes::from(answer));
            response.metadata_mut().insert("x-answer", "yes".parse().unwrap());
            Ok(response)
        })
    }
}

impl StreamingService<Bytes> for Method {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Answer<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let under_way = UnderWay::begin(&self.under_way);
        if self.path.ends_with("/Ticks") {
            let ticks = stream::unfold(under_way, |under_way| async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some((Ok(Bytes::from_static(b"tick")), under_way))
            });
            return Box::pin(async move { Ok(Response::new(Box::pin(ticks) as Messages)) });
        }
        Box::pin(async move {
            // Each message comes back at once; `fail` ends the stream with an error, the end of requests ends it well.
            let echoes = stream::unfold((request.into_inner(), under_way), |(mut requests, under_way)| async move {
                let message = match requests.message().await {
                    Ok(Some(message)) if message == "fail" => Err(Status::data_loss("failed in mid-stream")),
                    Ok(Some(message)) => Ok(message),
                    Ok(None) => return None,
                    Err(status) => Err(status),
                };
                Some((message, (requests, under_way)))
            });
            Ok(Response::new(Box::pin(echoes) as Messages))
        })
    }
}

async fn forwarding_to(address: String) -> Serving {
    let forward_to = Some(ForwardTo { address, tls: TlsFiles::default() });
    Serving::with(ServerOptions { forward_to, ..options() }, small(), &[]).await
}

#[tokio::test]
async fn a_unary_call_arrives_and_returns_as_it_is() {
    let vtctld = Vtctld::start();
    let serving = forwarding_to(vtctld.address.to_string()).await;
    let mut request = Request::new(Bytes::from_static(b"hello \x00\xff"));
    request.metadata_mut().insert("username", "anna".parse().unwrap());
    request.metadata_mut().insert_bin("x-bin", MetadataValue::from_bytes(&[0, 255]));
    request.set_timeout(Duration::from_secs(3600));
    let response = unary(serving.channel().await, "/vtctlservice.Vtctld/CreateKeyspace", request).await.unwrap();
    assert_eq!(response.metadata().get("x-answer").unwrap(), "yes");
    assert!(response.metadata().contains_key("vtflow-request-id"));
    let answer = response.into_inner();
    let text = String::from_utf8_lossy(&answer[..answer.len() - 8]).into_owned();
    let parts: Vec<&str> = text.split('|').collect();
    assert_eq!((parts[0], parts[1]), ("anna", "Some([0, 255])"));
    assert!(parts[2].starts_with("tonic/"), "the client's own: {}", parts[2]);
    assert_eq!(parts[3], "3600000m", "the caller's deadline as its library wrote it");
    assert!(answer.ends_with(b"hello \x00\xff"));

    // What vtflow serves is not forwarded.
    let own = unary(serving.channel().await, GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.unwrap();
    assert!(!own.metadata().contains_key("x-answer"));
    let (_, metrics) = http_get(serving.http(), "/metrics").await;
    assert!(metrics.contains("{method=\"vtctlservice.Vtctld/CreateKeyspace\",code=\"0\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_large_message_passes_both_ways() {
    let vtctld = Vtctld::start();
    let serving = forwarding_to(vtctld.address.to_string()).await;
    let large = Bytes::from(vec![7; 20 << 20]);
    let answer = serving.call("/vtctlservice.Vtctld/ApplySchema", large.clone()).await.unwrap().into_inner();
    assert!(answer.ends_with(&large), "vtflow's own limit is not the vtctld's");
}

#[tokio::test]
async fn an_error_keeps_code_text_and_trailers() {
    let vtctld = Vtctld::start();
    let serving = forwarding_to(vtctld.address.to_string()).await;
    let status = serving.call("/vtctlservice.Vtctld/Fail", Bytes::new()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "it's 100% not\nready: é"));
    assert_eq!(status.metadata().get("x-why").unwrap(), "because");
    assert_eq!(status.metadata().get_bin("x-why-bin").unwrap().to_bytes().unwrap().as_ref(), b"\x00\xff");
    let (_, metrics) = http_get(serving.http(), "/metrics").await;
    assert!(metrics.contains("{method=\"unknown\",code=\"9\"} 1"), "{metrics}");
}

async fn chat(serving: &Serving, requests: ReceiverStream<Bytes>) -> Streaming<Bytes> {
    let mut client = Client::new(serving.channel().await);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/vtctlservice.Vtctld/Chat");
    client.streaming(Request::new(requests), path, Raw).await.unwrap().into_inner()
}

#[tokio::test]
async fn streams_flow_both_ways_message_by_message() {
    let vtctld = Vtctld::start();
    let serving = forwarding_to(vtctld.address.to_string()).await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let mut answers = chat(&serving, ReceiverStream::new(requests)).await;
    for message in ["one", "two", "three"] {
        sender.send(Bytes::from(message)).await.unwrap();
        // The answer comes before the next message is sent: nothing is held back.
        let answer = tokio::time::timeout(Duration::from_secs(5), answers.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer, message);
    }
    drop(sender);
    assert!(answers.next().await.is_none());
    assert_eq!(vtctld.under_way(), 0);

    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let mut answers = chat(&serving, ReceiverStream::new(requests)).await;
    sender.send(Bytes::from("fail")).await.unwrap();
    let status = answers.next().await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "failed in mid-stream"));
    drop(sender);
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_forwarded_rpc() {
    let vtctld = Vtctld::start();
    let serving = forwarding_to(vtctld.address.to_string()).await;
    let call = tokio::spawn(unary(serving.channel().await, "/vtctlservice.Vtctld/Hang", Request::new(Bytes::new())));
    eventually("the call has arrived", || vtctld.under_way() == 1).await;
    call.abort();
    eventually("the call is cancelled there too", || vtctld.under_way() == 0).await;

    let mut client = Client::new(serving.channel().await);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/vtctlservice.Vtctld/Ticks");
    let mut answers = client.server_streaming(Request::new(Bytes::new()), path, Raw).await.unwrap().into_inner();
    for _ in 0..3 {
        assert_eq!(answers.next().await.unwrap().unwrap(), "tick");
    }
    assert_eq!(vtctld.under_way(), 1);
    drop(answers);
    eventually("the stream is cancelled there too", || vtctld.under_way() == 0).await;
}

#[tokio::test]
async fn the_callers_deadline_holds() {
    let vtctld = Vtctld::start();
    let serving = forwarding_to(vtctld.address.to_string()).await;
    let mut request = Request::new(Bytes::new());
    request.set_timeout(Duration::from_millis(400));
    let started = Instant::now();
    let status = unary(serving.channel().await, "/vtctlservice.Vtctld/Hang", request).await.unwrap_err();
    // The client library calls its own timeout a cancellation.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    eventually("the vtctld gave up too", || vtctld.under_way() == 0).await;
}

#[tokio::test]
async fn a_vtctld_that_is_away_is_named_and_found_again() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    let serving = forwarding_to(address.to_string()).await;
    let channel = channel(serving.address()).await;
    let status = unary(channel.clone(), "/vtctlservice.Vtctld/Backup", Request::new(Bytes::new())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains(&address.to_string()) && status.message().contains("connection refused"), "{status:?}");
    // vtflow's own reads need no vtctld.
    assert!(unary(channel.clone(), GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.is_ok());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let service = Service { under_way: Arc::default() };
    let entered = runtime.enter();
    let incoming = TcpIncoming::bind(address).unwrap();
    runtime.spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    drop(entered);
    let response = unary(channel, "/vtctlservice.Vtctld/Backup", Request::new(Bytes::new())).await;
    assert!(response.is_ok(), "{response:?}");
    runtime.shutdown_background();
}

#[tokio::test]
async fn a_vtctld_whose_connection_was_lost_without_a_word_is_dialed_again() {
    let vtctld = Vtctld::start();
    let relay = Relay::to(vtctld.address.to_string()).await;
    let serving = forwarding_to(relay.address.to_string()).await;
    serving.call("/vtctlservice.Vtctld/Backup", Bytes::new()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    relay.lose();
    let answer = tokio::time::timeout(Duration::from_secs(5), serving.call("/vtctlservice.Vtctld/Backup", Bytes::new())).await;
    answer.expect("long before anybody gives up").unwrap();
}

#[tokio::test]
async fn passwords_are_not_forwarded_in_plaintext_unless_told() {
    let vtctld = Vtctld::start();
    let call = |serving: Serving| async move {
        let mut request = Request::new(Bytes::new());
        request.metadata_mut().insert("username", "anna".parse().unwrap());
        request.metadata_mut().insert("password", "hunter2".parse().unwrap());
        unary(serving.channel().await, "/vtctlservice.Vtctld/Backup", request).await
    };
    let status = call(forwarding_to(vtctld.address.to_string()).await).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("--vtctld-grpc-ca") && !status.message().contains("hunter2"), "{status:?}");

    let forward_to = Some(ForwardTo { address: vtctld.address.to_string(), tls: TlsFiles::default() });
    let told = ServerOptions { forward_to, plaintext_credentials: true, ..options() };
    call(Serving::with(told.clone(), small(), &[]).await).await.unwrap();

    // Where every caller has to bring a password, the server does not even start.
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("passwords.json");
    std::fs::write(&file, r#"[{"Username": "anna", "Password": "hunter2"}]"#).unwrap();
    let untold = ServerOptions { plaintext_credentials: false, auth: AuthOptions::Static(file), ..told };
    let serving = Serving::small().await;
    let started = Server::start(untold, serving.io.clone(), Arc::new(|| crate::support::serving::NOW), None).await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("--plaintext-credentials"), "{error}");
}

#[tokio::test]
async fn a_loop_is_noticed_when_it_closes() {
    // Two servers that forward to each other. The second's address is only known when it is there, so a relay stands between.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let first_address = held.local_addr().unwrap();
    let second = forwarding_to(first_address.to_string()).await;
    drop(held);
    let forward_to = Some(ForwardTo { address: second.address().to_string(), tls: TlsFiles::default() });
    let first = Serving::with(ServerOptions { forward_to, grpc_port: first_address.port(), ..options() }, small(), &[]).await;
    for (name, serving, said) in [("first", &first, "a loop through 1 more"), ("second", &second, "a loop through 1 more")] {
        let status = serving.call("/vtctlservice.Vtctld/Backup", Bytes::new()).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{name}: {status:?}");
        assert!(status.message().contains(said) && status.message().contains("--forward-to"), "{name}: {status:?}");
    }
    // Each went around once and was refused, not tens of thousands of times.
    for serving in [&first, &second] {
        let (_, metrics) = http_get(serving.http(), "/metrics").await;
        assert!(metrics.contains("{method=\"vtctlservice.Vtctld/Backup\",code=\"9\"} 3"), "{metrics}");
    }
}

#[tokio::test]
async fn what_vtflow_does_not_do_itself_is_forwarded_whatever_the_flags() {
    let vtctld = Vtctld::start();
    let workflow = || "move_orders_1".to_owned();
    let deletion = |workflow: String, keep_data, keep_routing_rules| {
        let keyspace = "customer".to_owned();
        // Of all shards they are vtflow's, too.
        let shards = vec!["-80".to_owned()];
        WorkflowDeleteRequest { keyspace, workflow, keep_data, keep_routing_rules, shards, ..WorkflowDeleteRequest::default() }
            .encode_to_vec()
    };
    let throttler = |enable| UpdateThrottlerConfigRequest { keyspace: "customer".to_owned(), enable, ..Default::default() };
    let update = |message: Option<String>| {
        let tablet_request = Some(UpdateVReplicationWorkflowRequest { workflow: workflow(), message, ..Default::default() });
        WorkflowUpdateRequest { keyspace: "nowhere".to_owned(), tablet_request }.encode_to_vec()
    };
    let of_a_later_release = |request: Vec<u8>| [request, vec![0xf8, 0x07, 1]].concat();
    let requests = [
        ("enable", rpc::UPDATE_THROTTLER_CONFIG, throttler(true).encode_to_vec(), true),
        (
            "threshold",
            rpc::UPDATE_THROTTLER_CONFIG,
            { UpdateThrottlerConfigRequest { threshold: 5.0, ..throttler(false) }.encode_to_vec() },
            true,
        ),
        ("tables go on some shards", rpc::WORKFLOW_DELETE, deletion(workflow(), false, true), true),
        ("rules go with some shards", rpc::WORKFLOW_DELETE, deletion(workflow(), true, false), true),
        ("a message", rpc::WORKFLOW_UPDATE, update(Some("text".to_owned())), true),
        ("a field of a later release", rpc::WORKFLOW_DELETE, of_a_later_release(deletion("nope".to_owned(), true, true)), true),
        ("migrations of all keyspaces", rpc::GET_SCHEMA_MIGRATIONS, vec![], true),
        ("an old version", rpc::GET_TOPOLOGY_PATH, vec![0x10, 7], true),
        // These are vtflow's.
        ("streams only", rpc::WORKFLOW_DELETE, deletion("nope".to_owned(), true, true), false),
        ("an update", rpc::WORKFLOW_UPDATE, update(None), false),
    ];
    for allow_writes in [true, false] {
        let forward_to = Some(ForwardTo { address: vtctld.address.to_string(), tls: TlsFiles::default() });
        let serving = Serving::with(ServerOptions { forward_to, allow_writes, ..options() }, small(), &[]).await;
        for (name, path, request, is_forwarded) in &requests {
            let answer = serving.call(path, Bytes::from(request.clone())).await;
            let came_back = answer
                .as_ref()
                .is_ok_and(|answer| answer.get_ref().ends_with(request) && answer.metadata().contains_key("x-answer"));
            assert_eq!(came_back, *is_forwarded || !allow_writes, "{name}, allow_writes {allow_writes}: {answer:?}");
            if came_back {
                assert_eq!(serving.asked.begun(), 0, "{name}: nothing was looked at before");
            }
        }
    }
}

#[tokio::test]
async fn a_forwarded_change_leaves_a_line_that_says_who_what_and_where() {
    let vtctld = Vtctld::start();
    let process = Process::start(&[
        "demo",
        "--serve",
        "--grpc-port",
        "0",
        "--port",
        "0",
        "--no-log",
        "--forward-to",
        &vtctld.address.to_string(),
    ]);
    let to = channel(process.grpc).await;
    for path in ["/vtctlservice.Vtctld/CreateKeyspace", "/vtctlservice.Vtctld/Fail", "/vtctlservice.Vtctld/GetBackups"] {
        let _ = unary(to.clone(), path, Request::new(Bytes::new())).await;
    }
    let (code, log) = tokio::task::spawn_blocking(move || process.end("-TERM")).await.unwrap();
    assert_eq!(code, 0, "{log}");
    let audits: Vec<&str> = log.lines().filter(|line| line.contains(" msg=audit ")).collect();
    let [done, failed] = audits[..] else { panic!("{log}") };
    let to = format!(" to={} ", vtctld.address);
    for part in
        [" who=127.0.0.1:", " from=127.0.0.1:", " rpc=vtctlservice.Vtctld/CreateKeyspace ", &to, "\"forwarded, done\" code=0"]
    {
        assert!(done.contains(part), "{part} in {done}");
    }
    assert!(failed.contains(" rpc=vtctlservice.Vtctld/Fail ") && failed.contains("\"forwarded, failed\" code=9"), "{failed}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_the_start() {
    let serving = Serving::small().await;
    let forward_to = Some(ForwardTo { address: "anna:hunter2@host:15999".to_owned(), tls: TlsFiles::default() });
    let options_with_login = ServerOptions { forward_to, ..options() };
    let started = Server::start(options_with_login, serving.io.clone(), Arc::new(|| crate::support::serving::NOW), None).await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("host:15999") && !error.contains("hunter2"), "{error}");
    for address in ["nohost", ":15999", "host:port", "host:99999", ""] {
        let forward_to = Some(ForwardTo { address: address.to_owned(), tls: TlsFiles::default() });
        let options = ServerOptions { forward_to, ..options() };
        let started = Server::start(options, serving.io.clone(), Arc::new(|| crate::support::serving::NOW), None).await;
        let error = started.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(&format!("{address:?}")), "{address}: {error}");
    }
}
