//! A flow performed on a copy, on a clock that is counted: every answer comes when it would come if each ask took as long as the cluster's own
//! answers did while it was read. So calls overlap as they would there, and the same copy always gives the same.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use vtflow_planner::{Answer, Ask, AskId, Effect, FlowHandle, Reply, What, rpc};
use vtflow_screen::rehearsal::RoundTrips;

use super::copy::{Copy, Held, pause};
use crate::{observe::Observer, topo::GLOBAL};

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
            middle_us: super::micros(self.middle()),
            most_us: super::micros(self.tablets.values().max().copied().unwrap_or_default()),
            topology_us: super::micros(self.cells.get(GLOBAL).copied().unwrap_or_default()),
        }
    }
}

/// Notes how fast a cluster answers that is read.
#[derive(Debug, Default)]
pub(super) struct Stopwatch(Mutex<Trips>);

impl Stopwatch {
    pub(super) fn trips(&self) -> Trips {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Stopwatch {
    fn answered(&self, ask: &Ask, _: &Answer, took: Duration) {
        let mut trips = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let best = match &ask.what {
            What::TabletCall { tablet, .. } => trips.tablets.entry(tablet.alias.clone()),
            What::TopoGet { cell, .. } | What::TopoRange { cell, .. } | What::TopoList { cell, .. } => {
                trips.cells.entry(cell.clone())
            }
            _ => return,
        };
        let best = best.or_insert(took);
        *best = took.min(*best);
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

/// Performs a flow to its end.
pub(super) async fn perform(mut flow: Box<dyn FlowHandle>, copy: &mut Copy, trips: &Trips) -> Performed {
    let mut held = Held::new();
    let mut due: BTreeMap<(Duration, AskId), Answer> = BTreeMap::new();
    let mut calls: Vec<Done> = Vec::new();
    let (mut now, mut count) = (Duration::ZERO, 0);
    loop {
        for ask in flow.asks() {
            let number = belongs(&ask.what).then_some(count);
            count += usize::from(number.is_some());
            let started = Instant::now();
            let answer = copy.answer(&ask, &mut held).await;
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
