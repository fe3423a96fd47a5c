//! HTTP/1.1: one caller's connection, call after call, each to an endpoint of its own.
//!
//! A connection that begins with the preface of HTTP/2 is given to [`http2`].
//! A call is read (`inbox`), sent and answered (`exchange`, with `upload` and `download` running
//! at the same time; `over_http2` where the endpoint speaks that), or answered by us (`refusal`). The `http1` crate judges every byte of the
//! framing; here bytes are only moved.

mod download;
mod exchange;
mod inbox;
mod over_http2;
mod refusal;
mod upload;

use std::time::Duration;

use http1::Answer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use crate::buffer::Buffer;
use crate::connection::{self, Caller};
use crate::dial::{Dialled, NotDialled};
use crate::http2;
use crate::ingress::Hosts;
use crate::relay::abort;
use crate::worker::{Destination, Worker};

use exchange::{Exchange, Next};
pub(crate) use inbox::IDLE_TIMEOUT;
use inbox::{Inbox, Incoming};
pub(crate) use refusal::Refusal;

/// How long, and for how many bytes, a caller that still sends is read from after we have said our
/// last word. Closing earlier would reset the connection, and take the word away with it.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Which service a connection's calls are for.
#[derive(Debug)]
pub(crate) enum Route {
    /// This one.
    To(Destination),
    /// The one that each call's `Host` names.
    ByHost(Hosts),
}

/// What there is already when HTTP begins on a connection.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// The caller's first bytes.
    pub(crate) first: Option<Buffer>,
    /// The endpoint of the first call, or why it has none.
    pub(crate) dialled: Option<Result<Box<Dialled>, NotDialled>>,
}

impl Opening {
    /// Only the caller's first bytes.
    pub(crate) fn with(first: Buffer) -> Self {
        Self {
            first: Some(first),
            dialled: None,
        }
    }
}

/// Serves calls until the connection ends.
pub(crate) async fn serve(
    worker: &Worker,
    mut client: TcpStream,
    route: Route,
    caller: Caller,
    opening: Opening,
) {
    let mut inbox = Inbox::new(worker, opening.first);
    let mut dialled = opening.dialled;
    let mut begins = true;
    loop {
        let head = match inbox.next_head(&mut client).await {
            Incoming::Head(head) => head,
            Incoming::Ended => return,
            Incoming::Late => return last_word(&mut client, &refusal::late()).await,
            Incoming::Rejected(_) if begins && inbox.shows_http2() => {
                let first = inbox.into_rest();
                let opening = Opening { first, dialled };
                // In a box, so that a connection of HTTP/1.1 does not keep room for it.
                return Box::pin(http2::serve(worker, client, &route, caller, opening)).await;
            }
            Incoming::Rejected(reject) => {
                debug!(%reject, "a request was refused");
                return last_word(&mut client, &Answer::refusing(reject)).await;
            }
        };
        begins = false;
        let exchange = Exchange::new(worker, caller, &head, &mut inbox);
        // In a box that is gone before the connection is idle: it is most of what a call keeps.
        match Box::pin(exchange.run(&mut client, &route, dialled.take())).await {
            Next::Call => {}
            Next::Close => return,
            Next::Abort => return abort(client),
            Next::Linger => return Box::pin(linger(&mut client)).await,
            Next::Relay(dialled) => {
                let first = inbox.into_rest();
                return Box::pin(connection::relay_to(worker, client, *dialled, first)).await;
            }
        }
    }
}

/// Sends an answer of ours, and closes.
async fn last_word(client: &mut TcpStream, answer: &[u8]) {
    match client.write_all(answer).await {
        Ok(()) => linger(client).await,
        Err(error) => debug!(%error, "the caller went away before it was answered"),
    }
}

/// Ends our sending side, and reads what the caller still sends until it has seen that.
async fn linger(client: &mut TcpStream) {
    let reading = async {
        let mut scratch = vec![0; 4096];
        let mut left = LINGER_BYTES_MAX;
        client.shutdown().await?;
        loop {
            let count = tokio::io::AsyncReadExt::read(client, &mut scratch).await?;
            left = left.saturating_sub(count);
            if count == 0 || left == 0 {
                return Ok::<_, std::io::Error>(());
            }
        }
    };
    match timeout(LINGER, reading).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "the caller went away"),
        Err(_elapsed) => debug!("the caller did not end its connection"),
    }
}
