//! What stands around a message on the wire: frames, deadlines, the answer. Messages themselves pass undecoded.
//!
//! Not tonic's codec: its texts and codes for messages that are too large or cut short are not those that Go servers answer,
//! and it folds the codes 17 and 18 into 2. Source of the texts: grpc-go, `rpc_util.go` and `server.go`.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use vtflow_planner::{Parts, Reached};

use crate::{
    net::grpc::{PREFIX_BYTES, Prefix, code, prefix},
    server::{admission::Counted, metadata::trailers, refusal::Refusal},
};

/// Whether this is a gRPC request at all; else the answer to give in HTTP's own terms. Source: grpc-go, `http2_server.go`.
pub(crate) fn http_refusal(request: &Request<Body>) -> Option<Response<Body>> {
    let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_grpc = content_type.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..]));
    let status = if request.method() != http::Method::POST {
        StatusCode::METHOD_NOT_ALLOWED
    } else if is_grpc {
        return None;
    } else {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    };
    let mut response = Response::new(Body::new(Full::new(Bytes::from_static(b"this port speaks gRPC\n"))));
    *response.status_mut() = status;
    Some(response)
}

/// The one message of a unary call.
///
/// # Errors
/// What a Go server says of a message that is too large (known from its prefix, before its bytes are here), compressed or
/// not there.
pub(crate) async fn read_one(request: Request<Body>, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let (head, mut body) = request.into_parts();
    if let Some(encoding) = head.headers.get("grpc-encoding").filter(|encoding| *encoding != "identity") {
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
        let message = format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}");
        return Err(Refusal::new(code::UNIMPLEMENTED, message));
    }
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|status| Refusal::new(code::CANCELLED, format!("the request broke off: {}", status.message())))?;
        let Ok(data) = frame.into_data() else { continue };
        received.extend_from_slice(&data);
        let Some(Prefix { is_compressed, length }) = prefix(&received) else { continue };
        if is_compressed {
            return Err(Refusal::internal("grpc: compressed flag set with identity or empty encoding"));
        }
        if length > limit_bytes {
            let message = format!("grpc: received message larger than max ({length} vs. {limit_bytes})");
            return Err(Refusal::new(code::RESOURCE_EXHAUSTED, message));
        }
        if received.len() - PREFIX_BYTES > length {
            return Err(Refusal::internal("the request is not one message: more bytes follow it"));
        }
    }
    let Some(Prefix { length, .. }) = prefix(&received) else {
        return Err(Refusal::internal("the request has no message"));
    };
    let message = received.split_off(PREFIX_BYTES);
    if message.len() != length {
        let message = format!("the message of the request is cut short: {} of {length} bytes", message.len());
        return Err(Refusal::internal(message));
    }
    Ok(message.freeze())
}

/// The one message of a unary call, and the request as it came, to be handed on. `None`: it is compressed, and nobody here can
/// read it.
///
/// # Errors
/// As [`read_one`].
pub(crate) async fn peek(request: Request<Body>, limit_bytes: usize) -> Result<(Option<Bytes>, Request<Body>), Refusal> {
    if request.headers().get("grpc-encoding").is_some_and(|encoding| *encoding != "identity") {
        return Ok((None, request));
    }
    let (head, body) = request.into_parts();
    let message = read_one(Request::from_parts(head.clone(), body), limit_bytes).await?;
    let body = one(&message, limit_bytes)?;
    Ok((Some(message), Request::from_parts(head, body)))
}

/// The body of a request with one message.
///
/// # Errors
/// It is larger than a message may be.
pub(crate) fn one(message: &[u8], limit_bytes: usize) -> Result<Body, Refusal> {
    Ok(Body::new(Full::new(Refusal::framed(message, limit_bytes)?)))
}

/// A whole answer: a framed message and trailers, or the status alone.
pub(crate) fn response(result: Result<&Bytes, &Refusal>, more: &HeaderMap) -> Response<Body> {
    streamed(result.ok().into_iter().cloned().collect(), None, result.map(|_| ()), more)
}

/// A whole answer: framed messages, any number of them in any pieces, what follows in the last of them, and how it ended.
pub(crate) fn streamed(
    frames: Vec<Bytes>,
    rest: Option<Arc<Counted<Parts>>>,
    result: Result<(), &Refusal>,
    more: &HeaderMap,
) -> Response<Body> {
    let end = trailers(result, more);
    if result.is_ok() || !frames.is_empty() {
        let rest = rest.map(|rest| Rest { left: rest.of.len(), parts: rest, reached: Reached::default() });
        let pieces = Pieces { frames: frames.into_iter(), rest };
        return response_of(Body::new(pieces.with_trailers(async { Some(Ok(end)) })));
    }
    let mut response = response_of(Body::empty());
    response.headers_mut().extend(end);
    response
}

/// A body of which all is there, and whose size is known: what waits to be sent is counted by it.
struct Pieces {
    frames: vec::IntoIter<Bytes>,
    /// `None`: nothing follows.
    rest: Option<Rest>,
}

/// What follows in the last message, put together as it is sent.
struct Rest {
    parts: Arc<Counted<Parts>>,
    reached: Reached,
    /// Bytes.
    left: usize,
}

impl Pieces {
    fn next(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.frames.next() {
            return Some(frame);
        }
        let rest = self.rest.as_mut()?;
        let piece = rest.parts.of.next(&mut rest.reached, PIECE);
        rest.left = rest.left.saturating_sub(piece.len());
        if rest.left == 0 || piece.is_empty() {
            // Nobody waits for the client to take the last piece.
            self.rest = None;
        }
        Some(piece.into())
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.as_slice().is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.left as u64);
        SizeHint::with_exact(self.frames.as_slice().iter().map(|piece| piece.len() as u64).sum::<u64>() + rest)
    }
}

/// Bytes of a message that are put together at once, to be sent.
pub(crate) const PIECE: usize = 64 << 10;

/// An HTTP response that says that it is gRPC's.
pub(crate) fn response_of(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// How long the caller waits. `None`: as long as it takes; so too if the header cannot be read, as HTTP wants it.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HeaderName::from_static("grpc-timeout"))?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;
    use crate::server::{admission::Admission, metrics::Metrics};

    fn request(bytes: &[u8]) -> Request<Body> {
        Request::new(Body::new(Full::new(Bytes::copy_from_slice(bytes))))
    }

    #[tokio::test]
    async fn one_message_is_read_and_anything_else_is_refused() {
        assert_eq!(read_one(request(&[0, 0, 0, 0, 2, 7, 8]), 16).await, Ok(Bytes::from_static(&[7, 8])));
        assert_eq!(read_one(request(&[0, 0, 0, 0, 0]), 16).await, Ok(Bytes::new()));
        for (name, bytes, code, said) in [
            ("nothing", &[][..], 13, "no message"),
            ("half a prefix", &[0, 0], 13, "no message"),
            ("cut", &[0, 0, 0, 0, 2, 7], 13, "cut short: 1 of 2 bytes"),
            ("two", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 13, "not one message"),
            ("compressed", &[1, 0, 0, 0, 0], 13, "compressed flag"),
            ("large", &[0, 0, 0, 0, 17], 8, "grpc: received message larger than max (17 vs. 16)"),
        ] {
            let refusal = read_one(request(bytes), 16).await.unwrap_err();
            assert_eq!(refusal.code, code, "{name}");
            assert!(refusal.message.contains(said), "{name}: {}", refusal.message);
        }
    }

    #[tokio::test]
    async fn a_reply_in_parts_is_put_together_as_it_is_sent() {
        let admission = Admission::new(1, 1 << 20, Arc::new(Metrics::new()));
        let buffers: Vec<Vec<u8>> = (1..=3).map(|byte| vec![byte; PIECE - 7]).collect();
        let mut parts = Parts::of(buffers.iter().cloned());
        (0..3).for_each(|buffer| parts.append(buffer, 0..PIECE - 7));
        let rest = admission.reply_in_parts(parts).await;
        let want = [b"prefix".as_slice(), &buffers.concat()].concat();
        // For everybody who asked the same.
        let [mut one, mut other] = [rest.clone(), rest]
            .map(|rest| streamed(vec![Bytes::from_static(b"prefix")], Some(rest), Ok(()), &HeaderMap::new()).into_body());
        for body in [&mut one, &mut other] {
            assert_ne!(admission.occupied().reply_kib, 0);
            let (mut sent, mut sizes) = (Vec::new(), Vec::new());
            let trailers = loop {
                assert_eq!(body.size_hint().exact(), Some((want.len() - sent.len()) as u64));
                match body.frame().await.unwrap().unwrap().into_data() {
                    Ok(data) => {
                        sizes.push(data.len());
                        sent.extend_from_slice(&data);
                    }
                    Err(frame) => break frame.into_trailers().unwrap(),
                }
            };
            assert_eq!((sent == want, sizes), (true, vec![6, PIECE, PIECE, PIECE - 21]));
            assert_eq!(trailers["grpc-status"], "0");
        }
        assert_eq!(admission.occupied().reply_kib, 0, "the last piece is on its way to everybody");
    }

    #[test]
    fn timeouts_have_units_and_nonsense_is_none() {
        for (text, want) in [
            ("3600S", Some(3_600_000)),
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("250m", Some(250)),
            ("99999999H", Some(99_999_999 * 3_600_000)),
            ("5000u", Some(5)),
            ("7000000n", Some(7)),
            ("123456789S", None),
            ("S", Some(0)),
            ("", None),
            ("1x", None),
            ("-1S", None),
            ("1€", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_bytes(text.as_bytes()).unwrap());
            let want = want.filter(|_| text != "S").map(Duration::from_millis);
            assert_eq!(timeout(&headers), want, "{text}");
        }
    }
}
