//! One RPC's way through the server: its id, what it came to, and the line and the counts that are left of it.
//!
//! A record ends when it is told how, or when it is dropped: a caller that goes away is an end too.

use std::{
    fmt::Write,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::body::Body;

use super::{audit::ForwardedChange, metrics::Metrics, vitess_rpcs};
use crate::{
    log::{
        logfmt::{VALUE_BYTES, quoted, timestamp},
        queue::{self, Room},
    },
    net::grpc::{code, status_of},
};

/// The logs of a server's RPCs: begins each, with an id.
pub(super) struct RpcLogs {
    ids: Ids,
    metrics: Arc<Metrics>,
    has_log: bool,
}

impl RpcLogs {
    pub(super) fn new(metrics: Arc<Metrics>, has_log: bool) -> Self {
        Self { ids: Ids::new(), metrics, has_log }
    }

    /// An id for what is written down without being an RPC.
    pub(super) fn id(&self) -> String {
        self.ids.next()
    }

    pub(super) fn begin(&self, path: &str, timeout: Option<Duration>) -> RpcLog {
        self.metrics.rpc_begun();
        let begun = Instant::now();
        RpcLog {
            id: self.ids.next(),
            path: path.to_owned(),
            begun,
            until: timeout.and_then(|timeout| begun.checked_add(timeout)),
            metrics: Arc::clone(&self.metrics),
            has_log: self.has_log,
            code: None,
            notes: String::new(),
            forwarded: None,
        }
    }
}

/// Makes the ids of RPCs: when the server started and how many came before. Two servers' ids differ by their starts.
struct Ids {
    start: u64,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Milliseconds fit 48 bits for some thousand years.
        Self { start: u64::try_from(since.as_millis()).unwrap_or(0), next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{:012x}-{:x}", self.start, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The log of one RPC that is under way.
pub(super) struct RpcLog {
    pub(super) id: String,
    path: String,
    begun: Instant,
    /// When the caller stops waiting.
    until: Option<Instant>,
    metrics: Arc<Metrics>,
    has_log: bool,
    code: Option<i32>,
    notes: String,
    /// Leaves a line of its own when this ends.
    forwarded: Option<ForwardedChange>,
}

impl RpcLog {
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Adds ` key=value` to the line.
    pub(super) fn note(&mut self, key: &str, value: impl std::fmt::Display) {
        if self.has_log {
            // Writing to a String does not fail.
            let _ = write!(self.notes, " {key}={}", quoted(&value.to_string(), VALUE_BYTES));
        }
    }

    /// It is a change that somebody else makes.
    pub(super) fn forwards(&mut self, change: ForwardedChange) {
        self.forwarded = Some(change);
    }

    /// It has ended with this code; the line is written when the record is dropped.
    pub(super) fn ended(&mut self, code: i32) {
        self.code = Some(code);
    }
}

impl Drop for RpcLog {
    fn drop(&mut self) {
        if let Some(change) = self.forwarded.take() {
            change.ended(self.code);
        }
        let took = self.begun.elapsed();
        let code = self.code.unwrap_or_else(|| {
            let is_late = self.until.is_some_and(|until| Instant::now() >= until);
            if is_late { code::DEADLINE_EXCEEDED } else { code::CANCELLED }
        });
        let method = vitess_rpcs::known(&self.path);
        self.metrics.rpc_ended(method, code, took);
        if self.has_log {
            let level = match code {
                code::OK | code::CANCELLED => "info",
                _ => "warn",
            };
            let method = quoted(method.unwrap_or(&self.path), VALUE_BYTES);
            let Self { id, notes, .. } = self;
            let at = timestamp();
            let ms = took.as_secs_f64() * 1000.0;
            let line = format!("time={at} level={level} msg=rpc id={id} method={method} code={code} ms={ms:.1}{notes}");
            queue::put(line, Room::Common);
        }
    }
}

/// The body of an answer that comes from elsewhere, with the record that ends when it does.
pub(super) struct LoggedBody {
    pub(super) body: Body,
    pub(super) record: RpcLog,
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.record.ended(status_of(trailers).unwrap_or(code::UNAVAILABLE));
                }
            }
            Poll::Ready(Some(Err(status))) => self.record.ended(status.code() as i32),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let ids = Ids::new();
        assert_ne!(ids.next(), ids.next());
    }
}
