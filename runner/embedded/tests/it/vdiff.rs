//! The `VDiff` RPC against a recorded cluster: the same answers, and the same rows afterwards.
//!
//! Not compared: ids, times but for whether they are given, and how far a comparison had got (`tests/recordings/README.md`).

use std::{collections::BTreeMap, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::Value;
use tonic::Status;
use vtflow_embedded::{Cell, Cluster, Release, Shape, Snapshot, generate};
use vtflow_planner::{
    Timestamp,
    proto::tabletmanagerdata::{
        ExecuteFetchAsDbaRequest, ExecuteFetchAsDbaResponse, VDiffCoreOptions, VDiffOptions, VDiffReportOptions, VDiffRequest,
        VDiffResponse,
    },
};

use crate::cluster::{call, values};

const VDIFF: &str = "/tabletmanagerservice.TabletManager/VDiff";
const DBA: &str = "/tabletmanagerservice.TabletManager/ExecuteFetchAsDba";
const TABLES: [&str; 3] = ["vdiff", "vdiff_table", "vdiff_log"];
const FIRST: &str = "zone1-0000000200";
const SECOND: &str = "zone2-0000000300";
const UUID: &str = "11111111-1111-1111-1111-111111111111";

/// Rows as they are compared, by table.
type Rows = BTreeMap<&'static str, Vec<String>>;

fn recorded(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/vdiff").join(name)
}

fn step(name: &str) -> Value {
    let steps: Value = serde_json::from_str(&std::fs::read_to_string(recorded("steps.json")).unwrap()).unwrap();
    steps.as_array().unwrap().iter().find(|step| step["step"] == name).unwrap().clone()
}

/// The cluster as it was before a step.
async fn before(step: &Value) -> Cluster {
    let mut snapshot = Snapshot::load(&recorded("before")).unwrap();
    let cell = |value: &Value| match value {
        Value::Null => Cell::Null,
        Value::Number(number) => Cell::Int(number.as_i64().unwrap()),
        other => Cell::Text(other.as_str().unwrap().to_owned()),
    };
    for (alias, tables) in step["before"].as_object().unwrap() {
        for table in TABLES {
            let rows = tables[table].as_array().unwrap().iter();
            let rows = rows.map(|row| row.as_array().unwrap().iter().map(cell).collect()).collect();
            snapshot.tablets.get_mut(alias).unwrap().sidecar.get_mut(table).unwrap().rows = rows;
        }
    }
    Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.unwrap()
}

async fn vdiff(cluster: &Cluster, alias: &str, request: VDiffRequest) -> Result<VDiffResponse, Status> {
    let answer = call(cluster.port(alias).unwrap(), VDIFF, request, Duration::from_secs(20)).await?;
    Ok(VDiffResponse::decode(answer).unwrap())
}

/// A row without what is not compared.
fn comparable(table: &str, row: &[String]) -> String {
    let given = |at: usize| if row[at] == "NULL" { "not given" } else { "given" };
    match table {
        "vdiff" => format!("{:?} started {} completed {} {}", &row[1..8], given(9), given(11), row[12]),
        "vdiff_table" => format!("{} {}", row[1], row[2]),
        _ => row[3].clone(),
    }
}

async fn ours(cluster: &Cluster, alias: &str) -> Rows {
    let mut rows = Rows::new();
    for table in TABLES {
        let query = format!("select * from _vt.{table}").into_bytes();
        let request = ExecuteFetchAsDbaRequest { query, max_rows: 100, ..ExecuteFetchAsDbaRequest::default() };
        let answer = call(cluster.port(alias).unwrap(), DBA, request, Duration::from_secs(20)).await.unwrap();
        let result = ExecuteFetchAsDbaResponse::decode(answer).unwrap().result.unwrap();
        rows.insert(table, values(&result).iter().map(|row| comparable(table, row)).collect());
    }
    rows
}

fn theirs(state: &Value, alias: &str) -> Rows {
    let text = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let read = |table: &'static str| {
        let rows = state[alias][table].as_array().unwrap().iter();
        let rows = rows.map(|row| comparable(table, &row.as_array().unwrap().iter().map(text).collect::<Vec<_>>()));
        (table, rows.collect())
    };
    TABLES.map(read).into()
}

/// Makes the recorded calls; ids are the tablet's own.
async fn perform(cluster: &Cluster, step: &Value) {
    let bytes = |value: &Value| BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap();
    for recorded in step["tablet_calls"].as_array().unwrap() {
        let request = VDiffRequest::decode(bytes(&recorded["request"]).as_slice()).unwrap();
        let answer = vdiff(cluster, recorded["tablet"].as_str().unwrap(), request).await.unwrap();
        let want = VDiffResponse::decode(bytes(&recorded["response"]).as_slice()).unwrap();
        assert_eq!(VDiffResponse { id: 0, ..answer }, VDiffResponse { id: 0, ..want }, "{}", step["from"]);
    }
}

/// Two tables are compared.
async fn shown_twice(cluster: &Cluster) {
    for alias in [FIRST, SECOND, FIRST, SECOND] {
        let show = VDiffRequest {
            keyspace: "customer".into(),
            workflow: "m2".into(),
            action: "show".into(),
            action_arg: UUID.into(),
            ..VDiffRequest::default()
        };
        assert_eq!(vdiff(cluster, alias, show).await.unwrap().output.unwrap().rows.len(), 2);
    }
}

#[tokio::test]
async fn what_was_recorded_leaves_the_rows_that_it_left_there() {
    let create = step("create");
    let cluster = before(&create).await;
    perform(&cluster, &create).await;
    // One shard was recorded before it had compared a table, the other one a second later.
    let (mine, other) = (ours(&cluster, SECOND).await, theirs(&create["after"], SECOND));
    assert_eq!(mine, other);
    let (mine, other) = (ours(&cluster, FIRST).await, theirs(&create["after"], FIRST));
    assert_eq!(mine["vdiff"], other["vdiff"]);
    assert_eq!(mine["vdiff_table"].len(), 2);
    assert!(other["vdiff_log"].starts_with(&mine["vdiff_log"]), "{mine:?} {other:?}");
    shown_twice(&cluster).await;
    let show = step("show");
    for alias in [FIRST, SECOND] {
        assert_eq!(ours(&cluster, alias).await, theirs(&show["before"], alias), "{alias}");
    }
    for name in ["show", "stop", "delete"] {
        let step = step(name);
        let cluster = before(&step).await;
        perform(&cluster, &step).await;
        for alias in [FIRST, SECOND] {
            assert_eq!(ours(&cluster, alias).await, theirs(&step["after"], alias), "{name} on {alias}");
        }
    }
}

#[tokio::test]
async fn one_that_is_resumed_ends_as_it_did_there() {
    let step = step("resume");
    let cluster = before(&step).await;
    for alias in [FIRST, SECOND] {
        let resume =
            VDiffRequest { action: "resume".into(), vdiff_uuid: UUID.into(), workflow: "m2".into(), ..Default::default() };
        vdiff(&cluster, alias, resume.clone()).await.unwrap();
        let again = vdiff(&cluster, alias, resume).await.unwrap_err();
        let text =
            format!("TabletManager.VDiff on {alias}: no completed or stopped vdiff found for UUID {UUID} on tablet {alias}");
        assert_eq!(again.message(), text);
    }
    shown_twice(&cluster).await;
    for alias in [FIRST, SECOND] {
        let (mut mine, mut other) = (ours(&cluster, alias).await, theirs(&step["after"], alias));
        // Tables are compared in no order there.
        for rows in [&mut mine, &mut other] {
            rows.get_mut("vdiff_log").unwrap().sort();
        }
        assert_eq!(mine, other, "{alias}");
    }
}

#[tokio::test]
async fn one_is_stopped_resumed_and_deleted_while_it_compares() {
    let create = step("create");
    let cluster = before(&create).await;
    perform(&cluster, &create).await;
    let ask = |action: &str, argument: &str, uuid: &str| VDiffRequest {
        keyspace: "customer".into(),
        workflow: "m2".into(),
        action: action.into(),
        action_arg: argument.into(),
        vdiff_uuid: uuid.into(),
        ..VDiffRequest::default()
    };
    let refused = async |request: VDiffRequest, text: &str| {
        let status = vdiff(&cluster, FIRST, request).await.unwrap_err();
        assert_eq!(status.message(), format!("TabletManager.VDiff on {FIRST}: {text}"));
    };
    let other = "22222222-2222-2222-2222-222222222222";
    refused(ask("create", "", UUID), &format!("vdiff with UUID {UUID} already exists on tablet {FIRST}")).await;
    refused(ask("resume", "", other), &format!("vdiff with UUID {other} not found on tablet {FIRST}")).await;
    refused(ask("delete", other, ""), &format!("no vdiff found for UUID {other} on tablet {FIRST}")).await;
    refused(ask("delete", "last", ""), "action argument last not supported").await;
    refused(
        ask("show", other, ""),
        &format!("no vdiff found for UUID {other} keyspace customer and workflow m2 on tablet {FIRST}"),
    )
    .await;
    refused(ask("pause", "", UUID), "action pause not supported").await;
    assert_eq!(vdiff(&cluster, FIRST, ask("stop", "", other)).await.unwrap(), VDiffResponse::default(), "nobody is told");
    vdiff(&cluster, FIRST, ask("stop", "", UUID)).await.unwrap();
    let states = ours(&cluster, FIRST).await;
    assert_eq!(states["vdiff_table"], ["t1 stopped", "t2 stopped"]);
    assert!(states["vdiff"][0].contains("\"stopped\""), "{states:?}");
    let answer = vdiff(&cluster, FIRST, ask("show", "last", "")).await.unwrap();
    assert_eq!((answer.output.unwrap().rows.len(), ours(&cluster, FIRST).await), (2, states), "it does not go on");
    vdiff(&cluster, FIRST, ask("resume", "", UUID)).await.unwrap();
    assert_eq!(ours(&cluster, FIRST).await["vdiff_table"], ["t1 started", "t2 pending"]);
    vdiff(&cluster, FIRST, ask("delete", "all", "")).await.unwrap();
    assert!(ours(&cluster, FIRST).await.values().all(Vec::is_empty), "the log, too");
}

#[tokio::test]
async fn a_release_stores_what_it_knows() {
    let now = Timestamp { seconds: 1_795_424_044, nanos: 0 };
    for (major, state, options) in [
        (24, "stopped", r#"{"core_options": {"max_rows": 5, "auto_start": false, "max_diff_seconds": 9}, "#),
        (20, "started", r#"{"core_options": {"max_rows": 5, "max_diff_seconds": 9}, "#),
        (18, "started", r#"{"core_options": {"max_rows": 5}, "#),
    ] {
        let release = Release::new(major);
        let cluster = generate(Shape { shards: 1, streams: 4, release, ..Shape::default() }, now);
        let cluster = Cluster::start(cluster, BTreeMap::new(), Duration::ZERO).await.unwrap();
        let core = VDiffCoreOptions { max_rows: 5, max_diff_seconds: 9, auto_start: Some(false), ..VDiffCoreOptions::default() };
        let report = VDiffReportOptions { row_diff_column_truncate_at: 128, ..VDiffReportOptions::default() };
        let request = VDiffRequest {
            keyspace: "customer".into(),
            workflow: "commerce2customer".into(),
            action: "create".into(),
            vdiff_uuid: UUID.into(),
            options: Some(VDiffOptions { core_options: Some(core), report_options: Some(report), picker_options: None }),
            ..VDiffRequest::default()
        };
        let alias = "zone1-0000000200";
        vdiff(&cluster, alias, request.clone()).await.unwrap();
        let rows = ours(&cluster, alias).await;
        let row = rows["vdiff"].iter().find(|row| row.contains(UUID)).unwrap();
        assert!(
            row.contains(&format!("{state:?}")) && row.contains(&format!("{options:?}")[1..options.len()]),
            "v{major}: {row}"
        );
        let again = vdiff(&cluster, alias, request).await.unwrap_err();
        let name = if major < 21 { r#"cell:"zone1" uid:200"# } else { alias };
        assert!(again.message().ends_with(&format!("already exists on tablet {name}")), "v{major}: {}", again.message());
    }
}
