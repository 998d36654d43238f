//! The command line: arguments to a request, a reply to a terminal. One file per command.
//!
//! Exit codes: 0 all well, 1 some of the answer is missing (or something shown is in trouble to read), 2 nothing came of it.

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

mod completions;
mod connect;
mod demo;
mod duration;
mod failures;
mod get_workflows;
mod plan;
mod serve;
mod snapshot;
mod vexec;

pub use connect::ConnectArgs;

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

Exit codes: 0 all well, 1 some targets gave no answer (the rest is shown), 2 failed."
)]
pub struct Cli {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Read(ReadCommand),
    /// Start the built-in cluster, or a generated one, and look at it; register it in an etcd for other tools
    Demo(demo::DemoArgs),
    /// Answer Vtctld's RPCs, so that vtctldclient and VTAdmin can read through vtflow
    Serve(serve::ServeArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// The commands that read one cluster.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ReadCommand {
    /// Show what there is
    #[command(subcommand)]
    Get(GetCommand),
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
    /// The workflows of a keyspace, trouble first
    #[command(visible_alias = "workflow")]
    Workflows(get_workflows::GetWorkflowsArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// What `get workflows` would ask
    Workflows(plan::PlanWorkflowsArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Save the topology and the sidecar rows of keyspaces into a directory, to be read again with --snapshot
    Save(snapshot::SaveArgs),
}

/// Which workflows of which keyspace: the request's own fields.
#[derive(Args, Clone, Debug)]
pub(crate) struct WorkflowsArgs {
    /// The target keyspace
    pub(crate) keyspace: String,
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
pub async fn run(args: impl IntoIterator<Item = String>) -> ExitCode {
    let cli = match Cli::try_parse_from(args.into_iter().map(dashed)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors; clap knows where each is printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Read(command) => read(&cli.connect, command).await,
        Command::Demo(args) => demo::run(&cli.connect, args).await,
        Command::Serve(args) => serve::run(&cli.connect, args).await,
        Command::Completions(args) => Ok(completions::run(&args, &mut Cli::command())),
    };
    result.unwrap_or_else(|error| {
        failures::print_error(&error);
        ExitCode::from(2)
    })
}

async fn read(connect: &ConnectArgs, command: ReadCommand) -> anyhow::Result<ExitCode> {
    let cluster = connect.open().await?;
    run_read(&cluster, command).await
}

/// Runs a reading command against a cluster that is open already.
pub(crate) async fn run_read(cluster: &connect::Connected, command: ReadCommand) -> anyhow::Result<ExitCode> {
    match command {
        ReadCommand::Get(GetCommand::Workflows(args)) => get_workflows::run(cluster, args).await,
        ReadCommand::Plan(PlanCommand::Workflows(args)) => plan::run(cluster, args).await,
        ReadCommand::Snapshot(SnapshotCommand::Save(args)) => snapshot::save(cluster, args).await,
        ReadCommand::Vexec(args) => vexec::run(cluster, args).await,
    }
}

/// A flag in Vitess' older spelling, with underscores, in the newer one. Source: `go/vt/utils/flags.go`: v23 and later use
/// dashes, v10 to v22 underscores.
fn dashed(arg: String) -> String {
    match arg.strip_prefix("--").map(|flag| flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value)))) {
        Some((flag, value)) if flag.contains('_') => {
            let flag = flag.replace('_', "-");
            value.map_or_else(|| format!("--{flag}"), |value| format!("--{flag}={value}"))
        }
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn both_spellings_of_a_flag_are_one() {
        for (given, want) in [
            ("--topo_global_root", "--topo-global-root"),
            ("--topo_global_root=/a_b", "--topo-global-root=/a_b"),
            ("--topo-global-root=/a_b", "--topo-global-root=/a_b"),
            ("my_keyspace", "my_keyspace"),
            ("-w", "-w"),
            ("--", "--"),
        ] {
            assert_eq!(dashed(given.into()), want);
        }
    }
}
