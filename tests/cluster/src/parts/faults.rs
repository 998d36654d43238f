//! What vtflow says while a part of the cluster is stopped, killed or cut off, and after it is back: it answers within its deadlines,
//! names what is missing, and says nothing is well that it could not read. Signals and cut connections are real.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::Signal;
use serde_json::Value;

use super::{
    materialize::{SALES, create},
    online_ddl::{migrate, wait_for},
};
use crate::{
    cluster::VTFLOW,
    process::wait_until,
    relay::Network,
    suite::{Suite, states},
    tools::Ran,
};

/// What is missing, and how it shows.
struct Fault {
    name: &'static str,
    begin: fn(&mut Suite) -> anyhow::Result<()>,
    end: fn(&mut Suite) -> anyhow::Result<()>,
    missing: Missing,
}

/// What vtflow cannot know.
#[derive(Clone, Copy)]
enum Missing {
    /// The streams and migrations of shard `80-`, whose primary is tablet 300.
    OneShard,
    /// Anything.
    Everything,
}

/// The longest that a command may take: a read of the topology has 5 s, a call of a tablet 10 s, and one of them may follow the
/// other, twice where a second table is read of it.
const LONGEST: Duration = Duration::from_secs(32);

const FAULTS: [Fault; 12] = [
    Fault {
        name: "vttablet stopped",
        begin: |suite| signal(suite, "vttablet-300", Signal::STOP),
        end: |suite| signal(suite, "vttablet-300", Signal::CONT),
        missing: Missing::OneShard,
    },
    Fault {
        name: "vttablet killed",
        begin: |suite| kill(suite, "vttablet-300"),
        end: |suite| restart(suite, "vttablet-300"),
        missing: Missing::OneShard,
    },
    Fault {
        name: "mysqld stopped",
        begin: |suite| signal(suite, "mysqld-300", Signal::STOP),
        end: |suite| signal(suite, "mysqld-300", Signal::CONT),
        missing: Missing::OneShard,
    },
    Fault { name: "mysqld killed", begin: |suite| kill(suite, "mysqld-300"), end: restart_mysqld, missing: Missing::OneShard },
    Fault {
        name: "tablet's network silent",
        begin: |suite| network(suite, Network::Silent),
        end: |suite| network(suite, Network::Open),
        missing: Missing::OneShard,
    },
    Fault {
        name: "tablet's network refusing",
        begin: |suite| network(suite, Network::Refusing),
        end: |suite| network(suite, Network::Open),
        missing: Missing::OneShard,
    },
    Fault {
        name: "the cell's etcd stopped",
        begin: |suite| signal(suite, "etcd-zone2", Signal::STOP),
        end: |suite| signal(suite, "etcd-zone2", Signal::CONT),
        missing: Missing::OneShard,
    },
    Fault {
        name: "the cell's etcd killed",
        begin: |suite| kill(suite, "etcd-zone2"),
        end: |suite| restart(suite, "etcd-zone2"),
        missing: Missing::OneShard,
    },
    Fault {
        name: "the global etcd stopped",
        begin: |suite| signal(suite, "etcd-global", Signal::STOP),
        end: |suite| signal(suite, "etcd-global", Signal::CONT),
        missing: Missing::Everything,
    },
    Fault {
        name: "the global etcd killed",
        begin: |suite| kill(suite, "etcd-global"),
        end: |suite| restart(suite, "etcd-global"),
        missing: Missing::Everything,
    },
    Fault {
        name: "the topology's network silent",
        begin: |suite| topo_network(suite, Network::Silent),
        end: |suite| topo_network(suite, Network::Open),
        missing: Missing::Everything,
    },
    Fault {
        name: "the topology's network refusing",
        begin: |suite| topo_network(suite, Network::Refusing),
        end: |suite| topo_network(suite, Network::Open),
        missing: Missing::Everything,
    },
];

fn signal(suite: &mut Suite, name: &str, signal: Signal) -> anyhow::Result<()> {
    suite.cluster.daemon(name)?.signal(signal);
    Ok(())
}

fn kill(suite: &mut Suite, name: &str) -> anyhow::Result<()> {
    suite.cluster.daemon(name)?.kill();
    Ok(())
}

fn restart(suite: &mut Suite, name: &str) -> anyhow::Result<()> {
    suite.cluster.restart(name)
}

/// MySQL comes back read only, under a tablet that takes itself for a primary: what can be changed is not known before it is tried.
fn restart_mysqld(suite: &mut Suite) -> anyhow::Result<()> {
    suite.cluster.restart("mysqld-300")?;
    wait_until("MySQL answers", Duration::from_secs(60), || Ok(suite.cluster.mysql(300, "", "select 1").is_ok()))?;
    wait_until("the tablet has its MySQL again", Duration::from_secs(60), || {
        Ok(suite.cluster.vtctldclient(SHOW)?.code == Some(0))
    })?;
    let told = suite.vtflow("workflow stop customer sales1 --yes")?;
    let parts =
        ["zone1-0000000200: applied, 1 row", "zone2-0000000300: not applied", "--read-only", "1 of 2 changes not applied"];
    suite.says("a write that one MySQL refuses is told of as it is", &told, 1, &parts);
    let state = "select state from _vt.vreplication where workflow = 'sales1'";
    suite.rows("it was made where it is said to be", &[200], state, &["Stopped"])?;
    suite.rows("and not where it is not", &[300], state, &["Running"])?;
    suite.vtctld("SetWritable zone2-0000000300 true")?;
    let told = suite.vtflow("workflow start customer sales1 --yes")?;
    suite.says("it is undone when both can write", &told, 0, &["applied"]);
    Ok(())
}

fn network(suite: &mut Suite, network: Network) -> anyhow::Result<()> {
    suite.cluster.tablet(300)?.network(network);
    Ok(())
}

fn topo_network(suite: &mut Suite, network: Network) -> anyhow::Result<()> {
    suite.cluster.topo_relay.as_ref().context("a relay of the topology")?.set(network);
    Ok(())
}

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    create(suite, SALES)?;
    suite.workflows = vec![SALES];
    let migration = migrate(suite, "vitess --postpone-completion", "alter table note add column z int")?;
    wait_for(suite, &migration, "running", "and ready_to_complete = 1")?;
    // Connections are there when they are cut.
    suite.stage("before all faults")?;
    for fault in &FAULTS {
        (fault.begin)(suite)?;
        let seen = look(suite, fault);
        let ended = (fault.end)(suite);
        seen?;
        ended?;
        recovers(suite, fault.name)?;
        suite.short_stage(&format!("after {}", fault.name))?;
    }
    // On the shard whose tablet was killed it may have failed by now: then there is nothing to cancel there.
    suite.cluster.vtctldclient(["OnlineDDL", "cancel", "customer", &migration])?;
    suite.vtctld("Workflow --keyspace customer delete --workflow sales1 --keep-data --keep-routing-rules")?;
    suite.workflows.clear();
    Ok(())
}

/// What vtflow says meanwhile: every question at once, so that a fault does not take the sum of all deadlines.
fn look(suite: &mut Suite, fault: &Fault) -> anyhow::Result<()> {
    let name = fault.name;
    let lines = ["get workflows customer", "get migrations customer", "describe workflow customer sales1", "get workflows"];
    let cluster = &suite.cluster;
    let (told, served) = thread::scope(|scope| {
        let told: Vec<_> = lines.iter().map(|line| scope.spawn(move || cluster.vtflow(line.split(' ')))).collect();
        let served = scope.spawn(move || cluster.vtctldclient_of_vtflow(VTFLOW, SHOW));
        let told: Vec<_> = told.into_iter().map(join).collect();
        (told, join(served))
    });
    let told = told.into_iter().collect::<anyhow::Result<Vec<Ran>>>()?;
    let served = served?;
    let longest = told.iter().chain([&served]).map(|ran| ran.took).max().unwrap_or_default();
    suite.check(&format!("{name}: every answer comes in time"), longest < LONGEST, || format!("{:.1} s", longest.as_secs_f64()));
    suite.report.note(&format!("{name}: the last answer came after {:.1} s", longest.as_secs_f64()));

    let (code, named): (i32, &[&str]) = match fault.missing {
        Missing::OneShard => (1, &["80-", "zone2-0000000300"]),
        Missing::Everything => (2, &[]),
    };
    for (line, ran) in lines.iter().zip(&told) {
        // The overview of all keyspaces names keyspaces.
        let named = if *line == "get workflows" && code == 1 { &["customer"] } else { named };
        suite.says(&format!("{name}: {line} names what is missing"), ran, code, named);
        let claimed = ["2 Running", "2 of 2", " well"].iter().find(|claim| ran.stdout.contains(**claim));
        suite.check(&format!("{name}: {line} claims nothing of it"), claimed.is_none(), || ran.report());
    }
    match fault.missing {
        Missing::OneShard => {
            suite.check(
                &format!("{name}: a client of vtflow can tell one shard from the other"),
                stream_states(&served) == ["Running", "Unknown"],
                || served.report(),
            );
        }
        Missing::Everything => {
            suite.check(&format!("{name}: a client of vtflow is told that nothing is known"), served.code == Some(1), || {
                served.report()
            });
        }
    }
    // A write that cannot see all of its targets changes none of them.
    let told = suite.vtflow("workflow stop customer sales1 --yes")?;
    let shard: &[&str] = if code == 1 { &["nothing was changed; name the other shards to leave 80- out"] } else { &[] };
    suite.says(&format!("{name}: a write is refused"), &told, 2, shard);
    suite.check(&format!("{name}: that, too, in time"), told.took < LONGEST, || told.report());
    let state = "select state from _vt.vreplication where workflow = 'sales1'";
    suite.rows(&format!("{name}: nothing was changed on the shard that is there"), &[200], state, &["Running"])
}

const SHOW: [&str; 6] = ["Workflow", "--keyspace", "customer", "show", "--workflow", "sales1"];

fn stream_states(shown: &Ran) -> Vec<String> {
    let mut found = serde_json::from_str(&shown.stdout).map(|reply: Value| states(&reply)).unwrap_or_default();
    found.sort();
    found
}

fn join(worker: thread::ScopedJoinHandle<'_, anyhow::Result<Ran>>) -> anyhow::Result<Ran> {
    worker.join().unwrap_or_else(|_| anyhow::bail!("a thread has ended"))
}

/// Waits until vtctld sees everything again, and then only shortly for vtflow.
fn recovers(suite: &mut Suite, name: &str) -> anyhow::Result<()> {
    let whole = ["Running", "Running"];
    wait_until(&format!("vtctld sees the whole again after {name}"), Duration::from_secs(90), || {
        Ok(stream_states(&suite.cluster.vtctldclient(SHOW)?) == whole)
    })?;
    let started = Instant::now();
    let back = wait_until("vtflow sees the whole again", Duration::from_secs(15), || {
        Ok(stream_states(&suite.cluster.vtctldclient_of_vtflow(VTFLOW, SHOW)?) == whole)
    });
    suite.report.check(&format!("{name}: over, vtflow sees the whole again"), back.err().map(|error| error.to_string()));
    suite.report.note(&format!("{name}: {:.1} s after vtctld did", started.elapsed().as_secs_f64()));
    Ok(())
}
