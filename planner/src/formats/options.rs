//! Column `options`: the JSON of a workflow's options, put on top of what the workflow's earlier streams said.
//!
//! It has the semantics of Go's `encoding/json`, not those of protobuf JSON: keys in any case, enums as numbers only, unknown
//! keys ignored, maps merged. It must not know which stream comes first: the caller applies them in order.
//!
//! Facts: `go/vt/vtctl/workflow/workflow_fetcher.go` unmarshals into one struct for all streams, v20 to v24; the rules and
//! error texts were measured with Go 1.26.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{formats::RowError, proto::vtctldata::WorkflowOptions};

/// Applies one stream's text. An empty one changes nothing, `null` takes the options away, `{}` makes them present; what a
/// text does not mention stays; lists are replaced, `config` is merged.
///
/// # Errors
/// The text is no JSON, or a value is of another type than its key asks for. `into` is unchanged then.
pub fn apply(into: &mut Option<WorkflowOptions>, json: &str) -> Result<(), RowError> {
    if json.is_empty() {
        return Ok(());
    }
    let failed = |reason: String| RowError::new("options", reason, json.as_bytes());
    let value: Value = serde_json::from_str(json).map_err(|error| failed(malformed(&error, json)))?;
    let members = match value {
        Value::Null => {
            *into = None;
            return Ok(());
        }
        Value::Object(members) => members,
        other => {
            return Err(failed(format!(
                "json: cannot unmarshal {} into Go value of type vtctldata.WorkflowOptions",
                other.kind()
            )));
        }
    };
    let mut options = into.clone().unwrap_or_default();
    for (key, value) in members {
        let key: String = key.chars().map(fold).collect();
        match key.as_str() {
            "tenant_id" => set_text(&mut options.tenant_id, value, "tenant_id"),
            "sharded_auto_increment_handling" => set_handling(&mut options.sharded_auto_increment_handling, &value),
            "shards" => set_list(&mut options.shards, value, "shards"),
            "config" => merge(&mut options.config, value),
            "global_keyspace" => set_text(&mut options.global_keyspace, value, "global_keyspace"),
            "lookup_vindexes" => set_list(&mut options.lookup_vindexes, value, "lookup_vindexes"),
            _ => Ok(()),
        }
        .map_err(failed)?;
    }
    *into = Some(options);
    Ok(())
}

/// The case folding of Go's field names: two letters outside of ASCII fold to one inside.
fn fold(character: char) -> char {
    match character {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

fn set_text(into: &mut String, value: Value, field: &str) -> Result<(), String> {
    match value {
        Value::Null => {}
        Value::Text(text) => *into = text,
        other => return Err(mismatch(other.kind(), field, "string")),
    }
    Ok(())
}

fn set_handling(into: &mut i32, value: &Value) -> Result<(), String> {
    let wrong = |kind: &str| Err(mismatch(kind, "sharded_auto_increment_handling", "vtctldata.ShardedAutoIncrementHandling"));
    match value {
        Value::Null => {}
        Value::Number(number) => match number.as_i64().and_then(|number| i32::try_from(number).ok()) {
            Some(number) => *into = number,
            None => return wrong(&format!("number {number}")),
        },
        other => return wrong(other.kind()),
    }
    Ok(())
}

fn set_list(into: &mut Vec<String>, value: Value, field: &str) -> Result<(), String> {
    let values = match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values,
        other => return Err(mismatch(other.kind(), field, "[]string")),
    };
    // A null element keeps what was at its place, as Go decodes into the list that is there.
    into.resize(values.len(), String::new());
    into.iter_mut().zip(values).try_for_each(|(element, value)| set_text(element, value, field))
}

fn merge(into: &mut std::collections::BTreeMap<String, String>, value: Value) -> Result<(), String> {
    match value {
        Value::Null => into.clear(),
        Value::Object(members) => {
            for (key, value) in members {
                // Null is the empty text here, even for a key that had another.
                let mut text = String::new();
                set_text(&mut text, value, "config")?;
                into.insert(key, text);
            }
        }
        other => return Err(mismatch(other.kind(), "config", "map[string]string")),
    }
    Ok(())
}

fn mismatch(kind: &str, field: &str, wanted: &str) -> String {
    format!("json: cannot unmarshal {kind} into Go struct field WorkflowOptions.{field} of type {wanted}")
}

/// Go's words for what `serde_json` found.
fn malformed(error: &serde_json::Error, json: &str) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    // serde_json counts lines and columns from 1, columns in bytes.
    let line = json.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let character = line.as_bytes().get(error.column().saturating_sub(1)).copied().unwrap_or(b'\n');
    let text = error.to_string();
    for (ours, theirs) in [
        ("expected value", "looking for beginning of value"),
        ("trailing characters", "after top-level value"),
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("key must be a string", "looking for beginning of object key string"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
        ("expected ident", "in literal"),
    ] {
        if text.starts_with(ours) {
            return format!("invalid character {:?} {theirs}", char::from(character));
        }
    }
    text
}

/// A JSON value with the members of objects in the order of the text.
enum Value {
    Null,
    Bool,
    Number(serde_json::Number),
    Text(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Bool)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(texts: &[&str]) -> Result<Option<WorkflowOptions>, String> {
        let mut options = None;
        for text in texts {
            apply(&mut options, text).map_err(|error| error.reason)?;
        }
        Ok(options)
    }

    #[expect(clippy::unnecessary_wraps, reason = "the tables below compare with options that may be absent")]
    fn with(change: impl FnOnce(&mut WorkflowOptions)) -> Option<WorkflowOptions> {
        let mut options = WorkflowOptions::default();
        change(&mut options);
        Some(options)
    }

    fn config(pairs: &[(&str, &str)]) -> Option<WorkflowOptions> {
        with(|options| options.config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    fn shards(names: &[&str]) -> Option<WorkflowOptions> {
        with(|options| options.shards = names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The results are those of Go 1.26, GW-15 among them.
    #[test]
    fn streams_apply_one_after_the_other() {
        let tenant = |name: &str| with(|options| options.tenant_id = name.to_owned());
        for (texts, want) in [
            (&[""][..], None),
            (&["{}"], with(|_| ())),
            (&[r#"{"tenant_id":"1"}"#], tenant("1")),
            (&[r#"{"tenant_id":"1"}"#, ""], tenant("1")),
            (&[r#"{"tenant_id":"1"}"#, "{}"], tenant("1")),
            (&[r#"{"tenant_id":"1"}"#, r#"{"tenant_id":"2"}"#], tenant("2")),
            (&[r#"{"tenant_id":"1"}"#, r#"{"tenant_id":null}"#], tenant("1")),
            (&[r#"{"tenant_id":"1"}"#, "null"], None),
            (&[r#"{"tenant_id":"1"}"#, " null ", "{}"], with(|_| ())),
            (&[r#"{"TENANT_ID":"x","tenant_id":"y","Tenant_Id":"z"}"#], tenant("z")),
            (&[r#"{"unknown":{"a":[1,2.5,true,null]}}"#], with(|_| ())),
            (&[r#"{"sharded_auto_increment_handling": 2}"#], with(|options| options.sharded_auto_increment_handling = 2)),
            (&[r#"{"sharded_auto_increment_handling":-7}"#], with(|options| options.sharded_auto_increment_handling = -7)),
            (&[r#"{"shards":["a","b"]}"#, r#"{"shards":["c"]}"#], shards(&["c"])),
            (&[r#"{"shards":["a","b"]}"#, r#"{"shards":null}"#], shards(&[])),
            (&[r#"{"shards":["a","b"]}"#, r#"{"shards":[null]}"#], shards(&["a"])),
            (&["{\"\u{17f}hards\":[\"k\"]}"], shards(&["k"])),
            (&[r#"{"config":{"a":"1"}}"#, r#"{"config":{"b":"2"}}"#], config(&[("a", "1"), ("b", "2")])),
            (&[r#"{"config":{"a":"1"},"config":{"b":"2","a":"3"}}"#], config(&[("a", "3"), ("b", "2")])),
            (&[r#"{"config":{"a":"1"}}"#, r#"{"config":{"a":null}}"#], config(&[("a", "")])),
            (&[r#"{"config":{"a":"1"}}"#, r#"{"config":null}"#], config(&[])),
            (
                &["{\"global_keyspace\":\"g\",\"loo\u{212a}up_vindexes\":[\"v\"]}"],
                with(|options| {
                    options.global_keyspace = "g".to_owned();
                    options.lookup_vindexes = vec!["v".to_owned()];
                }),
            ),
        ] {
            assert_eq!(applied(texts), Ok(want), "{texts:?}");
        }
    }

    /// The texts were printed by Go 1.26.
    #[test]
    fn errors_are_those_of_go() {
        let of = |kind: &str, field: &str, wanted: &str| {
            format!("json: cannot unmarshal {kind} into Go struct field WorkflowOptions.{field} of type {wanted}")
        };
        let handling = ("sharded_auto_increment_handling", "vtctldata.ShardedAutoIncrementHandling");
        for (text, want) in [
            (r#"{"sharded_auto_increment_handling":"REPLACE"}"#, of("string", handling.0, handling.1)),
            (r#"{"sharded_auto_increment_handling":1.5}"#, of("number 1.5", handling.0, handling.1)),
            (r#"{"sharded_auto_increment_handling":2147483648}"#, of("number 2147483648", handling.0, handling.1)),
            (r#"{"sharded_auto_increment_handling":true}"#, of("bool", handling.0, handling.1)),
            (r#"{"tenant_id":1}"#, of("number", "tenant_id", "string")),
            (r#"{"tenant_id":{}}"#, of("object", "tenant_id", "string")),
            (r#"{"tenant_id":1,"config":5}"#, of("number", "tenant_id", "string")),
            (r#"{"shards":"a"}"#, of("string", "shards", "[]string")),
            (r#"{"shards":[1]}"#, of("number", "shards", "string")),
            (r#"{"config":[]}"#, of("array", "config", "map[string]string")),
            (r#"{"config":{"a":1}}"#, of("number", "config", "string")),
            (r#""x""#, "json: cannot unmarshal string into Go value of type vtctldata.WorkflowOptions".to_owned()),
            ("12", "json: cannot unmarshal number into Go value of type vtctldata.WorkflowOptions".to_owned()),
            (" ", "unexpected end of JSON input".to_owned()),
            ("{", "unexpected end of JSON input".to_owned()),
            (r#"{"a":1"#, "unexpected end of JSON input".to_owned()),
            (r#"{"a" 1}"#, "invalid character '1' after object key".to_owned()),
            (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair".to_owned()),
            ("{,}", "invalid character ',' looking for beginning of object key string".to_owned()),
            (r#"{"shards":["a" "b"]}"#, "invalid character '\"' after array element".to_owned()),
            ("{} x", "invalid character 'x' after top-level value".to_owned()),
            ("{'a':1}", "invalid character '\\'' looking for beginning of object key string".to_owned()),
            (r#"{"a":"\q"}"#, "invalid character 'q' in string escape code".to_owned()),
            ("pos", "invalid character 'p' looking for beginning of value".to_owned()),
            ("\n {\n\"a\":\nx}", "invalid character 'x' looking for beginning of value".to_owned()),
        ] {
            assert_eq!(applied(&[text]), Err(want), "{text}");
        }
    }

    #[test]
    fn an_error_changes_nothing_and_nesting_is_bounded() {
        let mut options = None;
        apply(&mut options, r#"{"tenant_id":"1"}"#).unwrap();
        let before = options.clone();
        assert!(apply(&mut options, r#"{"tenant_id":"2","shards":5}"#).is_err());
        assert!(apply(&mut options, &"[".repeat(100_000)).is_err());
        assert_eq!(options, before);
    }
}
