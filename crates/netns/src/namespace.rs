//! One network namespace: entering it for a moment, and making sockets in it.
//!
//! A socket belongs for life to the namespace it was made in, whichever thread uses it. So a thread
//! enters, makes a socket, comes back, and the socket dials from inside while everything else of
//! the process stays outside.
//!
//! **The way back.** To enter a namespace a thread needs `CAP_SYS_ADMIN` over the user namespace
//! that owns it. An ordinary user's daemon has that over the namespaces it made, inside its own
//! user namespace, but not over the machine's network namespace, which is its home: a thread that
//! went in could never return. Such a thread sends another, short-lived one, which ends inside. That
//! costs some tens of microseconds instead of two; see [`Namespace::connect_sockets`].

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, getpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The calling thread's own namespace, by the kernel's path.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, kept alive for as long as this (or a clone of it) lives.
#[derive(Debug, Clone)]
pub struct Namespace {
    descriptor: Arc<OwnedFd>,
}

/// Why a namespace could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The process is gone, or belongs to somebody else.
    #[error("cannot open the network namespace of process {pid}")]
    Open {
        /// The process that was asked for.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The calling thread's own namespace cannot be opened: no /proc, or no descriptor left.
    #[error("cannot open this thread's own network namespace ({OWN})")]
    Own {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused the move; EPERM means no `CAP_SYS_ADMIN` over the namespace's owner.
    #[error("cannot enter the network namespace")]
    Enter {
        /// What the kernel said.
        source: io::Error,
    },
    /// The short-lived thread that would go inside could not be started.
    #[error("cannot start a thread to enter the network namespace")]
    Thread {
        /// What the kernel said.
        source: io::Error,
    },
    /// The work inside failed; the thread is back in its own namespace.
    #[error("cannot finish the work inside the network namespace")]
    Inside {
        /// What the work returned.
        source: io::Error,
    },
    /// The socket could not be made in the namespace.
    #[error("cannot make a {protocol} socket in the network namespace")]
    Socket {
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The namespace that a thread belongs to, opened once.
struct Home {
    /// The process that opened it: a forked child may have been given another namespace.
    process: Pid,
    descriptor: OwnedFd,
    way_back: WayBack,
}

/// Whether a thread that leaves its own namespace may come back to it.
#[derive(Clone, Copy)]
enum WayBack {
    Open,
    Closed,
}

thread_local! {
    /// Mutably borrowed while the thread is away, so that entering twice cannot lose the way back.
    static HOME: RefCell<Option<Home>> = const { RefCell::new(None) };
}

/// Brings the thread home when dropped, also when the work inside panicked.
struct Away<'a> {
    home: BorrowedFd<'a>,
}

impl Namespace {
    /// The namespace of a running process.
    ///
    /// # Errors
    /// [`NamespaceError::Open`] if there is no such process or it may not be looked at.
    pub fn open(pid: u32) -> Result<Self, NamespaceError> {
        let file = File::open(format!("/proc/{pid}/ns/net"));
        let file = file.map_err(|source| NamespaceError::Open { pid, source })?;
        Ok(Self::from_fd(file.into()))
    }

    /// A namespace from an open `/proc/PID/ns/net`.
    #[must_use]
    pub fn from_fd(descriptor: OwnedFd) -> Self {
        Self {
            descriptor: Arc::new(descriptor),
        }
    }

    /// The namespace that the calling thread is in.
    ///
    /// # Errors
    /// [`NamespaceError::Own`] without /proc.
    pub fn current() -> Result<Self, NamespaceError> {
        Ok(Self::from_fd(open_own()?))
    }

    /// Runs `work` inside the namespace, with this thread waiting or itself inside.
    ///
    /// `work` must be synchronous and short: the whole thread is away, so nothing that it would
    /// hand to another thread, and no future that it would poll elsewhere, runs inside.
    /// The thread is home again when this returns, whether `work` succeeded, failed or panicked.
    /// Home is the namespace the thread was in when it first entered any; a thread that moves for
    /// good (`unshare`, `setns`) must do so before.
    ///
    /// # Errors
    /// [`NamespaceError`]; [`NamespaceError::Inside`] has the error that `work` returned.
    ///
    /// # Panics
    /// If `work` panics, or enters a namespace itself. And if the way home, which was open, fails,
    /// the process is aborted: a thread that goes on in a stranger's namespace would serve it
    /// everybody else's connections.
    pub fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T, NamespaceError> {
        self.visit(work)?
            .map_err(|source| NamespaceError::Inside { source })
    }

    /// A TCP socket made inside, for the caller to connect: non-blocking, close-on-exec, no delay.
    ///
    /// # Errors
    /// As [`Namespace::enter`]; [`NamespaceError::Socket`] if the kernel refuses the socket.
    pub fn connect_socket(&self) -> Result<OwnedFd, NamespaceError> {
        let made = self.visit(tcp_socket)?;
        made.map_err(|source| NamespaceError::Socket {
            protocol: "tcp",
            source,
        })
    }

    /// As many sockets as [`Namespace::connect_socket`] makes in `count` calls, in one visit: for
    /// an ordinary user's daemon, to whom a visit is dear.
    ///
    /// # Errors
    /// As [`Namespace::connect_socket`].
    pub fn connect_sockets(&self, count: usize) -> Result<Vec<OwnedFd>, NamespaceError> {
        let made = self.visit(|| (0..count).map(|_| tcp_socket()).collect::<io::Result<_>>())?;
        made.map_err(|source| NamespaceError::Socket {
            protocol: "tcp",
            source,
        })
    }

    /// A UDP socket made inside, for the caller to connect: non-blocking, close-on-exec.
    ///
    /// # Errors
    /// As [`Namespace::connect_socket`].
    pub fn datagram_socket(&self) -> Result<OwnedFd, NamespaceError> {
        let made = self.visit(|| socket(SocketType::DGRAM))?;
        made.map_err(|source| NamespaceError::Socket {
            protocol: "udp",
            source,
        })
    }

    /// As [`Namespace::enter`], for work with an error type of its own.
    pub(crate) fn visit<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NamespaceError> {
        HOME.with(|home| {
            let mut home = home
                .try_borrow_mut()
                .expect("work inside a namespace enters no other");
            let home = home_of_this_thread(&mut home)?;
            match home.way_back {
                WayBack::Open => {
                    self.move_here()?;
                    let _away = Away {
                        home: home.descriptor.as_fd(),
                    };
                    Ok(work())
                }
                WayBack::Closed => self.send_a_thread(work),
            }
        })
    }

    /// Runs `work` on a thread that ends inside.
    fn send_a_thread<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        let journey = || {
            self.move_here()?;
            HOME.with(|home| {
                let _away = home.borrow_mut();
                Ok(work())
            })
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("visit".to_owned());
            let thread = thread
                .spawn_scoped(scope, journey)
                .map_err(|source| NamespaceError::Thread { source })?;
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    fn move_here(&self) -> Result<(), NamespaceError> {
        move_to(self.as_fd()).map_err(|source| NamespaceError::Enter { source })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if let Err(error) = move_to(self.home) {
            eprintln!("fatal: this thread cannot return to its own network namespace: {error}");
            std::process::abort();
        }
    }
}

/// Opens the thread's own namespace on first use, and again in a forked child.
fn home_of_this_thread(home: &mut Option<Home>) -> Result<&Home, NamespaceError> {
    let process = getpid();
    let known = home.take().filter(|home| home.process == process);
    Ok(home.insert(match known {
        Some(home) => home,
        None => {
            let descriptor = open_own()?;
            // To move from home to home changes nothing, and is allowed if coming back will be.
            let way_back = match move_to(descriptor.as_fd()) {
                Ok(()) => WayBack::Open,
                Err(_) => WayBack::Closed,
            };
            Home {
                process,
                descriptor,
                way_back,
            }
        }
    }))
}

fn open_own() -> Result<OwnedFd, NamespaceError> {
    let file = File::open(OWN).map_err(|source| NamespaceError::Own { source })?;
    Ok(file.into())
}

fn move_to(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(
        namespace,
        Some(LinkNameSpaceType::Network),
    )?)
}

fn tcp_socket() -> io::Result<OwnedFd> {
    let socket = socket(SocketType::STREAM)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// A non-blocking, close-on-exec IPv4 socket in the calling thread's current namespace.
pub(crate) fn socket(kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        AddressFamily::INET,
        kind,
        flags,
        None,
    )?)
}
