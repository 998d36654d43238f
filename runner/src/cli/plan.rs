//! `vtflow plan workflows KEYSPACE`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use vtflow_planner::{Flow, explain::Plan, rpc};

use super::{WorkflowsArgs, connect::Connected, failures};
use crate::{
    drive::plan,
    output::{progress::Progress, terminal},
};

#[derive(Args, Clone, Debug)]
pub(crate) struct PlanWorkflowsArgs {
    #[command(flatten)]
    workflows: WorkflowsArgs,
    /// Plan for the names only, as `get workflows -o name` asks
    #[arg(long)]
    name_only: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// Every ask with all it holds
    Json,
}

pub(crate) async fn run(cluster: &Connected, args: PlanWorkflowsArgs) -> anyhow::Result<ExitCode> {
    let flow = Flow::start(&args.workflows.call(args.name_only, false), cluster.now());
    let planned = plan(flow, &cluster.io, None, &Progress::start()).await;
    if let Some(Err(status)) = planned.reply.as_ref().map(|reply| &reply.result) {
        failures::print(&planned.failures);
        anyhow::bail!("{}", status.message);
    }
    let plan = Plan::new(rpc::GET_WORKFLOWS, &planned.asks, planned.failures);
    match args.output {
        Format::Text => terminal::print(&plan.text()),
        Format::Json => terminal::print(&(serde_json::to_string_pretty(&plan)? + "\n")),
    }
    failures::print(&plan.failures);
    Ok(if plan.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
