//! A trace that can be shown to others: what is known to be structure stays, every other value of a row goes.
//!
//! Numbers and times stay, and the texts of [`KEPT`]: names, states, positions. Everything else is replaced: messages, filters
//! within sources, primary keys, statements of migrations, reports of comparisons. Table names, requests and the texts of failed
//! calls stay: whoever shares a trace has to know that (`docs/traces.md`).

use prost::Message;

use super::{Trace, replay};
use crate::{
    flow::{Answer, Asking, Call, Timestamp, What},
    proto::{
        query::{QueryResult, Row},
        tabletmanagerdata::{ExecuteFetchAsDbaResponse, VDiffResponse, VReplicationExecResponse},
    },
    rpc,
};

/// What stands where a text was.
const REDACTED: &[u8] = b"(redacted)";

/// Columns whose texts are structure, in any table.
const KEPT: &[&str] = &[
    "cell",
    "component_throttled",
    "db_name",
    "ddl_action",
    "keyspace",
    "migration_context",
    "migration_status",
    "migration_uuid",
    "mysql_schema",
    "mysql_table",
    "options",
    "pos",
    "reverted_uuid",
    "shard",
    "stage",
    "state",
    "stop_pos",
    "strategy",
    "table_name",
    "tablet",
    "tablet_types",
    "tags",
    "type",
    "vdiff_uuid",
    "workflow",
];

/// Types of `query.Type` that are numbers or times, by their flags and values. Source: `query.proto`.
const INTEGRAL: i32 = 256;
const FLOAT: i32 = 1024;
const TIMES: [i32; 4] = [2_061, 2_062, 2_063, 2_064];
const DECIMAL: i32 = 18;
const YEAR: i32 = 785;
const JSON: i32 = 2_078;

impl Trace {
    /// The trace without the values of rows that are not known to be structure. `start` begins a flow of the planner that is to
    /// have the last word: the reply becomes the one that the remaining values give.
    #[must_use]
    pub fn redacted(mut self, start: impl FnOnce(&Call, Timestamp) -> Box<dyn Asking>) -> Self {
        for traced in &mut self.asks {
            if let (What::TabletCall { path, .. }, Some(Answer::Called(bytes))) = (&traced.ask.what, &mut traced.answer) {
                *bytes = response(path, bytes);
            }
        }
        self.redacted = true;
        self.reply = None;
        let mut flow = start(&self.call, self.now);
        self.reply = replay(&mut *flow, &self).reply;
        self
    }
}

/// A response message without its texts; one of an unknown form becomes an empty one.
fn response(path: &str, bytes: &[u8]) -> Vec<u8> {
    match path {
        rpc::VREPLICATION_EXEC => VReplicationExecResponse::decode(bytes)
            .map(|response| VReplicationExecResponse { result: response.result.map(rows) }.encode_to_vec()),
        rpc::EXECUTE_FETCH_AS_DBA => ExecuteFetchAsDbaResponse::decode(bytes)
            .map(|response| ExecuteFetchAsDbaResponse { result: response.result.map(rows) }.encode_to_vec()),
        rpc::VDIFF => VDiffResponse::decode(bytes)
            .map(|response| VDiffResponse { output: response.output.map(rows), ..response }.encode_to_vec()),
        _ => Ok(Vec::new()),
    }
    .unwrap_or_default()
}

fn rows(mut result: QueryResult) -> QueryResult {
    let fields: Vec<(String, i32)> =
        result.fields.iter().map(|field| (String::from_utf8_lossy(&field.name).into_owned(), field.r#type)).collect();
    for row in &mut result.rows {
        let mut rest = row.values.as_slice();
        let mut after = Row::default();
        for (index, length) in row.lengths.iter().enumerate() {
            let Some((value, tail)) = usize::try_from(*length).ok().and_then(|length| rest.split_at_checked(length)) else {
                after.lengths.push(-1);
                continue;
            };
            rest = tail;
            let value = fields.get(index).map_or_else(|| REDACTED.to_vec(), |(name, kind)| value_of(name, *kind, value));
            after.lengths.push(i64::try_from(value.len()).unwrap_or(0));
            after.values.extend(value);
        }
        *row = after;
    }
    result.info.clear();
    result
}

fn value_of(column: &str, kind: i32, value: &[u8]) -> Vec<u8> {
    let is_number = kind & (INTEGRAL | FLOAT) != 0 || kind == DECIMAL || kind == YEAR || TIMES.contains(&kind);
    match column {
        // A stream whose traffic has been switched is told by it.
        "message" if value == b"FROZEN" => value.to_vec(),
        "source" => without_filters(value),
        _ if is_number || KEPT.contains(&column) || value.is_empty() => value.to_vec(),
        _ if kind == JSON => b"{}".to_vec(),
        _ => REDACTED.to_vec(),
    }
}

/// The text of a `BinlogSource` with every rule's filter replaced; what is no such text goes as a whole.
fn without_filters(source: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(source) else { return REDACTED.to_vec() };
    let (mut out, mut rest) = (String::new(), text);
    // Of the two fields called filter only the rule's is a string.
    while let Some((before, after)) = rest.split_once("filter:") {
        out.push_str(before);
        out.push_str("filter:");
        let value = after.trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            rest = after;
            continue;
        };
        let mut is_escaped = false;
        let end = value.char_indices().skip(1).find(|(_, c)| {
            let is_end = *c == quote && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_end
        });
        let Some((_, tail)) = end.and_then(|(end, _)| value.split_at_checked(end + 1)) else { return REDACTED.to_vec() };
        out.push(quote);
        out.push_str("(redacted)");
        out.push(quote);
        rest = tail;
    }
    out.push_str(rest);
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::query::Field;

    #[test]
    fn structure_stays_and_texts_go() {
        let columns =
            [("id", 265), ("workflow", 10_262), ("message", 6_163), ("lastpk", 10_262), ("time_updated", 265), ("report", 2_078)];
        let values: [Option<&str>; 6] = [Some("7"), Some("wf"), Some("Duplicate 'bob'"), None, Some("99"), Some("{\"a\":1}")];
        let mut row = Row::default();
        for value in values {
            row.lengths.push(value.map_or(-1, |value| i64::try_from(value.len()).unwrap_or(0)));
            row.values.extend(value.unwrap_or_default().as_bytes());
        }
        let field = |(name, kind): (&str, i32)| Field { name: name.into(), r#type: kind, ..Field::default() };
        let result = QueryResult { fields: columns.map(field).to_vec(), rows: vec![row], ..QueryResult::default() };
        let row = rows(result).rows.remove(0);
        assert_eq!(String::from_utf8_lossy(&row.values), "7wf(redacted)99{}");
        assert_eq!(row.lengths, [1, 2, 10, -1, 2, 2]);
        assert_eq!(value_of("message", 6_163, b"FROZEN"), b"FROZEN");
    }

    #[test]
    fn filters_go_out_of_a_source() {
        let source = r#"keyspace:"a" shard:"0" filter:{rules:{match:"t" filter:"select * from t where x = 'a\"b' and y"} rules:{match:"u" filter: 'it'}} on_ddl:STOP"#;
        let want = r#"keyspace:"a" shard:"0" filter:{rules:{match:"t" filter:"(redacted)"} rules:{match:"u" filter:'(redacted)'}} on_ddl:STOP"#;
        assert_eq!(String::from_utf8_lossy(&without_filters(source.as_bytes())), want);
        assert_eq!(without_filters(b"filter:\"no end"), REDACTED);
        assert_eq!(without_filters(b"\xff"), REDACTED);
    }
}
