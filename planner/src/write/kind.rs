//! A kind of write: what it looks at, what it refuses, which changes it makes, and what rows show of them.

use prost::DecodeError;

use crate::{
    contract::Status,
    sidecar::survey::Look,
    topo::{names::KeyspaceName, targets::Target},
    write::{
        change::{Change, Prepared},
        inquiry::{Inquired, Inquiry},
        judge::{Done, Shown},
        seen::Seen,
    },
};

/// One kind of write that changes rows of tablets.
pub(crate) trait TabletWrite: Send {
    /// The keyspace whose primaries are the targets.
    fn keyspace(&self) -> &str;

    /// The shards; empty means all.
    fn shards(&self) -> &[String];

    /// What is locked from before the first look to after the last change, in the order in which it is taken.
    fn locks(&self) -> Vec<Lock>;

    /// What clients expect to read when the keyspace has no shards or is none.
    fn no_targets(&self, why: NoTargets) -> Status;

    /// The same where the keyspace has no shard of a name that was given. `status`: what most requests say.
    fn no_shard(&self, _shard: &str, status: Status) -> Status {
        status
    }

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
    fn judge(&self, change: &Change, before: &Seen, after: &Seen) -> Shown;

    /// The response message, once every change has been made.
    fn reply(&self, seen: &[Seen], done: &[Done]) -> Result<Vec<u8>, Status>;

    /// The error, if a change has not been made or nobody can tell. `lines` has a line for each target.
    fn failure(&self, _seen: &[Seen], _done: &[Done], lines: String) -> Status {
        Status::unknown(lines)
    }
}

/// One kind of write that changes records of the topology: a keyspace's own and those of its cells.
pub(crate) trait RecordWrite: Send {
    /// The keyspace.
    fn keyspace(&self) -> &KeyspaceName;

    /// What is locked from before the first look to after the last change, in the order in which it is taken.
    fn locks(&self) -> Vec<Lock>;

    /// What a record becomes. `cell`: whose it is; [`crate::topo::names::GLOBAL`]: the keyspace's own.
    ///
    /// # Errors
    /// The bytes are no such record.
    fn edited(&self, cell: &str, record: &[u8]) -> Result<Vec<u8>, DecodeError>;

    /// The plan's first line.
    fn summary(&self, records: usize) -> String;

    /// What changes in each record.
    fn statement(&self) -> String;

    /// The response message, once every change has been made.
    fn reply(&self) -> Vec<u8>;
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
