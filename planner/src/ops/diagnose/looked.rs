//! What a diagnosis has seen, as types, with the versions of the records: for whoever puts right what is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Diagnose,
    assemble::Assembled,
    records::{Asked, Versioned},
};
use crate::{
    contract::Status,
    proto::vtflow::DiagnoseResponse,
    traffic::{
        Diagnosis,
        deviation::Deviation,
        diagnose,
        evidence::{Evidence, Rules},
    },
};

/// All of it.
pub(crate) struct Looked {
    /// Those that were asked for.
    pub(crate) workflows: Vec<(Evidence, Diagnosis)>,
    /// What is wrong and no workflow's.
    pub(crate) leftovers: Vec<Deviation>,
    /// Why it is not known whether there are others; empty: there are none.
    pub(crate) unknown: BTreeSet<String>,
    /// The same as a client gets it.
    pub(crate) reply: DiagnoseResponse,
    /// The names of all keyspaces.
    pub(crate) keyspaces: BTreeSet<String>,
    /// The names of all cells.
    pub(crate) cells: BTreeSet<String>,
    /// Where rules lead.
    pub(crate) leads: Arc<Rules>,
    /// The records of rules that are there, by path.
    pub(crate) rules: BTreeMap<String, Versioned>,
    /// By path, the records of the shards of all keyspaces that were read.
    pub(crate) shards: BTreeMap<String, Versioned>,
    /// By cell, its `SrvVSchema`.
    pub(crate) served: BTreeMap<String, Versioned>,
    /// By cell and keyspace, the `SrvKeyspace`.
    pub(crate) srv_keyspaces: BTreeMap<(String, String), Versioned>,
    /// By path, the version of every lock.
    pub(crate) locks: BTreeMap<String, i64>,
}

impl Diagnose {
    /// What was seen, once all was read.
    ///
    /// # Errors
    /// Nothing could be told.
    pub(crate) fn looked(&self) -> Result<Looked, Status> {
        if let Some(status) = &self.fatal {
            return Err(status.clone());
        }
        let assembled = Assembled::new(&self.reading, self.keyspace.as_ref());
        let now = self.now.seconds;
        let (leftovers, unknown) = self.leftovers(&assembled, &assembled.cluster());
        let workflows = assembled.workflows.iter().filter(|it| self.is_wanted(it));
        let records = &self.reading.records;
        let rules = Asked::RULES.iter().filter_map(|asked| Some((asked.place().1, records.stored(asked)?)));
        let (mut served, mut srv_keyspaces) = (BTreeMap::new(), BTreeMap::new());
        for (asked, stored) in records.all_stored() {
            match asked {
                Asked::VSchema(cell) => drop(served.insert(cell.clone(), stored.clone())),
                Asked::Served(cell, keyspace) => {
                    srv_keyspaces.insert((cell.clone(), keyspace.to_string()), stored.clone());
                }
                _ => {}
            }
        }
        let locks = self.reading.locks.listed().into_iter();
        Ok(Looked {
            workflows: workflows.map(|it| (it.clone(), diagnose(it, now))).collect(),
            leftovers,
            unknown,
            reply: self.concluded(),
            keyspaces: records.keyspace_names().unwrap_or_default(),
            cells: records.cell_names().unwrap_or_default(),
            leads: assembled.rules.clone(),
            rules: rules.collect(),
            shards: records.of_shards().map(|(_, it)| (it.path.clone(), (it.value.clone(), it.version))).collect(),
            served,
            srv_keyspaces,
            locks: locks.map(|it| (it.path.clone(), it.version)).collect(),
        })
    }
}
