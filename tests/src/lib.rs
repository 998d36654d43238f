//! Support for the tests in `tests/`: the real servers that they start, and nothing that is under test itself.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "support code of tests: what it cannot do fails the test")]

pub mod mariadb;
pub mod sidecar_rows;
