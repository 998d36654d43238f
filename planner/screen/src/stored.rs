//! What a GetWorkflows reply does not say: the stored state of streams that it calls `Error`.
//!
//! The reply has that state for every stream whose message holds the letters "error", as vtctld's has: one that somebody stopped because of
//! `error_rate`, or that tries again by itself, looks like one that has failed. The rows say which it is; clients get the reply as it is.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::health::{STORED_ERROR, is_certain};
use vtflow_planner::{
    contract::{Call, CallOptions},
    proto::{
        vtctldata::{Workflow, workflow::Stream},
        vtflow::{VExecRequest, VExecResponse},
    },
    rpc,
    sidecar::result::RowSet,
};

/// Streams that are asked for by their id; where there are more, what their messages say has to do.
const STREAMS_AT_MOST: usize = 1_000;

fn is_in_doubt(stream: &Stream) -> bool {
    stream.id != 0 && stream.state == "Error" && !is_certain(&stream.message)
}

/// The request for the stored states of the streams in doubt; `None`: there are none. Its failures are not worth a word: what the
/// messages say has to do then.
pub fn stored_states<'a>(keyspace: &str, workflows: impl IntoIterator<Item = &'a Workflow>) -> Option<Call> {
    let streams = workflows.into_iter().flat_map(|workflow| workflow.shard_streams.values()).flat_map(|shard| &shard.streams);
    let ids: BTreeSet<i64> = streams.filter(|stream| is_in_doubt(stream)).map(|stream| stream.id).collect();
    if ids.is_empty() || ids.len() > STREAMS_AT_MOST {
        return None;
    }
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    let sql = format!("select id, workflow, state from _vt.vreplication where id in ({})", ids.join(", "));
    let request = VExecRequest { keyspace: keyspace.into(), sql, ..VExecRequest::default() };
    Some(Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options: CallOptions::default() })
}

/// Puts the stored states into workflows that are to be summed up. What was not answered stays.
pub fn put_stored_states(workflows: &mut [Workflow], response: &[u8]) {
    let Ok(response) = VExecResponse::decode(response) else { return };
    let mut states: BTreeMap<(String, String, i64), String> = BTreeMap::new();
    for target in response.targets {
        let Some(Ok(rows)) = target.result.map(RowSet::new) else { continue };
        for row in rows.rows() {
            if let Ok(Some(id)) = row.integer("id") {
                states.insert((format!("{}/{}", target.shard, target.tablet), row.text("workflow"), id), row.text("state"));
            }
        }
    }
    for workflow in workflows {
        for (place, shard) in &mut workflow.shard_streams {
            for stream in shard.streams.iter_mut().filter(|stream| is_in_doubt(stream)) {
                let key = (place.clone(), workflow.name.clone(), stream.id);
                match states.get(&key).map(String::as_str) {
                    Some("Error") => stream.state = STORED_ERROR.into(),
                    Some("Running") if !stream.copy_states.is_empty() => stream.state = "Copying".into(),
                    Some(state @ ("Running" | "Copying" | "Stopped" | "Init")) => stream.state = state.into(),
                    Some("Lagging") => stream.state = "Running".into(),
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflows;
    use vtflow_planner::{
        contract::Timestamp,
        proto::{
            query::{Field, QueryResult, Row, Type},
            vtctldata::{GetWorkflowsResponse, workflow::ShardStream},
            vtflow::v_exec_response::Target,
        },
    };

    fn workflow(message: &str) -> Workflow {
        let stream = Stream {
            id: 7,
            shard: "0".into(),
            state: "Error".into(),
            position: "uuid:1-3".into(),
            message: message.into(),
            time_updated: Some(vtflow_planner::proto::vttime::Time { seconds: 999, nanoseconds: 0 }),
            ..Stream::default()
        };
        let shard = ShardStream { streams: vec![stream], ..ShardStream::default() };
        Workflow { name: "w".into(), shard_streams: BTreeMap::from([("0/z-1".into(), shard)]), ..Workflow::default() }
    }

    fn answer(state: &str) -> Vec<u8> {
        let field = |name: &str, kind: Type| Field { name: name.into(), r#type: kind.into(), ..Field::default() };
        let values = ["7", "w", state];
        let result = QueryResult {
            fields: vec![field("id", Type::Int32), field("workflow", Type::Varbinary), field("state", Type::Varbinary)],
            rows: vec![Row {
                lengths: values.iter().map(|value| i64::try_from(value.len()).unwrap()).collect(),
                values: values.concat().into_bytes(),
            }],
            ..QueryResult::default()
        };
        let target = Target { tablet: "z-1".into(), shard: "0".into(), result: Some(result), ..Target::default() };
        VExecResponse { targets: vec![target] }.encode_to_vec()
    }

    fn shown(message: &str, state: &str) -> String {
        let mut workflows = vec![workflow(message)];
        put_stored_states(&mut workflows, &answer(state));
        let reply = GetWorkflowsResponse { workflows };
        workflows_lines(&reply)
    }

    fn workflows_lines(reply: &GetWorkflowsResponse) -> String {
        workflows::workflows(reply, Timestamp { seconds: 1000, nanos: 0 }).remove(0).streams
    }

    #[test]
    fn the_stored_state_is_shown_and_not_what_a_message_sounds_like() {
        for (message, state, want) in [
            ("stopped by dba because of error_rate", "Stopped", "1 Stopped"),
            ("error applying event: Duplicate entry (errno 1062)", "Running", "1 Retrying"),
            ("Error picking tablet: none", "Running", "1 Retrying"),
            ("vttablet: rpc error: code = Unavailable", "Error", "1 Error"),
            ("vttablet: rpc error: code = Unavailable", "Running", "1 Retrying"),
            ("moves error_codes", "Running", "1 Running"),
            ("a word of error", "Error", "1 Error"),
        ] {
            assert_eq!(shown(message, state), want, "{message}");
        }
    }

    #[test]
    fn only_streams_in_doubt_are_asked_for() {
        let asked = |message: &str| {
            let call = stored_states("ks", [&workflow(message)])?;
            Some(VExecRequest::decode(call.request.as_slice()).unwrap().sql)
        };
        assert_eq!(asked("because of error_rate").unwrap(), "select id, workflow, state from _vt.vreplication where id in (7)");
        assert_eq!(asked("terminal error: no such table"), None);
        assert_eq!(asked("no such table"), None, "it is called so though its message has not the word");
    }
}
