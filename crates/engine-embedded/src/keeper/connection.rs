//! The daemons' connections: taking requests from them and keeping what they have not yet taken.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt::socket_peercred;

use super::protocol::{Call, FromKeeper, Request, VERSION};
use super::wire::{Inbox, Outbox, Received, WireError};
use super::{Keeper, Life, PATIENCE, Source, Ticket};
use crate::clock;
use crate::failure::Failure;

/// Events beyond this many waiting bytes are dropped, and a gap is told.
const EVENT_BYTES_MAX: usize = 256 << 10;
/// A daemon that leaves more than this unread has stopped reading.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// How many daemons may be connected: one, the next, and some that just look.
const CONNECTIONS_MAX: usize = 16;

/// One daemon.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    greeting: Greeting,
    has_gap: bool,
    is_broken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    Awaited,
    Done,
}

impl Connection {
    /// Adds a reply.
    pub(super) fn push(&mut self, message: &FromKeeper, descriptors: Vec<OwnedFd>) {
        let pushed = self.outbox.push(message, descriptors);
        self.is_broken |= pushed.is_err() || self.outbox.len() > WAITING_BYTES_MAX;
    }

    /// Adds an event, or remembers that it did not.
    pub(super) fn announce(&mut self, event: &FromKeeper) {
        if self.greeting == Greeting::Awaited {
            return;
        }
        if self.outbox.len() > EVENT_BYTES_MAX {
            self.has_gap = true;
        } else {
            self.push(event, Vec::new());
        }
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.outbox.is_empty()
    }
}

impl Keeper {
    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else {
            return;
        };
        let own = rustix::process::geteuid();
        let is_ours = socket_peercred(&socket).is_ok_and(|peer| peer.uid == own);
        if !is_ours || self.connections.len() >= CONNECTIONS_MAX {
            eprintln!("refused a connection");
            return;
        }
        if self.life == Life::New {
            self.life = Life::Used;
        }
        let key = self.key();
        if self.watch(&socket, Source::Connection, key).is_ok() {
            let connection = Connection {
                socket,
                inbox: Inbox::default(),
                outbox: Outbox::default(),
                greeting: Greeting::Awaited,
                has_gap: false,
                is_broken: false,
            };
            self.connections.insert(key, connection);
        }
    }

    pub(super) fn handle_connection(&mut self, key: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush(key);
        }
        let readable = EventFlags::IN | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(readable)
            && let Err(why) = self.take_requests(key)
        {
            if let Some(error) = why {
                eprintln!("closed a connection: {error}");
            }
            self.close(key);
        }
    }

    /// Takes one piece and every request that it completes. An error closes the connection.
    fn take_requests(&mut self, key: u64) -> Result<(), Option<WireError>> {
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        match connection.inbox.receive(&connection.socket) {
            Ok(Received::More) => {}
            Ok(Received::Closed) => return Err(None),
            Err(WireError::Receive(Errno::AGAIN | Errno::INTR)) => return Ok(()),
            Err(error) => return Err(Some(error)),
        }
        while let Some(connection) = self.connections.get_mut(&key) {
            let taken = connection.inbox.take::<Request>();
            let Some((request, descriptors)) = taken.map_err(Some)? else {
                break;
            };
            let ticket = Ticket {
                connection: key,
                request: request.id,
            };
            let greeting = connection.greeting;
            match (&request.call, greeting) {
                (Call::Hello { version }, _) if *version == VERSION => {
                    connection.greeting = Greeting::Done;
                }
                (Call::Hello { .. }, _) | (_, Greeting::Awaited) => {
                    let why = format!("this keeper speaks version {VERSION} of its protocol");
                    let failure = Failure::forbidden(
                        "cannot talk to the keeper",
                        why,
                        "take the apps down with the release of roads that started them",
                    );
                    self.reply(ticket, Err(failure));
                    continue;
                }
                (_, Greeting::Done) => {}
            }
            self.carry_out(ticket, request.call, descriptors);
        }
        Ok(())
    }

    /// Sends what the socket takes, and asks to be told when it takes more.
    pub(super) fn flush(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.has_gap && connection.outbox.len() < EVENT_BYTES_MAX / 2 {
            connection.has_gap = false;
            connection.push(&FromKeeper::Gap, Vec::new());
        }
        let wanted = match connection.outbox.send(&connection.socket) {
            Ok(()) => EventFlags::IN,
            Err(Errno::AGAIN | Errno::INTR) => EventFlags::IN | EventFlags::OUT,
            Err(_) => {
                connection.is_broken = true;
                EventFlags::IN
            }
        };
        let token = Source::Connection.token(key);
        let asked = epoll::modify(&self.epoll, connection.socket.as_fd(), token, wanted);
        if connection.is_broken || asked.is_err() {
            self.close(key);
        }
    }

    /// Lets a daemon go; its commands are killed, the instances stay.
    fn close(&mut self, key: u64) {
        if let Some(connection) = self.connections.remove(&key) {
            self.forget(&connection.socket);
            self.alone_since = clock::now();
        }
        self.end_commands_of(key);
    }
}

/// Answers the first request of the first who connects with a failure.
pub(super) fn refuse(listener: &OwnedFd, failure: Failure) {
    eprintln!("the keeper cannot start: {failure:?}");
    let patience = Timespec::try_from(PATIENCE).ok();
    let mut connecting = [PollFd::new(listener, PollFlags::IN)];
    // Whoever made this keeper may have been killed since.
    if !matches!(poll(&mut connecting, patience.as_ref()), Ok(1..)) {
        return;
    }
    let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) else {
        return;
    };
    let mut outbox = Outbox::default();
    let reply = FromKeeper::Reply {
        id: 0,
        outcome: Err(failure),
    };
    if outbox.push(&reply, Vec::new()).is_ok() {
        let _ = outbox.send(&socket);
    }
}
