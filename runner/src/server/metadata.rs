//! All that goes with an answer besides its messages: the status, cut to what clients take, and room for the other trailers.
//!
//! Source of the cut: Vitess `go/vt/vterrors/grpc.go:truncateError`.

use http::{HeaderMap, HeaderValue};

use super::refusal::Refusal;
use crate::net::grpc::{code, encoded_size, percent_encoded};

/// Bytes of all headers and trailers of an answer together, each with its name and 32 bytes more, as HTTP/2 counts them (RFC 9113,
/// section 10.5.1). Clients of gRPC's C library refuse answers with more than 8 KiB.
pub(crate) const METADATA_BYTES: usize = 8 * 1024;
/// Of these, what the answer's own headers and the status code take, with room for proxies: `content-type`, `date`, the id.
pub(crate) const RESERVED_BYTES: usize = 768;
/// Of these, what the status message leaves to the other trailers, where there are any.
const MORE_BYTES: usize = 2 * 1024;
/// What HTTP/2 counts for each header besides its letters.
const ENTRY_BYTES: usize = 32;

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
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY_BYTES).sum()
}

/// Bytes that a status message takes as it travels, cut or not; at most what leaves [`MORE_BYTES`] to the other trailers.
pub(crate) fn message_size(text: &str) -> usize {
    let most = METADATA_BYTES - RESERVED_BYTES - MORE_BYTES;
    (size_of_text(text) + ENTRY_BYTES + "grpc-message".len()).min(most)
}

/// The text, cut at a character's boundary so that it takes no more than `room` bytes as it travels; it then says how many bytes are
/// left out. Begins as Vitess's cut does: `go/vt/vterrors/grpc.go`.
fn cut(text: &str, room: usize) -> String {
    if size_of_text(text) <= room {
        return text.to_owned();
    }
    let note = |omitted: usize| {
        format!(" [...] [remainder of the error is truncated because gRPC has a size limit on errors: {omitted} bytes]")
    };
    let room = room.saturating_sub(note(text.len()).len());
    let mut taken = 0;
    let end = text.char_indices().find(|(_, character)| {
        taken += encoded_size(*character);
        taken > room
    });
    let kept = end.and_then(|(at, _)| text.get(..at)).unwrap_or_default();
    format!("{kept}{}", note(text.len() - kept.len()))
}

/// Bytes of a text as it travels.
fn size_of_text(text: &str) -> usize {
    text.chars().map(encoded_size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
