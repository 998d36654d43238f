//! What stands around a message on the wire: frames, deadlines, statuses, trailers. Messages themselves pass undecoded.
//!
//! Not tonic's codec: its texts and codes for messages that are too large or cut short are not those that Go servers answer,
//! and it folds the codes 17 and 18 into 2. Source of the framing: the gRPC project's `doc/PROTOCOL-HTTP2.md`; of the texts:
//! grpc-go, `rpc_util.go` and `server.go`; of the cut: Vitess `go/vt/vterrors/grpc.go:truncateError`.

use std::{fmt::Write, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;

/// The gRPC codes that the server itself answers with.
pub(crate) mod code {
    pub(crate) const OK: i32 = 0;
    pub(crate) const CANCELLED: i32 = 1;
    pub(crate) const DEADLINE_EXCEEDED: i32 = 4;
    pub(crate) const PERMISSION_DENIED: i32 = 7;
    pub(crate) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(crate) const FAILED_PRECONDITION: i32 = 9;
    pub(crate) const UNIMPLEMENTED: i32 = 12;
    pub(crate) const INTERNAL: i32 = 13;
    pub(crate) const UNAVAILABLE: i32 = 14;
    pub(crate) const UNAUTHENTICATED: i32 = 16;
}

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

    fn internal(message: impl Into<String>) -> Self {
        Self::new(code::INTERNAL, message)
    }
}

/// Bytes before a message: a flag and the length.
const PREFIX_BYTES: usize = 5;

/// Bytes of all headers and trailers of an answer together, each with its name and 32 bytes more, as HTTP/2 counts them (RFC 9113,
/// section 10.5.1). Clients of gRPC's C library refuse answers with more than 8 KiB.
pub(crate) const METADATA_BYTES: usize = 8 * 1024;
/// Of these, what the answer's own headers and the status code take, with room for proxies: `content-type`, `date`, the id.
pub(crate) const RESERVED_BYTES: usize = 768;
/// Of these, what the status message leaves to the other trailers, where there are any.
pub(crate) const MORE_BYTES: usize = 2 * 1024;
/// What HTTP/2 counts for each header besides its letters.
const ENTRY_BYTES: usize = 32;

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
        let Some(&[compressed, a, b, c, d]) = received.first_chunk::<PREFIX_BYTES>() else { continue };
        if compressed != 0 {
            return Err(Refusal::internal("grpc: compressed flag set with identity or empty encoding"));
        }
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > limit_bytes {
            let message = format!("grpc: received message larger than max ({length} vs. {limit_bytes})");
            return Err(Refusal::new(code::RESOURCE_EXHAUSTED, message));
        }
        if received.len() - PREFIX_BYTES > length {
            return Err(Refusal::internal("the request is not one message: more bytes follow it"));
        }
    }
    let Some(&[_, a, b, c, d]) = received.first_chunk::<PREFIX_BYTES>() else {
        return Err(Refusal::internal("the request has no message"));
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
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
/// As [`framed`].
pub(crate) fn one(message: &[u8], limit_bytes: usize) -> Result<Body, Refusal> {
    Ok(Body::new(Full::new(framed(message, limit_bytes)?)))
}

/// A message with its prefix, ready to be sent any number of times.
///
/// # Errors
/// It is larger than a message may be.
pub(crate) fn framed(message: &[u8], limit_bytes: usize) -> Result<Bytes, Refusal> {
    let length = u32::try_from(message.len()).ok().filter(|_| message.len() <= limit_bytes).ok_or_else(|| {
        let message = format!("grpc: trying to send message larger than max ({} vs. {limit_bytes})", message.len());
        Refusal::new(code::RESOURCE_EXHAUSTED, message)
    })?;
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.extend_from_slice(message);
    Ok(frame.freeze())
}

/// The end of a call: the status and whatever goes with it, which leaves the message less room.
pub(crate) fn trailers(result: Result<(), &Refusal>, more: &HeaderMap) -> HeaderMap {
    let mut trailers = more.clone();
    let code = result.err().map_or(code::OK, |refusal| refusal.code);
    trailers.insert("grpc-status", HeaderValue::from(code));
    let room = METADATA_BYTES.saturating_sub(RESERVED_BYTES + size(more) + ENTRY_BYTES + "grpc-message".len());
    if let Err(refusal) = result
        && let Ok(value) = HeaderValue::try_from(percent_encoded(&cut(&refusal.message, room)))
    {
        trailers.insert("grpc-message", value);
    }
    trailers
}

/// Bytes of headers as HTTP/2 counts them.
pub(crate) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY_BYTES).sum()
}

/// Bytes that a status message takes as it travels, cut or not; at most what leaves [`MORE_BYTES`] to the other trailers.
pub(crate) fn message_size(text: &str) -> usize {
    let most = METADATA_BYTES - RESERVED_BYTES - MORE_BYTES;
    (encoded_size(text) + ENTRY_BYTES + "grpc-message".len()).min(most)
}

/// A whole answer: a framed message and trailers, or the status alone.
pub(crate) fn response(result: Result<&Bytes, &Refusal>, more: &HeaderMap) -> Response<Body> {
    let frames = result.map_or_else(|_| Bytes::new(), Bytes::clone);
    streamed(frames, result.map(|_| ()), more)
}

/// A whole answer: framed messages, any number of them, and how it ended.
pub(crate) fn streamed(frames: Bytes, result: Result<(), &Refusal>, more: &HeaderMap) -> Response<Body> {
    let end = trailers(result, more);
    if result.is_ok() || !frames.is_empty() {
        return grpc(Body::new(Full::new(frames).with_trailers(async { Some(Ok(end)) })));
    }
    let mut response = grpc(Body::empty());
    response.headers_mut().extend(end);
    response
}

/// An HTTP response that says that it is gRPC's.
pub(crate) fn grpc(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The status of a finished call, from its trailers or, if there was no message, its headers.
pub(crate) fn status_of(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
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

/// The text, cut at a character's boundary so that it takes no more than `room` bytes as it travels; it then says how many bytes are
/// left out. Begins as Vitess's cut does: `go/vt/vterrors/grpc.go`.
fn cut(text: &str, room: usize) -> String {
    if encoded_size(text) <= room {
        return text.to_owned();
    }
    let note = |omitted: usize| {
        format!(" [...] [remainder of the error is truncated because gRPC has a size limit on errors: {omitted} bytes]")
    };
    let room = room.saturating_sub(note(text.len()).len());
    let mut taken = 0;
    let end = text.char_indices().find(|(_, character)| {
        taken += character_size(*character);
        taken > room
    });
    let kept = end.and_then(|(at, _)| text.get(..at)).unwrap_or_default();
    format!("{kept}{}", note(text.len() - kept.len()))
}

/// Bytes of a text as it travels.
fn encoded_size(text: &str) -> usize {
    text.chars().map(character_size).sum()
}

fn character_size(character: char) -> usize {
    if is_plain(character) { 1 } else { 3 * character.len_utf8() }
}

fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') && character != '%'
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for character in text.chars() {
        if is_plain(character) {
            encoded.push(character);
        } else {
            for byte in character.encode_utf8(&mut buffer).bytes() {
                // Writing to a String does not fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn status_messages_are_cut_where_a_character_ends_and_say_how_much_is_missing() {
        assert_eq!(cut("short", 100), "short");
        assert_eq!(cut(&"a".repeat(500), 500).len(), 500);
        for text in ["a".repeat(9000), "€".repeat(4000), "%".repeat(5000), format!("{}€{}", "a".repeat(399), "b".repeat(900))]
        {
            for room in 400..420 {
                let cut = cut(&text, room);
                assert!(percent_encoded(&cut).len() <= room, "{room}: {cut}");
                let (kept, note) = cut.split_once(" [...] ").unwrap();
                assert!(text.starts_with(kept) && kept.len() > 30, "{cut}");
                assert!(note.ends_with(&format!("errors: {} bytes]", text.len() - kept.len())), "{cut}");
            }
        }
    }

    #[test]
    fn all_that_goes_with_an_answer_stays_below_eight_kib() {
        for message in ["a".repeat(20_000), "é\n".repeat(5_000), "short".to_owned(), "b".repeat(7_000)] {
            for more in [0, 100, 2_000, 5_000] {
                let mut trailers_of = HeaderMap::new();
                if more > 0 {
                    let room = METADATA_BYTES - RESERVED_BYTES - message_size(&message);
                    trailers_of.insert("vtflow-failures", HeaderValue::try_from("x".repeat(more.min(room - 100))).unwrap());
                }
                let refusal = Refusal::new(code::INTERNAL, message.clone());
                let whole = size(&trailers(Err(&refusal), &trailers_of)) + RESERVED_BYTES;
                assert!(whole <= METADATA_BYTES + ENTRY_BYTES + 16, "{more}: {whole}");
            }
        }
    }

    #[test]
    fn messages_travel_percent_encoded() {
        assert_eq!(percent_encoded("100% of\ncafé"), "100%25 of%0Acaf%C3%A9");
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
