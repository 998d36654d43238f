//! One direction of a connection: bytes arrive in order, each write after the latency of its moment.
//!
//! How long a byte takes depends on how many writes came before it and never on how many bytes they had: what peers write (a date, a
//! number of a request) has not the same length every time.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{io::ReadBuf, time::Instant};

use crate::random::Random;

/// Bytes that are under way at most: the buffers of two kernels.
const CAPACITY: usize = 512 << 10;

/// How long bytes take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

pub(crate) struct Pipe(Mutex<State>);

struct State {
    queue: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// When what was written last arrives: nothing overtakes it.
    last: Instant,
    latency: Latency,
    random: Random,
    ended: Option<Instant>,
    broken: Option<io::ErrorKind>,
    /// Nothing arrives for now.
    is_frozen: bool,
    has_reader: bool,
    is_refused: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl State {
    fn arrival(&mut self) -> Instant {
        let (least, most) = (self.latency.least.as_micros(), self.latency.most.as_micros());
        let [least, most] = [least, most].map(|micros| u64::try_from(micros).unwrap_or(u64::MAX));
        let took = Duration::from_micros(self.random.between(least, most));
        self.last = self.last.max(Instant::now() + took);
        self.last
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// What a reader finds.
pub(crate) enum Found {
    /// Some bytes, or the end.
    Read,
    /// Nothing before that moment.
    Later(Instant),
    /// Nothing until somebody writes.
    Nothing,
}

impl Pipe {
    pub(crate) fn new(latency: Latency, random: Random) -> Self {
        Self(Mutex::new(State {
            queue: VecDeque::new(),
            bytes: 0,
            last: Instant::now(),
            latency,
            random,
            ended: None,
            broken: None,
            is_frozen: false,
            has_reader: true,
            is_refused: false,
            reader: None,
            writer: None,
        }))
    }

    pub(crate) fn read(&self, context: &Context<'_>, into: &mut ReadBuf<'_>) -> io::Result<Found> {
        let mut state = self.state();
        if let Some(kind) = state.broken {
            return Err(kind.into());
        }
        state.reader = Some(context.waker().clone());
        if state.is_frozen {
            return Ok(Found::Nothing);
        }
        let now = Instant::now();
        let mut has_read = false;
        while let Some((arrival, bytes)) = state.queue.front_mut() {
            if *arrival > now {
                return Ok(if has_read { Found::Read } else { Found::Later(*arrival) });
            }
            if into.remaining() == 0 {
                break;
            }
            let count = bytes.len().min(into.remaining());
            into.put_slice(bytes.get(..count).unwrap_or_default());
            bytes.advance(count);
            let is_empty = bytes.is_empty();
            has_read = true;
            state.bytes -= count;
            if is_empty {
                state.queue.pop_front();
            }
            if let Some(writer) = state.writer.take() {
                writer.wake();
            }
        }
        if has_read {
            return Ok(Found::Read);
        }
        Ok(match state.ended {
            Some(ended) if ended <= now => Found::Read,
            Some(ended) => Found::Later(ended),
            None => Found::Nothing,
        })
    }

    pub(crate) fn write(&self, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if let Some(kind) = state.broken {
            return Poll::Ready(Err(kind.into()));
        }
        if !state.has_reader || state.is_refused {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(CAPACITY.saturating_sub(state.bytes));
        if count == 0 && !bytes.is_empty() {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let arrival = state.arrival();
        state.bytes += count;
        state.queue.push_back((arrival, Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default())));
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    /// Its writer writes no more.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        if state.ended.is_none() {
            let arrival = state.arrival();
            state.ended = Some(arrival);
            state.wake();
        }
    }

    /// Its reader has gone.
    pub(crate) fn unread(&self) {
        let mut state = self.state();
        state.has_reader = false;
        state.wake();
    }

    /// What is under way is lost, and both ends hear of it.
    pub(crate) fn break_off(&self, kind: io::ErrorKind) {
        let mut state = self.state();
        state.broken.get_or_insert(kind);
        state.wake();
    }

    /// Nothing more can be written; what is under way arrives, and then the end.
    pub(crate) fn refuse(&self) {
        self.end();
        self.state().is_refused = true;
    }

    pub(crate) fn freeze(&self, is_frozen: bool) {
        let mut state = self.state();
        state.is_frozen = is_frozen;
        state.wake();
    }

    pub(crate) fn set_latency(&self, latency: Latency) {
        self.state().latency = latency;
    }

    /// Whether something has been written that has not been read.
    pub(crate) fn is_pending(&self) -> bool {
        !self.state().queue.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
