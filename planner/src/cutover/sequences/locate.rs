//! Where the sequences are that the moved tables take values from, by what the vschemas and the rules say.
//!
//! Facts: `go/vt/vtctl/workflow/sequences.go`, v24. Unlike it: a sequence that several tables use is one with all of them; a keyspace that is
//! named is not looked for elsewhere; a name that is in several keyspaces is refused, as vtgates refuse it; and where rules lead is followed,
//! as vtgates follow them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    name::{parts, text, unescaped},
    sequence::{Sequence, User},
};
use crate::{
    cutover::{scene::Scene, vschema::SEQUENCE},
    proto::vschema::{AutoIncrement, Keyspace, Table},
    traffic::kind::Kind,
};

/// Tables of the workflow that are sequences in the target: their values are taken there once writes are switched.
pub(crate) fn moved(scene: &Scene) -> Vec<String> {
    let target = scene.vschema(&scene.target_keyspace).unwrap_or_default();
    scene.tables.iter().filter(|table| find(&target, table).is_some_and(|it| it.r#type == SEQUENCE)).cloned().collect()
}

/// A table of a vschema by its name, which may be escaped there.
fn find<'a>(keyspace: &'a Keyspace, table: &str) -> Option<&'a Table> {
    let escaped = || keyspace.tables.iter().find(|(key, _)| unescaped(key) == Ok(table)).map(|(_, it)| it);
    keyspace.tables.get(table).or_else(escaped)
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
        let Some(AutoIncrement { column, sequence }) = known.auto_increment.as_ref().filter(|it| !it.sequence.is_empty()) else {
            continue;
        };
        let (keyspace, name) = parts(sequence);
        let bad = |part: &str, why| format!("invalid {part} \"{sequence}\" defined in sequence table {}: {why}", text(known));
        let keyspace = keyspace.map(unescaped).transpose();
        let is_qualified = !matches!(keyspace, Ok(None));
        let keyspace = keyspace.map_err(|why| bad("keyspace in qualified sequence table name", why))?;
        let part = if is_qualified { "qualified sequence table name" } else { "sequence table name" };
        let name = unescaped(name).map_err(|why| bad(part, why))?;
        let column = unescaped(column)
            .map_err(|why| format!("invalid column name \"{column}\" defined in sequence table {}: {why}", text(known)))?;
        used.push((keyspace, name, User { table: table.clone(), column: column.to_owned() }));
    }
    let declared = if used.iter().any(|(keyspace, ..)| keyspace.is_none()) { declared(scene)? } else { BTreeMap::new() };
    let (rules, moved) = (scene.table_keys()?, moved(scene));
    let mut found: BTreeMap<(String, String), Sequence> = BTreeMap::new();
    let mut is_missing = false;
    let names: BTreeSet<&str> = used.iter().map(|(_, name, _)| *name).collect();
    for (keyspace, name, user) in used {
        let key = keyspace.map_or_else(|| name.to_owned(), |keyspace| format!("{keyspace}.{name}"));
        let routed = rules.get(&key).and_then(|to| to.first()).and_then(|to| to.split_once('.'));
        let is_moved = moved.iter().any(|table| table == name) && keyspace.is_none_or(|it| it == scene.source_keyspace);
        let places = declared.get(name).map(Vec::as_slice).unwrap_or_default();
        let place = match (routed, keyspace, places) {
            // Where the rules will lead when writes are switched.
            _ if is_moved => Some((scene.target_keyspace.as_str(), name)),
            (Some(to), ..) => Some(to),
            (None, Some(keyspace), _) => Some((keyspace, name)),
            (None, None, [one]) => Some((one.as_str(), name)),
            (None, None, []) => None,
            (None, None, several) => {
                let several = several.join(", ");
                return Err(format!(
                    "sequence {name} of table {} is in several keyspaces ({several}): name its keyspace in the vschema of {}",
                    user.table, scene.target_keyspace
                ));
            }
        };
        is_missing |= place.is_none();
        let global = scene.options.global_keyspace.as_str();
        let (keyspace, name) = place.unwrap_or((global, name));
        let is_new = place.is_none();
        let sequence = || Sequence { keyspace: keyspace.into(), name: name.into(), is_new, ..Sequence::default() };
        found.entry((keyspace.to_owned(), name.to_owned())).or_insert_with(sequence).users.push(user);
    }
    if is_missing && scene.options.global_keyspace.is_empty() {
        let text = "failed to locate all of the backing sequence tables being used and no global-keyspace was provided to auto create \
                    them in";
        return Err(format!("{text}: {}", names.into_iter().collect::<Vec<_>>().join(",")));
    }
    Ok(found.into_values().collect())
}

/// The unsharded keyspaces that have a sequence, by its name.
fn declared(scene: &Scene) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for keyspace in scene.vschemas.keys() {
        let vschema = scene.vschema(keyspace)?;
        let sequences = vschema.tables.iter().filter(|(_, table)| !vschema.sharded && table.r#type == SEQUENCE);
        for (key, _) in sequences {
            let name = unescaped(key).map_err(|why| format!("invalid table name \"{key}\" in keyspace {keyspace}: {why}"))?;
            declared.entry(name.to_owned()).or_default().push(keyspace.clone());
        }
    }
    Ok(declared)
}

/// Whether sequences are looked for: of tables that leave an unsharded keyspace, as in the reference. A sharded one has them already.
pub(crate) fn are_wanted(wanted: bool, scene: &Scene) -> bool {
    /// Number of the type.
    const MOVE_TABLES: i32 = 1;
    let is_sharded = scene.vschema(&scene.source_keyspace).is_ok_and(|it| it.sharded);
    wanted && scene.kind != Kind::Reshard && scene.workflow_type == MOVE_TABLES && !is_sharded
}
