//! How many calls may be sent again: a part of all calls, so that a service that fails is not called
//! more and more because it fails.
//!
//! What calls earn is reckoned when a retry asks for it, from the count of all calls: a call that needs
//! no retry pays nothing for the budget.

use model::Moment;

/// How many retries there may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// What one call earns, in retries.
    pub share: f64,
    /// Retries a second that are there without calls.
    pub per_second: f64,
    /// More are not saved.
    pub saved_max: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            share: 0.2,
            per_second: 10.0,
            saved_max: 100.0,
        }
    }
}

/// What a service's calls have earned and not spent.
#[derive(Debug, Default)]
pub struct RetryBudget {
    saved: f64,
    /// When it was last reckoned, and how many calls there had been in all.
    reckoned: Option<(Moment, u64)>,
}

impl RetryBudget {
    /// Asks for one retry; `calls` is how many calls the service has had in all. Whether there is one.
    pub fn handle_retry(&mut self, calls: u64, now: Moment, policy: &RetryPolicy) -> bool {
        let earned = match self.reckoned {
            None => policy.saved_max,
            Some((at, before)) => {
                let by_calls = calls.saturating_sub(before) as f64 * policy.share;
                by_calls + now.since(at).as_secs_f64() * policy.per_second
            }
        };
        self.reckoned = Some((now, calls));
        self.saved = (self.saved + earned).min(policy.saved_max);
        let granted = self.saved >= 1.0;
        if granted {
            self.saved -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_service_that_fails_every_call_gets_a_fifth_more() {
        let (mut budget, policy) = (RetryBudget::default(), RetryPolicy::default());
        let mut retries = 0;
        // A thousand a second, for a minute, each of which would be sent three times more.
        for call in 1..=60_000 {
            let now = Moment::from_zero(Duration::from_millis(call));
            for _ in 0..3 {
                retries += u32::from(budget.handle_retry(call, now, &policy));
            }
        }
        eprintln!("60000 calls that fail are sent again {retries} times");
        assert!(
            (12_000..=12_000 + 600 + 100).contains(&retries),
            "{retries}"
        );
    }

    #[test]
    fn a_service_that_is_rarely_called_has_retries_all_the_same() {
        let (mut budget, policy) = (RetryBudget::default(), RetryPolicy::default());
        let mut at = |seconds| {
            let now = Moment::from_zero(Duration::from_secs(seconds));
            (0..1000)
                .filter(|_| budget.handle_retry(0, now, &policy))
                .count()
        };
        assert_eq!([at(1), at(1), at(3), at(100)], [100, 0, 20, 100]);
    }
}
