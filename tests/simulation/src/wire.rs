//! gRPC on simulated connections, from both ends: frames, statuses, and HTTP/2 by hyper as everywhere.

use std::{convert::Infallible, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use vtflow::network::Listener;

use crate::network::{Accepting, Connection, End};

/// What a peer answers.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// What is being done.
pub(crate) type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A peer: what it answers to one request. Never ending is an answer, too.
pub(crate) trait Peer: Send + Sync + 'static {
    fn answer(self: Arc<Self>, path: String, body: Incoming, connection: Arc<Connection>) -> Doing<'static, Answer>;
}

/// What connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http2,
    Http1,
}

/// Serves a peer until the end of the run.
pub(crate) fn serve(accepting: Accepting, peer: Arc<impl Peer>, speaks: Speaks) {
    tokio::spawn(async move {
        while let Ok(end) = accepting.accept().await {
            let (peer, connection) = (Arc::clone(&peer), Arc::clone(&end.connection));
            let answer = service_fn(move |request: Request<Incoming>| {
                let (head, body) = request.into_parts();
                let doing = Arc::clone(&peer).answer(head.uri.path().to_owned(), body, Arc::clone(&connection));
                async move { Ok::<_, Infallible>(doing.await) }
            });
            tokio::spawn(async move {
                // Connections that break are what this is about.
                let _ = match speaks {
                    Speaks::Http2 => {
                        let mut server = http2::Builder::new(TokioExecutor::new());
                        server.timer(TokioTimer::new()).auto_date_header(false);
                        server.serve_connection(TokioIo::new(end), answer).await
                    }
                    Speaks::Http1 => {
                        let mut server = http1::Builder::new();
                        server.timer(TokioTimer::new()).auto_date_header(false);
                        server.serve_connection(TokioIo::new(end), answer).await
                    }
                };
            });
        }
    });
}

/// A message with its prefix.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// The first message of a body, and what follows it. `None`: there is no whole message.
pub(crate) async fn message_of(body: &mut Incoming, received: &mut BytesMut) -> Option<Bytes> {
    loop {
        if let Some(prefix) = received.get(1..5) {
            let length = usize::try_from(u32::from_be_bytes(prefix.try_into().unwrap_or_default())).unwrap_or(0);
            if received.len() >= 5 + length {
                received.advance(5);
                return Some(received.split_to(length).freeze());
            }
        }
        let frame = body.frame().await?.ok()?;
        if let Ok(data) = frame.into_data() {
            received.extend_from_slice(&data);
        }
    }
}

fn headers() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn trailers(code: i32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code));
    if let Ok(value) = HeaderValue::try_from(escaped(message)) {
        trailers.insert("grpc-message", value);
    }
    trailers
}

/// As gRPC writes texts into headers.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let value = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend(value);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn never(error: Infallible) -> io::Error {
    match error {}
}

/// Any bytes as the body, then a status; without one the answer just ends.
pub(crate) fn raw(body: Bytes, code: Option<i32>) -> Answer {
    let body = Full::new(body).map_err(never);
    match code {
        Some(code) => {
            let end = trailers(code, "");
            headers().map(|()| body.with_trailers(async move { Some(Ok(end)) }).boxed_unsync())
        }
        None => headers().map(|()| body.boxed_unsync()),
    }
}

/// A status alone.
pub(crate) fn status(code: i32, message: &str) -> Answer {
    let mut response = headers().map(|()| Empty::new().map_err(never).boxed_unsync());
    response.headers_mut().extend(trailers(code, message));
    response
}

/// A page.
pub(crate) fn page(code: u16, text: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(never).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}

/// An answer to each message as it comes, until there are no more.
pub(crate) fn conversation(body: Incoming, answer: impl FnMut(Bytes) -> Bytes + Send + 'static) -> Answer {
    let frames = stream::unfold((body, BytesMut::new(), answer), |(mut body, mut received, mut answer)| async move {
        let message = message_of(&mut body, &mut received).await?;
        let frame = Frame::data(framed(&answer(message)));
        Some((Ok::<_, io::Error>(frame), (body, received, answer)))
    });
    let end = trailers(0, "");
    headers().map(|()| StreamBody::new(frames).with_trailers(async move { Some(Ok(end)) }).boxed_unsync())
}

/// How an RPC ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) text: String,
    /// The messages.
    pub(crate) messages: Vec<Bytes>,
    pub(crate) trailers: HeaderMap,
}

/// A connection to the server.
pub(crate) struct Client {
    send: SendRequest<Full<Bytes>>,
    pub(crate) connection: Arc<Connection>,
    task: tokio::task::JoinHandle<()>,
}

impl Client {
    pub(crate) async fn new(end: End) -> io::Result<Self> {
        let connection = Arc::clone(&end.connection);
        let (send, driven) = handshake(TokioExecutor::new(), TokioIo::new(end)).await.map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            let _ = driven.await;
        });
        Ok(Self { send, connection, task })
    }

    /// One RPC to its end. The error says why there is none.
    pub(crate) async fn call(&self, path: &str, request: &[u8], timeout: Option<Duration>) -> Result<Ended, String> {
        let mut asking = Request::post(format!("http://vtflow{path}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        if let Some(timeout) = timeout {
            asking = asking.header("grpc-timeout", format!("{}m", timeout.as_millis()));
        }
        let asking = asking.body(Full::new(framed(request))).map_err(|error| error.to_string())?;
        let response = self.send.clone().send_request(asking).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let collected = body.collect().await.map_err(|error| error.to_string())?;
        let trailers = collected.trailers().cloned().unwrap_or(head.headers);
        let mut received = collected.to_bytes();
        let mut messages = Vec::new();
        while received.len() >= 5 {
            let length = usize::try_from(received.slice(1..5).get_u32()).unwrap_or(usize::MAX);
            if received.len() - 5 < length {
                return Err("a message is cut short".to_owned());
            }
            messages.push(received.slice(5..5 + length));
            received.advance(5 + length);
        }
        let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let code = text("grpc-status").and_then(|code| code.parse().ok()).ok_or("an answer without a status")?;
        let text = unescaped(&text("grpc-message").unwrap_or_default());
        Ok(Ended { code, text, messages, trailers })
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        self.task.abort();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}
