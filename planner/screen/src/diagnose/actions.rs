//! What a repair does, in words.

use crate::{text::Command, words::some};
use vtflow_planner::proto::vtflow::{RepairAction, repair_action::Action};

/// Keys, tables or cells in a line.
const SHOWN: usize = 6;

fn list(names: &[String]) -> String {
    some(&names.iter().map(String::as_str).collect::<Vec<_>>(), SHOWN)
}

/// What takes away a workflow's own lock, by its path; `None`: it is none.
pub(super) fn unlock(path: &str) -> Option<String> {
    let (keyspace, rest) = path.strip_prefix("internal/named_locks/")?.split_once('/')?;
    let (workflow, _) = rest.split_once("/locks/")?;
    Some(Command::new("vtflow workflow unlock").names(&[keyspace, workflow], ""))
}

/// One thing that is done. `is_back`: whether the command that goes on is the one that reverses.
pub(super) fn action(of: &RepairAction, is_back: bool) -> String {
    let command = if is_back { "reverse the traffic again" } else { "run the command again" };
    match &of.action {
        Some(Action::DenyTables(it)) => {
            let what = match (it.deny, it.allow_reads) {
                (false, _) => "no longer denies",
                (true, true) => "denies writes to",
                (true, false) => "denies",
            };
            format!("{}/{} {what} {}; its tablets read that", it.keyspace, it.shard, list(&it.tables))
        }
        Some(Action::PutRules(it)) => {
            let goes = |to: &[String]| if to.is_empty() { "gone".to_owned() } else { to.join(", ") };
            let rules: Vec<String> = it.rules.iter().map(|rule| format!("{} -> {}", rule.from, goes(&rule.to))).collect();
            format!("record {}: {}", it.record, list(&rules))
        }
        Some(Action::RebuildVschemas(it)) => format!("SrvVSchema of {} is made anew from the global records", list(&it.cells)),
        Some(Action::Statement(it)) => format!("{}/{} {}: {}", it.keyspace, it.shard, it.tablet, it.statement),
        Some(Action::CreateReverseStream(it)) => {
            let from = if it.position.is_empty() { "a position that somebody has to find".into() } else { it.position.clone() };
            format!("{}/{}: a stream of the reverse workflow that reads {} from {from}", it.keyspace, it.shard, it.reads)
        }
        Some(Action::QueryService(it)) => {
            let on = if it.enabled { "on" } else { "off" };
            format!(
                "{}/{}: the query service of its {} tablets is {on} in every cell; they read that",
                it.keyspace, it.shard, it.tablet_type
            )
        }
        Some(Action::RunAgain(it)) if it.at_any_lag => format!("{command}, and allow the lag since it stopped"),
        Some(Action::RunAgain(_)) => command.into(),
        Some(Action::Unlock(it)) => unlock(&it.path).unwrap_or_else(|| format!("delete the lock {}", it.path)),
        Some(Action::RaiseSequence(it)) => format!(
            "{}/{} {}: sequence {} goes on with {} at least; the tablet forgets what it took in advance",
            it.keyspace, it.shard, it.tablet, it.table, it.next
        ),
        None => "something that this version does not know".into(),
    }
}
