//! Where a primary is and how far its streams are: `PrimaryPosition` and `VReplicationWaitForPos`.
//!
//! Rows move only here: a stream that runs is at a position as soon as somebody waits for it, one that stands still never gets there.
//! Facts: `go/vt/vttablet/tabletmanager/vreplication/engine.go:WaitForPos`; texts as recorded (`tests/recordings/switches.json`).

use std::collections::BTreeMap;

use rusqlite::types::Value as SqliteValue;
use vtflow_planner::{formats::position, proto::tabletmanagerdata::VReplicationWaitForPosRequest};

use super::streams::{NamedRow, parse_query};
use crate::mysql::{
    engine::{Engine, mysql},
    error::TabletError,
    schema::SIDECAR,
};

/// The position of a primary's binlog: snapshots hold none, so it is made from the alias and never moves.
pub(super) fn of_primary(alias: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in alias.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("MySQL56/{:08x}-0000-4000-8000-{:012x}:1-1000", hash >> 32, hash & 0xffff_ffff_ffff)
}

impl Engine {
    /// `VReplicationWaitForPos`: nothing, once the stream is there.
    ///
    /// # Errors
    ///
    /// There is no such stream, it stands still in front of the position, or the position cannot be read.
    pub fn wait_for_position(&mut self, request: &VReplicationWaitForPosRequest) -> Result<(), TabletError> {
        let VReplicationWaitForPosRequest { id, position: wanted } = request;
        let wanted_set = set(wanted.as_bytes())?;
        let sql = format!("select pos, state, message from {SIDECAR}.vreplication where id={id}");
        let (fields, rows) = self.rows(&parse_query(&sql)?, &sql, Some(SIDECAR)).map_err(|error| mysql(error, &sql))?;
        let names: Vec<String> = fields.iter().map(|field| String::from_utf8_lossy(&field.name).into_owned()).collect();
        let Some(values) = rows.first() else {
            return Err(TabletError::plain(format!("vreplication stream {id} not found")));
        };
        let row = NamedRow { names: &names, values };
        let current_set = set(&row.bytes("pos"))?;
        if contains(&current_set, &wanted_set) {
            return Ok(());
        }
        let (current, wanted_text) = (print(&current_set), print(&wanted_set));
        match row.text("state").as_str() {
            "Running" => {
                let reached = format!("MySQL56/{}", print(&joined(current_set, wanted_set)));
                let update = format!("UPDATE {SIDECAR}.vreplication SET pos = ?1 WHERE id = ?2");
                let values = vec![SqliteValue::Text(reached), SqliteValue::Integer(i64::from(*id))];
                self.change(&update, values).map_err(|error| mysql(error, &sql))
            }
            "Stopped" => {
                let message = row.text("message");
                let text =
                    format!("replication has stopped at {current} before reaching position {wanted_text}, message: {message}");
                Err(TabletError::plain(text))
            }
            // A tablet asks again and again until whoever waits gives up. Nothing changes here meanwhile.
            _ => {
                let text = format!("error waiting for pos: {wanted_text}, last pos: {current}: context deadline exceeded");
                Err(TabletError::plain(text))
            }
        }
    }
}

/// Transactions by server, as ranges in order that neither touch nor overlap.
type Set = BTreeMap<String, Vec<(u64, u64)>>;

fn set(pos: &[u8]) -> Result<Set, TabletError> {
    let text = position::decode(pos).map_err(|error| TabletError::Plain(error.reason))?;
    let mut set = Set::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let mut fields = part.split(':');
        let server = fields.next().unwrap_or_default().to_owned();
        let ranges = fields.filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        set.entry(server).or_default().extend(ranges);
    }
    Ok(set)
}

fn print(set: &Set) -> String {
    let ranges = |ranges: &Vec<(u64, u64)>| {
        let range = |(first, last): &(u64, u64)| if first == last { format!(":{first}") } else { format!(":{first}-{last}") };
        ranges.iter().map(range).collect::<Vec<_>>().concat()
    };
    set.iter().map(|(server, own)| format!("{server}{}", ranges(own))).collect::<Vec<_>>().join(",")
}

fn contains(all: &Set, some: &Set) -> bool {
    some.iter().all(|(server, ranges)| {
        let own = all.get(server).map(Vec::as_slice).unwrap_or_default();
        ranges.iter().all(|(first, last)| own.iter().any(|(from, to)| from <= first && last <= to))
    })
}

fn joined(mut all: Set, more: Set) -> Set {
    for (server, ranges) in more {
        let own = all.entry(server).or_default();
        own.extend(ranges);
        own.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (first, last) in own.drain(..) {
            match merged.last_mut() {
                Some((_, to)) if first <= to.saturating_add(1) => *to = last.max(*to),
                _ => merged.push((first, last)),
            }
        }
        *own = merged;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "65b309ae-eb92-11f1-97ea-02fc00000001";
    const B: &str = "6e3175aa-eb92-11f1-84af-02fc00000001";

    #[test]
    fn a_position_is_reached_when_all_its_transactions_are_there() {
        let of = |text: &str| set(format!("MySQL56/{text}").as_bytes()).unwrap();
        let long = of(&format!("{A}:1-10:12-20,{B}:1-5"));
        for (some, is_there) in [("1-10", true), ("3:5-7:12-20", true), ("1-11", false), ("10-12", false), ("21", false)] {
            assert_eq!(contains(&long, &of(&format!("{A}:{some}"))), is_there, "{some}");
        }
        assert!(!contains(&of(&format!("{A}:1-10")), &of(&format!("{B}:1"))));
        assert!(contains(&long, &Set::new()));
        assert_eq!(print(&joined(long, of(&format!("{A}:11,{B}:7")))), format!("{A}:1-20,{B}:1-5:7"));
    }
}
