//! What runs instances.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use model::{
    AppName, AppSpec, Egress, ExitStatus, InstanceId, Moment, Revision, ServiceAddress,
    ServiceName, ServiceSpec, Signal, Timestamp,
};

use crate::Pending;

/// Runs instances. Every method is idempotent: asked again for what is already so, it succeeds.
///
/// An engine makes an instance's ambassador before the instance's program starts (DESIGN.md §2)
/// and gives its sockets out by [`Engine::attachment`]; it never serves them.
pub trait Engine: Send + Sync {
    /// Its name, as `--engine` has it.
    fn name(&self) -> &'static str;

    /// What this machine keeps it from doing, each in a sentence; empty when nothing.
    fn shortcomings(&self) -> Vec<String>;

    /// All instances there are, of every app, running or not.
    fn observe(&self) -> Pending<'_, Result<Vec<Sighting>, EngineError>>;

    /// Starts an instance, or starts a stopped one again with the private files it had. Done when
    /// its program was started, which says nothing of its readiness.
    fn start(&self, wish: InstanceWish) -> Pending<'_, Result<(), EngineError>>;

    /// The sockets of a running instance's ambassador, and its network namespace.
    fn attachment<'a>(&'a self, id: &'a InstanceId)
    -> Pending<'a, Result<Attachment, EngineError>>;

    /// Done when the instance listens on one of these TCP ports, at once when there are none;
    /// the port. Found within 2 ms, and without a connection where the kernel allows. Fails when
    /// the instance is gone. The caller sets the deadline.
    fn until_listening<'a>(
        &'a self,
        id: &'a InstanceId,
        ports: &'a [u16],
    ) -> Pending<'a, Result<Option<u16>, EngineError>>;

    /// Sends a signal to the instance's program.
    fn signal<'a>(
        &'a self,
        id: &'a InstanceId,
        signal: Signal,
    ) -> Pending<'a, Result<(), EngineError>>;

    /// Freezes all its processes; done when they are.
    fn freeze<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>>;

    /// Thaws all its processes; done when they run.
    fn thaw<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>>;

    /// Ends what still runs, and forgets the instance with its private files. Its log is kept.
    fn remove<'a>(&'a self, id: &'a InstanceId) -> Pending<'a, Result<(), EngineError>>;

    /// Rewrites the names that a running instance knows.
    fn rename<'a>(
        &'a self,
        id: &'a InstanceId,
        hosts: &'a [HostNames],
    ) -> Pending<'a, Result<(), EngineError>>;

    /// Runs a command inside an instance.
    fn exec(&self, wish: ExecWish) -> Pending<'_, Result<Execution, EngineError>>;

    /// The output of instances, also of those that are gone.
    fn logs(&self, wish: LogWish) -> Pending<'_, Result<Box<dyn LogStream>, EngineError>>;

    /// Removes the named volumes of an app, and what is left of its instances' logs.
    fn remove_app<'a>(
        &'a self,
        app: &'a AppName,
        volumes: Volumes,
    ) -> Pending<'a, Result<(), EngineError>>;

    /// The next thing that happened. One caller at a time.
    fn next_event(&self) -> Pending<'_, EngineEvent>;

    /// Ends what the engine keeps running for itself; called when no instance is left.
    fn shut_down(&self) -> Pending<'_, Result<(), EngineError>>;
}

/// What happens to an app's named volumes when it is taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    /// They stay.
    Keep,
    /// They are removed (`down -v`).
    Remove,
}

/// An instance that is to run.
#[derive(Debug, Clone)]
pub struct InstanceWish {
    /// Its identity.
    pub id: InstanceId,
    /// Of which revision it is a copy.
    pub revision: Revision,
    /// What it is to be.
    pub spec: Arc<ServiceSpec>,
    /// The app that it is part of, with its networks and volumes.
    pub app: Arc<AppSpec>,
    /// What it finds in `/etc/hosts`.
    pub hosts: Vec<HostNames>,
    /// The UDP ports that it may call.
    pub udp: Vec<UdpCapture>,
    /// Where it may go beyond its app.
    pub egress: Egress,
    /// How many TCP capture sockets its ambassador gets: one for each worker of the data plane.
    pub captures: usize,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNames {
    /// The service's address.
    pub address: ServiceAddress,
    /// Its names, the canonical one first.
    pub names: Vec<String>,
}

/// A UDP port of a service, as an instance that may call it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UdpCapture {
    /// The service's address.
    pub address: ServiceAddress,
    /// Its port.
    pub port: u16,
}

/// An instance as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its identity.
    pub id: InstanceId,
    /// The revision that it was started as.
    pub revision: Revision,
    /// What it does.
    pub state: InstanceState,
    /// When its program was last started.
    pub started: Moment,
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Frozen,
    /// Its program ended; its private files are kept.
    Exited(ExitStatus),
}

/// The sockets of an instance's ambassador. All are non-blocking.
#[derive(Debug)]
pub struct Attachment {
    /// Its network namespace.
    pub namespace: OwnedFd,
    /// Listening TCP sockets that get every call, one for each worker.
    pub tcp: Vec<OwnedFd>,
    /// The UDP socket that gets every question to the name server.
    pub dns: OwnedFd,
    /// UDP sockets that get the datagrams to one port of one service each.
    pub udp: Vec<(UdpCapture, OwnedFd)>,
}

/// A command to run inside an instance.
#[derive(Debug, Clone)]
pub struct ExecWish {
    /// Where.
    pub id: InstanceId,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables beyond those of the instance.
    pub environment: BTreeMap<String, String>,
    /// `USER[:GROUP]`; absent means the instance's.
    pub user: Option<String>,
    /// Absent means the instance's.
    pub working_dir: Option<PathBuf>,
    /// Whether it gets a terminal.
    pub terminal: Terminal,
}

/// What a command's input and output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// Three pipes.
    None,
    /// A terminal of this size, in characters.
    Size {
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
}

/// A command that runs inside an instance.
pub struct Execution {
    /// What it reads; the terminal itself when it has one.
    pub input: OwnedFd,
    /// What it writes; the terminal itself when it has one.
    pub output: OwnedFd,
    /// What it writes as errors; none when it has a terminal.
    pub error: Option<OwnedFd>,
    /// Done when it has ended. Dropping it kills the command.
    pub status: Pending<'static, Result<ExitStatus, EngineError>>,
}

impl std::fmt::Debug for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Execution").finish_non_exhaustive()
    }
}

/// Which output is wanted.
#[derive(Debug, Clone)]
pub struct LogWish {
    /// Of this app.
    pub app: AppName,
    /// Of these services; of all when empty.
    pub services: BTreeSet<ServiceName>,
    /// Written at or after this time.
    pub since: Option<Timestamp>,
    /// At most this many lines of each instance from before now.
    pub tail: Option<usize>,
    /// Whether to go on with what is written from now on.
    pub follow: LogFollow,
}

/// Whether a log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFollow {
    /// It goes on, also with instances that start later.
    Follow,
    /// It ends with what there is.
    Stop,
}

/// A line that an instance wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Which instance.
    pub instance: InstanceId,
    /// When.
    pub at: Timestamp,
    /// Where it was written to.
    pub source: LogSource,
    /// The line without its line feed; what is no UTF-8 is replaced.
    pub text: String,
}

/// The stream that a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Lines, in the order of their time as far as that is known.
pub trait LogStream: Send {
    /// The next line; `None` at the end.
    fn next(&mut self) -> Pending<'_, Result<Option<LogLine>, EngineError>>;
}

/// Something that happened to an instance without our asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// Its program ended.
    Exited {
        /// Which instance.
        id: InstanceId,
        /// How.
        status: ExitStatus,
    },
    /// Events may have been missed: observe.
    Gap,
    /// The engine is gone for good, for this reason.
    Lost(String),
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It will not work until a person changes something.
    #[error("{what}: {why}\nhint: {hint}")]
    Forbidden {
        /// What failed.
        what: String,
        /// Why.
        why: String,
        /// What to do.
        hint: String,
    },
    /// It may work the next time.
    #[error("{what}: {why}")]
    Failed {
        /// What failed.
        what: String,
        /// Why.
        why: String,
    },
    /// There is no such instance, or it does not run.
    #[error("instance {id} is not there")]
    NoInstance {
        /// Which.
        id: InstanceId,
    },
    /// The engine cannot be reached.
    #[error("engine {engine} does not answer: {why}")]
    Unreachable {
        /// Which.
        engine: &'static str,
        /// Why.
        why: String,
    },
}
