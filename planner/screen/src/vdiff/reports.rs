//! What `vtctldclient VDiff show --format json` prints besides the summary where rows differ: each shard's part, each table's, and the
//! tablets' reports with samples of the rows.
//!
//! Facts: `go/vt/vtctl/workflow/vdiff.go:BuildSummary`, `go/vt/vttablet/tabletmanager/vdiff/report.go:DiffReport`, v24.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vtflow_planner::sidecar::Row;

/// What there is to print where rows differ; without anything where none do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VDiffReports {
    /// Each shard's part, by shard.
    #[serde(rename = "ShardSummaries", skip_serializing_if = "BTreeMap::is_empty")]
    shards: BTreeMap<String, ShardReport>,
    /// Each table's part on all shards, by table.
    #[serde(rename = "TableSummary", skip_serializing_if = "BTreeMap::is_empty")]
    tables: BTreeMap<String, TableReport>,
    /// What a tablet reports of a table, by table, then by shard.
    #[serde(rename = "Reports", skip_serializing_if = "BTreeMap::is_empty")]
    reports: BTreeMap<String, BTreeMap<String, DiffReport>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShardReport {
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    started_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    completed_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    table_states: BTreeMap<String, ShardTable>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShardTable {
    #[serde(flatten)]
    table: TableReport,
    has_mismatch: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TableReport {
    table_name: String,
    state: String,
    rows_compared: i64,
    matching_rows: i64,
    mismatched_rows: i64,
    extra_rows_source: i64,
    extra_rows_target: i64,
}

/// One tablet's report of one table: counts, and a few rows of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct DiffReport {
    table_name: String,
    processed_rows: i64,
    matching_rows: i64,
    mismatched_rows: i64,
    extra_rows_source: i64,
    extra_rows_target: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_rows_source_sample: Vec<RowSample>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_rows_target_sample: Vec<RowSample>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mismatched_rows_sample: Vec<MismatchSample>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct MismatchSample {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<RowSample>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<RowSample>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct RowSample {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    row: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    query: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lossless_values: bool,
}

impl VDiffReports {
    /// Takes one shard's row of one table. A report that cannot be read counts as none: that it cannot is said elsewhere.
    pub(super) fn add(&mut self, shard: &str, row: &Row<'_>) {
        let its = self.shards.entry(shard.to_owned()).or_insert_with(|| ShardReport {
            state: row.text("vdiff_state").to_lowercase(),
            started_at: row.text("started_at"),
            completed_at: row.text("completed_at"),
            last_error: row.text("last_error"),
            table_states: BTreeMap::new(),
        });
        let (table, state) = (row.text("table_name"), row.text("table_state").to_lowercase());
        if table.is_empty() {
            return;
        }
        let report: DiffReport = serde_json::from_str(&row.text("report")).unwrap_or_default();
        let of_shard = TableReport {
            table_name: table.clone(),
            state: state.clone(),
            rows_compared: report.processed_rows,
            matching_rows: report.matching_rows,
            mismatched_rows: report.mismatched_rows,
            extra_rows_source: report.extra_rows_source,
            extra_rows_target: report.extra_rows_target,
        };
        let sum = self.tables.entry(table.clone()).or_insert_with(|| TableReport {
            table_name: table.clone(),
            state: "unknown".into(),
            ..TableReport::default()
        });
        sum.take(&of_shard);
        its.table_states.insert(table.clone(), ShardTable { table: of_shard, has_mismatch: row.text("has_mismatch") == "1" });
        self.reports.entry(table).or_default().insert(shard.to_owned(), report);
    }
}

impl TableReport {
    /// An error stays, and nothing but "unknown" becomes "completed".
    fn take(&mut self, of_shard: &Self) {
        match of_shard.state.as_str() {
            "error" => self.state.clone_from(&of_shard.state),
            "completed" if self.state != "unknown" => {}
            _ if self.state == "error" => {}
            _ => self.state.clone_from(&of_shard.state),
        }
        for (sum, more) in [
            (&mut self.rows_compared, of_shard.rows_compared),
            (&mut self.matching_rows, of_shard.matching_rows),
            (&mut self.mismatched_rows, of_shard.mismatched_rows),
            (&mut self.extra_rows_source, of_shard.extra_rows_source),
            (&mut self.extra_rows_target, of_shard.extra_rows_target),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
