//! What a caller learns beside the answer: the failures, as trailers.

use std::fmt::Write;

use http::{HeaderMap, HeaderValue};
use vtflow_planner::Failure;

/// The failures as trailers: a JSON array of as many as fit into `room` bytes, in ASCII, and how many did not.
pub(crate) fn failure_trailers(failures: &[Failure], room: usize) -> HeaderMap {
    let bytes = FAILURES_BYTES.min(room.saturating_sub(FAILURES_RESERVED_BYTES));
    let mut trailers = HeaderMap::new();
    if failures.is_empty() {
        return trailers;
    }
    let mut list = String::from("[");
    let mut told = 0;
    for failure in failures {
        let Ok(text) = serde_json::to_string(failure) else { continue };
        let text = ascii(&text);
        if list.len() + text.len() + 2 > bytes {
            break;
        }
        if told > 0 {
            list.push(',');
        }
        list.push_str(&text);
        told += 1;
    }
    list.push(']');
    if let Ok(value) = HeaderValue::try_from(list) {
        trailers.insert("vtflow-failures", value);
    }
    if told < failures.len() {
        trailers.insert("vtflow-failures-omitted", HeaderValue::from(failures.len() - told));
    }
    trailers
}

/// JSON with every character beyond ASCII written as an escape.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String does not fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// Bytes of the trailer `vtflow-failures` at most. A long status message leaves it less.
const FAILURES_BYTES: usize = 4096;

/// Bytes of that trailer's name, of the one that says how many are left out, and of the trace's.
const FAILURES_RESERVED_BYTES: usize = 320;

#[cfg(test)]
mod tests {
    use vtflow_planner::Lost;

    use super::*;

    fn failure(shard: usize, message: &str) -> Failure {
        Failure {
            keyspace: "customer".to_owned(),
            shard: shard.to_string(),
            tablet: String::new(),
            workflow: String::new(),
            lost: Lost::Shard,
            message: message.to_owned(),
        }
    }

    #[test]
    fn failures_are_ascii_json_of_a_bounded_size() {
        assert!(failure_trailers(&[], 8000).is_empty());
        let one = [failure(1, "caf\u{e9} \u{1f600}\n\"x\"")];
        let trailers = failure_trailers(&one, 8000);
        let text = trailers["vtflow-failures"].to_str().unwrap();
        assert!(text.is_ascii());
        assert_eq!(serde_json::from_str::<Vec<Failure>>(text).unwrap(), one);
        assert!(!trailers.contains_key("vtflow-failures-omitted"));

        let many: Vec<Failure> = (0..300).map(|shard| failure(shard, "did not answer in 10s")).collect();
        let trailers = failure_trailers(&many, 8000);
        let text = trailers["vtflow-failures"].to_str().unwrap();
        assert!(text.len() <= FAILURES_BYTES);
        let kept: Vec<Failure> = serde_json::from_str(text).unwrap();
        assert!(kept.len() > 20 && kept == many[..kept.len()]);
        let omitted: usize = trailers["vtflow-failures-omitted"].to_str().unwrap().parse().unwrap();
        assert_eq!(kept.len() + omitted, 300);

        assert_eq!(failure_trailers(&[failure(1, &"x".repeat(5000))], 8000)["vtflow-failures"], "[]");
    }
}
