//! What one seed decides of a cluster: its cells, keyspaces, shards, tablets and rows, and the etcds that know of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use prost::Message;
use tokio::time::sleep;
use vtflow_embedded::{Release, Shape, Snapshot, clock::Clock, engine::Engine, generate};
use vtflow_planner::{
    Timestamp,
    proto::topodata::{self, CellInfo, TabletAlias, TabletType},
};

use crate::{
    checks::{Checks, ROOT},
    etcd::{Etcd, Watcher, messages::PutRequest},
    journal::Journal,
    network::Network,
    random::Random,
    tablets::{PORTS, Shard, Tablet, changed},
};

/// The moment at which every run begins.
pub(crate) const NOW: Timestamp = Timestamp { seconds: 1_795_424_044, nanos: 0 };

/// A cluster.
pub(crate) struct World {
    pub(crate) network: Arc<Network>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) global: Arc<Etcd>,
    /// That of the second cell; may be the global one.
    pub(crate) second: Arc<Etcd>,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) tablets: BTreeMap<String, Arc<Tablet>>,
    pub(crate) workflows: Vec<String>,
    pub(crate) migrations: Vec<String>,
    /// The moment at which its rows were read.
    pub(crate) now: Timestamp,
    /// Changes of which a caller was told that a shard does not have them, by mark.
    pub(crate) denied: Mutex<Vec<(Arc<Shard>, String)>>,
}

/// The host of the server.
pub(crate) const SERVER: &str = "vtflow";

/// The keyspaces, the first one with all the streams.
pub(crate) const KEYSPACES: [&str; 2] = ["customer", "commerce"];

pub(crate) const CELLS: [&str; 2] = ["zone1", "zone2"];

impl World {
    pub(crate) fn start(journal: &Arc<Journal>, checks: &Arc<Checks>, random: &Random) -> Arc<Self> {
        let mut choices = random.of("world");
        let shards = choices.pick(&[1, 1, 2, 2, 2, 3, 4, 4, 8, 16, 64]).copied().unwrap_or(1);
        let streams = if shards > 8 { 3 } else { u32::try_from(choices.between(1, 13)).unwrap_or(1) };
        let release = Release::new(choices.pick(&[14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 24, 24]).copied().unwrap_or(24));
        let shape = Shape {
            shards,
            streams,
            copy_states: u32::try_from(choices.between(0, 3)).unwrap_or(0),
            log_rows: u32::try_from(choices.between(0, 4)).unwrap_or(0),
            release,
        };
        journal.event("world", format_args!("{shape:?}"));
        let replicas_percent = if shards <= 8 { 40 } else { 0 };
        let world = Self::of(generate(shape, NOW), replicas_percent, choices, journal, checks, random);
        // What goes wrong in the middle of a write is what this is about.
        let aim = random.of("aimed at records").pick(&[0, 10, 40]).copied().unwrap_or(0);
        world.global.aim(aim);
        world.second.aim(aim);
        world
    }

    /// The cluster of a snapshot. In so many of a hundred cases a shard without replicas has one.
    pub(crate) fn of(
        snapshot: Snapshot,
        replicas_percent: u64,
        mut choices: Random,
        journal: &Arc<Journal>,
        checks: &Arc<Checks>,
        random: &Random,
    ) -> Arc<Self> {
        let (now, network) = (snapshot.taken_at, Network::new(Arc::clone(journal), random.of("network")));
        let watcher: Arc<dyn Watcher> = Arc::clone(checks) as _;
        let global = Etcd::start("etcd", 3, &network, journal, &watcher, random);
        let second = if choices.percent(50) {
            Etcd::start("etcd-zone2", 1, &network, journal, &watcher, random)
        } else {
            Arc::clone(&global)
        };
        checks.set_global(&global);
        let mut records: Vec<(Arc<Etcd>, String, Vec<u8>)> = Vec::new();
        let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
        for record in snapshot.topo.iter().filter(|record| record.path.ends_with("/Tablet")) {
            let tablet = topodata::Tablet::decode(record.value.as_slice()).unwrap_or_default();
            *counts.entry((tablet.keyspace, tablet.shard)).or_default() += 1;
        }
        let mut described: BTreeMap<(String, String), Vec<(String, topodata::Tablet)>> = BTreeMap::new();
        for record in snapshot.topo {
            let (etcd, root) = place(&record.cell, &global, &second);
            let mut value = record.value;
            if let Some(cell) = record.path.strip_prefix("cells/").and_then(|rest| rest.strip_suffix("/CellInfo")) {
                let (etcd, root) = place(cell, &global, &second);
                value = CellInfo { server_address: etcd.addresses(), root }.encode_to_vec();
            } else if let Some(alias) = record.path.strip_prefix("tablets/").and_then(|rest| rest.strip_suffix("/Tablet")) {
                let mut tablet = topodata::Tablet::decode(value.as_slice()).unwrap_or_default();
                lead(&mut tablet, alias);
                value = tablet.encode_to_vec();
                let of_shard = described.entry((tablet.keyspace.clone(), tablet.shard.clone())).or_default();
                of_shard.push((alias.to_owned(), tablet.clone()));
                let is_alone = counts.get(&(tablet.keyspace.clone(), tablet.shard.clone())) == Some(&1);
                if is_alone && replicas_percent > 0 && choices.percent(replicas_percent) {
                    let replica = replica(tablet);
                    let alias = alias_text(replica.alias.as_ref());
                    let path = format!("{root}/tablets/{alias}/Tablet");
                    records.push((Arc::clone(&etcd), path, replica.encode_to_vec()));
                    of_shard.push((alias, replica));
                }
            }
            records.push((etcd, format!("{root}/{}", record.path), value));
        }
        for (etcd, key, value) in records {
            // There is room for everything in an empty store.
            let _ = etcd.store().put(PutRequest { key: key.into_bytes(), value, lease: 0 });
        }

        let clock = Clock::starting_at(now);
        let mut all = Vec::new();
        for ((keyspace, name), tablets) in &described {
            let rows = tablets.iter().find_map(|(alias, _)| snapshot.tablets.get(alias));
            let Some(engine) = rows.and_then(|rows| Engine::new(rows, clock).ok()) else { continue };
            all.push(Shard::new(keyspace, name, tablets.iter().map(|(alias, _)| alias.clone()).collect(), engine));
        }
        let mut tablets = BTreeMap::new();
        for shard in &all {
            let other = choices.pick(&all).unwrap_or(shard);
            for (alias, tablet) in described.get(&(shard.keyspace.clone(), shard.name.clone())).into_iter().flatten() {
                let is_primary = tablet.r#type() == TabletType::Primary;
                let db_name = format!("vt_{}", tablet.keyspace);
                let host = tablet.hostname.as_str();
                let running = Tablet::start(alias, host, &db_name, is_primary, shard, other, &network, journal, checks, random);
                tablets.insert(alias.clone(), running);
            }
        }
        let far = tokio::time::Instant::now();
        let streams = all.iter().flat_map(|shard| shard.streams_within(far, far)).flatten();
        let mut workflows: Vec<String> = streams.map(|(_, stream)| stream.workflow).collect();
        workflows.sort_unstable();
        workflows.dedup();
        let mut migrations: Vec<String> = all.iter().flat_map(|shard| shard.migrations()).collect();
        migrations.sort_unstable();
        migrations.dedup();
        Arc::new(Self {
            network,
            journal: Arc::clone(journal),
            global,
            second,
            shards: all,
            tablets,
            workflows,
            migrations,
            now,
            denied: Mutex::default(),
        })
    }

    /// All hosts that the server talks to.
    pub(crate) fn peers(&self) -> Vec<String> {
        let tablets = self.tablets.values().map(|tablet| tablet.host.clone());
        let mut peers: Vec<String> = tablets.chain(self.global.members.clone()).chain(self.second.members.clone()).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    pub(crate) fn of_keyspace(&self, keyspace: &str) -> impl Iterator<Item = &Arc<Shard>> {
        self.shards.iter().filter(move |shard| shard.keyspace == keyspace)
    }

    /// A record as it is now; `None`: there is none.
    pub(crate) fn record<M: Message + Default>(&self, cell: &str, path: &str) -> Option<M> {
        let (etcd, root) = place(cell, &self.global, &self.second);
        let store = etcd.store();
        M::decode(store.value(&format!("{root}/{path}"))?.value.as_slice()).ok()
    }

    /// A record's revision.
    pub(crate) fn revision(&self, cell: &str, path: &str) -> Option<i64> {
        let (etcd, root) = place(cell, &self.global, &self.second);
        let store = etcd.store();
        store.value(&format!("{root}/{path}")).map(|pair| pair.mod_revision)
    }

    /// Changes a record, as others than the server do.
    pub(crate) fn change<M: Message + Default>(&self, cell: &str, path: &str, change: impl FnOnce(&mut M)) {
        let (etcd, root) = place(cell, &self.global, &self.second);
        let key = format!("{root}/{path}");
        let mut store = etcd.store();
        if let Some(value) = store.value(&key).map(|pair| changed(&pair.value, change)) {
            let _ = store.put(PutRequest { key: key.into_bytes(), value, lease: 0 });
        }
    }

    /// Another tablet becomes primary of a shard: the old one steps down, and after a while the other takes over and says so.
    pub(crate) async fn reparent(self: Arc<Self>, shard: Arc<Shard>, random: &mut Random) {
        let of_shard: Vec<&Arc<Tablet>> = shard.tablets.iter().filter_map(|alias| self.tablets.get(alias)).collect();
        let Some(old) = of_shard.iter().find(|tablet| tablet.is_primary()) else { return };
        let Some(new) = of_shard.iter().find(|tablet| !tablet.is_primary()) else { return };
        self.journal.event("world", format_args!("{}/{}: {} is to follow {}", shard.keyspace, shard.name, new.alias, old.alias));
        self.journal.count("fault", "primary moved");
        old.set_primary(false);
        let most = u64::try_from(crate::tablets::REPARENT.as_millis()).unwrap_or(0);
        sleep(random.millis(0, most)).await;
        new.set_primary(true);
        sleep(random.millis(0, 300)).await;
        for (tablet, kind) in [(old, TabletType::Replica), (new, TabletType::Primary)] {
            let cell = tablet.alias.split('-').next().unwrap_or_default();
            self.change::<topodata::Tablet>(cell, &format!("tablets/{}/Tablet", tablet.alias), |record| {
                record.r#type = kind as i32;
            });
            sleep(random.millis(0, 1_000)).await;
        }
        let alias = alias_of(&new.alias);
        self.change::<topodata::Shard>(
            "global",
            &format!("keyspaces/{}/shards/{}/Shard", shard.keyspace, shard.name),
            |record| {
                record.primary_alias = alias;
            },
        );
        self.journal.event("world", format_args!("{}/{}: {} is primary", shard.keyspace, shard.name, new.alias));
    }
}

/// The etcd and the root of a cell.
fn place(cell: &str, global: &Arc<Etcd>, second: &Arc<Etcd>) -> (Arc<Etcd>, String) {
    match cell {
        "global" => (Arc::clone(global), ROOT.to_owned()),
        "zone2" => (Arc::clone(second), "/vitess/zone2".to_owned()),
        cell => (Arc::clone(global), format!("/vitess/{cell}")),
    }
}

fn lead(tablet: &mut topodata::Tablet, alias: &str) {
    tablet.hostname = format!("tablet-{alias}");
    let (grpc, pages) = PORTS;
    tablet.port_map = [("grpc".to_owned(), i32::from(grpc)), ("vt".to_owned(), i32::from(pages))].into();
}

fn replica(mut primary: topodata::Tablet) -> topodata::Tablet {
    if let Some(alias) = &mut primary.alias {
        alias.uid += 1;
    }
    primary.r#type = TabletType::Replica as i32;
    let alias = alias_text(primary.alias.as_ref());
    lead(&mut primary, &alias);
    primary
}

pub(crate) fn alias_text(alias: Option<&TabletAlias>) -> String {
    alias.map_or_else(String::new, |alias| format!("{}-{:010}", alias.cell, alias.uid))
}

pub(crate) fn alias_of(text: &str) -> Option<TabletAlias> {
    let (cell, uid) = text.split_once('-')?;
    Some(TabletAlias { cell: cell.to_owned(), uid: uid.parse().ok()? })
}
