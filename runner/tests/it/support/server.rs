//! Real gRPC servers that know nothing of messages: what they do is in the path of the call. In a runtime of their own, so
//! that dropping one closes its connections at once, as a killed process does.

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

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::runtime::Runtime;
use tonic::{
    body::Body,
    transport::{Server, ServerTlsConfig, server::TcpIncoming},
};

pub(crate) struct RawServer {
    runtime: Option<Runtime>,
    pub(crate) address: SocketAddr,
    /// Calls under way, and the most there ever were at once.
    pub(crate) seen: Arc<Seen>,
}

#[derive(Default)]
pub(crate) struct Seen {
    now: AtomicUsize,
    most: AtomicUsize,
    calls: AtomicUsize,
}

impl Seen {
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

impl RawServer {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), None)
    }

    pub(crate) fn start_at(address: SocketAddr, tls: Option<ServerTlsConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seen = Arc::new(Seen::default());
        let service = Raw { seen: Arc::clone(&seen) };
        let entered = runtime.enter();
        let begun = std::time::Instant::now();
        let incoming = loop {
            match TcpIncoming::bind(address) {
                Ok(incoming) => break incoming,
                // One that was dropped a moment ago may not have let go of its port yet.
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{address}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let address = incoming.local_addr().unwrap();
        let mut server = Server::builder().initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        runtime.spawn(async move { server.serve_with_incoming(service, incoming).await.unwrap() });
        drop(entered);
        Self { runtime: Some(runtime), address, seen }
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not in the background, so that the port is free afterwards; not here, since a test's own runtime runs here.
            std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5))).join().unwrap();
        }
    }
}

#[derive(Clone)]
struct Raw {
    seen: Arc<Seen>,
}

/// A call under way, until it is answered or cancelled.
struct UnderWay(Arc<Seen>);

impl UnderWay {
    fn begin(seen: &Arc<Seen>) -> Self {
        seen.calls.fetch_add(1, Ordering::SeqCst);
        let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl tower::Service<Request<Body>> for Raw {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() == "/grpc.health.v1.Health/Check" {
            // Not a call of anybody's, only the question whether there is anybody.
            return Box::pin(async { Ok(status_only("12", "unknown service grpc.health.v1.Health")) });
        }
        let under_way = UnderWay::begin(&self.seen);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let message = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let message = message.get(5..).unwrap_or_default().to_vec();
            let response = answer(head.uri.path(), &message, &head.headers).await;
            drop(under_way);
            Ok(response)
        })
    }
}

async fn answer(path: &str, message: &[u8], headers: &HeaderMap) -> Response<Body> {
    let text = String::from_utf8_lossy(message);
    match path {
        "/raw/echo" => with_status(message, "0", ""),
        // The message is `<code> <text>`.
        "/raw/status" => {
            let (code, said) = text.split_once(' ').unwrap();
            status_only(code, said)
        }
        "/raw/late-status" => {
            let (code, said) = text.split_once(' ').unwrap();
            with_status(b"a message", code, said)
        }
        // The message is a number of bytes.
        "/raw/size" => with_status(&vec![7; text.parse().unwrap()], "0", ""),
        "/raw/slow" => {
            tokio::time::sleep(Duration::from_millis(text.parse().unwrap())).await;
            with_status(message, "0", "")
        }
        "/raw/hang" | "/tabletmanagerservice.TabletManager/VReplicationExec" => std::future::pending().await,
        "/raw/credentials" => {
            let text = |key| headers.get(key).map_or("", |value| value.to_str().unwrap());
            with_status(format!("{}:{}", text("username"), text("password")).as_bytes(), "0", "")
        }
        // An etcd that looks at nothing: a message, and nothing in it.
        "/etcdserverpb.KV/Range" | "/etcdserverpb.KV/Txn" => with_status(b"", "0", ""),
        "/raw/no-status" => grpc(Body::new(Full::new(framed(message)))),
        "/raw/empty" => status_only("0", ""),
        "/raw/truncated" => {
            let whole = framed(b"cut off");
            with_trailers(whole.slice(..whole.len() - 3), "0", "")
        }
        "/raw/twice" => {
            let one = framed(b"one");
            with_trailers(Bytes::from([&one[..], &one[..]].concat()), "0", "")
        }
        // One message, and then zeros for as long as somebody reads them.
        "/raw/endless" => {
            let zeros = futures_util::stream::repeat(Bytes::from_static(&[0; 1 << 14]));
            let bytes = futures_util::stream::once(async { framed(b"one") }).chain(zeros);
            let frames = bytes.then(|bytes| async { Full::new(bytes).frame().await.unwrap() });
            grpc(Body::new(StreamBody::new(frames)))
        }
        "/raw/bad-details" => {
            let mut response = status_only("3", "bad details");
            response.headers_mut().insert("grpc-status-details-bin", HeaderValue::from_static("***"));
            response
        }
        _ => {
            let mut response = Response::new(Body::new(Full::new(Bytes::from_static(b"<html>not here</html>"))));
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            response
        }
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(message);
    frame.freeze()
}

fn status_headers(code: &str, message: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", code.parse().unwrap());
    if !message.is_empty() {
        headers.insert("grpc-message", message.replace(' ', "%20").parse().unwrap());
    }
    headers
}

fn grpc(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn with_trailers(frames: Bytes, code: &str, message: &str) -> Response<Body> {
    let trailers = status_headers(code, message);
    grpc(Body::new(Full::new(frames).with_trailers(async { Some(Ok(trailers)) })))
}

fn with_status(reply: &[u8], code: &str, message: &str) -> Response<Body> {
    with_trailers(framed(reply), code, message)
}

fn status_only(code: &str, message: &str) -> Response<Body> {
    let mut response = grpc(Body::empty());
    response.headers_mut().extend(status_headers(code, message));
    response
}
