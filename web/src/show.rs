//! What people see of a reply: the planner's summaries, one object for each thing.

use std::collections::BTreeMap;

use prost::Message;
use serde::{Deserialize, Serialize};
use vtflow_planner::{
    Answer, Call, Reply, Timestamp, What,
    proto::vtctldata::{GetKeyspacesResponse, GetSchemaMigrationsResponse, GetWorkflowsRequest, GetWorkflowsResponse},
    rpc,
};
use vtflow_screen::{
    self as screen, Description, MigrationLine, OverviewLine, Picture, Said, SourceShards, Surroundings, WorkflowLine,
};
use wasm_bindgen::prelude::*;

use crate::{read, write};

#[derive(Default, Serialize)]
struct Shown {
    workflows: Vec<Workflow>,
    migrations: Vec<MigrationLine>,
    keyspaces: Vec<String>,
}

#[derive(Serialize)]
struct Workflow {
    line: WorkflowLine,
    description: Description,
    picture: Picture,
}

/// What there is to see of a reply: `{workflows, migrations, keyspaces}`, empty lists where it has none. `call`: the request, so that
/// what its filters left out does not count as missing.
///
/// # Errors
/// An argument of another form, or a message that cannot be decoded.
#[wasm_bindgen]
pub fn show(
    path: &str,
    #[wasm_bindgen(unchecked_param_type = "Reply")] reply: JsValue,
    #[wasm_bindgen(unchecked_param_type = "Timestamp")] now: JsValue,
    #[wasm_bindgen(unchecked_param_type = "Call | undefined")] call: JsValue,
) -> Result<JsValue, JsError> {
    let (reply, now): (Reply, Timestamp) = (read("reply", reply)?, read("now", now)?);
    let call: Option<Call> = read("call", call)?;
    write(&shown(path, reply, now, call.as_ref())?)
}

fn shown(path: &str, reply: Reply, now: Timestamp, call: Option<&Call>) -> Result<Shown, prost::DecodeError> {
    let mut shown = Shown::default();
    let Ok(bytes) = reply.result else { return Ok(shown) };
    let bytes = bytes.as_slice();
    match path {
        rpc::GET_WORKFLOWS => {
            let response = GetWorkflowsResponse::decode(bytes)?;
            let request = call.map(|call| GetWorkflowsRequest::decode(call.request.as_slice())).transpose()?;
            let lines = screen::workflows_of(&request.unwrap_or_default(), &response, now);
            // The lines have the order; the rest is found by name.
            let find = |line: WorkflowLine| {
                let workflow = response.workflows.iter().find(|workflow| workflow.name == line.name)?;
                let description = screen::describe(workflow, None, &Surroundings::default(), None, now);
                Some(Workflow { line, description, picture: screen::picture(workflow, now) })
            };
            shown.workflows = lines.into_iter().filter_map(find).collect();
        }
        rpc::GET_SCHEMA_MIGRATIONS => {
            let response = GetSchemaMigrationsResponse::decode(bytes)?;
            let beside = screen::Beside { failures: &reply.failures, is_whole: true, ..screen::Beside::default() };
            shown.migrations = screen::migrations(&response, beside, now);
        }
        "/vtctlservice.Vtctld/GetKeyspaces" => {
            shown.keyspaces = screen::keyspace_names(&GetKeyspacesResponse::decode(bytes)?, &reply.failures);
        }
        _ => {}
    }
    Ok(shown)
}

/// A text from outside as it may be shown: what a screen would obey or hide is escaped.
#[wasm_bindgen]
pub fn printable(text: &str) -> String {
    screen::printable(text)
}

/// What one request came to: a reply and when it was begun, or why there is none.
#[derive(Default, Deserialize)]
struct One {
    reply: Option<Reply>,
    now: Option<Timestamp>,
    #[serde(default)]
    error: String,
}

impl One {
    fn said(&self) -> Said<'_> {
        self.reply.as_ref().ok_or(self.error.as_str())
    }
}

/// What one keyspace answered, each request for itself.
#[derive(Deserialize)]
struct Asked {
    keyspace: String,
    workflows: One,
    migrations: One,
    shards: One,
}

#[derive(Serialize)]
struct Overview {
    workflows: Vec<OverviewLine>,
    migrations: Vec<OverviewLine>,
}

/// All keyspaces at a glance, trouble first: `{workflows, migrations}`, each a line for every keyspace. `reads`: what each answered.
///
/// # Errors
/// An argument of another form.
#[wasm_bindgen(unchecked_return_type = "Overview")]
pub fn overview(
    #[wasm_bindgen(unchecked_param_type = "Asked[]")] reads: JsValue,
    #[wasm_bindgen(unchecked_param_type = "Timestamp")] now: JsValue,
) -> Result<JsValue, JsError> {
    let (asked, now): (Vec<Asked>, Timestamp) = (read("reads", reads)?, read("now", now)?);
    let shards =
        |it: &Asked| it.shards.reply.as_ref().map_or_else(SourceShards::default, |reply| SourceShards::read(&it.keyspace, reply));
    let all: BTreeMap<String, SourceShards> = asked.iter().map(|it| (it.keyspace.clone(), shards(it))).collect();
    let (mut workflows, mut migrations) = (Vec::new(), Vec::new());
    for Asked { keyspace, workflows: streams, migrations: changes, .. } in &asked {
        let shards = all.get(keyspace).unwrap_or(&SourceShards::Unknown);
        workflows.push(screen::workflows_read(keyspace, streams.said(), &all, streams.now.unwrap_or(now)));
        migrations.push(screen::migrations_read(keyspace, changes.said(), streams.said(), shards, changes.now.unwrap_or(now)));
    }
    write(&Overview { workflows: screen::overview(workflows), migrations: screen::overview(migrations) })
}

/// What an empty reply to a request means, as a sentence.
///
/// # Errors
/// An argument of another form.
#[wasm_bindgen]
pub fn nothing(
    #[wasm_bindgen(unchecked_param_type = "Call")] call: JsValue,
    #[wasm_bindgen(unchecked_param_type = "Reply")] reply: JsValue,
) -> Result<String, JsError> {
    let (call, reply): (Call, Reply) = (read("call", call)?, read("reply", reply)?);
    Ok(screen::nothing(&call, &reply.failures))
}

/// The rows in a tablet's answer: `{columns, rows}`, or `null`.
///
/// # Errors
/// An argument of another form.
#[wasm_bindgen]
pub fn table(
    #[wasm_bindgen(unchecked_param_type = "What")] what: JsValue,
    #[wasm_bindgen(unchecked_param_type = "Answer")] answer: JsValue,
) -> Result<JsValue, JsError> {
    let (what, answer): (What, Answer) = (read("what", what)?, read("answer", answer)?);
    write(&screen::answer_rows(&what, &answer))
}
