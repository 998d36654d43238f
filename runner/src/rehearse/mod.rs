//! Rehearsals: a change of traffic performed on a copy of the cluster in this process, with the flow and the options that the cluster itself
//! would see.
//!
//! [`take`] reads the cluster and writes nothing to it; [`rehearse`] knows only the copy. A copy is the records of a snapshot in memory
//! ([`copy`]) and embedded tablets with its rows. Every try has a fresh one. [`run`] performs a flow there, in the order in which answers
//! would come if each took as long as the cluster's own did; [`steps`] finds the plan's steps in what was asked.

mod copy;
mod run;
mod steps;
mod take;

use std::{io, time::Duration};

use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Mode, Reply, Status,
    contract::WritePlan,
    proto::vtflow::{DiagnoseRequest, DiagnoseResponse},
    rpc,
};
use vtflow_screen::{
    DiagnosisScreen, Verdict, diagnosis, plans,
    rehearsal::{NOT_KNOWN, Rehearsal, RehearsalVerdict},
};

use self::{
    copy::Copy,
    run::{Performed, perform},
    steps::Placed,
};
pub use self::{
    run::Trips,
    take::{Taken, take},
};
use crate::{embedded::in_place::InPlace, planner_host::PlannerHost};

/// A change that is rehearsed.
#[derive(Clone, Debug)]
pub struct Change {
    /// The workflow's target keyspace.
    pub keyspace: String,
    /// Its name.
    pub workflow: String,
    /// The request.
    pub call: Call,
}

/// Rehearses a change on copies of what was taken.
///
/// # Errors
/// No thread is to be had.
pub async fn rehearse(planner: PlannerHost, taken: Taken, change: Change) -> io::Result<Rehearsal> {
    let (told, hears) = tokio::sync::oneshot::channel();
    // Statements are read on a stack of their own size, and nothing else waits meanwhile.
    let thread = std::thread::Builder::new().name("rehearsal".into()).stack_size(InPlace::STACK_BYTES);
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let rehearsed = runtime.map(|runtime| runtime.block_on(Stage { planner, taken, change }.rehearse()));
        let _ = told.send(rehearsed);
    })?;
    hears.await.map_err(|_| io::Error::other("the rehearsal has died"))?
}

/// Everything that each try needs.
struct Stage {
    planner: PlannerHost,
    taken: Taken,
    change: Change,
}

impl Stage {
    async fn rehearse(&self) -> Rehearsal {
        let Taken { copied, trips, preview, .. } = &self.taken;
        let mut rehearsal = Rehearsal {
            verdict: RehearsalVerdict::Refused,
            copy: copied.clone(),
            plan: None,
            differs: Vec::new(),
            error: None,
            notes: Vec::new(),
            steps: Vec::new(),
            estimate_us: 0,
            took_us: 0,
            refused: None,
            round_trips: trips.told(),
            after: None,
            not_known: NOT_KNOWN.map(str::to_owned).to_vec(),
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
        if plan.digest != live.digest {
            rehearsal.differs = plans::changes_since(&plan, live);
            if rehearsal.differs.is_empty() {
                rehearsal.differs.push("the same steps, with other values in them".into());
            }
        }
        let done = self.perform(&mut copy, Mode::Planned(plan.digest.clone())).await;
        let placed = Placed::of(&plan, &done);
        let refused = before.as_ref().ok().and_then(|(found, _)| placed.refused(&plan, &done, found));
        let after = self.diagnose(&mut copy).await;
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
        rehearsal.steps = placed.told(&plan, &done);
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

    fn copy(&self) -> Copy {
        Copy::of(&self.taken.snapshot)
    }

    async fn perform(&self, copy: &mut Copy, mode: Mode) -> Performed {
        let mut call = self.change.call.clone();
        call.options.mode = mode;
        perform(self.planner.start(&call, self.taken.now), copy, &self.taken.trips).await
    }

    async fn preview(&self, copy: &mut Copy) -> Result<WritePlan, Status> {
        plan_of(self.perform(copy, Mode::Preview).await.reply)
    }

    async fn diagnose(&self, copy: &mut Copy) -> Result<(DiagnoseResponse, DiagnosisScreen), Status> {
        let Change { keyspace, workflow, .. } = &self.change;
        let request = DiagnoseRequest { keyspace: keyspace.clone(), workflow: workflow.clone() };
        let call = Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() };
        let done = perform(self.planner.start(&call, self.taken.now), copy, &self.taken.trips).await;
        let reply = done.reply.ok_or_else(no_reply)?;
        let bytes = reply.result?;
        let found = DiagnoseResponse::decode(bytes.as_slice()).map_err(|error| Status::unknown(error.to_string()))?;
        let screen = diagnosis(&found, &reply.failures, self.taken.now);
        Ok((found, screen))
    }
}

/// The plan that a preview has.
fn plan_of(reply: Option<Reply>) -> Result<WritePlan, Status> {
    let reply = reply.ok_or_else(no_reply)?;
    reply.result?;
    reply.written.map(|written| written.plan).ok_or_else(|| Status::unknown("it changes nothing: it has no plan"))
}

fn no_reply() -> Status {
    Status::unknown("the request has neither a reply nor anything left to ask: this is a defect of vtflow")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
