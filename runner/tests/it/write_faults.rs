//! Requests that write in front of a cluster whose k-th tablet goes wrong at the very moment of the change: what is said of each
//! tablet is what happened there, the others have their change, and nothing is sent twice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

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
    contract::Verdict,
    proto::{
        tabletmanagerdata::{ExecuteFetchAsDbaRequest, ExecuteFetchAsDbaResponse, UpdateVReplicationWorkflowRequest},
        vtctldata::{CancelSchemaMigrationRequest, WorkflowDeleteRequest, WorkflowUpdateRequest, WorkflowUpdateResponse},
        vtflow::VExecRequest,
    },
    rpc,
};

/// Three shards with their primaries, of v24, v22 and v20, and of v20, v18 and v16, which gets a statement instead of the RPC.
const TARGETS: [[(&str, &str); 3]; 2] = [
    [("-40", "zone1-0000000600"), ("40-80", "zone1-0000000610"), ("80-c0", "zone1-0000000620")],
    [("80-c0", "zone1-0000000620"), ("c0-", "zone1-0000000630"), ("c0-e0", "zone1-0000000650")],
];

/// Each fault, what is said of its tablet, in which words.
const FAULTS: [(OnWrite, Verdict, &str); 4] = [
    (OnWrite::Refuse, Verdict::NotApplied, "a second look shows the rows as they were"),
    (OnWrite::Hang, Verdict::Unknown, "but the call may still be at work"),
    (OnWrite::LoseAnswer, Verdict::Applied, "a second look shows the change"),
    (OnWrite::Die, Verdict::Unknown, "looking again: "),
];

const QUEUED: &str = "af9b413e_e71a_11f1_8dda_0a4aad2ccf4f";

/// A kind of write, and how to see on a tablet whether it has been done.
struct Verb {
    name: &'static str,
    call: fn(&[(&str, &str)]) -> Call,
    /// One value.
    query: &'static str,
    /// Its value before, and once it has been done; empty: no row.
    before: &'static str,
    after: &'static str,
    /// Whether a second look can show that it has been done.
    can_be_seen: bool,
}

const STATE: &str = "select state from _vt.vreplication where workflow = 'mix_mt'";
const STATUS: &str =
    "select migration_status from _vt.schema_migrations where migration_uuid = 'af9b413e_e71a_11f1_8dda_0a4aad2ccf4f'";

const VERBS: [Verb; 6] = [
    Verb { name: "stop", call: stop, query: STATE, before: "Running", after: "Stopped", can_be_seen: true },
    Verb { name: "delete", call: delete, query: STATE, before: "Running", after: "", can_be_seen: true },
    // Of a person's update only MySQL knows what it makes of a row.
    Verb { name: "vexec update", call: vexec_update, query: STATE, before: "Running", after: "Stopped", can_be_seen: false },
    Verb { name: "vexec delete", call: vexec_delete, query: STATE, before: "Running", after: "", can_be_seen: true },
    Verb { name: "cancel", call: cancel, query: STATUS, before: "queued", after: "cancelled", can_be_seen: true },
    Verb { name: "cancel all", call: cancel_all, query: STATUS, before: "queued", after: "cancelled", can_be_seen: true },
];

fn names(shards: &[(&str, &str)]) -> Vec<String> {
    shards.iter().map(|(shard, _)| (*shard).to_owned()).collect()
}

fn delete(shards: &[(&str, &str)]) -> Call {
    let request = WorkflowDeleteRequest {
        keyspace: "mixed".into(),
        workflow: "mix_mt".into(),
        keep_data: true,
        keep_routing_rules: true,
        shards: names(shards),
        ..WorkflowDeleteRequest::default()
    };
    Call { path: rpc::WORKFLOW_DELETE.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn vexec(sql: &str, shards: &[(&str, &str)]) -> Call {
    let (keyspace, workflow, sql) = ("mixed".into(), "mix_mt".into(), sql.into());
    let request = VExecRequest { keyspace, workflow, sql, shards: names(shards), ..VExecRequest::default() };
    Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn vexec_update(shards: &[(&str, &str)]) -> Call {
    vexec("update _vt.vreplication set state = 'Stopped' where state = 'Running'", shards)
}

fn vexec_delete(shards: &[(&str, &str)]) -> Call {
    vexec("delete from _vt.vreplication", shards)
}

fn migration(uuid: &str, shards: &[(&str, &str)]) -> Call {
    let request = CancelSchemaMigrationRequest { keyspace: "mixed".into(), uuid: uuid.into(), caller_id: None };
    let options = CallOptions { shards: names(shards), ..CallOptions::default() };
    Call { path: rpc::CANCEL_SCHEMA_MIGRATION.into(), request: request.encode_to_vec(), options }
}

fn cancel(shards: &[(&str, &str)]) -> Call {
    migration(QUEUED, shards)
}

fn cancel_all(shards: &[(&str, &str)]) -> Call {
    migration("all", shards)
}

fn stop(shards: &[(&str, &str)]) -> Call {
    let tablet_request = UpdateVReplicationWorkflowRequest {
        workflow: "mix_mt".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        state: Some(2),
        shards: names(shards),
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

    /// A value on a tablet, empty without a row; `None` if the tablet does not say.
    async fn value(&self, alias: &str, query: &str) -> Option<String> {
        let tablet = TabletAddress {
            alias: alias.into(),
            cell: "zone1".into(),
            host: "127.0.0.1".into(),
            grpc_port: self.cluster.port(alias).unwrap(),
        };
        let request = ExecuteFetchAsDbaRequest { query: query.into(), max_rows: 10, ..ExecuteFetchAsDbaRequest::default() };
        let (path, request, wait) = (rpc::EXECUTE_FETCH_AS_DBA, request.encode_to_vec(), Duration::from_secs(5));
        match self.io.tablets.call(&tablet, path, &request, Effect::Read, wait, None).await {
            Answer::Called(bytes) => {
                let result = ExecuteFetchAsDbaResponse::decode(bytes.as_slice()).unwrap().result.unwrap();
                Some(result.rows.first().map_or_else(String::new, |row| String::from_utf8(row.values.clone()).unwrap()))
            }
            _ => None,
        }
    }
}

async fn goes_wrong(verb: &Verb, targets: [(&str, &str); 3], k: usize, (fault, verdict, words): (OnWrite, Verdict, &str)) {
    let (shard, faulty) = targets[k];
    let what = format!("{}: {fault:?} at {shard}, {k} of {targets:?}", verb.name);
    let (verdict, words) = match fault {
        OnWrite::LoseAnswer if !verb.can_be_seen => (Verdict::Unknown, "a second look shows "),
        // Not even that nothing has changed is certain of columns that are not compared.
        OnWrite::Refuse | OnWrite::Hang if !verb.can_be_seen => (Verdict::Unknown, "no difference in what is compared"),
        OnWrite::Die if !matches!(verb.name, "stop" | "delete") => (verdict, "a second look shows rows that cannot be read: "),
        _ => (verdict, words),
    };
    let running = Running::start([(faulty.to_owned(), Fault::OnWrite(fault))].into()).await;
    for (_, alias) in targets {
        assert_eq!(running.value(alias, verb.query).await.as_deref(), Some(verb.before), "{what}: {alias}, before");
    }
    let reply = running.drive(&(verb.call)(&targets)).await;
    let written = reply.written.as_ref().unwrap_or_else(|| panic!("{what}: {:?}", reply.result));
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
        // Where the streams are gone, the workflow's comparisons and its log go with them.
        let calls = if verb.name == "delete" && alias != faulty { 3 } else { 1 };
        assert_eq!(running.cluster.writes(alias), calls, "{what}: {alias} was called as often");
        let now = running.value(alias, verb.query).await;
        let is_done = alias != faulty || fault == OnWrite::LoseAnswer;
        let want =
            if alias == faulty && fault == OnWrite::Die { None } else { Some(if is_done { verb.after } else { verb.before }) };
        assert_eq!(now.as_deref(), want, "{what}: {alias}");
    }
    match (&reply.result, verdict) {
        (Ok(bytes), Verdict::Applied) if verb.name == "stop" => {
            let response = WorkflowUpdateResponse::decode(bytes.as_slice()).unwrap();
            assert!(response.details.len() == 3 && response.details.iter().all(|info| info.changed), "{what}");
        }
        (Ok(_), Verdict::Applied) => {}
        (Err(status), Verdict::NotApplied | Verdict::Unknown) => {
            for (_, alias) in targets {
                assert!(status.message.contains(alias), "{what}: {}", status.message);
            }
            assert!(status.message.contains(words), "{what}: {}", status.message);
        }
        (result, _) => panic!("{what}: {result:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tablet_that_goes_wrong_is_the_only_one_that_is_not_changed_for_certain() {
    for verb in &VERBS {
        for targets in TARGETS {
            // The migration was never queued on the tablets of the other group.
            if verb.query == STATUS && targets != TARGETS[0] {
                continue;
            }
            let all = (0..targets.len()).flat_map(|k| FAULTS.map(|fault| goes_wrong(verb, targets, k, fault)));
            futures_util::future::join_all(all).await;
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
                    assert_eq!(running.value(alias, STATE).await.as_deref(), Some("Running"), "{fault:?} at {faulty}: {alias}");
                }
            }
        }
    }
}
