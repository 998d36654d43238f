//! Positions that are compared: which of two has all transactions of the other, and what is missing.
//!
//! Facts: `go/mysql/replication/replication_position.go:AtLeast`, `mysql56_gtid_set.go:Contains`. Of other flavors only equal ones are told.

use std::collections::BTreeMap;

use crate::formats::position;

/// The transactions of a position, joined where they touch.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Set {
    /// By server: the first and last of each run, in their order.
    Intervals(BTreeMap<String, Vec<(u64, u64)>>),
    /// Of another flavor: its text.
    Text(String),
}

impl Set {
    fn read(pos: &str) -> Option<Self> {
        let set = position::decode(pos.as_bytes()).ok()?;
        if !pos.starts_with("MySQL56/") {
            return Some(Self::Text(set));
        }
        let mut servers: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        for part in set.split(',').filter(|part| !part.is_empty()) {
            let (server, intervals) = part.split_once(':')?;
            let runs = servers.entry(server.to_owned()).or_default();
            for interval in intervals.split(':') {
                let (first, last) = interval.split_once('-').unwrap_or((interval, interval));
                let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
                match runs.last_mut() {
                    Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                    _ => runs.push((first, last)),
                }
            }
        }
        Some(Self::Intervals(servers))
    }

    /// What of these runs is in none of those; both are in their order.
    fn left(wanted: &[(u64, u64)], own: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut left = Vec::new();
        for &(first, last) in wanted {
            let mut next = first;
            for &(from, to) in own.iter().filter(|(from, to)| *to >= first && *from <= last) {
                if from > next {
                    left.push((next, from - 1));
                }
                next = next.max(to.saturating_add(1));
            }
            if next <= last {
                left.push((next, last));
            }
        }
        left
    }

    fn has(&self, other: &Self) -> bool {
        let (Self::Intervals(own), Self::Intervals(wanted)) = (self, other) else { return self == other };
        wanted.iter().all(|(server, wanted)| {
            let own = own.get(server).map(Vec::as_slice).unwrap_or_default();
            wanted.iter().all(|(first, last)| own.iter().any(|(from, to)| from <= first && last <= to))
        })
    }
}

/// Whether a position, with its flavor, has every transaction of another; `None`: one of them is no position.
pub(crate) fn has(pos: &str, wanted: &str) -> Option<bool> {
    Some(Set::read(pos)?.has(&Set::read(wanted)?))
}

/// What a set of MySQL's transactions lacks of another one, both without flavor; empty: nothing. `None`: one of them is no such set.
pub(crate) fn missing(own: &str, wanted: &str) -> Option<String> {
    let set = |text: &str| match Set::read(&format!("MySQL56/{text}"))? {
        Set::Intervals(servers) => Some(servers),
        Set::Text(_) => None,
    };
    let (own, wanted) = (set(own)?, set(wanted)?);
    let left = wanted.iter().filter_map(|(server, wanted)| {
        let left = Set::left(wanted, own.get(server).map(Vec::as_slice).unwrap_or_default());
        let run = |(first, last): &(u64, u64)| if first == last { format!(":{first}") } else { format!(":{first}-{last}") };
        (!left.is_empty()).then(|| format!("{server}{}", left.iter().map(run).collect::<String>()))
    });
    Some(left.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::{has, missing};

    const A: &str = "14b68925-696a-11ea-aee7-fec597a91f5e";
    const B: &str = "24b68925-696a-11ea-aee7-fec597a91f5e";

    #[test]
    fn the_larger_position_has_the_smaller() {
        for (one, other, forth, back) in [
            (format!("MySQL56/{A}:1-10"), format!("MySQL56/{A}:1-9"), true, false),
            (format!("MySQL56/{A}:1-10"), format!("MySQL56/{A}:1-10"), true, true),
            (format!("MySQL56/{A}:1-5:6-10"), format!("MySQL56/{A}:1-10"), true, true),
            (format!("MySQL56/{A}:1-5:3-10"), format!("MySQL56/{A}:1-10"), true, true),
            (format!("MySQL56/{A}:1-10:3-5"), format!("MySQL56/{A}:6-10"), true, false),
            (format!("MySQL56/{A}:1-5:7-10"), format!("MySQL56/{A}:1-10"), false, true),
            ("MySQL56/".into(), format!("MySQL56/{A}:1"), false, true),
            (format!("MySQL56/{A}:1-3,{B}:1-2"), format!("MySQL56/{A}:1-3"), true, false),
            (format!("MySQL56/{A}:1-3,{B}:1"), format!("MySQL56/{A}:1-2,{B}:1-2"), false, false),
            ("FilePos/a:1".into(), "FilePos/a:1".into(), true, true),
            ("FilePos/a:1".into(), "FilePos/a:2".into(), false, false),
        ] {
            assert_eq!((has(&one, &other), has(&other, &one)), (Some(forth), Some(back)), "{one} {other}");
        }
        assert_eq!(has("<position of x>", "MySQL56/"), None);
    }

    #[test]
    fn what_a_set_lacks_is_told_to_the_transaction() {
        for (own, wanted, want) in [
            (format!("{A}:1-10"), format!("{A}:1-10"), Some(String::new())),
            (format!("{A}:1-10"), String::new(), Some(String::new())),
            (String::new(), format!("{A}:1-3"), Some(format!("{A}:1-3"))),
            (format!("{A}:1-10"), format!("{A}:1-11"), Some(format!("{A}:11"))),
            (format!("{A}:1-3:6:9-12"), format!("{A}:2-10"), Some(format!("{A}:4-5:7-8"))),
            (format!("{A}:5-6"), format!("{A}:1-2:4-9"), Some(format!("{A}:1-2:4:7-9"))),
            // As MySQL prints them.
            (format!("{A}:1-10"), format!("{A}:1-10,\n{B}:1-2"), Some(format!("{B}:1-2"))),
            ("0-1-7".into(), format!("{A}:1"), None),
            ("binlog.000001:4".into(), format!("{A}:1"), None),
            (format!("{A}:1"), "0-1-7".into(), None),
        ] {
            assert_eq!(missing(&own, &wanted), want, "{own} {wanted}");
        }
    }
}
