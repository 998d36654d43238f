//! What the topology and the tablets held when a recorded client asked: `tests/recordings/states.json`, laid over a snapshot.
//! Which state belongs to which call is in `tests/recordings/replay.jsonl`.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use vtflow_embedded::{Cell, ColumnDecl, Snapshot, TableRows, TabletRows};
use vtflow_planner::{Timestamp, topo::record::CellRecord};

/// The snapshots that states are changes to.
const BASES: &[&str] = &["odd-rows", "mixed-releases"];
/// A tablet of the newest release, all tables of which are there.
const NEWEST: &str = "zone1-0000000200";

/// All recorded states, by the calls that were made in them.
#[derive(Debug)]
pub struct States {
    value: Value,
    calls: BTreeMap<String, Vec<Value>>,
    bases: BTreeMap<String, Snapshot>,
}

impl States {
    /// Reads them from the folder `tests`.
    ///
    /// # Errors
    ///
    /// A file is missing or damaged.
    pub fn load(tests: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let file = tests.join("recordings").join(name);
            std::fs::read_to_string(&file).with_context(|| file.display().to_string())
        };
        let mut calls: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in read("replay.jsonl")?.lines() {
            let mut call: Value = serde_json::from_str(line).context("replay.jsonl")?;
            let from = call["from"].take();
            for from in from.as_array().into_iter().flatten().filter_map(Value::as_str) {
                calls.entry(from.to_owned()).or_default().push(call.clone());
            }
        }
        let base = |name: &&str| Ok(((*name).to_owned(), Snapshot::load(&tests.join("snapshots").join(name))?));
        let bases = BASES.iter().map(base).collect::<anyhow::Result<_>>()?;
        Ok(Self { value: serde_json::from_str(&read("states.json")?).context("states.json")?, calls, bases })
    }

    /// The state in which a client's command was answered; `None` when none is recorded.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn of(&self, from: &str) -> anyhow::Result<Option<Snapshot>> {
        let calls = self.calls.get(from).map(Vec::as_slice).unwrap_or_default();
        let Some(call) = calls.iter().find(|call| call["tablets"].is_object()).or(calls.first()) else { return Ok(None) };
        let mut call = call.clone();
        // A command that asks several times has asked other tablets each time.
        for (alias, tables) in calls.iter().filter_map(|call| call["tablets"].as_object()).flatten() {
            if call["tablets"][alias].is_null() {
                call["tablets"][alias] = tables.clone();
            }
        }
        self.state(&call).map(Some).with_context(|| format!("the state of {from}"))
    }

    /// The state of a call as it is in `replay.jsonl`.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn state(&self, call: &Value) -> anyhow::Result<Snapshot> {
        let topo = &self.value["topo"][text(&call["topo"])?];
        let base = self.bases.get(text(&topo[0])?);
        let mut snapshot = base.context("of a snapshot that is not a base")?.clone();
        for change in topo[1].as_array().context("changes")? {
            let (cell, path) = (text(&change[0])?, text(&change[1])?);
            let old = snapshot.topo.iter().find(|record| record.cell == cell && record.path == path);
            let version = old.map_or(1, |record| record.version);
            snapshot.topo.retain(|record| record.cell != cell || record.path != path);
            if !change[2].is_null() {
                let value = BASE64_STANDARD.decode(text(&change[2])?)?;
                snapshot.topo.push(CellRecord { cell: cell.into(), path: path.into(), version, value });
            }
        }
        if let Some(now) = call["now"].as_i64() {
            snapshot.taken_at = Timestamp { seconds: now, nanos: 0 };
        }
        if let Some(tablets) = call["tablets"].as_object() {
            let recorded = &self.bases[BASES[0]].tablets;
            let newest = emptied(&recorded[NEWEST]);
            snapshot.tablets = recorded.keys().map(|alias| (alias.clone(), newest.clone())).collect();
            for (alias, tables) in tablets {
                let rows = snapshot.tablets.entry(alias.clone()).or_insert_with(|| newest.clone());
                for (name, index) in tables.as_object().context("tables")? {
                    let table = rows.sidecar.get_mut(name).with_context(|| format!("v24 has no table {name}"))?;
                    self.fill(table, name, index)?;
                }
            }
        }
        Ok(snapshot)
    }

    fn fill(&self, table: &mut TableRows, name: &str, index: &Value) -> anyhow::Result<()> {
        let columns = self.value["columns"][name].as_array().context("columns")?;
        let rows = &self.value["tables"][number(index)?];
        if rows[0] != name {
            bail!("rows of {}, for {name}", rows[0]);
        }
        for id in rows[1].as_array().context("rows")? {
            let row = &self.value["rows"][name][number(id)?];
            let cell = |declared: &ColumnDecl| {
                let given = columns.iter().position(|column| column == &Value::from(declared.name.as_str()));
                match given.map(|at| &row[at]) {
                    Some(Value::Number(number)) => Cell::Int(number.as_i64().unwrap_or(0)),
                    Some(Value::String(text)) => Cell::Text(text.clone()),
                    Some(Value::Null) | None if declared.nullable => Cell::Null,
                    _ if declared.mysql_type.contains("int") => Cell::Int(0),
                    _ => Cell::Text(String::new()),
                }
            };
            let row = table.columns.iter().map(cell).collect();
            table.rows.push(row);
        }
        Ok(())
    }
}

fn emptied(rows: &TabletRows) -> TabletRows {
    let mut rows = rows.clone();
    rows.sidecar.values_mut().for_each(|table| table.rows.clear());
    rows
}

fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

fn number(value: &Value) -> anyhow::Result<usize> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.with_context(|| format!("no number: {value}"))
}
