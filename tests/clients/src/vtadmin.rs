//! `VTAdmin`, the web interface's server, in front of vtflow: what its HTTP API answers, beside what it answered when it was recorded and
//! what it answers in front of a real vtctld. Lists are compared in any order: it asks several clusters and keyspaces at once.

use std::{path::Path, process::Command};

use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;
use vtflow_embedded::Snapshot;

use crate::{
    client::Ran,
    http,
    live::{Programs, Served},
    output::{Body, Output},
    process::{Process, free_port},
    report::{Report, Verdict},
    states::States,
};

/// A running `VTAdmin` with one cluster, `local`.
struct VtAdmin {
    address: String,
    _process: Process,
    _dir: TempDir,
}

impl VtAdmin {
    /// Starts one in front of a server of Vtctld's RPCs; there is no vtgate, so nothing is asked that goes through one.
    fn start(programs: &Programs, vtctld: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let discovery = dir.path().join("discovery.json");
        let host = json!({ "host": { "fqdn": vtctld, "hostname": vtctld } });
        std::fs::write(&discovery, json!({ "vtctlds": [host], "vtgates": [] }).to_string())?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(programs.clients.join("v24/vtadmin"));
        command
            .args(["--addr", &address, "--no-rbac", "--logtostderr", "--cluster"])
            .arg(format!("id=local,name=local,discovery=staticfile,discovery-staticfile-path={}", discovery.display()));
        let mut process = Process::start("vtadmin", command)?;
        process.wait_until("it answers", |_| http::send(&address, "GET", "/health", "").ok())?;
        Ok(Self { address, _process: process, _dir: dir })
    }

    /// One answer: a status other than 200 stands in the exit code's place.
    fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Output> {
        let (status, text) = http::send(&self.address, method, path, body)?;
        Ok(output(status, &text))
    }
}

/// An error's text stands where a client's would.
fn output(status: u16, text: &str) -> Output {
    let message =
        serde_json::from_str::<Value>(text).ok().and_then(|answer| Some(answer["error"]["message"].as_str()?.to_owned()));
    let exit = if status == 200 { 0 } else { i32::from(status) };
    let ran = match message {
        Some(stderr) => Ran { exit, stdout: String::new(), stderr },
        None => Ran { exit, stdout: text.to_owned(), stderr: String::new() },
    };
    let mut output = Output::of(&ran);
    if let Body::Json(value) = &mut output.body {
        sort(value);
    }
    output
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(sort),
        Value::Array(items) => {
            items.iter_mut().for_each(sort);
            items.sort_by_key(Value::to_string);
        }
        _ => {}
    }
}

/// Compares with the recorded answers.
///
/// # Errors
///
/// Something does not run; the recordings are damaged.
pub fn compare_recorded(programs: &Programs, tests: &Path, states: &States, report: &mut Report) -> anyhow::Result<()> {
    let file = tests.join("recordings/answered-by-vtadmin.jsonl");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mut running: Option<(Snapshot, TempDir, Served, VtAdmin)> = None;
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).context("answered-by-vtadmin.jsonl")?;
        let from = value["from"].as_str().context("a place")?;
        let state = match (states.of(from)?, &running) {
            (Some(state), Some((running, ..))) if *running == state => None,
            (Some(state), _) => Some(state),
            (None, Some(_)) => None,
            (None, None) => Some(Snapshot::load(&tests.join("snapshots/odd-rows"))?),
        };
        if let Some(state) = state {
            running = None;
            let dir = tempfile::tempdir()?;
            state.save(&dir.path().join("state"))?;
            let served = Served::vtflow(programs, &["serve", "--snapshot", &dir.path().join("state").display().to_string()])?;
            let admin = VtAdmin::start(programs, &served.address)?;
            running.replace((state, dir, served, admin));
        }
        let (_, _, served, admin) = running.as_ref().context("started")?;
        let (method, path) = value["http"].as_str().and_then(|http| http.split_once(' ')).context("a request")?;
        let body = if value["body"].is_null() { String::new() } else { value["body"].to_string() };
        let expected: Vec<&str> = value["rpcs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mark = served.mark();
        let ours = admin.ask(method, path, &body)?;
        let mut sent: Vec<String> = served.logged(mark, expected.len()).into_iter().map(|rpc| rpc.method).collect();
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        // It asks for several shards and keyspaces at once.
        sent.sort();
        expected.sort();
        let status = value["status"].as_u64().and_then(|status| u16::try_from(status).ok()).context("a status")?;
        let theirs = match &value["response"] {
            Value::Null => value["response_text"].as_str().unwrap_or_default().to_owned(),
            response => response.to_string(),
        };
        let args = vec![method.to_owned(), path.to_owned(), body];
        let verdict = if sent == expected {
            let (mut ours, mut theirs) = (ours, output(status, &theirs));
            ours.without_place();
            theirs.without_place();
            report.judge(ours, theirs)
        } else {
            Verdict::Different(format!("sends {sent:?}, not {expected:?}"))
        };
        report.add("vtadmin", &format!("recorded ({from})"), &args, verdict);
    }
    Ok(())
}

/// Asks two of them the same: one in front of vtflow, one in front of a vtctld, whose addresses these are, ours first. `keyspaces`
/// and `workflows` are what there is: pairs of keyspace and name. `place` is what the report calls the cluster.
///
/// # Errors
///
/// Something does not run.
pub fn compare_live(
    programs: &Programs,
    (vtflow, vtctld): (&str, &str),
    place: &str,
    keyspaces: &[String],
    workflows: &[(String, String)],
    report: &mut Report,
) -> anyhow::Result<()> {
    let ours = VtAdmin::start(programs, vtflow)?;
    let theirs = VtAdmin::start(programs, vtctld)?;
    let mut asks: Vec<(String, String)> = [
        "keyspaces",
        "cells",
        "cells_aliases",
        "srvkeyspaces",
        "srvvschemas",
        "vschemas",
        "cluster/local/topology?path=/",
        "cluster/local/topology?path=/global",
        "cluster/local/topology?path=/nosuch",
        "workflows?keyspace=nosuch",
    ]
    .map(|path| (format!("/api/{path}"), String::new()))
    .into();
    let migrations = |keyspace: &str| {
        let requests = [json!({ "cluster_id": "local", "request": { "keyspace": keyspace } })];
        json!({ "cluster_requests": requests }).to_string()
    };
    for keyspace in keyspaces {
        asks.extend(
            [
                format!("/api/keyspace/local/{keyspace}"),
                format!("/api/workflows?keyspace={keyspace}"),
                format!("/api/workflows?keyspace={keyspace}&active_only=true"),
                format!("/api/srvkeyspace/local/{keyspace}"),
                format!("/api/vschema/local/{keyspace}"),
                format!("/api/cluster/local/topology?path=/global/keyspaces/{keyspace}/Keyspace"),
            ]
            .map(|path| (path, String::new())),
        );
        asks.push(("/api/migrations/".to_owned(), migrations(keyspace)));
    }
    for (keyspace, workflow) in workflows {
        let vdiff = json!({ "workflow": workflow, "target_keyspace": keyspace, "arg": "last" });
        asks.push((format!("/api/workflow/local/{keyspace}/{workflow}"), String::new()));
        asks.push((format!("/api/workflow/local/{keyspace}/{workflow}/status"), String::new()));
        asks.push(("/api/vdiff/local/show".to_owned(), vdiff.to_string()));
    }
    for (path, body) in asks {
        let args = vec!["GET".to_owned(), path.clone(), body.clone()];
        let verdict = report.judge(ours.ask("GET", &path, &body)?, theirs.ask("GET", &path, &body)?);
        report.add("vtadmin", place, &args, verdict);
    }
    Ok(())
}
