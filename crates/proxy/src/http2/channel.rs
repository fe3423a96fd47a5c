//! Connections to endpoints that calls share, kept by each worker for its own calls.
//!
//! ```text
//! slot wanted ─┬─ a channel has room ──► slot
//!              ├─ the endpoint was heard to speak no HTTP/2 ──► none
//!              ├─ a channel is being opened, and promises room ──► wait ──► look again, or its failure
//!              └─ otherwise ──► open one: connect, our preface, the endpoint's greeting ──► slot
//! ```
//! A channel goes with the last slot in it once the pool has let it go: when it is stale, has ended,
//! or its endpoint has left the snapshot.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ::bytes::Bytes;
use ::http::Request;
use h2::SendStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use model::InstanceId;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use traffic::Snapshot;

use super::wire::{Greeting, Heard, Wire};
use super::{HEAD_BYTES_MAX, STREAM_WINDOW_BYTES};
use crate::dial::{CONNECT_TIMEOUT, Failure, NotDialled, connect};
use crate::hold::Entered;
use crate::worker::{Destination, Worker};

/// How many calls share a connection at most, whatever the endpoint allows.
const CALLS_MAX: usize = 100;

/// How long a channel may be without a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often stale channels are looked for, while there is any.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// What the calls of one channel may have in flight to us together: enough that a caller who does not
/// read its answer holds up no other.
const WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * CALLS_MAX as u32;

/// The channels of one worker.
#[derive(Default)]
pub(crate) struct Channels {
    shelves: RefCell<HashMap<InstanceId, Vec<Shelf>>>,
    drivers: RefCell<JoinSet<()>>,
    opened: Notify,
}

/// What leads to one port of one instance.
struct Shelf {
    port: u16,
    channels: Vec<Rc<Channel>>,
    opening: Option<Rc<Opening>>,
    /// What the endpoint was heard to say.
    heard: Option<Heard>,
}

struct Channel {
    send: RefCell<SendRequest<Bytes>>,
    calls: Cell<usize>,
    since: Cell<Instant>,
    ended: Rc<Cell<bool>>,
}

/// A channel that is being opened, and the calls that wait for it.
#[derive(Default)]
struct Opening {
    waiting: Cell<usize>,
    /// Nothing until it has ended one way or the other; then why it failed.
    outcome: RefCell<Option<Result<(), Shared>>>,
    ended: Notify,
}

/// A failure that several calls share.
#[derive(Clone)]
enum Shared {
    Dead(io::ErrorKind, String),
    Final(NotDialled),
    /// The call that opened it was given up.
    Abandoned,
}

/// A place for one call on a channel.
pub(crate) struct Slot {
    channel: Rc<Channel>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} calls)", self.channel.calls.get())
    }
}

impl Slot {
    fn on(channel: &Rc<Channel>) -> Self {
        channel.calls.set(channel.calls.get() + 1);
        Self {
            channel: Rc::clone(channel),
        }
    }

    /// Begins the call.
    pub(crate) fn send(
        &self,
        request: Request<()>,
        body: Body,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut send = self.channel.send.borrow_mut();
        send.send_request(request, body == Body::None)
    }

    /// Whether the endpoint takes CONNECT with a `:protocol` (RFC 8441).
    pub(super) fn takes_extended_connect(&self) -> bool {
        self.channel
            .send
            .borrow()
            .is_extended_connect_protocol_enabled()
    }
}

/// Whether anything follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Some,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.channel.calls.set(self.channel.calls.get() - 1);
        self.channel.since.set(Instant::now());
    }
}

impl Channel {
    /// A place on it, if there is one at this moment.
    async fn slot(self: Rc<Self>) -> Option<Slot> {
        let room = self.send.borrow().current_max_send_streams().min(CALLS_MAX);
        if self.ended.get() || self.calls.get() >= room {
            return None;
        }
        let ready = poll_fn(|context| match self.send.borrow_mut().poll_ready(context) {
            Poll::Ready(Ok(())) => Poll::Ready(true),
            // Either it has ended, or the last call waits for the endpoint to allow it.
            Poll::Ready(Err(_)) => {
                self.ended.set(true);
                Poll::Ready(false)
            }
            Poll::Pending => Poll::Ready(false),
        });
        ready.await.then(|| Slot::on(&self))
    }
}

/// What a call for which no channel has room is to do.
enum Next {
    Wait(Rc<Opening>),
    Open(Rc<Opening>),
}

impl Channels {
    /// A place on a channel to a port of an endpoint; none if the endpoint speaks no HTTP/2.
    pub(crate) async fn slot(
        &self,
        worker: &Worker,
        destination: &Destination,
        entered: &Entered,
    ) -> Result<Option<Slot>, Failure> {
        let instance = entered.call.endpoint().instance();
        let port = destination.port;
        if let Some(slot) = self.slot_at_once(instance, port).await {
            return Ok(Some(slot));
        }
        loop {
            let Some(channels) = self.live(instance, port) else {
                return Ok(None);
            };
            for channel in channels {
                if let Some(slot) = channel.slot().await {
                    return Ok(Some(slot));
                }
            }
            match self.next(instance, port) {
                Next::Open(opening) => {
                    return self.open(worker, destination, entered, opening).await;
                }
                Next::Wait(opening) => opening.wait().await?,
            }
        }
    }

    /// The common case: the newest channel has room.
    async fn slot_at_once(&self, instance: &InstanceId, port: u16) -> Option<Slot> {
        let newest = {
            let shelves = self.shelves.borrow();
            let shelf = shelves
                .get(instance)?
                .iter()
                .find(|shelf| shelf.port == port)?;
            Rc::clone(shelf.channels.last()?)
        };
        newest.slot().await
    }

    /// The channels that have not ended; none if the endpoint speaks no HTTP/2.
    fn live(&self, instance: &InstanceId, port: u16) -> Option<Vec<Rc<Channel>>> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelf(&mut shelves, instance, port);
        shelf.channels.retain(|channel| !channel.ended.get());
        (shelf.heard != Some(Heard::Other)).then(|| shelf.channels.clone())
    }

    fn next(&self, instance: &InstanceId, port: u16) -> Next {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelf(&mut shelves, instance, port);
        match &shelf.opening {
            Some(opening) if opening.waiting.get() < CALLS_MAX => Next::Wait(Rc::clone(opening)),
            Some(_) | None => {
                let opening = Rc::<Opening>::default();
                shelf.opening = Some(Rc::clone(&opening));
                Next::Open(opening)
            }
        }
    }

    /// Opens a channel, and tells those who wait how that went.
    async fn open(
        &self,
        worker: &Worker,
        destination: &Destination,
        entered: &Entered,
        opening: Rc<Opening>,
    ) -> Result<Option<Slot>, Failure> {
        let instance = entered.call.endpoint().instance();
        let port = destination.port;
        // Tells them even when this call is given up.
        let telling = Telling {
            channels: self,
            instance,
            port,
            opening,
        };
        let outcome = self.greet(worker, destination, entered).await;
        telling.opening.outcome.replace(Some(match &outcome {
            Ok(_) => Ok(()),
            Err(Failure::Dead(error)) => Err(Shared::Dead(error.kind(), error.to_string())),
            Err(Failure::Final(why)) => Err(Shared::Final(why.clone())),
        }));
        let channel = match outcome? {
            Some(channel) if entered.call.endpoint().is_open() => channel,
            // It drains: the channel serves this call alone.
            Some(channel) => return Ok(Some(Slot::on(&channel))),
            None => {
                let mut shelves = self.shelves.borrow_mut();
                shelf(&mut shelves, instance, port).heard = Some(Heard::Other);
                return Ok(None);
            }
        };
        let slot = Slot::on(&channel);
        let mut shelves = self.shelves.borrow_mut();
        shelf(&mut shelves, instance, port).channels.push(channel);
        self.opened.notify_one();
        Ok(Some(slot))
    }

    /// Connects, and waits for the endpoint's greeting; none if it is not HTTP/2's.
    async fn greet(
        &self,
        worker: &Worker,
        destination: &Destination,
        entered: &Entered,
    ) -> Result<Option<Rc<Channel>>, Failure> {
        let stream = connect(worker, entered, destination).await?;
        let greeting = Rc::<Greeting>::default();
        let wire = Wire::of_endpoint(stream, Rc::clone(&greeting));
        let handshake = builder().handshake(wire).await;
        let (send, connection) =
            handshake.map_err(|error| Failure::Dead(io::Error::other(error)))?;
        let ended = Rc::new(Cell::new(false));
        self.drive(connection, Rc::clone(&ended), Rc::clone(&greeting));
        let port = destination.port;
        match timeout(CONNECT_TIMEOUT, greeting.heard()).await {
            Ok(Heard::Http2) => Ok(Some(Rc::new(Channel {
                send: RefCell::new(send),
                calls: Cell::new(0),
                since: Cell::new(Instant::now()),
                ended,
            }))),
            Ok(Heard::Other) => Ok(None),
            Ok(Heard::Nothing) => Err(Failure::Dead(io::ErrorKind::UnexpectedEof.into())),
            Err(_elapsed) => {
                let instance = entered.call.endpoint().instance().short();
                Err(Failure::Final(NotDialled::Timeout { instance, port }))
            }
        }
    }

    /// Reads and writes a channel's frames until it ends.
    fn drive(
        &self,
        connection: Connection<Wire, Bytes>,
        ended: Rc<Cell<bool>>,
        greeting: Rc<Greeting>,
    ) {
        let mut drivers = self.drivers.borrow_mut();
        while drivers.try_join_next().is_some() {}
        drivers.spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a channel to an endpoint broke");
            }
            ended.set(true);
            greeting.tell(Heard::Nothing);
        });
    }

    /// Lets the channels to instances go that are no endpoint in `snapshot`.
    pub(crate) fn retain_endpoints_of(&self, snapshot: &Snapshot) {
        self.shelves.borrow_mut().retain(|instance, _| {
            let service = snapshot.service(&instance.app, &instance.service);
            service.is_some_and(|service| service.has(instance))
        });
    }

    /// Lets go what has ended, or was idle for too long.
    pub(crate) fn drop_stale(&self) {
        let mut shelves = self.shelves.borrow_mut();
        for shelf in shelves.values_mut().flatten() {
            shelf.channels.retain(|channel| {
                let idle =
                    channel.calls.get() == 0 && channel.since.get().elapsed() >= IDLE_TIMEOUT;
                !idle && !channel.ended.get()
            });
        }
    }

    /// Done when it is time to look for stale channels.
    pub(crate) async fn until_stale(&self) {
        while self.is_empty() {
            self.opened.notified().await;
        }
        sleep(SWEEP_PERIOD).await;
    }

    fn is_empty(&self) -> bool {
        let shelves = self.shelves.borrow();
        let mut shelves = shelves.values().flatten();
        shelves.all(|shelf| shelf.channels.is_empty())
    }
}

fn shelf<'s>(
    shelves: &'s mut HashMap<InstanceId, Vec<Shelf>>,
    instance: &InstanceId,
    port: u16,
) -> &'s mut Shelf {
    let of_instance = match shelves.contains_key(instance) {
        true => shelves.get_mut(instance).expect("it was found"),
        false => shelves.entry(instance.clone()).or_default(),
    };
    let at = of_instance.iter().position(|shelf| shelf.port == port);
    let at = at.unwrap_or_else(|| {
        of_instance.push(Shelf {
            port,
            channels: Vec::new(),
            opening: None,
            heard: None,
        });
        of_instance.len() - 1
    });
    &mut of_instance[at]
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buffer_size(STREAM_WINDOW_BYTES as usize);
    builder
}

impl Opening {
    /// Waits until it has ended.
    async fn wait(&self) -> Result<(), Failure> {
        self.waiting.set(self.waiting.get() + 1);
        let ended = self.ended.notified();
        if self.outcome.borrow().is_none() {
            ended.await;
        }
        match &*self.outcome.borrow() {
            Some(Err(Shared::Dead(kind, words))) => {
                Err(Failure::Dead(io::Error::new(*kind, words.clone())))
            }
            Some(Err(Shared::Final(why))) => Err(Failure::Final(why.clone())),
            Some(Ok(()) | Err(Shared::Abandoned)) | None => Ok(()),
        }
    }
}

/// Wakes the calls that wait for an opening when it has ended.
struct Telling<'a> {
    channels: &'a Channels,
    instance: &'a InstanceId,
    port: u16,
    opening: Rc<Opening>,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let mut shelves = self.channels.shelves.borrow_mut();
        let shelf = shelf(&mut shelves, self.instance, self.port);
        shelf
            .opening
            .take_if(|opening| Rc::ptr_eq(opening, &self.opening));
        let mut outcome = self.opening.outcome.borrow_mut();
        outcome.get_or_insert(Err(Shared::Abandoned));
        self.opening.ended.notify_waiters();
    }
}
