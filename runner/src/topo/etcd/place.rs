//! Where a cell is: an etcd and a root in it, and the names of the nodes there.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::cluster::Cluster;
use crate::topo::node::{self, is_plain_path};

/// One cell's place: an etcd cluster and a root in it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) cluster: Arc<Cluster>,
    /// As configured or recorded; error texts show it.
    pub(super) address: String,
    pub(super) root: String,
    /// Of those who read in this cell.
    pub(super) turns: Arc<Semaphore>,
}

/// Whether there can be a record under this path. If not, it would lead elsewhere: there is nothing to read, only the name to show.
pub(super) fn readable(path: &str) -> bool {
    is_plain_path(path.strip_suffix('/').unwrap_or(path))
}

/// The name that error texts show for a path under a root.
pub(super) fn record_node(root: &str, path: &str) -> String {
    node::join(&[root, path])
}
