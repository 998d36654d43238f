//! MySQL date and time texts to unix seconds.
//!
//! They are read as UTC: MySQL prints them in its session's zone and does not say which, and vtctld reads them as UTC too.
//! It must not know which columns hold them.
//!
//! Facts: Go `time.Parse` with the layout `2006-01-02 15:04:05`, measured with Go 1.26;
//! `go/vt/vtctl/workflow/workflow_fetcher.go` uses it for log rows.

use std::fmt::Write as _;

/// `YYYY-MM-DD hh:mm:ss`, with or without a fraction of a second (which is dropped), as unix seconds.
///
/// # Errors
/// The text that Go has for it, such as `parsing time "" as "2006-01-02 15:04:05": cannot parse "" as "2006"`.
pub fn parse_datetime(text: &str) -> Result<i64, String> {
    if let Some(seconds) = plain(text.as_bytes()) {
        return Ok(seconds);
    }
    let mut rest = Rest { whole: text, left: text };
    let year = rest.year()?;
    rest.literal("-")?;
    let month = rest.number("01", "month", 1..=12)?;
    rest.literal("-")?;
    let day = rest.number("02", "day", 0..=99)?;
    rest.literal(" ")?;
    let hour = rest.number("15", "hour", 0..=23)?;
    rest.literal(":")?;
    let minute = rest.number("04", "minute", 0..=59)?;
    rest.literal(":")?;
    let second = rest.number("05", "second", 0..=59)?;
    rest.fraction();
    if !rest.left.is_empty() {
        return Err(format!("parsing time {}: extra text: {}", quote(text), quote(rest.left)));
    }
    if day < 1 || day > days_of(month, year) {
        return Err(format!("parsing time {}: day out of range", quote(text)));
    }
    Ok(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// What is read of a time as MySQL prints it; `None`: it is for the reader of all.
fn plain(text: &[u8]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', n1, n2, b'-', d1, d2, b' ', h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    let number = |digits: &[u8]| {
        let add = |value: i64, digit: &u8| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'));
        digits.iter().try_fold(0, add)
    };
    let within = |digits: [u8; 2], first, last| number(&digits).filter(|value| (first..=last).contains(value));
    let (year, month) = (number(&[y1, y2, y3, y4])?, within([n1, n2], 1, 12)?);
    let day = within([d1, d2], 1, days_of(month, year))?;
    let (hour, minute, second) = (within([h1, h2], 0, 23)?, within([m1, m2], 0, 59)?, within([s1, s2], 0, 59)?);
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

struct Rest<'a> {
    whole: &'a str,
    left: &'a str,
}

impl Rest<'_> {
    fn year(&mut self) -> Result<i64, String> {
        let Some((digits, left)) = split_digits(self.left, 4) else { return Err(self.unreadable(self.left, "2006")) };
        self.left = left;
        Ok(digits)
    }

    /// Two digits; for the hour one is enough.
    fn number(&mut self, layout: &str, name: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64, String> {
        let two = split_digits(self.left, 2);
        let read = if layout == "15" { two.or_else(|| split_digits(self.left, 1)) } else { two };
        let Some((value, left)) = read else { return Err(self.unreadable(self.left, layout)) };
        self.left = left;
        if range.contains(&value) { Ok(value) } else { Err(format!("parsing time {}: {name} out of range", quote(self.whole))) }
    }

    /// A separator. A space also stands for several, and for none at the end.
    fn literal(&mut self, literal: &str) -> Result<(), String> {
        if literal == " " {
            let trimmed = self.left.trim_start_matches(' ');
            if trimmed.len() == self.left.len() && !trimmed.is_empty() {
                return Err(self.unreadable(self.left, literal));
            }
            self.left = trimmed;
            return Ok(());
        }
        self.left = self.left.strip_prefix(literal).ok_or_else(|| self.unreadable(self.left, literal))?;
        Ok(())
    }

    fn fraction(&mut self) {
        if let Some(digits) = self.left.strip_prefix(['.', ','])
            && digits.starts_with(|first: char| first.is_ascii_digit())
        {
            self.left = digits.trim_start_matches(|digit: char| digit.is_ascii_digit());
        }
    }

    fn unreadable(&self, value: &str, layout: &str) -> String {
        format!("parsing time {} as \"2006-01-02 15:04:05\": cannot parse {} as \"{layout}\"", quote(self.whole), quote(value))
    }
}

fn split_digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (digits, left) = text.split_at_checked(count)?;
    let value = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((value, left))
}

/// Go's quoting of its `time` package: every byte that is not printable ASCII as `\xhh`. The rest of a long text is cut.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes().take(LONGEST_SHOWN) {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=0x7f => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    if text.len() > LONGEST_SHOWN {
        out.push('…');
    }
    out.push('"');
    out
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(month: i64, year: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. Years begin in March here: the leap day is then the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Bytes of a time text that an error shows; all of every real one.
const LONGEST_SHOWN: usize = crate::limits::EXCERPT_BYTES;

/// Unix seconds as `Mon Jan _2 15:04:05 2006`, UTC: Go's `time.ANSIC`.
pub fn ansic(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in cycles of 400 years: the leap day is the last of its year.
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let year = cycle * 400 + year_of_cycle + i64::from(month_from_march >= 10);
    let name = |names: &'static str, index: i64| {
        let start = usize::try_from(index).unwrap_or(0) * 3;
        names.get(start..start + 3).unwrap_or("")
    };
    let weekday = name("ThuFriSatSunMonTueWed", days.rem_euclid(7));
    let month = name("MarAprMayJunJulAugSepOctNovDecJanFeb", month_from_march);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ansic_is_as_go_prints_it() {
        for (seconds, want) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (1_761_829_502, "Thu Oct 30 13:05:02 2025"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (951_868_799, "Tue Feb 29 23:59:59 2000"),
            (4_107_542_400, "Mon Mar  1 00:00:00 2100"),
            (-1, "Wed Dec 31 23:59:59 1969"),
        ] {
            assert_eq!(ansic(seconds), want);
        }
        // Whatever a row holds.
        assert!(!ansic(i64::MAX).is_empty() && !ansic(i64::MIN).is_empty());
    }

    #[test]
    fn times_are_read_as_utc() {
        for (text, want) in [
            ("1970-01-01 00:00:00", 0),
            ("2025-01-02 03:04:05", 1_735_787_045),
            ("2025-01-02 3:04:05", 1_735_787_045),
            ("2025-01-02   03:04:05", 1_735_787_045),
            ("2025-01-02 03:04:05.123456", 1_735_787_045),
            ("2025-01-02 03:04:05.1234567890123", 1_735_787_045),
            ("2025-01-02 03:04:05,5", 1_735_787_045),
            ("2024-02-29 03:04:05", 1_709_175_845),
            ("2000-02-29 00:00:00", 951_782_400),
            ("9999-12-31 23:59:59", 253_402_300_799),
            ("0001-01-01 00:00:00", -62_135_596_800),
            ("0000-01-01 00:00:00", -62_167_219_200),
        ] {
            assert_eq!(parse_datetime(text), Ok(want), "{text:?}");
        }
    }

    /// The right-hand sides were printed by Go 1.26.
    #[test]
    fn errors_are_those_of_go() {
        let unreadable = |text: &str, value: &str, layout: &str| {
            format!("parsing time \"{text}\" as \"2006-01-02 15:04:05\": cannot parse \"{value}\" as \"{layout}\"")
        };
        for (text, value, layout) in [
            ("", "", "2006"),
            ("2025", "", "-"),
            ("20a5-01-02 03:04:05", "20a5-01-02 03:04:05", "2006"),
            ("-025-01-02 03:04:05", "-025-01-02 03:04:05", "2006"),
            (" 2025-01-02 03:04:05", " 2025-01-02 03:04:05", "2006"),
            ("2025-1-02 03:04:05", "1-02 03:04:05", "01"),
            ("2025-01-2 03:04:05", "2 03:04:05", "02"),
            ("2025-01-0203:04:05", "03:04:05", " "),
            ("2025-01-02T03:04:05", "T03:04:05", " "),
            ("2025-01-02", "", "15"),
            ("2025-01-02 ", "", "15"),
            ("2025-01-02 -3:04:05", "-3:04:05", "15"),
            ("2025-01-02 03:04", "", ":"),
            ("2025-01-02 03:04:5", "5", "05"),
        ] {
            assert_eq!(parse_datetime(text), Err(unreadable(text, value, layout)), "{text:?}");
        }
        assert_eq!(parse_datetime("x\"y\\é\n"), Err(unreadable(r#"x\"y\\\xc3\xa9\x0a"#, r#"x\"y\\\xc3\xa9\x0a"#, "2006")));
        let shown = |length: usize| parse_datetime(&"x".repeat(length)).unwrap_err();
        assert!(shown(LONGEST_SHOWN).contains(&format!("\"{}\"", "x".repeat(LONGEST_SHOWN))), "all of it");
        assert!(shown(LONGEST_SHOWN + 2).contains(&format!("\"{}…\"", "x".repeat(LONGEST_SHOWN))), "cut, and said so");
        for (text, why) in [
            ("2025-01-02 03:04:05.", "extra text: \".\""),
            ("2025-01-02 03:04:05 UTC", "extra text: \" UTC\""),
            ("2025-13-02 03:04:05", "month out of range"),
            ("0000-00-00 00:00:00", "month out of range"),
            ("2025-01-00 03:04:05", "day out of range"),
            ("2025-01-32 03:04:05", "day out of range"),
            ("2025-02-29 03:04:05", "day out of range"),
            ("1900-02-29 00:00:00", "day out of range"),
            ("2025-04-31 03:04:05", "day out of range"),
            ("2025-06-31 03:04:05", "day out of range"),
            ("2025-09-31 03:04:05", "day out of range"),
            ("2025-11-31 03:04:05", "day out of range"),
            ("2025-04-31 99:04:05", "hour out of range"),
            ("2025-01-02 24:04:05", "hour out of range"),
            ("2025-01-02 23:60:05", "minute out of range"),
            ("2025-01-02 23:59:60", "second out of range"),
        ] {
            assert_eq!(parse_datetime(text), Err(format!("parsing time \"{text}\": {why}")), "{text:?}");
        }
    }
}
