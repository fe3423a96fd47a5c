//! Signals by name and number, as Linux has them on x86-64 and aarch64.

use std::fmt;

/// A signal that can be sent to a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// A text that names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no signal; a signal is a name such as SIGTERM or INT, or a number from 1 to 64"
)]
pub struct InvalidSignal {
    /// The text as given.
    pub text: String,
}

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const REAL_TIME_MIN: u8 = 34;
const REAL_TIME_MAX: u8 = 64;

impl Signal {
    /// Asks a program to end.
    pub const TERM: Self = Self(15);
    /// Ends a program without asking.
    pub const KILL: Self = Self(9);
    /// What Ctrl-C sends.
    pub const INT: Self = Self(2);

    /// Reads `SIGTERM`, `term`, `15`, `RTMIN+3`.
    ///
    /// # Errors
    /// [`InvalidSignal`] when it names none.
    pub fn parse(text: &str) -> Result<Self, InvalidSignal> {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = name.parse().ok().or_else(|| by_name(name));
        number
            .and_then(Self::from_number)
            .ok_or_else(|| InvalidSignal {
                text: text.to_owned(),
            })
    }

    /// The signal with this number, 1 to 64.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        (1..=REAL_TIME_MAX)
            .contains(&number)
            .then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

fn by_name(name: &str) -> Option<u8> {
    if let Some(position) = NAMES.iter().position(|&known| known == name) {
        return u8::try_from(position + 1).ok();
    }
    match name {
        "IOT" => return Some(6),
        "POLL" => return Some(29),
        "RTMIN" => return Some(REAL_TIME_MIN),
        "RTMAX" => return Some(REAL_TIME_MAX),
        _ => {}
    }
    let from_min = name
        .strip_prefix("RTMIN+")
        .and_then(|n| n.parse::<u8>().ok());
    let from_max = name
        .strip_prefix("RTMAX-")
        .and_then(|n| n.parse::<u8>().ok());
    from_min
        .and_then(|n| REAL_TIME_MIN.checked_add(n))
        .or_else(|| from_max.and_then(|n| REAL_TIME_MAX.checked_sub(n)))
        .filter(|n| (REAL_TIME_MIN..=REAL_TIME_MAX).contains(n))
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 >= REAL_TIME_MIN => write!(f, "SIGRTMIN+{}", self.0 - REAL_TIME_MIN),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_reads_every_common_spelling() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("15", 15),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("IOT", 6),
        ] {
            assert_eq!(
                Signal::parse(text).map(Signal::number),
                Ok(number),
                "{text}"
            );
        }
        for text in ["", "0", "65", "SIGNOPE", "RTMIN+40", "-9"] {
            assert!(Signal::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_signal_reads_back_what_it_prints() {
        for number in (1..=31).chain(REAL_TIME_MIN..=REAL_TIME_MAX) {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(Signal::parse(&signal.to_string()), Ok(signal));
        }
    }
}
