//! A circuit breaker: a service that fails most calls is not called for a while, so that its callers
//! hear so at once, and it has peace to recover.
//!
//! ```text
//!         most calls of a window failed                 the time is over
//! CLOSED ───────────────────────────────► OPEN ───────────────────────────► HALF OPEN
//!    ▲                                      ▲                                   │
//!    │                                      └──────── one of them fails ────────┤
//!    └─────────────── as many trial calls as wished are answered ───────────────┘
//! ```

use std::time::Duration;

use model::Moment;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerPolicy {
    /// Calls in flight; more are refused whatever the breaker's state.
    pub in_flight_max: u32,
    /// The part of a window's calls that may fail.
    pub failed_share_max: f64,
    /// What counts together.
    pub window: Duration,
    /// With fewer calls a window says nothing.
    pub window_calls_min: u32,
    /// How long it stays open.
    pub open: Duration,
    /// Calls that must be answered before it closes, and that may be in flight until then.
    pub trials: u32,
}

/// Why a call is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// As many calls as allowed are in flight.
    #[error("{in_flight} calls are in flight, and no more may be")]
    Busy {
        /// How many.
        in_flight: u32,
    },
    /// Most calls failed lately.
    #[error("most calls failed lately; the next is tried in {:.1} s", .again_in.as_secs_f32())]
    Open {
        /// When the next call is tried.
        again_in: Duration,
    },
    /// Trial calls are under way.
    #[error("most calls failed lately; {trials} are being tried")]
    Trying {
        /// How many.
        trials: u32,
    },
}

/// The state of one service's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        begin: Moment,
        calls: u32,
        failures: u32,
    },
    Open {
        until: Moment,
    },
    HalfOpen {
        begun: u32,
        answered: u32,
    },
}

impl Breaker {
    /// Closed.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self(State::Closed {
            begin: now,
            calls: 0,
            failures: 0,
        })
    }

    /// Asks to begin a call; once it has begun its end must be told.
    ///
    /// # Errors
    /// [`Broken`] says why not.
    pub fn handle_call(
        &mut self,
        in_flight: u32,
        now: Moment,
        policy: &BreakerPolicy,
    ) -> Result<(), Broken> {
        if in_flight >= policy.in_flight_max {
            return Err(Broken::Busy { in_flight });
        }
        if let State::Open { until } = self.0 {
            let again_in = until.since(now);
            if !again_in.is_zero() {
                return Err(Broken::Open { again_in });
            }
            self.0 = State::HalfOpen {
                begun: 0,
                answered: 0,
            };
        }
        if let State::HalfOpen { begun, .. } = &mut self.0 {
            if *begun >= policy.trials {
                return Err(Broken::Trying { trials: *begun });
            }
            *begun += 1;
        }
        Ok(())
    }

    /// A call was answered well.
    pub fn handle_success(&mut self, now: Moment, policy: &BreakerPolicy) {
        match &mut self.0 {
            State::Closed { .. } => self.count(0, now, policy),
            // It began before the breaker opened.
            State::Open { .. } => {}
            State::HalfOpen { answered, .. } => {
                *answered += 1;
                if *answered >= policy.trials {
                    *self = Self::new(now);
                }
            }
        }
    }

    /// A call failed.
    pub fn handle_failure(&mut self, now: Moment, policy: &BreakerPolicy) {
        match self.0 {
            State::Closed { .. } => self.count(1, now, policy),
            State::Open { .. } => {}
            State::HalfOpen { .. } => self.open(now, policy),
        }
    }

    /// A call that had begun was given up by its caller: it says nothing.
    pub fn handle_abandoned(&mut self) {
        if let State::HalfOpen { begun, .. } = &mut self.0 {
            *begun = begun.saturating_sub(1);
        }
    }

    fn count(&mut self, failed: u32, now: Moment, policy: &BreakerPolicy) {
        let State::Closed {
            begin,
            calls,
            failures,
        } = self.0
        else {
            return;
        };
        let stale = now.since(begin) >= policy.window;
        let (begin, calls, failures) = if stale {
            (now, 1, failed)
        } else {
            (
                begin,
                calls.saturating_add(1),
                failures.saturating_add(failed),
            )
        };
        self.0 = State::Closed {
            begin,
            calls,
            failures,
        };
        let most_fail = f64::from(failures) > f64::from(calls) * policy.failed_share_max;
        if calls >= policy.window_calls_min && most_fail {
            self.open(now, policy);
        }
    }

    fn open(&mut self, now: Moment, policy: &BreakerPolicy) {
        self.0 = State::Open {
            until: now + policy.open,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        in_flight_max: 100,
        failed_share_max: 0.5,
        window: Duration::from_secs(10),
        window_calls_min: 10,
        open: Duration::from_secs(5),
        trials: 2,
    };

    fn at(seconds: u64) -> Moment {
        Moment::from_zero(Duration::from_secs(seconds))
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(at(0));
        for _ in 0..10 {
            breaker.handle_call(0, at(1), &POLICY).unwrap();
            breaker.handle_failure(at(1), &POLICY);
        }
        breaker
    }

    #[test]
    fn it_opens_when_most_calls_fail_and_closes_when_trials_are_answered() {
        let mut breaker = opened();
        let again_in = Duration::from_secs(4);
        assert_eq!(
            breaker.handle_call(0, at(2), &POLICY),
            Err(Broken::Open { again_in })
        );
        for _ in 0..2 {
            breaker.handle_call(0, at(6), &POLICY).unwrap();
        }
        assert_eq!(
            breaker.handle_call(0, at(6), &POLICY),
            Err(Broken::Trying { trials: 2 })
        );
        breaker.handle_success(at(7), &POLICY);
        breaker.handle_success(at(7), &POLICY);
        assert_eq!(breaker, Breaker::new(at(7)));
    }

    #[test]
    fn a_trial_that_fails_opens_it_again_and_one_that_is_given_up_makes_room() {
        let mut breaker = opened();
        for _ in 0..2 {
            breaker.handle_call(0, at(6), &POLICY).unwrap();
        }
        breaker.handle_abandoned();
        breaker.handle_call(0, at(6), &POLICY).unwrap();
        breaker.handle_failure(at(7), &POLICY);
        assert!(breaker.handle_call(0, at(11), &POLICY).is_err());
        assert!(breaker.handle_call(0, at(12), &POLICY).is_ok());
    }

    #[test]
    fn few_failures_and_old_ones_do_not_count() {
        let mut breaker = Breaker::new(at(0));
        for second in 0..100 {
            breaker.handle_failure(at(second * 2), &POLICY);
            breaker.handle_success(at(second * 2), &POLICY);
        }
        assert!(breaker.handle_call(99, at(200), &POLICY).is_ok());
        let busy = breaker.handle_call(100, at(200), &POLICY);
        assert_eq!(busy, Err(Broken::Busy { in_flight: 100 }));
    }
}
