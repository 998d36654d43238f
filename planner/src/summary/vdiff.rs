//! A `VDiffShow` reply as people read it: what each shard's rows say, summed up as `vtctldclient` sums them up.
//!
//! The names of the serialized fields are the client's, so that the JSON is what it prints.
//! Facts: `go/cmd/vtctldclient/command/vreplication/vdiff/vdiff.go`, v18 to v24, without `--verbose`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    proto::{tabletmanagerdata::VDiffResponse, vtctldata::VDiffShowResponse},
    rows::{Row, RowError, RowSet},
};

/// One `VDiff` on one shard, as in the list of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct VDiffLine {
    /// Its UUID.
    #[serde(rename = "UUID")]
    pub uuid: String,
    /// The workflow compared.
    #[serde(rename = "Workflow")]
    pub workflow: String,
    /// Its target keyspace.
    #[serde(rename = "Keyspace")]
    pub keyspace: String,
    /// The target shard.
    #[serde(rename = "Shard")]
    pub shard: String,
    /// `pending`, `started`, `stopped`, `completed`, `error`.
    #[serde(rename = "State")]
    pub state: String,
}

/// One `VDiff` on all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VDiffSummary {
    /// The workflow compared.
    #[serde(rename = "Workflow")]
    pub workflow: String,
    /// Its target keyspace.
    #[serde(rename = "Keyspace")]
    pub keyspace: String,
    /// The state of the whole.
    #[serde(rename = "State")]
    pub state: String,
    /// Its UUID.
    #[serde(rename = "UUID")]
    pub uuid: String,
    /// Rows compared on all shards.
    #[serde(rename = "RowsCompared")]
    pub rows_compared: i64,
    /// Whether any shard found rows that differ.
    #[serde(rename = "HasMismatch")]
    pub has_mismatch: bool,
    /// The target shards, ascending, with commas between.
    #[serde(rename = "Shards")]
    pub shards: String,
    /// When the first shard began, UTC; empty when none has.
    #[serde(rename = "StartedAt", skip_serializing_if = "String::is_empty")]
    pub started_at: String,
    /// When the last shard ended, UTC; empty until then.
    #[serde(rename = "CompletedAt", skip_serializing_if = "String::is_empty")]
    pub completed_at: String,
    /// Each shard's part, ascending.
    #[serde(skip)]
    pub by_shard: Vec<VDiffShard>,
    /// Each table's part, ascending.
    #[serde(skip)]
    pub tables: Vec<VDiffTable>,
    /// What shards say that failed: `-80: text`, with commas and line ends between.
    #[serde(rename = "Errors", skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, String>,
}

/// One shard's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VDiffShard {
    /// The target shard.
    pub shard: String,
    /// Its state.
    pub state: String,
    /// Rows compared so far.
    pub rows_compared: i64,
    /// Rows that the tables are estimated to have.
    pub rows_total: i64,
    /// Whether rows differ.
    pub has_mismatch: bool,
}

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
}

/// Every `VDiff` of the workflow, a line per shard, ascending by UUID and shard.
///
/// # Errors
/// A tablet's rows that cannot be read.
pub fn vdiff_list(reply: &VDiffShowResponse) -> Result<Vec<VDiffLine>, RowError> {
    let mut lines = Vec::new();
    for response in reply.tablet_responses.values() {
        for row in rows(response)?.rows() {
            lines.push(VDiffLine {
                uuid: row.text("vdiff_uuid"),
                workflow: row.text("workflow"),
                keyspace: row.text("keyspace"),
                shard: row.text("shard"),
                state: row.text("state"),
            });
        }
    }
    lines.sort();
    Ok(lines)
}

/// One `VDiff` summed up; `None` when no shard knows one.
///
/// # Errors
/// A tablet's rows that cannot be read.
pub fn vdiff_summary(keyspace: &str, workflow: &str, reply: &VDiffShowResponse) -> Result<Option<VDiffSummary>, RowError> {
    let mut sum = VDiffSummary { workflow: workflow.into(), keyspace: keyspace.into(), ..VDiffSummary::default() };
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut tables: BTreeMap<String, VDiffTable> = BTreeMap::new();
    for (shard, response) in &reply.tablet_responses {
        let mut part = VDiffShard { shard: shard.clone(), ..VDiffShard::default() };
        for row in rows(response)?.rows() {
            let is_mismatch = row.text("has_mismatch") == "1";
            let compared = number(&row, "rows_compared");
            let state = row.text("table_state");
            sum.uuid = row.text("uuid");
            part.state = row.text("vdiff_state");
            part.rows_compared = part.rows_compared.saturating_add(compared);
            part.rows_total = part.rows_total.saturating_add(number(&row, "table_rows"));
            part.has_mismatch |= is_mismatch;
            earliest(&mut sum.started_at, row.text("started_at"));
            sum.completed_at = sum.completed_at.max(row.text("completed_at"));
            let error = row.text("last_error");
            if !error.is_empty() {
                sum.errors.insert(shard.clone(), error);
            }
            if !row.text("table_name").is_empty() {
                states.entry(row.text("table_name")).or_default().push(state);
                let table = tables.entry(row.text("table_name")).or_default();
                table.rows_compared = table.rows_compared.saturating_add(compared);
                table.has_mismatch |= is_mismatch;
            }
        }
        if !part.state.is_empty() {
            sum.rows_compared = sum.rows_compared.saturating_add(part.rows_compared);
            sum.has_mismatch |= part.has_mismatch;
            sum.by_shard.push(part);
        }
    }
    if sum.by_shard.is_empty() {
        return Ok(None);
    }
    sum.state = state(&sum.by_shard, &states);
    sum.shards = sum.by_shard.iter().map(|part| part.shard.as_str()).collect::<Vec<_>>().join(",");
    if sum.state != "completed" {
        sum.completed_at.clear();
    }
    sum.tables = tables
        .into_iter()
        .map(|(name, table)| {
            let mut its: Vec<&str> = states.get(&name).into_iter().flatten().map(String::as_str).collect();
            its.sort_unstable();
            its.dedup();
            VDiffTable { state: its.join(", "), table: name, ..table }
        })
        .collect();
    Ok(Some(sum))
}

/// A table that has not begun has no numbers yet.
fn number(row: &Row<'_>, column: &str) -> i64 {
    row.text(column).parse().unwrap_or(0)
}

fn earliest(first: &mut String, time: String) {
    if first.is_empty() || (!time.is_empty() && time < *first) {
        *first = time;
    }
}

/// The state of the whole: the worst of it; completed only when every table is, on every shard.
fn state(shards: &[VDiffShard], tables: &BTreeMap<String, Vec<String>>) -> String {
    let any = |state: &str| shards.iter().any(|shard| shard.state == state);
    let table = |state: &str| tables.values().flatten().any(|it| it == state);
    let are_tables_done = tables.values().flatten().all(|state| state == "completed");
    let state = if any("stopped") {
        "stopped"
    } else if any("error") || table("error") {
        "error"
    } else if table("started") || any("started") {
        "started"
    } else if table("pending") || any("pending") {
        "pending"
    } else if are_tables_done {
        if shards.iter().all(|shard| shard.state == "completed") { "completed" } else { "started" }
    } else {
        "unknown"
    };
    state.into()
}

fn rows(response: &VDiffResponse) -> Result<RowSet, RowError> {
    RowSet::new(response.output.clone().unwrap_or_default())
}
