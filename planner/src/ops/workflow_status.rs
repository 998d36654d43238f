//! `WorkflowStatus`: what a workflow's streams do, how much of each table is copied, and where its traffic goes.
//!
//! The streams are those of `GetWorkflows`. Beside them, at once: routing rules, and what each cell serves. What depends on the
//! streams comes after them: the record of a resharded shard, and, while anything is copied, table statistics of both sides.
//! A part that cannot be known is named and does not hide the others; a traffic state that cannot be known is never guessed.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:WorkflowStatus`, v24; `docs/compat.md` lists what differs.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::{Operation, get_workflows::GetWorkflows};
use crate::{
    error::{Failure, Lost, Status},
    flow::{Answer, AskId, Asks, Call, CallOptions, Effect, FailureKind, Reply, Timestamp, What},
    merge::{
        copy_progress::{self, Sizes},
        traffic::{Moved, Routing, Serving},
    },
    proto::{
        binlogdata::{VReplicationWorkflowState as State, VReplicationWorkflowType},
        tabletmanagerdata::ExecuteFetchAsDbaRequest,
        topodata::Shard,
        vtctldata::{
            GetWorkflowsRequest, GetWorkflowsResponse, Workflow, WorkflowStatusRequest, WorkflowStatusResponse,
            workflow::Stream,
            workflow_status_response::{ShardStreamState, ShardStreams},
        },
    },
    query::table_sizes,
    rows::{RowSet, time},
    rpc,
    topo::{
        names::{self, GLOBAL},
        targets::{Event, Target, Targets, Unreached, unexpected},
    },
};

pub(crate) struct WorkflowStatus {
    request: WorkflowStatusRequest,
    strict: bool,
    now: Timestamp,
    /// Until all streams are known.
    streams: Option<GetWorkflows>,
    workflow: Workflow,
    /// Once the streams are known.
    moved: Option<Moved>,
    records: BTreeMap<AskId, Record>,
    routing: Routing,
    /// What is not known of the routing, ascending when it is shown.
    unknown_routing: BTreeSet<String>,
    sources: Option<Targets>,
    tables: BTreeSet<String>,
    sizes: BTreeMap<AskId, Side>,
    target_sizes: BTreeMap<String, Sizes>,
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

/// Whose table statistics.
struct Side {
    /// The key in `shard_streams`; `None`: a source.
    key: Option<String>,
    shard: String,
    tablet: String,
}

impl WorkflowStatus {
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let request: WorkflowStatusRequest = super::decode(call)?;
        // All shards, whichever are shown: where traffic goes is a matter of the whole workflow.
        let streams = GetWorkflowsRequest {
            keyspace: request.keyspace.clone(),
            workflow: request.workflow.clone(),
            ..GetWorkflowsRequest::default()
        };
        let streams = Call { path: call.path.clone(), request: streams.encode_to_vec(), options: CallOptions::default() };
        let streams = GetWorkflows::start(&streams, now, asks)?;
        let mut this = Self {
            strict: call.options.strict,
            now,
            streams: Some(streams),
            workflow: Workflow::default(),
            moved: None,
            records: BTreeMap::new(),
            routing: Routing::default(),
            unknown_routing: BTreeSet::new(),
            sources: None,
            tables: BTreeSet::new(),
            sizes: BTreeMap::new(),
            target_sizes: BTreeMap::new(),
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
        let value = match (record, answer) {
            (Record::Cells, Answer::Range(records)) => return self.cells(&records, asks),
            (Record::Representative, Answer::Missing { node }) => Err(format!("node doesn't exist: {node}")),
            (_, Answer::Missing { .. } | Answer::Failed { kind: FailureKind::Status(5), .. }) => return,
            (_, Answer::Failed { message, .. }) => Err(message),
            (record, Answer::Found { value, .. }) => self.take(record, &value).map_err(|error| error.to_string()),
            (_, other) => Err(unexpected("a read of the topology", &other)),
        };
        if let Err(text) = value {
            self.unknown_routing.insert(text);
        }
    }

    fn take(&mut self, record: Record, value: &[u8]) -> Result<(), prost::DecodeError> {
        let routing = &mut self.routing;
        match record {
            Record::TableRules => routing.tables = Message::decode(value)?,
            Record::ShardRules => routing.shards = Message::decode(value)?,
            Record::KeyspaceRules => routing.keyspaces = Message::decode(value)?,
            Record::ServedVSchema(cell) => routing.cells.entry(cell).or_default().vschema = Message::decode(value)?,
            Record::ServedKeyspace(cell) => routing.cells.entry(cell).or_default().keyspace = Message::decode(value)?,
            Record::Representative => routing.is_representative_serving = Shard::decode(value)?.is_primary_serving,
            Record::Cells => {}
        }
        Ok(())
    }

    fn cells(&mut self, records: &[crate::flow::Record], asks: &mut Asks) {
        let cells = records.iter().filter_map(|record| record.path.strip_prefix(names::CELLS_PREFIX)?.strip_suffix("/CellInfo"));
        for cell in cells.filter(|cell| names::check_cell(cell).is_ok()) {
            self.routing.cells.insert(cell.into(), Serving::default());
            self.record(cell, "SrvVSchema".into(), Record::ServedVSchema(cell.into()), asks);
            let path = format!("keyspaces/{}/SrvKeyspace", self.request.keyspace);
            self.record(cell, path, Record::ServedKeyspace(cell.into()), asks);
        }
    }

    /// All streams are known: takes the workflow, and asks for what depends on it.
    fn streams_are_known(&mut self, mut streams: GetWorkflows, asks: &mut Asks) {
        let targets: Vec<Target> = streams.targets().cloned().collect();
        let shards: BTreeSet<String> = streams.shards().map(str::to_owned).collect();
        let reply = streams.finish();
        self.failures.extend(reply.failures);
        let WorkflowStatusRequest { keyspace, workflow, shards: wanted } = &self.request;
        let found = reply.result.map_err(|status| {
            let text = status.message;
            if text == format!("no shards found in keyspace {keyspace}") {
                format!("no streams found in keyspace {keyspace} for {workflow}")
            } else if text.starts_with("node doesn't exist: ") && text.ends_with("/shards/") {
                format!("FindAllShardsInKeyspace({keyspace}): List: {}", text.trim_end_matches('/'))
            } else {
                text
            }
        });
        let found = found.and_then(|bytes| GetWorkflowsResponse::decode(bytes.as_slice()).map_err(|error| error.to_string()));
        let found = found.and_then(|reply| {
            let one = reply.workflows.into_iter().find(|found| found.name == *workflow);
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
        let moved = Moved::new(&self.workflow, &self.tables);
        if let Some((keyspace, shard)) = moved.representative() {
            match names::check_object(keyspace).and(names::check_object(shard)) {
                Ok(()) => {
                    let path = names::shard_path(keyspace, shard);
                    self.record(GLOBAL, path, Record::Representative, asks);
                }
                Err(bad) => drop(self.unknown_routing.insert(bad.to_string())),
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
                self.ask_sizes(&target, Some(key), asks);
            }
        }
        let streams = self.workflow.shard_streams.values().flat_map(|shard| &shard.streams);
        let mut sources = streams.filter_map(|stream| stream.binlog_source.as_ref());
        // The tables of another cluster, and of a server that is no tablet, cannot be asked for.
        let is_far = sources.any(|source| !source.external_cluster.is_empty() || !source.external_mysql.is_empty());
        let source = self.workflow.source.clone().unwrap_or_default();
        if is_far {
            return;
        }
        match Targets::start(&source.keyspace, &source.shards, asks) {
            Ok(targets) => self.sources = Some(targets),
            Err(status) => self.fail("", "", status.message),
        }
    }

    fn ask_sizes(&mut self, target: &Target, key: Option<String>, asks: &mut Asks) {
        let statement = table_sizes::statement(&target.db_name, self.tables.iter());
        let request = ExecuteFetchAsDbaRequest {
            query: statement.clone().into_bytes(),
            db_name: target.db_name.clone(),
            max_rows: self.tables.len() as u64,
            ..ExecuteFetchAsDbaRequest::default()
        };
        let (shard, tablet) = (target.place.shard.clone(), target.place.alias_text());
        let id =
            asks.release(target.call(rpc::EXECUTE_FETCH_AS_DBA, request.encode_to_vec(), Effect::Read, "table sizes", statement));
        self.sizes.insert(id, Side { key, shard, tablet });
    }

    fn sized(&mut self, side: Side, answer: Answer) {
        let rows = match answer {
            Answer::Called(response) => RowSet::from_execute_fetch(&response).map_err(|error| error.to_string()),
            Answer::Failed { message, .. } => Err(message),
            _ => Err("the tablet call was answered with a topology record".into()),
        };
        match (rows, side.key) {
            (Ok(rows), Some(key)) => drop(self.target_sizes.insert(key, copy_progress::sizes(&rows))),
            (Ok(rows), None) => drop(self.source_sizes.insert(side.tablet, copy_progress::sizes(&rows))),
            (Err(text), _) => self.fail(&side.shard, &side.tablet, format!("table statistics: {text}")),
        }
    }

    fn source(&mut self, event: Event, asks: &mut Asks) {
        match event {
            Event::Target(target) => self.ask_sizes(&target, None, asks),
            Event::Unreached(Unreached { place, message, .. }) => {
                let tablet = place.alias.as_ref().map_or_else(String::new, |_| place.alias_text());
                self.fail(&place.shard, &tablet, format!("table statistics of the source: {message}"));
            }
            Event::Fatal(status) | Event::NoShards(status) => {
                self.fail("", "", format!("table statistics of the source: {}", status.message));
            }
        }
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

impl Operation for WorkflowStatus {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if let Some(record) = self.records.remove(&id) {
            self.recorded(record, answer, asks);
        } else if let Some(side) = self.sizes.remove(&id) {
            self.sized(side, answer);
        } else if let Some(sources) = self.sources.as_mut().filter(|sources| sources.waits_for(id)) {
            for event in sources.answered(id, answer, asks) {
                self.source(event, asks);
            }
        } else if let Some(mut streams) = self.streams.take() {
            streams.answered(id, answer, asks);
            if streams.is_done() {
                self.streams_are_known(streams, asks);
            } else {
                self.streams = Some(streams);
            }
        }
    }

    fn failures(&self) -> Vec<Failure> {
        let mut failures = self.streams.as_ref().map_or_else(Vec::new, Operation::failures);
        failures.extend(self.failures.iter().cloned());
        failures
    }

    fn finish(&mut self) -> Reply {
        if let Some(status) = self.fatal.take() {
            return Reply::new(Err(status), std::mem::take(&mut self.failures));
        }
        let sources: Vec<Sizes> = std::mem::take(&mut self.source_sizes).into_values().collect();
        let is_copying = self.workflow.workflow_type != VReplicationWorkflowType::Migrate.as_str_name()
            && !copy_progress::in_progress(&self.workflow).is_empty();
        let table_copy_state =
            if is_copying { copy_progress::merge(&self.workflow, &self.target_sizes, &sources) } else { BTreeMap::new() };
        let unknown: Vec<String> = std::mem::take(&mut self.unknown_routing).into_iter().collect();
        let traffic_state = match &self.moved {
            Some(moved) if unknown.is_empty() => moved.state(&self.routing),
            _ => format!("Unknown: {}", unknown.join("; ")),
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
        super::conclude(reply.encode_to_vec(), false, self.strict, std::mem::take(&mut self.failures))
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
