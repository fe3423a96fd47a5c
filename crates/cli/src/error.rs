//! What a command failed with, and how that is told.

use std::fmt::Write as _;
use std::io;

use client::ClientError;
use compose::{Color, Diagnostics};

use crate::files::FilesError;
use crate::home::HomeError;
use crate::select::SelectError;
use crate::since::InvalidSince;
use crate::start::StartError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folders of the daemon.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The compose files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Which app is meant.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A time.
    #[error(transparent)]
    Since(#[from] InvalidSince),
    /// Starting the daemon.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Talking to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The terminal, or what this command writes to.
    #[error("cannot write or read here")]
    Io(#[from] io::Error),
    /// A terminal is asked for, and this is none.
    #[error("the command cannot get a terminal: this is none")]
    NoTerminal,
    /// Services did not come up.
    #[error("{}", .0)]
    NotUp(String),
    /// They did not in the time that was given.
    #[error("not all services were ready within {seconds}s")]
    WaitTimeout {
        /// The time given.
        seconds: u64,
    },
}

impl Error {
    /// What is printed: what failed, why, and what to do about it.
    pub(crate) fn told(&self) -> String {
        let mut text = String::new();
        if let Some(diagnostics) = self.diagnostics() {
            text.push_str(&compose::render(diagnostics, Color::Ansi));
        }
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let cyan = anstyle::AnsiColor::Cyan.on_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{red}error{red:#}: {self}");
        let sources =
            std::iter::successors(std::error::Error::source(self), |error| error.source());
        for source in sources {
            let _ = writeln!(text, "  because: {source}");
        }
        if let Some(failure) = self.failure() {
            for line in failure.causes.iter().chain(&failure.diagnostics) {
                let _ = writeln!(text, "  because: {line}");
            }
        }
        if let Some(hint) = self.hint() {
            let _ = writeln!(text, "  {cyan}hint{cyan:#}: {hint}");
        }
        text
    }

    fn diagnostics(&self) -> Option<&Diagnostics> {
        match self.files()? {
            FilesError::Invalid(diagnostics) | FilesError::Strict(diagnostics) => Some(diagnostics),
            FilesError::NoFile { .. }
            | FilesError::Unreadable { .. }
            | FilesError::NoFolder { .. }
            | FilesError::NoService { .. }
            | FilesError::Unwritable { .. } => None,
        }
    }

    fn files(&self) -> Option<&FilesError> {
        if let Self::Files(error) | Self::Select(SelectError::Files(error)) = self {
            return Some(error);
        }
        None
    }

    /// What the daemon says.
    fn failure(&self) -> Option<&api::Failure> {
        if let Self::Client(ClientError::Refused(failure))
        | Self::Start(StartError::Client(ClientError::Refused(failure))) = self
        {
            return Some(failure);
        }
        None
    }

    fn hint(&self) -> Option<&str> {
        if let Some(hint) = self.files().and_then(FilesError::hint) {
            return Some(hint);
        }
        match self {
            Self::Select(SelectError::NoneUp) => Some("`roads up` starts one"),
            Self::Select(SelectError::SeveralUp { .. }) => Some("name one with -p"),
            Self::Start(StartError::OtherApi { .. }) => {
                Some("`roads daemon --stop` of its release ends it; services run on")
            }
            Self::Start(StartError::OtherEngine { .. }) => {
                Some("take the apps that are up down first; the next `up` starts the other engine")
            }
            Self::Start(StartError::OtherImage { .. }) => Some(
                "leave out --engine: `image: host` runs on the embedded engine, others on Docker",
            ),
            Self::NoTerminal => Some("leave out -t, or give -T"),
            Self::Home(_)
            | Self::Files(_)
            | Self::Select(_)
            | Self::Since(_)
            | Self::Start(_)
            | Self::Client(_)
            | Self::Io(_)
            | Self::NotUp(_)
            | Self::WaitTimeout { .. } => self.failure()?.hint.as_deref(),
        }
    }
}
