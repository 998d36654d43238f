//! Taking away the locks that a dead vtctld has left on a workflow: which, by what proof, and what is refused.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, Code, FailureKind, Mode, Reply, Status, What,
    contract::Verdict,
    proto::vtflow::{HostProcess, UnlockHost, UnlockRequest, UnlockResponse},
    rpc,
};

use crate::support::{
    Cluster,
    live::{Fault, Live},
};

const OWN: &str = "internal/named_locks/ks/r/locks/1";
const SHARED: &str = "keyspaces/ks/locks/2";
const OF_SOURCE: &str = "keyspaces/src/locks/3";

/// Ten seconds before the moment of all tests.
const AGO: &str = "1970-01-12T13:46:30Z";
const SINCE: i64 = 999_990;

fn content(action: &str, host: &str, time: &str) -> Vec<u8> {
    let text =
        r#"{"Action": "ACTION", "HostName": "HOST", "UserName": "vt", "Time": "TIME", "Options": {}, "Status": "Running"}"#;
    text.replace("ACTION", action).replace("HOST", host).replace("TIME", time).into_bytes()
}

/// The locks of a switch of writes, taken on a host one after the other.
fn locked(host: &str) -> Live {
    let mut live = Live::default();
    live.put("global", "keyspaces/ks/Keyspace", Vec::new());
    live.put("global", OWN, content("WorkflowSwitchTraffic", host, AGO));
    live.put("global", SHARED, content("SwitchWrites", host, AGO));
    live.put("global", OF_SOURCE, content("SwitchWrites", host, AGO));
    live
}

fn host(processes: &[(&str, i64)]) -> UnlockHost {
    let process = |(name, since): &(&str, i64)| HostProcess { name: (*name).into(), pid: 77, since: *since };
    UnlockHost { name: "vm".into(), processes: processes.iter().map(process).collect() }
}

fn run(live: &mut Live, host: Option<UnlockHost>, options: CallOptions) -> Reply {
    let request = UnlockRequest { keyspace: "ks".into(), workflow: "r".into(), host }.encode_to_vec();
    live.run(&Call { path: rpc::UNLOCK.into(), request, options }).unwrap()
}

fn unlock(live: &mut Live, host: Option<UnlockHost>, force: bool) -> Result<Vec<String>, Status> {
    let reply = run(live, host, CallOptions { force, ..CallOptions::default() });
    reply.result.map(|bytes| UnlockResponse::decode(bytes.as_slice()).unwrap().paths)
}

fn left(live: &Live) -> Vec<&str> {
    live.topo.keys().map(|(_, path)| path.as_str()).filter(|path| path.contains("/locks/")).collect()
}

#[test]
fn what_no_process_of_its_host_is_old_enough_to_hold_goes() {
    let mut live = locked("vm");
    live.put("global", "internal/named_locks/ks/other/locks/4", content("WorkflowSwitchTraffic", "vm", AGO));
    live.put("global", "keyspaces/else/locks/5", content("ApplySchemaKeyspace", "elsewhere", AGO));
    live.put("global", "keyspaces/before/locks/6", content("ApplySchemaKeyspace", "vm", "1970-01-12T13:46:29Z"));
    let later = Some(host(&[("vtctld", SINCE + 2)]));
    let preview = run(&mut live, later.clone(), CallOptions { mode: Mode::Preview, ..CallOptions::default() });
    let plan = preview.written.unwrap().plan;
    assert_eq!(plan.summary, "This takes away 3 locks on workflow ks.r:");
    assert!(plan.writes[0].rows[0].about.ends_with("10s ago: no vtctld on host vm is as old as it"), "{plan:#?}");
    assert_eq!((plan.kept.len(), plan.warnings.len()), (2, 0), "{plan:#?}");
    assert_eq!(unlock(&mut live, later, false).unwrap(), [OWN, SHARED, OF_SOURCE]);
    assert_eq!(
        left(&live),
        ["internal/named_locks/ks/other/locks/4", "keyspaces/before/locks/6", "keyspaces/else/locks/5"],
        "others' stay"
    );
    let preview = run(&mut live, None, CallOptions { mode: Mode::Preview, ..CallOptions::default() });
    let plan = preview.written.unwrap().plan;
    assert_eq!((plan.kept, plan.writes.len()), (vec!["there is no lock on workflow ks.r".to_owned()], 0));
}

#[test]
fn what_somebody_may_hold_stays() {
    let unread = |mut live: Live| {
        live.put("global", OWN, b"\xff".to_vec());
        live
    };
    let old = || Some(host(&[("vtctldclient", SINCE + 60), ("vtctld", SINCE + 1)]));
    for (mut live, of_host, why) in [
        (locked("vm"), old(), "vtctld (process 77) of host vm may hold it"),
        (locked("vm"), None, "whether its holder lives can be seen on host vm only"),
        (locked("elsewhere"), Some(host(&[])), "whether its holder lives can be seen on host elsewhere only"),
        (locked(""), Some(host(&[])), "whether its holder lives can be seen on host  only"),
        (unread(locked("vm")), Some(host(&[])), &format!("{OWN}, taken by @: it does not say since when it stands")),
    ] {
        let before = live.topo.clone();
        let status = unlock(&mut live, of_host, false).unwrap_err();
        assert_eq!(status.code, Code::FailedPrecondition);
        assert!(status.message.contains(why) && status.message.contains("\nnothing was changed"), "{why}: {}", status.message);
        assert_eq!(live.topo, before, "{why}");
    }
}

/// As it is kept alive, it does not outlive its holder for long. It may stand behind one that does.
#[test]
fn a_vtflows_own_stays() {
    let text = String::from_utf8(content("WorkflowSwitchTraffic", "vm", AGO)).unwrap();
    let own = text.replace(r#""Running""#, r#""Running", "Program": "vtflow""#).into_bytes();
    let behind = "internal/named_locks/ks/r/locks/9";
    for force in [false, true] {
        let mut live = locked("vm");
        live.put("global", behind, own.clone());
        let options = CallOptions { force, mode: Mode::Preview, ..CallOptions::default() };
        let warnings = run(&mut live, Some(host(&[])), options).written.unwrap().plan.warnings;
        let told = format!("whoever holds {OWN} and lives is not told before it writes");
        assert_eq!(warnings, if force { vec![told] } else { Vec::new() }, "of a vtflow's own nothing is said");
        assert_eq!(unlock(&mut live, Some(host(&[])), force).unwrap(), [OWN, SHARED, OF_SOURCE]);
        let reply = run(&mut live, Some(host(&[])), CallOptions { force, ..CallOptions::default() });
        let plan = reply.written.unwrap().plan;
        assert!(plan.writes.is_empty() && plan.kept[0].ends_with("it ends by itself, soon after its holder has"), "{plan:#?}");
        assert_eq!(left(&live), [behind]);
    }
}

#[test]
fn without_a_proof_the_workflows_own_goes_only_where_that_is_forced() {
    let mut live = locked("elsewhere");
    let options = CallOptions { force: true, mode: Mode::Preview, ..CallOptions::default() };
    let plan = run(&mut live, Some(host(&[])), options).written.unwrap().plan;
    assert_eq!(plan.warnings, [format!("whoever holds {OWN} and lives is not told before it writes")]);
    assert_eq!(unlock(&mut live, Some(host(&[])), true).unwrap(), [OWN]);
    assert_eq!(left(&live), [SHARED, OF_SOURCE], "they end by themselves");
}

#[test]
fn a_switch_that_stands_alone_for_long_is_gone_wherever_it_was() {
    let mut live = Live::default();
    live.put("global", OWN, content("WorkflowSwitchTraffic", "elsewhere", "1970-01-12T13:36:00Z"));
    assert_eq!(unlock(&mut live, None, false).unwrap(), [OWN]);
}

/// Its own holder gives it back, or another person takes it away.
#[test]
fn a_lock_that_is_gone_by_then_is_none() {
    let mut live = locked("vm");
    live.faults.insert(0, Fault::LostAfter);
    assert_eq!(unlock(&mut live, Some(host(&[])), false).unwrap(), [OWN, SHARED, OF_SOURCE]);

    let mut live = locked("vm");
    live.faults.insert(0, Fault::Refused);
    let status = unlock(&mut live, Some(host(&[])), false).unwrap_err();
    assert!(status.message.contains("not applied"), "{}", status.message);
    assert_eq!(left(&live), [OWN]);
}

#[test]
fn names_that_leave_the_directory_have_no_lock() {
    for (keyspace, workflow) in [("ks", ".."), ("ks", "a/b"), ("ks", ""), ("a/b", "r")] {
        let request = UnlockRequest { keyspace: keyspace.into(), workflow: workflow.into(), host: None }.encode_to_vec();
        let call = Call { path: rpc::UNLOCK.into(), request, options: CallOptions::default() };
        let mut live = locked("vm");
        assert!(live.run(&call).unwrap().result.is_err(), "{keyspace} {workflow}");
        assert_eq!(left(&live), [OWN, SHARED, OF_SOURCE]);
    }
}

#[test]
fn what_cannot_be_read_of_the_locks_leaves_all_of_them() {
    let locked = || {
        let mut cluster = Cluster::default();
        cluster.global("keyspaces/ks/Keyspace", Vec::new());
        cluster.global(OWN, content("WorkflowSwitchTraffic", "vm", AGO));
        cluster.global(SHARED, content("SwitchWrites", "vm", AGO));
        cluster
    };
    let call = |force| {
        let request = UnlockRequest { keyspace: "ks".into(), workflow: "r".into(), host: Some(host(&[])) }.encode_to_vec();
        Call { path: rpc::UNLOCK.into(), request, options: CallOptions { force, ..CallOptions::default() } }
    };
    for unread in ["internal/named_locks/ks/r/locks/", "keyspaces/", SHARED] {
        let mut cluster = locked();
        cluster.break_topo("global", unread, "no answer in 5s");
        let (reply, asks) = cluster.run(&call(true));
        let status = reply.result.unwrap_err();
        assert_eq!(status.message, "no answer in 5s\nnothing was changed", "{unread}");
        assert!(!asks.iter().any(|ask| matches!(ask.what, What::TopoDelete { .. })), "{unread}");
    }
    let mut cluster = locked();
    cluster.broken_topo.insert(("global".into(), SHARED.into()), Answer::Range(Vec::new()));
    let status = cluster.run(&call(true)).0.result.unwrap_err();
    assert!(status.message.starts_with("a read of locks was answered with "), "{}", status.message);
    // One that is given back between the list and its reading is none.
    let mut cluster = locked();
    cluster.broken_topo.insert(("global".into(), SHARED.into()), Answer::Missing { node: SHARED.into() });
    let reply = cluster.run(&call(false)).0;
    assert_eq!(UnlockResponse::decode(reply.result.unwrap().as_slice()).unwrap().paths, [OWN]);
}

#[test]
fn where_the_workflow_has_no_lock_those_of_keyspaces_are_not_read() {
    let mut cluster = Cluster::default();
    cluster.global("keyspaces/ks/Keyspace", Vec::new());
    cluster.global(SHARED, content("SwitchWrites", "vm", AGO));
    let request = UnlockRequest { keyspace: "ks".into(), workflow: "r".into(), host: None }.encode_to_vec();
    let (reply, asks) = cluster.run(&Call { path: rpc::UNLOCK.into(), request, options: CallOptions::default() });
    assert_eq!(UnlockResponse::decode(reply.result.unwrap().as_slice()).unwrap().paths, [""; 0]);
    assert!(!asks.iter().any(|ask| matches!(ask.what, What::TopoGet { .. })), "{asks:?}");
}

/// What the second look at a lock shows whose deletion nobody has seen the end of.
#[test]
fn a_deletion_without_an_end_is_looked_at_again() {
    let found = Answer::Found { value: content("WorkflowSwitchTraffic", "vm", AGO), version: 1 };
    let failed = |kind| Answer::Failed { kind, message: "etcd is away".into() };
    for (kind, look, verdict, says) in [
        (FailureKind::TimedOut, Answer::Missing { node: OWN.into() }, Verdict::Applied, "a second look shows the change"),
        (FailureKind::TimedOut, found.clone(), Verdict::Unknown, "the write may still be at work"),
        (FailureKind::Status(2), found, Verdict::NotApplied, "a second look shows the record as it was"),
        (FailureKind::TimedOut, failed(FailureKind::Unreachable), Verdict::Unknown, "looking again: etcd is away"),
        (FailureKind::TimedOut, failed(FailureKind::Status(14)), Verdict::Unknown, "looking again: etcd is away"),
        (FailureKind::TimedOut, failed(FailureKind::TooLarge), Verdict::Unknown, "looking again was answered with "),
    ] {
        let mut cluster = Cluster::default();
        cluster.global(OWN, content("WorkflowSwitchTraffic", "vm", AGO));
        let lost = Answer::Failed { kind, message: "no answer".into() };
        cluster.faults.insert((format!("delete global {OWN}"), 0), lost);
        cluster.broken_topo.insert(("global".into(), OWN.into()), look);
        let request = UnlockRequest { keyspace: "ks".into(), workflow: "r".into(), host: Some(host(&[])) }.encode_to_vec();
        let (reply, _) = cluster.run(&Call { path: rpc::UNLOCK.into(), request, options: CallOptions::default() });
        let outcome = &reply.written.unwrap().outcomes[0];
        assert_eq!(outcome.verdict, verdict, "{says}: {outcome}");
        assert!(outcome.message.contains(says), "{says}: {outcome}");
        assert_eq!((outcome.keyspace.as_str(), outcome.tablet.as_str()), ("ks", "global"));
    }
}
