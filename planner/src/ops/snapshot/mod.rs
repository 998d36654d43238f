//! `Snapshot`: the topology of some keyspaces and the sidecar rows of all their tablets, to be looked at elsewhere.
//!
//! Three rounds: what the global topology says (where all of the routing is wanted, also the vschemas of other keyspaces); what each cell says; the sidecar tables of every tablet and the names of its
//! own, replicas too, read as the DBA user because replicas answer nobody else. A table that a release does not have is left out; a tablet that does not
//! answer has no rows, which in a snapshot means just that.
//!
//! What comes of it goes into files and into a database: names are read into types that hold nothing but a name, and what has another
//! one is left out and named. Tables are `table.rs`.

mod declared;
pub(crate) mod table;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, Failure, Lost, Record, Reply, Status, TabletAddress, What},
    limits,
    operation::{Asks, Operation},
    ops::snapshot::table::{DESCRIPTION, Next, TABLES, TableRead, full_name},
    proto::{
        topodata::Tablet,
        vtflow::{SnapshotRequest, SnapshotResponse, snapshot_response as saved},
    },
    sidecar::query::Query,
    topo::{
        names::{CELLS_PREFIX, CellName, GLOBAL, KeyspaceName, TABLETS_PREFIX, TabletName},
        targets,
    },
};

/// Global records that belong to no keyspace but decide where its traffic goes.
const RULES: [&str; 4] = ["RoutingRules", "ShardRoutingRules", "routing_rules/keyspace/Rules", "MirrorRules"];

pub(crate) struct Snapshot {
    keyspaces: BTreeSet<KeyspaceName>,
    /// Whether everything is kept that changes of routing go by, of all keyspaces.
    routing: bool,
    waiting: BTreeMap<AskId, Waiting>,
    /// By cell and path.
    records: BTreeMap<(String, String), Record>,
    tablets: BTreeMap<TabletName, Found>,
    failures: Vec<Failure>,
    /// Why there is no snapshot: all the reasons, so that it does not matter which came first.
    fatal: BTreeSet<String>,
}

enum Waiting {
    /// Records to keep: a keyspace's, from this cell.
    Keyspace {
        cell: String,
        keyspace: String,
    },
    /// One record to keep.
    Record {
        cell: String,
        path: String,
    },
    Cells,
    /// Names of all keyspaces.
    Keyspaces,
    /// Records to keep, of no keyspace.
    Aliases,
    Tablets {
        cell: CellName,
    },
    Table {
        tablet: TabletName,
        table: &'static str,
    },
}

/// A tablet of one of the keyspaces.
struct Found {
    keyspace: String,
    shard: String,
    address: TabletAddress,
    db_name: String,
    /// One for each of [`TABLES`].
    tables: BTreeMap<&'static str, TableRead>,
}

impl Found {
    /// What is missing of it: a failure for each different text, with the tables that it is of.
    fn failures(&self, tablet: &TabletName) -> Vec<Failure> {
        let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (table, read) in TABLES.iter().filter_map(|table| Some((*table, self.tables.get(table)?))) {
            for text in read.failures() {
                tables.entry(text).or_default().push(table);
            }
        }
        let failure = |(text, tables): (&str, Vec<&str>)| {
            // A tablet that does not answer says so once.
            let message = if tables.len() == TABLES.len() {
                text.to_owned()
            } else {
                let names: Vec<String> = tables.iter().map(|table| full_name(table)).collect();
                format!("{}: {text}", names.join(", "))
            };
            lost(&self.keyspace, &self.shard, &tablet.to_string(), message)
        };
        tables.into_iter().map(failure).collect()
    }
}

impl Snapshot {
    pub(crate) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: SnapshotRequest = crate::operation::decode(call)?;
        if request.keyspaces.is_empty() {
            return Err(Status::unknown("a snapshot is of keyspaces: name at least one"));
        }
        let keyspaces = request.keyspaces.iter().map(|name| KeyspaceName::of_request(name));
        let keyspaces = keyspaces.collect::<Result<BTreeSet<_>, _>>()?;
        let mut snapshot = Self {
            keyspaces,
            routing: request.routing,
            waiting: BTreeMap::new(),
            records: BTreeMap::new(),
            tablets: BTreeMap::new(),
            failures: Vec::new(),
            fatal: BTreeSet::new(),
        };
        let cells = asks.release(What::TopoRange { cell: GLOBAL.into(), prefix: CELLS_PREFIX.into() });
        snapshot.waiting.insert(cells, Waiting::Cells);
        snapshot.keyspaces_of(GLOBAL, asks);
        for path in RULES {
            snapshot.get(GLOBAL, path, asks);
        }
        let aliases = asks.release(What::TopoRange { cell: GLOBAL.into(), prefix: "cells_aliases/".into() });
        snapshot.waiting.insert(aliases, Waiting::Aliases);
        if request.routing {
            let names = asks.release(What::TopoList { cell: GLOBAL.into(), prefix: "keyspaces/".into() });
            snapshot.waiting.insert(names, Waiting::Keyspaces);
        }
        Ok(snapshot)
    }

    fn get(&mut self, cell: &str, path: &str, asks: &mut Asks) {
        let id = asks.release(What::TopoGet { cell: cell.into(), path: path.into() });
        self.waiting.insert(id, Waiting::Record { cell: cell.into(), path: path.into() });
    }

    fn keyspaces_of(&mut self, cell: &str, asks: &mut Asks) {
        for keyspace in self.keyspaces.clone() {
            let id = asks.release(What::TopoRange { cell: cell.into(), prefix: keyspace.directory() + "/" });
            self.waiting.insert(id, Waiting::Keyspace { cell: cell.into(), keyspace: keyspace.to_string() });
        }
    }

    fn keep(&mut self, cell: &str, records: Vec<Record>) {
        for record in records {
            // Locks are somebody's work under way, not the state of a cluster.
            if !record.path.contains("/locks/") {
                self.records.insert((cell.to_owned(), record.path.clone()), record);
            }
        }
    }

    fn fail(&mut self, keyspace: &str, shard: &str, tablet: &str, message: String) {
        self.failures.push(lost(keyspace, shard, tablet, message));
    }

    /// The vschemas of the keyspaces that are not taken themselves.
    fn vschemas(&mut self, answer: Answer, asks: &mut Asks) {
        let records = match answer {
            Answer::Range(records) => records,
            Answer::Failed { message, .. } => return self.fail("", "", "", format!("names of all keyspaces: {message}")),
            _ => Vec::new(),
        };
        let names = records.iter().filter_map(|record| record.path.strip_prefix("keyspaces/")?.split('/').next());
        for name in names.collect::<BTreeSet<_>>() {
            match KeyspaceName::of_request(name) {
                Ok(name) if self.keyspaces.contains(&name) => {}
                Ok(name) => self.get(GLOBAL, &name.vschema_path(), asks),
                Err(bad) => {
                    self.fail("", "", "", format!("the vschema of keyspace {:?} is left out: {}", cut(name), bad.message));
                }
            }
        }
    }

    fn cells(&mut self, answer: Answer, asks: &mut Asks) {
        let records = match answer {
            Answer::Range(records) => records,
            Answer::Failed { message, .. } => {
                self.fatal.insert(message);
                return;
            }
            _ => Vec::new(),
        };
        let mut cells = BTreeSet::new();
        for record in &records {
            let name = record.path.strip_prefix(CELLS_PREFIX).and_then(|rest| rest.strip_suffix("/CellInfo"));
            match name.map(CellName::parse) {
                Some(Ok(cell)) => drop(cells.insert(cell)),
                Some(Err(bad)) => {
                    self.fail("", "", "", format!("the cell of the record {:?} is left out: {bad}", cut(&record.path)));
                }
                None => {}
            }
        }
        self.keep(GLOBAL, records);
        let more = cells.len().saturating_sub(limits::CELLS);
        if more > 0 {
            let text = format!("{more} cells are left out: no more than {} are read", limits::CELLS);
            self.fail("", "", "", text);
        }
        for cell in cells.into_iter().take(limits::CELLS) {
            let name = cell.as_str().to_owned();
            let id = asks.release(What::TopoRange { cell: name.clone(), prefix: TABLETS_PREFIX.into() });
            self.waiting.insert(id, Waiting::Tablets { cell });
            self.keyspaces_of(&name, asks);
            self.get(&name, "SrvVSchema", asks);
        }
    }

    fn cell_tablets(&mut self, cell: &CellName, answer: Answer, asks: &mut Asks) {
        let records = match answer {
            Answer::Range(records) => records,
            Answer::Failed { message, .. } => return self.fail("", "", "", format!("tablets of cell {cell}: {message}")),
            _ => Vec::new(),
        };
        for record in records {
            if let Some(name) = TabletName::of_record(&record.path) {
                self.tablet(cell, name, record, asks);
            }
        }
    }

    fn tablet(&mut self, cell: &CellName, name: Result<TabletName, String>, record: Record, asks: &mut Asks) {
        let shown = name.as_ref().map_or_else(|_| String::new(), ToString::to_string);
        let Ok(tablet) = Tablet::decode(record.value.as_slice()) else {
            let place = if shown.is_empty() { format!(" {:?} of cell {cell}", cut(&record.path)) } else { String::new() };
            return self.fail("", "", &shown, format!("the tablet's record{place} cannot be read"));
        };
        if !self.keyspaces.contains(tablet.keyspace.as_str()) {
            if self.routing && name.is_ok() {
                self.keep(cell.as_str(), vec![record]);
            }
            return;
        }
        let its_own = name.and_then(|name| {
            if name.cell() == cell { Ok(name) } else { Err(format!("it is kept in cell {cell}, which is not the tablet's")) }
        });
        let name = match its_own {
            Ok(name) => name,
            Err(why) => {
                let message = format!("the record {:?} of cell {cell} is left out: {why}", cut(&record.path));
                return self.fail(&tablet.keyspace, &tablet.shard, &shown, message);
            }
        };
        self.keep(cell.as_str(), vec![record]);
        if self.tablets.len() >= limits::SNAPSHOT_TABLETS {
            let message = format!("there are more than {} tablets: name fewer keyspaces", limits::SNAPSHOT_TABLETS);
            self.fatal.insert(message);
            return;
        }
        match targets::grpc_address(&shown, &tablet) {
            Ok(address) => {
                let tables = TABLES.iter().map(|table| (*table, TableRead::new(table))).collect();
                let db_name = targets::db_name(&tablet);
                let found = Found { keyspace: tablet.keyspace, shard: tablet.shard, address, db_name, tables };
                self.tablets.insert(name.clone(), found);
                for table in TABLES {
                    self.read(&name, table, asks);
                }
            }
            Err(message) => self.fail(&tablet.keyspace, &tablet.shard, &shown, message),
        }
    }

    /// Asks for a table's next page.
    fn read(&mut self, name: &TabletName, table: &'static str, asks: &mut Asks) {
        let Some(tablet) = self.tablets.get(name) else { return };
        let Some(statement) = tablet.tables.get(table).map(|read| read.statement(&tablet.db_name)) else { return };
        let query = Query::dba(table, statement, "");
        let id = asks.release(query.call(&tablet.address, &tablet.keyspace, &tablet.shard, &tablet.db_name));
        self.waiting.insert(id, Waiting::Table { tablet: name.clone(), table });
    }

    fn all_failures(&self) -> Vec<Failure> {
        let of_tablets = self.tablets.iter().flat_map(|(name, tablet)| tablet.failures(name));
        let mut failures: Vec<Failure> = self.failures.iter().cloned().chain(of_tablets).collect();
        failures.sort();
        failures.dedup();
        failures
    }
}

impl Operation for Snapshot {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self.waiting.remove(&id) {
            Some(Waiting::Cells) => self.cells(answer, asks),
            Some(Waiting::Keyspaces) => self.vschemas(answer, asks),
            Some(Waiting::Aliases) => match answer {
                Answer::Range(records) => self.keep(GLOBAL, records),
                Answer::Failed { message, .. } => self.fail("", "", "", format!("aliases of cells: {message}")),
                _ => {}
            },
            Some(Waiting::Tablets { cell }) => self.cell_tablets(&cell, answer, asks),
            Some(Waiting::Table { tablet, table }) => {
                let read = self.tablets.get_mut(&tablet).and_then(|tablet| tablet.tables.get_mut(table));
                if read.is_some_and(|read| read.answered(answer) == Next::Again) {
                    self.read(&tablet, table, asks);
                }
            }
            Some(Waiting::Keyspace { cell, keyspace }) => match answer {
                Answer::Range(records) => self.keep(&cell, records),
                Answer::Missing { node } if cell == GLOBAL => drop(self.fatal.insert(format!("node doesn't exist: {node}"))),
                Answer::Failed { message, .. } => self.fail(&keyspace, "", "", message),
                _ => {}
            },
            Some(Waiting::Record { cell, path }) => match answer {
                Answer::Found { value, version } => self.keep(&cell, vec![Record { path, value, version }]),
                Answer::Failed { message, .. } => self.fail("", "", "", format!("{path} of {cell}: {message}")),
                _ => {}
            },
            None => {}
        }
    }

    fn failures(&self) -> Vec<Failure> {
        self.all_failures()
    }

    fn finish(&mut self) -> Reply {
        if !self.fatal.is_empty() {
            let reasons: Vec<String> = std::mem::take(&mut self.fatal).into_iter().collect();
            return Reply::new(Err(Status::unknown(reasons.join("\n"))), Vec::new());
        }
        let failures = self.all_failures();
        let topo = std::mem::take(&mut self.records).into_iter().map(|((cell, path), record)| saved::Record {
            cell,
            path,
            version: record.version,
            value: record.value,
        });
        let tablets = std::mem::take(&mut self.tablets).into_iter().map(|(name, tablet)| {
            // In the order of TABLES, whatever order the answers came in.
            let mut tables = tablet.tables;
            let kept = TABLES.iter().filter_map(|table| tables.remove(table)?.into_table());
            saved::Tablet { alias: name.to_string(), tables: kept.collect() }
        });
        // Of a tablet without any nothing is known that a snapshot is for.
        let has_sidecar = |tablet: &saved::Tablet| tablet.tables.iter().any(|table| table.name != DESCRIPTION);
        let reply = SnapshotResponse { topo: topo.collect(), tablets: tablets.filter(has_sidecar).collect() };
        Reply::new(Ok(reply.encode_to_vec()), failures)
    }
}

fn lost(keyspace: &str, shard: &str, tablet: &str, message: String) -> Failure {
    let (keyspace, shard, tablet) = (keyspace.into(), shard.into(), tablet.into());
    Failure { keyspace, shard, tablet, workflow: String::new(), lost: Lost::Shard, message }
}

/// The front of a key, for a text.
fn cut(path: &str) -> String {
    path.chars().take(limits::EXCERPT_BYTES).collect()
}
