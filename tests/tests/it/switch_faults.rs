//! A switch of writes with one call that fails, or whose answer is lost, whichever it is: before the journal everything is taken back,
//! after it the same request finishes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;
use vtflow::topo::HeldLock;
use vtflow_planner::{Answer, AskId, Effect, FailureKind, Reply, What};

use crate::lifecycle::{Recorded, Running, Seen};

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It is refused, and not done.
    Refused,
    /// It is done, and nobody hears of it.
    AnswerLost,
}

/// Everything that comes once the change has begun: the writes, and what is waited for.
fn counts(what: &What) -> bool {
    match what {
        What::TopoPut { .. } | What::TopoDelete { .. } => true,
        What::TabletCall { effect, path, .. } => {
            *effect == Effect::Write || path.ends_with("WaitForPos") || path.ends_with("PrimaryPosition")
        }
        _ => false,
    }
}

/// Performs a request, one ask after the other, so that the same number is the same call each time; `None`: nothing goes wrong.
/// Also how many calls there were.
async fn perform(running: &Running, request: &[u8], wrong: Option<(usize, Wrong)>) -> (Reply, usize) {
    let mut flow = running.flow(request);
    let mut held: BTreeMap<AskId, Arc<dyn HeldLock>> = BTreeMap::new();
    let mut count = 0;
    loop {
        let asks = flow.asks();
        if asks.is_empty() {
            return (flow.into_reply().expect("a reply"), count);
        }
        for ask in asks {
            let here = wrong.filter(|(at, _)| counts(&ask.what) && *at == count).map(|(_, wrong)| wrong);
            count += usize::from(counts(&ask.what));
            let mut answer = if here == Some(Wrong::Refused) {
                Answer::Failed { kind: FailureKind::Status(2), message: "refused by the test".into() }
            } else {
                asked(running, ask.id, &ask.what, &mut held).await
            };
            if here == Some(Wrong::AnswerLost) {
                answer = Answer::Failed { kind: FailureKind::Unreachable, message: "lost by the test".into() };
            }
            flow.answer(ask.id, answer);
        }
    }
}

async fn asked(running: &Running, id: AskId, what: &What, held: &mut BTreeMap<AskId, Arc<dyn HeldLock>>) -> Answer {
    let topology = &running.io.topology;
    let deadline = Instant::now() + Duration::from_secs(20);
    match what {
        What::TopoGet { cell, path } => {
            topology.records(cell, std::slice::from_ref(path), deadline).await.pop().expect("an answer")
        }
        What::TopoRange { cell, prefix } => topology.range(cell, prefix, deadline).await,
        What::TopoList { cell, prefix } => topology.list(cell, prefix, deadline).await,
        What::TopoPut { cell, path, value, version } => topology.put(cell, path, value, *version, deadline).await,
        What::TopoDelete { cell, path, version } => topology.delete(cell, path, *version, deadline).await,
        What::TopoLock { path, action, is_named } => match topology.lock(path, action, *is_named, deadline).await {
            Ok(lock) => {
                held.insert(id, lock);
                Answer::Locked
            }
            Err(answer) => answer,
        },
        What::TopoUnlock { lock } => held.remove(lock).expect("a lock").release(deadline).await,
        What::TabletCall { tablet, path, request, effect, .. } => {
            running.io.tablets.call(tablet, path, request, *effect, Duration::from_secs(20), None).await
        }
        other @ What::TabletPage { .. } => panic!("{other:?}"),
    }
}

/// Where each run begins: 0 is the first.
const PARTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn before_the_journal_a_failure_takes_everything_back_and_after_it_the_same_request_finishes() {
    let recorded = Arc::new(Recorded::step("06-mt-switch-writes"));
    let whole = Running::start(&recorded.before).await;
    let (reply, count) = perform(&whole, &recorded.request, None).await;
    assert!(reply.result.is_ok(), "{:?}", reply.result);
    let after = Arc::new(whole.seen().await);
    assert!(count > 25, "{count} calls");
    // Clusters of their own, several at once.
    let parts = (0..PARTS).map(|part| {
        let (recorded, after) = (Arc::clone(&recorded), Arc::clone(&after));
        tokio::spawn(async move {
            let before = Seen::recorded(&recorded.before);
            let mut running = Running::start(&recorded.before).await;
            let mut ends = [0, 0, 0];
            for at in (part..count).step_by(PARTS) {
                for wrong in [Wrong::Refused, Wrong::AnswerLost] {
                    let context = format!("{wrong:?} at call {at}");
                    let (reply, _) = perform(&running, &recorded.request, Some((at, wrong))).await;
                    let now = running.seen().await;
                    match reply.result {
                        Err(status) if !now.has_journal_since(&before) => {
                            now.assert_is(&before, &format!("{context}: {status}"));
                            ends[0] += 1;
                            continue;
                        }
                        Err(status) => {
                            assert!(status.message.contains("make the same request again"), "{context}: {status}");
                            let (again, _) = perform(&running, &recorded.request, None).await;
                            assert!(again.result.is_ok(), "{context}: {status}\nagain: {:?}", again.result);
                            running.seen().await.assert_is(&after, &context);
                            ends[1] += 1;
                        }
                        // What was lost had been done, or a record was written again.
                        Ok(_) => {
                            now.assert_is(&after, &context);
                            ends[2] += 1;
                        }
                    }
                    running = Running::start(&recorded.before).await;
                }
            }
            ends
        })
    });
    let mut ends = [0, 0, 0];
    for part in parts.collect::<Vec<_>>() {
        let own = part.await.expect("a part");
        ends.iter_mut().zip(own).for_each(|(all, own)| *all += own);
    }
    // All three ways out were taken.
    assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
}
