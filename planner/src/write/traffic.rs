//! Where the traffic of a workflow goes, as a write has to know it before it is made.

use prost::Message;

use crate::{flow::Reply, proto::vtctldata::WorkflowStatusResponse};

/// The traffic's state, or why it is not known. The first reply is that to a `WorkflowStatusRequest`.
pub(super) fn state(replies: &[Reply]) -> Result<String, String> {
    let reply = replies.first().ok_or_else(|| "nobody was asked".to_owned())?;
    let bytes = reply.result.as_ref().map_err(|status| status.message.clone())?;
    let status = WorkflowStatusResponse::decode(bytes.as_slice()).map_err(|error| error.to_string())?;
    Ok(status.traffic_state)
}

/// Whether any writes are switched. Of a move of single shards the state says `All Writes Switched` or `Writes partially switched, …`.
pub(super) fn is_write_switched(state: &str) -> bool {
    state.split(". ").any(|part| part.contains("Writes") && part != "Writes Not Switched")
}
