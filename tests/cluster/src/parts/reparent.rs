//! The primary of a shard moves to another tablet in another cell, and back, while a workflow reads from it.

use super::materialize::{SALES, create};
use crate::suite::Suite;

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    create(suite, SALES)?;
    suite.workflows = vec![SALES];
    suite.vtctld("PlannedReparentShard --new-primary zone2-0000000101 commerce/0")?;
    suite.wait_for_streams(SALES, "Running", 2)?;
    let told = suite.vtflow("get tablets commerce/0")?;
    let primary = told.stdout.lines().find(|line| line.contains("zone2-0000000101")).unwrap_or_default().to_owned();
    suite.check("vtflow knows the new primary", told.code == Some(0) && primary.contains("primary"), || told.report());
    suite.stage("primary moved")?;
    suite.vtctld("PlannedReparentShard --new-primary zone1-0000000100 commerce/0")?;
    suite.wait_for_streams(SALES, "Running", 2)?;
    suite.stage("primary moved back")?;
    suite.vtctld("Workflow --keyspace customer delete --workflow sales1 --keep-data --keep-routing-rules")?;
    suite.workflows.clear();
    Ok(())
}
