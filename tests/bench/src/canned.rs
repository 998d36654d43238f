//! A cluster that costs next to nothing: every answer is a real one, of the embedded tablets or of etcd, given once and kept; whoever
//! asks the same again gets the same bytes, after the delay of a network.
//!
//! So what a benchmark sees is the cost of who asks. The wire is HTTP/2 and gRPC as on a live cluster. What is no read that can be kept
//! (watches, leases) goes through to etcd.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http2::SendRequest, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

type Body = BoxBody<Bytes, hyper::Error>;

/// The paths whose answers are kept: unary, and for reads.
const KEPT: &[&str] = &["/etcdserverpb.KV/Range", "/etcdserverpb.KV/Txn", "/tabletmanagerservice.TabletManager/"];
/// The service by which the bench steers it.
pub(crate) const CONTROL: &str = "/canned.Control/";
/// Bytes that may be under way on a stream and on a connection: a large answer is not held up.
const WINDOW: u32 = 16 << 20;

/// The answers, and who has given them.
pub(crate) struct Canned {
    /// Microseconds that each answer takes at least.
    delay: AtomicU64,
    upstreams: Mutex<Vec<Upstream>>,
    answers: Mutex<HashMap<Asked, Arc<Kept>>>,
    /// Asks answered, and bytes of these answers, since they were last looked at.
    asks: AtomicU64,
    bytes: AtomicU64,
}

struct Upstream {
    address: SocketAddr,
    connection: Option<SendRequest<Body>>,
}

/// Who was asked, for what, and how.
#[derive(PartialEq, Eq, Hash)]
struct Asked {
    upstream: usize,
    path: String,
    request: Bytes,
}

/// A whole answer.
struct Kept {
    status: http::StatusCode,
    headers: HeaderMap,
    data: Bytes,
    trailers: HeaderMap,
}

impl Canned {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            delay: AtomicU64::new(0),
            upstreams: Mutex::default(),
            answers: Mutex::default(),
            asks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// A server that stands in for another one. Returns its own address.
    pub(crate) async fn stand_in(self: &Arc<Self>, address: SocketAddr) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port is free")?;
        let here = listener.local_addr()?;
        let upstream = {
            let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
            upstreams.push(Upstream { address, connection: None });
            upstreams.len() - 1
        };
        let canned = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let canned = Arc::clone(&canned);
                tokio::spawn(canned.serve(upstream, stream));
            }
        });
        Ok(here)
    }

    async fn serve(self: Arc<Self>, upstream: usize, stream: TcpStream) {
        // Without it each answer waits for the other side's acknowledgement.
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| {
            let canned = Arc::clone(&self);
            async move { canned.answer(upstream, request).await }
        });
        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.timer(TokioTimer::new()).initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        // Whoever asks ends the connection when it likes.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(self: Arc<Self>, upstream: usize, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
        let path = request.uri().path().to_owned();
        if let Some(what) = path.strip_prefix(CONTROL) {
            let what = what.to_owned();
            let text = request.into_body().collect().await?.to_bytes();
            return Ok(self.steered(&what, text.get(5..).unwrap_or_default()));
        }
        if !KEPT.iter().any(|kept| path.starts_with(kept)) {
            let response = self.forward(upstream, request.map(BodyExt::boxed)).await?;
            return Ok(response.map(BodyExt::boxed));
        }
        let (head, body) = request.into_parts();
        let request = body.collect().await?.to_bytes();
        let asked = Asked { upstream, path, request: request.clone() };
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&asked).cloned();
        let kept = if let Some(kept) = known {
            kept
        } else {
            let body = Full::new(request).map_err(|never| match never {}).boxed();
            let kept = Arc::new(Kept::of(self.forward(upstream, Request::from_parts(head, body)).await?).await?);
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(asked, Arc::clone(&kept));
            kept
        };
        self.asks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(kept.data.len() as u64, Ordering::Relaxed);
        let delay = self.delay.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_micros(delay)).await;
        }
        Ok(kept.response())
    }

    /// `Delay` with microseconds; `Counts`, which gives asks and bytes since the last time, and starts anew.
    fn steered(&self, what: &str, text: &[u8]) -> Response<Body> {
        let said = if what == "Delay" {
            let micros = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            self.delay.store(micros, Ordering::Relaxed);
            String::new()
        } else {
            format!("{} {}", self.asks.swap(0, Ordering::Relaxed), self.bytes.swap(0, Ordering::Relaxed))
        };
        let mut data = BytesMut::from(&[0][..]);
        data.put_u32(u32::try_from(said.len()).unwrap_or(u32::MAX));
        data.extend_from_slice(said.as_bytes());
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Kept { status: http::StatusCode::OK, headers, data: data.freeze(), trailers }.response()
    }

    /// Asks whom this stands in for.
    async fn forward(&self, upstream: usize, mut request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        let (address, there) = {
            let upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
            let upstream = upstreams.get(upstream).context("an upstream")?;
            (upstream.address, upstream.connection.clone().filter(|connection| !connection.is_closed()))
        };
        let mut connection = if let Some(connection) = there {
            connection
        } else {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            client.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
            let (connection, driver) = client.handshake(TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
            upstreams.get_mut(upstream).context("an upstream")?.connection = Some(connection.clone());
            connection
        };
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = format!("http://{address}{path}").parse()?;
        Ok(connection.send_request(request).await?)
    }
}

impl Kept {
    async fn of(response: Response<Incoming>) -> anyhow::Result<Self> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Self { status: head.status, headers: head.headers, data: body.to_bytes(), trailers })
    }

    fn response(&self) -> Response<Body> {
        let trailers = (!self.trailers.is_empty()).then(|| self.trailers.clone());
        let data = (!self.data.is_empty()).then(|| self.data.clone());
        let mut response = Response::new(Sent { data, trailers }.boxed());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// An answer on its way out.
struct Sent {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = self.data.take().map(Frame::data).or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}
