//! `vtflow replay FILE`: the planner's run over recorded flows, without a cluster. Same planner, same reply, byte for byte.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Args, ValueEnum};
use vtflow_planner::{
    Answer, What,
    trace::{Planner, Replayed, Trace, Traced, replay},
};
use vtflow_screen::{self as screen, Answered, Asked, Outcome};

use super::cluster::flags::ConnectArgs;
use crate::{output::terminal, trace_file};

#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// A file made with --trace
    file: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: each flow's asks by time, and whether the reply is the same
    Text,
    /// The replies and the differences, in full
    Json,
    /// The bytes of the reply messages, one after the other
    Raw,
}

/// Exit code 0: every reply is the recorded one and every ask was asked; 1: not all; 2: the file cannot be read.
pub(crate) fn run(connect: &ConnectArgs, args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let traces = trace_file::read(&args.file).map_err(|error| anyhow::anyhow!(error))?;
    let planner = connect.planner()?;
    let mut differ = 0;
    let mut documents = Vec::new();
    for (index, trace) in traces.iter().enumerate() {
        let replayed = replay(&mut *planner.start(&trace.call, trace.now), trace);
        differ += usize::from(!replayed.differences.is_empty());
        match args.output {
            Format::Text => terminal::print(
                &text(index + 1, trace, &replayed, &planner.build())
                    .lines()
                    .map(|line| terminal::printable(line) + "\n")
                    .collect::<String>(),
            ),
            Format::Json => documents.push(replayed),
            Format::Raw => match replayed.reply.map(|reply| reply.result) {
                Some(Ok(bytes)) => std::io::stdout().write_all(&bytes)?,
                Some(Err(status)) => bail!("flow {}: {}", index + 1, status.message),
                None => bail!("flow {} has no reply: this is a defect of vtflow", index + 1),
            },
        }
    }
    if args.output == Format::Json {
        terminal::print(&(serde_json::to_string_pretty(&documents)? + "\n"));
    }
    Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn text(number: usize, trace: &Trace, replayed: &Replayed, this: &Planner) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let rounds = trace.asks.iter().map(|traced| traced.ask.round).max().unwrap_or(0);
    let method = trace.call.path.rsplit('/').next().unwrap_or_default();
    let redacted = if trace.redacted { ", redacted" } else { "" };
    let _ =
        writeln!(out, "{number}  {method}: {} asks in {rounds} rounds, {}{redacted}", trace.asks.len(), micros(trace.took_us));
    if trace.planner != *this {
        let short = |planner: &Planner| format!("{} {}", planner.version, planner.digest.get(..12).unwrap_or(&planner.digest));
        let _ = writeln!(out, "   recorded with planner {}, this is {}", short(&trace.planner), short(this));
    }
    let slowest =
        trace.asks.iter().filter(|traced| is_call(traced)).max_by_key(|traced| took(traced)).map(|traced| traced.ask.id);
    for traced in &trace.asks {
        let mark = if Some(traced.ask.id) == slowest { "  slowest" } else { "" };
        let took = took(traced).map_or_else(|| "no answer".to_owned(), micros);
        let _ = writeln!(
            out,
            "   {}  {:>9}  +{:<9}  {}  {}{mark}",
            traced.ask.round,
            micros(traced.asked_us),
            took,
            asked(&traced.ask.what),
            told(traced.answer.as_ref())
        );
    }
    match (replayed.differences.as_slice(), &replayed.reply) {
        ([], Some(reply)) => {
            let what = match &reply.result {
                Ok(bytes) => format!("{} bytes", bytes.len()),
                Err(status) => format!("the error {:?}", status.message),
            };
            let _ = writeln!(out, "   the reply is the same: {what}, {} failures", reply.failures.len());
        }
        (differences, _) => {
            for difference in differences {
                let _ = writeln!(out, "   DIFFERS: {difference}");
            }
        }
    }
    out
}

fn is_call(traced: &Traced) -> bool {
    matches!(traced.ask.what, What::TabletCall { .. })
}

fn took(traced: &Traced) -> Option<u64> {
    traced.answered_us.map(|at| at.saturating_sub(traced.asked_us))
}

fn micros(us: u64) -> String {
    let us = std::time::Duration::from_micros(us);
    if us.as_millis() >= 10_000 { format!("{:.1}s", us.as_secs_f64()) } else { format!("{:.1}ms", us.as_secs_f64() * 1000.0) }
}

fn asked(what: &What) -> String {
    let Asked { whom, place, what } = screen::asked(what);
    if place.is_empty() { format!("{whom}  {what}") } else { format!("{whom}  {place} {what}") }
}

fn told(answer: Option<&Answer>) -> String {
    let Answered { outcome, text, .. } = screen::answered(answer);
    match outcome {
        Outcome::Ok | Outcome::Missing => text,
        Outcome::Failed => format!("FAILED: {text}"),
        // That there is none stands where its time would.
        Outcome::None => String::new(),
    }
}
