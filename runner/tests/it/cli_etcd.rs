//! The program against a cluster that is alive: a real etcd, tablets behind sockets, the flags that operators know.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use crate::support::{
    live::{Live, ROOT},
    program::{Ran, recorded, snapshot_flag, vtflow, vtflow_within},
};
use tempfile::TempDir;
use vtflow::embedded::{Cell, Fault, Snapshot};

fn live_args<'a>(live: &Live, args: &[&'a str]) -> Vec<String> {
    let mut all = live.flags();
    all.extend(args.iter().map(|arg: &&'a str| (*arg).to_owned()));
    all
}

fn recorded_args(directory: &Path, args: &[&str]) -> Vec<String> {
    snapshot_flag(directory).into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
}

/// The same request to the live cluster and to the recording says the same.
fn assert_same(live: &Live, directory: &Path, args: &[&str]) -> Ran {
    let (alive, taped) = (vtflow(&live_args(live, args)), vtflow(&recorded_args(directory, args)));
    let what = format!("{} {args:?}", directory.display());
    assert_eq!(alive.code, taped.code, "{what}: {}{}", alive.stderr, taped.stderr);
    assert_eq!(alive.stderr, taped.stderr, "{what}");
    assert_eq!(alive.json(), taped.json(), "{what}");
    alive
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_cluster_says_what_its_recording_says() {
    for (name, keyspace, code) in [
        ("movetables-running", "customer", 0),
        // A stream's state is none.
        ("odd-rows", "customer", 1),
        ("mixed-releases", "mixed", 0),
        ("shards-without-primary", "customer", 1),
    ] {
        let directory = recorded(name);
        let live = Live::start(Snapshot::load(&directory).unwrap()).await;
        for more in [&[][..], &["--logs"], &["--active-only"]] {
            let ran = assert_same(&live, &directory, &[&["get", "workflows", keyspace, "-o", "json"], more].concat());
            assert_eq!(ran.code, code, "{name}: {}", ran.stderr);
            let workflows = ran.json()["workflows"].as_array().unwrap().len();
            assert!(workflows > 0, "{name} {more:?}: nothing would prove nothing");
        }
        let names = vtflow(&live_args(&live, &["get", "workflows", keyspace, "-o", "name"]));
        assert_eq!(names.stdout, vtflow(&recorded_args(&directory, &["get", "workflows", keyspace, "-o", "name"])).stdout);
        assert!(names.stdout.lines().count() >= 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_taken_in_both_spellings_and_in_any_place() {
    let live = Live::start(Snapshot::load(&recorded("movetables-running")).unwrap()).await;
    let address = live.etcd.address();
    let command = ["get", "workflows", "customer", "-o", "json"];
    let want = vtflow(&live_args(&live, &command));
    assert_eq!(want.code, 0, "{}", want.stderr);
    let dashes = ["--topo-implementation", "etcd2", "--topo-global-server-address", &address, "--topo-global-root", ROOT];
    let underscores = ["--topo_implementation", "etcd2", "--topo_global_server_address", &address, "--topo_global_root", ROOT];
    let joined = [
        "--topo_implementation=etcd2".to_owned(),
        format!("--topo_global_server_address={address}"),
        format!("--topo_global_root={ROOT}/"),
    ];
    let joined = joined.each_ref().map(String::as_str);
    for (what, args) in [
        ("dashes, in front", [&dashes[..], &command].concat()),
        ("underscores, in front", [&underscores[..], &command].concat()),
        ("underscores, behind", [&command[..], &underscores].concat()),
        ("joined, the root with a slash", [&joined[..], &command].concat()),
        ("a shard that begins with a dash", [&dashes[..], &command, &["--shards", "-80,80-"]].concat()),
    ] {
        let ran = vtflow(&args);
        assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
        assert_eq!(ran.json(), want.json(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_topology_cannot_answer_fails_and_says_where() {
    let mut live = Live::start(Snapshot::load(&recorded("movetables-running")).unwrap()).await;
    let nobody = vtflow(&live_args(&live, &["get", "workflows", "nope", "-o", "json"]));
    assert_eq!((nobody.code, nobody.stdout.as_str()), (2, ""), "{}", nobody.stderr);
    let mut said = nobody.stderr.lines();
    assert_eq!(said.next(), Some(format!("error: node doesn't exist: {ROOT}/keyspaces/nope/shards/").as_str()));
    assert!(said.next().is_some_and(|hint| hint.trim().starts_with("try: ")), "{}", nobody.stderr);

    let elsewhere = ["--topo-implementation", "etcd2", "--topo-global-root", "/elsewhere", "--topo-global-server-address"];
    let address = live.etcd.address();
    let ran = vtflow(&[&elsewhere[..], &[&address, "get", "workflows", "customer"]].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("node doesn't exist: /elsewhere/keyspaces/customer/shards/"), "{}", ran.stderr);

    for bad in ["../global", "", "a/b", "..", &"k".repeat(65)] {
        let ran = vtflow(&live_args(&live, &["get", "workflows", bad]));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{bad:?}");
        assert!(ran.stderr.contains(&format!("keyspace {bad:?} cannot exist")), "{bad:?}: {}", ran.stderr);
    }
    let ran = vtflow(&live_args(&live, &["get", "workflows", "customer", "--shards", "-40"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("shard -40 not found in keyspace customer"), "{}", ran.stderr);

    // The default deadline is 5 s: the limit is below what a second one would take, and far above one of 500 ms.
    let patient = Duration::from_secs(9);
    let command = live_args(&live, &["get", "workflows", "customer", "-o", "json", "--topo-deadline", "500ms"]);
    live.etcd.pause();
    let silent = vtflow_within(patient, &command);
    live.etcd.resume();
    live.etcd.stop();
    let gone = vtflow_within(patient, &command);
    // Vitess' own text of a read that took too long names the record; one that could not begin names the server.
    let node = format!("{ROOT}/keyspaces/customer/shards/");
    for (what, ran, place) in [("silent", silent, &node), ("gone", gone, &address)] {
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{what}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains(place), "{what}: {}", ran.stderr);
    }
    live.etcd.restart();
    let back = vtflow(&live_args(&live, &["get", "workflows", "customer", "-o", "json"]));
    assert_eq!(back.code, 0, "{}", back.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_calls_no_tablet() {
    let snapshot = Snapshot::load(&recorded("movetables-running")).unwrap();
    let all_down = snapshot.tablets.keys().map(|alias| (alias.clone(), Fault::Down)).collect();
    let mut live = Live::empty();
    live.become_like(snapshot, all_down).await;
    let ran = vtflow(&live_args(&live, &["plan", "workflows", "customer", "--logs"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    for text in ["keyspaces/customer/shards/", "zone1-0000000200", "zone2-0000000300", "_vt.vreplication_log"] {
        assert!(ran.stdout.contains(text), "{text} in\n{}", ran.stdout);
    }
    assert!(ran.stdout.trim_end().ends_with("3 rounds, 2 tablets, 2 statements, all reads"), "{}", ran.stdout);
}

/// The rows of a table as maps, without regard to the order of rows.
fn rows(snapshot: &Snapshot, alias: &str, table: &str) -> BTreeSet<String> {
    let table = &snapshot.tablets[alias].sidecar[table];
    let row = |row: &Vec<Cell>| {
        let named: BTreeMap<&str, &Cell> = table.columns.iter().map(|column| column.name.as_str()).zip(row).collect();
        format!("{named:?}")
    };
    table.rows.iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_snapshot_is_the_cluster_it_was_taken_of() {
    for (name, keyspaces) in [
        ("movetables-running", &["customer", "commerce"][..]),
        ("odd-rows", &["customer", "commerce"]),
        ("mixed-releases", &["mixed", "customer", "commerce"]),
    ] {
        let original = Snapshot::load(&recorded(name)).unwrap();
        let live = Live::start(original.clone()).await;
        let directory = TempDir::new().unwrap();
        let saved = directory.path().join("bundle");
        let path = saved.display().to_string();
        let save = [&["snapshot", "save", &path][..], keyspaces].concat();
        let ran = vtflow(&live_args(&live, &save));
        let unanswering = original.topo.iter().filter(|record| {
            let alias = record.path.strip_prefix("tablets/").and_then(|rest| rest.strip_suffix("/Tablet"));
            alias.is_some_and(|alias| !original.tablets.contains_key(alias))
        });
        let want = i32::from(unanswering.count() > 0);
        assert_eq!((ran.code, ran.stdout.as_str()), (want, ""), "{name}: {}", ran.stderr);

        for keyspace in keyspaces {
            for more in [&[][..], &["--logs"]] {
                let args = [&["get", "workflows", keyspace, "-o", "json"], more].concat();
                let (now, then) = (vtflow(&recorded_args(&saved, &args)), vtflow(&recorded_args(&recorded(name), &args)));
                assert_eq!(now.code, then.code, "{name} {args:?}: {}{}", now.stderr, then.stderr);
                assert_eq!(now.json(), then.json(), "{name} {args:?}");
            }
        }
        let copy = Snapshot::load(&saved).unwrap();
        assert_eq!(copy.tablets.keys().collect::<Vec<_>>(), original.tablets.keys().collect::<Vec<_>>(), "{name}");
        for (alias, tablet) in &original.tablets {
            for table in tablet.sidecar.keys() {
                assert_eq!(rows(&copy, alias, table), rows(&original, alias, table), "{name} {alias} {table}");
            }
        }

        let again = vtflow(&live_args(&live, &save));
        assert_eq!(again.code, 2, "{name}: a directory that holds something is left alone");
        assert!(again.stderr.contains(&path) && again.stderr.contains("is not empty"), "{}", again.stderr);
    }
}
