//! What all parts do: look at every read at a stage, and at what vtflow's own commands say.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, VTFLOW, seconds},
    compare,
    reads::{self, Workflow},
    report::Report,
    tools::Ran,
};

/// A cluster that runs, and what was found on it.
pub(crate) struct Suite {
    pub(crate) cluster: Cluster,
    pub(crate) report: Report,
    /// Workflows that are there now.
    pub(crate) workflows: Vec<Workflow>,
    /// Where snapshots are saved, a folder for each stage.
    pub(crate) snapshots: PathBuf,
}

/// How often two clients are run again that did not see the same: between the two, something may have changed.
const TRIES: u32 = 6;

/// How often a snapshot is saved that shows something else than the cluster does a moment later.
const SAVES: u32 = 4;

impl Suite {
    /// One thing that was looked at.
    pub(crate) fn check(&mut self, what: &str, is_so: bool, otherwise: impl FnOnce() -> String) {
        self.report.check(what, (!is_so).then(otherwise));
    }

    /// A program's output has each of these texts, and it ended with this code.
    pub(crate) fn says(&mut self, what: &str, ran: &Ran, code: i32, texts: &[&str]) {
        let missing = texts.iter().find(|text| !ran.stdout.contains(**text) && !ran.stderr.contains(**text));
        let wrong = match missing {
            _ if ran.code != Some(code) => Some(format!("not exit code {code}: {}", ran.report())),
            Some(missing) => Some(format!("not said: {missing:?} by {}", ran.report())),
            None => None,
        };
        self.report.check(what, wrong);
    }

    /// Runs vtctldclient against vtctld; it must end well.
    pub(crate) fn vtctld(&self, line: &str) -> anyhow::Result<Ran> {
        self.cluster.vtctldclient(line.split(' '))?.must_succeed()
    }

    /// Runs vtctldclient against the vtflow that serves; it must end well.
    pub(crate) fn served(&self, line: &str) -> anyhow::Result<Ran> {
        self.cluster.vtctldclient_of_vtflow(VTFLOW, line.split(' '))?.must_succeed()
    }

    /// A query on tablets' MySQL gives just these lines, on each of them.
    pub(crate) fn rows(&mut self, what: &str, uids: &[u32], sql: &str, wanted: &[&str]) -> anyhow::Result<()> {
        let mut wrong = Vec::new();
        for uid in uids {
            let told = self.cluster.mysql(*uid, "", sql)?;
            let lines: Vec<&str> = told.lines().skip(1).collect();
            if lines != wanted {
                wrong.push(format!("on tablet {uid}, {sql}: {lines:?} and not {wanted:?}"));
            }
        }
        self.report.check(what, (!wrong.is_empty()).then(|| wrong.join("\n")));
        Ok(())
    }

    /// Runs vtflow's command line.
    pub(crate) fn vtflow(&self, line: &str) -> anyhow::Result<Ran> {
        self.cluster.vtflow(line.split(' '))
    }

    /// Waits until a workflow's streams are all in a state, as vtctld tells.
    pub(crate) fn wait_for_streams(&self, workflow: Workflow, state: &str, count: usize) -> anyhow::Result<()> {
        let what = format!("{count} streams of {}.{} are {state}", workflow.keyspace, workflow.name);
        crate::process::wait_until(&what, Duration::from_secs(60), || {
            let ran = self.vtctld(&format!("Workflow --keyspace {} show --workflow {}", workflow.keyspace, workflow.name))?;
            let states = states(&serde_json::from_str(&ran.stdout)?);
            Ok(states.len() == count && states.iter().all(|found| found == state))
        })?;
        Ok(())
    }

    /// Everything that can be read at this moment is the same by vtflow and by vtctld; what vtflow's own commands say is the same
    /// too; and a snapshot of it shows the same again.
    pub(crate) fn stage(&mut self, name: &str) -> anyhow::Result<()> {
        self.look(name, |_| true)
    }

    /// The same of what tablets are asked for alone.
    pub(crate) fn short_stage(&mut self, name: &str) -> anyhow::Result<()> {
        let of_tablets = ["GetWorkflows", "Workflow", "Materialize", "OnlineDDL", "VDiff", "LegacyVtctlCommand", "GetVersion"];
        self.look(name, |command| of_tablets.contains(&command))
    }

    fn look(&mut self, name: &str, takes: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        let shards: Vec<(&str, &str)> = self
            .cluster
            .tablets
            .iter()
            .filter(|tablet| tablet.place.is_primary)
            .map(|tablet| (tablet.place.keyspace, tablet.place.shard))
            .collect();
        let aliases: Vec<String> = self.cluster.tablets.iter().map(|tablet| tablet.place.alias()).collect();
        let mut commands = reads::commands(&shards, &aliases, &self.workflows);
        commands.retain(|words| words.first().is_some_and(|word| takes(word)));
        let (mut equal, mut again, mut different, mut printed) = (0, 0, Vec::new(), Vec::new());
        for words in &commands {
            let ours = |words: &[String]| self.cluster.vtctldclient_of_vtflow(VTFLOW, words.iter().map(String::as_str));
            match self.same(words, ours)? {
                Seen { difference: None, tries, theirs } => {
                    equal += 1;
                    again += u32::from(tries > 1);
                    if is_of_workflows(words) && !self.workflows.is_empty() {
                        printed.push(json!({"args": words, "stdout": theirs.stdout}));
                    }
                }
                Seen { difference: Some(difference), .. } => different.push(format!("{}: {difference}", words.join(" "))),
            }
        }
        let what = format!("{name}: {} reads of vtctldclient by vtflow are as by vtctld", commands.len());
        let wrong = (!different.is_empty()).then(|| format!("{equal} are, these are not\n{}", different.join("\n")));
        self.report.check(&what, wrong);
        self.own_reads(name)?;
        self.snapshot(name, &printed)?;
        self.report.note(&format!("{again} of the reads were done again, {:.1} s", seconds(started)));
        Ok(())
    }

    /// Runs a command against vtctld and by another way, at the same time, until both say the same.
    fn same(&self, words: &[String], other: impl Fn(&[String]) -> anyhow::Result<Ran> + Sync) -> anyhow::Result<Seen> {
        let mut tries = 1;
        loop {
            let (theirs, ours) = thread::scope(|scope| {
                let theirs = scope.spawn(|| self.cluster.vtctldclient(words.iter().map(String::as_str)));
                let ours = other(words);
                (theirs.join(), ours)
            });
            let theirs = theirs.map_err(|_| anyhow::anyhow!("a thread has ended"))??;
            let difference = compare::difference(&theirs, &ours?);
            if difference.is_none() || tries == TRIES {
                return Ok(Seen { difference, tries, theirs });
            }
            thread::sleep(Duration::from_millis(100 * u64::from(tries)));
            tries += 1;
        }
    }

    /// What vtflow's own commands print as JSON is what vtctldclient prints.
    fn own_reads(&mut self, name: &str) -> anyhow::Result<()> {
        let mut pairs = vec![
            ("GetKeyspaces".to_owned(), "get keyspaces -o json".to_owned()),
            ("GetTablets --format json".to_owned(), "get tablets -o json".to_owned()),
        ];
        for keyspace in ["commerce", "customer"] {
            pairs.extend([
                (format!("GetWorkflows {keyspace} --show-all --include-logs=false"), format!("get workflows {keyspace} -o json")),
                (format!("GetWorkflows {keyspace} --show-all"), format!("get workflows {keyspace} --logs -o json")),
                (format!("OnlineDDL show {keyspace} --json"), format!("get migrations {keyspace} -o json")),
                (format!("FindAllShardsInKeyspace {keyspace}"), format!("get shards {keyspace} -o json")),
            ]);
        }
        for workflow in &self.workflows {
            let Workflow { keyspace, name, .. } = workflow;
            pairs.push((
                format!("VDiff --workflow {name} --target-keyspace {keyspace} show last --format json"),
                format!("get vdiff {keyspace} {name} -o json"),
            ));
        }
        let mut different = Vec::new();
        for (theirs, ours) in &pairs {
            let words: Vec<String> = theirs.split(' ').map(str::to_owned).collect();
            if let Some(difference) = self.same(&words, |_| self.vtflow(ours))?.difference {
                different.push(format!("{ours}: {difference}"));
            }
        }
        let what = format!("{name}: {} commands of vtflow print what vtctldclient prints", pairs.len());
        self.report.check(&what, (!different.is_empty()).then(|| different.join("\n")));
        Ok(())
    }

    /// A snapshot is saved, and shows what is there. What vtctldclient printed of vtctld is put beside it, as in `tests/snapshots`.
    fn snapshot(&mut self, name: &str, printed: &[Value]) -> anyhow::Result<()> {
        let folder = self.snapshots.join(name.replace([' ', ':', ','], "-"));
        fs::create_dir_all(&self.snapshots)?;
        let mut wrong = self.saved(&folder)?;
        for _ in 1..SAVES {
            if wrong.is_none() {
                break;
            }
            // What changed between the two is no difference.
            thread::sleep(Duration::from_secs(1));
            fs::remove_dir_all(&folder)?;
            wrong = self.saved(&folder)?;
        }
        if !printed.is_empty() {
            fs::create_dir_all(folder.join("expect"))?;
            fs::write(folder.join("expect/vtctldclient.json"), serde_json::to_string_pretty(printed)? + "\n")?;
        }
        self.report.check(&format!("{name}: a snapshot shows what is there"), wrong);
        Ok(())
    }

    /// Saves a snapshot; what it shows otherwise than the cluster itself does.
    fn saved(&self, folder: &Path) -> anyhow::Result<Option<String>> {
        let path = folder.display().to_string();
        let saved = self.cluster.vtflow(["snapshot", "save", &path, "commerce", "customer"])?;
        if saved.code != Some(0) {
            return Ok(Some(saved.report()));
        }
        let mut different = Vec::new();
        for line in ["get workflows customer -o json", "get workflows commerce -o json", "get migrations customer -o json"] {
            let live = self.vtflow(line)?;
            let recorded = self.cluster.vtflow_on_snapshot(folder, line.split(' '))?;
            let difference = if live.code == recorded.code {
                compare::texts(&live.stdout, &recorded.stdout)
            } else {
                Some(format!("{}\n{}", live.report(), recorded.report()))
            };
            different.extend(difference.map(|difference| format!("{line}: {difference}")));
        }
        Ok((!different.is_empty()).then(|| different.join("\n")))
    }
}

/// What came of a command that two programs were asked for.
struct Seen {
    difference: Option<String>,
    tries: u32,
    theirs: Ran,
}

/// Whether a command reads all workflows of a keyspace, or how one is doing, as JSON.
fn is_of_workflows(words: &[String]) -> bool {
    let has = |word: &str| words.iter().any(|given| given == word);
    has("GetWorkflows") && has("--include-logs=false") || has("status") && has("--format") && !has("nosuch")
}

/// The states of all streams in a reply of GetWorkflows.
pub(crate) fn states(reply: &Value) -> Vec<String> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let workflows = list(reply, "workflows");
    let shards = workflows.iter().filter_map(|workflow| workflow["shard_streams"].as_object()).flat_map(|shards| shards.values());
    shards
        .flat_map(|shard| list(shard, "streams"))
        .map(|stream| stream["state"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// A session that asks a tablet's MySQL one question again and again, a thousand times in a second.
pub(crate) struct Watch {
    session: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    sql: &'static str,
}

impl Watch {
    /// The number that the query gives now.
    pub(crate) fn number(&mut self) -> anyhow::Result<u64> {
        writeln!(self.input, "{};", self.sql)?;
        let mut line = String::new();
        loop {
            line.clear();
            anyhow::ensure!(self.output.read_line(&mut line)? > 0, "cannot be asked: {}", self.sql);
            if let Ok(number) = line.trim().parse() {
                return Ok(number);
            }
        }
    }

    /// Waits until the number is a greater one than `before`; whether it came to that before `is_over` did.
    pub(crate) fn rises(&mut self, before: u64, mut is_over: impl FnMut() -> bool) -> anyhow::Result<bool> {
        while self.number()? <= before {
            if is_over() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}

impl Suite {
    /// Begins to watch a number on a tablet.
    pub(crate) fn watch(&self, uid: u32, sql: &'static str) -> anyhow::Result<Watch> {
        let mut session = self.cluster.tablet(uid)?.mysql.session(&self.cluster.settings, "_vt").spawn()?;
        let (input, output) = (session.stdin.take().context("its input")?, session.stdout.take().context("its output")?);
        Ok(Watch { session, input, output: BufReader::new(output), sql })
    }
}

/// A table that is locked by a session of its own: nobody copies it meanwhile.
pub(crate) struct TableLock {
    session: Child,
}

impl Suite {
    /// Locks a table on a tablet's MySQL; `lock` is its name and `read` or `write`.
    pub(crate) fn lock_table(&self, uid: u32, database: &str, lock: &str) -> anyhow::Result<TableLock> {
        let mut command = self.cluster.tablet(uid)?.mysql.session(&self.cluster.settings, database);
        let mut session = command.spawn()?;
        let mut input = session.stdin.take().context("its input")?;
        writeln!(input, "lock tables {lock}; select 'locked';")?;
        let mut line = String::new();
        let mut output = BufReader::new(session.stdout.as_mut().context("its output")?);
        while !line.contains("locked\n") {
            line.clear();
            anyhow::ensure!(output.read_line(&mut line)? > 0, "cannot be locked: {lock}");
        }
        session.stdin = Some(input);
        Ok(TableLock { session })
    }
}

impl TableLock {
    /// Ends the session, and the lock with it.
    pub(crate) fn release(mut self) -> anyhow::Result<()> {
        drop(self.session.stdin.take());
        self.session.wait()?;
        Ok(())
    }
}
