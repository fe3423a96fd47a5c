//! How long to wait before something is tried again.

use std::time::Duration;

use model::Moment;

/// Waits that double from 100 ms, as Docker's restart manager has them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    failures: u32,
    next: Moment,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);

    /// Counts a failure; the next try is after a wait of at most `wait_max`.
    pub(crate) fn fail(&mut self, wait_max: Duration, now: Moment) {
        let doublings = self.failures.min(30);
        self.failures = self.failures.saturating_add(1);
        self.next = now + (Self::FIRST * (1 << doublings)).min(wait_max);
    }

    /// Forgets all failures.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Failures in a row.
    pub(crate) fn failures(self) -> u32 {
        self.failures
    }

    /// When it may be tried; a moment in the past when there is nothing to wait for.
    pub(crate) fn next(self) -> Moment {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound() {
        let mut backoff = Backoff::default();
        let now = Moment::from_zero(Duration::from_secs(5));
        let mut waits = Vec::new();
        for _ in 0..40 {
            backoff.fail(Duration::from_secs(60), now);
            waits.push(backoff.next().since(now).as_millis());
        }
        assert_eq!(
            waits[..11],
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000
            ]
        );
        assert!(waits[11..].iter().all(|&wait| wait == 60_000));
        backoff.reset();
        assert!(backoff.next() < now);
    }
}
