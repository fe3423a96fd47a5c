//! Turns the routes of a pass into endpoints and a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{AppName, InstanceId, Revision, ServiceName};
use plan::{Demand, Route, ServiceDemand};
use tokio::sync::watch;
use traffic::{Activity, App, Availability, Directory, Endpoint, Service, Snapshot, Wake};

/// What calls see of one app, and what they are counted in.
pub(crate) struct Routes {
    app: AppName,
    directory: Arc<Directory>,
    activities: Arc<BTreeMap<ServiceName, Arc<Activity>>>,
    endpoints: Arc<BTreeMap<InstanceId, Arc<Endpoint>>>,
    rows: BTreeMap<ServiceName, (Route, Arc<Service>)>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    wake: Wake,
}

impl Routes {
    pub(crate) fn new(
        directory: Arc<Directory>,
        snapshots: watch::Sender<Arc<Snapshot>>,
        wake: Wake,
    ) -> Self {
        let mut routes = Self {
            app: directory.app().clone(),
            directory: Arc::clone(&directory),
            activities: Arc::default(),
            endpoints: Arc::default(),
            rows: BTreeMap::new(),
            snapshots,
            wake,
        };
        routes.set_directory(directory);
        routes
    }

    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub(crate) fn activities(&self) -> &Arc<BTreeMap<ServiceName, Arc<Activity>>> {
        &self.activities
    }

    pub(crate) fn endpoints(&self) -> &Arc<BTreeMap<InstanceId, Arc<Endpoint>>> {
        &self.endpoints
    }

    /// Goes by another Spec from the next pass on. Counters of services that stay go on.
    pub(crate) fn set_directory(&mut self, directory: Arc<Directory>) {
        let services = directory.spec().services.keys();
        let activity = |service: &ServiceName| match self.activities.get(service) {
            Some(activity) => Arc::clone(activity),
            None => Arc::new(Activity::new(Arc::clone(&self.wake))),
        };
        self.activities = Arc::new(services.map(|s| (s.clone(), activity(s))).collect());
        self.directory = directory;
        self.rows.clear();
    }

    /// What goes on, by the counters.
    pub(crate) fn demand(&self) -> Demand {
        let services = self.activities.iter().map(|(service, activity)| {
            let load = activity.load();
            let demand = ServiceDemand {
                in_flight: load.in_flight,
                held: load.held,
                connections: load.connections,
                last_demand: load.last_demand,
                wanted_port: load.wanted_port,
            };
            (service.clone(), demand)
        });
        let in_flight = self
            .endpoints
            .iter()
            .map(|(id, e)| (id.clone(), e.in_flight()));
        Demand {
            services: services.collect(),
            in_flight: in_flight.collect(),
        }
    }

    /// Forgets the endpoint of an instance that is gone.
    pub(crate) fn forget(&mut self, id: &InstanceId) {
        if let Some(endpoint) = Arc::make_mut(&mut self.endpoints).remove(id) {
            endpoint.close();
        }
    }

    /// Makes these the routes: closes what is no longer named, opens what is, and publishes a
    /// snapshot if anything differs.
    pub(crate) fn apply(
        &mut self,
        routes: BTreeMap<ServiceName, Route>,
        revision_of: impl Fn(&InstanceId) -> Revision,
    ) {
        let named: BTreeSet<&InstanceId> = routes.values().flat_map(|r| &r.ready).collect();
        for (id, endpoint) in self.endpoints.iter() {
            if !named.contains(id) {
                endpoint.close();
            }
        }
        let mut changed = false;
        let mut rows = BTreeMap::new();
        for (name, route) in routes {
            let before = self
                .rows
                .remove(&name)
                .filter(|(before, _)| *before == route);
            let row = match before {
                Some(row) => row,
                None => {
                    changed = true;
                    match self.row(&name, &route, &revision_of) {
                        Some(row) => (route, Arc::new(row)),
                        None => continue,
                    }
                }
            };
            rows.insert(name, row);
        }
        changed |= !self.rows.is_empty();
        self.rows = rows;
        if changed {
            self.publish();
        }
    }

    fn row(
        &mut self,
        name: &ServiceName,
        route: &Route,
        revision_of: impl Fn(&InstanceId) -> Revision,
    ) -> Option<Service> {
        // A service that is leaving has routes no longer.
        let spec = Arc::clone(self.directory.service(name)?);
        let activity = Arc::clone(self.activities.get(name)?);
        let endpoints = route
            .ready
            .iter()
            .map(|id| self.endpoint(id, revision_of(id)))
            .collect();
        let availability = match &route.availability {
            plan::Availability::Held => Availability::Held,
            plan::Availability::Refused(reason) => {
                Availability::Refused(format!("service {name}: {reason}").into())
            }
        };
        Some(Service {
            spec,
            endpoints,
            availability,
            activity,
        })
    }

    fn endpoint(&mut self, id: &InstanceId, revision: Revision) -> Arc<Endpoint> {
        let endpoints = Arc::make_mut(&mut self.endpoints);
        let endpoint = endpoints.entry(id.clone()).or_insert_with(|| {
            Arc::new(Endpoint::new(id.clone(), revision, Arc::clone(&self.wake)))
        });
        endpoint.open();
        Arc::clone(endpoint)
    }

    fn publish(&self) {
        let services = self
            .rows
            .iter()
            .map(|(name, (_, row))| (name.clone(), Arc::clone(row)));
        let app = App {
            directory: Arc::clone(&self.directory),
            services: services.collect(),
        };
        let app = Arc::new(app);
        self.snapshots
            .send_modify(|now| *now = Arc::new(now.with(&self.app, Some(app))));
    }

    /// Takes the app out of the snapshots.
    pub(crate) fn withdraw(&self) {
        for endpoint in self.endpoints.values() {
            endpoint.close();
        }
        self.snapshots
            .send_modify(|now| *now = Arc::new(now.with(&self.app, None)));
    }
}
