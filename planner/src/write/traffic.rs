//! Where the traffic of a workflow goes, as a write has to know it before it is made.

use crate::{
    contract::Lost,
    ops::workflow_status::traffic::Traffic,
    write::{inquiry::Inquired, seen::Seen},
};

/// What is known of where traffic goes.
pub(super) struct Routed {
    /// The state as clients print it.
    pub(super) state: String,
    /// Where its tables go different ways, a text each: the state does not say so.
    pub(super) splits: Vec<String>,
}

impl Routed {
    /// What was found out, or why nothing was. The first reply is that to a `WorkflowStatusRequest`.
    pub(super) fn read(replies: &[Inquired]) -> Result<Self, String> {
        let Some(Inquired::Status(status, failures)) = replies.first() else { return Err("nobody was asked".into()) };
        let status = status.as_ref().map_err(Clone::clone)?;
        let splits = failures.iter().filter(|failure| failure.lost == Lost::Traffic);
        let splits = splits.map(|failure| failure.message.clone()).collect();
        Ok(Self { state: status.traffic_state.clone(), splits })
    }

    /// By the state and the tables, as far as the workflow's own shards go. `seen`: its targets; `streams`: which of their looks shows
    /// streams.
    pub(super) fn traffic(&self, seen: &[Seen], streams: usize) -> Traffic {
        self.of(seen, streams, !self.splits.is_empty())
    }

    /// The same by the state alone, which is that of some of its tables.
    pub(super) fn traffic_of_some(&self, seen: &[Seen], streams: usize) -> Traffic {
        self.of(seen, streams, false)
    }

    fn of(&self, seen: &[Seen], streams: usize, is_split: bool) -> Traffic {
        let has_streams = |seen: &&Seen| seen.rows(streams).iter().any(|rows| !rows.is_empty());
        let shards: Vec<&str> = seen.iter().filter(has_streams).map(|seen| seen.target.place.shard.as_str()).collect();
        Traffic::of(Some(&self.state), &shards, is_split)
    }

    /// The state, and what it does not say.
    pub(super) fn text(&self) -> String {
        let parts: Vec<&str> = [self.state.as_str()].into_iter().chain(self.splits.iter().map(String::as_str)).collect();
        parts.join("; ")
    }
}
