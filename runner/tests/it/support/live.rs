//! A live cluster to all appearances: embedded tablets on their ports, and a real etcd whose records lead there.

use std::{collections::BTreeMap, time::Duration};

use prost::Message;
use tokio::time::Instant;
use vtflow::{
    embedded::{Cluster, Fault, Snapshot},
    topo::{CellRecord, EtcdConfig, EtcdTopology},
};
use vtflow_planner::proto::topodata::CellInfo;

use super::etcd::Etcd;

/// Not Vitess' usual one, so that it can only come from the flag.
pub(crate) const ROOT: &str = "/clusters/one/global";

pub(crate) struct Live {
    pub(crate) etcd: Etcd,
    /// `None` until it is started.
    cluster: Option<Cluster>,
}

impl Live {
    /// The topology server alone.
    pub(crate) fn empty() -> Self {
        Self { etcd: Etcd::start(), cluster: None }
    }

    /// A recorded cluster, alive.
    pub(crate) async fn start(snapshot: Snapshot) -> Self {
        let mut live = Self::empty();
        live.become_like(snapshot, BTreeMap::new()).await;
        live
    }

    /// Starts the tablets anew, some of them faulty, and writes where they are over what etcd holds.
    pub(crate) async fn become_like(&mut self, snapshot: Snapshot, faults: BTreeMap<String, Fault>) {
        self.become_slow(snapshot, faults, Duration::ZERO).await;
    }

    /// The same with tablets whose every answer takes so long.
    pub(crate) async fn become_slow(&mut self, snapshot: Snapshot, faults: BTreeMap<String, Fault>, delay: Duration) {
        let cluster = Cluster::start(snapshot, faults, delay).await.unwrap();
        let records: Vec<CellRecord> = cluster
            .topo()
            .into_iter()
            .map(|record| {
                let cell = record.path.strip_prefix("cells/").and_then(|rest| rest.strip_suffix("/CellInfo"));
                let value = match cell {
                    Some(cell) => {
                        CellInfo { server_address: self.etcd.address(), root: format!("/cells/{cell}") }.encode_to_vec()
                    }
                    None => record.value,
                };
                CellRecord { cell: record.cell, path: record.path, version: record.version, value }
            })
            .collect();
        let topology = EtcdTopology::new(&EtcdConfig::new(self.etcd.address(), ROOT)).unwrap();
        topology.put_all(&records, true, Instant::now() + Duration::from_secs(30)).await.unwrap();
        self.cluster = Some(cluster);
    }

    /// Its tablets.
    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().unwrap()
    }

    /// The flags that lead here.
    pub(crate) fn flags(&self) -> Vec<String> {
        ["--topo-implementation", "etcd2", "--topo-global-server-address", &self.etcd.address(), "--topo-global-root", ROOT]
            .map(str::to_owned)
            .to_vec()
    }
}
