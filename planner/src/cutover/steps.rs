//! The steps of a change of traffic: what each does, whether it can be taken back, and what is in front of its failures' texts; and which of
//! them are left, by what is there.
//!
//! Everything that can be prepared before the first write is refused comes before; no step that has to be waited for while writes are
//! refused does what another time would do as well. A step whose work is done already changes nothing: so the same request, made again,
//! goes on where an earlier one stopped.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::{StepWay as Way, TabletAddress},
    cutover::{
        act::{self, Act, Lane, Run, Sign, Then, Undo, statement},
        begun::is_left,
        edit::{Edit, KEYSPACE_RULES, MIRROR_RULES, SHARD_RULES, TABLE_RULES, control, keyspace_keys},
        look::journal_query,
        refusals::{Resolved, is_cell_behind, is_switched, serves},
        request::Goal,
        reverse,
        scene::{FROZEN, Member, STOPPED_FOR_CUTOVER, Scene, Stream, suffix},
        sequences,
        streams::Part,
    },
    proto::topodata::TabletType,
    sidecar::literal::quote,
    traffic::{journal, kind::Kind},
};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All tablets of both sides read their shards' records: those that cannot would not see the next one either.
    Refresh,
    /// The sources' users may manage streams.
    Permissions,
    /// Streams that an interrupted switch has stopped run again.
    Resume,
    /// Sequences that the moved tables need are there.
    PrepareSequences,
    /// The source forgets values of sequences that move.
    ResetMoved,
    /// The largest values that sequences have to be above.
    HighestValues,
    /// They are above them.
    RaiseSequences,
    /// No traffic of these types is mirrored.
    Unmirror(Vec<TabletType>),
    /// Reads go to the other keyspace.
    Reads,
    /// The source refuses writes to the tables; the target does not.
    Close,
    /// Statements that had begun have ended; where the source is.
    Drain,
    /// The target has all of it, and its streams stop.
    CatchUp,
    /// The source takes writes again, which a switch that stopped had closed: on the way back, and of shards also before they are closed
    /// anew.
    Reopen,
    /// Streams of the other direction that this switch has created go.
    DropReverse,
    /// Where the target is.
    TargetPositions,
    /// Streams of the other direction, which stand still; those of an earlier switch are gone, if that was not the way forth.
    CreateReverse,
    /// The journal: from its first entry on there is no way back.
    Journal,
    /// Where the source is, of shards whose journal is missing.
    SourcePositions,
    /// Writes go to the target.
    Route,
    /// Streams that were there in the other direction before are gone.
    DropOldReverse,
    /// The streams of the other direction run.
    StartReverse,
    /// The streams that have done their work cannot be started any more.
    Freeze,
    /// What is done with streams of other workflows.
    Others(Part),
}

/// A step, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) step: Step,
    pub(crate) way: Way,
}

/// The steps that are left.
pub(crate) fn left(goal: &Goal, resolved: &Resolved, scene: &Scene) -> Result<Vec<Planned>, String> {
    let mut steps = Vec::new();
    let has_journal = !scene.journals.is_empty();
    let is_frozen = scene.is_frozen();
    let writes = resolved.writes && !is_frozen;
    let is_past = writes && is_past(scene);
    // A primary whose query service is off answers no more when it is told to read that again.
    let is_shut = writes && !is_past && scene.kind == Kind::Reshard && scene.sources.values().any(|on| scene.is_shut(on));
    steps.extend(is_shut.then_some(Step::Reopen));
    if !is_past && (writes || !resolved.reads.is_empty()) {
        steps.push(Step::Refresh);
        steps.extend((writes && goal.enable_reverse).then_some(Step::Permissions));
    }
    if writes && !is_past && scene.streams.iter().any(Stream::is_stopped_for_cutover) {
        steps.push(Step::Resume);
    }
    let basis = Basis { goal, resolved, scene };
    let resumes = !scene.others.held.is_empty();
    steps.extend((writes && !is_past && resumes).then_some(Step::Others(Part::Resume)));
    let raises = writes && !scene.sequences.is_empty();
    steps.extend((raises && !is_past).then_some(Step::PrepareSequences));
    let unmirrored = |types: &[TabletType]| -> Result<Option<Step>, String> {
        let is_mirrored = scene.kind != Kind::Reshard && !types.is_empty() && !scene.mirrored(types)?.is_empty();
        Ok(is_mirrored.then(|| Step::Unmirror(types.to_vec())))
    };
    steps.extend(unmirrored(&resolved.reads)?);
    steps.extend((!are_reads_there(resolved, scene)?).then_some(Step::Reads));
    let mut planned: Vec<Planned> = steps.into_iter().map(|step| Planned { step, way: Way::Back }).collect();
    if resolved.reopens {
        planned.retain(|planned| planned.step != Step::Refresh);
        let has_stopped = scene.streams.iter().any(Stream::is_stopped_for_cutover);
        let steps = [
            Some(Step::Reopen),
            has_stopped.then_some(Step::Resume),
            scene.reverse_streams.iter().any(is_left).then_some(Step::DropReverse),
            (!scene.others.copies.is_empty()).then_some(Step::Others(Part::DropCopies)),
            resumes.then_some(Step::Others(Part::Resume)),
        ];
        planned.extend(steps.into_iter().flatten().map(|step| Planned { step, way: Way::Forward }));
    }
    if resolved.writes && is_frozen && is_cell_behind(scene) {
        planned.push(Planned { step: Step::Route, way: Way::Forward });
    }
    if !writes {
        return Ok(planned);
    }
    let before = |step| Planned { step, way: Way::Back };
    let after = |step| Planned { step, way: Way::Forward };
    let no_return = Planned { step: Step::Journal, way: Way::PointOfNoReturn };
    planned.extend(unmirrored(&[TabletType::Primary])?.map(if is_past { after } else { before }));
    let moves_sequences = scene.kind != Kind::Reshard && !sequences::moved(scene).is_empty();
    let raise = [Step::HighestValues, Step::RaiseSequences].into_iter().filter(|_| raises);
    if is_past {
        let is_whole = scene.sources.keys().all(|shard| scene.journals.contains_key(shard));
        planned.extend((scene.kind != Kind::Reshard).then(|| after(Step::Close)));
        planned.extend((!is_whole).then(|| after(Step::SourcePositions)));
        planned.extend((!missing_reverse(scene).is_empty()).then(|| after(Step::CreateReverse)));
        planned.extend((!is_whole && has_journal).then(|| after(Step::Journal)));
        // As it was done before the journal, unless it was not asked for then.
        planned.extend(raises.then(|| after(Step::PrepareSequences)));
        planned.extend(raise.map(after));
    } else {
        planned.extend(basis.others_before().into_iter().map(Step::Others).map(before));
        planned.extend([Step::Close, Step::Drain].map(before));
        let inner = |steps: &[Step]| if basis.has_inner() { steps.to_vec() } else { Vec::new() };
        planned.extend(inner(&[Step::Others(Part::EndInner), Step::SourcePositions]).into_iter().map(before));
        planned.extend([Step::CatchUp, Step::TargetPositions].map(before));
        planned.extend(inner(&[Step::Others(Part::CopyInner)]).into_iter().map(before));
        planned.extend(moves_sequences.then(|| before(Step::ResetMoved)));
        planned.push(before(Step::CreateReverse));
        // Last of all, for it is not taken back.
        planned.extend(raise.map(before));
        planned.push(no_return);
    }
    // A vtctld that finished it would start them, too. On the way back they are the frozen streams of the way forth, by which the switch
    // is known as long as it can be taken back.
    let next = [Step::Route, Step::DropOldReverse];
    planned.extend(if scene.is_reversal { [Step::DropOldReverse, Step::Route] } else { next }.map(after));
    let starts = if is_past { !scene.others.copies.is_empty() } else { !scene.others.names().is_empty() };
    planned.extend(starts.then(|| after(Step::Others(Part::Start))));
    planned.extend((!scene.others.gone().is_empty()).then(|| after(Step::Others(Part::Drop))));
    planned.extend(goal.enable_reverse.then(|| after(Step::StartReverse)));
    planned.push(after(Step::Freeze));
    Ok(planned)
}

/// Whether a switch of writes was begun that cannot be taken back any more.
fn is_past(scene: &Scene) -> bool {
    !scene.journals.is_empty() || is_switched(scene) && scene.streams.iter().any(Stream::is_frozen)
}

/// Whether the rules for reads are as they are to be, in the global record and in every cell that is to serve them.
fn are_reads_there(resolved: &Resolved, scene: &Scene) -> Result<bool, String> {
    if scene.kind == Kind::Partial {
        // They go with the writes.
        return Ok(true);
    }
    if scene.kind == Kind::Reshard {
        let (to, _) = resolved.sides(scene);
        let there = |cell: &String, of: &TabletType| {
            let stored = scene.srv_keyspaces.get(cell).filter(|stored| stored.version != 0);
            stored.is_none_or(|stored| serves(&stored.value, *of, to))
        };
        return Ok(resolved.reads.iter().all(|of| resolved.cells.iter().all(|cell| there(cell, of))));
    }
    if scene.kind == Kind::MultiTenant {
        let to_target = resolved.reads_to == scene.target_keyspace;
        // A cell may not serve it yet, if whoever wrote the rule has died: it is served again.
        return Ok(resolved.reads.iter().all(|of| scene.is_tenant_routed(*of) == to_target) && are_rules_served(scene));
    }
    let keys = scene.table_keys()?;
    let is_there = read_rules(resolved, scene).iter().all(|(key, to)| keys.get(key) == to.as_ref());
    let is_served =
        |of: &TabletType| resolved.cells.iter().all(|cell| super::refusals::is_served(scene, cell, *of, &resolved.reads_to));
    Ok(is_there && resolved.reads.iter().all(is_served))
}

/// Whether every cell serves the rules of keyspaces as they are.
fn are_rules_served(scene: &Scene) -> bool {
    use prost::Message;
    let rules = scene.rules.get(KEYSPACE_RULES).map_or(&[][..], |stored| stored.value.as_slice());
    let wanted = keyspace_keys(rules);
    scene.served.values().all(|stored| {
        let served = crate::proto::vschema::SrvVSchema::decode(stored.value.as_slice()).unwrap_or_default();
        keyspace_keys(&served.keyspace_routing_rules.unwrap_or_default().encode_to_vec()) == wanted
    })
}

/// The rules of the source keyspace by which a tenant's traffic of these types goes.
fn tenant_rules(scene: &Scene, types: &[TabletType], to: &str) -> Edit {
    let rule = |of: &TabletType| (format!("{}{}", scene.source_keyspace, suffix(*of)), Some(to.to_owned()));
    Edit::KeyspaceRules(types.iter().map(rule).collect())
}

/// The rules by which reads go where they are to go.
fn read_rules(resolved: &Resolved, scene: &Scene) -> BTreeMap<String, Option<Vec<String>>> {
    let mut rules = BTreeMap::new();
    for of in &resolved.reads {
        for table in &scene.tables {
            let to = vec![format!("{}.{table}", resolved.reads_to)];
            for from in ["", &format!("{}.", scene.target_keyspace), &format!("{}.", scene.source_keyspace)] {
                rules.insert(format!("{from}{table}{}", suffix(*of)), Some(to.clone()));
            }
        }
    }
    rules
}

/// The rules by which writes go to the target.
fn write_rules(scene: &Scene) -> BTreeMap<String, Option<Vec<String>>> {
    let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
    let mut rules = BTreeMap::new();
    for table in &scene.tables {
        let to = vec![format!("{target}.{table}")];
        rules.insert(format!("{target}.{table}"), None);
        rules.insert(table.clone(), Some(to.clone()));
        rules.insert(format!("{source}.{table}"), Some(to));
    }
    rules
}

/// The same of a partial workflow.
fn shard_rules(scene: &Scene) -> BTreeMap<(String, String), Option<String>> {
    let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
    let of_shard =
        |shard: &String| [((target.clone(), shard.clone()), None), ((source.clone(), shard.clone()), Some(target.clone()))];
    scene.sources.keys().flat_map(of_shard).collect()
}

/// Places in the scene's streams that have no stream of the other direction.
fn missing_reverse(scene: &Scene) -> Vec<usize> {
    let is_there = |stream: &&Stream| {
        scene.reverse_streams.iter().any(|it| it.shard == stream.source.shard && it.source.shard == stream.shard)
    };
    scene.streams.iter().enumerate().filter(|(_, stream)| !is_there(stream)).map(|(place, _)| place).collect()
}

/// Ids on each source of streams of the other direction that this change does not make.
fn old_reverse(scene: &Scene, is_past: bool) -> BTreeMap<&str, BTreeSet<i64>> {
    let mut old: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    let mut newest: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for stream in &scene.reverse_streams {
        old.entry(&stream.shard).or_default().insert(stream.id);
        let newest = newest.entry((&stream.shard, &stream.source.shard)).or_default();
        *newest = stream.id.max(*newest);
    }
    if is_past {
        // Made before the journal was written: of each pair of shards the last one.
        for ((shard, _), id) in newest {
            old.entry(shard).or_default().remove(&id);
        }
    }
    old.retain(|_, ids| !ids.is_empty());
    old
}

pub(super) fn delete_streams(on: &Member, ids: &BTreeSet<i64>) -> Act {
    let text = format!("delete from _vt.vreplication where id in ({})", listed(ids));
    let look = format!("select id from _vt.vreplication where id in ({})", listed(ids));
    statement(on, "delete streams", text, (look, Sign::None), None)
}

pub(super) fn freeze_streams(on: &Member, ids: &BTreeSet<i64>) -> Act {
    let of = format!("id in ({})", listed(ids));
    let text = format!("update _vt.vreplication set message = '{FROZEN}' where {of}");
    let look = format!("select message from _vt.vreplication where {of}");
    statement(on, "freeze", text, (look, Sign::Every(vec![("message", FROZEN.to_owned())])), None)
}

pub(super) fn listed(ids: &BTreeSet<i64>) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the steps are made from.
pub(crate) struct Basis<'a> {
    pub(crate) goal: &'a Goal,
    pub(crate) resolved: &'a Resolved,
    pub(crate) scene: &'a Scene,
}

impl Basis<'_> {
    /// The acts of a step, with what is known by now.
    ///
    /// # Errors
    /// Something that a step before was to find out is not there.
    pub(crate) fn lanes(&self, planned: &Planned, run: &Run) -> Result<Vec<Lane>, String> {
        let scene = self.scene;
        let (sources, targets) = (|| scene.sources.values(), || scene.targets.values());
        let all_cells: Vec<String> = scene.served.keys().cloned().collect();
        Ok(match &planned.step {
            Step::Refresh => scene.members().map(|on| vec![self.told(on)]).collect(),
            Step::Permissions => sources().map(|on| vec![vec![act::permissions(on)]]).collect(),
            Step::Resume => self.of_streams(Stream::is_stopped_for_cutover, |on, stream| {
                let text = format!("update _vt.vreplication set state='Running', message='' where id={}", stream.id);
                let look = format!("select id from _vt.vreplication where id={} and state='Stopped'", stream.id);
                vec![vec![statement(on, "start", text, (look, Sign::None), None)]]
            }),
            Step::PrepareSequences => self.prepare_sequences(),
            Step::ResetMoved => self.reset_moved(),
            Step::HighestValues => self.highest_values(),
            Step::RaiseSequences => self.raise_sequences(run)?,
            Step::Unmirror(types) => {
                let edit = Edit::Unmirror(scene.mirrored(types)?);
                let mut lane = act::edit_rules(scene, MIRROR_RULES, edit, &all_cells);
                let all = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];
                let is_last = scene.mirrored(&all)? == scene.mirrored(types)?;
                let opened = targets().filter(|on| control(&on.record.value).ok().flatten().is_some_and(|it| it.allow_reads));
                for on in opened.filter(|_| is_last) {
                    let deny = Edit::Deny { tables: scene.tables.clone(), is_denied: true, allow_reads: false };
                    lane.extend(act::edit_shard(on, deny, None));
                }
                vec![lane]
            }
            Step::Reads if scene.kind == Kind::Reshard => vec![self.shard_reads()],
            Step::Reads => {
                let Resolved { reads, reads_to, .. } = self.resolved;
                let (path, edit) = match scene.kind {
                    Kind::MultiTenant => (KEYSPACE_RULES, tenant_rules(scene, reads, reads_to)),
                    _ => (TABLE_RULES, Edit::TableRules(read_rules(self.resolved, scene))),
                };
                let cells = if self.resolved.writes { &all_cells } else { &self.resolved.cells };
                vec![act::edit_rules(scene, path, edit, cells)]
            }
            Step::Close if scene.kind == Kind::Reshard => vec![self.close_shards()],
            Step::Close => self.close(planned.way),
            Step::Drain if scene.kind == Kind::Reshard => {
                let lane = |on: &Member| vec![vec![act::nudge(on), act::position(on, Then::SourcePosition(on.shard.clone()))]];
                sources().map(lane).collect()
            }
            Step::Drain => {
                let tables = &scene.tables;
                let lane = |on: &Member| {
                    let position = act::position(on, Then::SourcePosition(on.shard.clone()));
                    // A statement has its tenth of a second from when the tables are denied, whoever else is waited for meanwhile; and
                    // the streams note the position whether the nudge is before it or after.
                    vec![
                        vec![act::lock_tables(on, tables, 1), act::pause(on)],
                        vec![act::lock_tables(on, tables, 2)],
                        vec![act::nudge(on), position],
                    ]
                };
                sources().map(lane).collect()
            }
            Step::SourcePositions => {
                let missing = sources().filter(|on| !scene.journals.contains_key(&on.shard));
                let nudge = |on: &Member| (planned.way == Way::Back).then(|| act::nudge(on));
                let position = |on: &Member| act::position(on, Then::SourcePosition(on.shard.clone()));
                missing.map(|on| vec![nudge(on).into_iter().chain([position(on)]).collect()]).collect()
            }
            Step::Reopen => self.reopen(),
            Step::DropReverse => self.drop_reverse(),
            Step::CatchUp => self.catch_up(run)?,
            Step::TargetPositions => {
                targets().map(|on| vec![vec![act::position(on, Then::TargetPosition(on.shard.clone()))]]).collect()
            }
            Step::CreateReverse => self.create_reverse(planned.way == Way::Forward, run)?,
            Step::Journal => self.journal(run)?,
            Step::Route if scene.kind == Kind::Reshard => vec![self.route_shards()],
            Step::Route => {
                let (path, edit) = match scene.kind {
                    Kind::Partial => (SHARD_RULES, Edit::ShardRules(shard_rules(scene))),
                    Kind::MultiTenant => (KEYSPACE_RULES, tenant_rules(scene, &[TabletType::Primary], &scene.target_keyspace)),
                    _ => (TABLE_RULES, Edit::TableRules(write_rules(scene))),
                };
                vec![act::edit_rules(scene, path, edit, &all_cells)]
            }
            Step::DropOldReverse => self.drop_old_reverse(),
            Step::Others(part) => self.others(*part, run)?,
            Step::StartReverse => {
                let lane = |on: &Member| {
                    let of = format!("db_name={} and workflow={}", quote(&on.db_name), quote(&scene.reverse));
                    let text = format!("update _vt.vreplication set state='Running', message='' where {of}");
                    let look = format!("select id from _vt.vreplication where {of} and state='Stopped'");
                    vec![vec![statement(on, "start", text, (look, Sign::None), None)]]
                };
                sources().map(lane).collect()
            }
            Step::Freeze => {
                let lane = |on: &Member| {
                    let of = format!("db_name={} and workflow={}", quote(&on.db_name), quote(&scene.workflow));
                    let text = format!("update _vt.vreplication set message = '{FROZEN}' where {of}");
                    let look = format!("select message from _vt.vreplication where {of}");
                    let sign = Sign::Every(vec![("message", FROZEN.to_owned())]);
                    vec![vec![statement(on, "freeze", text, (look, sign), None)]]
                };
                targets().map(lane).collect()
            }
        })
    }

    /// All tablets of a shard are told to read their records, but a primary that would not answer.
    pub(super) fn told(&self, on: &Member) -> Vec<Act> {
        let is_shut = |tablet: &TabletAddress| tablet.alias == on.primary.alias && self.scene.is_shut(on);
        on.tablets.iter().filter(|tablet| !is_shut(tablet)).map(|tablet| act::refresh(on, tablet)).collect()
    }

    /// A lane for each stream of a kind, on its primary.
    fn of_streams(&self, is_it: impl Fn(&Stream) -> bool, lane: impl Fn(&Member, &Stream) -> Lane) -> Vec<Lane> {
        let streams = self.scene.streams.iter().filter(|stream| is_it(stream));
        streams.filter_map(|stream| Some(lane(self.scene.targets.get(&stream.shard)?, stream))).collect()
    }

    fn close(&self, way: Way) -> Vec<Lane> {
        let scene = self.scene;
        let deny = |is_denied| Edit::Deny { tables: scene.tables.clone(), is_denied, allow_reads: false };
        // Denied by a switch that stopped: what it did is taken back with what is done now, for else nobody could write.
        let denies = |on: &Member| scene.tables.iter().any(|table| on.denied().contains(table));
        let is_adopted = way == Way::Back && scene.sources.values().any(denies);
        let back = |is_denied| is_adopted.then(|| deny(is_denied));
        let closed = scene.sources.values().map(|on| act::close_shard(on, deny(true), back(false)));
        // Targets of other kinds deny nothing before their first switch.
        // Its primary has to know it, too: one that could not be told when this is taken back would take writes that nobody copies.
        let denied = |on| act::close_shard(on, deny(false), back(true).filter(|_| scene.kind == Kind::Standard));
        closed.chain(scene.targets.values().map(denied)).collect()
    }

    fn catch_up(&self, run: &Run) -> Result<Vec<Lane>, String> {
        let mut lanes = Vec::new();
        for stream in &self.scene.streams {
            let Some(on) = self.scene.targets.get(&stream.shard) else { continue };
            let position = position(&run.source_positions, &stream.source.shard)?;
            let wait = act::wait_for_position(on, stream.id, position, self.goal.timeout);
            let text =
                format!("update _vt.vreplication set state='Stopped', message='{STOPPED_FOR_CUTOVER}' where id={}", stream.id);
            let look = format!("select state, message from _vt.vreplication where id={}", stream.id);
            let sign = Sign::Every(vec![("state", "Stopped".to_owned()), ("message", STOPPED_FOR_CUTOVER.to_owned())]);
            let message = if stream.is_stopped_for_cutover() { "" } else { stream.message.as_str() };
            let back = format!("update _vt.vreplication set state='Running', message={} where id={}", quote(message), stream.id);
            lanes.push(vec![vec![wait], vec![statement(on, "stop", text, (look, sign), Some(Undo::Statement(back)))]]);
        }
        Ok(lanes)
    }

    fn create_reverse(&self, is_past: bool, run: &Run) -> Result<Vec<Lane>, String> {
        let scene = self.scene;
        let journaled = journaled(scene);
        let positions = if is_past { &journaled } else { &run.target_positions };
        let missing = missing_reverse(scene);
        let mut lanes = Vec::new();
        for (place, stream) in scene.streams.iter().enumerate() {
            if is_past && !missing.contains(&place) {
                continue;
            }
            let (Some(on), Some(source)) = (scene.sources.get(&stream.source.shard), self.resolved.reverse_sources.get(place))
            else {
                continue;
            };
            let at = position(positions, &stream.shard)?;
            let text = reverse::insert(scene, source, stream, at, &run.now);
            let of = format!("db_name = {} and workflow = {}", quote(&on.db_name), quote(&scene.reverse));
            let look = format!("select id, source from _vt.vreplication where {of}");
            let known = scene.reverse_streams.iter().filter(|it| it.shard == on.shard).map(|it| it.id).collect();
            let sign = Sign::NewSource(source.clone(), known);
            lanes.push(vec![vec![statement(on, "create stream", text, (look, sign), Some(Undo::Inserted))]]);
        }
        if !is_past && !scene.is_reversal {
            // Nobody has a use for them any more: they stay deleted, whatever becomes of this.
            let old = old_reverse(scene, false);
            let old = old.iter().filter_map(|(shard, ids)| Some(vec![vec![delete_streams(scene.sources.get(*shard)?, ids)]]));
            lanes.extend(old);
        }
        Ok(lanes)
    }

    fn journal(&self, run: &Run) -> Result<Vec<Lane>, String> {
        let scene = self.scene;
        let journaled = journaled(scene);
        // All journals of one switch say the same of the target.
        let targets = if scene.journals.is_empty() { &run.target_positions } else { &journaled };
        let mut lanes = Vec::new();
        for (shard, on) in scene.sources.iter().filter(|(shard, _)| !scene.journals.contains_key(*shard)) {
            let journal = reverse::journal(scene, position(&run.source_positions, shard)?, targets);
            let text = reverse::insert_journal(scene, on, &journal);
            let look = journal_query(scene.migration_id()).statement;
            lanes.push(vec![vec![statement(on, "write journal", text, (look, Sign::Any), None)]]);
        }
        Ok(lanes)
    }

    fn drop_old_reverse(&self) -> Vec<Lane> {
        let scene = self.scene;
        let is_past = is_past(scene);
        // Of a way forth they went when the new ones were created.
        let old = if is_past || scene.is_reversal { old_reverse(scene, is_past) } else { BTreeMap::new() };
        let lane = |on: &Member| {
            let delete = old.get(on.shard.as_str()).map(|ids| delete_streams(on, ids));
            vec![delete.into_iter().collect::<Vec<Act>>(), vec![act::forget_vdiffs(on, &scene.reverse)]]
        };
        scene.sources.values().map(lane).collect()
    }
}

fn position<'a>(positions: &'a BTreeMap<String, String>, shard: &str) -> Result<&'a String, String> {
    positions.get(shard).ok_or_else(|| format!("the position of shard {shard} is not known"))
}

/// Where the target was, as the journals that are there say.
fn journaled(scene: &Scene) -> BTreeMap<String, String> {
    scene.journals.values().next().map(|text| journal::read(text).positions.into_iter().collect()).unwrap_or_default()
}

impl Step {
    /// Its name in plans.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Refresh => "refresh tablets",
            Self::Permissions => "check permissions",
            Self::Resume => "start stopped streams",
            Self::PrepareSequences => "prepare the sequences",
            Self::ResetMoved => "reset the moved sequences",
            Self::HighestValues => "read the largest values",
            Self::RaiseSequences => "raise the sequences",
            Self::Unmirror(_) => "stop mirroring",
            Self::Reads => "switch reads",
            Self::Close => "stop writes on the source",
            Self::Drain => "wait for running statements",
            Self::CatchUp => "wait for the streams and stop them",
            Self::Reopen => "let the source take writes again",
            Self::DropReverse => "delete the reverse streams",
            Self::TargetPositions => "read the target's positions",
            Self::SourcePositions => "read the source's positions",
            Self::CreateReverse => "create the reverse streams",
            Self::Journal => "write the journal",
            Self::Route => "switch writes",
            Self::DropOldReverse => "delete old reverse streams",
            Self::StartReverse => "start the reverse streams",
            Self::Freeze => "freeze the streams",
            Self::Others(part) => part.name(),
        }
    }

    /// In front of what has failed, as clients know it.
    pub(crate) fn failure(&self, way: Way, scene: &Scene) -> String {
        let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
        match self {
            Self::Refresh => format!(
                "cannot switch traffic for workflow {} at this time: could not refresh all of the tablets involved in the operation:\n",
                scene.workflow
            ),
            Self::Permissions => {
                format!(
                    "primary tablets are not able to fully manage the reverse vreplication workflow in the {source} keyspace: "
                )
            }
            Self::Resume => "failed to start the streams that an interrupted switch has stopped: ".into(),
            Self::PrepareSequences => format!("failed to get the sequence information in the {target} keyspace: "),
            Self::ResetMoved => "failed to reset the sequences: ".into(),
            Self::HighestValues | Self::RaiseSequences => {
                format!("failed to initialize the sequences used in the {target} keyspace: ")
            }
            Self::Unmirror(types) => {
                let of = if types.contains(&TabletType::Primary) { "primary tablet type" } else { "read-only tablet types" };
                format!(
                    "failed to remove mirror rules from source keyspace {source} to target keyspace {target}, workflow {}, for {of}: ",
                    scene.workflow
                )
            }
            Self::Reads if scene.kind == Kind::Reshard => "failed to switch read traffic for the shards: ".into(),
            Self::Reads => "failed to switch read traffic for the tables: ".into(),
            Self::Close if way == Way::Forward => format!("failed to allow writes in the {target} keyspace: "),
            Self::Close => format!("failed to stop writes in the {source} keyspace: "),
            Self::Reopen => format!("failed to allow writes in the {source} keyspace: "),
            Self::DropReverse => format!("failed to delete the streams of {}: ", scene.reverse),
            // The acts say it.
            Self::Drain => String::new(),
            Self::SourcePositions => "failed to gather replication positions: ".into(),
            Self::CatchUp | Self::TargetPositions => "failed to sync up replication between the source and target: ".into(),
            Self::CreateReverse => "failed to create the reverse vreplication streams: ".into(),
            Self::Journal => "failed to create the journal: ".into(),
            Self::Route => "failed to update the routing rules: ".into(),
            Self::DropOldReverse => format!("failed to delete the old streams of {}: ", scene.reverse),
            Self::StartReverse => "failed to start the reverse workflow: ".into(),
            Self::Freeze => format!("failed to freeze the workflow in the {target} keyspace: "),
            Self::Others(part) => part.failure(source),
        }
    }
}
