//! What a request would ask, over a topology that is only looked at: the page's Plan view.

use prost::Message;
use serde::{Deserialize, Serialize};
use vtflow_planner::{
    Call, Failure, Record, Reply, Status, Timestamp,
    explain::Plan,
    preview::{Preview, Records, preview},
    proto::vtflow::VExecResponse,
    rpc,
    vexec::{Scope, Statement},
};
use vtflow_screen::{self as screen, Missing};
use wasm_bindgen::prelude::*;

use crate::{read, write};

/// One topology record.
#[derive(Deserialize)]
struct Given {
    cell: String,
    #[serde(flatten)]
    record: Record,
}

/// What the page shows.
#[derive(Serialize)]
struct Planned {
    plan: Plan,
    failures: Vec<Failure>,
    /// Those failures as people read them.
    missing: Option<Missing>,
    /// Why the request ends without a tablet call, if it does.
    refused: Option<Status>,
    /// What to try then, where something is known.
    next_step: Option<&'static str>,
    /// Of `VExec`: the statement of each target.
    statements: Vec<Target>,
}

#[derive(Serialize)]
struct Target {
    tablet: String,
    shard: String,
    db_name: String,
    statement: String,
    /// Pieces of the statement, and whether vtflow added each.
    pieces: Vec<(String, bool)>,
}

/// Plans a call over records: `[{cell, path, version?, value}]`. No tablet is asked: what depends on rows is not known.
///
/// # Errors
/// An argument of another form.
#[wasm_bindgen(unchecked_return_type = "Planned")]
pub fn plan(
    #[wasm_bindgen(unchecked_param_type = "Call")] call: JsValue,
    #[wasm_bindgen(unchecked_param_type = "Timestamp")] now: JsValue,
    #[wasm_bindgen(unchecked_param_type = "(TopologyRecord & { cell: string })[]")] records: JsValue,
) -> Result<JsValue, JsError> {
    let (call, now): (Call, Timestamp) = (read("call", call)?, read("now", now)?);
    let records: Vec<Given> = read("records", records)?;
    write(&planned(&call, now, records))
}

fn planned(call: &Call, now: Timestamp, records: Vec<Given>) -> Planned {
    let records: Records = records
        .into_iter()
        .map(|Given { cell, record: Record { path, value, version } }| ((cell, path), (value, version)))
        .collect();
    let Preview { asks, failures, reply } = preview(call, now, &records);
    let statements = match &reply {
        Some(Reply { result: Ok(bytes), .. }) if call.path == rpc::VEXEC => statements(bytes),
        _ => Vec::new(),
    };
    let refused = reply.and_then(|reply| reply.result.err());
    Planned {
        plan: Plan::new(&call.path, &asks, Vec::new()),
        missing: screen::missing(&failures),
        next_step: refused.as_ref().and_then(|status| screen::next_step(&status.message)),
        failures,
        refused,
        statements,
    }
}

fn statements(reply: &[u8]) -> Vec<Target> {
    let targets = VExecResponse::decode(reply).unwrap_or_default().targets;
    let target = |target: vtflow_planner::proto::vtflow::v_exec_response::Target| {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        let (mut pieces, mut end) = (Vec::new(), 0);
        let mut push = |from: usize, to: usize, is_added| {
            if let Some(text) = target.statement.get(from..to).filter(|text| !text.is_empty()) {
                pieces.push((text.to_owned(), is_added));
            }
        };
        for span in &target.added {
            push(end, place(span.start), false);
            push(place(span.start), place(span.end), true);
            end = place(span.end);
        }
        push(end, target.statement.len(), false);
        Target { tablet: target.tablet, shard: target.shard, db_name: target.db_name, pieces, statement: target.statement }
    };
    targets.into_iter().map(target).collect()
}

/// Why a statement is refused, and where.
#[derive(Serialize)]
struct Refused {
    message: String,
    /// What would be accepted.
    accepted: String,
    before: String,
    /// What is wrong; empty where something is missing.
    at: String,
    after: String,
}

/// Checks a statement of a person's: `null`, or `{message, accepted, before, at, after}`.
///
/// # Errors
/// None that is known.
#[wasm_bindgen(unchecked_return_type = "Refused | null")]
pub fn check(sql: &str, workflow: &str) -> Result<JsValue, JsError> {
    let refused = Statement::parse(sql, Scope { workflow: workflow.into() }).err().map(|refusal| {
        let part = |from: usize, to: usize| sql.get(from..to).unwrap_or_default().to_owned();
        Refused {
            before: part(0, refusal.span.start),
            at: part(refusal.span.start, refusal.span.end),
            after: part(refusal.span.end, sql.len()),
            message: refusal.message,
            accepted: refusal.accepted,
        }
    });
    write(&refused)
}
