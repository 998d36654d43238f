//! The acts of what was chosen, in stages: records of shards, query services, what cells serve, rules, streams, then sequences. So nothing is copied
//! on before those who write are where they belong, and what stops between two stages is seen by a diagnosis.

use std::collections::{BTreeMap, BTreeSet};

use super::sight::Seen;
use crate::{
    contract::{Code, Status},
    cutover::{
        act::{self, Act, Lane, RecordEdit, Sign, statement},
        edit::{self, Edit, KEYSPACE_RULES, MIRROR_RULES, RULE_PATHS, SHARD_RULES, TABLE_RULES},
        forward::stage::Stages,
        scene::{FROZEN, Member},
        sequences::{raise, reset},
        served,
        stored::Stored,
    },
    proto::topodata::TabletType,
    topo::names::KeyspaceName,
    traffic::repair::{Action, Change},
};

/// By keyspace and shard, in the order in which they come.
struct ByShard<T>(Vec<((String, String), Vec<T>)>);

impl<T> ByShard<T> {
    fn put(&mut self, keyspace: &str, shard: &str, one: T) {
        let key = (keyspace.to_owned(), shard.to_owned());
        match self.0.iter_mut().find(|(it, _)| *it == key) {
            Some((_, all)) => all.push(one),
            None => self.0.push((key, vec![one])),
        }
    }
}

/// All of it.
///
/// # Errors
/// A shard has no primary, or another one than was seen.
pub(super) fn stages(seen: &Seen) -> Result<Stages, Status> {
    let mut stages = Stages::default();
    refuse_contradictions(seen)?;
    shards(seen, &mut stages)?;
    stages.failing("switch query services", "failed to switch query services: ".into(), query_services(seen)?);
    let cells: BTreeSet<&String> = seen
        .chosen
        .actions
        .iter()
        .flat_map(|it| if let Action::RebuildVSchemas { cells } = it { cells.as_slice() } else { &[] })
        .collect();
    let rebuild: Vec<Act> = cells.into_iter().map(|cell| Act::Rebuild { cell: cell.clone() }).collect();
    stages.failing("make what cells serve anew", "failed to make what cells serve anew: ".into(), [vec![rebuild]]);
    // After the cells: as long as the record is not what it is to be, everybody sees that something is left to do.
    stages.failing("change rules", "failed to change rules: ".into(), rules(seen)?);
    streams(seen, &mut stages)?;
    stages.failing("raise sequences", String::new(), sequences(seen)?);
    let mut told = Vec::new();
    for (keyspace, shard) in &seen.chosen.refreshed {
        let on = seen.member(keyspace, shard)?;
        told.push(vec![act::tell(&on)]);
    }
    // Of those whose tables are allowed, all have been told that were there.
    let mut opened: Vec<Member> = edits(seen, false)?.into_iter().map(|(on, _)| on).collect();
    for action in &seen.chosen.actions {
        let Action::QueryService { keyspace, shard, enabled: true, .. } = action else { continue };
        let on = seen.member(keyspace, shard)?;
        told.push(vec![act::tell_others(&on)]);
        opened.push(on);
    }
    told.push(act::newcomers(seen.looked.cells.iter(), opened.iter()));
    stages.failing("refresh tablets", String::new(), told);
    Ok(stages)
}

/// Two deviations may each be right in what they want, and not together.
fn refuse_contradictions(seen: &Seen) -> Result<(), Status> {
    let mut wanted: BTreeMap<(&String, &String, &String), bool> = BTreeMap::new();
    for action in &seen.chosen.actions {
        let Action::DenyTables { keyspace, shard, tables, deny, .. } = action else { continue };
        for table in tables {
            if *wanted.entry((keyspace, shard, table)).or_insert(*deny) != *deny {
                let text = format!("one repair wants {keyspace}/{shard} to deny {table}, another to allow it");
                let message = format!("{text}: choose with --only; nothing was changed");
                return Err(Status { code: Code::FailedPrecondition, message });
            }
        }
    }
    Ok(())
}

/// Tables that shards deny from now on, or do not: one change for each record, and its tablets are told, its primary without excuse.
///
/// Where some are denied and some are allowed, records that deny come first, so that one sees by those that allow whether all was done.
/// But nobody who cannot write waits for their tablets.
fn shards(seen: &Seen, stages: &mut Stages) -> Result<(), Status> {
    let (allowed, denied) = (edits(seen, false)?, edits(seen, true)?);
    // Where the record is as it is to be, whoever wrote it may have told nobody.
    let opened = |(on, edit): (Member, Edit)| {
        let is_done = edit.apply(&on.record.value).is_ok_and(|after| after == on.record.value);
        if is_done { vec![act::tell(&on)] } else { act::close_shard(&on, edit, None) }
    };
    let open: Vec<Lane> = allowed.into_iter().map(opened).collect();
    if open.is_empty() {
        let closed = denied.into_iter().map(|(on, edit)| act::close_shard(&on, edit, None));
        stages.failing("deny tables", "failed to deny tables: ".into(), closed);
        return Ok(());
    }
    let records = denied.iter().map(|(on, edit)| vec![vec![act::edit_shard_alone(on, edit.clone())]]);
    stages.failing("deny tables", "failed to deny tables: ".into(), records);
    let denied = denied.iter().map(|(on, _)| vec![act::tell(on)]);
    stages.failing("allow tables", "failed to allow tables: ".into(), open.into_iter().chain(denied));
    Ok(())
}

/// The changes of shards' records.
fn edits(seen: &Seen, denies: bool) -> Result<Vec<(Member, Edit)>, Status> {
    let mut by_shard = ByShard(Vec::new());
    for action in &seen.chosen.actions {
        let Action::DenyTables { keyspace, shard, tables, deny, allow_reads } = action else { continue };
        if *deny == denies {
            by_shard.put(keyspace, shard, (tables.clone(), *allow_reads));
        }
    }
    let mut changes = Vec::new();
    for ((keyspace, shard), edits) in by_shard.0 {
        let on = seen.member(&keyspace, &shard)?;
        let control = edit::control(&on.record.value).map_err(Status::unknown)?.unwrap_or_default();
        // What is left in the control is others', and stays as it is.
        let edit = |(mut tables, allow_reads): (Vec<String>, bool)| {
            tables.sort();
            Edit::Deny { tables, is_denied: denies, allow_reads: if denies { allow_reads } else { control.allow_reads } }
        };
        let edit = one(edits.into_iter().map(edit).collect());
        changes.push((on, edit));
    }
    Ok(changes)
}

fn one(mut edits: Vec<Edit>) -> Edit {
    match (edits.len(), edits.pop()) {
        (1, Some(edit)) => edit,
        (_, last) => Edit::All(edits.into_iter().chain(last).collect()),
    }
}

/// Query services, in each cell that says otherwise; then the primaries read it. What has opened a shard is not taken back: a primary
/// that has read that it is off may not answer any more until it is on.
fn query_services(seen: &Seen) -> Result<Vec<Lane>, Status> {
    let mut by_keyspace: BTreeMap<(&String, &String, bool), Vec<Member>> = BTreeMap::new();
    for action in &seen.chosen.actions {
        let Action::QueryService { keyspace, shard, tablet_type, enabled } = action else { continue };
        by_keyspace.entry((keyspace, tablet_type, *enabled)).or_default().push(seen.member(keyspace, shard)?);
    }
    let mut lanes = Vec::new();
    for ((keyspace, tablet_type, enabled), members) in by_keyspace {
        let of = TabletType::from_str_name(&tablet_type.to_uppercase());
        let of = of.ok_or_else(|| Status::unknown(format!("{tablet_type} is no type of tablets")))?;
        let path = KeyspaceName::of_request(keyspace)?.srv_keyspace_path();
        let mut edits = Vec::new();
        for ((cell, _), (value, version)) in seen.looked.srv_keyspaces.iter().filter(|((_, it), _)| it == keyspace) {
            let partitions = served::partitions(value).map_err(Status::unknown)?;
            let differs = |on: &&Member| served::is_off(&partitions, of, &on.reference()).unwrap_or(false) == enabled;
            // As long as anything is said of a primary's, vtgates take the keyspace for one that is being resharded.
            let wanted = (of != TabletType::Primary || !enabled).then_some(!enabled);
            let shards: Vec<_> = members.iter().filter(differs).map(|on| (on.reference(), wanted)).collect();
            if shards.is_empty() {
                continue;
            }
            let edit = Edit::QueryService { of, shards };
            let base = Stored { value: value.clone(), version: *version };
            let (cell, keyspace, shard, back) = (cell.clone(), keyspace.clone(), String::new(), Some(edit.clone()));
            edits.push(Act::Edit(Box::new(RecordEdit { cell, path: path.clone(), keyspace, shard, edit, base, back })));
        }
        lanes.push(vec![edits, members.iter().map(act::close_primary).collect()]);
    }
    Ok(lanes)
}

/// Rules: one change for each record.
fn rules(seen: &Seen) -> Result<Vec<Lane>, Status> {
    let mut lanes = Vec::new();
    for path in RULE_PATHS {
        let wanted = seen.chosen.actions.iter().filter_map(|it| match it {
            Action::PutRules { record, rules } if *record == path => Some(rules),
            _ => None,
        });
        let rules: BTreeMap<&String, &[String]> = wanted.flatten().map(|(key, to)| (key, to.as_slice())).collect();
        if rules.is_empty() {
            continue;
        }
        let first = |to: &[String]| to.first().cloned();
        let edit = match path {
            TABLE_RULES => {
                let rule = |(key, to): (&&String, &&[String])| ((*key).clone(), (!to.is_empty()).then(|| to.to_vec()));
                Edit::TableRules(rules.iter().map(rule).collect())
            }
            SHARD_RULES => {
                let rule = |(key, to): (&&String, &&[String])| {
                    let (keyspace, shard) = key.rsplit_once('.')?;
                    Some(((keyspace.to_owned(), shard.to_owned()), first(to)))
                };
                Edit::ShardRules(rules.iter().filter_map(rule).collect())
            }
            KEYSPACE_RULES => Edit::KeyspaceRules(rules.iter().map(|(key, to)| ((*key).clone(), first(to))).collect()),
            MIRROR_RULES => {
                let record = seen.scene.rules.get(path).map_or(&[][..], |stored| stored.value.as_slice());
                let there = edit::mirror_rules(record).map_err(Status::unknown)?;
                // Mirror rules only ever go.
                let gone = there.into_iter().filter(|rule| rules.get(&rule.from_table).is_some_and(|to| to.is_empty()));
                Edit::Unmirror(gone.map(|rule| (rule.from_table, rule.to_table)).collect())
            }
            _ => continue,
        };
        lanes.push(act::edit_rules(&seen.scene, path, edit, &[]));
    }
    Ok(lanes)
}

/// Sequences: a primary that cannot be told to forget what it took in advance says so before one is raised.
fn sequences(seen: &Seen) -> Result<Vec<Lane>, Status> {
    let mut lanes = Vec::new();
    for action in &seen.chosen.actions {
        let Action::RaiseSequence { keyspace, shard, tablet, table, next } = action else { continue };
        let on = primary(seen, keyspace, shard, tablet)?;
        let name = format!("{keyspace}.{table}");
        let forget = |failure: String| vec![reset(&on, vec![table.clone()], failure)];
        lanes.push(vec![
            forget(format!("the primary of {name} cannot be told to forget values: ")),
            vec![raise(&on, table, &next.to_string(), format!("failed to raise {name}: "))],
            forget(format!("{name} was raised, and its primary may still give out values that it took before: ")),
        ]);
    }
    Ok(lanes)
}

/// A shard's primary, if it is the one that was seen.
fn primary(seen: &Seen, keyspace: &str, shard: &str, tablet: &str) -> Result<Member, Status> {
    let on = seen.member(keyspace, shard)?;
    if on.primary.alias != *tablet {
        let text =
            format!("the primary of {keyspace}/{shard} is {} now, no more {tablet}; nothing was changed", on.primary.alias);
        return Err(Status::unknown(text));
    }
    Ok(on)
}

/// Statements, in their order: those of one kind that follow each other at once.
fn streams(seen: &Seen, stages: &mut Stages) -> Result<(), Status> {
    let mut parts: Vec<(Change, ByShard<Act>)> = Vec::new();
    for action in &seen.chosen.actions {
        let Action::Statement { keyspace, shard, tablet, statement } = action else { continue };
        let on = primary(seen, keyspace, shard, tablet)?;
        let (change, condition) =
            Change::of(statement).ok_or_else(|| Status::unknown(format!("nobody knows what shows {statement}")))?;
        let act = change_streams(&on, change, statement, condition);
        match parts.last_mut() {
            Some((last, by_shard)) if *last == change => by_shard.put(keyspace, shard, act),
            _ => parts.push((change, ByShard(vec![((keyspace.clone(), shard.clone()), vec![act])]))),
        }
    }
    for (change, by_shard) in parts {
        let (name, failure) = match change {
            Change::Run | Change::Release | Change::RunOn => ("start streams", "failed to start streams: "),
            Change::Stop => ("stop streams", "failed to stop streams: "),
            Change::Freeze | Change::StopAndFreeze => ("freeze streams", "failed to freeze streams: "),
            Change::Delete => ("delete streams", "failed to delete streams: "),
        };
        let lanes = by_shard.0.into_iter().map(|(_, acts)| acts.into_iter().map(|act| vec![act]).collect());
        stages.failing(name, failure.into(), lanes);
    }
    Ok(())
}

fn change_streams(on: &Member, change: Change, text: &str, condition: &str) -> Act {
    let look = |columns: &str, more: &str| format!("select {columns} from _vt.vreplication where {condition}{more}");
    let message = ("message", FROZEN.to_owned());
    let stopped = ("state", "Stopped".to_owned());
    let (look, sign) = match change {
        Change::Run | Change::Release => (look("id", " and state = 'Stopped'"), Sign::None),
        Change::RunOn => (look("id", " and stop_pos != ''"), Sign::None),
        Change::Stop => (look("state", ""), Sign::Every(vec![stopped])),
        Change::Freeze => (look("message", ""), Sign::Every(vec![message])),
        Change::StopAndFreeze => (look("state, message", ""), Sign::Every(vec![stopped, message])),
        Change::Delete => (look("id", ""), Sign::None),
    };
    statement(on, "streams", text.to_owned(), (look, sign), None)
}
