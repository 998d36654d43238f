//! `--rehearse`: a change on a copy of the cluster, and what came of it. The cluster itself is only read.
//!
//! Exit codes: 0 it ends healthy, 1 it is refused or does not, 2 not all could be looked at.

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use vtflow_planner::{Call, CallOptions};
use vtflow_screen::{
    Verdict,
    rehearsal::{self, Rehearsal, RehearsalVerdict},
};

use super::confirm::{Change, ChangeArgs};
use crate::{
    cli::{
        cluster::open::OpenCluster,
        duration,
        read::{diagnose, view},
    },
    observe::Observer,
    output::terminal,
    rehearse::{self, Faults, rehearse, take},
};

/// Whether a change is rehearsed, and how.
#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub(crate) struct RehearsalArgs {
    /// Perform it on a copy of the cluster in this process and show how it goes; the cluster itself is only read. With =faults also once
    /// for each thing that may go wrong on the way. Exit code 0: it ends healthy; 1: it is refused, or does not; 2: not all could be looked at
    #[arg(long, value_name = "HOW", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "once",
        conflicts_with_all = ["dry_run", "yes"])]
    rehearse: Option<How>,
    /// With --rehearse=faults: when no more is tried; what is left is said
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse, requires = "rehearse")]
    rehearse_limit: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// The change as it is
    Once,
    /// Also with each call failing, losing its answer, or being the last of its process
    Faults,
}

impl RehearsalArgs {
    pub(super) fn is_wanted(&self) -> bool {
        self.rehearse.is_some()
    }
}

/// What is rehearsed.
pub(super) struct Rehearsing {
    pub(super) keyspace: String,
    /// Empty: all of the keyspace.
    pub(super) workflow: String,
    pub(super) change: Change,
    /// Which shards it is for, and how it is shown.
    pub(super) shown: ChangeArgs,
    /// What goes the other way, by the name of its command.
    pub(super) back: Option<(&'static str, Change)>,
    pub(super) how: RehearsalArgs,
}

/// Rehearses a change.
pub(super) async fn run(cluster: &OpenCluster, wanted: Rehearsing) -> anyhow::Result<ExitCode> {
    let now = cluster.now();
    let Rehearsing { keyspace, workflow, change, shown, back, how } = wanted;
    let call = |change: Change| {
        let options = CallOptions { force: change.force, shards: shown.shards().to_vec(), ..CallOptions::default() };
        Call { path: change.path, request: change.request, options }
    };
    let back = back.map(|(command, change)| (command.to_owned(), call(change)));
    let change = rehearse::Change { keyspace, workflow, call: call(change), back };
    let perform = async |call: &Call, watcher: &dyn Observer| cluster.perform_watched(call, now, watcher).await;
    let taken = take(perform, &change, now).await.map_err(|status| anyhow::anyhow!("{}", status.message))?;
    let faults = (how.rehearse == Some(How::Faults)).then(|| Faults { limit: how.rehearse_limit, tried: progress() });
    let rehearsed = rehearse(cluster.planner.clone(), taken, change, faults).await?;
    terminal::print(&if shown.is_json() { serde_json::to_string_pretty(&rehearsed)? + "\n" } else { in_words(&rehearsed) });
    Ok(match rehearsed.verdict {
        RehearsalVerdict::Healthy => ExitCode::SUCCESS,
        RehearsalVerdict::Refused | RehearsalVerdict::NotHealthy => ExitCode::from(1),
        RehearsalVerdict::CouldNotLook => ExitCode::from(2),
    })
}

/// Says every few seconds how many faults were tried.
fn progress() -> Box<dyn Fn(usize, usize) + Send + Sync> {
    let told = Mutex::new(Instant::now());
    Box::new(move |tried, all| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= REPEAT && tried < all {
            *told = Instant::now();
            terminal::error_line(&format!("rehearsing: {tried} of {all} faults"));
        }
    })
}

/// How long nothing is said.
const REPEAT: Duration = Duration::from_secs(5);

/// A rehearsal as people read it.
fn in_words(of: &Rehearsal) -> String {
    let printable = |text: &str| text.lines().map(|line| terminal::printable(line) + "\n").collect::<String>();
    let mut out = printable(&rehearsal::text(of));
    if let Some(after) = of.after.as_ref().filter(|after| after.verdict != Verdict::Healthy) {
        out += &diagnose::show(after, terminal::width());
    }
    if let Some(faults) = &of.faults {
        out += "\n";
        out += &view::table(&rehearsal::fault_table(faults), terminal::width());
        out += "\n";
        out += &printable(&rehearsal::fault_summary(faults).join("\n"));
    }
    out
}
