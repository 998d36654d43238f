//! Equal reads that are under way at once are one: those who ask while it runs wait for its answer.
//!
//! A page that forty people have open is read once, not forty times. Whoever goes away early takes nothing from the others: the work stops when
//! the last one has gone. What is shared is never old: only reads begun less than [`JOINABLE`] ago are joined, and none that
//! began before a change went through this server. A read ends at its deadline with what is known then, so it is joined only by who would
//! not have waited much longer: by a tenth of the time that he has, at most.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::time::Instant;

/// What a request is, as far as its answer depends on it.
pub(super) type Key = (&'static str, Bytes);

/// A read under way, to be awaited by any number of callers.
pub(super) type Running<T> = Shared<BoxFuture<'static, T>>;

/// The reads under way.
pub(super) struct SingleFlight<T: Clone> {
    state: Arc<Mutex<State<T>>>,
}

struct State<T: Clone> {
    /// Those of one key are of different deadlines, or no longer joined; the newest is the last.
    flights: BTreeMap<Key, Vec<Flight<T>>>,
    /// Of the latest flight.
    number: u64,
    /// Flights up to this number began before a change.
    outdated: u64,
}

struct Flight<T: Clone> {
    number: u64,
    begun: Instant,
    until: Instant,
    running: WeakShared<BoxFuture<'static, T>>,
}

/// How long after its beginning a read may be joined: what was changed elsewhere meanwhile may be missing from its answer.
const JOINABLE: Duration = Duration::from_secs(2);

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    pub(super) fn new() -> Self {
        Self { state: Arc::new(Mutex::new(State { flights: BTreeMap::new(), number: 0, outdated: 0 })) }
    }

    /// The answer to a request whose caller waits until `until`: of the equal read that is under way and ends no later, else of
    /// `work`, begun now, which ends by itself at `until`. The flag is true for a read that others began.
    pub(super) fn join(&self, key: Key, until: Instant, work: impl FnOnce() -> BoxFuture<'static, T>) -> (Running<T>, bool) {
        let now = Instant::now();
        let earliest = until - until.saturating_duration_since(now) / 10;
        let mut state = lock(&self.state);
        let outdated = state.outdated;
        let is_joinable = |flight: &&Flight<T>| {
            flight.number > outdated && now.duration_since(flight.begun) < JOINABLE && (earliest..=until).contains(&flight.until)
        };
        let mut joinable = state.flights.get(&key).into_iter().flatten().rev().filter(is_joinable);
        if let Some(running) = joinable.find_map(|flight| flight.running.upgrade()) {
            return (running, true);
        }
        state.number += 1;
        let number = state.number;
        let landing = Landed { state: Arc::clone(&self.state), key: key.clone(), number };
        let work = work();
        let running: Running<T> = async move {
            let _landing = landing;
            work.await
        }
        .boxed()
        .shared();
        if let Some(weak) = running.downgrade() {
            state.flights.entry(key).or_default().push(Flight { number, begun: now, until, running: weak });
        }
        (running, false)
    }

    /// Something may have changed: reads that are under way are joined by nobody any more.
    pub(super) fn invalidate(&self) {
        let mut state = lock(&self.state);
        state.outdated = state.number;
    }

    /// How many reads are under way that could be found.
    pub(super) fn len(&self) -> usize {
        lock(&self.state).flights.values().map(Vec::len).sum()
    }
}

/// Takes a read off the list when it ends, by its answer or because everybody left.
struct Landed<T: Clone> {
    state: Arc<Mutex<State<T>>>,
    key: Key,
    number: u64,
}

impl<T: Clone> Drop for Landed<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(flights) = state.flights.get_mut(&self.key) {
            flights.retain(|flight| flight.number != self.number);
            if flights.is_empty() {
                state.flights.remove(&self.key);
            }
        }
    }
}

fn lock<T: Clone>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn key(request: &'static [u8]) -> Key {
        ("/a.B/C", Bytes::from_static(request))
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    struct Counted {
        begun: Arc<AtomicU32>,
        ended: Arc<AtomicU32>,
    }

    impl Counted {
        fn new() -> Self {
            Self { begun: Arc::default(), ended: Arc::default() }
        }

        fn work(&self) -> BoxFuture<'static, u32> {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let ended = Arc::clone(&self.ended);
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                ended.fetch_add(1, Ordering::SeqCst);
                number
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn equal_requests_share_and_others_do_not() {
        let (flights, counted) = (SingleFlight::new(), Counted::new());
        let (first, joined) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        assert!(!joined);
        let (second, joined) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        assert!(joined);
        let (third, joined) = flights.join(key(b"y"), in_seconds(60), || counted.work());
        assert!(!joined);
        assert_eq!(tokio::join!(first, second, third), (1, 1, 2));
        assert_eq!(flights.len(), 0);
        let (again, joined) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        assert!(!joined, "what has ended is not joined");
        assert_eq!(again.await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_harms_nobody_and_the_last_one_ends_the_work() {
        let (flights, counted) = (SingleFlight::new(), Counted::new());
        let (mut first, _) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        assert!((&mut first).now_or_never().is_none());
        let (second, _) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        drop(first);
        assert_eq!(second.await, 1);

        let (mut alone, _) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        assert!((&mut alone).now_or_never().is_none());
        drop(alone);
        assert_eq!(flights.len(), 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((counted.begun.load(Ordering::SeqCst), counted.ended.load(Ordering::SeqCst)), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_from_before_a_change_or_long_ago_is_not_joined() {
        let (flights, counted) = (SingleFlight::new(), Counted::new());
        let (first, _) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        flights.invalidate();
        let (second, joined) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        assert!(!joined);
        drop(first);
        assert_eq!(flights.len(), 1, "the newer one stays when the older one ends");
        tokio::time::advance(JOINABLE).await;
        let (third, joined) = flights.join(key(b"x"), in_seconds(60), || counted.work());
        assert!(!joined);
        assert_eq!((second.await, third.await), (2, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_joined_by_who_waits_a_little_longer_and_by_nobody_else() {
        let (flights, counted) = (SingleFlight::new(), Counted::new());
        let until = in_seconds(90);
        let join = |wait| flights.join(key(b"x"), in_seconds(wait), || counted.work());
        let (read, joined) = flights.join(key(b"x"), until, || counted.work());
        assert!(!joined);
        for wait in [90, 95, 100] {
            assert!(join(wait).1, "{wait} s");
        }
        // With less time he would be told of the deadline after it; with more he could learn more.
        let others = [89, 101].map(join);
        assert!(!others[0].1 && !others[1].1);
        assert_eq!(flights.len(), 3);
        assert!(join(90).1, "each is joined by its own, whatever came later");
        assert!(join(89).1 && join(101).1);
        let [(short, _), (long, _)] = others;
        assert_eq!(tokio::join!(read, short, long), (1, 2, 3));
        assert_eq!(flights.len(), 0);
    }
}
