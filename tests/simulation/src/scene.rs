//! A small scene, put together by hand: for what a seed has found, once it is known what it was.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use vtflow::{
    network::Network,
    topo::{EtcdConfig, EtcdTopology, HeldLock, Topology},
};
use vtflow_planner::Answer;

use crate::{
    checks::{Checks, ROOT},
    etcd::{Etcd, Mood, Watcher, messages::PutRequest},
    journal::Journal,
    network::{self, From},
    random::Random,
    world::SERVER,
};

/// An etcd of one member, and a client of it.
pub struct Scene {
    etcd: Arc<Etcd>,
    topology: EtcdTopology,
}

impl Scene {
    /// An etcd with one keyspace.
    ///
    /// # Panics
    /// The addresses of a simulated etcd are good.
    #[expect(clippy::expect_used, reason = "for tests alone")]
    pub fn new() -> Self {
        let journal = Arc::new(Journal::new(false));
        let watcher: Arc<dyn Watcher> = Checks::new(Arc::clone(&journal));
        let random = Random::new(0);
        let network = network::Network::new(Arc::clone(&journal), random.of("network"));
        let etcd = Etcd::start("etcd", 1, &network, &journal, &watcher, &random);
        let put = PutRequest { key: format!("{ROOT}/keyspaces/customer/Keyspace").into_bytes(), value: vec![], lease: 0 };
        let _ = etcd.store().put(put);
        let dialing = Network::of(Arc::new(From::new(&network, SERVER)));
        let topology = EtcdTopology::over(dialing, &EtcdConfig::new(etcd.addresses(), ROOT)).expect("a good address");
        Self { etcd, topology }
    }

    /// From now on it answers a message in which there is nothing to one method, or what it should to all.
    pub fn set_empty(&self, method: Option<&'static str>) {
        self.etcd.set_mood(0, method.map_or(Mood::Well, Mood::Empty));
    }

    /// Takes the lock of the keyspace.
    ///
    /// # Errors
    /// What is said instead.
    pub async fn lock(&self) -> Result<Arc<dyn HeldLock>, Answer> {
        self.topology.lock("keyspaces/customer", "{}", false, Instant::now() + Duration::from_secs(5)).await
    }

    /// The keys of all locks.
    pub fn locks(&self) -> Vec<String> {
        self.etcd.store().locks()
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}
