//! Reshard of one of two shards into two, on tablets that are added for it, by vtctld; vtflow looks on.

use std::time::{Duration, Instant};

use super::{
    reshard_cutover,
    split::{CREATE, REVERSE, SPLIT},
};
use crate::{
    cluster::{NEW_SHARDS, seconds},
    process::wait_until,
    suite::Suite,
};

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let started = Instant::now();
    suite.cluster.add_tablets(&NEW_SHARDS)?;
    suite.report.note(&format!("two more primaries after {:.1} s", seconds(started)));
    suite.stage("new shards")?;
    let told = suite.vtflow("get shards customer")?;
    suite.says("vtflow says which shards serve", &told, 0, &["80-c0", "c0-"]);

    suite.vtctld(CREATE)?;
    suite.workflows = vec![SPLIT];
    suite.wait_for_streams(SPLIT, "Running", 2)?;
    suite.stage("Reshard running")?;
    suite.vtctld("Reshard --workflow split1 --target-keyspace customer SwitchTraffic --tablet-types replica,rdonly")?;
    suite.stage("Reshard reads switched")?;
    suite.vtctld("Reshard --workflow split1 --target-keyspace customer SwitchTraffic")?;
    suite.workflows = vec![SPLIT, REVERSE];
    suite.stage("Reshard switched")?;
    let told = suite.vtflow("workflow start customer split1 --yes")?;
    suite.says("vtflow does not start what is frozen", &told, 2, &["frozen"]);
    let told = suite.vtflow("workflow delete customer split1 --yes")?;
    suite.says("vtflow does not delete what has the traffic", &told, 2, &[]);
    suite.vtctld("Reshard --workflow split1 --target-keyspace customer ReverseTraffic")?;
    suite.stage("Reshard reversed")?;
    suite.vtctld("Reshard --workflow split1 --target-keyspace customer cancel")?;
    suite.workflows.clear();
    suite.stage("Reshard cancelled")?;
    suite.cluster.remove_shards(&NEW_SHARDS)?;
    suite.stage("shards removed")
}

/// The same to its end by vtflow, while an application writes, as the last part: the shard that is split is gone afterwards.
pub(crate) fn complete(suite: &mut Suite) -> anyhow::Result<()> {
    // Streams of migrations that were cancelled stay for a day, and Vitess switches no shard that has a stream that is stopped.
    let list = "Workflow --keyspace customer list";
    let left = |suite: &Suite| -> anyhow::Result<Vec<String>> { Ok(serde_json::from_str(&suite.vtctld(list)?.stdout)?) };
    for workflow in left(suite)? {
        let told = suite.vtflow(&format!("workflow delete customer {workflow} --force --yes"))?;
        suite.says("vtflow says what to do with what is left of a migration", &told, 2, &["vtflow migration cleanup customer"]);
        let told = suite.vtflow(&format!("migration cleanup customer {workflow} --yes"))?;
        suite.says("and does it", &told, 0, &["applied, 1 row"]);
    }
    let gone = wait_until("nothing is left of the migrations", Duration::from_secs(90), || Ok(left(suite)?.is_empty()));
    suite.report.check("what was left of migrations is gone", gone.err().map(|error| error.to_string()));
    // A tablet drops their tables in its own time, and a stream that reads from it while it does fails for good: "failed to reload schema
    // after DDL" (`go/vt/vttablet/tabletserver/schema/engine.go:reload` reads the columns of a table that was there when it listed them).
    let tables =
        "select table_name from information_schema.tables where table_schema = 'vt_customer' and table_name like '\\_vt\\_%'";
    let dropped = wait_until("the tablet has dropped their tables", Duration::from_secs(180), || {
        let left = suite.cluster.mysql(300, "", tables)?;
        Ok(left.trim().is_empty())
    });
    suite.report.check("and so are their tables", dropped.err().map(|error| error.to_string()));
    suite.cluster.add_tablets(&NEW_SHARDS)?;
    suite.vtctld(CREATE)?;
    suite.workflows = vec![SPLIT];
    suite.wait_for_streams(SPLIT, "Running", 2)?;
    let mut application = reshard_cutover::application();
    application.during(suite, "vtflow", "a reshard that is completed", |suite| {
        for types in ["replica,rdonly", "primary"] {
            let told = suite.vtflow(&format!("workflow switch customer split1 --tablet-types {types} --yes"))?;
            suite.says(&format!("vtflow switches {types}"), &told, 0, &["applied"]);
        }
        reshard_cutover::stands(suite, true)
    })?;
    application.has_all(suite)?;
    application.during(suite, "vtflow", "its completion", |suite| {
        let told = suite.served("Reshard --workflow split1 --target-keyspace customer complete")?;
        suite.says("vtflow completes it", &told, 0, &["Successfully completed"]);
        Ok(())
    })?;
    suite.workflows.clear();
    let shards = suite.vtctld("FindAllShardsInKeyspace customer")?.stdout;
    let is_gone = !shards.contains(r#""80-""#) && shards.contains(r#""80-c0""#);
    suite.check("the shard that was split is gone", is_gone, || shards.clone());
    let tablets = suite.vtctld("GetTablets --keyspace customer")?.stdout;
    suite.check("so is its tablet", !tablets.contains("0000000300"), || tablets.clone());
    suite.rows("no stream is left", &[200, 400, 500], "select count(*) from _vt.vreplication", &["0"])?;
    let told = suite.vtflow("diagnose")?;
    suite.says("nothing is left behind", &told, 0, &["healthy"]);
    suite.stage("Reshard completed")?;
    application.is_all_there(suite)?;
    application.clean_up(suite)?;
    let counted = suite.cluster.vtgate("customer", "select count(*) from note")?;
    suite.check("the rows are there", counted.contains("500"), || counted.clone());
    Ok(())
}
