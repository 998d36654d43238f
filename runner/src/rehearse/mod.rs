//! Rehearsals: a change of a workflow performed on a copy of the cluster in this process, with the flow and the options that the cluster
//! itself would see.
//!
//! [`take`] reads the cluster and writes nothing to it; [`rehearse`] knows only the copy. A copy is the records of a snapshot in memory
//! ([`copy`]) and embedded tablets with its rows, and with what the change reads of sequences ([`sequences`]). Every try has a fresh one. [`run`] performs a flow there, in the order in which answers
//! would come if each took as long as the cluster's own did; [`steps`] finds the plan's steps in what was asked, and
//! [`faults`] does it again with one thing going wrong.

mod change;
mod copy;
mod faults;
mod run;
mod sequences;
mod stage;
mod steps;
mod take;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use vtflow_planner::{Mode, Status, words::plural};
use vtflow_screen::{
    Verdict, plans,
    rehearsal::{NOT_KNOWN, NOT_KNOWN_OF_TABLES, Rehearsal, RehearsalVerdict, RehearsedSequence},
};

pub use vtflow_screen::rehearsal as report;

pub use self::{
    change::Change,
    faults::Faults,
    run::Trips,
    take::{Taken, take},
};
use self::{
    faults::Ends,
    run::micros,
    stage::{Stage, runtime, thread},
    steps::{Placed, in_steps},
};
use crate::planner_host::PlannerHost;

/// Rehearses a change on copies of what was taken.
///
/// `faults`: also with one thing going wrong, once for each.
///
/// # Errors
/// No thread is to be had.
pub async fn rehearse(planner: PlannerHost, taken: Taken, change: Change, faults: Option<Faults>) -> io::Result<Rehearsal> {
    let (told, hears) = tokio::sync::oneshot::channel();
    thread().spawn(move || {
        let stage = Stage { planner, taken, change };
        let rehearsed = runtime().map(|runtime| runtime.block_on(stage.rehearse(faults)));
        let _ = told.send(rehearsed);
    })?;
    hears.await.map_err(|_| io::Error::other("the rehearsal has died"))?
}

impl Stage {
    async fn rehearse(&self, faults: Option<Faults>) -> Rehearsal {
        let Taken { copied, trips, preview, .. } = &self.taken;
        let mut rehearsal = Rehearsal {
            verdict: RehearsalVerdict::Refused,
            copy: copied.clone(),
            plan: None,
            differs: Vec::new(),
            error: None,
            notes: Vec::new(),
            steps: Vec::new(),
            sequences: Vec::new(),
            estimate_us: 0,
            took_us: 0,
            refused: None,
            round_trips: trips.told(),
            after: None,
            not_known: NOT_KNOWN.map(str::to_owned).to_vec(),
            faults: None,
        };
        let live = match preview {
            Ok(plan) => plan,
            Err(status) => return self.refused(rehearsal, status),
        };
        let mut copy = self.copy();
        let before = self.diagnose(&mut copy).await;
        let plan = match self.preview(&mut copy).await {
            Ok(plan) => plan,
            Err(status) => {
                // The cluster itself would have done it.
                rehearsal
                    .notes
                    .push("the cluster itself does not refuse it: the copy lacks something, or the cluster was changed".into());
                return self.refused(rehearsal, &status);
            }
        };
        let (live, locks) = live.without_lock_removals();
        if locks > 0 {
            let locks = plural(locks, "lock");
            rehearsal.notes.push(format!("locks are not copied: on the cluster {locks} without a process must go first"));
        }
        if plan.digest != live.digest && (locks == 0 || (&plan.writes, &plan.locks) != (&live.writes, &live.locks)) {
            rehearsal.differs = plans::changes_since(&plan, &live);
            if rehearsal.differs.is_empty() {
                rehearsal.differs.push("the same steps, with other values in them".into());
            }
        }
        let tablets: BTreeSet<String> =
            plan.writes.iter().filter(|write| !write.rpc.is_empty()).map(|write| write.tablet.clone()).collect();
        let before = before.as_ref().map(|(found, _)| self.standing(&mut copy, found, &tablets));
        let first_values = copy.next_values();
        let done = self.perform(&mut copy, Mode::Planned(plan.digest.clone()), None).await;
        let stepwise = in_steps(&plan);
        let placed = Placed::of(&stepwise, &done);
        let refused = placed.refused(&stepwise, &done);
        rehearsal.sequences = sequences(first_values, &copy.next_values());
        let after = self.diagnose(&mut copy).await;
        let is_done = done.reply.as_ref().is_some_and(|reply| reply.result.is_ok());
        if let (Some(how), Ok(before), Ok((after, _))) = (faults.filter(|_| is_done), before, &after) {
            let after = self.standing(&mut copy, after, &tablets);
            let ends = Ends { tablets, before, after };
            rehearsal.faults = Some(self.with_faults(&placed.calls(&stepwise, &done), &done, &ends, &how));
        }
        let reply = done.reply.as_ref().map(|reply| reply.result.as_ref());
        let has_written = done.calls.iter().any(|call| call.writes() && call.failed.is_none());
        rehearsal.error = match reply {
            Some(Ok(_)) => None,
            Some(Err(status)) => Some(status.message.clone()),
            None => Some("the change ended without a reply: this is a defect of vtflow".into()),
        };
        rehearsal
            .notes
            .extend(done.reply.as_ref().and_then(|reply| reply.written.as_ref()).into_iter().flat_map(|it| it.notes.clone()));
        rehearsal.estimate_us = micros(done.took());
        rehearsal.took_us = done.calls.iter().map(|call| micros(call.took)).sum();
        rehearsal.refused = refused;
        rehearsal.steps = placed.told(&stepwise, &done);
        rehearsal.not_known.extend((!plan.gone.is_empty()).then(|| NOT_KNOWN_OF_TABLES.to_owned()));
        rehearsal.plan = Some(plan);
        rehearsal.verdict = match (&rehearsal.error, &after) {
            (Some(_), _) if !has_written => RehearsalVerdict::Refused,
            (Some(_), _) => RehearsalVerdict::NotHealthy,
            (None, Err(_)) => RehearsalVerdict::CouldNotLook,
            (None, Ok((_, screen))) => match screen.verdict {
                Verdict::Deviations => RehearsalVerdict::NotHealthy,
                Verdict::Healthy if copied.missing.is_empty() && rehearsal.differs.is_empty() => RehearsalVerdict::Healthy,
                Verdict::Healthy | Verdict::CouldNotLook => RehearsalVerdict::CouldNotLook,
            },
        };
        if let (RehearsalVerdict::Healthy, Some(tried)) = (rehearsal.verdict, &rehearsal.faults) {
            rehearsal.verdict = match tried.unhealed() {
                0 if tried.is_whole() => RehearsalVerdict::Healthy,
                0 => RehearsalVerdict::CouldNotLook,
                _ => RehearsalVerdict::NotHealthy,
            };
        }
        match after {
            Ok((_, screen)) => rehearsal.after = Some(screen),
            Err(status) => rehearsal.notes.push(format!("what there is afterwards cannot be told: {}", status.message)),
        }
        rehearsal
    }

    /// Refused; or nobody can tell, where not all could be read.
    fn refused(&self, rehearsal: Rehearsal, status: &Status) -> Rehearsal {
        let is_whole = self.taken.copied.missing.is_empty();
        let verdict = if is_whole { RehearsalVerdict::Refused } else { RehearsalVerdict::CouldNotLook };
        Rehearsal { verdict, error: Some(status.message.clone()), ..rehearsal }
    }
}

/// Next values before the change and after it.
fn sequences(before: BTreeMap<String, Option<i64>>, after: &BTreeMap<String, Option<i64>>) -> Vec<RehearsedSequence> {
    let sequence = |(name, before)| {
        let after = after.get(&name).copied().flatten();
        RehearsedSequence { name, before, after }
    };
    before.into_iter().map(sequence).collect()
}
