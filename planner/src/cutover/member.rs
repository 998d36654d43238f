//! A shard that takes part in a change of traffic, with its primary.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::TabletAddress,
    cutover::{edit, stored::Stored},
    proto::topodata::{KeyRange, Shard, ShardReference, Tablet, TabletAlias},
    topo::{
        names::{alias_text, hex_text},
        targets::{db_name, grpc_address},
    },
};

/// A shard that takes part, with its primary.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    /// Its record.
    pub(crate) record: Stored,
    pub(crate) alias: TabletAlias,
    /// Its primary.
    pub(crate) primary: TabletAddress,
    pub(crate) db_name: String,
    /// All its tablets that have an address, its primary among them: whom a change of its record is told.
    pub(crate) tablets: Vec<TabletAddress>,
}

impl Member {
    /// The path of its record.
    pub(crate) fn path(&self) -> String {
        format!("keyspaces/{}/shards/{}/Shard", self.keyspace, self.shard)
    }

    /// `customer/-80`.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.keyspace, self.shard)
    }

    /// As what cells serve names it.
    pub(crate) fn reference(&self) -> ShardReference {
        let key_range = Shard::decode(self.record.value.as_slice()).ok().and_then(|shard| shard.key_range);
        ShardReference { name: self.shard.clone(), key_range }
    }

    /// Its key range as texts have it: `-80`, `80-`, `-`.
    pub(crate) fn key_range(&self) -> String {
        let KeyRange { start, end } = self.reference().key_range.unwrap_or_default();
        format!("{}-{}", hex_text(&start), hex_text(&end))
    }

    /// Whether rows can be on both shards, one after the other.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let [KeyRange { start, end }, KeyRange { start: from, end: to }] =
            [self, other].map(|on| on.reference().key_range.unwrap_or_default());
        (to.is_empty() || start < to) && (end.is_empty() || from < end)
    }

    /// Tables that its primary refuses.
    pub(crate) fn denied(&self) -> BTreeSet<String> {
        let control = edit::control(&self.record.value).ok().flatten();
        control.map(|control| control.denied_tables.into_iter().collect()).unwrap_or_default()
    }
}

/// A shard that takes part, from what was read of it.
///
/// # Errors
/// It has no primary, or none that can be called.
pub(crate) fn member(
    keyspace: &str,
    shard: &str,
    is_source: bool,
    record: Option<&Stored>,
    tablets: &BTreeMap<String, Tablet>,
) -> Result<Member, String> {
    let Some(stored) = record else { return Err(format!("node doesn't exist: keyspaces/{keyspace}/shards/{shard}/Shard")) };
    let read = Shard::decode(stored.value.as_slice())
        .map_err(|error| format!("the record of shard {keyspace}/{shard} cannot be read: {error}"))?;
    let Some(alias) = read.primary_alias else {
        return Err(if is_source {
            format!("source shard {keyspace}/{shard} currently has no primary tablet")
        } else {
            format!("shard {keyspace}/{shard} doesn't have a primary set")
        });
    };
    let name = alias_text(Some(&alias));
    let Some(tablet) = tablets.get(&name) else { return Err(format!("node doesn't exist: tablets/{name}/Tablet")) };
    let primary = grpc_address(&name, tablet).map_err(|why| format!("the primary of {keyspace}/{shard}, {name}: {why}"))?;
    let of_shard = tablets.iter().filter(|(_, tablet)| tablet.keyspace == keyspace && tablet.shard == shard);
    let others = of_shard.filter_map(|(name, tablet)| grpc_address(name, tablet).ok());
    Ok(Member {
        keyspace: keyspace.into(),
        shard: shard.into(),
        record: stored.clone(),
        alias,
        db_name: db_name(tablet),
        tablets: others.collect(),
        primary,
    })
}
