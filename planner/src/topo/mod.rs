//! Topology records.
