//! What the topology said last: the shards of a keyspace and the addresses of their primaries hardly ever change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use vtflow_planner::{Answer, Ask, FailureKind, What};

use crate::observe::Observer;

/// What the topology said in this request, failures among it.
pub(super) type Read = BTreeMap<Asked, Answer>;

/// What the topology said last. Of what is missing, and of what it did not answer, nothing is kept: that is asked for before anything is
/// done with it.
#[derive(Debug, Default)]
pub struct LastRecords(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    answers: BTreeMap<Asked, Arc<Answer>>,
    bytes: usize,
}

/// Cell, path or prefix, and how it was asked for.
pub(super) type Asked = (String, String, How);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    Get,
    Range,
    List,
}

/// Bytes that are kept at most; then all are forgotten. A keyspace of 256 shards has 200 kB.
const KEPT_BYTES: usize = 32 << 20;

impl LastRecords {
    pub(super) fn of(&self, asked: &Asked) -> Option<Arc<Answer>> {
        self.kept().answers.get(asked).cloned()
    }

    fn forget(&self, ask: &Ask) {
        if let Some(asked) = asked(ask) {
            self.kept().answers.remove(&asked);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for LastRecords {
    fn answered(&self, ask: &Ask, answer: &Answer, _: Duration) {
        let bytes = match answer {
            Answer::Found { value, .. } => value.len(),
            Answer::Range(records) => records.iter().map(|record| record.path.len() + record.value.len()).sum(),
            Answer::Missing { .. } => return self.forget(ask),
            _ => return,
        };
        let Some(asked) = asked(ask) else { return };
        let mut kept = self.kept();
        if kept.bytes + bytes > KEPT_BYTES {
            *kept = Kept::default();
        }
        if kept.answers.get(&asked).map(AsRef::as_ref) != Some(answer) {
            // What an answer replaces is counted on: forgetting comes sooner by that, never later.
            kept.bytes += bytes + asked.0.len() + asked.1.len();
            kept.answers.insert(asked, Arc::new(answer.clone()));
        }
    }

    fn failed(&self, ask: &Ask, _: FailureKind, _: &str, _: Duration) {
        self.forget(ask);
    }
}

pub(super) fn asked(ask: &Ask) -> Option<Asked> {
    let (cell, path, how) = match &ask.what {
        What::TopoGet { cell, path } => (cell, path, How::Get),
        What::TopoRange { cell, prefix } => (cell, prefix, How::Range),
        What::TopoList { cell, prefix } => (cell, prefix, How::List),
        _ => return None,
    };
    Some((cell.clone(), path.clone(), how))
}
