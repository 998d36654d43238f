//! What is wrong with the records by which the traffic of tables goes: rules, what the cells serve of them, denied tables.

use std::collections::BTreeMap;

use super::{
    deviation::{Deviation, Mechanism as M, Rerun},
    evidence::{Evidence, Keys, Side},
    kind::Kind,
    phase::Facts,
    repair::{self, Action, Direction},
    routing::{self, NO_KEYS, READS, Share, Unknown, Way, denial, type_name},
    text::listed,
};
use crate::proto::topodata::TabletType;

/// All of these. What is not known goes into `unknown`.
pub(crate) fn deviations(facts: &Facts<'_>, unknown: &mut Unknown) -> Vec<Deviation> {
    let evidence = facts.evidence;
    let mut found = Vec::new();
    if !matches!(evidence.kind, Kind::Standard | Kind::Partial | Kind::MultiTenant) {
        return found;
    }
    if let Some(keys) = evidence.global_keys(unknown) {
        let served = served_keys(evidence, unknown);
        // Rules that a cancellation has deleted and not got to serve are the next one's.
        if !facts.is_cancelling() {
            found.extend(writes_served(facts, keys, &served));
            found.extend(reads_served(evidence, keys, &served));
        }
        for of in READS.into_iter().filter(|of| evidence.way(keys, *of) == Way::Split) {
            let hurts = format!(
                "reads of {} on {} tablets go to both keyspaces, some here and some there",
                evidence.moved(),
                type_name(of)
            );
            found.push(
                Deviation::new(M::RoutedDifferentWays, hurts)
                    .at(evidence.own_keys(of).into_iter().filter(|key| keys.contains_key(key))),
            );
        }
    }
    // What a half way back has closed and opened is told with it.
    if facts.writes == Some(Way::Target) && facts.half_back().is_none() {
        let target = evidence.denied(&evidence.target, unknown);
        if matches!(target, Some(Share::Some | Share::All)) {
            let of = listed(&evidence.tables);
            let source = if facts.closed == Some(Share::None) { "" } else { ", and so does the source" };
            let hurts = format!("writes to {of} are refused: {} denies them{source}", evidence.target.keyspace);
            let repair = repair::in_place(repair::deny(evidence, &evidence.target, false, false));
            found.push(Deviation::new(M::TargetDenied, hurts).at(denied_places(evidence, &evidence.target)).by(repair));
        }
        let is_open = matches!(facts.closed, Some(Share::None | Share::Some));
        if is_open && !facts.forward.is_empty() && facts.has_journal() {
            let hurts = format!(
                "who connects to {} itself can still write {}; that is lost to the target",
                evidence.source.keyspace,
                listed(&evidence.tables)
            );
            let repair = repair::in_place(repair::deny(evidence, &evidence.source, true, false));
            let places = evidence.source.shards.keys().map(|shard| format!("{}/{shard}", evidence.source.keyspace));
            found.push(Deviation::new(M::SourceOpen, hurts).at(places).by(repair));
        }
    }
    // Once writes go to the target, nothing is mirrored there, and whatever it denies is wrong by itself.
    let mirrored = mirror(evidence, unknown);
    found.extend(mirrored.filter(|_| facts.writes != Some(Way::Target)));
    // A cancellation deletes them last, shard by shard.
    if !evidence.without_streams.is_empty() && facts.writes == Some(Way::Source) && !facts.is_cancelling() {
        let shards = listed(&evidence.without_streams);
        let hurts =
            format!("every switch is refused: mismatched shards; nothing is copied to {} {shards}", evidence.target.keyspace);
        let places = evidence.without_streams.iter().map(|shard| format!("{}/{shard}", evidence.target.keyspace));
        found.push(Deviation::new(M::StreamsOnSomeShards, hurts).at(places));
    }
    found
}

/// By cell, the rules that it serves.
fn served_keys<'a>(evidence: &'a Evidence, unknown: &mut Unknown) -> BTreeMap<&'a String, &'a Keys> {
    let mut served = BTreeMap::new();
    for (name, cell) in unknown.of(&evidence.cells, || "cell".into()).into_iter().flatten() {
        let rules = unknown.of(&cell.rules, || format!("SrvVSchema in cell {name}"));
        served.extend(rules.map(|rules| (name, evidence.cell_keys(rules))));
    }
    served
}

/// The cells that serve other rules of one tablet type than the global ones.
fn behind<'a>(evidence: &Evidence, of: TabletType, keys: &Keys, served: &BTreeMap<&'a String, &Keys>) -> Vec<&'a String> {
    let own = evidence.own_keys(of);
    let differs = |cell: &Keys| own.iter().any(|key| cell.get(key) != keys.get(key));
    served.iter().filter(|(_, cell)| differs(cell)).map(|(name, _)| *name).collect()
}

fn rebuild(cells: &[&String]) -> Vec<Action> {
    vec![Action::RebuildVSchemas { cells: cells.iter().map(|&cell| cell.clone()).collect() }]
}

fn cell_places(cells: &[&String]) -> Vec<String> {
    cells.iter().map(|cell| format!("SrvVSchema of cell {cell}")).collect()
}

fn writes_served(facts: &Facts<'_>, keys: &Keys, served: &BTreeMap<&String, &Keys>) -> Option<Deviation> {
    let evidence = facts.evidence;
    let cells = behind(evidence, TabletType::Primary, keys, served);
    if cells.is_empty() {
        return None;
    }
    let hurts = format!(
        "vtgates of {} send writes to {} where the rules no longer lead",
        listed(cells.iter().copied()),
        evidence.moved()
    );
    let closed = match facts.writes {
        Some(Way::Target) if facts.closed == Some(Share::All) => ": they are refused there",
        Some(Way::Source) if facts.closed_back == Some(Share::All) => ": they are refused there",
        _ => "",
    };
    let deviation = Deviation::new(M::CellServesOldRouting, format!("{hurts}{closed}")).at(cell_places(&cells));
    Some(deviation.rerun(Rerun::Heals).by(repair::in_place(rebuild(&cells))))
}

/// Reads of which the cells serve other rules than the global ones: of both tablet types at once where it is the same cells.
fn reads_served(evidence: &Evidence, keys: &Keys, served: &BTreeMap<&String, &Keys>) -> Vec<Deviation> {
    let mut by_cells: BTreeMap<Vec<&String>, Vec<TabletType>> = BTreeMap::new();
    for of in READS {
        by_cells.entry(behind(evidence, of, keys, served)).or_default().push(of);
    }
    let one = |(cells, types): (&Vec<&String>, &Vec<TabletType>)| {
        let names: Vec<String> = types.iter().map(|of| type_name(*of)).collect();
        let side = |way| match way {
            Way::Source => evidence.source.keyspace.as_str(),
            Way::Target => evidence.target.keyspace.as_str(),
            Way::Split => "both keyspaces",
        };
        let first = *types.first()?;
        let (moved, wanted) = (evidence.moved(), side(evidence.way(keys, first)));
        let (names, list) = (listed(&names), listed(cells.iter().copied()));
        let hurts = format!("nobody now; the next rebuild by anybody moves {names} reads of {moved} in {list} to {wanted}");
        let is_everywhere = cells.len() == served.len();
        let mechanism = if is_everywhere { M::ReadRulesNotServed } else { M::ReadRulesServedInSomeCells };
        let deviation = Deviation::new(mechanism, hurts).at(cell_places(cells)).rerun(Rerun::Heals);
        let deviation = deviation.by(repair::Repair { direction: Direction::Forward, actions: rebuild(cells) });
        let (Some(cell), Some(record), true) = (served.values().next(), record_of(evidence.kind), is_everywhere) else {
            return Some(deviation);
        };
        // Back: the rules become what the cells serve.
        let own = types.iter().flat_map(|of| evidence.own_keys(*of));
        let rules = own.map(|key| (key.clone(), cell.get(&key).cloned().unwrap_or_default())).collect();
        Some(deviation.by(repair::back([vec![Action::PutRules { record, rules }]])))
    };
    by_cells.iter().filter(|(cells, _)| !cells.is_empty()).filter_map(one).collect()
}

/// The record by which a kind of workflow is switched.
fn record_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Standard => Some("RoutingRules"),
        Kind::Partial => Some("ShardRoutingRules"),
        Kind::MultiTenant => Some("routing_rules/keyspace/Rules"),
        Kind::Migrate | Kind::Reshard => None,
    }
}

/// The rules of a switch of writes, and what makes the cells serve them.
pub(crate) fn route_to_target(evidence: &Evidence) -> Vec<Action> {
    let (source, target) = (&evidence.source.keyspace, &evidence.target.keyspace);
    let rules: Vec<(String, Vec<String>)> = match evidence.kind {
        Kind::Standard => {
            let of_table = |table: &String| {
                let to = vec![format!("{target}.{table}")];
                [(table.clone(), to.clone()), (format!("{source}.{table}"), to), (format!("{target}.{table}"), Vec::new())]
            };
            evidence.tables.iter().flat_map(of_table).collect()
        }
        Kind::Partial => {
            let of_shard =
                |shard: &String| [(format!("{source}.{shard}"), vec![target.clone()]), (format!("{target}.{shard}"), Vec::new())];
            evidence.source.shards.keys().flat_map(of_shard).collect()
        }
        Kind::MultiTenant => vec![(source.clone(), vec![target.clone()])],
        Kind::Migrate | Kind::Reshard => return Vec::new(),
    };
    let Some(record) = record_of(evidence.kind) else { return Vec::new() };
    let cells = evidence.cells.known().into_iter().flat_map(|cells| cells.keys().cloned()).collect();
    vec![Action::PutRules { record, rules }, Action::RebuildVSchemas { cells }]
}

fn denied_places(evidence: &Evidence, side: &Side) -> Vec<String> {
    let mut places = Vec::new();
    for (name, shard) in &side.shards {
        let control = shard.record.known().and_then(|record| denial(&record.tablet_controls));
        let denied = control.into_iter().flat_map(|it| &it.denied_tables).filter(|table| evidence.tables.contains(*table));
        let tables: Vec<&String> = denied.collect();
        if !tables.is_empty() {
            places.push(format!("{}/{name} denies {}", side.keyspace, listed(tables)));
        }
    }
    places
}

/// Whether what is mirrored may be read where it is mirrored to.
fn mirror(evidence: &Evidence, unknown: &mut Unknown) -> Option<Deviation> {
    if evidence.kind != Kind::Standard {
        return None;
    }
    let keys = unknown.or(&evidence.rules.mirror, &NO_KEYS)?;
    let (source, target) = (&evidence.source.keyspace, &evidence.target.keyspace);
    let leads = |table: &String, of| {
        keys.get(&format!("{source}.{table}{}", routing::suffix(of))).is_some_and(|to| to.contains(&format!("{target}.{table}")))
    };
    let of = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];
    let is_mirrored = evidence.tables.iter().any(|table| of.iter().any(|of| leads(table, *of)));
    // Only a list of denied tables can be one that may be read.
    let mut readable = Vec::new();
    for (name, shard) in &evidence.target.shards {
        let record = unknown.of(&shard.record, || format!("record of shard {target}/{name}"))?;
        let control =
            denial(&record.tablet_controls).filter(|it| it.denied_tables.iter().any(|table| evidence.tables.contains(table)));
        readable.extend(control.map(|control| (name, control.allow_reads)));
    }
    let wrong: Vec<&String> = readable.iter().filter(|(_, may)| *may != is_mirrored).map(|(name, _)| *name).collect();
    if wrong.is_empty() {
        return None;
    }
    let (mechanism, hurts) = if is_mirrored {
        (M::MirroredReadsDenied, format!("mirrored reads of {} fail at {target}: nobody who asks sees it", evidence.moved()))
    } else {
        (M::DeniedTablesReadable, format!("{} can be read at {target} although they are not switched", evidence.moved()))
    };
    let actions = repair::deny(evidence, &evidence.target, true, is_mirrored);
    let places = wrong.iter().map(|shard| format!("{target}/{shard}"));
    Some(
        Deviation::new(mechanism, hurts)
            .at(places)
            .rerun(if is_mirrored { Rerun::Heals } else { Rerun::No })
            .by(repair::in_place(actions)),
    )
}
