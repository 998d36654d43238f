//! What a workflow has in place of the streams of shards that could not be asked: one stream with id 0 and state `Unknown` for each,
//! as many and as long as there is room for. It must not look as if there were none.

use std::collections::BTreeMap;

use prost::Message;

use crate::{
    limits,
    proto::{
        binlogdata::{BinlogSource, VReplicationWorkflowState as State},
        topodata::TabletAlias,
        vtctldata::workflow::{ShardStream, Stream, stream::ThrottlerStatus},
        vttime::Time,
    },
    topo::targets::{Place, Unreached},
    words::cut,
};

/// The key of a target's streams.
pub(super) fn place_key(shard: &str, place: &Place) -> String {
    format!("{shard}/{}", place.alias_text())
}

/// What each of so many workflows has in place of the streams of shards that could not be asked: at most `room` bytes in all. Where
/// that is little, their texts are shorter; where it is very little, the last one stands for the others too. By key, each a `ShardStream`.
pub(super) fn stand_ins<'a>(
    shards: impl Iterator<Item = &'a Unreached> + Clone,
    workflows: usize,
    room: usize,
) -> BTreeMap<String, Vec<u8>> {
    let made = made(shards, workflows, room);
    made.into_iter().map(|(key, streams)| (key, streams.encode_to_vec())).collect()
}

fn made<'a>(shards: impl Iterator<Item = &'a Unreached> + Clone, workflows: usize, room: usize) -> Vec<(String, ShardStream)> {
    let room = room.min(limits::STAND_INS_BYTES) / workflows.max(1);
    let count = shards.clone().count();
    let bare: usize = shards.clone().map(|shard| bytes_of(&unknown(shard, String::new()))).sum();
    let text_bytes = (room.saturating_sub(bare) / count.max(1)).saturating_sub(CUT_BYTES).min(limits::REPEATED_BYTES);
    let is_short = |shard: &Unreached| shard.message.len() <= text_bytes;
    if text_bytes >= SHORTEST_TEXT || shards.clone().all(is_short) {
        return shards.map(|shard| unknown(shard, cut(shard.message.clone(), text_bytes))).collect();
    }
    let mut made: Vec<(String, ShardStream)> = Vec::new();
    let mut bytes = 0;
    for (at, shard) in shards.enumerate() {
        let next = unknown(shard, cut(shard.message.clone(), SHORTEST_TEXT));
        bytes += bytes_of(&next);
        if bytes + CUT_BYTES > room && at > 0 {
            let more = count - at;
            if let Some(stream) = made.last_mut().and_then(|(_, shard)| shard.streams.last_mut()) {
                stream.message = format!("and {more} more shards gave no answer: see the failures");
            }
            break;
        }
        made.push(next);
    }
    made
}

fn bytes_of((key, streams): &(String, ShardStream)) -> usize {
    key.len() + streams.encoded_len() + ENTRY_BYTES
}

/// What a field and its length take, or an entry of a map, at most.
pub(super) const ENTRY_BYTES: usize = 16;

/// Bytes that say how much of a text is missing, at most.
const CUT_BYTES: usize = 32;

/// Bytes of a text that says something.
const SHORTEST_TEXT: usize = 40;

/// The stand-in for the streams of a shard that could not be asked.
fn unknown(shard: &Unreached, message: String) -> (String, ShardStream) {
    let place = &shard.place;
    let stream = Stream {
        shard: place.shard.clone(),
        tablet: Some(place.alias.clone().unwrap_or_else(|| TabletAlias { cell: String::new(), uid: 0 })),
        // Present though empty, as in every other stream: clients look inside without asking.
        binlog_source: Some(BinlogSource::default()),
        state: State::Unknown.as_str_name().into(),
        transaction_timestamp: time(0),
        time_updated: time(0),
        message,
        throttler_status: Some(ThrottlerStatus { component_throttled: String::new(), time_throttled: time(0) }),
        ..Stream::default()
    };
    let streams = ShardStream {
        streams: vec![stream],
        tablet_controls: place.tablet_controls.clone(),
        is_primary_serving: place.is_primary_serving,
    };
    (place_key(&place.shard, place), streams)
}

/// Always present, also when 0. Source: `go/vt/vtctl/workflow/workflows.go:scanWorkflow`.
#[allow(clippy::unnecessary_wraps, reason = "every time field of the reply is a message field")]
fn time(seconds: i64) -> Option<Time> {
    Some(Time { seconds, nanoseconds: 0 })
}
