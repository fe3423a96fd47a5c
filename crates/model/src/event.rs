//! Past facts.

use std::fmt;
use std::time::Duration;

use crate::{AppName, ExitStatus, InstanceId, Revision, ServiceName, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To which app.
    pub app: AppName,
    /// To which of its services, if to one.
    pub service: Option<ServiceName>,
    /// To which instance, if to one.
    pub instance: Option<InstanceId>,
    /// What.
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A release was made current.
    AppUp,
    /// All of an app was stopped; what it keeps is kept.
    AppStopped,
    /// An app was taken down.
    AppDown,
    /// A revision of a service was made current.
    RevisionCurrent(Revision),
    /// A service was asleep and is called.
    ServiceWoken,
    /// A service fell asleep.
    ServiceRested,
    /// A service is wished to have this many instances.
    ServiceScaled(u32),
    /// The program of an instance was started.
    InstanceStarted,
    /// An instance may receive calls, this long after its start was asked for.
    InstanceReady(Duration),
    /// A probe of an instance failed, for this reason.
    InstanceUnready(String),
    /// An instance admits no new calls.
    InstanceDraining,
    /// An instance was frozen.
    InstanceFrozen,
    /// An instance was thawed, in this time.
    InstanceThawed(Duration),
    /// An instance was asked to stop and did.
    InstanceStopped(ExitStatus),
    /// The program of an instance ended by itself.
    InstanceExited(ExitStatus),
    /// An instance could not be started, for this reason.
    StartFailed(String),
    /// No more starts will be tried, after this many.
    StartsGivenUp(u32),
}

impl Fact {
    /// Its name, as `roads events --json` has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AppUp => "app_up",
            Self::AppStopped => "app_stopped",
            Self::AppDown => "app_down",
            Self::RevisionCurrent(_) => "revision_current",
            Self::ServiceWoken => "service_woken",
            Self::ServiceRested => "service_rested",
            Self::ServiceScaled(_) => "service_scaled",
            Self::InstanceStarted => "instance_started",
            Self::InstanceReady(_) => "instance_ready",
            Self::InstanceUnready(_) => "instance_unready",
            Self::InstanceDraining => "instance_draining",
            Self::InstanceFrozen => "instance_frozen",
            Self::InstanceThawed(_) => "instance_thawed",
            Self::InstanceStopped(_) => "instance_stopped",
            Self::InstanceExited(_) => "instance_exited",
            Self::StartFailed(_) => "start_failed",
            Self::StartsGivenUp(_) => "starts_given_up",
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppUp => write!(f, "is up"),
            Self::AppStopped => write!(f, "was stopped"),
            Self::AppDown => write!(f, "was taken down"),
            Self::RevisionCurrent(revision) => write!(f, "has {revision} as its current revision"),
            Self::ServiceWoken => write!(f, "was called and woke"),
            Self::ServiceRested => write!(f, "fell asleep"),
            Self::ServiceScaled(count) => write!(f, "was scaled to {count}"),
            Self::InstanceStarted => write!(f, "started"),
            Self::InstanceReady(after) => write!(f, "was ready after {after:.1?}"),
            Self::InstanceUnready(why) => write!(f, "was not ready: {why}"),
            Self::InstanceDraining => write!(f, "admitted no new calls"),
            Self::InstanceFrozen => write!(f, "was frozen"),
            Self::InstanceThawed(took) => write!(f, "was thawed in {took:.1?}"),
            Self::InstanceStopped(status) => write!(f, "was stopped: {status}"),
            Self::InstanceExited(status) => write!(f, "ended: {status}"),
            Self::StartFailed(why) => write!(f, "could not be started: {why}"),
            Self::StartsGivenUp(count) => write!(f, "was given up after {count} starts"),
        }
    }
}
