//! What goes wrong in a run, and when: each fault begins at a moment, lasts for a while, and is then over.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use vtflow_planner::proto::topodata;

use crate::{
    checks::ROOT,
    etcd::{
        self, Etcd,
        messages::{LeaseGrantRequest, PutRequest},
        store::Why,
    },
    random::Random,
    tablets,
    world::{SERVER, World},
};

/// Between two things that go wrong, in milliseconds at most: some clusters are well, most have trouble now and then, some all the time.
pub(crate) const PAUSES: [u64; 5] = [60_000, 10_000, 3_000, 1_000, 300];

/// Lets things go wrong until that moment or until it is over, and ends when all is well again.
pub(crate) async fn happen(world: Arc<World>, mut random: Random, until: Instant, pauses: &[u64], is_over: impl Fn() -> bool) {
    let most = random.pick(pauses).copied().unwrap_or(10_000);
    let mut number = 0_u64;
    let mut under_way = JoinSet::new();
    loop {
        sleep(random.millis(50, most)).await;
        if Instant::now() >= until || is_over() {
            break;
        }
        number += 1;
        let (world, own) = (Arc::clone(&world), random.of(&format!("fault {number}")));
        under_way.spawn(one(world, own, until));
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
    world.journal.event("faults", "all is well again");
}

async fn one(world: Arc<World>, mut random: Random, until: Instant) {
    let note = |name: &str, detail: &str| {
        world.journal.event("faults", format_args!("{name}: {detail}"));
        world.journal.count("fault", name);
    };
    let left = until.saturating_duration_since(Instant::now());
    // Short ones are as many as long ones.
    let most = random.pick(&[300, 3_000, 12_000, 60_000]).copied().unwrap_or(3_000);
    let lasts = random.millis(10, most).min(left);
    let peers = world.peers();
    let Some(peer) = random.pick(&peers).cloned() else { return };
    let all: Vec<_> = world.tablets.values().cloned().collect();
    let Some(tablet) = random.pick(&all).cloned() else { return };
    let etcd: Arc<Etcd> = if random.percent(75) { Arc::clone(&world.global) } else { Arc::clone(&world.second) };
    let member = usize::try_from(random.below(etcd.members.len() as u64)).unwrap_or(0);
    let host = etcd.members.get(member).cloned().unwrap_or_default();
    match random.below(16) {
        0 | 1 => {
            let connections: Vec<_> =
                world.network.connections().into_iter().filter(|connection| connection.from == SERVER).collect();
            let Some(connection) = random.pick(&connections) else { return };
            let is_one_sided = random.percent(50);
            let what = if is_one_sided { "connection cut for the server alone" } else { "connection cut" };
            note(what, &format!("{} to {}", connection.number, connection.to));
            if is_one_sided {
                connection.cut_for_dialer();
            } else {
                connection.cut();
            }
        }
        2 => {
            let connections: Vec<_> =
                world.network.connections().into_iter().filter(|connection| connection.from == SERVER).collect();
            let Some(connection) = random.pick(&connections) else { return };
            note("connection swallowed", &format!("{} to {}", connection.number, connection.to));
            connection.freeze(true);
        }
        3 | 4 => {
            note("partition", &peer);
            world.network.part(SERVER, &peer);
            sleep(lasts).await;
            world.network.join(SERVER, &peer);
            world.journal.event("faults", format_args!("partition over: {peer}"));
        }
        5 => {
            let factor = u32::try_from(random.between(5, 200)).unwrap_or(5);
            note("slow link", &format!("{peer}, {factor} times"));
            world.network.slow(SERVER, &peer, factor);
            sleep(lasts).await;
            world.network.slow(SERVER, &peer, 1);
        }
        6 => {
            note("tablet restarted", &tablet.host);
            world.network.kill(&tablet.host);
            sleep(lasts).await;
            world.network.revive(&tablet.host);
            tablet.has_begun();
            world.journal.event("faults", format_args!("{} is back", tablet.host));
        }
        7 => {
            note("etcd member restarted", &host);
            world.network.kill(&host);
            sleep(lasts).await;
            world.network.revive(&host);
            world.journal.event("faults", format_args!("{host} is back"));
        }
        8 | 9 => {
            let Some(shard) = random.pick(&world.shards).cloned() else { return };
            Arc::clone(&world).reparent(shard, &mut random).await;
        }
        10 | 11 => {
            let mood = match random.below(8) {
                0 => tablets::Mood::Slow(random.between(50, 25_000)),
                1 => tablets::Mood::Hangs,
                2 | 3 => tablets::Mood::Breaks,
                4 => tablets::Mood::Garbles,
                5 => tablets::Mood::Swells,
                6 => tablets::Mood::Lies,
                _ => tablets::Mood::ReadOnly,
            };
            note(&format!("tablet {}", name_of(&format!("{mood:?}"))), &tablet.host);
            tablet.set_mood(mood);
            sleep(lasts).await;
            tablet.set_mood(tablets::Mood::Well);
        }
        12 | 13 => {
            let mood = match random.below(5) {
                0 => etcd::Mood::Slow(random.between(20, 8_000)),
                1 => etcd::Mood::Alone,
                2 | 3 => etcd::Mood::Breaks,
                _ => etcd::Mood::Lies,
            };
            note(&format!("etcd member {}", name_of(&format!("{mood:?}"))), &host);
            etcd.set_mood(member, mood);
            sleep(lasts).await;
            etcd.set_mood(member, etcd::Mood::Well);
        }
        14 => {
            let leases = world.global.store().clients_leases();
            let Some(lease) = random.pick(&leases).copied() else { return };
            note("lease taken away", &lease.to_string());
            let _ = world.global.store().revoke(lease, Why::Taken);
        }
        _ => others(&world, &mut random, lasts, &note).await,
    }
}

/// What others do to the same cluster: they lock, and they change records.
async fn others(world: &World, random: &mut Random, lasts: Duration, note: &(impl Fn(&str, &str) + Sync)) {
    let Some(shard) = random.pick(&world.shards) else { return };
    let keyspace = &shard.keyspace;
    match random.below(3) {
        0 | 1 => {
            note("keyspace locked by others", keyspace);
            let lease = {
                let mut store = world.global.store();
                let lease = store.grant(&LeaseGrantRequest { ttl: 120, id: 0 }, false).id;
                let (key, value) = (format!("{ROOT}/keyspaces/{keyspace}/locks/{lease}"), br#"{"Action":"others"}"#.to_vec());
                let _ = store.put(PutRequest { key: key.into_bytes(), value, lease });
                lease
            };
            sleep(lasts).await;
            let _ = world.global.store().revoke(lease, Why::GivenBack);
        }
        _ => {
            let path = format!("keyspaces/{keyspace}/shards/{}/Shard", shard.name);
            let mut alias = None;
            world.change::<topodata::Shard>("global", &path, |record| alias = record.primary_alias.take());
            if alias.is_none() {
                return;
            }
            note("shard without primary", &path);
            sleep(lasts).await;
            world.change::<topodata::Shard>("global", &path, |record| {
                // Whoever has taken over meanwhile stays.
                record.primary_alias = record.primary_alias.take().or(alias);
            });
        }
    }
}

/// A mood without its number.
fn name_of(mood: &str) -> String {
    mood.split('(').next().unwrap_or(mood).to_lowercase()
}
