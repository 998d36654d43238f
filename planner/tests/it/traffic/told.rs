//! What is told of a workflow: its phase, what is wrong, since when, and the ways out.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use vtflow_planner::{
    proto::topodata::TabletType,
    traffic::{
        Phase,
        deviation::{Deviation, Mechanism as M, Rerun},
        diagnose,
        evidence::{Evidence, Keys, Piece},
        phase,
        repair::{Action, Direction},
    },
};

use super::{
    broken::broken,
    evidence::{
        ALL, NOW, TABLES, before_journal, closed, forward, not_switched, reads_switched, route, ruled, serve, stop_for_cutover,
        streams, with, writes_switched,
    },
    healthy::{healthy, lock},
    leftovers::left_over,
};

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

/// Deviations as lines: name, whether running again heals it, since when, whom it hurts; the places; the ways out, step by step.
fn lines(deviations: &[Deviation]) -> String {
    let mut text = String::new();
    for it in deviations {
        text.extend([format!("  {} (rerun: {}, since {}): {}\n", it.mechanism.name(), it.rerun.name(), it.since, it.hurts)]);
        text.extend(it.places.iter().map(|place| format!("    at {place}\n")));
        for repair in &it.repairs {
            text.extend([format!("    {}\n", repair.direction.name())]);
            text.extend(repair.actions.iter().map(|action| format!("      {action:?}\n")));
        }
    }
    text
}

/// Every word that people read of every case. What has changed here is to be read, and put into the file if it is right.
#[test]
fn every_case_is_told_in_these_words() {
    let mut text = String::new();
    for (name, evidence, ..) in broken() {
        let found = diagnose(&evidence, NOW);
        text.extend([format!("{name}: {}\n{}", found.phase.name(), lines(&found.deviations))]);
        text.extend(found.unknown.iter().map(|why| format!("  not known: {why}\n")));
    }
    for (name, cluster, _) in left_over() {
        let (found, unknown) = cluster.leftovers();
        text.extend([format!("{name}\n{}", lines(&found))]);
        text.extend(unknown.iter().map(|why| format!("  not known: {why}\n")));
    }
    let differs = text.lines().zip(include_str!("told.txt").lines()).find(|(now, then)| now != then);
    assert_eq!(differs, None);
    assert_eq!(text, include_str!("told.txt"));
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
fn reads_are_switched_by_tablet_type_and_cell() {
    let one_cell = |served: &[TabletType]| {
        let mut keys = Keys::new();
        for of in ALL {
            route(&mut keys, of, served.contains(&of));
        }
        with(not_switched(), |it| serve(it, &["zone2"], &keys))
    };
    for (evidence, want) in [
        (not_switched(), &[][..]),
        (reads_switched(), &["replica", "rdonly"]),
        (with(not_switched(), |it| ruled(it, &[TabletType::Rdonly])), &["rdonly"]),
        (one_cell(&[TabletType::Replica, TabletType::Rdonly]), &["replica in zone2", "rdonly in zone2"]),
        (one_cell(&[TabletType::Primary]), &[]),
    ] {
        assert_eq!(vtflow_planner::traffic::phase::reads_switched(&evidence), want);
    }
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
