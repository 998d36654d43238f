//! What a rehearsal has shown: a change of traffic, performed on a copy of the cluster. Data first, the words for it in [`text`].
//!
//! Two times are told of a call. The copy's is what the call took there, without any network; the estimate is what it would take where
//! tablets and topology answer as fast as they did when the copy was taken. Neither knows what a copy does not have ([`NOT_KNOWN`]).

mod faults;
mod screen;
mod text;

use serde::{Deserialize, Serialize};
use vtflow_planner::contract::{Failure, StepWay, WritePlan};

pub use self::{
    faults::{Fault, FaultEnd, FaultLine, FaultTable, WayOut, fault_summary, fault_table},
    screen::{RehearsalScreen, TimedCall, TimedStep, screen},
    text::text,
};
use crate::diagnose::DiagnosisScreen;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RehearsalVerdict {
    /// It went to its end, and nothing is wrong afterwards; with faults: each of them heals.
    Healthy,
    /// It is refused before anything is changed.
    Refused,
    /// It fails on its way, something is wrong after it, or a fault does not heal.
    NotHealthy,
    /// Not all could be read that it rests on, or not all that was to be tried was.
    CouldNotLook,
}

/// A rehearsal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// How it went.
    pub verdict: RehearsalVerdict,
    /// The copy.
    pub copy: Copied,
    /// What would be done, as `--dry-run` has it; `None`: it is refused.
    pub plan: Option<WritePlan>,
    /// How the plan on the copy differs from that on the cluster itself, a line each. Empty: in nothing.
    pub differs: Vec<String>,
    /// What the change ended with, if not well.
    pub error: Option<String>,
    /// What is to be known besides.
    pub notes: Vec<String>,
    /// What was done, in its order.
    pub steps: Vec<RehearsedStep>,
    /// The sequences that it looks at, by name. Empty: it looks at none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<RehearsedSequence>,
    /// Microseconds from the first call to the last, estimated.
    pub estimate_us: u64,
    /// Microseconds that all calls took on the copy, one after the other.
    pub took_us: u64,
    /// What writes are refused meanwhile; `None`: none are that were not before.
    pub refused: Option<RefusedWrites>,
    /// What the estimate is made of.
    pub round_trips: RoundTrips,
    /// What `vtflow diagnose` says of the copy after it.
    pub after: Option<DiagnosisScreen>,
    /// What a copy cannot tell.
    pub not_known: Vec<String>,
    /// The same with one thing going wrong, once for each; `None`: it was not tried.
    pub faults: Option<FaultTable>,
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Seconds since 1970 UTC.
    pub taken_at: i64,
    /// Whose records and rows it has.
    pub keyspaces: Vec<String>,
    /// Records of the topology.
    pub records: usize,
    /// Tablets whose sidecar rows it has.
    pub tablets: usize,
    /// What could not be read.
    pub missing: Vec<Failure>,
}

/// One step, or what comes before the first and after the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehearsedStep {
    /// As the plan has it, or what is done around the steps.
    pub name: String,
    /// As the plan has it; `None`: it is no step of the plan.
    pub way: Option<StepWay>,
    /// In the order in which they begin.
    pub calls: Vec<RehearsedCall>,
}

/// One ask of the change and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehearsedCall {
    /// Whom it goes to, and what it does.
    pub text: String,
    /// Whether it changes something.
    pub writes: bool,
    /// How many answers deep it is.
    pub round: u32,
    /// Estimated microseconds after the first call.
    pub begins_us: u64,
    /// Likewise.
    pub ends_us: u64,
    /// Microseconds on the copy.
    pub took_us: u64,
    /// What was said instead of an answer; `None`: it was answered.
    pub failed: Option<String>,
}

/// A sequence, before the change and after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehearsedSequence {
    /// Its keyspace and its table.
    pub name: String,
    /// Its next value; `None`: it had none.
    pub before: Option<i64>,
    /// Likewise.
    pub after: Option<i64>,
}

/// Writes that are refused while a change is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedWrites {
    /// Which: `writes to corder, customer of commerce`.
    pub what: String,
    /// The step whose first call refuses them; `None`: they were refused before.
    pub from: Option<String>,
    /// The step whose last call lets them through; `None`: none does.
    pub to: Option<String>,
    /// Rounds of calls, from that which closes to that which opens, both included.
    pub rounds: u32,
    /// Calls of these rounds.
    pub calls: usize,
    /// Microseconds that these took on the copy, one after the other.
    pub took_us: u64,
    /// Estimated microseconds.
    pub estimate_us: u64,
    /// Estimated microseconds, part of these, that tablets are told to wait.
    pub pause_us: u64,
}

/// How fast the cluster answered while the copy was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrips {
    /// Tablets that answered.
    pub tablets: usize,
    /// Microseconds of the fastest answer of each, the one in the middle.
    pub middle_us: u64,
    /// Of the slowest tablet.
    pub most_us: u64,
    /// Of the global topology.
    pub topology_us: u64,
}

/// What it cannot tell of a change that drops tables or deletes rows of a tenant.
pub const NOT_KNOWN_OF_TABLES: &str =
    "tables: the copy has their names; how long their rows take to be dropped or deleted is not in it";

/// What a copy cannot tell.
pub const NOT_KNOWN: [&str; 4] = [
    "positions: a stream of the copy that runs is there at once; a live one takes as long as it is behind",
    "statements that run: on the copy nothing holds a lock that the change waits for",
    "load: a busy tablet or topology answers later",
    "applications: whether they try again what is refused, and how fast each vtgate sees new rules",
];
