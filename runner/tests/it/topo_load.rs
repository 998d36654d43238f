//! How much is asked of etcd at once, and how much is read from it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use crate::support::etcd::Etcd;
use prost::Message;
use tokio::time::Instant;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    observe::{Counts, Sums},
    tablet::{TabletOptions, Tablets},
    topo::{EtcdConfig, EtcdTopology, MemoryTopology, Topology},
};
use vtflow_planner::{
    Answer, Call, CallOptions, FailureKind, Flow, Timestamp,
    proto::{
        topodata::{CellInfo, Keyspace},
        vtctldata::GetKeyspacesResponse,
    },
};

const ROOT: &str = "/vitess/global";

fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

#[tokio::test]
async fn reads_of_one_cell_wait_for_their_turn_within_their_deadline() {
    let (etcd, far) = (Etcd::start(), Etcd::start());
    let info = CellInfo { server_address: far.address(), root: "/far".to_owned() };
    etcd.put(&[("/vitess/global/cells/far/CellInfo", info.encode_to_vec()), ("/vitess/global/a", vec![1])]).await;
    far.put(&[("/far/b", vec![2])]).await;
    let config = EtcdConfig { read_concurrency: 2, ..EtcdConfig::new(etcd.address(), ROOT) };
    let topology = EtcdTopology::new(&config).unwrap();
    let (a, b) = (["a".to_owned()], ["b".to_owned()]);
    let is = |answers: &[Answer], want: u8| {
        matches!(answers, [Answer::Found { value, .. }] if *value == [want])
            .then_some(())
            .unwrap_or_else(|| panic!("{answers:?}"));
    };
    is(&topology.records("far", &b, within(5000)).await, 2);
    is(&topology.records("global", &a, within(5000)).await, 1);

    far.pause();
    // Two reads of the far cell have the turns, a third waits in vain, a fourth long enough.
    let first = async { tokio::join!(topology.records("far", &b, within(20_000)), topology.records("far", &b, within(20_000))) };
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let third = topology.records("far", &b, within(300)).await;
        let [Answer::Failed { kind: FailureKind::TimedOut, message }] = third.as_slice() else { panic!("{third:?}") };
        assert!(message.starts_with("deadline exceeded: /far/b") && message.contains("--topo-read-concurrency"), "{message}");
        // The global cell's turns are its own.
        is(&topology.records("global", &a, within(5000)).await, 1);
        let (fourth, ()) = tokio::join!(topology.records("far", &b, within(20_000)), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            far.resume();
        });
        is(&fourth, 2);
    };
    let ((one, two), ()) = tokio::join!(first, others);
    is(&one, 2);
    is(&two, 2);
}

#[tokio::test]
async fn as_many_reads_at_once_by_default_as_in_vitess() {
    assert_eq!(EtcdConfig::new("localhost:2379", ROOT).read_concurrency, 32);
}

fn metrics(etcd: &Etcd) -> String {
    let mut connection = TcpStream::connect(etcd.address()).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    text
}

/// What etcd has sent to clients so far, by its own count.
fn sent(etcd: &Etcd) -> u64 {
    let text = metrics(etcd);
    let line = text.lines().find(|line| line.starts_with("etcd_network_client_grpc_sent_bytes_total ")).unwrap();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, printed as a float")]
    let bytes = line.split(' ').nth(1).unwrap().parse::<f64>().unwrap() as u64;
    bytes
}

/// How many transactions etcd has performed.
fn transactions(etcd: &Etcd) -> u64 {
    let text = metrics(etcd);
    let is_transaction = |line: &&str| line.contains(r#"grpc_code="OK",grpc_method="Txn""#);
    let line = text.lines().filter(|line| line.starts_with("grpc_server_handled_total{")).find(is_transaction);
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

async fn keyspaces(topology: Arc<dyn Topology>) -> (Vec<String>, Sums) {
    let tablets = Arc::new(Tablets::new(TabletOptions::default()).unwrap());
    let cluster = ClusterIo { topology, tablets, deadlines: Deadlines::default() };
    let path = "/vtctlservice.Vtctld/GetKeyspaces".to_owned();
    let call = Call { path, request: Vec::new(), options: CallOptions::default() };
    let counts = Counts::default();
    let reply = drive(Flow::start(&call, Timestamp::default()), &cluster, None, &counts).await;
    assert_eq!(reply.failures, []);
    let keyspaces = GetKeyspacesResponse::decode(reply.result.unwrap().as_slice()).unwrap().keyspaces;
    (keyspaces.into_iter().map(|keyspace| keyspace.name).collect(), counts.sums())
}

/// What lies beside the keyspaces' records is not read: vschemas may have a megabyte each.
#[tokio::test]
async fn keyspaces_are_listed_without_their_vschemas() {
    const KEYSPACES: usize = 12;
    const VSCHEMA_BYTES: usize = 1 << 20;
    let etcd = Etcd::start();
    let record = Keyspace { base_keyspace: "base".to_owned(), ..Keyspace::default() }.encode_to_vec();
    let names: Vec<String> = (0..KEYSPACES).map(|number| format!("ks{number:03}")).collect();
    for name in &names {
        let at = |file: &str| format!("{ROOT}/keyspaces/{name}/{file}");
        etcd.put(&[(&at("Keyspace"), record.clone()), (&at("VSchema"), vec![b'x'; VSCHEMA_BYTES])]).await;
    }
    let topology = Arc::new(EtcdTopology::new(&EtcdConfig::new(etcd.address(), ROOT)).unwrap());
    let before = sent(&etcd);
    let (found, sums) = keyspaces(topology.clone()).await;
    let bytes = sent(&etcd) - before;
    assert_eq!(found, names);
    assert_eq!((sums.topology_ranges, sums.topology_gets, sums.rounds), (1, KEYSPACES as u64, 2));
    assert_eq!(sums.answer_bytes, (KEYSPACES * record.len()) as u64);
    assert!((1..64 << 10).contains(&bytes), "{bytes} bytes were sent");

    // The two topologies list alike.
    let listed = topology.list("global", "keyspaces/", within(5000)).await;
    let Answer::Range(listed) = listed else { panic!("{listed:?}") };
    assert_eq!(listed.len(), 2 * KEYSPACES);
    assert!(listed.iter().all(|record| record.value.is_empty() && record.version > 0));
    let whole = topology.range("global", "keyspaces/", within(30_000)).await;
    let Answer::Range(whole) = whole else { panic!("no range") };
    assert!(whole.iter().all(|record| !record.value.is_empty()));
    let records = whole.into_iter().map(|record| vtflow::topo::CellRecord {
        cell: "global".to_owned(),
        path: record.path,
        version: record.version,
        value: record.value,
    });
    assert_eq!(MemoryTopology::new(records).list("global", "keyspaces/", within(5000)).await, Answer::Range(listed));
}

/// The addresses of a keyspace's primaries lie in one cell: 128 of them come with one request.
#[tokio::test]
async fn records_of_one_cell_are_read_together() {
    let etcd = Etcd::start();
    let topology = EtcdTopology::new(&EtcdConfig::new(etcd.address(), ROOT)).unwrap();
    let paths: Vec<String> = (0..300).map(|number| format!("tablets/zone1-{number:010}/Tablet")).collect();
    for path in &paths {
        etcd.put(&[(&format!("{ROOT}/{path}"), path.clone().into_bytes())]).await;
    }
    // One alone is no transaction.
    for (count, want) in [(1, 0), (2, 1), (128, 1), (129, 1), (256, 2), (300, 3)] {
        let (asked, before) = (&paths[..count], transactions(&etcd));
        let answers = topology.records("global", asked, within(10_000)).await;
        let is_right =
            |(answer, path): (&Answer, &String)| matches!(answer, Answer::Found { value, .. } if value == path.as_bytes());
        assert!(answers.len() == count && answers.iter().zip(asked).all(is_right), "{count} records, each in its place");
        assert_eq!(transactions(&etcd) - before, want, "{count} records");
    }
}
