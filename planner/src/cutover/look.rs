//! Reading everything that a change of traffic goes by: once lightly, to learn what has to be locked, and once in full, under the locks.
//!
//! What one question needs of another is asked after it; everything else at once. Nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{Answer, AskId, Code, Status, Timestamp, What},
    cutover::{
        begun,
        edit::RULE_PATHS,
        leaving::{Left, primaries},
        request::{Direction, Goal, not_ours},
        scene::{Member, Scene, Story, Stream, member, no_streams},
        sequences::{self, SequenceLook, SequenceWanted},
        stored::Stored,
        streams::{Others, OthersLook, OthersWanted},
    },
    operation::Asks,
    ops::workflow_status::traffic::{Traffic, forward_of, reverse_of},
    proto::{
        topodata::{CellsAlias, Tablet},
        vtctldata::{GetWorkflowsRequest, Workflow, WorkflowStatusRequest},
    },
    sidecar::{query::Query, result::RowSet},
    topo::{
        names::{CELLS_PREFIX, GLOBAL, KeyspaceName, TABLETS_PREFIX, check_cell},
        targets::unexpected,
    },
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
    Others,
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
    keyspaces: BTreeSet<String>,
    cells: BTreeSet<String>,
    aliases: BTreeMap<String, Vec<String>>,
    rules: BTreeMap<&'static str, Stored>,
    shards: BTreeMap<(String, String), Stored>,
    vschemas: BTreeMap<String, Stored>,
    served: BTreeMap<String, Stored>,
    srv_keyspaces: BTreeMap<String, Stored>,
    others: OthersLook,
    /// Whether a switch was begun after the last way back, and has stopped streams of other workflows alone.
    is_forward_begun: bool,
    tablets: BTreeMap<String, Tablet>,
    left: Left,
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
            keyspaces: BTreeSet::new(),
            cells: BTreeSet::new(),
            aliases: BTreeMap::new(),
            rules: BTreeMap::new(),
            shards: BTreeMap::new(),
            vschemas: BTreeMap::new(),
            served: BTreeMap::new(),
            srv_keyspaces: BTreeMap::new(),
            others: OthersLook::default(),
            is_forward_begun: false,
            tablets: BTreeMap::new(),
            left: Left::default(),
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

    fn took(&mut self, wanted: Wanted, answer: Answer) {
        let records = |answer| match answer {
            Answer::Range(records) => Ok(records),
            Answer::Missing { .. } => Ok(Vec::new()),
            Answer::Failed { message, .. } => Err(message),
            other => Err(unexpected("a read of a directory", &other)),
        };
        let record = |answer| match answer {
            Answer::Found { value, version } => Ok(Some(Stored { value, version })),
            Answer::Missing { .. } => Ok(None),
            Answer::Failed { message, .. } => Err(message),
            other => Err(unexpected("a read of a record", &other)),
        };
        let failed = match wanted {
            Wanted::Sequence(wanted) => {
                self.sequences.took(wanted, answer);
                Ok(())
            }
            Wanted::Keyspaces => records(answer).map(|records| {
                let names = records.iter().filter_map(|record| record.path.strip_prefix("keyspaces/")?.split('/').next());
                self.keyspaces.extend(names.map(str::to_owned));
            }),
            Wanted::Cells => records(answer).map(|records| {
                let names = records.iter().filter_map(|it| it.path.strip_prefix(CELLS_PREFIX)?.strip_suffix("/CellInfo"));
                self.cells.extend(names.map(str::to_owned));
            }),
            Wanted::Aliases => records(answer).map(|records| {
                for record in records {
                    let name = record.path.strip_prefix("cells_aliases/").and_then(|rest| rest.strip_suffix("/CellsAlias"));
                    if let (Some(name), Ok(alias)) = (name, CellsAlias::decode(record.value.as_slice())) {
                        self.aliases.insert(name.to_owned(), alias.cells);
                    }
                }
            }),
            Wanted::Rules(path) => record(answer).map(|stored| self.rules.extend(stored.map(|stored| (path, stored)))),
            Wanted::Shards(keyspace) => records(answer).map(|records| {
                let prefix = format!("keyspaces/{keyspace}/shards/");
                for record in records {
                    let shard = record.path.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix("/Shard"));
                    if let Some(shard) = shard {
                        let stored = Stored { value: record.value, version: record.version };
                        self.shards.insert((keyspace.clone(), shard.to_owned()), stored);
                    }
                }
            }),
            Wanted::VSchema(keyspace) => {
                record(answer).map(|stored| drop(self.vschemas.insert(keyspace, stored.unwrap_or_default())))
            }
            Wanted::Replication(cell) => records(answer).map(|records| self.left.replications(&cell, records)),
            Wanted::SrvKeyspace(cell) => {
                record(answer).map(|stored| drop(self.srv_keyspaces.insert(cell, stored.unwrap_or_default())))
            }
            Wanted::Served(cell) => record(answer).map(|stored| drop(self.served.insert(cell, stored.unwrap_or_default()))),
            Wanted::Tablets(cell) => records(answer).map(|records| {
                for record in records {
                    self.left.tablets.insert((cell.clone(), record.path.clone()), record.version);
                    let name = record.path.strip_prefix(TABLETS_PREFIX).and_then(|rest| rest.strip_suffix("/Tablet"));
                    match (name, Tablet::decode(record.value.as_slice())) {
                        (Some(name), Ok(tablet)) => drop(self.tablets.insert(name.to_owned(), tablet)),
                        (Some(name), Err(error)) => {
                            self.failures.insert(format!("tablet {name} of cell {cell} cannot be read: {error}"));
                        }
                        (None, _) => {}
                    }
                }
            }),
            Wanted::Journal(shard) => journal(answer).map(|found| self.journals.extend(found.map(|found| (shard, found)))),
            Wanted::Others(wanted) => self.others.took(wanted, answer),
            Wanted::JournalBack(shard) => journal(answer).map(|found| self.journals_back.extend(found.map(|_| shard))),
        };
        if let Err(message) = failed {
            self.failures.insert(message);
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
                    let scene = self.build()?;
                    if self.reach == Reach::Traffic && self.goal.writes && scene.kind == Kind::Reshard {
                        let waiting = OthersLook::ask(&scene, asks);
                        self.waiting.extend(waiting.into_iter().map(|(id, wanted)| (id, Wanted::Others(wanted))));
                    }
                    if self.reach == Reach::Traffic && self.goal.writes && sequences::are_wanted(self.goal.sequences, &scene) {
                        self.sequences = SequenceLook::start(&scene);
                    }
                    for keyspace in self.sequences.keyspaces() {
                        let is_known = self.shards.keys().any(|(of, _)| *of == keyspace);
                        if !is_known && let Ok(name) = KeyspaceName::of_request(&keyspace) {
                            self.range(GLOBAL, name.shards_prefix(), Wanted::Shards(keyspace), asks);
                        }
                    }
                    self.scene = Some(scene);
                    self.stage = Stage::Sequences;
                }
                Stage::Sequences => {
                    self.refuse_unread()?;
                    let Some(mut scene) = self.scene.take() else { return Ok(true) };
                    if scene.is_reversal && !scene.are_writes_switched && scene.is_frozen() && self.others.are_held_on_target() {
                        self.is_forward_begun = true;
                        self.others = std::mem::take(&mut self.others).turned();
                        scene = self.build()?;
                    }
                    let waiting = self.sequences.ask(&scene, &self.shards, &self.tablets, asks);
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
        for keyspace in self.keyspaces.clone() {
            let path = KeyspaceName::of_request(&keyspace)?.vschema_path();
            self.get(GLOBAL, path, Wanted::VSchema(keyspace), asks);
        }
        for cell in self.cells.clone() {
            check_cell(&cell).map_err(|bad| Status::unknown(format!("cell {cell:?} cannot exist: {bad}")))?;
            self.get(&cell, "SrvVSchema".into(), Wanted::Served(cell.clone()), asks);
            if story.kind == Kind::Reshard {
                let path = KeyspaceName::of_request(&self.goal.keyspace)?.srv_keyspace_path();
                self.get(&cell, path, Wanted::SrvKeyspace(cell.clone()), asks);
            }
            if story.kind == Kind::Reshard && self.reach != Reach::Traffic {
                let prefix = format!("keyspaces/{}/shards/", self.goal.keyspace);
                self.range(&cell, prefix, Wanted::Replication(cell.clone()), asks);
            }
            self.range(&cell, TABLETS_PREFIX.into(), Wanted::Tablets(cell.clone()), asks);
        }
        Ok(())
    }

    /// Whether writes go to the target of the request; of a partial workflow, those of all its own shards.
    fn are_writes_switched(&self) -> bool {
        let streams = self.workflow.iter().flat_map(|workflow| workflow.shard_streams.values()).flat_map(|on| &on.streams);
        let shards: BTreeSet<&str> = streams.map(|stream| stream.shard.as_str()).collect();
        let shards: Vec<&str> = shards.into_iter().collect();
        let traffic = Traffic::of(Some(&self.state), &shards, false);
        // Of a workflow by the name of a way back, clients are told where the traffic of the way forth is.
        if forward_of(&self.goal.workflow).is_some() {
            return matches!(traffic, Traffic::NotSwitched | Traffic::Reads);
        }
        matches!(traffic, Traffic::Switched | Traffic::Writes)
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

    /// Whether traffic goes back by the reverse workflow: it was switched, or a switch back is unfinished or done.
    /// `is_closed`: whether the source of the forward direction takes no writes, as far as that is known.
    fn is_reversal(&self, forward: &Story, other: Option<&Story>, is_closed: bool) -> bool {
        let has_begun = |it: &Stream| it.is_frozen() || it.is_stopped_for_cutover();
        let is_begun = other.is_some_and(|story| story.streams.iter().any(has_begun));
        // Streams of an earlier switch back are frozen still while the next switch forward is under way.
        let is_forward = is_closed || self.is_forward_begun || forward.streams.iter().any(Stream::is_stopped_for_cutover);
        let is_back = self.are_writes_switched() || self.goal.writes && is_begun && !is_forward;
        self.goal.direction == Direction::Backward && is_back
    }

    /// Whether writes are to go where they are, and a way back was begun that would take them away: the request takes that back.
    /// `is_closed`: whether the target of the forward direction takes no writes, as far as that is known.
    fn is_back_begun(&self, forward: &Story, other: Option<&Story>, is_closed: bool) -> bool {
        let Some(other) = other.filter(|_| self.may_be_back_begun() && forward.kind != Kind::MultiTenant) else { return false };
        let is_held = other.streams.iter().any(Stream::is_stopped_for_cutover);
        let has_new = forward.streams.iter().any(Stream::is_frozen) && forward.streams.iter().any(begun::is_left);
        (is_held || has_new || is_closed) && !other.streams.iter().all(Stream::is_frozen)
    }

    fn may_be_back_begun(&self) -> bool {
        let is_switch = self.reach == Reach::Traffic && self.goal.direction == Direction::Forward && self.goal.writes;
        is_switch && self.are_writes_switched()
    }

    /// What a light look shows.
    ///
    /// # Errors
    /// Streams that cannot be read.
    pub(crate) fn light(&self) -> Result<Found, Status> {
        let story = self.story()?;
        let other = self.other_story(&story)?;
        let (kind, workflow_type) = (story.kind, story.workflow_type);
        let is_reversal = self.is_reversal(&story, other.as_ref(), false) || self.is_back_begun(&story, other.as_ref(), false);
        let may_be_reversal = other.is_some() && self.may_be_back_begun();
        Ok(Found { kind, is_reversal, may_be_reversal, source_keyspace: story.source_keyspace, workflow_type })
    }

    /// What a full look shows.
    pub(crate) fn into_scene(self) -> Option<Scene> {
        self.scene
    }

    fn build(&mut self) -> Result<Scene, Status> {
        self.refuse_unread()?;
        let failed = |message: String| Status { code: Code::FailedPrecondition, message };
        let moves = self.reach == Reach::Traffic;
        if moves && self.state.starts_with("Unknown") {
            let story = self.story()?;
            let is_there = |it: &Stream| self.shards.contains_key(&(story.source_keyspace.clone(), it.source.shard.clone()));
            let is_gone = story.kind == Kind::Reshard && !story.streams.iter().all(is_there);
            let text = "; shards of its source are gone: if a completion has ended half-way, complete it again";
            let more = if is_gone { text } else { "" };
            return Err(failed(format!("where the traffic is cannot be told: {}{more}; nothing was changed", self.state)));
        }
        if moves && !self.splits.is_empty() {
            return Err(failed(format!("{}; nothing was changed", self.splits.join("\n"))));
        }
        let forward = self.story()?;
        let other = self.other_story(&forward)?;
        let (forward_name, reverse_name) = (self.goal.workflow.clone(), reverse_of(&self.goal.workflow));
        let (source_keyspace, target_keyspace) = (forward.source_keyspace.clone(), self.goal.keyspace.clone());
        let options = self.workflow.as_ref().and_then(|workflow| workflow.options.clone()).unwrap_or_default();
        let members = |keyspace: &str, shards: BTreeSet<&str>, is_source| -> Result<BTreeMap<String, Member>, Status> {
            let of = |shard: &str| {
                let stored = self.shards.get(&(keyspace.to_owned(), shard.to_owned()));
                member(keyspace, shard, is_source, stored, &self.tablets).map(|member| (shard.to_owned(), member))
            };
            shards.into_iter().map(of).collect::<Result<_, _>>().map_err(Status::unknown)
        };
        let leaving = if self.reach == Reach::Any && forward.kind == Kind::Reshard {
            let shards = forward.streams.iter().map(|it| it.source.shard.as_str());
            self.left.of(&source_keyspace, shards, &self.shards, &self.srv_keyspaces, &self.tablets)
        } else {
            BTreeMap::new()
        };
        let is_there = |shard: &&str| match (self.reach, leaving.get(*shard)) {
            (Reach::Traffic, _) | (Reach::Any, None) => true,
            (Reach::Any, Some(leaving)) => leaving.has_primary,
            (Reach::Target, _) => false,
        };
        let read_shards = |story: &Story| -> BTreeSet<String> {
            story.streams.iter().map(|it| it.source.shard.as_str()).filter(is_there).map(str::to_owned).collect()
        };
        let members = |keyspace: &str, shards: BTreeSet<String>, is_source| {
            members(keyspace, shards.iter().map(String::as_str).collect(), is_source)
        };
        let read_from = members(&source_keyspace, read_shards(&forward), true)?;
        let is_closed = begun::is_closed(forward.kind, &forward.tables, &read_from, &self.srv_keyspaces);
        let is_target_closed = self.may_be_back_begun() && {
            let targets = members(&target_keyspace, forward.streams.iter().map(|it| it.shard.clone()).collect(), false)?;
            begun::is_closed(forward.kind, &forward.tables, &targets, &self.srv_keyspaces)
        };
        let is_reversal = self.is_reversal(&forward, other.as_ref(), is_closed)
            || self.is_back_begun(&forward, other.as_ref(), is_target_closed);
        let workflow = if is_reversal { &self.other } else { &self.workflow };
        let lag = workflow.as_ref().map_or(0, |workflow| workflow.max_v_replication_transaction_lag);
        let own_options = workflow.as_ref().and_then(|workflow| workflow.options.clone()).unwrap_or(options);
        let (story, back, workflow, reverse, source_keyspace, target_keyspace) = if is_reversal {
            let story = other.ok_or_else(|| Status::unknown(no_streams(&source_keyspace, &reverse_name)))?;
            (story, Some(forward), reverse_name, forward_name, target_keyspace, source_keyspace)
        } else {
            (forward, other, forward_name, reverse_name, source_keyspace, target_keyspace)
        };
        let sources = members(&source_keyspace, read_shards(&story), true)?;
        let targets = members(&target_keyspace, story.streams.iter().map(|it| it.shard.clone()).collect(), false)?;
        let mut all_shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (keyspace, shard) in self.shards.keys() {
            all_shards.entry(keyspace.clone()).or_default().insert(shard.clone());
        }
        let types = self.tablets.iter().map(|(name, tablet)| {
            let cell = name.rsplit_once('-').map_or("", |(cell, _)| cell);
            (cell.to_owned(), tablet.r#type)
        });
        Ok(Scene {
            kind: story.kind,
            is_reversal,
            workflow,
            reverse,
            workflow_type: story.workflow_type,
            workflow_sub_type: story.workflow_sub_type,
            options: own_options,
            stream_cells: story.cells,
            stream_tablet_types: story.tablet_types,
            tables: story.tables,
            source_keyspace,
            target_keyspace,
            sources,
            targets,
            all_shards,
            streams: story.streams,
            reverse_streams: back.map(|story| story.streams).unwrap_or_default(),
            lag,
            journals: BTreeMap::new(),
            journals_back: BTreeSet::new(),
            rules: self.rules.clone(),
            vschemas: self.vschemas.iter().map(|(keyspace, stored)| (keyspace.clone(), stored.value.clone())).collect(),
            vschema_versions: self.vschemas.iter().map(|(keyspace, stored)| (keyspace.clone(), stored.version)).collect(),
            primaries: primaries(&self.goal.keyspace, &self.shards),
            leaving,
            served: self.served.clone(),
            srv_keyspaces: self.srv_keyspaces.clone(),
            others: Others::default(),
            sequences: Vec::new(),
            no_sequences: None,
            tablet_types: types.collect(),
            aliases: self.aliases.clone(),
            state: self.state.clone(),
            are_writes_switched: self.are_writes_switched(),
        })
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

/// What asks for a journal.
pub(crate) fn journal_query(id: i64) -> Query {
    Query::vreplication("journal", format!("select val from _vt.resharding_journal where id={id}"))
}

/// The journal in an answer; `None`: there is none.
pub(crate) fn journal(answer: Answer) -> Result<Option<Vec<u8>>, String> {
    match answer {
        Answer::Called(response) => {
            let rows = RowSet::from_vreplication_exec(&response).map_err(|error| error.to_string())?;
            let value = rows.rows().next().and_then(|row| row.value("val")).flatten().map(<[u8]>::to_vec);
            Ok(value)
        }
        Answer::Failed { message, .. } => Err(message),
        other => Err(unexpected("a read of a journal", &other)),
    }
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
