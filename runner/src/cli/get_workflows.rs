//! `vtflow get workflows KEYSPACE`.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Flow, Reply, Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse},
    rpc, summary,
};

use super::{WorkflowsArgs, connect::Connected, duration, failures};
use crate::{
    drive::drive,
    output::{
        json,
        progress::Progress,
        table::{Column, Fit, table},
        terminal::{self, Style},
    },
};

#[derive(Args, Clone, Debug)]
pub(crate) struct GetWorkflowsArgs {
    #[command(flatten)]
    workflows: WorkflowsArgs,
    /// Fail altogether if any shard gives no answer
    #[arg(long)]
    strict: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Show it again and again, every two seconds or every DURATION, marking what changed
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "2s", require_equals = true, value_parser = duration::parse)]
    watch: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line per workflow, trouble first
    Table,
    /// The same with every column in full
    Wide,
    /// What vtctldclient GetWorkflows prints
    Json,
    /// The same as YAML
    Yaml,
    /// Names only, one a line; asks for nothing else
    Name,
}

impl GetWorkflowsArgs {
    /// All workflows of a keyspace, as a table.
    pub(crate) fn all_of(keyspace: &str) -> Self {
        let workflows =
            WorkflowsArgs { keyspace: keyspace.into(), workflow: None, active_only: false, logs: false, shards: Vec::new() };
        Self { workflows, strict: false, output: Format::Table, watch: None }
    }
}

impl WorkflowsArgs {
    /// The request that these arguments stand for.
    pub(crate) fn call(&self, name_only: bool, strict: bool) -> Call {
        let request = GetWorkflowsRequest {
            keyspace: self.keyspace.clone(),
            active_only: self.active_only,
            name_only,
            workflow: self.workflow.clone().unwrap_or_default(),
            include_logs: self.logs,
            shards: self.shards.clone(),
        };
        let options = CallOptions { strict, ..CallOptions::default() };
        Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options }
    }
}

/// Asking more often than this is not watching.
const WATCH_AT_MOST_EVERY: Duration = Duration::from_millis(100);

pub(crate) async fn run(cluster: &Connected, args: GetWorkflowsArgs) -> anyhow::Result<ExitCode> {
    let Some(every) = args.watch else {
        let now = cluster.now();
        let reply = ask(cluster, &args, now).await;
        match render(&reply, &args, now, terminal::width()) {
            Ok(text) => terminal::print(&text),
            Err(error) if reply.result.is_err() => failures::print_error(&error),
            Err(error) => return Err(error),
        }
        return Ok(report(&reply));
    };
    if !matches!(args.output, Format::Table | Format::Wide) {
        anyhow::bail!("--watch redraws a table: for a script, call again and again without it");
    }
    if every < WATCH_AT_MOST_EVERY {
        anyhow::bail!("--watch={every:?} would do nothing but ask: give 100ms or more");
    }
    let mut code = ExitCode::SUCCESS;
    let watching = watch(cluster, &args, every, &mut code);
    // One listener for the whole watch: interrupting must work while tablets are being asked, too.
    tokio::select! {
        error = watching => Err(error),
        _ = tokio::signal::ctrl_c() => Ok(code),
    }
}

/// Redraws until something cannot be printed; `code` is that of the last reply.
async fn watch(cluster: &Connected, args: &GetWorkflowsArgs, every: Duration, code: &mut ExitCode) -> anyhow::Error {
    let mut before = String::new();
    loop {
        let now = cluster.now();
        let reply = ask(cluster, args, now).await;
        // Two columns are for the marks.
        let width = terminal::width().map(|width| width - 2);
        let text = match (&reply.result, render(&reply, args, now, width)) {
            (_, Ok(text)) => text,
            // A watch outlives a bad moment.
            (Err(status), _) => status.message.lines().map(|line| terminal::printable(line) + "\n").collect(),
            (Ok(_), Err(error)) => return error,
        };
        terminal::print(&redraw(&text, &before, std::io::stdout().is_terminal()));
        *code = report(&reply);
        before = text;
        tokio::time::sleep(every).await;
    }
}

async fn ask(cluster: &Connected, args: &GetWorkflowsArgs, now: Timestamp) -> Reply {
    let flow = Flow::start(&args.workflows.call(args.output == Format::Name, args.strict), now);
    let progress = Progress::start();
    drive(flow, &cluster.io, None, &progress).await
}

/// The reply as text, in the format asked for.
fn render(reply: &Reply, args: &GetWorkflowsArgs, now: Timestamp, width: Option<usize>) -> anyhow::Result<String> {
    const MESSAGE: &str = "vtctldata.GetWorkflowsResponse";
    let bytes = reply.result.as_ref().map_err(|status| anyhow::anyhow!("{}", status.message))?;
    Ok(match args.output {
        Format::Json => json::json(MESSAGE, bytes)? + "\n",
        Format::Yaml => json::yaml(MESSAGE, bytes)?,
        Format::Name => GetWorkflowsResponse::decode(bytes.as_slice())?
            .workflows
            .into_iter()
            .map(|w| terminal::printable(&w.name) + "\n")
            .collect(),
        Format::Table | Format::Wide => {
            let workflows = GetWorkflowsResponse::decode(bytes.as_slice())?;
            let width = if args.output == Format::Wide { None } else { width };
            lines(&summary::workflows(&workflows, now), width, &args.workflows)
        }
    })
}

fn lines(workflows: &[summary::WorkflowLine], width: Option<usize>, args: &WorkflowsArgs) -> String {
    if workflows.is_empty() {
        let named = args.workflow.as_ref().map_or_else(String::new, |name| format!(" called {name}"));
        return format!("No workflows{named} in keyspace {}.\n", args.keyspace);
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
    let row = |line: &summary::WorkflowLine| {
        let cells = [
            line.name.clone(),
            line.kind.clone(),
            line.source.clone(),
            line.target.clone(),
            line.streams.clone(),
            line.lag_seconds.map_or_else(|| "-".into(), summary::duration),
            line.copied.clone(),
            line.note.clone(),
        ];
        cells.iter().map(|cell| terminal::printable(cell)).collect()
    };
    let rows: Vec<Vec<String>> = workflows.iter().map(row).collect();
    // The first workflows are those in trouble; the heading is the first line, and a note may have a line of its own.
    let troubled = workflows.iter().take_while(|line| line.has_trouble).count();
    let mut seen = 0;
    let coloured = |line: &str| {
        seen += usize::from(!line.starts_with("    "));
        let has_trouble = (2..2 + troubled).contains(&seen);
        if has_trouble { terminal::on_stdout(Style::Trouble, line) + "\n" } else { format!("{line}\n") }
    };
    table(&columns, &rows, width).lines().map(coloured).collect()
}

/// Says on stderr what is missing and gives the exit code.
fn report(reply: &Reply) -> ExitCode {
    failures::print(&reply.failures);
    match (&reply.result, reply.failures.is_empty()) {
        (Err(_), _) => ExitCode::from(2),
        (Ok(_), false) => ExitCode::from(1),
        (Ok(_), true) => ExitCode::SUCCESS,
    }
}

/// A screen that replaces the one before. Lines that were not there before are marked.
fn redraw(text: &str, before: &str, is_terminal: bool) -> String {
    let clear = if is_terminal { "\u{1b}[H\u{1b}[2J" } else { "" };
    let old: Vec<&str> = before.lines().collect();
    let marked: Vec<String> = text
        .lines()
        .map(|line| format!("{} {line}\n", if before.is_empty() || old.contains(&line) { " " } else { "*" }))
        .collect();
    format!("{clear}{}", marked.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_marks_what_changed() {
        assert_eq!(redraw("a\nb\n", "", false), "  a\n  b\n");
        assert_eq!(redraw("a\nc\n", "a\nb\n", false), "  a\n* c\n");
        assert!(redraw("a\n", "", true).starts_with("\u{1b}[H"));
    }
}
