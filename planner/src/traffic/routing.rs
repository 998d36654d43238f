//! Where the records send the traffic of a workflow: what follows from the evidence, each by itself.
//!
//! What would have to be known and is not makes the answer `None`; [`Unknown`] has collected why. Facts: `traffic_switcher.go`
//! (`switchTableReads`, `changeWriteRoute`, `changeShardRouting`), `go/vt/topo/shard.go:UpdateDeniedTables`, v24.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    evidence::{Cell, Evidence, Keys, Piece, ServedRules, Side},
    kind::Kind,
};
use crate::proto::{
    topodata::{Shard, SrvKeyspace, TabletType, shard::TabletControl, srv_keyspace::KeyspacePartition},
    vschema::{KeyspaceRoutingRules, MirrorRules, RoutingRules, ShardRoutingRules, SrvVSchema},
};

/// Why what was asked for is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unknown(pub(crate) BTreeSet<String>);

impl Unknown {
    /// A piece that must be there.
    pub(crate) fn of<'a, T>(&mut self, piece: &'a Piece<T>, name: impl FnOnce() -> String) -> Option<&'a T> {
        match piece {
            Piece::Known(value) => return Some(value),
            Piece::Unknown(why) => self.0.insert(why.clone()),
            Piece::Missing => self.0.insert(format!("there is no {}", name())),
        };
        None
    }

    /// A piece whose lack means this.
    pub(crate) fn or<'a, T>(&mut self, piece: &'a Piece<T>, absent: &'a T) -> Option<&'a T> {
        match piece {
            Piece::Known(value) => Some(value),
            Piece::Missing => Some(absent),
            Piece::Unknown(why) => {
                self.0.insert(why.clone());
                None
            }
        }
    }
}

/// How many of several have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    None,
    Some,
    All,
}

impl Share {
    pub(crate) fn of(each: impl IntoIterator<Item = bool>) -> Self {
        let (mut has, mut lacks) = (false, false);
        for one in each {
            has |= one;
            lacks |= !one;
        }
        match (has, lacks) {
            (false, _) => Self::None,
            (true, true) => Self::Some,
            (true, false) => Self::All,
        }
    }
}

/// Where something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Source,
    Target,
    /// Some of it here, some there.
    Split,
}

impl Way {
    fn of(to_target: Share) -> Self {
        match to_target {
            Share::None => Self::Source,
            Share::Some => Self::Split,
            Share::All => Self::Target,
        }
    }
}

/// The tablet types whose reads are switched.
pub(crate) const READS: [TabletType; 2] = [TabletType::Replica, TabletType::Rdonly];

/// Its name in rules and texts.
pub(crate) fn type_name(of: TabletType) -> String {
    of.as_str_name().to_lowercase()
}

/// Behind a key of rules: nothing for writes.
pub(crate) fn suffix(of: TabletType) -> String {
    if of == TabletType::Primary { String::new() } else { format!("@{}", type_name(of)) }
}

/// No rules.
pub(crate) static NO_KEYS: Keys = Keys::new();

pub(crate) fn table_keys(rules: &RoutingRules) -> Keys {
    rules.rules.iter().rev().map(|rule| (rule.from_table.clone(), rule.to_tables.clone())).collect()
}

/// `customer.-80` -> the keyspace.
pub(crate) fn shard_keys(rules: &ShardRoutingRules) -> Keys {
    let key = |from: &str, shard: &str| format!("{from}.{shard}");
    rules.rules.iter().rev().map(|rule| (key(&rule.from_keyspace, &rule.shard), vec![rule.to_keyspace.clone()])).collect()
}

pub(crate) fn keyspace_keys(rules: &KeyspaceRoutingRules) -> Keys {
    rules.rules.iter().rev().map(|rule| (rule.from_keyspace.clone(), vec![rule.to_keyspace.clone()])).collect()
}

pub(crate) fn mirror_keys(rules: &MirrorRules) -> Keys {
    let mut keys = Keys::new();
    for rule in &rules.rules {
        keys.entry(rule.from_table.clone()).or_default().push(rule.to_table.clone());
    }
    keys
}

/// The rules in what a cell serves.
pub(crate) fn served_rules(vschema: &SrvVSchema) -> ServedRules {
    ServedRules {
        tables: vschema.routing_rules.as_ref().map(table_keys).unwrap_or_default(),
        shards: vschema.shard_routing_rules.as_ref().map(shard_keys).unwrap_or_default(),
        keyspaces: vschema.keyspace_routing_rules.as_ref().map(keyspace_keys).unwrap_or_default(),
    }
}

/// The PRIMARY control of a shard's record: its denied tables, and whether they may be read.
pub(crate) fn denial(controls: &[TabletControl]) -> Option<&TabletControl> {
    controls.iter().find(|control| control.tablet_type() == TabletType::Primary)
}

impl Evidence {
    /// The rules by which this kind of workflow is switched, as they are in the global record.
    pub(crate) fn global_keys(&self, unknown: &mut Unknown) -> Option<&Keys> {
        match self.kind {
            Kind::Standard => unknown.or(&self.rules.tables, &NO_KEYS),
            Kind::Partial => unknown.or(&self.rules.shards, &NO_KEYS),
            Kind::MultiTenant => unknown.or(&self.rules.keyspaces, &NO_KEYS),
            Kind::Migrate | Kind::Reshard => Some(&NO_KEYS),
        }
    }

    /// The same as a cell has them.
    pub(crate) fn cell_keys<'a>(&self, rules: &'a ServedRules) -> &'a Keys {
        match self.kind {
            Kind::Standard => &rules.tables,
            Kind::Partial => &rules.shards,
            Kind::MultiTenant => &rules.keyspaces,
            Kind::Migrate | Kind::Reshard => &NO_KEYS,
        }
    }

    /// Its own keys among these rules, of one tablet type; a partial workflow has none for reads.
    pub(crate) fn own_keys(&self, of: TabletType) -> BTreeSet<String> {
        let (source, target) = (&self.source.keyspace, &self.target.keyspace);
        match self.kind {
            Kind::Standard => self.tables.iter().flat_map(|table| self.keys_of_table(table, of)).collect(),
            Kind::Partial if of == TabletType::Primary => {
                self.source.shards.keys().flat_map(|shard| [source, target].map(|it| format!("{it}.{shard}"))).collect()
            }
            Kind::MultiTenant => BTreeSet::from([format!("{source}{}", suffix(of))]),
            Kind::Partial | Kind::Migrate | Kind::Reshard => BTreeSet::new(),
        }
    }

    /// Where rules send one tablet type. Without a rule traffic is where it was; of several that disagree it is split.
    pub(crate) fn way(&self, keys: &Keys, of: TabletType) -> Way {
        let target = &self.target.keyspace;
        let leads_to_target = |to: &Vec<String>| to.first().is_some_and(|to| to.split('.').next() == Some(target.as_str()));
        let own = self.own_keys(of);
        let Kind::Standard = self.kind else {
            // A shard's rule leads away from the keyspace in its key; without one its traffic is where it was.
            let source = format!("{}.", self.source.keyspace);
            let of_shards = |key: &String| key.starts_with(&source) || keys.contains_key(key) || self.kind == Kind::MultiTenant;
            let ways = own.iter().filter(|key| of_shards(key)).map(|key| keys.get(key).is_some_and(leads_to_target));
            return Way::of(Share::of(ways));
        };
        let mut ways = Vec::new();
        for table in &self.tables {
            let found = self.keys_of_table(table, of).into_iter().filter_map(|key| Some(leads_to_target(keys.get(&key)?)));
            let before = ways.len();
            ways.extend(found);
            if ways.len() == before {
                ways.push(false);
            }
        }
        Way::of(Share::of(ways))
    }

    /// The keys of routing rules that a table can have, of one tablet type.
    pub(crate) fn keys_of_table(&self, table: &str, of: TabletType) -> [String; 3] {
        let suffix = suffix(of);
        let full = |keyspace: &str| format!("{keyspace}.{table}{suffix}");
        [format!("{table}{suffix}"), full(&self.source.keyspace), full(&self.target.keyspace)]
    }

    /// Where writes go.
    pub(crate) fn writes(&self, unknown: &mut Unknown) -> Option<Way> {
        if self.kind != Kind::Reshard {
            let keys = self.global_keys(unknown)?;
            return Some(self.way(keys, TabletType::Primary));
        }
        let source = serving(&self.source, unknown);
        let target = serving(&self.target, unknown);
        Some(match (source?, target?) {
            (Share::All, Share::None) => Way::Source,
            (Share::None, Share::All) => Way::Target,
            _ => Way::Split,
        })
    }

    /// Where reads of one type go, by cell; of a reshard, and of tables by what the cells serve.
    pub(crate) fn reads(&self, of: TabletType, unknown: &mut Unknown) -> BTreeMap<&str, Way> {
        let mut ways = BTreeMap::new();
        for (name, cell) in unknown.of(&self.cells, || "cell".into()).into_iter().flatten() {
            let way = if self.kind == Kind::Reshard {
                self.srv_keyspace(name, cell, unknown).and_then(|served| self.partition_way(served, of))
            } else {
                unknown.of(&cell.rules, || format!("SrvVSchema in cell {name}")).map(|it| self.way(self.cell_keys(it), of))
            };
            ways.extend(way.map(|way| (name.as_str(), way)));
        }
        ways
    }

    /// What a cell serves of the target keyspace.
    pub(crate) fn srv_keyspace<'a>(&self, name: &str, cell: &'a Cell, unknown: &mut Unknown) -> Option<&'a SrvKeyspace> {
        let keyspace = &self.target.keyspace;
        let piece = cell.keyspaces.get(keyspace).unwrap_or(&Piece::Missing);
        unknown.of(piece, || format!("SrvKeyspace of {keyspace} in cell {name}"))
    }

    /// On which side of a reshard one tablet type is served; `None`: the type is not served at all.
    pub(crate) fn partition_way(&self, served: &SrvKeyspace, of: TabletType) -> Option<Way> {
        let partition = partition(served, of)?;
        let has = |side: &Side| Share::of(side.shards.keys().map(|shard| serves(partition, shard)));
        Some(match (has(&self.source), has(&self.target)) {
            (Share::All, Share::None) => Way::Source,
            (Share::None, Share::All) => Way::Target,
            _ => Way::Split,
        })
    }

    /// How many of the tables are denied on how many shards of a side.
    pub(crate) fn denied(&self, side: &Side, unknown: &mut Unknown) -> Option<Share> {
        let mut each = Vec::new();
        let mut is_known = true;
        for (name, shard) in &side.shards {
            let record = unknown.of(&shard.record, || format!("record of shard {}/{name}", side.keyspace));
            is_known &= record.is_some();
            let denied = record.and_then(|record| denial(&record.tablet_controls)).map(|control| &control.denied_tables);
            each.extend(self.tables.iter().map(|table| denied.is_some_and(|denied| denied.contains(table))));
        }
        is_known.then(|| Share::of(each))
    }

    /// How many shards of a side deny all of the tables: a switch closes a shard at once.
    pub(crate) fn closed_whole(&self, side: &Side, unknown: &mut Unknown) -> Option<Share> {
        let mut each = Vec::new();
        for (name, shard) in &side.shards {
            let record = unknown.of(&shard.record, || format!("record of shard {}/{name}", side.keyspace));
            let denies = |record: &Shard| {
                let denied = denial(&record.tablet_controls).map(|control| &control.denied_tables);
                denied.is_some_and(|denied| self.tables.iter().all(|table| denied.contains(table)))
            };
            each.push(record.map(|record| !self.tables.is_empty() && denies(record)));
        }
        each.into_iter().collect::<Option<Vec<bool>>>().map(Share::of)
    }

    /// Whether every shard of the target has the journal of the streams of the other direction.
    pub(crate) fn journals_back(&self, unknown: &mut Unknown) -> Option<Share> {
        journals(&self.target, &self.source, &self.reverse(), unknown)
    }

    /// Whether every source has the journal of the forward streams as they are now.
    pub(crate) fn journals(&self, unknown: &mut Unknown) -> Option<Share> {
        journals(&self.source, &self.target, &self.workflow, unknown)
    }
}

/// The shards of a side that have the journal of the streams on the other.
fn journals(side: &Side, other: &Side, workflow: &str, unknown: &mut Unknown) -> Option<Share> {
    let streams = other.streams_of(workflow).into_iter().map(|(shard, stream)| (shard, stream.id));
    let id = super::journal::migration_id(&other.keyspace, streams);
    let (mut each, none) = (Vec::new(), BTreeMap::new());
    // Without its record a shard is gone, and its database with it.
    for shard in side.shards.values().filter(|shard| !shard.record.is_missing()) {
        each.push(unknown.or(&shard.journals, &none).map(|found| found.contains_key(&id)));
    }
    each.into_iter().collect::<Option<Vec<bool>>>().map(Share::of)
}

/// How many primaries of a side serve by their shards' records.
fn serving(side: &Side, unknown: &mut Unknown) -> Option<Share> {
    let mut each = Vec::new();
    for (name, shard) in &side.shards {
        let record = unknown.of(&shard.record, || format!("record of shard {}/{name}", side.keyspace));
        each.push(record.map(|record| record.is_primary_serving));
    }
    each.into_iter().collect::<Option<Vec<bool>>>().map(Share::of)
}

/// Of what a cell serves, the part for one tablet type.
pub(crate) fn partition(served: &SrvKeyspace, of: TabletType) -> Option<&KeyspacePartition> {
    served.partitions.iter().find(|partition| partition.served_type() == of)
}

/// Whether a shard is in it.
pub(crate) fn serves(partition: &KeyspacePartition, shard: &str) -> bool {
    partition.shard_references.iter().any(|reference| reference.name == shard)
}

/// Whether its query service is off by it.
pub(crate) fn is_off(partition: &KeyspacePartition, shard: &str) -> bool {
    partition.shard_tablet_controls.iter().any(|control| control.name == shard && control.query_service_disabled)
}
