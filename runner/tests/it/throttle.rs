//! Throttling of schema migrations in a real etcd: records are written over the version that was read, or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use crate::support::etcd::Etcd;
use prost::Message;
use tokio::time::Instant;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    observe::Nobody,
    tablet::{TabletOptions, Tablets},
    topo::{EtcdConfig, EtcdTopology, Topology},
};
use vtflow_planner::{
    Answer, Call, CallOptions, FailureKind, Flow, Mode, Reply, Timestamp,
    contract::Verdict,
    proto::{
        topodata::{CellInfo, Keyspace, SrvKeyspace, ThrottledAppRule},
        vtctldata::UpdateThrottlerConfigRequest,
        vttime::Time,
    },
    rpc,
};

const GLOBAL: &str = "/vitess/global";
const NOW: Timestamp = Timestamp { seconds: 1_795_424_044, nanos: 0 };

fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// An etcd with keyspace customer in cells zone1 and zone2; zone3 does not serve it.
async fn start() -> (Etcd, Arc<EtcdTopology>) {
    let etcd = Etcd::start();
    let keyspace = Keyspace { durability_policy: "none".to_owned(), ..Keyspace::default() };
    etcd.put(&[(&format!("{GLOBAL}/keyspaces/customer/Keyspace"), keyspace.encode_to_vec())]).await;
    for cell in ["zone1", "zone2", "zone3"] {
        let info = CellInfo { server_address: etcd.address(), root: format!("/vitess/{cell}") };
        etcd.put(&[(&format!("{GLOBAL}/cells/{cell}/CellInfo"), info.encode_to_vec())]).await;
        if cell != "zone3" {
            let record = SrvKeyspace::default().encode_to_vec();
            etcd.put(&[(&format!("/vitess/{cell}/keyspaces/customer/SrvKeyspace"), record)]).await;
        }
    }
    let topology = Arc::new(EtcdTopology::new(&EtcdConfig::new(etcd.address(), GLOBAL)).unwrap());
    (etcd, topology)
}

async fn perform(topology: &Arc<EtcdTopology>, name: &str, seconds: i64, mode: Mode) -> Reply {
    let rule = ThrottledAppRule {
        name: name.to_owned(),
        ratio: 0.5,
        expires_at: Some(Time { seconds: NOW.seconds + seconds, nanoseconds: 0 }),
        ..ThrottledAppRule::default()
    };
    let request = UpdateThrottlerConfigRequest {
        keyspace: "customer".to_owned(),
        throttled_app: Some(rule),
        ..UpdateThrottlerConfigRequest::default()
    };
    let options = CallOptions { mode, ..CallOptions::default() };
    let call = Call { path: rpc::UPDATE_THROTTLER_CONFIG.into(), request: request.encode_to_vec(), options };
    let tablets = Arc::new(Tablets::new(TabletOptions::default()).unwrap());
    let io = ClusterIo { topology: topology.clone(), tablets, deadlines: Deadlines::default() };
    drive(Flow::start(&call, NOW), &io, None, &Nobody).await
}

/// The ratios of an application in all three records; `None` where it has no rule.
async fn ratios(topology: &EtcdTopology, name: &str) -> Vec<Option<f64>> {
    let mut ratios = Vec::new();
    for (cell, path) in [("global", "Keyspace"), ("zone1", "SrvKeyspace"), ("zone2", "SrvKeyspace")] {
        let path = format!("keyspaces/customer/{path}");
        let Some(Answer::Found { value, .. }) = topology.records(cell, &[path], later()).await.pop() else { panic!("{cell}") };
        let config = if cell == "global" {
            let keyspace = Keyspace::decode(value.as_slice()).unwrap();
            assert_eq!(keyspace.durability_policy, "none", "the rest of the record stays");
            keyspace.throttler_config
        } else {
            SrvKeyspace::decode(value.as_slice()).unwrap().throttler_config
        };
        ratios.push(config.and_then(|config| config.throttled_apps.get(name).map(|rule| rule.ratio)));
    }
    ratios
}

#[tokio::test]
async fn a_rule_is_in_every_record_and_gone_from_every_record() {
    let (_etcd, topology) = start().await;
    let reply = perform(&topology, "online-ddl", 60, Mode::Perform).await;
    assert_eq!(reply.result, Ok(Vec::new()));
    let outcomes = reply.written.unwrap().outcomes;
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied), "{outcomes:?}");
    assert_eq!(ratios(&topology, "online-ddl").await, [Some(0.5); 3]);
    perform(&topology, "other", 60, Mode::Perform).await;
    let reply = perform(&topology, "online-ddl", -1, Mode::Perform).await;
    assert_eq!(reply.result, Ok(Vec::new()));
    assert_eq!(ratios(&topology, "online-ddl").await, [None; 3]);
    assert_eq!(ratios(&topology, "other").await, [Some(0.5); 3]);
    let Answer::Range(left) = topology.range("global", "keyspaces/", later()).await else { panic!("records") };
    assert!(left.iter().all(|record| !record.path.contains("/locks/")), "what is locked is unlocked");
}

#[tokio::test]
async fn a_record_that_somebody_changed_is_not_written_over() {
    let (etcd, topology) = start().await;
    let plan = perform(&topology, "online-ddl", 60, Mode::Preview).await.written.unwrap().plan;
    assert_eq!(ratios(&topology, "online-ddl").await, [None; 3], "a plan changes nothing");
    etcd.put(&[("/vitess/zone2/keyspaces/customer/SrvKeyspace", SrvKeyspace::default().encode_to_vec())]).await;
    let reply = perform(&topology, "online-ddl", 60, Mode::Planned(plan.digest)).await;
    assert!(reply.result.unwrap_err().message.contains("nothing was changed"));
    assert_eq!(ratios(&topology, "online-ddl").await, [None; 3]);

    let path = "keyspaces/customer/SrvKeyspace".to_owned();
    let found = topology.records("zone2", std::slice::from_ref(&path), later()).await.pop();
    let Some(Answer::Found { version, .. }) = found else { panic!("{found:?}") };
    let Answer::Stored { version: newer } = topology.put("zone2", &path, b"", version, later()).await else { panic!("stored") };
    assert!(newer > version);
    let node = "/vitess/zone2/keyspaces/customer/SrvKeyspace";
    let refused = Answer::Failed { kind: FailureKind::Status(9), message: format!("bad node version: {node}") };
    assert_eq!(topology.put("zone2", &path, b"", version, later()).await, refused);
    let Answer::Stored { .. } = topology.put("zone2", &path, b"", newer, later()).await else { panic!("the newer version") };
    let missing = Answer::Missing { node: "/vitess/zone3/keyspaces/customer/SrvKeyspace".to_owned() };
    assert_eq!(topology.put("zone3", &path, b"", version, later()).await, missing, "no record is made");
    let Answer::Missing { .. } = topology.put("zone2", "../global/x", b"", 1, later()).await else { panic!("outside") };
    let Answer::Failed { .. } = topology.put("nowhere", &path, b"", 1, later()).await else { panic!("no such cell") };
}

#[tokio::test]
async fn a_record_is_deleted_as_it_was_read_or_not_at_all() {
    let (_etcd, topology) = start().await;
    let path = "keyspaces/customer/SrvKeyspace".to_owned();
    let node = "/vitess/zone2/keyspaces/customer/SrvKeyspace";
    let found = topology.records("zone2", std::slice::from_ref(&path), later()).await.pop();
    let Some(Answer::Found { version, .. }) = found else { panic!("{found:?}") };
    let refused = Answer::Failed { kind: FailureKind::Status(9), message: format!("bad node version: {node}") };
    assert_eq!(topology.delete("zone2", &path, version + 1, later()).await, refused);
    assert_eq!(topology.delete("zone2", &path, version, later()).await, Answer::Deleted);
    let missing = Answer::Missing { node: node.to_owned() };
    assert_eq!(topology.delete("zone2", &path, version, later()).await, missing);
    assert_eq!(topology.delete("zone2", &path, 0, later()).await, missing);
    let Answer::Stored { .. } = topology.put("zone2", &path, b"", 0, later()).await else { panic!("made again") };
    let Answer::Missing { .. } = topology.delete("zone2", "../global/x", 1, later()).await else { panic!("outside") };
    let Answer::Failed { .. } = topology.delete("nowhere", &path, 1, later()).await else { panic!("no such cell") };
}
