//! Reads mirrored by vtflow as by vtctld, and not any more once they are switched or the workflow is cancelled.

use serde_json::Value;

use crate::{compare, reads::Workflow, suite::Suite};

const MOVE: Workflow = Workflow { keyspace: "customer", name: "move4", kind: "MoveTables" };

/// What is mirrored, and how much of it.
const MIRRORED: [&str; 3] = ["--percent 12.5", "--percent 100 --tablet-types replica,rdonly", "--percent 0"];

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    suite.vtctld(
        "MoveTables --workflow move4 --target-keyspace customer create --source-keyspace commerce --tables customer,corder \
         --tablet-types primary",
    )?;
    suite.workflows = vec![MOVE];
    suite.wait_for_streams(MOVE, "Running", 2)?;
    let line = |flags: &str| format!("MoveTables --workflow move4 --target-keyspace customer mirrortraffic {flags}");
    let mut theirs = Vec::new();
    for flags in MIRRORED {
        let told = suite.vtctld(&line(flags))?;
        theirs.push((told, records(suite)?));
    }
    for (flags, (their, records_then)) in MIRRORED.iter().zip(theirs) {
        let told = suite.served(&line(flags))?;
        let difference = compare::texts(&their.stdout, &told.stdout);
        suite.report.check(&format!("mirrortraffic {flags}: vtflow says what vtctld says"), difference);
        let difference = compare::values(records_then, records(suite)?);
        suite.report.check(&format!("mirrortraffic {flags}: the records are those that vtctld leaves"), difference);
        let counted = suite.cluster.vtgate("commerce", "select count(*) from corder")?;
        suite.check("an application reads on", counted.contains("2000"), || counted.clone());
        let told = suite.vtflow("diagnose")?;
        suite.says("diagnose says that it is healthy", &told, 0, &["healthy"]);
    }

    suite.served(&line("--percent 25"))?;
    suite.stage("mirrored by vtflow")?;
    let told = suite.vtflow("workflow switch customer move4 --yes")?;
    suite.says("switched by vtflow", &told, 0, &["applied"]);
    nothing_is_mirrored(suite, "nothing is mirrored that is switched")?;
    suite.vtflow("workflow reverse customer move4 --yes")?.must_succeed()?;
    suite.served(&line("--percent 25"))?;
    let told = suite.served("MoveTables --workflow move4 --target-keyspace customer cancel")?;
    suite.says("cancelled by vtflow", &told, 0, &["Successfully cancelled"]);
    suite.workflows.clear();
    nothing_is_mirrored(suite, "nothing is mirrored of what is cancelled")?;
    let told = suite.vtflow("diagnose")?;
    suite.says("nothing is left behind", &told, 0, &[]);
    Ok(())
}

fn nothing_is_mirrored(suite: &mut Suite, what: &str) -> anyhow::Result<()> {
    let told = suite.vtctld("GetMirrorRules")?;
    suite.check(what, !told.stdout.contains("from_table"), || told.stdout.clone());
    Ok(())
}

/// Everything that mirroring changes.
fn records(suite: &Suite) -> anyhow::Result<Value> {
    let mut found = serde_json::Map::new();
    for line in ["GetMirrorRules", "GetSrvVSchemas", "GetShard commerce/0", "GetShard customer/-80", "GetShard customer/80-"] {
        let told = suite.vtctld(line)?;
        found.insert(line.to_owned(), serde_json::from_str(&told.stdout)?);
    }
    Ok(Value::Object(found))
}
