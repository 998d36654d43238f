//! `WorkflowDelete`: the streams of a workflow, with their copy states, log entries and comparisons, and nothing else.
//!
//! Copied tables and routing rules are kept: what asks for them to go, and a workflow that still has reverse streams, is for
//! `cutover`. Refused before anything is touched are a workflow whose write traffic has been switched and one that belongs to a schema
//! migration. One whose source cannot be looked at (gone, down, in another cluster) is deleted if the request says that its source
//! is to be left as it is (`ignore_source_keyspace`), or if it is forced.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:WorkflowDelete`, v22 to v24; `go/vt/vttablet/tabletmanager/rpc_vreplication.go`.

use prost::Message;

use crate::{
    contract::{Call, Code, Status},
    limits,
    ops::workflow_status::traffic::{Traffic, reverse_of},
    proto::{
        binlogdata::VReplicationWorkflowType,
        tabletmanagerdata::{DeleteVReplicationWorkflowRequest, ReadVReplicationWorkflowRequest, VDiffRequest},
        vtctldata::{
            GetWorkflowsRequest, WorkflowDeleteRequest, WorkflowDeleteResponse, WorkflowStatusRequest,
            workflow_delete_response::TabletInfo,
        },
    },
    rpc, shell,
    sidecar::{
        literal::quote,
        query::{How, Query},
        read::{Read, Subject},
        statement::Scope,
        survey::Look,
    },
    topo::targets::Target,
    words::plural,
    write::{
        change::{Change, Prepared},
        inquiry::{Inquired, Inquiry},
        judge::{Done, Shown},
        kind::{Lock, NoTargets, TabletWrite},
        locks,
        seen::Seen,
        sources::{self, Kind, Sources, Trouble},
        stream::{self, Stream},
        traffic::Routed,
    },
};

/// The looks of a target, in their order.
const STREAMS: usize = 0;
const HAS_DELETE: usize = 1;

/// Types of workflows, by number. Source: `go/vt/proto/binlogdata`.
const LOOKUP_INDEX: i32 = VReplicationWorkflowType::CreateLookupIndex as i32;

pub(crate) struct WorkflowDelete {
    request: WorkflowDeleteRequest,
}

impl WorkflowDelete {
    /// Reads the request.
    ///
    /// # Errors
    /// It names no workflow that can exist.
    pub(crate) fn new(call: &Call) -> Result<Self, Status> {
        let mut request: WorkflowDeleteRequest = crate::operation::decode(call)?;
        let refused = |code, message: String| Err(Status { code, message });
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &request;
        if workflow.is_empty() {
            return refused(Code::InvalidArgument, "invalid request, no workflow provided".into());
        }
        if workflow.len() > limits::WORKFLOW_NAME_BYTES {
            return Err(Status::unknown(format!("no streams found in keyspace {keyspace} for {workflow}")));
        }
        request.shards.extend(call.options.shards.iter().cloned());
        Ok(Self { request })
    }

    fn no_streams(&self) -> Status {
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        Status::unknown(format!("no streams found in keyspace {keyspace} for {workflow}"))
    }

    /// The other direction's name.
    fn reverse(&self) -> String {
        reverse_of(&self.request.workflow)
    }

    /// Every stream that would be deleted, target by target, as it is stored.
    fn streams(seen: &[Seen]) -> Result<Vec<(&Seen, Vec<Stream>)>, Status> {
        let read = |seen| match stream::streams(Seen::rows(seen, STREAMS)) {
            Ok(streams) => Ok((seen, streams)),
            Err(text) => Err(Status::unknown(format!("{}: {text}; nothing was changed", seen.target.address.alias))),
        };
        seen.iter().map(read).collect()
    }

    /// What they read. A lookup vindex's other side has nothing of the workflow: it is not asked after. Source:
    /// `go/vt/vtctl/workflow/server.go:WorkflowDelete`.
    fn sources(streams: &[(&Seen, Vec<Stream>)]) -> Sources {
        let all = streams.iter().flat_map(|(seen, streams)| streams.iter().map(move |stream| (*seen, stream)));
        // One that does not say what it is may have another side.
        Sources::of(all.filter(|(_, stream)| stream.is_of_type(LOOKUP_INDEX) != Ok(true)))
    }

    /// Why a source that cannot be looked at forbids it.
    fn source_refusal(&self, troubles: &[Trouble]) -> Status {
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        let texts: Vec<&str> = troubles.iter().map(|trouble| trouble.text.as_str()).collect();
        let command = shell::workflow("delete", keyspace, workflow, &["--ignore-source"]);
        let message = format!(
            "the source of the {workflow} workflow cannot be looked at: {}\nnothing was changed. To delete its streams and leave its source as it is: {command} (in a request: ignore_source_keyspace)",
            texts.join("; ")
        );
        Status { code: Code::FailedPrecondition, message }
    }

    /// Why its traffic, or the lack of news of it, forbids it. `excuse`: nobody can tell because of the source, which is to be left
    /// alone.
    fn traffic_refusal(routed: &Result<Routed, String>, seen: &[Seen], excuse: bool) -> Result<(), Status> {
        let refused = |message: String| Err(Status { code: Code::FailedPrecondition, message });
        let unknown = |text: &str| refused(format!("where traffic goes is not known ({text}); nothing was changed"));
        let routed = match routed {
            Ok(routed) => routed,
            Err(_) if excuse => return Ok(()),
            Err(text) => return unknown(text),
        };
        let splits = routed.splits.join("; ");
        let force = "nothing was changed. If it has to go all the same, force it";
        match (routed.traffic_of_some(seen, STREAMS), splits.as_str()) {
            (Traffic::Unknown, _) if excuse => Ok(()),
            (Traffic::Unknown, _) => unknown(&routed.state),
            (Traffic::Writes | Traffic::SomeShards | Traffic::Switched, "") => {
                Err(Status::unknown("cannot delete workflow because you have already switched write traffic"))
            }
            (_, "") => Ok(()),
            (Traffic::Writes | Traffic::SomeShards | Traffic::Switched, _) => refused(format!(
                "cannot delete workflow because you have already switched write traffic of some of its tables: {splits}; {force}"
            )),
            _ => refused(format!(
                "cannot delete workflow because the traffic of its tables goes different ways: {splits}; {force}"
            )),
        }
    }

    fn reverse_refusal(&self, keyspace: &str) -> Status {
        let WorkflowDeleteRequest { keyspace: target, workflow, .. } = &self.request;
        let command = shell::workflow("delete", target, workflow, &["--ignore-source"]);
        let text = "is there, too, and would have to go with it, which vtflow does not do: send this to a vtctld";
        let message = format!("workflow {keyspace}.{} {text}; nothing was changed. To leave it there: {command}", self.reverse());
        Status { code: Code::Unimplemented, message }
    }

    fn refusal(&self, streams: &[Stream], force: bool) -> Result<(), Status> {
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        let kinds: Vec<Result<bool, String>> = streams.iter().map(Stream::is_of_migration).collect();
        if let Some(text) = kinds.iter().find_map(|kind| kind.as_ref().err()).filter(|_| !force) {
            let why = format!("whether the {workflow} workflow belongs to a schema migration is not known: {text}");
            let message = format!("{why}; nothing was changed. If it has to go all the same, force it");
            return Err(Status { code: Code::FailedPrecondition, message });
        }
        if kinds.contains(&Ok(true)) {
            // A migration's stream outlives it until its tablet cleans up after it: what cancels it does nothing then.
            let [keyspace, uuid] = [keyspace, workflow].map(|name| shell::quoted(name));
            let use_instead = format!("Use: vtflow migration cancel {keyspace} {uuid}");
            let ended = format!("or, if it has ended: vtflow migration cleanup {keyspace} {uuid}");
            let text = format!("belongs to a schema migration; nothing was changed. {use_instead}, {ended}");
            let message = format!("the {workflow} workflow {text}");
            return Err(Status { code: Code::FailedPrecondition, message });
        }
        Ok(())
    }

    /// Why frozen streams stay. `traffic`: where it goes now, which is not where it was switched to if it was switched back.
    fn frozen_refusal(&self, seen: &Seen, is_lookup: bool, traffic: Result<&str, &str>) -> Status {
        let WorkflowDeleteRequest { keyspace, workflow, .. } = &self.request;
        let place = format!("{keyspace}/{}", seen.target.place.shard);
        let text = if is_lookup {
            let command = shell::workflow("delete", keyspace, workflow, &["--ignore-source"]);
            format!(
                "its vindex was externalized; nothing was changed. To delete its streams, whatever its source says: {command}"
            )
        } else {
            let traffic = traffic.ok().filter(|state| !state.starts_with("Unknown")).unwrap_or("not known");
            format!(
                "its traffic has been switched at some time (now: {traffic}); nothing was changed. If it has to go all the same, force it"
            )
        };
        Status { code: Code::FailedPrecondition, message: format!("the {workflow} workflow is frozen on {place}: {text}") }
    }

    fn changes(&self, target: usize, seen: &Seen, streams: &[Stream]) -> Result<Vec<Change>, Status> {
        let workflow = &self.request.workflow;
        let scope = format!("db_name = {} and workflow = {}", quote(&seen.target.db_name), quote(workflow));
        let statement = format!("delete from _vt.vreplication where {scope}");
        let rows = streams.iter().map(Stream::planned).collect();
        let query = if seen.lacks(HAS_DELETE)? {
            Query::vreplication("delete", statement)
        } else {
            let request = DeleteVReplicationWorkflowRequest { workflow: workflow.clone() };
            Query { statement, ..Query::typed(rpc::DELETE_VREPLICATION_WORKFLOW, &request, "delete") }
        };
        let mut changes = vec![Change::call(target, seen, query, rows)];
        if !streams.is_empty() {
            let request = VDiffRequest {
                keyspace: self.request.keyspace.clone(),
                workflow: workflow.clone(),
                action: "delete".into(),
                action_arg: "all".into(),
                ..VDiffRequest::default()
            };
            let statement = format!("/* the workflow's comparisons */ VDiff delete all of {}", quote(workflow));
            let vdiff = Query { statement, ..Query::typed(rpc::VDIFF, &request, "vdiff") };
            changes.push(Change::call(target, seen, vdiff, Vec::new()).that_is_best_effort());
            // Tablets keep the log of streams that are gone. The second condition: no stream that is there can lose its own.
            let ids: Vec<String> = streams.iter().map(|stream| stream.id.to_string()).collect();
            let scope = format!("vrepl_id in ({}) and vrepl_id not in (select id from _vt.vreplication)", ids.join(", "));
            let statement = format!("delete from _vt.vreplication_log where {scope}");
            let how = How::ExecuteFetchAsDba { db_name: String::new(), max_rows: 0 };
            let log = Query::by(how, "log", statement);
            changes.push(Change::call(target, seen, log, Vec::new()).that_is_best_effort());
        }
        Ok(changes)
    }
}

impl TabletWrite for WorkflowDelete {
    fn keyspace(&self) -> &str {
        &self.request.keyspace
    }

    fn shards(&self) -> &[String] {
        &self.request.shards
    }

    /// As vtctld, whose `DropTargets` holds the keyspace, too.
    fn locks(&self) -> Vec<Lock> {
        locks::of_workflow(&self.request.keyspace, &self.request.workflow, "WorkflowDelete")
    }

    fn no_targets(&self, why: NoTargets) -> Status {
        match why {
            NoTargets::NoKeyspace { node } => {
                let node = node.trim_end_matches('/');
                Status::unknown(format!("FindAllShardsInKeyspace({}): List: node doesn't exist: {node}", self.request.keyspace))
            }
            NoTargets::NoShards(_) => self.no_streams(),
        }
    }

    fn looks(&self, target: &Target) -> Vec<Look> {
        let workflow = self.request.workflow.clone();
        let scope = Scope { db_name: target.db_name.clone(), workflow: workflow.clone(), active_only: false };
        vec![
            Look::Rows(Read::new(&target.address.alias, Subject::Streams, scope)),
            Look::One(Query::typed(rpc::READ_VREPLICATION_WORKFLOW, &ReadVReplicationWorkflowRequest { workflow }, "v18")),
        ]
    }

    /// Where its traffic goes, then of each keyspace that it reads whether it is there, then of each whether it has the other
    /// direction.
    fn inquiry(&self, seen: &[Seen], replies: &[Inquired]) -> Option<Inquiry> {
        let WorkflowDeleteRequest { keyspace, workflow, ignore_source_keyspace, .. } = &self.request;
        let streams = Self::streams(seen).ok()?;
        if streams.iter().all(|(_, streams)| streams.is_empty()) {
            return None;
        }
        let Some(asked) = replies.len().checked_sub(1) else {
            let request = WorkflowStatusRequest { keyspace: keyspace.clone(), workflow: workflow.clone(), shards: Vec::new() };
            return Some(Inquiry::Status(request));
        };
        let sources = Self::sources(&streams);
        let count = sources.here.len();
        if asked < count {
            return sources.here.keys().nth(asked).cloned().map(Inquiry::Shards);
        }
        if *ignore_source_keyspace {
            return None;
        }
        let (keyspace, shards) = sources.here.iter().nth(asked - count)?;
        let (keyspace, shards) = (keyspace.clone(), shards.iter().cloned().collect());
        let request = GetWorkflowsRequest { keyspace, workflow: self.reverse(), shards, ..GetWorkflowsRequest::default() };
        Some(Inquiry::Workflows(request))
    }

    fn prepare(&self, seen: &[Seen], replies: &[Inquired], force: bool) -> Result<Prepared, Status> {
        let all = Self::streams(seen)?;
        let streams_in_all = all.iter().map(|(_, streams)| streams.len()).sum();
        if streams_in_all == 0 {
            return Err(self.no_streams());
        }
        for (_, streams) in &all {
            self.refusal(streams, force)?;
        }
        let ignores = self.request.ignore_source_keyspace;
        let sources = Self::sources(&all);
        let (shards, reverse) = replies.get(1..).unwrap_or_default().split_at_checked(sources.here.len()).unwrap_or_default();
        let troubles = sources.troubles(shards, reverse);
        if !troubles.is_empty() && !ignores && !force {
            return Err(self.source_refusal(&troubles));
        }
        let is_gone = sources.are_gone(&troubles);
        let mut routed = Routed::read(replies);
        // The tables of one that moves none go where others have moved them.
        if let Ok(routed) = &mut routed
            && !all.iter().flat_map(|(_, streams)| streams).any(Stream::moves_traffic)
        {
            routed.splits.clear();
        }
        if !force {
            let excuse = troubles.iter().any(|trouble| matches!(trouble.kind, Kind::Gone | Kind::Unreadable));
            Self::traffic_refusal(&routed, seen, excuse)?;
            // Without a source there is nowhere to switch back to: what is frozen is a leftover. A lookup vindex has switched nothing,
            // and works without its streams.
            let stays = |stream: &Stream| stream.is_frozen() && !(ignores && stream.is_of_type(LOOKUP_INDEX) == Ok(true));
            let frozen = all.iter().find_map(|(seen, streams)| Some((seen, streams.iter().find(|stream| stays(stream))?)));
            if let Some((seen, stream)) = frozen.filter(|_| !is_gone) {
                let traffic = routed.as_ref().map(|routed| routed.state.as_str()).map_err(String::as_str);
                return Err(self.frozen_refusal(seen, stream.is_of_type(LOOKUP_INDEX) == Ok(true), traffic));
            }
        }
        let reversed = sources.here.keys().zip(reverse).find(|(_, reply)| sources::has_streams(reply));
        if let Some((keyspace, _)) = reversed {
            return Err(self.reverse_refusal(keyspace));
        }
        let mut changes = Vec::new();
        let mut tablets = 0;
        for (target, (seen, streams)) in all.iter().enumerate().filter(|(_, (_, streams))| !streams.is_empty()) {
            tablets += 1;
            changes.extend(self.changes(target, seen, streams)?);
        }
        let summary = format!("This deletes {} on {}:", plural(streams_in_all, "stream"), plural(tablets, "tablet"));
        let mut kept = vec!["the copied tables".to_owned(), "the routing rules".to_owned()];
        kept.extend(sources.left(&self.reverse(), &troubles, ignores || !troubles.is_empty()));
        let mut warnings: Vec<String> = troubles.into_iter().map(|trouble| trouble.short).collect();
        if !self.request.shards.is_empty() {
            warnings.push("the workflow's streams on other shards stay".to_owned());
        }
        match routed {
            Ok(routed) if force => warnings.push(format!("forced; its traffic: {}", routed.text())),
            Err(_) if force => warnings.push("forced; its traffic: not known".to_owned()),
            Ok(routed) if routed.traffic(seen, STREAMS) == Traffic::Unknown => {
                warnings.push("where its traffic goes is not known".to_owned());
            }
            Err(_) => warnings.push("where its traffic goes is not known".to_owned()),
            Ok(_) => {}
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
            left if left == change.planned.rows.len() => Shown::Nothing,
            left => Shown::Part(format!("{left} of {} left", plural(was.len(), "stream"))),
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
