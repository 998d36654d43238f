//! What the shards' rows say of each table, summed up.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::words::count;
use vtflow_planner::{formats::quote::excerpt, sidecar::Row};

/// One table on all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VDiffTable {
    /// Its name.
    pub table: String,
    /// The states that its shards are in, with commas between.
    pub state: String,
    /// Rows compared so far.
    pub rows_compared: i64,
    /// Whether rows differ.
    pub has_mismatch: bool,
    /// How many differ, and how, where its shards' reports say so.
    pub note: String,
    /// Whether it failed, or rows differ.
    pub has_trouble: bool,
}

/// The parts of each table, summed up over shards.
#[derive(Default)]
pub(super) struct Tables {
    by_name: BTreeMap<String, VDiffTable>,
    pub(super) states: BTreeMap<String, BTreeSet<String>>,
    reports: BTreeMap<String, Report>,
    /// Those of which a report cannot be read.
    pub(super) unread: BTreeSet<String>,
}

/// What a table's report counts. Source: `go/vt/vttablet/tabletmanager/vdiff/report.go:DiffReport`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Report {
    mismatched_rows: i64,
    extra_rows_source: i64,
    extra_rows_target: i64,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.mismatched_rows = self.mismatched_rows.saturating_add(other.mismatched_rows);
        self.extra_rows_source = self.extra_rows_source.saturating_add(other.extra_rows_source);
        self.extra_rows_target = self.extra_rows_target.saturating_add(other.extra_rows_target);
    }

    fn differs(self) -> bool {
        self.mismatched_rows > 0 || self.extra_rows_source > 0 || self.extra_rows_target > 0
    }

    fn text(self) -> String {
        let parts = [
            (self.mismatched_rows, "not alike"),
            (self.extra_rows_source, "only in the source"),
            (self.extra_rows_target, "only in the target"),
        ];
        let said: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
        if said.is_empty() { "rows differ".into() } else { format!("rows differ: {}", said.join(", ")) }
    }
}

impl Tables {
    /// Takes one shard's row of a table; whether rows differ, and what cannot be read of it.
    pub(super) fn add(&mut self, row: &Row<'_>, compared: i64) -> (bool, Option<String>) {
        let (name, text) = (row.text("table_name"), row.text("report"));
        let read = match text.trim_start().as_bytes().first() {
            None => Ok(None),
            Some(b'{' | b'n') => serde_json::from_str::<Option<Report>>(&text).map_err(|error| error.to_string()),
            Some(_) => Err("it is no JSON object".to_owned()),
        };
        let said = row.text("has_mismatch");
        let unread = match (&read, said.as_str()) {
            (Err(error), _) => Some(format!("the report of {name} cannot be read: {error}")),
            (_, "0" | "1") => None,
            // Of no table at all, or of one that has not begun.
            (_, "") if name.is_empty() || row.value("has_mismatch").is_some() && row.text("table_state") != "completed" => None,
            (_, said) => Some(format!("has_mismatch of {name} cannot be read: {}", excerpt(said.as_bytes()))),
        };
        let report = read.ok().flatten().unwrap_or_default();
        let differs = said == "1" || report.differs();
        if name.is_empty() {
            return (differs, unread);
        }
        if unread.is_some() {
            self.unread.insert(name.clone());
        }
        self.states.entry(name.clone()).or_default().insert(row.text("table_state"));
        self.reports.entry(name.clone()).or_default().add(report);
        let table = self.by_name.entry(name).or_default();
        table.rows_compared = table.rows_compared.saturating_add(compared);
        table.has_mismatch |= differs;
        (differs, unread)
    }

    pub(super) fn lines(self) -> Vec<VDiffTable> {
        let Self { by_name, states, reports, unread } = self;
        let line = |(name, table): (String, VDiffTable)| {
            let its: Vec<&str> = states.get(&name).into_iter().flatten().map(String::as_str).collect();
            let report = reports.get(&name).copied().unwrap_or_default();
            VDiffTable {
                state: its.join(", "),
                note: match (table.has_mismatch, unread.contains(&name)) {
                    (true, _) => report.text(),
                    (false, true) => "whether rows differ is not known".into(),
                    (false, false) => String::new(),
                },
                has_trouble: table.has_mismatch || its.contains(&"error") || unread.contains(&name),
                table: name,
                ..table
            }
        };
        by_name.into_iter().map(line).collect()
    }
}
