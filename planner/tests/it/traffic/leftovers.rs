//! Rules and denied tables that belong to no workflow.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vtflow_planner::{
    proto::topodata::{Shard, SrvKeyspace, shard::TabletControl},
    traffic::{
        deviation::Mechanism as M,
        evidence::{Keys, Piece, Rules, Stream, StreamState},
        leftovers::{Broken, Cluster, Keyspace, Why, has_failed, says_binlogs_are_gone},
        sequences::{Column, Sequence},
    },
};

use super::{
    evidence::{ALL, not_switched, two_cells},
    reshard::{OLD, all_of, part},
};

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
        sequences: Vec::new(),
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

pub(super) fn left_over() -> Vec<(&'static str, Cluster, Vec<M>)> {
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
    let broken = |cluster: &mut Cluster, why| {
        let (place, keyspace_of) = ("customer/-80 stream 9".into(), "customer".into());
        keyspace(cluster, "customer").broken.push(Broken { place, keyspace: keyspace_of, workflow: "m9".into(), why });
    };
    let sequence = |cluster: &mut Cluster, next, after: i64| {
        let column = |table: &str, next| Column { table: table.into(), column: "id".into(), next };
        let columns = vec![column("customer.corder", after), column("customer.customer", (after - 1).max(1))];
        let (keyspace, shard, tablet) = ("commerce".into(), "-".into(), "zone1-0000000100".into());
        cluster.sequences.push(Sequence { keyspace, shard, tablet, table: "ids".into(), next, columns });
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
        (
            "T12 rules among others",
            with(&|it| {
                for (from, to) in [
                    ("customer.t9", "other.t9"),
                    ("other.t9@replica", "customer.t9"),
                    ("t9", "other.t9"),
                    ("t9@replica", "commerce.t9"),
                    ("commerce.t9", "commerce.t9"),
                    ("customer.t8", "customer.t8"),
                ] {
                    add_rule(it, |it| &mut it.tables, from, to);
                }
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
                broken(it, Why::GoneAsItSays(message.into()));
            }),
            vec![M::BinlogsGone],
        ),
        ("sequence behind", with(&|it| sequence(it, Some(12), 13)), vec![M::SequenceBehind]),
        ("sequence without a row", with(&|it| sequence(it, Some(0), 1)), vec![M::SequenceBehind]),
        ("no sequence", with(&|it| sequence(it, None, 1)), vec![M::SequenceBehind]),
        ("sequence ahead", with(&|it| sequence(it, Some(13), 13)), vec![]),
        (
            "binlogs purged",
            with(&|it| {
                let by = "commerce/0 zone1-0000000100".to_owned();
                broken(it, Why::Purged { by, transactions: "65b309ae-eb92-11f1-97ea-02fc00000001:1-3".into() });
            }),
            vec![M::BinlogsGone],
        ),
        (
            "failed",
            with(&|it| broken(it, Why::Failed { message: "no such table".into(), state: StreamState::Error })),
            vec![M::StreamFailed],
        ),
        (
            "failing",
            with(&|it| broken(it, Why::Failed { message: "error: gone".into(), state: StreamState::Working })),
            vec![M::StreamFailed],
        ),
        (
            "stopped at an error",
            with(&|it| {
                let message = "Stopped at DDL alter table error_codes".into();
                broken(it, Why::Failed { message, state: StreamState::Stopped });
            }),
            vec![M::StreamFailed],
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
        // They are looked at of those alone that are asked about.
        unwanted.sequences.clear();
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
        assert!(
            found
                .iter()
                .all(|it| matches!(it.mechanism, M::PartitionInvalid | M::BinlogsGone | M::StreamFailed | M::SequenceBehind)),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn what_is_not_known_is_told_by_the_kind_of_rule() {
    for (what, of) in
        [("mirror rules", (|it| &mut it.mirror) as fn(&mut Rules) -> &mut Piece<Keys>), ("routing rules", |it| &mut it.tables)]
    {
        let mut cluster = cluster();
        add_rule(&mut cluster, of, "commerce.t9@replica", "customer.t9");
        keyspace(&mut cluster, "customer").unread.insert("a tablet is down".into());
        let (_, unknown) = cluster.leftovers();
        let want = format!("whether {what} between commerce and customer belong to a workflow: a tablet is down");
        assert!(unknown.contains(&want), "{unknown:?}");
    }
}

#[test]
fn of_a_workflow_its_own_streams_are_told_whoever_asks() {
    let mut cluster = cluster();
    let of = |workflow: &str| Broken {
        place: workflow.into(),
        keyspace: "k".into(),
        workflow: workflow.into(),
        why: Why::GoneAsItSays("gone".into()),
    };
    for (name, workflow) in [("customer", "c2c"), ("customer", "c2c_reverse"), ("commerce", "c2c"), ("commerce", "c2c_reverse")] {
        keyspace(&mut cluster, name).broken.push(Broken { place: format!("{name} {workflow}"), ..of(workflow) });
    }
    let customer = keyspace(&mut cluster, "customer");
    customer.is_wanted = false;
    customer.unread_logs.insert("a tablet is down".into());
    let name = |keyspace: &str, workflow: &str| (keyspace.to_owned(), workflow.to_owned());
    let (found, unknown) = cluster.of_streams(&BTreeSet::from([name("customer", "c2c"), name("commerce", "c2c_reverse")]));
    let places: Vec<&str> = found.iter().flat_map(|it| &it.places).map(String::as_str).collect();
    assert_eq!(places, ["commerce c2c_reverse", "customer c2c"]);
    assert_eq!(unknown, BTreeSet::from(["a tablet is down".to_owned()]));
    assert_eq!(cluster.of_streams(&BTreeSet::from([name("other", "c2c")])), (vec![], BTreeSet::new()));
}

#[test]
fn what_is_not_known_of_binary_logs_is_told() {
    let mut cluster = cluster();
    keyspace(&mut cluster, "other").unread_logs.insert("a tablet is down".into());
    assert_eq!(cluster.leftovers(), (vec![], BTreeSet::from(["a tablet is down".to_owned()])));
}

#[test]
fn purged_binary_logs_are_told_from_other_errors() {
    for (message, is_it) in [
        (
            "vttablet: rpc error: Cannot replicate because the source purged required binary logs. (errno 1236) (sqlstate HY000)",
            true,
        ),
        ("Could not find first log file name in binary log index file", true),
        ("Duplicate entry '1' for key 'PRIMARY' (errno 1062) (sqlstate 23000)", false),
        ("", false),
    ] {
        assert_eq!(says_binlogs_are_gone(message), is_it, "{message}");
    }
}

#[test]
fn a_stream_has_failed_where_vtctld_switches_nothing_for_it() {
    let stream = |state, message: &str| Stream { state, message: message.into(), ..Stream::default() };
    for (state, message, want) in [
        (StreamState::Working, "", false),
        (StreamState::Working, "in copy phase", false),
        (StreamState::Working, "vttablet: rpc ERROR: code = Unavailable", true),
        (StreamState::Stopped, "stopped by hand", false),
        (StreamState::Stopped, "Error: no such table", true),
        (StreamState::Stopped, "FROZEN", false),
        (StreamState::Error, "no such table", true),
    ] {
        assert_eq!(has_failed(&stream(state, message)), want, "{message}");
    }
}
