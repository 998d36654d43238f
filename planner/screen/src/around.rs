//! What has to be known beside a workflow's own replies before it is described: which requests tell it, and what their replies say.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use vtflow_planner::{
    contract::{Call, CallOptions, Failure, Lost, Reply},
    ops::{topology::says_no_keyspace, workflow_status::traffic::forward_of},
    proto::vtctldata::{FindAllShardsInKeyspaceResponse, GetWorkflowsRequest, GetWorkflowsResponse, Workflow},
    rpc,
};

/// What is known of a workflow beside the replies about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The keyspaces that it reads, by name. Empty: nobody looked.
    pub sources: BTreeMap<String, SourceShards>,
    /// How its streams contradict each other about what it is, a text each.
    pub contradictions: Vec<String>,
    /// How its tables' traffic goes different ways, a text each.
    pub splits: Vec<String>,
    /// Of a reverse workflow, whether the one of the other direction is there; `None`: not known.
    pub has_forward: Option<bool>,
}

/// The shards of a keyspace that a workflow reads, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceShards {
    /// Nobody looked, or it could not be read.
    #[default]
    Unknown,
    /// There is no such keyspace.
    Gone,
    /// These.
    Known(BTreeSet<String>),
}

impl Surroundings {
    /// Takes what is said of the workflow as a whole out of its failures. That its tables go different ways is no longer among
    /// them: nothing is missing because of it.
    pub fn take(&mut self, workflow: &str, failures: &mut Vec<Failure>) {
        let of = |failure: &Failure, lost| failure.lost == lost && failure.workflow == workflow;
        let contradictions = failures.iter().filter(|failure| of(failure, Lost::Workflow)).map(|failure| failure.message.clone());
        self.contradictions.extend(contradictions);
        self.splits.extend(failures.extract_if(.., |failure| of(failure, Lost::Traffic)).map(|failure| failure.message));
    }
}

impl SourceShards {
    /// What a keyspace answered to `FindAllShardsInKeyspace`.
    pub fn read(keyspace: &str, reply: &Reply) -> Self {
        let read = |bytes: &Vec<u8>| FindAllShardsInKeyspaceResponse::decode(bytes.as_slice());
        match reply.result.as_ref().map(read) {
            Ok(Ok(found)) => Self::Known(found.shards.into_keys().collect()),
            Err(status) if says_no_keyspace(keyspace, status) => Self::Gone,
            Ok(Err(_)) | Err(_) => Self::Unknown,
        }
    }

    /// The names, where they are known.
    pub(super) fn names(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Known(names) => Some(names),
            Self::Unknown | Self::Gone => None,
        }
    }
}

/// The request that tells whether the workflow is there of which this one is the other direction; `None`: it is none, or nobody
/// can tell.
pub fn forward(workflow: &Workflow) -> Option<Call> {
    let (name, keyspace) = (forward_of(&workflow.name)?, workflow.source.as_ref()?.keyspace.clone());
    // One without a name would be all of them.
    if name.is_empty() || keyspace.is_empty() {
        return None;
    }
    let request = GetWorkflowsRequest { keyspace, workflow: name.into(), name_only: true, ..GetWorkflowsRequest::default() };
    Some(Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() })
}

/// What the reply to [`forward`] says; `None`: a shard that did not answer may have it.
pub fn forward_is_there(workflow: &Workflow, reply: &Reply) -> Option<bool> {
    let found = GetWorkflowsResponse::decode(reply.result.as_ref().ok()?.as_slice()).ok()?;
    let is_there = found.workflows.iter().any(|found| forward_of(&workflow.name) == Some(found.name.as_str()));
    (is_there || reply.failures.is_empty()).then_some(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtflow_planner::contract::Status;
    use vtflow_planner::proto::vtctldata::{Shard, workflow::ReplicationLocation};

    fn reply(result: Result<Vec<u8>, Status>, failures: Vec<Failure>) -> Reply {
        Reply::new(result, failures)
    }

    fn failure(lost: Lost, workflow: &str, message: &str) -> Failure {
        let (keyspace, shard, tablet) = ("ks".into(), String::new(), String::new());
        Failure { keyspace, shard, tablet, workflow: workflow.into(), lost, message: message.into() }
    }

    #[test]
    fn only_a_keyspace_that_is_not_there_is_gone() {
        let said = |text: &str| SourceShards::read("ks", &reply(Err(Status::unknown(text)), Vec::new()));
        let node = "node doesn't exist: /vitess/global/keyspaces/ks/shards";
        assert_eq!(said(&format!("FindAllShardsInKeyspace(ks): List: {node}")), SourceShards::Gone);
        assert_eq!(said("FindAllShardsInKeyspace(ks): keyspace \"ks\" cannot exist: it is empty"), SourceShards::Gone);
        // The same words in a shard's name.
        let shard = format!("FindAllShardsInKeyspace(ks): invalid data found for shard \"{node}\"");
        assert_eq!((said(&shard), said(node)), (SourceShards::Unknown, SourceShards::Unknown));
        let shards = [("0".to_owned(), Shard::default())].into();
        let found = reply(Ok(FindAllShardsInKeyspaceResponse { shards }.encode_to_vec()), Vec::new());
        assert_eq!(SourceShards::read("ks", &found), SourceShards::Known(["0".to_owned()].into()));
    }

    #[test]
    fn the_other_direction_is_there_where_a_shard_has_it() {
        let source = Some(ReplicationLocation { keyspace: "ks".into(), shards: Vec::new() });
        let reverse = Workflow { name: "w_reverse".into(), source: source.clone(), ..Workflow::default() };
        let asked = forward(&reverse).unwrap();
        let asked = GetWorkflowsRequest::decode(asked.request.as_slice()).unwrap();
        assert_eq!((asked.keyspace.as_str(), asked.workflow.as_str()), ("ks", "w"));
        for name in ["w", "_reverse"] {
            assert!(forward(&Workflow { name: name.into(), source: source.clone(), ..Workflow::default() }).is_none(), "{name}");
        }
        let found = |name: &str| {
            let workflows = vec![Workflow { name: name.into(), ..Workflow::default() }];
            Ok(GetWorkflowsResponse { workflows }.encode_to_vec())
        };
        let lost = || vec![failure(Lost::Shard, "", "silent")];
        assert_eq!(forward_is_there(&reverse, &reply(found("w"), lost())), Some(true));
        assert_eq!(forward_is_there(&reverse, &reply(found("other"), Vec::new())), Some(false));
        assert_eq!(forward_is_there(&reverse, &reply(found("other"), lost())), None);
    }

    #[test]
    fn what_is_said_of_the_whole_is_told_apart() {
        let mut failures = vec![
            failure(Lost::Workflow, "w", "two types"),
            failure(Lost::Traffic, "w", "t1 one way, t2 the other"),
            failure(Lost::Workflow, "other", "two sources"),
        ];
        let mut around = Surroundings::default();
        around.take("w", &mut failures);
        assert_eq!((around.contradictions, around.splits), (vec!["two types".into()], vec!["t1 one way, t2 the other".into()]));
        assert_eq!(failures.len(), 2);
    }
}
