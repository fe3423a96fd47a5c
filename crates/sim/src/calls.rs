//! What the data plane does with calls: in, held, refused, out.

use std::sync::Arc;
use std::time::Duration;

use model::{InstanceId, ServiceName};
use plan::Sight;
use traffic::{Availability, InFlight, Snapshot};

use crate::breach::Breach;
use crate::call::{Call, CallId, Inside, Kind, Outcome};
use crate::world::{Blame, Event, World};

/// No calls begin this long after the start of the run.
const CALLS_END: Duration = Duration::from_secs(55);
/// The port that calls want.
const PORT: u16 = 80;

impl World {
    /// Somebody calls, once or in a burst.
    pub(crate) fn arrive(&mut self) -> Result<(), Breach> {
        if self.now.since_zero() > CALLS_END {
            return Ok(());
        }
        let after = match self.random.between(0, 9) {
            0 => self.random.millis(5000, 15_000),
            1..4 => self.random.millis(500, 3000),
            _ => self.random.millis(0, 300),
        };
        self.schedule(after, Event::Arrive);
        let names: Vec<ServiceName> = self.scenario.spec.services.keys().cloned().collect();
        let count = match self.random.between(0, 9) {
            0 => self.random.between(5, 25),
            _ => 1,
        };
        let Some(at) = self
            .random
            .between(0, names.len() as u64 - 1)
            .try_into()
            .ok()
        else {
            return Ok(());
        };
        for _ in 0..count {
            let kind = self.kind_of_call(&names, at);
            self.begin_call(names[at].clone(), None, kind)?;
        }
        Ok(())
    }

    fn kind_of_call(&mut self, names: &[ServiceName], at: usize) -> Kind {
        if self.random.chance(50) {
            return Kind::Connection(self.random.millis(1000, 20_000));
        }
        let later = names[at + 1..].iter();
        let calls = later.filter(|_| self.random.chance(300)).cloned().collect();
        Kind::Request {
            work: self.random.millis(0, 200),
            calls,
        }
    }

    fn begin_call(
        &mut self,
        service: ServiceName,
        parent: Option<CallId>,
        kind: Kind,
    ) -> Result<(), Breach> {
        self.calls_begun += 1;
        let id = CallId(self.calls_begun);
        let hold = self.scenario.spec.services[&service].activation.hold;
        let call = Call {
            service,
            parent,
            kind,
            deadline: self.now + hold.timeout,
            held: None,
            inside: None,
            was_held: false,
        };
        self.log(format_args!("call {} to {}", id.0, call.service));
        self.calls.insert(id, call);
        self.attempt(id)
    }

    /// Enters an endpoint, is held, or is refused.
    fn attempt(&mut self, id: CallId) -> Result<(), Breach> {
        let (now, random) = (self.now, self.random.bits());
        let Some(call) = self.calls.get_mut(&id) else {
            return Ok(());
        };
        let app = &self.scenario.spec.name;
        let service = self.seen.service(app, &call.service).cloned();
        if let Some(entered) = service.as_ref().and_then(|s| s.enter(now, random, &[])) {
            return self.enter(id, entered);
        }
        match service.as_ref().map(|service| &service.availability) {
            Some(Availability::Refused(reason)) => {
                self.log(format_args!("call {} is refused: {reason}", id.0));
                return self.finish(id, Outcome::Refused);
            }
            Some(Availability::Held) | None if call.held.is_some() => return Ok(()),
            Some(Availability::Held) | None => {}
        }
        let hold = self.scenario.spec.services[&call.service].activation.hold;
        let Some(activity) = self.shell.activity(&call.service) else {
            return self.finish(id, Outcome::Refused);
        };
        match activity.hold(&hold, PORT, self.now) {
            Ok(held) => {
                call.held = Some(held);
                call.was_held = true;
                let after = call.deadline.since(self.now);
                self.schedule(after, Event::HoldEnds(id));
                Ok(())
            }
            Err(_) => self.finish(id, Outcome::Refused),
        }
    }

    fn enter(&mut self, id: CallId, entered: InFlight) -> Result<(), Breach> {
        let instance = entered.endpoint().instance().clone();
        let not_ready = |why| {
            let id = instance.clone();
            Err(Breach::NotReady { id, why })
        };
        let program = self.engine.programs.get(&instance);
        let run = match program {
            Some(program) if program.state == Sight::Frozen => return not_ready("is frozen"),
            Some(program) if program.state == Sight::Running => {
                let spec = &self.scenario.spec.services[&instance.service];
                let probed = spec.healthcheck.is_some() || spec.tcp_ports().next().is_some();
                if probed && program.ready_at > self.now {
                    return not_ready("does not listen yet");
                }
                program.run
            }
            Some(_) | None => {
                self.log(format_args!(
                    "call {} finds {} dead",
                    id.0,
                    instance.short()
                ));
                drop(entered);
                return self.finish(id, Outcome::Crashed);
            }
        };
        let Some(call) = self.calls.get_mut(&id) else {
            return Ok(());
        };
        let activity = self.shell.activity(&call.service);
        let (after, connection) = match &call.kind {
            Kind::Request { work, .. } => (*work, None),
            Kind::Connection(time) => (*time, activity.map(|a| a.connection())),
        };
        if let Some(activity) = activity {
            activity.touch(self.now);
        }
        call.held = None;
        call.inside = Some(Inside {
            id: instance.clone(),
            run,
            _guards: (entered, connection),
        });
        self.log(format_args!("call {} is inside {}", id.0, instance.short()));
        self.schedule(after, Event::Proceed(id));
        Ok(())
    }

    /// A call has done its work: it calls further, or is answered.
    pub(crate) fn proceed(&mut self, id: CallId) -> Result<(), Breach> {
        let Some(call) = self.calls.get_mut(&id) else {
            return Ok(());
        };
        let next = match &mut call.kind {
            Kind::Request { calls, .. } => calls.pop(),
            Kind::Connection(_) => None,
        };
        let Some(next) = next else {
            return self.finish(id, Outcome::Answered);
        };
        let kind = Kind::Request {
            work: self.random.millis(0, 100),
            calls: Vec::new(),
        };
        self.begin_call(next, Some(id), kind)
    }

    pub(crate) fn end_hold(&mut self, id: CallId) -> Result<(), Breach> {
        match self.calls.get(&id) {
            Some(call) if call.held.is_some() => self.finish(id, Outcome::TimedOut),
            Some(_) | None => Ok(()),
        }
    }

    /// A new snapshot is seen: all that are held try again.
    pub(crate) fn see(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Breach> {
        if snapshot.generation < self.seen.generation {
            return Ok(());
        }
        self.seen = snapshot;
        let held = self.calls.iter().filter(|(_, call)| call.held.is_some());
        let held: Vec<CallId> = held.map(|(id, _)| *id).collect();
        for id in held {
            if self
                .calls
                .get(&id)
                .is_some_and(|call| call.deadline < self.now)
            {
                let service = self.calls[&id].service.clone();
                return Err(Breach::HeldTooLong { service });
            }
            self.attempt(id)?;
        }
        Ok(())
    }

    /// A program ended with these calls inside.
    pub(crate) fn fail_calls_inside(
        &mut self,
        id: &InstanceId,
        run: u64,
        blame: Blame,
    ) -> Result<(), Breach> {
        let inside = |call: &Call| matches!(&call.inside, Some(i) if i.id == *id && i.run == run);
        let lost = self.calls.iter().filter(|(_, call)| inside(call));
        let lost: Vec<CallId> = lost.map(|(call, _)| *call).collect();
        let grace = self.scenario.spec.services[&id.service].stop_grace_period;
        let closed_at = self.shell.closed_at.get(id);
        let drained = closed_at.is_some_and(|&at| self.now.since(at) >= grace);
        for call in lost {
            match blame {
                Blame::Its => self.finish(call, Outcome::Crashed)?,
                Blame::Ours(life) if life != self.life => self.finish(call, Outcome::Crashed)?,
                Blame::Ours(_) if drained => self.finish(call, Outcome::Cut)?,
                Blame::Ours(_) => return Err(Breach::CallLost { id: id.clone() }),
            }
        }
        Ok(())
    }

    /// All calls die with the daemon.
    pub(crate) fn drop_all_calls(&mut self) {
        let calls = std::mem::take(&mut self.calls);
        self.tally.calls += calls.len() as u64;
        self.tally.crashed += calls.len() as u64;
    }

    fn finish(&mut self, id: CallId, outcome: Outcome) -> Result<(), Breach> {
        let Some(call) = self.calls.remove(&id) else {
            return Ok(());
        };
        self.log(format_args!("call {} {}", id.0, outcome.as_str()));
        self.count(&call, outcome);
        if let Some(activity) = self.shell.activity(&call.service) {
            activity.touch(self.now);
        }
        if self.faultless && !matches!(outcome, Outcome::Answered | Outcome::Cut) {
            return Err(Breach::CallFailed {
                service: call.service,
                outcome: outcome.as_str(),
            });
        }
        match (call.parent, outcome) {
            (Some(parent), Outcome::Answered) => {
                let after = self.random.millis(0, 20);
                self.schedule(after, Event::Proceed(parent));
                Ok(())
            }
            (Some(parent), Outcome::Cut) => self.finish(parent, Outcome::Cut),
            (Some(parent), _) => self.finish(parent, Outcome::FailedDownstream),
            (None, _) => Ok(()),
        }
    }

    fn count(&mut self, call: &Call, outcome: Outcome) {
        let tally = &mut self.tally;
        tally.calls += 1;
        tally.held += u64::from(call.was_held);
        let counter = match outcome {
            Outcome::Answered => &mut tally.answered,
            Outcome::Refused => &mut tally.refused,
            Outcome::TimedOut => &mut tally.timed_out,
            Outcome::Crashed => &mut tally.crashed,
            Outcome::Cut => &mut tally.cut,
            Outcome::FailedDownstream => &mut tally.failed_downstream,
        };
        *counter += 1;
    }
}
