//! The command line: arguments to a request, a reply to a terminal. One file per command.
//!
//! Exit codes: 0 all well, 1 some of the answer is missing (or something shown is in trouble to read), 2 nothing came of it.
//! Of a change: 0 applied, 1 a part of it not or not known to be, 2 refused.

use std::{ffi::OsString, process::ExitCode};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

mod change;
mod cluster;
mod completions;
mod demo;
mod duration;
mod failures;
mod read;
mod replay;
mod serve;
mod snapshot;
mod spelling;
mod vexec;

pub use cluster::open::ConnectArgs;

/// What are my Vitess workflows doing, and what would this command touch?
#[derive(Debug, Parser)]
#[command(
    name = "vtflow",
    version,
    about,
    max_term_width = 100,
    after_help = "\
Name the cluster in one of three ways:
  --topo-implementation etcd2 --topo-global-server-address HOST:PORT --topo-global-root ROOT
  --snapshot DIR    a recorded cluster
  --demo            the built-in one

Exit codes: 0 all well, 1 some targets gave no answer or were not changed (the rest is shown), 2 failed,
nothing was changed."
)]
pub struct Cli {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, for as long as the program runs")]
enum Command {
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Start the built-in cluster, or a generated one, and look at it; register it in an etcd for other tools
    Demo(demo::DemoArgs),
    /// Answer Vtctld's RPCs, so that vtctldclient and VTAdmin can read through vtflow
    Serve(serve::ServeArgs),
    /// Run the planner over flows that were recorded with --trace, without a cluster
    Replay(replay::ReplayArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// The commands about one cluster.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    #[command(flatten)]
    Read(ReadCommand),
    #[command(flatten)]
    Act(ActCommand),
}

/// The commands that change one cluster: each shows its plan and asks.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ActCommand {
    /// Start, stop or change a workflow, after showing what that touches
    #[command(subcommand)]
    Workflow(change::workflow::WorkflowCommand),
    /// Cancel, complete, launch, retry or clean up schema migrations, after showing what that touches
    #[command(subcommand)]
    Migration(change::migration::MigrationCommand),
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
    /// Show what a request would ask, without calling any tablet (the topology is read)
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Record clusters
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Run a statement on the sidecar tables of every shard, within one workflow
    Vexec(vexec::VexecArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GetCommand {
    /// The workflows of a keyspace, or of all keyspaces at a glance, trouble first
    #[command(visible_alias = "workflow")]
    Workflows(read::workflows::GetWorkflowsArgs),
    /// The schema migrations of a keyspace, or of all keyspaces at a glance, trouble first
    #[command(visible_alias = "migration")]
    Migrations(read::migrations::GetMigrationsArgs),
    /// The keyspaces and how many of their shards serve
    #[command(visible_aliases = ["keyspace", "ks"])]
    Keyspaces(read::topology::GetKeyspacesArgs),
    /// The shards of a keyspace, those without primary first
    #[command(visible_alias = "shard")]
    Shards(read::topology::GetShardsArgs),
    /// The tablets of the cluster, a keyspace or a shard
    #[command(visible_alias = "tablet")]
    Tablets(read::topology::GetTabletsArgs),
    /// Comparisons of a workflow's source and target rows
    #[command(name = "vdiff", visible_alias = "vdiffs")]
    VDiff(read::vdiff::GetVDiffArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DescribeCommand {
    /// One workflow: streams, copy progress, traffic, the last log entries, what one could do next
    #[command(visible_alias = "workflows")]
    Workflow(read::describe::DescribeArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// What `get workflows` would ask
    #[command(visible_alias = "workflow")]
    Workflows(read::plan::PlanArgs<read::plan::PlannedWorkflowsArgs>),
    /// What `get migrations` would ask
    #[command(visible_alias = "migration")]
    Migrations(read::plan::PlanArgs<read::migrations::MigrationsArgs>),
    /// What `get shards` would ask
    #[command(visible_alias = "shard")]
    Shards(read::plan::PlanArgs<read::topology::ShardsArgs>),
    /// What `get tablets` would ask
    #[command(visible_alias = "tablet")]
    Tablets(read::plan::PlanArgs<read::topology::TabletsArgs>),
    /// What `get vdiff` would ask
    #[command(name = "vdiff")]
    VDiff(read::plan::PlanArgs<read::vdiff::VDiffArgs>),
    /// What `describe workflow` would ask beside `get workflows --logs`
    Status(read::plan::PlanArgs<read::describe::WorkflowArgs>),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Save the topology and the sidecar rows of keyspaces into a directory, to be read again with --snapshot
    Save(snapshot::SaveArgs),
}

/// Which workflows of a keyspace: the request's own fields.
#[derive(Args, Clone, Debug)]
pub(crate) struct WorkflowsArgs {
    /// Only this workflow
    #[arg(short, long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Leave out streams that are stopped
    #[arg(long)]
    pub(crate) active_only: bool,
    /// Fetch the streams' logs, the newest 250 entries of each
    #[arg(long, visible_alias = "include-logs")]
    pub(crate) logs: bool,
    /// Only these shards
    #[arg(long, value_delimiter = ',', value_name = "SHARD,...", allow_hyphen_values = true, value_parser = shard_name)]
    pub(crate) shards: Vec<String>,
}

/// Shards may begin with a dash, and so may flags that were meant for somebody else.
fn shard_name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("empty name: is there a comma too many?".into()),
        flag if flag.starts_with("--") => Err(format!("{flag} is a flag, no shard")),
        shard => Ok(shard.into()),
    }
}

/// Runs the command line and returns the exit code. `args` are those of the process, the program's name first.
pub async fn run(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match read_args(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors; clap knows where each is printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Cluster(command) => on_cluster(&cli.connect, command).await,
        Command::Demo(args) => Box::pin(demo::run(&cli.connect, args)).await,
        Command::Serve(args) => serve::run(&cli.connect, args).await,
        Command::Replay(args) => replay::run(&cli.connect, &args),
        Command::Completions(args) => Ok(completions::run(&args, &mut Cli::command())),
    };
    let code = result.unwrap_or_else(|error| {
        failures::print_error(&error);
        ExitCode::from(2)
    });
    match crate::output::terminal::unprinted() {
        Some(error) => {
            failures::print_error(&anyhow::anyhow!("what was to be printed is not all there: {error}"));
            ExitCode::from(2)
        }
        None => code,
    }
}

async fn on_cluster(connect: &ConnectArgs, command: ClusterCommand) -> anyhow::Result<ExitCode> {
    let cluster = connect.open().await?;
    run_on(&cluster, command).await
}

/// Runs a command against a cluster that is open already.
pub(crate) async fn run_on(cluster: &cluster::open::Connected, command: ClusterCommand) -> anyhow::Result<ExitCode> {
    match command {
        ClusterCommand::Read(command) => run_read(cluster, command).await,
        ClusterCommand::Act(ActCommand::Workflow(command)) => change::workflow::run(cluster, command).await,
        ClusterCommand::Act(ActCommand::Migration(command)) => change::migration::run(cluster, command).await,
        ClusterCommand::Act(ActCommand::Apply(args)) => change::apply::run(cluster, args).await,
    }
}

async fn run_read(cluster: &cluster::open::Connected, command: ReadCommand) -> anyhow::Result<ExitCode> {
    match command {
        ReadCommand::Get(GetCommand::Workflows(args)) => read::workflows::run(cluster, args).await,
        ReadCommand::Get(GetCommand::Migrations(args)) => read::migrations::run(cluster, args).await,
        ReadCommand::Get(GetCommand::Keyspaces(args)) => read::topology::keyspaces(cluster, args).await,
        ReadCommand::Get(GetCommand::Shards(args)) => read::topology::shards(cluster, args).await,
        ReadCommand::Get(GetCommand::Tablets(args)) => read::topology::tablets(cluster, args).await,
        ReadCommand::Get(GetCommand::VDiff(args)) => read::vdiff::run(cluster, args).await,
        ReadCommand::Describe(DescribeCommand::Workflow(args)) => read::describe::run(cluster, args).await,
        ReadCommand::Plan(command) => match command {
            PlanCommand::Workflows(args) => read::plan::run(cluster, args).await,
            PlanCommand::Migrations(args) => read::plan::run(cluster, args).await,
            PlanCommand::Shards(args) => read::plan::run(cluster, args).await,
            PlanCommand::Tablets(args) => read::plan::run(cluster, args).await,
            PlanCommand::VDiff(args) => read::plan::run(cluster, args).await,
            PlanCommand::Status(args) => read::plan::run(cluster, args).await,
        },
        ReadCommand::Snapshot(SnapshotCommand::Save(args)) => snapshot::save(cluster, args).await,
        ReadCommand::Vexec(args) => vexec::run(cluster, args).await,
    }
}

/// The command line that these arguments are.
fn read_args(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    let mut command = spelling::both(Cli::command());
    let mut matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        spelling::both(Cli::command()).debug_assert();
    }

    #[test]
    fn both_spellings_of_a_flag_are_one() {
        let root = |flag: &str| {
            let args = [
                "vtflow",
                flag,
                "--topo-global-server-address=a_b:1",
                "get",
                "workflows",
                "my_ks",
                "--active_only",
                "-w",
                "my_w",
            ];
            let cli = read_args(args).unwrap_or_else(|error| panic!("{flag}: {error}"));
            format!("{cli:?}")
        };
        let dashes = root("--topo-global-root=/a_b");
        assert_eq!(dashes, root("--topo_global_root=/a_b"));
        for value in ["/a_b", "a_b:1", "my_ks", "my_w", "active_only: true"] {
            assert!(dashes.contains(value), "{value} in {dashes}");
        }
        assert!(
            format!("{:?}", read_args(["vtflow", "get", "workflows", "k", "--include_logs"]).unwrap()).contains("logs: true"),
            "an alias, too"
        );
    }

    #[test]
    fn values_are_left_as_they_are() {
        let cli = read_args(["vtflow", "get", "workflows", "k", "-w", "--odd_name"]);
        assert!(cli.is_err() || format!("{cli:?}").contains("--odd_name"));
        let cli = format!("{:?}", read_args(["vtflow", "get", "workflows", "--workflow=--odd_name", "--", "--odd_ks"]).unwrap());
        assert!(cli.contains("\"--odd_name\"") && cli.contains("\"--odd_ks\""), "{cli}");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_may_be_of_any_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let path = OsString::from_vec(b"/tmp/caf\xe9".to_vec());
        let args = [OsString::from("vtflow"), "--snapshot".into(), path.clone(), "get".into(), "keyspaces".into()];
        let cli = read_args(args).unwrap();
        assert!(format!("{cli:?}").contains("caf\\xE9"), "{cli:?}");
    }
}
