//! `UpdateThrottlerConfig` on plain data: the bytes that Vitess writes, all records read before one is written, and the truth when
//! a write fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, same_in_every_order};
use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Code, FailureKind, Flow, Mode, Record, Reply, Timestamp, What,
    contract::Verdict,
    proto::{
        topodata::{Keyspace, ThrottledAppRule},
        vtctldata::UpdateThrottlerConfigRequest,
        vttime::Time,
    },
    rpc, serve,
};

const NOW: Timestamp = Timestamp { seconds: 1_795_422_396, nanos: 0 };
const APP: &str = "94fc5e39_e717_11f1_9900_0a4aad2ccf4f";

// Recorded: a vtctldclient v24 and the records before and after.
const THROTTLE: &str = "CghjdXN0b21lcko9CiQ5NGZjNWUzOV9lNzE3XzExZjFfOTkwMF8wYTRhYWQyY2NmNGYRAAAAAAAA8D8aDAjMjZDYBhDxudGSAw==";
const UNTHROTTLE: &str = "CghjdXN0b21lckooCiQ5NGZjNWUzOV9lNzE3XzExZjFfOTkwMF8wYTRhYWQyY2NmNGYaAA==";
const KEYSPACE: &str = "QgRub25lUgNfdnQ=";
const KEYSPACE_THROTTLED: &str = "QgRub25lSmcqZQokOTRmYzVlMzlfZTcxN18xMWYxXzk5MDBfMGE0YWFkMmNjZjRmEj0KJDk0ZmM1ZTM5X2U3MTdfMTFmMV85OTAwXzBhNGFhZDJjY2Y0ZhEAAAAAAADwPxoMCMyNkNgGEPG50ZIDUgNfdnQ=";
const KEYSPACE_AFTER: &str = "QgRub25lSgBSA192dA==";
const SRV: &str =
    "ChoIARIKCgMtODASAxIBgBIKCgM4MC0SAwoBgAoaCAISCgoDLTgwEgMSAYASCgoDODAtEgMKAYAKGggDEgoKAy04MBIDEgGAEgoKAzgwLRIDCgGA";
const SRV_AFTER: &str =
    "ChoIARIKCgMtODASAxIBgBIKCgM4MC0SAwoBgAoaCAISCgoDLTgwEgMSAYASCgoDODAtEgMKAYAKGggDEgoKAy04MBIDEgGAEgoKAzgwLRIDCgGAMgA=";

fn bytes(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

/// Records by cell, with their versions; cells without one do not serve the keyspace.
#[derive(Clone)]
struct Topology {
    records: Vec<(&'static str, Vec<u8>, i64)>,
    /// What the n-th write is answered with instead, and whether it was done all the same.
    broken: Option<(usize, Answer, bool)>,
    /// What reads of a cell are answered with instead.
    unreadable: Option<(&'static str, Answer)>,
}

impl Topology {
    fn new() -> Self {
        let records = vec![("global", bytes(KEYSPACE), 7), ("zone1", bytes(SRV), 8), ("zone2", bytes(SRV), 9)];
        Self { records, broken: None, unreadable: None }
    }

    fn value(&self, cell: &str) -> &[u8] {
        &self.records.iter().find(|(of, ..)| *of == cell).unwrap().1
    }

    fn perform(&mut self, ask: &Ask, writes: usize) -> Answer {
        let place = |cell: &str, path: &str| {
            let name = if cell == "global" { "Keyspace" } else { "SrvKeyspace" };
            assert_eq!(path, format!("keyspaces/customer/{name}"));
            self.records.iter().position(|(of, ..)| *of == cell)
        };
        match &ask.what {
            What::TopoLock { path, action, is_named: false } => {
                assert_eq!((path.as_str(), action.as_str()), ("keyspaces/customer", "UpdateThrottlerConfig"));
                Answer::Locked
            }
            What::TopoUnlock { .. } => Answer::Unlocked,
            What::TopoList { prefix, .. } => {
                assert_eq!(prefix, "cells/");
                let cells = ["zone1", "zone2", "zone3"].map(|cell| format!("cells/{cell}/CellInfo"));
                Answer::Range(cells.map(|path| Record { path, value: Vec::new(), version: 0 }).to_vec())
            }
            What::TopoGet { cell, path } => {
                if let Some((broken, answer)) = &self.unreadable
                    && broken == cell
                {
                    return answer.clone();
                }
                match place(cell, path) {
                    Some(at) => Answer::Found { value: self.records[at].1.clone(), version: self.records[at].2 },
                    None => Answer::Missing { node: path.clone() },
                }
            }
            What::TopoPut { cell, path, value, version } => {
                let at = place(cell, path).unwrap();
                let broken = self.broken.clone().filter(|(nth, ..)| *nth == writes);
                if broken.as_ref().is_none_or(|(_, _, is_done)| *is_done) {
                    assert_eq!(self.records[at].2, *version, "over the version that was read");
                    self.records[at].1.clone_from(value);
                    self.records[at].2 += 100;
                }
                broken.map_or(Answer::Stored { version: 100 }, |(_, answer, _)| answer)
            }
            what => panic!("{what:?}"),
        }
    }

    /// Runs a request to its end; also the cells that were written, in order.
    fn run(&mut self, request: &[u8], options: CallOptions) -> (Reply, Vec<String>, Vec<Ask>) {
        let call = Call { path: rpc::UPDATE_THROTTLER_CONFIG.into(), request: request.to_vec(), options };
        let mut flow = Flow::start(&call, NOW);
        let (mut written, mut all) = (Vec::new(), Vec::new());
        let mut waiting = flow.asks();
        while let Some(ask) = waiting.pop() {
            let answer = self.perform(&ask, written.len());
            if let What::TopoPut { cell, .. } = &ask.what {
                written.push(cell.clone());
            }
            flow.answer(ask.id, answer);
            all.push(ask);
            waiting.extend(flow.asks());
        }
        (flow.into_reply().unwrap(), written, all)
    }
}

fn mode(mode: Mode) -> CallOptions {
    CallOptions { mode, ..CallOptions::default() }
}

#[test]
fn records_are_written_as_vitess_writes_them() {
    let mut topology = Topology::new();
    let (reply, written, asks) = topology.run(&bytes(THROTTLE), CallOptions::default());
    assert_eq!(reply.result, Ok(Vec::new()));
    assert_eq!(written[0], "global", "the keyspace's own record first");
    assert_eq!(written.len(), 3);
    assert_eq!(topology.value("global"), bytes(KEYSPACE_THROTTLED));
    assert_ne!(topology.value("zone1"), bytes(SRV));
    assert_eq!(topology.value("zone1"), topology.value("zone2"));
    let outcomes = reply.written.unwrap().outcomes;
    assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied && outcome.rows == 1), "{outcomes:?}");
    let last_read = asks.iter().rposition(|ask| matches!(ask.what, What::TopoGet { .. })).unwrap();
    let first_write = asks.iter().position(|ask| matches!(ask.what, What::TopoPut { .. })).unwrap();
    assert!(last_read < first_write, "all is read before anything is written");
    assert!(matches!(asks.last().unwrap().what, What::TopoUnlock { .. }));

    let (reply, ..) = topology.run(&bytes(UNTHROTTLE), CallOptions::default());
    assert_eq!(reply.result, Ok(Vec::new()));
    assert_eq!(topology.value("global"), bytes(KEYSPACE_AFTER));
    assert_eq!(topology.value("zone1"), bytes(SRV_AFTER));

    let (reply, written, _) = topology.run(&bytes(UNTHROTTLE), CallOptions::default());
    assert_eq!((reply.result, written.len()), (Ok(Vec::new()), 0), "nothing is left to do");
}

#[test]
fn every_other_byte_of_a_record_stays() {
    let mut topology = Topology::new();
    // A field of a later release inside and outside of the configuration, and a rule of somebody else.
    let other = Keyspace::decode(&*bytes(KEYSPACE_THROTTLED)).unwrap().throttler_config.unwrap();
    let mut config = other.encode_to_vec();
    let spot = config.windows(4).position(|four| four == b"94fc").unwrap();
    config[spot] = b'0';
    let spot = config.windows(4).rposition(|four| four == b"94fc").unwrap();
    config[spot] = b'0';
    config.extend([0xfa, 0x07, 2, b'h', b'i']);
    let mut record = vec![0x42, 4, b'n', b'o', b'n', b'e', 0x4a, u8::try_from(config.len()).unwrap()];
    record.extend(&config);
    record.extend([0xfa, 0x07, 3, b'n', b'e', b'w']);
    topology.records[0].1.clone_from(&record);
    topology.run(&bytes(THROTTLE), CallOptions::default());
    let after = topology.value("global").to_vec();
    assert!(after.starts_with(&record[..6]) && after.ends_with(&[0xfa, 0x07, 3, b'n', b'e', b'w']));
    assert!(after.windows(config.len()).any(|part| part == config), "the others' rules and unknown fields");
    assert_eq!(Keyspace::decode(&*after).unwrap().throttler_config.unwrap().throttled_apps.len(), 2);
    topology.run(&bytes(UNTHROTTLE), CallOptions::default());
    assert_eq!(topology.value("global"), record, "and back again");
}

#[test]
fn a_rule_that_has_expired_is_removed() {
    let mut topology = Topology::new();
    topology.run(&bytes(THROTTLE), CallOptions::default());
    let mut request = UpdateThrottlerConfigRequest::decode(&*bytes(THROTTLE)).unwrap();
    let rule = request.throttled_app.take().unwrap();
    let expires_at = Some(Time { seconds: NOW.seconds, nanoseconds: 0 });
    request.throttled_app = Some(ThrottledAppRule { expires_at, ..rule });
    topology.run(&request.encode_to_vec(), CallOptions::default());
    assert_eq!(topology.value("global"), bytes(KEYSPACE_AFTER), "now is not after now");
}

#[test]
fn a_plan_is_read_first_and_holds_only_for_the_records_it_was_made_from() {
    let mut topology = Topology::new();
    let (reply, written, asks) = topology.run(&bytes(THROTTLE), mode(Mode::Preview));
    assert!(written.is_empty() && !asks.iter().any(|ask| matches!(ask.what, What::TopoLock { .. })));
    let plan = reply.written.unwrap().plan;
    let text = vtflow_screen::plans::text(&plan);
    assert!(
        text.contains(&format!("This throttles application {APP} of customer: 1 of its requests, for 60m, in 3 records")),
        "{text}"
    );
    assert!(text.contains("] = ratio 1, until Mon Nov 23 09:26:36 2026 UTC"), "{text}");
    assert!(text.contains("Locked meanwhile: keyspaces/customer"), "{text}");

    let mut moved = topology.clone();
    moved.records[2].2 += 1;
    let (reply, written, _) = moved.run(&bytes(THROTTLE), mode(Mode::Planned(plan.digest.clone())));
    assert_eq!(written.len(), 0);
    assert_eq!(reply.result.unwrap_err().code, Code::FailedPrecondition);
    let changes = vtflow_screen::plans::changes_since(&reply.written.unwrap().plan, &plan);
    assert_eq!(changes, ["customer zone2: record was version 9, is version 10"]);

    let (reply, written, _) = topology.run(&bytes(THROTTLE), mode(Mode::Planned(plan.digest)));
    assert_eq!((reply.result, written.len()), (Ok(Vec::new()), 3));
}

#[test]
fn a_record_that_cannot_be_read_leaves_all_alone() {
    let refused = Answer::Failed { kind: FailureKind::Unreachable, message: "no etcd".into() };
    for (cell, answer, want) in [
        ("zone2", refused.clone(), "zone2: no etcd\nnothing was changed"),
        (
            "global",
            Answer::Missing { node: "/v/keyspaces/customer/Keyspace".into() },
            "node doesn't exist: /v/keyspaces/customer/Keyspace",
        ),
        ("zone1", Answer::Found { value: vec![0x32, 99], version: 1 }, "zone1: the record cannot be read: "),
    ] {
        let mut topology = Topology { unreadable: Some((cell, answer)), ..Topology::new() };
        let (reply, written, asks) = topology.run(&bytes(THROTTLE), CallOptions::default());
        assert!(written.is_empty());
        assert!(reply.result.as_ref().unwrap_err().message.starts_with(want), "{:?}", reply.result);
        assert!(matches!(asks.last().unwrap().what, What::TopoUnlock { .. }), "the lock is given back");
    }
}

#[test]
fn the_truth_is_told_whichever_write_fails() {
    let failed = |kind| Answer::Failed { kind, message: "broke".into() };
    let changed = failed(FailureKind::Status(9));
    // How the k-th write ends, whether it was done all the same, and what must be said of it.
    for (answer, is_done, want) in [
        (changed.clone(), false, Verdict::NotApplied),
        (failed(FailureKind::TimedOut), false, Verdict::Unknown),
        (failed(FailureKind::TimedOut), true, Verdict::Applied),
        (failed(FailureKind::Unreachable), true, Verdict::Applied),
    ] {
        for k in 0..3 {
            let mut topology = Topology { broken: Some((k, answer.clone(), is_done)), ..Topology::new() };
            let (reply, written, asks) = topology.run(&bytes(THROTTLE), CallOptions::default());
            assert!(matches!(asks.last().unwrap().what, What::TopoUnlock { .. }));
            let outcomes = reply.written.unwrap().outcomes;
            assert_eq!(outcomes.len(), 3);
            assert_eq!(
                outcomes.iter().filter(|outcome| outcome.verdict == want).count(),
                match (want, k) {
                    (Verdict::Applied, 0) => 1,
                    // Nothing is made from a keyspace's record that was not written.
                    (Verdict::Applied, _) | (Verdict::NotApplied, 0) => 3,
                    _ => 1,
                },
                "{k}: {outcomes:?}"
            );
            if k == 0 {
                assert_eq!(written, ["global"], "the others are not sent");
            }
            assert_eq!(reply.result.is_ok(), outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied), "{outcomes:?}");
        }
    }
}

#[test]
fn what_is_not_an_applications_throttling_is_a_vtctlds() {
    assert!(serve::serves(rpc::UPDATE_THROTTLER_CONFIG, &bytes(THROTTLE)));
    assert!(serve::serves(rpc::UPDATE_THROTTLER_CONFIG, &[0xff]), "answered, with what is wrong");
    let app = UpdateThrottlerConfigRequest::decode(&*bytes(THROTTLE)).unwrap();
    for other in [
        UpdateThrottlerConfigRequest { enable: true, ..app.clone() },
        UpdateThrottlerConfigRequest { threshold: 1.5, ..app.clone() },
        UpdateThrottlerConfigRequest { throttled_app: None, ..app.clone() },
        UpdateThrottlerConfigRequest { throttled_app: Some(ThrottledAppRule::default()), ..app },
    ] {
        let request = other.encode_to_vec();
        assert!(!serve::serves(rpc::UPDATE_THROTTLER_CONFIG, &request), "{other:?}");
        let (reply, _, asks) = Topology::new().run(&request, CallOptions::default());
        assert_eq!((reply.result.unwrap_err().code, asks.len()), (Code::Unimplemented, 0));
    }
}

#[test]
fn records_that_fail_in_several_ways_are_told_alike_in_every_order() {
    let mut cluster = Cluster::new(&[]);
    for cell in ["zone1", "zone2", "zone3"] {
        cluster.cell(cell);
        cluster.topo.insert((cell.into(), "keyspaces/ks/SrvKeyspace".into()), bytes(SRV));
    }
    let mut request = UpdateThrottlerConfigRequest::decode(&*bytes(THROTTLE)).unwrap();
    request.keyspace = "ks".into();
    let path = rpc::UPDATE_THROTTLER_CONFIG.into();
    let call = Call { path, request: request.encode_to_vec(), options: CallOptions::default() };
    assert!(same_in_every_order(&cluster, &call).result.is_ok());
    let mut misnamed = cluster.clone();
    misnamed.global("cells/no cell/CellInfo", vec![]);
    let text = same_in_every_order(&misnamed, &call).result.unwrap_err().message;
    assert!(text.starts_with("global: cell \"no cell\" cannot exist: ") && text.ends_with("\nnothing was changed"), "{text}");
    cluster.break_topo("zone2", "keyspaces/ks/SrvKeyspace", "zone2 is away");
    cluster.break_topo("zone1", "keyspaces/ks/SrvKeyspace", "zone1 is away");
    cluster.topo.insert(("zone3".into(), "keyspaces/ks/SrvKeyspace".into()), vec![0xff]);
    cluster.break_topo("global", "keyspaces/ks/Keyspace", "the topology is away");
    let text = same_in_every_order(&cluster, &call).result.unwrap_err().message;
    let lines: Vec<&str> = text.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    assert_eq!(lines, ["global", "zone1", "zone2", "zone3", "nothing was changed"], "{text}");
}

#[test]
fn a_topology_with_very_many_cells_is_not_changed_in_some_of_them() {
    let mut cluster = Cluster::new(&[]);
    for number in 0..1_000 {
        cluster.cell(&format!("zone{number}"));
    }
    let mut request = UpdateThrottlerConfigRequest::decode(&*bytes(THROTTLE)).unwrap();
    request.keyspace = "ks".into();
    let call =
        Call { path: rpc::UPDATE_THROTTLER_CONFIG.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    assert!(cluster.run(&call).0.result.is_ok(), "so many are read");
    cluster.cell("zone1000");
    let (reply, _) = cluster.run(&call);
    let text = reply.result.unwrap_err().message;
    assert!(text.contains("the topology has 1001 cells, more than the 1000 that are read"), "{text}");
    assert!(text.ends_with("nothing was changed"), "{text}");
}

#[test]
fn an_application_can_be_exempt_from_all_rules() {
    let mut request = UpdateThrottlerConfigRequest::decode(&*bytes(THROTTLE)).unwrap();
    for (name, exempt, whose, end) in [
        (APP, true, format!("application {APP}"), ", exempt from all other rules"),
        ("online-ddl", false, "all schema migrations".to_owned(), ""),
    ] {
        let rule = request.throttled_app.take().unwrap();
        request.throttled_app = Some(ThrottledAppRule { name: name.into(), exempt, ..rule });
        let (reply, ..) = Topology::new().run(&request.encode_to_vec(), mode(Mode::Preview));
        let plan = reply.written.unwrap().plan;
        let summary = format!("This throttles {whose} of customer: 1 of its requests, for 60m{end}, in 3 records");
        assert_eq!(plan.summary, summary);
        let statement = format!("throttled_apps[{name:?}] = ratio 1, until Mon Nov 23 09:26:36 2026 UTC{end}");
        assert_eq!(plan.writes[0].statement, statement);
    }
    let (reply, ..) = Topology::new().run(&bytes(UNTHROTTLE), mode(Mode::Preview));
    assert_eq!(reply.written.unwrap().plan.summary, format!("This lets application {APP} of customer go on, in 0 records"));
}

#[test]
fn a_record_that_somebody_else_has_changed_tells_nothing_of_the_write() {
    let failed = |kind| Answer::Failed { kind, message: "broke".into() };
    let found = |value: &[u8], version| Answer::Found { value: value.to_vec(), version };
    let mut request = UpdateThrottlerConfigRequest::decode(&*bytes(THROTTLE)).unwrap();
    request.keyspace = "ks".into();
    let path = rpc::UPDATE_THROTTLER_CONFIG.into();
    let call = Call { path, request: request.encode_to_vec(), options: CallOptions::default() };
    let (cut, refused) = (FailureKind::TimedOut, FailureKind::Status(9));
    let other = "broke (somebody else has changed the record)";
    let as_it_was = "broke (a second look shows the record as it was)";
    let at_work = "broke (a second look shows the record as it was, but the write may still be at work)";
    let gone = Answer::Missing { node: "x".into() };
    for (kind, second_look, verdict, want) in [
        (cut, found(b"", 2), Verdict::Unknown, other),
        (refused, found(b"", 2), Verdict::NotApplied, other),
        (cut, found(b"", 1), Verdict::Unknown, at_work),
        (refused, found(b"", 1), Verdict::NotApplied, as_it_was),
        (refused, gone, Verdict::Unknown, "broke (the record is gone)"),
        (refused, failed(FailureKind::Unreachable), Verdict::Unknown, "broke (looking again: broke)"),
    ] {
        let mut cluster = Cluster::new(&[]);
        cluster.faults.insert(("put global keyspaces/ks/Keyspace".into(), 0), failed(kind));
        cluster.faults.insert(("get global keyspaces/ks/Keyspace".into(), 1), second_look);
        let (reply, _) = cluster.run(&call);
        let outcomes = reply.written.unwrap().outcomes;
        assert_eq!((outcomes.len(), outcomes[0].verdict, outcomes[0].message.as_str()), (1, verdict, want), "{kind:?}");
    }
}
