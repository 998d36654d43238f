//! `vtflow diagnose`: what people see, and the exit code that goes with it. What is found is the planner's, and tested there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

use crate::support::program::{Ran, recorded, snapshot_flag, vtflow};

fn on(snapshot: &str, command: &str) -> Ran {
    let mut args = snapshot_flag(&recorded(snapshot)).to_vec();
    args.extend(command.split(' ').map(str::to_owned));
    vtflow(&args)
}

#[test]
fn the_exit_code_is_what_the_summary_says() {
    for snapshot in ["movetables-running", "reshard-running", "shards-without-primary"] {
        let ran = on(snapshot, "diagnose");
        let summary = match ran.code {
            0 => "healthy: ",
            1 => " deviation",
            _ => "not known: ",
        };
        assert!(ran.stdout.contains(summary), "{snapshot}: {ran:?}");
        let document = on(snapshot, "diagnose -o json");
        assert_eq!(document.code, ran.code, "{snapshot}");
        assert!(document.json()["workflows"].is_array(), "{snapshot}");
    }
}

#[test]
fn a_tablet_that_is_down_leaves_nothing_healthy() {
    let ran = vtflow(&["demo", "--down", "zone1-0000000200", "diagnose"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("zone1-0000000200") && ran.stdout.contains("not known"), "{ran:?}");
}
