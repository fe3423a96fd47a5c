//! What the daemon and the keeper say to each other.
//!
//! The daemon asks ([`Request`]) and gets one [`FromKeeper::Reply`] for each, in any order; events
//! come in between. Instances are named as `APP/SERVICE/NUMBER`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use model::{ExitStatus, Signal};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Raised with every change that an older peer would misread.
pub(crate) const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Comes back with the reply.
    pub(crate) id: u64,
    pub(crate) call: Call,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// The first call of a connection. The reply brings the keeper's user namespace.
    Hello {
        version: u32,
    },
    Observe,
    Start(Box<StartWish>),
    /// The reply brings the network namespace, the TCP captures, DNS, then the UDP captures.
    Attachment {
        instance: String,
    },
    Signal {
        instance: String,
        signal: u8,
    },
    Freeze {
        instance: String,
    },
    Thaw {
        instance: String,
    },
    Remove {
        instance: String,
    },
    Rename {
        instance: String,
        hosts: Vec<HostLine>,
    },
    /// The reply brings input, output and error; with a terminal only the terminal.
    Exec {
        instance: String,
        command: Box<Program>,
        terminal: Option<Size>,
    },
    /// Kills a command.
    EndExec {
        exec: u64,
    },
    RemoveApp {
        app: String,
        volumes: Volumes,
    },
    /// Brings descriptors to hold under a name, instead of those held under it before.
    Deposit {
        name: String,
    },
    /// Under which names descriptors are held.
    DepositNames,
    /// The reply brings duplicates of what is held under a name.
    Deposited {
        name: String,
    },
    /// Lets go of what is held under a name.
    Withdraw {
        name: String,
    },
    ShutDown,
}

/// What becomes of an app's named volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Volumes {
    Keep,
    Remove,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// An instance that is to run, with everything that the keeper must know of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StartWish {
    pub(crate) instance: String,
    pub(crate) revision: u32,
    pub(crate) program: Program,
    pub(crate) hostname: String,
    pub(crate) hosts: Vec<HostLine>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) files: Vec<WrittenFile>,
    pub(crate) root: RootAccess,
    pub(crate) limits: Limits,
    pub(crate) captures: usize,
    pub(crate) udp: Vec<(Ipv4Addr, u16)>,
    pub(crate) egress: Egress,
}

/// A program and what it starts with.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Never empty.
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// `USER[:GROUP]`.
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RootAccess {
    Write,
    ReadOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Egress {
    Tcp,
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostLine {
    pub(crate) address: Ipv4Addr,
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) memory_max: Option<u64>,
    pub(crate) cpu_milli_max: Option<u32>,
    pub(crate) pids_max: Option<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Mount {
    Bind {
        source: PathBuf,
        target: PathBuf,
        access: RootAccess,
        missing: Missing,
    },
    Volume {
        name: Option<String>,
        target: PathBuf,
        access: RootAccess,
    },
    Tmpfs {
        target: PathBuf,
        size_max: Option<u64>,
        mode: Option<u32>,
    },
}

/// A file that the instance can read and not write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WrittenFile {
    pub(crate) target: PathBuf,
    pub(crate) content: String,
    pub(crate) mode: u32,
}

/// What happens when the source of a bind is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Missing {
    Create,
    Fail,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromKeeper {
    Reply {
        id: u64,
        outcome: Result<Answer, Failure>,
    },
    Exited {
        instance: String,
        status: Status,
    },
    ExecEnded {
        exec: u64,
        status: Status,
    },
    /// Events were dropped, because they were not taken.
    Gap,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Hello {
        version: u32,
        pid: i32,
        shortcomings: Vec<String>,
    },
    Sightings(Vec<Seen>),
    Started(Timings),
    Attachment {
        tcp: usize,
        udp: Vec<(Ipv4Addr, u16)>,
    },
    Execution {
        exec: u64,
    },
    DepositNames(Vec<String>),
    Deposited,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) instance: String,
    pub(crate) revision: u32,
    pub(crate) state: SeenState,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub(crate) started: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum SeenState {
    Running,
    Frozen,
    Exited(Status),
}

/// [`ExitStatus`] as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Code(u8),
    Signal(u8),
    OutOfMemory,
    Unknown,
}

impl From<Status> for ExitStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Code(code) => Self::Code(code),
            Status::Signal(number) => {
                Signal::from_number(number).map_or(Self::Unknown, Self::Signal)
            }
            Status::OutOfMemory => Self::OutOfMemory,
            Status::Unknown => Self::Unknown,
        }
    }
}

/// When a start passed its stations, in nanoseconds of CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Timings {
    pub(crate) asked: u64,
    pub(crate) cloned: u64,
    pub(crate) ambassador: u64,
    pub(crate) root: u64,
    pub(crate) forked: u64,
    pub(crate) executed: u64,
}

/// What an ambassador must know before it is known whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// How many TCP captures.
    pub(crate) captures: usize,
    pub(crate) egress: Egress,
}

/// What an instance's pid 1 tells the keeper over its own socket; one message each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromInit {
    /// Brings descriptors that belong before those of the next message.
    Descriptors,
    /// All that can be prepared is. Brings the network namespace, DNS, then the TCP captures.
    Ambassador { unset: Vec<String> },
    /// Brings the UDP captures.
    Datagrams { at: u64 },
    /// Brings a copy of the root's layers.
    Layers,
    /// Brings the program's pidfd and its user namespace.
    Program { root: u64, forked: u64 },
    /// The program ended.
    Ended(Status),
    /// The instance cannot be made.
    Failed(Failure),
}

/// Where an instance has its private files and its app's volumes, and the files to write oneself
/// into for the cgroups that limit it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) private: PathBuf,
    pub(crate) volumes: PathBuf,
    pub(crate) joins: Vec<PathBuf>,
}

/// What the keeper tells an instance's pid 1.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToInit {
    /// Which instance it is. Brings a file with the [`StartWish`], and the root's layers if there
    /// are some.
    Start(Place),
    /// Stop every process of the instance, where there is no freezer.
    StopAll,
    /// Let them go on.
    ContinueAll,
}
