//! The health service of gRPC, `grpc.health.v1.Health`: `Check` and `Watch`, as Go servers answer them.
//!
//! It says whether this server takes RPCs, not how the cluster is. Hand-made because the library's differs from Go's where it
//! shows: the text for an unknown service, and what `Watch` says of one. Source: grpc-go `health/server.go`,
//! Vitess `go/vt/servenv/grpc_server.go:serveGRPC`.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use tokio::sync::watch;
use tonic::body::Body;

use super::message;
use crate::{
    net::grpc::code,
    server::{
        metadata,
        refusal::Refusal,
        vitess_rpcs::{VTCTL, VTCTLD},
    },
};

/// Whether the server takes RPCs; false once it shuts down.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) serving: watch::Receiver<bool>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CheckRequest {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CheckResponse {
    /// SERVING 1, `NOT_SERVING` 2, `SERVICE_UNKNOWN` 3.
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

impl Health {
    /// One status, now.
    pub(crate) fn check(&self, request: &[u8]) -> Result<Bytes, Refusal> {
        let status = state(&service(request)?, *self.serving.borrow());
        if status == SERVICE_UNKNOWN {
            return Err(Refusal::new(code::NOT_FOUND, "unknown service"));
        }
        Ok(framed(status))
    }

    /// The status now and each time that it changes. Ends when the server shuts down, so that nobody waits for a watcher.
    pub(crate) fn watch(&self, request: &[u8]) -> Result<Response<Body>, Refusal> {
        let service = service(request)?;
        let mut serving = self.serving.clone();
        let now = *serving.borrow_and_update();
        let first = stream::iter([Ok::<_, tonic::Status>(Frame::data(framed(state(&service, now))))]);
        let rest = stream::once(async move {
            if now {
                // An error means that the server is gone altogether.
                let _ = serving.wait_for(|serving| !serving).await;
            }
            let ended = Refusal::new(code::UNAVAILABLE, "the server is shutting down");
            let last = (state(&service, now) != state(&service, false)).then(|| Frame::data(framed(NOT_SERVING)));
            let trailers = Frame::trailers(metadata::trailers(Err(&ended), &HeaderMap::new()));
            stream::iter(last.into_iter().chain([trailers]).map(Ok))
        });
        Ok(message::response_of(Body::new(StreamBody::new(first.chain(rest.flatten())))))
    }
}

fn service(request: &[u8]) -> Result<String, Refusal> {
    let decoded = CheckRequest::decode(request);
    let refused = |error| Refusal::new(code::INTERNAL, format!("grpc: error unmarshalling request: {error}"));
    decoded.map(|request| request.service).map_err(refused)
}

fn state(service: &str, serving: bool) -> i32 {
    match service {
        "" | VTCTLD | VTCTL | "grpc.health.v1.Health" if serving => SERVING,
        "" | VTCTLD | VTCTL | "grpc.health.v1.Health" => NOT_SERVING,
        _ => SERVICE_UNKNOWN,
    }
}

fn framed(status: i32) -> Bytes {
    // Two bytes are never too large.
    Refusal::framed(&CheckResponse { status }.encode_to_vec(), usize::MAX).unwrap_or_default()
}
