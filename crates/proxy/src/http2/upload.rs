//! A request's body on its way from the caller, kept for another try while it is small.

use std::future::poll_fn;
use std::time::Duration;

use ::bytes::Bytes;
use ::http::HeaderMap;
use h2::{RecvStream, SendStream};
use tokio::time::timeout;

/// How much of a body is kept until the answer begins.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// How long a caller may take to have room for one piece of its answer.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(120);

/// A part of a body.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// Bytes, and whether they are the last.
    Data(Bytes, Last),
    /// Trailers, which end it.
    Trailers(HeaderMap),
}

/// Whether anything follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Yes,
    No,
}

/// The next piece of a body.
pub(crate) async fn piece(body: &mut RecvStream) -> Result<Piece, h2::Error> {
    let last = |body: &RecvStream| {
        if body.is_end_stream() {
            Last::Yes
        } else {
            Last::No
        }
    };
    if let Some(bytes) = body.data().await {
        let bytes = bytes?;
        return Ok(Piece::Data(bytes, last(body)));
    }
    Ok(match body.trailers().await? {
        Some(trailers) => Piece::Trailers(trailers),
        None => Piece::Data(Bytes::new(), Last::Yes),
    })
}

/// Sends a piece as the receiver's window has room for it.
pub(crate) async fn send(to: &mut SendStream<Bytes>, piece: Piece) -> Result<(), h2::Error> {
    let (mut bytes, last) = match piece {
        Piece::Data(bytes, last) => (bytes, last),
        Piece::Trailers(trailers) => return to.send_trailers(trailers),
    };
    while !bytes.is_empty() {
        to.reserve_capacity(bytes.len());
        let room = match to.capacity() {
            0 => poll_fn(|context| to.poll_capacity(context))
                .await
                .transpose()?,
            room => Some(room),
        };
        // None: the stream was reset, which sending reports.
        let part = bytes.split_to(room.unwrap_or(bytes.len()).min(bytes.len()));
        let ends = bytes.is_empty() && last == Last::Yes;
        to.send_data(part, ends)?;
        if ends {
            return Ok(());
        }
    }
    match last {
        Last::Yes => to.send_data(bytes, true),
        Last::No => Ok(()),
    }
}

/// As [`send`], to a caller, who must have room for it in time.
pub(super) async fn send_to_caller(to: &mut SendStream<Bytes>, piece: Piece) -> Result<(), Gone> {
    match timeout(SEND_TIMEOUT, send(to, piece)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

/// A caller takes no more.
#[derive(Debug)]
pub(super) struct Gone;

/// A request's body.
pub(super) struct Upload {
    body: RecvStream,
    kept: Option<Vec<Piece>>,
    kept_bytes: usize,
    /// How many of those kept were taken in this try.
    at: usize,
    /// Bytes that were taken, and not yet given back to the caller's window.
    owed: usize,
}

impl Upload {
    pub(super) fn new(body: RecvStream) -> Self {
        Self {
            kept: Some(Vec::new()),
            kept_bytes: 0,
            at: 0,
            owed: 0,
            body,
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.as_ref().is_none_or(Vec::is_empty) && self.body.is_end_stream()
    }

    /// The next piece.
    pub(super) async fn next(&mut self) -> Result<Piece, h2::Error> {
        if let Some(kept) = self.kept.as_ref().and_then(|kept| kept.get(self.at)) {
            self.at += 1;
            return Ok(kept.clone());
        }
        let piece = piece(&mut self.body).await?;
        if let Piece::Data(bytes, _) = &piece {
            self.kept_bytes = self.kept_bytes.saturating_add(bytes.len());
            self.owed += bytes.len();
        }
        if self.kept_bytes > KEPT_BYTES_MAX {
            self.kept = None;
        }
        if let Some(kept) = &mut self.kept {
            kept.push(piece.clone());
            self.at += 1;
        }
        Ok(piece)
    }

    /// Gives bytes back to the caller's window, once the endpoint had room for them; of those that are
    /// sent again nothing is left to give back.
    pub(super) fn sent(&mut self, bytes: usize) {
        let given = bytes.min(self.owed);
        self.owed -= given;
        // Of a stream that was reset the connection's window was given back already.
        let _ = self.body.flow_control().release_capacity(given);
    }

    /// Whether another try can send all of it again.
    pub(super) fn can_repeat(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether the caller has sent all of it, and another try can send it again.
    pub(super) fn is_whole(&self) -> bool {
        self.can_repeat() && self.body.is_end_stream()
    }

    /// Begins again.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    /// Keeps nothing any more: the answer has begun.
    pub(super) fn forget(&mut self) {
        self.kept_bytes = usize::MAX;
        self.kept.take_if(|kept| kept.len() == self.at);
    }
}
