//! One try to have a call of HTTP/2 answered by an endpoint that speaks HTTP/1.1.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io::{self, Write as _};
use std::pin::pin;

use ::bytes::Bytes;
use ::http::HeaderMap;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http1::body::{self, Decoder, State};
use http1::request::{self, RequestEdits, RequestHead, Scheme};
use http1::response::{self, Asked, ResponseHead, Role};
use http1::{Authority, Framing, Parsed, Persistence, Reject};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::channel::Body;
use super::exchange::{Message, Stopped, Tried, unless_gone};
use super::head::{self, push_field};
use super::upload::{Last, Piece, Upload, send_to_caller};
use super::websocket;
use crate::buffer::Buffer;
use crate::connection::Caller;
use crate::verdict::Verdict;
use crate::worker::{Destination, Worker};

/// Between whom a call goes.
pub(super) struct Hop<'a> {
    pub(super) worker: &'a Worker,
    pub(super) caller: Caller,
    pub(super) destination: &'a Destination,
}

/// How far a request has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Partly,
    Whole,
}

/// One try, and whether the endpoint's connection goes on after it.
pub(super) async fn exchange(
    hop: &Hop<'_>,
    stream: &mut TcpStream,
    message: Message<'_>,
) -> (Tried, Persistence) {
    let Message {
        head,
        upload,
        respond,
        verdict,
    } = message;
    let tunnel = websocket::is_asked_for(head);
    let body = match upload.is_empty() || tunnel {
        true => Body::None,
        false => Body::Some,
    };
    let text = head::to_http1(head, body, &hop.worker.random);
    let head = match request::parse(&text, &hop.worker.limits) {
        Ok(Parsed::Head { head, .. }) => head,
        Ok(Parsed::Incomplete) => return (Tried::Rejected(Reject::LineEnd), Persistence::Persist),
        Err(reject) => return (Tried::Rejected(reject), Persistence::Persist),
    };
    let (from_endpoint, mut to_endpoint) = stream.split();
    if let Err(error) = send_head(hop, &head, &mut to_endpoint).await {
        return (Tried::Unanswered(error.to_string()), Persistence::Close);
    }
    let (begun, progress) = (Cell::new(false), Cell::new(Progress::Partly));
    let download = Download {
        worker: hop.worker,
        asked: head.asked(),
        begun: &begun,
        endpoint: from_endpoint,
        respond,
        verdict,
    };
    if tunnel {
        return websocket::tunnel(download, to_endpoint, upload).await;
    }
    let pump = Pump {
        worker: hop.worker,
        begun: &begun,
        progress: &progress,
        framing: head.framing(),
    };
    let uploading = pin!(pump.run(upload, to_endpoint, body));
    let (tried, persistence) = match unless_gone(download.run(), uploading).await {
        Ok(Ok(persistence)) if progress.get() == Progress::Whole => (Tried::Answered, persistence),
        Ok(Ok(_)) => (Tried::Answered, Persistence::Close),
        Ok(Err(tried)) => (tried, Persistence::Close),
        Err(_gone) => (Tried::CallerGone, Persistence::Close),
    };
    match begun.get() {
        true => (tried.after_head(), persistence),
        false => (tried, persistence),
    }
}

async fn send_head(
    hop: &Hop<'_>,
    head: &RequestHead,
    endpoint: &mut WriteHalf<'_>,
) -> io::Result<()> {
    let service = hop.destination.service.as_str();
    let edits = RequestEdits {
        client: hop.caller.address,
        scheme: Scheme::Http,
        trust: hop.caller.trust,
        host_if_absent: Authority::parse(service).expect("a service's name is a host"),
        trace: hop.worker.random.trace_seed(),
    };
    let mut out = hop.worker.buffers.take();
    head.write_to(out.vec(), &edits);
    endpoint.write_all(out.bytes()).await
}

/// Sends a body.
struct Pump<'a> {
    worker: &'a Worker,
    begun: &'a Cell<bool>,
    progress: &'a Cell<Progress>,
    framing: Framing,
}

impl Pump<'_> {
    /// Sends the body on until it is whole. Only trouble ends it.
    async fn run(self, upload: &mut Upload, mut endpoint: WriteHalf<'_>, body: Body) -> Stopped {
        let mut more = body == Body::Some;
        while more {
            if self.begun.get() {
                upload.forget();
            }
            let Ok(piece) = upload.next().await else {
                return Stopped::CallerGone;
            };
            let (bytes, last) = match &piece {
                Piece::Data(bytes, last) => (bytes.len(), *last),
                Piece::Trailers(_) => (0, Last::Yes),
            };
            more = last == Last::No;
            let mut out = self.worker.buffers.take();
            match self.framing {
                Framing::Chunked => chunk(out.vec(), &piece),
                Framing::None | Framing::Length(_) | Framing::UntilClose => match &piece {
                    Piece::Data(bytes, _) => out.vec().extend_from_slice(bytes),
                    // A body of a stated length has no place for them.
                    Piece::Trailers(_) => {}
                },
            }
            if endpoint.write_all(out.bytes()).await.is_err() {
                return Stopped::EndpointDeaf;
            }
            upload.sent(bytes);
        }
        self.progress.set(Progress::Whole);
        pending().await
    }
}

/// A piece of a body as chunks have it.
fn chunk(out: &mut Vec<u8>, piece: &Piece) {
    let last = match piece {
        Piece::Data(bytes, last) => {
            if !bytes.is_empty() {
                write!(out, "{:x}\r\n", bytes.len()).expect("a Vec takes every write");
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            if *last == Last::No {
                return;
            }
            None
        }
        Piece::Trailers(trailers) => Some(trailers),
    };
    last_chunk(out, last);
}

/// The last chunk, and the trailers that may stand there.
pub(crate) fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if body::may_trail(name.as_str()) {
            push_field(out, name.as_str(), value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// One answer on its way.
pub(super) struct Download<'a, 's> {
    pub(super) worker: &'a Worker,
    asked: Asked,
    begun: &'a Cell<bool>,
    pub(super) endpoint: ReadHalf<'s>,
    pub(super) respond: &'a mut SendResponse<Bytes>,
    verdict: Verdict<'a>,
}

impl Download<'_, '_> {
    /// Relays interim heads and the final answer; whether the endpoint's connection goes on.
    async fn run(mut self) -> Result<Persistence, Tried> {
        let mut buffer = self.first_bytes().await?;
        loop {
            let head = self.next_head(&mut buffer).await?;
            match head.role() {
                Role::Interim => {
                    if let Some(interim) = head::response_from_http1(&head) {
                        // A caller that is gone is noticed elsewhere.
                        let _ = self.respond.send_informational(interim);
                    }
                }
                // It was not asked to.
                Role::Switching => return Err(Tried::Failed(Reject::Switch.to_string())),
                Role::Final => return self.answer(&head, buffer).await,
            }
        }
    }

    pub(super) async fn first_bytes(&mut self) -> Result<Buffer, Tried> {
        let read = tokio::select! {
            biased;
            read = self.worker.buffers.read(&mut self.endpoint) => read,
            _ = poll_fn(|context| self.respond.poll_reset(context)) => return Err(Tried::CallerGone),
        };
        match read {
            Ok(buffer) if !buffer.is_empty() => Ok(buffer),
            Ok(_) => Err(Tried::Unanswered("it ended".to_owned())),
            Err(error) => Err(Tried::Unanswered(error.to_string())),
        }
    }

    pub(super) async fn next_head(&mut self, buffer: &mut Buffer) -> Result<ResponseHead, Tried> {
        loop {
            if !buffer.is_empty() {
                let parsed = response::parse(buffer.bytes(), &mut self.asked, &self.worker.limits);
                let parsed = parsed.map_err(|reject| Tried::Failed(reject.to_string()))?;
                if let Parsed::Head { head, length } = parsed {
                    buffer.consume(length);
                    return Ok(head);
                }
            }
            match buffer.fill(&mut self.endpoint).await {
                Ok(1..) => {}
                Ok(0) => return Err(Tried::Failed("the connection ended within it".to_owned())),
                Err(error) => return Err(Tried::Failed(error.to_string())),
            }
        }
    }

    pub(super) async fn answer(
        mut self,
        head: &ResponseHead,
        buffer: Buffer,
    ) -> Result<Persistence, Tried> {
        self.verdict.answered(head.status());
        let response = head::response_from_http1(head);
        let response = response.ok_or_else(|| Tried::Failed("its head is malformed".to_owned()))?;
        let body = Decoder::new(head.framing(), &self.worker.limits);
        let ends = body.state() == State::Done;
        self.begun.set(true);
        let sent = self.respond.send_response(response, ends);
        let mut to_caller = sent.map_err(|_| Tried::CallerGone)?;
        let surplus = if ends {
            buffer.bytes().len()
        } else {
            self.relay(body, buffer, &mut to_caller).await?
        };
        Ok(match surplus {
            0 => head.persistence(),
            _ => Persistence::Close,
        })
    }

    /// Relays a body; returns how many bytes came too much.
    async fn relay(
        &mut self,
        mut body: Decoder,
        mut buffer: Buffer,
        to: &mut SendStream<Bytes>,
    ) -> Result<usize, Tried> {
        let mut trailers = Vec::new();
        loop {
            while !buffer.is_empty() && body.state() == State::More {
                let piece = body.piece(buffer.bytes()).map_err(|_| cut(to))?;
                trailers.extend_from_slice(&buffer.bytes()[piece.trailer]);
                let bytes = Bytes::copy_from_slice(&buffer.bytes()[piece.payload]);
                buffer.consume(piece.consumed);
                let last = match piece.state {
                    State::Done if trailers.is_empty() => Last::Yes,
                    State::Done | State::More => Last::No,
                };
                if !bytes.is_empty() || last == Last::Yes {
                    let sent = send_to_caller(to, Piece::Data(bytes, last)).await;
                    sent.map_err(|_| Tried::CallerGone)?;
                }
            }
            if body.state() == State::Done {
                if !trailers.is_empty() {
                    let mut map = HeaderMap::new();
                    head::append(&mut map, body::trailer_fields(&trailers))
                        .ok_or_else(|| cut(to))?;
                    let sent = send_to_caller(to, Piece::Trailers(map)).await;
                    sent.map_err(|_| Tried::CallerGone)?;
                }
                return Ok(buffer.bytes().len());
            }
            // Without a buffer while the endpoint is silent.
            drop(buffer);
            buffer = tokio::select! {
                biased;
                read = self.worker.buffers.read(&mut self.endpoint) => read.map_err(|_| cut(to))?,
                _ = poll_fn(|context| to.poll_reset(context)) => return Err(Tried::CallerGone),
            };
            if buffer.is_empty() {
                body.finish().map_err(|_| cut(to))?;
                let end = Piece::Data(Bytes::new(), Last::Yes);
                send_to_caller(to, end)
                    .await
                    .map_err(|_| Tried::CallerGone)?;
                return Ok(0);
            }
        }
    }
}

/// The caller has seen half of the answer, and will see no more.
pub(super) fn cut(to: &mut SendStream<Bytes>) -> Tried {
    to.send_reset(Reason::INTERNAL_ERROR);
    Tried::Cut(Reason::INTERNAL_ERROR)
}
