//! What must hold at every moment: that every ask is answered once, that nothing is written twice, or without its lock, or that
//! nobody asked for.
//!
//! What a reply may say is in `replies.rs`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use vtflow::observe::Observer;
use vtflow_planner::{Answer, Ask, Effect, FailureKind, What, rpc};

use crate::{
    etcd::{Etcd, Watcher, messages::PutRequest, store::Lock},
    journal::Journal,
};

/// The checkers that see everything as it happens.
pub(crate) struct Checks {
    journal: Arc<Journal>,
    /// Where locks are.
    global: OnceLock<Arc<Etcd>>,
    /// Of runs that move traffic: the directories, below the root, whose locks are held for every write. What is asked of tablets there
    /// names neither its request nor its workflow; the state of the cluster is checked instead.
    traffic: OnceLock<Vec<String>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Asks that are out: how often asked less how often told of.
    out: BTreeMap<String, i64>,
    /// Calls that write: to whom, what, and how often each was asked for, has left, and has arrived.
    writes: BTreeMap<(String, Vec<u8>), Write>,
    /// Words that one request alone has, and that are in all it writes.
    marks: BTreeMap<String, u64>,
    /// Words that several requests may have: names of workflows and migrations.
    names: BTreeMap<String, u64>,
    /// How often a workflow was to be deleted: the log of its streams goes with them, by their ids.
    deletions: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Write {
    asked: u64,
    sent: u64,
    arrived: u64,
}

/// How long after a lock was lost a call that writes may leave: it was checked within the topology's deadline, and then waited for its
/// turns within the tablets', each of which may come late.
const SEEN: Duration = Duration::from_secs(5 + 10 + 10);

impl Checks {
    pub(crate) fn new(journal: Arc<Journal>) -> Arc<Self> {
        Arc::new(Self { journal, global: OnceLock::new(), traffic: OnceLock::new(), state: Mutex::default() })
    }

    pub(crate) fn set_global(&self, etcd: &Arc<Etcd>) {
        let _ = self.global.set(Arc::clone(etcd));
    }

    /// Every write is one of a change of traffic, for which these directories are locked.
    pub(crate) fn set_traffic(&self, locked: Vec<String>) {
        let _ = self.traffic.set(locked);
    }

    /// A caller asks for a change. What it writes is known by a word of the request's own, or by a name.
    pub(crate) fn change_asked(&self, mark: Option<&str>, name: &str) {
        let mut state = self.state();
        match mark {
            Some(mark) => *state.marks.entry(mark.to_owned()).or_default() += 1,
            None => *state.names.entry(name.to_owned()).or_default() += 1,
        }
    }

    /// What a caller asks for deletes a workflow.
    pub(crate) fn deletion_asked(&self) {
        self.state().deletions += 1;
    }

    /// A call that writes has come to a tablet.
    pub(crate) fn write_arrives(&self, alias: &str, path: &str, request: &[u8]) {
        let mut state = self.state();
        let write = state.writes.entry((format!("{alias} {path}"), request.to_vec())).or_default();
        write.arrived += 1;
        let Write { sent, arrived, asked } = *write;
        let text = String::from_utf8_lossy(request);
        // One who wants all migrations names none of them.
        let is_in = |word: &str| text.contains(word) || word == "all" && text.contains("alter vitess_migration ");
        let sum =
            |words: &BTreeMap<String, u64>| -> u64 { words.iter().filter(|(word, _)| is_in(word)).map(|(_, count)| count).sum() };
        let wanted = if text.contains("delete from _vt.vreplication_log where vrepl_id in (") {
            state.deletions
        } else {
            Some(sum(&state.marks)).filter(|sum| *sum > 0).unwrap_or_else(|| sum(&state.names))
        };
        let known = wanted > 0;
        drop(state);
        if arrived > sent {
            self.journal.violation(
                "no write is sent twice",
                format_args!("{alias} {path}: it left {sent} times and arrived {arrived} times"),
            );
        }
        if self.traffic.get().is_some() {
            return;
        }
        if known && asked > wanted {
            let what = format_args!("{alias} {path}: callers wanted it {wanted} times, and it was asked for {asked} times");
            self.journal.violation("no write is sent twice", what);
        }
        if !known {
            self.journal.violation("nothing is written that nobody asked for", format_args!("{alias} {path} {text:?}"));
        }
    }

    /// What belongs to this keyspace, or to all of them, is written.
    fn must_be_locked(&self, keyspace: Option<&str>, what: &str) {
        let own = keyspace.map(|keyspace| format!("keyspaces/{keyspace}"));
        let mut directories: Vec<&String> = self.traffic.get().into_iter().flatten().chain(&own).collect();
        directories.dedup();
        for directory in directories {
            self.must_be_held(directory, what);
        }
    }

    fn must_be_held(&self, directory: &str, what: &str) {
        let Some(global) = self.global.get() else { return };
        let lock = global.store().lock(&format!("{ROOT}/{directory}"));
        match lock {
            Lock::Held => {}
            Lock::Lost(at) if at + SEEN >= Instant::now() => {
                self.journal.event("checks", format_args!("{what} is written just after its lock was lost"));
            }
            Lock::Lost(_) | Lock::Free => {
                self.journal
                    .violation("nothing is written without its lock", format_args!("{what}: nobody holds that of {directory}"));
            }
        }
    }

    /// At the end, when nobody asks anything: each ask must have been told of, or given up with its flow.
    pub(crate) fn writes(&self) -> (u64, u64) {
        self.state().writes.values().fold((0, 0), |(sent, arrived), write| (sent + write.sent, arrived + write.arrived))
    }

    fn told(&self, ask: &Ask) {
        let name = ask_name(ask);
        let mut state = self.state();
        let out = state.out.entry(name).or_default();
        *out -= 1;
        let is_too_often = *out < 0;
        drop(state);
        if is_too_often {
            self.journal.violation("every ask is answered once", format_args!("{}", ask_name(ask)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Checks {
    fn record_arrives(&self, etcd: &Etcd, put: &PutRequest, has_succeeded: bool) {
        let key = String::from_utf8_lossy(&put.key).into_owned();
        self.journal.event(&etcd.name, format_args!("put {key}: {has_succeeded}"));
        let asked = {
            let mut state = self.state();
            let write = state.writes.entry((record_name(&key), put.value.clone())).or_default();
            write.arrived += 1;
            *write
        };
        if asked.arrived > asked.asked {
            let Write { asked, arrived, .. } = asked;
            self.journal
                .violation("no write is sent twice", format_args!("{key}: asked for {asked} times, arrived {arrived} times"));
        }
        self.must_be_locked(keyspace_of(&key), &key);
    }

    fn record_goes(&self, etcd: &Etcd, key: &[u8], has_succeeded: bool) {
        let key = String::from_utf8_lossy(key).into_owned();
        self.journal.event(&etcd.name, format_args!("delete {key}: {has_succeeded}"));
        self.must_be_locked(keyspace_of(&key), &key);
    }
}

fn keyspace_of(key: &str) -> Option<&str> {
    key.split_once("/keyspaces/").and_then(|(_, rest)| rest.split('/').next())
}

impl Observer for Checks {
    fn asked(&self, ask: &Ask) {
        let mut state = self.state();
        *state.out.entry(ask_name(ask)).or_default() += 1;
        match &ask.what {
            What::TabletCall { tablet, path, request, effect: Effect::Write, .. } => {
                state.writes.entry((format!("{} {path}", tablet.alias), request.clone())).or_default().asked += 1;
            }
            What::TopoPut { path, value, .. } => {
                state.writes.entry((path.clone(), value.clone())).or_default().asked += 1;
            }
            _ => {}
        }
    }

    fn sent(&self, ask: &Ask) {
        let What::TabletCall { tablet, path, request, effect: Effect::Write, about, .. } = &ask.what else { return };
        self.state().writes.entry((format!("{} {path}", tablet.alias), request.clone())).or_default().sent += 1;
        self.journal.event("vtflow", format_args!("{} {path} leaves, which writes", tablet.alias));
        // A VDiff reads and compares: nothing of the workflow is changed. Neither does vtctld lock anything for one.
        if path != rpc::VDIFF {
            self.must_be_locked(Some(&about.keyspace), &format!("{} {path}", tablet.alias));
        }
    }

    fn answered(&self, ask: &Ask, _: &Answer, _: Duration) {
        self.told(ask);
    }

    fn failed(&self, ask: &Ask, kind: FailureKind, message: &str, _: Duration) {
        // What a lock's holder has written into it has the hour of this machine.
        let message = message.lines().next().unwrap_or_default();
        self.journal.event("vtflow", format_args!("{} failed: {kind:?} {message}", short(ask)));
        self.told(ask);
    }
}

/// A record by its path below the root: of whichever cell.
fn record_name(key: &str) -> String {
    key.splitn(4, '/').nth(3).unwrap_or(key).to_owned()
}

fn short(ask: &Ask) -> String {
    match &ask.what {
        What::TopoGet { cell, path } | What::TopoPut { cell, path, .. } | What::TopoDelete { cell, path, .. } => {
            format!("{cell} {path}")
        }
        What::TopoRange { cell, prefix } | What::TopoList { cell, prefix } => format!("{cell} {prefix}"),
        What::TopoLock { path, .. } => format!("lock of {path}"),
        What::TopoUnlock { lock } => format!("unlock {}", lock.0),
        What::TabletCall { tablet, path, about, .. } => {
            format!("{} {} {}", tablet.alias, path.rsplit('/').next().unwrap_or_default(), about.subject)
        }
        What::TabletPage { tablet, path } => format!("{} {path}", tablet.alias),
    }
}

fn ask_name(ask: &Ask) -> String {
    format!("{} {} {}", ask.id.0, ask.round, short(ask))
}

/// The root of the global topology.
pub(crate) const ROOT: &str = "/vitess/global";
