//! Vitess's own programs, unmodified, against vtflow: what `make clients` runs, in parts that other benches use too. Nothing of what
//! is under test is in here.
//!
//! A comparison has two sides, ours and theirs; see [`output::Output::difference`].

#![allow(clippy::print_stdout, reason = "what is found is printed")]

pub mod client;
pub mod etcd;
pub mod http;
pub mod known;
pub mod live;
pub mod output;
pub mod process;
pub mod reads;
pub mod recorded;
pub mod report;
pub mod rpcs;
pub mod states;
pub mod vtadmin;
pub mod writes;
