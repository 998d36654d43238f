//! Reshard of one of two shards into two, on tablets that are added for it, by vtctld; vtflow looks on.

use std::time::Instant;

use crate::{
    cluster::{NEW_SHARDS, seconds},
    reads::Workflow,
    suite::Suite,
};

const SPLIT: Workflow = Workflow { keyspace: "customer", name: "split1", kind: "Reshard" };
const REVERSE: Workflow = Workflow { keyspace: "customer", name: "split1_reverse", kind: "Reshard" };

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let started = Instant::now();
    suite.cluster.add_tablets(&NEW_SHARDS)?;
    suite.report.note(&format!("two more primaries after {:.1} s", seconds(started)));
    suite.stage("new shards")?;
    let told = suite.vtflow("get shards customer")?;
    suite.says("vtflow says which shards serve", &told, 0, &["80-c0", "c0-"]);

    suite.vtctld("Reshard --workflow split1 --target-keyspace customer create --source-shards 80- --target-shards 80-c0,c0- --tablet-types primary")?;
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
    suite.stage("Reshard cancelled")
}
