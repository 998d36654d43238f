//! Where a quoted text ends, or something that stands for something else: eight bytes at a time.
//!
//! Texts of rows are long and nearly all of their bytes are nothing but themselves.

/// How many bytes stand before the first quotation mark, backslash or control character of ASCII (below 0x20); all, if there is none.
pub(crate) fn plain_bytes(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let found = signs(u64::from_le_bytes(*word));
        if found != 0 {
            return place * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_sign = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(is_sign).unwrap_or(rest.len())
}

/// The highest bit of each byte that is such a sign. The lowest bit that is set is right; those above it need not be, since one byte
/// borrows from the next.
fn signs(word: u64) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let below = |word: u64, limit: u8| word.wrapping_sub(EACH * u64::from(limit)) & !word;
    let is = |sign: u8| below(word ^ (EACH * u64::from(sign)), 1);
    (below(word, 0x20) | is(b'"') | is(b'\\')) & (EACH << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any byte at any place, behind and before any other of those that are near a limit.
    #[test]
    fn the_first_sign_is_found_wherever_it_stands() {
        let near = [0, 1, 0x1f, 0x20, 0x21, b'"', b'#', b'[', b'\\', b']', 0x7f, 0x80, 0xa0, 0xa2, 0xdc, 0xff];
        let mut texts = vec![Vec::new(), b"a".repeat(8), b"a".repeat(21)];
        for place in 0..19 {
            for byte in 0..=u8::MAX {
                for other in near {
                    let mut text = vec![b'a'; 19];
                    text[place] = byte;
                    if let Some(next) = text.get_mut(place + 1) {
                        *next = other;
                    }
                    texts.push(text);
                }
            }
        }
        for text in texts {
            let want = text.iter().take_while(|byte| !(**byte == b'"' || **byte == b'\\' || **byte < 0x20)).count();
            assert_eq!(plain_bytes(&text), want, "{}", text.escape_ascii());
        }
    }
}
