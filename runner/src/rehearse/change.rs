//! What is rehearsed.

use prost::Message;
use vtflow_planner::{Call, proto::vtflow::RepairRequest, rpc};

/// A change that is rehearsed.
#[derive(Clone, Debug)]
pub struct Change {
    /// The workflow's target keyspace.
    pub keyspace: String,
    /// Its name; empty: all of the keyspace.
    pub workflow: String,
    /// The request.
    pub call: Call,
    /// What goes the other way, by the name of its command; `None`: nothing does.
    pub back: Option<(String, Call)>,
}

impl Change {
    /// Whether a failure takes back what was done, at least up to some point. What is not taken back is compared to the last record.
    pub(super) fn is_taken_back(&self) -> bool {
        self.call.path == rpc::WORKFLOW_SWITCH_TRAFFIC
    }

    /// Whether it looks at all sequences that a diagnosis looks at, so that a copy has them.
    pub(super) fn looks_at_sequences(&self) -> bool {
        self.call.path == rpc::REPAIR && RepairRequest::decode(self.call.request.as_slice()).is_ok_and(|wanted| wanted.sequences)
    }
}
