//! MoveTables, from its copy to its completion, by vtctld; vtflow looks on, stops and changes it, and completes it.

use crate::{reads::Workflow, suite::Suite};

const MOVE: Workflow = Workflow { keyspace: "customer", name: "move1", kind: "MoveTables" };
const REVERSE: Workflow = Workflow { keyspace: "commerce", name: "move1_reverse", kind: "MoveTables" };

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    suite.vtctld(
        "MoveTables --workflow move1 --target-keyspace customer create --source-keyspace commerce --tables customer,corder \
         --tablet-types primary --auto-start=false",
    )?;
    suite.workflows = vec![MOVE];
    suite.wait_for_streams(MOVE, "Stopped", 2)?;
    suite.stage("MoveTables created")?;
    let lock = suite.lock_table(100, "vt_commerce", "customer write")?;
    suite.vtctld("Workflow --keyspace customer start --workflow move1")?;
    suite.wait_for_streams(MOVE, "Copying", 2)?;
    suite.stage("MoveTables copying")?;
    let told = suite.vtflow("get workflows customer")?;
    // A stream that waits for the lock writes nothing, not even that it is alive: that, too, is told.
    suite.says("vtflow says that it copies", &told, 0, &["move1", "0 rows, 1 left"]);
    lock.release()?;
    suite.wait_for_streams(MOVE, "Running", 2)?;
    suite.stage("MoveTables running")?;

    suite.vtctld("MoveTables --workflow move1 --target-keyspace customer SwitchTraffic --tablet-types replica,rdonly")?;
    suite.stage("MoveTables reads switched")?;
    suite.vtctld("MoveTables --workflow move1 --target-keyspace customer SwitchTraffic")?;
    suite.workflows = vec![MOVE, REVERSE];
    suite.stage("MoveTables switched")?;
    suite.vtctld("MoveTables --workflow move1 --target-keyspace customer ReverseTraffic")?;
    suite.stage("MoveTables reversed")?;
    suite.vtctld("MoveTables --workflow move1 --target-keyspace customer SwitchTraffic")?;
    let told = suite.served("MoveTables --workflow move1 --target-keyspace customer complete")?;
    suite.says("completed by vtflow", &told, 0, &["Successfully completed"]);
    suite.workflows.clear();
    let tables = "select count(*) from information_schema.tables where table_schema = 'vt_commerce' and table_name in ('corder', 'customer')";
    suite.rows("the source's tables are gone", &[100], tables, &["0"])?;
    suite.stage("MoveTables completed")?;
    Ok(())
}
