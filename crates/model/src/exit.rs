//! How a program ended, in words.

use std::fmt;

use crate::Signal;

/// How an instance's program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It returned this code, 0 to 255.
    Code(u8),
    /// A signal ended it.
    Signal(Signal),
    /// The kernel ended it because its memory limit was reached.
    OutOfMemory,
    /// Nobody saw how: it was gone when we looked.
    Unknown,
}

impl ExitStatus {
    /// Whether the program says that it succeeded.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    /// The words people get, with what the shells' customs say of the code (POSIX, `2.8.2 Exit
    /// Status for Commands`; 128+n for a signal passed on).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(0) => write!(f, "ended by itself, with success"),
            Self::Code(126) => write!(f, "exited with code 126: the command cannot be executed"),
            Self::Code(127) => write!(f, "exited with code 127: the command was not found"),
            Self::Code(code) => match code.checked_sub(128).and_then(Signal::from_number) {
                Some(signal) => write!(f, "exited with code {code}: a child ended by {signal}"),
                None => write!(f, "exited with code {code}"),
            },
            Self::Signal(Signal::KILL) => write!(f, "killed by SIGKILL"),
            Self::Signal(signal) => write!(f, "ended by {signal}"),
            Self::OutOfMemory => write!(f, "killed by the kernel: its memory limit was reached"),
            Self::Unknown => write!(f, "gone, and nobody saw how it ended"),
        }
    }
}
