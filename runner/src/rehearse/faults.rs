//! A change with one thing going wrong: each call of it fails, loses its answer, or is the last of its process, once each on a fresh copy.
//! Then what puts it right is tried: the same command, and the way back where it is half done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use vtflow_planner::{Call, Mode, proto::vtflow::DiagnoseResponse};
use vtflow_screen::{
    DiagnosisScreen, Verdict,
    rehearsal::{Fault, FaultEnd, FaultLine, FaultTable, WayOut},
};

use super::{
    copy::{Contents, Copy},
    run::{Performed, Wrong},
    stage::{Stage, runtime, thread},
};

/// Where a workflow's traffic stands, as far as two moments are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    phase: String,
    reads_switched: Vec<String>,
    /// Mechanisms of what is wrong, and where.
    deviations: Vec<(String, Vec<String>)>,
    /// What there is, if all of it counts.
    contents: Option<Contents>,
    /// Next values of the sequences that the change looks at.
    next_values: BTreeMap<String, Option<i64>>,
}

impl Standing {
    pub(super) fn of(found: &DiagnoseResponse, contents: Option<Contents>, next_values: BTreeMap<String, Option<i64>>) -> Self {
        let workflows = || found.workflows.iter();
        let wrong = workflows().flat_map(|it| &it.deviations).chain(&found.leftovers);
        Self {
            phase: workflows().map(|it| it.phase.clone()).collect::<Vec<_>>().join(", "),
            reads_switched: workflows().flat_map(|it| it.reads_switched.clone()).collect(),
            deviations: wrong.map(|it| (it.mechanism.clone(), it.places.clone())).collect(),
            contents,
            next_values,
        }
    }

    /// Whether all is as before. A sequence that was raised stays so, and harms nobody.
    fn is_as(&self, before: &Self) -> bool {
        Self { next_values: before.next_values.clone(), ..self.clone() } == *before
    }

    /// Whether it is a phase in which a change has stopped.
    fn is_half(&self) -> bool {
        ["stopped", "ending", "contradictory", "unknown"].iter().any(|half| self.phase.contains(half))
    }
}

/// Where it stands before the change, and where the whole change leaves it.
pub(super) struct Ends {
    /// Tablets that the change calls.
    pub(super) tablets: BTreeSet<String>,
    pub(super) before: Standing,
    pub(super) after: Standing,
}

/// How faults are tried.
pub struct Faults {
    /// How long: after that no more is begun.
    pub limit: Duration,
    /// Who is told of each that was tried: how many by then, of how many.
    pub tried: Box<dyn Fn(usize, usize) + Send + Sync>,
}

/// One fault to try.
struct Job<'a> {
    wrong: Wrong,
    /// Its step, and the call.
    place: &'a (String, String),
}

impl Stage {
    /// Tries all faults. `calls`: step and text of each call that belongs to the change; `done`: the change without a fault.
    pub(super) fn with_faults(&self, calls: &[(String, String)], done: &Performed, ends: &Ends, how: &Faults) -> FaultTable {
        let begun = Instant::now();
        let limit = how.limit;
        let mut jobs = Vec::new();
        let belonging = done.calls.iter().filter_map(|call| Some((call, call.number?)));
        for ((call, at), place) in belonging.zip(calls) {
            // Whatever becomes of a call that changes nothing, no more can come of it than that it fails.
            let faults = if call.writes() { &[Fault::Fails, Fault::AnswerLost, Fault::Dies][..] } else { &[Fault::Fails] };
            jobs.extend(faults.iter().map(|fault| Job { wrong: Wrong { at, fault: *fault }, place }));
        }
        let (next, runs, lines) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            let Ok(runtime) = runtime() else { return };
            while begun.elapsed() < limit {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(at) else { return };
                let line = runtime.block_on(self.with_fault(job, ends, &runs));
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push((at, line));
                (how.tried)(lines.len(), jobs.len());
            }
        };
        std::thread::scope(|scope| {
            // Those that cannot be had leave more to the others; without any, nothing is tried, and the table says so.
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(MOST_AT_ONCE) {
                let _ = thread().spawn_scoped(scope, work);
            }
        });
        let mut lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
        lines.sort_by_key(|(at, _)| *at);
        FaultTable {
            lines: lines.into_iter().map(|(_, line)| line).collect(),
            all: jobs.len(),
            runs: runs.into_inner(),
            took_ms: millis(begun.elapsed()),
            limit_ms: millis(limit),
        }
    }

    /// Where it stands on a copy. `tablets`: whom the change calls.
    pub(super) fn standing(&self, copy: &mut Copy, found: &DiagnoseResponse, tablets: &BTreeSet<String>) -> Standing {
        let next_values = copy.next_values();
        Standing::of(found, (!self.change.is_taken_back()).then(|| copy.contents(tablets)), next_values)
    }

    async fn with_fault(&self, job: &Job<'_>, ends: &Ends, runs: &AtomicUsize) -> FaultLine {
        let mut copy = self.copy();
        let said = self.stopped(&mut copy, job.wrong, runs).await;
        let after = self.diagnose(&mut copy).await;
        let standing = after.as_ref().map(|(found, _)| self.standing(&mut copy, found, &ends.tablets)).unwrap_or_default();
        let end = match (&after, said.as_deref()) {
            (Err(_), _) => FaultEnd::NotKnown,
            (Ok(_), said) if standing == ends.after && (said == Some("") || !self.change.is_taken_back()) => FaultEnd::Done,
            // A reply without an error says that it is done.
            (Ok(_), said) if said != Some("") && standing.is_as(&ends.before) => FaultEnd::AsBefore,
            (Ok(_), _) => FaultEnd::HalfWay,
        };
        let hurts = |screen: &DiagnosisScreen| {
            screen.parts.iter().flat_map(|part| &part.deviations).map(|it| it.heading.clone()).collect()
        };
        let mut ways = Vec::new();
        if end != FaultEnd::Done {
            ways.push(self.again(&mut copy, ends, runs).await);
        }
        if let (FaultEnd::HalfWay | FaultEnd::NotKnown, Some((command, back))) = (end, &self.change.back) {
            let mut copy = self.copy();
            let _ = self.stopped(&mut copy, job.wrong, runs).await;
            ways.push(self.back(&mut copy, command, back, runs, ends).await);
        }
        let (step, call) = job.place.clone();
        FaultLine {
            step,
            call,
            fault: job.wrong.fault,
            said: said.unwrap_or_default(),
            end,
            phase: standing.phase,
            hurts: after.as_ref().map(|(_, screen)| hurts(screen)).unwrap_or_default(),
            ways,
        }
    }

    /// The change with something going wrong: what it ends with, empty if well; `None` if its process dies.
    async fn stopped(&self, copy: &mut Copy, wrong: Wrong, runs: &AtomicUsize) -> Option<String> {
        runs.fetch_add(1, Ordering::Relaxed);
        let reply = self.perform(copy, Mode::Perform, Some(wrong)).await.reply?;
        Some(reply.result.err().map(|status| status.message).unwrap_or_default())
    }

    /// The same command once more: it heals if all ends where the whole change ends.
    async fn again(&self, copy: &mut Copy, ends: &Ends, runs: &AtomicUsize) -> WayOut {
        self.way("same command", copy, &self.change.call, runs, ends, |standing| *standing == ends.after).await
    }

    /// The way back: it heals if nothing is half done any more.
    async fn back(&self, copy: &mut Copy, command: &str, call: &Call, runs: &AtomicUsize, ends: &Ends) -> WayOut {
        self.way(command, copy, call, runs, ends, |standing| !standing.is_half()).await
    }

    async fn way(
        &self,
        command: &str,
        copy: &mut Copy,
        call: &Call,
        runs: &AtomicUsize,
        ends: &Ends,
        is_there: impl Fn(&Standing) -> bool,
    ) -> WayOut {
        runs.fetch_add(1, Ordering::Relaxed);
        let ended = self.request(copy, call, None).await.reply.map(|reply| reply.result);
        let (heals, said) = match ended {
            Some(Err(status)) => (false, status.message),
            None => (false, "it ended without a reply".into()),
            Some(Ok(_)) => match self.diagnose(copy).await {
                Err(status) => (false, status.message),
                Ok((found, screen)) => {
                    let standing = self.standing(copy, &found, &ends.tablets);
                    let heals = screen.verdict == Verdict::Healthy && is_there(&standing);
                    (
                        heals,
                        if heals {
                            String::new()
                        } else {
                            format!("then {}: {}", standing.phase.replace('_', " "), screen.summary)
                        },
                    )
                }
            },
        };
        WayOut { command: command.into(), heals, said }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Copies that are changed at once.
const MOST_AT_ONCE: usize = 8;
