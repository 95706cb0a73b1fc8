//! Times as text: RFC 3339 in UTC, from Unix milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// Year of the common era.
    pub year: u64,
    /// Month, 1 to 12.
    pub month: u64,
    /// Day of the month, 1 to 31.
    pub day: u64,
    /// Hour, 0 to 23.
    pub hour: u64,
    /// Minute, 0 to 59.
    pub minute: u64,
    /// Second, 0 to 59; leap seconds are not represented.
    pub second: u64,
    /// Millisecond, 0 to 999.
    pub millisecond: u64,
}

const DAY_MS: u64 = 86_400_000;
/// The last millisecond of the year 9999, the last that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

impl Utc {
    /// Converts Unix milliseconds; a time past the year 9999 becomes its last millisecond.
    pub fn from_unix_ms(ms: u64) -> Self {
        let ms = ms.min(LAST_MS);
        let (days, rest) = (ms / DAY_MS, ms % DAY_MS);
        // Counted from 0000-03-01, so that a leap day is the last of its year: an era is 400 years.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: rest / 3_600_000,
            minute: rest / 60_000 % 60,
            second: rest / 1_000 % 60,
            millisecond: rest % 1_000,
        }
    }

    /// Formats the date: `2026-01-31`.
    pub fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// Formats the time of day: `23:59`.
    pub fn clock(&self) -> String {
        format!("{:02}:{:02}", self.hour, self.minute)
    }
}

/// Formats Unix milliseconds: `2026-01-31T23:59:58.123Z`.
pub fn rfc3339(ms: u64) -> String {
    let t = Utc::from_unix_ms(ms);
    format!(
        "{}T{}:{:02}.{:03}Z",
        t.date(),
        t.clock(),
        t.second,
        t.millisecond
    )
}

/// The current time in Unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_123, "2024-02-29T00:00:00.123Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = Utc::from_unix_ms(0);
        // Past 2400, so that every rule for leap years applies.
        for day in 1..160_000 {
            let next = Utc::from_unix_ms(day * DAY_MS);
            let leap = last.year.is_multiple_of(4)
                && (!last.year.is_multiple_of(100) || last.year.is_multiple_of(400));
            let length = match last.month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = if last.day < length {
                (last.year, last.month, last.day + 1)
            } else if last.month < 12 {
                (last.year, last.month + 1, 1)
            } else {
                (last.year + 1, 1, 1)
            };
            assert_eq!((next.year, next.month, next.day), expected);
            last = next;
        }
    }
}
