//! The one way of every RPC: let in, then answered by the planner, by the server itself, or by a vtctld.
//!
//! Bytes in, a flow, bytes out. No RPC of Vitess has code of its own here: what is served is [`serve::SERVED`].

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::body::Body;
use vtflow_planner::{Call, CallOptions, Effect, serve};

use super::{
    forward::Forward,
    health::Health,
    message::{self, read_one},
    reflection::Reflection,
};
use crate::{
    log::sparing::Sparing,
    net::grpc::{code, status_of},
    server::{
        access::Auth,
        admission::{Admission, Room},
        audit::{Audit, ForwardedChange},
        connections::Held,
        perform::{Performer, TRACE, Want},
        refusal::Refusal,
        rpc_log::{LoggedBody, RpcLog, RpcLogs},
        vitess_rpcs,
    },
};

/// Answers every RPC of one server.
pub(crate) struct Service {
    pub(crate) performer: Arc<Performer>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) rpc_logs: Arc<RpcLogs>,
    pub(crate) forward: Option<Forward>,
    pub(crate) allow_writes: bool,
    pub(crate) health: Health,
    pub(crate) reflection: Reflection,
    /// Changes that were asked for by who is not let in.
    pub(crate) kept_out: Sparing,
}

/// The connection that a request came on.
fn held(extensions: &http::Extensions) -> Option<Arc<Held>> {
    extensions.get::<Arc<Held>>().cloned()
}

/// A reply that ends when its client likes: it does not keep the connection's place.
fn watching(response: Response<Body>, held: Option<Arc<Held>>) -> Response<Body> {
    let resting = held.map(|held| held.rest());
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &resting;
            frame
        }))
    })
}

impl Service {
    /// Answers one RPC.
    pub(crate) async fn respond(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        if let Some(response) = message::http_refusal(&request) {
            return response;
        }
        let timeout = message::timeout(request.headers());
        let mut record = self.rpc_logs.begin(request.uri().path(), timeout);
        let id = HeaderValue::try_from(record.id.as_str());
        let mut change = None;
        let answered = self.answer(request, &mut record, &mut change).await;
        if let (Err(refusal), Some(change)) = (&answered, change) {
            // Nobody has taken it: nothing was asked of the cluster.
            change.refused(refusal);
        }
        let mut response = match answered {
            Ok(Answer::Known(response)) => response,
            Ok(Answer::Elsewhere(response)) => {
                let (head, body) = response.into_parts();
                if let Some(code) = status_of(&head.headers) {
                    record.ended(code);
                }
                Response::from_parts(head, Body::new(LoggedBody { body, record }))
            }
            Err(refusal) => {
                record.ended(refusal.code);
                record.note("error", &refusal.message);
                message::response(Err(&refusal), &HeaderMap::new())
            }
        };
        if let Ok(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// `change` is what is left to be said of a change, until somebody else does.
    async fn answer(
        self: &Arc<Self>,
        mut request: Request<Body>,
        record: &mut RpcLog,
        change: &mut Option<Audit>,
    ) -> Result<Answer, Refusal> {
        let served = serve::served(request.uri().path());
        let is_change = served.map_or_else(
            || self.forward.is_some() && !vitess_rpcs::only_reads(request.uri().path()),
            |served| served.effect == Effect::Write,
        );
        let audit = is_change.then(|| {
            let (who, from) = self.auth.caller(request.headers(), request.extensions());
            Audit { id: record.id.clone(), who, from, path: request.uri().path().to_owned(), request: None }
        });
        if let Err(refusal) = self.auth.let_in("grpc", request.headers(), request.extensions()) {
            if let Some(audit) = audit {
                // Nothing proves the name.
                let who = audit.from.clone();
                Audit { who, ..audit }.kept_out(&refusal, &self.kept_out);
            }
            return Err(refusal);
        }
        *change = audit;
        if let Some(served) = served.filter(|served| served.effect == Effect::Read || self.allow_writes) {
            if self.forward.is_none() || served.effect == Effect::Read && served.part.is_empty() {
                return Ok(Answer::Known(self.served(served, request, record, change).await?.0));
            }
            // Whose it is, only the message says, or what the flow finds.
            let resting = held(request.extensions()).map(|held| held.rest());
            let peeked = timeout(MESSAGE_TIME, message::peek(request, self.performer.message_bytes));
            let (message, again) = peeked.await.map_err(|_| slow())??;
            drop(resting);
            request = again;
            if let Some(message) = message.filter(|message| serve::serves(served.path, message)) {
                let (head, body) = request.into_parts();
                let kept = Request::from_parts(head.clone(), message::one(&message, self.performer.message_bytes)?);
                let (response, is_elsewhere) = self.served(served, Request::from_parts(head, body), record, change).await?;
                if !is_elsewhere {
                    return Ok(Answer::Known(response));
                }
                request = kept;
            }
        }
        let path = request.uri().path();
        match path {
            "/grpc.health.v1.Health/Check" => {
                let frame = self.health.check(&self.read(request).await?.0)?;
                record.ended(code::OK);
                return Ok(Answer::Known(message::response(Ok(&frame), &HeaderMap::new())));
            }
            "/grpc.health.v1.Health/Watch" => {
                let held = held(request.extensions());
                return self
                    .health
                    .watch(&self.read(request).await?.0)
                    .map(|response| Answer::Elsewhere(watching(response, held)));
            }
            _ => {}
        }
        if let Some(forward) = &self.forward {
            record.note("forwarded", "true");
            *change = None;
            // Also of what is served as a read in part: a legacy command that vtflow does not know may change something.
            if !vitess_rpcs::only_reads(path) {
                let (who, from) = self.auth.caller(request.headers(), request.extensions());
                let (id, path, to) = (record.id.clone(), path.to_owned(), forward.address().to_owned());
                record.forwards(ForwardedChange { id, who, from, path, to });
            }
            // Whatever it is, it may change what reads see.
            self.performer.flights.invalidate();
            let response = forward.call(request).await;
            self.performer.flights.invalidate();
            return response.map(Answer::Elsewhere);
        }
        if Reflection::is_for(path) {
            let held = held(request.extensions());
            return Ok(Answer::Elsewhere(watching(self.reflection.call(request).await, held)));
        }
        if served.is_some() {
            let text = "this server does not change anything: start it with --allow-writes, or with --forward-to a vtctld";
            let refusal = Refusal::new(code::UNIMPLEMENTED, format!("{path}: {text}"));
            if let Some(change) = change {
                // For the line alone.
                change.request = self.read(request).await.ok().map(|(message, _)| message);
            }
            return Err(refusal);
        }
        Err(Refusal::new(code::UNIMPLEMENTED, vitess_rpcs::unknown(path)))
    }

    /// The answer to a request, and whether it is that vtflow does not do this, and that nothing was touched.
    async fn served(
        self: &Arc<Self>,
        served: &'static serve::Served,
        request: Request<Body>,
        record: &mut RpcLog,
        change: &mut Option<Audit>,
    ) -> Result<(Response<Body>, bool), Refusal> {
        let is_traced = request.headers().contains_key(TRACE);
        if let Some(held) = held(request.extensions()) {
            self.performer.admission.check(&held)?;
        }
        let (request, _room) = self.read(request).await?;
        let now = Instant::now();
        let latest = now + self.performer.request_time;
        let until = record.until().map_or(latest, |until| asks_end(until, now).min(latest));
        let reply_bytes = self.performer.message_bytes as u64;
        let options = CallOptions { reply_bytes, ..CallOptions::default() };
        let call = Call { path: served.path.to_owned(), request: request.to_vec(), options };
        let (answered, joined) = if served.effect == Effect::Read && !is_traced {
            let flow = || self.performer.flow(call, until, None, Want::Reply);
            let (running, joined) = self.performer.flights.join((served.path, request), until, flow);
            (running.await, joined)
        } else if served.effect == Effect::Write {
            let audit = change.take().map(|audit| Audit { request: Some(request), ..audit });
            let written = self.performer.write(call, until, audit, is_traced);
            let answered = match record.until() {
                Some(until) => timeout_at(until, written).await.map_err(|_| left_behind())?,
                None => written.await,
            };
            (answered.ok_or_else(broken_off)?, false)
        } else {
            (self.performer.flow(call, until, None, if is_traced { Want::Kept } else { Want::Reply }).await, false)
        };
        answered.tell(record);
        if joined {
            self.performer.metrics.rpc_shared();
            record.note("shared", "true");
        }
        let response = message::streamed(
            answered.frames.clone(),
            answered.rest.clone(),
            answered.result.as_ref().copied(),
            &answered.trailers,
        );
        Ok((response, answered.is_elsewhere))
    }

    /// The one message of a call, and the room that it takes.
    async fn read(&self, request: Request<Body>) -> Result<(Bytes, Room), Refusal> {
        let _resting = held(request.extensions()).map(|held| held.rest());
        let room = Arc::new(Mutex::new(Some(Admission::room())));
        let (admission, charged) = (Arc::clone(&self.performer.admission), Arc::clone(&room));
        let request = request.map(|body| Body::new(Charged { body, admission, room: charged }));
        let message = timeout(MESSAGE_TIME, read_one(request, self.performer.message_bytes)).await.map_err(|_| slow())?;
        let Some(room) = room.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            let text = "this server is busy: the requests that are here are too many bytes together; try again";
            return Err(Refusal::new(code::RESOURCE_EXHAUSTED, text));
        };
        Ok((message?, room))
    }
}

/// The body of a request, whose bytes take room as they come.
struct Charged {
    body: Body,
    admission: Arc<Admission>,
    /// `None` once there was no more.
    room: Arc<Mutex<Option<Room>>>,
}

impl http_body::Body for Charged {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            if !room.as_mut().is_some_and(|room| self.admission.grow(room, data.len())) {
                *room = None;
                return Poll::Ready(Some(Err(tonic::Status::resource_exhausted("no room"))));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// An answer and who tells the record of its end.
enum Answer {
    /// The record knows.
    Known(Response<Body>),
    /// The answer's body will say.
    Elsewhere(Response<Body>),
}

/// A little before the caller stops waiting: what is known then can still arrive.
fn asks_end(until: Instant, now: Instant) -> Instant {
    let remaining = until.saturating_duration_since(now);
    until - (remaining / 10).min(MARGIN)
}

fn left_behind() -> Refusal {
    let text =
        "context deadline exceeded: what has been begun goes on to its end; look at what became of it before you repeat it";
    Refusal::new(code::DEADLINE_EXCEEDED, text)
}

fn broken_off() -> Refusal {
    Refusal::new(code::UNAVAILABLE, "the server was stopped in the middle of this change: look at what became of it")
}

fn slow() -> Refusal {
    Refusal::new(code::DEADLINE_EXCEEDED, "the request's message did not arrive within 30s")
}

/// How long the message of a request may take to arrive.
const MESSAGE_TIME: Duration = Duration::from_secs(30);

/// In the response's headers, and in the log.
const REQUEST_ID: &str = "vtflow-request-id";

/// How long before a caller's deadline the asks end, at most.
const MARGIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_end_a_little_before_the_callers_deadline() {
        let now = Instant::now();
        for (millis, want) in [(1000, 900), (100, 90), (60_000, 59_750), (0, 0)] {
            assert_eq!(asks_end(now + Duration::from_millis(millis), now), now + Duration::from_millis(want), "{millis}");
        }
    }
}
