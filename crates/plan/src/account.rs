//! What a pass says of a service: where its calls may go, and why it is as it is.

use std::sync::Arc;

use model::{ActivationMode, InstanceId};

use crate::draft::{Draft, Whose};
use crate::goals::Setting;
use crate::instance::{Gate, Instance, Kind, Life};
use crate::posture::Posture;
use crate::readiness::Ready;
use crate::service::{Fate, Service, count};
use crate::{
    Availability, Demand, InstanceReason, InstanceReport, InstanceState, Reason, Route,
    ServiceReport, ServiceState,
};

/// What an account of a service depends on beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) whose: Whose<'a>,
    pub(crate) setting: Setting<'a>,
    /// What keeps it from starting, or from ending.
    pub(crate) waits: &'a [Reason],
    pub(crate) demand: &'a Demand,
}

impl Service {
    /// Where calls to it may go.
    pub(crate) fn route(&self, about: &Circumstances, draft: &mut Draft) -> Route {
        let open = |instance: &&Instance| instance.gate == Gate::Open;
        let ready: Vec<InstanceId> = self
            .instances
            .iter()
            .filter(open)
            .map(|instance| about.whose.id(instance.number))
            .collect();
        let availability = match self.refusal_of_calls(about, draft) {
            Some(reason) if ready.is_empty() => Availability::Refused(reason),
            Some(_) | None => Availability::Held,
        };
        Route {
            ready,
            availability,
        }
    }

    /// Why a call would be in vain, if it would.
    fn refusal_of_calls(&self, about: &Circumstances, draft: &mut Draft) -> Option<Reason> {
        match about.setting.fate {
            Fate::Stop(reason) | Fate::Remove(reason) => return Some(reason.clone()),
            Fate::Run => {}
        }
        if self.desired.wanted() == 0 {
            return Some(Reason::ScaledToZero);
        }
        if let Some(reason) = self.cannot_start(about.whose) {
            return Some(reason);
        }
        let failed = |reason: &&Reason| matches!(reason, Reason::DependencyFailed { .. });
        if let Some(reason) = about.waits.iter().find(failed) {
            return Some(reason.clone());
        }
        self.let_be_by_policy(about.whose, draft)
    }

    fn cannot_start(&self, whose: Whose) -> Option<Reason> {
        let refusal = self.refusal.as_ref()?;
        Some(Reason::Instance {
            id: whose.id(refusal.number),
            reason: InstanceReason::CannotStart {
                why: Arc::clone(&refusal.why),
            },
        })
    }

    /// Why no program of it runs or will by itself: all were let be. The next call starts those
    /// of an on-demand service again, but not at once if they never became ready.
    fn let_be_by_policy(&self, whose: Whose, draft: &mut Draft) -> Option<Reason> {
        let restart = self.desired.spec.restart;
        let on_demand = self.desired.mode == ActivationMode::OnDemand;
        let in_vain = |instance: &Instance| {
            instance.is_let_be(restart)
                && (!on_demand
                    || (instance.starts.next() > draft.now
                        && instance.fall().is_some_and(|down| !down.was_ready)))
        };
        let current = self.instances.iter().filter(|i| self.is_current(i));
        let last = current.clone().next_back()?;
        if !current.clone().all(in_vain) {
            return None;
        }
        if on_demand && let Some(next) = current.map(|i| i.starts.next()).min() {
            draft.due(next);
        }
        Some(Reason::Instance {
            id: whose.id(last.number),
            reason: self.instance_reason(last, whose, 0, draft)?,
        })
    }

    /// Why it is as it is.
    pub(crate) fn report(&self, about: &Circumstances, draft: &Draft) -> ServiceReport {
        let instance_report = |instance: &Instance| InstanceReport {
            id: about.whose.id(instance.number),
            revision: instance.revision,
            state: instance.state(),
        };
        ServiceReport {
            state: self.state(about),
            reasons: self.reasons(about, draft),
            revision: self.desired.revision,
            wanted: self.desired.wanted(),
            instances: self.instances.iter().map(instance_report).collect(),
        }
    }

    fn state(&self, about: &Circumstances) -> ServiceState {
        let ends = *about.setting.fate != Fate::Run || self.desired.wanted() == 0;
        let leaves = matches!(about.setting.fate, Fate::Remove(_)) && !self.instances.is_empty();
        match self.posture {
            _ if ends && (self.is_live() || leaves) => ServiceState::Stopping,
            _ if ends => ServiceState::Stopped,
            _ if self.refusal.is_some() => ServiceState::Failed,
            Posture::Resting { .. } => ServiceState::Resting,
            Posture::Asleep { .. } => ServiceState::Asleep,
            Posture::Awake { .. } => self.state_awake(about),
        }
    }

    fn state_awake(&self, about: &Circumstances) -> ServiceState {
        let restart = self.desired.spec.restart;
        let current: Vec<_> = self
            .instances
            .iter()
            .filter(|i| self.is_current(i))
            .collect();
        let of = |is: &dyn Fn(&Instance) -> bool| count(current.iter().filter(|i| is(i)));
        let ready = of(&|i| i.gate == Gate::Open);
        let completed = of(&|i| i.is_completed(restart));
        let let_be = of(&|i| i.is_let_be(restart));
        let lapsed = |i: &Instance| matches!(&i.life, Life::Running(run) if matches!(run.ready, Ready::NoLonger(_)));
        let failed = |reason: &Reason| matches!(reason, Reason::DependencyFailed { .. });
        let former = current.len() < self.instances.len();
        let always = self.desired.mode == ActivationMode::Always;
        if about.waits.iter().any(failed) {
            ServiceState::Failed
        } else if ready + completed >= self.desired.wanted() {
            match (former, ready) {
                (true, _) => ServiceState::Replacing,
                (false, 0) => ServiceState::Completed,
                (false, _) => ServiceState::Running,
            }
        } else if always && let_be > completed {
            ServiceState::Failed
        } else if about.setting.blocked {
            ServiceState::Waiting
        } else if of(&|i| i.fall().is_some()) > completed {
            ServiceState::BackingOff
        } else if former {
            ServiceState::Replacing
        } else if ready == 0 && of(&lapsed) > 0 {
            ServiceState::Unready
        } else {
            ServiceState::Starting
        }
    }

    fn reasons(&self, about: &Circumstances, draft: &Draft) -> Vec<Reason> {
        let mut reasons = Vec::new();
        match about.setting.fate {
            Fate::Stop(reason) | Fate::Remove(reason) => reasons.push(reason.clone()),
            Fate::Run if self.desired.wanted() == 0 => reasons.push(Reason::ScaledToZero),
            Fate::Run => {}
        }
        reasons.extend(self.cannot_start(about.whose));
        reasons.extend(about.waits.iter().cloned());
        for instance in &self.instances {
            let id = about.whose.id(instance.number);
            let in_flight = about.demand.in_flight(&id);
            if let Some(reason) = self.instance_reason(instance, about.whose, in_flight, draft) {
                reasons.push(Reason::Instance { id, reason });
            }
        }
        if *about.setting.fate == Fate::Run {
            self.reasons_of_number(&mut reasons);
            self.reasons_of_demand(about, draft, &mut reasons);
        }
        // It is kept until the next pass; a sleeping service has one.
        reasons.shrink_to_fit();
        reasons
    }

    fn reasons_of_number(&self, reasons: &mut Vec<Reason>) {
        let instances_max = self.desired.spec.scale.instances_max;
        let lacks = self
            .instances
            .iter()
            .any(|i| self.is_current(i) && matches!(i.life, Life::New) && i.pending.is_none());
        if self.desired.instances > instances_max || (lacks && self.live() >= instances_max) {
            reasons.push(Reason::NoRoom { instances_max });
        }
        let left = count(self.instances.iter().filter(|i| !self.is_current(i)));
        if left > 0 {
            reasons.push(Reason::Replaces { left });
        }
    }

    fn reasons_of_demand(&self, about: &Circumstances, draft: &Draft, reasons: &mut Vec<Reason>) {
        let demand = about.setting.demand;
        if demand.held > 0 {
            reasons.push(Reason::Holds { calls: demand.held });
        }
        if let Some(in_flight) = self.rest_called_off {
            reasons.push(Reason::RestCalledOff { in_flight });
        }
        match self.posture {
            Posture::Asleep { since } => reasons.push(Reason::Asleep {
                lasting: draft.now.since(since),
                rest: self.rest(),
            }),
            Posture::Resting { .. } => {}
            Posture::Awake { .. } if self.desired.mode == ActivationMode::Always => {}
            Posture::Awake { .. } if demand.in_flight + demand.connections > 0 => {
                reasons.push(Reason::Busy {
                    in_flight: demand.in_flight,
                    connections: demand.connections,
                });
            }
            Posture::Awake { .. } if demand.held > 0 => {}
            Posture::Awake { quiet_since } => reasons.push(Reason::RestsIn {
                after: draft.until(quiet_since + self.idle()),
            }),
        }
    }

    /// Why an instance is not simply ready or at rest.
    fn instance_reason(
        &self,
        instance: &Instance,
        whose: Whose,
        in_flight: u32,
        draft: &Draft,
    ) -> Option<InstanceReason> {
        debug_assert_eq!(*whose.service, self.desired.spec.name);
        if let Some(hitch) = &instance.hitch {
            return Some(InstanceReason::StepFailed {
                why: Arc::clone(&hitch.why),
                after: draft.until(hitch.backoff.next()),
            });
        }
        if let Some(pending) = instance.pending
            && pending.kind == Kind::Start
        {
            return Some(InstanceReason::Starts {
                lasting: draft.now.since(pending.since),
            });
        }
        match &instance.life {
            Life::Running(run) => match (&run.ready, instance.drain_until) {
                (_, Some(until)) => Some(InstanceReason::Drains {
                    in_flight,
                    left: draft.until(until),
                }),
                (Ready::Yes { .. }, None) => None,
                (Ready::NotYet(why), None) => Some(InstanceReason::NotReadyYet {
                    lasting: draft.now.since(run.asked),
                    why: why.clone(),
                }),
                (Ready::NoLonger(why), None) => {
                    let why = Arc::clone(why);
                    Some(InstanceReason::Unready { why })
                }
            },
            Life::Stopping { kill_at, kills } => Some(InstanceReason::Stops {
                left: match kills {
                    0 => draft.until(*kill_at),
                    _ => std::time::Duration::ZERO,
                },
            }),
            Life::Down(_) => self.reason_of_fall(instance, draft),
            Life::New | Life::Frozen(_) => None,
        }
    }

    fn reason_of_fall(&self, instance: &Instance, draft: &Draft) -> Option<InstanceReason> {
        let cause = instance.fall()?.cause.clone();
        if self
            .refusal
            .as_ref()
            .is_some_and(|r| r.number == instance.number)
        {
            // Said of the service already.
            return None;
        }
        let restart = self.desired.spec.restart;
        let after = draft.until(instance.starts.next());
        Some(match self.desired.mode {
            _ if !instance.is_let_be(restart) => InstanceReason::NextStart { after, cause },
            ActivationMode::Always => InstanceReason::LetBe { cause, restart },
            ActivationMode::OnDemand => InstanceReason::NextCallStarts { after, cause },
        })
    }
}

impl Instance {
    /// What it does, in one word.
    pub(crate) fn state(&self) -> InstanceState {
        match (self.pending.map(|pending| pending.kind), &self.life) {
            (Some(Kind::Start), _) => InstanceState::Starting,
            (Some(Kind::Freeze), _) => InstanceState::Freezing,
            (Some(Kind::Thaw), _) => InstanceState::Thawing,
            (Some(Kind::Remove), _) => InstanceState::Removing,
            (Some(Kind::Signal) | None, Life::Stopping { .. }) => InstanceState::Stopping,
            (Some(Kind::Signal) | None, Life::New) => InstanceState::New,
            (Some(Kind::Signal) | None, Life::Frozen(_)) => InstanceState::Frozen,
            (Some(Kind::Signal) | None, Life::Down(_)) => InstanceState::Ended,
            (Some(Kind::Signal) | None, Life::Running(run)) => match &run.ready {
                _ if self.drain_until.is_some() => InstanceState::Draining,
                Ready::NotYet(_) => InstanceState::Probing,
                Ready::Yes { .. } => InstanceState::Ready,
                Ready::NoLonger(_) => InstanceState::Unready,
            },
        }
    }
}
