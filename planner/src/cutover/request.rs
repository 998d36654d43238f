//! What a request to move traffic wants, as one type for both directions, and what is refused of it before anything is looked at.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:WorkflowSwitchTraffic`, v24; defaults and texts are clients' contract.

use std::collections::BTreeSet;

use crate::{
    contract::{Call, Code, Mode, Status},
    operation::decode,
    proto::{topodata::TabletType, vtctldata::WorkflowSwitchTrafficRequest, vttime::Duration},
    topo::names::KeyspaceName,
};

/// Seconds of lag, and of waiting for streams, where the request says nothing. Source: `server.go:defaultDuration`.
const DEFAULT_SECONDS: i64 = 30;

/// The longest wait that is asked of a tablet: a day.
const MOST_SECONDS: i64 = 86_400;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// What is wanted.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "flags of the request, each by itself")]
pub(crate) struct Goal {
    /// The target keyspace of the forward direction, also when traffic goes back.
    pub(crate) keyspace: String,
    /// The forward name, likewise.
    pub(crate) workflow: String,
    pub(crate) direction: Direction,
    /// Whether writes are to be moved.
    pub(crate) writes: bool,
    /// Types whose reads are to be moved, in the order of the request, each once.
    pub(crate) reads: Vec<TabletType>,
    /// Cells or aliases of cells, for reads; empty: all.
    pub(crate) cells: Vec<String>,
    /// Seconds.
    pub(crate) max_lag: i64,
    /// Seconds for which streams are waited for; 1 at least.
    pub(crate) timeout: i64,
    /// As clients print it: `30s`, `1m30s`.
    pub(crate) timeout_text: String,
    pub(crate) enable_reverse: bool,
    /// The reply has lines for people, and nothing is done.
    pub(crate) dry_run: bool,
    /// A tablet that cannot be told of a changed record is no reason to stop.
    pub(crate) force: bool,
    /// The sequences that the target's tables use are raised to what the tables hold.
    pub(crate) sequences: bool,
}

impl Goal {
    /// Reads a request.
    ///
    /// # Errors
    /// What is refused without a look.
    pub(crate) fn of_switch(call: &Call) -> Result<Self, Status> {
        let wanted: WorkflowSwitchTrafficRequest = decode(call)?;
        KeyspaceName::of_request(&wanted.keyspace)?;
        let timeout = seconds(wanted.timeout.as_ref(), "Timeout")?;
        if timeout < 1 {
            // The reference answers with an empty reply, which clients print as a success.
            return Err(Status::unknown("timeout must be at least 1 second"));
        }
        let max_lag = seconds(wanted.max_replication_lag_allowed.as_ref(), "MaxReplicationLagAllowed")?;
        let (mut writes, mut reads) = (false, Vec::new());
        for &number in &wanted.tablet_types {
            match TabletType::try_from(number) {
                Ok(TabletType::Primary) => writes = true,
                Ok(of @ (TabletType::Replica | TabletType::Rdonly)) if reads.contains(&of) => {}
                Ok(of @ (TabletType::Replica | TabletType::Rdonly)) => reads.push(of),
                Ok(of) => return Err(Status::unknown(format!("invalid tablet type passed {}", of.as_str_name()))),
                Err(_) => return Err(Status::unknown(format!("invalid tablet type passed {number}"))),
            }
        }
        let direction = match wanted.direction {
            0 => Direction::Forward,
            1 => Direction::Backward,
            other => {
                let message = format!("direction {other} is neither forward (0) nor backward (1)");
                return Err(Status { code: Code::InvalidArgument, message });
            }
        };
        let nanos = wanted.timeout.as_ref().map_or(0, |timeout| timeout.nanos);
        Ok(Self {
            keyspace: wanted.keyspace,
            workflow: wanted.workflow,
            direction,
            writes,
            reads,
            cells: wanted.cells.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            max_lag,
            timeout,
            timeout_text: go_duration(timeout, nanos),
            enable_reverse: wanted.enable_reverse_replication,
            dry_run: wanted.dry_run || call.options.mode == Mode::Preview,
            force: wanted.force || call.options.force,
            sequences: wanted.initialize_target_sequences,
        })
    }

    /// `SwitchTraffic` or `ReverseTraffic`.
    pub(crate) fn verb(&self) -> &'static str {
        match self.direction {
            Direction::Forward => "SwitchTraffic",
            Direction::Backward => "ReverseTraffic",
        }
    }
}

/// What vtflow does not do by itself: nothing was touched, and a vtctld may.
pub(crate) fn not_ours(what: &str) -> Status {
    Status { code: Code::Unimplemented, message: format!("vtflow does not switch traffic with {what}: send this to a vtctld") }
}

/// Whole seconds.
fn seconds(duration: Option<&Duration>, name: &str) -> Result<i64, Status> {
    let Some(duration) = duration else { return Ok(DEFAULT_SECONDS) };
    // What a Go duration of nanoseconds can hold.
    let is_in_range = duration.seconds.checked_mul(1_000_000_000).is_some() && duration.nanos.abs() < 1_000_000_000;
    if !is_in_range {
        let value = format!("seconds:{} nanos:{}", duration.seconds, duration.nanos);
        let text = format!("unable to parse {name} into a valid duration: duration: {value} is out of range for time.Duration");
        return Err(Status::unknown(text));
    }
    Ok(duration.seconds.min(MOST_SECONDS))
}

/// As Go prints a duration: `1m30s`, `1h0m0s`, `2.5s`.
fn go_duration(seconds: i64, nanos: i32) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if nanos > 0 { format!(".{nanos:09}").trim_end_matches('0').to_owned() } else { String::new() };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, minutes) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::contract::CallOptions;

    fn goal(wanted: WorkflowSwitchTrafficRequest) -> Result<Goal, String> {
        let wanted = WorkflowSwitchTrafficRequest { keyspace: "t".into(), workflow: "w".into(), ..wanted };
        let call = Call { path: "/x".into(), request: wanted.encode_to_vec(), options: CallOptions::default() };
        Goal::of_switch(&call).map_err(|status| status.message)
    }

    fn long(seconds: i64, nanos: i32) -> Duration {
        Duration { seconds, nanos }
    }

    #[test]
    fn what_is_left_out_has_the_values_of_the_reference() {
        let goal = goal(WorkflowSwitchTrafficRequest { tablet_types: vec![1, 3, 2, 3], ..Default::default() }).unwrap();
        assert_eq!((goal.max_lag, goal.timeout, goal.timeout_text.as_str()), (30, 30, "30s"));
        assert_eq!((goal.writes, goal.reads), (true, vec![TabletType::Rdonly, TabletType::Replica]));
    }

    // TR-21, B1.
    #[test]
    fn what_cannot_be_done_is_refused_before_a_look() {
        type Wanted = WorkflowSwitchTrafficRequest;
        for (wanted, want) in [
            (Wanted { tablet_types: vec![TabletType::Spare.into()], ..Wanted::default() }, "invalid tablet type passed SPARE"),
            (Wanted { timeout: Some(long(0, 999_999_999)), ..Wanted::default() }, "timeout must be at least 1 second"),
            (Wanted { timeout: Some(long(-5, 0)), ..Wanted::default() }, "timeout must be at least 1 second"),
            (
                Wanted { timeout: Some(long(i64::MAX, 0)), ..Wanted::default() },
                "unable to parse Timeout into a valid duration: duration: seconds:9223372036854775807 nanos:0 is out of range for time.Duration",
            ),
            (Wanted { direction: 2, ..Wanted::default() }, "direction 2 is neither forward (0) nor backward (1)"),
        ] {
            assert_eq!(goal(wanted).unwrap_err(), want);
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (seconds, nanos, want) in [
            (30, 0, "30s"),
            (90, 0, "1m30s"),
            (60, 0, "1m0s"),
            (3600, 0, "1h0m0s"),
            (2, 500_000_000, "2.5s"),
            (61, 10, "1m1.00000001s"),
        ] {
            assert_eq!(go_duration(seconds, nanos), want);
        }
    }
}
