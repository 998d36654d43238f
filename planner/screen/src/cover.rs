//! Whether the streams of a workflow belong together: they write every part of the key range that they should, read what they need for it,
//! and all do the same.
//!
//! By names alone: what a shard owns stands in its name. Where a name is no key range nothing is said.

use std::collections::{BTreeMap, BTreeSet};

use super::words::some;
use vtflow_planner::{
    proto::{
        binlogdata::{BinlogSource, OnDdlAction},
        vtctldata::{Workflow, workflow::Stream},
    },
    topo::names::{hex, hex_text},
};

/// A part of the key range: its start, and its end; an empty end is the end of everything.
type Range = (Vec<u8>, Vec<u8>);

fn range(shard: &str) -> Option<Range> {
    let (start, end) = shard.split_once('-')?;
    let range = (hex(start).ok()?, hex(end).ok()?);
    (range.1.is_empty() || range.0 < range.1).then_some(range)
}

/// What a source says of one thing, in words.
type Told<'a> = &'a dyn Fn(&BinlogSource) -> String;

fn name((start, end): &Range) -> String {
    format!("{}-{}", hex_text(start), hex_text(end))
}

/// The parts of `all` that none of the shards owns. `None`: a name is no key range.
fn missing(shards: &BTreeSet<&str>, all: &Range) -> Option<Vec<Range>> {
    let mut ranges: Vec<Range> = shards.iter().map(|shard| range(shard)).collect::<Option<_>>()?;
    ranges.sort();
    let (mut at, end) = all.clone();
    let is_before_end = |key: &[u8]| end.is_empty() || key < end.as_slice();
    let mut gaps = Vec::new();
    for (from, to) in ranges {
        if from > at && is_before_end(&at) {
            let until = if is_before_end(&from) { from } else { end.clone() };
            gaps.push((at.clone(), until));
        }
        if to.is_empty() {
            return Some(gaps);
        }
        at = at.max(to);
    }
    if is_before_end(&at) {
        gaps.push((at, end));
    }
    Some(gaps)
}

/// From the start of the first to the end of the last.
fn hull(shards: &BTreeSet<&str>) -> Option<Range> {
    let ranges: Vec<Range> = shards.iter().map(|shard| range(shard)).collect::<Option<_>>()?;
    let start = ranges.iter().map(|(start, _)| start).min()?.clone();
    let is_open = ranges.iter().any(|(_, end)| end.is_empty());
    let end = if is_open { Vec::new() } else { ranges.iter().map(|(_, end)| end).max()?.clone() };
    Some((start, end))
}

fn streams(workflow: &Workflow) -> impl Iterator<Item = &Stream> {
    workflow.shard_streams.values().flat_map(|shard| &shard.streams)
}

/// Streams with a row: not those that stand for a shard that did not answer.
fn known(workflow: &Workflow) -> impl Iterator<Item = (&Stream, &BinlogSource)> {
    streams(workflow).filter(|stream| stream.id != 0).filter_map(|stream| Some((stream, stream.binlog_source.as_ref()?)))
}

fn is_migration(workflow: &Workflow) -> bool {
    workflow.workflow_type == "OnlineDDL"
}

/// Parts of the key range that no stream of the reply writes, by name.
fn unwritten(workflow: &Workflow) -> Option<String> {
    let sources: BTreeSet<&str> = known(workflow).map(|(_, source)| source.shard.as_str()).collect();
    let targets: BTreeSet<&str> = streams(workflow).map(|stream| stream.shard.as_str()).collect();
    let all = if workflow.workflow_type == "Reshard" { hull(&sources) } else { Some((Vec::new(), Vec::new())) };
    let unwritten = missing(&targets, &all?)?;
    let names: Vec<String> = unwritten.iter().map(name).collect();
    (!names.is_empty()).then(|| some(&names.iter().map(String::as_str).collect::<Vec<_>>(), 3))
}

/// In a reply without the streams that are stopped: parts of the key range of which no stream works, though others of the workflow do.
pub(super) fn inactive(workflow: &Workflow) -> Option<String> {
    let is_for_some =
        workflow.workflow_sub_type == "Partial" || workflow.options.as_ref().is_some_and(|it| !it.shards.is_empty());
    if is_migration(workflow) || is_for_some {
        return None;
    }
    unwritten(workflow).map(|ranges| format!("no stream that works on {ranges}"))
}

/// Parts of the key range that no stream writes, or that a stream's shard lacks, though the workflow is about them.
pub(super) fn gaps(workflow: &Workflow) -> Vec<String> {
    let has_own_shards = workflow.options.as_ref().is_some_and(|options| !options.shards.is_empty());
    // Migrations begin and end shard by shard; the others are meant for some shards only.
    if is_migration(workflow) || workflow.workflow_sub_type == "Partial" || has_own_shards {
        return Vec::new();
    }
    let mut said = Vec::new();
    said.extend(unwritten(workflow).map(|ranges| format!("no stream known on {ranges}")));
    let mut read: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (stream, source) in known(workflow) {
        read.entry(&stream.shard).or_default().insert(&source.shard);
    }
    let unread = read.iter().find_map(|(shard, sources)| {
        let gap = missing(sources, &range(shard)?)?.into_iter().next()?;
        Some(format!("{shard} reads nothing of {}", name(&gap)))
    });
    said.extend(unread);
    said
}

/// What the streams do not have in common though they should, one text for each.
pub(super) fn differences(workflow: &Workflow) -> Vec<String> {
    // The tables of a migration have another name on every shard.
    if is_migration(workflow) {
        return Vec::new();
    }
    let tables = |source: &BinlogSource| {
        let rules = source.filter.as_ref().map_or(&[][..], |filter| &filter.rules);
        let names: BTreeSet<&str> =
            rules.iter().filter(|rule| rule.filter != "exclude").map(|rule| rule.r#match.as_str()).collect();
        some(&names.into_iter().collect::<Vec<_>>(), 5)
    };
    let on_ddl =
        |source: &BinlogSource| OnDdlAction::try_from(source.on_ddl).map_or("?", |action| action.as_str_name()).to_owned();
    let stops = |source: &BinlogSource| if source.stop_after_copy { "stop" } else { "go on" }.to_owned();
    let cluster = |source: &BinlogSource| {
        let server = [source.external_cluster.as_str(), source.external_mysql.as_str()];
        server.into_iter().find(|name| !name.is_empty()).unwrap_or("this one").to_owned()
    };
    let aspects: [(&str, Told<'_>); 4] = [
        ("the same tables", &tables),
        ("the same on_ddl", &on_ddl),
        ("the same after the copy", &stops),
        ("of one cluster", &cluster),
    ];
    let said = |(what, of): (&str, Told<'_>)| {
        let mut by_value: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (stream, source) in known(workflow) {
            by_value.entry(of(source)).or_default().insert(&stream.shard);
        }
        let values: Vec<String> = by_value
            .iter()
            .map(|(value, shards)| format!("{value} on {}", some(&shards.iter().copied().collect::<Vec<_>>(), 3)))
            .collect();
        (values.len() > 1).then(|| format!("not {what} everywhere: {}", values.join("; ")))
    };
    aspects.into_iter().filter_map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_shard_owns_is_missing() {
        let missing = |shards: &[&str], all: &str| {
            let found = missing(&shards.iter().copied().collect(), &range(all).unwrap());
            found.map(|ranges| ranges.iter().map(name).collect::<Vec<_>>().join(" "))
        };
        for (shards, all, want) in [
            (&["-80", "80-"][..], "-", Some("")),
            (&["-80"], "-", Some("80-")),
            (&["80-"], "-", Some("-80")),
            (&["-40", "80-c0"], "-", Some("40-80 c0-")),
            (&["-40", "40-80"], "-80", Some("")),
            (&["-40"], "-80", Some("40-80")),
            (&["c0-"], "-80", Some("-80")),
            (&["-"], "40-80", Some("")),
            (&["0"], "-", None),
            (&["-80", "x"], "-", None),
        ] {
            assert_eq!(missing(shards, all).as_deref(), want, "{shards:?} of {all}");
        }
    }
}
