//! Who holds the locks of a workflow, and whether the process behind one can still be alive.
//!
//! vtctld keeps a workflow's own lock for the whole of a command, with a lease of a day that outlives its process; keyspaces it locks for
//! most of that time, with leases of seconds to minutes. So a workflow's lock that stands alone for long is nobody's any more. Facts:
//! `go/vt/topo/named_lock.go`, `etcd2topo/lock.go`, `go/vt/vtctl/workflow/server.go`, v21 to v24.

use serde::Deserialize;

use super::{
    deviation::{Deviation, Mechanism as M},
    evidence::{Evidence, Lock},
    phase::Facts,
    repair::{self, Action},
    routing::Unknown,
};
use crate::{
    formats::time,
    proto::vtflow::{HostProcess, UnlockHost},
};

/// Whether the process that holds a lock can still be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Its lease would have ended soon after the process.
    Alive,
    /// It may be.
    MayBeAlive,
    /// It would hold other locks, too.
    Gone,
}

impl Process {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::MayBeAlive => "may_be_alive",
            Self::Gone => "gone",
        }
    }
}

/// Seconds after which vtctld's lease on a workflow's own lock ends by itself.
pub const NAMED_LEASE_SECONDS: i64 = 24 * 60 * 60;

/// Seconds for which a switch of traffic can be without a lock on a keyspace: while it refreshes tablets, and between reads and writes.
/// Twice the longest of them together.
const ALONE_SECONDS: i64 = 10 * 60;

/// What vtctld writes into a lock. Source: `go/vt/topo/locks.go:Lock`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Contents {
    action: String,
    host_name: String,
    user_name: String,
    time: String,
    /// Of a vtflow's, its name; Vitess writes none.
    program: String,
}

/// What vtflow writes into its locks as their program.
pub const PROGRAM: &str = "vtflow";

/// A lock from its node and what is in it.
pub(crate) fn read(path: &str, value: &[u8]) -> Lock {
    let contents: Contents = serde_json::from_slice(value).unwrap_or_default();
    Lock {
        path: path.into(),
        action: contents.action,
        holder: format!("{}@{}", contents.user_name, contents.host_name),
        since: seconds(&contents.time).unwrap_or_default(),
        is_kept_alive: contents.program == PROGRAM,
    }
}

/// RFC 3339, as Go prints it.
fn seconds(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once('T')?;
    let at = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(at)?;
    let ahead = match zone.split_once(':') {
        None => 0,
        Some((hours, minutes)) => {
            let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
            hours * 3_600 + if zone.starts_with('-') { -minutes } else { minutes } * 60
        }
    };
    time::parse_datetime(&format!("{date} {clock}")).ok().map(|seconds| seconds - ahead)
}

/// Whether a lock's process can still be alive, at `now` in Unix seconds, with the other locks of the workflow in view.
pub fn process(lock: &Lock, all: &[Lock], now: i64) -> Process {
    if !lock.is_named() || lock.is_kept_alive {
        return Process::Alive;
    }
    // Other commands work for long without a keyspace's lock: deleting a tenant's rows, dropping large tables.
    let is_switch = lock.action == "WorkflowSwitchTraffic";
    let is_alone = all.iter().all(Lock::is_named);
    let is_old = lock.since > 0 && now.saturating_sub(lock.since) > ALONE_SECONDS;
    if is_switch && is_alone && is_old { Process::Gone } else { Process::MayBeAlive }
}

/// What is known of a host: all processes there that may hold a lock of vtctld's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// As the content of a lock names it.
    pub name: String,
    /// Their names, numbers, and when they began, in Unix seconds.
    pub processes: Vec<(String, i64, i64)>,
}

impl From<UnlockHost> for Host {
    fn from(host: UnlockHost) -> Self {
        let process = |it: HostProcess| (it.name, it.pid, it.since);
        Self { name: host.name, processes: host.processes.into_iter().map(process).collect() }
    }
}

/// Seconds by which the beginning of a process may be another one than it is counted as: it is told in ticks since the machine's own, which
/// is a whole second.
const CLOCK_SECONDS: i64 = 1;

/// What proves that the process that took a lock is gone, at `now` in Unix seconds, with all other locks in view.
///
/// # Errors
/// Why nothing does.
pub fn gone(lock: &Lock, all: &[Lock], host: Option<&Host>, now: i64) -> Result<String, String> {
    if process(lock, all, now) == Process::Gone {
        return Ok("it stands alone for longer than any switch of traffic does".into());
    }
    if lock.since <= 0 {
        return Err("it does not say since when it stands".into());
    }
    let on = lock.holder.rsplit_once('@').map_or("", |(_, host)| host);
    let Some(host) = host.filter(|host| !on.is_empty() && host.name == on) else {
        return Err(format!("whether its holder lives can be seen on host {on} only"));
    };
    let older = host.processes.iter().filter(|(_, _, since)| *since <= lock.since.saturating_add(CLOCK_SECONDS));
    let older: Vec<String> = older.map(|(name, pid, _)| format!("{name} (process {pid})")).collect();
    if older.is_empty() {
        return Ok(format!("no vtctld on host {on} is as old as it"));
    }
    Err(format!("{} of host {on} may hold it", older.join(", ")))
}

/// Whether somebody may be at work on the workflow now.
pub fn may_be_at_work(evidence: &Evidence, now: i64) -> bool {
    let locks = evidence.locks.known().map(Vec::as_slice).unwrap_or_default();
    locks.iter().any(|lock| lock.is_named() && process(lock, locks, now) != Process::Gone)
}

/// Locks whose process is gone.
pub(crate) fn deviations(facts: &Facts<'_>, now: i64, unknown: &mut Unknown) -> Vec<Deviation> {
    let none = Vec::new();
    let Some(locks) = unknown.or(&facts.evidence.locks, &none) else { return Vec::new() };
    let gone = locks.iter().filter(|lock| process(lock, locks, now) == Process::Gone);
    let deviation = |lock: &Lock| {
        let left = (lock.since + NAMED_LEASE_SECONDS - now).max(0);
        let hurts = format!(
            "every switch, completion and cancellation waits 45s and fails, for {} more at most",
            crate::words::duration(left)
        );
        let unlock = vec![Action::Unlock { path: lock.path.clone() }];
        Deviation::new(M::LockWithoutProcess, hurts).at([lock.path.clone()]).since(lock.since).by(repair::in_place(unlock))
    };
    gone.map(deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_zones() {
        for text in ["2026-11-29T02:28:28Z", "2026-11-29T04:28:28+02:00", "2026-11-28T20:58:28.5-05:30"] {
            assert_eq!(seconds(text), Some(1_795_919_308), "{text}");
        }
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn a_switch_that_holds_nothing_else_for_long_is_gone() {
        let text = br#"{"Action": "WorkflowSwitchTraffic", "HostName": "vm", "UserName": "vt", "Time": "2026-11-29T02:28:28Z", "Status": "Running"}"#;
        let named = read("internal/named_locks/customer/c2c/locks/7587899226436880638", text);
        assert_eq!(
            (named.holder.as_str(), named.since, named.directory()),
            ("vt@vm", 1_795_919_308, "internal/named_locks/customer/c2c")
        );
        let keyspace = read("keyspaces/customer/locks/1", text);
        let other = Lock { action: "WorkflowDelete".into(), ..named.clone() };
        let unread = read("internal/named_locks/customer/c2c/locks/1", b"\xff");
        let without_time = Lock { since: 0, ..named.clone() };
        let later = named.since + 601;
        for (lock, all, now, want) in [
            (&named, vec![named.clone()], later, Process::Gone),
            (&named, vec![named.clone()], later - 1, Process::MayBeAlive),
            (&named, vec![named.clone(), keyspace.clone()], later, Process::MayBeAlive),
            (&keyspace, vec![named.clone(), keyspace.clone()], later, Process::Alive),
            (&other, vec![other.clone()], later, Process::MayBeAlive),
            (&unread, vec![unread.clone()], later, Process::MayBeAlive),
            (&without_time, vec![without_time.clone()], later, Process::MayBeAlive),
        ] {
            assert_eq!(process(lock, &all, now), want, "{lock:?} {now}");
        }
    }
}
