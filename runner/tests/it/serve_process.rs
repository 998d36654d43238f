//! `vtflow serve` as a process: flags in both spellings, ports that it picks, its log, and signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{path::Path, process::Command};

use crate::support::{
    process::Process,
    serving::{GET_WORKFLOWS, channel, http_get, unary, workflows_of},
};
use bytes::Bytes;
use tonic::Request;

fn snapshot() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots/reshard-running");
    dir.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_recorded_cluster_is_served_until_the_process_is_told_to_end() {
    for (signal, flags) in [("-TERM", ["--grpc_port=0", "--bind_address"]), ("-INT", ["--grpc-port=0", "--bind-address"])] {
        let [port, bind] = flags;
        let process = Process::start(&["serve", "--snapshot", &snapshot(), port, "--port", "0", bind, "127.0.0.1"]);
        assert!(process.grpc.ip().is_loopback() && process.grpc.port() != 0 && process.http.port() != 0);
        let idle = channel(process.grpc).await;
        let response = unary(idle.clone(), GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.unwrap();
        let id = response.metadata().get("vtflow-request-id").unwrap().to_str().unwrap().to_owned();
        unary(idle.clone(), "/vtctlservice.Vtctld/Backup", Request::new(Bytes::new())).await.unwrap_err();
        assert_eq!(http_get(process.http, "/healthz").await.0, 200);
        let (code, log) = tokio::task::spawn_blocking(move || process.end(signal)).await.unwrap();
        assert_eq!(code, 0, "{log}");
        let line = log.lines().find(|line| line.contains(&format!("id={id} "))).expect(&log);
        for part in ["level=info", "msg=rpc", "method=vtctlservice.Vtctld/GetWorkflows", "code=0", " ms=", " asks=", " failures="]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
        let line = log.lines().find(|line| line.contains("method=vtctlservice.Vtctld/Backup")).expect(&log);
        assert!(line.contains("level=warn") && line.contains("code=12") && line.contains("error=\"unknown method"), "{line}");
        drop(idle);
    }
}

#[tokio::test]
async fn the_demo_is_served_on_this_machine_only() {
    let process = Process::start(&["demo", "--serve", "--grpc-port", "0", "--port", "0", "--no-log"]);
    assert!(process.grpc.ip().is_loopback() && process.http.ip().is_loopback());
    unary(channel(process.grpc).await, GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.unwrap();
    let (code, log) = tokio::task::spawn_blocking(move || process.end("-TERM")).await.unwrap();
    assert_eq!(code, 0, "{log}");
    assert!(!log.contains("msg=rpc"), "{log}");
}

#[tokio::test]
async fn passwords_are_read_again_when_the_process_is_told_to() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("passwords.json");
    let write = |password: &str| {
        std::fs::write(&file, format!(r#"[{{"Username": "anna", "Password": "{password}"}}]"#)).unwrap();
    };
    write("secret");
    let flags = ["--grpc-auth-mode", "static", "--grpc-auth-static-password-file", file.to_str().unwrap()];
    let process = Process::start(&[&["demo", "--serve", "--grpc-port", "0", "--port", "0"][..], &flags].concat());
    let to = channel(process.grpc).await;
    let call = |password: &'static str| {
        let mut request = Request::new(workflows_of("customer"));
        request.metadata_mut().insert("username", "anna".parse().unwrap());
        request.metadata_mut().insert("password", password.parse().unwrap());
        unary(to.clone(), GET_WORKFLOWS, request)
    };
    call("secret").await.unwrap();
    write("changed");
    process.signal("-HUP");
    for _ in 0..500 {
        if call("changed").await.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    call("changed").await.unwrap();
    assert_eq!(call("secret").await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let (code, log) = tokio::task::spawn_blocking(move || process.end("-TERM")).await.unwrap();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("the password file read again") && !log.contains("secret"), "{log}");
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vtflow")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for (flags, said) in [
        (&["--grpc-auth-mode", "static"][..], "--grpc-auth-static-password-file"),
        (&["--grpc-auth-static-password-file", "x"], "--grpc-auth-mode"),
        (&["--grpc-auth-mode", "mtls", "--grpc-auth-mtls-allowed-substrings", "CN=a"], "--grpc-ca"),
        (&["--grpc-cert", "/no/such.pem", "--grpc-key", "/no/such.key"], "/no/such.pem"),
        (&["--forward-to", "nonsense"], "nonsense"),
    ] {
        let (code, _, stderr) = run(&[&["--demo", "serve", "--grpc-port", "0", "--port", "0"], flags].concat());
        assert_eq!(code, 2, "{flags:?}");
        assert!(stderr.contains(said), "{flags:?}: {stderr}");
    }
    assert_eq!(run(&["serve"]).0, 2, "no cluster is named");
}

#[test]
fn the_rpcs_are_listed_without_a_cluster() {
    let (code, stdout, _) = run(&["serve", "--list-rpcs", "--forward-to", "vtctld:15999"]);
    assert_eq!(code, 0);
    let line = |method: &str| stdout.lines().find(|line| line.split(' ').next() == Some(method)).unwrap().to_owned();
    assert!(line("vtctlservice.Vtctld/GetWorkflows").ends_with(" vtflow"));
    assert!(line("vtctlservice.Vtctld/PlannedReparentShard").ends_with(" forwarded to vtctld:15999"));
    assert!(stdout.lines().count() > 120);
}
