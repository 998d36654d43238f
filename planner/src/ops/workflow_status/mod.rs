//! `WorkflowStatus`: what a workflow's streams do, how much of each table is copied, and where its traffic goes.
//!
//! The streams are those of `GetWorkflows`. Beside them, at once: routing rules, and what each cell serves. What depends on the
//! streams comes after them: the record of a resharded shard, and, while anything is copied, table statistics of both sides.
//! A part that cannot be known is named and does not hide the others; a traffic state that cannot be known is never guessed.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:WorkflowStatus`, v24; `docs/compat.md` lists what differs.

mod copy_progress;
mod routing;
mod table_sizes;
pub mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, CallOptions, Failure, FailureKind, Lost, Reply, Status, Timestamp, What},
    formats::time,
    limits,
    operation::{Asks, Operation, decode, ended},
    ops::{
        get_workflows::GetWorkflows,
        workflow_status::{
            copy_progress::{Sizes, Statistics},
            routing::{Known, Routing, Serving, TrafficSwitch},
        },
    },
    proto::{
        binlogdata::{VReplicationWorkflowState as State, VReplicationWorkflowType},
        topodata::Shard,
        vschema,
        vtctldata::{
            GetWorkflowsRequest, Workflow, WorkflowStatusRequest, WorkflowStatusResponse,
            workflow::Stream,
            workflow_status_response::{ShardStreamState, ShardStreams},
        },
    },
    sidecar::{
        RowSet,
        query::{How, Query},
        survey::{Found, Look, Looked, Survey},
    },
    topo::{
        names::{self, GLOBAL, KeyspaceName, ShardName},
        targets::{Event, Place, Target, Unreached, unexpected},
    },
};

pub(crate) struct WorkflowStatus {
    keyspace: KeyspaceName,
    request: WorkflowStatusRequest,
    strict: bool,
    now: Timestamp,
    /// Until all streams are known.
    streams: Option<GetWorkflows>,
    workflow: Workflow,
    /// Once the streams are known.
    moved: Option<TrafficSwitch>,
    records: BTreeMap<AskId, Record>,
    routing: Routing,
    /// Why it is not known what the workflow moves at all; empty: it is.
    unclear: BTreeSet<String>,
    sources: Option<Survey>,
    tables: BTreeSet<String>,
    sizes: BTreeMap<AskId, Side>,
    statistics: Statistics,
    /// By alias.
    source_sizes: BTreeMap<String, Sizes>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
}

/// A record of the topology that says where traffic goes.
enum Record {
    TableRules,
    ShardRules,
    KeyspaceRules,
    Cells,
    ServedVSchema(String),
    ServedKeyspace(String),
    Representative,
}

impl Record {
    /// What it is called in a text.
    fn name(&self, keyspace: &str) -> String {
        match self {
            Self::TableRules => "the routing rules".into(),
            Self::ShardRules => "the shard routing rules".into(),
            Self::KeyspaceRules => "the keyspace routing rules".into(),
            Self::Cells => "the cells".into(),
            Self::ServedVSchema(cell) => format!("the SrvVSchema of cell {cell}"),
            Self::ServedKeyspace(cell) => format!("the SrvKeyspace of {keyspace} in cell {cell}"),
            Self::Representative => "the record of a source shard".into(),
        }
    }
}

/// Whose table statistics.
struct Side {
    /// The key in `shard_streams`; `None`: a source.
    key: Option<String>,
    shard: String,
    tablet: String,
}

impl WorkflowStatus {
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        Self::begin(decode(call)?, &call.options, now, asks)
    }

    /// As [`WorkflowStatus::start`], of a request that another operation makes.
    pub(crate) fn begin(
        request: WorkflowStatusRequest,
        options: &CallOptions,
        now: Timestamp,
        asks: &mut Asks,
    ) -> Result<Self, Status> {
        // All shards, whichever are shown: where traffic goes is a matter of the whole workflow.
        let streams = GetWorkflowsRequest {
            keyspace: request.keyspace.clone(),
            workflow: request.workflow.clone(),
            ..GetWorkflowsRequest::default()
        };
        let streams = GetWorkflows::begin(streams, &CallOptions::default(), now, asks)?;
        let mut this = Self {
            keyspace: KeyspaceName::of_request(&request.keyspace)?,
            strict: options.strict,
            now,
            streams: Some(streams),
            workflow: Workflow::default(),
            moved: None,
            records: BTreeMap::new(),
            routing: Routing::default(),
            unclear: BTreeSet::new(),
            sources: None,
            tables: BTreeSet::new(),
            sizes: BTreeMap::new(),
            statistics: Statistics::default(),
            source_sizes: BTreeMap::new(),
            failures: Vec::new(),
            fatal: None,
            request,
        };
        if this.request.workflow.is_empty() {
            return Err(Status::unknown(this.state_error("no workflow is named")));
        }
        this.record(GLOBAL, "RoutingRules".into(), Record::TableRules, asks);
        this.record(GLOBAL, "ShardRoutingRules".into(), Record::ShardRules, asks);
        this.record(GLOBAL, "routing_rules/keyspace/Rules".into(), Record::KeyspaceRules, asks);
        let id = asks.release(What::TopoRange { cell: GLOBAL.into(), prefix: names::CELLS_PREFIX.into() });
        this.records.insert(id, Record::Cells);
        Ok(this)
    }

    fn state_error(&self, text: &str) -> String {
        let WorkflowStatusRequest { keyspace, workflow, .. } = &self.request;
        format!("failed to get workflow state for {keyspace}.{workflow} workflow: {text}")
    }

    fn record(&mut self, cell: &str, path: String, record: Record, asks: &mut Asks) {
        let id = asks.release(What::TopoGet { cell: cell.into(), path });
        self.records.insert(id, record);
    }

    fn recorded(&mut self, record: Record, answer: Answer, asks: &mut Asks) {
        let name = record.name(&self.request.keyspace);
        let routing = &mut self.routing;
        match record {
            Record::Cells => match answer {
                Answer::Range(records) => self.cells(&records, asks),
                Answer::Missing { .. } => {}
                Answer::Failed { message, .. } => routing.cells = Err(message),
                other => routing.cells = Err(unexpected("a read of the topology", &other)),
            },
            // Absent rules are empty ones.
            Record::TableRules => routing.tables = read(&name, answer, Some(vschema::RoutingRules::default())),
            Record::ShardRules => routing.shards = read(&name, answer, Some(vschema::ShardRoutingRules::default())),
            Record::KeyspaceRules => routing.keyspaces = read(&name, answer, Some(vschema::KeyspaceRoutingRules::default())),
            Record::ServedVSchema(cell) => {
                if let Some(serving) = routing.cells.as_mut().ok().and_then(|cells| cells.get_mut(&cell)) {
                    serving.vschema = read(&name, answer, None);
                }
            }
            Record::ServedKeyspace(cell) => {
                if let Some(serving) = routing.cells.as_mut().ok().and_then(|cells| cells.get_mut(&cell)) {
                    serving.keyspace = read(&name, answer, None);
                }
            }
            Record::Representative => {
                routing.is_representative_serving = read(&name, answer, None).map(|shard: Shard| shard.is_primary_serving);
            }
        }
    }

    fn cells(&mut self, records: &[crate::contract::Record], asks: &mut Asks) {
        let cells = records.iter().filter_map(|record| record.path.strip_prefix(names::CELLS_PREFIX)?.strip_suffix("/CellInfo"));
        let cells: BTreeSet<&str> = cells.collect();
        let mut served = BTreeMap::new();
        for (at, &cell) in cells.iter().enumerate() {
            let unread = |why: String| Serving { vschema: Err(why.clone()), keyspace: Err(why) };
            if at == limits::CELLS {
                let text = format!("of {} cells no more than {at} are read; {cell} is the first that was not", cells.len());
                served.insert(cell.to_owned(), unread(text));
                break;
            }
            if let Err(bad) = names::check_cell(cell) {
                served.insert(cell.to_owned(), unread(format!("cell {cell:?} cannot exist: {bad}")));
                continue;
            }
            served.insert(cell.to_owned(), unread(format!("cell {cell} was not read")));
            self.record(cell, "SrvVSchema".into(), Record::ServedVSchema(cell.into()), asks);
            let path = self.keyspace.srv_keyspace_path();
            self.record(cell, path, Record::ServedKeyspace(cell.into()), asks);
        }
        self.routing.cells = Ok(served);
    }

    /// The status of the workflow, or of the request; and what is missing. Called once, instead of [`Operation::finish`].
    pub(crate) fn end(&mut self) -> (Result<WorkflowStatusResponse, Status>, Vec<Failure>) {
        if let Some(status) = self.fatal.take() {
            return (Err(status), std::mem::take(&mut self.failures));
        }
        self.statistics.sources = std::mem::take(&mut self.source_sizes).into_values().collect();
        let is_copying = self.workflow.workflow_type != VReplicationWorkflowType::Migrate.as_str_name()
            && !copy_progress::in_progress(&self.workflow).is_empty();
        let table_copy_state = if is_copying { copy_progress::merge(&self.workflow, &self.statistics) } else { BTreeMap::new() };
        let mut unknown = std::mem::take(&mut self.unclear);
        let known = self.moved.as_ref().map(|moved| moved.state(&self.routing));
        let traffic_state = match known {
            Some(Ok(state)) if unknown.is_empty() => state,
            known => {
                // What the streams leave open is named beside them already.
                let of_routing = known.and_then(Result::err).filter(|_| unknown.is_empty()).unwrap_or_default();
                unknown.extend(of_routing.iter().cloned());
                let state = format!("Unknown: {}", unknown.into_iter().collect::<Vec<_>>().join("; "));
                unknown = of_routing;
                state
            }
        };
        for message in unknown {
            self.failures.push(Failure {
                keyspace: self.request.keyspace.clone(),
                shard: String::new(),
                tablet: String::new(),
                workflow: self.request.workflow.clone(),
                lost: Lost::Record,
                message,
            });
        }
        let reply = WorkflowStatusResponse { table_copy_state, shard_streams: self.shard_streams(), traffic_state };
        let (result, mut failures) = ended(reply, false, self.strict, std::mem::take(&mut self.failures));
        // Nothing is missing because of it: strict requests have their reply.
        let splits = self.moved.as_ref().map_or_else(Vec::new, |moved| moved.splits(&self.routing));
        failures.extend(splits.into_iter().map(|message| Failure {
            keyspace: self.request.keyspace.clone(),
            shard: String::new(),
            tablet: String::new(),
            workflow: self.request.workflow.clone(),
            lost: Lost::Traffic,
            message,
        }));
        (result, failures)
    }

    /// All streams are known: takes the workflow, and asks for what depends on it.
    fn streams_are_known(&mut self, mut streams: GetWorkflows, asks: &mut Asks) {
        let targets: Vec<Target> = streams.targets().cloned().collect();
        let shards: BTreeSet<String> = streams.shards().map(str::to_owned).collect();
        let (result, failures) = streams.end();
        let WorkflowStatusRequest { keyspace, workflow, shards: wanted } = &self.request;
        self.unclear = streams.unclear(workflow);
        let is_whole = |failure: &Failure| !matches!(failure.lost, Lost::Shard | Lost::CopyState);
        self.statistics.has_all_streams = self.unclear.is_empty() && failures.iter().all(is_whole);
        self.failures.extend(failures);
        let found = result.map_err(|status| match streams.nobody() {
            Some(Event::NoShards(_)) => format!("no streams found in keyspace {keyspace} for {workflow}"),
            Some(Event::NoKeyspace { node }) => {
                let node = node.trim_end_matches('/');
                format!("FindAllShardsInKeyspace({keyspace}): List: node doesn't exist: {node}")
            }
            _ => status.message,
        });
        let found = found.and_then(|workflows| {
            let one = workflows.into_iter().find(|found| found.name == *workflow);
            one.ok_or_else(|| format!("no streams found in keyspace {keyspace} for {workflow}"))
        });
        match found {
            Ok(workflow) => self.workflow = workflow,
            Err(text) => return self.fatal = Some(Status::unknown(self.state_error(&text))),
        }
        if let Some(shard) = wanted.iter().find(|shard| !shards.contains(*shard)) {
            return self.fatal = Some(Status::unknown(format!("shard {shard} not found in keyspace {keyspace}")));
        }
        self.tables = copy_progress::tables(&self.workflow);
        let moved = TrafficSwitch::new(&self.workflow, &self.tables);
        if let Some((keyspace, shard)) = moved.representative() {
            match KeyspaceName::parse(keyspace).and_then(|keyspace| Ok(keyspace.shard_path(&ShardName::parse(shard)?))) {
                Ok(path) => self.record(GLOBAL, path, Record::Representative, asks),
                Err(bad) => self.routing.is_representative_serving = Err(bad.to_string()),
            }
        }
        self.moved = Some(moved);
        let in_progress = copy_progress::in_progress(&self.workflow);
        if in_progress.is_empty() || self.workflow.workflow_type == VReplicationWorkflowType::Migrate.as_str_name() {
            return;
        }
        self.tables.extend(in_progress);
        for target in targets {
            let key = format!("{}/{}", target.shard, target.place.alias_text());
            if self.workflow.shard_streams.contains_key(&key) {
                let (shard, tablet) = (target.place.shard.clone(), target.place.alias_text());
                let id = asks.release(self.sizes_of(&target).ask(&target));
                self.sizes.insert(id, Side { key: Some(key), shard, tablet });
            }
        }
        let streams = self.workflow.shard_streams.values().flat_map(|shard| &shard.streams);
        let mut sources = streams.filter_map(|stream| stream.binlog_source.as_ref());
        // The tables of another cluster, and of a server that is no tablet, cannot be asked for.
        let is_far = sources.any(|source| !source.external_cluster.is_empty() || !source.external_mysql.is_empty());
        let source = self.workflow.source.clone().unwrap_or_default();
        if is_far || source.shards.is_empty() {
            return;
        }
        match Survey::start(&source.keyspace, &source.shards, asks) {
            Ok(survey) => {
                self.sources = Some(survey);
                // Until one of them turns out not to say.
                self.statistics.has_all_sources = true;
            }
            Err(status) => self.fail("", "", status.message),
        }
    }

    /// What each side is asked for: statistics of the tables that are copied.
    fn sizes_of(&self, target: &Target) -> Query {
        let statement = table_sizes::statement(&target.db_name, self.tables.iter());
        let how = How::ExecuteFetchAsDba { db_name: target.db_name.clone(), max_rows: self.tables.len() };
        Query::by(how, "table sizes", statement)
    }

    fn sized(&mut self, side: Side, looked: Looked) {
        let rows = looked.response();
        let rows = rows.and_then(|response| RowSet::from_execute_fetch(&response).map_err(|error| error.to_string()));
        match (rows, side.key) {
            (Ok(rows), Some(key)) => drop(self.statistics.targets.insert(key, copy_progress::sizes(&rows))),
            (Ok(rows), None) => drop(self.source_sizes.insert(side.tablet, copy_progress::sizes(&rows))),
            (Err(text), key) => {
                self.statistics.has_all_sources &= key.is_some();
                self.fail(&side.shard, &side.tablet, format!("table statistics: {text}"));
            }
        }
    }

    fn source(&mut self, found: Found, asks: &mut Asks) {
        let Some(sources) = &mut self.sources else { return };
        let (place, message) = match found {
            Found::Target(index) => {
                let looks = sources.target(index).cloned().map(|target| Look::One(self.sizes_of(&target)));
                if let Some(sources) = &mut self.sources {
                    sources.look(index, 0, looks.into_iter().collect(), asks);
                }
                return;
            }
            Found::Seen(index) => {
                let looked = sources.take(index).remove(&0);
                let place = sources.target(index).map(|target| target.place.clone());
                if let (Some(looked), Some(place)) = (looked, place) {
                    self.sized(Side { key: None, tablet: place.alias_text(), shard: place.shard }, looked);
                }
                return;
            }
            Found::Unreached(Unreached { place, message, .. }) => (Some(place), message),
            Found::Nobody(why) => (None, why.status().map_or_else(String::new, |status| status.message)),
        };
        self.statistics.has_all_sources = false;
        let shard = place.as_ref().map_or("", |place| place.shard.as_str());
        let tablet = place.as_ref().filter(|place| place.alias.is_some()).map_or_else(String::new, Place::alias_text);
        self.fail(shard, &tablet, format!("table statistics of the source: {message}"));
    }

    fn fail(&mut self, shard: &str, tablet: &str, message: String) {
        self.failures.push(Failure {
            keyspace: self.request.keyspace.clone(),
            shard: shard.into(),
            tablet: tablet.into(),
            workflow: self.request.workflow.clone(),
            lost: Lost::CopyState,
            message,
        });
    }

    /// Of each shard that is shown, what its streams do.
    fn shard_streams(&self) -> BTreeMap<String, ShardStreams> {
        let mut shards: BTreeMap<String, ShardStreams> = BTreeMap::new();
        let target = self.workflow.target.clone().unwrap_or_default().keyspace;
        for stream in self.workflow.shard_streams.values().flat_map(|shard| &shard.streams) {
            if !self.request.shards.is_empty() && !self.request.shards.contains(&stream.shard) {
                continue;
            }
            let source = stream.binlog_source.clone().unwrap_or_default();
            let state = ShardStreamState {
                id: i32::try_from(stream.id).unwrap_or(i32::MAX),
                tablet: stream.tablet.clone(),
                source_shard: format!("{}/{}", source.keyspace, source.shard),
                position: stream.position.clone(),
                status: stream.state.clone(),
                info: info(stream, self.now, self.workflow.max_v_replication_transaction_lag),
            };
            shards.entry(format!("{target}/{}", stream.shard)).or_default().streams.push(state);
        }
        shards
    }
}

/// A record, by the name that it has in a text; `absent` is what the lack of one means, if that is not that nobody knows.
fn read<M: Message + Default>(name: &str, answer: Answer, absent: Option<M>) -> Known<M> {
    match (answer, absent) {
        (Answer::Found { value, .. }, _) => {
            M::decode(value.as_slice()).map_err(|error| format!("{name} cannot be read: {error}"))
        }
        (Answer::Missing { .. } | Answer::Failed { kind: FailureKind::Status(5), .. }, Some(absent)) => Ok(absent),
        (Answer::Missing { node }, None) => Err(format!("node doesn't exist: {node}")),
        (Answer::Failed { message, .. }, _) => Err(message),
        (other, _) => Err(unexpected("a read of the topology", &other)),
    }
}

impl Operation for WorkflowStatus {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if let Some(record) = self.records.remove(&id) {
            self.recorded(record, answer, asks);
        } else if let Some(side) = self.sizes.remove(&id) {
            self.sized(side, answer.into());
        } else if let Some(mut streams) = self.streams.take() {
            streams.answered(id, answer, asks);
            if streams.is_done() {
                self.streams_are_known(streams, asks);
            } else {
                self.streams = Some(streams);
            }
        } else if let Some(sources) = &mut self.sources {
            for found in sources.answered(id, answer, asks) {
                self.source(found, asks);
            }
        }
    }

    fn failures(&self) -> Vec<Failure> {
        let mut failures = self.streams.as_ref().map_or_else(Vec::new, Operation::failures);
        failures.extend(self.failures.iter().cloned());
        failures
    }

    fn finish(&mut self) -> Reply {
        let (result, failures) = self.end();
        Reply::new(result.map(|reply| reply.encode_to_vec()), failures)
    }
}

/// What a client prints of a stream.
///
/// The lag is that of the last applied transaction, but no more than the workflow's: an idle stream is not behind. vtctld
/// compares with the nanoseconds of the current second: `docs/compat.md`. Source: `server.go:WorkflowStatus`.
fn info(stream: &Stream, now: Timestamp, largest_lag: i64) -> String {
    if stream.state == State::Error.as_str_name() || stream.id == 0 {
        return stream.message.clone();
    }
    if stream.position.is_empty() {
        return "VStream has not started".into();
    }
    let seconds = |time: &Option<crate::proto::vttime::Time>| time.as_ref().map_or(0, |time| time.seconds);
    let (updated, transaction) = (seconds(&stream.time_updated), seconds(&stream.transaction_timestamp));
    let mut parts = Vec::new();
    if now.seconds.saturating_sub(updated) > SILENT_SECONDS {
        parts.push("VStream may not be running".to_owned());
    }
    let behind = now.seconds.saturating_sub(if transaction > 0 { transaction } else { updated });
    parts.push(format!("VStream Lag: {}s", behind.min(largest_lag).max(0)));
    if transaction > 0 {
        parts.push(format!("Tx time: {}.", time::ansic(transaction)));
    }
    parts.join("; ")
}

/// A running stream writes its row every second; after so many without, it may be stuck.
const SILENT_SECONDS: i64 = 10;
