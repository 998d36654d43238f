//! What went wrong, below the answer: one line per failure, trouble named by its place, with what to try next. What it says is the screen's.

use vtflow_planner::Failure;
use vtflow_screen as screen;

use crate::output::{
    lines,
    terminal::{self, Style},
};

/// Prints the failures of a reply to stderr, so that stdout stays clean for scripts.
pub(crate) fn print(failures: &[Failure]) {
    let Some(screen::Missing { heading, parts }) = screen::missing(failures) else { return };
    terminal::error_line(&format!("\n{}", terminal::on_stderr(Style::Trouble, &heading)));
    let places: Vec<String> = parts.iter().map(|part| terminal::printable(&part.place)).collect();
    let width = places.iter().map(|place| lines::width(place)).max().unwrap_or(0);
    for (part, place) in parts.iter().zip(&places) {
        for (i, line) in part.message.lines().enumerate() {
            let place = if i == 0 { place.as_str() } else { "" };
            let first = format!("  {}   ", lines::padded(place, width));
            terminal::error_line(lines::wrapped(&first, &terminal::printable(line), terminal::error_width()).trim_end());
        }
        if !part.hint.is_empty() {
            terminal::error_line(&format!("  {:<width$}   {}", "", terminal::on_stderr(Style::Hint, &part.hint)));
        }
    }
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
    if let Some(step) = screen::next_step(&error.to_string()) {
        terminal::error_line(&format!("  {}", terminal::on_stderr(Style::Hint, step)));
    }
}
