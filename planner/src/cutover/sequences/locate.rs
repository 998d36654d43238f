//! Where the sequences are that the moved tables take values from, by what the vschemas and the rules say.
//!
//! Facts: `go/vt/vtctl/workflow/sequences.go`, v24. Unlike it: a sequence that several tables use is one with all of them, and a name that is
//! in several keyspaces is refused, as vtgates refuse it.

use std::collections::{BTreeMap, BTreeSet};

use super::sequence::{Sequence, User};
use crate::{
    cutover::scene::Scene,
    sequences::{Place, SEQUENCE, declared, find, of_table},
    traffic::kind::Kind,
};

/// Tables of the workflow that are sequences in the target: their values are taken there once writes are switched.
pub(crate) fn moved(scene: &Scene) -> Vec<String> {
    let target = scene.vschema(&scene.target_keyspace).unwrap_or_default();
    scene.tables.iter().filter(|table| find(&target, table).is_some_and(|it| it.r#type == SEQUENCE)).cloned().collect()
}

/// The sequences that the target's tables use, by keyspace and name.
///
/// # Errors
/// One is nowhere or in several keyspaces, or a name cannot be read. Texts of the reference.
pub(super) fn sequences(scene: &Scene) -> Result<Vec<Sequence>, String> {
    let target = scene.vschema(&scene.target_keyspace)?;
    let mut used = Vec::new();
    for table in &scene.tables {
        let Some(known) = find(&target, table) else { continue };
        used.extend(of_table(table, known)?);
    }
    let declared = if used.iter().any(|it| it.keyspace.is_none()) { declared_in(scene)? } else { BTreeMap::new() };
    let (rules, moved) = (scene.table_keys()?, moved(scene));
    let mut found: BTreeMap<(String, String), Sequence> = BTreeMap::new();
    let mut is_missing = false;
    let names: BTreeSet<String> = used.iter().map(|it| it.name.clone()).collect();
    for it in used {
        let of_source = it.keyspace.as_ref().is_none_or(|keyspace| *keyspace == scene.source_keyspace);
        // Where the rules will lead when writes are switched.
        let is_moved = moved.contains(&it.name) && of_source;
        let place =
            if is_moved { Place::At(scene.target_keyspace.clone(), it.name.clone()) } else { it.place(&rules, &declared) };
        let (keyspace, name, is_new) = match place {
            Place::At(keyspace, name) => (keyspace, name, false),
            Place::Nowhere => (scene.options.global_keyspace.clone(), it.name, true),
            Place::Several(several) => {
                return Err(format!(
                    "sequence {} of table {} is in several keyspaces ({}): name its keyspace in the vschema of {}",
                    it.name,
                    it.table,
                    several.join(", "),
                    scene.target_keyspace
                ));
            }
        };
        is_missing |= is_new;
        let key = (keyspace.clone(), name.clone());
        let sequence = || Sequence { keyspace, name, is_new, ..Sequence::default() };
        found.entry(key).or_insert_with(sequence).users.push(User { table: it.table, column: it.column });
    }
    if is_missing && scene.options.global_keyspace.is_empty() {
        let text = "failed to locate all of the backing sequence tables being used and no global-keyspace was provided to auto create \
                    them in";
        return Err(format!("{text}: {}", names.into_iter().collect::<Vec<_>>().join(",")));
    }
    Ok(found.into_values().collect())
}

/// The unsharded keyspaces that have a sequence, by its name.
fn declared_in(scene: &Scene) -> Result<BTreeMap<String, Vec<String>>, String> {
    let vschema = |name: &String| Ok((name.clone(), scene.vschema(name)?));
    let vschemas = scene.vschemas.keys().map(vschema).collect::<Result<Vec<_>, String>>()?;
    declared(vschemas.iter().map(|(name, vschema)| (name.as_str(), vschema)))
}

/// Whether sequences are looked for: of tables that leave an unsharded keyspace, as in the reference. A sharded one has them already.
pub(crate) fn are_wanted(wanted: bool, scene: &Scene) -> bool {
    /// Number of the type.
    const MOVE_TABLES: i32 = 1;
    let is_sharded = scene.vschema(&scene.source_keyspace).is_ok_and(|it| it.sharded);
    wanted && scene.kind != Kind::Reshard && scene.workflow_type == MOVE_TABLES && !is_sharded
}
