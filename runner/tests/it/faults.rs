//! The program in front of a broken cluster: tablets in every kind of trouble, damaged recordings, names that lead elsewhere.
//!
//! What is known is shown, what is missing is named, the exit code says which it was, and it ends in time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::support::{
    live::Live,
    program::{Ran, copied, recorded, snapshot_flag, vtflow, vtflow_within},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use vtflow::embedded::{Fault, Snapshot};

/// The primaries of the recorded keyspace `customer`: shard and tablet.
const PRIMARIES: [(&str, &str); 2] = [("-80", "zone1-0000000200"), ("80-", "zone2-0000000300")];

/// Each fault, and what people read of it.
const FAULTS: [(Fault, &str); 4] = [
    (Fault::Down, "refused"),
    (Fault::Hang, "did not answer in 1s"),
    (Fault::CloseConnection, "connection"),
    (Fault::Garbage, "cannot be read"),
];

/// Less than the default deadline of a tablet call (10 s), far more than the one given.
const PATIENCE: Duration = Duration::from_secs(9);
/// Waited for in full whenever a tablet hangs, and far more than one that works needs on a busy machine.
const DEADLINE: &str = "1s";

fn get_workflows(live: &Live, more: &[&str]) -> Ran {
    let mut args = live.flags();
    args.extend(["get", "workflows", "customer", "--tablet-deadline", DEADLINE].map(str::to_owned));
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    vtflow_within(PATIENCE, &args)
}

/// The streams of each shard, by workflow and `shard/tablet`.
fn shard_streams(reply: &Value) -> BTreeMap<(String, String), Value> {
    let workflows = reply["workflows"].as_array().unwrap();
    let of_one = |workflow: &Value| {
        let name = workflow["name"].as_str().unwrap().to_owned();
        let shards = workflow["shard_streams"].as_object().unwrap().clone();
        shards.into_iter().map(move |(place, streams)| ((name.clone(), place), streams["streams"].clone())).collect::<Vec<_>>()
    };
    workflows.iter().flat_map(of_one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_in_trouble_takes_only_its_own_shard_along() {
    let snapshot = || Snapshot::load(&recorded("movetables-running")).unwrap();
    let mut live = Live::start(snapshot()).await;
    let healthy = get_workflows(&live, &["-o", "json"]);
    assert_eq!((healthy.code, healthy.stderr.as_str()), (0, ""));
    let healthy = shard_streams(&healthy.json());
    for (fault, reason) in FAULTS {
        for (shard, tablet) in PRIMARIES {
            let what = format!("{fault:?} at {tablet}");
            live.become_like(snapshot(), [(tablet.to_owned(), fault)].into()).await;
            let ran = get_workflows(&live, &["-o", "json"]);
            assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
            let line = ran.stderr.lines().find(|line| line.contains(tablet)).unwrap_or_else(|| panic!("{what}: {}", ran.stderr));
            assert!(line.contains(reason), "{what}: {line}");
            assert!(ran.stderr.contains(&format!("customer/{shard}")), "{what}: {}", ran.stderr);
            for (_, other) in PRIMARIES.iter().filter(|(_, other)| *other != tablet) {
                assert!(!ran.stderr.contains(other), "{what}: {}", ran.stderr);
            }

            let there = shard_streams(&ran.json());
            let place = format!("{shard}/{tablet}");
            let (lost, kept): (BTreeMap<_, _>, BTreeMap<_, _>) = there.into_iter().partition(|((_, at), _)| *at == place);
            let want: BTreeMap<_, _> = healthy.clone().into_iter().filter(|((_, at), _)| *at != place).collect();
            assert_eq!(kept, want, "{what}: the other shards");
            let workflows: Vec<&String> = kept.keys().map(|(workflow, _)| workflow).collect();
            assert_eq!(lost.keys().map(|(workflow, _)| workflow).collect::<Vec<_>>(), workflows, "{what}: each workflow");
            for ((workflow, _), streams) in &lost {
                let streams = streams.as_array().unwrap();
                assert_eq!(streams.len(), 1, "{what}: {workflow}");
                assert_eq!(streams[0]["id"], json!("0"), "{what}: {workflow}");
                assert_eq!(streams[0]["state"], json!("Unknown"), "{what}: {workflow}");
                assert_eq!(streams[0]["shard"], json!(shard), "{what}: {workflow}");
                let message = streams[0]["message"].as_str().unwrap();
                assert!(!message.is_empty() && message.contains(reason), "{what}: {workflow}: {message:?}");
            }

            let strict = get_workflows(&live, &["-o", "json", "--strict"]);
            assert_eq!((strict.code, strict.stdout.as_str()), (2, ""), "{what}: {}", strict.stderr);
            assert!(strict.stderr.contains(tablet) && strict.stderr.contains(reason), "{what}: {}", strict.stderr);

            let table = get_workflows(&live, &[]);
            assert_eq!(table.code, 1, "{what}");
            assert!(table.stdout.contains("Unknown"), "{what}: people see it in the table:\n{}", table.stdout);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_tablet_answers_the_command_fails_and_names_them_all() {
    let mut live = Live::empty();
    for (fault, reason) in FAULTS {
        let faults = PRIMARIES.iter().map(|(_, tablet)| ((*tablet).to_owned(), fault)).collect();
        live.become_like(Snapshot::load(&recorded("movetables-running")).unwrap(), faults).await;
        for more in [&["-o", "json"][..], &["-o", "name"], &[], &["--strict"]] {
            let ran = get_workflows(&live, more);
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{fault:?} {more:?}: {}", ran.stderr);
            assert!(ran.stderr.starts_with("error: "), "{fault:?} {more:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(reason), "{fault:?} {more:?}: {}", ran.stderr);
            for (_, tablet) in PRIMARIES {
                assert!(ran.stderr.contains(tablet), "{fault:?} {more:?}: {tablet} in\n{}", ran.stderr);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_replica_is_no_trouble_for_workflows() {
    let mut live = Live::empty();
    let faults = [("zone1-0000000101".to_owned(), Fault::Hang), ("zone2-0000000201".to_owned(), Fault::Down)].into();
    live.become_like(Snapshot::load(&recorded("movetables-running")).unwrap(), faults).await;
    let ran = get_workflows(&live, &["-o", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));

    // A support bundle holds the replicas too: it is made, and says what it lacks.
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("bundle").display().to_string();
    let mut args = live.flags();
    args.extend(["snapshot", "save", &path, "customer", "commerce", "--tablet-deadline", DEADLINE].map(str::to_owned));
    let ran = vtflow_within(PATIENCE, &args);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("zone1-0000000101") && ran.stderr.contains("zone2-0000000201"), "{}", ran.stderr);
    let saved = Snapshot::load(Path::new(&path)).unwrap();
    assert!(saved.tablets.contains_key("zone1-0000000200") && !saved.tablets.contains_key("zone1-0000000101"));
}

/// A copy of a recorded cluster, to be damaged.
fn copy() -> (TempDir, PathBuf) {
    copied(&recorded("movetables-running"))
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut value);
    fs::write(file, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// The record at a path of a copied topology.
fn edit_record(copy: &Path, path: &str, change: impl FnOnce(&mut Value)) {
    edit(&copy.join("topo.json"), |topo| {
        change(topo.as_array_mut().unwrap().iter_mut().find(|record| record["path"] == json!(path)).unwrap());
    });
}

fn look(directory: &Path, more: &[&str]) -> Ran {
    let mut args = snapshot_flag(directory).to_vec();
    args.extend(["get", "workflows", "customer"].iter().chain(more).map(|arg| (*arg).to_owned()));
    vtflow(&args)
}

/// base64 of a field number 0 and rubbish: no message of protobuf.
const GARBAGE: &str = "AP/+/w==";

#[test]
fn a_damaged_shard_record_is_a_failure_of_that_shard() {
    let healthy = shard_streams(&look(&recorded("movetables-running"), &["-o", "json"]).json());
    for (shard, tablet) in PRIMARIES {
        let (_directory, copy) = copy();
        edit_record(&copy, &format!("keyspaces/customer/shards/{shard}/Shard"), |record| record["value"] = json!(GARBAGE));
        let ran = look(&copy, &["-o", "json"]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("customer/{shard}")), "{}", ran.stderr);
        let kept: BTreeMap<_, _> = shard_streams(&ran.json())
            .into_iter()
            .filter(|(_, streams)| streams.as_array().unwrap().iter().all(|stream| stream["id"] != json!("0")))
            .collect();
        let want: BTreeMap<_, _> =
            healthy.clone().into_iter().filter(|((_, at), _)| *at != format!("{shard}/{tablet}")).collect();
        assert_eq!(kept, want, "the other shard");
        let strict = look(&copy, &["--strict"]);
        assert_eq!((strict.code, strict.stdout.as_str()), (2, ""));
        assert!(strict.stderr.contains(&format!("customer/{shard}")), "{}", strict.stderr);
    }
    let (_directory, copy) = copy();
    for (shard, _) in PRIMARIES {
        edit_record(&copy, &format!("keyspaces/customer/shards/{shard}/Shard"), |record| record["value"] = json!(GARBAGE));
    }
    let ran = look(&copy, &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
}

#[test]
fn names_that_cannot_be_are_refused() {
    let directory = recorded("movetables-running");
    let long = "k".repeat(65);
    for (keyspace, why) in [
        ("../x", "invalid character . in name ../x"),
        ("..", "invalid character . in name .."),
        ("a/b", "invalid character / in name a/b"),
        ("a\nb", "invalid character"),
        ("", "empty name"),
        (&long, "is too long"),
    ] {
        for command in [["get", "workflows"], ["plan", "workflows"]] {
            let args: Vec<String> = snapshot_flag(&directory).into_iter().chain(command.map(str::to_owned)).collect();
            let ran = vtflow(&[args, vec![keyspace.to_owned()]].concat());
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{command:?} {keyspace:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(&format!("{keyspace:?}")), "{command:?} {keyspace:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(why), "{command:?} {keyspace:?}: {}", ran.stderr);
        }
        let bundle = TempDir::new().unwrap();
        let target = bundle.path().join("new");
        let args: Vec<String> = snapshot_flag(&directory).into_iter().chain(["snapshot", "save"].map(str::to_owned)).collect();
        let ran = vtflow(&[args, vec![target.display().to_string(), keyspace.to_owned()]].concat());
        assert_eq!(ran.code, 2, "{keyspace:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(why) && !target.exists(), "{keyspace:?}: {}", ran.stderr);
    }
    for (shards, why) in [
        ("-40", "shard -40 not found in keyspace customer"),
        ("-80,-40", "shard -40 not found in keyspace customer"),
        ("../0", "../0"),
        ("-80,", "empty name"),
    ] {
        let ran = look(&directory, &["--shards", shards]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{shards:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(why), "{shards:?}: {}", ran.stderr);
    }
    let ran = look(&directory, &["-w", &"w".repeat(1001)]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("1001 bytes"), "{}", ran.stderr);
}

#[test]
fn a_damaged_recording_is_refused_and_the_file_named() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str); 10] = [
        ("no such directory", |copy| fs::remove_dir_all(copy).unwrap(), "snapshot.json"),
        (
            "an empty directory",
            |copy| {
                fs::remove_dir_all(copy).unwrap();
                fs::create_dir(copy).unwrap();
            },
            "snapshot.json",
        ),
        (
            "a file",
            |copy| {
                fs::remove_dir_all(copy).unwrap();
                fs::write(copy, "x").unwrap();
            },
            "snapshot.json",
        ),
        ("no head", |copy| fs::remove_file(copy.join("snapshot.json")).unwrap(), "snapshot.json"),
        ("a head that is no JSON", |copy| fs::write(copy.join("snapshot.json"), "{").unwrap(), "snapshot.json"),
        (
            "a later format",
            |copy| edit(&copy.join("snapshot.json"), |head| head["format"] = json!("vtflow-snapshot/2")),
            "vtflow-snapshot/2",
        ),
        ("no topology", |copy| fs::remove_file(copy.join("topo.json")).unwrap(), "topo.json"),
        (
            "half a topology",
            |copy| {
                let whole = fs::read(copy.join("topo.json")).unwrap();
                fs::write(copy.join("topo.json"), &whole[..whole.len() / 2]).unwrap();
            },
            "topo.json",
        ),
        ("a topology of another shape", |copy| fs::write(copy.join("topo.json"), r#"{"a": 1}"#).unwrap(), "topo.json"),
        ("no tablets' directory", |copy| fs::remove_dir_all(copy.join("tablets")).unwrap(), "tablets"),
    ];
    for (what, damage, place) in cases {
        let (_directory, copy) = copy();
        damage(&copy);
        let ran = look(&copy, &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{what}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(place), "{what}: {}", ran.stderr);
    }
}

#[test]
fn a_tablet_damaged_in_a_recording_takes_only_its_own_shard_along() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, Option<&str>); 6] = [
        // As a tablet that did not answer when the recording was made.
        ("no rows", |copy| fs::remove_file(copy.join("tablets/zone1-0000000200.json")).unwrap(), None),
        (
            "two rows with one key",
            |copy| {
                edit(&copy.join("tablets/zone1-0000000200.json"), |tablet| {
                    let rows = tablet["sidecar"]["vreplication"]["rows"].as_array_mut().unwrap();
                    rows.push(rows[0].clone());
                });
            },
            Some(
                "warning: tablet zone1-0000000200 is down, since its rows cannot be loaded: table vreplication: UNIQUE constraint failed",
            ),
        ),
        (
            "no tablet record",
            |copy| edit_record(copy, "tablets/zone1-0000000200/Tablet", |record| record["value"] = json!(GARBAGE)),
            Some("warning: the topology record tablets/zone1-0000000200/Tablet of cell zone1 is not a tablet: "),
        ),
        (
            "half a file",
            |copy| {
                let file = copy.join("tablets/zone1-0000000200.json");
                let whole = fs::read(&file).unwrap();
                fs::write(&file, &whole[..whole.len() / 2]).unwrap();
            },
            Some("warning: tablet zone1-0000000200 answers with errors only: "),
        ),
        (
            "a row too short",
            |copy| {
                edit(&copy.join("tablets/zone1-0000000200.json"), |tablet| {
                    tablet["sidecar"]["vreplication"]["rows"][0].as_array_mut().unwrap().pop();
                });
            },
            Some("warning: tablet zone1-0000000200 answers with errors only: "),
        ),
        (
            "a record that is no base64",
            |copy| edit_record(copy, "tablets/zone1-0000000200/Tablet", |record| record["value"] = json!("%%%")),
            Some("warning: the topology record tablets/zone1-0000000200/Tablet of cell zone1: "),
        ),
    ];
    let healthy = shard_streams(&look(&recorded("movetables-running"), &["-o", "json"]).json());
    for (what, damage, warning) in cases {
        // The failure itself names file and place, where the file is what is damaged.
        let places: &[&str] = match what {
            "half a file" => &["tablets/zone1-0000000200.json", "line "],
            "a row too short" => &["tablets/zone1-0000000200.json", "table vreplication, row 1 "],
            "a record that is no base64" => &["topo.json", "tablets/zone1-0000000200/Tablet"],
            _ => &[],
        };
        let (_directory, copy) = copy();
        damage(&copy);
        let ran = look(&copy, &["-o", "json"]);
        assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
        let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{what}: {}", ran.stderr);
        for (line, want) in warnings.iter().zip(warning) {
            assert!(line.starts_with(want), "{what}: {line}");
            let says_what_to_do = ["take the snapshot again", "mend the file", "add or remove values"];
            assert!(says_what_to_do.iter().any(|what| line.contains(what)), "{what}: {line}");
        }
        let failure = ran.stderr.lines().find(|line| line.contains("customer/-80")).unwrap_or_else(|| panic!("{what}: {ran:?}"));
        for place in places {
            assert!(failure.contains(place), "{what}: {place} in {failure}");
        }
        let is_kept = |(_, place): &(String, String)| place == "80-/zone2-0000000300";
        let there = shard_streams(&ran.json());
        let kept: BTreeMap<_, _> = there.into_iter().filter(|(place, _)| is_kept(place)).collect();
        let want: BTreeMap<_, _> = healthy.clone().into_iter().filter(|(place, _)| is_kept(place)).collect();
        assert!(!want.is_empty(), "{what}");
        assert_eq!(kept, want, "{what}: the other shard");
    }
}
