//! Everything that a change of traffic goes by: what was read under the locks, as types, with the versions of the records that are going to
//! be written.
//!
//! Roles are those of the change itself: writes leave the *source* and go to the *target*. Where traffic goes back, the two keyspaces have
//! changed places, and the workflow is the one that has copied the target's rows back.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

pub(crate) use super::member::{Member, member};
use crate::{
    cutover::{edit, leaving::Leaving, sequences::Sequence, served, stored::Stored, streams::Others},
    proto::{
        binlogdata::{BinlogSource, VReplicationWorkflowState as State, VReplicationWorkflowSubType, VReplicationWorkflowType},
        topodata::{TabletAlias, TabletType},
        vschema,
        vtctldata::{Workflow, WorkflowOptions},
    },
    traffic::{
        journal::migration_id,
        kind::{Described, Kind},
    },
};

/// A stream that copies to the target.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// Whose primary has it.
    pub(crate) shard: String,
    pub(crate) id: i64,
    pub(crate) source: BinlogSource,
    /// As clients see it: `Running`, `Copying`, `Error`.
    pub(crate) state: String,
    pub(crate) message: String,
    /// Cells to read from, joined by commas; empty: none is named.
    pub(crate) cells: String,
}

impl Stream {
    pub(crate) fn is_frozen(&self) -> bool {
        self.message == FROZEN
    }

    /// Whether a switch of writes stopped it, having waited for it.
    pub(crate) fn is_stopped_for_cutover(&self) -> bool {
        self.state == State::Stopped.as_str_name() && self.message == STOPPED_FOR_CUTOVER
    }
}

/// What streams say whose writes have been switched away.
pub(crate) const FROZEN: &str = "FROZEN";

/// What streams say that a switch of writes has stopped.
pub(crate) const STOPPED_FOR_CUTOVER: &str = "stopped for cutover";

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    pub(crate) kind: Kind,
    /// The workflow whose streams copy from the source to the target.
    pub(crate) workflow: String,
    /// Its other direction.
    pub(crate) reverse: String,
    /// Whether traffic goes back: the workflow is the reverse one of the request.
    pub(crate) is_reversal: bool,
    pub(crate) workflow_type: i32,
    pub(crate) workflow_sub_type: i32,
    pub(crate) options: WorkflowOptions,
    /// Cells to read from, as the streams have them, joined by commas; empty: none is named.
    pub(crate) stream_cells: String,
    /// Tablet types to read from, joined by commas, in small letters and without an order; empty: none is named.
    pub(crate) stream_tablet_types: String,
    /// Sorted.
    pub(crate) tables: Vec<String>,
    pub(crate) source_keyspace: String,
    pub(crate) target_keyspace: String,
    /// By shard: those that streams read.
    pub(crate) sources: BTreeMap<String, Member>,
    /// By shard: those that have streams.
    pub(crate) targets: BTreeMap<String, Member>,
    /// All shards that each keyspace has.
    pub(crate) all_shards: BTreeMap<String, BTreeSet<String>>,
    /// In the order of shards and ids.
    pub(crate) streams: Vec<Stream>,
    /// Those of the other direction, on the source's primaries, of this pair of keyspaces.
    pub(crate) reverse_streams: Vec<Stream>,
    /// Seconds by which the slowest stream is behind.
    pub(crate) lag: i64,
    /// By shard of the source: the journal of these very streams.
    pub(crate) journals: BTreeMap<String, Vec<u8>>,
    /// Shards of the target that have a journal of the streams of the other direction, which a switch the other way has stopped.
    pub(crate) journals_back: BTreeSet<String>,
    /// The records of rules that are there, by path.
    pub(crate) rules: BTreeMap<&'static str, Stored>,
    /// By keyspace; one without a record is empty.
    pub(crate) vschemas: BTreeMap<String, Vec<u8>>,
    /// By keyspace; 0: it has no such record.
    pub(crate) vschema_versions: BTreeMap<String, i64>,
    /// By shard of the target's keyspace: primaries, with and without streams.
    pub(crate) primaries: BTreeMap<String, TabletAlias>,
    /// Of a reshard that ends, by shard of the source: what is left of it.
    pub(crate) leaving: BTreeMap<String, Leaving>,
    /// By cell, what it serves to vtgates.
    pub(crate) served: BTreeMap<String, Stored>,
    /// Of a reshard, by cell: which shards it serves of the keyspace.
    pub(crate) srv_keyspaces: BTreeMap<String, Stored>,
    /// Of a reshard: streams of other workflows on its shards.
    pub(crate) others: Others,
    /// What the target's tables take values from; empty: nothing, or it is not wanted.
    pub(crate) sequences: Vec<Sequence>,
    /// Why that cannot be told; `None`: it can.
    pub(crate) no_sequences: Option<String>,
    /// Cells of tablets by the type of each: what it is now.
    pub(crate) tablet_types: BTreeSet<(String, i32)>,
    /// Aliases of cells, with the cells that each stands for.
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
    /// Where the traffic is, as clients print it.
    pub(crate) state: String,
    /// Whether all writes go to the target of the request.
    pub(crate) are_writes_switched: bool,
}

impl Scene {
    /// The number under which the journal of these streams is kept.
    pub(crate) fn migration_id(&self) -> i64 {
        migration_id(&self.target_keyspace, self.streams.iter().map(|stream| (stream.shard.as_str(), stream.id)))
    }

    /// The same of the streams of the other direction.
    pub(crate) fn migration_id_back(&self) -> i64 {
        migration_id(&self.source_keyspace, self.reverse_streams.iter().map(|stream| (stream.shard.as_str(), stream.id)))
    }

    /// The members of both sides, the sources first.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.sources.values().chain(self.targets.values())
    }

    /// Whether a primary's query service is off, as a cell says: from when it has read that on, tablets of v22 to v24 do not answer any more
    /// when they are told to read it again, before it is on. Source: `go/vt/vttablet/tabletmanager/tm_state.go`
    /// (`prepareForDisableQueryService`), `tabletserver/tx_prep_pool.go` (`IsEmpty` of a pool that is closed).
    pub(crate) fn is_shut(&self, on: &Member) -> bool {
        self.srv_keyspaces.values().any(|stored| {
            let partitions = served::partitions(&stored.value).unwrap_or_default();
            served::is_off(&partitions, TabletType::Primary, &on.reference()) == Some(true)
        })
    }

    /// Whether each stream's side of the switch is done for good.
    pub(crate) fn is_frozen(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(Stream::is_frozen)
    }

    /// The records of rules alone.
    pub(crate) fn rule_values(&self) -> BTreeMap<&'static str, Vec<u8>> {
        self.rules.iter().map(|(path, stored)| (*path, stored.value.clone())).collect()
    }

    /// Routing rules of tables by key.
    pub(crate) fn table_keys(&self) -> Result<BTreeMap<String, Vec<String>>, String> {
        edit::table_keys(self.rules.get(edit::TABLE_RULES).map_or(&[], |stored| stored.value.as_slice()))
    }

    /// Whether the rule of the source keyspace sends one type to the target: of a workflow that moves a tenant.
    pub(crate) fn is_tenant_routed(&self, of: TabletType) -> bool {
        let record = self.rules.get(edit::KEYSPACE_RULES).map_or(&[][..], |stored| stored.value.as_slice());
        let keys = edit::keyspace_keys(record).unwrap_or_default();
        keys.get(&format!("{}{}", self.source_keyspace, suffix(of))) == Some(&self.target_keyspace)
    }

    /// The vschema of a keyspace.
    pub(crate) fn vschema(&self, keyspace: &str) -> Result<vschema::Keyspace, String> {
        let record = self.vschemas.get(keyspace).map_or(&[][..], Vec::as_slice);
        vschema::Keyspace::decode(record).map_err(|error| format!("the vschema of {keyspace} cannot be read: {error}"))
    }

    /// The tables of the request's source keyspace whose reads of one type are mirrored to the target's.
    pub(crate) fn mirrored(&self, types: &[TabletType]) -> Result<BTreeSet<(String, String)>, String> {
        let record = self.rules.get(edit::MIRROR_RULES).map_or(&[][..], |stored| stored.value.as_slice());
        let is_ours = |from: &str, to: &str| {
            self.tables.iter().any(|table| {
                let from_table = format!("{}.{table}", self.source_keyspace);
                let is_from = types.iter().any(|of| from == format!("{from_table}{}", suffix(*of)));
                is_from && to == format!("{}.{table}", self.target_keyspace)
            })
        };
        let rules = edit::mirror_rules(record)?.into_iter().map(|rule| (rule.from_table, rule.to_table));
        Ok(rules.filter(|(from, to)| is_ours(from, to)).collect())
    }
}

/// Behind a key of rules: nothing for writes.
pub(crate) fn suffix(of: TabletType) -> String {
    if of == TabletType::Primary { String::new() } else { format!("@{}", of.as_str_name().to_lowercase()) }
}

/// What a workflow's streams say of it as a whole.
pub(crate) struct Story {
    pub(crate) kind: Kind,
    pub(crate) workflow_type: i32,
    pub(crate) workflow_sub_type: i32,
    pub(crate) tables: Vec<String>,
    pub(crate) source_keyspace: String,
    pub(crate) streams: Vec<Stream>,
    pub(crate) cells: String,
    pub(crate) tablet_types: String,
}

impl Story {
    /// Reads it.
    ///
    /// # Errors
    /// Streams that contradict each other, or of which one cannot be read. Texts of `utils.go:BuildTargets`.
    pub(crate) fn read(keyspace: &str, workflow: &Workflow) -> Result<Self, String> {
        let all: Vec<_> = workflow.shard_streams.values().flat_map(|shard| &shard.streams).collect();
        let Some(first) = all.first() else { return Err(no_streams(keyspace, &workflow.name)) };
        if let Some(unread) = all.iter().find(|stream| stream.id == 0) {
            return Err(format!("the streams of {keyspace}/{} cannot be read: {}", unread.shard, unread.message));
        }
        let tables = |source: &BinlogSource| {
            let rules = source.filter.as_ref().map(|filter| filter.rules.as_slice()).unwrap_or_default();
            let mut tables: Vec<String> = rules.iter().map(|rule| rule.r#match.clone()).collect();
            tables.sort();
            tables
        };
        let first_source = first.binlog_source.clone().unwrap_or_default();
        let of_first = tables(&first_source);
        let mut streams = Vec::new();
        for stream in &all {
            let source = stream.binlog_source.clone().unwrap_or_default();
            if source.keyspace != first_source.keyspace {
                let (a, b) = (&first_source.keyspace, &source.keyspace);
                return Err(format!("source keyspaces are mismatched across streams: {a} vs {b}"));
            }
            if source.filter.is_none() {
                return Err(format!("missing filters for {keyspace}/{}", stream.shard));
            }
            let own = tables(&source);
            if own != of_first {
                let text = "table lists are mismatched across streams";
                return Err(format!("{text}: [{}] vs [{}]", of_first.join(" "), own.join(" ")));
            }
            let (state, message) = (stream.state.clone(), stream.message.clone());
            let cells = stream.cells.join(",");
            streams.push(Stream { shard: stream.shard.clone(), id: stream.id, source, state, message, cells });
        }
        streams.sort_by(|a, b| (&a.shard, a.id).cmp(&(&b.shard, b.id)));
        let sources: BTreeSet<&str> = streams.iter().map(|stream| stream.source.shard.as_str()).collect();
        let targets: BTreeSet<&str> = streams.iter().map(|stream| stream.shard.as_str()).collect();
        let described = Described {
            source_keyspace: &first_source.keyspace,
            target_keyspace: keyspace,
            workflow_type: &workflow.workflow_type,
            workflow_sub_type: &workflow.workflow_sub_type,
            is_external: !first_source.external_cluster.is_empty(),
            has_tenant: workflow.options.as_ref().is_some_and(|options| !options.tenant_id.is_empty()),
        };
        let (sources, targets): (Vec<&str>, Vec<&str>) = (sources.into_iter().collect(), targets.into_iter().collect());
        let kind = Kind::of(&described, &sources, &targets);
        let types = first.tablet_types.iter().filter_map(|of| TabletType::try_from(*of).ok());
        let types: Vec<String> = types.map(|of| of.as_str_name().to_lowercase()).collect();
        Ok(Self {
            kind,
            workflow_type: VReplicationWorkflowType::from_str_name(&workflow.workflow_type).map_or(0, i32::from),
            workflow_sub_type: VReplicationWorkflowSubType::from_str_name(&workflow.workflow_sub_type).map_or(0, i32::from),
            tables: of_first,
            source_keyspace: first_source.keyspace,
            streams,
            cells: first.cells.join(","),
            tablet_types: types.join(","),
        })
    }
}

/// The text for a workflow that is not there.
pub(crate) fn no_streams(keyspace: &str, workflow: &str) -> String {
    format!("no streams found in keyspace {keyspace} for {workflow}")
}
