//! Keyspaces, shards and tablets: what their records say, without asking any tablet.
//!
//! A shard without a primary is trouble, and so is a tablet whose record still claims to be one. Whether a tablet is alive is not
//! in the topology and not said here.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    health::age,
    table::{Extent, Kind, Line, Table},
    words::{UNKNOWN, known, plural, seconds, some},
};
use vtflow_planner::{
    contract::{Failure, Lost, Timestamp, host_port},
    proto::{
        topodata::{KeyspaceType, TabletType},
        vtctldata::{FindAllShardsInKeyspaceResponse, GetKeyspacesResponse, GetTabletsResponse, Keyspace, Shard},
    },
    topo::names::alias_text,
};

/// One keyspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyspaceLine {
    /// Its name.
    pub name: String,
    /// `normal`, or `snapshot of BASE`.
    pub kind: String,
    /// The durability policy; `none` when the record has none.
    pub durability: String,
    /// How many shards it has; `None` when they could not be read.
    pub shards: Option<usize>,
    /// How many of them serve.
    pub serving: Option<usize>,
    /// What there is to say. Empty when there is nothing.
    pub note: String,
    /// Whether a shard has no primary, or the shards could not be read.
    pub has_trouble: bool,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardLine {
    /// Its name.
    pub name: String,
    /// The primary's alias; empty when there is none.
    pub primary: String,
    /// Whether its primary serves queries.
    pub is_serving: bool,
    /// Seconds since the primary became that; `None` when the record does not say.
    pub primary_seconds: Option<i64>,
    /// Tables that are denied, ascending: by any of its tablet controls.
    pub denied: Vec<String>,
    /// What there is to say. Empty when there is nothing.
    pub note: String,
    /// Whether it has no primary.
    pub has_trouble: bool,
}

/// One tablet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TabletLine {
    /// Its alias.
    pub alias: String,
    /// Keyspace and shard: `customer/-80`.
    pub place: String,
    /// Its type in lower case: `primary`.
    pub kind: String,
    /// Host and gRPC port; only the host when no gRPC port is known.
    pub address: String,
    /// Seconds since a primary became that, or else since the tablet started; `None` when the record does not say.
    pub since_seconds: Option<i64>,
    /// What there is to say. Empty when there is nothing.
    pub note: String,
    /// Whether its record contradicts another one's or says that it has been shut down.
    pub has_trouble: bool,
}

/// Names of denied tables in a cell.
const DENIED_SHOWN: usize = 3;

impl Line for KeyspaceLine {
    fn has_trouble(&self) -> bool {
        self.has_trouble
    }
}

impl Line for ShardLine {
    fn has_trouble(&self) -> bool {
        self.has_trouble
    }
}

impl Line for TabletLine {
    fn has_trouble(&self) -> bool {
        self.has_trouble
    }
}

/// The lines as a table.
pub fn keyspace_table(lines: &[KeyspaceLine]) -> Table {
    let number = |n: Option<usize>| known(n.map(|n| n.to_string()));
    Table::of(lines)
        .column("Keyspace", Kind::Name(12), |line| line.name.clone())
        .column("Type", Kind::Text(12), |line| line.kind.clone())
        .column("Durability", Kind::Text(12), |line| line.durability.clone())
        .column("Shards", Kind::Word, |line| number(line.shards))
        .column("Serving", Kind::Word, |line| number(line.serving))
        .column("Note", Kind::Note, |line| line.note.clone())
        .table()
}

/// The lines as a table. `denied`: how many names of denied tables.
pub fn shard_table(lines: &[ShardLine], denied: Extent) -> Table {
    let names = |line: &ShardLine| {
        let names: Vec<&str> = line.denied.iter().map(String::as_str).collect();
        some(&names, denied.of(DENIED_SHOWN))
    };
    Table::of(lines)
        .column("Shard", Kind::Name(8), |line| line.name.clone())
        .column("Primary", Kind::Word, |line| if line.primary.is_empty() { UNKNOWN.into() } else { line.primary.clone() })
        .column("Serving", Kind::Word, |line| if line.is_serving { "yes".into() } else { "no".into() })
        .column("Since", Kind::Word, |line| seconds(line.primary_seconds))
        .column("Denied tables", Kind::Text(16), names)
        .column("Note", Kind::Note, |line| line.note.clone())
        .table()
}

/// The lines as a table.
pub fn tablet_table(lines: &[TabletLine]) -> Table {
    Table::of(lines)
        .column("Tablet", Kind::Name(16), |line| line.alias.clone())
        .column("Shard", Kind::Text(12), |line| line.place.clone())
        .column("Type", Kind::Word, |line| line.kind.clone())
        .column("Address", Kind::Text(16), |line| line.address.clone())
        .column("Since", Kind::Word, |line| seconds(line.since_seconds))
        .column("Note", Kind::Note, |line| line.note.clone())
        .table()
}

/// The names of the keyspaces that there are: those in the reply, then those whose records could not be read. What is in a keyspace does not depend
/// on its record.
pub fn keyspace_names(reply: &GetKeyspacesResponse, failures: &[Failure]) -> Vec<String> {
    let read: Vec<String> = reply.keyspaces.iter().map(|keyspace| keyspace.name.clone()).collect();
    let lost: BTreeSet<String> = failures
        .iter()
        .filter(|failure| failure.lost == Lost::Record && !failure.keyspace.is_empty())
        .map(|failure| failure.keyspace.clone())
        .filter(|name| !read.contains(name))
        .collect();
    read.into_iter().chain(lost).collect()
}

/// One line per keyspace, trouble first, then by name. Each comes with its shards, `None` when they could not be read.
pub fn keyspaces(keyspaces: &[(Keyspace, Option<FindAllShardsInKeyspaceResponse>)]) -> Vec<KeyspaceLine> {
    let mut lines: Vec<_> = keyspaces.iter().map(|(keyspace, shards)| keyspace_line(keyspace, shards.as_ref())).collect();
    lines.sort_by(|a, b| b.has_trouble.cmp(&a.has_trouble).then_with(|| a.name.cmp(&b.name)));
    lines
}

fn keyspace_line(keyspace: &Keyspace, shards: Option<&FindAllShardsInKeyspaceResponse>) -> KeyspaceLine {
    let record = keyspace.keyspace.clone().unwrap_or_default();
    let records = shards.map(|shards| shards.shards.values().collect::<Vec<_>>());
    let serves = |shard: &&&Shard| shard.shard.as_ref().is_some_and(|record| record.is_primary_serving);
    let headless: Vec<&str> =
        records.iter().flatten().filter(|shard| primary(shard).is_empty()).map(|s| s.name.as_str()).collect();
    let note = match &records {
        None => "its shards cannot be read".to_owned(),
        Some(shards) if shards.is_empty() => "no shards".to_owned(),
        Some(_) if headless.is_empty() => String::new(),
        Some(_) => format!("{} without primary: {}", plural(headless.len(), "shard"), some(&headless, 4)),
    };
    KeyspaceLine {
        name: keyspace.name.clone(),
        kind: match record.keyspace_type() {
            KeyspaceType::Normal => "normal".into(),
            KeyspaceType::Snapshot => format!("snapshot of {}", record.base_keyspace),
        },
        durability: if record.durability_policy.is_empty() { "none".into() } else { record.durability_policy },
        shards: records.as_ref().map(Vec::len),
        serving: records.as_ref().map(|shards| shards.iter().filter(serves).count()),
        note,
        has_trouble: records.is_none() || !headless.is_empty(),
    }
}

/// One line per shard, trouble first, then by name: the order of the key ranges.
pub fn shards(reply: &FindAllShardsInKeyspaceResponse, now: Timestamp) -> Vec<ShardLine> {
    let mut lines: Vec<_> = reply.shards.iter().map(|(name, shard)| shard_line(name, shard, now)).collect();
    lines.sort_by(|a, b| b.has_trouble.cmp(&a.has_trouble).then_with(|| a.name.cmp(&b.name)));
    lines
}

fn shard_line(name: &str, shard: &Shard, now: Timestamp) -> ShardLine {
    let record = shard.shard.clone().unwrap_or_default();
    let primary = primary(shard);
    let mut denied: Vec<String> = record.tablet_controls.iter().flat_map(|control| control.denied_tables.clone()).collect();
    denied.sort_unstable();
    denied.dedup();
    let is_frozen = record.tablet_controls.iter().any(|control| control.frozen);
    ShardLine {
        name: name.to_owned(),
        is_serving: record.is_primary_serving,
        primary_seconds: (!primary.is_empty()).then(|| age(record.primary_term_start_time, now)).flatten(),
        denied,
        note: if primary.is_empty() {
            "no primary".into()
        } else if is_frozen {
            "frozen: traffic is being switched".into()
        } else {
            String::new()
        },
        has_trouble: primary.is_empty(),
        primary,
    }
}

fn primary(shard: &Shard) -> String {
    let alias = shard.shard.as_ref().and_then(|record| record.primary_alias.as_ref());
    alias.filter(|alias| alias.uid != 0 || !alias.cell.is_empty()).map_or_else(String::new, |alias| alias_text(Some(alias)))
}

/// One line per tablet: trouble first, then by keyspace and shard, the primary before the others, then by alias.
pub fn tablets(reply: &GetTabletsResponse, now: Timestamp) -> Vec<TabletLine> {
    let mut lines: Vec<_> = reply
        .tablets
        .iter()
        .map(|tablet| {
            let kind = tablet.r#type();
            let is_claimed = kind == TabletType::Unknown && tablet.primary_term_start_time.is_some();
            let was_shut = tablet.tablet_shutdown_time.is_some();
            let port = tablet.port_map.get("grpc").and_then(|port| u16::try_from(*port).ok()).filter(|port| *port > 0);
            // What readers of its record take it for: a type that is not known.
            let has_no_type = kind == TabletType::Unknown && !is_claimed;
            let note = match (is_claimed, was_shut, port) {
                _ if has_no_type && !was_shut => {
                    "its type is not known: its record has none, or says primary without since when".into()
                }
                (true, ..) => "its record says primary, but another tablet became primary later".into(),
                (_, true, _) => "its record says that it was shut down".into(),
                (_, _, None) => "no gRPC port in its record".into(),
                _ => String::new(),
            };
            TabletLine {
                alias: alias_text(tablet.alias.as_ref()),
                place: format!("{}/{}", tablet.keyspace, tablet.shard),
                kind: kind.as_str_name().to_lowercase(),
                address: port.map_or_else(|| tablet.hostname.clone(), |port| host_port(&tablet.hostname, port)),
                since_seconds: age(tablet.primary_term_start_time.or(tablet.tablet_start_time), now),
                has_trouble: !note.is_empty(),
                note,
            }
        })
        .collect();
    let order = |line: &TabletLine| (!line.has_trouble, line.place.clone(), line.kind != "primary", line.alias.clone());
    lines.sort_by_cached_key(order);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtflow_planner::proto::topodata::Tablet;

    #[test]
    fn a_keyspace_whose_record_cannot_be_read_is_there() {
        let keyspace = Keyspace { name: "commerce".into(), ..Keyspace::default() };
        let failure = |keyspace: &str, lost| Failure {
            keyspace: keyspace.into(),
            shard: String::new(),
            tablet: String::new(),
            workflow: String::new(),
            lost,
            message: "bad keyspace data".into(),
        };
        let failures = [failure("customer", Lost::Record), failure("commerce", Lost::Record), failure("", Lost::Record)];
        let names = keyspace_names(&GetKeyspacesResponse { keyspaces: vec![keyspace] }, &failures);
        assert_eq!(names, ["commerce", "customer"]);
    }

    #[test]
    fn a_tablet_without_a_type_says_so() {
        let tablet = |kind: TabletType| Tablet {
            r#type: kind.into(),
            port_map: [("grpc".to_owned(), 15_999)].into(),
            ..Tablet::default()
        };
        let note = |kind| tablets(&GetTabletsResponse { tablets: vec![tablet(kind)] }, Timestamp::default()).remove(0).note;
        assert_eq!(note(TabletType::Replica), "");
        assert!(note(TabletType::Unknown).starts_with("its type is not known"), "{}", note(TabletType::Unknown));
    }
}
