//! The asks that are under way: all that were released together, each answered by itself, those for the records of one cell together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
    stream::FuturesUnordered,
};
use tokio::time::Instant;
use vtflow_planner::{Answer, Ask, AskId, Effect, FailureKind, What};

use super::cluster_io::ClusterIo;
use crate::{
    deadline::bounded,
    net::{grpc::code, room::Share},
    observe::Observer,
    topo::HeldLock,
};

/// The asks under way.
#[derive(Default)]
pub(super) struct Running<'a> {
    futures: FuturesUnordered<BoxFuture<'a, Vec<Done>>>,
    /// The locks that the flow holds, by the ask that took each, with their directories.
    held: BTreeMap<AskId, (String, Arc<dyn HeldLock>)>,
    /// Whether calls that write have been begun.
    has_written: bool,
}

/// Whether all locks are still held, asked once for all calls of a round.
type Checked = Shared<BoxFuture<'static, Result<(), String>>>;

/// One ask and what came of it.
pub(super) struct Done {
    pub(super) ask: Ask,
    pub(super) answer: Answer,
    took: Duration,
    /// With the answer `Locked`.
    held: Option<Arc<dyn HeldLock>>,
}

impl Done {
    fn new(ask: Ask, answer: Answer, took: Duration) -> Self {
        Self { ask, answer, took, held: None }
    }

    pub(super) fn tell(&self, observer: &dyn Observer) {
        match &self.answer {
            Answer::Failed { kind, message } => observer.failed(&self.ask, *kind, message, self.took),
            answer => observer.answered(&self.ask, answer, self.took),
        }
    }
}

impl<'a> Running<'a> {
    /// Starts asks that were released together. The records of one cell are read together.
    pub(super) fn start(
        &mut self,
        asks: Vec<Ask>,
        cluster: &'a ClusterIo,
        share: Option<&'a Share<'a>>,
        until: Option<Instant>,
        observer: &'a dyn Observer,
    ) {
        let mut gets: BTreeMap<String, Vec<(Ask, String)>> = BTreeMap::new();
        let is_late = !self.has_written && until.is_some_and(|until| Instant::now() >= until);
        self.has_written |= asks.iter().any(is_write);
        let until = until.filter(|_| !self.has_written);
        let checked = self.checked(&asks, is_late, cluster);
        for ask in asks {
            observer.asked(&ask);
            match &ask.what {
                What::TopoGet { cell, path } => {
                    let (cell, path) = (cell.clone(), path.clone());
                    gets.entry(cell).or_default().push((ask, path));
                }
                What::TopoLock { .. } => self.futures.push(Box::pin(lock(ask, cluster, until))),
                What::TopoPut { .. } | What::TopoDelete { .. } => {
                    self.futures.push(Box::pin(put(ask, checked.clone(), cluster, until)));
                }
                What::TopoUnlock { lock } => {
                    let held = self.held.remove(lock).map(|(_, held)| held);
                    self.futures.push(Box::pin(unlock(ask, held, cluster)));
                }
                What::TopoRange { .. } | What::TopoList { .. } => self.futures.push(Box::pin(range(ask, cluster, until))),
                What::TabletCall { effect, .. } => {
                    let checked = checked.clone().filter(|_| *effect == Effect::Write);
                    self.futures.push(Box::pin(call(ask, checked, cluster, share, until, observer)));
                }
                What::TabletPage { .. } => self.futures.push(Box::pin(page(ask, cluster, until))),
            }
        }
        for (cell, asks) in gets {
            self.futures.push(Box::pin(records(cell, asks, cluster, until)));
        }
    }

    /// What calls that write have to wait for; `None` if there are none, or nothing.
    fn checked(&self, asks: &[Ask], is_late: bool, cluster: &ClusterIo) -> Option<Checked> {
        if is_late && asks.iter().any(is_write) {
            let text = "the caller's time was over before: nothing was sent";
            return Some(std::future::ready(Err(text.to_owned())).boxed().shared());
        }
        if self.held.is_empty() || !asks.iter().any(is_write) {
            return None;
        }
        let held: Vec<(String, Arc<dyn HeldLock>)> = self.held.values().cloned().collect();
        let deadline = Instant::now() + cluster.deadlines.topology;
        let check = async move {
            for (path, held) in held {
                let lost = |text| format!("the lock of {path} was lost: nothing was sent ({text})");
                held.check(deadline).await.map_err(lost)?;
            }
            Ok(())
        };
        Some(check.boxed().shared())
    }

    pub(super) async fn next(&mut self) -> Option<Vec<Done>> {
        let mut all = self.futures.next().await?;
        for done in &mut all {
            if let (What::TopoLock { path, .. }, Some(held)) = (&done.ask.what, done.held.take()) {
                self.held.insert(done.ask.id, (path.clone(), held));
            }
        }
        Some(all)
    }
}

pub(super) fn is_write(ask: &Ask) -> bool {
    matches!(ask.what, What::TopoPut { .. } | What::TopoDelete { .. } | What::TabletCall { effect: Effect::Write, .. })
}

async fn records(cell: String, asks: Vec<(Ask, String)>, cluster: &ClusterIo, until: Option<Instant>) -> Vec<Done> {
    let started = Instant::now();
    let (asks, paths): (Vec<Ask>, Vec<String>) = asks.into_iter().unzip();
    let deadline = bounded(started, cluster.deadlines.topology, until);
    let answers = cluster.topology.records(&cell, &paths, deadline).await;
    let took = started.elapsed();
    asks.into_iter().zip(answers).map(|(ask, answer)| Done::new(ask, answer, took)).collect()
}

async fn range(ask: Ask, cluster: &ClusterIo, until: Option<Instant>) -> Vec<Done> {
    let started = Instant::now();
    let deadline = bounded(started, cluster.deadlines.topology, until);
    let answer = match &ask.what {
        What::TopoRange { cell, prefix } => cluster.topology.range(cell, prefix, deadline).await,
        What::TopoList { cell, prefix } => cluster.topology.list(cell, prefix, deadline).await,
        _ => return Vec::new(),
    };
    vec![Done::new(ask, answer, started.elapsed())]
}

async fn lock(ask: Ask, cluster: &ClusterIo, until: Option<Instant>) -> Vec<Done> {
    let started = Instant::now();
    let What::TopoLock { path, action, is_named } = &ask.what else { return Vec::new() };
    let deadline = bounded(started, cluster.deadlines.lock, until);
    let (answer, held) = match cluster.topology.lock(path, action, *is_named, deadline).await {
        Ok(held) => (Answer::Locked, Some(held)),
        Err(answer) => (answer, None),
    };
    vec![Done { held, ..Done::new(ask, answer, started.elapsed()) }]
}

/// Gives a lock back, even if the caller's time is over.
async fn unlock(ask: Ask, held: Option<Arc<dyn HeldLock>>, cluster: &ClusterIo) -> Vec<Done> {
    let started = Instant::now();
    let answer = if let Some(held) = held {
        held.release(started + cluster.deadlines.topology).await
    } else {
        let message = "the lock to be given back is not held: this is a defect of vtflow".into();
        Answer::Failed { kind: FailureKind::Status(code::FAILED_PRECONDITION), message }
    };
    vec![Done::new(ask, answer, started.elapsed())]
}

async fn call(
    ask: Ask,
    checked: Option<Checked>,
    cluster: &ClusterIo,
    share: Option<&Share<'_>>,
    until: Option<Instant>,
    observer: &dyn Observer,
) -> Vec<Done> {
    let started = Instant::now();
    if let Some(checked) = checked
        && let Err(message) = checked.await
    {
        let answer = Answer::Failed { kind: FailureKind::NotSent, message };
        return vec![Done::new(ask, answer, started.elapsed())];
    }
    let What::TabletCall { tablet, path, request, effect, limit_ms, .. } = &ask.what else { return Vec::new() };
    let wait = if *limit_ms == 0 { cluster.deadlines.tablet } else { Duration::from_millis(u64::from(*limit_ms)) };
    let sent = || observer.sent(&ask);
    let answer = cluster.tablets.call_in_turn(tablet, path, request, *effect, wait, until, share, sent).await;
    vec![Done::new(ask, answer, started.elapsed())]
}

async fn put(ask: Ask, checked: Option<Checked>, cluster: &ClusterIo, until: Option<Instant>) -> Vec<Done> {
    let started = Instant::now();
    if let Some(checked) = checked
        && let Err(message) = checked.await
    {
        let answer = Answer::Failed { kind: FailureKind::NotSent, message };
        return vec![Done::new(ask, answer, started.elapsed())];
    }
    let deadline = bounded(started, cluster.deadlines.topology, until);
    let answer = match &ask.what {
        What::TopoPut { cell, path, value, version } => cluster.topology.put(cell, path, value, *version, deadline).await,
        What::TopoDelete { cell, path, version } => cluster.topology.delete(cell, path, *version, deadline).await,
        _ => return Vec::new(),
    };
    vec![Done::new(ask, answer, started.elapsed())]
}

async fn page(ask: Ask, cluster: &ClusterIo, until: Option<Instant>) -> Vec<Done> {
    let started = Instant::now();
    let What::TabletPage { tablet, path } = &ask.what else { return Vec::new() };
    let answer = cluster.tablets.page(tablet, path, cluster.deadlines.tablet, until).await;
    vec![Done::new(ask, answer, started.elapsed())]
}
