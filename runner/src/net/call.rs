//! One unary gRPC call on raw bytes: frames the request, unframes the response, reads the status.
//!
//! Not tonic's client: that one folds the codes 17 and 18, which tablets send, into 2, and aborts the program over a
//! `grpc-status-details-bin` that is not base64. The connection below is tonic's.

use std::{error::Error, future::poll_fn, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Version, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use tonic::{body::Body, transport::Channel};
use tower::Service;

use super::{
    cause::root_cause,
    grpc::{self, PREFIX_BYTES, Prefix, code, percent_decoded, prefix},
    room::{Share, Taken},
};

/// Why there is no response message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The peer answered with this status.
    Status { code: i32, message: String },
    /// A message is larger than it may be.
    TooLarge(String),
    /// The answer was there, or the first part of it, and there is no room for it here.
    NoRoom(String),
    /// There was no proper answer.
    Broken(String),
}

/// What goes with the request besides its bytes.
pub(crate) struct Terms<'a> {
    /// Sent on every call, such as credentials.
    pub(crate) metadata: &'a HeaderMap,
    /// Bytes a message may have, in both directions.
    pub(crate) limit_bytes: usize,
    /// What the peer is told about how long we wait. Not enforced here.
    pub(crate) timeout: Duration,
    /// What the bytes of the answer are counted in.
    pub(crate) room: Option<&'a Share<'a>>,
}

/// Performs one call. Dropping the future cancels it at the peer.
pub(crate) async fn unary(channel: &mut Channel, path: &str, message: &[u8], terms: &Terms<'_>) -> Result<Vec<u8>, CallError> {
    let request = request(path, message, terms)?;
    poll_fn(|context| Service::<Request<Body>>::poll_ready(channel, context)).await.map_err(|error| broken(&error))?;
    let response = channel.call(request).await.map_err(|error| broken(&error))?;

    let (head, mut body) = response.into_parts();
    if let Some(status) = status_in(&head.headers) {
        // A status at once, instead of a message: a "trailers-only" response.
        return Err(status.err().unwrap_or_else(|| CallError::Broken("the answer has a status but no message".to_owned())));
    }
    if !head.status.is_success() {
        return Err(CallError::Broken(format!("not a gRPC server: it answered HTTP status {}", head.status.as_u16())));
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(b"application/grpc") {
        return Err(CallError::Broken(format!(
            "not a gRPC server: it answered with content type {:?}",
            String::from_utf8_lossy(content_type)
        )));
    }

    let mut received = Received::default();
    let mut trailers = HeaderMap::new();
    let mut taken = terms.room.map(Share::answer);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|status| broken(&status))?;
        match frame.into_data() {
            Ok(data) => {
                if let Some(taken) = &mut taken {
                    taken.grow(data.len()).map_err(CallError::NoRoom)?;
                }
                received.push(&data, terms.limit_bytes)?;
            }
            Err(frame) => {
                if let Ok(last) = frame.into_trailers() {
                    trailers = last;
                }
            }
        }
    }
    match status_in(&trailers) {
        Some(Err(status)) => Err(status),
        Some(Ok(())) => {
            let message = received.message()?;
            taken.into_iter().for_each(Taken::keep);
            Ok(message)
        }
        None => Err(CallError::Broken("connection closed before the status of the answer".to_owned())),
    }
}

fn request(path: &str, message: &[u8], terms: &Terms<'_>) -> Result<Request<Body>, CallError> {
    let too_large =
        || CallError::TooLarge(format!("the request has {} bytes, a message may have {}", message.len(), terms.limit_bytes));
    let frame = grpc::framed(message, terms.limit_bytes).ok_or_else(too_large)?;
    let mut request = Request::new(Body::new(Full::new(frame)));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let path: PathAndQuery =
        path.parse().map_err(|error| CallError::Broken(format!("{path:?} is not the path of an RPC: {error}")))?;
    *request.uri_mut() = path.into();
    let headers = request.headers_mut();
    headers.extend(terms.metadata.clone());
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // The value has at most eight digits.
    let millis = terms.timeout.as_millis().clamp(1, 99_999_999);
    if let Ok(value) = HeaderValue::try_from(format!("{millis}m")) {
        headers.insert("grpc-timeout", value);
    }
    Ok(request)
}

/// The answer as far as it has come: its prefix, and its message in a place of its own, where it stays.
#[derive(Default)]
pub(crate) struct Received {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that are here.
    begun: usize,
    message: Vec<u8>,
}

impl Received {
    /// Takes what comes next. Refuses a message as soon as its length is known, before its bytes are here.
    pub(crate) fn push(&mut self, mut data: &[u8], limit: usize) -> Result<(), CallError> {
        if self.begun < PREFIX_BYTES {
            for (place, byte) in self.prefix.iter_mut().skip(self.begun).zip(data) {
                *place = *byte;
            }
            let taken = data.len().min(PREFIX_BYTES - self.begun);
            self.begun += taken;
            data = data.get(taken..).unwrap_or_default();
            if let Some(Prefix { length, .. }) = self.prefix() {
                if length > limit {
                    return Err(CallError::TooLarge(format!("the answer has {length} bytes, a message may have {limit}")));
                }
                // Whoever only says that much comes has not sent it.
                self.message.reserve_exact(length.min(RESERVED_BYTES));
            }
        }
        self.message.extend_from_slice(data);
        if self.prefix().is_some_and(|prefix| self.message.len() > prefix.length) {
            return Err(CallError::Broken("the answer is not one gRPC message: more bytes follow".to_owned()));
        }
        Ok(())
    }

    fn prefix(&self) -> Option<Prefix> {
        prefix(self.prefix.get(..self.begun)?)
    }

    /// The message of an answer that is all there.
    pub(crate) fn message(self) -> Result<Vec<u8>, CallError> {
        let Some(Prefix { is_compressed, length }) = self.prefix() else {
            return Err(CallError::Broken("the answer has no message".to_owned()));
        };
        if is_compressed {
            return Err(CallError::Broken("the answer is compressed, which was not asked for".to_owned()));
        }
        if self.message.len() != length {
            return Err(CallError::Broken("the message of the answer is cut short".to_owned()));
        }
        Ok(self.message)
    }
}

/// The room that a message gets at once, by what its prefix says.
const RESERVED_BYTES: usize = 256 << 10;

/// `None`: no status here.
pub(crate) fn status_in(headers: &HeaderMap) -> Option<Result<(), CallError>> {
    let text = headers.get("grpc-status")?.as_bytes();
    let code = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i32>().ok()).unwrap_or(code::UNKNOWN);
    if code == 0 {
        return Some(Ok(()));
    }
    let message = headers.get("grpc-message").map_or_else(String::new, |value| percent_decoded(value.as_bytes()));
    Some(Err(if code == code::RESOURCE_EXHAUSTED && message.contains("larger than max") {
        // Go's words for a message above its own limit: `grpc: received message larger than max (n vs. m)`.
        CallError::TooLarge(message)
    } else {
        CallError::Status { code, message }
    }))
}

fn broken(error: &(dyn Error + 'static)) -> CallError {
    CallError::Broken(root_cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_beyond_sixteen_survive() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("18"));
        headers.insert("grpc-message", HeaderValue::from_static("read only"));
        assert_eq!(status_in(&headers), Some(Err(CallError::Status { code: 18, message: "read only".to_owned() })));
    }

    #[test]
    fn a_frame_cut_short_or_compressed_is_no_message() {
        for (name, frame) in
            [("empty", &b""[..]), ("prefix only", &[0, 0, 0]), ("cut", &[0, 0, 0, 0, 2, 9]), ("compressed", &[1, 0, 0, 0, 1, 9])]
        {
            assert!(matches!(message(&[frame]), Err(CallError::Broken(_))), "{name}");
        }
    }

    fn message(pieces: &[&[u8]]) -> Result<Vec<u8>, CallError> {
        let mut received = Received::default();
        pieces.iter().try_for_each(|piece| received.push(piece, 3))?;
        received.message()
    }

    #[test]
    fn a_message_is_the_same_however_it_is_cut() {
        let frame = [0u8, 0, 0, 0, 3, 7, 8, 9];
        for cut in 0..=frame.len() {
            let (front, back) = frame.split_at(cut);
            assert_eq!(message(&[front, b"", back]), Ok(vec![7, 8, 9]), "{cut}");
            assert!(matches!(message(&[front, back, b"x"]), Err(CallError::Broken(_))), "{cut}");
        }
        assert_eq!(
            message(&[&[0, 0, 0], &[0, 4]]),
            Err(CallError::TooLarge("the answer has 4 bytes, a message may have 3".into()))
        );
    }
}
