//! Lists and places in the texts of deviations.

use super::evidence::{Side, Stream};

/// Names that a text has at most; the rest is counted.
const NAMED: usize = 5;

/// `a`, `a and b`, `a, b, c, d, e and 3 more`.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMED);
    let shown = names.get(..names.len() - more).unwrap_or_default();
    match (shown, more) {
        ([.., last], 0) if shown.len() > 1 => {
            let front = shown.get(..shown.len() - 1).unwrap_or_default();
            format!("{} and {last}", front.join(", "))
        }
        (_, 0) => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `commerce/0 zone1-0000000100 stream 7`, of each.
pub(crate) fn of_streams(side: &Side, streams: &[(&str, &Stream)]) -> Vec<String> {
    let tablet = |shard: &str| side.shards.get(shard).map_or("", |shard| shard.tablet.as_str());
    streams.iter().map(|(shard, stream)| format!("{}/{shard} {} stream {}", side.keyspace, tablet(shard), stream.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn five_names_are_listed_and_the_others_counted() {
        for (names, want) in [
            ("", ""),
            ("a", "a"),
            ("a b", "a and b"),
            ("a b c", "a, b and c"),
            ("a b c d e", "a, b, c, d and e"),
            ("a b c d e f", "a, b, c, d, e and 1 more"),
            ("a b c d e f g h", "a, b, c, d, e and 3 more"),
        ] {
            let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
            assert_eq!(listed(&names), want);
        }
    }
}
