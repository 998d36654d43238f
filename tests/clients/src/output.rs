//! What a client printed, in a form that can be compared: without what differs from one run to the next of the same program against
//! the same server.

use serde_json::Value;

use crate::client::Ran;

/// One run of a client, normalized.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The exit code.
    pub exit: i32,
    /// What was printed.
    pub body: Body,
    /// The log's messages, without the usage that stands in front of some.
    pub stderr: String,
}

/// Standard output.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A JSON document.
    Json(Value),
    /// Anything else, in lines.
    Text(Vec<String>),
}

/// Lags are counted to the moment of the request.
const OF_THE_MOMENT: &[&str] = &[
    "max_v_replication_lag",
    "max_v_replication_transaction_lag",
    "MaxVReplicationLag",
    "MaxVReplicationTransactionLag",
    "TotalTimeSpent",
];

impl Output {
    /// Of a run: lags are gone, and what vtctld sends in random order is sorted.
    pub fn of(ran: &Ran) -> Self {
        let body = match serde_json::from_str::<Value>(&ran.stdout) {
            Ok(mut value) if value.is_object() || value.is_array() => {
                normalize(&mut value);
                Body::Json(value)
            }
            _ => table(&ran.stdout).map_or_else(|| Body::Text(text(&ran.stdout)), Body::Json),
        };
        let stderr = ran.stderr.trim();
        // The usage's text is the client's own; behind it stands what was wrong.
        let is_usage = stderr.starts_with("<usage>") || stderr.contains("Usage:");
        let stderr = if is_usage { stderr.lines().last().unwrap_or_default() } else { stderr };
        Self { exit: ran.exit, body, stderr: sorted_parts(&without_lag(stderr)) }
    }

    /// Without what belongs to the place where a recorded cluster runs now: ports of tablets, and versions of records.
    pub fn without_place(&mut self) {
        fn walk(value: &mut Value) {
            match value {
                Value::Object(fields) => {
                    for (name, field) in fields.iter_mut() {
                        if ["grpc", "vt"].contains(&name.as_str()) && field.is_number() {
                            *field = Value::from("a port");
                        } else if name == "version" && field.as_str().is_some_and(|text| text.parse::<u64>().is_ok()) {
                            *field = Value::from("a version");
                        } else {
                            walk(field);
                        }
                    }
                }
                Value::Array(items) => items.iter_mut().for_each(walk),
                _ => {}
            }
        }
        match &mut self.body {
            Body::Json(value) => walk(value),
            Body::Text(lines) => {
                for line in lines {
                    let words = line.split(' ').map(|word| match word.strip_prefix("127.0.0.1:") {
                        Some(port) if port.parse::<u16>().is_ok() => "127.0.0.1:port",
                        _ => word,
                    });
                    *line = words.collect::<Vec<_>>().join(" ");
                }
            }
        }
    }

    /// Without what a running stream writes all the time. A cluster that was saved while its streams ran is some seconds older, or
    /// younger, than what a client printed of it.
    pub fn without_heartbeats(&mut self) {
        fn walk(value: &mut Value) {
            match value {
                Value::Object(fields) => {
                    fields.retain(|name, _| !["time_updated", "transaction_timestamp", "position"].contains(&name.as_str()));
                    fields.values_mut().for_each(walk);
                }
                Value::Array(items) => items.iter_mut().for_each(walk),
                _ => {}
            }
        }
        if let Body::Json(value) = &mut self.body {
            walk(value);
        }
    }

    /// The first line that is not the same on both sides, ours in front; `None` if there is none.
    pub fn difference(&self, theirs: &Self) -> Option<String> {
        if self.exit != theirs.exit {
            return Some(format!("exit {} {:?}, not {} {:?}", self.exit, self.stderr, theirs.exit, theirs.stderr));
        }
        if self.stderr != theirs.stderr {
            return Some(first_difference(&lines(&self.stderr), &lines(&theirs.stderr)));
        }
        (self.body != theirs.body).then(|| first_difference(&self.body.lines(), &theirs.body.lines()))
    }
}

impl Body {
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Json(value) => serde_json::to_string_pretty(value).as_deref().map(lines).unwrap_or_default(),
            Self::Text(lines) => lines.clone(),
        }
    }
}

/// What a refusal says of a lag.
fn without_lag(text: &str) -> String {
    const SAYS: &str = "replication lag ";
    let Some((before, rest)) = text.split_once(SAYS) else { return text.to_owned() };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    format!("{before}{SAYS}so many {}", &rest[digits..])
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// A text's lines: those that stand for a stream or a tablet in one order, and a usage's text, which is the client's own, cut off.
fn text(stdout: &str) -> Vec<String> {
    let is_usage = |line: &&str| line.starts_with("Usage:") || line.starts_with("<usage>");
    let mut lines: Vec<String> =
        stdout.lines().take_while(|line| !is_usage(line)).map(|line| line.trim_end().to_owned()).collect();
    let is_tablet =
        |line: &String| line.split(' ').next().is_some_and(|word| word.rsplit('-').next().is_some_and(|uid| uid.len() == 10));
    for is_one in [&(|line: &String| line.starts_with("id=")) as &dyn Fn(&String) -> bool, &is_tablet] {
        let mut sorted: Vec<String> = lines.iter().filter(|line| is_one(line)).cloned().collect();
        sorted.sort();
        let mut sorted = sorted.into_iter();
        for line in lines.iter_mut().filter(|line| is_one(line)) {
            *line = sorted.next().unwrap_or_default();
        }
    }
    lines
}

/// A table as a list of rows, its cells by their headings: widths depend on what is in it. Rows stand by shard. `None` for what is no
/// table.
fn table(stdout: &str) -> Option<Value> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let mut lines = stdout.lines().skip_while(|line| line.trim().is_empty());
    lines.next().filter(|line| line.starts_with("+-"))?;
    let headings = cells(lines.next()?)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in lines {
        let Some(cells) = cells(line) else { continue };
        match rows.last_mut() {
            // A long text goes on in the next line, where the first cell is empty.
            Some(row) if cells.first().is_some_and(String::is_empty) => {
                row.iter_mut()
                    .zip(&cells)
                    .filter(|(_, more)| !more.is_empty())
                    .for_each(|(cell, more)| cell.extend([" ", more.as_str()]));
            }
            _ => rows.push(cells),
        }
    }
    let row = |row: Vec<String>| {
        // A cell with a bar in it would shift the others: such a row stays as it is.
        let names = headings.iter().cloned().chain((headings.len()..).map(|at| at.to_string()));
        Value::Object(names.zip(row.into_iter().map(Value::from)).collect())
    };
    let mut rows: Vec<Value> = rows.into_iter().map(row).collect();
    let shard = |row: &Value| {
        row.as_object().and_then(|row| Some(row.iter().find(|(name, _)| name.eq_ignore_ascii_case("shard"))?.1.to_string()))
    };
    rows.sort_by_key(|row| (shard(row).is_none(), shard(row)));
    Some(Value::from(rows))
}

fn first_difference(ours: &[String], theirs: &[String]) -> String {
    let at = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs).unwrap_or(ours.len().min(theirs.len()));
    let line = |lines: &[String]| lines.get(at).map_or_else(|| "(the end)".to_owned(), |line| shortened(line.trim()));
    format!("line {}: {}, not {}", at + 1, line(ours), line(theirs))
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= 240 { line.to_owned() } else { line.chars().take(240).chain("…".chars()).collect() }
}

/// An error that several tablets have a part in has a line of each, in the order in which they answered.
fn sorted_parts(stderr: &str) -> String {
    let (prefix, text) = match stderr.split_once(" desc = ") {
        Some((prefix, text)) => (format!("{prefix} desc = "), text),
        None => (String::new(), stderr),
    };
    let mut parts: Vec<&str> = text.lines().collect();
    parts.sort_unstable();
    prefix + &parts.join("\n")
}

/// Lags out, and lists that vtctld makes of maps or of several answers in one order.
fn normalize(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_THE_MOMENT.contains(&name.as_str()));
            for (name, field) in fields.iter_mut() {
                normalize(field);
                let Value::Array(items) = field else { continue };
                match name.as_str() {
                    "workflows" => items.sort_by_key(|workflow| workflow["name"].to_string()),
                    // Within a shard the order is the request's.
                    "migrations" => items.sort_by_key(|migration| migration["shard"].to_string()),
                    "tablets" | "details" => {
                        items.sort_by_key(|tablet| tablet["tablet"].to_string() + &tablet["alias"].to_string());
                    }
                    "shards" | "names" | "rules" => items.sort_by_key(Value::to_string),
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(normalize);
            if items.iter().all(Value::is_string) {
                items.sort_by_key(Value::to_string);
            } else if items.iter().all(|item| item["alias"].is_object()) {
                items.sort_by_key(|tablet| tablet["alias"].to_string());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stdout: &str, stderr: &str) -> Output {
        Output::of(&Ran { exit: 0, stdout: stdout.to_owned(), stderr: stderr.to_owned() })
    }

    #[test]
    fn order_and_lags_are_no_difference() {
        let ours = output(r#"{"workflows":[{"name":"a","max_v_replication_lag":"1"},{"name":"b"}]}"#, "");
        let theirs = output(r#"{"workflows":[{"name":"b"},{"name":"a","max_v_replication_lag":"9"}]}"#, "");
        assert_eq!(ours.difference(&theirs), None);
    }

    #[test]
    fn the_first_line_that_differs_is_named() {
        let (ours, theirs) = (output("{\"a\": 1,\n\"b\": 2}", ""), output("{\"a\": 1, \"b\": 3}", ""));
        assert_eq!(ours.difference(&theirs).as_deref(), Some(r#"line 3: "b": 2, not "b": 3"#));
        assert_eq!(output("one\ntwo", "").difference(&output("one", "")).as_deref(), Some("line 2: two, not (the end)"));
    }

    #[test]
    fn a_table_is_its_cells() {
        let narrow = "+---+-------+\n| a | shard |\n+---+-------+\n| 2 | 80-   |\n|   | more  |\n| 1 | -80   |\n+---+-------+\n";
        let wide = "+-----+-------+\n|  a  | shard |\n+-----+-------+\n| 1   | -80   |\n| 2   | 80-   |\n|     | more  |\n+-----+-------+\n";
        assert_eq!(output(narrow, ""), output(wide, ""));
        assert_ne!(output(narrow, ""), output(&wide.replace('2', "3"), ""));
    }

    #[test]
    fn the_end_of_a_usage_is_compared() {
        assert_eq!(
            output("", "<usage>\nunknown flag: --x").difference(&output("", "Usage:\n  y [flags]\n\nunknown flag: --x")),
            None
        );
    }
}
