//! What is done to the cluster, part by part. A part goes by what the parts before it left: tables and rows, and no workflow.

mod cutover;
mod data;
mod faults;
mod materialize;
mod mirror;
mod move_tables;
mod online_ddl;
mod reparent;
mod reshard;
mod reshard_cutover;
mod reshard_streams;
mod split;
mod traffic;
mod vdiff;
mod vtctld_killed;

use crate::suite::Suite;

/// One part of the suite.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Suite) -> anyhow::Result<()>,
    /// Whether every other part needs it.
    pub(crate) is_first: bool,
}

/// In the order in which they are run.
pub(crate) const PARTS: &[Part] = &[
    Part { name: "data", run: data::run, is_first: true },
    Part { name: "cutover", run: cutover::run, is_first: false },
    Part { name: "reshard-cutover", run: reshard_cutover::run, is_first: false },
    Part { name: "reshard-streams", run: reshard_streams::run, is_first: false },
    Part { name: "vtctld-killed", run: vtctld_killed::run, is_first: false },
    Part { name: "mirror", run: mirror::run, is_first: false },
    Part { name: "move-tables", run: move_tables::run, is_first: false },
    Part { name: "materialize", run: materialize::run, is_first: false },
    Part { name: "vdiff", run: vdiff::run, is_first: false },
    Part { name: "reparent", run: reparent::run, is_first: false },
    Part { name: "reshard", run: reshard::run, is_first: false },
    Part { name: "online-ddl", run: online_ddl::run, is_first: false },
    Part { name: "faults", run: faults::run, is_first: false },
    Part { name: "reshard-completed", run: reshard::complete, is_first: false },
];
