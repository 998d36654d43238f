//! One connection that many callers share: dialed once at a time, and a failed dial is everybody's failure who waited for it.
//!
//! vtctld dials while holding a lock, so N reads of a dead cell take N times the dial timeout (`go/vt/topo/server.go:ConnForCell`).
//! Here those who waited for a dial that failed take its failure instead of dialing themselves.

use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

/// A connection that many callers share, or the place for one.
pub(crate) struct SharedConnection<T> {
    /// Held while dialing. Apart from the state, so that forgetting a connection waits for nobody.
    dialing: tokio::sync::Mutex<()>,
    state: Mutex<State<T>>,
}

/// The connection, as one caller has it.
pub(crate) struct Leased<T> {
    pub(crate) connection: T,
    /// Which dial it came from.
    generation: u64,
    /// Whether this very call dialed it: if it breaks at once, there is no use in trying again.
    pub(crate) fresh: bool,
}

struct State<T> {
    up: Option<T>,
    generation: u64,
    failed: Option<(Instant, String)>,
}

impl<T: Clone> SharedConnection<T> {
    pub(crate) fn new() -> Self {
        Self { dialing: tokio::sync::Mutex::default(), state: Mutex::new(State { up: None, generation: 0, failed: None }) }
    }

    /// The connection; dials if there is none. Dropping the future while it dials leaves the dial to the next caller.
    ///
    /// # Errors
    ///
    /// The text of the failed dial, this call's own or one that it waited for.
    pub(crate) async fn lease(&self, dial: impl Future<Output = Result<T, String>>) -> Result<Leased<T>, String> {
        let arrived = Instant::now();
        let _dialing = self.dialing.lock().await;
        {
            let state = self.state();
            if let Some(connection) = &state.up {
                return Ok(Leased { connection: connection.clone(), generation: state.generation, fresh: false });
            }
            if let Some((at, cause)) = &state.failed
                && *at >= arrived
            {
                return Err(cause.clone());
            }
        }
        let outcome = dial.await;
        let mut state = self.state();
        match outcome {
            Ok(connection) => {
                state.generation += 1;
                state.failed = None;
                state.up = Some(connection.clone());
                Ok(Leased { connection, generation: state.generation, fresh: true })
            }
            Err(cause) => {
                state.failed = Some((Instant::now(), cause.clone()));
                Err(cause)
            }
        }
    }

    /// Forgets a connection that broke, so that the next caller dials. A newer one stays. Waits for no dial. Returns whether it was
    /// the one in use: of many who find the same connection broken, one is told so.
    pub(crate) fn forget(&self, broken: &Leased<T>) -> bool {
        let mut state = self.state();
        state.generation == broken.generation && state.up.take().is_some()
    }

    /// Held for a moment only, never while waiting.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn waiters_share_a_failed_dial_and_later_callers_dial_again() {
        let shared = SharedConnection::<u32>::new();
        let dials = AtomicU32::new(0);
        let dial = || async {
            dials.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err("connection refused".to_owned())
        };
        let outcomes = join_all((0..20).map(|_| shared.lease(dial()))).await;
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_some_and(|cause| cause == "connection refused")));
        assert_eq!(dials.load(Ordering::SeqCst), 1);
        assert!(shared.lease(dial()).await.is_err());
        assert_eq!(dials.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn forgetting_an_old_connection_keeps_the_new_one() {
        let shared = SharedConnection::<u32>::new();
        let first = shared.lease(async { Ok(1) }).await.unwrap();
        assert!(first.fresh);
        assert!(shared.forget(&first));
        assert!(!shared.forget(&first), "the second who says so is late");
        let second = shared.lease(async { Ok(2) }).await.unwrap();
        assert!(!shared.forget(&first));
        let third = shared.lease(async { Ok(3) }).await.unwrap();
        assert_eq!((second.connection, third.connection, third.fresh), (2, 2, false));
    }

    #[tokio::test]
    async fn a_dropped_dial_is_taken_over_by_the_next_caller() {
        let shared = SharedConnection::<u32>::new();
        let dropped = tokio::time::timeout(Duration::from_millis(20), shared.lease(std::future::pending())).await;
        assert!(dropped.is_err());
        assert_eq!(shared.lease(async { Ok(7) }).await.unwrap().connection, 7);
    }
}
