//! What a stranger's snapshot cannot do: run SQL, reach files, take all memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::program::{Ran, copied, recorded, vtflow};
use tempfile::TempDir;
use vtflow::embedded::Snapshot;

/// A recorded cluster's files, to be damaged.
fn copy() -> (TempDir, PathBuf) {
    copied(&recorded("movetables-running"))
}

fn look(at: &Path, args: &[&str]) -> Ran {
    vtflow(&[&["--snapshot", at.to_str().unwrap()], args].concat())
}

const TABLET: &str = "tablets/zone1-0000000200.json";

#[test]
fn names_of_a_snapshot_are_not_run() {
    for (what, place) in [("table", "the name of a table"), ("column", "a column of table vreplication")] {
        let (directory, at) = copy();
        let made = directory.path().join("made-by-sqlite");
        let name = match what {
            "table" => format!("t` (x); ATTACH '{}' AS y; CREATE TABLE y.z (a); --", made.display()),
            _ => format!("id` TEXT); ATTACH '{}' AS y; CREATE TABLE y.z (a); --", made.display()),
        };
        let mut tablet: serde_json::Value = serde_json::from_slice(&fs::read(at.join(TABLET)).unwrap()).unwrap();
        if what == "table" {
            tablet["sidecar"][name.as_str()] = serde_json::json!({"columns": [], "rows": []});
        } else {
            tablet["sidecar"]["vreplication"]["columns"][0]["name"] = name.into();
        }
        fs::write(at.join(TABLET), tablet.to_string()).unwrap();
        for args in [&["get", "keyspaces"][..], &["plan", "workflows", "customer"], &["get", "workflows", "customer"]] {
            let ran = look(&at, args);
            assert!(!made.exists(), "{what} {args:?}: SQL of the snapshot was run: {ran:?}");
            assert!(
                ran.code < 2 && ran.stderr.contains("zone1-0000000200.json") && ran.stderr.contains(place),
                "{args:?}: {ran:?}"
            );
        }
        // The rest is there.
        let ran = look(&at, &["get", "workflows", "customer"]);
        assert!(ran.stdout.contains("1 Unknown, 1 Running"), "{ran:?}");
    }
}

/// A name, what is done to a snapshot, and what is said of it.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);

#[test]
fn a_snapshot_is_plain_files_of_some_size() {
    let tablet = |at: &Path| at.join(TABLET);
    let link = |at: &Path| {
        fs::remove_file(tablet(at)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tablet(at)).unwrap();
    };
    let endless = |at: &Path| {
        fs::remove_file(tablet(at)).unwrap();
        std::os::unix::fs::symlink("/dev/zero", tablet(at)).unwrap();
    };
    let pipe = |at: &Path| {
        fs::remove_file(tablet(at)).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(tablet(at)).status().unwrap().success());
    };
    let sparse = |at: &Path| fs::File::create(tablet(at)).unwrap().set_len(1 << 40).unwrap();
    let rows = |at: &Path| {
        let rows = "[],".repeat(300_000);
        let text = format!(r#"{{"alias":"zone1-0000000200","sidecar":{{"t":{{"columns":[],"rows":[{rows}[]]}}}}}}"#);
        fs::write(tablet(at), text).unwrap();
    };
    // Two bytes each in the file, and forty in memory.
    let values = |at: &Path| {
        let columns = vec![r#"{"name":"c","type":"bigint","nullable":true}"#; 200].join(",");
        let row = format!("[{}]", vec!["0"; 200].join(","));
        let rows = vec![row.as_str(); 100_000].join(",");
        let table = format!(r#""x":{{"columns":[{columns}],"rows":[{rows}]}}"#);
        fs::write(tablet(at), format!(r#"{{"alias":"zone1-0000000200","sidecar":{{{table}}}}}"#)).unwrap();
    };
    let tables = |at: &Path| {
        let many: Vec<_> = (0..100_000).map(|number| format!(r#""t{number}":{{"columns":[],"rows":[]}}"#)).collect();
        // What comes behind the tables that are read need not even be JSON.
        fs::write(tablet(at), format!(r#"{{"alias":"zone1-0000000200","sidecar":{{{},"#, many.join(","))).unwrap();
    };
    let cases: [Damage<'_>; 7] = [
        ("too many values", &values, "the snapshot has more than the 20000000 values that are read"),
        ("too many tables", &tables, "there are more than 64 tables"),
        ("a link", &link, "it is a symbolic link, which is not followed"),
        ("an endless device", &endless, "it is a symbolic link, which is not followed"),
        ("a pipe", &pipe, "it is no plain file"),
        ("a huge file", &sparse, "it has 1099511627776 bytes, more than the 268435456 that are read"),
        ("too many rows", &rows, "a list is longer than the 200000 that are read"),
    ];
    for (name, damage, want) in cases {
        let (_directory, at) = copy();
        damage(&at);
        let ran = look(&at, &["get", "workflows", "customer"]);
        assert!(ran.code < 2 && ran.stderr.contains(want), "{name}: {ran:?}");
        assert!(ran.stderr.contains("zone1-0000000200.json"), "{name}: {ran:?}");
    }
    let (_directory, at) = copy();
    fs::rename(at.join("tablets"), at.join("others")).unwrap();
    std::os::unix::fs::symlink(at.join("others"), at.join("tablets")).unwrap();
    let ran = look(&at, &["get", "keyspaces"]);
    assert!(ran.code == 2 && ran.stderr.contains("it is a symbolic link"), "{ran:?}");
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::symlink_metadata(path).unwrap().permissions()) & 0o777
}

#[test]
fn a_snapshot_is_written_into_its_directory_for_its_owner_alone() {
    let mut snapshot = Snapshot::load(&recorded("movetables-running")).unwrap();
    let some = snapshot.tablets.values().next().unwrap().clone();
    let directory = TempDir::new().unwrap();
    let absolute = format!("{}/made-0000000001", directory.path().display());
    let hostile = ["../../escaped-0000000001", "../topo", &absolute, "x\0-0000000001", "ZONE1-100"];
    for alias in hostile {
        snapshot.tablets.insert(alias.to_owned(), some.clone());
    }
    let at = directory.path().join("a/b");
    let left_out = snapshot.save(&at).unwrap();
    assert_eq!(left_out.len(), hostile.len(), "{left_out:?}");
    assert!(left_out["../topo"].contains("invalid tablet alias: '../topo'"), "{left_out:?}");
    let names = |at: &Path| {
        let mut names: Vec<String> =
            fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(directory.path()), ["a"], "nothing beside it");
    assert_eq!(names(&at), ["snapshot.json", "tablets", "topo.json"]);
    assert_eq!(names(&at.join("tablets")).len(), snapshot.tablets.len() - hostile.len(), "the rest is saved");
    assert_eq!(
        (mode(&at), mode(&at.join("tablets")), mode(&at.join("topo.json")), mode(&at.join(TABLET))),
        (0o700, 0o700, 0o600, 0o600)
    );
    assert!(Snapshot::load(&at).unwrap().unreadable.tablets.is_empty());

    // Nothing is written over, and no link is followed.
    let again = snapshot.save(&at).unwrap_err().to_string();
    assert!(again.contains("tablets: File exists"), "{again}");
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(directory.path().join("mine"), "mine").unwrap();
    std::os::unix::fs::symlink(directory.path().join("mine"), other.join("topo.json")).unwrap();
    let refused = snapshot.save(&other).unwrap_err().to_string();
    assert!(refused.contains("topo.json: File exists"), "{refused}");
    assert_eq!(fs::read_to_string(directory.path().join("mine")).unwrap(), "mine");
}

#[test]
fn a_trace_is_for_its_owner_alone_and_follows_no_link() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    let trace = |file: &Path| vtflow(&["--demo", "get", "keyspaces", "--trace", file.to_str().unwrap()]);
    fs::write(at("trace"), "old").unwrap();
    fs::set_permissions(at("trace"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(trace(&at("trace")).code, 0);
    assert_eq!(mode(&at("trace")), 0o600);
    fs::write(at("mine"), "mine").unwrap();
    std::os::unix::fs::symlink(at("mine"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("nothing"), at("dangling")).unwrap();
    for link in ["link", "dangling"] {
        let ran = trace(&at(link));
        assert!(ran.code == 2 && ran.stderr.contains("cannot be written") && ran.stderr.contains("symbolic link"), "{ran:?}");
    }
    assert_eq!(fs::read_to_string(at("mine")).unwrap(), "mine");
    assert!(!at("nothing").exists());
    let ran = trace(Path::new("/dev/null"));
    assert!(ran.code == 2 && ran.stderr.contains("no plain file"), "{ran:?}");
}
