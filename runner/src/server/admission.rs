//! What all requests together may take: flows under way, those that wait for their turn, bytes of requests, bytes of replies that
//! nobody has taken yet.
//!
//! Turns are given first come, first served, before any work is done. What was worked for is not refused any more: a reply waits
//! for its room, and keeps its turn meanwhile.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};
use vtflow_planner::Parts;

use super::{connections::Held, metrics::Metrics, refusal::Refusal};
use crate::net::grpc::code;

/// Requests that wait for their turn, for each that may be under way.
const WAITING_PER_FLOW: usize = 8;
/// Bytes of replies that wait for their clients, all together; at least two of the largest.
const UNSENT: usize = 128 << 20;
/// Bytes of requests that are here, all together; at least two of the largest.
const REQUESTS: usize = 64 << 20;
/// What budgets are counted in.
const UNIT: usize = 1 << 10;

/// The budgets of one server.
pub(super) struct Admission {
    flows: usize,
    turns: Arc<Semaphore>,
    /// Those who wait for a turn.
    waiting: Arc<AtomicUsize>,
    unsent: Arc<Semaphore>,
    /// Replies that wait for room.
    crowd: Arc<AtomicUsize>,
    requests: Arc<Semaphore>,
    message_bytes: usize,
    metrics: Arc<Metrics>,
}

/// The right to work. Dropping it lets the next one in.
pub(super) struct Turn(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// The room that a request, or a reply, takes while it is here.
pub(super) struct Room(Option<OwnedSemaphorePermit>);

impl Admission {
    pub(super) fn new(flows: usize, message_bytes: usize, metrics: Arc<Metrics>) -> Self {
        let units = |bytes: usize| Arc::new(Semaphore::new(units(bytes, message_bytes)));
        let flows = flows.clamp(1, 1 << 16);
        Self {
            flows,
            turns: Arc::new(Semaphore::new(flows)),
            waiting: Arc::default(),
            unsent: units(UNSENT),
            crowd: Arc::default(),
            requests: units(REQUESTS),
            message_bytes,
            metrics,
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// Too many wait already, or the time is over before the turn comes. Nothing was asked of anybody.
    pub(super) async fn turn(&self, until: Option<Instant>) -> Result<Turn, Refusal> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(Turn(permit));
        }
        let limit = self.flows * WAITING_PER_FLOW;
        let Some(_waiting) = Count::begin(&self.waiting, limit) else {
            self.metrics.refused("queue");
            let text = format!(
                "this server is busy: {} requests are under way and {limit} wait, which is all it takes (--max-flows); nothing was asked \
                 of any tablet, try again",
                self.flows
            );
            return Err(Refusal::new(code::RESOURCE_EXHAUSTED, text));
        };
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            permit = Arc::clone(&self.turns).acquire_owned() => match permit {
                Ok(permit) => Ok(Turn(permit)),
                Err(_) => Err(Refusal::new(code::UNAVAILABLE, "the server is shutting down")),
            },
            () = over => {
                self.metrics.refused("turn");
                let text = format!(
                    "context deadline exceeded: this request's turn did not come in time, {} others were under way (--max-flows); \
                     nothing was asked of any tablet",
                    self.flows
                );
                Err(Refusal::new(code::DEADLINE_EXCEEDED, text))
            }
        }
    }

    /// A reply, counted until the last of its bytes has gone. Waits for room.
    pub(super) async fn reply(&self, bytes: Bytes) -> Bytes {
        let room = self.unsent(bytes.len()).await;
        Bytes::from_owner(Counted { of: bytes, _room: room })
    }

    /// The same of one that is in parts, counted until the last of them is on its way to everybody.
    pub(super) async fn reply_in_parts(&self, parts: Parts) -> Arc<Counted<Parts>> {
        let room = self.unsent(parts.held_bytes()).await;
        Arc::new(Counted { of: parts, _room: room })
    }

    async fn unsent(&self, bytes: usize) -> Room {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.unsent).try_acquire_many_owned(units) {
            return Room(Some(permit));
        }
        let _crowd = Count::begin(&self.crowd, usize::MAX);
        // A reply larger than all of the room takes all of it.
        Room(Arc::clone(&self.unsent).acquire_many_owned(units.min(self.unsent_units())).await.ok())
    }

    /// Whether replies wait for room.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowd.load(Ordering::Relaxed) > 0
    }

    /// Refuses more work for a client that does not read what was worked for before.
    ///
    /// # Errors
    /// It has too much to read.
    pub(super) fn check(&self, held: &Held) -> Result<(), Refusal> {
        let limit = 2 * self.message_bytes;
        if held.unsent() <= limit {
            return Ok(());
        }
        self.metrics.refused("unsent");
        let text = format!("{} bytes of earlier replies wait on this connection to be read: read them first", held.unsent());
        Err(Refusal::new(code::RESOURCE_EXHAUSTED, text))
    }

    /// Nothing yet, for a request that is about to be read.
    pub(super) fn room() -> Room {
        Room(None)
    }

    /// Room for more bytes of a request; false if there is none.
    pub(super) fn grow(&self, room: &mut Room, bytes: usize) -> bool {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.requests).try_acquire_many_owned(units) else {
            self.metrics.refused("requests");
            return false;
        };
        match &mut room.0 {
            Some(before) => before.merge(permit),
            none => *none = Some(permit),
        }
        true
    }

    fn unsent_units(&self) -> u32 {
        u32::try_from(units(UNSENT, self.message_bytes)).unwrap_or(u32::MAX)
    }

    /// What is taken of all this.
    pub(super) fn occupied(&self) -> Occupied {
        let taken = |of: &Semaphore, all: usize| all.saturating_sub(of.available_permits());
        Occupied {
            flows: taken(&self.turns, self.flows),
            waiting: self.waiting.load(Ordering::Relaxed),
            request_kib: taken(&self.requests, units(REQUESTS, self.message_bytes)),
            reply_kib: taken(&self.unsent, units(UNSENT, self.message_bytes)),
        }
    }
}

/// A budget of so many bytes, in units.
fn units(bytes: usize, message_bytes: usize) -> usize {
    bytes.max(2 * message_bytes).div_ceil(UNIT).min(u32::MAX as usize)
}

/// What is taken of a server's budgets.
pub(super) struct Occupied {
    /// Turns that are given.
    pub(super) flows: usize,
    /// Those who wait for one.
    pub(super) waiting: usize,
    /// Of requests that are here.
    pub(super) request_kib: usize,
    /// Of replies that wait for their clients.
    pub(super) reply_kib: usize,
}

/// A reply, and the room that it takes.
pub(crate) struct Counted<T> {
    pub(crate) of: T,
    _room: Room,
}

impl AsRef<[u8]> for Counted<Bytes> {
    fn as_ref(&self) -> &[u8] {
        &self.of
    }
}

/// One more, until dropped.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn begin(of: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let begun = of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < limit).then_some(count + 1));
        begun.ok().map(|_| Self(Arc::clone(of)))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_and_who_is_too_many_is_told_at_once() {
        let admission = Admission::new(1, 1024, Arc::new(Metrics::new()));
        let first = admission.turn(None).await.unwrap();
        let waiting: Vec<_> = (0..WAITING_PER_FLOW).map(|_| Box::pin(admission.turn(None))).collect();
        let mut waiting: futures_util::stream::FuturesUnordered<_> = waiting.into_iter().collect();
        assert!(futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut waiting)).is_none());
        let before = Instant::now();
        let refusal = admission.turn(None).await.err().unwrap();
        assert_eq!((refusal.code, before.elapsed()), (code::RESOURCE_EXHAUSTED, Duration::ZERO));
        assert!(refusal.message.contains("1 requests are under way and 8 wait"), "{}", refusal.message);
        drop(first);
        assert!(futures_util::StreamExt::next(&mut waiting).await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_in_time_is_a_deadline() {
        let admission = Admission::new(1, 1024, Arc::new(Metrics::new()));
        let _first = admission.turn(None).await.unwrap();
        let until = Instant::now() + Duration::from_secs(3);
        let refusal = admission.turn(Some(until)).await.err().unwrap();
        assert_eq!((refusal.code, Instant::now()), (code::DEADLINE_EXCEEDED, until));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_takes_room_until_its_last_byte_has_gone() {
        let admission = Arc::new(Admission::new(1, 1024, Arc::new(Metrics::new())));
        let first = admission.reply(vec![0; UNSENT].into()).await;
        let slice = first.slice(5..6);
        drop(first);
        let mut second = Box::pin(admission.reply(vec![0; UNSENT].into()));
        assert!(futures_util::FutureExt::now_or_never(&mut second).is_none());
        assert!(admission.is_crowded());
        drop(slice);
        assert_eq!(second.await.len(), UNSENT);
        assert!(!admission.is_crowded());
        let mut room = Admission::room();
        assert!(admission.grow(&mut room, REQUESTS) && !admission.grow(&mut room, 1));
        drop(room);
        assert!(admission.grow(&mut Admission::room(), 1));
    }
}
