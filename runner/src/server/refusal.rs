//! What a caller is told instead of an answer.

use bytes::Bytes;

use crate::net::grpc::{self, code};

/// A status other than OK. The code may be one that gRPC does not know: tablets send 17 and 18.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(code::INTERNAL, message)
    }

    /// A message with its prefix, ready to be sent any number of times.
    ///
    /// # Errors
    /// It is larger than a message may be.
    pub(crate) fn framed(message: &[u8], limit_bytes: usize) -> Result<Bytes, Self> {
        grpc::framed(message, limit_bytes).ok_or_else(|| Self::too_large(message.len(), limit_bytes))
    }

    /// The same of a message that is given away, in two pieces, and of which so many bytes follow elsewhere: nothing of it is copied.
    ///
    /// # Errors
    /// As [`Refusal::framed`].
    pub(crate) fn in_frame(message: Vec<u8>, rest: usize, limit_bytes: usize) -> Result<[Bytes; 2], Self> {
        let bytes = message.len().saturating_add(rest);
        match grpc::prefix_of(bytes, limit_bytes) {
            Some(prefix) => Ok([Bytes::copy_from_slice(&prefix), message.into()]),
            None => Err(Self::too_large(bytes, limit_bytes)),
        }
    }

    fn too_large(bytes: usize, limit_bytes: usize) -> Self {
        let message = format!("grpc: trying to send message larger than max ({bytes} vs. {limit_bytes})");
        Self::new(code::RESOURCE_EXHAUSTED, message)
    }
}
