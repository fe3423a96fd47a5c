//! Times as people write them: `5m`, `1h30m`, `2026-01-31T12:00:00Z`.

use api::Time;

/// A text that is neither a time nor a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time; write 90s, 5m, 1h30m, 2d, or a time such as 2026-01-31T12:00:00Z")]
pub struct InvalidSince {
    /// The text as given.
    pub text: String,
}

/// The time that `text` means: that long before `now`, seconds since 1970, or the time itself.
pub(crate) fn parse(text: &str, now: Time) -> Result<Time, InvalidSince> {
    let text = text.trim();
    if let Some(ago) = duration(text) {
        return Ok(Time(now.0.saturating_sub(ago)));
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Time(seconds.saturating_mul(1_000_000)));
    }
    Time::parse(text).map_err(|_| InvalidSince {
        text: text.to_owned(),
    })
}

/// Microseconds of `1h30m`; the units stand in any order.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let length = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        let micros: u64 = match &unit[..length] {
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(micros)?)?;
        rest = &unit[length..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        let now = Time::parse("2026-01-02T00:00:00Z").unwrap();
        for (text, expected) in [
            ("5m", "2026-01-01T23:55:00Z"),
            ("1h30m", "2026-01-01T22:30:00Z"),
            ("1d", "2026-01-01"),
            ("250ms", "2026-01-01T23:59:59.75Z"),
            ("1767225600", "2026-01-01"),
            ("2026-01-01T12:00:00+01:00", "2026-01-01T11:00:00Z"),
        ] {
            assert_eq!(
                parse(text, now),
                Ok(Time::parse(expected).unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "5x",
            "yesterday",
            "5mm",
            "-5m",
            "99999999999999999999d",
        ] {
            let parsed = parse(text, Time(0));
            assert_eq!(parsed.is_ok(), text == "5", "{text}");
        }
    }
}
