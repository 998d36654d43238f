//! The targets of an unlock: locks that a dead process has left on a workflow, and on keyspaces with it.
//!
//! A vtctld's lock on a workflow has a lease of a day that nobody renews: it stands for so long after its holder has died, and keeps everybody
//! from the workflow. Nothing in it says whether the holder lives. What proves that it does not is [`crate::traffic::locks::gone`]'s; without
//! a proof a lock is taken away only where that is forced, and then only the workflow's own: those on keyspaces end by themselves.
//!
//! Facts: `go/vt/topo/named_lock.go`, `etcd2topo/lock.go`, v21 to v24.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, Code, Failure, FailureKind, Lost, PlannedRow, PlannedWrite, Status, Timestamp, What},
    operation::Asks,
    proto::vtflow::{UnlockRequest, UnlockResponse},
    topo::{
        names::{self, GLOBAL, KeyspaceName},
        targets::unexpected,
    },
    traffic::{
        evidence,
        locks::{self, Host},
    },
    words::{duration, plural},
    write::{
        change::{Change, Prepared, Stage},
        judge::{Done, Shown},
        kind::{Lock, NoTargets},
        targets::{TargetSet, refused},
    },
};

enum Waiting {
    /// The workflow's own.
    Own,
    /// All paths of keyspaces, those of locks among them.
    Keyspaces,
    /// A keyspace's.
    OfKeyspace(String),
    /// A second look, by place.
    Again(usize),
}

/// A lock that stands.
struct Standing {
    lock: evidence::Lock,
    version: i64,
}

/// The locks of one workflow.
pub(crate) struct Unlock {
    keyspace: KeyspaceName,
    workflow: String,
    host: Option<Host>,
    now: Timestamp,
    waiting: BTreeMap<AskId, Waiting>,
    own: Vec<Standing>,
    of_keyspaces: Vec<Standing>,
    /// Paths of keyspaces' locks that are still to be read.
    unread: BTreeSet<String>,
    failures: Vec<Failure>,
    again: BTreeMap<usize, Answer>,
}

impl Unlock {
    /// Reads the request.
    ///
    /// # Errors
    /// A keyspace or a workflow that has no lock of its own, for its name.
    pub(crate) fn new(call: &Call, now: Timestamp) -> Result<Self, Status> {
        let request: UnlockRequest = crate::operation::decode(call)?;
        let keyspace = KeyspaceName::of_request(&request.keyspace)?;
        names::check_object(&request.workflow).map_err(|bad| Status {
            code: Code::InvalidArgument,
            message: format!("workflow {:?} has no lock of its own: {bad}", request.workflow),
        })?;
        Ok(Self {
            keyspace,
            workflow: request.workflow,
            host: request.host.map(Host::from),
            now,
            waiting: BTreeMap::new(),
            own: Vec::new(),
            of_keyspaces: Vec::new(),
            unread: BTreeSet::new(),
            failures: Vec::new(),
            again: BTreeMap::new(),
        })
    }

    fn directory(&self) -> String {
        format!("{}{}/{}/locks/", evidence::NAMED_LOCKS, &*self.keyspace, self.workflow)
    }

    fn lost(&mut self, message: String) {
        let (keyspace, workflow) = (self.keyspace.to_string(), self.workflow.clone());
        let failure = Failure { keyspace, shard: String::new(), tablet: String::new(), workflow, lost: Lost::Record, message };
        self.failures.push(failure);
    }

    /// Those that can be taken away, with why, in the order of their paths: the workflow's own first. A vtflow's are never: they do not
    /// outlive it for long.
    ///
    /// # Errors
    /// Why one of the workflow's own cannot.
    fn removable(&self, force: bool) -> Result<Vec<(&Standing, String)>, Vec<String>> {
        let all: Vec<evidence::Lock> = self.own.iter().chain(&self.of_keyspaces).map(|it| it.lock.clone()).collect();
        let gone = |it: &Standing| locks::gone(&it.lock, &all, self.host.as_ref(), self.now.seconds);
        let (mut removable, mut refused) = (Vec::new(), Vec::new());
        for it in self.own.iter().filter(|it| !it.lock.is_kept_alive) {
            match gone(it) {
                Ok(why) => removable.push((it, why)),
                Err(_) if force => removable.push((it, "forced, without a proof that its holder is gone".to_owned())),
                Err(why) => refused.push(format!("{}: {why}", self.told(it))),
            }
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        for it in &self.of_keyspaces {
            let follows = |own: &&Standing| own.lock.holder == it.lock.holder && own.lock.since <= it.lock.since;
            if let (Some(_), Ok(why)) = (self.own.iter().find(follows), gone(it)) {
                removable.push((it, why));
            }
        }
        Ok(removable)
    }

    fn told(&self, standing: &Standing) -> String {
        let lock = &standing.lock;
        let what = if lock.action.is_empty() { String::new() } else { format!(" for {}", lock.action) };
        let ago = self.now.seconds.saturating_sub(lock.since).max(0);
        let since = if lock.since > 0 { format!(" {} ago", duration(ago)) } else { String::new() };
        format!("{}, taken by {}{what}{since}", lock.path, lock.holder)
    }

    fn change(&self, target: usize, standing: &Standing, why: &str) -> Change {
        let path = &standing.lock.path;
        let basis = format!("version {}", standing.version);
        let row = PlannedRow { name: "lock".into(), about: format!("{}: {why}", self.told(standing)), basis };
        Change {
            target,
            stage: Stage::First,
            undo: None,
            planned: PlannedWrite {
                keyspace: self.keyspace.to_string(),
                shard: String::new(),
                tablet: GLOBAL.into(),
                address: path.clone(),
                db_name: String::new(),
                rpc: String::new(),
                request: Vec::new(),
                statement: format!("delete {path}"),
                rows: vec![row],
            },
            ask: What::TopoDelete { cell: GLOBAL.into(), path: path.clone(), version: standing.version },
        }
    }
}

impl TargetSet for Unlock {
    fn locks(&self) -> Vec<Lock> {
        // Whoever is to be unlocked cannot be locked.
        Vec::new()
    }

    fn no_directory(&self, node: String) -> Status {
        NoTargets::NoKeyspace { node }.status()
    }

    fn look(&mut self, asks: &mut Asks) -> Result<(), Status> {
        let own = What::TopoRange { cell: GLOBAL.into(), prefix: self.directory() };
        self.waiting.insert(asks.release(own), Waiting::Own);
        let all = What::TopoList { cell: GLOBAL.into(), prefix: "keyspaces/".into() };
        self.waiting.insert(asks.release(all), Waiting::Keyspaces);
        Ok(())
    }

    fn answered(&mut self, id: AskId, answer: Answer, _asks: &mut Asks) {
        match (self.waiting.remove(&id), answer) {
            (Some(Waiting::Again(target)), answer) => drop(self.again.insert(target, answer)),
            (None, _) | (Some(Waiting::Own | Waiting::Keyspaces | Waiting::OfKeyspace(_)), Answer::Missing { .. }) => {}
            (Some(_), Answer::Failed { message, .. }) => self.lost(message),
            (Some(Waiting::Own), Answer::Range(records)) => {
                let standing =
                    |it: crate::contract::Record| Standing { lock: locks::read(&it.path, &it.value), version: it.version };
                self.own.extend(records.into_iter().map(standing));
            }
            (Some(Waiting::Keyspaces), Answer::Range(records)) => {
                let is_lock = |path: &str| path.split('/').nth(2) == Some("locks");
                self.unread.extend(records.into_iter().map(|record| record.path).filter(|path| is_lock(path)));
            }
            (Some(Waiting::OfKeyspace(path)), Answer::Found { value, version }) => {
                self.of_keyspaces.push(Standing { lock: locks::read(&path, &value), version });
            }
            (Some(_), other) => self.lost(unexpected("a read of locks", &other)),
        }
    }

    fn failures(&self) -> Vec<Failure> {
        let mut failures = self.failures.clone();
        failures.sort();
        failures
    }

    fn look_on(&mut self, asks: &mut Asks) -> Result<bool, Status> {
        if !self.failures.is_empty() {
            return Err(refused(&self.failures(), false, ""));
        }
        let unread = std::mem::take(&mut self.unread);
        if self.own.is_empty() || unread.is_empty() {
            for standing in [&mut self.own, &mut self.of_keyspaces] {
                standing.sort_by(|a, b| a.lock.path.cmp(&b.lock.path));
            }
            return Ok(false);
        }
        for path in unread {
            let what = What::TopoGet { cell: GLOBAL.into(), path: path.clone() };
            self.waiting.insert(asks.release(what), Waiting::OfKeyspace(path));
        }
        Ok(true)
    }

    fn prepare(&self, force: bool) -> Result<Prepared, Status> {
        let workflow = format!("{}.{}", &*self.keyspace, self.workflow);
        let removable = self.removable(force).map_err(|refused| {
            let text = "nothing was changed: a lock is taken away where its holder is known to be gone, or where that is forced";
            Status { code: Code::FailedPrecondition, message: format!("{}\n{text}", refused.join("\n")) }
        })?;
        let is_removed = |it: &&Standing| removable.iter().all(|(other, _)| other.lock.path != it.lock.path);
        let of_keyspaces = self.of_keyspaces.iter().filter(|_| !self.own.is_empty());
        let kept = self.own.iter().chain(of_keyspaces).filter(is_removed);
        let kept = kept.map(|it| format!("{}: it ends by itself, soon after its holder has", self.told(it)));
        let none = self.own.is_empty().then(|| format!("there is no lock on workflow {workflow}"));
        let changes: Vec<Change> =
            removable.iter().enumerate().map(|(target, (standing, why))| self.change(target, standing, why)).collect();
        let forced = self.own.iter().filter(|it| force && !it.lock.is_kept_alive);
        let forced = forced.map(|it| format!("whoever holds {} and lives is not told before it writes", it.lock.path));
        Ok(Prepared {
            summary: format!("This takes away {} on workflow {workflow}:", plural(changes.len(), "lock")),
            kept: none.into_iter().chain(kept).collect(),
            warnings: forced.collect(),
            changes,
        })
    }

    fn look_again(&mut self, target: usize, asks: &mut Asks) {
        let removable = self.removable(true).unwrap_or_default();
        let Some(path) = removable.get(target).map(|(standing, _)| standing.lock.path.clone()) else { return };
        self.waiting.insert(asks.release(What::TopoGet { cell: GLOBAL.into(), path }), Waiting::Again(target));
    }

    fn shown(&self, change: &Change) -> Option<Shown> {
        Some(match self.again.get(&change.target)? {
            Answer::Missing { .. } => Shown::All,
            Answer::Found { .. } => Shown::Nothing,
            Answer::Failed { kind: FailureKind::Status(_) | FailureKind::Unreachable, message } => Shown::Unseen(message.clone()),
            other => Shown::Unclear(unexpected("looking again", other)),
        })
    }

    fn reply(&self, done: &[Done]) -> Result<Vec<u8>, Status> {
        let paths = done.iter().map(|done| done.change.planned.address.clone()).collect();
        Ok(UnlockResponse { paths }.encode_to_vec())
    }
}
