//! Reading the topology of a cluster: the face of every back end, one file each.
//!
//! A back end knows keys, connections and its own error texts; what a record means is the planner's business. The texts are
//! Vitess's (`go/vt/topo/errors.go:NewError`), since clients match them.

mod cell;
pub mod etcd;
mod lock;
pub mod memory;
pub mod node;

use std::sync::Arc;

use tokio::time::Instant;
use vtflow_planner::{Answer, FailureKind, Record};

pub use etcd::{DEFAULT_READ_CONCURRENCY, EtcdConfig, EtcdCredentials, EtcdTopology};
pub use lock::{Answering, HeldLock};
pub use memory::MemoryTopology;
pub use vtflow_planner::topo::record::CellRecord;

use crate::net::grpc::code;

/// The cell that names the global topology.
pub const GLOBAL: &str = "global";

/// A back end of the topology. No method fails or outlives its deadline: what went wrong is an answer.
pub trait Topology: Send + Sync {
    /// Reads records of one cell. One answer per path, in the order of `paths`: `Found`, `Missing` or `Failed`.
    ///
    /// Paths are relative to the cell's root, without a slash in front.
    fn records<'a>(&'a self, cell: &'a str, paths: &'a [String], deadline: Instant) -> Answering<'a, Vec<Answer>>;

    /// Reads all records below a directory, at any depth: `Range`, `Missing` or `Failed`.
    ///
    /// The prefix is relative to the cell's root and ends in a slash.
    fn range<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer>;

    /// Reads the names of all records below a directory: as [`Topology::range`], with empty values. A back end that can spare
    /// itself the values has its own.
    fn list<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer> {
        Box::pin(async move {
            match self.range(cell, prefix, deadline).await {
                Answer::Range(records) => {
                    Answer::Range(records.into_iter().map(|record| Record { value: Vec::new(), ..record }).collect())
                }
                answer => answer,
            }
        })
    }

    /// Writes a record over the version that was read, or (version 0) where there is none: `Stored`, `Missing` or `Failed`, with `FAILED_PRECONDITION` and Vitess's
    /// text if it has another version by now. Sent once, whatever happens.
    fn put<'a>(
        &'a self,
        cell: &'a str,
        path: &'a str,
        value: &'a [u8],
        version: i64,
        deadline: Instant,
    ) -> Answering<'a, Answer> {
        let _ = (cell, path, value, version, deadline);
        let message = "this topology cannot be written".to_owned();
        Box::pin(std::future::ready(Answer::Failed { kind: FailureKind::Status(code::UNIMPLEMENTED), message }))
    }

    /// Deletes a record as the version that was read: `Deleted`, `Missing` or `Failed`, with `FAILED_PRECONDITION` and Vitess's text if
    /// it has another version by now. Sent once, whatever happens.
    fn delete<'a>(&'a self, cell: &'a str, path: &'a str, version: i64, deadline: Instant) -> Answering<'a, Answer> {
        let _ = (cell, path, version, deadline);
        let message = "this topology cannot be written".to_owned();
        Box::pin(std::future::ready(Answer::Failed { kind: FailureKind::Status(code::UNIMPLEMENTED), message }))
    }

    /// Locks a directory of the global topology, waiting for those who hold it now. What comes back instead of a lock:
    /// `Missing` (no such directory, unless `is_named`) or `Failed`.
    ///
    /// Giving up the wait gives up the place in the queue, too. `action`: what it is held for, for others to read.
    fn lock<'a>(
        &'a self,
        path: &'a str,
        action: &'a str,
        is_named: bool,
        deadline: Instant,
    ) -> Answering<'a, Result<Arc<dyn HeldLock>, Answer>> {
        let _ = (path, action, is_named, deadline);
        let message = "this topology cannot be locked".to_owned();
        Box::pin(std::future::ready(Err(Answer::Failed { kind: FailureKind::Status(code::UNIMPLEMENTED), message })))
    }
}

/// Vitess's text for a record that does not exist.
pub fn no_node(node: &str) -> String {
    format!("node doesn't exist: {node}")
}

/// The answer to a write over a version that the record has no more. Source: `go/vt/topo/errors.go:NewError`.
pub(crate) fn bad_version(node: &str) -> Answer {
    Answer::Failed { kind: FailureKind::Status(code::FAILED_PRECONDITION), message: format!("bad node version: {node}") }
}
