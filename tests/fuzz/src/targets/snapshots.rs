//! The files of a snapshot: loaded, saved, and put into the tablets' databases. Whatever stands in them, nothing of it is run.

use std::fs;

use vtflow_embedded::{Snapshot, TabletRows, clock::Clock, engine::Engine, from_response, fuzz, snapshot::SnapshotError};
use vtflow_planner::{Timestamp, sidecar::name::SqlName, topo::names::TabletName};

use crate::input::{Input, Output};

/// The file of a tablet that is sound, in a snapshot whose other files are strange.
const TABLET: &str = r#"{"alias":"zone1-0000000100","sidecar":{"copy_state":{"columns":[{"name":"id","type":"bigint unsigned","nullable":false},{"name":"vrepl_id","type":"int","nullable":false},{"name":"table_name","type":"varbinary(128)","nullable":false},{"name":"lastpk","type":"varbinary(2000)","nullable":true}],"rows":[[1,7,"t1",null]]}}}"#;
const HEAD: &str = r#"{"format":"vtflow-snapshot/1","taken_at_unix_ns":1700000000000000000,"note":""}"#;

/// Which file, and its bytes; or a reply to a Snapshot request.
pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let which = input.below(4);
    if which == 3 {
        if let Ok(snapshot) = from_response(input.rest(), Timestamp { seconds: 1_700_000_000, nanos: 0 }) {
            saved(&snapshot);
        }
        return;
    }
    let content = input.rest();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("snapshot");
    fs::create_dir_all(dir.join("tablets")).expect("a folder");
    let put = |name: &str, sound: &str, is_it: bool| {
        fs::write(dir.join(name), if is_it { content } else { sound.as_bytes() }).expect("a file");
    };
    put("snapshot.json", HEAD, which == 0);
    put("topo.json", "[]", which == 1);
    put("tablets/zone1-0000000100.json", TABLET, which == 2);
    match Snapshot::load(&dir) {
        Ok(snapshot) => {
            for alias in snapshot.tablets.keys() {
                assert!(TabletName::parse(alias).is_ok(), "{alias:?} is no tablet");
            }
            let count = snapshot.tablets.len() + snapshot.unreadable.tablets.len();
            assert_eq!(count, 1, "each tablet is there, or said to be damaged");
            saved(&snapshot);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&folder.path().display().to_string()), "the file is named: {text}");
            assert!(!matches!(error, SnapshotError::Unwritable { .. }), "nothing was to be written: {text}");
        }
    }
}

/// What is saved is loaded again, and its tablets have the rows and nothing else.
fn saved(snapshot: &Snapshot) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("saved");
    let left_out = snapshot.save(&dir).expect("it is saved");
    for file in fs::read_dir(folder.path()).expect("a folder") {
        assert_eq!(file.expect("a file").path(), dir, "nothing is written outside of it");
    }
    for alias in left_out.keys() {
        assert!(TabletName::parse(alias).is_err(), "{alias} can be the name of a file");
    }
    if snapshot.unreadable.tablets.is_empty() && snapshot.unreadable.records.is_empty() && left_out.is_empty() {
        let mut again = Snapshot::load(&dir).expect("what was saved");
        // A table that none can have is found when it is read.
        if again.unreadable.tablets.is_empty() {
            again.note.clone_from(&snapshot.note);
            assert_eq!(again, *snapshot);
        }
    }
    snapshot.tablets.values().for_each(|rows| database(rows, snapshot.taken_at));
}

fn database(rows: &TabletRows, at: Timestamp) {
    let Ok(engine) = Engine::new(rows, Clock::starting_at(at)) else { return };
    let (tables, changed) = fuzz::contents(&engine);
    for (name, count) in &tables {
        let Some(table) = rows.sidecar.get(name) else {
            assert_eq!(name, "information_schema.tables", "it is none of the snapshot's");
            continue;
        };
        assert!(SqlName::parse(name).is_ok(), "{name:?}");
        assert_eq!(*count, table.rows.len() as u64, "rows of {name}");
    }
    assert_eq!(tables.len(), rows.sidecar.len() + 1);
    let put = rows.sidecar.values().map(|table| table.rows.len()).sum::<usize>() + rows.table_sizes.len();
    assert_eq!(changed, put as u64, "rows were put in and taken out again");
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut put = |which: u8, name: String, content: &[u8]| {
        let Output(mut seed) = Output::default().byte(which);
        seed.extend(content);
        seeds.push((name, seed));
    };
    put(0, "head".into(), HEAD.as_bytes());
    put(0, "other-format".into(), HEAD.replace("/1", "/2").as_bytes());
    put(2, "tablet".into(), TABLET.as_bytes());
    put(2, "sizes".into(), TABLET.replace("\"sidecar\"", r#""mysql_version":"9.7.4","vitess_release":"v18.0.8","table_sizes":[{"database":"d","table":"t","rows":1,"bytes":2},{"database":"d","table":"v","rows":0,"bytes":0,"is_view":true}],"sidecar""#).as_bytes());
    for (number, name) in ["x`; drop table y", "a\\u0000b", "sqlite_schema", "_vt.t", ""].iter().enumerate() {
        put(2, format!("column-{number}"), TABLET.replace("\"lastpk\"", &format!("\"{name}\"")).as_bytes());
        put(2, format!("table-{number}"), TABLET.replace("\"copy_state\"", &format!("\"{name}\"")).as_bytes());
    }
    put(2, "cells".into(), TABLET.replace("[1,7,\"t1\",null]", r#"[18446744073709551615,-7,{"base64":"/w=="},1.5]"#).as_bytes());
    let topo = fs::read(crate::world::folder().join("../snapshots/reshard-running/topo.json")).expect("a recorded topology");
    put(1, "topo".into(), &topo);
    put(1, "one".into(), br#"[{"cell":"global","path":"keyspaces/a/Keyspace","version":1,"value":""}]"#);
    let of = fs::read(crate::world::folder().join("../cases/20-for-vdiff/tablets/zone1-0000000200.json")).unwrap_or_default();
    if of.len() < 20_000 {
        put(2, "recorded".into(), of.strip_suffix(b"\n").unwrap_or(&of));
    }
    for world in crate::world::WORLDS.iter() {
        for trace in world.traces.iter().filter(|trace| trace.call.path == vtflow_planner::rpc::SNAPSHOT) {
            if let Some(Ok(bytes)) = trace.reply.as_ref().map(|reply| reply.result.clone()) {
                put(3, format!("reply-{}", world.name), &bytes);
            }
        }
    }
    seeds
}
