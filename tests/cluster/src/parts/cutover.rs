//! Traffic switched by vtflow, there and back and there again, while an application writes all the time; and by vtctld beside it.

use std::{thread, time::Duration};

use crate::{process::wait_until, reads::Workflow, suite::Suite, writer::Writer};

const MOVE: Workflow = Workflow { keyspace: "customer", name: "move2", kind: "MoveTables" };
const REVERSE: Workflow = Workflow { keyspace: "commerce", name: "move2_reverse", kind: "MoveTables" };

/// The number of the first order that the application writes.
const FIRST: u64 = 1_000_000;

/// How often each of the two programs switches, and goes back.
const TIMES: usize = 5;

/// How long the application writes before and after a switch.
const AROUND: Duration = Duration::from_millis(700);

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    suite.vtctld(
        "MoveTables --workflow move2 --target-keyspace customer create --source-keyspace commerce --tables customer,corder \
         --tablet-types primary",
    )?;
    suite.workflows = vec![MOVE];
    suite.wait_for_streams(MOVE, "Running", 2)?;

    let mut next = FIRST;
    let mut outages: Vec<(&str, &str, Duration, u64)> = Vec::new();
    for _ in 0..TIMES {
        for who in ["vtflow", "vtctld"] {
            for direction in ["SwitchTraffic", "ReverseTraffic"] {
                let line = format!(
                    "MoveTables --workflow move2 --target-keyspace customer {direction} --max-replication-lag-allowed 30s"
                );
                let writer = Writer::start(&suite.cluster, next);
                thread::sleep(AROUND);
                let told = match who {
                    "vtflow" => suite.served(&line),
                    _ => suite.vtctld(&line),
                };
                thread::sleep(AROUND);
                let written = writer.stop()?;
                next += written.rows;
                let told = told?;
                let is_ours = who == "vtflow";
                if is_ours {
                    suite.says(&format!("{direction} by vtflow"), &told, 0, &["was successful"]);
                }
                let what = format!("{direction} by {who}: an application that writes is told nothing but to try again");
                let odd: Vec<&String> = written.texts.iter().filter(|text| !is_refusal(text)).collect();
                suite.check(&what, odd.is_empty(), || format!("{odd:?}"));
                outages.push((who, direction, written.longest, written.refused));
                has_all(suite, next, direction == "SwitchTraffic")?;
            }
        }
    }
    for direction in ["SwitchTraffic", "ReverseTraffic"] {
        for who in ["vtflow", "vtctld"] {
            let of = |outage: &&(&str, &str, Duration, u64)| outage.0 == who && outage.1 == direction;
            let times: Vec<String> = outages
                .iter()
                .filter(of)
                .map(|(_, _, longest, refused)| format!("{} ms ({refused} refused)", longest.as_millis()))
                .collect();
            suite.report.note(&format!("{direction} by {who}, the longest pause between two rows: {}", times.join(", ")));
        }
    }
    suite.served("MoveTables --workflow move2 --target-keyspace customer SwitchTraffic")?;
    suite.workflows = vec![MOVE, REVERSE];
    suite.stage("switched by vtflow")?;
    suite.vtctld("MoveTables --workflow move2 --target-keyspace customer ReverseTraffic")?;
    suite.vtctld("MoveTables --workflow move2 --target-keyspace customer cancel")?;
    suite.workflows.clear();
    suite.cluster.vtgate("commerce", &format!("delete from corder where order_id >= {FIRST}"))?;
    Ok(())
}

/// What vtgate and tablets say while a table has no place that takes writes.
fn is_refusal(text: &str) -> bool {
    ["denied table", "enforce denied tables", "disallowed due to rule", "not serving", "is locked", "Lock wait timeout"]
        .iter()
        .any(|part| text.contains(part))
}

/// Every row that the application was told is written is there once: on the side that serves, and soon on the other.
fn has_all(suite: &mut Suite, next: u64, has_switched: bool) -> anyhow::Result<()> {
    let sql =
        format!("select count(*), count(distinct order_id), min(order_id), max(order_id) from corder where order_id >= {FIRST}");
    let count = next - FIRST;
    let wanted = format!("{count}\t{count}\t{FIRST}\t{}", next - 1);
    let told = suite.cluster.vtgate("commerce", &sql)?;
    suite.check(&format!("{count} rows are there, none lost and none doubled"), told.lines().nth(1) == Some(&wanted), || {
        told.clone()
    });
    let other: &[(u32, &str)] =
        if has_switched { &[(100, "vt_commerce")] } else { &[(200, "vt_customer"), (300, "vt_customer")] };
    let sum = format!("select count(*) from corder where order_id >= {FIRST}");
    let what = format!("{count} rows are on the other side");
    let followed = wait_until(&what, Duration::from_secs(30), || {
        let mut rows = 0;
        for (uid, database) in other {
            let told = suite.cluster.mysql(*uid, database, &sum)?;
            rows += told.lines().nth(1).and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(rows == count)
    });
    suite.report.check(&what, followed.err().map(|error| error.to_string()));
    Ok(())
}
