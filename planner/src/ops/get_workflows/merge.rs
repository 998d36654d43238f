//! Streams of all targets -> `vtctldata.Workflow`, field for field as vtctld v24 fills it.
//!
//! Every stream of every tablet that answered is in the reply: what of its row cannot be read is named beside it, and a stream of
//! which nobody can say how it does is `Unknown`. Facts: `go/vt/vtctl/workflow/workflows.go`, byte-identical in v22, v23 and v24.
//! Where vtflow differs on purpose it is a row of `docs/compat.md`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{Failure, Lost, Timestamp},
    formats::options,
    limits,
    ops::get_workflows::{
        lag,
        tablet_rows::{CopyStates, Logs, TabletRows},
    },
    proto::{
        binlogdata::{BinlogSource, VReplicationWorkflowState as State},
        topodata::TabletAlias,
        vtctldata::{
            Workflow, WorkflowOptions,
            workflow::{
                ReplicationLocation, ShardStream, Stream,
                stream::{CopyState, Log, ThrottlerStatus},
            },
        },
        vttime::Time,
    },
    sidecar::stream::StreamRow,
    topo::targets::{Place, Target, Unreached},
    words::cut,
};

/// The merge of one request.
pub(crate) struct Merge {
    now: Timestamp,
    keyspace: String,
    building: BTreeMap<String, Building>,
    /// The targets that have rows, by the key of their streams.
    places: BTreeMap<String, Place>,
    failures: Vec<Failure>,
}

/// A workflow as its streams arrive.
#[derive(Default)]
struct Building {
    source_keyspace: String,
    target_keyspace: String,
    source_shards: BTreeSet<String>,
    target_shards: BTreeSet<String>,
    shard_streams: BTreeMap<String, ShardStream>,
    workflow_type: String,
    workflow_sub_type: String,
    defer_secondary_keys: bool,
    options: Option<WorkflowOptions>,
    lag_nanos: i64,
    transaction_lag: i64,
    /// How its streams disagree about what it is.
    contradiction: Option<String>,
    /// Type and sub type of the first stream that says them.
    kind: Option<(String, String)>,
    /// The columns that say what it is, of which one cannot be read: what is wrong with each, by stream.
    unread: BTreeSet<String>,
    /// Where only names are wanted: the key of the one target that has the name; empty: several have it.
    named_by: String,
}

/// Bytes that a shard makes in a reply.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    /// In all.
    all: usize,
    /// Without the names of workflows that nobody else has, where only names are wanted: those are the workflow's own bytes.
    of_streams: usize,
}

/// What a merge has made.
pub(crate) struct Merged {
    /// Ascending by name.
    pub(crate) workflows: Vec<Workflow>,
    /// What is missing from them, and what of them cannot be read, in the order of shards.
    pub(crate) failures: Vec<Failure>,
    /// By workflow: why it cannot be told what it does as a whole (what it moves from where, and how).
    pub(crate) unclear: BTreeMap<String, BTreeSet<String>>,
}

impl Merge {
    pub(crate) fn new(keyspace: &str, now: Timestamp) -> Self {
        Self { now, keyspace: keyspace.into(), building: BTreeMap::new(), places: BTreeMap::new(), failures: Vec::new() }
    }

    /// Adds the rows of one target. Call in ascending order of shard.
    pub(crate) fn add(&mut self, target: &Target, rows: TabletRows) {
        let TabletRows { streams, copy_states, mut logs, log_error, bad_logs } = rows;
        let (mut copy_states, copy_error) = match copy_states {
            Ok(states) => (states, None),
            Err(error) => (CopyStates::default(), Some(error)),
        };
        for (lost, error) in [(Lost::CopyState, &copy_error), (Lost::Logs, &log_error)] {
            if let (Some(error), false) = (error, streams.is_empty()) {
                self.fail(&target.place, lost, "", error.clone());
            }
        }
        self.list(&target.place, Lost::Logs, "log rows", bad_logs.into_iter().map(|text| (String::new(), text)));
        let (copy_error, log_error) = (copy_error.as_deref().map(repeated), log_error.as_deref().map(repeated));
        let mut faults = Vec::new();
        for mut row in streams {
            let id = row.id;
            let building = self.building.entry(row.workflow.clone()).or_default();
            if let Err(error) = options::apply(&mut building.options, &row.options) {
                row.faults.push(error);
            }
            let mut texts: Vec<String> = row.faults.iter().map(ToString::to_string).collect();
            texts.extend(copy_states.bad.remove(&id));
            if !texts.is_empty() {
                let stream = if row.lacks("id") { "a stream".to_owned() } else { format!("stream {id}") };
                faults.push((row.workflow.clone(), format!("{stream}: {}", texts.join("; "))));
            }
            let rows = copy_states.rows.remove(&id).unwrap_or_default();
            let copy_states: Vec<_> =
                rows.into_iter().map(|row| CopyState { table: row.table, last_pk: row.last_pk, stream_id: row.stream }).collect();
            let mut logs = logs.remove(&id).unwrap_or_default();
            if let Some(error) = &log_error {
                logs.error.clone_from(error);
            }
            self.stream(target, row, copy_states, copy_error.as_deref(), logs);
        }
        self.list(&target.place, Lost::Stream, "streams", faults.into_iter());
        self.places.insert(key(target), target.place.clone());
    }

    /// Names a shard that has no rows in the reply.
    pub(crate) fn unreached(&mut self, unreached: &Unreached) {
        self.fail(&unreached.place, unreached.lost, "", unreached.message.clone());
    }

    /// Adds a target's names only, for `name_only`.
    pub(crate) fn names(&mut self, target: &Target, names: impl IntoIterator<Item = String>) {
        let key = key(target);
        for name in names {
            match self.building.get_mut(&name) {
                Some(building) if building.named_by == key => {}
                Some(building) => building.named_by.clear(),
                None => {
                    self.building.insert(name, Building { named_by: key.clone(), ..Building::default() });
                }
            }
        }
        self.places.insert(key, target.place.clone());
    }

    /// Ends the merge.
    ///
    /// Each shard in `unreached` that may run streams gets, in every workflow, one stream with id 0 and state `Unknown`: it must
    /// not look as if there were none. Of a reply that may have `limit` bytes and would have more, the largest shards are left out
    /// as if they had not answered.
    pub(crate) fn finish(mut self, unreached: &[Unreached], names_only: bool, limit: Option<usize>) -> Merged {
        let lost = unreached.iter().filter(|shard| shard.lost == Lost::Shard);
        let (left_out, room) = limit.map_or((Vec::new(), usize::MAX), |limit| self.leave_out(lost.clone().count(), limit));
        for shard in &left_out {
            self.unreached(shard);
        }
        let stand_ins = stand_ins(lost.chain(&left_out), self.building.len(), room);
        let (mut workflows, mut unclear) = (Vec::new(), BTreeMap::new());
        for (name, mut building) in std::mem::take(&mut self.building) {
            if let Some(message) = building.contradiction.take() {
                building.unread.insert(message.clone());
                self.failures.push(Failure {
                    keyspace: self.keyspace.clone(),
                    shard: String::new(),
                    tablet: String::new(),
                    workflow: name.clone(),
                    lost: Lost::Workflow,
                    message,
                });
            }
            for (key, streams) in &stand_ins {
                building.shard_streams.entry(key.clone()).or_insert_with(|| streams.clone());
            }
            if !building.unread.is_empty() {
                unclear.insert(name.clone(), std::mem::take(&mut building.unread));
            }
            workflows.push(if names_only { building.name_only(name) } else { building.workflow(name) });
        }
        self.failures.sort();
        self.failures.dedup();
        Merged { workflows, failures: self.failures, unclear }
    }

    /// Takes the largest shards out until the rest fits, with a stand-in for each workflow where there are shards without rows.
    /// What they are, and how many bytes are left for stand-ins.
    fn leave_out(&mut self, unreached: usize, limit: usize) -> (Vec<Unreached>, usize) {
        let bytes = |(name, building): (&String, &Building)| {
            building.own_bytes(name) + building.bytes_of_streams().map(|(_, bytes)| bytes).sum::<usize>()
        };
        let mut total: usize = self.building.iter().map(bytes).sum();
        let mut left_out = Vec::new();
        let mut sizes = Vec::new();
        loop {
            let stand_ins = if unreached + left_out.len() > 0 { self.building.len() * limits::STAND_IN_BYTES } else { 0 };
            if total.saturating_add(stand_ins) <= limit {
                return (left_out, limit - total);
            }
            if left_out.is_empty() {
                sizes = self.sizes();
            }
            let Some((Size { all, of_streams }, key)) = sizes.pop() else { return (left_out, 0) };
            let Some(place) = self.places.get(&key).cloned() else { continue };
            // What was wrong with its rows is no news any more.
            self.failures.retain(|failure| failure.shard != place.shard);
            total = total.saturating_sub(of_streams);
            self.building.retain(|name, building| {
                let before = building.own_bytes(name);
                let had_streams = building.leave(&key);
                if !had_streams && building.named_by != key {
                    return true;
                }
                let stays = !building.shard_streams.is_empty();
                let now = if stays { building.own_bytes(name) } else { 0 };
                total = total.saturating_sub(before) + now;
                stays
            });
            let message = format!(
                "left out: it makes {all} bytes of a reply that may have {limit} in all; ask for one workflow, or for fewer shards"
            );
            left_out.push(Unreached { place, lost: Lost::Shard, message });
        }
    }

    /// What each shard makes, the largest last.
    fn sizes(&self) -> Vec<(Size, String)> {
        let mut sizes: BTreeMap<&str, Size> = BTreeMap::new();
        for (name, building) in &self.building {
            for (key, bytes) in building.bytes_of_streams() {
                let size = sizes.entry(key).or_default();
                size.all += bytes;
                size.of_streams += bytes;
            }
            if !building.named_by.is_empty() {
                sizes.entry(&building.named_by).or_default().all += building.own_bytes(name);
            }
        }
        let mut sizes: Vec<(Size, String)> = sizes.into_iter().map(|(key, size)| (size, key.to_owned())).collect();
        sizes.sort();
        sizes
    }

    fn fail(&mut self, place: &Place, lost: Lost, workflow: &str, message: String) {
        let failure = place.failure(&self.keyspace, lost, message);
        self.failures.push(Failure { workflow: workflow.into(), ..failure });
    }

    /// Names a few of a tablet's rows, each with its workflow, and counts the rest.
    fn list(&mut self, place: &Place, lost: Lost, what: &str, texts: impl ExactSizeIterator<Item = (String, String)>) {
        let more = texts.len().saturating_sub(limits::FAULTS_PER_TABLET);
        for (workflow, text) in texts.take(limits::FAULTS_PER_TABLET) {
            self.fail(place, lost, &workflow, text);
        }
        if more > 0 {
            self.fail(place, lost, "", format!("and {more} more {what} with a column that cannot be read"));
        }
    }

    fn stream(&mut self, target: &Target, row: StreamRow, copy_states: Vec<CopyState>, copy_error: Option<&str>, logs: Logs) {
        let building = self.building.entry(row.workflow.clone()).or_default();
        let place = format!("{}/{} {} stream {}", self.keyspace, target.place.shard, target.place.alias_text(), row.id);
        let identity = row.faults.iter().filter(|fault| IDENTITY.contains(&fault.column));
        building.unread.extend(identity.map(|fault| format!("{place}: {fault}")));
        if !row.lacks("source") {
            building.contradict(&row.workflow, &row.source.keyspace, &target.keyspace);
            if building.source_keyspace.is_empty() {
                building.source_keyspace.clone_from(&row.source.keyspace);
            }
            building.source_shards.insert(row.source.shard.clone());
        }
        if building.target_keyspace.is_empty() {
            building.target_keyspace.clone_from(&target.keyspace);
        }
        if !row.lacks("workflow_type") && !row.lacks("workflow_sub_type") {
            building.differ_in_kind(&row);
        }
        building.target_shards.insert(target.shard.clone());
        building.workflow_type.clone_from(&row.workflow_type);
        building.workflow_sub_type.clone_from(&row.workflow_sub_type);
        building.defer_secondary_keys = row.defer_secondary_keys;
        if !row.lacks("time_updated") {
            lag::grow_lag(&mut building.lag_nanos, self.now, &row);
        }
        if !row.lacks("time_updated") && !row.lacks("transaction_timestamp") {
            building.transaction_lag = building.transaction_lag.max(lag::transaction_lag(self.now, &row));
        }

        let shard = building.shard_streams.entry(key(target)).or_insert_with(|| ShardStream {
            streams: Vec::new(),
            tablet_controls: target.place.tablet_controls.clone(),
            is_primary_serving: target.place.is_primary_serving,
        });
        shard.streams.push(message(target, row, copy_states, copy_error, logs));
    }
}

/// The columns that say what a workflow is: what it moves, from where, and how.
const IDENTITY: [&str; 4] = ["source", "workflow_type", "workflow_sub_type", "options"];

/// The columns without which nobody can say how a stream does.
const VITAL: [&str; 4] = ["id", "source", "time_updated", "transaction_timestamp"];

impl Building {
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
    fn differ_in_kind(&mut self, row: &StreamRow) {
        let (kind, sub_type) = (&row.workflow_type, &row.workflow_sub_type);
        let (known, its_sub_type) = self.kind.get_or_insert_with(|| (kind.clone(), sub_type.clone()));
        if self.contradiction.is_none() && (&*known, &*its_sub_type) != (kind, sub_type) {
            self.contradiction = Some(format!(
                "workflow = {}, type1 = {known} ({its_sub_type}), type2 = {kind} ({sub_type}): multiple types for a single workflow",
                row.workflow
            ));
        }
    }

    /// Bytes of each target's streams, by key.
    fn bytes_of_streams(&self) -> impl Iterator<Item = (&str, usize)> {
        self.shard_streams.iter().map(|(key, streams)| (key.as_str(), key.len() + streams.encoded_len() + ENTRY_BYTES))
    }

    /// Takes a target's streams out, as if it had not answered; whether it had some.
    fn leave(&mut self, key: &str) -> bool {
        let had = self.shard_streams.remove(key).is_some();
        if let Some((shard, _)) = key.rsplit_once('/').filter(|_| had) {
            self.target_shards.remove(shard);
        }
        had
    }

    /// Bytes that it takes in the reply besides its streams, at most.
    fn own_bytes(&self, name: &str) -> usize {
        let shards = self.source_shards.iter().chain(&self.target_shards).map(|shard| shard.len() + ENTRY_BYTES);
        let texts = [name, &self.source_keyspace, &self.target_keyspace, &self.workflow_type, &self.workflow_sub_type];
        let options = self.options.as_ref().map_or(0, Message::encoded_len);
        texts.iter().map(|text| text.len() + ENTRY_BYTES).sum::<usize>() + shards.sum::<usize>() + options + 4 * ENTRY_BYTES
    }

    fn workflow(self, name: String) -> Workflow {
        Workflow {
            name,
            source: Some(ReplicationLocation {
                keyspace: self.source_keyspace,
                shards: self.source_shards.into_iter().collect(),
            }),
            target: Some(ReplicationLocation {
                keyspace: self.target_keyspace,
                shards: self.target_shards.into_iter().collect(),
            }),
            max_v_replication_lag: self.lag_nanos / 1_000_000_000,
            shard_streams: self.shard_streams,
            workflow_type: self.workflow_type,
            workflow_sub_type: self.workflow_sub_type,
            max_v_replication_transaction_lag: self.transaction_lag,
            defer_secondary_keys: self.defer_secondary_keys,
            options: self.options,
        }
    }

    fn name_only(self, name: String) -> Workflow {
        Workflow { name, shard_streams: self.shard_streams, ..Workflow::default() }
    }
}

/// One stream's message.
fn message(target: &Target, row: StreamRow, copy_states: Vec<CopyState>, copy_error: Option<&str>, logs: Logs) -> Stream {
    let mut state = displayed_state(&row, !copy_states.is_empty());
    let mut message = row.message;
    let mut unknown = Vec::new();
    // Running or Copying: only the copy state could tell.
    if let (State::Running, Some(error)) = (state, copy_error) {
        unknown.push(format!("copy state could not be read: {error}"));
    }
    // A stopped stream is stopped, whatever else its row says.
    if !matches!(state, State::Stopped | State::Error) {
        unknown.extend(row.faults.iter().filter(|fault| VITAL.contains(&fault.column)).map(ToString::to_string));
    }
    if !unknown.is_empty() {
        state = State::Unknown;
        let gap = if message.is_empty() { "" } else { "; " };
        message = format!("{message}{gap}{}", unknown.join("; "));
    }
    Stream {
        id: row.id,
        shard: target.shard.clone(),
        tablet: target.place.alias.clone(),
        binlog_source: Some(row.source),
        position: row.position,
        stop_position: row.stop_position,
        state: state.as_str_name().into(),
        db_name: target.db_name.clone(),
        transaction_timestamp: time(row.transaction_timestamp),
        time_updated: time(row.time_updated),
        message,
        copy_states,
        logs: logs
            .rows
            .into_iter()
            .map(|row| Log {
                id: row.id,
                stream_id: row.stream.unwrap_or_default(),
                r#type: row.kind,
                state: row.state,
                created_at: time(row.created_at),
                updated_at: time(row.updated_at),
                message: row.message,
                count: row.count,
            })
            .collect(),
        log_fetch_error: logs.error,
        tags: row.tags,
        rows_copied: row.rows_copied,
        throttler_status: Some(ThrottlerStatus {
            component_throttled: row.component_throttled,
            time_throttled: time(row.time_throttled),
        }),
        tablet_types: row.tablet_types,
        tablet_selection_preference: row.tablet_selection_preference,
        cells: row.cells,
    }
}

/// The state that the reply shows. Never `Lagging`: clients do not know it. Source:
/// `go/vt/vtctl/workflow/workflows.go:getStreamState`, whose lag test compares with the second of the minute and never fires.
fn displayed_state(row: &StreamRow, is_copying: bool) -> State {
    let stored = State::try_from(row.state).unwrap_or(State::Unknown);
    if row.message.to_lowercase().contains("error") {
        State::Error
    } else if stored == State::Running && is_copying {
        State::Copying
    } else if stored == State::Lagging {
        State::Running
    } else {
        stored
    }
}

/// The key of a target's streams.
fn key(target: &Target) -> String {
    place_key(&target.shard, &target.place)
}

fn place_key(shard: &str, place: &Place) -> String {
    format!("{shard}/{}", place.alias_text())
}

/// A failure's text, for a place of which there may be very many.
fn repeated(text: &str) -> String {
    cut(text.to_owned(), limits::REPEATED_BYTES)
}

/// What each of so many workflows has in place of the streams of shards that could not be asked: at most `room` bytes in all. Where
/// that is little, their texts are shorter; where it is very little, the last one stands for the others too.
fn stand_ins<'a>(
    shards: impl Iterator<Item = &'a Unreached> + Clone,
    workflows: usize,
    room: usize,
) -> BTreeMap<String, ShardStream> {
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
    made.into_iter().collect()
}

fn bytes_of((key, streams): &(String, ShardStream)) -> usize {
    key.len() + streams.encoded_len() + ENTRY_BYTES
}

/// What a field and its length take, or an entry of a map, at most.
const ENTRY_BYTES: usize = 16;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_types_contradict_each_other() {
        let row = |kind: &str, sub_type: &str| StreamRow {
            workflow: "w".into(),
            workflow_type: kind.into(),
            workflow_sub_type: sub_type.into(),
            ..StreamRow::default()
        };
        let of = |rows: &[StreamRow]| {
            let mut building = Building::default();
            for row in rows {
                building.differ_in_kind(row);
            }
            building.contradiction
        };
        assert_eq!(of(&[row("MoveTables", "None"), row("MoveTables", "None")]), None);
        let text = "workflow = w, type1 = MoveTables (None), type2 = Reshard (None): multiple types for a single workflow";
        assert_eq!(of(&[row("MoveTables", "None"), row("Reshard", "None")]).as_deref(), Some(text));
        assert!(of(&[row("MoveTables", "Partial"), row("MoveTables", "None")]).is_some());
    }
}
