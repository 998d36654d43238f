//! Requests that write: look first, refuse what cannot be done anywhere, then change every target, then say what became of each.
//!
//! One engine ([`engine`]) runs every write. What it changes are rows of tablets or records of the topology ([`targets`]); a kind
//! of write ([`kind`]) says what is looked at, what is refused, which changes are made, and how a row shows that one has been
//! made. Nothing is changed before every target has been looked at and found able to take its change. No change is sent twice:
//! one that failed is followed by a second look, and the reply says `applied`, `not applied` or `unknown` of each target.
//!
//! `docs/design/0004-writes.md` has the reasons.

mod change;
pub(crate) mod engine;
pub(crate) mod inquiry;
mod judge;
pub(crate) mod kind;
pub(crate) mod locks;
mod migration;
pub(crate) mod plan;
mod records;
mod seen;
mod sources;
mod stream;
mod stream_update;
mod tablets;
mod targets;
pub(crate) mod throttler;
mod traffic;
mod unlock;
mod vdiff;
mod vdiff_options;
mod vdiff_rows;
mod vexec;
mod workflow_delete;
mod workflow_update;

pub(crate) use migration::Migration;
pub(crate) use throttler::Throttle;
pub(crate) use unlock::Unlock;
pub(crate) use vdiff::VDiffWrite;
pub(crate) use vexec::VExecWrite;
pub(crate) use workflow_delete::WorkflowDelete;
pub(crate) use workflow_update::WorkflowUpdate;
