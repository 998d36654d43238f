//! Faces of what is private, for the targets of `tests/fuzz` alone. No program may call them: they are not part of the interface.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::body::Body;
use vtflow_planner::Failure;
use vtflow_screen::Table;

use crate::{
    cli::read::view,
    net::{
        call::{CallError, Received, status_in},
        grpc,
    },
    server::{
        message,
        metadata::{self, METADATA_BYTES, RESERVED_BYTES},
        refusal::Refusal,
        trailers::failure_trailers,
    },
};

/// The message of a request whose body comes in these pieces, as the server reads it.
///
/// # Errors
/// The status that the caller gets.
pub fn request_message(encoding: Option<&[u8]>, pieces: &[&[u8]], limit_bytes: usize) -> Result<Bytes, (i32, String)> {
    let frames: Vec<_> = pieces.iter().map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    let mut request = Request::new(Body::new(StreamBody::new(stream::iter(frames))));
    if let Some(encoding) = encoding.and_then(|encoding| HeaderValue::from_bytes(encoding).ok()) {
        request.headers_mut().insert("grpc-encoding", encoding);
    }
    // All of it is there: nothing waits.
    let read = message::read_one(request, limit_bytes).now_or_never();
    read.unwrap_or_else(|| Err(Refusal::internal("it waits"))).map_err(|refusal| (refusal.code, refusal.message))
}

/// The message of a tablet's answer whose body comes in these pieces.
///
/// # Errors
/// What is wrong with it.
pub fn answer_message(pieces: &[&[u8]], limit_bytes: usize) -> Result<Bytes, String> {
    let mut received = Received::default();
    let taken = pieces.iter().try_for_each(|piece| received.push(piece, limit_bytes));
    taken.and_then(|()| received.message()).map(Bytes::from).map_err(|error| format!("{error:?}"))
}

/// The status in an answer's headers: `None` without one, else its code and message.
pub fn answer_status(status: &[u8], message: &[u8]) -> Option<(i32, String)> {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from_bytes(status).ok()?);
    headers.insert("grpc-message", HeaderValue::from_bytes(message).ok()?);
    match status_in(&headers)? {
        Ok(()) => Some((0, String::new())),
        Err(CallError::Status { code, message }) => Some((code, message)),
        Err(CallError::TooLarge(message)) => Some((grpc::code::RESOURCE_EXHAUSTED, message)),
        Err(CallError::NoRoom(message) | CallError::Broken(message)) => Some((grpc::code::UNKNOWN, message)),
    }
}

/// A message with its prefix.
pub fn framed(message: &[u8], limit_bytes: usize) -> Option<Bytes> {
    grpc::framed(message, limit_bytes)
}

/// How long a caller waits, by its `grpc-timeout`; `None`: as long as it takes, or no header can be that.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-timeout", HeaderValue::from_bytes(value).ok()?);
    message::timeout(&headers)
}

/// A status message as it travels.
pub fn percent_encoded(text: &str) -> String {
    grpc::percent_encoded(text)
}

/// A status message as it was meant.
pub fn percent_decoded(text: &[u8]) -> String {
    grpc::percent_decoded(text)
}

/// All that ends an answer of this status with these failures, and the bytes that the whole may have.
pub fn trailers(code: i32, message: &str, failures: &[Failure]) -> (HeaderMap, usize) {
    let refusal = Refusal::new(code, message);
    let room = METADATA_BYTES.saturating_sub(RESERVED_BYTES + metadata::message_size(message));
    let more = failure_trailers(failures, room);
    let result = if code == 0 { Ok(()) } else { Err(&refusal) };
    (metadata::trailers(result, &more), METADATA_BYTES - RESERVED_BYTES)
}

/// A list as it is printed: so many columns wide, or as wide as it is.
pub fn table(table: &Table, width: Option<usize>) -> String {
    view::table(table, width)
}
