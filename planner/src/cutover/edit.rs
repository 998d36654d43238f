//! Changes of the topology's records, each with what takes it back.
//!
//! A change is made to whatever the record is at that moment, touches only what it is about and keeps the bytes of everything else, also
//! of fields that this build does not know. One that finds its work done changes nothing; so it can be made again after an answer was lost.
//!
//! Facts: `go/vt/topo/shard.go:UpdateDeniedTables`, `go/vt/topotools/routing_rules.go`, `go/vt/topo/vschema.go:RebuildSrvVSchema`, v24.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use prost::Message;

use crate::{
    cutover::{served, vschema},
    proto::{
        topodata::{Shard, ShardReference, TabletType, shard::TabletControl},
        vschema::{KeyspaceRoutingRule, MirrorRule, RoutingRule, ShardRoutingRule},
    },
    sequences::SEQUENCE,
    wire::{self, put_bytes},
};

/// The field of a shard's record that has its tablet controls.
const TABLET_CONTROLS: u32 = 6;

/// The field of rule records that has the rules.
const RULES: u32 = 1;

/// A change of one record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edit {
    /// Tables that a shard's primary refuses, or refuses no more.
    Deny {
        /// Sorted.
        tables: Vec<String>,
        is_denied: bool,
        /// Whether reads of what is denied are let through.
        allow_reads: bool,
    },
    /// Routing rules of tables by key: where they lead; `None`: there is no such rule.
    TableRules(BTreeMap<String, Option<Vec<String>>>),
    /// Routing rules of shards by keyspace and shard: to which keyspace they lead; `None`: there is no such rule.
    ShardRules(BTreeMap<(String, String), Option<String>>),
    /// Routing rules of keyspaces: to which keyspace they lead; `None`: there is no such rule.
    KeyspaceRules(BTreeMap<String, Option<String>>),
    /// Query services in what a cell serves: whether each shard's is off; `None`: nothing is said of it.
    QueryService { of: TabletType, shards: Vec<(ShardReference, Option<bool>)> },
    /// Which shards a cell serves of one type. `clears`: nothing is said any more of query services, of any type.
    Serve { of: TabletType, added: Vec<ShardReference>, removed: Vec<ShardReference>, clears: bool },
    /// Whether a shard's primary serves.
    Serving(bool),
    /// Several changes of one record.
    All(Vec<Self>),
    /// Mirror rules that go: from and to.
    Unmirror(BTreeSet<(String, String)>),
    /// Mirror rules that are there, in place of those from and to the same.
    Mirror(Vec<MirrorRule>),
    /// Tables of a keyspace's vschema: those that go, and those that are there, with nothing said of them where they are new.
    VSchema { gone: BTreeSet<String>, there: BTreeSet<String> },
    /// Tables of a keyspace's vschema that are sequences; what is said of one that it has stays.
    Sequences(BTreeSet<String>),
}

impl Edit {
    /// The record with the change.
    ///
    /// # Errors
    /// The bytes are no such record.
    pub(crate) fn apply(&self, record: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Deny { tables, is_denied, allow_reads } => {
                with_control(record, |control| denied(control, tables, *is_denied, *allow_reads))
            }
            Self::TableRules(rules) => table_rules(record, rules),
            Self::ShardRules(rules) => shard_rules(record, rules),
            Self::KeyspaceRules(rules) => keyspace_rules(record, rules),
            Self::QueryService { of, shards } => served::query_service(record, *of, shards),
            Self::Serve { of, added, removed, clears } => served::serve(record, *of, added, removed, *clears),
            Self::Serving(serves) => serving(record, *serves),
            Self::All(edits) => edits.iter().try_fold(record.to_vec(), |record, edit| edit.apply(&record)),
            Self::VSchema { gone, there } => vschema::with_tables(record, gone, there, ""),
            Self::Sequences(there) => vschema::with_tables(record, &BTreeSet::new(), there, SEQUENCE),
            Self::Unmirror(gone) => each_rule(record, |raw| {
                let rule = MirrorRule::decode(raw).map_err(|error| error.to_string())?;
                Ok(if gone.contains(&(rule.from_table, rule.to_table)) { None } else { Some(raw.to_vec()) })
            }),
            Self::Mirror(rules) => {
                let mut record = Self::Unmirror(rules.iter().map(key).collect()).apply(record)?;
                for rule in rules {
                    put_bytes(&mut record, RULES, &rule.encode_to_vec());
                }
                Ok(record)
            }
        }
    }

    /// What makes the record, as far as this change is about it, what it was before.
    ///
    /// # Errors
    /// The bytes are no such record.
    pub(crate) fn inverse(&self, before: &[u8]) -> Result<Self, String> {
        Ok(match self {
            // Only what this change touches: others may have changed the rest meanwhile.
            Self::Deny { tables, is_denied, allow_reads } => {
                let was = control(before)?.unwrap_or_default();
                let (stay, touched): (Vec<String>, Vec<String>) =
                    tables.iter().cloned().partition(|table| was.denied_tables.contains(table) == *is_denied);
                let back = Self::Deny { tables: touched, is_denied: !is_denied, allow_reads: was.allow_reads };
                // Tables that were denied before: whether they may be read is all that was changed of them.
                let reads = Self::Deny { tables: stay, is_denied: true, allow_reads: was.allow_reads };
                let is_about_reads = *is_denied && !was.denied_tables.is_empty() && was.allow_reads != *allow_reads;
                if is_about_reads { Self::All(vec![back, reads]) } else { back }
            }
            Self::TableRules(rules) => {
                let was = table_keys(before)?;
                Self::TableRules(rules.keys().map(|key| (key.clone(), was.get(key).cloned())).collect())
            }
            Self::ShardRules(rules) => {
                let was = shard_keys(before)?;
                Self::ShardRules(rules.keys().map(|key| (key.clone(), was.get(key).cloned())).collect())
            }
            Self::KeyspaceRules(rules) => {
                let was = keyspace_keys(before)?;
                Self::KeyspaceRules(rules.keys().map(|key| (key.clone(), was.get(key).cloned())).collect())
            }
            Self::QueryService { of, shards } => {
                let was = served::partitions(before)?;
                let was = |(shard, _): &(ShardReference, Option<bool>)| (shard.clone(), served::is_off(&was, *of, shard));
                Self::QueryService { of: *of, shards: shards.iter().map(was).collect() }
            }
            // Query services that were cleared are not said again: nothing is taken back after that.
            Self::Serve { of, added, removed, .. } => {
                // What served before, or did not, stays so: another request may have moved it.
                let was = served::partitions(before)?;
                let (served, unserved) = (
                    removed.iter().filter(|shard| served::is_served(&was, *of, shard)),
                    added.iter().filter(|shard| !served::is_served(&was, *of, shard)),
                );
                Self::Serve { of: *of, added: served.cloned().collect(), removed: unserved.cloned().collect(), clears: false }
            }
            Self::Serving(_) => {
                let shard = Shard::decode(before).map_err(|error| error.to_string())?;
                Self::Serving(shard.is_primary_serving)
            }
            Self::All(edits) => {
                let (mut inverses, mut record) = (Vec::new(), before.to_vec());
                for edit in edits {
                    inverses.push(edit.inverse(&record)?);
                    record = edit.apply(&record)?;
                }
                inverses.reverse();
                Self::All(inverses)
            }
            Self::Unmirror(gone) => {
                Self::Mirror(mirror_rules(before)?.into_iter().filter(|rule| gone.contains(&key(rule))).collect())
            }
            Self::Mirror(rules) => Self::Unmirror(rules.iter().map(key).collect()),
            // What was said of a table is not known any more: nothing is taken back after that.
            // A sequence that was created is left to whoever creates it next.
            Self::VSchema { .. } | Self::Sequences(_) => Self::VSchema { gone: BTreeSet::new(), there: BTreeSet::new() },
        })
    }
}

impl fmt::Display for Edit {
    /// What changes in the record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deny { tables, is_denied: true, allow_reads: true } => {
                write!(f, "deny tables {}, and let reads of them through", tables.join(", "))
            }
            Self::Deny { tables, is_denied: true, .. } => write!(f, "deny tables {}", tables.join(", ")),
            Self::Deny { tables, .. } => write!(f, "allow tables {}", tables.join(", ")),
            Self::TableRules(rules) => {
                let text = |(key, to): (&String, &Option<Vec<String>>)| match to {
                    Some(to) => format!("{key} -> {}", to.join(", ")),
                    None => format!("no {key}"),
                };
                f.write_str(&rules.iter().map(text).collect::<Vec<_>>().join("; "))
            }
            Self::ShardRules(rules) => {
                let text = |((from, shard), to): (&(String, String), &Option<String>)| match to {
                    Some(to) => format!("{from}.{shard} -> {to}"),
                    None => format!("no {from}.{shard}"),
                };
                f.write_str(&rules.iter().map(text).collect::<Vec<_>>().join("; "))
            }
            Self::KeyspaceRules(rules) => {
                let text = |(from, to): (&String, &Option<String>)| match to {
                    Some(to) => format!("{from} -> {to}"),
                    None => format!("no {from}"),
                };
                f.write_str(&rules.iter().map(text).collect::<Vec<_>>().join("; "))
            }
            Self::QueryService { of, shards } => {
                let text = |(shard, is_off): &(ShardReference, Option<bool>)| match is_off {
                    Some(true) => format!("{} off", shard.name),
                    Some(false) => format!("{} on", shard.name),
                    None => format!("{} as by default", shard.name),
                };
                let shards = shards.iter().map(text).collect::<Vec<_>>().join(", ");
                write!(f, "query service of {}: {shards}", of.as_str_name())
            }
            Self::Serve { of, added, .. } => {
                let shards: Vec<&str> = added.iter().map(|shard| shard.name.as_str()).collect();
                write!(f, "{} is served by {}", of.as_str_name(), shards.join(", "))
            }
            Self::Serving(serves) => write!(f, "is_primary_serving {serves}"),
            Self::All(edits) => f.write_str(&edits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
            Self::Unmirror(rules) => {
                let rules: Vec<String> = rules.iter().map(|(from, to)| format!("{from} -> {to}")).collect();
                write!(f, "no mirroring of {}", rules.join("; "))
            }
            Self::Mirror(rules) => {
                let text = |rule: &MirrorRule| format!("{} -> {} {}%", rule.from_table, rule.to_table, rule.percent);
                write!(f, "mirror {}", rules.iter().map(text).collect::<Vec<_>>().join("; "))
            }
            Self::Sequences(there) => {
                write!(f, "sequences of the vschema: {}", there.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
            }
            Self::VSchema { gone, there } => {
                let names = |tables: &BTreeSet<String>| tables.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let parts = [(gone, "without tables "), (there, "with tables ")];
                let parts = parts.into_iter().filter(|(tables, _)| !tables.is_empty());
                f.write_str(&parts.map(|(tables, what)| format!("{what}{}", names(tables))).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

/// The field of a shard's record that says whether its primary serves.
const IS_PRIMARY_SERVING: u32 = 7;

fn serving(record: &[u8], serves: bool) -> Result<Vec<u8>, String> {
    let shard = Shard::decode(record).map_err(|error| error.to_string())?;
    if shard.is_primary_serving == serves {
        return Ok(record.to_vec());
    }
    let mut out = Vec::with_capacity(record.len());
    for (number, field) in wire::fields(record).map_err(|error| error.to_string())? {
        if number != IS_PRIMARY_SERVING {
            out.extend_from_slice(field);
        }
    }
    wire::put_integer(&mut out, IS_PRIMARY_SERVING, serves.into());
    Ok(out)
}

fn key(rule: &MirrorRule) -> (String, String) {
    (rule.from_table.clone(), rule.to_table.clone())
}

/// The control of a shard's primary.
///
/// # Errors
/// The bytes are no shard's record.
pub(crate) fn control(record: &[u8]) -> Result<Option<TabletControl>, String> {
    let shard = Shard::decode(record).map_err(|error| error.to_string())?;
    Ok(shard.tablet_controls.into_iter().find(|control| control.tablet_type() == TabletType::Primary))
}

/// A shard's record whose primary has another control, or none; it stands where it stood.
fn with_control(record: &[u8], change: impl FnOnce(Option<TabletControl>) -> Option<TabletControl>) -> Result<Vec<u8>, String> {
    let after = change(control(record)?);
    let (mut out, mut is_there) = (Vec::with_capacity(record.len()), false);
    for field in wire::fields(record).map_err(|error| error.to_string())? {
        let of_primary = (field.0 == TABLET_CONTROLS)
            .then(|| wire::content(field).and_then(|raw| TabletControl::decode(raw).ok()))
            .flatten()
            .is_some_and(|control| control.tablet_type() == TabletType::Primary);
        if !of_primary {
            out.extend_from_slice(field.1);
        } else if !is_there {
            is_there = true;
            if let Some(control) = &after {
                put_bytes(&mut out, TABLET_CONTROLS, &control.encode_to_vec());
            }
        }
    }
    if let Some(control) = after.filter(|_| !is_there) {
        put_bytes(&mut out, TABLET_CONTROLS, &control.encode_to_vec());
    }
    Ok(out)
}

fn denied(control: Option<TabletControl>, tables: &[String], is_denied: bool, allow_reads: bool) -> Option<TabletControl> {
    if tables.is_empty() {
        return control;
    }
    let Some(mut control) = control else {
        let control = || TabletControl {
            tablet_type: TabletType::Primary.into(),
            denied_tables: tables.to_vec(),
            allow_reads,
            ..TabletControl::default()
        };
        return is_denied.then(control);
    };
    control.allow_reads = allow_reads;
    if is_denied && tables.iter().all(|table| control.denied_tables.contains(table)) {
        return Some(control);
    }
    if is_denied {
        let has_some = control.denied_tables.iter().any(|table| tables.contains(table));
        control.denied_tables.extend(tables.iter().cloned());
        if has_some {
            control.denied_tables.sort();
            control.denied_tables.dedup();
        }
        return Some(control);
    }
    control.denied_tables.retain(|table| !tables.contains(table));
    (!control.denied_tables.is_empty()).then_some(control)
}

/// A record of rules with each of them as `change` makes it; `None`: it goes.
fn each_rule(record: &[u8], mut change: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, String>) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(record.len());
    for field in wire::fields(record).map_err(|error| error.to_string())? {
        match (field.0 == RULES).then(|| wire::content(field)).flatten() {
            Some(raw) => change(raw)?.iter().for_each(|rule| put_bytes(&mut out, RULES, rule)),
            None => out.extend_from_slice(field.1),
        }
    }
    Ok(out)
}

/// A record of rules in which those with these keys lead where they are to lead; `None`: there is none.
fn keyed<R: Message + Default, K: Ord + Clone, V: PartialEq>(
    record: &[u8],
    wanted: &BTreeMap<K, Option<V>>,
    read: impl Fn(&R) -> (K, V),
    make: impl Fn(&K, &V) -> R,
) -> Result<Vec<u8>, String> {
    let mut missing: BTreeSet<&K> = wanted.keys().collect();
    let mut out = each_rule(record, |raw| {
        let (key, leads) = read(&R::decode(raw).map_err(|error| error.to_string())?);
        let Some(to) = wanted.get(&key) else { return Ok(Some(raw.to_vec())) };
        // Of two rules with one key the first counts.
        if !missing.remove(&key) {
            return Ok(None);
        }
        Ok(to.as_ref().map(|to| if *to == leads { raw.to_vec() } else { make(&key, to).encode_to_vec() }))
    })?;
    for key in missing {
        if let Some(Some(to)) = wanted.get(key) {
            put_bytes(&mut out, RULES, &make(key, to).encode_to_vec());
        }
    }
    Ok(out)
}

fn table_rules(record: &[u8], wanted: &BTreeMap<String, Option<Vec<String>>>) -> Result<Vec<u8>, String> {
    let read = |rule: &RoutingRule| (rule.from_table.clone(), rule.to_tables.clone());
    keyed(record, wanted, read, |from, to| RoutingRule { from_table: from.clone(), to_tables: to.clone() })
}

fn shard_rules(record: &[u8], wanted: &BTreeMap<(String, String), Option<String>>) -> Result<Vec<u8>, String> {
    let read = |rule: &ShardRoutingRule| ((rule.from_keyspace.clone(), rule.shard.clone()), rule.to_keyspace.clone());
    keyed(record, wanted, read, |(from, shard), to| ShardRoutingRule {
        from_keyspace: from.clone(),
        to_keyspace: to.clone(),
        shard: shard.clone(),
    })
}

/// Routing rules of shards by keyspace and shard.
///
/// # Errors
/// The bytes are no such record.
pub(crate) fn shard_keys(record: &[u8]) -> Result<BTreeMap<(String, String), String>, String> {
    let rules = crate::proto::vschema::ShardRoutingRules::decode(record).map_err(|error| error.to_string())?.rules;
    Ok(rules.into_iter().rev().map(|rule| ((rule.from_keyspace, rule.shard), rule.to_keyspace)).collect())
}

fn keyspace_rules(record: &[u8], wanted: &BTreeMap<String, Option<String>>) -> Result<Vec<u8>, String> {
    let read = |rule: &KeyspaceRoutingRule| (rule.from_keyspace.clone(), rule.to_keyspace.clone());
    keyed(record, wanted, read, |from, to| KeyspaceRoutingRule { from_keyspace: from.clone(), to_keyspace: to.clone() })
}

/// Routing rules of keyspaces by key.
///
/// # Errors
/// The bytes are no such record.
pub(crate) fn keyspace_keys(record: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let rules = crate::proto::vschema::KeyspaceRoutingRules::decode(record).map_err(|error| error.to_string())?.rules;
    Ok(rules.into_iter().rev().map(|rule| (rule.from_keyspace, rule.to_keyspace)).collect())
}

/// Routing rules of tables by key.
///
/// # Errors
/// The bytes are no such record.
pub(crate) fn table_keys(record: &[u8]) -> Result<BTreeMap<String, Vec<String>>, String> {
    let rules = crate::proto::vschema::RoutingRules::decode(record).map_err(|error| error.to_string())?.rules;
    Ok(rules.into_iter().rev().map(|rule| (rule.from_table, rule.to_tables)).collect())
}

/// Mirror rules.
///
/// # Errors
/// The bytes are no such record.
pub(crate) fn mirror_rules(record: &[u8]) -> Result<Vec<MirrorRule>, String> {
    crate::proto::vschema::MirrorRules::decode(record).map(|rules| rules.rules).map_err(|error| error.to_string())
}

/// The records of rules, in the order of their fields in `SrvVSchema`, which begin at 2.
pub(crate) const RULE_PATHS: [&str; 4] = [TABLE_RULES, SHARD_RULES, KEYSPACE_RULES, MIRROR_RULES];

/// Routing rules of tables.
pub(crate) const TABLE_RULES: &str = "RoutingRules";

/// Routing rules of shards.
pub(crate) const SHARD_RULES: &str = "ShardRoutingRules";

/// Routing rules of keyspaces.
pub(crate) const KEYSPACE_RULES: &str = "routing_rules/keyspace/Rules";

/// Mirror rules.
pub(crate) const MIRROR_RULES: &str = "MirrorRules";

/// What a cell serves to its vtgates, made of the keyspaces' own vschemas and the records of rules. One that is not there is empty.
pub(crate) fn srv_vschema<'a>(
    keyspaces: impl IntoIterator<Item = (&'a String, &'a Vec<u8>)>,
    rules: &BTreeMap<&'static str, Vec<u8>>,
) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, vschema) in keyspaces {
        put_keyspace(&mut out, name, vschema);
    }
    put_rules(&mut out, rules);
    out
}

fn put_keyspace(out: &mut Vec<u8>, name: &str, vschema: &[u8]) {
    wire::put_message(out, 1, |entry| {
        wire::put_text(entry, 1, name);
        put_bytes(entry, 2, vschema);
    });
}

/// The same as somebody else has made it meanwhile, with what was changed here: rules, and vschemas. Others' rules may be newer there than
/// they were read here.
///
/// # Errors
/// The bytes are no message.
pub(crate) fn srv_vschema_again(
    record: &[u8],
    own: &BTreeMap<&str, &Vec<u8>>,
    rules: &BTreeMap<&'static str, Vec<u8>>,
    edits: &BTreeMap<&'static str, Vec<Edit>>,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(record.len());
    let mut rules = rules.clone();
    for field in wire::fields(record).map_err(|error| error.to_string())? {
        if let Some((_, path)) = (2..).zip(RULE_PATHS).find(|(number, _)| *number == field.0) {
            let theirs = wire::content(field).unwrap_or_default().to_vec();
            let own = edits.get(path).map(Vec::as_slice).unwrap_or_default();
            rules.insert(path, own.iter().try_fold(theirs, |record, edit| edit.apply(&record))?);
        }
    }
    for field in wire::fields(record).map_err(|error| error.to_string())? {
        let name = (field.0 == 1).then(|| vschema::entry_key(field)).flatten();
        match name.as_deref().and_then(|name| own.get_key_value(name)) {
            Some((name, vschema)) => put_keyspace(&mut out, name, vschema),
            None if !(2..=5).contains(&field.0) => out.extend_from_slice(field.1),
            None => {}
        }
    }
    put_rules(&mut out, &rules);
    Ok(out)
}

fn put_rules(out: &mut Vec<u8>, rules: &BTreeMap<&'static str, Vec<u8>>) {
    for (field, path) in (2..).zip(RULE_PATHS) {
        match rules.get(path) {
            Some(record) => put_bytes(out, field, record),
            // vtctld has the other members in every record, empty or not, and fails on one that is not there.
            None if path == KEYSPACE_RULES => {}
            None => put_bytes(out, field, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::vschema::{RoutingRules, SrvVSchema};

    const FUTURE: &[u8] = &[0xf8, 0x07, 1];

    fn shard(controls: Vec<TabletControl>) -> Vec<u8> {
        let shard = Shard { is_primary_serving: true, tablet_controls: controls, ..Shard::default() };
        [shard.encode_to_vec(), FUTURE.to_vec()].concat()
    }

    fn primary(tables: &[&str]) -> TabletControl {
        let denied_tables = tables.iter().map(|&table| table.to_owned()).collect();
        TabletControl { tablet_type: TabletType::Primary.into(), denied_tables, ..TabletControl::default() }
    }

    fn deny(tables: &[&str], is_denied: bool) -> Edit {
        Edit::Deny { tables: tables.iter().map(|&table| table.to_owned()).collect(), is_denied, allow_reads: false }
    }

    #[test]
    fn tables_are_denied_and_allowed_as_vitess_does() {
        let rdonly = TabletControl { tablet_type: TabletType::Rdonly.into(), ..TabletControl::default() };
        for (before, edit, want) in [
            (vec![], deny(&["a", "b"], true), vec![primary(&["a", "b"])]),
            (vec![], deny(&["a"], false), vec![]),
            (vec![rdonly.clone(), primary(&["z"])], deny(&["a", "b"], true), vec![rdonly.clone(), primary(&["z", "a", "b"])]),
            (vec![primary(&["z", "b"])], deny(&["a", "b"], true), vec![primary(&["a", "b", "z"])]),
            (vec![primary(&["a", "z"]), rdonly.clone()], deny(&["a", "b"], false), vec![primary(&["z"]), rdonly.clone()]),
            (vec![primary(&["b", "a"])], deny(&["a", "b"], false), vec![]),
        ] {
            let record = shard(before.clone());
            let after = edit.apply(&record).unwrap();
            assert_eq!(Shard::decode(after.as_slice()).unwrap().tablet_controls, want, "{before:?} {edit:?}");
            assert!(after.windows(3).any(|part| part == FUTURE), "what is not known stays");
            assert_eq!(edit.apply(&after).unwrap(), after, "done is done");
            let back = edit.inverse(&record).unwrap().apply(&after).unwrap();
            let denied = |record: &[u8]| {
                let mut tables = control(record).unwrap().unwrap_or_default().denied_tables;
                tables.sort();
                tables
            };
            assert_eq!(denied(&back), denied(&record));
        }
    }

    // TR-156, TR-158, TR-159.
    #[test]
    fn denied_tables_come_and_go_one_after_the_other() {
        let mut record = shard(vec![]);
        for (edit, want) in [
            (deny(&["t1", "t2"], true), &["t1", "t2"][..]),
            (deny(&["t3", "t4"], true), &["t1", "t2", "t3", "t4"]),
            (deny(&["t3", "t4"], true), &["t1", "t2", "t3", "t4"]),
            (deny(&["t1"], true), &["t1", "t2", "t3", "t4"]),
            (deny(&["t3", "t4"], false), &["t1", "t2"]),
            (deny(&["t3", "t4"], false), &["t1", "t2"]),
            (deny(&["t3"], false), &["t1", "t2"]),
            (deny(&["t1"], false), &["t2"]),
            (deny(&["t2"], false), &[]),
        ] {
            record = edit.apply(&record).unwrap();
            let control = control(&record).unwrap();
            assert_eq!(control.is_some(), !want.is_empty(), "a control without tables is none");
            assert_eq!(control.unwrap_or_default().denied_tables, want, "{edit}");
        }
        for (before, tables, want) in
            [(["b", "a"].as_slice(), ["a", "c"], ["a", "b", "c"]), (&["b"], ["c", "a"], ["b", "c", "a"])]
        {
            let after = deny(&tables, true).apply(&shard(vec![primary(before)])).unwrap();
            assert_eq!(control(&after).unwrap().unwrap().denied_tables, want, "{before:?}");
        }
    }

    // TR-168.
    #[test]
    fn rules_keep_their_order_and_come_back() {
        let rule = |from: &str, to: &str| RoutingRule { from_table: from.into(), to_tables: vec![to.into()] };
        let record = RoutingRules { rules: vec![rule("x", "k.x"), rule("s.t", "s.t"), rule("t.t", "s.t")] }.encode_to_vec();
        let wanted = [("t", Some("t.t")), ("s.t", Some("t.t")), ("t.t", None)];
        let wanted = wanted.map(|(key, to)| (key.to_owned(), to.map(|to| vec![to.to_owned()])));
        let edit = Edit::TableRules(wanted.into_iter().collect());
        let after = edit.apply(&record).unwrap();
        let rules = |record: &[u8]| RoutingRules::decode(record).unwrap().rules;
        assert_eq!(rules(&after), [rule("x", "k.x"), rule("s.t", "t.t"), rule("t", "t.t")]);
        assert_eq!(edit.apply(&after).unwrap(), after);
        let back = edit.inverse(&record).unwrap().apply(&after).unwrap();
        assert_eq!(table_keys(&back), table_keys(&record));
    }

    #[test]
    fn a_cell_serves_all_keyspaces_and_rules_as_they_are() {
        let keyspaces = BTreeMap::from([("a".to_owned(), FUTURE.to_vec()), ("b".to_owned(), Vec::new())]);
        let rules = BTreeMap::from([("RoutingRules", RoutingRules::default().encode_to_vec())]);
        let made = srv_vschema(&keyspaces, &rules);
        let served = SrvVSchema::decode(made.as_slice()).unwrap();
        assert_eq!(served.keyspaces.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(served.routing_rules.is_some() && served.mirror_rules.is_some() && served.keyspace_routing_rules.is_none());
        assert!(made.windows(3).any(|part| part == FUTURE));
        assert_eq!(srv_vschema_again(&made, &BTreeMap::new(), &rules, &BTreeMap::new()).unwrap(), made);
        let own = BTreeMap::from([("b", &keyspaces["a"])]);
        let again = SrvVSchema::decode(srv_vschema_again(&made, &own, &rules, &BTreeMap::new()).unwrap().as_slice()).unwrap();
        assert_eq!(again.keyspaces["a"], again.keyspaces["b"], "what was written here is served");
    }
}
