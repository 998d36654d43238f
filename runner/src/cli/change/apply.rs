//! `vtflow apply PLAN.json`: performs a plan that was made with `--dry-run -o json`, or nothing.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use vtflow_files::given_file;
use vtflow_planner::{Effect, contract::WritePlan, rpc, serve};

use super::confirm::{self, ConfirmArgs};
use crate::cli::cluster::open::OpenCluster;

#[derive(Args, Clone, Debug)]
pub(crate) struct ApplyArgs {
    /// The plan's file
    #[arg(value_name = "PLAN.json")]
    plan: PathBuf,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(crate) async fn run(cluster: &OpenCluster, args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let name = args.plan.display();
    let text = given_file::read(&args.plan, given_file::PLAN_BYTES).with_context(|| format!("{name} cannot be read"))?;
    let plan: WritePlan = serde_json::from_slice(&text)
        .with_context(|| format!("{name} is not a plan: vtflow makes one with --dry-run -o json"))?;
    let is_write = [rpc::VEXEC, rpc::UNLOCK].contains(&plan.rpc.as_str())
        || serve::served(&plan.rpc).is_some_and(|served| served.effect == Effect::Write);
    if !is_write {
        bail!("{name} is a plan for {:?}, which is no request that changes anything", plan.rpc);
    }
    confirm::apply(cluster, plan, &args.confirm).await
}
