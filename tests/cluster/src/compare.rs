//! Whether two programs said the same, apart from times, positions and order.

use serde_json::Value;

use crate::tools::Ran;

/// Fields whose value is another one a moment later. What is left of them is whether there is one.
const MOMENTARY: [&str; 8] = [
    "liveness_timestamp",
    "position",
    "progress",
    "time_heartbeat",
    "time_updated",
    "transaction_timestamp",
    "updated_at",
    "vitess_liveness_indicator",
];

/// Fields that say how long ago something was: 0 now, and something a moment later.
const LAGS: [&str; 2] = ["max_v_replication_lag", "max_v_replication_transaction_lag"];

/// What differs between two runs of a command, in words; `None` if nothing does.
///
/// The error text counts as far as a person sees it: vtctldclient logs it as JSON with times and places in its source.
pub(crate) fn difference(theirs: &Ran, ours: &Ran) -> Option<String> {
    if theirs.code != ours.code {
        return Some(format!("exit codes {:?} and {:?}\n{}\n{}", theirs.code, ours.code, theirs.report(), ours.report()));
    }
    let [their_error, our_error] = [theirs, ours].map(|ran| error_lines(&ran.stderr));
    if their_error != our_error {
        return Some(format!("error texts\n  theirs {their_error:?}\n  ours   {our_error:?}"));
    }
    texts(&theirs.stdout, &ours.stdout)
}

/// What differs between two outputs, JSON or not.
pub(crate) fn texts(theirs: &str, ours: &str) -> Option<String> {
    if let (Ok(theirs), Ok(ours)) = (serde_json::from_str(theirs), serde_json::from_str(ours)) {
        return values(theirs, ours);
    }
    let [theirs, ours] = [theirs, ours].map(lines);
    let missing = theirs.iter().filter(|line| !ours.contains(line)).map(|line| format!("  theirs {line}"));
    let more = ours.iter().filter(|line| !theirs.contains(line)).map(|line| format!("  ours   {line}"));
    let different: Vec<String> = missing.chain(more).collect();
    (theirs != ours).then(|| format!("lines\n{}", different.join("\n")))
}

/// What differs between two values of JSON, at the first place where it does.
pub(crate) fn values(mut theirs: Value, mut ours: Value) -> Option<String> {
    settle(&mut theirs);
    settle(&mut ours);
    first_difference("", &theirs, &ours)
}

/// Takes out what is momentary, and `cancelled_at`, which vtctld never knows (a row of `docs/compat.md`), and puts lists into an order that depends on their content alone.
fn settle(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("cancelled_at");
            for (name, field) in fields {
                settle(field);
                if name == "info"
                    && let Some(info) = field.as_str()
                {
                    *field = Value::from(info_without_moments(info));
                }
                if LAGS.contains(&name.as_str()) || MOMENTARY.contains(&name.as_str()) && !is_nothing(field) {
                    *field = Value::from("…");
                }
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(settle);
            items.sort_by_cached_key(Value::to_string);
        }
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.is_empty() || text == "0")
}

fn first_difference(place: &str, theirs: &Value, ours: &Value) -> Option<String> {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) => {
            let names = left.keys().chain(right.keys().filter(|name| !left.contains_key(*name)));
            names.into_iter().find_map(|name| {
                let get = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::from("(absent)"));
                first_difference(&format!("{place}.{name}"), &get(left), &get(right))
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .enumerate()
            .find_map(|(index, (left, right))| first_difference(&format!("{place}[{index}]"), left, right)),
        _ if theirs == ours => None,
        _ => Some(format!("{place}\n  theirs {theirs}\n  ours   {ours}")),
    }
}

/// Lines in an order of their own, without what depends on the moment.
fn lines(text: &str) -> Vec<String> {
    let heading = text.lines().find(|line| line.starts_with("| "));
    let column = |name: &str| heading?.split('|').position(|cell| cell.trim() == name);
    let momentary: Vec<usize> = MOMENTARY.iter().chain(&["cancelled_timestamp"]).filter_map(|name| column(name)).collect();
    let without = |line: &str| {
        if !line.starts_with("| ") {
            return without_moments(line);
        }
        // A cell is as wide as the widest of its column.
        let cells = line.split('|').enumerate().filter(|(index, _)| !momentary.contains(index)).map(|(_, cell)| cell.trim());
        cells.collect::<Vec<_>>().join("|")
    };
    let is_ruler = |line: &&str| line.starts_with("+-");
    let mut lines: Vec<String> = text.lines().filter(|line| !is_ruler(line)).map(without).collect();
    lines.sort();
    lines
}

/// A line of `status` without how long ago something was.
fn without_moments(line: &str) -> String {
    let Some((start, info)) = line.split_once(": Status: ") else { return line.trim_end().to_owned() };
    let (status, info) = info.split_once(". ").unwrap_or((info, ""));
    format!("{start}: Status: {status}. {}", info_without_moments(info.trim_end_matches('.')))
}

/// What `status` says of a stream, without the three parts that are rows of `docs/compat.md`: vtctld never knows the lag.
fn info_without_moments(info: &str) -> String {
    let is_moment = |part: &str| {
        let starts = ["VStream Lag: ", "Tx time: ", "VStream may not be running"];
        part.is_empty() || starts.iter().any(|start| part.starts_with(start))
    };
    info.split(';').map(str::trim).filter(|part| !is_moment(part)).collect::<Vec<_>>().join("; ")
}

/// What a person is told on the standard error: the texts of lines that are logged as JSON, the others as they are.
pub(crate) fn error_text(stderr: &str) -> String {
    let text = |line: &str| {
        let logged: Option<Value> = serde_json::from_str(line).ok();
        logged.and_then(|logged| logged.get("msg")?.as_str().map(str::to_owned)).unwrap_or_else(|| line.to_owned())
    };
    stderr.lines().map(text).collect::<Vec<_>>().join("\n")
}

/// An error text, line by line, without what vtctld's client library puts in front and without the place that vtflow does: which
/// shard it was is a row of `docs/compat.md`.
fn error_lines(stderr: &str) -> Vec<String> {
    let bare = |line: &str| {
        let line = line.replace("rpc error: code = Unknown desc = ", "");
        let named = line.split_once(": TabletManager.").filter(|(place, _)| place.split(' ').count() == 3 && place.contains('/'));
        named.map_or(line.clone(), |(_, text)| format!("TabletManager.{text}"))
    };
    let mut lines: Vec<String> = error_text(stderr).lines().map(bare).collect();
    lines.sort();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_times_and_positions_do_not_count_and_everything_else_does() {
        let theirs = r#"{"streams":[{"state":"Running","position":"a:1-3","shard":"-80"},{"shard":"80-","state":"Copying","position":"x"}]}"#;
        let ours = r#"{"streams":[{"shard":"80-","state":"Copying","position":"y"},{"state":"Running","position":"a:1-4","shard":"-80"}]}"#;
        assert_eq!(texts(theirs, ours), None);
        let difference = texts(theirs, &ours.replace("Copying", "Running")).expect("another state");
        assert!(difference.contains("state"), "{difference}");
        let json = |lag: u32, info: &str| format!(r#"{{"max_v_replication_lag":"{lag}","info":"{info}"}}"#);
        assert_eq!(texts(&json(0, "VStream Lag: -1s; ; Tx time: Sun."), &json(3, "VStream Lag: 3s; Tx time: Sun.")), None);
        let difference = texts(theirs, &ours.replace(r#""a:1-4""#, r#""""#)).expect("a position that is missing");
        assert!(difference.contains("position"), "{difference}");
    }

    #[test]
    fn error_texts_differ_by_what_the_tablets_say() {
        let theirs = r#"{"level":"ERROR","msg":"rpc error: code = Unknown desc = rpc error: code = Unknown desc = TabletManager.VDiff on b: no\nrpc error: code = Unknown desc = TabletManager.VDiff on a: no"}"#;
        let ours = r#"{"level":"ERROR","msg":"rpc error: code = Unknown desc = customer/-80 a move1: TabletManager.VDiff on a: no\ncustomer/80- b move1: TabletManager.VDiff on b: no"}"#;
        assert_eq!(error_lines(theirs), error_lines(ours));
        assert_ne!(error_lines(theirs), error_lines(&ours.replace("on b: no", "on b: yes")));
    }

    #[test]
    fn tables_differ_by_their_cells_and_not_by_their_widths() {
        let theirs = "+----+\n| uuid | cancelled_timestamp | status |\n+----+\n| a | | cancelled |";
        let ours = "+--------+\n| uuid | cancelled_timestamp | status    |\n+-----+\n| a    | 2026   | cancelled |";
        assert_eq!(texts(theirs, ours), None);
        assert!(texts(theirs, &ours.replace("cancelled |", "complete |")).is_some());
    }

    #[test]
    fn lines_of_a_status_differ_by_what_they_say_and_not_by_lags() {
        let theirs = "id=1 on customer/zone1-200: Status: Running. VStream Lag: -1s.\nTraffic State: Reads Not Switched";
        let ours =
            "Traffic State: Reads Not Switched\nid=1 on customer/zone1-200: Status: Running. VStream Lag: 3s; Tx time: Mon.";
        assert_eq!(texts(theirs, ours), None);
        assert!(texts(theirs, &ours.replace("Running", "Stopped")).is_some());
        assert!(texts(theirs, &ours.replace("; Tx", "; VStream has not started; Tx")).is_some());
    }
}
