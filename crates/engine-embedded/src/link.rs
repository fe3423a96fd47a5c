//! The daemon's end of the connection to the keeper: one task that owns the socket.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;
use crate::keeper::protocol::{Answer, Call, FromKeeper, Request, Status};
use crate::keeper::wire::{Inbox, Outbox, Received, WireError};

/// How many requests may wait for the task.
const REQUESTS_MAX: usize = 256;
/// How many events may wait to be taken; beyond it a gap is told.
const EVENTS_MAX: usize = 1024;

/// An answer and the descriptors that came with it.
pub(crate) type Answered = Result<(Answer, Vec<OwnedFd>), Failure>;

/// A request on its way.
#[derive(Debug)]
struct Asking {
    call: Call,
    descriptors: Vec<OwnedFd>,
    answer: oneshot::Sender<Asked>,
}

/// What a caller gets: the answer, and for a command also how it ended, later.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) answered: Answered,
    pub(crate) ended: Option<oneshot::Receiver<Status>>,
}

/// What the keeper says by itself.
#[derive(Debug)]
pub(crate) enum News {
    Exited { instance: String, status: Status },
    Gap,
    Lost(String),
}

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    requests: mpsc::Sender<Asking>,
}

/// The task is gone, and so is the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Link {
    /// The link and the task that serves it, to be spawned; news come by the receiver.
    pub(crate) fn new(
        socket: UnixStream,
        inbox: Inbox,
    ) -> io::Result<(Self, mpsc::Receiver<News>, impl Future<Output = ()> + Send)> {
        socket.set_nonblocking(true)?;
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let (news, taken) = mpsc::channel(EVENTS_MAX);
        // SAFETY: it owns the socket, which nobody else closes while it lives.
        let socket = unsafe { AsyncFd::register(socket) }?;
        let task = Task {
            socket,
            inbox,
            outbox: Outbox::default(),
            waiting: BTreeMap::new(),
            commands: BTreeMap::new(),
            next_id: 1,
            news,
            has_gap: false,
        };
        Ok((Self { requests }, taken, task.run(asked)))
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, call: Call, descriptors: Vec<OwnedFd>) -> Result<Asked, Gone> {
        let (answer, answered) = oneshot::channel();
        let asking = Asking {
            call,
            descriptors,
            answer,
        };
        self.requests.send(asking).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Asks for something that nobody waits for; dropped when too much waits already.
    pub(crate) fn tell(&self, call: Call) {
        let (answer, _) = oneshot::channel();
        // A link that is gone or full means a keeper that ends or cannot be told in time; what is
        // told this way ends with the connection, too.
        let _ = self.requests.try_send(Asking {
            call,
            descriptors: Vec::new(),
            answer,
        });
    }
}

struct Task {
    socket: AsyncFd<UnixStream>,
    inbox: Inbox,
    outbox: Outbox,
    waiting: BTreeMap<u64, oneshot::Sender<Asked>>,
    commands: BTreeMap<u64, oneshot::Sender<Status>>,
    next_id: u64,
    news: mpsc::Sender<News>,
    has_gap: bool,
}

impl Task {
    /// Ends when nobody can ask any more, or the keeper is gone.
    async fn run(mut self, mut asked: mpsc::Receiver<Asking>) {
        // What came with the greeting is here already, and the socket will not say so.
        let mut moved = self.move_on();
        let why = loop {
            if let Err(why) = moved {
                break why;
            }
            tokio::select! {
                asking = asked.recv() => match asking {
                    Some(asking) => self.begin(asking),
                    None => return,
                },
                readable = self.socket.readable() => match readable {
                    Ok(mut guard) => {
                        let received = self.inbox.receive(guard.get_inner());
                        match received {
                            Ok(Received::More) => {}
                            Ok(Received::Closed) => break "it has ended".to_owned(),
                            Err(WireError::Receive(Errno::AGAIN)) => guard.clear_ready(),
                            Err(WireError::Receive(Errno::INTR)) => {}
                            Err(error) => break error.to_string(),
                        }
                    }
                    Err(error) => break error.to_string(),
                },
                writable = writable(&self.socket, &self.outbox) => match writable {
                    Ok(()) => {}
                    Err(error) => break error.to_string(),
                },
            }
            moved = self.move_on();
        };
        // Whoever waits for an answer, or to ask, learns it by the dropped sender and receiver; the
        // news below may have to wait.
        drop(asked);
        self.waiting.clear();
        self.commands.clear();
        let _ = self.news.send(News::Lost(why)).await;
    }

    fn begin(&mut self, asking: Asking) {
        let id = self.next_id;
        self.next_id += 1;
        match self.outbox.push(
            Request {
                id,
                call: asking.call,
            },
            asking.descriptors,
        ) {
            Ok(()) => {
                self.waiting.insert(id, asking.answer);
            }
            Err(error) => {
                let answered = Err(Failure::failed("cannot ask the keeper", error));
                let _ = asking.answer.send(Asked {
                    answered,
                    ended: None,
                });
            }
        }
    }

    /// Handles what was received and sends what it can.
    fn move_on(&mut self) -> Result<(), String> {
        while let Some((message, descriptors)) = self
            .inbox
            .take::<FromKeeper>()
            .map_err(|error| error.to_string())?
        {
            self.handle(message, descriptors);
        }
        if self.has_gap && self.news.try_send(News::Gap).is_ok() {
            self.has_gap = false;
        }
        match self.outbox.send(self.socket.get_ref()) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.to_string()),
        }
    }

    fn handle(&mut self, message: FromKeeper, descriptors: Vec<OwnedFd>) {
        match message {
            FromKeeper::Reply { id, outcome } => {
                let Some(answer) = self.waiting.remove(&id) else {
                    return;
                };
                let mut ended = None;
                if let Ok(Answer::Execution { exec }) = &outcome {
                    let (sender, receiver) = oneshot::channel();
                    self.commands.insert(*exec, sender);
                    ended = Some(receiver);
                }
                let answered = outcome.map(|answer| (answer, descriptors));
                // A caller that has gone away wants nothing.
                let _ = answer.send(Asked { answered, ended });
            }
            FromKeeper::ExecEnded { exec, status } => {
                if let Some(ended) = self.commands.remove(&exec) {
                    let _ = ended.send(status);
                }
            }
            FromKeeper::Exited { instance, status } => {
                let event = News::Exited { instance, status };
                self.has_gap |= self.news.try_send(event).is_err();
            }
            FromKeeper::Gap => self.has_gap = true,
        }
    }
}

/// Done when there is something to send and the socket takes it.
async fn writable(socket: &AsyncFd<UnixStream>, outbox: &Outbox) -> io::Result<()> {
    if outbox.is_empty() {
        return pending().await;
    }
    let mut guard = socket.writable().await?;
    // Tried right after; a socket that takes nothing then says so again.
    guard.clear_ready();
    Ok(())
}
