//! What was concluded, as the reply has it.

use crate::{
    proto::vtflow::{self, DiagnosedWorkflow, repair_action as wire},
    traffic::{
        self,
        deviation::Deviation,
        evidence::{Evidence, Lock},
        locks,
        phase::reads_switched,
        repair::{Action, Repair},
    },
};

/// One workflow, and what is wrong with its streams. `now`: Unix seconds.
pub(super) fn workflow(evidence: &Evidence, of_streams: Vec<Deviation>, now: i64) -> DiagnosedWorkflow {
    let found = traffic::diagnose(evidence, now);
    let locks = evidence.locks.known().map(Vec::as_slice).unwrap_or_default();
    let is_there = !evidence.forward_streams().is_empty() || !evidence.reverse_streams().is_empty();
    DiagnosedWorkflow {
        keyspace: evidence.target.keyspace.clone(),
        workflow: evidence.workflow.clone(),
        source_keyspace: evidence.source.keyspace.clone(),
        kind: if is_there { evidence.kind.name().into() } else { String::new() },
        phase: found.phase.name().into(),
        reads_switched: if is_there { reads_switched(evidence) } else { Vec::new() },
        tables: evidence.tables.iter().cloned().collect(),
        source_shards: evidence.source.shards.keys().cloned().collect(),
        target_shards: evidence.target.shards.keys().cloned().collect(),
        deviations: found.deviations.into_iter().chain(of_streams).map(deviation).collect(),
        unknown: found.unknown.into_iter().collect(),
        locks: locks.iter().map(|it| lock(it, locks, now)).collect(),
        may_be_at_work: locks::may_be_at_work(evidence, now),
    }
}

fn lock(lock: &Lock, all: &[Lock], now: i64) -> vtflow::HeldLock {
    let until = if lock.is_named() && lock.since > 0 { lock.since + locks::NAMED_LEASE_SECONDS } else { 0 };
    vtflow::HeldLock {
        path: lock.path.clone(),
        action: lock.action.clone(),
        holder: lock.holder.clone(),
        since: lock.since,
        process: locks::process(lock, all, now).name().into(),
        until,
    }
}

pub(super) fn deviation(of: Deviation) -> vtflow::Deviation {
    vtflow::Deviation {
        mechanism: of.mechanism.name().into(),
        cause: of.mechanism.cause().into(),
        hurts: of.hurts,
        since: of.since,
        rerun: of.rerun.name().into(),
        places: of.places,
        repairs: of.repairs.into_iter().map(repair).collect(),
    }
}

fn repair(of: Repair) -> vtflow::Repair {
    let actions = of.actions.into_iter().map(|of| vtflow::RepairAction { action: Some(action(of)) });
    vtflow::Repair { direction: of.direction.name().into(), actions: actions.collect() }
}

fn action(of: Action) -> wire::Action {
    match of {
        Action::DenyTables { keyspace, shard, tables, deny, allow_reads } => {
            wire::Action::DenyTables(wire::DenyTables { keyspace, shard, tables, deny, allow_reads })
        }
        Action::PutRules { record, rules } => {
            let rules = rules.into_iter().map(|(from, to)| wire::Rule { from, to }).collect();
            wire::Action::PutRules(wire::PutRules { record: record.into(), rules })
        }
        Action::RebuildVSchemas { cells } => wire::Action::RebuildVschemas(wire::RebuildVSchemas { cells }),
        Action::Statement { keyspace, shard, tablet, statement } => {
            wire::Action::Statement(wire::Statement { keyspace, shard, tablet, statement })
        }
        Action::CreateReverseStream { keyspace, shard, reads, position } => {
            wire::Action::CreateReverseStream(wire::CreateReverseStream { keyspace, shard, reads, position })
        }
        Action::QueryService { keyspace, shard, tablet_type, enabled } => {
            wire::Action::QueryService(wire::QueryService { keyspace, shard, tablet_type, enabled })
        }
        Action::RunAgain { at_any_lag } => wire::Action::RunAgain(wire::RunAgain { at_any_lag }),
        Action::Unlock { path } => wire::Action::Unlock(wire::Unlock { path }),
        Action::RaiseSequence { keyspace, shard, tablet, table, next } => {
            wire::Action::RaiseSequence(wire::RaiseSequence { keyspace, shard, tablet, table, next })
        }
    }
}
