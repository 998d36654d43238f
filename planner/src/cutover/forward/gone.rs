//! What is gone for good after a change, in words: what people read before they say yes, by name and by side.

use std::collections::BTreeMap;

use crate::{
    cutover::{
        forward::acts::{Fate, renamed},
        leaving::Leaving,
        scene::Member,
    },
    words::plural,
};

/// Shards that are named one by one; more are counted.
const NAMED_SHARDS: usize = 8;

/// `corder and customer`, in the order in which they are given.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// `the source, commerce/0`.
fn side(name: &str, members: &BTreeMap<String, Member>) -> String {
    let keyspace = members.values().next().map(|on| on.keyspace.as_str()).unwrap_or_default();
    if members.len() > NAMED_SHARDS {
        return format!("the {name}, all {} shards of {keyspace} that take part", members.len());
    }
    format!("the {name}, {}", members.values().map(Member::place).collect::<Vec<_>>().join(", "))
}

/// Tables and views that are dropped on all shards of a side, a line for each kind.
pub(super) fn tables<'a>(
    all: impl Iterator<Item = (&'a str, Fate)>,
    name: &str,
    members: &BTreeMap<String, Member>,
) -> Vec<String> {
    let (views, tables): (Vec<_>, Vec<_>) = all.partition(|(_, fate)| *fate == Fate::DropView);
    let line = |kind: &str, own: Vec<(&str, Fate)>| {
        let plural = if own.len() == 1 { "" } else { "s" };
        let names = listed(own.iter().map(|(table, _)| *table));
        (!own.is_empty()).then(|| format!("{kind}{plural} {names}, dropped on {}", side(name, members)))
    };
    [line("table", tables), line("view", views)].into_iter().flatten().collect()
}

/// Tables of the source that have other names afterwards.
pub(super) fn renamed_tables(all: &[String], members: &BTreeMap<String, Member>) -> String {
    let names: Vec<String> = all.iter().map(|table| format!("{table} as {}", renamed(table))).collect();
    format!("the tables of {}, under other names: {}", side("source", members), names.join(", "))
}

/// Rows of a tenant.
pub(super) fn rows(all: &[String], condition: &str, members: &BTreeMap<String, Member>) -> String {
    let noun = if all.len() == 1 { "table" } else { "tables" };
    let names = listed(all.iter().map(String::as_str));
    format!("rows with {condition} of {noun} {names}, deleted on {}", side("target", members))
}

/// A shard that has been split.
pub(super) fn shard(keyspace: &str, shard: &str, left: &Leaving) -> String {
    let tablets = plural(left.tablets.len(), "tablet");
    format!("shard {keyspace}/{shard} of the source: its record, and those of {tablets}, whose databases stay as they are")
}
