//! Traffic switched by vtflow, there and back and there again, while an application writes all the time; and by vtctld beside it.

use std::{process::Stdio, thread, time::Duration};

use crate::{process::wait_until, reads::Workflow, suite::Suite, writer::Writer};

const MOVE: Workflow = Workflow { keyspace: "customer", name: "move2", kind: "MoveTables" };
const REVERSE: Workflow = Workflow { keyspace: "commerce", name: "move2_reverse", kind: "MoveTables" };

/// The number of the first order that the application writes.
const FIRST: u64 = 1_000_000;

/// How often each of the two programs switches, and goes back.
const TIMES: usize = 5;

/// When switches are killed, in milliseconds: one takes about 700.
const KILLED_AFTER_MS: [u64; 8] = [220, 380, 420, 460, 500, 540, 600, 660];

/// Which of them is finished by vtctld.
const BY_VTCTLD: usize = 3;

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
    // vtctld writes and shows one stream's cells for all: from here on all have the same.
    suite.vtctld("Workflow --keyspace customer update --workflow move2 --cells zone1,zone2")?;
    suite.served("MoveTables --workflow move2 --target-keyspace customer SwitchTraffic")?;
    suite.workflows = vec![MOVE, REVERSE];
    suite.stage("switched by vtflow")?;
    suite.vtctld("MoveTables --workflow move2 --target-keyspace customer ReverseTraffic")?;
    suite.workflows = vec![MOVE];
    next = killed(suite, next)?;
    suite.check("something was written", next > FIRST, String::new);
    let told = suite.served("MoveTables --workflow move2 --target-keyspace customer cancel")?;
    suite.says("cancelled by vtflow", &told, 0, &["Successfully cancelled"]);
    suite.workflows.clear();
    let tables = "select count(*) from information_schema.tables where table_schema = 'vt_customer' and table_name in ('corder', 'customer')";
    suite.rows("the copies are gone", &[200, 300], tables, &["0"])?;
    suite.rows("so are the streams", &[100, 200, 300], "select count(*) from _vt.vreplication", &["0"])?;
    let told = suite.vtflow("diagnose")?;
    suite.says("nothing is left behind", &told, 0, &[]);
    suite.stage("cancelled by vtflow")?;
    // A tablet changes ten thousand rows at once at most.
    for last in (FIRST..next).step_by(5_000).map(|first| first + 5_000) {
        suite.cluster.vtgate("commerce", &format!("delete from corder where order_id between {FIRST} and {last}"))?;
    }
    Ok(())
}

/// Switches are killed, each a little later, and finished by the same command, or by vtctld; then the traffic goes back. The number of
/// the next row.
fn killed(suite: &mut Suite, mut next: u64) -> anyhow::Result<u64> {
    for (round, after) in KILLED_AFTER_MS.into_iter().enumerate() {
        let writer = Writer::start(&suite.cluster, next);
        let mut command = suite.cluster.vtflow_command(["workflow", "switch", "customer", "move2", "--yes"])?;
        let mut switch = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        thread::sleep(Duration::from_millis(after));
        let _ = switch.kill();
        let was_killed = !switch.wait()?.success();
        let seen = suite.vtflow("diagnose customer move2")?;
        let phase = seen.stdout.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
        let by_vtctld = round == BY_VTCTLD;
        let what =
            format!("a switch that was killed after {after} ms is finished by {}", if by_vtctld { "vtctld" } else { "vtflow" });
        // The lock of the dead one ends with its lease.
        let ended = wait_until(&what, Duration::from_secs(60), || {
            let told = if by_vtctld {
                suite.cluster.vtctldclient("MoveTables --workflow move2 --target-keyspace customer SwitchTraffic".split(' '))?
            } else {
                suite.vtflow("workflow switch customer move2 --yes")?
            };
            Ok(told.code == Some(0) || told.stderr.contains("already switched"))
        });
        suite.report.note(&format!("killed after {after} ms: {was_killed}; then: {phase}"));
        suite.report.check(&what, ended.err().map(|error| error.to_string()));
        let told = suite.vtflow("diagnose customer move2")?;
        suite.says("and is healthy", &told, 0, &[]);
        let status = suite.vtctld("MoveTables --workflow move2 --target-keyspace customer status")?;
        let has_state = status.stdout.contains("All Reads Switched. Writes Switched");
        suite.check("and is switched, as vtctld sees it", has_state, || status.stdout.clone());
        thread::sleep(AROUND);
        let written = writer.stop()?;
        next += written.rows;
        suite.report.note(&format!(
            "the longest pause between two rows: {} ms ({} refused)",
            written.longest.as_millis(),
            written.refused
        ));
        has_all(suite, next, true)?;
        suite.vtflow("workflow reverse customer move2 --yes")?.must_succeed()?;
        has_all(suite, next, false)?;
    }
    Ok(next)
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
