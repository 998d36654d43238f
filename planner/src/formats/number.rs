//! Integers in text, with the answers and the error texts of the three readers that Vitess uses.
//!
//! Facts: Go `strconv.ParseInt` and `ParseUint`; `go/mysql/fastparse/fastparse.go:ParseInt64` (behind `ToCastInt64`).

use crate::formats::quote::quoted;

/// Go's `strconv.ParseUint(text, 10, …)` with the largest value allowed.
pub(crate) fn unsigned(text: &str, largest: u64) -> Result<u64, String> {
    digits(text, largest).map_err(|why| format!("strconv.ParseUint: parsing {}: {why}", quoted(text)))
}

/// What [`signed`] and [`cast`] read of digits alone, of which no number comes near the largest; `None`: it is for that one.
pub(crate) fn plain(text: &[u8]) -> Option<i64> {
    const DIGITS: usize = 18;
    if text.is_empty() || text.len() > DIGITS {
        return None;
    }
    text.iter().try_fold(0, |value: i64, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// Go's `strconv.ParseInt(text, 10, 64)`.
pub(crate) fn signed(text: &str) -> Result<i64, String> {
    let (negative, number) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or("")),
        Some(b'+') => (false, text.get(1..).unwrap_or("")),
        _ => (false, text),
    };
    let largest = i64::MAX.unsigned_abs() + u64::from(negative);
    let value = digits(number, largest).map_err(|why| format!("strconv.ParseInt: parsing {}: {why}", quoted(text)))?;
    let value = if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() };
    value.ok_or_else(|| format!("strconv.ParseInt: parsing {}: value out of range", quoted(text)))
}

fn digits(text: &str, largest: u64) -> Result<u64, &'static str> {
    if text.is_empty() {
        return Err("invalid syntax");
    }
    let mut value = 0_u64;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return Err("invalid syntax");
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(byte - b'0')))
            .filter(|value| *value <= largest)
            .ok_or("value out of range")?;
    }
    Ok(value)
}

/// The integer that a text begins and ends with, spaces around it allowed; vtctld reads log rows so, whatever the column's type.
pub(crate) fn cast(text: &str) -> Result<i64, String> {
    if let Some(plain) = plain(text.as_bytes()) {
        return Ok(plain);
    }
    if text.is_empty() {
        return Err("cannot parse int64 from empty string".to_owned());
    }
    let space = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];
    let number = text.trim_start_matches(space);
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |number| (true, number));
    let end = number.find(|character: char| !character.is_ascii_digit()).unwrap_or(number.len());
    let (number, tail) = number.split_at(end);
    if number.is_empty() {
        return Err(format!("cannot parse int64 from {}", quoted(text)));
    }
    let value = digits(number, i64::MAX.unsigned_abs() + u64::from(negative)).ok();
    let value = value.and_then(|value| if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() });
    let value = value.ok_or_else(|| format!("cannot parse int64 from {}: overflow", quoted(text)))?;
    let tail = tail.trim_start_matches(space);
    if tail.is_empty() {
        Ok(value)
    } else {
        Err(format!("unparsed tail left after parsing int64 from {}: {}", quoted(text), quoted(tail)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_strconv_does() {
        for (text, want) in [
            ("0", Ok(0)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("+7", Ok(7)),
            ("9223372036854775808", Err("strconv.ParseInt: parsing \"9223372036854775808\": value out of range")),
            ("", Err("strconv.ParseInt: parsing \"\": invalid syntax")),
            ("-", Err("strconv.ParseInt: parsing \"-\": invalid syntax")),
            ("1.5", Err("strconv.ParseInt: parsing \"1.5\": invalid syntax")),
            (" 1", Err("strconv.ParseInt: parsing \" 1\": invalid syntax")),
        ] {
            assert_eq!(signed(text), want.map_err(str::to_owned), "{text:?}");
        }
        let plain = |text: &str| super::plain(text.as_bytes());
        for (text, want) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("1000000000000000000", None),
            ("", None),
            ("-1", None),
            ("+7", None),
            ("1 ", None),
            ("1:", None),
            ("1/", None),
        ] {
            assert_eq!(plain(text), want, "{text:?}");
            assert!(want.is_none_or(|want| signed(text) == Ok(want)), "{text:?}");
        }
        assert_eq!(
            unsigned("4294967296", u64::from(u32::MAX)),
            Err("strconv.ParseUint: parsing \"4294967296\": value out of range".to_owned())
        );
        assert_eq!(unsigned("+1", 9), Err("strconv.ParseUint: parsing \"+1\": invalid syntax".to_owned()));
    }

    #[test]
    fn casts_say_what_is_left_over() {
        for (text, want) in [
            ("213", Ok(213)),
            (" -10 ", Ok(-10)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("", Err("cannot parse int64 from empty string")),
            ("-", Err("cannot parse int64 from \"-\"")),
            ("abc", Err("cannot parse int64 from \"abc\"")),
            ("12:23:59", Err("unparsed tail left after parsing int64 from \"12:23:59\": \":23:59\"")),
            (" 10 1", Err("unparsed tail left after parsing int64 from \" 10 1\": \"1\"")),
            ("9223372036854775808a", Err("cannot parse int64 from \"9223372036854775808a\": overflow")),
        ] {
            assert_eq!(cast(text), want.map_err(str::to_owned), "{text:?}");
        }
    }
}
