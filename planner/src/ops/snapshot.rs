//! `Snapshot`: the topology of some keyspaces and the sidecar rows of all their tablets, to be looked at elsewhere.
//!
//! Three rounds: what the global topology says; what each cell says; the sidecar tables of every tablet, replicas too, read as
//! the DBA user because replicas answer nobody else. A table that a release does not have is left out; a tablet that does not
//! answer has no rows, which in a snapshot means just that.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::Operation;
use crate::{
    error::{Failure, Lost, Status},
    flow::{About, Answer, AskId, Asks, Call, Effect, FailureKind, Record, Reply, What},
    limits,
    proto::{
        query::{Field, Row},
        tabletmanagerdata::ExecuteFetchAsDbaRequest,
        topodata::Tablet,
        vtflow::{SnapshotRequest, SnapshotResponse, snapshot_response as saved},
    },
    rows::{declared, result::RowSet},
    rpc,
    topo::{
        names::{self, GLOBAL},
        targets,
    },
};

/// The sidecar tables of a snapshot. Source: `go/vt/sidecardb/schema`, those that workflows and schema migrations live in.
const TABLES: [&str; 9] = [
    "vreplication",
    "copy_state",
    "vreplication_log",
    "post_copy_action",
    "resharding_journal",
    "schema_migrations",
    "vdiff",
    "vdiff_table",
    "vdiff_log",
];

/// Global records that belong to no keyspace but decide where its traffic goes.
const RULES: [&str; 4] = ["RoutingRules", "ShardRoutingRules", "routing_rules/keyspace/Rules", "MirrorRules"];

pub(crate) struct Snapshot {
    keyspaces: BTreeSet<String>,
    waiting: BTreeMap<AskId, Waiting>,
    /// By cell and path.
    records: BTreeMap<(String, String), Record>,
    /// By alias.
    tablets: BTreeMap<String, Found>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
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
    Tablets {
        cell: String,
    },
    Table {
        alias: String,
        table: &'static str,
    },
}

/// A tablet of one of the keyspaces.
struct Found {
    keyspace: String,
    shard: String,
    call: (crate::flow::TabletAddress, String),
    tables: BTreeMap<&'static str, saved::Table>,
    /// Rows of a statement: fewer once an answer was too large.
    page_rows: usize,
    has_failed: bool,
}

impl Snapshot {
    pub(crate) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: SnapshotRequest = super::decode(call)?;
        if request.keyspaces.is_empty() {
            return Err(Status::unknown("a snapshot is of keyspaces: name at least one"));
        }
        for keyspace in &request.keyspaces {
            names::check_object(keyspace).map_err(|bad| Status::unknown(format!("keyspace {keyspace:?} cannot exist: {bad}")))?;
        }
        let mut snapshot = Self {
            keyspaces: request.keyspaces.into_iter().collect(),
            waiting: BTreeMap::new(),
            records: BTreeMap::new(),
            tablets: BTreeMap::new(),
            failures: Vec::new(),
            fatal: None,
        };
        let cells = asks.release(What::TopoRange { cell: GLOBAL.into(), prefix: "cells/".into() });
        snapshot.waiting.insert(cells, Waiting::Cells);
        snapshot.keyspaces_of(GLOBAL, asks);
        for path in RULES {
            snapshot.get(GLOBAL, path, asks);
        }
        Ok(snapshot)
    }

    fn get(&mut self, cell: &str, path: &str, asks: &mut Asks) {
        let id = asks.release(What::TopoGet { cell: cell.into(), path: path.into() });
        self.waiting.insert(id, Waiting::Record { cell: cell.into(), path: path.into() });
    }

    fn keyspaces_of(&mut self, cell: &str, asks: &mut Asks) {
        for keyspace in self.keyspaces.clone() {
            let id = asks.release(What::TopoRange { cell: cell.into(), prefix: format!("keyspaces/{keyspace}/") });
            self.waiting.insert(id, Waiting::Keyspace { cell: cell.into(), keyspace });
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
        self.failures.push(Failure {
            keyspace: keyspace.into(),
            shard: shard.into(),
            tablet: tablet.into(),
            workflow: String::new(),
            lost: Lost::Shard,
            message,
        });
    }

    fn cells(&mut self, answer: Answer, asks: &mut Asks) {
        let records = match answer {
            Answer::Range(records) => records,
            Answer::Failed { message, .. } => {
                self.fatal = Some(Status::unknown(message));
                return;
            }
            _ => Vec::new(),
        };
        let cells: Vec<String> = records
            .iter()
            .filter_map(|record| record.path.strip_prefix("cells/")?.strip_suffix("/CellInfo"))
            .filter(|cell| names::check_cell(cell).is_ok())
            .map(str::to_owned)
            .collect();
        self.keep(GLOBAL, records);
        for cell in cells {
            let id = asks.release(What::TopoRange { cell: cell.clone(), prefix: "tablets/".into() });
            self.waiting.insert(id, Waiting::Tablets { cell: cell.clone() });
            self.keyspaces_of(&cell, asks);
            self.get(&cell, "SrvVSchema", asks);
        }
    }

    fn cell_tablets(&mut self, cell: &str, answer: Answer, asks: &mut Asks) {
        let records = match answer {
            Answer::Range(records) => records,
            Answer::Failed { message, .. } => return self.fail("", "", "", format!("tablets of cell {cell}: {message}")),
            _ => Vec::new(),
        };
        for record in records {
            let Some(alias) = record.path.strip_prefix("tablets/").and_then(|rest| rest.strip_suffix("/Tablet")) else {
                continue;
            };
            let alias = alias.to_owned();
            let Ok(tablet) = Tablet::decode(record.value.as_slice()) else {
                self.fail("", "", &alias, "the tablet's record cannot be read".into());
                continue;
            };
            if !self.keyspaces.contains(&tablet.keyspace) {
                continue;
            }
            self.keep(cell, vec![record]);
            match targets::dial(&alias, &tablet) {
                Ok(address) => {
                    let call = (address, targets::db_name(&tablet));
                    let found = Found {
                        keyspace: tablet.keyspace,
                        shard: tablet.shard,
                        call,
                        tables: BTreeMap::new(),
                        page_rows: limits::SNAPSHOT_PAGE_ROWS,
                        has_failed: false,
                    };
                    self.tablets.insert(alias.clone(), found);
                    for table in TABLES {
                        self.read(&alias, table, asks);
                    }
                }
                Err(message) => self.fail(&tablet.keyspace, &tablet.shard, &alias, message),
            }
        }
    }

    /// Asks for a table's next page.
    fn read(&mut self, alias: &str, table: &'static str, asks: &mut Asks) {
        let Some(tablet) = self.tablets.get(alias) else { return };
        let (offset, limit) = (tablet.tables.get(table).map_or(0, |table| table.rows.len()), tablet.page_rows);
        let (address, db_name) = tablet.call.clone();
        let statement = format!("select * from _vt.{table} order by 1, 2 limit {offset}, {limit}");
        let request = ExecuteFetchAsDbaRequest {
            query: statement.clone().into_bytes(),
            max_rows: limits::TABLET_ROWS as u64,
            ..ExecuteFetchAsDbaRequest::default()
        };
        let id = asks.release(What::TabletCall {
            tablet: address,
            path: rpc::EXECUTE_FETCH_AS_DBA.into(),
            request: request.encode_to_vec(),
            effect: Effect::Read,
            about: About {
                keyspace: tablet.keyspace.clone(),
                shard: tablet.shard.clone(),
                db_name,
                subject: table.into(),
                statement,
            },
        });
        self.waiting.insert(id, Waiting::Table { alias: alias.into(), table });
    }

    fn rows(&mut self, alias: &str, table: &'static str, answer: Answer, asks: &mut Asks) {
        if let Answer::Failed { kind: FailureKind::TooLarge, .. } = &answer
            && let Some(tablet) = self.tablets.get_mut(alias).filter(|tablet| tablet.page_rows > 1)
        {
            tablet.page_rows = (tablet.page_rows / 8).max(1);
            return self.read(alias, table, asks);
        }
        let page = match answer {
            Answer::Called(response) => RowSet::from_execute_fetch(&response).map_err(|error| error.to_string()),
            // Not on this release (1146), or no sidecar database at all (1049).
            Answer::Failed { message, .. } if message.contains("(errno 1146)") || message.contains("(errno 1049)") => return,
            Answer::Failed { message, .. } => Err(message),
            _ => Err("the tablet call was answered with a topology record".into()),
        };
        let Some(tablet) = self.tablets.get_mut(alias) else { return };
        match page {
            Ok(page) => {
                // Smaller pages may be under way for this tablet; a page that is not empty may then be followed by more.
                let is_full = page.len() >= tablet.page_rows;
                let kept = tablet.tables.entry(table).or_insert_with(|| empty(table, &page));
                kept.rows.extend(page.rows().map(|row| raw(&row, &kept.columns)));
                let total = kept.rows.len();
                if is_full && total < limits::SNAPSHOT_TABLE_ROWS {
                    self.read(alias, table, asks);
                } else if is_full {
                    let (keyspace, shard) = (tablet.keyspace.clone(), tablet.shard.clone());
                    self.fail(&keyspace, &shard, alias, format!("_vt.{table}: only the first {total} rows are kept"));
                }
            }
            Err(message) => {
                let first = !std::mem::replace(&mut tablet.has_failed, true);
                let (keyspace, shard) = (tablet.keyspace.clone(), tablet.shard.clone());
                if first {
                    self.fail(&keyspace, &shard, alias, message);
                }
            }
        }
    }
}

impl Operation for Snapshot {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self.waiting.remove(&id) {
            Some(Waiting::Cells) => self.cells(answer, asks),
            Some(Waiting::Tablets { cell }) => self.cell_tablets(&cell, answer, asks),
            Some(Waiting::Table { alias, table }) => self.rows(&alias, table, answer, asks),
            Some(Waiting::Keyspace { cell, keyspace }) => match answer {
                Answer::Range(records) => self.keep(&cell, records),
                Answer::Missing { node } if cell == GLOBAL => {
                    self.fatal = Some(Status::unknown(format!("node doesn't exist: {node}")));
                }
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
        self.failures.clone()
    }

    fn finish(&mut self) -> Reply {
        if let Some(status) = self.fatal.take() {
            return Reply::new(Err(status), Vec::new());
        }
        let mut failures = std::mem::take(&mut self.failures);
        failures.sort();
        failures.dedup();
        let topo = std::mem::take(&mut self.records).into_iter().map(|((cell, path), record)| saved::Record {
            cell,
            path,
            version: record.version,
            value: record.value,
        });
        let tablets = std::mem::take(&mut self.tablets).into_iter().filter(|(_, tablet)| !tablet.tables.is_empty());
        let tablets = tablets.map(|(alias, tablet)| {
            // In the order of TABLES, whatever order the answers came in.
            let mut tables = tablet.tables;
            saved::Tablet { alias, tables: TABLES.iter().filter_map(|table| tables.remove(table)).collect() }
        });
        let reply = SnapshotResponse { topo: topo.collect(), tablets: tablets.collect() };
        Reply::new(Ok(reply.encode_to_vec()), failures)
    }
}

fn empty(table: &str, page: &RowSet) -> saved::Table {
    let column = |field: &Field| saved::Column {
        name: String::from_utf8_lossy(&field.name).into_owned(),
        r#type: declared::declared_type(field),
        nullable: declared::is_nullable(field),
        integral: declared::is_integral(field),
    };
    saved::Table { name: table.into(), columns: page.fields().iter().map(column).collect(), rows: Vec::new() }
}

fn raw(row: &crate::rows::result::Row<'_>, columns: &[saved::Column]) -> Row {
    let mut raw = Row::default();
    for column in columns {
        let value = row.value(&column.name).flatten();
        raw.lengths.push(value.map_or(-1, |value| i64::try_from(value.len()).unwrap_or(i64::MAX)));
        raw.values.extend_from_slice(value.unwrap_or_default());
    }
    raw
}
