//! What a request would ask of whom.

use std::collections::BTreeMap;

use tokio::time::Instant;
use vtflow_planner::{Ask, Failure, FlowHandle, Reply, What};

use super::{cluster_io::ClusterIo, running::Running};
use crate::observe::Observer;

/// What a request would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// All asks, the tablet calls unperformed. Sorted by id; the ids of one request are the same every time.
    pub asks: Vec<Ask>,
    /// The shards that turned out to have nobody to ask.
    pub failures: Vec<Failure>,
    /// The reply, if the request ends without a tablet call.
    pub reply: Option<Reply>,
}

/// Performs the topology asks of a request and none of its tablet calls: what the request would ask of whom.
///
/// A call that depends on another call's answer (a further page, a fallback) cannot be known and is not listed.
pub async fn plan(mut flow: impl FlowHandle, cluster: &ClusterIo, until: Option<Instant>, observer: &dyn Observer) -> Planned {
    let mut all = Vec::new();
    loop {
        let (calls, reads): (Vec<Ask>, Vec<Ask>) =
            flow.asks().into_iter().partition(|ask| !matches!(ask.what, What::TopoGet { .. } | What::TopoRange { .. }));
        all.extend(calls);
        if reads.is_empty() {
            break;
        }
        // In the order of ids, round by round: so that the same cluster always gives the same plan.
        let mut running = Running::default();
        running.start(reads, cluster, None, until, observer);
        let mut answers = BTreeMap::new();
        while let Some(done) = running.next().await {
            answers.extend(done.into_iter().map(|done| (done.ask.id, done)));
        }
        for (id, done) in answers {
            done.tell(observer);
            flow.answer(id, done.answer);
            all.push(done.ask);
        }
    }
    all.sort_by_key(|ask| ask.id);
    Planned { asks: all, failures: flow.failures(), reply: flow.end() }
}
