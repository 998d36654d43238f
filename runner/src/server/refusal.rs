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
        grpc::framed(message, limit_bytes).ok_or_else(|| {
            let message = format!("grpc: trying to send message larger than max ({} vs. {limit_bytes})", message.len());
            Self::new(code::RESOURCE_EXHAUSTED, message)
        })
    }
}
