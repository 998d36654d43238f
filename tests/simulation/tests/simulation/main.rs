//! Some hundred seeds, that a seed is always the same run, that the checkers notice what they are there for, and what they have found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

mod scenes;
mod seeds;
mod traffic;
