//! How slow an endpoint is: a moving average that believes bad news at once.
//!
//! A sample above the average replaces it; one below pulls it down with a weight that grows with the
//! time since the last sample; and while there is none it decays by itself, so that an endpoint that
//! was slow once is tried again (Finagle's and Linkerd's "peak EWMA"). What an endpoint costs is the
//! average times the calls in flight, this one included: the time that its queue would take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Moment;

use crate::activity::nanos;

/// In this time the weight of a sample falls to 1/e. Finagle has ten seconds, for calls over a
/// network: there a tenfold average is rarely chance. Here a call may take 0.3 ms, and one that the
/// machine was late with ten; at ten seconds its endpoint would have no call for half a minute.
const DECAY: Duration = Duration::from_secs(1);

/// What an endpoint is taken for that has calls in flight and has never answered one: each call on it
/// is dearer than any on one that is known.
const UNKNOWN_NANOS: f64 = 1e18;

/// The average of one endpoint. Two threads that observe at the same time may lose one sample.
#[derive(Debug, Default)]
pub struct PeakEwma {
    /// Nanoseconds, an `f64`; zero: no sample yet.
    average: AtomicU64,
    /// Of the last sample, in nanoseconds on the [`Moment`] clock.
    at: AtomicU64,
}

impl PeakEwma {
    /// Takes note of how long a call took.
    pub fn observe(&self, latency: Duration, now: Moment) {
        let sample = (latency.as_nanos() as f64).max(1.0);
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        let next = if sample >= average {
            sample
        } else {
            let kept = self.kept(now);
            average * kept + sample * (1.0 - kept)
        };
        self.average.store(next.to_bits(), Ordering::Relaxed);
        self.at.store(nanos(now), Ordering::Relaxed);
    }

    /// Takes note of a call that failed, however quickly: as if it had taken ten times as long as others
    /// do. Otherwise who fails at once, or has never answered, would be the cheapest of all.
    pub fn penalise(&self, now: Moment) {
        const UNKNOWN: f64 = 100e6;
        const MOST: f64 = 1e9;
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        let sample = match average * self.kept(now) * 10.0 {
            known if known > 0.0 => known.min(MOST),
            _ => UNKNOWN,
        };
        self.average.store(sample.to_bits(), Ordering::Relaxed);
        self.at.store(nanos(now), Ordering::Relaxed);
    }

    /// Forgets all: its next call is to tell anew.
    pub fn forget(&self) {
        self.average.store(0, Ordering::Relaxed);
    }

    /// What another call costs, beside those that are in flight.
    #[must_use]
    pub fn cost(&self, in_flight: u32, now: Moment) -> f64 {
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        let calls = f64::from(in_flight);
        if average > 0.0 {
            average * self.kept(now) * (calls + 1.0)
        } else if in_flight == 0 {
            // It is to be got to know.
            0.0
        } else {
            UNKNOWN_NANOS * calls
        }
    }

    /// How much of the average counts still.
    fn kept(&self, now: Moment) -> f64 {
        let elapsed = nanos(now).saturating_sub(self.at.load(Ordering::Relaxed));
        (-(elapsed as f64) / DECAY.as_nanos() as f64).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_zero(Duration::from_millis(millis))
    }

    #[test]
    fn bad_news_counts_at_once_and_good_news_by_and_by() {
        let ewma = PeakEwma::default();
        let millis = |cost: f64| cost / 1e6;
        ewma.observe(Duration::from_millis(1), at(0));
        ewma.observe(Duration::from_millis(100), at(10));
        assert_eq!(millis(ewma.cost(0, at(10))), 100.0);
        assert_eq!(millis(ewma.cost(4, at(10))), 500.0);
        ewma.observe(Duration::from_millis(1), at(110));
        let after_one = millis(ewma.cost(0, at(110)));
        assert!((85.0..95.0).contains(&after_one), "{after_one}");
        // Forgotten, and so tried again.
        assert!(millis(ewma.cost(0, at(10_110))) < 0.01);
    }

    #[test]
    fn failures_make_an_endpoint_dear_but_not_for_ever() {
        let (good, bad) = (PeakEwma::default(), PeakEwma::default());
        bad.penalise(at(1));
        good.observe(Duration::from_millis(5), at(1));
        assert!(bad.cost(0, at(1)) > good.cost(10, at(1)));
        for _ in 0..100 {
            bad.penalise(at(1));
        }
        assert!(bad.cost(0, at(60_000)) < 5e6);
    }

    #[test]
    fn who_is_not_known_is_tried_once_and_then_only_after_all_others() {
        let (new, slow) = (PeakEwma::default(), PeakEwma::default());
        slow.observe(Duration::from_secs(60), at(1));
        assert!(new.cost(0, at(1)) < slow.cost(0, at(1)));
        assert!(new.cost(1, at(1)) > slow.cost(1000, at(1)));
        assert!(new.cost(2, at(1)) > new.cost(1, at(1)));
    }
}
