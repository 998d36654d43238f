//! Streams whose source has purged binary logs that they need: found by what its primary says, and never wrongly.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use crate::{
    diagnose_scope::{call, cluster, diagnose, keyspace, of_source, source},
    support::{Cluster, PURGED, StreamOf, purged, rows, silent, streams},
};
use vtflow_planner::{
    Answer, Ask, What,
    proto::vtflow::{Deviation, DiagnoseResponse},
};

const SERVER: &str = "14b68925-696a-11ea-aee7-fec597a91f5e";

/// A stream from `src/0`, which has the first three transactions of [`SERVER`].
fn reader() -> StreamOf {
    of_source(7, r#"keyspace:"src" shard:"0""#)
}

/// A workflow of that one stream, whose source has purged this.
fn reading(gone: &str) -> Cluster {
    let mut cluster = cluster(&["-80"]);
    source(&mut cluster, "src", "0", 500);
    cluster.answer(100, "streams", streams(&[reader()]));
    cluster.answer(500, PURGED, purged(gone));
    cluster
}

fn positions(pos: &str) -> Answer {
    rows(&["#id", "pos"], &[vec![Some("7".into()), Some(pos.into())]])
}

/// Of every workflow, and of none.
fn deviations(found: &DiagnoseResponse) -> impl Iterator<Item = &Deviation> {
    found.workflows.iter().flat_map(|it| &it.deviations).chain(&found.leftovers)
}

/// Where binary logs are gone, and how that is put.
fn told(found: &DiagnoseResponse) -> Vec<(Vec<&str>, &str)> {
    let gone = deviations(found).filter(|it| it.mechanism == "binlogs_gone");
    gone.map(|it| (it.places.iter().map(String::as_str).collect(), it.hurts.as_str())).collect()
}

/// Statements that were sent to a tablet.
fn statements(asks: &[Ask], alias: &str) -> Vec<String> {
    let statement = |ask: &Ask| match &ask.what {
        What::TabletCall { tablet, about, .. } if tablet.alias == alias => Some(about.statement.clone()),
        _ => None,
    };
    asks.iter().filter_map(statement).collect()
}

#[test]
fn a_stream_that_lacks_what_its_source_has_purged_cannot_go_on() {
    let mut cluster = reading(&format!("{SERVER}:1-5,\n24b68925-696a-11ea-aee7-fec597a91f5e:1-2"));
    cluster.answer(100, "positions", positions(&format!("MySQL56/{SERVER}:1-4")));
    let hurts = format!(
        "wf: it has not copied {SERVER}:5,24b68925-696a-11ea-aee7-fec597a91f5e:1-2, of which src/0 zone1-0000000500 has no binary \
         logs any more: it can go on only from a replica that still has them"
    );
    let want = [(vec!["ks/-80 zone1-0000000100 stream 7"], hurts.as_str())];
    for (keyspace, workflow) in [("", ""), ("ks", ""), ("ks", "wf"), ("ks", "wf_reverse")] {
        let (reply, _) = cluster.run(&call(keyspace, workflow));
        let found: DiagnoseResponse = prost::Message::decode(reply.result.unwrap().as_slice()).unwrap();
        assert_eq!(told(&found), want, "{keyspace} {workflow}");
        assert!(reply.failures.is_empty() && found.unknown.is_empty(), "{found:?}");
    }
    // It is no stream of the other keyspace, nor of another workflow.
    for (keyspace, workflow) in [("src", ""), ("ks", "other")] {
        let (reply, _) = cluster.run(&call(keyspace, workflow));
        let found: DiagnoseResponse = prost::Message::decode(reply.result.unwrap().as_slice()).unwrap();
        assert_eq!(told(&found), [], "{keyspace} {workflow}");
    }
}

#[test]
fn a_stream_that_has_all_that_was_purged_is_well() {
    for gone in ["", &format!("{SERVER}:1-3"), &format!("{SERVER}:2")] {
        let (found, asks) = diagnose(&reading(gone), "");
        assert_eq!(told(&found), [], "{gone}");
        assert_eq!(statements(&asks, "zone1-0000000500").last().unwrap(), "select @@global.gtid_purged");
        let positions = statements(&asks, "zone1-0000000100").into_iter().filter(|it| it.starts_with("select id, pos"));
        assert_eq!(positions.count(), 0, "who lacks nothing is not asked again");
    }
}

/// What it had was read before its source said what it has purged.
#[test]
fn a_stream_that_has_gone_on_meanwhile_is_well() {
    let mut cluster = reading(&format!("{SERVER}:1-5"));
    for (again, is_gone) in [
        (positions(&format!("MySQL56/{SERVER}:1-9")), false),
        (positions(&format!("MySQL56/{SERVER}:1-4")), true),
        // It was deleted.
        (rows(&["#id", "pos"], &[]), false),
    ] {
        cluster.answer(100, "positions", again.clone());
        let (found, asks) = diagnose(&cluster, "");
        assert_eq!(told(&found).len(), usize::from(is_gone), "{again:?}");
        let again = statements(&asks, "zone1-0000000100").pop().unwrap();
        assert_eq!(again, "select id, pos from _vt.vreplication where id in (7)");
    }
    cluster.answer(100, "positions", silent(100));
    let (reply, _) = cluster.run(&call("", ""));
    let found: DiagnoseResponse = prost::Message::decode(reply.result.unwrap().as_slice()).unwrap();
    assert_eq!(told(&found), [], "nobody knows");
    assert_eq!(reply.failures.len(), 1, "{:?}", reply.failures);
}

#[test]
fn a_stream_that_needs_no_binary_log_is_not_asked_about() {
    for (why, of) in [
        ("frozen", StreamOf { state: "Stopped", message: "FROZEN", ..reader() }),
        ("not begun", StreamOf { pos: "", ..reader() }),
        ("without GTIDs", StreamOf { pos: "FilePos/binlog.000001:4", ..reader() }),
        ("of MariaDB", StreamOf { pos: "MariaDB/0-1-7", ..reader() }),
        ("of another cluster", of_source(7, r#"keyspace:"src" shard:"0" external_cluster:"far""#)),
    ] {
        let mut cluster = reading(&format!("{SERVER}:1-5"));
        cluster.answer(100, "streams", streams(&[of]));
        let (found, asks) = diagnose(&cluster, "");
        assert_eq!(told(&found), [], "{why}");
        let sent = statements(&asks, "zone1-0000000500");
        assert!(sent.iter().all(|statement| !statement.contains("gtid_purged")), "{why}: {sent:?}");
    }
}

#[test]
fn what_a_source_has_purged_and_does_not_say_is_not_known() {
    let mut cluster = reading("");
    for (says, want) in [
        (silent(500), "src/0 zone1-0000000500: purged binary logs: zone1-0000000500 did not answer in 10s"),
        (purged("nonsense"), "src/0 zone1-0000000500: purged binary logs: "),
    ] {
        cluster.answer(500, PURGED, says);
        for (keyspace, workflow) in [("", ""), ("ks", "wf")] {
            let (reply, _) = cluster.run(&call(keyspace, workflow));
            let found: DiagnoseResponse = prost::Message::decode(reply.result.unwrap().as_slice()).unwrap();
            assert_eq!(told(&found), []);
            let [unknown] = found.unknown.as_slice() else { panic!("{found:?}") };
            assert!(unknown.starts_with(want), "{unknown}");
            // All else is told.
            let phases: Vec<&str> = found.workflows.iter().map(|it| it.phase.as_str()).collect();
            assert_eq!((phases, found.workflows[0].unknown.as_slice()), (vec!["not_switched"], &[][..]));
            assert_eq!(reply.failures.len(), 1, "{:?}", reply.failures);
        }
    }
}

#[test]
fn sources_that_are_not_looked_at_are_named() {
    // A Materialize does not make its source a part of what is read.
    let mut cluster = cluster(&["-80"]);
    keyspace(&mut cluster, "src");
    let elsewhere = |found: &DiagnoseResponse| {
        let lines = found.not_looked_at.iter().filter(|line| line.starts_with("binary logs of "));
        lines.cloned().collect::<Vec<_>>()
    };
    let cluster_wide = "binary logs of other clusters, from which streams read";
    cluster.answer(100, "streams", streams(&[StreamOf { workflow_type: "0", ..reader() }]));
    let (found, _) = diagnose(&cluster, "ks");
    assert_eq!(elsewhere(&found), ["binary logs of src, from which streams read: diagnose src, too"]);
    let (found, _) = diagnose(&cluster, "src");
    assert_eq!(elsewhere(&found), [] as [&str; 0]);
    cluster.answer(100, "streams", streams(&[of_source(8, r#"keyspace:"ext" shard:"0" external_cluster:"far""#)]));
    let (found, _) = diagnose(&cluster, "");
    assert_eq!(elsewhere(&found), [cluster_wide]);
}

#[test]
fn a_stream_that_has_failed_is_told_of_whatever_its_workflow_does() {
    let long = "x".repeat(1000);
    let long: &'static str = Box::leak(format!("terminal error: {long}").into_boxed_str());
    let failed = |state, message, workflow_type| StreamOf { state, message, workflow_type, ..reader() };
    for (streams_of, want) in [
        (
            failed("Error", "no such table", "1"),
            Some(("it has failed, and copies nothing", "(vtflow workflow start ks wf): no such table")),
        ),
        (
            failed("Error", "no such table", "0"),
            Some(("it has failed, and copies nothing", "(vtflow workflow start ks wf): no such table")),
        ),
        (failed("Running", "vttablet: rpc error: gone", "1"), Some(("it may copy nothing", "vttablet: rpc error: gone"))),
        (failed("Running", "", "1"), None),
        // A migration's own state tells.
        (failed("Error", "no such table", "5"), None),
    ] {
        let mut cluster = reading("");
        cluster.answer(100, "streams", streams(&[streams_of]));
        let found = diagnose(&cluster, "ks").0;
        let failed: Vec<_> = deviations(&found).filter(|it| it.mechanism == "stream_failed").collect();
        assert_eq!(failed.len(), usize::from(want.is_some()), "{found:?}");
        if let (Some((begin, end)), [it]) = (want, failed.as_slice()) {
            assert!(it.hurts.starts_with(&format!("wf: {begin}")) && it.hurts.ends_with(end), "{}", it.hurts);
            assert_eq!(it.places, ["ks/-80 zone1-0000000100 stream 7"]);
        }
    }
    let mut cluster = reading("");
    cluster.answer(100, "streams", streams(&[failed("Error", long, "1")]));
    let found = diagnose(&cluster, "ks").0;
    assert!(deviations(&found).any(|it| it.hurts.contains("terminal error") && it.hurts.len() < 500), "{found:?}");
}
