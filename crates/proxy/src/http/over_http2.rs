//! One try to have a call of HTTP/1.1 answered by an endpoint that speaks HTTP/2.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::pin::{Pin, pin};
use std::task::Poll;

use ::bytes::Bytes;
use ::http::header::CONTENT_LENGTH;
use ::http::{HeaderMap, Request, Response, StatusCode};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http1::body::{self, Decoder, State};
use http1::request::{Method, RequestHead};
use http1::{Persistence, Reject, Version, fields};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::download::{Answered, Broken, SEND_TIMEOUT};
use super::exchange::{Exchange, Tried};
use super::inbox::Inbox;
use super::upload::{ANSWER_GRACE, Progress, SILENCE_MAX, Trouble};
use crate::connection::gone;
use crate::http2::{Body, Failure, Last, Piece, Slot, head, last_chunk, piece, send};
use crate::verdict::Verdict;
use crate::worker::{Destination, Worker};

impl Exchange<'_, '_> {
    /// Sends the call on a channel and relays its answer, both at the same time.
    pub(super) async fn attempt_over_http2(
        &mut self,
        client: &mut TcpStream,
        slot: &Slot,
        destination: &Destination,
        verdict: Verdict<'_>,
    ) -> Tried {
        let ahead = match ahead(self.head, &self.inbox.bytes()[..self.ahead], self.worker) {
            Ok(ahead) => ahead,
            Err(reject) => return Tried::Rejected(reject),
        };
        let Some(mut parts) = head::from_http1(self.head, destination.service.as_str()) else {
            return Tried::Rejected(Reject::TargetForm);
        };
        head::forward(&mut parts, self.caller, self.worker.random.trace_seed());
        let whole = self.body.state() == State::Done;
        let bodiless = whole && ahead.payload.is_empty();
        let body = if bodiless { Body::None } else { Body::Some };
        let (response, to_endpoint) = match slot.send(Request::from_parts(parts, ()), body) {
            Ok(begun) => begun,
            Err(error) => return Tried::Broken(Broken::NotTaken(error.to_string())),
        };
        let progress = Cell::new(if bodiless {
            Progress::Whole
        } else {
            Progress::Partly
        });
        if !whole {
            self.inbox.consume(std::mem::take(&mut self.ahead));
        }
        let (mut from_caller, to_caller) = client.split();
        let begun = Cell::new(false);
        let download = Download {
            worker: self.worker,
            verdict,
            head: self.head,
            progress: &progress,
            begun: &begun,
            caller: to_caller,
        };
        let mut downloading = pin!(download.run(response));
        let upload = Upload {
            worker: self.worker,
            endpoint: to_endpoint,
            body: &mut self.body,
            inbox: self.inbox,
            progress: &progress,
        };
        let downloaded = tokio::select! {
            biased;
            downloaded = &mut downloading => downloaded,
            trouble = upload.run(&mut from_caller, ahead) => match trouble {
                Trouble::EndpointDeaf => downloading.await,
                Trouble::CallerGone => Err(Broken::CallerGone),
                Trouble::Rejected(_) if begun.get() => Err(Broken::Midway),
                Trouble::Rejected(reject) => return Tried::Rejected(reject),
            },
        };
        downloaded.map_or_else(Tried::Broken, Tried::Answered)
    }
}

/// What has already arrived of a body.
#[derive(Default)]
struct Ahead {
    payload: Vec<u8>,
    trailers: Vec<u8>,
}

fn ahead(head: &RequestHead, bytes: &[u8], worker: &Worker) -> Result<Ahead, Reject> {
    let mut decoder = Decoder::new(head.framing(), &worker.limits);
    let mut ahead = Ahead::default();
    ahead.take(&mut decoder, bytes)?;
    Ok(ahead)
}

impl Ahead {
    /// Takes payload and trailers out of the next bytes; returns how many belong to the body.
    fn take(&mut self, decoder: &mut Decoder, bytes: &[u8]) -> Result<usize, Reject> {
        let mut consumed = 0;
        while consumed < bytes.len() && decoder.state() == State::More {
            let rest = &bytes[consumed..];
            let piece = decoder.piece(rest)?;
            self.payload.extend_from_slice(&rest[piece.payload]);
            self.trailers.extend_from_slice(&rest[piece.trailer]);
            consumed += piece.consumed;
        }
        Ok(consumed)
    }
}

/// A request's body on its way to the endpoint.
struct Upload<'a, 'w> {
    worker: &'a Worker,
    endpoint: SendStream<Bytes>,
    body: &'a mut Decoder,
    inbox: &'a mut Inbox<'w>,
    progress: &'a Cell<Progress>,
}

impl Upload<'_, '_> {
    /// Sends the body on until it is whole, then waits for the caller to go away. Only trouble ends it.
    async fn run(mut self, caller: &mut ReadHalf<'_>, mut ahead: Ahead) -> Trouble {
        while self.progress.get() == Progress::Partly {
            let done = self.body.state() == State::Done;
            if self.pass(&mut ahead, done).await.is_err() {
                return Trouble::EndpointDeaf;
            }
            if done {
                self.progress.set(Progress::Whole);
                break;
            }
            let mut buffer = match timeout(SILENCE_MAX, self.worker.buffers.read(caller)).await {
                Ok(Ok(buffer)) if !buffer.is_empty() => buffer,
                Ok(Ok(_) | Err(_)) | Err(_) => return Trouble::CallerGone,
            };
            match ahead.take(self.body, buffer.bytes()) {
                Ok(consumed) => buffer.consume(consumed),
                Err(reject) => return Trouble::Rejected(reject),
            }
            self.inbox.put(buffer);
        }
        gone(caller.as_ref(), ANSWER_GRACE).await;
        Trouble::CallerGone
    }

    /// Sends what has been read.
    async fn pass(&mut self, ahead: &mut Ahead, done: bool) -> Result<(), h2::Error> {
        let bytes = Bytes::from(std::mem::take(&mut ahead.payload));
        let mut trailers = HeaderMap::new();
        // A name or value that HTTP/2 cannot say is left out with those behind it.
        let _ = head::append(&mut trailers, body::trailer_fields(&ahead.trailers));
        match (done, trailers.is_empty()) {
            (true, true) => send(&mut self.endpoint, Piece::Data(bytes, Last::Yes)).await,
            (true, false) => {
                send(&mut self.endpoint, Piece::Data(bytes, Last::No)).await?;
                send(&mut self.endpoint, Piece::Trailers(trailers)).await
            }
            (false, _) => send(&mut self.endpoint, Piece::Data(bytes, Last::No)).await,
        }
    }
}

/// One answer on its way.
struct Download<'a, 's> {
    worker: &'a Worker,
    verdict: Verdict<'a>,
    head: &'a RequestHead,
    progress: &'a Cell<Progress>,
    /// Set when the final head goes out.
    begun: &'a Cell<bool>,
    caller: WriteHalf<'s>,
}

/// How the end of a body is told to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// There is none.
    Bodiless,
    /// By its length.
    Length,
    /// By a last chunk.
    Chunks,
    /// By the end of the connection.
    Close,
}

impl Download<'_, '_> {
    /// Relays interim heads and the final answer.
    async fn run(mut self, mut response: ResponseFuture) -> Result<Answered, Broken> {
        let response = loop {
            match next(&mut response).await {
                Next::Interim(interim) => self.interim(&interim).await?,
                Next::Answer(response) => break response,
                Next::Failed(error) => return Err(broken(&error)),
            }
        };
        self.verdict.answered(response.status().as_u16());
        let (head, mut from) = response.into_parts();
        let mut out = self.worker.buffers.take();
        let head = Response::from_parts(head, ());
        let (told, persistence) = self.write_head(out.vec(), &head, from.is_end_stream());
        self.begun.set(true);
        self.write(out.bytes()).await?;
        drop(out);
        if told != Told::Bodiless {
            self.relay(&mut from, told).await?;
        }
        Ok(Answered::Whole {
            caller: persistence,
            // It is no connection of this call.
            endpoint: Persistence::Close,
        })
    }

    async fn interim(&mut self, interim: &Response<()>) -> Result<(), Broken> {
        if self.head.version() == Version::Http10 {
            return Ok(());
        }
        let mut out = self.worker.buffers.take();
        write_line(out.vec(), interim.status());
        write_fields(out.vec(), interim.headers());
        out.vec().extend_from_slice(b"\r\n");
        self.write(out.bytes()).await
    }

    /// Writes the answer's head; how the body's end is told, and whether the caller's connection goes
    /// on.
    fn write_head(
        &self,
        out: &mut Vec<u8>,
        head: &Response<()>,
        ends: bool,
    ) -> (Told, Persistence) {
        let status = head.status();
        let declared = head.headers().contains_key(CONTENT_LENGTH);
        let never = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let told = match self.head.version() {
            _ if never || self.head.method() == Method::Head => Told::Bodiless,
            _ if ends && !declared => Told::Bodiless,
            _ if declared => Told::Length,
            Version::Http11 => Told::Chunks,
            Version::Http10 => Told::Close,
        };
        let partly = self.progress.get() == Progress::Partly;
        let closes = told == Told::Close || partly || self.worker.draining.is_cancelled();
        let persistence = if closes {
            Persistence::Close
        } else {
            self.head.persistence()
        };
        write_line(out, status);
        write_fields(out, head.headers());
        out.extend_from_slice(match told {
            Told::Chunks => b"Transfer-Encoding: chunked\r\n",
            Told::Bodiless if ends && !declared && !never => b"Content-Length: 0\r\n",
            Told::Bodiless | Told::Length | Told::Close => b"",
        });
        out.extend_from_slice(match (persistence, self.head.version()) {
            (Persistence::Close, _) => b"Connection: close\r\n\r\n",
            (Persistence::Persist, Version::Http10) => b"Connection: keep-alive\r\n\r\n",
            (Persistence::Persist, Version::Http11) => b"\r\n",
        });
        (told, persistence)
    }

    async fn relay(&mut self, from: &mut RecvStream, told: Told) -> Result<(), Broken> {
        loop {
            let piece = piece(from).await.map_err(|_| Broken::Midway)?;
            let mut out = self.worker.buffers.take();
            let (count, last) = match &piece {
                Piece::Data(bytes, last) => (bytes.len(), *last),
                Piece::Trailers(_) => (0, Last::Yes),
            };
            match (&piece, told) {
                (Piece::Data(bytes, _), Told::Chunks) if !bytes.is_empty() => {
                    write!(out.vec(), "{count:x}\r\n").expect("a Vec takes every write");
                    out.vec().extend_from_slice(bytes);
                    out.vec().extend_from_slice(b"\r\n");
                }
                (Piece::Data(bytes, _), Told::Length | Told::Close) => {
                    out.vec().extend_from_slice(bytes);
                }
                (Piece::Data(..) | Piece::Trailers(_), _) => {}
            }
            if last == Last::Yes && told == Told::Chunks {
                last_chunk(
                    out.vec(),
                    match &piece {
                        Piece::Data(..) => None,
                        Piece::Trailers(trailers) => Some(trailers),
                    },
                );
            }
            self.write(out.bytes()).await?;
            if last == Last::Yes {
                return Ok(());
            }
            // Of a stream that was reset the connection's window was given back already.
            let _ = from.flow_control().release_capacity(count);
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match timeout(SEND_TIMEOUT, self.caller.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Broken::CallerGone),
        }
    }
}

fn write_line(out: &mut Vec<u8>, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or("");
    write!(out, "HTTP/1.1 {} {reason}\r\n", status.as_u16()).expect("a Vec takes every write");
}

fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        if !fields::is_hop_by_hop(name.as_str()) {
            head::push_field(out, name.as_str(), value.as_bytes());
        }
    }
}

/// What comes back next.
enum Next {
    Interim(Response<()>),
    Answer(Response<RecvStream>),
    Failed(h2::Error),
}

async fn next(response: &mut ResponseFuture) -> Next {
    poll_fn(|context| {
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(context) {
            return Poll::Ready(Next::Interim(interim));
        }
        Pin::new(&mut *response)
            .poll(context)
            .map(|answer| match answer {
                Ok(answer) => Next::Answer(answer),
                Err(error) => Next::Failed(error),
            })
    })
    .await
}

/// What an endpoint's failure before its answer means for the call.
fn broken(error: &h2::Error) -> Broken {
    match Failure::of(error) {
        Failure::NotTaken => Broken::NotTaken(error.to_string()),
        Failure::Unanswered => Broken::Unanswered(io::Error::other(error.to_string())),
        Failure::Reset(_) | Failure::Malformed => {
            Broken::Interrupted(io::Error::other(error.to_string()))
        }
    }
}
