//! Differences that are known and meant. Each is a row of `docs/compat.md`, or what two builds of a client do differently; each must
//! still occur.

use serde_json::Value;

use crate::output::{Body, Output};

/// A difference, and how it is set aside.
#[derive(Debug)]
pub struct Known {
    /// The heading in `docs/compat.md`, or how it begins. Empty for what is no doing of vtflow.
    pub section: &'static str,
    /// The row: its first column.
    pub row: &'static str,
    /// Takes it out of both sides, ours first; leaves them alone where it is not.
    pub set_aside: fn(&mut Output, &mut Output),
    /// Whether it is chance if vtctld prints it: it need not occur.
    pub is_chance: bool,
}

const fn known(section: &'static str, row: &'static str, set_aside: fn(&mut Output, &mut Output)) -> Known {
    Known { section, row, set_aside, is_chance: false }
}

const fn chance(section: &'static str, row: &'static str, set_aside: fn(&mut Output, &mut Output)) -> Known {
    Known { section, row, set_aside, is_chance: true }
}

/// What stands for an error's text that was not recorded.
pub const NOT_RECORDED: &str = "(not recorded)";

/// All of them. The first that make both sides the same are counted.
pub const KNOWN: &[Known] = &[
    known("GetSchemaMigrations", "`cancelled_at`", cancelled_at),
    known("WorkflowStatus", "`VStream Lag` in `info`", stream_lag),
    known("Topology reads", "`GetTablets` by alias, primaries of several shards", tablets_by_alias),
    known("GetWorkflows", "tablets older than v20", older_tablets),
    chance("GetSchemaMigrations", "columns", columns_of_mixed_releases),
    chance("Legacy commands", "`OnlineDDL show`, tablets whose columns differ", legacy_columns),
    known("Legacy commands", "a shard without primary, a tablet that does not answer", warnings),
    known("VDiffShow", "who is asked", no_source),
    known("WorkflowUpdate", "`start`, `stop` (`in_order:`)", in_order),
    known("WorkflowUpdate", "refused before anything is changed", unknown_migration),
    known("GetWorkflows", "a shard without primary (no alias, or an empty one)", no_primary),
    chance("WorkflowSwitchTraffic", "reverse streams", reverse_streams),
    known("WorkflowSwitchTraffic", "`timeout` below 1 s", short_timeout),
    known("", "a snapshot has no statistics of its tables", table_statistics),
    known("", "a refused connection is told in the words of Go's HTTP library", refused_pages),
];

/// vtctld never says when a migration was cancelled.
fn cancelled_at(ours: &mut Output, theirs: &mut Output) {
    const NAMES: &[&str] = &["cancelled_at", "cancelled_timestamp"];
    fn walk(ours: &mut Value, theirs: &Value) {
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => {
                for (name, field) in ours.iter_mut() {
                    match theirs.get(name) {
                        Some(nothing @ Value::Null) if NAMES.contains(&name.as_str()) => *field = nothing.clone(),
                        Some(Value::String(text)) if NAMES.contains(&name.as_str()) && text.is_empty() => {
                            *field = Value::from("");
                        }
                        Some(theirs) => walk(field, theirs),
                        None => {}
                    }
                }
                if theirs.contains_key("uuid") {
                    ours.retain(|name, _| !NAMES.contains(&name.as_str()) || theirs.contains_key(name));
                }
            }
            (Value::Array(ours), Value::Array(theirs)) => {
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| walk(ours, theirs));
            }
            _ => {}
        }
    }
    if let (Body::Json(ours), Body::Json(theirs)) = (&mut ours.body, &theirs.body) {
        walk(ours, theirs);
    }
}

/// How far behind a stream is depends on the moment, and vtctld counts from another one.
fn stream_lag(ours: &mut Output, theirs: &mut Output) {
    fn without_lag(text: &str) -> Option<String> {
        const SAYS: [&str; 2] = ["VStream Lag: ", "VStream may not be running"];
        let at = SAYS.iter().filter_map(|says| text.find(says)).min()?;
        let is_lag = |part: &&str| part.is_empty() || SAYS.iter().any(|says| part.starts_with(says));
        let parts = text[at..].trim_end_matches('.').split("; ").filter(|part| !is_lag(part));
        Some(text[..at].to_owned() + &parts.collect::<Vec<_>>().join("; "))
    }
    fn walk(value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(without) = without_lag(text) {
                    *text = without;
                }
            }
            Value::Object(fields) => fields.values_mut().for_each(walk),
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    for body in [&mut ours.body, &mut theirs.body] {
        match body {
            Body::Json(value) => walk(value),
            Body::Text(lines) => {
                for line in lines.iter_mut() {
                    if let Some(without) = without_lag(line) {
                        *line = without;
                    }
                }
            }
        }
    }
}

/// vtctld believes in one primary of all tablets that it is asked for.
fn tablets_by_alias(ours: &mut Output, theirs: &mut Output) {
    if let (Body::Text(ours), Body::Text(theirs)) = (&ours.body, &mut theirs.body) {
        for (ours, theirs) in ours.iter().zip(theirs.iter_mut()) {
            if ours.replacen(" primary ", " unknown ", 1) == *theirs {
                theirs.clone_from(ours);
            }
        }
    }
}

/// vtctld fails where vtflow goes on, to an answer or to an error that comes later: what it answers is tested elsewhere, by the
/// tablets' rows.
fn goes_on(ours: &mut Output, theirs: &Output, says: &[&str]) {
    if theirs.exit != 0 && says.iter().any(|text| theirs.stderr.contains(text)) {
        *ours = theirs.clone();
    }
}

fn older_tablets(ours: &mut Output, theirs: &mut Output) {
    goes_on(ours, theirs, &["unknown method ReadVReplicationWorkflow"]);
}

/// Which tablet's columns vtctld takes is chance: it fails over a row of another release, or garbles it.
fn columns_of_mixed_releases(ours: &mut Output, theirs: &mut Output) {
    const MIXED: &str = "mixed";
    fn migrations(body: &Body) -> Option<usize> {
        let Body::Json(value) = body else { return None };
        let rows = value["migrations"].as_array().or(value.as_array())?;
        (!rows.is_empty() && rows.iter().all(|row| row["keyspace"] == MIXED)).then_some(rows.len())
    }
    if theirs.stderr.contains("parsing time \"") && theirs.stderr.contains(" as \"2006-01-02 15:04:05\"") {
        goes_on(ours, theirs, &["parsing time"]);
    } else if theirs.exit == 0 && migrations(&ours.body).is_some_and(|rows| Some(rows) == migrations(&theirs.body)) {
        theirs.body = ours.body.clone();
    }
}

/// The legacy command puts one tablet's headings over everybody's cells: how many rows there are is the same.
fn legacy_columns(ours: &mut Output, theirs: &mut Output) {
    const NAMES: [&str; 2] = ["Tablet", "migration_uuid"];
    let rows = |body: &Body| match body {
        Body::Json(Value::Array(rows)) if rows.iter().all(|row| NAMES.iter().all(|name| row[name].is_string())) => {
            Some(rows.len())
        }
        _ => None,
    };
    if let (Some(our_rows), Some(their_rows)) = (rows(&ours.body), rows(&theirs.body))
        && our_rows == their_rows
    {
        ours.body = theirs.body.clone();
    }
}

fn no_primary(ours: &mut Output, theirs: &mut Output) {
    goes_on(ours, theirs, &["no primary found for shard", "doesn't have a primary set", NOT_RECORDED]);
}

/// What is missing in the answer to a legacy command is logged by the client.
fn warnings(ours: &mut Output, _: &mut Output) {
    let lines = ours.stderr.lines().filter(|line| !(line.starts_with('W') && line.contains(" vtflow:0] ")));
    ours.stderr = lines.collect::<Vec<_>>().join("\n");
}

/// vtctld loses the order of tablet types where a workflow is stopped or started; who takes it away later changes nothing more.
fn in_order(ours: &mut Output, theirs: &mut Output) {
    fn walk(ours: &Value, theirs: &mut Value) {
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => {
                for (name, field) in theirs.iter_mut() {
                    match ours.get(name) {
                        Some(kept) if name == "tablet_selection_preference" && kept == "INORDER" && *field == "ANY" => {
                            field.clone_from(kept);
                        }
                        Some(Value::Bool(true)) if name == "changed" => *field = Value::from(true),
                        Some(ours) => walk(ours, field),
                        None => {}
                    }
                }
            }
            (Value::Array(ours), Value::Array(theirs)) => ours.iter().zip(theirs).for_each(|(ours, theirs)| walk(ours, theirs)),
            _ => {}
        }
    }
    if let (Body::Json(ours), Body::Json(theirs)) = (&ours.body, &mut theirs.body) {
        walk(ours, theirs);
    }
}

/// Which of the reverse streams vtctld makes first, and which stream's cells all get, is a race between shards.
fn reverse_streams(ours: &mut Output, theirs: &mut Output) {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Array(streams)) = fields.get_mut("streams") {
                    for stream in streams.iter_mut().filter_map(Value::as_object_mut) {
                        stream.remove("id");
                        stream.remove("cells");
                    }
                    streams.sort_by_key(|stream| stream["binlog_source"].to_string());
                }
                fields.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    for body in [&mut ours.body, &mut theirs.body] {
        if let Body::Json(value) = body {
            walk(value);
        }
    }
}

/// Clients from v22 on refuse it themselves.
fn short_timeout(ours: &mut Output, theirs: &mut Output) {
    if ours.stderr.ends_with("timeout must be at least 1 second") && theirs.exit == 0 && theirs.stderr.is_empty() {
        *ours = theirs.clone();
    }
}

fn unknown_migration(ours: &mut Output, theirs: &mut Output) {
    let says = "migration not found";
    if ours.exit == theirs.exit && ours.stderr.contains(says) && theirs.stderr.contains(says) {
        ours.stderr.clone_from(&theirs.stderr);
    }
}

/// A workflow whose source is gone.
fn no_source(ours: &mut Output, theirs: &mut Output) {
    let is_shard = theirs.stderr.contains("node doesn't exist: ") && theirs.stderr.trim_end().ends_with("/Shard");
    if ours.exit == 0 && theirs.exit != 0 && is_shard {
        *ours = theirs.clone();
    }
}

fn refused_pages(ours: &mut Output, theirs: &mut Output) {
    let refused = "connection refused";
    if theirs.stderr.contains("/debug/vars\": dial tcp") && theirs.stderr.ends_with(refused) && ours.stderr.ends_with(refused) {
        ours.stderr.clone_from(&theirs.stderr);
    }
}

/// What a copy's tables hold is no part of a snapshot: vtflow is told nothing by the tablets of one.
fn table_statistics(ours: &mut Output, theirs: &mut Output) {
    match (&mut ours.body, &mut theirs.body) {
        (Body::Json(ours), Body::Json(theirs)) => {
            // VTAdmin puts a reply into a field, and leaves numbers out that are 0.
            let is_wrapped = ours["result"].is_object() && theirs["result"].is_object();
            let (ours, theirs) =
                if is_wrapped { (&mut ours["result"], &mut theirs["result"]) } else { (&mut *ours, &mut *theirs) };
            let is_unknown = ours["table_copy_state"].as_object().is_some_and(|tables| {
                tables.values().all(|table| table["bytes_total"] == "0" || table["bytes_total"].is_null()) && !tables.is_empty()
            });
            if is_unknown && let (Some(ours), Some(theirs)) = (ours.as_object_mut(), theirs.as_object_mut()) {
                ours.remove("table_copy_state");
                theirs.remove("table_copy_state");
            }
        }
        (Body::Text(ours), Body::Text(theirs)) if ours.iter().any(|line| line.contains("BytesTotal:0,")) => {
            for lines in [ours, theirs] {
                lines.retain(|line| !line.is_empty() && !line.starts_with("Table Copy Status:") && !line.contains("BytesTotal:"));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::KNOWN;

    #[test]
    fn every_known_difference_is_a_row_of_compat_md() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compat.md");
        let text = std::fs::read_to_string(file).expect("docs/compat.md");
        for known in KNOWN.iter().filter(|known| !known.section.is_empty()) {
            let section = text.split("\n## ").find(|section| section.starts_with(known.section));
            let rows = section.unwrap_or_else(|| panic!("docs/compat.md has no section {}", known.section));
            assert!(rows.contains(&format!("\n| {} |", known.row)), "{}: {}", known.section, known.row);
        }
    }
}
