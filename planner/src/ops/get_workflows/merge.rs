//! Streams of all targets -> `vtctldata.GetWorkflowsResponse`, field for field as vtctld v24 fills it.
//!
//! Every stream of every tablet that answered is in the reply: what of its row cannot be read is named beside it, and a stream of
//! which nobody can say how it does is `Unknown`. The streams come as bytes and stay bytes: here they are only put in their places.
//! Facts: `go/vt/vtctl/workflow/workflows.go`, byte-identical in v22, v23 and v24. Where vtflow differs on purpose it is a row of
//! `docs/compat.md`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use prost::Message;

use crate::{
    contract::{Failure, Lost, Parts},
    formats::options,
    limits,
    ops::get_workflows::{
        stand_ins::{ENTRY_BYTES, place_key, stand_ins},
        tablet_rows::{StreamView, TabletStreams},
    },
    proto::vtctldata::{Workflow, WorkflowOptions, workflow::ShardStream},
    topo::targets::{Place, Target, Unreached},
    wire::{field_bytes, put_bytes, put_head, put_integer, put_message, put_text},
};

/// The merge of one request.
pub(crate) struct Merge {
    keyspace: String,
    /// In the order in which they were first met.
    building: Vec<Building>,
    /// Where each workflow is among them.
    by_name: BTreeMap<String, usize>,
    /// The shards that streams read or write, as the reply names them.
    shards: ShardNames,
    targets: Vec<Merging>,
    /// The keys of the targets' streams in the reply, which two targets may share.
    keys: BTreeMap<String, KeyId>,
    failures: Vec<Failure>,
}

/// A key of `shard_streams`, by the order in which they were first met.
type KeyId = usize;

/// Names, each kept once: a workflow of hundreds of shards has them all.
#[derive(Default)]
struct ShardNames(BTreeMap<String, usize>);

impl ShardNames {
    /// The number of a name, by the order in which they were first met.
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let next = self.0.len();
        self.0.insert(name.to_owned(), next);
        next
    }

    /// The names in their order, and where in it the one of each number is.
    fn sorted(self) -> (Vec<String>, Vec<usize>) {
        let mut places = vec![0; self.0.len()];
        for (place, number) in self.0.values().enumerate() {
            if let Some(its_place) = places.get_mut(*number) {
                *its_place = place;
            }
        }
        (self.0.into_keys().collect(), places)
    }
}

/// A target that has rows.
struct Merging {
    key: KeyId,
    /// What the reply calls its shard.
    shard: String,
    place: Place,
    /// Its streams.
    bytes: Vec<u8>,
    /// What follows the streams in each `ShardStream`.
    controls: Vec<u8>,
}

/// Streams of one workflow on one target, next to each other in its bytes.
struct Part {
    key: KeyId,
    target: usize,
    bytes: Range<usize>,
}

/// A workflow as its streams arrive.
#[derive(Default)]
struct Building {
    name: String,
    source_keyspace: String,
    target_keyspace: String,
    /// Numbers of [`ShardNames`], some of them several times; when the merge ends, places in [`Merged::shards`], each once, in order.
    source_shards: Vec<usize>,
    target_shards: Vec<usize>,
    /// In the order in which they came.
    parts: Vec<Part>,
    workflow_type: String,
    workflow_sub_type: String,
    defer_secondary_keys: bool,
    options: Option<WorkflowOptions>,
    /// The text that the options were last set by: set by it again, they are the same.
    options_text: String,
    lag_nanos: i64,
    transaction_lag: i64,
    /// How its streams disagree about what it is.
    contradiction: Option<String>,
    /// Type and sub type of the first stream that says them.
    kind: Option<(String, String)>,
    /// The columns that say what it is, of which one cannot be read: what is wrong with each, by stream.
    unread: BTreeSet<String>,
    /// Where only names are wanted: the key of the one target that has the name. `None`: several have it.
    named_by: Option<KeyId>,
}

/// Bytes that a shard makes in a reply.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    /// In all.
    all: usize,
    /// Without the names of workflows that nobody else has, where only names are wanted: those are the workflow's own bytes.
    of_streams: usize,
}

/// What the streams of one key make of a reply.
struct Share {
    size: Size,
    key: KeyId,
    /// Those that have streams under the key; where only names are wanted, those that nobody else has.
    workflows: Vec<usize>,
}

/// What a merge has made.
pub(crate) struct Merged {
    /// Ascending by name.
    workflows: Vec<Building>,
    /// The shards that they read and write, ascending.
    shards: Vec<String>,
    targets: Vec<Merging>,
    /// The keys of the targets' streams, by id.
    keys: Vec<String>,
    /// By key: what stands for the streams of shards without rows, a `ShardStream`.
    stand_ins: BTreeMap<String, Vec<u8>>,
    names_only: bool,
    /// What is missing from the workflows, and what of them cannot be read, in the order of shards.
    pub(crate) failures: Vec<Failure>,
    /// By workflow: why it cannot be told what it does as a whole (what it moves from where, and how).
    pub(crate) unclear: BTreeMap<String, BTreeSet<String>>,
}

impl Merge {
    pub(crate) fn new(keyspace: &str) -> Self {
        Self {
            keyspace: keyspace.into(),
            building: Vec::new(),
            by_name: BTreeMap::new(),
            shards: ShardNames::default(),
            targets: Vec::new(),
            keys: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// Adds the streams of one target. Call in ascending order of shard.
    pub(crate) fn add(&mut self, target: Target, mut rows: TabletStreams) {
        self.failures.append(&mut rows.failures);
        let (key, index) = (self.key(&target), self.targets.len());
        let target_shard = self.shards.number(&target.shard);
        // Most streams read the shard that the one before reads, and targets have their workflows in the same order.
        let (mut last_source, mut expected) = (None, 0);
        for stream in rows.streams() {
            let source_shard = stream.source.map(|(_, shard)| match last_source {
                Some((last, number)) if last == shard => number,
                _ => last_source.insert((shard, self.shards.number(shard))).1,
            });
            let at = self.workflow(stream.workflow, expected);
            expected = at + 1;
            let Some(building) = self.building.get_mut(at) else { continue };
            building.add(&target, target_shard, source_shard, &stream);
            match building.parts.last_mut() {
                Some(last) if (last.target, last.bytes.end) == (index, stream.bytes.start) => last.bytes.end = stream.bytes.end,
                _ => building.parts.push(Part { key, target: index, bytes: stream.bytes }),
            }
        }
        self.keep(target, key, rows.bytes);
    }

    /// Names a shard that has no rows in the reply.
    pub(crate) fn unreached(&mut self, unreached: &Unreached) {
        self.failures.push(unreached.place.failure(&self.keyspace, unreached.lost, unreached.message.as_str()));
    }

    /// Adds a target's names only, for `name_only`.
    pub(crate) fn names<'a>(&mut self, target: Target, names: impl Iterator<Item = Cow<'a, str>>) {
        let key = self.key(&target);
        for name in names {
            let is_new = !self.by_name.contains_key(&*name);
            let at = self.workflow(&name, 0);
            if let Some(building) = self.building.get_mut(at) {
                building.named_by = Some(key).filter(|key| is_new || building.named_by == Some(*key));
            }
        }
        self.keep(target, key, Vec::new());
    }

    /// Where a workflow is, which may be there already, perhaps at `expected`.
    fn workflow(&mut self, name: &str, expected: usize) -> usize {
        if self.building.get(expected).is_some_and(|building| building.name == name) {
            return expected;
        }
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = self.building.len();
        self.building.push(Building { name: name.to_owned(), ..Building::default() });
        self.by_name.insert(name.to_owned(), at);
        at
    }

    /// The key of a target's streams.
    fn key(&mut self, target: &Target) -> KeyId {
        let next = self.keys.len();
        *self.keys.entry(place_key(&target.shard, &target.place)).or_insert(next)
    }

    fn keep(&mut self, target: Target, key: KeyId, bytes: Vec<u8>) {
        let Target { place, shard, .. } = target;
        let controls = ShardStream {
            streams: Vec::new(),
            tablet_controls: place.tablet_controls.clone(),
            is_primary_serving: place.is_primary_serving,
        };
        self.targets.push(Merging { key, shard, place, bytes, controls: controls.encode_to_vec() });
    }

    /// Ends the merge.
    ///
    /// Each shard in `unreached` that may run streams gets, in every workflow, one stream with id 0 and state `Unknown`: it must
    /// not look as if there were none. Of a reply that may have `limit` bytes and would have more, the largest shards are left out
    /// as if they had not answered.
    pub(crate) fn finish(self, unreached: &[Unreached], names_only: bool, limit: Option<usize>) -> Merged {
        let Self { keyspace, building: mut workflows, by_name: _, shards, targets, keys: ids, mut failures } = self;
        let mut keys = vec![String::new(); ids.len()];
        let mut ranks = vec![0; ids.len()];
        for (rank, (key, id)) in ids.into_iter().enumerate() {
            if let (Some(text), Some(its_rank)) = (keys.get_mut(id), ranks.get_mut(id)) {
                (*text, *its_rank) = (key, rank);
            }
        }
        let (shards, places) = shards.sorted();
        workflows.sort_by(|a, b| a.name.cmp(&b.name));
        for building in &mut workflows {
            // Of one key in the order in which they came.
            building.parts.sort_by_key(|part| ranks.get(part.key));
            for numbers in [&mut building.source_shards, &mut building.target_shards] {
                let places: BTreeSet<usize> = numbers.iter().filter_map(|number| places.get(*number).copied()).collect();
                *numbers = places.into_iter().collect();
            }
        }
        let lost = unreached.iter().filter(|shard| shard.lost == Lost::Shard);
        let mut merged = Merged {
            workflows,
            shards,
            targets,
            keys,
            stand_ins: BTreeMap::new(),
            names_only,
            failures: Vec::new(),
            unclear: BTreeMap::new(),
        };
        let (left_out, room) = limit.map_or((Vec::new(), usize::MAX), |limit| merged.leave_out(lost.clone().count(), limit));
        if !left_out.is_empty() {
            // What was wrong with its rows is no news any more.
            let shards: BTreeSet<&str> = left_out.iter().map(|shard| shard.place.shard.as_str()).collect();
            failures.retain(|failure| !shards.contains(failure.shard.as_str()));
            failures.extend(left_out.iter().map(|shard| shard.place.failure(&keyspace, shard.lost, shard.message.as_str())));
        }
        merged.stand_ins = stand_ins(lost.chain(&left_out), merged.workflows.len(), room);
        for building in &mut merged.workflows {
            if let Some(message) = building.contradiction.take() {
                building.unread.insert(message.clone());
                failures.push(Failure {
                    keyspace: keyspace.clone(),
                    shard: String::new(),
                    tablet: String::new(),
                    workflow: building.name.clone(),
                    lost: Lost::Workflow,
                    message,
                });
            }
            if !building.unread.is_empty() {
                merged.unclear.insert(building.name.clone(), std::mem::take(&mut building.unread));
            }
        }
        failures.sort();
        failures.dedup();
        Merged { failures, ..merged }
    }
}

impl Building {
    /// Takes what a stream says of its workflow. The shards by their numbers.
    fn add(&mut self, target: &Target, target_shard: usize, source_shard: Option<usize>, stream: &StreamView<'_>) {
        self.unread.extend(stream.unread.iter().cloned());
        if let Some((keyspace, _)) = stream.source {
            self.contradict(stream.workflow, keyspace, &target.keyspace);
            if self.source_keyspace.is_empty() {
                keyspace.clone_into(&mut self.source_keyspace);
            }
        }
        // Few are there twice, and those are sorted out at the end.
        self.source_shards.extend(source_shard.filter(|shard| self.source_shards.last() != Some(shard)));
        if self.target_keyspace.is_empty() {
            self.target_keyspace.clone_from(&target.keyspace);
        }
        if stream.has_type {
            self.differ_in_kind(stream.workflow, stream.workflow_type, stream.workflow_sub_type);
        }
        self.target_shards.extend(Some(target_shard).filter(|shard| self.target_shards.last() != Some(shard)));
        stream.workflow_type.clone_into(&mut self.workflow_type);
        stream.workflow_sub_type.clone_into(&mut self.workflow_sub_type);
        self.defer_secondary_keys = stream.defer_secondary_keys;
        self.lag_nanos = self.lag_nanos.max(stream.lag_nanos);
        self.transaction_lag = self.transaction_lag.max(stream.transaction_lag);
        // What is wrong with them was found when the row was read.
        if !stream.options.is_empty()
            && stream.options != self.options_text
            && options::apply(&mut self.options, stream.options).is_ok()
        {
            stream.options.clone_into(&mut self.options_text);
        }
    }

    /// Notes the first contradiction between streams. An unset keyspace contradicts none. Source: v22 on.
    fn contradict(&mut self, name: &str, source_keyspace: &str, target_keyspace: &str) {
        for (side, known, this) in
            [("source", &self.source_keyspace, source_keyspace), ("target", &self.target_keyspace, target_keyspace)]
        {
            if self.contradiction.is_none() && !known.is_empty() && known != this {
                self.contradiction = Some(format!(
                    "workflow = {name}, ks1 = {known}, ks2 = {this}: multiple {side} keyspaces for a single workflow"
                ));
            }
        }
    }

    /// Notes that a stream is of another type than the first: the reply has the last one's.
    fn differ_in_kind(&mut self, name: &str, kind: &str, sub_type: &str) {
        let (known, its_sub_type) = self.kind.get_or_insert_with(|| (kind.to_owned(), sub_type.to_owned()));
        if self.contradiction.is_none() && (known.as_str(), its_sub_type.as_str()) != (kind, sub_type) {
            self.contradiction = Some(format!(
                "workflow = {name}, type1 = {known} ({its_sub_type}), type2 = {kind} ({sub_type}): multiple types for a single workflow"
            ));
        }
    }

    /// The parts of each key, once they are in order: those of one `ShardStream`.
    fn shard_streams(&self) -> impl Iterator<Item = &[Part]> {
        self.parts.chunk_by(|a, b| a.key == b.key)
    }

    /// Bytes that it takes in the reply besides its streams, at most.
    fn own_bytes(&self, shards: &[String]) -> usize {
        let shards = self.source_shards.iter().chain(&self.target_shards).filter_map(|place| shards.get(*place));
        let shards = shards.map(|shard| shard.len() + ENTRY_BYTES);
        let texts = [&self.name, &self.source_keyspace, &self.target_keyspace, &self.workflow_type, &self.workflow_sub_type];
        let options = self.options.as_ref().map_or(0, Message::encoded_len);
        texts.iter().map(|text| text.len() + ENTRY_BYTES).sum::<usize>() + shards.sum::<usize>() + options + 4 * ENTRY_BYTES
    }

    /// The workflow but for its streams, as bytes: what comes before them, and what after.
    fn around(&mut self, shards: &[String], names_only: bool) -> (Vec<u8>, Vec<u8>) {
        let mut before = Vec::new();
        put_text(&mut before, 1, &self.name);
        if names_only {
            return (before, Vec::new());
        }
        for (field, keyspace, places) in
            [(2, &self.source_keyspace, &self.source_shards), (3, &self.target_keyspace, &self.target_shards)]
        {
            put_message(&mut before, field, |out| {
                put_text(out, 1, keyspace);
                places.iter().filter_map(|place| shards.get(*place)).for_each(|shard| put_bytes(out, 2, shard.as_bytes()));
            });
        }
        put_integer(&mut before, 4, self.lag_nanos / 1_000_000_000);
        // From field 6 on.
        let after = Workflow {
            workflow_type: std::mem::take(&mut self.workflow_type),
            workflow_sub_type: std::mem::take(&mut self.workflow_sub_type),
            max_v_replication_transaction_lag: self.transaction_lag,
            defer_secondary_keys: self.defer_secondary_keys,
            options: self.options.take(),
            ..Workflow::default()
        };
        (before, after.encode_to_vec())
    }
}

/// An entry of `shard_streams`.
enum Entry<'a> {
    Streams(&'a [Part]),
    StandIn(&'a [u8]),
}

impl Merged {
    /// Whether there is no workflow.
    pub(crate) fn is_empty(&self) -> bool {
        self.workflows.is_empty()
    }

    /// The `GetWorkflowsResponse`: workflows ascending by name, each with its shards ascending by key. The streams are not copied.
    pub(crate) fn into_parts(mut self) -> Parts {
        let workflows = std::mem::take(&mut self.workflows);
        let mut out = Parts::of(self.targets.iter_mut().map(|target| std::mem::take(&mut target.bytes)));
        let others = workflows.len().saturating_sub(1);
        for (place, mut building) in workflows.into_iter().enumerate() {
            let (before, after) = building.around(&self.shards, self.names_only);
            let entries: usize = self.entries(&building).map(|(key, entry)| field_bytes(5, self.entry_bytes(key, &entry))).sum();
            out.write(|out| {
                put_head(out, 1, before.len() + entries + after.len());
                out.extend_from_slice(&before);
            });
            for (key, entry) in self.entries(&building) {
                out.write(|out| {
                    put_head(out, 5, self.entry_bytes(key, &entry));
                    put_bytes(out, 1, key.as_bytes());
                    match entry {
                        Entry::StandIn(bytes) => put_bytes(out, 2, bytes),
                        Entry::Streams(parts) => put_head(out, 2, self.streams_bytes(parts)),
                    }
                });
                if let Entry::Streams(parts) = entry {
                    for part in parts {
                        out.append(part.target, part.bytes.clone());
                    }
                    out.write(|out| out.extend_from_slice(self.controls(parts)));
                }
            }
            out.write(|out| out.extend_from_slice(&after));
            if place == 0 {
                // Workflows of one keyspace mostly have the same shards.
                out.expect(others);
            }
        }
        out
    }

    /// The entries of a workflow, ascending by key. Streams stand where a stand-in would.
    fn entries<'a>(&'a self, building: &'a Building) -> impl Iterator<Item = (&'a str, Entry<'a>)> {
        let mut streams = building.shard_streams().map(|parts| (self.key_of(parts), Entry::Streams(parts))).peekable();
        let mut stand_ins = self.stand_ins.iter().map(|(key, bytes)| (key.as_str(), Entry::StandIn(bytes))).peekable();
        std::iter::from_fn(move || match (streams.peek(), stand_ins.peek()) {
            (Some((key, _)), Some((stand_in, _))) if stand_in < key => stand_ins.next(),
            (Some((key, _)), Some((stand_in, _))) if stand_in == key => {
                stand_ins.next();
                streams.next()
            }
            (None, Some(_)) => stand_ins.next(),
            _ => streams.next(),
        })
    }

    fn entry_bytes(&self, key: &str, entry: &Entry<'_>) -> usize {
        let value = match entry {
            Entry::StandIn(bytes) => bytes.len(),
            Entry::Streams(parts) => self.streams_bytes(parts),
        };
        field_bytes(1, key.len()) + field_bytes(2, value)
    }

    /// Bytes of a `ShardStream`.
    fn streams_bytes(&self, parts: &[Part]) -> usize {
        parts.iter().map(|part| part.bytes.len()).sum::<usize>() + self.controls(parts).len()
    }

    /// What follows the streams in a `ShardStream`: of two targets with one key, what the first one's record says.
    fn controls(&self, parts: &[Part]) -> &[u8] {
        parts.first().and_then(|part| self.targets.get(part.target)).map_or(&[], |target| &target.controls)
    }

    fn key_of(&self, parts: &[Part]) -> &str {
        parts.first().and_then(|part| self.keys.get(part.key)).map_or("", String::as_str)
    }

    /// Takes the largest shards out until the rest fits, with a stand-in for each workflow where there are shards without rows.
    /// What they are, and how many bytes are left for stand-ins.
    fn leave_out(&mut self, unreached: usize, limit: usize) -> (Vec<Unreached>, usize) {
        // Of each workflow: its own bytes, and the keys that it has.
        let own = |building: &Building| (building.own_bytes(&self.shards), building.shard_streams().count());
        let mut left: Vec<(usize, usize)> = self.workflows.iter().map(own).collect();
        let streams = self.workflows.iter().flat_map(Building::shard_streams);
        let streams: usize = streams.map(|parts| self.bytes_beside(parts)).sum();
        let mut total = left.iter().map(|(own, _)| own).sum::<usize>() + streams;
        let mut count = self.workflows.len();
        let (mut left_out, mut shares) = (Vec::new(), Vec::new());
        let (mut keys, mut gone) = (BTreeSet::new(), BTreeSet::new());
        let room = loop {
            let stand_ins = if unreached + left_out.len() > 0 { count * limits::STAND_IN_BYTES } else { 0 };
            if total.saturating_add(stand_ins) <= limit {
                break limit - total;
            }
            if left_out.is_empty() {
                shares = self.shares(&left);
            }
            let Some(Share { size: Size { all, of_streams }, key, workflows }) = shares.pop() else { break 0 };
            // Of several targets with one key the last one tells of it.
            let Some(target) = self.targets.iter().rfind(|target| target.key == key) else { continue };
            total = total.saturating_sub(of_streams);
            keys.insert(key);
            let place = self.shards.binary_search(&target.shard).ok();
            for at in workflows {
                let (Some(building), Some((own, keys))) = (self.workflows.get_mut(at), left.get_mut(at)) else { continue };
                let shards = building.target_shards.len();
                building.target_shards.retain(|shard| Some(*shard) != place);
                if building.target_shards.len() < shards {
                    let bytes = target.shard.len() + ENTRY_BYTES;
                    *own = own.saturating_sub(bytes);
                    total = total.saturating_sub(bytes);
                }
                *keys = keys.saturating_sub(1);
                if *keys == 0 {
                    total = total.saturating_sub(*own);
                    count -= 1;
                    gone.insert(at);
                }
            }
            let message = format!(
                "left out: it makes {all} bytes of a reply that may have {limit} in all; ask for one workflow, or for fewer shards"
            );
            left_out.push(Unreached { place: target.place.clone(), lost: Lost::Shard, message });
        };
        for building in &mut self.workflows {
            building.parts.retain(|part| !keys.contains(&part.key));
        }
        // What is left of the reply may wait for its client for long.
        for target in self.targets.iter_mut().filter(|target| keys.contains(&target.key)) {
            target.bytes = Vec::new();
        }
        let mut at = 0..;
        self.workflows.retain(|_| at.next().is_none_or(|at| !gone.contains(&at)));
        (left_out, room)
    }

    /// What each shard makes, the largest last.
    fn shares(&self, left: &[(usize, usize)]) -> Vec<Share> {
        let share = |key| Share { size: Size::default(), key, workflows: Vec::new() };
        let mut shares: Vec<Share> = (0..self.keys.len()).map(share).collect();
        for (at, (building, (own, _))) in self.workflows.iter().zip(left).enumerate() {
            for parts in building.shard_streams() {
                if let Some(share) = parts.first().and_then(|part| shares.get_mut(part.key)) {
                    let bytes = self.bytes_beside(parts);
                    share.size.all += bytes;
                    share.size.of_streams += bytes;
                    share.workflows.push(at);
                }
            }
            if let Some(share) = building.named_by.and_then(|key| shares.get_mut(key)) {
                share.size.all += own;
                share.workflows.push(at);
            }
        }
        shares.retain(|share| !share.workflows.is_empty());
        shares.sort_by_key(|share| (share.size, self.keys.get(share.key)));
        shares
    }

    /// Bytes of a workflow's streams of one key in the reply, at most.
    fn bytes_beside(&self, parts: &[Part]) -> usize {
        self.key_of(parts).len() + self.streams_bytes(parts) + ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_types_contradict_each_other() {
        let row = |kind: &'static str, sub_type: &'static str| (kind, sub_type);
        let of = |rows: &[(&str, &str)]| {
            let mut building = Building::default();
            for (kind, sub_type) in rows {
                building.differ_in_kind("w", kind, sub_type);
            }
            building.contradiction
        };
        assert_eq!(of(&[row("MoveTables", "None"), row("MoveTables", "None")]), None);
        let text = "workflow = w, type1 = MoveTables (None), type2 = Reshard (None): multiple types for a single workflow";
        assert_eq!(of(&[row("MoveTables", "None"), row("Reshard", "None")]).as_deref(), Some(text));
        assert!(of(&[row("MoveTables", "Partial"), row("MoveTables", "None")]).is_some());
    }
}
