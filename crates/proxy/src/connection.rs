//! One connection from a caller: which protocol it speaks, and so how it is served.
//!
//! ```text
//! Protocol::Tcp ──► an endpoint at once ──► relay
//! Protocol::Http1 ──► http
//! Protocol::Detect ─┬─ port not known to speak HTTP ──► an endpoint is dialled; who speaks first:
//!                   │      the endpoint, as HTTP/2 greets ──► http
//!                   │      the endpoint otherwise, or nobody for a while ──► relay
//!                   │      the caller, no HTTP ──► relay
//!                   │      the caller, HTTP ──► http, its first call to that endpoint if dialled
//!                   └─ port known to speak HTTP ──► the caller's first bytes:
//!                          HTTP ──► http
//!                          no HTTP ──► an endpoint ──► relay
//! ```

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use http1::request::Trust;
use http1::{Sniff, sniff};
use model::Protocol;
use rustix::net::RecvFlags;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use crate::buffer::Buffer;
use crate::dial::{Dialled, NotDialled, dial};
use crate::http::{self, Opening, Route};
use crate::http2;
use crate::pool::Reuse;
use crate::relay::{abort, relay};
use crate::worker::{Destination, Worker};

/// How long an endpoint and a caller may both be silent before we stop waiting for HTTP.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a refused caller may take to say that it speaks HTTP, so that it gets an answer.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long a caller that has ended its sending side is held on.
pub(crate) const HELD_GRACE: Duration = Duration::from_secs(1);

/// How many ports a worker remembers to speak HTTP.
const HTTP_PORTS_MAX: usize = 4096;

/// How long the rest of a caller's first line may take: in other protocols it may be waiting for
/// us by then.
const UNSURE: Duration = Duration::from_millis(500);

/// Who called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// For `X-Forwarded-For`.
    pub(crate) address: IpAddr,
    /// Whether it is believed about earlier hops.
    pub(crate) trust: Trust,
}

/// What a connection turned out to be.
enum Recognised {
    /// HTTP.
    Http(Opening),
    /// Bytes for this endpoint, which the caller may have begun to send.
    Bytes(Box<Dialled>, Option<Buffer>),
    /// Something that is refused without a word.
    Refused,
    /// Over: the caller has gone, or we drain.
    Over,
}

/// Serves a connection to a port of a service until it ends.
pub(crate) async fn serve(
    worker: &Worker,
    mut client: TcpStream,
    destination: &Destination,
    caller: Caller,
) {
    // In a box that is gone before the connection is idle.
    match Box::pin(recognise(worker, &mut client, destination)).await {
        Recognised::Http(opening) => {
            http::serve(
                worker,
                client,
                Route::To(destination.clone()),
                caller,
                opening,
            )
            .await;
        }
        Recognised::Bytes(dialled, first) => {
            dialled.entered.call.count();
            Box::pin(relay_to(worker, client, *dialled, first)).await;
        }
        Recognised::Refused => abort(client),
        Recognised::Over => {}
    }
}

async fn recognise(
    worker: &Worker,
    client: &mut TcpStream,
    destination: &Destination,
) -> Recognised {
    let Some(service) = worker.service(destination) else {
        debug!(%destination, "a call to a service that is not up");
        return Recognised::Refused;
    };
    let protocol = service.spec.protocol(destination.port);
    drop(service);
    let known = || worker.http_ports.borrow().contains(destination);
    match protocol {
        Protocol::Tcp => bytes(worker, client, destination, None).await,
        Protocol::Http1 | Protocol::Http2 => Recognised::Http(Opening::default()),
        Protocol::Detect if known() => listen_first(worker, client, destination).await,
        Protocol::Detect => dial_first(worker, client, destination).await,
    }
}

/// Done when the caller has gone: its connection was reset, or its sending side ended `grace` ago.
/// A caller may have ended that side only, and still listen; nothing tells the two apart. Needs no
/// buffer, and bytes that wait to be read do not hide the end behind them.
pub(crate) async fn gone(client: &TcpStream, grace: Duration) {
    // In tokio this interest stands for "read closed" as well, and no priority data ever comes.
    let ended = client.ready(Interest::PRIORITY.add(Interest::ERROR)).await;
    if ended.is_ok_and(|ready| !ready.is_error()) {
        // Either way it is time to give up.
        let _ = timeout(grace, client.ready(Interest::ERROR)).await;
    }
}

/// Bytes for an endpoint; `first` was read from the caller already.
async fn bytes(
    worker: &Worker,
    client: &TcpStream,
    destination: &Destination,
    first: Option<Buffer>,
) -> Recognised {
    let mut tried = Vec::new();
    tokio::select! {
        biased;
        dialled = dial(worker, destination, &mut tried, Reuse::Never) => {
            recognised_bytes(destination, dialled, first)
        }
        () = gone(client, HELD_GRACE) => gone_while_held(destination),
    }
}

fn recognised_bytes(
    destination: &Destination,
    dialled: Result<Dialled, NotDialled>,
    first: Option<Buffer>,
) -> Recognised {
    match dialled {
        Ok(dialled) => Recognised::Bytes(Box::new(dialled), first),
        Err(why) => {
            debug!(%destination, %why, "a connection was refused");
            Recognised::Refused
        }
    }
}

fn gone_while_held(destination: &Destination) -> Recognised {
    debug!(%destination, "the caller went away while it was held");
    Recognised::Over
}

/// Relays bytes between the caller and an endpoint, which stays entered and awake meanwhile.
pub(crate) async fn relay_to(
    worker: &Worker,
    client: TcpStream,
    dialled: Dialled,
    first: Option<Buffer>,
) {
    let Dialled { entered, line } = dialled;
    let mut stream = line.stream;
    let activity = &entered.service.activity;
    let _open = activity.connection();
    activity.touch(worker.now());
    let written = match &first {
        Some(first) => stream.write_all(first.bytes()).await,
        None => Ok(()),
    };
    drop(first);
    let outcome = match written {
        Ok(()) => relay(&worker.buffers, client, stream).await,
        Err(error) => {
            abort(client);
            Err(error)
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "a relayed connection broke");
    }
    activity.touch(worker.now());
}

/// The caller's first bytes decide.
async fn listen_first(
    worker: &Worker,
    client: &mut TcpStream,
    destination: &Destination,
) -> Recognised {
    let first = tokio::select! {
        first = timeout(http::IDLE_TIMEOUT, worker.buffers.read(client)) => first,
        () = worker.draining.cancelled() => return Recognised::Over,
    };
    let mut first = match first {
        Ok(Ok(first)) if !first.is_empty() => first,
        Ok(Ok(_) | Err(_)) | Err(_) => return Recognised::Over,
    };
    match read_on(client, &mut first).await {
        Ok(Speech::Http | Speech::Unsure) => Recognised::Http(Opening::with(first)),
        Ok(Speech::Other) => {
            worker.http_ports.borrow_mut().remove(destination);
            bytes(worker, client, destination, Some(first)).await
        }
        Err(_) => Recognised::Over,
    }
}

/// An endpoint is dialled at once, since it may be the one that speaks first. A caller that shows
/// HTTP meanwhile gives that up: its calls find connections by themselves.
async fn dial_first(
    worker: &Worker,
    client: &mut TcpStream,
    destination: &Destination,
) -> Recognised {
    let mut tried = Vec::new();
    let mut dialling = pin!(dial(worker, destination, &mut tried, Reuse::Never));
    let read = tokio::select! {
        biased;
        dialled = &mut dialling => {
            return match dialled {
                Ok(dialled) => hear_both(worker, client, destination, Box::new(dialled)).await,
                Err(why) => refuse(worker, client, destination, why).await,
            };
        }
        read = worker.buffers.read(client) => read,
    };
    let first = match hear(client, read).await {
        Heard::Http(first) => {
            remember_http(worker, destination);
            return Recognised::Http(Opening::with(first));
        }
        Heard::Other(first) => first,
        Heard::Over => return Recognised::Over,
    };
    tokio::select! {
        biased;
        dialled = dialling => recognised_bytes(destination, dialled, first),
        () = gone(client, HELD_GRACE) => gone_while_held(destination),
    }
}

/// Whoever speaks first decides.
async fn hear_both(
    worker: &Worker,
    client: &mut TcpStream,
    destination: &Destination,
    dialled: Box<Dialled>,
) -> Recognised {
    let read = tokio::select! {
        biased;
        read = worker.buffers.read(client) => read,
        () = speaks(&dialled.line.stream) => return answered_first(worker, destination, dialled),
        () = sleep(SILENCE) => return Recognised::Bytes(dialled, None),
    };
    match hear(client, read).await {
        Heard::Http(first) => {
            remember_http(worker, destination);
            let (first, dialled) = (Some(first), Some(Ok(dialled)));
            Recognised::Http(Opening { first, dialled })
        }
        Heard::Other(first) => Recognised::Bytes(dialled, first),
        Heard::Over => Recognised::Over,
    }
}

/// Done when an endpoint has said something, or has ended.
async fn speaks(endpoint: &TcpStream) {
    // Either way it is its turn.
    let _ = endpoint.readable().await;
}

/// An endpoint that greets as HTTP/2 does is not to be spoken to in bytes: its caller will make
/// calls, each of which is to find its own endpoint.
fn answered_first(worker: &Worker, destination: &Destination, dialled: Box<Dialled>) -> Recognised {
    let mut first = [0; http2::GREETING_BYTES];
    let peeked = rustix::net::recv(
        &dialled.line.stream,
        &mut first[..],
        RecvFlags::PEEK | RecvFlags::DONTWAIT,
    );
    match peeked {
        Ok((count, _)) if http2::greets(&first[..count]) => {
            remember_http(worker, destination);
            Recognised::Http(Opening::default())
        }
        Ok(_) | Err(_) => Recognised::Bytes(dialled, None),
    }
}

/// Spares later connections to the port the eager dial.
fn remember_http(worker: &Worker, destination: &Destination) {
    let mut known = worker.http_ports.borrow_mut();
    if known.len() < HTTP_PORTS_MAX {
        known.insert(destination.clone());
    }
}

/// A caller that speaks HTTP gets the reason in words.
async fn refuse(
    worker: &Worker,
    client: &mut TcpStream,
    destination: &Destination,
    why: NotDialled,
) -> Recognised {
    let heard = async {
        let read = worker.buffers.read(client).await;
        hear(client, read).await
    };
    match timeout(LAST_WORD, heard).await {
        Ok(Heard::Http(first)) => {
            let (first, dialled) = (Some(first), Some(Err(why)));
            Recognised::Http(Opening { first, dialled })
        }
        Ok(Heard::Other(_) | Heard::Over) | Err(_) => {
            debug!(%destination, %why, "a connection was refused");
            Recognised::Refused
        }
    }
}

/// What a caller said first.
enum Heard {
    /// The beginning of HTTP.
    Http(Buffer),
    /// Something else; nothing if it has ended its sending side.
    Other(Option<Buffer>),
    /// Nothing: it has gone.
    Over,
}

/// Listens to a caller of which anything may be expected.
async fn hear(client: &mut TcpStream, read: io::Result<Buffer>) -> Heard {
    let mut first = match read {
        Ok(first) if first.is_empty() => return Heard::Other(None),
        Ok(first) => first,
        Err(_) => return Heard::Over,
    };
    match read_on(client, &mut first).await {
        Ok(Speech::Http) => Heard::Http(first),
        Ok(Speech::Other | Speech::Unsure) => Heard::Other(Some(first)),
        Err(_) => Heard::Over,
    }
}

/// What a caller's first bytes say.
enum Speech {
    Http,
    Other,
    /// They might be the beginning of HTTP; the caller has said no more for a while, or ended.
    Unsure,
}

/// Reads on behind `first` until the bytes tell whether they are HTTP.
async fn read_on(client: &mut TcpStream, first: &mut Buffer) -> io::Result<Speech> {
    let deadline = Instant::now() + UNSURE;
    loop {
        match sniff(first.bytes()) {
            Sniff::Http1 | Sniff::Http2 => return Ok(Speech::Http),
            Sniff::Neither => return Ok(Speech::Other),
            Sniff::More => {}
        }
        match timeout_at(deadline, first.fill(client)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) | Err(_) => return Ok(Speech::Unsure),
            Ok(Err(error)) => return Err(error),
        }
    }
}
