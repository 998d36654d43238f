//! `VDiffShow` from request bytes to reply bytes, on clusters made of plain data.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, NOW, ask_name, refused, rows, same_in_every_order, silent};
use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, Reply, What,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{VDiffRequest, VDiffResponse, VReplicationExecResponse},
        topodata::Shard,
        vtctldata::{VDiffShowRequest, VDiffShowResponse},
    },
    rpc,
};
use vtflow_screen::vdiff_summary;

const UUID: &str = "b3f59678-5241-41ee-be56-0242ac120002";

fn call(keyspace: &str, workflow: &str) -> Call {
    let request = VDiffShowRequest { workflow: workflow.into(), target_keyspace: keyspace.into(), arg: "last".into() };
    Call { path: rpc::VDIFF_SHOW.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn name() -> Answer {
    rows(&["workflow"], &[vec![Some("wf".into())]])
}

/// Of three shards two have the workflow.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&["-40", "40-80", "80-"]);
    for (uid, info) in [(200, "second"), (300, "third")] {
        let output = QueryResult { info: info.into(), ..QueryResult::default() };
        let response = VDiffResponse { id: 7, output: Some(output), vdiff_uuid: UUID.into() };
        // Field 99, a string: what a later release may send.
        let bytes = [response.encode_to_vec(), vec![0x9a, 0x06, 1, b'x']].concat();
        cluster.answer(uid, "names", name()).answer(uid, "vdiff", Answer::Called(bytes));
    }
    cluster
}

fn error(cluster: &Cluster, call: &Call) -> String {
    cluster.run(call).0.result.expect_err("an error").message
}

fn shown(reply: &Reply) -> VDiffShowResponse {
    VDiffShowResponse::decode(reply.result.as_ref().unwrap().as_slice()).unwrap()
}

#[test]
fn the_tablets_answers_are_the_reply() {
    let (reply, asks) = cluster().run(&call("ks", "wf"));
    assert!(reply.failures.is_empty());
    let responses = shown(&reply).tablet_responses;
    assert_eq!(responses.keys().collect::<Vec<_>>(), ["40-80", "80-"], "by shard, those with streams");
    assert_eq!(responses["80-"].output.as_ref().unwrap().info, b"third");
    assert_eq!((responses["40-80"].id, responses["40-80"].vdiff_uuid.as_str()), (7, UUID));
    let future = [0x9a, 0x06, 1, b'x'];
    assert_eq!(reply.result.unwrap().windows(4).filter(|window| *window == future).count(), 2, "untouched");
    let calls: Vec<_> = asks.iter().filter(|ask| ask.round == 4).collect();
    assert_eq!(calls.iter().map(|ask| ask_name(ask)).collect::<Vec<_>>(), ["zone1-0000000200 vdiff", "zone1-0000000300 vdiff"]);
    for ask in calls {
        let What::TabletCall { path, request, .. } = &ask.what else { panic!("a call") };
        let request = VDiffRequest::decode(request.as_slice()).unwrap();
        let VDiffRequest { keyspace, workflow, action, action_arg, vdiff_uuid, options } = request;
        assert_eq!(options, None);
        assert_eq!((&**path, keyspace.as_str(), workflow.as_str()), (rpc::VDIFF, "ks", "wf"));
        assert_eq!((action.as_str(), action_arg.as_str(), vdiff_uuid.as_str()), ("show", "last", ""));
    }
}

#[test]
fn a_shard_that_is_not_known_fails_the_request() {
    // Clients sum up what is there: without one shard they would say "completed".
    let mut silent_tablet = cluster();
    silent_tablet.answer(300, "vdiff", silent(300));
    assert_eq!(error(&silent_tablet, &call("ks", "wf")), "zone1-0000000300 did not answer in 10s");
    let mut two = cluster();
    two.answer(300, "vdiff", refused("vdiff engine is closed")).answer(100, "names", refused("no"));
    let (reply, _) = two.run(&call("ks", "wf"));
    let text = reply.result.unwrap_err().message;
    assert_eq!(text, "ks/-40 zone1-0000000100 wf: no\nks/80- zone1-0000000300 wf: vdiff engine is closed");
    assert_eq!(reply.failures.len(), 2);
    let mut without_primary = cluster();
    without_primary.global("keyspaces/ks/shards/-40/Shard", Shard::default().encode_to_vec());
    assert_eq!(error(&without_primary, &call("ks", "wf")), "no primary found for shard ks/-40");
    let mut unreadable = cluster();
    unreadable.answer(300, "vdiff", Answer::Called(vec![0xff]));
    assert!(error(&unreadable, &call("ks", "wf")).starts_with("the tablet's answer cannot be read: "));
}

#[test]
fn what_does_not_exist_is_named_as_vitess_names_it() {
    let none = Cluster::new(&["-80", "80-"]);
    assert_eq!(error(&none, &call("ks", "wf")), "no streams found in keyspace ks for wf");
    let text = "FindAllShardsInKeyspace(no): List: node doesn't exist: /vitess/global/keyspaces/no/shards";
    assert_eq!(error(&none, &call("no", "wf")), text);
    let (reply, asks) = none.run(&call("ks", ""));
    assert!(reply.result.is_err() && asks.is_empty());
    assert!(error(&none, &call("../x", "wf")).contains("cannot exist"));
}

#[test]
fn replies_do_not_depend_on_the_order_of_answers() {
    let mut broken = cluster();
    broken.answer(100, "names", refused("no")).answer(300, "vdiff", silent(300)).answer(200, "vdiff", Answer::Called(vec![0xff]));
    for cluster in [cluster(), broken] {
        same_in_every_order(&cluster, &call("ks", "wf"));
    }
}

#[test]
fn a_report_that_cannot_be_read_is_not_no_difference() {
    let columns = ["uuid", "vdiff_state", "table_name", "table_state", "has_mismatch", "report", "rows_compared", "table_rows"];
    let summed = |columns: &[&str], table_state: &str, said: Option<&str>, report: &str| {
        let row: Vec<Option<String>> =
            [Some(UUID), Some("completed"), Some("t1"), Some(table_state), said, Some(report), Some("5"), Some("5")]
                .into_iter()
                .take(columns.len())
                .map(|value| value.map(str::to_owned))
                .collect();
        let Answer::Called(bytes) = rows(columns, &[row]) else { panic!("rows") };
        // Both messages have the result in another field.
        let output = VReplicationExecResponse::decode(bytes.as_slice()).unwrap().result;
        let response = VDiffResponse { id: 1, output, vdiff_uuid: UUID.into() };
        let reply = VDiffShowResponse { tablet_responses: [("0".to_owned(), response)].into() };
        vdiff_summary("ks", "wf", &reply, None, NOW).unwrap()
    };
    for (said, report) in [
        (Some("0"), "{\"MismatchedRows\":"),
        (Some("0"), "[]"),
        (Some("0"), "{\"MismatchedRows\":\"many\"}"),
        (Some("perhaps"), "{}"),
        (None, "{}"),
    ] {
        let sum = summed(&columns, "completed", said, report);
        assert!(sum.verdict.ends_with("whether rows differ is not known"), "{}", sum.verdict);
        assert!(sum.has_trouble && !sum.has_mismatch && sum.tables[0].has_trouble);
        assert!(sum.notes.iter().any(|note| note.starts_with("what differs in t1 is not known: ")), "{:?}", sum.notes);
        assert!(sum.tables[0].note.contains("is not known") && sum.by_shard[0].note.contains("cannot be read"), "{sum:?}");
    }
    let sum = summed(&columns[..5], "completed", Some("0"), "");
    assert_eq!((sum.state.as_str(), sum.has_trouble), ("completed", false), "no report: nothing was found");
    for report in ["", "{}", "null", "{\"TableName\":\"t1\",\"MismatchedRows\":0}"] {
        let sum = summed(&columns, "completed", Some("0"), report);
        assert_eq!(sum.verdict, "completed, 5 rows compared, no rows differ", "{report}");
        assert!(sum.notes.is_empty() && !sum.has_trouble);
    }
    assert!(!summed(&columns, "pending", None, "").has_trouble, "it has not begun");
    assert!(summed(&columns, "completed", Some("1"), "{").has_mismatch, "that much is said");
}
