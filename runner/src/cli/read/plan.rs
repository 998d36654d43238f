//! `vtflow plan ...`: what a request would ask, without calling a tablet. One way for every request.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use vtflow_planner::Call;

use crate::{
    cli::{args::WorkflowsArgs, cluster::open::OpenCluster, failures},
    drive::plan,
    output::{progress::Progress, terminal},
};

/// Arguments that stand for one request.
pub(crate) trait Request {
    /// The request.
    ///
    /// # Errors
    /// Arguments that contradict each other.
    fn call(&self) -> anyhow::Result<Call>;
}

/// A request, and how its plan is printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlanArgs<R: Args> {
    #[command(flatten)]
    request: R,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct PlannedWorkflowsArgs {
    /// The target keyspace
    keyspace: String,
    #[command(flatten)]
    workflows: WorkflowsArgs,
    /// Plan for the names only, as `get workflows -o name` asks
    #[arg(long)]
    name_only: bool,
}

impl Request for PlannedWorkflowsArgs {
    fn call(&self) -> anyhow::Result<Call> {
        Ok(self.workflows.call(&self.keyspace, self.name_only, false))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// Every ask with all it holds
    Json,
}

pub(crate) async fn run<R: Request + Args>(cluster: &OpenCluster, args: PlanArgs<R>) -> anyhow::Result<ExitCode> {
    let call = args.request.call()?;
    let flow = cluster.planner.start(&call, cluster.now());
    let planned = plan(flow, &cluster.io, None, &Progress::start()).await;
    if let Some(Err(status)) = planned.reply.as_ref().map(|reply| &reply.result) {
        failures::print(&planned.failures);
        anyhow::bail!("{}", status.message);
    }
    let plan = cluster.planner.explain(&call.path, &planned.asks, planned.failures).map_err(|error| anyhow::anyhow!(error))?;
    match args.output {
        Format::Text => terminal::print(&plan.text()),
        Format::Json => terminal::print(&(serde_json::to_string_pretty(&plan)? + "\n")),
    }
    failures::print(&plan.failures);
    Ok(if plan.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
