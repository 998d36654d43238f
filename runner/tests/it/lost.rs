//! Connections that are lost without a word, as a NAT loses them: the first request after that succeeds, and no write is sent twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests, and what they share")]

use std::time::Duration;

use crate::support::{etcd::Etcd, relay::Relay, server::RawServer};
use tokio::time::Instant;
use vtflow::{
    tablet::{TabletOptions, Tablets},
    topo::{EtcdConfig, EtcdTopology, Topology},
};
use vtflow_planner::{Answer, Effect, TabletAddress};

/// Long enough for a third of it on a busy machine, short enough for a test.
const WAIT: Duration = Duration::from_secs(6);

/// Longer than a connection may be silent before it is looked at.
const IDLE: Duration = Duration::from_millis(700);

fn tablet(relay: &Relay) -> TabletAddress {
    let (alias, cell) = ("zone1-0000000100".to_owned(), "zone1".to_owned());
    TabletAddress { alias, cell, host: relay.address.ip().to_string(), grpc_port: relay.address.port() }
}

#[tokio::test]
async fn a_read_of_a_tablet_is_asked_again_and_a_write_is_sent_once() {
    let server = RawServer::start();
    let relay = Relay::to(server.address.to_string()).await;
    let tablets = Tablets::new(TabletOptions::default()).unwrap();
    let ask = |path: &'static str, message: &'static [u8], effect| {
        let (tablets, tablet) = (&tablets, tablet(&relay));
        async move { tablets.call(&tablet, path, message, effect, WAIT, None).await }
    };
    assert_eq!(ask("/raw/echo", b"one", Effect::Read).await, Answer::Called(b"one".to_vec()));
    relay.lose();
    let begun = Instant::now();
    assert_eq!(ask("/raw/echo", b"two", Effect::Read).await, Answer::Called(b"two".to_vec()));
    assert!(begun.elapsed() < WAIT / 2, "{:?}", begun.elapsed());

    tokio::time::sleep(IDLE).await;
    relay.lose();
    let before = server.seen.calls();
    assert_eq!(ask("/raw/echo", b"write", Effect::Write).await, Answer::Called(b"write".to_vec()));
    assert_eq!(server.seen.calls(), before + 1, "the write, once, and nothing of the connection that was lost");

    // An answer that is slow is not a connection that is dead.
    assert_eq!(ask("/raw/slow", b"2500", Effect::Read).await, Answer::Called(b"2500".to_vec()));
    // A write on a connection that is lost while it is under way is not sent again.
    let before = server.seen.calls();
    relay.lose();
    let answer = tokio::time::timeout(WAIT * 2, ask("/raw/echo", b"write", Effect::Write)).await.unwrap();
    assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
    assert_eq!(server.seen.calls(), before);
}

#[tokio::test]
async fn a_read_of_etcd_is_asked_again_and_a_lock_is_kept() {
    let etcd = Etcd::start();
    etcd.put(&[("/vitess/global/keyspaces/ks/Keyspace", b"value".to_vec())]).await;
    let relay = Relay::to(etcd.address()).await;
    let mut config = EtcdConfig::new(relay.address.to_string(), "/vitess/global");
    config.lease_ttl = Duration::from_secs(9);
    let topology = EtcdTopology::new(&config).unwrap();
    let paths = ["keyspaces/ks/Keyspace".to_owned()];
    let read = || async {
        let answers = topology.records("global", &paths, Instant::now() + WAIT).await;
        assert!(matches!(answers.first(), Some(Answer::Found { value, .. }) if value == b"value"), "{answers:?}");
    };
    read().await;
    relay.lose();
    let begun = Instant::now();
    read().await;
    let range = topology.range("global", "keyspaces/", Instant::now() + WAIT).await;
    assert!(matches!(range, Answer::Range(_)), "{range:?}");
    assert!(begun.elapsed() < WAIT / 2, "{:?}", begun.elapsed());

    let lock = topology.lock("keyspaces/ks", "test", false, Instant::now() + WAIT).await;
    let Ok(lock) = lock else { unreachable!("no lock") };
    relay.lose();
    lock.check(Instant::now() + WAIT).await.unwrap();
    relay.lose();
    assert_eq!(lock.release(Instant::now() + WAIT).await, Answer::Unlocked);
}

#[tokio::test]
async fn an_etcd_that_says_nothing_is_not_an_empty_one() {
    let server = RawServer::start();
    let topology = EtcdTopology::new(&EtcdConfig::new(server.address.to_string(), "/vitess/global")).unwrap();
    let deadline = Instant::now() + WAIT;
    let paths = ["keyspaces/a/Keyspace".to_owned(), "keyspaces/b/Keyspace".to_owned()];
    let mut answers =
        vec![topology.range("global", "keyspaces/", deadline).await, topology.list("global", "keyspaces/", deadline).await];
    answers.extend(topology.records("global", &paths, deadline).await);
    answers.extend(topology.records("global", &paths[..1], deadline).await);
    assert_eq!(answers.len(), 5);
    for answer in answers {
        let Answer::Failed { message, .. } = &answer else { panic!("{answer:?}") };
        assert!(message.contains("what answered is no etcd"), "{message}");
    }
}
