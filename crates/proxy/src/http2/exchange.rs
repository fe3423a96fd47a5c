//! One try to have a call answered by an endpoint that speaks HTTP/2 as well.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use ::bytes::Bytes;
use ::http::request::Parts;
use ::http::{HeaderValue, Request, Response};
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};

use super::channel::{Body, Slot};
use super::upload::{Gone, Last, Piece, Upload, piece, send, send_to_caller};
use crate::dial::Origin;
use crate::verdict::Verdict;

impl Tried {
    /// The same, of a try whose answer had begun.
    pub(super) fn after_head(self) -> Self {
        if matches!(self, Self::CallerGone) {
            return Self::Left;
        }
        self
    }

    /// Whether the endpoint is to blame, on a connection that was made for this call or not.
    pub(super) fn blames_endpoint(&self, origin: Origin) -> bool {
        match self {
            Self::Unanswered(_) => origin == Origin::New,
            Self::Failed(_) => true,
            Self::Cut(reason) => *reason == Reason::INTERNAL_ERROR,
            Self::Answered
            | Self::CallerGone
            | Self::Left
            | Self::NotTaken(_)
            | Self::Rejected(_) => false,
        }
    }
}

/// How a try ended.
#[derive(Debug)]
pub(super) enum Tried {
    /// The caller has the whole answer.
    Answered,
    /// The caller has gone before the answer began.
    CallerGone,
    /// The caller has seen enough of the answer.
    Left,
    /// The endpoint took no notice of the call, which may be sent again whatever it is.
    NotTaken(String),
    /// The endpoint ended the connection before it answered a single byte.
    Unanswered(String),
    /// The endpoint gave no answer that could be passed on, for this reason in words.
    Failed(String),
    /// The call is malformed, and the caller has seen nothing of an answer.
    Rejected(http1::Reject),
    /// The call was cut off, by the endpoint, or since half of its answer is missing.
    Cut(Reason),
}

/// What a call is made of; every try borrows it.
pub(super) struct Message<'a> {
    pub(super) head: &'a Parts,
    pub(super) upload: &'a mut Upload,
    pub(super) respond: &'a mut SendResponse<Bytes>,
    pub(super) verdict: Verdict<'a>,
}

/// Why an upload cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    CallerGone,
    /// The endpoint takes no more; it may have answered.
    EndpointDeaf,
}

pub(super) async fn exchange(slot: &Slot, message: Message<'_>) -> Tried {
    let Message {
        head,
        upload,
        respond,
        verdict,
    } = message;
    let request = Request::from_parts(head.clone(), ());
    let body = if upload.is_empty() {
        Body::None
    } else {
        Body::Some
    };
    let (mut response, to_endpoint) = match slot.send(request, body) {
        Ok(begun) => begun,
        Err(error) => return Tried::NotTaken(error.to_string()),
    };
    let begun = Cell::new(false);
    let mut uploading = pin!(pump(upload, to_endpoint, body, &begun));
    let first = async { first(&mut response, respond).await };
    let response = match unless_gone(first, uploading.as_mut()).await {
        Ok(First::Answer(response)) => response,
        Ok(First::Failed(error)) => return failed(&error),
        Ok(First::CallerGone) | Err(Gone) => return Tried::CallerGone,
    };
    begun.set(true);
    verdict.answered(status(&response));
    let (head, mut from_endpoint) = response.into_parts();
    let ends = from_endpoint.is_end_stream();
    let Ok(mut to_caller) = respond.send_response(Response::from_parts(head, ()), ends) else {
        return Tried::CallerGone;
    };
    if ends {
        return Tried::Answered;
    }
    let downloading = download(&mut from_endpoint, &mut to_caller);
    let downloaded = unless_gone(downloading, uploading).await;
    downloaded.unwrap_or(Tried::CallerGone).after_head()
}

/// An answer's status, as HTTP/1.1 would have it: gRPC has a way of its own to say "unavailable".
fn status<B>(response: &Response<B>) -> u16 {
    let unavailable = response.headers().get("grpc-status");
    match unavailable.map(HeaderValue::as_bytes) {
        Some(b"14") => 503,
        Some(_) | None => response.status().as_u16(),
    }
}

/// Runs `work` while the body goes up, until the caller has gone.
pub(super) async fn unless_gone<T>(
    work: impl Future<Output = T>,
    mut uploading: Pin<&mut impl Future<Output = Stopped>>,
) -> Result<T, Gone> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => Ok(done),
        stopped = &mut uploading => match stopped {
            Stopped::CallerGone => Err(Gone),
            Stopped::EndpointDeaf => Ok(work.await),
        },
    }
}

/// The first that comes back.
enum First {
    Answer(Response<RecvStream>),
    Failed(h2::Error),
    CallerGone,
}

/// Passes interim heads on, and waits for the answer's.
async fn first(response: &mut ResponseFuture, respond: &mut SendResponse<Bytes>) -> First {
    poll_fn(|context| {
        if respond.poll_reset(context).is_ready() {
            return Poll::Ready(First::CallerGone);
        }
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(context) {
            // A caller that is gone is noticed above.
            let _ = respond.send_informational(interim);
        }
        Pin::new(&mut *response)
            .poll(context)
            .map(|answer| match answer {
                Ok(answer) => First::Answer(answer),
                Err(error) => First::Failed(error),
            })
    })
    .await
}

/// What an endpoint's failure before its answer means for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It took no notice of the call.
    NotTaken,
    /// It ended the connection.
    Unanswered,
    /// It gave the call up.
    Reset(Reason),
    /// What it said is no answer.
    Malformed,
}

impl Failure {
    pub(crate) fn of(error: &h2::Error) -> Self {
        let reset = error.reason().filter(|_| error.is_reset());
        match reset {
            _ if error.is_remote() && error.is_go_away() => Self::NotTaken,
            Some(Reason::REFUSED_STREAM) if error.is_remote() => Self::NotTaken,
            Some(reason) if error.is_remote() => Self::Reset(reason),
            Some(_) => Self::Malformed,
            None => Self::Unanswered,
        }
    }
}

fn failed(error: &h2::Error) -> Tried {
    match Failure::of(error) {
        Failure::NotTaken => Tried::NotTaken(error.to_string()),
        Failure::Unanswered => Tried::Unanswered(error.to_string()),
        Failure::Reset(reason) => Tried::Cut(reason),
        Failure::Malformed => Tried::Failed(error.to_string()),
    }
}

/// Sends the body on until it is whole. Only trouble ends it.
async fn pump(
    upload: &mut Upload,
    mut to_endpoint: SendStream<Bytes>,
    body: Body,
    begun: &Cell<bool>,
) -> Stopped {
    let mut more = body == Body::Some;
    while more {
        if begun.get() {
            upload.forget();
        }
        let Ok(piece) = upload.next().await else {
            return Stopped::CallerGone;
        };
        let bytes = match &piece {
            Piece::Data(bytes, last) => {
                more = *last == Last::No;
                bytes.len()
            }
            Piece::Trailers(_) => {
                more = false;
                0
            }
        };
        if send(&mut to_endpoint, piece).await.is_err() {
            return Stopped::EndpointDeaf;
        }
        upload.sent(bytes);
    }
    // Held until the answer is whole: letting go of an open stream resets it.
    let _open = to_endpoint;
    pending().await
}

/// Relays the answer's body and trailers.
async fn download(from: &mut RecvStream, to: &mut SendStream<Bytes>) -> Tried {
    loop {
        let next = tokio::select! {
            biased;
            next = piece(from) => next,
            _ = poll_fn(|context| to.poll_reset(context)) => return Tried::CallerGone,
        };
        let piece = match next {
            Ok(piece) => piece,
            Err(error) => {
                let reason = error
                    .reason()
                    .filter(|_| error.is_reset() && error.is_remote());
                let reason = reason.unwrap_or(Reason::INTERNAL_ERROR);
                to.send_reset(reason);
                return Tried::Cut(reason);
            }
        };
        let (bytes, last) = match &piece {
            Piece::Data(bytes, last) => (bytes.len(), *last),
            Piece::Trailers(_) => (0, Last::Yes),
        };
        if send_to_caller(to, piece).await.is_err() {
            return Tried::CallerGone;
        }
        if last == Last::Yes {
            return Tried::Answered;
        }
        // Of a stream that was reset the connection's window was given back already.
        let _ = from.flow_control().release_capacity(bytes);
    }
}
