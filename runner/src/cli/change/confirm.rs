//! The one way of every command that changes a cluster: plan, show, ask, do exactly that, say what became of it.
//!
//! What a verb means is the planner's business, which request it is that of the files beside this one. A plan that was shown is
//! performed by its digest, so that what was read is what is done. Nothing here is verb by verb.
//!
//! Exit codes: 0 everything is applied, or there was nothing to do; 1 something is not, or nobody can tell; 2 refused, nothing
//! was changed.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use vtflow_planner::{
    Call, CallOptions, Mode, Reply,
    contract::{Outcome, Refuses, Verdict, WritePlan, Written},
};

use vtflow_screen::plans;

use crate::{
    cli::{args::shard_name, cluster::open::OpenCluster, failures, serve},
    observe::{Nobody, Observer},
    outage::{self, Outages},
    output::terminal::{self, Style},
};

/// Exit code: everything is applied, or there was nothing to do.
const ALL_WELL: u8 = 0;
/// Exit code: something is not applied, or nobody can tell.
const IN_PART: u8 = 1;
/// Exit code: nothing was changed.
const REFUSED: u8 = 2;

/// How a change is decided on, and how it is shown.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChangeArgs {
    /// Only these shards
    #[arg(long, value_delimiter = ',', value_name = "SHARD,...", allow_hyphen_values = true, value_parser = shard_name)]
    shards: Vec<String>,
    /// Print the plan and change nothing; with -o json it is what `vtflow apply` takes
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// How the answer is given and printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfirmArgs {
    /// Do not ask: go on as soon as the plan is known
    #[arg(short = 'y', long)]
    yes: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// The plan, the outcome on each tablet, and the error, in full
    Json,
}

impl ChangeArgs {
    /// For a command that cannot be restricted to some shards.
    pub(crate) fn whole(dry_run: bool, confirm: ConfirmArgs) -> Self {
        Self { shards: Vec::new(), dry_run, confirm }
    }

    /// For a command with flags of its own for some of these; it prints for people, or as JSON.
    pub(crate) fn new(shards: Vec<String>, dry_run: bool, yes: bool, is_json: bool) -> Self {
        let output = if is_json { Format::Json } else { Format::Text };
        Self { shards, dry_run, confirm: ConfirmArgs { yes, output } }
    }

    /// Only these shards; empty: all.
    #[cfg(feature = "embedded")]
    pub(super) fn shards(&self) -> &[String] {
        &self.shards
    }

    /// Whether it prints JSON.
    #[cfg(feature = "embedded")]
    pub(super) fn is_json(&self) -> bool {
        self.confirm.output == Format::Json
    }
}

/// A request that changes something: what stands behind a verb.
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) request: Vec<u8>,
    /// As [`CallOptions::force`].
    pub(crate) force: bool,
    /// What is to be typed to go on, for what cannot be made good again; `None`: yes.
    pub(crate) word: Option<String>,
}

/// Plans the request, shows the plan, asks, performs it.
pub(crate) async fn run(cluster: &OpenCluster, change: Change, args: ChangeArgs) -> anyhow::Result<ExitCode> {
    run_to_its_end(cluster, change, args).await.map(ExitCode::from)
}

/// The same, for a command that has more to do: the exit code as a number.
pub(crate) async fn run_to_its_end(cluster: &OpenCluster, change: Change, args: ChangeArgs) -> anyhow::Result<u8> {
    let options = CallOptions { force: change.force, shards: args.shards, ..CallOptions::default() };
    let call = Call { path: change.path, request: change.request, options };
    let Some(plan) = preview(cluster, &call).await? else { return Ok(REFUSED) };
    if args.dry_run {
        terminal::print(&match args.confirm.output {
            Format::Text => printable(&plan),
            Format::Json => serde_json::to_string_pretty(&plan)? + "\n",
        });
        return Ok(ALL_WELL);
    }
    go_on(cluster, call, plan, &args.confirm, change.word.as_deref()).await
}

/// Performs a plan that was made before, or nothing if it would not be made any more.
pub(crate) async fn apply(cluster: &OpenCluster, earlier: WritePlan, confirm: &ConfirmArgs) -> anyhow::Result<ExitCode> {
    let WritePlan { rpc, request, force, shards, .. } = earlier.clone();
    let options = CallOptions { force, shards, ..CallOptions::default() };
    let call = Call { path: rpc, request, options };
    let Some(plan) = preview(cluster, &call).await? else { return Ok(ExitCode::from(2)) };
    if plan.digest != earlier.digest {
        changed(&plan, &earlier);
        return Ok(ExitCode::from(2));
    }
    if !plans::changes_since(&plan, &earlier).is_empty() || calls(&plan) != calls(&earlier) || plan.locks != earlier.locks {
        // What is done would be right, but whoever read the file has read something else.
        anyhow::bail!("the plan was edited: its digest is not that of its content; nothing was changed, make a new one");
    }
    go_on(cluster, call, plan, confirm, None).await.map(ExitCode::from)
}

/// The calls of a plan, without what people read and what changes by itself.
fn calls(plan: &WritePlan) -> Vec<(&str, &str, &[u8], &str)> {
    plan.writes
        .iter()
        .map(|write| (write.tablet.as_str(), write.rpc.as_str(), write.request.as_slice(), write.statement.as_str()))
        .collect()
}

/// What the request would change; `None`, and the reason is printed, if it is refused.
async fn preview(cluster: &OpenCluster, call: &Call) -> anyhow::Result<Option<WritePlan>> {
    let reply = perform(cluster, call, Mode::Preview, &Nobody).await;
    if let Err(status) = &reply.result {
        failures::print_error(&anyhow::anyhow!("{}", status.message));
        failures::print(&reply.failures);
        return Ok(None);
    }
    match reply.written {
        Some(written) => Ok(Some(written.plan)),
        None => anyhow::bail!("{} changes nothing: it has no plan", call.path),
    }
}

async fn go_on(
    cluster: &OpenCluster,
    call: Call,
    plan: WritePlan,
    confirm: &ConfirmArgs,
    word: Option<&str>,
) -> anyhow::Result<u8> {
    if plan.writes.is_empty() {
        for text in plan.kept.iter().chain(&plan.warnings) {
            terminal::error_line(&terminal::printable(text));
        }
        terminal::error_line("Nothing to do: nothing was changed.");
        let written = Written { plan, outcomes: Vec::new(), notes: Vec::new(), refused: Vec::new() };
        return report(confirm.output, Some(written), None, &Outages::default());
    }
    match confirm.output {
        Format::Text => terminal::print(&printable(&plan)),
        // The document is all that a script may find on stdout.
        Format::Json if !confirm.yes => terminal::error_line(printable(&plan).trim_end()),
        Format::Json => {}
    }
    if let Some(error) = terminal::unprinted() {
        anyhow::bail!("the plan cannot be shown: {error}; nothing was changed");
    }
    if !confirm.yes && !confirmed(word).await? {
        return Ok(REFUSED);
    }
    if cluster.is_embedded() {
        terminal::error_line("This cluster is embedded in the process: what is changed is gone when it ends.");
    }
    let (mode, outages) = (Mode::Planned(plan.digest.clone()), Outages::default());
    let reply = tokio::select! {
        reply = perform(cluster, &call, mode, &outages) => reply,
        () = serve::stopped() => {
            // The flow is dropped by now; its locks are being given back in the background.
            tokio::time::sleep(GIVING_BACK).await;
            terminal::error_line("interrupted: what had been sent by then may be applied; look before you repeat it");
            still_refused(&plan.refuses.iter().flat_map(|refuses| outages.broken_off(refuses)).collect::<Vec<_>>());
            return Ok(IN_PART);
        }
    };
    let error = reply.result.err().map(|status| status.message);
    match reply.written {
        Some(written) if written.plan.digest != plan.digest => {
            changed(&written.plan, &plan);
            Ok(REFUSED)
        }
        written => report(confirm.output, written.map(|written| *written), error, &outages),
    }
}

async fn perform(cluster: &OpenCluster, call: &Call, mode: Mode, watcher: &dyn Observer) -> Reply {
    let mut call = call.clone();
    call.options.mode = mode;
    cluster.perform_watched(&call, cluster.now(), watcher).await
}

/// Prints what became of it.
fn report(format: Format, written: Option<Written>, error: Option<String>, watched: &Outages) -> anyhow::Result<u8> {
    let Written { plan, outcomes, notes, refused } = match (written, &error) {
        (Some(written), _) => written,
        (None, Some(error)) => anyhow::bail!("{error}"),
        (None, None) => anyhow::bail!("the request ended without a plan: this is a defect of vtflow"),
    };
    let outages = plan.refuses.as_ref().map(|refuses| watched.ended(refuses, &refused)).unwrap_or_default();
    let of_outages = |said: &dyn Fn(&Refuses) -> Vec<String>| plan.refuses.as_ref().map(said).unwrap_or_default();
    match format {
        Format::Text => {
            terminal::print(&outcomes.iter().map(line).collect::<String>());
            let told = of_outages(&|refuses| outage::told(refuses, &outages));
            terminal::print(&told.iter().map(|text| terminal::printable(text) + "\n").collect::<String>());
        }
        Format::Json => {
            let document = serde_json::json!({
                "plan": plan, "outcomes": outcomes, "outages": outages, "notes": notes, "error": error
            });
            terminal::print(&(serde_json::to_string_pretty(&document)? + "\n"));
        }
    }
    for note in &notes {
        terminal::error_line(&format!("note: {}", terminal::printable(note)));
    }
    if let Some(unprinted) = terminal::unprinted() {
        // What was changed is to be known, and that something was.
        let text = format!("what became of it cannot be printed: {unprinted}");
        terminal::error_line(&format!("{} {text}", terminal::on_stderr(Style::Trouble, "error:")));
        terminal::error_line(outcomes.iter().map(line).collect::<String>().trim_end());
        return Ok(IN_PART);
    }
    let missing = outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Applied).count();
    match error {
        None => Ok(ALL_WELL),
        Some(error) if outcomes.is_empty() => anyhow::bail!("{error}"),
        Some(error) if !plan.steps.is_empty() => {
            // What failed may be none of the changes: a position that was not reached.
            let error = error.lines().map(terminal::printable).collect::<Vec<_>>().join("\n  ");
            terminal::error_line(&format!("{} {error}", terminal::on_stderr(Style::Trouble, "error:")));
            still_refused(&of_outages(&|refuses| outage::trouble(refuses, &outages)));
            Ok(IN_PART)
        }
        Some(_) => {
            let text = format!("{missing} of {} changes not applied, or not known to be", outcomes.len());
            terminal::error_line(&format!("{} {text}", terminal::on_stderr(Style::Trouble, "error:")));
            terminal::error_line(
                "  look before you repeat it: a change that was made would be made again; --shards names what is left",
            );
            Ok(IN_PART)
        }
    }
}

/// Says on stderr that applications cannot write.
fn still_refused(lines: &[String]) {
    for line in lines {
        terminal::error_line(&format!("{} {}", terminal::on_stderr(Style::Trouble, "error:"), terminal::printable(line)));
    }
    if !lines.is_empty() {
        terminal::error_line("  try: vtflow diagnose, which says whom it hurts and the ways out");
    }
}

/// Says on stderr why a plan is not performed.
fn changed(now: &WritePlan, earlier: &WritePlan) {
    let text = "the plan is not the one any more: nothing was changed";
    terminal::error_line(&format!("{} {text}", terminal::on_stderr(Style::Trouble, "error:")));
    let mut lines = plans::changes_since(now, earlier);
    if lines.is_empty() {
        lines.push("the request, its options or the locks are others than those of the digest".into());
    }
    for line in &lines {
        terminal::error_line(&format!("  {}", terminal::printable(line)));
    }
    terminal::error_line("  make a new plan, and read it");
}

/// Asks the person at the terminal. Without one, `--yes` has to say it.
async fn confirmed(word: Option<&str>) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        anyhow::bail!("there is no terminal to ask at: nothing was changed; say --yes, or look with --dry-run");
    }
    terminal::error_line(&match word {
        Some(name) => format!("Type the workflow's name ({}) to go on:", terminal::printable(name)),
        None => "Type yes to go on:".to_owned(),
    });
    let read = || {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    };
    let answer = tokio::task::spawn_blocking(read).await??;
    let answer = answer.trim();
    let is_yes = word.map_or_else(|| answer.eq_ignore_ascii_case("yes"), |name| answer == name.trim());
    if !is_yes {
        terminal::error_line("Nothing was changed.");
    }
    Ok(is_yes)
}

fn line(outcome: &Outcome) -> String {
    let mut lines = String::new();
    for (number, line) in outcome.to_string().lines().enumerate() {
        lines += if number == 0 { "" } else { "    " };
        lines += &terminal::printable(line);
        lines.push('\n');
    }
    lines
}

/// A plan as people read it, on terminals that obey nobody else.
fn printable(plan: &WritePlan) -> String {
    plans::text(plan).lines().map(|line| terminal::printable(line) + "\n").collect()
}

/// How long an interrupted command waits for its locks to be given back.
const GIVING_BACK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> Outcome {
        let (keyspace, shard, tablet) = ("customer".into(), "-80".into(), "zone1-0000000200".into());
        Outcome { keyspace, shard, tablet, verdict, rows: 0, message: String::new() }
    }

    #[test]
    fn the_exit_code_says_how_much_was_done() {
        let plan: WritePlan = serde_json::from_value(serde_json::json!({
            "planner": "", "rpc": "", "request": "", "summary": "", "locks": [], "writes": [], "kept": [], "warnings": [], "digest": ""
        }))
        .unwrap();
        let ended = |outcomes: &[Verdict], error: Option<&str>| {
            let outcomes = outcomes.iter().copied().map(outcome).collect();
            report(
                Format::Text,
                Some(Written { plan: plan.clone(), outcomes, notes: Vec::new(), refused: Vec::new() }),
                error.map(str::to_owned),
                &Outages::default(),
            )
        };
        assert_eq!(ended(&[Verdict::Applied], None).unwrap(), ALL_WELL);
        for half in [Verdict::NotApplied, Verdict::Unknown] {
            assert_eq!(ended(&[Verdict::Applied, half], Some("x")).unwrap(), IN_PART);
        }
        assert_eq!(ended(&[], Some("refused")).unwrap_err().to_string(), "refused");
    }
}
