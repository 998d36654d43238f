//! Reading everything that a change of traffic goes by: once lightly, to learn what has to be locked, and once in full, under the locks.
//!
//! What one question needs of another is asked after it; everything else at once. Nothing is changed here.

mod answers;
mod build;
mod course;
mod records;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::records::journal_query;
use self::{course::Course, records::Records};
use crate::{
    contract::{Answer, AskId, Code, Status, Timestamp, What},
    cutover::{
        edit::RULE_PATHS,
        request::{Goal, not_ours},
        scene::{Scene, Story, Stream, no_streams},
        sequences::{self, SequenceLook, SequenceWanted},
        streams::{OthersLook, OthersWanted},
    },
    operation::Asks,
    ops::workflow_status::traffic::reverse_of,
    proto::vtctldata::{GetWorkflowsRequest, Workflow, WorkflowStatusRequest},
    topo::names::{CELLS_PREFIX, GLOBAL, KeyspaceName, TABLETS_PREFIX, check_cell, shards_prefix},
    traffic::kind::Kind,
    write::inquiry::{Inquired, Inquiring, Inquiry},
};

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Streams and where the traffic is.
    Light,
    /// That, and every record that is going to be written.
    Full,
}

/// What the look is for, which says what has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Traffic is to be moved: of kinds that have traffic, with everything known of where it is.
    Traffic,
    /// A workflow of any kind, as far as it is there: of a reshard's source what is left.
    Any,
    /// The target alone.
    Target,
}

/// What is waited for.
enum Wanted {
    Keyspaces,
    Cells,
    Aliases,
    Rules(&'static str),
    Shards(String),
    VSchema(String),
    Served(String),
    SrvKeyspace(String),
    Tablets(String),
    Replication(String),
    Journal(String),
    Sequence(SequenceWanted),
    /// Of the streams of the other direction.
    JournalBack(String),
    Others(OthersWanted),
}

/// Which question is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Workflow,
    Status,
    Other,
    /// Streams of other workflows.
    Others,
    Scene,
    /// The shards of sequences.
    Sequences,
    Journals,
    Done,
}

/// The reading under way.
pub(crate) struct Look {
    goal: Goal,
    depth: Depth,
    reach: Reach,
    now: Timestamp,
    stage: Stage,
    inquiring: Option<Inquiring>,
    waiting: BTreeMap<AskId, Wanted>,
    workflow: Option<Workflow>,
    other: Option<Workflow>,
    state: String,
    splits: Vec<String>,
    scene: Option<Scene>,
    records: Records,
    others: OthersLook,
    journals: BTreeMap<String, Vec<u8>>,
    sequences: SequenceLook,
    journals_back: BTreeSet<String>,
    /// What could not be read.
    failures: BTreeSet<String>,
}

/// What a light look shows: what has to be locked.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) source_keyspace: String,
    pub(crate) is_reversal: bool,
    /// Whether it may turn out to be one: a way back of what is to be switched may have been begun.
    pub(crate) may_be_reversal: bool,
    /// Number of the type.
    pub(crate) workflow_type: i32,
}

impl Look {
    /// Begins.
    ///
    /// # Errors
    /// A name that cannot exist.
    pub(crate) fn start(goal: &Goal, depth: Depth, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        Self::start_for(Reach::Traffic, goal, depth, now, asks)
    }

    /// Begins a look for something else than moving traffic.
    ///
    /// # Errors
    /// A name that cannot exist.
    pub(crate) fn start_for(reach: Reach, goal: &Goal, depth: Depth, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let mut look = Self {
            goal: goal.clone(),
            depth,
            reach,
            now,
            stage: Stage::Workflow,
            inquiring: None,
            waiting: BTreeMap::new(),
            workflow: None,
            other: None,
            state: String::new(),
            splits: Vec::new(),
            scene: None,
            records: Records::default(),
            others: OthersLook::default(),
            journals: BTreeMap::new(),
            sequences: SequenceLook::default(),
            journals_back: BTreeSet::new(),
            failures: BTreeSet::new(),
        };
        look.inquiring = Some(workflows(&goal.keyspace, &goal.workflow).begin(now, asks)?);
        if depth == Depth::Full {
            for path in RULE_PATHS {
                look.get(GLOBAL, path.into(), Wanted::Rules(path), asks);
            }
            look.list("keyspaces/", Wanted::Keyspaces, asks);
            look.list(CELLS_PREFIX, Wanted::Cells, asks);
            look.range(GLOBAL, "cells_aliases/".into(), Wanted::Aliases, asks);
        }
        Ok(look)
    }

    fn get(&mut self, cell: &str, path: String, wanted: Wanted, asks: &mut Asks) {
        self.waiting.insert(asks.release(What::TopoGet { cell: cell.into(), path }), wanted);
    }

    fn list(&mut self, prefix: &str, wanted: Wanted, asks: &mut Asks) {
        self.waiting.insert(asks.release(What::TopoList { cell: GLOBAL.into(), prefix: prefix.into() }), wanted);
    }

    fn range(&mut self, cell: &str, prefix: String, wanted: Wanted, asks: &mut Asks) {
        self.waiting.insert(asks.release(What::TopoRange { cell: cell.into(), prefix }), wanted);
    }

    /// Takes an answer.
    pub(crate) fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if let Some(wanted) = self.waiting.remove(&id) {
            self.took(wanted, answer);
        } else if let Some(inquiring) = &mut self.inquiring {
            inquiring.answered(id, answer, asks);
        }
    }

    /// Nothing is outstanding: goes on. True: it is done.
    ///
    /// # Errors
    /// What was read is not enough to change anything.
    pub(crate) fn go_on(&mut self, asks: &mut Asks) -> Result<bool, Status> {
        while asks.outstanding() == 0 {
            let ended = self.inquiring.take().map(Inquiring::end);
            match self.stage {
                Stage::Workflow => {
                    let workflow = self.found(ended, &self.goal.workflow)?;
                    let workflow =
                        workflow.ok_or_else(|| Status::unknown(no_streams(&self.goal.keyspace, &self.goal.workflow)))?;
                    let story = Story::read(&self.goal.keyspace, &workflow).map_err(Status::unknown)?;
                    if self.reach == Reach::Traffic {
                        refuse_kind(&self.goal, &story, &workflow)?;
                    } else if story.kind == Kind::Migrate {
                        // Its source is in another cluster.
                        self.reach = Reach::Target;
                    }
                    self.workflow = Some(workflow);
                    if self.depth == Depth::Full {
                        self.read_records(&story, asks)?;
                    }
                    self.stage = Stage::Status;
                    if self.reach == Reach::Target {
                        self.stage = if self.depth == Depth::Full { Stage::Others } else { Stage::Done };
                        continue;
                    }
                    let request = WorkflowStatusRequest {
                        keyspace: self.goal.keyspace.clone(),
                        workflow: self.goal.workflow.clone(),
                        shards: Vec::new(),
                    };
                    self.inquiring = Some(Inquiry::Status(request).begin(self.now, asks)?);
                }
                Stage::Status => {
                    if let Some(Inquired::Status(status, failures)) = ended {
                        let status = status.map_err(Status::unknown);
                        self.state = if self.reach == Reach::Any { status.unwrap_or_default() } else { status? }.traffic_state;
                        self.splits =
                            failures.iter().filter(|it| it.lost == crate::Lost::Traffic).map(|it| it.message.clone()).collect();
                    }
                    let reverse = reverse_of(&self.goal.workflow);
                    self.inquiring = Some(workflows(&self.source_keyspace()?, &reverse).begin(self.now, asks)?);
                    self.stage = Stage::Other;
                }
                Stage::Other => {
                    let other = self.found(ended, &reverse_of(&self.goal.workflow));
                    // The shards that a reshard has split may be gone, and what was on them with them.
                    let may_be_gone = self.reach == Reach::Any && self.story()?.kind == Kind::Reshard;
                    self.other = if may_be_gone { other.unwrap_or_default() } else { other? };
                    self.stage = if self.depth == Depth::Full { Stage::Others } else { Stage::Done };
                }
                Stage::Others => {
                    self.refuse_unclear()?;
                    let forward = self.story()?;
                    if self.reach == Reach::Traffic && self.goal.writes && forward.kind == Kind::Reshard {
                        let [sources, targets] = self.sides(&forward)?;
                        let waiting = OthersLook::ask(&sources, &targets, asks);
                        self.waiting.extend(waiting.into_iter().map(|(id, wanted)| (id, Wanted::Others(wanted))));
                    }
                    self.stage = Stage::Scene;
                }
                Stage::Scene => {
                    let scene = self.build()?;
                    if self.reach == Reach::Traffic && self.goal.writes && sequences::are_wanted(self.goal.sequences, &scene) {
                        self.sequences = SequenceLook::start(&scene);
                    }
                    for keyspace in self.sequences.keyspaces() {
                        let is_known = self.records.shards.keys().any(|(of, _)| *of == keyspace);
                        if !is_known && let Ok(name) = KeyspaceName::of_request(&keyspace) {
                            self.range(GLOBAL, name.shards_prefix(), Wanted::Shards(keyspace), asks);
                        }
                    }
                    self.scene = Some(scene);
                    self.stage = Stage::Sequences;
                }
                Stage::Sequences => {
                    self.refuse_unread()?;
                    let Some(scene) = self.scene.take() else { return Ok(true) };
                    let waiting = self.sequences.ask(&scene, &self.records.shards, &self.records.tablets, asks);
                    self.waiting.extend(waiting.into_iter().map(|(id, wanted)| (id, Wanted::Sequence(wanted))));
                    // A switch that was begun may have got past the point where it can be given up.
                    let mut either = scene.streams.iter().chain(&scene.reverse_streams);
                    if self.reach == Reach::Traffic || either.any(Stream::is_stopped_for_cutover) {
                        self.ask_journals(&scene, asks);
                    }
                    self.scene = Some(scene);
                    self.stage = Stage::Journals;
                }
                Stage::Journals => {
                    if let Some(scene) = &mut self.scene {
                        scene.journals = std::mem::take(&mut self.journals);
                        match std::mem::take(&mut self.sequences).end(scene) {
                            Ok(sequences) => scene.sequences = sequences,
                            Err(why) => scene.no_sequences = Some(why),
                        }
                        scene.journals_back = std::mem::take(&mut self.journals_back);
                        scene.others = std::mem::take(&mut self.others).end(scene).map_err(Status::unknown)?;
                    }
                    self.refuse_unread()?;
                    self.stage = Stage::Done;
                }
                Stage::Done => return Ok(true),
            }
        }
        Ok(false)
    }

    fn refuse_unread(&self) -> Result<(), Status> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let text = self.failures.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        Err(Status::unknown(format!("{text}\nnothing was changed")))
    }

    fn found(&self, ended: Option<Inquired>, workflow: &str) -> Result<Option<Workflow>, Status> {
        match ended {
            Some(Inquired::Workflows(Ok(workflows))) => Ok(workflows
                .into_iter()
                .find(|it| it.name == workflow && it.shard_streams.values().any(|on| !on.streams.is_empty()))),
            Some(Inquired::Workflows(Err(told))) => {
                // A keyspace that is not there is told of in the words of whoever lists its shards.
                let node = told.strip_prefix("node doesn't exist: ").filter(|node| node.ends_with("/shards/"));
                let keyspace = &self.goal.keyspace;
                let text = node.map(|node| {
                    format!("FindAllShardsInKeyspace({keyspace}): List: node doesn't exist: {}", node.trim_end_matches('/'))
                });
                Err(Status::unknown(text.unwrap_or(told)))
            }
            _ => Ok(None),
        }
    }

    fn story(&self) -> Result<Story, Status> {
        let none = || Status::unknown(no_streams(&self.goal.keyspace, &self.goal.workflow));
        Story::read(&self.goal.keyspace, self.workflow.as_ref().ok_or_else(none)?).map_err(Status::unknown)
    }

    fn source_keyspace(&self) -> Result<String, Status> {
        Ok(self.story()?.source_keyspace)
    }

    /// All records that are going to be written, and what they are made from.
    fn read_records(&mut self, story: &Story, asks: &mut Asks) -> Result<(), Status> {
        let source = (self.reach != Reach::Target).then(|| story.source_keyspace.clone());
        for keyspace in source.into_iter().chain([self.goal.keyspace.clone()]).collect::<BTreeSet<_>>() {
            let prefix = KeyspaceName::of_request(&keyspace)?.shards_prefix();
            self.range(GLOBAL, prefix, Wanted::Shards(keyspace), asks);
        }
        for keyspace in self.records.keyspaces.clone() {
            let path = KeyspaceName::of_request(&keyspace)?.vschema_path();
            self.get(GLOBAL, path, Wanted::VSchema(keyspace), asks);
        }
        for cell in self.records.cells.clone() {
            check_cell(&cell).map_err(|bad| Status::unknown(format!("cell {cell:?} cannot exist: {bad}")))?;
            self.get(&cell, "SrvVSchema".into(), Wanted::Served(cell.clone()), asks);
            if story.kind == Kind::Reshard {
                let path = KeyspaceName::of_request(&self.goal.keyspace)?.srv_keyspace_path();
                self.get(&cell, path, Wanted::SrvKeyspace(cell.clone()), asks);
            }
            if story.kind == Kind::Reshard && self.reach != Reach::Traffic {
                let prefix = shards_prefix(&self.goal.keyspace);
                self.range(&cell, prefix, Wanted::Replication(cell.clone()), asks);
            }
            self.range(&cell, TABLETS_PREFIX.into(), Wanted::Tablets(cell.clone()), asks);
        }
        Ok(())
    }

    /// What the other direction's streams are, if they are of this pair.
    fn other_story(&self, forward: &Story) -> Result<Option<Story>, Status> {
        let Some(other) = &self.other else { return Ok(None) };
        let story = Story::read(&forward.source_keyspace, other).map_err(Status::unknown)?;
        if story.source_keyspace != self.goal.keyspace && self.reach == Reach::Any {
            return Ok(None);
        }
        if story.source_keyspace != self.goal.keyspace {
            let (name, from) = (&other.name, &story.source_keyspace);
            let text = format!("workflow {}.{name} reads from {from}, so it is not the other direction", forward.source_keyspace);
            return Err(Status { code: Code::FailedPrecondition, message: text });
        }
        Ok(Some(story))
    }

    /// What a light look shows.
    ///
    /// # Errors
    /// Streams that cannot be read.
    pub(crate) fn light(&self) -> Result<Found, Status> {
        let story = self.story()?;
        let other = self.other_story(&story)?;
        let (kind, workflow_type) = (story.kind, story.workflow_type);
        let signs = self.signs(&story, other.as_ref());
        let (is_reversal, may_be_reversal) = (signs.course() == Course::Back, signs.may_be_taken_back());
        Ok(Found { kind, is_reversal, may_be_reversal, source_keyspace: story.source_keyspace, workflow_type })
    }

    /// What a full look shows.
    pub(crate) fn into_scene(self) -> Option<Scene> {
        self.scene
    }

    fn ask_journals(&mut self, scene: &Scene, asks: &mut Asks) {
        let query = journal_query(scene.migration_id());
        for (shard, member) in &scene.sources {
            let what = query.call(&member.primary, &member.keyspace, shard, &member.db_name);
            self.waiting.insert(asks.release(what), Wanted::Journal(shard.clone()));
        }
        // A switch the other way was begun: its journal is where this one would lead.
        if !scene.reverse_streams.iter().any(Stream::is_stopped_for_cutover) {
            return;
        }
        let query = journal_query(scene.migration_id_back());
        for (shard, member) in &scene.targets {
            let what = query.call(&member.primary, &member.keyspace, shard, &member.db_name);
            self.waiting.insert(asks.release(what), Wanted::JournalBack(shard.clone()));
        }
    }
}

fn workflows(keyspace: &str, workflow: &str) -> Inquiry {
    let (keyspace, workflow) = (keyspace.to_owned(), workflow.to_owned());
    Inquiry::Workflows(GetWorkflowsRequest { keyspace, workflow, ..GetWorkflowsRequest::default() })
}

/// Kinds whose traffic is not switched at all, or not here.
fn refuse_kind(goal: &Goal, story: &Story, workflow: &Workflow) -> Result<(), Status> {
    let Goal { keyspace, workflow: name, .. } = goal;
    let of_type = workflow.workflow_type.as_str();
    if of_type == "MoveTables" && story.source_keyspace == *keyspace && story.kind != Kind::Migrate {
        let text =
            format!("workflow {keyspace}.{name} is invalid: MoveTables source keyspace matches target keyspace ({keyspace})");
        return Err(Status::unknown(text));
    }
    if of_type == "Migrate" {
        return Err(Status::unknown("invalid action for Migrate workflow: SwitchTraffic"));
    }
    if !matches!(of_type, "MoveTables" | "Reshard") {
        let message = format!("workflow {keyspace}.{name} is of type {of_type}, whose traffic cannot be switched");
        return Err(Status { code: Code::FailedPrecondition, message });
    }
    match story.kind {
        Kind::Standard | Kind::Partial | Kind::MultiTenant | Kind::Reshard => Ok(()),
        Kind::Migrate => Err(not_ours("an external cluster")),
    }
}
