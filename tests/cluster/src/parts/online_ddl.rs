//! Schema migrations, made by vtctld and controlled by vtflow.

use std::time::Duration;

use anyhow::Context;

use crate::{process::wait_until, suite::Suite};

const BOTH: [u32; 2] = [200, 300];

/// Asks for a migration of the keyspace customer; its UUID.
pub(crate) fn migrate(suite: &Suite, strategy: &str, sql: &str) -> anyhow::Result<String> {
    let words = ["ApplySchema", "--ddl-strategy", strategy, "--sql", sql, "customer"];
    let told = suite.cluster.vtctldclient(words)?.must_succeed()?;
    told.stdout.lines().last().map(|line| line.trim().to_owned()).context("a UUID")
}

/// Waits until a migration is in a state on both shards; `more` is a condition on its row.
pub(crate) fn wait_for(suite: &Suite, uuid: &str, state: &str, more: &str) -> anyhow::Result<()> {
    let sql = format!(
        "select count(*) from _vt.schema_migrations where migration_uuid = '{uuid}' and migration_status = '{state}' {more}"
    );
    wait_until(&format!("migration {uuid} is {state}"), Duration::from_secs(90), || {
        let is_so = |uid: &u32| suite.cluster.mysql(*uid, "", &sql).map(|told| told.lines().nth(1) == Some("1"));
        Ok(BOTH.iter().map(is_so).collect::<anyhow::Result<Vec<bool>>>()?.into_iter().all(|is_so| is_so))
    })?;
    Ok(())
}

fn columns(suite: &mut Suite, what: &str, wanted: &[&str]) -> anyhow::Result<()> {
    let sql = "select column_name from information_schema.columns where table_schema = 'vt_customer' and table_name = 'note' order by 1";
    suite.rows(what, &BOTH, sql, wanted)
}

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let first = migrate(suite, "vitess --postpone-completion", "alter table note add column a int")?;
    let second = migrate(suite, "vitess --postpone-launch", "alter table note add column b int")?;
    wait_for(suite, &first, "running", "and ready_to_complete = 1")?;
    suite.stage("OnlineDDL running")?;
    let told = suite.vtflow("get migrations customer")?;
    suite.says(
        "vtflow says what they wait for",
        &told,
        0,
        &[&first, &second, "completion postponed", "launch postponed", "0/2 complete"],
    );

    let told = suite.vtflow(&format!("migration throttle customer {first} --yes"))?;
    suite.says("vtflow throttles one", &told, 0, &["applied"]);
    let told = suite.vtctld("GetKeyspace customer")?;
    suite.says("vtctld knows of it", &told, 0, &["throttled_apps", &first]);
    suite.stage("OnlineDDL throttled")?;
    let told = suite.vtflow(&format!("migration unthrottle customer {first} --yes"))?;
    suite.says("vtflow lets it go on", &told, 0, &["applied"]);

    let told = suite.vtflow(&format!("migration complete customer {first} --yes"))?;
    suite.says("vtflow completes it", &told, 0, &["applied"]);
    wait_for(suite, &first, "complete", "")?;
    columns(suite, "its column is there", &["a", "id", "text"])?;
    let told = suite.vtflow(&format!("migration launch customer {second} --yes"))?;
    suite.says("vtflow launches the other", &told, 0, &["applied"]);
    wait_for(suite, &second, "complete", "")?;
    columns(suite, "its column is there, too", &["a", "b", "id", "text"])?;
    suite.stage("OnlineDDL complete")?;

    let third = migrate(suite, "vitess --postpone-completion", "alter table note add column c int")?;
    wait_for(suite, &third, "running", "and ready_to_complete = 1")?;
    let told = suite.vtflow(&format!("migration cancel customer {third} --yes"))?;
    suite.says("vtflow cancels one", &told, 0, &["applied"]);
    wait_for(suite, &third, "cancelled", "and cancelled_timestamp is not null")?;
    suite.stage("OnlineDDL cancelled")?;
    let told = suite.vtflow(&format!("migration retry customer {third} --yes"))?;
    suite.says("vtflow has it tried again", &told, 0, &["applied"]);
    wait_for(suite, &third, "running", "and ready_to_complete = 1")?;

    // Somebody holds the table, so that the cut-over waits.
    let locks = [suite.lock_table(200, "vt_customer", "note read")?, suite.lock_table(300, "vt_customer", "note read")?];
    let told = suite.served(&format!("OnlineDDL complete customer {third}"))?;
    suite.says("a client of vtflow completes it", &told, 0, &["rows_affected_by_shard"]);
    let told = suite.vtflow(&format!("migration force-cutover customer {third} --yes"))?;
    suite.says("vtflow forces its cut-over", &told, 0, &["applied"]);
    let forced = wait_for(suite, &third, "complete", "");
    for lock in locks {
        lock.release()?;
    }
    suite.report.check("it is complete although a session held its table", forced.err().map(|error| error.to_string()));
    columns(suite, "the third column is there", &["a", "b", "c", "id", "text"])?;

    let told = suite.vtflow(&format!("migration cleanup customer {first} --yes"))?;
    suite.says("vtflow cleans up after one", &told, 0, &["applied"]);
    let sql = format!("select retain_artifacts_seconds from _vt.schema_migrations where migration_uuid = '{first}'");
    suite.rows("its row says so", &BOTH, &sql, &["-1"])?;

    let fourth = migrate(suite, "vitess --postpone-completion", "alter table note add column d int")?;
    let fifth = migrate(suite, "vitess --postpone-completion", "alter table note add column e int")?;
    wait_for(suite, &fourth, "running", "")?;
    let told = suite.served("OnlineDDL cancel customer all")?;
    suite.says("a client of vtflow cancels all", &told, 0, &["rows_affected_by_shard"]);
    for uuid in [&fourth, &fifth] {
        wait_for(suite, uuid, "cancelled", "")?;
    }
    suite.stage("OnlineDDL all cancelled")
}
