//! A GetWorkflows reply as people read it: one line per workflow, trouble first.
//!
//! How a workflow is doing is derived in `health.rs`: a running stream that has not written its row for more than ten seconds is `Lagging`, a
//! stopped stream that never started is `waiting`, and streams that are not in one state are trouble.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    advice::{lost_source, sources_here},
    around::SourceShards,
    health::{Health, Stop, Whole},
    table::{Kind, Line, Table},
    words::{count, seconds, visible_name},
};
use vtflow_planner::{
    contract::Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, Workflow, workflow::ReplicationLocation},
};

/// One workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkflowLine {
    /// Its name.
    pub name: String,
    /// Its type, with the sub type in parentheses unless it is `None`.
    pub kind: String,
    /// Where it reads: `commerce/0`, or `customer (2)` for two shards; `itself` when it stays in its own shards.
    pub source: String,
    /// Where it writes, likewise.
    pub target: String,
    /// Streams by state, trouble first, such as `1 Error, 3 Running`.
    pub streams: String,
    /// Seconds that the stream furthest behind is; `None` when one of them has no lag (it is stopped, or copies), or it is not known.
    pub lag_seconds: Option<i64>,
    /// Copy progress: `done`, or the rows copied and how many tables are left; `-` when it has not begun.
    pub copied: String,
    /// What there is to say, the worst first. Empty when there is nothing.
    pub note: String,
    /// Whether anything is wrong with it.
    pub has_trouble: bool,
}

impl Line for WorkflowLine {
    fn has_trouble(&self) -> bool {
        self.has_trouble
    }
}

/// The lines as a table.
pub fn workflow_table(lines: &[WorkflowLine]) -> Table {
    Table::of(lines)
        .column("Workflow", Kind::Name(12), |line| visible_name(&line.name))
        .column("Type", Kind::Text(8), |line| line.kind.clone())
        .column("From", Kind::Text(8), |line| line.source.clone())
        .column("To", Kind::Text(8), |line| line.target.clone())
        .column("Streams", Kind::Word, |line| line.streams.clone())
        .column("Lag", Kind::Word, |line| seconds(line.lag_seconds))
        .column("Copied", Kind::Word, |line| line.copied.clone())
        .column("Note", Kind::Note, |line| line.note.clone())
        .table()
}

/// One line per workflow of a reply for all shards and states: trouble first, then by name.
pub fn workflows(reply: &GetWorkflowsResponse, now: Timestamp) -> Vec<WorkflowLine> {
    workflows_of(&GetWorkflowsRequest::default(), reply, now)
}

/// As [`workflows`], of a reply to this request: what a filter left out is not missing.
pub fn workflows_of(request: &GetWorkflowsRequest, reply: &GetWorkflowsResponse, now: Timestamp) -> Vec<WorkflowLine> {
    workflows_with(request, reply, &BTreeMap::new(), now)
}

/// As [`workflows_of`], with what is known of the keyspaces that they read: a source that is gone is trouble.
pub fn workflows_with(
    request: &GetWorkflowsRequest,
    reply: &GetWorkflowsResponse,
    sources: &BTreeMap<String, SourceShards>,
    now: Timestamp,
) -> Vec<WorkflowLine> {
    let has_all = request.shards.is_empty() && !request.active_only;
    let line = |workflow| {
        let mut whole = if request.active_only && request.shards.is_empty() {
            Whole::of_active(workflow, now)
        } else {
            let left_out = if request.active_only { "stopped streams are left out" } else { "" };
            Whole { left_out, ..Whole::new(workflow, has_all, now) }
        };
        whole.of_all.extend(lost_source(workflow, sources));
        ((!whole.has_trouble(), whole.worst()), line(workflow, &whole))
    };
    let mut lines: Vec<_> = reply.workflows.iter().map(line).collect();
    lines.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.name.cmp(&y.name)));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The keyspaces of this cluster that the workflows read, each once: those that tell whether a source is there.
pub fn source_keyspaces<'a>(workflows: impl IntoIterator<Item = &'a Workflow>) -> BTreeSet<String> {
    // A schema migration reads its own shard.
    let others = workflows.into_iter().filter(|workflow| workflow.workflow_type != "OnlineDDL");
    others.flat_map(sources_here).map(|source| source.keyspace.clone()).collect()
}

pub(super) fn line(workflow: &Workflow, whole: &Whole<'_>) -> WorkflowLine {
    let mut by_word: BTreeMap<(Health, &str), usize> = BTreeMap::new();
    for (health, ..) in &whole.streams {
        // Why a stream is stopped is in the note.
        let rank = if let Health::Stopped(_) = health { Health::Stopped(Stop::Hand) } else { *health };
        *by_word.entry((rank, health.word())).or_default() += 1;
    }
    let counts: Vec<_> = by_word.iter().map(|((_, word), n)| format!("{n} {word}")).collect();
    let is_itself =
        workflow.workflow_type == "OnlineDDL" && keyspace(workflow.source.as_ref()) == keyspace(workflow.target.as_ref());
    WorkflowLine {
        name: workflow.name.clone(),
        kind: match workflow.workflow_sub_type.as_str() {
            "" | "None" => workflow.workflow_type.clone(),
            sub_type => format!("{} ({sub_type})", workflow.workflow_type),
        },
        source: if is_itself { "itself".into() } else { location(workflow.source.as_ref()) },
        target: target(workflow),
        streams: counts.join(", "),
        lag_seconds: whole.lag_seconds,
        copied: copied(whole),
        note: whole.note(),
        has_trouble: whole.has_trouble(),
    }
}

pub(super) fn keyspace(location: Option<&ReplicationLocation>) -> &str {
    location.map_or("", |location| &location.keyspace)
}

fn location(location: Option<&ReplicationLocation>) -> String {
    let keyspace = keyspace(location);
    match location.map_or(&[][..], |location| &location.shards) {
        [] => keyspace.to_owned(),
        [shard] => format!("{keyspace}/{shard}"),
        shards => format!("{keyspace} ({})", shards.len()),
    }
}

/// Where it writes, and how many shards that gave no answer may belong to it, too.
fn target(workflow: &Workflow) -> String {
    let named = workflow.target.as_ref().map_or(&[][..], |location| &location.shards);
    let streams = workflow.shard_streams.values().flat_map(|shard| &shard.streams).filter(|stream| stream.id == 0);
    let unknown: BTreeSet<&str> = streams.map(|stream| stream.shard.as_str()).collect();
    let unknown = unknown.into_iter().filter(|shard| !named.iter().any(|name| name == shard)).count();
    let known = location(workflow.target.as_ref());
    if unknown == 0 { known } else { format!("{known} and {unknown} unknown") }
}

/// What is left to copy. GetWorkflows does not know how much there was: `describe` does.
fn copied(whole: &Whole<'_>) -> String {
    let streams = || whole.streams.iter().map(|(_, _, stream)| *stream);
    let tables: BTreeSet<&str> = streams().flat_map(|stream| &stream.copy_states).map(|state| state.table.as_str()).collect();
    let rows: i64 = streams().fold(0, |sum, stream| sum.saturating_add(stream.rows_copied));
    let begun = streams().filter(|stream| !stream.position.is_empty()).count();
    let is_known = whole.streams.iter().all(|(health, ..)| !matches!(health, Health::Unknown | Health::Missing));
    match (tables.len(), begun) {
        (0, _) if !is_known => "not known".into(),
        (0, 0) => "-".into(),
        (0, begun) if begun < whole.streams.len() => format!("begun by {begun} of {}", whole.streams.len()),
        (0, _) => "done".into(),
        (tables, _) => format!("{} rows, {tables} left", count(rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtflow_planner::proto::{
        binlogdata::{BinlogSource, Filter, Rule},
        vtctldata::workflow::{
            ShardStream, Stream,
            stream::{CopyState, ThrottlerStatus},
        },
        vttime::Time,
    };

    const NOW: Timestamp = Timestamp { seconds: 1000, nanos: 0 };

    fn stream(state: &str, updated: i64, message: &str) -> Stream {
        Stream {
            id: 7,
            shard: "-80".into(),
            state: state.into(),
            position: "uuid:1-3".into(),
            time_updated: Some(Time { seconds: updated, nanoseconds: 0 }),
            message: message.into(),
            ..Stream::default()
        }
    }

    fn workflow(name: &str, streams: Vec<Stream>) -> Workflow {
        let shard = ShardStream { streams, ..ShardStream::default() };
        Workflow {
            name: name.into(),
            workflow_sub_type: "Partial".into(),
            shard_streams: BTreeMap::from([("-80/zone1-1".into(), shard)]),
            ..Workflow::default()
        }
    }

    fn one(streams: Vec<Stream>) -> WorkflowLine {
        workflows(&GetWorkflowsResponse { workflows: vec![workflow("w", streams)] }, NOW).remove(0)
    }

    #[test]
    fn trouble_comes_first_then_names() {
        let reply = GetWorkflowsResponse {
            workflows: vec![
                workflow("b_fine", vec![stream("Running", 999, "")]),
                workflow("a_fine", vec![stream("Running", 999, "")]),
                workflow("silent", vec![stream("Running", 500, "")]),
                workflow("z_broken", vec![stream("Running", 999, ""), stream("Error", 900, "bad\nthing")]),
            ],
        };
        let lines = workflows(&reply, NOW);
        let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["z_broken", "silent", "a_fine", "b_fine"]);
        assert_eq!(lines[0].streams, "1 Error, 1 Running");
        assert_eq!(lines[0].note, "-80: bad\nthing");
        assert_eq!(lines[1].streams, "1 Lagging");
        assert_eq!(lines[1].note, "-80: stream 7 silent for 8m");
        assert!(lines[1].has_trouble && !lines[2].has_trouble);
    }

    #[test]
    fn a_line_says_what_the_wire_does_not() {
        let mut copying = stream("Copying", 998, "");
        copying.rows_copied = 1_234_567;
        copying.copy_states = vec![CopyState { table: "t1".into(), ..CopyState::default() }];
        assert_eq!(one(vec![copying]).copied, "1234k rows, 1 left");
        let mut never = stream("Stopped", 0, "");
        never.position.clear();
        assert_eq!(one(vec![never]).note, "-80: stream 7 never started");
        assert_eq!(one(vec![stream("Stopped", 1, "FROZEN")]).streams, "1 frozen");
        assert_eq!(one(vec![stream("Stopped", 1, "x")]).lag_seconds, None);
        assert_eq!(one(vec![stream("Running", 990, "")]).lag_seconds, Some(10));
        assert_eq!(one(vec![stream("Running", 20_251_123_073_112, "")]).lag_seconds, None, "a date instead of a time");
    }

    #[test]
    fn a_stream_that_writes_its_row_may_be_far_behind() {
        // What was applied last, and the workflow's transaction lag.
        let of = |transactions: &[i64], largest| {
            let stream = |&transaction: &i64| Stream {
                transaction_timestamp: Some(Time { seconds: transaction, nanoseconds: 0 }),
                ..stream("Running", 999, "")
            };
            let streams = transactions.iter().map(stream).collect();
            let workflow = Workflow { max_v_replication_transaction_lag: largest, ..workflow("w", streams) };
            let bands = super::super::picture(&workflow, NOW).bands;
            (shown(workflow).lag_seconds, bands.iter().map(|band| band.lag_seconds).collect::<Vec<_>>())
        };
        assert_eq!(of(&[100], 900), (Some(900), vec![Some(900)]));
        assert_eq!(of(&[100], 1), (Some(1), vec![Some(1)]), "it is idle: nothing is behind");
        assert_eq!(of(&[0], 1), (Some(1), vec![Some(1)]), "it has applied none");
        assert_eq!(of(&[100, 998], 900), (Some(900), vec![Some(900), Some(2)]));
        assert_eq!(of(&[100, 500], 900), (Some(900), vec![Some(900), None]), "idle, or behind: nobody can tell");
        assert_eq!(of(&[999_999], 0), (None, vec![None]), "a time to come");
        assert_eq!(one(vec![stream("Copying", 999, "")]).lag_seconds, None, "how far a copy is behind has no meaning");
    }

    #[test]
    fn a_time_to_come_is_no_sign_of_life() {
        let of = |updated| {
            let line = one(vec![stream("Running", updated, "")]);
            (line.streams, line.note, line.has_trouble)
        };
        let never = "-80: stream 7 never wrote its row";
        for updated in [0, 20_260_101_000_000, i64::MAX] {
            assert_eq!(of(updated), ("1 Lagging".into(), never.into(), true), "{updated}");
        }
        let ahead = "-80: stream 7 wrote its row at a time to come, 60m ahead: whether it works is not known";
        assert_eq!(of(1000 + 3600), ("1 Lagging".into(), ahead.into(), true));
        assert_eq!(of(1000 + 30), ("1 Running".into(), String::new(), false), "clocks differ a little");
    }

    #[test]
    fn what_keeps_a_stream_back_now_is_said() {
        let of = |time, component: &str| {
            let status = ThrottlerStatus {
                component_throttled: component.into(),
                time_throttled: Some(Time { seconds: time, nanoseconds: 0 }),
            };
            one(vec![Stream { throttler_status: Some(status), ..stream("Running", 999, "") }]).note
        };
        assert_eq!(of(990, "vplayer"), "throttled by vplayer");
        assert_eq!(of(990, ""), "throttled");
        assert_eq!([of(900, "vplayer"), of(1_000_000, "vplayer")], ["", ""], "long ago, and a time to come");
    }

    #[test]
    fn silence_of_more_than_ten_seconds_is_lagging() {
        assert_eq!(one(vec![stream("Running", 990, "")]).streams, "1 Running");
        assert_eq!(one(vec![stream("Running", 989, "")]).streams, "1 Lagging");
    }

    /// Two shards, each with one stream: shard, state, message.
    fn of_kind(kind: &str, streams: &[(&str, &str, &str)]) -> Workflow {
        let entry = |&(shard, state, message): &(&str, &str, &str)| {
            let source = BinlogSource { keyspace: "from".into(), shard: "0".into(), ..BinlogSource::default() };
            let stream = Stream { shard: shard.into(), binlog_source: Some(source), ..stream(state, 998, message) };
            (format!("{shard}/zone1-1"), ShardStream { streams: vec![stream], ..ShardStream::default() })
        };
        Workflow {
            name: "w".into(),
            workflow_type: kind.into(),
            shard_streams: streams.iter().map(entry).collect(),
            ..Workflow::default()
        }
    }

    fn shown(workflow: Workflow) -> WorkflowLine {
        workflows(&GetWorkflowsResponse { workflows: vec![workflow] }, NOW).remove(0)
    }

    #[test]
    fn a_mixture_of_states_is_trouble_and_is_said() {
        for (a, b, note) in [
            (("Stopped", ""), ("Running", ""), "not all in one state: Running on 80-, Stopped on -80"),
            (("Stopped", "FROZEN"), ("Running", ""), "not all in one state: Running on 80-, frozen on -80"),
            (("Stopped", "FROZEN"), ("Stopped", ""), "not all in one state: Stopped on 80-, frozen on -80"),
            (
                ("Stopped", "for vdiff"),
                ("Copying", ""),
                "-80: stopped for vdiff; not all in one state: Copying on 80-, Stopped on -80",
            ),
            (("Unknown", "half a row"), ("Running", ""), "-80: half a row"),
            (("Stopped", "Stopped after copy."), ("Running", ""), "not all in one state: Running on 80-, Stopped on -80"),
        ] {
            let line = shown(of_kind("MoveTables", &[("-80", a.0, a.1), ("80-", b.0, b.1)]));
            assert!(line.has_trouble, "{a:?} {b:?}");
            assert_eq!(line.note.split("; Stopped after").next(), Some(note), "{a:?} {b:?}");
            assert_eq!(line.lag_seconds, None, "nobody knows how far behind a stream is that stands: {a:?} {b:?}");
        }
        for (a, b) in [
            (("Running", ""), ("Copying", "")),
            (("Stopped", ""), ("Stopped", "")),
            (("Stopped", "FROZEN"), ("Stopped", "FROZEN")),
        ] {
            let line = shown(of_kind("MoveTables", &[("-80", a.0, a.1), ("80-", b.0, b.1)]));
            assert!(!line.has_trouble, "{a:?} {b:?}: {}", line.note);
        }
        // Migrations cut over shard by shard, and copies that are to stop end one after the other.
        let cut_over = "stopped for online DDL cutover";
        assert!(!shown(of_kind("OnlineDDL", &[("-80", "Stopped", cut_over), ("80-", "Running", "")])).has_trouble);
        assert!(shown(of_kind("OnlineDDL", &[("-80", "Stopped", ""), ("80-", "Running", "")])).has_trouble);
        let mut copies = of_kind("CreateLookupIndex", &[("-80", "Stopped", "Stopped after copy."), ("80-", "Copying", "")]);
        for source in
            copies.shard_streams.values_mut().flat_map(|shard| &mut shard.streams).filter_map(|s| s.binlog_source.as_mut())
        {
            source.stop_after_copy = true;
        }
        assert!(!shown(copies).has_trouble);
    }

    #[test]
    fn a_shard_without_a_stream_and_streams_that_differ_are_trouble() {
        let half = of_kind("Materialize", &[("-80", "Running", "")]);
        assert_eq!(shown(half.clone()).note, "no stream known on 80-");
        let request = GetWorkflowsRequest { shards: vec!["-80".into()], ..GetWorkflowsRequest::default() };
        let filtered = workflows_of(&request, &GetWorkflowsResponse { workflows: vec![half.clone()] }, NOW);
        assert!(!filtered[0].has_trouble, "what was not asked for is not missing");
        let partial = Workflow { workflow_sub_type: "Partial".into(), ..half };
        assert!(!shown(partial).has_trouble);
        let mut differ = of_kind("MoveTables", &[("-80", "Running", ""), ("80-", "Running", "")]);
        let tables: [&[&str]; 2] = [&["t1"], &["t1", "t2"]];
        for (shard, tables) in differ.shard_streams.values_mut().zip(tables) {
            let rules = tables.iter().map(|&table| Rule { r#match: table.into(), ..Rule::default() }).collect();
            let source = shard.streams[0].binlog_source.as_mut().unwrap();
            source.filter = Some(Filter { rules, ..Filter::default() });
        }
        assert_eq!(shown(differ).note, "not the same tables everywhere: t1 on -80; t1, t2 on 80-");
        let mut reads_half = of_kind("Reshard", &[("-80", "Running", ""), ("80-", "Running", "")]);
        for (shard, source) in reads_half.shard_streams.values_mut().zip(["-80", "80-c0"]) {
            shard.streams[0].binlog_source.as_mut().unwrap().shard = source.into();
        }
        assert_eq!(shown(reads_half).note, "80- reads nothing of c0-");
    }

    #[test]
    fn stopped_streams_that_were_not_asked_for_are_said_to_be_left_out() {
        let active = |workflow: Workflow| {
            let request = GetWorkflowsRequest { active_only: true, ..GetWorkflowsRequest::default() };
            workflows_of(&request, &GetWorkflowsResponse { workflows: vec![workflow] }, NOW).remove(0)
        };
        let whole = active(of_kind("MoveTables", &[("-80", "Running", ""), ("80-", "Running", "")]));
        assert_eq!((whole.note.as_str(), whole.has_trouble), ("stopped streams are left out", false));
        let half = active(of_kind("MoveTables", &[("80-", "Running", "")]));
        assert_eq!((half.note.as_str(), half.has_trouble), ("no stream that works on -80; stopped streams are left out", true));
        assert!(!active(of_kind("OnlineDDL", &[("80-", "Running", "")])).has_trouble, "migrations end shard by shard");
    }

    #[test]
    fn a_shard_that_gave_no_answer_is_not_left_out_of_where_it_writes() {
        let mut workflow = of_kind("MoveTables", &[("-80", "Running", ""), ("80-", "Unknown", "timed out")]);
        workflow.target = Some(ReplicationLocation { keyspace: "to".into(), shards: vec!["-80".into()] });
        workflow.shard_streams.values_mut().flat_map(|shard| &mut shard.streams).last().unwrap().id = 0;
        assert_eq!(shown(workflow).target, "to/-80 and 1 unknown");
    }

    #[test]
    fn a_message_without_end_does_not_fill_the_screen() {
        let long = "Duplicate entry ".repeat(30_000);
        let note = one(vec![stream("Error", 999, &long)]).note;
        assert!(note.starts_with("-80: Duplicate entry ") && note.ends_with("… (480k characters in all)"), "{note}");
        assert!(note.chars().count() < 2_100);
    }

    #[test]
    fn a_word_in_a_name_is_no_error() {
        let of = |state: &str, message: &str| {
            let line = one(vec![stream(state, 999, message)]);
            (line.streams, line.has_trouble)
        };
        let ddl = "Stopped at DDL alter table error_codes add column note varchar(40)";
        assert_eq!(of("Error", ddl), ("1 Stopped".into(), true), "it needs somebody, but not because of an error");
        assert_eq!(of("Error", "Stopped at position MySQL56/errors:1"), ("1 Stopped".into(), false));
        assert_eq!(of("Error", "Picked source tablet: cell:\"errors\" uid:100"), ("1 Running".into(), false));
        assert_eq!(of("Error", "terminal error: no such table"), ("1 Error".into(), true));
        assert_eq!(of("Error", "Error picking tablet: none"), ("1 Error".into(), true));
        assert_eq!(of("Error", "Duplicate entry '5' for key 'PRIMARY'"), ("1 Error".into(), true));
        // The tablet tries again and again, though the text has not the word.
        assert_eq!(of("Running", "Duplicate entry '5' (errno 1062) (sqlstate 23000)"), ("1 Retrying".into(), true));
        assert_eq!(of("Running", "vttablet: rpc failed: code = Unavailable"), ("1 Retrying".into(), true));
        assert_eq!(of("Running", ""), ("1 Running".into(), false));
        // An error of the connection has not ended it.
        assert_eq!(of("Error", "vttablet: rpc error: code = Unavailable desc = no"), ("1 Retrying".into(), true));
        assert_eq!(of("Error", "terminal error: rpc error: code = Unavailable"), ("1 Error".into(), true));
    }

    #[test]
    fn a_source_that_is_gone_is_trouble() {
        let reply =
            GetWorkflowsResponse { workflows: vec![of_kind("MoveTables", &[("-80", "Running", ""), ("80-", "Running", "")])] };
        assert_eq!(source_keyspaces(&reply.workflows), BTreeSet::from(["from".to_owned()]));
        let with = |shards: SourceShards| {
            let sources = BTreeMap::from([("from".to_owned(), shards)]);
            let line = workflows_with(&GetWorkflowsRequest::default(), &reply, &sources, NOW).remove(0);
            (line.has_trouble, line.note)
        };
        assert_eq!(with(SourceShards::Gone), (true, "its source is gone: from/0".into()));
        assert_eq!(with(SourceShards::Known(BTreeSet::from(["-".to_owned()]))), (true, "its source is gone: from/0".into()));
        assert_eq!(with(SourceShards::Known(BTreeSet::from(["0".to_owned()]))), (false, String::new()));
        assert_eq!(with(SourceShards::Unknown), (false, String::new()));
        let migration = of_kind("OnlineDDL", &[("-80", "Running", "")]);
        assert!(source_keyspaces([&migration]).is_empty());
    }

    #[test]
    fn what_is_frozen_does_not_say_where_its_traffic_goes() {
        assert_eq!(shown(of_kind("MoveTables", &[("-80", "Stopped", "FROZEN"), ("80-", "Stopped", "FROZEN")])).note, "frozen");
    }

    #[test]
    fn a_stream_that_will_stop_says_so() {
        let stops = Stream { stop_position: "MySQL56/a:1-9".into(), ..stream("Running", 999, "") };
        assert_eq!(one(vec![stops.clone()]).note, "-80: stream 7 stops at a position that was set");
        assert_eq!(one(vec![Stream { state: "Stopped".into(), ..stops }]).note, "");
    }
}
