//! The one way of every RPC: let in, then answered by the planner, by the server itself, or by a vtctld.
//!
//! Bytes in, a flow, bytes out. No RPC of Vitess has code of its own here: what is served is [`rpc::SERVED`].

use std::{
    convert::Infallible,
    fmt::Write,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::body::Body;
use vtflow_planner::{Call, CallOptions, Code, Effect, Failure, Reply, Timestamp, rpc, trace::Trace};

use super::{
    audit::{Audit, ForwardedChange},
    auth::Auth,
    forward::Forward,
    health::Health,
    message::{self, Refusal, code, framed, read_one},
    methods,
    metrics::Metrics,
    record::{self, Ids, Record, Recorded},
    reflection::Reflection,
    share::Flights,
};
use crate::{
    drive::{ClusterIo, drive},
    observe::{Counts, Observer, Sums},
    planner_host::PlannerHost,
    trace::{Recorder, TraceFile},
};

/// Where requests get their `now` from: the machine's clock, or a recorded cluster's moment.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everything that RPCs share.
pub(super) struct Inner {
    pub(super) planner: PlannerHost,
    pub(super) traces: Option<Arc<TraceFile>>,
    pub(super) io: ClusterIo,
    pub(super) now: Clock,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) message_bytes: usize,
    pub(super) has_log: bool,
    pub(super) auth: Arc<Auth>,
    pub(super) forward: Option<Forward>,
    pub(super) allow_writes: bool,
    pub(super) health: Health,
    pub(super) reflection: Reflection,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ids: Ids,
    pub(super) flights: Flights<Arc<Answered>>,
    /// How many changes are under way.
    pub(super) writing: watch::Sender<usize>,
}

/// What came of a request, ready to be sent to everybody who asked.
pub(super) struct Answered {
    /// The messages, framed, one behind the other: one, or those of a stream. Empty if the status comes alone.
    frames: Bytes,
    result: Result<(), Refusal>,
    /// The trailers that tell of failures.
    trailers: HeaderMap,
    failures: usize,
    sums: Sums,
    /// vtflow does not do this: nothing was touched, and a vtctld may.
    is_elsewhere: bool,
}

/// The tower service that the listener serves.
#[derive(Clone)]
pub(super) struct VtctldService(pub(super) Arc<Inner>);

impl tower::Service<Request<Body>> for VtctldService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Ok(inner.respond(request).await) })
    }
}

impl Inner {
    async fn respond(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        if let Some(response) = message::http_refusal(&request) {
            return response;
        }
        let timeout = message::timeout(request.headers());
        let mut record = Record::begin(request.uri().path(), timeout, &self.ids, &self.metrics, self.has_log);
        let id = HeaderValue::try_from(record.id.as_str());
        let mut response = match self.answer(request, &mut record).await {
            Ok(Answer::Known(response)) => response,
            Ok(Answer::Elsewhere(response)) => {
                let (head, body) = response.into_parts();
                if let Some(code) = message::status_of(&head.headers) {
                    record.ended(code);
                }
                Response::from_parts(head, Body::new(Recorded { body, record }))
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

    async fn answer(self: &Arc<Self>, mut request: Request<Body>, record: &mut Record) -> Result<Answer, Refusal> {
        self.auth.check(request.headers(), request.extensions())?;
        let served = rpc::served(request.uri().path());
        if let Some(served) = served.filter(|served| served.effect == Effect::Read || self.allow_writes) {
            if self.forward.is_none() || served.effect == Effect::Read && served.part.is_empty() {
                return Ok(Answer::Known(self.served(served, request, record).await?.0));
            }
            // Whose it is, only the message says, or what the flow finds.
            let (message, again) = message::peek(request, self.message_bytes).await?;
            request = again;
            if let Some(message) = message.filter(|message| rpc::serves(served.path, message)) {
                let (head, body) = request.into_parts();
                let kept = Request::from_parts(head.clone(), message::one(&message, self.message_bytes)?);
                let (response, is_elsewhere) = self.served(served, Request::from_parts(head, body), record).await?;
                if !is_elsewhere {
                    return Ok(Answer::Known(response));
                }
                request = kept;
            }
        }
        let path = request.uri().path();
        match path {
            "/grpc.health.v1.Health/Check" => {
                let frame = self.health.check(&read_one(request, self.message_bytes).await?)?;
                record.ended(code::OK);
                return Ok(Answer::Known(message::response(Ok(&frame), &HeaderMap::new())));
            }
            "/grpc.health.v1.Health/Watch" => {
                return self.health.watch(&read_one(request, self.message_bytes).await?).map(Answer::Elsewhere);
            }
            _ => {}
        }
        if let Some(forward) = &self.forward {
            record.note("forwarded", "true");
            if !methods::only_reads(path) {
                let (who, from) = self.auth.caller(request.headers(), request.extensions());
                let (id, path, to) = (record.id.clone(), path.to_owned(), forward.address().to_owned());
                record.forwards(ForwardedChange { id, who, from, path, to });
            }
            // Whatever it is, it may change what reads see.
            self.flights.changed();
            let response = forward.call(request).await;
            self.flights.changed();
            return response.map(Answer::Elsewhere);
        }
        if Reflection::is_for(path) {
            return Ok(Answer::Elsewhere(self.reflection.call(request).await));
        }
        if served.is_some() {
            let text = "this server does not change anything: start it with --allow-writes, or with --forward-to a vtctld";
            return Err(Refusal::new(code::UNIMPLEMENTED, format!("{path}: {text}")));
        }
        Err(Refusal::new(code::UNIMPLEMENTED, methods::unknown(path)))
    }

    /// The answer to a request, and whether it is that vtflow does not do this, and that nothing was touched.
    async fn served(
        self: &Arc<Self>,
        served: &'static rpc::Served,
        request: Request<Body>,
        record: &mut Record,
    ) -> Result<(Response<Body>, bool), Refusal> {
        let (who, from) = self.auth.caller(request.headers(), request.extensions());
        let is_traced = request.headers().contains_key(TRACE);
        let request = read_one(request, self.message_bytes).await?;
        let until = record.until().map(|until| before(until, Instant::now()));
        let is_shared =
            served.effect == Effect::Read && !is_traced && until.is_none_or(|until| until >= Instant::now() + PATIENT);
        let (answered, joined) = if is_shared {
            let (running, joined) =
                self.flights.join((served.path, request.clone()), || self.flow(served.path, request, None, None, false));
            let answered = match until {
                Some(until) => timeout_at(until, running).await.map_err(|_| late())?,
                None => running.await,
            };
            (answered, joined)
        } else if served.effect == Effect::Write {
            let audit = Audit { id: record.id.clone(), who, from, path: served.path, request: request.clone() };
            let written = self.write(served.path, request, until, audit, is_traced);
            let answered = match record.until() {
                Some(until) => timeout_at(until, written).await.map_err(|_| left_behind())?,
                None => written.await,
            };
            (answered.ok_or_else(broken_off)?, false)
        } else {
            (self.flow(served.path, request, until, None, is_traced).await, false)
        };
        record.note(
            "asks",
            answered.sums.topology_gets + answered.sums.topology_ranges + answered.sums.tablet_calls + answered.sums.tablet_pages,
        );
        record.note("rounds", answered.sums.rounds);
        record.note("failures", answered.failures);
        if joined {
            self.metrics.rpc_shared();
            record.note("shared", "true");
        }
        record.ended(answered.result.as_ref().map_or_else(|refusal| refusal.code, |()| code::OK));
        if let Err(refusal) = &answered.result {
            record.note("error", &refusal.message);
        }
        let response = message::streamed(answered.frames.clone(), answered.result.as_ref().copied(), &answered.trailers);
        Ok((response, answered.is_elsewhere))
    }

    /// One change, to its end even if nobody waits for it any more: half of it would be worse than all or nothing. Reads that
    /// began before its end are joined by nobody who comes later. `None` if the task was ended, with the process.
    fn write(
        self: &Arc<Self>,
        path: &'static str,
        request: Bytes,
        until: Option<Instant>,
        audit: Audit,
        is_traced: bool,
    ) -> impl Future<Output = Option<Arc<Answered>>> + use<> {
        let inner = Arc::clone(self);
        let under_way = UnderWay::begin(&self.writing);
        let task = tokio::spawn(async move {
            let _under_way = under_way;
            inner.flights.changed();
            let answered = inner.flow(path, request, until, Some(audit), is_traced).await;
            inner.flights.changed();
            answered
        });
        async move { task.await.ok() }
    }

    /// One request, from its bytes to the bytes of its answer.
    fn flow(
        &self,
        path: &'static str,
        request: Bytes,
        until: Option<Instant>,
        audit: Option<Audit>,
        is_traced: bool,
    ) -> BoxFuture<'static, Arc<Answered>> {
        let (io, metrics, observer) = (self.io.clone(), Arc::clone(&self.metrics), Arc::clone(&self.observer));
        let (planner, now, message_bytes) = (self.planner.clone(), Arc::clone(&self.now), self.message_bytes);
        let traces = self.traces.clone();
        Box::pin(async move {
            let call = Call { path: path.to_owned(), request: request.to_vec(), options: CallOptions::default() };
            let now = now();
            let counts = Counts::default();
            let watch = (&counts, (&*metrics, &*observer));
            let recorder = traces.as_ref().filter(|_| is_traced).map(|_| Recorder::new());
            let flow = planner.start(&call, now);
            let reply = match &recorder {
                Some(recorder) => drive(flow, &io, until, &(recorder, watch)).await,
                None => drive(flow, &io, until, &watch).await,
            };
            if let Some(audit) = audit {
                audit.ended(&reply);
            }
            let sums = counts.sums();
            metrics.flow_ended(sums.rounds, &reply.failures);
            let (frames, result) = frames(&reply, message_bytes);
            let taken = result.as_ref().err().map_or(0, |refusal| message::message_size(&refusal.message));
            let mut trailers = told(&reply.failures, message::METADATA_BYTES - message::RESERVED_BYTES - taken);
            let failures = reply.failures.len();
            if is_traced {
                let trace = recorder.map(|recorder| recorder.ended(planner.build(), &call, now, &reply));
                trailers.insert(TRACE, kept(traces, trace).await);
            }
            let is_untouched = reply.written.as_ref().is_none_or(|written| written.outcomes.is_empty());
            let is_elsewhere = is_untouched && matches!(&reply.result, Err(status) if status.code == Code::Unimplemented);
            Arc::new(Answered { frames, result, trailers, failures, sums, is_elsewhere })
        })
    }
}

/// All messages of a reply, framed, and how it ends. A message that is too large ends it before.
fn frames(reply: &Reply, message_bytes: usize) -> (Bytes, Result<(), Refusal>) {
    if let ([], Ok(message)) = (reply.stream.as_slice(), &reply.result) {
        return framed(message, message_bytes).map_or_else(|refusal| (Bytes::new(), Err(refusal)), |frame| (frame, Ok(())));
    }
    let mut frames = BytesMut::new();
    for message in reply.stream.iter().chain(&reply.result) {
        match framed(message, message_bytes) {
            Ok(frame) => frames.extend_from_slice(&frame),
            Err(refusal) => return (frames.freeze(), Err(refusal)),
        }
    }
    let result = reply.result.as_ref().map(drop).map_err(|status| Refusal::new(status.code as i32, status.message.clone()));
    (frames.freeze(), result)
}

/// An answer and who tells the record of its end.
enum Answer {
    /// The record knows.
    Known(Response<Body>),
    /// The answer's body will say.
    Elsewhere(Response<Body>),
}

/// The failures as trailers: a JSON array of as many as fit into `room` bytes, in ASCII, and how many did not.
fn told(failures: &[Failure], room: usize) -> HeaderMap {
    let bytes = FAILURES_BYTES.min(room.saturating_sub(FAILURES_RESERVED_BYTES));
    let mut trailers = HeaderMap::new();
    if failures.is_empty() {
        return trailers;
    }
    let mut list = String::from("[");
    let mut told = 0;
    for failure in failures {
        let Ok(text) = serde_json::to_string(failure) else { continue };
        let text = ascii(&text);
        if list.len() + text.len() + 2 > bytes {
            break;
        }
        if told > 0 {
            list.push(',');
        }
        list.push_str(&text);
        told += 1;
    }
    list.push(']');
    if let Ok(value) = HeaderValue::try_from(list) {
        trailers.insert("vtflow-failures", value);
    }
    if told < failures.len() {
        trailers.insert("vtflow-failures-omitted", HeaderValue::from(failures.len() - told));
    }
    trailers
}

/// JSON with every character beyond ASCII written as an escape.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String does not fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// What a caller who wanted a trace is told: its number in the file, or why there is none.
async fn kept(traces: Option<Arc<TraceFile>>, trace: Option<Trace>) -> HeaderValue {
    let (Some(traces), Some(trace)) = (traces, trace) else {
        return HeaderValue::from_static("none: this server was started without --trace");
    };
    // A large one takes a while to write.
    let number = tokio::task::spawn_blocking(move || traces.add(trace)).await;
    match number.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(number) => number.into(),
        Err(error) => {
            record::log("warn", &error);
            HeaderValue::from_static("none: the file cannot be written; the server's log says why")
        }
    }
}

/// A little before the caller stops waiting: what is known then can still arrive.
fn before(until: Instant, now: Instant) -> Instant {
    let remaining = until.saturating_duration_since(now);
    until - (remaining / 10).min(MARGIN)
}

/// A change that is counted as long as it is under way.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn begin(writing: &watch::Sender<usize>) -> Self {
        writing.send_modify(|count| *count += 1);
        Self(writing.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

fn left_behind() -> Refusal {
    let text =
        "context deadline exceeded: what has been begun goes on to its end; look at what became of it before you repeat it";
    Refusal::new(code::DEADLINE_EXCEEDED, text)
}

fn broken_off() -> Refusal {
    Refusal::new(code::UNAVAILABLE, "the server was stopped in the middle of this change: look at what became of it")
}

fn late() -> Refusal {
    Refusal::new(code::DEADLINE_EXCEEDED, "context deadline exceeded: the answer was not ready in time")
}

/// In the response's headers, and in the log.
const REQUEST_ID: &str = "vtflow-request-id";

/// In a request's metadata, with any value: keep a trace of it. In the trailers: which one it is.
const TRACE: &str = "vtflow-trace";

/// Bytes of the trailer `vtflow-failures` at most. A long status message leaves it less.
const FAILURES_BYTES: usize = 4096;

/// Bytes of that trailer's name, of the one that says how many are left out, and of the trace's.
const FAILURES_RESERVED_BYTES: usize = 320;

/// How long before a caller's deadline the asks end, at most.
const MARGIN: Duration = Duration::from_millis(250);

/// Callers who wait at least so long share reads: a shared read has no deadline but those of its asks. Others get an answer
/// of their own, with what is known when their time is over.
const PATIENT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use vtflow_planner::Lost;

    use super::*;

    fn failure(shard: usize, message: &str) -> Failure {
        Failure {
            keyspace: "customer".to_owned(),
            shard: shard.to_string(),
            tablet: String::new(),
            workflow: String::new(),
            lost: Lost::Shard,
            message: message.to_owned(),
        }
    }

    #[test]
    fn failures_are_ascii_json_of_a_bounded_size() {
        assert!(told(&[], 8000).is_empty());
        let one = [failure(1, "caf\u{e9} \u{1f600}\n\"x\"")];
        let trailers = told(&one, 8000);
        let text = trailers["vtflow-failures"].to_str().unwrap();
        assert!(text.is_ascii());
        assert_eq!(serde_json::from_str::<Vec<Failure>>(text).unwrap(), one);
        assert!(!trailers.contains_key("vtflow-failures-omitted"));

        let many: Vec<Failure> = (0..300).map(|shard| failure(shard, "did not answer in 10s")).collect();
        let trailers = told(&many, 8000);
        let text = trailers["vtflow-failures"].to_str().unwrap();
        assert!(text.len() <= FAILURES_BYTES);
        let kept: Vec<Failure> = serde_json::from_str(text).unwrap();
        assert!(kept.len() > 20 && kept == many[..kept.len()]);
        let omitted: usize = trailers["vtflow-failures-omitted"].to_str().unwrap().parse().unwrap();
        assert_eq!(kept.len() + omitted, 300);

        assert_eq!(told(&[failure(1, &"x".repeat(5000))], 8000)["vtflow-failures"], "[]");
    }

    #[test]
    fn asks_end_a_little_before_the_callers_deadline() {
        let now = Instant::now();
        for (millis, want) in [(1000, 900), (100, 90), (60_000, 59_750), (0, 0)] {
            assert_eq!(before(now + Duration::from_millis(millis), now), now + Duration::from_millis(want), "{millis}");
        }
    }
}
