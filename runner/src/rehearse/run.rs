//! A flow performed on a copy, on a clock that is counted: every answer comes when it would come if each ask took as long as the cluster's own
//! answers did while it was read. So calls overlap as they would there, and the same copy always gives the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use vtflow_planner::{Answer, Ask, AskId, Effect, FailureKind, FlowHandle, Reply, What, rpc};
use vtflow_screen::rehearsal::{Fault, RoundTrips};

use super::{
    copy::{Copy, Held, pause},
    sequences::Sequences,
};
use crate::{net::grpc::code, observe::Observer, topo::GLOBAL};

/// How fast a cluster answers: the fastest answer of each tablet and of each cell's topology.
#[derive(Clone, Debug, Default)]
pub struct Trips {
    tablets: BTreeMap<String, Duration>,
    cells: BTreeMap<String, Duration>,
}

impl Trips {
    /// How long an ask would take.
    pub(super) fn of(&self, what: &What) -> Duration {
        let cell = |cell: &str| self.cells.get(cell).or_else(|| self.cells.get(GLOBAL)).copied().unwrap_or_default();
        // Before a call that writes it is asked whether the locks are still held.
        let held = cell(GLOBAL);
        match what {
            What::TopoGet { cell: of, .. } | What::TopoRange { cell: of, .. } | What::TopoList { cell: of, .. } => cell(of),
            What::TopoPut { cell: of, .. } | What::TopoDelete { cell: of, .. } => held + cell(of),
            What::TopoLock { .. } | What::TopoUnlock { .. } => held,
            What::TabletCall { tablet, effect, .. } => {
                let way = self.tablets.get(&tablet.alias).copied().unwrap_or_else(|| self.middle());
                way + pause(what) + if *effect == Effect::Write { held } else { Duration::ZERO }
            }
            What::TabletPage { tablet, .. } => self.tablets.get(&tablet.alias).copied().unwrap_or_else(|| self.middle()),
        }
    }

    fn middle(&self) -> Duration {
        let mut all: Vec<Duration> = self.tablets.values().copied().collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }

    /// The same for people.
    pub(super) fn told(&self) -> RoundTrips {
        RoundTrips {
            tablets: self.tablets.len(),
            middle_us: micros(self.middle()),
            most_us: micros(self.tablets.values().max().copied().unwrap_or_default()),
            topology_us: micros(self.cells.get(GLOBAL).copied().unwrap_or_default()),
        }
    }
}

/// Notes how fast a cluster answers that is read, without the time that a call waits for its turn; which keyspaces are looked at; and what is
/// read of sequences.
#[derive(Debug, Default)]
pub(super) struct Stopwatch(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    trips: Trips,
    /// When the turn of each call came.
    sent: BTreeMap<AskId, Instant>,
    keyspaces: BTreeSet<String>,
    sequences: Sequences,
}

impl Stopwatch {
    pub(super) fn trips(&self) -> Trips {
        self.watched().trips.clone()
    }

    /// Keyspaces whose tablets were called or whose shards were read.
    pub(super) fn keyspaces(&self) -> BTreeSet<String> {
        self.watched().keyspaces.clone()
    }

    /// What was read of sequences until now.
    pub(super) fn take_sequences(&self) -> Sequences {
        std::mem::take(&mut self.watched().sequences)
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Stopwatch {
    fn sent(&self, ask: &Ask) {
        self.watched().sent.insert(ask.id, Instant::now());
    }

    fn failed(&self, ask: &Ask, kind: FailureKind, message: &str, _: Duration) {
        self.watched().sequences.keep(ask, &Answer::Failed { kind, message: message.to_owned() });
    }

    fn answered(&self, ask: &Ask, answer: &Answer, took: Duration) {
        let mut watched = self.watched();
        watched.sequences.keep(ask, answer);
        watched.keyspaces.extend(keyspace(&ask.what));
        // The first has the wait for a turn in it, the second that until somebody hears of the answer.
        let took = watched.sent.remove(&ask.id).map_or(took, |sent| took.min(sent.elapsed()));
        let best = match &ask.what {
            What::TabletCall { tablet, .. } => watched.trips.tablets.entry(tablet.alias.clone()),
            What::TopoGet { cell, .. } | What::TopoRange { cell, .. } | What::TopoList { cell, .. } => {
                watched.trips.cells.entry(cell.clone())
            }
            _ => return,
        };
        let best = best.or_insert(took);
        *best = took.min(*best);
    }
}

/// The keyspace that is looked at, with its shards and not with its vschema alone.
fn keyspace(what: &What) -> Option<String> {
    match what {
        What::TabletCall { about, .. } => Some(about.keyspace.clone()).filter(|keyspace| !keyspace.is_empty()),
        What::TopoGet { path, .. } | What::TopoRange { prefix: path, .. } | What::TopoList { prefix: path, .. } => {
            let (keyspace, rest) = path.strip_prefix("keyspaces/")?.split_once('/')?;
            rest.starts_with("shards").then(|| keyspace.to_owned())
        }
        _ => None,
    }
}

/// One ask that was performed.
pub(super) struct Done {
    pub(super) ask: Ask,
    /// Since the flow began, as it is counted.
    pub(super) begins: Duration,
    /// Likewise.
    pub(super) ends: Duration,
    /// On the copy.
    pub(super) took: Duration,
    /// What was said instead of an answer.
    pub(super) failed: Option<String>,
    /// Its place among those that belong to the change; `None`: it only looks, locks or unlocks.
    pub(super) number: Option<usize>,
}

impl Done {
    /// Whether it changes something.
    pub(super) fn writes(&self) -> bool {
        writes(&self.ask.what)
    }
}

/// A flow that has ended, or was stopped.
pub(super) struct Performed {
    /// `None`: it was stopped.
    pub(super) reply: Option<Reply>,
    /// In the order in which they began.
    pub(super) calls: Vec<Done>,
}

impl Performed {
    /// How long it takes, as it is counted.
    pub(super) fn took(&self) -> Duration {
        self.calls.iter().map(|done| done.ends).max().unwrap_or_default()
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// As [`Done::number`].
    pub(super) at: usize,
    /// What.
    pub(super) fault: Fault,
}

/// Performs a flow to its end, or until its process dies: then what it had sent is done, and its locks are free.
pub(super) async fn perform(mut flow: Box<dyn FlowHandle>, copy: &mut Copy, trips: &Trips, wrong: Option<Wrong>) -> Performed {
    let mut held = Held::new();
    let mut due: BTreeMap<(Duration, AskId), Answer> = BTreeMap::new();
    let mut calls: Vec<Done> = Vec::new();
    let (mut now, mut count) = (Duration::ZERO, 0);
    loop {
        for ask in flow.asks() {
            let number = belongs(&ask.what).then_some(count);
            count += usize::from(number.is_some());
            let fault = wrong.filter(|wrong| Some(wrong.at) == number).map(|wrong| wrong.fault);
            let started = Instant::now();
            let answer = match fault {
                Some(Fault::Fails) => {
                    let message = "it fails: this is rehearsed".into();
                    Answer::Failed { kind: FailureKind::Status(code::UNKNOWN), message }
                }
                _ => copy.answer(&ask, &mut held).await,
            };
            let answer = match fault {
                None | Some(Fault::Fails) => answer,
                Some(Fault::AnswerLost) => {
                    let message = "its answer is lost: this is rehearsed".into();
                    Answer::Failed { kind: FailureKind::Unreachable, message }
                }
                Some(Fault::Dies) => return Performed { reply: None, calls },
            };
            let took = started.elapsed();
            let ends = now + trips.of(&ask.what);
            let failed = if let Answer::Failed { message, .. } = &answer { Some(message.clone()) } else { None };
            due.insert((ends, ask.id), answer);
            calls.push(Done { ask, begins: now, ends, took, failed, number });
        }
        let Some(((at, id), answer)) = due.pop_first() else { break };
        now = at;
        flow.answer(id, answer);
    }
    Performed { reply: flow.end(), calls }
}

/// Whether an ask changes something.
fn writes(what: &What) -> bool {
    matches!(what, What::TopoPut { .. } | What::TopoDelete { .. } | What::TabletCall { effect: Effect::Write, .. })
}

/// Whether an ask is a part of the change itself: it writes, or the change waits for it. Everything else looks at what there is.
fn belongs(what: &What) -> bool {
    let waits = |path: &str| {
        [rpc::VREPLICATION_WAIT_FOR_POS, rpc::PRIMARY_POSITION, rpc::VALIDATE_VREPLICATION_PERMISSIONS].contains(&path)
    };
    writes(what) || pause(what) > Duration::ZERO || matches!(what, What::TabletCall { path, .. } if waits(path))
}

/// A time as reports have it.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
