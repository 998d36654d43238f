//! The locks of a write: which are taken, what is said where one cannot be had, and what a forced request goes on without.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use vtflow_planner::{Answer, Ask, CallOptions, FailureKind, Mode, What, rpc};

use crate::{
    support::{Cluster, place, rows},
    writes::{STOPPED, UUID, error, migration, plan, running, state, update, writes},
};

const NAMED: &str = "internal/named_locks/ks/wf";
const WHOLE: &str = "keyspaces/ks";

fn options(force: bool, mode: Mode) -> CallOptions {
    CallOptions { force, mode, ..CallOptions::default() }
}

fn taken(asks: &[Ask]) -> Vec<&str> {
    let paths =
        asks.iter().filter_map(|ask| if let What::TopoLock { path, .. } = &ask.what { Some(path.as_str()) } else { None });
    paths.collect()
}

fn given_back(asks: &[Ask]) -> usize {
    asks.iter().filter(|ask| matches!(ask.what, What::TopoUnlock { .. })).count()
}

#[test]
fn a_forced_write_takes_the_locks_that_others_do_not_hold() {
    let mut cluster = running();
    cluster.global("keyspaces/ks/locks/42", b"{\n  \"Action\": \"SwitchWrites\"\n}".to_vec());
    let forced = r#"forced although keyspaces/ks/locks/42 is locked by { "Action": "SwitchWrites" }"#;
    let (reply, asks) = cluster.run(&update(state(STOPPED), options(true, Mode::Perform)));
    assert_eq!((taken(&asks), given_back(&asks), writes(&asks).len()), (vec![NAMED], 1, 2));
    assert_eq!(plan(&reply).warnings, [forced]);
    let (reply, asks) = cluster.run(&update(state(STOPPED), options(true, Mode::Preview)));
    assert_eq!((taken(&asks).len(), plan(&reply).locks.as_slice()), (0, [NAMED.to_owned()].as_slice()), "what would be locked");
    assert_eq!(plan(&reply).warnings, [forced]);
    // Whoever holds a lock of another directory is not in the way.
    let mut cluster = running();
    cluster.global("keyspaces/ks2/locks/42", Vec::new());
    let (reply, asks) = cluster.run(&update(state(STOPPED), options(false, Mode::Perform)));
    assert!(reply.result.is_ok());
    assert_eq!((taken(&asks), given_back(&asks)), (vec![NAMED, WHOLE], 2));
}

#[test]
fn where_nobody_can_tell_who_holds_a_lock_only_a_forced_write_goes_on() {
    let mut cluster = running();
    for path in [NAMED, WHOLE] {
        cluster.break_topo("global", &format!("{path}/locks/"), &format!("{path} is away"));
    }
    let (reply, asks) = cluster.run(&update(state(STOPPED), options(false, Mode::Perform)));
    assert_eq!(error(&reply), "internal/named_locks/ks/wf is away\nnothing was changed");
    assert_eq!((taken(&asks).len(), writes(&asks).len()), (0, 0));
    let (reply, asks) = cluster.run(&update(state(STOPPED), options(true, Mode::Perform)));
    assert_eq!((taken(&asks), writes(&asks).len()), (vec![NAMED, WHOLE], 2));
    assert_eq!(plan(&reply).warnings, ["forced although it is not known whether others hold a lock"], "once");
}

#[test]
fn a_directory_that_is_not_there_is_no_keyspace_or_a_lock_that_cannot_be_had() {
    let missing = |path: &str| {
        let mut cluster = running();
        let answer = Answer::Missing { node: format!("/vitess/global/{path}") };
        cluster.broken_topo.insert(("lock".into(), path.into()), answer);
        cluster
    };
    let (reply, asks) = missing(WHOLE).run(&update(state(STOPPED), options(false, Mode::Perform)));
    let want = "ks keyspace does not exist: node doesn't exist: /vitess/global/keyspaces/ks/shards/";
    assert_eq!((error(&reply), writes(&asks).len(), given_back(&asks)), (want, 0, 1));
    let (reply, asks) = missing(NAMED).run(&update(state(STOPPED), options(false, Mode::Perform)));
    let want = "failed to lock the ks/wf workflow: node doesn't exist: /vitess/global/internal/named_locks/ks/wf\n\
                nothing was changed: wait until it is given back, or force it";
    assert_eq!((error(&reply), writes(&asks).len(), given_back(&asks)), (want, 0, 0));
    let (reply, asks) = missing(NAMED).run(&update(state(STOPPED), options(true, Mode::Perform)));
    assert_eq!((writes(&asks).len(), given_back(&asks)), (2, 1));
    let text = "node doesn't exist: /vitess/global/internal/named_locks/ks/wf";
    let notes = reply.written.expect("a request that writes").notes;
    assert_eq!(notes, [format!("forced although {NAMED} could not be locked: {text}")]);
}

/// The cluster, in which no lock can be given back.
fn losing(mut cluster: Cluster, call: &vtflow_planner::Call) -> Cluster {
    let (_, asks) = cluster.run(call);
    let lost = Answer::Failed { kind: FailureKind::Status(5), message: "the lease is gone".into() };
    for ask in asks.iter().filter(|ask| matches!(ask.what, What::TopoUnlock { .. })) {
        cluster.faults.insert((place(ask), 0), lost.clone());
    }
    cluster
}

#[test]
fn a_lock_that_was_lost_on_the_way_is_a_note() {
    let call = update(state(STOPPED), options(false, Mode::Perform));
    let (reply, _) = losing(running(), &call).run(&call);
    assert!(reply.result.is_ok());
    let lost = |path: &str| format!("the lock of {path} was lost on the way: the lease is gone");
    assert_eq!(reply.written.expect("a request that writes").notes, [lost(NAMED), lost(WHOLE)]);
    // Of a request that takes one lock only it needs no name.
    let mut cluster = Cluster::new(&["0"]);
    cluster.answer(100, "migrations", rows(&["migration_uuid"], &[]));
    let call = migration(rpc::COMPLETE_SCHEMA_MIGRATION, UUID);
    let (reply, _) = losing(cluster, &call).run(&call);
    assert_eq!(reply.written.expect("a request that writes").notes, ["the lock was lost on the way: the lease is gone"]);
}
