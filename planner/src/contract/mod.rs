//! The contract between the planner and whoever performs its asks, as data: calls, asks, answers, replies, failures, and what a
//! request that writes is going to do and has done.
//!
//! Nothing here decides anything or imports anything of the rest of the crate. All of it is serde data: traces, plans on disk, the
//! page and the component say these very types.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

mod error;
mod outcome;
mod parts;
mod plain;
mod write_plan;

pub use error::{Code, Failure, Lost, Status};
pub use outcome::{Outcome, Verdict, Written};
pub use parts::{Parts, Reached};
pub use write_plan::{PlannedRow, PlannedStep, PlannedWrite, Refuses, StepWay, Turn, WritePlan, shard_text};

/// One request: an RPC path, its protobuf message, and what the caller wants besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The gRPC path, such as `/vtctlservice.Vtctld/GetWorkflows`. [`crate::rpc`] lists the ones served.
    pub path: String,
    /// The request message, protobuf. Empty bytes are a message with every field at its default.
    #[serde(with = "plain")]
    pub request: Vec<u8>,
    /// What the caller wants besides the message.
    #[serde(default)]
    pub options: CallOptions,
}

/// What a caller may want besides the request message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallOptions {
    /// Fail the whole request, naming every failing target, instead of returning what is known. A column of a row that is there
    /// all the same ([`crate::Lost::Stream`], [`crate::Lost::Migration`]) fails nothing.
    pub strict: bool,
    /// How far a request that writes goes. Reads do not look at it.
    pub mode: Mode,
    /// Do what is refused for safety's sake: delete a frozen workflow, change one while its keyspace is locked.
    pub force: bool,
    /// Only these shards, where the request message of a write has no field for them. Empty: all.
    pub shards: Vec<String>,
    /// Bytes that the reply's message may have; 0: any number. Shards for which there is no room are left out of a list of
    /// workflows or migrations, the largest first, and each is named.
    #[serde(skip_serializing_if = "is_zero")]
    pub reply_bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_hosts_limit(seconds: &u32) -> bool {
    *seconds == 0
}

impl CallOptions {
    /// As [`CallOptions::reply_bytes`]; `None`: any number.
    pub(crate) fn reply_limit(&self) -> Option<usize> {
        (self.reply_bytes > 0).then(|| usize::try_from(self.reply_bytes).unwrap_or(usize::MAX))
    }
}

/// How far a request that writes goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// To its end.
    #[default]
    Perform,
    /// Everything is read and checked; the reply has the plan, nothing is changed.
    Preview,
    /// To its end if the plan is still the one of this digest ([`crate::contract::WritePlan::digest`]); if not, nothing is changed.
    Planned(String),
}

/// A moment: whole seconds since 1970 UTC and the nanoseconds within the second (0 to 999,999,999).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

impl Timestamp {
    /// From nanoseconds since 1970, as snapshots and traces store it.
    pub fn from_unix_nanos(nanos: i64) -> Self {
        let nanos_in_second = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
        Self { seconds: nanos.div_euclid(1_000_000_000), nanos: nanos_in_second }
    }
}

/// The name of an ask within its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AskId(pub u32);

/// One thing to fetch. All asks that [`crate::Flow::asks`] hands out may be performed at once and in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// To be given back with the answer.
    pub id: AskId,
    /// How many answers deep this ask is: 1 needs none, 2 follows from an answer to an ask of round 1, and so on.
    pub round: u32,
    /// What to fetch, and from where.
    pub what: What,
    /// Whether writes are refused, or taken again, from when it is done: so that whoever has a clock can tell for how long. `None`:
    /// neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

/// What an ask does to the writes of a shard that traffic is moved away from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// What it does.
    pub turn: Turn,
    /// The keyspace that writes went to before.
    pub keyspace: String,
    /// Its shard; empty: all shards of it that the change has closed.
    pub shard: String,
}

/// What an ask asks, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// One record of the topology. Answer: `Found`, `Missing` or `Failed`.
    TopoGet {
        /// A cell's name, or `global`.
        cell: String,
        /// Relative to the cell's root, without a slash in front.
        path: String,
    },
    /// All records below a directory, at any depth. Answer: `Range`, `Missing` (nothing is there) or `Failed`.
    TopoRange {
        /// A cell's name, or `global`.
        cell: String,
        /// Relative to the cell's root, ends in a slash.
        prefix: String,
    },
    /// A lock on a directory of the global topology, as Vitess takes it, held until `TopoUnlock` or the end of the flow. Only
    /// requests that write ask for one. Answer: `Locked`, `Missing` (no such directory) or `Failed`.
    TopoLock {
        /// Relative to the global root, without slashes at the ends, such as `keyspaces/customer`.
        path: String,
        /// Who holds it and what for: JSON of `go/vt/topo/locks.go:Lock`, without the host and the time that the runner knows.
        action: String,
        /// Whether the directory may be missing (named locks).
        is_named: bool,
    },
    /// Gives a lock back. Answer: `Unlocked` or `Failed` (it was lost before).
    TopoUnlock {
        /// The ask that took it.
        lock: AskId,
    },
    /// One record of the topology, written over the version that was read, or where there was none. It changes something: never
    /// sent twice. Answer: `Stored`, `Missing` (the record is gone) or `Failed`, with status 9 if the record has another version by
    /// now, or there is one.
    TopoPut {
        /// A cell's name, or `global`.
        cell: String,
        /// Relative to the cell's root, without a slash in front.
        path: String,
        /// The record's new value.
        #[serde(with = "plain")]
        value: Vec<u8>,
        /// The version that the record must still have, as it was `Found`; 0: there must be no such record.
        version: i64,
    },
    /// One record of the topology, deleted as the version that was read. It changes something: never sent twice. Answer: `Deleted`,
    /// `Missing` (there is no such record) or `Failed`, with status 9 if the record has another version by now.
    TopoDelete {
        /// A cell's name, or `global`.
        cell: String,
        /// Relative to the cell's root, without a slash in front.
        path: String,
        /// The version that the record must still have, as it was `Found`; never 0.
        version: i64,
    },
    /// The names of all records below a directory, at any depth. Answer: as for `TopoRange`, with empty values.
    TopoList {
        /// A cell's name, or `global`.
        cell: String,
        /// Relative to the cell's root, ends in a slash.
        prefix: String,
    },
    /// One unary RPC of a tablet's `TabletManager` service. Answer: `Called` or `Failed`.
    TabletCall {
        /// Whom to call.
        tablet: TabletAddress,
        /// The gRPC path, such as `/tabletmanagerservice.TabletManager/VReplicationExec`.
        path: Cow<'static, str>,
        /// The request message, protobuf.
        #[serde(with = "plain")]
        request: Vec<u8>,
        /// Whether the call changes anything. A write is never sent twice.
        effect: Effect,
        /// How long the call may take once it has its turn, in milliseconds. 0: as long as the host lets any call of a tablet take.
        #[serde(default, skip_serializing_if = "is_hosts_limit")]
        limit_ms: u32,
        /// What people read about this call.
        about: About,
    },
    /// A page that a tablet serves over plain HTTP: one GET. Answer: `Called` with the body of a page of status 200, or `Failed`.
    TabletPage {
        /// Whom to ask.
        tablet: PageAddress,
        /// The path, such as `/debug/vars`.
        path: Cow<'static, str>,
    },
}

/// Where a tablet serves pages over HTTP. The host is a name or an address; IPv6 without brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PageAddress {
    /// The tablet's alias as text: `zone1-0000000100`.
    pub alias: String,
    /// The cell, for limits per cell.
    pub cell: String,
    /// Host name or address.
    pub host: String,
    /// The port of the tablet's pages, `vt` in its port map, 1 to 65,535.
    pub port: u16,
}

impl PageAddress {
    /// Host and port as one text.
    pub fn address(&self) -> String {
        host_port(&self.host, self.port)
    }
}

/// Whether a call changes anything on the tablet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Reads only: may be sent again.
    Read,
    /// Changes rows: never sent twice.
    Write,
}

/// Where a tablet listens. The host is a name or an address; IPv6 without brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TabletAddress {
    /// As text: `zone1-0000000100`.
    pub alias: String,
    /// The cell, for limits per cell.
    pub cell: String,
    /// Host name or address.
    pub host: String,
    /// The port of the tablet's gRPC services, 1 to 65,535.
    pub grpc_port: u16,
}

impl TabletAddress {
    /// Host and port as one text.
    pub fn address(&self) -> String {
        host_port(&self.host, self.grpc_port)
    }
}

/// Host and port as one text, IPv6 in brackets. Source: Go `net.JoinHostPort`.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What people read about a tablet call: in a plan, a trace, a progress line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The target's keyspace.
    pub keyspace: String,
    /// The target's shard.
    pub shard: String,
    /// The target's database.
    pub db_name: String,
    /// What is asked for: `streams`, `copy state`, `logs`, `names`.
    pub subject: Cow<'static, str>,
    /// The SQL text in the request; empty when the RPC carries none.
    pub statement: String,
}

/// What came of an ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The record's value and version.
    Found {
        /// As stored.
        #[serde(with = "plain")]
        value: Vec<u8>,
        /// In the back end's own count.
        version: i64,
    },
    /// The records of a range, in any order. An empty list means the same as `Missing`.
    Range(Vec<Record>),
    /// No such record or directory. `node` is its full name in the back end, root included: error texts show it.
    Missing {
        /// Such as `/vitess/global/keyspaces/nope/shards/`.
        node: String,
    },
    /// The response message of a tablet, or the body of its page.
    Called(#[serde(with = "plain")] Vec<u8>),
    /// The record has the new value.
    Stored {
        /// Its new version.
        version: i64,
    },
    /// The record was there up to now, and is no more.
    Deleted,
    /// The lock is held.
    Locked,
    /// The lock was held up to now, and is no more.
    Unlocked,
    /// It could not be done.
    Failed {
        /// What kind of failure, as far as the planner has to know.
        kind: FailureKind,
        /// The text that people and clients see.
        message: String,
    },
}

/// One record of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Relative to the cell's root, as in the ask.
    pub path: String,
    /// As stored.
    #[serde(with = "plain")]
    pub value: Vec<u8>,
    /// In the back end's own count.
    pub version: i64,
}

/// Why an ask failed, as far as it decides what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The other side answered with a gRPC status of this code.
    Status(i32),
    /// No connection, or it broke before an answer came.
    Unreachable,
    /// No answer within the ask's deadline.
    TimedOut,
    /// It was never sent: its turn did not come in time, or it must not be sent any more.
    NotSent,
    /// The answer was larger than a message may be: ask for less at a time.
    TooLarge,
}

/// How a flow ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Messages that go out before the result, in this order: of an RPC that answers with a stream. Empty for all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "plain::list")]
    pub stream: Vec<Vec<u8>>,
    /// The response message (of a stream, the last one), or the status that the RPC ends with.
    #[serde(with = "plain::result")]
    pub result: Result<Vec<u8>, Status>,
    /// The response message of a host that takes it so ([`crate::Flow::in_parts`]), if it is not in [`Self::result`], which is empty then.
    /// Empty for all others.
    #[serde(skip)]
    pub rest: Parts,
    /// One entry per target that gave no rows or not all of them, and per workflow or row left out. In the order of shards.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// Of a request that writes: what it was going to do, and what became of it. `None` for reads, and where it was refused
    /// before it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Box<Written>>,
}

impl Reply {
    /// The end of a request that reads.
    pub fn new(result: Result<Vec<u8>, Status>, failures: Vec<Failure>) -> Self {
        Self { stream: Vec::new(), result, rest: Parts::default(), failures, written: None }
    }

    /// The same of one whose message is in parts.
    pub(crate) fn in_parts(result: Result<Parts, Status>, failures: Vec<Failure>) -> Self {
        let (result, rest) = match result {
            Ok(parts) => (Ok(Vec::new()), parts),
            Err(status) => (Err(status), Parts::default()),
        };
        Self { rest, ..Self::new(result, failures) }
    }

    /// Makes one piece of the message. One that is in parts is nowhere else.
    pub fn join(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        if let (Ok(message), false) = (&mut self.result, rest.is_empty()) {
            *message = rest.whole();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As traces and the page have them: what is not said is not there.
    #[test]
    fn options_and_replies_come_back_from_json() {
        let any = CallOptions::default();
        let text = r#"{"strict":false,"mode":"perform","force":false,"shards":[]}"#;
        assert_eq!(serde_json::to_string(&any).unwrap(), text);
        let limited = CallOptions { reply_bytes: 7, ..any };
        let text = r#"{"strict":false,"mode":"perform","force":false,"shards":[],"reply_bytes":7}"#;
        assert_eq!(serde_json::to_string(&limited).unwrap(), text);
        assert_eq!(serde_json::from_str::<CallOptions>(text).unwrap(), limited);

        let stream = vec![b"a line".to_vec(), vec![0xff, 0], Vec::new()];
        let reply = Reply { stream, ..Reply::new(Ok(b"end".to_vec()), Vec::new()) };
        let text = r#"{"stream":[{"text":"a line"},{"base64":"/wA="},{"text":""}],"result":{"ok":{"text":"end"}},"failures":[]}"#;
        assert_eq!(serde_json::to_string(&reply).unwrap(), text);
        assert_eq!(serde_json::from_str::<Reply>(text).unwrap(), reply);
    }

    #[test]
    fn a_moment_before_1970_has_nanoseconds_of_its_second() {
        for (nanos, seconds, rest) in
            [(0, 0, 0), (1_000_000_000, 1, 0), (1_700_000_000_000_000_007, 1_700_000_000, 7), (-1, -1, 999_999_999)]
        {
            assert_eq!(Timestamp::from_unix_nanos(nanos), Timestamp { seconds, nanos: rest });
        }
    }
}
