//! How long the runner waits: for one ask, and for a whole request.
//!
//! Deadlines are per ask, because one slow tablet must not take the time of the others; the caller's own deadline bounds all.

use std::time::Duration;

use tokio::time::Instant;

/// How long one ask may take, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// A read of the topology, connecting included. Default: 5 s, as long as Vitess waits for a connection to etcd
    /// (`go/vt/topo/etcd2topo/server.go:NewServerWithOpts`).
    pub topology: Duration,
    /// A tablet call, connecting included, counted from when it is handed over; waiting for a turn in its cell and among all
    /// tablets may add as much again. Default: 10 s, the action timeout of the legacy `VExec`
    /// (`go/vt/vtctl/workflow/vexec/vexec.go`).
    pub tablet: Duration,
    /// Waiting for a lock of the topology. Default: 45 s, as Vitess's `--lock-timeout` (`go/vt/topo/locks.go`).
    pub lock: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { topology: Duration::from_secs(5), tablet: Duration::from_secs(10), lock: Duration::from_secs(45) }
    }
}

/// `from` plus `wait`, but never past the caller's own deadline.
pub(crate) fn bounded(from: Instant, wait: Duration, until: Option<Instant>) -> Instant {
    // A wait too long for the clock is as good as a day.
    let own = from.checked_add(wait).unwrap_or(from + Duration::from_secs(86_400));
    until.map_or(own, |until| own.min(until))
}

/// A duration as error texts show it: `10s`, `2.5s`, `300ms`.
pub(crate) fn text(duration: Duration) -> String {
    // Clocks add fractions of a millisecond to a configured wait.
    let millis = duration.as_millis();
    if millis >= 1000 {
        let tenths = (millis + 50) / 100;
        if tenths.is_multiple_of(10) { format!("{}s", tenths / 10) } else { format!("{}.{}s", tenths / 10, tenths % 10) }
    } else {
        format!("{millis}ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_texts() {
        for (millis, want) in [(10_000, "10s"), (10_001, "10s"), (2_500, "2.5s"), (300, "300ms"), (0, "0ms"), (1_000, "1s")] {
            assert_eq!(text(Duration::from_millis(millis)), want, "{millis} ms");
        }
    }

    #[test]
    fn the_callers_deadline_wins_when_it_is_earlier() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(bounded(now, second, None), now + second);
        assert_eq!(bounded(now, second, Some(now)), now);
        assert_eq!(bounded(now, second, Some(now + second * 2)), now + second);
        assert!(bounded(now, Duration::MAX, None) > now);
    }
}
