//! Tests that need more than one crate, as one program: every file is a module.

mod cases_rows;
mod demo;
mod ending;
mod generated;
mod legacy;
mod lifecycle;
mod mariadb;
mod purity;
mod recordings;
mod rehearsal;
mod rehearsed_ending;
mod rehearsed_repair;
mod rehearsed_sequences;
mod replay;
mod sequences;
mod snapshots;
mod switch;
mod switch_faults;
mod switched;
mod throttler;
mod vdiff;
mod writes;
