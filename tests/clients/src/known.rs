//! Differences that are known and meant. Each is a row of `docs/compat.md`, or what two builds of a client do differently; each must
//! still occur.

use serde_json::Value;

use crate::output::{Body, Output};

/// A difference, and how it is set aside.
#[derive(Debug)]
pub struct Known {
    /// Its row of `docs/compat.md`: the section, and what stands in the first column; or a sentence on builds of a client.
    pub name: &'static str,
    /// Takes it out of both sides, ours first; leaves them alone where it is not.
    pub set_aside: fn(&mut Output, &mut Output),
}

/// What stands for an error's text that was not recorded.
pub const NOT_RECORDED: &str = "(not recorded)";

/// All of them.
pub const KNOWN: &[Known] = &[
    Known { name: "GetSchemaMigrations: `cancelled_at`", set_aside: cancelled_at },
    Known { name: "WorkflowStatus: `VStream Lag` in `info`", set_aside: stream_lag },
    Known { name: "Topology reads: `GetTablets` by alias, primaries of several shards", set_aside: tablets_by_alias },
    Known { name: "GetWorkflows: tablets older than v20", set_aside: older_tablets },
    Known { name: "GetSchemaMigrations: columns", set_aside: columns_of_mixed_releases },
    Known { name: "GetWorkflows: a shard without primary (no alias, or an empty one)", set_aside: no_primary },
    Known { name: "WorkflowStatus of a snapshot: table statistics are no part of it", set_aside: table_statistics },
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
                        Some(Value::String(text)) if NAMES.contains(&name.as_str()) && text.is_empty() => *field = Value::from(""),
                        Some(theirs) => walk(field, theirs),
                        None => {}
                    }
                }
                if theirs.contains_key("uuid") {
                    ours.retain(|name, _| !NAMES.contains(&name.as_str()) || theirs.contains_key(name));
                }
            }
            (Value::Array(ours), Value::Array(theirs)) => ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| walk(ours, theirs)),
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
        let at = text.find("VStream Lag: ").or_else(|| text.find("VStream may not be running"))?;
        let parts = text[at..].trim_end_matches('.').split("; ").filter(|part| {
            !part.is_empty() && !part.starts_with("VStream Lag: ") && !part.starts_with("VStream may not be running")
        });
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

/// vtctld fails where vtflow answers: what vtflow answers is tested elsewhere, by the tablets' rows.
fn answered_instead(ours: &mut Output, theirs: &Output, says: &[&str]) {
    if ours.exit == 0 && theirs.exit != 0 && says.iter().any(|text| theirs.stderr.contains(text)) {
        *ours = theirs.clone();
    }
}

fn older_tablets(ours: &mut Output, theirs: &mut Output) {
    answered_instead(ours, theirs, &["unknown method ReadVReplicationWorkflow"]);
}

fn columns_of_mixed_releases(ours: &mut Output, theirs: &mut Output) {
    answered_instead(ours, theirs, &["parsing time \"0\" as "]);
}

fn no_primary(ours: &mut Output, theirs: &mut Output) {
    answered_instead(ours, theirs, &["/cells/CellInfo", NOT_RECORDED]);
}

/// What a copy's tables hold is no part of a snapshot: vtflow is told nothing by the tablets of one.
fn table_statistics(ours: &mut Output, theirs: &mut Output) {
    match (&mut ours.body, &mut theirs.body) {
        (Body::Json(ours), Body::Json(theirs)) => {
            let is_unknown = ours["table_copy_state"].as_object().is_some_and(|tables| {
                tables.values().all(|table| table["bytes_total"] == "0") && !tables.is_empty()
            });
            if is_unknown && let (Some(ours), Some(theirs)) = (ours.as_object_mut(), theirs.as_object_mut()) {
                ours.remove("table_copy_state");
                theirs.remove("table_copy_state");
            }
        }
        (Body::Text(ours), Body::Text(theirs)) if ours.iter().any(|line| line.contains("BytesTotal:0,")) => {
            ours.retain(|line| !line.contains("BytesTotal:"));
            theirs.retain(|line| !line.contains("BytesTotal:"));
        }
        _ => {}
    }
}
