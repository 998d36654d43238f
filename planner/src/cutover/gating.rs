//! Which acts of a change refuse writes on the source, and which let them be taken again: marked on their asks, for the planner has no clock.
//!
//! Writes are refused from when a source's primary has read that it is closed. They are taken again when it has read that it is open, or
//! when every cell serves the rules (of a reshard: the shards) by which they go to the target.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::{Gate, Refuses, StepWay as Way, Turn},
    cutover::{
        act::{Call, RecordEdit},
        begun,
        edit::Edit,
        refusals::is_switched,
        scene::Scene,
        steps::{Planned, Step},
    },
    rpc,
    traffic::kind::Kind,
};

/// What the acts of one step do to writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gating {
    turn: Option<Turn>,
    keyspace: String,
    /// By alias of a primary of the source: its shard. It is turned when it reads its records; without any, all shards are when the cells
    /// serve the way to the target.
    primaries: BTreeMap<String, String>,
}

impl Gating {
    /// Of a step, or of what takes it back.
    pub(crate) fn of(planned: &Planned, is_undo: bool, scene: &Scene) -> Self {
        let Some(turn) = turn(planned, is_undo) else { return Self::default() };
        // A route opens by what the cells serve.
        let primaries = scene.sources.values().filter(|_| planned.step != Step::Route);
        Self {
            turn: Some(turn),
            keyspace: scene.source_keyspace.clone(),
            primaries: primaries.map(|on| (on.primary.alias.clone(), on.shard.clone())).collect(),
        }
    }

    /// What a call does.
    pub(crate) fn of_call(&self, call: &Call) -> Option<Gate> {
        if call.query.path() != rpc::REFRESH_STATE {
            return None;
        }
        self.gate(self.primaries.get(&call.tablet.alias)?.clone())
    }

    /// What the edit of a record does: of what a cell serves of a reshard.
    pub(crate) fn of_edit(&self, edit: &RecordEdit) -> Option<Gate> {
        if matches!(edit.edit, Edit::Serve { .. }) { self.of_rebuild() } else { None }
    }

    /// What it does to serve the rules in a cell.
    pub(crate) fn of_rebuild(&self) -> Option<Gate> {
        if self.primaries.is_empty() { self.gate(String::new()) } else { None }
    }

    fn gate(&self, shard: String) -> Option<Gate> {
        Some(Gate { turn: self.turn?, keyspace: self.keyspace.clone(), shard })
    }
}

/// What a step does to writes, or what takes it back; `None`: nothing.
pub(crate) fn turn(planned: &Planned, is_undo: bool) -> Option<Turn> {
    match (&planned.step, planned.way, is_undo) {
        (Step::Close, Way::Back, false) => Some(Turn::Closes),
        // Closed by whoever wrote the journal, the source is only closed once more where a switch is finished.
        (Step::Close, Way::Back, true) | (Step::Reopen, _, _) | (Step::Route, _, false) => Some(Turn::Opens),
        _ => None,
    }
}

/// The writes that are refused while these steps are done; `None`: none are.
pub(crate) fn refuses(steps: &[Planned], scene: &Scene) -> Option<Refuses> {
    let closes = steps.iter().any(|planned| planned.step == Step::Close && planned.way == Way::Back);
    let opens = steps.iter().any(|planned| matches!(planned.step, Step::Route | Step::Reopen));
    // What is denied behind a switch of writes keeps nobody out.
    let is_closed = opens && !is_switched(scene);
    let before: BTreeSet<String> =
        if is_closed { begun::closed(scene.kind, &scene.tables, &scene.sources, &scene.srv_keyspaces) } else { BTreeSet::new() };
    if !closes && before.is_empty() {
        return None;
    }
    Some(Refuses {
        keyspace: scene.source_keyspace.clone(),
        shards: if closes { scene.sources.keys().cloned().collect() } else { before.iter().cloned().collect() },
        tables: if scene.kind == Kind::Reshard { Vec::new() } else { scene.tables.clone() },
        before: before.into_iter().collect(),
    })
}
