//! What people are told of an app.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{
    AppName, InstanceId, Moment, NetworkName, Owner, Revision, ServiceAddress, ServiceName,
};
use plan::{Progress, Reason, Report};
use ports::Listening;
use traffic::{Activity, Directory, Endpoint, Load};

/// What a pass left behind: the report, and where the counters are read.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// When the pass was.
    pub(crate) at: Moment,
    pub(crate) directory: Arc<Directory>,
    pub(crate) report: Arc<Report>,
    pub(crate) activities: Arc<BTreeMap<ServiceName, Arc<Activity>>>,
    pub(crate) endpoints: Arc<BTreeMap<InstanceId, Arc<Endpoint>>>,
    pub(crate) started: Arc<BTreeMap<InstanceId, Started>>,
    pub(crate) listening: Arc<Vec<Listening>>,
}

/// When an instance was last started, and how often it was again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    pub(crate) at: Moment,
    pub(crate) restarts: u32,
}

/// An app as it is now.
#[derive(Debug, Clone)]
pub struct AppStatus {
    /// Its name.
    pub app: AppName,
    /// How far it is on its way to what it should be.
    pub progress: Progress,
    /// Its services.
    pub services: BTreeMap<ServiceName, ServiceStatus>,
    /// Its published ports.
    pub listening: Vec<Listening>,
}

/// A service as it is now.
#[derive(Debug, Clone)]
pub struct ServiceStatus {
    /// What it does, in a word or two.
    pub state: String,
    /// How far it is on its way to what it should be.
    pub progress: Progress,
    /// Why, in sentences, the most telling first.
    pub reasons: Vec<String>,
    /// Its current revision.
    pub revision: Revision,
    /// The number of instances wished while it is awake.
    pub wished: u32,
    /// Instances that admit calls.
    pub ready: usize,
    /// Its instances.
    pub instances: Vec<InstanceStatus>,
    /// Its demand.
    pub load: Load,
    /// The time since a call last began or ended.
    pub last_demand: Option<Duration>,
    /// The port that answers on this machine as `http://SERVICE.APP.localhost`.
    pub http_port: Option<u16>,
    /// The team that answers for it.
    pub owner: Option<Owner>,
    /// Its address inside the app.
    pub address: Option<ServiceAddress>,
    /// The networks it is on.
    pub networks: Vec<NetworkName>,
}

/// An instance as it is now.
#[derive(Debug, Clone)]
pub struct InstanceStatus {
    /// Which.
    pub id: InstanceId,
    /// Of which revision it is a copy.
    pub revision: Revision,
    /// What it does, in a word.
    pub state: String,
    /// The time since its program was last started, if this daemon saw it.
    pub age: Option<Duration>,
    /// How often its program was started again.
    pub restarts: u32,
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls that entered it since it was last started.
    pub calls: u64,
}

impl Published {
    /// The status at this moment.
    pub(crate) fn status(&self, now: Moment) -> AppStatus {
        let services = self.report.services.iter();
        AppStatus {
            app: self.directory.app().clone(),
            progress: self.report.progress(),
            services: services
                .map(|(name, report)| (name.clone(), self.service(name, report, now)))
                .collect(),
            listening: self.listening.to_vec(),
        }
    }

    /// The status of one service at this moment.
    pub(crate) fn service(
        &self,
        name: &ServiceName,
        report: &plan::ServiceReport,
        now: Moment,
    ) -> ServiceStatus {
        let spec = self.directory.service(name);
        let load = self
            .activities
            .get(name)
            .map(|activity| activity.load())
            .unwrap_or_default();
        ServiceStatus {
            state: report.state.to_string(),
            progress: report.state.progress(),
            reasons: report
                .reasons
                .iter()
                .filter(|reason| still_holds(reason, load))
                .map(|reason| reason.told_after(now.since(self.at)).to_string())
                .collect(),
            revision: report.revision,
            wished: report.wanted,
            ready: report.ready(),
            instances: report
                .instances
                .iter()
                .map(|i| self.instance(i, now))
                .collect(),
            load,
            last_demand: load.last_demand.map(|at| now.since(at)),
            http_port: spec.and_then(|spec| spec.http_port()),
            owner: spec.and_then(|spec| spec.owner.clone()),
            address: self.directory.addresses().get(name),
            networks: spec
                .map(|s| s.networks.keys().cloned().collect())
                .unwrap_or_default(),
        }
    }

    fn instance(&self, report: &plan::InstanceReport, now: Moment) -> InstanceStatus {
        let endpoint = self.endpoints.get(&report.id);
        let started = self.started.get(&report.id);
        InstanceStatus {
            id: report.id.clone(),
            revision: report.revision,
            state: report.state.to_string(),
            age: started.map(|started| now.since(started.at)),
            restarts: started.map_or(0, |started| started.restarts),
            in_flight: endpoint.map_or(0, |endpoint| endpoint.in_flight()),
            calls: endpoint.map_or(0, |endpoint| endpoint.calls()),
        }
    }
}

/// What the counters can tell is told by them: a pass may be a while ago.
fn still_holds(reason: &Reason, load: Load) -> bool {
    match reason {
        Reason::Holds { .. } => load.held > 0,
        Reason::Busy { .. } => load.in_flight > 0 || load.connections > 0,
        Reason::RestsIn { .. } => load.in_flight == 0 && load.held == 0,
        Reason::Unobserved { .. }
        | Reason::AppStopped
        | Reason::Unselected
        | Reason::Leaving
        | Reason::ScaledToZero
        | Reason::WaitsFor { .. }
        | Reason::DependencyFailed { .. }
        | Reason::DependantRuns { .. }
        | Reason::NoRoom { .. }
        | Reason::Replaces { .. }
        | Reason::Asleep { .. }
        | Reason::RestCalledOff { .. }
        | Reason::Instance { .. } => true,
    }
}
