//! `vtflow diagnose [KEYSPACE [WORKFLOW]]`: what changes of traffic have left behind, whom it hurts, and the ways out. It never writes.
//!
//! Exit codes: 0 healthy, 1 deviations, 2 nothing wrong is known and not all could be looked at.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use prost::Message;
use vtflow_planner::{
    Call,
    proto::vtflow::{DiagnoseRequest, DiagnoseResponse},
    rpc,
};
use vtflow_screen::{self as screen, DiagnosedPart, DiagnosisScreen, Verdict};

use super::{plan::Request, view};
use crate::{
    cli::{cluster::open::OpenCluster, failures},
    output::{
        json, lines,
        terminal::{self, Style},
    },
};

/// What is diagnosed.
#[derive(Args, Clone, Debug)]
pub(crate) struct DiagnosedArgs {
    /// On whichever side of its workflows; all keyspaces if left out
    keyspace: Option<String>,
    /// One of the keyspace's workflows, by either direction's name
    workflow: Option<String>,
    /// Also sequences that are not ahead of their tables, of whole keyspaces: reads the largest value of every column that takes its values
    /// from one
    #[arg(long, conflicts_with = "workflow")]
    sequences: bool,
}

impl Request for DiagnosedArgs {
    fn call(&self) -> anyhow::Result<Call> {
        let (keyspace, workflow) = (self.keyspace.clone().unwrap_or_default(), self.workflow.clone().unwrap_or_default());
        Ok(view::call(rpc::DIAGNOSE, DiagnoseRequest { keyspace, workflow, sequences: self.sequences }.encode_to_vec(), false))
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DiagnoseArgs {
    #[command(flatten)]
    what: DiagnosedArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, trouble first
    Text,
    /// The whole reply
    Json,
    /// The same as YAML
    Yaml,
}

pub(crate) async fn run(cluster: &OpenCluster, args: DiagnoseArgs) -> anyhow::Result<ExitCode> {
    let now = cluster.now();
    let reply = view::ask(cluster, &args.what.call()?, now).await;
    let bytes = match reply.result {
        Ok(bytes) => bytes,
        Err(status) => {
            failures::print(&reply.failures);
            anyhow::bail!("{}", status.message);
        }
    };
    let found: DiagnoseResponse = view::decode(&bytes).map_err(|status| anyhow::anyhow!("{}", status.message))?;
    let screen = screen::diagnosis(&found, &reply.failures, now);
    let text = match args.output {
        Format::Text => show(&screen, terminal::width()),
        Format::Json => json::json("vtflow.DiagnoseResponse", &bytes)? + "\n",
        Format::Yaml => json::yaml("vtflow.DiagnoseResponse", &bytes)?,
    };
    terminal::print(&text);
    failures::print(&reply.failures);
    Ok(match screen.verdict {
        Verdict::Healthy => ExitCode::SUCCESS,
        Verdict::Deviations => ExitCode::from(1),
        Verdict::CouldNotLook => ExitCode::from(2),
    })
}

/// A diagnosis as people read it.
pub(crate) fn show(screen: &DiagnosisScreen, width: Option<usize>) -> String {
    let mut out = String::new();
    for part in &screen.parts {
        out += &shown(part, width);
    }
    for line in &screen.well {
        out += &lines::wrapped("", &terminal::printable(line), width);
    }
    if !screen.well.is_empty() || !screen.parts.is_empty() {
        out += "\n";
    }
    let style =
        |line: &str| if screen.verdict == Verdict::Healthy { line.to_owned() } else { terminal::on_stdout(Style::Trouble, line) };
    out += &(style(&screen.summary) + "\n");
    for note in &screen.notes {
        out += &lines::wrapped("  ", &terminal::printable(note), width);
    }
    out
}

fn shown(part: &DiagnosedPart, width: Option<usize>) -> String {
    let mut out = lines::wrapped("", &terminal::printable(&part.heading), width);
    let labelled = |indent: &str, (label, text): &(String, String), before: &str| {
        // One label for all lines that have it.
        let label = if label == before { "" } else { label.as_str() };
        lines::wrapped(&format!("{indent}{label:<9} "), &terminal::printable(text), width)
    };
    for deviation in &part.deviations {
        let heading = lines::wrapped("  ", &terminal::printable(&deviation.heading), width);
        out += &heading.lines().map(|line| terminal::on_stdout(Style::Trouble, line) + "\n").collect::<String>();
        let mut before = "";
        for line in &deviation.lines {
            out += &labelled("    ", line, before);
            before = &line.0;
        }
        for step in &deviation.commands {
            // In one line, whatever its width: it is to be copied.
            out += &lines::wrapped("    try       ", &terminal::printable(&step.command), None);
        }
    }
    let mut before = "";
    for line in &part.lines {
        out += &labelled("  ", line, before);
        before = &line.0;
    }
    out + "\n"
}
