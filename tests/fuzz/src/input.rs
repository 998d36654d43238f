//! Decisions out of bytes: a structured input read from the front of what an engine hands over.
//!
//! Nothing fails: where the bytes end, every number is 0 and every text empty. So a short input is a simple one, and cutting an input makes
//! it simpler.

/// What is left of the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// From the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next two bytes, the low one first.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number below `count`, from one byte; 0 if there is nothing to choose from.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()).checked_rem(count).unwrap_or(0)
    }

    /// One of these.
    pub fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        let at = self.below(of.len());
        &of[at]
    }

    /// A run of bytes: its length in one byte, of which 255 says that two more have it.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = match self.byte() {
            255 => usize::from(self.short()),
            length => usize::from(length),
        };
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A text; what is no UTF-8 is replaced.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// The other direction: puts down what an [`Input`] reads. For the inputs that are made.
#[derive(Clone, Debug, Default)]
pub struct Output(pub Vec<u8>);

impl Output {
    /// A byte.
    #[must_use]
    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// As [`Input::short`].
    #[must_use]
    pub fn short(mut self, number: u16) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    /// As [`Input::bytes`]; what is longer than it reads is cut.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        match u8::try_from(length) {
            Ok(length) if length < 255 => self.0.push(length),
            _ => {
                self.0.push(255);
                self.0.extend(length.to_le_bytes());
            }
        }
        self.0.extend(&bytes[..usize::from(length)]);
        self
    }
}
