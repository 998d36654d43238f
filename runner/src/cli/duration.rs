//! Durations on the command line: `20ms`, `1.5s`, `2m`, as Go and Vitess write them.

use std::time::Duration;

/// Reads a duration: a number and one of `ms`, `s`, `m`, `h`; `0` needs no unit.
///
/// # Errors
/// A text that says what would be accepted.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write a number and a unit, such as 20ms, 1.5s or 2m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    // A day is beyond any deadline: what is longer is a slip of the keyboard.
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err(format!("{text:?} is not between 0 and 24h"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_vitess_writes_them() {
        for (text, want) in [("20ms", 20), ("1.5s", 1500), ("2m", 120_000), ("0", 0), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(want)), "{text}");
        }
        for text in ["", "20", "ms", "-1s", "1d", "1e300s", "NaNs", "25h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
