//! What a switch leaves behind that stopped before its journal, and by which it is told.

use std::collections::BTreeMap;

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
    if kind != Kind::Reshard {
        return sources.values().any(|on| tables.iter().any(|table| on.denied().contains(table)));
    }
    srv_keyspaces.values().any(|stored| {
        let partitions = served::partitions(&stored.value).unwrap_or_default();
        sources.values().any(|on| served::is_off(&partitions, TabletType::Primary, &on.reference()) == Some(true))
    })
}

/// Whether a stream of the other direction was created by a switch that did not come to start it.
pub(super) fn is_left(stream: &Stream) -> bool {
    stream.state == State::Stopped.as_str_name() && stream.message.is_empty()
}

/// Whether a request for the way back finds a switch that was begun and has no journal yet.
pub(super) fn is_wanted(goal: &Goal, scene: &Scene) -> bool {
    let is_back = goal.direction == Direction::Backward && goal.writes && !scene.is_reversal && !scene.are_writes_switched;
    let is_begun = scene.streams.iter().any(Stream::is_stopped_for_cutover)
        || scene.reverse_streams.iter().any(is_left)
        || is_closed(scene.kind, &scene.tables, &scene.sources, &scene.srv_keyspaces);
    is_back && is_begun && scene.journals.is_empty()
}
