//! Locks of the global topology: what is held, and what others read of it.
//!
//! How a lock is taken is each back end's; what it is for is the planner's. Facts: `go/vt/topo/locks.go`.

use std::{
    future::Future,
    pin::Pin,
    time::{SystemTime, UNIX_EPOCH},
};

use gethostname::gethostname;
use prost_types::Timestamp;
use serde::Serialize;
use tokio::time::Instant;
use vtflow_planner::{Answer, traffic::locks::PROGRAM};

/// What a back end's method returns, so that back ends can be chosen at run time.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A lock that is held, kept alive by itself. Dropped without [`HeldLock::release`], it is given back in the background.
pub trait HeldLock: Send + Sync {
    /// Asks the back end whether it is still held.
    ///
    /// # Errors
    /// Why it is not, or why nobody can tell before the deadline.
    fn check(&self, deadline: Instant) -> Answering<'_, Result<(), String>>;

    /// Gives it back: `Unlocked`, or `Failed` if it was lost before or cannot be given back. Once.
    fn release(&self, deadline: Instant) -> Answering<'_, Answer>;
}

/// What is written into a lock, for people who find it. Source: `go/vt/topo/locks.go:newLock`, v21 on.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Contents<'a> {
    action: &'a str,
    host_name: String,
    user_name: String,
    time: String,
    options: Options,
    status: &'static str,
    /// Not in Vitess's: by it others know that the lock is kept alive.
    program: &'static str,
}

#[derive(Serialize)]
struct Options {}

/// The content of a lock that is taken for `action` now.
pub(super) fn contents(action: &str) -> Vec<u8> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(0), nanos: 0 };
    let or_unknown = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into());
    let contents = Contents {
        action,
        host_name: or_unknown(gethostname().into_string().ok()),
        user_name: or_unknown(std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok()),
        time: now.to_string(),
        options: Options {},
        status: "Running",
        program: PROGRAM,
    };
    serde_json::to_vec_pretty(&contents).unwrap_or_default()
}

/// The answer to a lock that was not had in time. The first line is Vitess's; the second names the holder, if one was seen.
pub(super) fn too_late(node: &str, holder: &[u8]) -> Answer {
    let holder = String::from_utf8_lossy(holder).split_whitespace().collect::<Vec<_>>().join(" ");
    let held = if holder.is_empty() { String::new() } else { format!("\nit is held by {holder}") };
    let message = format!("deadline exceeded: {node}{held}");
    // Not a time-out of the kind after which something may still be at work: what was asked for has been given up.
    Answer::Failed { kind: vtflow_planner::FailureKind::TimedOut, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_reads_as_vitess_writes_it() {
        let text = String::from_utf8(contents("ApplySchemaKeyspace")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1]), ("{", "  \"Action\": \"ApplySchemaKeyspace\","));
        assert!(lines[2].starts_with("  \"HostName\": \"") && lines[3].starts_with("  \"UserName\": \""), "{text}");
        assert!(lines[4].starts_with("  \"Time\": \"20") && lines[4].ends_with("Z\","), "{text}");
        assert_eq!(lines[5..7], ["  \"Options\": {},", "  \"Status\": \"Running\","]);
        assert_eq!(lines[7..], ["  \"Program\": \"vtflow\"", "}"], "and says whose it is");
    }
}
