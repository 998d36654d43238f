//! The HTTP port: whether the server is up, its metrics, the page and what it asks.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{api::Api, metrics::Metrics, page as files};

/// Connections at once: enough for every scraper, few enough to be harmless.
const CONNECTIONS: usize = 256;
/// How long a client may take over its request's headers.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// What the pages show.
pub(super) struct Pages {
    pub(super) metrics: Arc<Metrics>,
    pub(super) serving: watch::Receiver<bool>,
    pub(super) grpc: String,
    pub(super) api: Api,
}

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, pages: Pages) {
    let pages = Arc::new(pages);
    let turns = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropping it ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let Ok((connection, _)) = listener.accept().await else {
            // Out of files, most likely: it passes, and a loop without a pause would make it worse.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let pages = Arc::clone(&pages);
        connections.spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| async {
                if request.uri().path().starts_with("/api/") {
                    return Ok::<_, Infallible>(pages.api.answer(request).await);
                }
                Ok(pages.answer(request.method(), request.uri().path()))
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT);
            // A client that breaks off is no event.
            let _ = server.serve_connection(TokioIo::new(connection), answer).await;
            drop(turn);
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        const TEXT: &str = "text/plain; charset=utf-8";
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
