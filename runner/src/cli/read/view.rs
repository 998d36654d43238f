//! A command that reads and shows: once, or again and again with `--watch`. What is read and how it looks is each command's.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use prost::Message;
use serde::Serialize;
use vtflow_planner::{Call, CallOptions, Failure, Reply, Status, Timestamp};
use vtflow_screen::{Extent, Kind, Row, Table};

use crate::{
    cli::{cluster::open::OpenCluster, duration, failures},
    output::{
        json::{self, PrintError},
        table::{Column, Fit, lay_out},
        terminal::{self, Style},
    },
};

/// How to print, and how often.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Format,
    /// Show it again and again, every two seconds or every DURATION, marking what changed
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "2s", require_equals = true, value_parser = duration::parse)]
    pub(crate) watch: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One line per thing, trouble first
    Table,
    /// The same with every column in full
    Wide,
    /// What vtctldclient prints
    Json,
    /// The same as YAML
    Yaml,
    /// Names only, one a line
    Name,
}

/// What was read: something to show or why there is nothing, and what is missing from it.
pub(crate) struct Reading<T> {
    pub(crate) result: Result<T, Status>,
    pub(crate) failures: Vec<Failure>,
}

impl From<Reply> for Reading<Vec<u8>> {
    fn from(reply: Reply) -> Self {
        Self { result: reply.result, failures: reply.failures }
    }
}

impl<T> Reading<T> {
    pub(crate) fn failed(status: Status) -> Self {
        Self { result: Err(status), failures: Vec::new() }
    }
}

/// A command that shows something.
pub(crate) trait View {
    /// What is read.
    type Read;

    /// Reads it.
    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<Self::Read>;

    /// Shows it. `before`: the reading before, when watching. `width`: characters of a line; `None` for as many as needed.
    fn text(&self, read: &Screen<'_, Self::Read>) -> anyhow::Result<String>;
}

/// What there is to show, and where.
pub(crate) struct Screen<'a, T> {
    pub(crate) read: &'a T,
    pub(crate) failures: &'a [Failure],
    pub(crate) before: Option<&'a T>,
    pub(crate) now: Timestamp,
    pub(crate) width: Option<usize>,
}

/// Performs a request and shows how it goes if it takes long.
pub(crate) async fn ask(cluster: &OpenCluster, call: &Call, now: Timestamp) -> Reply {
    cluster.perform(call, now).await
}

/// Such as `/vtctlservice.Vtctld/GetKeyspaces`, with an encoded request.
pub(crate) fn call(path: &str, request: Vec<u8>, strict: bool) -> Call {
    Call { path: path.into(), request, options: CallOptions { strict, ..CallOptions::default() } }
}

/// Asking more often than this is not watching.
const WATCH_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// Reads and shows, once or until interrupted. `is_for_people`: whether it is for eyes, so that it can be watched.
pub(crate) async fn run<V: View>(
    cluster: &OpenCluster,
    view: &V,
    every: Option<Duration>,
    is_for_people: bool,
) -> anyhow::Result<ExitCode> {
    let Some(every) = every else {
        let now = cluster.now();
        let reading = view.read(cluster, now).await;
        let width = terminal::width();
        match &reading.result {
            Ok(read) => {
                let screen = Screen { read, failures: &reading.failures, before: None, now, width };
                terminal::print(&view.text(&screen)?);
            }
            Err(status) => failures::print_error(&anyhow::anyhow!("{}", status.message)),
        }
        return Ok(report(&reading));
    };
    if !is_for_people {
        anyhow::bail!("--watch redraws a screen: for a script, call again and again without it");
    }
    if every < WATCH_AT_MOST_EVERY {
        anyhow::bail!("--watch={every:?} would do nothing but ask: give 100ms or more");
    }
    let mut code = ExitCode::SUCCESS;
    let watching = watch(cluster, view, every, &mut code);
    // One listener for the whole watch: interrupting must work while tablets are being asked, too.
    tokio::select! {
        error = watching => Err(error),
        _ = tokio::signal::ctrl_c() => Ok(code),
    }
}

/// Redraws until something cannot be printed; `code` is that of the last reading.
async fn watch<V: View>(cluster: &OpenCluster, view: &V, every: Duration, code: &mut ExitCode) -> anyhow::Error {
    let mut before = String::new();
    let mut last: Option<V::Read> = None;
    loop {
        let now = cluster.now();
        let reading = view.read(cluster, now).await;
        // Two columns are for the marks.
        let width = terminal::width().map(|width| width.saturating_sub(2));
        let text = match &reading.result {
            Ok(read) => match view.text(&Screen { read, failures: &reading.failures, before: last.as_ref(), now, width }) {
                Ok(text) => text,
                Err(error) => return error,
            },
            // A watch outlives a bad moment.
            Err(status) => status.message.lines().map(|line| terminal::printable(line) + "\n").collect(),
        };
        terminal::print(&redraw(&text, &before, terminal::stdout_is_terminal()));
        *code = report(&reading);
        before = text;
        if let Ok(read) = reading.result {
            last = Some(read);
        }
        tokio::time::sleep(every).await;
    }
}

/// Says on stderr what is missing and gives the exit code.
fn report<T>(reading: &Reading<T>) -> ExitCode {
    failures::print(&reading.failures);
    match (&reading.result, reading.failures.is_empty()) {
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

/// Lays a table out, headings in capitals; rows in trouble are coloured where there is colour.
pub(crate) fn table(table: &Table, width: Option<usize>) -> String {
    let headings: Vec<String> = table.columns.iter().map(|column| column.heading.to_uppercase()).collect();
    let fit = |kind| match kind {
        Kind::Word => Fit::Whole,
        Kind::Text(least) => Fit::Middle(least),
        Kind::Name(least) => Fit::Name(least),
        Kind::Note => Fit::Rest,
    };
    let columns: Vec<Column<'_>> =
        headings.iter().zip(&table.columns).map(|(heading, column)| Column { heading, fit: fit(column.kind) }).collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(cells).collect();
    let pieces = lay_out(&laid_out(&columns), &rows, width);
    let troubled = std::iter::once(false).chain(table.rows.iter().map(|row| row.has_trouble));
    let coloured = |(piece, has_trouble): (&String, bool)| {
        let line = |line: &str| if has_trouble { terminal::on_stdout(Style::Trouble, line) + "\n" } else { format!("{line}\n") };
        piece.lines().map(line).collect::<String>()
    };
    pieces.iter().zip(troubled).map(coloured).collect()
}

/// The cells of a row; those of one that says more of the row above are indented.
fn cells(row: &Row) -> Vec<String> {
    let mut cells: Vec<String> = row.cells.iter().map(|cell| terminal::printable(cell)).collect();
    if let Some(first) = cells.first_mut().filter(|_| row.is_beneath) {
        first.insert_str(0, "  ");
    }
    cells
}

/// The columns as they are laid out: what is shortened on a screen is whole elsewhere, so that whoever searches finds what is there.
pub(crate) fn laid_out<'a>(columns: &[Column<'a>]) -> Vec<Column<'a>> {
    let is_terminal = terminal::stdout_is_terminal();
    let fit = |fit| match fit {
        Fit::Name(_) if !is_terminal => Fit::Widening(NAME),
        Fit::Middle(_) if !is_terminal => Fit::Widening(CELL),
        fit => fit,
    };
    columns.iter().map(|column| Column { heading: column.heading, fit: fit(column.fit) }).collect()
}

/// Characters of a name, and of another cell, that a line has room for where it is not shortened.
const NAME: usize = 20;
const CELL: usize = 10;

/// Keyspaces that are asked at once.
pub(crate) const KEYSPACES_AT_ONCE: usize = 8;

/// The message of a reply.
///
/// # Errors
/// It is none.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::unknown(error.to_string()))
}

/// Names, one a line.
pub(crate) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| terminal::printable(name) + "\n").collect()
}

/// A document in one of the formats for scripts; `None` for those for people.
pub(crate) fn document(format: Format, value: &impl Serialize) -> Option<Result<String, PrintError>> {
    match format {
        Format::Json => Some(json::any_json(value)),
        Format::Yaml => Some(json::any_yaml(value)),
        Format::Table | Format::Wide | Format::Name => None,
    }
}

impl ShowArgs {
    /// Whether it is for eyes.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self.output, Format::Table | Format::Wide)
    }

    /// The width to lay out for: none when everything is wanted.
    pub(crate) fn width(&self, width: Option<usize>) -> Option<usize> {
        if self.output == Format::Wide { None } else { width }
    }

    /// How much of a long list within a cell is wanted, or of rows beneath another.
    pub(crate) fn extent(&self) -> Extent {
        if self.output == Format::Wide { Extent::All } else { Extent::Some }
    }
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
