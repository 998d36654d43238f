//! A copy for each try, and the requests that are made on it.

use std::io;

use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Mode, Status,
    contract::WritePlan,
    proto::vtflow::{DiagnoseRequest, DiagnoseResponse},
    rpc,
};
use vtflow_screen::{DiagnosisScreen, diagnosis};

use super::{
    change::Change,
    copy::Copy,
    run::{Performed, Wrong, perform},
    take::{Taken, no_reply, plan_of},
};
use crate::{embedded::in_place::InPlace, planner_host::PlannerHost};

/// Statements are read on a stack of their own size, and nothing else waits for them.
pub(super) fn thread() -> std::thread::Builder {
    std::thread::Builder::new().name("rehearsal".into()).stack_size(InPlace::STACK_BYTES)
}

/// One that only this thread uses.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()
}

/// Everything that each try needs.
pub(super) struct Stage {
    pub(super) planner: PlannerHost,
    pub(super) taken: Taken,
    pub(super) change: Change,
}

impl Stage {
    /// As it was when the snapshot was taken.
    pub(super) fn copy(&self) -> Copy {
        Copy::of(&self.taken.snapshot, &self.taken.sequences)
    }

    /// The change.
    pub(super) async fn perform(&self, copy: &mut Copy, mode: Mode, wrong: Option<Wrong>) -> Performed {
        let mut call = self.change.call.clone();
        call.options.mode = mode;
        self.request(copy, &call, wrong).await
    }

    /// Any request.
    pub(super) async fn request(&self, copy: &mut Copy, call: &Call, wrong: Option<Wrong>) -> Performed {
        perform(self.planner.start(call, self.taken.now), copy, &self.taken.trips, wrong).await
    }

    /// What the change would do.
    pub(super) async fn preview(&self, copy: &mut Copy) -> Result<WritePlan, Status> {
        plan_of(self.perform(copy, Mode::Preview, None).await.reply)
    }

    /// What diagnose says of the workflow.
    pub(super) async fn diagnose(&self, copy: &mut Copy) -> Result<(DiagnoseResponse, DiagnosisScreen), Status> {
        let Change { keyspace, workflow, .. } = &self.change;
        let sequences = self.change.looks_at_sequences();
        let request = DiagnoseRequest { keyspace: keyspace.clone(), workflow: workflow.clone(), sequences };
        let call = Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() };
        let done = self.request(copy, &call, None).await;
        let reply = done.reply.ok_or_else(no_reply)?;
        let bytes = reply.result?;
        let found = DiagnoseResponse::decode(bytes.as_slice()).map_err(|error| Status::unknown(error.to_string()))?;
        let screen = diagnosis(&found, &reply.failures, self.taken.now);
        Ok((found, screen))
    }
}
