//! Time inside an embedded cluster: it begins at the moment the snapshot was taken and runs on with tokio's clock: at normal speed,
//! unless a test has stopped that.
//!
//! Also the little calendar that MySQL's time functions need. Everything is UTC.

use tokio::time::Instant;
use vtflow_planner::Timestamp;

/// The clock of one embedded cluster.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that shows `start` now.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, started: Instant::now() }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.started.elapsed();
        let nanos = u64::from(self.start.nanos) + u64::from(elapsed.subsec_nanos());
        let seconds = elapsed.as_secs() + nanos / 1_000_000_000;
        Timestamp {
            seconds: self.start.seconds.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)),
            nanos: u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
        }
    }
}

/// `YYYY-MM-DD hh:mm:ss`, with `.ffffff` cut to `digits` when that is above 0.
pub fn to_text(at: Timestamp, digits: u32) -> String {
    let (year, month, day) = date_of(at.seconds.div_euclid(86_400));
    let second = at.seconds.rem_euclid(86_400);
    let mut text = format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    if digits > 0 {
        let micros = format!("{:06}", at.nanos / 1000);
        text.push('.');
        text.push_str(micros.get(..digits.min(6) as usize).unwrap_or(&micros));
    }
    text
}

/// The moment that `YYYY-MM-DD[ hh:mm:ss[.ffffff]]` names; `None` when the text is not one.
pub fn from_text(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = whole.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let nanos = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").get(..9)?.parse().ok()? };
    Some(Timestamp { seconds: days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second, nanos })
}

/// The same moment some months later (or earlier), the day cut to the month's length.
pub fn add_months(at: Timestamp, months: i64) -> Timestamp {
    let (year, month, day) = date_of(at.seconds.div_euclid(86_400));
    let total = year * 12 + (month - 1) + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    let next = if month == 12 { days_of(year + 1, 1, 1) } else { days_of(year, month + 1, 1) };
    let day = day.min(next - days_of(year, month, 1));
    Timestamp { seconds: days_of(year, month, day) * 86_400 + at.seconds.rem_euclid(86_400), nanos: at.nanos }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a day since 1970-01-01: year, month, day.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_being_printed_and_read() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_795_424_044, "2026-11-23 08:54:04"),
            (-1, "1969-12-31 23:59:59"),
        ] {
            let at = Timestamp { seconds, nanos: 0 };
            assert_eq!(to_text(at, 0), text);
            assert_eq!(from_text(text), Some(at), "{text}");
        }
        assert_eq!(to_text(Timestamp { seconds: 0, nanos: 889_694_000 }, 6), "1970-01-01 00:00:00.889694");
        assert_eq!(from_text("not a time"), None);
    }

    #[test]
    fn a_month_more_ends_with_the_month() {
        let at = from_text("2026-01-31 10:00:00").unwrap();
        assert_eq!(to_text(add_months(at, 1), 0), "2026-02-28 10:00:00");
        assert_eq!(to_text(add_months(at, -2), 0), "2025-11-30 10:00:00");
    }
}
