//! Why etcd has not answered, and how that is said. Facts: `go/vt/topo/etcd2topo/error.go`.

use std::error::Error as _;

use etcd_client::Error;
use tonic::{Code, Status};
use vtflow_planner::{Answer, FailureKind};

use crate::{net::cause::root_cause, secret::shown_address};

/// Why there is no answer from a cluster.
#[derive(Debug)]
pub(super) enum EtcdError {
    /// No member could be connected to.
    Dial(String),
    /// It broke, or what came was not gRPC.
    Broken(String),
    /// etcd answered with a status.
    Status(Status),
    /// No answer before the deadline.
    TimedOut,
    /// No turn before the deadline.
    Crowded,
    /// The answer is larger than a message may be.
    TooLarge,
}

impl EtcdError {
    /// As the answer of an ask for `node`, which is at `address` under `root`.
    pub(super) fn as_answer(&self, node: &str, address: &str, root: &str) -> Answer {
        let failed = |kind, message| Answer::Failed { kind, message };
        match self {
            Self::Dial(cause) => dial_failed(address, root, cause),
            Self::Broken(cause) => failed(
                FailureKind::Unreachable,
                format!("no answer about {node} from etcd at {}: {cause}", shown_address(address)),
            ),
            Self::Crowded => failed(
                FailureKind::TimedOut,
                format!("deadline exceeded: {node}: too many reads of this cell were under way (--topo-read-concurrency)"),
            ),
            Self::TimedOut => failed(FailureKind::TimedOut, format!("deadline exceeded: {node}")),
            Self::TooLarge => {
                failed(FailureKind::TooLarge, format!("the answer about {node} is larger than an answer of etcd may be"))
            }
            Self::Status(status) => {
                let code = status.code();
                let kind = FailureKind::Status(i32::from(code));
                let is_etcds_own = status.message().starts_with("etcdserver:");
                match code {
                    Code::Unavailable | Code::DeadlineExceeded if is_etcds_own => {
                        failed(FailureKind::TimedOut, format!("deadline exceeded: {node}"))
                    }
                    Code::NotFound => Answer::Missing { node: node.to_owned() },
                    Code::ResourceExhausted => failed(kind, format!("server resource exhausted: {node}")),
                    Code::Cancelled => failed(kind, format!("interrupted: {node}")),
                    _ if is_etcds_own => failed(kind, format!("{} ({node})", status.message())),
                    _ => failed(kind, format!("rpc error: code = {code:?} desc = {} ({node})", status.message())),
                }
            }
        }
    }
}

/// Vitess's text for a cell without a connection. Source: `go/vt/topo/server.go:ConnForCell`.
pub(super) fn dial_failed(address: &str, root: &str, cause: &str) -> Answer {
    let message = format!("failed to create topo connection to {}, {root}: {cause}", shown_address(address));
    Answer::Failed { kind: FailureKind::Unreachable, message }
}

/// What is wrong with an answer that no etcd gives.
pub(super) const NO_ETCD: &str = "what answered is no etcd: its answer has no header, or not what was asked for";

impl From<Error> for EtcdError {
    fn from(error: Error) -> Self {
        match error {
            Error::GRpcStatus(status) => {
                let is_ours = status.source().is_some();
                match status.code() {
                    Code::OutOfRange if status.message().contains("message length too large") => Self::TooLarge,
                    Code::ResourceExhausted if status.message().contains("larger than max") => Self::TooLarge,
                    _ if is_ours => Self::Broken(root_cause(&status)),
                    _ => Self::Status(status),
                }
            }
            error => Self::Broken(root_cause(&error)),
        }
    }
}
