//! A cluster is read for a rehearsal: what the change would do there, and a snapshot of everything that this rests on. Nothing is written.

use std::{collections::BTreeSet, sync::Arc};

use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Mode, Reply, Status, Timestamp, contract::WritePlan, proto::vtflow::SnapshotRequest, rpc,
};
use vtflow_screen::rehearsal::Copied;

use super::{
    change::Change,
    run::{Stopwatch, Trips},
    sequences::Sequences,
};
use crate::{
    embedded::{Snapshot, from_response},
    observe::Observer,
};

/// What was read of a cluster.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its records and rows, with the tables that the change has read of sequences.
    pub(super) snapshot: Arc<Snapshot>,
    /// What it has read of them.
    pub(super) sequences: Arc<Sequences>,
    /// What is in it, and what is missing.
    pub(super) copied: Copied,
    /// What the change would do on the cluster itself, or why it is refused.
    pub(super) preview: Result<WritePlan, Status>,
    /// How fast it answered.
    pub(super) trips: Trips,
    /// The moment that all of it is about.
    pub(super) now: Timestamp,
}

/// Reads a cluster.
///
/// `perform` performs a request on it, and tells the observer of each ask.
///
/// # Errors
/// There is no snapshot at all: why.
pub async fn take(
    perform: impl AsyncFn(&Call, &dyn Observer) -> Reply,
    change: &Change,
    now: Timestamp,
) -> Result<Taken, Status> {
    let watch = Stopwatch::default();
    let mut call = change.call.clone();
    call.options.mode = Mode::Preview;
    let preview = plan_of(Some(perform(&call, &watch).await));
    // Those whose tablets or shards it has looked at: not all of them are locked.
    let keyspaces: BTreeSet<String> = watch.keyspaces().into_iter().chain([change.keyspace.clone()]).collect();
    let keyspaces: Vec<String> = keyspaces.into_iter().collect();
    let request = SnapshotRequest { keyspaces: keyspaces.clone(), routing: true };
    let call = Call { path: rpc::SNAPSHOT.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    let reply = perform(&call, &watch).await;
    let bytes = match (reply.result, &preview) {
        (Ok(bytes), _) => bytes,
        // Why nothing would be done is there, and more to the point.
        (Err(_), Err(refused)) => return Err(refused.clone()),
        (Err(status), Ok(_)) => return Err(status),
    };
    let mut snapshot = from_response(&bytes, now).map_err(|error| Status::unknown(error.to_string()))?;
    let sequences = watch.take_sequences();
    let missing = reply.failures.into_iter().chain(sequences.put_into(&mut snapshot)).collect();
    let copied =
        Copied { taken_at: now.seconds, keyspaces, records: snapshot.topo.len(), tablets: snapshot.tablets.len(), missing };
    let (snapshot, sequences) = (Arc::new(snapshot), Arc::new(sequences));
    Ok(Taken { snapshot, sequences, copied, preview, trips: watch.trips(), now })
}

/// The plan that a preview has.
pub(super) fn plan_of(reply: Option<Reply>) -> Result<WritePlan, Status> {
    let reply = reply.ok_or_else(no_reply)?;
    reply.result?;
    reply.written.map(|written| written.plan).ok_or_else(|| Status::unknown("it changes nothing: it has no plan"))
}

/// A flow that has ended without a word.
pub(super) fn no_reply() -> Status {
    Status::unknown("the request has neither a reply nor anything left to ask: this is a defect of vtflow")
}
