//! Workflows that a failure or a hand has left, each with what is told of it.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use vtflow_planner::{
    proto::topodata::TabletType,
    traffic::{
        Phase,
        deviation::{Mechanism as M, Rerun},
        evidence::{Evidence, Keys, Piece, StreamState},
        kind::Kind,
        repair::Direction,
    },
};

use super::{
    evidence::{
        ALL, TABLES, before_journal, begin_back, cells, closed, create_reverse, deny, each, forward, multi_tenant, not_switched,
        partial, reads_switched, reverse, reversed, route, ruled, serve, set_rules, stop_for_cutover, stream, streams,
        two_sources, with, write_journals, write_journals_back, writes_switched,
    },
    healthy::{allow_reads, lock, mirror},
    reshard::{NEW, OLD, all_of, part, reshard, reshard_closed, reshard_writes, serve_shards, set_serving, take_along},
};

/// A case: what is there, the phase, what is found, whether running again heals it, where the ways out lead.
pub(super) type Case = (&'static str, Evidence, Phase, Vec<(M, Rerun, Vec<Direction>)>);

#[allow(clippy::too_many_lines, reason = "a table")]
pub(super) fn broken() -> Vec<Case> {
    use Direction::{Back, Forward, InPlace};
    use Phase::{
        BackStoppedAfterJournal, BackStoppedBeforeJournal, Contradictory, Ending, NotSwitched, ReadsSwitched,
        StoppedAfterJournal, StoppedBeforeJournal, WritesSwitched,
    };
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
            "T9 readable",
            with(writes_switched(), |it| {
                deny(&mut it.target, &TABLES[..1]);
                allow_reads(it);
            }),
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
            "half completed",
            with(writes_switched(), |it| {
                set_rules(it, &Keys::new());
                serve(it, &["zone1", "zone2"], &Keys::new());
                streams_of(it, true);
                deny(&mut it.source, &[]);
            }),
            Ending,
            vec![(M::CompletionInterrupted, Rerun::Heals, vec![Forward])],
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
            "a way back has stopped the streams",
            with(writes_switched(), |it| {
                reverse(it, |it| (it.state, it.message) = (StreamState::Stopped, "stopped for cutover".into()));
            }),
            BackStoppedBeforeJournal,
            vec![(M::ReversalInterrupted, Rerun::HealsAtAnyLag, vec![Back, Forward])],
        ),
        (
            "a way back has closed one shard",
            with(writes_switched(), |it| {
                let mut all = it.target.clone();
                deny(&mut all, &TABLES);
                it.target.shards.insert("80-".into(), all.shards["80-"].clone());
            }),
            BackStoppedBeforeJournal,
            vec![(M::ReversalInterrupted, Rerun::Heals, vec![Back, Forward])],
        ),
        (
            "a way back before its journal",
            with(writes_switched(), |it| {
                begin_back(it);
            }),
            BackStoppedBeforeJournal,
            vec![(M::ReversalInterrupted, Rerun::HealsAtAnyLag, vec![Back, Forward])],
        ),
        (
            "a way back was undone but for its streams",
            with(writes_switched(), |it| {
                begin_back(it);
                deny(&mut it.target, &[]);
                deny(&mut it.source, &TABLES);
                reverse(it, |it| (it.state, it.message) = (StreamState::Working, String::new()));
            }),
            BackStoppedBeforeJournal,
            vec![(M::ReversalInterrupted, Rerun::Heals, vec![Back, Forward])],
        ),
        (
            "a vtctld's way back before its journal",
            with(writes_switched(), |it| {
                begin_back(it);
                for shard in ["-80", "80-"] {
                    streams(&mut it.target, shard).retain(|it| it.message != "FROZEN");
                }
            }),
            BackStoppedBeforeJournal,
            vec![(M::ReversalInterrupted, Rerun::HealsAtAnyLag, vec![Back, Forward])],
        ),
        (
            "a way back has written a journal",
            with(writes_switched(), |it| {
                begin_back(it);
                write_journals_back(it, 1);
            }),
            BackStoppedAfterJournal,
            vec![(M::ReversalNotFinished, Rerun::HealsAtAnyLag, vec![Forward])],
        ),
        (
            "a way back was opened by hand after its journal",
            with(writes_switched(), |it| {
                begin_back(it);
                write_journals_back(it, 2);
                deny(&mut it.target, &[]);
            }),
            BackStoppedAfterJournal,
            vec![(M::ReversalNotFinished, Rerun::HealsAtAnyLag, vec![Forward])],
        ),
        (
            "a way back has routed writes",
            with(unswitched(writes_switched()), |it| {
                begin_back(it);
                write_journals_back(it, 2);
                for shard in ["-80", "80-"] {
                    streams(&mut it.target, shard).retain(|it| it.message != "FROZEN");
                }
            }),
            BackStoppedAfterJournal,
            vec![(M::ReversalNotFinished, Rerun::HealsAtAnyLag, vec![Forward, Forward])],
        ),
        (
            "an old journal of a way back",
            with(writes_switched(), |it| {
                write_journals_back(it, 1);
            }),
            WritesSwitched,
            vec![(M::JournalOfPreviousRun, Rerun::No, vec![])],
        ),
        (
            "a reshard's way back has closed",
            with(reshard_writes(), |it| {
                let parts = [part(ALL[0], &NEW, &[("40-80", true)]), part(ALL[1], &NEW, &[]), part(ALL[2], &NEW, &[])];
                serve_shards(it, &["zone1", "zone2"], &parts);
                each(&mut it.target, "mat2", |it| (it.state, it.message) = (StreamState::Stopped, "for cutover".into()));
            }),
            BackStoppedBeforeJournal,
            vec![(M::ReversalInterrupted, Rerun::Heals, vec![Back, Forward])],
        ),
        (
            "a reshard's way back has changed some records",
            with(reshard_writes(), |it| {
                reverse(it, |it| (it.state, it.message) = (StreamState::Stopped, "stopped for cutover".into()));
                write_journals_back(it, 2);
                set_serving(&mut it.target, false);
            }),
            BackStoppedAfterJournal,
            vec![(M::ReversalNotFinished, Rerun::HealsAtAnyLag, vec![Forward])],
        ),
        (
            "a reshard's way back has changed all records and one cell",
            with(reshard_writes(), |it| {
                reverse(it, |it| (it.state, it.message) = (StreamState::Stopped, "stopped for cutover".into()));
                write_journals_back(it, 2);
                set_serving(&mut it.target, false);
                set_serving(&mut it.source, true);
                serve_shards(it, &["zone1"], &all_of(&OLD));
            }),
            BackStoppedAfterJournal,
            vec![
                (M::ReversalNotFinished, Rerun::HealsAtAnyLag, vec![Forward]),
                (M::CellServesOldShards, Rerun::HealsAtAnyLag, vec![Forward]),
            ],
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
        (
            "half cancelled: opened",
            with(not_switched(), |it| {
                deny(&mut it.target, &[]);
                forward(it, |it| it.state = StreamState::Stopped);
            }),
            Ending,
            vec![(M::DeletionInterrupted, Rerun::Heals, vec![Forward, Back])],
        ),
        (
            "half cancelled: one shard opened, none of its streams left",
            with(not_switched(), |it| {
                let mut all = it.target.clone();
                deny(&mut all, &[]);
                it.target.shards = [("-80".to_owned(), all.shards["-80"].clone())].into();
                it.without_streams = BTreeSet::from(["80-".into()]);
                forward(it, |it| (it.state, it.message) = (StreamState::Stopped, "an error".into()));
            }),
            Ending,
            vec![(M::DeletionInterrupted, Rerun::Heals, vec![Forward, Back])],
        ),
        (
            "half cancelled: a partial move without rules",
            with(partial(false), |it| {
                set_rules(it, &Keys::new());
                serve(it, &["zone1", "zone2"], &Keys::new());
                forward(it, |it| it.state = StreamState::Stopped);
            }),
            Ending,
            vec![(M::DeletionInterrupted, Rerun::Heals, vec![Forward, Back])],
        ),
        (
            "half cancelled: a tenant without rules",
            with(multi_tenant(false), |it| {
                set_rules(it, &Keys::new());
                serve(it, &["zone1", "zone2"], &Keys::new());
                forward(it, |it| it.state = StreamState::Stopped);
            }),
            Ending,
            vec![(M::DeletionInterrupted, Rerun::Heals, vec![Forward, Back])],
        ),
        (
            "half cancelled: a migration opened",
            with(not_switched(), |it| {
                it.kind = Kind::Migrate;
                deny(&mut it.target, &[]);
                forward(it, |it| it.state = StreamState::Stopped);
            }),
            Ending,
            vec![(M::DeletionInterrupted, Rerun::Heals, vec![Forward])],
        ),
        ("S1", reshard_closed(), StoppedBeforeJournal, vec![(M::SourceShardsClosed, Rerun::Heals, vec![Back, Forward])]),
        (
            "S2",
            with(reshard_closed(), |it| hold(it, StreamState::Stopped, "for cutover")),
            StoppedBeforeJournal,
            vec![(M::SourceShardsClosed, Rerun::Heals, vec![Back, Forward]), (M::SourceStreamsStopped, Rerun::Heals, vec![Back])],
        ),
        (
            "S2 alone",
            with(reshard(), |it| hold(it, StreamState::Working, "synchronizing for cutover")),
            StoppedBeforeJournal,
            vec![(M::SourceStreamsStopped, Rerun::Heals, vec![Back])],
        ),
        (
            "S2 of a way back",
            with(reshard_writes(), |it| {
                each(&mut it.target, "mat2", |it| {
                    (it.state, it.message) = (StreamState::Stopped, "for cutover".into());
                });
                streams(&mut it.source, "-80").push(stream(25, "mat2", ("commerce", "0"), StreamState::Stopped, ""));
            }),
            WritesSwitched,
            vec![(M::SourceStreamsStopped, Rerun::Heals, vec![InPlace])],
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
            "S7 but for the old ones",
            with(reshard_writes(), |it| {
                streams(&mut it.source, "-80").push(stream(25, "mat2", ("commerce", "0"), StreamState::Stopped, "for cutover"));
            }),
            WritesSwitched,
            vec![(M::StreamCopiesStopped, Rerun::No, vec![Forward])],
        ),
        (
            "S7 but for the old ones, and nothing is frozen",
            with(reshard_writes(), |it| {
                stop_for_cutover(it);
                streams(&mut it.source, "-80").push(stream(25, "mat2", ("commerce", "0"), StreamState::Stopped, "for cutover"));
            }),
            StoppedAfterJournal,
            vec![
                (M::ForwardNotFrozen, Rerun::Heals, vec![Forward, Forward]),
                (M::StreamCopiesStopped, Rerun::HealsAtAnyLag, vec![Forward, Forward]),
            ],
        ),
        (
            "S8",
            with(reshard_writes(), |it| streams(&mut it.target, "-40")[0].message = "stopped for cutover".into()),
            StoppedAfterJournal,
            vec![(M::ForwardPartlyFrozen, Rerun::No, vec![InPlace])],
        ),
        (
            "S8 while a cell is behind",
            with(reshard_writes(), |it| {
                streams(&mut it.target, "-40")[0].message = "stopped for cutover".into();
                serve_shards(it, &["zone2"], &all_of(&OLD));
            }),
            StoppedAfterJournal,
            vec![
                (M::ForwardPartlyFrozen, Rerun::HealsAtAnyLag, vec![Forward]),
                (M::CellServesOldShards, Rerun::HealsAtAnyLag, vec![Forward]),
            ],
        ),
        (
            "S6 before anything is frozen",
            with(reshard_writes(), |it| {
                stop_for_cutover(it);
                serve_shards(it, &["zone2"], &all_of(&OLD));
            }),
            StoppedAfterJournal,
            vec![
                (M::ForwardNotFrozen, Rerun::Heals, vec![Forward]),
                (M::CellServesOldShards, Rerun::HealsAtAnyLag, vec![Forward]),
            ],
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

pub(super) fn hold(evidence: &mut Evidence, state: StreamState, message: &str) {
    each(&mut evidence.source, "mat2", |it| (it.state, it.message) = (state, message.into()));
}

/// Takes the forward or the reverse streams away.
pub(super) fn streams_of(evidence: &mut Evidence, reverse: bool) {
    let (name, side) =
        if reverse { (evidence.reverse(), &mut evidence.source) } else { (evidence.workflow.clone(), &mut evidence.target) };
    for shard in side.shards.values_mut() {
        if let Piece::Known(streams) = &mut shard.streams {
            streams.retain(|it| it.workflow != name);
        }
    }
}
