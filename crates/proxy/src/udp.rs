//! Datagrams to a port of a service: one session for each sender.
//!
//! A session has a socket of its own inside the endpoint's namespace, and answers leave by the
//! socket that the sender wrote to. It ends when nothing has passed for a while, or when its
//! endpoint has left the snapshot; the next datagram begins another one.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use crate::buffer::Buffer;
use crate::hold::{self, Entered};
use crate::worker::{Destination, Worker};

/// How long nothing may pass in a session.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How many senders one socket serves at a time; datagrams of more are dropped.
const SESSIONS_MAX: usize = 1024;

/// How many datagrams wait while a session's service wakes; more are dropped.
const WAITING_MAX: usize = 64;

/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Between two tries to reach a port that is not bound yet.
const BIND_PAUSE: Duration = Duration::from_millis(5);

type Sessions = HashMap<SocketAddr, mpsc::Sender<Box<[u8]>>>;

/// Serves the datagrams that come to a socket, for ever.
pub(crate) async fn serve(worker: &Rc<Worker>, socket: &Rc<UdpSocket>, destination: &Destination) {
    let mut sessions = Sessions::new();
    loop {
        let (datagram, sender) = match receive(worker, socket).await {
            Ok(received) => received,
            Err(error) => {
                // An earlier answer could not be delivered: the sender has gone.
                debug!(%error, "a datagram could not be received");
                continue;
            }
        };
        let Some(waiting) = dispatch(&mut sessions, datagram, sender) else {
            continue;
        };
        let (own, socket) = (Rc::clone(worker), Rc::clone(socket));
        let destination = destination.clone();
        worker.spawn(async move {
            let session = Session {
                worker: &own,
                socket: &socket,
                sender,
                waiting,
            };
            if let Err(error) = session.run(&destination).await {
                debug!(%sender, error = %error, "a udp session ended");
            }
        });
    }
}

/// The next datagram. No buffer is held while there is none.
async fn receive(worker: &Worker, socket: &UdpSocket) -> io::Result<(Box<[u8]>, SocketAddr)> {
    loop {
        socket.readable().await?;
        let mut buffer = worker.buffers.take();
        buffer.vec().reserve(DATAGRAM_BYTES_MAX);
        match socket.try_recv_buf_from(buffer.vec()) {
            Ok((_, sender)) => return Ok((buffer.bytes().into(), sender)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives a datagram to its sender's session, or returns what a new one is to begin with.
fn dispatch(
    sessions: &mut Sessions,
    datagram: Box<[u8]>,
    sender: SocketAddr,
) -> Option<mpsc::Receiver<Box<[u8]>>> {
    let datagram = match sessions.get(&sender) {
        None => datagram,
        Some(session) => match session.try_send(datagram) {
            Ok(()) | Err(TrySendError::Full(_)) => return None,
            Err(TrySendError::Closed(datagram)) => datagram,
        },
    };
    if sessions.len() >= SESSIONS_MAX {
        sessions.retain(|_, session| !session.is_closed());
    }
    if sessions.len() >= SESSIONS_MAX {
        return None;
    }
    let (session, waiting) = mpsc::channel(WAITING_MAX);
    // It has room for one.
    let _ = session.try_send(datagram);
    sessions.insert(sender, session);
    Some(waiting)
}

struct Session<'a> {
    worker: &'a Worker,
    /// What the sender writes to.
    socket: &'a UdpSocket,
    sender: SocketAddr,
    waiting: mpsc::Receiver<Box<[u8]>>,
}

impl Session<'_> {
    async fn run(mut self, destination: &Destination) -> io::Result<()> {
        let entered = hold::enter(self.worker, destination, &mut Vec::new()).await;
        let entered = entered.map_err(io::Error::other)?;
        entered.call.count();
        let _open = entered.service.activity.connection();
        let endpoint_socket = self.connect(&entered, destination.port).await?;
        let ended = self.relay(&entered, destination, &endpoint_socket).await;
        entered.service.activity.touch(self.worker.now());
        ended
    }

    async fn connect(&self, entered: &Entered, port: u16) -> io::Result<UdpSocket> {
        let ambassador = self.worker.ambassador(entered.call.endpoint().instance());
        let ambassador = ambassador.ok_or(io::ErrorKind::NotFound)?;
        let socket = ambassador
            .namespace
            .datagram_socket()
            .map_err(io::Error::other)?;
        let socket = UdpSocket::from_std(StdSocket::from(socket))?;
        socket.connect((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(socket)
    }

    async fn relay(
        &mut self,
        entered: &Entered,
        destination: &Destination,
        endpoint: &UdpSocket,
    ) -> io::Result<()> {
        let mut snapshots = self.worker.snapshots.clone();
        let mut idle_until = Instant::now() + IDLE_TIMEOUT;
        // The last datagram, until the endpoint has shown that it listens.
        let mut unheard: Option<Box<[u8]>> = None;
        let mut heard = false;
        loop {
            tokio::select! {
                datagram = self.waiting.recv() => {
                    let Some(datagram) = datagram else { return Ok(()) };
                    // A refusal of an earlier one is reported here, and by recv.
                    let _ = endpoint.send(&datagram).await;
                    unheard = (!heard).then_some(datagram);
                }
                answer = receive_answer(self.worker, endpoint) => match answer {
                    Ok(answer) => {
                        (heard, unheard) = (true, None);
                        self.socket.send_to(answer.bytes(), self.sender).await?;
                    }
                    Err(error) => self.again(entered, destination, endpoint, &unheard, error).await?,
                },
                changed = snapshots.changed() => {
                    changed.map_err(io::Error::other)?;
                    if !is_current(entered, destination, &snapshots.borrow_and_update()) {
                        return Ok(());
                    }
                    continue;
                }
                () = sleep_until(idle_until) => return Ok(()),
                () = self.worker.draining.cancelled() => return Ok(()),
            }
            idle_until = Instant::now() + IDLE_TIMEOUT;
        }
    }

    /// Sends the last datagram again, if the port was refused because it is not bound yet.
    async fn again(
        &self,
        entered: &Entered,
        destination: &Destination,
        endpoint: &UdpSocket,
        unheard: &Option<Box<[u8]>>,
        error: io::Error,
    ) -> io::Result<()> {
        let ambassador = self.worker.ambassador(entered.call.endpoint().instance());
        let starting = ambassador.is_some_and(|a| a.may_yet_bind());
        match unheard {
            Some(datagram) if error.kind() == io::ErrorKind::ConnectionRefused && starting => {
                sleep(BIND_PAUSE).await;
                let _ = endpoint.send(datagram).await;
                Ok(())
            }
            Some(_) | None => {
                debug!(%destination, %error, "a datagram was refused");
                Ok(())
            }
        }
    }
}

/// The next answer, or that a datagram was refused. No buffer is held while there is none.
async fn receive_answer(worker: &Worker, endpoint: &UdpSocket) -> io::Result<Buffer> {
    loop {
        let ready = endpoint
            .ready(Interest::READABLE.add(Interest::ERROR))
            .await?;
        if ready.is_error() {
            let error = endpoint.take_error()?;
            // Makes the runtime forget the error that was taken.
            let forget = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = endpoint.try_io(Interest::ERROR, forget);
            if let Some(error) = error {
                return Err(error);
            }
        }
        let mut buffer = worker.buffers.take();
        buffer.vec().reserve(DATAGRAM_BYTES_MAX);
        match endpoint.try_recv_buf(buffer.vec()) {
            Ok(_) => return Ok(buffer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the endpoint that a session has entered is still there.
fn is_current(entered: &Entered, destination: &Destination, snapshot: &traffic::Snapshot) -> bool {
    let service = snapshot.service(&destination.app, &destination.service);
    service.is_some_and(|service| {
        service
            .endpoints
            .iter()
            .any(|endpoint| Arc::ptr_eq(endpoint, entered.call.endpoint()))
    })
}
