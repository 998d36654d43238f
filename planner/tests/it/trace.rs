//! Traces: whatever a flow asked and was told comes back from JSON as it was, and a planner that runs over it replies the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, NOW, rows};
use prost::Message;
use vtflow_planner::{
    Answer, Ask, AskId, Call, CallOptions, FailureKind, Flow, FlowHandle, PageAddress, Reply, What,
    explain::Plan,
    proto::vtctldata::GetWorkflowsRequest,
    trace::{FORMAT, Planner, Replayed, Trace, Traced, replay},
};

/// Runs a request over a cluster, answers taken by `pick`, and writes it down.
fn recorded(cluster: &Cluster, mut pick: impl FnMut(usize) -> usize) -> Trace {
    let request = GetWorkflowsRequest { keyspace: "ks".into(), include_logs: true, ..GetWorkflowsRequest::default() };
    let call = Call {
        path: "/vtctlservice.Vtctld/GetWorkflows".into(),
        request: request.encode_to_vec(),
        options: CallOptions::default(),
    };
    let mut flow = Flow::start(&call, NOW);
    let (mut asks, mut waiting, mut order) = (Vec::new(), Vec::new(), 0);
    loop {
        for ask in flow.asks() {
            waiting.push(asks.len());
            asks.push(Traced { ask, asked_us: 0, sent_us: None, answered_us: None, order: None, answer: None });
        }
        if waiting.is_empty() {
            break;
        }
        let traced = &mut asks[waiting.remove(pick(waiting.len()))];
        let answer = cluster.perform(&traced.ask, 0);
        flow.answer(traced.ask.id, answer.clone());
        (traced.answered_us, traced.order, traced.answer) = (Some(u64::from(order) * 7), Some(order), Some(answer));
        order += 1;
    }
    let planner = Planner::this();
    Trace { vtflow_trace: FORMAT, planner, call, now: NOW, redacted: false, asks, reply: flow.into_reply(), took_us: 99 }
}

fn again(trace: &Trace) -> Replayed {
    replay(&mut Flow::start(&trace.call, trace.now), trace)
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&["-40", "40-80", "80-"]);
    let failed = Answer::Failed { kind: FailureKind::TimedOut, message: "no answer in 10s".into() };
    cluster.answer(200, "streams", failed);
    cluster.answer(300, "streams", rows(&["id", "workflow", "source", "db_name", "state"], &[]));
    cluster
}

#[test]
fn a_trace_comes_back_from_json_and_replays_to_the_same_bytes_in_any_order() {
    for step in 0..5_usize {
        let trace = recorded(&cluster(), |waiting| step % waiting);
        let json = serde_json::to_string(&trace).unwrap();
        let read: Trace = serde_json::from_str(&json).unwrap();
        assert_eq!(read, trace, "{json}");
        let replayed = again(&read);
        assert_eq!(replayed.differences, Vec::<String>::new());
        let reply: Reply = replayed.reply.unwrap();
        assert!(reply.failures.iter().any(|failure| failure.message.contains("no answer in 10s")), "{:?}", reply.failures);
        assert_eq!(Some(reply), trace.reply);
    }
}

#[test]
fn bytes_are_text_where_people_can_read_them() {
    let answer = |bytes: &[u8]| serde_json::to_string(&Answer::Called(bytes.to_vec())).unwrap();
    assert_eq!(answer(b"a\tb\n\"\xc3\xa9\""), r#"{"called":{"text":"a\tb\n\"é\""}}"#);
    assert_eq!(answer(b"\x0a\x05hello"), r#"{"called":{"base64":"CgVoZWxsbw=="}}"#);
    assert_eq!(answer(b"\xff"), r#"{"called":{"base64":"/w=="}}"#);
    assert_eq!(answer(b""), r#"{"called":{"text":""}}"#);
    for bytes in [&b"a\tb\n"[..], b"\x0a\x05hello", b"\xff\x00", b""] {
        let read: Answer = serde_json::from_str(&answer(bytes)).unwrap();
        assert_eq!(read, Answer::Called(bytes.to_vec()));
    }
    assert!(serde_json::from_str::<Answer>(r#"{"called":{"base64":"*"}}"#).is_err());
}

#[test]
fn a_deletion_is_written_down_and_planned_as_what_it_is() {
    let what = What::TopoDelete { cell: "global".into(), path: "RoutingRules".into(), version: 7 };
    let json = serde_json::to_string(&what).unwrap();
    assert_eq!(json, r#"{"kind":"topo_delete","cell":"global","path":"RoutingRules","version":7}"#);
    assert_eq!(serde_json::from_str::<What>(&json).unwrap(), what);
    assert_eq!(serde_json::to_string(&Answer::Deleted).unwrap(), r#""deleted""#);
    let plan = Plan::new("/x", &[Ask { id: AskId(0), round: 1, what, gate: None }], Vec::new());
    assert_eq!(plan.text(), "1  global            del    RoutingRules\n1 round, 0 tablets, 0 statements, 1 writes\n");
}

#[test]
fn what_went_another_way_is_named() {
    let trace = recorded(&cluster(), |_| 0);
    assert!(trace.asks.len() > 6, "{}", trace.asks.len());

    let mut lost = trace.clone();
    let at = lost.asks.iter().position(|traced| traced.ask.round == 3).unwrap();
    let gone = lost.asks.remove(at);
    let replayed = again(&lost);
    assert_eq!(replayed.differences.len(), 2, "{:?}", replayed.differences);
    assert_eq!(
        replayed.differences[0],
        "the call of VReplicationExec at zone1-0000000100 for streams, copy state and logs is not in the trace"
    );
    assert_eq!(replayed.differences[1], "the reply is another one than then");
    assert!(replayed.reply.unwrap().failures.iter().any(|failure| failure.message.contains("is not in the trace")));

    let mut more = trace.clone();
    let mut extra = gone.clone();
    extra.ask.id.0 += 1000;
    more.asks.push(extra.clone());
    let differences = again(&more).differences;
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert_eq!(
        differences[0],
        "the call of VReplicationExec at zone1-0000000100 for streams, copy state and logs was asked then, and is not now"
    );

    let mut unanswered = trace.clone();
    (unanswered.asks[at].answer, unanswered.asks[at].order) = (None, None);
    assert!(again(&unanswered).differences[0].ends_with("got no answer in the trace"));

    // Whatever is asked.
    let get = || What::TopoGet { cell: "zone1".into(), path: "a/b".into() };
    let page = PageAddress { alias: "zone1-7".into(), cell: "zone1".into(), host: "h".into(), port: 15_100 };
    for (what, want) in [
        (get(), "the read of zone1:a/b"),
        (What::TopoRange { cell: "global".into(), prefix: "a/".into() }, "the read of global:a/"),
        (What::TopoList { cell: "global".into(), prefix: "a/".into() }, "the read of global:a/"),
        (What::TopoPut { cell: "global".into(), path: "a/b".into(), value: Vec::new(), version: 1 }, "the write of global:a/b"),
        (What::TopoLock { path: "a/b".into(), action: "x".into(), is_named: false }, "the lock of a/b"),
        (What::TopoUnlock { lock: gone.ask.id }, "a lock that is given back"),
        (What::TabletPage { tablet: page, path: "/debug/vars".into() }, "the page /debug/vars of zone1-7"),
    ] {
        let mut more = trace.clone();
        more.asks.push(Traced { ask: Ask { what, ..extra.ask.clone() }, ..extra.clone() });
        assert_eq!(again(&more).differences, [format!("{want} was asked then, and is not now")]);
    }

    // The ids are another planner's: asks are told apart by what they ask.
    let mut renumbered = trace.clone();
    renumbered.asks.reverse();
    assert_eq!(again(&renumbered).differences, Vec::<String>::new());
}

#[test]
fn a_flow_is_ended_once() {
    let call = Call { path: "/nothing".into(), request: Vec::new(), options: CallOptions::default() };
    let mut flow = Flow::start(&call, NOW);
    assert!(FlowHandle::end(&mut flow).is_some());
    assert!(FlowHandle::end(&mut flow).is_none());
}

#[test]
fn no_status_is_longer_than_people_can_read() {
    let request = GetWorkflowsRequest { keyspace: "é".repeat(100_000), ..GetWorkflowsRequest::default() };
    let path = "/vtctlservice.Vtctld/GetWorkflows".into();
    let call = Call { path, request: request.encode_to_vec(), options: CallOptions::default() };
    let message = Flow::start(&call, NOW).into_reply().unwrap().result.unwrap_err().message;
    assert!(message.len() < 66_000 && message.ends_with(" bytes more"), "{}", message.len());
}
