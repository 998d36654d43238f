//! Steps one after the other, lanes of a step at once, acts of a lane in their order; what is done and can be taken back is kept.
//!
//! A call whose answer was lost is looked at once; a record is written over the version that was read, and where that is another one by
//! now, its change is made to what is there. Nothing here knows what the acts are for.

mod newcomers;
mod records;
mod written;

use self::{
    newcomers::Listing,
    written::{UNTOLD, place, said},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost::Message;

use crate::{
    contract::{Answer, AskId, FailureKind, Turn, What},
    cutover::{
        act::{Act, Call, Deletion, Lane, RecordEdit, Run, Sign, Then, Undo, may_be_done},
        gating::Gating,
        scene::Scene,
        stored::Stored,
        streams::stream_positions,
    },
    operation::Asks,
    proto::tabletmanagerdata::{PrimaryPositionResponse, VReplicationExecResponse, ValidateVReplicationPermissionsResponse},
    sequences::next_value,
    sidecar::{query::Query, result::RowSet},
    topo::{said, targets::unexpected},
};

/// Times that a record is written which others write, too.
const ATTEMPTS: usize = 4;

/// What an ask is for.
enum Waiting {
    Sent(Box<Call>),
    Looked(Box<Call>, String, bool),
    Put { edit: Box<RecordEdit>, before: Stored, after: Vec<u8>, attempt: usize },
    Read { edit: Box<RecordEdit>, first: Stored, after: Vec<u8>, attempt: usize, why: String },
    Deleted { record: Box<Deletion>, attempt: usize },
    ReadDeleted { record: Box<Deletion>, attempt: usize, why: String },
    PutServed { cell: String, after: Vec<u8>, attempt: usize },
    ReadServed { cell: String, after: Vec<u8>, attempt: usize, why: String },
    Listed { what: String },
}

/// A lane under way.
#[derive(Default)]
struct Running {
    left: VecDeque<Vec<Act>>,
    outstanding: usize,
    /// Nothing of it is begun any more. Other lanes go on: which of them have ended must not depend on which answer came first.
    has_failed: bool,
    /// Of the group under way, what was done that has to be taken back before the next group is done again.
    undo: Vec<Vec<Act>>,
    /// What takes back the groups that have ended, the last of them first.
    back: Lane,
}

/// Something that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failed {
    /// Keyspace, shard, tablet or cell.
    pub(crate) place: (String, String, String),
    /// What is in front of it, and what was said.
    pub(crate) text: String,
    /// Whether it may have been done all the same.
    pub(crate) is_unclear: bool,
    /// It was not sent, since a lock was lost or no turn came.
    pub(crate) is_not_sent: bool,
    pub(crate) is_refresh: bool,
}

/// The acts of one step under way.
#[derive(Default)]
pub(crate) struct Performing {
    lanes: Vec<Running>,
    waiting: BTreeMap<AskId, (usize, Waiting)>,
    pub(crate) failures: BTreeSet<Failed>,
    /// Failures that change nothing.
    pub(crate) notes: BTreeSet<String>,
    /// Whether a failure keeps its lane from going on.
    stops_at_failure: bool,
    /// Whether refreshes may fail.
    force: bool,
    /// Whether anything is written.
    pub(crate) has_written: bool,
    /// What the acts do to writes on the source.
    gating: Gating,
    /// Shards of the source that refuse writes by what was done here, or may.
    pub(crate) closed: BTreeSet<String>,
    /// Shards of the source that take writes again by what was done here.
    opened: BTreeSet<String>,
    listing: Listing,
}

impl Performing {
    /// Begins.
    pub(crate) fn start(lanes: Vec<Lane>, is_undo: bool, force: bool, scene: &Scene, run: &mut Run, asks: &mut Asks) -> Self {
        Self::start_gating(Gating::default(), lanes, is_undo, force, scene, run, asks)
    }

    /// The same for acts by which writes are refused, or taken again.
    pub(crate) fn start_gating(
        gating: Gating,
        lanes: Vec<Lane>,
        is_undo: bool,
        force: bool,
        scene: &Scene,
        run: &mut Run,
        asks: &mut Asks,
    ) -> Self {
        let lanes = lanes.into_iter().map(|lane| Running { left: lane.into(), ..Running::default() }).collect();
        let mut this = Self { lanes, stops_at_failure: !is_undo, force: force || is_undo, gating, ..Self::default() };
        for lane in 0..this.lanes.len() {
            this.next_group(lane, scene, run, asks);
        }
        this
    }

    pub(crate) fn waits_for(&self, id: AskId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// Lanes that take back what was done, once all has ended: one of each, which runs backwards. What came later may rest on what was
    /// there before it.
    pub(crate) fn take_undo(&mut self) -> Vec<Lane> {
        self.lanes.iter_mut().map(|lane| std::mem::take(&mut lane.back)).filter(|back| !back.is_empty()).collect()
    }

    /// Whether a shard of the source takes writes again by what was done here: not where what its primary was to read failed.
    pub(crate) fn has_opened(&self, shard: &str) -> bool {
        let is_of = |failed: &Failed| failed.place.1.is_empty() || failed.place.1 == shard;
        self.opened.contains(shard) && !self.failures.iter().any(is_of)
    }

    fn next_group(&mut self, at: usize, scene: &Scene, run: &mut Run, asks: &mut Asks) {
        loop {
            let Some(lane) = self.lanes.get_mut(at) else { return };
            if lane.outstanding > 0 {
                return;
            }
            let next = if self.stops_at_failure && lane.has_failed { None } else { lane.left.pop_front() };
            // What follows a record has to follow it as well when it is taken back.
            if !lane.undo.is_empty() {
                let follows = next.clone().unwrap_or_else(|| lane.left.pop_front().unwrap_or_default());
                let undo = [std::mem::take(&mut lane.undo).concat(), follows.into_iter().filter(is_repeated).collect()];
                lane.back.splice(0..0, undo);
            }
            let Some(group) = next else { return };
            for act in group {
                self.begin(at, act, scene, run, asks);
            }
        }
    }

    fn wait(&mut self, at: usize, what: What, waiting: Waiting, asks: &mut Asks) {
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.outstanding += 1;
        }
        let gate = match &waiting {
            Waiting::Sent(call) => self.gating.of_call(call),
            Waiting::Put { edit, .. } | Waiting::Read { edit, .. } => self.gating.of_edit(edit),
            Waiting::PutServed { .. } | Waiting::ReadServed { .. } => self.gating.of_rebuild(),
            Waiting::Looked(..) | Waiting::Deleted { .. } | Waiting::ReadDeleted { .. } | Waiting::Listed { .. } => None,
        };
        self.waiting.insert(asks.release_gate(what, gate), (at, waiting));
    }

    fn begin(&mut self, at: usize, act: Act, scene: &Scene, run: &mut Run, asks: &mut Asks) {
        match act {
            Act::Call(call) => self.wait(at, call.ask(), Waiting::Sent(call), asks),
            Act::Edit(edit) => {
                let before = run.record(&edit);
                if !run.unclear.remove(&(edit.cell.clone(), edit.path.clone())) {
                    return self.put(at, edit, before, 1, run, asks);
                }
                match edit.edit.apply(&before.value) {
                    // It may not be as it is known to be.
                    Ok(after) => {
                        let what = What::TopoGet { cell: edit.cell.clone(), path: edit.path.clone() };
                        let why = format!("whether {} was written is not known", edit.path);
                        self.wait(at, what, Waiting::Read { edit, first: before, after, attempt: 1, why }, asks);
                    }
                    Err(_) => self.put(at, edit, before, 1, run, asks),
                }
            }
            Act::Delete(record) => self.delete(at, record, 1, asks),
            Act::Newcomers(of) => {
                let (listing, wanted) = Listing::start(*of);
                self.listing = listing;
                for (what, ask) in wanted {
                    self.wait(at, ask, Waiting::Listed { what }, asks);
                }
            }
            Act::Rebuild { cell } => match run.srv_vschema(scene, run.remade_copy(&cell)) {
                Ok(after) => self.put_served(at, cell, after, 1, run, asks),
                Err(text) => self.fail(at, (String::new(), String::new(), cell), text, false, false),
            },
        }
    }

    /// Takes an answer.
    pub(crate) fn answered(&mut self, id: AskId, answer: Answer, scene: &Scene, run: &mut Run, asks: &mut Asks) {
        let Some((at, waiting)) = self.waiting.remove(&id) else { return };
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.outstanding -= 1;
        }
        match waiting {
            Waiting::Sent(call) => self.called(at, call, answer, run, asks),
            Waiting::Looked(call, why, was_sent) => self.looked(at, &call, &why, was_sent, answer),
            Waiting::Put { edit, before, after, attempt } => match answer {
                Answer::Stored { version } => self.stored(at, &edit, &before, after, version, run),
                Answer::Deleted => self.stored(at, &edit, &before, after, 0, run),
                Answer::Failed { kind: FailureKind::NotSent, message } => self.fail(at, place(&edit), message, false, true),
                other => {
                    let why = said(&edit.path, other);
                    let what = What::TopoGet { cell: edit.cell.clone(), path: edit.path.clone() };
                    self.wait(at, what, Waiting::Read { edit, first: before, after, attempt, why }, asks);
                }
            },
            Waiting::Read { edit, first, after, attempt, why } => {
                self.read_again(at, edit, &first, after, attempt, why, answer, run, asks);
            }
            Waiting::Deleted { record, attempt } => match answer {
                Answer::Deleted | Answer::Missing { .. } => self.has_written = true,
                Answer::Failed { kind: FailureKind::NotSent, message } => {
                    self.fail(at, whose_record(&record), message, false, true);
                }
                other => {
                    let why = said(&record.path, other);
                    let what = What::TopoGet { cell: record.cell.clone(), path: record.path.clone() };
                    self.wait(at, what, Waiting::ReadDeleted { record, attempt, why }, asks);
                }
            },
            Waiting::ReadDeleted { record, attempt, why } => match answer {
                Answer::Missing { .. } => self.has_written = true,
                Answer::Found { version, .. } if attempt < ATTEMPTS => {
                    self.delete(at, Box::new(Deletion { version, ..*record }), attempt + 1, asks);
                }
                Answer::Found { .. } => self.fail(at, whose_record(&record), why, false, false),
                other => {
                    let text = format!("{why}; looking again: {}", said(&record.path, other));
                    self.fail(at, whose_record(&record), text, true, false);
                }
            },
            Waiting::PutServed { cell, after, attempt } => match answer {
                Answer::Stored { version } => drop(run.served.insert(cell, Stored { value: after, version })),
                Answer::Failed { kind: FailureKind::NotSent, message } => {
                    self.fail(at, (String::new(), String::new(), cell), message, false, true);
                }
                other => {
                    let why = said("SrvVSchema", other);
                    let what = What::TopoGet { cell: cell.clone(), path: "SrvVSchema".into() };
                    self.wait(at, what, Waiting::ReadServed { cell, after, attempt, why }, asks);
                }
            },
            Waiting::ReadServed { cell, after, attempt, why } => {
                self.served_again(at, cell, &after, attempt, why, answer, scene, run, asks);
            }
            Waiting::Listed { what } => {
                for act in self.listing.took(&what, answer, &mut self.notes) {
                    self.begin(at, act, scene, run, asks);
                }
            }
        }
        self.next_group(at, scene, run, asks);
    }

    fn called(&mut self, at: usize, call: Box<Call>, answer: Answer, run: &mut Run, asks: &mut Asks) {
        self.turned(&call, &answer);
        let response = match answer {
            Answer::Called(response) => response,
            Answer::Failed { kind, message } => return self.call_failed(at, call, kind, message, asks),
            other => {
                let why = unexpected("a tablet call", &other);
                return self.fail(at, whose(&call), format!("{}{why}", call.failure), true, false);
            }
        };
        match &call.then {
            Then::Nothing | Then::Reached { .. } => {}
            Then::SourcePosition(shard) | Then::TargetPosition(shard) => {
                match PrimaryPositionResponse::decode(response.as_slice()) {
                    Ok(said) if !said.position.is_empty() => {
                        let is_source = matches!(call.then, Then::SourcePosition(_));
                        let positions = if is_source { &mut run.source_positions } else { &mut run.target_positions };
                        positions.insert(shard.clone(), said.position);
                    }
                    Ok(_) => self.fail(at, whose(&call), format!("{}no position", call.failure), false, false),
                    Err(error) => self.fail(at, whose(&call), format!("{}{error}", call.failure), false, false),
                }
                return;
            }
            Then::StreamPositions(shard) => {
                match stream_positions(&response) {
                    Ok(found) => run.stream_positions.extend(found.into_iter().map(|(id, at)| ((shard.clone(), id), at))),
                    Err(why) => self.fail(at, whose(&call), format!("{}{why}", call.failure), false, false),
                }
                return;
            }
            Then::Highest(key) => {
                match next_value(&response) {
                    Ok(next) => {
                        let known = run.next_values.get(key).and_then(|known| known.parse().ok());
                        run.next_values.insert(key.clone(), known.unwrap_or(next).max(next).to_string());
                    }
                    Err(why) => self.fail(at, whose(&call), format!("{}{why}", call.failure), false, false),
                }
                return;
            }
            Then::Permissions => {
                match ValidateVReplicationPermissionsResponse::decode(response.as_slice()) {
                    Ok(said) if said.ok => {}
                    Ok(said) => {
                        let text = format!("failed to validate required vreplication metadata permissions: {}", said.error);
                        self.fail(at, whose(&call), text, false, false);
                    }
                    Err(error) => self.fail(at, whose(&call), format!("{}{error}", call.failure), false, false),
                }
                return;
            }
        }
        let id = VReplicationExecResponse::decode(response.as_slice()).ok().and_then(|it| it.result).map(|it| it.insert_id);
        self.undo_call(at, &call, id.and_then(|id| i64::try_from(id).ok()).filter(|id| *id > 0));
        if call.query.effect == crate::Effect::Write {
            self.has_written = true;
        }
    }

    /// Notes what a call has done to writes: one that may be done closes, and opens only if it is.
    fn turned(&mut self, call: &Call, answer: &Answer) {
        let Some(gate) = self.gating.of_call(call) else { return };
        match (gate.turn, answer) {
            (Turn::Closes, Answer::Failed { kind, .. }) if !may_be_done(*kind) => {}
            (Turn::Closes, _) => drop(self.closed.insert(gate.shard)),
            (Turn::Opens, Answer::Called(_)) => drop(self.opened.insert(gate.shard)),
            (Turn::Opens, _) => {}
        }
    }

    fn undo_call(&mut self, at: usize, call: &Call, id: Option<i64>) {
        let delete = |of: String| format!("delete from _vt.vreplication where {of}");
        let statement = match (&call.undo, id, &call.shown_by) {
            (Some(Undo::Statement(text)), ..) => text.clone(),
            (Some(Undo::Inserted), Some(id), _) => delete(format!("id in ({id})")),
            // Nobody has said which: the rows of this source that were not there before.
            (Some(Undo::Inserted), None, Some((look, Sign::NewSource(source, known)))) => {
                let of = look.statement.split_once(" where ").map_or("", |(_, of)| of);
                let source = crate::sidecar::literal::quote(source);
                let known = known.iter().map(|id| format!(" and id != {id}")).collect::<Vec<_>>().concat();
                delete(format!("{of} and source = {source}{known}"))
            }
            _ => return,
        };
        let query = Query::vreplication("take back", statement).that_writes();
        let back = Call { query, undo: None, shown_by: None, failure: String::new(), ..call.clone() };
        self.keep_undo(at, Act::Call(Box::new(back)));
    }

    fn call_failed(&mut self, at: usize, call: Box<Call>, kind: FailureKind, message: String, asks: &mut Asks) {
        let is_refresh = call.query.path() == crate::rpc::REFRESH_STATE;
        if is_refresh && (call.is_best_effort || self.force && !call.is_vital) {
            self.notes.insert(format!("{}{message}", call.failure));
            self.notes.insert(UNTOLD.into());
            return;
        }
        if call.is_best_effort {
            self.notes.insert(format!("{} was not done, and does not matter to the rest: {message}", call.query.subject));
            return;
        }
        if said::errno(&message).is_some_and(|number| call.done_by.contains(&number)) {
            self.has_written = true;
            return;
        }
        let knows_no = |code| said::knows_no_method(code, &message);
        if call.then == Then::Permissions && matches!(kind, FailureKind::Status(code) if knows_no(code)) {
            // A tablet before v21 cannot say.
            return;
        }
        // Short of time, the tablet may be the first to say so.
        // So is a tablet that many streams are waited for with at once: no turn came in so short a time.
        let is_late = matches!(kind, FailureKind::TimedOut | FailureKind::NotSent | FailureKind::Status(1 | 4))
            || message.contains("error waiting for pos: ");
        if is_late && let Some(again) = call.waits_on() {
            return self.wait(at, again.ask(), Waiting::Sent(Box::new(again)), asks);
        }
        let was_sent = may_be_done(kind);
        match call.look() {
            Some(look) if was_sent => {
                // Whether it can still come although a look does not show it.
                let may_come = matches!(kind, FailureKind::TimedOut | FailureKind::Unreachable | FailureKind::Status(1 | 4));
                self.wait(at, look, Waiting::Looked(call, message, may_come), asks);
            }
            _ => {
                let (place, text) = (whose(&call), format!("{}{message}", call.failure));
                let is_not_sent = !was_sent;
                self.failed(at, Failed { place, text, is_unclear: false, is_not_sent, is_refresh });
            }
        }
    }

    /// A second look at a call whose answer was lost, or that was refused.
    fn looked(&mut self, at: usize, call: &Call, why: &str, may_come: bool, answer: Answer) {
        let text = format!("{}{why}", call.failure);
        let Some((_, sign)) = &call.shown_by else { return };
        let rows = match answer {
            // Both ways to ask have the rows in the same place.
            Answer::Called(response) => RowSet::from_vreplication_exec(&response).map_err(|error| error.to_string()),
            Answer::Failed { message, .. } => Err(message),
            other => Err(unexpected("looking again", &other)),
        };
        match rows {
            Ok(rows) if sign.is_in(&rows) => {
                self.undo_call(at, call, sign.new_id(&rows));
                self.has_written = true;
            }
            Ok(_) if may_come => {
                self.undo_call(at, call, None);
                self.fail(
                    at,
                    whose(call),
                    format!("{text} (a second look does not show it, but the call may still be at work)"),
                    true,
                    false,
                );
            }
            Ok(_) => self.fail(at, whose(call), text, false, false),
            Err(error) => {
                self.undo_call(at, call, None);
                self.fail(at, whose(call), format!("{text}; looking again: {error}"), true, false);
            }
        }
    }

    fn fail(&mut self, at: usize, place: (String, String, String), text: String, is_unclear: bool, is_not_sent: bool) {
        self.failed(at, Failed { place, text, is_unclear, is_not_sent, is_refresh: false });
    }

    fn failed(&mut self, at: usize, failed: Failed) {
        self.failures.insert(failed);
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.has_failed = true;
        }
    }
}

/// Whether an act is done again after what is before it was taken back.
fn is_repeated(act: &Act) -> bool {
    match act {
        Act::Rebuild { .. } => true,
        Act::Call(call) => call.query.path() == crate::rpc::REFRESH_STATE,
        Act::Edit(_) | Act::Delete(_) | Act::Newcomers(_) => false,
    }
}

fn whose_record(record: &Deletion) -> (String, String, String) {
    (record.keyspace.clone(), record.shard.clone(), record.cell.clone())
}

fn whose(call: &Call) -> (String, String, String) {
    (call.keyspace.clone(), call.shard.clone(), call.tablet.alias.clone())
}
