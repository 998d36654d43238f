//! Traffic of tables switched by vtflow, there and back and there again, while an application writes all the time; and by vtctld beside
//! it.

use std::time::Duration;

use super::traffic::{Application, When, finishes, kill_vtflow, phase};
use crate::{reads::Workflow, suite::Suite, writer::ORDERS};

const MOVE: Workflow = Workflow { keyspace: "customer", name: "move2", kind: "MoveTables" };
const REVERSE: Workflow = Workflow { keyspace: "commerce", name: "move2_reverse", kind: "MoveTables" };

/// How often each of the two programs switches, and goes back.
const TIMES: usize = 5;

/// When switches are killed, in milliseconds: one takes about 700.
const KILLED_AFTER_MS: [u64; 8] = [220, 380, 420, 460, 500, 540, 600, 660];

/// Which of them is finished by vtctld.
const BY_VTCTLD: usize = 3;

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    suite.vtctld(
        "MoveTables --workflow move2 --target-keyspace customer create --source-keyspace commerce --tables customer,corder \
         --tablet-types primary",
    )?;
    suite.workflows = vec![MOVE];
    suite.wait_for_streams(MOVE, "Running", 2)?;

    let mut application = Application::new(ORDERS, &[(100, "vt_commerce")], &[(200, "vt_customer"), (300, "vt_customer")]);
    for _ in 0..TIMES {
        for who in ["vtflow", "vtctld"] {
            for direction in ["SwitchTraffic", "ReverseTraffic"] {
                let line = format!(
                    "MoveTables --workflow move2 --target-keyspace customer {direction} --max-replication-lag-allowed 30s"
                );
                let told = application.during(suite, who, direction, |suite| match who {
                    "vtflow" => suite.served(&line),
                    _ => suite.vtctld(&line),
                })?;
                if who == "vtflow" {
                    suite.says(&format!("{direction} by vtflow"), &told, 0, &["was successful"]);
                }
                application.has_all(suite)?;
            }
        }
    }
    application.tell_pauses(suite);
    // vtctld writes and shows one stream's cells for all: from here on all have the same.
    suite.vtctld("Workflow --keyspace customer update --workflow move2 --cells zone1,zone2")?;
    suite.served("MoveTables --workflow move2 --target-keyspace customer SwitchTraffic")?;
    suite.workflows = vec![MOVE, REVERSE];
    suite.stage("switched by vtflow")?;
    suite.vtctld("MoveTables --workflow move2 --target-keyspace customer ReverseTraffic")?;
    suite.workflows = vec![MOVE];
    killed(suite, &mut application)?;
    let told = suite.served("MoveTables --workflow move2 --target-keyspace customer cancel")?;
    suite.says("cancelled by vtflow", &told, 0, &["Successfully cancelled"]);
    suite.workflows.clear();
    let tables = "select count(*) from information_schema.tables where table_schema = 'vt_customer' and table_name in ('corder', 'customer')";
    suite.rows("the copies are gone", &[200, 300], tables, &["0"])?;
    suite.rows("so are the streams", &[100, 200, 300], "select count(*) from _vt.vreplication", &["0"])?;
    let told = suite.vtflow("diagnose")?;
    suite.says("nothing is left behind", &told, 0, &[]);
    suite.stage("cancelled by vtflow")?;
    application.clean_up(suite)
}

/// Switches are killed, each a little later, and finished by the same command, or by vtctld; then the traffic goes back.
fn killed(suite: &mut Suite, application: &mut Application) -> anyhow::Result<()> {
    let switch = "workflow switch customer move2";
    for (round, after) in KILLED_AFTER_MS.into_iter().enumerate() {
        let who = if round == BY_VTCTLD { "vtctld" } else { "vtflow" };
        let what = format!("a switch that is killed after {after} ms");
        application.during(suite, &format!("{who} in the end"), &what, |suite| {
            let was_killed = kill_vtflow(suite, switch, When::After(Duration::from_millis(after)))?;
            let phase = phase(suite, "customer move2")?;
            suite.report.note(&format!("killed after {after} ms: {was_killed}; then: {phase}"));
            finishes(suite, &format!("{what} is finished by {who}"), |suite| match who {
                "vtctld" => {
                    let line = "MoveTables --workflow move2 --target-keyspace customer SwitchTraffic";
                    suite.cluster.vtctldclient(line.split(' '))
                }
                _ => suite.vtflow(&format!("{switch} --yes")),
            });
            Ok(())
        })?;
        let told = suite.vtflow("diagnose customer move2")?;
        suite.says("and is healthy", &told, 0, &[]);
        let status = suite.vtctld("MoveTables --workflow move2 --target-keyspace customer status")?;
        let has_state = status.stdout.contains("All Reads Switched. Writes Switched");
        suite.check("and is switched, as vtctld sees it", has_state, || status.stdout.clone());
        application.has_all(suite)?;
        suite.vtflow("workflow reverse customer move2 --yes")?.must_succeed()?;
        application.has_all(suite)?;
    }
    Ok(())
}
