//! What a caller has sent and nobody has used, and the heads that it begins with.

use std::time::Duration;

use http1::request::{self, RequestHead};
use http1::{Parsed, Reject, Sniff, may_be_complete, sniff};
use tokio::net::TcpStream;

use crate::buffer::Buffer;
use crate::watchdog::Watchdog;
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
            watchdog: Watchdog::new(IDLE_TIMEOUT),
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

    /// Whether what was rejected as HTTP/1.1 begins as the preface of HTTP/2 does.
    pub(super) fn shows_http2(&self) -> bool {
        match sniff(self.bytes()) {
            Sniff::Http2 | Sniff::More => true,
            Sniff::Http1 | Sniff::Neither => false,
        }
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
                    Err(reject) => {
                        self.put(rest);
                        return Incoming::Rejected(reject);
                    }
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
