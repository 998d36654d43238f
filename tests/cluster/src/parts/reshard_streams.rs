//! A shard is split and joined again while a Materialize writes to it: by vtflow and vtctld in turn, with an application that writes, and by
//! a vtflow that is killed. Its rows come all the time, wherever its streams are.

use std::time::Duration;

use super::{
    materialize::{self, SALES},
    reshard_cutover::{application, stands},
    split::{CREATE, SPLIT},
    traffic::{Application, When, finishes, kill_vtflow, phase},
};
use crate::{cluster::NEW_SHARDS, process::wait_until, suite::Suite};

/// Who switches, and who brings back, each time.
const TURNS: [(&str, &str); 3] = [("vtflow", "vtflow"), ("vtctld", "vtflow"), ("vtflow", "vtctld")];

/// When a switch is killed that is finished by the same command, and whether `reverse` takes it back instead.
const KILLED: [(When, bool); 4] = [(HELD, false), (HELD, true), (COPIED, false), (JOURNAL, false)];
const HELD: When =
    When::Rises("when the other's streams are stopped", 300, "select count(*) from vreplication where message = 'for cutover'");
const COPIED: When =
    When::Rises("when the other's streams are copied", 500, "select count(*) from vreplication where workflow = 'sales1'");
const JOURNAL: When = When::Rises("when the journal is written", 300, "select count(*) from resharding_journal");

const SWITCH: &str = "workflow switch customer split1";
const REVERSE: &str = "workflow reverse customer split1";

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    materialize::create(suite, SALES)?;
    suite.cluster.add_tablets(&NEW_SHARDS)?;
    suite.vtctld(CREATE)?;
    suite.workflows = vec![SPLIT];
    suite.wait_for_streams(SPLIT, "Running", 2)?;
    let (mut application, mut sold) = (application(), 0);
    for (forth, back) in TURNS {
        for (who, is_switched) in [(forth, true), (back, false)] {
            let what = if is_switched { "switched beside another's streams" } else { "reversed beside another's streams" };
            let told = application.during(suite, who, what, |suite| by(suite, who, is_switched))?;
            suite.check(&format!("{what} by {who}"), told.code == Some(0), || told.report());
            settled(suite, &application, is_switched, &mut sold)?;
        }
    }
    application.tell_pauses(suite);
    for (when, is_taken_back) in KILLED {
        killed(suite, &mut application, when, is_taken_back)?;
        settled(suite, &application, !is_taken_back, &mut sold)?;
        if !is_taken_back {
            suite.vtflow(&format!("{REVERSE} --yes"))?.must_succeed()?;
            settled(suite, &application, false, &mut sold)?;
        }
    }
    let told = suite.served("Reshard --workflow split1 --target-keyspace customer cancel")?;
    suite.says("cancelled by vtflow", &told, 0, &["Successfully cancelled"]);
    suite.vtflow("workflow delete customer sales1 --yes")?.must_succeed()?;
    suite.workflows.clear();
    suite.rows("no stream is left", &[200, 300, 400, 500], "select count(*) from _vt.vreplication", &["0"])?;
    suite.cluster.remove_shards(&NEW_SHARDS)?;
    suite.cluster.vtgate("commerce", "delete from product where sku like 'sku-beside-%'")?;
    application.clean_up(suite)
}

fn by(suite: &Suite, who: &str, is_switched: bool) -> anyhow::Result<crate::tools::Ran> {
    match (who, is_switched) {
        ("vtflow", true) => suite.vtflow(&format!("{SWITCH} --yes")),
        ("vtflow", false) => suite.vtflow(&format!("{REVERSE} --yes")),
        (_, is_switched) => {
            let verb = if is_switched { "SwitchTraffic" } else { "ReverseTraffic" };
            suite.vtctld(&format!("Reshard --workflow split1 --target-keyspace customer {verb}"))
        }
    }
}

fn killed(suite: &mut Suite, application: &mut Application, when: When, is_taken_back: bool) -> anyhow::Result<()> {
    let (line, who) = if is_taken_back { (REVERSE, "vtflow's way back") } else { (SWITCH, "vtflow") };
    let what = format!("beside another's streams, killed {}", when.name());
    application.during(suite, who, &what, |suite| {
        let was_killed = kill_vtflow(suite, SWITCH, when)?;
        let phase = phase(suite, "customer split1")?;
        suite.check(&format!("{what}, before it ends: {phase}"), was_killed, String::new);
        finishes(suite, &format!("{what}: finished by {who}"), |suite| suite.vtflow(&format!("{line} --yes")));
        Ok(())
    })
}

/// The traffic, the other's streams and its rows are where they should be.
fn settled(suite: &mut Suite, application: &Application, is_switched: bool, sold: &mut u32) -> anyhow::Result<()> {
    stands(suite, is_switched)?;
    application.has_all(suite)?;
    let (on, off): (&[u32], &[u32]) = if is_switched { (&[200, 400, 500], &[300]) } else { (&[200, 300], &[400, 500]) };
    let of = "from _vt.vreplication where workflow = 'sales1'";
    suite.rows("the other's streams run where the rows are", on, &format!("select state {of}"), &["Running"])?;
    suite.rows("and nowhere else", off, &format!("select count(*) {of}"), &["0"])?;
    *sold += 1;
    let row = format!("insert into product values ('sku-beside-{sold}', 'while a shard was split', {sold})");
    suite.cluster.vtgate("commerce", &row)?;
    let sums = |suite: &Suite, keyspace: &str, table: &str| -> anyhow::Result<String> {
        let told = suite.cluster.vtgate(keyspace, &format!("select count(*), sum(price) from {table}"))?;
        Ok(told.lines().nth(1).unwrap_or_default().to_owned())
    };
    let mut seen = [String::new(), String::new()];
    let came = wait_until("its rows come", Duration::from_secs(30), || {
        seen = [sums(suite, "commerce", "product")?, sums(suite, "customer", "sales")?];
        Ok(seen[0] == seen[1])
    });
    suite
        .report
        .check("the other's rows are all there, none lost and none doubled", came.err().map(|it| format!("{it}: {seen:?}")));
    Ok(())
}
