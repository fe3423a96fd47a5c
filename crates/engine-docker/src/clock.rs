//! Docker's times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Moment, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Reads a time as Docker writes it (RFC 3339, UTC, up to nine digits of a second's fraction); the
/// duration since 1970. The year 1 means "never", and reads as `None`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
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

/// The same as a time stamp.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let since_epoch = parse(text)?;
    Some(Timestamp(u64::try_from(since_epoch.as_micros()).ok()?))
}

/// When something happened, on the clock that events of this machine are ordered by.
pub(crate) fn moment(since_epoch: Duration) -> Moment {
    let age = now().saturating_sub(since_epoch);
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    let since_boot = Duration::new(seconds, u32::try_from(tv_nsec).unwrap_or_default());
    Moment::from_zero(since_boot.saturating_sub(age))
}

/// The wall clock, as a duration since 1970.
pub(crate) fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
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
    fn docker_cuts_the_zeros_of_a_fraction() {
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2026-11-24T03:34:39.1Z", 1_795_491_279, 100_000_000),
            ("2026-11-24T03:34:39.000000009Z", 1_795_491_279, 9),
            ("2000-02-29T00:00:00.25Z", 951_782_400, 250_000_000),
        ] {
            let expected = Some(Duration::new(seconds, nanoseconds));
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_of_dockers_is_none() {
        for text in [
            "",
            "0001-01-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-24T03:34:39",
            "2026-11-24T03:34:39.Z",
            "2026-11-24T03:34:39.1234567891Z",
            "2026-11-24T03:34:39+01:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
