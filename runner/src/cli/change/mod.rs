//! The commands that change a cluster.

pub(crate) mod apply;
pub(crate) mod confirm;
pub(crate) mod migration;
#[cfg(feature = "embedded")]
mod rehearse;
mod switch;
pub(crate) mod vdiff;
pub(crate) mod workflow;
