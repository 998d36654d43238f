//! How the plan of every change is begun, and held to the one that was read.

use crate::contract::{Call, Code, Mode, Status, WritePlan};

/// The plan of a call, with nothing in it yet.
pub(crate) fn begun(call: &Call) -> WritePlan {
    WritePlan {
        planner: format!("{} {}", crate::VERSION, crate::DIGEST),
        rpc: call.path.clone(),
        request: call.request.clone(),
        force: call.options.force,
        shards: call.options.shards.clone(),
        summary: String::new(),
        locks: Vec::new(),
        writes: Vec::new(),
        kept: Vec::new(),
        warnings: Vec::new(),
        gone: Vec::new(),
        refuses: None,
        steps: Vec::new(),
        digest: String::new(),
    }
}

/// Holds a sealed plan to the one that the caller has read, if any.
///
/// # Errors
/// It is another one.
pub(crate) fn check(plan: &WritePlan, call: &Call) -> Result<(), Status> {
    match &call.options.mode {
        Mode::Planned(digest) if *digest != plan.digest => {
            let message = "the plan is not the one any more: nothing was changed".to_owned();
            Err(Status { code: Code::FailedPrecondition, message })
        }
        _ => Ok(()),
    }
}
