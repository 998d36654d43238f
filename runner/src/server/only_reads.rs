//! What a page may have performed: reads, and of changes their previews. Nothing that comes by that door changes anything.
//!
//! It is checked twice. The request must be one that only reads, by its path or because it says that it is a preview; and whatever the flow of it
//! asks, nothing that writes or locks is sent.

use vtflow_planner::{
    Answer, Ask, AskId, Call, Done, Effect, Failure, FlowHandle, Mode, Reply, What, Work,
    contract::FailureKind,
    serve::{self, Served},
};

/// Why a request is not performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotARead {
    /// vtflow does not serve its path.
    NotServed,
    /// It would change something.
    Writes,
}

/// The RPC of a request that only reads.
///
/// # Errors
/// It is none.
pub(super) fn check(call: &Call) -> Result<&'static Served, NotARead> {
    let served = serve::served(&call.path).ok_or(NotARead::NotServed)?;
    if served.effect == Effect::Read || call.options.mode == Mode::Preview { Ok(served) } else { Err(NotARead::Writes) }
}

/// A flow of which nothing is sent that changes or locks anything: such an ask fails where it is.
pub(super) struct OnlyReads<F>(pub(super) F);

impl<F: FlowHandle> FlowHandle for OnlyReads<F> {
    fn asks(&mut self) -> Vec<Ask> {
        let mut sent = Vec::new();
        loop {
            let (writes, reads): (Vec<Ask>, Vec<Ask>) = self.0.asks().into_iter().partition(|ask| writes(&ask.what));
            sent.extend(reads);
            if writes.is_empty() {
                return sent;
            }
            for ask in writes {
                self.0.answer(ask.id, refused());
            }
        }
    }

    fn answer(&mut self, id: AskId, answer: Answer) -> bool {
        self.0.answer(id, answer)
    }

    fn hand_out_work(&mut self) {
        self.0.hand_out_work();
    }

    fn work(&mut self) -> Vec<Work> {
        self.0.work()
    }

    fn worked(&mut self, done: Option<Done>) {
        self.0.worked(done);
    }

    fn in_parts(&mut self) {
        self.0.in_parts();
    }

    fn failures(&mut self) -> Vec<Failure> {
        self.0.failures()
    }

    fn end(&mut self) -> Option<Reply> {
        self.0.end()
    }
}

fn writes(what: &What) -> bool {
    match what {
        What::TopoGet { .. } | What::TopoRange { .. } | What::TopoList { .. } | What::TabletPage { .. } => false,
        What::TabletCall { effect, .. } => *effect != Effect::Read,
        What::TopoPut { .. } | What::TopoDelete { .. } | What::TopoLock { .. } | What::TopoUnlock { .. } => true,
    }
}

fn refused() -> Answer {
    Answer::Failed { kind: FailureKind::NotSent, message: "a page only reads: this was not sent".into() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vtflow_planner::{CallOptions, rpc};

    use super::*;

    fn call(path: &str, mode: Mode) -> Call {
        Call { path: path.into(), request: Vec::new(), options: CallOptions { mode, ..CallOptions::default() } }
    }

    #[test]
    fn of_a_change_only_its_preview_comes_by_this_door() {
        for served in serve::SERVED {
            let told = |mode| check(&call(served.path, mode)).map(|it| it.path);
            assert_eq!(told(Mode::Preview), Ok(served.path));
            let others = [told(Mode::Perform), told(Mode::Planned(String::new())), told(Mode::Planned("Preview".into()))];
            let want = if served.effect == Effect::Read { Ok(served.path) } else { Err(NotARead::Writes) };
            assert!(others.iter().all(|told| *told == want), "{}: {others:?}", served.path);
        }
        for own in [rpc::VEXEC, rpc::UNLOCK, rpc::SNAPSHOT, "", "/vtctlservice.Vtctld/Nope"] {
            assert_eq!(check(&call(own, Mode::Preview)).map(|it| it.path), Err(NotARead::NotServed), "{own}");
        }
    }

    /// A planner that does not keep to its word: asks of all kinds.
    struct Hostile {
        asks: Vec<Ask>,
        answered: BTreeSet<u32>,
    }

    impl FlowHandle for Hostile {
        fn asks(&mut self) -> Vec<Ask> {
            std::mem::take(&mut self.asks)
        }

        fn answer(&mut self, id: AskId, answer: Answer) -> bool {
            assert!(matches!(answer, Answer::Failed { kind: FailureKind::NotSent, .. }), "{answer:?}");
            if self.answered.is_empty() {
                // Once more, when it hears of the first.
                let what = What::TopoPut { cell: "global".into(), path: "p".into(), value: Vec::new(), version: 1 };
                self.asks.push(Ask { id: AskId(9), round: 2, what, gate: None });
            }
            self.answered.insert(id.0)
        }

        fn failures(&mut self) -> Vec<Failure> {
            Vec::new()
        }

        fn end(&mut self) -> Option<Reply> {
            None
        }
    }

    #[test]
    fn what_writes_or_locks_is_not_sent_whatever_the_planner_says() {
        let of_tablet = |effect| -> What {
            serde_json::from_value(serde_json::json!({
                "kind": "tablet_call", "tablet": { "alias": "z-1", "cell": "z", "host": "h", "grpc_port": 1 }, "path": "/t/X",
                "request": { "text": "" }, "effect": effect,
                "about": { "keyspace": "k", "shard": "0", "db_name": "", "subject": "s", "statement": "" }
            }))
            .unwrap()
        };
        let (cell, path) = ("global".to_owned(), "p".to_owned());
        let whats = [
            What::TopoLock { path: path.clone(), action: String::new(), is_named: false },
            What::TopoGet { cell: cell.clone(), path: path.clone() },
            What::TopoUnlock { lock: AskId(0) },
            What::TopoDelete { cell: cell.clone(), path: path.clone(), version: 1 },
            of_tablet("write"),
            of_tablet("read"),
            What::TopoList { cell, prefix: "p/".into() },
        ];
        let asks = (0..).zip(whats).map(|(id, what)| Ask { id: AskId(id), round: 1, what, gate: None }).collect();
        let mut flow = OnlyReads(Hostile { asks, answered: BTreeSet::new() });
        let sent: Vec<u32> = flow.asks().iter().map(|ask| ask.id.0).collect();
        assert_eq!(sent, [1, 5, 6]);
        assert_eq!(flow.0.answered, BTreeSet::from([0, 2, 3, 4, 9]));
    }
}
