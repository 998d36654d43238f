//! What vttablet decides: which RPCs and statements a release takes, what a change causes besides, and how failures are worded.

pub mod controller_plan;
pub(crate) mod health;
pub mod local;
mod migrations;
mod positions;
pub mod service;
pub(crate) mod source_text;
mod streams;
mod table_definitions;
mod vdiff;
mod vdiff_writes;
mod vexec;
mod workflow_writes;
