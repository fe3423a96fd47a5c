//! What an app should be, what people command beyond that, and what demand there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{ActivationMode, AppName, InstanceId, Moment, Revision, ServiceName, ServiceSpec};

/// What one app should be. It is remembered over restarts of the daemon; a [`Command`] is not.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Its name.
    pub app: AppName,
    /// Whether it runs.
    pub wish: Wish,
    /// Its services. Instances of services that are not among them are removed.
    pub services: BTreeMap<ServiceName, ServiceDesired>,
}

/// Whether an app runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It is up.
    Up,
    /// Its programs end, dependants before their dependencies; its instances are kept.
    Stopped,
    /// As `Stopped`, and its instances are removed.
    Down,
}

/// What one service should be.
#[derive(Debug, Clone)]
pub struct ServiceDesired {
    /// The Spec of its current revision.
    pub spec: Arc<ServiceSpec>,
    /// Its current revision; instances of others are replaced.
    pub revision: Revision,
    /// The wished number of instances while it is awake: the Spec's, or what `scale` said. The
    /// Spec's `instances_max` bounds it.
    pub instances: u32,
    /// When it runs: the Spec's mode, or `OnDemand` by `up --lazy`.
    pub mode: ActivationMode,
    /// Whether it is to run at all.
    pub selection: Selection,
}

/// Whether a service of an app that is up is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// It is.
    Selected,
    /// It is known and not started; calls to it are refused.
    Unselected,
}

impl ServiceDesired {
    /// As its Spec says, and selected.
    #[must_use]
    pub fn new(spec: Arc<ServiceSpec>, revision: Revision) -> Self {
        Self {
            revision,
            instances: spec.scale.instances,
            mode: spec.activation.mode,
            selection: Selection::Selected,
            spec,
        }
    }

    /// The number of instances while it is awake.
    #[must_use]
    pub fn wanted(&self) -> u32 {
        self.instances.min(self.spec.scale.instances_max)
    }
}

/// What a person asks for now. What a restart of the daemon must remember is [`Desired`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Bring it up now, also after its starts were given up. An on-demand service rests again
    /// once it was idle.
    Wake(ServiceName),
    /// Put it to sleep now, whatever its mode; the next call wakes it. Called off by a new call,
    /// and when calls are still in flight at the drain's deadline.
    Rest(ServiceName),
    /// Replace all its instances; one that sleeps goes on sleeping.
    Restart(ServiceName),
    /// Try again what failed or ended and should run (`up` again); nothing that sleeps is woken.
    Retry(ServiceName),
    /// End its programs at once and without asking. For a service that is not to run; any other
    /// is let be.
    Kill(ServiceName),
}

impl Command {
    /// The service it is for.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Wake(service)
            | Self::Rest(service)
            | Self::Restart(service)
            | Self::Retry(service)
            | Self::Kill(service) => service,
        }
    }
}

/// The demand for an app, read after the routes of the pass before were applied. What is not
/// named has none.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    /// By service.
    pub services: BTreeMap<ServiceName, ServiceDemand>,
    /// Calls and connections inside each instance, whether or not it still admits new ones.
    pub in_flight: BTreeMap<InstanceId, u32>,
}

impl Demand {
    /// Calls and connections inside an instance.
    #[must_use]
    pub fn in_flight(&self, id: &InstanceId) -> u32 {
        self.in_flight.get(id).copied().unwrap_or_default()
    }
}

/// The demand for one service, as the data plane counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceDemand {
    /// Calls and connections inside its instances.
    pub in_flight: u32,
    /// Calls that wait for an instance.
    pub held: u32,
    /// Connections that keep it awake while they are open.
    pub connections: u32,
    /// When a call last began or ended.
    pub last_demand: Option<Moment>,
    /// The port that the newest held call wants.
    pub wanted_port: Option<u16>,
}

impl ServiceDemand {
    /// Whether anything goes on at this moment.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.in_flight == 0 && self.held == 0 && self.connections == 0
    }
}
