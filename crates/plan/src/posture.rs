//! Whether a service is awake: from its first call until it was idle, or from up to down.
//!
//! ```text
//!            a call is held, wake
//!   ASLEEP ───────────────────────► AWAKE
//!     ▲                              │ ▲
//!     │ all its instances            │ │ a call (idle: any sign of one)
//!     │ are at rest         idle, rest ▼ │
//!     └──────────────────────────── RESTING
//! ```
//! While RESTING its gates are closed and its instances drain; a call that arrives is held, and
//! turns it back. Nothing is frozen or stopped before a later pass saw that nothing is in flight
//! behind the closed gates, so a call is either seen, or sees a closed gate and is held.

use std::time::Duration;

use model::{ActivationMode, Moment};

use crate::draft::{Draft, Whose};
use crate::instance::Instance;
use crate::service::Service;
use crate::{Demand, ServiceDemand};

/// So long a service that never became ready is not idle, however short its idle time is.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Whether a service is awake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posture {
    /// Its instances are wished to run.
    Awake {
        /// Since when nothing goes on, as far as we saw.
        quiet_since: Moment,
    },
    /// It is falling asleep.
    Resting { cause: Cause },
    /// Its instances are at rest.
    Asleep { since: Moment },
}

/// Why a service falls asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Idle,
    Command,
}

impl Posture {
    /// Of a service that was not there before.
    pub(crate) fn initial(mode: ActivationMode, now: Moment) -> Self {
        match mode {
            ActivationMode::Always => Self::Awake { quiet_since: now },
            ActivationMode::OnDemand => Self::Asleep { since: now },
        }
    }

    pub(crate) fn is_awake(self) -> bool {
        matches!(self, Self::Awake { .. })
    }
}

impl Service {
    /// Wakes it, or lets it fall asleep, by demand.
    pub(crate) fn settle_posture(&mut self, whose: Whose, demand: &Demand, draft: &mut Draft) {
        let own = self.demand;
        match self.posture {
            Posture::Asleep { .. } if own.held > 0 => {
                draft
                    .events
                    .push(whose.happened(None, model::Fact::ServiceWoken));
                self.come_awake(draft.now);
            }
            Posture::Asleep { .. } => {}
            Posture::Resting { cause } => self.settle_resting(cause, own, whose, demand, draft),
            Posture::Awake { quiet_since } => self.settle_awake(quiet_since, own, draft),
        }
    }

    fn come_awake(&mut self, now: Moment) {
        self.rest_called_off = None;
        self.posture = Posture::Awake { quiet_since: now };
    }

    fn settle_resting(
        &mut self,
        cause: Cause,
        own: ServiceDemand,
        whose: Whose,
        demand: &Demand,
        draft: &mut Draft,
    ) {
        if own.held > 0 || (cause == Cause::Idle && !own.is_quiet()) {
            self.come_awake(draft.now);
            return;
        }
        let overdue = |instance: &&Instance| instance.drain_until.is_some_and(|t| t <= draft.now);
        let in_flight = |i: &Instance| demand.in_flight(&whose.id(i.number));
        let stuck: u32 = self.instances.iter().filter(overdue).map(in_flight).sum();
        if stuck > 0 {
            self.come_awake(draft.now);
            self.rest_called_off = Some(stuck);
        } else if self.instances.iter().all(Instance::is_at_rest) {
            self.posture = Posture::Asleep { since: draft.now };
            draft
                .events
                .push(whose.happened(None, model::Fact::ServiceRested));
        }
    }

    fn settle_awake(&mut self, quiet_since: Moment, own: ServiceDemand, draft: &mut Draft) {
        let now = draft.now;
        let quiet_since = match own.last_demand {
            _ if !own.is_quiet() => now,
            Some(last) => quiet_since.max(last.min(now)),
            None => quiet_since,
        };
        self.posture = Posture::Awake { quiet_since };
        if self.desired.mode == ActivationMode::Always {
            return;
        }
        let rests_at = quiet_since + self.idle();
        if own.is_quiet() && (rests_at <= now || self.has_ended()) {
            self.posture = Posture::Resting { cause: Cause::Idle };
            draft.due(now);
        } else {
            draft.due(rests_at);
        }
    }

    /// How long nothing goes on before it rests.
    pub(crate) fn idle(&self) -> Duration {
        let idle = self.desired.spec.activation.idle;
        if self.instances.iter().any(Instance::is_ready) {
            return idle;
        }
        idle.max(START_PATIENCE)
    }

    /// Whether all its programs ended by themselves, to be started by the next call only.
    fn has_ended(&self) -> bool {
        let restart = self.desired.spec.restart;
        !self.instances.is_empty() && self.instances.iter().all(|i| i.is_let_be(restart))
    }
}
