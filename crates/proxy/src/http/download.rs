//! An answer, from the endpoint to the caller.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use http1::body::{Decoder, State};
use http1::request::RequestHead;
use http1::response::{self, Asked, RelayBody, ResponseEdits, ResponseHead, Role};
use http1::{Parsed, Persistence, Reject, Version};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::upload::Progress;
use crate::buffer::Buffer;
use crate::verdict::Verdict;
use crate::worker::Worker;

/// What a body's first piece may measure to be sent in one write with its head.
const COALESCED_BYTES_MAX: usize = 8 * 1024;

/// How long a caller may take to read one piece of its answer.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(120);

/// How an answer ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// It is whole.
    Whole {
        /// Whether the caller's connection goes on.
        caller: Persistence,
        /// Whether the endpoint's does.
        endpoint: Persistence,
    },
    /// Both sides speak another protocol from here on.
    Switched,
}

/// Why an answer did not come through.
#[derive(Debug)]
pub(super) enum Broken {
    /// The endpoint took no notice of the call.
    NotTaken(String),
    /// The endpoint ended the connection before it answered a single byte.
    Unanswered(io::Error),
    /// It ended the connection after some, of which the caller has seen no final head.
    Interrupted(io::Error),
    /// It answered something that is no answer, of which the caller has seen no final head.
    Malformed(Reject),
    /// The caller has seen half of the answer, and will see no more.
    Midway,
    /// The caller has gone.
    CallerGone,
}

impl Broken {
    /// Whether the endpoint is to blame, on a connection that was made for this call or not.
    pub(super) fn blames_endpoint(&self, is_new: bool) -> bool {
        match self {
            Self::Unanswered(_) => is_new,
            Self::Interrupted(_) | Self::Malformed(_) | Self::Midway => true,
            Self::NotTaken(_) | Self::CallerGone => false,
        }
    }

    /// Whether the call may be sent again: it is repeatable as often as one likes, or all of it is
    /// still in our hands and was not taken.
    pub(super) fn allows_retry(&self, repeatable: bool, whole: bool) -> bool {
        match self {
            Self::NotTaken(_) => whole,
            Self::Unanswered(_) => repeatable,
            Self::Interrupted(_) | Self::Malformed(_) | Self::Midway | Self::CallerGone => false,
        }
    }
}

/// One answer on its way.
pub(super) struct Download<'a, 's> {
    pub(super) worker: &'a Worker,
    pub(super) verdict: Verdict<'a>,
    pub(super) head: &'a RequestHead,
    pub(super) progress: &'a Cell<Progress>,
    /// Set when the final head goes out.
    pub(super) begun: &'a Cell<bool>,
    pub(super) endpoint: ReadHalf<'s>,
    pub(super) caller: WriteHalf<'s>,
}

impl Download<'_, '_> {
    /// Relays interim heads and the final answer.
    pub(super) async fn run(mut self) -> Result<Answered, Broken> {
        let first = self.worker.buffers.read(&mut self.endpoint).await;
        let mut buffer = match first {
            Ok(buffer) if !buffer.is_empty() => buffer,
            Ok(_) => return Err(Broken::Unanswered(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => return Err(Broken::Unanswered(error)),
        };
        let mut asked = self.head.asked();
        loop {
            let head = self.next_head(&mut buffer, &mut asked).await?;
            match head.role() {
                Role::Interim => self.interim(&head).await?,
                Role::Switching => return self.switch(&head, &buffer).await,
                Role::Final => return self.answer(&head, buffer).await,
            }
        }
    }

    async fn next_head(
        &mut self,
        buffer: &mut Buffer,
        asked: &mut Asked,
    ) -> Result<ResponseHead, Broken> {
        loop {
            if !buffer.is_empty() {
                let parsed = response::parse(buffer.bytes(), asked, &self.worker.limits);
                if let Parsed::Head { head, length } = parsed.map_err(Broken::Malformed)? {
                    buffer.consume(length);
                    return Ok(head);
                }
            }
            let filled = buffer
                .fill(&mut self.endpoint)
                .await
                .map_err(Broken::Interrupted)?;
            if filled == 0 {
                return Err(Broken::Interrupted(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn edits(&self) -> ResponseEdits {
        // After an answer to half a request nobody knows where the next one begins.
        let ends = self.progress.get() == Progress::Partly || self.worker.draining.is_cancelled();
        ResponseEdits {
            client: self.head.version(),
            persistence: if ends {
                Persistence::Close
            } else {
                self.head.persistence()
            },
        }
    }

    async fn interim(&mut self, head: &ResponseHead) -> Result<(), Broken> {
        if self.head.version() == Version::Http10 {
            return Ok(());
        }
        let mut out = self.worker.buffers.take();
        head.write_to(out.vec(), &self.edits());
        self.write(out.bytes()).await
    }

    async fn switch(&mut self, head: &ResponseHead, rest: &Buffer) -> Result<Answered, Broken> {
        let mut out = self.worker.buffers.take();
        head.write_to(out.vec(), &self.edits());
        out.vec().extend_from_slice(rest.bytes());
        self.send(out.bytes()).await?;
        Ok(Answered::Switched)
    }

    async fn answer(mut self, head: &ResponseHead, buffer: Buffer) -> Result<Answered, Broken> {
        self.verdict.answered(head.status());
        let mut out = self.worker.buffers.take();
        let relay = head.write_to(out.vec(), &self.edits());
        let body = Decoder::new(head.framing(), &self.worker.limits);
        let rest = match relay.body {
            RelayBody::Raw => self.raw(body, out, buffer).await?,
            RelayBody::Payload => self.payload(body, out, buffer).await?,
        };
        let endpoint = if rest == 0 {
            head.persistence()
        } else {
            Persistence::Close
        };
        Ok(Answered::Whole {
            caller: relay.persistence,
            endpoint,
        })
    }

    /// Relays a body as it is, behind what `out` holds; returns how many bytes came too much.
    async fn raw(
        &mut self,
        mut body: Decoder,
        mut out: Buffer,
        mut buffer: Buffer,
    ) -> Result<usize, Broken> {
        let advanced = body.advance(buffer.bytes()).map_err(Broken::Malformed)?;
        let first = &buffer.bytes()[..advanced.consumed];
        let coalesced = first.len() <= COALESCED_BYTES_MAX;
        if coalesced {
            out.vec().extend_from_slice(first);
        }
        self.send(out.bytes()).await?;
        drop(out);
        if !coalesced {
            self.send(&buffer.bytes()[..advanced.consumed]).await?;
        }
        buffer.consume(advanced.consumed);
        while body.state() == State::More {
            // Without a buffer while the endpoint is silent.
            drop(buffer);
            buffer = match self.more().await? {
                Some(buffer) => buffer,
                None => return body.finish().map(|()| 0).map_err(|_| Broken::Midway),
            };
            let advanced = body.advance(buffer.bytes()).map_err(|_| Broken::Midway)?;
            self.send(&buffer.bytes()[..advanced.consumed]).await?;
            buffer.consume(advanced.consumed);
        }
        Ok(buffer.bytes().len())
    }

    /// Relays the payload of a chunked body to a caller that knows no chunks.
    async fn payload(
        &mut self,
        mut body: Decoder,
        mut out: Buffer,
        mut buffer: Buffer,
    ) -> Result<usize, Broken> {
        loop {
            while !buffer.is_empty() && body.state() == State::More {
                let piece = body
                    .piece(buffer.bytes())
                    .map_err(|reject| self.reject(reject))?;
                out.vec().extend_from_slice(&buffer.bytes()[piece.payload]);
                buffer.consume(piece.consumed);
            }
            self.send(out.bytes()).await?;
            drop(out);
            if body.state() == State::Done {
                return Ok(buffer.bytes().len());
            }
            drop(buffer);
            buffer = match self.more().await? {
                Some(buffer) => buffer,
                None => return body.finish().map(|()| 0).map_err(|_| Broken::Midway),
            };
            out = self.worker.buffers.take();
        }
    }

    fn reject(&self, reject: Reject) -> Broken {
        if self.begun.get() {
            Broken::Midway
        } else {
            Broken::Malformed(reject)
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.begun.set(true);
        self.write(bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match timeout(SEND_TIMEOUT, self.caller.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Broken::CallerGone),
        }
    }

    /// The next bytes of a body; none at the connection's end.
    async fn more(&mut self) -> Result<Option<Buffer>, Broken> {
        match self.worker.buffers.read(&mut self.endpoint).await {
            Ok(buffer) => Ok(Some(buffer).filter(|buffer| !buffer.is_empty())),
            Err(_) => Err(Broken::Midway),
        }
    }
}
