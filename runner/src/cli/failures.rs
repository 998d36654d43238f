//! What went wrong, below the answer: one line per failure, trouble named by its place, with what to try next.

use vtflow_planner::{Failure, Lost};
use vtflow_screen::Command;

use crate::output::{
    lines,
    terminal::{self, Style},
};

/// Prints the failures of a reply to stderr, so that stdout stays clean for scripts.
pub(crate) fn print(failures: &[Failure]) {
    if failures.is_empty() {
        return;
    }
    let what = if failures.len() == 1 { "1 thing is".to_owned() } else { format!("{} things are", failures.len()) };
    terminal::error_line(&format!("\n{}", terminal::on_stderr(Style::Trouble, &format!("{what} missing from this:"))));
    let places: Vec<String> = failures.iter().map(|failure| terminal::printable(&failure.place())).collect();
    let width = places.iter().map(|place| lines::width(place)).max().unwrap_or(0);
    for (failure, place) in failures.iter().zip(&places) {
        for (i, line) in failure.message.lines().enumerate() {
            let place = if i == 0 { place.as_str() } else { "" };
            let first = format!("  {}   ", lines::padded(place, width));
            terminal::error_line(lines::wrapped(&first, &terminal::printable(line), terminal::error_width()).trim_end());
        }
        if let Some(hint) = hint(failure) {
            terminal::error_line(&format!("  {:<width$}   {}", "", terminal::on_stderr(Style::Hint, &hint)));
        }
    }
}

/// What to try next, where there is something better than reading the text.
fn hint(failure: &Failure) -> Option<String> {
    let Failure { keyspace, shard, tablet, .. } = failure;
    match failure.lost {
        Lost::NoPrimary => {
            let shard = format!("{keyspace}/{shard}");
            let command = |words: &str| Command::new(words).names(&[&shard], "");
            Some(format!("try: {}, then {}", command("vtflow get tablets"), command("vtctldclient PlannedReparentShard")))
        }
        Lost::Shard if failure.message.contains("vreplication engine is closed") => {
            Some("the tablet is no primary any more, or not yet: try again, or look at the shard's record".into())
        }
        // A tablet that was called and gave no answer; not one whose record is missing.
        Lost::Shard if failure.message.starts_with(&format!("{tablet} at ")) => {
            Some(format!("try: {}", Command::new("vtctldclient PingTablet").names(&[tablet], "")))
        }
        Lost::Stream
        | Lost::Workflow
        | Lost::Traffic
        | Lost::CopyState
        | Lost::Logs
        | Lost::Shard
        | Lost::Record
        | Lost::Migration => None,
    }
}

/// What to try when a request failed altogether, by the text that it failed with.
fn next_step(error: &str) -> Option<&'static str> {
    let step = if error.contains("node doesn't exist:") && error.contains("/keyspaces/") {
        "try: vtflow get keyspaces; or the global root is another one (--topo-global-root)"
    } else if error.starts_with("shard ") && error.contains(" not found in keyspace ") {
        "try: vtflow get shards KEYSPACE"
    } else if error.starts_with("no workflow ") {
        "try: vtflow get workflows KEYSPACE"
    } else if error.starts_with("failed to create topo connection to ") {
        "is the topology server running there? --topo-global-server-address names it, the CellInfo records name the cells'"
    } else {
        return None;
    };
    Some(step)
}

/// Prints why a command failed altogether, with each cause, and what to try.
pub(crate) fn print_error(error: &anyhow::Error) {
    // Lines after the first are indented, so that none of them, which may be a tablet's words, looks like one of this program's.
    let indented =
        |line: &str| if line.starts_with(' ') { terminal::printable(line) } else { "  ".to_owned() + &terminal::printable(line) };
    let text: Vec<String> = error.to_string().lines().map(indented).collect();
    let text = text.join("\n");
    terminal::error_line(&format!("{} {}", terminal::on_stderr(Style::Trouble, "error:"), text.trim_start()));
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            terminal::error_line(&format!("  because: {}", terminal::printable(&cause)));
            said = cause;
        }
    }
    if let Some(step) = next_step(&error.to_string()) {
        terminal::error_line(&format!("  {}", terminal::on_stderr(Style::Hint, step)));
    }
}
