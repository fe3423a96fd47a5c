//! The handle by which everybody else drives the proxy.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::{AppName, InstanceId, Moment, Publish, ServiceAddress, ServiceName};
use tokio::sync::watch;
use traffic::Snapshot;

use crate::desired::{Ambassador, Desired, Stage};
use crate::listen::{BindError, ListenError, ListenerChange, Listening, Openings, Place};
use crate::worker::{self, Post};

/// Tells the moment (CLOCK_BOOTTIME); called twice a call, so it must be cheap.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Gets a connection to the name server from an instance. The stream is non-blocking.
pub type DnsOverTcp = Arc<dyn Fn(InstanceId, TcpStream) + Send + Sync>;

/// Is told which listeners to keep for the proxy that comes after this one.
pub type KeepListener = Arc<dyn Fn(ListenerChange) + Send + Sync>;

/// When a proxy begins to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At its start.
    AtOnce,
    /// When [`Proxy::serve`] says so. Until then, what comes to the listeners of an earlier proxy
    /// waits in their backlogs: it would be refused by who does not know its app yet.
    WhenTold,
}

/// What a proxy is started with.
pub struct ProxyConfig {
    /// Threads that serve; one a core.
    pub workers: NonZeroUsize,
    /// Where `SERVICE.APP.localhost` answers.
    pub ingress: Option<SocketAddr>,
    /// Listeners that an earlier proxy left, by the names in its [`ListenerChange`]s.
    pub adopted: Vec<(String, OwnedFd)>,
    /// Keeps listeners for a later proxy.
    pub keep_listener: KeepListener,
    /// Answers questions to the name server that come over TCP.
    pub dns_over_tcp: DnsOverTcp,
    /// Tells the moment.
    pub clock: Clock,
    /// When it begins to serve.
    pub begin: Begin,
}

impl ProxyConfig {
    /// A proxy without an ingress, that keeps no listener and answers no names.
    #[must_use]
    pub fn new(workers: NonZeroUsize, clock: Clock) -> Self {
        Self {
            workers,
            ingress: None,
            adopted: Vec::new(),
            keep_listener: Arc::new(drop),
            dns_over_tcp: Arc::new(|_, stream| drop(stream)),
            clock,
            begin: Begin::AtOnce,
        }
    }
}

impl fmt::Debug for ProxyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyConfig")
            .field("workers", &self.workers)
            .field("ingress", &self.ingress)
            .field("adopted", &self.adopted)
            .finish_non_exhaustive()
    }
}

/// The sockets of an instance's ambassador, and its network namespace.
#[derive(Debug)]
pub struct Attachment {
    /// Its network namespace.
    pub namespace: OwnedFd,
    /// Listening, non-blocking TCP sockets that get every call; the workers share them out.
    pub tcp: Vec<OwnedFd>,
    /// Non-blocking UDP sockets that get the datagrams to one port of one service each.
    pub udp: Vec<((ServiceAddress, u16), OwnedFd)>,
}

/// Why a proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ingress address could not be had.
    #[error("cannot listen on {address} for the ingress: {why}")]
    Ingress {
        /// The wished address.
        address: SocketAddr,
        /// Why, with the process that has it where that can be found.
        why: BindError,
    },
    /// A worker could not be started.
    #[error("cannot start worker {worker} of the proxy")]
    Worker {
        /// Which, from 0.
        worker: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A running proxy. Dropping it cuts every connection off; see [`Proxy::shutdown`].
#[derive(Debug)]
pub struct Proxy {
    desired: watch::Sender<Desired>,
    openings: Mutex<Openings>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Proxy {
    /// Starts a proxy that routes by the newest of `snapshots`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        config: ProxyConfig,
        snapshots: &watch::Receiver<Arc<Snapshot>>,
    ) -> Result<Self, StartError> {
        let mut openings = Openings::new(config.adopted, config.keep_listener);
        let desired = watch::Sender::new(Desired {
            stage: match config.begin {
                Begin::AtOnce => Stage::Serving,
                Begin::WhenTold => Stage::Waiting,
            },
            ..Desired::default()
        });
        if let Some(address) = config.ingress {
            let opened = openings.open_ingress(address);
            opened.map_err(|why| StartError::Ingress { address, why })?;
            desired.send_modify(|desired| desired.listeners = openings.listeners().clone());
        }
        let workers = config.workers.get();
        let mut threads = Vec::with_capacity(workers);
        for index in 0..workers {
            let post = Post {
                index,
                workers,
                snapshots: snapshots.clone(),
                desired: desired.subscribe(),
                dns_over_tcp: Arc::clone(&config.dns_over_tcp),
                clock: Arc::clone(&config.clock),
            };
            let started = worker::start(post);
            threads.push(started.map_err(|source| StartError::Worker {
                worker: index,
                source,
            })?);
        }
        Ok(Self {
            desired,
            openings: Mutex::new(openings),
            threads: Mutex::new(threads),
        })
    }

    /// Begins to serve, after [`Begin::WhenTold`].
    pub fn serve(&self) {
        self.desired.send_if_modified(|desired| {
            let waits = desired.stage == Stage::Waiting;
            if waits {
                desired.stage = Stage::Serving;
            }
            waits
        });
    }

    /// Serves an instance's ambassador from now on, and dials the instance when it is an endpoint.
    /// Must have been called before a snapshot names the instance.
    pub fn attach(&self, instance: InstanceId, attachment: Attachment) {
        let ambassador = Arc::new(Ambassador::new(instance.clone(), attachment));
        self.desired.send_modify(|desired| {
            desired.ambassadors.insert(instance, ambassador);
        });
    }

    /// Stops serving an instance's ambassador; calls in flight end by themselves.
    pub fn detach(&self, instance: &InstanceId) {
        self.desired
            .send_if_modified(|desired| desired.ambassadors.remove(instance).is_some());
    }

    /// Makes exactly these ports of an app reachable on this machine: opens what is missing, closes
    /// what is no longer wished. What it reports accepts when this returns.
    ///
    /// # Errors
    /// One [`ListenError`] for each port that could not be had; the others are open all the same,
    /// and asking again tries the missing ones again.
    pub fn listen(
        &self,
        app: &AppName,
        wishes: &[(ServiceName, Publish)],
    ) -> Result<Vec<Listening>, Vec<ListenError>> {
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = openings.reconcile(app, wishes);
        self.desired
            .send_modify(|desired| desired.listeners = openings.listeners().clone());
        outcome
    }

    /// Where the ingress listens.
    #[must_use]
    pub fn ingress(&self) -> Option<SocketAddr> {
        Some(
            self.desired
                .borrow()
                .listeners
                .get(&Place::Ingress)?
                .address,
        )
    }

    /// Admits nothing new, lets what is in flight end, and cuts off what is left after
    /// `patience`. Done when every worker has ended. Listeners that are kept elsewhere stay bound.
    pub async fn shutdown(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.desired
            .send_modify(|desired| desired.stage = Stage::Draining { deadline });
        self.desired.closed().await;
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker of the proxy panicked");
            }
        }
    }
}
