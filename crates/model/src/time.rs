//! Time as a value. Nothing in this crate reads a clock.

use std::fmt;
use std::time::Duration;

/// A point on the machine's monotonic clock (CLOCK_BOOTTIME on Linux, so it goes on over a
/// suspend and means the same to a daemon that was started later).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The clock's zero.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The moment this long after the clock's zero.
    #[must_use]
    pub const fn from_zero(since_zero: Duration) -> Self {
        Self(since_zero)
    }

    /// How long after the clock's zero this is.
    #[must_use]
    pub const fn since_zero(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.0)
    }
}

/// A point on the wall clock, for people: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// Reads a time of day in UTC with up to nine digits of a second's fraction (RFC 3339); the duration
/// since 1970. `None` for an earlier one: Docker writes the year 1 for "never".
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Duration> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (_, fraction) = text.strip_suffix('Z')?.split_at_checked(19)?;
    let digits = match fraction.strip_prefix('.') {
        Some(digits) => digits,
        None if fraction.is_empty() => "0",
        None => return None,
    };
    let scale = 9_u32.checked_sub(u32::try_from(digits.len()).ok()?)?;
    let nanoseconds = digits.parse::<u32>().ok()? * 10_u32.pow(scale);
    let days = days(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let [hour, minute, second] = [number(11..13)?, number(14..16)?, number(17..19)?];
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Duration::new(seconds, nanoseconds))
}

/// Days since 1970-01-01; Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `days_from_civil`. `None` before 1970 and for a month or day that there is not.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_may_have_any_number_of_digits() {
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2026-11-24T03:34:39.1Z", 1_795_491_279, 100_000_000),
            ("2026-11-24T03:34:39.000000009Z", 1_795_491_279, 9),
            ("2000-02-29T00:00:00.25Z", 951_782_400, 250_000_000),
        ] {
            let expected = Some(Duration::new(seconds, nanoseconds));
            assert_eq!(parse_rfc3339(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_time_is_none() {
        for text in [
            "",
            "0001-01-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-24T03:34:39",
            "2026-11-24T03:34:39.Z",
            "2026-11-24T03:34:39.1234567891Z",
            "2026-11-24T03:34:39+01:00",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
