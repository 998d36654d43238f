//! Durations on the command line, as Go and Vitess write them: `20ms`, `1.5s`, `1m30s`, `1.5h30m`.
//!
//! People bring the flags of vtctld and their scripts; what `time.ParseDuration` takes is taken. No library takes the same: jiff's friendly
//! durations allow a fraction in the last unit only, humantime none at all.

use std::time::Duration;

/// The longest deadline: what is longer is a slip of the keyboard.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Reads a duration of at most a day, as deadlines and intervals are.
///
/// # Errors
/// A text that says what would be accepted.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    match of_any_length(text)? {
        duration if duration <= LONGEST => Ok(duration),
        _ => Err(format!("{text:?} is not between 0 and 24h")),
    }
}

/// Reads a duration: numbers, each with one of `ns`, `us`, `ms`, `s`, `m`, `h`; `0` needs no unit. A sign may come first, but nothing is negative.
///
/// # Errors
/// A text that says what would be accepted.
pub(crate) fn of_any_length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write numbers and units, such as 20ms, 1.5s or 1m30s");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" || rest == "-0" {
        return Ok(Duration::ZERO);
    }
    if rest.starts_with('-') {
        return Err(format!("{text:?} is negative, which no duration here can be"));
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds: u64 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(unit_at);
        let unit_ends = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_ends);
        let each: u64 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let part = of_unit(number, each).ok_or_else(wrong)?;
        nanoseconds = nanoseconds
            .checked_add(part)
            .filter(|sum| i64::try_from(*sum).is_ok())
            .ok_or_else(|| format!("{text:?} is longer than any duration: at most 292 years"))?;
        rest = after;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// `1.5` of a unit of so many nanoseconds; too many are as many as there can be. `None` if it is no number.
fn of_unit(number: &str, each: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().unwrap_or(u64::MAX) };
    // Digits beyond these are less than a nanosecond of an hour.
    let digits: String = fraction.chars().take(15).collect();
    let scale = u128::from(10_u64.pow(u32::try_from(digits.len()).ok()?));
    let part = u128::from(digits.parse::<u64>().unwrap_or(0)) * u128::from(each) / scale;
    Some(whole.saturating_mul(each).saturating_add(u64::try_from(part).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, want) in [
            ("20ms", 20_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            ("1.5h30m", 7_200_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("30s1m", 90_000_000_000),
            ("+5s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("100us", 100_000),
            ("1\u{b5}s2\u{3bc}s3ns", 3_003),
            ("0.123456789012345678s", 123_456_789),
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(want)), "{text}");
        }
        for text in [
            "",
            "+",
            "20",
            "ms",
            ".s",
            "1..5s",
            "-1s",
            "1d",
            "1e300s",
            "NaNs",
            "25h",
            "1m 30s",
            "1h30",
            "1M",
            "99999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(of_any_length("168h"), Ok(Duration::from_secs(604_800)), "no deadline");
    }
}
