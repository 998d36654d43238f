//! The engine of every write: lock, look, decide, change, look again, judge, take back what has to be, unlock.
//!
//! Each step waits for all of the one before: what one target shows may be the reason to leave all of them alone. Knows no kind
//! of write, nor whether tablets or records are its targets; a [`TargetSet`] does.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::{Answer, AskId, Call, Failure, Mode, Outcome, Reply, Status, Timestamp, Verdict, WritePlan, Written, shard_text},
    operation::{Asks, Operation},
    topo::names::KeyspaceName,
    write::{
        change::{Change, Stage},
        judge::Done,
        kind::{RecordWrite, TabletWrite},
        locks::{Locks, Step},
        plan,
        records::Records,
        tablets::Tablets,
        targets::TargetSet,
        unlock::Unlock,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Locking,
    Looking,
    Changing,
    LookingAgain,
    Undoing,
    Ending,
}

/// A request that writes, on its way.
pub(crate) struct Write {
    /// Behind a pointer, so that the planner holds the engine once and not once for each kind: it is a download, too.
    targets: Box<dyn TargetSet>,
    call: Call,
    phase: Phase,
    locks: Locks,
    fatal: Option<Status>,
    changes: Vec<Change>,
    /// The changes that have not been sent, by place.
    stages: BTreeMap<Stage, Vec<usize>>,
    /// The changes under way, by place.
    waiting: BTreeMap<AskId, usize>,
    done: BTreeMap<usize, Done>,
    plan: Option<WritePlan>,
    /// What became of changes that are made at best, by place.
    notes: BTreeMap<usize, String>,
}

impl Write {
    /// Begins a request that changes rows of tablets.
    ///
    /// # Errors
    /// A keyspace that cannot exist.
    pub(crate) fn of_tablets(kind: Box<dyn TabletWrite>, call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        KeyspaceName::of_request(kind.keyspace())?;
        Ok(Self::start(Box::new(Tablets::new(kind, now)), call, asks))
    }

    /// Begins a request that changes records of a keyspace.
    pub(crate) fn of_records(kind: Box<dyn RecordWrite>, call: &Call, asks: &mut Asks) -> Self {
        Self::start(Box::new(Records::new(kind)), call, asks)
    }

    /// Begins a request that takes locks of others away.
    pub(crate) fn of_locks(targets: Unlock, call: &Call, asks: &mut Asks) -> Self {
        Self::start(Box::new(targets), call, asks)
    }

    fn start(targets: Box<dyn TargetSet>, call: &Call, asks: &mut Asks) -> Self {
        let locks = Locks::new(targets.locks(), call.options.force);
        let mut write = Self {
            targets,
            call: call.clone(),
            phase: Phase::Locking,
            locks,
            fatal: None,
            changes: Vec::new(),
            stages: BTreeMap::new(),
            waiting: BTreeMap::new(),
            done: BTreeMap::new(),
            plan: None,
            notes: BTreeMap::new(),
        };
        if !write.locks.look(asks) {
            write.lock(asks);
        }
        write
    }

    /// Takes the locks, one after the other, and then looks. A plan takes none.
    fn lock(&mut self, asks: &mut Asks) {
        if self.call.options.mode == Mode::Preview {
            return self.look(asks);
        }
        let step = self.locks.take(asks);
        self.step(step, asks);
    }

    fn step(&mut self, step: Step, asks: &mut Asks) {
        let status = match step {
            Step::Waiting => return,
            Step::Free => return self.lock(asks),
            Step::Held => return self.look(asks),
            Step::NoDirectory(node) => self.targets.no_directory(node),
            Step::Refused(status) => status,
        };
        self.refuse(status, asks);
    }

    fn look(&mut self, asks: &mut Asks) {
        self.phase = Phase::Looking;
        if let Err(status) = self.targets.look(asks) {
            self.refuse(status, asks);
        }
    }

    /// Goes on to the next step, if everything of this one is there.
    fn advance(&mut self, asks: &mut Asks) {
        if asks.outstanding() > 0 {
            return;
        }
        match self.phase {
            Phase::Locking | Phase::Ending => {}
            Phase::Undoing => self.end(asks),
            Phase::Looking => match self.targets.look_on(asks) {
                Ok(true) => {}
                Ok(false) => self.decide(asks),
                Err(status) => self.refuse(status, asks),
            },
            Phase::Changing => self.send(asks),
            Phase::LookingAgain => {
                self.judge();
                self.undo(asks);
            }
        }
    }

    fn decide(&mut self, asks: &mut Asks) {
        match self.plan() {
            Ok(changes) if changes.is_empty() || self.call.options.mode == Mode::Preview => self.end(asks),
            Ok(changes) => self.change(changes, asks),
            Err(status) => self.refuse(status, asks),
        }
    }

    /// What is to be done, which is what the plan says; an error if that is another plan than the one that was read.
    fn plan(&mut self) -> Result<Vec<Change>, Status> {
        let prepared = self.targets.prepare(self.call.options.force)?;
        let plan = WritePlan {
            summary: prepared.summary,
            locks: self.locks.paths(),
            writes: prepared.changes.iter().map(|change| change.planned.clone()).collect(),
            kept: prepared.kept,
            warnings: prepared.warnings.into_iter().chain(self.locks.warnings()).collect(),
            ..plan::begun(&self.call)
        };
        plan::check(self.plan.insert(plan.sealed()), &self.call)?;
        Ok(prepared.changes)
    }

    fn change(&mut self, changes: Vec<Change>, asks: &mut Asks) {
        self.phase = Phase::Changing;
        for (place, change) in changes.iter().enumerate() {
            self.stages.entry(change.stage).or_default().push(place);
        }
        self.changes = changes;
        self.send(asks);
    }

    /// Sends the next stage of which there is something to send; after the last one looks again.
    fn send(&mut self, asks: &mut Asks) {
        while self.waiting.is_empty() {
            let Some((stage, places)) = self.stages.pop_first() else { return self.look_again(asks) };
            let failed = self.targets_of(|verdict| verdict != Verdict::Applied);
            for place in places {
                let Some(change) = self.changes.get(place) else { continue };
                match stage {
                    Stage::Derived if !failed.is_empty() => {
                        self.done.insert(place, Done::not_sent(change.clone()));
                    }
                    Stage::BestEffort if failed.contains(&change.target) => {}
                    Stage::First | Stage::Derived | Stage::BestEffort => {
                        self.waiting.insert(asks.release(change.ask.clone()), place);
                    }
                }
            }
        }
    }

    /// The targets of which a change has ended so.
    fn targets_of(&self, is_it: impl Fn(Verdict) -> bool) -> BTreeSet<usize> {
        self.done.values().filter(|done| is_it(done.verdict)).map(|done| done.change.target).collect()
    }

    fn changed(&mut self, place: usize, answer: Answer) {
        if self.phase == Phase::Undoing {
            if let Some(done) = self.done.get_mut(&place) {
                done.undone(answer);
            }
            return;
        }
        let Some(change) = self.changes.get(place) else { return };
        if change.stage != Stage::BestEffort {
            self.done.insert(place, Done::new(change.clone(), answer));
        } else if let Answer::Failed { message, .. } = answer {
            // Any other answer, whatever form it has, says nothing of the request.
            let planned = &change.planned;
            let whose = format!("{} {}", shard_text(&planned.keyspace, &planned.shard), planned.tablet);
            let text = format!("{whose}: {} was not done, and does not matter to the rest: {message}", planned.statement);
            self.notes.insert(place, text);
        }
    }

    /// Looks once more at each target on which a change failed.
    fn look_again(&mut self, asks: &mut Asks) {
        self.phase = Phase::LookingAgain;
        for target in self.targets_of(|verdict| verdict == Verdict::Unknown) {
            self.targets.look_again(target, asks);
        }
        self.advance(asks);
    }

    fn judge(&mut self) {
        for done in self.done.values_mut().filter(|done| done.verdict == Verdict::Unknown) {
            if let Some(shown) = self.targets.shown(&done.change) {
                done.judge(shown);
            }
        }
    }

    /// Takes back what can be, if it is certain that a change was not made. Where nobody can tell, it may have been made everywhere.
    fn undo(&mut self, asks: &mut Asks) {
        self.phase = Phase::Undoing;
        if !self.targets_of(|verdict| verdict == Verdict::NotApplied).is_empty() {
            for (&place, done) in self.done.iter().filter(|(_, done)| done.verdict == Verdict::Applied) {
                if let Some(undo) = &done.change.undo {
                    self.waiting.insert(asks.release(undo.clone()), place);
                }
            }
        }
        self.advance(asks);
    }

    fn refuse(&mut self, status: Status, asks: &mut Asks) {
        self.fatal = Some(status);
        self.end(asks);
    }

    fn end(&mut self, asks: &mut Asks) {
        self.phase = Phase::Ending;
        self.locks.give_back(asks);
    }
}

impl Operation for Write {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if self.locks.waits_for(id) {
            if let Some(step) = self.locks.answered(id, answer, asks) {
                self.step(step, asks);
            }
        } else if let Some(place) = self.waiting.remove(&id) {
            self.changed(place, answer);
        } else {
            self.targets.answered(id, answer, asks);
        }
        self.advance(asks);
    }

    fn failures(&self) -> Vec<Failure> {
        self.targets.failures()
    }

    fn finish(&mut self) -> Reply {
        let done: Vec<Done> = std::mem::take(&mut self.done).into_values().collect();
        let outcomes: Vec<Outcome> = done.iter().map(Done::outcome).collect();
        let result = match self.fatal.take() {
            Some(status) => Err(status),
            None if self.call.options.mode == Mode::Preview => Ok(Vec::new()),
            None if done.iter().all(|done| done.verdict == Verdict::Applied) => self.targets.reply(&done),
            None => {
                let lines: Vec<String> = outcomes.iter().map(ToString::to_string).collect();
                Err(self.targets.failure(&done, lines.join("\n")))
            }
        };
        let notes = std::mem::take(&mut self.notes).into_values().chain(self.locks.notes()).collect();
        let written = self.plan.take().map(|plan| Box::new(Written { plan, outcomes, notes }));
        Reply { written, ..Reply::new(result, Vec::new()) }
    }
}
