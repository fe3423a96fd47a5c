//! Time as it stands before each line (RFC 3339).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// The wall clock.
pub(crate) fn now() -> String {
    rfc3339(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// `2026-11-24T03:34:39.123456789Z` (RFC 3339), always of this length.
fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let nanos = since_epoch.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Reads the time of a line.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let since_epoch = model::parse_rfc3339(text)?;
    Some(Timestamp(u64::try_from(since_epoch.as_micros()).ok()?))
}

/// Year, month and day of the proleptic Gregorian calendar; Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms", `civil_from_days`, for days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_what_it_writes() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (1_795_491_279, "2026-11-24T03:34:39.000000000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
            assert_eq!(parse_time(text), Some(Timestamp(seconds * 1_000_000)));
        }
        for text in [
            "",
            "2026-13-01T00:00:00.000000000Z",
            "x026-11-24T03:34:39.000000000Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
