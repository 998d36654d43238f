//! What is refused before anything is touched, from what was read alone: the refusals of the reference in their order and words, and those
//! that it should have.
//!
//! Facts: `go/vt/vtctl/workflow/server.go` (`canSwitch`, `switchReads`, `switchWrites`), `traffic_switcher.go:validate`, v24.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::{Code, Status},
    cutover::{
        begun,
        request::{Direction, Goal},
        reverse,
        scene::{Member, Scene, suffix},
        served,
    },
    proto::{binlogdata::VReplicationWorkflowState as State, topodata::TabletType},
    traffic::kind::Kind,
    words::says_error,
};

/// What is going to be done, once nothing speaks against it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolved {
    /// Types whose reads move, in their order.
    pub(crate) reads: Vec<TabletType>,
    /// Whether they go back to the source of the scene.
    pub(crate) are_reads_back: bool,
    /// The keyspace that they move to.
    pub(crate) reads_to: String,
    /// Cells that serve the new rules for reads at once; all of them where writes move as well.
    pub(crate) cells: Vec<String>,
    /// Whether a switch that stopped before its journal is taken back.
    pub(crate) reopens: bool,
    /// Whether writes move to the target of the scene.
    pub(crate) writes: bool,
    /// Texts of `source` for the streams of the other direction, in the order of the scene's streams.
    pub(crate) reverse_sources: Vec<String>,
}

impl Resolved {
    /// The shards that reads of a reshard go to, and those that they leave.
    pub(crate) fn sides<'a>(&self, scene: &'a Scene) -> (&'a BTreeMap<String, Member>, &'a BTreeMap<String, Member>) {
        if self.are_reads_back { (&scene.sources, &scene.targets) } else { (&scene.targets, &scene.sources) }
    }
}

/// Resolves a goal against what is there, or refuses it.
///
/// # Errors
/// The reason; nothing has been touched.
pub(crate) fn resolve(goal: &Goal, scene: &Scene) -> Result<Resolved, Status> {
    // Writes are where they are to go; a way back that was begun is taken back.
    let is_off = goal.direction == Direction::Forward && scene.is_reversal;
    let only_reads_back = goal.direction == Direction::Backward && !scene.is_reversal || is_off;
    let writes = goal.writes && !only_reads_back;
    let is_back = goal.direction == Direction::Backward;
    let reopens = begun::is_wanted(goal, scene);
    if scene.kind == Kind::MultiTenant && is_back && !reopens && (goal.writes || scene.are_writes_switched) {
        return Err(Status::unknown("cannot reverse write traffic for multi-tenant migrations"));
    }
    if is_off && !reopens {
        return Err(way_back_is_final(&goal.keyspace, &goal.workflow));
    }
    refuse_moved_on(scene)?;
    let (reads, reads_to) = reads(goal, scene, only_reads_back)?;
    if only_reads_back && goal.writes && !reopens {
        refuse_forward(scene, &reads)?;
    }
    // Reads that leave a target whose streams lag or have failed are what whoever asks for this wants.
    if !reopens && !only_reads_back {
        can_switch(scene, goal, writes)?;
    }
    if writes {
        refuse_begun_back(scene)?;
        refuse_old_journal(scene)?;
        if let Some(why) = scene.others.refusal.as_ref().filter(|_| scene.journals.is_empty() && !scene.is_frozen()) {
            return Err(Status::unknown(format!("failed to migrate the workflow streams: {why}")));
        }
    }
    if !reads.is_empty() || writes && !scene.is_frozen() {
        let before = match scene.kind {
            Kind::Reshard if reads.is_empty() => "Before changing shard routes, found ",
            Kind::Reshard => "Before switching shard reads, found ",
            _ => "workflow validation failed: ",
        };
        validate(scene).map_err(|text| Status::unknown(format!("{before}{text}")))?;
        refuse_denied(scene)?;
    }
    let mut resolved = Resolved {
        reads,
        are_reads_back: only_reads_back,
        reads_to,
        cells: cells(goal, scene)?,
        reopens,
        writes,
        ..Resolved::default()
    };
    if writes && !scene.is_frozen() {
        if let Some(text) = &scene.no_sequences {
            return Err(Status::unknown(text.clone()));
        }
        let vschema = scene.vschema(&scene.source_keyspace).map_err(Status::unknown)?;
        let made = scene.streams.iter().map(|stream| reverse::source(scene, &vschema, stream)).collect::<Result<_, _>>();
        resolved.reverse_sources =
            made.map_err(|text| Status::unknown(format!("failed to create the reverse vreplication streams: {text}")))?;
        if goal.enable_reverse {
            can_stream_from(goal, scene)?;
        }
    }
    Ok(resolved)
}

/// Rules of the tables lead to a third keyspace: another workflow has moved them on, and they are its rules by now.
fn refuse_moved_on(scene: &Scene) -> Result<(), Status> {
    if scene.kind != Kind::Standard {
        return Ok(());
    }
    let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
    let keys = scene.table_keys().map_err(Status::unknown)?;
    for table in &scene.tables {
        for of in [TabletType::Primary, TabletType::Replica, TabletType::Rdonly] {
            for from in ["", &format!("{source}."), &format!("{target}.")] {
                let to = keys.get(&format!("{from}{table}{}", suffix(of))).and_then(|to| to.first());
                let third = to.and_then(|to| to.split('.').next()).filter(|to| to != source && to != target);
                let Some(third) = third else { continue };
                let message = format!(
                    "{table} is routed to {third}, neither to {source} nor to {target}: another workflow has moved it on, and has to be \
                     completed or reversed first; nothing was changed"
                );
                return Err(Status { code: Code::FailedPrecondition, message });
            }
        }
    }
    Ok(())
}

/// Writes are to come back that have not gone.
fn refuse_forward(scene: &Scene, reads: &[TabletType]) -> Result<(), Status> {
    let workflow = format!("{}.{}", scene.target_keyspace, scene.workflow);
    let message = if !scene.journals.is_empty() {
        return Err(switch_is_final(&scene.target_keyspace, &scene.workflow));
    } else if !reads.is_empty() {
        return Ok(());
    } else if scene.reverse_streams.is_empty() {
        return Err(Status::unknown(super::scene::no_streams(&scene.source_keyspace, &scene.reverse)));
    } else {
        format!("the traffic of {workflow} has not been switched: there is nothing to bring back")
    };
    Err(Status { code: Code::FailedPrecondition, message })
}

fn switch_is_final(keyspace: &str, workflow: &str) -> Status {
    let message = format!(
        "a switch of {keyspace}.{workflow} has stopped after its journal was written, and cannot be taken back: switch its traffic again to \
         finish that, then reverse it"
    );
    Status { code: Code::FailedPrecondition, message }
}

/// Writes are here, and a switch that takes them away has got past its journal: whoever follows streams has gone where that says. Were it
/// undone, the next one would find that journal, and not wait for what was written since.
fn refuse_begun_back(scene: &Scene) -> Result<(), Status> {
    if scene.journals_back.is_empty() || !is_switched(scene) {
        return Ok(());
    }
    Err(way_back_is_final(&scene.target_keyspace, &scene.workflow))
}

fn way_back_is_final(keyspace: &str, workflow: &str) -> Status {
    let message = format!(
        "the way back of {keyspace}.{workflow} has stopped after its journal was written, and cannot be taken back: reverse its traffic \
         again to finish that, then switch it; nothing was changed"
    );
    Status { code: Code::FailedPrecondition, message }
}

/// Types whose reads move, and where to.
fn reads(goal: &Goal, scene: &Scene, only_reads_back: bool) -> Result<(Vec<TabletType>, String), Status> {
    let mut types = goal.reads.clone();
    let cells = cells(goal, scene)?;
    let (all, own): (Vec<&String>, Vec<&String>) = (scene.served.keys().collect(), cells.iter().collect());
    if scene.kind == Kind::MultiTenant && !goal.reads.is_empty() && all != own {
        let list = |cells: Vec<&String>| cells.into_iter().map(String::as_str).collect::<Vec<_>>().join(",");
        return Err(Status::unknown(format!(
            "invalid request: requesting switch of read traffic for multi-tenant migrations must include all cells; all cells: {}, \
             requested cells: {}",
            list(all),
            list(own)
        )));
    }
    let has_rdonly = scene.tablet_types.iter().any(|(cell, of)| *of == i32::from(TabletType::Rdonly) && cells.contains(cell));
    if types.contains(&TabletType::Replica) && !types.contains(&TabletType::Rdonly) && !has_rdonly {
        types.push(TabletType::Rdonly);
    }
    // The rules of a partial workflow's shards are for reads and writes alike.
    if !only_reads_back || scene.kind == Kind::Partial {
        return Ok((types, scene.target_keyspace.clone()));
    }
    let is_switched = |of: &TabletType| {
        if scene.kind == Kind::MultiTenant {
            return scene.is_tenant_routed(*of);
        }
        if scene.kind == Kind::Reshard {
            return scene.srv_keyspaces.values().any(|stored| serves(&stored.value, *of, &scene.targets));
        }
        // In any cell, as the cells serve it; or as they will, when they next do: a switch that stopped may have got as far.
        scene.served.keys().any(|cell| is_served(scene, cell, *of, &scene.target_keyspace))
            || is_ruled(scene, *of, &scene.target_keyspace)
    };
    if goal.writes {
        // Everything is to go back, and only reads have gone: these.
        types.retain(is_switched);
    }
    if let Some(of) = goal.reads.iter().find(|of| types.contains(of) && !is_switched(of)) {
        let name = of.as_str_name();
        let text = format!("requesting reversal of read traffic for {name}s but {name} reads have not been switched");
        return Err(Status::unknown(format!("invalid request: {text}")));
    }
    Ok((types, scene.source_keyspace.clone()))
}

/// Whether the rules send reads of one type of all tables to a keyspace, whatever the cells serve.
fn is_ruled(scene: &Scene, of: TabletType, keyspace: &str) -> bool {
    let keys = scene.table_keys().unwrap_or_default();
    let leads = |table: &String| {
        keys.get(&format!("{table}{}", suffix(of))).is_some_and(|to| to.contains(&format!("{keyspace}.{table}")))
    };
    !scene.tables.is_empty() && scene.tables.iter().all(leads)
}

/// Whether a cell sends reads of one type of all tables to a keyspace.
pub(crate) fn is_served(scene: &Scene, cell: &str, of: TabletType, keyspace: &str) -> bool {
    use prost::Message;
    let Some(stored) = scene.served.get(cell) else { return false };
    let Ok(served) = crate::proto::vschema::SrvVSchema::decode(stored.value.as_slice()) else { return false };
    let rules = served.routing_rules.unwrap_or_default().rules;
    !scene.tables.is_empty()
        && scene.tables.iter().all(|table| {
            let key = format!("{table}{}", suffix(of));
            let rule = rules.iter().find(|rule| rule.from_table == key);
            rule.is_some_and(|rule| rule.to_tables.first().is_some_and(|to| *to == format!("{keyspace}.{table}")))
        })
}

/// The cells of the request, aliases expanded; all cells where none is named.
fn cells(goal: &Goal, scene: &Scene) -> Result<Vec<String>, Status> {
    if goal.cells.is_empty() {
        return Ok(scene.served.keys().cloned().collect());
    }
    let mut cells = BTreeSet::new();
    for name in &goal.cells {
        if scene.served.contains_key(name) {
            cells.insert(name.clone());
            continue;
        }
        let of_alias = scene.aliases.get(name).map(Vec::as_slice).unwrap_or_default();
        let known: Vec<&String> = of_alias.iter().filter(|cell| scene.served.contains_key(*cell)).collect();
        if known.is_empty() {
            return Err(Status::unknown(format!("{name} is neither a cell nor an alias of cells; nothing was changed")));
        }
        cells.extend(known.into_iter().cloned());
    }
    Ok(cells.into_iter().collect())
}

/// Whether the streams are such that traffic can be moved. Source: `server.go:canSwitch`.
fn can_switch(scene: &Scene, goal: &Goal, writes: bool) -> Result<(), Status> {
    // Past the point of no return the streams stand still because the switch has stopped them.
    if !scene.journals.is_empty() && writes || is_switched(scene) {
        return Ok(());
    }
    let cannot = |reason: String| {
        Err(Status::unknown(format!("cannot switch traffic for workflow {} at this time: {reason}", scene.workflow)))
    };
    // Neither do these tell how far behind they are: they are started again first.
    let is_held = |it: &super::scene::Stream| it.is_stopped_for_cutover();
    let is_resumed = writes && scene.streams.iter().any(is_held);
    if scene.lag > goal.max_lag && !is_resumed && !scene.streams.iter().any(|it| it.state == State::Copying.as_str_name()) {
        return cannot(format!("replication lag {}s is higher than allowed lag {}s", scene.lag, goal.max_lag));
    }
    for stream in &scene.streams {
        if stream.is_frozen() {
            return cannot("workflow is frozen".into());
        }
        if stream.state == State::Copying.as_str_name() {
            return cannot("copy is still in progress".into());
        }
        if stream.state == State::Error.as_str_name() || says_error(&stream.message) {
            return cannot("workflow has errors".into());
        }
        // The streams of the way back, which a switch that has not ended would have started.
        if stream.state == State::Stopped.as_str_name() && scene.is_reversal && scene.reverse_streams.iter().any(is_held) {
            return Err(switch_is_final(&scene.source_keyspace, &scene.reverse));
        }
        if stream.state == State::Stopped.as_str_name() && !(writes && is_held(stream)) {
            let of = format!("stream {} of {}/{}", stream.id, scene.target_keyspace, stream.shard);
            return cannot(format!("{of} is Stopped; start the workflow first"));
        }
    }
    if writes && let Some(back) = scene.reverse_streams.iter().find(|it| !matches!(it.state.as_str(), "Stopped" | "Error")) {
        let of = format!("stream {} of {}/{}", back.id, scene.source_keyspace, back.shard);
        return cannot(format!("workflow {} runs in the other direction ({of}); stop it first", scene.reverse));
    }
    Ok(())
}

/// A journal although nothing else looks as if a switch had been there: it is an older workflow's, whose streams had the same ids.
fn refuse_old_journal(scene: &Scene) -> Result<(), Status> {
    // Whoever creates a workflow and finds such a journal leaves streams that stand still and have copied nothing.
    let has_begun = |it: &super::scene::Stream| it.is_frozen() || it.is_stopped_for_cutover();
    if scene.journals.is_empty()
        || is_switched(scene)
        || scene.streams.iter().any(has_begun)
        || begun::is_closed(scene.kind, &scene.tables, &scene.sources, &scene.srv_keyspaces)
    {
        return Ok(());
    }
    let on = scene.journals.keys().filter_map(|shard| scene.sources.get(shard)).map(|on| on.primary.alias.as_str());
    let (id, on) = (scene.migration_id(), on.collect::<Vec<_>>().join(","));
    let message = format!(
        "found an entry from a previous run for migration id {id} in _vt.resharding_journal on tablets {on}, please review and delete it \
         before switching traffic; nothing was changed"
    );
    Err(Status { code: Code::FailedPrecondition, message })
}

/// Whether writes go to the target of the scene.
pub(crate) fn is_switched(scene: &Scene) -> bool {
    scene.are_writes_switched != scene.is_reversal
}

/// Whether a cell serves the old shards of a reshard whose switch has ended otherwise: whoever had frozen the streams before.
pub(super) fn is_cell_behind(scene: &Scene) -> bool {
    let mut cells = scene.srv_keyspaces.values().filter(|stored| stored.version != 0);
    scene.kind == Kind::Reshard
        && is_switched(scene)
        && cells.any(|stored| !serves(&stored.value, TabletType::Primary, &scene.targets))
}

/// Whether the streams are those of whole keyspaces. Source: `traffic_switcher.go:validate`.
///
/// # Errors
/// What is missing, or too much.
pub(crate) fn validate(scene: &Scene) -> Result<(), String> {
    if scene.kind == Kind::Reshard {
        return validate_shards(scene);
    }
    if scene.kind == Kind::Partial || scene.kind == Kind::MultiTenant && !scene.options.shards.is_empty() {
        return Ok(());
    }
    let sides = [(&scene.source_keyspace, &scene.sources), (&scene.target_keyspace, &scene.targets)];
    for (keyspace, members) in sides {
        let known = scene.all_shards.get(keyspace).cloned().unwrap_or_default();
        let own: BTreeSet<String> = members.keys().cloned().collect();
        let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let (more, less): (Vec<_>, Vec<_>) = (own.difference(&known).collect(), known.difference(&own).collect());
        let mut parts = Vec::new();
        parts.extend((!more.is_empty()).then(|| format!("switch command shards not in topo: [{}]", list(more))));
        parts.extend((!less.is_empty()).then(|| format!("topo shards not in switch command: [{}]", list(less))));
        if !parts.is_empty() {
            return Err(format!("mismatched shards for keyspace {keyspace}: {}", parts.join("; ")));
        }
    }
    match scene.tables.iter().find(|table| table.starts_with('/')) {
        Some(table) => Err(format!("cannot migrate streams with wild card table names: {table}")),
        None if scene.tables.is_empty() => Err("the workflow moves no tables".into()),
        None => Ok(()),
    }
}

/// The same of a reshard: every cell serves the whole key range, and no shard's record says what would be lost.
fn validate_shards(scene: &Scene) -> Result<(), String> {
    let keyspace = &scene.target_keyspace;
    for (cell, stored) in scene.srv_keyspaces.iter().filter(|(_, stored)| stored.version != 0) {
        if let Some(fault) = served::fault(&served::partitions(&stored.value)?, cell) {
            return Err(format!("SrvKeyspace for {keyspace} is corrupt in cell {cell}: {fault}"));
        }
    }
    Ok(())
}

/// Denied tables of a shard's record do not go with query services.
fn refuse_denied(scene: &Scene) -> Result<(), Status> {
    match scene.members().find(|on| scene.kind == Kind::Reshard && !on.denied().is_empty()) {
        Some(on) => {
            let text = format!("cannot safely alter DisableQueryService as DeniedTables is set for shard {}", on.place());
            Err(Status::unknown(text))
        }
        None => Ok(()),
    }
}

/// Whether a cell serves one type by these shards.
pub(crate) fn serves(record: &[u8], of: TabletType, members: &BTreeMap<String, Member>) -> bool {
    let partitions = served::partitions(record).unwrap_or_default();
    let partition = partitions.iter().find(|partition| partition.served_type() == of);
    partition.is_some_and(|partition| {
        members.keys().all(|shard| partition.shard_references.iter().any(|served| served.name == *shard))
    })
}

/// Whether there are tablets of the target to stream from. Whether they serve is not asked: that takes a stream.
fn can_stream_from(goal: &Goal, scene: &Scene) -> Result<(), Status> {
    let types: Vec<&str> = match scene.stream_tablet_types.as_str() {
        "" => vec!["replica", "rdonly", "primary"],
        types => types.split(',').collect(),
    };
    let named: Vec<String> = match (goal.cells.is_empty(), scene.stream_cells.as_str()) {
        (false, _) => cells(goal, scene)?,
        (true, "") => Vec::new(),
        (true, cells) => cells.split(',').map(|cell| cell.trim().to_owned()).collect(),
    };
    let has_tablet = |member: &Member| {
        let mut cells: BTreeSet<&str> = named.iter().map(String::as_str).collect();
        cells.extend(named.iter().filter_map(|name| scene.aliases.get(name)).flatten().map(String::as_str));
        cells.insert(&member.alias.cell);
        let beside = scene.aliases.values().filter(|of| of.contains(&member.alias.cell)).flatten();
        cells.extend(beside.map(String::as_str));
        types.contains(&"primary")
            || member.tablets.iter().any(|it| it.alias != member.primary.alias && cells.contains(it.cell.as_str()))
    };
    let lacking = scene.targets.values().filter(|member| !has_tablet(member));
    let lacking: Vec<String> =
        lacking.map(|it| format!("no tablet found to source data in keyspace {}, shard {}", it.keyspace, it.shard)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let keyspace = &scene.target_keyspace;
    Err(Status::unknown(format!("no tablets were available to stream from in the {keyspace} keyspace: {}", lacking.join(";"))))
}
