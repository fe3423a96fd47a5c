//! What a caller has sent and nobody has used, and the heads that it begins with.

use std::pin::Pin;
use std::time::Duration;

use http1::request::{self, RequestHead};
use http1::{Parsed, Reject, may_be_complete};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::buffer::Buffer;
use crate::worker::Worker;

/// How long a connection may stay without a call.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a head may take from its first byte to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The bytes of one caller that were read and not yet used.
pub(super) struct Inbox<'w> {
    worker: &'w Worker,
    /// None while empty.
    rest: Option<Buffer>,
    watchdog: Watchdog,
}

/// What came next on a connection.
pub(super) enum Incoming {
    /// A call's head.
    Head(RequestHead),
    /// Nothing: it ended, broke, was idle for too long, or we drain.
    Ended,
    /// Half a head.
    Late,
    /// No head.
    Rejected(Reject),
}

impl<'w> Inbox<'w> {
    pub(super) fn new(worker: &'w Worker, first: Option<Buffer>) -> Self {
        Self {
            worker,
            rest: first,
            watchdog: Watchdog::new(),
        }
    }

    /// The bytes that are not yet used.
    pub(super) fn bytes(&self) -> &[u8] {
        self.rest.as_ref().map_or(&[], Buffer::bytes)
    }

    /// Marks the first `count` bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        if let Some(rest) = &mut self.rest {
            rest.consume(count);
        }
        self.rest.take_if(|rest| rest.is_empty());
    }

    /// Takes bytes that were read too far.
    pub(super) fn put(&mut self, rest: Buffer) {
        self.rest = Some(rest).filter(|rest| !rest.is_empty());
    }

    /// What is not yet used.
    pub(super) fn into_rest(self) -> Option<Buffer> {
        self.rest
    }

    /// Waits for the next call.
    pub(super) async fn next_head(&mut self, client: &mut TcpStream) -> Incoming {
        let mut rest = match self.rest.take() {
            Some(rest) => rest,
            None => match self.first_bytes(client).await {
                Some(first) => first,
                None => return Incoming::Ended,
            },
        };
        let mut seen = 0;
        loop {
            if may_be_complete(rest.bytes(), seen, &self.worker.limits) {
                match request::parse(rest.bytes(), &self.worker.limits) {
                    Ok(Parsed::Head { head, length }) => {
                        rest.consume(length);
                        self.put(rest);
                        return Incoming::Head(head);
                    }
                    Ok(Parsed::Incomplete) => {}
                    Err(reject) => return Incoming::Rejected(reject),
                }
            }
            if seen == 0 {
                self.watchdog.set(HEAD_TIMEOUT);
            }
            seen = rest.bytes().len();
            tokio::select! {
                biased;
                filled = rest.fill(client) => if !matches!(filled, Ok(1..)) { return Incoming::Ended },
                () = self.watchdog.bark() => return Incoming::Late,
            }
        }
    }

    /// Waits without a buffer until the caller says something.
    async fn first_bytes(&mut self, client: &mut TcpStream) -> Option<Buffer> {
        self.watchdog.set(IDLE_TIMEOUT);
        tokio::select! {
            biased;
            read = self.worker.buffers.read(client) => read.ok().filter(|first| !first.is_empty()),
            () = self.worker.draining.cancelled() => None,
            () = self.watchdog.bark() => None,
        }
    }
}

/// A deadline that moves with every call. The timer behind it only moves when it fires too early,
/// so a busy connection costs the runtime's timers nothing.
struct Watchdog {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Watchdog {
    fn new() -> Self {
        let sleep = Box::pin(sleep(IDLE_TIMEOUT));
        Self {
            deadline: sleep.deadline(),
            sleep,
        }
    }

    fn set(&mut self, after: Duration) {
        self.deadline = Instant::now() + after;
        if self.sleep.deadline() > self.deadline {
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    /// Done at the deadline.
    async fn bark(&mut self) {
        loop {
            self.sleep.as_mut().await;
            if self.sleep.deadline() >= self.deadline {
                return;
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }
}
