//! Workflows of which there is nothing to tell but their phase.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use vtflow_planner::traffic::{
    Phase,
    evidence::{Evidence, Keys, Lock, Piece, StreamState},
    kind::Kind,
};

use super::{
    evidence::{
        NOW, TABLES, deny, each, finish, forward, multi_tenant, not_switched, partial, reads_switched, reversed, serve,
        set_rules, two_sources, with, writes_switched,
    },
    reshard::{reshard, reshard_reads, reshard_reversed, reshard_writes},
};

pub(super) fn healthy() -> Vec<(&'static str, Evidence, Phase)> {
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
        (
            "without cells and tablet types",
            with(not_switched(), |it| forward(it, |it| (it.cells, it.has_tablet_types) = (String::new(), false))),
            Phase::NotSwitched,
        ),
        (
            "stopped with a message, without cells and tablet types",
            with(not_switched(), |it| {
                forward(it, |it| {
                    (it.cells, it.has_tablet_types) = (String::new(), false);
                    (it.state, it.message) = (StreamState::Stopped, "by hand".into());
                });
            }),
            Phase::NotSwitched,
        ),
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

pub(super) fn mirror(evidence: &mut Evidence) {
    let rules = TABLES.map(|table| (format!("commerce.{table}@replica"), vec![format!("customer.{table}")]));
    Arc::make_mut(&mut evidence.rules).mirror = Piece::Known(rules.into());
}

pub(super) fn allow_reads(evidence: &mut Evidence) {
    for shard in evidence.target.shards.values_mut() {
        let Piece::Known(record) = &mut shard.record else { panic!("a record") };
        record.tablet_controls.iter_mut().for_each(|it| it.allow_reads = true);
    }
}

pub(super) fn lock(path: &str, age: i64) -> Lock {
    Lock {
        path: path.into(),
        action: "WorkflowSwitchTraffic".into(),
        holder: "vt@vm".into(),
        since: NOW - age,
        ..Lock::default()
    }
}
