//! JSON as MySQL prints and changes it: `", "` and `": "` as separators, keys by length and then by bytes.

use std::fmt::Write as _;

use serde_json::Value;

/// A value as MySQL prints it.
pub(super) fn print(value: &Value) -> String {
    let mut out = String::new();
    print_into(value, &mut out);
    out
}

fn print_into(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => {
            let _ = write!(out, "{value}");
        }
        Value::String(value) => print_string(value, out),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                print_into(value, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut keys: Vec<&String> = entries.keys().collect();
            keys.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                print_string(key, out);
                out.push_str(": ");
                print_into(entries.get(key).unwrap_or(&Value::Null), out);
            }
            out.push('}');
        }
    }
}

fn print_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if (control as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// One step of a path such as `$.config."a-b"[0]`.
enum Step {
    Key(String),
    Index(usize),
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.trim().strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(".\"") {
            let end = after.find('"')?;
            steps.push(Step::Key(after.get(..end)?.to_owned()));
            rest = after.get(end + 1..)?;
        } else if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Key(after.get(..end)?.to_owned()));
            rest = after.get(end..)?;
        } else {
            let after = rest.strip_prefix('[')?;
            let end = after.find(']')?;
            steps.push(Step::Index(after.get(..end)?.trim().parse().ok()?));
            rest = after.get(end + 1..)?;
        }
    }
    Some(steps)
}

/// What the path names; `None` when there is no such thing or the path is not one.
pub(super) fn extract(document: &Value, path: &str) -> Option<Value> {
    let mut at = document;
    for step in steps(path)? {
        at = match step {
            Step::Key(key) => at.get(key)?,
            Step::Index(index) => at.get(index)?,
        };
    }
    Some(at.clone())
}

/// Sets what the path names, as `JSON_SET` does: the last step is added when it is missing, earlier ones are not.
/// False when the path is not one.
pub(super) fn set(document: &mut Value, path: &str, value: Value) -> bool {
    let Some(mut steps) = steps(path) else { return false };
    let Some(last) = steps.pop() else {
        *document = value;
        return true;
    };
    let Some(parent) = descend(document, &steps) else { return true };
    match (last, parent) {
        (Step::Key(key), Value::Object(entries)) => {
            entries.insert(key, value);
        }
        (Step::Index(index), Value::Array(values)) => match values.get_mut(index) {
            Some(place) => *place = value,
            None => values.push(value),
        },
        _ => {}
    }
    true
}

/// Removes what the path names, if it is there. False when the path is not one.
pub(super) fn remove(document: &mut Value, path: &str) -> bool {
    let Some(mut steps) = steps(path) else { return false };
    let Some(last) = steps.pop() else { return false };
    match (last, descend(document, &steps)) {
        (Step::Key(key), Some(Value::Object(entries))) => {
            entries.remove(&key);
        }
        (Step::Index(index), Some(Value::Array(values))) if index < values.len() => {
            values.remove(index);
        }
        _ => {}
    }
    true
}

fn descend<'a>(document: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    let mut at = document;
    for step in steps {
        at = match step {
            Step::Key(key) => at.get_mut(key)?,
            Step::Index(index) => at.get_mut(*index)?,
        };
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_by_length_then_bytes() {
        let value: Value = serde_json::from_str(r#"{"shards":["-80"],"tenant_id":"1","b":{},"a":null}"#).unwrap();
        assert_eq!(print(&value), r#"{"a": null, "b": {}, "shards": ["-80"], "tenant_id": "1"}"#);
    }

    #[test]
    fn set_and_remove_follow_quoted_paths() {
        let mut value: Value = serde_json::json!({});
        assert!(set(&mut value, "$.config", serde_json::json!({})));
        assert!(set(&mut value, "$.config.\"a-b\"", serde_json::json!("2")));
        assert_eq!(print(&value), r#"{"config": {"a-b": "2"}}"#);
        assert_eq!(extract(&value, "$.config.\"a-b\""), Some(serde_json::json!("2")));
        assert!(remove(&mut value, "$.config.\"a-b\""));
        assert!(remove(&mut value, "$.config.\"never there\""));
        assert_eq!(print(&value), r#"{"config": {}}"#);
        assert!(!set(&mut value, "config", Value::Null));
    }
}
