//! The commands: what may be typed, what is asked of the daemon for it, and how the answer is
//! shown.
//!
//! Compose files are read here, in the surroundings of the person who typed: their files, their
//! environment. The daemon gets the resolved document. The crate starts the daemon when nobody
//! answers, and does not know what the daemon is made of: the binary is given
//! [`Invocation::Daemon`] before any runtime is started.
//!
//! Data goes to standard output, everything else to standard error. Colours are left out where
//! there is no terminal, and with `NO_COLOR`; they never carry the meaning alone.

mod arguments;
mod attend;
mod command;
mod error;
mod files;
#[cfg(test)]
mod fixtures;
mod home;
mod interrupt;
mod live;
mod select;
mod since;
mod start;
mod table;
mod text;
mod words;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, Selection};
use command::Context;
use files::Surroundings;

pub use arguments::EngineName;
pub use error::Error;
pub use files::FilesError;
pub use home::{Home, HomeError, Lock, LockError};
pub use select::SelectError;
pub use since::InvalidSince;
pub use start::{ALREADY_RUNNING, StartError};
pub use text::TextError;

/// What was typed.
#[derive(Debug)]
pub enum Invocation {
    /// To be the daemon: the binary's to do.
    Daemon(Daemon),
    /// To say which engines there are: the binary's to do, which knows them.
    Engines(Form),
    /// Anything else: [`run`] does it.
    Command(Box<Invoked>),
}

/// A command that was typed.
#[derive(Debug)]
pub struct Invoked {
    command: Command,
    before: Selection,
}

/// Whether data is for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table.
    Table,
    /// JSON.
    Json,
}

/// The wish for a daemon in this process.
#[derive(Debug)]
pub struct Daemon {
    /// What runs the instances.
    pub engine: EngineName,
    /// Whether it leaves the terminal behind.
    pub terminal: DaemonTerminal,
}

/// Whether a daemon leaves the terminal behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonTerminal {
    /// It stays, and Ctrl-C ends it.
    Kept,
    /// It is in a session of its own; what it says goes to a file.
    Left,
}

impl Daemon {
    /// Leaves the terminal behind if that is wished, and makes the folders. To be called first:
    /// before a user namespace is entered, which changes who this user is.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn begin(&self) -> Result<Home, HomeError> {
        match self.terminal {
            DaemonTerminal::Kept => {}
            DaemonTerminal::Left => {
                // It fails for the leader of a process group, which a person's shell made one.
                let _not_a_leader = rustix::process::setsid();
            }
        }
        let home = Home::find()?;
        home.prepare()?;
        Ok(home)
    }
}

/// Reads the command line; help, the release and mistakes are printed and end the process.
#[must_use]
pub fn parse() -> Invocation {
    let arguments = Arguments::parse();
    if let Command::Daemon(daemon) = &arguments.command
        && !daemon.stop
    {
        return Invocation::Daemon(Daemon {
            engine: daemon.engine,
            terminal: if daemon.detached {
                DaemonTerminal::Left
            } else {
                DaemonTerminal::Kept
            },
        });
    }
    if let Command::Engines(json) = arguments.command {
        return Invocation::Engines(if json.json { Form::Json } else { Form::Table });
    }
    Invocation::Command(Box::new(Invoked {
        command: arguments.command,
        before: arguments.selection,
    }))
}

/// Does what a command says, on a runtime of its own; what it failed with is told.
#[must_use]
pub fn run(invoked: Box<Invoked>) -> ExitCode {
    let Invoked { command, before } = *invoked;
    let context = Context {
        surroundings: Surroundings::of_this_process(),
        before,
    };
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(Box::pin(command::run(command, &context))));
    match done {
        Ok(code) => code,
        // Whoever read our output, such as `head`, has seen enough.
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprint!("{}", error.told());
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_else(|| panic!("{name} has no example"));
            assert!(
                help.contains(&format!("roads {name}")) || help.contains("roads completions"),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_typed_before_the_command_counts_where_the_command_leaves_it_open() {
        let arguments = ["roads", "-p", "a", "-f", "x.yaml", "up", "-p", "b"];
        let arguments = Arguments::try_parse_from(arguments).unwrap();
        let Command::Up(up) = arguments.command else {
            panic!("it is up")
        };
        let selection = up.selection.or(arguments.selection);
        assert_eq!(selection.named.name.as_deref(), Some("b"));
        assert_eq!(
            selection.files,
            ["x.yaml".into()] as [std::path::PathBuf; 1]
        );
    }

    #[test]
    fn in_logs_and_events_f_means_follow() {
        let arguments = ["roads", "-f", "x.yaml", "logs", "-f", "-n", "5", "rng"];
        let arguments = Arguments::try_parse_from(arguments).unwrap();
        let Command::Logs(logs) = arguments.command else {
            panic!("it is logs")
        };
        assert!(logs.follow && logs.selection.files.is_empty());
        assert_eq!(
            (logs.tail, logs.services),
            (Some(5), vec!["rng".to_owned()])
        );
    }

    #[test]
    fn an_exec_keeps_the_flags_of_its_command() {
        let arguments = ["roads", "exec", "-T", "rng", "ls", "-l", "--", "-x"];
        let arguments = Arguments::try_parse_from(arguments).unwrap();
        let Command::Exec(exec) = arguments.command else {
            panic!("it is exec")
        };
        assert_eq!(exec.command, ["ls", "-l", "--", "-x"]);
        assert!(exec.no_tty);
    }

    #[test]
    fn a_scale_that_is_no_number_is_a_mistake() {
        for (text, valid) in [
            ("rng=3", true),
            ("rng", false),
            ("rng=-1", false),
            ("rng=x", false),
        ] {
            let parsed = Arguments::try_parse_from(["roads", "scale", text]);
            assert_eq!(parsed.is_ok(), valid, "{text}");
        }
    }
}
