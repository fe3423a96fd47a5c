//! One call: sent to an endpoint, and to another if that one dies before it answers.
//!
//! A call may be repeated when its method is idempotent and its body, if it has one, is still in
//! our hands whole; then an endpoint that dies without a byte of an answer is not the caller's
//! concern. Any other call is repeated only while nothing of it was sent, that is, when no
//! connection could be made.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;

use http1::body::{Decoder, State};
use http1::request::{RequestEdits, RequestHead, Scheme};
use http1::{Answer, Authority, Persistence, Reject};
use model::{InstanceId, Moment};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tracing::debug;

use super::Route;
use super::download::{Answered, Broken, Download};
use super::inbox::Inbox;
use super::refusal::Refusal;
use super::upload::{Progress, Trouble, upload};
use crate::connection::{Caller, HELD_GRACE, gone};
use crate::dial::{self, Dialled, Line, NotDialled, dial_call};
use crate::http2::Spoken;
use crate::ingress::Hosts;
use crate::pool::Reuse;
use crate::verdict::Verdict;
use crate::worker::{Destination, Worker};

/// What becomes of the caller's connection after a call.
pub(super) enum Next {
    /// Another call.
    Call,
    /// It is closed.
    Close,
    /// It is closed once the caller has seen our answer, since it may still be sending.
    Linger,
    /// It is reset, since the answer cannot be completed.
    Abort,
    /// It speaks another protocol with this endpoint from here on.
    Relay(Box<Dialled>),
}

/// One call.
pub(super) struct Exchange<'a, 'w> {
    pub(super) worker: &'w Worker,
    pub(super) caller: Caller,
    pub(super) head: &'a RequestHead,
    pub(super) inbox: &'a mut Inbox<'w>,
    /// As far as the body has been seen.
    pub(super) body: Decoder,
    /// How much of the body stands at the front of the inbox.
    pub(super) ahead: usize,
}

/// How one try to have a call answered ended.
pub(super) enum Tried {
    Answered(Answered),
    Broken(Broken),
    /// The caller's body is malformed, and the caller has seen nothing of an answer.
    Rejected(Reject),
}

impl<'a, 'w> Exchange<'a, 'w> {
    pub(super) fn new(
        worker: &'w Worker,
        caller: Caller,
        head: &'a RequestHead,
        inbox: &'a mut Inbox<'w>,
    ) -> Self {
        let body = Decoder::new(head.framing(), &worker.limits);
        Self {
            worker,
            caller,
            head,
            inbox,
            body,
            ahead: 0,
        }
    }

    /// Has the call answered, by an endpoint or by us.
    pub(super) async fn run(
        mut self,
        client: &mut TcpStream,
        route: &Route,
        dialled: Option<Result<Box<Dialled>, NotDialled>>,
    ) -> Next {
        match self.body.advance(self.inbox.bytes()) {
            Ok(advanced) => self.ahead = advanced.consumed,
            Err(reject) => return self.refuse_body(client, reject).await,
        }
        let found;
        let destination = match route {
            Route::To(destination) => destination,
            Route::ByHost(hosts) => match self.find(*hosts) {
                Ok(destination) => {
                    found = destination;
                    &found
                }
                Err(words) => return self.refuse(client, &Refusal::new(404, words)).await,
            },
        };
        self.until_answered(client, destination, dialled).await
    }

    fn find(&self, hosts: Hosts) -> Result<Destination, String> {
        let host = self
            .head
            .authority()
            .map_or("", |authority| authority.host());
        hosts.find(&self.worker.snapshots.borrow(), host)
    }

    async fn until_answered(
        &mut self,
        client: &mut TcpStream,
        destination: &Destination,
        mut prepared: Option<Result<Box<Dialled>, NotDialled>>,
    ) -> Next {
        let whole = self.body.state() == State::Done;
        let repeatable = self.head.method().is_idempotent() && whole;
        let mut reuse = if repeatable {
            Reuse::Any
        } else {
            Reuse::Recent
        };
        let mut tried: Vec<InstanceId> = Vec::new();
        let mut retries_left = dial::RETRIES_MAX;
        let mut counted = false;
        loop {
            let dialled = match prepared.take() {
                Some(dialled) => dialled.map(|dialled| Dialled {
                    entered: dialled.entered,
                    line: Line::Http1(dialled.line),
                }),
                None => tokio::select! {
                    biased;
                    dialled = dial_call(
                        self.worker, destination, &mut tried, reuse, Spoken::Http1,
                    ) => dialled,
                    () = gone(client, HELD_GRACE) => return Next::Close,
                },
            };
            let mut dialled = match dialled {
                Ok(dialled) => dialled,
                Err(why) => return self.refuse(client, &Refusal::from(&why)).await,
            };
            if !std::mem::replace(&mut counted, true) {
                dialled.entered.call.count();
            }
            let activity = Arc::clone(&dialled.entered.service.activity);
            let begun = self.worker.now();
            activity.touch(begun);
            let outcome = self.attempt(client, &mut dialled, destination, begun).await;
            if let Tried::Broken(broken) = &outcome
                && broken.blames_endpoint(dialled.is_new())
            {
                Verdict::new(self.worker, &dialled.entered, begun).failed();
            }
            activity.touch(self.worker.now());
            match outcome {
                Tried::Answered(answered) => {
                    return self.after(dialled, destination.port, answered);
                }
                Tried::Broken(ref broken)
                    if retries_left > 0
                        && broken.allows_retry(repeatable, whole)
                        && self.affords_retry(&dialled) =>
                {
                    let instance = dialled.entered.call.endpoint().instance();
                    debug!(%instance, ?broken, "no answer; the call is repeated");
                    reuse = Reuse::Never;
                    if dialled.is_new() {
                        tried.push(instance.clone());
                        retries_left -= 1;
                    }
                }
                Tried::Broken(broken) => return self.broken(client, &dialled, broken).await,
                Tried::Rejected(reject) => return self.refuse_body(client, reject).await,
            }
        }
    }

    /// Whether another try is within the service's budget; one after a connection that had been dead
    /// for long costs nothing.
    fn affords_retry(&self, dialled: &Dialled<Line>) -> bool {
        let activity = &dialled.entered.service.activity;
        !dialled.is_new() || activity.may_retry(self.worker.now())
    }

    /// Sends the call to an endpoint and relays its answer, both at the same time.
    async fn attempt(
        &mut self,
        client: &mut TcpStream,
        dialled: &mut Dialled<Line>,
        destination: &Destination,
        begun: Moment,
    ) -> Tried {
        let verdict = Verdict::new(self.worker, &dialled.entered, begun);
        let endpoint = match &mut dialled.line {
            Line::Http1(connected) => &mut connected.stream,
            Line::Http2(slot) => {
                // In a box, so that calls by HTTP/1.1 do not keep room for it.
                return Box::pin(self.attempt_over_http2(client, slot, destination, verdict)).await;
            }
        };
        let (from_endpoint, mut to_endpoint) = endpoint.split();
        let (mut from_caller, to_caller) = client.split();
        if let Err(error) = self.send(&mut to_endpoint, destination).await {
            return Tried::Broken(Broken::Unanswered(error));
        }
        let progress = Cell::new(Progress::Whole);
        if self.body.state() == State::More {
            progress.set(Progress::Partly);
            self.inbox.consume(std::mem::take(&mut self.ahead));
        }
        let begun = Cell::new(false);
        let mut download = pin!(
            Download {
                worker: self.worker,
                verdict,
                head: self.head,
                progress: &progress,
                begun: &begun,
                endpoint: from_endpoint,
                caller: to_caller,
            }
            .run()
        );
        let (body, inbox) = (&mut self.body, &mut *self.inbox);
        let upload = upload(
            self.worker,
            &mut from_caller,
            &mut to_endpoint,
            body,
            inbox,
            &progress,
        );
        let downloaded = tokio::select! {
            biased;
            downloaded = &mut download => downloaded,
            trouble = upload => match trouble {
                Trouble::EndpointDeaf => download.await,
                Trouble::CallerGone => Err(Broken::CallerGone),
                Trouble::Rejected(_) if begun.get() => Err(Broken::Midway),
                Trouble::Rejected(reject) => return Tried::Rejected(reject),
            },
        };
        match downloaded {
            Ok(Answered::Whole { caller, .. }) if progress.get() == Progress::Partly => {
                Tried::Answered(Answered::Whole {
                    caller,
                    endpoint: Persistence::Close,
                })
            }
            Ok(answered) => Tried::Answered(answered),
            Err(broken) => Tried::Broken(broken),
        }
    }

    /// Sends the head, and what has already arrived of the body, in one write.
    async fn send(
        &self,
        endpoint: &mut WriteHalf<'_>,
        destination: &Destination,
    ) -> std::io::Result<()> {
        let service = destination.service.as_str();
        let edits = RequestEdits {
            client: self.caller.address,
            scheme: Scheme::Http,
            trust: self.caller.trust,
            host_if_absent: Authority::parse(service).expect("a service's name is a host"),
            trace: self.worker.random.trace_seed(),
        };
        let mut out = self.worker.buffers.take();
        self.head.write_to(out.vec(), &edits);
        out.vec()
            .extend_from_slice(&self.inbox.bytes()[..self.ahead]);
        endpoint.write_all(out.bytes()).await
    }

    /// Keeps what can be kept.
    fn after(&mut self, dialled: Dialled<Line>, port: u16, answered: Answered) -> Next {
        self.inbox.consume(std::mem::take(&mut self.ahead));
        let Dialled { entered, line } = dialled;
        match (answered, line) {
            (Answered::Switched, Line::Http1(line)) => {
                Next::Relay(Box::new(Dialled { entered, line }))
            }
            // A channel is not to be had for one call alone, and is not asked for it.
            (Answered::Switched, Line::Http2(_)) => Next::Abort,
            (Answered::Whole { caller, endpoint }, line) => {
                if let (Persistence::Persist, Line::Http1(connected)) = (endpoint, line) {
                    let pool = &self.worker.pool;
                    pool.put(entered.call.endpoint(), port, connected.stream);
                }
                match caller {
                    Persistence::Persist => Next::Call,
                    Persistence::Close if self.has_unread() => Next::Linger,
                    Persistence::Close => Next::Close,
                }
            }
        }
    }

    fn has_unread(&self) -> bool {
        self.body.state() == State::More || !self.inbox.bytes().is_empty()
    }

    async fn broken(
        &mut self,
        client: &mut TcpStream,
        dialled: &Dialled<Line>,
        broken: Broken,
    ) -> Next {
        let instance = dialled.entered.call.endpoint().instance();
        let words = match broken {
            Broken::Midway => return Next::Abort,
            Broken::CallerGone => return Next::Close,
            Broken::NotTaken(why) => format!("{} did not take the call: {why}", instance.short()),
            Broken::Unanswered(error) => {
                format!(
                    "{} ended the connection without an answer: {error}",
                    instance.short()
                )
            }
            Broken::Interrupted(error) => {
                format!(
                    "{} ended the connection within its answer: {error}",
                    instance.short()
                )
            }
            Broken::Malformed(reject) => {
                format!("{} gave no valid answer: {reject}", instance.short())
            }
        };
        debug!(%instance, %words, "a call failed");
        self.refuse(client, &Refusal::new(502, words)).await
    }

    /// Answers in the endpoint's place.
    async fn refuse(&mut self, client: &mut TcpStream, refusal: &Refusal) -> Next {
        self.inbox.consume(std::mem::take(&mut self.ahead));
        let ends = self.body.state() == State::More || self.worker.draining.is_cancelled();
        let persistence = if ends {
            Persistence::Close
        } else {
            self.head.persistence()
        };
        let answer = refusal.to_bytes(self.head, persistence);
        match client.write_all(&answer).await {
            Ok(()) if persistence == Persistence::Persist => Next::Call,
            Ok(()) => Next::Linger,
            Err(error) => {
                debug!(%error, "the caller went away before it was answered");
                Next::Close
            }
        }
    }

    /// Nobody knows where the next request would begin.
    async fn refuse_body(&mut self, client: &mut TcpStream, reject: Reject) -> Next {
        debug!(%reject, "a request's body was refused");
        match client.write_all(&Answer::refusing(reject)).await {
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        }
    }
}
