//! `vtflow get workflows KEYSPACE`.

use std::process::ExitCode;

use clap::Args;
use prost::Message;
use vtflow_planner::{
    Call, Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse},
    rpc, summary,
};

use super::{
    WorkflowsArgs,
    connect::Connected,
    view::{self, Format, Line, Reading, Screen, ShowArgs, View},
};
use crate::output::{
    json::Document,
    table::{Column, Fit},
    terminal,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct GetWorkflowsArgs {
    #[command(flatten)]
    workflows: WorkflowsArgs,
    /// Fail altogether if any shard gives no answer
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    show: ShowArgs,
}

impl GetWorkflowsArgs {
    /// All workflows of a keyspace, as a table.
    pub(crate) fn all_of(keyspace: &str) -> Self {
        let workflows =
            WorkflowsArgs { keyspace: keyspace.into(), workflow: None, active_only: false, logs: false, shards: Vec::new() };
        Self { workflows, strict: false, show: ShowArgs { output: Format::Table, watch: None } }
    }
}

impl WorkflowsArgs {
    /// The request that these arguments stand for.
    pub(crate) fn call(&self, name_only: bool, strict: bool) -> Call {
        view::call(rpc::GET_WORKFLOWS, self.request(name_only).encode_to_vec(), strict)
    }

    fn request(&self, name_only: bool) -> GetWorkflowsRequest {
        GetWorkflowsRequest {
            keyspace: self.keyspace.clone(),
            active_only: self.active_only,
            name_only,
            workflow: self.workflow.clone().unwrap_or_default(),
            include_logs: self.logs,
            shards: self.shards.clone(),
        }
    }
}

pub(crate) async fn run(cluster: &Connected, args: GetWorkflowsArgs) -> anyhow::Result<ExitCode> {
    view::run(cluster, &args, args.show.watch, args.show.is_screen()).await
}

impl View for GetWorkflowsArgs {
    type Read = Vec<u8>;

    async fn read(&self, cluster: &Connected, now: Timestamp) -> Reading<Vec<u8>> {
        let call = self.workflows.call(self.show.output == Format::Name, self.strict);
        view::ask(cluster, &call, now).await.into()
    }

    fn text(&self, screen: &Screen<'_, Vec<u8>>) -> anyhow::Result<String> {
        let mut reply = GetWorkflowsResponse::decode(screen.read.as_slice())?;
        // A request without a name asks for all: who names the one without a name gets that.
        if let Some(name) = &self.workflows.workflow {
            reply.workflows.retain(|workflow| workflow.name == *name);
        }
        let document = Document::read("vtctldata.GetWorkflowsResponse", &reply.encode_to_vec())?;
        if let Some(text) = view::document(self.show.output, &document) {
            return Ok(text?);
        }
        if self.show.output == Format::Name {
            return Ok(view::names(reply.workflows.iter().map(|workflow| workflow.name.as_str())));
        }
        let shown = summary::workflows_of(&self.workflows.request(false), &reply, screen.now);
        Ok(lines(&shown, self.show.width(screen.width), &self.workflows))
    }
}

fn lines(workflows: &[summary::WorkflowLine], width: Option<usize>, args: &WorkflowsArgs) -> String {
    if workflows.is_empty() {
        let named = args.workflow.as_ref().map_or_else(String::new, |name| format!(" called {}", view::name(name)));
        return terminal::printable(&format!("No workflows{named} in keyspace {}.", args.keyspace)) + "\n";
    }
    let columns = [
        Column { heading: "WORKFLOW", fit: Fit::Middle(12) },
        Column { heading: "TYPE", fit: Fit::Middle(8) },
        Column { heading: "FROM", fit: Fit::Middle(8) },
        Column { heading: "TO", fit: Fit::Middle(8) },
        Column { heading: "STREAMS", fit: Fit::Whole },
        Column { heading: "LAG", fit: Fit::Whole },
        Column { heading: "COPIED", fit: Fit::Whole },
        Column { heading: "NOTE", fit: Fit::Rest },
    ];
    let row = |line: &summary::WorkflowLine| Line {
        cells: vec![
            view::name(&line.name),
            line.kind.clone(),
            line.source.clone(),
            line.target.clone(),
            line.streams.clone(),
            view::seconds(line.lag_seconds),
            line.copied.clone(),
            line.note.clone(),
        ],
        has_trouble: line.has_trouble,
    };
    view::lines(&columns, &workflows.iter().map(row).collect::<Vec<_>>(), width)
}
