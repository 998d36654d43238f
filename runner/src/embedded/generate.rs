//! placeholder until merged
use vtflow_planner::Timestamp;
use super::{release::Release, snapshot::Snapshot};
/// s
#[derive(Clone, Debug)]
pub struct Shape { /// s
 pub shards: u32, /// s
 pub streams: u32, /// s
 pub copy_states: u32, /// s
 pub log_rows: u32, /// s
 pub release: Release }
/// s
pub fn generate(_: &Shape, t: Timestamp) -> Snapshot { demo(t) }
/// s
pub fn demo(t: Timestamp) -> Snapshot { Snapshot { taken_at: t, note: String::new(), topo: vec![], tablets: Default::default() } }
