//! One call of a caller that speaks HTTP/2: judged, sent to an endpoint, and to another if that one
//! takes no notice of it or dies before it answers.
//!
//! A call may be repeated while nothing of its answer has come and its body is still in our hands:
//! whatever it is, if the endpoint says that it took no notice of it (REFUSED_STREAM, or a GOAWAY that
//! leaves it out); an idempotent one also if the endpoint ended the connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use ::bytes::Bytes;
use ::http::request::Parts;
use ::http::{Method, Request};
use h2::RecvStream;
use h2::server::SendResponse;
use http1::Authority;
use model::{InstanceId, Moment};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::exchange::{Message, Tried, exchange};
use super::refusal::{Manner, patience};
use super::upload::Upload;
use super::{Spoken, head, to_http1, websocket};
use crate::connection::Caller;
use crate::dial::{self, Connected, Dialled, Line, NotDialled, Origin, dial_call};
use crate::http::{Refusal, Route};
use crate::pool::Reuse;
use crate::verdict::Verdict;
use crate::worker::{Destination, Worker};

/// The longest deadline that a caller can set.
const PATIENCE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How a call ended, as far as the caller has a part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    /// The caller gave it up before an answer began.
    Abandoned,
}

/// One call.
pub(super) struct Call<'w> {
    worker: &'w Worker,
    caller: Caller,
    route: &'w Route,
    head: Parts,
    upload: Upload,
    respond: SendResponse<Bytes>,
    manner: Manner,
}

impl<'w> Call<'w> {
    pub(super) fn new(
        worker: &'w Worker,
        caller: Caller,
        route: &'w Route,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Self {
        let (head, body) = request.into_parts();
        Self {
            worker,
            caller,
            route,
            manner: Manner::of(&head.method, &head.headers),
            head,
            upload: Upload::new(body),
            respond,
        }
    }

    /// Has the call answered, by an endpoint or by us.
    pub(super) async fn run(mut self, prepared: Option<Result<Box<Dialled>, NotDialled>>) -> Ended {
        if let Err(words) = self.judge() {
            return self.refuse(&Refusal::new(400, words.to_owned()));
        }
        let found;
        let destination = match self.route {
            Route::To(destination) => destination,
            Route::ByHost(hosts) => {
                let authority = self
                    .head
                    .uri
                    .authority()
                    .map(|authority| authority.as_str());
                let host = authority.and_then(|authority| Authority::parse(authority).ok());
                let host = host.map_or("", |authority| authority.host());
                match hosts.find(&self.worker.snapshots.borrow(), host) {
                    Ok(destination) => found = destination,
                    Err(words) => return self.refuse(&Refusal::new(404, words)),
                }
                &found
            }
        };
        match prepared {
            Some(Err(why)) => self.refuse(&Refusal::from(&why)),
            // A connection that may not speak HTTP/2 is of no use.
            Some(Ok(_)) | None => self.until_answered(destination).await,
        }
    }

    fn judge(&mut self) -> Result<(), &'static str> {
        if self.head.method == Method::CONNECT && !websocket::is_asked_for(&self.head) {
            return Err("the method CONNECT is not offered here");
        }
        head::settle(&mut self.head)
    }

    async fn until_answered(mut self, destination: &Destination) -> Ended {
        let deadline = patience(&self.head.headers).unwrap_or(PATIENCE_MAX);
        let deadline = Instant::now() + deadline.min(PATIENCE_MAX);
        let repeatable = self.head.method.is_idempotent();
        let mut reuse = Reuse::Recent;
        if repeatable && self.upload.is_whole() {
            reuse = Reuse::Any;
        }
        let mut tried: Vec<InstanceId> = Vec::new();
        let mut retries_left = dial::RETRIES_MAX;
        let mut counted = false;
        loop {
            let dialling = dial_call(self.worker, destination, &mut tried, reuse, Spoken::Http2);
            let dialled = tokio::select! {
                biased;
                dialled = timeout_at(deadline, dialling) => dialled,
                _ = poll_fn(|context| self.respond.poll_reset(context)) => return Ended::Abandoned,
            };
            let dialled = match dialled {
                Ok(Ok(dialled)) => dialled,
                Ok(Err(why)) => return self.refuse(&Refusal::from(&why)),
                Err(_elapsed) => return self.refuse(&late(destination)),
            };
            if !std::mem::replace(&mut counted, true) {
                dialled.entered.call.count();
            }
            let activity = Arc::clone(&dialled.entered.service.activity);
            let begun = self.worker.now();
            activity.touch(begun);
            let instance = dialled.entered.call.endpoint().instance().clone();
            let (outcome, origin) = self.attempt(dialled, destination, begun).await;
            activity.touch(self.worker.now());
            let again = match &outcome {
                Tried::NotTaken(_) => self.upload.can_repeat(),
                Tried::Unanswered(_) => repeatable && self.upload.is_whole(),
                Tried::Answered
                | Tried::CallerGone
                | Tried::Left
                | Tried::Failed(_)
                | Tried::Rejected(_)
                | Tried::Cut(_) => false,
            };
            // A try after a connection that had been dead for long costs nothing.
            let affords = || origin == Origin::Pool || activity.may_retry(self.worker.now());
            if !again || retries_left == 0 || !affords() {
                return self.finish(&instance, outcome);
            }
            debug!(%instance, ?outcome, "the call is repeated");
            self.upload.rewind();
            reuse = Reuse::Never;
            if origin == Origin::New {
                tried.push(instance);
            }
            retries_left -= 1;
        }
    }

    /// One try, and whether what led to the endpoint was made for it.
    async fn attempt(
        &mut self,
        dialled: Dialled<Line>,
        destination: &Destination,
        begun: Moment,
    ) -> (Tried, Origin) {
        let (entered, worker) = (dialled.entered, self.worker);
        let verdict = Verdict::new(worker, &entered, begun);
        let message = Message {
            head: &self.head,
            upload: &mut self.upload,
            respond: &mut self.respond,
            verdict,
        };
        let (tried, origin) = match dialled.line {
            Line::Http2(slot)
                if websocket::is_asked_for(&self.head) && !slot.takes_extended_connect() =>
            {
                let words = "it takes no WebSocket over HTTP/2".to_owned();
                (Tried::Failed(words), Origin::New)
            }
            Line::Http2(slot) => {
                let mut head = self.head.clone();
                head::forward(&mut head, self.caller, worker.random.trace_seed());
                let message = Message {
                    head: &head,
                    ..message
                };
                // A shared connection is rarely new, and an endpoint that refuses is not tried again.
                (exchange(&slot, message).await, Origin::New)
            }
            Line::Http1(Connected { mut stream, origin }) => {
                let hop = to_http1::Hop {
                    worker,
                    caller: self.caller,
                    destination,
                };
                // In a box, so that calls by HTTP/2 do not keep room for it.
                let trying = Box::pin(to_http1::exchange(&hop, &mut stream, message));
                let (tried, persistence) = trying.await;
                if persistence == http1::Persistence::Persist {
                    let endpoint = entered.call.endpoint();
                    worker.pool.put(endpoint, destination.port, stream);
                }
                (tried, origin)
            }
        };
        if tried.blames_endpoint(origin) {
            verdict.failed();
        }
        (tried, origin)
    }

    fn finish(&mut self, instance: &InstanceId, outcome: Tried) -> Ended {
        let instance = instance.short();
        let words = match outcome {
            Tried::Answered | Tried::Left => return Ended::Answered,
            Tried::CallerGone => return Ended::Abandoned,
            Tried::Cut(reason) => {
                self.respond.send_reset(reason);
                return Ended::Answered;
            }
            Tried::Rejected(reject) => {
                return self.refuse(&Refusal::new(reject.status(), reject.to_string()));
            }
            Tried::NotTaken(why) => format!("{instance} did not take the call: {why}"),
            Tried::Unanswered(why) => {
                format!("{instance} ended the connection without an answer: {why}")
            }
            Tried::Failed(why) => format!("{instance} gave no valid answer: {why}"),
        };
        debug!(%words, "a call failed");
        self.refuse(&Refusal::new(502, words))
    }

    fn refuse(&mut self, refusal: &Refusal) -> Ended {
        self.manner.refuse(&mut self.respond, refusal);
        Ended::Answered
    }
}

fn late(destination: &Destination) -> Refusal {
    let words = format!("{destination} was not ready before the call's own deadline");
    Refusal::new(408, words)
}
