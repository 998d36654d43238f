//! Locks of the topology: in a real etcd beside others who lock there as Vitess does, and in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::support::{
    etcd::Etcd,
    live::{Live, ROOT},
    program::recorded,
};
use etcd_client::{Client, GetOptions, PutOptions};
use prost::Message;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::Snapshot,
    observe::Observer,
    tablet::{TabletOptions, Tablets},
    topo::{CellRecord, EtcdConfig, EtcdTopology, HeldLock, MemoryTopology, Topology},
};
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Flow, Reply, Timestamp, contract::Verdict, proto::vtctldata::CancelSchemaMigrationRequest,
    rpc,
};

const KEYSPACE: &str = "keyspaces/customer";
const NOW: Timestamp = Timestamp { seconds: 1_795_424_044, nanos: 0 };

fn etcd_topology(etcd: &Etcd, ttl: u64) -> EtcdTopology {
    let mut config = EtcdConfig::new(etcd.address(), ROOT);
    config.lease_ttl = Duration::from_secs(ttl);
    EtcdTopology::new(&config).unwrap()
}

/// An etcd in which keyspace customer exists.
async fn etcd_with_keyspace() -> Etcd {
    let etcd = Etcd::start();
    etcd.put(&[(&format!("{ROOT}/{KEYSPACE}/Keyspace"), Vec::new())]).await;
    etcd
}

fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

async fn lock(topology: &dyn Topology, millis: u64) -> Result<Arc<dyn HeldLock>, Answer> {
    topology.lock(KEYSPACE, "Test", false, within(millis)).await
}

/// The locks of the keyspace, as everybody sees them: name and content.
async fn seen(etcd: &Etcd) -> Vec<(String, String)> {
    let mut client = Client::connect([etcd.address()], None).await.unwrap();
    let prefix = format!("{ROOT}/{KEYSPACE}/locks/");
    let found = client.get(prefix.as_str(), Some(GetOptions::new().with_prefix())).await.unwrap();
    let text = |pair: &etcd_client::KeyValue| {
        (pair.key_str().unwrap().strip_prefix(&prefix).unwrap().to_owned(), pair.value_str().unwrap().to_owned())
    };
    found.kvs().iter().map(text).collect()
}

async fn gone(etcd: &Etcd) {
    for _ in 0..300 {
        if seen(etcd).await.is_empty() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the lock is still there: {:?}", seen(etcd).await);
}

/// Takes the lock past everything under test, as a vtctld does; the lease is what a lock is called.
async fn lock_of_a_vtctld(etcd: &Etcd) -> i64 {
    let mut client = Client::connect([etcd.address()], None).await.unwrap();
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let content = "{\n  \"Action\": \"ApplySchemaKeyspace\",\n  \"HostName\": \"vtctld-7\"\n}";
    let key = format!("{ROOT}/{KEYSPACE}/locks/{lease}");
    client.put(key, content, Some(PutOptions::new().with_lease(lease))).await.unwrap();
    lease
}

async fn revoke(etcd: &Etcd, lease: i64) {
    Client::connect([etcd.address()], None).await.unwrap().lease_revoke(lease).await.unwrap();
}

async fn one_at_a_time(topology: Arc<dyn Topology>) {
    let first = lock(&*topology, 5000).await.unwrap_or_else(|answer| panic!("{answer:?}"));
    let Err(Answer::Failed { message, .. }) = lock(&*topology, 300).await else { panic!("two have one lock") };
    assert!(message.starts_with("deadline exceeded: ") && message.contains(&format!("{KEYSPACE}/locks\n")), "{message}");
    assert!(message.contains("it is held by { \"Action\": \"Test\""), "{message}");
    let waiting = {
        let topology = Arc::clone(&topology);
        tokio::spawn(async move { lock(&*topology, 10_000).await })
    };
    sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert_eq!(first.check(within(1000)).await, Ok(()));
    let range = topology.range("global", &format!("{KEYSPACE}/locks/"), within(1000)).await;
    assert!(matches!(&range, Answer::Range(locks) if locks.iter().any(|lock| lock.path.contains("/locks/"))), "{range:?}");
    assert_eq!(first.release(within(1000)).await, Answer::Unlocked);
    let second = timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    drop(second.unwrap_or_else(|answer| panic!("{answer:?}")));
    // What is dropped is free, too.
    let third = lock(&*topology, 5000).await.unwrap_or_else(|answer| panic!("{answer:?}"));
    assert_eq!(third.release(within(1000)).await, Answer::Unlocked);
    let node = |answer| match answer {
        Err(Answer::Missing { node }) => node,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a directory that is not there is locked"),
    };
    assert!(node(topology.lock("keyspaces/nope", "Test", false, within(1000)).await).ends_with("/keyspaces/nope/"));
    assert!(node(topology.lock("keyspaces/../x", "Test", true, within(1000)).await).ends_with("/x/"));
    let named = topology.lock("internal/named_locks/customer/big", "Test", true, within(1000)).await;
    assert_eq!(named.unwrap_or_else(|answer| panic!("{answer:?}")).release(within(1000)).await, Answer::Unlocked);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_in_etcd() {
    let etcd = etcd_with_keyspace().await;
    one_at_a_time(Arc::new(etcd_topology(&etcd, 30))).await;
    gone(&etcd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_in_memory() {
    let path = format!("{KEYSPACE}/Keyspace");
    let record = CellRecord { cell: "global".into(), path, version: 1, value: Vec::new() };
    one_at_a_time(Arc::new(MemoryTopology::new([record]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_named_by_its_lease_and_waits_for_that_of_a_vtctld() {
    let etcd = etcd_with_keyspace().await;
    let topology = etcd_topology(&etcd, 30);
    let other = lock_of_a_vtctld(&etcd).await;
    let Err(Answer::Failed { message, .. }) = lock(&topology, 500).await else { panic!("a vtctld holds it") };
    let want = format!("deadline exceeded: {ROOT}/{KEYSPACE}/locks\nit is held by {{ \"Action\": \"ApplySchemaKeyspace\", ");
    assert!(message.starts_with(&want) && message.contains("vtctld-7"), "{message}");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(seen(&etcd).await.len(), 1, "who gives up leaves the queue");

    let waiting = tokio::spawn(async move { lock(&topology, 10_000).await });
    sleep(Duration::from_millis(300)).await;
    assert_eq!(seen(&etcd).await.len(), 2, "who waits stands in the queue");
    revoke(&etcd, other).await;
    let held = timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap_or_else(|answer| panic!("{answer:?}"));
    let [(name, content)] = &seen(&etcd).await[..] else { panic!("one lock") };
    assert!(name.parse::<i64>().is_ok(), "{name}");
    assert!(content.starts_with("{\n  \"Action\": \"Test\",\n  \"HostName\": \""), "{content}");
    assert_eq!(held.release(within(1000)).await, Answer::Unlocked);
    assert!(seen(&etcd).await.is_empty());
}

/// A program that ends right after it has given up waiting must not keep others from the lock.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_waiting_leaves_no_place_behind() {
    let etcd = etcd_with_keyspace().await;
    let topology = etcd_topology(&etcd, 30);
    let other = lock_of_a_vtctld(&etcd).await;
    let Err(Answer::Failed { message, .. }) = lock(&topology, 300).await else { panic!("it is locked") };
    assert!(message.contains("it is held by"), "{message}");
    let locks: Vec<String> = seen(&etcd).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(locks, [other.to_string()], "as soon as that is said");
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_lock_is_taken_away_learns_of_it() {
    let etcd = etcd_with_keyspace().await;
    let topology = etcd_topology(&etcd, 30);
    let held = lock(&topology, 5000).await.unwrap_or_else(|answer| panic!("{answer:?}"));
    let range = topology.range("global", &format!("{KEYSPACE}/locks/"), within(1000)).await;
    let Answer::Range(locks) = range else { panic!("{range:?}") };
    let [taken] = locks.as_slice() else { panic!("{locks:?}") };
    assert_eq!(topology.delete("global", &taken.path, taken.version, within(1000)).await, Answer::Deleted);
    assert_eq!(held.check(within(1000)).await, Err("node doesn't exist: lease".to_owned()));
    let next = lock(&topology, 1000).await.unwrap_or_else(|answer| panic!("{answer:?}"));
    assert_eq!(next.release(within(1000)).await, Answer::Unlocked);
}

// B27, B36.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_outlives_its_lease_and_a_lost_one_says_so() {
    let etcd = etcd_with_keyspace().await;
    let topology = etcd_topology(&etcd, 2);
    let held = lock(&topology, 5000).await.unwrap_or_else(|answer| panic!("{answer:?}"));
    sleep(Duration::from_secs(6)).await;
    assert_eq!(seen(&etcd).await.len(), 1, "it is kept alive");
    assert_eq!(held.check(within(1000)).await, Ok(()));
    let lease = seen(&etcd).await[0].0.parse().unwrap();
    revoke(&etcd, lease).await;
    assert_eq!(held.check(within(1000)).await, Err("node doesn't exist: lease".to_owned()));
    let Answer::Failed { message, .. } = held.release(within(1000)).await else { panic!("it was lost") };
    assert_eq!(message, "node doesn't exist: lease");
}

/// A cancellation of all migrations of a recorded cluster whose tablets take their time.
struct Slow {
    live: Live,
    io: ClusterIo,
    locked: Arc<Locked>,
}

/// Tells when the lock is held: that its key is there is not enough, as who asks for it must see that it is the first.
#[derive(Default)]
struct Locked(Notify);

impl Observer for Locked {
    fn answered(&self, _: &Ask, answer: &Answer, _: Duration) {
        if matches!(answer, Answer::Locked) {
            self.0.notify_one();
        }
    }
}

impl Slow {
    /// `delay`: how long each answer of a tablet takes.
    async fn start(delay: Duration) -> Self {
        let mut live = Live::empty();
        let snapshot = Snapshot::load(&recorded("onlineddl-mixed")).unwrap();
        live.become_slow(snapshot, BTreeMap::new(), delay).await;
        let topology = Arc::new(etcd_topology(&live.etcd, 30));
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).unwrap());
        let deadlines = Deadlines::default();
        Self { live, io: ClusterIo { topology, tablets, deadlines }, locked: Arc::default() }
    }

    /// The request, sent beside the test; it waits `lock` for the lock.
    fn cancel(&self, lock: Duration) -> JoinHandle<Reply> {
        let mut io = self.io.clone();
        io.deadlines.lock = lock;
        tokio::spawn(Self::cancelled(io, Arc::clone(&self.locked)))
    }

    async fn cancelled(io: ClusterIo, locked: Arc<Locked>) -> Reply {
        let request = CancelSchemaMigrationRequest { keyspace: "customer".into(), uuid: "all".into(), caller_id: None };
        let path = rpc::CANCEL_SCHEMA_MIGRATION.to_owned();
        let call = Call { path, request: request.encode_to_vec(), options: CallOptions::default() };
        drive(Flow::start(&call, NOW), &io, None, &*locked).await
    }

    /// The lease of the lock, once it is held.
    async fn lease(&self) -> i64 {
        timeout(Duration::from_secs(30), self.locked.0.notified()).await.expect("nothing is locked");
        let [(name, _)] = &seen(&self.live.etcd).await[..] else { panic!("one lock") };
        name.parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_after_the_lock_is_lost() {
    let slow = Slow::start(Duration::from_secs(1)).await;
    let cancelling = slow.cancel(Duration::from_secs(10));
    revoke(&slow.live.etcd, slow.lease().await).await;
    let reply = cancelling.await.unwrap();
    let written = reply.written.unwrap();
    assert_eq!(written.outcomes.len(), 2, "{:?}", reply.result);
    for outcome in &written.outcomes {
        assert_eq!(outcome.verdict, Verdict::NotApplied, "{outcome}");
        let text = "the lock of keyspaces/customer was lost: nothing was sent (node doesn't exist: lease)";
        assert!(outcome.message.starts_with(text), "{outcome}");
    }
    assert_eq!(written.notes, ["the lock was lost on the way: node doesn't exist: lease"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_exclude_each_other_and_one_that_is_dropped_gives_its_lock_back() {
    let slow = Slow::start(Duration::from_secs(1)).await;
    let first = slow.cancel(Duration::from_secs(10));
    slow.lease().await;
    let second = slow.cancel(Duration::from_millis(300)).await.unwrap();
    let message = second.result.unwrap_err().message;
    let want = format!("lockErr in ApplySchemaKeyspace customer: deadline exceeded: {ROOT}/{KEYSPACE}/locks\nit is held by ");
    assert!(message.starts_with(&want), "{message}");
    assert!(second.written.is_none());
    assert!(!first.is_finished());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gone(&slow.live.etcd).await;
}
