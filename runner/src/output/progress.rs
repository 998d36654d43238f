//! A line on stderr for work that takes longer than half a second: how many tablets have answered, how many failed, who is slow.
//!
//! There is one stderr, so there is one line, however many requests are under way at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use vtflow_planner::{Answer, Ask, AskId, FailureKind, What};

use crate::observe::Observer;

/// Before this there is nothing to say.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a terminal's line is redrawn.
const REDRAW: Duration = Duration::from_millis(250);
/// How often a new line is written where lines cannot be redrawn.
const REPEAT: Duration = Duration::from_secs(5);

/// Watches a request and, if it takes long, says so until it is dropped.
pub struct Progress {
    line: Arc<ProgressLine>,
    /// Which of the requests that share the line.
    request: u64,
}

/// The line that is drawn now, if any.
static DRAWN: Mutex<Weak<ProgressLine>> = Mutex::new(Weak::new());

/// One line for all requests that are under way together.
struct ProgressLine {
    state: Arc<Mutex<State>>,
    writer: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    tablets: BTreeSet<String>,
    /// Those of the tablets that failed to answer something.
    failed_tablets: BTreeSet<String>,
    /// Asks of the topology that were answered.
    answered: usize,
    /// Likewise, that failed.
    failed: usize,
    requests: u64,
    waiting: BTreeMap<(u64, AskId), (String, Instant)>,
    is_drawn: bool,
}

impl Progress {
    /// Starts watching. Needs a tokio runtime.
    pub fn start() -> Self {
        let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
        let line = drawn.upgrade().unwrap_or_else(|| Arc::new(ProgressLine::start()));
        *drawn = Arc::downgrade(&line);
        let mut progress = Self { line, request: 0 };
        progress.request = progress.change(|state| {
            state.requests += 1;
            state.requests
        });
        progress
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.line.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // What this request waits for, nobody waits for any more.
        let request = self.request;
        self.change(|state| state.waiting.retain(|(of, _), _| *of != request));
    }
}

impl ProgressLine {
    fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let writer = tokio::spawn(write(Arc::clone(&state), io::stderr().is_terminal()));
        Self { state, writer }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.writer.abort();
        // Under the lock, so that the writer is not in the middle of a line.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_drawn && io::stderr().is_terminal() {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
        state.is_drawn = false;
    }
}

impl Observer for Progress {
    fn asked(&self, ask: &Ask) {
        self.change(|state| {
            if let Some(alias) = tablet_of(ask) {
                state.tablets.insert(alias.to_owned());
            }
            let place = vtflow_screen::waited_for(&ask.what);
            state.waiting.insert((self.request, ask.id), (place, Instant::now()));
        });
    }

    fn answered(&self, ask: &Ask, _: &Answer, _: Duration) {
        self.change(|state| {
            state.waiting.remove(&(self.request, ask.id));
            if tablet_of(ask).is_none() {
                state.answered += 1;
            }
        });
    }

    fn failed(&self, ask: &Ask, _: FailureKind, _: &str, _: Duration) {
        self.change(|state| {
            state.waiting.remove(&(self.request, ask.id));
            match tablet_of(ask) {
                Some(alias) => {
                    state.failed_tablets.insert(alias.to_owned());
                }
                None => state.failed += 1,
            }
        });
    }
}

/// The tablet that is asked; `None` of the topology.
fn tablet_of(ask: &Ask) -> Option<&str> {
    match &ask.what {
        What::TabletCall { tablet, .. } => Some(&tablet.alias),
        What::TabletPage { tablet, .. } => Some(&tablet.alias),
        _ => None,
    }
}

async fn write(state: Arc<Mutex<State>>, is_terminal: bool) {
    sleep(PATIENCE).await;
    loop {
        {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let line = line(&state, Instant::now());
            let mut err = io::stderr().lock();
            let _ =
                if is_terminal { write!(err, "\r\u{1b}[K{line}").and_then(|()| err.flush()) } else { writeln!(err, "{line}") };
            state.is_drawn = true;
        }
        sleep(if is_terminal { REDRAW } else { REPEAT }).await;
    }
}

/// Such as `reading 256 tablets: 198 answered, 2 failed, 56 waiting (slowest zone3-0000000412, 4.1s)`.
fn line(state: &State, now: Instant) -> String {
    let what = match state.tablets.len() {
        0 => "reading the topology".to_owned(),
        1 => "reading 1 tablet".to_owned(),
        n => format!("reading {n} tablets"),
    };
    let slowest = state.waiting.values().min_by_key(|(_, since)| *since);
    let slowest = slowest.map_or_else(String::new, |(place, since)| {
        format!(" (slowest {place}, {:.1}s)", now.saturating_duration_since(*since).as_secs_f64())
    });
    let (answered, failed, waiting) = counts(state);
    format!("{what}: {answered} answered, {failed} failed, {waiting} waiting{slowest}")
}

/// How many have answered, failed, and are waited for: tablets, each of them once however often it is asked, or, while only the topology is read,
/// its answers.
fn counts(state: &State) -> (usize, usize, usize) {
    if state.tablets.is_empty() {
        return (state.answered, state.failed, state.waiting.len());
    }
    let waiting: BTreeSet<&String> =
        state.waiting.values().map(|(place, _)| place).filter(|place| state.tablets.contains(*place)).collect();
    let failed = state.failed_tablets.iter().filter(|tablet| !waiting.contains(tablet)).count();
    (state.tablets.len().saturating_sub(failed + waiting.len()), failed, waiting.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_slowest() {
        let now = Instant::now();
        let mut state = State { answered: 198, failed: 2, ..State::default() };
        assert_eq!(line(&state, now), "reading the topology: 198 answered, 2 failed, 0 waiting");
        let tablets = ["zone1-0000000100", "zone1-0000000200", "zone2-0000000300", "zone3-0000000412"];
        state.tablets.extend(tablets.map(String::from));
        state.failed_tablets.insert("zone2-0000000300".into());
        state.waiting.insert((1, AskId(1)), ("zone3-0000000412".into(), now));
        state.waiting.insert((1, AskId(2)), ("zone3-0000000412".into(), now + Duration::from_secs(1)));
        let late = now + Duration::from_millis(4100);
        assert_eq!(line(&state, late), "reading 4 tablets: 2 answered, 1 failed, 1 waiting (slowest zone3-0000000412, 4.1s)");
    }

    #[tokio::test]
    async fn requests_at_once_share_a_line() {
        let (one, two) = (Progress::start(), Progress::start());
        assert!(Arc::ptr_eq(&one.line, &two.line), "one writer");
        let alone = one.line.state.lock().unwrap().requests;
        assert_ne!(one.request, two.request, "their asks have the same numbers");
        drop(one);
        assert_eq!(two.line.state.lock().unwrap().requests, alone, "the other goes on");
    }
}
