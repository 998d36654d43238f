//! All tablets of a snapshot without ports, threads or a runtime: for whoever brings calls to them directly, and wants a fresh cluster for
//! each try.
//!
//! The answers are those of a running cluster ([`crate::Cluster`]) that has no faults and no delay. A tablet's rows are loaded when it is
//! called first.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tonic::Status;
use vtflow_planner::proto::topodata::TabletType;

use crate::{
    cluster::cells,
    mysql::{clock::Clock, engine::Engine},
    records::{db_name, has_address, tablet_records},
    snapshot::Snapshot,
    tablet::local::{self, Identity},
};

/// The tablets of a snapshot, in place.
pub struct InPlace {
    snapshot: Arc<Snapshot>,
    clock: Clock,
    tablets: BTreeMap<String, One>,
}

struct One {
    whom: Identity,
    engine: Option<Engine>,
}

/// What a tablet gives instead of an answer.
#[derive(Clone, Debug)]
pub enum NoAnswer {
    /// It refuses, as a tablet does.
    Status(Box<Status>),
    /// Nobody is there: why.
    Down(String),
}

impl InPlace {
    /// The tablets as they are in the snapshot. None is started.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let clock = Clock::starting_at(snapshot.taken_at);
        let cells: Arc<str> = cells(&snapshot.topo).into();
        // Who takes a snapshot hears of its records that cannot be read.
        let records = tablet_records(snapshot.topo.iter(), &mut Vec::new());
        let tablets = records.into_iter().filter(|(_, record)| has_address(record)).map(|(alias, record)| {
            let whom = Identity {
                alias: alias.clone(),
                shard: record.shard.clone(),
                db_name: db_name(&record),
                cells: Arc::clone(&cells),
                is_primary: record.r#type() == TabletType::Primary,
            };
            (alias, One { whom, engine: None })
        });
        let tablets = tablets.collect();
        Self { snapshot, clock, tablets }
    }

    /// What a tablet answers. Blocks for as long as the statement takes, and needs [`InPlace::STACK_BYTES`] of stack.
    ///
    /// # Errors
    /// The tablet's status, or why it is not there.
    pub fn answer(&mut self, alias: &str, path: &str, request: &[u8]) -> Result<Bytes, NoAnswer> {
        let down = NoAnswer::Down;
        let tablet = self.tablets.get_mut(alias).ok_or_else(|| down(format!("the snapshot has no tablet {alias}")))?;
        if tablet.engine.is_none() {
            let rows = self.snapshot.tablets.get(alias);
            let rows = rows.ok_or_else(|| down(format!("tablet {alias} did not answer when the snapshot was taken")))?;
            let loaded = Engine::new(rows, self.clock);
            tablet.engine = Some(loaded.map_err(|error| down(format!("the rows of tablet {alias} cannot be loaded: {error}")))?);
        }
        let Some(engine) = &mut tablet.engine else { return Err(down(format!("tablet {alias} has no rows"))) };
        local::answer(engine, &tablet.whom, path, request).map_err(|status| NoAnswer::Status(Box::new(status)))
    }

    /// Bytes of stack of a thread that calls [`InPlace::answer`].
    pub const STACK_BYTES: usize = crate::bounds::STACK_BYTES;
}
