//! The plan checker: whether the executor may carry out a pass, whatever made it.
//!
//! It looks at what was known before and at what the pass says, not at how the machine decided.
//! Every pass made in a debug build passes it, and every pass of the simulator.

use std::collections::{BTreeMap, BTreeSet};

use model::{InstanceId, Moment, ServiceName, Signal};

use crate::instance::{Gate, Instance, Life};
use crate::{Action, Availability, Demand, Machine, Pass};

/// What a pass does wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// More instances would live than may.
    #[error("{service} would have {live} live instances, and may have {instances_max}")]
    TooMany {
        /// Whose.
        service: ServiceName,
        /// With those that a step starts.
        live: u32,
        /// The bound.
        instances_max: u32,
    },
    /// An instance that is not known gets a step or a route.
    #[error("{0} is not known")]
    Unknown(InstanceId),
    /// An instance gets two steps in one pass.
    #[error("{0} gets two steps")]
    TwoSteps(InstanceId),
    /// An instance gets a step while another is under way.
    #[error("{0} gets a step while another is under way")]
    Busy(InstanceId),
    /// A step does not fit what the instance does.
    #[error("cannot {action}: {id} is {doing:?}")]
    Misfit {
        /// Which.
        id: InstanceId,
        /// The step.
        action: String,
        /// What it does.
        doing: Doing,
    },
    /// A step would take calls away from an instance.
    #[error("cannot {action}: it may have calls, and its drain is not over")]
    CallsLost {
        /// The step.
        action: String,
    },
    /// A route names an instance that is not ready, or is not to be called.
    #[error("calls would go to {0}, which is not ready for them")]
    RouteNotReady(InstanceId),
    /// A route refuses calls though there is somebody to take them.
    #[error("{0} refuses calls though it has a ready instance")]
    RefusedThoughReady(ServiceName),
    /// A pass is due in the past.
    #[error("the next pass is due in the past")]
    DueInThePast,
}

/// What an instance does, as the checker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It does not run.
    Nothing,
    /// Its program runs.
    Running,
    /// It is frozen.
    Frozen,
    /// It was asked to end.
    Stopping,
}

/// What the checker knows of a machine before its pass.
#[derive(Debug, Clone)]
pub struct Before {
    instances: BTreeMap<InstanceId, Known>,
    instances_max: BTreeMap<ServiceName, u32>,
    number_next: BTreeMap<ServiceName, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    doing: Doing,
    live: bool,
    busy: bool,
    routed: bool,
    drain_until: Option<Moment>,
    kill_at: Option<Moment>,
}

impl Known {
    fn of(instance: &Instance) -> Self {
        let doing = match instance.life {
            Life::New | Life::Down(_) => Doing::Nothing,
            Life::Running(_) => Doing::Running,
            Life::Frozen(_) => Doing::Frozen,
            Life::Stopping { .. } => Doing::Stopping,
        };
        let kill_at = match instance.life {
            Life::Stopping { kill_at, .. } => Some(kill_at),
            Life::New | Life::Down(_) | Life::Running(_) | Life::Frozen(_) => None,
        };
        Self {
            doing,
            live: instance.is_live(),
            busy: instance.pending.is_some(),
            routed: instance.gate == Gate::Open,
            drain_until: instance.drain_until,
            kill_at,
        }
    }
}

impl Before {
    /// The machine as it is now.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let mut before = Self {
            instances: BTreeMap::new(),
            instances_max: BTreeMap::new(),
            number_next: BTreeMap::new(),
        };
        for (name, service) in &machine.services {
            let instances_max = service.desired.spec.scale.instances_max;
            before.instances_max.insert(name.clone(), instances_max);
            let next = service.next_number();
            before.number_next.insert(name.clone(), next);
            for instance in &service.instances {
                let id = machine.id(name, instance.number);
                before.instances.insert(id, Known::of(instance));
            }
        }
        before
    }

    /// What is known of an instance; one with a fresh number is new.
    fn known(&self, id: &InstanceId) -> Result<Known, Violation> {
        let fresh = |next: &u32| id.number >= *next;
        let known = self.instances.get(id).copied();
        known
            .or_else(|| {
                let next = self.number_next.get(&id.service);
                next.is_some_and(fresh).then_some(Known {
                    doing: Doing::Nothing,
                    live: false,
                    busy: false,
                    routed: false,
                    drain_until: None,
                    kill_at: None,
                })
            })
            .ok_or_else(|| Violation::Unknown(id.clone()))
    }
}

/// Whether `pass`, made at `now` by the machine that was as `before`, may be carried out.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check(before: &Before, demand: &Demand, pass: &Pass, now: Moment) -> Result<(), Violation> {
    let mut stepped = BTreeSet::new();
    let mut started = Vec::new();
    for step in &pass.steps {
        let Some(id) = step.action.instance() else {
            continue;
        };
        if !stepped.insert(id) {
            return Err(Violation::TwoSteps(id.clone()));
        }
        let known = before.known(id)?;
        check_action(id, known, &step.action, demand, now)?;
        if matches!(step.action, Action::Start { .. }) && !known.live {
            started.push(id);
        }
    }
    check_numbers(before, &started)?;
    check_routes(before, pass, &stepped)?;
    match pass.next {
        Some(next) if next < now => Err(Violation::DueInThePast),
        Some(_) | None => Ok(()),
    }
}

fn check_action(
    id: &InstanceId,
    known: Known,
    action: &Action,
    demand: &Demand,
    now: Moment,
) -> Result<(), Violation> {
    if known.busy {
        return Err(Violation::Busy(id.clone()));
    }
    let fits = match action {
        Action::Observe => true,
        Action::Start { .. } | Action::Remove { .. } => known.doing == Doing::Nothing,
        Action::Probe { .. } => known.doing == Doing::Running,
        Action::Freeze { .. } => matches!(known.doing, Doing::Running | Doing::Frozen),
        Action::Thaw { .. } => known.doing == Doing::Frozen,
        Action::Signal { .. } => matches!(known.doing, Doing::Running | Doing::Stopping),
    };
    if !fits {
        return Err(Violation::Misfit {
            id: id.clone(),
            action: action.to_string(),
            doing: known.doing,
        });
    }
    let idle = !known.routed && demand.in_flight(id) == 0;
    let past = |moment: Option<Moment>| moment.is_some_and(|moment| moment <= now);
    let harmless = match action {
        Action::Freeze { .. } => idle,
        Action::Signal { signal, .. } if known.doing == Doing::Stopping => {
            *signal == Signal::KILL && past(known.kill_at)
        }
        Action::Signal { .. } => idle || (!known.routed && past(known.drain_until)),
        Action::Observe
        | Action::Start { .. }
        | Action::Probe { .. }
        | Action::Thaw { .. }
        | Action::Remove { .. } => true,
    };
    if harmless {
        return Ok(());
    }
    Err(Violation::CallsLost {
        action: action.to_string(),
    })
}

fn check_numbers(before: &Before, started: &[&InstanceId]) -> Result<(), Violation> {
    for id in started {
        let service = &id.service;
        let own = |other: &&InstanceId| other.service == *service;
        let lives = before
            .instances
            .iter()
            .filter(|(id, known)| own(id) && known.live);
        let live = lives.count() + started.iter().copied().filter(|id| own(id)).count();
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        let instances_max = before.instances_max.get(service).copied().unwrap_or(0);
        if live > instances_max {
            return Err(Violation::TooMany {
                service: service.clone(),
                live,
                instances_max,
            });
        }
    }
    Ok(())
}

fn check_routes(
    before: &Before,
    pass: &Pass,
    stepped: &BTreeSet<&InstanceId>,
) -> Result<(), Violation> {
    let probed = |id: &InstanceId| {
        let mut steps = pass.steps.iter();
        steps.any(|s| matches!(&s.action, Action::Probe { id: probed, .. } if probed == id))
    };
    for (name, route) in &pass.routes {
        for id in &route.ready {
            let known = before.known(id)?;
            let runs = known.doing == Doing::Running && !known.busy;
            if !runs || id.service != *name || (stepped.contains(id) && !probed(id)) {
                return Err(Violation::RouteNotReady(id.clone()));
            }
        }
        let refuses = matches!(route.availability, Availability::Refused(_));
        if refuses && !route.ready.is_empty() {
            return Err(Violation::RefusedThoughReady(name.clone()));
        }
    }
    Ok(())
}
