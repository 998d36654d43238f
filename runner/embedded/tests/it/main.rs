//! The tests of the embedded cluster, as one program: every file is a module.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod own_tables;
mod strangers;
mod tables;
mod vdiff;
mod vexec_scope;
mod wire;
