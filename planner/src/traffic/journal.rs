//! The migration id of a workflow's streams and the journal that is kept under it.
//!
//! Facts: `go/vt/vtctl/workflow/utils.go:HashStreams`, `traffic_switcher.go:createJournals`, v24.

use super::evidence::Journal;
use crate::formats::text_format::{self, Message, Value};

/// FNV-1 of 64 bits over the target keyspace and, in the order of texts, each stream as `shard:id`; without the sign. It is another one
/// as soon as a stream is made anew.
pub fn migration_id<'a>(keyspace: &str, streams: impl IntoIterator<Item = (&'a str, i64)>) -> i64 {
    let mut texts: Vec<String> = streams.into_iter().map(|(shard, id)| format!("{shard}:{id}")).collect();
    texts.sort_unstable();
    let bytes = keyspace.bytes().chain(texts.iter().flat_map(|text| text.bytes()));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
    (hash & (u64::MAX >> 1)).cast_signed()
}

/// What a journal says that a repair needs; of one that cannot be read, nothing: that it is there is what counts.
pub(crate) fn read(text: &[u8]) -> Journal {
    let (message, _) = text_format::parse(text);
    let mut journal = Journal::default();
    for field in &message.fields {
        match (field.name, &field.value) {
            ("shard_gtids", Some(Value::Message(_, of_shard))) => drop(position(of_shard, &mut journal)),
            ("source_workflows", Some(value)) => drop(string(value).map(|name| journal.workflows.insert(name))),
            _ => {}
        }
    }
    journal
}

fn position(of_shard: &Message<'_>, journal: &mut Journal) -> Option<()> {
    let part = |name| string(of_shard.fields.iter().find(|field| field.name == name)?.value.as_ref()?);
    journal.positions.insert(part("shard")?, part("gtid")?);
    Some(())
}

fn string(value: &Value<'_>) -> Option<String> {
    let Value::Scalar(scalar) = value else { return None };
    Some(String::from_utf8_lossy(scalar.text.as_deref()?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // TR-8, TR-9, TR-10, TR-11, TR-12, TR-13.
    #[test]
    fn ids_are_those_of_vitess() {
        assert_eq!(migration_id("targetks", [("-80", 1), ("80-", 1)]), 4_528_384_173_335_605_428);
        assert_eq!(migration_id("targetks", [("80-", 1), ("-80", 1)]), 4_528_384_173_335_605_428, "in any order");
        assert_eq!(migration_id("targetks", [("0", 1)]), 173_448_567_416_174_439);
        // The tenth is before the ninth, as texts are.
        assert_eq!(migration_id("ks", [("-40", 9), ("-40", 10), ("40-80", 1)]), 3_389_615_619_615_046_313);
        assert_eq!(migration_id("sourceks", [("0", 1), ("0", 2)]), 3_326_288_891_635_426_933);
        assert_eq!(migration_id("targetks", [("-80", 2), ("80-", 2)]), 575_802_938_054_912_990, "streams that were made anew");
        assert_eq!(migration_id("targetks", [("-80", 10), ("80-", 9)]), 6_918_783_331_700_856_488);
    }

    #[test]
    fn a_journal_says_where_reverse_streams_begin() {
        let text = br#"id:1 migration_type:SHARDS shard_gtids:{keyspace:"c" shard:"-40" gtid:"MySQL56/a:1-3"} shard_gtids:{keyspace:"c" shard:"40-80" gtid:"g"} participants:{keyspace:"c" shard:"-80"} source_workflows:"mat2""#;
        let journal = read(text);
        assert_eq!(journal.positions.get("-40").map(String::as_str), Some("MySQL56/a:1-3"));
        assert_eq!(journal.positions.len(), 2);
        assert!(journal.workflows.contains("mat2"));
        assert_eq!(read(b"\xff"), Journal::default());
    }
}
