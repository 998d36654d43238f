//! The commands that read a cluster, and show what they have read.

pub(crate) mod describe;
pub(crate) mod diagnose;
pub(crate) mod migrations;
pub(crate) mod overview;
pub(crate) mod plan;
pub(crate) mod topology;
pub(crate) mod vdiff;
pub(crate) mod view;
pub(crate) mod workflows;
