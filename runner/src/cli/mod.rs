//! The command line: arguments to a request, a reply to a terminal. One file per command.
//!
//! Exit codes: 0 all well, 1 some of the answer is missing (or something shown is in trouble to read), 2 nothing came of it.
//! Of a change: 0 applied, 1 a part of it not or not known to be, 2 refused.

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod args;
mod change;
mod cluster;
mod command;
mod completions;
#[cfg(feature = "embedded")]
mod demo;
mod duration;
mod failures;
mod man;
pub(crate) mod read;
mod replay;
mod serve;
#[cfg(feature = "embedded")]
mod snapshot;
mod spelling;
mod vexec;

pub use cluster::flags::ConnectArgs;

use self::command::{ClusterCommand, run_on};

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
    #[cfg(feature = "embedded")]
    Demo(demo::DemoArgs),
    /// Answer Vtctld's RPCs, so that vtctldclient and VTAdmin can read through vtflow
    Serve(serve::ServeArgs),
    /// Run the planner over flows that were recorded with --trace, without a cluster
    Replay(replay::ReplayArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write manual pages into a directory
    #[command(hide = true)]
    Man(man::ManArgs),
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
        #[cfg(feature = "embedded")]
        Command::Demo(args) => Box::pin(demo::run(&cli.connect, args)).await,
        Command::Serve(args) => serve::run(&cli.connect, args).await,
        Command::Replay(args) => replay::run(&cli.connect, &args),
        Command::Completions(args) => Ok(completions::run(&args, &mut Cli::command())),
        Command::Man(args) => man::run(&args, Cli::command()),
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
