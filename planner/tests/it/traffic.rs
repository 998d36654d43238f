//! Phases and deviations, each from a healthy evidence with one thing changed.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use proptest::prelude::*;
use vtflow_planner::{
    proto::topodata::{
        Shard, ShardReference, ShardTabletControl, SrvKeyspace, TabletType, shard::TabletControl, srv_keyspace::KeyspacePartition,
    },
    traffic::{
        Phase,
        deviation::{Deviation, Mechanism as M, Rerun},
        diagnose,
        evidence::{
            Cell, Cells, Evidence, Journal, Keys, Lock, Piece, Rules, ServedRules, ShardEvidence, Side, Stream, StreamState,
        },
        journal::migration_id,
        kind::Kind,
        leftovers::{Cluster, Keyspace},
        phase,
        repair::{Action, Direction},
    },
};

const NOW: i64 = 1_795_973_308;
const TABLES: [&str; 2] = ["corder", "customer"];
const ALL: [TabletType; 3] = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];

fn stream(id: i64, workflow: &str, source: (&str, &str), state: StreamState, message: &str) -> Stream {
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

fn shard(tablet: u32, is_primary_serving: bool, streams: Vec<Stream>) -> ShardEvidence {
    ShardEvidence {
        record: Piece::Known(Shard { is_primary_serving, ..Shard::default() }),
        tablet: format!("zone1-{tablet:010}"),
        db_name: "vt".into(),
        streams: Piece::Known(streams),
        journals: Piece::Known(BTreeMap::new()),
    }
}

fn side(keyspace: &str, shards: Vec<(&str, ShardEvidence)>) -> Side {
    Side { keyspace: keyspace.into(), shards: shards.into_iter().map(|(name, shard)| (name.to_owned(), shard)).collect() }
}

fn suffix(of: TabletType) -> &'static str {
    match of {
        TabletType::Replica => "@replica",
        TabletType::Rdonly => "@rdonly",
        _ => "",
    }
}

/// The keys of a table's rules of one type: to the source as creation writes them, to the target as a switch does.
fn route(keys: &mut Keys, of: TabletType, to_target: bool) {
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

fn deny(side: &mut Side, tables: &[&str]) {
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
fn ruled(evidence: &mut Evidence, to_target: &[TabletType]) {
    let mut keys = Keys::new();
    for of in ALL {
        route(&mut keys, of, to_target.contains(&of));
    }
    set_rules(evidence, &keys);
    serve(evidence, &["zone1", "zone2"], &keys);
}

fn set_rules(evidence: &mut Evidence, keys: &Keys) {
    let rules = Arc::make_mut(&mut evidence.rules);
    match evidence.kind {
        Kind::Partial => rules.shards = Piece::Known(keys.clone()),
        Kind::MultiTenant => rules.keyspaces = Piece::Known(keys.clone()),
        _ => rules.tables = Piece::Known(keys.clone()),
    }
}

fn cells(evidence: &mut Evidence) -> &mut Cells {
    let Piece::Known(cells) = Arc::make_mut(&mut evidence.cells) else { panic!("cells") };
    cells
}

fn serve(evidence: &mut Evidence, names: &[&str], keys: &Keys) {
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

fn no_rules() -> Arc<Rules> {
    let none = || Piece::Known(Keys::new());
    Arc::new(Rules { tables: none(), shards: none(), keyspaces: none(), mirror: none() })
}

fn two_cells(keyspaces: &BTreeMap<String, Piece<SrvKeyspace>>) -> Arc<Piece<Cells>> {
    let cell = Cell { rules: Piece::Known(ServedRules::default()), keyspaces: keyspaces.clone() };
    Arc::new(Piece::Known(["zone1", "zone2"].map(|name| (name.to_owned(), cell.clone())).into()))
}

fn forward(evidence: &mut Evidence, change: impl Fn(&mut Stream)) {
    let workflow = evidence.workflow.clone();
    each(&mut evidence.target, &workflow, change);
}

fn reverse(evidence: &mut Evidence, change: impl Fn(&mut Stream)) {
    let workflow = evidence.reverse();
    each(&mut evidence.source, &workflow, change);
}

fn each(side: &mut Side, workflow: &str, change: impl Fn(&mut Stream)) {
    for shard in side.shards.values_mut() {
        let Piece::Known(streams) = &mut shard.streams else { panic!("streams") };
        streams.iter_mut().filter(|it| it.workflow == workflow).for_each(&change);
    }
}

fn streams<'a>(side: &'a mut Side, shard: &str) -> &'a mut Vec<Stream> {
    match &mut side.shards.get_mut(shard).unwrap().streams {
        Piece::Known(streams) => streams,
        other => panic!("{other:?}"),
    }
}

fn stop_for_cutover(evidence: &mut Evidence) {
    forward(evidence, |it| (it.state, it.message) = (StreamState::Stopped, "stopped for cutover".into()));
}

fn freeze(evidence: &mut Evidence) {
    forward(evidence, |it| (it.state, it.message) = (StreamState::Stopped, "FROZEN".into()));
}

/// The journal of the forward streams, on so many sources.
fn write_journals(evidence: &mut Evidence, sources: usize) {
    let of: Vec<(String, i64)> = evidence.forward_streams().iter().map(|(shard, it)| ((*shard).to_owned(), it.id)).collect();
    let id = migration_id(&evidence.target.keyspace, of.iter().map(|(shard, id)| (shard.as_str(), *id)));
    let positions = evidence.target.shards.keys().map(|shard| (shard.clone(), format!("gtid of {shard}"))).collect();
    for shard in evidence.source.shards.values_mut().take(sources) {
        let journal = Journal { positions: BTreeMap::clone(&positions), workflows: BTreeSet::new() };
        shard.journals = Piece::Known(BTreeMap::from([(id, journal)]));
    }
}

/// Reverse streams on every source, from every target.
fn create_reverse(evidence: &mut Evidence, state: StreamState, message: &str) {
    let (name, target) = (evidence.reverse(), evidence.target.keyspace.clone());
    let pairs: Vec<(String, String)> =
        evidence.forward_streams().iter().map(|(shard, it)| (it.source_shard.clone(), (*shard).to_owned())).collect();
    for (id, (source, reads)) in pairs.iter().enumerate() {
        let stream = stream(50 + i64::try_from(id).unwrap(), &name, (&target, reads), state, message);
        streams(&mut evidence.source, source).push(stream);
    }
}

/// `MoveTables` of two tables from two shards to two, not switched.
fn not_switched() -> Evidence {
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

fn two_sources(mut evidence: Evidence) -> Evidence {
    evidence.source = side("commerce", vec![("-80", shard(100, true, vec![])), ("80-", shard(110, true, vec![]))]);
    for (target, id) in [("-80", 7), ("80-", 7)] {
        let of = |id, source| stream(id, "c2c", ("commerce", source), StreamState::Working, "");
        *streams(&mut evidence.target, target) = vec![of(id, "-80"), of(id + 1, "80-")];
    }
    evidence
}

fn reads_switched() -> Evidence {
    let mut evidence = not_switched();
    ruled(&mut evidence, &[TabletType::Replica, TabletType::Rdonly]);
    evidence
}

fn writes_switched() -> Evidence {
    let mut evidence = not_switched();
    finish(&mut evidence);
    evidence
}

fn finish(evidence: &mut Evidence) {
    ruled(evidence, &ALL);
    let sources = evidence.source.shards.len();
    deny(&mut evidence.source, &TABLES);
    deny(&mut evidence.target, &[]);
    write_journals(evidence, sources);
    create_reverse(evidence, StreamState::Working, "");
    freeze(evidence);
}

fn reversed() -> Evidence {
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
fn closed() -> Evidence {
    let mut evidence = not_switched();
    deny(&mut evidence.source, &TABLES);
    deny(&mut evidence.target, &[]);
    evidence
}

/// Up to right before the journal.
fn before_journal() -> Evidence {
    let mut evidence = closed();
    stop_for_cutover(&mut evidence);
    create_reverse(&mut evidence, StreamState::Stopped, "");
    evidence
}

fn partial(is_switched: bool) -> Evidence {
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

fn multi_tenant(is_switched: bool) -> Evidence {
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

const OLD: [&str; 2] = ["-80", "80-"];
const NEW: [&str; 3] = ["-40", "40-80", "80-"];

/// What a cell serves of one type.
fn part(of: TabletType, shards: &[&str], off: &[(&str, bool)]) -> KeyspacePartition {
    KeyspacePartition {
        served_type: of.into(),
        shard_references: shards.iter().map(|name| ShardReference { name: (*name).into(), key_range: None }).collect(),
        shard_tablet_controls: off
            .iter()
            .map(|(name, off)| ShardTabletControl { name: (*name).into(), key_range: None, query_service_disabled: *off })
            .collect(),
    }
}

fn serve_shards(evidence: &mut Evidence, names: &[&str], parts: &[KeyspacePartition; 3]) {
    for name in names {
        let served = SrvKeyspace { partitions: parts.to_vec(), ..SrvKeyspace::default() };
        cells(evidence).get_mut(*name).unwrap().keyspaces.insert("customer".into(), Piece::Known(served));
    }
}

fn all_of(shards: &[&str]) -> [KeyspacePartition; 3] {
    ALL.map(|of| part(of, shards, &[]))
}

/// A reshard of one shard into two, with a stream of another workflow on it.
fn reshard() -> Evidence {
    let reads = |id| stream(id, "r1", ("customer", "-80"), StreamState::Working, "");
    let other = stream(25, "mat2", ("commerce", "0"), StreamState::Working, "");
    let mut evidence = Evidence {
        workflow: "r1".into(),
        kind: Kind::Reshard,
        source: side("customer", vec![("-80", shard(200, true, vec![other]))]),
        target: side("customer", vec![("-40", shard(400, false, vec![reads(1)])), ("40-80", shard(500, false, vec![reads(1)]))]),
        tables: BTreeSet::new(),
        cells: two_cells(&BTreeMap::new()),
        rules: no_rules(),
        ..not_switched()
    };
    serve_shards(&mut evidence, &["zone1", "zone2"], &all_of(&OLD));
    evidence
}

fn set_serving(side: &mut Side, is_serving: bool) {
    for shard in side.shards.values_mut() {
        let Piece::Known(record) = &mut shard.record else { panic!("a record") };
        record.is_primary_serving = is_serving;
    }
}

fn reshard_reads() -> Evidence {
    let mut evidence = reshard();
    let reads = [("-80", true), ("-40", false), ("40-80", false)];
    let parts = [part(ALL[0], &OLD, &[]), part(ALL[1], &NEW, &reads), part(ALL[2], &NEW, &reads)];
    serve_shards(&mut evidence, &["zone1", "zone2"], &parts);
    evidence
}

/// Streams of the other workflow are on the target shards.
fn take_along(evidence: &mut Evidence, state: StreamState) {
    for shard in ["-40", "40-80"] {
        streams(&mut evidence.target, shard).push(stream(2, "mat2", ("commerce", "0"), state, ""));
    }
}

fn reshard_writes() -> Evidence {
    let mut evidence = reshard();
    serve_shards(&mut evidence, &["zone1", "zone2"], &all_of(&NEW));
    set_serving(&mut evidence.source, false);
    set_serving(&mut evidence.target, true);
    write_journals(&mut evidence, 1);
    streams(&mut evidence.source, "-80").clear();
    create_reverse(&mut evidence, StreamState::Working, "");
    freeze(&mut evidence);
    take_along(&mut evidence, StreamState::Working);
    evidence
}

fn reshard_reversed() -> Evidence {
    let mut evidence = reshard();
    create_reverse(&mut evidence, StreamState::Stopped, "FROZEN");
    evidence
}

/// The source shards are closed for a switch.
fn reshard_closed() -> Evidence {
    let mut evidence = reshard();
    let parts = [part(ALL[0], &OLD, &[("-80", true)]), part(ALL[1], &OLD, &[]), part(ALL[2], &OLD, &[])];
    serve_shards(&mut evidence, &["zone1", "zone2"], &parts);
    evidence
}

fn with(mut evidence: Evidence, change: impl FnOnce(&mut Evidence)) -> Evidence {
    change(&mut evidence);
    evidence
}

fn healthy() -> Vec<(&'static str, Evidence, Phase)> {
    vec![
        ("not switched", not_switched(), Phase::NotSwitched),
        ("of two shards", two_sources(not_switched()), Phase::NotSwitched),
        (
            "without routing rules",
            with(not_switched(), |it| {
                set_rules(it, &Keys::new());
                serve(it, &["zone1", "zone2"], &Keys::new());
            }),
            Phase::NotSwitched,
        ),
        (
            "by an old release: the target denies nothing",
            with(not_switched(), |it| deny(&mut it.target, &[])),
            Phase::NotSwitched,
        ),
        ("stopped by hand", with(not_switched(), |it| forward(it, |it| it.state = StreamState::Stopped)), Phase::NotSwitched),
        ("reads switched", reads_switched(), Phase::ReadsSwitched),
        ("writes switched", writes_switched(), Phase::WritesSwitched),
        ("writes switched of two shards", with(two_sources(not_switched()), finish), Phase::WritesSwitched),
        ("reversed", reversed(), Phase::Reversed),
        ("some shards", partial(false), Phase::NotSwitched),
        ("some shards switched", partial(true), Phase::WritesSwitched),
        ("a tenant", multi_tenant(false), Phase::NotSwitched),
        ("a tenant switched", multi_tenant(true), Phase::WritesSwitched),
        ("from another cluster", with(not_switched(), |it| it.kind = Kind::Migrate), Phase::NotSwitched),
        ("reshard", reshard(), Phase::NotSwitched),
        ("reshard, reads", reshard_reads(), Phase::ReadsSwitched),
        ("reshard, writes", reshard_writes(), Phase::WritesSwitched),
        ("reshard, reversed", reshard_reversed(), Phase::Reversed),
        ("nothing left", with(not_switched(), |it| each(&mut it.target, "c2c", |it| it.workflow = "other".into())), Phase::Ended),
        (
            "mirrored",
            with(not_switched(), |it| {
                mirror(it);
                allow_reads(it);
            }),
            Phase::NotSwitched,
        ),
    ]
}

fn mirror(evidence: &mut Evidence) {
    let rules = TABLES.map(|table| (format!("commerce.{table}@replica"), vec![format!("customer.{table}")]));
    Arc::make_mut(&mut evidence.rules).mirror = Piece::Known(rules.into());
}

fn allow_reads(evidence: &mut Evidence) {
    for shard in evidence.target.shards.values_mut() {
        let Piece::Known(record) = &mut shard.record else { panic!("a record") };
        record.tablet_controls.iter_mut().for_each(|it| it.allow_reads = true);
    }
}

fn lock(path: &str, age: i64) -> Lock {
    Lock { path: path.into(), action: "WorkflowSwitchTraffic".into(), holder: "vt@vm".into(), since: NOW - age }
}

/// A case: what is there, the phase, what is found, whether running again heals it, where the ways out lead.
type Case = (&'static str, Evidence, Phase, Vec<(M, Rerun, Vec<Direction>)>);

#[allow(clippy::too_many_lines, reason = "a table")]
fn broken() -> Vec<Case> {
    use Direction::{Back, Forward, InPlace};
    use Phase::{Contradictory, Ending, NotSwitched, ReadsSwitched, StoppedAfterJournal, StoppedBeforeJournal, WritesSwitched};
    let keys = |target: &[TabletType]| {
        let mut keys = Keys::new();
        for of in ALL {
            route(&mut keys, of, target.contains(&of));
        }
        keys
    };
    let unswitched = |mut evidence: Evidence| {
        ruled(&mut evidence, &[]);
        evidence
    };
    vec![
        ("T1", closed(), StoppedBeforeJournal, vec![(M::WritesClosed, Rerun::Heals, vec![Back, Forward])]),
        (
            "T1 of one shard of two",
            with(two_sources(not_switched()), |it| {
                let mut all = it.source.clone();
                deny(&mut all, &TABLES);
                it.source.shards.insert("-80".into(), all.shards["-80"].clone());
            }),
            StoppedBeforeJournal,
            vec![(M::WritesClosed, Rerun::Heals, vec![Back, Forward])],
        ),
        (
            "T2",
            with(closed(), stop_for_cutover),
            StoppedBeforeJournal,
            vec![(M::WritesClosedStreamsStopped, Rerun::HealsLater, vec![Back, Forward])],
        ),
        (
            "T3",
            before_journal(),
            StoppedBeforeJournal,
            vec![(M::WritesClosedReverseCreated, Rerun::HealsLater, vec![Back, Forward])],
        ),
        (
            "undone but for the streams",
            with(not_switched(), stop_for_cutover),
            StoppedBeforeJournal,
            vec![(M::StreamsStoppedForCutover, Rerun::HealsLater, vec![Back])],
        ),
        (
            "undone but for the reverse",
            with(not_switched(), |it| create_reverse(it, StreamState::Stopped, "")),
            NotSwitched,
            vec![(M::ReverseLeftByUndo, Rerun::Heals, vec![InPlace])],
        ),
        (
            "T4",
            with(two_sources(not_switched()), |it| {
                deny(&mut it.source, &TABLES);
                deny(&mut it.target, &[]);
                stop_for_cutover(it);
                create_reverse(it, StreamState::Stopped, "");
                write_journals(it, 1);
            }),
            StoppedAfterJournal,
            vec![(M::JournalOnSomeSources, Rerun::HealsAtAnyLag, vec![Forward])],
        ),
        (
            "T5",
            with(before_journal(), |it| write_journals(it, 1)),
            StoppedAfterJournal,
            vec![(M::JournalWithoutRouting, Rerun::HealsAtAnyLag, vec![Forward])],
        ),
        (
            "an old journal",
            with(not_switched(), |it| write_journals(it, 1)),
            NotSwitched,
            vec![(M::JournalOfPreviousRun, Rerun::No, vec![])],
        ),
        (
            "T6",
            with(writes_switched(), |it| serve(it, &["zone2"], &keys(&[TabletType::Replica, TabletType::Rdonly]))),
            WritesSwitched,
            vec![(M::CellServesOldRouting, Rerun::Heals, vec![InPlace])],
        ),
        (
            "T7",
            with(writes_switched(), stop_for_cutover),
            StoppedAfterJournal,
            vec![(M::ForwardNotFrozen, Rerun::Heals, vec![Forward, Forward])],
        ),
        (
            "T8",
            with(writes_switched(), |it| streams(&mut it.target, "80-")[0].message = "stopped for cutover".into()),
            StoppedAfterJournal,
            vec![(M::ForwardPartlyFrozen, Rerun::No, vec![InPlace])],
        ),
        (
            "T9",
            with(writes_switched(), |it| deny(&mut it.target, &TABLES[..1])),
            WritesSwitched,
            vec![(M::TargetDenied, Rerun::No, vec![InPlace])],
        ),
        (
            "an open source",
            with(writes_switched(), |it| deny(&mut it.source, &[])),
            WritesSwitched,
            vec![(M::SourceOpen, Rerun::No, vec![InPlace])],
        ),
        (
            "T10",
            with(not_switched(), |it| set_rules(it, &keys(&[TabletType::Replica, TabletType::Rdonly]))),
            NotSwitched,
            vec![(M::ReadRulesNotServed, Rerun::Heals, vec![Forward, Back])],
        ),
        (
            "T11",
            with(reads_switched(), |it| serve(it, &["zone2"], &keys(&[]))),
            ReadsSwitched,
            vec![(M::ReadRulesServedInSomeCells, Rerun::Heals, vec![Forward])],
        ),
        (
            "tables here and there",
            with(not_switched(), |it| {
                let mut keys = keys(&[]);
                keys.insert("commerce.corder".into(), vec!["customer.corder".into()]);
                set_rules(it, &keys);
                serve(it, &["zone1", "zone2"], &keys);
            }),
            Contradictory,
            vec![(M::RoutedDifferentWays, Rerun::No, vec![])],
        ),
        (
            "reads of tables here and there",
            with(not_switched(), |it| {
                let mut keys = keys(&[]);
                keys.insert("corder@rdonly".into(), vec!["customer.corder".into()]);
                set_rules(it, &keys);
                serve(it, &["zone1", "zone2"], &keys);
            }),
            ReadsSwitched,
            vec![(M::RoutedDifferentWays, Rerun::No, vec![])],
        ),
        (
            "routed by hand",
            with(not_switched(), |it| {
                ruled(it, &ALL);
                deny(&mut it.target, &[]);
            }),
            Contradictory,
            vec![(M::RoutedWithoutSwitch, Rerun::No, vec![])],
        ),
        (
            "T13 before",
            with(not_switched(), |it| create_reverse(it, StreamState::Working, "")),
            Contradictory,
            vec![(M::BothDirectionsRunning, Rerun::No, vec![InPlace])],
        ),
        (
            "T13 after",
            with(writes_switched(), |it| forward(it, |it| (it.state, it.message) = (StreamState::Working, String::new()))),
            StoppedAfterJournal,
            vec![
                (M::ForwardNotFrozen, Rerun::Heals, vec![Forward, Forward]),
                (M::BothDirectionsRunning, Rerun::No, vec![InPlace]),
            ],
        ),
        (
            "both frozen",
            with(writes_switched(), |it| reverse(it, |it| (it.state, it.message) = (StreamState::Stopped, "FROZEN".into()))),
            WritesSwitched,
            vec![(M::BothDirectionsFrozen, Rerun::No, vec![])],
        ),
        ("T14", unswitched(writes_switched()), Contradictory, vec![(M::FrozenButRoutedToSource, Rerun::No, vec![Forward])]),
        (
            "T14 and written",
            with(unswitched(writes_switched()), |it| deny(&mut it.source, &[])),
            Contradictory,
            vec![(M::FrozenButRoutedToSource, Rerun::No, vec![])],
        ),
        (
            "T15",
            with(writes_switched(), |it| streams_of(it, false)),
            WritesSwitched,
            vec![(M::ReverseWithoutForward, Rerun::No, vec![])],
        ),
        (
            "half cancelled",
            with(reversed(), |it| streams_of(it, false)),
            Ending,
            vec![(M::ReverseLeftFrozen, Rerun::No, vec![InPlace])],
        ),
        (
            "T17 readable",
            with(not_switched(), allow_reads),
            NotSwitched,
            vec![(M::DeniedTablesReadable, Rerun::No, vec![InPlace])],
        ),
        ("T17 mirrored", with(not_switched(), mirror), NotSwitched, vec![(M::MirroredReadsDenied, Rerun::Heals, vec![InPlace])]),
        (
            "T18",
            with(not_switched(), |it| it.locks = Piece::Known(vec![lock("internal/named_locks/customer/c2c/locks/1", 54_000)])),
            NotSwitched,
            vec![(M::LockWithoutProcess, Rerun::No, vec![InPlace])],
        ),
        (
            "T19",
            with(writes_switched(), |it| drop(streams(&mut it.source, "-").pop())),
            WritesSwitched,
            vec![(M::ReverseIncomplete, Rerun::No, vec![InPlace])],
        ),
        (
            "T20",
            with(writes_switched(), |it| reverse(it, |it| it.state = StreamState::Stopped)),
            WritesSwitched,
            vec![(M::ReverseStopped, Rerun::No, vec![InPlace])],
        ),
        (
            "on some shards",
            with(not_switched(), |it| it.without_streams = BTreeSet::from(["c0-".into()])),
            NotSwitched,
            vec![(M::StreamsOnSomeShards, Rerun::No, vec![])],
        ),
        (
            "S12",
            with(not_switched(), |it| {
                forward(it, |it| {
                    (it.state, it.cells, it.has_tablet_types) = (StreamState::Stopped, String::new(), false);
                });
            }),
            Ending,
            vec![(M::DeletionInterrupted, Rerun::Heals, vec![Forward, Back])],
        ),
        ("S1", reshard_closed(), StoppedBeforeJournal, vec![(M::SourceShardsClosed, Rerun::Heals, vec![Back, Forward])]),
        (
            "S2",
            with(reshard_closed(), |it| hold(it, StreamState::Stopped, "for cutover")),
            StoppedBeforeJournal,
            vec![(M::SourceShardsClosed, Rerun::No, vec![Back]), (M::SourceStreamsStopped, Rerun::No, vec![Back])],
        ),
        (
            "S2 alone",
            with(reshard(), |it| hold(it, StreamState::Working, "synchronizing for cutover")),
            StoppedBeforeJournal,
            vec![(M::SourceStreamsStopped, Rerun::No, vec![Back])],
        ),
        (
            "S3",
            with(reshard(), |it| take_along(it, StreamState::Stopped)),
            NotSwitched,
            vec![(M::StreamCopiesLeft, Rerun::Heals, vec![Back])],
        ),
        (
            "S4",
            with(reshard_closed(), |it| {
                stop_for_cutover(it);
                create_reverse(it, StreamState::Stopped, "");
                write_journals(it, 1);
            }),
            StoppedAfterJournal,
            vec![(M::JournalWithoutRouting, Rerun::HealsAtAnyLag, vec![Forward])],
        ),
        (
            "S5",
            with(reshard_writes(), |it| {
                stop_for_cutover(it);
                set_serving(&mut it.target, false);
            }),
            StoppedAfterJournal,
            vec![(M::ServingFlagsMixed, Rerun::HealsAtAnyLag, vec![Forward])],
        ),
        (
            "S6",
            with(reshard_writes(), |it| serve_shards(it, &["zone2"], &all_of(&OLD))),
            WritesSwitched,
            vec![(M::CellServesOldShards, Rerun::HealsAtAnyLag, vec![Forward])],
        ),
        (
            "S7",
            with(reshard_writes(), |it| {
                each(&mut it.target, "mat2", |it| it.state = StreamState::Stopped);
                streams(&mut it.source, "-80").push(stream(25, "mat2", ("commerce", "0"), StreamState::Stopped, "for cutover"));
            }),
            WritesSwitched,
            vec![(M::StreamCopiesStopped, Rerun::HealsAtAnyLag, vec![Forward, Forward])],
        ),
        (
            "S8",
            with(reshard_writes(), |it| streams(&mut it.target, "-40")[0].message = "stopped for cutover".into()),
            StoppedAfterJournal,
            vec![(M::ForwardPartlyFrozen, Rerun::No, vec![InPlace])],
        ),
        (
            "S9",
            with(reshard(), |it| {
                let parts = [part(ALL[0], &OLD, &[]), part(ALL[1], &OLD, &[("-80", true)]), part(ALL[2], &OLD, &[])];
                serve_shards(it, &["zone1"], &parts);
            }),
            NotSwitched,
            vec![(M::ServedShardsClosed, Rerun::Heals, vec![Forward])],
        ),
        (
            "S10",
            with(reshard(), |it| {
                cells(it).get_mut("zone2").unwrap().keyspaces.insert("customer".into(), Piece::Missing);
            }),
            Phase::Unknown(BTreeSet::new()),
            vec![(M::PartitionInvalid, Rerun::No, vec![])],
        ),
        (
            "S11",
            with(reshard_writes(), |it| it.source.shards.get_mut("-80").unwrap().record = Piece::Missing),
            Ending,
            vec![(M::SourceShardsGone, Rerun::No, vec![InPlace])],
        ),
    ]
}

fn hold(evidence: &mut Evidence, state: StreamState, message: &str) {
    each(&mut evidence.source, "mat2", |it| (it.state, it.message) = (state, message.into()));
}

/// Takes the forward or the reverse streams away.
fn streams_of(evidence: &mut Evidence, reverse: bool) {
    let (name, side) =
        if reverse { (evidence.reverse(), &mut evidence.source) } else { (evidence.workflow.clone(), &mut evidence.target) };
    for shard in side.shards.values_mut() {
        if let Piece::Known(streams) = &mut shard.streams {
            streams.retain(|it| it.workflow != name);
        }
    }
}

fn told(deviations: &[Deviation]) -> Vec<(M, Rerun, Vec<Direction>)> {
    let ways = |it: &Deviation| it.repairs.iter().map(|repair| repair.direction).collect();
    deviations.iter().map(|it| (it.mechanism, it.rerun, ways(it))).collect()
}

#[test]
fn healthy_workflows_have_their_phase_and_nothing_else() {
    for (name, evidence, want) in healthy() {
        assert_eq!(phase(&evidence), want, "{name}");
        let found = diagnose(&evidence, NOW);
        assert_eq!((found.deviations, found.unknown), (vec![], BTreeSet::new()), "{name}");
    }
}

#[test]
fn every_mechanism_is_told_by_its_name_with_its_ways_out() {
    let mut seen = BTreeSet::new();
    for (name, evidence, want, deviations) in broken() {
        let found = diagnose(&evidence, NOW);
        assert_eq!(found.phase.name(), want.name(), "{name}: {:?}", found.phase);
        assert_eq!(told(&found.deviations), deviations, "{name}");
        assert_eq!(found.unknown.is_empty(), !matches!(want, Phase::Unknown(_)), "{name}: {:?}", found.unknown);
        for deviation in &found.deviations {
            assert!(!deviation.places.is_empty() && !deviation.hurts.is_empty(), "{name}: {deviation:?}");
        }
        seen.extend(found.deviations.iter().map(|it| it.mechanism));
    }
    for (_, cluster, mechanism) in left_over() {
        seen.extend(mechanism);
        drop(cluster);
    }
    let missing: Vec<&M> = M::ALL.iter().filter(|it| !seen.contains(it)).collect();
    assert!(missing.is_empty(), "no case is one of {missing:?}");
}

#[test]
fn the_repairs_are_exact() {
    let actions = |evidence: &Evidence, direction| {
        let found = diagnose(evidence, NOW);
        let repairs = found.deviations.into_iter().flat_map(|it| it.repairs).filter(|it| it.direction == direction);
        repairs.flat_map(|it| it.actions).collect::<Vec<_>>()
    };
    let deny = |keyspace: &str, shard: &str, deny| Action::DenyTables {
        keyspace: keyspace.into(),
        shard: shard.into(),
        tables: TABLES.map(str::to_owned).to_vec(),
        deny,
        allow_reads: false,
    };
    let statement = |keyspace: &str, shard: &str, tablet: &str, statement: &str| Action::Statement {
        keyspace: keyspace.into(),
        shard: shard.into(),
        tablet: tablet.into(),
        statement: statement.into(),
    };
    let run = "update _vt.vreplication set state = 'Running', stop_pos = null, message = '' where id in (7) and db_name = 'vt' and workflow = 'c2c'";
    let delete = "delete from _vt.vreplication where id in (50, 51) and db_name = 'vt' and workflow = 'c2c_reverse'";
    assert_eq!(
        actions(&before_journal(), Direction::Back),
        [
            deny("commerce", "-", false),
            deny("customer", "-80", true),
            deny("customer", "80-", true),
            statement("customer", "-80", "zone1-0000000200", run),
            statement("customer", "80-", "zone1-0000000300", run),
            statement("commerce", "-", "zone1-0000000100", delete),
        ]
    );
    assert_eq!(actions(&before_journal(), Direction::Forward), [Action::RunAgain { at_any_lag: true }]);
    let one_missing = with(writes_switched(), |it| drop(streams(&mut it.source, "-").pop()));
    let (keyspace, shard, reads, position) = ("commerce".into(), "-".into(), "80-".into(), "gtid of 80-".into());
    assert_eq!(actions(&one_missing, Direction::InPlace), [Action::CreateReverseStream { keyspace, shard, reads, position }]);
    let partly = with(writes_switched(), |it| streams(&mut it.target, "80-")[0].message = "stopped for cutover".into());
    let freeze = "update _vt.vreplication set message = 'FROZEN' where id in (7) and db_name = 'vt' and workflow = 'c2c'";
    assert_eq!(actions(&partly, Direction::InPlace), [statement("customer", "80-", "zone1-0000000300", freeze)]);
}

#[test]
fn since_when_is_what_the_lock_or_the_streams_say() {
    let since = |evidence: &Evidence| diagnose(evidence, NOW).deviations[0].since;
    assert_eq!(since(&closed()), 0, "nothing says it");
    assert_eq!(since(&with(closed(), stop_for_cutover)), NOW - 60);
    let locked = with(closed(), |it| it.locks = Piece::Known(vec![lock("internal/named_locks/customer/c2c/locks/1", 90)]));
    assert_eq!(since(&locked), NOW - 90);
    // A row that was never written has another number there.
    assert_eq!(
        since(&with(closed(), |it| {
            stop_for_cutover(it);
            forward(it, |it| it.time_updated = 20_261_129_024_556);
        })),
        0
    );
}

/// What is looked at, one after the other, as it is when it cannot be read.
fn blinded(evidence: &Evidence) -> Vec<(String, Evidence)> {
    let why = || "down".to_owned();
    let mut all: Vec<(String, Evidence)> = Vec::new();
    let mut add = |name: &str, change: &dyn Fn(&mut Evidence)| {
        let mut blind = evidence.clone();
        change(&mut blind);
        all.push((name.to_owned(), blind));
    };
    match evidence.kind {
        Kind::Standard => {
            add("routing rules", &|it| Arc::make_mut(&mut it.rules).tables = Piece::Unknown(why()));
            add("mirror rules", &|it| Arc::make_mut(&mut it.rules).mirror = Piece::Unknown(why()));
        }
        Kind::Partial => add("shard rules", &|it| Arc::make_mut(&mut it.rules).shards = Piece::Unknown(why())),
        Kind::MultiTenant => add("keyspace rules", &|it| Arc::make_mut(&mut it.rules).keyspaces = Piece::Unknown(why())),
        Kind::Migrate | Kind::Reshard => {}
    }
    add("locks", &|it| it.locks = Piece::Unknown(why()));
    add("something else", &|it| it.unclear.extend([why()]));
    add("changes", &|it| it.changed.extend(["RoutingRules".to_owned()]));
    for shard in evidence.target.shards.keys() {
        add("target streams", &|it| it.target.shards.get_mut(shard).unwrap().streams = Piece::Unknown(why()));
    }
    if evidence.kind == Kind::Migrate {
        return all;
    }
    add("cells", &|it| it.cells = Arc::new(Piece::Unknown(why())));
    for cell in ["zone1", "zone2"] {
        if evidence.kind == Kind::Reshard {
            add("served shards", &|it| {
                cells(it).get_mut(cell).unwrap().keyspaces.insert("customer".into(), Piece::Unknown(why()));
            });
        } else {
            add("served rules", &|it| cells(it).get_mut(cell).unwrap().rules = Piece::Unknown(why()));
        }
    }
    for shard in evidence.source.shards.keys() {
        add("source record", &|it| it.source.shards.get_mut(shard).unwrap().record = Piece::Unknown(why()));
        add("source streams", &|it| it.source.shards.get_mut(shard).unwrap().streams = Piece::Unknown(why()));
        add("journals", &|it| it.source.shards.get_mut(shard).unwrap().journals = Piece::Unknown(why()));
    }
    if matches!(evidence.kind, Kind::Standard | Kind::Reshard) {
        for shard in evidence.target.shards.keys() {
            add("target record", &|it| it.target.shards.get_mut(shard).unwrap().record = Piece::Unknown(why()));
        }
    }
    all
}

static CASES: LazyLock<Vec<(&'static str, Evidence)>> = LazyLock::new(|| {
    let healthy = healthy().into_iter().map(|(name, evidence, _)| (name, evidence));
    healthy.chain(broken().into_iter().map(|(name, evidence, ..)| (name, evidence))).collect()
});

#[test]
fn what_cannot_be_read_is_said_and_never_healthy() {
    for (name, evidence) in CASES.iter() {
        // Without its record a shard has nothing to be read.
        if *name == "S11" {
            continue;
        }
        for (piece, blind) in blinded(evidence) {
            let found = diagnose(&blind, NOW);
            assert!(!found.unknown.is_empty(), "{name} without {piece}: {found:?}");
        }
    }
}

/// Whether a source has a journal of the streams that are there.
fn has_journal(evidence: &Evidence) -> bool {
    let streams = evidence.forward_streams();
    let id = migration_id(&evidence.target.keyspace, streams.iter().map(|(shard, it)| (*shard, it.id)));
    evidence.source.shards.values().any(|it| it.journals.known().is_some_and(|it| it.contains_key(&id)))
}

fn never_back_after_a_journal(name: &str, evidence: &Evidence) {
    let found = diagnose(evidence, NOW);
    let is_back = found.deviations.iter().flat_map(|it| &it.repairs).any(|it| it.direction == Direction::Back);
    let is_unknown = evidence.source.shards.values().any(|it| it.journals.unknown().is_some());
    assert!(!is_back || !has_journal(evidence) && !is_unknown, "{name}: {found:?}");
}

#[test]
fn nobody_goes_back_where_a_journal_is_or_may_be() {
    for (name, evidence) in CASES.iter() {
        never_back_after_a_journal(name, evidence);
        never_back_after_a_journal(name, &with(evidence.clone(), |it| write_journals(it, 1)));
        for (piece, blind) in blinded(evidence) {
            never_back_after_a_journal(&format!("{name} without {piece}"), &blind);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Parts of several cases at once: nothing panics, nothing goes back after a journal, what is not known is said.
    #[test]
    fn mixtures_of_cases_are_told_apart(seeds in prop::collection::vec(any::<prop::sample::Index>(), 8)) {
        let pick = |seed: usize| &CASES[seeds[seed].index(CASES.len())].1;
        let first = pick(0).clone();
        let alike = |seed: usize| if pick(seed).kind == first.kind { pick(seed).clone() } else { first.clone() };
        let mixed = Evidence {
            rules: alike(1).rules,
            cells: alike(2).cells,
            source: alike(3).source,
            target: alike(4).target,
            locks: alike(5).locks,
            ..first
        };
        never_back_after_a_journal("a mixture", &mixed);
        let blind = blinded(&mixed);
        let (piece, blind) = &blind[seeds[6].index(blind.len())];
        let gone = mixed.source.shards.values().chain(mixed.target.shards.values()).any(|it| it.record.is_missing());
        prop_assert!(gone || !diagnose(blind, NOW).unknown.is_empty(), "without {piece}: {blind:?}");
        never_back_after_a_journal("a blind mixture", blind);
    }
}

/// A cluster with one workflow between `commerce` and `customer`, and with `other` and no workflow.
fn cluster() -> Cluster {
    let known = |shards: &[(&str, bool)]| {
        let record = |(name, serving): &(&str, bool)| {
            ((*name).to_owned(), Piece::Known(Shard { is_primary_serving: *serving, ..Shard::default() }))
        };
        Piece::Known(Keyspace { is_wanted: true, shards: shards.iter().map(record).collect(), ..Keyspace::default() })
    };
    let evidence = not_switched();
    let served = SrvKeyspace { partitions: all_of(&OLD).to_vec(), ..SrvKeyspace::default() };
    Cluster {
        rules: evidence.rules.clone(),
        keyspaces: BTreeMap::from([
            ("commerce".into(), known(&[("-", true)])),
            ("customer".into(), known(&[("-80", true), ("80-", true)])),
            ("other".into(), known(&[("0", true)])),
        ]),
        cells: two_cells(&BTreeMap::from([("customer".into(), Piece::Known(served))])),
        workflows: vec![evidence],
    }
}

fn keyspace<'a>(cluster: &'a mut Cluster, name: &str) -> &'a mut Keyspace {
    match cluster.keyspaces.get_mut(name) {
        Some(Piece::Known(keyspace)) => keyspace,
        other => panic!("{other:?}"),
    }
}

fn add_rule(cluster: &mut Cluster, of: fn(&mut Rules) -> &mut Piece<Keys>, from: &str, to: &str) {
    let Piece::Known(keys) = of(Arc::make_mut(&mut cluster.rules)) else { panic!("rules") };
    keys.insert(from.into(), vec![to.into()]);
}

fn left_over() -> Vec<(&'static str, Cluster, Vec<M>)> {
    let with = |change: &dyn Fn(&mut Cluster)| {
        let mut cluster = cluster();
        change(&mut cluster);
        cluster
    };
    let denies = |cluster: &mut Cluster, name: &str, table: &str| {
        for record in keyspace(cluster, name).shards.values_mut() {
            let Piece::Known(record) = record else { panic!("a record") };
            let control = TabletControl { tablet_type: 1, denied_tables: vec![table.into()], ..TabletControl::default() };
            record.tablet_controls.push(control);
        }
    };
    vec![
        ("nothing", cluster(), vec![]),
        ("rules within a keyspace are people's", with(&|it| add_rule(it, |it| &mut it.tables, "t9", "other.t9")), vec![]),
        ("T12 rules", with(&|it| add_rule(it, |it| &mut it.tables, "customer.t9", "other.t9")), vec![M::LeftoverRoutingRules]),
        (
            "T12 rules to nowhere",
            with(&|it| {
                it.keyspaces.insert("gone".into(), Piece::Missing);
                add_rule(it, |it| &mut it.tables, "customer.t9@replica", "gone.t9");
            }),
            vec![M::LeftoverRoutingRules],
        ),
        ("T12 shards", with(&|it| add_rule(it, |it| &mut it.shards, "customer.-80", "commerce")), vec![M::LeftoverShardRules]),
        (
            "T12 keyspaces",
            with(&|it| add_rule(it, |it| &mut it.keyspaces, "commerce@replica", "customer")),
            vec![M::LeftoverShardRules],
        ),
        ("T12 denied", with(&|it| denies(it, "other", "t9")), vec![M::LeftoverDeniedTables]),
        ("denied by a workflow", with(&|it| denies(it, "customer", "corder")), vec![]),
        (
            "T16",
            with(&|it| add_rule(it, |it| &mut it.mirror, "commerce.t9@replica", "customer.t9")),
            vec![M::LeftoverMirrorRules],
        ),
        (
            "S10 gap",
            with(&|it| {
                let served = SrvKeyspace { partitions: vec![part(ALL[0], &["-40", "80-"], &[])], ..SrvKeyspace::default() };
                let Piece::Known(cells) = Arc::make_mut(&mut it.cells) else { panic!("cells") };
                cells.get_mut("zone1").unwrap().keyspaces.insert("customer".into(), Piece::Known(served));
            }),
            vec![M::PartitionInvalid],
        ),
        (
            "binlogs",
            with(&|it| {
                let message = "Cannot replicate because the source purged required binary logs (errno 1236)";
                keyspace(it, "customer").broken.push(("customer/-80 stream 9".into(), "m9".into(), message.into()));
            }),
            vec![M::BinlogsGone],
        ),
    ]
}

#[test]
fn what_belongs_to_no_workflow_is_told() {
    for (name, cluster, want) in left_over() {
        let (found, unknown) = cluster.leftovers();
        assert_eq!(found.iter().map(|it| it.mechanism).collect::<Vec<_>>(), want, "{name}");
        assert_eq!(unknown, BTreeSet::new(), "{name}");
        // Of keyspaces that are not asked about, nothing.
        let mut unwanted = cluster.clone();
        for keyspace in unwanted.keyspaces.values_mut() {
            if let Piece::Known(keyspace) = keyspace {
                keyspace.is_wanted = false;
            }
        }
        assert_eq!(unwanted.leftovers(), (vec![], BTreeSet::new()), "{name}");
    }
}

#[test]
fn nothing_is_nobodys_while_streams_are_not_known() {
    for (name, mut cluster, _) in left_over() {
        for keyspace in cluster.keyspaces.values_mut() {
            if let Piece::Known(keyspace) = keyspace {
                keyspace.unread.insert("a tablet is down".into());
            }
        }
        let (found, unknown) = cluster.leftovers();
        assert!(!unknown.is_empty(), "{name}");
        assert!(found.iter().all(|it| matches!(it.mechanism, M::PartitionInvalid | M::BinlogsGone)), "{name}: {found:?}");
    }
}
