//! Comparisons of rows: one without a difference, one that finds rows that differ.

use std::time::Duration;

use serde_json::Value;

use super::materialize::{SALES, create};
use crate::{cluster::VTFLOW_FORWARDING, process::wait_until, suite::Suite};

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    create(suite, SALES)?;
    suite.workflows = vec![SALES];
    compare(suite)?;
    let told = suite.vtflow("get vdiff customer sales1")?;
    suite.says("vtflow says that no rows differ", &told, 0, &["completed"]);
    suite.stage("VDiff without differences")?;

    suite.cluster.mysql(200, "vt_customer", "set @@global.super_read_only = 0; update sales set price = 99999 limit 1")?;
    suite.cluster.mysql(300, "vt_customer", "set @@global.super_read_only = 0; delete from sales limit 1")?;
    compare(suite)?;
    suite.stage("VDiff with differences")?;
    let told = suite.vtflow("get vdiff customer sales1")?;
    suite.says("vtflow says that rows differ", &told, 0, &["sales", "differ"]);
    let told = suite.vtflow("get vdiff customer sales1 all")?;
    suite.says("vtflow knows both comparisons", &told, 0, &["completed"]);

    suite.vtctld("Workflow --keyspace customer delete --workflow sales1 --keep-data --keep-routing-rules")?;
    suite.workflows.clear();
    Ok(())
}

/// Makes a comparison, by a vtflow that passes on to vtctld what it does not do itself, and waits until it is done.
fn compare(suite: &mut Suite) -> anyhow::Result<()> {
    let words = "VDiff --workflow sales1 --target-keyspace customer create --tablet-types primary".split(' ');
    let told = suite.cluster.vtctldclient_of_vtflow(VTFLOW_FORWARDING, words)?;
    suite.says("vtflow passes on what it does not do", &told, 0, &["scheduled on target shards"]);
    wait_until("the comparison is done", Duration::from_secs(60), || {
        let ran = suite.vtctld("VDiff --workflow sales1 --target-keyspace customer show last --format json")?;
        let told: Value = serde_json::from_str(&ran.stdout)?;
        Ok(told["State"] == "completed")
    })?;
    Ok(())
}
