//! Whatever fails on the way, the same repair again ends in the mended state.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use vtflow_planner::{contract::Verdict, proto::vtflow::RepairRequest};

use super::cases::{call, cases, differs, repair, state, wrong};
use crate::support::live::Fault;

#[test]
fn the_same_repair_finishes_what_was_left_half() {
    for case in cases() {
        let (keyspace, workflow, _) = case.of;
        let mut whole = case.broken.clone();
        repair(&mut whole, &case.request()).unwrap();
        let count = whole.writes;
        for at in 0..count {
            for fault in [Fault::Refused, Fault::NotSent, Fault::LostBefore, Fault::LostAfter, Fault::Killed] {
                let mut live = case.broken.clone();
                live.faults.insert(at, fault);
                let first = repair(&mut live, &case.request());
                let context = format!(
                    "{}: write {at} of {count} {fault:?}: {:?}\n{:#?}",
                    case.name,
                    first.as_ref().map(|it| &it.result),
                    live.log
                );
                assert_eq!(first.is_none(), fault == Fault::Killed, "{context}");
                live.faults.clear();
                match first.as_ref().map(|reply| &reply.result) {
                    Some(Err(status)) => {
                        assert!(
                            status.message.contains("make the same request again")
                                || status.message.contains("take away the lock"),
                            "{context}"
                        );
                        let outcomes = &first.as_ref().unwrap().written.as_ref().unwrap().outcomes;
                        assert!(outcomes.iter().any(|it| it.verdict != Verdict::Applied) || outcomes.is_empty(), "{context}");
                        let refresh = status.message.contains("--refresh");
                        // What is wrong still is seen, so that it can be repaired; or a tablet alone does not know what its record says.
                        assert!(refresh || !wrong(&live, keyspace, workflow).is_empty(), "{context}");
                        let again = repair(&mut live, &RepairRequest { refresh, ..case.request() }).unwrap();
                        assert!(again.result.is_ok(), "{context}: {again:?}");
                    }
                    Some(Ok(_)) => {
                        let notes = &first.as_ref().unwrap().written.as_ref().unwrap().notes;
                        if notes.iter().any(|note| note.contains("--refresh")) {
                            repair(&mut live, &RepairRequest { refresh: true, ..case.request() }).unwrap().result.unwrap();
                        }
                    }
                    // A tablet that was not told of its record any more is told by this.
                    None => {
                        let again = repair(&mut live, &RepairRequest { refresh: true, ..case.request() }).unwrap();
                        assert!(again.result.is_ok(), "{context}: {again:?}");
                    }
                }
                assert_eq!(differs(&live, &case.mended), Vec::<String>::new(), "{context}\n{:#?}", live.log);
            }
        }
    }
}

/// Whatever answer comes first, also where tablets fail: the same reply and the same end.
#[test]
fn answers_may_come_in_any_order() {
    for case in cases() {
        for broken in ["", "RefreshState"] {
            let mut first = case.broken.clone();
            if !broken.is_empty() {
                first.broken.push((broken.into(), "broken".into()));
            }
            let run = |pick: &mut dyn FnMut(usize) -> usize| {
                let mut live = first.clone();
                let reply = live.run_choosing(&call(&case.request(), vtflow_planner::Mode::Perform), pick).unwrap();
                (reply, state(&live))
            };
            let want = run(&mut |_| 0);
            for seed in 0..2 {
                let mut state = seed;
                let mut pick = |count: usize| usize::try_from(crate::support::scattered(&mut state) % count as u64).unwrap();
                assert_eq!(run(&mut pick), want, "{}, {broken}, seed {seed}", case.name);
            }
        }
    }
}
