//! The keeper: a single-threaded process that holds the instances.
//!
//! It is their parent, reads their output into their logs, and holds their ambassadors' sockets, so
//! that a daemon may end, crash or be replaced without an instance noticing. It speaks with the
//! daemon over a unix socket ([`protocol`]) and decides nothing: it starts what it is told to start
//! and says what ended. It is forked before the daemon has threads, because cloning with
//! namespaces is safe from a process with one thread only; hence one loop over epoll, no runtime.
//!
//! **Invariant:** nothing here waits for a daemon or for an instance. What a daemon does not take
//! is bounded: events are dropped, which it is told as a gap, and then its connection is closed.
//!
//! When the keeper ends, every instance does (`PR_SET_PDEATHSIG` on their first processes).

pub(crate) mod channel;
mod commands;
mod connection;
mod exec;
mod fdstore;
mod freezing;
mod instances;
mod machine;
pub(crate) mod protocol;
mod spares;
mod spawn;
mod sweep;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use model::Moment;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use self::connection::Connection;
use self::exec::Command;
use self::fdstore::Deposits;
use self::instances::Instance;
use self::machine::Machine;
use self::protocol::{Answer, FromKeeper};
use self::spares::Spares;
use crate::clock;
use crate::failure::{Attempt, Failure};

/// How often what is to freeze is looked at.
const TICK: Duration = Duration::from_millis(1);
/// How long a keeper without an instance waits for a daemon: the one that made it, or, where it
/// holds listeners, the next one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything there is.
#[derive(Debug)]
pub(crate) struct Keeper {
    machine: Machine,
    epoll: OwnedFd,
    listener: OwnedFd,
    connections: BTreeMap<u64, Connection>,
    /// By name, `APP/SERVICE/NUMBER`.
    instances: BTreeMap<String, Instance>,
    names: BTreeMap<u64, String>,
    spares: Spares,
    commands: BTreeMap<u64, RunningCommand>,
    /// Children that delete what nobody needs any more.
    sweepers: BTreeMap<u64, OwnedFd>,
    deposits: Deposits,
    next_key: u64,
    life: Life,
    /// Since when no daemon is connected, if none is.
    alone_since: Moment,
}

/// How far the keeper is with its own life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Nobody has connected yet.
    New,
    Used,
    /// It was told to end.
    Leaving,
}

/// Whom an answer goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    connection: u64,
    request: u64,
}

/// A command in an instance, for the connection that asked for it.
#[derive(Debug)]
struct RunningCommand {
    command: Command,
    connection: u64,
    /// Taken when it has started.
    ticket: Option<Ticket>,
}

/// What an epoll event is about: the kind in the lowest bits, the key of its thing above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Listener,
    Connection,
    Channel,
    Status,
    Pidfd,
    Output,
    Error,
    CommandStatus,
    CommandPidfd,
    Sweeper,
}

impl Source {
    const ALL: [Self; 10] = [
        Self::Listener,
        Self::Connection,
        Self::Channel,
        Self::Status,
        Self::Pidfd,
        Self::Output,
        Self::Error,
        Self::CommandStatus,
        Self::CommandPidfd,
        Self::Sweeper,
    ];
    const BITS: u32 = 4;

    fn token(self, key: u64) -> EventData {
        EventData::new_u64(key << Self::BITS | self as u64)
    }

    fn of(token: EventData) -> Option<(Self, u64)> {
        let token = token.u64();
        let kind = usize::try_from(token & ((1 << Self::BITS) - 1)).ok()?;
        Some((*Self::ALL.get(kind)?, token >> Self::BITS))
    }
}

impl Keeper {
    pub(crate) fn new(machine: Machine, listener: OwnedFd) -> Result<Self, Failure> {
        let what = || "cannot make the keeper's loop";
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).attempt(what)?;
        epoll::add(&epoll, &listener, Source::Listener.token(0), EventFlags::IN).attempt(what)?;
        let mut keeper = Self {
            machine,
            epoll,
            listener,
            connections: BTreeMap::new(),
            instances: BTreeMap::new(),
            names: BTreeMap::new(),
            spares: Spares::default(),
            commands: BTreeMap::new(),
            sweepers: BTreeMap::new(),
            deposits: Deposits::default(),
            next_key: 1,
            life: Life::New,
            alone_since: clock::now(),
        };
        // What a keeper before this one held died with it.
        keeper.sweep_instances();
        Ok(keeper)
    }

    /// Runs until there is nothing to keep and nobody who may ask for something.
    pub(crate) fn run(&mut self) -> Result<(), Errno> {
        let mut space = [MaybeUninit::<epoll::Event>::uninit(); 64];
        while !self.is_done() {
            let timeout = self
                .timeout()
                .and_then(|timeout| Timespec::try_from(timeout).ok());
            let events: Vec<(EventData, EventFlags)> =
                match epoll::wait(&self.epoll, &mut space, timeout.as_ref()) {
                    Ok((events, _)) => events.iter().map(|e| (e.data, e.flags)).collect(),
                    Err(Errno::INTR) => Vec::new(),
                    Err(errno) => return Err(errno),
                };
            for (token, flags) in events {
                if let Some((source, key)) = Source::of(token) {
                    self.handle(source, key, flags);
                }
            }
            self.check_freezing();
            self.replenish();
        }
        self.bury_spares();
        self.machine.cgroups.leave();
        Ok(())
    }

    fn handle(&mut self, source: Source, key: u64, flags: EventFlags) {
        match source {
            Source::Listener => self.accept(),
            Source::Connection => self.handle_connection(key, flags),
            Source::Channel => self.handle_channel(key),
            Source::Status => self.handle_status(key),
            Source::Pidfd => self.handle_end(key),
            Source::Output | Source::Error => self.handle_output(source, key),
            Source::CommandStatus => self.handle_command_status(key),
            Source::CommandPidfd => self.handle_command_end(key),
            Source::Sweeper => {
                if let Some(pidfd) = self.sweepers.remove(&key) {
                    self.forget(&pidfd);
                    let _ = spawn::wait(&pidfd);
                }
            }
        }
    }

    /// How long nothing is to be done by itself.
    fn timeout(&self) -> Option<Duration> {
        let tick = self.is_freezing().then_some(TICK);
        let now = clock::now();
        let spare = self.spares.due().map(|due| due.since(now));
        let is_alone = self.connections.is_empty() && self.instances.is_empty();
        let alone = is_alone.then(|| (self.alone_since + PATIENCE).since(now));
        [tick, spare, alone].into_iter().flatten().min()
    }

    /// Instances keep the keeper, and so does a daemon that may ask; listeners for a while.
    fn is_done(&self) -> bool {
        if !self.instances.is_empty() || !self.sweepers.is_empty() {
            return false;
        }
        let is_alone = self.connections.is_empty();
        let is_patient = clock::now().since(self.alone_since) < PATIENCE;
        match self.life {
            Life::New => is_alone && !is_patient,
            Life::Used => is_alone && (self.deposits.is_empty() || !is_patient),
            Life::Leaving => self.all_sent(),
        }
    }

    fn all_sent(&self) -> bool {
        self.connections.values().all(Connection::is_all_sent)
    }

    fn key(&mut self) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        key
    }

    fn watch(&self, what: impl AsFd, source: Source, key: u64) -> Result<(), Failure> {
        epoll::add(&self.epoll, what, source.token(key), EventFlags::IN)
            .attempt(|| "cannot watch a descriptor")
    }

    fn forget(&self, what: impl AsFd) {
        // What is not watched any more need not be forgotten.
        let _ = epoll::delete(&self.epoll, what);
    }

    fn reply(&mut self, ticket: Ticket, outcome: Result<Answer, Failure>) {
        self.reply_with(ticket, outcome, Vec::new());
    }

    fn reply_with(
        &mut self,
        ticket: Ticket,
        outcome: Result<Answer, Failure>,
        descriptors: Vec<OwnedFd>,
    ) {
        let reply = FromKeeper::Reply {
            id: ticket.request,
            outcome,
        };
        if let Some(connection) = self.connections.get_mut(&ticket.connection) {
            connection.push(&reply, descriptors);
            self.flush(ticket.connection);
        }
    }

    fn reply_all(&mut self, tickets: Vec<Ticket>, outcome: impl Fn() -> Result<Answer, Failure>) {
        for ticket in tickets {
            self.reply(ticket, outcome());
        }
    }

    /// Tells every daemon.
    fn announce(&mut self, event: &FromKeeper) {
        let keys: Vec<u64> = self.connections.keys().copied().collect();
        for key in keys {
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.announce(event);
                self.flush(key);
            }
        }
    }
}

/// Serves until there is nothing to keep. What keeps it from starting is told to the first who
/// connects.
pub(crate) fn serve(home: crate::Home, listener: OwnedFd, starter: u32) {
    let made = listener
        .try_clone()
        .attempt(|| "cannot start the keeper")
        .and_then(|copy| Ok((Machine::prepare(home, starter)?, copy)))
        .and_then(|(machine, copy)| Keeper::new(machine, copy));
    match made {
        Ok(mut keeper) => {
            drop(listener);
            if let Err(errno) = keeper.run() {
                eprintln!("the keeper ends: {errno}");
            }
        }
        Err(failure) => connection::refuse(&listener, failure),
    }
}
