//! The options of a service: `--name value` words, with the environment behind them.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// What is wrong with a command line or the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    /// There is no such service.
    #[error("no service is called {0:?}")]
    UnknownService(String),
    /// The service has no such option.
    #[error("unknown option {0:?}")]
    UnknownOption(String),
    /// The option needs a value and stands last.
    #[error("option --{0} needs a value")]
    MissingValue(&'static str),
    /// The value cannot be read as what the option wants.
    #[error("{name} cannot be {value:?}")]
    BadValue {
        /// The option or the environment variable.
        name: String,
        /// The value that was given.
        value: String,
    },
}

/// Options that were given, by name; an option may be repeated.
#[derive(Debug)]
pub(crate) struct Arguments {
    values: BTreeMap<&'static str, Vec<String>>,
}

impl Arguments {
    /// Reads `--name value` and `--name=value`, for the `known` names only.
    pub(crate) fn parse(words: &[String], known: &[&'static str]) -> Result<Self, UsageError> {
        let mut values = BTreeMap::<_, Vec<String>>::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let unknown = || UsageError::UnknownOption(word.clone());
            let option = word.strip_prefix("--").ok_or_else(unknown)?;
            let (name, inline) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            let name = known
                .iter()
                .copied()
                .find(|known| *known == name)
                .ok_or_else(unknown)?;
            let value = inline.or_else(|| words.next().cloned());
            values
                .entry(name)
                .or_default()
                .push(value.ok_or(UsageError::MissingValue(name))?);
        }
        Ok(Self { values })
    }

    /// The ports to listen on: every `--port`, or else PORT, or else `default`.
    pub(crate) fn ports(&self, default: u16) -> Result<Vec<u16>, UsageError> {
        match self.values.get("port") {
            Some(given) => given.iter().map(|value| read("--port", value)).collect(),
            None => Ok(vec![from_environment("PORT")?.unwrap_or(default)]),
        }
    }

    /// The first port of [`Arguments::ports`], for a service that listens once.
    pub(crate) fn port(&self, default: u16) -> Result<u16, UsageError> {
        Ok(self.ports(default)?.first().copied().unwrap_or(default))
    }

    /// A duration in milliseconds.
    pub(crate) fn millis(&self, name: &str, default: Duration) -> Result<Duration, UsageError> {
        let Some(value) = self.text(name) else {
            return Ok(default);
        };
        read(&format!("--{name}"), value).map(Duration::from_millis)
    }

    /// The last value of an option, as it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }
}

/// An environment variable that says where another service is.
pub(crate) fn place(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

fn from_environment<T: FromStr>(variable: &str) -> Result<Option<T>, UsageError> {
    std::env::var(variable)
        .ok()
        .map(|value| read(variable, &value))
        .transpose()
}

fn read<T: FromStr>(name: &str, value: &str) -> Result<T, UsageError> {
    value.parse().map_err(|_| UsageError::BadValue {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, UsageError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words, &["port", "delay-ms"])
    }

    #[test]
    fn options_are_read_in_both_forms_and_may_repeat() {
        let given = parse("--port 1 --delay-ms=20 --port=2").unwrap();
        assert_eq!(given.ports(80), Ok(vec![1, 2]));
        assert_eq!(
            given.millis("delay-ms", Duration::ZERO),
            Ok(Duration::from_millis(20))
        );
        assert_eq!(
            parse("").unwrap().millis("delay-ms", Duration::MAX),
            Ok(Duration::MAX)
        );
    }

    #[test]
    fn a_wrong_command_line_says_which_word_is_wrong() {
        let error = |line: &str| parse(line).unwrap_err();
        assert_eq!(error("8080"), UsageError::UnknownOption("8080".into()));
        assert_eq!(
            error("--prot 1"),
            UsageError::UnknownOption("--prot".into())
        );
        assert_eq!(error("--port"), UsageError::MissingValue("port"));
        let bad = UsageError::BadValue {
            name: "--port".into(),
            value: "70000".into(),
        };
        assert_eq!(parse("--port 70000").unwrap().ports(80), Err(bad));
    }
}
