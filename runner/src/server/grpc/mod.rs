//! The gRPC port: HTTP/2 connections, as many as there is room for, each with its bounds.
//!
//! Facts: the keepalive is that of Vitess, `go/vt/servenv/grpc_server.go`.

pub(crate) mod forward;
pub(crate) mod health;
pub(crate) mod message;
pub(crate) mod reflection;
pub(crate) mod service;

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{interval, sleep},
};
use tonic::{body::Body, transport::server::Connected};

use self::service::Service;
use super::{
    connections::{Connections, Outgoing, Slot, Watched},
    door::{Door, Speaks},
};
use crate::net::network::{Incoming, Listener};

/// How long a connection may take until it has said that it speaks HTTP/2.
const PREFACE_TIME: Duration = Duration::from_secs(10);
/// Bytes of the shortest beginning: the preface and empty settings. Source: RFC 9113, 3.4.
const PREFACE_BYTES: u64 = 24 + 9;
/// Requests under way at once on one connection.
const STREAMS: u32 = 128;
/// Bytes of a request, and of all requests of a connection, that may arrive before they are looked at.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a reply beyond the client's window that are taken from it.
const SEND_BUFFER: usize = 64 << 10;
/// How long a connection may be silent before it is pinged, and how long the answer may take. Source: the defaults of
/// `--grpc-server-keepalive-time` and `-timeout`, v20 and later.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Bytes of a request's headers: credentials and tracing take little, but nobody should be refused for a long token.
const HEADER_BYTES: u32 = 1 << 18;

/// Serves until the server stops, and then until all requests have ended.
///
/// # Errors
/// Nobody can come any more.
pub(crate) async fn serve(
    listener: impl Listener,
    door: Arc<Door>,
    connections: Arc<Connections>,
    service: Arc<Service>,
    mut serving: watch::Receiver<bool>,
) -> io::Result<()> {
    // Dropping it ends the connections.
    let mut open = JoinSet::new();
    let mut tick = interval(Duration::from_secs(1));
    let mut next = Box::pin(connections.accept(&listener));
    loop {
        tokio::select! {
            // The same every time. Who comes is last: any number of them keep nothing else from its turn.
            biased;
            () = stopped(&mut serving) => break,
            _ = tick.tick() => connections.sweep(service.performer.admission.is_crowded()),
            _ = open.join_next(), if !open.is_empty() => {}
            accepted = &mut next => {
                let (stream, slot) = accepted?;
                open.spawn(one(stream, slot, Arc::clone(&door), Arc::clone(&service), serving.clone()));
                next.set(connections.accept(&listener));
            }
        }
    }
    drop(next);
    drop(listener);
    loop {
        tokio::select! {
            biased;
            ended = open.join_next() => if ended.is_none() { return Ok(()) },
            _ = tick.tick() => connections.sweep(service.performer.admission.is_crowded()),
        }
    }
}

async fn one(stream: impl Incoming, slot: Slot, door: Arc<Door>, service: Arc<Service>, serving: watch::Receiver<bool>) {
    tokio::select! {
        biased;
        () = slot.held.ended() => {}
        () = converse(stream, &slot, &door, service, serving) => {}
    }
}

async fn converse(stream: impl Incoming, slot: &Slot, door: &Door, service: Arc<Service>, mut serving: watch::Receiver<bool>) {
    let Ok(connection) = door.welcome(stream, Speaks::Grpc).await else { return };
    let (peer, held) = (connection.connect_info(), Arc::clone(&slot.held));
    let answer = service_fn(|request: Request<body::Incoming>| {
        let (service, held, busy, peer) = (Arc::clone(&service), Arc::clone(&held), held.work(), peer.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(Arc::clone(&held));
            let (head, body) = service.respond(request).await.into_parts();
            Ok::<_, Infallible>(Response::from_parts(head, Outgoing::new(body, held, Some(busy))))
        }
    });
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        // Clients may be far away.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(Some(KEEPALIVE))
        .keep_alive_timeout(KEEPALIVE)
        .max_header_list_size(HEADER_BYTES);
    let io = TokioIo::new(Watched::new(connection, Arc::clone(&slot.held)));
    let mut talk = pin!(server.serve_connection(io, answer));
    let mut preface = pin!(sleep(PREFACE_TIME));
    let (mut is_known, mut is_stopping) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut serving), if !is_stopping => {
                is_stopping = true;
                talk.as_mut().graceful_shutdown();
            }
            () = &mut preface, if !is_known => {
                is_known = true;
                if slot.held.received() < PREFACE_BYTES {
                    return;
                }
            }
            // A client that breaks off is no event.
            _ = talk.as_mut() => return,
        }
    }
}

async fn stopped(serving: &mut watch::Receiver<bool>) {
    // An error means that the server was dropped.
    let _ = serving.wait_for(|serving| !serving).await;
}
