//! Watching a request on its way: what is asked, what was answered, how long it took.
//!
//! An observer sees everything and changes nothing. The progress line, traces and metrics are observers.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use vtflow_planner::{Answer, Ask, FailureKind, What};

/// Who watches. Each method may be left out.
pub trait Observer: Send + Sync {
    /// An ask was handed to the topology or a tablet.
    fn asked(&self, ask: &Ask) {
        let _ = ask;
    }

    /// A tablet call left, its turn having come. What asks the topology leaves when it is asked.
    fn sent(&self, ask: &Ask) {
        let _ = ask;
    }

    /// An ask was answered, by anything but a failure: a record that is missing is an answer.
    fn answered(&self, ask: &Ask, answer: &Answer, took: Duration) {
        let _ = (ask, answer, took);
    }

    /// An ask failed.
    fn failed(&self, ask: &Ask, kind: FailureKind, message: &str, took: Duration) {
        let _ = (ask, kind, message, took);
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Observer for Nobody {}

/// Two observers at once.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn asked(&self, ask: &Ask) {
        self.0.asked(ask);
        self.1.asked(ask);
    }

    fn sent(&self, ask: &Ask) {
        self.0.sent(ask);
        self.1.sent(ask);
    }

    fn answered(&self, ask: &Ask, answer: &Answer, took: Duration) {
        self.0.answered(ask, answer, took);
        self.1.answered(ask, answer, took);
    }

    fn failed(&self, ask: &Ask, kind: FailureKind, message: &str, took: Duration) {
        self.0.failed(ask, kind, message, took);
        self.1.failed(ask, kind, message, took);
    }
}

impl<T: Observer + ?Sized> Observer for &T {
    fn asked(&self, ask: &Ask) {
        (**self).asked(ask);
    }

    fn sent(&self, ask: &Ask) {
        (**self).sent(ask);
    }

    fn answered(&self, ask: &Ask, answer: &Answer, took: Duration) {
        (**self).answered(ask, answer, took);
    }

    fn failed(&self, ask: &Ask, kind: FailureKind, message: &str, took: Duration) {
        (**self).failed(ask, kind, message, took);
    }
}

/// Counts what a request cost.
#[derive(Debug, Default)]
pub struct Counts {
    sums: Mutex<Sums>,
}

/// What a request cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Records asked for one by one.
    pub topology_gets: u64,
    /// Directories asked for, with their records' values or without.
    pub topology_ranges: u64,
    /// Locks taken and given back.
    pub topology_locks: u64,
    /// Topology records written.
    pub topology_puts: u64,
    /// Tablet calls.
    pub tablet_calls: u64,
    /// Pages of tablets.
    pub tablet_pages: u64,
    /// Asks that failed.
    pub failures: u64,
    /// The deepest round of any ask.
    pub rounds: u32,
    /// Bytes of requests to tablets.
    pub request_bytes: u64,
    /// Bytes of values and responses in answers.
    pub answer_bytes: u64,
}

impl Counts {
    /// The counts so far.
    pub fn sums(&self) -> Sums {
        *self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Sums)) {
        change(&mut self.sums.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Observer for Counts {
    fn asked(&self, ask: &Ask) {
        self.count(|sums| {
            sums.rounds = sums.rounds.max(ask.round);
            match &ask.what {
                What::TopoGet { .. } => sums.topology_gets += 1,
                What::TopoRange { .. } | What::TopoList { .. } => sums.topology_ranges += 1,
                What::TopoPut { .. } | What::TopoDelete { .. } => sums.topology_puts += 1,
                What::TopoLock { .. } | What::TopoUnlock { .. } => sums.topology_locks += 1,
                What::TabletCall { request, .. } => {
                    sums.tablet_calls += 1;
                    sums.request_bytes += request.len() as u64;
                }
                What::TabletPage { .. } => sums.tablet_pages += 1,
            }
        });
    }

    fn answered(&self, _: &Ask, answer: &Answer, _: Duration) {
        let bytes = match answer {
            Answer::Found { value, .. } => value.len() as u64,
            Answer::Range(records) => records.iter().map(|record| record.value.len() as u64).sum(),
            Answer::Called(response) => response.len() as u64,
            Answer::Missing { .. }
            | Answer::Failed { .. }
            | Answer::Locked
            | Answer::Unlocked
            | Answer::Stored { .. }
            | Answer::Deleted => 0,
        };
        self.count(|sums| sums.answer_bytes += bytes);
    }

    fn failed(&self, _: &Ask, _: FailureKind, _: &str, _: Duration) {
        self.count(|sums| sums.failures += 1);
    }
}
