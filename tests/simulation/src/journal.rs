//! What happened, line by line, with the simulated time: the hash of all lines says whether two runs were the same.
//!
//! Also the violations that the checkers have found, and the counts of what was done.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What is kept of a run.
pub struct Journal {
    begun: Instant,
    keeps: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hash: u64,
    lines: Vec<String>,
    count: u64,
    violations: Vec<String>,
    counts: BTreeMap<(&'static str, String), u64>,
}

/// What is left of a run when it has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Of all lines.
    pub hash: u64,
    /// All lines, if they were to be kept.
    pub lines: Vec<String>,
    /// How many lines there were.
    pub events: u64,
    /// What should not be, with the time.
    pub violations: Vec<String>,
    /// What was done how often: by kind (fault, request, reply) and name.
    pub counts: BTreeMap<(&'static str, String), u64>,
    /// How long it took, in simulated time.
    pub simulated: Duration,
}

impl Journal {
    /// An empty one; time counts from now. Lines are kept if they are to be read.
    pub fn new(keeps: bool) -> Self {
        let state = State { hash: 0xcbf2_9ce4_8422_2325, ..State::default() };
        Self { begun: Instant::now(), keeps, state: Mutex::new(state) }
    }

    /// One more line.
    pub fn event(&self, who: &str, what: impl Display) {
        let line = format!("{} {who}: {what}", self.time());
        let mut state = self.state();
        for byte in line.bytes().chain([b'\n']) {
            state.hash = (state.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state.count += 1;
        if self.keeps {
            state.lines.push(line);
        }
    }

    /// Something that should not be.
    pub fn violation(&self, checker: &'static str, what: impl Display) {
        let text = format!("{checker}: {what}");
        self.event("VIOLATION", &text);
        let at = self.time();
        let mut state = self.state();
        let count = state.counts.entry(("violation", checker.to_owned())).or_default();
        *count += 1;
        if *count <= VIOLATIONS {
            state.violations.push(format!("{at} {text}"));
        }
    }

    /// One more of a kind.
    pub fn count(&self, kind: &'static str, name: impl Into<String>) {
        *self.state().counts.entry((kind, name.into())).or_default() += 1;
    }

    /// What there is by now.
    pub fn record(&self) -> Record {
        let state = self.state();
        Record {
            hash: state.hash,
            lines: state.lines.clone(),
            events: state.count,
            violations: state.violations.clone(),
            counts: state.counts.clone(),
            simulated: self.begun.elapsed(),
        }
    }

    fn time(&self) -> String {
        let millis = self.begun.elapsed().as_millis();
        format!("[{:>4}.{:03}]", millis / 1000, millis % 1000)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Violations of each checker that are told; the others are counted.
const VIOLATIONS: u64 = 5;
