//! What a pass says is to be done, and what is told back.
//!
//! Every [`Step`] has a ticket and is answered by exactly one [`Fact`] that bears it, within a
//! deadline that the executor keeps. An answer whose ticket is not the one waited for is stale,
//! and refused.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{ExitStatus, InstanceId, Moment, Revision, ServiceName, ServiceSpec, Signal};

use crate::{Reason, Report};

/// Which asking an answer belongs to. Tickets of one machine only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub(crate) u64);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Borne by its answer.
    pub ticket: Ticket,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done. Each is idempotent. Actions of one pass are for different instances and
/// may be done all at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the engine for all instances of the app; answered by [`Fact::Sighted`], or `Failed`.
    Observe,
    /// Start it, or start it again with the files it had. Done when its program was started and
    /// its ambassador is served.
    Start {
        /// Which; an endpoint that it had before stays its endpoint.
        id: InstanceId,
        /// Of which revision it is a copy.
        revision: Revision,
        /// What it is to be.
        spec: Arc<ServiceSpec>,
    },
    /// Probe once whether it is ready: done when it is, failed when it is not. Any later action
    /// on the instance calls it off; its answer is then not needed.
    Probe {
        /// Which.
        id: InstanceId,
        /// How.
        how: Probe,
        /// Longer is a failure.
        timeout: Duration,
    },
    /// Freeze it.
    Freeze {
        /// Which.
        id: InstanceId,
    },
    /// Thaw it.
    Thaw {
        /// Which.
        id: InstanceId,
    },
    /// Send a signal to its program. That it ended is told by [`Fact::Exited`].
    Signal {
        /// Which.
        id: InstanceId,
        /// What.
        signal: Signal,
    },
    /// End what still runs of it and forget it with its files.
    Remove {
        /// Which.
        id: InstanceId,
    },
}

impl Action {
    /// The instance that it is for.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Observe => None,
            Self::Start { id, .. }
            | Self::Probe { id, .. }
            | Self::Freeze { id }
            | Self::Thaw { id }
            | Self::Signal { id, .. }
            | Self::Remove { id } => Some(id),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observe => write!(f, "observe"),
            Self::Start { id, revision, .. } => write!(f, "start {} as {revision}", id.short()),
            Self::Probe { id, how, .. } => write!(f, "probe {} by {how}", id.short()),
            Self::Freeze { id } => write!(f, "freeze {}", id.short()),
            Self::Thaw { id } => write!(f, "thaw {}", id.short()),
            Self::Signal { id, signal } => write!(f, "send {signal} to {}", id.short()),
            Self::Remove { id } => write!(f, "remove {}", id.short()),
        }
    }
}

/// How readiness is found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It listens on one of these TCP ports; found by waiting for that, up to the timeout.
    Ports(Vec<u16>),
    /// The command of its healthcheck ends with success.
    Healthcheck,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(ports) => write!(f, "ports {ports:?}"),
            Self::Healthcheck => write!(f, "its healthcheck"),
        }
    }
}

/// Something that was answered or told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A step succeeded.
    Done {
        /// The instance it was for.
        id: InstanceId,
        /// The step's.
        ticket: Ticket,
    },
    /// A step failed, or was not answered in time.
    Failed {
        /// The instance it was for.
        id: InstanceId,
        /// The step's.
        ticket: Ticket,
        /// Why.
        failure: Failure,
    },
    /// The engine told what instances of the app there are: all of them.
    Sighted {
        /// The step's.
        ticket: Ticket,
        /// In any order.
        sightings: Vec<Sighting>,
    },
    /// The engine did not tell what instances there are.
    Unsighted {
        /// The step's.
        ticket: Ticket,
        /// Why not.
        why: String,
    },
    /// The program of an instance ended.
    Exited {
        /// Which.
        id: InstanceId,
        /// How.
        status: ExitStatus,
    },
    /// Facts may have been missed.
    Gap,
}

/// Why a step was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub why: Arc<str>,
    /// Whether it may work the next time.
    pub retry: Retry,
}

/// Whether a step may work the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may.
    Later,
    /// Not until a person changes something.
    Never,
}

/// An instance as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which.
    pub id: InstanceId,
    /// The revision that it was started as.
    pub revision: Revision,
    /// What it does.
    pub state: Sight,
    /// When its program was last started.
    pub started: Moment,
}

/// What an instance was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Frozen,
    /// Its program ended; its files are kept.
    Exited(ExitStatus),
}

/// What one pass decided.
#[derive(Debug)]
pub struct Pass {
    /// What is to be done; the routes are applied before.
    pub steps: Vec<Step>,
    /// Where calls may go, all services. An endpoint that is not named is closed, and one that is
    /// named is open (again).
    pub routes: BTreeMap<ServiceName, Route>,
    /// What happened since the pass before.
    pub events: Vec<Happened>,
    /// Why things are as they are.
    pub report: Report,
    /// When the next pass is due though nothing may have happened; at once when it is now.
    pub next: Option<Moment>,
}

/// Where calls to a service may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its instances that admit calls, by number.
    pub ready: Vec<InstanceId>,
    /// What becomes of a call while there is none.
    pub availability: Availability,
}

/// What becomes of a call to a service that has no ready instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It is held.
    Held,
    /// It is refused, for this reason.
    Refused(Reason),
}

/// An event, but for its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// To which service.
    pub service: ServiceName,
    /// To which of its instances, if to one.
    pub instance: Option<InstanceId>,
    /// What.
    pub fact: model::Fact,
}
