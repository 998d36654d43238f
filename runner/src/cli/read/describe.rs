//! `vtflow describe workflow KEYSPACE NAME`: one screen on one workflow.

use std::{collections::BTreeMap, fmt::Write, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use futures_util::{StreamExt, stream};
use prost::Message;
use serde::Serialize;
use vtflow_planner::{
    Call, Failure, Lost, Status, Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, Workflow, WorkflowStatusRequest, WorkflowStatusResponse},
    rpc,
};
use vtflow_screen::{self as screen, Description, SourceShards, Surroundings};

use super::{
    plan::Request,
    topology::shards_of,
    view::{self, Reading, Screen, View},
};
use crate::{
    cli::{cluster::open::OpenCluster, duration},
    output::{
        json::{self, Document},
        lines,
        terminal::{self, Style},
    },
};

/// Which workflow.
#[derive(Args, Clone, Debug)]
pub(crate) struct WorkflowArgs {
    /// The target keyspace
    keyspace: String,
    /// The workflow
    workflow: String,
}

/// What `plan status` plans: the status is all that `describe` asks beside `get workflows --logs`.
impl Request for WorkflowArgs {
    fn call(&self) -> anyhow::Result<Call> {
        let request =
            WorkflowStatusRequest { keyspace: self.keyspace.clone(), workflow: self.workflow.clone(), shards: Vec::new() };
        Ok(view::call(rpc::WORKFLOW_STATUS, request.encode_to_vec(), false))
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    workflow: WorkflowArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
    /// Show it again and again, every two seconds or every DURATION, marking what changed
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "2s", require_equals = true, value_parser = duration::parse)]
    watch: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One screen for people
    Text,
    /// The same, nothing cut off
    Wide,
    /// What both replies say, as vtctldclient prints them
    Json,
    /// The same as YAML
    Yaml,
}

/// Both replies, and what is known beside them. The status may be missing: the rest is still shown.
pub(crate) struct Both {
    workflow: Workflow,
    status: Option<WorkflowStatusResponse>,
    around: Surroundings,
}

#[derive(Serialize)]
struct Documents {
    workflow: Document,
    status: Option<Document>,
    /// Of its streams, and of the ways that its tables go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contradictions: Vec<String>,
}

impl View for DescribeArgs {
    type Read = Both;

    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<Both> {
        let WorkflowArgs { keyspace, workflow } = &self.workflow;
        let request = GetWorkflowsRequest {
            keyspace: keyspace.clone(),
            workflow: workflow.clone(),
            include_logs: true,
            ..GetWorkflowsRequest::default()
        };
        let workflows = view::call(rpc::GET_WORKFLOWS, request.encode_to_vec(), false);
        let status = match self.workflow.call() {
            Ok(call) => call,
            Err(error) => return Reading::failed(Status::unknown(error.to_string())),
        };
        // A status is asked for by name, which one workflow may not have.
        let status = async { if workflow.is_empty() { None } else { Some(view::ask(cluster, &status, now).await) } };
        let (workflows, status) = tokio::join!(view::ask(cluster, &workflows, now), status);
        let mut failures = workflows.failures;
        let found = workflows.result.and_then(|bytes| view::decode::<GetWorkflowsResponse>(&bytes));
        let found = found.and_then(|reply| {
            let missing = || Status::unknown(format!("no workflow {} in keyspace {keyspace}", screen::visible_name(workflow)));
            reply.workflows.into_iter().find(|found| found.name == *workflow).ok_or_else(missing)
        });
        let mut found = match found {
            Ok(found) => found,
            Err(status) => return Reading { result: Err(status), failures },
        };
        let mut around = Surroundings::default();
        // Documents are the replies as they are.
        if matches!(self.output, Format::Text | Format::Wide) {
            let forward = screen::forward(&found);
            let forward = async {
                match &forward {
                    Some(call) => Some(view::ask(cluster, call, now).await),
                    None => None,
                }
            };
            let (sources, forward) = tokio::join!(look_around(cluster, keyspace, std::slice::from_mut(&mut found), now), forward);
            around.sources = sources;
            around.has_forward = forward.and_then(|reply| screen::forward_is_there(&found, &reply));
        }
        let mut of_status = status.as_ref().map_or_else(Vec::new, |status| status.failures.clone());
        // Both ask the same tablets: what one of them said, the other need not repeat.
        of_status.retain(|failure| !failures.iter().any(|it| it.shard == failure.shard && it.message == failure.message));
        failures.append(&mut of_status);
        around.take(&found.name, &mut failures);
        let Some(status) = status else {
            return Reading { result: Ok(Both { workflow: found, status: None, around }), failures };
        };
        let status = status.result.and_then(|bytes| view::decode::<WorkflowStatusResponse>(&bytes));
        let status = status.map_err(|status| failures.push(lost_status(keyspace, workflow, status.message))).ok();
        Reading { result: Ok(Both { workflow: found, status, around }), failures }
    }

    fn text(&self, screen: &Screen<'_, Both>) -> anyhow::Result<String> {
        let Both { workflow, status, around } = screen.read;
        let documents = || -> Result<Documents, json::PrintError> {
            let status = status.as_ref().map(Message::encode_to_vec);
            let status = status.map(|bytes| Document::read("vtctldata.WorkflowStatusResponse", &bytes)).transpose()?;
            let workflow = Document::read("vtctldata.Workflow", &workflow.encode_to_vec())?;
            Ok(Documents { workflow, status, contradictions: [around.contradictions.clone(), around.splits.clone()].concat() })
        };
        let width = match self.output {
            Format::Json => return Ok(json::any_json(&documents()?)?),
            Format::Yaml => return Ok(json::any_yaml(&documents()?)?),
            Format::Text => screen.width,
            Format::Wide => None,
        };
        let before = screen.before.map(|before| screen::Reading { workflow: &before.workflow });
        let description = screen::describe(workflow, status.as_ref(), around, before, screen.now);
        Ok(show(&self.workflow.keyspace, &description, width))
    }
}

/// More keyspaces than that are not looked at: each costs a request.
const KEYSPACES_AT_MOST: usize = 256;

/// The shards of the keyspaces that workflows read, where they are of this cluster. Empty: they read none.
async fn sources(cluster: &OpenCluster, workflows: &[Workflow], now: Timestamp) -> BTreeMap<String, SourceShards> {
    let mut known = BTreeMap::new();
    let mut asked = Vec::new();
    for keyspace in screen::source_keyspaces(workflows) {
        if keyspace.is_empty() || asked.len() >= KEYSPACES_AT_MOST {
            known.insert(keyspace, SourceShards::Unknown);
        } else {
            asked.push(keyspace);
        }
    }
    let read = |keyspace: String| async {
        let shards = SourceShards::read(&keyspace, &view::ask(cluster, &shards_of(&keyspace), now).await);
        (keyspace, shards)
    };
    let read: Vec<_> = stream::iter(asked).map(read).buffered(view::KEYSPACES_AT_ONCE).collect().await;
    known.extend(read);
    known
}

/// What people are told beside the reply: the stored states of streams that are in doubt, which are put in, and the shards of the
/// keyspaces that the workflows read.
pub(crate) async fn look_around(
    cluster: &OpenCluster,
    keyspace: &str,
    workflows: &mut [Workflow],
    now: Timestamp,
) -> BTreeMap<String, SourceShards> {
    let stored = screen::stored_states(keyspace, workflows.iter());
    let stored = async {
        match &stored {
            Some(call) => view::ask(cluster, call, now).await.result.ok(),
            None => None,
        }
    };
    let (stored, sources) = tokio::join!(stored, sources(cluster, workflows, now));
    if let Some(response) = stored {
        screen::put_stored_states(workflows, &response);
    }
    sources
}

fn lost_status(keyspace: &str, workflow: &str, message: String) -> Failure {
    Failure {
        keyspace: keyspace.into(),
        shard: String::new(),
        tablet: String::new(),
        workflow: workflow.into(),
        lost: Lost::Workflow,
        message,
    }
}

fn show(keyspace: &str, of: &Description, width: Option<usize>) -> String {
    let name = terminal::printable(&screen::visible_name(&of.name));
    let mut out = cut(&format!("{keyspace}.{name}  {}  {} -> {}", of.kind, of.source, of.target), width);
    out += &cut(&format!("streams   {}", of.streams_by_state), width);
    for trouble in &of.troubles {
        let text = lines::wrapped("trouble   ", &terminal::printable(trouble), width);
        out += &text.lines().map(|line| terminal::on_stdout(Style::Trouble, line) + "\n").collect::<String>();
    }
    out += &lines::wrapped("traffic   ", &terminal::printable(of.traffic.as_deref().unwrap_or("not known")), width);
    if let Some(copy) = &of.copy {
        out += &lines::wrapped("copy      ", &copy.text(), width);
    }
    for (i, (name, value)) in of.options.iter().enumerate() {
        out += &cut(&format!("{}{name}: {value}", if i == 0 { "options   " } else { "          " }), width);
    }
    out += "\n";
    out += &view::table(&screen::stream_table(of), width);
    for trouble in of.streams.iter().filter_map(screen::StreamLine::trouble) {
        out += &lines::wrapped("    ", &terminal::printable(&trouble), width);
    }
    if !of.tables.is_empty() {
        out += "\n";
        out += &view::table(&screen::copy_table(of), width);
    }
    out += "\nLOG\n";
    if of.logs.is_empty() {
        out += "  nothing\n";
    }
    let widest = of.logs.iter().map(|log| lines::width(&log.times())).max().unwrap_or(0);
    for log in &of.logs {
        let message = if log.message.is_empty() { String::new() } else { format!(": {}", log.message) };
        let first = format!("  {}  ", lines::padded(&log.times(), widest));
        out += &lines::wrapped(&first, &terminal::printable(&format!("{}  {}{message}", log.shards, log.what)), width);
    }
    for error in &of.log_errors {
        out += &lines::wrapped("  not readable: ", &terminal::printable(error), width);
    }
    if !of.next.is_empty() {
        out += "\nNEXT\n";
        for step in &of.next {
            out += &lines::wrapped("  ", &format!("{}{}", step.why, if step.command.is_empty() { "" } else { ":" }), width);
            // Commands are there to be copied: never cut, never wrapped.
            if !step.command.is_empty() {
                let _ = writeln!(out, "    {}", terminal::printable(&step.command));
            }
        }
    }
    out
}

fn cut(line: &str, width: Option<usize>) -> String {
    lines::cut(&terminal::printable(line), width) + "\n"
}

pub(crate) async fn run(cluster: &OpenCluster, args: DescribeArgs) -> anyhow::Result<ExitCode> {
    view::run(cluster, &args, args.watch, matches!(args.output, Format::Text | Format::Wide)).await
}
