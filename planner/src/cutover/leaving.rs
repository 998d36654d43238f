//! Shards that a reshard leaves behind: every record that goes with one, with the version that was read.
//!
//! Facts: `go/vt/topo/shard.go:DeleteShard`, `go/vt/topotools`, v24.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::Record,
    cutover::{served, stored::Stored},
    proto::topodata::{Shard, Tablet, TabletAlias},
    topo::names::{alias_text, recorded_alias},
};

/// A record by its cell and path, with its version.
pub(crate) type Versioned = (String, String, i64);

/// What is left of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// Its tablets' records.
    pub(crate) tablets: Vec<Versioned>,
    /// Numbers of its tablets.
    pub(crate) uids: Vec<u32>,
    /// What each cell says of its replication.
    pub(crate) replications: Vec<Versioned>,
    /// Its own record's version; `None`: it is gone.
    pub(crate) record: Option<i64>,
    /// Cells that serve it, of any type.
    pub(crate) serving_cells: BTreeSet<String>,
    pub(crate) is_primary_serving: bool,
    /// The cell of its primary.
    pub(crate) cell: String,
    /// Whether its record names a primary that is there.
    pub(crate) has_primary: bool,
}

/// Versions of records that may go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Left {
    /// By cell and path.
    pub(crate) tablets: BTreeMap<(String, String), i64>,
    replications: BTreeMap<(String, String), i64>,
}

impl Left {
    /// Takes what a cell has of a keyspace's shards.
    pub(crate) fn replications(&mut self, cell: &str, records: Vec<Record>) {
        let ours = records.into_iter().filter(|record| record.path.ends_with("/ShardReplication"));
        self.replications.extend(ours.map(|record| ((cell.to_owned(), record.path), record.version)));
    }

    /// What is left of each of the shards.
    pub(crate) fn of<'a>(
        &self,
        keyspace: &str,
        shards: impl Iterator<Item = &'a str>,
        records: &BTreeMap<(String, String), Stored>,
        served: &BTreeMap<String, Stored>,
        tablets: &BTreeMap<String, Tablet>,
    ) -> BTreeMap<String, Leaving> {
        let one = |shard: &str| {
            let stored = records.get(&(keyspace.to_owned(), shard.to_owned()));
            let record = stored.and_then(|stored| Shard::decode(stored.value.as_slice()).ok()).unwrap_or_default();
            let own = |path: &str| tablets.get(recorded_alias(path)?).filter(|it| it.keyspace == keyspace && it.shard == shard);
            let of_shard = self.tablets.iter().filter(|((_, path), _)| own(path).is_some());
            let replication = format!("keyspaces/{keyspace}/shards/{shard}/ShardReplication");
            let replications = self.replications.iter().filter(|((_, path), _)| *path == replication);
            let versioned = |((cell, path), version): (&(String, String), &i64)| (cell.clone(), path.clone(), *version);
            let serves = |stored: &Stored| {
                let partitions = served::partitions(&stored.value).unwrap_or_default();
                partitions.iter().any(|partition| partition.shard_references.iter().any(|it| it.name == shard))
            };
            let alias = record.primary_alias.clone();
            Leaving {
                tablets: of_shard.clone().map(versioned).collect(),
                uids: of_shard.filter_map(|((_, path), _)| Some(own(path)?.alias.as_ref()?.uid)).collect(),
                replications: replications.map(versioned).collect(),
                record: stored.map(|stored| stored.version),
                serving_cells: served.iter().filter(|(_, stored)| serves(stored)).map(|(cell, _)| cell.clone()).collect(),
                is_primary_serving: record.is_primary_serving,
                cell: alias.as_ref().map(|alias| alias.cell.clone()).unwrap_or_default(),
                has_primary: alias.is_some_and(|alias| tablets.contains_key(&alias_text(Some(&alias)))),
            }
        };
        shards.map(|shard| (shard.to_owned(), one(shard))).collect()
    }
}

/// The primaries of a keyspace, by shard.
pub(crate) fn primaries(keyspace: &str, records: &BTreeMap<(String, String), Stored>) -> BTreeMap<String, TabletAlias> {
    let own = records.iter().filter(|((of, _), _)| of == keyspace);
    let alias = |((_, shard), stored): (&(String, String), &Stored)| {
        Some((shard.clone(), Shard::decode(stored.value.as_slice()).ok()?.primary_alias?))
    };
    own.filter_map(alias).collect()
}
