//! The log's way out: lines are put into a queue, and one thread writes them to stderr. Nobody who serves ever waits for whoever
//! reads the log.
//!
//! The queue is bounded. When it is full, lines are dropped, counted, and the next line that gets through says how many. Lines
//! that tell of changes have room of their own.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::Write as _,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::logfmt::timestamp;

/// Lines that wait at most. With the bounds of each line's values: about 4 MB.
const LINES: usize = 1024;
/// Lines about changes have so many more.
const MORE_FOR_AUDIT: usize = 1024;

/// Which room a line takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// An RPC's end, something about the server, or a change that was refused before it began.
    Common,
    /// A change and what became of it.
    Audit,
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: VecDeque<String>,
    /// Dropped and not told of yet.
    dropped: u64,
    /// Dropped since the process began.
    dropped_ever: u64,
    has_writer: bool,
    is_writing: bool,
}

/// One for the process, as stderr is.
static QUEUE: Queue = Queue {
    state: Mutex::new(State { lines: VecDeque::new(), dropped: 0, dropped_ever: 0, has_writer: false, is_writing: false }),
    changed: Condvar::new(),
};

/// Puts a line into the queue. Never waits.
pub(crate) fn put(line: String, room: Room) {
    let mut state = lock();
    let limit = match room {
        Room::Common => LINES,
        Room::Audit => LINES + MORE_FOR_AUDIT,
    };
    if state.lines.len() >= limit {
        state.dropped += 1;
        state.dropped_ever += 1;
        return;
    }
    state.lines.push_back(line);
    if !state.has_writer {
        state.has_writer = std::thread::Builder::new().name("log".to_owned()).spawn(write).is_ok();
    }
    drop(state);
    QUEUE.changed.notify_all();
}

/// Lines that were dropped since the process began.
pub(crate) fn dropped() -> u64 {
    lock().dropped_ever
}

/// Waits until all lines are written, but not long: whoever reads them may have stopped.
pub(crate) fn flush(patience: Duration) {
    let until = Instant::now() + patience;
    let mut state = lock();
    while state.is_writing || !state.lines.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        state = QUEUE.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn write() {
    loop {
        let mut state = lock();
        while state.lines.is_empty() {
            state = QUEUE.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let dropped = std::mem::take(&mut state.dropped);
        let line = state.lines.pop_front().unwrap_or_default();
        state.is_writing = true;
        drop(state);
        let mut text = String::new();
        if dropped > 0 {
            let at = timestamp();
            // Writing to a String does not fail.
            let _ =
                writeln!(text, "time={at} level=warn msg=\"log lines were dropped: nobody read them in time\" dropped={dropped}");
        }
        text.push_str(&line);
        text.push('\n');
        // The one place of a server that may wait for a reader. One that has gone away is no error.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        lock().is_writing = false;
        QUEUE.changed.notify_all();
    }
}

fn lock() -> MutexGuard<'static, State> {
    QUEUE.state.lock().unwrap_or_else(PoisonError::into_inner)
}
