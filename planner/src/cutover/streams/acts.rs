//! What is done with the streams of other workflows, part by part.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    part::Part,
    row::{NUMBERS, OtherStream},
    taken::{Copy, Moved},
};
use crate::{
    cutover::{
        act::{self, Act, Call, Lane, Run, Sign, Then, Undo, statement},
        scene::{FROZEN, Member},
        steps::{Basis, delete_streams, listed},
    },
    formats::gtids,
    sidecar::{literal::quote, query::Query},
    traffic::evidence::{HELD, SYNCHRONIZING},
};

impl Basis<'_> {
    /// The parts that have to be done before writes are refused.
    pub(crate) fn others_before(&self) -> Vec<Part> {
        let others = &self.scene.others;
        if others.moved.iter().all(|it| it.is_inner) {
            return Vec::new();
        }
        let mut parts = Vec::new();
        parts.extend([Part::Stop, Part::Positions].into_iter().filter(|_| others.running().any(|it| !it.is_inner)));
        if !others.in_step().is_empty() {
            parts.extend([Part::Align, Part::Positions]);
        }
        parts.push(Part::Copy);
        parts
    }

    /// Whether some read the shards that are split.
    pub(crate) fn has_inner(&self) -> bool {
        self.scene.others.moved.iter().any(|it| it.is_inner)
    }

    /// The acts of a part.
    ///
    /// # Errors
    /// Positions that are not known, or that no stream can come to.
    pub(crate) fn others(&self, part: Part, run: &Run) -> Result<Vec<Lane>, String> {
        let (scene, others) = (self.scene, &self.scene.others);
        let running = |is_inner| others.running().filter(move |it| it.is_inner == is_inner).map(|it| &it.stream);
        let target = |shard: &str| scene.targets.get(shard);
        Ok(match part {
            Part::Resume => vec![self.resume()],
            Part::Stop => self.of_sources(running(false), |on, ids| vec![vec![stop(on, ids)]]),
            Part::Positions => self.of_sources(running(false), |on, ids| {
                let text = format!("select id, pos from _vt.vreplication where id in ({})", listed(ids));
                let query = Query::vreplication("positions", text);
                vec![vec![Call { then: Then::StreamPositions(on.shard.clone()), ..Call::new(on, query) }.boxed()]]
            }),
            Part::Align => self.align(run)?,
            Part::Copy => {
                self.check_in_step(run)?;
                self.copy(false, run)?
            }
            Part::EndInner => {
                let mut lanes = Vec::new();
                for stream in running(true) {
                    let Some(on) = scene.sources.get(&stream.shard) else { continue };
                    lanes.push(vec![
                        vec![self.wait(on, stream, position(&run.source_positions, &stream.source.shard)?)],
                        vec![stop(on, &BTreeSet::from([stream.id]))],
                    ]);
                }
                lanes
            }
            Part::CopyInner => self.copy(true, run)?,
            Part::DropCopies => {
                let shards: BTreeSet<&String> = others.copies.iter().map(|it| &it.shard).collect();
                let lane = |shard: &&String| Some(vec![vec![delete_streams(target(shard)?, &others.left_on(shard))]]);
                shards.iter().filter_map(lane).collect()
            }
            Part::Start => scene.targets.values().filter_map(|on| self.start(on)).collect(),
            Part::Drop => self.of_sources(others.gone().into_iter(), |on, ids| vec![vec![delete_streams(on, ids)]]),
        })
    }

    /// A lane for each source that has some of the streams.
    fn of_sources<'s>(
        &self,
        streams: impl Iterator<Item = &'s OtherStream>,
        lane: impl Fn(&Member, &BTreeSet<i64>) -> Lane,
    ) -> Vec<Lane> {
        let mut ids: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
        for stream in streams {
            ids.entry(&stream.shard).or_default().insert(stream.id);
        }
        let lanes = ids.iter().filter_map(|(shard, ids)| Some(lane(self.scene.sources.get(*shard)?, ids)));
        lanes.collect()
    }

    /// Those that were sent to a position run first: once they have come there, only the message of the others says whose work that was.
    fn resume(&self) -> Lane {
        let (sent, held): (Vec<&OtherStream>, Vec<_>) = self.scene.others.held.iter().partition(|it| it.is_sent_on());
        let run = |set: &str, left: &str, streams: Vec<&OtherStream>| -> Vec<Act> {
            let lanes = self.of_sources(streams.into_iter(), |on, ids| {
                let of = format!("id in ({})", listed(ids));
                let text = format!("update _vt.vreplication set {set} where {of}");
                let look = format!("select id from _vt.vreplication where {of} and {left}");
                vec![vec![statement(on, "start", text, (look, Sign::None), None)]]
            });
            lanes.into_iter().flatten().flatten().collect()
        };
        let sent = run("state='Running', stop_pos=null, message=''", "stop_pos != ''", sent);
        let held = run("state='Running', message=''", &format!("message='{HELD}'"), held);
        [sent, held].into_iter().filter(|group| !group.is_empty()).collect()
    }

    fn wait(&self, on: &Member, stream: &OtherStream, position: &str) -> Act {
        let failure = format!("error waiting for intra-keyspace materialization workflow {} to catch up: ", stream.workflow);
        match act::wait_for_position(on, stream.id, position, self.goal.timeout) {
            Act::Call(call) => Call { failure, ..*call }.boxed(),
            other => other,
        }
    }

    /// Those that are behind run up to where the foremost of those that read the same has stopped.
    fn align(&self, run: &Run) -> Result<Vec<Lane>, String> {
        let mut lanes = Vec::new();
        for ((workflow, reads), streams) in self.scene.others.in_step() {
            let positions: Vec<&str> = streams.iter().map(|it| stopped_at(run, it)).collect::<Result<_, _>>()?;
            let foremost = foremost(&positions).ok_or_else(|| {
                format!("{reads}: streams of {workflow} stand where none has all of the others: {}", positions.join(" and "))
            })?;
            for (stream, at) in streams.iter().zip(&positions) {
                let Some(on) = self.scene.sources.get(&stream.shard) else { continue };
                if has(at, foremost) == Some(true) {
                    continue;
                }
                let id = stream.id;
                let text = format!(
                    "update _vt.vreplication set state='Running', stop_pos={}, message='{SYNCHRONIZING}' where id={id}",
                    quote(foremost)
                );
                let was = stream.own_stop_position().map_or_else(|| "null".to_owned(), quote);
                let back = format!("update _vt.vreplication set state='Stopped', stop_pos={was}, message='{HELD}' where id={id}");
                let look = format!("select stop_pos from _vt.vreplication where id={id}");
                let sign = Sign::Every(vec![("stop_pos", foremost.to_owned())]);
                let runs = statement(on, "run on", text, (look, sign), Some(Undo::Statement(back.clone())));
                let look = format!("select state, message from _vt.vreplication where id={id}");
                let sign = Sign::Every(vec![("state", "Stopped".into()), ("message", HELD.into())]);
                let stops = statement(on, "stop", back, (look, sign), None);
                lanes.push(vec![vec![runs], vec![act::wait_for_position(on, id, foremost, self.goal.timeout)], vec![stops]]);
            }
        }
        Ok(lanes)
    }

    /// A stream that went further, or not as far, would skip rows on some of the target's shards, or have them twice.
    fn check_in_step(&self, run: &Run) -> Result<(), String> {
        for ((_, reads), streams) in self.scene.others.in_step() {
            let positions: Vec<&str> = streams.iter().map(|it| stopped_at(run, it)).collect::<Result<_, _>>()?;
            let Some(first) = positions.first() else { continue };
            for (stream, at) in streams.iter().zip(&positions) {
                if has(first, at) == Some(false) || has(at, first) == Some(false) {
                    return Err(format!("{reads}: stream {} position: {at} does not match {first}", stream.id));
                }
            }
        }
        Ok(())
    }

    fn copy(&self, is_inner: bool, run: &Run) -> Result<Vec<Lane>, String> {
        let (scene, others) = (self.scene, &self.scene.others);
        let copies = others.copies_of(is_inner, &scene.sources, &scene.targets);
        // Of those that a switch has left, all are deleted at once.
        let is_first = !is_inner || others.moved.iter().all(|it| it.is_inner);
        let mut lanes = Vec::new();
        for (shard, on) in &scene.targets {
            let left = if is_first { others.left_on(shard) } else { BTreeSet::new() };
            let mut lane = if left.is_empty() { Vec::new() } else { vec![vec![delete_streams(on, &left)]] };
            let mut made = Vec::new();
            for copy in copies.iter().filter(|copy| copy.shard == *shard) {
                let at = match &copy.begins_at {
                    Some(shard) => position(&run.target_positions, shard)?,
                    None => stopped_at(run, &copy.of.stream)?,
                };
                made.push(insert(on, copy, at, &others.ids_on(shard), run));
            }
            lane.push(made);
            lanes.push(lane);
        }
        Ok(lanes)
    }

    /// Starts what does not run of the copies; those of frozen streams stay so.
    fn start(&self, on: &Member) -> Option<Lane> {
        let others = &self.scene.others;
        let of = if others.journaled.is_some() {
            let left = others.copies.iter().filter(|it| it.shard == on.shard && !it.is_frozen());
            let ids: BTreeSet<i64> = left.map(|it| it.id).collect();
            (!ids.is_empty()).then(|| format!("id in ({})", listed(&ids)))?
        } else {
            let names: Vec<String> = others.names().iter().map(|name| quote(name)).collect();
            let names = (!names.is_empty()).then(|| names.join(", "))?;
            format!("db_name={} and workflow in ({names}) and state='Stopped' and message=''", quote(&on.db_name))
        };
        let text = format!("update _vt.vreplication set state='Running' where {of}");
        let look = format!("select id from _vt.vreplication where {of} and state='Stopped'");
        Some(vec![vec![statement(on, "start", text, (look, Sign::None), None)]])
    }
}

/// Streams stop, and say for what.
fn stop(on: &Member, ids: &BTreeSet<i64>) -> Act {
    let of = format!("id in ({})", listed(ids));
    let text = format!("update _vt.vreplication set state='Stopped', message='{HELD}' where {of}");
    let look = format!("select state, message from _vt.vreplication where {of}");
    let sign = Sign::Every(vec![("state", "Stopped".to_owned()), ("message", HELD.to_owned())]);
    let back = format!("update _vt.vreplication set state='Running', message='' where {of}");
    statement(on, "stop", text, (look, sign), Some(Undo::Statement(back)))
}

/// The statement that makes a copy, with every column of its stream.
fn insert(on: &Member, copy: &Copy<'_>, position: &str, known: &[i64], run: &Run) -> Act {
    let Moved { stream, .. } = copy.of;
    let message = if stream.is_frozen() { FROZEN } else { "" };
    let mut columns = vec![
        ("workflow", quote(&stream.workflow)),
        ("source", quote(&copy.source)),
        ("pos", quote(position)),
        ("time_updated", run.now.clone()),
        ("transaction_timestamp", "0".to_owned()),
        ("state", "'Stopped'".to_owned()),
        ("message", quote(message)),
        ("db_name", quote(&on.db_name)),
    ];
    columns.extend(stream.own_stop_position().map(|at| ("stop_pos", quote(at))));
    for (name, value) in &stream.settings {
        match value.parse::<i64>() {
            Ok(_) if NUMBERS.contains(name) => columns.push((name, value.clone())),
            Err(_) if NUMBERS.contains(name) => {}
            _ => columns.push((name, quote(value))),
        }
    }
    let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let values = columns.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ");
    let text = format!("insert into _vt.vreplication ({names}) values ({values})");
    let of = format!("db_name = {} and workflow = {}", quote(&on.db_name), quote(&stream.workflow));
    let look = format!("select id, source from _vt.vreplication where {of}");
    statement(on, "create stream", text, (look, Sign::NewSource(copy.source.clone(), known.to_vec())), Some(Undo::Inserted))
}

/// Where a stream has stopped; of one that is frozen, where it stands.
fn stopped_at<'a>(run: &'a Run, stream: &'a OtherStream) -> Result<&'a str, String> {
    if stream.is_frozen() {
        return Ok(&stream.position);
    }
    let found = run.stream_positions.get(&(stream.shard.clone(), stream.id));
    found
        .map(String::as_str)
        .ok_or_else(|| format!("the position of stream {} on shard {} is not known", stream.id, stream.shard))
}

/// The position that has all of the others; of a plan, where none is known yet, the first.
fn foremost<'a>(positions: &[&'a str]) -> Option<&'a str> {
    positions.iter().find(|one| positions.iter().all(|other| has(one, other) != Some(false))).copied()
}

/// Whether a position has all of another; `None`: of a plan, where they only have names.
fn has(one: &str, other: &str) -> Option<bool> {
    if one != other && one.starts_with('<') {
        return None;
    }
    Some(one == other || gtids::has(one, other) == Some(true))
}

fn position<'a>(positions: &'a BTreeMap<String, String>, shard: &str) -> Result<&'a String, String> {
    positions.get(shard).ok_or_else(|| format!("the position of shard {shard} is not known"))
}
