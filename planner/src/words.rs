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

/// `1 shard`, `4 shards`.
pub(crate) fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
