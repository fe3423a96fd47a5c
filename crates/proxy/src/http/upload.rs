//! The rest of a request's body, from the caller to the endpoint, while the answer comes back.

use std::cell::Cell;
use std::time::Duration;

use http1::Reject;
use http1::body::{Decoder, State};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::inbox::Inbox;
use crate::connection::gone;
use crate::worker::Worker;

/// How long a caller that has ended its sending side may wait for an answer.
pub(super) const ANSWER_GRACE: Duration = Duration::from_secs(30);

/// How long a caller may be silent within its body.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How far a request has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Some of it has not been sent.
    Partly,
    /// All of it has been sent.
    Whole,
}

/// Why a call's sending side cannot go on.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The caller has gone.
    CallerGone,
    /// The caller's body is malformed.
    Rejected(Reject),
    /// The endpoint reads no more; it may have answered.
    EndpointDeaf,
}

/// Sends the body on until it is whole, then waits for the caller to go away. Only trouble ends it.
pub(super) async fn upload(
    worker: &Worker,
    caller: &mut ReadHalf<'_>,
    endpoint: &mut WriteHalf<'_>,
    body: &mut Decoder,
    inbox: &mut Inbox<'_>,
    progress: &Cell<Progress>,
) -> Trouble {
    while progress.get() == Progress::Partly {
        let mut buffer = match timeout(SILENCE_MAX, worker.buffers.read(caller)).await {
            Ok(Ok(buffer)) if !buffer.is_empty() => buffer,
            Ok(Ok(_) | Err(_)) | Err(_) => return Trouble::CallerGone,
        };
        let advanced = match body.advance(buffer.bytes()) {
            Ok(advanced) => advanced,
            Err(reject) => return Trouble::Rejected(reject),
        };
        if endpoint
            .write_all(&buffer.bytes()[..advanced.consumed])
            .await
            .is_err()
        {
            return Trouble::EndpointDeaf;
        }
        if advanced.state == State::Done {
            progress.set(Progress::Whole);
            buffer.consume(advanced.consumed);
            inbox.put(buffer);
        }
    }
    gone(caller.as_ref(), ANSWER_GRACE).await;
    Trouble::CallerGone
}
