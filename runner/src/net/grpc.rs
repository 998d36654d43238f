//! gRPC on the wire, in both directions: codes, the prefix of a message, status messages. Source: the gRPC project's
//! `doc/PROTOCOL-HTTP2.md`; of the codes also Vitess `proto/vtrpc.proto`.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

/// The codes of gRPC that vtflow knows by name. There are others: tablets send 17 and 18.
pub(crate) mod code {
    pub(crate) const OK: i32 = 0;
    pub(crate) const CANCELLED: i32 = 1;
    pub(crate) const UNKNOWN: i32 = 2;
    pub(crate) const DEADLINE_EXCEEDED: i32 = 4;
    pub(crate) const NOT_FOUND: i32 = 5;
    pub(crate) const PERMISSION_DENIED: i32 = 7;
    pub(crate) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(crate) const FAILED_PRECONDITION: i32 = 9;
    pub(crate) const UNIMPLEMENTED: i32 = 12;
    pub(crate) const INTERNAL: i32 = 13;
    pub(crate) const UNAVAILABLE: i32 = 14;
    pub(crate) const DATA_LOSS: i32 = 15;
    pub(crate) const UNAUTHENTICATED: i32 = 16;
}

/// Bytes before a message: a flag and the length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// What stands before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) is_compressed: bool,
    /// Bytes of the message.
    pub(crate) length: usize,
}

/// The prefix of what has been received; `None` as long as that is shorter.
pub(crate) fn prefix(received: &[u8]) -> Option<Prefix> {
    let &[flag, a, b, c, d] = received.first_chunk::<PREFIX_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    Some(Prefix { is_compressed: flag != 0, length })
}

/// A message with its prefix; `None` if its length does not fit there, or is more than `limit_bytes`.
pub(crate) fn framed(message: &[u8], limit_bytes: usize) -> Option<Bytes> {
    let prefix = prefix_of(message.len(), limit_bytes)?;
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.extend_from_slice(&prefix);
    frame.extend_from_slice(message);
    Some(frame.freeze())
}

/// What stands before a message of so many bytes on the wire. `None`: it is larger than it may be.
pub(crate) fn prefix_of(bytes: usize, limit_bytes: usize) -> Option<[u8; PREFIX_BYTES]> {
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= limit_bytes)?;
    let mut prefix = [0; PREFIX_BYTES];
    prefix.get_mut(1..)?.copy_from_slice(&length.to_be_bytes());
    Some(prefix)
}

/// The status of a finished call, from its trailers or, if there was no message, its headers.
pub(crate) fn status_of(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// What a status message may not have as it is; nothing beyond ASCII is left as it is either.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// A status message as it travels.
pub(crate) fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A status message as it was meant; what is not encoded properly is left as it is.
pub(crate) fn percent_decoded(text: &[u8]) -> String {
    percent_decode(text).decode_utf8_lossy().into_owned()
}

/// Bytes of one character of a status message as it travels.
pub(crate) fn encoded_size(character: char) -> usize {
    let is_plain = matches!(character, ' '..='~') && character != '%';
    if is_plain { 1 } else { 3 * character.len_utf8() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_and_broken_encoding_kept() {
        for (text, want) in [("a%20b", "a b"), ("100%", "100%"), ("%zz", "%zz"), ("%e2%82%ac", "€"), ("%ff", "\u{fffd}")] {
            assert_eq!(percent_decoded(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn messages_travel_percent_encoded() {
        assert_eq!(percent_encoded("100% of\ncafé"), "100%25 of%0Acaf%C3%A9");
        for text in ["plain ~ text", "100%", "\u{7f}\t", "é€😀"] {
            assert_eq!(percent_encoded(text).len(), text.chars().map(encoded_size).sum::<usize>(), "{text:?}");
        }
    }
}
