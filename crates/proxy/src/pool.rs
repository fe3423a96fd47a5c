//! Idle HTTP connections to endpoints, kept by each worker for its own calls.
//!
//! The newest is used first, so what a burst left over ages and is closed. A connection to an
//! endpoint that has left the snapshot is closed at once: it must hold up no rest and no drain.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use model::InstanceId;
use rustix::net::RecvFlags;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use traffic::{Endpoint, Snapshot};

/// How many idle connections one worker keeps to one instance.
const IDLE_MAX: usize = 256;

/// How long a connection may be idle; servers commonly close sooner.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often stale connections are looked for, while there is any connection.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// A server closes idle connections at a time of its choosing, and what is sent just then is lost.
/// So a call that cannot be repeated only takes a connection that was used this recently.
const RECENT: Duration = Duration::from_millis(500);

/// What a call may be sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Any idle connection: the call can be repeated.
    Any,
    /// One that was used a moment ago: the call cannot be repeated.
    Recent,
    /// None: one has just turned out to be dead.
    Never,
}

/// The idle connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    shelves: RefCell<HashMap<InstanceId, Shelf>>,
    count: Cell<usize>,
    filled: Notify,
}

/// The connections to one instance.
#[derive(Debug, Default)]
struct Shelf {
    idle: Vec<Idle>,
    /// Shared by the calls that wait for a connection to come back.
    returned: Rc<Notify>,
}

impl Shelf {
    fn is_awaited(&self) -> bool {
        Rc::strong_count(&self.returned) > 1
    }
}

#[derive(Debug)]
struct Idle {
    port: u16,
    stream: TcpStream,
    since: Instant,
}

impl Pool {
    /// Takes out a connection that is still open.
    pub(crate) fn take(&self, instance: &InstanceId, port: u16, reuse: Reuse) -> Option<TcpStream> {
        if reuse == Reuse::Never {
            return None;
        }
        let mut shelves = self.shelves.borrow_mut();
        let idle = &mut shelves.get_mut(instance)?.idle;
        while let Some(at) = idle.iter().rposition(|idle| idle.port == port) {
            let Idle { stream, since, .. } = idle.remove(at);
            self.count.set(self.count.get() - 1);
            let usable = match reuse {
                Reuse::Any => is_quiet(&stream),
                Reuse::Recent => since.elapsed() < RECENT && is_silent(&stream),
                Reuse::Never => false,
            };
            if usable {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps a connection for the next call, unless its endpoint admits none.
    pub(crate) fn put(&self, endpoint: &Endpoint, port: u16, stream: TcpStream) {
        if !endpoint.is_open() {
            return;
        }
        let mut shelves = self.shelves.borrow_mut();
        let shelf = match shelves.get_mut(endpoint.instance()) {
            Some(shelf) => shelf,
            None => shelves.entry(endpoint.instance().clone()).or_default(),
        };
        if shelf.idle.len() < IDLE_MAX {
            shelf.idle.push(Idle {
                port,
                stream,
                since: Instant::now(),
            });
            if shelf.is_awaited() {
                shelf.returned.notify_one();
            }
            self.count.set(self.count.get() + 1);
            if self.count.get() == 1 {
                self.filled.notify_one();
            }
        }
    }

    /// A connection that comes back while a new one is being made: in a burst that is often sooner,
    /// and at an endpoint whose backlog is full by a second.
    pub(crate) async fn returned(
        &self,
        instance: &InstanceId,
        port: u16,
        reuse: Reuse,
    ) -> TcpStream {
        if reuse == Reuse::Never {
            return pending().await;
        }
        let returned = {
            let mut shelves = self.shelves.borrow_mut();
            Rc::clone(&shelves.entry(instance.clone()).or_default().returned)
        };
        loop {
            returned.notified().await;
            if let Some(stream) = self.take(instance, port, reuse) {
                return stream;
            }
        }
    }

    /// Closes the connections to instances that are no endpoint in `snapshot`.
    pub(crate) fn retain_endpoints_of(&self, snapshot: &Snapshot) {
        self.retain(|instance, _| {
            let service = snapshot.service(&instance.app, &instance.service);
            service.is_some_and(|service| service.has(instance))
        });
    }

    /// Done when it is time to look for stale connections.
    pub(crate) async fn until_stale(&self) {
        while self.count.get() == 0 {
            self.filled.notified().await;
        }
        sleep(SWEEP_PERIOD).await;
    }

    /// Closes what was closed by its endpoint, or idle for too long.
    pub(crate) fn drop_stale(&self) {
        self.retain(|_, idle| idle.since.elapsed() < IDLE_TIMEOUT && is_quiet(&idle.stream));
    }

    /// Closes all: the machine has no descriptors left.
    pub(crate) fn clear(&self) {
        self.retain(|_, _| false);
    }

    fn retain(&self, keeps: impl Fn(&InstanceId, &Idle) -> bool) {
        let mut shelves = self.shelves.borrow_mut();
        shelves.retain(|instance, shelf| {
            shelf.idle.retain(|idle| keeps(instance, idle));
            !shelf.idle.is_empty() || shelf.is_awaited()
        });
        self.count
            .set(shelves.values().map(|shelf| shelf.idle.len()).sum());
    }
}

/// Whether nothing has arrived, as of this thread's last look at its sockets; costs no system call.
fn is_quiet(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether nothing has arrived, asked of the kernel.
fn is_silent(stream: &TcpStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let peeked = rustix::net::recv(stream, &mut [0][..], flags);
    peeked.is_err_and(|errno| errno == rustix::io::Errno::AGAIN)
}
