//! The loop between a flow and a cluster: takes asks, performs them all at once, feeds the answers back as they arrive.
//!
//! The only caller of flows. It decides nothing: no ask is delayed, dropped or repeated here, and no answer is read.
//! Dropping a future of this module cancels everything that is under way and gives locks back. While a lock is held, no call
//! that writes is made without having seen that it still is.

mod attempt;
mod cluster_io;
mod last_records;
mod plan;
mod running;

pub use attempt::{drive, drive_assuming};
pub use cluster_io::ClusterIo;
pub use last_records::LastRecords;
pub use plan::{Planned, plan};

#[cfg(test)]
mod tests;
