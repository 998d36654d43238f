//! Tables that are moved twice: what one workflow has done is not taken for the other's.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::{
    Call, CallOptions, What,
    proto::{
        vschema::{Keyspace, Table},
        vtctldata::WorkflowSwitchTrafficRequest,
        vtflow::{DiagnoseRequest, DiagnoseResponse},
    },
    rpc,
};

use crate::{
    support::live::Live,
    switch::{ALL, PRIMARY, back, call, done, request, switched},
    switch_faults::run,
};

const ARCHIVE: &str = "zone1-0000000900";

/// `corder` and `customer` were moved from commerce to customer, and are to go on to archive.
fn chain() -> Live {
    let mut live = switched();
    live.shard("archive", "0", "zone1", 900, "9a31759a-eb92-11f1-84af-02fc00000009", None);
    let tables = ["corder", "customer"].map(|name| (name.to_owned(), Table::default())).into();
    live.put("global", "keyspaces/archive/VSchema", Keyspace { tables, ..Keyspace::default() }.encode_to_vec());
    for shard in ["-80", "80-"] {
        let rule = |table| format!(r#"rules:{{match:"{table}" filter:"select * from {table}"}}"#);
        let filter = [rule("corder"), rule("customer")].join(" ");
        live.stream(ARCHIVE, "on", &format!(r#"keyspace:"customer" shard:"{shard}" filter:{{{filter}}}"#), 1);
    }
    live
}

fn on(types: &[i32]) -> WorkflowSwitchTrafficRequest {
    WorkflowSwitchTrafficRequest { keyspace: "archive".into(), workflow: "on".into(), ..request(types) }
}

fn diagnose() -> Call {
    let request = DiagnoseRequest::default();
    Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

/// Phase and what is wrong, of each workflow.
fn told(live: &Live) -> Vec<(String, String, Vec<String>)> {
    let bytes = live.clone().run(&diagnose()).unwrap().result.unwrap();
    let found = DiagnoseResponse::decode(bytes.as_slice()).unwrap();
    let one = |it: &vtflow_planner::proto::vtflow::DiagnosedWorkflow| {
        let wrong = it.deviations.iter().map(|it| it.mechanism.clone()).chain(it.unknown.iter().cloned()).collect();
        (it.workflow.clone(), it.phase.clone(), wrong)
    };
    found.workflows.iter().map(one).collect()
}

#[test]
fn a_workflow_whose_tables_were_moved_on_is_neither_half_done_nor_switched_again() {
    let mut live = chain();
    done(&mut live, &on(&ALL));
    let phase = |name: &str| (name.to_owned(), "writes_switched".to_owned(), Vec::<String>::new());
    assert_eq!(told(&live), [phase("on"), phase("c2c")]);
    let before = live.clone();
    for wanted in [request(&ALL), request(&[PRIMARY]), back(&ALL), back(&[PRIMARY])] {
        let text = live.run(&call(&wanted)).unwrap().result.unwrap_err().message;
        assert!(text.contains("corder is routed to archive, neither to c"), "{text}");
        assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers));
    }
    // What has moved them on goes back, and then all is the first one's again.
    done(&mut live, &WorkflowSwitchTrafficRequest { direction: 1, ..on(&ALL) });
    let found = told(&live);
    assert_eq!(found[1], phase("c2c"));
    assert_eq!((found[0].1.as_str(), &found[0].2), ("reversed", &vec![]));
    done(&mut live, &back(&ALL));
    assert_eq!(told(&live)[1].1, "reversed");
}

/// Whoever held it has ended meanwhile: nobody waits for it.
#[test]
fn a_lock_that_is_given_back_while_all_else_is_read_is_not_told_as_held() {
    let path = ("global".to_owned(), "internal/named_locks/customer/c2c/locks/1".to_owned());
    let text = br#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt", "Time": "1970-01-12T13:46:00Z"}"#;
    for is_given_back in [true, false] {
        let mut live = switched();
        live.put(&path.0, &path.1, text.to_vec());
        let reply = run(&mut live, &diagnose(), |live, ask| {
            if is_given_back && matches!(ask.what, What::TabletCall { .. }) {
                live.topo.remove(&path);
            }
            None
        });
        let found = DiagnoseResponse::decode(reply.result.unwrap().as_slice()).unwrap();
        assert_eq!(found.workflows[0].locks.len(), usize::from(!is_given_back));
    }
}
