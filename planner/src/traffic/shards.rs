//! What is wrong with the records by which the traffic of a reshard goes: shard records, what the cells serve, the streams of other
//! workflows that it takes along.

use std::collections::BTreeSet;

use super::{
    deviation::{Deviation, Mechanism as M, Rerun},
    evidence::{Evidence, Side, Stream, StreamState},
    kind::Kind,
    phase::{Facts, Half},
    repair::{self, Action, Change, streams},
    routing::{READS, Unknown, Way, is_off, partition, serves, type_name},
    text::{listed, of_streams},
};
use crate::proto::topodata::TabletType;

/// All of these. What is not known goes into `unknown`.
pub(crate) fn deviations(facts: &Facts<'_>, unknown: &mut Unknown) -> Vec<Deviation> {
    let evidence = facts.evidence;
    let mut found = Vec::new();
    if evidence.kind != Kind::Reshard {
        return found;
    }
    if facts.lacks_source_shards() {
        found.push(source_gone(facts));
        return found;
    }
    // Of a half way back both are told with it.
    if facts.half_back().is_none() {
        found.extend((facts.writes == Some(Way::Split) && !facts.forward.is_empty()).then(|| flags_mixed(facts)));
        found.extend(other_streams(facts));
    }
    found.extend(served(facts, unknown));
    found
}

fn source_gone(facts: &Facts<'_>) -> Deviation {
    let evidence = facts.evidence;
    let gone = evidence.source.shards.iter().filter(|(_, shard)| shard.record.is_missing()).map(|(name, _)| name);
    let places = gone.map(|name| format!("{}/{name}", evidence.source.keyspace));
    let delete = streams(&evidence.target, Change::Delete, |_, it| it.workflow == evidence.workflow);
    let hurts = "nobody's traffic; every command about the workflow fails";
    Deviation::new(M::SourceShardsGone, hurts).at(places).by(repair::in_place(delete))
}

fn flags_mixed(facts: &Facts<'_>) -> Deviation {
    let evidence = facts.evidence;
    let places = |side: &Side| {
        let of = |(name, shard): (&String, &super::evidence::ShardEvidence)| {
            let flag = shard.record.known()?.is_primary_serving;
            Some(format!("{}/{name} is_primary_serving: {flag}", side.keyspace))
        };
        side.shards.iter().filter_map(of).collect::<Vec<_>>()
    };
    let hurts = format!("writes to {}: vtgates still send them to shards that are closed", evidence.moved());
    let deviation = Deviation::new(M::ServingFlagsMixed, hurts)
        .since(evidence.since())
        .at(places(&evidence.source))
        .at(places(&evidence.target));
    // Without a journal nobody's switch did this: which side has the data is for people to say.
    if facts.has_journal() { deviation.rerun(Rerun::HealsAtAnyLag).by(repair::rerun(true)) } else { deviation }
}

/// Streams of other workflows on the source shards.
fn others<'a>(evidence: &'a Evidence, side: &'a Side) -> Vec<(&'a str, &'a Stream)> {
    let reverse = evidence.reverse();
    let known = side.shards.iter().filter_map(|(name, shard)| Some((name.as_str(), shard.streams.known()?)));
    let all = known.flat_map(|(name, streams)| streams.iter().map(move |stream| (name, stream)));
    all.filter(|(_, stream)| stream.workflow != evidence.workflow && stream.workflow != reverse).collect()
}

/// The names of workflows that are on both sides.
fn copied(evidence: &Evidence) -> BTreeSet<String> {
    let names = |side| others(evidence, side).into_iter().map(|(_, it)| it.workflow.clone()).collect::<BTreeSet<_>>();
    let (source, target) = (names(&evidence.source), names(&evidence.target));
    source.intersection(&target).cloned().collect()
}

/// What undoes the part of a switch that is about streams of other workflows, which it takes along from one side to the other.
pub(crate) fn undo(evidence: &Evidence, from: &Side, to: &Side) -> Vec<Action> {
    let copied = copied(evidence);
    let is_copy = |_: &str, it: &Stream| copied.contains(&it.workflow) && it.state == StreamState::Stopped;
    let delete = streams(to, Change::Delete, is_copy);
    [delete, release(evidence, from)].concat()
}

/// Streams of other workflows that a switch has stopped on a side, or sent to a position.
pub(crate) fn held<'a>(evidence: &'a Evidence, side: &'a Side) -> Vec<(&'a str, &'a Stream)> {
    let all = others(evidence, side);
    let marked: BTreeSet<&str> =
        all.iter().filter(|(_, it)| it.is_held_for_cutover()).map(|(_, it)| it.workflow.as_str()).collect();
    let is_held = |it: &Stream| it.is_held_for_cutover() || it.is_sent_on() && marked.contains(it.workflow.as_str());
    all.iter().filter(|(_, it)| is_held(it)).copied().collect()
}

/// They run again. Those that were sent to a position come first: the others tell by their message whose work that was.
fn release(evidence: &Evidence, side: &Side) -> Vec<Action> {
    let held: BTreeSet<(&str, i64)> = held(evidence, side).into_iter().map(|(shard, it)| (shard, it.id)).collect();
    let is_held = |shard: &str, it: &Stream| held.contains(&(shard, it.id));
    let sent = streams(side, Change::RunOn, |shard, it| is_held(shard, it) && it.is_sent_on());
    [sent, streams(side, Change::Release, |shard, it| is_held(shard, it) && !it.is_sent_on())].concat()
}

fn other_streams(facts: &Facts<'_>) -> Vec<Deviation> {
    let evidence = facts.evidence;
    let mut found: Vec<Deviation> = of_way_back(facts).into_iter().collect();
    let held = held(evidence, &evidence.source);
    let copied = copied(evidence);
    let held_back = self::held(evidence, &evidence.target);
    let is_held_back = |it: &Stream| held_back.iter().any(|(_, held)| std::ptr::eq(*held, it));
    let still: Vec<_> = others(evidence, &evidence.target)
        .into_iter()
        .filter(|(_, it)| copied.contains(&it.workflow) && it.state == StreamState::Stopped && !is_held_back(it))
        .collect();
    let names = |streams: &[(&str, &Stream)]| {
        let names: BTreeSet<String> = streams.iter().map(|(_, it)| it.workflow.clone()).collect();
        listed(&names)
    };
    // Behind the journal they are deleted, once their copies run. A way back makes its own, while it holds what runs.
    let originals: Vec<_> = others(evidence, &evidence.source)
        .into_iter()
        .filter(|(_, it)| held_back.is_empty() && copied.contains(&it.workflow) && it.state == StreamState::Stopped)
        .collect();
    let is_before = facts.journals == Some(super::routing::Share::None) && facts.unknown.0.is_empty();
    if !held.is_empty() && is_before && facts.writes == Some(Way::Source) {
        let hurts =
            format!("{} stand still; a vtctld refuses to go on: cannot migrate until all streams are running", names(&held));
        let run = release(evidence, &evidence.source);
        let deviation =
            Deviation::new(M::SourceStreamsStopped, hurts).at(of_streams(&evidence.source, &held)).since(evidence.since());
        // The switch itself goes on from there; who only wants them to run need not move anything for that.
        found.push(deviation.rerun(Rerun::Heals).by(repair::back([run])));
    }
    let at = of_streams(&evidence.target, &still);
    let is_copy = |_: &str, it: &Stream| copied.contains(&it.workflow) && it.state == StreamState::Stopped;
    if is_before && facts.writes == Some(Way::Source) && !still.is_empty() {
        let deviation = Deviation::new(M::StreamCopiesLeft, "nobody: the next switch makes them anew").at(at).rerun(Rerun::Heals);
        found.push(deviation.by(repair::back([streams(&evidence.target, Change::Delete, is_copy)])));
    } else if facts.has_journal() && facts.writes == Some(Way::Target) && !(still.is_empty() && originals.is_empty()) {
        let (hurts, at) = if still.is_empty() {
            let hurts = format!(
                "nobody: {} run on the new shards; on the old ones they stand still, as they did before",
                names(&originals)
            );
            (hurts, of_streams(&evidence.source, &originals))
        } else {
            (format!("{} stand still", names(&still)), at)
        };
        let original = streams(&evidence.source, Change::Delete, |_, it| copied.contains(&it.workflow));
        // What they were copied from is told by nothing any more once it is gone.
        let actions = [streams(&evidence.target, Change::Release, is_copy), original].concat();
        let by_hand = repair::Repair { direction: repair::Direction::Forward, actions };
        let deviation = Deviation::new(M::StreamCopiesStopped, hurts).at(at);
        // To a switch that sees all streams frozen and all copies running it has ended.
        let is_over = still.is_empty() && facts.frozen() == super::routing::Share::All;
        let again = |it: Deviation| it.rerun(Rerun::HealsAtAnyLag).by(repair::rerun(true));
        found.push(if is_over { deviation } else { again(deviation) }.by(by_hand));
    }
    found
}

/// Whether a cell still sends writes to the old shards.
pub(crate) fn has_cell_behind(evidence: &Evidence) -> bool {
    let is_behind = |(name, cell): (&String, &super::evidence::Cell)| {
        let served = evidence.srv_keyspace(name, cell, &mut Unknown::default());
        let way = served.and_then(|served| evidence.partition_way(served, TabletType::Primary));
        way.is_some_and(|way| way != Way::Target)
    };
    evidence.kind == Kind::Reshard && evidence.cells.known().into_iter().flatten().any(is_behind)
}

/// Streams that a switch back has stopped, where nothing else of it was done: they run on the shards that the traffic is on.
fn of_way_back(facts: &Facts<'_>) -> Option<Deviation> {
    let evidence = facts.evidence;
    let held = held(evidence, &evidence.target);
    if held.is_empty() || facts.writes != Some(Way::Target) || !facts.unknown.0.is_empty() {
        return None;
    }
    let names: BTreeSet<String> = held.iter().map(|(_, it)| it.workflow.clone()).collect();
    let hurts =
        format!("{} stand still: a switch back has stopped half-way, and what reverses goes on from there", listed(&names));
    // With those of frozen streams, which are not stopped.
    let copied = copied(evidence);
    let is_left = |it: &Stream| names.contains(&it.workflow) || it.is_frozen() && copied.contains(&it.workflow);
    let is_copy = |it: &Stream| is_left(it) && it.state == StreamState::Stopped && !it.is_held_for_cutover();
    let delete = streams(&evidence.source, Change::Delete, |_, it| is_copy(it));
    let run = release(evidence, &evidence.target);
    let found = Deviation::new(M::SourceStreamsStopped, hurts).at(of_streams(&evidence.target, &held));
    // The traffic stays where it is: that of the way forth has a journal, behind which nothing leads back.
    Some(found.rerun(Rerun::Heals).by(repair::in_place([delete, run].concat())))
}

/// What the cells serve of it.
fn served(facts: &Facts<'_>, unknown: &mut Unknown) -> Vec<Deviation> {
    let evidence = facts.evidence;
    let mut found = Vec::new();
    let (mut behind, mut absent, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for (name, cell) in unknown.of(&evidence.cells, || "cell".into()).into_iter().flatten() {
        if cell.keyspaces.get(&evidence.target.keyspace).is_some_and(super::evidence::Piece::is_missing) {
            absent.push(name);
            continue;
        }
        let Some(served) = evidence.srv_keyspace(name, cell, unknown) else { continue };
        let writes = evidence.partition_way(served, TabletType::Primary);
        if writes.is_some() && matches!(facts.writes, Some(Way::Source | Way::Target)) && writes != facts.writes {
            behind.push(name);
        }
        for of in READS {
            let Some(part) = partition(served, of) else { continue };
            let shards = evidence.source.shards.keys().chain(evidence.target.shards.keys());
            let off = shards.filter(|shard| serves(part, shard) && is_off(part, shard));
            closed.extend(off.map(|shard| (of, shard.clone(), name)));
        }
    }
    if !behind.is_empty() {
        let hurts = format!(
            "vtgates of {} send writes to {} to shards whose primaries do not serve",
            listed(behind.iter().copied()),
            evidence.moved()
        );
        let places = behind.iter().map(|cell| format!("SrvKeyspace of {} in cell {cell}", evidence.target.keyspace));
        let deviation = Deviation::new(M::CellServesOldShards, hurts).at(places);
        let is_final = facts.has_journal() || facts.half_back() == Some(Half::AfterJournal);
        found.push(if is_final { deviation.rerun(Rerun::HealsAtAnyLag).by(repair::rerun(true)) } else { deviation });
    }
    if !absent.is_empty() {
        let hurts = "every switch is refused; vtgates there know no shard of the keyspace";
        let places = absent.iter().map(|cell| format!("no SrvKeyspace of {} in cell {cell}", evidence.target.keyspace));
        found.push(Deviation::new(M::PartitionInvalid, hurts).at(places));
    }
    if !closed.is_empty() {
        let types: BTreeSet<String> = closed.iter().map(|(of, ..)| type_name(*of)).collect();
        let shards: BTreeSet<String> = closed.iter().map(|(_, shard, _)| shard.clone()).collect();
        let hurts = format!("{} reads of {} fail from the moment their tablets read it", listed(&types), listed(&shards));
        let places = closed
            .iter()
            .map(|(of, shard, cell)| format!("{}/{shard} {} in cell {cell}", evidence.target.keyspace, type_name(*of)));
        found.push(Deviation::new(M::ServedShardsClosed, hurts).at(places).rerun(Rerun::Heals).by(repair::rerun(false)));
    }
    found
}
