//! Rows as a table of text: borders of `+`, `-` and `|`, a line between rows, long texts on several lines.
//!
//! Facts: `go/cmd/vtctldclient/cli`, `WriteQueryResultTable` and the library that it uses, olekukonko/tablewriter: columns are
//! wrapped at [`WRAP`] characters between words so that the lines are about equally long. Recorded output is in
//! `tests/tests/it/legacy.rs`.

/// Characters of a line within a cell, unless one word is longer: 30 with the spaces around it.
const WRAP: usize = 28;

/// The table's lines, each with its line break. Empty without rows.
pub(super) fn lines(header: &[String], rows: &[Vec<String>]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let rows: Vec<Vec<Vec<String>>> = rows.iter().map(|row| row.iter().map(|cell| wrapped(cell)).collect()).collect();
    let mut widths: Vec<usize> = header.iter().map(|name| width(name)).collect();
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(cell.iter().map(|line| width(line)).max().unwrap_or(0));
        }
    }
    let border = widths.iter().fold("+".to_owned(), |line, width| line + &"-".repeat(width + 2) + "+") + "\n";
    let names = header.iter().zip(&widths).map(|(name, width)| format!("{name:^width$}"));
    let mut out = vec![border.clone(), line(names), border.clone()];
    for row in &rows {
        let height = row.iter().map(Vec::len).max().unwrap_or(0);
        for index in 0..height {
            let cells = row.iter().zip(&widths).map(|(cell, width)| {
                let text = cell.get(index).map_or("", String::as_str);
                format!("{text:<width$}")
            });
            out.push(line(cells));
        }
        out.push(border.clone());
    }
    out
}

fn line(cells: impl Iterator<Item = String>) -> String {
    cells.fold("|".to_owned(), |line, cell| format!("{line} {cell} |")) + "\n"
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A cell's lines; one at least.
fn wrapped(text: &str) -> Vec<String> {
    text.split('\n').flat_map(wrapped_line).collect()
}

/// The words on as many lines as needed, the squares of what the lines lack (but the last) as small as can be.
fn wrapped_line(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(' ').collect();
    let limit = words.iter().map(|word| width(word)).max().unwrap_or(0).max(WRAP);
    if width(text) <= limit {
        return vec![text.to_owned()];
    }
    // From the end: what the lines from a word on cost, and the first word of the next line.
    let mut best: Vec<(usize, usize)> = vec![(0, 0); words.len() + 1];
    for first in (0..words.len()).rev() {
        let mut length = 0;
        let choices = words.iter().enumerate().skip(first).map_while(|(end, word)| {
            length += width(word) + usize::from(end > first);
            let lack = limit.checked_sub(length)?;
            let lack = if end + 1 == words.len() { 0 } else { lack.pow(2) };
            let (after, _) = best.get(end + 1)?;
            Some((after.saturating_add(lack), end + 1))
        });
        // Of several that are alike the shortest line.
        let choice = choices.min_by_key(|(cost, _)| *cost);
        if let (Some(slot), Some(choice)) = (best.get_mut(first), choice) {
            *slot = choice;
        }
    }
    let mut lines = Vec::new();
    let mut next = 0;
    for (first, (_, end)) in best.iter().enumerate().take(words.len()) {
        if first == next {
            lines.push(words.get(first..*end).unwrap_or_default().join(" "));
            next = *end;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_table_has_a_line_between_rows() {
        let rows = [texts(&["zone1-0000000200", "1"]), texts(&["zone1-0000000500", "0"])];
        let want = "+------------------+--------------+\n\
                    |      Tablet      | RowsAffected |\n\
                    +------------------+--------------+\n\
                    | zone1-0000000200 | 1            |\n\
                    +------------------+--------------+\n\
                    | zone1-0000000500 | 0            |\n\
                    +------------------+--------------+\n";
        let got = lines(&texts(&["Tablet", "RowsAffected"]), &rows);
        assert_eq!((got.concat().as_str(), got.len()), (want, 7), "a line is an event of its own");
        assert!(lines(&texts(&["Tablet"]), &[]).is_empty());
    }

    #[test]
    fn texts_are_wrapped_between_words() {
        for (text, want) in [
            ("alter table corder add key sku_idx (sku)", &["alter table corder add key", "sku_idx (sku)"][..]),
            ("--postpone-launch --allow-concurrent", &["--postpone-launch", "--allow-concurrent"]),
            ("a line of 28 characters, okay", &["a line of 28 characters,", "okay"]),
            ("a line of 28 characters: yes", &["a line of 28 characters: yes"]),
            ("", &[""]),
            ("one\ntwo", &["one", "two"]),
            ("a_word_of_more_than_thirty_characters and others", &["a_word_of_more_than_thirty_characters", "and others"]),
            // Two ways that are as good: the shorter line comes first.
            (
                "aaaaaaaaaa bbbbbbbb cccccccccc dddddddddddddddddddddddddd",
                &["aaaaaaaaaa", "bbbbbbbb cccccccccc", "dddddddddddddddddddddddddd"],
            ),
            // Taking as many words as fit would leave the second line with nothing but "cc".
            (
                "aaaaaaaaaaaaaaaaaaaaaaaaa bb cc dddddddddddddddddddddddddd e",
                &["aaaaaaaaaaaaaaaaaaaaaaaaa", "bb cc", "dddddddddddddddddddddddddd e"],
            ),
        ] {
            assert_eq!(wrapped(text), want, "{text}");
        }
    }
}
