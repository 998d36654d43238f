//! Writing into etcd for requests: one record over the version that was read, or away with it.

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
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

    /// Deletes one record as the version that was read. A lease that it had ends with it: by that, whoever holds a lock learns that it
    /// was taken away.
    pub(super) async fn delete_over(&self, path: &str, version: i64, deadline: Instant) -> Answer {
        let node = record_node(&self.root, path);
        if !is_plain_path(path) {
            return Answer::Missing { node };
        }
        let txn = Txn::new()
            .when([Compare::mod_revision(node.as_str(), CompareOp::Equal, version)])
            .and_then([TxnOp::delete(node.as_str(), Some(DeleteOptions::new().with_prev_key()))])
            .or_else([TxnOp::get(node.as_str(), Some(GetOptions::new().with_keys_only()))]);
        match self.cluster.write(deadline, |mut etcd| async move { etcd.txn(txn).await }).await {
            Ok(done) if done.succeeded() && version != 0 => {
                for lease in leases(&done) {
                    // The record is gone. Where this fails, the lease ends by itself, with nothing left in it.
                    let _ = self.cluster.lease(deadline, |mut etcd| async move { etcd.revoke(lease).await }).await;
                }
                Answer::Deleted
            }
            // Revision 0 is that of what is not there.
            Ok(done) if done.succeeded() => Answer::Missing { node },
            Ok(done) => not_that_version(&done, node),
            Err(trouble) => trouble.as_answer(&node, &self.address, &self.root),
        }
    }
}

/// The leases of records that were deleted.
fn leases(done: &TxnResponse) -> Vec<i64> {
    let deleted = done.op_responses().into_iter().map(|response| match response {
        TxnOpResponse::Delete(deleted) => deleted.prev_kvs().iter().map(etcd_client::KeyValue::lease).collect(),
        _ => Vec::new(),
    });
    deleted.flatten().filter(|lease| *lease != 0).collect()
}

/// The answer where the record has another version, or is not there.
fn not_that_version(done: &TxnResponse, node: String) -> Answer {
    let is_there = |response: TxnOpResponse| matches!(response, TxnOpResponse::Get(found) if !found.kvs().is_empty());
    if done.op_responses().into_iter().any(is_there) { bad_version(&node) } else { Answer::Missing { node } }
}
