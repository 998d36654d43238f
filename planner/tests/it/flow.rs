//! A flow as its hosts see it: asks out, answers in, what is known before the end, and the reply once.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, NOW, alias, alias_text, all, call, place, refused, stream, streams};
use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Code, Failure, Flow, FlowHandle, Lost, Reply, limits,
    proto::{
        topodata::Shard,
        vtctldata::{
            GetKeyspacesRequest, GetSrvKeyspaceNamesRequest, GetSrvVSchemasRequest, GetTabletsRequest, GetWorkflowsRequest,
            VDiffShowRequest,
        },
    },
    rpc,
};

fn request(path: &str, request: &impl Message) -> Call {
    Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

/// Two shards, of which 80- has no primary.
fn half() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.global("keyspaces/ks/shards/80-/Shard", Shard::default().encode_to_vec());
    cluster
}

/// As a host that runs planners of several kinds does: by the trait alone.
fn driven(flow: &mut impl FlowHandle, cluster: &Cluster) -> (Vec<Failure>, Option<Reply>) {
    let (mut waiting, mut known) = (flow.asks(), Vec::new());
    while let Some(ask) = waiting.pop() {
        known = flow.failures();
        assert!(flow.answer(ask.id, cluster.perform(&ask, 0)), "{ask:?}");
        assert!(!flow.answer(ask.id, cluster.perform(&ask, 0)), "an ask is answered once");
        waiting.extend(flow.asks());
    }
    let reply = flow.end();
    assert!(flow.end().is_none(), "a reply is given once");
    (known, reply)
}

#[test]
fn a_flow_behind_the_trait_is_the_flow() {
    let cluster = half();
    let (want, _) = cluster.run(&call(&all()));
    assert_eq!(want.failures.len(), 1);
    let boxed: Box<dyn FlowHandle> = Box::new(Flow::start(&call(&all()), NOW));
    for (known, reply) in [driven(&mut Flow::start(&call(&all()), NOW), &cluster), driven(&mut { boxed }, &cluster)] {
        assert_eq!(known, want.failures, "known before the last answer");
        assert_eq!(reply.as_ref(), Some(&want));
    }
}

#[test]
fn failures_are_there_after_the_end_and_asks_are_counted() {
    let cluster = half();
    let mut flow = Flow::start(&call(&all()), NOW);
    let mut waiting = flow.asks();
    let mut counts = Vec::new();
    while let Some(ask) = waiting.pop() {
        assert_eq!(flow.outstanding(), waiting.len() + 1);
        counts.push(flow.outstanding());
        flow.answer(ask.id, cluster.perform(&ask, 0));
        waiting.extend(flow.asks());
    }
    assert_eq!((flow.outstanding(), counts), (0, vec![1, 1, 1]), "shards, a record, and one statement of one tablet");
    let texts: Vec<String> = flow.failures().into_iter().map(|failure| failure.message).collect();
    assert_eq!(texts, ["no primary found for shard ks/80-"]);
    assert_eq!(flow.failures(), flow.reply().unwrap().failures);
}

/// A host with threads to spare that takes replies in parts, which does the work of a flow in this order, each piece at once or when nothing else is to be done. How many pieces there were, the rounds of all asks, ascending, and the reply.
fn worked_off(cluster: &Cluster, call: &Call, at_once: bool, mut order: impl FnMut(usize) -> usize) -> (usize, Vec<u32>, Reply) {
    let mut flow = Flow::start(call, NOW);
    flow.hand_out_work();
    flow.in_parts();
    let (mut waiting, mut work, mut pieces, mut rounds) = (flow.asks(), Vec::new(), 0, Vec::new());
    loop {
        while !waiting.is_empty() {
            let ask = waiting.remove(order(waiting.len()));
            rounds.push(ask.round);
            let fault = cluster.faults.get(&(place(&ask), 0)).cloned();
            flow.answer(ask.id, fault.unwrap_or_else(|| cluster.perform(&ask, 0)));
            waiting.extend(flow.asks());
            work.extend(flow.work());
            if at_once {
                break;
            }
        }
        if work.is_empty() && waiting.is_empty() {
            rounds.sort_unstable();
            let mut reply = flow.into_reply().unwrap();
            assert_eq!(reply.result, Ok(Vec::new()), "all of it is in parts");
            reply.join();
            return (pieces, rounds, reply);
        }
        if !work.is_empty() {
            assert!(flow.reply().is_none(), "nothing is told before all is read");
            let done = work.remove(order(work.len())).perform();
            pieces += 1;
            flow.worked(Some(done));
            waiting.extend(flow.asks());
            work.extend(flow.work());
        }
    }
}

#[test]
fn work_is_done_by_whoever_hosts_the_flow_in_any_order() {
    let mut cluster = Cluster::new(&["-40", "40-80", "80-c0", "c0-"]);
    for uid in [100, 200, 300, 400] {
        cluster.answer(uid, "streams", streams(&[stream(1, "w"), stream(2, "v")]));
    }
    // What two of them answer to the statement that has all in one cannot be read: reading it finds that more is to be asked.
    let mut cut = cluster.clone();
    for uid in [100, 300] {
        cut.faults.insert((format!("call {} streams, copy state and logs", alias_text(uid)), 0), Answer::Called(Vec::new()));
    }
    for (cluster, pieces) in [(&cluster, 4), (&half(), 1), (&cut, 6)] {
        let (reply, asks) = cluster.run(&call(&all()));
        let mut rounds: Vec<u32> = asks.iter().map(|ask| ask.round).collect();
        rounds.sort_unstable();
        let want = (pieces, rounds, reply);
        for at_once in [false, true] {
            assert_eq!(worked_off(cluster, &call(&all()), at_once, |_| 0), want);
            assert_eq!(worked_off(cluster, &call(&all()), at_once, |count| count - 1), want);
        }
    }
    assert_eq!(cut.run(&call(&all())).0, cluster.run(&call(&all())).0);
    assert_eq!(cut.run(&call(&all())).1.len(), cluster.run(&call(&all())).1.len() + 6, "streams, copy state and logs of two");
    // Nobody who does not ask for work has to do any.
    let mut flow = Flow::start(&call(&all()), NOW);
    let mut waiting = flow.asks();
    while let Some(ask) = waiting.pop() {
        flow.answer(ask.id, cluster.perform(&ask, 0));
        assert!(flow.work().is_empty());
        waiting.extend(flow.asks());
    }
    assert_eq!(flow.into_reply(), Some(cluster.run(&call(&all())).0));
}

#[test]
fn a_shard_whose_work_broke_off_is_named() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[stream(1, "w")]));
    }
    let mut flow = Flow::start(&call(&all()), NOW);
    flow.hand_out_work();
    let (mut waiting, mut work) = (flow.asks(), Vec::new());
    while !waiting.is_empty() {
        let ask = waiting.remove(0);
        flow.answer(ask.id, cluster.perform(&ask, 0));
        waiting.extend(flow.asks());
        work.extend(flow.work());
    }
    drop(work.remove(0));
    flow.worked(None);
    assert!(flow.reply().is_none(), "the other one is still being read");
    flow.worked(Some(work.remove(0).perform()));
    let reply = flow.into_reply().unwrap();
    assert!(reply.result.is_ok());
    let lost: Vec<_> = reply.failures.iter().map(|failure| (failure.shard.as_str(), failure.message.as_str())).collect();
    assert_eq!(lost, [("-80", "what it answered was not read: this is a defect of vtflow")]);
}

/// What is known when all is answered but the ask at this place, and the reply.
fn before_the_end(cluster: &Cluster, call: &Call, held: &str) -> (Vec<Failure>, Reply) {
    let mut flow = Flow::start(call, NOW);
    let mut waiting = flow.asks();
    let is_held = |ask: &Ask| place(ask) == held;
    while let Some(at) = waiting.iter().position(|ask| !is_held(ask)) {
        let ask = waiting.remove(at);
        flow.answer(ask.id, cluster.perform(&ask, 0));
        waiting.extend(flow.asks());
    }
    let known = flow.failures();
    let ask = waiting.pop().expect("the ask is held back");
    assert!(flow.reply().is_none() && waiting.is_empty());
    waiting.push(ask);
    while let Some(ask) = waiting.pop() {
        flow.answer(ask.id, cluster.perform(&ask, 0));
        waiting.extend(flow.asks());
    }
    (known, flow.into_reply().expect("nothing is outstanding"))
}

#[test]
fn what_is_missing_is_known_before_the_last_record_is_read() {
    let mut cluster = half();
    cluster.cell("zone1").cell("zone2").global("keyspaces/../Keyspace", vec![]);
    cluster.break_topo("zone2", "SrvVSchema", "down").break_topo("zone2", "tablets/", "down");
    let cells = vec!["zone1".to_owned(), "zone2".to_owned()];
    for (path, message, held, want) in [
        (
            "/vtctlservice.Vtctld/GetSrvVSchemas",
            GetSrvVSchemasRequest { cells: cells.clone() }.encode_to_vec(),
            "get zone1 SrvVSchema",
            "cell zone2: down",
        ),
        (
            rpc::GET_TABLETS,
            GetTabletsRequest { cells, ..Default::default() }.encode_to_vec(),
            "range zone1 tablets/",
            "GetTabletsByCell(zone2) failed: down",
        ),
        (
            rpc::GET_KEYSPACES,
            GetKeyspacesRequest {}.encode_to_vec(),
            "get global keyspaces/ks/Keyspace",
            "keyspace \"..\" cannot exist: invalid character . in name ..",
        ),
    ] {
        let call = Call { path: path.into(), request: message, options: CallOptions::default() };
        let (known, reply) = before_the_end(&cluster, &call, held);
        let texts: Vec<&str> = known.iter().map(|failure| failure.message.as_str()).collect();
        assert_eq!(texts, [want], "{path}");
        assert_eq!((known, reply.result.is_ok()), (reply.failures, true), "{path}");
    }
}

/// Five tablets that each say as much as is kept of a failure: more than a status may have.
#[test]
fn a_status_is_cut_where_it_is_longer_than_people_read() {
    let shards = ["-20", "20-40", "40-60", "60-80", "80-"];
    let mut cluster = Cluster::new(&shards);
    for uid in (100..=500).step_by(100) {
        cluster.answer(uid, "streams", refused(&"x".repeat(limits::FAILURE_BYTES)));
    }
    let options = CallOptions { strict: true, ..CallOptions::default() };
    let (reply, _) = cluster.run(&Call { options, ..call(&all()) });
    let status = reply.result.unwrap_err();
    assert!(status.message.len() < limits::STATUS_BYTES + 100, "{} bytes", status.message.len());
    assert!(status.message.starts_with("ks/-20 zone1-0000000100: xxx") && status.message.ends_with(" bytes more"));
    assert_eq!((status.code, reply.failures.len()), (Code::Unknown, 5));
    assert!(reply.failures.iter().all(|failure| failure.message.len() == limits::FAILURE_BYTES && failure.lost == Lost::Shard));
}

/// Whether a request is refused before anything is asked.
fn is_refused(call: &Call) -> bool {
    let flow = Flow::start(call, NOW);
    assert_eq!(flow.reply().is_some(), flow.outstanding() == 0);
    flow.reply().is_some()
}

#[test]
fn what_a_request_may_have_is_served_and_one_more_is_refused() {
    let nobodys = |bytes: usize| {
        let call = Call { path: "/nobody".into(), request: vec![0; bytes], options: CallOptions::default() };
        Flow::start(&call, NOW).into_reply().unwrap().result.unwrap_err()
    };
    assert_eq!(nobodys(limits::REQUEST_BYTES).code, Code::Unimplemented, "its size is no reason");
    let refused = nobodys(limits::REQUEST_BYTES + 1);
    let text = "the request has 16777217 bytes, more than the 16777216 of a message";
    assert_eq!((refused.code, refused.message.as_str()), (Code::InvalidArgument, text));

    let name = |bytes: usize| "w".repeat(bytes);
    let workflows = |bytes| call(&GetWorkflowsRequest { workflow: name(bytes), ..all() });
    let vdiff = |bytes| {
        let wanted = VDiffShowRequest { workflow: name(bytes), target_keyspace: "ks".into(), arg: "last".into() };
        request(rpc::VDIFF_SHOW, &wanted)
    };
    let cells = |count: usize| (0..count).map(|cell| format!("c{cell}")).collect::<Vec<String>>();
    let names = |count| request("/vtctlservice.Vtctld/GetSrvKeyspaceNames", &GetSrvKeyspaceNamesRequest { cells: cells(count) });
    let in_cells = |count| request(rpc::GET_TABLETS, &GetTabletsRequest { cells: cells(count), ..Default::default() });
    let tablets = |count: usize| {
        let tablet_aliases = (0..count).map(|uid| alias(u32::try_from(uid).unwrap() + 1)).collect();
        request(rpc::GET_TABLETS, &GetTabletsRequest { tablet_aliases, ..Default::default() })
    };
    for (what, limit, of) in [
        ("the name of a workflow", limits::WORKFLOW_NAME_BYTES, &workflows as &dyn Fn(usize) -> Call),
        ("the name of a workflow with a VDiff", limits::WORKFLOW_NAME_BYTES, &vdiff),
        ("cells", limits::TARGETS, &names),
        ("cells of tablets", limits::TARGETS, &in_cells),
        ("tablets", limits::TARGETS, &tablets),
    ] {
        assert_eq!((is_refused(&of(limit)), is_refused(&of(limit + 1))), (false, true), "{what}");
        assert!(is_refused(&of(limit + 500)), "{what}");
    }
}
