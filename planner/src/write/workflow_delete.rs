//! `WorkflowDelete`: the streams of a workflow, with their copy states, log entries and comparisons, and nothing else.
//!
//! Copied tables and routing rules are kept: a request that asks for them to go is refused before anything is touched, and so is
//! a workflow whose write traffic has been switched, one that still has reverse streams, and one that belongs to a schema
//! migration.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:WorkflowDelete`, v22 to v24; `go/vt/vttablet/tabletmanager/rpc_vreplication.go`.

use prost::Message;

use super::{
    engine::Done,
    stream::{self, Stream},
    verb::{Change, Lock, Look, Prepared, Seen, Shown, Verb},
    workflow_update::{lacks, row},
};
use crate::{
    error::{Code, Status},
    explain::count,
    flow::{Call, CallOptions, Reply},
    limits,
    proto::{
        tabletmanagerdata::{
            DeleteVReplicationWorkflowRequest, ExecuteFetchAsDbaRequest, ReadVReplicationWorkflowRequest, VDiffRequest,
            VReplicationExecRequest,
        },
        vtctldata::{
            GetWorkflowsRequest, GetWorkflowsResponse, WorkflowDeleteRequest, WorkflowDeleteResponse, WorkflowStatusRequest,
            WorkflowStatusResponse, workflow_delete_response::TabletInfo,
        },
    },
    query::{
        literal::quote,
        read::{Read, Subject},
        statement::Scope,
    },
    rpc,
    topo::targets::Target,
};

/// The looks of a target, in their order.
const STREAMS: usize = 0;
const HAS_DELETE: usize = 1;

/// Types that have more to undo than streams, by number. Source: `go/vt/proto/binlogdata`.
const MIGRATE: &str = "3";
const ONLINE_DDL: &str = "5";

/// The end of a reverse workflow's name. Source: `go/vt/vtctl/workflow/utils.go:ReverseWorkflowName`.
const REVERSE: &str = "_reverse";

pub(crate) struct WorkflowDelete {
    request: WorkflowDeleteRequest,
}

impl WorkflowDelete {
    /// Reads the request.
    ///
    /// # Errors
    /// It asks for more than streams to go, or names no workflow that can exist.
    pub(crate) fn new(call: &Call) -> Result<Self, Status> {
        let mut request: WorkflowDeleteRequest = crate::ops::decode(call)?;
        let refused = |code, message: String| Err(Status { code, message });
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &request;
        if workflow.is_empty() {
            return refused(Code::InvalidArgument, "invalid request, no workflow provided".into());
        }
        if workflow.len() > limits::WORKFLOW_NAME_BYTES
            || crate::topo::names::check_object(workflow).is_err() && workflow.contains('/')
        {
            return Err(Status::unknown(format!("no streams found in keyspace {keyspace} for {workflow}")));
        }
        request.shards.extend(call.options.shards.iter().cloned());
        Ok(Self { request })
    }

    fn no_streams(&self) -> Status {
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        Status::unknown(format!("no streams found in keyspace {keyspace} for {workflow}"))
    }

    fn call(path: &str, request: Vec<u8>, strict: bool) -> Call {
        Call { path: path.into(), request, options: CallOptions { strict, ..CallOptions::default() } }
    }

    fn list(keyspace: &str, workflow: &str, shards: &[String]) -> Call {
        let (keyspace, workflow, shards) = (keyspace.into(), workflow.into(), shards.to_vec());
        let request = GetWorkflowsRequest { keyspace, workflow, shards, ..GetWorkflowsRequest::default() };
        Self::call(rpc::GET_WORKFLOWS, request.encode_to_vec(), true)
    }

    /// The other direction's name, and the keyspace where its streams would be.
    fn reverse(&self, replies: &[Reply]) -> Option<(String, String)> {
        let bytes = replies.first()?.result.as_ref().ok()?;
        let workflow = GetWorkflowsResponse::decode(bytes.as_slice()).ok()?.workflows.into_iter().next()?;
        let name = &self.request.workflow;
        let reverse = name.strip_suffix(REVERSE).map_or_else(|| format!("{name}{REVERSE}"), str::to_owned);
        Some((workflow.source?.keyspace, reverse))
    }

    /// The request asks for more than streams to go: refused, but only where there is something to delete.
    fn check_scope(&self) -> Result<(), Status> {
        let WorkflowDeleteRequest { keyspace, workflow, keep_data, keep_routing_rules, .. } = &self.request;
        let drops: Vec<&str> =
            [(!keep_data, "the copied tables (keep_data)"), (!keep_routing_rules, "routing rules (keep_routing_rules)")]
                .into_iter()
                .filter_map(|(drops, what)| drops.then_some(what))
                .collect();
        if drops.is_empty() {
            return Ok(());
        }
        let message = format!(
            "deleting {keyspace}.{workflow} would drop {}, which vtflow does not do: keep them, or send this to a vtctld; nothing was changed",
            drops.join(" and ")
        );
        Err(Status { code: Code::Unimplemented, message })
    }

    /// Why the replies to the questions forbid it.
    fn check(&self, replies: &[Reply], force: bool) -> Result<(), Status> {
        let refused = |message: String| Err(Status { code: Code::FailedPrecondition, message });
        let answer = |index: usize| replies.get(index).map(|reply| reply.result.clone()).transpose();
        let decoded = |what: &str, error: prost::DecodeError| Status::unknown(format!("{what} cannot be read: {error}"));
        if let Some(bytes) = answer(0)? {
            let found = GetWorkflowsResponse::decode(bytes.as_slice()).map_err(|error| decoded("the workflow", error))?;
            if found.workflows.is_empty() {
                return Err(self.no_streams());
            }
        }
        self.check_scope()?;
        if let Some(bytes) = answer(1)? {
            let status = WorkflowStatusResponse::decode(bytes.as_slice()).map_err(|error| decoded("its traffic", error))?;
            // Of a move of single shards it says `All Writes Switched` or `Writes partially switched, …`.
            let mut parts = status.traffic_state.split(". ");
            if parts.any(|part| part.contains("Writes") && part != "Writes Not Switched") && !force {
                return refused("cannot delete workflow because you have already switched write traffic".into());
            }
            if status.traffic_state.starts_with("Unknown") && !force {
                return refused(format!("where traffic goes is not known ({}); nothing was changed", status.traffic_state));
            }
        }
        if let (Some(bytes), Some((keyspace, reverse))) = (answer(2)?, self.reverse(replies)) {
            let found = GetWorkflowsResponse::decode(bytes.as_slice()).map_err(|error| decoded("its reverse", error))?;
            if !found.workflows.is_empty() {
                let text = "is there, too, and would have to go with it, which vtflow does not do: send this to a vtctld";
                return refused(format!("workflow {keyspace}.{reverse} {text}; nothing was changed"));
            }
        }
        Ok(())
    }

    fn refusal(&self, streams: &[Stream], seen: &Seen, force: bool) -> Result<(), Status> {
        let refused = |message: String| Err(Status { code: Code::FailedPrecondition, message });
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        let place = format!("{keyspace}/{}", seen.target.place.shard);
        if streams.iter().any(|stream| stream.workflow_type == ONLINE_DDL) {
            let text =
                format!("belongs to a schema migration; nothing was changed. Use: vtflow migration cancel {keyspace} {workflow}");
            return refused(format!("the {workflow} workflow {text}"));
        }
        if streams.iter().any(|stream| stream.workflow_type == MIGRATE) {
            let text = "reads another cluster, which has to be unmounted with it: send this to a vtctld; nothing was changed";
            return Err(Status { code: Code::Unimplemented, message: format!("the {workflow} workflow {text}") });
        }
        if streams.iter().any(Stream::is_frozen) && !force {
            let text = "its traffic has been switched; nothing was changed. If it has to go all the same, force it";
            return refused(format!("the {workflow} workflow is frozen on {place}: {text}"));
        }
        Ok(())
    }

    fn changes(&self, target: usize, seen: &Seen, streams: &[Stream]) -> Result<Vec<Change>, Status> {
        let workflow = &self.request.workflow;
        let scope = format!("db_name = {} and workflow = {}", quote(&seen.target.db_name), quote(workflow));
        let statement = format!("delete from _vt.vreplication where {scope}");
        let rows = streams.iter().map(row).collect();
        let (path, request) = if lacks(seen, HAS_DELETE)? {
            (rpc::VREPLICATION_EXEC, VReplicationExecRequest { query: statement.clone() }.encode_to_vec())
        } else {
            let request = DeleteVReplicationWorkflowRequest { workflow: workflow.clone() };
            (rpc::DELETE_VREPLICATION_WORKFLOW, request.encode_to_vec())
        };
        let mut changes = vec![Change { target, path, request, subject: "delete", statement, rows, is_extra: false }];
        if !streams.is_empty() {
            let request = VDiffRequest {
                keyspace: self.request.keyspace.clone(),
                workflow: workflow.clone(),
                action: "delete".into(),
                action_arg: "all".into(),
                ..VDiffRequest::default()
            };
            changes.push(Change {
                target,
                path: rpc::VDIFF,
                request: request.encode_to_vec(),
                subject: "vdiff",
                statement: format!("/* the workflow's comparisons */ VDiff delete all of {}", quote(workflow)),
                rows: Vec::new(),
                is_extra: true,
            });
            // Tablets keep the log of streams that are gone. The second condition: no stream that is there can lose its own.
            let ids: Vec<String> = streams.iter().map(|stream| stream.id.to_string()).collect();
            let scope = format!("vrepl_id in ({}) and vrepl_id not in (select id from _vt.vreplication)", ids.join(", "));
            let statement = format!("delete from _vt.vreplication_log where {scope}");
            let request =
                ExecuteFetchAsDbaRequest { query: statement.clone().into_bytes(), ..ExecuteFetchAsDbaRequest::default() };
            changes.push(Change {
                target,
                path: rpc::EXECUTE_FETCH_AS_DBA,
                request: request.encode_to_vec(),
                subject: "log",
                statement,
                rows: Vec::new(),
                is_extra: true,
            });
        }
        Ok(changes)
    }
}

impl Verb for WorkflowDelete {
    fn keyspace(&self) -> &str {
        &self.request.keyspace
    }

    fn shards(&self) -> &[String] {
        &self.request.shards
    }

    fn lock(&self) -> Option<Lock> {
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        let path = format!("internal/named_locks/{keyspace}/{workflow}");
        let failure = format!("failed to lock the {keyspace}/{workflow} workflow: ");
        Some(Lock { path, action: "WorkflowDelete", is_named: true, failure })
    }

    fn unlocked(&self) -> Vec<String> {
        vec![format!("keyspaces/{}", self.request.keyspace)]
    }

    fn no_shards(&self, status: Status) -> Status {
        match status.message.strip_prefix("node doesn't exist: ") {
            Some(node) => {
                let node = node.trim_end_matches('/');
                Status::unknown(format!("FindAllShardsInKeyspace({}): List: node doesn't exist: {node}", self.request.keyspace))
            }
            None => self.no_streams(),
        }
    }

    fn looks(&self, target: &Target) -> Vec<Look> {
        let workflow = self.request.workflow.clone();
        let scope = Scope { db_name: target.db_name.clone(), workflow: workflow.clone(), active_only: false };
        vec![
            Look::Rows(Read::new(&target.address.alias, Subject::Streams, scope)),
            Look::Call {
                path: rpc::READ_VREPLICATION_WORKFLOW,
                request: ReadVReplicationWorkflowRequest { workflow }.encode_to_vec(),
                subject: "v18",
                statement: String::new(),
            },
        ]
    }

    /// The workflow, where its traffic goes, and whether there is another direction.
    fn inquiry(&self, replies: &[Reply]) -> Option<Call> {
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        match replies.len() {
            0 => Some(Self::list(keyspace, workflow, &self.request.shards)),
            1 => {
                // Without a workflow there is no more to ask.
                self.reverse(replies)?;
                let request =
                    WorkflowStatusRequest { keyspace: keyspace.clone(), workflow: workflow.clone(), shards: Vec::new() };
                // Where traffic goes stands in the topology: a shard that does not answer does not hide it.
                Some(Self::call(rpc::WORKFLOW_STATUS, request.encode_to_vec(), false))
            }
            2 => self.reverse(replies).map(|(keyspace, reverse)| Self::list(&keyspace, &reverse, &[])),
            _ => None,
        }
    }

    fn prepare(&self, seen: &[Seen], replies: &[Reply], force: bool) -> Result<Prepared, Status> {
        self.check(replies, force)?;
        let (mut changes, mut streams_in_all, mut tablets) = (Vec::new(), 0, 0);
        for (index, seen) in seen.iter().enumerate() {
            let alias = &seen.target.address.alias;
            let streams = stream::streams(seen.rows(STREAMS)).map_err(|text| Status::unknown(format!("{alias}: {text}")))?;
            self.refusal(&streams, seen, force)?;
            streams_in_all += streams.len();
            if !streams.is_empty() {
                tablets += 1;
                changes.extend(self.changes(index, seen, &streams)?);
            }
        }
        if streams_in_all == 0 {
            return Err(self.no_streams());
        }
        let summary = format!("This deletes {} on {}:", count(streams_in_all, "stream"), count(tablets, "tablet"));
        let kept = ["the copied tables", "the routing rules", "the streams' log rows"].map(str::to_owned).to_vec();
        let mut warnings = Vec::new();
        if !self.request.shards.is_empty() {
            warnings.push("the workflow's streams on other shards stay".to_owned());
        }
        if force {
            let state = |reply: &Reply| WorkflowStatusResponse::decode(reply.result.as_ref().ok()?.as_slice()).ok();
            let traffic = replies.get(1).and_then(state).map_or_else(|| "not known".into(), |status| status.traffic_state);
            warnings.push(format!("forced; its traffic: {traffic}"));
        }
        Ok(Prepared { summary, kept, warnings, changes })
    }

    fn judge(&self, change: &Change, before: &Seen, after: &Seen) -> Shown {
        let (Ok(before), Ok(after)) = (stream::streams(before.rows(STREAMS)), stream::streams(after.rows(STREAMS))) else {
            return Shown::Part("a row that cannot be read".into());
        };
        let was: Vec<i64> = before.iter().map(|stream| stream.id).collect();
        let left = after.iter().filter(|stream| was.contains(&stream.id)).count();
        match left {
            0 => Shown::All,
            left if left == change.rows.len() => Shown::Nothing,
            left => Shown::Part(format!("{left} of {} left", count(was.len(), "stream"))),
        }
    }

    /// Every target is there, those without streams as not deleted.
    fn reply(&self, seen: &[Seen], done: &[Done]) -> Result<Vec<u8>, Status> {
        let mut details: Vec<(String, TabletInfo)> = seen
            .iter()
            .enumerate()
            .map(|(index, seen)| {
                let has_deleted = |done: &Done| {
                    let rows = if done.error.is_empty() { done.rows.unwrap_or_default() } else { 1 };
                    done.change.target == index && rows > 0
                };
                let info = TabletInfo { tablet: seen.target.place.alias.clone(), deleted: done.iter().any(has_deleted) };
                (seen.target.address.alias.clone(), info)
            })
            .collect();
        details.sort_by(|a, b| a.0.cmp(&b.0));
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        let summary = format!("Successfully cancelled the {workflow} workflow in the {keyspace} keyspace");
        let details = details.into_iter().map(|(_, info)| info).collect();
        Ok(WorkflowDeleteResponse { summary, details }.encode_to_vec())
    }
}
