//! Serves the sockets of all ambassadors' name servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::Rcode;
use model::{Egress, InstanceId};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::{Instrument, debug, debug_span, error};
use traffic::Snapshot;

use crate::answer::failure;
use crate::forward::{read_framed, write_framed};
use crate::{Answer, Over, Resolvers, answer};

/// Commands that may wait: to carry one out is to start or stop a task.
const COMMANDS_MAX: usize = 4096;
/// Questions that one instance has under way at other resolvers; more are dropped, and asked again
/// by the resolver that asked.
const FORWARDS_MAX: usize = 64;
/// Connections that one instance has open.
const STREAMS_MAX: usize = 64;
/// How long a connection may be idle (RFC 7766, 6.2.3, wants it to be seconds).
const STREAM_IDLE: Duration = Duration::from_secs(10);
const MESSAGE_MAX: usize = 65_535;

/// How a question came.
#[derive(Debug)]
pub enum Transport {
    /// The socket that gets all of an instance's datagrams.
    Datagrams(OwnedFd),
    /// One connection of an instance.
    Stream(std::net::TcpStream),
}

/// The name server's handle; the server itself is the future made with it.
#[derive(Debug, Clone)]
pub struct NameServer {
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Serve(InstanceId, Transport),
    Detach(InstanceId),
}

impl NameServer {
    /// The handle, and the server to run: it ends when all handles are dropped.
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        resolvers: Resolvers,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        (
            Self { commands },
            run(received, snapshots, Arc::new(resolvers)),
        )
    }

    /// Serves an instance by this transport from now on.
    pub fn serve(&self, instance: InstanceId, transport: Transport) {
        self.command(Command::Serve(instance, transport));
    }

    /// Stops serving an instance.
    pub fn detach(&self, instance: &InstanceId) {
        self.command(Command::Detach(instance.clone()));
    }

    /// Nobody waits for the name server. It is gone only when the daemon ends.
    fn command(&self, command: Command) {
        if let Err(lost) = self.commands.try_send(command) {
            error!(%lost, "the name server does not keep up");
        }
    }
}

/// What is known of an instance that is served.
#[derive(Debug)]
struct Served {
    datagrams: Option<AbortHandle>,
    streams: Arc<Semaphore>,
}

async fn run(
    mut commands: mpsc::Receiver<Command>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    resolvers: Arc<Resolvers>,
) {
    let mut tasks = JoinSet::new();
    let mut served: BTreeMap<InstanceId, Served> = BTreeMap::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Detach(instance)) => {
                    let gone = served.remove(&instance);
                    gone.and_then(|gone| gone.datagrams).inspect(AbortHandle::abort);
                }
                Some(Command::Serve(instance, transport)) => {
                    let asker = Asker {
                        instance: instance.clone(),
                        snapshots: snapshots.clone(),
                        resolvers: Arc::clone(&resolvers),
                    };
                    let entry = served.entry(instance).or_insert_with(|| Served {
                        datagrams: None,
                        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
                    });
                    start(&mut tasks, entry, asker, transport);
                }
            },
            Some(_ended) = tasks.join_next() => {}
        }
    }
}

fn start(tasks: &mut JoinSet<()>, served: &mut Served, asker: Asker, transport: Transport) {
    let span = debug_span!("dns", instance = %asker.instance);
    match transport {
        Transport::Datagrams(socket) => {
            let task = tasks.spawn(datagrams(asker, socket).instrument(span));
            served.datagrams.replace(task).inspect(AbortHandle::abort);
        }
        Transport::Stream(stream) => {
            let Ok(permit) = Arc::clone(&served.streams).try_acquire_owned() else {
                return;
            };
            let served = async move {
                stream_of(asker, stream).await;
                drop(permit);
            };
            tasks.spawn(served.instrument(span));
        }
    }
}

/// Who asks, and by what is answered.
#[derive(Debug)]
struct Asker {
    instance: InstanceId,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    resolvers: Arc<Resolvers>,
}

impl Asker {
    /// What becomes of a message; forwarding is allowed only to those that may go outside.
    fn decide(&self, message: &[u8], over: Over) -> Answer {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let Some(app) = snapshot.apps.get(&self.instance.app) else {
            return Answer::Ignore;
        };
        let caller = &self.instance.service;
        match answer(&app.directory, caller, message, over) {
            Answer::Forward if app.directory.spec().egress(caller) == Egress::None => {
                Answer::Reply(failure(message, Rcode::REFUSED))
            }
            decided @ (Answer::Reply(_) | Answer::Forward | Answer::Ignore) => decided,
        }
    }
}

async fn datagrams(asker: Asker, socket: OwnedFd) {
    let socket = std::net::UdpSocket::from(socket);
    let socket = match socket
        .set_nonblocking(true)
        .and_then(|()| UdpSocket::from_std(socket))
    {
        Ok(socket) => Arc::new(socket),
        Err(error) => return debug!(%error, "the socket cannot be served"),
    };
    let mut forwards = JoinSet::new();
    let mut message = vec![0; MESSAGE_MAX];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut message) => received,
            Some(_ended) = forwards.join_next() => continue,
        };
        // An error here is an earlier answer that could not be delivered.
        let Ok((length, from)) = received else {
            continue;
        };
        match asker.decide(&message[..length], Over::Datagram) {
            Answer::Reply(reply) => send(&socket, &reply, from).await,
            Answer::Ignore => {}
            Answer::Forward if forwards.len() < FORWARDS_MAX => {
                let question = message[..length].to_vec();
                forwards.spawn(forward(
                    Arc::clone(&asker.resolvers),
                    question,
                    Arc::clone(&socket),
                    from,
                ));
            }
            Answer::Forward => debug!("too many questions are under way"),
        }
    }
}

async fn forward(
    resolvers: Arc<Resolvers>,
    question: Vec<u8>,
    socket: Arc<UdpSocket>,
    from: SocketAddr,
) {
    let reply = match resolvers.ask_datagram(&question).await {
        Ok(reply) => reply,
        Err(error) => {
            debug!(%error, "no resolver of this machine answered");
            failure(&question, Rcode::SERVFAIL)
        }
    };
    send(&socket, &reply, from).await;
}

async fn send(socket: &UdpSocket, reply: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(reply, to).await {
        debug!(%error, %to, "an answer was not delivered");
    }
}

async fn stream_of(asker: Asker, stream: std::net::TcpStream) {
    let stream = stream
        .set_nonblocking(true)
        .and_then(|()| TcpStream::from_std(stream));
    let Ok(mut stream) = stream else { return };
    while let Ok(Ok(message)) = timeout(STREAM_IDLE, read_framed(&mut stream)).await {
        let reply = match asker.decide(&message, Over::Stream) {
            Answer::Reply(reply) => reply,
            Answer::Ignore => return,
            Answer::Forward => match asker.resolvers.ask_stream(&message).await {
                Ok(reply) => reply,
                Err(_) => failure(&message, Rcode::SERVFAIL),
            },
        };
        let written = timeout(STREAM_IDLE, write_framed(&mut stream, &reply)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}
