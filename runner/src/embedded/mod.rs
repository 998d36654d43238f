//! The embedded cluster: the tablets of a snapshot as real gRPC servers on loopback ports, with SQLite behind them.
//!
//! It stands in for a live cluster, so it must refuse what a real tablet refuses and answer what a real one answers; it serves
//! tablets only, the topology is handed out as records ([`Cluster::topo`]). Facts: recorded from tablets of Vitess v16 to v24
//! (`tests/snapshots`), which a test replays against it.

mod bounds;
pub mod clock;
pub mod cluster;
pub mod controller_plan;
mod cut;
pub mod engine;
pub mod error;
mod fence;
pub mod fields;
mod functions;
pub mod generate;
mod json;
mod migrations;
mod mysql_to_sqlite;
pub mod release;
pub mod saved;
pub mod schema;
mod scope;
pub mod service;
pub mod snapshot;
mod source_text;
mod streams;
mod vdiff;
mod workflow_writes;
mod writes;

pub use cluster::{Cluster, ClusterError, Fault, OnWrite};
pub use generate::{Shape, demo, generate};
pub use release::Release;
pub use snapshot::{Cell, ColumnDecl, Snapshot, SnapshotError, TableRows, TableSize, TabletRows, Unreadable};
