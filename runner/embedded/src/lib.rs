//! The embedded cluster: the tablets of a snapshot as real gRPC servers on loopback ports, with SQLite behind them.
//!
//! It stands in for a live cluster, so it must refuse what a real tablet refuses and answer what a real one answers; it serves
//! tablets only, the topology is handed out as records ([`Cluster::topo`]). Facts: recorded from tablets of Vitess v16 to v24
//! (`tests/snapshots`), which a test replays against it.
//!
//! What MySQL would do is in [`mysql`], what vttablet decides in [`tablet`]; the files of a cluster are [`snapshot`], made-up ones
//! [`mod@generate`].

mod bounds;
pub mod cluster;
pub mod fault;
#[doc(hidden)]
pub mod fuzz;
pub mod generate;
pub mod in_place;
pub mod mysql;
pub mod raw;
mod records;
pub mod release;
mod severable;
pub mod snapshot;
pub mod tablet;

pub use bounds::OWN_TABLES;
pub use cluster::{Cluster, ClusterError};
pub use fault::{Fault, OnWrite};
pub use generate::{Shape, demo, generate};
pub use mysql::{clock, engine, error, schema};
pub use release::Release;
pub use snapshot::{
    Cell, ColumnDecl, OwnTables, Snapshot, SnapshotError, TableRows, TableSize, TabletRows, Unreadable, from_reply::from_response,
};
pub use tablet::controller_plan;
