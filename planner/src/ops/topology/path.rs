//! `GetTopologyPath`: one place of the topology, a record with its contents or a directory with its children.
//!
//! A cell's root is never read as a whole: another cell's root may lie within it. Of a root those children are found that Vitess
//! has there. Facts: `go/vt/vtctl/grpcvtctldserver/topo.go:getTopologyCell`, `go/vt/topo/decode.go`.

use std::collections::{BTreeMap, BTreeSet};

use super::records::{NoRecords, Read, check_cell, children, no_node, records};
use crate::{
    contract::{Answer, AskId, Call, Reply, Status, What},
    operation::{Asks, Operation, decode},
    ops::topology::contents::{self, Form},
    proto::vtctldata::{GetTopologyPathRequest, GetTopologyPathResponse, TopologyCell},
    topo::names::{self, GLOBAL},
};

/// A place on its way into a reply.
pub(super) struct Place {
    request: GetTopologyPathRequest,
    cell: String,
    /// Relative to the cell's root; empty: the root.
    path: String,
    waiting: BTreeMap<AskId, Waiting>,
    /// The record, if there is one, with its version.
    record: Option<(Vec<u8>, i64)>,
    children: BTreeSet<String>,
    /// The directory that is not there.
    missing: Option<String>,
    /// Why it cannot be known. Of several the first in order counts.
    failed: BTreeSet<String>,
}

enum Waiting {
    Record,
    Directory,
    /// Of a root: is this file, or anything in this directory, there?
    Child(&'static str),
    Cells,
}

impl Place {
    pub(super) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: GetTopologyPathRequest = decode(call)?;
        let invalid = || Status::unknown(format!("invalid path: {}", request.path));
        let rest = request.path.strip_prefix('/').ok_or_else(invalid)?;
        let (cell, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (cell, path) = (cell.to_owned(), path.trim_end_matches('/').to_owned());
        let mut this = Self {
            cell,
            path,
            waiting: BTreeMap::new(),
            record: None,
            children: BTreeSet::new(),
            missing: None,
            failed: BTreeSet::new(),
            request,
        };
        if this.request.path == "/" {
            this.ask(What::TopoRange { cell: GLOBAL.into(), prefix: names::CELLS_PREFIX.into() }, Waiting::Cells, asks);
            return Ok(this);
        }
        check_cell(&this.cell)?;
        let of = || this.cell.clone();
        if this.path.is_empty() {
            let (files, directories) = if this.cell == GLOBAL { (GLOBAL_FILES, GLOBAL_DIRECTORIES) } else { CELL };
            let gets = files.iter().map(|&file| (What::TopoGet { cell: of(), path: file.into() }, file));
            let ranges = directories.iter().map(|&name| (What::TopoList { cell: of(), prefix: format!("{name}/") }, name));
            for (what, child) in gets.chain(ranges).collect::<Vec<_>>() {
                this.ask(what, Waiting::Child(child), asks);
            }
            return Ok(this);
        }
        if this.path.split('/').any(|element| matches!(element, "" | "." | "..")) {
            return Err(Status::unknown(format!("invalid path: {}", this.request.path)));
        }
        let (record, directory) = (of(), of());
        let path = this.path.clone();
        this.ask(What::TopoList { cell: directory, prefix: format!("{path}/") }, Waiting::Directory, asks);
        this.ask(What::TopoGet { cell: record, path }, Waiting::Record, asks);
        Ok(this)
    }

    fn ask(&mut self, what: What, waiting: Waiting, asks: &mut Asks) {
        self.waiting.insert(asks.release(what), waiting);
    }

    fn no_connection(&self, text: &str) -> String {
        format!("error fetching connection to cell {}: {text}", self.cell)
    }

    /// What stands in a directory, files too.
    fn list(&mut self, answer: Answer) {
        match records(answer) {
            Ok(records) => {
                let prefix = format!("{}/", self.path);
                let names = records.iter().filter_map(|record| record.path.strip_prefix(&prefix)?.split('/').next());
                self.children.extend(names.map(str::to_owned));
            }
            Err(NoRecords::Directory(text)) => self.missing = Some(text),
            Err(NoRecords::Cell(text)) => drop(self.failed.insert(self.no_connection(&text))),
            Err(NoRecords::Failed(text)) => drop(self.failed.insert(text)),
        }
    }

    fn child(&mut self, name: &str, answer: Answer) {
        match answer {
            Answer::Found { .. } => drop(self.children.insert(name.into())),
            Answer::Range(records) if !records.is_empty() => drop(self.children.insert(name.into())),
            answer @ Answer::Failed { .. } => match records(answer) {
                Err(NoRecords::Cell(text)) => drop(self.failed.insert(self.no_connection(&text))),
                Err(NoRecords::Directory(text) | NoRecords::Failed(text)) => drop(self.failed.insert(text)),
                Ok(_) => {}
            },
            _ => {}
        }
    }

    fn shown(&mut self) -> Result<TopologyCell, String> {
        let name = self.request.path.rsplit('/').next().unwrap_or_default().to_owned();
        let cell = TopologyCell { name, path: self.request.path.clone(), ..TopologyCell::default() };
        if let Some((value, version)) = self.record.take() {
            let wanted = self.request.version;
            if wanted != 0 && wanted != version {
                return Err(format!("version {wanted} of {} cannot be read, only the current one, {version}", cell.path));
            }
            let form = if self.request.as_json { Form::Json } else { Form::Text };
            let data = contents::show(&self.path, &value, form)
                .map_err(|error| format!("error decoding file content for cell {}: {error}", cell.path))?;
            return Ok(TopologyCell { data, version, ..cell });
        }
        if let Some(text) = self.failed.pop_first() {
            return Err(text);
        }
        if self.children.is_empty() {
            let text = self.missing.take().unwrap_or_else(|| no_node(&cell.path));
            let place = format!("cell {} with path {}", self.cell, cell.path);
            return Err(format!("{place} has no file contents and no children: {text}"));
        }
        Ok(TopologyCell { children: std::mem::take(&mut self.children).into_iter().collect(), ..cell })
    }
}

impl Operation for Place {
    fn answered(&mut self, id: AskId, answer: Answer, _asks: &mut Asks) {
        match self.waiting.remove(&id) {
            Some(Waiting::Record) => match answer {
                Answer::Found { value, version } => self.record = Some((value, version)),
                answer => {
                    if let Read::Failed(text) = Read::from(answer) {
                        self.failed.insert(text);
                    }
                }
            },
            Some(Waiting::Directory) => self.list(answer),
            Some(Waiting::Child(name)) => self.child(name, answer),
            Some(Waiting::Cells) => match records(answer) {
                Ok(records) => {
                    let cells = children(names::CELLS_PREFIX, "CellInfo", records);
                    self.children.extend(cells.into_iter().map(|(cell, _)| cell));
                }
                Err(NoRecords::Directory(text) | NoRecords::Cell(text) | NoRecords::Failed(text)) => {
                    self.failed.insert(text);
                }
            },
            None => {}
        }
    }

    fn finish(&mut self) -> Reply {
        use prost::Message as _;
        let result = if self.request.path == "/" && self.failed.is_empty() {
            // The global topology first, then the cells.
            let cells = std::mem::take(&mut self.children).into_iter();
            let children = std::iter::once(GLOBAL.to_owned()).chain(cells).collect();
            Ok(TopologyCell { path: "/".into(), children, ..TopologyCell::default() })
        } else {
            self.shown()
        };
        let result = result.map(|cell| GetTopologyPathResponse { cell: Some(cell) }.encode_to_vec());
        Reply::new(result.map_err(Status::unknown), Vec::new())
    }
}

/// What Vitess has in the root of the global topology. Source: `go/vt/topo/server.go`, the constants of paths and files.
const GLOBAL_FILES: &[&str] = &["MirrorRules", "RoutingRules", "ShardRoutingRules"];
const GLOBAL_DIRECTORIES: &[&str] = &[
    "ExternalClusters",
    "cells",
    "cells_aliases",
    "elections",
    "internal",
    "keyspaces",
    "metadata",
    "routing_rules",
    "workflows",
];

/// What it has in a cell's root: files, directories.
const CELL: (&[&str], &[&str]) = (&["SrvVSchema"], &["keyspaces", "tablets"]);
