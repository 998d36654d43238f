//! Hostile bytes: one function for each way into vtflow, which takes any bytes and panics if something does not hold that must hold of
//! every input.
//!
//! `make fuzz` runs libFuzzer over them; `make test` runs the inputs that are kept, which are in `corpus/` (those that reach different
//! code) and in `found/` (those that something was wrong with once). How to add a target, and what was found, is in `README.md`.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a target that finds something panics: that is how an engine knows of it"
)]

pub mod flow;
pub mod input;
pub mod targets;
pub mod world;

pub use targets::{TARGETS, Target, target};
