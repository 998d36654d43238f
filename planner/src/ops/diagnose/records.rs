//! The records of the topology that a diagnosis goes by, with their versions: read once, and looked at again at the end.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{Answer, FailureKind, Record},
    proto::{
        topodata::{Shard, SrvKeyspace},
        vschema::SrvVSchema,
    },
    topo::{
        names::{self, KeyspaceName},
        targets::unexpected,
    },
    traffic::{
        evidence::{Cell, Lock, NAMED_LOCKS, Piece, Rules},
        locks, routing,
    },
};

/// A record as it was read, and its version.
pub(crate) type Versioned = (Vec<u8>, i64);

/// What is asked of the topology.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    TableRules,
    ShardRules,
    KeyspaceRules,
    MirrorRules,
    Cells,
    Names,
    NamedLocks,
    Shards(KeyspaceName),
    Locks(KeyspaceName),
    VSchema(String),
    Served(String, KeyspaceName),
}

impl Asked {
    pub(super) const RULES: [Self; 4] = [Self::TableRules, Self::ShardRules, Self::KeyspaceRules, Self::MirrorRules];

    /// The cell, empty for the global one, and the path or prefix.
    pub(super) fn place(&self) -> (&str, String) {
        match self {
            Self::TableRules => ("", "RoutingRules".into()),
            Self::ShardRules => ("", "ShardRoutingRules".into()),
            Self::KeyspaceRules => ("", "routing_rules/keyspace/Rules".into()),
            Self::MirrorRules => ("", "MirrorRules".into()),
            Self::Cells => ("", names::CELLS_PREFIX.into()),
            Self::Names => ("", "keyspaces/".into()),
            Self::NamedLocks => ("", NAMED_LOCKS.into()),
            Self::Shards(keyspace) => ("", keyspace.shards_prefix()),
            Self::Locks(keyspace) => ("", keyspace.directory() + "/locks/"),
            Self::VSchema(cell) => (cell, "SrvVSchema".into()),
            Self::Served(cell, keyspace) => (cell, keyspace.srv_keyspace_path()),
        }
    }

    /// What it is called in a text.
    pub(super) fn name(&self) -> String {
        match self.place() {
            ("", path) => path,
            (cell, path) => format!("{path} of cell {cell}"),
        }
    }

    /// Whether a diagnosis would be another one if it changed after it was read.
    fn decides(&self) -> bool {
        !matches!(self, Self::Cells | Self::Names)
    }

    /// Whether it is about locks, which are read last: one that is gone by then is held by nobody.
    pub(super) fn is_of_locks(&self) -> bool {
        matches!(self, Self::NamedLocks | Self::Locks(_))
    }

    /// The keyspace that alone is concerned.
    pub(super) fn keyspace(&self) -> Option<&KeyspaceName> {
        match self {
            Self::Shards(keyspace) | Self::Served(_, keyspace) | Self::Locks(keyspace) => Some(keyspace),
            _ => None,
        }
    }
}

/// All that was read of the topology.
#[derive(Default)]
pub(super) struct Records {
    /// The answers to reads of one record.
    one: BTreeMap<Asked, Piece<Versioned>>,
    /// The answers to reads of a directory.
    many: BTreeMap<Asked, Piece<Vec<Record>>>,
}

impl Records {
    pub(super) fn take(&mut self, asked: Asked, answer: Answer) {
        let unknown = |why: String| format!("{}: {why}", asked.name());
        match answer {
            Answer::Found { value, version } => drop(self.one.insert(asked, Piece::Known((value, version)))),
            Answer::Range(mut records) => {
                records.sort_by(|a, b| a.path.cmp(&b.path));
                drop(self.many.insert(asked, Piece::Known(records)));
            }
            // A cell that is not there has that code, a record that is not there has not.
            Answer::Missing { .. } => self.put(asked, &Piece::Missing),
            Answer::Failed { kind: FailureKind::Status(5), .. } if asked.place().0.is_empty() => self.put(asked, &Piece::Missing),
            Answer::Failed { message, .. } => {
                let why = Piece::Unknown(unknown(message));
                self.put(asked, &why);
            }
            other => {
                let why = Piece::Unknown(unknown(unexpected("a read of the topology", &other)));
                self.put(asked, &why);
            }
        }
    }

    fn put(&mut self, asked: Asked, piece: &Piece<()>) {
        fn of<T>(piece: &Piece<()>) -> Piece<T> {
            piece.unknown().map_or(Piece::Missing, |why| Piece::Unknown(why.to_owned()))
        }
        self.one.insert(asked.clone(), of(piece));
        self.many.insert(asked, of(piece));
    }

    /// Why something could not be read, with the keyspace that it is of.
    pub(super) fn failures(&self) -> BTreeSet<(String, String)> {
        let one = self.one.iter().filter_map(|(asked, piece)| Some((asked, piece.unknown()?)));
        let many = self.many.iter().filter_map(|(asked, piece)| Some((asked, piece.unknown()?)));
        let keyspace = |asked: &Asked| asked.keyspace().map_or_else(String::new, ToString::to_string);
        one.chain(many).map(|(asked, why)| (keyspace(asked), why.to_owned())).collect()
    }

    /// What is of use of a record, decoded.
    fn message<M: Message + Default, T>(&self, asked: &Asked, of: impl FnOnce(&M) -> T) -> Piece<T> {
        match self.one.get(asked) {
            Some(Piece::Known((value, _))) => match M::decode(value.as_slice()) {
                Ok(message) => Piece::Known(of(&message)),
                Err(error) => Piece::Unknown(format!("{} cannot be read: {error}", asked.name())),
            },
            Some(Piece::Missing) => Piece::Missing,
            Some(Piece::Unknown(why)) => Piece::Unknown(why.clone()),
            None => Piece::Unknown(format!("{} was not read", asked.name())),
        }
    }

    fn list(&self, asked: &Asked) -> Result<&[Record], String> {
        match self.many.get(asked) {
            Some(Piece::Known(records)) => Ok(records),
            Some(Piece::Missing) => Ok(&[]),
            Some(Piece::Unknown(why)) => Err(why.clone()),
            None => Err(format!("{} was not read", asked.name())),
        }
    }

    /// A record that was read by itself, as it is stored.
    pub(super) fn stored(&self, asked: &Asked) -> Option<Versioned> {
        self.one.get(asked)?.known().cloned()
    }

    /// All of those.
    pub(super) fn all_stored(&self) -> impl Iterator<Item = (&Asked, &Versioned)> {
        self.one.iter().filter_map(|(asked, piece)| Some((asked, piece.known()?)))
    }

    /// All records that were read with their directories.
    pub(super) fn listed(&self) -> Vec<&Record> {
        self.many.values().filter_map(Piece::known).flatten().collect()
    }

    /// The records of shards, each with what it was read by.
    pub(super) fn of_shards(&self) -> impl Iterator<Item = (&Asked, &Record)> {
        let read = self.many.iter().filter(|(asked, _)| matches!(asked, Asked::Shards(_)));
        let records = read.flat_map(|(asked, piece)| piece.known().into_iter().flatten().map(move |record| (asked, record)));
        records.filter(|(_, record)| record.path.ends_with("/Shard"))
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            tables: self.message(&Asked::TableRules, routing::table_keys),
            shards: self.message(&Asked::ShardRules, routing::shard_keys),
            keyspaces: self.message(&Asked::KeyspaceRules, routing::keyspace_keys),
            mirror: self.message(&Asked::MirrorRules, routing::mirror_keys),
        }
    }

    /// The names of all cells.
    pub(super) fn cell_names(&self) -> Result<BTreeSet<String>, String> {
        let records = self.list(&Asked::Cells)?.iter();
        Ok(records
            .filter_map(|it| Some(it.path.strip_prefix(names::CELLS_PREFIX)?.strip_suffix("/CellInfo")?.to_owned()))
            .collect())
    }

    /// The names of all keyspaces.
    pub(super) fn keyspace_names(&self) -> Result<BTreeSet<String>, String> {
        let records = self.list(&Asked::Names)?.iter();
        Ok(records.filter_map(|it| Some(it.path.strip_prefix("keyspaces/")?.strip_suffix("/Keyspace")?.to_owned())).collect())
    }

    /// The shards of a keyspace, by name.
    pub(super) fn shards(&self, keyspace: &KeyspaceName) -> Result<BTreeMap<String, Piece<Shard>>, String> {
        let prefix = keyspace.shards_prefix();
        let name = |record: &Record| Some(record.path.strip_prefix(&prefix)?.strip_suffix("/Shard")?.to_owned());
        let read = |name: &str, record: &Record| {
            let bad = |error| format!("GetShard({keyspace},{name}): bad shard data: {error}");
            Shard::decode(record.value.as_slice()).map_or_else(|error| Piece::Unknown(bad(error)), Piece::Known)
        };
        let records = self.list(&Asked::Shards(keyspace.clone()))?.iter();
        Ok(records
            .filter_map(|record| Some((record, name(record)?)))
            .map(|(record, name)| (name.clone(), read(&name, record)))
            .collect())
    }

    /// The locks below a directory, as those that hold or wait for them describe them.
    pub(super) fn locks(&self, asked: &Asked) -> Result<Vec<Lock>, String> {
        let records = self.list(asked)?.iter().filter(|record| record.path.contains("/locks/"));
        Ok(records.map(|record| locks::read(&record.path, &record.value)).collect())
    }

    /// What a cell serves of these keyspaces.
    pub(super) fn cell(&self, cell: &str, keyspaces: &BTreeSet<KeyspaceName>) -> Cell {
        let served = |it: &KeyspaceName| self.message(&Asked::Served(cell.into(), it.clone()), SrvKeyspace::clone);
        let served = keyspaces.iter().map(|it| (it.to_string(), served(it)));
        Cell { rules: self.message(&Asked::VSchema(cell.into()), routing::served_rules), keyspaces: served.collect() }
    }

    /// By cell, what it serves of vschemas and rules, where that can be read; and why of others it cannot.
    pub(super) fn served_vschemas(&self) -> (Vec<(String, SrvVSchema)>, Vec<String>) {
        let (mut served, mut unknown) = (Vec::new(), Vec::new());
        for asked in self.one.keys() {
            let Asked::VSchema(cell) = asked else { continue };
            match self.message(asked, SrvVSchema::clone) {
                Piece::Known(record) => served.push((cell.clone(), record)),
                Piece::Unknown(why) => unknown.push(why),
                Piece::Missing => {}
            }
        }
        (served, unknown)
    }

    /// What decides, by its place, with its version.
    fn versions(&self) -> BTreeMap<(Asked, String), i64> {
        let one = self.one.iter().filter_map(|(asked, piece)| Some(((asked.clone(), String::new()), piece.known()?.1)));
        let shards = self.of_shards().map(|(asked, record)| ((asked.clone(), record.path.clone()), record.version));
        one.chain(shards).collect()
    }

    /// What has another version in a later reading, or is there in one only. What could not be read again is no change: it is a failure.
    pub(super) fn changed(&self, later: &Self) -> BTreeSet<(Asked, String)> {
        let (before, after) = (self.versions(), later.versions());
        let is_read = |of: &Self, asked: &Asked| {
            let piece = of.one.get(asked).map(|it| it.unknown().is_none());
            piece.into_iter().chain(of.many.get(asked).map(|it| it.unknown().is_none())).all(|is_read| is_read)
        };
        let places = before.keys().chain(after.keys()).filter(|(asked, _)| is_read(self, asked) && is_read(later, asked));
        places.filter(|place| before.get(place) != after.get(place)).cloned().collect()
    }

    /// What is to be looked at again.
    pub(super) fn deciding(&self) -> BTreeSet<Asked> {
        self.one.keys().chain(self.many.keys()).filter(|asked| asked.decides()).cloned().collect()
    }
}
