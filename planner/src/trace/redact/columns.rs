//! What of a row may be shown to others: by column, and only a value that looks like what its column is for.
//!
//! Kept are numbers, times, states, positions, and the names of things (keyspaces, shards, tablets, workflows, tables, databases,
//! migrations). Every other text is replaced, one of a column that is not known too.

use std::fmt::Write as _;

use super::hidden::Hidden;
use crate::{
    formats::{binlog_source, position},
    proto::query::{Field, QueryResult, Row},
    sidecar::{
        fused,
        json_rows::{self, Form},
        name::SqlName,
        statement,
    },
    words::says_error,
};

/// Types of `query.Type` that are numbers or times, by their flags and values. Source: `query.proto`.
const INTEGRAL: i32 = 256;
const FLOAT: i32 = 1024;
const TIMES: [i32; 4] = [2_061, 2_062, 2_063, 2_064];
const DECIMAL: i32 = 18;
const YEAR: i32 = 785;

/// Columns whose texts are names of things, whatever they are: requests name them, too.
const NAMES: &[&str] = &["db_name", "mysql_schema", "mysql_table", "table_name", "workflow"];

/// Columns whose texts are names of letters, digits and a few signs.
const PLAIN_NAMES: &[&str] = &[
    "cell",
    "component_throttled",
    "keyspace",
    "migration_context",
    "migration_uuid",
    "reverted_uuid",
    "shard",
    "tablet",
    "tablet_types",
    "uuid",
    "vdiff_uuid",
];

/// Columns whose texts are one of [`WORDS`].
const STATES: &[&str] =
    &["ddl_action", "migration_status", "state", "strategy", "table_state", "table_type", "type", "vdiff_state"];

/// States, kinds of log entries, strategies. Source: `go/vt/binlog/binlogplayer`, `go/vt/vttablet/tabletmanager/vreplication/utils.go`,
/// `go/vt/schema`, `go/vt/vttablet/tabletmanager/vdiff`.
const WORDS: &[&str] = &[
    "Unknown",
    "BASE TABLE",
    "VIEW",
    "Init",
    "Stopped",
    "Copying",
    "Running",
    "Error",
    "Lagging",
    "Stream Created",
    "Stream Deleted",
    "State Changed",
    "Started Copy Phase",
    "Ended Copy Phase",
    "Message",
    "pending",
    "started",
    "stopped",
    "completed",
    "error",
    "unknown",
    "requested",
    "cancelled",
    "queued",
    "ready",
    "running",
    "complete",
    "failed",
    "create",
    "alter",
    "drop",
    "revert",
    "direct",
    "vitess",
    "online",
    "mysql",
    "gh-ost",
    "pt-osc",
];

/// Texts within a source that are names. Of the rest (filters, conversions) nothing is needed.
const NAMES_OF_A_SOURCE: &[&str] =
    &["keyspace", "shard", "match", "tables", "external_cluster", "external_mysql", "source_time_zone", "target_time_zone"];

/// What streams say that are stopped for a change of traffic. Source: `go/vt/vtctl/workflow/traffic_switcher.go`, `stream_migrator.go`.
const CUTOVER: &[&str] = &["stopped for cutover", "for cutover", "synchronizing for cutover"];

/// Fields of a journal, and values that are words. Source: `binlogdata.proto:Journal`.
const OF_A_JOURNAL: &[&str] = &[
    "id",
    "migration_type",
    "TABLES",
    "SHARDS",
    "tables",
    "local_position",
    "shard_gtids",
    "keyspace",
    "shard",
    "gtid",
    "participants",
    "source_workflows",
];

/// Texts within JSON that are names.
const NAMES_IN_JSON: &[&str] = &["shards", "lookup_vindexes", "global_keyspace", "TableName"];

/// The rows without their texts. `is_persons`: of a statement of a person's, where a column is what its origin says, not its name.
pub(super) fn rows(mut result: QueryResult, is_persons: bool, hidden: &mut Hidden) -> QueryResult {
    let columns: Vec<(String, i32)> = result.fields.iter().map(|field| (column(field, is_persons), field.r#type)).collect();
    for row in &mut result.rows {
        let mut rest = row.values.as_slice();
        let mut after = Row::default();
        for (index, length) in row.lengths.iter().enumerate() {
            let Ok(length) = usize::try_from(*length) else {
                after.lengths.push(-1);
                continue;
            };
            let Some((value, tail)) = rest.split_at_checked(length) else {
                // A row that does not fit its bytes stays one.
                after.lengths.push(i64::MAX);
                continue;
            };
            rest = tail;
            let value = match columns.get(index) {
                Some((name, kind)) => value_of(name, *kind, value, hidden),
                None => hidden.text(value).into_bytes(),
            };
            after.lengths.push(i64::try_from(value.len()).unwrap_or(0));
            after.values.extend(value);
        }
        if !rest.is_empty() {
            after.values.push(b'?');
        }
        *row = after;
    }
    for field in &mut result.fields {
        // A column without a name of its own is called by its expression, which may have a value in it.
        for name in [&mut field.name, &mut field.org_name, &mut field.table, &mut field.org_table] {
            let text = String::from_utf8_lossy(name);
            if SqlName::parse(&text).is_err() {
                *name = hidden.text(name).into_bytes();
            }
        }
    }
    result.info.clear();
    result.session_state_changes.clear();
    result
}

/// Which column it is; empty if that is not known.
fn column(field: &Field, is_persons: bool) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // A name in another case is the same column.
    text(if is_persons { &field.org_name } else { &field.name }).to_ascii_lowercase()
}

/// What of a value of this column may be shown.
pub(super) fn value_of(column: &str, kind: i32, value: &[u8], hidden: &mut Hidden) -> Vec<u8> {
    if value.is_empty() {
        return Vec::new();
    }
    let is_number = kind & INTEGRAL != 0 || kind & FLOAT != 0 || kind == DECIMAL || kind == YEAR;
    let is_all = |is_it: fn(u8) -> bool| value.iter().all(|byte| is_it(*byte));
    let is_kept = match column {
        _ if is_number => is_all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)),
        _ if TIMES.contains(&kind) || column.ends_with("_at") || column.ends_with("_timestamp") => {
            is_all(|byte| byte.is_ascii_digit() || b":-. T".contains(&byte))
        }
        _ if NAMES.contains(&column) => true,
        _ if PLAIN_NAMES.contains(&column) => is_all(|byte| byte.is_ascii_alphanumeric() || b"_-.,:".contains(&byte)),
        _ if STATES.contains(&column) => WORDS.iter().any(|word| word.as_bytes() == value),
        "pos" | "stop_pos" => position::decode(value).is_ok(),
        "@@global.gtid_purged" => position::decode(&[b"MySQL56/", value].concat()).is_ok(),
        // A stream whose traffic has been switched, or is being, is told by it.
        "message" => value.eq_ignore_ascii_case(b"FROZEN") || CUTOVER.iter().any(|text| text.as_bytes() == value),
        "val" => std::str::from_utf8(value).is_ok_and(is_journal),
        _ => false,
    };
    if is_kept {
        return value.to_vec();
    }
    let text = std::str::from_utf8(value);
    let replaced = match (column, text) {
        ("source", Ok(text)) => source(text, hidden),
        ("options" | "report", Ok(text)) => json(text, hidden),
        (statement::COPY_STATES, Ok(text)) => rows_in_json(text, fused::COPY_STATES, hidden),
        (statement::LOGS, Ok(text)) => rows_in_json(text, fused::LOGS, hidden),
        // A stream's state is told from its message, too.
        ("message", Ok(text)) if says_error(text) => Some(hidden.text_about(value, "error")),
        _ => None,
    };
    replaced.unwrap_or_else(|| hidden.text(value)).into_bytes()
}

/// Whether it is the text of a journal and nothing else: names and positions.
fn is_journal(text: &str) -> bool {
    // Outside of quotes there are only fields. No name or position has a quote in it.
    let outside = text.split('"').step_by(2);
    let is_word = |word: &str| word.is_empty() || word.bytes().all(|byte| byte.is_ascii_digit()) || OF_A_JOURNAL.contains(&word);
    outside.into_iter().all(|part| part.split([':', ' ', '{', '}']).all(is_word))
}

/// The text of a `BinlogSource` with every text in it replaced but for names; `None`: it is no such text.
fn source(text: &str, hidden: &mut Hidden) -> Option<String> {
    binlog_source::parse(text.as_bytes()).ok()?;
    let (mut out, mut field, mut rest) = (String::new(), String::new(), text);
    while let Some(at) = rest.find(['"', '\'', '#']) {
        let (before, from) = rest.split_at_checked(at)?;
        out.push_str(before);
        let name = before.trim_end().trim_end_matches([':', '[', ',']).trim_end();
        let start = name.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
        // Further texts of a list have no name in front.
        if let Some(found) = name.get(start..).filter(|found| !found.is_empty()) {
            found.clone_into(&mut field);
        }
        let quote = from.chars().next()?;
        if quote == '#' {
            // A comment.
            rest = from.find('\n').and_then(|end| from.get(end..)).unwrap_or("");
            continue;
        }
        let mut is_escaped = false;
        let (end, _) = from.char_indices().skip(1).find(|(_, c)| {
            let is_end = *c == quote && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_end
        })?;
        let (value, tail) = from.split_at_checked(end + 1)?;
        let inside = value.get(1..end)?;
        let is_range = inside.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') && inside.len() <= 64;
        let is_kept = NAMES_OF_A_SOURCE.contains(&field.as_str()) || field == "filter" && (inside == "exclude" || is_range);
        if is_kept {
            out.push_str(value);
        } else {
            out.extend([quote.to_string(), hidden.text(inside.as_bytes()), quote.to_string()]);
        }
        rest = tail;
    }
    out.push_str(rest);
    binlog_source::parse(out.as_bytes()).ok().map(|_| out)
}

/// Rows that stand as JSON in a value, each of their values as one of its own column; `None`: they are none.
fn rows_in_json(text: &str, columns: json_rows::Columns, hidden: &mut Hidden) -> Option<String> {
    use serde_json::Value;
    /// `query.Type` VARBINARY.
    const BYTES: i32 = 10_262;
    let columns: Vec<_> = columns.iter().filter(|(_, form)| *form != Form::Given).collect();
    let (count, mut rows): (u64, Option<Vec<Vec<Value>>>) = serde_json::from_str(text).ok()?;
    for row in rows.iter_mut().flatten() {
        if row.len() != columns.len() {
            return None;
        }
        for (value, (name, form)) in row.iter_mut().zip(&columns) {
            match (value, form) {
                (Value::Null, _) | (Value::Number(_), Form::Integer) => {}
                (Value::String(digits), Form::Hex) => {
                    let mut bytes = Vec::new();
                    json_rows::from_hex(digits.as_bytes(), &mut bytes)?;
                    digits.clear();
                    for byte in value_of(name, BYTES, &bytes, hidden) {
                        write!(digits, "{byte:02X}").ok()?;
                    }
                }
                (Value::String(text), Form::Text) => {
                    *text = String::from_utf8(value_of(name, BYTES, text.as_bytes(), hidden)).ok()?;
                }
                _ => return None,
            }
        }
    }
    serde_json::to_string(&(count, rows)).ok()
}

/// JSON with every text in it replaced but for names; `None`: it is none.
fn json(text: &str, hidden: &mut Hidden) -> Option<String> {
    let mut value: serde_json::Value = serde_json::from_str(text).ok()?;
    hide(&mut value, "", hidden);
    Some(value.to_string())
}

fn hide(value: &mut serde_json::Value, key: &str, hidden: &mut Hidden) {
    use serde_json::Value;
    match value {
        Value::String(text) if !NAMES_IN_JSON.contains(&key) => *text = hidden.text(text.as_bytes()),
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, key, hidden)),
        Value::Object(entries) => {
            let all = std::mem::take(entries);
            for (name, mut value) in all {
                hide(&mut value, &name, hidden);
                let is_name = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
                entries.insert(if is_name { name } else { hidden.text(name.as_bytes()) }, value);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[(&str, i32)], values: &[Option<&str>]) -> QueryResult {
        let mut row = Row::default();
        for value in values {
            row.lengths.push(value.map_or(-1, |value| i64::try_from(value.len()).unwrap_or(0)));
            row.values.extend(value.unwrap_or_default().as_bytes());
        }
        let field = |(name, kind): &(&str, i32)| Field { name: (*name).into(), r#type: *kind, ..Field::default() };
        QueryResult { fields: columns.iter().map(field).collect(), rows: vec![row], ..QueryResult::default() }
    }

    #[test]
    fn structure_stays_and_texts_go() {
        let columns =
            [("id", 265), ("workflow", 10_262), ("message", 6_163), ("lastpk", 10_262), ("time_updated", 265), ("report", 2_078)];
        let values = [Some("7"), Some("wf"), Some("Duplicate 'bob'"), None, Some("99"), Some(r#"{"a":1,"b":"bob"}"#)];
        let row = rows(row(&columns, &values), false, &mut Hidden::default()).rows.remove(0);
        assert_eq!(String::from_utf8_lossy(&row.values), r#"7wf(redacted 1)99{"a":1,"b":"(redacted 2)"}"#);
        assert_eq!(row.lengths, [1, 2, 12, -1, 2, 26]);
    }

    #[test]
    fn a_journal_stays_and_what_is_none_goes() {
        let journal = "id:7 migration_type:SHARDS tables:\"/.*\" local_position:\"MySQL56/a:1-5\" shard_gtids:{keyspace:\"c\" shard:\"-80\" \
                       gtid:\"MySQL56/b:1\"} participants:{keyspace:\"c\" shard:\"0\"} source_workflows:\"w\"";
        for text in [journal, "id:7"] {
            assert!(is_journal(text), "{text}");
        }
        for text in ["my secret", "id:7 secret:\"x\"", "tables:'x'"] {
            assert!(!is_journal(text), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_not_what_its_column_is_for_goes() {
        for (column, kind, value, want) in [
            ("state", 10_262, "Running", "Running"),
            ("state", 10_262, "bob", "(redacted 1)"),
            ("id", 265, "12", "12"),
            ("id", 265, "bob", "(redacted 1)"),
            ("created_at", 2_061, "2026-01-02 03:04:05", "2026-01-02 03:04:05"),
            ("created_at", 2_061, "bob", "(redacted 1)"),
            ("a year", 785, "2026", "2026"),
            ("a decimal", 18, "-1.50", "-1.50"),
            ("a float", 1_036, "1e-5", "1e-5"),
            ("a time", 2_064, "03:04:05", "03:04:05"),
            ("completed_at", 10_262, "2026-01-02 03:04:05", "2026-01-02 03:04:05"),
            ("ready_timestamp", 10_262, "2026-01-02 03:04:05", "2026-01-02 03:04:05"),
            ("ready_timestamp", 10_262, "bob", "(redacted 1)"),
            (
                "source",
                10_262,
                r#"keyspace:"ks" external_mysql:"my" key_range:{start:"bob"}"#,
                r#"keyspace:"ks" external_mysql:"my" key_range:{start:"(redacted 1)"}"#,
            ),
            (
                "report",
                2_078,
                r#"{"Diffs":["bob",["bob"],{"a":"al"}]}"#,
                r#"{"Diffs":["(redacted 1)",["(redacted 1)"],{"a":"(redacted 2)"}]}"#,
            ),
            ("cell", 10_262, "zone1,zone2", "zone1,zone2"),
            ("cell", 10_262, "bob's", "(redacted 1)"),
            ("pos", 10_262, "FilePos/binlog.000001:4", "FilePos/binlog.000001:4"),
            ("pos", 10_262, "bob", "(redacted 1)"),
            (
                "@@global.gtid_purged",
                6_165,
                "14b68925-696a-11ea-aee7-fec597a91f5e:1-3,\n24b68925-696a-11ea-aee7-fec597a91f5e:1",
                "14b68925-696a-11ea-aee7-fec597a91f5e:1-3,\n24b68925-696a-11ea-aee7-fec597a91f5e:1",
            ),
            ("@@global.gtid_purged", 6_165, "bob", "(redacted 1)"),
            ("message", 10_262, "FROZEN", "FROZEN"),
            ("message", 10_262, "an Error of bob", "(redacted 1: error)"),
            ("options", 2_078, "not JSON", "(redacted 1)"),
            (
                "options",
                2_078,
                r#"{"config":{"a-b":"bob"},"shards":["-80"]}"#,
                r#"{"config":{"a-b":"(redacted 1)"},"shards":["-80"]}"#,
            ),
            ("options", 2_078, r#"{"bob smith":null}"#, r#"{"(redacted 1)":null}"#),
            ("anything else", 10_262, "bob", "(redacted 1)"),
            ("tags", 10_262, "bob", "(redacted 1)"),
            ("stage", 10_262, "", ""),
        ] {
            let got = value_of(column, kind, value.as_bytes(), &mut Hidden::default());
            assert_eq!(String::from_utf8_lossy(&got), want, "{column} {value}");
        }
    }

    #[test]
    fn what_a_person_calls_a_column_is_not_what_it_is() {
        let mut result =
            row(&[("workflow", 6_163), ("state", 6_163), ("concat('bob')", 6_163)], &[Some("bob"), Some("Running"), Some("bob")]);
        result.fields[1].org_name = b"state".to_vec();
        let result = rows(result, true, &mut Hidden::default());
        assert_eq!(String::from_utf8_lossy(&result.rows[0].values), "(redacted 1)Running(redacted 1)");
        assert_eq!(String::from_utf8_lossy(&result.fields[2].name), "(redacted 2)");
    }

    #[test]
    fn only_names_stay_in_a_source() {
        let text = r#"keyspace:"a" shard:"0" filter:{rules:{match:"t" filter:"select * from t where x = 'a\"b' and y"} rules:{match:"u" filter: '-80'} rules:{match:"v" filter:"exclude"}} on_ddl:STOP tables:["x", "y"]"#;
        let want = r#"keyspace:"a" shard:"0" filter:{rules:{match:"t" filter:"(redacted 1)"} rules:{match:"u" filter: '-80'} rules:{match:"v" filter:"exclude"}} on_ddl:STOP tables:["x", "y"]"#;
        assert_eq!(source(text, &mut Hidden::default()).as_deref(), Some(want));
        assert_eq!(source("filter:\"no end", &mut Hidden::default()), None);
        let value = value_of("source", 10_262, b"\xffbob", &mut Hidden::default());
        assert_eq!(value, b"(redacted 1)");
    }
}
