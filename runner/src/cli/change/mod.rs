//! The commands that change a cluster.

pub(crate) mod apply;
pub(crate) mod confirm;
mod forward;
pub(crate) mod migration;
#[cfg(feature = "embedded")]
mod rehearse;
mod rehearsed;
pub(crate) mod repair;
mod switch;
mod unlock;
pub(crate) mod vdiff;
pub(crate) mod workflow;
