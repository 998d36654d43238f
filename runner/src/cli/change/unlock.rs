//! `vtflow workflow unlock KEYSPACE NAME`: takes away what a dead vtctld has left locked. What proves that it is dead is the planner's
//! business; what runs on this host is found out here. The way of it is `confirm.rs`.

use std::fs;

use clap::Args;
use gethostname::gethostname;
use prost::Message;
use vtflow_planner::{
    proto::vtflow::{HostProcess, UnlockHost, UnlockRequest},
    rpc,
};

use super::confirm::{Change, ChangeArgs, ConfirmArgs};

#[derive(Args, Clone, Debug)]
pub(crate) struct UnlockArgs {
    /// The keyspace of the lock: the target's, of a way back the source's
    keyspace: String,
    /// The workflow's name in the lock: of a way back, with _reverse
    name: String,
    /// Do it without a proof that whoever holds it is gone
    #[arg(long)]
    force: bool,
    /// Print the plan and change nothing; with -o json it is what `vtflow apply` takes
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

impl UnlockArgs {
    /// The request, and how it is decided on.
    pub(crate) fn change(self) -> (Change, ChangeArgs) {
        let request = UnlockRequest { keyspace: self.keyspace, workflow: self.name, host: this_host() }.encode_to_vec();
        let change = Change { path: rpc::UNLOCK.into(), request, force: self.force, word: None };
        (change, ChangeArgs::whole(self.dry_run, self.confirm))
    }
}

/// The number of the process namespace that has all processes of a machine. Source: Linux, `include/linux/proc_ns.h`.
const ALL_PROCESSES: &str = "pid:[4026531836]";

/// Ticks of a second in `/proc`, on every machine that Linux runs on for people.
const TICKS: i64 = 100;

/// What runs here that may hold a lock of vtctld's; `None` unless every process of this machine can be seen.
fn this_host() -> Option<UnlockHost> {
    let name = gethostname().into_string().ok().filter(|name| !["", "localhost", "unknown"].contains(&name.as_str()))?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    // In a container there are others that are not seen from there. Where a process shows itself to its own user only, the first one
    // cannot be read.
    if namespace.to_str() != Some(ALL_PROCESSES) || fs::read("/proc/1/stat").is_err() || hides_processes()? {
        return None;
    }
    let booted = fs::read_to_string("/proc/stat").ok()?;
    let booted: i64 = booted.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").ok()? {
        let entry = entry.ok()?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i64>().ok()) else { continue };
        // One that has ended meanwhile holds nothing.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        processes.extend(process(pid, &stat, booted));
    }
    processes.sort_by_key(|it| it.pid);
    Some(UnlockHost { name, processes })
}

/// Whether `/proc` is mounted so that it hides the processes of other users.
fn hides_processes() -> Option<bool> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut options = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next()? == "/proc").then(|| words.nth(1))?
    });
    Some(
        options
            .next_back()?
            .split(',')
            .any(|option| option.starts_with("hidepid=") && !["hidepid=0", "hidepid=off"].contains(&option)),
    )
}

/// A process from its line in `/proc`, if it is one that may hold a lock of vtctld's and has not ended.
fn process(pid: i64, stat: &str, booted: i64) -> Option<HostProcess> {
    let (start, fields) = stat.rsplit_once(')')?;
    let name = start.split_once('(')?.1;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // The state is the third field, the beginning the 22nd.
    let ticks: i64 = fields.nth(18)?.parse().ok()?;
    (locks_workflows(name) && state != "Z").then(|| HostProcess { name: name.into(), pid, since: booted + ticks / TICKS })
}

/// Whether a program of this name takes locks of workflows: vtctld, those that have one in them (vtcombo, vttestserver, `vtctldclient --server
/// internal`), and whatever of Vitess is not known to be none. Names are cut to 15 bytes. A vtflow's locks are told from these.
fn locks_workflows(name: &str) -> bool {
    let others = ["vttablet", "vtgate", "vtorc", "vtadmin", "vtbackup", "vtexplain", "vtflow"];
    name.starts_with("vt") && !others.iter().any(|other| name.starts_with(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_those_that_may_hold_a_lock() {
        let stat = |name: &str, state: &str| {
            format!(
                "123 ({name}) {state} 1 123 123 0 -1 4194304 100 0 0 0 5 3 0 0 20 0 8 0 4250 1000000 800 18446744073709551615"
            )
        };
        let found = process(123, &stat("vtctld", "S"), 1_000);
        assert_eq!(found, Some(HostProcess { name: "vtctld".into(), pid: 123, since: 1_042 }));
        for (name, state, want) in [
            ("vtctldclient", "R", true),
            ("vtcombo", "S", true),
            ("vt) odd (name", "S", true),
            ("vtctld", "Z", false),
            ("vttablet", "S", false),
            ("vtflow", "S", false),
            ("sh", "S", false),
        ] {
            assert_eq!(process(123, &stat(name, state), 0).is_some(), want, "{name} {state}");
        }
        assert_eq!(process(1, "1 (vtctld) S", 0), None);
    }
}
