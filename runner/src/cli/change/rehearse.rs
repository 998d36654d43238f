//! `--rehearse`: a change on a copy of the cluster, and what came of it. The cluster itself is only read.
//!
//! Exit codes: 0 it ends healthy, 1 it is refused or does not, 2 not all could be looked at.

use std::process::ExitCode;

use vtflow_planner::{Call, CallOptions};
use vtflow_screen::{
    Verdict,
    rehearsal::{self, RehearsalVerdict},
};

use super::confirm::{Change, ChangeArgs};
use crate::{
    cli::{cluster::open::OpenCluster, read::diagnose},
    observe::Observer,
    output::terminal,
    rehearse::{self, rehearse, take},
};

/// Rehearses a change of a workflow's traffic.
///
/// `of`: its keyspace and its name.
pub(super) async fn run(
    cluster: &OpenCluster,
    of: (String, String),
    (change, how): (Change, ChangeArgs),
) -> anyhow::Result<ExitCode> {
    let now = cluster.now();
    let options = CallOptions { force: change.force, ..CallOptions::default() };
    let call = Call { path: change.path, request: change.request, options };
    let change = rehearse::Change { keyspace: of.0, workflow: of.1, call };
    let perform = async |call: &Call, watcher: &dyn Observer| cluster.perform_watched(call, now, watcher).await;
    let taken = take(perform, &change, now).await.map_err(|status| anyhow::anyhow!("{}", status.message))?;
    let rehearsed = rehearse(cluster.planner.clone(), taken, change).await?;
    if how.is_json() {
        terminal::print(&(serde_json::to_string_pretty(&rehearsed)? + "\n"));
    } else {
        let lines = rehearsal::text(&rehearsed);
        terminal::print(&lines.lines().map(|line| terminal::printable(line) + "\n").collect::<String>());
        if let Some(after) = rehearsed.after.as_ref().filter(|after| after.verdict != Verdict::Healthy) {
            terminal::print(&diagnose::show(after, terminal::width()));
        }
    }
    Ok(match rehearsed.verdict {
        RehearsalVerdict::Healthy => ExitCode::SUCCESS,
        RehearsalVerdict::Refused | RehearsalVerdict::NotHealthy => ExitCode::from(1),
        RehearsalVerdict::CouldNotLook => ExitCode::from(2),
    })
}
