//! What the workers are to serve: written by the [`Proxy`](crate::Proxy) handle, watched by every
//! worker, which makes it so. State, not commands: nothing queues up, and nothing is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{InstanceId, ServiceAddress, Transport};
use netns::{Namespace, NamespaceError};

use crate::listen::Place;

/// Everything that is to be served.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    /// By the instance whose calls they capture.
    pub(crate) ambassadors: BTreeMap<InstanceId, Arc<Ambassador>>,
    /// What this machine's own programs may call.
    pub(crate) listeners: BTreeMap<Place, Arc<Listener>>,
    /// Whether anything new is admitted.
    pub(crate) stage: Stage,
}

/// Whether anything new is admitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not yet: what comes waits in the sockets' backlogs.
    Waiting,
    /// It is.
    #[default]
    Serving,
    /// It is not, and what is in flight ends by the deadline.
    Draining {
        /// When what is left is cut off.
        deadline: Instant,
    },
}

/// The port of a service, and the socket that gets the datagrams to it.
type UdpCapture = ((ServiceAddress, u16), OwnedFd);

/// The sockets inside one instance's namespace, and the way into it.
#[derive(Debug)]
pub(crate) struct Ambassador {
    /// Whose calls it captures.
    pub(crate) instance: InstanceId,
    /// Where sockets are made that dial the instance.
    pub(crate) namespace: Namespace,
    /// When it was attached, which is soon after its instance's program was started.
    attached: Instant,
    tcp: Mutex<Vec<Option<OwnedFd>>>,
    udp: Mutex<Vec<Option<UdpCapture>>>,
    /// The ports that have accepted a connection of ours.
    seen_listening: Mutex<BTreeSet<u16>>,
    spare: Mutex<Spare>,
}

/// Sockets that were made inside and are not yet connected. To an ordinary user a visit to a
/// namespace is dear, so a burst of calls makes several at a time: twice as many at each visit.
#[derive(Debug)]
struct Spare {
    sockets: Vec<OwnedFd>,
    next: usize,
}

/// How many sockets one visit makes at most.
const SPARE_MAX: usize = 16;

/// How soon after an instance's start a port that refuses may still be about to listen.
const STARTING: Duration = Duration::from_secs(10);

impl Ambassador {
    pub(crate) fn new(instance: InstanceId, attachment: crate::Attachment) -> Self {
        Self {
            instance,
            namespace: Namespace::from_fd(attachment.namespace),
            attached: Instant::now(),
            tcp: Mutex::new(attachment.tcp.into_iter().map(Some).collect()),
            udp: Mutex::new(attachment.udp.into_iter().map(Some).collect()),
            seen_listening: Mutex::new(BTreeSet::new()),
            spare: Mutex::new(Spare {
                sockets: Vec::new(),
                next: 1,
            }),
        }
    }

    /// The capture sockets of one of `workers` workers; each can be had once.
    pub(crate) fn take_tcp(&self, worker: usize, workers: usize) -> Vec<OwnedFd> {
        take_share(&self.tcp, worker, workers)
    }

    /// The UDP capture sockets of one of `workers` workers; each can be had once.
    pub(crate) fn take_udp(&self, worker: usize, workers: usize) -> Vec<UdpCapture> {
        take_share(&self.udp, worker, workers)
    }

    /// A socket made inside, to dial the instance with.
    pub(crate) fn connect_socket(&self) -> Result<OwnedFd, NamespaceError> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = spare.sockets.pop() {
            return Ok(socket);
        }
        // Where descriptors run out, the next visit asks for one.
        let count = std::mem::replace(&mut spare.next, 1);
        spare.sockets = self.namespace.connect_sockets(count)?;
        spare.next = (count * 2).min(SPARE_MAX);
        spare
            .sockets
            .pop()
            .map_or_else(|| self.namespace.connect_socket(), Ok)
    }

    /// Remembers that a port accepts.
    pub(crate) fn saw_listening(&self, port: u16) {
        let seen = self.seen_listening.lock();
        seen.unwrap_or_else(PoisonError::into_inner).insert(port);
    }

    /// Whether a port has ever accepted.
    pub(crate) fn has_seen_listening(&self, port: u16) -> bool {
        let seen = self.seen_listening.lock();
        seen.unwrap_or_else(PoisonError::into_inner).contains(&port)
    }

    /// Whether the instance is so young that a UDP port may not be bound yet.
    pub(crate) fn may_yet_bind(&self) -> bool {
        self.attached.elapsed() < STARTING
    }

    /// Whether a port that refuses may be about to listen for the first time.
    pub(crate) fn may_yet_listen(&self, port: u16) -> bool {
        self.attached.elapsed() < STARTING && !self.has_seen_listening(port)
    }
}

fn take_share<T>(all: &Mutex<Vec<Option<T>>>, worker: usize, workers: usize) -> Vec<T> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let share = all.iter_mut().skip(worker).step_by(workers);
    share.filter_map(Option::take).collect()
}

/// A bound socket in this machine's own namespace; every worker serves a TCP one, one a UDP one.
#[derive(Debug)]
pub(crate) struct Listener {
    /// TCP or UDP.
    pub(crate) transport: Transport,
    /// The socket.
    pub(crate) socket: OwnedFd,
    /// Where it is bound.
    pub(crate) address: SocketAddr,
}
