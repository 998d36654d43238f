//! What a cell serves of a keyspace that is resharded: which shards, by tablet type, and whose query service is off.
//!
//! Facts: `go/vt/topo/srv_keyspace.go` (`UpdateDisableQueryService`, `MigrateServedType`, `OrderAndCheckPartitions`), v24.

use prost::Message;

use crate::{
    proto::topodata::{KeyRange, ShardReference, ShardTabletControl, SrvKeyspace, TabletType, srv_keyspace::KeyspacePartition},
    topo::names::hex_text,
    wire::{self, put_bytes},
};

/// The field of the partitions.
const PARTITIONS: u32 = 1;

/// The parts of a record, by tablet type.
///
/// # Errors
/// The bytes are no such record.
pub(crate) fn partitions(record: &[u8]) -> Result<Vec<KeyspacePartition>, String> {
    SrvKeyspace::decode(record).map(|served| served.partitions).map_err(|error| error.to_string())
}

fn with_partitions(record: &[u8], change: impl FnOnce(&mut Vec<KeyspacePartition>)) -> Result<Vec<u8>, String> {
    let before = partitions(record)?;
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Ok(record.to_vec());
    }
    let mut out = Vec::with_capacity(record.len());
    for partition in &after {
        put_bytes(&mut out, PARTITIONS, &partition.encode_to_vec());
    }
    for (number, field) in wire::fields(record).map_err(|error| error.to_string())? {
        if number != PARTITIONS {
            out.extend_from_slice(field);
        }
    }
    Ok(out)
}

/// A key range's two ends; none is all of it.
pub(crate) fn ends(range: Option<&KeyRange>) -> (&[u8], &[u8]) {
    range.map_or((&[][..], &[][..]), |range| (range.start.as_slice(), range.end.as_slice()))
}

fn is_same(control: &ShardTabletControl, shard: &ShardReference) -> bool {
    ends(control.key_range.as_ref()) == ends(shard.key_range.as_ref())
}

/// Whether the query service of a shard's tablets is off; `None`: nothing is said of it.
pub(crate) fn is_off(partitions: &[KeyspacePartition], of: TabletType, shard: &ShardReference) -> Option<bool> {
    let partition = partitions.iter().find(|partition| partition.served_type() == of)?;
    let control = partition.shard_tablet_controls.iter().find(|control| is_same(control, shard))?;
    Some(control.query_service_disabled)
}

/// Whether a shard serves one type.
pub(crate) fn is_served(partitions: &[KeyspacePartition], of: TabletType, shard: &ShardReference) -> bool {
    let of_type = partitions.iter().filter(|partition| partition.served_type() == of);
    let mut references = of_type.flat_map(|partition| &partition.shard_references);
    references.any(|one| ends(one.key_range.as_ref()) == ends(shard.key_range.as_ref()))
}

/// The record with the query service of shards off or on; `None`: nothing is said of it.
///
/// # Errors
/// The bytes are no such record.
pub(crate) fn query_service(record: &[u8], of: TabletType, shards: &[(ShardReference, Option<bool>)]) -> Result<Vec<u8>, String> {
    with_partitions(record, |partitions| {
        for partition in partitions.iter_mut().filter(|partition| partition.served_type() == of) {
            let controls = &mut partition.shard_tablet_controls;
            for (shard, wanted) in shards {
                let place = controls.iter().position(|control| is_same(control, shard));
                match (place, wanted) {
                    (Some(place), None) => drop(controls.remove(place)),
                    (None, Some(is_off)) => controls.push(ShardTabletControl {
                        name: shard.name.clone(),
                        key_range: shard.key_range.clone(),
                        query_service_disabled: *is_off,
                    }),
                    (Some(place), Some(is_off)) => {
                        if let Some(control) = controls.get_mut(place) {
                            control.query_service_disabled = *is_off;
                        }
                    }
                    (None, None) => {}
                }
            }
        }
    })
}

/// The record with other shards serving one type. `clears`: nothing is said any more of query services, of any type.
///
/// # Errors
/// The bytes are no such record.
pub(crate) fn serve(
    record: &[u8],
    of: TabletType,
    added: &[ShardReference],
    removed: &[ShardReference],
    clears: bool,
) -> Result<Vec<u8>, String> {
    let is_in = |shards: &[ShardReference], one: &ShardReference| {
        shards.iter().any(|shard| ends(shard.key_range.as_ref()) == ends(one.key_range.as_ref()))
    };
    with_partitions(record, |partitions| {
        for partition in partitions.iter_mut() {
            if clears {
                partition.shard_tablet_controls.clear();
            }
            if partition.served_type() != of {
                continue;
            }
            let references = &mut partition.shard_references;
            references.retain(|shard| !is_in(removed, shard));
            for shard in added {
                if !is_in(references, shard) {
                    references.push(shard.clone());
                }
            }
            references.sort_by(|a, b| ends(a.key_range.as_ref()).0.cmp(ends(b.key_range.as_ref()).0));
        }
    })
}

/// What is wrong with the parts: each has to be the whole key range, each piece once. Texts of the reference.
pub(crate) fn fault(partitions: &[KeyspacePartition], cell: &str) -> Option<String> {
    for partition in partitions {
        let of = partition.served_type().as_str_name();
        let mut shards: Vec<&ShardReference> = partition.shard_references.iter().collect();
        shards.sort_by(|a, b| ends(a.key_range.as_ref()).0.cmp(ends(b.key_range.as_ref()).0));
        let first = shards.first().map(|shard| ends(shard.key_range.as_ref()).0);
        if first.is_none_or(|start| !start.is_empty()) {
            return Some(format!("keyspace partition for {of} in cell {cell} does not start with min key"));
        }
        if shards.last().is_none_or(|shard| !ends(shard.key_range.as_ref()).1.is_empty()) {
            return Some(format!("keyspace partition for {of} in cell {cell} does not end with max key"));
        }
        for (place, pair) in shards.windows(2).enumerate() {
            let [before, after] = pair else { continue };
            let (end, start) = (ends(before.key_range.as_ref()).1, ends(after.key_range.as_ref()).0);
            if end != start {
                let next = place + 1;
                return Some(format!(
                    "non-contiguous KeyRange values for {of} in cell {cell} at shard {place} to {next}: {} != {}",
                    hex_text(end),
                    hex_text(start)
                ));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(name: &str, start: &[u8], end: &[u8]) -> ShardReference {
        ShardReference { name: name.into(), key_range: Some(KeyRange { start: start.to_vec(), end: end.to_vec() }) }
    }

    fn halves() -> [ShardReference; 2] {
        [shard("-80", &[], &[0x80]), shard("80-", &[0x80], &[])]
    }

    fn whole() -> ShardReference {
        ShardReference { name: "0".into(), key_range: None }
    }

    fn record(shards: &[ShardReference]) -> Vec<u8> {
        let part = |of: TabletType| KeyspacePartition {
            served_type: of.into(),
            shard_references: shards.to_vec(),
            shard_tablet_controls: Vec::new(),
        };
        let partitions = [TabletType::Primary, TabletType::Replica].map(part).to_vec();
        [SrvKeyspace { partitions, ..SrvKeyspace::default() }.encode_to_vec(), vec![0xf8, 0x07, 1]].concat()
    }

    // TR-166.
    #[test]
    fn shards_are_served_instead_of_others() {
        let before = record(&[whole()]);
        let [left, right] = halves();
        let after = serve(&before, TabletType::Replica, &[right.clone(), left.clone()], &[whole()], false).unwrap();
        assert!(after.ends_with(&[0xf8, 0x07, 1]), "what is not known stays");
        let parts = partitions(&after).unwrap();
        assert_eq!(parts[0].shard_references, [whole()]);
        assert_eq!(parts[1].shard_references, [left.clone(), right.clone()]);
        assert_eq!(fault(&parts, "z"), None);
        assert_eq!(serve(&after, TabletType::Replica, &halves(), &[whole()], false).unwrap(), after, "done is done");
        let back = serve(&after, TabletType::Replica, &[whole()], &halves(), false).unwrap();
        assert_eq!(partitions(&back).unwrap(), partitions(&before).unwrap());
        let half = serve(&before, TabletType::Replica, &[left], &[whole()], false).unwrap();
        let text = "keyspace partition for REPLICA in cell z does not end with max key";
        assert_eq!(fault(&partitions(&half).unwrap(), "z").as_deref(), Some(text));
        let half = serve(&before, TabletType::Primary, &[right], &[whole()], false).unwrap();
        let text = "keyspace partition for PRIMARY in cell cell2 does not start with min key";
        assert_eq!(fault(&partitions(&half).unwrap(), "cell2").as_deref(), Some(text));
    }

    // TR-160, TR-161.
    #[test]
    fn query_services_are_turned_off_and_on_and_forgotten() {
        let before = record(&[whole()]);
        let off = query_service(&before, TabletType::Primary, &[(whole(), Some(true))]).unwrap();
        let said = |record: &[u8]| is_off(&partitions(record).unwrap(), TabletType::Primary, &whole());
        assert_eq!((said(&before), said(&off)), (None, Some(true)));
        let on = query_service(&off, TabletType::Primary, &[(whole(), Some(false))]).unwrap();
        assert_eq!(said(&on), Some(false));
        assert_eq!(said(&query_service(&on, TabletType::Primary, &[(whole(), None)]).unwrap()), None);
        assert_eq!(said(&serve(&off, TabletType::Replica, &[], &[], true).unwrap()), None, "of any type");
    }
}
