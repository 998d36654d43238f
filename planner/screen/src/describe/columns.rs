//! The tables on a workflow's screen: its streams, and what is copied.

use super::{Description, StreamLine, TableLine};
use crate::{
    table::{Kind, Line, Table},
    words::{UNKNOWN, count, known, percent, seconds, speed},
};

impl Line for StreamLine {
    fn has_trouble(&self) -> bool {
        self.has_trouble
    }
}

impl Line for TableLine {
    fn has_trouble(&self) -> bool {
        false
    }
}

/// The streams as a table. What is wrong with one is not in its note: see [`StreamLine::trouble`].
pub fn stream_table(of: &Description) -> Table {
    let unless = |is_unknown: bool, text: String| if is_unknown { UNKNOWN.to_owned() } else { text };
    let table = Table::of(&of.streams)
        .column("Shard", Kind::Text(6), |line| line.shard.clone())
        .column("ID", Kind::Word, |line| unless(line.id == 0, line.id.to_string()))
        .column("Tablet", Kind::Text(10), |line| line.tablet.clone())
        .column("State", Kind::Word, |line| line.state.clone())
        .column("Lag", Kind::Word, |line| seconds(line.lag_seconds))
        .column("Position", Kind::Text(10), |line| unless(line.position.is_empty(), line.position.clone()))
        .column("Copied", Kind::Word, |line| unless(line.id == 0, count(line.rows_copied)));
    let table = match &of.copy {
        None => table,
        Some(copy) => {
            // What is left to copy is known of all streams together.
            let left = copy.left_seconds.filter(|_| matches!(of.streams.as_slice(), [one] if one.rows_per_second.is_some()));
            table
                .column("Rows/s", Kind::Word, |line| known(line.rows_per_second.map(speed)))
                .column("Left", Kind::Word, |_| seconds(left))
        }
    };
    table.column("Note", Kind::Note, note).table()
}

fn note(line: &StreamLine) -> String {
    let said = |what: &str, text: &str| if text.is_empty() { String::new() } else { format!("{what} {text}") };
    // Trouble has lines of its own beneath.
    let message = if line.has_trouble { String::new() } else { line.message.clone() };
    let parts = [message, said("stops at", &line.stops_at), said("throttled by", &line.throttled_by)];
    parts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
}

/// The tables that are copied, as a table.
pub fn copy_table(of: &Description) -> Table {
    Table::of(&of.tables)
        .column("Table", Kind::Text(12), |line| line.table.clone())
        .column("Copy", Kind::Word, |line| bar(line.percent))
        .column("Done", Kind::Word, |line| percent(line.percent))
        .column("Rows", Kind::Word, |line| known(line.rows()))
        .column("State", Kind::Word, |line| line.phase.to_owned())
        .table()
}

/// Twenty characters, full from the left. Nothing but a dash where the share is not known.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 20")]
fn bar(percent: Option<f32>) -> String {
    const WIDTH: usize = 20;
    known(percent.map(|percent| {
        let full = ((percent / 5.0) as usize).min(WIDTH);
        "█".repeat(full) + &"░".repeat(WIDTH - full)
    }))
}
