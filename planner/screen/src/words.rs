//! Numbers as people read them: short, with their unit.

pub use vtflow_planner::words::duration;
pub(crate) use vtflow_planner::words::plural;

use super::text::quoted;

/// What stands for a number that is not known, and for what is not there.
pub(crate) const UNKNOWN: &str = "–";

/// The text, or [`UNKNOWN`].
pub(crate) fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| UNKNOWN.into())
}

/// Seconds in a cell.
pub(crate) fn seconds(seconds: Option<i64>) -> String {
    known(seconds.map(duration))
}

/// A share in a cell, rounded down.
pub(crate) fn percent(percent: Option<f32>) -> String {
    known(percent.map(|percent| format!("{:.0}%", percent.floor())))
}

/// A name as people read it: one that is empty is seen, too.
pub fn visible_name(name: &str) -> String {
    if name.is_empty() { quoted(name) } else { name.to_owned() }
}

/// A count in at most five characters: `9,999`, `871k`, `12M`, `123G`.
pub(crate) fn count(n: i64) -> String {
    match n {
        ..1_000 => n.to_string(),
        1_000..10_000 => format!("{},{:03}", n / 1_000, n % 1_000),
        10_000..10_000_000 => format!("{}k", n / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", n / 1_000_000),
        _ => format!("{}G", n / 1_000_000_000),
    }
}

/// Rows in a second; less than one is not none.
#[allow(clippy::cast_possible_truncation, reason = "a speed that people read")]
pub(crate) fn speed(rows_per_second: f64) -> String {
    if rows_per_second > 0.0 && rows_per_second < 1.0 { "<1".into() } else { count(rows_per_second.min(1e15) as i64) }
}

/// Characters of one message that are shown: what makes a screen useless is no message. JSON has all of it.
const MESSAGE_SHOWN: usize = 2_000;

/// A message as it is shown: whole, or its begin and how long it is in all.
pub(super) fn message(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(MESSAGE_SHOWN) else { return text.to_owned() };
    let all = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    format!("{}… ({} characters in all)", text.get(..end).unwrap_or_default(), count(all))
}

/// The first few of a list, and how many more there are.
pub(super) fn some(names: &[&str], at_most: usize) -> String {
    let more = names.len().saturating_sub(at_most);
    let shown = names.iter().take(at_most).copied().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [0, 999, 1000, 9999, 871_473, 12_345_678, 123_456_789_012].map(count),
            ["0", "999", "1,000", "9,999", "871k", "12M", "123G"]
        );
        assert_eq!([7, 119, 120, 7200, 172_800].map(duration), ["7s", "119s", "2m", "2h", "2d"]);
    }

    #[test]
    fn a_message_without_end_is_cut_and_says_how_long_it_is() {
        let whole = "é".repeat(MESSAGE_SHOWN);
        assert_eq!(message(&whole), whole);
        assert_eq!(message(&format!("{whole}ab")), format!("{whole}… (2,002 characters in all)"));
    }

    #[test]
    fn a_slow_copy_is_not_a_stopped_one() {
        assert_eq!([0.0, 0.4, 1.0, 6495.4].map(speed), ["0", "<1", "1", "6,495"]);
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        assert_eq!(some(&["a", "b"], 2), "a, b");
        assert_eq!(some(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!([0, 1, 2].map(|n| plural(n, "shard")), ["0 shards", "1 shard", "2 shards"]);
    }
}
