//! What the parts that move traffic share: an application that writes all the time, what it was told, how long it was held up, and
//! where its rows are.

use std::{process::Stdio, thread, time::Duration};

use anyhow::Context;
use serde_json::Value;

use crate::{
    process::wait_until,
    suite::Suite,
    tools::Ran,
    writer::{Rows, Writer, Written},
};

/// The number of the first row that the application writes.
const FIRST: u64 = 1_000_000;

/// How long the application writes before and after what is done meanwhile.
const AROUND: Duration = Duration::from_millis(700);

/// How many rows are deleted at once: a tablet changes ten thousand at most.
const DELETED_AT_ONCE: usize = 5_000;

/// Tablets with the same rows as others on the other side, with their databases.
pub(super) type Side = &'static [(u32, &'static str)];

/// The application.
pub(super) struct Application {
    rows: Rows,
    /// Where the rows that move are, before and after.
    sides: [Side; 2],
    next: u64,
    outages: Vec<Outage>,
}

/// How long it was held up by one change.
struct Outage {
    what: String,
    longest: Duration,
    refused: u64,
}

impl Application {
    pub(super) fn new(rows: Rows, source: Side, target: Side) -> Self {
        Self { rows, sides: [source, target], next: FIRST, outages: Vec::new() }
    }

    /// Does something while it writes; `who` and `what` are for the table of its pauses. It may be told nothing but to try again.
    pub(super) fn during<T>(
        &mut self,
        suite: &mut Suite,
        who: &str,
        what: &str,
        act: impl FnOnce(&mut Suite) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let writer = Writer::start(&suite.cluster, self.rows, self.next);
        thread::sleep(AROUND);
        let done = act(suite);
        thread::sleep(AROUND);
        let Written { rows, refused, texts, longest } = writer.stop()?;
        self.next += rows;
        let done = done?;
        let odd: Vec<&String> = texts.iter().filter(|text| !is_refusal(text)).collect();
        let told = format!("{what} by {who}: an application that writes is told nothing but to try again");
        suite.check(&told, odd.is_empty(), || format!("{odd:?}"));
        let pause = longest.as_millis();
        suite.report.note(&format!("{what} by {who}: the longest pause between two rows was {pause} ms ({refused} refused)"));
        self.outages.push(Outage { what: format!("{what} by {who}"), longest, refused });
        Ok(done)
    }

    /// The pauses, a line for each kind of change.
    pub(super) fn tell_pauses(&mut self, suite: &mut Suite) {
        self.outages.sort_by(|a, b| a.what.cmp(&b.what));
        for of_one in self.outages.chunk_by(|a, b| a.what == b.what) {
            let Some(first) = of_one.first() else { continue };
            let pause = |it: &Outage| format!("{} ms ({} refused)", it.longest.as_millis(), it.refused);
            let pauses: Vec<String> = of_one.iter().map(pause).collect();
            suite.report.note(&format!("{}, the longest pause between two rows: {}", first.what, pauses.join(", ")));
        }
        self.outages.clear();
    }

    /// Every row that it was told is written is there once, as an application reads them.
    pub(super) fn is_all_there(&self, suite: &mut Suite) -> anyhow::Result<()> {
        let Rows { keyspace, table, key, .. } = self.rows;
        let count = self.next - FIRST;
        let of = format!("from {table} where {key} >= {FIRST}");
        let told = suite
            .cluster
            .vtgate(keyspace, &format!("select count(*), count(distinct {key}), min({key}), max({key}), sum({key}) {of}"))?;
        let last = self.next - 1;
        let wanted = format!("{count}\t{count}\t{FIRST}\t{last}\t{}", count * (FIRST + last) / 2);
        suite.check(&format!("{count} rows are there, none lost and none doubled"), told.lines().nth(1) == Some(&wanted), || {
            format!("{told} and not {wanted}")
        });
        Ok(())
    }

    /// That, and both sides soon have the same rows.
    pub(super) fn has_all(&self, suite: &mut Suite) -> anyhow::Result<()> {
        self.is_all_there(suite)?;
        let Rows { table, key, sum, .. } = self.rows;
        let of = format!("from {table} where {key} >= {FIRST}");
        let sql = format!("select count(*), coalesce({sum}, 0) {of}");
        let summed = |side: Side| -> anyhow::Result<(u64, u64)> {
            let mut sums = (0, 0);
            for (uid, database) in side {
                let told = suite.cluster.mysql(*uid, database, &sql)?;
                let mut cells =
                    told.lines().nth(1).unwrap_or_default().split('\t').map(|cell| cell.parse::<u64>().unwrap_or_default());
                sums.0 += cells.next().unwrap_or_default();
                sums.1 += cells.next().unwrap_or_default();
            }
            Ok(sums)
        };
        let mut seen = [(0, 0); 2];
        let what = "both sides have the same rows";
        let followed = wait_until(what, Duration::from_secs(30), || {
            let [source, target] = self.sides;
            seen = [summed(source)?, summed(target)?];
            Ok(seen[0] == seen[1])
        });
        suite.report.check(
            &format!("{what}, {} of them by now", seen[0].0),
            followed.err().map(|error| format!("{error}: rows and sums are {seen:?}")),
        );
        Ok(())
    }

    /// Deletes its rows.
    pub(super) fn clean_up(&self, suite: &Suite) -> anyhow::Result<()> {
        let Rows { keyspace, table, key, .. } = self.rows;
        for first in (FIRST..self.next).step_by(DELETED_AT_ONCE) {
            let last = first + DELETED_AT_ONCE as u64 - 1;
            suite.cluster.vtgate(keyspace, &format!("delete from {table} where {key} between {first} and {last}"))?;
        }
        Ok(())
    }
}

/// What vtgate and tablets say while a table has no place that takes writes.
fn is_refusal(text: &str) -> bool {
    let of_tables = ["denied table", "enforce denied tables", "disallowed due to rule", "is locked", "Lock wait timeout"];
    let of_shards = ["current keyspace is being resharded", "not serving", "not allowed in state", "no healthy tablet"];
    of_tables.iter().chain(&of_shards).any(|part| text.contains(part))
}

/// The lease of the locks of a vtflow that is to be killed, so that nobody has to wait for its end for long.
const SHORT_LEASE: &str = "--topo-etcd-lease-ttl=3";

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// So long after it was begun.
    After(Duration),
    /// As soon as a number is greater on a tablet than it was before.
    Rises(&'static str, u32, &'static str),
}

impl When {
    pub(super) fn name(self) -> String {
        match self {
            Self::After(after) => format!("after {} ms", after.as_millis()),
            Self::Rises(name, ..) => name.to_owned(),
        }
    }
}

/// Runs vtflow's command line and kills it in the middle; whether it had not ended by then.
pub(super) fn kill_vtflow(suite: &Suite, line: &str, when: When) -> anyhow::Result<bool> {
    let words = line.split(' ').chain(["--yes", SHORT_LEASE]);
    let mut command = suite.cluster.vtflow_command(words)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = match when {
        When::After(after) => {
            let child = command.spawn()?;
            thread::sleep(after);
            child
        }
        When::Rises(_, uid, sql) => {
            let mut watch = suite.watch(uid, sql)?;
            let before = watch.number()?;
            let mut child = command.spawn()?;
            watch.rises(before, || child.try_wait().is_ok_and(|ended| ended.is_some()))?;
            child
        }
    };
    let _ = child.kill();
    Ok(!child.wait()?.success())
}

/// The phase that a workflow is in, as vtflow diagnoses it: `stopped_before_journal`.
pub(super) fn phase(suite: &Suite, workflow: &str) -> anyhow::Result<String> {
    let told = suite.vtflow(&format!("diagnose {workflow} -o json"))?;
    let found: Value = serde_json::from_str(&told.stdout).with_context(|| told.report())?;
    Ok(found["workflows"][0]["phase"].as_str().unwrap_or_default().to_owned())
}

/// A command ends well, or says that there is nothing left to do, within a minute: the locks of a dead process end with their leases.
pub(super) fn finishes(suite: &mut Suite, what: &str, command: impl Fn(&Suite) -> anyhow::Result<Ran>) {
    let mut last = None;
    let ended = wait_until(what, Duration::from_secs(60), || {
        let told = command(suite)?;
        let is_done = told.code == Some(0) || told.stderr.contains("already switched");
        last = (!is_done).then(|| told.report());
        Ok(is_done)
    });
    suite.report.check(what, ended.err().map(|error| format!("{error}: {}", last.unwrap_or_default())));
}
