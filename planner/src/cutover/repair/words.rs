//! What a way out does, in words: for whoever has to choose one, and for what a repair leaves to people.

use crate::traffic::{
    commands,
    deviation::Mechanism as M,
    evidence::Evidence,
    phase,
    repair::{Action, Repair},
};

/// The command that goes on with what was begun, as far as the mechanism says what that was.
pub(super) fn again(mechanism: M, of: &Evidence, at_any_lag: bool) -> String {
    commands::again(mechanism, phase(of).name(), &of.target.keyspace, &of.workflow, at_any_lag)
}

/// The command that starts all streams.
pub(super) fn start(of: &Evidence) -> String {
    commands::start(&of.target.keyspace, &of.workflow)
}

/// One thing that is done, in a line.
fn action(of: &Action, mechanism: M, evidence: Option<&Evidence>) -> String {
    match of {
        Action::DenyTables { keyspace, shard, tables, deny, .. } => {
            format!("{keyspace}/{shard}: {} tables {}", if *deny { "deny" } else { "allow" }, tables.join(", "))
        }
        Action::PutRules { record, rules } => {
            let rule = |(from, to): &(String, Vec<String>)| {
                if to.is_empty() { format!("no {from}") } else { format!("{from} -> {}", to.join(", ")) }
            };
            format!("{record}: {}", rules.iter().map(rule).collect::<Vec<_>>().join("; "))
        }
        Action::RebuildVSchemas { cells } => format!("make SrvVSchema of {} anew", cells.join(", ")),
        Action::Statement { keyspace, shard, tablet, statement } => format!("{keyspace}/{shard} {tablet}: {statement}"),
        Action::CreateReverseStream { keyspace, shard, reads, .. } => {
            format!("{keyspace}/{shard}: create the reverse stream from {reads}")
        }
        Action::QueryService { keyspace, shard, tablet_type, enabled } => {
            format!("{keyspace}/{shard}: query service of {tablet_type} {}", if *enabled { "on" } else { "off" })
        }
        Action::RunAgain { at_any_lag } => match evidence {
            Some(evidence) => again(mechanism, evidence, *at_any_lag),
            None => "the command again".into(),
        },
        Action::Unlock { path } => format!("delete the lock {path}"),
        Action::RaiseSequence { keyspace, shard, table, next, .. } => {
            format!("{keyspace}/{shard}: raise sequence {table} to {next}")
        }
    }
}

/// A way out, a line for each thing.
pub(super) fn lines(repair: &Repair, mechanism: M, evidence: Option<&Evidence>) -> Vec<String> {
    repair.actions.iter().map(|of| action(of, mechanism, evidence)).collect()
}
