//! What cannot be read is said, and nobody is sent back where a journal is or may be.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use vtflow_planner::traffic::{
    diagnose,
    evidence::{Evidence, Piece},
    journal::migration_id,
    kind::Kind,
    repair::Direction,
};

use super::{
    broken::broken,
    evidence::{NOW, cells, with, write_journals, write_journals_back},
    healthy::healthy,
};

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
    let is_back_open = evidence.reverse_streams().iter().any(|(_, it)| !it.is_frozen());
    if is_back_open && !matches!(evidence.kind, Kind::Migrate | Kind::MultiTenant) {
        for shard in evidence.target.shards.keys() {
            add("journals of the way back", &|it| it.target.shards.get_mut(shard).unwrap().journals = Piece::Unknown(why()));
        }
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

/// Whether the side that is left has a journal of the streams that are there, or may have one.
fn may_have_journal(evidence: &Evidence, is_way_back: bool) -> bool {
    let (from, to) = if is_way_back { (&evidence.target, &evidence.source) } else { (&evidence.source, &evidence.target) };
    let streams = if is_way_back { evidence.reverse_streams() } else { evidence.forward_streams() };
    let id = migration_id(&to.keyspace, streams.iter().map(|(shard, it)| (*shard, it.id)));
    let mut journals = from.shards.values().map(|it| &it.journals);
    journals.any(|it| it.unknown().is_some() || it.known().is_some_and(|it| it.contains_key(&id)))
}

fn never_back_after_a_journal(name: &str, evidence: &Evidence) {
    let found = diagnose(evidence, NOW);
    let is_back = found.deviations.iter().flat_map(|it| &it.repairs).any(|it| it.direction == Direction::Back);
    let is_way_back = found.phase.name().starts_with("back_stopped_");
    assert!(!is_back || !may_have_journal(evidence, is_way_back), "{name}: {found:?}");
}

#[test]
fn nobody_goes_back_where_a_journal_is_or_may_be() {
    for (name, evidence) in CASES.iter() {
        never_back_after_a_journal(name, evidence);
        never_back_after_a_journal(name, &with(evidence.clone(), |it| write_journals(it, 1)));
        never_back_after_a_journal(name, &with(evidence.clone(), |it| write_journals_back(it, 1)));
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
