//! Where the traffic of a workflow goes, from the records alone: what may be dropped depends on nothing else.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    cutover::{
        edit,
        refusals::{is_served, serves},
        scene::{Scene, Stream, suffix},
    },
    proto::{
        binlogdata::VReplicationWorkflowType as Type,
        topodata::{Shard, TabletType},
    },
    traffic::kind::Kind,
};

/// Where writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// To the source, or wherever they went before.
    NotSwitched,
    /// To the target.
    Switched,
    /// Some here, some there.
    Split,
}

/// Whether it is a workflow that moves traffic at all: its tables have rules and are denied somewhere.
pub(crate) fn moves_traffic(scene: &Scene) -> bool {
    [Type::MoveTables, Type::Reshard, Type::Migrate].into_iter().any(|of| scene.workflow_type == i32::from(of))
}

/// Names of the source's shards, there or gone.
pub(crate) fn source_shards(scene: &Scene) -> BTreeSet<&str> {
    scene.streams.iter().map(|stream| stream.source.shard.as_str()).collect()
}

/// Where writes go.
///
/// # Errors
/// A record of rules that cannot be read.
pub(crate) fn writes(scene: &Scene) -> Result<Writes, String> {
    if !moves_traffic(scene) {
        return Ok(Writes::NotSwitched);
    }
    let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
    let of = |switched: usize, all: usize| match switched {
        0 => Writes::NotSwitched,
        count if count == all => Writes::Switched,
        _ => Writes::Split,
    };
    Ok(match scene.kind {
        Kind::MultiTenant if scene.is_tenant_routed(TabletType::Primary) => Writes::Switched,
        Kind::Migrate | Kind::MultiTenant => Writes::NotSwitched,
        Kind::Partial => {
            let rules = shard_rules(scene)?;
            let shards = source_shards(scene);
            let is_switched = |shard: &&&str| rules.get(&(source.clone(), (**shard).to_owned())) == Some(target);
            of(shards.iter().filter(is_switched).count(), shards.len())
        }
        Kind::Reshard => {
            let is_open = |record: &[u8]| Shard::decode(record).is_ok_and(|shard| shard.is_primary_serving);
            let open = scene.targets.values().filter(|on| is_open(&on.record.value)).count();
            of(open, scene.targets.len())
        }
        Kind::Standard => {
            let keys = scene.table_keys()?;
            let leads = |key: &str, table: &str| keys.get(key).is_some_and(|to| to.contains(&format!("{target}.{table}")));
            let is_switched = |table: &&String| leads(table, table) || leads(&format!("{source}.{table}"), table);
            of(scene.tables.iter().filter(is_switched).count(), scene.tables.len())
        }
    })
}

/// Whether reads of one type go to the target, in every cell.
pub(crate) fn are_reads_switched(scene: &Scene, of: TabletType) -> bool {
    match scene.kind {
        // Reads go with the writes.
        Kind::Partial => true,
        Kind::MultiTenant => scene.is_tenant_routed(of),
        Kind::Reshard => {
            let mut cells = scene.srv_keyspaces.values().filter(|stored| stored.version != 0);
            cells.all(|stored| serves(&stored.value, of, &scene.targets))
        }
        _ => scene.served.keys().all(|cell| is_served(scene, cell, of, &scene.target_keyspace)),
    }
}

/// Whether reads of one type go to the target of tables, in any cell or by the rules that all cells will serve.
pub(crate) fn are_some_reads_switched(scene: &Scene, of: TabletType) -> Result<bool, String> {
    let (keys, target) = (scene.table_keys()?, &scene.target_keyspace);
    let key = |table: &String| keys.get(&format!("{table}{}", suffix(of)));
    let by_rule = scene.tables.iter().any(|table| key(table).is_some_and(|to| to.contains(&format!("{target}.{table}"))));
    Ok(by_rule || scene.served.keys().any(|cell| is_served(scene, cell, of, target)))
}

/// Routing rules of shards, by keyspace and shard.
///
/// # Errors
/// The record cannot be read.
pub(crate) fn shard_rules(scene: &Scene) -> Result<BTreeMap<(String, String), String>, String> {
    edit::shard_keys(scene.rules.get(edit::SHARD_RULES).map_or(&[], |stored| stored.value.as_slice()))
}

/// Whether a cancellation has begun and got as far as the tables of the target, which are denied until a switch.
///
/// # Errors
/// A record of rules that cannot be read.
pub(crate) fn is_cancelling(scene: &Scene) -> Result<bool, String> {
    let is_still = |it: &Stream| it.state == "Stopped" && !it.is_frozen() && !it.is_stopped_for_cutover();
    let is_open = || scene.targets.values().all(|on| scene.tables.iter().all(|table| !on.denied().contains(table)));
    let is_it = scene.kind == Kind::Standard && !scene.streams.is_empty() && scene.streams.iter().all(is_still) && is_open();
    Ok(is_it && writes(scene)? == Writes::NotSwitched)
}

/// Whether a completion has begun and got as far as the rules: writes were switched for good, and nothing leads anywhere any more.
///
/// # Errors
/// A record of rules that cannot be read.
pub(crate) fn is_completing(scene: &Scene) -> Result<bool, String> {
    if !scene.is_frozen() || !scene.reverse_streams.is_empty() {
        return Ok(false);
    }
    let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
    Ok(match scene.kind {
        Kind::Standard => {
            let keys = scene.table_keys()?;
            let own = |table: &String| ["", &format!("{source}."), &format!("{target}.")].map(|from| format!("{from}{table}"));
            let types = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];
            let is_ruled = |key: &String| types.iter().any(|of| keys.contains_key(&format!("{key}{}", suffix(*of))));
            !scene.tables.iter().flat_map(own).any(|key| is_ruled(&key))
        }
        Kind::MultiTenant => {
            let record = scene.rules.get(edit::KEYSPACE_RULES).map_or(&[][..], |stored| stored.value.as_slice());
            !edit::keyspace_keys(record)?.contains_key(source)
        }
        _ => false,
    })
}
