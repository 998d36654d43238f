//! `WorkflowUpdate`: start, stop, and change of cells, tablet types, DDL handling and configuration of a workflow's streams.
//!
//! The request that a tablet gets is never the client's own: what clients leave out is read differently by the releases, on both
//! ends, and a stopped workflow must not start because somebody named its cells. Tablets before v18 get statements.
//!
//! Facts: `go/vt/vttablet/tabletmanager/rpc_vreplication.go:UpdateVReplicationWorkflow`, v18 to v24;
//! `go/vt/vtctl/workflow/server.go:WorkflowUpdate`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{Call, Code, Status},
    formats::binlog_source,
    ops::workflow_status::traffic::{Traffic, forward_of},
    proto::{
        binlogdata::{VReplicationWorkflowState, VReplicationWorkflowSubType},
        tabletmanagerdata::{
            ReadVReplicationWorkflowRequest, UpdateVReplicationWorkflowRequest, ValidateVReplicationPermissionsRequest,
        },
        vtctldata::{WorkflowStatusRequest, WorkflowUpdateRequest, WorkflowUpdateResponse, workflow_update_response::TabletInfo},
    },
    rpc,
    sidecar::{
        literal::quote,
        query::Query,
        read::{Read, Subject},
        result::RowSet,
        statement::Scope,
        survey::{Look, Looked},
    },
    topo::targets::Target,
    words::plural,
    write::{
        change::{Change, Prepared},
        inquiry::{Inquired, Inquiry},
        judge::{Done, Shown},
        kind::{Lock, NoTargets, TabletWrite},
        locks,
        seen::{Seen, unread},
        stream::{self, Stream},
        stream_update::StreamUpdate,
        traffic::Routed,
    },
};

/// The looks of a target, in their order.
const STREAMS: usize = 0;
const COPY_STATES: usize = 1;
const HAS_UPDATE: usize = 2;
const OTHERS: usize = 3;
const HAS_OVERRIDES: usize = 4;

pub(crate) struct WorkflowUpdate {
    keyspace: String,
    wanted: StreamUpdate,
}

impl WorkflowUpdate {
    /// Reads the request.
    ///
    /// # Errors
    /// What no tablet could do: no workflow, the state `Unknown`, a v17 client's message, fields that this server does not offer.
    pub(crate) fn new(call: &Call) -> Result<Self, Status> {
        let request: WorkflowUpdateRequest = crate::operation::decode(call)?;
        let keyspace = request.keyspace;
        let mut wanted = StreamUpdate::new(request.tablet_request.unwrap_or_default(), &keyspace)?;
        wanted.request.shards.extend(call.options.shards.iter().cloned());
        Ok(Self { keyspace, wanted })
    }

    fn workflow(&self) -> &str {
        &self.wanted.request.workflow
    }

    fn starts(&self) -> bool {
        self.wanted.request.state == Some(VReplicationWorkflowState::Running as i32)
    }

    /// Why a target's streams cannot take the change.
    fn refusal(&self, streams: &[Stream], seen: &Seen) -> Result<(), Status> {
        let place = || format!("{}/{}", self.keyspace, seen.target.place.shard);
        let refused = |message: String| Err(Status { code: Code::FailedPrecondition, message });
        if self.starts() && streams.iter().any(Stream::is_frozen) {
            return refused(format!("cannot start a workflow when it is frozen ({}); nothing was changed", place()));
        }
        if self.starts()
            && let Some(stream) = copying_atomically(streams, seen)
                .map_err(|text| unread(&format!("{}: whether it may be started is not known: {text}", place())))?
        {
            return refused(format!(
                "stream {stream} is still in the copy phase: can only start workflow {} if all streams have completed the copy phase",
                self.workflow()
            ));
        }
        if !self.wanted.request.config_overrides.is_empty() && seen.lacks(HAS_OVERRIDES)? {
            let text = "is older than v21 and would ignore the config overrides; nothing was changed";
            return refused(format!("tablet {} of {} {text}", seen.target.address.alias, place()));
        }
        if has_others(seen)? && (self.wanted.on_ddl().is_some() || !self.wanted.request.config_overrides.is_empty()) {
            let text = "has a workflow of this name in another database, too, which tablets up to v22 would change with it";
            return refused(format!("tablet {} of {} {text}; nothing was changed", seen.target.address.alias, place()));
        }
        if seen.lacks(HAS_UPDATE)? && self.wanted.on_ddl().is_some() {
            let text = "is older than v18, where on-ddl cannot be changed; nothing was changed";
            return refused(format!("tablet {} of {} {text}", seen.target.address.alias, place()));
        }
        Ok(())
    }

    /// What is to be known before streams of a move are started: of the two directions only one may write, and only to the side that is
    /// not live.
    fn traffic_warning(&self, seen: &[Seen], replies: &[Inquired]) -> Option<String> {
        let unknown = |why: &str| Some(format!("where its traffic goes is not known: {}", why.trim_start_matches("Unknown: ")));
        let routed = match Routed::read(replies) {
            Ok(routed) => routed,
            Err(why) => return unknown(&why),
        };
        let state = &routed.state;
        match (routed.traffic(seen, STREAMS), forward_of(self.workflow()).is_some()) {
            (Traffic::Unknown, _) => unknown(state),
            (Traffic::Split, _) => Some(format!(
                "the traffic of its tables goes different ways ({}): started, it writes old rows over new ones of those that are live where it writes",
                routed.splits.join("; ")
            )),
            (Traffic::SomeShards, false) => Some(format!(
                "writes of some of its shards are switched ({state}): started, it writes old rows over new ones there"
            )),
            (Traffic::SomeShards, true) => Some(format!(
                "writes of some of its shards are not switched ({state}): started, it writes to the side that is live there"
            )),
            (Traffic::Writes | Traffic::Switched, false) => {
                Some(format!("its traffic is switched ({state}): started, it writes old rows over new ones"))
            }
            (Traffic::NotSwitched | Traffic::Reads, true) => {
                Some(format!("its writes are not switched ({state}): started, it writes to the side that is live"))
            }
            (Traffic::NotSwitched | Traffic::Reads, false) | (Traffic::Writes | Traffic::Switched, true) => None,
        }
    }

    /// Streams that would not run on once they are started, a text each.
    fn stop_warnings(alias: &str, streams: &[Stream], seen: &Seen) -> Vec<String> {
        let copying = copying(seen);
        let ends = |stream: &&Stream| {
            let ends = binlog_source::parse(stream.source.as_bytes()).is_ok_and(|source| source.stop_after_copy);
            ends && !stream.pos.is_empty()
        };
        let is_copied = |stream: &&Stream| ends(stream) && copying.as_ref().is_ok_and(|copying| !copying.contains(&stream.id));
        let is_unclear = |stream: &&Stream| ends(stream) && copying.is_err();
        let ids = |is: &dyn Fn(&&Stream) -> bool| -> Vec<String> {
            streams.iter().filter(is).map(|stream| stream.id.to_string()).collect()
        };
        let said = |ids: Vec<String>, what: &str| (!ids.is_empty()).then(|| format!("{alias} stream {} {what}", ids.join(", ")));
        let positions = ids(&|stream| !stream.stop_pos.is_empty());
        [
            said(positions, "has a stop position: it would stop there again, and at once if it is there"),
            said(ids(&is_copied), "was made to stop after its copy, which is done: it would stop again at once"),
            said(ids(&is_unclear), "was made to stop after its copy: whether that is done is not known"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The changes of one target: one call, or, before v18, one statement for all streams that become the same.
    fn changes(&self, target: usize, seen: &Seen, streams: &[Stream]) -> Result<Vec<Change>, Status> {
        let scope = format!("db_name = {} and workflow = {}", quote(&seen.target.db_name), quote(self.workflow()));
        let mut groups: BTreeMap<String, Vec<&Stream>> = BTreeMap::new();
        for stream in streams {
            let set: Vec<String> =
                self.wanted.assignments(stream).iter().map(|(column, value)| format!("{column} = {value}")).collect();
            groups.entry(set.join(", ")).or_default().push(stream);
        }
        let statement = |set: &str, streams: &[&Stream]| {
            let ids: Vec<String> = streams.iter().map(|stream| stream.id.to_string()).collect();
            format!("update _vt.vreplication set {set} where id in ({}) and {scope}", ids.join(", "))
        };
        let rows = |streams: &[&Stream]| streams.iter().map(|stream| stream.planned()).collect();
        // Up to v22 the RPC changes the streams of that name in every database: a statement says which.
        if has_others(seen)? || seen.lacks(HAS_UPDATE)? {
            let change = |(set, streams): (&String, &Vec<&Stream>)| {
                Change::call(target, seen, Query::vreplication("update", statement(set, streams)), rows(streams))
            };
            // v18 and v20 clients send an update of nothing for `--on-ddl IGNORE`: there is no statement for that.
            return Ok(groups.iter().filter(|(set, _)| !set.is_empty()).map(change).collect());
        }
        let request = UpdateVReplicationWorkflowRequest { shards: Vec::new(), ..self.wanted.request.clone() };
        let statements: Vec<String> = groups.iter().map(|(set, streams)| statement(set, streams)).collect();
        let all: Vec<&Stream> = streams.iter().collect();
        let query = Query::typed(rpc::UPDATE_VREPLICATION_WORKFLOW, &request, "update");
        let query = Query { statement: statements.join("; "), ..query };
        Ok(vec![Change::call(target, seen, query, rows(&all))])
    }
}

/// The streams that still copy.
///
/// # Errors
/// A row does not say which stream it is about.
fn copying(seen: &Seen) -> Result<BTreeSet<i64>, String> {
    let mut copying = BTreeSet::new();
    for row in seen.rows(COPY_STATES).iter().flat_map(RowSet::rows) {
        let id = row.integer("vrepl_id").map_err(|error| format!("a row of copy_state cannot be read: {error}"))?;
        copying.extend(id);
    }
    Ok(copying)
}

/// Whether a database beside the tablet's own has streams of the workflow's name.
///
/// # Errors
/// The tablet has not said, or not so that it can be read.
fn has_others(seen: &Seen) -> Result<bool, Status> {
    let text = match seen.looked.get(OTHERS) {
        Some(Looked::Called(bytes)) => match RowSet::from_vreplication_exec(bytes) {
            Ok(rows) => return Ok(!rows.is_empty()),
            Err(error) => {
                let alias = &seen.target.address.alias;
                format!("{alias}: whether other databases have a workflow of this name is not known: {error}")
            }
        },
        Some(Looked::Refused(_, text)) => text.clone(),
        _ => "the tablet was not asked for other databases".into(),
    };
    Err(unread(&text))
}

/// The first stream of an atomic copy that is still copying: one of those must not be started without the others.
///
/// # Errors
/// A row does not say which stream it is about, or of which kind that is.
fn copying_atomically(streams: &[Stream], seen: &Seen) -> Result<Option<i64>, String> {
    let mut atomic = Vec::new();
    for stream in streams {
        if stream.is_of_sub_type(VReplicationWorkflowSubType::AtomicCopy as i32)? {
            atomic.push(stream.id);
        }
    }
    if atomic.is_empty() {
        return Ok(None);
    }
    let copying = copying(seen)?;
    Ok(atomic.into_iter().find(|id| copying.contains(id)))
}

impl TabletWrite for WorkflowUpdate {
    fn keyspace(&self) -> &str {
        &self.keyspace
    }

    fn shards(&self) -> &[String] {
        &self.wanted.request.shards
    }

    /// vtctld takes none: its `WorkflowUpdate` can start a stream in the middle of a switch of traffic.
    fn locks(&self) -> Vec<Lock> {
        locks::of_workflow(&self.keyspace, self.workflow(), "WorkflowUpdate")
    }

    fn no_targets(&self, why: NoTargets) -> Status {
        match why {
            NoTargets::NoKeyspace { node } => {
                Status::unknown(format!("{} keyspace does not exist: node doesn't exist: {node}", self.keyspace))
            }
            NoTargets::NoShards(status) => status,
        }
    }

    fn looks(&self, target: &Target) -> Vec<Look> {
        let scope = Scope { db_name: target.db_name.clone(), workflow: self.workflow().into(), active_only: false };
        let read = |subject| Look::Rows(Read::new(&target.address.alias, subject, scope.clone()));
        let mut looks = vec![read(Subject::Streams), read(Subject::CopyState)];
        let request = ReadVReplicationWorkflowRequest { workflow: self.workflow().into() };
        looks.push(Look::One(Query::typed(rpc::READ_VREPLICATION_WORKFLOW, &request, "v18")));
        let (workflow, db_name) = (quote(self.workflow()), quote(&target.db_name));
        let statement = format!("select id from _vt.vreplication where workflow = {workflow} and db_name != {db_name} limit 1");
        looks.push(Look::One(Query::vreplication("other databases", statement)));
        if !self.wanted.request.config_overrides.is_empty() {
            let request = ValidateVReplicationPermissionsRequest {};
            looks.push(Look::One(Query::typed(rpc::VALIDATE_VREPLICATION_PERMISSIONS, &request, "v21")));
        }
        looks
    }

    /// Where traffic goes, if streams of a move are to be started. While it copies nothing of its writes can have been switched.
    fn inquiry(&self, seen: &[Seen], replies: &[Inquired]) -> Option<Inquiry> {
        if !self.starts() || !replies.is_empty() || seen.iter().any(|seen| copying(seen).is_ok_and(|copying| !copying.is_empty()))
        {
            return None;
        }
        let streams = |seen: &Seen| stream::streams(seen.rows(STREAMS)).unwrap_or_default();
        let is_refused = |seen: &Seen| self.refusal(&streams(seen), seen).is_err();
        if !seen.iter().flat_map(streams).any(|stream| stream.moves_traffic()) || seen.iter().any(is_refused) {
            return None;
        }
        let request =
            WorkflowStatusRequest { keyspace: self.keyspace.clone(), workflow: self.workflow().into(), shards: Vec::new() };
        Some(Inquiry::Status(request))
    }

    fn prepare(&self, seen: &[Seen], replies: &[Inquired], _force: bool) -> Result<Prepared, Status> {
        let (mut changes, mut warnings, mut streams_in_all) = (Vec::new(), Vec::new(), 0);
        if !replies.is_empty() {
            warnings.extend(self.traffic_warning(seen, replies));
        }
        for (index, seen) in seen.iter().enumerate() {
            let alias = &seen.target.address.alias;
            has_others(seen)?;
            let streams = stream::streams(seen.rows(STREAMS)).map_err(|text| Status::unknown(format!("{alias}: {text}")))?;
            if streams.is_empty() {
                continue;
            }
            self.refusal(&streams, seen)?;
            streams_in_all += streams.len();
            if streams.iter().any(Stream::is_frozen) {
                warnings.push(format!("streams of {alias} are frozen: their traffic has been switched"));
            }
            if self.starts() {
                warnings.extend(Self::stop_warnings(alias, &streams, seen));
            }
            if self.wanted.state().is_some() {
                warnings.extend(streams.iter().find_map(|stream| match stream.is_of_migration() {
                    Ok(false) => None,
                    Ok(true) => {
                        let text = "this is the stream of a schema migration, whose scheduler starts and stops it too";
                        Some(format!("{alias}: {text}; see vtflow migration"))
                    }
                    Err(text) => {
                        Some(format!("{alias}: whether a schema migration's scheduler starts and stops it is not known: {text}"))
                    }
                }));
            }
            changes.extend(self.changes(index, seen, &streams)?);
        }
        if changes.is_empty() && streams_in_all > 0 {
            let message = "no configuration options specified to update".into();
            return Err(Status { code: Code::InvalidArgument, message });
        }
        if changes.is_empty() {
            let text = format!("the {} workflow does not exist in the {} keyspace", self.workflow(), self.keyspace);
            return Err(Status::unknown(text));
        }
        let verb = match self.wanted.state() {
            Some("Running") => "starts",
            Some("Stopped") => "stops",
            _ => "changes and restarts",
        };
        let mut tablets: Vec<usize> = changes.iter().map(|change| change.target).collect();
        tablets.dedup();
        let summary = format!("This {verb} {} on {}:", plural(streams_in_all, "stream"), plural(tablets.len(), "tablet"));
        Ok(Prepared { summary, kept: Vec::new(), warnings, changes })
    }

    fn judge(&self, change: &Change, before: &Seen, after: &Seen) -> Shown {
        let (Ok(before), Ok(after)) = (stream::streams(before.rows(STREAMS)), stream::streams(after.rows(STREAMS))) else {
            return Shown::Part("a row that cannot be read".into());
        };
        let is_of_change = |stream: &&Stream| change.planned.rows.iter().any(|row| row.name == format!("stream {}", stream.id));
        let before: Vec<&Stream> = before.iter().filter(is_of_change).collect();
        let pair = |was: &&Stream| {
            after.iter().find(|now| now.id == was.id).map(|now| (self.wanted.is_as_wanted(was, now), was.basis() == now.basis()))
        };
        let shown: Vec<Option<(bool, bool)>> = before.iter().map(pair).collect();
        let wanted = shown.iter().filter(|pair| matches!(pair, Some((true, _)))).count();
        if wanted == shown.len() && before.iter().all(|was| self.wanted.is_as_wanted(was, was)) {
            return Shown::Part("rows that were as asked for before".into());
        }
        if wanted == shown.len() {
            return Shown::All;
        }
        if shown.iter().all(|pair| matches!(pair, Some((_, true))))
            && wanted == before.iter().filter(|was| self.wanted.is_as_wanted(was, was)).count()
        {
            return Shown::Nothing;
        }
        Shown::Part(format!("{wanted} of {} as asked for", plural(shown.len(), "stream")))
    }

    fn reply(&self, seen: &[Seen], done: &[Done]) -> Result<Vec<u8>, Status> {
        let mut by_target: BTreeMap<usize, Option<u64>> = BTreeMap::new();
        for done in done {
            let sum = by_target.entry(done.change.target).or_default();
            // A second look that shows the change says nothing of rows: it was made.
            let rows = if done.error.is_empty() { done.rows } else { Some(1) };
            *sum = sum.map_or(rows, |sum| Some(sum + rows.unwrap_or_default()));
        }
        let details: Vec<TabletInfo> = by_target
            .into_iter()
            .filter_map(|(target, rows)| {
                let tablet = seen.get(target)?.target.place.alias.clone();
                Some(TabletInfo { tablet, changed: rows? > 0 })
            })
            .collect();
        let (workflow, keyspace) = (self.workflow(), &self.keyspace);
        if details.is_empty() {
            return Err(Status::unknown(format!("the {workflow} workflow does not exist in the {keyspace} keyspace")));
        }
        let n = details.len();
        let summary =
            format!("Successfully updated the {workflow} workflow on ({n}) target primary tablets in the {keyspace} keyspace");
        Ok(WorkflowUpdateResponse { summary, details }.encode_to_vec())
    }
}
