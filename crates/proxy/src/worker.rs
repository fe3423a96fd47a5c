//! One thread that serves: its runtime, what its connections share, and which sockets it accepts
//! from. Workers share nothing but what control publishes.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use http1::Limits;
use model::{AppName, InstanceId, Moment, ServiceName, Transport};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::sleep_until;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug_span};
use traffic::{Service, Snapshot};

use crate::buffer::Buffers;
use crate::desired::{Ambassador, Desired, Listener, Stage};
use crate::http2::Channels;
use crate::listen::Place;
use crate::pool::Pool;
use crate::random::Random;
use crate::{Clock, DnsOverTcp, accept, udp};

/// What a worker is started with.
pub(crate) struct Post {
    pub(crate) index: usize,
    pub(crate) workers: usize,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) desired: watch::Receiver<Desired>,
    pub(crate) dns_over_tcp: DnsOverTcp,
    pub(crate) clock: Clock,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) app: AppName,
    pub(crate) service: ServiceName,
    pub(crate) port: u16,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.app, self.service, self.port)
    }
}

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    desired: watch::Receiver<Desired>,
    pub(crate) dns_over_tcp: DnsOverTcp,
    clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) pool: Pool,
    pub(crate) channels: Channels,
    pub(crate) random: Random,
    /// The ports on which HTTP was recognised.
    pub(crate) http_ports: RefCell<HashSet<Destination>>,
    /// Cancelled when kept-alive connections are to end after their call.
    pub(crate) draining: CancellationToken,
    tasks: TaskTracker,
}

impl Worker {
    fn new(post: &Post) -> Self {
        Self {
            snapshots: post.snapshots.clone(),
            desired: post.desired.clone(),
            dns_over_tcp: Arc::clone(&post.dns_over_tcp),
            clock: Arc::clone(&post.clock),
            limits: Limits::default(),
            buffers: Rc::default(),
            pool: Pool::default(),
            channels: Channels::default(),
            random: Random::seeded(),
            http_ports: RefCell::default(),
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// The moment.
    pub(crate) fn now(&self) -> Moment {
        (self.clock)()
    }

    /// A service as the newest snapshot has it.
    pub(crate) fn service(&self, destination: &Destination) -> Option<Arc<Service>> {
        let snapshot = self.snapshots.borrow();
        snapshot
            .service(&destination.app, &destination.service)
            .cloned()
    }

    /// The ambassador of an instance.
    pub(crate) fn ambassador(&self, instance: &InstanceId) -> Option<Arc<Ambassador>> {
        self.desired.borrow().ambassadors.get(instance).cloned()
    }

    /// Runs a task of this worker, which ends when the worker does at the latest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // The tracker awaits it; the handle would only detach.
        drop(self.tasks.spawn_local(task));
    }
}

/// Starts a worker on a thread of its own.
pub(crate) fn start(post: Post) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let name = format!("proxy-{}", post.index);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || LocalSet::new().block_on(&runtime, run(post)))
}

/// Serves what is desired until that is nothing any more, then drains.
async fn run(mut post: Post) {
    let worker = Rc::new(Worker::new(&post));
    let mut serving = Serving {
        index: post.index,
        workers: post.workers,
        ..Serving::default()
    };
    let mut snapshots = worker.snapshots.clone();
    let deadline = loop {
        let stage = {
            let desired = post.desired.borrow_and_update();
            match desired.stage {
                Stage::Waiting => {}
                Stage::Serving | Stage::Draining { .. } => serving.reconcile(&worker, &desired),
            }
            desired.stage
        };
        if let Stage::Draining { deadline } = stage {
            break deadline;
        }
        tokio::select! {
            changed = post.desired.changed() => if changed.is_err() { return },
            changed = snapshots.changed() => {
                if changed.is_err() { return }
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                worker.pool.retain_endpoints_of(&snapshot);
                worker.channels.retain_endpoints_of(&snapshot);
            }
            () = worker.pool.until_stale() => worker.pool.drop_stale(),
            () = worker.channels.until_stale() => worker.channels.drop_stale(),
        }
    };
    drop(serving);
    worker.draining.cancel();
    worker.tasks.close();
    tokio::select! {
        () = worker.tasks.wait() => {}
        () = sleep_until(deadline.into()) => tracing::warn!(
            connections = worker.tasks.len(),
            "connections were cut off at the end of the drain"
        ),
    }
}

/// The sockets that a worker accepts from; dropping an entry's guard stops its tasks.
#[derive(Default)]
struct Serving {
    index: usize,
    workers: usize,
    ambassadors: HashMap<InstanceId, (Arc<Ambassador>, DropGuard)>,
    listeners: HashMap<Place, (Arc<Listener>, DropGuard)>,
}

impl Serving {
    fn reconcile(&mut self, worker: &Rc<Worker>, desired: &Desired) {
        self.ambassadors.retain(|instance, (served, _)| {
            desired
                .ambassadors
                .get(instance)
                .is_some_and(|wished| Arc::ptr_eq(wished, served))
        });
        self.listeners.retain(|place, (served, _)| {
            desired
                .listeners
                .get(place)
                .is_some_and(|wished| Arc::ptr_eq(wished, served))
        });
        for (instance, ambassador) in &desired.ambassadors {
            if !self.ambassadors.contains_key(instance) {
                let token = self.serve_ambassador(worker, ambassador);
                let entry = (Arc::clone(ambassador), token.drop_guard());
                self.ambassadors.insert(instance.clone(), entry);
            }
        }
        for (place, listener) in &desired.listeners {
            if !self.listeners.contains_key(place) {
                let token = self.serve_listener(worker, place, listener);
                let entry = (Arc::clone(listener), token.drop_guard());
                self.listeners.insert(place.clone(), entry);
            }
        }
    }

    fn serve_ambassador(
        &self,
        worker: &Rc<Worker>,
        ambassador: &Arc<Ambassador>,
    ) -> CancellationToken {
        let token = CancellationToken::new();
        for socket in ambassador.take_tcp(self.index, self.workers) {
            let accepting = accept::capture(Rc::clone(worker), ambassador.instance.clone());
            run_tcp(worker, socket, &token, accepting);
        }
        for ((address, port), socket) in ambassador.take_udp(self.index, self.workers) {
            let callee = accept::udp_callee(worker, &ambassador.instance, address, port);
            if let Some(destination) = callee {
                run_udp(worker, socket, &token, destination);
            }
        }
        token
    }

    fn serve_listener(
        &self,
        worker: &Rc<Worker>,
        place: &Place,
        listener: &Listener,
    ) -> CancellationToken {
        let token = CancellationToken::new();
        let socket = match listener.socket.try_clone() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(%place, %error, "a listener cannot be served by a worker");
                return token;
            }
        };
        match (place, listener.transport) {
            (Place::Ingress, _) => {
                run_tcp(
                    worker,
                    socket,
                    &token,
                    accept::ingress(Rc::clone(worker), listener.address),
                );
            }
            (Place::Published(published), Transport::Tcp) => {
                let accepting = accept::published(Rc::clone(worker), published.destination());
                run_tcp(worker, socket, &token, accepting);
            }
            // A sender's datagrams must all come to the worker that has its session.
            (Place::Published(published), Transport::Udp) if self.index == 0 => {
                run_udp(worker, socket, &token, published.destination());
            }
            (Place::Published(_), Transport::Udp) => {}
        }
        token
    }
}

fn run_tcp(
    worker: &Rc<Worker>,
    socket: OwnedFd,
    token: &CancellationToken,
    accepted: impl Fn(tokio::net::TcpStream, SocketAddr) + 'static,
) {
    let listener = match tokio::net::TcpListener::from_std(TcpListener::from(socket)) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be served by a worker"),
    };
    let (own, token) = (Rc::clone(worker), token.clone());
    worker.spawn(async move {
        let accepting = accept::accept(&own, &listener, accepted);
        token.run_until_cancelled(accepting).await;
    });
}

fn run_udp(
    worker: &Rc<Worker>,
    socket: OwnedFd,
    token: &CancellationToken,
    destination: Destination,
) {
    let socket = match tokio::net::UdpSocket::from_std(UdpSocket::from(socket)) {
        Ok(socket) => Rc::new(socket),
        Err(error) => return tracing::error!(%error, "a udp socket cannot be served by a worker"),
    };
    let (own, token) = (Rc::clone(worker), token.clone());
    let span = debug_span!("udp", %destination);
    let serving = async move {
        token
            .run_until_cancelled(udp::serve(&own, &socket, &destination))
            .await;
    };
    worker.spawn(serving.instrument(span));
}
