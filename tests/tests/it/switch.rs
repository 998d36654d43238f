//! Moving traffic under vtflow on a recorded cluster: the same answers, records and rows afterwards as under vtctld, and where a vtctld
//! has died, both ways out.
//!
//! Not compared: ids, times and positions.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::proto::vtctldata::{WorkflowSwitchTrafficRequest, WorkflowSwitchTrafficResponse};

use crate::lifecycle::{Recorded, Running, Seen};

fn response(bytes: &[u8]) -> WorkflowSwitchTrafficResponse {
    WorkflowSwitchTrafficResponse::decode(bytes).expect("a response")
}

/// Without what changes by itself: the moment, and where the source is.
fn settled(mut response: WorkflowSwitchTrafficResponse) -> WorkflowSwitchTrafficResponse {
    if let Some((before, _)) = response.summary.split_once(" at ") {
        response.summary = before.to_owned();
    }
    for line in &mut response.dry_run_results {
        let parts = line.split("position:").enumerate().map(|(at, part)| match part.find([',', ';', ']']) {
            Some(end) if at > 0 => part[end..].to_owned(),
            _ => part.to_owned(),
        });
        *line = parts.collect::<Vec<_>>().join("position:");
    }
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_leaves_the_records_and_rows_that_it_left_there() {
    for step in ["03-mt-switch-reads", "06-mt-switch-writes", "09-mt-reverse", "11-mt-switch-all", "30-mt-reverse3"] {
        let recorded = Recorded::step(step);
        let running = Running::start(&recorded.before).await;
        let reply = running.perform(&recorded.request).await;
        let ours = response(&reply.result.unwrap_or_else(|status| panic!("{step}: {status}")));
        assert_eq!(ours, response(recorded.response.as_ref().expect("it was done")), "{step}");
        let after = Seen::recorded(recorded.after.as_ref().expect("something changed"));
        let (mut now, mut after) = (running.seen().await.of("c2c"), after.of("c2c"));
        if step == "30-mt-reverse3" {
            // There two streams were created at once with one text of cells, which each changed: the first one got the second one's.
            (now, after) = (now.without_cells(), after.without_cells());
        }
        now.assert_is(&after, step);
    }
}

/// The shard was split while another workflow had a stream there, of which less was kept: how it worked.
#[tokio::test(flavor = "multi_thread")]
async fn a_reshard_leaves_the_records_and_rows_that_it_left_there() {
    for step in ["81-rs-switch-writes", "84-rs-switch-all"] {
        let recorded = Recorded::step(step);
        let running = Running::start(&recorded.before).await;
        let reply = running.perform(&recorded.request).await;
        let ours = response(&reply.result.unwrap_or_else(|status| panic!("{step}: {status}")));
        assert_eq!(ours, response(recorded.response.as_ref().expect("it was done")), "{step}");
        let (now, after) = (running.seen().await, Seen::recorded(recorded.after.as_ref().expect("something changed")));
        assert_eq!(now.read("mat2"), after.read("mat2"), "{step}");
        assert!(!now.read("mat2").is_empty(), "{step}");
        now.of("r1").assert_is(&after.of("r1"), step);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_it_said_there_and_changes_nothing() {
    for step in ["01-mt-switch-dry", "05-mt-switch-writes-dry", "80-rs-switch-writes-dry"] {
        let recorded = Recorded::step(step);
        let running = Running::start(&recorded.before).await;
        let reply = running.perform(&recorded.request).await;
        let mut ours = settled(response(&reply.result.unwrap_or_else(|status| panic!("{step}: {status}"))));
        let theirs = settled(response(recorded.response.as_ref().expect("it was done")));
        // What a vtctld has lines for, too, and does not come to print.
        let more = ["Migrate streams to", "Migrate source streams:", "Create target streams (as stopped):"];
        ours.dry_run_results.retain(|line| !more.iter().any(|more| line.starts_with(more)));
        assert_eq!(ours, theirs, "{step}");
        running.seen().await.assert_is(&Seen::recorded(&recorded.before), step);
        assert_eq!(running.writes(), 0, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    for (step, text) in [
        // vtctld closed the source, waited in vain, and left the rules for reads changed.
        (
            "16-mt-switch-while-stopped",
            "cannot switch traffic for workflow c2c at this time: stream 14 of customer/-80 is Stopped; start the workflow first",
        ),
        // Streams of another workflow stand still.
        (
            "63-rs-switch-writes-dry",
            "failed to migrate the workflow streams: cannot migrate until all streams are running: -80: 200",
        ),
    ] {
        let recorded = Recorded::step(step);
        let running = Running::start(&recorded.before).await;
        let refused = running.perform(&recorded.request).await.result.expect_err("refused").message;
        assert_eq!(refused, text, "{step}");
        running.seen().await.assert_is(&Seen::recorded(&recorded.before), step);
        assert_eq!(running.writes(), 0, "{step}");
    }
}

/// A vtctld was killed: after the source was closed, while it waited for positions, after the journal was written.
const CRASHES: [&str; 3] = ["20-mt-crash-after-denied", "31-mt-crash-waitpos", "34-mt-crash-journal"];

#[tokio::test(flavor = "multi_thread")]
async fn where_a_vtctld_has_died_the_same_request_goes_on_to_the_end() {
    let want = Seen::recorded(Recorded::step("11-mt-switch-all").after.as_ref().expect("switched"));
    for step in CRASHES {
        let recorded = Recorded::step(step);
        let running = Running::start(recorded.after.as_ref().expect("half")).await;
        let reply = running.perform(&recorded.request).await;
        let ours = response(&reply.result.unwrap_or_else(|status| panic!("{step}: {status}")));
        assert_eq!(ours.current_state, "All Reads Switched. Writes Switched", "{step}");
        let now = running.seen().await;
        now.assert_traffic_is(&want, step);
        let streams = now.states(&["c2c", "c2c_reverse"]);
        let frozen = "c2c Stopped FROZEN";
        assert_eq!(streams, [frozen, frozen, "c2c_reverse Running ", "c2c_reverse Running "], "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_vtctld_has_died_the_way_back_is_open_until_the_journal() {
    let want = Seen::recorded(&Recorded::step("11-mt-switch-all").before);
    for step in CRASHES {
        let recorded = Recorded::step(step);
        let forward = WorkflowSwitchTrafficRequest::decode(recorded.request.as_slice()).expect("a request");
        let back = WorkflowSwitchTrafficRequest { direction: 1, ..forward }.encode_to_vec();
        let running = Running::start(recorded.after.as_ref().expect("half")).await;
        let result = running.perform(&back).await.result;
        if step == "34-mt-crash-journal" {
            let text = result.expect_err("refused").message;
            assert!(text.contains("switch its traffic again to finish that, then reverse it"), "{text}");
            assert_eq!(running.writes(), 0);
            // And so it is.
            running.perform(&recorded.request).await.result.expect("finished");
            running.perform(&back).await.result.expect("reversed");
            running.seen().await.assert_traffic_is(&want, step);
            continue;
        }
        let ours = response(&result.unwrap_or_else(|status| panic!("{step}: {status}")));
        assert_eq!(ours.current_state, "Reads Not Switched. Writes Not Switched", "{step}");
        let now = running.seen().await;
        now.assert_traffic_is(&want, step);
        assert_eq!(now.states(&["c2c", "c2c_reverse"]), ["c2c Running ", "c2c Running "], "{step}");
        // Nothing is left that would speak against another try.
        let again = running.perform(&recorded.request).await.result;
        assert!(again.is_ok(), "{step}: {again:?}");
    }
}

/// What vtctld refused, since there was no workflow back. The rules for reads had been changed by a switch that failed, and no cell served
/// them yet: whoever made the cells' records anew would have moved the reads.
#[tokio::test(flavor = "multi_thread")]
async fn rules_for_reads_are_taken_back_that_a_failed_switch_has_left() {
    let recorded = Recorded::step("33-mt-reverse4");
    assert_eq!(recorded.error.as_deref(), Some("no streams found in keyspace commerce for c2c_reverse"));
    let running = Running::start(&recorded.before).await;
    running.perform(&recorded.request).await.result.expect("taken back");
    let want = Seen::recorded(&Recorded::step("11-mt-switch-all").before);
    let now = running.seen().await;
    now.assert_traffic_is(&want, "taken back");
    assert_eq!(now.states(&["c2c", "c2c_reverse"]), ["c2c Running ", "c2c Running "]);
}
