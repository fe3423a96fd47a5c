//! Why an app is as it is: made with every pass, printed by `ps` and `explain`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{Condition, ExitStatus, InstanceId, Rest, Restart, Revision, ServiceName};

/// What one pass found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Whether the engine has told what runs. Before, no service's state is known.
    pub observed: bool,
    /// By service; also those that are leaving.
    pub services: BTreeMap<ServiceName, ServiceReport>,
}

impl Report {
    /// How far the app is on its way to what it should be: the least of its services'.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let each = self
            .services
            .values()
            .map(|service| service.state.progress());
        each.max().unwrap_or(Progress::Settled)
    }

    /// Whether no instance is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services
            .values()
            .all(|service| service.instances.is_empty())
    }
}

/// How far something is on its way to what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// It is there.
    Settled,
    /// It is on its way.
    UnderWay,
    /// It does not get there by itself.
    Stuck,
}

/// A service as a pass found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceReport {
    /// In one word.
    pub state: ServiceState,
    /// Why, the most telling first.
    pub reasons: Vec<Reason>,
    /// Its current revision.
    pub revision: Revision,
    /// The number of instances wished while it is awake.
    pub wanted: u32,
    /// Its instances, by number.
    pub instances: Vec<InstanceReport>,
}

impl ServiceReport {
    /// How many instances admit calls.
    #[must_use]
    pub fn ready(&self) -> usize {
        let ready = |instance: &&InstanceReport| instance.state == InstanceState::Ready;
        self.instances.iter().filter(ready).count()
    }
}

/// An instance as a pass found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceReport {
    /// Which.
    pub id: InstanceId,
    /// Of which revision it is a copy.
    pub revision: Revision,
    /// What it does.
    pub state: InstanceState,
}

/// What a service does, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceState {
    /// The engine has not told yet what runs.
    Unknown,
    /// As many instances as wished are ready.
    Running,
    /// Too few are ready, and that is about to change.
    Starting,
    /// Its instances run and none is ready any more.
    Unready,
    /// Instances of before are being replaced.
    Replacing,
    /// It waits for a service that it depends on.
    Waiting,
    /// It ended, and is started again in a while.
    BackingOff,
    /// It is falling asleep.
    Resting,
    /// It sleeps until it is called.
    Asleep,
    /// Its instances are asked to end.
    Stopping,
    /// It is not to run, and does not.
    Stopped,
    /// It ended with success, and is not to run again.
    Completed,
    /// It should run, does not, and is not started again by itself.
    Failed,
}

impl ServiceState {
    /// How far it is on its way to what it should be.
    #[must_use]
    pub fn progress(self) -> Progress {
        match self {
            Self::Running | Self::Asleep | Self::Stopped | Self::Completed => Progress::Settled,
            Self::Unknown
            | Self::Starting
            | Self::Unready
            | Self::Replacing
            | Self::Waiting
            | Self::BackingOff
            | Self::Resting
            | Self::Stopping => Progress::UnderWay,
            Self::Failed => Progress::Stuck,
        }
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Unready => "unready",
            Self::Replacing => "replacing",
            Self::Waiting => "waiting",
            Self::BackingOff => "backing off",
            Self::Resting => "resting",
            Self::Asleep => "asleep",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Failed => "failed",
        })
    }
}

/// What an instance does, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// It was not started yet.
    New,
    /// Its start was asked for.
    Starting,
    /// Its program runs, and it is not known to be ready.
    Probing,
    /// It admits calls.
    Ready,
    /// Its healthcheck fails.
    Unready,
    /// It admits no new calls.
    Draining,
    /// It is being frozen.
    Freezing,
    /// It is frozen.
    Frozen,
    /// It is being thawed.
    Thawing,
    /// It was asked to end.
    Stopping,
    /// Its program does not run.
    Ended,
    /// It is being removed.
    Removing,
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::Starting => "starting",
            Self::Probing => "probing",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Draining => "draining",
            Self::Freezing => "freezing",
            Self::Frozen => "frozen",
            Self::Thawing => "thawing",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
            Self::Removing => "removing",
        })
    }
}

/// Why an instance is not running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its program ended like this.
    Ended(ExitStatus),
    /// It could not be started.
    NotStarted(Arc<str>),
}

impl fmt::Display for Cause {
    /// A predicate: "exited with code 1".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status @ ExitStatus::Code(_)) => write!(f, "{status}"),
            Self::Ended(status @ ExitStatus::Unknown) => write!(f, "is {status}"),
            Self::Ended(status @ (ExitStatus::Signal(_) | ExitStatus::OutOfMemory)) => {
                write!(f, "was {status}")
            }
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// Why a service is as it is, or is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The engine has not told yet what instances there are.
    Unobserved {
        /// What it said instead, if anything.
        why: Option<Arc<str>>,
    },
    /// The app is stopped, or going down.
    AppStopped,
    /// `up` did not select the service.
    Unselected,
    /// The service is no longer part of the app.
    Leaving,
    /// No instance is wished.
    ScaledToZero,
    /// A dependency is not what it must be, and is on its way.
    WaitsFor {
        /// Which.
        dependency: ServiceName,
        /// What must be true of it.
        condition: Condition,
    },
    /// A dependency is not what it must be, and will not be by itself.
    DependencyFailed {
        /// Which.
        dependency: ServiceName,
        /// What must be true of it.
        condition: Condition,
    },
    /// Dependants end first.
    DependantRuns {
        /// One that still runs.
        dependant: ServiceName,
    },
    /// There may be no more instances at one time.
    NoRoom {
        /// The bound.
        instances_max: u32,
    },
    /// Instances of another revision, or condemned by `restart`, are still there.
    Replaces {
        /// How many.
        left: u32,
    },
    /// It sleeps.
    Asleep {
        /// For so long.
        lasting: Duration,
        /// How.
        rest: Rest,
    },
    /// `rest` was called off at the drain's deadline.
    RestCalledOff {
        /// Calls that were still in flight.
        in_flight: u32,
    },
    /// Calls wait for it.
    Holds {
        /// How many.
        calls: u32,
    },
    /// It is awake because of what goes on.
    Busy {
        /// Calls in flight.
        in_flight: u32,
        /// Open connections.
        connections: u32,
    },
    /// It is awake, and rests if nobody calls.
    RestsIn {
        /// From now.
        after: Duration,
    },
    /// One of its instances is not simply ready or at rest.
    Instance {
        /// Which.
        id: InstanceId,
        /// Why.
        reason: InstanceReason,
    },
}

/// Why an instance is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceReason {
    /// It is started again after a while.
    NextStart {
        /// From now.
        after: Duration,
        /// Why it does not run.
        cause: Cause,
    },
    /// It is started again by the first call after a while.
    NextCallStarts {
        /// From now.
        after: Duration,
        /// Why it does not run.
        cause: Cause,
    },
    /// Its restart policy lets it be.
    LetBe {
        /// Why it does not run.
        cause: Cause,
        /// The policy.
        restart: Restart,
    },
    /// Starting is pointless until a person changes something.
    CannotStart {
        /// What forbids it.
        why: Arc<str>,
    },
    /// Its start was asked for.
    Starts {
        /// So long ago.
        lasting: Duration,
    },
    /// Its program runs, and is not ready yet.
    NotReadyYet {
        /// Since its start.
        lasting: Duration,
        /// What the last probe said.
        why: Option<Arc<str>>,
    },
    /// It was ready, and its healthcheck fails now.
    Unready {
        /// What the last probe said.
        why: Arc<str>,
    },
    /// It admits no new calls and finishes those it has.
    Drains {
        /// Calls in flight.
        in_flight: u32,
        /// Until the drain's deadline.
        left: Duration,
    },
    /// It was asked to end.
    Stops {
        /// Until it is killed; zero when it was.
        left: Duration,
    },
    /// A step failed and is tried again.
    StepFailed {
        /// In words.
        why: Arc<str>,
        /// From now.
        after: Duration,
    },
}

impl Reason {
    /// The same reason, told some time after the pass that found it.
    #[must_use]
    pub fn told_after(&self, time: Duration) -> Self {
        let mut told = self.clone();
        match &mut told {
            Self::Asleep { lasting, .. } => *lasting += time,
            Self::RestsIn { after } => *after = after.saturating_sub(time),
            Self::Instance { reason, .. } => reason.age(time),
            Self::Unobserved { .. }
            | Self::AppStopped
            | Self::Unselected
            | Self::Leaving
            | Self::ScaledToZero
            | Self::WaitsFor { .. }
            | Self::DependencyFailed { .. }
            | Self::DependantRuns { .. }
            | Self::NoRoom { .. }
            | Self::Replaces { .. }
            | Self::RestCalledOff { .. }
            | Self::Holds { .. }
            | Self::Busy { .. } => {}
        }
        told
    }
}

impl InstanceReason {
    fn age(&mut self, time: Duration) {
        match self {
            Self::Starts { lasting } | Self::NotReadyYet { lasting, .. } => *lasting += time,
            Self::NextStart { after: left, .. }
            | Self::NextCallStarts { after: left, .. }
            | Self::StepFailed { after: left, .. }
            | Self::Drains { left, .. }
            | Self::Stops { left } => *left = left.saturating_sub(time),
            Self::LetBe { .. } | Self::CannotStart { .. } | Self::Unready { .. } => {}
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unobserved { why: None } => write!(f, "the engine has not told yet what runs"),
            Self::Unobserved { why: Some(why) } => {
                write!(f, "the engine does not tell what runs: {why}")
            }
            Self::AppStopped => write!(f, "the app is stopped"),
            Self::Unselected => write!(f, "it was not selected"),
            Self::Leaving => write!(f, "it is no longer part of the app"),
            Self::ScaledToZero => write!(f, "it is scaled to 0 instances"),
            Self::WaitsFor {
                dependency,
                condition,
            } => write!(f, "waits for {dependency} to be {}", must_be(*condition)),
            Self::DependencyFailed {
                dependency,
                condition,
            } => write!(
                f,
                "{dependency} must be {} first, and has failed",
                must_be(*condition)
            ),
            Self::DependantRuns { dependant } => {
                write!(f, "{dependant} depends on it and ends first")
            }
            Self::NoRoom { instances_max } => {
                write!(f, "no more than {instances_max} instances may live at once")
            }
            Self::Replaces { left } => write!(f, "former instances are being replaced: {left}"),
            Self::Asleep { lasting, rest } => {
                let rest = match rest {
                    Rest::Frozen => "frozen",
                    Rest::Stopped => "stopped",
                };
                write!(f, "asleep for {} ({rest}): nobody called", words(*lasting))
            }
            Self::RestCalledOff { in_flight } => {
                write!(
                    f,
                    "rest was called off: calls were still in flight: {in_flight}"
                )
            }
            Self::Holds { calls } => write!(f, "calls wait for it: {calls}"),
            Self::Busy {
                in_flight,
                connections,
            } => write!(
                f,
                "calls in flight: {in_flight}; open connections: {connections}"
            ),
            Self::RestsIn { after } => write!(f, "rests in {} if nobody calls", words(*after)),
            Self::Instance { id, reason } => write!(f, "{} {reason}", id.short()),
        }
    }
}

impl fmt::Display for InstanceReason {
    /// A predicate, to follow the instance's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextStart { after, cause } => {
                write!(f, "{cause}; it starts again in {}", words(*after))
            }
            Self::NextCallStarts { after, cause } if after.is_zero() => {
                write!(f, "{cause}; the next call starts it again")
            }
            Self::NextCallStarts { after, cause } => {
                write!(f, "{cause}; a call in {} starts it again", words(*after))
            }
            Self::LetBe { cause, restart } => {
                write!(f, "{cause}; its restart policy is {restart}")
            }
            Self::CannotStart { why } => write!(f, "cannot be started: {why}"),
            Self::Starts { lasting } => write!(f, "has been starting for {}", words(*lasting)),
            Self::NotReadyYet { lasting, why: None } => {
                write!(f, "has run for {} and is not ready yet", words(*lasting))
            }
            Self::NotReadyYet {
                lasting,
                why: Some(why),
            } => write!(
                f,
                "has run for {} and is not ready yet: {why}",
                words(*lasting)
            ),
            Self::Unready { why } => write!(f, "is not ready any more: {why}"),
            Self::Drains { in_flight, left } => write!(
                f,
                "finishes its calls in flight ({in_flight}), {} at most",
                words(*left)
            ),
            Self::Stops { left } if left.is_zero() => write!(f, "was killed"),
            Self::Stops { left } => {
                write!(f, "was asked to end, and is killed in {}", words(*left))
            }
            Self::StepFailed { why, after } => {
                write!(f, "is tried again in {}: {why}", words(*after))
            }
        }
    }
}

fn must_be(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "started",
        Condition::Healthy => "ready",
        Condition::CompletedSuccessfully => "completed with success",
    }
}

/// A duration for people: two significant parts at most.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
