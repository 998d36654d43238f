//! The connections of one port: how many there may be, which has to go when there are too many, and which is closed because
//! nothing moves on it.
//!
//! A newcomer takes the place of the connection that has been idle for longest. Who has a request under way is never closed for
//! somebody else's sake, unless it does not read what it is sent. A request that waits for its own client is not under way: one
//! whose message has not come, and one that only watches.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep, sleep},
};

use super::metrics::Metrics;
use crate::{log::sparing::Sparing, net::network::Listener};

/// How long a write may make no progress.
const WRITE_TIME: Duration = Duration::from_secs(20);
/// How long a reply may wait for a client that does not take it, though its connection is alive.
const REPLY_TIME: Duration = Duration::from_secs(30);
/// The same when others wait for the room that it takes.
const REPLY_TIME_CROWDED: Duration = Duration::from_secs(2);
/// How long a connection that has sent nothing is left alone: one that was just made has its first request on the way.
const FIRST_TIME: Duration = Duration::from_millis(30);
/// How long to wait when the system gives no connection.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Bytes of a reply that are handed over at once.
const SLICE: usize = 64 << 10;

/// How many connections each port may have, gRPC's and HTTP's: what the process may open, less what tablets, the topology and files
/// need, which is half of it.
pub(super) fn caps() -> (usize, usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    let files: usize = files.unwrap_or(1024);
    ((files / 8 * 3).clamp(8, 4096), (files / 8).clamp(8, 256))
}

/// The connections of one port.
pub(super) struct Connections {
    port: &'static str,
    cap: usize,
    metrics: Arc<Metrics>,
    open: Mutex<Open>,
    refused: Sparing,
}

/// Whether there is a place for one more connection.
enum Room {
    Now,
    /// As soon as those that were just made have said something, or nothing for long enough.
    Soon,
    /// All of them have requests under way.
    Never,
}

#[derive(Default)]
struct Open {
    number: u64,
    held: BTreeMap<u64, Arc<Held>>,
}

/// What is known of one connection.
pub(super) struct Held {
    /// Requests under way.
    busy: AtomicUsize,
    /// Bytes that were received.
    received: AtomicU64,
    /// Bytes of replies that have not been handed over to the connection.
    unsent: AtomicUsize,
    times: Mutex<Times>,
    end: Notify,
}

struct Times {
    /// Something was received, or a request ended.
    active: Instant,
    /// Of a reply, something was handed over; or the first one came.
    moved: Instant,
}

/// A connection's place. Dropping it makes room.
pub(super) struct Slot {
    pub(super) held: Arc<Held>,
    number: u64,
    of: Arc<Connections>,
}

impl Connections {
    pub(super) fn new(port: &'static str, cap: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { port, cap, metrics, open: Mutex::default(), refused: Sparing::new() })
    }

    /// The next connection that there is room for. To be polled to its end: a connection that waits for room would be lost.
    ///
    /// # Errors
    /// The socket is no socket any more: nobody will ever come.
    pub(super) async fn accept<L: Listener>(self: &Arc<Self>, listener: &L) -> io::Result<(L::Incoming, Slot)> {
        loop {
            match listener.accept().await {
                Ok(stream) => {
                    let mut room = self.room();
                    while matches!(room, Room::Soon) {
                        sleep(FIRST_TIME / 3).await;
                        room = self.room();
                    }
                    if matches!(room, Room::Now) {
                        return Ok((stream, self.slot()));
                    }
                    self.metrics.connection_closed(self.port, "full");
                    self.refused.warn(
                        "connection refused: there are as many as this process can have, and all of them are at work",
                        &[("port", self.port.to_owned()), ("connections", self.cap.to_string())],
                    );
                }
                // EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP: of the socket itself.
                Err(error) if matches!(error.raw_os_error(), Some(9 | 22 | 88 | 95)) => return Err(error),
                Err(error) => {
                    // Out of files, most likely: that passes, sooner if somebody idle goes.
                    let _ = self.evict();
                    self.refused
                        .warn("no connection can be taken", &[("port", self.port.to_owned()), ("error", error.to_string())]);
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// Closes what does not move. To be called about once a second.
    pub(super) fn sweep(&self, is_crowded: bool) {
        let limit = if is_crowded { REPLY_TIME_CROWDED } else { REPLY_TIME };
        let mut open = self.open();
        let stuck: Vec<u64> = open.held.iter().filter(|(_, held)| held.is_stuck(limit)).map(|(number, _)| *number).collect();
        for number in stuck {
            open.close(number);
            self.metrics.connection_closed(self.port, "not reading");
            self.refused.warn("connection closed: its client does not read its replies", &[("port", self.port.to_owned())]);
        }
    }

    /// Whether there is room for one more, made if need be.
    fn room(&self) -> Room {
        if self.open().held.len() < self.cap { Room::Now } else { self.evict() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.open().held.len()
    }

    fn slot(self: &Arc<Self>) -> Slot {
        let now = Instant::now();
        let held = Arc::new(Held {
            busy: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            unsent: AtomicUsize::new(0),
            times: Mutex::new(Times { active: now, moved: now }),
            end: Notify::new(),
        });
        let mut open = self.open();
        open.number += 1;
        let number = open.number;
        open.held.insert(number, Arc::clone(&held));
        drop(open);
        self.metrics.connection_opened(self.port);
        Slot { held, number, of: Arc::clone(self) }
    }

    /// Closes the connection that has been idle for longest, if one is.
    fn evict(&self) -> Room {
        let mut open = self.open();
        let idle = || open.held.iter().filter(|(_, held)| held.busy.load(Ordering::Relaxed) == 0);
        let heard = idle().filter(|(_, held)| held.received() > 0 || held.times().active.elapsed() >= FIRST_TIME);
        let Some(number) = heard.min_by_key(|(_, held)| held.times().active).map(|(number, _)| *number) else {
            return if idle().next().is_some() { Room::Soon } else { Room::Never };
        };
        open.close(number);
        self.metrics.connection_closed(self.port, "idle");
        Room::Now
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Its place is free at once; the task that serves it ends in a moment.
    fn close(&mut self, number: u64) {
        if let Some(held) = self.held.remove(&number) {
            held.end.notify_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of.open().held.remove(&self.number);
        self.of.metrics.connection_gone(self.of.port);
    }
}

impl Held {
    /// Ends when the connection has to go.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
    }

    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes of replies that its client has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// A request is under way as long as what is returned is there.
    pub(super) fn work(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// A request that is under way waits for its client, who may take for ever: as long as what is returned is there, it keeps no
    /// place.
    pub(super) fn rest(self: &Arc<Self>) -> Resting {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        Resting(Arc::clone(self))
    }

    fn is_stuck(&self, limit: Duration) -> bool {
        self.unsent() > 0 && self.times().moved.elapsed() >= limit
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way.
pub(super) struct Busy(Arc<Held>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.times().active = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request under way that waits for its client.
pub(super) struct Resting(Arc<Held>);

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of a reply on its way out: in slices, so that it is seen to move, and counted as long as it waits.
pub(super) struct Outgoing<B> {
    body: B,
    /// Of the last frame, what has not been handed over.
    rest: Bytes,
    waiting: usize,
    held: Arc<Held>,
    /// The request is under way until its reply has gone.
    _busy: Option<Busy>,
}

impl<B: http_body::Body<Data = Bytes>> Outgoing<B> {
    pub(super) fn new(body: B, held: Arc<Held>, busy: Option<Busy>) -> Self {
        let waiting = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        if waiting > 0 && held.unsent.fetch_add(waiting, Ordering::Relaxed) == 0 {
            held.times().moved = Instant::now();
        }
        Self { body, rest: Bytes::new(), waiting, held, _busy: busy }
    }

    fn hand_over(&mut self) -> Bytes {
        let slice = self.rest.split_to(self.rest.len().min(SLICE));
        let counted = slice.len().min(self.waiting);
        self.waiting -= counted;
        self.held.unsent.fetch_sub(counted, Ordering::Relaxed);
        self.held.times().moved = Instant::now();
        slice
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let slice = self.hand_over();
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

impl<B> Drop for Outgoing<B> {
    fn drop(&mut self) {
        self.held.unsent.fetch_sub(self.waiting, Ordering::Relaxed);
    }
}

/// A connection whose bytes are counted, and whose writes may not stand still.
pub(super) struct Watched<S> {
    stream: S,
    held: Arc<Held>,
    /// Since a write stands still.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, held: Arc<Held>) -> Self {
        Self { stream, held, patience: None }
    }

    fn patiently<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.patience = None;
            return polled;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(WRITE_TIME)));
        ready!(patience.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let received = buffer.filled().len() - before;
        if received > 0 {
            self.held.received.fetch_add(received as u64, Ordering::Relaxed);
            self.held.times().active = Instant::now();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.patiently(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.patiently(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.patiently(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.patiently(polled, context)
    }
}
