//! `vtflow serve` to the clients of before: commands answered with a stream of events, those of others forwarded, and the one
//! RPC that reads a page of a tablet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{convert::Infallible, pin::Pin, task::Poll, time::Duration};

use crate::support::serving::{NOW, Serving, http_get, options, small};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    client::Grpc as Client,
    server::{Grpc, StreamingService},
    transport::server::TcpIncoming,
};
use vtflow::{
    embedded::{Fault, Snapshot},
    raw::RawCodec as Raw,
    server::{ForwardTo, ServerOptions},
    tablet::{TabletOptions, Tablets},
    tls::TlsFiles,
};
use vtflow_planner::{
    Answer, FailureKind, PageAddress,
    proto::{
        topodata::TabletAlias,
        vtctldata::{ExecuteVtctlCommandRequest, ExecuteVtctlCommandResponse, GetVersionRequest, GetVersionResponse},
    },
    rpc,
};

fn command(line: &str) -> Bytes {
    let args = line.split_whitespace().map(str::to_owned).collect();
    ExecuteVtctlCommandRequest { args, action_timeout: 0 }.encode_to_vec().into()
}

/// All messages of the stream, and how it ends.
async fn messages(serving: &Serving, line: &str) -> (Vec<Bytes>, Option<Status>) {
    let mut client = Client::new(serving.channel().await);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(rpc::EXECUTE_VTCTL_COMMAND);
    let mut stream = match client.server_streaming(Request::new(command(line)), path, Raw).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (Vec::new(), Some(status)),
    };
    let mut messages = Vec::new();
    while let Some(message) = stream.next().await {
        match message {
            Ok(message) => messages.push(message),
            Err(status) => return (messages, Some(status)),
        }
    }
    (messages, None)
}

fn values(messages: &[Bytes]) -> Vec<String> {
    let value = |bytes: &Bytes| ExecuteVtctlCommandResponse::decode(bytes.clone()).unwrap().event.unwrap().value;
    messages.iter().map(value).collect()
}

#[tokio::test]
async fn commands_are_answered_with_a_stream() {
    let serving = Serving::with(options(), small(), &[("zone1-0000000200", Fault::Down)]).await;
    let (events, error) = messages(&serving, "Workflow customer listall").await;
    let events = values(&events);
    assert_eq!((events.len(), error.is_none()), (2, true), "{events:?}");
    assert!(events[0].starts_with("Following workflow(s) found in keyspace customer: ") && events[0].ends_with('\n'));
    assert!(events[1].contains("connection refused"), "what is missing, for the client's log: {events:?}");

    let name = events[0].trim().rsplit([' ', ',']).next().unwrap().to_owned();
    let (shown, error) = messages(&serving, &format!("Workflow customer.{name} show")).await;
    assert!(error.is_none());
    let shown: serde_json::Value = serde_json::from_str(&values(&shown)[0]).unwrap();
    assert_eq!(shown["Workflow"], name);

    // Messages before the status, and a status alone.
    let (events, error) = messages(&serving, "Workflow nope listall").await;
    assert_eq!(values(&events), ["Keyspace nope not found"]);
    let error = error.unwrap();
    assert_eq!(error.code(), Code::Unknown);
    assert!(error.message().starts_with("node doesn't exist: "), "{error}");
    let (events, error) = messages(&serving, "Nosuch").await;
    assert_eq!((events.len(), error.unwrap().message()), (0, "unknown command"));
    let (_, error) = messages(&serving, "Workflow customer.x delete").await;
    let error = error.unwrap();
    assert_eq!(error.code(), Code::Unimplemented);
    assert!(error.message().contains("Workflow customer.x delete") && error.message().contains("--forward-to"), "{error}");

    let (_, metrics) = http_get(serving.http(), "/metrics").await;
    assert!(metrics.contains("{method=\"vtctlservice.Vtctl/ExecuteVtctlCommand\",code=\"2\"} 2"), "{metrics}");
}

#[tokio::test]
async fn migrations_come_line_by_line() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots/onlineddl-mixed");
    let serving = Serving::with(options(), Snapshot::load(&dir).unwrap(), &[]).await;
    let (events, error) = messages(&serving, "OnlineDDL customer show all").await;
    let lines = values(&events);
    assert!(error.is_none() && lines.len() > 20, "{lines:?}");
    assert!(lines.iter().all(|line| line.ends_with('\n') && line.chars().count() == lines[0].chars().count()));
    let (queued, _) = messages(&serving, "OnlineDDL customer show running").await;
    assert!((4..lines.len()).contains(&queued.len()));
}

/// The other server: it answers each request with two events and what was asked.
#[derive(Clone)]
struct Vtctld;

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;

impl tower::Service<http::Request<Body>> for Vtctld {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Future<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(Raw).streaming(Self, request).await) })
    }
}

impl StreamingService<Bytes> for Vtctld {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Future<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let asked = request.into_inner().message().await?.unwrap();
            let answers = stream::iter([Ok(Bytes::from_static(b"one")), Ok(asked), Err(Status::aborted("the vtctld's own end"))]);
            Ok(Response::new(Box::pin(answers) as Messages))
        })
    }
}

#[tokio::test]
async fn what_vtflow_does_not_have_goes_to_the_vtctld() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap().to_string();
    let vtctld = tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(Vtctld, incoming));
    let forward_to = Some(ForwardTo { address, tls: TlsFiles::default() });
    let serving = Serving::with(ServerOptions { forward_to, ..options() }, small(), &[]).await;
    for line in ["GetKeyspace customer", "Workflow customer.x delete", "Nosuch", "", "help", "OnlineDDL customer cancel x"] {
        let (events, error) = messages(&serving, line).await;
        assert_eq!(events, [Bytes::from_static(b"one"), command(line)], "{line}: the request arrived as it was");
        let error = error.unwrap();
        assert_eq!((error.code(), error.message()), (Code::Aborted, "the vtctld's own end"), "{line}");
    }
    let (events, error) = messages(&serving, "Workflow customer listall").await;
    assert!(error.is_none() && values(&events)[0].starts_with("Following workflow(s)"));
    let (_, error) = messages(&serving, "Workflow customer").await;
    assert!(error.unwrap().message().starts_with("usage: Workflow "), "a mistake is told here");
    vtctld.abort();
}

async fn version(serving: &Serving, uid: u32) -> Result<String, Status> {
    let alias = TabletAlias { cell: "zone1".to_owned(), uid };
    let request = GetVersionRequest { tablet_alias: Some(alias) }.encode_to_vec();
    let response = serving.call(rpc::GET_VERSION, request.into()).await?;
    Ok(GetVersionResponse::decode(response.into_inner()).unwrap().version)
}

#[tokio::test]
async fn a_tablet_tells_its_version() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots/mixed-releases");
    let snapshot = Snapshot::load(&dir).unwrap();
    let faults = [("zone1-0000000600", Fault::Down), ("zone1-0000000610", Fault::Garbage)];
    let serving = Serving::with(options(), snapshot, &faults).await;
    let version_100 = version(&serving, 100).await.unwrap();
    assert!(version_100.starts_with("{embedded vtflow 0 v") && version_100.ends_with('}'), "{version_100}");
    let down = version(&serving, 600).await.unwrap_err();
    assert!(down.message().contains("zone1-0000000600") && down.message().contains("connection refused"), "{down}");
    let garbage = version(&serving, 610).await.unwrap_err();
    assert!(garbage.message().starts_with("the page /debug/vars of tablet zone1-0000000610 cannot be read: "), "{garbage}");
    let (_, metrics) = http_get(serving.http(), "/metrics").await;
    assert!(metrics.contains("kind=\"tablet_page\",outcome=\"ok\"} 2"), "{metrics}");
}

/// A server that says `answer` to whoever connects, and then nothing.
async fn says(answer: Vec<u8>) -> PageAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(&answer).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    });
    PageAddress { alias: "zone1-0000000100".to_owned(), cell: "zone1".to_owned(), host: "127.0.0.1".to_owned(), port }
}

#[tokio::test]
async fn a_page_is_whole_or_a_failure() {
    let tablets = Tablets::new(TabletOptions::default()).unwrap();
    let page = |tablet: PageAddress, wait: u64| {
        let tablets = &tablets;
        async move { tablets.page(&tablet, "/debug/vars", Duration::from_millis(wait), None).await }
    };
    let whole = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()).await;
    assert_eq!(page(whole, 5000).await, Answer::Called(b"{}".to_vec()));

    let large = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; 9 << 20]].concat();
    for (name, answer, wait, kind, said) in [
        (
            "another status",
            &b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..],
            5000,
            Some(2),
            "answered HTTP status 404",
        ),
        ("silence", b"", 200, None, " did not answer in 200ms"),
        ("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", 200, None, " did not answer in 200ms"),
        ("too much", &large, 5000, None, "has more than 8388608 bytes"),
        ("no HTTP", b"SSH-2.0-x\r\n\r\n", 5000, None, "zone1-0000000100 at 127.0.0.1:"),
    ] {
        let Answer::Failed { kind: got, message } = page(says(answer.to_vec()).await, wait).await else { panic!("{name}") };
        assert!(message.contains(said), "{name}: {message}");
        assert_eq!(kind.map(FailureKind::Status), Some(got).filter(|got| matches!(got, FailureKind::Status(_))), "{name}");
    }
    let elsewhere = PageAddress { host: "user@example.com".to_owned(), ..says(Vec::new()).await };
    let Answer::Failed { message, .. } = page(elsewhere, 5000).await else { panic!("refused") };
    assert!(message.contains("neither a host name nor an IP address") && NOW.nanos == 0, "{message}");
}
