//! Clusters that run in this process: a snapshot, the demo, or one that is made up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use prost::Message;
use vtflow_planner::proto::topodata::CellInfo;

use super::{
    flags::ConnectArgs,
    open::{OpenCluster, now},
};
use crate::{
    embedded::{Cluster, Fault, Snapshot, generate},
    output::terminal,
    topo::{CellRecord, GLOBAL, MemoryTopology},
};

/// What is done to an embedded cluster before it is looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Embedding {
    /// Tablets that misbehave.
    pub(crate) faults: BTreeMap<String, Fault>,
    /// How long every tablet call takes at least.
    pub(crate) tablet_delay: Duration,
    /// How long every read of the topology takes at least.
    pub(crate) topo_delay: Duration,
}

impl ConnectArgs {
    /// The cluster that `--snapshot` or `--demo` names.
    pub(super) async fn embedded(&self) -> anyhow::Result<OpenCluster> {
        let snapshot = match &self.snapshot {
            Some(dir) => Snapshot::load(dir)?,
            None => generate::demo(now()),
        };
        self.embed(snapshot, Embedding::default()).await
    }

    /// Starts an embedded cluster and opens it.
    pub(crate) async fn embed(&self, snapshot: Snapshot, embedding: Embedding) -> anyhow::Result<OpenCluster> {
        let (taken_at, unreadable) = (snapshot.taken_at, snapshot.unreadable.records.clone());
        for alias in embedding.faults.keys() {
            let path = format!("tablets/{alias}/Tablet");
            if !snapshot.topo.iter().any(|record| record.path == path) {
                bail!("this cluster has no tablet {alias}: its tablets are {}", some_aliases(&snapshot));
            }
        }
        let cluster = Cluster::start(snapshot, embedding.faults, embedding.tablet_delay)
            .await
            .context("the embedded tablets do not start")?;
        cluster.warnings().iter().for_each(|warning| terminal::error_line(&format!("warning: {warning}")));
        let topology = MemoryTopology::new(cluster.topo()).with_unreadable(unreadable).with_delay(embedding.topo_delay);
        let connected = self.with_topology(Arc::new(topology))?;
        Ok(OpenCluster { recorded_at: Some(taken_at), embedded: Some(cluster), ..connected })
    }

    /// An embedded cluster's records as they belong into the etcd that the flags name: every cell beside the global root.
    pub(crate) fn etcd_records(&self, mut records: Vec<CellRecord>) -> Vec<CellRecord> {
        let address = self.topo_global_server_address.clone().unwrap_or_default();
        let root = self.topo_global_root.as_deref().unwrap_or_default().trim_end_matches('/');
        let beside = root.rsplit_once('/').map_or("", |(parent, _)| parent);
        for record in records.iter_mut().filter(|record| record.cell == GLOBAL) {
            if let Some(cell) = record.path.strip_prefix("cells/").and_then(|rest| rest.strip_suffix("/CellInfo")) {
                let info = CellInfo { server_address: address.clone(), root: format!("{beside}/{cell}") };
                record.value = info.encode_to_vec();
            }
        }
        records
    }
}

/// A few of a cluster's tablets, so that a mistyped one can be corrected.
fn some_aliases(snapshot: &Snapshot) -> String {
    let mut aliases: Vec<&str> =
        snapshot.topo.iter().filter_map(|record| record.path.strip_prefix("tablets/")?.strip_suffix("/Tablet")).collect();
    aliases.sort_unstable();
    let more = if aliases.len() > 8 { format!(" and {} more", aliases.len() - 8) } else { String::new() };
    aliases.truncate(8);
    format!("{}{more}", aliases.join(", "))
}
