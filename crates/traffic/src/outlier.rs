//! Endpoints that fail what others answer, found by the calls themselves, and left out for a while.
//!
//! ```text
//!          failures in a row, or most calls of a window fail
//! TRUSTED ─────────────────────────────────────────────────► EJECTED, each time for longer
//!    ▲                                                           │ the time is over
//!    └──────── calls cost what they cost again ◄──── RETURNING: one call, then few, at ten times
//!                                                    the cost, then less
//! ```
//! An ejection is advice: whoever picks ignores it when more than half of the endpoints are ejected,
//! since then it is not the endpoints (Envoy calls it the panic threshold). So a service is never left
//! without any, and an endpoint that is the only one never suffers.

use std::time::Duration;

use model::Moment;

/// When an endpoint is ejected, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierPolicy {
    /// Failures in a row that eject it.
    pub failures: u32,
    /// The part of a window's calls that may fail.
    pub failed_share_max: f64,
    /// What counts together.
    pub window: Duration,
    /// With fewer calls a window says nothing.
    pub window_calls_min: u64,
    /// The first ejection; the next ones are two, three, … times as long.
    pub eject: Duration,
    /// No ejection is longer, and after so long without one the first is the first again.
    pub eject_max: Duration,
    /// How long it takes to cost what it costs again.
    pub returning: Duration,
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Self {
            failures: 5,
            failed_share_max: 0.5,
            window: Duration::from_secs(10),
            window_calls_min: 20,
            eject: Duration::from_secs(10),
            eject_max: Duration::from_secs(300),
            returning: Duration::from_secs(10),
        }
    }
}

impl OutlierPolicy {
    /// How many times its own cost an endpoint has, this long after it came back: ten at first.
    #[must_use]
    pub fn surcharge(&self, back_for: Duration) -> f64 {
        const LEAST_SHARE: f64 = 0.1;
        if back_for >= self.returning {
            return 1.0;
        }
        let share = back_for.as_secs_f64() / self.returning.as_secs_f64();
        1.0 / share.max(LEAST_SHARE)
    }
}

/// What is known about the failures of one endpoint.
#[derive(Debug, Default)]
pub struct Outlier {
    in_a_row: u32,
    window: Option<Window>,
    ejections: u32,
    ejected_until: Option<Moment>,
}

#[derive(Debug)]
struct Window {
    begin: Moment,
    /// Calls that the endpoint had had at its beginning.
    calls: u64,
    failures: u64,
}

impl Outlier {
    /// A call was answered well.
    pub fn handle_success(&mut self) {
        self.in_a_row = 0;
    }

    /// A call failed; `calls` is how many the endpoint has had in all. Until when it is ejected for
    /// that, if it is.
    pub fn handle_failure(
        &mut self,
        calls: u64,
        now: Moment,
        policy: &OutlierPolicy,
    ) -> Option<Moment> {
        if self.ejected_until.is_some_and(|until| now < until) {
            // Calls that were in flight say nothing new.
            return None;
        }
        self.in_a_row += 1;
        let window = self
            .window
            .take_if(|window| now.since(window.begin) < policy.window)
            .unwrap_or(Window {
                begin: now,
                calls: calls.saturating_sub(1),
                failures: 0,
            });
        let failures = window.failures + 1;
        let seen = calls.saturating_sub(window.calls);
        let most_fail = seen >= policy.window_calls_min
            && failures as f64 > seen as f64 * policy.failed_share_max;
        self.window = Some(Window { failures, ..window });
        (self.in_a_row >= policy.failures || most_fail).then(|| self.eject(now, policy))
    }

    fn eject(&mut self, now: Moment, policy: &OutlierPolicy) -> Moment {
        let forgotten = |until: Moment| now.since(until) >= policy.eject_max;
        if self.ejected_until.is_some_and(forgotten) {
            self.ejections = 0;
        }
        self.ejections += 1;
        let until = now + (policy.eject * self.ejections).min(policy.eject_max);
        (self.in_a_row, self.window, self.ejected_until) = (0, None, Some(until));
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment::from_zero(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn failures_in_a_row_eject_each_time_for_longer() {
        let (mut outlier, policy) = (Outlier::default(), OutlierPolicy::default());
        let mut fail = |seconds| outlier.handle_failure(0, at(seconds), &policy);
        for _ in 0..4 {
            assert_eq!(fail(1.0), None);
        }
        assert_eq!(fail(1.0), Some(at(11.0)));
        // What was in flight by then does not count.
        assert_eq!(fail(2.0), None);
        for _ in 0..4 {
            assert_eq!(fail(20.0), None);
        }
        assert_eq!(fail(20.0), Some(at(40.0)));
        for _ in 0..4 {
            assert_eq!(fail(400.0), None);
        }
        assert_eq!(fail(400.0), Some(at(410.0)));
    }

    #[test]
    fn a_success_in_between_begins_the_row_again_but_not_the_window() {
        let (mut outlier, policy) = (Outlier::default(), OutlierPolicy::default());
        let mut ejected = None;
        for call in (0..40).step_by(4) {
            // Three of four fail.
            for failure in 1..=3 {
                ejected = ejected.or(outlier.handle_failure(call + failure, at(1.0), &policy));
            }
            outlier.handle_success();
        }
        assert_eq!(ejected, Some(at(11.0)));
        let mut outlier = Outlier::default();
        for call in (0..4000).step_by(4) {
            // One of four.
            assert_eq!(outlier.handle_failure(call + 1, at(1.0), &policy), None);
            outlier.handle_success();
        }
    }

    #[test]
    fn who_comes_back_is_called_a_little_and_then_more() {
        let policy = OutlierPolicy::default();
        let after = |seconds| policy.surcharge(Duration::from_secs_f64(seconds));
        assert_eq!(
            [after(0.0), after(1.0), after(5.0), after(10.0)],
            [10.0, 10.0, 2.0, 1.0]
        );
    }
}
