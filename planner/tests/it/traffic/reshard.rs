//! Evidence of reshards, as each phase leaves it.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use vtflow_planner::{
    proto::topodata::{ShardReference, ShardTabletControl, SrvKeyspace, TabletType, srv_keyspace::KeyspacePartition},
    traffic::{
        evidence::{Evidence, Piece, Side, StreamState},
        kind::Kind,
    },
};

use super::evidence::{
    ALL, cells, create_reverse, freeze, no_rules, not_switched, shard, side, stream, streams, two_cells, write_journals,
};

pub(super) const OLD: [&str; 2] = ["-80", "80-"];
pub(super) const NEW: [&str; 3] = ["-40", "40-80", "80-"];

/// What a cell serves of one type.
pub(super) fn part(of: TabletType, shards: &[&str], off: &[(&str, bool)]) -> KeyspacePartition {
    KeyspacePartition {
        served_type: of.into(),
        shard_references: shards.iter().map(|name| ShardReference { name: (*name).into(), key_range: None }).collect(),
        shard_tablet_controls: off
            .iter()
            .map(|(name, off)| ShardTabletControl { name: (*name).into(), key_range: None, query_service_disabled: *off })
            .collect(),
    }
}

pub(super) fn serve_shards(evidence: &mut Evidence, names: &[&str], parts: &[KeyspacePartition; 3]) {
    for name in names {
        let served = SrvKeyspace { partitions: parts.to_vec(), ..SrvKeyspace::default() };
        cells(evidence).get_mut(*name).unwrap().keyspaces.insert("customer".into(), Piece::Known(served));
    }
}

pub(super) fn all_of(shards: &[&str]) -> [KeyspacePartition; 3] {
    ALL.map(|of| part(of, shards, &[]))
}

/// A reshard of one shard into two, with a stream of another workflow on it.
pub(super) fn reshard() -> Evidence {
    let reads = |id| stream(id, "r1", ("customer", "-80"), StreamState::Working, "");
    let other = stream(25, "mat2", ("commerce", "0"), StreamState::Working, "");
    let mut evidence = Evidence {
        workflow: "r1".into(),
        kind: Kind::Reshard,
        source: side("customer", vec![("-80", shard(200, true, vec![other]))]),
        target: side("customer", vec![("-40", shard(400, false, vec![reads(1)])), ("40-80", shard(500, false, vec![reads(1)]))]),
        tables: BTreeSet::new(),
        cells: two_cells(&BTreeMap::new()),
        rules: no_rules(),
        ..not_switched()
    };
    serve_shards(&mut evidence, &["zone1", "zone2"], &all_of(&OLD));
    evidence
}

pub(super) fn set_serving(side: &mut Side, is_serving: bool) {
    for shard in side.shards.values_mut() {
        let Piece::Known(record) = &mut shard.record else { panic!("a record") };
        record.is_primary_serving = is_serving;
    }
}

pub(super) fn reshard_reads() -> Evidence {
    let mut evidence = reshard();
    let reads = [("-80", true), ("-40", false), ("40-80", false)];
    let parts = [part(ALL[0], &OLD, &[]), part(ALL[1], &NEW, &reads), part(ALL[2], &NEW, &reads)];
    serve_shards(&mut evidence, &["zone1", "zone2"], &parts);
    evidence
}

/// Streams of the other workflow are on the target shards.
pub(super) fn take_along(evidence: &mut Evidence, state: StreamState) {
    for shard in ["-40", "40-80"] {
        streams(&mut evidence.target, shard).push(stream(2, "mat2", ("commerce", "0"), state, ""));
    }
}

pub(super) fn reshard_writes() -> Evidence {
    let mut evidence = reshard();
    serve_shards(&mut evidence, &["zone1", "zone2"], &all_of(&NEW));
    set_serving(&mut evidence.source, false);
    set_serving(&mut evidence.target, true);
    write_journals(&mut evidence, 1);
    streams(&mut evidence.source, "-80").clear();
    create_reverse(&mut evidence, StreamState::Working, "");
    freeze(&mut evidence);
    take_along(&mut evidence, StreamState::Working);
    evidence
}

pub(super) fn reshard_reversed() -> Evidence {
    let mut evidence = reshard();
    create_reverse(&mut evidence, StreamState::Stopped, "FROZEN");
    evidence
}

/// The source shards are closed for a switch.
pub(super) fn reshard_closed() -> Evidence {
    let mut evidence = reshard();
    let parts = [part(ALL[0], &OLD, &[("-80", true)]), part(ALL[1], &OLD, &[]), part(ALL[2], &OLD, &[])];
    serve_shards(&mut evidence, &["zone1", "zone2"], &parts);
    evidence
}
