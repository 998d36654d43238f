//! The HTTP port: whether the server is up, its metrics, the page and what it asks.
//!
//! It has a thread of its own, so that `/healthz` answers whatever the requests are that are being worked on.

pub(crate) mod api;
mod files;
pub(crate) mod hosts;

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{JoinSet, yield_now},
    time::interval,
};
use tonic::transport::server::Connected;

use self::{api::Api, hosts::Hosts};
use super::{
    connections::{Connections, Outgoing, Slot, Watched},
    door::{Door, Speaks},
    metrics::Metrics,
};
use crate::log::sparing::Sparing;

/// How long a client may take over its request's headers, and how long it may stay without a request.
const HEADERS_TIME: Duration = Duration::from_secs(10);
/// Bytes that a connection keeps of what it reads or writes.
const BUFFER: usize = 64 << 10;

/// What the pages show.
pub(crate) struct Pages {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) serving: watch::Receiver<bool>,
    pub(crate) grpc: String,
    pub(crate) api: Api,
    pub(crate) hosts: Hosts,
    pub(crate) strangers: Sparing,
}

/// Serves in a thread of its own until `stop` is dropped. What comes back says how it ended; `ending` is held
/// until then.
///
/// # Errors
/// There is no thread to be had.
pub(crate) fn start(
    listener: std::net::TcpListener,
    door: Arc<Door>,
    connections: Arc<Connections>,
    pages: Pages,
    stop: oneshot::Receiver<()>,
    ending: impl Send + 'static,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (say, said) = oneshot::channel();
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        // Dropped in this order: who sees that the server is not well finds out why.
        let (_ending, say) = (ending, say);
        let ended = runtime.block_on(async {
            tokio::select! {
                served = serve(listener, door, connections, pages) => served,
                _ = stop => Ok(()),
            }
        });
        // Nobody listens any more once the server is dropped.
        let _ = say.send(ended);
    })?;
    Ok(said)
}

async fn serve(listener: std::net::TcpListener, door: Arc<Door>, connections: Arc<Connections>, pages: Pages) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pages = Arc::new(pages);
    // Dropping it ends the connections.
    let mut open = JoinSet::new();
    let mut tick = interval(Duration::from_secs(1));
    let mut next = pin!(connections.accept(&listener));
    loop {
        tokio::select! {
            accepted = &mut next => {
                let (stream, slot) = accepted?;
                open.spawn(one(stream, slot, Arc::clone(&door), Arc::clone(&pages)));
                next.set(connections.accept(&listener));
                // Who has just come is heard before the next one takes a place.
                yield_now().await;
            }
            _ = tick.tick() => connections.sweep(false),
            _ = open.join_next(), if !open.is_empty() => {}
        }
    }
}

async fn one(stream: TcpStream, slot: Slot, door: Arc<Door>, pages: Arc<Pages>) {
    tokio::select! {
        () = slot.held.ended() => {}
        () = converse(stream, &slot, &door, &pages) => {}
    }
}

async fn converse(stream: TcpStream, slot: &Slot, door: &Door, pages: &Pages) {
    let Ok(connection) = door.welcome(stream, Speaks::Http).await else { return };
    let (peer, held) = (connection.connect_info(), Arc::clone(&slot.held));
    let answer = service_fn(|mut request: Request<Incoming>| {
        let (peer, held) = (peer.clone(), Arc::clone(&held));
        async move {
            let path = request.uri().path();
            if path != "/healthz" {
                // Who sends many requests at once has one answered a turn: there is one thread for all.
                yield_now().await;
            }
            let response = match pages.hosts.check(&request, peer.is_tls) {
                // It says nothing but that somebody is here, and probes ask under all kinds of names.
                Err(why) if path != "/healthz" => {
                    let from = peer.address.map_or_else(String::new, |from| from.to_string());
                    pages.strangers.warn("HTTP request refused", &[("from", from), ("error", why.clone())]);
                    page(StatusCode::FORBIDDEN, TEXT, why + "\n")
                }
                _ if path.starts_with("/api/") => {
                    request.extensions_mut().insert(peer);
                    pages.api.answer(request, &held).await
                }
                _ => pages.answer(request.method(), path),
            };
            let (head, body) = response.into_parts();
            Ok::<_, Infallible>(Response::from_parts(head, Outgoing::new(body, held, None)))
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIME).max_buf_size(BUFFER);
    // A client that breaks off is no event.
    let _ = server.serve_connection(TokioIo::new(Watched::new(connection, Arc::clone(&slot.held))), answer).await;
}

const TEXT: &str = "text/plain; charset=utf-8";

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD only\n");
        }
        match path {
            "/healthz" if *self.serving.borrow() => page(StatusCode::OK, TEXT, "ok\n"),
            "/healthz" => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "shutting down\n"),
            "/metrics" => page(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", self.metrics.text()),
            "/" if !files::is_there() => page(StatusCode::OK, "text/html; charset=utf-8", self.front()),
            path => {
                files::file(path).unwrap_or_else(|| page(StatusCode::NOT_FOUND, TEXT, "not here: see /, /healthz and /metrics\n"))
            }
        }
    }

    fn front(&self) -> String {
        let (version, grpc) = (env!("CARGO_PKG_VERSION"), &self.grpc);
        format!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <title>vtflow</title><h1>vtflow {version}</h1>\
             <p>This process answers the Vtctld protocol of Vitess on gRPC port <code>{grpc}</code>. \
             Point a client at it: <code>vtctldclient --server HOST:{grpc} GetWorkflows KEYSPACE</code>\
             <p>This build has no page: <code>make run</code> makes one with it.\
             <p><a href=/healthz>/healthz</a> says whether it is up, <a href=/metrics>/metrics</a> what it has done.</html>\n"
        )
    }
}

fn page(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
