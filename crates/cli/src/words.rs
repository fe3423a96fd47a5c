//! Colours, durations and counts as people read them.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use api::{ServiceStatus, Stage};

/// The colours that services get, in the order in which they first appear.
const SERVICE_COLORS: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

/// A colour for each service.
#[derive(Debug, Default)]
pub(crate) struct ServiceColors(BTreeMap<String, Style>);

impl ServiceColors {
    pub(crate) fn of(&mut self, service: &str) -> Style {
        if let Some(style) = self.0.get(service) {
            return *style;
        }
        let style = SERVICE_COLORS[self.0.len() % SERVICE_COLORS.len()].on_default();
        self.0.insert(service.to_owned(), style);
        style
    }
}

/// The colour of what a service does.
pub(crate) fn state_style(service: &ServiceStatus) -> Style {
    match service.stage {
        Stage::Settled if service.ready > 0 => AnsiColor::Green.on_default(),
        Stage::Settled => Style::new().dimmed(),
        Stage::UnderWay => AnsiColor::Yellow.on_default(),
        Stage::Stuck => AnsiColor::Red.on_default(),
    }
}

/// `0.4s`, `12s`, `3m`, `5h`, `2d`: the largest unit that fits, which is precise enough.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago something was.
pub(crate) fn ago(millis: Option<u64>) -> String {
    millis.map_or_else(
        || "never".to_owned(),
        |millis| format!("{} ago", duration(Duration::from_millis(millis))),
    )
}

/// `1 service`, `3 services`.
pub(crate) fn count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_their_largest_unit() {
        for (millis, words) in [
            (0, "0.0s"),
            (450, "0.5s"),
            (9_900, "9.9s"),
            (42_000, "42s"),
            (119_999, "119s"),
            (300_000, "5m"),
            (7_200_000, "2h"),
            (172_800_000, "2d"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), words, "{millis}");
        }
        assert_eq!(ago(None), "never");
        assert_eq!(count(1, "service"), "1 service");
        assert_eq!(count(0, "service"), "0 services");
    }

    #[test]
    fn a_service_keeps_its_colour() {
        let mut colors = ServiceColors::default();
        let first = colors.of("a");
        assert_ne!(colors.of("b"), first);
        assert_eq!(colors.of("a"), first);
    }
}
