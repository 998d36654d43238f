//! What a switch leaves behind that stopped before its journal, and by which it is told.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cutover::{
        request::{Direction, Goal},
        scene::{Member, Scene, Stream},
        served,
        stored::Stored,
    },
    proto::{binlogdata::VReplicationWorkflowState as State, topodata::TabletType},
    traffic::kind::Kind,
};

/// Whether the source's shards, or some of them, take no writes.
pub(super) fn is_closed(
    kind: Kind,
    tables: &[String],
    sources: &BTreeMap<String, Member>,
    srv_keyspaces: &BTreeMap<String, Stored>,
) -> bool {
    !closed(kind, tables, sources, srv_keyspaces).is_empty()
}

/// The shards of the source that take no writes, or not all.
pub(super) fn closed(
    kind: Kind,
    tables: &[String],
    sources: &BTreeMap<String, Member>,
    srv_keyspaces: &BTreeMap<String, Stored>,
) -> BTreeSet<String> {
    let own = |is_it: &dyn Fn(&Member) -> bool| sources.values().filter(|on| is_it(on)).map(|on| on.shard.clone()).collect();
    if kind != Kind::Reshard {
        return own(&|on| {
            let denied = on.denied();
            tables.iter().any(|table| denied.contains(table))
        });
    }
    let partitions: Vec<_> = srv_keyspaces.values().map(|stored| served::partitions(&stored.value).unwrap_or_default()).collect();
    own(&|on| partitions.iter().any(|of| served::is_off(of, TabletType::Primary, &on.reference()) == Some(true)))
}

/// Whether a stream of the other direction was created by a switch that did not come to start it.
pub(super) fn is_left(stream: &Stream) -> bool {
    stream.state == State::Stopped.as_str_name() && stream.message.is_empty()
}

/// Whether a request finds the opposite of it begun and without a journal yet: that is taken back.
pub(super) fn is_wanted(goal: &Goal, scene: &Scene) -> bool {
    // What is to be taken back then is a way back.
    if goal.direction == Direction::Forward && scene.is_reversal {
        return goal.writes && scene.journals.is_empty();
    }
    let is_back = goal.direction == Direction::Backward && goal.writes && !scene.is_reversal && !scene.are_writes_switched;
    let is_begun = scene.streams.iter().any(Stream::is_stopped_for_cutover)
        || scene.reverse_streams.iter().any(is_left)
        || !scene.others.held.is_empty()
        || !scene.others.copies.is_empty()
        || is_closed(scene.kind, &scene.tables, &scene.sources, &scene.srv_keyspaces);
    is_back && is_begun && scene.journals.is_empty()
}
