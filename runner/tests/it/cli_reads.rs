//! What the reading commands print: on recorded clusters, beside what `vtctldclient` printed there, and when things go wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

use std::{fs, path::PathBuf};

use crate::support::program::{Ran, at_terminal, recorded, snapshot_flag, vtflow};
use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::Value;
use vtflow_planner::proto::vtctldata::VDiffShowResponse;
use vtflow_screen as screen;

fn on(snapshot: &str, command: &str) -> Ran {
    let mut args = snapshot_flag(&recorded(snapshot)).to_vec();
    args.extend(command.split(' ').map(str::to_owned));
    vtflow(&args)
}

fn recording(file: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings").join(file);
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Without what depends on the moment and on free ports: ages are `~`, ports `:P`, and columns are two blanks apart.
fn shape(text: &str) -> String {
    let words = |line: &str| {
        let cells = line.split("  ").filter(|cell| !cell.trim().is_empty()).map(|cell| cell.trim().to_owned());
        cells.map(|cell| cell.split(' ').map(word).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("  ")
    };
    text.lines().map(|line| words(line) + "\n").collect()
}

fn word(word: &str) -> String {
    let number = word.trim_end_matches(['s', 'm', 'h', 'd']);
    if number.len() + 1 == word.len() && number.parse::<u64>().is_ok() {
        return "~".into();
    }
    word.strip_prefix("127.0.0.1:").map_or_else(|| word.to_owned(), |_| "127.0.0.1:P".into())
}

#[test]
fn keyspaces_shards_and_tablets_with_trouble_first() {
    let ran = on("shards-without-primary", "get keyspaces");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        shape(&ran.stdout),
        "KEYSPACE  TYPE  DURABILITY  SHARDS  SERVING  NOTE\n\
         customer  normal  none  4  2  2 shards without primary: 80-c0, c0-\n\
         commerce  normal  none  1  1\n"
    );
    let ran = on("shards-without-primary", "get shards customer");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        shape(&ran.stdout),
        "SHARD  PRIMARY  SERVING  SINCE  DENIED TABLES  NOTE\n\
         80-c0  –  no  –  no primary\n\
         c0-  –  no  –  no primary\n\
         -80  zone1-0000000200  yes  ~\n\
         80-  zone2-0000000300  yes  ~\n"
    );
    let ran = on("shards-without-primary", "get tablets customer/-80");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        shape(&ran.stdout),
        "TABLET  SHARD  TYPE  ADDRESS  SINCE  NOTE\n\
         zone1-0000000200  customer/-80  primary  127.0.0.1:P  ~\n\
         zone2-0000000201  customer/-80  replica  127.0.0.1:P  ~\n"
    );
    let names = on("shards-without-primary", "get tablets customer --type replica --cell zone1 -o name").stdout;
    assert_eq!(names, "zone1-0000000400\nzone1-0000000500\n");
}

#[test]
fn migrations_are_folded_and_shards_that_differ_are_shown() {
    let ran = on("onlineddl-mixed", "get migrations customer");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(
        shape(&ran.stdout),
        "MIGRATION  TABLE  ACTION  STATUS  DONE  SHARDS  AGE  MESSAGE\n\
         e21f4478_e712_11f1_8dda_0a4aad2ccf4f  customer  alter  running  100%  0/2 complete  ~\n\
         streams: 2 Running, ~ behind; ready, completion postponed\n\
         e22b61de_e712_11f1_8dda_0a4aad2ccf4f  customer  alter  ready  –  0/2 complete  ~\n\
         waits for 2 before it (e21f4478_e712_11f1_8dda_0a4aad2ccf4f,\n\
         e22553b1_e712_11f1_8dda_0a4aad2ccf4f)\n\
         e22553b1_e712_11f1_8dda_0a4aad2ccf4f  sales  drop  queued  –  0/2 complete  ~\n\
         waits for 1 before it (e21f4478_e712_11f1_8dda_0a4aad2ccf4f); launch postponed\n\
         1d04c23e_e711_11f1_8dda_0a4aad2ccf4f  customer  alter  complete  –  2/2 complete  ~  completed ~ ago\n\
         1d0b1910_e711_11f1_8dda_0a4aad2ccf4f  corder  alter  complete  –  2/2 complete  ~  completed ~ ago\n"
    );
    let ran = on("mixed-releases", "get migrations mixed --uuid 614db757_e71b_11f1_8dda_0a4aad2ccf4f");
    let lines: Vec<String> = shape(&ran.stdout).lines().map(str::to_owned).collect();
    assert_eq!(lines[1], "614db757_e71b_11f1_8dda_0a4aad2ccf4f  product  alter  failed  0%  4/5 complete  ~");
    assert!(lines[2].starts_with("80-c0: rpc error"), "{lines:?}");
    let [note @ .., failed, complete] = &lines[2..] else { panic!("{lines:?}") };
    assert!(note.concat().ends_with("streams: 4 Stopped"), "the note is whole: {lines:?}");
    assert_eq!([failed, complete], ["80-c0  failed  0%", "-40, 40-80, c0- and 1 more  complete  –"]);
    // Shards that a filter may have left out are not counted.
    let ran = on("mixed-releases", "get migrations mixed --status complete");
    assert!(ran.stdout.contains("4 of 5 shards match"), "{}", ran.stdout);
}

#[test]
fn a_workflow_is_described_on_one_screen() {
    let ran = on("stream-error", "describe workflow customer move_big2");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(
        shape(&ran.stdout),
        "customer.move_big2  MoveTables  commerce/0 -> customer (2)\n\
         streams  1 Error, 1 Running\n\
         traffic  Reads Not Switched. Writes Not Switched\n\
         options  reads from cells: zone1, zone2\n\
         reads from tablets: replica, primary\n\
         secondary keys: made after the copy\n\
         auto increment: remove\n\
         vreplication-copy-phase-duration: ~\n\
         \n\
         SHARD  ID  TABLET  STATE  LAG  POSITION  COPIED  NOTE\n\
         -80  7  zone1-0000000200  Error  ~  …00001:1-88  32k\n\
         80-  7  zone2-0000000300  Running  ~  …00001:1-89  800k\n\
         -80 stream 7: terminal error: error applying event: Unknown column 'price' in 'field list'\n\
         (errno 1054) (sqlstate 42S22)\n\
         \n\
         LOG\n\
         ~ ago  -80  State Changed to Error: terminal error: error applying event: Unknown\n\
         column 'price' in 'field list' (errno 1054) (sqlstate 42S22)\n\
         ~ ago  -80  Message: error applying event: Unknown column 'price' in 'field list'\n\
         (errno 1054) (sqlstate 42S22)\n\
         ×6, last ~ ago  -80, 80-  State Changed to Running\n\
         ×2, last ~ ago  -80, 80-  Ended Copy Phase: Copy phase completed\n\
         ×2, last ~ ago  -80, 80-  Restarted Copy Phase: Copy phase restarted for 1 table(s)\n\
         \n\
         NEXT\n\
         once the cause of the error is gone:\n\
         vtflow workflow start customer move_big2\n"
    );
    let both = on("stream-error", "describe workflow customer move_big2 -o json").json();
    assert_eq!(both["workflow"]["name"], "move_big2");
    assert_eq!(both["status"]["traffic_state"], "Reads Not Switched. Writes Not Switched");
}

#[test]
fn every_line_fits_a_hundred_columns() {
    for (snapshot, keyspace, workflow) in [
        ("movetables-copying", "customer", "move_big2"),
        ("onlineddl-mixed", "customer", "sales_mat"),
        ("odd-rows", "customer", "sales_mat"),
        ("mixed-releases", "mixed", "mix_copy"),
        ("shards-without-primary", "customer", "sales_mat"),
    ] {
        for command in [
            "get keyspaces".to_owned(),
            "get tablets".to_owned(),
            format!("get shards {keyspace}"),
            format!("get workflows {keyspace}"),
            format!("get migrations {keyspace}"),
            format!("describe workflow {keyspace} {workflow}"),
        ] {
            let ran = on(snapshot, &command);
            assert!(ran.code < 2 && ran.stdout.lines().count() > 1, "{snapshot} {command}: {ran:?}");
            // In a pipe nothing is cut; at a terminal everything fits.
            assert!(command.starts_with("describe") || !ran.stdout.contains('…'), "{snapshot} {command}: {}", ran.stdout);
            let at = recorded(snapshot).to_str().unwrap().to_owned();
            let args: Vec<&str> = ["--snapshot", &at].into_iter().chain(command.split(' ')).collect();
            let seen = at_terminal(&args).wait_with_output().unwrap();
            let seen = String::from_utf8(seen.stdout).unwrap();
            // What tells of progress is drawn over.
            let lines = seen.lines().map(|line| line.rsplit('\r').find(|piece| !piece.is_empty()).unwrap_or_default());
            let lines: Vec<&str> = lines.map(|line| line.rsplit("\u{1b}[K").next().unwrap_or_default()).collect();
            assert!(lines.len() >= 2, "{snapshot} {command}: {seen}");
            // A command is copied, in one line.
            let long = lines.into_iter().filter(|line| line.chars().count() > 100 && !line.contains("   try: "));
            let long: Vec<&str> = long.collect();
            assert!(long.is_empty(), "{snapshot} {command}: {long:?}");
        }
    }
}

#[test]
fn what_a_tablet_did_not_say_is_missing_and_not_complete() {
    let down = |command: &str| vtflow(&["demo --down zone1-0000000200 ", command].concat().split(' ').collect::<Vec<_>>());
    let ran = down("get migrations customer");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("customer/-40 zone1-0000000200"), "{}", ran.stderr);
    assert!(ran.stdout.contains("3/4 complete") && !ran.stdout.contains("4/4"), "{}", ran.stdout);
    assert!(shape(&ran.stdout).contains("-40  unknown  –\n"), "{}", ran.stdout);
    let ran = down("describe workflow customer move_big2");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("vtflow get tablets customer/-40"), "{}", ran.stdout);
    assert_eq!(down("get migrations customer --strict").code, 2);
}

#[test]
fn what_does_not_exist_is_an_error_that_says_what_to_try() {
    for (command, said) in [
        ("get shards nope", "keyspaces/nope/shards"),
        ("get tablets nope", "keyspaces/nope/Keyspace"),
        ("get tablets nope/0", "keyspaces/nope/shards/0"),
        ("get migrations nope", "keyspaces/nope/Keyspace"),
        ("get vdiff nope w", "nope"),
        ("describe workflow nope w", "keyspaces/nope/shards"),
        ("describe workflow customer nope", "no workflow nope in keyspace customer"),
    ] {
        let ran = on("movetables-running", command);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{command}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(said), "{command}: {}", ran.stderr);
        assert!(ran.stderr.contains("try: vtflow get ") || command.contains("vdiff"), "{command}: {}", ran.stderr);
    }
    for wrong in [
        "get migrations customer --status completed",
        "get migrations customer --uuid x --context y",
        "get migrations customer --skip 1",
        "get migrations customer --recent=yesterday",
        "get tablets customer/",
        "get tablets --type master",
        "get vdiff customer w first",
        "get shards customer --watch -o json",
        "describe workflow customer move_big2 --watch -o json",
    ] {
        let ran = on("movetables-running", wrong);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{wrong}: {}", ran.stderr);
    }
}

#[test]
fn json_is_what_vtctldclient_printed() {
    let mut compared = 0;
    for printed in recording("printed.jsonl") {
        let (Some(snapshot), Some(same)) = (printed["snapshot"].as_str(), printed["same"].as_str()) else { continue };
        let ran = on(snapshot, &format!("{same} -o json"));
        assert_eq!(ran.code, 0, "{same}: {}", ran.stderr);
        let theirs: Value = serde_json::from_str(printed["stdout"].as_str().unwrap()).unwrap();
        assert_eq!(without_ports(ran.json()), without_ports(theirs), "{same}");
        compared += 1;
    }
    assert_eq!(compared, 3);
    for snapshot in ["onlineddl-mixed", "odd-rows", "stream-error", "movetables-copying"] {
        let commands = fs::read(recorded(snapshot).join("expect/vtctldclient.json")).unwrap();
        let commands: Vec<Value> = serde_json::from_slice(&commands).unwrap();
        let show = serde_json::json!(["OnlineDDL", "show", "customer", "all", "--json"]);
        let printed = commands.into_iter().find(|command| command["args"] == show).unwrap();
        let theirs: Value = serde_json::from_str(printed["stdout"].as_str().unwrap()).unwrap();
        let ours = on(snapshot, "get migrations customer -o json").json();
        assert_eq!(by_shard(ours), by_shard(theirs), "{snapshot}");
    }
}

/// The embedded tablets listen elsewhere.
fn without_ports(mut list: Value) -> Value {
    for tablet in list.as_array_mut().into_iter().flatten() {
        if let Some(ports) = tablet.get_mut("port_map") {
            ports["grpc"] = Value::Null;
            ports["vt"] = Value::Null;
        }
    }
    list
}

/// vtctld lists tablets in random order and never says when a migration was cancelled.
fn by_shard(mut reply: Value) -> Vec<Value> {
    let migrations = reply["migrations"].as_array_mut().unwrap();
    migrations.sort_by_key(|migration| migration["shard"].to_string());
    for migration in migrations.iter_mut() {
        migration["cancelled_at"] = Value::Null;
    }
    migrations.clone()
}

#[test]
fn a_vdiff_is_summed_up_as_vtctldclient_does() {
    let reply = |from: &str| {
        let calls = recording("replay.jsonl");
        let is_it = |call: &&Value| call["method"] == "VDiffShow" && call["from"].as_array().unwrap().contains(&from.into());
        let call = calls.iter().find(is_it).unwrap();
        let bytes = BASE64_STANDARD.decode(call["response"].as_str().unwrap()).unwrap();
        VDiffShowResponse::decode(bytes.as_slice()).unwrap()
    };
    let now = vtflow_planner::Timestamp { seconds: 1_800_000_000, nanos: 0 };
    let printed = recording("printed.jsonl");
    let printed = printed.iter().find(|printed| printed["from"] == "vtctldclient 214").unwrap();
    let summed = screen::vdiff_summary("customer", "rec_mt", &reply("vtctldclient 214"), None, now).unwrap();
    assert_eq!(vtflow::output::json::any_json(&summed).unwrap(), printed["stdout"].as_str().unwrap());
    assert_eq!(summed.by_shard.iter().map(|part| part.shard.as_str()).collect::<Vec<_>>(), ["-80", "80-"]);
    let all = screen::vdiff_list(&reply("vtctldclient 216"), now).unwrap();
    let all: Vec<_> = all.iter().map(|line| (line.shard.as_str(), line.state.as_str())).collect();
    assert_eq!(all, [("-80", "completed"), ("80-", "completed")]);
    assert_eq!(screen::vdiff_summary("customer", "cust3", &reply("vtctldclient 44"), None, now), None);
}

#[test]
fn every_request_has_a_plan_that_calls_no_tablet() {
    for (command, calls) in [
        ("plan migrations customer --status running", 2),
        ("plan status customer move_big2", 2),
        ("plan vdiff customer move_big2", 2),
        ("plan shards customer", 0),
        ("plan tablets customer/-80", 0),
    ] {
        let ran = on("movetables-running", &format!("{command} -o json"));
        assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
        let asks = ran.json()["asks"].as_array().unwrap().clone();
        assert_eq!(asks.iter().filter(|ask| ask["kind"] == "call").count(), calls, "{command}: {asks:?}");
        assert!(asks.iter().any(|ask| ask["kind"] != "call"), "{command}");
    }
}
