//! Traffic of shards switched by vtflow, there and back and there again, while an application writes all the time; by vtctld beside it,
//! whose records are the measure; and by a vtflow that is killed.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    split::{CREATE, REVERSE, SPLIT},
    traffic::{Application, When, finishes, kill_vtflow, phase},
};
use crate::{cluster::NEW_SHARDS, compare, suite::Suite, tools::Ran, writer::NOTES};

/// How often each of the two programs switches and goes back: once reads first and writes then, else at once.
const TIMES: usize = 5;

/// Who finishes a switch that was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    /// vtflow, by the same command.
    Again,
    /// vtflow, by the way back.
    Back,
    Vtctld,
}

/// When switches are killed, and what follows. The time is short enough for the release build, which has switched all after 400 ms.
const KILLED: [(When, Finish); 7] = [
    (When::After(Duration::from_millis(200)), Finish::Again),
    (STOPPED, Finish::Again),
    (STOPPED, Finish::Back),
    (
        When::Rises(
            "when the reverse streams are made",
            300,
            "select count(*) from vreplication where workflow = 'split1_reverse' and message != 'FROZEN'",
        ),
        Finish::Again,
    ),
    (JOURNAL, Finish::Again),
    (JOURNAL, Finish::Vtctld),
    (
        When::Rises("when the streams are frozen", 400, "select count(*) from vreplication where message = 'FROZEN'"),
        Finish::Again,
    ),
];
const STOPPED: When =
    When::Rises("when the streams are stopped", 400, "select count(*) from vreplication where message = 'stopped for cutover'");
const JOURNAL: When = When::Rises("when the journal is written", 300, "select count(*) from resharding_journal");

/// The same of the way back, finished by the same command.
const KILLED_BACK: [When; 2] = [
    When::Rises("when the streams are stopped", 300, "select count(*) from vreplication where message = 'stopped for cutover'"),
    When::Rises("when the journal is written", 500, "select count(*) from resharding_journal"),
];

/// A change of traffic, with what the command line of each program says for it.
struct Change {
    name: &'static str,
    vtflow: &'static str,
    vtctld: &'static str,
}

const READS: Change = Change {
    name: "reads switched",
    vtflow: "workflow switch customer split1 --tablet-types replica,rdonly",
    vtctld: "SwitchTraffic --tablet-types replica,rdonly",
};
const WRITES: Change = Change {
    name: "writes switched after them",
    vtflow: "workflow switch customer split1 --tablet-types primary",
    vtctld: "SwitchTraffic --tablet-types primary",
};
const ALL: Change = Change { name: "switched at once", vtflow: "workflow switch customer split1", vtctld: "SwitchTraffic" };
const BACK: Change = Change { name: "reversed", vtflow: "workflow reverse customer split1", vtctld: "ReverseTraffic" };

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    suite.cluster.add_tablets(&NEW_SHARDS)?;
    suite.vtctld(CREATE)?;
    suite.workflows = vec![SPLIT];
    suite.wait_for_streams(SPLIT, "Running", 2)?;
    let mut application = application();
    let mut records: BTreeMap<(usize, &str), Value> = BTreeMap::new();
    for round in 0..TIMES {
        // What vtctld leaves is looked at first, and what vtflow leaves is held to it.
        for who in ["vtctld", "vtflow"] {
            let changes = if round == 0 { [READS, WRITES, BACK].as_slice() } else { [ALL, BACK].as_slice() };
            for change in changes {
                let told = application.during(suite, who, change.name, |suite| by(suite, who, change))?;
                suite.check(&format!("{} by {who}", change.name), told.code == Some(0), || told.report());
                application.has_all(suite)?;
                let told = suite.vtflow("diagnose customer split1")?;
                suite.says("diagnose says that it is healthy", &told, 0, &["healthy"]);
                if round < 2 {
                    let found = topology(suite)?;
                    match records.get(&(round, change.name)) {
                        Some(theirs) if who == "vtflow" => {
                            let difference = compare::values(theirs.clone(), found);
                            let what = format!("{}: the records are those that vtctld leaves", change.name);
                            suite.report.check(&what, difference);
                        }
                        _ => drop(records.insert((round, change.name), found)),
                    }
                }
            }
        }
    }
    application.tell_pauses(suite);
    killed(suite, &mut application)?;

    let told = suite.vtflow("workflow switch customer split1 --yes")?;
    suite.says("switched by vtflow", &told, 0, &["applied"]);
    suite.workflows = vec![SPLIT, REVERSE];
    suite.stage("Reshard switched by vtflow")?;
    suite.vtflow("workflow reverse customer split1 --yes")?.must_succeed()?;
    let told = suite.served("Reshard --workflow split1 --target-keyspace customer cancel")?;
    suite.says("cancelled by vtflow", &told, 0, &["Successfully cancelled"]);
    suite.workflows.clear();
    suite.rows("no stream is left", &[200, 300, 400, 500], "select count(*) from _vt.vreplication", &["0"])?;
    let told = suite.vtflow("diagnose")?;
    suite.says("nothing is left behind", &told, 0, &[]);
    suite.cluster.remove_shards(&NEW_SHARDS)?;
    application.clean_up(suite)
}

/// An application whose rows are on all shards of the keyspace.
pub(super) fn application() -> Application {
    Application::new(NOTES, &[(300, "vt_customer")], &[(400, "vt_customer"), (500, "vt_customer")])
}

fn by(suite: &Suite, who: &str, change: &Change) -> anyhow::Result<Ran> {
    match who {
        "vtflow" => suite.vtflow(&format!("{} --yes", change.vtflow)),
        _ => suite.vtctld(&format!(
            "Reshard --workflow split1 --target-keyspace customer {} --max-replication-lag-allowed 30s",
            change.vtctld
        )),
    }
}

/// The records that say where the traffic goes: of the shards, and of what the cells serve.
fn topology(suite: &Suite) -> anyhow::Result<Value> {
    let mut found = serde_json::Map::new();
    let shards = ["-80", "80-", "80-c0", "c0-"].map(|shard| format!("GetShard customer/{shard}"));
    for line in
        shards.into_iter().chain(["GetSrvKeyspaces customer", "GetShardRoutingRules", "GetRoutingRules"].map(str::to_owned))
    {
        let told = suite.vtctld(&line)?;
        found.insert(line, serde_json::from_str(&told.stdout)?);
    }
    Ok(Value::Object(found))
}

/// Switches and ways back are killed, and finished.
fn killed(suite: &mut Suite, application: &mut Application) -> anyhow::Result<()> {
    for (when, finish) in KILLED {
        kill_and_finish(suite, application, &ALL, when, finish)?;
        if finish != Finish::Back {
            suite.vtflow(&format!("{} --yes", BACK.vtflow))?.must_succeed()?;
        }
    }
    for when in KILLED_BACK {
        suite.vtflow(&format!("{} --yes", ALL.vtflow))?.must_succeed()?;
        kill_and_finish(suite, application, &BACK, when, Finish::Again)?;
    }
    Ok(())
}

fn kill_and_finish(
    suite: &mut Suite,
    application: &mut Application,
    change: &Change,
    when: When,
    finish: Finish,
) -> anyhow::Result<()> {
    let what = format!("{} and killed {}", change.name, when.name());
    let who = match finish {
        Finish::Again => "vtflow",
        Finish::Back => "vtflow's way back",
        Finish::Vtctld => "vtctld",
    };
    application.during(suite, who, &what, |suite| {
        let was_killed = kill_vtflow(suite, change.vtflow, when)?;
        let phase = phase(suite, "customer split1")?;
        suite.check(&format!("{what}, before it ends: {phase}"), was_killed, String::new);
        let next = if finish == Finish::Back { &BACK } else { change };
        finishes(suite, &format!("{what}: finished by {who}"), |suite| match finish {
            Finish::Vtctld => {
                let line = format!("Reshard --workflow split1 --target-keyspace customer {} {ANY_LAG}", next.vtctld);
                suite.cluster.vtctldclient(line.split(' '))
            }
            _ => suite.vtflow(&format!("{} --yes", next.vtflow)),
        });
        Ok(())
    })?;
    stands(suite, change.name == ALL.name && finish != Finish::Back)?;
    application.has_all(suite)
}

/// Streams that stand still are behind for vtctld.
const ANY_LAG: &str = "--max-replication-lag-allowed 60s";

/// The workflow is healthy, and has its traffic on the target, or not at all.
pub(super) fn stands(suite: &mut Suite, is_switched: bool) -> anyhow::Result<()> {
    let told = suite.vtflow("diagnose customer split1")?;
    suite.says("and is healthy", &told, 0, &["healthy"]);
    let status = suite.vtctld("Reshard --workflow split1 --target-keyspace customer status")?;
    let state = if is_switched { "All Reads Switched. Writes Switched" } else { "Reads Not Switched. Writes Not Switched" };
    let what = "and has its traffic where it should be, as vtctld sees it";
    suite.check(what, status.stdout.contains(state), || status.stdout.clone());
    Ok(())
}
