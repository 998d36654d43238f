//! What is rehearsed.

use vtflow_planner::Call;

/// A change that is rehearsed.
#[derive(Clone, Debug)]
pub struct Change {
    /// The workflow's target keyspace.
    pub keyspace: String,
    /// Its name.
    pub workflow: String,
    /// The request.
    pub call: Call,
    /// What takes the traffic the other way, by the name of its command; `None`: nothing does.
    pub back: Option<(String, Call)>,
}
