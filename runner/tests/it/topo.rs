//! The topology back ends: a real etcd, read and interrupted, and the one in memory, which must say the same.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

use std::time::Duration;

use crate::support::{certificates::Certificates, etcd::Etcd, far::far_away};
use futures_util::future::join_all;
use prost::Message;
use tokio::time::Instant;
use vtflow::{
    secret::Credentials,
    tls::TlsFiles,
    topo::{CellRecord, EtcdConfig, EtcdCredentials, EtcdTopology, MemoryTopology, Topology, etcd::PutError},
};
use vtflow_planner::{Answer, FailureKind, Record, proto::topodata::CellInfo};

const ROOT: &str = "/vitess/global";

fn cell_info(address: &str, root: &str) -> Vec<u8> {
    CellInfo { server_address: address.to_owned(), root: root.to_owned() }.encode_to_vec()
}

fn topology(etcd: &Etcd) -> EtcdTopology {
    EtcdTopology::new(&EtcdConfig::new(etcd.address(), ROOT)).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

async fn record(topology: &dyn Topology, cell: &str, path: &str) -> Answer {
    topology.records(cell, &[path.to_owned()], soon()).await.remove(0)
}

fn missing(node: &str) -> Answer {
    Answer::Missing { node: node.to_owned() }
}

fn value(answer: &Answer) -> &[u8] {
    match answer {
        Answer::Found { value, version } => {
            assert!(*version > 0);
            value
        }
        other => panic!("not found: {other:?}"),
    }
}

fn failure(answer: &Answer) -> (FailureKind, &str) {
    match answer {
        Answer::Failed { kind, message } => (*kind, message),
        other => panic!("not a failure: {other:?}"),
    }
}

fn paths(answer: &Answer) -> Vec<&str> {
    match answer {
        Answer::Range(records) => {
            let mut paths: Vec<&str> = records.iter().map(|record| record.path.as_str()).collect();
            paths.sort_unstable();
            paths
        }
        other => panic!("not a range: {other:?}"),
    }
}

#[tokio::test]
async fn records_and_directories_are_found_with_their_relative_paths() {
    let etcd = Etcd::start();
    etcd.put(&[
        ("/vitess/global/keyspaces/ks/Keyspace", vec![]),
        ("/vitess/global/keyspaces/ks/shards/-80/Shard", b"left".to_vec()),
        ("/vitess/global/keyspaces/ks/shards/-80/locks/123", b"lock".to_vec()),
        ("/vitess/global/keyspaces/ks/shards/80-/Shard", b"right".to_vec()),
        ("/vitess/global/keyspaces/ks/shards2/0/Shard", b"no".to_vec()),
        ("/vitess/global/keyspaces/ks-1/shards/0/Shard", b"no".to_vec()),
        ("/vitess/global/keyspaces/lk/locks/9", b"lock".to_vec()),
    ])
    .await;
    let topology = topology(&etcd);
    assert_eq!(value(&record(&topology, "global", "keyspaces/ks/shards/-80/Shard").await), b"left");
    assert_eq!(value(&record(&topology, "global", "keyspaces/ks/Keyspace").await), b"", "an empty value is a record");
    assert_eq!(
        record(&topology, "global", "keyspaces/lk/shards/0/Shard").await,
        missing("/vitess/global/keyspaces/lk/shards/0/Shard")
    );

    let shards = topology.range("global", "keyspaces/ks/shards/", soon()).await;
    assert_eq!(
        paths(&shards),
        ["keyspaces/ks/shards/-80/Shard", "keyspaces/ks/shards/-80/locks/123", "keyspaces/ks/shards/80-/Shard"]
    );
    for keyspace in ["lk", "nosuch"] {
        let directory = format!("keyspaces/{keyspace}/shards/");
        let answer = topology.range("global", &directory, soon()).await;
        assert_eq!(answer, missing(&format!("/vitess/global/{directory}")));
    }
    // A path that leads elsewhere is not read, but named as Vitess names it.
    etcd.put(&[("/vitess/global/x/shards/0/Shard", b"outside".to_vec())]).await;
    assert_eq!(topology.range("global", "keyspaces/../x/shards/", soon()).await, missing("/vitess/global/x/shards/"));
    assert_eq!(record(&topology, "global", "keyspaces/../x/shards/0/Shard").await, missing("/vitess/global/x/shards/0/Shard"));
    assert_eq!(topology.range("global", "keyspaces//shards/", soon()).await, missing("/vitess/global/keyspaces/shards/"));
}

#[tokio::test]
async fn more_records_than_a_transaction_takes_are_answered_in_order() {
    let etcd = Etcd::start();
    let info = cell_info(&etcd.address(), "/vitess/zone1");
    etcd.put(&[("/vitess/global/cells/zone1/CellInfo", info)]).await;
    let path = |index: usize| format!("tablets/zone1-{index:010}/Tablet");
    let records: Vec<CellRecord> = (0..350)
        .filter(|index| index % 7 != 3)
        .map(|index| CellRecord {
            cell: "zone1".to_owned(),
            path: path(index),
            version: 0,
            value: index.to_string().into_bytes(),
        })
        .collect();
    let topology = topology(&etcd);
    topology.put_all(&records, false, soon()).await.unwrap();

    let asked: Vec<String> = (0..350).rev().map(path).collect();
    let answers = topology.records("zone1", &asked, soon()).await;
    assert_eq!(answers.len(), 350);
    for (index, answer) in (0..350).rev().zip(&answers) {
        if index % 7 == 3 {
            assert_eq!(*answer, missing(&format!("/vitess/zone1/{}", path(index))));
        } else {
            assert_eq!(value(answer), index.to_string().as_bytes());
        }
    }
    assert!(topology.records("zone1", &[], soon()).await.is_empty());
}

#[tokio::test]
async fn large_answers_are_read_whole_or_in_parts() {
    let etcd = Etcd::start();
    let keys: Vec<String> = (0..50).map(|index| format!("/vitess/global/keyspaces/ks/shards/{index:02}/Shard")).collect();
    let pairs: Vec<(&str, Vec<u8>)> = keys.iter().zip(0u8..).map(|(key, fill)| (key.as_str(), vec![fill; 110_000])).collect();
    etcd.put(&pairs).await;
    let asked: Vec<String> = (0..50).map(|index| format!("keyspaces/ks/shards/{index:02}/Shard")).collect();
    // 5.5 MB is above tonic's own limit of 4 MiB; with 1 MiB an answer has at most 9 of the 50 records.
    for answer_bytes in [64 << 20, 1 << 20] {
        let topology = EtcdTopology::new(&EtcdConfig { answer_bytes, ..EtcdConfig::new(etcd.address(), ROOT) }).unwrap();
        let Answer::Range(mut records) = topology.range("global", "keyspaces/ks/shards/", soon()).await else {
            panic!("no range with {answer_bytes} bytes")
        };
        records.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(records.len(), 50);
        for (record, fill) in records.iter().zip(0u8..) {
            let Record { path, value, version } = record;
            assert_eq!((path, value), (&asked[usize::from(fill)], &vec![fill; 110_000]));
            assert!(*version > 0);
        }
        let answers = topology.records("global", &asked, soon()).await;
        for (answer, fill) in answers.iter().zip(0u8..) {
            assert_eq!(value(answer), vec![fill; 110_000]);
        }
    }
    let topology = EtcdTopology::new(&EtcdConfig { answer_bytes: 1 << 16, ..EtcdConfig::new(etcd.address(), ROOT) }).unwrap();
    assert_eq!(failure(&topology.range("global", "keyspaces/ks/shards/", soon()).await).0, FailureKind::TooLarge);
}

#[tokio::test]
async fn cells_in_the_global_etcd_share_its_connection_and_roots_may_nest() {
    let etcd = Etcd::start();
    let address = etcd.address();
    etcd.put(&[
        ("/vitess/global/cells/nested/CellInfo", cell_info(&address, "/vitess/global/nested/")),
        ("/vitess/global/cells/bare/CellInfo", cell_info(&format!("http://{address}"), "vitess/bare")),
        ("/vitess/global/cells/empty/CellInfo", cell_info(&format!(" {address} "), "")),
        ("/vitess/global/nested/tablets/a/Tablet", b"nested".to_vec()),
        ("vitess/bare/tablets/a/Tablet", b"bare".to_vec()),
        ("tablets/a/Tablet", b"empty".to_vec()),
    ])
    .await;
    // A slash at the end of the root changes nothing.
    let topology = EtcdTopology::new(&EtcdConfig::new(address, format!("{ROOT}/"))).unwrap();
    assert_eq!(record(&topology, "global", "x").await, missing("/vitess/global/x"));
    // etcd has a connection to itself, and the one that wrote is just closing.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let connections = connections_to(etcd.port());
    for (cell, node) in [
        ("nested", "/vitess/global/nested/tablets/b/Tablet"),
        ("bare", "vitess/bare/tablets/b/Tablet"),
        ("empty", "tablets/b/Tablet"),
    ] {
        // The second time, the cell's place is known already.
        for _ in 0..2 {
            assert_eq!(value(&record(&topology, cell, "tablets/a/Tablet").await), cell.as_bytes(), "{cell}");
        }
        assert_eq!(record(&topology, cell, "tablets/b/Tablet").await, missing(node));
        assert_eq!(paths(&topology.range(cell, "tablets/", soon()).await), ["tablets/a/Tablet"], "{cell}");
        assert_eq!(connections_to(etcd.port()), connections, "{cell}");
    }
}

/// Established connections of this machine to a port.
fn connections_to(port: u16) -> usize {
    let remote = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Columns: number, local, remote, state. State 01 is ESTABLISHED.
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns.get(2) == Some(&remote.as_str()) && columns.get(3) == Some(&"01"))
        .count()
}

#[tokio::test]
async fn a_cell_that_moves_is_followed() {
    let etcd = Etcd::start();
    let address = etcd.address();
    etcd.put(&[
        ("/vitess/global/cells/zone1/CellInfo", cell_info(&address, "/old")),
        ("/old/tablets/a/Tablet", b"old".to_vec()),
        ("/new/tablets/a/Tablet", b"new".to_vec()),
    ])
    .await;
    let topology = topology(&etcd);
    assert_eq!(value(&record(&topology, "zone1", "tablets/a/Tablet").await), b"old");
    etcd.put(&[("/vitess/global/cells/zone1/CellInfo", cell_info(&address, "/new"))]).await;
    assert_eq!(value(&record(&topology, "zone1", "tablets/a/Tablet").await), b"new");
}

#[tokio::test]
async fn shards_and_then_their_tablets_take_one_round_trip_each() {
    let etcd = Etcd::start();
    let delay = Duration::from_millis(300);
    let address = far_away(etcd.address(), delay).await.to_string();
    etcd.put(&[
        ("/vitess/global/cells/zone1/CellInfo", cell_info(&address, "/vitess/zone1")),
        ("/vitess/global/keyspaces/ks/shards/0/Shard", b"shard".to_vec()),
        ("/vitess/zone1/tablets/a/Tablet", b"tablet".to_vec()),
    ])
    .await;
    let topology = EtcdTopology::new(&EtcdConfig::new(address, ROOT)).unwrap();
    let started = Instant::now();
    assert_eq!(paths(&topology.range("global", "keyspaces/ks/shards/", soon()).await).len(), 1);
    assert_eq!(value(&record(&topology, "zone1", "tablets/a/Tablet").await), b"tablet");
    let took = started.elapsed();
    assert!((delay * 2..delay * 3).contains(&took), "{took:?} with {delay:?} for a round trip");
}

#[tokio::test]
async fn cells_that_do_not_exist_are_named_as_vitess_names_them() {
    let etcd = Etcd::start();
    etcd.put(&[("/vitess/global/cells/odd/CellInfo", vec![0xff, 0xff])]).await;
    let topology = topology(&etcd);
    for (cell, want) in [
        ("zone9", "node doesn't exist: /vitess/global/cells/zone9/CellInfo"),
        ("", "node doesn't exist: /vitess/global/cells/CellInfo"),
        ("..", "node doesn't exist: /vitess/global/CellInfo"),
        ("a/b", "node doesn't exist: /vitess/global/cells/a/b/CellInfo"),
    ] {
        assert_eq!(failure(&record(&topology, cell, "tablets/a/Tablet").await).1, want, "{cell}");
        assert_eq!(failure(&topology.range(cell, "tablets/", soon()).await).1, want, "{cell}");
    }
    let odd = record(&topology, "odd", "tablets/a/Tablet").await;
    assert!(failure(&odd).1.starts_with("/vitess/global/cells/odd/CellInfo is not a CellInfo record: "), "{odd:?}");
}

#[tokio::test]
async fn a_dead_cell_costs_one_dial_for_all_who_ask_and_the_others_nothing() {
    let etcd = Etcd::start();
    // A listener whose queue is full: connecting to it hangs.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let silent = full.local_addr().unwrap();
    let mut queue = Vec::new();
    for _ in 0..8 {
        let connect = tokio::net::TcpStream::connect(silent);
        queue.push(tokio::time::timeout(Duration::from_millis(50), connect).await.ok());
    }
    etcd.put(&[
        ("/vitess/global/cells/refused/CellInfo", cell_info("127.0.0.1:1", "/x")),
        ("/vitess/global/cells/silent/CellInfo", cell_info(&silent.to_string(), "/y")),
        ("/vitess/global/cells/zone1/CellInfo", cell_info(&etcd.address(), "/z")),
        ("/z/tablets/a/Tablet", b"alive".to_vec()),
    ])
    .await;
    let dial_timeout = Duration::from_millis(400);
    let topology = EtcdTopology::new(&EtcdConfig { dial_timeout, ..EtcdConfig::new(etcd.address(), ROOT) }).unwrap();

    let started = Instant::now();
    let answers = join_all((0..20).map(|_| record(&topology, "silent", "tablets/a/Tablet"))).await;
    let took = started.elapsed();
    assert!(took < dial_timeout * 2, "{took:?}");
    for answer in &answers {
        let want = format!("failed to create topo connection to {silent}, /y: context deadline exceeded");
        assert_eq!(failure(answer), (FailureKind::Unreachable, want.as_str()));
    }
    let refused = record(&topology, "refused", "tablets/a/Tablet").await;
    let want = "failed to create topo connection to 127.0.0.1:1, /x: connection refused";
    assert_eq!(failure(&refused), (FailureKind::Unreachable, want));

    let started = Instant::now();
    let (dead, alive) =
        futures_util::future::join(async { (record(&topology, "silent", "tablets/a/Tablet").await, started.elapsed()) }, async {
            (record(&topology, "zone1", "tablets/a/Tablet").await, started.elapsed())
        })
        .await;
    assert_eq!(value(&alive.0), b"alive");
    assert!(alive.1 < dead.1);
}

#[tokio::test]
async fn a_stopped_etcd_is_unreachable_at_once_and_found_again_when_it_is_back() {
    let mut etcd = Etcd::start();
    etcd.put(&[("/vitess/global/a/b", b"1".to_vec())]).await;
    let topology = topology(&etcd);
    assert_eq!(value(&record(&topology, "global", "a/b").await), b"1");
    etcd.stop();
    for _ in 0..3 {
        let started = Instant::now();
        let answer = record(&topology, "global", "a/b").await;
        let want = format!("failed to create topo connection to {}, {ROOT}: connection refused", etcd.address());
        assert_eq!(failure(&answer), (FailureKind::Unreachable, want.as_str()));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    etcd.restart();
    assert_eq!(value(&record(&topology, "global", "a/b").await), b"1");
}

#[tokio::test]
async fn a_silent_etcd_times_out_at_the_deadline_and_is_found_again() {
    let etcd = Etcd::start();
    etcd.put(&[("/vitess/global/a/b", b"1".to_vec())]).await;
    let topology = topology(&etcd);
    assert_eq!(value(&record(&topology, "global", "a/b").await), b"1");
    etcd.pause();
    let started = Instant::now();
    let asked = ["a/b".to_owned(), "a/c".to_owned()];
    let answers = topology.records("global", &asked, within(500)).await;
    let took = started.elapsed();
    assert!((Duration::from_millis(450)..Duration::from_millis(1500)).contains(&took), "{took:?}");
    assert_eq!(failure(&answers[0]), (FailureKind::TimedOut, "deadline exceeded: /vitess/global/a/b"));
    assert_eq!(failure(&answers[1]), (FailureKind::TimedOut, "deadline exceeded: /vitess/global/a/c"));
    let answer = topology.range("global", "a/", within(300)).await;
    assert_eq!(failure(&answer), (FailureKind::TimedOut, "deadline exceeded: /vitess/global/a/"));
    etcd.resume();
    assert_eq!(value(&record(&topology, "global", "a/b").await), b"1");
}

#[tokio::test]
async fn of_two_addresses_one_is_enough() {
    let etcd = Etcd::start();
    etcd.put(&[("/vitess/global/a/b", b"1".to_vec())]).await;
    let paused = Etcd::start();
    paused.put(&[("/vitess/global/a/b", b"other".to_vec())]).await;
    paused.pause();
    for addresses in [
        format!("127.0.0.1:1, {}", etcd.address()),
        format!("{},127.0.0.1:1", etcd.address()),
        format!("{},{}", paused.address(), etcd.address()),
    ] {
        let topology = EtcdTopology::new(&EtcdConfig::new(addresses.as_str(), ROOT)).unwrap();
        for _ in 0..3 {
            assert_eq!(value(&record(&topology, "global", "a/b").await), b"1", "{addresses}");
        }
    }
}

#[tokio::test]
async fn a_demo_cluster_is_written_once_and_never_over_another() {
    let etcd = Etcd::start();
    let topology = topology(&etcd);
    let of =
        |cell: &str, path: &str, value: Vec<u8>| CellRecord { cell: cell.to_owned(), path: path.to_owned(), version: 0, value };
    let info = cell_info(&etcd.address(), "/vitess/zone1");
    let records = [
        of("zone1", "tablets/zone1-0000000100/Tablet", b"tablet".to_vec()),
        of("global", "keyspaces/ks/shards/0/Shard", vec![1; 400_000]),
        of("global", "keyspaces/ks/Keyspace", vec![2; 400_000]),
        of("global", "keyspaces/ks/VSchema", vec![3; 400_000]),
        of("global", "cells/zone1/CellInfo", info.clone()),
    ];
    topology.put_all(&records, false, soon()).await.unwrap();
    for expected in &records {
        assert_eq!(value(&record(&topology, &expected.cell, &expected.path).await), expected.value, "{}", expected.path);
    }
    let refused = topology.put_all(&records, false, soon()).await.unwrap_err();
    let node = "/vitess/global/keyspaces/ks".to_owned();
    assert_eq!(refused, PutError::KeyspaceExists { keyspace: "ks".to_owned(), node });
    topology.put_all(&records, true, soon()).await.unwrap();

    // The cell is as it should be: another keyspace may move in. Elsewhere, it may not.
    let second = [of("global", "keyspaces/ks2/Keyspace", vec![]), of("global", "cells/zone1/CellInfo", info)];
    topology.put_all(&second, false, soon()).await.unwrap();
    let third = [of("global", "cells/zone1/CellInfo", cell_info("elsewhere:1", "/x"))];
    assert!(matches!(topology.put_all(&third, false, soon()).await, Err(PutError::CellExists { .. })));
    let fourth = [of("global", "keyspaces/../x", vec![])];
    assert!(matches!(topology.put_all(&fourth, true, soon()).await, Err(PutError::Path { .. })));
    let fifth = [of("nocell", "tablets/a/Tablet", vec![])];
    let error = topology.put_all(&fifth, true, soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "node doesn't exist: /vitess/global/cells/nocell/CellInfo");
}

#[tokio::test]
async fn the_topology_in_memory_answers_like_etcd() {
    let etcd = Etcd::start();
    let of =
        |cell: &str, path: &str, value: Vec<u8>| CellRecord { cell: cell.to_owned(), path: path.to_owned(), version: 7, value };
    let records = vec![
        of("global", "cells/zone1/CellInfo", cell_info(&etcd.address(), "/vitess/zone1")),
        of("global", "cells/odd/CellInfo", vec![0xff]),
        of("global", "keyspaces/ks/Keyspace", vec![]),
        of("global", "keyspaces/ks/shards/-80/Shard", vec![1]),
        of("global", "keyspaces/ks/shards/80-/Shard", vec![2]),
        of("global", "keyspaces/ks-1/Keyspace", vec![]),
    ];
    let stored = topology(&etcd);
    stored.put_all(&records, false, soon()).await.unwrap();
    stored.put_all(&[of("zone1", "tablets/a/Tablet", vec![3])], false, soon()).await.unwrap();
    let memory = MemoryTopology::new(records.into_iter().chain([of("zone1", "tablets/a/Tablet", vec![3])]));
    let versionless = |answer: Answer| match answer {
        Answer::Found { value, .. } => Answer::Found { value, version: 0 },
        Answer::Range(mut records) => {
            records.sort_by(|a, b| a.path.cmp(&b.path));
            Answer::Range(records.into_iter().map(|record| Record { version: 0, ..record }).collect())
        }
        other => other,
    };
    for (cell, path) in [
        ("global", "keyspaces/ks/Keyspace"),
        ("global", "keyspaces/nope/Keyspace"),
        ("global", "keyspaces/ks"),
        ("global", "keyspaces/../x/Keyspace"),
        ("zone1", "tablets/a/Tablet"),
        ("zone1", "tablets/b/Tablet"),
        ("zone9", "tablets/a/Tablet"),
        ("odd", "tablets/a/Tablet"),
        ("", "tablets/a/Tablet"),
    ] {
        let (stored, memory) = (record(&stored, cell, path).await, record(&memory, cell, path).await);
        assert_eq!(versionless(stored), versionless(memory), "{cell} {path}");
    }
    for (cell, prefix) in [
        ("global", "keyspaces/ks/"),
        ("global", "keyspaces/ks/shards/"),
        ("global", "keyspaces/nope/shards/"),
        ("global", "keyspaces//shards/"),
        ("global", "nothing/../keyspaces/ks/"),
        ("zone1", "tablets/"),
        ("zone1", "nothing/"),
        ("zone9", "tablets/"),
    ] {
        let (stored, memory) = (stored.range(cell, prefix, soon()).await, memory.range(cell, prefix, soon()).await);
        assert_eq!(versionless(stored), versionless(memory), "{cell} {prefix}");
    }
}

#[tokio::test]
async fn the_topology_in_memory_can_be_slow_but_not_past_a_deadline() {
    let record = CellRecord { cell: "global".to_owned(), path: "a/b".to_owned(), version: 1, value: vec![1] };
    let memory = MemoryTopology::new([record]).with_delay(Duration::from_millis(100)).with_global_root("/g");
    let started = Instant::now();
    assert_eq!(value(&self::record(&memory, "global", "a/b").await), [1]);
    assert!(started.elapsed() >= Duration::from_millis(100));
    let answers = memory.records("global", &["a/b".to_owned()], within(20)).await;
    assert_eq!(failure(&answers[0]), (FailureKind::TimedOut, "deadline exceeded: /g/a/b"));
    assert_eq!(self::record(&memory, "global", "x").await, missing("/g/x"));
}

#[tokio::test]
async fn an_etcd_that_wants_certificates_is_read_with_them() {
    let certificates = Certificates::create();
    let path = |name| certificates.path(name).display().to_string();
    let etcd = Etcd::start_with(
        "https",
        &[
            format!("--cert-file={}", path("server.pem")),
            format!("--key-file={}", path("server.key")),
            format!("--trusted-ca-file={}", path("ca.pem")),
            "--client-cert-auth".to_owned(),
        ],
    );
    let some = |name| Some(certificates.path(name));
    let tls = TlsFiles { cert: some("client.pem"), key: some("client.key"), ca: some("ca.pem"), server_name: None };
    // Without a scheme, the files turn TLS on.
    for address in [etcd.address(), format!("https://{}", etcd.address())] {
        let topology = EtcdTopology::new(&EtcdConfig { tls: tls.clone(), ..EtcdConfig::new(address, ROOT) }).unwrap();
        assert_eq!(record(&topology, "global", "a/b").await, missing("/vitess/global/a/b"));
    }
    // Who says TLS and `http` says two things.
    let both = EtcdConfig { tls, ..EtcdConfig::new(format!("http://{}", etcd.address()), ROOT) };
    let error = EtcdTopology::new(&both).err().unwrap().to_string();
    assert!(error.contains("http:// is plaintext"), "{error}");
}

#[tokio::test]
async fn an_authority_alone_means_tls() {
    let certificates = Certificates::create();
    let path = |name| certificates.path(name).display().to_string();
    let files = [format!("--cert-file={}", path("server.pem")), format!("--key-file={}", path("server.key"))];
    let etcd = Etcd::start_with("https", &files);
    let tls = TlsFiles { ca: Some(certificates.path("ca.pem")), ..TlsFiles::default() };
    let topology = EtcdTopology::new(&EtcdConfig { tls, ..EtcdConfig::new(etcd.address(), ROOT) }).unwrap();
    assert_eq!(record(&topology, "global", "a/b").await, missing("/vitess/global/a/b"));
    // Another authority has not signed it.
    let strangers = Certificates::create();
    let tls = TlsFiles { ca: Some(strangers.path("ca.pem")), ..TlsFiles::default() };
    let topology = EtcdTopology::new(&EtcdConfig { tls, ..EtcdConfig::new(etcd.address(), ROOT) }).unwrap();
    assert_eq!(failure(&record(&topology, "global", "a/b").await).0, FailureKind::Unreachable);
}

#[tokio::test]
async fn an_etcd_that_has_users_is_read_with_name_and_password() {
    let etcd = Etcd::start();
    etcd.put(&[("/vitess/global/a/b", b"value".to_vec())]).await;
    let mut client = etcd_client::Client::connect([etcd.address()], None).await.unwrap();
    client.user_add("root", "hunter2", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();

    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("etcd.json");
    std::fs::write(&file, r#"{"Username": "root", "Password": "hunter2"}"#).unwrap();
    let config = |credentials: Option<EtcdCredentials>| EtcdConfig {
        credentials,
        plaintext_credentials: true,
        ..EtcdConfig::new(etcd.address(), ROOT)
    };
    let given = |password: &str| EtcdCredentials::Given(Credentials { username: "root".to_owned(), password: password.into() });
    for credentials in [EtcdCredentials::File(file), given("hunter2")] {
        let topology = EtcdTopology::new(&config(Some(credentials))).unwrap();
        assert_eq!(value(&record(&topology, "global", "a/b").await), b"value");
    }
    for credentials in [None, Some(given("hunter3"))] {
        let topology = EtcdTopology::new(&config(credentials)).unwrap();
        let answer = record(&topology, "global", "a/b").await;
        assert!(!failure(&answer).1.contains("hunter"), "{answer:?}");
    }
    let untold = EtcdConfig { plaintext_credentials: false, ..config(Some(given("hunter2"))) };
    let error = EtcdTopology::new(&untold).err().unwrap().to_string();
    assert!(error.contains("--plaintext-credentials") && !error.contains("hunter2"), "{error}");
}
