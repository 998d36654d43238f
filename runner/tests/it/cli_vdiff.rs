//! `vtflow vdiff …` against a cluster that is alive: what is shown, what is refused, what is waited for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use crate::support::{
    live::Live,
    program::{Ran, vtflow},
};
use vtflow::embedded::Snapshot;

const UUID: &str = "11111111-1111-1111-1111-111111111111";

fn on(live: &Live, command: &str) -> Ran {
    let args: Vec<String> = live.flags().into_iter().chain(command.split(' ').map(str::to_owned)).collect();
    vtflow(&args)
}

/// A command's exit code, and that it says this on the one or the other.
fn says(live: &Live, command: &str, code: i32, stdout: &[&str], stderr: &[&str]) {
    let ran = on(live, command);
    assert_eq!(ran.code, code, "{command}: {} {}", ran.stdout, ran.stderr);
    for part in stdout {
        assert!(ran.stdout.contains(part), "{command}: {part} in {}", ran.stdout);
    }
    for part in stderr {
        assert!(ran.stderr.contains(part), "{command}: {part} in {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_from_its_creation_to_its_deletion() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings/vdiff/before");
    let live = Live::start(Snapshot::load(&recorded).unwrap()).await;
    let create = format!("vdiff create customer m2 {UUID}");
    let summary = format!("This creates VDiff {UUID} of customer.m2 on 2 tablets:");
    says(&live, &format!("{create} --dry-run"), 0, &[&summary, "insert into _vt.vdiff("], &[]);
    says(&live, &create, 2, &[], &["say --yes"]);
    says(&live, "get vdiff customer m2", 0, &["No VDiff of customer.m2."], &[]);
    says(
        &live,
        "vdiff create customer m2 --tables t1,nosuch --yes",
        2,
        &[],
        &["table \"nosuch\" is none of workflow customer.m2"],
    );
    says(&live, "vdiff create customer nosuch --yes", 2, &[], &["no streams found in keyspace customer for nosuch"]);
    let waits = format!("{create} --yes --wait --wait-update-interval 100ms");
    says(&live, &waits, 0, &[&summary, "applied, 1 row", "completed"], &["started, 0 rows compared"]);
    let exists = format!("vdiff with UUID {UUID} already exists on tablet zone1-0000000200");
    says(&live, &format!("{create} --yes"), 2, &[], &[&exists, "nothing was changed"]);
    says(&live, &format!("vdiff stop customer m2 {UUID} --yes"), 0, &[], &["has completed it", "Nothing to do"]);
    says(&live, &format!("vdiff resume customer m2 {UUID} --shards 80- --yes"), 0, &["on 1 tablet:", "applied, 1 row"], &[]);
    says(&live, &format!("vdiff stop customer m2 {UUID} --yes"), 0, &["on 1 tablet:", "applied, 1 row", "has completed it"], &[]);
    let other = UUID.replace('1', "2");
    says(&live, &format!("vdiff stop customer m2 {other} --yes"), 0, &[], &["has no VDiff of this UUID", "Nothing to do"]);
    says(&live, &format!("vdiff resume customer m2 {other} --yes"), 2, &[], &[&format!("vdiff with UUID {other} not found")]);
    says(&live, "vdiff delete customer m2 last --yes", 2, &[], &["it is all or a UUID"]);
    says(&live, "vdiff delete customer m2 all --yes", 0, &["This deletes 2 VDiffs of customer.m2 on 2 tablets:"], &[]);
    says(&live, &format!("vdiff delete customer m2 {UUID} --yes"), 2, &[], &[&format!("no vdiff found for UUID {UUID}")]);
    says(&live, "vdiff delete customer m2 all --yes", 0, &[], &["has no VDiff of it", "Nothing to do"]);
}
