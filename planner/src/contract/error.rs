//! What can go wrong, as data: the status a request fails with, and the failures that a reply lists beside its result.

use serde::{Deserialize, Serialize};

/// The gRPC status that an RPC fails with.
///
/// vtctld answers almost every failure with code 2 (UNKNOWN): the text is the contract, and scripts match it as
/// `rpc error: code = Unknown desc = …`. Source: `go/vt/vtctl/grpcvtctldserver/server.go`, no conversion there, v10 to v24.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Status {
    /// The gRPC code.
    pub code: Code,
    /// The text that clients match.
    pub message: String,
}

impl Status {
    /// The status of nearly all of vtctld's failures.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self { code: Code::Unknown, message: message.into() }
    }
}

/// The gRPC codes that the planner uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "i32", try_from = "i32")]
#[repr(i32)]
pub enum Code {
    /// 2: what vtctld answers for nearly everything.
    Unknown = 2,
    /// 3: the request message cannot be decoded.
    InvalidArgument = 3,
    /// 9: not in the state that this needs; nothing was changed.
    FailedPrecondition = 9,
    /// 12: not an RPC, or not a request, that vtflow performs; nothing was touched, and somebody else may perform it.
    Unimplemented = 12,
    /// 13: the planner itself failed: one in wasmtime that trapped. The planner never says so of itself.
    Internal = 13,
}

impl From<Code> for i32 {
    fn from(code: Code) -> Self {
        code as Self
    }
}

impl TryFrom<i32> for Code {
    type Error = String;

    fn try_from(code: i32) -> Result<Self, String> {
        [Self::Unknown, Self::InvalidArgument, Self::FailedPrecondition, Self::Unimplemented, Self::Internal]
            .into_iter()
            .find(|known| *known as i32 == code)
            .ok_or_else(|| format!("the planner ends no request with gRPC code {code}"))
    }
}

/// What one target, workflow or row said instead of (all of) its rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// The keyspace asked for.
    pub keyspace: String,
    /// The shard; empty when the failure is not a shard's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shard: String,
    /// The tablet's alias as text; empty when none is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tablet: String,
    /// The workflow that is affected; empty when all of the target's may be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workflow: String,
    /// What is missing because of it.
    pub lost: Lost,
    /// What was said: the tablet's, the topology's or the planner's own text.
    pub message: String,
}

impl Failure {
    /// Where it happened, for people: `customer/-80 zone1-0000000100`.
    pub fn place(&self) -> String {
        let mut place = self.keyspace.clone();
        if !self.shard.is_empty() {
            place.push('/');
            place.push_str(&self.shard);
        }
        for part in [&self.tablet, &self.workflow] {
            if !part.is_empty() {
                let gap = if place.is_empty() { "" } else { " " };
                place.push_str(gap);
                place.push_str(part);
            }
        }
        place
    }
}

/// What a failure took away from the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Nothing that is known of: the shard has no primary, so nothing runs on it.
    NoPrimary,
    /// Everything of the shard that was asked for: its streams, its migrations.
    Shard,
    /// The copy state of the tablet's streams; their stored state is shown as `Unknown` where it depends on it.
    CopyState,
    /// Log rows of the tablet's streams.
    Logs,
    /// A column of a stream, and nothing else: it cannot be read. The stream is in the reply, with the column as it is stored
    /// where it is a text, else empty.
    Stream,
    /// What one workflow does as a whole: its streams contradict each other, or nobody could tell.
    Workflow,
    /// Nothing of the reply, which says where the traffic of some of the workflow's tables goes: that of others goes another way.
    Traffic,
    /// Records of the topology: one that cannot be read, or all that were wanted of a cell.
    Record,
    /// A column of a shard's schema migration, and nothing else: it cannot be read. The migration is in the reply.
    Migration,
}

impl Lost {
    /// Its name, as in documents and metrics: `no_primary`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPrimary => "no_primary",
            Self::Shard => "shard",
            Self::CopyState => "copy_state",
            Self::Logs => "logs",
            Self::Stream => "stream",
            Self::Workflow => "workflow",
            Self::Traffic => "traffic",
            Self::Record => "record",
            Self::Migration => "migration",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_has_the_same_name_in_documents() {
        let all = [
            Lost::NoPrimary,
            Lost::Shard,
            Lost::CopyState,
            Lost::Logs,
            Lost::Stream,
            Lost::Workflow,
            Lost::Traffic,
            Lost::Record,
            Lost::Migration,
        ];
        assert_eq!(all.map(|lost| serde_json::to_value(lost).unwrap()), all.map(|lost| serde_json::Value::from(lost.name())));
    }
}
