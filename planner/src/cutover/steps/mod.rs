//! The steps of a change of traffic: what each does, whether it can be taken back, and what is in front of its failures' texts; and which of
//! them are left, by what is there.
//!
//! Everything that can be prepared before the first write is refused comes before; no step that has to be waited for while writes are
//! refused does what another time would do as well. A step whose work is done already changes nothing: so the same request, made again,
//! goes on where an earlier one stopped.

mod lanes;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::StepWay as Way,
    cutover::{
        act::{Act, Sign, statement},
        begun::is_left,
        edit::{Edit, KEYSPACE_RULES, keyspace_keys},
        refusals::{Resolved, is_cell_behind, is_switched, serves},
        request::Goal,
        scene::{FROZEN, Member, Scene, Stream, suffix},
        sequences,
        streams::Part,
    },
    proto::topodata::TabletType,
    traffic::kind::Kind,
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
    /// Tablets of shards that are open again read that, too, whoever they are by now.
    Tell,
}

/// A step, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) step: Step,
    pub(crate) way: Way,
}

/// What the steps are made from.
pub(crate) struct Basis<'a> {
    pub(crate) goal: &'a Goal,
    pub(crate) resolved: &'a Resolved,
    pub(crate) scene: &'a Scene,
}

/// The steps that are left.
pub(crate) fn left(goal: &Goal, resolved: &Resolved, scene: &Scene) -> Result<Vec<Planned>, String> {
    let mut planned = steps(goal, resolved, scene)?;
    let opens = planned.iter().any(|planned| matches!(planned.step, Step::Close | Step::Reopen | Step::Route));
    let tells = opens && !Basis { goal, resolved, scene }.opened().is_empty();
    planned.extend(tells.then_some(Planned { step: Step::Tell, way: Way::Forward }));
    Ok(planned)
}

fn steps(goal: &Goal, resolved: &Resolved, scene: &Scene) -> Result<Vec<Planned>, String> {
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
