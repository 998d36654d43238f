//! Changes through the server: who may make them, that they end whatever their caller does, and the line that they leave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{
    live::{Live, ROOT},
    process::Process,
    serving::{GET_WORKFLOWS, NOW, Serving, channel, http_get, options, unary, workflows_of},
};
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Request};
use vtflow::{
    embedded::{Fault, Release, Shape, Snapshot, generate},
    server::ServerOptions,
};
use vtflow_planner::{
    Call, CallOptions,
    proto::{
        binlogdata::VReplicationWorkflowState,
        tabletmanagerdata::UpdateVReplicationWorkflowRequest,
        vtctldata::{GetWorkflowsResponse, WorkflowUpdateRequest, WorkflowUpdateResponse},
    },
    rpc, serve,
};

const WORKFLOW: &str = "move_orders_1";

/// Two shards of tablets that take statements.
fn cluster() -> Snapshot {
    generate(Shape { shards: 2, streams: 12, release: Release::new(16), ..Shape::default() }, NOW)
}

/// What VTAdmin's button sends.
fn stop(keyspace: &str) -> Bytes {
    let tablet_request = Some(UpdateVReplicationWorkflowRequest {
        workflow: WORKFLOW.into(),
        state: Some(VReplicationWorkflowState::Stopped.into()),
        ..UpdateVReplicationWorkflowRequest::default()
    });
    WorkflowUpdateRequest { keyspace: keyspace.into(), tablet_request }.encode_to_vec().into()
}

fn with_writes() -> ServerOptions {
    ServerOptions { allow_writes: true, ..options() }
}

/// The states of every stream, by workflow and shard.
async fn states(serving: &Serving) -> BTreeMap<String, String> {
    let reply = serving.call(GET_WORKFLOWS, workflows_of("customer")).await.unwrap().into_inner();
    let workflows = GetWorkflowsResponse::decode(reply).unwrap().workflows;
    let mut states = BTreeMap::new();
    for workflow in &workflows {
        for (place, shard) in &workflow.shard_streams {
            states.extend(shard.streams.iter().map(|stream| (format!("{} {place}", workflow.name), stream.state.clone())));
        }
    }
    states
}

fn stopped(states: &BTreeMap<String, String>) -> usize {
    states.iter().filter(|(name, state)| name.starts_with(WORKFLOW) && *state == "Stopped").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_changes_nothing_unless_it_was_told_that_it_may() {
    let serving = Serving::with(options(), cluster(), &[]).await;
    let before = states(&serving).await;
    for served in serve::SERVED.iter().filter(|served| served.effect == vtflow_planner::Effect::Write) {
        let status = serving.call(served.path, stop("customer")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{}", served.path);
        assert!(status.message().contains("--allow-writes"), "{}", status.message());
    }
    assert_eq!(states(&serving).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_changes_these_rows_and_says_so() {
    let serving = Serving::with(with_writes(), cluster(), &[]).await;
    let before = states(&serving).await;
    assert_eq!(stopped(&before), 0);
    let reply = serving.call(rpc::WORKFLOW_UPDATE, stop("customer")).await.unwrap().into_inner();
    let reply = WorkflowUpdateResponse::decode(reply).unwrap();
    let want = format!("Successfully updated the {WORKFLOW} workflow on (2) target primary tablets in the customer keyspace");
    assert_eq!(reply.summary, want);
    assert!(reply.details.iter().all(|tablet| tablet.changed));
    let after = states(&serving).await;
    assert_eq!(stopped(&after), 2);
    let others = |states: BTreeMap<String, String>| states.into_iter().filter(|(name, _)| !name.starts_with(WORKFLOW));
    assert!(others(before).eq(others(after)), "nothing else has changed");
    let status = serving.call(rpc::WORKFLOW_UPDATE, stop("nope")).await.unwrap_err();
    assert!(status.message().contains("nope"), "{}", status.message());
}

// TR-19.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_on_when_its_caller_has_gone() {
    let faults = [("zone1-0000000200", Fault::Delay(Duration::from_millis(300)))];
    for deadline in [None, Some("200m")] {
        let serving = Serving::with(with_writes(), cluster(), &faults).await;
        let channel = serving.channel().await;
        let calling = tokio::spawn(async move {
            let mut request = Request::new(stop("customer"));
            if let Some(deadline) = deadline {
                request.metadata_mut().insert("grpc-timeout", deadline.parse().unwrap());
            }
            unary(channel, rpc::WORKFLOW_UPDATE, request).await
        });
        if deadline.is_some() {
            // Over in the middle of the look: refused, and nothing is half done.
            assert!(calling.await.unwrap().is_err());
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(stopped(&states(&serving).await), 0);
            continue;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        calling.abort();
        assert!(calling.await.unwrap_err().is_cancelled());
        let mut seen = 0;
        for _ in 0..50 {
            seen = stopped(&states(&serving).await);
            if seen == 2 {
                break;
            }
        }
        assert_eq!(seen, 2, "the change was given up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_from_before_a_change_is_nobodys_who_asks_after_it() {
    let faults = [("zone1-0000000200", Fault::Delay(Duration::from_millis(800)))];
    for (keyspace, shared) in [(None, 1), (Some("nope"), 0)] {
        let serving = Serving::with(with_writes(), cluster(), &faults).await;
        let read = |channel| unary(channel, GET_WORKFLOWS, Request::new(workflows_of("customer")));
        let first = tokio::spawn(read(serving.channel().await));
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Some(keyspace) = keyspace {
            // It fails, but only its end knows.
            serving.call(rpc::WORKFLOW_UPDATE, stop(keyspace)).await.unwrap_err();
        }
        assert!(!first.is_finished());
        read(serving.channel().await).await.unwrap();
        first.await.unwrap().unwrap();
        let (_, metrics) = http_get(serving.http(), "/metrics").await;
        let line = metrics.lines().find(|line| line.starts_with("vtflow_rpcs_shared_total ")).unwrap_or("none").to_owned();
        assert_eq!(line, format!("vtflow_rpcs_shared_total {shared}"), "{keyspace:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_leaves_a_line_that_says_who_what_and_where() {
    let directory = tempfile::TempDir::new().unwrap();
    let passwords = directory.path().join("passwords.json");
    fs::write(&passwords, r#"[{"Username": "alice", "Password": "secret"}]"#).unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_vtflow"))
        .args(["demo", "--shards", "2", "--streams", "12", "--vitess-release", "16", "--serve", "--allow-writes", "--no-log"])
        .args(["--grpc-port", "0", "--port", "0", "--grpc-auth-mode", "static", "--grpc-auth-static-password-file"])
        .arg(&passwords)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("Vtctld on ").and_then(|rest| rest.split_once(',')).expect(&line).0;
    let channel = channel(address.parse().unwrap()).await;
    for keyspace in ["customer", "nope"] {
        let mut request = Request::new(stop(keyspace));
        request.metadata_mut().insert("username", "alice".parse().unwrap());
        request.metadata_mut().insert("password", "secret".parse().unwrap());
        assert_eq!(unary(channel.clone(), rpc::WORKFLOW_UPDATE, request).await.is_ok(), keyspace == "customer");
    }
    assert!(unary(channel, rpc::WORKFLOW_UPDATE, Request::new(stop("customer"))).await.is_err());
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    server.wait().unwrap();
    let audits: Vec<&str> = log.lines().filter(|line| line.contains(" msg=audit ")).collect();
    let [done, refused, stranger] = audits[..] else { panic!("{log}") };
    for part in [
        " level=info msg=audit id=",
        " who=alice from=127.0.0.1:",
        " rpc=vtctlservice.Vtctld/WorkflowUpdate ",
        r#"\"keyspace\":\"customer\""#,
        r#"\"workflow\":\"move_orders_1\""#,
        r#"\"state\":\"Stopped\""#,
        " verdict=applied ",
        " targets=\"customer/-80 zone1-0000000200 applied 1, customer/80- zone2-0000000300 applied 1\" rows=2 plan=",
    ] {
        assert!(done.contains(part), "{part} is not in {done}");
    }
    assert!(refused.contains(" level=warn ") && refused.contains(" verdict=refused error="), "{refused}");
    for part in [" level=warn ", " who=127.0.0.1:", " verdict=refused ", " code=16 ", "username and password must be provided"] {
        assert!(stranger.contains(part), "{part} is not in {stranger}");
    }
    assert!(!log.contains("secret"), "{log}");
}

/// A server as a process, what is done to it, and its audit lines.
async fn audits<F: Future<Output = ()>>(flags: &[&str], run: impl FnOnce(SocketAddr, SocketAddr) -> F) -> Vec<String> {
    let arguments =
        [&["serve", "--grpc-port", "0", "--port", "0", "--bind-address", "127.0.0.1", "--no-log"][..], flags].concat();
    let process = Process::start(&arguments);
    run(process.grpc, process.http).await;
    let (_, log) = tokio::task::spawn_blocking(move || process.end("-TERM")).await.unwrap();
    log.lines().filter(|line| line.contains(" msg=audit ")).map(str::to_owned).collect()
}

fn has_parts(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

const ASKED: [&str; 5] = [
    " level=warn msg=audit id=",
    " from=127.0.0.1:",
    " rpc=vtctlservice.Vtctld/WorkflowUpdate ",
    r#"\"workflow\":\"move_orders_1\""#,
    " verdict=refused ",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_server_may_not_make_leaves_a_line_that_says_so() {
    let demo = ["--demo"];
    let lines = audits(&demo, |grpc, http| async move {
        let channel = channel(grpc).await;
        unary(channel.clone(), rpc::WORKFLOW_UPDATE, Request::new(stop("customer"))).await.unwrap_err();
        // Reads, and what nobody here knows, are no changes.
        unary(channel.clone(), GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.unwrap();
        unary(channel, "/vtctlservice.Vtctld/Backup", Request::new(Bytes::new())).await.unwrap_err();
        let call =
            Call { path: rpc::WORKFLOW_UPDATE.into(), request: stop("customer").to_vec(), options: CallOptions::default() };
        let (status, _) = http_post(http, "/api/trace", &serde_json::to_string(&call).unwrap()).await;
        assert_eq!(status, 403);
    })
    .await;
    let [rpc, page] = &lines[..] else { panic!("{lines:?}") };
    has_parts(rpc, &ASKED);
    has_parts(rpc, &[" code=12 ", "start it with --allow-writes"]);
    has_parts(page, &ASKED);
    has_parts(page, &["the page only reads"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_does_not_get_so_far_leaves_a_line_that_says_why() {
    let etcd = Live::start(cluster()).await;
    let mut flags: Vec<String> = etcd.flags();
    flags.extend(["--allow-writes", "--request-timeout", "2s", "--grpc-max-message-size", "4096"].map(str::to_owned));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let at = &etcd.etcd;
    let lines = audits(&flags, |grpc, _| async move {
        let channel = channel(grpc).await;
        // Its keyspace is locked.
        let lease = at.lock_as_a_vtctld(&format!("{ROOT}/keyspaces/customer")).await;
        let refused = unary(channel.clone(), rpc::WORKFLOW_UPDATE, Request::new(stop("customer"))).await.unwrap_err();
        assert!(refused.message().contains("vtctld-7"), "{refused}");
        at.revoke(lease).await;
        // It is too large.
        let large = Bytes::from(vec![0; 8000]);
        unary(channel.clone(), rpc::WORKFLOW_UPDATE, Request::new(large)).await.unwrap_err();
        // What it is about is not there.
        unary(channel.clone(), rpc::WORKFLOW_UPDATE, Request::new(stop("nope"))).await.unwrap_err();
        unary(channel, rpc::WORKFLOW_UPDATE, Request::new(stop("customer"))).await.unwrap();
    })
    .await;
    let [locked, large, missing, done] = &lines[..] else { panic!("{lines:#?}") };
    has_parts(locked, &ASKED);
    has_parts(locked, &["keyspaces/customer/locks/", "vtctld-7", "nothing was changed"]);
    has_parts(large, &[" rpc=vtctlservice.Vtctld/WorkflowUpdate verdict=refused ", "4096"]);
    has_parts(missing, &ASKED);
    has_parts(missing, &["nope"]);
    has_parts(done, &[" verdict=applied "]);
    assert_eq!(etcd.cluster().writes("zone1-0000000200"), 1);
}

async fn http_post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}
