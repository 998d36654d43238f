//! Deliberate breaks around the real code, to see that the checkers notice.

use std::sync::Arc;

use prost::Message;
use tokio::time::{Duration, Instant};
use vtflow::topo::{Answering, HeldLock, Topology};
use vtflow_planner::{Answer, proto::topodata};

/// What is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// Locks are given back as soon as they are had, and whoever asks is told that they are held.
    DropsLocks,
    /// A record whose writing failed is written once more.
    RetriesWrites,
    /// Shards' records are never written, and whoever writes them is told that they were: nothing is closed, and nothing opened.
    KeepsShards,
    /// Shards' records that deny no tables any more are never written, and whoever writes them is told that they were: what was closed
    /// stays so, on both sides.
    KeepsClosed,
    /// Whoever watches is told twice of every answer to a write.
    AnswersTwice,
}

/// What each is called by whoever wants it.
pub const NAMES: [(&str, Sabotage); 5] = [
    ("locks", Sabotage::DropsLocks),
    ("writes", Sabotage::RetriesWrites),
    ("shards", Sabotage::KeepsShards),
    ("closed", Sabotage::KeepsClosed),
    ("answers", Sabotage::AnswersTwice),
];

impl Sabotage {
    pub(crate) fn topology(self, topology: Arc<dyn Topology>) -> Arc<dyn Topology> {
        match self {
            Self::None | Self::AnswersTwice => topology,
            broken => Arc::new(Broken(topology, broken)),
        }
    }
}

struct Broken(Arc<dyn Topology>, Sabotage);

/// Whether a shard's record denies no tables.
fn denies_nothing(value: &[u8]) -> bool {
    let shard = topodata::Shard::decode(value).unwrap_or_default();
    shard.tablet_controls.iter().all(|control| control.denied_tables.is_empty())
}

struct Pretended;

impl HeldLock for Pretended {
    fn check(&self, _: Instant) -> Answering<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn release(&self, _: Instant) -> Answering<'_, Answer> {
        Box::pin(std::future::ready(Answer::Unlocked))
    }
}

impl Topology for Broken {
    fn records<'a>(&'a self, cell: &'a str, paths: &'a [String], deadline: Instant) -> Answering<'a, Vec<Answer>> {
        self.0.records(cell, paths, deadline)
    }

    fn range<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer> {
        self.0.range(cell, prefix, deadline)
    }

    fn list<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer> {
        self.0.list(cell, prefix, deadline)
    }

    fn put<'a>(
        &'a self,
        cell: &'a str,
        path: &'a str,
        value: &'a [u8],
        version: i64,
        deadline: Instant,
    ) -> Answering<'a, Answer> {
        Box::pin(async move {
            if self.1 == Sabotage::KeepsShards && path.ends_with("/Shard") {
                return Answer::Stored { version };
            }
            if self.1 == Sabotage::KeepsClosed && path.ends_with("/Shard") && denies_nothing(value) {
                return Answer::Stored { version };
            }
            let answer = self.0.put(cell, path, value, version, deadline).await;
            let has_failed = matches!(answer, Answer::Failed { .. });
            if self.1 == Sabotage::RetriesWrites && has_failed {
                return self.0.put(cell, path, value, version, deadline).await;
            }
            answer
        })
    }

    fn delete<'a>(&'a self, cell: &'a str, path: &'a str, version: i64, deadline: Instant) -> Answering<'a, Answer> {
        self.0.delete(cell, path, version, deadline)
    }

    fn lock<'a>(
        &'a self,
        path: &'a str,
        action: &'a str,
        is_named: bool,
        deadline: Instant,
    ) -> Answering<'a, Result<Arc<dyn HeldLock>, Answer>> {
        if self.1 != Sabotage::DropsLocks {
            return self.0.lock(path, action, is_named, deadline);
        }
        Box::pin(async move {
            let held = self.0.lock(path, action, is_named, deadline).await?;
            held.release(Instant::now() + Duration::from_secs(5)).await;
            Ok(Arc::new(Pretended) as Arc<dyn HeldLock>)
        })
    }
}
