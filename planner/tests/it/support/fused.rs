//! A tablet's answer to the statement that has streams, copy states and logs in one, made of its answers to the three of old.
//!
//! Where one of these is a failure, or nothing that a server would make such JSON of, the tablet does not take the statement.

use std::fmt::Write as _;

use prost::Message;
use vtflow_planner::{
    Answer, FailureKind, limits,
    proto::{
        query::{Field, QueryResult},
        tabletmanagerdata::VReplicationExecResponse,
    },
};

use super::refused;

/// What such a statement has in one; `None`: it is another one.
pub(crate) fn parts(subject: &str) -> Option<Vec<&'static str>> {
    match subject {
        "streams and copy state" => Some(vec!["streams", "copy state"]),
        "streams, copy state and logs" => Some(vec!["streams", "copy state", "logs"]),
        _ => None,
    }
}

/// What a tablet says that does not take it.
pub(crate) fn not_taken() -> Answer {
    refused("TabletManager.VReplicationExec: syntax error at position 21 near 'json_array'")
}

/// Whether the statements of old follow.
pub(crate) fn is_asked_again(answer: &Answer) -> bool {
    match answer {
        Answer::Called(response) => {
            let result = VReplicationExecResponse::decode(response.as_slice()).ok().and_then(|response| response.result);
            !result.is_some_and(|result| result.fields.iter().any(|field| field.name == b"copy_states"))
        }
        Answer::Failed { kind: FailureKind::Status(_) | FailureKind::TooLarge, message } => {
            !message.contains("vreplication engine is closed")
        }
        _ => false,
    }
}

/// Whether this part is read from its start although the statement was taken: the copy states, when more streams follow.
pub(crate) fn is_read_anew(part: &str, answer: &Answer) -> bool {
    let Answer::Called(response) = answer else { return false };
    let rows = VReplicationExecResponse::decode(response.as_slice()).ok().and_then(|response| response.result);
    part == "copy state"
        && rows.is_some_and(|result| {
            result.rows.len() >= limits::STREAM_PAGE_ROWS && result.fields.iter().any(|field| field.name == b"copy_states")
        })
}

/// The answer, of those to each of the parts.
pub(crate) fn answer(parts: &[&Answer]) -> Answer {
    let [streams, others @ ..] = parts else { return not_taken() };
    let Some(mut all) = result(streams) else { return (*streams).clone() };
    let others: Option<Vec<QueryResult>> = others.iter().map(|part| result(part)).collect();
    let Some((copy_states, logs)) = others.as_deref().and_then(|others| others.split_first()) else { return not_taken() };
    let (Some(copy_states), Some(id)) =
        (json(copy_states, &COPY_STATES).filter(|rows| rows.len() < limits::COPY_STATE_PAGE_ROWS), at(&all, "id"))
    else {
        return not_taken();
    };
    let logs = logs.first().map(|logs| json(logs, &LOGS));
    // What a planner cannot tell of one stream it asks for again.
    let is_id = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.parse::<i64>().is_ok());
    let have_ids = all.rows.iter().all(|row| value(&row.lengths, &row.values, id).is_some_and(is_id));
    if logs == Some(None) || !have_ids {
        return not_taken();
    }
    let field = |name: &str| Field { name: name.into(), r#type: 2_078, ..Field::default() };
    all.fields.push(field("copy_states"));
    all.fields.extend(logs.is_some().then(|| field("logs")));
    for (place, row) in all.rows.iter_mut().enumerate() {
        let stream = value(&row.lengths, &row.values, id).unwrap_or_default().to_vec();
        let of_stream: Vec<&str> =
            copy_states.iter().filter(|(of, _)| of.as_bytes() == stream).map(|(_, row)| row.as_str()).collect();
        put(row, Some(array(&of_stream)));
        if let Some(Some(logs)) = &logs {
            let rows: Vec<&str> = logs.iter().map(|(_, row)| row.as_str()).collect();
            put(row, (place == 0).then(|| array(&rows)));
        }
    }
    Answer::Called(VReplicationExecResponse { result: Some(all) }.encode_to_vec())
}

/// A column, and how its values stand in the JSON: as numbers (`#`), as hexadecimal (`x`), as texts.
const COPY_STATES: [&str; 3] = ["#id", "xtable_name", "xlastpk"];
const LOGS: [&str; 8] = ["#id", "#vrepl_id", "xtype", "xstate", "=created_at", "=updated_at", "=message", "#count"];

fn result(answer: &Answer) -> Option<QueryResult> {
    let Answer::Called(response) = answer else { return None };
    let result = VReplicationExecResponse::decode(response.as_slice()).ok()?.result?;
    let fits = |row: &vtflow_planner::proto::query::Row| row.lengths.len() == result.fields.len();
    (!result.fields.is_empty() && result.rows.iter().all(fits)).then_some(result)
}

fn at(result: &QueryResult, name: &str) -> Option<usize> {
    result.fields.iter().position(|field| field.name == name.as_bytes())
}

fn value<'a>(lengths: &[i64], values: &'a [u8], place: usize) -> Option<&'a [u8]> {
    let length = |length: &i64| usize::try_from(*length).unwrap_or_default();
    let begin: usize = lengths.iter().take(place).map(length).sum();
    let of = lengths.get(place).filter(|length| **length >= 0)?;
    values.get(begin..begin + length(of))
}

/// Each row: its stream, and its JSON. `None`: no server would make any of it.
fn json(result: &QueryResult, columns: &[&str]) -> Option<Vec<(String, String)>> {
    let stream = at(result, "vrepl_id");
    let rows = result.rows.iter().map(|row| {
        let integer = |place: usize| {
            let text = String::from_utf8(value(&row.lengths, &row.values, place)?.to_vec()).ok()?;
            let is_integral = result.fields.get(place)?.r#type & 256 != 0;
            (is_integral && text.parse::<i64>().is_ok()).then_some(text)
        };
        let cells = columns.iter().map(|column| {
            let (form, name) = column.split_at(1);
            let place = at(result, name)?;
            let Some(bytes) = value(&row.lengths, &row.values, place) else { return Some("null".to_owned()) };
            Some(match form {
                "#" => integer(place)?,
                "x" => format!(
                    "\"{}\"",
                    bytes.iter().fold(String::new(), |mut out, byte| {
                        let _ = write!(out, "{byte:02X}");
                        out
                    })
                ),
                _ => serde_json::Value::from(std::str::from_utf8(bytes).ok()?).to_string(),
            })
        });
        Some((integer(stream?)?, format!("[{}]", cells.collect::<Option<Vec<_>>>()?.join(", "))))
    });
    rows.collect()
}

/// In no order that anybody could count on.
fn array(rows: &[&str]) -> String {
    if rows.is_empty() {
        return "[0, null]".into();
    }
    let rows: Vec<&str> = rows.iter().rev().copied().collect();
    format!("[{}, [{}]]", rows.len(), rows.join(","))
}

fn put(row: &mut vtflow_planner::proto::query::Row, value: Option<String>) {
    row.lengths.push(value.as_ref().map_or(-1, |value| i64::try_from(value.len()).unwrap_or_default()));
    row.values.extend(value.unwrap_or_default().into_bytes());
}
