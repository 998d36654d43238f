//! A kind of write: what it looks at, what it refuses, which calls it makes, and what rows show of them.

use crate::{
    contract::{FailureKind, Outcome, PlannedRow, Status, Verdict},
    sidecar::{
        query::Query,
        result::RowSet,
        survey::{Look, Looked},
    },
    topo::targets::Target,
    write::inquiry::{Inquired, Inquiry},
};

/// One kind of write.
pub(crate) trait TabletWrite: Send {
    /// The keyspace whose primaries are the targets.
    fn keyspace(&self) -> &str;

    /// The shards; empty means all.
    fn shards(&self) -> &[String];

    /// What is locked from before the first look to after the last change, in the order in which it is taken.
    fn locks(&self) -> Vec<Lock>;

    /// What clients expect to read when the keyspace has no shards or is none.
    fn no_targets(&self, why: NoTargets) -> Status;

    /// What to look at on a target before anything is changed.
    fn looks(&self, target: &Target) -> Vec<Look>;

    /// What to look at again on a target whose change failed, in the same order.
    fn looks_again(&self, before: &Seen) -> Vec<Look> {
        self.looks(&before.target)
    }

    /// The next question about the cluster that is a read of its own, given what the targets show and the replies to the ones
    /// before; `None`: no more.
    fn inquiry(&self, _seen: &[Seen], _replies: &[Inquired]) -> Option<Inquiry> {
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
pub(crate) enum NoTargets {
    /// There is no such keyspace. `node` is the directory that would have its shards, under its full name.
    NoKeyspace { node: String },
    /// It has no shards.
    NoShards(Status),
}

impl NoTargets {
    /// As vtctld says it where a request has no words of its own.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::NoKeyspace { node } => Status::unknown(format!("node doesn't exist: {node}")),
            Self::NoShards(status) => status,
        }
    }
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
            Some(Looked::Rows(pages, _)) => pages,
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
    /// Whose: a place in what [`TabletWrite::prepare`] was given.
    pub(crate) target: usize,
    /// The call; of one that carries no statement, with one that does the same.
    pub(crate) query: Query,
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

/// A change and what its call brought.
pub(crate) struct Done {
    pub(crate) change: Change,
    pub(crate) verdict: Verdict,
    /// Rows changed; `None`: the tablet answered without a result.
    pub(crate) rows: Option<u64>,
    /// What the tablet said instead of a result; empty if it gave one.
    pub(crate) error: String,
    /// What the second look showed, in words.
    pub(super) shown: String,
    pub(super) kind: Option<FailureKind>,
}

impl Done {
    pub(super) fn outcome(&self, seen: &[Seen]) -> Outcome {
        let target = seen.get(self.change.target).map(|seen| &seen.target);
        let text = |f: fn(&Target) -> String| target.map_or_else(String::new, f);
        let message = match (self.error.as_str(), self.shown.as_str()) {
            (error, "") => error.to_owned(),
            (error, shown) => format!("{error} ({shown})"),
        };
        Outcome {
            keyspace: text(|target| target.keyspace.clone()),
            shard: text(|target| target.place.shard.clone()),
            tablet: text(|target| target.address.alias.clone()),
            verdict: self.verdict,
            rows: self.rows.unwrap_or_default(),
            message,
        }
    }
}
