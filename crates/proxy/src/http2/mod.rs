//! HTTP/2 with prior knowledge: one caller's connection, its calls at the same time, each to an
//! endpoint of its own.
//!
//! ```text
//! caller ─ HTTP/2 ─► serve ─► Call ─┬─► exchange ──► channel ─ HTTP/2 ─► endpoint
//!                                   └─► to_http1 ──► connection ─ HTTP/1.1 ─► endpoint
//! caller ─ HTTP/1.1 ─► http ─► over_http2 ──► channel ─ HTTP/2 ─► endpoint
//! ```
//! The `h2` crate reads and writes frames, and keeps a hostile peer within the bounds below. A body's
//! bytes are given back to their sender's window only when the receiver's had room for them, so that a
//! slow reader is felt by its own writer and by nobody else.

mod call;
mod channel;
mod exchange;
pub(crate) mod head;
mod refusal;
mod to_http1;
mod upload;
mod websocket;
mod wire;

use std::pin::pin;
use std::time::Duration;

use ::bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use h2::server::{Builder, Connection};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

pub(crate) use channel::{Body, Channels, Slot};
pub(crate) use exchange::Failure;
pub(crate) use to_http1::last_chunk;
pub(crate) use upload::{Last, Piece, piece, send};
pub(crate) use wire::{GREETING_BYTES, greets};

use crate::connection::Caller;
use crate::http::{IDLE_TIMEOUT, Opening, Route};
use crate::watchdog::Watchdog;
use crate::worker::Worker;
use call::{Call, Ended};
use wire::Wire;

/// What a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// HTTP/1.0 or HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// The names and values of one head together, as RFC 9113 §6.5.2 counts them.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// What one body may have in flight to us.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// What a caller's bodies may have in flight to us together.
const CALLER_WINDOW_BYTES: u32 = 1024 * 1024;

/// How many calls a caller may have on one connection.
const CALLS_MAX: u32 = 128;

/// How long the preface may take.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a caller may take to take note of our farewell.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many more calls a caller may give up than it lets be answered: each has made us call an
/// endpoint in vain ("rapid reset", CVE-2023-44487).
const ABANDONED_MAX: u32 = 200;

/// Serves calls until the connection ends.
pub(crate) async fn serve(
    worker: &Worker,
    client: TcpStream,
    route: &Route,
    caller: Caller,
    opening: Opening,
) {
    let wire = Wire::of_caller(client, opening.first);
    let connection = match timeout(PREFACE_TIMEOUT, builder().handshake(wire)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%error, "a connection of HTTP/2 did not begin"),
        Err(_elapsed) => return debug!("the preface of HTTP/2 did not arrive in time"),
    };
    let mut prepared = opening.dialled;
    let session = Session {
        worker,
        connection,
        abandoned: 0,
        stage: Stage::Open,
    };
    let run = session.run(|request, respond| {
        Call::new(worker, caller, route, request, respond).run(prepared.take())
    });
    run.await;
}

fn builder() -> Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_streams(CALLS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CALLER_WINDOW_BYTES)
        .max_send_buffer_size(STREAM_WINDOW_BYTES as usize)
        .enable_connect_protocol();
    builder
}

/// One caller's connection.
struct Session<'w> {
    worker: &'w Worker,
    connection: Connection<Wire, Bytes>,
    abandoned: u32,
    stage: Stage,
}

/// Whether a connection takes new calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The caller was told to go elsewhere.
    Ending,
}

impl Session<'_> {
    async fn run<F: Future<Output = Ended>>(
        mut self,
        mut call: impl FnMut(::http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) -> F,
    ) {
        let mut calls = FuturesUnordered::new();
        let mut draining = pin!(self.worker.draining.cancelled());
        let mut watchdog = Watchdog::new(IDLE_TIMEOUT);
        loop {
            tokio::select! {
                biased;
                accepted = self.connection.accept() => match accepted {
                    Some(Ok((request, respond))) => calls.push(call(request, respond)),
                    Some(Err(error)) => return debug!(%error, "a connection of HTTP/2 broke"),
                    None => return,
                },
                Some(ended) = calls.next(), if !calls.is_empty() => {
                    self.take_note(ended);
                    watchdog.set(IDLE_TIMEOUT);
                }
                () = &mut draining, if self.stage == Stage::Open => self.end(),
                () = watchdog.bark(), if calls.is_empty() => match self.stage {
                    Stage::Open => {
                        self.end();
                        watchdog.set(FAREWELL);
                    }
                    Stage::Ending => return,
                },
            }
        }
    }

    fn end(&mut self) {
        self.stage = Stage::Ending;
        self.connection.graceful_shutdown();
    }

    fn take_note(&mut self, ended: Ended) {
        match ended {
            Ended::Answered => self.abandoned = self.abandoned.saturating_sub(1),
            Ended::Abandoned => self.abandoned += 1,
        }
        if self.abandoned > ABANDONED_MAX {
            debug!("a caller gives up one call after another");
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
    }
}
