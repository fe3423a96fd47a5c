//! One instance as the machine knows it, and how facts change that.
//!
//! ```text
//!          start                  freeze
//!   NEW ──────────► RUNNING ◄──────────────► FROZEN
//!                    ▲ │  │        thaw
//!              start │ │  └─ signal ──► STOPPING ── (grace period over) kill
//!                    │ ▼                   │
//!                   DOWN ◄─────────────────┘ exited
//!                    └─ remove ──► forgotten
//! ```
//! An edge is taken when its step is answered; STOPPING as soon as the signal is asked for. Only
//! one step of an instance is under way at a time, but for a probe, which changes nothing.
//! A failed step leaves the instance in doubt until the engine is observed again.

use std::sync::Arc;
use std::time::Duration;

use model::{ActivationMode, ExitStatus, Moment, Restart, Revision};

use crate::backoff::Backoff;
use crate::draft::Whose;
use crate::readiness::{Probing, Ready};
use crate::{Cause, Failure, Happened, Retry, ServiceDesired, Sight, Sighting, Ticket};

/// So long ready, and earlier failures are forgotten (as Docker's restart manager does).
const STEADY: Duration = Duration::from_secs(10);
/// The longest wait before a start.
const START_WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest wait before any other step that failed.
const STEP_WAIT_MAX: Duration = Duration::from_secs(10);

/// An instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) number: u32,
    pub(crate) revision: Revision,
    pub(crate) life: Life,
    pub(crate) pending: Option<Pending>,
    pub(crate) probing: Probing,
    pub(crate) gate: Gate,
    /// When it is stopped though calls are in flight.
    pub(crate) drain_until: Option<Moment>,
    pub(crate) starts: Backoff,
    pub(crate) hitch: Option<Hitch>,
    /// It is to be replaced though its revision is current.
    pub(crate) condemned: bool,
    /// Only the engine knows what it does.
    pub(crate) doubt: bool,
    /// Its end was observed; the fact of it may still come, and is old then.
    pub(crate) exit_unheard: bool,
    /// What was asked with this ticket, or an older one, knows less of it than we.
    pub(crate) changed: Ticket,
}

/// What it does, as far as we know.
#[derive(Debug, Clone)]
pub(crate) enum Life {
    /// It was never started.
    New,
    /// Its program runs.
    Running(Run),
    /// Its program runs, frozen.
    Frozen(Run),
    /// Its program was sent its stop signal.
    Stopping {
        /// When it is killed (again).
        kill_at: Moment,
        kills: u32,
    },
    /// Its program does not run.
    Down(Down),
}

/// A run of its program.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// When the start was asked for.
    pub(crate) asked: Moment,
    pub(crate) ready: Ready,
}

/// How it came not to run.
#[derive(Debug, Clone)]
pub(crate) struct Down {
    pub(crate) cause: Cause,
    pub(crate) by: By,
    /// Whether it was ready before.
    pub(crate) was_ready: bool,
}

/// Who ended a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Us,
    Itself,
}

/// A step that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) ticket: Ticket,
    pub(crate) kind: Kind,
    pub(crate) since: Moment,
}

/// Which step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Start,
    Freeze,
    Thaw,
    Signal,
    Remove,
}

/// Whether it admits calls, as the last pass had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// By the pass of this number; only a later one may believe that nothing is in flight.
    Closed(u64),
}

/// A step that failed and is to be tried again.
#[derive(Debug, Clone)]
pub(crate) struct Hitch {
    pub(crate) kind: Kind,
    pub(crate) backoff: Backoff,
    pub(crate) why: Arc<str>,
}

/// What its service must know after a fact.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    Nothing,
    /// It is no more.
    Gone,
    /// No instance can be started until a person changes something.
    CannotStart(Arc<str>),
    /// No instance can be frozen.
    CannotFreeze,
}

/// A fact that comes in.
#[derive(Debug)]
pub(crate) struct Hearing<'a> {
    pub(crate) whose: Whose<'a>,
    pub(crate) desired: &'a ServiceDesired,
    pub(crate) now: Moment,
    pub(crate) newest: Ticket,
    pub(crate) events: &'a mut Vec<Happened>,
    /// The engine must be observed.
    pub(crate) doubt: bool,
}

impl Hearing<'_> {
    pub(crate) fn tell(&mut self, number: u32, fact: model::Fact) {
        self.events.push(self.whose.happened(Some(number), fact));
    }
}

impl Instance {
    /// One that was not started yet.
    pub(crate) fn new(number: u32, revision: Revision) -> Self {
        Self {
            number,
            revision,
            life: Life::New,
            pending: None,
            probing: Probing::default(),
            gate: Gate::Closed(0),
            drain_until: None,
            starts: Backoff::default(),
            hitch: None,
            condemned: false,
            doubt: false,
            exit_unheard: false,
            changed: Ticket::default(),
        }
    }

    /// One that the engine has and we did not know.
    pub(crate) fn adopted(sighting: &Sighting, now: Moment) -> Self {
        let mut instance = Self::new(sighting.id.number, sighting.revision);
        let mut run = Run {
            asked: sighting.started,
            ready: Ready::NotYet(None),
        };
        instance.life = match sighting.state {
            Sight::Running => Life::Running(run),
            Sight::Frozen => {
                // Only what was ready is frozen.
                run.ready = Ready::Yes { since: now };
                Life::Frozen(run)
            }
            Sight::Exited(status) => {
                instance.exit_unheard = true;
                Life::Down(Down {
                    cause: Cause::Ended(status),
                    by: By::Itself,
                    was_ready: true,
                })
            }
        };
        instance
    }

    /// Whether its program runs, or may.
    pub(crate) fn is_live(&self) -> bool {
        match self.life {
            Life::Running(_) | Life::Frozen(_) | Life::Stopping { .. } => true,
            Life::New | Life::Down(_) => self.doubt || self.is_pending(Kind::Start),
        }
    }

    /// Whether it was never started, and is not about to.
    pub(crate) fn is_unstarted(&self) -> bool {
        matches!(self.life, Life::New) && self.pending.is_none()
    }

    /// Whether it may receive calls.
    pub(crate) fn is_ready(&self) -> bool {
        self.pending.is_none() && matches!(&self.life, Life::Running(run) if run.ready.is_yes())
    }

    /// Whether it neither runs nor is about to, or is frozen.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.pending.is_none()
            && !self.doubt
            && matches!(self.life, Life::New | Life::Frozen(_) | Life::Down(_))
    }

    pub(crate) fn is_pending(&self, kind: Kind) -> bool {
        self.pending.is_some_and(|pending| pending.kind == kind)
    }

    /// How it ended by itself, or why it could not be started.
    pub(crate) fn fall(&self) -> Option<&Down> {
        match &self.life {
            Life::Down(down) if down.by == By::Itself && self.pending.is_none() => Some(down),
            Life::Down(_)
            | Life::New
            | Life::Running(_)
            | Life::Frozen(_)
            | Life::Stopping { .. } => None,
        }
    }

    /// Whether its restart policy lets it be, now that it fell.
    pub(crate) fn is_let_be(&self, restart: Restart) -> bool {
        let Some(Down { cause, .. }) = self.fall() else {
            return false;
        };
        match (cause, restart) {
            (Cause::NotStarted(_), _)
            | (Cause::Ended(_), Restart::Always | Restart::UnlessStopped) => false,
            (Cause::Ended(_), Restart::No) => true,
            (Cause::Ended(status), Restart::OnFailure { attempts_max }) => {
                status.is_success() || attempts_max.is_some_and(|max| self.starts.failures() > max)
            }
        }
    }

    /// Whether it did what it was for: ended by itself with success, and is let be.
    pub(crate) fn is_completed(&self, restart: Restart) -> bool {
        self.is_let_be(restart)
            && self
                .fall()
                .is_some_and(|down| matches!(down.cause, Cause::Ended(s) if s.is_success()))
    }

    /// Forgets why it fell, so that it is started again as if we had stopped it.
    pub(crate) fn forgive(&mut self) {
        self.starts.reset();
        if let Life::Down(down) = &mut self.life {
            down.by = By::Us;
        }
    }

    /// The step that is under way was done.
    pub(crate) fn handle_done(&mut self, ticket: Ticket, heard: &mut Hearing) -> Afterwards {
        if self.probing.answered(ticket) {
            self.handle_ready(heard);
            return Afterwards::Nothing;
        }
        let Some(pending) = self.pending.take_if(|pending| pending.ticket == ticket) else {
            return Afterwards::Nothing;
        };
        self.changed = heard.newest;
        self.hitch = None;
        heard.doubt |= self.doubt;
        match (pending.kind, &self.life) {
            (Kind::Start, Life::New | Life::Down(_)) => {
                self.life = Life::Running(Run {
                    asked: pending.since,
                    ready: Ready::NotYet(None),
                });
                self.probing = Probing::default();
                heard.tell(self.number, model::Fact::InstanceStarted);
            }
            (Kind::Freeze, Life::Running(run)) => {
                self.life = Life::Frozen(run.clone());
                heard.tell(self.number, model::Fact::InstanceFrozen);
            }
            (Kind::Thaw, Life::Frozen(run)) => {
                let took = heard.now.since(pending.since);
                self.life = Life::Running(run.clone());
                self.probing = Probing::after_thaw(&heard.desired.spec, heard.now);
                heard.tell(self.number, model::Fact::InstanceThawed(took));
            }
            (Kind::Remove, _) => return Afterwards::Gone,
            (Kind::Start | Kind::Freeze | Kind::Thaw | Kind::Signal, _) => {}
        }
        Afterwards::Nothing
    }

    fn handle_ready(&mut self, heard: &mut Hearing) {
        if let Life::Running(run) = &mut self.life
            && let Some(fact) = self.probing.succeed(run, &heard.desired.spec, heard.now)
        {
            heard.tell(self.number, fact);
        }
    }

    /// The step that is under way failed.
    pub(crate) fn handle_failed(
        &mut self,
        ticket: Ticket,
        failure: &Failure,
        heard: &mut Hearing,
    ) -> Afterwards {
        let why = &failure.why;
        if self.probing.answered(ticket) {
            if let Life::Running(run) = &mut self.life
                && let Some(fact) = self.probing.fail(run, why, &heard.desired.spec, heard.now)
            {
                heard.tell(self.number, fact);
            }
            return Afterwards::Nothing;
        }
        let Some(pending) = self.pending.take_if(|pending| pending.ticket == ticket) else {
            return Afterwards::Nothing;
        };
        self.changed = heard.newest;
        self.doubt = true;
        heard.doubt = true;
        if pending.kind == Kind::Start {
            return self.handle_not_started(failure, heard);
        }
        self.fail_step(pending.kind, why, heard.now);
        if let (Kind::Freeze, Life::Running(run)) = (pending.kind, &self.life) {
            // It may be frozen: a thaw is harmless, a call to a frozen program is not.
            self.life = Life::Frozen(run.clone());
            if failure.retry == Retry::Never {
                return Afterwards::CannotFreeze;
            }
        }
        Afterwards::Nothing
    }

    fn handle_not_started(&mut self, failure: &Failure, heard: &mut Hearing) -> Afterwards {
        if matches!(self.life, Life::New | Life::Down(_)) {
            self.starts.fail(START_WAIT_MAX, heard.now);
            self.life = Life::Down(Down {
                cause: Cause::NotStarted(Arc::clone(&failure.why)),
                by: By::Itself,
                was_ready: false,
            });
        }
        heard.tell(
            self.number,
            model::Fact::StartFailed(failure.why.to_string()),
        );
        match failure.retry {
            Retry::Later => Afterwards::Nothing,
            Retry::Never => Afterwards::CannotStart(Arc::clone(&failure.why)),
        }
    }

    /// Remembers to wait before the step is tried again. (A signal is followed by a kill anyway.)
    fn fail_step(&mut self, kind: Kind, why: &Arc<str>, now: Moment) {
        if kind == Kind::Signal {
            return;
        }
        let same = self.hitch.take().filter(|hitch| hitch.kind == kind);
        let mut backoff = same.map(|hitch| hitch.backoff).unwrap_or_default();
        backoff.fail(STEP_WAIT_MAX, now);
        self.hitch = Some(Hitch {
            kind,
            backoff,
            why: Arc::clone(why),
        });
    }

    /// Its program ended, says an event.
    pub(crate) fn handle_exited(&mut self, status: ExitStatus, heard: &mut Hearing) {
        let of_an_earlier_run = std::mem::take(&mut self.exit_unheard);
        if !self.is_live() {
            return;
        }
        if of_an_earlier_run || self.is_pending(Kind::Start) {
            // Perhaps; the engine knows.
            self.doubt = true;
            heard.doubt = true;
            return;
        }
        self.end(status, heard);
    }

    /// Its program has ended.
    fn end(&mut self, status: ExitStatus, heard: &mut Hearing) {
        let (by, ready) = match &self.life {
            Life::Running(run) | Life::Frozen(run) => (By::Itself, run.ready.clone()),
            Life::Stopping { .. } => (By::Us, Ready::NotYet(None)),
            Life::New | Life::Down(_) => return,
        };
        let was_ready = !matches!(ready, Ready::NotYet(_));
        self.life = Life::Down(Down {
            cause: Cause::Ended(status),
            by,
            was_ready,
        });
        self.doubt = false;
        self.hitch = None;
        self.probing = Probing::default();
        self.changed = heard.newest;
        match by {
            By::Us => heard.tell(self.number, model::Fact::InstanceStopped(status)),
            By::Itself => {
                heard.tell(self.number, model::Fact::InstanceExited(status));
                self.count_fall(status, &ready, heard);
            }
        }
    }

    fn count_fall(&mut self, status: ExitStatus, ready: &Ready, heard: &mut Hearing) {
        let steady = matches!(ready, Ready::Yes { since } if heard.now.since(*since) >= STEADY);
        let desired = heard.desired;
        // An on-demand job ends after each call, and that is no failure.
        let job = desired.mode == ActivationMode::OnDemand && status.is_success();
        let was_ready = !matches!(ready, Ready::NotYet(_));
        if steady || (job && was_ready) {
            self.starts.reset();
        }
        if job && was_ready {
            return;
        }
        self.starts.fail(START_WAIT_MAX, heard.now);
        if let Restart::OnFailure {
            attempts_max: Some(attempts_max),
        } = desired.spec.restart
            && self.starts.failures() == attempts_max + 1
            && !status.is_success()
        {
            heard.tell(
                self.number,
                model::Fact::StartsGivenUp(self.starts.failures()),
            );
        }
    }

    /// The engine was observed: it has it so, or (`None`) has it not.
    pub(crate) fn handle_sighted(
        &mut self,
        ticket: Ticket,
        sighting: Option<&Sighting>,
        heard: &mut Hearing,
    ) {
        let state = sighting.map(|sighting| sighting.state);
        if self.pending.is_some() {
            return;
        }
        if self.changed >= ticket {
            heard.doubt |= self.doubt || !self.agrees(state);
            return;
        }
        self.doubt = false;
        match (state, &self.life) {
            (None, Life::New | Life::Down(_))
            | (Some(Sight::Exited(_)), Life::New | Life::Down(_))
            | (Some(Sight::Running), Life::Running(_) | Life::Stopping { .. })
            | (Some(Sight::Frozen), Life::Frozen(_)) => {}
            (None, _) => self.end(ExitStatus::Unknown, heard),
            (Some(Sight::Exited(status)), _) => {
                self.exit_unheard = true;
                self.end(status, heard);
            }
            (Some(Sight::Running), Life::Frozen(run)) => {
                self.life = Life::Running(run.clone());
                self.probing = Probing::after_thaw(&heard.desired.spec, heard.now);
            }
            (Some(Sight::Frozen), Life::Running(run)) => self.life = Life::Frozen(run.clone()),
            (Some(Sight::Running), Life::New | Life::Down(_))
            | (Some(Sight::Frozen), Life::New | Life::Down(_) | Life::Stopping { .. }) => {
                if let Some(sighting) = sighting {
                    self.life = Self::adopted(sighting, heard.now).life;
                }
            }
        }
    }

    fn agrees(&self, state: Option<Sight>) -> bool {
        match (state, &self.life) {
            (None, Life::New | Life::Down(_))
            | (Some(Sight::Running), Life::Running(_) | Life::Stopping { .. })
            | (Some(Sight::Frozen), Life::Frozen(_))
            | (Some(Sight::Exited(_)), Life::Down(_)) => true,
            (None | Some(_), _) => false,
        }
    }
}
