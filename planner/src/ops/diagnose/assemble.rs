//! What was read, put together: the evidence about each workflow, and about the cluster as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    reading::{Primary, Reading},
    records::Asked,
    rows::{self, StreamOf, Streams, WorkflowKey},
};
use crate::{
    limits,
    proto::topodata::Shard,
    topo::names::KeyspaceName,
    traffic::{
        self,
        evidence::{Cells, Evidence, Lock, NAMED_LOCKS, Piece, Rules, ShardEvidence, Side, Stream},
        kind::{Kind, is_whole},
        leftovers::{self, Broken, Why, has_failed, says_binlogs_are_gone},
        names::{forward_of, reverse_of},
    },
    words::cut,
};

/// The keyspaces that rules connect with one.
pub(super) fn related(rules: &Rules, keyspace: &str) -> BTreeSet<String> {
    let mut ends: BTreeSet<(String, String)> = BTreeSet::new();
    let front = |name: &str| name.split(['.', '@']).next().unwrap_or_default().to_owned();
    let tables = [rules.tables.known(), rules.mirror.known()];
    for (key, to) in tables.into_iter().flatten().flatten().filter(|(key, _)| key.contains('.')) {
        ends.extend(to.iter().map(|to| (front(key), front(to))));
    }
    for (key, to) in [rules.shards.known(), rules.keyspaces.known()].into_iter().flatten().flatten() {
        ends.extend(to.iter().map(|to| (front(key), to.clone())));
    }
    let with = ends.into_iter().filter(|(from, to)| from == keyspace || to == keyspace);
    with.flat_map(|(from, to)| [from, to]).filter(|name| !name.is_empty()).collect()
}

/// All of it.
pub(super) struct Assembled {
    pub(super) workflows: Vec<Evidence>,
    pub(super) changed: BTreeSet<(Asked, String)>,
    /// Keyspaces of which it is not known what runs there, and why.
    pub(super) unread: BTreeSet<String>,
    pub(super) rules: Arc<Rules>,
    cells: Arc<Piece<Cells>>,
    keyspaces: BTreeMap<String, Piece<leftovers::Keyspace>>,
    locks: BTreeMap<String, Result<Vec<Lock>, String>>,
    named: Result<Vec<Lock>, String>,
    shards: BTreeMap<String, Result<BTreeMap<String, Piece<Shard>>, String>>,
    /// Why it is not known whether anything has changed meanwhile.
    not_reread: BTreeSet<String>,
    sequences: Vec<traffic::sequences::Sequence>,
    /// Binary logs that streams need and that are not looked at, for they are not of a keyspace that was read.
    pub(super) logs_elsewhere: BTreeSet<String>,
}

impl Assembled {
    pub(super) fn new(reading: &Reading, wanted: Option<&KeyspaceName>) -> Self {
        let records = &reading.records;
        let cells = match records.cell_names() {
            Ok(names) => Piece::Known(names.into_iter().map(|it| (it.clone(), records.cell(&it, &reading.keyspaces))).collect()),
            Err(why) => Piece::Unknown(why),
        };
        let shards = |it: &KeyspaceName| (it.to_string(), records.shards(it));
        let locks = |it: &KeyspaceName| (it.to_string(), reading.locks.locks(&Asked::Locks(it.clone())));
        let mut this = Self {
            workflows: Vec::new(),
            changed: records.changed(&reading.later),
            unread: BTreeSet::new(),
            rules: Arc::new(records.rules()),
            cells: Arc::new(cells),
            keyspaces: BTreeMap::new(),
            locks: reading.keyspaces.iter().map(locks).collect(),
            named: reading.locks.locks(&Asked::NamedLocks),
            shards: reading.keyspaces.iter().map(shards).collect(),
            not_reread: reading.later.failures().into_iter().map(|(_, why)| why).collect(),
            sequences: reading.sequences.iter().flat_map(|it| it.told().0).collect(),
            logs_elsewhere: logs_elsewhere(reading, wanted),
        };
        this.keyspaces = this.all_keyspaces(reading, wanted);
        let workflows = rows::workflows(reading.streams());
        this.workflows = workflows.iter().map(|(key, streams)| this.evidence(key, streams, reading)).collect();
        this
    }

    /// Every keyspace that was read, and those that rules lead to and that are not there.
    fn all_keyspaces(
        &mut self,
        reading: &Reading,
        wanted: Option<&KeyspaceName>,
    ) -> BTreeMap<String, Piece<leftovers::Keyspace>> {
        let names = reading.records.keyspace_names().unwrap_or_default();
        let mut keyspaces = BTreeMap::new();
        for name in &reading.keyspaces {
            let shards = self.shards.get(&**name).cloned().unwrap_or_else(|| Err(format!("keyspace {name} was not read")));
            let is_wanted = wanted.is_none_or(|keyspace| keyspace == name);
            let keyspace = match shards {
                Ok(shards) => {
                    let unread = unread_shards(name, &shards, reading);
                    let unread: BTreeSet<String> = unread.into_iter().map(|(_, why)| why).collect();
                    let seen = reading.seen.iter().filter(|((keyspace, _), _)| keyspace == name);
                    let broken = seen.clone().flat_map(|(_, primary)| broken(primary, reading)).collect();
                    let unread_logs = seen.flat_map(|(_, primary)| unread_logs(primary, reading)).collect();
                    Piece::Known(leftovers::Keyspace { is_wanted, shards, unread, broken, unread_logs })
                }
                Err(why) => {
                    self.unread.extend(Some(why.clone()).filter(|_| is_wanted));
                    Piece::Unknown(why)
                }
            };
            keyspaces.insert(name.to_string(), keyspace);
        }
        let mut ends = BTreeSet::new();
        for name in &reading.keyspaces {
            ends.extend(related(&self.rules, name));
        }
        for name in ends.into_iter().filter(|name| !names.contains(name)) {
            keyspaces.entry(name).or_insert(Piece::Missing);
        }
        keyspaces
    }

    fn evidence(&self, key: &WorkflowKey, own: &Streams<'_>, of: &Reading) -> Evidence {
        let kind = own.kind(key);
        let (sources, targets) = own.shards();
        let mut unclear = own.faults();
        // Of a part of the key range that is whole on both sides, other shards say nothing.
        let is_closed = matches!(kind, Kind::Reshard | Kind::Partial) && is_whole(&sources, &targets);
        for (name, shards) in [(&key.source, &sources), (&key.target, &targets)] {
            if *name == key.source && kind == Kind::Migrate {
                continue;
            }
            match self.keyspaces.get(name) {
                Some(Piece::Known(keyspace)) => {
                    let Ok(parsed) = KeyspaceName::parse(name) else { continue };
                    let unread = unread_shards(&parsed, &keyspace.shards, of).into_iter();
                    unclear.extend(unread.filter(|(shard, _)| !is_closed || shards.contains(shard)).map(|(_, why)| why));
                }
                Some(Piece::Unknown(why)) => drop(unclear.insert(why.clone())),
                Some(Piece::Missing) | None => drop(unclear.insert(format!("keyspace {name} was not read"))),
            }
        }
        unclear.extend(self.not_reread.iter().cloned());
        let side = |name: &str, shards: &BTreeSet<String>| Side {
            keyspace: name.into(),
            shards: shards.iter().map(|shard| (shard.clone(), self.shard(name, shard, kind, own, of))).collect(),
        };
        let forward: BTreeSet<&str> = own.forward.iter().map(|it| it.shard.as_str()).collect();
        let serves = |shard: &Piece<Shard>| shard.known().is_some_and(|it| it.is_primary_serving);
        let must = self.shards.get(&key.target).and_then(|shards| shards.as_ref().ok()).into_iter().flatten();
        let must =
            must.filter(|(shard, record)| serves(record) && !forward.contains(shard.as_str()) && is_seen(&key.target, shard, of));
        let must = must.filter(|_| kind == Kind::Standard && !forward.is_empty());
        Evidence {
            workflow: key.workflow.clone(),
            kind,
            tables: own.tables(),
            without_streams: must.map(|(shard, _)| shard.clone()).collect(),
            source: side(&key.source, &sources),
            target: side(&key.target, &targets),
            rules: self.rules.clone(),
            cells: self.cells.clone(),
            locks: self.locks_of(key),
            changed: self.changed_of(key),
            unclear,
        }
    }

    fn shard(&self, keyspace: &str, shard: &str, kind: Kind, own: &Streams<'_>, of: &Reading) -> ShardEvidence {
        let record = match self.shards.get(keyspace) {
            Some(Ok(shards)) => shards.get(shard).cloned().unwrap_or(Piece::Missing),
            Some(Err(why)) => Piece::Unknown(why.clone()),
            None => Piece::Missing,
        };
        let parsed = KeyspaceName::parse(keyspace).ok();
        let primary = parsed.and_then(|keyspace| of.seen.get(&(keyspace, shard.to_owned())));
        let Some(primary) = primary else {
            return ShardEvidence {
                record,
                tablet: String::new(),
                db_name: String::new(),
                streams: Piece::Missing,
                journals: Piece::Missing,
            };
        };
        let streams = match &primary.streams {
            Ok(streams) if kind == Kind::Reshard => Piece::Known(streams.iter().map(|it| it.stream.clone()).collect()),
            Ok(_) => {
                let either = own.forward.iter().chain(&own.reverse);
                Piece::Known(
                    either.filter(|it| it.keyspace == keyspace && it.shard == shard).map(|it| it.stream.clone()).collect(),
                )
            }
            Err(why) => Piece::Unknown(why.clone()),
        };
        let journals = primary.journals.clone().map_or_else(Piece::Unknown, Piece::Known);
        ShardEvidence { record, tablet: primary.tablet.clone(), db_name: primary.db_name.clone(), streams, journals }
    }

    /// The locks on a workflow in either direction and on both keyspaces.
    fn locks_of(&self, key: &WorkflowKey) -> Piece<Vec<Lock>> {
        let own = [
            format!("{NAMED_LOCKS}{}/{}", key.target, key.workflow),
            format!("{NAMED_LOCKS}{}/{}", key.source, reverse_of(&key.workflow)),
        ];
        let mut locks = match &self.named {
            Ok(named) => named.iter().filter(|lock| own.iter().any(|own| lock.directory() == own)).cloned().collect::<Vec<_>>(),
            Err(why) => return Piece::Unknown(why.clone()),
        };
        for keyspace in BTreeSet::from([&key.source, &key.target]) {
            match self.locks.get(keyspace) {
                Some(Ok(of_keyspace)) => locks.extend(of_keyspace.iter().cloned()),
                Some(Err(why)) => return Piece::Unknown(why.clone()),
                None => {}
            }
        }
        Piece::Known(locks)
    }

    fn changed_of(&self, key: &WorkflowKey) -> BTreeSet<String> {
        let concerns = |asked: &Asked| asked.keyspace().is_none_or(|it| **it == *key.source || **it == *key.target);
        let changed = self.changed.iter().filter(|(asked, _)| concerns(asked));
        changed.map(|(asked, path)| if path.is_empty() { asked.name() } else { path.clone() }).collect()
    }

    /// The evidence about a workflow of which no stream was found.
    pub(super) fn without_streams(&self, keyspace: &KeyspaceName, workflow: &str) -> Evidence {
        let workflow = forward_of(workflow).unwrap_or(workflow);
        let key = WorkflowKey { target: keyspace.to_string(), workflow: workflow.into(), source: String::new() };
        let unclear = match self.keyspaces.get(&**keyspace) {
            Some(Piece::Known(known)) => known.unread.clone(),
            Some(Piece::Unknown(why)) => BTreeSet::from([why.clone()]),
            Some(Piece::Missing) | None => BTreeSet::new(),
        };
        Evidence {
            workflow: workflow.into(),
            kind: Kind::Migrate,
            tables: BTreeSet::new(),
            without_streams: BTreeSet::new(),
            source: Side::default(),
            target: Side { keyspace: keyspace.to_string(), shards: BTreeMap::new() },
            rules: self.rules.clone(),
            cells: self.cells.clone(),
            locks: self.locks_of(&key),
            changed: BTreeSet::new(),
            unclear,
        }
    }

    /// What is read of the cluster as a whole.
    pub(super) fn cluster(&self) -> leftovers::Cluster {
        leftovers::Cluster {
            rules: self.rules.clone(),
            keyspaces: self.keyspaces.clone(),
            cells: self.cells.clone(),
            workflows: self.workflows.clone(),
            sequences: self.sequences.clone(),
        }
    }
}

/// The shards of a keyspace of which it is not known what streams they have, and why. One that does not serve and has no primary has
/// none.
fn unread_shards(keyspace: &KeyspaceName, shards: &BTreeMap<String, Piece<Shard>>, of: &Reading) -> Vec<(String, String)> {
    let mut unread = Vec::new();
    for shard in shards.keys() {
        match of.seen.get(&(keyspace.clone(), shard.clone())) {
            Some(Primary { streams: Ok(_), .. } | Primary { is_idle: true, .. }) => {}
            Some(Primary { streams: Err(why), .. }) => unread.push((shard.clone(), format!("{keyspace}/{shard}: {why}"))),
            None => unread.push((shard.clone(), format!("the streams of {keyspace}/{shard} were not read"))),
        }
    }
    unread
}

fn is_seen(keyspace: &str, shard: &str, of: &Reading) -> bool {
    let Ok(keyspace) = KeyspaceName::parse(keyspace) else { return false };
    of.seen.get(&(keyspace, shard.to_owned())).is_some_and(|primary| primary.streams.is_ok())
}

/// The streams of a primary that cannot go on.
fn broken(primary: &Primary, of: &Reading) -> Vec<Broken> {
    let broken = |it: &StreamOf| {
        let Stream { id, workflow, message, state, .. } = &it.stream;
        let why = if says_binlogs_are_gone(message) {
            Why::GoneAsItSays(message.clone())
        } else if let Some((by, transactions)) = of.lacks(it) {
            Why::Purged { by, transactions }
        } else if has_failed(&it.stream) && !it.is_of_migration() {
            Why::Failed { message: cut(message.clone(), limits::REPEATED_BYTES), state: *state }
        } else {
            return None;
        };
        let place = format!("{}/{} {} stream {id}", it.keyspace, it.shard, primary.tablet);
        Some(Broken { place, keyspace: it.keyspace.clone(), workflow: workflow.clone(), why })
    };
    primary.streams.iter().flatten().filter_map(broken).collect()
}

/// Why it is not known of some of its streams whether they can go on.
fn unread_logs(primary: &Primary, of: &Reading) -> BTreeSet<String> {
    let sources = primary.streams.iter().flatten().filter_map(StreamOf::reads_logs_of).collect::<BTreeSet<_>>();
    let why = |(keyspace, shard): (&str, &str)| {
        let source = of.seen.get(&(KeyspaceName::parse(keyspace).ok()?, shard.to_owned()))?;
        match &source.purged {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(why.clone()),
            None if source.is_idle => None,
            None => Some(format!("which binary logs {keyspace}/{shard} has no more was not read")),
        }
    };
    sources.into_iter().filter_map(why).collect()
}

/// Binary logs of other keyspaces than those that were read, and of other clusters, from which streams that are asked about read.
fn logs_elsewhere(of: &Reading, wanted: Option<&KeyspaceName>) -> BTreeSet<String> {
    let streams = of.streams().filter(|it| wanted.is_none_or(|keyspace| **keyspace == *it.keyspace) && !it.stream.is_frozen());
    let elsewhere = streams.filter_map(|it| {
        let keyspace = &it.stream.source_keyspace;
        if it.is_external {
            return Some("binary logs of other clusters, from which streams read".to_owned());
        }
        let is_read = of.keyspaces.iter().any(|name| **name == **keyspace);
        (it.reads_logs_of().is_some() && !is_read)
            .then(|| format!("binary logs of {keyspace}, from which streams read: diagnose {keyspace}, too"))
    });
    elsewhere.collect()
}
