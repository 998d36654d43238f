//! One request from its message to its answer, whichever port it came by: shared with those who ask the same, in its turn, in a task
//! of its own.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::Instant};
use vtflow_planner::{Call, Code, Effect, FlowHandle as _, Parts, Reply, Timestamp, serve, trace::Trace};

use super::{
    admission::{Admission, Counted},
    audit::Audit,
    grpc::message::PIECE,
    metadata,
    metrics::Metrics,
    only_reads::OnlyReads,
    refusal::Refusal,
    rpc_log::RpcLog,
    single_flight::SingleFlight,
    trailers::failure_trailers,
};
use crate::{
    drive::{ClusterIo, LastRecords, drive, drive_assuming},
    log,
    net::grpc::code,
    observe::{Counts, Observer, Sums},
    outage::Outages,
    planner_host::PlannerHost,
    trace_file::{Recorder, TraceFile},
};

/// What came of a request, ready to be sent to everybody who asked.
pub(super) struct Answered {
    /// The messages, framed, one behind the other: one, or those of a stream; in pieces. None if the status comes alone. Or a trace, as
    /// JSON, in one piece.
    pub(super) frames: Vec<Bytes>,
    /// What follows in the last message: the most of a large one.
    pub(super) rest: Option<Arc<Counted<Parts>>>,
    pub(super) result: Result<(), Refusal>,
    /// The trailers that tell of failures.
    pub(super) trailers: HeaderMap,
    failures: usize,
    sums: Sums,
    /// vtflow does not do this: nothing was touched, and a vtctld may.
    pub(super) is_elsewhere: bool,
}

impl Answered {
    fn refused(refusal: Refusal) -> Arc<Self> {
        let (frames, trailers, sums) = (Vec::new(), HeaderMap::new(), Sums::default());
        Arc::new(Self { frames, rest: None, result: Err(refusal), trailers, failures: 0, sums, is_elsewhere: false })
    }

    /// Notes what it came to.
    pub(super) fn tell(&self, record: &mut RpcLog) {
        let Sums { topology_gets, topology_ranges, tablet_calls, tablet_pages, rounds, .. } = self.sums;
        record.note("asks", topology_gets + topology_ranges + tablet_calls + tablet_pages);
        record.note("rounds", rounds);
        record.note("failures", self.failures);
        record.ended(self.result.as_ref().map_or_else(|refusal| refusal.code, |()| code::OK));
        if let Err(refusal) = &self.result {
            record.note("error", &refusal.message);
        }
    }
}

/// What a flow is performed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The reply.
    Reply,
    /// The reply, and its trace in the file.
    Kept,
    /// The trace itself, as JSON.
    Trace,
}

/// A task that ends with whoever waits for it.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where requests get their `now` from: the machine's clock, or a recorded cluster's moment.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What performs requests, and what they all have in common.
pub(super) struct Performer {
    pub(super) planner: PlannerHost,
    pub(super) traces: Option<Arc<TraceFile>>,
    pub(super) io: ClusterIo,
    pub(super) now: Clock,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) message_bytes: usize,
    pub(super) metrics: Arc<Metrics>,
    pub(super) flights: SingleFlight<Arc<Answered>>,
    /// How many changes are under way.
    pub(super) writing: watch::Sender<usize>,
    pub(super) admission: Arc<Admission>,
    /// How long a request may take at most, whatever its caller says.
    pub(super) request_time: Duration,
    /// What reads assume, and read again.
    pub(super) last_records: Arc<LastRecords>,
    /// Where flows run, whichever port they came in by.
    pub(super) runtime: Handle,
}

impl Performer {
    /// A read for the page, or a preview: its trace, as JSON. The same way as every other read; what is none is not sent.
    pub(super) async fn trace(self: &Arc<Self>, call: Call, record: &mut RpcLog) -> Arc<Answered> {
        let key = ("/api/trace", serde_json::to_vec(&call).unwrap_or_default().into());
        let until = Instant::now() + TRACE_TIME.min(self.request_time);
        let (running, joined) = self.flights.join(key, until, || self.flow(call, until, None, Want::Trace));
        let answered = running.await;
        answered.tell(record);
        if joined {
            self.metrics.rpc_shared();
            record.note("shared", "true");
        }
        answered
    }

    /// One change, to its end even if nobody waits for it any more: half of it would be worse than all or nothing. Reads that
    /// began before its end are joined by nobody who comes later. `None` if the task was ended, with the process.
    pub(super) fn write(
        self: &Arc<Self>,
        call: Call,
        until: Instant,
        audit: Option<Audit>,
        is_traced: bool,
    ) -> impl Future<Output = Option<Arc<Answered>>> + use<> {
        let performer = Arc::clone(self);
        let under_way = UnderWay::begin(&self.writing);
        let task = self.runtime.spawn(async move {
            let _under_way = under_way;
            performer.flights.invalidate();
            let answered = performer.flow(call, until, audit, if is_traced { Want::Kept } else { Want::Reply }).await;
            performer.flights.invalidate();
            answered
        });
        async move { task.await.ok() }
    }

    /// One request, from its bytes to the bytes of its answer: in its turn, in a task of its own.
    pub(super) fn flow(&self, call: Call, until: Instant, audit: Option<Audit>, want: Want) -> BoxFuture<'static, Arc<Answered>> {
        let (io, metrics, observer) = (self.io.clone(), Arc::clone(&self.metrics), Arc::clone(&self.observer));
        let (planner, now, message_bytes) = (self.planner.clone(), Arc::clone(&self.now), self.message_bytes);
        let (traces, admission) = (self.traces.clone(), Arc::clone(&self.admission));
        let last_records = Arc::clone(&self.last_records);
        let task = Task(self.runtime.spawn(async move {
            let turn = match admission.turn(Some(until)).await {
                Ok(turn) => turn,
                Err(refusal) => {
                    if let Some(audit) = audit {
                        audit.refused(&refusal);
                    }
                    return Answered::refused(refusal);
                }
            };
            let audit = audit.map(Audit::begun);
            let now = now();
            let (counts, outages) = (Counts::default(), Outages::default());
            let watch = (&counts, (&outages, (&*metrics, &*observer)));
            let recorder = match want {
                Want::Reply => None,
                Want::Kept => traces.as_ref().map(|_| Recorder::new()),
                Want::Trace => Some(Recorder::new()),
            };
            let start = || planner.start(&call, now);
            let until = Some(until);
            let is_read = serve::served(&call.path).is_some_and(|served| served.effect == Effect::Read);
            let mut reply = match &recorder {
                // A trace has what happened, once and in its order.
                Some(recorder) if want == Want::Trace => drive(OnlyReads(start()), &io, until, &(recorder, watch)).await,
                Some(recorder) => drive(start(), &io, until, &(recorder, watch)).await,
                None if is_read => {
                    let start = || {
                        let mut flow = start();
                        flow.in_parts();
                        flow
                    };
                    drive_assuming(start, &io, until, &watch, &last_records).await
                }
                None => drive(start(), &io, until, &watch).await,
            };
            if let Some(audit) = audit {
                audit.ended(&reply, &outages);
            }
            let sums = counts.sums();
            metrics.flow_ended(sums.rounds, &reply.failures);
            let failures = reply.failures.len();
            let trace = recorder.map(|recorder| recorder.ended(planner.build(), &call, now, &reply));
            if let (Want::Trace, Some(trace)) = (want, &trace) {
                let document = serde_json::to_vec(trace).unwrap_or_default();
                let frames = vec![admission.reply(document.into()).await];
                drop(turn);
                return Arc::new(Answered {
                    frames,
                    rest: None,
                    result: Ok(()),
                    trailers: HeaderMap::new(),
                    failures,
                    sums,
                    is_elsewhere: false,
                });
            }
            let is_unimplemented = matches!(&reply.result, Err(status) if status.code == Code::Unimplemented);
            let (mut frames, result) = frames(&mut reply, message_bytes);
            let taken = result.as_ref().err().map_or(0, |refusal| metadata::message_size(&refusal.message));
            let mut trailers = failure_trailers(&reply.failures, metadata::METADATA_BYTES - metadata::RESERVED_BYTES - taken);
            let is_untouched = reply.written.as_ref().is_none_or(|written| written.outcomes.is_empty());
            let is_elsewhere = is_untouched && is_unimplemented;
            let parts = Some(std::mem::take(&mut reply.rest)).filter(|parts| result.is_ok() && !parts.is_empty());
            drop(reply);
            if want == Want::Kept {
                trailers.insert(TRACE, trace_trailer(traces, trace).await);
            }
            let rest = match parts {
                Some(parts) => Some(admission.reply_in_parts(parts).await),
                None => None,
            };
            if rest.is_none()
                && let Some(last) = frames.pop()
            {
                frames.push(admission.reply(last).await);
            }
            drop(turn);
            Arc::new(Answered { frames, rest, result, trailers, failures, sums, is_elsewhere })
        }));
        Box::pin(async move {
            let mut task = task;
            (&mut task.0).await.unwrap_or_else(|_| Answered::refused(Refusal::new(code::INTERNAL, BROKEN)))
        })
    }
}

/// All messages of a reply, framed, and how it ends. A message that is too large ends it before. The largest piece is the last; the
/// message is taken out of the reply if it is the only one, and what follows in it is left there if that is much.
fn frames(reply: &mut Reply, message_bytes: usize) -> (Vec<Bytes>, Result<(), Refusal>) {
    if reply.rest.len() <= PIECE || !reply.stream.is_empty() {
        reply.join();
    }
    if let ([], Ok(message)) = (reply.stream.as_slice(), &mut reply.result) {
        return Refusal::in_frame(std::mem::take(message), reply.rest.len(), message_bytes).map_or_else(
            |refusal| (Vec::new(), Err(refusal)),
            |frame| (frame.into_iter().filter(|it| !it.is_empty()).collect(), Ok(())),
        );
    }
    let mut frames = BytesMut::new();
    for message in reply.stream.iter().chain(&reply.result) {
        match Refusal::framed(message, message_bytes) {
            Ok(frame) => frames.extend_from_slice(&frame),
            Err(refusal) => return (pieces(frames), Err(refusal)),
        }
    }
    let result = reply.result.as_ref().map(drop).map_err(|status| Refusal::new(status.code as i32, status.message.clone()));
    (pieces(frames), result)
}

/// One, if there is anything.
fn pieces(frames: BytesMut) -> Vec<Bytes> {
    Some(frames.freeze()).filter(|frames| !frames.is_empty()).into_iter().collect()
}

/// What a caller who wanted a trace is told: its number in the file, or why there is none.
async fn trace_trailer(traces: Option<Arc<TraceFile>>, trace: Option<Trace>) -> HeaderValue {
    let (Some(traces), Some(trace)) = (traces, trace) else {
        return HeaderValue::from_static("none: this server was started without --trace");
    };
    // A large one takes a while to write.
    let number = tokio::task::spawn_blocking(move || traces.add(trace)).await;
    match number.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(number) => number.into(),
        Err(error) => {
            log::message("warn", &error);
            HeaderValue::from_static("none: the file cannot be written; the server's log says why")
        }
    }
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

/// What a caller is told whose flow ended without a reply.
const BROKEN: &str = "this request broke off inside the server: this is a defect of vtflow, its log says more";

/// In a request's metadata, with any value: keep a trace of it. In the trailers: which one it is.
pub(super) const TRACE: &str = "vtflow-trace";

/// How long the page's requests may take.
const TRACE_TIME: Duration = Duration::from_secs(60);
