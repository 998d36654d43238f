//! Where the traffic of a workflow goes: routing rules, serving graphs and shard records -> the text that clients print.
//!
//! Decides from what it is given and asks for nothing. Facts: `go/vt/vtctl/workflow/server.go:getWorkflowState`,
//! `state.go:State.String`, `traffic_switcher.go`, v21 to v24.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::{
    binlogdata::{VReplicationWorkflowSubType, VReplicationWorkflowType},
    topodata::{SrvKeyspace, TabletType},
    vschema::{KeyspaceRoutingRules, RoutingRules, ShardRoutingRules, SrvVSchema},
    vtctldata::Workflow,
};

/// What is moved, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Where the traffic was before the workflow's own direction; of a reverse workflow its target.
    from: String,
    to: String,
    /// Ascending.
    tables: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
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

/// What is known of the routing. An absent record is an empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Routing {
    pub(crate) tables: RoutingRules,
    pub(crate) shards: ShardRoutingRules,
    pub(crate) keyspaces: KeyspaceRoutingRules,
    /// By cell.
    pub(crate) cells: BTreeMap<String, Serving>,
    /// Whether the primary of the representative shard serves.
    pub(crate) is_representative_serving: bool,
}

/// What one cell serves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Serving {
    pub(crate) vschema: SrvVSchema,
    /// Of the workflow's keyspace.
    pub(crate) keyspace: SrvKeyspace,
}

impl Moved {
    /// What a workflow moves, by its streams.
    pub(crate) fn new(workflow: &Workflow, tables: &BTreeSet<String>) -> Self {
        let (source, target) = (workflow.source.clone().unwrap_or_default(), workflow.target.clone().unwrap_or_default());
        let is_reverse = workflow.name.ends_with("_reverse");
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
            Kind::Nothing
        } else if !is_tables {
            let side = if is_reverse { &target.shards } else { &source.shards };
            Kind::Shards { representative: side.iter().min().cloned().unwrap_or_default() }
        } else if !options.tenant_id.is_empty() {
            Kind::MultiTenant
        } else if is_some_shards {
            Kind::Partial
        } else {
            Kind::Tables
        };
        let (from, to) = if is_reverse { (target.keyspace, source.keyspace) } else { (source.keyspace, target.keyspace) };
        Self { from, to, tables: tables.iter().cloned().collect(), kind }
    }

    /// The shard whose record says whether writes have moved, with its keyspace.
    pub(crate) fn representative(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::Shards { representative } if !representative.is_empty() => Some((&self.to, representative)),
            _ => None,
        }
    }

    /// The text that clients print.
    pub(crate) fn state(&self, routing: &Routing) -> String {
        let reads = |served| {
            let mut reads = Reads::default();
            for (cell, serving) in &routing.cells {
                let is_switched = self.is_read_switched(routing, serving, served);
                if is_switched { &mut reads.switched } else { &mut reads.not_switched }.push(cell.as_str());
            }
            reads
        };
        let mut parts = match self.kind {
            Kind::Partial => return self.partial(&routing.shards),
            Kind::Nothing => vec![NO_READS.to_owned()],
            _ => text(&reads(TabletType::Replica), &reads(TabletType::Rdonly)),
        };
        parts.push(if self.are_writes_switched(routing) { "Writes Switched" } else { NO_WRITES }.into());
        parts.join(". ")
    }

    fn is_read_switched(&self, routing: &Routing, serving: &Serving, served: TabletType) -> bool {
        let suffix = served.as_str_name().to_lowercase();
        match &self.kind {
            Kind::MultiTenant => self.keyspace_is_switched(&routing.keyspaces, &format!("{}@{suffix}", self.from)),
            Kind::Shards { representative } => {
                let partition = serving.keyspace.partitions.iter().find(|partition| partition.served_type() == served);
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
                let rules = serving.vschema.routing_rules.as_ref();
                // The first table stands for all.
                let Some(table) = self.tables.first() else { return false };
                let from = format!("{}.{table}@{suffix}", self.from);
                let rule = rules.and_then(|rules| rules.rules.iter().find(|rule| rule.from_table == from));
                rule.is_some_and(|rule| rule.to_tables.iter().any(|to| to.split('.').next() != Some(self.from.as_str())))
            }
        }
    }

    fn are_writes_switched(&self, routing: &Routing) -> bool {
        match &self.kind {
            Kind::Nothing | Kind::Partial => false,
            Kind::MultiTenant => self.keyspace_is_switched(&routing.keyspaces, &self.from),
            Kind::Shards { .. } => !routing.is_representative_serving,
            Kind::Tables => self.tables.iter().any(|table| {
                let from = format!("{}.{table}", self.from);
                let rule = routing.tables.rules.iter().find(|rule| rule.from_table == from);
                rule.and_then(|rule| rule.to_tables.first()).is_some_and(|to| *to != from)
            }),
        }
    }

    fn keyspace_is_switched(&self, rules: &KeyspaceRoutingRules, from: &str) -> bool {
        rules.rules.iter().any(|rule| rule.from_keyspace == from && rule.to_keyspace == self.to)
    }

    fn partial(&self, rules: &ShardRoutingRules) -> String {
        let shards = |keyspace: &str| -> Vec<&str> {
            rules.rules.iter().filter(|rule| rule.to_keyspace == keyspace).map(|rule| rule.shard.as_str()).collect()
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

/// Whether both sides are the same part of the keyspace, and not all of it.
fn is_partial(source: &[String], target: &[String]) -> bool {
    let (source, target) = (whole(source), whole(target));
    matches!((source, target), (Some(source), Some(target)) if source == target && source.0 == target.0
        && !(source.1.is_empty() && source.2.is_empty()))
}

/// How many shards, and the range from the start of the first to the end of the last. `None`: no key range.
fn whole(shards: &[String]) -> Option<(usize, String, String)> {
    let mut ranges: Vec<_> = shards.iter().filter_map(|shard| shard.split_once('-')).collect();
    ranges.sort_unstable();
    let start = ranges.first()?.0.to_lowercase();
    // An open end is the greatest.
    let end = if ranges.iter().any(|(_, end)| end.is_empty()) { "" } else { ranges.iter().map(|(_, end)| *end).max()? };
    Some((shards.len(), start, end.to_lowercase()))
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

    fn moved(workflow: &Workflow) -> Moved {
        Moved::new(workflow, &BTreeSet::from(["t1".to_owned(), "t2".to_owned()]))
    }

    fn rules(list: &[(&str, &str)]) -> RoutingRules {
        let rule = |&(from, to): &(&str, &str)| RoutingRule { from_table: from.into(), to_tables: vec![to.into()] };
        RoutingRules { rules: list.iter().map(rule).collect() }
    }

    /// The same rules everywhere, in two cells.
    fn routing(list: &[(&str, &str)]) -> Routing {
        let vschema = SrvVSchema { routing_rules: Some(rules(list)), ..SrvVSchema::default() };
        let serving = Serving { vschema, ..Serving::default() };
        let cells = ["zone1", "zone2"].map(|cell| (cell.to_owned(), serving.clone()));
        Routing { tables: rules(list), cells: cells.into(), ..Routing::default() }
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
            assert_eq!(moves.state(&routing(&list)), want, "{list:?}");
            assert_eq!(back.state(&routing(&list)), want, "a reverse workflow says the same of {list:?}");
        }
        let mut one_cell = routing(&[replica, rdonly]);
        one_cell.cells.insert("zone3".into(), Serving::default());
        assert_eq!(
            moves.state(&one_cell),
            "Reads partially switched. Replica switched in cells: zone1,zone2. Rdonly switched in cells: zone1,zone2. \
             Writes Not Switched"
        );
        assert_eq!(moves.state(&Routing::default()), "Reads Not Switched. Writes Not Switched", "no cells");
        let lookup = Workflow { workflow_type: "CreateLookupIndex".into(), ..workflow("l", ("src", &["0"]), ("dst", &["0"])) };
        assert_eq!(moved(&lookup).state(&routing(&[write])), "Reads Not Switched. Writes Not Switched");
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
            moves.state(&Routing { shards, ..routing(&[]) })
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
        assert_eq!(moved(&half).kind, Kind::Tables);
        half.workflow_sub_type = "Partial".into();
        assert_eq!(moved(&half).kind, Kind::Partial);
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
            moves.state(&Routing { keyspaces, ..routing(&[]) })
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
            let cells = BTreeMap::from([("zone1".to_owned(), Serving { keyspace, ..Serving::default() })]);
            reshard.state(&Routing { cells, is_representative_serving, ..Routing::default() })
        };
        assert_eq!(state(&["-80", "80-"], None, true), "Reads Not Switched. Writes Not Switched");
        assert_eq!(state(&["-80", "80-"], Some(false), true), "Reads Not Switched. Writes Not Switched");
        assert_eq!(state(&["-80", "80-"], Some(true), true), "All Reads Switched. Writes Not Switched");
        assert_eq!(state(&["-80", "80-c0", "c0-"], None, false), "All Reads Switched. Writes Switched");
        // A keyspace into itself, shard by shard, is no reshard.
        assert_eq!(moved(&workflow("wf1", ("ks", &["0"]), ("ks", &["0"]))).representative(), None);
    }
}
