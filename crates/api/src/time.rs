//! Times as RFC 3339 text in UTC, to the microsecond.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time such as 2026-01-31T12:00:00Z")]
pub struct InvalidTime {
    /// The text as given.
    pub text: String,
}

const MICROS: u64 = 1_000_000;
const DAY: u64 = 86_400;

impl Time {
    /// Reads a date, or a date and time, as RFC 3339 has it; without an offset it is UTC.
    ///
    /// # Errors
    /// [`InvalidTime`] when it is none, or before 1970.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        parse(text.trim()).map(Self).ok_or_else(|| InvalidTime {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / MICROS, self.0 % MICROS);
        let (year, month, day) = civil(seconds / DAY);
        let of_day = seconds % DAY;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

fn parse(text: &str) -> Option<u64> {
    let (date, clock) = match text.split_once(['T', 't', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-')?;
    let days = days(year, month, day)?;
    let (micros, offset) = clock.map_or(Some((0, 0)), clock_and_offset)?;
    let at = i128::from(days) * i128::from(DAY * MICROS) + i128::from(micros);
    u64::try_from(at - i128::from(offset) * i128::from(MICROS)).ok()
}

/// Microseconds of the day, and the offset from UTC in seconds.
fn clock_and_offset(text: &str) -> Option<(u64, i64)> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (&text[..at], offset(&text[at..])?),
        None => (text, 0),
    };
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let whole = if whole.matches(':').count() == 1 {
        Cow::Owned(format!("{whole}:0"))
    } else {
        Cow::Borrowed(whole)
    };
    let [hour, minute, second] = numbers(&whole, ':')?;
    if hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let seconds = hour * 3600 + minute * 60 + second;
    Some((seconds * MICROS + six.parse::<u64>().ok()?, offset))
}

fn offset(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'Z' | b'z' => return (text.len() == 1).then_some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hour, minute] = numbers(&text[1..], ':')?;
    (hour < 24 && minute < 60).then_some(sign * (hour * 3600 + minute * 60) as i64)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[u64; N]> {
    let number = |part: &str| {
        let digits =
            !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    };
    let all: Option<Vec<u64>> = text.split(separator).map(number).collect();
    all?.try_into().ok()
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> Option<i64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if day == 0 || day > length {
        return None;
    }
    let year = i64::try_from(year).ok()? - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = i64::try_from((month + 9) % 12).ok()?;
    let of_year = (153 * from_march + 2) / 5 + i64::try_from(day).ok()? - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Year, month and day of a day since 1970-01-01 (the same paper, `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Time {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_reads_every_common_spelling() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-02", DAY * MICROS),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500_000),
            ("2026-11-24T03:22:00+01:00", 1_795_486_920_000_000),
            ("2026-11-24 02:22", 1_795_486_920_000_000),
            ("2026-11-23t21:22:00-05:00", 1_795_486_920_000_000),
        ] {
            assert_eq!(Time::parse(text), Ok(Time(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-13-01",
            "2025-02-29",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00Zz",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00+1",
            "2026-01-01Té",
        ] {
            assert!(Time::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_reads_back_what_it_prints(micros in 0..253_402_300_800_000_000_u64) {
            prop_assert_eq!(Time::parse(&Time(micros).to_string()), Ok(Time(micros)));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            drop(Time::parse(&text));
        }
    }
}
