//! A message in parts that stay where they were written: a large one is never there twice.

use std::ops::Range;

/// The bytes of a message, one part behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The first is what was written for this message alone, the others are used as they were.
    buffers: Vec<Vec<u8>>,
    slices: Vec<Slice>,
    bytes: usize,
}

/// A slice of a buffer. There may be very many.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    buffer: u32,
    begin: u32,
    end: u32,
}

/// How far somebody has read [`Parts`]; by default, not at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    part: usize,
    /// Bytes of that part.
    offset: usize,
}

impl Parts {
    /// An empty message that will have slices of these.
    pub fn of(buffers: impl Iterator<Item = Vec<u8>>) -> Self {
        Self { buffers: std::iter::once(Vec::new()).chain(buffers).collect(), ..Self::default() }
    }

    /// Adds what is written into the buffer that `write` is handed.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(own) = self.buffers.first_mut() else { return };
        let begin = own.len();
        write(own);
        let end = own.len();
        self.push(0, begin..end);
    }

    /// Adds a slice of the buffer of this index. One that is not there has no bytes.
    pub fn append(&mut self, buffer: usize, slice: Range<usize>) {
        self.push(buffer.saturating_add(1), slice);
    }

    /// Makes room for so many times more than there is, within bounds: what follows will be much like it.
    pub fn expect(&mut self, times: usize) {
        if let Some(own) = self.buffers.first_mut() {
            own.reserve(own.len().saturating_mul(times).min(EXPECTED_BYTES));
        }
        self.slices.reserve(self.slices.len().saturating_mul(times).min(EXPECTED_SLICES));
    }

    fn push(&mut self, buffer: usize, slice: Range<usize>) {
        // Answers of 4 GiB are not read.
        let [buffer, begin, end] = [buffer, slice.start, slice.end].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let part = Slice { buffer, begin, end };
        let bytes = self.slice(&part).len();
        if bytes == 0 {
            return;
        }
        self.bytes += bytes;
        match self.slices.last_mut() {
            Some(last) if (last.buffer, last.end) == (buffer, begin) => last.end = end,
            _ => self.slices.push(part),
        }
    }

    fn slice(&self, part: &Slice) -> &[u8] {
        let buffer = self.buffers.get(part.buffer as usize);
        buffer.and_then(|buffer| buffer.get(part.begin as usize..part.end as usize)).unwrap_or_default()
    }

    /// How many bytes the message has.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes of memory that it takes as long as it is there.
    pub fn held_bytes(&self) -> usize {
        let slices = self.slices.capacity() * size_of::<Slice>();
        self.buffers.iter().map(Vec::capacity).sum::<usize>() + slices
    }

    /// What comes next: as many bytes, fewer where the message ends, none behind its end.
    pub fn next(&self, reached: &mut Reached, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.min(self.bytes));
        while let Some(part) = self.slices.get(reached.part).filter(|_| out.len() < bytes) {
            let rest = self.slice(part).get(reached.offset..).unwrap_or_default();
            let (taken, left) = rest.split_at_checked(bytes - out.len()).unwrap_or((rest, &[]));
            out.extend_from_slice(taken);
            *reached = match left {
                [] => Reached { part: reached.part + 1, offset: 0 },
                _ => Reached { offset: reached.offset + taken.len(), ..*reached },
            };
        }
        out
    }

    /// All of it in one piece.
    pub fn whole(&self) -> Vec<u8> {
        self.next(&mut Reached::default(), self.bytes)
    }
}

/// As much room is made at once, at most.
const EXPECTED_BYTES: usize = 1 << 20;
const EXPECTED_SLICES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_in_pieces_of_any_size() {
        let mut parts = Parts::of([b"ABCDEF".to_vec(), Vec::new(), b"xyz".to_vec()].into_iter());
        parts.write(|out| out.extend_from_slice(b"12"));
        parts.append(0, 0..2);
        // Next to each other: one part.
        parts.append(0, 2..5);
        parts.append(1, 0..0);
        parts.write(|_| ());
        parts.append(2, 0..3);
        parts.write(|out| out.extend_from_slice(b"3"));
        parts.append(0, 5..6);
        // What is not there, also next to what is.
        parts.append(0, 5..7);
        parts.append(0, 6..7);
        parts.append(9, 0..1);
        let whole = b"12ABCDExyz3F";
        assert_eq!((parts.whole().as_slice(), parts.len(), parts.is_empty()), (&whole[..], whole.len(), false));
        for size in 1..=whole.len() + 1 {
            let mut reached = Reached::default();
            for want in whole.chunks(size) {
                assert_eq!(parts.next(&mut reached, size), want, "{size}");
            }
            assert_eq!(parts.next(&mut reached, size), b"", "{size}");
        }
        assert!(Parts::default().is_empty() && Parts::default().whole().is_empty());
    }
}
