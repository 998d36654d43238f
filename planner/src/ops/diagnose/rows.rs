//! The rows of streams, as far as traffic goes by them, and to which workflow each belongs.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    formats::{gtids, options},
    proto::binlogdata::{VReplicationWorkflowState as State, VReplicationWorkflowType as Type},
    sidecar::{RowSet, StreamRow},
    traffic::{
        evidence::{Stream, StreamState},
        kind::{Described, Kind},
        names::forward_of,
    },
};

/// One row.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamOf {
    pub(super) keyspace: String,
    pub(super) shard: String,
    pub(super) stream: Stream,
    pub(super) workflow_type: String,
    workflow_sub_type: String,
    /// Where it is in the transactions of its source, without flavor; as stored if it cannot be read; empty: nowhere yet.
    pub(super) position: String,
    pub(super) is_external: bool,
    has_tenant: bool,
    tables: Vec<String>,
    /// Why it cannot be told what it is: a column that cannot be read.
    fault: Option<String>,
}

/// The rows of one target.
pub(super) fn read(pages: &[RowSet], keyspace: &str, shard: &str) -> Vec<StreamOf> {
    pages.iter().flat_map(RowSet::rows).map(|row| StreamOf::new(&StreamRow::read(&row), keyspace, shard)).collect()
}

impl StreamOf {
    fn new(row: &StreamRow<'_>, keyspace: &str, shard: &str) -> Self {
        let source = row.source.message();
        let mut options = None;
        let is_read = options::apply(&mut options, &row.options);
        let columns = ["id", "source", "state", "workflow_type"];
        let fault = row.faults.iter().find(|fault| columns.contains(&fault.column)).map(ToString::to_string);
        let fault = fault.or_else(|| is_read.err().map(|error| error.to_string()));
        let state = match State::try_from(row.state).unwrap_or(State::Unknown) {
            State::Stopped => StreamState::Stopped,
            State::Error => StreamState::Error,
            State::Init | State::Copying | State::Running | State::Lagging | State::Unknown => StreamState::Working,
        };
        let rules = source.filter.map(|filter| filter.rules).unwrap_or_default();
        Self {
            keyspace: keyspace.into(),
            shard: shard.into(),
            workflow_type: row.workflow_type.to_string(),
            workflow_sub_type: row.workflow_sub_type.to_string(),
            position: row.position.to_string(),
            is_external: !source.external_cluster.is_empty() || !source.external_mysql.is_empty(),
            has_tenant: options.is_some_and(|options| !options.tenant_id.is_empty()),
            tables: rules.into_iter().map(|rule| rule.r#match).filter(|table| !table.starts_with('/')).collect(),
            fault: fault.map(|fault| format!("stream {} of {keyspace}/{shard}: {fault}", row.id)),
            stream: Stream {
                id: row.id,
                workflow: row.workflow.to_string(),
                state,
                message: row.message.to_string(),
                stop_position: row.stop_position.to_string(),
                cells: row.cell.to_string(),
                has_tablet_types: !row.tablet_types.is_empty(),
                source_keyspace: source.keyspace,
                source_shard: source.shard,
                time_updated: row.time_updated,
            },
        }
    }

    /// The shard whose binary logs it reads, by keyspace and name, if it has begun and is to go on with MySQL's transactions.
    pub(super) fn reads_logs_of(&self) -> Option<(&str, &str)> {
        let has_begun = !self.position.is_empty() && gtids::missing(&self.position, "").is_some();
        let Stream { source_keyspace, source_shard, .. } = &self.stream;
        (has_begun && !self.stream.is_frozen() && !self.is_external).then_some((source_keyspace.as_str(), source_shard.as_str()))
    }

    /// Whether it copies for a schema migration, whose own state tells how it does: one that has ended keeps its stream for a day.
    pub(super) fn is_of_migration(&self) -> bool {
        self.workflow_type == Type::OnlineDdl.as_str_name()
    }

    /// Whether its workflow moves traffic. A type that cannot be read may be such a one.
    fn moves_traffic(&self) -> bool {
        let moving = [Type::MoveTables, Type::Migrate, Type::Reshard].map(|kind| kind.as_str_name());
        moving.contains(&self.workflow_type.as_str())
            || self.fault.is_some() && Type::from_str_name(&self.workflow_type).is_none()
    }
}

/// What a workflow is called by: its target keyspace, its name, its source keyspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WorkflowKey {
    pub(super) target: String,
    pub(super) workflow: String,
    pub(super) source: String,
}

/// The streams of one workflow, in both directions.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams<'a> {
    pub(super) forward: Vec<&'a StreamOf>,
    pub(super) reverse: Vec<&'a StreamOf>,
}

impl Streams<'_> {
    /// The shards of the source and of the target that these streams name.
    pub(super) fn shards(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let own = |streams: &[&StreamOf]| streams.iter().map(|it| it.shard.clone()).collect::<Vec<_>>();
        let read = |streams: &[&StreamOf]| streams.iter().map(|it| it.stream.source_shard.clone()).collect::<Vec<_>>();
        let sources = read(&self.forward).into_iter().chain(own(&self.reverse)).collect();
        let targets = own(&self.forward).into_iter().chain(read(&self.reverse)).collect();
        (sources, targets)
    }

    pub(super) fn tables(&self) -> BTreeSet<String> {
        self.forward.iter().chain(&self.reverse).flat_map(|it| it.tables.iter().cloned()).collect()
    }

    /// Columns that cannot be read.
    pub(super) fn faults(&self) -> BTreeSet<String> {
        self.forward.iter().chain(&self.reverse).filter_map(|it| it.fault.clone()).collect()
    }

    pub(super) fn kind(&self, key: &WorkflowKey) -> Kind {
        let (sources, targets) = self.shards();
        let either = self.forward.iter().chain(&self.reverse);
        let one = either.clone().next();
        let described = Described {
            source_keyspace: &key.source,
            target_keyspace: &key.target,
            workflow_type: one.map_or("", |it| &it.workflow_type),
            workflow_sub_type: one.map_or("", |it| &it.workflow_sub_type),
            is_external: either.clone().any(|it| it.is_external),
            has_tenant: either.clone().any(|it| it.has_tenant),
        };
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        Kind::of(&described, &sources, &targets)
    }
}

/// The workflows that move traffic, by target and name.
pub(super) fn workflows<'a>(streams: impl Iterator<Item = &'a StreamOf>) -> BTreeMap<WorkflowKey, Streams<'a>> {
    let mut workflows: BTreeMap<WorkflowKey, Streams<'a>> = BTreeMap::new();
    for of in streams.filter(|of| of.moves_traffic()) {
        let (here, there) = (of.keyspace.clone(), of.stream.source_keyspace.clone());
        if let Some(workflow) = forward_of(&of.stream.workflow) {
            let key = WorkflowKey { target: there, workflow: workflow.into(), source: here };
            workflows.entry(key).or_default().reverse.push(of);
        } else {
            let key = WorkflowKey { target: here, workflow: of.stream.workflow.clone(), source: there };
            workflows.entry(key).or_default().forward.push(of);
        }
    }
    workflows
}
