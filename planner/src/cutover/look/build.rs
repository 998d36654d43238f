//! Putting together what was read: the scene of a change, with each side in its role.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Look, Reach,
    course::{Course, Side, Signs},
};
use crate::{
    contract::{Code, Status},
    cutover::{
        begun,
        leaving::{Leaving, primaries},
        scene::{Member, Scene, Story, Stream, member, no_streams},
        streams::Others,
    },
    ops::workflow_status::traffic::{Traffic, forward_of, reverse_of},
    traffic::kind::Kind,
};

impl Look {
    /// Where the traffic is has to be known of whoever moves it.
    ///
    /// # Errors
    /// It is not, or not all that was asked for could be read.
    pub(super) fn refuse_unclear(&self) -> Result<(), Status> {
        self.refuse_unread()?;
        let failed = |message: String| Status { code: Code::FailedPrecondition, message };
        if self.reach != Reach::Traffic {
            return Ok(());
        }
        if self.state.starts_with("Unknown") {
            let story = self.story()?;
            let is_there =
                |it: &Stream| self.records.shards.contains_key(&(story.source_keyspace.clone(), it.source.shard.clone()));
            let is_gone = story.kind == Kind::Reshard && !story.streams.iter().all(is_there);
            let text = "; shards of its source are gone: if a completion has ended half-way, complete it again";
            let more = if is_gone { text } else { "" };
            return Err(failed(format!("where the traffic is cannot be told: {}{more}; nothing was changed", self.state)));
        }
        if !self.splits.is_empty() {
            return Err(failed(format!("{}; nothing was changed", self.splits.join("\n"))));
        }
        Ok(())
    }

    /// Shards of one side with their primaries.
    fn members(&self, keyspace: &str, shards: BTreeSet<String>, is_source: bool) -> Result<BTreeMap<String, Member>, Status> {
        let of = |shard: String| {
            let stored = self.records.shards.get(&(keyspace.to_owned(), shard.clone()));
            member(keyspace, &shard, is_source, stored, &self.records.tablets).map(|member| (shard, member))
        };
        shards.into_iter().map(of).collect::<Result<_, _>>().map_err(Status::unknown)
    }

    /// Of a reshard that ends, by shard of the source: what is left of it.
    fn leaving(&self, forward: &Story) -> BTreeMap<String, Leaving> {
        if self.reach != Reach::Any || forward.kind != Kind::Reshard {
            return BTreeMap::new();
        }
        let (shards, records) = (forward.streams.iter().map(|it| it.source.shard.as_str()), &self.records);
        records.left.of(&forward.source_keyspace, shards, &records.shards, &records.srv_keyspaces, &records.tablets)
    }

    /// The shards that the streams read, as far as they have to be there, with their primaries.
    fn read_from(&self, story: &Story, leaving: &BTreeMap<String, Leaving>) -> Result<BTreeMap<String, Member>, Status> {
        let is_there = |shard: &&str| match (self.reach, leaving.get(*shard)) {
            (Reach::Traffic, _) | (Reach::Any, None) => true,
            (Reach::Any, Some(leaving)) => leaving.has_primary,
            (Reach::Target, _) => false,
        };
        let shards = story.streams.iter().map(|it| it.source.shard.as_str()).filter(is_there).map(str::to_owned).collect();
        self.members(&story.source_keyspace, shards, true)
    }

    /// The shards that have the streams, with their primaries.
    fn written_to(&self, keyspace: &str, story: &Story) -> Result<BTreeMap<String, Member>, Status> {
        self.members(keyspace, story.streams.iter().map(|it| it.shard.clone()).collect(), false)
    }

    /// Both sides of the way forth: whose other streams a change of writes takes along.
    ///
    /// # Errors
    /// A shard has no primary.
    pub(super) fn sides(&self, forward: &Story) -> Result<[BTreeMap<String, Member>; 2], Status> {
        Ok([self.read_from(forward, &BTreeMap::new())?, self.written_to(&self.goal.keyspace, forward)?])
    }

    /// What the direction is decided by, as far as streams and rules say it.
    pub(super) fn signs<'a>(&self, forward: &'a Story, other: Option<&'a Story>) -> Signs<'a> {
        Signs {
            wants: self.goal.direction,
            has_writes: self.goal.writes,
            moves: self.reach == Reach::Traffic,
            forward,
            other,
            are_writes_switched: self.are_writes_switched(),
            source: Side::default(),
            target: Side::default(),
        }
    }

    /// The scene.
    ///
    /// # Errors
    /// What was read is not enough to change anything.
    pub(super) fn build(&self) -> Result<Scene, Status> {
        self.refuse_unclear()?;
        let forward = self.story()?;
        let other = self.other_story(&forward)?;
        let leaving = self.leaving(&forward);
        let side = |members: &BTreeMap<String, Member>, holds_others| Side {
            is_closed: begun::is_closed(forward.kind, &forward.tables, members, &self.records.srv_keyspaces),
            holds_others,
        };
        let mut signs = self.signs(&forward, other.as_ref());
        signs.source = side(&self.read_from(&forward, &leaving)?, self.others.are_held_on_source());
        if signs.may_be_taken_back() {
            signs.target = side(&self.written_to(&self.goal.keyspace, &forward)?, self.others.are_held_on_target());
        }
        let is_reversal = signs.course() == Course::Back;
        let (forward_name, reverse_name) = (self.goal.workflow.clone(), reverse_of(&self.goal.workflow));
        let (source_keyspace, target_keyspace) = (forward.source_keyspace.clone(), self.goal.keyspace.clone());
        let options = self.workflow.as_ref().and_then(|workflow| workflow.options.clone()).unwrap_or_default();
        let workflow = if is_reversal { &self.other } else { &self.workflow };
        let lag = workflow.as_ref().map_or(0, |workflow| workflow.max_v_replication_transaction_lag);
        let own_options = workflow.as_ref().and_then(|workflow| workflow.options.clone()).unwrap_or(options);
        let (story, back, workflow, reverse, source_keyspace, target_keyspace) = if is_reversal {
            let story = other.ok_or_else(|| Status::unknown(no_streams(&source_keyspace, &reverse_name)))?;
            (story, Some(forward), reverse_name, forward_name, target_keyspace, source_keyspace)
        } else {
            (forward, other, forward_name, reverse_name, source_keyspace, target_keyspace)
        };
        let (sources, targets) = (self.read_from(&story, &leaving)?, self.written_to(&target_keyspace, &story)?);
        let mut all_shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (keyspace, shard) in self.records.shards.keys() {
            all_shards.entry(keyspace.clone()).or_default().insert(shard.clone());
        }
        let types = self.records.tablets.iter().map(|(name, tablet)| {
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
            rules: self.records.rules.clone(),
            vschemas: self.records.vschemas.iter().map(|(keyspace, stored)| (keyspace.clone(), stored.value.clone())).collect(),
            vschema_versions: self.records.vschemas.iter().map(|(keyspace, stored)| (keyspace.clone(), stored.version)).collect(),
            primaries: primaries(&self.goal.keyspace, &self.records.shards),
            leaving,
            served: self.records.served.clone(),
            srv_keyspaces: self.records.srv_keyspaces.clone(),
            others: Others::default(),
            sequences: Vec::new(),
            no_sequences: None,
            tablet_types: types.collect(),
            aliases: self.records.aliases.clone(),
            state: self.state.clone(),
            are_writes_switched: self.are_writes_switched(),
        })
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
}
