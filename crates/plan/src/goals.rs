//! Which instances a service keeps, starts, replaces and gives up.
//!
//! Of its current instances it keeps the best, ready ones first and older ones before newer; the
//! rest are victims. Instances of another revision, and condemned ones, go on serving until as
//! many current ones are ready; new ones are started beside them as far as there is room, and one
//! of the former is stopped first where there is none.

use model::{ActivationMode, Rest};

use crate::ServiceDemand;
use crate::advance::{Goal, Permit};
use crate::draft::Draft;
use crate::instance::{By, Gate, Instance, Kind, Life};
use crate::service::{Fate, Service, count};

/// What a service's goals depend on beside itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) fate: &'a Fate,
    /// Something that it depends on keeps it from starting.
    pub(crate) blocked: bool,
    /// Something that depends on it must end first.
    pub(crate) dependant_runs: bool,
    pub(crate) demand: ServiceDemand,
}

impl Service {
    /// The goal of each of its instances; adds those that are missing.
    pub(crate) fn choose_goals(&mut self, setting: Setting, draft: &mut Draft) -> Vec<Goal> {
        let end = match setting.fate {
            Fate::Run if self.posture.is_awake() => return self.goals_awake(setting, draft),
            Fate::Run => return self.goals_asleep(),
            Fate::Stop(_) => Goal::Stop,
            Fate::Remove(_) => Goal::Remove,
        };
        self.drop_unstarted();
        let goal = if setting.dependant_runs {
            Goal::Keep
        } else {
            end
        };
        vec![goal; self.instances.len()]
    }

    fn goals_asleep(&mut self) -> Vec<Goal> {
        self.drop_unstarted();
        let mut goals = vec![Goal::Remove; self.instances.len()];
        for at in self.best() {
            goals[at] = Goal::Rest(self.rest());
        }
        goals
    }

    /// How its instances sleep.
    pub(crate) fn rest(&self) -> Rest {
        match self.desired.spec.activation.rest {
            Rest::Frozen if !self.cannot_freeze => Rest::Frozen,
            Rest::Frozen | Rest::Stopped => Rest::Stopped,
        }
    }

    fn goals_awake(&mut self, setting: Setting, draft: &mut Draft) -> Vec<Goal> {
        let mut kept = self.best();
        while count(kept.iter()) < self.desired.wanted() {
            kept.push(self.instances.len());
            self.add_instance();
        }
        let may_start = !setting.blocked && self.refusal.is_none();
        let mut goals = vec![Goal::Remove; self.instances.len()];
        for at in self.former_to_keep(&kept, may_start) {
            goals[at] = Goal::Serve(Permit::Wait);
        }
        let mut room = (self.desired.spec.scale.instances_max).saturating_sub(self.live());
        for &at in &kept {
            let instance = &self.instances[at];
            let mut permit = Permit::Wait;
            if may_start && self.is_startable(instance, setting.demand, draft) {
                if instance.is_live() {
                    permit = Permit::Start;
                } else if room > 0 {
                    permit = Permit::Start;
                    room -= 1;
                }
            }
            goals[at] = Goal::Serve(permit);
        }
        goals
    }

    /// The positions of the current instances to keep, in the order of their numbers.
    fn best(&self) -> Vec<usize> {
        let current = |at: &usize| self.is_current(&self.instances[*at]);
        let mut best: Vec<usize> = (0..self.instances.len()).filter(current).collect();
        if self.posture.is_awake() {
            best.sort_by_key(|&at| worth_awake(&self.instances[at]));
        } else {
            best.sort_by_key(|&at| worth_asleep(&self.instances[at]));
        }
        best.truncate(self.desired.wanted() as usize);
        best.sort_unstable();
        best
    }

    /// The positions of the former instances that still serve.
    fn former_to_keep(&self, kept: &[usize], may_start: bool) -> Vec<usize> {
        let serves = |at: &usize| {
            let former = &self.instances[*at];
            !self.is_current(former) && former.is_ready()
        };
        let mut former: Vec<usize> = (0..self.instances.len()).filter(serves).collect();
        let wanted = self.desired.wanted();
        let ready = count(kept.iter().filter(|&&at| self.instances[at].is_ready()));
        let live = count(kept.iter().filter(|&&at| self.instances[at].is_live()));
        let mut places = wanted.saturating_sub(ready);
        if may_start {
            let next = live.max((ready + 1).min(wanted));
            places = places.min((self.desired.spec.scale.instances_max).saturating_sub(next));
        }
        former.truncate(places as usize);
        former
    }

    /// Whether an instance that does not run may be started now, as far as it alone goes.
    fn is_startable(&self, instance: &Instance, demand: ServiceDemand, draft: &mut Draft) -> bool {
        let called = demand.held > 0;
        let on_demand = self.desired.mode == ActivationMode::OnDemand;
        match &instance.life {
            Life::Running(_) | Life::Frozen(_) | Life::Stopping { .. } => return false,
            Life::New | Life::Down(_) => {}
        }
        if instance.pending.is_some() {
            return false;
        }
        let let_be = instance.is_let_be(self.desired.spec.restart);
        if let_be && !on_demand {
            return false;
        }
        let next = instance.starts.next();
        if next > draft.now {
            draft.due(next);
            return false;
        }
        !let_be || called
    }
}

/// The lower, the rather it is kept while awake. A victim must not gain worth on its way out (one
/// that is thawed to be stopped is ready, but not routed), or it would change places for ever.
fn worth_awake(instance: &Instance) -> u8 {
    match &instance.life {
        Life::Running(_) if instance.gate == Gate::Open => 0,
        Life::Running(_) if instance.is_ready() => 1,
        Life::Running(_) => 2,
        Life::New | Life::Down(_) if instance.is_pending(Kind::Start) => 2,
        Life::Frozen(_) => 3,
        Life::Down(down) if down.by == By::Itself => 4,
        Life::New | Life::Down(_) => 5,
        Life::Stopping { .. } => 6,
    }
}

/// The lower, the rather it is kept while asleep: what is at rest, for the same reason.
fn worth_asleep(instance: &Instance) -> u8 {
    match &instance.life {
        Life::Frozen(_) => 0,
        Life::New | Life::Down(_) => 1,
        Life::Running(_) => 2,
        Life::Stopping { .. } => 3,
    }
}
