//! Numbers and texts as people read them: short, with their unit.

/// A text of at most so many bytes, and how many there were more.
pub(crate) fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let mut end = bytes;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let more = text.len() - end;
        text.truncate(end);
        text = format!("{text}… and {more} bytes more");
    }
    text
}

/// Whether a stream's message tells of an error as vtctld finds it: the letters, in any case, anywhere. Source:
/// `go/vt/vtctl/workflow/workflows.go:getStreamState`.
pub fn says_error(message: &str) -> bool {
    // No letter outside of ASCII becomes one of these in lower case.
    message.as_bytes().windows(5).any(|text| text.eq_ignore_ascii_case(b"error"))
}

/// `1 shard`, `4 shards`.
pub fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Seconds in the largest unit that keeps them readable: `7s`, `12m`, `3h`, `5d`.
pub fn duration(seconds: i64) -> String {
    match seconds {
        i64::MIN..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_how_much_is_missing() {
        for (text, bytes, want) in [
            ("aéé", 5, "aéé"),
            ("aéé", 6, "aéé"),
            ("aéé", 4, "aé… and 2 bytes more"),
            ("aéé", 3, "aé… and 2 bytes more"),
            ("aéé", 2, "a… and 4 bytes more"),
            ("aéé", 0, "… and 5 bytes more"),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text.to_owned(), bytes), want, "{bytes} bytes");
        }
    }
}
