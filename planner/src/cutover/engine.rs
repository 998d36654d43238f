//! The engine of a change of traffic: look, lock, look again under the locks, refuse, then step after step.
//!
//! What fails before the first journal is taken back, whatever the failure, in the opposite order and nothing but what this request has
//! done. After it there is only forward: the reply says what is left, and the same request goes on from what is there. Nothing is kept but
//! answers: a request that is made again reads everything anew.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, Code, Failure, PlannedStep, Reply, Status, StepWay as Way, Timestamp, WritePlan, Written},
    cutover::{
        act::{Lane, Run},
        dry_run,
        gating::{self, Gating},
        look::{Depth, Found, Look},
        perform::{Failed, Performing},
        phases::{Phases, reply},
        refusals::{Resolved, resolve},
        reopen::tell,
        report::{Ended, outcomes, texts},
        request::{Direction, Goal},
        scene::{Member, Scene, Stream},
        steps::{Basis, Planned, Step, left},
        streams::Part,
    },
    operation::{Asks, Operation},
    proto::{
        tabletmanagerdata::{PrimaryPositionRequest, PrimaryPositionResponse},
        vtctldata::{WorkflowStatusRequest, WorkflowSwitchTrafficResponse},
    },
    rpc,
    sidecar::query::Query,
    topo::names::check_object,
    traffic::{kind::Kind, names::reverse_of},
    write::{
        inquiry::{Inquired, Inquiring, Inquiry},
        kind::Lock,
        locks::{self, Locks},
        plan,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    LookingLightly,
    Locking,
    Looking,
    /// Where the source is, for the lines of a dry run.
    Positions,
    Stepping,
    /// A lock was lost: those that are left are given back, and all are taken again before anything is taken back.
    GivingBack,
    LockingAgain,
    /// Whether another request has gone on with it meanwhile.
    LookingAgain,
    Undoing,
    /// Where the traffic is now.
    State,
    Ending,
}

/// A change of traffic on its way.
pub(crate) struct Switch {
    goal: Goal,
    call: Call,
    now: Timestamp,
    phase: Phase,
    look: Option<Look>,
    locks: Option<Locks>,
    /// What was seen under the locks, and what follows from it.
    scene: Option<(Scene, Resolved)>,
    steps: Vec<Planned>,
    ended: Vec<Ended>,
    at: usize,
    run: Option<Run>,
    performing: Option<Performing>,
    /// By step, in the order in which they were done.
    undo: Vec<Vec<Lane>>,
    /// Why what was done is taken back.
    cause: String,
    undo_failures: BTreeSet<Failed>,
    was_undone: bool,
    /// Shards of the source that refuse writes by now, or may.
    closed: BTreeSet<String>,
    plan: Option<WritePlan>,
    /// The step of each write of the plan.
    step_of: Vec<usize>,
    positions: BTreeMap<String, String>,
    waiting: BTreeMap<AskId, String>,
    inquiring: Option<Inquiring>,
    notes: BTreeSet<String>,
    result: Option<Result<WorkflowSwitchTrafficResponse, Status>>,
}

impl Switch {
    /// Begins.
    ///
    /// # Errors
    /// What is refused without a look.
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let goal = Goal::of_switch(call)?;
        let (phase, depth) = if goal.dry_run { (Phase::Looking, Depth::Full) } else { (Phase::LookingLightly, Depth::Light) };
        let look = Look::start(&goal, depth, now, asks)?;
        Ok(Self {
            goal,
            call: call.clone(),
            now,
            phase,
            look: Some(look),
            locks: None,
            scene: None,
            steps: Vec::new(),
            ended: Vec::new(),
            at: 0,
            run: None,
            performing: None,
            undo: Vec::new(),
            cause: String::new(),
            undo_failures: BTreeSet::new(),
            was_undone: false,
            closed: BTreeSet::new(),
            plan: None,
            step_of: Vec::new(),
            positions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            inquiring: None,
            notes: BTreeSet::new(),
            result: None,
        })
    }

    fn lock(&mut self, found: &Found, asks: &mut Asks) -> Result<(), Status> {
        let wanted = wanted_locks(&self.goal, found);
        self.phase = Phase::Locking;
        let step = self.locks.insert(Locks::new(wanted, false)).take(asks);
        self.locked(step, asks)
    }

    fn not_taken_back(&self, status: &Status) -> Status {
        let text = format!("{}\n\ncancel migration failed, manual cleanup work may be necessary: {}", self.cause, status.message);
        Status { code: status.code, message: text }
    }

    /// All locks are held again: what was done is taken back, unless another request has finished it while they were not.
    fn looked_again(&mut self, asks: &mut Asks) -> Result<(), Status> {
        let Some(look) = &mut self.look else { return Ok(()) };
        let is_done = look.go_on(asks);
        if !is_done.map_err(|status| self.not_taken_back(&status))? {
            return Ok(());
        }
        let now = self.look.take().and_then(Look::into_scene);
        let is_frozen = |scene: &Scene| scene.streams.iter().any(Stream::is_frozen);
        let is_same = self.scene.as_ref().zip(now).is_some_and(|((scene, _), now)| {
            scene.is_reversal == now.is_reversal
                && scene.are_writes_switched == now.are_writes_switched
                && now.journals.keys().all(|shard| scene.journals.contains_key(shard))
                && is_frozen(&now) == is_frozen(scene)
        });
        if is_same {
            self.take_back(asks);
            return Ok(());
        }
        let text = "another request has gone on with this switch while the lock was lost: nothing was taken back";
        Err(Status { code: Code::FailedPrecondition, message: format!("{}\n{text}", self.cause) })
    }

    /// Everything was seen: what is going to be done, or why nothing is.
    fn decide(&mut self, scene: Scene, asks: &mut Asks) -> Result<(), Status> {
        let resolved = resolve(&self.goal, &scene)?;
        self.steps = left(&self.goal, &resolved, &scene).map_err(Status::unknown)?;
        self.ended = vec![Ended::NotBegun; self.steps.len()];
        self.write_plan(&scene, &resolved)?;
        if self.goal.dry_run {
            self.phase = Phase::Positions;
            // The reference asks for them whenever writes are to be stopped.
            for on in scene.sources.values().filter(|_| resolved.writes && scene.journals.is_empty() && !scene.is_frozen()) {
                let query = Query::typed(rpc::PRIMARY_POSITION, &PrimaryPositionRequest {}, "position");
                let what = query.call(&on.primary, &on.keyspace, &on.shard, &on.db_name);
                self.waiting.insert(asks.release(what), on.shard.clone());
            }
            self.scene = Some((scene, resolved));
            return Ok(());
        }
        self.run = Some(Run::begun(&scene, self.now.seconds));
        self.scene = Some((scene, resolved));
        self.phase = Phase::Stepping;
        self.step(asks);
        Ok(())
    }

    /// The plan of what is left; an error if that is another one than was read.
    fn write_plan(&mut self, scene: &Scene, resolved: &Resolved) -> Result<(), Status> {
        let basis = Basis { goal: &self.goal, resolved, scene };
        let mut run = Run::planned(scene);
        let (mut writes, mut steps) = (Vec::new(), Vec::new());
        for (place, planned) in self.steps.iter().enumerate() {
            let (before, mut reads) = (writes.len(), Vec::new());
            for act in basis.lanes(planned, &run).map_err(Status::unknown)?.into_iter().flatten().flatten() {
                writes.extend(act.planned(scene, &run, planned.step.name()));
                reads.extend(act.reads());
                act.foresee(&mut run);
            }
            self.step_of.resize(writes.len(), place);
            let (name, way) = (planned.step.name().to_owned(), planned.way);
            let turn = gating::turn(planned, false);
            steps.push(PlannedStep { name, way, writes: writes.len() - before, reads, turn });
        }
        let source = if scene.is_reversal { &scene.target_keyspace } else { &scene.source_keyspace };
        let (kind, is_reversal) = (scene.kind, scene.is_reversal);
        let is_there = self.goal.direction == Direction::Forward && self.goal.writes && scene.are_writes_switched;
        let may_be_reversal = is_there && !(scene.streams.is_empty() || scene.reverse_streams.is_empty());
        let workflow_type = scene.workflow_type;
        let found = Found { kind, source_keyspace: source.clone(), is_reversal, may_be_reversal, workflow_type };
        let plan = WritePlan {
            summary: self.summary(scene, resolved),
            locks: wanted_locks(&self.goal, &found).into_iter().map(|lock| lock.path).collect(),
            writes,
            refuses: gating::refuses(&self.steps, scene),
            steps,
            ..plan::begun(&self.call)
        };
        self.closed = plan.refuses.iter().flat_map(|refuses| refuses.before.iter().cloned()).collect();
        plan::check(self.plan.insert(plan.sealed()), &self.call)
    }

    /// One line of what is going to be done.
    fn summary(&self, scene: &Scene, resolved: &Resolved) -> String {
        let Goal { keyspace, workflow, .. } = &self.goal;
        if self.steps.is_empty() {
            return format!("The traffic of {keyspace}.{workflow} is where it is to be");
        }
        if resolved.reopens {
            let (source, what) = (&scene.source_keyspace, if scene.is_reversal { "way back" } else { "switch" });
            return format!("This takes back a {what} of {keyspace}.{workflow} that has stopped: {source} takes writes again");
        }
        let reads: Vec<String> = resolved.reads.iter().map(|of| of.as_str_name().to_lowercase()).collect();
        let mut parts = Vec::new();
        parts.extend((!reads.is_empty()).then(|| format!("{} reads", reads.join(", "))));
        parts.extend(resolved.writes.then(|| "writes".to_owned()));
        let back = if self.goal.direction == Direction::Backward { " back" } else { "" };
        let to = if resolved.are_reads_back { &resolved.reads_to } else { &scene.target_keyspace };
        let to = if scene.kind == Kind::Reshard {
            let to = if resolved.are_reads_back { &scene.sources } else { &scene.targets };
            to.values().map(Member::place).collect::<Vec<_>>().join(", ")
        } else {
            to.clone()
        };
        let count = self.steps.len();
        let steps = if count == 1 { "step" } else { "steps" };
        format!("This moves {} of {keyspace}.{workflow}{back} to {to}, in {count} {steps}", parts.join(" and "))
    }

    /// The lines of a dry run.
    fn dry(&mut self) {
        let Some((scene, resolved)) = &self.scene else { return };
        let Goal { keyspace, workflow, .. } = &self.goal;
        let at = dry_run::rfc822(self.now.seconds);
        self.result = Some(Ok(WorkflowSwitchTrafficResponse {
            summary: format!("{} dry run results for workflow {keyspace}.{workflow} at {at}", self.goal.verb()),
            dry_run_results: dry_run::lines(&self.goal, resolved, scene, &self.positions),
            ..WorkflowSwitchTrafficResponse::default()
        }));
        self.phase = Phase::Ending;
    }

    /// Begins the next step; after the last one asks where the traffic is.
    fn step(&mut self, asks: &mut Asks) {
        let (Some((scene, resolved)), Some(run)) = (&self.scene, &mut self.run) else { return };
        let Some(planned) = self.steps.get(self.at) else { return self.ask_state(asks) };
        let basis = Basis { goal: &self.goal, resolved, scene };
        let (lanes, failed) = match basis.lanes(planned, run) {
            Ok(lanes) => (lanes, None),
            Err(text) => (Vec::new(), Some(text)),
        };
        let gating = Gating::of(planned, false, scene);
        let mut performing = Performing::start_gating(gating, lanes, false, self.goal.force, scene, run, asks);
        performing.failures.extend(failed.map(|text| Failed { text, ..Failed::default() }));
        self.performing = Some(performing);
    }

    /// All acts of a step have ended.
    fn stepped(&mut self, asks: &mut Asks) {
        let Some(mut performing) = self.performing.take() else { return self.step(asks) };
        self.closed.retain(|shard| !performing.has_opened(shard));
        let undo = performing.take_undo();
        let Performing { failures, notes, has_written, closed, .. } = performing;
        self.notes.extend(notes);
        self.closed.extend(closed);
        self.undo.push(undo);
        let is_telling = self.steps.get(self.at).is_some_and(|planned| planned.step == Step::Tell);
        if is_telling {
            self.stay_closed(&failures);
        }
        let has_failed = !failures.is_empty();
        if let Some(ended) = self.ended.get_mut(self.at) {
            *ended = if has_failed { Ended::Failed(failures.clone()) } else { Ended::Done };
        }
        if !has_failed {
            if self.steps.get(self.at).is_some_and(|planned| planned.step == Step::Route) {
                self.closed.clear();
            }
            self.at += 1;
            return self.step(asks);
        }
        let (Some((scene, _)), Some(planned)) = (&self.scene, self.steps.get(self.at)) else { return };
        let cause = format!("{}{}", planned.step.failure(planned.way, scene), texts(&planned.step, &failures, scene));
        let is_journal_there = has_written || failures.iter().any(|failed| failed.is_unclear);
        if planned.way == Way::Forward || planned.way == Way::PointOfNoReturn && is_journal_there {
            return if is_telling { self.end(Err(Status::unknown(cause)), asks) } else { self.stop(&cause, asks) };
        }
        self.cause = cause;
        // Nothing can be taken back under a lock that is another's by now.
        if failures.iter().any(|failed| failed.is_not_sent) && self.undo.iter().any(|lanes| !lanes.is_empty()) {
            self.phase = Phase::GivingBack;
            if let Some(locks) = &mut self.locks {
                locks.give_back(asks);
            }
        } else {
            self.take_back(asks);
        }
    }

    /// Past the point of no return, or nobody knows whether it was passed.
    fn stop(&mut self, cause: &str, asks: &mut Asks) {
        let left = self.steps.iter().skip(self.at).map(|planned| planned.step.name()).collect::<Vec<_>>().join(", ");
        let text = format!("{cause}\nfrom here there is only forward: make the same request again to finish it (left: {left})");
        self.end(Err(Status::unknown(text)), asks);
    }

    fn take_back(&mut self, asks: &mut Asks) {
        self.phase = Phase::Undoing;
        self.was_undone = self.undo.iter().any(|lanes| !lanes.is_empty());
        let is_closed = |planned: &Planned| matches!(planned.step, Step::Close | Step::Reopen);
        if self.was_undone
            && self.steps.iter().take(self.undo.len()).any(is_closed)
            && let (Some((scene, _)), Some(last)) = (&self.scene, self.undo.first_mut())
        {
            // Last of all, beside what takes back the first step: nobody who cannot write waits for them.
            last.extend(tell(scene, &scene.sources.values().collect::<Vec<_>>()));
        }
        self.undone(asks);
    }

    /// What was taken back last has ended: the next, in the opposite order.
    fn undone(&mut self, asks: &mut Asks) {
        self.undone_step();
        while let Some(lanes) = self.undo.pop() {
            let (Some((scene, _)), Some(run)) = (&self.scene, &mut self.run) else { break };
            if lanes.is_empty() {
                continue;
            }
            let lanes = lanes.into_iter().rev().collect();
            let gating = self.steps.get(self.undo.len()).map(|planned| Gating::of(planned, true, scene)).unwrap_or_default();
            self.performing = Some(Performing::start_gating(gating, lanes, true, self.goal.force, scene, run, asks));
            if asks.outstanding() > 0 {
                return;
            }
            self.undone_step();
        }
        let cause = std::mem::take(&mut self.cause);
        let text = if self.undo_failures.is_empty() {
            cause
        } else {
            let texts: Vec<&str> = self.undo_failures.iter().map(|failed| failed.text.as_str()).collect();
            format!("{cause}\n\ncancel migration failed, manual cleanup work may be necessary: {}", texts.join("\n"))
        };
        self.end(Err(Status::unknown(text)), asks);
    }

    /// What came of taking back one step.
    fn undone_step(&mut self) {
        let Some(performing) = self.performing.take() else { return };
        self.closed.retain(|shard| !performing.has_opened(shard));
        let is_align = self.steps.get(self.undo.len()).is_some_and(|it| it.step == Step::Others(Part::Align));
        if is_align && !performing.failures.is_empty() {
            // One that stays where it was sent is known by the others of its workflow, as long as they stand still, too.
            let stops = self.steps.iter().position(|it| it.step == Step::Others(Part::Stop));
            if let Some(lanes) = stops.and_then(|at| self.undo.get_mut(at)) {
                lanes.clear();
                self.notes.insert("streams of other workflows stand still: diagnose says which, and how they go on".into());
            }
        }
        self.stay_closed(&performing.failures);
        self.undo_failures.extend(performing.failures);
        self.notes.extend(performing.notes);
    }

    /// Shards of the source whose primary came while they were closed, and cannot be told that they are open: they refuse writes still.
    fn stay_closed(&mut self, failures: &BTreeSet<Failed>) {
        let Some((scene, _)) = &self.scene else { return };
        let is_of_source = |failed: &&Failed| {
            let is_it = |on: &Member| failed.is_refresh && (&on.keyspace, &on.shard) == (&failed.place.0, &failed.place.1);
            scene.sources.values().any(is_it)
        };
        self.closed.extend(failures.iter().filter(is_of_source).map(|failed| failed.place.1.clone()));
    }

    fn ask_state(&mut self, asks: &mut Asks) {
        self.phase = Phase::State;
        let (keyspace, workflow) = (self.goal.keyspace.clone(), self.goal.workflow.clone());
        let request = WorkflowStatusRequest { keyspace, workflow, shards: Vec::new() };
        self.inquiring = Inquiry::Status(request).begin(self.now, asks).ok();
    }

    /// Where the traffic is now is known.
    fn told(&mut self, asks: &mut Asks) {
        let state = match self.inquiring.take().map(Inquiring::end) {
            Some(Inquired::Status(Ok(status), _)) => status.traffic_state,
            Some(Inquired::Status(Err(text), _)) => format!("Error reloading workflow state after switching traffic: {text}"),
            _ => String::new(),
        };
        let Goal { keyspace, workflow, .. } = &self.goal;
        let reply = WorkflowSwitchTrafficResponse {
            summary: format!("{} was successful for workflow {keyspace}.{workflow}", self.goal.verb()),
            start_state: self.scene.as_ref().map(|(scene, _)| scene.state.clone()).unwrap_or_default(),
            current_state: state,
            ..WorkflowSwitchTrafficResponse::default()
        };
        self.end(Ok(reply), asks);
    }

    fn end(&mut self, result: Result<WorkflowSwitchTrafficResponse, Status>, asks: &mut Asks) {
        self.phase = Phase::Ending;
        self.result = Some(result);
        if let Some(locks) = &mut self.locks {
            locks.give_back(asks);
        }
    }
}

/// All locks of the change, in the order of the reference: those on the workflow in both directions, then the keyspaces.
fn wanted_locks(goal: &Goal, found: &Found) -> Vec<Lock> {
    let Found { kind, source_keyspace, is_reversal, may_be_reversal, .. } = found;
    let (source, target) = (source_keyspace.as_str(), goal.keyspace.as_str());
    let mut wanted: Vec<Lock> = Vec::new();
    let mut names = vec![(target, goal.workflow.clone())];
    names.extend((*is_reversal || *may_be_reversal).then(|| (source, reverse_of(&goal.workflow))));
    for (keyspace, name) in names {
        // A workflow's name may be anything; one that would leave the directory has no lock there.
        if check_object(&name).is_ok() {
            wanted.push(Lock {
                path: format!("internal/named_locks/{keyspace}/{name}"),
                action: "WorkflowSwitchTraffic",
                is_named: true,
                is_patient: true,
                failure: format!("failed to lock the {keyspace}/{name} workflow: "),
            });
        }
    }
    let action = if goal.writes { "SwitchWrites" } else { "SwitchReads" };
    let keyspaces = if *is_reversal { [target, source] } else { [source, target] };
    for keyspace in keyspaces {
        let path = format!("keyspaces/{keyspace}");
        if wanted.iter().all(|lock| lock.path != path) {
            let failure = format!("failed to lock the {keyspace} keyspace: ");
            wanted.push(Lock { path, action, is_named: false, is_patient: true, failure });
        }
    }
    if *kind == Kind::MultiTenant {
        // Whoever changes the rules of keyspaces holds it, and writes over what others write meanwhile.
        let failure = "failed to lock the keyspace routing rules: ".into();
        wanted.push(Lock { path: "routing_rules".into(), action, is_named: false, is_patient: true, failure });
    }
    wanted
}

impl Phases for Switch {
    fn go_on(&mut self, asks: &mut Asks) -> Result<(), Status> {
        match self.phase {
            Phase::LookingLightly => {
                let Some(look) = &mut self.look else { return Ok(()) };
                if look.go_on(asks)? {
                    let found = look.light()?;
                    self.lock(&found, asks)?;
                }
            }
            Phase::Looking => {
                let Some(look) = &mut self.look else { return Ok(()) };
                if look.go_on(asks)? {
                    let scene = self.look.take().and_then(Look::into_scene);
                    let scene = scene.ok_or_else(|| Status::unknown("nothing was seen; nothing was changed"))?;
                    self.decide(scene, asks)?;
                }
            }
            Phase::Positions => self.dry(),
            Phase::Stepping => self.stepped(asks),
            Phase::GivingBack => {
                self.phase = Phase::LockingAgain;
                if let Some(locks) = &mut self.locks {
                    let step = locks.take(asks);
                    self.locked(step, asks)?;
                }
            }
            Phase::LookingAgain => self.looked_again(asks)?,
            Phase::Undoing => self.undone(asks),
            Phase::State => self.told(asks),
            // Each waits for an answer.
            Phase::Locking | Phase::LockingAgain | Phase::Ending => {}
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
        matches!(self.phase, Phase::Locking | Phase::LockingAgain)
    }

    fn locked(&mut self, step: locks::Step, asks: &mut Asks) -> Result<(), Status> {
        let status = match step {
            locks::Step::Waiting | locks::Step::Free => return Ok(()),
            locks::Step::Held if self.phase == Phase::LockingAgain => {
                self.phase = Phase::LookingAgain;
                let look = Look::start(&self.goal, Depth::Full, self.now, asks);
                self.look = Some(look.map_err(|status| self.not_taken_back(&status))?);
                return Ok(());
            }
            locks::Step::Held => {
                self.phase = Phase::Looking;
                self.look = Some(Look::start(&self.goal, Depth::Full, self.now, asks)?);
                return Ok(());
            }
            locks::Step::NoDirectory(node) => Status::unknown(format!("node doesn't exist: {node}")),
            locks::Step::Refused(status) => status,
        };
        if self.phase == Phase::LockingAgain {
            return Err(self.not_taken_back(&status));
        }
        Err(status)
    }
}

impl Operation for Switch {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        let Some(answer) = self.of_locks(id, answer, asks) else { return self.advance(asks) };
        if let Some(shard) = self.waiting.remove(&id) {
            if let Answer::Called(response) = answer {
                let said = PrimaryPositionResponse::decode(response.as_slice()).unwrap_or_default();
                self.positions.insert(shard, said.position);
            }
        } else if let Some(performing) = self.performing.as_mut().filter(|performing| performing.waits_for(id)) {
            if let (Some((scene, _)), Some(run)) = (&self.scene, &mut self.run) {
                performing.answered(id, answer, scene, run, asks);
            }
        } else if let Some(inquiring) = &mut self.inquiring {
            inquiring.answered(id, answer, asks);
        } else if let Some(look) = &mut self.look {
            look.answered(id, answer, asks);
        }
        self.advance(asks);
    }

    fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    fn finish(&mut self) -> Reply {
        let result = self.result.take().unwrap_or_else(|| Err(Status::unknown("the change of traffic ended without a result")));
        let plan = self.plan.take();
        let mut notes: Vec<String> = std::mem::take(&mut self.notes).into_iter().collect();
        notes.extend(self.locks.as_ref().map(Locks::notes).unwrap_or_default());
        if self.was_undone && self.undo_failures.is_empty() {
            notes.push("what had been done was taken back".into());
        }
        let written = plan.map(|plan| {
            let undone = self.was_undone.then_some(self.undo_failures.is_empty());
            let outcomes = outcomes(&plan, &self.step_of, &self.steps, &self.ended, undone);
            let refused = std::mem::take(&mut self.closed).into_iter().collect();
            Box::new(Written { plan, outcomes, notes, refused })
        });
        reply(&self.call, result.map(|reply| reply.encode_to_vec()), written)
    }
}
