//! The statement that has a tablet's streams, copy states and logs in one: what it finds is what one for each finds, which take its
//! place wherever its answer is not to be trusted.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::{
    Answer, Ask, FailureKind, Lost, Reply, What, limits,
    proto::{
        query::{QueryResult, Row},
        tabletmanagerdata::VReplicationExecResponse,
        vtctldata::GetWorkflowsRequest,
    },
};

use crate::support::{Cluster, THEN, alias_text, all, ask_name, call, copy_states, logs, refused, rows, stream, streams};

/// One shard: two streams that copy, one without anything, and a log.
fn one_shard() -> Cluster {
    let mut cluster = Cluster::new(&["0"]);
    cluster
        .answer(100, "streams", streams(&[stream(1, "a"), stream(2, "b"), stream(3, "b")]))
        .answer(100, "copy state", copy_states(&[(4, 2, "t2"), (5, 1, "t1"), (7, 2, "t1")]))
        .answer(100, "logs", logs(&[(9, 2, THEN), (8, 1, THEN), (6, 2, "never"), (3, 1, THEN)]));
    cluster
}

fn subject(request: &GetWorkflowsRequest) -> &'static str {
    if request.include_logs { "streams, copy state and logs" } else { "streams and copy state" }
}

/// The reply and the statements to tablet 100, if it answers this to the statement that has all in one.
fn given(cluster: &Cluster, request: &GetWorkflowsRequest, answer: Option<Answer>) -> (Reply, Vec<Ask>) {
    let mut cluster = cluster.clone();
    let place = format!("call {} {}", alias_text(100), subject(request));
    cluster.faults.extend(answer.map(|answer| ((place, 0), answer)));
    let (reply, asks) = cluster.run(&call(request));
    (reply, asks.into_iter().filter(|ask| matches!(ask.what, What::TabletCall { .. })).collect())
}

/// The answer to it.
fn fused(cluster: &Cluster, request: &GetWorkflowsRequest) -> QueryResult {
    let (_, asks) = given(cluster, request, None);
    let Answer::Called(response) = cluster.perform(&asks[0], 0) else { panic!("{asks:?}") };
    VReplicationExecResponse::decode(response.as_slice()).unwrap().result.unwrap()
}

fn called(result: QueryResult) -> Answer {
    Answer::Called(VReplicationExecResponse { result: Some(result) }.encode_to_vec())
}

/// Another value in this row of a column.
fn with(mut result: QueryResult, row: usize, column: &str, value: Option<&str>) -> QueryResult {
    let place = result.fields.iter().position(|field| field.name == column.as_bytes()).unwrap();
    let Row { lengths, values } = result.rows[row].clone();
    let (mut rest, mut after) = (values.as_slice(), Row::default());
    for (at, length) in lengths.iter().enumerate() {
        let (own, tail) = rest.split_at(usize::try_from(*length).unwrap_or_default());
        rest = tail;
        let own = if at == place { value.map(str::as_bytes) } else { (*length >= 0).then_some(own) };
        after.lengths.push(own.map_or(-1, |own| i64::try_from(own.len()).unwrap()));
        after.values.extend(own.unwrap_or_default());
    }
    result.rows[row] = after;
    result
}

fn without(mut result: QueryResult, column: &str) -> QueryResult {
    let field = result.fields.iter_mut().find(|field| field.name == column.as_bytes()).unwrap();
    field.name = b"another".to_vec();
    result
}

#[test]
fn one_statement_finds_what_three_find() {
    let not_taken = || refused("syntax error at position 21 near 'json_array'");
    let full: Vec<_> = (1..=i64::try_from(limits::STREAM_PAGE_ROWS).unwrap()).map(|id| stream(id, "a")).collect();
    let mut many = one_shard();
    many.pages(100, "streams", vec![streams(&full), streams(&[stream(5_000, "a")])]);
    let mut noisy = one_shard();
    let newest: Vec<_> = (1..=i64::try_from(limits::LOG_PAGE_ROWS).unwrap()).rev().map(|id| (10 + id, 2, THEN)).collect();
    noisy.pages(100, "logs", vec![logs(&newest), logs(&[(5, 1, THEN)])]);
    let mut odd = one_shard();
    let text = |text: &str| Some(text.to_owned());
    let columns = ["#id", "#vrepl_id", "table_name", "lastpk"];
    odd.answer(
        100,
        "copy state",
        rows(
            &columns,
            &[vec![text("1"), text("1"), text(""), text("\n\0")], vec![text("2"), text("1"), text("it's \"ü\"\\"), None]],
        ),
    );
    // How many more statements there are than the one, without logs and with them.
    for (name, cluster, more) in [
        ("a few", one_shard(), [0, 0]),
        ("nothing", Cluster::new(&["0"]), [0, 0]),
        ("odd texts", odd, [0, 0]),
        ("a full page of streams, whose copy states are read by themselves", many, [2, 2]),
        ("a full page of logs", noisy, [0, 1]),
    ] {
        for include_logs in [false, true] {
            let request = GetWorkflowsRequest { include_logs, ..all() };
            let (reply, asks) = given(&cluster, &request, None);
            let (separate, _) = given(&cluster, &request, Some(not_taken()));
            assert_eq!(reply, separate, "{name}, logs: {include_logs}");
            assert_eq!(asks.len() - 1, more[usize::from(include_logs)], "{name}, logs: {include_logs}: {asks:#?}");
            assert_eq!(ask_name(&asks[0]), format!("{} {}", alias_text(100), subject(&request)), "people read what it is for");
        }
    }
}

#[test]
fn whatever_is_not_to_be_trusted_is_asked_for_again_by_itself() {
    let cluster = one_shard();
    for include_logs in [false, true] {
        let request = GetWorkflowsRequest { include_logs, ..all() };
        let (want, _) = given(&cluster, &request, None);
        let good = || fused(&cluster, &request);
        let json = |value| Some(called(with(good(), 1, "copy_states", value)));
        let failed = |kind| Some(Answer::Failed { kind, message: "no".into() });
        let mut causes = vec![
            ("a parser that does not know it", Some(refused("syntax error at position 21 near 'json_array'"))),
            (
                "a server that does not know it",
                Some(refused("FUNCTION _vt.json_arrayagg does not exist (errno 1305) (sqlstate 42000)")),
            ),
            (
                "a server that cannot parse it",
                Some(refused("You have an error in your SQL syntax (errno 1064) (sqlstate 42000)")),
            ),
            ("no such table", Some(refused("Table '_vt.vreplication_log' doesn't exist (errno 1146) (sqlstate 42S02)"))),
            ("more than a packet", Some(refused("Result of json_arrayagg() was larger than max_allowed_packet (errno 1301)"))),
            ("any other status", failed(FailureKind::Status(14))),
            ("more than a message", failed(FailureKind::TooLarge)),
            ("no message", Some(Answer::Called(vec![0xff, 0xff]))),
            ("no result", Some(Answer::Called(Vec::new()))),
            ("no column of copy states", Some(called(without(good(), "copy_states")))),
            ("no JSON", json(None)),
            ("JSON that is cut", json(Some(r#"[2, [[4, "7432", "706B"]"#))),
            ("JSON that is cut and closed", json(Some(r#"[2, [[4, "7432", "706B"]]]"#))),
            ("JSON of nothing where there is something", json(Some("[2, null]"))),
            ("JSON of something else", json(Some("{}"))),
            ("an id that is none", Some(called(with(good(), 1, "id", Some("x"))))),
            ("no id", Some(called(with(good(), 1, "id", None)))),
        ];
        if include_logs {
            let log = |row, value| Some(called(with(good(), row, "logs", value)));
            let many = vec![r"[1, 1, null, null, null, null, null, 1]"; limits::LOG_PAGE_ROWS + 1];
            let many = format!("[{}, [{}]]", many.len(), many.join(","));
            causes.extend([
                ("no column of logs", Some(called(without(good(), "logs")))),
                ("no logs at all", log(0, None)),
                ("logs beside two streams", log(2, Some("[0, null]"))),
                ("logs that are cut", log(0, Some(r#"[4, [[9, 2, "4D"#))),
                ("more logs than were asked for", log(0, Some(&many))),
            ]);
        }
        for (cause, answer) in causes {
            let (reply, asks) = given(&cluster, &request, answer);
            assert_eq!(reply, want, "{cause}, logs: {include_logs}");
            let asked: Vec<String> = asks[1..].iter().map(|ask| ask_name(ask).split_off(alias_text(100).len() + 1)).collect();
            let wanted: &[&str] = if include_logs { &["streams", "copy state", "logs"] } else { &["streams", "copy state"] };
            assert_eq!(asked, wanted, "{cause}");
            assert!(asks[1..].iter().all(|ask| ask.round == 4), "{cause}: together, in one round more");
        }
    }
}

/// A tablet that gave no answer is not waited for twice.
#[test]
fn what_did_not_answer_is_not_asked_again() {
    let cluster = one_shard();
    for kind in [FailureKind::TimedOut, FailureKind::Unreachable, FailureKind::NotSent] {
        let (reply, asks) = given(&cluster, &all(), Some(Answer::Failed { kind, message: "nobody there".into() }));
        assert_eq!(asks.len(), 1, "{kind:?}");
        assert_eq!(reply.result.unwrap_err().message, "nobody there", "{kind:?}");
        assert_eq!(reply.failures[0].lost, Lost::Shard, "{kind:?}");
    }
    let closed = refused("TabletManager.VReplicationExec on zone1-0000000100: vreplication engine is closed");
    let (reply, asks) = given(&cluster, &all(), Some(closed));
    assert_eq!((asks.len(), reply), (2, given(&cluster, &all(), None).0), "its shard is read again, and it is the primary still");
}

/// Before v16 `copy_state` has no id, and says so at once: the newer form of its own statement is not tried either.
#[test]
fn copy_states_without_id_are_asked_for_in_the_older_form_at_once() {
    let mut cluster = one_shard();
    let old = rows(&["#vrepl_id", "table_name", "lastpk"], &[vec![Some("2".into()), Some("t1".into()), None]]);
    cluster.answer(100, "copy state", old);
    let said = "Unknown column '_vt.copy_state.id' in 'field list' (errno 1054) (sqlstate 42S22)";
    let (reply, asks) = given(&cluster, &all(), Some(refused(said)));
    assert_eq!(reply.failures.iter().filter(|failure| failure.lost == Lost::CopyState).count(), 0);
    let What::TabletCall { about, .. } = &asks[2].what else { panic!("{asks:?}") };
    assert!(about.subject == "copy state" && about.statement.contains("order by vrepl_id, table_name"), "{}", about.statement);
    assert_eq!(asks.len(), 4);
}

/// Each part of the answer is held to what its own read may bring: what is too much is told by that read.
#[test]
fn an_answer_may_have_the_bytes_of_the_reads_that_it_stands_for() {
    let shards: Vec<String> = (0..400).map(|at| format!("{at:03x}")).collect();
    let mut cluster = Cluster::new(&shards.iter().map(String::as_str).collect::<Vec<_>>());
    let share = limits::READS_BYTES / shards.len();
    let row = |bytes: usize| vec![Some("1".to_owned()), Some("a".to_owned()), Some("x".repeat(bytes))];
    cluster.answer(100, "streams", rows(&["#id", "workflow", "message"], &[row(share - 1_000)]));
    // In hexadecimal it is nearly as much again.
    let pk = "k".repeat(share / 2 - 1_000);
    let states = ["1", "1", "t", &pk].map(|text| Some(text.to_owned())).to_vec();
    cluster.answer(100, "copy state", rows(&["#id", "#vrepl_id", "table_name", "lastpk"], &[states]));
    let to_100 = |asks: &[Ask]| asks.iter().filter(|ask| ask_name(ask).starts_with(&alias_text(100))).count();
    // The rows have few columns, which is told, too.
    let lost =
        |reply: Reply| reply.failures.into_iter().filter(|failure| matches!(failure.lost, Lost::Shard | Lost::CopyState)).count();
    let request = GetWorkflowsRequest { include_logs: false, ..all() };
    let (reply, asks) = given(&cluster, &request, None);
    assert_eq!((lost(reply), to_100(&asks)), (0, 1));

    let pk = "k".repeat(share / 2 + 1_000);
    let states = ["1", "1", "t", &pk].map(|text| Some(text.to_owned())).to_vec();
    cluster.answer(100, "copy state", rows(&["#id", "#vrepl_id", "table_name", "lastpk"], &[states]));
    let (reply, asks) = given(&cluster, &request, None);
    assert_eq!((lost(reply), to_100(&asks)), (0, 3), "by itself it is half of that");
}
