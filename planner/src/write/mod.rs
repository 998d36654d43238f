//! Requests that write: look first, refuse what cannot be done anywhere, then change every target, then say what became of each.
//!
//! One engine ([`engine`]) runs every kind of write; a kind is a [`kind::TabletWrite`]: what it looks at, what it refuses, which calls
//! it makes, and how a row shows that a call has done its work. Nothing is changed before every target has been looked at and
//! found able to take its change. A call that writes is never made twice: one that failed is followed by a second look, and the
//! reply says `applied`, `not applied` or `unknown` of each target.
//!
//! `docs/design/0004-writes.md` has the reasons.

pub(crate) mod engine;
mod inquiry;
pub(crate) mod kind;
mod locks;
mod migration;
mod sources;
mod stream;
pub(crate) mod throttler;
mod traffic;
mod vexec;
mod workflow_delete;
mod workflow_update;

pub(crate) use migration::{Action, Migration};
pub(crate) use throttler::Throttle;
pub(crate) use vexec::VExecWrite;
pub(crate) use workflow_delete::WorkflowDelete;
pub(crate) use workflow_update::WorkflowUpdate;
