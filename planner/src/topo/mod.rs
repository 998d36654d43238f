//! The topology: names and paths of its records, and the way from a keyspace to the primaries of its shards.
//!
//! Knows records, not back ends: every path is relative to a cell's root. Facts: `spec` of Vitess `go/vt/topo`, v10 to v24.

pub mod names;
pub mod record;
pub(crate) mod said;
pub(crate) mod targets;
