//! When an instance is probed, and what the answers make of it.
//!
//! By its ports: one wait after each start, until it listens; ready from then on, since a
//! connection that fails later is the data plane's to see. By its healthcheck: at once after a
//! start, then with waits that double up to the interval, so that a quick program is ready
//! quickly; once ready, by interval and retries as the Compose specification says.

use std::sync::Arc;
use std::time::Duration;

use model::{Moment, ServiceSpec};

use crate::instance::Run;
use crate::{Probe, Ticket};

/// The longest that one probe waits for a port; it is asked again then.
const PORTS_TIMEOUT: Duration = Duration::from_secs(60);
/// The wait after a failed probe for a port.
const PORTS_WAIT: Duration = Duration::from_millis(100);
/// The first wait between two probes of a starting program.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// Whether a program may receive calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Not since its start; what the last probe said.
    NotYet(Option<Arc<str>>),
    /// It may.
    Yes { since: Moment },
    /// It could, and its healthcheck fails now.
    NoLonger(Arc<str>),
}

impl Ready {
    pub(crate) fn is_yes(&self) -> bool {
        matches!(self, Self::Yes { .. })
    }
}

/// The probes of one run of a program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probing {
    asked: Option<Ticket>,
    next: Moment,
    failures: u32,
}

/// What is to be done about readiness now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing, until then if there is a then.
    Later(Option<Moment>),
    /// A probe.
    Now(Probe, Duration),
    /// There is nothing to probe: it is ready.
    ReadyAtOnce,
}

impl Probing {
    /// It was ready before it was frozen, so the next probe has time.
    pub(crate) fn after_thaw(spec: &ServiceSpec, now: Moment) -> Self {
        let interval = spec.healthcheck.as_ref().map(|check| check.interval);
        Self {
            next: now + interval.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Which probe is due for a running program.
    pub(crate) fn due(
        &self,
        run: &Run,
        spec: &ServiceSpec,
        wanted_port: Option<u16>,
        now: Moment,
    ) -> Due {
        let by_ports = spec.healthcheck.is_none();
        if self.asked.is_some() || (by_ports && run.ready.is_yes()) {
            return Due::Later(None);
        }
        if self.next > now {
            return Due::Later(Some(self.next));
        }
        if let Some(check) = &spec.healthcheck {
            return Due::Now(Probe::Healthcheck, check.timeout);
        }
        let mut ports: Vec<u16> = spec.tcp_ports().collect();
        if ports.is_empty() {
            ports.extend(wanted_port);
        }
        if ports.is_empty() {
            return Due::ReadyAtOnce;
        }
        Due::Now(Probe::Ports(ports), PORTS_TIMEOUT)
    }

    /// A probe was asked for.
    pub(crate) fn ask(&mut self, ticket: Ticket) {
        self.asked = Some(ticket);
    }

    /// Forgets the probe that is under way.
    pub(crate) fn call_off(&mut self) {
        self.asked = None;
    }

    /// Whether the ticket is that of the probe under way, which it is no more then.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> bool {
        self.asked.take_if(|asked| *asked == ticket).is_some()
    }

    /// The probe succeeded.
    pub(crate) fn succeed(
        &mut self,
        run: &mut Run,
        spec: &ServiceSpec,
        now: Moment,
    ) -> Option<model::Fact> {
        self.failures = 0;
        let interval = spec.healthcheck.as_ref().map(|check| check.interval);
        self.next = now + interval.unwrap_or_default();
        if run.ready.is_yes() {
            return None;
        }
        run.ready = Ready::Yes { since: now };
        Some(model::Fact::InstanceReady(now.since(run.asked)))
    }

    /// The probe failed.
    pub(crate) fn fail(
        &mut self,
        run: &mut Run,
        why: &Arc<str>,
        spec: &ServiceSpec,
        now: Moment,
    ) -> Option<model::Fact> {
        self.failures = self.failures.saturating_add(1);
        let Some(check) = &spec.healthcheck else {
            self.next = now + PORTS_WAIT;
            run.ready = Ready::NotYet(Some(Arc::clone(why)));
            return None;
        };
        match &run.ready {
            Ready::NotYet(_) => {
                let starting = now.since(run.asked) < check.start_period;
                let wait_max = if starting {
                    check.start_interval
                } else {
                    check.interval
                };
                let doubled = FIRST_WAIT * (1 << (self.failures - 1).min(20));
                self.next = now + doubled.min(wait_max).max(Duration::from_millis(1));
                run.ready = Ready::NotYet(Some(Arc::clone(why)));
                None
            }
            Ready::Yes { .. } if self.failures < check.retries.max(1) => {
                self.next = now + check.interval;
                None
            }
            Ready::Yes { .. } | Ready::NoLonger(_) => {
                self.next = now + check.interval;
                let news = run.ready.is_yes();
                run.ready = Ready::NoLonger(Arc::clone(why));
                news.then(|| model::Fact::InstanceUnready(why.to_string()))
            }
        }
    }
}
