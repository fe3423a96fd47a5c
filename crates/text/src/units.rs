//! Durations, byte sizes and processors as Compose writes them.

use std::time::Duration;

/// A text that is no quantity of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// A duration of which nobody knows of what.
    #[error("a number needs a unit after it, as in 10s, 1m30s or 500ms")]
    Unitless,
    /// No duration.
    #[error("write it as 10s, 1m30s or 500ms; the units are ns, us, ms, s, m, h, d and w")]
    Duration,
    /// No size.
    #[error("write it as 512m, 1.5g or 1gb; the units are b, k, m, g, t and p")]
    Bytes,
    /// No number of processors.
    #[error("write it as a number of processors, such as 2 or 0.5")]
    Processors,
    /// More than can be counted.
    #[error("it is too large")]
    TooLarge,
}

/// Nanoseconds in each unit (Go's, and days and weeks as Compose has them).
const DURATIONS: [(&str, u128); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// Reads `1m30s`, `1.5h`, `500ms`, `0`.
pub fn duration(text: &str) -> Result<Duration, InvalidQuantity> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos = 0_u128;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_at_not(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split_at_not(after, |c| c.is_alphabetic());
        if unit.is_empty() && !number.is_empty() {
            return Err(InvalidQuantity::Unitless);
        }
        let scale = DURATIONS.iter().find(|(name, _)| *name == unit);
        let &(_, scale) = scale.ok_or(InvalidQuantity::Duration)?;
        let part = decimal(number, scale).ok_or(InvalidQuantity::Duration)?;
        nanos = nanos.checked_add(part).ok_or(InvalidQuantity::TooLarge)?;
        rest = after;
    }
    if text.is_empty() {
        return Err(InvalidQuantity::Duration);
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| InvalidQuantity::TooLarge)?;
    let subsecond =
        u32::try_from(nanos % 1_000_000_000).expect("less than a second in nanoseconds");
    Ok(Duration::new(seconds, subsecond))
}

/// A duration as Go writes it: `1m30s`, `1h0m0s`, `1.5s`, `250ms`.
pub fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let decimal = |nanos: u128, scale: u128| {
        let whole = nanos / scale;
        let places = scale.ilog10() as usize;
        let fraction = format!("{:0places$}", nanos % scale);
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            fraction => format!("{whole}.{fraction}"),
        }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// Reads `1048576`, `512m`, `1.5g`, `1gb`, `1GiB`; all powers of 1024.
pub fn bytes(text: &str) -> Result<u64, InvalidQuantity> {
    let (number, unit) = split_at_not(text.trim(), |c| c.is_ascii_digit() || c == '.');
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1_u128 << 50,
        _ => return Err(InvalidQuantity::Bytes),
    };
    let bytes = decimal(number, scale).ok_or(InvalidQuantity::Bytes)?;
    u64::try_from(bytes).map_err(|_| InvalidQuantity::TooLarge)
}

/// Reads processors as thousandths of one.
pub fn processors(text: &str) -> Result<u32, InvalidQuantity> {
    let milli = decimal(text.trim(), 1000).ok_or(InvalidQuantity::Processors)?;
    u32::try_from(milli).map_err(|_| InvalidQuantity::TooLarge)
}

/// `number` times `scale`, exactly, what is below 1 cut off.
fn decimal(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // More digits than these are far below a nanosecond and only overflow.
    let fraction = fraction.get(..fraction.len().min(18))?;
    let value = |digits: &str| match digits {
        "" => Some(0),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u128>().ok(),
        _ => None,
    };
    let denominator = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = value(fraction)?.checked_mul(scale)? / denominator;
    value(whole)?.checked_mul(scale)?.checked_add(part)
}

fn split_at_not(text: &str, of: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !of(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("10s", Some(10_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("2d", Some(172_800_000_000_000)),
            (".5s", Some(500_000_000)),
            ("10", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1x", None),
            ("1..2s", None),
            ("999999999999999999999w", None),
        ] {
            let read = duration(text).ok().map(|duration| duration.as_nanos());
            assert_eq!(read, nanos, "{text:?}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (15, "15ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (3_600_500_000_000, "1h0m0.5s"),
        ] {
            assert_eq!(duration_text(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [
            ("0", Some(0)),
            ("512m", Some(512 << 20)),
            ("1.5g", Some(3 << 29)),
            ("1GiB", Some(1 << 30)),
            ("64 KB", Some(64 << 10)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1x", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(bytes(text).ok(), size, "{text:?}");
        }
    }

    #[test]
    fn processors_are_thousandths() {
        assert_eq!(processors("0.5"), Ok(500));
        assert_eq!(processors("2"), Ok(2000));
        assert!(processors("two").is_err());
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_what_it_writes(seconds: u64, nanos in 0_u32..1_000_000_000) {
            let length = Duration::new(seconds, nanos);
            prop_assert_eq!(duration(&duration_text(length)), Ok(length));
        }
    }
}
