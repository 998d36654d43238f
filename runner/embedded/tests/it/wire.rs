//! Replays what real tablets of Vitess v16 to v24 answered against the embedded tablets, over real gRPC.
//!
//! Every line of `tests/snapshots/*/expect/tablet-wire.jsonl` is one RPC with the bytes of its request and response. The
//! embedded tablet must answer the same fields, rows, codes and texts. What it cannot match is listed in [`DIFFERENCES`], each
//! with its reason; a listed case that starts to match fails the test, so that the list stays true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use tonic::{Code, Request, Status, transport::Channel};
use vtflow_embedded::{Cluster, Snapshot, raw::RawCodec as Raw};
use vtflow_planner::proto::{query::QueryResult, tabletmanagerdata as data};

/// Cases that an embedded tablet cannot answer as the real one did: snapshot, case (or method), tablet (empty: all), reason.
const DIFFERENCES: &[(&str, &str, &str, &str)] =
    &[("mixed-releases", "PrimaryPosition", "", "a snapshot does not hold the tablet's own position")];

#[derive(Default, Deserialize)]
struct Recorded {
    tablet: String,
    method: String,
    #[serde(default)]
    case: String,
    #[serde(default)]
    request_bytes: String,
    response_bytes: Option<String>,
    error: Option<String>,
    /// Rows of the streams that the call was about, read from MySQL.
    #[serde(default)]
    rows_after: Vec<BTreeMap<String, Option<String>>>,
}

fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/snapshots")
}

fn recorded(file: &Path) -> Vec<Recorded> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_tablets_answer_reads_as_real_ones() {
    let mut problems = Vec::new();
    let mut unused: BTreeSet<usize> = (0..DIFFERENCES.len()).collect();
    let mut compared = 0;
    let mut folders: Vec<_> = std::fs::read_dir(snapshots()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join("expect/tablet-wire.jsonl").exists()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let snapshot = Snapshot::load(folder).unwrap();
        let with_rows: BTreeSet<String> = snapshot.tablets.keys().cloned().collect();
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.unwrap();
        let mut channels = Channels::default();
        for line in recorded(&folder.join("expect/tablet-wire.jsonl")) {
            if !with_rows.contains(&line.tablet) {
                // Without rows in the snapshot there is no tablet, only a port that refuses.
                assert!(channels.call(&cluster, &line).await.is_err_and(|status| status.code() == Code::Unavailable));
                continue;
            }
            compared += 1;
            let case = if line.case.is_empty() { line.method.rsplit('/').next().unwrap() } else { &line.case };
            let listed = DIFFERENCES.iter().position(|(snapshot, listed, tablet, _)| {
                *snapshot == name && *listed == case && (tablet.is_empty() || *tablet == line.tablet)
            });
            let got = channels.call(&cluster, &line).await;
            match (compare(&line, got), listed) {
                (Err(_), Some(listed)) => {
                    unused.remove(&listed);
                }
                (Ok(()), Some(_)) => problems.push(format!("{name} {} {case}: matches now, take it off the list", line.tablet)),
                (Err(difference), None) => problems.push(format!("{name} {} {case}: {difference}", line.tablet)),
                (Ok(()), None) => {}
            }
        }
    }
    for index in unused {
        problems.push(format!("listed and never met: {:?}", DIFFERENCES[index]));
    }
    assert!(compared > 300, "only {compared} cases found");
    assert!(problems.is_empty(), "{} of {compared} cases differ:\n{}", problems.len(), problems.join("\n"));
}

/// Cases of `tablet-wire-writes.jsonl` that are about acceptance and refusal, or whose answer needs no running stream. They are
/// replayed in the order of the file, because some change rows that later ones read.
const WRITES: &[&str] = &[
    "update_none",
    "update_none_workflow",
    "update_no_selective_where",
    "update_allow_unsafe",
    "update_qualified_id",
    "update_limit",
    "update_id",
    "update_subquery_same_table",
    "delete_none",
    "delete_no_selective_where",
    "insert_copy_state",
    "update_copy_state",
    "insert_ignore",
    "insert_with_id",
    "insert_missing_columns",
    "insert_throw_away",
    "insert_bad_source",
    "update_bad_source",
    "update_bad_source_running",
    "update_compressed_pos",
    "update_same_1",
    "UVW.all_unchanged",
    "UVW.cells",
    "UVW.v18_stop",
    "UVW.in_order_again",
    "UVW.v21_stop",
    "UVW.on_ddl_stop",
    "UVW.state_absent",
    "UVW.state_stopped",
    "UVW.only_state",
    "UVW.message",
    "UVW.config_overrides",
    "UVW.filter_rules",
    "UVW.no_such_workflow",
    "UVW.frozen_running",
    "UVW.bad_source",
    "ReadVReplicationWorkflow.bad_source",
    "DeleteVReplicationWorkflow",
    "DeleteVReplicationWorkflow.again",
    "start_with_copy_state.VReplicationExec",
    "stop_while_copying.VReplicationExec",
    "start_with_copy_state.UpdateVReplicationWorkflow",
    "stop_while_copying.again",
    "ValidateVReplicationPermissions",
    "eq.cancel_unknown",
    "eq.bad_uuid",
    "eq.launch",
    "eq.force_cutover",
    "eq.cutover_threshold",
    "eq.postpone_complete",
    "eq.cleanup_all",
    "eq.cancel",
    "eq.retry",
    "eq.cancel_all",
    "select_backticks",
    "select_comment",
    "select_exists_join",
    "select_for_update",
    "select_no_rows_subquery",
    "select_string_number",
    "select_unicode",
    "select_upper",
    "dba.two_statements",
    "VExec.select",
    "VExec.vreplication",
    "VExec.bad_verb",
    "VExec.delete",
    "Ping",
];

/// Rows that are compared after `UpdateVReplicationWorkflow`.
const ROWS_AFTER_UPDATES: usize = 70;

#[tokio::test(flavor = "multi_thread")]
async fn embedded_tablets_take_and_refuse_writes_as_real_ones() {
    let folder = snapshots().join("mixed-releases");
    let cluster = Cluster::start(Snapshot::load(&folder).unwrap(), BTreeMap::new(), Duration::ZERO).await.unwrap();
    let mut channels = Channels::default();
    let mut problems = Vec::new();
    let (mut met, mut started, mut compared_rows) = (BTreeSet::new(), BTreeSet::new(), 0);
    for line in recorded(&folder.join("expect/tablet-wire-writes.jsonl")) {
        if !WRITES.contains(&line.case.as_str()) {
            continue;
        }
        met.insert(line.case.clone());
        let got = channels.call(&cluster, &line).await;
        if let Err(difference) = compare(&line, got) {
            problems.push(format!("{} {}: {difference}", line.tablet, line.case));
        }
        for wanted in line.rows_after.iter().filter(|_| line.method.ends_with("/UpdateVReplicationWorkflow")) {
            compared_rows += 1;
            // A stream that starts writes messages of its own; an embedded one does not.
            let message = wanted.get("message").cloned().flatten().unwrap_or_default();
            if line.case.starts_with("start_") || message.starts_with("Picked source tablet") {
                started.insert(line.tablet.clone());
            }
            let has_started = started.contains(&line.tablet);
            if let Err(difference) = channels.compare_stream(&cluster, &line.tablet, wanted, has_started).await {
                problems.push(format!("{} {}: {difference}", line.tablet, line.case));
            }
        }
    }
    assert_eq!(compared_rows, ROWS_AFTER_UPDATES);
    assert_eq!(met.len(), WRITES.len(), "recorded: {met:?}");
    assert!(problems.is_empty(), "{} differ:\n{}", problems.len(), problems.join("\n"));
}

fn compare(line: &Recorded, got: Result<Bytes, Status>) -> Result<(), String> {
    match (&line.error, got) {
        (Some(wanted), Err(status)) => {
            let got = format!("rpc error: code = {:?} desc = {}", status.code(), status.message());
            // Go's protobuf library writes a space or a no-break space there, another one in each build, on purpose.
            let wanted = wanted.replace('\u{a0}', " ");
            if wanted == got { Ok(()) } else { Err(format!("error differs\n  want {wanted}\n  got  {got}")) }
        }
        (Some(wanted), Ok(_)) => Err(format!("answered instead of failing with {wanted}")),
        (None, Err(status)) => Err(format!("failed with {:?} {}", status.code(), status.message())),
        (None, Ok(got)) => {
            let wanted = BASE64.decode(line.response_bytes.as_deref().unwrap_or("")).unwrap();
            // Where a statement has no ORDER BY the rows come in any order, and so do the values within json_arrayagg.
            let ordered = String::from_utf8_lossy(&BASE64.decode(&line.request_bytes).unwrap()).contains("order by");
            same(line.method.rsplit('/').next().unwrap(), &wanted, &got, ordered)
        }
    }
}

fn same(method: &str, wanted: &[u8], got: &[u8], ordered: bool) -> Result<(), String> {
    match method {
        "VReplicationExec" => {
            let decode = |raw: &[u8]| data::VReplicationExecResponse::decode(raw).unwrap().result;
            same_results(decode(wanted).into_iter().collect(), decode(got).into_iter().collect(), ordered)
        }
        "ExecuteFetchAsDba" => {
            let decode = |raw: &[u8]| data::ExecuteFetchAsDbaResponse::decode(raw).unwrap().result;
            same_results(decode(wanted).into_iter().collect(), decode(got).into_iter().collect(), ordered)
        }
        "ExecuteMultiFetchAsDba" => {
            let decode = |raw: &[u8]| data::ExecuteMultiFetchAsDbaResponse::decode(raw).unwrap().results;
            same_results(decode(wanted), decode(got), ordered)
        }
        "ReadVReplicationWorkflows" => {
            let decode = |raw: &[u8]| {
                let mut all = data::ReadVReplicationWorkflowsResponse::decode(raw).unwrap().workflows;
                all.sort_by(|a, b| a.workflow.cmp(&b.workflow));
                all
            };
            let (wanted, got) = (decode(wanted), decode(got));
            if wanted == got { Ok(()) } else { Err(format!("workflows differ\n  want {wanted:?}\n  got  {got:?}")) }
        }
        "ReadVReplicationWorkflow" => {
            let decode = |raw: &[u8]| data::ReadVReplicationWorkflowResponse::decode(raw).unwrap();
            let (wanted, got) = (decode(wanted), decode(got));
            if wanted == got { Ok(()) } else { Err(format!("workflow differs\n  want {wanted:?}\n  got  {got:?}")) }
        }
        _ if wanted == got => Ok(()),
        _ => Err(format!("bytes differ\n  want {wanted:?}\n  got  {got:?}")),
    }
}

fn same_results(wanted: Vec<QueryResult>, got: Vec<QueryResult>, ordered: bool) -> Result<(), String> {
    if wanted.len() != got.len() {
        return Err(format!("{} results instead of {}", got.len(), wanted.len()));
    }
    for (wanted, got) in wanted.into_iter().zip(got) {
        if wanted.fields.len() != got.fields.len() {
            return Err(format!("{} fields instead of {}", got.fields.len(), wanted.fields.len()));
        }
        for (wanted, got) in wanted.fields.iter().zip(&got.fields) {
            if wanted != got {
                return Err(format!("field differs\n  want {wanted:?}\n  got  {got:?}"));
            }
        }
        let (wanted_rows, got_rows) = (rows(&wanted, ordered), rows(&got, ordered));
        for (wanted, got) in wanted_rows.iter().zip(&got_rows) {
            if wanted != got {
                return Err(format!("row differs\n  want {wanted:?}\n  got  {got:?}"));
            }
        }
        if wanted_rows.len() != got_rows.len() {
            return Err(format!("{} rows instead of {}", got_rows.len(), wanted_rows.len()));
        }
        let rest = |result: &QueryResult| (result.rows_affected, result.insert_id, result.insert_id_changed);
        if rest(&wanted) != rest(&got) {
            return Err(format!("{:?} instead of {:?}", rest(&got), rest(&wanted)));
        }
    }
    Ok(())
}

/// The values of each row, `None` for NULL; sorted where the order means nothing.
fn rows(result: &QueryResult, ordered: bool) -> Vec<Vec<Option<String>>> {
    let mut rows: Vec<_> = result
        .rows
        .iter()
        .map(|row| {
            let mut at = 0;
            let mut values: Vec<Option<String>> = Vec::new();
            for length in &row.lengths {
                let Ok(length) = usize::try_from(*length) else {
                    values.push(None);
                    continue;
                };
                let value = &row.values[at..at + length];
                // json_arrayagg promises no order.
                values.push(Some(match serde_json::from_slice(value) {
                    Ok(serde_json::Value::Array(items)) => {
                        let mut items: Vec<String> = items.iter().map(ToString::to_string).collect();
                        items.sort();
                        format!("{length} bytes: {}", items.join("\n"))
                    }
                    _ => value.escape_ascii().to_string(),
                }));
                at += length;
            }
            assert_eq!(at, row.values.len(), "lengths and values disagree");
            values
        })
        .collect();
    if !ordered {
        rows.sort();
    }
    rows
}

/// One connection per tablet.
#[derive(Default)]
struct Channels(BTreeMap<String, Channel>);

impl Channels {
    /// A stream's row on an embedded tablet and as MySQL had it: the columns that an update of its workflow may change.
    async fn compare_stream(
        &mut self,
        cluster: &Cluster,
        tablet: &str,
        wanted: &BTreeMap<String, Option<String>>,
        has_started: bool,
    ) -> Result<(), String> {
        let text = |column: &str| wanted.get(column).cloned().flatten().unwrap_or_default();
        let mut columns = vec!["source", "cell", "tablet_types", "state"];
        columns.extend((!has_started).then_some("message"));
        columns.extend(wanted.contains_key("options").then_some("options"));
        let query = format!("select {} from _vt.vreplication where id = {}", columns.join(", "), text("id"));
        let line = Recorded {
            tablet: tablet.to_owned(),
            method: "/tabletmanagerservice.TabletManager/VReplicationExec".to_owned(),
            request_bytes: BASE64.encode(data::VReplicationExecRequest { query }.encode_to_vec()),
            ..Recorded::default()
        };
        let got = self.call(cluster, &line).await.map_err(|status| status.to_string())?;
        let result = data::VReplicationExecResponse::decode(got.as_ref()).unwrap().result.unwrap();
        let got = rows(&result, true).pop().ok_or("the stream is gone")?;
        let wanted: Vec<Option<String>> = columns
            .iter()
            .map(|column| wanted.get(*column).cloned().flatten().map(|text| text.as_bytes().escape_ascii().to_string()))
            .collect();
        if got == wanted { Ok(()) } else { Err(format!("row differs\n  want {wanted:?}\n  got  {got:?}")) }
    }

    async fn call(&mut self, cluster: &Cluster, line: &Recorded) -> Result<Bytes, Status> {
        let port = cluster.port(&line.tablet).unwrap_or_else(|| panic!("no tablet {}", line.tablet));
        let channel = self
            .0
            .entry(line.tablet.clone())
            .or_insert_with(|| Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect_lazy());
        let mut grpc = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(16 << 20);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = line.method.parse().unwrap();
        let request = Bytes::from(BASE64.decode(&line.request_bytes).unwrap());
        grpc.unary(Request::new(request), path, Raw).await.map(tonic::Response::into_inner)
    }
}
