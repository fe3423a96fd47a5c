//! A clock that goes with tokio's, which a test may pause.

use std::time::Duration;

use model::{Moment, Timestamp};
use ports::Clock;
use tokio::time::Instant;

/// So long after its zero the clock begins, so that "long ago" can be said.
const BEGIN: Duration = Duration::from_secs(1_000_000);

/// Tells tokio's time: with `start_paused`, the time that the test makes.
#[derive(Debug)]
pub struct FakeClock {
    begin: Instant,
}

impl Default for FakeClock {
    fn default() -> Self {
        Self {
            begin: Instant::now(),
        }
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Moment {
        Moment::from_zero(BEGIN + self.begin.elapsed())
    }

    fn wall(&self) -> Timestamp {
        let since = BEGIN + self.begin.elapsed();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}
