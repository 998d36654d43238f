//! `vtflow describe workflow KEYSPACE NAME`: one screen on one workflow.

use std::{fmt::Write, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use prost::Message;
use serde::Serialize;
use vtflow_planner::{
    Call, Failure, Lost, Status, Timestamp,
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, Workflow, WorkflowStatusRequest, WorkflowStatusResponse},
    rpc,
    summary::{self, Description, StreamLine},
};

use super::{
    connect::Connected,
    duration,
    plan::Request,
    view::{self, Line, Reading, Screen, UNKNOWN, View},
};
use crate::output::{
    json::{self, Document},
    table::{Column, Fit},
    terminal,
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

/// Both replies. The status may be missing: the rest is still shown.
pub(crate) struct Both {
    workflow: Workflow,
    status: Option<WorkflowStatusResponse>,
}

#[derive(Serialize)]
struct Documents {
    workflow: Document,
    status: Option<Document>,
}

impl View for DescribeArgs {
    type Read = Both;

    async fn read(&self, cluster: &Connected, now: Timestamp) -> Reading<Both> {
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
        let (workflows, status) = tokio::join!(view::ask(cluster, &workflows, now), view::ask(cluster, &status, now));
        let mut failures = workflows.failures;
        let found = workflows.result.and_then(|bytes| decode::<GetWorkflowsResponse>(&bytes));
        let found = found.and_then(|reply| {
            let missing = || Status::unknown(format!("no workflow {workflow} in keyspace {keyspace}"));
            reply.workflows.into_iter().find(|found| found.name == *workflow).ok_or_else(missing)
        });
        let found = match found {
            Ok(found) => found,
            Err(status) => return Reading { result: Err(status), failures },
        };
        for failure in status.failures {
            // Both ask the same tablets: what one of them said, the other need not repeat.
            if !failures.iter().any(|known| known.shard == failure.shard && known.message == failure.message) {
                failures.push(failure);
            }
        }
        let status = status.result.and_then(|bytes| decode::<WorkflowStatusResponse>(&bytes));
        let status = status.map_err(|status| failures.push(lost_status(keyspace, workflow, status.message))).ok();
        Reading { result: Ok(Both { workflow: found, status }), failures }
    }

    fn text(&self, screen: &Screen<'_, Both>) -> anyhow::Result<String> {
        let Both { workflow, status } = screen.read;
        let documents = || -> Result<Documents, json::PrintError> {
            let status = status.as_ref().map(Message::encode_to_vec);
            let status = status.map(|bytes| Document::read("vtctldata.WorkflowStatusResponse", &bytes)).transpose()?;
            Ok(Documents { workflow: Document::read("vtctldata.Workflow", &workflow.encode_to_vec())?, status })
        };
        let width = match self.output {
            Format::Json => return Ok(json::any_json(&documents()?)?),
            Format::Yaml => return Ok(json::any_yaml(&documents()?)?),
            Format::Text => screen.width,
            Format::Wide => None,
        };
        let before = screen.before.map(|before| summary::Reading { workflow: &before.workflow });
        let description = summary::describe(workflow, status.as_ref(), before, screen.now);
        Ok(show(&self.workflow.keyspace, &description, width))
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::unknown(error.to_string()))
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
    let mut head = format!("{keyspace}.{}  {}  {} -> {}\n", of.name, of.kind, of.source, of.target);
    let _ = writeln!(head, "streams   {}", of.streams_by_state);
    let _ = writeln!(head, "traffic   {}", of.traffic.as_deref().unwrap_or("not known"));
    if let Some(copy) = &of.copy {
        let _ = writeln!(head, "copy      {}", copy.text());
    }
    for (i, (name, value)) in of.options.iter().enumerate() {
        let _ = writeln!(head, "{}{name}: {value}", if i == 0 { "options   " } else { "          " });
    }
    let mut out: String = head.lines().map(|line| cut(line, width)).collect();
    out += "\n";
    out += &streams(of, width);
    for stream in of.streams.iter().filter(|stream| stream.has_trouble && !stream.message.is_empty()) {
        out += &wrapped(&format!("{} stream {}: {}", stream.shard, stream.id, stream.message), width);
    }
    if !of.tables.is_empty() {
        out += "\n";
        out += &tables(of, width);
    }
    out += "\nLOG\n";
    if of.logs.is_empty() {
        out += "  nothing\n";
    }
    let widest = of.logs.iter().map(|log| log.times().chars().count()).max().unwrap_or(0);
    for log in &of.logs {
        let message = if log.message.is_empty() { String::new() } else { format!(": {}", log.message) };
        out += &cut(&format!("  {:<widest$}  {}  {}{message}", log.times(), log.shards, log.what), width);
    }
    for error in &of.log_errors {
        out += &cut(&format!("  not readable: {error}"), width);
    }
    if !of.next.is_empty() {
        out += "\nNEXT\n";
        for step in &of.next {
            out += &cut(&format!("  {}{}", step.why, if step.command.is_empty() { "" } else { ":" }), width);
            // Commands are there to be copied: never cut.
            if !step.command.is_empty() {
                let _ = writeln!(out, "    {}", terminal::printable(&step.command));
            }
        }
    }
    out
}

fn cut(line: &str, width: Option<usize>) -> String {
    let line = terminal::printable(line);
    match width {
        Some(width) if line.chars().count() > width => line.chars().take(width.saturating_sub(1)).chain("…\n".chars()).collect(),
        _ => line + "\n",
    }
}

/// Why a stream fails is read to its end: in lines of at most `width` characters, indented.
fn wrapped(text: &str, width: Option<usize>) -> String {
    let room = width.unwrap_or(usize::MAX).saturating_sub(4).max(20);
    let mut lines = vec![String::new()];
    let text = terminal::printable(text);
    for word in text.split(' ').flat_map(|word| pieces(word, room)) {
        let used = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if used == 0 => line.push_str(&word),
            Some(line) if used + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines.iter().flat_map(|line| ["    ", line, "\n"]).collect()
}

/// A word that is longer than a line, in pieces.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(room).map(|piece| piece.iter().collect()).collect()
}

fn streams(of: &Description, width: Option<usize>) -> String {
    let column = |heading| Column { heading, fit: Fit::Whole };
    let is_copying = of.copy.is_some();
    let mut columns = vec![
        Column { heading: "SHARD", fit: Fit::Middle(6) },
        column("ID"),
        Column { heading: "TABLET", fit: Fit::Middle(10) },
        column("STATE"),
        column("LAG"),
        Column { heading: "POSITION", fit: Fit::Middle(10) },
        column("COPIED"),
    ];
    if is_copying {
        columns.push(column("ROWS/S"));
        columns.push(column("LEFT"));
    }
    columns.push(Column { heading: "NOTE", fit: Fit::Rest });
    let has_one = of.streams.iter().filter(|stream| stream.rows_per_second.is_some()).count() == 1 && of.streams.len() == 1;
    let left = of.copy.as_ref().and_then(|copy| copy.left_seconds).filter(|_| has_one);
    let line = |stream: &StreamLine| {
        let mut cells = vec![
            stream.shard.clone(),
            if stream.id == 0 { UNKNOWN.into() } else { stream.id.to_string() },
            stream.tablet.clone(),
            stream.state.clone(),
            view::seconds(stream.lag_seconds),
            if stream.position.is_empty() { UNKNOWN.into() } else { stream.position.clone() },
            if stream.id == 0 { UNKNOWN.into() } else { summary::count(stream.rows_copied) },
        ];
        if is_copying {
            cells.push(speed(stream.rows_per_second));
            cells.push(view::seconds(left));
        }
        let throttled =
            if stream.throttled_by.is_empty() { String::new() } else { format!("throttled by {}", stream.throttled_by) };
        // Trouble has lines of its own beneath.
        let message = if stream.has_trouble { "" } else { stream.message.as_str() };
        let note: Vec<&str> = [message, &throttled].into_iter().filter(|text| !text.is_empty()).collect();
        cells.push(note.join("; "));
        Line { cells, has_trouble: stream.has_trouble }
    };
    view::lines(&columns, &of.streams.iter().map(line).collect::<Vec<_>>(), width)
}

fn speed(rows_per_second: Option<f64>) -> String {
    rows_per_second.map_or_else(|| UNKNOWN.into(), summary::speed)
}

fn tables(of: &Description, width: Option<usize>) -> String {
    let columns = [
        Column { heading: "TABLE", fit: Fit::Middle(12) },
        Column { heading: "COPY", fit: Fit::Whole },
        Column { heading: "DONE", fit: Fit::Whole },
        Column { heading: "ROWS", fit: Fit::Whole },
        Column { heading: "STATE", fit: Fit::Whole },
    ];
    let line = |table: &summary::TableLine| Line {
        cells: vec![
            table.table.clone(),
            bar(table.percent),
            table.percent.map_or_else(|| UNKNOWN.into(), |percent| format!("{:.0}%", percent.floor())),
            if table.rows_total > 0 {
                format!("{} of about {}", summary::count(table.rows_copied), summary::count(table.rows_total))
            } else {
                UNKNOWN.into()
            },
            table.phase.to_owned(),
        ],
        has_trouble: false,
    };
    view::lines(&columns, &of.tables.iter().map(line).collect::<Vec<_>>(), width)
}

/// Twenty characters, full from the left. Nothing but a dash where the share is not known.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 20")]
fn bar(percent: Option<f32>) -> String {
    const WIDTH: usize = 20;
    percent.map_or_else(
        || UNKNOWN.into(),
        |percent| {
            let full = ((percent / 5.0) as usize).min(WIDTH);
            "█".repeat(full) + &"░".repeat(WIDTH - full)
        },
    )
}

pub(crate) async fn run(cluster: &Connected, args: DescribeArgs) -> anyhow::Result<ExitCode> {
    view::run(cluster, &args, args.watch, matches!(args.output, Format::Text | Format::Wide)).await
}
