//! The limits and knobs of a service.

use std::fmt;
use std::time::Duration;

/// When a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationMode {
    /// From `up` to `down`.
    Always,
    /// From its first call until it has been idle for a while.
    OnDemand,
}

/// How an idle instance sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Its processes are frozen: memory stays, no processor time is used.
    Frozen,
    /// Its program has ended; its private files stay.
    Stopped,
}

/// How many calls may wait for a service to become ready, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Calls held at one time; more are refused.
    pub requests_max: u32,
    /// The longest that one call is held.
    pub timeout: Duration,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            requests_max: 1000,
            timeout: Duration::from_secs(30),
        }
    }
}

/// When a service starts because of demand, and rests for lack of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activation {
    /// When it runs.
    pub mode: ActivationMode,
    /// How long nothing is in flight and no connection is open before it rests.
    pub idle: Duration,
    /// How it rests.
    pub rest: Rest,
    /// What may wait for it.
    pub hold: Hold,
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            mode: ActivationMode::Always,
            idle: Duration::from_secs(5 * 60),
            rest: Rest::Stopped,
            hold: Hold::default(),
        }
    }
}

/// How many instances a service has while it is awake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The wished number (`deploy.replicas`, `scale`).
    pub instances: u32,
    /// Never more than this, whatever anybody wishes.
    pub instances_max: u32,
}

impl Scale {
    /// The bound where the file names none.
    pub const INSTANCES_MAX: u32 = 100;
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            instances: 1,
            instances_max: Self::INSTANCES_MAX,
        }
    }
}

/// What happens when an instance's program ends by itself (compose-spec, `restart`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Nothing.
    #[default]
    No,
    /// It is started again, until somebody stops it.
    Always,
    /// As `Always`, but what somebody stopped stays stopped over a restart of the daemon.
    UnlessStopped,
    /// It is started again if it failed, at most this often in a row when given.
    OnFailure {
        /// Starts after the first, in a row without becoming ready in between.
        attempts_max: Option<u32>,
    },
}

impl fmt::Display for Restart {
    /// As a compose file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => write!(f, "no"),
            Self::Always => write!(f, "always"),
            Self::UnlessStopped => write!(f, "unless-stopped"),
            Self::OnFailure { attempts_max: None } => write!(f, "on-failure"),
            Self::OnFailure {
                attempts_max: Some(attempts_max),
            } => write!(f, "on-failure:{attempts_max}"),
        }
    }
}

/// What must be true of a dependency before a service starts (compose-spec, `depends_on`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It was started.
    Started,
    /// Its healthcheck succeeds.
    Healthy,
    /// It ended with success.
    CompletedSuccessfully,
}

/// The command that tells whether an instance is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthTest {
    /// A program and its arguments.
    Command(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// How readiness is probed inside an instance (compose-spec, `healthcheck`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// What is run; success is exit code 0.
    pub test: HealthTest,
    /// Between two probes of a ready instance.
    pub interval: Duration,
    /// The longest that one probe may take; longer is a failure.
    pub timeout: Duration,
    /// Failures in a row that make a ready instance unready.
    pub retries: u32,
    /// Failures this soon after the start do not count.
    pub start_period: Duration,
    /// Between two probes within the start period.
    pub start_interval: Duration,
}

impl Healthcheck {
    /// The defaults of the Compose specification around `test`.
    #[must_use]
    pub fn new(test: HealthTest) -> Self {
        Self {
            test,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            retries: 3,
            start_period: Duration::ZERO,
            start_interval: Duration::from_secs(5),
        }
    }
}
