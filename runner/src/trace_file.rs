//! Writing down a flow as it goes, and reading it back: the file form of [`vtflow_planner::trace`], a line of JSON for each flow.
//!
//! A recorder is an observer: nothing is recorded, and nothing costs anything, unless somebody asked for a trace.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use vtflow_files::{given_file, private_file};
use vtflow_planner::{
    Answer, Ask, AskId, Call, FailureKind, Reply, Timestamp,
    trace::{FORMAT, Planner, Trace, Traced},
};

use crate::{observe::Observer, planner_host::PlannerHost};

/// Writes down one flow.
pub struct Recorder {
    started: Instant,
    asks: Mutex<Asks>,
}

#[derive(Default)]
struct Asks {
    traced: Vec<Traced>,
    answered: u32,
}

impl Recorder {
    /// From now on.
    #[allow(clippy::new_without_default, reason = "it starts a clock")]
    pub fn new() -> Self {
        Self { started: Instant::now(), asks: Mutex::default() }
    }

    /// The trace of a flow that has ended, and who decided in it.
    pub fn ended(self, planner: Planner, call: &Call, now: Timestamp, reply: &Reply) -> Trace {
        let took_us = micros(self.started.elapsed());
        let mut asks = self.asks.into_inner().unwrap_or_else(PoisonError::into_inner).traced;
        asks.sort_by_key(|traced| traced.ask.id);
        let reply = Some(reply.clone());
        Trace { vtflow_trace: FORMAT, planner, call: call.clone(), now, redacted: false, asks, reply, took_us }
    }

    fn change(&self, change: impl FnOnce(&mut Asks, u64)) {
        let at = micros(self.started.elapsed());
        change(&mut self.asks.lock().unwrap_or_else(PoisonError::into_inner), at);
    }

    fn told(&self, id: AskId, answer: Answer) {
        self.change(|asks, at| {
            let order = asks.answered;
            asks.answered += 1;
            if let Some(traced) = asks.traced.iter_mut().find(|traced| traced.ask.id == id) {
                (traced.answered_us, traced.order, traced.answer) = (Some(at), Some(order), Some(answer));
            }
        });
    }
}

impl Observer for Recorder {
    fn asked(&self, ask: &Ask) {
        self.change(|asks, asked_us| {
            asks.traced.push(Traced { ask: ask.clone(), asked_us, sent_us: None, answered_us: None, order: None, answer: None });
        });
    }

    fn sent(&self, ask: &Ask) {
        self.change(|asks, at| {
            if let Some(traced) = asks.traced.iter_mut().find(|traced| traced.ask.id == ask.id) {
                traced.sent_us = Some(at);
            }
        });
    }

    fn answered(&self, ask: &Ask, answer: &Answer, _: Duration) {
        self.told(ask.id, answer.clone());
    }

    fn failed(&self, ask: &Ask, kind: FailureKind, message: &str, _: Duration) {
        self.told(ask.id, Answer::Failed { kind, message: message.to_owned() });
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Where traces go: a file that only its owner may read, since it holds what the rows hold.
pub struct TraceFile {
    path: PathBuf,
    written: Mutex<Written>,
    redact: bool,
    planner: PlannerHost,
}

/// The file, and how much this process has put there.
struct Written {
    file: File,
    flows: u64,
    bytes: u64,
}

/// Bytes of a file, at most: a server's callers choose how many traces they want.
const FILE_BYTES: u64 = 1 << 30;

impl TraceFile {
    /// Makes the file anew; one of that name, whoever may read it, is gone. `planner` says what a redacted flow's reply is.
    ///
    /// # Errors
    /// It cannot be written, or what is there is no plain file: a symbolic link is not followed.
    pub fn create(path: &Path, redact: bool, planner: PlannerHost) -> io::Result<Self> {
        let written = Mutex::new(Written { file: private_file::create_anew(path)?, flows: 0, bytes: 0 });
        Ok(Self { path: path.to_owned(), written, redact, planner })
    }

    /// Adds a flow that has ended. Its number in the file, from 1, as `vtflow replay` counts them.
    ///
    /// # Errors
    /// The text that says which file could not be written, and why: it has 1 GiB at most.
    pub fn add(&self, trace: Trace) -> Result<u64, String> {
        let trace = if self.redact { trace.redacted(|call, now| self.planner.start(call, now)) } else { trace };
        let failed = |error: &dyn std::fmt::Display| format!("the trace {} cannot be written: {error}", self.path.display());
        let mut line = serde_json::to_vec(&trace).map_err(|error| failed(&error))?;
        line.push(b'\n');
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = written.bytes + line.len() as u64;
        if bytes > FILE_BYTES {
            return Err(failed(&"it would have more than 1 GiB"));
        }
        written.file.write_all(&line).map_err(|error| failed(&error))?;
        (written.flows, written.bytes) = (written.flows + 1, bytes);
        Ok(written.flows)
    }
}

/// Reads the traces of a file.
///
/// # Errors
/// The file cannot be read, has no trace, or a line is none: with its number and what is wrong.
pub fn read(path: &Path) -> Result<Vec<Trace>, String> {
    let file = given_file::open(path, FILE_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut traces = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let place = format!("{}, line {}", path.display(), index + 1);
        let line = line.map_err(|error| format!("{place}: {error}"))?;
        if line.trim().is_empty() {
            continue;
        }
        traces.push(parse(&line).map_err(|error| format!("{place}: {error}"))?);
    }
    if traces.is_empty() {
        return Err(format!("{} has no trace: make one with --trace", path.display()));
    }
    Ok(traces)
}

/// Reads one line of such a file.
///
/// # Errors
/// It is no trace, a later form of one, or a damaged one: a text that says which.
pub fn parse(line: &str) -> Result<Trace, String> {
    let value: serde_json::Value = serde_json::from_str(line).map_err(|error| format!("no trace: {error}"))?;
    match value.get("vtflow_trace").and_then(serde_json::Value::as_u64) {
        None => return Err("no trace: it has no vtflow_trace".to_owned()),
        Some(form) if form > u64::from(FORMAT) => return Err(format!("a trace of form {form}, which a later vtflow reads")),
        Some(_) => {}
    }
    serde_json::from_value(value).map_err(|error| format!("a damaged trace: {error}"))
}
