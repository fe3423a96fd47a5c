//! One connection from a caller: which protocol it speaks, and so how it is served.
//!
//! ```text
//! Protocol::Tcp ──► an endpoint at once ──► relay
//! Protocol::Http1 ──► http
//! Protocol::Detect ─┬─ port not known to speak HTTP ──► an endpoint at once, then who speaks first:
//!                   │      the endpoint, or nobody for a while ──► relay
//!                   │      the caller, no HTTP ──► relay
//!                   │      the caller, HTTP ──► http, its first call on that connection
//!                   └─ port known to speak HTTP ──► the caller's first bytes:
//!                          HTTP ──► http
//!                          no HTTP ──► an endpoint ──► relay
//! ```

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use http1::request::Trust;
use http1::{Sniff, sniff};
use model::Protocol;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use crate::buffer::Buffer;
use crate::dial::{Dialled, NotDialled, dial};
use crate::http::{self, Opening, Route};
use crate::pool::Reuse;
use crate::relay::{abort, relay};
use crate::worker::{Destination, Worker};

/// How long an endpoint and a caller may both be silent before we stop waiting for HTTP.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a refused caller may take to say that it speaks HTTP, so that it gets an answer.
const LAST_WORD: Duration = Duration::from_secs(1);

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

/// Serves a connection to a port of a service until it ends.
pub(crate) async fn serve(
    worker: &Worker,
    client: TcpStream,
    destination: &Destination,
    caller: Caller,
) {
    let Some(service) = worker.service(destination) else {
        debug!(%destination, "a call to a service that is not up");
        return abort(client);
    };
    let protocol = service.spec.protocol(destination.port);
    drop(service);
    let known = || worker.http_ports.borrow().contains(destination);
    match protocol {
        Protocol::Tcp => tcp(worker, client, destination, None).await,
        Protocol::Http1 => http(worker, client, destination, caller, Opening::default()).await,
        Protocol::Detect if known() => listen_first(worker, client, destination, caller).await,
        Protocol::Detect => dial_first(worker, client, destination, caller).await,
    }
}

/// Done when the caller has closed its connection, or at least its sending side. Needs no buffer,
/// and bytes that wait to be read do not hide the end behind them.
pub(crate) async fn gone(client: &TcpStream) {
    // In tokio this interest stands for "read closed" as well, and no priority data ever comes.
    let ready = client.ready(Interest::PRIORITY.add(Interest::ERROR)).await;
    if let Err(error) = ready {
        debug!(%error, "cannot watch a connection");
    }
}

async fn http(
    worker: &Worker,
    client: TcpStream,
    destination: &Destination,
    caller: Caller,
    opening: Opening,
) {
    http::serve(
        worker,
        client,
        Route::To(destination.clone()),
        caller,
        opening,
    )
    .await;
}

/// A connection to an endpoint; none when the caller has gone.
async fn dial_for(
    worker: &Worker,
    client: &TcpStream,
    destination: &Destination,
) -> Option<Result<Dialled, NotDialled>> {
    let mut tried = Vec::new();
    tokio::select! {
        biased;
        dialled = dial(worker, destination, &mut tried, Reuse::Never) => Some(dialled),
        () = gone(client) => None,
    }
}

/// Relays bytes between the caller and an endpoint; `first` was read from the caller already.
async fn tcp(worker: &Worker, client: TcpStream, destination: &Destination, first: Option<Buffer>) {
    match dial_for(worker, &client, destination).await {
        Some(Ok(dialled)) => relay_to(worker, client, dialled, first).await,
        Some(Err(why)) => {
            debug!(%destination, %why, "a connection was refused");
            abort(client);
        }
        None => debug!(%destination, "the caller went away while it was held"),
    }
}

/// Relays bytes between the caller and an endpoint, which stays entered and awake meanwhile.
pub(crate) async fn relay_to(
    worker: &Worker,
    client: TcpStream,
    dialled: Dialled,
    first: Option<Buffer>,
) {
    let Dialled {
        entered,
        mut stream,
        ..
    } = dialled;
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
    mut client: TcpStream,
    destination: &Destination,
    caller: Caller,
) {
    let reading = worker.buffers.read(&mut client);
    let first = tokio::select! {
        first = timeout(http::IDLE_TIMEOUT, reading) => first,
        () = worker.draining.cancelled() => return,
    };
    let mut first = match first {
        Ok(Ok(first)) if !first.is_empty() => first,
        Ok(Ok(_) | Err(_)) | Err(_) => return debug!("the caller said nothing"),
    };
    match read_on(&mut client, &mut first).await {
        Ok(Speech::Http | Speech::Unsure) => {
            http(worker, client, destination, caller, Opening::with(first)).await;
        }
        Ok(Speech::Other) => {
            worker.http_ports.borrow_mut().remove(destination);
            tcp(worker, client, destination, Some(first)).await;
        }
        Err(error) => debug!(%error, "the caller went away"),
    }
}

/// An endpoint is dialled at once, since it may be the one that speaks first.
async fn dial_first(
    worker: &Worker,
    mut client: TcpStream,
    destination: &Destination,
    caller: Caller,
) {
    let dialled = match dial_for(worker, &client, destination).await {
        Some(Ok(dialled)) => dialled,
        Some(Err(why)) => return refuse(worker, client, destination, caller, why).await,
        None => return debug!(%destination, "the caller went away while it was held"),
    };
    let first = tokio::select! {
        biased;
        first = worker.buffers.read(&mut client) => first,
        _ = dialled.stream.readable() => return relay_to(worker, client, dialled, None).await,
        () = sleep(SILENCE) => return relay_to(worker, client, dialled, None).await,
    };
    let mut first = match first {
        Ok(first) if !first.is_empty() => first,
        // The caller has nothing to say, but may want to hear.
        Ok(_) => return relay_to(worker, client, dialled, None).await,
        Err(error) => return debug!(%error, "the caller went away"),
    };
    match read_on(&mut client, &mut first).await {
        Ok(Speech::Http) => {
            worker.http_ports.borrow_mut().insert(destination.clone());
            let opening = Opening {
                first: Some(first),
                dialled: Some(Ok(dialled)),
            };
            http(worker, client, destination, caller, opening).await;
        }
        Ok(Speech::Other | Speech::Unsure) => {
            relay_to(worker, client, dialled, Some(first)).await;
        }
        Err(error) => debug!(%error, "the caller went away"),
    }
}

/// Answers in words if the caller speaks HTTP, and resets the connection if not.
async fn refuse(
    worker: &Worker,
    mut client: TcpStream,
    destination: &Destination,
    caller: Caller,
    why: NotDialled,
) {
    let spoken = async {
        let mut first = worker.buffers.read(&mut client).await?;
        let speech = read_on(&mut client, &mut first).await?;
        Ok::<_, io::Error>((speech, first))
    };
    match timeout(LAST_WORD, spoken).await {
        Ok(Ok((Speech::Http, first))) => {
            let opening = Opening {
                first: Some(first),
                dialled: Some(Err(why)),
            };
            http(worker, client, destination, caller, opening).await;
        }
        Ok(Ok((Speech::Other | Speech::Unsure, _)) | Err(_)) | Err(_) => {
            debug!(%destination, %why, "a connection was refused");
            abort(client);
        }
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
            Sniff::Http1 => return Ok(Speech::Http),
            Sniff::NotHttp1 => return Ok(Speech::Other),
            Sniff::More => {}
        }
        match timeout_at(deadline, first.fill(client)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) | Err(_) => return Ok(Speech::Unsure),
            Ok(Err(error)) => return Err(error),
        }
    }
}
