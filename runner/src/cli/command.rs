//! The commands about one cluster, and which file does each.

use std::process::ExitCode;

use clap::Subcommand;

#[cfg(feature = "embedded")]
use super::snapshot;
use super::{
    change,
    cluster::open::OpenCluster,
    read::{describe, diagnose, migrations, plan, topology, vdiff, workflows},
    vexec,
};

/// The commands about one cluster.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    #[command(flatten)]
    Read(ReadCommand),
    #[command(flatten)]
    Change(ChangeCommand),
}

/// The commands that change one cluster: each shows its plan and asks.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ChangeCommand {
    /// Start, stop, change, complete, cancel or delete a workflow, or move its traffic, after showing what that touches
    #[command(subcommand)]
    Workflow(change::workflow::WorkflowCommand),
    /// Cancel, complete, launch, retry or clean up schema migrations, after showing what that touches
    #[command(subcommand)]
    Migration(change::migration::MigrationCommand),
    /// Compare the rows of a workflow's source and target: create, stop, resume or delete a comparison
    #[command(subcommand, name = "vdiff")]
    VDiff(change::vdiff::VDiffCommand),
    /// Put right what `diagnose` tells of, forward or back, after showing every step of it
    Repair(change::repair::RepairArgs),
    /// Do what a plan says that was made with --dry-run -o json, or nothing if anything is different now
    Apply(change::apply::ApplyArgs),
}

/// The commands that read one cluster.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ReadCommand {
    /// Show what there is
    #[command(subcommand)]
    Get(GetCommand),
    /// Show all there is to say of one thing
    #[command(subcommand)]
    Describe(DescribeCommand),
    /// Tell what changes of traffic have left behind, whom it hurts, and the ways out; exit code 0 healthy, 1 deviations, 2 could not look
    Diagnose(diagnose::DiagnoseArgs),
    /// Show what a request would ask, without calling any tablet (the topology is read)
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Record clusters
    #[cfg(feature = "embedded")]
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Run a statement on the sidecar tables of every shard, within one workflow
    Vexec(vexec::VexecArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GetCommand {
    /// The workflows of a keyspace, or of all keyspaces at a glance, trouble first
    #[command(visible_alias = "workflow")]
    Workflows(workflows::GetWorkflowsArgs),
    /// The schema migrations of a keyspace, or of all keyspaces at a glance, trouble first
    #[command(visible_alias = "migration")]
    Migrations(migrations::GetMigrationsArgs),
    /// The keyspaces and how many of their shards serve
    #[command(visible_aliases = ["keyspace", "ks"])]
    Keyspaces(topology::GetKeyspacesArgs),
    /// The shards of a keyspace, those without primary first
    #[command(visible_alias = "shard")]
    Shards(topology::GetShardsArgs),
    /// The tablets of the cluster, a keyspace or a shard
    #[command(visible_alias = "tablet")]
    Tablets(topology::GetTabletsArgs),
    /// Comparisons of a workflow's source and target rows
    #[command(name = "vdiff", visible_alias = "vdiffs")]
    VDiff(vdiff::GetVDiffArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DescribeCommand {
    /// One workflow: streams, copy progress, traffic, the last log entries, what one could do next
    #[command(visible_alias = "workflows")]
    Workflow(describe::DescribeArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// What `get workflows` would ask
    #[command(visible_alias = "workflow")]
    Workflows(plan::PlanArgs<plan::PlannedWorkflowsArgs>),
    /// What `get migrations` would ask
    #[command(visible_alias = "migration")]
    Migrations(plan::PlanArgs<migrations::MigrationsArgs>),
    /// What `get shards` would ask
    #[command(visible_alias = "shard")]
    Shards(plan::PlanArgs<topology::ShardsArgs>),
    /// What `get tablets` would ask
    #[command(visible_alias = "tablet")]
    Tablets(plan::PlanArgs<topology::TabletsArgs>),
    /// What `get vdiff` would ask
    #[command(name = "vdiff")]
    VDiff(plan::PlanArgs<vdiff::VDiffArgs>),
    /// What `diagnose` would ask first; what follows depends on the streams
    Diagnose(plan::PlanArgs<diagnose::DiagnosedArgs>),
    /// What `describe workflow` would ask beside `get workflows --logs`
    Status(plan::PlanArgs<describe::WorkflowArgs>),
}

#[cfg(feature = "embedded")]
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Save the topology and the sidecar rows of keyspaces into a directory, to be read again with --snapshot
    Save(snapshot::SaveArgs),
}

/// Runs a command against a cluster that is open already.
pub(crate) async fn run_on(cluster: &OpenCluster, command: ClusterCommand) -> anyhow::Result<ExitCode> {
    match command {
        ClusterCommand::Read(command) => run_read(cluster, command).await,
        ClusterCommand::Change(ChangeCommand::Workflow(command)) => change::workflow::run(cluster, command).await,
        ClusterCommand::Change(ChangeCommand::Migration(command)) => change::migration::run(cluster, command).await,
        ClusterCommand::Change(ChangeCommand::VDiff(command)) => change::vdiff::run(cluster, command).await,
        ClusterCommand::Change(ChangeCommand::Repair(args)) => change::repair::run(cluster, args).await,
        ClusterCommand::Change(ChangeCommand::Apply(args)) => change::apply::run(cluster, args).await,
    }
}

async fn run_read(cluster: &OpenCluster, command: ReadCommand) -> anyhow::Result<ExitCode> {
    match command {
        ReadCommand::Get(GetCommand::Workflows(args)) => workflows::run(cluster, args).await,
        ReadCommand::Get(GetCommand::Migrations(args)) => migrations::run(cluster, args).await,
        ReadCommand::Get(GetCommand::Keyspaces(args)) => topology::keyspaces(cluster, args).await,
        ReadCommand::Get(GetCommand::Shards(args)) => topology::shards(cluster, args).await,
        ReadCommand::Get(GetCommand::Tablets(args)) => topology::tablets(cluster, args).await,
        ReadCommand::Get(GetCommand::VDiff(args)) => vdiff::run(cluster, args).await,
        ReadCommand::Describe(DescribeCommand::Workflow(args)) => describe::run(cluster, args).await,
        ReadCommand::Diagnose(args) => diagnose::run(cluster, args).await,
        ReadCommand::Plan(command) => match command {
            PlanCommand::Workflows(args) => plan::run(cluster, args).await,
            PlanCommand::Migrations(args) => plan::run(cluster, args).await,
            PlanCommand::Shards(args) => plan::run(cluster, args).await,
            PlanCommand::Tablets(args) => plan::run(cluster, args).await,
            PlanCommand::VDiff(args) => plan::run(cluster, args).await,
            PlanCommand::Diagnose(args) => plan::run(cluster, args).await,
            PlanCommand::Status(args) => plan::run(cluster, args).await,
        },
        #[cfg(feature = "embedded")]
        ReadCommand::Snapshot(SnapshotCommand::Save(args)) => snapshot::save(cluster, args).await,
        ReadCommand::Vexec(args) => vexec::run(cluster, args).await,
    }
}
