//! The log of a workflow: what happened, each thing once.
//!
//! Entries of all streams that say the same are one, also where they differ in what is other every time: a position, a number, a time, an
//! identifier. Which error it was (its number and state) is never one of these.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    health::age,
    words::{duration, message as shown, some},
};
use vtflow_planner::{
    contract::Timestamp,
    proto::vtctldata::workflow::{Stream, stream::Log},
};

/// Something that happened, perhaps more than once and on more than one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// How often.
    pub count: i64,
    /// Seconds since it last did; `None` when that is not known.
    pub last_seconds_ago: Option<i64>,
    /// The shards.
    pub shards: String,
    /// What happened, such as `State Changed: Error`.
    pub what: String,
    /// In the tablet's words, those of the last time, the begin of very long ones; empty when it said nothing that the rest does not.
    pub message: String,
}

impl LogLine {
    /// Such as `×17, last 3m ago`.
    pub fn times(&self) -> String {
        let ago = self.last_seconds_ago.map(|ago| format!("{} ago", duration(ago)));
        match (self.count, ago) {
            (1, Some(ago)) => ago,
            (1, None) => "when not known".into(),
            (count, Some(ago)) => format!("×{count}, last {ago}"),
            (count, None) => format!("×{count}, when not known"),
        }
    }
}

/// How many things that happened are shown.
const LOG_LINES: usize = 5;

/// What happened, the newest first. The last error is always among it.
pub(super) fn logs(streams: &[&Stream], now: Timestamp) -> Vec<LogLine> {
    #[derive(Default)]
    struct Group<'a> {
        count: i64,
        last: (i64, i64),
        message: String,
        is_error: bool,
        shards: BTreeSet<&'a str>,
    }
    let mut groups: BTreeMap<(String, String), Group<'_>> = BTreeMap::new();
    for stream in streams {
        for log in &stream.logs {
            let (what, message) = said(log);
            let is_error = log.state == "Error" || is_error(&message);
            let group = groups.entry((what, alike(&message))).or_default();
            group.count = group.count.saturating_add(log.count.max(1));
            group.is_error |= is_error;
            let time = [log.updated_at, log.created_at].into_iter().find(|time| age(*time, now).is_some()).flatten();
            let last = (time.map_or(0, |time| time.seconds), log.id);
            // Of two at the same time the same one is shown, whoever answered first.
            if (last, &message) >= (group.last, &group.message) {
                (group.last, group.message) = (last, message);
            }
            group.shards.insert(&stream.shard);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(a, x), (b, y)| y.last.cmp(&x.last).then_with(|| a.cmp(b)));
    if let Some(at) = groups.iter().position(|(_, group)| group.is_error).filter(|at| *at >= LOG_LINES) {
        groups.swap(LOG_LINES - 1, at);
    }
    let line = |((what, _), group): ((String, String), Group<'_>)| LogLine {
        count: group.count,
        last_seconds_ago: (group.last.0 > 0).then(|| now.seconds.saturating_sub(group.last.0).max(0)),
        shards: some(&group.shards.into_iter().collect::<Vec<_>>(), 3),
        what,
        message: shown(&group.message),
    };
    groups.into_iter().take(LOG_LINES).map(line).collect()
}

fn is_error(message: &str) -> bool {
    let message = message.to_lowercase();
    ["error", "errno", "code = "].iter().any(|part| message.contains(part)) && !message.starts_with("stopped at ")
}

/// What an entry says: a created stream's message is its whole row, and where a copy phase began differs from shard to shard.
fn said(log: &Log) -> (String, String) {
    let what = match log.r#type.as_str() {
        "State Changed" => format!("{} to {}", log.r#type, log.state),
        kind => kind.to_owned(),
    };
    let message = if log.message.starts_with('{') { "" } else { &log.message };
    let message = message.split_once(" at gtid ").map_or(message, |(before, _)| before);
    (what, message.to_owned())
}

/// The message without what is other every time: words that begin with a digit, identifiers, and positions with all their intervals.
fn alike(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(c) = rest.chars().next() {
        let is_inside = out.chars().next_back().is_some_and(is_word);
        if let Some(after) = rest.get(..36).filter(|text| !is_inside && is_uuid(text)).and_then(|_| rest.get(36..)) {
            out.push('#');
            rest = after.trim_start_matches(|c: char| is_word(c) || matches!(c, ':' | ',' | '-'));
        } else if is_word(c) {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let names_error = ["errno ", "sqlstate ", "code = "].iter().any(|before| out.ends_with(before));
            if c.is_ascii_digit() && !names_error {
                out.push('#');
            } else {
                out.push_str(word);
            }
            rest = after;
        } else {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or("");
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `8c3a7f10-1111-11ef-9a1a-0242ac110002`, or with underscores, as migrations have it.
fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-' || byte == b'_',
        _ => byte.is_ascii_hexdigit(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtflow_planner::proto::vttime::Time;

    fn stream(logs: &[(i64, &str, &str)]) -> Stream {
        let log = |(id, (seconds, kind, message)): (usize, &(i64, &str, &str))| Log {
            id: i64::try_from(id).unwrap(),
            r#type: (*kind).into(),
            state: "Stopped".into(),
            updated_at: Some(Time { seconds: *seconds, nanoseconds: 0 }),
            message: (*message).into(),
            count: 1,
            ..Log::default()
        };
        Stream { shard: "-80".into(), logs: logs.iter().enumerate().map(log).collect(), ..Stream::default() }
    }

    fn shown(logs: &[(i64, &str, &str)]) -> Vec<String> {
        let lines = super::logs(&[&stream(logs)], Timestamp { seconds: 1000, nanos: 0 });
        lines.into_iter().map(|line| format!("{} {}: {}", line.times(), line.what, line.message)).collect()
    }

    #[test]
    fn a_time_that_is_none_is_not_known() {
        let logs = [(0, "Message", "zero"), (900, "Message", "known"), (2_000_000, "Message", "to come")];
        let want = ["100s ago Message: known", "when not known Message: to come", "when not known Message: zero"];
        assert_eq!(shown(&logs), want);
    }

    #[test]
    fn entries_that_differ_in_a_position_are_one() {
        let uuid = "65b3a1c0-e710-11f1-ac9e-02fc00000001";
        let texts: Vec<String> = (1..=5).map(|n| format!("Stopped at position {uuid}:1-{n}:mysqlsh:1-3,{uuid}:1-{n}")).collect();
        let mut logs: Vec<(i64, &str, &str)> =
            texts.iter().enumerate().map(|(n, text)| (900 + i64::try_from(n).unwrap(), "State Changed", text.as_str())).collect();
        logs.push((100, "Message", "Duplicate entry '5' for key 'a.PRIMARY' (errno 1062) (sqlstate 23000)"));
        logs.push((200, "Message", "Duplicate entry '6' for key 'a.PRIMARY' (errno 1062) (sqlstate 23000)"));
        logs.push((150, "Message", "Duplicate entry '6' for key 'a.PRIMARY' (errno 1586) (sqlstate 23000)"));
        assert_eq!(
            shown(&logs),
            [
                format!("×5, last 96s ago State Changed to Stopped: {}", texts[4]),
                "×2, last 13m ago Message: Duplicate entry '6' for key 'a.PRIMARY' (errno 1062) (sqlstate 23000)".into(),
                "14m ago Message: Duplicate entry '6' for key 'a.PRIMARY' (errno 1586) (sqlstate 23000)".into(),
            ]
        );
    }

    #[test]
    fn what_the_same_thing_says_is_alike() {
        for (a, b) in [
            ("took 300ms at 2026-11-29T05:43:15Z", "took 12s at 2026-11-30T01:02:03Z"),
            ("mysql-bin.000003:1234", "mysql-bin.000004:99"),
            ("migration af907eb0_e71a_11f1_8dda_0a4aad2ccf4f", "migration 614db757_e71b_11f1_8dda_0a4aad2ccf4f"),
            ("MySQL56/65b3a1c0-e710-11f1-ac9e-02fc00000001:1-3 x", "MySQL56/75b3a1c0-e710-11f1-ac9e-02fc00000001:1-3:5 x"),
        ] {
            assert_eq!(alike(a), alike(b));
        }
        for (a, b) in [
            ("Unknown column 'c1'", "Unknown column 'c2'"),
            ("table t_1 is gone", "table t_2 is gone"),
            ("x (errno 1054)", "x (errno 1062)"),
            ("code = Unavailable", "code = Unknown"),
            ("日本 5", "日 5"),
        ] {
            assert_ne!(alike(a), alike(b));
        }
    }

    #[test]
    fn the_last_error_is_shown_however_much_came_after_it() {
        let chatter: Vec<String> = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).into();
        let mut logs: Vec<(i64, &str, &str)> = chatter.iter().map(|text| (900, "Message", text.as_str())).collect();
        logs.push((10, "Message", "terminal error: no such table"));
        let shown = shown(&logs);
        assert_eq!((shown.len(), shown[4].as_str()), (5, "16m ago Message: terminal error: no such table"));
    }
}
