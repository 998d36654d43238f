//! What is rehearsed.

use vtflow_planner::{Call, rpc};

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
}
