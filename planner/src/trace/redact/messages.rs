//! The messages of a trace without texts: requests, answers, pages, failures, records.

use prost::Message;

use super::{columns::rows, hidden::Hidden, sql};
use crate::{
    contract::{Answer, Call, What},
    formats::position,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{
            DeleteVReplicationWorkflowResponse, ExecuteFetchAsDbaResponse, ExecuteQueryResponse, PrimaryPositionResponse,
            UpdateVReplicationWorkflowResponse, VDiffResponse, VReplicationExecResponse, ValidateVReplicationPermissionsResponse,
        },
        topodata::CellInfo,
        vtctldata::{ExecuteVtctlCommandRequest, UpdateThrottlerConfigRequest, WorkflowUpdateRequest},
        vtflow::VExecRequest,
    },
    rpc, serve,
};

/// What is no message, and stays none: a key that never ends.
const NO_MESSAGE: &[u8] = &[0xff];

/// Takes values out of a request: what a person writes into rows, or compares them with. A request of another kind than is served goes.
pub(super) fn request(call: &mut Call, hidden: &mut Hidden) {
    let after = match call.path.as_str() {
        rpc::VEXEC => VExecRequest::decode(call.request.as_slice())
            .map(|request| VExecRequest { sql: sql::without_values(&request.sql, hidden), ..request }.encode_to_vec()),
        // Commands that are served say names only, and a name may have quotes in it.
        rpc::EXECUTE_VTCTL_COMMAND if serve::serves(&call.path, &call.request) => return,
        rpc::EXECUTE_VTCTL_COMMAND => ExecuteVtctlCommandRequest::decode(call.request.as_slice()).map(|mut request| {
            for arg in request.args.iter_mut().filter(|arg| arg.contains(|c: char| c.is_whitespace() || matches!(c, '\'' | '"')))
            {
                *arg = sql::without_values(arg, hidden);
            }
            request.encode_to_vec()
        }),
        rpc::WORKFLOW_UPDATE => WorkflowUpdateRequest::decode(call.request.as_slice()).map(|mut request| {
            if let Some(wanted) = &mut request.tablet_request {
                wanted.config_overrides.values_mut().for_each(|value| *value = hidden.text(value.as_bytes()));
                wanted.filter_rules.iter_mut().for_each(|rule| rule.filter = hidden.text(rule.filter.as_bytes()));
                if let Some(message) = wanted.message.as_mut().filter(|message| !message.eq_ignore_ascii_case("FROZEN")) {
                    *message = hidden.text(message.as_bytes());
                }
            }
            request.encode_to_vec()
        }),
        rpc::UPDATE_THROTTLER_CONFIG => match UpdateThrottlerConfigRequest::decode(call.request.as_slice()) {
            Ok(request) if !request.custom_query.is_empty() => {
                let custom_query = hidden.text(request.custom_query.as_bytes());
                Ok(UpdateThrottlerConfigRequest { custom_query, ..request }.encode_to_vec())
            }
            _ => return,
        },
        path if [rpc::SNAPSHOT, rpc::UNLOCK].contains(&path) || serve::served(path).is_some() => return,
        _ => Ok(Vec::new()),
    };
    // What cannot be read is refused for that.
    call.request = after.unwrap_or_else(|_| NO_MESSAGE.to_vec());
}

/// A tablet's answer without texts. One that cannot be read stays one; of an RPC that is asked only whether a tablet has it, nothing is
/// kept.
pub(super) fn response(path: &str, bytes: &[u8], is_persons: bool, hidden: &mut Hidden) -> Vec<u8> {
    let mut kept = |result: Option<QueryResult>| result.map(|result| rows(result, is_persons, hidden));
    match path {
        rpc::VREPLICATION_EXEC => VReplicationExecResponse::decode(bytes)
            .map(|response| VReplicationExecResponse { result: kept(response.result) }.encode_to_vec()),
        rpc::EXECUTE_FETCH_AS_DBA => ExecuteFetchAsDbaResponse::decode(bytes)
            .map(|response| ExecuteFetchAsDbaResponse { result: kept(response.result) }.encode_to_vec()),
        rpc::EXECUTE_QUERY => ExecuteQueryResponse::decode(bytes)
            .map(|response| ExecuteQueryResponse { result: kept(response.result) }.encode_to_vec()),
        rpc::UPDATE_VREPLICATION_WORKFLOW => UpdateVReplicationWorkflowResponse::decode(bytes)
            .map(|response| UpdateVReplicationWorkflowResponse { result: kept(response.result) }.encode_to_vec()),
        rpc::DELETE_VREPLICATION_WORKFLOW => DeleteVReplicationWorkflowResponse::decode(bytes)
            .map(|response| DeleteVReplicationWorkflowResponse { result: kept(response.result) }.encode_to_vec()),
        rpc::VDIFF => VDiffResponse::decode(bytes)
            .map(|response| VDiffResponse { output: kept(response.output), ..response }.encode_to_vec()),
        rpc::PRIMARY_POSITION => PrimaryPositionResponse::decode(bytes).map(|mut response| {
            if position::decode(response.position.as_bytes()).is_err() {
                response.position = hidden.text(response.position.as_bytes());
            }
            response.encode_to_vec()
        }),
        rpc::VALIDATE_VREPLICATION_PERMISSIONS => ValidateVReplicationPermissionsResponse::decode(bytes).map(|mut response| {
            for text in [&mut response.user, &mut response.error].into_iter().filter(|text| !text.is_empty()) {
                *text = hidden.text(text.as_bytes());
            }
            response.encode_to_vec()
        }),
        _ => Ok(Vec::new()),
    }
    .unwrap_or_else(|_| NO_MESSAGE.to_vec())
}

/// Variables of `/debug/vars` that a version is made of, and what of each may be shown.
type May = fn(&str) -> bool;

const BUILD: [(&str, May); 5] = [
    ("BuildGitRev", |text| text.bytes().all(|byte| byte.is_ascii_hexdigit())),
    ("BuildVersion", |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte))),
    ("BuildTimestamp", |_| false),
    ("BuildHost", |_| false),
    ("BuildUser", |_| false),
];

/// A page without what is on it, but for which build the tablet is: the rest of the variables is the process's own (its command line,
/// its environment).
pub(super) fn page(page: &[u8], hidden: &mut Hidden) -> Vec<u8> {
    use serde_json::Value;
    let Ok(page) = serde_json::from_slice::<Value>(page) else { return hidden.text(page).into_bytes() };
    let Value::Object(variables) = page else { return b"[]".to_vec() };
    let mut kept = serde_json::Map::new();
    for (name, value) in variables {
        let Some((_, may_be_shown)) = BUILD.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) else { continue };
        let value = match value {
            Value::String(text) if may_be_shown(&text) => Value::String(text),
            Value::String(text) => Value::String(hidden.text(text.as_bytes())),
            Value::Array(_) => Value::Array(Vec::new()),
            Value::Object(_) => Value::Object(serde_json::Map::new()),
            other => other,
        };
        kept.insert(name, value);
    }
    Value::Object(kept).to_string().into_bytes()
}

/// Parts of a tablet's failure that decide what comes next, or that people need and that quote no row.
const SAID: &[&str] = &[
    "vreplication engine is closed",
    "vdiff engine is closed",
    "invalid table name: _vt.vreplication_log",
    "Unknown column",
    "maximum statement execution time exceeded",
    "Row count exceeded",
    "--super-read-only",
    "online DDL is disabled",
    "unknown method ",
    "unknown service ",
];

/// What a tablet said instead of rows, without what it may quote: which RPC failed where, what it is about, its numbers.
pub(super) fn failure(text: &str, hidden: &mut Hidden) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
    let place = text
        .split_once(": ")
        .map(|(place, _)| place)
        .filter(|place| place.starts_with("TabletManager.") && place.chars().all(is_plain));
    let mut out = place.map_or_else(String::new, |place| format!("{place}: "));
    out.push_str(&hidden.text(text.as_bytes()));
    for said in SAID.iter().filter(|said| text.contains(**said)) {
        let said = if *said == "Unknown column" && text.contains("id'") { "Unknown column 'id'" } else { said.trim_end() };
        out.push(' ');
        out.push_str(said.trim_start());
        // Words that are looked for with what follows them.
        if said.starts_with("unknown ") {
            out.push_str(" (redacted)");
        }
    }
    for (begin, is_it) in [("(errno ", char::is_numeric as fn(char) -> bool), ("(sqlstate ", char::is_alphanumeric)] {
        let inside = text.split_once(begin).and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside);
        if let Some(inside) = inside.filter(|inside| inside.len() <= 5 && inside.chars().all(is_it)) {
            out.extend([" ", begin, inside, ")"]);
        }
    }
    // Looked for at the end.
    if text.ends_with(" not implemented") { out + " not implemented" } else { out }
}

/// What the topology answered. Records stay, but for a password in the address of a cell's server.
pub(super) fn topology(what: &What, answer: Answer) -> Answer {
    match answer {
        Answer::Found { value, version } => {
            let path = if let What::TopoGet { path, .. } = what { path.as_str() } else { "" };
            Answer::Found { value: record(path, value), version }
        }
        Answer::Range(mut records) => {
            for found in &mut records {
                found.value = record(&found.path, std::mem::take(&mut found.value));
            }
            Answer::Range(records)
        }
        other => other,
    }
}

fn record(path: &str, value: Vec<u8>) -> Vec<u8> {
    if !path.ends_with("/CellInfo") {
        return value;
    }
    match CellInfo::decode(value.as_slice()) {
        Ok(cell) if cell.server_address.contains('@') => {
            let host = |address: &str| match address.rsplit_once('@') {
                Some((_, host)) => format!("(redacted)@{host}"),
                None => address.to_owned(),
            };
            let server_address = cell.server_address.split(',').map(host).collect::<Vec<_>>().join(",");
            CellInfo { server_address, ..cell }.encode_to_vec()
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        contract::CallOptions,
        proto::{
            binlogdata::Rule,
            query::{Field, Row},
            tabletmanagerdata::UpdateVReplicationWorkflowRequest,
            vtctldata::GetWorkflowsRequest,
        },
    };

    #[test]
    fn failures_keep_what_decides_and_lose_what_they_quote() {
        for (text, want) in [
            (
                "TabletManager.VReplicationExec on zone1-0000000100: Duplicate entry 'bob' for key 'x' (errno 1062) (sqlstate 23000) during query: insert 'bob'",
                "TabletManager.VReplicationExec on zone1-0000000100: (redacted 1) (errno 1062) (sqlstate 23000)",
            ),
            ("vreplication engine is closed", "(redacted 1) vreplication engine is closed"),
            ("Unknown column 'id' in 'field list' (errno 1054)", "(redacted 1) Unknown column 'id' (errno 1054)"),
            ("unknown method VDiff for service bob", "(redacted 1) unknown method (redacted)"),
            ("bob not implemented", "(redacted 1) not implemented"),
            ("bob (errno bob)", "(redacted 1)"),
            ("TabletManager.X 'bob' on zone1-1: no", "(redacted 1)"),
            ("bob on zone1-1: no", "(redacted 1)"),
            ("Unknown column 'bob' in 'field list' (errno 1054)", "(redacted 1) Unknown column (errno 1054)"),
            ("vdiff engine is closed 'bobs_id'", "(redacted 1) vdiff engine is closed"),
        ] {
            assert_eq!(failure(text, &mut Hidden::default()), want);
        }
    }

    #[test]
    fn of_a_page_only_the_build_stays() {
        let vars = br#"{"cmdline":["vttablet","--password=bob"],"BuildHost":"bob","BuildGitRev":"abc1","BuildTimestamp":17,"BuildUser":7,"x":{"bob":1}}"#;
        let got = page(vars, &mut Hidden::default());
        assert_eq!(
            String::from_utf8_lossy(&got),
            r#"{"BuildGitRev":"abc1","BuildHost":"(redacted 1)","BuildTimestamp":17,"BuildUser":7}"#
        );
        assert_eq!(page(b"<html>bob", &mut Hidden::default()), b"(redacted 1)");
        assert_eq!(page(b"[\"bob\"]", &mut Hidden::default()), b"[]");
    }

    #[test]
    fn a_cells_address_has_no_password() {
        let cell = CellInfo { server_address: "http://root:bob@etcd:2379,etcd2:2379".into(), root: "/r".into() };
        let after = CellInfo::decode(record("cells/z/CellInfo", cell.encode_to_vec()).as_slice()).unwrap();
        assert_eq!((after.server_address.as_str(), after.root.as_str()), ("(redacted)@etcd:2379,etcd2:2379", "/r"));
        // One without stays as it is, with fields of a newer release.
        let cell = CellInfo { server_address: "etcd:2379".into(), ..CellInfo::default() };
        let newer = [cell.encode_to_vec(), NEWER.to_vec()].concat();
        assert_eq!(record("cells/z/CellInfo", newer.clone()), newer);
        assert_eq!(record("cells/z/CellsAlias", b"root:bob@".to_vec()), b"root:bob@");
    }

    type Of = fn(Option<QueryResult>) -> Vec<u8>;

    /// A field 99 of a message, which this build does not know.
    const NEWER: &[u8] = &[0x98, 0x06, 1];

    fn requested(path: &str, request: Vec<u8>) -> Vec<u8> {
        let mut call = Call { path: path.into(), request, options: CallOptions::default() };
        super::request(&mut call, &mut Hidden::default());
        call.request
    }

    fn command(args: &[&str]) -> Vec<u8> {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        ExecuteVtctlCommandRequest { args, action_timeout: 7 }.encode_to_vec()
    }

    #[test]
    fn requests_keep_names_and_lose_values() {
        let vexec =
            |sql: &str| VExecRequest { keyspace: "ks".into(), sql: sql.into(), ..VExecRequest::default() }.encode_to_vec();
        let update = |message: Option<&str>, value: &str, filter: &str| {
            let rule = Rule { r#match: "t".into(), filter: filter.into(), ..Rule::default() };
            let wanted = UpdateVReplicationWorkflowRequest {
                workflow: "wf".into(),
                message: message.map(str::to_owned),
                config_overrides: BTreeMap::from([("a".to_owned(), value.to_owned())]),
                filter_rules: vec![rule],
                ..UpdateVReplicationWorkflowRequest::default()
            };
            WorkflowUpdateRequest { keyspace: "ks".into(), tablet_request: Some(wanted) }.encode_to_vec()
        };
        let throttle = |query: &str| {
            UpdateThrottlerConfigRequest {
                keyspace: "ks".into(),
                custom_query: query.into(),
                threshold: 3.5,
                ..Default::default()
            }
            .encode_to_vec()
        };
        let with_newer = |request: Vec<u8>| [request, NEWER.to_vec()].concat();
        let workflows = GetWorkflowsRequest { keyspace: "ks's".into(), ..GetWorkflowsRequest::default() }.encode_to_vec();
        for (path, before, after) in [
            (rpc::VEXEC, vexec("select 'bob'"), vexec("select '(redacted 1)'")),
            (
                rpc::EXECUTE_VTCTL_COMMAND,
                command(&["ApplySchema", "--sql", "select 'bob' # bob", "'bob'", "a # bob", "ks"]),
                command(&["ApplySchema", "--sql", "select '(redacted 1)' ", "'(redacted 1)'", "a ", "ks"]),
            ),
            // A command that is served has names only, whatever they look like.
            (
                rpc::EXECUTE_VTCTL_COMMAND,
                command(&["Workflow", "ks.it's # it", "show"]),
                command(&["Workflow", "ks.it's # it", "show"]),
            ),
            (
                rpc::WORKFLOW_UPDATE,
                update(Some("bob"), "al", "bob"),
                update(Some("(redacted 2)"), "(redacted 1)", "(redacted 2)"),
            ),
            (rpc::WORKFLOW_UPDATE, update(Some("Frozen"), "", ""), update(Some("Frozen"), "", "")),
            (rpc::WORKFLOW_UPDATE, update(None, "", "bob"), update(None, "", "(redacted 1)")),
            (rpc::UPDATE_THROTTLER_CONFIG, throttle("select bob"), throttle("(redacted 1)")),
            (rpc::UPDATE_THROTTLER_CONFIG, with_newer(throttle("")), with_newer(throttle(""))),
            (rpc::GET_WORKFLOWS, with_newer(workflows.clone()), with_newer(workflows.clone())),
            (rpc::SNAPSHOT, with_newer(Vec::new()), with_newer(Vec::new())),
            ("/vtctlservice.Vtctld/ApplySchema", workflows, Vec::new()),
            (rpc::VEXEC, NO_MESSAGE.to_vec(), NO_MESSAGE.to_vec()),
            (rpc::WORKFLOW_UPDATE, vec![0xff, 0xff], NO_MESSAGE.to_vec()),
        ] {
            assert_eq!(requested(path, before), after, "{path}: {:?}", String::from_utf8_lossy(&after));
        }
    }

    #[test]
    fn answers_of_every_rpc_lose_the_texts_of_their_rows() {
        let result = |value: &str| {
            let field = Field { name: b"note".to_vec(), r#type: 10_262, ..Field::default() };
            let row = Row { lengths: vec![i64::try_from(value.len()).unwrap()], values: value.into() };
            Some(QueryResult { fields: vec![field], rows: vec![row], rows_affected: 7, ..QueryResult::default() })
        };
        let answers: [(&str, Of); 6] = [
            (rpc::VREPLICATION_EXEC, |result| VReplicationExecResponse { result }.encode_to_vec()),
            (rpc::EXECUTE_FETCH_AS_DBA, |result| ExecuteFetchAsDbaResponse { result }.encode_to_vec()),
            (rpc::EXECUTE_QUERY, |result| ExecuteQueryResponse { result }.encode_to_vec()),
            (rpc::UPDATE_VREPLICATION_WORKFLOW, |result| UpdateVReplicationWorkflowResponse { result }.encode_to_vec()),
            (rpc::DELETE_VREPLICATION_WORKFLOW, |result| DeleteVReplicationWorkflowResponse { result }.encode_to_vec()),
            (rpc::VDIFF, |output| VDiffResponse { id: 5, output, vdiff_uuid: "u".into() }.encode_to_vec()),
        ];
        for (path, answer) in answers {
            let after = |bytes: &[u8]| response(path, bytes, false, &mut Hidden::default());
            assert_eq!(after(&answer(result("bob"))), answer(result("(redacted 1)")), "{path}");
            assert_eq!(after(&answer(None)), answer(None), "{path}");
            assert_eq!(after(&[0xff, 0xff]), NO_MESSAGE, "{path}");
        }
        // Asked only whether a tablet has it.
        let path = "/tabletmanagerservice.TabletManager/ReadVReplicationWorkflow";
        assert_eq!(response(path, b"bob", false, &mut Hidden::default()), b"");
    }
}
