//! Where the traffic of a workflow goes: routing rules, serving graphs and shard records -> the text that clients print.
//!
//! Decides from what it is given and asks for nothing. What would have to be known and is not is said instead: a state is never
//! guessed. Facts: `go/vt/vtctl/workflow/server.go:getWorkflowState`,
//! `state.go:State.String`, `traffic_switcher.go`, v21 to v24.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    proto::{
        binlogdata::{VReplicationWorkflowSubType, VReplicationWorkflowType},
        topodata::{SrvKeyspace, TabletType},
        vschema::{KeyspaceRoutingRules, RoutingRules, ShardRoutingRules, SrvVSchema},
        vtctldata::Workflow,
    },
    traffic::{kind::is_partial, names::forward_of},
};

/// What is moved, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrafficSwitch {
    /// Where the traffic was before the workflow's own direction; of a reverse workflow its target.
    from: String,
    to: String,
    /// Ascending. Those that are named in full.
    tables: Vec<String>,
    /// Whether its streams say at all what they read, be it by a pattern.
    has_rules: bool,
    kind: MigrationKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum MigrationKind {
    /// A lookup index moves no traffic.
    Nothing,
    Tables,
    /// Some shards only.
    Partial,
    MultiTenant,
    /// A reshard: by this shard it is seen whether traffic has moved.
    Shards {
        representative: String,
    },
}

/// What was read, or why it is not known.
pub(crate) type Known<T> = Result<T, String>;

/// What is known of the routing. Absent rules are empty ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Routing {
    pub(crate) tables: Known<RoutingRules>,
    pub(crate) shards: Known<ShardRoutingRules>,
    pub(crate) keyspaces: Known<KeyspaceRoutingRules>,
    /// By cell.
    pub(crate) cells: Known<BTreeMap<String, Serving>>,
    /// Whether the primary of the representative shard serves.
    pub(crate) is_representative_serving: Known<bool>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            tables: Ok(RoutingRules::default()),
            shards: Ok(ShardRoutingRules::default()),
            keyspaces: Ok(KeyspaceRoutingRules::default()),
            cells: Ok(BTreeMap::new()),
            is_representative_serving: Err("no record of a source shard was read".into()),
        }
    }
}

/// What one cell serves. A cell without such a record serves nothing that is known: vtctld fails there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Serving {
    pub(crate) vschema: Known<SrvVSchema>,
    /// Of the workflow's keyspace.
    pub(crate) keyspace: Known<SrvKeyspace>,
}

impl Default for Serving {
    fn default() -> Self {
        Self { vschema: Ok(SrvVSchema::default()), keyspace: Ok(SrvKeyspace::default()) }
    }
}

/// What is not known of what was asked for, as it is found out.
#[derive(Default)]
struct Unknown(BTreeSet<String>);

impl Unknown {
    fn known<'a, T>(&mut self, value: &'a Known<T>) -> Option<&'a T> {
        match value {
            Ok(value) => Some(value),
            Err(why) => {
                self.0.insert(why.clone());
                None
            }
        }
    }
}

impl TrafficSwitch {
    /// What a workflow moves, by its streams.
    pub(crate) fn new(workflow: &Workflow, tables: &BTreeSet<String>) -> Self {
        let (source, target) = (workflow.source.clone().unwrap_or_default(), workflow.target.clone().unwrap_or_default());
        let is_reverse = forward_of(&workflow.name).is_some();
        let options = workflow.options.clone().unwrap_or_default();
        let sources = workflow.shard_streams.values().flat_map(|shard| &shard.streams).filter_map(|s| s.binlog_source.as_ref());
        let is_external = sources.clone().any(|source| !source.external_cluster.is_empty());
        // Stand-ins of shards that did not answer: the lists of shards are not whole.
        let is_whole = workflow.shard_streams.values().flat_map(|shard| &shard.streams).all(|stream| stream.id != 0);
        let is_some_shards = workflow.workflow_sub_type == VReplicationWorkflowSubType::Partial.as_str_name()
            || is_whole && is_partial(&source.shards, &target.shards);
        let is_same = source.keyspace == target.keyspace;
        let is_tables = !is_same || is_external || source.shards.iter().any(|shard| target.shards.contains(shard));
        let kind = if workflow.workflow_type == VReplicationWorkflowType::CreateLookupIndex.as_str_name() {
            MigrationKind::Nothing
        } else if !is_tables {
            let side = if is_reverse { &target.shards } else { &source.shards };
            MigrationKind::Shards { representative: side.iter().min().cloned().unwrap_or_default() }
        } else if !options.tenant_id.is_empty() {
            MigrationKind::MultiTenant
        } else if is_some_shards {
            MigrationKind::Partial
        } else {
            MigrationKind::Tables
        };
        let has_rules = sources.clone().any(|source| source.filter.as_ref().is_some_and(|filter| !filter.rules.is_empty()));
        let (from, to) = if is_reverse { (target.keyspace, source.keyspace) } else { (source.keyspace, target.keyspace) };
        Self { from, to, tables: tables.iter().cloned().collect(), has_rules, kind }
    }

    /// The shard whose record says whether writes have moved, with its keyspace.
    pub(crate) fn representative(&self) -> Option<(&str, &str)> {
        match &self.kind {
            MigrationKind::Shards { representative } if !representative.is_empty() => Some((&self.to, representative)),
            _ => None,
        }
    }

    /// The text that clients print.
    ///
    /// # Errors
    /// Why it is not known: only what decides about this kind of workflow is looked at.
    pub(crate) fn state(&self, routing: &Routing) -> Result<String, BTreeSet<String>> {
        let mut unknown = Unknown::default();
        let text = self.text(routing, &mut unknown);
        if unknown.0.is_empty() { Ok(text) } else { Err(unknown.0) }
    }

    /// Where the tables of a move go different ways, a text each: the state's text is that of the first table, or of any. Of what is not
    /// known nothing is said.
    pub(crate) fn splits(&self, routing: &Routing) -> Vec<String> {
        if self.kind != MigrationKind::Tables {
            return Vec::new();
        }
        let mut said = Vec::new();
        if let Ok(rules) = &routing.tables {
            said.extend(self.split(rules, "", "writes"));
        }
        let mut by_reads: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (cell, serving) in routing.cells.iter().flatten() {
            let Ok(vschema) = &serving.vschema else { continue };
            let none = RoutingRules::default();
            let rules = vschema.routing_rules.as_ref().unwrap_or(&none);
            for (suffix, what) in [("@replica", "reads of replicas"), ("@rdonly", "reads of rdonly tablets")] {
                if let Some(text) = self.split(rules, suffix, what) {
                    by_reads.entry(text).or_default().push(cell);
                }
            }
        }
        said.extend(by_reads.into_iter().map(|(text, cells)| format!("{text} (in {})", cells.join(", "))));
        said
    }

    /// By keyspace, the tables whose traffic goes there, if that is more than one keyspace. Without a rule of its own a table is where it
    /// was.
    fn split(&self, rules: &RoutingRules, suffix: &str, what: &str) -> Option<String> {
        const NAMED: usize = 3;
        let by_from: BTreeMap<&str, &str> = rules
            .rules
            .iter()
            .rev()
            .filter_map(|rule| Some((rule.from_table.as_str(), rule.to_tables.first()?.split('.').next()?)))
            .collect();
        let mut by_keyspace: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for table in &self.tables {
            let to = by_from.get(format!("{}.{table}{suffix}", self.from).as_str()).copied().unwrap_or(&self.from);
            by_keyspace.entry(to).or_default().push(table);
        }
        let part = |(keyspace, tables): (&&str, &Vec<&str>)| {
            let more = tables.len().saturating_sub(NAMED);
            let names = tables.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("those of {names}{more} to {keyspace}")
        };
        let parts: Vec<String> = by_keyspace.iter().map(part).collect();
        (parts.len() > 1).then(|| format!("{what} go different ways: {}", parts.join(", ")))
    }

    fn text(&self, routing: &Routing, unknown: &mut Unknown) -> String {
        let mut parts = match &self.kind {
            MigrationKind::Partial => {
                return unknown.known(&routing.shards).map_or_else(String::new, |rules| self.partial(rules));
            }
            MigrationKind::Nothing => vec![NO_READS.to_owned()],
            MigrationKind::Shards { representative } if representative.is_empty() => {
                unknown.0.insert("the shards that it splits or merges are not known".into());
                Vec::new()
            }
            MigrationKind::Tables if self.tables.is_empty() && !self.has_rules => {
                unknown.0.insert("its streams name no tables".into());
                Vec::new()
            }
            _ => text(&self.reads(routing, TabletType::Replica, unknown), &self.reads(routing, TabletType::Rdonly, unknown)),
        };
        parts.push(if self.are_writes_switched(routing, unknown) { "Writes Switched" } else { NO_WRITES }.into());
        parts.join(". ")
    }

    fn reads<'a>(&self, routing: &'a Routing, served: TabletType, unknown: &mut Unknown) -> Reads<'a> {
        let mut reads = Reads::default();
        for (cell, serving) in unknown.known(&routing.cells).into_iter().flatten() {
            let is_switched = self.is_read_switched(routing, serving, served, unknown);
            if is_switched { &mut reads.switched } else { &mut reads.not_switched }.push(cell.as_str());
        }
        reads
    }

    fn is_read_switched(&self, routing: &Routing, serving: &Serving, served: TabletType, unknown: &mut Unknown) -> bool {
        let suffix = served.as_str_name().to_lowercase();
        match &self.kind {
            MigrationKind::MultiTenant => {
                let from = format!("{}@{suffix}", self.from);
                unknown.known(&routing.keyspaces).is_some_and(|rules| self.keyspace_is_switched(rules, &from))
            }
            MigrationKind::Shards { representative } => {
                let Some(keyspace) = unknown.known(&serving.keyspace) else { return false };
                let partition = keyspace.partitions.iter().find(|partition| partition.served_type() == served);
                let is_serving = partition.is_some_and(|partition| {
                    let is_found = partition.shard_references.iter().any(|shard| shard.name == *representative);
                    let control = partition.shard_tablet_controls.iter().find(|control| control.name == *representative);
                    let is_off = !partition.shard_tablet_controls.is_empty()
                        && control.is_none_or(|control| control.query_service_disabled);
                    is_found && !is_off
                });
                !is_serving
            }
            _ => {
                let Some(vschema) = unknown.known(&serving.vschema) else { return false };
                let rules = vschema.routing_rules.as_ref();
                // The first table stands for all.
                let Some(table) = self.tables.first() else { return false };
                let from = format!("{}.{table}@{suffix}", self.from);
                let rule = rules.and_then(|rules| rules.rules.iter().find(|rule| rule.from_table == from));
                rule.is_some_and(|rule| rule.to_tables.iter().any(|to| to.split('.').next() != Some(self.from.as_str())))
            }
        }
    }

    fn are_writes_switched(&self, routing: &Routing, unknown: &mut Unknown) -> bool {
        match &self.kind {
            MigrationKind::Nothing | MigrationKind::Partial => false,
            MigrationKind::MultiTenant => {
                unknown.known(&routing.keyspaces).is_some_and(|rules| self.keyspace_is_switched(rules, &self.from))
            }
            MigrationKind::Shards { .. } => {
                unknown.known(&routing.is_representative_serving).is_some_and(|is_serving| !is_serving)
            }
            MigrationKind::Tables => {
                let Some(rules) = unknown.known(&routing.tables) else { return false };
                self.tables.iter().any(|table| {
                    let from = format!("{}.{table}", self.from);
                    let rule = rules.rules.iter().find(|rule| rule.from_table == from);
                    rule.and_then(|rule| rule.to_tables.first()).is_some_and(|to| *to != from)
                })
            }
        }
    }

    fn keyspace_is_switched(&self, rules: &KeyspaceRoutingRules, from: &str) -> bool {
        rules.rules.iter().any(|rule| rule.from_keyspace == from && rule.to_keyspace == self.to)
    }

    /// By the rules between its own two keyspaces, which lead from the one to the other once its shard is switched, and back before:
    /// those of another workflow's source say nothing of it.
    fn partial(&self, rules: &ShardRoutingRules) -> String {
        let shards = |to: &str| -> Vec<&str> {
            let own = rules.rules.iter().filter(|rule| rule.from_keyspace == self.from || rule.from_keyspace == self.to);
            own.filter(|rule| rule.to_keyspace == to).map(|rule| rule.shard.as_str()).collect()
        };
        let (not_switched, switched) = (shards(&self.from), shards(&self.to));
        match (switched.is_empty(), not_switched.is_empty()) {
            (true, _) => format!("{NO_READS}. {NO_WRITES}"),
            (false, true) => "All Reads Switched. All Writes Switched".into(),
            (false, false) => {
                let shards = switched.join(",");
                format!("Reads partially switched, for shards: {shards}. Writes partially switched, for shards: {shards}")
            }
        }
    }
}

/// The cells in which reads of one tablet type have moved, and have not.
#[derive(Default)]
struct Reads<'a> {
    switched: Vec<&'a str>,
    not_switched: Vec<&'a str>,
}

fn text(replica: &Reads<'_>, rdonly: &Reads<'_>) -> Vec<String> {
    if replica.not_switched.is_empty() && rdonly.not_switched.is_empty() && !replica.switched.is_empty() {
        return vec!["All Reads Switched".into()];
    }
    if replica.switched.is_empty() && rdonly.switched.is_empty() {
        return vec![NO_READS.into()];
    }
    let of = |name: &str, reads: &Reads<'_>| {
        if reads.not_switched.is_empty() {
            format!("All {name} Reads Switched")
        } else if reads.switched.is_empty() {
            format!("{name} not switched")
        } else {
            format!("{name} switched in cells: {}", reads.switched.join(","))
        }
    };
    vec!["Reads partially switched".into(), of("Replica", replica), of("Rdonly", rdonly)]
}

const NO_READS: &str = "Reads Not Switched";
const NO_WRITES: &str = "Writes Not Switched";

#[cfg(test)]
mod tests;
