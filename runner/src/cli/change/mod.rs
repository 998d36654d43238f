//! The commands that change a cluster.

pub(crate) mod apply;
pub(crate) mod confirm;
pub(crate) mod migration;
mod switch;
mod unlock;
pub(crate) mod vdiff;
pub(crate) mod workflow;
