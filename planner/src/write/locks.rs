//! The locks of a write: whether others hold them, taking them, giving them back.
//!
//! What is looked at under a lock stays so while the lock is held: whoever switches traffic, completes or deletes a workflow takes
//! the same ones. So they are taken before the first look and given back after the last. `docs/design/0010-locks.md` has the reasons.

use std::collections::BTreeMap;

use super::kind::Lock;
use crate::{
    contract::{Answer, AskId, Code, Status, What},
    operation::Asks,
    topo::{
        names::{self, GLOBAL},
        targets::unexpected,
    },
};

/// Which locks a request about a workflow takes, in Vitess's order. Source: `go/vt/vtctl/workflow/server.go:WorkflowSwitchTraffic`,
/// v22 on. Releases before know no named locks: the keyspace's keeps them out, too.
pub(crate) fn of_workflow(keyspace: &str, workflow: &str, action: &'static str) -> Vec<Lock> {
    let named = Lock {
        path: format!("internal/named_locks/{keyspace}/{workflow}"),
        action,
        is_named: true,
        is_patient: false,
        failure: format!("failed to lock the {keyspace}/{workflow} workflow: "),
    };
    let whole = Lock {
        path: format!("keyspaces/{keyspace}"),
        action,
        is_named: false,
        is_patient: false,
        failure: format!("failed to lock the {keyspace} keyspace: "),
    };
    // A workflow's name may be anything; one that would leave the directory has no lock there.
    let is_plain = names::check_object(workflow).is_ok();
    is_plain.then_some(named).into_iter().chain([whole]).collect()
}

/// What an answer brought.
pub(crate) enum Step {
    /// There is more to wait for.
    Waiting,
    /// Nobody else holds one of them, or it is forced.
    Free,
    /// All are held by this request.
    Held,
    /// The directory to be locked is not there: its node.
    NoDirectory(String),
    /// One cannot be had.
    Refused(Status),
}

enum Waiting {
    Others,
    Lock(usize),
    GivingBack(usize),
}

/// The locks of one request.
pub(crate) struct Locks {
    wanted: Vec<Lock>,
    force: bool,
    waiting: BTreeMap<AskId, Waiting>,
    /// Locks of others: path and content.
    others: Vec<(String, String)>,
    /// Why it is not known whether others hold one.
    unknown: Vec<String>,
    /// By place in `wanted`.
    held: BTreeMap<usize, AskId>,
    lost: BTreeMap<usize, String>,
    /// By place: those that could not be had, which is no reason to stop.
    forced: BTreeMap<usize, String>,
}

impl Locks {
    pub(crate) fn new(wanted: Vec<Lock>, force: bool) -> Self {
        Self {
            wanted,
            force,
            waiting: BTreeMap::new(),
            others: Vec::new(),
            unknown: Vec::new(),
            held: BTreeMap::new(),
            lost: BTreeMap::new(),
            forced: BTreeMap::new(),
        }
    }

    /// Asks who holds the locks that are not worth waiting for; whether there are any.
    pub(crate) fn look(&mut self, asks: &mut Asks) -> bool {
        for lock in self.wanted.iter().filter(|lock| !lock.is_patient) {
            let id = asks.release(What::TopoRange { cell: GLOBAL.into(), prefix: format!("{}/locks/", lock.path) });
            self.waiting.insert(id, Waiting::Others);
        }
        !self.waiting.is_empty()
    }

    /// Asks for the next lock that is not held by now; `Held` if there is none.
    pub(crate) fn take(&mut self, asks: &mut Asks) -> Step {
        let is_done = |place: &usize| self.held.contains_key(place) || self.forced.contains_key(place);
        let next = self.wanted.iter().enumerate().find(|(place, lock)| !is_done(place) && !self.is_others(lock));
        let Some((place, lock)) = next else { return Step::Held };
        let what = What::TopoLock { path: lock.path.clone(), action: lock.action.into(), is_named: lock.is_named };
        self.waiting.insert(asks.release(what), Waiting::Lock(place));
        Step::Waiting
    }

    /// Takes an answer, if it is to one of the asks made here.
    pub(crate) fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) -> Option<Step> {
        Some(match self.waiting.remove(&id)? {
            Waiting::Others => self.looked(answer),
            Waiting::Lock(place) => self.locked(id, place, answer, asks),
            Waiting::GivingBack(place) => {
                if let Answer::Failed { message, .. } = answer {
                    self.lost.insert(place, message);
                }
                Step::Waiting
            }
        })
    }

    fn looked(&mut self, answer: Answer) -> Step {
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).split_whitespace().collect::<Vec<_>>().join(" ");
        match answer {
            Answer::Range(records) => {
                self.others.extend(records.into_iter().map(|record| (record.path, text(record.value))));
                self.others.sort();
            }
            Answer::Missing { .. } => {}
            Answer::Failed { message, .. } => self.unknown.push(message),
            other => self.unknown.push(unexpected("a read of locks", &other)),
        }
        if !self.waiting.is_empty() {
            return Step::Waiting;
        }
        self.unknown.sort();
        match (self.unknown.first(), self.others.first()) {
            _ if self.force => Step::Free,
            (Some(text), _) => Step::Refused(Status::unknown(format!("{text}\nnothing was changed"))),
            (None, Some((path, content))) => {
                let text =
                    format!("{path} is locked by {content}; nothing was changed: wait until it is given back, or force it");
                Step::Refused(Status { code: Code::FailedPrecondition, message: text })
            }
            (None, None) => Step::Free,
        }
    }

    fn locked(&mut self, id: AskId, place: usize, answer: Answer, asks: &mut Asks) -> Step {
        let Some(lock) = self.wanted.get(place) else { return Step::Waiting };
        let text = match answer {
            Answer::Locked => {
                self.held.insert(place, id);
                return self.take(asks);
            }
            Answer::Missing { node } if !lock.is_named => return Step::NoDirectory(node),
            Answer::Missing { node } => format!("node doesn't exist: {node}"),
            Answer::Failed { message, .. } => message,
            other => unexpected("a lock", &other),
        };
        if lock.is_patient {
            return Step::Refused(Status::unknown(format!("{}{text}", lock.failure)));
        }
        if self.force {
            self.forced.insert(place, format!("forced although {} could not be locked: {text}", lock.path));
            return self.take(asks);
        }
        let text = format!("{}{text}\nnothing was changed: wait until it is given back, or force it", lock.failure);
        Step::Refused(Status::unknown(text))
    }

    fn is_others(&self, lock: &Lock) -> bool {
        let directory = format!("{}/locks/", lock.path);
        self.others.iter().any(|(path, _)| path.starts_with(&directory))
    }

    /// Gives back what is held, the last one first.
    pub(crate) fn give_back(&mut self, asks: &mut Asks) {
        let held = std::mem::take(&mut self.held);
        for (&place, &lock) in held.iter().rev() {
            self.waiting.insert(asks.release(What::TopoUnlock { lock }), Waiting::GivingBack(place));
        }
    }

    pub(crate) fn waits_for(&self, id: AskId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// The directories that are locked while the request is performed.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.wanted.iter().filter(|lock| !self.is_others(lock)).map(|lock| lock.path.clone()).collect()
    }

    /// What was forced, for the plan.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let others = self.others.iter().map(|(path, content)| format!("forced although {path} is locked by {content}"));
        let unknown = self.unknown.iter().map(|_| "forced although it is not known whether others hold a lock".to_owned());
        others.chain(unknown.take(1)).collect()
    }

    /// What became of them, in their order.
    pub(crate) fn notes(&self) -> Vec<String> {
        let several = self.wanted.len() > 1;
        let lost = |(&place, text): (&usize, &String)| {
            let of = self.wanted.get(place).filter(|_| several).map_or_else(String::new, |lock| format!(" of {}", lock.path));
            format!("the lock{of} was lost on the way: {text}")
        };
        self.forced.values().cloned().chain(self.lost.iter().map(lost)).collect()
    }
}
