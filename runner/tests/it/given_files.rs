//! Files that a person names, which are not what they should be: too large, without an end, or a pipe that nobody writes into. Each is
//! refused in a moment, by its name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs::File, io::Write, process::Command, time::Duration};

use crate::support::program::{vtflow, vtflow_within};
use tempfile::TempDir;

/// Every way to name a file; `FILE` is its place.
const COMMANDS: [&str; 12] = [
    "--demo apply FILE --yes",
    "replay FILE",
    "--demo --planner wasm=FILE get keyspaces",
    "--topo-implementation etcd2 --topo-global-server-address 127.0.0.1:1 --topo-global-root /x --topo-etcd-tls-ca FILE \
     --topo-etcd-tls-cert FILE --topo-etcd-tls-key FILE get keyspaces",
    "--topo-implementation etcd2 --topo-global-server-address 127.0.0.1:1 --topo-global-root /x --topo-etcd-credentials FILE get keyspaces",
    "--demo --grpc-auth-static-client-creds FILE get keyspaces",
    "--demo --tablet-manager-grpc-ca FILE get keyspaces",
    "--demo --tablet-manager-grpc-cert FILE --tablet-manager-grpc-key FILE get keyspaces",
    "demo --serve --grpc-port 0 --port 0 --grpc-auth-mode static --grpc-auth-static-password-file FILE",
    "demo --serve --grpc-port 0 --port 0 --grpc-cert FILE --grpc-key FILE",
    "demo --serve --grpc-port 0 --port 0 --forward-to 127.0.0.1:1 --vtctld-grpc-ca FILE",
    "--snapshot FILE get keyspaces",
];

#[test]
fn devices_pipes_that_are_silent_and_files_without_an_end_are_refused() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (pipe, huge, folder) = (at("pipe"), at("huge"), at("folder"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Of no bytes on the disk.
    File::create(&huge).unwrap().set_len(3 << 30).unwrap();
    std::fs::create_dir(&folder).unwrap();
    for place in ["/dev/zero", &huge, &folder, &pipe] {
        std::thread::scope(|scope| {
            for command in COMMANDS {
                scope.spawn(move || {
                    let args: Vec<String> = command.split_whitespace().map(|word| word.replace("FILE", place)).collect();
                    let ran = vtflow_within(Duration::from_secs(60), &args);
                    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{command} with {place}: {}", ran.stderr);
                    assert!(ran.stderr.contains(place), "{command} with {place}: {}", ran.stderr);
                    let is_snapshot = command.starts_with("--snapshot");
                    let why = match place {
                        _ if is_snapshot => "",
                        "/dev/zero" => "it is a device",
                        _ if place.ends_with("huge") => "it has more than the ",
                        _ if place.ends_with("folder") => "it is a directory",
                        _ => "nobody writes into this pipe",
                    };
                    assert!(ran.stderr.contains(why), "{command} with {place}: {}", ran.stderr);
                });
            }
        });
    }
}

#[test]
fn a_pipe_that_somebody_writes_into_is_read() {
    let directory = TempDir::new().unwrap();
    let (pipe, trace) = (directory.path().join("pipe"), directory.path().join("trace"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let ran = vtflow(&["--demo", "get", "keyspaces", "--trace", trace.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let to = pipe.clone();
    let writing = std::thread::spawn(move || {
        let text = std::fs::read(trace).unwrap();
        // Opening it waits for the reader.
        File::options().write(true).open(to).unwrap().write_all(&text).unwrap();
    });
    let ran = vtflow(&["replay", pipe.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("the reply is the same"), "{}", ran.stdout);
    writing.join().unwrap();
}

#[test]
fn what_cannot_be_printed_is_not_taken_for_printed() {
    let into_full = |command: &str| {
        let command = format!("exec \"$0\" {command} > /dev/full");
        let ran = Command::new("sh").args(["-c", &command, env!("CARGO_BIN_EXE_vtflow")]).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
    };
    for command in [
        "--demo get keyspaces",
        "--demo get workflows customer -o json",
        "--demo workflow stop customer sales_mat --dry-run -o json",
    ] {
        let (code, stderr) = into_full(command);
        assert!(
            code == 2 && stderr.contains("what was to be printed is not all there: No space left"),
            "{command}: {code} {stderr}"
        );
    }
    // A plan that nobody can have read is not performed.
    let (code, stderr) = into_full("--demo workflow stop customer sales_mat --yes");
    assert!(
        code == 2 && stderr.contains("the plan cannot be shown: No space left") && stderr.contains("nothing was changed"),
        "{stderr}"
    );
    // What was done is told where it can be.
    let (code, stderr) = into_full("--demo workflow stop customer sales_mat --yes -o json");
    assert!(code == 1 && stderr.contains("what became of it cannot be printed: No space left"), "{code} {stderr}");
    assert!(stderr.contains(": applied, "), "{stderr}");
}

#[test]
fn a_directory_that_cannot_be_had_is_said_before_the_cluster_is_read() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    File::create(&file).unwrap();
    let ran = vtflow(&["--demo", "snapshot", "save", file.to_str().unwrap(), "customer"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot be written: Not a directory"), "{}", ran.stderr);
}
