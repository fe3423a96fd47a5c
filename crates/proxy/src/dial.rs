//! Connections to endpoints: entering one, and connecting to it from inside its own namespace.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::time::Duration;

use model::{InstanceId, Protocol};
use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use traffic::Endpoint;

use crate::desired::Ambassador;
use crate::hold::{self, Entered, NotEntered};
use crate::http2::{Slot, Spoken};
use crate::pool::Reuse;
use crate::verdict::Verdict;
use crate::worker::{Destination, Worker};

/// How many endpoints that cannot be reached a call may try beyond the first.
pub(crate) const RETRIES_MAX: usize = 3;

/// How long a connection inside one namespace may take: only a full backlog makes it slow.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two tries to connect to a port that does not listen yet: first, and at most.
const LISTEN_PAUSE: Duration = Duration::from_millis(1);
const LISTEN_PAUSE_MAX: Duration = Duration::from_millis(20);

/// A way to an endpoint that a call has entered.
#[derive(Debug)]
pub(crate) struct Dialled<L = Connected> {
    /// The endpoint, and the service as it was.
    pub(crate) entered: Entered,
    /// What leads there.
    pub(crate) line: L,
}

/// A connection that is this call's alone.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The connection.
    pub(crate) stream: TcpStream,
    /// Whether an earlier call used it.
    pub(crate) origin: Origin,
}

/// What leads an HTTP call to an endpoint.
#[derive(Debug)]
pub(crate) enum Line {
    /// A connection.
    Http1(Connected),
    /// A place on a connection that calls share.
    Http2(Slot),
}

impl Dialled<Line> {
    /// Whether a failure tells something about the endpoint, not only about a connection that may
    /// have been dead for long.
    pub(crate) fn is_new(&self) -> bool {
        match &self.line {
            Line::Http1(connected) => connected.origin == Origin::New,
            Line::Http2(_) => true,
        }
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was made for this call.
    New,
    /// It was idle in the pool.
    Pool,
}

/// Why there is no connection to an endpoint. `Display` is for the one who called.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NotDialled {
    #[error(transparent)]
    NotEntered(#[from] NotEntered),
    #[error("{instance} does not listen on port {port}")]
    NotListening { instance: String, port: u16 },
    #[error("{instance} cannot be reached on port {port}: {why}")]
    Unreachable {
        instance: String,
        port: u16,
        why: String,
    },
    #[error("{instance} did not accept a connection on port {port} within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout { instance: String, port: u16 },
    #[error("{instance} does not speak HTTP/2 on port {port}")]
    NotHttp2 { instance: String, port: u16 },
    #[error("this machine has no file descriptors left for the call")]
    Exhausted,
}

/// Why one endpoint was not reached.
pub(crate) enum Failure {
    /// It is dead or dying: the call may try another.
    Dead(io::Error),
    /// The answer to the caller.
    Final(NotDialled),
}

/// Enters an endpoint that is not among `tried`, and connects to it, by a pooled connection if one
/// may be reused. Endpoints that turn out to be dead are added to `tried`.
pub(crate) async fn dial(
    worker: &Worker,
    destination: &Destination,
    tried: &mut Vec<InstanceId>,
    reuse: Reuse,
) -> Result<Dialled, NotDialled> {
    let line = async |entered: &Entered| connection(worker, destination, entered, reuse).await;
    reach(worker, destination, tried, line).await
}

/// As [`dial`], for an HTTP call: by what its port speaks, or, where that is to be detected, by
/// what the caller speaks, if the endpoint does.
pub(crate) async fn dial_call(
    worker: &Worker,
    destination: &Destination,
    tried: &mut Vec<InstanceId>,
    reuse: Reuse,
    caller: Spoken,
) -> Result<Dialled<Line>, NotDialled> {
    let port = destination.port;
    let line = async |entered: &Entered| {
        let protocol = entered.service.spec.protocol(port);
        let shares = match (protocol, caller) {
            (Protocol::Http2, _) | (Protocol::Detect, Spoken::Http2) => true,
            (Protocol::Http1 | Protocol::Tcp, _) | (Protocol::Detect, Spoken::Http1) => false,
        };
        if shares {
            // In a box, so that calls by HTTP/1.1 do not keep room for it.
            let slot = Box::pin(worker.channels.slot(worker, destination, entered)).await?;
            match (slot, protocol) {
                (Some(slot), _) => return Ok(Line::Http2(slot)),
                (None, Protocol::Http2) => {
                    let instance = entered.call.endpoint().instance().short();
                    return Err(Failure::Final(NotDialled::NotHttp2 { instance, port }));
                }
                (None, Protocol::Detect | Protocol::Http1 | Protocol::Tcp) => {}
            }
        }
        let connected = connection(worker, destination, entered, reuse).await;
        connected.map(Line::Http1)
    };
    reach(worker, destination, tried, line).await
}

/// Enters one endpoint after another until `line` leads to one.
async fn reach<L>(
    worker: &Worker,
    destination: &Destination,
    tried: &mut Vec<InstanceId>,
    line: impl AsyncFn(&Entered) -> Result<L, Failure>,
) -> Result<Dialled<L>, NotDialled> {
    let mut retries_left = RETRIES_MAX;
    loop {
        let entered = hold::enter(worker, destination, tried).await?;
        let instance = entered.call.endpoint().instance();
        match line(&entered).await {
            Ok(line) => return Ok(Dialled { entered, line }),
            Err(Failure::Final(why)) => return Err(why),
            Err(Failure::Dead(error)) if retries_left == 0 => {
                return Err(NotDialled::Unreachable {
                    instance: instance.short(),
                    port: destination.port,
                    why: error.to_string(),
                });
            }
            Err(Failure::Dead(error)) => {
                tracing::debug!(%instance, %error, "trying another endpoint");
                Verdict::new(worker, &entered, worker.now()).failed();
                tried.push(instance.clone());
                retries_left -= 1;
            }
        }
    }
}

/// A connection to an endpoint for one call: a pooled one, or a new one.
async fn connection(
    worker: &Worker,
    destination: &Destination,
    entered: &Entered,
    reuse: Reuse,
) -> Result<Connected, Failure> {
    let (instance, port) = (entered.call.endpoint().instance(), destination.port);
    let pooled = |stream| Connected {
        stream,
        origin: Origin::Pool,
    };
    if let Some(stream) = worker.pool.take(instance, port, reuse) {
        return Ok(pooled(stream));
    }
    tokio::select! {
        biased;
        connected = connect(worker, entered, destination) => Ok(Connected {
            stream: connected?,
            origin: Origin::New,
        }),
        stream = worker.pool.returned(instance, port, reuse) => Ok(pooled(stream)),
    }
}

/// Connects to a port of an endpoint, which may be about to listen on it for the first time.
pub(crate) async fn connect(
    worker: &Worker,
    entered: &Entered,
    destination: &Destination,
) -> Result<TcpStream, Failure> {
    let (endpoint, port) = (entered.call.endpoint(), destination.port);
    let patience = Instant::now() + entered.service.spec.activation.hold.timeout;
    let mut pause = LISTEN_PAUSE;
    let ambassador = worker.ambassador(endpoint.instance()).ok_or_else(|| {
        Failure::Dead(io::Error::new(
            io::ErrorKind::NotFound,
            "its namespace is not attached",
        ))
    })?;
    loop {
        match connect_once(worker, &ambassador, port).await {
            Err(Failure::Dead(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if !endpoint.is_open() || !is_current(worker, endpoint, destination) {
                    return Err(Failure::Dead(error));
                }
                if !ambassador.may_yet_listen(port) || Instant::now() >= patience {
                    return Err(refused(&ambassador, entered, port, error));
                }
                sleep(pause).await;
                pause = (pause * 2).min(LISTEN_PAUSE_MAX);
            }
            outcome => return outcome,
        }
    }
}

/// Whether the newest snapshot still has an endpoint.
fn is_current(worker: &Worker, endpoint: &Arc<Endpoint>, destination: &Destination) -> bool {
    let service = worker.service(destination);
    service.is_some_and(|service| service.endpoints.iter().any(|e| Arc::ptr_eq(e, endpoint)))
}

/// A port that is declared, or has accepted before, refuses because the instance ends; another one
/// because nothing listens there.
fn refused(ambassador: &Ambassador, entered: &Entered, port: u16, error: io::Error) -> Failure {
    let declared = entered
        .service
        .spec
        .tcp_ports()
        .any(|declared| declared == port);
    if declared || ambassador.has_seen_listening(port) {
        return Failure::Dead(error);
    }
    let instance = ambassador.instance.short();
    Failure::Final(NotDialled::NotListening { instance, port })
}

async fn connect_once(
    worker: &Worker,
    ambassador: &Ambassador,
    port: u16,
) -> Result<TcpStream, Failure> {
    let socket = match ambassador.connect_socket() {
        Err(error) if is_exhausted(&error) => {
            worker.pool.clear();
            ambassador.connect_socket()
        }
        outcome => outcome,
    };
    let socket = socket.map_err(|error| {
        if is_exhausted(&error) {
            return Failure::Final(NotDialled::Exhausted);
        }
        Failure::Dead(io::Error::other(error))
    })?;
    let socket = TcpSocket::from_std_stream(StdStream::from(socket));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match timeout(CONNECT_TIMEOUT, socket.connect(address)).await {
        Ok(Ok(stream)) => {
            ambassador.saw_listening(port);
            Ok(stream)
        }
        Ok(Err(error)) => Err(Failure::Dead(error)),
        Err(_elapsed) => {
            let instance = ambassador.instance.short();
            Err(Failure::Final(NotDialled::Timeout { instance, port }))
        }
    }
}

/// Whether an error says that no file descriptor was left.
fn is_exhausted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let errno = Errno::from_io_error(error);
            return matches!(errno, Some(Errno::MFILE | Errno::NFILE));
        }
        cause = error.source();
    }
    false
}
