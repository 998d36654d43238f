//! What the terminal is: whether there is one, how wide, whether it takes colour; and the only places that print.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

pub use vtflow_screen::printable;

/// Characters of a line when the terminal does not say.
const DEFAULT_WIDTH: usize = 100;

/// What a piece of text is, for those who see colour. Colour never says anything that the words do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Something is wrong.
    Trouble,
    /// What to try next, and other asides.
    Hint,
}

/// The width for a table on stdout: what `COLUMNS` says, or else the terminal, or else 100, also when the output goes to a file:
/// whoever wants whole texts asks for `-o wide`.
pub fn width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    Some(columns.or_else(tty_width).filter(|&width: &usize| width >= 40).unwrap_or(DEFAULT_WIDTH))
}

/// The width for a text on stderr: none where people do not see it, so that a log has it in one line.
pub fn error_width() -> Option<usize> {
    io::stderr().is_terminal().then(width).flatten()
}

/// Whether stdout is a screen: elsewhere what people search for must be whole.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The text for stderr, coloured if a person will see it.
pub fn on_stderr(style: Style, text: &str) -> String {
    styled(style, text, has_colour(io::stderr().is_terminal()))
}

/// The text for stdout, coloured if a person will see it.
pub fn on_stdout(style: Style, text: &str) -> String {
    styled(style, text, has_colour(io::stdout().is_terminal()))
}

/// Prints to stdout. A reader that has gone away (`| head`) is no error: there is nobody left to tell. Of another one, such as a full disk,
/// [`unprinted`] tells.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        UNPRINTED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
    }
}

/// Why not all that was printed has arrived, if so. Told once: who asks tells people.
pub fn unprinted() -> Option<String> {
    UNPRINTED.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The first error of stdout.
static UNPRINTED: Mutex<Option<String>> = Mutex::new(None);

/// Prints a line to stderr.
pub fn error_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Source: no-color.org, and the convention that a dumb terminal has none.
fn has_colour(is_terminal: bool) -> bool {
    is_terminal
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn styled(style: Style, text: &str, has_colour: bool) -> String {
    let code = match style {
        Style::Trouble => "1;31",
        Style::Hint => "2",
    };
    if has_colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// What the terminal itself says; `None` where it cannot be asked.
fn tty_width() -> Option<usize> {
    io::stdout().is_terminal().then(terminal_size::terminal_size).flatten().map(|(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_decoration() {
        assert_eq!(styled(Style::Trouble, "x", false), "x");
        assert_eq!(styled(Style::Trouble, "x", true), "\u{1b}[1;31mx\u{1b}[0m");
        assert!(!has_colour(false));
    }
}
