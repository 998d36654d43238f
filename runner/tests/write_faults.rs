//! Requests that write in front of a cluster whose k-th tablet goes wrong at the very moment of the change: what is said of each
//! tablet is what happened there, the others have their change, and nothing is sent twice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use prost::Message;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cluster, Fault, OnWrite, Snapshot},
    observe::Nobody,
    tablet::{TabletOptions, Tablets},
    topo::MemoryTopology,
};
use vtflow_planner::{
    Answer, Call, CallOptions, Effect, Flow, Reply, TabletAddress,
    proto::{
        tabletmanagerdata::{UpdateVReplicationWorkflowRequest, VReplicationExecRequest, VReplicationExecResponse},
        vtctldata::{WorkflowUpdateRequest, WorkflowUpdateResponse},
    },
    rpc,
    write::Verdict,
};

/// Three shards with their primaries, of v24, v22 and v20, and of v20, v18 and v16, which gets a statement instead of the RPC.
const TARGETS: [[(&str, &str); 3]; 2] = [
    [("-40", "zone1-0000000600"), ("40-80", "zone1-0000000610"), ("80-c0", "zone1-0000000620")],
    [("80-c0", "zone1-0000000620"), ("c0-", "zone1-0000000630"), ("c0-e0", "zone1-0000000650")],
];

/// Each fault, what is said of its tablet, in which words, and the state of the stream there (`None`: nobody can tell any more).
const FAULTS: [(OnWrite, Verdict, &str, Option<&str>); 4] = [
    (OnWrite::Refuse, Verdict::NotApplied, "a second look shows the rows as they were", Some("Running")),
    (OnWrite::Hang, Verdict::Unknown, "but the call may still be at work", Some("Running")),
    (OnWrite::LoseAnswer, Verdict::Applied, "a second look shows the change", Some("Stopped")),
    (OnWrite::Die, Verdict::Unknown, "looking again: ", None),
];

fn stop(shards: &[(&str, &str)]) -> Call {
    let tablet_request = UpdateVReplicationWorkflowRequest {
        workflow: "mix_mt".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        state: Some(2),
        shards: shards.iter().map(|(shard, _)| (*shard).to_owned()).collect(),
        ..UpdateVReplicationWorkflowRequest::default()
    };
    let request = WorkflowUpdateRequest { keyspace: "mixed".into(), tablet_request: Some(tablet_request) };
    Call { path: rpc::WORKFLOW_UPDATE.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

struct Running {
    cluster: Cluster,
    io: ClusterIo,
    now: vtflow_planner::Timestamp,
}

impl Running {
    async fn start(faults: BTreeMap<String, Fault>) -> Self {
        let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots/mixed-releases");
        let snapshot = Snapshot::load(&snapshot).unwrap();
        let now = snapshot.taken_at;
        let cluster = Cluster::start(snapshot, faults, Duration::ZERO).await.unwrap();
        let io = ClusterIo {
            topology: Arc::new(MemoryTopology::new(cluster.topo())),
            tablets: Arc::new(Tablets::new(TabletOptions::default()).unwrap()),
            deadlines: Deadlines { tablet: Duration::from_secs(1), ..Deadlines::default() },
        };
        Self { cluster, io, now }
    }

    async fn drive(&self, call: &Call) -> Reply {
        drive(Flow::start(call, self.now), &self.io, None, &Nobody).await
    }

    /// The state of the workflow's stream on a tablet; `None` if the tablet does not say.
    async fn state(&self, alias: &str) -> Option<String> {
        let tablet = TabletAddress {
            alias: alias.into(),
            cell: "zone1".into(),
            host: "127.0.0.1".into(),
            grpc_port: self.cluster.port(alias).unwrap(),
        };
        let query = "select state from _vt.vreplication where workflow = 'mix_mt'".to_owned();
        let request = VReplicationExecRequest { query }.encode_to_vec();
        let wait = Duration::from_secs(5);
        match self.io.tablets.call(&tablet, rpc::VREPLICATION_EXEC, &request, Effect::Read, wait, None).await {
            Answer::Called(bytes) => {
                let result = VReplicationExecResponse::decode(bytes.as_slice()).unwrap().result.unwrap();
                Some(String::from_utf8(result.rows[0].values.clone()).unwrap())
            }
            _ => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tablet_that_goes_wrong_is_the_only_one_that_is_not_changed_for_certain() {
    for targets in TARGETS {
        for (k, (shard, faulty)) in targets.into_iter().enumerate() {
            for (fault, verdict, words, state) in FAULTS {
                let what = format!("{fault:?} at {shard}, {k} of {targets:?}");
                let running = Running::start([(faulty.to_owned(), Fault::OnWrite(fault))].into()).await;
                let reply = running.drive(&stop(&targets)).await;
                let written = reply.written.as_ref().expect("a report");
                assert_eq!(written.outcomes.len(), 3, "{what}: {written:?}");
                for ((shard, alias), outcome) in targets.into_iter().zip(&written.outcomes) {
                    assert_eq!((outcome.shard.as_str(), outcome.tablet.as_str()), (shard, alias), "{what}");
                    if alias == faulty {
                        assert_eq!(outcome.verdict, verdict, "{what}: {outcome}");
                        assert!(outcome.message.contains(words), "{what}: {outcome}");
                    } else {
                        assert_eq!((outcome.verdict, outcome.rows), (Verdict::Applied, 1), "{what}: {outcome}");
                        assert_eq!(outcome.message, "", "{what}");
                    }
                    assert_eq!(running.cluster.writes(alias), 1, "{what}: {alias} was called once");
                    let now = running.state(alias).await;
                    assert_eq!(now.as_deref(), if alias == faulty { state } else { Some("Stopped") }, "{what}: {alias}");
                }
                match (&reply.result, verdict) {
                    (Ok(bytes), Verdict::Applied) => {
                        let response = WorkflowUpdateResponse::decode(bytes.as_slice()).unwrap();
                        assert!(response.details.len() == 3 && response.details.iter().all(|info| info.changed), "{what}");
                    }
                    (Err(status), Verdict::NotApplied | Verdict::Unknown) => {
                        for (_, alias) in targets {
                            assert!(status.message.contains(alias), "{what}: {}", status.message);
                        }
                        assert!(status.message.contains(words), "{what}: {}", status.message);
                    }
                    (result, _) => panic!("{what}: {result:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_that_cannot_be_looked_at_keeps_all_of_them_as_they_are() {
    let targets = TARGETS[1];
    for (_, faulty) in targets {
        for fault in [Fault::Down, Fault::Hang, Fault::CloseConnection, Fault::Garbage] {
            let running = Running::start([(faulty.to_owned(), fault)].into()).await;
            let reply = running.drive(&stop(&targets)).await;
            let status = reply.result.unwrap_err();
            assert!(status.message.contains("nothing was changed"), "{fault:?} at {faulty}: {}", status.message);
            for (_, alias) in targets {
                assert_eq!(running.cluster.writes(alias), 0, "{fault:?} at {faulty}: {alias}");
                if alias != faulty {
                    assert_eq!(running.state(alias).await.as_deref(), Some("Running"), "{fault:?} at {faulty}: {alias}");
                }
            }
        }
    }
}
