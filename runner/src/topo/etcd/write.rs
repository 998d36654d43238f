//! Writing into etcd for requests: one record over the version that was read, or away with it.

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::time::Instant;
use vtflow_planner::Answer;

use super::place::{Place, record_node};
use crate::topo::{bad_version, node::is_plain_path};

impl Place {
    /// Writes one record over the version that was read, which is its modification's revision; etcd's own of what is not there is 0.
    pub(super) async fn put_over(&self, path: &str, value: &[u8], version: i64, deadline: Instant) -> Answer {
        let node = record_node(&self.root, path);
        if !is_plain_path(path) {
            return Answer::Missing { node };
        }
        let txn = Txn::new()
            .when([Compare::mod_revision(node.as_str(), CompareOp::Equal, version)])
            .and_then([TxnOp::put(node.as_str(), value, None)])
            .or_else([TxnOp::get(node.as_str(), Some(GetOptions::new().with_keys_only()))]);
        match self.cluster.write(deadline, |mut etcd| async move { etcd.txn(txn).await }).await {
            Ok(done) if done.succeeded() => {
                Answer::Stored { version: done.header().map_or(0, etcd_client::ResponseHeader::revision) }
            }
            Ok(done) => not_that_version(&done, node),
            Err(trouble) => trouble.as_answer(&node, &self.address, &self.root),
        }
    }

    /// Deletes one record as the version that was read.
    pub(super) async fn delete_over(&self, path: &str, version: i64, deadline: Instant) -> Answer {
        let node = record_node(&self.root, path);
        if !is_plain_path(path) {
            return Answer::Missing { node };
        }
        let txn = Txn::new()
            .when([Compare::mod_revision(node.as_str(), CompareOp::Equal, version)])
            .and_then([TxnOp::delete(node.as_str(), None)])
            .or_else([TxnOp::get(node.as_str(), Some(GetOptions::new().with_keys_only()))]);
        match self.cluster.write(deadline, |mut etcd| async move { etcd.txn(txn).await }).await {
            Ok(done) if done.succeeded() && version != 0 => Answer::Deleted,
            // Revision 0 is that of what is not there.
            Ok(done) if done.succeeded() => Answer::Missing { node },
            Ok(done) => not_that_version(&done, node),
            Err(trouble) => trouble.as_answer(&node, &self.address, &self.root),
        }
    }
}

/// The answer where the record has another version, or is not there.
fn not_that_version(done: &TxnResponse, node: String) -> Answer {
    let is_there = |response: TxnOpResponse| matches!(response, TxnOpResponse::Get(found) if !found.kvs().is_empty());
    if done.op_responses().into_iter().any(is_there) { bad_version(&node) } else { Answer::Missing { node } }
}
