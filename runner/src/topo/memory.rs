//! A topology in memory: the records of a snapshot or of the demo. Node names are those of the same cluster in etcd.
//!
//! Not Vitess's own memory topology (`go/vt/topo/memorytopo`), whose error texts leave the root out.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prost::Message;
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep_until, timeout_at},
};
use vtflow_planner::{Answer, FailureKind, Record, proto::topodata::CellInfo};

use super::{
    Answering, CellRecord, GLOBAL, HeldLock, Topology, bad_version,
    cell::{cell_info_path, no_such_cell, unreadable_cell},
    lock::{contents, too_late},
    node::{self, is_plain_path},
};
use crate::net::grpc::code;

/// The root of the global topology unless told otherwise: the default of `--topo-global-root` in `vtctldclient`.
pub const DEFAULT_GLOBAL_ROOT: &str = "/vitess/global";

/// A topology in memory. Its records and its locks are shared by all clones.
#[derive(Clone, Debug)]
pub struct MemoryTopology {
    global_root: String,
    records: Arc<Mutex<Records>>,
    delay: Duration,
    /// By cell and path: why a record cannot be read.
    unreadable: BTreeMap<(String, String), String>,
    locks: Arc<Mutex<BTreeMap<String, Lock>>>,
}

/// Value and version, by cell and path.
type Records = BTreeMap<(String, String), (Vec<u8>, i64)>;

/// The lock of one directory.
#[derive(Debug, Default)]
struct Lock {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// What the holder has written.
    contents: Option<Vec<u8>>,
}

impl MemoryTopology {
    /// From the records of all cells. Of two records with one name, the later counts.
    pub fn new(records: impl IntoIterator<Item = CellRecord>) -> Self {
        let records = records.into_iter().map(|record| ((record.cell, record.path), (record.value, record.version))).collect();
        Self {
            global_root: DEFAULT_GLOBAL_ROOT.to_owned(),
            records: Arc::new(Mutex::new(records)),
            delay: Duration::ZERO,
            unreadable: BTreeMap::new(),
            locks: Arc::default(),
        }
    }

    /// With this root of the global topology in node names, instead of [`DEFAULT_GLOBAL_ROOT`].
    #[must_use]
    pub fn with_global_root(mut self, root: impl Into<String>) -> Self {
        self.global_root = root.into();
        self
    }

    /// With this delay before every answer, as if the topology were far away.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// With records, by cell and path, that are asked for in vain, each with the text that says why. In a range they have the
    /// value that they were given.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: BTreeMap<(String, String), String>) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// The values of all records, by cell and path.
    #[cfg(feature = "embedded")]
    pub(crate) fn values(&self) -> BTreeMap<(String, String), Vec<u8>> {
        self.records().iter().map(|(place, (value, _))| (place.clone(), value.clone())).collect()
    }

    /// The root of a cell, or the answer that its lack is.
    fn root(&self, cell: &str) -> Result<String, Answer> {
        if cell == GLOBAL {
            return Ok(self.global_root.clone());
        }
        let key = (GLOBAL.to_owned(), cell_info_path(cell));
        let records = self.records();
        let (value, _) = records.get(&key).ok_or_else(|| no_such_cell(&self.global_root, cell))?;
        let info = CellInfo::decode(value.as_slice()).map_err(|error| unreadable_cell(&self.global_root, cell, &error))?;
        Ok(info.root)
    }

    fn record(&self, cell: &str, path: &str) -> Answer {
        let root = match self.root(cell) {
            Ok(root) => root,
            Err(answer) => return answer,
        };
        let key = (cell.to_owned(), path.to_owned());
        if let Some(text) = self.unreadable.get(&key) {
            return Answer::Failed { kind: FailureKind::Status(code::DATA_LOSS), message: text.clone() };
        }
        match self.records().get(&key) {
            Some((value, version)) => Answer::Found { value: value.clone(), version: *version },
            None => Answer::Missing { node: node::join(&[&root, path]) },
        }
    }

    fn below(&self, cell: &str, prefix: &str) -> Answer {
        let root = match self.root(cell) {
            Ok(root) => root,
            Err(answer) => return answer,
        };
        if !is_plain_path(prefix.strip_suffix('/').unwrap_or(prefix)) {
            return Answer::Missing { node: node::directory(&root, prefix) };
        }
        let directory = node::directory("", prefix);
        let first = (cell.to_owned(), directory.clone());
        let mut records: Vec<Record> = self
            .records()
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(|((of, path), _)| of == cell && path.starts_with(&directory))
            .map(|((_, path), (value, version))| Record { path: path.clone(), value: value.clone(), version: *version })
            .collect();
        if cell == GLOBAL {
            let locked = self.locked();
            let held = locked.iter().filter_map(|(path, lock)| {
                let path = format!("{path}/locks/1");
                path.starts_with(&directory).then_some(Record { path, value: lock.contents.clone()?, version: 0 })
            });
            records.extend(held);
        }
        if records.is_empty() { Answer::Missing { node: node::directory(&root, prefix) } } else { Answer::Range(records) }
    }

    /// Waits as told, at most until the deadline. True if there is time to answer.
    async fn delayed(&self, deadline: Instant) -> bool {
        if self.delay.is_zero() {
            return true;
        }
        let ready = Instant::now() + self.delay;
        sleep_until(ready.min(deadline)).await;
        ready <= deadline
    }

    fn write(&self, cell: &str, path: &str, value: &[u8], version: i64) -> Answer {
        let node = match self.root(cell) {
            Ok(root) => node::join(&[&root, path]),
            Err(answer) => return answer,
        };
        let (mut records, key) = (self.records(), (cell.to_owned(), path.to_owned()));
        match records.get_mut(&key) {
            None if version == 0 => {
                records.insert(key, (value.to_vec(), 1));
                Answer::Stored { version: 1 }
            }
            None => Answer::Missing { node },
            Some((_, current)) if *current != version => bad_version(&node),
            Some((current_value, current)) => {
                *current_value = value.to_vec();
                *current += 1;
                Answer::Stored { version: *current }
            }
        }
    }

    fn remove(&self, cell: &str, path: &str, version: i64) -> Answer {
        let node = match self.root(cell) {
            Ok(root) => node::join(&[&root, path]),
            Err(answer) => return answer,
        };
        let (mut records, key) = (self.records(), (cell.to_owned(), path.to_owned()));
        match records.get(&key) {
            None => Answer::Missing { node },
            Some((_, current)) if *current != version => bad_version(&node),
            Some(_) => {
                records.remove(&key);
                Answer::Deleted
            }
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Lock>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, path: &str, action: &str, is_named: bool, deadline: Instant) -> Result<Arc<dyn HeldLock>, Answer> {
        if !self.delayed(deadline).await {
            return Err(self.too_late(path));
        }
        if !is_plain_path(path) || !is_named && matches!(self.below(GLOBAL, &format!("{path}/")), Answer::Missing { .. }) {
            return Err(Answer::Missing { node: node::directory(&self.global_root, path) });
        }
        let turn = Arc::clone(&self.locked().entry(path.to_owned()).or_default().turn);
        let Ok(turn) = timeout_at(deadline, turn.lock_owned()).await else {
            let holder = self.locked().get(path).and_then(|lock| lock.contents.clone()).unwrap_or_default();
            return Err(too_late(&node::join(&[&self.global_root, path, "locks"]), &holder));
        };
        if let Some(lock) = self.locked().get_mut(path) {
            lock.contents = Some(contents(action));
        }
        Ok(Arc::new(MemoryLock { topology: self.clone(), path: path.to_owned(), turn: Mutex::new(Some(turn)) }))
    }

    fn too_late(&self, path: &str) -> Answer {
        let node = node::join(&[&self.global_root, path]);
        Answer::Failed { kind: FailureKind::TimedOut, message: format!("deadline exceeded: {node}") }
    }
}

impl Topology for MemoryTopology {
    fn records<'a>(&'a self, cell: &'a str, paths: &'a [String], deadline: Instant) -> Answering<'a, Vec<Answer>> {
        Box::pin(async move {
            let in_time = self.delayed(deadline).await;
            paths.iter().map(|path| if in_time { self.record(cell, path) } else { self.too_late(path) }).collect()
        })
    }

    fn range<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer> {
        Box::pin(async move { if self.delayed(deadline).await { self.below(cell, prefix) } else { self.too_late(prefix) } })
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
            if self.delayed(deadline).await { self.write(cell, path, value, version) } else { self.too_late(path) }
        })
    }

    fn delete<'a>(&'a self, cell: &'a str, path: &'a str, version: i64, deadline: Instant) -> Answering<'a, Answer> {
        Box::pin(async move { if self.delayed(deadline).await { self.remove(cell, path, version) } else { self.too_late(path) } })
    }

    fn lock<'a>(
        &'a self,
        path: &'a str,
        action: &'a str,
        is_named: bool,
        deadline: Instant,
    ) -> Answering<'a, Result<Arc<dyn HeldLock>, Answer>> {
        Box::pin(self.take(path, action, is_named, deadline))
    }
}

/// A lock of a topology in memory: nobody takes it away.
struct MemoryLock {
    topology: MemoryTopology,
    path: String,
    turn: Mutex<Option<OwnedMutexGuard<()>>>,
}

impl MemoryLock {
    /// Whether it was held until now.
    fn give_back(&self) -> bool {
        let Some(turn) = self.turn.lock().unwrap_or_else(PoisonError::into_inner).take() else { return false };
        if let Some(lock) = self.topology.locked().get_mut(&self.path) {
            lock.contents = None;
        }
        drop(turn);
        true
    }
}

impl HeldLock for MemoryLock {
    fn check(&self, _: Instant) -> Answering<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn release(&self, _: Instant) -> Answering<'_, Answer> {
        let message = format!("{} is not locked", self.path);
        let answer = if self.give_back() {
            Answer::Unlocked
        } else {
            Answer::Failed { kind: FailureKind::Status(code::FAILED_PRECONDITION), message }
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.give_back();
    }
}
