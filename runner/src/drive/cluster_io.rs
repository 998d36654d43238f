//! What every request of a cluster shares.

use std::sync::Arc;

use crate::{deadline::Deadlines, tablet::Tablets, topo::Topology};

/// A cluster, as far as it can be asked: what every request shares.
#[derive(Clone)]
pub struct ClusterIo {
    /// Where records are.
    pub topology: Arc<dyn Topology>,
    /// Who calls tablets.
    pub tablets: Arc<Tablets>,
    /// How long each ask may take.
    pub deadlines: Deadlines,
}
