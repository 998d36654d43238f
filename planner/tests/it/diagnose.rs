//! `Diagnose` on every recorded moment of a real cluster's workflows: `tests/recordings/lifecycle.json`.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, NOW, place, rows};
use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;
use serde_json::Value;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Effect, FailureKind, Flow, Reply, Timestamp, What,
    proto::vtflow::{Deviation, DiagnoseRequest, DiagnoseResponse, DiagnosedWorkflow},
    rpc,
};

/// One moment.
struct Moment {
    name: String,
    cluster: Cluster,
    now: Timestamp,
}

fn moments() -> Vec<Moment> {
    let text = include_str!("../../../tests/recordings/lifecycle.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let table = |name: &str, ids: &Value| {
        let columns: Vec<String> = all["columns"][name]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| {
                let mark = if column[1].as_bool().unwrap() { "#" } else { "" };
                format!("{mark}{}", column[0].as_str().unwrap())
            })
            .collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let value = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let row = |id: &Value| all["rows"][number(id)].as_array().unwrap().iter().map(value).collect();
        rows(&columns, &ids.as_array().into_iter().flatten().map(row).collect::<Vec<Vec<Option<String>>>>())
    };
    all["states"]
        .as_array()
        .unwrap()
        .iter()
        .map(|state| {
            let mut cluster = Cluster::default();
            for (place, record) in state["topo"].as_object().unwrap() {
                let (cell, path) = place.split_once('/').unwrap();
                let value = STANDARD.decode(all["values"][number(&record[1])].as_str().unwrap()).unwrap();
                cluster.topo.insert((cell.into(), path.into()), value);
            }
            for (alias, tables) in state["tablets"].as_object().unwrap() {
                let mut answer = |subject: &str, answer| cluster.tablets.insert((alias.clone(), subject.into()), vec![answer]);
                answer("streams", table("vreplication", &tables["vreplication"]));
                answer("journals", table("resharding_journal", &tables["resharding_journal"]));
            }
            let now = Timestamp { seconds: state["now"].as_i64().unwrap(), nanos: 0 };
            let name = format!("{} {}", state["step"].as_str().unwrap(), state["side"].as_str().unwrap());
            Moment { name, cluster, now }
        })
        .collect()
}

fn call(keyspace: &str, workflow: &str) -> Call {
    let request = DiagnoseRequest { keyspace: keyspace.into(), workflow: workflow.into(), sequences: false };
    Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

impl Moment {
    fn diagnose(&self, keyspace: &str, workflow: &str) -> (DiagnoseResponse, Reply) {
        let reply = self.cluster.run_at(&call(keyspace, workflow), self.now);
        (DiagnoseResponse::decode(reply.result.as_ref().unwrap().as_slice()).unwrap(), reply)
    }
}

/// What is expected of a workflow: its name, its phase, what is wrong.
type Expected<'a> = (&'a str, &'a str, Vec<&'a str>);

const MIRROR: &str = "leftover_mirror_rules";
const READS: &str = "read_rules_not_served";

/// What every recorded moment shows: the workflows, and what is no workflow's.
fn expected(name: &str) -> (Vec<Expected<'static>>, Vec<&'static str>) {
    let (step, side) = name.split_once(' ').unwrap();
    let number: u32 = step[..2].parse().unwrap();
    let is_after = side == "after";
    let c2c = |phase, wrong: &[&'static str]| vec![("customer.c2c", phase, wrong.to_vec())];
    let workflows = match (number, is_after) {
        (1 | 3, false) => c2c("not_switched", &[]),
        (3, true) | (4..=6, false) => c2c("reads_switched", &[]),
        (6 | 11, true) | (7 | 9 | 30 | 40, false) | (12 | 13, _) => c2c("writes_switched", &[]),
        (9 | 30, true) | (11 | 16 | 31, false) | (15, _) => c2c("reversed", &[]),
        // Undone, but for the rules of reads that had been written before.
        (16, true) | (20 | 34, false) | (33, _) => c2c("not_switched", &[READS]),
        // The process was killed.
        (20, true) => c2c("stopped_before_journal", &["writes_closed", READS]),
        (31, true) => c2c("stopped_before_journal", &["writes_closed_reverse_created", READS]),
        (34, true) => c2c("stopped_after_journal", &["journal_without_routing", READS]),
        (41, true) | (42..=47, _) => vec![("customer.m2", "not_switched", vec![])],
        (50, true) => vec![("customer.m3", "not_switched", vec![])],
        (57 | 63..=80, _) | (81, false) => vec![("customer.r1", "reads_switched", vec![])],
        (60, true) | (61, _) => vec![("customer.r1", "not_switched", vec![])],
        (81 | 84, true) | (82, _) | (85, false) => vec![("customer.r1", "writes_switched", vec![])],
        (84, false) => vec![("customer.r1", "reversed", vec![])],
        _ => vec![],
    };
    // `m2` was mirrored, and cancelled after that: nothing removes its mirror rules.
    (workflows, if number >= 50 { vec![MIRROR] } else { vec![] })
}

#[test]
fn every_recorded_moment_has_its_phase_and_what_is_wrong() {
    let moments = moments();
    assert!(moments.len() > 60, "{}", moments.len());
    for moment in moments {
        let (found, reply) = moment.diagnose("", "");
        let (workflows, leftovers) = expected(&moment.name);
        let mechanisms = |list: &[Deviation]| list.iter().map(|it| it.mechanism.clone()).collect::<Vec<_>>();
        let got: Vec<(String, String, Vec<String>)> = found
            .workflows
            .iter()
            .map(|it| (format!("{}.{}", it.keyspace, it.workflow), it.phase.clone(), mechanisms(&it.deviations)))
            .collect();
        let want: Vec<(String, String, Vec<String>)> = workflows
            .into_iter()
            .map(|(name, phase, wrong)| (name.into(), phase.into(), wrong.into_iter().map(str::to_owned).collect()))
            .collect();
        assert_eq!(got, want, "{}", moment.name);
        assert_eq!(mechanisms(&found.leftovers), leftovers, "{}", moment.name);
        assert!(found.unknown.is_empty() && found.changed.is_empty() && reply.failures.is_empty(), "{}: {found:?}", moment.name);
        assert!(found.workflows.iter().all(|it| it.unknown.is_empty()), "{}: {found:?}", moment.name);
    }
}

fn moment(name: &str) -> Moment {
    moments().into_iter().find(|moment| moment.name == name).unwrap()
}

#[test]
fn a_crash_is_told_with_whom_it_hurts_since_when_and_both_ways_out() {
    let mut crashed = moment("20-mt-crash-after-denied after");
    let lock = r#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt", "Time": "2026-11-29T02:28:28Z"}"#;
    crashed.cluster.global("internal/named_locks/customer/c2c/locks/7587899226436880638", lock.into());
    let (found, _) = crashed.diagnose("customer", "c2c");
    let [workflow] = found.workflows.as_slice() else { panic!("{found:?}") };
    let closed = &workflow.deviations[0];
    assert_eq!(
        closed.hurts,
        "writes to corder and customer are refused: commerce denies them, and nothing leads them to customer"
    );
    assert_eq!((closed.since, closed.rerun.as_str()), (1_795_919_308, "heals"));
    let ways: Vec<(&str, usize)> = closed.repairs.iter().map(|it| (it.direction.as_str(), it.actions.len())).collect();
    assert_eq!(ways, [("back", 3), ("forward", 1)], "{:?}", closed.repairs);
    assert_eq!((workflow.locks[0].holder.as_str(), workflow.locks[0].until), ("vt@vm", 1_795_919_308 + 86_400));
    // Half a second after the crash its process may be alive for all that anybody can see.
    assert_eq!((workflow.locks[0].process.as_str(), workflow.may_be_at_work), ("may_be_alive", true));
    crashed.now.seconds += 3_600;
    let (found, _) = crashed.diagnose("customer", "c2c");
    assert_eq!((found.workflows[0].locks[0].process.as_str(), found.workflows[0].may_be_at_work), ("gone", false));
    let gone = found.workflows[0].deviations.iter().find(|it| it.mechanism == "lock_without_process").expect("the lock");
    assert!(gone.hurts.ends_with("for 22h more at most"), "{}", gone.hurts);
    // After the journal there is no way back.
    let (found, _) = moment("34-mt-crash-journal after").diagnose("", "");
    let ways = found.workflows[0].deviations.iter().flat_map(|it| &it.repairs);
    assert!(ways.clone().count() > 0 && ways.clone().all(|it| it.direction == "forward"), "{found:?}");
}

#[test]
fn one_keyspace_shows_its_workflows_from_either_side() {
    for name in ["06-mt-switch-writes after", "31-mt-crash-waitpos after", "84-rs-switch-all after"] {
        let moment = moment(name);
        let (all, _) = moment.diagnose("", "");
        let [workflow] = all.workflows.as_slice() else { panic!("{all:?}") };
        for keyspace in [&workflow.keyspace, &workflow.source_keyspace] {
            for of in ["", &workflow.workflow, &format!("{}_reverse", workflow.workflow)] {
                let (found, reply) = moment.diagnose(keyspace, of);
                assert_eq!(found.workflows, all.workflows, "{name} {keyspace} {of}");
                assert_eq!(reply.failures, vec![], "{name} {keyspace} {of}");
            }
        }
        let (found, _) = moment.diagnose("customer", "nosuch");
        let told = |it: &DiagnosedWorkflow| (it.workflow.clone(), it.phase.clone(), it.kind.clone());
        assert_eq!(found.workflows.iter().map(told).collect::<Vec<_>>(), [("nosuch".into(), "ended".into(), String::new())]);
        let (reply, _) = moment.cluster.run(&call("nosuch", ""));
        assert!(reply.result.unwrap_err().message.contains("keyspaces/nosuch"));
    }
    let (reply, _) = moment("01-mt-switch-dry before").cluster.run(&call("", "c2c"));
    assert!(reply.result.unwrap_err().message.contains("name it, too"));
}

/// Rules that lead from one of the keyspaces to the other are gone; streams alone say that they belong together.
#[test]
fn streams_lead_to_the_other_keyspace_where_no_rule_does() {
    let mut moment = moment("30-mt-reverse3 after");
    moment.cluster.topo.remove(&("global".into(), "RoutingRules".into()));
    for keyspace in ["customer", "commerce"] {
        let (found, _) = moment.diagnose(keyspace, "c2c");
        assert_eq!(found.workflows.len(), 1, "{keyspace}");
        assert_eq!(found.workflows[0].unknown, Vec::<String>::new(), "{keyspace}");
        assert_eq!((found.workflows[0].source_shards.len(), found.workflows[0].target_shards.len()), (1, 2), "{keyspace}");
    }
}

/// Whether a reply would be taken for a healthy cluster's.
fn looks_healthy(reply: &Reply) -> bool {
    let Ok(bytes) = &reply.result else { return false };
    let found = DiagnoseResponse::decode(bytes.as_slice()).unwrap();
    let nothing = |list: &[Deviation], unknown: &[String]| list.is_empty() && unknown.is_empty();
    let is_well =
        found.workflows.iter().all(|it| nothing(&it.deviations, &it.unknown)) && nothing(&found.leftovers, &found.unknown);
    is_well && reply.failures.is_empty()
}

#[test]
fn whatever_cannot_be_read_nothing_is_healthy_for_it() {
    for name in ["01-mt-switch-dry before", "06-mt-switch-writes after", "31-mt-crash-waitpos after"] {
        let moment = moment(name);
        let request = call("", "");
        let (whole, asks) = moment.cluster.run(&request);
        assert_eq!(looks_healthy(&whole), !name.contains("crash"), "{name}");
        for ask in asks {
            let mut broken = moment.cluster.clone();
            broken.faults.insert((place(&ask), 0), Answer::Failed { kind: FailureKind::TimedOut, message: "down".into() });
            let (reply, _) = broken.run(&request);
            assert!(!looks_healthy(&reply), "{name} without {ask:?}: {reply:?}");
            let bytes = reply.result.as_ref().map(|bytes| DiagnoseResponse::decode(bytes.as_slice()).unwrap());
            let Ok(found) = bytes else { continue };
            // It is named, and no workflow of which something is not known is in a phase by guess.
            assert!(!reply.failures.is_empty(), "{name} without {ask:?}");
            let is_it = |it: &&DiagnosedWorkflow| it.workflow == "c2c";
            let before = DiagnoseResponse::decode(whole.result.as_ref().unwrap().as_slice()).unwrap();
            let phase = |of: &DiagnoseResponse| of.workflows.iter().find(is_it).map(|it| it.phase.clone());
            let (was, is) = (phase(&before), phase(&found));
            assert!(is.is_none() || is == was || is.as_deref() == Some("unknown"), "{name} without {ask:?}: {is:?}");
        }
    }
}

/// A cluster whose rules have another version each time they are read, so many times.
fn run_changing(cluster: &Cluster, times: i64) -> (DiagnoseResponse, usize) {
    run_changing_record(cluster, "RoutingRules", times)
}

/// The same of any one record.
fn run_changing_record(cluster: &Cluster, changing: &str, times: i64) -> (DiagnoseResponse, usize) {
    let mut flow = Flow::start(&call("", ""), NOW);
    let mut waiting = flow.asks();
    let (mut reads, mut asked) = (0, 0);
    while let Some(ask) = waiting.pop() {
        asked += 1;
        let answer = match (&ask.what, cluster.perform(&ask, 0)) {
            (What::TopoGet { path, .. }, Answer::Found { value, .. }) if path == changing => {
                reads += 1;
                Answer::Found { value, version: reads.min(times) }
            }
            (_, Answer::Range(mut records)) => {
                for record in records.iter_mut().filter(|record| record.path == changing) {
                    reads += 1;
                    record.version = reads.min(times);
                }
                Answer::Range(records)
            }
            (_, answer) => answer,
        };
        assert!(flow.answer(ask.id, answer));
        waiting.extend(flow.asks());
    }
    let reply = flow.into_reply().unwrap();
    (DiagnoseResponse::decode(reply.result.unwrap().as_slice()).unwrap(), asked)
}

#[test]
fn what_changes_while_it_is_read_is_read_again_once() {
    let moment = moment("06-mt-switch-writes after");
    let (once, asks) = run_changing(&moment.cluster, 1);
    assert!(once.changed.is_empty() && once.workflows[0].phase == "writes_switched");
    let (again, twice) = run_changing(&moment.cluster, 2);
    assert_eq!((again, twice), (once, 2 * asks), "all is read again, and stays");
    let (always, asked) = run_changing(&moment.cluster, i64::MAX);
    assert_eq!((always.changed, asked), (vec!["RoutingRules".to_owned()], twice), "not for ever");
    assert_eq!(always.workflows[0].phase, "unknown");
    assert!(
        always.workflows[0].unknown.iter().any(|why| why.contains("RoutingRules was changed")),
        "{:?}",
        always.workflows[0].unknown
    );
}

#[test]
fn locks_come_and_go_and_are_looked_at_once() {
    let moment = moment("06-mt-switch-writes after");
    let (_, asks) = moment.cluster.run(&call("", ""));
    let of = |ask: &Ask| match &ask.what {
        What::TopoRange { prefix, .. } | What::TopoList { prefix, .. } => prefix.clone(),
        _ => String::new(),
    };
    let mut looks: Vec<String> = asks.iter().map(of).filter(|prefix| prefix.contains("locks/")).collect();
    looks.sort();
    let want = ["internal/named_locks/", "keyspaces/commerce/locks/", "keyspaces/customer/locks/"];
    assert_eq!(looks, want, "records that decide are looked at twice: they must not have changed");
}

#[test]
fn asks_are_as_few_as_the_shards_and_cells_need() {
    let moment = moment("06-mt-switch-writes after");
    let (_, asks) = moment.cluster.run(&call("", ""));
    let tablets = asks.iter().filter(|ask| matches!(ask.what, What::TabletCall { .. })).count();
    // The streams of three primaries, and their journals: of the source the switch's, of the target those of a way back. What the two shards of the
    // target have purged, from which the source's streams read now.
    assert_eq!(tablets, 8);
    assert_eq!(asks.iter().map(|ask| ask.round).max(), Some(7), "rounds");
    for prefix in ["cells/", "keyspaces/"] {
        let is_it = |ask: &&Ask| matches!(&ask.what, What::TopoRange { prefix: of, .. } | What::TopoList { prefix: of, .. } if of == prefix);
        assert_eq!(asks.iter().filter(is_it).count(), 1, "{prefix}: names do not decide, and are not looked at again");
    }
    assert!(asks.iter().all(|ask| match &ask.what {
        What::TabletCall { effect, .. } => *effect == Effect::Read,
        What::TopoGet { .. } | What::TopoRange { .. } | What::TopoList { .. } => true,
        _ => false,
    }));
}

#[test]
fn what_changes_meanwhile_concerns_the_workflows_of_its_keyspace() {
    let mut moment = moment("06-mt-switch-writes after");
    moment.cluster.global("keyspaces/other/Keyspace", vec![]);
    moment.cluster.global("keyspaces/other/shards/0/Shard", vec![]);
    for (record, phase) in [
        ("keyspaces/other/shards/0/Shard", "writes_switched"),
        ("keyspaces/commerce/shards/0/Shard", "unknown"),
        ("keyspaces/customer/shards/-80/Shard", "unknown"),
        ("keyspaces/customer/SrvKeyspace", "unknown"),
    ] {
        let (found, _) = run_changing_record(&moment.cluster, record, i64::MAX);
        assert!(
            !found.changed.is_empty() && found.changed.iter().all(|it| it.starts_with(record)),
            "{record}: {:?}",
            found.changed
        );
        let [workflow] = found.workflows.as_slice() else { panic!("{found:?}") };
        assert_eq!(workflow.phase, phase, "{record}");
        let is_told = workflow.unknown.iter().any(|why| why.starts_with(record) && why.contains("was changed"));
        assert_eq!(is_told, phase == "unknown", "{record}: {:?}", workflow.unknown);
    }
}

#[test]
fn only_a_workflows_own_lock_with_a_time_ends_by_itself() {
    let mut crashed = moment("20-mt-crash-after-denied after");
    let with_time = r#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt", "Time": "2026-11-29T02:28:28Z"}"#;
    let without = r#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt"}"#;
    crashed.cluster.global("keyspaces/customer/locks/1", with_time.into());
    crashed.cluster.global("internal/named_locks/customer/c2c/locks/2", with_time.into());
    crashed.cluster.global("internal/named_locks/customer/c2c/locks/3", without.into());
    let (found, _) = crashed.diagnose("customer", "c2c");
    let until = |path: &str| found.workflows[0].locks.iter().find(|it| it.path.ends_with(path)).unwrap().until;
    assert_eq!(["customer/locks/1", "c2c/locks/2", "c2c/locks/3"].map(until), [0, 1_795_919_308 + 86_400, 0]);
    let own: Vec<String> = found.workflows[0].locks.iter().map(|it| it.path.clone()).collect();
    for of_others in ["internal/named_locks/customer/c3c/locks/4", "internal/named_locks/other/c2c/locks/5"] {
        crashed.cluster.global(of_others, with_time.into());
    }
    crashed.cluster.global("internal/named_locks/commerce/c2c_reverse/locks/6", with_time.into());
    let (found, _) = crashed.diagnose("customer", "c2c");
    let all: Vec<&str> = found.workflows[0].locks.iter().map(|it| it.path.as_str()).collect();
    let more: Vec<&str> = all.iter().copied().filter(|path| !own.iter().any(|own| own == path)).collect();
    assert_eq!((more, all.len()), (vec!["internal/named_locks/commerce/c2c_reverse/locks/6"], own.len() + 1));
}

/// A diagnosis in which the topology says "not found" of what this ask reads.
fn without(cluster: &Cluster, missing: impl Fn(&What) -> bool) -> DiagnoseResponse {
    let mut flow = Flow::start(&call("", ""), NOW);
    let mut waiting = flow.asks();
    while let Some(ask) = waiting.pop() {
        let answer = if missing(&ask.what) {
            Answer::Failed { kind: FailureKind::Status(5), message: "not found".into() }
        } else {
            cluster.perform(&ask, 0)
        };
        assert!(flow.answer(ask.id, answer));
        waiting.extend(flow.asks());
    }
    DiagnoseResponse::decode(flow.into_reply().unwrap().result.unwrap().as_slice()).unwrap()
}

#[test]
fn a_global_record_that_is_not_found_is_missing_and_a_cells_is_unknown() {
    let moment = moment("06-mt-switch-writes after");
    let is_global = |what: &What| matches!(what, What::TopoGet { path, .. } if path == "MirrorRules");
    let found = without(&moment.cluster, is_global);
    assert_eq!(found.workflows[0].phase, "writes_switched", "{found:?}");
    let is_of_cell = |what: &What| matches!(what, What::TopoGet { path, cell } if path == "SrvVSchema" && cell == "zone1");
    let found = without(&moment.cluster, is_of_cell);
    assert_eq!(found.workflows[0].phase, "unknown", "the cell's topology is what is not found: {found:?}");
}
