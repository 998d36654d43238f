//! The engine of a repair: look and plan, take away locks whose holder is gone, lock, look and plan again under the locks, perform stage
//! after stage, look once more.
//!
//! What fails is left as it is, but for one thing: where a primary could not be told that its shard's record has changed, the record
//! becomes again what it was. Else a diagnosis, which goes by records, would call healthy what does not work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use prost::Message;

use super::{
    acts,
    request::Wanted,
    sight::{Seen, Sight},
};
use crate::{
    contract::{
        Answer, AskId, Call, Code, Failure, FailureKind, Mode, PlannedStep, PlannedWrite, Reply, Status, StepWay, Timestamp,
        What, WritePlan, Written,
    },
    cutover::{
        act::{Act, Deletion, Lane, Run},
        edit::RULE_PATHS,
        forward::stage::Stage,
        perform::{Failed, Performing},
        phases::{Phases, reply},
        report::{Ended, grouped, outcomes},
        scene::Scene,
    },
    operation::{Asks, Operation},
    ops::diagnose::Diagnose,
    proto::{
        vschema::SrvVSchema,
        vtflow::{Deviation, DiagnoseResponse, RepairResponse},
    },
    topo::{names::GLOBAL, targets::unexpected},
    traffic::routing::served_rules,
    words::plural,
    write::{
        locks::{self, Locks},
        plan,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before anything is locked.
    Looking,
    Unlocking,
    Locking,
    LookingUnderLocks,
    Performing,
    TakingBack,
    GivingBack,
    /// What is left.
    LookingAfter,
    Ending,
}

/// What is asked of a lock that goes.
enum Unlocking {
    Deleted(String),
    /// Whether it is gone, after this failure.
    LookedAt(String, String),
}

/// A repair on its way.
pub(crate) struct Repair {
    wanted: Wanted,
    call: Call,
    now: Timestamp,
    phase: Phase,
    sight: Option<Sight>,
    after: Option<Diagnose>,
    locks: Option<Locks>,
    scene: Option<Scene>,
    /// Of locks of others that were taken away: the writes of the plan.
    lock_writes: Vec<PlannedWrite>,
    unlocks: Vec<(String, i64)>,
    unlocking: BTreeMap<AskId, Unlocking>,
    stages: Vec<Stage>,
    ended: Vec<Ended>,
    at: usize,
    run: Option<Run>,
    performing: Option<Performing>,
    cause: String,
    has_begun: bool,
    plan: Option<WritePlan>,
    /// The part of each write of the plan.
    part_of: Vec<usize>,
    left_alone: Vec<String>,
    notes: BTreeSet<String>,
    result: Option<Result<RepairResponse, Status>>,
}

impl Repair {
    /// Begins.
    ///
    /// # Errors
    /// What is refused without a look.
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let wanted = Wanted::of(call)?;
        let sight = Sight::start(&wanted, now, asks)?;
        Ok(Self {
            wanted,
            call: call.clone(),
            now,
            phase: Phase::Looking,
            sight: Some(sight),
            after: None,
            locks: None,
            scene: None,
            lock_writes: Vec::new(),
            unlocks: Vec::new(),
            unlocking: BTreeMap::new(),
            stages: Vec::new(),
            ended: Vec::new(),
            at: 0,
            run: None,
            performing: None,
            cause: String::new(),
            has_begun: false,
            plan: None,
            part_of: Vec::new(),
            left_alone: Vec::new(),
            notes: BTreeSet::new(),
            result: None,
        })
    }

    fn seen(&mut self, asks: &mut Asks) -> Result<Option<Seen>, Status> {
        let Some(sight) = &mut self.sight else { return Ok(None) };
        let is_there = sight.go_on(asks)?;
        Ok(if is_there { self.sight.take().and_then(Sight::seen) } else { None })
    }

    /// What is going to be done, as far as it can be told without locks.
    fn decide(&mut self, seen: &Seen, asks: &mut Asks) -> Result<(), Status> {
        self.unlocks.clone_from(&seen.chosen.unlocks);
        self.lock_writes = self.unlocks.iter().filter_map(|lock| deletion(lock, &seen.scene)).collect();
        self.write_plan(seen)?;
        let is_preview = self.wanted.dry_run || self.call.options.mode == Mode::Preview;
        if seen.chosen.is_nothing() {
            return self.nothing(asks);
        }
        if is_preview {
            let reply = RepairResponse { steps: self.steps(), ..self.reply(self.summary()) };
            self.end(Ok(reply), asks);
            return Ok(());
        }
        let wanted = seen.chosen.locks();
        self.locks = (!wanted.is_empty()).then(|| Locks::new(wanted, false));
        self.phase = Phase::Unlocking;
        for (path, version) in self.unlocks.clone() {
            let id = asks.release(What::TopoDelete { cell: GLOBAL.into(), path: path.clone(), version });
            self.unlocking.insert(id, Unlocking::Deleted(path));
        }
        Ok(())
    }

    /// There is nothing to do here: all is well, or it is for others.
    fn nothing(&mut self, asks: &mut Asks) -> Result<(), Status> {
        if self.left_alone.is_empty() {
            let place = self.wanted.place();
            let reply = RepairResponse { steps: Vec::new(), ..self.reply(format!("Nothing is wrong with {place}")) };
            self.end(Ok(reply), asks);
            return Ok(());
        }
        let message = format!("{}\nnothing of this is for a repair; nothing was changed", self.left_alone.join("\n"));
        Err(Status { code: Code::FailedPrecondition, message })
    }

    /// A lock is deleted as it was seen, or not: one of another version is another's.
    fn unlocked(&mut self, asked: Unlocking, answer: Answer, asks: &mut Asks) -> Result<(), Status> {
        let refused = |message: String| Err(Status { code: Code::FailedPrecondition, message });
        match (asked, answer) {
            (_, Answer::Deleted | Answer::Missing { .. }) => Ok(()),
            (Unlocking::Deleted(path), Answer::Failed { kind: FailureKind::NotSent, message }) => {
                refused(format!("failed to take away the lock {path}: {message}; nothing was changed"))
            }
            (Unlocking::Deleted(path), other) => {
                let why = if let Answer::Failed { message, .. } = other { message } else { unexpected("a deletion", &other) };
                let id = asks.release(What::TopoGet { cell: GLOBAL.into(), path: path.clone() });
                self.unlocking.insert(id, Unlocking::LookedAt(path, why));
                Ok(())
            }
            (Unlocking::LookedAt(path, why), Answer::Found { version, .. }) => {
                let is_seen = self.unlocks.iter().any(|(of, was)| *of == path && *was == version);
                let text = if is_seen { "it is still there" } else { "it is another's by now" };
                refused(format!("failed to take away the lock {path}: {why}; {text}"))
            }
            (Unlocking::LookedAt(path, why), _) => {
                refused(format!("failed to take away the lock {path}: {why}; whether it is still there is not known"))
            }
        }
    }

    fn lock(&mut self, asks: &mut Asks) -> Result<(), Status> {
        if let Some(ended) = self.ended.first_mut() {
            *ended = Ended::Done;
        }
        self.has_begun = !self.lock_writes.is_empty();
        let Some(locks) = &mut self.locks else { return self.look_after(asks) };
        self.phase = Phase::Locking;
        let step = locks.take(asks);
        self.locked(step, asks)
    }

    /// The same under the locks: that is what is done.
    fn decide_under_locks(&mut self, seen: Seen, asks: &mut Asks) -> Result<(), Status> {
        let held = self.plan.as_ref().map(|plan| plan.locks.clone()).unwrap_or_default();
        self.write_plan(&seen)?;
        let is_covered = seen.chosen.locks().iter().all(|lock| held.contains(&lock.path));
        if !is_covered || !seen.chosen.unlocks.is_empty() {
            let message = "what is wrong is something else by now; nothing was changed: look again".to_owned();
            return Err(Status { code: Code::FailedPrecondition, message });
        }
        let mut run = Run::begun(&seen.scene, self.now.seconds);
        foresee_rules(&self.stages, &mut run);
        self.run = Some(run);
        self.scene = Some(seen.scene);
        self.phase = Phase::Performing;
        self.has_begun = true;
        self.perform(asks);
        Ok(())
    }

    /// The plan; an error if that is another one than was read.
    fn write_plan(&mut self, seen: &Seen) -> Result<(), Status> {
        let scene = &seen.scene;
        self.stages = acts::stages(seen)?.0;
        self.left_alone.clone_from(&seen.chosen.left_alone);
        let mut run = Run::planned(scene);
        foresee_rules(&self.stages, &mut run);
        let (mut writes, mut steps, mut warnings) = (self.lock_writes.clone(), Vec::new(), Vec::new());
        // The first part is that of the locks, which may have none.
        self.part_of = vec![0; writes.len()];
        self.ended = vec![if self.phase == Phase::LookingUnderLocks { Ended::Done } else { Ended::NotBegun }];
        let way = StepWay::Forward;
        if !writes.is_empty() {
            steps.push(PlannedStep { name: UNLOCK.into(), way, writes: writes.len(), reads: Vec::new(), turn: None });
        }
        for (place, stage) in self.stages.iter().enumerate() {
            let (before, mut reads) = (writes.len(), Vec::new());
            for act in stage.lanes.iter().flatten().flatten() {
                if let Act::Rebuild { cell } = act {
                    warnings.extend(served_too(seen, &run, cell));
                }
                writes.extend(act.planned(scene, &run, stage.name));
                reads.extend(act.reads());
                act.foresee(&mut run);
            }
            self.part_of.resize(writes.len(), place + 1);
            self.ended.push(Ended::NotBegun);
            steps.push(PlannedStep { name: stage.name.to_owned(), way, writes: writes.len() - before, reads, turn: None });
        }
        let what = plural(seen.chosen.count, "thing");
        let place = self.wanted.place();
        let summary = match (seen.chosen.is_nothing(), seen.chosen.count) {
            (true, _) => format!("Nothing is wrong with {place} that is for a repair"),
            (false, 0) => format!("This refreshes the tablets of {place}"),
            (false, _) => format!("This puts right {what} of {place}, in {}", plural(steps.len(), "step")),
        };
        warnings.extend(self.left_alone.iter().cloned());
        let plan = WritePlan {
            summary,
            locks: seen.chosen.locks().into_iter().map(|lock| lock.path).collect(),
            writes,
            warnings,
            steps,
            ..plan::begun(&self.call)
        };
        plan::check(self.plan.insert(plan.sealed()), &self.call)
    }

    fn summary(&self) -> String {
        self.plan.as_ref().map(|plan| plan.summary.clone()).unwrap_or_default()
    }

    /// The steps of the plan, a line for each write.
    fn steps(&self) -> Vec<String> {
        let line = |write: &PlannedWrite| {
            let step = write.rows.first().map_or("", |row| row.name.as_str());
            let place = if write.rpc.is_empty() { &write.address } else { &write.tablet };
            let method = write.rpc.rsplit('/').next().unwrap_or_default();
            let what = if write.statement.is_empty() { method } else { &write.statement };
            let cell =
                if write.rpc.is_empty() && write.tablet != GLOBAL { format!(" of {}", write.tablet) } else { String::new() };
            format!("{step}: {place}{cell} {what}")
        };
        self.plan.iter().flat_map(|plan| &plan.writes).map(line).collect()
    }

    fn reply(&self, summary: String) -> RepairResponse {
        RepairResponse { summary, steps: self.steps(), left_alone: self.left_alone.clone(), diagnosis: None }
    }

    /// Begins the next stage; after the last one gives the locks back.
    fn perform(&mut self, asks: &mut Asks) {
        let (Some(scene), Some(run)) = (&self.scene, &mut self.run) else { return };
        if let Some(stage) = self.stages.get(self.at) {
            self.performing = Some(Performing::start(stage.lanes.clone(), false, true, scene, run, asks));
            return;
        }
        self.phase = Phase::GivingBack;
        if let Some(locks) = &mut self.locks {
            locks.give_back(asks);
        }
    }

    /// All acts of a stage have ended.
    fn performed(&mut self, asks: &mut Asks) {
        let Some(mut performing) = self.performing.take() else { return self.perform(asks) };
        let undo = performing.take_undo();
        let Performing { failures, notes, .. } = performing;
        self.notes.extend(notes);
        if failures.is_empty() {
            if let Some(ended) = self.ended.get_mut(self.at + 1) {
                *ended = Ended::Done;
            }
            self.at += 1;
            return self.perform(asks);
        }
        self.cause = self.stopped(&failures);
        let untold = untold(undo, &failures);
        // A record that was right before stays: no diagnosis sees that its tablets do not know it.
        if failures.iter().any(|failed| failed.is_refresh && !untold.iter().any(|lane| is_of(lane, failed))) {
            self.cause += "\n";
            self.cause += REFRESH;
        }
        if let Some(ended) = self.ended.get_mut(self.at + 1) {
            *ended = Ended::Failed(failures);
        }
        let (Some(scene), Some(run)) = (&self.scene, &mut self.run) else { return };
        self.phase = Phase::TakingBack;
        self.performing = Some(Performing::start(untold, true, true, scene, run, asks));
    }

    fn stopped(&self, failures: &BTreeSet<Failed>) -> String {
        let (Some(scene), Some(stage)) = (&self.scene, self.stages.get(self.at)) else { return String::new() };
        let texts = grouped(failures, scene, false, "").join("\n");
        let left = self.stages.iter().skip(self.at).map(|stage| stage.name).collect::<Vec<_>>().join(", ");
        format!("{}{texts}\nmake the same request again to go on from here (left: {left})", stage.failure)
    }

    fn taken_back(&mut self, asks: &mut Asks) {
        let mut text = std::mem::take(&mut self.cause);
        if let Some(Performing { failures, notes, .. }) = self.performing.take() {
            self.notes.extend(notes);
            let failed: Vec<&str> = failures.iter().map(|failed| failed.text.as_str()).collect();
            if !failed.is_empty() {
                let _ =
                    write!(text, "\ntaking back what its tablets could not be told has failed in part: {}", failed.join("\n"));
                text += "\n";
                text += REFRESH;
            }
        }
        self.end(Err(Status::unknown(text)), asks);
    }

    fn look_after(&mut self, asks: &mut Asks) -> Result<(), Status> {
        self.phase = Phase::LookingAfter;
        self.after = Some(Diagnose::of(self.wanted.diagnosis(), false, self.now, asks)?);
        Ok(())
    }

    /// What is left is known.
    fn told(&mut self, asks: &mut Asks) {
        let after = self.after.take().map(|after| after.looked());
        let mut reply = self.reply(format!("{} was repaired", self.wanted.place()));
        match after {
            Some(Ok(looked)) => {
                let left = left(&looked.reply);
                let is_well = left.is_empty();
                self.notes.extend(left.into_iter().map(|text| format!("left: {text}")));
                self.notes.extend(is_well.then(|| format!("nothing is wrong with {} any more", self.wanted.place())));
                reply.diagnosis = Some(looked.reply);
            }
            Some(Err(status)) => drop(self.notes.insert(format!("what is left is not known: {}", status.message))),
            None => {}
        }
        self.end(Ok(reply), asks);
    }

    fn end(&mut self, result: Result<RepairResponse, Status>, asks: &mut Asks) {
        self.phase = Phase::Ending;
        self.result = Some(result);
        if let Some(locks) = &mut self.locks {
            locks.give_back(asks);
        }
    }
}

/// The name of the step that takes away locks.
const UNLOCK: &str = "take away locks whose holder is gone";

/// What helps a tablet that could not be told of its record.
const REFRESH: &str = "repair it with --refresh once they can be told";

/// Whether a lane changes the record of the shard that something failed on.
fn is_of(lane: &Lane, failed: &Failed) -> bool {
    let is_it = |act: &Act| matches!(act, Act::Edit(edit) if edit.keyspace == failed.place.0 && edit.shard == failed.place.1);
    lane.iter().flatten().any(is_it)
}

/// What a plan says of a lock that goes.
fn deletion((path, version): &(String, i64), scene: &Scene) -> Option<PlannedWrite> {
    let (keyspace, shard) = (scene.target_keyspace.clone(), String::new());
    let record = Deletion { cell: GLOBAL.into(), path: path.clone(), keyspace, shard, version: *version };
    Act::Delete(Box::new(record)).planned(scene, &Run::planned(scene), UNLOCK)
}

/// What cells serve is made from the rules as they are going to be.
fn foresee_rules(stages: &[Stage], run: &mut Run) {
    for act in stages.iter().flat_map(|stage| stage.lanes.iter().flatten().flatten()) {
        let Act::Edit(record) = act else { continue };
        let path = RULE_PATHS.into_iter().find(|path| record.cell == GLOBAL && record.path == *path);
        if let (Some(path), Ok(after)) = (path, record.edit.apply(&record.base.value)) {
            run.rules.insert(path, after);
            run.rule_edits.entry(path).or_default().push(record.edit.clone());
        }
    }
}

/// What takes back the records of shards whose primary could not be told. Where the locks were lost, nothing of it is sent.
fn untold(undo: Vec<Lane>, failures: &BTreeSet<Failed>) -> Vec<Lane> {
    let is_untold = |keyspace: &str, shard: &str| {
        failures.iter().any(|failed| failed.is_refresh && failed.place.0 == keyspace && failed.place.1 == shard)
    };
    let is_it = |act: &Act| matches!(act, Act::Edit(edit) if !edit.shard.is_empty() && is_untold(&edit.keyspace, &edit.shard));
    undo.into_iter().filter(|lane| lane.iter().flatten().any(is_it)).collect()
}

/// What a cell serves from now on that nobody has asked for: others have written it, and not served it.
fn served_too(seen: &Seen, run: &Run, cell: &str) -> Option<String> {
    let decode = |record: &[u8]| SrvVSchema::decode(record).unwrap_or_default();
    let before = decode(run.served.get(cell).map_or(&[][..], |stored| stored.value.as_slice()));
    let after = decode(&run.srv_vschema(&seen.scene, None).ok()?);
    let (rules, new) = (served_rules(&before), served_rules(&after));
    let mut also = BTreeSet::new();
    for (was, is) in [(&rules.tables, &new.tables), (&rules.shards, &new.shards), (&rules.keyspaces, &new.keyspaces)] {
        let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let others = keys.into_iter().filter(|key| !seen.chosen.own_keys.contains(*key) && was.get(*key) != is.get(*key));
        also.extend(others.map(|key| match is.get(key) {
            Some(to) => format!("{key} -> {}", to.join(", ")),
            None => format!("no {key}"),
        }));
    }
    let names: BTreeSet<&String> = before.keyspaces.keys().chain(after.keyspaces.keys()).collect();
    let other = names.into_iter().filter(|name| before.keyspaces.get(*name) != after.keyspaces.get(*name));
    also.extend(other.map(|name| format!("the vschema of {name}")));
    let also: Vec<String> = also.into_iter().collect();
    (!also.is_empty()).then(|| format!("cell {cell} then also serves what others have written: {}", also.join("; ")))
}

/// What is wrong still, a line each.
fn left(after: &DiagnoseResponse) -> Vec<String> {
    let line = |of: &str, it: &Deviation| format!("{of}{}: {}", it.mechanism, it.hurts);
    let workflows = after.workflows.iter().flat_map(|workflow| {
        let of = format!("{}.{}: ", workflow.keyspace, workflow.workflow);
        let unknown = workflow.unknown.iter().map(|why| format!("{of}not known: {why}")).collect::<Vec<_>>();
        workflow.deviations.iter().map(|it| line(&of, it)).chain(unknown).collect::<Vec<_>>()
    });
    workflows.chain(after.leftovers.iter().map(|it| line("", it))).collect()
}

impl Phases for Repair {
    fn go_on(&mut self, asks: &mut Asks) -> Result<(), Status> {
        match self.phase {
            Phase::Looking => {
                if let Some(seen) = self.seen(asks)? {
                    self.decide(&seen, asks)?;
                }
            }
            Phase::LookingUnderLocks => {
                if let Some(seen) = self.seen(asks)? {
                    self.decide_under_locks(seen, asks)?;
                }
            }
            Phase::Unlocking => self.lock(asks)?,
            Phase::Performing => self.performed(asks),
            Phase::TakingBack => self.taken_back(asks),
            Phase::GivingBack => self.look_after(asks)?,
            Phase::LookingAfter => self.told(asks),
            // Each waits for an answer.
            Phase::Locking | Phase::Ending => {}
        }
        Ok(())
    }

    fn fail(&mut self, status: Status, asks: &mut Asks) {
        self.end(Err(status), asks);
    }

    fn has_ended(&self) -> bool {
        self.phase == Phase::Ending
    }

    fn locks(&mut self) -> Option<&mut Locks> {
        self.locks.as_mut()
    }

    fn is_locking(&self) -> bool {
        self.phase == Phase::Locking
    }

    fn locked(&mut self, step: locks::Step, asks: &mut Asks) -> Result<(), Status> {
        match step {
            locks::Step::Waiting | locks::Step::Free => Ok(()),
            locks::Step::Held => {
                self.phase = Phase::LookingUnderLocks;
                self.sight = Some(Sight::start(&self.wanted, self.now, asks)?);
                Ok(())
            }
            locks::Step::NoDirectory(node) => Err(Status::unknown(format!("node doesn't exist: {node}"))),
            locks::Step::Refused(status) => Err(status),
        }
    }
}

impl Operation for Repair {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        let Some(answer) = self.of_locks(id, answer, asks) else { return self.advance(asks) };
        if let Some(asked) = self.unlocking.remove(&id) {
            if let Err(status) = self.unlocked(asked, answer, asks) {
                self.end(Err(status), asks);
            }
        } else if let Some(performing) = self.performing.as_mut().filter(|performing| performing.waits_for(id)) {
            if let (Some(scene), Some(run)) = (&self.scene, &mut self.run) {
                performing.answered(id, answer, scene, run, asks);
            }
        } else if let Some(sight) = &mut self.sight {
            sight.answered(id, answer, asks);
        } else if let Some(after) = &mut self.after {
            after.answered(id, answer, asks);
        }
        self.advance(asks);
    }

    fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    fn finish(&mut self) -> Reply {
        let result = self.result.take().unwrap_or_else(|| Err(Status::unknown("the repair ended without a result")));
        let mut notes: Vec<String> = std::mem::take(&mut self.notes).into_iter().collect();
        notes.extend(self.locks.as_ref().map(Locks::notes).unwrap_or_default());
        let written = self.plan.take().map(|plan| {
            let outcomes = if self.has_begun { outcomes(&plan, &self.part_of, &[], &self.ended, None) } else { Vec::new() };
            Box::new(Written { plan, outcomes, notes, refused: Vec::new() })
        });
        reply(&self.call, result.map(|reply| reply.encode_to_vec()), written)
    }
}
