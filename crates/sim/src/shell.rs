//! What control does around a machine, without any task: routes applied to gates and snapshots,
//! counters read as demand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{AddressBook, InstanceId, Moment, ServiceName};
use plan::{Action, Before, Demand, Desired, Machine, Pass, Route, ServiceDemand, check};
use traffic::{Activity, App, Availability, Directory, Endpoint, Service, Snapshot, Wake};

use crate::breach::Breach;
use crate::scenario::Scenario;

/// One life of the daemon.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) machine: Machine,
    directory: Arc<Directory>,
    activities: BTreeMap<ServiceName, Arc<Activity>>,
    endpoints: BTreeMap<InstanceId, Arc<Endpoint>>,
    /// When the gate of an instance was closed.
    pub(crate) closed_at: BTreeMap<InstanceId, Moment>,
    routes: BTreeMap<ServiceName, Route>,
    snapshot: Snapshot,
    woken: Arc<AtomicBool>,
    /// Passes in a row that were due at once and had no effect.
    vain: u32,
}

/// As many passes in a row may be in vain.
const VAIN_MAX: u32 = 5;

impl Shell {
    pub(crate) fn new(scenario: &Scenario, desired: &Desired, now: Moment) -> Self {
        let woken = Arc::new(AtomicBool::new(true));
        let activity = |name: &ServiceName| {
            let activity = Activity::new(wake(&woken));
            (name.clone(), Arc::new(activity))
        };
        let directory = Directory::new(Arc::clone(&scenario.spec), AddressBook::default());
        Self {
            machine: Machine::new(desired.clone(), now),
            directory: Arc::new(directory.expect("there are addresses for a few services")),
            activities: desired.services.keys().map(activity).collect(),
            endpoints: BTreeMap::new(),
            closed_at: BTreeMap::new(),
            routes: BTreeMap::new(),
            snapshot: Snapshot::default(),
            woken,
            vain: 0,
        }
    }

    /// Whether something woke it since it was last asked.
    pub(crate) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn activity(&self, service: &ServiceName) -> Option<&Arc<Activity>> {
        self.activities.get(service)
    }

    /// Where calls to a service may go, as was last applied.
    pub(crate) fn route(&self, service: &ServiceName) -> Option<&Route> {
        self.routes.get(service)
    }

    /// Calls inside an instance.
    pub(crate) fn in_flight(&self, id: &InstanceId) -> u32 {
        self.endpoints
            .get(id)
            .map_or(0, |endpoint| endpoint.in_flight())
    }

    fn demand(&self) -> Demand {
        let service = |(name, activity): (&ServiceName, &Arc<Activity>)| {
            let load = activity.load();
            let demand = ServiceDemand {
                in_flight: load.in_flight,
                held: load.held,
                connections: load.connections,
                last_demand: load.last_demand,
                wanted_port: load.wanted_port,
            };
            (name.clone(), demand)
        };
        let inside = |(id, e): (&InstanceId, &Arc<Endpoint>)| (id.clone(), e.in_flight());
        Demand {
            services: self.activities.iter().map(service).collect(),
            in_flight: self.endpoints.iter().map(inside).collect(),
        }
    }

    /// One pass, checked.
    pub(crate) fn pass(&mut self, now: Moment) -> Result<Pass, Breach> {
        let demand = self.demand();
        let before = Before::of(&self.machine);
        let pass = self.machine.pass(&demand, now);
        check(&before, &demand, &pass, now).map_err(Breach::Pass)?;
        let effect = !pass.steps.is_empty() || !pass.events.is_empty();
        if effect || pass.routes != self.routes || pass.next != Some(now) {
            self.vain = 0;
        } else {
            self.vain += 1;
        }
        if self.vain > VAIN_MAX {
            return Err(Breach::Livelock);
        }
        Ok(pass)
    }

    /// Opens and closes gates by the routes of a pass; the new snapshot, if there is one.
    pub(crate) fn apply(
        &mut self,
        pass: &Pass,
        desired: &Desired,
        now: Moment,
    ) -> Option<Snapshot> {
        for step in &pass.steps {
            if let Action::Remove { id } = &step.action {
                self.endpoints.remove(id);
            }
        }
        let changed = self.routes != pass.routes;
        self.routes.clone_from(&pass.routes);
        for route in self.routes.values() {
            for id in &route.ready {
                self.closed_at.remove(id);
                match self.endpoints.get(id) {
                    Some(endpoint) => endpoint.open(),
                    None => {
                        let endpoint = Endpoint::new(
                            id.clone(),
                            desired.services[&id.service].revision,
                            wake(&self.woken),
                        );
                        self.endpoints.insert(id.clone(), Arc::new(endpoint));
                    }
                }
            }
        }
        for (id, endpoint) in &self.endpoints {
            let routed = |route: &Route| route.ready.contains(id);
            if !self.routes.get(&id.service).is_some_and(routed) {
                endpoint.close();
                self.closed_at.entry(id.clone()).or_insert(now);
            }
        }
        changed.then(|| self.publish(desired))
    }

    fn publish(&mut self, desired: &Desired) -> Snapshot {
        let service = |(name, wish): (&ServiceName, &plan::ServiceDesired)| {
            let route = self.routes.get(name)?;
            let endpoints = route.ready.iter().filter_map(|id| self.endpoints.get(id));
            let service = Service {
                spec: Arc::clone(&wish.spec),
                endpoints: endpoints.cloned().collect(),
                availability: match &route.availability {
                    plan::Availability::Held => Availability::Held,
                    plan::Availability::Refused(reason) => {
                        Availability::Refused(reason.to_string().into())
                    }
                },
                activity: Arc::clone(self.activities.get(name)?),
            };
            Some((name.clone(), Arc::new(service)))
        };
        let app = App {
            directory: Arc::clone(&self.directory),
            services: desired.services.iter().filter_map(service).collect(),
        };
        self.snapshot = self.snapshot.with(&desired.app, Some(Arc::new(app)));
        self.snapshot.clone()
    }
}

fn wake(woken: &Arc<AtomicBool>) -> Wake {
    let woken = Arc::clone(woken);
    Arc::new(move || woken.store(true, Ordering::SeqCst))
}
