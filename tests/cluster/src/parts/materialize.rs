//! A Materialize workflow, made by vtctld: everything that vtflow can change of a workflow is changed, and looked at in the tablets'
//! rows and by vtctld.

use std::time::Duration;

use crate::{process::wait_until, reads::Workflow, suite::Suite};

pub(crate) const SALES: Workflow = Workflow { keyspace: "customer", name: "sales1", kind: "Materialize" };
/// The primaries of keyspace customer.
const BOTH: [u32; 2] = [200, 300];

/// Makes a workflow that copies products into the sharded keyspace.
pub(crate) fn create(suite: &mut Suite, workflow: Workflow) -> anyhow::Result<()> {
    let table = r#"[{"target_table":"sales","source_expression":"select sku, description, price from product",
        "create_ddl":"create table if not exists sales(sku varbinary(64) not null primary key, description varchar(200), price bigint not null)"}]"#;
    if suite.cluster.vtgate("customer", "select 1 from sales limit 1").is_ok() {
        suite.cluster.vtgate("customer", "delete from sales")?;
    }
    let words = [
        ["Materialize", "--workflow"],
        [workflow.name, "--target-keyspace"],
        [workflow.keyspace, "create"],
        ["--source-keyspace", "commerce"],
        ["--tablet-types", "primary"],
        ["--table-settings", table],
    ];
    suite.cluster.vtctldclient(words.concat())?.must_succeed()?;
    suite.wait_for_streams(workflow, "Running", 2)
}

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    create(suite, SALES)?;
    suite.workflows = vec![SALES];
    suite.stage("Materialize running")?;
    let state = "select state from _vt.vreplication where workflow = 'sales1'";

    let told = suite.vtflow("workflow stop customer sales1 --yes")?;
    suite.says("vtflow stops it", &told, 0, &["This stops 2 streams on 2 tablets", "applied, 1 row"]);
    suite.rows("its streams are stopped", &BOTH, state, &["Stopped"])?;
    suite.cluster.vtgate("commerce", "insert into product values ('sku-late', 'while it was stopped', 1)")?;
    suite.stage("Materialize stopped")?;
    let sold = suite.cluster.vtgate("customer", "select count(*) from sales where sku = 'sku-late'")?;
    suite.check("no row comes while it is stopped", sold.contains('0'), || sold.clone());
    let told = suite.vtflow("workflow stop customer sales1 --yes")?;
    suite.says(
        "a second stop changes no row",
        &told,
        0,
        &["zone1-0000000200: applied, 0 rows", "zone2-0000000300: applied, 0 rows"],
    );

    let told = suite.vtflow("workflow start customer sales1 --shards -80 --yes")?;
    suite.says("vtflow starts one shard's", &told, 0, &["zone1-0000000200: applied"]);
    suite.rows("it runs", &[200], state, &["Running"])?;
    suite.rows("the other does not", &[300], state, &["Stopped"])?;
    suite.stage("Materialize half stopped")?;
    let told = suite.served("Workflow --keyspace customer start --workflow sales1")?;
    suite.says(
        "a client of vtflow starts the other",
        &told,
        0,
        &["Successfully updated the sales1 workflow on (2) target primary tablets"],
    );
    suite.wait_for_streams(SALES, "Running", 2)?;
    let came = wait_until("the row comes that was made meanwhile", Duration::from_secs(20), || {
        Ok(suite.cluster.vtgate("customer", "select count(*) from sales where sku = 'sku-late'")?.contains('1'))
    });
    suite.report.check("the row comes that was made while it was stopped", came.err().map(|error| error.to_string()));

    updates(suite)?;
    statements(suite)?;
    plans(suite)?;

    let told = suite.vtflow("workflow delete customer sales1 --yes")?;
    suite.says("vtflow deletes it", &told, 0, &["applied, 1 row"]);
    suite.rows("no stream is left", &BOTH, "select count(*) from _vt.vreplication where workflow = 'sales1'", &["0"])?;
    suite.rows("no copy state is left", &BOTH, "select count(*) from _vt.copy_state", &["0"])?;
    let sold = suite.cluster.vtgate("customer", "select count(*) from sales")?;
    suite.check("the rows are left", sold.contains("51"), || sold.clone());
    suite.workflows.clear();
    suite.stage("Materialize deleted")?;

    create(suite, SALES)?;
    let told = suite.served("Workflow --keyspace customer delete --workflow sales1 --keep-data --keep-routing-rules")?;
    suite.says("a client of vtflow deletes another", &told, 0, &["Successfully cancelled the sales1 workflow"]);
    suite.rows("no stream is left of it", &BOTH, "select count(*) from _vt.vreplication where workflow = 'sales1'", &["0"])?;
    Ok(())
}

/// Cells, tablet types, what to do on DDL, and settings.
fn updates(suite: &mut Suite) -> anyhow::Result<()> {
    let told = suite.vtflow(
        "workflow update customer sales1 --cells zone1,zone2 --tablet-types replica,primary --on-ddl exec_ignore \
         --config-overrides vreplication-retry-delay=2s --yes",
    )?;
    suite.says("vtflow updates it", &told, 0, &["applied, 1 row"]);
    let row = "select cell, tablet_types, source like '%on_ddl:EXEC_IGNORE%', options->>'$.config' from _vt.vreplication where workflow = 'sales1'";
    suite.rows("its rows say so", &BOTH, row, &["zone1,zone2\treplica,primary\t1\t{\"vreplication-retry-delay\": \"2s\"}"])?;
    suite.wait_for_streams(SALES, "Running", 2)?;
    suite.stage("Materialize updated")?;
    let told = suite
        .served("Workflow --keyspace customer update --workflow sales1 --cells zone1 --tablet-types primary --on-ddl IGNORE")?;
    suite.says("a client of vtflow updates it", &told, 0, &["Successfully updated"]);
    let row = "select cell, tablet_types, source like '%on_ddl%' from _vt.vreplication where workflow = 'sales1'";
    suite.rows("its rows say that, too", &BOTH, row, &["zone1\tprimary\t0"])?;
    suite.wait_for_streams(SALES, "Running", 2)
}

/// Statements of a person on the sidecar tables.
fn statements(suite: &mut Suite) -> anyhow::Result<()> {
    let read = suite.cluster.vtflow(["vexec", "customer.sales1", "select id, workflow, state from _vt.vreplication"])?;
    suite.says("vexec reads both shards", &read, 0, &["zone1-0000000200", "zone2-0000000300", "sales1", "Running"]);
    let words = ["vexec", "customer.sales1", "update _vt.vreplication set tags = 'looked,at'", "--yes"];
    let written = suite.cluster.vtflow(words)?;
    suite.says("vexec changes both shards", &written, 0, &["applied, 1 row"]);
    suite.rows("its rows say so", &BOTH, "select tags from _vt.vreplication where workflow = 'sales1'", &["looked,at"])?;
    suite.wait_for_streams(SALES, "Running", 2)?;
    suite.stage("Materialize with tags")
}

/// A plan that is applied does what it says; one that is out of date does nothing.
fn plans(suite: &mut Suite) -> anyhow::Result<()> {
    let file = suite.cluster.settings.run.join("plan.json");
    let path = file.display().to_string();
    let planned = suite.vtflow("workflow stop customer sales1 --dry-run -o json")?.must_succeed()?;
    std::fs::write(&file, &planned.stdout)?;
    suite.vtctld("Workflow --keyspace customer update --workflow sales1 --cells zone2")?;
    suite.wait_for_streams(SALES, "Running", 2)?;
    let told = suite.cluster.vtflow(["apply", &path, "--yes"])?;
    suite.says("a plan is refused whose rows vtctld has changed since", &told, 2, &["zone1-0000000200"]);
    suite.rows(
        "nothing was changed by it",
        &BOTH,
        "select state from _vt.vreplication where workflow = 'sales1'",
        &["Running"],
    )?;
    let planned = suite.vtflow("workflow stop customer sales1 --dry-run -o json")?.must_succeed()?;
    std::fs::write(&file, &planned.stdout)?;
    let told = suite.cluster.vtflow(["apply", &path, "--yes"])?;
    suite.says("a plan is applied", &told, 0, &["applied, 1 row"]);
    suite.rows("what it says is done", &BOTH, "select state from _vt.vreplication where workflow = 'sales1'", &["Stopped"])
}
