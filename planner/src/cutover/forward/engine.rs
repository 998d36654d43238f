//! The engine of changes that only go forward: look, lock, look again under the locks, refuse, then part after part.
//!
//! Nothing is taken back. A request that fails says what is left; made again, it reads everything anew and goes on.

use std::collections::BTreeSet;

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, Code, Failure, PlannedStep, Reply, Status, StepWay, Timestamp, WritePlan, Written},
    cutover::{
        act::Run,
        dry_run::rfc822,
        forward::{
            acts, cancel, complete, lines, mirror,
            request::{Task, Verb},
            stage::{Stage, Stages},
        },
        look::{Depth, Found, Look, Reach},
        perform::{Failed, Performing},
        phases::{Phases, reply},
        report::{Ended, grouped, outcomes},
        scene::Scene,
    },
    operation::{Asks, Operation},
    proto::{
        binlogdata::VReplicationWorkflowType as Type,
        topodata::TabletAlias,
        vtctldata::{
            MoveTablesCompleteResponse, WorkflowDeleteResponse, WorkflowMirrorTrafficResponse, WorkflowStatusRequest,
            workflow_delete_response::TabletInfo,
        },
    },
    sidecar::{
        query::Query,
        result::{Row, RowSet},
    },
    topo::{
        names::{alias_text, check_object},
        targets::unexpected,
    },
    traffic::kind::Kind,
    words::plural,
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
    /// Which tables a shard of the source has.
    Tables,
    Performing,
    /// Where the traffic is now.
    State,
    Ending,
}

/// A change on its way.
pub(crate) struct Forward {
    task: Task,
    call: Call,
    now: Timestamp,
    phase: Phase,
    look: Option<Look>,
    locks: Option<Locks>,
    /// What was seen under the locks.
    scene: Option<Scene>,
    /// Tables of the source and whether each is a view, and the question for them.
    copied: Vec<(String, bool)>,
    question: Option<(AskId, Query)>,
    stages: Vec<Stage>,
    ended: Vec<Ended>,
    at: usize,
    run: Option<Run>,
    performing: Option<Performing>,
    plan: Option<WritePlan>,
    /// The part of each write of the plan.
    part_of: Vec<usize>,
    inquiring: Option<Inquiring>,
    notes: BTreeSet<String>,
    /// Only its streams are to go, and there is another way for that.
    is_for_streams_alone: bool,
    result: Option<Result<Vec<u8>, Status>>,
}

impl Forward {
    /// Begins.
    ///
    /// # Errors
    /// A name that cannot exist.
    pub(crate) fn start(task: Task, call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let (phase, depth) = if task.dry_run { (Phase::Looking, Depth::Full) } else { (Phase::LookingLightly, Depth::Light) };
        let look = Look::start_for(reach(&task), &task.goal(), depth, now, asks)?;
        Ok(Self {
            task,
            call: call.clone(),
            now,
            phase,
            look: Some(look),
            locks: None,
            scene: None,
            copied: Vec::new(),
            question: None,
            stages: Vec::new(),
            ended: Vec::new(),
            at: 0,
            run: None,
            performing: None,
            plan: None,
            part_of: Vec::new(),
            inquiring: None,
            notes: BTreeSet::new(),
            is_for_streams_alone: false,
            result: None,
        })
    }

    /// Whether nothing was done because the workflow has nothing but streams: a lookup vindex's, a schema migration's.
    pub(crate) fn is_for_streams_alone(&self) -> bool {
        self.is_for_streams_alone
    }

    /// What has neither tables nor traffic of its own is not cancelled like this.
    fn check_type(&mut self, workflow_type: i32) -> Result<(), Status> {
        let has_streams_alone = [Type::CreateLookupIndex, Type::OnlineDdl].into_iter().any(|of| workflow_type == i32::from(of));
        if has_streams_alone && matches!(self.task.verb, Verb::Cancel { .. }) {
            self.is_for_streams_alone = true;
            let message = "the workflow has nothing but streams; nothing was changed".to_owned();
            return Err(Status { code: Code::Unimplemented, message });
        }
        Ok(())
    }

    fn lock(&mut self, found: &Found, asks: &mut Asks) -> Result<(), Status> {
        self.phase = Phase::Locking;
        let step = self.locks.insert(Locks::new(wanted_locks(&self.task, found), false)).take(asks);
        self.locked(step, asks)
    }

    fn seen(&mut self, scene: Scene, asks: &mut Asks) -> Result<(), Status> {
        self.check_type(scene.workflow_type)?;
        let asks_for_tables = matches!(self.task.verb, Verb::Cancel { .. }) && cancel::needs_tables(&self.task, &scene);
        if let Some(on) = scene.sources.values().next().filter(|_| asks_for_tables) {
            let query = acts::all_tables(on);
            let what = query.call(&on.primary, &on.keyspace, &on.shard, &on.db_name);
            self.question = Some((asks.release(what), query));
        }
        self.phase = Phase::Tables;
        self.scene = Some(scene);
        Ok(())
    }

    fn took_tables(&mut self, query: &Query, answer: Answer) -> Result<(), String> {
        let rows = match answer {
            Answer::Called(response) => query.result(&response).map_err(|error| error.to_string())?,
            Answer::Failed { message, .. } => return Err(message),
            other => return Err(unexpected("a read of tables", &other)),
        };
        let rows = RowSet::new(rows.unwrap_or_default()).map_err(|error| error.to_string())?;
        let name = |row: &Row<'_>, column: &str| match row.text(column) {
            text if text.is_empty() => row.text(&column.to_uppercase()),
            text => text,
        };
        let one = |row: Row<'_>| (name(&row, "table_name"), name(&row, "table_type") == "VIEW");
        self.copied = rows.rows().map(one).filter(|(table, _)| !table.is_empty() && !acts::is_internal(table)).collect();
        // Views first: what they show is there as long as they are.
        self.copied.sort_by(|a, b| (!a.1, &a.0).cmp(&(!b.1, &b.0)));
        Ok(())
    }

    /// Everything was seen: what is going to be done, or why nothing is.
    fn decide(&mut self, asks: &mut Asks) -> Result<(), Status> {
        let Some(scene) = self.scene.take() else { return Ok(()) };
        let stages = match &self.task.verb {
            Verb::Complete { renames } => complete::stages(&self.task, *renames, &scene),
            Verb::Cancel { batch } => cancel::stages(&self.task, *batch, &scene, &self.copied),
            Verb::Mirror { types, percent } => mirror::stages(types, *percent, &scene),
        };
        let Stages(stages) = stages?;
        self.stages = stages;
        self.ended = vec![Ended::NotBegun; self.stages.len()];
        self.write_plan(&scene)?;
        if self.task.dry_run {
            self.result = Some(Ok(self.dry_reply(&scene)));
            self.phase = Phase::Ending;
            return Ok(());
        }
        self.run = Some(Run::begun(&scene, self.now.seconds));
        self.scene = Some(scene);
        self.phase = Phase::Performing;
        self.perform(asks);
        Ok(())
    }

    fn write_plan(&mut self, scene: &Scene) -> Result<(), Status> {
        let mut run = Run::planned(scene);
        let (mut writes, mut kept, mut steps, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (place, stage) in self.stages.iter().enumerate() {
            let (before, mut reads) = (writes.len(), Vec::new());
            for act in stage.lanes.iter().flatten().flatten() {
                writes.extend(act.planned(scene, &run, stage.name));
                reads.extend(act.reads());
                act.foresee(&mut run);
            }
            self.part_of.resize(writes.len(), place);
            let (name, way) = (stage.name.to_owned(), StepWay::Forward);
            steps.push(PlannedStep { name, way, writes: writes.len() - before, reads, turn: None });
            gone.extend(stage.gone.iter().cloned());
            kept.extend(stage.kept.clone());
        }
        if self.task.keep_data {
            kept.push("the tables".to_owned());
        }
        if self.task.keep_rules {
            kept.push("the routing rules".to_owned());
        }
        let (kind, source_keyspace) = (scene.kind, scene.source_keyspace.clone());
        let found =
            Found { kind, source_keyspace, is_reversal: false, may_be_reversal: false, workflow_type: scene.workflow_type };
        let plan = WritePlan {
            summary: self.summary(),
            locks: wanted_locks(&self.task, &found).into_iter().map(|lock| lock.path).collect(),
            writes,
            kept,
            gone,
            steps,
            ..plan::begun(&self.call)
        };
        plan::check(self.plan.insert(plan.sealed()), &self.call)
    }

    /// One line of what is going to be done.
    fn summary(&self) -> String {
        let Task { keyspace, workflow, .. } = &self.task;
        let what = match &self.task.verb {
            Verb::Complete { .. } => "completes",
            Verb::Cancel { .. } => "cancels",
            Verb::Mirror { percent, .. } if *percent <= 0.0 => "ends mirroring of",
            Verb::Mirror { .. } => "mirrors traffic of",
        };
        format!("This {what} {keyspace}.{workflow}, in {}", plural(self.stages.len(), "step"))
    }

    fn dry_reply(&self, scene: &Scene) -> Vec<u8> {
        let Task { keyspace, workflow, .. } = &self.task;
        let Verb::Complete { renames } = self.task.verb else { return Vec::new() };
        let at = rfc822(self.now.seconds);
        MoveTablesCompleteResponse {
            summary: format!("Complete dry run results for workflow {keyspace}.{workflow} at {at}"),
            dry_run_results: lines::complete(&self.task, renames, scene),
        }
        .encode_to_vec()
    }

    /// Begins the next part; after the last one says so.
    fn perform(&mut self, asks: &mut Asks) {
        let (Some(scene), Some(run)) = (&self.scene, &mut self.run) else { return };
        match self.stages.get(self.at) {
            Some(stage) => {
                let lanes = stage.lanes.clone();
                self.performing = Some(Performing::start(lanes, false, self.task.force, scene, run, asks));
            }
            None => self.done(asks),
        }
    }

    /// All acts of a part have ended.
    fn performed(&mut self, asks: &mut Asks) {
        let Some(Performing { failures, notes, .. }) = self.performing.take() else { return self.perform(asks) };
        self.notes.extend(notes);
        if failures.is_empty() {
            if let Some(ended) = self.ended.get_mut(self.at) {
                *ended = Ended::Done;
            }
            self.at += 1;
            return self.perform(asks);
        }
        self.stop(failures, asks);
    }

    fn stop(&mut self, failures: BTreeSet<Failed>, asks: &mut Asks) {
        let (Some(scene), Some(stage)) = (&self.scene, self.stages.get(self.at)) else { return };
        let cause = format!("{}{}", stage.failure, grouped(&failures, scene, true, "").join("\n"));
        let left = self.stages.iter().skip(self.at).map(|stage| stage.name).collect::<Vec<_>>().join(", ");
        if let Some(ended) = self.ended.get_mut(self.at) {
            *ended = Ended::Failed(failures);
        }
        let text = format!("{cause}\nmake the same request again to go on from here (left: {left})");
        self.end(Err(Status::unknown(text)), asks);
    }

    fn done(&mut self, asks: &mut Asks) {
        let Task { keyspace, workflow, .. } = &self.task;
        let reply = match &self.task.verb {
            Verb::Complete { .. } => {
                let summary = format!("Successfully completed the {workflow} workflow in the {keyspace} keyspace");
                MoveTablesCompleteResponse { summary, ..MoveTablesCompleteResponse::default() }.encode_to_vec()
            }
            Verb::Cancel { .. } => {
                self.scene.as_ref().map(|scene| cancelled(&self.task, scene)).unwrap_or_default().encode_to_vec()
            }
            Verb::Mirror { .. } => return self.ask_state(asks),
        };
        self.end(Ok(reply), asks);
    }

    fn ask_state(&mut self, asks: &mut Asks) {
        self.phase = Phase::State;
        let (keyspace, workflow) = (self.task.keyspace.clone(), self.task.workflow.clone());
        let request = WorkflowStatusRequest { keyspace, workflow, shards: Vec::new() };
        self.inquiring = Inquiry::Status(request).begin(self.now, asks).ok();
    }

    /// Where the traffic is now is known.
    fn told(&mut self, asks: &mut Asks) {
        let current_state = match self.inquiring.take().map(Inquiring::end) {
            Some(Inquired::Status(Ok(status), _)) => status.traffic_state,
            Some(Inquired::Status(Err(text), _)) => format!("Error reloading workflow state after mirror traffic: {text}"),
            _ => String::new(),
        };
        let Task { keyspace, workflow, .. } = &self.task;
        let reply = WorkflowMirrorTrafficResponse {
            summary: format!("MirrorTraffic was successful for workflow {keyspace}.{workflow}"),
            start_state: self.scene.as_ref().map(|scene| scene.state.clone()).unwrap_or_default(),
            current_state,
        };
        self.end(Ok(reply.encode_to_vec()), asks);
    }

    fn end(&mut self, result: Result<Vec<u8>, Status>, asks: &mut Asks) {
        self.phase = Phase::Ending;
        self.result = Some(result);
        if let Some(locks) = &mut self.locks {
            locks.give_back(asks);
        }
    }
}

fn reach(task: &Task) -> Reach {
    if task.ignores_source { Reach::Target } else { Reach::Any }
}

/// Every primary is there, those without streams as not deleted. Of a workflow that has copied another cluster nothing is said, as the
/// reference does.
fn cancelled(task: &Task, scene: &Scene) -> WorkflowDeleteResponse {
    if scene.kind == Kind::Migrate {
        return WorkflowDeleteResponse::default();
    }
    let info = |(shard, alias): (&String, &TabletAlias)| {
        let deleted = scene.targets.contains_key(shard);
        TabletInfo { tablet: Some(alias.clone()), deleted }
    };
    let mut details: Vec<TabletInfo> = scene.primaries.iter().map(info).collect();
    details.sort_by_key(|info| alias_text(info.tablet.as_ref()));
    let summary = format!("Successfully cancelled the {} workflow in the {} keyspace", task.workflow, task.keyspace);
    WorkflowDeleteResponse { summary, details }
}

/// The locks of the change, in the order of the reference.
fn wanted_locks(task: &Task, found: &Found) -> Vec<Lock> {
    let (on_workflow, on_keyspace) = match (&task.verb, found.kind) {
        (Verb::Complete { .. }, Kind::Migrate) => ("MoveTablesComplete", "completeMigrateWorkflow"),
        (Verb::Cancel { .. }, Kind::Migrate) => ("WorkflowDelete", "completeMigrateWorkflow"),
        (Verb::Complete { .. }, _) => ("MoveTablesComplete", "DropSources"),
        (Verb::Cancel { .. }, _) => ("WorkflowDelete", "DropTargets"),
        (Verb::Mirror { .. }, _) => ("MirrorTraffic", "MirrorTraffic"),
    };
    let (keyspace, workflow) = (&task.keyspace, &task.workflow);
    let lock = |path: String, action, is_named, failure| Lock { path, action, is_named, is_patient: true, failure };
    let mut wanted = Vec::new();
    // A workflow's name may be anything; one that would leave the directory has no lock there.
    if check_object(workflow).is_ok() {
        let failure = format!("failed to lock the {keyspace}/{workflow} workflow: ");
        wanted.push(lock(format!("internal/named_locks/{keyspace}/{workflow}"), on_workflow, true, failure));
    }
    let is_target_alone = task.ignores_source || found.kind == Kind::Migrate || matches!(task.verb, Verb::Mirror { .. });
    let source = (!is_target_alone && found.source_keyspace != *keyspace).then_some(&found.source_keyspace);
    for keyspace in source.into_iter().chain([keyspace]) {
        let failure = format!("failed to lock the {keyspace} keyspace: ");
        wanted.push(lock(format!("keyspaces/{keyspace}"), on_keyspace, false, failure));
    }
    if found.kind == Kind::MultiTenant && !task.keep_rules && !matches!(task.verb, Verb::Mirror { .. }) {
        // Whoever changes the rules of keyspaces holds it, and writes over what others write meanwhile.
        wanted.push(lock("routing_rules".into(), on_keyspace, false, "failed to lock the keyspace routing rules: ".into()));
    }
    wanted
}

impl Phases for Forward {
    fn go_on(&mut self, asks: &mut Asks) -> Result<(), Status> {
        match self.phase {
            Phase::LookingLightly => {
                let Some(look) = &mut self.look else { return Ok(()) };
                if look.go_on(asks)? {
                    let found = look.light()?;
                    self.check_type(found.workflow_type)?;
                    self.lock(&found, asks)?;
                }
            }
            Phase::Looking => {
                let Some(look) = &mut self.look else { return Ok(()) };
                if look.go_on(asks)? {
                    let scene = self.look.take().and_then(Look::into_scene);
                    let scene = scene.ok_or_else(|| Status::unknown("nothing was seen; nothing was changed"))?;
                    self.seen(scene, asks)?;
                }
            }
            Phase::Tables => self.decide(asks)?,
            Phase::Performing => self.performed(asks),
            Phase::State => self.told(asks),
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
                self.phase = Phase::Looking;
                self.look = Some(Look::start_for(reach(&self.task), &self.task.goal(), Depth::Full, self.now, asks)?);
                Ok(())
            }
            locks::Step::NoDirectory(node) => Err(Status::unknown(format!("node doesn't exist: {node}"))),
            locks::Step::Refused(status) => Err(status),
        }
    }
}

impl Operation for Forward {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        let Some(answer) = self.of_locks(id, answer, asks) else { return self.advance(asks) };
        if let Some((_, query)) = self.question.take_if(|(asked, _)| *asked == id) {
            if let Err(text) = self.took_tables(&query, answer) {
                self.end(Err(Status::unknown(format!("{text}\nnothing was changed"))), asks);
            }
        } else if let Some(performing) = self.performing.as_mut().filter(|performing| performing.waits_for(id)) {
            if let (Some(scene), Some(run)) = (&self.scene, &mut self.run) {
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
        let result = self.result.take().unwrap_or_else(|| Err(Status::unknown("the change ended without a result")));
        let mut notes: Vec<String> = std::mem::take(&mut self.notes).into_iter().collect();
        notes.extend(self.locks.as_ref().map(Locks::notes).unwrap_or_default());
        let written = self.plan.take().map(|plan| {
            let outcomes = outcomes(&plan, &self.part_of, &[], &self.ended, None);
            Box::new(Written { plan, outcomes, notes, refused: Vec::new() })
        });
        reply(&self.call, result, written)
    }
}
