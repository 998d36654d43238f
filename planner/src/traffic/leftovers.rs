//! What belongs to no workflow any more, and what is wrong with a keyspace as a whole: rules, denied tables, what its cells serve, streams
//! that cannot go on, sequences.
//!
//! That something belongs to nobody is said only where the streams of both keyspaces are known.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    commands,
    deviation::{Deviation, Mechanism as M},
    evidence::{Cells, Evidence, Keys, Piece, Rules, Stream, StreamState},
    kind::Kind,
    partition,
    repair::{self, Action},
    routing::{NO_KEYS, Unknown, denial},
    sequences::Sequence,
    text::listed,
};
use crate::{proto::topodata::Shard, words::says_error};

/// What was read of one keyspace beside its workflows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keyspace {
    /// Whether it is asked about.
    pub is_wanted: bool,
    /// By name, the records of its shards.
    pub shards: BTreeMap<String, Piece<Shard>>,
    /// Why the streams of some shards are not known; empty: all are.
    pub unread: BTreeSet<String>,
    /// Streams that cannot go on.
    pub broken: Vec<Broken>,
    /// Why it is not known of others whether they can; empty: it is known, or nothing speaks against it.
    pub unread_logs: BTreeSet<String>,
}

/// A stream that does not go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Where it is.
    pub place: String,
    /// Its keyspace.
    pub keyspace: String,
    /// Its workflow.
    pub workflow: String,
    /// Why.
    pub why: Why,
}

/// Why a stream does not go on.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// Binary logs that it needs are gone: it says so.
    GoneAsItSays(String),
    /// The same: the primary of its source says what it has purged.
    Purged {
        /// The primary, with its shard.
        by: String,
        /// What the stream has not copied of it.
        transactions: String,
    },
    /// It has failed, or vtctld takes it for one that has: [`has_failed`].
    Failed {
        /// What it says.
        message: String,
        /// What it does.
        state: StreamState,
    },
}

impl Broken {
    fn deviation(&self) -> Deviation {
        let Self { place, keyspace, workflow, why } = self;
        let hurts = match why {
            Why::GoneAsItSays(message) => {
                format!("{workflow}: nothing is copied any more, and starting it again does not help: {message}")
            }
            Why::Purged { by, transactions } => format!(
                "{workflow}: it has not copied {transactions}, of which {by} has no binary logs any more: it can go on only from a \
                 replica that still has them"
            ),
            Why::Failed { message, state: StreamState::Working } => format!(
                "{workflow}: it may copy nothing; what it says is taken for an error, and nothing can be switched until it says \
                 otherwise: {message}"
            ),
            Why::Failed { message, state } => {
                let start = commands::start(keyspace, workflow);
                let what = match state {
                    StreamState::Stopped => "it stands still, and what it says is taken for an error",
                    StreamState::Working | StreamState::Error => "it has failed, and copies nothing",
                };
                format!("{workflow}: {what}; nothing can be switched until it is started again ({start}): {message}")
            }
        };
        let mechanism = match why {
            Why::GoneAsItSays(_) | Why::Purged { .. } => M::BinlogsGone,
            Why::Failed { .. } => M::StreamFailed,
        };
        Deviation::new(mechanism, hurts).at([place.clone()])
    }
}

/// The cluster as far as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Global rules.
    pub rules: Arc<Rules>,
    /// By name, those that were read, and [`Piece::Missing`] for those that rules lead to and that are not there.
    pub keyspaces: BTreeMap<String, Piece<Keyspace>>,
    /// By cell.
    pub cells: Arc<Piece<Cells>>,
    /// Every workflow that moves traffic between them.
    pub workflows: Vec<Evidence>,
    /// Those that were looked at.
    pub sequences: Vec<Sequence>,
}

/// Whether a stream has failed as vtctld sees it, which switches nothing of its workflow then: it is in state Error, or its message says so.
pub fn has_failed(stream: &Stream) -> bool {
    stream.state == StreamState::Error || says_error(&stream.message)
}

/// Whether a stream says that its source has purged what it needs. Sources: MySQL's error 1236 in its texts, 5.7 to 9.
pub fn says_binlogs_are_gone(message: &str) -> bool {
    ["errno 1236", "purged required binary logs", "purged binary logs containing GTIDs", "Could not find first log file name"]
        .iter()
        .any(|text| message.contains(text))
}

/// Two keyspaces, in the order of their names.
type Pair = (String, String);

fn pair(one: &str, other: &str) -> Pair {
    if one <= other { (one.into(), other.into()) } else { (other.into(), one.into()) }
}

/// A key of routing or mirror rules: its keyspace, empty for none, and its table.
fn parts(key: &str) -> (&str, &str) {
    let name = key.split_once('@').map_or(key, |(name, _)| name);
    name.split_once('.').unwrap_or(("", name))
}

impl Cluster {
    /// All of it but for the streams of workflows that move traffic: [`Cluster::of_streams`]. What is not known goes into the set.
    pub fn leftovers(&self) -> (Vec<Deviation>, BTreeSet<String>) {
        let mut unknown = Unknown::default();
        let mut found = Vec::new();
        if let Some(keys) = unknown.or(&self.rules.tables, &NO_KEYS) {
            found.extend(self.rules_of_tables(keys, M::LeftoverRoutingRules, "RoutingRules", &mut unknown));
        }
        if let Some(keys) = unknown.or(&self.rules.mirror, &NO_KEYS) {
            found.extend(self.rules_of_tables(keys, M::LeftoverMirrorRules, "MirrorRules", &mut unknown));
        }
        if let Some(keys) = unknown.or(&self.rules.shards, &NO_KEYS) {
            found.extend(self.rules_of_keyspaces(keys, Kind::Partial, "ShardRoutingRules", &mut unknown));
        }
        if let Some(keys) = unknown.or(&self.rules.keyspaces, &NO_KEYS) {
            found.extend(self.rules_of_keyspaces(keys, Kind::MultiTenant, "routing_rules/keyspace/Rules", &mut unknown));
        }
        for (name, keyspace) in &self.keyspaces {
            let Some(keyspace) = keyspace.known().filter(|keyspace| keyspace.is_wanted) else { continue };
            found.extend(self.denied_tables(name, keyspace, &mut unknown));
            found.extend(self.partitions(name, &mut unknown));
            unknown.0.extend(keyspace.unread.iter().cloned());
            unknown.0.extend(keyspace.unread_logs.iter().cloned());
            let is_nobodys = |it: &&Broken| !self.workflows.iter().any(|of| of.has_streams(name, &it.workflow));
            found.extend(keyspace.broken.iter().filter(is_nobodys).map(Broken::deviation));
        }
        found.extend(self.sequences.iter().filter_map(Sequence::deviation));
        (found, unknown.0)
    }

    /// Of it what is about streams of these workflows, by keyspace and name: whether they can go on.
    pub fn of_streams(&self, workflows: &BTreeSet<(String, String)>) -> (Vec<Deviation>, BTreeSet<String>) {
        let (mut found, mut unknown) = (Vec::new(), BTreeSet::new());
        for (name, keyspace) in self.keyspaces.iter().filter_map(|(name, keyspace)| Some((name, keyspace.known()?))) {
            let is_wanted = |it: &&Broken| workflows.contains(&(name.clone(), it.workflow.clone()));
            found.extend(keyspace.broken.iter().filter(is_wanted).map(Broken::deviation));
            if workflows.iter().any(|(keyspace, _)| keyspace == name) {
                unknown.extend(keyspace.unread_logs.iter().cloned());
            }
        }
        (found, unknown)
    }

    /// Whether both keyspaces are known as far as workflows go; `None`: it is not asked about either.
    fn are_known(&self, pair: &Pair, what: &str, unknown: &mut Unknown) -> bool {
        let both = [&pair.0, &pair.1].map(|name| self.keyspaces.get(name));
        if !both.iter().flatten().any(|keyspace| keyspace.known().is_some_and(|keyspace| keyspace.is_wanted)) {
            return false;
        }
        let mut is_known = true;
        for (name, keyspace) in [&pair.0, &pair.1].into_iter().zip(both) {
            let why: Vec<String> = match keyspace {
                Some(Piece::Known(keyspace)) => keyspace.unread.iter().cloned().collect(),
                Some(Piece::Missing) => Vec::new(),
                Some(Piece::Unknown(why)) => vec![why.clone()],
                None => vec![format!("keyspace {name} was not read")],
            };
            is_known &= why.is_empty();
            unknown.0.extend(
                why.into_iter()
                    .map(|why| format!("whether {what} between {} and {} belong to a workflow: {why}", pair.0, pair.1)),
            );
        }
        is_known
    }

    /// The workflows between two keyspaces.
    fn between(&self, keyspaces: &Pair) -> Vec<&Evidence> {
        let (one, other) = (&keyspaces.0, &keyspaces.1);
        let is_between = |it: &&Evidence| {
            let (source, target) = (&it.source.keyspace, &it.target.keyspace);
            (source, target) == (one, other) || (source, target) == (other, one)
        };
        self.workflows.iter().filter(is_between).collect()
    }

    fn lacks(&self, keyspace: &str) -> bool {
        self.keyspaces.get(keyspace).is_some_and(Piece::is_missing)
    }

    /// Rules whose keys are tables.
    fn rules_of_tables(&self, keys: &Keys, mechanism: M, record: &'static str, unknown: &mut Unknown) -> Vec<Deviation> {
        // Those that lead from one keyspace to another: a workflow writes no others without them.
        let mut between: BTreeMap<Pair, BTreeSet<String>> = BTreeMap::new();
        for (key, to) in keys {
            let (from, table) = parts(key);
            for (keyspace, _) in to.iter().map(|to| parts(to)).filter(|(to, _)| !from.is_empty() && !to.is_empty() && *to != from)
            {
                between.entry(pair(from, keyspace)).or_default().insert(table.to_owned());
            }
        }
        let what = if mechanism == M::LeftoverMirrorRules { "mirror rules" } else { "routing rules" };
        let mut found = Vec::new();
        for (keyspaces, tables) in between {
            let workflows = self.between(&keyspaces);
            let is_moved = |table: &String| workflows.iter().any(|it| it.tables.contains(table) || it.tables.is_empty());
            let left: BTreeSet<String> = tables.into_iter().filter(|table| !is_moved(table)).collect();
            if left.is_empty() || !self.are_known(&keyspaces, what, unknown) {
                continue;
            }
            let is_of = |name: &str| name.is_empty() || name == keyspaces.0 || name == keyspaces.1;
            let own = keys.iter().filter(|(key, to)| {
                let (from, table) = parts(key);
                left.contains(table) && is_of(from) && to.iter().all(|to| is_of(parts(to).0))
            });
            let own: Vec<(&String, &Vec<String>)> = own.collect();
            let gone = [&keyspaces.0, &keyspaces.1].into_iter().find(|name| self.lacks(name));
            let hurts = match (gone, mechanism) {
                (Some(gone), _) => {
                    format!("queries of {} fail where they lead to {gone}: there is no such keyspace", listed(&left))
                }
                (None, M::LeftoverMirrorRules) => {
                    format!("reads of {} are sent twice; the copies may fail, which nobody sees", listed(&left))
                }
                (None, _) => {
                    format!("queries of {} go where these rules lead, which no workflow keeps up to date", listed(&left))
                }
            };
            let places = own.iter().map(|(key, to)| format!("{key} -> {}", to.join(", ")));
            let rules = own.iter().map(|(key, _)| ((*key).clone(), Vec::new())).collect();
            found.push(Deviation::new(mechanism, hurts).at(places).by(repair::in_place(self.without(record, rules))));
        }
        found
    }

    /// Takes keys out of a record, and makes the cells serve that.
    fn without(&self, record: &'static str, rules: Vec<(String, Vec<String>)>) -> Vec<Action> {
        let cells = self.cells.known().into_iter().flat_map(|cells| cells.keys().cloned()).collect();
        vec![Action::PutRules { record, rules }, Action::RebuildVSchemas { cells }]
    }

    /// Rules whose keys are shards or keyspaces.
    fn rules_of_keyspaces(&self, keys: &Keys, kind: Kind, record: &'static str, unknown: &mut Unknown) -> Vec<Deviation> {
        let mut between: BTreeMap<Pair, Vec<(&String, &String)>> = BTreeMap::new();
        for (key, to) in keys.iter().filter_map(|(key, to)| Some((key, to.first()?))) {
            // A shard's name has no dot, and a keyspace's none that would be taken for one: the last one splits.
            let from = if kind == Kind::Partial {
                key.rsplit_once('.').map_or("", |(from, _)| from)
            } else {
                key.split('@').next().unwrap_or_default()
            };
            if from != to {
                between.entry(pair(from, to)).or_default().push((key, to));
            }
        }
        let mut found = Vec::new();
        for (keyspaces, rules) in between {
            if self.between(&keyspaces).iter().any(|it| it.kind == kind) || !self.are_known(&keyspaces, "rules", unknown) {
                continue;
            }
            let hurts = format!(
                "queries of {} and {} go where these rules lead, which no workflow keeps up to date",
                keyspaces.0, keyspaces.1
            );
            let places = rules.iter().map(|(key, to)| format!("{key} -> {to}"));
            let gone = rules.iter().map(|(key, _)| ((*key).clone(), Vec::new())).collect();
            found.push(Deviation::new(M::LeftoverShardRules, hurts).at(places).by(repair::in_place(self.without(record, gone))));
        }
        found
    }

    /// Tables that a keyspace denies, and that no workflow moves from it or to it.
    fn denied_tables(&self, name: &str, keyspace: &Keyspace, unknown: &mut Unknown) -> Option<Deviation> {
        let moved = self.workflows.iter().filter(|it| it.source.keyspace == name || it.target.keyspace == name);
        let moved: BTreeSet<&String> = moved.flat_map(|it| &it.tables).collect();
        let (mut places, mut actions, mut tables) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (shard, record) in &keyspace.shards {
            let Some(record) = unknown.of(record, || format!("record of shard {name}/{shard}")) else { continue };
            let denied = denial(&record.tablet_controls).into_iter().flat_map(|control| &control.denied_tables);
            let left: Vec<String> = denied.filter(|table| !moved.contains(table)).cloned().collect();
            if left.is_empty() {
                continue;
            }
            places.push(format!("{name}/{shard} denies {}", listed(&left)));
            tables.extend(left.iter().cloned());
            actions.push(Action::DenyTables {
                keyspace: name.into(),
                shard: shard.clone(),
                tables: left,
                deny: false,
                allow_reads: false,
            });
        }
        if tables.is_empty() {
            return None;
        }
        if !keyspace.unread.is_empty() {
            let why = keyspace.unread.iter().cloned().collect::<Vec<_>>().join("; ");
            unknown.0.insert(format!("whether tables that {name} denies belong to a workflow: {why}"));
            return None;
        }
        let hurts = format!("queries of {} at {name} are refused", listed(&tables));
        Some(Deviation::new(M::LeftoverDeniedTables, hurts).at(places).by(repair::in_place(actions)))
    }

    /// Gaps and overlaps in what the cells serve of a keyspace.
    fn partitions(&self, keyspace: &str, unknown: &mut Unknown) -> Option<Deviation> {
        let mut places = Vec::new();
        for (name, cell) in unknown.of(&self.cells, || "cell".into()).into_iter().flatten() {
            match cell.keyspaces.get(keyspace) {
                Some(Piece::Known(served)) => {
                    places
                        .extend(partition::faults(served).into_iter().map(|fault| format!("{keyspace} in cell {name}: {fault}")));
                }
                Some(Piece::Unknown(why)) => drop(unknown.0.insert(why.clone())),
                // Whoever needs one there says so.
                Some(Piece::Missing) | None => {}
            }
        }
        let hurts = "queries of rows in a gap fail; every switch of the keyspace's shards is refused";
        (!places.is_empty()).then(|| Deviation::new(M::PartitionInvalid, hurts).at(places))
    }
}
