//! A vtctld that dies while it switches traffic, as an application writes: vtflow says how far it came and whose lock it has left, takes
//! that away once the holder is gone, and goes on or back.

use std::{
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use super::{
    split::{CREATE, SPLIT},
    traffic::{Application, phase},
};
use crate::{
    cluster::NEW_SHARDS,
    process::wait_until,
    reads::Workflow,
    suite::Suite,
    writer::{NOTES, ORDERS},
};

const MOVE: Workflow = Workflow { keyspace: "customer", name: "move3", kind: "MoveTables" };

/// What is done with one workflow.
struct Case {
    workflow: Workflow,
    /// A table that the streams write, on one of the target's tablets: while it is locked, they cannot get to the source's position.
    held: (u32, &'static str),
    /// The source's tablet.
    source: u32,
}

/// How far the vtctld comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaches {
    /// The source takes no writes any more, and the streams are waited for.
    Closed,
    /// The journal is written.
    Journal,
}

/// What is done then.
const ROUNDS: [(Reaches, &str); 3] = [(Reaches::Closed, "switch"), (Reaches::Closed, "reverse"), (Reaches::Journal, "switch")];

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    suite.vtctld(
        "MoveTables --workflow move3 --target-keyspace customer create --source-keyspace commerce --tables customer,corder \
         --tablet-types primary",
    )?;
    let orders = Application::new(ORDERS, &[(100, "vt_commerce")], &[(200, "vt_customer"), (300, "vt_customer")]);
    dies(suite, &Case { workflow: MOVE, held: (200, "corder write"), source: 100 }, orders)?;

    suite.cluster.add_tablets(&NEW_SHARDS)?;
    suite.vtctld(CREATE)?;
    let notes = Application::new(NOTES, &[(300, "vt_customer")], &[(400, "vt_customer"), (500, "vt_customer")]);
    dies(suite, &Case { workflow: SPLIT, held: (400, "note write"), source: 300 }, notes)?;
    suite.cluster.remove_shards(&NEW_SHARDS)?;
    Ok(())
}

fn dies(suite: &mut Suite, case: &Case, mut application: Application) -> anyhow::Result<()> {
    let Workflow { keyspace, name, kind } = case.workflow;
    suite.wait_for_streams(case.workflow, "Running", 2)?;
    for (reaches, way) in ROUNDS {
        let died = if reaches == Reaches::Closed { "had closed the source" } else { "had written its journal" };
        let what = format!("{kind}, {way} after the death of a vtctld that {died}");
        application.during(suite, "vtflow", &what, |suite| {
            switch_and_die(suite, case, reaches)?;
            goes_on(suite, case, reaches, way)
        })?;
        let told = suite.vtflow(&format!("diagnose {keyspace} {name}"))?;
        suite.says("and is healthy", &told, 0, &["healthy"]);
        let status = suite.vtctld(&format!("{kind} --workflow {name} --target-keyspace {keyspace} status"))?;
        let is_back = way == "reverse";
        let state = if is_back { "Reads Not Switched. Writes Not Switched" } else { "All Reads Switched. Writes Switched" };
        let where_it_is = "and has its traffic where it should be, as the next vtctld sees it";
        suite.check(where_it_is, status.stdout.contains(state), || status.stdout.clone());
        application.has_all(suite)?;
        if !is_back {
            suite.vtflow(&format!("workflow reverse {keyspace} {name} --yes"))?.must_succeed()?;
        }
    }
    application.has_all(suite)?;
    suite.vtctld(&format!("{kind} --workflow {name} --target-keyspace {keyspace} cancel"))?;
    let told = suite.vtflow("diagnose")?;
    suite.says("nothing is left behind", &told, 0, &[]);
    application.clean_up(suite)
}

/// A vtctld that switches and is killed, and another one in its place.
fn switch_and_die(suite: &mut Suite, case: &Case, reaches: Reaches) -> anyhow::Result<()> {
    let Workflow { keyspace, name, .. } = case.workflow;
    let (uid, lock) = case.held;
    if reaches == Reaches::Closed {
        let held = suite.lock_table(uid, "vt_customer", lock)?;
        let mut client = begin(suite, case)?;
        let of = format!("{keyspace} {name}");
        wait_until("the source is closed", Duration::from_secs(30), || Ok(phase(suite, &of)? == "stopped_before_journal"))?;
        let told = suite.vtflow(&format!("workflow unlock {keyspace} {name} --yes"))?;
        suite.says("the lock of one that lives is not taken away", &told, 2, &["vtctld (process", "nothing was changed"]);
        suite.cluster.daemon("vtctld")?.kill();
        held.release()?;
        client.wait()?;
    } else {
        let mut watch = suite.watch(case.source, "select count(*) from resharding_journal")?;
        let before = watch.number()?;
        let mut client = begin(suite, case)?;
        let came = watch.rises(before, || client.try_wait().is_ok_and(|ended| ended.is_some()))?;
        suite.cluster.daemon("vtctld")?.kill();
        client.wait()?;
        suite.check("it dies right after its journal", came, String::new);
    }
    // As a lock says its second only, one that begins in the next might have taken it.
    thread::sleep(Duration::from_secs(3));
    suite.cluster.restart_vtctld()
}

fn begin(suite: &Suite, case: &Case) -> anyhow::Result<Child> {
    let Workflow { keyspace, name, kind } = case.workflow;
    let line = format!("{kind} --workflow {name} --target-keyspace {keyspace} SwitchTraffic");
    let mut command = suite.cluster.vtctldclient_command(line.split(' '));
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// What vtflow says of it and does with it.
fn goes_on(suite: &mut Suite, case: &Case, reaches: Reaches, way: &str) -> anyhow::Result<()> {
    let Workflow { keyspace, name, .. } = case.workflow;
    let told = suite.vtflow(&format!("diagnose {keyspace} {name}"))?;
    let state = if reaches == Reaches::Closed { "stopped half-way" } else { "after its journal" };
    let lock = format!("internal/named_locks/{keyspace}/{name}/locks/");
    suite.says("vtflow says how far it came, and what is locked", &told, 1, &[state, &lock, "WorkflowSwitchTraffic"]);
    let does = format!("workflow {way} {keyspace} {name} --yes");
    let told = suite.vtflow(&format!("{does} --lock-timeout 1s"))?;
    let texts = ["it is held by", "vtflow workflow unlock"];
    suite.says("it waits for the lock, and says who has it and what to do", &told, 2, &texts);
    let told = suite.vtflow(&format!("workflow unlock {keyspace} {name} --yes"))?;
    suite.says("the lock of one that is dead is taken away", &told, 0, &["no vtctld on host", "applied, 1 record"]);
    let told = suite.vtflow(&does)?;
    suite.says(&format!("and {way} is done at once"), &told, 0, &["applied"]);
    suite.report.note(&format!("{way} after it took {} ms", told.took.as_millis()));
    Ok(())
}
