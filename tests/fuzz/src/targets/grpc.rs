//! gRPC on the wire: frames in any pieces, deadlines, statuses, percent-encoding, trailers.

use vtflow::fuzz as wire;
use vtflow_planner::{Failure, Lost};

use crate::input::{Input, Output};

/// Bytes that a message may have here.
const LIMIT: usize = 4_096;

/// Which part of it, and a value.
pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(5) {
        0 => frames(input),
        1 => framed(input.rest()),
        2 => timeout(input.rest()),
        3 => texts(input),
        _ => trailers(input),
    }
}

/// A body in pieces, and the same in one.
fn frames(mut input: Input<'_>) {
    let encoding = match input.byte() {
        0 => None,
        1 => Some(&b"identity"[..]),
        _ => Some(input.bytes()),
    };
    let cuts: Vec<usize> = (0..input.below(6)).map(|_| usize::from(input.short())).collect();
    let body = input.rest();
    let mut pieces = Vec::new();
    let mut rest = body;
    for cut in cuts {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    let request = wire::request_message(encoding, &pieces, LIMIT);
    assert_eq!(request.as_ref().ok(), wire::request_message(encoding, &[body], LIMIT).as_ref().ok(), "{pieces:?}");
    let answer = wire::answer_message(&pieces, LIMIT);
    assert_eq!(answer.as_ref().ok(), wire::answer_message(&[body], LIMIT).as_ref().ok(), "{pieces:?}");
    for message in [request.as_ref().ok(), answer.as_ref().ok()].into_iter().flatten() {
        assert_eq!(wire::framed(message, LIMIT).as_deref(), Some(body), "one message is the whole body");
    }
    if encoding.is_none_or(|encoding| encoding == b"identity") {
        assert_eq!(request.as_ref().ok(), answer.as_ref().ok(), "both directions read alike");
    }
    if let Err((code, message)) = request {
        assert!(matches!(code, 1 | 8 | 12 | 13) && !message.is_empty() && message.len() < 4 * LIMIT, "{code} {message}");
    }
}

/// A message in its frame is the message.
fn framed(message: &[u8]) {
    let Some(frame) = wire::framed(message, LIMIT) else {
        assert!(message.len() > LIMIT);
        return;
    };
    assert_eq!(wire::request_message(None, &[&frame], LIMIT).as_deref(), Ok(message));
    assert_eq!(wire::answer_message(&[&frame], LIMIT).as_deref(), Ok(message));
    for end in 0..frame.len() {
        assert!(wire::request_message(None, &[&frame[..end]], LIMIT).is_err(), "cut at {end}");
        assert!(wire::answer_message(&[&frame[..end]], LIMIT).is_err(), "cut at {end}");
    }
    let mut more = frame.to_vec();
    more.push(0);
    assert!(wire::request_message(None, &[&more], LIMIT).is_err() && wire::answer_message(&[&more], LIMIT).is_err());
}

fn timeout(value: &[u8]) {
    let read = wire::timeout(value);
    let text = std::str::from_utf8(value).unwrap_or_default();
    let unit = text.chars().next_back();
    let number = text
        .strip_suffix(['H', 'M', 'S', 'm', 'u', 'n'])
        .filter(|digits| (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()));
    let number = number.and_then(|digits| digits.parse::<u128>().ok());
    let nanos = number.zip(unit).map(|(number, unit)| {
        number
            * match unit {
                'H' => 3_600_000_000_000,
                'M' => 60_000_000_000,
                'S' => 1_000_000_000,
                'm' => 1_000_000,
                'u' => 1_000,
                _ => 1,
            }
    });
    assert_eq!(read.map(|read| read.as_nanos()), nanos, "{text:?}");
}

fn texts(mut input: Input<'_>) {
    let status = input.bytes();
    let raw = input.rest();
    let text = String::from_utf8_lossy(raw);
    let travels = wire::percent_encoded(&text);
    assert!(travels.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{travels:?}");
    assert_eq!(wire::percent_decoded(travels.as_bytes()), text);
    let meant = wire::percent_decoded(raw);
    assert!(meant.len() <= 3 * raw.len());
    match wire::answer_status(status, travels.as_bytes()) {
        Some((0, message)) => assert_eq!(message, ""),
        Some((_, message)) => assert_eq!(message, text),
        None => {}
    }
    let _ = wire::answer_status(status, raw);
}

/// Whatever the status says and fails, what goes with an answer stays within what clients take.
fn trailers(mut input: Input<'_>) {
    let code = i32::from(input.byte() % 20);
    let times = usize::from(input.byte());
    let mut failures = Vec::new();
    for _ in 0..input.below(8) {
        let message = input.text().repeat(times % 16);
        let failure = Failure {
            keyspace: input.text(),
            shard: input.text(),
            tablet: String::new(),
            workflow: input.text(),
            lost: Lost::Shard,
            message,
        };
        failures.push(failure);
    }
    let message = String::from_utf8_lossy(input.rest()).repeat(times);
    let (trailers, most) = wire::trailers(code, &message, &failures);
    let size: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    // The status code itself is in what is kept free.
    assert!(size <= most + 64, "{size} bytes of {most}");
    let told = |name: &str| trailers.get(name).map(|value| value.to_str().expect("visible").to_owned());
    assert_eq!(told("grpc-status"), Some(code.to_string()));
    if code != 0 {
        let travels = told("grpc-message").expect("a message");
        let meant = wire::percent_decoded(travels.as_bytes());
        let kept = meant.split(" [...] [remainder").next().unwrap_or_default();
        assert!(message.starts_with(kept), "{meant}");
        assert!(meant == message || meant.contains(" [...] [remainder"), "{meant}");
    }
    let listed: Vec<Failure> =
        told("vtflow-failures").map_or_else(Vec::new, |text| serde_json::from_str(&text).expect("a list of failures"));
    let omitted: usize = told("vtflow-failures-omitted").map_or(0, |text| text.parse().expect("a number"));
    assert_eq!(listed.len() + omitted, failures.len());
    assert_eq!(listed[..], failures[..listed.len()]);
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let frame = |message: &[u8]| wire::framed(message, LIMIT).expect("it is short").to_vec();
    let with = |head: Output, more: &[u8]| [head.0, more.to_vec()].concat();
    let frames = |encoding: u8| Output::default().byte(0).byte(encoding).byte(2).short(3).short(4);
    let mut seeds = vec![
        ("frame".to_owned(), with(frames(0), &frame(b"\x0a\x08customer"))),
        ("identity".to_owned(), with(frames(1), &frame(b"\x0a\x08customer"))),
        ("two".to_owned(), with(frames(0), &[frame(b"a"), frame(b"b")].concat())),
        ("large".to_owned(), with(frames(0), &[0, 0, 0, 0x10, 1, 7])),
        ("compressed".to_owned(), with(frames(0), &[1, 0, 0, 0, 1, 7])),
        ("gzip".to_owned(), with(Output::default().byte(0).byte(2).bytes(b"gzip").byte(0), &frame(b"a"))),
        ("framed".to_owned(), with(Output::default().byte(1), b"\x0a\x08customer")),
        ("text".to_owned(), with(Output::default().byte(3).bytes(b"13"), "100% of\ncaf\u{e9} %zz %e2%82".as_bytes())),
    ];
    for timeout in ["3600S", "250m", "99999999H", "1n", "5u", "2M"] {
        seeds.push((format!("timeout-{timeout}"), with(Output::default().byte(2), timeout.as_bytes())));
    }
    let failure = |head: Output| head.bytes(b"no \xc3\xa9").bytes(b"customer").bytes(b"-80").bytes(b"w");
    seeds.push(("trailers".to_owned(), with(failure(Output::default().byte(4).byte(2).byte(3).byte(1)), b"failed\n")));
    seeds.push((
        "long".to_owned(),
        with(failure(Output::default().byte(4).byte(17).byte(255).byte(1)), "é%".repeat(30).as_bytes()),
    ));
    seeds
}
