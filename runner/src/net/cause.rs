//! The root cause of a transport error, in the words people know: `connection refused`, not `transport error`.
//!
//! The libraries wrap a failed `connect` in three or four layers that say nothing; the last one does.

use std::{error::Error, io};

/// The innermost error of the chain as text, without operating system error numbers.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    if let Some(error) = last.downcast_ref::<io::Error>() {
        return io_cause(error);
    }
    let text = last.to_string();
    if text.contains("frame with invalid size") {
        // What HTTP/1, TLS, MySQL and noise look like to HTTP/2.
        return "it does not speak HTTP/2: is the port right, and is TLS on at both ends or at neither?".to_owned();
    }
    if text.is_empty() { "connection failed".to_owned() } else { text }
}

fn io_cause(error: &io::Error) -> String {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        io::ErrorKind::ConnectionAborted => "connection aborted",
        io::ErrorKind::BrokenPipe => "connection closed by peer",
        io::ErrorKind::UnexpectedEof => "connection closed in the middle of a message",
        io::ErrorKind::TimedOut => "connection timed out",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network is unreachable",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_cause_is_named_in_known_words() {
        for (name, error, want) in [
            ("refused", io::Error::from(io::ErrorKind::ConnectionRefused), "connection refused"),
            ("by number", io::Error::from_raw_os_error(113), "no route to host"),
            ("custom text", io::Error::other("invalid peer certificate: Expired"), "invalid peer certificate: Expired"),
            ("number without words here", io::Error::from_raw_os_error(2), "no such file or directory"),
        ] {
            assert_eq!(root_cause(&error), want, "{name}");
        }
    }
}
