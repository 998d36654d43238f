//! A `VDiffShow` reply as people read it: what each shard's rows say, summed up as `vtctldclient` sums them up, but for what shards do not agree on.
//!
//! The names of the serialized fields are the client's, so that the JSON is what it prints. A verdict of the whole is only given where every shard of the
//! workflow speaks of the same `VDiff`. A time that is none, such as the zero date, is not shown.
//! Facts: `go/cmd/vtctldclient/command/vreplication/vdiff/vdiff.go`, v18 to v24, without `--verbose`.

mod columns;
mod progress;
mod reports;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use self::{
    columns::{vdiff_list_table, vdiff_tables},
    reports::VDiffReports,
    tables::VDiffTable,
};
use self::{
    progress::{Its, age, moment, pending, progress},
    tables::Tables,
};
use crate::words::{count, message, some};
use vtflow_planner::{
    contract::Timestamp,
    formats::RowError,
    proto::{tabletmanagerdata::VDiffResponse, vtctldata::VDiffShowResponse},
    sidecar::{Row, RowSet},
};

/// Names of shards in a line.
const NAMES_SHOWN: usize = 4;

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
    /// Seconds since it started; `None` if it has not, or the time is none.
    #[serde(skip)]
    pub age_seconds: Option<i64>,
    /// What there is to say of it. Empty when there is nothing.
    #[serde(skip)]
    pub note: String,
    /// Whether it failed or makes no progress.
    #[serde(skip)]
    pub has_trouble: bool,
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
    /// The state of the whole; `unknown` where the shards do not speak of one `VDiff`, or not all of them.
    #[serde(rename = "State")]
    pub state: String,
    /// Its UUID; empty where the shards' are different ones, or have none.
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
    /// What keeps the shards' parts from being one verdict, or from getting on. The client prints no such thing: absent where there is nothing.
    #[serde(rename = "Notes", skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The outcome in words: `completed, 2,000 rows compared, no rows differ`. Empty where there is no common one.
    #[serde(skip)]
    pub verdict: String,
    /// Seconds since the first shard started; `None` if none has, or they are of different ones.
    #[serde(skip)]
    pub age_seconds: Option<i64>,
    /// Whether rows differ, a shard failed, is missing or makes no progress, or there is no common verdict.
    #[serde(skip)]
    pub has_trouble: bool,
    /// Each shard's part, ascending.
    #[serde(skip)]
    pub by_shard: Vec<VDiffShard>,
    /// Each table's part, ascending.
    #[serde(skip)]
    pub tables: Vec<VDiffTable>,
    /// What differs, by shard and table, with samples of the rows. Without anything where no rows differ.
    #[serde(flatten)]
    pub reports: VDiffReports,
    /// What shards say that failed: `-80: text`, with commas and line ends between.
    #[serde(rename = "Errors", skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, String>,
}

/// One shard's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VDiffShard {
    /// The target shard.
    pub shard: String,
    /// The UUID of its `VDiff`; empty if it has none.
    pub uuid: String,
    /// Its state; `none` where the shard has no `VDiff` of the workflow, `unknown` where its rows cannot be read.
    pub state: String,
    /// Rows compared so far.
    pub rows_compared: i64,
    /// Rows that the tables are estimated to have; 0 where nothing is estimated.
    pub rows_total: i64,
    /// The two in words.
    pub rows: String,
    /// Whether rows differ.
    pub has_mismatch: bool,
    /// What there is to say of it. Empty when there is nothing.
    pub note: String,
    /// Whether it is in trouble.
    pub has_trouble: bool,
}

/// Every `VDiff` of the workflow, a line per shard, ascending by UUID and shard.
///
/// # Errors
/// A tablet's rows that cannot be read.
pub fn vdiff_list(reply: &VDiffShowResponse, now: Timestamp) -> Result<Vec<VDiffLine>, RowError> {
    let mut lines = Vec::new();
    for response in reply.tablet_responses.values() {
        for row in rows(response)?.rows() {
            let state = row.text("state");
            let stuck = match state.as_str() {
                "started" => progress(&row.text("started_at"), signs(&row), now),
                "pending" => Some(pending(moment(&row.text("created_at")), now)),
                state if !is_known(state) => Some(Its { text: UNKNOWN_STATE.into(), is_stuck: true }),
                _ => None,
            };
            let said = [
                Some(message(&row.text("last_error"))).filter(|error| !error.is_empty()),
                stuck.as_ref().map(|it| it.text.clone()),
            ];
            lines.push(VDiffLine {
                uuid: row.text("vdiff_uuid"),
                workflow: row.text("workflow"),
                keyspace: row.text("keyspace"),
                shard: row.text("shard"),
                has_trouble: state == "error" || stuck.is_some_and(|it| it.is_stuck),
                state,
                age_seconds: moment(&row.text("started_at")).and_then(|then| age(then, now)),
                note: said.into_iter().flatten().collect::<Vec<_>>().join("; "),
            });
        }
    }
    lines.sort();
    Ok(lines)
}

/// One `VDiff` summed up; `None` when no shard knows one. `reply` has an entry for each shard of the workflow.
///
/// `all`: the reply to the same question for all `VDiff`s, which alone tells when one last moved; without it that is not known.
pub fn vdiff_summary(
    keyspace: &str,
    workflow: &str,
    reply: &VDiffShowResponse,
    all: Option<&VDiffShowResponse>,
    now: Timestamp,
) -> Option<VDiffSummary> {
    let mut sum = VDiffSummary { workflow: workflow.into(), keyspace: keyspace.into(), ..VDiffSummary::default() };
    let mut tables = Tables::default();
    let mut reports = VDiffReports::default();
    let mut starts: Vec<String> = Vec::new();
    let mut ends: Vec<String> = Vec::new();
    let mut compared: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (shard, response) in &reply.tablet_responses {
        let mut part = VDiffShard { shard: shard.clone(), state: "none".into(), ..VDiffShard::default() };
        let mut notes: Vec<String> = Vec::new();
        let mut started = String::new();
        match rows(response) {
            Ok(rows) => {
                for row in rows.rows() {
                    part.uuid = row.text("uuid");
                    part.state = row.text("vdiff_state");
                    let error = row.text("last_error");
                    if !error.is_empty() {
                        sum.errors.insert(shard.clone(), error);
                    }
                    started = row.text("started_at");
                    ends.push(row.text("completed_at"));
                    let rows = number(&row, "rows_compared");
                    part.rows_compared = part.rows_compared.saturating_add(rows);
                    part.rows_total = part.rows_total.saturating_add(number(&row, "table_rows"));
                    let (differs, unread) = tables.add(&row, rows);
                    reports.add(shard, &row);
                    part.has_mismatch |= differs;
                    notes.extend(unread);
                    compared.entry(shard).or_default().insert(row.text("table_name"));
                }
            }
            Err(error) => {
                part.state = "unknown".into();
                notes.push(format!("its rows cannot be read: {error}"));
            }
        }
        if part.has_mismatch {
            notes.push("rows differ".into());
        }
        notes.extend(sum.errors.get(shard).map(|error| message(error)));
        part.has_trouble =
            part.has_mismatch || !notes.is_empty() || matches!(part.state.as_str(), "error" | "none" | "unknown" | "");
        let its = match part.state.as_str() {
            "none" => {
                notes.push("no VDiff of this workflow".into());
                None
            }
            "started" => progress(&started, all.and_then(|all| find(all, shard, &part.uuid, signs)), now),
            "pending" => {
                let created = |row: &Row<'_>| moment(&row.text("created_at"));
                Some(pending(all.and_then(|all| find(all, shard, &part.uuid, created)), now))
            }
            // Why is said above.
            "unknown" if !notes.is_empty() => None,
            state if !is_known(state) => Some(Its { text: UNKNOWN_STATE.into(), is_stuck: true }),
            _ => None,
        };
        if let Some(Its { text, is_stuck }) = its {
            if is_stuck {
                part.has_trouble = true;
                sum.notes.push(format!("{shard}: {text}"));
            }
            notes.push(text);
        }
        starts.push(started);
        part.rows = rows_text(part.rows_compared, part.rows_total);
        part.note = notes.join("; ");
        sum.rows_compared = sum.rows_compared.saturating_add(part.rows_compared);
        sum.has_mismatch |= part.has_mismatch;
        sum.by_shard.push(part);
    }
    if sum.by_shard.iter().all(|part| part.state == "none") {
        return None;
    }
    let have: Vec<&VDiffShard> = sum.by_shard.iter().filter(|part| part.state != "none").collect();
    let lack: Vec<&str> = sum.by_shard.iter().filter(|part| part.state == "none").map(|part| part.shard.as_str()).collect();
    let uuids: BTreeSet<String> = have.iter().map(|part| part.uuid.to_ascii_lowercase()).collect();
    // Those without UUID may be anybody's.
    let is_one = have.len() == 1 || (uuids.len() == 1 && !uuids.contains(""));
    let state = state(&have, &tables.states);
    let differing = not_compared(&have, &compared);
    let is_common = is_one && lack.is_empty() && differing.is_empty();
    let shards = have.iter().map(|part| part.shard.as_str()).collect::<Vec<_>>().join(",");
    let uuid = if is_one { have.first().map(|part| part.uuid.clone()).unwrap_or_default() } else { String::new() };
    let mut notes: Vec<String> = Vec::new();
    if !is_one {
        let why = if uuids.len() > 1 { "are different ones" } else { "have no UUID, so that they may be different ones" };
        notes.push(format!("no common verdict: the shards' VDiffs {why}"));
    }
    if !lack.is_empty() {
        notes.push(format!("no VDiff of this workflow on {}", some(&lack, NAMES_SHOWN)));
    }
    if is_one {
        notes.extend(differing.values().cloned());
    }
    let begun = starts.iter().filter_map(|text| Some((moment(text)?, text))).min().filter(|_| is_one);
    let ended = ends.iter().filter_map(|text| Some((moment(text)?, text))).max().filter(|_| is_common && state == "completed");
    sum.started_at = begun.map(|(_, text)| text.clone()).unwrap_or_default();
    sum.completed_at = ended.map(|(_, text)| text.clone()).unwrap_or_default();
    sum.age_seconds = begun.and_then(|(then, _)| age(then, now));
    sum.state = match (state, is_one, is_common) {
        ("completed", _, false) => "unknown",
        (state, false, _) if state != "error" => "unknown",
        (state, ..) => state,
    }
    .into();
    sum.has_trouble = !is_common || sum.has_mismatch || sum.by_shard.iter().any(|part| part.has_trouble);
    let is_clear = differing.is_empty() && tables.unread.is_empty();
    sum.verdict = verdict(&sum, state, (is_one, is_clear), have.len());
    sum.has_trouble |= !tables.unread.is_empty();
    (sum.shards, sum.uuid) = (shards, uuid);
    for (shard, text) in differing {
        for part in sum.by_shard.iter_mut().filter(|part| part.shard == shard) {
            part.has_trouble = true;
            part.note = [part.note.as_str(), &text].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        }
    }
    notes.extend(tables.unread.iter().map(|table| format!("what differs in {table} is not known: a report cannot be read")));
    notes.append(&mut sum.notes);
    sum.notes = notes;
    sum.tables = tables.lines();
    if sum.has_mismatch {
        sum.reports = reports;
    }
    Some(sum)
}

/// Tables that a shard's part did not compare though it is completed and others compared them, by shard.
fn not_compared(shards: &[&VDiffShard], compared: &BTreeMap<&str, BTreeSet<String>>) -> BTreeMap<String, String> {
    let all: BTreeSet<&String> = compared.values().flatten().filter(|table| !table.is_empty()).collect();
    let lacks = |part: &&VDiffShard| {
        let own = compared.get(part.shard.as_str());
        let lack: Vec<&str> =
            all.iter().filter(|table| !own.is_some_and(|own| own.contains(**table))).map(|table| table.as_str()).collect();
        let text = format!("{} not compared on {}", some(&lack, NAMES_SHOWN), part.shard);
        (part.state == "completed" && !lack.is_empty()).then(|| (part.shard.clone(), text))
    };
    shards.iter().filter_map(lacks).collect()
}

/// Whether a shard's part has not ended: when it was created, and when it last moved, is in the reply for all `VDiff`s only.
pub fn vdiff_is_under_way(reply: &VDiffShowResponse) -> bool {
    reply
        .tablet_responses
        .values()
        .filter_map(|response| rows(response).ok())
        .any(|rows| rows.rows().any(|row| matches!(row.text("vdiff_state").as_str(), "started" | "pending")))
}

/// The outcome in words.
fn verdict(sum: &VDiffSummary, state: &str, (is_one, is_clear): (bool, bool), have: usize) -> String {
    let differ = if sum.has_mismatch { Some("rows differ") } else { None };
    if !is_one {
        // The notes say that there is none, the shards' lines what each of them has.
        let error = (state == "error").then_some("error");
        return [error, differ].into_iter().flatten().collect::<Vec<_>>().join(", ");
    }
    // The client calls it stopped if a shard is, whatever happened on the others.
    let has_failed = !sum.errors.is_empty() || sum.by_shard.iter().any(|part| part.state == "error");
    let state = if has_failed && state == "stopped" { "error, stopped" } else { state };
    let on = if have < sum.by_shard.len() { format!(" on {have} of {} shards", sum.by_shard.len()) } else { String::new() };
    let found = match (differ, state, on.is_empty()) {
        (Some(differ), ..) => Some(differ),
        // There are rows that nobody compared, or nobody knows what became of it.
        (None, "completed", _) if !is_clear => Some("whether rows differ is not known"),
        (None, "completed", true) => Some("no rows differ"),
        (None, "completed", false) => Some("no rows differ there"),
        (None, "error" | "unknown", _) => None,
        _ if has_failed => None,
        // Where nothing was compared there is nothing to say of it.
        (None, ..) => (sum.rows_compared > 0).then_some("no rows differ so far"),
    };
    let rows = format!("{} rows compared", count(sum.rows_compared));
    let said = [Some(format!("{state}{on}")), Some(rows), found.map(str::to_owned)];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A state that there is. Source: `go/vt/vttablet/tabletmanager/vdiff/engine.go`.
fn is_known(state: &str) -> bool {
    matches!(state, "pending" | "started" | "stopped" | "completed" | "error")
}

const UNKNOWN_STATE: &str = "a state that is not known";

/// A time in the row of one `VDiff` on one shard.
fn find(all: &VDiffShowResponse, shard: &str, uuid: &str, time: impl Fn(&Row<'_>) -> Option<i64>) -> Option<i64> {
    let rows = rows(all.tablet_responses.get(shard)?).ok()?;
    rows.rows().filter(|row| row.text("vdiff_uuid").eq_ignore_ascii_case(uuid)).find_map(|row| time(&row))
}

fn signs(row: &Row<'_>) -> Option<i64> {
    moment(&row.text("liveness_timestamp"))
}

/// Rows in words. Where no row was estimated there is no estimate.
fn rows_text(compared: i64, total: i64) -> String {
    match (compared, total) {
        (_, 1..) if compared > total => format!("{}, estimate {}", count(compared), count(total)),
        (_, 1..) => format!("{} of about {}", count(compared), count(total)),
        (..=0, _) => "0".into(),
        _ => format!("{}, no estimate", count(compared)),
    }
}

/// A table that has not begun has no numbers yet.
fn number(row: &Row<'_>, column: &str) -> i64 {
    row.text(column).parse().unwrap_or(0)
}

/// The state of the whole: the worst of it; completed only when every table is, on every shard. Nothing is completed where no table was compared.
fn state(shards: &[&VDiffShard], tables: &BTreeMap<String, BTreeSet<String>>) -> &'static str {
    let any = |state: &str| shards.iter().any(|shard| shard.state == state);
    let table = |state: &str| tables.values().flatten().any(|it| it == state);
    let are_tables_done = !tables.is_empty() && tables.values().flatten().all(|state| state == "completed");
    if any("stopped") {
        "stopped"
    } else if any("error") || table("error") {
        "error"
    } else if shards.iter().any(|shard| !is_known(&shard.state)) {
        "unknown"
    } else if table("started") || any("started") {
        "started"
    } else if table("pending") || any("pending") {
        "pending"
    } else if are_tables_done {
        if shards.iter().all(|shard| shard.state == "completed") { "completed" } else { "started" }
    } else {
        "unknown"
    }
}

fn rows(response: &VDiffResponse) -> Result<RowSet, RowError> {
    RowSet::new(response.output.clone().unwrap_or_default())
}
