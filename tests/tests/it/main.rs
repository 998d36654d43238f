//! Tests that need more than one crate, as one program: every file is a module.

mod cases_rows;
mod demo;
mod generated;
mod legacy;
mod mariadb;
mod purity;
mod recordings;
mod replay;
mod snapshots;
mod switched;
mod throttler;
mod vdiff;
mod writes;
