//! The arguments of `config`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use compose::Section;

use super::{Json, Selection};

#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) shown: Shown,
    /// The form to print it in
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Leave variables as they are written
    #[arg(long)]
    pub(crate) no_interpolate: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "quiet")]
    pub(crate) output: Option<PathBuf>,
    /// Print nothing; only say what is wrong
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Refuse a key that is not honoured
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) json: Json,
    /// Only these services and what they depend on
    // Its own name is that of a flag.
    #[arg(id = "service", value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// The form of a resolved app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As people write it
    #[default]
    Yaml,
    /// As programs read it
    Json,
}

/// What of an app is shown; an argument each, and at most one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of it, resolved.
    App,
    /// The names in one section.
    Names(Section),
    Images,
    Profiles,
    /// The hash of these services, or of all.
    Hashes(Hashed),
    Environment,
    /// Nothing of it, but the grammar of `x-roads`.
    Schema,
}

/// Of which services a hash is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hashed {
    All,
    These(Vec<String>),
}

const GROUP: &str = "shown";
const HASH: &str = "hash";
/// What takes no value, but the names of sections; each by the name that clap knows it by, and the
/// one that is typed: `--profile` has taken the former.
const FLAGS: [(&str, &str, &str, Shown); 4] = [
    (
        "images",
        "images",
        "Print the images, one a line",
        Shown::Images,
    ),
    (
        "all-profiles",
        "profiles",
        "Print the profiles of all services, one a line",
        Shown::Profiles,
    ),
    (
        "environment",
        "environment",
        "Print the variables that values are replaced with",
        Shown::Environment,
    ),
    (
        "schema",
        "schema",
        "Print the JSON schema of `x-roads`, for editors",
        Shown::Schema,
    ),
];

impl Args for Shown {
    fn augment_args(command: Command) -> Command {
        let flag = |id: &'static str, name: &'static str, help: String| {
            Arg::new(id)
                .long(name)
                .help(help)
                .action(ArgAction::SetTrue)
                .group(GROUP)
        };
        let section = |section: Section| {
            let name = section.key();
            flag(
                name,
                name,
                format!("Print the names of its {name}, one a line"),
            )
        };
        let hash = Arg::new(HASH)
            .long(HASH)
            .value_name("SERVICE|*")
            .help("Print a hash of services that changes when their instances must be replaced")
            .group(GROUP);
        let others = FLAGS.map(|(id, name, help, _)| flag(id, name, help.to_owned()));
        command
            .group(clap::ArgGroup::new(GROUP).multiple(false))
            .args(Section::ALL.map(section))
            .args(others)
            .arg(hash)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Shown {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        if let Some(text) = matches.get_one::<String>(HASH) {
            let names = text.split(',').map(str::to_owned);
            return Ok(Self::Hashes(match text.as_str() {
                "*" => Hashed::All,
                _ => Hashed::These(names.collect()),
            }));
        }
        let sections = Section::ALL.map(|section| (section.key(), Self::Names(section)));
        let others = FLAGS.map(|(id, _, _, shown)| (id, shown));
        let mut given = sections.into_iter().chain(others);
        let given = given.find(|(id, _)| matches.get_flag(id));
        Ok(given.map_or(Self::App, |(_, shown)| shown))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    fn shown(words: &str) -> Shown {
        let words = ["roads", "config"].into_iter().chain(words.split(' '));
        let command = Arguments::parse_from(words).command;
        let super::super::Command::Config(arguments) = command else {
            panic!("no config");
        };
        arguments.shown
    }

    #[test]
    fn what_is_shown_is_what_is_typed() {
        assert_eq!(shown("web"), Shown::App);
        assert_eq!(shown("--services web"), Shown::Names(Section::Services));
        assert_eq!(shown("--profiles --profile x"), Shown::Profiles);
        assert_eq!(shown("--hash *"), Shown::Hashes(Hashed::All));
        let named = Hashed::These(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(shown("--hash a,b"), Shown::Hashes(named));
    }
}
