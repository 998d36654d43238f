//! Tablets that answer what no tablet does: nothing at all, pages without end, rows without number. Each costs itself and is named.

use prost::Message;
use vtflow_planner::{
    Answer, Call, CallOptions, FailureKind, Flow, Lost, What, limits,
    proto::vtctldata::{
        GetKeyspacesResponse, GetSchemaMigrationsRequest, GetSchemaMigrationsResponse, GetWorkflowsRequest, GetWorkflowsResponse,
        VDiffShowRequest, WorkflowStatusRequest,
    },
    rpc,
};

use crate::support::{Cluster, NOW, all, ask_name, call, copy_states, refused, rows, same_in_every_order, stream, streams};

fn request(path: &str, request: &impl Message) -> Call {
    Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

/// Two shards, each with a stream of `w` that copies.
fn two() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    for uid in [100, 200] {
        cluster.answer(uid, "streams", streams(&[stream(1, "w")])).answer(uid, "copy state", copy_states(&[(1, 1, "t1")]));
        cluster.answer(uid, "names", rows(&["workflow"], &[vec![Some("w".into())]]));
        cluster.answer(uid, "migrations", rows(&["#id", "migration_uuid"], &[vec![Some("1".into()), Some("m".into())]]));
        cluster.answer(uid, "table sizes", rows(&["TABLE_NAME", "#TABLE_ROWS", "#DATA_LENGTH"], &[]));
    }
    cluster
}

/// A tablet that has no rows says so, with the columns; in no recorded answer of any release are there none.
#[test]
fn an_empty_answer_is_not_an_answer_without_rows() {
    let text = "column (result): the answer has no result: not even that there are no rows";
    let nothing = Answer::Called(Vec::new());
    for (subject, lost) in [("streams", Lost::Shard), ("copy state", Lost::CopyState), ("logs", Lost::Logs)] {
        let mut cluster = two();
        cluster.answer(200, subject, nothing.clone());
        let (workflows, reply) = cluster.workflows(&all());
        let failure = &reply.failures[0];
        assert_eq!((reply.failures.len(), failure.lost, failure.tablet.as_str()), (1, lost, "zone1-0000000200"), "{subject}");
        assert!(failure.message.ends_with(text), "{subject}: {}", failure.message);
        let stream = &workflows[0].shard_streams["80-/zone1-0000000200"].streams[0];
        let want = if subject == "streams" { "Unknown" } else { "Copying" };
        let want = if subject == "copy state" { "Unknown" } else { want };
        assert_eq!(stream.state, want, "{subject}");
    }
    let names = GetWorkflowsRequest { name_only: true, ..all() };
    let status = WorkflowStatusRequest { keyspace: "ks".into(), workflow: "w".into(), ..Default::default() };
    let migrations = GetSchemaMigrationsRequest { keyspace: "ks".into(), ..Default::default() };
    let vdiff = VDiffShowRequest { workflow: "w".into(), target_keyspace: "ks".into(), arg: "last".into() };
    for (subject, call) in [
        ("names", call(&names)),
        ("migrations", request(rpc::GET_SCHEMA_MIGRATIONS, &migrations)),
        ("table sizes", request(rpc::WORKFLOW_STATUS, &status)),
        ("names", request(rpc::VDIFF_SHOW, &vdiff)),
    ] {
        let mut cluster = two();
        cluster.cell("zone1").put("zone1", "SrvVSchema", &vtflow_planner::proto::vschema::SrvVSchema::default());
        cluster.answer(200, subject, nothing.clone()).answer(100, "vdiff", Answer::Called(Vec::new()));
        let (reply, _) = cluster.run(&call);
        let named =
            reply.failures.iter().filter(|failure| failure.tablet == "zone1-0000000200" && failure.message.ends_with(text));
        assert_eq!(named.count(), 1, "{} {subject}: {:?}", call.path, reply.failures);
    }
}

/// How many statements on a subject the request sent, the one that has all in one among them.
fn sent(cluster: &Cluster, call: &Call, subject: &str) -> (usize, vtflow_planner::Reply) {
    let (reply, asks) = cluster.run(call);
    let is_it =
        |ask: &&vtflow_planner::Ask| ask_name(ask).strip_prefix("zone1-0000000100 ").is_some_and(|asked| asked.contains(subject));
    (asks.iter().filter(is_it).count(), reply)
}

#[test]
fn a_page_that_does_not_lead_on_ends_the_read() {
    let text = |value: &str| Some(value.to_owned());
    let page = |columns: &[&str], size: usize, row: &[&str]| {
        rows(columns, &vec![row.iter().map(|value| text(value)).collect::<Vec<_>>(); size])
    };
    let names = GetWorkflowsRequest { name_only: true, ..all() };
    let copy = ["#id", "#vrepl_id", "table_name", "lastpk"];
    let log = ["#id", "#vrepl_id", "type", "state", "created_at", "updated_at", "message", "#count"];
    for (subject, request, answer, want) in [
        (
            "streams",
            all(),
            page(&["#id", "workflow", "source"], limits::STREAM_PAGE_ROWS, &["7", "w", ""]),
            "no next page of the streams of zone1-0000000100: the rows after id 7 were asked for, and it came again",
        ),
        (
            "names",
            names,
            page(&["workflow"], limits::NAME_PAGE_ROWS, &["w"]),
            "no next page of the names of zone1-0000000100: the rows after \"w\" were asked for, and it came again",
        ),
        (
            "copy state",
            all(),
            page(&copy, limits::COPY_STATE_PAGE_ROWS, &["7", "1", "t", ""]),
            "no next page of the copy state of zone1-0000000100: the rows after id 7 were asked for, and it came again",
        ),
        (
            "logs",
            all(),
            page(&log, limits::LOG_PAGE_ROWS, &["7", "1", "", "", "", "", "", "1"]),
            "no next page of the logs of zone1-0000000100: the rows after id 7 were asked for, and it came again",
        ),
    ] {
        let mut cluster = two();
        cluster.answer(100, subject, answer);
        let (sent, reply) = sent(&cluster, &call(&request), subject);
        // A full page of copy states is not one of the rows that stand beside streams.
        assert_eq!(sent, if subject == "copy state" { 3 } else { 2 }, "{subject}");
        assert!(reply.failures.iter().any(|failure| failure.message == want), "{subject}: {:?}", reply.failures);
    }
    let request =
        request(rpc::GET_SCHEMA_MIGRATIONS, &GetSchemaMigrationsRequest { keyspace: "ks".into(), ..Default::default() });
    let mut cluster = two();
    cluster.answer(100, "migrations", page(&["#id", "migration_uuid"], limits::MIGRATION_PAGE_ROWS, &["7", "m"]));
    let (sent, reply) = sent(&cluster, &request, "migrations");
    assert_eq!((sent, reply.failures.len()), (2, 1));
    assert_eq!(reply.failures[0].message, "no next page: the migrations after id 7 were asked for, and they end with id 7");
}

#[test]
fn a_full_page_without_the_column_that_leads_on_is_asked_for_once() {
    let values = vec![vec![Some("w".to_owned())]; limits::STREAM_PAGE_ROWS];
    let mut cluster = two();
    cluster.answer(100, "streams", rows(&["workflow"], &values));
    let (streams, reply) = sent(&cluster, &call(&all()), "streams");
    assert_eq!(
        (streams, reply.failures[0].message.as_str()),
        (2, "the answer of zone1-0000000100 cannot be read: column id: no such column"),
        "with all in one, and once by themselves"
    );
    let mut cluster = two();
    cluster.answer(100, "migrations", rows(&["migration_uuid"], &values));
    let request =
        request(rpc::GET_SCHEMA_MIGRATIONS, &GetSchemaMigrationsRequest { keyspace: "ks".into(), ..Default::default() });
    let (migrations, reply) = sent(&cluster, &request, "migrations");
    assert_eq!((migrations, reply.failures[0].message.as_str()), (1, "no next page after a row without id"));
    // A row whose id cannot be read does not end the read of the others.
    let mut page: Vec<_> = (1..limits::STREAM_PAGE_ROWS).map(|id| vec![Some(id.to_string()), Some("w".into())]).collect();
    page.push(vec![Some("x".into()), Some("w".into())]);
    let last = rows(&["#id", "workflow"], &[vec![Some("9999".into()), Some("w".into())]]);
    let mut cluster = two();
    cluster.pages(100, "streams", vec![rows(&["#id", "workflow"], &page), last]);
    let (workflows, reply) = cluster.workflows(&all());
    assert_eq!(workflows[0].shard_streams["-80/zone1-0000000100"].streams.len(), limits::STREAM_PAGE_ROWS + 1);
    assert!(reply.failures.iter().any(|failure| failure.message.starts_with("a stream: column id: ")), "{:?}", reply.failures);
}

#[test]
fn more_rows_than_were_asked_for_are_none() {
    let many: Vec<_> = (1..=i64::try_from(limits::STREAM_PAGE_ROWS).unwrap_or(0) + 1).map(|id| stream(id, "w")).collect();
    let mut cluster = two();
    cluster.answer(100, "streams", streams(&many));
    let reply = cluster.workflows(&all()).1;
    assert_eq!(reply.failures[0].message, "zone1-0000000100 answered 2001 streams where 2000 were asked for at most");
}

/// A tablet whose pages are always full, each leading on: 3 MB a page.
#[test]
fn a_tablet_that_never_ends_costs_itself_and_a_bounded_number_of_bytes() {
    let page = |from: usize| {
        let row = |id: usize| vec![Some(id.to_string()), Some("w".to_owned()), Some("x".repeat(1_500))];
        let page: Vec<_> = (from..from + limits::STREAM_PAGE_ROWS).map(row).collect();
        rows(&["#id", "workflow", "message"], &page)
    };
    let cluster = two();
    let mut flow = Flow::start(&call(&all()), NOW);
    let (mut waiting, mut bytes, mut statements) = (flow.asks(), 0, 0);
    while let Some(ask) = waiting.pop() {
        let answer = match &ask.what {
            What::TabletCall { tablet, about, .. }
                if tablet.alias == "zone1-0000000100" && about.subject == "streams, copy state and logs" =>
            {
                refused("it takes one thing at a time")
            }
            What::TabletCall { tablet, about, .. } if tablet.alias == "zone1-0000000100" && about.subject == "streams" => {
                statements += 1;
                let page = page(statements * limits::STREAM_PAGE_ROWS);
                let Answer::Called(response) = &page else { panic!("rows") };
                bytes += response.len();
                page
            }
            _ => cluster.perform(&ask, 0),
        };
        flow.answer(ask.id, answer);
        waiting.extend(flow.asks());
    }
    let reply = flow.into_reply().expect("an end");
    let failure = &reply.failures[0];
    assert_eq!((reply.failures.len(), failure.tablet.as_str(), failure.lost), (1, "zone1-0000000100", Lost::Shard));
    let limit = limits::READ_BYTES;
    let want = format!("the streams of zone1-0000000100 have more than {limit} bytes: ask for one workflow, or for fewer shards");
    assert_eq!(failure.message, want);
    assert!(bytes < limit + 4_000_000 && statements < 20, "{bytes} bytes, {statements} statements");
    assert!(reply.result.is_ok(), "the other shard's streams are there");
}

/// All reads of a request share its bytes.
#[test]
fn of_many_shards_each_may_answer_less() {
    let names: Vec<String> = (0..256).map(|at| format!("{at:02x}")).collect();
    let mut cluster = Cluster::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let answer = |bytes: usize| {
        let row = |text: String| rows(&["#id", "workflow", "message"], &[vec![Some("1".into()), Some("w".into()), Some(text)]]);
        let text = bytes - 100;
        let Answer::Called(response) = row("x".repeat(text)) else { panic!("rows") };
        row("x".repeat(text + bytes - response.len()))
    };
    let limit = limits::READS_BYTES / names.len();
    cluster.answer(100, "streams", answer(limit)).answer(200, "streams", answer(limit + 1));
    let reply = cluster.workflows(&all()).1;
    let told = reply.failures.iter().filter(|failure| failure.lost == Lost::Shard);
    let told: Vec<_> = told.map(|failure| (failure.tablet.as_str(), failure.message.as_str())).collect();
    let want = format!("the streams of zone1-0000000200 have more than {limit} bytes: ask for one workflow, or for fewer shards");
    assert_eq!(told, [("zone1-0000000200", want.as_str())]);
}

#[test]
fn a_workflow_name_that_is_no_text_is_read_past() {
    let name = |last: u8| {
        use vtflow_planner::proto::{query, tabletmanagerdata::VReplicationExecResponse};
        let field = query::Field { name: b"workflow".to_vec(), r#type: 10_262, ..Default::default() };
        let row = |value: Vec<u8>| query::Row { lengths: vec![i64::try_from(value.len()).unwrap_or(0)], values: value };
        let mut rows: Vec<_> = (1..limits::NAME_PAGE_ROWS).map(|at| row(format!("a{at:05}").into_bytes())).collect();
        rows.push(row(vec![b'b', last]));
        let result = query::QueryResult { fields: vec![field], rows, ..Default::default() };
        Answer::Called(VReplicationExecResponse { result: Some(result) }.encode_to_vec())
    };
    let mut cluster = two();
    cluster.pages(100, "names", vec![name(0xf0), name(0xff), rows(&["workflow"], &[])]);
    let (reply, asks) = cluster.run(&call(&GetWorkflowsRequest { name_only: true, ..all() }));
    assert!(reply.failures.is_empty(), "{:?}", reply.failures);
    let statements: Vec<_> = asks
        .iter()
        .filter_map(|ask| match &ask.what {
            What::TabletCall { tablet, about, .. } if tablet.alias == "zone1-0000000100" => Some(about.statement.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(statements.len(), 3);
    assert!(statements[1].contains("workflow > x'62f0'") && statements[2].contains("workflow > x'62ff'"), "{statements:?}");
}

/// The text of a failure is the tablet's; how much of it there is, is not.
#[test]
fn texts_and_numbers_of_failures_are_bounded() {
    let long = Answer::Failed { kind: FailureKind::Status(2), message: "é".repeat(1 << 20) };
    let mut cluster = two();
    cluster.answer(200, "streams", long);
    let (workflows, reply) = cluster.workflows(&all());
    let message = &reply.failures[0].message;
    assert!(message.len() < limits::FAILURE_BYTES + 100 && message.ends_with("bytes more"), "{} bytes", message.len());
    assert!(workflows[0].shard_streams["80-/zone1-0000000200"].streams[0].message.len() < limits::REPEATED_BYTES + 100);

    let mut ghosts = Cluster::new(&["0"]);
    for ghost in 0..limits::FAILURES + 70 {
        ghosts.global(&format!("keyspaces/k{ghost}/Keyspace"), vec![0xff]);
    }
    let (reply, _) = ghosts.run(&request("/vtctlservice.Vtctld/GetKeyspaces", &()));
    let named = GetKeyspacesResponse::decode(reply.result.expect("the one that can be read").as_slice()).expect("keyspaces");
    assert_eq!((named.keyspaces.len(), reply.failures.len()), (1, limits::FAILURES + 1));
    assert_eq!(reply.failures.last().map(|failure| failure.message.as_str()), Some("and 70 more failures"));
}

/// A status may come without a text; then there is one all the same.
#[test]
fn a_failure_without_a_text_says_what_is_known() {
    for (kind, want) in [
        (FailureKind::Status(13), "gRPC code 13, and no text with it"),
        (FailureKind::Unreachable, "no answer, and no word why"),
        (FailureKind::TimedOut, "no answer in time"),
        (FailureKind::NotSent, "it was not asked"),
    ] {
        for message in ["", " \n"] {
            let mut cluster = two();
            cluster.answer(200, "streams", Answer::Failed { kind, message: message.into() });
            let (workflows, reply) = cluster.workflows(&all());
            assert_eq!((reply.failures.len(), reply.failures[0].message.as_str()), (1, want));
            assert!(workflows[0].shard_streams["80-/zone1-0000000200"].streams[0].message.contains(want));
        }
    }
}

/// What one tablet says of its failure stands beside every workflow of the keyspace, or beside every stream of its own.
#[test]
fn a_long_failure_is_told_whole_once_and_not_in_every_workflow() {
    let long = |uid: u32| Answer::Failed { kind: FailureKind::Status(2), message: format!("{uid}: {}", "x".repeat(15_000)) };
    let many: Vec<_> = (1..=500).map(|id| stream(id, format!("w{id}").leak())).collect();
    for subject in ["streams", "copy state", "logs"] {
        let mut cluster = two();
        cluster.answer(100, "streams", streams(&many)).answer(200, subject, long(200));
        if subject != "streams" {
            cluster.answer(200, "streams", streams(&many));
        }
        let (workflows, reply) = cluster.workflows(&GetWorkflowsRequest { include_logs: true, ..all() });
        assert_eq!((workflows.len(), reply.failures.len()), (500, 1), "{subject}");
        assert!(reply.failures[0].message.len() > 15_000, "{subject}: the whole text");
        let stream = &workflows[0].shard_streams["80-/zone1-0000000200"].streams[0];
        let told = if subject == "logs" { &stream.log_fetch_error } else { &stream.message };
        assert!(told.contains("200: xxxx") && told.ends_with("bytes more"), "{subject}: {told}");
        let bytes = reply.result.expect("a reply").len();
        assert!(bytes < 500 * 1_000, "{subject}: {bytes} bytes");
    }
}

/// A reply that its client would refuse: 40 streams of one shard make 60 kB, and 30 may be had.
#[test]
fn a_shard_that_is_too_large_for_the_reply_costs_itself() {
    let limit = 30_000;
    let options = CallOptions { reply_bytes: limit, ..CallOptions::default() };
    let text = |value: String| Some(value);
    let large = |ids: std::ops::Range<usize>| {
        let row = |id: usize| vec![text(id.to_string()), text(format!("w{}", id / 4)), text("x".repeat(1_500))];
        rows(&["#id", "workflow", "message"], &ids.map(row).collect::<Vec<_>>())
    };
    let mut cluster = two();
    cluster.answer(200, "streams", large(1..40));
    let reply = same_in_every_order(&cluster, &Call { options: options.clone(), ..call(&all()) });
    let bytes = reply.result.expect("the other shard's streams");
    let GetWorkflowsResponse { workflows } = GetWorkflowsResponse::decode(bytes.as_slice()).expect("workflows");
    let failure = &reply.failures[0];
    assert_eq!((reply.failures.len(), failure.tablet.as_str(), failure.lost), (1, "zone1-0000000200", Lost::Shard));
    assert!(failure.message.starts_with("left out: it makes ") && failure.message.contains("a reply that may have 30000"));
    assert_eq!(workflows.iter().map(|workflow| workflow.name.as_str()).collect::<Vec<_>>(), ["w"]);
    let state = |key: &str| workflows[0].shard_streams[key].streams[0].state.as_str();
    assert_eq!((state("-80/zone1-0000000100"), state("80-/zone1-0000000200")), ("Copying", "Unknown"));
    // Without a bound, as on a command line, nothing is left out.
    assert_eq!(cluster.workflows(&all()).0.len(), 11);

    let names = |from: usize| {
        let names: Vec<_> = (from..from + 900).map(|id| vec![text(format!("{id:->60}"))]).collect();
        rows(&["workflow"], &names)
    };
    let mut cluster = two();
    cluster.answer(200, "names", names(0));
    let only_names = call(&GetWorkflowsRequest { name_only: true, ..all() });
    let reply = same_in_every_order(&cluster, &Call { options: options.clone(), ..only_names.clone() });
    assert!(reply.result.is_ok_and(|bytes| bytes.len() < 1_000) && reply.failures[0].tablet == "zone1-0000000200");
    // The next one fits, once the largest is gone.
    cluster.answer(100, "names", rows(&["workflow"], &(0..50).map(|id| vec![text(format!("{id:+>60}"))]).collect::<Vec<_>>()));
    let reply = same_in_every_order(&cluster, &Call { options: options.clone(), ..only_names });
    let bytes = reply.result.expect("the other shard's names");
    let named = GetWorkflowsResponse::decode(bytes.as_slice()).expect("workflows").workflows.len();
    assert_eq!((named, reply.failures.len()), (50, 1), "{:?}", reply.failures);

    let mut cluster = two();
    let row = |id: usize| vec![text(id.to_string()), text(format!("m{id}")), text("y".repeat(1_500))];
    let many: Vec<_> = (1..40).map(row).collect();
    cluster.answer(200, "migrations", rows(&["#id", "migration_uuid", "migration_statement"], &many));
    let migrations = GetSchemaMigrationsRequest { keyspace: "ks".into(), ..Default::default() };
    let asked = Call { options, ..request(rpc::GET_SCHEMA_MIGRATIONS, &migrations) };
    let reply = same_in_every_order(&cluster, &asked);
    let bytes = reply.result.expect("the other shard's migrations");
    let of = GetSchemaMigrationsResponse::decode(bytes.as_slice()).expect("migrations").migrations;
    assert_eq!((of.len(), reply.failures[0].tablet.as_str()), (1, "zone1-0000000200"));
    assert!(reply.failures[0].message.starts_with("left out: it makes "), "{}", reply.failures[0].message);
}

/// A hundred shards that do not answer, and 400 workflows: 40,000 places to say so.
#[test]
fn shards_without_an_answer_never_crowd_out_those_that_have_one() {
    let names: Vec<String> = (0..100).map(|at| format!("{at:02x}")).collect();
    let mut cluster = Cluster::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let many: Vec<_> = (1..=400).map(|id| stream(id, format!("w{id}").leak())).collect();
    cluster.answer(100, "streams", streams(&many)).answer(100, "copy state", copy_states(&[]));
    for shard in 1..100 {
        let message = format!("shard {shard}: {}", "z".repeat(1_000));
        cluster.answer(100 * (shard + 1), "streams", Answer::Failed { kind: FailureKind::Status(2), message });
    }
    for limit in [4_000_000, 1_000_000, 400_000] {
        let options = CallOptions { reply_bytes: limit, ..CallOptions::default() };
        let (reply, _) = cluster.run(&Call { options, ..call(&all()) });
        let bytes = reply.result.expect("what the first shard says");
        assert!(bytes.len() as u64 <= limit, "{} bytes of {limit}", bytes.len());
        let GetWorkflowsResponse { workflows } = GetWorkflowsResponse::decode(bytes.as_slice()).expect("workflows");
        assert_eq!((workflows.len(), reply.failures.len()), (400, 99), "{limit}");
        for workflow in &workflows {
            let states: Vec<&str> = workflow.shard_streams.values().map(|shard| shard.streams[0].state.as_str()).collect();
            assert!(states.contains(&"Running") && states.contains(&"Unknown"), "{limit}: {states:?}");
            let last = workflow.shard_streams.values().last().expect("a shard");
            let told = workflow.shard_streams.len() == 100 || last.streams[0].message.contains(" more shards gave no answer");
            assert!(told, "{limit}: {last:?}");
        }
    }
}

/// Whichever answer comes first.
#[test]
fn what_is_bounded_does_not_depend_on_the_order_of_answers() {
    let text = |value: &str| Some(value.to_owned());
    let stuck = rows(&["#id", "workflow", "source"], &vec![vec![text("7"), text("w"), text("")]; limits::STREAM_PAGE_ROWS]);
    let mut cluster = two();
    cluster.answer(100, "streams", stuck).answer(
        200,
        "streams",
        streams(&[crate::support::StreamOf { pos: "pos", ..stream(1, "w") }]),
    );
    cluster.answer(200, "copy state", Answer::Called(Vec::new())).answer(200, "logs", Answer::Called(Vec::new()));
    same_in_every_order(&cluster, &call(&all()));
}
