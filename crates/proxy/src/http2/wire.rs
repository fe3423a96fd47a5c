//! Connections as the `h2` crate reads and writes them.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::buffer::Buffer;

/// How many bytes tell whether an endpoint greets as HTTP/2 does: a frame's head (RFC 9113 §4.1).
pub(crate) const GREETING_BYTES: usize = 9;

/// Whether an endpoint's first bytes are the greeting of HTTP/2.
pub(crate) fn greets(bytes: &[u8]) -> bool {
    greeting(bytes) == Some(Heard::Http2)
}

/// A connection with an eye on what is read from it.
pub(super) struct Wire {
    stream: TcpStream,
    eye: Eye,
}

/// What is special about a connection's first bytes.
enum Eye {
    /// Nothing any more.
    Closed,
    /// They were read before.
    Before(Buffer),
    /// They tell whether HTTP/2 is spoken at all.
    OnGreeting(Rc<Greeting>, Vec<u8>),
}

/// The first that an endpoint says.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    heard: Cell<Option<Heard>>,
    told: Notify,
}

/// What an endpoint's first words were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A SETTINGS frame, as RFC 9113 §3.4 demands.
    Http2,
    /// Something else.
    Other,
    /// None: the connection has ended.
    Nothing,
}

impl Greeting {
    /// Waits for it.
    pub(super) async fn heard(&self) -> Heard {
        loop {
            if let Some(heard) = self.heard.get() {
                return heard;
            }
            self.told.notified().await;
        }
    }

    /// Says what it was; only the first word counts.
    pub(super) fn tell(&self, heard: Heard) {
        if self.heard.get().is_none() {
            self.heard.set(Some(heard));
            self.told.notify_one();
        }
    }
}

impl Wire {
    /// A caller's connection, of which the first bytes were read.
    pub(super) fn of_caller(stream: TcpStream, first: Option<Buffer>) -> Self {
        Self {
            stream,
            eye: first.map_or(Eye::Closed, Eye::Before),
        }
    }

    /// A new connection to an endpoint.
    pub(super) fn of_endpoint(stream: TcpStream, greeting: Rc<Greeting>) -> Self {
        Self {
            stream,
            eye: Eye::OnGreeting(greeting, Vec::new()),
        }
    }
}

/// What the first bytes of an endpoint are, as soon as they tell.
fn greeting(bytes: &[u8]) -> Option<Heard> {
    const SETTINGS: u8 = 4;
    let head = bytes.get(..GREETING_BYTES)?;
    let fits = head[3] == SETTINGS && head[4..] == [0; 5];
    Some(if fits { Heard::Http2 } else { Heard::Other })
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Eye::Before(first) = &mut this.eye {
            let count = first.bytes().len().min(out.remaining());
            out.put_slice(&first.bytes()[..count]);
            first.consume(count);
            if first.is_empty() {
                this.eye = Eye::Closed;
            }
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, out);
        if let Eye::OnGreeting(told, seen) = &mut this.eye {
            let new = &out.filled()[before..];
            seen.extend_from_slice(&new[..new.len().min(GREETING_BYTES)]);
            if let Some(heard) = greeting(seen) {
                told.tell(heard);
                this.eye = Eye::Closed;
            }
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_greets_with_settings_or_speaks_something_else() {
        for (bytes, heard) in [
            (&b"\0\0\x12\x04\0\0\0\0\0..."[..], Some(Heard::Http2)),
            (b"\0\0\0\x04\0\0\0\0", None),
            (b"\0\0\0\x04\x01\0\0\0\0", Some(Heard::Other)),
            (b"HTTP/1.1 400 Bad Request", Some(Heard::Other)),
        ] {
            assert_eq!(greeting(bytes), heard, "{}", bytes.escape_ascii());
        }
    }
}
