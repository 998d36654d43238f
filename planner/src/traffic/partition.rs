//! Whether the shards that a cell serves of a keyspace make up the whole key range, each part once.
//!
//! Facts: `go/vt/topo/srv_keyspace.go:OrderAndCheckPartitions`, v24.

use std::collections::BTreeMap;

use crate::{
    proto::topodata::{SrvKeyspace, srv_keyspace::KeyspacePartition},
    topo::names,
};

/// What is wrong with each part, by its tablet type: `primary: …`; empty: nothing.
pub(crate) fn faults(served: &SrvKeyspace) -> Vec<String> {
    let fault = |partition: &KeyspacePartition| Some((super::routing::type_name(partition.served_type()), fault(partition)?));
    served.partitions.iter().filter_map(fault).map(|(of, fault)| format!("{of}: {fault}")).collect()
}

fn fault(partition: &KeyspacePartition) -> Option<String> {
    let mut ranges: BTreeMap<(Vec<u8>, Vec<u8>), &str> = BTreeMap::new();
    for shard in &partition.shard_references {
        let name = shard.name.as_str();
        let range = match (&shard.key_range, name.split_once('-')) {
            (Some(range), _) => (range.start.clone(), range.end.clone()),
            (None, None) => (Vec::new(), Vec::new()),
            (None, Some((start, end))) => match (names::hex(start), names::hex(end)) {
                (Ok(start), Ok(end)) => (start, end),
                _ => return Some(format!("shard {name} has no key range")),
            },
        };
        if ranges.insert(range, name).is_some() {
            return Some(format!("shard {name} has the range of another"));
        }
    }
    let mut end: Option<(Vec<u8>, &str)> = None;
    for ((start, next), name) in ranges {
        match &end {
            None if !start.is_empty() => return Some(format!("nothing is before {name}")),
            Some((end, before)) if end.is_empty() || *end > start => return Some(format!("{before} and {name} overlap")),
            Some((end, before)) if *end < start => return Some(format!("nothing is between {before} and {name}")),
            None | Some(_) => end = Some((next, name)),
        }
    }
    match end {
        None => Some("no shard".into()),
        Some((end, last)) if !end.is_empty() => Some(format!("nothing is behind {last}")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::topodata::ShardReference;

    #[test]
    fn gaps_and_overlaps_are_told() {
        for (shards, want) in [
            (&["0"][..], None),
            (&["-"], None),
            (&["80-", "-40", "40-80"], None),
            (&[], Some("no shard")),
            (&["-80"], Some("nothing is behind -80")),
            (&["40-80", "80-"], Some("nothing is before 40-80")),
            (&["-40", "80-"], Some("nothing is between -40 and 80-")),
            (&["-80", "40-80", "80-"], Some("-80 and 40-80 overlap")),
            (&["-40", "-80", "80-"], Some("-40 and -80 overlap")),
            (&["0", "80-"], Some("0 and 80- overlap")),
            (&["-", "0"], Some("shard 0 has the range of another")),
            (&["x-"], Some("shard x- has no key range")),
        ] {
            let reference = |name: &&str| ShardReference { name: (*name).into(), key_range: None };
            let partition = KeyspacePartition { shard_references: shards.iter().map(reference).collect(), ..Default::default() };
            assert_eq!(fault(&partition).as_deref(), want, "{shards:?}");
        }
    }
}
