//! Finding the keeper or making it: what a daemon does first, while it has one thread.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, WaitOptions};

use crate::failure::{Attempt, Failure};
use crate::keeper::protocol::{Answer, Call, FromKeeper, Request, VERSION};
use crate::keeper::wire::{Inbox, Outbox, Received, WireError};
use crate::sandbox::clone::{self, Side};
use crate::{Forbidden, Home, keeper, users};

/// How often a keeper that ends while it is found is looked for again.
const ATTEMPTS: u32 = 5;

/// A connection to the keeper; [`crate::EmbeddedEngine::new`] takes it.
#[derive(Debug)]
pub struct Connection {
    pub(crate) socket: UnixStream,
    /// What came after the greeting.
    pub(crate) inbox: Inbox,
    pub(crate) keeper: i32,
    pub(crate) shortcomings: Vec<String>,
}

impl Connection {
    /// The keeper's process id.
    #[must_use]
    pub fn keeper(&self) -> i32 {
        self.keeper
    }
}

/// Connects to the keeper of `home`, which is made if there is none, and moves the calling process
/// into the keeper's user namespace if it has one of its own.
///
/// Call it first thing in `main`: the process must have one thread, since it may fork.
///
/// # Errors
/// [`Forbidden`] names what the machine lacks and what to do.
pub fn prepare(home: &Home) -> Result<Connection, Forbidden> {
    connect_or_fork(home).map_err(Forbidden::from)
}

fn connect_or_fork(home: &Home) -> Result<Connection, Failure> {
    home.check()?;
    let path = home.keeper_lock();
    let what = || format!("cannot lock {}", path.display());
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .attempt(what)?;
    flock(&lock, FlockOperation::LockExclusive).attempt(what)?;
    let mut outcome = Err(Failure::failed(
        "cannot find the keeper",
        "it ends again and again",
    ));
    for _ in 0..ATTEMPTS {
        outcome = match UnixStream::connect(home.keeper_socket()) {
            Ok(socket) => greet(socket),
            Err(error) if is_absent(&error) => fork(home).and_then(greet),
            Err(error) => Err(Failure::failed("cannot reach the keeper", error)),
        };
        // Only one that ended while we spoke is worth another attempt.
        if !matches!(&outcome, Err(Failure::Failed { why, .. }) if why == ENDED) {
            break;
        }
    }
    outcome
}

const ENDED: &str = "the keeper has ended";

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// Says hello, and follows the keeper into its user namespace.
fn greet(socket: UnixStream) -> Result<Connection, Failure> {
    let what = || "cannot talk to the keeper";
    let peer = socket_peercred(&socket).attempt(what)?;
    if peer.uid != rustix::process::geteuid() {
        return Err(Failure::failed(what(), "its socket is another user's"));
    }
    let mut outbox = Outbox::default();
    let call = Call::Hello { version: VERSION };
    outbox
        .push(Request { id: 0, call }, Vec::new())
        .attempt(what)?;
    outbox
        .send(&socket)
        .map_err(|_| Failure::failed(what(), ENDED))?;
    let mut inbox = Inbox::default();
    loop {
        match inbox.receive(&socket) {
            Ok(Received::More) | Err(WireError::Receive(Errno::INTR)) => {}
            Ok(Received::Closed) | Err(_) => return Err(Failure::failed(what(), ENDED)),
        }
        let Some((message, descriptors)) = inbox.take::<FromKeeper>().attempt(what)? else {
            continue;
        };
        let FromKeeper::Reply { outcome, .. } = message else {
            continue;
        };
        let Answer::Hello {
            pid, shortcomings, ..
        } = outcome?
        else {
            return Err(Failure::failed(what(), "it answers something else"));
        };
        if let Some(namespace) = descriptors.first() {
            users::join(namespace)?;
        }
        return Ok(Connection {
            socket,
            inbox,
            keeper: pid,
            shortcomings,
        });
    }
}

/// Makes a keeper that listens.
fn fork(home: &Home) -> Result<UnixStream, Failure> {
    if !users::is_privileged() {
        users::enter_new()?;
    }
    let path = home.keeper_socket();
    let what = || "cannot start the keeper";
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).attempt(what),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path).attempt(what)?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(home.keeper_log())
        .attempt(what)?;
    let starter = std::process::id();
    // SAFETY: the caller has one thread.
    match unsafe { clone::clone(0, None) }.attempt(what)? {
        Side::Child => {
            let _ = rustix::process::setsid();
            // Once more, so that it is nobody's child and can get no terminal.
            // SAFETY: as above; this is a copy of that thread.
            match unsafe { clone::clone(0, None) } {
                Ok(Side::Child) => run(home.clone(), listener.into(), &log, starter),
                Ok(Side::Parent { .. }) | Err(_) => clone::leave(0),
            }
        }
        Side::Parent { pid, .. } => wait_for(pid),
    }
    UnixStream::connect(&path).attempt(what)
}

fn wait_for(pid: Pid) {
    // The child between us and the keeper ends at once, and well.
    let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
}

/// The keeper's whole life.
fn run(home: Home, listener: OwnedFd, log: &File, starter: u32) -> ! {
    let null = File::open("/dev/null");
    if let Ok(null) = &null {
        let _ = rustix::stdio::dup2_stdin(null);
    }
    let _ = rustix::stdio::dup2_stdout(log);
    let _ = rustix::stdio::dup2_stderr(log);
    clone::close_all_but(&[listener.as_fd()]);
    let _ = rustix::thread::set_name(c"roads-keeper");
    let _ = rustix::process::chdir("/");
    let outcome = std::panic::catch_unwind(|| keeper::serve(home, listener, starter));
    clone::leave(if outcome.is_ok() { 0 } else { 70 })
}
