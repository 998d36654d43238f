//! Aligned columns for a terminal: as wide as they need to be, at most as wide as the screen.
//!
//! What does not fit is shortened in the middle, never numbers: each column says whether it may be.

use super::lines;

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
    /// As [`Fit::Middle`], but only once the rest has lines of its own: for names that people copy.
    Name(usize),
    /// Never shortened: the line becomes wider by what it takes beyond so many characters.
    Widening(usize),
    /// Cut at the end; takes what the others leave.
    Rest,
}

/// Lays out rows under headings. `width`: columns of a line, `None` for as many as needed. A row shorter than the headings has empty cells.
///
/// A text of a last column of [`Fit::Rest`] that does not fit beside the others is never cut: it goes on lines of its own, indented.
pub fn table(columns: &[Column<'_>], rows: &[Vec<String>], width: Option<usize>) -> String {
    lay_out(columns, rows, width).concat()
}

/// As [`table`], piece by piece: the headings, then one piece per row, each with a newline at its end and, where it has some, its lines
/// beneath.
pub fn lay_out(columns: &[Column<'_>], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let natural = natural_widths(columns, rows);
    let beyond = columns.iter().zip(&natural).map(|(column, natural)| match column.fit {
        Fit::Widening(room) => natural.saturating_sub(room),
        _ => 0,
    });
    let screen = width.map_or(usize::MAX, |width| width + beyond.sum::<usize>());
    let mut widths = natural.clone();
    shrink(columns, &mut widths, screen, false);
    let fits = total(&widths) <= screen;
    let Some((_, others)) = columns.split_last().filter(|(last, _)| last.fit == Fit::Rest) else {
        return lines(columns, rows, &widths);
    };
    let rest = |row: &[String]| row.get(others.len()).filter(|text| !text.is_empty()).cloned();
    let room = widths.last().copied().unwrap_or(0);
    let is_beside = |row: &[String]| fits && rest(row).is_none_or(|text| lines::width(&text) <= room);
    let mut above: Vec<Vec<String>> = rows.to_vec();
    for row in above.iter_mut().filter(|row| !is_beside(row)) {
        row.truncate(others.len());
    }
    let has_rest = rows.iter().all(|row| is_beside(row)) || above.iter().any(|row| rest(row).is_some());
    let above = if fits && has_rest {
        lines(columns, &above, &widths)
    } else {
        let mut widths = natural;
        widths.truncate(others.len());
        shrink(others, &mut widths, screen, true);
        lines(others, &above, &widths)
    };
    let beneath = rows.iter().map(|row| match rest(row).filter(|_| !is_beside(row)) {
        Some(text) => lines::wrapped("    ", &text, width),
        None => String::new(),
    });
    above.into_iter().zip(std::iter::once(String::new()).chain(beneath)).map(|(line, note)| line + &note).collect()
}

fn natural_widths(columns: &[Column<'_>], rows: &[Vec<String>]) -> Vec<usize> {
    let cell = |row: &[String], i: usize| row.get(i).map_or(0, |text| lines::width(text));
    let widest = |i: usize| rows.iter().map(|row| cell(row, i)).max().unwrap_or(0);
    columns.iter().enumerate().map(|(i, column)| widest(i).max(lines::width(column.heading))).collect()
}

fn lines(columns: &[Column<'_>], rows: &[Vec<String>], widths: &[usize]) -> Vec<String> {
    let mut out = Vec::new();
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let cells =
            columns.iter().zip(widths).enumerate().map(|(i, (column, &width))| {
                lines::padded(&fitted(row.get(i).map_or("", String::as_str), column.fit, width), width)
            });
        out.push(format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    out
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

/// Takes away what is too much: first from the rest, then evenly from what may be shortened.
fn shrink(columns: &[Column<'_>], widths: &mut [usize], width: usize, may_cut_names: bool) {
    let floor = |column: &Column<'_>| match column.fit {
        Fit::Whole | Fit::Widening(_) => usize::MAX,
        Fit::Name(_) if !may_cut_names => usize::MAX,
        Fit::Middle(least) | Fit::Name(least) => least.max(column.heading.chars().count()),
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
    if lines::width(text) <= width || width == 0 {
        return text.to_owned();
    }
    match fit {
        Fit::Middle(_) | Fit::Name(_) => {
            format!("{}…{}", lines::head(text, (width - 1).div_ceil(2)), lines::tail(text, (width - 1) / 2))
        }
        Fit::Whole | Fit::Widening(_) | Fit::Rest => lines::cut(text, Some(width)),
    }
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
    fn a_name_that_widens_the_line_leaves_the_others_their_room() {
        let columns = &[
            Column { heading: "NAME", fit: Fit::Widening(6) },
            Column { heading: "FROM", fit: Fit::Middle(5) },
            Column { heading: "NOTE", fit: Fit::Rest },
        ];
        let text = table(columns, &[row("a-long-name", "commerce", "well")], Some(24));
        assert_eq!(text, "NAME         FROM      NOTE\na-long-name  commerce  well\n");
        // Where it is short, the line is as wide as it was to be.
        let text = table(columns, &[row("name", "a-source-keyspace", "well")], Some(24));
        assert!(text.lines().all(|line| line.chars().count() <= 24) && text.contains("…"), "{text}");
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let rows = [row("a", "7s", ""), row("bcdef", "12m", "note")];
        assert_eq!(table(COLUMNS, &rows, None), "NAME   LAG  NOTE\na      7s\nbcdef  12m  note\n");
    }

    #[test]
    fn a_screen_too_narrow_for_the_rest_puts_it_beneath() {
        let rows = [row("name", "123456789s", "a note that is rather long"), row("other", "1s", "")];
        assert_eq!(
            table(COLUMNS, &rows, Some(24)),
            "NAME   LAG\nname   123456789s\n    a note that is\n    rather long\nother  1s\n"
        );
    }

    #[test]
    fn a_name_to_copy_is_shortened_only_when_the_note_is_beneath() {
        let columns = [Column { heading: "NAME", fit: Fit::Name(8) }, Column { heading: "NOTE", fit: Fit::Rest }];
        let rows = [vec!["0123456789abcdef".to_owned(), "a note that is rather long".to_owned()]];
        assert_eq!(table(&columns, &rows, Some(36)), "NAME\n0123456789abcdef\n    a note that is rather long\n");
        assert_eq!(table(&columns, &rows, Some(12)).lines().nth(1), Some("012345…bcdef"));
    }

    #[test]
    fn a_narrow_screen_shortens_names_in_the_middle_and_never_numbers() {
        let rows = [row("e21f4478_0000_0000_aad2ccf4f", "123456789s", "a long note that says very much indeed")];
        let text = table(COLUMNS, &rows, Some(30));
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
        assert!(text.contains("123456789s") && text.contains('…'), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("e21f"), "{text}");
    }
}
