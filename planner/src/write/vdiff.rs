//! `VDiffCreate`, `VDiffStop`, `VDiffResume`, `VDiffDelete`: comparisons of source and target rows are begun and controlled.
//!
//! The tablets compare; here every target shard is looked at first, so that a UUID that one of them does not have, or has already, is
//! known before any is changed. No lock is taken, as in vtctld: the tablets take the workflow's while they begin to compare a table.
//! One that is created is deleted again where it was, if another tablet refused it. What is done already where a request is repeated is
//! left alone.
//!
//! Facts: `go/vt/vtctl/workflow/vdiff.go`, `server.go`; `go/vt/vttablet/tabletmanager/vdiff/action.go` and `schema.go`, v18 to v24.

use prost::Message;

use crate::{
    contract::{Call, Code, PlannedRow, Status, Timestamp, Verdict},
    formats::{quote::quoted, uuid},
    limits,
    proto::{
        binlogdata::VReplicationWorkflowState,
        tabletmanagerdata::{VDiffOptions, VDiffRequest, ValidateVReplicationPermissionsRequest},
        vtctldata::{
            GetWorkflowsRequest, VDiffCreateRequest, VDiffCreateResponse, VDiffDeleteRequest, VDiffStopRequest, Workflow,
            workflow::Stream,
        },
    },
    rpc,
    shell::Command,
    sidecar::{
        literal::quote,
        query::Query,
        read::{Read, Subject},
        statement::Scope,
        survey::Look,
    },
    topo::{names::KeyspaceName, targets::Target},
    words::plural,
    write::{
        change::{Change, Prepared},
        inquiry::{Inquired, Inquiry},
        judge::{Done, Shown},
        kind::{Lock, NoTargets, TabletWrite},
        seen::{Seen, unread},
        vdiff_options,
        vdiff_rows::{self, VDiff, tables, vdiffs},
    },
};

/// The looks of a target, in their order.
const NAMES: usize = 0;
const VDIFFS: usize = 1;
/// The states of one's tables, or whether the tablet is of v21: for those who need it.
const MORE: usize = 2;

pub(crate) struct VDiffWrite {
    keyspace: String,
    workflow: String,
    /// Empty means all that have streams of the workflow.
    shards: Vec<String>,
    /// `None`: all of the workflow.
    uuid: Option<String>,
    verb: Verb,
}

enum Verb {
    Create(Box<VDiffOptions>),
    Stop,
    Resume,
    Delete,
}

/// What is to be done on one target.
enum Decision<'a> {
    /// It is changed: these rows of it, none where one is created.
    Touch(Vec<&'a VDiff>),
    /// It is left alone: it …
    Leave(&'static str),
}

impl VDiffWrite {
    /// Reads a `VDiffCreateRequest`. Without a UUID it makes one of the moment.
    ///
    /// # Errors
    /// A UUID that is none, numbers that mean nothing, a keyspace that cannot exist.
    pub(crate) fn create(call: &Call, now: Timestamp) -> Result<Self, Status> {
        let request: VDiffCreateRequest = crate::operation::decode(call)?;
        let uuid = match request.uuid.trim() {
            "" => uuid::made(now, &[&request.target_keyspace, &request.workflow]),
            text => uuid::parse(text).map_err(|why| Status::unknown(format!("invalid UUID provided: {text}: {why}")))?,
        };
        let verb = Verb::Create(Box::new(vdiff_options::options(&request)?));
        Self::new(verb, call, request.target_keyspace, request.workflow, Vec::new(), Some(uuid))
    }

    /// Reads a `VDiffStopRequest`.
    ///
    /// # Errors
    /// A keyspace that cannot exist.
    pub(crate) fn stop(call: &Call) -> Result<Self, Status> {
        let request: VDiffStopRequest = crate::operation::decode(call)?;
        // What is no UUID is one that no tablet has.
        let uuid = uuid::parse(&request.uuid).unwrap_or(request.uuid);
        Self::new(Verb::Stop, call, request.target_keyspace, request.workflow, request.target_shards, Some(uuid))
    }

    /// Reads a `VDiffResumeRequest`, which is the same message.
    ///
    /// # Errors
    /// A keyspace that cannot exist.
    pub(crate) fn resume(call: &Call) -> Result<Self, Status> {
        Ok(Self { verb: Verb::Resume, ..Self::stop(call)? })
    }

    /// Reads a `VDiffDeleteRequest`.
    ///
    /// # Errors
    /// An argument that is neither `all` nor a UUID, a keyspace that cannot exist.
    pub(crate) fn delete(call: &Call) -> Result<Self, Status> {
        let VDiffDeleteRequest { workflow, target_keyspace, arg } = crate::operation::decode(call)?;
        let uuid = match arg.as_str() {
            "all" => None,
            text => Some(uuid::parse(text).map_err(|_| {
                let message = format!("action argument {text} not supported: it is all or a UUID; nothing was changed");
                Status { code: Code::Unknown, message }
            })?),
        };
        Self::new(Verb::Delete, call, target_keyspace, workflow, Vec::new(), uuid)
    }

    fn new(
        verb: Verb,
        call: &Call,
        keyspace: String,
        workflow: String,
        mut shards: Vec<String>,
        uuid: Option<String>,
    ) -> Result<Self, Status> {
        if keyspace.is_empty() {
            let text = "FindAllShardsInKeyspace() invalid keyspace name: UnescapeID err: invalid input identifier ''";
            return Err(Status::unknown(text.to_owned()));
        }
        KeyspaceName::of_request(&keyspace)?;
        shards.extend(call.options.shards.iter().cloned());
        let vdiff = Self { keyspace, workflow, shards, uuid, verb };
        if vdiff.workflow.is_empty() || vdiff.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            return Err(vdiff.no_streams());
        }
        Ok(vdiff)
    }

    fn no_streams(&self) -> Status {
        Status::unknown(format!("no streams found in keyspace {} for {}", self.keyspace, self.workflow))
    }

    fn not_a_target(&self, shard: &str) -> Status {
        Status::unknown(format!("specified target shard {shard} not a valid target for workflow {}", self.workflow))
    }

    /// What its rows say of the workflow's streams, for whoever creates one.
    fn streams<'a>(&self, replies: &'a [Inquired]) -> Result<Vec<&'a Stream>, Status> {
        let workflows: &[Workflow] = match replies.first() {
            Some(Inquired::Workflows(Ok(workflows))) => workflows,
            Some(Inquired::Workflows(Err(text))) => return Err(unread(text)),
            _ => return Err(unread("the streams were not asked for")),
        };
        let of_it = workflows.iter().filter(|workflow| workflow.name == self.workflow);
        Ok(of_it.flat_map(|workflow| workflow.shard_streams.values()).flat_map(|shard| &shard.streams).collect())
    }

    /// Why none can be created now, whatever there is.
    fn refusal(&self, options: &VDiffOptions, streams: &[&Stream]) -> Result<(), Status> {
        let of = format!("{}.{}", self.keyspace, self.workflow);
        if streams.iter().any(|stream| stream.message == "FROZEN") {
            let text = format!("invalid VDiff run: writes have been already been switched for workflow {of}");
            return Err(Status::unknown(text));
        }
        for stream in streams {
            match VReplicationWorkflowState::from_str_name(&stream.state) {
                Some(VReplicationWorkflowState::Running) => {}
                Some(_) => return Err(Status::unknown(format!("not all streams are running in workflow {of}"))),
                None => return Err(Status::unknown(format!("invalid state for stream {} of workflow {of}", stream.state))),
            }
        }
        let rules = || streams.iter().filter_map(|stream| stream.binlog_source.as_ref()?.filter.as_ref()).flat_map(|f| &f.rules);
        // Which tables a pattern names only the source knows.
        if rules().any(|rule| rule.r#match.starts_with('/')) {
            return Ok(());
        }
        let tables = options.core_options.as_ref().map_or("", |core| core.tables.as_str());
        let is_unknown = |table: &&str| !table.is_empty() && !rules().any(|rule| rule.r#match == *table);
        match tables.split(',').find(is_unknown) {
            Some(table) => {
                let message = format!("table {} is none of workflow {of}; nothing was changed", quoted(table));
                Err(Status { code: Code::InvalidArgument, message })
            }
            None => Ok(()),
        }
    }

    /// What is done on one target.
    ///
    /// # Errors
    /// Why nothing is done anywhere, in the tablet's words where it would say so.
    fn decide<'a>(&self, seen: &Seen, vdiffs: &'a [VDiff]) -> Result<Decision<'a>, String> {
        let alias = &seen.target.address.alias;
        let Some(uuid) = &self.uuid else {
            let is_any = !vdiffs.is_empty();
            return Ok(if is_any { Decision::Touch(vdiffs.iter().collect()) } else { Decision::Leave("has no VDiff of it") });
        };
        let found = vdiffs.iter().find(|vdiff| vdiff.uuid.eq_ignore_ascii_case(uuid));
        if let (Verb::Create(_), known) = (&self.verb, found) {
            let known = known.map(|_| format!("vdiff with UUID {uuid} already exists on tablet {alias}"));
            return known.map_or(Ok(Decision::Touch(Vec::new())), Err);
        }
        let Some(vdiff) = found else {
            return match self.verb {
                Verb::Resume => Err(format!("vdiff with UUID {uuid} not found on tablet {alias}")),
                _ => Ok(Decision::Leave("has no VDiff of this UUID")),
            };
        };
        if vdiff.keyspace != self.keyspace || vdiff.workflow != self.workflow {
            return Err(format!("vdiff {uuid} on tablet {alias} is of workflow {}.{}", vdiff.keyspace, vdiff.workflow));
        }
        let is_ended = |state: &str| matches!(state, "completed" | "stopped");
        match (&self.verb, vdiff.state.as_str()) {
            (Verb::Resume, "pending" | "started") => Ok(Decision::Leave("compares already")),
            (Verb::Resume, state) => {
                let tables = tables(seen, MORE)?;
                let is_untouched = tables.is_empty() && vdiff.started_at.is_empty() && vdiff.completed_at.is_empty();
                let can_go_on = is_ended(state) && tables.iter().any(|state| is_ended(state));
                if can_go_on || state == "stopped" && is_untouched {
                    Ok(Decision::Touch(vec![vdiff]))
                } else {
                    Err(self.not_resumable(seen))
                }
            }
            (Verb::Stop, "completed") => Ok(Decision::Leave("has completed it")),
            (Verb::Stop, "stopped") => Ok(Decision::Leave("has stopped it already")),
            _ => Ok(Decision::Touch(vec![vdiff])),
        }
    }

    fn not_resumable(&self, seen: &Seen) -> String {
        let (uuid, alias) = (self.uuid.as_deref().unwrap_or_default(), &seen.target.address.alias);
        format!("no completed or stopped vdiff found for UUID {uuid} on tablet {alias}")
    }

    /// Why a request that finds nothing to do on any target fails, in a tablet's words; `None`: it does not.
    fn nothing(&self, seen: &Seen) -> Option<String> {
        match (&self.verb, &self.uuid) {
            (Verb::Resume, _) => Some(self.not_resumable(seen)),
            (Verb::Delete, Some(uuid)) => Some(format!("no vdiff found for UUID {uuid} on tablet {}", seen.target.address.alias)),
            _ => None,
        }
    }

    /// The tablet's request.
    fn request(&self, action: &str) -> VDiffRequest {
        let (keyspace, workflow, action) = (self.keyspace.clone(), self.workflow.clone(), action.to_owned());
        let mut request = VDiffRequest { keyspace, workflow, action, ..VDiffRequest::default() };
        match request.action.as_str() {
            "delete" => request.action_arg = self.uuid.clone().unwrap_or_else(|| "all".into()),
            _ => request.vdiff_uuid = self.uuid.clone().unwrap_or_default(),
        }
        request
    }

    fn change(&self, target: usize, seen: &Seen, touched: &[&VDiff]) -> Change {
        let (db_name, shard) = (quote(&seen.target.db_name), quote(&seen.target.place.shard));
        let (keyspace, workflow) = (quote(&self.keyspace), quote(&self.workflow));
        let uuid = quote(self.uuid.as_deref().unwrap_or_default());
        let scope = match &self.uuid {
            Some(_) => format!("vd.vdiff_uuid = {uuid} and vd.db_name = {db_name}"),
            None => format!("vd.keyspace = {keyspace} and vd.workflow = {workflow} and vd.db_name = {db_name}"),
        };
        let all = "_vt.vdiff as vd left join _vt.vdiff_table as vdt on vd.id = vdt.vdiff_id";
        let mut rows: Vec<PlannedRow> = touched.iter().map(|vdiff| self.planned(seen, vdiff)).collect();
        let (action, statement) = match &self.verb {
            Verb::Create(options) => {
                let name = name(self.uuid.as_deref().unwrap_or_default());
                rows.push(PlannedRow { name, about: "new".into(), basis: "new".into() });
                let state = if starts(options) { "pending" } else { "stopped" };
                let options = quote(&vdiff_options::json(options));
                let columns = "keyspace, workflow, state, options, shard, db_name, vdiff_uuid";
                let values = format!("{keyspace}, {workflow}, '{state}', {options}, {shard}, {db_name}, {uuid}");
                ("create", format!("insert into _vt.vdiff({columns}) values ({values})"))
            }
            Verb::Stop => (
                "stop",
                format!(
                    "update {all} set vd.state = 'stopped', vdt.state = 'stopped', vd.last_error = '' where {scope} and vd.state != 'completed'"
                ),
            ),
            Verb::Resume => (
                "resume",
                format!(
                    "update {all} set vd.started_at = null, vd.completed_at = null, vd.state = 'pending', vdt.state = 'pending' where {scope}"
                ),
            ),
            Verb::Delete => ("delete", format!("delete vd, vdt from {all} where {scope}")),
        };
        let mut request = self.request(action);
        if let Verb::Create(options) = &self.verb {
            request.options = Some((**options).clone());
        }
        let call = |request: &VDiffRequest, subject| Query::typed(rpc::VDIFF, request, subject);
        let change = Change::call(target, seen, Query { statement, ..call(&request, "vdiff") }, rows);
        match self.verb {
            Verb::Create(_) => change.that_is_undone_by(seen, call(&self.request("delete"), "vdiff undone")),
            Verb::Stop | Verb::Resume | Verb::Delete => change,
        }
    }

    /// A row as a plan has it. What goes on by itself is not what the plan rests on.
    fn planned(&self, seen: &Seen, vdiff: &VDiff) -> PlannedRow {
        let is_late = matches!(self.verb, Verb::Stop) && tables(seen, MORE).is_ok_and(|states| states.is_empty());
        let late = if is_late { ", no table yet: it may begin again when its tablet restarts" } else { "" };
        let basis = match (&self.verb, vdiff.state.as_str()) {
            (Verb::Delete, _) => "there",
            (_, "pending" | "started") => "under way",
            (_, state) => state,
        };
        let about = format!("{}{late}", vdiff.state);
        PlannedRow { name: name(&vdiff.uuid), about, basis: basis.into() }
    }

    fn summary(&self, count: usize, tablets: usize) -> String {
        let verb = match self.verb {
            Verb::Create(_) => "creates",
            Verb::Stop => "stops",
            Verb::Resume => "resumes",
            Verb::Delete => "deletes",
        };
        let what = self.uuid.as_ref().map_or_else(|| plural(count, "VDiff"), |uuid| format!("VDiff {uuid}"));
        format!("This {verb} {what} of {}.{} on {}:", self.keyspace, self.workflow, plural(tablets, "tablet"))
    }
}

/// Whether a new one begins by itself.
fn starts(options: &VDiffOptions) -> bool {
    options.core_options.as_ref().is_none_or(|core| core.auto_start != Some(false))
}

fn has_workflow(seen: &Seen) -> bool {
    seen.rows(NAMES).iter().any(|rows| !rows.is_empty())
}

impl TabletWrite for VDiffWrite {
    fn keyspace(&self) -> &str {
        &self.keyspace
    }

    fn shards(&self) -> &[String] {
        &self.shards
    }

    fn locks(&self) -> Vec<Lock> {
        Vec::new()
    }

    fn no_targets(&self, why: NoTargets) -> Status {
        match why {
            NoTargets::NoKeyspace { node } => {
                let node = node.trim_end_matches('/');
                Status::unknown(format!("FindAllShardsInKeyspace({}): List: node doesn't exist: {node}", self.keyspace))
            }
            NoTargets::NoShards(_) => self.no_streams(),
        }
    }

    fn no_shard(&self, shard: &str, _: Status) -> Status {
        self.not_a_target(shard)
    }

    fn looks(&self, target: &Target) -> Vec<Look> {
        let scope = Scope { db_name: target.db_name.clone(), workflow: self.workflow.clone(), active_only: false };
        let db_name = &target.db_name;
        let which = match &self.uuid {
            Some(uuid) => format!("vdiff_uuid = {}", quote(uuid)),
            None => format!("keyspace = {} and workflow = {}", quote(&self.keyspace), quote(&self.workflow)),
        };
        let which = format!("{which} and db_name = {}", quote(db_name));
        let mut looks = vec![
            Look::Rows(Read::new(&target.address.alias, Subject::Names, scope)),
            Look::One(vdiff_rows::query(&which, db_name)),
        ];
        match &self.verb {
            Verb::Create(options) if !starts(options) => {
                let request = ValidateVReplicationPermissionsRequest {};
                looks.push(Look::One(Query::typed(rpc::VALIDATE_VREPLICATION_PERMISSIONS, &request, "v21")));
            }
            Verb::Stop | Verb::Resume => looks.push(Look::One(vdiff_rows::tables_query(&which, db_name))),
            Verb::Create(_) | Verb::Delete => {}
        }
        looks
    }

    /// How the streams do, which a new one needs to know.
    fn inquiry(&self, seen: &[Seen], replies: &[Inquired]) -> Option<Inquiry> {
        if !matches!(self.verb, Verb::Create(_)) || !replies.is_empty() || !seen.iter().any(has_workflow) {
            return None;
        }
        let (keyspace, workflow, shards) = (self.keyspace.clone(), self.workflow.clone(), self.shards.clone());
        Some(Inquiry::Workflows(GetWorkflowsRequest { keyspace, workflow, shards, ..GetWorkflowsRequest::default() }))
    }

    fn prepare(&self, seen: &[Seen], replies: &[Inquired], _force: bool) -> Result<Prepared, Status> {
        let targets: Vec<(usize, &Seen)> = seen.iter().enumerate().filter(|(_, seen)| has_workflow(seen)).collect();
        if targets.is_empty() {
            return Err(self.no_streams());
        }
        let is_target = |shard: &&String| targets.iter().any(|(_, seen)| seen.target.place.shard == **shard);
        if let Some(shard) = self.shards.iter().find(|shard| !is_target(shard)) {
            return Err(self.not_a_target(shard));
        }
        let mut warnings = Vec::new();
        if let Verb::Create(options) = &self.verb {
            self.refusal(options, &self.streams(replies)?)?;
            for (_, seen) in targets.iter().filter(|_| !starts(options)) {
                if seen.lacks(MORE)? {
                    let text = "is older than v21 and would start it at once; nothing was changed";
                    let message = format!("tablet {} {text}", seen.target.address.alias);
                    return Err(Status { code: Code::FailedPrecondition, message });
                }
            }
            warnings.push("if one tablet does not take it, it is deleted again where it was created".to_owned());
        }
        let (mut changes, mut kept, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        for (target, seen) in &targets {
            let vdiffs = vdiffs(seen, VDIFFS).map_err(|text| unread(&text))?;
            match self.decide(seen, &vdiffs) {
                Ok(Decision::Touch(touched)) => changes.push(self.change(*target, seen, &touched)),
                Ok(Decision::Leave(why)) => {
                    let Target { place, address, .. } = &seen.target;
                    kept.push(format!("{}/{} {} {why}", self.keyspace, place.shard, address.alias));
                }
                Err(text) => refusals.push(text),
            }
        }
        if changes.is_empty() && refusals.is_empty() {
            refusals = targets.iter().filter_map(|(_, seen)| self.nothing(seen)).collect();
        }
        if !refusals.is_empty() {
            refusals.sort();
            return Err(Status::unknown(format!("{}\nnothing was changed", refusals.join("\n"))));
        }
        let count = changes.iter().map(|change| change.planned.rows.len()).sum();
        let summary = self.summary(count, changes.len());
        Ok(Prepared { summary, kept, warnings, changes })
    }

    fn judge(&self, change: &Change, before: &Seen, after: &Seen) -> Shown {
        let (was, now) = match (vdiffs(before, VDIFFS), vdiffs(after, VDIFFS)) {
            (Ok(was), Ok(now)) => (was, now),
            (Err(text), _) | (_, Err(text)) => return Shown::Unseen(text),
        };
        let is_touched = |vdiff: &&VDiff| change.planned.rows.iter().any(|row| row.name == name(&vdiff.uuid));
        let left: Vec<&VDiff> = now.iter().filter(is_touched).collect();
        match (&self.verb, left.as_slice()) {
            (Verb::Create(_), []) => Shown::Nothing,
            (Verb::Create(_), _) | (Verb::Delete, []) => Shown::All,
            (Verb::Delete, left) if left.len() == change.planned.rows.len() => Shown::Nothing,
            (Verb::Delete, left) => Shown::Part(format!("{} left", plural(left.len(), "VDiff"))),
            (Verb::Stop | Verb::Resume, []) => Shown::Part("no VDiff of this UUID any more".into()),
            (Verb::Stop, [vdiff, ..]) => match vdiff.state.as_str() {
                "stopped" => Shown::All,
                "completed" => Shown::Part("that it has completed".into()),
                _ => Shown::Nothing,
            },
            (Verb::Resume, [vdiff, ..]) => {
                let same = |was: &VDiff| {
                    (&was.state, &was.started_at, &was.completed_at) == (&vdiff.state, &vdiff.started_at, &vdiff.completed_at)
                };
                if was.iter().find(is_touched).is_some_and(same) { Shown::Nothing } else { Shown::All }
            }
        }
    }

    fn reply(&self, _seen: &[Seen], _done: &[Done]) -> Result<Vec<u8>, Status> {
        // The other responses have no fields.
        let Verb::Create(_) = self.verb else { return Ok(Vec::new()) };
        Ok(VDiffCreateResponse { uuid: self.uuid.clone().unwrap_or_default() }.encode_to_vec())
    }

    fn failure(&self, _seen: &[Seen], done: &[Done], lines: String) -> Status {
        let (Verb::Create(_), Some(uuid)) = (&self.verb, &self.uuid) else { return Status::unknown(lines) };
        if done.iter().all(|done| done.verdict == Verdict::NotApplied) {
            return Status::unknown(lines);
        }
        let command = Command::new("vtflow vdiff delete").names(&[&self.keyspace, &self.workflow, uuid], "");
        Status::unknown(format!("{lines}\nwhat is there of it goes by: {command}"))
    }
}

/// As plans name it.
fn name(uuid: &str) -> String {
    format!("vdiff {uuid}")
}
