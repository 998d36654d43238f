//! What stands where texts were: a number for each different text of a trace.

use std::collections::BTreeMap;

/// The texts that were taken out, and what stands for each.
#[derive(Default)]
pub(super) struct Hidden {
    numbers: BTreeMap<Vec<u8>, usize>,
}

impl Hidden {
    /// What stands for a text: `(redacted 3)`; for an empty one nothing. Equal texts are equal, others are not.
    pub(super) fn text(&mut self, text: &[u8]) -> String {
        if text.is_empty() { String::new() } else { format!("(redacted {})", self.number(text)) }
    }

    /// The same for a text of which people have to see what it is about: `(redacted 3: error)`.
    pub(super) fn text_about(&mut self, text: &[u8], about: &str) -> String {
        format!("(redacted {}: {about})", self.number(text))
    }

    /// The same in hexadecimal digits, an even number of them.
    pub(super) fn hex(&mut self, digits: &str) -> String {
        format!("{:016x}", self.number(digits.as_bytes()))
    }

    fn number(&mut self, text: &[u8]) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(text.to_vec()).or_insert(next)
    }
}
