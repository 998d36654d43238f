//! `--watch` ends when it is told to, also while a tablet hangs, and refuses what would not be watching.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

fn vtflow(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vtflow"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits for the end of a process; panics after a long time.
fn ended(child: &mut Child) -> Option<i32> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > patience {
            child.kill().unwrap();
            panic!("still running after an interrupt");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_interrupt_ends_a_watch_while_a_tablet_hangs() {
    let hang =
        ["demo", "--hang", "zone1-0000000200", "--tablet-deadline", "60s", "get", "workflows", "customer", "--watch=100ms"];
    let mut child = vtflow(&hang).spawn().unwrap();
    // Long enough to be asking: the hanging tablet keeps the first round for a minute.
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it watches");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(ended(&mut child), Some(0));
}

#[test]
fn what_would_not_be_watching_is_refused() {
    for more in [&["--watch=0"][..], &["--watch=99ms"], &["--watch", "-o", "json"], &["--watch", "-o", "name"]] {
        let args = [&["--demo", "get", "workflows", "customer"][..], more].concat();
        assert_eq!(vtflow(&args).status().unwrap().code(), Some(2), "{more:?}");
    }
}
