//! One service as the machine knows it, and how facts, commands and wishes change that.

use std::sync::Arc;

use model::{ActivationMode, Image, InstanceId, Moment, Revision, ServiceName, ServiceSpec};

use crate::instance::{Afterwards, Hearing, Instance, Life};
use crate::posture::Posture;
use crate::{Failure, Reason, ServiceDemand, ServiceDesired, Sighting, Ticket};

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) desired: ServiceDesired,
    /// It is no longer part of the app.
    pub(crate) leaving: bool,
    /// Above that of everything it depends on; the largest number when that is impossible.
    pub(crate) rank: u32,
    /// By number.
    pub(crate) instances: Vec<Instance>,
    next_number: u32,
    /// The newest ticket when an instance was last removed.
    removed: Ticket,
    pub(crate) posture: Posture,
    /// As this pass has it.
    pub(crate) demand: ServiceDemand,
    /// Why no instance can be started until a person changes something.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) cannot_freeze: bool,
    /// Former instances are being replaced, which its dependants may want to know the end of.
    pub(crate) replacing: bool,
    /// How many calls kept it from resting on command.
    pub(crate) rest_called_off: Option<u32>,
    /// How its programs end until it is to run again.
    pub(crate) ending: Ending,
}

/// How programs are brought to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// They finish their calls, are asked, and have time.
    Graceful,
    /// They are killed.
    Killed,
}

/// A start that failed for good.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) number: u32,
    pub(crate) why: Arc<str>,
}

/// What is to become of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Run,
    /// Its programs end, for this reason.
    Stop(Reason),
    /// Its instances are removed, for this reason.
    Remove(Reason),
}

impl Service {
    /// A service without instances.
    pub(crate) fn new(desired: ServiceDesired, now: Moment) -> Self {
        Self {
            posture: Posture::initial(desired.mode, now),
            desired,
            demand: ServiceDemand::default(),
            leaving: false,
            rank: 0,
            instances: Vec::new(),
            next_number: 1,
            removed: Ticket::default(),
            refusal: None,
            cannot_freeze: false,
            replacing: false,
            rest_called_off: None,
            ending: Ending::Graceful,
        }
    }

    /// A service that the engine has instances of, and the app does not.
    pub(crate) fn unknown(name: &ServiceName, now: Moment) -> Self {
        let spec = ServiceSpec::new(name.clone(), Image::Host);
        let mut service = Self::new(ServiceDesired::new(Arc::new(spec), Revision::FIRST), now);
        service.leaving = true;
        service
    }

    /// Takes in what it should be from now on.
    pub(crate) fn set_desired(&mut self, desired: ServiceDesired, now: Moment) {
        if desired.revision != self.desired.revision || desired.spec != self.desired.spec {
            self.refusal = None;
            self.cannot_freeze = false;
        }
        if desired.revision != self.desired.revision {
            self.replacing = !self.instances.is_empty();
        }
        match (self.desired.mode, desired.mode) {
            (ActivationMode::OnDemand, ActivationMode::Always) => self.wake(now),
            (ActivationMode::Always, ActivationMode::OnDemand) => {
                if let Posture::Awake { quiet_since } = &mut self.posture {
                    *quiet_since = now;
                }
            }
            (ActivationMode::Always, ActivationMode::Always)
            | (ActivationMode::OnDemand, ActivationMode::OnDemand) => {}
        }
        self.desired = desired;
        self.leaving = false;
    }

    /// It is to run again, after it was not to.
    pub(crate) fn resume(&mut self, now: Moment) {
        self.retry();
        self.ending = Ending::Graceful;
        self.posture = if self.is_live() {
            Posture::Awake { quiet_since: now }
        } else {
            Posture::initial(self.desired.mode, now)
        };
    }

    /// Brings it up now.
    pub(crate) fn wake(&mut self, now: Moment) {
        self.retry();
        self.rest_called_off = None;
        self.posture = Posture::Awake { quiet_since: now };
    }

    /// Tries again what failed or ended.
    pub(crate) fn retry(&mut self) {
        self.refusal = None;
        self.instances.iter_mut().for_each(Instance::forgive);
    }

    /// Replaces all its instances.
    pub(crate) fn condemn(&mut self) {
        self.refusal = None;
        for instance in &mut self.instances {
            if !instance.is_unstarted() {
                instance.condemned = true;
                self.replacing = true;
            }
        }
    }

    /// Has its programs end at once.
    pub(crate) fn kill(&mut self, now: Moment) {
        self.ending = Ending::Killed;
        self.instances.iter_mut().for_each(|i| i.hasten(now));
    }

    /// The number of the next new instance.
    pub(crate) fn next_number(&self) -> u32 {
        self.next_number
    }

    /// Whether its former instances have been replaced, told once.
    pub(crate) fn take_replaced(&mut self) -> bool {
        let former = self.instances.iter().any(|i| !self.is_current(i));
        let serves = !self.posture.is_awake() || self.instances.iter().any(Instance::is_ready);
        let replaced = self.replacing && !former && serves;
        self.replacing &= !replaced;
        replaced
    }

    /// A new instance of the current revision, not started yet.
    pub(crate) fn add_instance(&mut self) {
        let number = self.next_number;
        self.next_number += 1;
        self.instances
            .push(Instance::new(number, self.desired.revision));
    }

    /// Forgets the instances that were never started and are not about to.
    pub(crate) fn drop_unstarted(&mut self) {
        self.instances.retain(|instance| !instance.is_unstarted());
    }

    /// Whether an instance is a copy of the current revision that may stay.
    pub(crate) fn is_current(&self, instance: &Instance) -> bool {
        instance.revision == self.desired.revision && !instance.condemned
    }

    /// Whether a program of it runs, or may.
    pub(crate) fn is_live(&self) -> bool {
        self.instances.iter().any(Instance::is_live)
    }

    /// How many programs of it run, or may.
    pub(crate) fn live(&self) -> u32 {
        count(self.instances.iter().filter(|i| i.is_live()))
    }

    /// A step for an instance was done.
    pub(crate) fn handle_done(&mut self, id: &InstanceId, ticket: Ticket, heard: &mut Hearing) {
        if let Some(at) = self.position(id.number) {
            let afterwards = self.instances[at].handle_done(ticket, heard);
            self.handle_afterwards(at, afterwards, heard);
        }
    }

    /// A step for an instance failed.
    pub(crate) fn handle_failed(
        &mut self,
        id: &InstanceId,
        ticket: Ticket,
        failure: &Failure,
        heard: &mut Hearing,
    ) {
        if let Some(at) = self.position(id.number) {
            let afterwards = self.instances[at].handle_failed(ticket, failure, heard);
            self.handle_afterwards(at, afterwards, heard);
        }
    }

    fn handle_afterwards(&mut self, at: usize, afterwards: Afterwards, heard: &Hearing) {
        match afterwards {
            Afterwards::Nothing => {}
            Afterwards::CannotFreeze => self.cannot_freeze = true,
            Afterwards::CannotStart(why) => {
                let number = self.instances[at].number;
                self.refusal = Some(Refusal { number, why });
            }
            Afterwards::Gone => {
                self.instances.remove(at);
                self.removed = heard.newest;
            }
        }
    }

    /// The program of an instance ended.
    pub(crate) fn handle_exited(
        &mut self,
        number: u32,
        status: model::ExitStatus,
        heard: &mut Hearing,
    ) {
        if let Some(at) = self.position(number) {
            self.instances[at].handle_exited(status, heard);
        }
    }

    /// The engine was observed: these are all instances that it has of this service.
    pub(crate) fn handle_sighted(
        &mut self,
        ticket: Ticket,
        sightings: &[&Sighting],
        heard: &mut Hearing,
    ) {
        for instance in &mut self.instances {
            let own = sightings.iter().find(|s| s.id.number == instance.number);
            instance.handle_sighted(ticket, own.copied(), heard);
        }
        for sighting in sightings {
            if self.position(sighting.id.number).is_none() {
                self.adopt(ticket, sighting, heard);
            }
        }
        self.instances.sort_by_key(|instance| instance.number);
    }

    fn adopt(&mut self, ticket: Ticket, sighting: &Sighting, heard: &mut Hearing) {
        if self.removed >= ticket {
            // Seen before it was removed, perhaps.
            heard.doubt = true;
            return;
        }
        let instance = Instance::adopted(sighting, heard.now);
        if matches!(instance.life, Life::Running(_)) && !self.posture.is_awake() {
            self.posture = Posture::Awake {
                quiet_since: heard.now,
            };
        }
        self.next_number = self.next_number.max(instance.number.saturating_add(1));
        self.instances.push(instance);
    }

    /// Whether it has an instance of this number.
    pub(crate) fn has(&self, number: u32) -> bool {
        self.position(number).is_some()
    }

    fn position(&self, number: u32) -> Option<usize> {
        self.instances.iter().position(|i| i.number == number)
    }
}

/// The length of something that is never longer than the bound on instances.
pub(crate) fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_service_is_small() {
        assert!(size_of::<Service>() <= 256, "{}", size_of::<Service>());
        assert!(size_of::<Instance>() <= 384, "{}", size_of::<Instance>());
    }
}
