//! One stream of the reply, a `vtctldata.Workflow.Stream`, written once and straight to its bytes: from slices of the tablet's answer,
//! without a message in between.
//!
//! Fields are written in the order of their numbers, and those at their default are left out, as every encoder of the message does.
//! Facts: `go/vt/vtctl/workflow/workflows.go:scanWorkflow`, byte-identical in v22, v23 and v24.

use prost::{Message, encoding};

use crate::{
    proto::binlogdata::VReplicationWorkflowState as State,
    sidecar::{copy_state::CopyStateRow, log::LogRow, stream::StreamRow},
    topo::targets::Target,
    wire::{put_bytes, put_integer, put_message, put_text},
    words::says_error,
};

/// Writes the streams of one target.
pub(crate) struct StreamWriter<'a> {
    db_name: &'a str,
    /// The fields that all its streams have alike, from the shard to the tablet.
    place: Vec<u8>,
}

/// One stream.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) row: &'a StreamRow<'a>,
    pub(crate) copy_states: &'a [CopyStateRow<'a>],
    /// Why there are no copy states, if they could not be read.
    pub(crate) copy_error: Option<&'a str>,
    pub(crate) logs: &'a [LogRow<'a>],
    /// Why log rows are missing, or what is wrong with one.
    pub(crate) log_error: &'a str,
}

/// The columns without which nobody can say how a stream does.
const VITAL: [&str; 4] = ["id", "source", "time_updated", "transaction_timestamp"];

impl<'a> StreamWriter<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        let mut place = Vec::new();
        put_text(&mut place, 2, &target.shard);
        if let Some(alias) = &target.place.alias {
            put_bytes(&mut place, 3, &alias.encode_to_vec());
        }
        Self { db_name: &target.db_name, place }
    }

    /// Adds a stream, as one of the `streams` of a `ShardStream`.
    pub(crate) fn put(&self, out: &mut Vec<u8>, shown: &Shown<'_>) {
        put_message(out, 1, |out| self.fields(out, shown));
    }

    fn fields(&self, out: &mut Vec<u8>, shown: &Shown<'_>) {
        let row = shown.row;
        let (state, message) = state_and_message(shown);
        put_integer(out, 1, row.id);
        out.extend_from_slice(&self.place);
        put_message(out, 4, |out| row.source.put(out));
        put_text(out, 5, &row.position);
        put_text(out, 6, &row.stop_position);
        put_text(out, 7, state.as_str_name());
        put_text(out, 8, self.db_name);
        put_time(out, 9, row.transaction_timestamp);
        put_time(out, 10, row.time_updated);
        put_text(out, 11, message.as_deref().unwrap_or(&row.message));
        for state in shown.copy_states {
            put_message(out, 12, |out| {
                put_text(out, 1, &state.table);
                put_text(out, 2, &state.last_pk);
                put_integer(out, 3, state.stream);
            });
        }
        for log in shown.logs {
            put_message(out, 13, |out| put_log(out, log));
        }
        put_text(out, 14, shown.log_error);
        for tag in row.tags() {
            put_bytes(out, 15, tag.as_bytes());
        }
        put_integer(out, 16, row.rows_copied);
        put_message(out, 17, |out| {
            put_text(out, 1, &row.component_throttled);
            put_time(out, 2, row.time_throttled);
        });
        if !row.tablet_types.is_empty() {
            encoding::int32::encode_packed(18, &row.tablet_types, out);
        }
        put_integer(out, 19, row.tablet_selection_preference.into());
        for cell in row.cells() {
            put_bytes(out, 20, cell.as_bytes());
        }
    }
}

fn put_log(out: &mut Vec<u8>, log: &LogRow<'_>) {
    put_integer(out, 1, log.id);
    put_integer(out, 2, log.stream.unwrap_or_default());
    put_text(out, 3, &log.kind);
    put_text(out, 4, &log.state);
    put_time(out, 5, log.created_at);
    put_time(out, 6, log.updated_at);
    put_text(out, 7, &log.message);
    put_integer(out, 8, log.count);
}

/// Always present, also when 0. Source: `go/vt/vtctl/workflow/workflows.go:scanWorkflow`.
fn put_time(out: &mut Vec<u8>, field: u32, seconds: i64) {
    put_message(out, field, |out| put_integer(out, 1, seconds));
}

/// The state that the reply shows, and the message where it is not the stored one.
fn state_and_message(shown: &Shown<'_>) -> (State, Option<String>) {
    let row = shown.row;
    let state = displayed_state(row, !shown.copy_states.is_empty());
    let mut unknown = Vec::new();
    // Running or Copying: only the copy state could tell.
    if let (State::Running, Some(error)) = (state, shown.copy_error) {
        unknown.push(format!("copy state could not be read: {error}"));
    }
    // A stopped stream is stopped, whatever else its row says.
    if !matches!(state, State::Stopped | State::Error) {
        unknown.extend(row.faults.iter().filter(|fault| VITAL.contains(&fault.column)).map(ToString::to_string));
    }
    if unknown.is_empty() {
        return (state, None);
    }
    let gap = if row.message.is_empty() { "" } else { "; " };
    (State::Unknown, Some(format!("{}{gap}{}", row.message, unknown.join("; "))))
}

/// The state of a stream of which everything can be read. Never `Lagging`: clients do not know it. Source:
/// `go/vt/vtctl/workflow/workflows.go:getStreamState`, whose lag test compares with the second of the minute and never fires.
fn displayed_state(row: &StreamRow<'_>, is_copying: bool) -> State {
    let stored = State::try_from(row.state).unwrap_or(State::Unknown);
    if says_error(&row.message) {
        State::Error
    } else if stored == State::Running && is_copying {
        State::Copying
    } else if stored == State::Lagging {
        State::Running
    } else {
        stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::TabletAddress;
    use crate::{
        formats::{RowError, source::Source},
        proto::{
            binlogdata::{BinlogSource, Filter, Rule},
            topodata::TabletAlias,
            vtctldata::workflow::{
                ShardStream, Stream,
                stream::{CopyState, Log, ThrottlerStatus},
            },
            vttime::Time,
        },
        topo::targets::Place,
    };

    /// The same stream as a message, for the encoder of messages.
    fn message(target: &Target, shown: &Shown<'_>, state: State, text: &str) -> Stream {
        #[allow(clippy::unnecessary_wraps, reason = "every time field of the reply is a message field")]
        fn time(seconds: i64) -> Option<Time> {
            Some(Time { seconds, nanoseconds: 0 })
        }
        let row = shown.row;
        let copy_state = |state: &CopyStateRow<'_>| CopyState {
            table: state.table.to_string(),
            last_pk: state.last_pk.to_string(),
            stream_id: state.stream,
        };
        let log = |log: &LogRow<'_>| Log {
            id: log.id,
            stream_id: log.stream.unwrap_or_default(),
            r#type: log.kind.to_string(),
            state: log.state.to_string(),
            created_at: time(log.created_at),
            updated_at: time(log.updated_at),
            message: log.message.to_string(),
            count: log.count,
        };
        Stream {
            id: row.id,
            shard: target.shard.clone(),
            tablet: target.place.alias.clone(),
            binlog_source: Some(row.source.message()),
            position: row.position.to_string(),
            stop_position: row.stop_position.to_string(),
            state: state.as_str_name().into(),
            db_name: target.db_name.clone(),
            transaction_timestamp: time(row.transaction_timestamp),
            time_updated: time(row.time_updated),
            message: text.into(),
            copy_states: shown.copy_states.iter().map(copy_state).collect(),
            logs: shown.logs.iter().map(log).collect(),
            log_fetch_error: shown.log_error.into(),
            tags: row.tags().map(str::to_owned).collect(),
            rows_copied: row.rows_copied,
            throttler_status: Some(ThrottlerStatus {
                component_throttled: row.component_throttled.to_string(),
                time_throttled: time(row.time_throttled),
            }),
            tablet_types: row.tablet_types.clone(),
            tablet_selection_preference: row.tablet_selection_preference,
            cells: row.cells().map(str::to_owned).collect(),
        }
    }

    fn target() -> Target {
        Target {
            place: Place {
                shard: "-80".into(),
                alias: Some(TabletAlias { cell: "zone1".into(), uid: 300 }),
                tablet_controls: Vec::new(),
                is_primary_serving: true,
            },
            keyspace: "ks".into(),
            shard: "-80".into(),
            db_name: "vt_ks".into(),
            address: TabletAddress { alias: String::new(), cell: String::new(), host: String::new(), grpc_port: 1 },
        }
    }

    fn check(shown: &Shown<'_>, state: State, text: &str) {
        let nowhere =
            Target { place: Place { alias: None, ..target().place }, shard: String::new(), db_name: String::new(), ..target() };
        for target in [target(), nowhere] {
            let mut bytes = b"before".to_vec();
            StreamWriter::new(&target).put(&mut bytes, shown);
            let streams = vec![message(&target, shown, state, text)];
            let want = ShardStream { streams, ..ShardStream::default() }.encode_to_vec();
            assert!(bytes == [&b"before"[..], &want].concat(), "{:?}", shown.row);
        }
    }

    #[test]
    fn a_stream_is_written_as_the_encoder_of_messages_writes_it() {
        let long = "x".repeat(20_000);
        let row = StreamRow {
            id: 7,
            workflow: "w".into(),
            source: Source::from(BinlogSource {
                keyspace: "s".into(),
                shard: "0".into(),
                filter: Some(Filter {
                    rules: (0..40).map(|n| Rule { r#match: format!("t{n}"), ..Rule::default() }).collect(),
                    ..Filter::default()
                }),
                ..BinlogSource::default()
            }),
            position: long.as_str().into(),
            stop_position: "stop".into(),
            cell: "zone1, zone2".into(),
            tablet_types: vec![2, 1, 300],
            tablet_selection_preference: 1,
            time_updated: 20_251_123_073_112,
            transaction_timestamp: -1,
            time_heartbeat: 3,
            time_throttled: 4,
            component_throttled: "vplayer".into(),
            state: State::Running as i32,
            message: "for vdiff".into(),
            rows_copied: i64::MAX,
            tag_list: "a, b,".into(),
            ..StreamRow::default()
        };
        let copy_state = |stream, table: &'static str, last_pk| CopyStateRow {
            id: Some(1),
            stream,
            table: table.into(),
            last_pk,
            fault: None,
        };
        let log = LogRow {
            id: 5,
            stream: Some(7),
            kind: "State Changed".into(),
            state: "Running".into(),
            created_at: 1,
            updated_at: 0,
            message: long.as_str().into(),
            count: -3,
            fault: String::new(),
        };
        let bare = Shown { row: &row, copy_states: &[], copy_error: None, logs: &[], log_error: "" };
        check(&bare, State::Running, "for vdiff");
        let states = [copy_state(7, "t1", long.as_str().into()), copy_state(i64::MIN, "", "".into())];
        let logs = [log.clone(), LogRow { id: 0, stream: None, message: "".into(), ..log }];
        let full = Shown { copy_states: &states, logs: &logs, log_error: "boom", ..bare };
        check(&full, State::Copying, "for vdiff");
        check(&Shown { row: &StreamRow::default(), ..bare }, State::Unknown, "");
        check(&Shown { copy_error: Some("gone"), ..bare }, State::Unknown, "for vdiff; copy state could not be read: gone");
        let fault = RowError::new("time_updated", "why", b"");
        let bad = StreamRow { message: "".into(), faults: vec![fault, RowError::new("pos", "why", b"")], ..row.clone() };
        check(&Shown { row: &bad, ..bare }, State::Unknown, "column time_updated: why");
        let stopped = StreamRow { state: State::Stopped as i32, ..bad };
        check(&Shown { row: &stopped, ..bare }, State::Stopped, "");
    }

    #[test]
    fn an_error_is_found_in_any_case() {
        for (message, want) in
            [("an ERRor", State::Error), ("err or", State::Running), ("ERROR", State::Error), ("erro", State::Running)]
        {
            let row = StreamRow { state: State::Running as i32, message: message.into(), ..StreamRow::default() };
            assert_eq!(displayed_state(&row, false), want, "{message}");
        }
        let others = ('\u{80}'..=char::MAX).flat_map(char::to_lowercase);
        assert!(!others.into_iter().any(|lower| "ero".contains(lower)), "only ASCII has these letters in lower case");
    }
}
