//! The engine of every write: lock, look, decide, change, look again, unlock.
//!
//! Each step waits for all of the one before: what one target shows may be the reason to leave all of them alone. Knows no kind
//! of write; a [`TabletWrite`] does.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{
        self, Answer, AskId, Call, CallOptions, Code, Failure, FailureKind, Lost, Mode, Outcome, PlannedWrite, Reply, Status,
        Timestamp, Verdict, WritePlan, Written,
    },
    operation::{Asks, Operation, status},
    proto::tabletmanagerdata::VReplicationExecResponse,
    rpc,
    sidecar::survey::{Found, Look, Looked, Progress, Survey},
    topo::{
        names,
        targets::{Event, Target, Unreached},
    },
    write::{
        inquiry::{Inquired, Inquiring},
        kind::{Change, Done, NoTargets, Seen, Shown, TabletWrite},
        locks::{Locks, Step},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Locking,
    Looking,
    Inquiring,
    Changing,
    LookingAgain,
    Unlocking,
    Ended,
}

enum Waiting {
    Change(usize),
    /// A second look: which target's, and which of its looks.
    Again(usize, usize, Look),
}

/// A request that writes, on its way.
pub(crate) struct Write {
    /// Behind a pointer, so that the planner holds the engine once and not once for each verb: it is a download, too.
    verb: Box<dyn TabletWrite>,
    rpc: String,
    request: Vec<u8>,
    options: CallOptions,
    phase: Phase,
    now: Timestamp,
    /// The looks before anything is changed.
    survey: Option<Survey>,
    /// The read under way that the decision needs, and the asks that are its own.
    inquiry: Option<Inquiring>,
    replies: Vec<Inquired>,
    waiting: BTreeMap<AskId, Waiting>,
    locks: Locks,
    unreached: Vec<Unreached>,
    fatal: Option<Status>,
    seen: Vec<Seen>,
    changes: Vec<Change>,
    is_cleaned_up: bool,
    done: BTreeMap<usize, Done>,
    /// Second looks, by target and look.
    again: BTreeMap<usize, BTreeMap<usize, Looked>>,
    plan: Option<WritePlan>,
    /// What became of changes that only clean up, by place.
    notes: BTreeMap<usize, String>,
}

impl Write {
    /// Begins the request.
    pub(crate) fn start(verb: Box<dyn TabletWrite>, call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let locks = Locks::new(verb.locks(), call.options.force);
        let mut write = Self {
            verb,
            rpc: call.path.clone(),
            request: call.request.clone(),
            options: call.options.clone(),
            phase: Phase::Locking,
            now,
            survey: None,
            inquiry: None,
            replies: Vec::new(),
            waiting: BTreeMap::new(),
            locks,
            unreached: Vec::new(),
            fatal: None,
            seen: Vec::new(),
            changes: Vec::new(),
            is_cleaned_up: false,
            done: BTreeMap::new(),
            again: BTreeMap::new(),
            plan: None,
            notes: BTreeMap::new(),
        };
        let keyspace = write.verb.keyspace();
        names::check_object(keyspace).map_err(|bad| Status::unknown(format!("keyspace {keyspace:?} cannot exist: {bad}")))?;
        if !write.locks.look(asks) {
            write.lock(asks);
        }
        Ok(write)
    }

    /// Takes the locks, one after the other, and then looks. A plan takes none.
    fn lock(&mut self, asks: &mut Asks) {
        if self.options.mode == Mode::Preview {
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
            // No keyspace, hence no shards: clients know that text. vtctld looks for the shards before it locks.
            Step::NoDirectory(node) => {
                self.verb.no_targets(NoTargets::NoKeyspace { node: format!("{}/shards/", node.trim_end_matches('/')) })
            }
            Step::Refused(status) => status,
        };
        self.fatal = Some(status);
        self.end(asks);
    }

    fn look(&mut self, asks: &mut Asks) {
        self.phase = Phase::Looking;
        match Survey::start(self.verb.keyspace(), self.verb.shards(), asks) {
            Ok(survey) => self.survey = Some(survey),
            Err(status) => self.fail(status),
        }
    }

    /// The request fails; of several reasons always the same one is told, whichever came first.
    fn fail(&mut self, status: Status) {
        if self.fatal.as_ref().is_none_or(|known| (&status.message, status.code as i32) < (&known.message, known.code as i32)) {
            self.fatal = Some(status);
        }
    }

    /// Begins the next question, if there is one.
    fn inquire(&mut self, asks: &mut Asks) -> Result<(), Status> {
        if let Some(inquiry) = self.verb.inquiry(&self.seen, &self.replies) {
            self.inquiry = Some(inquiry.begin(self.now, asks)?);
        }
        Ok(())
    }

    fn found(&mut self, found: Found, asks: &mut Asks) {
        match found {
            Found::Target(index) => {
                let Some(survey) = &mut self.survey else { return };
                let looks = survey.target(index).map(|target| self.verb.looks(target)).unwrap_or_default();
                survey.look(index, 0, looks, asks);
            }
            Found::Seen(_) => {}
            Found::Unreached(unreached) => self.unreached.push(unreached),
            Found::Nobody(Event::NoShards(status)) => self.fail(self.verb.no_targets(NoTargets::NoShards(status))),
            Found::Nobody(Event::NoKeyspace { node }) => self.fail(self.verb.no_targets(NoTargets::NoKeyspace { node })),
            Found::Nobody(why) => why.status().into_iter().for_each(|status| self.fail(status)),
        }
    }

    fn ask_again(&mut self, target: usize, number: usize, look: Look, asks: &mut Asks) {
        let Some(seen) = self.seen.get(target) else { return };
        self.waiting.insert(asks.release(look.query().ask(&seen.target)), Waiting::Again(target, number, look));
    }

    /// Goes on to the next step, if everything of this one is there.
    fn advance(&mut self, asks: &mut Asks) {
        let is_waiting = !self.waiting.is_empty() || self.locks.is_waiting() || asks.outstanding() > 0;
        if is_waiting || self.survey.as_ref().is_some_and(|survey| !survey.is_done()) {
            return;
        }
        match self.phase {
            Phase::Locking | Phase::Ended => {}
            Phase::Looking => match self.settle() {
                Ok(()) => {
                    self.phase = Phase::Inquiring;
                    self.ask_on(asks);
                }
                Err(status) => self.refuse(status, asks),
            },
            Phase::Inquiring => {
                self.replies.extend(self.inquiry.take().map(Inquiring::end));
                self.ask_on(asks);
            }
            Phase::Changing => {
                if !self.clean_up(asks) {
                    self.look_again(asks);
                }
            }
            Phase::LookingAgain => {
                self.judge();
                self.end(asks);
            }
            Phase::Unlocking => self.phase = Phase::Ended,
        }
    }

    /// Asks the next question, or decides when there is none left.
    fn ask_on(&mut self, asks: &mut Asks) {
        if let Err(status) = self.inquire(asks) {
            return self.refuse(status, asks);
        }
        if self.inquiry.is_some() {
            // One that has its reply at once asks nothing.
            if asks.outstanding() == 0 {
                self.advance(asks);
            }
            return;
        }
        match self.decide() {
            Ok(changes) if changes.is_empty() || self.options.mode == Mode::Preview => self.end(asks),
            Ok(changes) => self.change(changes, asks),
            Err(status) => self.refuse(status, asks),
        }
    }

    fn refuse(&mut self, status: Status, asks: &mut Asks) {
        self.fatal = Some(status);
        self.end(asks);
    }

    /// Every target has been looked at: what was seen, in the order of shards, or why that is not enough.
    fn settle(&mut self) -> Result<(), Status> {
        if let Some(status) = self.fatal.take() {
            return Err(status);
        }
        let refusals = self.refusals();
        if !refusals.is_empty() {
            let mut status = status(&refusals, refusals.len() > 1);
            let few = if self.verb.shards().is_empty() { "; name the other shards to leave it out" } else { "" };
            status.message = format!("{}\nnothing was changed{few}", status.message);
            return Err(status);
        }
        let asked = self.survey.take().map(Survey::into_asked).unwrap_or_default();
        let seen = asked.into_iter().map(|asked| Seen { target: asked.target, looked: asked.looked.into_values().collect() });
        self.seen = seen.collect();
        let mut aliases: Vec<&str> = self.seen.iter().map(|seen| seen.target.address.alias.as_str()).collect();
        aliases.sort_unstable();
        if let Some(twice) = aliases.chunk_by(|a, b| a == b).find(|same| same.len() > 1).and_then(|same| same.first()) {
            let text = format!("two shards name {twice} as their primary, so one of them is wrong; nothing was changed");
            return Err(Status { code: Code::FailedPrecondition, message: text });
        }
        Ok(())
    }

    fn decide(&mut self) -> Result<Vec<Change>, Status> {
        let prepared = self.verb.prepare(&self.seen, &self.replies, self.options.force)?;
        let mut plan = self.plan(prepared.summary, &prepared.changes);
        (plan.kept, plan.warnings) = (prepared.kept, prepared.warnings);
        plan.warnings.extend(self.locks.warnings());
        let plan = plan.sealed();
        if let Mode::Planned(digest) = &self.options.mode
            && *digest != plan.digest
        {
            self.plan = Some(plan);
            let text = "the plan is not the one any more: nothing was changed".to_owned();
            return Err(Status { code: Code::FailedPrecondition, message: text });
        }
        self.plan = Some(plan);
        Ok(prepared.changes)
    }

    fn refusals(&self) -> Vec<Failure> {
        let keyspace = self.verb.keyspace();
        let unreached =
            self.unreached.iter().map(|unreached| unreached.place.failure(keyspace, unreached.lost, &unreached.message));
        // Of one target's failures that of its first look is told.
        let unseen = self.survey.iter().flat_map(Survey::asked).filter_map(|asked| {
            let message = asked.looked.values().find_map(Looked::failure)?;
            Some(asked.target.place.failure(keyspace, Lost::Shard, message))
        });
        let mut failures: Vec<Failure> = unreached.chain(unseen).collect();
        failures.sort();
        failures
    }

    fn plan(&self, summary: String, changes: &[Change]) -> WritePlan {
        let write = |change: &Change| {
            let target = &self.seen.get(change.target)?.target;
            Some(PlannedWrite {
                keyspace: target.keyspace.clone(),
                shard: target.place.shard.clone(),
                tablet: target.address.alias.clone(),
                address: target.address.address(),
                db_name: target.db_name.clone(),
                rpc: change.query.path().into(),
                request: change.query.request(),
                statement: change.query.statement.clone(),
                rows: change.rows.clone(),
            })
        };
        WritePlan {
            planner: format!("{} {}", crate::VERSION, crate::DIGEST),
            rpc: self.rpc.clone(),
            request: self.request.clone(),
            force: self.options.force,
            shards: self.options.shards.clone(),
            summary,
            locks: self.locks.paths(),
            writes: changes.iter().filter_map(write).collect(),
            kept: Vec::new(),
            warnings: Vec::new(),
            digest: String::new(),
        }
    }

    fn change(&mut self, changes: Vec<Change>, asks: &mut Asks) {
        self.phase = Phase::Changing;
        self.changes = changes;
        let first: Vec<usize> = self.places(|change| !change.is_extra);
        self.send(&first, asks);
    }

    /// The changes of one kind, by place.
    fn places(&self, is_it: impl Fn(&Change) -> bool) -> Vec<usize> {
        self.changes.iter().enumerate().filter(|(_, change)| is_it(change)).map(|(index, _)| index).collect()
    }

    fn send(&mut self, changes: &[usize], asks: &mut Asks) {
        for &index in changes {
            let Some(change) = self.changes.get(index) else { continue };
            let Some(seen) = self.seen.get(change.target) else { continue };
            self.waiting.insert(asks.release(change.query.ask(&seen.target)), Waiting::Change(index));
        }
    }

    /// Sends what only matters after the change itself, where that has been made; whether there was any.
    fn clean_up(&mut self, asks: &mut Asks) -> bool {
        if std::mem::replace(&mut self.is_cleaned_up, true) {
            return false;
        }
        let is_made = |target: usize| {
            self.done.values().filter(|done| done.change.target == target).all(|done| done.verdict == Verdict::Applied)
        };
        let extra = self.places(|change| change.is_extra && is_made(change.target));
        self.send(&extra, asks);
        !extra.is_empty()
    }

    fn changed(&mut self, index: usize, answer: Answer) {
        let Some(change) = self.changes.get(index).cloned() else { return };
        if change.is_extra {
            // What it answers says nothing of the request, whatever form it has.
            if let Answer::Failed { message, .. } = answer {
                let place = self.seen.get(change.target).map_or_else(String::new, |seen| {
                    let Target { keyspace, place, address, .. } = &seen.target;
                    format!("{} {}: ", contract::target(keyspace, &place.shard), address.alias)
                });
                let text = format!("{place}{} was not done, and does not matter to the rest: {message}", change.query.statement);
                self.notes.insert(index, text);
            }
            return;
        }
        let mut done =
            Done { change, verdict: Verdict::Unknown, rows: None, error: String::new(), shown: String::new(), kind: None };
        match answer {
            // The answers of all calls that write rows have this form.
            Answer::Called(bytes) => match VReplicationExecResponse::decode(bytes.as_slice()) {
                Ok(response) => {
                    done.rows = response.result.map(|result| result.rows_affected);
                    if done.rows.is_none() && done.change.query.path() == rpc::UPDATE_VREPLICATION_WORKFLOW {
                        done.error = "the tablet has no stream of the workflow any more".into();
                    } else if done.rows.is_none()
                        && [rpc::VREPLICATION_EXEC, rpc::EXECUTE_QUERY].contains(&done.change.query.path())
                    {
                        done.error = "the tablet's answer has no result".into();
                    } else {
                        done.verdict = Verdict::Applied;
                    }
                }
                Err(error) => done.error = format!("the tablet's answer cannot be read: {error}"),
            },
            Answer::Failed { kind: FailureKind::NotSent, message } => (done.error, done.verdict) = (message, Verdict::NotApplied),
            Answer::Failed { kind, message } => (done.error, done.kind) = (message, Some(kind)),
            _ => done.error = "the tablet call was answered with a topology record".into(),
        }
        self.done.insert(index, done);
    }

    /// Looks once more at each target on which a change failed.
    fn look_again(&mut self, asks: &mut Asks) {
        self.phase = Phase::LookingAgain;
        let failed: BTreeSet<usize> =
            self.done.values().filter(|done| done.verdict == Verdict::Unknown).map(|done| done.change.target).collect();
        for target in failed {
            let Some(looks) = self.seen.get(target).map(|seen| self.verb.looks_again(seen)) else { continue };
            self.again.insert(target, BTreeMap::new());
            for (number, look) in looks.into_iter().enumerate() {
                self.ask_again(target, number, look, asks);
            }
        }
        self.advance(asks);
    }

    fn looked_again(&mut self, target: usize, number: usize, look: Look, answer: Answer, asks: &mut Asks) {
        match look.answered(answer) {
            Progress::Again(look) => self.ask_again(target, number, look, asks),
            Progress::Ended(looked) => drop(self.again.entry(target).or_default().insert(number, looked)),
        }
    }

    fn judge(&mut self) {
        let mut again = BTreeMap::new();
        for (target, looked) in std::mem::take(&mut self.again) {
            let Some(before) = self.seen.get(target) else { continue };
            // Of several failures that of the first look is told.
            let after = match looked.values().find_map(Looked::failure) {
                Some(text) => Err(text.to_owned()),
                None => Ok(Seen { target: before.target.clone(), looked: looked.into_values().collect() }),
            };
            again.insert(target, after);
        }
        for done in self.done.values_mut().filter(|done| done.verdict == Verdict::Unknown) {
            let target = done.change.target;
            let (Some(before), Some(after)) = (self.seen.get(target), again.get(&target)) else { continue };
            let after = match after {
                Ok(after) => after,
                Err(text) => {
                    done.shown = format!("looking again: {text}");
                    continue;
                }
            };
            let may_still_be_at_work = done.kind.is_some_and(ends_before_the_work);
            (done.verdict, done.shown) = match self.verb.judge(&done.change, before, after) {
                Shown::All => (Verdict::Applied, "a second look shows the change".into()),
                Shown::Nothing if may_still_be_at_work => {
                    (Verdict::Unknown, "a second look shows the rows as they were, but the call may still be at work".into())
                }
                Shown::Nothing => (Verdict::NotApplied, "a second look shows the rows as they were".into()),
                Shown::Part(text) => (Verdict::Unknown, format!("a second look shows {text}")),
            };
        }
    }

    fn end(&mut self, asks: &mut Asks) {
        self.phase = if self.locks.give_back(asks) { Phase::Unlocking } else { Phase::Ended };
    }
}

impl Operation for Write {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if self.locks.waits_for(id) {
            if let Some(step) = self.locks.answered(id, answer, asks) {
                self.step(step, asks);
            }
            return self.advance(asks);
        }
        match self.waiting.remove(&id) {
            Some(Waiting::Change(index)) => self.changed(index, answer),
            Some(Waiting::Again(target, number, look)) => self.looked_again(target, number, look, answer, asks),
            None if self.survey.as_ref().is_some_and(|survey| survey.waits_for(id)) => {
                let found = self.survey.as_mut().map(|survey| survey.answered(id, answer, asks));
                for found in found.into_iter().flatten() {
                    self.found(found, asks);
                }
            }
            None => {
                if let Some(inquiry) = &mut self.inquiry {
                    inquiry.answered(id, answer, asks);
                }
            }
        }
        self.advance(asks);
    }

    fn failures(&self) -> Vec<Failure> {
        self.refusals()
    }

    fn finish(&mut self) -> Reply {
        let done: Vec<Done> = std::mem::take(&mut self.done).into_values().collect();
        let outcomes: Vec<Outcome> = done.iter().map(|done| done.outcome(&self.seen)).collect();
        let result = match self.fatal.take() {
            Some(status) => Err(status),
            None if self.options.mode == Mode::Preview => Ok(Vec::new()),
            None if done.iter().all(|done| done.verdict == Verdict::Applied) => self.verb.reply(&self.seen, &done),
            None => {
                let lines: Vec<String> = outcomes.iter().map(ToString::to_string).collect();
                Err(self.verb.failure(&self.seen, &done, lines.join("\n")))
            }
        };
        let notes = std::mem::take(&mut self.notes).into_values().chain(self.locks.notes()).collect();
        let written = self.plan.take().map(|plan| Box::new(Written { plan, outcomes, notes }));
        Reply { written, ..Reply::new(result, Vec::new()) }
    }
}

/// Whether a call that failed like this may go on: the other side has not said that it is over, or only that nobody waits for it.
pub(super) fn ends_before_the_work(kind: FailureKind) -> bool {
    const CANCELLED: i32 = 1;
    const DEADLINE_EXCEEDED: i32 = 4;
    match kind {
        FailureKind::TimedOut | FailureKind::Unreachable => true,
        FailureKind::Status(code) => matches!(code, CANCELLED | DEADLINE_EXCEEDED),
        FailureKind::NotSent | FailureKind::TooLarge => false,
    }
}
