//! Which streams of other workflows go along when shards are split or joined, what speaks against it, and the copies that they have on the
//! target's shards.
//!
//! Facts and texts: `go/vt/vtctl/workflow/stream_migrator.go` (`readSourceStreams`, `createTargetStreams`), v24. What it does not do:
//! frozen streams stay frozen; a stream that has failed, or changes a table, is not taken along; copies are made where rows of the shard
//! go, and have every column of their stream.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    row::OtherStream,
    select::table,
    template::{Has, filled, tables, template},
};
use crate::{
    cutover::member::Member,
    formats::source_text,
    proto::{binlogdata::BinlogSource, vschema::Keyspace},
};

/// A stream that goes along.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) stream: OtherStream,
    /// What it reads, with the key range left open.
    pub(super) template: BinlogSource,
    /// Whether it reads a shard that is split or joined itself: its copies read the target's shards, from where they are.
    pub(crate) is_inner: bool,
}

/// What there is of other workflows on the shards of a reshard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    /// Those that go along, in the order of the source's shards and of ids.
    pub(crate) moved: Vec<Moved>,
    /// Why they cannot; `None`: they can.
    pub(crate) refusal: Option<String>,
    /// Those that a switch had stopped, whether it came to its journal or not.
    pub(crate) held: Vec<OtherStream>,
    /// What a switch has made of them on the target's shards, and not started.
    pub(crate) copies: Vec<OtherStream>,
    /// All streams of other workflows on the target's shards.
    there: Vec<OtherStream>,
    /// Of a switch that is past its journal: the names that it has.
    pub(crate) journaled: Option<BTreeSet<String>>,
    /// Of such a switch: streams of the source that have gone along.
    gone: Vec<OtherStream>,
}

/// A copy that a switch makes.
#[derive(Clone, Debug)]
pub(super) struct Copy<'a> {
    /// Whose copy it is.
    pub(super) of: &'a Moved,
    /// The shard of the target that gets it.
    pub(super) shard: String,
    pub(super) source: String,
    /// The shard of the target whose position it begins at; `None`: where its stream has stopped.
    pub(super) begins_at: Option<String>,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// By shard of the source, its primary's streams.
    pub(crate) on_source: BTreeMap<String, Vec<OtherStream>>,
    pub(crate) on_target: BTreeMap<String, Vec<OtherStream>>,
    /// By shard of the source, ids of streams that are copying.
    pub(crate) copying: BTreeMap<String, BTreeSet<i64>>,
}

/// Whose shards they are.
pub(crate) struct About<'a> {
    pub(crate) keyspace: &'a str,
    pub(crate) workflow: &'a str,
    pub(crate) reverse: &'a str,
    pub(crate) sources: &'a BTreeMap<String, Member>,
    pub(crate) vschema: &'a Keyspace,
    /// Names in the journal; `None`: there is no journal.
    pub(crate) journaled: Option<BTreeSet<String>>,
}

impl Others {
    /// Looks through what was read.
    pub(crate) fn of(found: &Found, about: About<'_>) -> Self {
        let is_other = |it: &&OtherStream| it.workflow != about.workflow && it.workflow != about.reverse;
        let there: Vec<OtherStream> = found.on_target.values().flatten().filter(is_other).cloned().collect();
        let on_source: Vec<&OtherStream> = found.on_source.values().flatten().filter(is_other).collect();
        let marked: BTreeSet<&str> = on_source.iter().filter(|it| it.is_held()).map(|it| it.workflow.as_str()).collect();
        let is_held = |it: &OtherStream| it.is_held() || it.is_at_position() && marked.contains(it.workflow.as_str());
        let held = on_source.iter().filter(|it| is_held(it)).map(|it| (*it).clone()).collect();

        let names: BTreeSet<&str> = on_source.iter().map(|it| it.workflow.as_str()).collect();
        let is_named = |it: &OtherStream| match &about.journaled {
            Some(journaled) => journaled.contains(&it.workflow),
            None => names.contains(it.workflow.as_str()),
        };
        let is_left = |it: &&OtherStream| is_named(it) && it.is_copy() && !is_whole(it, about.vschema);
        let copies = there.iter().filter(is_left).cloned().collect();
        let frozen: BTreeSet<&str> = there.iter().filter(|it| it.is_frozen()).map(|it| it.workflow.as_str()).collect();
        let is_gone = |it: &OtherStream| {
            let goes = is_named(it) || it.is_frozen() && frozen.contains(it.workflow.as_str());
            about.journaled.is_some() && goes && !is_whole(it, about.vschema)
        };
        let gone = on_source.iter().filter(|it| is_gone(it)).map(|it| (*it).clone()).collect();

        let (mut moved, mut refusal) = (Vec::new(), None);
        for (shard, streams) in &found.on_source {
            let streams: Vec<&OtherStream> = streams.iter().filter(|it| it.workflow != about.reverse).collect();
            match of_shard(shard, &streams, found.copying.get(shard), &is_held, &about) {
                Ok(of_shard) => moved.extend(of_shard),
                Err(why) => drop(refusal.get_or_insert(why)),
            }
        }
        let mut others = Self { held, copies, there, gone, ..Self::default() };
        let rest = || mismatch(&moved).or_else(|| chain(&moved)).or_else(|| others.in_the_way(&moved, about.vschema));
        others.refusal = refusal.or_else(rest);
        others.moved = moved;
        others.journaled = about.journaled;
        others
    }

    /// A stream on the target that is no copy, and has the name of one.
    fn in_the_way(&self, moved: &[Moved], vschema: &Keyspace) -> Option<String> {
        let is_named = |it: &&OtherStream| moved.iter().any(|moved| moved.stream.workflow == it.workflow);
        let found = self.there.iter().filter(is_named).find(|it| !it.is_copy() && !is_whole(it, vschema))?;
        let OtherStream { workflow, id, shard, state, .. } = found;
        Some(format!("workflow {workflow} has a stream on the target already, which no switch has made: {shard}: {id} ({state})"))
    }

    /// Names of the workflows that go along: what the journal says. Those of frozen streams alone are not in it, as whoever finishes the
    /// switch starts all streams of these names.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let moved = || self.moved.iter().filter(|it| !it.stream.is_frozen()).map(|it| it.stream.workflow.clone()).collect();
        self.journaled.clone().unwrap_or_else(moved)
    }

    /// Those that a switch stops.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Moved> {
        self.moved.iter().filter(|it| !it.stream.is_frozen())
    }

    /// Those that read what others on other shards read, too: they have to stop at the same position.
    pub(super) fn in_step(&self) -> BTreeMap<(String, String), Vec<&OtherStream>> {
        let mut groups: BTreeMap<(String, String), Vec<&OtherStream>> = BTreeMap::new();
        for moved in self.running().filter(|it| !it.is_inner) {
            groups.entry((moved.stream.workflow.clone(), moved.stream.reads())).or_default().push(&moved.stream);
        }
        groups.retain(|_, streams| streams.len() > 1);
        groups
    }

    /// The copies that are made of streams, those that read the target's own shards or the others.
    pub(super) fn copies_of(
        &self,
        is_inner: bool,
        sources: &BTreeMap<String, Member>,
        targets: &BTreeMap<String, Member>,
    ) -> Vec<Copy<'_>> {
        let mut made: Vec<Copy<'_>> = Vec::new();
        let mut seen = BTreeSet::new();
        for (shard, on) in targets {
            let range = on.key_range();
            for moved in self.moved.iter().filter(|it| it.is_inner == is_inner) {
                let has_rows = sources.get(&moved.stream.shard).is_some_and(|from| from.overlaps(on));
                if !has_rows {
                    continue;
                }
                let source = filled(&moved.template, &range);
                let reads: Vec<Option<&String>> = if is_inner { targets.keys().map(Some).collect() } else { vec![None] };
                for begins_at in reads {
                    let mut source = source.clone();
                    if let Some(shard) = begins_at {
                        source.shard.clone_from(shard);
                    }
                    let source = source_text::print(&source);
                    if seen.insert((shard.clone(), moved.stream.workflow.clone(), source.clone())) {
                        made.push(Copy { of: moved, shard: shard.clone(), source, begins_at: begins_at.cloned() });
                    }
                }
            }
        }
        made
    }

    /// Copies on a shard that a switch has left there.
    pub(super) fn left_on(&self, shard: &str) -> BTreeSet<i64> {
        self.copies.iter().filter(|it| it.shard == shard).map(|it| it.id).collect()
    }

    /// All streams on a shard of the target.
    pub(super) fn ids_on(&self, shard: &str) -> Vec<i64> {
        self.there.iter().filter(|it| it.shard == shard).map(|it| it.id).collect()
    }

    /// Streams of the source that have gone along, and come to their end there.
    pub(crate) fn gone(&self) -> Vec<&OtherStream> {
        if self.journaled.is_some() { self.gone.iter().collect() } else { self.moved.iter().map(|it| &it.stream).collect() }
    }
}

/// Whether its tables are on each shard whole.
fn is_whole(stream: &OtherStream, vschema: &Keyspace) -> bool {
    tables(&stream.source, vschema) == Ok(Has::All)
}

/// The streams of a shard that go along.
fn of_shard(
    shard: &str,
    streams: &[&OtherStream],
    copying: Option<&BTreeSet<i64>>,
    is_held: &impl Fn(&OtherStream) -> bool,
    about: &About<'_>,
) -> Result<Vec<Moved>, String> {
    let About { keyspace, sources, vschema, .. } = about;
    let mut own: Vec<&OtherStream> = Vec::new();
    for stream in streams {
        let OtherStream { id, workflow, .. } = stream;
        if workflow.is_empty() {
            return Err(format!("VReplication streams must have named workflows for migration: shard: {keyspace}:{shard}"));
        }
        if workflow == about.workflow {
            let text = "VReplication stream has the same workflow name as the resharding workflow";
            return Err(format!("{text}: shard: {keyspace}:{shard}"));
        }
        if let Some(why) = &stream.unread {
            return Err(format!("the source of stream {id} of {workflow} cannot be read: {shard}: {why}"));
        }
        // What is left of one that has ended is refused like any stream that stands still.
        if stream.is_migration() && !stream.is_stopped() {
            return Err(format!("a schema migration is at work on {keyspace}/{shard}: let {workflow} end, or cancel it"));
        }
        if stream.is_migration() || tables(&stream.source, vschema).map_err(|why| format!("blsIsReference: {why}"))? == Has::Part
        {
            own.push(stream);
        }
    }
    let uid = sources.get(shard).map_or(0, |on| on.alias.uid);
    let runs = |it: &OtherStream| matches!(it.state.as_str(), "Running" | "Lagging") || it.is_frozen() && it.is_stopped();
    if own.iter().any(|it| !runs(it) && !is_held(it)) {
        return Err(format!("cannot migrate until all streams are running: {shard}: {uid}"));
    }
    if own.iter().any(|it| copying.is_some_and(|ids| ids.contains(&it.id))) {
        return Err(format!("cannot migrate while vreplication streams in source shards are still copying: {shard}"));
    }
    let mut moved = Vec::new();
    for stream in own {
        let Some(template) = template(&stream.source, keyspace, vschema)? else { continue };
        let is_inner = stream.source.keyspace == *keyspace
            && stream.source.external_cluster.is_empty()
            && sources.contains_key(&stream.source.shard);
        moved.push(Moved { stream: stream.clone(), template, is_inner });
    }
    Ok(moved)
}

/// Whether one that reads the shards that are split reads what another one of these writes: it would have come to its end before that has.
fn chain(moved: &[Moved]) -> Option<String> {
    let rules = || {
        let inner = moved.iter().filter(|it| it.is_inner);
        inner.flat_map(|it| {
            it.template.filter.iter().flat_map(|filter| &filter.rules).map(move |rule| (&it.stream.workflow, rule))
        })
    };
    let written: BTreeMap<&str, &String> = rules().map(|(workflow, rule)| (rule.r#match.as_str(), workflow)).collect();
    rules().find_map(|(workflow, rule)| {
        let table = table(&rule.filter)?;
        let writer = written.get(table.as_str()).filter(|writer| **writer != workflow)?;
        Some(format!(
            "workflow {workflow} reads table {table}, which {writer} writes on the same shards: stop and delete one of them first"
        ))
    })
}

/// Whether streams of the shards do not match one to one.
fn mismatch(moved: &[Moved]) -> Option<String> {
    let mut shards: BTreeMap<&str, Vec<(&str, String)>> = BTreeMap::new();
    for Moved { stream, template, .. } in moved {
        shards.entry(&stream.shard).or_default().push((&stream.workflow, source_text::print(template)));
    }
    for streams in shards.values_mut() {
        streams.sort();
    }
    let (first, reference) = shards.pop_first()?;
    let (other, _) = shards.into_iter().find(|(_, streams)| *streams != reference)?;
    Some(format!("streams are mismatched across source shards: {first} vs {other}"))
}
