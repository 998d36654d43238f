//! A workflow as a picture: which shards it reads, which it writes, and a band for each stream between two of them.
//!
//! Places and shares only; colours and curves are the page's. A shard's place is the part of the key range that it owns: that
//! is what people look for when a reshard is in trouble.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    health::{Health, lag},
    words::{count, duration, message, plural},
};
use vtflow_planner::{
    contract::Timestamp,
    proto::vtctldata::{Workflow, workflow::ReplicationLocation},
    topo::names::{alias_text, hex},
};

/// One workflow, drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Picture {
    /// The shards it reads, by keyspace and place.
    pub sources: Vec<Lane>,
    /// The shards it writes, by keyspace and place.
    pub targets: Vec<Lane>,
    /// Its streams: by target, source and id.
    pub bands: Vec<Band>,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lane {
    /// Its keyspace.
    pub keyspace: String,
    /// Its name.
    pub shard: String,
    /// Where its key range begins: 0 to 1. 0 for a name that is no key range, which owns everything.
    pub from: f64,
    /// Where it ends: 0 to 1.
    pub to: f64,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// Index in [`Picture::sources`]; `None` if it is not known where it reads.
    pub source: Option<usize>,
    /// Index in [`Picture::targets`].
    pub target: usize,
    /// Its id on its tablet; 0 stands for all streams of a shard that gave no answer.
    pub id: i64,
    /// The tablet's alias.
    pub tablet: String,
    /// Its state; `Lagging` and `waiting` as in a workflow's line.
    pub state: &'static str,
    /// Whether anything is wrong with it.
    pub has_trouble: bool,
    /// Seconds that it is behind what it reads; `None` when it has no lag, or it is not known.
    pub lag_seconds: Option<i64>,
    /// Rows copied since it was created.
    pub rows_copied: i64,
    /// Tables that are still to be copied.
    pub tables_left: usize,
    /// Its message. Empty when there is none.
    pub message: String,
    /// All of it in words: `commerce/0 to customer/-80, stream 7 on zone1-0000000100, Running, lag 2s, 9,999 rows copied`.
    pub label: String,
}

impl Band {
    fn label(&self, sources: &[Lane], targets: &[Lane]) -> String {
        let lane =
            |lane: Option<&Lane>| lane.map_or_else(|| "unknown".into(), |lane| format!("{}/{}", lane.keyspace, lane.shard));
        let number = if self.id == 0 { "not known".into() } else { self.id.to_string() };
        let (source, target) = (self.source.and_then(|at| sources.get(at)), targets.get(self.target));
        let mut parts = vec![
            format!("{} to {}", lane(source), lane(target)),
            format!("stream {number} on {}", self.tablet),
            self.state.to_owned(),
        ];
        parts.extend(self.lag_seconds.map(|lag| format!("lag {}", duration(lag))));
        parts.push(format!("{} rows copied", count(self.rows_copied)));
        parts.extend((self.tables_left > 0).then(|| format!("{} to copy", plural(self.tables_left, "table"))));
        parts.extend(Some(self.message.clone()).filter(|message| !message.is_empty()));
        parts.join(", ")
    }
}

/// Draws a workflow.
pub fn picture(workflow: &Workflow, now: Timestamp) -> Picture {
    let keyspace = |location: Option<&ReplicationLocation>| location.map_or_else(String::new, |l| l.keyspace.clone());
    let target_keyspace = keyspace(workflow.target.as_ref());
    let streams = || {
        let of_shard = |(key, shard)| std::iter::repeat(key).zip(shard);
        workflow.shard_streams.iter().flat_map(move |(key, shard)| of_shard((key, &shard.streams)))
    };
    let mut sources = named(workflow.source.as_ref());
    let mut targets = named(workflow.target.as_ref());
    for (_, stream) in streams() {
        targets.insert((target_keyspace.clone(), stream.shard.clone()));
        if let Some(source) = stream.binlog_source.as_ref().filter(|source| !source.shard.is_empty()) {
            sources.insert((source.keyspace.clone(), source.shard.clone()));
        }
    }
    let (sources, targets) = (lanes(sources), lanes(targets));
    let at = |lanes: &[Lane], keyspace: &str, shard: &str| {
        lanes.iter().position(|lane| lane.keyspace == keyspace && lane.shard == shard)
    };
    let band = |(key, stream): (&String, &vtflow_planner::proto::vtctldata::workflow::Stream)| {
        let health = Health::of(stream, now);
        let source = stream.binlog_source.as_ref();
        let tablet = stream.tablet.as_ref().map(|alias| alias_text(Some(alias)));
        let mut band = Band {
            source: source.and_then(|source| at(&sources, &source.keyspace, &source.shard)),
            target: at(&targets, &target_keyspace, &stream.shard)?,
            id: stream.id,
            tablet: tablet.unwrap_or_else(|| key.split_once('/').map_or("", |(_, tablet)| tablet).to_owned()),
            state: health.word(),
            has_trouble: health.is_trouble(),
            lag_seconds: lag(workflow, stream, now),
            rows_copied: stream.rows_copied,
            tables_left: stream.copy_states.len(),
            message: message(&stream.message),
            label: String::new(),
        };
        band.label = band.label(&sources, &targets);
        Some(band)
    };
    let mut bands: Vec<Band> = streams().filter_map(band).collect();
    bands.sort_by_key(|band| (band.target, band.source, band.id));
    Picture { sources, targets, bands }
}

fn named(location: Option<&ReplicationLocation>) -> BTreeSet<(String, String)> {
    location.map_or_else(BTreeSet::new, |l| l.shards.iter().map(|shard| (l.keyspace.clone(), shard.clone())).collect())
}

fn lanes(shards: BTreeSet<(String, String)>) -> Vec<Lane> {
    let lane = |(keyspace, shard): (String, String)| {
        let (from, to) = shares(&shard);
        Lane { keyspace, shard, from, to }
    };
    let mut lanes: Vec<Lane> = shards.into_iter().map(lane).collect();
    lanes.sort_by(|a, b| a.keyspace.cmp(&b.keyspace).then(a.from.total_cmp(&b.from)).then_with(|| a.shard.cmp(&b.shard)));
    lanes
}

/// The part of the key range that a shard owns; everything if its name is no key range.
fn shares(shard: &str) -> (f64, f64) {
    let all = (0.0, 1.0);
    let Some((start, end)) = shard.split_once('-') else { return all };
    let (Ok(start), Ok(end)) = (hex(start), hex(end)) else { return all };
    let range = (share(&start), if end.is_empty() { 1.0 } else { share(&end) });
    if range.0 < range.1 { range } else { all }
}

/// A key as a number from 0 to 1: its bytes are the digits after the point, in base 256.
fn share(key: &[u8]) -> f64 {
    key.iter().take(6).rev().fold(0.0, |share, byte| (share + f64::from(*byte)) / 256.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use vtflow_planner::proto::{
        binlogdata::BinlogSource,
        vtctldata::workflow::{ShardStream, Stream},
        vttime::Time,
    };

    const NOW: Timestamp = Timestamp { seconds: 1000, nanos: 0 };

    fn stream(id: i64, source: &str, shard: &str, updated: i64) -> Stream {
        Stream {
            id,
            shard: shard.into(),
            binlog_source: Some(BinlogSource { keyspace: "from".into(), shard: source.into(), ..BinlogSource::default() }),
            state: "Running".into(),
            position: "x".into(),
            time_updated: Some(Time { seconds: updated, nanoseconds: 0 }),
            rows_copied: 10 * id,
            ..Stream::default()
        }
    }

    #[test]
    fn shards_stand_where_their_keys_are() {
        assert_eq!(shares("-80"), (0.0, 0.5));
        assert_eq!(shares("80-c0"), (0.5, 0.75));
        assert_eq!(shares("c0-"), (0.75, 1.0));
        assert_eq!(shares("-0180"), (0.0, 1.5 / 256.0));
        for all in ["0", "-", "80-40", "xx-", "80-80", "a-b-c", ""] {
            assert_eq!(shares(all), (0.0, 1.0), "{all}");
        }
    }

    #[test]
    fn every_stream_is_a_band_between_its_shards() {
        let shards = [
            ("-80/zone1-0000000100", vec![stream(2, "-40", "-80", 999), stream(1, "40-80", "-80", 900)]),
            ("80-/zone1-0000000200", vec![Stream { shard: "80-".into(), state: "Unknown".into(), ..Stream::default() }]),
        ];
        let shards = shards.map(|(key, streams)| (key.to_owned(), ShardStream { streams, ..ShardStream::default() }));
        let workflow = Workflow {
            target: Some(ReplicationLocation { keyspace: "to".into(), shards: vec!["80-".into(), "-80".into()] }),
            source: Some(ReplicationLocation {
                keyspace: "from".into(),
                shards: vec!["40-80".into(), "-40".into(), "80-".into()],
            }),
            shard_streams: BTreeMap::from(shards),
            ..Workflow::default()
        };
        let picture = picture(&workflow, NOW);
        let names = |lanes: &[Lane]| lanes.iter().map(|lane| lane.shard.clone()).collect::<Vec<_>>();
        assert_eq!(names(&picture.sources), ["-40", "40-80", "80-"]);
        assert_eq!(names(&picture.targets), ["-80", "80-"]);
        let bands: Vec<_> = picture.bands.iter().map(|b| (b.source, b.target, b.id, b.state, b.lag_seconds)).collect();
        let missing = (None, 1, 0, "Unknown", None);
        assert_eq!(bands, [(Some(0), 0, 2, "Running", Some(1)), (Some(1), 0, 1, "Lagging", Some(100)), missing]);
        assert_eq!(picture.bands[2].tablet, "zone1-0000000200");
        let said = "from/40-80 to to/-80, stream 1 on zone1-0000000100, Lagging, lag 100s, 10 rows copied";
        assert_eq!(picture.bands[1].label, said);
        let unknown = "unknown to to/80-, stream not known on zone1-0000000200, Unknown, 0 rows copied";
        assert_eq!(picture.bands[2].label, unknown);
    }
}
