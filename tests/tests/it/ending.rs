//! Completing, cancelling and mirroring on recorded moments as embedded clusters: tables, records and rows afterwards are those of the recording.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Call, CallOptions,
    proto::vtctldata::{MoveTablesCompleteRequest, WorkflowDeleteRequest, WorkflowMirrorTrafficRequest},
    rpc,
};

use crate::lifecycle::{Moment, Running, Seen, Tables};

const SOURCE: &str = "zone1-0000000100";
const LEFT: &str = "zone1-0000000200";
const RIGHT: &str = "zone2-0000000300";

/// Tables of the source and of the target, as a MoveTables of corder and customer has them; and one that is none of its own.
pub(crate) const MOVED: Tables<'static> =
    &[(SOURCE, &["corder", "customer", "product"]), (LEFT, &["corder", "customer"]), (RIGHT, &["corder", "customer"])];

fn call(path: &str, request: &impl Message) -> Call {
    Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

pub(crate) fn complete(workflow: &str) -> MoveTablesCompleteRequest {
    MoveTablesCompleteRequest { target_keyspace: "customer".into(), workflow: workflow.into(), ..Default::default() }
}

pub(crate) fn completion(of: &MoveTablesCompleteRequest) -> Call {
    call(rpc::MOVE_TABLES_COMPLETE, of)
}

pub(crate) fn cancellation(workflow: &str, keep_data: bool) -> Call {
    let (keyspace, workflow) = ("customer".into(), workflow.into());
    let request = WorkflowDeleteRequest { keyspace, workflow, keep_data, delete_batch_size: 1000, ..Default::default() };
    call(rpc::WORKFLOW_DELETE, &request)
}

pub(crate) fn mirroring(workflow: &str, percent: f32) -> Call {
    let (keyspace, workflow, tablet_types) = ("customer".into(), workflow.into(), vec![1, 2, 3]);
    call(rpc::WORKFLOW_MIRROR_TRAFFIC, &WorkflowMirrorTrafficRequest { keyspace, workflow, tablet_types, percent })
}

async fn done(moment: &Moment, call: &Call) -> Running {
    let live = Running::start(moment).await;
    let reply = live.ask(call).await;
    reply.result.unwrap_or_else(|status| panic!("{status}"));
    assert!(live.writes() > 0, "the tablets have counted what changes them");
    live
}

fn tables<const N: usize>(all: [(&str, &[&str]); N]) -> BTreeMap<String, Vec<String>> {
    let owned = |(alias, names): (&str, &[&str])| (alias.to_owned(), names.iter().map(|&name| name.to_owned()).collect());
    all.into_iter().map(owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_drops_renames_or_keeps_the_tables_of_the_source() {
    let (before, after) = (Moment::of("40-mt-complete", "before").with_tables(MOVED), Moment::of("40-mt-complete", "after"));
    let target: (&[&str], &[&str]) = (&["corder", "customer"], &["corder", "customer"]);
    let with = |source: &[&str]| tables([(SOURCE, source), (LEFT, target.0), (RIGHT, target.1)]);

    let dropped = done(&before, &completion(&complete("c2c"))).await;
    assert_eq!(dropped.tables().await, with(&["product"]));
    dropped.seen().await.assert_is(&Seen::recorded(&after), "dropped");

    let renames = MoveTablesCompleteRequest { rename_tables: true, ..complete("c2c") };
    let renamed = done(&before, &completion(&renames)).await;
    assert_eq!(renamed.tables().await, with(&["_corder_old", "_customer_old", "product"]));
    renamed.seen().await.assert_is(&Seen::recorded(&after), "renamed");

    let keeps = MoveTablesCompleteRequest { keep_data: true, ..complete("c2c") };
    let kept = done(&before, &completion(&keeps)).await;
    assert_eq!(kept.tables().await, with(&["corder", "customer", "product"]));
    // The vschema of the source still has what is still there.
    assert_eq!(kept.seen().await.states(&["c2c", "c2c_reverse"]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_drops_the_tables_of_the_target_or_keeps_them() {
    let given: Tables<'_> = &[(LEFT, &["corder", "sales"]), (RIGHT, &["corder", "sales"])];
    let (before, after) = (Moment::of("52-mat-cancel", "before").with_tables(given), Moment::of("52-mat-cancel", "after"));
    let cancelled = done(&before, &cancellation("sales_mat", false)).await;
    assert_eq!(cancelled.tables().await, tables([(SOURCE, &[]), (LEFT, &["corder"]), (RIGHT, &["corder"])]));
    cancelled.seen().await.assert_is(&Seen::recorded(&after), "dropped");
    let kept = done(&before, &cancellation("sales_mat", true)).await;
    assert_eq!(kept.tables().await, tables([(SOURCE, &[]), (LEFT, &["corder", "sales"]), (RIGHT, &["corder", "sales"])]));
    kept.seen().await.assert_is(&Seen::recorded(&after), "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirroring_ends_in_the_recorded_records() {
    let (before, after) = (Moment::of("47-mt-mirror", "before"), Moment::of("47-mt-mirror", "after"));
    let mirrored = done(&before, &mirroring("m2", 5.0)).await;
    mirrored.seen().await.assert_is(&Seen::recorded(&after), "mirrored");
}
