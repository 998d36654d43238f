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
    // Present though 0, as in every other stream. Source: `go/vt/vtctl/workflow/workflows.go:scanWorkflow`.
    let never = Some(Time::default());
    let stream = Stream {
        shard: place.shard.clone(),
        tablet: Some(place.alias.clone().unwrap_or_else(|| TabletAlias { cell: String::new(), uid: 0 })),
        // Present though empty, as in every other stream: clients look inside without asking.
        binlog_source: Some(BinlogSource::default()),
        state: State::Unknown.as_str_name().into(),
        transaction_timestamp: never,
        time_updated: never,
        message,
        throttler_status: Some(ThrottlerStatus { component_throttled: String::new(), time_throttled: never }),
        ..Stream::default()
    };
    let streams = ShardStream {
        streams: vec![stream],
        tablet_controls: place.tablet_controls.clone(),
        is_primary_serving: place.is_primary_serving,
    };
    (place_key(&place.shard, place), streams)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract::Lost, proto::topodata::shard::TabletControl};

    /// Shards of one length of name, each with as long a text.
    fn unreached(count: u32, text_bytes: usize) -> Vec<Unreached> {
        let shard = |at: u32| Unreached {
            place: Place {
                shard: format!("s{at}"),
                alias: Some(TabletAlias { cell: "zone1".into(), uid: 100 + at }),
                tablet_controls: Vec::new(),
                is_primary_serving: true,
            },
            lost: Lost::Shard,
            message: "x".repeat(text_bytes),
        };
        (0..count).map(shard).collect()
    }

    fn texts(shards: &[Unreached], workflows: usize, room: usize) -> Vec<String> {
        let made = made(shards.iter(), workflows, room);
        made.into_iter().map(|(_, shard)| shard.streams.into_iter().map(|stream| stream.message).collect()).collect()
    }

    /// Bytes of an entry whose text has so many.
    fn entry(text_bytes: usize) -> usize {
        let (key, shard) = unknown(&unreached(1, 0)[0], "x".repeat(text_bytes));
        key.len() + shard.encoded_len() + 16
    }

    #[test]
    fn a_stand_in_says_who_did_not_answer() {
        let mut shard = unreached(1, 5).remove(0);
        let control = TabletControl { tablet_type: 2, frozen: true, ..TabletControl::default() };
        shard.place.tablet_controls = vec![control.clone()];
        let made = stand_ins(std::iter::once(&shard), 1, usize::MAX);
        let time = Some(Time { seconds: 0, nanoseconds: 0 });
        let stream = Stream {
            shard: "s0".into(),
            tablet: Some(TabletAlias { cell: "zone1".into(), uid: 100 }),
            binlog_source: Some(BinlogSource::default()),
            state: "Unknown".into(),
            transaction_timestamp: time,
            time_updated: time,
            message: "xxxxx".into(),
            throttler_status: Some(ThrottlerStatus { component_throttled: String::new(), time_throttled: time }),
            ..Stream::default()
        };
        let want = ShardStream { streams: vec![stream], tablet_controls: vec![control], is_primary_serving: true };
        assert_eq!(made.into_iter().collect::<Vec<_>>(), [("s0/zone1-0000000100".to_owned(), want.encode_to_vec())]);
        // One whose record could not be read has no tablet that is known.
        shard.place.alias = None;
        let (key, of_nobody) = unknown(&shard, String::new());
        assert_eq!(key, "s0/<nil>");
        assert_eq!(of_nobody.streams[0].tablet, Some(TabletAlias { cell: String::new(), uid: 0 }));
    }

    #[test]
    fn where_there_is_room_texts_are_told_in_200_bytes() {
        assert_eq!(texts(&unreached(2, 200), 1, usize::MAX), ["x".repeat(200), "x".repeat(200)]);
        assert_eq!(texts(&unreached(1, 201), 1, usize::MAX), [format!("{}… and 1 bytes more", "x".repeat(200))]);
        assert!(texts(&[], 1, 0).is_empty());
    }

    /// The room of all workflows is shared alike, and what an entry takes without a text comes first.
    #[test]
    fn where_there_is_less_room_texts_are_shorter() {
        let two = unreached(2, 120);
        let room = |text_bytes: usize| 2 * (entry(0) + text_bytes + 32);
        for (bytes, workflows) in [(100, 1), (40, 1), (41, 7)] {
            let cut = format!("{}… and {} bytes more", "x".repeat(bytes), 120 - bytes);
            assert_eq!(texts(&two, workflows, workflows * room(bytes)), [cut.clone(), cut], "{bytes}");
        }
        // Texts that are short all the same are told whole however little room there is, and none is longer than it was.
        assert_eq!(texts(&unreached(2, 10), 1, room(10)), ["x".repeat(10), "x".repeat(10)]);
        assert_eq!(texts(&unreached(2, 120), 1, room(150)), ["x".repeat(120), "x".repeat(120)]);
    }

    #[test]
    fn where_there_is_very_little_the_last_one_stands_for_the_others() {
        let five = unreached(5, 100);
        let cut = format!("{}… and 60 bytes more", "x".repeat(40));
        let long = entry(cut.len());
        let more = |count: usize| format!("and {count} more shards gave no answer: see the failures");
        for (room, whole, left_out) in [
            (5 * long + 32, 5, 0),
            (5 * long + 31, 3, 1),
            (4 * long + 32, 3, 1),
            (4 * long + 31, 2, 2),
            (2 * long + 32, 1, 3),
            (2 * long + 31, 0, 4),
            (0, 0, 4),
        ] {
            let mut want = vec![cut.clone(); whole];
            want.extend((left_out > 0).then(|| more(left_out)));
            assert_eq!(texts(&five, 1, room), want, "{room} bytes");
        }
    }
}
