//! Legacy commands and `GetVersion` from request bytes to events, on clusters made of plain data.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use crate::support::{Cluster, alias, alias_text, copy_states, refused, rows, silent, stream, streams};
use prost::Message;
use serde_json::Value;
use vtflow_planner::{
    Answer, Call, CallOptions, Code, Reply, What,
    explain::Plan,
    proto::{
        logutil::Level,
        topodata::Tablet,
        vtctldata::{ExecuteVtctlCommandRequest, ExecuteVtctlCommandResponse, GetVersionRequest, GetVersionResponse},
    },
    rpc, serve,
};

fn command(line: &str) -> Call {
    let args = line.split_whitespace().map(str::to_owned).collect();
    let request = ExecuteVtctlCommandRequest { args, action_timeout: 0 }.encode_to_vec();
    Call { path: rpc::EXECUTE_VTCTL_COMMAND.into(), request, options: CallOptions::default() }
}

/// Level and text of each event, and the error's text.
fn told(reply: &Reply) -> (Vec<(Level, String)>, Option<String>) {
    let events = reply.stream.iter().chain(&reply.result).map(|bytes| {
        let event = ExecuteVtctlCommandResponse::decode(bytes.as_slice()).unwrap().event.unwrap();
        assert_eq!(event.time.as_ref().unwrap().seconds, crate::support::NOW.seconds);
        (event.level(), event.value)
    });
    (events.collect(), reply.result.as_ref().err().map(|status| status.message.clone()))
}

fn printed(reply: &Reply) -> String {
    told(reply).0.into_iter().filter(|(level, _)| *level == Level::Console).map(|(_, text)| text).collect()
}

fn names(list: &[&str]) -> Answer {
    let values: Vec<_> = list.iter().map(|name| vec![Some((*name).to_owned())]).collect();
    rows(&["workflow"], &values)
}

#[test]
fn workflows_are_listed_by_name() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let (reply, _) = cluster.run(&command("Workflow ks listall"));
    assert_eq!(told(&reply), (vec![(Level::Console, "No workflows found in keyspace ks\n".into())], None));
    cluster.answer(100, "names", names(&["b", "a"])).answer(200, "names", names(&["c", "b"]));
    let (reply, asks) = cluster.run(&command("Workflow -- -dry_run ks listall"));
    assert_eq!(printed(&reply), "Following workflow(s) found in keyspace ks: a, b, c\n");
    assert!(asks.iter().all(|ask| ask.round <= 3));
}

/// Which record is missing decides, not the words of the error.
#[test]
fn a_keyspace_whose_tablet_has_no_record_is_there() {
    let mut cluster = Cluster::new(&["0"]);
    cluster.topo.remove(&("zone1".into(), format!("tablets/{}/Tablet", alias_text(100))));
    for line in ["Workflow ks listall", "Workflow ks.w show"] {
        let (events, error) = told(&cluster.run(&command(line)).0);
        assert_eq!(
            (events, error.unwrap().as_str()),
            (vec![], "node doesn't exist: /vitess/zone1/tablets/zone1-0000000100/Tablet")
        );
    }
}

#[test]
fn what_does_not_answer_is_a_warning_and_the_rest_is_printed() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.answer(100, "names", names(&["a"])).answer(200, "names", silent(200));
    let (reply, _) = cluster.run(&command("Workflow ks listall"));
    let (events, error) = told(&reply);
    let want = [
        (Level::Console, "Following workflow(s) found in keyspace ks: a\n".to_owned()),
        (Level::Warning, format!("ks/80- {0}: {0} did not answer in 10s", alias_text(200))),
    ];
    assert_eq!((events.as_slice(), error), (want.as_slice(), None));
    assert_eq!(reply.failures.len(), 1);

    // Nobody answers: the status says it, and it is said once.
    cluster.answer(100, "names", silent(100));
    let (reply, _) = cluster.run(&command("Workflow ks listall"));
    let (events, error) = told(&reply);
    assert_eq!((events.len(), error.unwrap().lines().count(), reply.failures.len()), (0, 2, 2));

    let (reply, _) = cluster.run(&command("Workflow nope listall"));
    let (events, error) = told(&reply);
    assert_eq!(events, [(Level::Error, "Keyspace nope not found".to_owned())]);
    assert_eq!(error.unwrap(), "node doesn't exist: /vitess/global/keyspaces/nope/shards/");
}

#[test]
fn a_workflow_is_shown_as_json_of_its_own() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let mut ddl = stream(1, "wf");
    ddl.source =
        r#"keyspace:"src" shard:"0" filter:{rules:{match:"t<1>" filter:"select a & b"}} on_ddl:EXEC source_time_zone:"CET""#
            .into();
    let mut frozen = stream(2, "wf");
    frozen.message = "FROZEN";
    cluster.answer(100, "streams", streams(&[ddl])).answer(200, "streams", streams(&[frozen]));
    cluster.answer(100, "copy state", copy_states(&[(1, 1, "t1")]));
    let (reply, _) = cluster.run(&command("Workflow ks.wf show"));
    let text = printed(&reply);
    assert!(
        text.starts_with("{\n\t\"Workflow\": \"wf\",\n\t\"SourceLocation\": {\n\t\t\"Keyspace\": \"src\",\n")
            && text.ends_with("\n}\n")
    );
    assert!(text.contains(r#""match": "t\u003c1\u003e""#) && text.contains(r#""filter": "select a \u0026 b""#), "{text}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["TargetLocation"]["Shards"], serde_json::json!(["-80", "80-"]));
    assert_eq!((&shown["Frozen"], &shown["OnDDL"], &shown["DeferSecondaryKeys"]), (&true.into(), &"EXEC".into(), &true.into()));
    assert_eq!(shown["MaxVReplicationTransactionLag"], i64::MAX, "it is copying");
    let copying = &shown["ShardStatuses"][format!("-80/{}", alias_text(100))];
    let first = &copying["PrimaryReplicationStatuses"][0];
    assert_eq!((&first["State"], &first["TimeHeartbeat"]), (&"Copying".into(), &(crate::support::NOW.seconds - 1).into()));
    assert_eq!(first["CopyState"], serde_json::json!([{"Table": "t1", "LastPK": "pk"}]));
    assert_eq!(first["Bls"]["on_ddl"], Value::Null, "it is the word above");
    assert_eq!((&copying["TabletControls"], &copying["PrimaryIsServing"]), (&Value::Null, &true.into()));

    // Not copying: since the last transaction or heartbeat.
    cluster.answer(100, "copy state", copy_states(&[]));
    let shown: Value = serde_json::from_str(&printed(&cluster.run(&command("Workflow ks.wf list")).0)).unwrap();
    assert_eq!(shown["MaxVReplicationTransactionLag"], 1);

    let (reply, _) = cluster.run(&command("Workflow ks.nope show"));
    assert_eq!(told(&reply).1.unwrap(), "no streams found for workflow nope in keyspace ks");

    // A shard that does not answer must not look as if it had no streams.
    cluster.answer(200, "streams", silent(200));
    let (reply, _) = cluster.run(&command("Workflow ks.wf show"));
    let shown: Value = serde_json::from_str(&printed(&reply)).unwrap();
    let lost = &shown["ShardStatuses"][format!("80-/{}", alias_text(200))]["PrimaryReplicationStatuses"][0];
    assert_eq!((&lost["ID"], &lost["State"]), (&0.into(), &"Unknown".into()));
    assert_eq!(told(&reply).0.last().unwrap().0, Level::Warning);
    // One shard asked for is all that is read.
    let (reply, asks) = cluster.run(&command("Workflow --shards -80 ks.wf show"));
    assert!(reply.failures.is_empty() && asks.iter().all(|ask| !crate::support::ask_name(ask).contains(&alias_text(200))));
}

#[test]
fn migrations_are_a_table_of_all_tablets() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    let text = |text: &str| Some(text.to_owned());
    cluster.answer(100, "migrations", rows(&["#id", "message"], &[vec![text("1"), text("one two")], vec![text("2"), None]]));
    // Another release: another order, and a column more.
    cluster.answer(200, "migrations", rows(&["message", "#id", "stage"], &[vec![text("x"), text("7"), text("done")]]));
    let (reply, asks) = cluster.run(&command("OnlineDDL ks show running --limit 5"));
    let want = "\
+------------------+----+---------+-------+
|      Tablet      | id | message | stage |
+------------------+----+---------+-------+
| zone1-0000000100 | 1  | one two |       |
+------------------+----+---------+-------+
| zone1-0000000100 | 2  |         |       |
+------------------+----+---------+-------+
| zone1-0000000200 | 7  | x       | done  |
+------------------+----+---------+-------+
";
    assert_eq!((printed(&reply).as_str(), told(&reply).0.len()), (want, 9), "a line is an event");
    let statements = asks.iter().filter_map(|ask| match &ask.what {
        What::TabletCall { about, .. } => Some(about.statement.as_str()),
        _ => None,
    });
    let want = "select * from _vt.schema_migrations where migration_status='running' order by `id` ASC LIMIT 0,5";
    assert_eq!(statements.collect::<Vec<_>>(), [want, want]);

    let shown: Value = serde_json::from_str(&printed(&cluster.run(&command("OnlineDDL --json ks show")).0)).unwrap();
    assert_eq!(shown["fields"][1], serde_json::json!({"name": "id", "type": 265}));
    assert_eq!(shown["rows"][1], serde_json::json!([alias_text(100), 2, null, null]));

    cluster.answer(200, "migrations", refused("no"));
    let (reply, _) = cluster.run(&command("OnlineDDL ks show"));
    assert_eq!(told(&reply).0.last().unwrap(), &(Level::Warning, format!("ks/80- {}: no", alias_text(200))));
    cluster.answer(100, "migrations", refused("neither"));
    assert_eq!(told(&cluster.run(&command("OnlineDDL ks show")).0).1.unwrap(), "neither\nno");
    // Nothing to print: one event that prints nothing.
    cluster.answer(100, "migrations", rows(&["#id"], &[])).answer(200, "migrations", rows(&["#id"], &[]));
    assert_eq!(told(&cluster.run(&command("OnlineDDL ks show")).0), (vec![(Level::Console, String::new())], None));
}

#[test]
fn the_order_of_answers_does_not_show() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.answer(100, "streams", streams(&[stream(1, "wf")])).answer(200, "streams", streams(&[stream(2, "wf")]));
    cluster.answer(100, "migrations", rows(&["#id"], &[vec![Some("1".into())]])).answer(200, "migrations", silent(200));
    for line in ["Workflow ks.wf show", "OnlineDDL ks show"] {
        let (first, _) = cluster.run(&command(line));
        let (last, _) = cluster.run_in_order(&command(line), |waiting| waiting - 1);
        assert_eq!(first, last, "{line}");
    }
}

#[test]
fn a_request_is_served_or_it_is_a_vtctlds() {
    let serves = |line: &str| serve::serves(rpc::EXECUTE_VTCTL_COMMAND, &command(line).request);
    for line in ["Workflow ks listall", "Workflow ks.wf show", "OnlineDDL ks show all", "Workflow ks", "Workflow --help"] {
        assert!(serves(line), "{line}");
    }
    for line in ["", "Nosuch", "Help", "GetKeyspace ks", "Workflow ks.wf delete", "OnlineDDL ks cancel x"] {
        assert!(!serves(line), "{line}");
    }
    assert!(serve::serves(rpc::EXECUTE_VTCTL_COMMAND, b"\xff"), "refused here, as all bytes that are no message");
    assert!(serve::serves(rpc::GET_WORKFLOWS, b"") && !serve::serves("/vtctlservice.Vtctld/Backup", b""));
    assert!(serve::SERVED.iter().filter(|served| served.streams).all(|served| served.path == rpc::EXECUTE_VTCTL_COMMAND));

    // Without a vtctld the flow says what is missing, before any ask.
    let (reply, asks) = Cluster::new(&["0"]).run(&command("Workflow ks.wf delete"));
    let status = reply.result.unwrap_err();
    assert_eq!((status.code, asks.len(), reply.stream.len()), (Code::Unimplemented, 0, 0));
    assert!(status.message.contains("the command Workflow ks.wf delete"), "{status}");
    let (reply, _) = Cluster::new(&["0"]).run(&command(""));
    assert!(printed(&reply).contains("  Workflow ") && told(&reply).1.unwrap() == "no command was specified");
    assert!(printed(&Cluster::new(&["0"]).run(&command("help")).0).starts_with("Available commands:\n"));
    let bad = Call { request: b"\xff".to_vec(), ..command("") };
    assert_eq!(Cluster::new(&["0"]).run(&bad).0.result.unwrap_err().code, Code::InvalidArgument);
}

fn version(cluster: &Cluster, uid: u32) -> (Result<String, String>, Vec<vtflow_planner::Ask>) {
    let request = GetVersionRequest { tablet_alias: Some(alias(uid)) }.encode_to_vec();
    let call = Call { path: rpc::GET_VERSION.into(), request, options: CallOptions::default() };
    let (reply, asks) = cluster.run(&call);
    let version = |bytes: Vec<u8>| GetVersionResponse::decode(bytes.as_slice()).unwrap().version;
    (reply.result.map(version).map_err(|status| status.message), asks)
}

#[test]
fn a_version_is_read_from_the_tablets_page() {
    let mut cluster = Cluster::new(&["0"]);
    let path = format!("tablets/{}/Tablet", alias_text(100));
    let key = ("zone1".to_owned(), path.clone());
    assert_eq!(
        version(&cluster, 7).0.unwrap_err(),
        format!("node doesn't exist: /vitess/zone1/tablets/{}/Tablet", alias_text(7))
    );
    assert!(version(&cluster, 100).0.unwrap_err().contains("its record says no port \"vt\""));
    let mut record = Tablet::decode(cluster.topo[&key].as_slice()).unwrap();
    record.port_map.insert("vt".into(), 15_100);
    record.hostname = "::1".into();
    cluster.topo.insert(key.clone(), record.encode_to_vec());

    let page = br#"{"BuildHost":"h","BuildUser":"u","BuildTimestamp":1,"BuildGitRev":"r","cmdline":["x"]}"#;
    cluster.answer(100, "/debug/vars", Answer::Called(page.to_vec()));
    let (text, asks) = version(&cluster, 100);
    assert_eq!(text.unwrap(), "{h u 1 r}");
    let plan = Plan::new(rpc::GET_VERSION, &asks, Vec::new());
    assert!(plan.text().contains("2  zone1-0000000100  page   /debug/vars  at [::1]:15100\n"), "{}", plan.text());

    cluster.answer(100, "/debug/vars", silent(100));
    assert_eq!(version(&cluster, 100).0.unwrap_err(), format!("{} did not answer in 10s", alias_text(100)));
    cluster.answer(100, "/debug/vars", Answer::Called(b"<html>".to_vec()));
    assert!(
        version(&cluster, 100).0.unwrap_err().starts_with("the page /debug/vars of tablet zone1-0000000100 cannot be read: ")
    );
    record.hostname.clear();
    cluster.topo.insert(key, record.encode_to_vec());
    assert!(version(&cluster, 100).0.unwrap_err().ends_with("its record says no host, so it was shut down"));
    let nobody = Call { path: rpc::GET_VERSION.into(), request: Vec::new(), options: CallOptions::default() };
    assert_eq!(cluster.run(&nobody).0.result.unwrap_err().message, "tablet_alias is required");
}

#[test]
fn one_shard_that_is_asked_for_is_all_that_is_listed() {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.answer(100, "names", names(&["a"])).answer(200, "names", names(&["b"]));
    let (reply, asks) = cluster.run(&command("Workflow --shards -80 ks listall"));
    assert_eq!(printed(&reply), "Following workflow(s) found in keyspace ks: a\n");
    assert!(asks.iter().all(|ask| !crate::support::ask_name(ask).contains(&alias_text(200))));
}

/// A text stays a text, whatever is in it.
#[test]
fn texts_of_migrations_are_quoted_in_json_and_numbers_are_not() {
    let mut cluster = Cluster::new(&["0"]);
    let row = ["7", "7", "{}", "x"].map(|value| Some(value.to_owned())).to_vec();
    cluster.answer(100, "migrations", rows(&["#id", "message", "options", "#eta"], &[row]));
    let shown: Value = serde_json::from_str(&printed(&cluster.run(&command("OnlineDDL --json ks show")).0)).unwrap();
    assert_eq!(shown["rows"], serde_json::json!([[alias_text(100), 7, "7", "{}", "x"]]));
}
