//! The next step of one instance towards its goal.

use std::sync::Arc;
use std::time::Duration;

use model::{Moment, Rest, ServiceSpec, Signal};

use crate::Action;
use crate::draft::{Draft, Whose};
use crate::instance::{Gate, Instance, Kind, Life};
use crate::readiness::{Due, Probing};
use crate::service::Ending;

/// Between two kills of a program that does not end.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// What is to become of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It runs and admits calls.
    Serve(Permit),
    /// It goes on as it is, until those that depend on it have ended.
    Keep,
    /// It sleeps so.
    Rest(Rest),
    /// Its program ends.
    Stop,
    /// It is no more.
    Remove,
}

/// Whether a program that does not run may be started now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Start,
    Wait,
}

/// What an instance's step depends on beside itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) whose: Whose<'a>,
    pub(crate) spec: &'a Arc<ServiceSpec>,
    pub(crate) ending: Ending,
    pub(crate) wanted_port: Option<u16>,
    /// Calls inside this instance.
    pub(crate) in_flight: u32,
}

impl Instance {
    /// Opens or closes its gate, and takes the next step towards `goal`, if one may be taken now.
    pub(crate) fn advance(&mut self, goal: Goal, terms: &Terms, draft: &mut Draft) {
        let serves = matches!(goal, Goal::Serve(_) | Goal::Keep);
        let overdue = self.drain_until.is_some_and(|until| until <= draft.now);
        if serves {
            self.look_after_readiness(terms, draft);
        }
        self.set_gate(serves, terms, draft);
        if self.pending.is_some() {
            return;
        }
        match (&self.life, goal) {
            (Life::New | Life::Down(_), Goal::Serve(Permit::Start)) => self.start(terms, draft),
            (Life::Down(_), Goal::Remove) => self.remove(terms, draft),
            (Life::Frozen(_), Goal::Serve(_) | Goal::Stop | Goal::Remove) => {
                self.thaw(terms, draft);
            }
            (Life::Frozen(_), Goal::Rest(Rest::Frozen)) if self.hitch.is_some() => {
                self.freeze(terms, draft);
            }
            (Life::Frozen(_), Goal::Rest(Rest::Stopped)) if self.hitch.is_some() => {
                self.thaw(terms, draft);
            }
            (Life::Running(run), Goal::Rest(rest)) => {
                // Only what was ready is frozen, since what was thawed is ready at once.
                let freezes = rest == Rest::Frozen && run.ready.is_yes();
                match (self.is_drained(terms, draft), freezes) {
                    (true, true) => self.freeze(terms, draft),
                    (true, false) => self.stop(terms, draft),
                    (false, _) => {}
                }
            }
            (Life::Running(_), Goal::Stop | Goal::Remove) => {
                if (overdue && self.is_closed(draft)) || self.is_drained(terms, draft) {
                    self.stop(terms, draft);
                }
            }
            (Life::Stopping { kill_at, kills }, _) => {
                let (kill_at, kills) = (*kill_at, *kills);
                self.kill(kill_at, kills, terms, draft);
            }
            (Life::New, Goal::Keep | Goal::Rest(_) | Goal::Stop | Goal::Remove)
            | (Life::New | Life::Down(_), Goal::Serve(Permit::Wait))
            | (Life::Down(_), Goal::Keep | Goal::Rest(_) | Goal::Stop)
            | (Life::Running(_), Goal::Serve(_) | Goal::Keep)
            | (Life::Frozen(_), Goal::Keep | Goal::Rest(_)) => {}
        }
    }

    fn look_after_readiness(&mut self, terms: &Terms, draft: &mut Draft) {
        let (None, Life::Running(run)) = (self.pending, &mut self.life) else {
            return;
        };
        match self
            .probing
            .due(run, terms.spec, terms.wanted_port, draft.now)
        {
            Due::Later(None) => {}
            Due::Later(Some(at)) => draft.due(at),
            Due::ReadyAtOnce => {
                if let Some(fact) = self.probing.succeed(run, terms.spec, draft.now) {
                    let happened = terms.whose.happened(Some(self.number), fact);
                    draft.events.push(happened);
                    // Others wait for that, and their goals are chosen already.
                    draft.due(draft.now);
                }
            }
            Due::Now(how, timeout) => {
                let id = terms.whose.id(self.number);
                self.probing
                    .ask(draft.step(Action::Probe { id, how, timeout }));
            }
        }
    }

    fn set_gate(&mut self, serves: bool, terms: &Terms, draft: &mut Draft) {
        let open = serves && self.is_ready();
        match (self.gate, open) {
            (_, true) => {
                self.gate = Gate::Open;
                self.hitch = None;
            }
            (Gate::Open, false) => {
                self.gate = Gate::Closed(draft.number);
                if !serves && matches!(self.life, Life::Running(_)) {
                    let fact = model::Fact::InstanceDraining;
                    draft
                        .events
                        .push(terms.whose.happened(Some(self.number), fact));
                    draft.due(draft.now);
                }
            }
            (Gate::Closed(_), false) => {}
        }
        match (&self.life, serves) {
            (Life::Running(_), false) => {
                let known = self.drain_until;
                let until = match terms.ending {
                    Ending::Graceful => known.unwrap_or(draft.now + terms.spec.stop_grace_period),
                    Ending::Killed => known.map_or(draft.now, |until| until.min(draft.now)),
                };
                self.drain_until = Some(until);
                if known != Some(until) || until > draft.now {
                    draft.due(until);
                }
            }
            (Life::Running(_), true)
            | (Life::New | Life::Frozen(_) | Life::Stopping { .. } | Life::Down(_), _) => {
                self.drain_until = None;
            }
        }
    }

    /// Whether no call came in since before this pass.
    fn is_closed(&self, draft: &Draft) -> bool {
        matches!(self.gate, Gate::Closed(number) if number < draft.number)
    }

    /// Whether nothing is in flight and nothing can come any more.
    fn is_drained(&self, terms: &Terms, draft: &Draft) -> bool {
        self.is_closed(draft) && terms.in_flight == 0
    }

    /// Whether a step that failed is not to be tried again yet.
    fn must_wait(&self, kind: Kind, draft: &mut Draft) -> bool {
        let next = match &self.hitch {
            Some(hitch) if hitch.kind == kind => hitch.backoff.next(),
            Some(_) | None => Moment::ZERO,
        };
        if next > draft.now {
            draft.due(next);
            return true;
        }
        false
    }

    fn issue(&mut self, kind: Kind, action: Action, draft: &mut Draft) {
        let ticket = draft.step(action);
        self.probing.call_off();
        self.changed = ticket;
        self.pending = Some(crate::instance::Pending {
            ticket,
            kind,
            since: draft.now,
        });
    }

    fn start(&mut self, terms: &Terms, draft: &mut Draft) {
        let action = Action::Start {
            id: terms.whose.id(self.number),
            revision: self.revision,
            spec: Arc::clone(terms.spec),
        };
        self.probing = Probing::default();
        self.issue(Kind::Start, action, draft);
    }

    fn thaw(&mut self, terms: &Terms, draft: &mut Draft) {
        if !self.must_wait(Kind::Thaw, draft) {
            let id = terms.whose.id(self.number);
            self.issue(Kind::Thaw, Action::Thaw { id }, draft);
        }
    }

    fn freeze(&mut self, terms: &Terms, draft: &mut Draft) {
        if !self.must_wait(Kind::Freeze, draft) {
            let id = terms.whose.id(self.number);
            self.issue(Kind::Freeze, Action::Freeze { id }, draft);
        }
    }

    fn remove(&mut self, terms: &Terms, draft: &mut Draft) {
        if !self.must_wait(Kind::Remove, draft) {
            self.condemned = true;
            let id = terms.whose.id(self.number);
            self.issue(Kind::Remove, Action::Remove { id }, draft);
        }
    }

    fn stop(&mut self, terms: &Terms, draft: &mut Draft) {
        let (signal, patience, kills) = match terms.ending {
            Ending::Graceful => (terms.spec.stop_signal, terms.spec.stop_grace_period, 0),
            Ending::Killed => (Signal::KILL, KILL_AGAIN, 1),
        };
        let kill_at = draft.now + patience;
        self.life = Life::Stopping { kill_at, kills };
        self.signal(signal, terms, draft);
    }

    /// Waits no longer for a program that was asked to end.
    pub(crate) fn hasten(&mut self, now: Moment) {
        if let Life::Stopping { kill_at, kills: 0 } = &mut self.life {
            *kill_at = now.min(*kill_at);
        }
    }

    fn kill(&mut self, kill_at: Moment, kills: u32, terms: &Terms, draft: &mut Draft) {
        if kill_at > draft.now {
            draft.due(kill_at);
            return;
        }
        if kills > 0 {
            // A killed program ends; if we were not told, we ask.
            self.doubt = true;
            draft.doubt = true;
        }
        self.life = Life::Stopping {
            kill_at: draft.now + KILL_AGAIN,
            kills: kills + 1,
        };
        self.signal(Signal::KILL, terms, draft);
    }

    fn signal(&mut self, signal: Signal, terms: &Terms, draft: &mut Draft) {
        let id = terms.whose.id(self.number);
        self.issue(Kind::Signal, Action::Signal { id, signal }, draft);
        if let Life::Stopping { kill_at, .. } = self.life {
            draft.due(kill_at);
        }
    }
}
