//! Which cluster a command is about, and the way to it: flags to an open cluster.

#[cfg(feature = "embedded")]
pub(crate) mod embed;
pub(crate) mod flags;
pub(crate) mod open;

use std::sync::Arc;

use anyhow::bail;

use self::{flags::ConnectArgs, open::OpenCluster};

impl ConnectArgs {
    /// Opens the cluster that the flags name.
    ///
    /// # Errors
    /// No cluster is named, a file cannot be read, or the flags contradict each other. Whether the cluster answers is only
    /// seen by asking it.
    pub(crate) async fn open(&self) -> anyhow::Result<OpenCluster> {
        if self.snapshot.is_some() || self.demo {
            return self.embedded().await;
        }
        if !self.has_topology_server() {
            bail!(
                "which cluster? Give --topo-implementation etcd2 --topo-global-server-address HOST:PORT --topo-global-root ROOT \
                 for a live one, --snapshot DIR for a recorded one, or --demo to look around"
            );
        }
        self.with_topology(Arc::new(self.etcd()?))
    }

    #[cfg(not(feature = "embedded"))]
    #[allow(clippy::unused_async, reason = "with embedded tablets it waits for them")]
    async fn embedded(&self) -> anyhow::Result<OpenCluster> {
        bail!("this vtflow was built without embedded tablets (its feature `embedded`): it has neither --demo nor --snapshot")
    }
}
