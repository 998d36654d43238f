//! Aligned columns for a terminal: as wide as they need to be, at most as wide as the screen.
//!
//! What does not fit is shortened in the middle, never numbers: each column says whether it may be.

use std::fmt::Write;

/// One column of a table.
pub struct Column<'a> {
    /// Its heading.
    pub heading: &'a str,
    /// How it gives way when the screen is too narrow.
    pub fit: Fit,
}

/// How a column gives way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Never shortened.
    Whole,
    /// Shortened in the middle, to no less than so many characters.
    Middle(usize),
    /// Cut at the end; takes what the others leave.
    Rest,
}

/// Lays out rows under headings. `width`: characters of a line, `None` for as many as needed. A row shorter than the headings
/// has empty cells.
///
/// Where a last column of [`Fit::Rest`] would have no room worth the name, its texts go on lines of their own, indented.
pub fn table(columns: &[Column<'_>], rows: &[Vec<String>], width: Option<usize>) -> String {
    let width = width.unwrap_or(usize::MAX);
    let natural = natural_widths(columns, rows);
    let mut widths = natural.clone();
    shrink(columns, &mut widths, width);
    if total(&widths) <= width {
        return lines(columns, rows, &widths);
    }
    let Some((last, others)) = columns.split_last().filter(|(last, _)| last.fit == Fit::Rest) else {
        return lines(columns, rows, &widths);
    };
    let mut widths = natural;
    widths.truncate(others.len());
    shrink(others, &mut widths, width);
    let beneath = |row: &Vec<String>| match row.get(others.len()).map(String::as_str) {
        None | Some("") => String::new(),
        Some(text) => format!("    {}\n", fitted(text, last.fit, width.saturating_sub(4))),
    };
    let table = lines(others, rows, &widths);
    let mut out = String::new();
    let notes = std::iter::once(String::new()).chain(rows.iter().map(beneath));
    for (line, note) in table.lines().zip(notes) {
        let _ = writeln!(out, "{line}");
        out.push_str(&note);
    }
    out
}

fn natural_widths(columns: &[Column<'_>], rows: &[Vec<String>]) -> Vec<usize> {
    let cell = |row: &[String], i: usize| row.get(i).map_or(0, |text| text.chars().count());
    let widest = |i: usize| rows.iter().map(|row| cell(row, i)).max().unwrap_or(0);
    columns.iter().enumerate().map(|(i, column)| widest(i).max(column.heading.chars().count())).collect()
}

fn lines(columns: &[Column<'_>], rows: &[Vec<String>], widths: &[usize]) -> String {
    let mut out = String::new();
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (i, (column, &width)) in columns.iter().zip(widths).enumerate() {
            let text = fitted(row.get(i).map_or("", String::as_str), column.fit, width);
            let _ = write!(line, "{}{text:<width$}", if i == 0 { "" } else { "  " });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

/// Takes away what is too much: first from the rest, then evenly from what may be shortened.
fn shrink(columns: &[Column<'_>], widths: &mut [usize], width: usize) {
    let floor = |column: &Column<'_>| match column.fit {
        Fit::Whole => usize::MAX,
        Fit::Middle(least) => least.max(column.heading.chars().count()),
        Fit::Rest => 24.max(column.heading.chars().count()),
    };
    for rest_only in [true, false] {
        while total(widths) > width {
            let widest = (0..columns.len())
                .filter(|&i| columns.get(i).is_some_and(|c| (c.fit == Fit::Rest) == rest_only && widths.get(i) > Some(&floor(c))))
                .max_by_key(|&i| widths.get(i).copied());
            let Some(widest) = widest else { break };
            if let Some(width) = widths.get_mut(widest) {
                *width -= 1;
            }
        }
    }
}

fn fitted(text: &str, fit: Fit, width: usize) -> String {
    let length = text.chars().count();
    if length <= width || width == 0 {
        return text.to_owned();
    }
    let (head, tail) = match fit {
        Fit::Middle(_) => ((width - 1).div_ceil(2), (width - 1) / 2),
        Fit::Whole | Fit::Rest => (width - 1, 0),
    };
    text.chars().take(head).chain(std::iter::once('…')).chain(text.chars().skip(length - tail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column<'_>] = &[
        Column { heading: "NAME", fit: Fit::Middle(8) },
        Column { heading: "LAG", fit: Fit::Whole },
        Column { heading: "NOTE", fit: Fit::Rest },
    ];

    fn row(name: &str, lag: &str, note: &str) -> Vec<String> {
        vec![name.into(), lag.into(), note.into()]
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let rows = [row("a", "7s", ""), row("bcdef", "12m", "note")];
        assert_eq!(table(COLUMNS, &rows, None), "NAME   LAG  NOTE\na      7s\nbcdef  12m  note\n");
    }

    #[test]
    fn a_screen_too_narrow_for_the_rest_puts_it_beneath() {
        let rows = [row("name", "123456789s", "a note that is rather long"), row("other", "1s", "")];
        assert_eq!(table(COLUMNS, &rows, Some(24)), "NAME   LAG\nname   123456789s\n    a note that is rath…\nother  1s\n");
    }

    #[test]
    fn a_narrow_screen_shortens_names_in_the_middle_and_never_numbers() {
        let rows = [row("e21f4478_0000_0000_aad2ccf4f", "123456789s", "a long note that says very much indeed")];
        let text = table(COLUMNS, &rows, Some(46));
        assert!(text.lines().all(|line| line.chars().count() <= 46), "{text}");
        assert!(text.contains("123456789s") && text.contains('…'), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("e21f"), "{text}");
    }
}
