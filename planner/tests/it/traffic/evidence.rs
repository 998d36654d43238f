//! Evidence of workflows that move tables, as each phase leaves it, and the changes that a test makes to one.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vtflow_planner::{
    proto::topodata::{Shard, SrvKeyspace, TabletType, shard::TabletControl},
    traffic::{
        evidence::{Cell, Cells, Evidence, Journal, Keys, Piece, Rules, ServedRules, ShardEvidence, Side, Stream, StreamState},
        journal::migration_id,
        kind::Kind,
    },
};

pub(super) const NOW: i64 = 1_795_973_308;
pub(super) const TABLES: [&str; 2] = ["corder", "customer"];
pub(super) const ALL: [TabletType; 3] = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];

pub(super) fn stream(id: i64, workflow: &str, source: (&str, &str), state: StreamState, message: &str) -> Stream {
    Stream {
        id,
        workflow: workflow.into(),
        state,
        message: message.into(),
        cells: "zone1".into(),
        has_tablet_types: true,
        source_keyspace: source.0.into(),
        source_shard: source.1.into(),
        time_updated: NOW - 60,
        ..Stream::default()
    }
}

pub(super) fn shard(tablet: u32, is_primary_serving: bool, streams: Vec<Stream>) -> ShardEvidence {
    ShardEvidence {
        record: Piece::Known(Shard { is_primary_serving, ..Shard::default() }),
        tablet: format!("zone1-{tablet:010}"),
        db_name: "vt".into(),
        streams: Piece::Known(streams),
        journals: Piece::Known(BTreeMap::new()),
    }
}

pub(super) fn side(keyspace: &str, shards: Vec<(&str, ShardEvidence)>) -> Side {
    Side { keyspace: keyspace.into(), shards: shards.into_iter().map(|(name, shard)| (name.to_owned(), shard)).collect() }
}

pub(super) fn suffix(of: TabletType) -> &'static str {
    match of {
        TabletType::Replica => "@replica",
        TabletType::Rdonly => "@rdonly",
        _ => "",
    }
}

/// The keys of a table's rules of one type: to the source as creation writes them, to the target as a switch does.
pub(super) fn route(keys: &mut Keys, of: TabletType, to_target: bool) {
    for table in TABLES {
        let to = vec![format!("{}.{table}", if to_target { "customer" } else { "commerce" })];
        for from in [String::new(), "commerce.".into(), "customer.".into()] {
            keys.insert(format!("{from}{table}{}", suffix(of)), to.clone());
        }
        if to_target && of == TabletType::Primary {
            keys.remove(&format!("customer.{table}"));
        }
    }
}

pub(super) fn deny(side: &mut Side, tables: &[&str]) {
    for shard in side.shards.values_mut() {
        let Piece::Known(record) = &mut shard.record else { panic!("a record") };
        record.tablet_controls.clear();
        if !tables.is_empty() {
            record.tablet_controls.push(TabletControl {
                tablet_type: TabletType::Primary.into(),
                denied_tables: tables.iter().map(|table| (*table).into()).collect(),
                ..TabletControl::default()
            });
        }
    }
}

/// Which rules the global record and every cell have.
pub(super) fn ruled(evidence: &mut Evidence, to_target: &[TabletType]) {
    let mut keys = Keys::new();
    for of in ALL {
        route(&mut keys, of, to_target.contains(&of));
    }
    set_rules(evidence, &keys);
    serve(evidence, &["zone1", "zone2"], &keys);
}

pub(super) fn set_rules(evidence: &mut Evidence, keys: &Keys) {
    let rules = Arc::make_mut(&mut evidence.rules);
    match evidence.kind {
        Kind::Partial => rules.shards = Piece::Known(keys.clone()),
        Kind::MultiTenant => rules.keyspaces = Piece::Known(keys.clone()),
        _ => rules.tables = Piece::Known(keys.clone()),
    }
}

pub(super) fn cells(evidence: &mut Evidence) -> &mut Cells {
    let Piece::Known(cells) = Arc::make_mut(&mut evidence.cells) else { panic!("cells") };
    cells
}

pub(super) fn serve(evidence: &mut Evidence, names: &[&str], keys: &Keys) {
    let kind = evidence.kind;
    for name in names {
        let mut rules = ServedRules::default();
        match kind {
            Kind::Partial => rules.shards = keys.clone(),
            Kind::MultiTenant => rules.keyspaces = keys.clone(),
            _ => rules.tables = keys.clone(),
        }
        cells(evidence).get_mut(*name).unwrap().rules = Piece::Known(rules);
    }
}

pub(super) fn no_rules() -> Arc<Rules> {
    let none = || Piece::Known(Keys::new());
    Arc::new(Rules { tables: none(), shards: none(), keyspaces: none(), mirror: none() })
}

pub(super) fn two_cells(keyspaces: &BTreeMap<String, Piece<SrvKeyspace>>) -> Arc<Piece<Cells>> {
    let cell = Cell { rules: Piece::Known(ServedRules::default()), keyspaces: keyspaces.clone() };
    Arc::new(Piece::Known(["zone1", "zone2"].map(|name| (name.to_owned(), cell.clone())).into()))
}

pub(super) fn forward(evidence: &mut Evidence, change: impl Fn(&mut Stream)) {
    let workflow = evidence.workflow.clone();
    each(&mut evidence.target, &workflow, change);
}

pub(super) fn reverse(evidence: &mut Evidence, change: impl Fn(&mut Stream)) {
    let workflow = evidence.reverse();
    each(&mut evidence.source, &workflow, change);
}

pub(super) fn each(side: &mut Side, workflow: &str, change: impl Fn(&mut Stream)) {
    for shard in side.shards.values_mut() {
        let Piece::Known(streams) = &mut shard.streams else { panic!("streams") };
        streams.iter_mut().filter(|it| it.workflow == workflow).for_each(&change);
    }
}

pub(super) fn streams<'a>(side: &'a mut Side, shard: &str) -> &'a mut Vec<Stream> {
    match &mut side.shards.get_mut(shard).unwrap().streams {
        Piece::Known(streams) => streams,
        other => panic!("{other:?}"),
    }
}

pub(super) fn stop_for_cutover(evidence: &mut Evidence) {
    forward(evidence, |it| (it.state, it.message) = (StreamState::Stopped, "stopped for cutover".into()));
}

pub(super) fn freeze(evidence: &mut Evidence) {
    forward(evidence, |it| (it.state, it.message) = (StreamState::Stopped, "FROZEN".into()));
}

/// The journal of the forward streams, on so many sources.
pub(super) fn write_journals(evidence: &mut Evidence, sources: usize) {
    let of: Vec<(String, i64)> = evidence.forward_streams().iter().map(|(shard, it)| ((*shard).to_owned(), it.id)).collect();
    let id = migration_id(&evidence.target.keyspace, of.iter().map(|(shard, id)| (shard.as_str(), *id)));
    let positions = evidence.target.shards.keys().map(|shard| (shard.clone(), format!("gtid of {shard}"))).collect();
    for shard in evidence.source.shards.values_mut().take(sources) {
        let journal = Journal { positions: BTreeMap::clone(&positions), workflows: BTreeSet::new() };
        shard.journals = Piece::Known(BTreeMap::from([(id, journal)]));
    }
}

/// The journal of a way back, on so many shards of the target.
pub(super) fn write_journals_back(evidence: &mut Evidence, targets: usize) {
    let of: Vec<(String, i64)> = evidence.reverse_streams().iter().map(|(shard, it)| ((*shard).to_owned(), it.id)).collect();
    let id = migration_id(&evidence.source.keyspace, of.iter().map(|(shard, id)| (shard.as_str(), *id)));
    for shard in evidence.target.shards.values_mut().take(targets) {
        if let Piece::Known(journals) = &mut shard.journals {
            journals.insert(id, Journal::default());
        }
    }
}

/// What a way back does up to its journal, beside the rules of reads.
pub(super) fn begin_back(evidence: &mut Evidence) {
    deny(&mut evidence.target, &TABLES);
    deny(&mut evidence.source, &[]);
    reverse(evidence, |it| (it.state, it.message) = (StreamState::Stopped, "stopped for cutover".into()));
    let read: Vec<(String, String)> =
        evidence.forward_streams().iter().map(|(shard, it)| ((*shard).to_owned(), it.source_shard.clone())).collect();
    let (name, source) = (evidence.workflow.clone(), evidence.source.keyspace.clone());
    for (shard, reads) in read {
        streams(&mut evidence.target, &shard).push(stream(9, &name, (&source, &reads), StreamState::Stopped, ""));
    }
}

/// Reverse streams on every source, from every target.
pub(super) fn create_reverse(evidence: &mut Evidence, state: StreamState, message: &str) {
    let (name, target) = (evidence.reverse(), evidence.target.keyspace.clone());
    let pairs: Vec<(String, String)> =
        evidence.forward_streams().iter().map(|(shard, it)| (it.source_shard.clone(), (*shard).to_owned())).collect();
    for (id, (source, reads)) in pairs.iter().enumerate() {
        let stream = stream(50 + i64::try_from(id).unwrap(), &name, (&target, reads), state, message);
        streams(&mut evidence.source, source).push(stream);
    }
}

/// `MoveTables` of two tables from two shards to two, not switched.
pub(super) fn not_switched() -> Evidence {
    let reads = |id, source| stream(id, "c2c", ("commerce", source), StreamState::Working, "");
    let mut evidence = Evidence {
        workflow: "c2c".into(),
        kind: Kind::Standard,
        source: side("commerce", vec![("-", shard(100, true, vec![]))]),
        target: side(
            "customer",
            vec![("-80", shard(200, true, vec![reads(7, "-")])), ("80-", shard(300, true, vec![reads(7, "-")]))],
        ),
        tables: TABLES.map(str::to_owned).into(),
        without_streams: BTreeSet::new(),
        rules: no_rules(),
        cells: two_cells(&BTreeMap::new()),
        locks: Piece::Known(Vec::new()),
        changed: BTreeSet::new(),
        unclear: BTreeSet::new(),
    };
    ruled(&mut evidence, &[]);
    deny(&mut evidence.target, &TABLES);
    evidence
}

pub(super) fn two_sources(mut evidence: Evidence) -> Evidence {
    evidence.source = side("commerce", vec![("-80", shard(100, true, vec![])), ("80-", shard(110, true, vec![]))]);
    for (target, id) in [("-80", 7), ("80-", 7)] {
        let of = |id, source| stream(id, "c2c", ("commerce", source), StreamState::Working, "");
        *streams(&mut evidence.target, target) = vec![of(id, "-80"), of(id + 1, "80-")];
    }
    evidence
}

pub(super) fn reads_switched() -> Evidence {
    let mut evidence = not_switched();
    ruled(&mut evidence, &[TabletType::Replica, TabletType::Rdonly]);
    evidence
}

pub(super) fn writes_switched() -> Evidence {
    let mut evidence = not_switched();
    finish(&mut evidence);
    evidence
}

pub(super) fn finish(evidence: &mut Evidence) {
    ruled(evidence, &ALL);
    let sources = evidence.source.shards.len();
    deny(&mut evidence.source, &TABLES);
    deny(&mut evidence.target, &[]);
    write_journals(evidence, sources);
    create_reverse(evidence, StreamState::Working, "");
    freeze(evidence);
}

pub(super) fn reversed() -> Evidence {
    let mut evidence = not_switched();
    create_reverse(&mut evidence, StreamState::Stopped, "FROZEN");
    let mut keys = Keys::new();
    for of in ALL {
        route(&mut keys, of, false);
    }
    for table in TABLES {
        keys.remove(&format!("commerce.{table}"));
    }
    set_rules(&mut evidence, &keys);
    serve(&mut evidence, &["zone1", "zone2"], &keys);
    evidence
}

/// A switch of writes up to its closing of the source.
pub(super) fn closed() -> Evidence {
    let mut evidence = not_switched();
    deny(&mut evidence.source, &TABLES);
    deny(&mut evidence.target, &[]);
    evidence
}

/// Up to right before the journal.
pub(super) fn before_journal() -> Evidence {
    let mut evidence = closed();
    stop_for_cutover(&mut evidence);
    create_reverse(&mut evidence, StreamState::Stopped, "");
    evidence
}

pub(super) fn partial(is_switched: bool) -> Evidence {
    let mut evidence = not_switched();
    evidence.kind = Kind::Partial;
    evidence.rules = no_rules();
    evidence.source = side("commerce", vec![("-80", shard(100, true, vec![]))]);
    evidence.target.shards.remove("80-");
    forward(&mut evidence, |it| it.source_shard = "-80".into());
    deny(&mut evidence.target, &[]);
    let rule = if is_switched { ("commerce.-80", "customer") } else { ("customer.-80", "commerce") };
    let keys = Keys::from([(rule.0.to_owned(), vec![rule.1.to_owned()])]);
    set_rules(&mut evidence, &keys);
    serve(&mut evidence, &["zone1", "zone2"], &keys);
    if is_switched {
        deny(&mut evidence.source, &TABLES);
        write_journals(&mut evidence, 1);
        create_reverse(&mut evidence, StreamState::Working, "");
        freeze(&mut evidence);
    }
    evidence
}

pub(super) fn multi_tenant(is_switched: bool) -> Evidence {
    let mut evidence = not_switched();
    evidence.kind = Kind::MultiTenant;
    evidence.rules = no_rules();
    deny(&mut evidence.target, &[]);
    let to = |switched| vec![if switched { "customer" } else { "commerce" }.to_owned()];
    let keys: Keys = ALL.map(|of| (format!("commerce{}", suffix(of)), to(is_switched))).into();
    set_rules(&mut evidence, &keys);
    serve(&mut evidence, &["zone1", "zone2"], &keys);
    if is_switched {
        deny(&mut evidence.source, &TABLES);
        write_journals(&mut evidence, 1);
        create_reverse(&mut evidence, StreamState::Working, "");
        freeze(&mut evidence);
    }
    evidence
}

pub(super) fn with(mut evidence: Evidence, change: impl FnOnce(&mut Evidence)) -> Evidence {
    change(&mut evidence);
    evidence
}
