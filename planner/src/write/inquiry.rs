//! What a write asks about the cluster beside its targets' rows: reads that are requests of their own, begun and ended with types.

use std::collections::BTreeSet;

use crate::{
    contract::{Answer, AskId, CallOptions, Failure, Status, Timestamp},
    operation::{Asks, Operation},
    ops::{
        get_workflows::GetWorkflows,
        topology::{NoShards, Shards},
        workflow_status::WorkflowStatus,
    },
    proto::vtctldata::{GetWorkflowsRequest, Workflow, WorkflowStatusRequest, WorkflowStatusResponse},
};

/// A question.
pub(crate) enum Inquiry {
    /// Where the traffic of a workflow goes. A shard that does not answer does not hide it: that stands in the topology.
    Status(WorkflowStatusRequest),
    /// Which shards a keyspace has.
    Shards(String),
    /// The streams of workflows, of all shards asked for or of none.
    Workflows(GetWorkflowsRequest),
}

/// The end of a question.
pub(crate) enum Inquired {
    /// The status, or why there is none; and what the reply does not say.
    Status(Result<WorkflowStatusResponse, String>, Vec<Failure>),
    /// The shards, and what is missing of them.
    Shards(Result<BTreeSet<String>, NoShards>, Vec<Failure>),
    /// The workflows, or why nobody can tell.
    Workflows(Result<Vec<Workflow>, String>),
}

/// A question that is being asked.
pub(crate) enum Inquiring {
    Status(Box<WorkflowStatus>),
    Shards(Box<Shards>),
    Workflows(Box<GetWorkflows>),
}

impl Inquiry {
    /// Begins.
    ///
    /// # Errors
    /// A name that cannot exist.
    pub(crate) fn begin(self, now: Timestamp, asks: &mut Asks) -> Result<Inquiring, Status> {
        let options = |strict| CallOptions { strict, ..CallOptions::default() };
        Ok(match self {
            Self::Status(request) => Inquiring::Status(Box::new(WorkflowStatus::begin(request, &options(false), now, asks)?)),
            Self::Shards(keyspace) => Inquiring::Shards(Box::new(Shards::begin(&keyspace, asks)?)),
            Self::Workflows(request) => Inquiring::Workflows(Box::new(GetWorkflows::begin(request, &options(true), now, asks)?)),
        })
    }
}

impl Inquiring {
    /// Takes an answer.
    pub(crate) fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self {
            Self::Status(operation) => operation.answered(id, answer, asks),
            Self::Shards(operation) => operation.answered(id, answer, asks),
            Self::Workflows(operation) => operation.answered(id, answer, asks),
        }
    }

    /// The end, once nothing is outstanding.
    pub(crate) fn end(self) -> Inquired {
        match self {
            Self::Status(mut operation) => {
                let (result, failures) = operation.end();
                Inquired::Status(result.map_err(|status| status.message), failures)
            }
            Self::Shards(operation) => {
                let (result, failures) = operation.end();
                Inquired::Shards(result, failures)
            }
            Self::Workflows(mut operation) => {
                let (result, _) = operation.end();
                Inquired::Workflows(result.map_err(|status| status.message))
            }
        }
    }
}
