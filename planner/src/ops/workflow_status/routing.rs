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
mod tests {
    use super::*;
    use crate::proto::{
        topodata::{ShardReference, ShardTabletControl, srv_keyspace::KeyspacePartition},
        vschema::{KeyspaceRoutingRule, RoutingRule, ShardRoutingRule},
        vtctldata::{
            WorkflowOptions,
            workflow::{ReplicationLocation, ShardStream, Stream},
        },
    };

    fn workflow(name: &str, source: (&str, &[&str]), target: (&str, &[&str])) -> Workflow {
        let side = |(keyspace, shards): (&str, &[&str])| ReplicationLocation {
            keyspace: keyspace.into(),
            shards: shards.iter().map(|&shard| shard.into()).collect(),
        };
        Workflow { name: name.into(), source: Some(side(source)), target: Some(side(target)), ..Workflow::default() }
    }

    fn moved(workflow: &Workflow) -> TrafficSwitch {
        TrafficSwitch::new(workflow, &BTreeSet::from(["t1".to_owned(), "t2".to_owned()]))
    }

    fn rules(list: &[(&str, &str)]) -> RoutingRules {
        let rule = |&(from, to): &(&str, &str)| RoutingRule { from_table: from.into(), to_tables: vec![to.into()] };
        RoutingRules { rules: list.iter().map(rule).collect() }
    }

    /// The same rules everywhere, in two cells.
    fn routing(list: &[(&str, &str)]) -> Routing {
        let vschema = SrvVSchema { routing_rules: Some(rules(list)), ..SrvVSchema::default() };
        let serving = Serving { vschema: Ok(vschema), ..Serving::default() };
        let cells = ["zone1", "zone2"].map(|cell| (cell.to_owned(), serving.clone()));
        Routing { tables: Ok(rules(list)), cells: Ok(cells.into()), ..Routing::default() }
    }

    fn state(moved: &TrafficSwitch, routing: &Routing) -> String {
        moved.state(routing).unwrap_or_else(|unknown| panic!("{unknown:?}"))
    }

    /// What is not known, a line each.
    fn unknown(moved: &TrafficSwitch, routing: &Routing) -> String {
        moved.state(routing).expect_err("not known").into_iter().collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn only_what_decides_has_to_be_known() {
        let down = || "down".to_owned();
        let unserved = Serving { vschema: Err("no SrvVSchema".into()), keyspace: Err("no SrvKeyspace".into()) };
        let of_cells = |serving: &Serving| Routing {
            cells: Ok([("zone1", Serving::default()), ("zone2", serving.clone())].map(|(cell, s)| (cell.to_owned(), s)).into()),
            is_representative_serving: Ok(true),
            ..Routing::default()
        };
        let tables = moved(&workflow("wf1", ("src", &["0"]), ("dst", &["0"])));
        let partial = moved(&workflow("wf1", ("src", &["-80"]), ("dst", &["-80"])));
        let shards = moved(&workflow("wf1", ("ks", &["80-"]), ("ks", &["80-c0", "c0-"])));
        assert_eq!(unknown(&tables, &of_cells(&unserved)), "no SrvVSchema", "one cell of two");
        assert_eq!(unknown(&shards, &of_cells(&unserved)), "no SrvKeyspace");
        assert_eq!(state(&partial, &of_cells(&unserved)), "Reads Not Switched. Writes Not Switched", "cells do not decide");
        assert_eq!(unknown(&partial, &Routing { shards: Err(down()), ..Routing::default() }), "down");
        assert_eq!(
            unknown(&tables, &Routing { tables: Err(down()), cells: Err("no cells".into()), ..Routing::default() }),
            "down\nno cells"
        );
        let others = Routing { shards: Err(down()), keyspaces: Err(down()), ..routing(&[]) };
        assert_eq!(state(&tables, &others), "Reads Not Switched. Writes Not Switched", "rules of other kinds do not decide");
        let unread = Routing { is_representative_serving: Err("no record".into()), ..of_cells(&Serving::default()) };
        assert_eq!(unknown(&shards, &unread), "no record");
        let nothing = moved(&workflow("wf1", ("ks", &[]), ("ks", &["80-c0", "c0-"])));
        assert!(unknown(&nothing, &of_cells(&Serving::default())).contains("are not known"), "no shard is not a switched one");
        assert_eq!((nothing.representative(), shards.representative()), (None, Some(("ks", "80-"))));
        let empty = TrafficSwitch::new(&workflow("wf1", ("src", &["0"]), ("dst", &["0"])), &BTreeSet::new());
        assert_eq!(unknown(&empty, &of_cells(&Serving::default())), "its streams name no tables");
    }

    #[test]
    fn another_sources_shard_rules_are_not_this_workflows() {
        let moves = moved(&workflow("p1", ("src", &["-80"]), ("customer", &["-80"])));
        let rule = |(from, to, shard): (&str, &str, &str)| ShardRoutingRule {
            from_keyspace: from.into(),
            to_keyspace: to.into(),
            shard: shard.into(),
        };
        let state = |list: &[(&str, &str, &str)]| {
            let shards = Ok(ShardRoutingRules { rules: list.iter().copied().map(rule).collect() });
            super::tests::state(&moves, &Routing { shards, ..Routing::default() })
        };
        let (own, other) = (("customer", "src", "-80"), ("src3", "customer", "80-"));
        assert_eq!(state(&[own, other]), "Reads Not Switched. Writes Not Switched");
        assert_eq!(state(&[("src", "customer", "-80"), ("customer", "src3", "80-")]), "All Reads Switched. All Writes Switched");
        assert_eq!(state(&[("src", "elsewhere", "-80")]), "Reads Not Switched. Writes Not Switched");
    }

    #[test]
    fn tables_by_routing_rules() {
        let moves = moved(&workflow("wf1", ("src", &["0"]), ("dst", &["0"])));
        let back = moved(&workflow("wf1_reverse", ("dst", &["0"]), ("src", &["0"])));
        let replica = ("src.t1@replica", "dst.t1");
        let rdonly = ("src.t1@rdonly", "dst.t1");
        let write = ("src.t1", "dst.t1");
        for (list, want) in [
            (vec![], "Reads Not Switched. Writes Not Switched"),
            (vec![("src.t1@replica", "src.t1"), ("src.t1", "src.t1")], "Reads Not Switched. Writes Not Switched"),
            (vec![replica, rdonly], "All Reads Switched. Writes Not Switched"),
            (vec![write], "Reads Not Switched. Writes Switched"),
            (vec![("src.t2", "dst.t2")], "Reads Not Switched. Writes Switched"),
            (vec![replica, rdonly, write], "All Reads Switched. Writes Switched"),
            (vec![rdonly], "Reads partially switched. Replica not switched. All Rdonly Reads Switched. Writes Not Switched"),
            (vec![("src2.t1", "dst2.t1"), ("src2.t1@replica", "dst2.t1")], "Reads Not Switched. Writes Not Switched"),
        ] {
            assert_eq!(state(&moves, &routing(&list)), want, "{list:?}");
            assert_eq!(state(&back, &routing(&list)), want, "a reverse workflow says the same of {list:?}");
        }
        let mut one_cell = routing(&[replica, rdonly]);
        one_cell.cells.as_mut().unwrap().insert("zone3".into(), Serving::default());
        assert_eq!(
            state(&moves, &one_cell),
            "Reads partially switched. Replica switched in cells: zone1,zone2. Rdonly switched in cells: zone1,zone2. \
             Writes Not Switched"
        );
        assert_eq!(state(&moves, &Routing::default()), "Reads Not Switched. Writes Not Switched", "no cells");
        let lookup = Workflow { workflow_type: "CreateLookupIndex".into(), ..workflow("l", ("src", &["0"]), ("dst", &["0"])) };
        assert_eq!(state(&moved(&lookup), &routing(&[write])), "Reads Not Switched. Writes Not Switched");
    }

    #[test]
    fn tables_that_go_different_ways_are_named() {
        let moves = moved(&workflow("wf1", ("src", &["0"]), ("dst", &["0"])));
        let back = moved(&workflow("wf1_reverse", ("dst", &["0"]), ("src", &["0"])));
        for (list, want) in [
            (vec![], vec![]),
            (vec![("src.t1", "dst.t1"), ("src.t2", "dst.t2")], vec![]),
            (vec![("src.t1", "src.t1"), ("t2", "src.t2")], vec![]),
            (
                vec![("src.t1", "dst.t1"), ("src.t2", "src.t2")],
                vec!["writes go different ways: those of t1 to dst, those of t2 to src"],
            ),
            (vec![("src.t2", "dst.t2")], vec!["writes go different ways: those of t2 to dst, those of t1 to src"]),
            (
                vec![("src.t1@replica", "dst.t1")],
                vec!["reads of replicas go different ways: those of t1 to dst, those of t2 to src (in zone1, zone2)"],
            ),
        ] {
            assert_eq!(moves.splits(&routing(&list)), want, "{list:?}");
            assert_eq!(back.splits(&routing(&list)), want, "{list:?}");
        }
        assert!(moves.splits(&Routing { tables: Err("down".into()), ..routing(&[("src.t1", "dst.t1")]) }).is_empty());
    }

    #[test]
    fn some_shards_by_shard_routing_rules() {
        let moves = moved(&workflow("wf1", ("src", &["-80"]), ("dst", &["-80"])));
        let state = |list: &[(&str, &str)]| {
            let rule = |&(to, shard): &(&str, &str)| ShardRoutingRule {
                from_keyspace: "src".into(),
                to_keyspace: to.into(),
                shard: shard.into(),
            };
            let shards = ShardRoutingRules { rules: list.iter().map(rule).collect() };
            super::tests::state(&moves, &Routing { shards: Ok(shards), ..routing(&[]) })
        };
        assert_eq!(state(&[("src", "-80"), ("src", "80-")]), "Reads Not Switched. Writes Not Switched");
        assert_eq!(state(&[("dst", "-80"), ("dst", "80-")]), "All Reads Switched. All Writes Switched");
        assert_eq!(
            state(&[("dst", "-80"), ("src", "80-")]),
            "Reads partially switched, for shards: -80. Writes partially switched, for shards: -80"
        );
        // The other shard did not answer: the half that did is not the whole move.
        let mut half = workflow("wf1", ("src", &["-80"]), ("dst", &["-80"]));
        half.shard_streams.insert("80-/x".into(), ShardStream { streams: vec![Stream::default()], ..ShardStream::default() });
        assert_eq!(moved(&half).kind, MigrationKind::Tables);
        half.workflow_sub_type = "Partial".into();
        assert_eq!(moved(&half).kind, MigrationKind::Partial);
        for (source, target, want) in [
            (vec!["-80"], vec!["-80"], true),
            (vec!["-80", "80-"], vec!["-80", "80-"], false),
            (vec!["0"], vec!["-80", "80-"], false),
            (vec!["-"], vec!["-"], false),
            (vec!["-40", "40-80"], vec!["-80"], false),
            (vec!["80-c0", "c0-"], vec!["c0-", "80-c0"], true),
        ] {
            let owned = |shards: &[&str]| shards.iter().map(|&shard| shard.to_owned()).collect::<Vec<_>>();
            assert_eq!(is_partial(&owned(&source), &owned(&target)), want, "{source:?} {target:?}");
        }
    }

    #[test]
    fn tenants_by_keyspace_routing_rules() {
        let options = Some(WorkflowOptions { tenant_id: "1".into(), ..WorkflowOptions::default() });
        let moves = moved(&Workflow { options, ..workflow("wf1", ("src", &["0"]), ("dst", &["0"])) });
        let state = |list: &[&str]| {
            let rule = |&from: &&str| KeyspaceRoutingRule { from_keyspace: from.into(), to_keyspace: "dst".into() };
            let keyspaces = KeyspaceRoutingRules { rules: list.iter().map(rule).collect() };
            super::tests::state(&moves, &Routing { keyspaces: Ok(keyspaces), ..routing(&[]) })
        };
        assert_eq!(state(&[]), "Reads Not Switched. Writes Not Switched");
        assert_eq!(state(&["src@rdonly", "src@replica", "src"]), "All Reads Switched. Writes Switched");
        assert_eq!(
            state(&["src@replica"]),
            "Reads partially switched. All Replica Reads Switched. Rdonly not switched. Writes Not Switched"
        );
    }

    #[test]
    fn shards_by_the_serving_graph() {
        let reshard = moved(&workflow("wf1", ("ks", &["80-"]), ("ks", &["80-c0", "c0-"])));
        assert_eq!(reshard.representative(), Some(("ks", "80-")));
        let reverse = moved(&workflow("wf1_reverse", ("ks", &["80-c0", "c0-"]), ("ks", &["80-"])));
        assert_eq!(reverse.representative(), Some(("ks", "80-")));
        let state = |shards: &[&str], disabled: Option<bool>, is_representative_serving| {
            let partition = |served: TabletType| KeyspacePartition {
                served_type: served.into(),
                shard_references: shards.iter().map(|&name| ShardReference { name: name.into(), key_range: None }).collect(),
                shard_tablet_controls: disabled
                    .map(|off| ShardTabletControl { name: "80-".into(), key_range: None, query_service_disabled: off })
                    .into_iter()
                    .collect(),
            };
            let partitions = vec![partition(TabletType::Replica), partition(TabletType::Rdonly)];
            let keyspace = SrvKeyspace { partitions, ..SrvKeyspace::default() };
            let cells = Ok(BTreeMap::from([("zone1".to_owned(), Serving { keyspace: Ok(keyspace), ..Serving::default() })]));
            let is_representative_serving = Ok(is_representative_serving);
            super::tests::state(&reshard, &Routing { cells, is_representative_serving, ..Routing::default() })
        };
        assert_eq!(state(&["-80", "80-"], None, true), "Reads Not Switched. Writes Not Switched");
        assert_eq!(state(&["-80", "80-"], Some(false), true), "Reads Not Switched. Writes Not Switched");
        assert_eq!(state(&["-80", "80-"], Some(true), true), "All Reads Switched. Writes Not Switched");
        assert_eq!(state(&["-80", "80-c0", "c0-"], None, false), "All Reads Switched. Writes Switched");
        // A keyspace into itself, shard by shard, is no reshard.
        assert_eq!(moved(&workflow("wf1", ("ks", &["0"]), ("ks", &["0"]))).representative(), None);
    }

    /// Rules of its own tables are another workflow's.
    #[test]
    fn a_lookup_index_moves_no_traffic() {
        let index = Workflow {
            workflow_type: VReplicationWorkflowType::CreateLookupIndex.as_str_name().into(),
            ..workflow("idx", ("src", &["0"]), ("dst", &["0"]))
        };
        let switched = routing(&[("src.t1", "dst.t1"), ("src.t1@replica", "dst.t1"), ("src.t1@rdonly", "dst.t1")]);
        assert_eq!(state(&moved(&index), &switched), "Reads Not Switched. Writes Not Switched");
        let tables = moved(&workflow("wf", ("src", &["0"]), ("dst", &["0"])));
        assert_eq!(state(&tables, &switched), "All Reads Switched. Writes Switched");
    }

    /// Of a shard whose queries are off it is not served; a control of another shard says nothing of it.
    #[test]
    fn a_shard_that_is_served_with_its_queries_off_is_switched() {
        let shards = moved(&workflow("wf1", ("ks", &["80-"]), ("ks", &["80-c0", "c0-"])));
        let control = |name: &str, query_service_disabled| ShardTabletControl {
            name: name.into(),
            key_range: None,
            query_service_disabled,
        };
        let state = |controls: &[ShardTabletControl]| {
            let partition = |served: TabletType| KeyspacePartition {
                served_type: served.into(),
                shard_references: vec![ShardReference { name: "80-".into(), key_range: None }],
                shard_tablet_controls: controls.to_vec(),
            };
            let partitions = vec![partition(TabletType::Replica), partition(TabletType::Rdonly)];
            let keyspace = Ok(SrvKeyspace { partitions, ..SrvKeyspace::default() });
            let cells = Ok(BTreeMap::from([("zone1".to_owned(), Serving { keyspace, ..Serving::default() })]));
            super::tests::state(&shards, &Routing { cells, is_representative_serving: Ok(true), ..Routing::default() })
        };
        let (on, off) = ("Reads Not Switched. Writes Not Switched", "All Reads Switched. Writes Not Switched");
        for (controls, want) in [
            (&[][..], on),
            (&[control("80-", false), control("80-c0", true)], on),
            (&[control("80-c0", false), control("80-", true)], off),
            (&[control("80-c0", false)], off),
        ] {
            assert_eq!(state(controls), want, "{controls:?}");
        }
    }

    #[test]
    fn each_type_of_tablet_is_read_where_its_own_partition_says() {
        let shards = moved(&workflow("wf1", ("ks", &["80-"]), ("ks", &["80-c0", "c0-"])));
        let partition = |served: TabletType, shard: &str| KeyspacePartition {
            served_type: served.into(),
            shard_references: vec![ShardReference { name: shard.into(), key_range: None }],
            shard_tablet_controls: vec![],
        };
        let partitions = vec![partition(TabletType::Rdonly, "80-c0"), partition(TabletType::Replica, "80-")];
        let keyspace = Ok(SrvKeyspace { partitions, ..SrvKeyspace::default() });
        let cells = Ok(BTreeMap::from([("zone1".to_owned(), Serving { keyspace, ..Serving::default() })]));
        let routing = Routing { cells, is_representative_serving: Ok(true), ..Routing::default() };
        let want = "Reads partially switched. Replica not switched. All Rdonly Reads Switched. Writes Not Switched";
        assert_eq!(state(&shards, &routing), want);
    }
}
