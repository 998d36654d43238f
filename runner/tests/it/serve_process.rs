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
    assert!(line("vtflow.Vtflow/Diagnose").ends_with(" vtflow"));
    assert!(stdout.lines().count() > 120);
}

/// Makes the system end the listening socket of a process at a port: whoever accepts there is told that it is no socket to accept on.
/// False where the system lets nobody reach into another process.
fn end_port(pid: u32, port: u16) -> bool {
    // Another process's file, by its number there; the calls have the same numbers on every machine.
    const REACH: &str = r#"
        my ($pid, $file) = @ARGV;
        my $process = syscall(434, $pid + 0, 0);
        my $copy = $process < 0 ? -1 : syscall(438, $process, $file + 0, 0);
        exit 77 if $copy < 0;
        open(my $socket, "+<&=", $copy) or die "open: $!";
        shutdown($socket, 2) or die "shutdown: $!";
    "#;
    let want = format!(":{port:04X}");
    let mut inodes = String::new();
    for table in ["tcp", "tcp6"] {
        inodes += &std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
    }
    let inode = inodes
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.get(1).is_some_and(|local| local.ends_with(&want)) && words.get(3) == Some(&"0A"))
        .map(|words| format!("socket:[{}]", words[9]))
        .expect("a socket that listens");
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let file = files
        .map(|file| file.unwrap().path())
        .find(|file| std::fs::read_link(file).is_ok_and(|to| to.as_os_str() == inode.as_str()))
        .expect("the process has it");
    let file = file.file_name().unwrap().to_str().unwrap().to_owned();
    let done = Command::new("perl").args(["-e", REACH, &pid.to_string(), &file]).status().expect("perl, of Debian's perl-base");
    assert!(matches!(done.code(), Some(0 | 77)), "{done}");
    done.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_loses_a_port_ends_and_says_which() {
    for (which, said) in [("gRPC", "the gRPC port has ended: "), ("HTTP", "the HTTP port has ended: ")] {
        let process = Process::start(&["demo", "--serve", "--grpc-port", "0", "--port", "0", "--no-log"]);
        let port = if which == "gRPC" { process.grpc.port() } else { process.http.port() };
        if !end_port(process.id(), port) {
            eprintln!("not tried: this system lets nobody reach into another process");
            return;
        }
        let (code, log) = tokio::task::spawn_blocking(move || process.ended()).await.unwrap();
        assert_eq!(code, 2, "{which}: {log}");
        let line = log.lines().find(|line| line.contains(said)).unwrap_or_else(|| panic!("{which}: {log}"));
        assert!(line.contains("level=error") && line.contains("Invalid argument"), "{which}: {line}");
    }
}
