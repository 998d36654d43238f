//! What people see of a reply and of asks: the screen's lines, tables and words, as they come.

use std::collections::BTreeMap;

use prost::Message;
use serde::{Deserialize, Serialize};
use vtflow_planner::{
    Answer, Call, Reply, Timestamp, What,
    proto::{
        vtctldata::{
            FindAllShardsInKeyspaceResponse, GetKeyspacesResponse, GetSchemaMigrationsResponse, GetTabletsResponse,
            GetWorkflowsRequest, GetWorkflowsResponse, VDiffShowRequest, VDiffShowResponse,
        },
        vtflow::DiagnoseResponse,
    },
    rpc,
    trace::Trace,
};
use vtflow_screen::{
    self as screen, Answered, Counted, Description, DiagnosisScreen, Extent, MigrationLine, Missing, OverviewLine, Picture, Said,
    SourceShards, Surroundings, Table, WorkflowLine,
    plans::{self, PlanScreen},
    rehearsal,
};
use wasm_bindgen::prelude::*;

use crate::{read, write};

#[derive(Default, Serialize)]
struct Shown {
    workflows: Vec<Workflow>,
    migrations: Vec<MigrationLine>,
    keyspaces: Vec<String>,
    /// What the reply is about: `Workflows`. Empty when that is not known.
    title: &'static str,
    /// What there is to say above the tables, a line each.
    notes: Vec<String>,
    /// The lists in the reply; the first has a row for each of `workflows`, if there are any.
    tables: Vec<Table>,
    /// What is wrong with the traffic of workflows, of a diagnosis.
    diagnosis: Option<DiagnosisScreen>,
    /// What a request that writes would do, or has begun to do.
    plan: Option<PlanScreen>,
    /// What became of it, a line for each target; none of a preview.
    outcomes: Vec<String>,
    /// What is missing.
    missing: Option<Missing>,
    /// What to try if the request failed, where something is known.
    next_step: Option<&'static str>,
}

#[derive(Serialize)]
struct Workflow {
    line: WorkflowLine,
    description: Description,
    picture: Picture,
}

/// What there is to see of a reply: `{workflows, migrations, keyspaces, title, notes, tables, diagnosis, plan, outcomes, missing, next_step}`, empty lists where it has none.
/// `call`: the request, so that what its filters left out does not count as missing.
///
/// # Errors
/// An argument of another form, or a message that cannot be decoded.
#[wasm_bindgen(unchecked_return_type = "Shown")]
pub fn show(
    path: &str,
    #[wasm_bindgen(unchecked_param_type = "Reply")] reply: JsValue,
    #[wasm_bindgen(unchecked_param_type = "Timestamp")] now: JsValue,
    #[wasm_bindgen(unchecked_param_type = "Call | undefined")] call: JsValue,
) -> Result<JsValue, JsError> {
    let (reply, now): (Reply, Timestamp) = (read("reply", reply)?, read("now", now)?);
    let call: Option<Call> = read("call", call)?;
    write(&shown(path, &reply, now, call.as_ref())?)
}

fn shown(path: &str, reply: &Reply, now: Timestamp, call: Option<&Call>) -> Result<Shown, prost::DecodeError> {
    let mut shown = Shown { title: title(path), missing: screen::missing(&reply.failures), ..Shown::default() };
    if let Some(written) = &reply.written {
        shown.plan = Some(plans::screen(&written.plan));
        shown.outcomes = written.outcomes.iter().map(ToString::to_string).collect();
        shown.notes.clone_from(&written.notes);
    }
    let bytes = match &reply.result {
        Ok(bytes) => bytes.as_slice(),
        Err(status) => {
            shown.next_step = screen::next_step(&status.message);
            return Ok(shown);
        }
    };
    match path {
        rpc::GET_WORKFLOWS => {
            let response = GetWorkflowsResponse::decode(bytes)?;
            let request = call.map(|call| GetWorkflowsRequest::decode(call.request.as_slice())).transpose()?;
            let lines = screen::workflows_of(&request.unwrap_or_default(), &response, now);
            shown.tables.push(screen::workflow_table(&lines));
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
            shown.tables.push(screen::migration_table(&shown.migrations));
        }
        rpc::GET_KEYSPACES => {
            shown.keyspaces = screen::keyspace_names(&GetKeyspacesResponse::decode(bytes)?, &reply.failures);
        }
        rpc::FIND_ALL_SHARDS_IN_KEYSPACE => {
            let lines = screen::shards(&FindAllShardsInKeyspaceResponse::decode(bytes)?, now);
            shown.tables.push(screen::shard_table(&lines, Extent::All));
        }
        rpc::GET_TABLETS => {
            let lines = screen::tablets(&GetTabletsResponse::decode(bytes)?, now);
            shown.tables.push(screen::tablet_table(&lines));
        }
        rpc::DIAGNOSE => {
            shown.diagnosis = Some(screen::diagnosis(&DiagnoseResponse::decode(bytes)?, &reply.failures, now));
        }
        rpc::VDIFF_SHOW => {
            let request = call.map(|call| VDiffShowRequest::decode(call.request.as_slice())).transpose()?.unwrap_or_default();
            vdiffs(&mut shown, &request, &VDiffShowResponse::decode(bytes)?, now);
        }
        _ => {}
    }
    shown.tables.retain(|table| !table.rows.is_empty());
    Ok(shown)
}

fn title(path: &str) -> &'static str {
    match path {
        rpc::GET_WORKFLOWS => "Workflows",
        rpc::GET_SCHEMA_MIGRATIONS => "Schema migrations",
        rpc::VDIFF_SHOW => "VDiffs",
        rpc::GET_KEYSPACES => "Keyspaces",
        rpc::FIND_ALL_SHARDS_IN_KEYSPACE => "Shards",
        rpc::GET_TABLETS => "Tablets",
        rpc::DIAGNOSE => "Diagnosis",
        _ => "",
    }
}

fn vdiffs(shown: &mut Shown, request: &VDiffShowRequest, reply: &VDiffShowResponse, now: Timestamp) {
    if request.arg == "all" {
        match screen::vdiff_list(reply, now) {
            Ok(lines) => shown.tables.push(screen::vdiff_list_table(&lines)),
            Err(error) => shown.notes.push(error.to_string()),
        }
    } else if let Some(summary) = screen::vdiff_summary(&request.target_keyspace, &request.workflow, reply, None, now) {
        shown.notes = summary.lines();
        shown.tables = screen::vdiff_tables(&summary);
    }
}

/// An ask of a trace in words, and what came of it.
#[derive(Serialize)]
struct AskWords {
    #[serde(flatten)]
    asked: screen::Asked,
    #[serde(flatten)]
    answered: Answered,
}

/// The asks of a trace in words, in their order: `{whom, place, what, outcome, text, bytes}` each.
///
/// # Errors
/// A trace of another form.
#[wasm_bindgen(unchecked_return_type = "AskWords[]")]
pub fn asks(#[wasm_bindgen(unchecked_param_type = "Trace")] trace: JsValue) -> Result<JsValue, JsError> {
    let trace: Trace = read("trace", trace)?;
    let words = |traced: &vtflow_planner::trace::Traced| AskWords {
        asked: screen::asked(&traced.ask.what),
        answered: screen::answered(traced.answer.as_ref()),
    };
    write(&trace.asks.iter().map(words).collect::<Vec<_>>())
}

/// What there is to see of a rehearsal: of the document that `--rehearse -o json` prints.
///
/// # Errors
/// A document of another form.
#[wasm_bindgen(unchecked_return_type = "RehearsalLines")]
pub fn rehearsal(document: JsValue) -> Result<JsValue, JsError> {
    write(&rehearsal::screen(&read("rehearsal", document)?))
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
    /// The two as tables.
    tables: [Table; 2],
}

/// All keyspaces at a glance, trouble first: `{workflows, migrations, tables}`, each a line, or a row, for every keyspace. `reads`: what each answered.
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
    let (workflows, migrations) = (screen::overview(workflows), screen::overview(migrations));
    let table = |lines: &[OverviewLine], counted| screen::overview_table(lines, counted, Extent::All);
    let tables = [table(&workflows, Counted::Workflows), table(&migrations, Counted::Migrations)];
    write(&Overview { workflows, migrations, tables })
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
