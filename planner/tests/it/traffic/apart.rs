//! Workflows that look alike and are told apart: what one more fact changes of what is told, and what it must not change.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use vtflow_planner::{
    proto::topodata::TabletType,
    traffic::{
        Phase,
        deviation::{Mechanism as M, Rerun},
        diagnose,
        evidence::{Evidence, Keys, Piece, StreamState},
        kind::Kind,
        phase,
        phase::reads_switched,
        repair::{Action, Direction, Repair},
    },
};

use super::{
    broken::{hold, streams_of},
    evidence::{
        ALL, NOW, TABLES, before_journal, closed, create_reverse, deny, forward, multi_tenant, not_switched, partial, route,
        serve, set_rules, shard, stop_for_cutover, stream, streams, two_sources, with, write_journals, writes_switched,
    },
    healthy::lock,
    reshard::{reshard, reshard_closed, reshard_writes, take_along},
};

fn found(evidence: &Evidence) -> Vec<(M, Rerun)> {
    diagnose(evidence, NOW).deviations.iter().map(|it| (it.mechanism, it.rerun)).collect()
}

fn mechanisms(evidence: &Evidence) -> Vec<M> {
    found(evidence).into_iter().map(|(mechanism, _)| mechanism).collect()
}

/// The ways out of one deviation.
fn repairs(evidence: &Evidence, mechanism: M) -> Vec<Repair> {
    let mut all = diagnose(evidence, NOW).deviations.into_iter();
    all.find(|it| it.mechanism == mechanism).unwrap_or_else(|| panic!("no {mechanism:?}: {:?}", found(evidence))).repairs
}

/// The statements of the ways out in one direction, with the shards they are for.
fn statements(evidence: &Evidence, mechanism: M, direction: Direction) -> Vec<(String, String)> {
    let actions = repairs(evidence, mechanism).into_iter().filter(|it| it.direction == direction).flat_map(|it| it.actions);
    actions
        .filter_map(|action| match action {
            Action::Statement { shard, statement, .. } => Some((shard, statement)),
            _ => None,
        })
        .collect()
}

fn rules(evidence: &mut Evidence, keys: &[(&str, &str)]) {
    let keys: Keys = keys.iter().map(|(from, to)| ((*from).to_owned(), vec![(*to).to_owned()])).collect();
    set_rules(evidence, &keys);
    serve(evidence, &["zone1", "zone2"], &keys);
}

fn somebody_elses(state: StreamState) -> vtflow_planner::traffic::evidence::Stream {
    stream(60, "x", ("far", "0"), state, "")
}

#[test]
fn kinds_have_the_names_that_documents_use() {
    let kinds = [Kind::Standard, Kind::Partial, Kind::MultiTenant, Kind::Migrate, Kind::Reshard];
    assert_eq!(kinds.map(Kind::name), ["standard", "partial", "multi_tenant", "migrate", "reshard"]);
}

#[test]
fn a_journal_is_this_switchs_own_where_its_streams_are_stopped_for_it() {
    let own = with(not_switched(), |it| {
        write_journals(it, 1);
        stop_for_cutover(it);
    });
    assert_eq!(phase(&own), Phase::StoppedAfterJournal);
    assert_eq!(found(&own), [(M::JournalWithoutRouting, Rerun::HealsAtAnyLag)]);
    let old = with(not_switched(), |it| write_journals(it, 1));
    assert_eq!(found(&old), [(M::JournalOfPreviousRun, Rerun::No)]);
}

#[test]
fn only_of_a_reshard_with_streams_missing_source_shards_are_its_end() {
    let gone = |mut evidence: Evidence| {
        evidence.source.shards.values_mut().for_each(|it| it.record = Piece::Missing);
        evidence
    };
    assert_eq!(mechanisms(&gone(reshard_writes())), [M::SourceShardsGone]);
    // Of tables it is something that nobody can tell from what is there.
    let tables = gone(writes_switched());
    assert!(matches!(phase(&tables), Phase::Unknown(_)), "{:?}", phase(&tables));
    assert!(!mechanisms(&tables).contains(&M::SourceShardsGone));
    // Without its streams nothing of the reshard is left to end.
    let over = with(gone(reshard_writes()), |it| streams_of(it, false));
    assert!(!mechanisms(&over).contains(&M::SourceShardsGone), "{:?}", found(&over));
    // What else would be told of its streams is nothing next to that.
    let partly = with(gone(reshard_writes()), |it| streams(&mut it.target, "-40")[0].message = "stopped for cutover".into());
    assert_eq!(mechanisms(&partly), [M::SourceShardsGone]);
}

#[test]
fn a_deletion_takes_cells_and_tablet_types_together() {
    for (cells, has_tablet_types) in [("", true), ("zone1", false)] {
        let evidence = with(not_switched(), |it| {
            forward(it, |it| {
                (it.state, it.cells, it.has_tablet_types) = (StreamState::Stopped, cells.into(), has_tablet_types);
            });
        });
        assert_eq!((phase(&evidence), found(&evidence)), (Phase::NotSwitched, vec![]), "{cells} {has_tablet_types}");
    }
}

#[test]
fn tables_routed_both_ways_after_a_journal_are_no_step_of_a_switch() {
    let evidence = with(before_journal(), |it| {
        write_journals(it, 1);
        let mut keys = Keys::new();
        for of in ALL {
            route(&mut keys, of, false);
        }
        keys.insert("commerce.corder".into(), vec!["customer.corder".into()]);
        set_rules(it, &keys);
    });
    assert_eq!(phase(&evidence), Phase::Contradictory);
}

#[test]
fn shards_are_switched_together() {
    let two = |keys: &[(&str, &str)]| {
        with(partial(false), |it| {
            it.source.shards.insert("80-".into(), shard(110, true, vec![]));
            rules(it, keys);
        })
    };
    for (keys, is_split) in [
        (&[("commerce.-80", "customer"), ("commerce.80-", "customer")][..], false),
        (&[("commerce.-80", "customer")], true),
        (&[("commerce.-80", "customer"), ("customer.80-", "commerce")], true),
        (&[("customer.-80", "commerce"), ("customer.80-", "commerce")], false),
        (&[], false),
    ] {
        assert_eq!(mechanisms(&two(keys)).contains(&M::RoutedDifferentWays), is_split, "{keys:?}");
    }
    let both = with(partial(true), |it| rules(it, &[("commerce.-80", "customer"), ("customer.-80", "commerce")]));
    assert!(mechanisms(&both).contains(&M::RoutedDifferentWays), "one shard with rules in both directions");
}

#[test]
fn reads_of_shards_have_no_rules_of_their_own() {
    assert_eq!(reads_switched(&partial(true)), Vec::<String>::new());
    let old = Keys::from([("customer.-80".to_owned(), vec!["commerce".to_owned()])]);
    let behind = with(partial(true), |it| serve(it, &["zone2"], &old));
    assert_eq!(mechanisms(&behind), [M::CellServesOldRouting]);
    assert_eq!(reads_switched(&multi_tenant(true)), ["replica", "rdonly"], "those of a tenant have");
}

#[test]
fn writes_are_called_closed_only_where_it_is_known() {
    let half = with(two_sources(not_switched()), |it| {
        deny(&mut it.source, &TABLES);
        it.source.shards.get_mut("80-").unwrap().record = Piece::Unknown("down".into());
    });
    let told = diagnose(&half, NOW);
    assert_eq!(found(&half), []);
    assert!(told.unknown.iter().any(|why| why.contains("down")), "{:?}", told.unknown);
    // Where something else is not known, that they are closed is told, and no way out: the one back may be wrong.
    let unclear = |evidence| with(evidence, |it| it.unclear.extend(["something".to_owned()]));
    for (evidence, want) in [
        (unclear(not_switched()), &[][..]),
        (unclear(closed()), &[M::WritesClosed]),
        (unclear(reshard()), &[]),
        (unclear(reshard_closed()), &[M::SourceShardsClosed]),
    ] {
        assert_eq!(mechanisms(&evidence), want);
        assert!(diagnose(&evidence, NOW).deviations.iter().all(|it| it.repairs.is_empty()), "{:?}", evidence.kind);
    }
}

#[test]
fn streams_of_the_reshard_itself_are_not_taken_along() {
    // One of an earlier reshard of the same name was left on the source.
    let evidence = with(reshard(), |it| {
        streams(&mut it.source, "-80").push(stream(9, "r1", ("customer", "0"), StreamState::Stopped, ""));
        forward(it, |it| it.state = StreamState::Stopped);
    });
    assert_eq!(found(&evidence), []);
}

#[test]
fn a_switch_goes_on_also_where_one_has_stopped_streams_of_others() {
    for (state, message) in [
        (StreamState::Stopped, ""),
        (StreamState::Stopped, "by hand"),
        (StreamState::Working, "synchronizing for cutover"),
        (StreamState::Stopped, "for cutover"),
    ] {
        let evidence = with(reshard_closed(), |it| hold(it, state, message));
        let held = found(&evidence).contains(&(M::SourceStreamsStopped, Rerun::Heals));
        assert_eq!(held, message.contains("for cutover"), "{message}");
        assert!(found(&evidence).contains(&(M::SourceShardsClosed, Rerun::Heals)), "{message}: {:?}", found(&evidence));
    }
}

#[test]
fn only_stopped_copies_of_streams_that_are_on_both_sides_are_undone() {
    let evidence = with(reshard_closed(), |it| {
        stop_for_cutover(it);
        take_along(it, StreamState::Stopped);
        streams(&mut it.target, "40-80").last_mut().unwrap().state = StreamState::Working;
        streams(&mut it.target, "40-80").push(somebody_elses(StreamState::Stopped));
    });
    let deleted = |mechanism| {
        let all = statements(&evidence, mechanism, Direction::Back).into_iter();
        all.filter(|(_, it)| it.starts_with("delete")).collect::<Vec<_>>()
    };
    let delete = "delete from _vt.vreplication where id in (2) and db_name = 'vt' and workflow = 'mat2'";
    assert_eq!(deleted(M::SourceShardsClosed), [("-40".to_owned(), delete.to_owned())]);
    assert_eq!(deleted(M::StreamCopiesLeft), [("-40".to_owned(), delete.to_owned())]);
    let left = diagnose(&evidence, NOW).deviations.into_iter().find(|it| it.mechanism == M::StreamCopiesLeft).expect("it");
    assert_eq!(left.places, ["customer/-40 zone1-0000000400 stream 2"]);
}

#[test]
fn streams_of_others_go_back_only_where_no_journal_is_or_may_be() {
    let held = with(reshard(), |it| hold(it, StreamState::Stopped, "for cutover"));
    assert_eq!(mechanisms(&held), [M::SourceStreamsStopped]);
    let unclear = with(held.clone(), |it| it.unclear.extend(["something".to_owned()]));
    assert_eq!(mechanisms(&unclear), []);
    let is_of_others = |it: &M| matches!(it, M::SourceStreamsStopped | M::StreamCopiesLeft | M::StreamCopiesStopped);
    let of_others = |evidence: &Evidence| mechanisms(evidence).into_iter().filter(is_of_others).collect::<Vec<_>>();
    // Not switched, and a journal: whose it is decides, and it is told as that.
    let journal = with(held, |it| {
        take_along(it, StreamState::Stopped);
        write_journals(it, 1);
    });
    assert_eq!(of_others(&journal), []);
    // Switched, and no journal: neither way is one that a switch goes.
    let by_hand = with(reshard_writes(), |it| {
        streams(&mut it.source, "-80").push(stream(25, "mat2", ("commerce", "0"), StreamState::Stopped, "for cutover"));
        super::evidence::each(&mut it.target, "mat2", |it| it.state = StreamState::Stopped);
    });
    assert_eq!(of_others(&by_hand), [M::StreamCopiesStopped]);
    let by_hand = with(by_hand, |it| {
        it.source.shards.values_mut().for_each(|it| it.journals = Piece::Known([].into()));
    });
    assert_eq!(of_others(&by_hand), []);
}

#[test]
fn of_a_migration_from_elsewhere_only_its_own_streams_count() {
    let evidence = with(not_switched(), |it| {
        it.kind = Kind::Migrate;
        create_reverse(it, StreamState::Working, "");
    });
    assert_eq!(found(&evidence), []);
}

#[test]
fn a_lock_without_a_time_says_nothing_of_since_when() {
    let evidence = with(closed(), |it| {
        stop_for_cutover(it);
        it.locks = Piece::Known(vec![lock("internal/named_locks/customer/c2c/locks/1", NOW)]);
    });
    assert_eq!(diagnose(&evidence, NOW).deviations[0].since, NOW - 60);
}

#[test]
fn frozen_reverse_streams_and_those_of_others_stay_when_a_switch_is_undone() {
    let evidence = with(before_journal(), |it| {
        let reverse = it.reverse();
        let all = streams(&mut it.source, "-");
        all.push(stream(59, &reverse, ("customer", "-80"), StreamState::Stopped, "FROZEN"));
        all.push(somebody_elses(StreamState::Stopped));
    });
    let all = statements(&evidence, M::WritesClosedReverseCreated, Direction::Back);
    let deleted: Vec<&str> = all.iter().map(|(_, it)| it.as_str()).filter(|it| it.starts_with("delete")).collect();
    assert_eq!(deleted, ["delete from _vt.vreplication where id in (50, 51) and db_name = 'vt' and workflow = 'c2c_reverse'"]);
}

#[test]
fn that_there_are_no_forward_streams_is_said_only_where_all_are_known() {
    let none = with(writes_switched(), |it| streams_of(it, false));
    assert_eq!(mechanisms(&none), [M::ReverseWithoutForward]);
    let unread = with(none.clone(), |it| it.target.shards.get_mut("80-").unwrap().streams = Piece::Unknown("down".into()));
    assert_eq!(mechanisms(&unread), []);
    assert_eq!(mechanisms(&with(none, |it| it.unclear.extend(["something".to_owned()]))), []);
}

#[test]
fn streams_back_are_missed_once_the_switch_has_gone_as_far() {
    let lacks = |mut evidence: Evidence| {
        streams(&mut evidence.source, "-").pop();
        mechanisms(&evidence)
    };
    assert_eq!(lacks(writes_switched()), [M::ReverseIncomplete]);
    // By the journal alone, and by the frozen streams alone.
    assert_eq!(lacks(with(writes_switched(), stop_for_cutover)), [M::ForwardNotFrozen, M::ReverseIncomplete]);
    let no_journal = |it: &mut Evidence| it.source.shards.values_mut().for_each(|it| it.journals = Piece::Known([].into()));
    assert_eq!(lacks(with(writes_switched(), no_journal)), [M::ReverseIncomplete]);
}

#[test]
fn of_the_streams_back_only_those_that_stand_still_are_started() {
    let evidence = with(writes_switched(), |it| {
        let all = streams(&mut it.source, "-");
        all[0].state = StreamState::Stopped;
        all.push(somebody_elses(StreamState::Stopped));
    });
    let started = statements(&evidence, M::ReverseStopped, Direction::InPlace);
    assert_eq!(started.len(), 1, "{started:?}");
    assert!(started[0].1.contains(" where id in (50) ") && started[0].1.contains("'c2c_reverse'"), "{started:?}");
}

#[test]
fn writes_by_old_rules_are_refused_where_the_source_is_closed() {
    let behind = |is_closed: bool| {
        let evidence = with(writes_switched(), |it| {
            let mut keys = Keys::new();
            for of in ALL {
                route(&mut keys, of, of != TabletType::Primary);
            }
            serve(it, &["zone2"], &keys);
            if !is_closed {
                deny(&mut it.source, &[]);
            }
        });
        let mut all = diagnose(&evidence, NOW).deviations.into_iter();
        all.find(|it| it.mechanism == M::CellServesOldRouting).expect("a cell that is behind").hurts
    };
    assert!(behind(true).ends_with(": they are refused there"), "{}", behind(true));
    assert!(!behind(false).contains("refused"), "{}", behind(false));
}
