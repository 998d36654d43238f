//! A kind of write, as the engine sees it: what it looks at, what it refuses, which calls it makes, and what rows show of them.

use super::{engine::Done, plan::PlannedRow};
use crate::{
    error::Status,
    flow::{Call, FailureKind, Reply},
    query::read::Read,
    rows::result::RowSet,
    topo::targets::Target,
};

/// One kind of write.
pub(crate) trait Verb: Send {
    /// The keyspace whose primaries are the targets.
    fn keyspace(&self) -> &str;

    /// The shards; empty means all.
    fn shards(&self) -> &[String];

    /// What is locked from before the first look to after the last change, in the order in which it is taken.
    fn locks(&self) -> Vec<Lock>;

    /// What clients expect to read when the keyspace has no shards or is none.
    fn nobody(&self, why: Nobody) -> Status;

    /// What to look at on a target before anything is changed.
    fn looks(&self, target: &Target) -> Vec<Look>;

    /// What to look at again on a target whose change failed, in the same order.
    fn looks_again(&self, before: &Seen) -> Vec<Look> {
        self.looks(&before.target)
    }

    /// The next question about the cluster that is a read of its own, given what the targets show and the replies to the ones
    /// before; `None`: no more.
    fn inquiry(&self, _seen: &[Seen], _replies: &[Inquired]) -> Option<Call> {
        None
    }

    /// What to do, or why nothing is done at all. The targets are in the order of shards.
    fn prepare(&self, seen: &[Seen], replies: &[Inquired], force: bool) -> Result<Prepared, Status>;

    /// Whether the rows show that the change has been made.
    fn judge(&self, write: &Change, before: &Seen, after: &Seen) -> Shown;

    /// The response message, once every change has been made.
    fn reply(&self, seen: &[Seen], done: &[Done]) -> Result<Vec<u8>, Status>;

    /// The error, if a change has not been made or nobody can tell. `lines` has a line for each target.
    fn failure(&self, _seen: &[Seen], _done: &[Done], lines: String) -> Status {
        Status::unknown(lines)
    }
}

/// Why a keyspace has no targets.
pub(crate) enum Nobody {
    /// There is no such keyspace. `node` is the directory that would have its shards, under its full name.
    NoKeyspace { node: String },
    /// It has no shards.
    NoShards(Status),
}

impl Nobody {
    /// As vtctld says it where a request has no words of its own.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::NoKeyspace { node } => Status::unknown(format!("node doesn't exist: {node}")),
            Self::NoShards(status) => status,
        }
    }
}

/// The end of a question about the cluster.
pub(crate) struct Inquired {
    pub(crate) reply: Reply,
    /// What was asked about is not there, as the topology says: [`crate::ops::Operation::is_absent`].
    pub(crate) is_absent: bool,
}

/// A lock in the global topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The directory.
    pub(crate) path: String,
    /// What it is held for.
    pub(crate) action: &'static str,
    /// Whether the directory may be missing.
    pub(crate) is_named: bool,
    /// Whether it is waited for while somebody else holds it. If not, the request is refused at once, or goes on without it if it
    /// is forced.
    pub(crate) is_patient: bool,
    /// In front of the text of a lock that cannot be had.
    pub(crate) failure: String,
}

/// One look at a target.
pub(crate) enum Look {
    /// Rows of a sidecar table. That they cannot be read refuses the request.
    Rows(Read),
    /// One call; the verb decides what its failure means.
    Call { path: &'static str, request: Vec<u8>, subject: &'static str, statement: String },
}

/// What a look showed.
#[derive(Clone, Debug)]
pub(crate) enum Looked {
    Rows(Vec<RowSet>),
    Called(Vec<u8>),
    Refused(FailureKind, String),
}

/// A target and what it shows, in the order of its looks.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) target: Target,
    pub(crate) looked: Vec<Looked>,
}

impl Seen {
    /// The rows of one look; none if it was not a look at rows.
    pub(crate) fn rows(&self, look: usize) -> &[RowSet] {
        match self.looked.get(look) {
            Some(Looked::Rows(pages)) => pages,
            _ => &[],
        }
    }
}

/// What is to be done.
pub(crate) struct Prepared {
    pub(crate) summary: String,
    pub(crate) kept: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// In the order of targets.
    pub(crate) changes: Vec<Change>,
}

/// One call that writes.
#[derive(Clone)]
pub(crate) struct Change {
    /// Whose: a place in what [`Verb::prepare`] was given.
    pub(crate) target: usize,
    pub(crate) path: &'static str,
    pub(crate) request: Vec<u8>,
    pub(crate) subject: &'static str,
    /// The statement; of a call that carries none, one that does the same.
    pub(crate) statement: String,
    pub(crate) rows: Vec<PlannedRow>,
    /// Whether the request succeeds without it: cleaning up that nobody waits for.
    pub(crate) is_extra: bool,
}

/// What the rows show of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of it.
    All,
    /// Nothing of it.
    Nothing,
    /// Some of it, or something else.
    Part(String),
}
